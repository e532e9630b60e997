"""Layers on a grid in degrees, for the clients that read no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from topsar.engines.ground import LONLAT, find_lonlat_box
from topsar.formats.exchange import open_holes
from topsar.model import GeoGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram


def cover_in_degrees(grid: GeoGrid, step_deg: float) -> GeoGrid:
    """Lay a grid in degrees, with edges at whole multiples of its step, over another grid.

    Parameters
    ----------
    grid : GeoGrid
    step_deg : float
    """
    return GeoGrid.cover(find_lonlat_box(grid), crs=LONLAT, dx=step_deg, dy=step_deg)


def warp_layer(ifg: Interferogram, name: str, target: GeoGrid) -> NDArray[Any]:
    """Warp a layer: labels by the nearest pixel, wrapped phase as complex numbers, all else bilinearly.

    Unwrapped phase is warped by cubic convolution, which lowers peaks less, and is a hole where a pixel would mix two
    connected components.

    Parameters
    ----------
    ifg : Interferogram
    name : str
    target : GeoGrid

    Returns
    -------
    (rows, columns) of the layer's dtype
        NaN in holes, or the no-data value of labels.
    """
    layer, grid = ifg.layers[name], ifg.grid
    values = open_holes(layer)
    if values.dtype.kind != "f":
        return warp(values, grid, target, nodata=layer.kind.nodata, how="nearest")
    if layer.kind.cyclic:
        parts = [warp(part(values), grid, target, nodata=np.nan) for part in (np.cos, np.sin)]
        phase: NDArray[Any] = np.arctan2(parts[1], parts[0])
        return phase
    is_phase = layer.kind.unit == "rad" and layer.kind.antisymmetric
    warped: NDArray[Any] = warp(values, grid, target, nodata=np.nan, how="cubic" if is_phase else "bilinear")
    if is_phase and "components" in ifg.layers:
        components = ifg.layers["components"].values
        ends = [warp(components, grid, target, nodata=0, how=how) for how in ("min", "max")]
        warped[ends[0] != ends[1]] = np.nan
    return warped


def warp(
    values: NDArray[Any],
    grid: GeoGrid,
    target: GeoGrid,
    *,
    nodata: float,
    how: Literal["nearest", "bilinear", "cubic", "average", "min", "max"] = "bilinear",
) -> NDArray[Any]:
    """Warp a raster onto another grid.

    Parameters
    ----------
    values : (rows, columns)
    grid, target : GeoGrid
    nodata : float
        The value of holes, before and after.
    how : str
        How a value is made of its neighbours.
    """
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    warped = np.full(target.shape, nodata, values.dtype)
    reproject(
        values,
        warped,
        src_transform=Affine(*grid.transform),
        src_crs=grid.crs,
        src_nodata=nodata,
        dst_transform=Affine(*target.transform),
        dst_crs=target.crs,
        dst_nodata=nodata,
        resampling=Resampling[how],
    )
    return warped
