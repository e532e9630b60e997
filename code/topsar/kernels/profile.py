"""Heights, places and visibility of the pixels of a zero-Doppler image: from range to the ground.

All ground of an image line lies in the plane of zero Doppler, at right angles to the velocity. In it the satellite is
the origin, one axis points down (toward the Earth's centre, as far as the plane allows) and one to the right. A place
on the ground is named by the slant range s that it would have at height zero, and raised by its height h along the
direction m in which the ellipsoid's normal appears in the plane, stretched so that h is still the height above the
ellipsoid (to 0.1 mm at 9000 m). Then

    down = √(s² - w²) + h m_down,   right = w + h m_right,   R = √(down² + right²)

are exact, w being the place to the right of s at height zero. w, m and everything else that a place needs change
smoothly with the line and with s: they are tabulated on nodes, and interpolated linearly.

Node arrays are (node lines, node ranges, `CHANNELS`) float64; their first range is that of the profile's first point.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from topsar.kernels.resample import find_cubic_slope, interpolate_cubic

CHANNELS = 18
"""0-1: latitude and longitude at height zero, degrees; 2-3: their change per metre of height; 4-5: row and column in
the DEM, integers at pixel centres; 6-7: their change per metre of height; 8: w, m; 9-10: m; 11: direction from the
ground to the satellite, degrees anticlockwise from north; 12-15: change of the DEM's row and column per metre to the
east, and of both per metre to the north; 16-17: that direction on the map, as a unit vector east and north."""
SHADOWED, FOLDED = 1, 2
"""Bits of the mask, as ISCE2's: ground that the radar does not see, and pixels that show more than one place."""
_TOLERANCE_M = 1e-4
_MOST_STEPS = 30


