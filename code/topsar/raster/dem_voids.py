"""Holes of a DEM: sea, or ground that nobody measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SHORE_M = 10.0
"""Heights this near to that of the geoid are a shore."""

SHORE_SHARE = 0.5
"""A hole is sea if this share of its rim is a shore; a void on a slope may touch one."""

_NEIGHBOURS = np.ones((3, 3), bool)
_STRIP_ROWS = 256


def find_sea(voids: NDArray[np.bool_], shore: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the voids that are sea: connected holes most of whose rim is a shore, and one that fills the whole raster.

    The edge of the raster does not count as rim.

    Parameters
    ----------
    voids : (rows, columns) bool
        Where there is no height.
    shore : (rows, columns) bool
        Heights within `SHORE_M` of the geoid; values in the voids do not matter.
    """
    from scipy import ndimage

    holes = np.empty(voids.shape, np.int32)
    count = ndimage.label(voids, structure=_NEIGHBOURS, output=holes)
    rim, near = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    starts = range(0, len(voids), _STRIP_ROWS)
    for first in starts:
        inner, outer = slice(first, first + _STRIP_ROWS), slice(max(first - 1, 0), first + _STRIP_ROWS)
        for part, axis in ((outer, 0), (inner, 1)):
            for hole, is_shore in _walk_rims(holes[part], shore[part], axis):
                rim += np.bincount(hole, minlength=count + 1)
                near += np.bincount(hole[is_shore], minlength=count + 1)
    is_sea = near >= SHORE_SHARE * rim
    is_sea[0] = False
    sea = np.empty_like(voids)
    for first in starts:  # an index of the whole raster would take eight bytes for each posting
        rows = slice(first, first + _STRIP_ROWS)
        sea[rows] = is_sea[holes[rows]]
    return sea


def _walk_rims(
    holes: NDArray[np.int32], shore: NDArray[np.bool_], axis: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
    """Edges of holes along one direction: number of the hole, and whether there is shore on the other side."""
    one, other = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
    for inside, outside in ((one, other), (other, one)):
        edge = (holes[inside] > 0) & (holes[outside] == 0)
        yield holes[inside][edge], shore[outside][edge]


def fill_nearest(heights_m: NDArray[np.float32]) -> None:
    """Give every NaN the height of the nearest pixel that has one, in place; at least one must."""
    from scipy import ndimage

    voids = np.isnan(heights_m)
    nearest = ndimage.distance_transform_edt(voids, return_distances=False, return_indices=True)
    heights_m[voids] = heights_m[tuple(index[voids] for index in nearest)]
