"""Points of a time series: which pixels are chosen, and what other programs read of them."""

from __future__ import annotations

import csv
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (gives datasets their coordinate system)
import xarray
from pyogrio import raw
from pyproj import Transformer

from sample_layers import sample
from test_79_timeseries import DAYS, GRID, SETTINGS, VELOCITY, day_text, facts_of, make_stack
from topsar.errors import SettingsError
from topsar.formats import open_format
from topsar.formats.timeseries import points
from topsar.formats.timeseries.dispersion import limit_dispersion
from topsar.formats.timeseries.stack import link_pairs
from topsar.interferogram import Interferogram, make_layers
from topsar.model import Looks
from topsar.raster import open_geotiff

RULES = SETTINGS | {"points": ["csv", "gpkg", "stamps"]}
LOOKS = 30.0
FADING = np.hypot(*(np.mgrid[: GRID.rows, : GRID.columns] - np.array([20, 40])[:, None, None])) < 8
"""Where the amplitude comes and goes."""


def with_amplitudes(pairs: list[Interferogram]) -> list[Interferogram]:
    """Pairs of different brightness, a part of each of which fades now and then."""
    rng, geometry = np.random.default_rng(7), sample(GRID)
    made = []
    for number, pair in enumerate(pairs):
        amplitude = rng.uniform(0.5, 2) * np.where(FADING & (number % 3 == 0), 0.1, 1)
        layers = make_layers({"amplitude": np.full(GRID.shape, 1.0) * amplitude})
        known = {name: geometry.layers[name] for name in ("height", "incidence")}
        facts = pair.facts | {"independent_looks": LOOKS}
        made.append(replace(pair, layers={**pair.layers, **layers, **known}, facts=facts))
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points")
    open_format("timeseries", RULES).write(iter(with_amplitudes(make_stack())), folder)
    return folder


def test_speckle_is_not_taken_for_scatterers_because_looks_are_many() -> None:
    rng, pairs = np.random.default_rng(5), make_stack()
    dates = sorted({str(pair.facts[f"{end}_date"]) for pair in pairs for end in ("reference", "secondary")})
    steady = np.zeros(GRID.shape, bool)
    steady[:, :30] = True
    power = {date: rng.gamma(LOOKS, 1 / LOOKS, GRID.shape) for date in dates}
    speckled = []
    for pair in pairs:
        both = [np.where(steady, 1, power[str(pair.facts[f"{end}_date"])]) for end in ("reference", "secondary")]
        layers = make_layers({"amplitude": np.sqrt(np.mean(both, axis=0))})
        facts = pair.facts | {"independent_looks": LOOKS}
        speckled.append(replace(pair, layers={**pair.layers, **layers}, facts=facts))
    network = link_pairs(speckled)
    found = points._compare_pairs(network)
    assert np.median(found[~steady]) == pytest.approx(0.5, abs=0.08)
    assert (found[~steady] > 0.25).mean() > 0.95  # of ten dates chance leaves some below
    assert (found[steady] < 0.01).all()
    unknown = [replace(pair, facts={**pair.facts, "independent_looks": None}) for pair in speckled]
    assert np.isnan(points._compare_pairs(link_pairs(unknown))).all()


@pytest.mark.parametrize("dates", [6, 8, 20])
def test_speckle_is_not_taken_for_scatterers_because_dates_are_few(dates: int) -> None:
    limit = limit_dispersion(dates, 50)
    amplitude = np.random.default_rng(11).rayleigh(size=(dates, 2000, 50))
    least = (amplitude.std(axis=0, ddof=1) / amplitude.mean(axis=0)).min(axis=1)
    assert 0.001 < (least < limit).mean() < 0.03
    assert limit_dispersion(dates, 500) < limit < limit_dispersion(dates + 4, 50)
    assert (limit > 0.25) == (dates == 20)  # what is usual is safe from twenty dates on


