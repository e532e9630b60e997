"""Layers of an interferogram as GeoTIFFs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from topsar.errors import ProductError
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import LAYERS, Interferogram, make_layers
from topsar.model import Direction, GeoGrid
from topsar.raster import inspect

SHAPE = (600, 700)
GRID = GeoGrid(crs="EPSG:32629", west=480_000, north=3_500_000, dx=80, dy=80, rows=SHAPE[0], columns=SHAPE[1])


@pytest.fixture
def interferogram() -> Interferogram:
    phase = np.linspace(-3, 3, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    phase[:60] = np.nan
    components = np.where(np.isnan(phase), 0, 7).astype(np.uint16)
    arrays = {"wrapped_phase": phase, "displacement": phase / 100, "components": components}
    facts = {
        "track": 52,
        "direction": Direction.DESCENDING,
        "reference_date": "2023-09-04",
        "secondary_date": "2023-09-16",
        "perpendicular_baseline_m": np.float64(-27.3),
        "coherence_mean": float("nan"),
        "engine": None,
    }
    return Interferogram(pair_id="T052_a_b", grid=GRID, layers=make_layers(arrays), facts=facts)


def test_one_file_per_layer_and_the_facts(interferogram: Interferogram, tmp_path: Path) -> None:
    paths = GeoTiff().write([interferogram], tmp_path / "products")
    assert [p.name for p in paths] == ["wrapped_phase.tif", "displacement.tif", "components.tif", "facts.json"]
    assert sorted(p.name for p in (tmp_path / "products").iterdir()) == sorted(p.name for p in paths)
    assert inspect(tmp_path / "products")["files"] == 4


def test_a_file_says_what_it_holds(interferogram: Interferogram, tmp_path: Path) -> None:
    GeoTiff().write([interferogram], tmp_path)
    with rasterio.open(tmp_path / "displacement.tif") as dataset:
        tags = dataset.tags()
        assert dataset.descriptions == (LAYERS["displacement"].description,)
        assert dataset.units == ("m",)
        assert np.isnan(dataset.nodata)
        assert dataset.crs.to_epsg() == 32629
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        statistics = {key: float(value) for key, value in dataset.tags(1).items() if key.startswith("STATISTICS")}
    values = interferogram.layers["displacement"].values
    assert statistics["STATISTICS_MINIMUM"] == pytest.approx(float(np.nanmin(values)))
    assert statistics["STATISTICS_MEAN"] == pytest.approx(float(np.nanmean(values)), abs=1e-6)
    assert statistics["STATISTICS_VALID_PERCENT"] == pytest.approx(90, abs=0.1)
    assert tags["PAIR"] == "T052_a_b"
    assert (tags["REFERENCE_DATE"], tags["SECONDARY_DATE"]) == ("2023-09-04", "2023-09-16")
    assert tags["DIRECTION"] == "descending"
    assert tags["PERPENDICULAR_BASELINE_M"] == "-27.3"
    assert "toward the satellite" in tags["CONVENTION"]
    assert "ENGINE" not in tags


def test_overviews_suit_the_layer(interferogram: Interferogram, tmp_path: Path) -> None:
    GeoTiff().write([interferogram], tmp_path)
    with rasterio.open(tmp_path / "components.tif", overview_level=0) as dataset:
        assert set(np.unique(dataset.read(1))) == {0, 7}
    with rasterio.open(tmp_path / "wrapped_phase.tif", overview_level=0) as dataset:
        overview = dataset.read(1)
    values = interferogram.layers["wrapped_phase"].values
    assert np.isin(overview[np.isfinite(overview)], values).all()


def test_facts(interferogram: Interferogram, tmp_path: Path) -> None:
    GeoTiff().write([interferogram], tmp_path)
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert facts["pair"] == "T052_a_b"
    assert facts["crs"] == "EPSG:32629"
    assert facts["direction"] == "descending"
    assert facts["coherence_mean"] is None
    assert facts["grid"]["rows"] == SHAPE[0]
    assert facts["layers"]["components"] == {
        "unit": "1", "description": LAYERS["components"].description, "valid_share": 0.9
    }  # fmt: skip


def test_folder_that_cannot_be_made(interferogram: Interferogram, tmp_path: Path) -> None:
    (tmp_path / "products").write_text("in the way")
    with pytest.raises(ProductError, match="cannot write"):
        GeoTiff().write([interferogram], tmp_path / "products")
