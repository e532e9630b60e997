"""The real topsApp, where it is installed, beside the native engine and the truth, on an independent pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from topsar import workflow
from topsar.engines import Engine, Inputs, choose_engine
from topsar.engines.isce2.stages import list_stages
from topsar.engines.isce2.topsapp import TopsAppRun
from topsar.engines.survey import Survey
from topsar.errors import SettingsError
from topsar.kernels.filter import filter_phase
from topsar.pairs.listing import read_pairs
from topsar.provision import find_pairs, find_pass_orbits
from topsar.provision.dem.choice import find_dem
from topsar.raster import read_geotiff
from topsar.raster.isce_image import read_isce_image
from topsar.schedule.jobs import Status
from topsar.settings import load_settings

pytestmark = [pytest.mark.real, pytest.mark.slow]

INJECTED_PX = 0.004
FLAGS = {"CRS": "latlon", "POSTING": "92.7662", "DEM_DATUM": "ellipsoid"}


def lay_out(shared_data: Path, data: Path, dem: str) -> Path:
    """The pair in the layout of a data folder."""
    for folder, pattern in (("raw", "*.zip"), ("orbit_data", "*.EOF"), ("dem", dem)):
        (data / folder).mkdir()
        for path in (shared_data / "referee").glob(pattern):
            (data / folder / path.name).symlink_to(path)
    (data / "pairs.txt").write_text(" ".join(path.stem for path in sorted((data / "raw").iterdir())))
    return data


def process(shared_data: Path, data: Path, **flags: str) -> Path:
    lay_out(shared_data, data, "dem_wgs84.tif")
    settings = load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=FLAGS | flags)
    (pair,) = (outcome for outcome in workflow.run(settings) if outcome.is_pair)
    assert pair.status is Status.DONE, pair.message
    return data / "runs" / pair.job / "products"


def isce2_or_skip() -> Engine:
    """``ISCE_HOME`` and ``ISCE_PYTHON`` may say where ISCE2 is."""
    wanted = load_settings(env_file=None, data=Path(), pairs=Path(), flags={"ENGINE": "isce2"}).engine_wanted
    try:
        return choose_engine(*wanted)[0]
    except SettingsError as exc:
        pytest.skip(exc.message)


@pytest.fixture(scope="module")
def products(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of both engines."""
    isce2_or_skip()
    return {
        "isce2": process(shared_data, tmp_path_factory.mktemp("isce2"), ENGINE="isce2", LOOKS="9x3"),
        "native": process(shared_data, tmp_path_factory.mktemp("native"), ENGINE="native"),
    }


def layer(products: Path, name: str) -> np.ndarray:
    values: np.ndarray = read_geotiff(products / f"{name}.tif")[0]
    return values


def true_phase(products: Path, truth: Path) -> np.ndarray:
    """On the grid of the products; NaN where it is not known."""
    grid = read_geotiff(products / "wrapped_phase.tif")[1]
    expected, source, _ = read_geotiff(truth)
    lon = grid.west + (np.arange(grid.columns) + 0.5) * grid.dx
    lat = grid.north - (np.arange(grid.rows) + 0.5) * grid.dy
    row, column = (source.north - lat) / source.dy - 0.5, (lon - source.west) / source.dx - 0.5
    values: np.ndarray = map_coordinates(expected, np.meshgrid(row, column, indexing="ij"), order=1, cval=np.nan)
    return values


def residual(products: Path, truth: Path, name: str) -> np.ndarray:
    """Phase minus truth where coherent, its mean removed; NaN elsewhere."""
    return compare(products, layer(products, name), true_phase(products, truth))


def compare(products: Path, phase: np.ndarray, truth: np.ndarray) -> np.ndarray:
    turned = np.exp(1j * (phase - truth))
    seen = (layer(products, "coherence") > 0.8) & np.isfinite(turned)
    return np.where(seen, np.angle(turned * np.conj(turned[seen].mean())), np.nan)


def filter_error(products: Path, truth: Path) -> float:
    """What the filter leaves of noise as strong as is predicted, and takes of the true phase; rms where coherent."""
    noise, expected = layer(products, "phase_noise"), true_phase(products, truth)
    drawn = np.random.default_rng(0).normal(size=noise.shape).astype(np.float32) * noise
    noisy = np.nan_to_num(np.exp(1j * (expected + drawn))).astype(np.complex64)
    filtered = np.angle(filter_phase(noisy, layer(products, "coherence"), noise, 0.5))
    return float(np.sqrt(np.nanmean(compare(products, filtered, expected) ** 2)))


