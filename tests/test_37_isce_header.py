"""DEMs in ISCE2's form: every header names the same ground."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import Affine

from topsar.engines.isce2.dem_file import write_isce_dem
from topsar.errors import ProductError, ProvisionError
from topsar.model import BBox, Dem, VerticalDatum, Window
from topsar.raster import open_dem, read_datum, read_geoid
from topsar.raster.geoid import EGM96
from topsar.raster.geotiff import open_quietly
from topsar.raster.isce_image import IsceHeader, IsceReader, create_isce_image, read_isce_image, write_isce_image

POSTING = 1 / 3600
BOX = BBox(west=15.02, south=37.61, east=15.06, north=37.64)
ELLIPSOID, ABOVE_EGM96 = VerticalDatum.ELLIPSOID, VerticalDatum.EGM96
RIDGE, CREST = 15.0412345, 37.6287654
"""The meridian and the parallel of a cross of ridges; neither is a whole number of postings."""


def ridges(longitude: Any, latitude: Any) -> Any:
    """Steep, so that half a posting off is 30 m and more."""
    along = 900 - np.abs(longitude - RIDGE) / POSTING * 60
    across = 600 - np.abs(latitude - CREST) / POSTING * 60
    return np.maximum(np.maximum(along, across), 100).astype(np.float32)


def write_dem(path: Path, *, crs: str = "EPSG:4979", south_up: bool = False, **holes: slice) -> Path:
    rows, columns = 180, 216
    west, north = 15.01 - POSTING / 2, 37.65 + POSTING / 2
    longitude = west + POSTING * (np.arange(columns) + 0.5)
    latitude = north - POSTING * (np.arange(rows) + 0.5)
    values = ridges(longitude[None, :], latitude[:, None])
    if holes:
        values[holes["rows"], holes["columns"]] = np.nan
    transform = Affine(POSTING, 0, west, 0, -POSTING, north)
    if south_up:
        values, transform = values[::-1], Affine(POSTING, 0, west, 0, POSTING, north - rows * POSTING)
    profile = {"driver": "GTiff", "height": rows, "width": columns, "count": 1, "dtype": "float32", "nodata": np.nan}
    with rasterio.open(path, "w", **profile, transform=transform, crs=crs, geotiff_version="1.1") as dataset:
        dataset.write(values, 1)
    return path


def read_as_isce(header: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, str]]:
    """Longitudes, latitudes and heights as ISCE2's geometry sees them: the first value is that of the first sample."""
    root = ElementTree.parse(header).getroot()
    assert root.tag == "imageFile"
    axes = {c.get("name"): properties(c) for c in root.iter("component")}
    image = properties(root)
    x, y = (axes[f"coordinate{k}"] for k in (1, 2))
    assert (x["size"], y["size"]) == (image["width"], image["length"])
    rows, columns = int(image["length"]), int(image["width"])
    heights = np.fromfile(image["file_name"], "<f4").reshape(rows, columns)
    longitude = float(x["startingvalue"]) + float(x["delta"]) * np.arange(columns)
    latitude = float(y["startingvalue"]) + float(y["delta"]) * np.arange(rows)
    assert float(x["endingvalue"]) == pytest.approx(longitude[-1] + float(x["delta"]))
    return longitude[None, :], latitude[:, None], heights, image


def properties(element: ElementTree.Element) -> dict[str, str]:
    return {p.get("name", ""): p.findtext("value", "") for p in element.findall("property")}


