"""Two polarisations of flat, noisy ground: pairs of their own, whose backscatter is found again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.warp import Resampling, reproject

from fake_isce.use import double
from topsar import workflow
from topsar.engines import Inputs
from topsar.engines.isce2 import Isce2Engine
from topsar.engines.survey import Survey
from topsar.model import GeoGrid
from topsar.pairs.listing import read_pairs
from topsar.provision import find_pairs, find_pass_orbits
from topsar.provision.dem.choice import find_dem
from topsar.raster import read_geotiff
from topsar.schedule.jobs import Status
from topsar.settings import load_settings
from topsar.simulate import recipe, simulate
from topsar.simulate.focus import CROSS_SHARE


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One burst of two dates in VV and VH; thermal noise makes VV brighter by a decibel, VH by four."""
    folder = tmp_path_factory.mktemp("flat")
    flat = replace(recipe("tiny"), bursts=1, relief_m=0.0, nesz_db=-14.0, polarisations=("VV", "VH"))
    simulate(folder, replace(flat, cuts=(replace(flat.cuts[0], samples=600),)))
    flags = {"UNWRAPPER": "none", "FORMATS": "geotiff", "POLARIZATION": "VH,VV"}
    settings = load_settings(env_file=None, data=folder, pairs=folder / "pairs.txt", flags=flags)
    assert {outcome.status for outcome in workflow.run(settings)} == {Status.DONE}
    return folder


def read_truth(data: Path, grid: GeoGrid) -> NDArray[np.float32]:
    """Gamma nought of the ground, averaged over pixels."""
    truth, source, _ = read_geotiff(data / "truth" / "gamma_nought.tif")
    mean = np.full(grid.shape, np.nan, np.float32)
    reproject(
        (10 ** (truth / 10)).astype(np.float32), mean,
        src_transform=Affine(*source.transform), src_crs="EPSG:4326", dst_transform=Affine(*grid.transform),
        dst_crs=grid.crs, resampling=Resampling.average, src_nodata=np.nan, dst_nodata=np.nan,
    )  # fmt: skip
    return mean


def test_backscatter_is_that_of_the_ground(data: Path) -> None:
    """In every third of the image, along and across: the processor's gain varies by 0.4 dB along each side."""
    (folder,) = data.glob("runs/T131_*[0-9]/products")
    found, grid, _ = read_geotiff(folder / "gamma0.tif")
    truth = read_truth(data, grid)
    seen = np.isfinite(found) & np.isfinite(truth)
    for axis in (0, 1):
        for part in np.array_split(np.flatnonzero(seen.any(axis=1 - axis)), 3):
            inside = seen & np.isin(np.indices(seen.shape)[axis], part)
            assert abs(10 * np.log10(found[inside].mean() / truth[inside].mean())) < 0.08


def test_backscatter_of_topsapps_pairs_is_the_same(data: Path, tmp_path: Path) -> None:
    """From the same products, averaged in radar geometry; half a pixel beside each other speckle would not agree."""
    settings = load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags={"UNWRAPPER": "none"})
    (listed,) = find_pairs(read_pairs(settings.pairs), data / "raw")
    assert listed.pair is not None
    survey = Survey((listed.pair,), find_pass_orbits((listed.pair,), data / "orbit_data"), settings.options)
    engine = Isce2Engine(double())
    plan = engine.plan(Inputs(survey=survey, dem=find_dem(settings.options, data / "dem")), settings.options)
    (job,) = plan.tasks
    (tmp_path / "job.json").write_text(plan.tasks[job])
    engine.execute(tmp_path, "backscatter")
    found = np.load(tmp_path / "topsapp" / "backscatter" / "backscatter.npy")
    native, _, _ = read_geotiff(data / "runs" / job / "products" / "gamma0.tif")
    seen = np.isfinite(native)
    assert np.isfinite(found[seen]).mean() > 0.97
    seen &= np.isfinite(found)
    assert abs(10 * np.log10(found[seen].mean() / native[seen].mean())) < 0.01
    assert np.corrcoef(found[seen], native[seen])[0, 1] > 0.97


def test_each_polarisation_is_a_pair_with_backscatter_of_its_own(data: Path) -> None:
    runs = data / "runs"
    plain, crossed = sorted(path.parent for path in runs.glob("T131_*/products"))
    assert crossed.name == f"{plain.name}_VH"
    facts = [json.loads((pair / "products" / "facts.json").read_text()) for pair in (plain, crossed)]
    assert [one["polarisation"] for one in facts] == ["VV", "VH"]
    (bright, _, _), (dark, _, _) = (read_geotiff(pair / "products" / "gamma0.tif") for pair in (plain, crossed))
    seen = np.isfinite(bright) & np.isfinite(dark)
    assert dark[seen].mean() / bright[seen].mean() == pytest.approx(CROSS_SHARE, rel=0.04)
    (one, _, _), (other, _, _) = (read_geotiff(pair / "products" / "wrapped_phase.tif") for pair in (plain, crossed))
    assert np.abs(np.nanmean(np.exp(1j * (one - other)))) > 0.5  # the same ground moved


def test_all_polarisations_share_the_view_of_the_ground(data: Path) -> None:
    assert len(list((data / "runs").glob("view_*"))) == 1
