"""Layers that are not the phase: water, and how noisy the phase is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from topsar.engines.ground import LONLAT, change_crs, measure_pixel
from topsar.engines.layers import (
    add_shifted_fringes,
    count_samples,
    describe_filter,
    estimate_phase_noise,
    make_unwrapped_layers,
)
from topsar.engines.water import find_water, warp_water
from topsar.errors import ProductError, ProvisionError
from topsar.interferogram import LAYERS, UNKNOWN
from topsar.kernels.visibility import UNKNOWN as NOT_SEEN
from topsar.model import Dem, GeoGrid, VerticalDatum
from topsar.provision import find_water_mask
from topsar.raster import Labels, compute_pixel_centres, read_geoid, write_geotiff
from topsar.raster.geoid import EGM96
from topsar.settings import load_settings

GRID = GeoGrid(crs="EPSG:32629", west=600_000, north=4_180_000, dx=80, dy=80, rows=100, columns=120)
DEM_GRID = GeoGrid(crs="EPSG:4326", west=-7.9, north=37.8, dx=1 / 3600, dy=1 / 3600, rows=500, columns=600)


def hills(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.rint(40 + 30 * rng.random(DEM_GRID.shape)).astype(np.float32)


def lake(heights: np.ndarray, level: float, rows: slice, columns: slice) -> np.ndarray:
    filled = heights.copy()
    filled[rows, columns] = level
    return filled


def put_dem(folder: Path, heights: np.ndarray, datum: VerticalDatum = VerticalDatum.EGM96) -> Dem:
    path = folder / "dem.tif"
    write_geotiff(path, heights.astype(np.float32), DEM_GRID, nodata=math.nan, labels=Labels(unit="m"))
    return Dem(path=path, datum=datum)


def on_grid(rows: slice, columns: slice) -> np.ndarray:
    """Which pixels of the grid have their nearest posting in a block of the DEM."""
    lon, lat = change_crs(GRID.crs, LONLAT, *compute_pixel_centres(GRID))
    i, j = (DEM_GRID.north - lat) / DEM_GRID.dy, (lon - DEM_GRID.west) / DEM_GRID.dx
    return (i > rows.start) & (i < rows.stop) & (j > columns.start) & (j < columns.stop)


LAKE = slice(150, 200), slice(200, 260)


def test_level_ground_is_water(tmp_path: Path) -> None:
    dem = put_dem(tmp_path, lake(hills(), 37, *LAKE))
    water = find_water(dem, GRID)
    np.testing.assert_array_equal(water == 1, on_grid(*LAKE))
    assert set(np.unique(water)) <= {0, 1, UNKNOWN}


def test_neither_puddles_nor_slopes_are(tmp_path: Path) -> None:
    puddle = lake(hills(), 37, slice(150, 154), slice(200, 204))
    slope = np.tile(np.arange(DEM_GRID.columns) * 0.05, (DEM_GRID.rows, 1))
    for heights in (puddle, slope):
        assert not (find_water(put_dem(tmp_path, heights), GRID) == 1).any()


ROW, COLUMN = np.mgrid[: DEM_GRID.rows, : DEM_GRID.columns].astype(float)
PLAIN = 20 + 0.02 * ROW + 0.017 * COLUMN
"""About 1:1000."""
HOLLOW = 20 + 0.01 * np.hypot(ROW - 250, COLUMN - 300)


@pytest.mark.parametrize(
    ("heights", "unknown"),
    [
        pytest.param(np.rint(PLAIN), 0, id="whole metres on a plain are terraces"),
        pytest.param(np.rint(PLAIN / 8), 0.5, id="of the lowest of wide ones nobody sees the rim"),
        pytest.param(np.rint(PLAIN * 10) / 10, 0.01, id="decimetres"),
        pytest.param(PLAIN, 0, id="a plain in fine heights"),
        pytest.param(np.rint(-HOLLOW), 0.01, id="the top of a hill in whole metres"),
        pytest.param(np.rint(HOLLOW), 0.1, id="the bottom of a hollow in whole metres may be a lake"),
        pytest.param(np.full(DEM_GRID.shape, 372.0), 1, id="no rim at all"),
    ],
)
def test_level_ground_that_no_water_made_is_none(tmp_path: Path, heights: np.ndarray, unknown: float) -> None:
    water = find_water(put_dem(tmp_path, heights), GRID)
    assert not (water == 1).any()
    assert (water == UNKNOWN).mean() <= unknown
    assert (water == UNKNOWN).any() or unknown < 0.05


@pytest.mark.parametrize("whole", [True, False], ids=["whole metres", "fine heights"])
def test_a_river_goes_down_in_steps_and_the_sea_is_the_datum(tmp_path: Path, whole: bool) -> None:
    """In whole metres a river and the floor of a valley look alike, unless a step is long."""
    land = hills() + (0 if whole else np.float32(0.3) * np.random.default_rng(1).random(DEM_GRID.shape))
    for place in range(0, DEM_GRID.columns, 60):
        land[300:312, place : place + 60] = 30 - place / 60
    coast = land.copy()
    coast[:140] = 0
    water = find_water(put_dem(tmp_path, coast), GRID)
    np.testing.assert_array_equal(
        (water == 1) & on_grid(slice(0, 140), slice(0, 600)), on_grid(slice(0, 140), slice(0, 600))
    )
    river = water[on_grid(slice(300, 312), slice(60, 540))]
    assert (river == (UNKNOWN if whole else 1)).mean() > 0.95


def test_the_undulation_is_taken_off_heights_above_the_ellipsoid(tmp_path: Path) -> None:
    above_geoid = lake(hills() + np.float32(0.3) * np.random.default_rng(1).random(DEM_GRID.shape), 37, *LAKE)
    geoid = read_geoid(EGM96, DEM_GRID.bbox.grow(0.01)).interpolate(*compute_pixel_centres(DEM_GRID))
    assert np.ptp(geoid) > 0.1
    water = find_water(put_dem(tmp_path, above_geoid + geoid, VerticalDatum.ELLIPSOID), GRID)
    np.testing.assert_array_equal(water == 1, on_grid(*LAKE))


def test_voids_at_the_shore_are_sea_and_others_are_not(tmp_path: Path) -> None:
    heights = lake(lake(hills(), 3, slice(145, 205), slice(195, 265)), math.nan, *LAKE)
    heights[145:205, 195:265] += np.random.default_rng(2).random((60, 70))
    inland = slice(300, 350), slice(400, 460)
    heights[inland] = math.nan
    water = find_water(put_dem(tmp_path, heights), GRID)
    np.testing.assert_array_equal(water == 1, on_grid(*LAKE))
    np.testing.assert_array_equal(water == UNKNOWN, on_grid(*inland))


def test_beyond_the_dem_nobody_can_tell(tmp_path: Path) -> None:
    east = replace(GRID, west=GRID.west + 6_000)
    water = find_water(put_dem(tmp_path, hills()), east)
    lon, _ = change_crs(east.crs, LONLAT, *compute_pixel_centres(east))
    beyond = lon > DEM_GRID.west + DEM_GRID.columns * DEM_GRID.dx
    assert 0.1 < beyond.mean() < 0.9
    np.testing.assert_array_equal(water == UNKNOWN, beyond)


def test_sides_of_a_pixel() -> None:
    assert measure_pixel(GRID) == pytest.approx((80, 80), rel=1e-3)
    east, north = measure_pixel(DEM_GRID)
    assert east == pytest.approx(111_320 / 3600 * math.cos(math.radians(37.73)), rel=3e-3)
    assert north == pytest.approx(111_000 / 3600, rel=2e-3)


# --- the user's raster ------------------------------------------------------------------------------------------


def put_mask(path: Path, values: np.ndarray, nodata: float | None = None, crs: str | None = "EPSG:4326") -> Path:
    profile = {"driver": "GTiff", "dtype": values.dtype, "count": 1, "crs": crs, "nodata": nodata}
    size = {"height": values.shape[0], "width": values.shape[1], "transform": Affine(*DEM_GRID.transform)}
    with rasterio.open(path, "w", **profile, **size) as dataset:
        dataset.write(values, 1)
    return path


@pytest.mark.parametrize(("land", "water", "nodata"), [(0, 1, None), (0, 255, 0), (7, 3, 7)])
def test_a_raster_is_warped_to_the_nearest(tmp_path: Path, land: int, water: int, nodata: float | None) -> None:
    values = np.full(DEM_GRID.shape, land, np.uint8)
    values[LAKE] = water
    found = warp_water(put_mask(tmp_path / "mask.tif", values, nodata), GRID)
    assert found.dtype == np.uint8
    assert (found != on_grid(*LAKE)).mean() < 1e-3
    assert found.sum() > 300


def test_where_the_raster_ends_there_is_land(tmp_path: Path) -> None:
    path = put_mask(tmp_path / "mask.tif", np.ones(DEM_GRID.shape, np.uint8))
    assert not warp_water(path, replace(GRID, west=GRID.west + 200_000)).any()


def test_a_raster_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="water mask"):
        warp_water(tmp_path / "gone.tif", GRID)


def test_the_setting_names_it(tmp_path: Path) -> None:
    def named(text: str) -> Path | None:
        flags = {"WATER_MASK": text} if text else {}
        return find_water_mask(load_settings(env_file=None, data=tmp_path, pairs=tmp_path / "pairs.txt", flags=flags))

    assert named("") is None
    path = put_mask(tmp_path / "mask.tif", np.ones(DEM_GRID.shape, np.uint8))
    assert named("mask.tif") == named(str(path)) == path
    with pytest.raises(ProvisionError, match=r"WATER_MASK=gone\.tif: no such file"):
        named("gone.tif")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(ProvisionError, match="cannot read the water mask"):
        named("text.tif")
    put_mask(tmp_path / "nowhere.tif", np.ones(DEM_GRID.shape, np.uint8), crs=None)
    with pytest.raises(ProvisionError, match="no coordinate system"):
        named("nowhere.tif")


# --- noise ------------------------------------------------------------------------------------------------------


def test_noise_of_the_phase_follows_the_looks_of_each_burst() -> None:
    coherence = np.array([0.9, 0.9, 0.0, 0.5, np.nan], np.float32)
    noise = estimate_phase_noise(coherence, np.array([40.0, 160.0, 160.0, 40.0, 40.0]))
    assert noise.dtype == np.float32
    expected = [math.sqrt(0.19 / (2 * (looks - 1))) / 0.9 for looks in (40, 160)]
    np.testing.assert_allclose(noise[:3], [*expected, math.pi / math.sqrt(3)], rtol=5e-3)
    assert noise[3] == estimate_phase_noise(coherence, 40.0)[3]
    assert np.isnan(noise[4])


# --- filtered and unfiltered phase ------------------------------------------------------------------------------


def wrap(phase: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * phase)).astype(np.float32)


@pytest.mark.parametrize("slope", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("heading", [-12.0, 192.0])
def test_a_slope_toward_the_radar_is_seen_in_fewer_samples(slope: float, heading: float) -> None:
    """Beside the slant ranges to a satellite of points of the slope."""
    away = np.radians(heading + 90)
    x, y = (axis.ravel() for axis in np.meshgrid(80 * np.arange(12.0), -80 * np.arange(9.0)))
    height = 500 + slope * (x * np.sin(away) + y * np.cos(away))
    satellite = np.array([-np.sin(away), -np.cos(away), 1.3]) * 500e3
    range_m = np.linalg.norm(satellite - np.stack([x, y, height], axis=1), axis=1)
    level_m = np.linalg.norm(satellite - np.stack([x, y, np.full(x.size, 500)], axis=1), axis=1)
    grid = GeoGrid(crs="EPSG:32629", west=500_000, north=4_180_000, dx=80, dy=80, rows=9, columns=12)
    unit = satellite / np.linalg.norm(satellite)
    los = [np.full(grid.shape, part, np.float32) for part in unit]
    design = np.stack([x * np.sin(away) + y * np.cos(away), np.ones(x.size)], axis=1)
    expected, level = (np.linalg.lstsq(design, values, rcond=None)[0][0] for values in (range_m, level_m))
    found = count_samples(height.reshape(grid.shape).astype(np.float32), los, grid)
    assert found == pytest.approx(expected / level, rel=2e-3)


def test_cycles_of_the_filtered_phase_go_to_the_unfiltered_one() -> None:
    rng = np.random.default_rng(4)
    smooth = np.linspace(-40, 60, 5000).reshape(50, 100)
    noisy = smooth + rng.uniform(-3, 3, smooth.shape)
    wrapped, filtered, from_unwrapper = wrap(noisy), wrap(smooth), (smooth + rng.normal(0, 0.3, smooth.shape))
    wrapped[0], from_unwrapper[1] = np.nan, np.nan
    found = make_unwrapped_layers(
        {"wrapped_phase": wrapped, "filtered_phase": filtered}, from_unwrapper.astype(np.float32), 0.0555
    )
    np.testing.assert_allclose(found["filtered_unwrapped_phase"][2:], smooth[2:], atol=1e-5)
    np.testing.assert_allclose(found["unwrapped_phase"][2:], noisy[2:], atol=1e-5)
    cycles = (found["unwrapped_phase"][2:].astype(float) - wrapped[2:]) / (2 * math.pi)
    np.testing.assert_allclose(cycles, np.round(cycles), atol=1e-6)
    np.testing.assert_allclose(found["displacement"][2:], -0.0555 / (4 * math.pi) * noisy[2:], atol=1e-7)
    for name in ("unwrapped_phase", "displacement"):
        np.testing.assert_array_equal(np.isnan(found[name]).all(axis=1), np.arange(50) < 2)


def test_what_a_filter_took_is_told_apart_from_noise() -> None:
    rng = np.random.default_rng(4)
    noise = np.full((100, 100), 0.3, np.float32)
    noise[:10] = 1.5
    truth, disturbed = 3 * rng.random(noise.shape), noise * rng.normal(size=noise.shape)
    layers = {"wrapped_phase": wrap(truth + disturbed), "filtered_phase": wrap(truth), "phase_noise": noise}
    perfect = describe_filter(layers)
    assert perfect["predicted_noise_rad"] == pytest.approx(0.3)
    assert perfect["removed_rad"] == pytest.approx(0.3, rel=0.02)
    assert perfect["beyond_noise_rad"] < 0.06
    taken = 0.4 * np.sin(np.arange(100) / 3)
    greedy = describe_filter({**layers, "filtered_phase": wrap(truth - taken)})
    assert greedy["beyond_noise_rad"] == pytest.approx(0.4 / math.sqrt(2), rel=0.1)
    assert describe_filter({**layers, "phase_noise": np.full_like(noise, np.nan)}) == {}


def test_masks_agree_on_what_nobody_can_tell() -> None:
    assert LAYERS["layover_shadow"].nodata == LAYERS["water"].nodata == UNKNOWN == NOT_SEEN


def test_fringes_are_noise_where_brightness_lies_beside_the_middle() -> None:
    row, column = np.mgrid[:6, :40]
    filtered = np.angle(np.exp(1j * (0.5 * column - 0.3 * row))).astype(np.float32)
    filtered[2, 3] = np.nan
    centre = np.stack([np.full(filtered.shape, 0.2), np.full(filtered.shape, -0.1)]).astype(np.float16)
    noise = np.where(column < 20, 0.05, 1.81).astype(np.float32)
    found = add_shifted_fringes(noise, filtered, centre)
    np.testing.assert_allclose(np.delete(found[:, :20], (2, 3), axis=0)[:, :3], math.hypot(0.05, 0.13), rtol=2e-3)
    assert found[2, 4] == pytest.approx(math.hypot(0.05, 0.13), rel=2e-3)  # beside a hole
    assert found[2, 3] == pytest.approx(0.05)
    np.testing.assert_allclose(found[:, 20:], math.pi / math.sqrt(3), rtol=1e-5)
