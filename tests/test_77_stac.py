"""STAC: links lead somewhere, assets say what the rasters say, styles and overlays show it where it lies."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image

from sample_layers import DEGREES, FACTS, UTM, same_layers, sample, with_only
from topsar.engines.ground import LONLAT, change_crs
from topsar.formats import open_format
from topsar.formats.geotiff import GeoTiff
from topsar.formats.quicklook.palette import DISPLACEMENT
from topsar.formats.stac import EXTENSIONS
from topsar.interferogram import read_pair, swap_dates

LATER = {**FACTS, "pair": "T052_b", "reference_date": "2023-09-28", "reference_time": "2023-09-28T06:37:30+00:00"}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stac")
    paths = open_format("stac", {}).write(iter([sample(), sample(DEGREES, facts=LATER)]), folder)
    assert sorted(paths) == sorted(path for path in folder.rglob("*") if path.is_file())
    return folder


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def read_items(catalogue: Path) -> list[tuple[Path, dict[str, Any]]]:
    links = read(catalogue / "collection.json")["links"]
    paths = [catalogue / link["href"] for link in links if link["rel"] == "item"]
    return [(path, read(path)) for path in paths]


def test_all_files_are_reached_by_relative_links(catalogue: Path) -> None:
    reached = {catalogue / "collection.json"}
    items = read_items(catalogue)
    assert [item["id"] for _, item in items] == [FACTS["pair"], "T052_b"]
    for path, item in items:
        reached.add(path.resolve())
        assert {link["rel"] for link in item["links"]} == {"root", "parent", "collection"}
        for link in item["links"]:
            assert (path.parent / link["href"]).resolve() == catalogue / "collection.json"
        assert item["collection"] == read(catalogue / "collection.json")["id"]
        reached |= {(path.parent / asset["href"]).resolve() for asset in item["assets"].values()}
    assert reached == {path for path in catalogue.rglob("*") if path.is_file()}


def test_assets_say_what_the_rasters_say(catalogue: Path) -> None:
    for path, item in read_items(catalogue):
        for name, asset in item["assets"].items():
            if asset["roles"] != ["data"]:
                continue
            with rasterio.open(path.parent / asset["href"]) as raster:
                assert asset["data_type"] == raster.dtypes[0]
                assert str(asset["nodata"]) == f"{raster.nodata:g}"
                assert asset["unit"] == raster.units[0]
                assert item["properties"]["proj:code"] == raster.crs.to_string()
                assert item["properties"]["proj:shape"] == list(raster.shape)
                assert item["properties"]["proj:transform"] == pytest.approx(list(raster.transform)[:6])
                values = raster.read(1, masked=True).astype(float).compressed()
                values = values[np.isfinite(values)]
            known = asset["statistics"]
            assert known["valid_percent"] == pytest.approx(100 * values.size / raster.width / raster.height, abs=0.01)
            for key, expected in {"minimum": np.min, "maximum": np.max, "mean": np.mean, "stddev": np.std}.items():
                assert known[key] == pytest.approx(expected(values), rel=1e-5, abs=1e-6), name


def test_an_item_tells_place_and_times(catalogue: Path) -> None:
    collection = read(catalogue / "collection.json")
    west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
    (start, stop) = collection["extent"]["temporal"]["interval"][0]
    for grid, (_, item) in zip((UTM, DEGREES), read_items(catalogue), strict=True):
        properties, outline = item["properties"], shapely.geometry.shape(item["geometry"])
        lon, lat = change_crs(grid.crs, LONLAT, *(np.array([one]) for one in grid.bbox.centre))
        assert outline.is_valid
        assert outline.exterior.is_ccw
        assert outline.contains(shapely.Point(lon[0], lat[0]))
        assert item["bbox"] == pytest.approx(outline.bounds)
        assert west <= item["bbox"][0] < item["bbox"][2] <= east
        assert south <= item["bbox"][1] < item["bbox"][3] <= north
        assert start <= properties["start_datetime"] < properties["end_datetime"] <= stop
        assert re.fullmatch(r"2023-09-\d\dT06:37:30Z", properties["insar:reference_datetime"])
        assert (properties["sat:orbit_state"], properties["sat:relative_orbit"]) == ("descending", 52)
        prefixes = {key.partition(":")[0] for fields in (properties, *item["assets"].values()) for key in fields}
        declared = {url.split("/")[3] for url in item["stac_extensions"]}
        assert declared == {place.split("/")[0] for prefix, place in EXTENSIONS.items() if prefix in prefixes}
        assert len(declared) == 6


def test_products_that_are_there_are_copied(tmp_path: Path) -> None:
    for name in ("products", "there", "copied"):
        (tmp_path / name).mkdir()
    GeoTiff().write([sample()], tmp_path / "products")
    written = open_format("stac", {}).write(iter([read_pair(tmp_path / "products")]), tmp_path / "copied")
    for path in open_format("stac", {}).write(iter([sample()]), tmp_path / "there"):
        same = tmp_path / "copied" / path.relative_to(tmp_path / "there")
        assert same in written
        assert same.read_bytes() == path.read_bytes()
    back = read_pair(tmp_path / "copied" / FACTS["pair"])
    assert same_layers(back, sample())
    assert swap_dates(back).folder is None  # what is changed is no copy


def test_facts_that_are_not_known_are_left_out(tmp_path: Path) -> None:
    facts = {key: FACTS[key] for key in ("pair", "reference_date", "secondary_date")}
    open_format("stac", {}).write(iter([sample(facts=facts)]), tmp_path)
    ((_, item),) = read_items(tmp_path)
    assert not any("/sat/" in url for url in item["stac_extensions"])
    assert None not in [value for key, value in item["properties"].items() if key != "datetime"]
    assert item["properties"]["start_datetime"] == "2023-09-04T00:00:00Z"


def test_collections_of_two_polarisations_are_told_apart(tmp_path: Path) -> None:
    told = []
    for polarisation in ("VV", "VH"):
        name = FACTS["pair"] + {"VV": "", "VH": "_VH"}[polarisation]
        ifg = with_only(sample(facts={**FACTS, "pair": name, "polarisation": polarisation}), "coherence")
        (tmp_path / polarisation).mkdir()
        open_format("stac", {}).write(iter([ifg]), tmp_path / polarisation)
        collection = read(tmp_path / polarisation / "collection.json")
        ((_, item),) = read_items(tmp_path / polarisation)
        assert item["collection"] == collection["id"]
        told += [(collection["id"], collection["title"], item["properties"]["title"].rpartition(", ")[2])]
    title = "Sentinel-1 interferograms of track 52"
    assert told == [("topsar-T052", title, "VV"), ("topsar-T052_VH", f"{title} VH", "VH")]


def test_styles_of_qgis_have_the_colours_of_the_layers(catalogue: Path) -> None:
    folder = catalogue / FACTS["pair"]
    drawn = {path.stem for path in folder.glob("*.qml")}
    assert {"wrapped_phase", "filtered_phase", "coherence", "displacement", "unwrapped_phase", "water"} <= drawn
    assert all((folder / f"{name}.tif").is_file() for name in drawn)

    def entries(name: str) -> list[dict[str, str]]:
        renderer = ET.parse(folder / f"{name}.qml").getroot().find("pipe/rasterrenderer")
        assert renderer is not None
        return [dict(entry.attrib) for entry in (*renderer.iter("item"), *renderer.iter("paletteEntry"))]

    phase = entries("wrapped_phase")
    assert (float(phase[0]["value"]), float(phase[-1]["value"])) == pytest.approx((-np.pi, np.pi))
    assert phase[0]["color"] == phase[-1]["color"]
    metres = [float(entry["value"]) for entry in entries("displacement")]
    assert metres[0] == pytest.approx(-metres[-1])
    assert -0.1 < metres[0] < -0.08
    assert metres[12] == pytest.approx(0, abs=1e-12)
    assert float(entries("displacement")[0]["label"]) == pytest.approx(100 * metres[0], rel=0.01)  # centimetres
    assert [entry["label"] for entry in entries("layover_shadow")] == ["layover", "shadow", "both"]


def test_an_overlay_shows_a_pixel_where_it_lies(tmp_path: Path) -> None:
    one = np.full(UTM.shape, np.nan)
    one[40, 70] = 0.05
    open_format("stac", {}).write(iter([sample(displacement=one)]), tmp_path)
    with zipfile.ZipFile(tmp_path / FACTS["pair"] / f"{FACTS['pair']}.kmz") as packed:
        kml, picture = ET.fromstring(packed.read("doc.kml")), packed.read("0.png")
    space = {"kml": "http://www.opengis.net/kml/2.2"}
    overlays = kml.findall("kml:Document/kml:GroundOverlay", space)
    assert [overlay.findtext("kml:visibility", "", space) for overlay in overlays] == ["1", "0", "0"]
    north, south, east, west = (
        float(overlays[0].findtext(f"kml:LatLonBox/kml:{edge}", "", space))
        for edge in ("north", "south", "east", "west")
    )
    painted = np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA"))
    seen = painted[..., 3] > 0
    np.testing.assert_array_equal(np.unique(painted[seen], axis=0), [[*DISPLACEMENT.levels[-1], 255]])
    rows, columns = np.nonzero(seen)
    lat = north - (rows.mean() + 0.5) / seen.shape[0] * (north - south)
    lon = west + (columns.mean() + 0.5) / seen.shape[1] * (east - west)
    x, y = change_crs(LONLAT, UTM.crs, np.array([lon]), np.array([lat]))
    assert x[0] == pytest.approx(UTM.west + 70.5 * UTM.dx, abs=UTM.dx / 2)
    assert y[0] == pytest.approx(UTM.north - 40.5 * UTM.dy, abs=UTM.dy / 2)
