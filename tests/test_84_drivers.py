"""Whole runs with heights in every form that people keep them in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from topsar import workflow
from topsar.engines.isce2.dem_file import write_isce_dem
from topsar.model import BBox, Dem, VerticalDatum
from topsar.raster import read_geotiff
from topsar.schedule.jobs import Status
from topsar.settings import load_settings
from topsar.simulate import recipe, simulate

pytestmark = pytest.mark.slow

FORMS = {
    "ENVI": "dem.dat",
    "EHdr": "dem.bil",
    "HFA": "dem.img",
    "VRT": "dem.vrt",
    "AAIGrid": "dem.asc",
    "ISCE": "dem.wgs84",  # its .xml starts at the centre of the first pixel
    "ISCE, by its .vrt": "dem.wgs84.vrt",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drivers")
    simulate(folder, recipe("tiny"))
    return folder


def process(data: Path, dem: Path) -> dict[str, np.ndarray]:
    flags = {"ENGINE": "native", "DEM": str(dem), "DEM_DATUM": "ellipsoid", "UNWRAPPER": "none", "FORMATS": "geotiff"}
    settings = load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags)
    (pair,) = (outcome for outcome in workflow.run(settings) if outcome.is_pair)
    assert pair.status is Status.DONE, pair.message
    products = data / "runs" / pair.job / "products"
    return {name: read_geotiff(products / f"{name}.tif")[0] for name in ("height", "wrapped_phase", "water")}


def write_form(source: Path, driver: str, folder: Path) -> Path:
    folder.mkdir()
    if not driver.startswith("ISCE"):
        rasterio.shutil.copy(source, folder / FORMS[driver], driver=driver)
    else:
        with rasterio.open(source) as dataset:
            west, south, east, north = dataset.bounds
        box = BBox(west=west, south=south, east=east, north=north)
        write_isce_dem(Dem(path=source, datum=VerticalDatum.ELLIPSOID), box, folder / "dem.wgs84")
    return folder / FORMS[driver]


def test_every_form_of_a_height_model_gives_the_same_products(data: Path, tmp_path: Path) -> None:
    (source,) = (data / "dem").glob("*.tif")
    expected = process(data, source)
    assert np.isfinite(expected["wrapped_phase"]).mean() > 0.2
    for driver in FORMS:
        form = write_form(source, driver, tmp_path / driver)
        for layer, values in process(data, form).items():
            np.testing.assert_allclose(values, expected[layer], atol=2e-3, err_msg=f"{layer} with {driver}")
