"""Two tracks over one area: motion east and up from two lines of sight."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer
from scipy.ndimage import map_coordinates

from sample_layers import FACTS, UTM, sample
from test_79_timeseries import LAMBDA, SETTINGS, day_text
from topsar.errors import ProductError
from topsar.files import read_json, write_json
from topsar.formats import open_format
from topsar.formats.timeseries.tracks import combine_tracks
from topsar.interferogram import read_pair
from topsar.kernels.geometry import geo2rdr, geodetic_to_ecef, line_of_sight
from topsar.model import Direction, GeoGrid
from topsar.raster import compute_pixel_centres, read_geotiff, write_geotiff
from topsar.simulate import recipe
from topsar.simulate.motion import _displace_ground, compute_deformation
from topsar.simulate.plan import plan_products
from topsar.simulate.terrain import build_terrain

ASCENDING, DESCENDING = (-0.61, -0.11, 0.785), (0.63, -0.10, 0.77)
Sight = tuple[float, float, float] | np.ndarray
FIRST = replace(UTM, rows=50, columns=60)
SECOND = replace(FIRST, west=FIRST.west + 10.5 * FIRST.dx, north=FIRST.north - 5.3 * FIRST.dy)
DAYS = (0, 120, 240, 366)


def move(grid: GeoGrid) -> tuple[np.ndarray, np.ndarray]:
    """Metres a year east and up of a source that swells."""
    x, y = compute_pixel_centres(grid)
    far_x, far_y = x - FIRST.west - 35 * FIRST.dx, y - FIRST.north + 27 * FIRST.dy
    swell = 0.05 * np.exp(-(far_x**2 + far_y**2) / 800**2)
    return swell * far_x / 800, swell


def write_track(runs: Path, track: int, grid: GeoGrid, sight: Sight, seen: np.ndarray) -> None:
    """Pairs and time series of a track; ``seen`` is the velocity toward the satellite."""
    rng, pairs = np.random.default_rng(track), []
    for first, second in pairwise(DAYS):
        phase = -4 * np.pi / LAMBDA * seen * (second - first) / 365.25 + rng.normal(0, 0.05, grid.shape)
        pair = f"T{track:03d}_{first:03d}_{second:03d}"
        dates = {"reference_date": day_text(first), "secondary_date": day_text(second)}
        layers = {name: phase for name in ("filtered_unwrapped_phase", "unwrapped_phase")}
        layers |= {"displacement": -LAMBDA / (4 * np.pi) * phase, "phase_noise": np.full(grid.shape, 0.05)}
        layers |= {
            f"los_{name}": np.broadcast_to(value, grid.shape)
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
    for track, grid, sight in ((52, FIRST, ASCENDING), (131, SECOND, DESCENDING)):
        east, up = move(grid)
        write_track(runs, track, grid, sight, sight[0] * east + sight[2] * up)
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


def test_east_and_up_are_those_of_the_simulator(tmp_path: Path) -> None:
    one = replace(recipe("tiny"), mogi_volume_m3=3e6, fault_slip_m=0.0)
    other = replace(one, direction=Direction.DESCENDING, track=36)
    passes = [plan_products(each) for each in (one, other)]
    terrain = build_terrain(one, passes[0])
    rows, columns = 60, 70
    longitude, latitude = terrain.longitude_deg, terrain.latitude_deg
    middle = Transformer.from_crs("EPSG:4326", "EPSG:32635", always_xy=True).transform(
        longitude[0] + 0.42 * (longitude[-1] - longitude[0]), (latitude[0] + latitude[-1]) / 2
    )
    west, north = (round(value / 100) * 100 for value in (middle[0] - 3500, middle[1] + 3000))
    grid = GeoGrid(crs="EPSG:32635", west=west, north=north, dx=100.0, dy=100.0, rows=rows, columns=columns)
    change = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = change.transform(*compute_pixel_centres(grid))
    place = [(latitude[0] - lat) / terrain.posting_deg, (lon - longitude[0]) / terrain.posting_deg]
    points = geodetic_to_ecef(np.radians(lat), np.radians(lon), float(terrain.height.mean()))
    for track, product in zip((131, 36), (each[0][0] for each in passes), strict=True):
        sight = np.moveaxis(line_of_sight(points, product.arc.position(geo2rdr(points, product.arc)[0])), -1, 0)
        seen = -map_coordinates(compute_deformation(one, terrain, product), place, order=1)
        write_track(tmp_path, track, grid, sight, seen)
    folder = combine_tracks(tmp_path)
    assert folder is not None
    facts, shown = read_json(folder / "east_up.json"), read_geotiff(folder / "velocity_up.tif")[1]
    assert shown == grid
    motion = _displace_ground(one, terrain, *(np.arange(n, dtype=float) for n in terrain.shape))
    true = {
        name: map_coordinates(part, place, order=1) for name, part in zip(("east", "north", "up"), motion, strict=True)
    }
    assert np.ptp(true["up"]) > 0.02
    for name in ("east", "up"):
        values, deviation = (read_geotiff(folder / f"velocity_{name}{end}.tif")[0] for end in ("", "_std"))
        known = np.isfinite(values)
        leaked = facts["of_a_velocity_to_the_north"][name] * true["north"]  # as documented
        error = (values - true[name] - leaked)[known]
        error -= np.median(error)
        assert known.mean() > 0.9
        assert np.sqrt((error**2).mean()) < 1.2 * np.median(deviation[known])
        assert np.corrcoef(values[known], true[name][known])[0, 1] > 0.95


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
