"""Where there is water: flat ground of the DEM, its voids at sea, or a raster of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from topsar.engines.ground import DEM_MARGIN_DEG, find_dem_pixels, find_lonlat_box, measure_pixel
from topsar.errors import ProductError
from topsar.interferogram import UNKNOWN
from topsar.model import VerticalDatum, Window
from topsar.raster import open_levels
from topsar.raster.dem_voids import SHORE_M, find_sea
from topsar.raster.geotiff import GDAL_ERRORS, WITH_SIDECARS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import Dem, GeoGrid

LEAST_WATER_M2 = 50_000.0
"""Smaller pieces of flat ground are taken for land that happens to be flat."""
LEVEL_M, ELLIPSOIDAL_LEVEL_M = 0.001, 0.02
"""Neighbours that differ by no more are level; where an undulation was added and is taken off again, it rounds."""
_BLOCK_ROWS = 256
_NEIGHBOURS = np.ones((3, 3), bool)


def find_water(dem: Dem, grid: GeoGrid) -> NDArray[np.uint8]:
    """Water as the DEM shows it: connected ground at one height, and voids that are sea.

    Models are edited so that lakes, wide rivers and the sea are level. A posting is level if it and its eight
    neighbours, or it and those of one of them, have one height above the geoid. Heights above the ellipsoid are made
    ones above EGM96 first, which finds water only where they were made from such. The result is 1 in water, 0 on land,
    255 where the DEM does not reach.

    Parameters
    ----------
    dem : Dem
    grid : GeoGrid
        Of the products.
    """
    field = open_levels(dem, find_lonlat_box(grid), DEM_MARGIN_DEG)
    level = ELLIPSOIDAL_LEVEL_M if dem.datum is VerticalDatum.ELLIPSOID else LEVEL_M
    flat = _find_flat(field.heights_m, level)
    voids = np.isnan(field.heights_m)
    if voids.any():
        flat |= find_sea(voids, np.abs(field.heights_m) <= SHORE_M)
    water = np.full(grid.shape, UNKNOWN, np.uint8)
    for top in range(0, grid.rows, _BLOCK_ROWS):
        rows = Window(row=top, column=0, rows=min(_BLOCK_ROWS, grid.rows - top), columns=grid.columns)
        i, j = find_dem_pixels(grid.crop(rows), field)
        inside = (i >= 0) & (j >= 0) & (i < flat.shape[0]) & (j < flat.shape[1])
        water[rows.slices][inside] = flat[i[inside], j[inside]]
    return _remove_puddles(water, grid)


def _find_flat(heights_m: NDArray[np.float32], level_m: float) -> NDArray[np.bool_]:
    """Postings in a level block of three by three."""
    flat = np.zeros(heights_m.shape, bool)
    for top in range(0, max(len(heights_m) - 2, 0), _BLOCK_ROWS):
        strip = heights_m[top : top + _BLOCK_ROWS + 2]
        right = np.abs(strip[:, 1:] - strip[:, :-1]) <= level_m
        down = np.abs(strip[1:] - strip[:-1]) <= level_m
        four = right[1:] & right[:-1] & down[:, 1:] & down[:, :-1]
        centre = four[1:, 1:] & four[1:, :-1] & four[:-1, 1:] & four[:-1, :-1]
        rows, columns = centre.shape
        for i in range(3):
            for j in range(3):
                flat[top + i : top + i + rows, j : j + columns] |= centre
    return flat


def _remove_puddles(water: NDArray[np.uint8], grid: GeoGrid) -> NDArray[np.uint8]:
    if not (water == 1).any():
        return water
    from scipy import ndimage

    east, north = measure_pixel(grid)
    labels = np.empty(grid.shape, np.int32)
    count = ndimage.label(water == 1, structure=_NEIGHBOURS, output=labels)
    small = np.bincount(labels.ravel(), minlength=count + 1) * (east * north) < LEAST_WATER_M2
    small[0] = False
    water[small[labels]] = 0
    return water


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
