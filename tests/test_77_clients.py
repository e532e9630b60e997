"""Programs of others, unmodified, on what topsar writes: STAC's own library and validator, and rio-cogeo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pystac
import pytest
from pystac.errors import STACValidationError
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rio_cogeo import cog_validate

from sample_layers import FACTS, UTM, sample, with_only
from topsar.formats import open_format
from topsar.formats.stac import STAC

OF_SEVERAL_TILES = replace(UTM, rows=600, columns=700)
SOME = ("filtered_phase", "coherence", "components", "water")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stac")
    later = {**FACTS, "pair": "T052_b", "reference_date": "2023-09-28", "reference_time": "2023-09-28T06:37:30+00:00"}
    pairs = (with_only(sample(OF_SEVERAL_TILES, facts=facts), *SOME) for facts in (FACTS, later))
    open_format("stac", {}).write(pairs, folder)
    return folder


def test_pystac_reads_a_catalogue_and_finds_it_valid(catalogue: Path) -> None:
    collection = pystac.Collection.from_file(str(catalogue / "collection.json"))
    items = list(collection.get_items())
    assert [item.id for item in items] == [FACTS["pair"], "T052_b"]
    for item in items:
        assert item.get_collection() is collection
        assert all(Path(str(asset.get_absolute_href())).is_file() for asset in item.assets.values())
    validator = JsonSchemaSTACValidator()  # without the schemas of extensions, which are on the net
    validator.validate_core(collection.to_dict(), pystac.STACObjectType.COLLECTION, STAC)
    for item in items:
        validator.validate_core(item.to_dict(), pystac.STACObjectType.ITEM, STAC)
    spoiled = items[0].to_dict()
    spoiled["properties"]["start_datetime"] = "yesterday"
    with pytest.raises(STACValidationError):
        validator.validate_core(spoiled, pystac.STACObjectType.ITEM, STAC)


def test_rio_cogeo_finds_all_rasters_cloud_optimised(catalogue: Path, tmp_path: Path) -> None:
    pair = with_only(sample(OF_SEVERAL_TILES), *SOME)
    open_format("hyp3", {}).write([pair], tmp_path)
    files = [*catalogue.glob("T052_b/*.tif"), *tmp_path.glob("*/*.tif")]
    assert len(files) == 2 * len(SOME)
    for file in files:
        assert cog_validate(file, strict=True) == (True, [], []), file


def test_rio_cogeo_finds_a_raster_of_one_column_of_tiles_cloud_optimised(tmp_path: Path) -> None:
    pair = with_only(sample(replace(UTM, rows=600, columns=512)), "coherence")
    (file,) = [path for path in open_format("geotiff", {}).write([pair], tmp_path) if path.suffix == ".tif"]
    assert cog_validate(file, strict=True) == (True, [], [])
