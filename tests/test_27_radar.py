"""Radar geometry: from range to the ground of a terrain, and a date at the pixels of another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

import twins
from topsar.engines.native.radar.nodes import LINE_STEP, find_offsets, lay_ground_nodes
from topsar.engines.native.steps.geocode import radar_image
from topsar.kernels.coregister import coregister
from topsar.kernels.geometry import OrbitArc, ecef_to_geodetic, geo2rdr, geodetic_to_ecef, line_of_sight, rdr2geo
from topsar.kernels.profile import FOLDED, SHADOWED, place_pixels
from topsar.kernels.resample import find_cubic_slope
from topsar.kernels.tops import find_deramp_terms
from topsar.model import Burst, Window
from topsar.raster import HeightField

POSTING = 1 / 3600
ARC = twins.arc_of(twins.circular_orbit())
BURST = twins.small_burst(lines=400, samples=900)
WINDOW = Window(row=40, column=60, rows=70, columns=700)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """What the kernel fills in."""

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    height: NDArray[np.float64]
    los: NDArray[np.float32]
    local: NDArray[np.float32]
    mask: NDArray[np.uint8]


def terrain(height_at: object, burst: Burst = BURST) -> HeightField:
    """A DEM around the burst; ``height_at`` is given metres to the east and north of its middle."""
    time = np.array(ARC.seconds(burst.grid.mid_time))
    middle = np.array((burst.grid.near_range_m + burst.grid.far_range_m) / 2)
    lat, lon, _ = (float(np.degrees(value)) for value in ecef_to_geodetic(rdr2geo(time, middle, 0.0, ARC)))
    side = 260
    row, column = np.meshgrid(np.arange(2 * side), np.arange(2 * side), indexing="ij")
    east = (column - side) * POSTING * 111_320 * np.cos(np.radians(lat))
    north = (side - row) * POSTING * 111_320
    heights = np.broadcast_to(height_at(east, north), east.shape).astype(np.float32)  # type: ignore[operator]
    return HeightField(
        heights_m=np.ascontiguousarray(heights),
        crs="EPSG:4326",
        transform=(POSTING, 0.0, lon - side * POSTING, 0.0, -POSTING, lat + side * POSTING),
    )


def hills(east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float64]:
    return 400 + 150 * np.sin(east / 700) * np.cos(north / 500) + 0.05 * east


def place(field: HeightField, window: Window = WINDOW, filled: NDArray[np.float32] | None = None) -> Placed:
    ground = lay_ground_nodes(BURST, window, ARC, field)
    shape = window.rows, window.columns
    lat, lon, height = np.empty((3, *shape))
    los, local = np.empty((2, shape[0], 2, shape[1]), np.float32)
    mask = np.empty(shape, np.uint8)
    solid = field.heights_m if filled is None else filled
    lines = np.arange(window.rows) / LINE_STEP
    layers = lat, lon, height, los, local, mask
    place_pixels(ground.nodes, lines, ground.axis, solid, field.heights_m, filled is not None, *layers)
    return Placed(lat=lat, lon=lon, height=height, los=los, local=local, mask=mask)


def dem_height(field: HeightField, lat: float, lon: float) -> float:
    a, _, c, _, e, f = field.transform
    return twins.cubic(field.heights_m, (lat - f) / e, (lon - c) / a)


def places_by_definition(field: HeightField, line: int, sample: int) -> list[float]:
    """Heights at which the terrain cuts the circle of one time and range: by root finding, from the highest down."""
    grid = BURST.grid
    time = np.array(ARC.seconds(grid.first_line_time) + line * grid.line_interval_s)
    range_m = np.array(grid.near_range_m + sample * grid.range_spacing_m)

    def above(height: float) -> float:
        lat, lon, _ = (float(np.degrees(value)) for value in ecef_to_geodetic(rdr2geo(time, range_m, height, ARC)))
        return height - dem_height(field, lat, lon)

    low, high = float(field.heights_m.min()) - 5, float(field.heights_m.max()) + 5
    levels = np.linspace(high, low, 200)
    values = [above(level) for level in levels]
    return [
        brentq(above, levels[k + 1], levels[k], xtol=1e-6)
        for k in range(len(levels) - 1)
        if values[k] > 0 >= values[k + 1] or values[k] < 0 <= values[k + 1]
    ]


def test_every_pixel_lies_on_the_terrain_at_its_time_and_range() -> None:
    field = terrain(hills)
    found = place(field)
    time, range_m = geo2rdr(geodetic_to_ecef(np.radians(found.lat), np.radians(found.lon), found.height), ARC)
    grid = BURST.grid
    line = (time - ARC.seconds(grid.first_line_time)) / grid.line_interval_s - WINDOW.row
    sample = (range_m - grid.near_range_m) / grid.range_spacing_m - WINDOW.column
    assert np.abs(line - np.arange(WINDOW.rows)[:, None]).max() < 2e-4
    assert np.abs(sample - np.arange(WINDOW.columns)).max() * grid.range_spacing_m < 0.01  # chords of the ellipsoid
    for row, column in ((0, 0), (17, 333), (69, 699)):
        surface = dem_height(field, found.lat[row, column], found.lon[row, column])
        assert found.height[row, column] == pytest.approx(surface, abs=1e-3)


@pytest.mark.parametrize(("line", "sample"), [(40, 60), (77, 400), (109, 759)])
def test_the_kernel_agrees_with_root_finding(line: int, sample: int) -> None:
    field = terrain(hills)
    (expected,) = places_by_definition(field, line, sample)
    assert place(field).height[line - WINDOW.row, sample - WINDOW.column] == pytest.approx(expected, abs=0.01)


def test_angles_are_those_of_the_ground_and_of_its_slope() -> None:
    field = terrain(lambda east, north: 300 + 0.2 * east + 0.1 * north)
    found = place(field)
    points = geodetic_to_ecef(np.radians(found.lat), np.radians(found.lon), found.height)
    time, _ = geo2rdr(points, ARC)
    look = line_of_sight(points, ARC.position(time))
    incidence, azimuth = np.moveaxis(found.los, 1, 0)
    np.testing.assert_allclose(incidence, np.degrees(np.arccos(look[..., 2])), atol=1e-3)
    np.testing.assert_allclose(azimuth, np.degrees(np.arctan2(look[..., 1], look[..., 0])) - 90, atol=1e-3)
    normal = np.array([-0.2, -0.1, 1]) / np.linalg.norm([0.2, 0.1, 1])
    np.testing.assert_allclose(found.local[:, 1], np.degrees(np.arccos(look @ normal)), atol=0.05)
    upright = np.stack([-look[..., 0], -look[..., 1], np.hypot(look[..., 0], look[..., 1])], axis=-1)
    upright[..., :2] *= look[..., 2:] / np.hypot(look[..., 0], look[..., 1])[..., None]
    np.testing.assert_allclose(found.local[:, 0], np.degrees(np.arccos(upright @ normal)), atol=0.1)


def test_the_slope_is_that_of_the_surface_whose_heights_are_taken() -> None:
    heights, step = np.random.default_rng(4).normal(size=(7, 8)).astype(np.float32), 1e-5
    for row, column in ((2.3, 4.8), (1.2, 5.0), (3.999, 1.5)):
        slope = find_cubic_slope(heights, row, column)
        for found, (down, right) in zip(slope, ((step, 0), (0, step)), strict=True):
            ends = (twins.cubic(heights, row + sign * down, column + sign * right) for sign in (1, -1))
            assert found == pytest.approx(-float(np.diff(list(ends))[0]) / (2 * step), abs=1e-4)


def test_of_several_places_the_outermost_is_taken_and_said_so() -> None:
    field = terrain(lambda east, north: 650 * np.exp(-(((east - 300) / 400) ** 2) + 0 * north))
    found = place(field)
    folded = (found.mask & FOLDED) > 0
    assert 50 < folded[30].sum() < 600
    for sample in np.flatnonzero(folded[30])[5:-5:97]:
        heights = places_by_definition(field, WINDOW.row + 30, WINDOW.column + int(sample))
        assert len(heights) >= 2
        assert found.height[30, sample] == pytest.approx(heights[0], abs=0.05)
    single = np.flatnonzero(~folded[30])[::53]
    assert all(len(places_by_definition(field, WINDOW.row + 30, WINDOW.column + int(s))) == 1 for s in single)


def test_ground_behind_a_wall_is_in_shadow() -> None:
    steep = terrain(lambda east, north: np.where(np.abs(east - 100) < 60, 900.0, 0.0) + 0 * north)
    found = place(steep)
    hidden = (found.mask[30] & SHADOWED) > 0
    assert hidden.any()
    assert not ((place(terrain(hills)).mask & SHADOWED) > 0).any()


def test_voids_have_a_place_but_no_height() -> None:
    whole = terrain(hills)
    holed = replace(whole, heights_m=whole.heights_m.copy())
    holed.heights_m[305:325, 250:275] = np.nan
    found, expected = place(holed, filled=whole.heights_m), place(whole)
    void = np.isnan(found.height)
    assert 0.001 < void.mean() < 0.5
    np.testing.assert_array_equal(found.height[~void], expected.height[~void])
    np.testing.assert_array_equal(found.lat, expected.lat)


# --- a date at the pixels of another ----------------------------------------------------------------------------


@pytest.mark.parametrize("offset_m", [(0.0, 0.0), (60.0, -120.0), (-90.0, 40.0)])
def test_a_date_is_resampled_where_it_sees_the_ground_and_flattened(offset_m: tuple[float, float]) -> None:
    far = twins.arc_of(twins.circular_orbit(offset_m=offset_m))
    window = Window(row=100, column=200, rows=20, columns=90)
    height = np.random.default_rng(3).uniform(0, 2500, (window.rows, window.columns))
    height[3, 5] = np.nan
    draw = np.random.default_rng(4).normal(size=(2, *BURST.grid.shape)).astype(np.float32)
    image = radar_image(BURST, far, find_deramp_terms(BURST, far), BURST.valid, draw[0], draw[1])
    offsets, around = find_offsets((BURST, ARC), (BURST, far), window, (0.0, 2500.0))
    out = np.empty((window.rows, window.columns), np.complex64)
    coregister(height, offsets, (window.row, window.column), image, out)
    assert around.intersection(BURST.valid) == around or offset_m != (0.0, 0.0)
    scale = np.abs(out).mean()
    for row, column in ((0, 0), (7, 63), (19, 89), (11, 64)):
        expected = seen_by(far, image, window.row + row, window.column + column, height[row, column])
        assert abs(out[row, column] - expected) < 5e-3 * scale, (row, column)
    assert out[3, 5] == 0


def seen_by(arc: OrbitArc, image: object, line: int, sample: int, height_m: float) -> complex:
    """The definition: the ground of the pixel, where the date sees it, the signal there, and the reference's range."""
    grid = BURST.grid
    time = np.array(ARC.seconds(grid.first_line_time) + line * grid.line_interval_s)
    range_m = grid.near_range_m + sample * grid.range_spacing_m
    point = rdr2geo(time, np.array(range_m), height_m, ARC)
    signal = twins.signal(image, *twins.zero_doppler(point, arc))  # type: ignore[arg-type]
    return complex(signal * np.exp(-4j * np.pi * range_m / BURST.wavelength_m))


def test_a_shift_in_azimuth_moves_the_place_that_is_read() -> None:
    window = Window(row=100, column=200, rows=4, columns=8)
    plain, _ = find_offsets((BURST, ARC), (BURST, ARC), window, (0.0, 100.0))
    moved, _ = find_offsets((BURST, ARC), (BURST, ARC), window, (0.0, 100.0), 0.25)
    np.testing.assert_allclose(moved.nodes[..., 0] - plain.nodes[..., 0], 0.25, atol=1e-9)
    np.testing.assert_allclose(plain.nodes, 0, atol=1e-5)
