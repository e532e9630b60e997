"""Holes of a DEM: sea, or ground that nobody measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHORE_M = 10.0
"""A hole whose rim comes this near to the geoid somewhere is sea."""

_NEIGHBOURS = np.ones((3, 3), bool)


def sea_among(voids: NDArray[np.bool_], above_geoid_m: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the voids are sea: connected holes with a shore, and a hole that fills the whole raster.

    Parameters
    ----------
    voids : (rows, columns) bool
    above_geoid_m : (rows, columns) float32
        Heights above the geoid; what stands in the voids does not matter.

    Returns
    -------
    (rows, columns) bool

    Examples
    --------
    >>> heights = np.array([[900, 900, 900, 3, 0], [900, 0, 900, 2, 0]], np.float32)
    >>> sea_among(heights == 0, heights).astype(int)
    array([[0, 0, 0, 0, 1],
           [0, 0, 0, 0, 1]])
    """
    holes, count = ndimage.label(voids, structure=_NEIGHBOURS)
    if count == 0:
        return voids.copy()
    near_geoid = ~voids & (np.abs(above_geoid_m) <= SHORE_M)
    is_sea = np.zeros(count + 1, bool)
    is_sea[np.unique(holes[ndimage.binary_dilation(near_geoid, _NEIGHBOURS)])] = True
    is_sea[0] = False
    if count == 1 and voids.all():
        is_sea[1] = True
    return is_sea[holes]


def fill_nearest(heights_m: NDArray[np.float32]) -> None:
    """Give every NaN the height of the nearest pixel that has one, in place; at least one must.

    Examples
    --------
    >>> heights = np.array([[5, np.nan, np.nan, 9]], np.float32)
    >>> fill_nearest(heights)
    >>> heights
    array([[5., 5., 9., 9.]], dtype=float32)
    """
    voids = np.isnan(heights_m)
    nearest = ndimage.distance_transform_edt(voids, return_distances=False, return_indices=True)
    heights_m[voids] = heights_m[tuple(index[voids] for index in nearest)]
