"""Two tracks over one area: motion east and up from two lines of sight."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sample_layers import FACTS, UTM, sample
from test_79_timeseries import LAMBDA, SETTINGS, day_text
from topsar.errors import ProductError
from topsar.files import read_json, write_json
from topsar.formats import open_format
from topsar.formats.timeseries.tracks import combine_tracks
from topsar.interferogram import read_pair
from topsar.model import GeoGrid
from topsar.raster import compute_pixel_centres, read_geotiff, write_geotiff

ASCENDING, DESCENDING = (-0.61, -0.11, 0.785), (0.63, -0.10, 0.77)
FIRST = replace(UTM, rows=50, columns=60)
SECOND = replace(FIRST, west=FIRST.west + 10.5 * FIRST.dx, north=FIRST.north - 5.3 * FIRST.dy)
DAYS = (0, 120, 240, 366)


def move(grid: GeoGrid) -> tuple[np.ndarray, np.ndarray]:
    """Metres a year east and up of a source that swells."""
    x, y = compute_pixel_centres(grid)
    far_x, far_y = x - FIRST.west - 35 * FIRST.dx, y - FIRST.north + 27 * FIRST.dy
    swell = 0.05 * np.exp(-(far_x**2 + far_y**2) / 800**2)
    return swell * far_x / 800, swell


def write_track(runs: Path, track: int, grid: GeoGrid, sight: tuple[float, float, float]) -> None:
    east, up = move(grid)
    seen = sight[0] * east + sight[2] * up
    rng, pairs = np.random.default_rng(track), []
    for first, second in pairwise(DAYS):
        phase = -4 * np.pi / LAMBDA * seen * (second - first) / 365.25 + rng.normal(0, 0.05, grid.shape)
        pair = f"T{track:03d}_{first:03d}_{second:03d}"
        dates = {"reference_date": day_text(first), "secondary_date": day_text(second)}
        layers = {name: phase for name in ("filtered_unwrapped_phase", "unwrapped_phase")}
        layers |= {"displacement": -LAMBDA / (4 * np.pi) * phase, "phase_noise": np.full(grid.shape, 0.05)}
        layers |= {
            f"los_{name}": np.full(grid.shape, value)
            for name, value in zip(("east", "north", "up"), sight, strict=True)
        }
        facts = dict(FACTS) | dates | {"pair": pair, "track": track}
        ifg = sample(grid, facts, **layers, amplitude=np.ones(grid.shape))
        (runs / pair / "products").mkdir(parents=True)
        open_format("geotiff", {}).write((ifg,), runs / pair / "products")
        pairs.append(read_pair(runs / pair / "products"))
    folder = runs / f"timeseries_T{track:03d}" / "timeseries"
    folder.mkdir(parents=True)
    open_format("timeseries", SETTINGS).write(iter(pairs), folder)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_track(runs, 52, FIRST, ASCENDING)
    write_track(runs, 131, SECOND, DESCENDING)
    return runs


def test_east_and_up_are_those_of_the_ground(both: Path) -> None:
    folder = combine_tracks(both)
    assert folder is not None
    found = {path.stem: read_geotiff(path) for path in folder.glob("*.tif")}
    grid = found["velocity_up"][1]
    for name, true in zip(("velocity_east", "velocity_up"), move(grid), strict=True):
        values, deviation = found[name][0], found[f"{name}_std"][0]
        known = np.isfinite(values)
        assert known.mean() > 0.5
        error = (values - true)[known]
        error -= np.median(error)
        assert np.sqrt((error**2).mean()) < 1.2 * np.median(deviation[known])
        assert np.corrcoef(values[known], true[known])[0, 1] > 0.95
    facts = read_json(folder / "east_up.json")
    assert facts["tracks"] == ["52", "131"]
    assert facts["of_a_velocity_to_the_north"]["up"] == pytest.approx(-0.135, abs=0.01)


def test_one_track_has_no_east_and_up(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both / "timeseries_T052", tmp_path / "timeseries_T052")
    (tmp_path / "timeseries_east_up").mkdir()  # of an earlier run
    assert combine_tracks(tmp_path) is None
    assert not (tmp_path / "timeseries_east_up").exists()


def test_tracks_that_see_nothing_in_common_are_refused(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both, tmp_path / "runs")
    facts = read_json(path := tmp_path / "runs" / "timeseries_T131" / "timeseries" / "timeseries.json")
    facts["grid"]["west"] += 90_000
    write_json(path, facts)
    with pytest.raises(ProductError, match="overlap"):
        combine_tracks(tmp_path / "runs")


def test_tracks_that_look_alike_are_refused(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both, tmp_path / "runs")
    for path in (tmp_path / "runs").glob("T131*/products/los_east.tif"):
        write_geotiff(path, np.full(SECOND.shape, -0.3, np.float32), SECOND, nodata=np.nan)
    with pytest.raises(ProductError, match="T052 and T131 nowhere look from directions"):
        combine_tracks(tmp_path / "runs")
