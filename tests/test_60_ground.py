"""The ground under an output grid, beside PROJ and the textbook's interpolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pyproj import Transformer

import twins
from topsar.engines.ground import find_dem_pixels, find_ground_points
from topsar.model import GeoGrid, Window
from topsar.raster import HeightField, compute_pixel_centres

POSTING = 1 / 3600
UTM = GeoGrid(crs="EPSG:32629", west=600_000, north=4_180_000, dx=80, dy=80, rows=90, columns=110)
LATLON = GeoGrid(crs="EPSG:4326", west=-7.9, north=37.8, dx=1 / 1400, dy=1 / 1400, rows=90, columns=110)
COARSE = GeoGrid(crs="EPSG:32629", west=600_000, north=4_180_000, dx=1000, dy=1000, rows=7, columns=9)
GRIDS = pytest.mark.parametrize("grid", [UTM, LATLON, COARSE], ids=["utm", "latlon", "coarse"])


def hills() -> HeightField:
    rng = np.random.default_rng(3)
    heights = rng.normal(400, 30, (700, 800)).astype(np.float32)
    heights[300:310, 400:420] = np.nan
    return HeightField(
        heights_m=heights,
        crs="EPSG:4326",
        transform=(POSTING, 0, -7.95 + POSTING / 2, 0, -POSTING, 37.85 - POSTING / 2),
    )


def lonlat(grid: GeoGrid) -> tuple[np.ndarray, np.ndarray]:
    return Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(*compute_pixel_centres(grid))


@GRIDS
def test_points_are_where_proj_has_them(grid: GeoGrid) -> None:
    height, points = find_ground_points(grid, hills())
    lon, lat = lonlat(grid)
    to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    expected = np.stack(to_ecef.transform(lon, lat, np.nan_to_num(height)), axis=-1)
    assert np.linalg.norm(points - expected, axis=-1).max() < 0.02
    assert np.isfinite(height).any()


@GRIDS
def test_heights_are_those_of_the_dem(grid: GeoGrid) -> None:
    field = hills()
    height, _ = find_ground_points(grid, field)
    lon, lat = lonlat(grid)
    rows, columns = (field.transform[5] - lat) / POSTING, (lon - field.transform[2]) / POSTING
    for i, j in np.ndindex(7, 9):
        i, j = i * (grid.rows // 7), j * (grid.columns // 9)
        expected = twins.cubic(field.heights_m, rows[i, j], columns[i, j])
        assert height[i, j] == pytest.approx(expected, abs=0.05, nan_ok=True)


@GRIDS
def test_a_window_has_the_ground_of_the_whole(grid: GeoGrid) -> None:
    window = Window(row=2, column=3, rows=grid.rows - 3, columns=grid.columns - 5)
    height, points = find_ground_points(grid, hills())
    inside, points_inside = find_ground_points(grid.crop(window), hills())
    np.testing.assert_allclose(inside, height[window.slices], atol=1e-4)
    np.testing.assert_allclose(points_inside, points[window.slices], atol=1e-6, rtol=0)


@GRIDS
def test_the_nearest_posting(grid: GeoGrid) -> None:
    field = hills()
    row, column = find_dem_pixels(grid, field)
    lon, lat = lonlat(grid)
    assert np.abs(row - (field.transform[5] - lat) / POSTING).max() < 0.501
    assert np.abs(column - (lon - field.transform[2]) / POSTING).max() < 0.501


def test_over_a_void_the_ground_is_at_height_zero() -> None:
    field = hills()
    void = replace(field, heights_m=np.full_like(field.heights_m, np.nan))
    height, points = find_ground_points(UTM, void)
    assert np.isnan(height).all()
    lon, lat = lonlat(UTM)
    to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    assert np.abs(points - np.stack(to_ecef.transform(lon, lat, 0 * lon), axis=-1)).max() < 0.02
