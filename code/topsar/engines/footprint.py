"""Where bursts lie on the ground: their outlines at the heights that a DEM has near them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.ground import find_box
from topsar.engines.viewing import fit_burst_arc
from topsar.errors import SceneError
from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.model import BBox, Burst
from topsar.raster import open_dem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from topsar.model import Dem, Orbit

    Outline = tuple[NDArray[np.float64], NDArray[np.float64]]
    """Longitudes and latitudes of points around a burst, degrees."""

ALL_HEIGHTS_M = (-500.0, 8900.0)
"""The lowest and the highest ground there is."""
_OUTLINE_POINTS = 9
_SEARCH_MARGIN_DEG = 0.1
_ROUND_DEG = 0.05
_ROI_MARGIN_DEG = 0.002  # edges of a hull are straight between outline points


class Outlines:
    """Outlines of the bursts of a batch over a DEM, each found once.

    Parameters
    ----------
    dem : Dem
    roi : BBox, optional
        The region of interest, degrees.
    """

    def __init__(self, dem: Dem, roi: BBox | None) -> None:
        self.dem, self.roi = dem, roi
        self._outlines: dict[Burst, Outline | None] = {}
        self._over_voids: set[Burst] = set()
        self._height_range = functools.cache(self._find_height_range)

    def find(self, burst: Burst, orbit: Orbit) -> Outline | None:
        """Outline a burst on the lowest and on the highest ground near it.

        None outside the region of interest, and where the DEM is all void, as over the open sea.

        Parameters
        ----------
        burst : Burst
        orbit : Orbit
        """
        if burst not in self._outlines:
            self._outlines[burst] = self._find(burst, orbit)
        return self._outlines[burst]

    def lie_over_voids(self, bursts: Iterable[Burst]) -> bool:
        """Whether the DEM holds nothing but voids under one of these bursts, which were outlined before."""
        return not self._over_voids.isdisjoint(bursts)

    def _find(self, burst: Burst, orbit: Orbit) -> Outline | None:
        box = require_one_side(find_box(*outline_burst(burst, orbit, (0.0,))), f"burst {burst.label} of {burst.scene}")
        near = box if self.roi is None else box.grow(_SEARCH_MARGIN_DEG).intersection(self.roi)
        if near is None:
            return None
        heights = self._height_range(near.round_out(_ROUND_DEG))  # all dates of a burst ask for the same box
        if heights is None:
            self._over_voids.add(burst)
            return None
        found = outline_burst(burst, orbit, heights)
        return found if self.roi is None or _touch(found, self.roi.grow(_ROI_MARGIN_DEG)) else None

    def _find_height_range(self, box: BBox) -> tuple[float, float] | None:
        """Lowest and highest ground near a box drawn at height zero, the edges of which may show other ground."""
        narrowed = min(_SEARCH_MARGIN_DEG, 0.4 * min(box.east - box.west, box.north - box.south))
        margin = narrowed + _SEARCH_MARGIN_DEG
        heights = open_dem(self.dem, box.grow(-narrowed), margin, covering=False).heights_m
        if not np.isfinite(heights).any():
            return None
        return float(np.nanmin(heights)), float(np.nanmax(heights)) + 1.0


def outline_burst(burst: Burst, orbit: Orbit, heights_m: tuple[float, ...]) -> Outline:
    """Longitude and latitude in degrees around the valid part of a burst, at several heights.

    Parameters
    ----------
    burst : Burst
    orbit : Orbit
    heights_m : tuple of float
        Above the ellipsoid.
    """
    arc = fit_burst_arc(burst, orbit)
    grid, valid = burst.grid, burst.valid
    steps = np.linspace(0, 1, _OUTLINE_POINTS)
    line = np.concatenate([steps * 0, steps * 0 + 1, steps, steps]) * (valid.rows - 1) + valid.row
    sample = np.concatenate([steps, steps, steps * 0, steps * 0 + 1]) * (valid.columns - 1) + valid.column
    time = arc.seconds(grid.first_line_time) + line * grid.line_interval_s
    range_m = grid.near_range_m + sample * grid.range_spacing_m
    points = np.concatenate([rdr2geo(time, range_m, height, arc) for height in heights_m])
    lat, lon, _ = ecef_to_geodetic(points)
    return np.degrees(lon), np.degrees(lat)


def lies_in(burst: Burst, orbit: Orbit, roi: BBox, heights_m: tuple[float, ...]) -> bool:
    """Whether the valid part of a burst shares area with a region, on ground between some heights.

    Parameters
    ----------
    burst : Burst
    orbit : Orbit
    roi : BBox
        Degrees.
    heights_m : tuple of float
        Lowest and highest, above the ellipsoid.
    """
    outline = outline_burst(burst, orbit, heights_m)
    require_one_side(find_box(*outline), f"burst {burst.label} of {burst.scene}")
    return _touch(outline, roi.grow(_ROI_MARGIN_DEG))


def _touch(points: Outline, box: BBox) -> bool:
    """Whether the convex hull of points shares area with a box: no side of either separates them."""
    if not find_box(*points).intersects(box):
        return False
    corners = np.array([(x, y) for x in (box.west, box.east) for y in (box.south, box.north)])
    from scipy.spatial import ConvexHull

    sides = ConvexHull(np.column_stack(points)).equations
    outside = corners @ sides[:, :2].T + sides[:, 2] > 0
    return not outside.all(axis=0).any()


def require_one_side(box: BBox, name: str) -> BBox:
    """Refuse what lies on both sides of the 180th meridian: the box around it would go around the Earth.

    Parameters
    ----------
    box : BBox
        Degrees.
    name : str
        Whose box it is.
    """
    if box.east - box.west > 180.0:
        msg = f"{name} crosses the 180th meridian, which is not supported"
        raise SceneError(msg, hint="leave out the slice or, with SWATHS, the swath that does")
    return box


def unite_boxes(boxes: list[BBox]) -> BBox:
    """The smallest box around all boxes."""
    return functools.reduce(BBox.union, boxes)
