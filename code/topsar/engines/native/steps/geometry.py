"""The step that finds the ground of a stack in radar geometry: heights, places and visibility of its pixels."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.engines.footprint import ALL_HEIGHTS_M, outline_burst
from topsar.engines.ground import DEM_MARGIN_DEG, find_box
from topsar.engines.native.radar.grid import RadarPart
from topsar.engines.native.radar.nodes import LINE_STEP, lay_ground_nodes
from topsar.engines.native.steps import BASE_MEMORY
from topsar.engines.orbits import OrbitChoice
from topsar.engines.radar_stack import StackFacts, read_written
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import fit_burst_arc
from topsar.errors import ProductError, SceneError
from topsar.files import delete
from topsar.kernels.profile import place_pixels
from topsar.model import Dem, RadarGrid
from topsar.raster import HeightField, open_dem
from topsar.raster.dem_voids import fill_nearest
from topsar.raster.isce_image import IsceHeader, IsceWriter, create_isce_image
from topsar.schedule.jobs import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import Orbit

log = logging.getLogger(__name__)

BLOCK_LINES = 128
"""Lines placed at once."""
LAYERS: dict[str, tuple[str, int]] = {
    "lat": ("f8", 1),
    "lon": ("f8", 1),
    "hgt": ("f8", 1),
    "los": ("f4", 2),
    "incLocal": ("f4", 2),
    "shadowMask": ("u1", 1),
}
"""Type and bands of each image, as topsStack writes them."""
HEADERS = ("", ".xml", ".vrt")
"""What lies beside an image, after its name."""
PIXEL_BYTES = sum(bands * np.dtype(kind).itemsize for kind, bands in LAYERS.values())
"""Of all images together, per pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryTask:
    """A stack, whose ground is to be found on all pixels of its grid."""

    job: str
    stack: StackFacts
    parts: tuple[RadarPart, ...]
    orbit: OrbitChoice
    dem: Dem


