"""From pixels of a stack in radar geometry to a map grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject

from topsar.errors import ProductError
from topsar.interferogram import Layer, make_layers
from topsar.model import BBox, GeoGrid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from topsar.engines.radar_stack import RadarStack

_LEAST_SHARE = 0.5
"""Of the samples of a pixel that must have a place."""


class MappedStack(NamedTuple):
    """The grid of the map, the geometry on it, and where the pixels of the stack lie (rows, columns), degrees."""

    grid: GeoGrid
    geometry: Mapping[str, Layer]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]

    def lay(self, values: NDArray[Any], *, is_label: bool = False) -> NDArray[Any]:
        """Lay multilooked values of the stack on the map: the nearest, so that no cycle is averaged with another.

        Parameters
        ----------
        values : (rows, columns)
            NaN, or 0 of labels, is no data.
        is_label : bool
        """
        hole = 0 if is_label else np.nan
        if values.shape != self.latitude.shape:
            msg = f"dolphin left {values.shape} pixels of a stack, and {self.latitude.shape} were expected"
            raise ProductError(msg, hint="its version may place pixels otherwise: topsar was tried with 0.42.9")
        return _warp(values, self.longitude, self.latitude, self.grid, hole)


def map_stack(stack: RadarStack, options: Mapping[str, Any]) -> MappedStack:
    """Choose a map grid for a stack, and lay its geometry on it.

    Parameters
    ----------
    stack : RadarStack
    options : mapping
        ``crs`` and ``posting_m``, as `Options` has them in the types of JSON.
    """
    from topsar.engines.layout import choose_crs, convert_posting
    from topsar.settings import Options

    wanted = Options(crs=options["crs"], posting_m=options["posting_m"])
    latitude, longitude = _average(stack, "lat"), _average(stack, "lon")
    known = np.isfinite(latitude)
    if not known.any():
        msg = f"{stack.folder} knows the place of no pixel"
        raise ProductError(msg, hint="does the height model cover the bursts?")
    box = BBox(
        west=longitude[known].min(),
        south=latitude[known].min(),
        east=longitude[known].max(),
        north=latitude[known].max(),
    )
    crs = choose_crs(wanted, box)
    grid = _cover(box, crs, convert_posting(crs, wanted.posting_m))
    incidence, turn = (np.radians(_average(stack, "los", band)) for band in range(2))
    layers = {
        "height": _average(stack, "hgt"),
        "incidence": np.degrees(incidence),
        "los_east": -np.sin(incidence) * np.sin(turn),
        "los_north": np.sin(incidence) * np.cos(turn),
        "los_up": np.cos(incidence),
    }
    arrays = {
        name: _warp(values.astype(np.float32), longitude, latitude, grid, np.nan) for name, values in layers.items()
    }
    return MappedStack(grid, make_layers(arrays), longitude, latitude)


def _average(stack: RadarStack, name: str, band: int = 0) -> NDArray[np.float64]:
    """Mean of an image of the stack's geometry over its looks; NaN where half of the samples have no place."""
    from dataclasses import replace

    north, east = stack.looks.north, stack.looks.east
    whole = stack.facts.grid.whole
    rows, columns = whole.rows // north, whole.columns // east
    mean = np.full((rows, columns), np.nan)
    step = max(4_000_000 // (north * whole.columns), 1)
    for row in range(0, rows, step):
        count = min(step, rows - row)
        part = replace(whole, row=row * north, rows=count * north)
        place = stack.read_layer("lat", part)[:, 0, : columns * east] != 0
        values = stack.read_layer(name, part)[:, band, : columns * east] * place
        totals, seen = (
            array.reshape(count, north, columns, east).sum(axis=(1, 3), dtype=np.float64) for array in (values, place)
        )
        enough = seen >= _LEAST_SHARE * north * east
        mean[row : row + count] = np.where(enough, totals / np.maximum(seen, 1), np.nan)
    return mean


def _cover(box: BBox, crs: str, posting: float) -> GeoGrid:
    from rasterio.warp import transform_bounds

    west, south, east, north = transform_bounds("EPSG:4326", crs, box.west, box.south, box.east, box.north)
    reach = BBox(west=west, south=south, east=east, north=north)
    return GeoGrid.cover(reach, crs=crs, dx=posting, dy=posting)


def _warp(
    values: NDArray[Any], longitude: NDArray[np.float64], latitude: NDArray[np.float64], grid: GeoGrid, hole: float
) -> NDArray[Any]:
    laid = np.full(grid.shape, hole, values.dtype)
    reproject(
        values,
        laid,
        src_geoloc_array=(_find_corners(longitude), _find_corners(latitude)),
        src_crs=rasterio.CRS.from_epsg(4326),
        src_nodata=hole,
        dst_transform=rasterio.Affine(*grid.transform),
        dst_crs=grid.crs,
        dst_nodata=hole,
        resampling=Resampling.nearest,
        init_dest_nodata=True,
    )
    return laid


def _find_corners(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places of the first corners of pixels, which GDAL wants, from those of their centres; (rows, columns)."""
    for _ in range(2):
        before = np.concatenate([2 * centres[:1] - centres[1:2], centres[:-1]])
        centres = ((centres + before) / 2).T
    return centres
