"""The step that makes the SLC of a date of a stack on the fine grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.windows import Window as RasterWindow

from topsar import __version__
from topsar.engines.ground import find_ground_points, open_dem_under, predict_dem
from topsar.engines.native.steps import BASE_MEMORY
from topsar.engines.native.steps.burst_window import BurstWindow
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import fit_burst_arc, locate, measure_margin
from topsar.model import Burst, Dem, GeoGrid, Looks, Window
from topsar.raster import Labels, open_geotiff
from topsar.raster.geotiff import BLOCK, NO_CACHE
from topsar.schedule.jobs import Artifact

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import Orbit

STACKS = "slc_stack"
"""Folder of the stacks, in the runs folder."""
_SIXTEEN = 16  # what tiles of a TIFF must be multiples of
UNIT = "digital numbers, uncalibrated"
PHASE = (
    "flat earth and topography removed: the SLC times exp(+j 4 pi R / wavelength), R the slant range of the pixel; "
    "reference * conj(secondary) of two dates is their interferogram"
)
NOT_REMOVED = (
    "azimuth misregistration, which is measured per pair: azimuth_misregistration in the facts.json of the pairs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackBurst:
    """A geocoded burst of a stack, and the burst of the earliest date, whose edges decide where it is used."""

    window: BurstWindow
    seam: Burst
    seam_orbit: OrbitChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class SlcTask:
    """One date of a stack, to be written as one geocoded SLC."""

    job: str
    stack: str
    date: str
    track: int
    direction: str
    scenes: tuple[str, ...]
    grid: GeoGrid
    looks: Looks
    bursts: tuple[StackBurst, ...]
    orbit: OrbitChoice
    dem: Dem

    @property
    def file(self) -> str:
        """Where it is written, relative to the runs folder."""
        return f"{STACKS}/{self.stack}/{self.date}.tif"


class _Slc(StepKind[SlcTask]):
    """The geocoded bursts of a date laid side by side, complex64; sizes are fine pixels."""

    name, task = "slc", SlcTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=8, start_s=2.0, microseconds=0.12)
    choice_bytes, strip_bytes = 48, 20
    """Memory per output pixel where bursts are chosen; after that, per fine pixel of a strip."""

    def size(self, task: SlcTask) -> float:
        return task.grid.rows * task.grid.columns * task.looks.count

    def extra_memory(self, task: SlcTask, dem_density: float) -> float:
        strip = tile_rows(task.looks) * task.grid.columns * task.looks.east * self.strip_bytes
        pixels = task.grid.rows * task.grid.columns
        return max(pixels * self.choice_bytes + predict_dem(task.grid, dem_density), 2 * pixels + strip)

    def reads(self, task: SlcTask) -> tuple[str, ...]:
        return tuple(sorted({one.window.folder for one in task.bursts}))

    def writes(self, task: SlcTask) -> tuple[Artifact, ...]:
        return (Artifact(path=task.file),)

    def inputs(self, task: SlcTask) -> tuple[Path, ...]:
        """Orbits of the seams, and the DEM."""
        return (*(one.seam_orbit.path for one in task.bursts), *task.dem.files)

    def run(self, task: SlcTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write the file."""
        looks, fine = task.looks, task.grid.refine(task.looks)
        chosen = choose_bursts(task)
        height = tile_rows(looks)
        files = [runs / burst.window.file for burst in task.bursts]
        wheres = [task.grid.window_of(burst.window.grid) for burst in task.bursts]
        with (
            rasterio.Env(**NO_CACHE),
            open_geotiff(
                runs / task.file,
                fine,
                "complex64",
                nodata=0,
                tile_rows=height,
                labels=Labels(unit=UNIT, description=f"geocoded SLC of {task.date}", tags=_make_tags(task)),
            ) as dataset,
        ):
            for top in range(0, task.grid.rows, height // looks.north):
                rows = min(height // looks.north, task.grid.rows - top)
                block = np.zeros((rows * looks.north, fine.columns), np.complex64)
                for index, (file, where) in enumerate(zip(files, wheres, strict=True)):
                    _copy_burst(block, chosen[top : top + rows] == index, file, where, top, looks)
                if block.any():
                    window = RasterWindow(0, top * looks.north, fine.columns, block.shape[0])
                    dataset.write(block, 1, window=window)


def choose_bursts(task: SlcTask) -> NDArray[np.int16]:
    """Choose the burst of each output pixel, -1 outside: the one whose edges are farthest away on its first date."""
    _, points = find_ground_points(task.grid, open_dem_under(task.dem, task.grid))
    chosen = np.full(task.grid.shape, -1, np.int16)
    best = np.zeros(task.grid.shape, np.float32)
    orbits: dict[tuple[str, str], Orbit] = {}
    for index, burst in enumerate(task.bursts):
        where = task.grid.find_shared(burst.window.grid)
        if where is None:
            continue
        seam, key = burst.seam, (burst.seam_orbit.name, burst.seam.swath)
        if key not in orbits:
            orbits[key] = burst.seam_orbit.load(seam.swath, seam.polarisation)
        arc = fit_burst_arc(seam, orbits[key])
        margin = measure_margin(seam, *locate(points[where.slices], seam, arc), arc)
        better = margin > best[where.slices]
        best[where.slices][better] = margin[better]
        chosen[where.slices][better] = index
    return chosen


def _copy_burst(
    block: NDArray[np.complex64], wanted: NDArray[np.bool_], file: Path, where: Window, top: int, looks: Looks
) -> None:
    """Copy the wanted output pixels of one burst into rows that begin at output row ``top``.

    The file is mapped for these rows alone: what was read of it is this process's memory until it is unmapped.
    """
    seen = Window(row=top, column=0, rows=wanted.shape[0], columns=wanted.shape[1]).intersection(where)
    if seen is None:
        return
    mask = wanted[seen.row - top : seen.row_stop - top, seen.column : seen.column_stop]
    columns = np.flatnonzero(mask.any(axis=0))
    if columns.size == 0:
        return
    left, right = int(columns[0]), int(columns[-1]) + 1
    rows = slice((seen.row - where.row) * looks.north, (seen.row_stop - where.row) * looks.north)
    first = seen.column - where.column
    part = np.load(file, mmap_mode="r")[rows, (first + left) * looks.east : (first + right) * looks.east].astype(
        np.float32
    )
    fine = mask[:, left:right].repeat(looks.north, axis=0).repeat(looks.east, axis=1)
    target = block[
        (seen.row - top) * looks.north : (seen.row_stop - top) * looks.north,
        (seen.column + left) * looks.east : (seen.column + right) * looks.east,
    ]
    np.copyto(target, part.view(np.complex64)[..., 0], where=fine)


def _make_tags(task: SlcTask) -> dict[str, str]:
    burst = task.bursts[0].window.burst
    return {
        "PRODUCT": "geocoded SLC",
        "DATE": task.date,
        "TIME": f"{task.orbit.start:%Y-%m-%dT%H:%M:%S}Z",
        "TRACK": str(task.track),
        "DIRECTION": task.direction,
        "POLARISATION": burst.polarisation,
        "WAVELENGTH_M": repr(burst.wavelength_m),
        "SCENES": " ".join(task.scenes),
        "BURSTS": " ".join(one.window.burst.label for one in task.bursts),
        "ORBIT": task.orbit.name,
        "DEM": task.dem.path.name,
        "LOOKS_OF_PRODUCTS": str(task.looks),
        "PHASE": PHASE,
        "NOT_REMOVED": NOT_REMOVED,
        "SOFTWARE": f"topsar {__version__}",
    }


def tile_rows(looks: Looks) -> int:
    """Fine rows written at once: about 512, whole output rows, and a whole row of tiles: none is written twice."""
    unit = math.lcm(_SIXTEEN, looks.north)
    return unit * max(BLOCK // unit, 1)


STEP = _Slc()