class _Geometry(StepKind[GeometryTask]):
    """The images of ``geom_reference``; sizes are pixels of the stack's grid."""

    name, task = "geometry", GeometryTask
    cost = Cost(
        base_memory=BASE_MEMORY, memory=0, disk=PIXEL_BYTES, start_s=3.0, microseconds=0.4, pixels_per_thread=5e6
    )
    block_bytes = 110
    """Memory per pixel of a block: the images, and those of a profile."""

    def size(self, task: GeometryTask) -> float:
        return task.stack.grid.lines * task.stack.grid.samples

    def extra_memory(self, task: GeometryTask, dem_density: float) -> float:
        samples = max(part.inside.columns for part in task.parts)
        box = _DEGREES_OF_A_BURST * dem_density * 9
        return BLOCK_LINES * samples * self.block_bytes + box

    def writes(self, task: GeometryTask) -> tuple[Artifact, ...]:
        return tuple(Artifact(path=task.stack.layer(f"{name}.rdr.full{end}")) for name in LAYERS for end in HEADERS)

    def inputs(self, task: GeometryTask) -> tuple[Path, ...]:
        return (task.orbit.path, *task.dem.files)

    def run(self, task: GeometryTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write the images, whole."""
        first, seen = task.parts[0].burst, False
        orbit = task.orbit.load(first.swath, first.polarisation)
        _clear_other_grid(task.stack, runs)
        with ExitStack() as opened:
            images = {
                name: opened.enter_context(
                    create_isce_image(runs / task.stack.layer(f"{name}.rdr.full"), _make_header(task.stack.grid, name))
                )
                for name in LAYERS
            }
            for part in task.parts:
                log.info("%s: %d by %d pixels", part.burst.label, part.inside.rows, part.inside.columns)
                for row, block in _place_part(part, orbit, task.dem):
                    seen |= bool(np.isfinite(block.hgt).any())
                    _write_block(images, row, part.column, block)
            if not seen:
                msg = f"the DEM {task.dem.path} has no height under the bursts of the reference date"
                raise SceneError(msg, hint="check its nodata value, or take another DEM")


_DEGREES_OF_A_BURST = 0.5  # square degrees of the box around a slanted burst


def _clear_other_grid(stack: StackFacts, runs: Path) -> None:
    """Remove what was coregistered to another grid: with images of this one, no program could tell them apart."""
    path = runs / stack.facts_file
    if not path.exists():
        return
    try:
        known: RadarGrid | None = read_written(path).stack.grid
    except ProductError:  # damaged, or of an earlier version
        known = None
    if known != stack.grid:
        log.warning("%s: what is there has another grid and is removed", stack.root)
        delete(runs / stack.root, within=runs)


def _make_header(grid: RadarGrid, name: str) -> IsceHeader:
    kind, bands = LAYERS[name]
    scheme = "BIL" if bands > 1 else "BIP"
    return IsceHeader(width=grid.samples, length=grid.lines, bands=bands, dtype=np.dtype(kind), scheme=scheme)


class _Block(NamedTuple):
    """Some lines of a burst: what `LAYERS` lists, in that order."""

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    hgt: NDArray[np.float64]
    los: NDArray[np.float32]
    local: NDArray[np.float32]
    mask: NDArray[np.uint8]

    def cut(self, rows: int) -> _Block:
        """The first lines, in the same memory."""
        one, other = (self.lat[:rows], self.lon[:rows], self.hgt[:rows]), (self.los[:rows], self.local[:rows])
        return _Block(*one, *other, self.mask[:rows])


def _make_block(rows: int, columns: int) -> _Block:
    shape, both = (rows, columns), (rows, 2, columns)
    angles = np.empty(both, np.float32), np.empty(both, np.float32)
    return _Block(np.empty(shape), np.empty(shape), np.empty(shape), *angles, np.empty(shape, np.uint8))


def _write_block(images: dict[str, IsceWriter], row: int, column: int, block: _Block) -> None:
    arrays: tuple[NDArray[Any], ...] = block
    for image, values in zip(images.values(), arrays, strict=True):
        image.write(row, column, values)


def _place_part(part: RadarPart, orbit: Orbit, dem: Dem) -> Iterable[tuple[int, _Block]]:
    """Place the pixels of a burst, some lines at a time; the first row of each. All take the same memory."""
    burst, window = part.burst, part.inside
    arc = fit_burst_arc(burst, orbit)
    field = open_heights(dem, part, orbit)
    filled = field.heights_m
    has_voids = bool(np.isnan(filled).any())
    if has_voids:
        filled = filled.copy()
        fill_nearest(filled)
    ground = lay_ground_nodes(burst, window, arc, replace(field, heights_m=filled))
    whole = _make_block(min(BLOCK_LINES, window.rows), window.columns)
    for top in range(0, window.rows, BLOCK_LINES):
        rows = min(BLOCK_LINES, window.rows - top)
        block = whole.cut(rows)
        lines = (top + np.arange(rows)) / LINE_STEP
        place_pixels(ground.nodes, lines, ground.axis, filled, field.heights_m, has_voids, *block)
        yield part.row + top, block


def open_heights(dem: Dem, part: RadarPart, orbit: Orbit) -> HeightField:
    """Read the DEM under a burst, as far as it reaches and as far as there may be ground of the burst.

    Parameters
    ----------
    dem : Dem
    part : RadarPart
    orbit : Orbit
    """
    near = open_dem(dem, find_box(*outline_burst(part.burst, orbit, (0.0,))), 2 * DEM_MARGIN_DEG, covering=False)
    if not np.isfinite(near.heights_m).any():
        near = open_dem(dem, find_box(*outline_burst(part.burst, orbit, ALL_HEIGHTS_M)), covering=False)
    if not np.isfinite(near.heights_m).any():
        return near
    heights = float(np.nanmin(near.heights_m)), float(np.nanmax(near.heights_m))
    return open_dem(dem, find_box(*outline_burst(part.burst, orbit, heights)), DEM_MARGIN_DEG, covering=False)


STEP = _Geometry()