def read_csv(folder: Path) -> dict[str, np.ndarray]:
    with (folder / "points" / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_points_are_the_steady_pixels_with_what_the_layers_hold(written: Path) -> None:
    table = read_csv(written)
    x, y = Transformer.from_crs("EPSG:4326", GRID.crs, always_xy=True).transform(table["lon"], table["lat"])
    row, column = ((GRID.north - y) / GRID.dy).astype(int), ((x - GRID.west) / GRID.dx).astype(int)
    chosen = np.zeros(GRID.shape, bool)
    chosen[row, column] = True
    velocity = rasterio.open(written / "velocity.tif").read(1)
    assert np.array_equal(chosen, np.isfinite(velocity) & ~FADING)
    np.testing.assert_allclose(table["velocity"], velocity[row, column], atol=6e-7)
    last = f"{day_text(DAYS[-1])}".replace("-", "")
    displaced = rasterio.open(written / f"displacement_{last}.tif").read(1)
    np.testing.assert_allclose(table[f"D{last}"], displaced[row, column], atol=6e-6)
    np.testing.assert_allclose(table["height"], sample(GRID).layers["height"].values[row, column], atol=0.006)
    assert len([name for name in table if name.startswith("D2")]) == len(DAYS)
    assert table["incidence"] == pytest.approx(np.degrees(np.arccos(0.79)), abs=1e-3)
    known = facts_of(written)["points"]
    assert isinstance(known, dict)
    assert known["found"] == known["written"] == len(row)
    assert known["dispersion_of"] == "amplitude of pairs, as of a single look"
    assert VELOCITY.min() < -0.07
    assert table["velocity"].min() < -0.07


def test_a_geopackage_and_texts_hold_the_same(written: Path) -> None:
    table, folder = read_csv(written), written / "points"
    meta, _, geometry, columns = raw.read(folder / "points.gpkg")
    assert meta["crs"] == "EPSG:4326"
    assert len(geometry) == table["lon"].size
    for name, values in zip(meta["fields"], columns, strict=True):
        np.testing.assert_allclose(values, table[name], atol=0.006 if name == "height" else 6e-4)
    with sqlite3.connect(folder / "points.gpkg") as opened:
        (identifier,) = opened.execute("PRAGMA application_id").fetchone()
    opened.close()
    assert identifier.to_bytes(4, "big") == b"GPKG"
    velocity = np.loadtxt(folder / "ps_mean_v.xy")
    np.testing.assert_allclose(velocity.T, [table["lon"], table["lat"], 1000 * table["velocity"]], atol=6e-4)
    deviation, known = np.loadtxt(folder / "ps_mean_v_std.xy"), np.loadtxt(folder / "ps_data.xy")
    np.testing.assert_array_equal(known[:, :3], deviation)
    np.testing.assert_allclose(known[:, 3], table["height"], atol=0.006)
    assert np.isnan(known[:, 4]).all()
    dates = np.loadtxt(folder / "date.txt", dtype=int)
    for number, date in enumerate(dates, 1):
        moved = np.loadtxt(folder / f"ps_u-dm.{number}.xy")[:, 2]
        np.testing.assert_allclose(moved, 1000 * table[f"D{date}"], atol=6e-3)


def test_the_stack_of_slcs_says_where_in_a_pixel_the_scatterer_is(tmp_path: Path) -> None:
    looks, fine = Looks(east=5, north=2), GRID.refine(Looks(east=5, north=2))
    dispersion = np.full(fine.shape, 0.5, np.float32)
    dispersion[31 * 2 + 1, 12 * 5 + 4] = 0.1
    path = tmp_path / "slc_stack" / "T052_VV" / "amplitude_dispersion.tif"
    with open_geotiff(path, fine, "float32", nodata=np.nan, tile_rows=16) as dataset:
        dataset.write(dispersion, 1)
    pairs = [replace(pair, folder=tmp_path / pair.pair_id / "products") for pair in make_stack()]
    (tmp_path / "series").mkdir()
    open_format("timeseries", RULES).write(iter(pairs), tmp_path / "series")
    table = read_csv(tmp_path / "series")
    x, y = Transformer.from_crs("EPSG:4326", GRID.crs, always_xy=True).transform(table["lon"], table["lat"])
    assert x == pytest.approx([GRID.west + (12 + 4.5 / looks.east) * GRID.dx], abs=0.02)
    assert y == pytest.approx([GRID.north - (31 + 1.5 / looks.north) * GRID.dy], abs=0.02)
    assert table["amplitude_dispersion"] == pytest.approx([0.1])


def test_a_kind_of_file_whose_package_is_missing_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topsar.formats.timeseries.point_files.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="pyarrow"):
        open_format("timeseries", RULES | {"points": ["parquet"]})


def test_one_netcdf_holds_what_the_geotiffs_hold(written: Path) -> None:
    with xarray.open_dataset(written / "timeseries.nc", decode_coords="all") as opened:
        assert opened.displacement.dims == ("time", "y", "x")
        assert [str(day)[:10] for day in opened.time.values] == [day_text(day) for day in DAYS]
        assert opened.rio.crs == GRID.crs
        assert opened.displacement.attrs["units"] == "m"
        names = {name: name for name in ("velocity", "velocity_std", "temporal_coherence", "residual_rms")}
        for name in names:
            np.testing.assert_array_equal(opened[name], rasterio.open(written / f"{name}.tif").read(1))
        last = day_text(DAYS[-1])
        displaced = rasterio.open(written / f"displacement_{last.replace('-', '')}.tif").read(1)
        np.testing.assert_array_equal(opened.displacement.sel(time=last), displaced)
        assert opened.attrs["creator_name"] == "Ada"
        x, y = opened.x.values[20], opened.y.values[30]
    assert (x, y) == (GRID.west + 20.5 * GRID.dx, GRID.north - 30.5 * GRID.dy)
