"""Heights that people keep in pieces: tiles of one degree, packed or not, and packed rasters."""

from __future__ import annotations

import gzip
import io
import logging
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as copy_raster
from rasterio.transform import Affine

from topsar.errors import ProvisionError
from topsar.model import BBox, Dem, VerticalDatum
from topsar.provision.dem.choice import find_dem, has_tiles, is_global
from topsar.raster import open_dem, read_geoid
from topsar.raster.geoid import EGM96
from topsar.settings import Options

POSTINGS = 1200
BOX = BBox(west=7.95, south=46.96, east=8.04, north=47.03)
"""Where four tiles meet."""
ORTHOMETRIC = Options(dem_datum="egm96")


def plane(longitude: Any, latitude: Any) -> Any:
    return 1500 + 800 * (longitude - 8) - 600 * (latitude - 47)


def shore(longitude: Any, latitude: Any) -> Any:
    """Land that ends at the 8th meridian: nothing is above the sea east of it."""
    return np.maximum(8 - longitude, 0) * 3000 + 0 * latitude


def hgt(latitude: int, longitude: int, ground: Any = plane) -> bytes:
    y, x = latitude + 1 - np.arange(POSTINGS + 1) / POSTINGS, longitude + np.arange(POSTINGS + 1) / POSTINGS
    return bytes(np.rint(ground(x[None, :], y[:, None])).astype(">i2").tobytes())