def seam(products: Path, truth: Path) -> float:
    """Mean step of the phase at burst boundaries."""
    rest, burst = residual(products, truth, "wrapped_phase"), layer(products, "burst")
    rows, columns = np.nonzero((burst[:-1] != burst[1:]) & (burst[:-1] >= 0) & (burst[1:] >= 0))
    near = range(6)
    above = np.nanmean([rest[np.maximum(rows - step, 0), columns] for step in near])
    below = np.nanmean([rest[np.minimum(rows + 1 + step, len(rest) - 1), columns] for step in near])
    return float(above - below)


def facts(products: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((products / "facts.json").read_text())
    return found


def test_phase_is_the_truth_and_bursts_join(products: dict[str, Path], shared_data: Path) -> None:
    truth = shared_data / "referee/truth/phase_truth_20250406_20250418.tif"
    for engine, folder in products.items():
        rest = residual(folder, truth, "wrapped_phase")
        assert np.isfinite(rest).sum() > 30_000, engine
        unfiltered, filtered = (
            np.sqrt(np.nanmean(residual(folder, truth, f"{name}_phase") ** 2)) for name in ("wrapped", "filtered")
        )
        assert unfiltered < 0.08, engine
        assert filtered < 1.2 * filter_error(folder, truth), engine  # neighbours share looks
        assert abs(seam(folder, truth)) < 0.03, engine
        assert facts(folder)["azimuth_misregistration"]["pixels"] == pytest.approx(INJECTED_PX, abs=2e-4), engine


def test_engines_agree(products: dict[str, Path]) -> None:
    one, other = products["isce2"], products["native"]
    assert read_geotiff(one / "los_up.tif")[1].transform == read_geotiff(other / "los_up.tif")[1].transform
    rows, columns = (slice(0, size) for size in np.minimum(layer(one, "height").shape, layer(other, "height").shape))
    apart = {
        name: (layer(one, name)[rows, columns] - layer(other, name)[rows, columns])
        for name in ("incidence", "los_east", "los_north", "los_up", "height", "coherence")
    }
    assert np.nanmax(np.abs(apart["incidence"])) < 0.01
    for name in ("los_east", "los_north", "los_up"):
        assert np.nanmax(np.abs(apart[name])) < np.radians(0.01)
    assert np.nanmax(np.abs(apart["height"])) < 1e-3
    assert abs(np.nanmedian(apart["coherence"])) < 0.05
    assert facts(one)["perpendicular_baseline_m"] == pytest.approx(facts(other)["perpendicular_baseline_m"], abs=0.5)


def test_topo_sees_the_ground_that_the_dem_shows(shared_data: Path, tmp_path: Path) -> None:
    """Heights above EGM96 in, heights above the ellipsoid at the same places out."""
    data = lay_out(shared_data, tmp_path, "dem_egm96.tif")
    settings = load_settings(
        env_file=None, data=data, pairs=data / "pairs.txt", flags={**FLAGS, "ENGINE": "isce2", "DEM_DATUM": "egm96"}
    )
    engine = isce2_or_skip()
    (listed,) = find_pairs(read_pairs(settings.pairs), data / "raw")
    assert listed.pair
    orbits = find_pass_orbits((listed.pair,), data / "orbit_data")
    dem = find_dem(settings.options, data / "dem")
    plan = engine.plan(Inputs(survey=Survey((listed.pair,), orbits, settings.options), dem=dem), settings.options)
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "job.json").write_text(next(iter(plan.tasks.values())))
    for stage in list_stages(TopsAppRun.of(folder).task):
        engine.execute(folder, stage.name)
        if stage.name == "topo":
            break
    images = folder / "topsapp/geom_reference/IW2"
    lat, lon, height = (read_isce_image(images / f"{name}_01.rdr")[0] for name in ("lat", "lon", "hgt"))
    truth, grid, _ = read_geotiff(shared_data / "referee/dem_wgs84.tif")
    place = [(grid.north - lat) / grid.dy - 0.5, (lon - grid.west) / grid.dx - 0.5]
    # topsApp interpolates by polynomials of fifth order
    apart = (height - map_coordinates(truth, place, order=3, cval=np.nan))[50:-50:7, 50:-50:7]
    assert abs(np.nanmedian(apart)) < 0.02
    assert np.nanpercentile(np.abs(apart), 99) < 0.2
