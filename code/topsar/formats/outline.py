"""The outline of what a pair shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from shapely import Polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.model import GeoGrid


_TOLERANCE = 5
"""Pixels that corners may be off."""


def draw_outline(seen: NDArray[np.bool_], grid: GeoGrid) -> Polygon:
    """Draw a polygon down the first and up the last pixel of every row that shows something, in map coordinates.

    Parameters
    ----------
    seen : (rows, columns) bool
        True somewhere.
    grid : GeoGrid
    """
    rows = np.flatnonzero(seen.any(axis=1))
    left, right = seen[rows].argmax(axis=1), seen.shape[1] - seen[rows, ::-1].argmax(axis=1)
    tops = np.column_stack([rows, rows + 1]).ravel()
    corners = [np.column_stack([np.repeat(edge, 2), tops]) for edge in (left, right)]
    ring = np.vstack([corners[0], corners[1][::-1]])
    x, y = grid.west + ring[:, 0] * grid.dx, grid.north - ring[:, 1] * grid.dy
    drawn = Polygon(np.column_stack([x, y])).simplify(_TOLERANCE * max(grid.dx, grid.dy))
    return drawn if isinstance(drawn, Polygon) and drawn.is_valid else Polygon(np.column_stack([x, y])).convex_hull