def zipped(name: str, content: bytes, *more: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        for other in more:
            archive.writestr(other, "x")
    return held.getvalue()


def write_tif(path: Path, latitude: int, longitude: int, driver: str = "GTiff", ground: Any = plane) -> Path:
    """A tile as Copernicus cuts it: the first pixel's centre is the corner, the last row and column are left out."""
    step = 1 / POSTINGS
    x, y = longitude + step * np.arange(POSTINGS), latitude + 1 - step * np.arange(POSTINGS)
    profile = {"driver": "GTiff", "height": POSTINGS, "width": POSTINGS, "count": 1, "crs": "EPSG:4326"}
    place = Affine(step, 0, longitude - step / 2, 0, -step, latitude + 1 + step / 2)
    plain = path if driver == "GTiff" else path.with_suffix(".plain.tif")
    with rasterio.open(plain, "w", transform=place, dtype="float32", **profile) as dataset:
        dataset.write(ground(x[None, :], y[:, None]).astype(np.float32), 1)
    return plain


def put(folder: Path, **contents: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def put_four(folder: Path, ground: Any = plane) -> None:
    names = [(lat, lon, f"N{lat}E{lon:03d}.hgt") for lat in (46, 47) for lon in (7, 8)]
    put(folder, **{name: hgt(lat, lon, ground) for lat, lon, name in names})


def assert_is_ground(dem: Dem, ground: Any = plane, box: BBox = BOX, tolerance_m: float = 0.51) -> None:
    field = open_dem(dem, box)
    a, _, c, _, e, f = field.transform
    x, y = c + a * np.arange(field.shape[1])[None, :], f + e * np.arange(field.shape[0])[:, None]
    x, y = np.broadcast_arrays(x, y)
    expected = ground(x, y) + read_geoid(EGM96, box.grow(0.1)).interpolate(x, y)
    np.testing.assert_allclose(field.heights_m, expected, atol=tolerance_m)


def refuse(options: Options, folder: Path, box: BBox | None = BOX) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        find_dem(options, folder, box)
    return caught.value


def test_tiles_in_every_form_are_put_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(
        tmp_path,
        **{
            "N47E007.SRTMGL3.hgt.zip": zipped("N47E007.hgt", hgt(47, 7)),
            "n47e008.hgt.gz": gzip.compress(hgt(47, 8)),
            "N46E007 (1).hgt": hgt(46, 7),
            "NASADEM_HGT_n46e008.zip": zipped("n46e008.hgt", hgt(46, 8), "n46e008.num", "n46e008.swb"),
            "N46E008.hgt": hgt(46, 8),
            "N12E100.hgt": b"far away, and never looked at",
            "._dem.tif": b"of macOS",
        },
    )
    assert has_tiles(ORTHOMETRIC, tmp_path)
    with caplog.at_level(logging.INFO):
        dem = find_dem(ORTHOMETRIC, tmp_path, BOX)
    assert "NASADEM_HGT_n46e008.zip is not used: N46E008.hgt has the same tile" in caplog.text
    assert dem.datum is VerticalDatum.EGM96
    assert_is_ground(dem)
    assert find_dem(ORTHOMETRIC, tmp_path, BOX) == dem
    assert [path.name for path in (tmp_path / "provisioned").iterdir()] == [dem.path.name]
    os.utime(tmp_path / "N46E008.hgt", (0, 0))
    assert find_dem(ORTHOMETRIC, tmp_path, BOX).path != dem.path


def test_tiles_of_copernicus_by_their_names(tmp_path: Path) -> None:
    for latitude in (46, 47):
        for longitude in (7, 8):
            write_tif(
                tmp_path / f"Copernicus_DSM_COG_30_N{latitude}_00_E{longitude:03d}_00_DEM.tif", latitude, longitude
            )
    assert "EGM2008" in refuse(Options(), tmp_path).message  # whose geoid nobody has fetched here
    assert_is_ground(find_dem(ORTHOMETRIC, tmp_path, BOX), tolerance_m=2e-3)


def test_dted_tiles_in_a_folder_of_their_own(tmp_path: Path) -> None:
    store = tmp_path / "store"
    put_four(store)
    for path in list(store.iterdir()):
        copy_raster(path, store / f"{path.stem[:3].lower()}_{path.stem[3:].lower()}_3arc_v2.dt1", driver="DTED")
        path.unlink()
    assert not is_global(Options(dem=str(store)), tmp_path)
    assert_is_ground(find_dem(Options(dem=str(store)), tmp_path, BOX))


def test_a_tile_that_is_missing_is_named(tmp_path: Path) -> None:
    put_four(tmp_path)
    (tmp_path / "N46E008.hgt").unlink()
    assert refuse(ORTHOMETRIC, tmp_path).message == (
        f"the height tiles in {tmp_path} leave out N46E008, which the pairs need"
    )
    inside = BBox(west=7.6, south=47.2, east=7.7, north=47.3)
    assert_is_ground(find_dem(ORTHOMETRIC, tmp_path, inside), box=inside)
    elsewhere = BBox(west=20.2, south=10.2, east=20.3, north=10.3)
    assert "N10E020" in refuse(ORTHOMETRIC, tmp_path, elsewhere).message


def test_tiles_of_sea_need_not_be_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_four(tmp_path, shore)
    for name in ("N46E008.hgt", "N47E008.hgt"):
        (tmp_path / name).unlink()
    assert_is_ground(find_dem(ORTHOMETRIC, tmp_path, BOX), shore)
    assert "N46E008: no such tile; it is taken for sea" in caplog.text


def test_a_neighbour_beyond_the_box_may_be_missing(tmp_path: Path) -> None:
    """The margin reaches into it; nothing is known there."""
    put(tmp_path, **{"N47E007.hgt": hgt(47, 7)})
    box = BBox(west=7.5, south=47.05, east=7.6, north=47.2)
    dem = find_dem(ORTHOMETRIC, tmp_path, box)
    assert_is_ground(dem, box=box)
    below = open_dem(dem, BBox(west=7.5, south=46.97, east=7.6, north=46.99), covering=False)
    assert np.isnan(below.heights_m[2:-2]).all()


def test_what_heights_are_measured_from_is_not_guessed(tmp_path: Path) -> None:
    put_four(tmp_path)
    problem = refuse(Options(), tmp_path)
    assert "do not all say what heights are measured from" in problem.message
    assert "DEM_DATUM" in problem.hint
    for path in list(tmp_path.glob("*.hgt")):
        path.rename(path.with_suffix(".SRTMGL3.hgt"))
    assert_is_ground(find_dem(Options(), tmp_path, BOX))


@pytest.mark.parametrize("fault", ["short", "elsewhere", "no raster"])
def test_a_tile_that_is_not_what_its_name_says(tmp_path: Path, fault: str) -> None:
    put_four(tmp_path)
    (tmp_path / "N47E007.hgt").unlink()
    if fault == "short":
        put(tmp_path, **{"N47E007.hgt": b"short"})
    elif fault == "elsewhere":
        write_tif(tmp_path / "N47E007.tif", 48, 7)
    else:
        put(tmp_path, **{"N47E007.zip": zipped("readme.txt", b"nothing")})
    assert "N47E007" in refuse(ORTHOMETRIC, tmp_path).message


@pytest.mark.parametrize("form", ["rasters_SRTMGL3.tar.gz", "rasters_SRTMGL3.zip", "output_SRTMGL3.tif.gz"])
def test_a_packed_raster_alone(tmp_path: Path, form: str) -> None:
    """As OpenTopography sends it; its name says which model it is."""
    path = write_tif(tmp_path / "output_SRTMGL3.tif", 46, 7)
    if form.endswith("tar.gz"):
        with tarfile.open(tmp_path / form, "w:gz") as tar:
            tar.add(path, "rasters_SRTMGL3/output_SRTMGL3.tif")
    else:
        content = path.read_bytes()
        (tmp_path / form).write_bytes(gzip.compress(content) if form.endswith("gz") else zipped(path.name, content))
    path.unlink()
    box = BBox(west=7.3, south=46.3, east=7.4, north=46.4)
    dem = find_dem(Options(), tmp_path, box)
    assert not has_tiles(Options(), tmp_path)
    assert dem.datum is VerticalDatum.EGM96
    assert_is_ground(dem, box=box, tolerance_m=2e-3)
    assert find_dem(Options(), tmp_path) == dem


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    put(tmp_path, **{"rasters_SRTMGL3.tar.gz": gzip.compress(b"no tar")[:-3]})
    assert "rasters_SRTMGL3.tar.gz" in refuse(Options(), tmp_path).message


def test_a_raster_beside_tiles_has_to_be_chosen(tmp_path: Path) -> None:
    put_four(tmp_path)
    write_tif(tmp_path / "lidar.tif", 46, 7)
    assert refuse(ORTHOMETRIC, tmp_path).message.startswith(f"several DEMs in {tmp_path}: N46E007.hgt")
    assert find_dem(Options(dem="lidar.tif", dem_datum="egm96"), tmp_path, BOX).path == tmp_path / "lidar.tif"
