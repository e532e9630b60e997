"""Time, memory and disk of whole runs, from products on disk to interferograms."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from fault_jobs import Cgroup
from topsar.schedule.journal import read_journal
from topsar.simulate import Dataset, Recipe, recipe, simulate
from topsar.simulate.mode import SWATHS
from topsar.simulate.recipe import SwathCut

_SAMPLE_S = 0.1
_DISK_SHARE = 50
"""A walk over thousands of files waits so many times as long as the last took: it would take a fifth of a core."""
_STEPS = ("geocode", "multiply", "mosaic", "filter", "unwrap", "format_geotiff")


def recipe_of(size: str, dates: int = 2) -> Recipe:
    """What is simulated; further dates follow every twelve days.

    Besides the recipes of the simulator: ``bursts`` is three whole bursts, ``small`` the same cut to 5000 samples.
    """
    demo, wide = recipe("demo"), {"small": 5000, "bursts": SWATHS["IW2"].samples}
    if size in wide:
        chosen = replace(demo, name=size, cuts=(SwathCut(swath="IW2", first_sample=0, samples=wide[size]),))
    else:
        chosen = recipe(size)
    known = demo.acquisitions[:dates]
    more = tuple(
        replace(known[-1], day=known[-1].day + timedelta(days=12 * k), perpendicular_baseline_m=30.0 * k)
        for k in range(1, dates - len(known) + 1)
    )
    return replace(chosen, acquisitions=known + more)


def million_samples(chosen: Recipe) -> float:
    """Samples of all bursts of one date, in millions."""
    return sum(SWATHS[cut.swath].lines * cut.samples for cut in chosen.cuts) * chosen.bursts / 1e6


def data_of(chosen: Recipe, folder: Path, change: Callable[[Dataset], None] | None = None) -> tuple[Path, float]:
    """The simulated data in ``folder``, made if they are not there yet and then changed; the seconds that it took."""
    dates, identity = len(chosen.acquisitions), repr(chosen)
    data = folder / (chosen.name if dates == 2 else f"{chosen.name}-{dates}")
    mark = data / "complete.txt"
    if mark.is_file() and mark.read_text() == identity:
        return data, 0.0
    shutil.rmtree(data, ignore_errors=True)
    started = time.perf_counter()
    made = simulate(data, chosen)
    if change:
        change(made)
    mark.write_text(identity)
    return data, time.perf_counter() - started


def zipped(data: Path) -> Path:
    """A folder beside ``data`` with the same products as deflated zips, made if it is not there yet."""
    other = data.with_name(f"{data.name}-zip")
    (other / "raw").mkdir(parents=True, exist_ok=True)
    for scene in (data / "raw").glob("*.SAFE"):
        target = other / "raw" / f"{scene.stem}.zip"
        if not target.exists():
            part = target.with_suffix(".part")
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                for file in sorted(scene.rglob("*")):
                    archive.write(file, file.relative_to(scene.parent))
            part.rename(target)
    for name in ("dem", "orbit_data", "pairs.txt"):
        (other / name).unlink(missing_ok=True)
        (other / name).symlink_to(data / name)
    return other


def run_pairs(data: Path, memory_limit: int | None = None, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Process the pairs of a data folder from the beginning, in a process of its own, and say what that used."""
    runs, log = data / "runs", data / "run.log"
    shutil.rmtree(runs, ignore_errors=True)
    argv = (sys.executable, "-m", "topsar", "run", "--data", str(data), "--pairs", str(data / "pairs.txt"))
    given = {name: value for name, _, value in (flag.partition("=") for flag in flags)}
    use = run_command(argv, runs, log, {**os.environ, **given}, memory_limit)
    return use | {
        "product_bytes": sum(allocated(folder) for folder in runs.glob("*/products")),
        "steps": list(_steps(runs)),
    }


def run_command(
    argv: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str], memory_limit: int | None = None
) -> dict[str, Any]:
    """Run a command and say what it used; ``folder`` is where its files grow."""
    me = psutil.Process()  # a parent inherits the counts of children that have ended
    io, cpu, started = me.io_counters(), me.cpu_times(), time.perf_counter()
    with ExitStack() as stack:
        group = stack.enter_context(Cgroup(memory_limit)) if memory_limit else None
        out = stack.enter_context(log.open("w"))
        command = group.argv(*argv) if group else argv
        process = stack.enter_context(
            subprocess.Popen(command, cwd=log.parent, stdout=out, stderr=out, env=environment)
        )
        use = _watch(process, folder, group)
    seconds, io_after, cpu_after = time.perf_counter() - started, me.io_counters(), me.cpu_times()
    if process.returncode:
        sys.exit(f"error: {argv[0]} failed, see {log}")
    return use | {
        "seconds": seconds,
        "cpu_s": cpu_after.children_user + cpu_after.children_system - cpu.children_user - cpu.children_system,
        "read_bytes": io_after.read_chars - io.read_chars,
        "written_bytes": io_after.write_bytes - io.write_bytes,
    }


def _watch(process: subprocess.Popen[bytes], runs: Path, group: Cgroup | None) -> dict[str, int]:
    """Highest resident memory of a process and its children together, and most disk that ``runs`` takes."""
    memory = disk = inside = 0
    disk_due = 0.0
    root = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            memory = max(memory, sum(resident(one) for one in (root, *root.children(recursive=True))))
        if (began := time.perf_counter()) >= disk_due:
            disk = max(disk, allocated(runs))
            disk_due = began + _DISK_SHARE * (time.perf_counter() - began)
        inside = max(inside, _resident_inside(group) if group else 0)
        time.sleep(_SAMPLE_S)
    return {"peak_bytes": memory, "peak_disk_bytes": disk, "cgroup_bytes": inside}


def resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _resident_inside(group: Cgroup) -> int:
    """Memory of a cgroup's processes, each page once, without the disk's cache."""
    known = dict(line.split() for line in (group.folder / "memory.stat").read_text().splitlines())
    return int(known.get("total_rss", known.get("anon", 0)))


def allocated(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk: holes are not counted."""
    total = 0
    for place, _, names in os.walk(folder):  # unlike Path.rglob it bears with folders that vanish meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).lstat().st_blocks * 512
    return total


def _steps(runs: Path) -> Iterator[dict[str, Any]]:
    """Seconds of all steps of one name together, and the memory of the largest."""
    events = [event for journal in sorted(runs.glob("*/journal.jsonl")) for event in read_journal(journal)]
    for name in _STEPS:
        ended = [event.ended for event in events if event.step.partition("_")[0] == name and event.ended]
        if ended:
            yield {
                "step": name,
                "count": len(ended),
                "seconds": sum(one.seconds for one in ended),
                "cpu_s": sum(one.cpu_s for one in ended),
                "peak_bytes": max(one.peak_memory_bytes for one in ended),
            }
