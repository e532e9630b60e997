"""Time, memory and disk of whole runs, from products on disk to interferograms."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from topsar.schedule import read_journal
from topsar.simulate import Recipe, recipe, simulate
from topsar.simulate.mode import SWATHS
from topsar.simulate.recipe import SwathCut

_SAMPLE_S = 0.1
_STEPS = ("geocode", "interfere", "filter", "unwrap", "products")


def recipe_of(size: str) -> Recipe:
    """What is simulated: ``small`` is two dates of three bursts, cut to 5000 samples."""
    if size != "small":
        return recipe(size)
    demo = recipe("demo")
    cut = SwathCut(swath="IW2", first_sample=0, samples=5000)
    return replace(demo, name="small", acquisitions=demo.acquisitions[:2], cuts=(cut,))


def million_samples(chosen: Recipe) -> float:
    """Samples of all bursts of one date, in millions."""
    return sum(SWATHS[cut.swath].lines * cut.samples for cut in chosen.cuts) * chosen.bursts / 1e6


def data_of(size: str, folder: Path) -> tuple[Path, float]:
    """The simulated data in ``folder``, made if they are not there yet, and the seconds that it took."""
    chosen = recipe_of(size)
    data, identity = folder / size, repr(chosen)
    mark = data / "complete.txt"
    if mark.is_file() and mark.read_text() == identity:
        return data, 0.0
    shutil.rmtree(data, ignore_errors=True)
    started = time.perf_counter()
    simulate(data, chosen)
    mark.write_text(identity)
    return data, time.perf_counter() - started


def run_pairs(data: Path) -> dict[str, Any]:
    """Process the pairs of a data folder from the beginning, in a process of its own, and say what that used."""
    runs, log = data / "runs", data / "run.log"
    shutil.rmtree(runs, ignore_errors=True)
    argv = (sys.executable, "-m", "topsar", "run", "--data", str(data), "--pairs", str(data / "pairs.txt"))
    me = psutil.Process()  # a parent inherits the counts of children that have ended
    io, cpu, started = me.io_counters(), me.cpu_times(), time.perf_counter()
    with log.open("w") as out, subprocess.Popen(argv, cwd=data, stdout=out, stderr=out) as process:
        memory, disk = _watch(process, runs)
    seconds, io_after, cpu_after = time.perf_counter() - started, me.io_counters(), me.cpu_times()
    if process.returncode:
        sys.exit(f"error: the run failed, see {log}")
    return {
        "seconds": seconds,
        "cpu_s": cpu_after.children_user + cpu_after.children_system - cpu.children_user - cpu.children_system,
        "peak_bytes": memory,
        "peak_disk_bytes": disk,
        "product_bytes": sum(_allocated(folder) for folder in runs.glob("*/products")),
        "read_bytes": io_after.read_chars - io.read_chars,
        "written_bytes": io_after.write_bytes - io.write_bytes,
        "steps": list(_steps(runs)),
    }


def _watch(process: subprocess.Popen[bytes], runs: Path) -> tuple[int, int]:
    """Highest resident memory of a process and its children together, and most disk that ``runs`` takes."""
    memory = disk = 0
    root = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            memory = max(memory, sum(_resident(one) for one in (root, *root.children(recursive=True))))
        disk = max(disk, _allocated(runs))
        time.sleep(_SAMPLE_S)
    return memory, disk


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _allocated(folder: Path) -> int:
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
        ended = [event.ended for event in events if event.step == name and event.ended]
        if ended:
            yield {
                "step": name,
                "count": len(ended),
                "seconds": sum(one.seconds for one in ended),
                "cpu_s": sum(one.cpu_s for one in ended),
                "peak_bytes": max(one.peak_memory_bytes for one in ended),
            }
