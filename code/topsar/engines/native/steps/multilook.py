"""The step that takes looks of the ground of a stack, and describes the stack to those who read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.native.radar.grid import RadarPart
from topsar.engines.native.radar.reference import ReferencePass, write_reference
from topsar.engines.native.radar.swath_product import read_reference_bursts
from topsar.engines.native.steps.geometry import HEADERS, LAYERS, PIXEL_BYTES
from topsar.engines.orbits import OrbitChoice
from topsar.engines.passes import describe_pass
from topsar.engines.radar_stack import StackFacts, Written
from topsar.engines.step import Cost, StepKind
from topsar.files import write_json
from topsar.model import Looks, Window
from topsar.raster.isce_image import IsceReader, write_isce_image
from topsar.schedule.jobs import Artifact

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MultilookTask:
    """A stack; ``looks`` are samples (``east``) and lines (``north``) of a multilooked pixel."""

    job: str
    stack: StackFacts
    parts: tuple[RadarPart, ...]
    looks: Looks
    orbit: OrbitChoice


class _Multilook(StepKind[MultilookTask]):
    """The multilooked images of ``geom_reference``; sizes are pixels of the stack's grid."""

    name, task = "multilook", MultilookTask
    cost = Cost(base_memory=145_000_000, memory=0, disk=0, start_s=1.0, microseconds=0.1)
    line_bytes, pixel_bytes = 40, 24
    """Memory per sample and look of a multilooked line; per multilooked pixel."""

    def size(self, task: MultilookTask) -> float:
        return task.stack.grid.lines * task.stack.grid.samples

    def extra_memory(self, task: MultilookTask, dem_density: float) -> float:  # noqa: ARG002
        line = task.stack.grid.samples * task.looks.north * self.line_bytes
        return line + self.size(task) / task.looks.count * self.pixel_bytes

    def extra_disk(self, task: MultilookTask) -> float:
        return self.size(task) / task.looks.count * PIXEL_BYTES

    def reads(self, task: MultilookTask) -> tuple[str, ...]:
        return tuple(task.stack.layer(f"{name}.rdr.full") for name in LAYERS)

    def writes(self, task: MultilookTask) -> tuple[Artifact, ...]:
        stack = task.stack
        images = [stack.layer(f"{name}.rdr{end}") for name in LAYERS for end in HEADERS]
        return tuple(Artifact(path=path) for path in (*images, stack.reference_folder, stack.facts_file))

    def inputs(self, task: MultilookTask) -> tuple[Path, ...]:
        return (task.orbit.path,)

    def run(self, task: MultilookTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write the images, the folder ``reference`` and ``stack.json``."""
        stack, first, corners = task.stack, task.parts[0].burst, {}
        for name in LAYERS:
            values = _take_looks(runs / stack.layer(f"{name}.rdr.full"), name, task)
            write_isce_image(runs / stack.layer(f"{name}.rdr"), values)
            if name in ("lat", "lon"):
                corners[name] = tuple(float(values[row, column]) for row in (0, -1) for column in (0, -1))
        orbit = task.orbit.load(first.swath, first.polarisation)
        bursts, scenes = [part.burst for part in task.parts], task.orbit.scenes
        flight = describe_pass(task.orbit, orbit, bursts)
        reference = ReferencePass(flight, read_reference_bursts(scenes, bursts), scenes[0].ipf)
        write_reference(runs / stack.reference_folder, stack, task.looks, reference, corners)
        write_json(runs / stack.facts_file, Written(stack=stack, looks=task.looks))


def _take_looks(path: Path, name: str, task: MultilookTask) -> NDArray[Any]:
    """Average an image over the looks; of a mask, whatever any of them has."""
    (kind, bands), grid, looks = LAYERS[name], task.stack.grid, task.looks
    rows, columns = grid.lines // looks.north, grid.samples // looks.east
    whole = IsceReader(path)
    small = np.empty((rows, bands, columns), kind)
    for row in range(rows):
        window = Window(row=row * looks.north, column=0, rows=looks.north, columns=columns * looks.east)
        block = whole.read(window)
        parts = block.reshape(looks.north, bands, columns, looks.east)
        small[row] = np.bitwise_or.reduce(parts, axis=(0, 3)) if kind == "u1" else _average(parts)
    return small if bands > 1 else small[:, 0]


def _average(parts: NDArray[Any]) -> NDArray[np.float64]:
    known = np.isfinite(parts)
    count = known.sum(axis=(0, 3))
    total = np.where(known, parts, 0).sum(axis=(0, 3), dtype=np.float64)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


STEP = _Multilook()
