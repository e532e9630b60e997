"""The steps of the native engine, one module each: its task, what it takes, reads and writes, and the work.

The process of a step imports the module of that step alone: half a second of imports is dear to one that works for a
second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from topsar.engines.step import load_task
from topsar.errors import StepFailed

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.engines.step import StepKind

VERSION = "14"
"""Enters every checkpoint key: raised when the same input would give other numbers."""
STEPS = (
    *("geocode", "view", "multiply", "mosaic", "filter", "unwrap", "delay", "solve", "slc", "dispersion"),
    *("split", "subband", "ionosphere"),
    *("geometry", "multilook", "overlaps", "timing", "coregister", "crossmul", "interferogram"),
)
"""Each is a module here that offers its `StepKind` as ``STEP``; a name such as ``multiply_IW1`` begins with one."""
DELAY_FILE = "delay.json"
"""The range delay of a date, in the folder of its step; ``applied_pixels`` is what geocoding must apply."""
BASE_MEMORY, LIGHT_MEMORY = 195_000_000, 120_000_000
"""An interpreter with its packages, compiled kernels and rasters among them or not: what is resident of it.

Of one that is forked from a process that has loaded them, as steps are on this machine: one that is started anew, on a
Dask cluster, takes up to 80 MB more, which is learned.

The cost of a step begins with it. Memory follows from the arrays that the step holds, and is held to what was measured
on runs of many sizes (`benchmarks/predictions.py`). Disk is the size of the arrays that it writes. Time was measured on
one core of a virtual machine (AMD EPYC); other machines learn their own.
"""


def execute(folder: Path, step: str) -> None:
    """Run one step of the job whose ``job.json`` lies in ``folder``; see `topsar.engines.protocol.Engine.execute`.

    Parameters
    ----------
    folder : Path
    step : str
    """
    name = step.partition("_")[0]
    if name not in STEPS:
        msg = f"{folder / 'job.json'} has no step {step!r}"
        raise StepFailed(msg)
    kind: StepKind[Any] = import_module(f"{__name__}.{name}").STEP
    kind.run(load_task(folder, step, kind.task), folder.parent, folder)
