"""Where there is water: level ground of the DEM, its voids at sea, or a raster of the user's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from topsar.engines.ground import DEM_MARGIN_DEG, find_dem_pixels, find_lonlat_box, measure_pixel
from topsar.errors import ProductError
from topsar.interferogram import UNKNOWN
from topsar.model import GeoGrid, VerticalDatum, Window
from topsar.raster import open_levels
from topsar.raster.dem_voids import SHORE_M, find_sea
from topsar.raster.geotiff import GDAL_ERRORS, WITH_SIDECARS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import Dem
    from topsar.raster import HeightField

LEAST_WATER_M2 = 50_000.0
"""Smaller pieces of level ground are taken for land that happens to be level."""
LEVEL_M, ELLIPSOIDAL_LEVEL_M = 0.001, 0.02
"""Neighbours that differ by no more are level; where an undulation was added and is taken off again, it rounds."""
SEA_M, ELLIPSOIDAL_SEA_M = 0.001, 1.0
"""Level ground this near to the geoid is sea; geoid models differ."""
LOWER, LOWER_IN_STEPS = 0.3, 0.05
"""Shares of the rim that may lie lower than water: a river or a reservoir has an outlet, the step of a slope a lower
side. Where heights come in steps, level ground alone proves nothing, and water must be closed."""
GENTLE = 0.8
"""Share of a higher rim that is a step higher at most, from which a closed hollow may as well be a plain."""
_ELLIPSOIDAL_STEP_M = 0.1
_SAMPLES, _FEW_SAMPLES, _IN_STEPS = 1 << 16, 1000, 0.9
_LAND, _WATER = 0, 1
_BLOCK_ROWS = 256
_NEIGHBOURS = np.ones((3, 3), bool)


def find_water(dem: Dem, grid: GeoGrid) -> NDArray[np.uint8]:
    """Water as the DEM shows it: level ground whose rim is that of water, and voids that are sea.

    Models are edited so that lakes, wide rivers and the sea are level. A posting is level if it and its eight
    neighbours, or it and those of one of them, have one height above the geoid. Heights above the ellipsoid are made
    ones above EGM96 first, which finds water only where they were made from such. Water lies lower than its rim; level
    ground with a lower rim is a terrace, as whole metres make them of every plain. The result is 1 in water, 0 on land,
    255 where the DEM does not reach or tell.

    Parameters
    ----------
    dem : Dem
    grid : GeoGrid
        Of the products.
    """
    field = open_levels(dem, find_lonlat_box(grid), DEM_MARGIN_DEG)
    heights, ellipsoidal = field.heights_m, dem.datum is VerticalDatum.ELLIPSOID
    labels = _label_level(heights, ELLIPSOIDAL_LEVEL_M if ellipsoidal else LEVEL_M)
    kinds = _judge_pieces(labels, _measure_rims(labels, heights, ellipsoidal=ellipsoidal), _measure_posting_m2(field))
    voids = np.isnan(heights)
    sea = find_sea(voids, np.abs(heights) <= SHORE_M) if voids.any() else voids
    water = np.full(grid.shape, UNKNOWN, np.uint8)
    for top in range(0, grid.rows, _BLOCK_ROWS):
        rows = Window(row=top, column=0, rows=min(_BLOCK_ROWS, grid.rows - top), columns=grid.columns)
        i, j = find_dem_pixels(grid.crop(rows), field)
        inside = (i >= 0) & (j >= 0) & (i < labels.shape[0]) & (j < labels.shape[1])
        i, j = i[inside], j[inside]
        found = np.where(voids[i, j], np.where(sea[i, j], _WATER, UNKNOWN), kinds[labels[i, j]])
        water[rows.slices][inside] = found
    return water


def _label_level(heights_m: NDArray[np.float32], level_m: float) -> NDArray[np.int32]:
    """Number the connected pieces of level ground, made of level blocks of three by three, from 1; 0 elsewhere."""
    from scipy import ndimage

    centres = np.zeros(heights_m.shape, bool)
    for top in range(0, max(len(heights_m) - 2, 0), _BLOCK_ROWS):
        strip = heights_m[top : top + _BLOCK_ROWS + 2]
        right = np.abs(strip[:, 1:] - strip[:, :-1]) <= level_m
        down = np.abs(strip[1:] - strip[:-1]) <= level_m
        four = right[1:] & right[:-1] & down[:, 1:] & down[:, :-1]
        centres[top + 1 : top + len(strip) - 1, 1:-1] = four[1:, 1:] & four[1:, :-1] & four[:-1, 1:] & four[:-1, :-1]
    labels = np.empty(heights_m.shape, np.int32)
    ndimage.label(centres, structure=_NEIGHBOURS, output=labels)
    above = np.zeros_like(labels[:1])
    for top in range(0, len(labels), _BLOCK_ROWS):  # from centres to blocks, in place: labels are as large as the DEM
        block = labels[top : top + _BLOCK_ROWS]
        below = labels[top + len(block) : top + len(block) + 1]
        spread = ndimage.maximum_filter(np.concatenate([above, block, below]), size=3)
        above = block[-1:].copy()
        block[...] = spread[1 : 1 + len(block)]
    return labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rims:
    """What lies around each piece of level ground, by its number.

    ``neighbours`` are edges to postings at another height, ``lower`` those to lower ones, ``gentle`` those to ones that
    are higher by a step at most. ``most_lower`` is the share that may be lower around water.
    """

    neighbours: NDArray[np.int64]
    lower: NDArray[np.int64]
    gentle: NDArray[np.int64]
    at_sea_level: NDArray[np.bool_]
    most_lower: float


def _measure_rims(labels: NDArray[np.int32], heights_m: NDArray[np.float32], *, ellipsoidal: bool) -> _Rims:
    level_m = ELLIPSOIDAL_LEVEL_M if ellipsoidal else LEVEL_M
    step_m = _ELLIPSOIDAL_STEP_M if ellipsoidal else _find_step_m(labels, heights_m)
    count = int(labels.max(initial=0)) + 1
    neighbours, lower, gentle = np.zeros((3, count), np.int64)
    at_sea_level = np.zeros(count, bool)
    for first in range(0, len(labels), _BLOCK_ROWS):
        inner, outer = slice(first, first + _BLOCK_ROWS), slice(max(first - 1, 0), first + _BLOCK_ROWS)
        at_sea_level[labels[inner][np.abs(heights_m[inner]) <= (ELLIPSOIDAL_SEA_M if ellipsoidal else SEA_M)]] = True
        for part, axis in ((outer, 0), (inner, 1)):
            one, other = (tuple([slice(None)] * axis + [side]) for side in (slice(None, -1), slice(1, None)))
            for here, there in ((one, other), (other, one)):
                piece, heights = labels[part][here], heights_m[part]
                rim = (piece > 0) & (piece != labels[part][there])
                piece, rise = piece[rim], heights[there][rim] - heights[here][rim]
                piece, rise = piece[np.abs(rise) > level_m], rise[np.abs(rise) > level_m]
                neighbours += np.bincount(piece, minlength=count)
                lower += np.bincount(piece[rise < 0], minlength=count)
                gentle += np.bincount(piece[(rise > 0) & (rise <= step_m + level_m)], minlength=count)
    return _Rims(
        neighbours=neighbours,
        lower=lower,
        gentle=gentle,
        at_sea_level=at_sea_level,
        most_lower=LOWER_IN_STEPS if step_m else LOWER,
    )


def _find_step_m(labels: NDArray[np.int32], heights_m: NDArray[np.float32]) -> float:
    """The step in which heights are given, a metre or a decimetre; zero where they are finer."""
    every = max(int(np.sqrt(heights_m.size / _SAMPLES)), 1)
    sampled, level = heights_m[::every, ::every], labels[::every, ::every] > 0
    rough = sampled[np.isfinite(sampled) & ~level]
    known = rough if rough.size >= _FEW_SAMPLES else sampled[np.isfinite(sampled)]
    for step_m in (1.0, 0.1):
        if known.size and (np.abs(known - step_m * np.rint(known / step_m)) <= LEVEL_M).mean() > _IN_STEPS:
            return step_m
    return 0.0


def _judge_pieces(labels: NDArray[np.int32], rims: _Rims, posting_m2: float) -> NDArray[np.uint8]:
    """Judge each piece of level ground by its number: water, land or unknown; what is not level is land."""
    seen, lower = rims.neighbours > 0, rims.lower / np.maximum(rims.neighbours, 1)
    closed, plain = lower <= rims.most_lower, rims.gentle >= GENTLE * (rims.neighbours - rims.lower)
    kinds = np.full(len(lower), _LAND, np.uint8)
    kinds[~seen | (closed & plain) | ((lower <= LOWER) & ~closed & ~plain)] = UNKNOWN
    kinds[closed & (rims.at_sea_level | (seen & ~plain))] = _WATER
    sizes = sum(
        np.bincount(labels[top : top + _BLOCK_ROWS].ravel(), minlength=len(kinds))
        for top in range(0, len(labels), _BLOCK_ROWS)
    )
    kinds[sizes * posting_m2 < LEAST_WATER_M2] = _LAND
    kinds[0] = _LAND
    return kinds


def _measure_posting_m2(field: HeightField) -> float:
    (a, _, c, _, e, f), (rows, columns) = field.transform, field.heights_m.shape
    postings = GeoGrid(crs=field.crs, west=c - a / 2, north=f - e / 2, dx=a, dy=-e, rows=rows, columns=columns)
    return math.prod(measure_pixel(postings))


def warp_water(path: Path, grid: GeoGrid) -> NDArray[np.uint8]:
    """Water (1) of a raster in any coordinate system: where the nearest pixel is neither 0 nor a hole; else 0.

    Parameters
    ----------
    path : Path
        Of the raster.
    grid : GeoGrid
        Of the products.
    """
    try:
        with rasterio.Env(**WITH_SIDECARS), rasterio.open(path) as source:
            target: dict[str, Any] = {"crs": grid.crs, "transform": Affine(*grid.transform)}
            size = {"height": grid.rows, "width": grid.columns}
            with WarpedVRT(source, **target, **size, resampling=Resampling.nearest) as warped:
                values = warped.read(1, masked=True)
    except GDAL_ERRORS as exc:
        msg = f"cannot read the water mask {path}: {exc}"
        raise ProductError(msg, hint="give a raster that GDAL opens in WATER_MASK, or leave it empty") from exc
    return np.asarray(values.filled(0) != 0, np.uint8)
