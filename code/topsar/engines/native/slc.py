"""The steps that make a stack: the SLC of a date on the fine grid, and the amplitude dispersion of all dates."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterWindow

from topsar import __version__
from topsar.engines.ground import dem_under, ground_points
from topsar.engines.native.tasks import LEAST_DATES
from topsar.engines.viewing import burst_arc, burst_margin, locate
from topsar.model import Window
from topsar.raster import Labels, open_geotiff
from topsar.raster.geotiff import BLOCK

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.native.tasks import DispersionTask, SlcTask, StackBurst
    from topsar.model import Looks, Orbit

SAMPLED_STRIPS = 16
"""So many strips of a stack decide how bright each date is."""
_SIXTEEN = 16  # what tiles of a TIFF must be multiples of

UNIT = "digital numbers, uncalibrated"
PHASE = (
    "flat earth and topography removed: the SLC times exp(+j 4 pi R / wavelength), R the slant range of the pixel; "
    "reference * conj(secondary) of two dates is their interferogram"
)
NOT_REMOVED = (
    "azimuth misregistration, which is measured per pair: azimuth_misregistration in the facts.json of the pairs"
)


# --- one date ---------------------------------------------------------------------------------------------------


def write_slc(task: SlcTask, runs: Path) -> None:
    """Lay the geocoded bursts of a date side by side in ``<date>.tif``, complex64."""
    looks, fine = task.looks, task.grid.refined(task.looks)
    chosen = choose_bursts(task)
    height = tile_rows(looks)
    files = [np.load(runs / burst.file, mmap_mode="r") for burst in task.bursts]
    wheres = [task.grid.window_of(burst.window.grid) for burst in task.bursts]
    description = f"geocoded SLC of {task.date}"
    with open_geotiff(
        runs / task.file,
        fine,
        "complex64",
        nodata=0,
        tile_rows=height,
        labels=Labels(unit=UNIT, description=description, tags=_tags(task)),
    ) as dataset:
        for top in range(0, task.grid.rows, height // looks.north):
            rows = min(height // looks.north, task.grid.rows - top)
            block = np.zeros((rows * looks.north, fine.columns), np.complex64)
            for index, (file, where) in enumerate(zip(files, wheres, strict=True)):
                _lay(block, chosen[top : top + rows] == index, file, where, top, looks)
            if block.any():
                window = RasterWindow(0, top * looks.north, fine.columns, block.shape[0])
                dataset.write(block, 1, window=window)


def choose_bursts(task: SlcTask) -> NDArray[np.int16]:
    """Which burst each output pixel comes from, -1 outside: the one whose edges are farthest away on its first date."""
    _, points = ground_points(task.grid, dem_under(task.dem, task.grid))
    chosen = np.full(task.grid.shape, -1, np.int16)
    best = np.zeros(task.grid.shape, np.float32)
    whole = Window(row=0, column=0, rows=task.grid.rows, columns=task.grid.columns)
    orbits: dict[tuple[str, str], Orbit] = {}
    for index, burst in enumerate(task.bursts):
        where = task.grid.window_of(burst.window.grid).intersection(whole)
        if where is None:
            continue
        margin = _margin(burst, points[where.slices], orbits)
        better = margin > best[where.slices]
        best[where.slices][better] = margin[better]
        chosen[where.slices][better] = index
    return chosen


def _margin(
    burst: StackBurst, points_m: NDArray[np.float64], orbits: dict[tuple[str, str], Orbit]
) -> NDArray[np.float32]:
    seam, key = burst.seam, (burst.seam_orbit.name, burst.seam.swath)
    if key not in orbits:
        orbits[key] = burst.seam_orbit.load(seam.swath, seam.polarisation)
    arc = burst_arc(seam, orbits[key])
    return burst_margin(seam, *locate(points_m, seam, arc), arc)


def _lay(
    block: NDArray[np.complex64], wanted: NDArray[np.bool_], file: NDArray[Any], where: Window, top: int, looks: Looks
) -> None:
    """Copy the wanted output pixels of one burst into rows that begin at output row ``top``."""
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
    part = file[rows, (first + left) * looks.east : (first + right) * looks.east].astype(np.float32)
    fine = mask[:, left:right].repeat(looks.north, axis=0).repeat(looks.east, axis=1)
    target = block[
        (seen.row - top) * looks.north : (seen.row_stop - top) * looks.north,
        (seen.column + left) * looks.east : (seen.column + right) * looks.east,
    ]
    np.copyto(target, part.view(np.complex64)[..., 0], where=fine)


def _tags(task: SlcTask) -> dict[str, str]:
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


# --- all dates --------------------------------------------------------------------------------------------------


def write_dispersion(task: DispersionTask, runs: Path) -> None:
    """Deviation of the amplitude over its mean, of the dates that see a pixel, each first divided by its brightness.

    Ferretti, Prati and Rocca, 2001, IEEE TGRS 39, "Permanent scatterers in SAR interferometry"; the deviation is that
    of a sample (n - 1). NaN where fewer than three dates have signal.
    """
    with ExitStack() as opened:
        dates = [opened.enter_context(rasterio.open(runs / file)) for file in task.files]
        height, fine = tile_rows(task.looks), task.grid.refined(task.looks)
        strips = [
            RasterWindow(0, top, fine.columns, min(height, fine.rows - top)) for top in range(0, fine.rows, height)
        ]
        brightness = _brightness(dates, strips)
        tags = {
            "PRODUCT": "amplitude dispersion",
            "DATES": " ".join(date.tags()["DATE"] for date in dates),
            "BRIGHTNESS": " ".join(f"{value:.6g}" for value in brightness),
            "SOFTWARE": f"topsar {__version__}",
        }
        said = "standard deviation of amplitude over its mean"
        with open_geotiff(
            runs / task.file,
            fine,
            "float32",
            nodata=math.nan,
            tile_rows=height,
            labels=Labels(unit="1", description=said, tags=tags),
        ) as dataset:
            for strip in strips:
                dataset.write(_dispersion(dates, brightness, strip), 1, window=strip)


def _brightness(dates: list[Any], strips: list[RasterWindow]) -> list[float]:
    """Mean amplitude of each date over pixels that all dates see, in strips spread over the grid; else over its own."""
    shared, own, counts = (np.zeros(len(dates)) for _ in range(3))
    for strip in strips[:: math.ceil(len(strips) / SAMPLED_STRIPS)]:
        amplitudes = [np.abs(date.read(1, window=strip)) for date in dates]
        by_all = np.all([amplitude > 0 for amplitude in amplitudes], axis=0)
        for index, amplitude in enumerate(amplitudes):
            shared[index] += amplitude[by_all].sum(dtype=np.float64)
            own[index] += amplitude.sum(dtype=np.float64)
            counts[index] += np.count_nonzero(amplitude)
    bright = shared if shared.all() else own / np.maximum(counts, 1)
    return [float(value) if value else 1.0 for value in bright / (bright.max() or 1.0)]


def _dispersion(dates: list[Any], brightness: list[float], strip: RasterWindow) -> NDArray[np.float32]:
    shape = strip.height, strip.width
    count, total, squares = (np.zeros(shape, np.float32) for _ in range(3))
    for date, bright in zip(dates, brightness, strict=True):
        amplitude = np.abs(date.read(1, window=strip)) / np.float32(bright)
        count += amplitude > 0
        total += amplitude
        squares += amplitude * amplitude
    seen = count >= LEAST_DATES
    mean = total[seen] / count[seen]
    variance = np.maximum(squares[seen] - count[seen] * mean**2, 0) / (count[seen] - 1)
    dispersion = np.full(shape, np.nan, np.float32)
    dispersion[seen] = np.sqrt(variance) / mean
    return dispersion


def tile_rows(looks: Looks) -> int:
    """Fine rows written at once: about 512, whole output rows, and a whole row of tiles: none is written twice."""
    unit = math.lcm(_SIXTEEN, looks.north)
    return unit * max(BLOCK // unit, 1)