def read_with_gdal(virtual: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitudes, latitudes and heights as GDAL sees them: the origin is the corner of the first pixel."""
    with rasterio.open(virtual) as dataset:
        heights, (west, dx, _, north, _, dy) = dataset.read(1), dataset.transform.to_gdal()
        assert dataset.crs.to_epsg() == 4326
    rows, columns = heights.shape
    return (west + dx * (np.arange(columns) + 0.5))[None, :], (north + dy * (np.arange(rows) + 0.5))[:, None], heights


def test_every_reader_sees_the_same_ridge(tmp_path: Path) -> None:
    dem = Dem(path=write_dem(tmp_path / "a.tif"), datum=ELLIPSOID)
    header = write_isce_dem(dem, BOX, tmp_path / "isce" / "region.dem.wgs84")
    assert sorted(p.name for p in header.parent.iterdir()) == [
        "region.dem.wgs84", "region.dem.wgs84.vrt", "region.dem.wgs84.xml",
    ]  # fmt: skip

    x, y, heights, image = read_as_isce(header)
    np.testing.assert_allclose(heights, ridges(x, y), atol=1e-3)
    assert image["reference"] == "WGS84"
    assert (image["data_type"], image["scheme"], image["byte_order"]) == ("FLOAT", "BIP", "l")
    assert image["family"] == "demimage"
    assert Path(image["file_name"]).is_absolute()

    x, y, heights = read_with_gdal(header.with_suffix(".vrt"))
    np.testing.assert_allclose(heights, ridges(x, y), atol=1e-3)

    for name in ("region.dem.wgs84", "region.dem.wgs84.vrt"):
        path = header.parent / name
        assert read_datum(path) is ELLIPSOID
        field = open_dem(Dem(path=path, datum=ELLIPSOID), BOX)
        a, _, c, _, e, f = field.transform
        x, y = c + a * np.arange(field.shape[1])[None, :], f + e * np.arange(field.shape[0])[:, None]
        np.testing.assert_allclose(field.heights_m, ridges(x, y), atol=1e-3)


def test_header_that_gdal_opens_by_itself_is_half_a_posting_off(tmp_path: Path) -> None:
    """Why there is a .vrt: what GDAL takes for a corner is the centre of a pixel."""
    dem = Dem(path=write_dem(tmp_path / "a.tif"), datum=ELLIPSOID)
    header = write_isce_dem(dem, BOX, tmp_path / "region.dem.wgs84")
    x, y, heights = read_with_gdal(header.with_suffix(""))
    assert np.abs(heights - ridges(x, y)).max() == pytest.approx(30, abs=3)


def test_heights_become_ellipsoidal(tmp_path: Path) -> None:
    dem = Dem(path=write_dem(tmp_path / "a.tif", crs="EPSG:9707"), datum=ABOVE_EGM96)
    x, y, heights, _ = read_as_isce(write_isce_dem(dem, BOX, tmp_path / "region.dem.wgs84"))
    np.testing.assert_allclose(heights, ridges(x, y) + read_geoid(EGM96, BOX.grow(0.1)).interpolate(x, y), atol=2e-3)


@pytest.mark.parametrize(("crs", "datum"), [("EPSG:9707", ABOVE_EGM96), ("EPSG:4979", ELLIPSOID)])
def test_sea_gets_the_height_of_the_geoid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, crs: str, datum: VerticalDatum
) -> None:
    """The hole comes to heights near the geoid: only then is it sea."""
    path = write_dem(tmp_path / "a.tif", crs=crs, rows=slice(60, 180), columns=slice(0, 40))
    undulation = read_geoid(EGM96, BOX.grow(0.1))
    with rasterio.open(path, "r+") as dataset:
        values = dataset.read(1)
        shore = float(undulation.interpolate(np.array([15.02]), np.array([37.63]))[0]) if datum is ELLIPSOID else 0.0
        values[60:180, 40] = shore + 3
        dataset.write(values, 1)
    x, y, heights, _ = read_as_isce(write_isce_dem(Dem(path=path, datum=datum), BOX, tmp_path / "r.dem.wgs84"))
    sea = (x < 15.02) & (y < 37.63)
    assert sea.sum() > 100
    np.testing.assert_allclose(heights[sea], undulation.interpolate(x + 0 * y, y + 0 * x)[sea], atol=2e-3)
    assert caplog.text == ""


def test_void_on_a_slope_that_touches_the_shore_is_no_sea(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_dem(tmp_path / "a.tif", crs="EPSG:9707", rows=slice(90, 100), columns=slice(60, 90))
    with rasterio.open(path, "r+") as dataset:
        values = dataset.read(1)
        values[90:100, 90] = 3
        dataset.write(values, 1)
    dem = Dem(path=path, datum=ABOVE_EGM96)
    write_isce_dem(dem, BOX, tmp_path / "r.dem.wgs84")
    assert f"{path}: 300 voids on land were given the height" in caplog.text


def test_other_voids_get_the_nearest_height_and_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_dem(tmp_path / "a.tif", rows=slice(90, 93), columns=slice(60, 62))
    dem = Dem(path=path, datum=ELLIPSOID)
    x, y, heights, _ = read_as_isce(write_isce_dem(dem, BOX, tmp_path / "r.dem.wgs84"))
    assert np.abs(heights - ridges(x, y)).max() < 130
    assert heights.min() >= 100
    assert f"{path}: 6 voids on land were given the height of the nearest pixel that has one" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_south_up_is_turned(tmp_path: Path) -> None:
    dem = Dem(path=write_dem(tmp_path / "a.tif", south_up=True), datum=ELLIPSOID)
    header = write_isce_dem(dem, BOX, tmp_path / "r.dem.wgs84")
    for x, y, heights in (read_as_isce(header)[:3], read_with_gdal(header.with_suffix(".vrt"))):
        assert y[0] > y[-1]
        np.testing.assert_allclose(heights, ridges(x, y), atol=1e-3)


def test_projected_dem_is_warped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    x, y = 498_000 + 30 * np.arange(300), 4_170_000 - 30 * np.arange(320)
    longitude, latitude = to_degrees.transform(*np.meshgrid(x, y))

    def plane(longitude: Any, latitude: Any) -> Any:
        return 1000 + 5000 * (longitude - 15) + 9000 * (latitude - 37.6)

    profile = {"driver": "GTiff", "height": 320, "width": 300, "count": 1, "dtype": "float32", "nodata": np.nan}
    transform = Affine(30, 0, 498_000 - 15, 0, -30, 4_170_000 + 15)
    with rasterio.open(tmp_path / "a.tif", "w", transform=transform, crs="EPSG:32633", **profile) as dataset:
        dataset.write(plane(longitude, latitude).astype(np.float32), 1)
    dem = Dem(path=tmp_path / "a.tif", datum=ELLIPSOID)
    x, y, heights, _ = read_as_isce(write_isce_dem(dem, BOX, tmp_path / "r.dem.wgs84"))
    assert x.min() < BOX.west + POSTING
    assert x.max() > BOX.east - POSTING
    assert heights.size > 10_000
    np.testing.assert_allclose(heights, plane(x, y), atol=0.05)
    assert caplog.text == ""


def test_header_is_there_only_when_all_is(tmp_path: Path) -> None:
    dem = Dem(path=write_dem(tmp_path / "a.tif"), datum=ELLIPSOID)
    path = tmp_path / "r.dem.wgs84"
    header = write_isce_dem(dem, BOX, path)
    first = path.read_bytes()
    small = BBox(west=15.03, south=37.62, east=15.04, north=37.63)
    write_isce_dem(dem, small, path)
    assert len(path.read_bytes()) < len(first)
    assert read_as_isce(header)[2].size * 4 == path.stat().st_size

    path.unlink()
    path.mkdir()
    (path / "in the way").touch()
    with pytest.raises(ProductError, match="cannot write"):
        write_isce_dem(dem, BOX, path)
    assert not header.exists()


def test_box_beyond_the_dem_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    dem = Dem(path=write_dem(tmp_path / "a.tif"), datum=ELLIPSOID)
    with pytest.raises(ProvisionError, match="leaves a part of"):
        write_isce_dem(dem, BOX.grow(0.1), tmp_path / "isce" / "r.dem.wgs84")
    assert not (tmp_path / "isce").exists()


@pytest.mark.real
@pytest.mark.parametrize("place", ["los_angeles", "fairbanks"])
def test_real_egm2008_heights_become_the_ellipsoidal_twin(shared_data: Path, tmp_path: Path, place: str) -> None:
    twins = shared_data / "geoid" / "twins"
    with rasterio.open(twins / f"{place}_dem_ellipsoid.tif") as dataset:
        truth, (west, south, east, north) = dataset.read(1), dataset.bounds
    dem = Dem(path=twins / f"{place}_dem_geoid.tif", datum=VerticalDatum.EGM2008, geoid=twins / f"egm_08_{place}.tif")
    header = write_isce_dem(dem, BBox(west=west, south=south, east=east, north=north), tmp_path / "r.dem.wgs84")
    x, y, heights, _ = read_as_isce(header)
    assert heights.shape == truth.shape
    assert np.nanmax(np.abs(heights - truth)) < 0.05
    assert x[0, 0] == pytest.approx(west + (east - west) / truth.shape[1] / 2, abs=1e-9)
    assert y[0, 0] == pytest.approx(north - (north - south) / truth.shape[0] / 2, abs=1e-9)


# --- images in parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bands", "kind"), [(1, "<c8"), (2, "<f4"), (1, "|u1")])
def test_an_image_written_in_parts_is_read_in_parts_and_by_gdal(tmp_path: Path, bands: int, kind: str) -> None:
    path, dtype = tmp_path / "image", np.dtype(kind)
    whole = (np.arange(6 * bands * 8).reshape(6, bands, 8) + 1).astype(dtype)
    scheme = "BIL" if bands > 1 else "BIP"
    with create_isce_image(path, IsceHeader(width=8, length=6, bands=bands, dtype=dtype, scheme=scheme)) as image:
        image.write(2, 3, whole[2:5, :, 3:])
        image.write(0, 0, whole[:2])
    expected = whole.copy()
    expected[2:, :, :3] = 0
    expected[5] = 0
    reader = IsceReader(path)
    np.testing.assert_array_equal(reader.read(), expected)
    window = Window(row=1, column=2, rows=4, columns=5)
    np.testing.assert_array_equal(reader.read(window), expected[1:5, :, 2:7])
    np.testing.assert_array_equal(read_isce_image(path), expected.transpose(1, 0, 2))
    with open_quietly(Path(f"{path}.vrt")) as virtual:
        np.testing.assert_array_equal(virtual.read(), expected.transpose(1, 0, 2))


def test_an_image_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image"
    write_isce_image(path, np.ones((6, 8), np.float32))
    reader = IsceReader(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ProductError, match="cut short"):
        reader.read()
    with pytest.raises(ProductError, match="has 100 bytes, its header promises 192"):
        IsceReader(path)
