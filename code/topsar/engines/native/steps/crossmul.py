"""The step that multiplies two dates of a stack in radar geometry, and takes looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.native.radar.grid import RadarPart
from topsar.engines.native.steps import BASE_MEMORY
from topsar.engines.native.steps.timing import find_cells
from topsar.engines.radar_stack import StackFacts
from topsar.engines.step import Cost, StepKind
from topsar.errors import SceneError
from topsar.files import save_array
from topsar.kernels.interferogram import multiply_slcs
from topsar.kernels.mosaic import LookSums
from topsar.kernels.statistics import count_phase_looks, estimate_coherence
from topsar.model import Looks, Window
from topsar.raster.isce_image import IsceReader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK_ROWS = 8
"""Multilooked rows multiplied at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossmulTask:
    """Two dates of a stack; ``parts`` say which swath a pixel comes from."""

    job: str
    stack: StackFacts
    looks: Looks
    first: str
    second: str
    parts: tuple[RadarPart, ...]


class _Crossmul(StepKind[CrossmulTask]):
    """The unfiltered interferogram of two dates; sizes are pixels of the stack's grid."""

    name, task = "crossmul", CrossmulTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=0, start_s=1.0, microseconds=0.02, pixels_per_thread=2e7)
    pixel_bytes, block_bytes = 98, 16
    """Memory per multilooked pixel, and per pixel of a block."""

    def size(self, task: CrossmulTask) -> float:
        return task.stack.grid.lines * task.stack.grid.samples

    def extra_memory(self, task: CrossmulTask, dem_density: float) -> float:  # noqa: ARG002
        block = task.stack.grid.samples * task.looks.north * BLOCK_ROWS * self.block_bytes
        return self.size(task) / task.looks.count * self.pixel_bytes + block

    def extra_disk(self, task: CrossmulTask) -> float:
        return 20 * self.size(task) / task.looks.count

    def reads(self, task: CrossmulTask) -> tuple[str, ...]:
        return task.stack.slc(task.first), task.stack.slc(task.second)

    def run(self, task: CrossmulTask, runs: Path, folder: Path) -> None:
        """Write ``cross.npy``, ``coherence.npy``, ``amplitude.npy`` and ``looks.npy`` into ``crossmul``."""
        out, stack, looks = folder / "crossmul", task.stack, task.looks
        out.mkdir(parents=True, exist_ok=True)
        sums = _sum_looks(task, runs)
        if not sums.filled.any():
            msg = f"no pixel of {task.first} and {task.second} has signal on both dates"
            raise SceneError(msg, hint="does the DEM have heights there?")
        independent = _count_looks(task)
        coherence = estimate_coherence(sums, looks, float(independent.mean()))
        few = sums.filled < max(looks.count // 2, 1)
        sums.cross[few], coherence[few] = 0, 0
        save_array(out / "cross.npy", sums.cross / np.maximum(sums.filled, 1).astype(np.float32))
        save_array(out / "coherence.npy", coherence)
        save_array(out / "amplitude.npy", sums.average_amplitude())
        save_array(out / "looks.npy", independent[: stack.grid.samples // looks.east])


def _sum_looks(task: CrossmulTask, runs: Path) -> LookSums:
    grid, looks = task.stack.grid, task.looks
    rows, columns = grid.lines // looks.north, grid.samples // looks.east
    sums = LookSums.zeros((rows, columns))
    images = [IsceReader(runs / task.stack.slc(date) / f"{date}.slc.full") for date in (task.first, task.second)]
    for top in range(0, rows, BLOCK_ROWS):
        part = slice(top, min(top + BLOCK_ROWS, rows))
        lines = (part.stop - part.start) * looks.north
        window = Window(row=top * looks.north, column=0, rows=lines, columns=columns * looks.east)
        first, second = (image.read(window)[:, 0] for image in images)
        multiply_slcs(first, second, looks, sums.cut((part, slice(None))))
    return sums


def _count_looks(task: CrossmulTask) -> NDArray[np.float64]:
    """Independent looks of a pixel in each multilooked column: swaths differ in bandwidth."""
    looks = task.looks
    middle = (np.arange(max(task.stack.grid.samples // looks.east, 1)) + 0.5) * looks.east
    found = np.zeros(len(middle))
    for part in {part.burst.swath: part for part in task.parts}.values():
        independent = count_phase_looks(looks, find_cells(part.burst))
        found[(middle >= part.column) | (found == 0)] = independent
    return found


STEP = _Crossmul()
