"""The native engine's steps.

A step imports what it needs when it runs: each is a process of its own, and half a second of imports is dear to one
that works for a second.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from topsar.engines.native.tasks import (
    MULTIPLY,
    DelayTask,
    DispersionTask,
    GeocodeTask,
    NetworkTask,
    PairTask,
    SlcTask,
    ViewTask,
    load_task,
)
from topsar.errors import StepFailed
from topsar.files import read_json, save_array


def execute(folder: Path, step: str) -> None:
    """Run one step of the job whose ``job.json`` lies in ``folder``.

    Raises
    ------
    StepFailed
        If the job has no such step.
    """
    task, runs = load_task(folder), folder.parent
    if isinstance(task, GeocodeTask) and step == "geocode":
        from topsar.engines.native.geocode import geocode_swath

        geocode_swath(task, folder / "slc", _applied_delay(task, runs))
    elif isinstance(task, ViewTask) and step == "view":
        from topsar.engines.native.view import look

        look(task, folder / "view")
    elif isinstance(task, DelayTask) and step == "delay":
        from topsar.engines.native.delay import find_delay

        find_delay(task, folder / "delay")
    elif isinstance(task, SlcTask) and step == "slc":
        from topsar.engines.native.slc import write_slc

        write_slc(task, runs)
    elif isinstance(task, DispersionTask) and step == "dispersion":
        from topsar.engines.native.slc import write_dispersion

        write_dispersion(task, runs)
    elif isinstance(task, NetworkTask) and step == "solve":
        from topsar.engines.native.registration import solve

        solve(task, runs, folder / "solve")
    elif isinstance(task, PairTask):
        _execute_pair(task, runs, folder, step)
    else:
        raise _no_such_step(folder, step)


def _execute_pair(task: PairTask, runs: Path, folder: Path, step: str) -> None:
    if step in {f"{MULTIPLY}{swath}" for swath in task.swaths}:
        from topsar.engines.native.multiply import multiply

        multiply(task, step.removeprefix(MULTIPLY), runs, folder / step)
    elif step == "mosaic":
        from topsar.engines.native.mosaic import lay_mosaic

        lay_mosaic(task, runs, folder / "mosaic")
    elif step == "filter":
        _filter(task, folder)
    elif step == "unwrap":
        _unwrap(task, folder)
    else:
        raise _no_such_step(folder, step)


def _no_such_step(folder: Path, step: str) -> StepFailed:
    return StepFailed(f"{folder / 'job.json'} has no step {step!r}")


def _applied_delay(task: GeocodeTask, runs: Path) -> float:
    """Samples; zero where none is looked for."""
    if not task.delay:
        return 0.0
    from topsar.engines.native.delay import read_delay

    return float(read_delay(runs / task.delay)["applied_pixels"])


def _filter(task: PairTask, folder: Path) -> None:
    """Filter unit phasors weighted by coherence, so that no bright target dominates its patch."""
    from topsar.engines.native.registration import corrected_cross, settle
    from topsar.kernels.filter import goldstein

    (folder / "filter").mkdir(exist_ok=True)
    settle(task, folder)
    cross, coherence = corrected_cross(folder), np.load(folder / "mosaic" / "coherence.npy")
    weighted = coherence * np.exp(1j * np.angle(cross)).astype(np.complex64)
    save_array(folder / "filter" / "filtered.npy", goldstein(weighted, task.filter_strength))


def _unwrap(task: PairTask, folder: Path) -> None:
    from topsar.kernels.unwrap import unwrap

    (folder / "unwrap").mkdir(exist_ok=True)
    filtered = np.load(folder / "filter" / "filtered.npy")
    coherence = np.load(folder / "mosaic" / "coherence.npy")
    if task.unwrapper == "none":
        unwrapped = np.full(filtered.shape, np.nan, np.float32)
        components = np.zeros(filtered.shape, np.uint32)
    else:
        looks = read_json(folder / "mosaic" / "facts.json")["independent_looks"]
        try:
            with _scratch(folder / "unwrap") as scratch:
                unwrapped, components = unwrap(
                    filtered, coherence, looks, method=task.unwrapper, threads=_threads(filtered.shape), scratch=scratch
                )
        except RuntimeError as exc:  # how both packages report a failure of theirs
            msg = f"{task.unwrapper} could not unwrap {task.facts.pair}: {exc}"
            raise StepFailed(msg, hint="unwrap.log has its own words; UNWRAPPER=none leaves the phase wrapped") from exc
    save_array(folder / "unwrap" / "unwrapped.npy", unwrapped)
    save_array(folder / "unwrap" / "components.npy", components)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A temporary folder in ``folder``, under a name without spaces: SNAPHU cannot read others."""
    with tempfile.TemporaryDirectory(dir=folder) as real, tempfile.TemporaryDirectory() as other:
        link = Path(other) / "unwrap"
        link.symlink_to(Path(real).resolve())
        yield link


def _threads(shape: tuple[int, int]) -> int:
    """Threads that the step was granted, if so large an interferogram has a use for them."""
    from topsar.kernels.unwrap import tiles

    if tiles(shape) == (1, 1):
        return 1
    import numba

    return int(numba.get_num_threads())
