"""Nodes between which the kernels interpolate: the ground under a burst, and where another date sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.ground import LONLAT, change_crs
from topsar.engines.native.steps.geocode import surround
from topsar.engines.viewing import locate
from topsar.kernels.coregister import OFFSET_STEP, Offsets, fit_heights, height_levels
from topsar.kernels.geometry import ecef_to_geodetic, geodetic_to_ecef, rdr2geo, up_vector
from topsar.kernels.profile import CHANNELS, RangeAxis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst, Window
    from topsar.raster import HeightField

LINE_STEP = 32
"""Image lines from node to node: 450 m, over which the ellipsoid bends by 4 mm."""
PROFILE_SAMPLES, PROFILE_NODE = 4, 16
"""Image samples from point to point of a profile (15 m on the ground), and points from node to node."""
_RAISED_M = 1000.0
_STEP_RAD = 1e-5
_MARGIN_M = 200.0
_SEEN_MARGIN = 8, 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroundNodes:
    """Nodes under a window of a burst, as `topsar.kernels.profile` describes them; node lines begin at its first line.

    ``axis`` begins at its first sample.
    """

    nodes: NDArray[np.float64]
    axis: RangeAxis


def lay_ground_nodes(burst: Burst, window: Window, arc: OrbitArc, field: HeightField) -> GroundNodes:
    """Lay the nodes for all ground that a window of a burst may show.

    Parameters
    ----------
    burst : Burst
    window : Window
        Lines and samples of the burst.
    arc : OrbitArc
    field : HeightField
        Whose heights are to be taken.
    """
    grid = burst.grid
    lines = window.row + np.arange(-(-window.rows // LINE_STEP) + 1) * LINE_STEP
    times = np.asarray(arc.seconds(grid.first_line_time) + lines * grid.line_interval_s)
    step = PROFILE_SAMPLES * grid.range_spacing_m
    near = grid.near_range_m + window.column * grid.range_spacing_m
    # what is h higher at the same range lies h cos(incidence) farther out at height zero
    low, high = min(float(np.nanmin(field.heights_m)), 0.0), max(float(np.nanmax(field.heights_m)), 0.0)
    first = near + low - _MARGIN_M
    last = near + window.columns * grid.range_spacing_m + high + _MARGIN_M
    spans = math.ceil((last - first) / (step * PROFILE_NODE))
    ranges = np.asarray(first + np.arange(spans + 1) * step * PROFILE_NODE)
    axis = RangeAxis(near, grid.range_spacing_m, first, step, spans * PROFILE_NODE + 1, PROFILE_NODE)
    return GroundNodes(nodes=_describe_nodes(times, ranges, arc, field), axis=axis)


def _describe_nodes(
    times_s: NDArray[np.float64], ranges_m: NDArray[np.float64], arc: OrbitArc, field: HeightField
) -> NDArray[np.float64]:
    time, range_m = np.meshgrid(times_s, ranges_m, indexing="ij")
    point, satellite = rdr2geo(time, range_m, 0.0, arc), arc.position(time)
    lat, lon, _ = ecef_to_geodetic(point)
    up, ahead, look = up_vector(lat, lon), _normalise(arc.velocity(time)), point - satellite
    raised = up - _dot(up, ahead)[..., None] * ahead
    raised /= _dot(raised, up)[..., None]
    down = _normalise(_dot(satellite, ahead)[..., None] * ahead - satellite)
    right = np.cross(down, ahead)
    toward_east, toward_north = _turn_to_map(-look, lat, lon)
    flat = np.hypot(toward_east, toward_north)
    high_lat, high_lon, _ = ecef_to_geodetic(point + _RAISED_M * raised)
    place, higher = _find_dem_place(lat, lon, field), _find_dem_place(high_lat, high_lon, field)
    east, north = (np.linalg.norm(geodetic_to_ecef(*aside, 0.0) - point, axis=-1) for aside in _step_aside(lat, lon))
    east_place, north_place = (_find_dem_place(*aside, field) for aside in _step_aside(lat, lon))
    channels = [
        np.degrees(np.stack([lat, lon])),
        np.degrees(np.stack([high_lat - lat, high_lon - lon])) / _RAISED_M,
        place,
        (higher - place) / _RAISED_M,
        [_dot(look, right), _dot(raised, down), _dot(raised, right), _find_direction(toward_east, toward_north)],
        (east_place - place) / east,
        (north_place - place) / north,
        [toward_east / flat, toward_north / flat],
    ]
    nodes = np.ascontiguousarray(np.moveaxis(np.concatenate(channels), 0, -1))
    assert nodes.shape[-1] == CHANNELS
    return nodes


def _find_direction(east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees anticlockwise from north, beginning in ISCE2's range of -270 to 90, without a step anywhere."""
    angle = np.degrees(np.arctan2(-east, north))
    first = angle[0, 0] - 360 * (angle[0, 0] > 90)
    return np.asarray((angle - first + 180) % 360 - 180 + first)


