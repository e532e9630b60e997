"""Time, memory and disk of whole runs, from products on disk to interferograms."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low

import psutil

from topsar.schedule import read_journal
from topsar.simulate import Recipe, recipe, simulate
from topsar.simulate.mode import SWATHS
from topsar.simulate.recipe import SwathCut

_SAMPLE_S = 0.1
_STEPS = ("geocode", "interfere", "filter", "unwrap", "products")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUse:
    """What the steps of one name used: how many, their seconds and CPU seconds together, the largest one's memory."""

    name: str
    steps: int
    seconds: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUse:
    """What one run used.

    ``peak_bytes`` is the resident memory of all processes together, ``peak_disk_bytes`` the most that the runs folder
    held at a time; ``read_bytes`` counts what processes asked for, ``written_bytes`` what went to the disk's cache.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int
    peak_disk_bytes: int
    product_bytes: int
    read_bytes: int
    written_bytes: int
    steps: tuple[StepUse, ...]


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


def run_pairs(data: Path) -> RunUse:
    """Process the pairs of a data folder from the beginning, in a process of its own."""
    runs = data / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    argv = (sys.executable, "-m", "topsar", "run", "--data", str(data), "--pairs", str(data / "pairs.txt"))
    me = psutil.Process()
    io, cpu, started = me.io_counters(), me.cpu_times(), time.perf_counter()
    with (data / "run.log").open("w") as log, subprocess.Popen(argv, cwd=data, stdout=log, stderr=log) as process:
        peak, disk = _watch(process, runs)
    seconds, io_after, cpu_after = time.perf_counter() - started, me.io_counters(), me.cpu_times()
    if process.returncode:
        sys.exit(f"error: the run failed, see {data / 'run.log'}")
    return RunUse(
        seconds=seconds,
        cpu_s=cpu_after.children_user + cpu_after.children_system - cpu.children_user - cpu.children_system,
        peak_bytes=peak,
        peak_disk_bytes=disk,
        product_bytes=sum(_allocated(folder) for folder in runs.glob("*/products")),
        read_bytes=io_after.read_chars - io.read_chars,  # a parent inherits the counts of children that have ended
        written_bytes=io_after.write_bytes - io.write_bytes,
        steps=tuple(_steps(runs)),
    )


def typical(uses: list[RunUse]) -> RunUse:
    """The run of median duration."""
    middle = median_low([use.seconds for use in uses])
    return next(use for use in uses if use.seconds == middle)


def _watch(process: subprocess.Popen[bytes], runs: Path) -> tuple[int, int]:
    """Highest resident memory of a process and its children together, and of the disk that ``runs`` takes."""
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


def _steps(runs: Path) -> Iterator[StepUse]:
    events = [event for journal in sorted(runs.glob("*/journal.jsonl")) for event in read_journal(journal)]
    for name in _STEPS:
        ended = [event.ended for event in events if event.step == name and event.ended]
        if ended:
            yield StepUse(
                name=name,
                steps=len(ended),
                seconds=sum(one.seconds for one in ended),
                cpu_s=sum(one.cpu_s for one in ended),
                peak_bytes=max(one.peak_memory_bytes for one in ended),
            )