class RangeAxis(NamedTuple):
    """Slant ranges of the samples wanted, and of the points of the profile through the terrain; m."""

    near_m: float
    spacing_m: float
    first_m: float
    step_m: float
    points: int
    points_per_node: int


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _mix(strip, at, channel):  # type: ignore[no-untyped-def]
    """A channel at a fractional node."""
    a = min(int(at), strip.shape[0] - 2)
    return strip[a, channel] + (at - a) * (strip[a + 1, channel] - strip[a, channel])


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _find_height(strip, at, dem, guess):  # type: ignore[no-untyped-def]
    """Height of the terrain over a place; beyond the DEM that of its edge.

    High ground lies a few metres aside of what is at the same place at height zero: ``guess`` is good enough for that.
    """
    row = _mix(strip, at, 4) + guess * _mix(strip, at, 6)
    column = _mix(strip, at, 5) + guess * _mix(strip, at, 7)
    row, column = max(row, 1.0), max(column, 1.0)
    return interpolate_cubic(dem, min(row, dem.shape[0] - 2.001), min(column, dem.shape[1] - 2.001))


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _find_place(strip, at, s, h):  # type: ignore[no-untyped-def]
    """Where ground of a height lies in the plane: down and to the right of the satellite, m."""
    w = _mix(strip, at, 8)
    return math.sqrt(s * s - w * w) + h * _mix(strip, at, 9), w + h * _mix(strip, at, 10)


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _trace(strip, axis, dem, height, range_m, seen):  # type: ignore[no-untyped-def]
    """Heights and slant ranges along the profile, and whether the radar sees them: nothing nearer is as far out."""
    h = 0.0
    outmost = -np.inf
    for k in range(axis.points):
        at = k / axis.points_per_node
        h = _find_height(strip, at, dem, _find_height(strip, at, dem, h))  # as `_meet` has it at either end
        down, right = _find_place(strip, at, axis.first_m + k * axis.step_m, h)
        height[k] = h
        range_m[k] = math.sqrt(down * down + right * right)
        seen[k] = right / down >= outmost
        outmost = max(outmost, right / down)


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _cross(axis, range_m, seen, piece, count):  # type: ignore[no-untyped-def]
    """For each sample the piece of the profile at its range, the outermost that is seen, and how many there are."""
    for k in range(axis.points - 1):
        low, high = min(range_m[k], range_m[k + 1]), max(range_m[k], range_m[k + 1])
        first = max(math.ceil((low - axis.near_m) / axis.spacing_m), 0)
        last = min(math.ceil((high - axis.near_m) / axis.spacing_m), piece.size)
        for sample in range(first, last):
            count[sample] += 1
            if piece[sample] < 0 or seen[k] or not seen[piece[sample]]:
                piece[sample] = k


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _weigh(miss, before):  # type: ignore[no-untyped-def]
    """What is left of the miss at the other end, where one end moved twice (Anderson and Björck 1973)."""
    left = 1.0 - miss / before
    return left if left > 0.0 else 0.5


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _meet(strip, axis, dem, k, range_m, height, wanted):  # type: ignore[no-untyped-def]
    """Where the terrain between two points of the profile has a slant range, by false position.

    Its s and height, and its place in the plane.
    """
    low, high = axis.first_m + k * axis.step_m, axis.first_m + (k + 1) * axis.step_m
    miss_low, miss_high = range_m[k] - wanted, range_m[k + 1] - wanted
    start, rise = low, (height[k + 1] - height[k]) / axis.step_m
    s, h, side = low, height[k], 0
    down, right = _find_place(strip, (low - axis.first_m) / (axis.step_m * axis.points_per_node), s, h)
    for _ in range(_MOST_STEPS):
        if miss_high == miss_low:
            break
        s = (low * miss_high - high * miss_low) / (miss_high - miss_low)
        at = (s - axis.first_m) / (axis.step_m * axis.points_per_node)
        h = _find_height(strip, at, dem, height[k] + rise * (s - start))
        down, right = _find_place(strip, at, s, h)
        miss = math.sqrt(down * down + right * right) - wanted
        if abs(miss) < _TOLERANCE_M:
            break
        if (miss > 0) == (miss_high > 0):
            if side == 1:
                miss_low *= _weigh(miss, miss_high)
            high, miss_high, side = s, miss, 1
        else:
            if side == -1:
                miss_high *= _weigh(miss, miss_low)
            low, miss_low, side = s, miss, -1
    return s, h, down, right


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _find_angles(strip, at, down, right, dem, row, column):  # type: ignore[no-untyped-def]
    """Angles in radians: vertical to satellite, terrain's normal to slant plane's, terrain's normal to satellite.

    ``row`` and ``column`` are those in the DEM.
    """
    m_down, m_right = _mix(strip, at, 9), _mix(strip, at, 10)
    upward = -(down * m_down + right * m_right) / math.sqrt(
        (down * down + right * right) * (m_down * m_down + m_right * m_right)
    )
    row, column = max(row, 1.0), max(column, 1.0)
    per_row, per_column = find_cubic_slope(dem, min(row, dem.shape[0] - 2.001), min(column, dem.shape[1] - 2.001))
    east = per_row * _mix(strip, at, 12) + per_column * _mix(strip, at, 13)
    north = per_row * _mix(strip, at, 14) + per_column * _mix(strip, at, 15)
    falling = -(east * _mix(strip, at, 16) + north * _mix(strip, at, 17))  # toward the satellite
    steep = math.sqrt(1.0 + east * east + north * north)
    sine = math.sqrt(max(1.0 - upward * upward, 0.0))
    to_plane = math.acos(min(max((sine - falling * upward) / steep, -1.0), 1.0))
    to_satellite = math.acos(min(max((upward + falling * sine) / steep, -1.0), 1.0))
    return math.acos(min(upward, 1.0)), to_plane, to_satellite


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def place_pixels(nodes, lines, axis, filled, dem, has_voids, lat, lon, height, los, local, mask):  # type: ignore[no-untyped-def]
    """Find the ground that the pixels of some lines show: rdr2geo with a terrain.

    Along each line the terrain is sampled as a profile, whose slant ranges say between which of its points a pixel's
    range is met; there the surface (Catmull-Rom interpolation of the DEM) is followed until the range fits to 0.1 mm.
    A pixel whose range is met several times lies in layover: of the places that the radar sees, the outermost is taken.

    Parameters
    ----------
    nodes : (r, c, CHANNELS) float64
    lines : (n,) float64
        Fractional node lines of the image lines wanted.
    axis : RangeAxis
    filled, dem : (rows, columns) float32
        Heights above the ellipsoid, m, without voids and with them (NaN).
    has_voids : bool
        Whether there are any.
    lat, lon : (n, samples) float64
        Filled with degrees.
    height : (n, samples) float64
        Filled with m; NaN where the DEM is void.
    los : (n, 2, samples) float32
        Filled with the incidence angle on the ellipsoid and the direction to the satellite, degrees anticlockwise from
        north.
    local : (n, 2, samples) float32
        Filled with the angles from the terrain's normal to that of the slant plane, and to the satellite; degrees.
    mask : (n, samples) uint8
        Filled with the sum of `SHADOWED` and `FOLDED`.
    """
    for n in prange(lines.size):
        a = min(int(lines[n]), nodes.shape[0] - 2)
        strip = nodes[a] + (lines[n] - a) * (nodes[a + 1] - nodes[a])
        samples = lat.shape[1]
        heights, ranges = np.empty(axis.points), np.empty(axis.points)
        seen, piece, count = np.empty(axis.points, np.bool_), np.full(samples, -1), np.zeros(samples, np.int32)
        _trace(strip, axis, filled, heights, ranges, seen)
        _cross(axis, ranges, seen, piece, count)
        for sample in range(samples):
            k = piece[sample]
            if k < 0:
                lat[n, sample] = lon[n, sample] = height[n, sample] = np.nan
                los[n, :, sample] = local[n, :, sample] = np.nan
                mask[n, sample] = 0
                continue
            wanted = axis.near_m + sample * axis.spacing_m
            s, h, down, right = _meet(strip, axis, filled, k, ranges, heights, wanted)
            at = (s - axis.first_m) / (axis.step_m * axis.points_per_node)
            height[n, sample] = h
            row, column = _mix(strip, at, 4) + h * _mix(strip, at, 6), _mix(strip, at, 5) + h * _mix(strip, at, 7)
            outside = min(row, column) < 1.0 or row >= dem.shape[0] - 2 or column >= dem.shape[1] - 2
            if outside or (has_voids and math.isnan(interpolate_cubic(dem, row, column))):
                height[n, sample] = np.nan
            lat[n, sample] = _mix(strip, at, 0) + h * _mix(strip, at, 2)
            lon[n, sample] = _mix(strip, at, 1) + h * _mix(strip, at, 3)
            incidence, to_plane, to_satellite = _find_angles(strip, at, down, right, filled, row, column)
            los[n, 0, sample], los[n, 1, sample] = math.degrees(incidence), _mix(strip, at, 11)
            local[n, 0, sample], local[n, 1, sample] = math.degrees(to_plane), math.degrees(to_satellite)
            hidden = SHADOWED if not (seen[k] and seen[k + 1]) else 0
            mask[n, sample] = hidden + (FOLDED if count[sample] > 1 else 0)