def _step_aside(
    lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Places a little to the east, and to the north."""
    return (lat, lon + _STEP_RAD), (lat + _STEP_RAD, lon)


def _find_dem_place(lat: NDArray[np.float64], lon: NDArray[np.float64], field: HeightField) -> NDArray[np.float64]:
    """Row and column in a DEM, integers at pixel centres, (2, ...)."""
    a, _, c, _, e, f = field.transform
    x, y = change_crs(LONLAT, field.crs, np.degrees(lon), np.degrees(lat))
    return np.stack([(y - f) / e, (x - c) / a])


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((one * other).sum(axis=-1))


def _normalise(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _turn_to_map(
    vectors: NDArray[np.float64], lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """East and north parts of vectors."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    aside = np.cos(lon) * x + np.sin(lon) * y
    return np.cos(lon) * y - np.sin(lon) * x, np.cos(lat) * z - np.sin(lat) * aside


def find_offsets(
    reference: tuple[Burst, OrbitArc],
    date: tuple[Burst, OrbitArc],
    window: Window,
    heights_m: tuple[float, float],
    shift_px: float = 0.0,
) -> tuple[Offsets, Window]:
    """Find where a date sees the ground of a window of the reference's burst, and the window of its own around that.

    Parameters
    ----------
    reference, date : (Burst, OrbitArc)
        The same burst on both dates, and the orbits.
    window : Window
        Lines and samples of the reference's burst.
    heights_m : (float, float)
        Lowest and highest ground.
    shift_px : float
        The date's content lies so many lines later than its annotation and orbit say.
    """
    (burst, arc), (other, other_arc) = reference, date
    grid = burst.grid
    line = window.row + np.arange(-(-window.rows // OFFSET_STEP) + 1) * OFFSET_STEP
    sample = window.column + np.arange(-(-window.columns // OFFSET_STEP) + 1) * OFFSET_STEP
    middle, half = sum(heights_m) / 2, max((heights_m[1] - heights_m[0]) / 2, 1.0)
    time = np.asarray(arc.seconds(grid.first_line_time) + line * grid.line_interval_s)[:, None, None]
    range_m = np.asarray(grid.near_range_m + sample * grid.range_spacing_m)[:, None]
    points = rdr2geo(time, range_m, middle + half * height_levels(), arc)
    seen_line, seen_sample = locate(points, other, other_arc)
    seen_line += shift_px
    away = seen_sample * other.grid.range_spacing_m + other.grid.near_range_m - range_m
    nodes = np.concatenate([fit_heights(seen_line - line[:, None, None]), fit_heights(away)], axis=-1)
    offsets = Offsets(
        nodes=np.ascontiguousarray(nodes),
        line=window.row,
        sample=window.column,
        near_range_m=grid.near_range_m,
        range_spacing_m=grid.range_spacing_m,
        middle_m=middle,
        half_m=half,
    )
    return offsets, surround(seen_line, seen_sample, _SEEN_MARGIN)
