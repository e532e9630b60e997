"""The step that coregisters a date where neighbouring bursts of the stack see the same ground, once in each of both.

What it leaves is what spectral diversity compares between dates. Each overlap becomes two ``.npy`` of float16 (rows,
columns, 2), as geocoded bursts are: from the upper and from the lower burst.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.engines.native.radar.grid import RadarPart
from topsar.engines.native.radar.resampling import (
    BLOCK_LINES,
    DatePart,
    OpenDate,
    resample_window,
)
from topsar.engines.native.steps import BASE_MEMORY
from topsar.engines.native.steps.geocode import Memory, open_images
from topsar.engines.orbits import OrbitChoice
from topsar.engines.radar_stack import StackFacts
from topsar.engines.step import Cost, StepKind
from topsar.files import save_array
from topsar.kernels.half import narrow
from topsar.model import Window
from topsar.raster.isce_image import IsceReader
from topsar.schedule.jobs import Artifact, Lifetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapsTask:
    """A date of a stack, whose burst overlaps are to be resampled."""

    job: str
    stack: StackFacts
    parts: tuple[DatePart, ...]
    reference_orbit: OrbitChoice
    orbit: OrbitChoice

    @property
    def folder(self) -> str:
        """Where they lie, relative to the runs folder."""
        return f"{self.job}/overlaps"


class Overlapping(NamedTuple):
    """Two bursts of a swath, the earlier first, and the part of the stack's grid that both see."""

    upper: RadarPart
    lower: RadarPart
    where: Window

    def find_sides(self, part: RadarPart) -> list[str]:
        """Which of the two bursts a burst is."""
        return [side for side, one in (("upper", self.upper), ("lower", self.lower)) if one == part]

    def cut(self, part: RadarPart) -> Window:
        """The shared part in lines and samples of one of the bursts."""
        row, column = part.inside.row - part.row, part.inside.column - part.column
        return replace(self.where, row=self.where.row + row, column=self.where.column + column)

    def name_file(self, side: str) -> str:
        """Name the file of a side, ``upper`` or ``lower``."""
        return f"{self.upper.burst.label}_{self.lower.burst.label}_{side}.npy"


def find_overlapping(parts: Sequence[RadarPart]) -> list[Overlapping]:
    """Find the neighbouring bursts of each swath that see the same ground, in order."""
    found = []
    for upper, lower in pairwise(sorted(parts, key=lambda part: (part.burst.swath, part.row))):
        columns = replace(upper.find_rows(upper.burst.valid), column=upper.column, columns=upper.inside.columns)
        both = columns.intersection(lower.find_rows(lower.burst.valid))
        if upper.burst.swath == lower.burst.swath and both is not None:
            found.append(Overlapping(upper, lower, both))
    return found


class _Overlaps(StepKind[OverlapsTask]):
    """The overlaps of a date; sizes are pixels of them, in both bursts."""

    name, task = "overlaps", OverlapsTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=4, start_s=2.0, microseconds=0.2, pixels_per_thread=1e7)
    lifetime = Lifetime.SCRATCH
    sample_bytes, block_bytes = 8, 28

    def size(self, task: OverlapsTask) -> float:
        found = find_overlapping([one.part for one in task.parts])
        return 2 * sum(one.where.rows * one.where.columns for one in found)

    def extra_memory(self, task: OverlapsTask, dem_density: float) -> float:  # noqa: ARG002
        windows = [one.where for one in find_overlapping([one.part for one in task.parts])]
        largest = max((window.rows * window.columns for window in windows), default=0)
        block = max((min(window.rows, BLOCK_LINES) * window.columns for window in windows), default=0)
        return 2 * largest * self.sample_bytes + block * self.block_bytes

    def reads(self, task: OverlapsTask) -> tuple[str, ...]:
        return (task.stack.layer("hgt.rdr.full"),)

    def writes(self, task: OverlapsTask) -> tuple[Artifact, ...]:
        return (Artifact(path=task.folder, lifetime=self.lifetime),)

    def inputs(self, task: OverlapsTask) -> tuple[Path, ...]:
        images = {Path(one.burst.measurement) for one in task.parts}
        return (*sorted(images), task.orbit.path, task.reference_orbit.path)

    def run(self, task: OverlapsTask, runs: Path, folder: Path) -> None:
        """Write two files per overlap."""
        out, first = folder / "overlaps", task.parts[0].burst
        out.mkdir(parents=True, exist_ok=True)
        orbits = [choice.load(first.swath, first.polarisation) for choice in (task.reference_orbit, task.orbit)]
        date = OpenDate(orbits[0], orbits[1], 0.0, 0.0, Memory())
        heights = IsceReader(runs / task.stack.layer("hgt.rdr.full"))
        found = find_overlapping([one.part for one in task.parts])
        for one, image in open_images(task.parts, lambda one: one.burst):
            for overlap in found:
                for side in overlap.find_sides(one.part):
                    blocks = resample_window(one, overlap.cut(one.part), date, heights, image)
                    _save_halves(out / overlap.name_file(side), overlap.where, blocks)


def _save_halves(path: Path, where: Window, blocks: Iterable[tuple[int, NDArray[np.complex64]]]) -> None:
    halves = np.zeros((where.rows, 2 * where.columns), np.float16)
    for row, block in blocks:
        narrow(block.view(np.float32), halves[row - where.row : row - where.row + len(block)])
    save_array(path, halves.reshape(where.rows, where.columns, 2))


STEP = _Overlaps()
