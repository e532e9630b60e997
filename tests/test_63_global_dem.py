"""DEMs of global models, from services on this machine through real sockets."""

from __future__ import annotations

import logging
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from services.loopback import Asked, Handler, Loopback, Reply
from services.opentopography import (
    EGM2008_BELOW_EGM96_M,
    GEOID_PATH,
    copernicus_dem,
    egm2008,
    egm2008_grid,
    ground_of,
    opentopography,
)
from topsar.engines.step import identity
from topsar.errors import NotFetchedError, ProvisionError
from topsar.model import BBox, Dem, GeoGrid, VerticalDatum
from topsar.provision.dem import kept as global_dem
from topsar.provision.dem import merge as dem_merge
from topsar.provision.dem import sources as dem_sources
from topsar.provision.dem.choice import find_dem, is_global
from topsar.provision.dem.models import MODELS, compute_area_km2, cut_box
from topsar.provision.endpoints import Services
from topsar.provision.web.client import Fetcher, Patience, Web
from topsar.raster import dem_voids, open_dem, read_datum, read_geoid, read_geotiff, write_geotiff
from topsar.raster.geoid import EGM96
from topsar.settings import Options

Serve = Callable[..., Loopback]

KEY = "0123456789abcdef-key"
GEOID = egm2008()
BOX = BBox(west=15.02, south=37.61, east=15.06, north=37.64)
AROUND = BOX.grow(0.03)
MARGIN = 0.01
COAST = 15.05
NORTH_BOX = BBox(west=15.2, south=79.98, east=15.3, north=80.02)
"""Copernicus columns are 3 seconds of arc apart below 80 degrees, 5 above."""


def hills(longitude: Any, latitude: Any) -> Any:
    """Ellipsoidal heights: a plane with a ridge along a meridian, so that heights tell where they were taken."""
    plane = 700 + 2000 * (longitude - 15) + 1000 * (latitude - 37) - 15 * np.maximum(latitude - 50, 0) * 60
    return plane + 200 * np.exp(-(((longitude - 15.03) / 0.002) ** 2))


def slope(longitude: Any, latitude: Any) -> Any:
    """A plane, so that columns can be interpolated without loss; half a posting aside it is 0.14 m off and more."""
    return 500 + 2000 * (longitude - 15) + 1000 * (latitude - 79)


def island(longitude: Any, latitude: Any) -> Any:
    """Hills that come down to the sea, which begins at `COAST`."""
    sea_level = read_geoid(EGM96, BBox(west=14, south=37, east=16, north=38)).interpolate(longitude, latitude)
    return np.where(longitude < COAST, sea_level + 20000 * (COAST - longitude), np.nan)


@pytest.fixture(autouse=True)
def _small_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched ends close to what is needed, so that it is quick."""
    monkeypatch.setattr(global_dem, "BOX_STEP_DEG", 0.01)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server with these handlers."""
    running: list[Loopback] = []

    def start(*handlers: Handler) -> Loopback:
        running.append(Loopback(*handlers))
        return running[-1].__enter__()

    yield start
    for server in running:
        server.__exit__()


def always(reply: Reply) -> Handler:
    return lambda _: reply


def services(server: Loopback) -> Services:
    return Services(opentopography=f"{server.url}/API", copernicus_dem=server.url, egm2008=server.url)


def quick(**options: Any) -> Fetcher:
    return Fetcher(secrets=[KEY], patience=Patience(attempts=2, backoff_s=0.01, read_s=20), **options)


def provide(
    server: Loopback,
    folder: Path,
    choice: str = "auto",
    box: BBox = BOX,
    *,
    margin_deg: float = MARGIN,
    api_key: str = KEY,
    fetcher: Fetcher | None = None,
    **options: str,
) -> Dem:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(global_dem, "MARGIN_DEG", margin_deg)
        patch.setattr(global_dem, "LEAST_MARGIN_DEG", min(margin_deg, 0.1))
        return find_dem(
            Options(dem=choice, **options),
            folder,
            box,
            api_key=api_key,
            web=Web(fetcher or quick(), services(server)),
        )


def look(folder: Path, **how: Any) -> Dem:
    """What is found of a global model without fetching."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(global_dem, "MARGIN_DEG", MARGIN)
        patch.setattr(global_dem, "LEAST_MARGIN_DEG", MARGIN)
        return find_dem(Options(), folder, NORTH_BOX, **how)


def refusal(server: Loopback, folder: Path, *args: Any, **options: Any) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        provide(server, folder, *args, **options)
    return caught.value


def assert_is_ground(dem: Dem, box: BBox, ground: Any, tolerance_m: float = 0.02) -> None:
    field = open_dem(dem, box)
    a, _, c, _, e, f = field.transform
    x, y = c + a * np.arange(field.shape[1])[None, :], f + e * np.arange(field.shape[0])[:, None]
    np.testing.assert_allclose(field.heights_m, ground(x, y), atol=tolerance_m)


def globaldem_requests(server: Loopback) -> list[Asked]:
    return [asked for asked in server.asked if asked.path.endswith("/globaldem")]


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# --- OpenTopography ---------------------------------------------------------------------------------------------


def test_auto_with_a_key_fetches_srtm_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(opentopography(hills, key=KEY))
    dem = provide(server, tmp_path)
    assert (dem.datum, dem.geoid) == (VerticalDatum.EGM96, None)
    assert read_datum(dem.path) is VerticalDatum.EGM96
    assert_is_ground(dem, BOX.grow(MARGIN), hills)
    (asked,) = globaldem_requests(server)
    assert asked.query["demtype"] == "SRTMGL1"
    assert asked.query["outputFormat"] == "GTiff"
    assert float(asked.query["west"]) <= BOX.west - MARGIN
    assert files(tmp_path) == ["provisioned/SRTMGL1_S37.60_N37.65_W15.01_E15.07.tif"]

    assert provide(server, tmp_path, "SRTMGL1", fetcher=quick(offline=True)) == dem
    assert len(server.asked) == 1


def test_auto_beyond_the_reach_of_srtm_is_copernicus(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(opentopography(slope, key=KEY), GEOID)
    dem = provide(server, tmp_path, box=NORTH_BOX)
    assert_is_ground(dem, NORTH_BOX, slope)
    assert {asked.query["demtype"] for asked in globaldem_requests(server)} == {"COP30"}
    assert "Copernicus GLO-30 (COP30), because SRTMGL1 does not reach south 79.98" in caplog.text


def test_margin_ends_where_the_model_does(serve: Serve, tmp_path: Path) -> None:
    def low(longitude: Any, latitude: Any) -> Any:
        return 500 + 2000 * (longitude - 15) + 1000 * (latitude - 59)

    server = serve(opentopography(low, key=KEY))
    box = BBox(west=15.0, south=59.97, east=15.02, north=59.99)
    assert_is_ground(provide(server, tmp_path, box=box, margin_deg=0.02), box, low)
    assert float(globaldem_requests(server)[0].query["north"]) == 60


@pytest.mark.parametrize("edges_on_postings", [False, True])
@pytest.mark.parametrize("name", ["SRTMGL1", "SRTMGL1_E", "SRTMGL3", "NASADEM", "AW3D30", "AW3D30_E"])
def test_models_are_above_what_they_say(serve: Serve, tmp_path: Path, name: str, edges_on_postings: bool) -> None:
    server = serve(opentopography(hills, key=KEY, edges_on_postings=edges_on_postings))
    dem = provide(server, tmp_path, name.lower())
    assert dem.datum is MODELS[name].datum
    assert_is_ground(dem, BOX, hills)


def test_copernicus_with_a_key_has_its_own_geoid(serve: Serve, tmp_path: Path) -> None:
    server = serve(opentopography(hills, key=KEY), GEOID)
    dem = provide(server, tmp_path, "COP90")
    assert dem == Dem(path=dem.path, datum=VerticalDatum.EGM2008, geoid=tmp_path / "geoid" / "us_nga_egm08_25.tif")
    assert_is_ground(dem, BOX, hills)
    mistaken = open_dem(Dem(path=dem.path, datum=VerticalDatum.EGM2008, geoid=EGM96), BOX)
    difference = mistaken.heights_m - open_dem(dem, BOX).heights_m
    np.testing.assert_allclose(difference, EGM2008_BELOW_EGM96_M, atol=0.02)
    provide(server, tmp_path, "COP90", fetcher=quick(offline=True))


def test_large_boxes_come_in_parts_without_seams(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(opentopography(hills, key=KEY))
    whole = provide(server, tmp_path / "whole")
    monkeypatch.setattr(dem_sources, "PART_POSTINGS", 100)
    parted = provide(server, tmp_path / "parted")
    assert len(globaldem_requests(server)) == 1 + 2 * 3
    one, other = read_geotiff(whole.path), read_geotiff(parted.path)
    assert other[1] == one[1]
    np.testing.assert_allclose(other[0], one[0], atol=2e-4)
    assert files(tmp_path / "parted") == ["provisioned/" + whole.path.name]


def test_parts_that_came_are_kept_when_another_fails(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dem_sources, "PART_POSTINGS", 100)
    fails = [True]

    def gateway(asked: Asked) -> Reply | None:
        return Reply(status=504) if fails[0] and float(asked.query["west"]) > 15.04 else None

    server = serve(gateway, opentopography(hills, key=KEY))
    problem = refusal(server, tmp_path)
    assert "did not get SRTMGL1" in problem.message
    assert problem.retryable
    fails[0] = False
    before = len(server.asked)
    assert_is_ground(provide(server, tmp_path), BOX, hills)
    assert len(server.asked) - before == 2


def test_refused_key_is_tried_once(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dem_sources, "PART_POSTINGS", 100)
    server = serve(opentopography(hills, key="another"))
    assert "refuses the API key" in refusal(server, tmp_path).message
    assert len(server.asked) == 1


def test_area_of_a_degree_at_the_equator() -> None:
    assert compute_area_km2(BBox(west=15, south=0, east=16, north=1)) == pytest.approx(12392, abs=1)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_part_is_above_the_limit_of_the_service(name: str) -> None:
    model = MODELS[name]
    for box in (BBox(west=-20, south=-30, east=30, north=30), BBox(west=5, south=40.01, east=8.33, north=44.5)):
        edge = model.posting_deg * dem_sources.PART_POSTINGS
        parts = [part for row in cut_box(box, model.limit_km2 * 0.9, edge) for part in row]
        assert max(compute_area_km2(part) for part in parts) < model.limit_km2 * 0.91
        assert max(part.east - part.west for part in parts) < edge + 0.02
        assert sum(compute_area_km2(part) for part in parts) == pytest.approx(compute_area_km2(box))


def test_a_dem_that_covers_is_used_and_one_that_does_not_is_fetched(serve: Serve, tmp_path: Path) -> None:
    server = serve(opentopography(hills, key=KEY))
    first = provide(server, tmp_path)
    inside = BBox(west=15.03, south=37.62, east=15.04, north=37.63)
    assert provide(server, tmp_path, box=inside) == first
    assert len(server.asked) == 1
    beside = BBox(west=15.03, south=37.62, east=15.075, north=37.63)
    second = provide(server, tmp_path, box=beside)
    assert len(server.asked) == 2
    assert second.path != first.path
    assert provide(server, tmp_path) == first
    assert provide(server, tmp_path, box=beside) == second
    assert provide(server, tmp_path, box=inside) == second, "the smallest one that covers"
    with pytest.raises(ProvisionError, match="no DEM in"):
        find_dem(Options(), tmp_path)
    assert len(server.asked) == 2


def test_damaged_dem_is_fetched_anew(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(opentopography(hills, key=KEY))
    path = provide(server, tmp_path).path
    path.write_bytes(path.read_bytes()[:-5000])
    assert_is_ground(provide(server, tmp_path), BOX, hills)
    assert len(server.asked) == 2
    assert caplog.text.count(f"{path} is not used") == 1


def test_dem_serves_boxes_that_differ_a_little(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(global_dem, "BOX_STEP_DEG", 0.25)
    server = serve(opentopography(hills, key=KEY))
    first = provide(server, tmp_path, "SRTMGL3", margin_deg=0.15)
    assert first.path.name == "SRTMGL3_S37.25_N38.00_W14.75_E15.25.tif"
    (asked,) = globaldem_requests(server)
    assert (float(asked.query["north"]), float(asked.query["east"])) == pytest.approx((38, 15.25), abs=0.01)
    wider = replace(BOX, east=15.14)
    assert provide(server, tmp_path, "SRTMGL3", box=wider, margin_deg=0.15) == first
    assert len(server.asked) == 1
    too_wide = replace(BOX, east=15.16)
    second = provide(server, tmp_path, "SRTMGL3", box=too_wide, margin_deg=0.15)
    assert second.path.name == "SRTMGL3_S37.25_N38.00_W14.75_E15.50.tif"


def test_dem_fetched_again_is_known_for_the_same(tmp_path: Path) -> None:
    fetched, own = tmp_path / "provisioned" / "a.tif", tmp_path / "a.tif"
    fetched.parent.mkdir()
    for path, is_same in ((fetched, True), (own, False)):
        path.write_bytes(b"heights")
        before = identity(path)
        os.utime(path, ns=(1, 1))
        assert (identity(path) == before) == is_same
        path.write_bytes(b"other heights")
        assert identity(path) != before


def test_what_lies_there_is_taken_without_fetching(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(copernicus_dem(slope), GEOID)
    with pytest.raises(NotFetchedError) as caught:
        look(tmp_path / "dem")
    problem = caught.value
    assert problem.message.startswith("the heights of COP30 for south 79.97")
    assert problem.message.endswith("have not been fetched yet")
    assert (caplog.text, server.asked, (tmp_path / "dem").exists()) == ("", [], False)
    dem = provide(server, tmp_path / "dem", box=NORTH_BOX, api_key="")
    assert look(tmp_path / "dem") == dem
    assert dem.geoid is not None
    dem.geoid.write_bytes(dem.geoid.read_bytes()[:1000])
    caplog.clear()
    with pytest.raises(NotFetchedError) as caught:
        look(tmp_path / "dem")
    assert caught.value.message == f"the EGM2008 geoid grid {dem.geoid} has not been fetched yet"
    assert [record for record in caplog.records if record.name.startswith("topsar")] == []


def test_geoid_among_the_rasters_is_no_dem(serve: Serve, tmp_path: Path) -> None:
    server = serve(opentopography(hills, key=KEY))
    grid = GeoGrid(crs="EPSG:4326", west=15, north=38, dx=0.1, dy=0.1, rows=10, columns=10)
    for name in ("und25.tif", "us_nga_egm08_25.tif", "EGM96_15.tif", "egm2008-1.tif"):
        write_geotiff(tmp_path / name, np.zeros(grid.shape, np.float32), grid, nodata=np.nan)
    assert is_global(Options(geoid="und25.tif"), tmp_path)
    assert is_global(Options(geoid=str(tmp_path / "und25.tif")), tmp_path)
    assert not is_global(Options(), tmp_path)
    dem = provide(server, tmp_path, geoid="und25.tif")
    assert dem.path.parent.name == "provisioned"
    assert dem.geoid == tmp_path / "und25.tif"
    write_geotiff(tmp_path / "mine.tif", np.zeros(grid.shape, np.float32), grid, nodata=np.nan)
    own = provide(server, tmp_path, geoid="und25.tif", dem_datum="egm96")
    assert own == find_dem(Options(geoid="und25.tif", dem_datum="egm96"), tmp_path)
    assert own.path == tmp_path / "mine.tif"


def test_mislabelled_dem_is_not_used(serve: Serve, tmp_path: Path) -> None:
    server = serve(opentopography(hills, key=KEY))
    path = provide(server, tmp_path).path
    values, grid, _ = read_geotiff(path)
    write_geotiff(path, values, replace(grid, crs="EPSG:4979"), nodata=np.nan)
    assert read_datum(provide(server, tmp_path).path) is VerticalDatum.EGM96


def test_two_at_once_fetch_once(serve: Serve, tmp_path: Path) -> None:
    answer = opentopography(hills, key=KEY)

    def slow(asked: Asked) -> Reply | None:
        reply = answer(asked)
        return replace(reply, delay_s=0.5) if reply else None

    server = serve(slow)
    found: list[Dem] = []
    threads = [threading.Thread(target=lambda: found.append(provide(server, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(server.asked) == 1
    assert files(tmp_path) == [f"provisioned/{found[0].path.name}"]


def test_own_raster_is_used_as_it_is(serve: Serve, tmp_path: Path) -> None:
    server = serve(GEOID)
    grid = GeoGrid(crs="EPSG:9518", west=15, north=38, dx=0.01, dy=0.01, rows=100, columns=100)
    write_geotiff(tmp_path / "mine.tif", np.zeros(grid.shape, np.float32), grid, nodata=np.nan)
    for choice in ("auto", "mine.tif"):
        dem = provide(server, tmp_path, choice)
        assert dem.path == tmp_path / "mine.tif"
        assert dem.geoid == tmp_path / "geoid" / "us_nga_egm08_25.tif"
        assert find_dem(Options(dem=choice), tmp_path) == dem, "with the grid that was fetched before"
    assert len(server.asked) == 1
    assert_is_ground(dem, BOX, lambda x, y: read_geoid(EGM96, BOX.grow(0.1)).interpolate(x, y) - 0.5)
    own = provide(server, tmp_path, dem_datum="egm2008", geoid=str(EGM96))
    assert own.geoid == EGM96.resolve()


# --- sea and voids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SRTMGL1", "SRTMGL1_E"])
def test_sea_is_at_the_geoid(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In a part that is all sea (204), and in voids of one that has a coast."""
    monkeypatch.setattr(dem_sources, "PART_POSTINGS", 72)
    answers: list[int] = []
    answer = opentopography(island, key=KEY)

    def noted(asked: Asked) -> Reply | None:
        reply = answer(asked)
        answers.append(reply.status if reply else 0)
        return reply

    box = BBox(west=15.02, south=37.61, east=15.12, north=37.64)
    dem = provide(serve(noted), tmp_path, name, box)
    assert {200, 204} == set(answers)

    def expected(longitude: Any, latitude: Any) -> Any:
        return read_geoid(EGM96, box.grow(0.1)).interpolate(longitude, latitude) + 20000 * np.maximum(
            COAST - longitude, 0
        )

    assert_is_ground(dem, box, expected)
    heights, _, _ = read_geotiff(dem.path)
    assert (heights[:, -1] == 0).all() == (name == "SRTMGL1")
    assert np.isfinite(heights).all()


@pytest.mark.parametrize("reply", [Reply(status=204), Reply(body=b"")])
def test_nothing_but_sea_is_said(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, reply: Reply) -> None:
    dem = provide(serve(always(reply)), tmp_path)
    assert_is_ground(dem, BOX, lambda x, y: read_geoid(EGM96, BOX.grow(0.1)).interpolate(x, y))
    assert "SRTMGL1 has no land at all in south 37.60" in caplog.text


def test_void_on_a_mountain_stays_a_void(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def holed(longitude: Any, latitude: Any) -> Any:
        hole = (np.abs(longitude - 15.04) < 2.1 / 3600) & (np.abs(latitude - 37.625) < 2.1 / 3600)
        return np.where(hole, np.nan, hills(longitude, latitude))

    dem = provide(serve(opentopography(holed, key=KEY)), tmp_path)
    assert np.isnan(open_dem(dem, BOX).heights_m).sum() == 25
    assert "25 postings on land have no height" in caplog.text


def test_void_on_a_slope_that_touches_the_shore_stays_a_void(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes down to a strip of beach, and stands on the slope with the rest of its rim."""

    def slope_and_beach(longitude: Any, latitude: Any) -> Any:
        level = read_geoid(EGM96, BBox(west=14, south=37, east=16, north=38)).interpolate(longitude, latitude)
        ground = np.where(longitude < COAST, level + 40000 * (COAST - longitude), level + 1)
        hole = (np.abs(longitude - COAST + 0.005) < 0.005) & (np.abs(latitude - 37.625) < 0.002)
        return np.where(hole, np.nan, ground)

    dem = provide(serve(opentopography(slope_and_beach, key=KEY)), tmp_path, "SRTMGL1_E")
    voids = int(np.isnan(read_geotiff(dem.path)[0]).sum())
    assert voids > 400
    assert f"{voids} postings on land have no height" in caplog.text


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_hole_is_sea_where_half_of_its_rim_is_shore(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(dem_voids, "_STRIP_ROWS", 3)
    voids, shore = np.zeros((22, 9), bool), np.zeros((22, 9), bool)
    voids[1:21, 4] = True
    shore[: round(share * 22), :] = True
    assert dem_voids.find_sea(voids, shore)[voids].all() == (share > 0.5)
    assert not dem_voids.find_sea(voids, shore)[~voids].any()


def test_sea_that_goes_on_where_the_service_has_nothing_is_sea() -> None:
    grid = GeoGrid(crs="EPSG:4326", west=15, north=38, dx=0.01, dy=0.01, rows=3, columns=9)
    heights = np.full(grid.shape, np.nan, np.float32)
    heights[:, 0] = 500
    sea = np.zeros(grid.shape, bool)
    sea[:, 5:] = True
    global_dem._level_sea(heights, sea, grid, MODELS["SRTMGL1"])
    np.testing.assert_array_equal(heights[:, 1:], 0)
    assert sea[:, 1:].all()


@pytest.mark.parametrize("name", ["SRTMGL1", "SRTMGL1_E"])
def test_largest_dem_is_levelled_within_3_gb(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(global_dem, "_STRIP_ROWS", 16)
    monkeypatch.setattr(dem_voids, "_STRIP_ROWS", 16)
    grid = GeoGrid(crs="EPSG:4326", west=15, north=38, dx=1 / 3600, dy=1 / 3600, rows=1200, columns=1000)
    tracemalloc.start()
    try:
        heights = np.tile(np.array([900, np.nan], np.float32), (grid.rows, grid.columns // 2))
        sea = np.zeros(grid.shape, bool)
        sea[:100] = True
        heights[:100] = np.nan
        global_dem._level_sea(heights, sea, grid, MODELS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / (grid.rows * grid.columns) * dem_merge.MAX_POSTINGS < 3e9


# --- what services do -------------------------------------------------------------------------------------------


def tiff(*, box: BBox = AROUND, posting: float = 1 / 3600, crs: str | None = "EPSG:4326") -> bytes:
    columns, rows = round((box.east - box.west) / posting), round((box.north - box.south) / posting)
    transform = Affine(posting, 0, box.west, 0, -posting, box.north)
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "height": rows, "width": columns}
    with MemoryFile() as memory:
        with memory.open(**profile, transform=transform, crs=crs) as dataset:
            dataset.write(np.zeros((rows, columns), np.float32), 1)
        return bytes(memory.getbuffer())


def said(status: int, text: str) -> Reply:
    return Reply(status=status, body=f"<?xml version='1.0'?><error>\nError: {text}\n</error>".encode())


TOO_LARGE = "The maximum area for SRTMGL3 is 4,050,000 km2. The selected area is 29,549,914 km2"
PAGE = b"<!DOCTYPE html><html><head><style>p {}</style></head><body><p>Down for maintenance</p></body></html>"
NO_SUCH_KEY = Reply(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>")
FAULTS = {
    "bad key": (said(401, "Invalid API key"), "refuses the API key (it says: Error: Invalid API key)", False),
    "key named": (said(401, f"{KEY} is invalid"), "refuses the API key (it says: Error: ****", False),
    "silent 401": (Reply(status=401), "refuses the API key", False),
    "forbidden": (said(403, "Account not active"), "refuses the API key (it says: Error: Account not", False),
    "quota as 401": (said(401, "Daily quota exceeded"), "gives no more data to this API key for now", True),
    "quota as 403": (said(403, "API rate limit reached"), "gives no more data to this API key for now", True),
    "quota as 429": (Reply(status=429), "gives no more data to this API key for now", True),
    "area": (said(400, TOO_LARGE), "as too large for SRTMGL1 (it says: Error: The maximum area", False),
    "bad request": (said(400, "Unknown parameter"), "answered 400 Bad Request: ", False),
    "gateway": (Reply(status=504, body=PAGE), "did not get SRTMGL1 for south 37.6000, north 37.6500", True),
    "bad gateway": (Reply(status=502), "ready in time (HTTP 502)", True),
    "server error": (Reply(status=500), "answered 500 Internal Server Error", True),
    "page": (Reply(body=PAGE), "is not a GeoTIFF, but says 'Down for maintenance'", True),
    "error as 200": (said(200, "API key"), "is not a GeoTIFF, but says 'Error: API key'", True),
    "noise": (Reply(body=b"\x00\x01\x02\x03"), "is not a GeoTIFF", True),
    "header only": (Reply(body=tiff()[:300]), "has no position, or is cut short", True),
    "truncated": (Reply(body=tiff()[:-5000]), "is damaged or cut short", True),
    "elsewhere": (Reply(body=tiff(box=BBox(west=15, south=36, east=15.3, north=36.3))), "covers only south 36", True),
    "too small": (Reply(body=tiff(box=BOX)), "covers only south 37.6100, north 37.6400, west 15.0200", True),
    "too coarse": (Reply(body=tiff(posting=3 / 3600)), "has a posting of 3.000 by 3.000 seconds of arc", True),
    "too large": (Reply(body=tiff(box=BOX.grow(0.1))), "postings, many more than asked for", True),
    "cut in the key": (said(401, f"{'x' * 140} {KEY}"), "refuses the API key (it says: Error: xxx", False),
    "page cut in the key": (Reply(body=f"<p>{'x' * 147} {KEY}</p>".encode()), "is not a GeoTIFF, but says 'xxx", True),
    "cut in the key again": (
        Reply(body=f"<style>{'x' * 970}</style><p>{KEY}</p>".encode()),
        "is not a GeoTIFF, but says '****",
        True,
    ),
    "projected": (Reply(body=tiff(crs="EPSG:32633")), "not a north-up raster in longitude and latitude", True),
    "placeless": (Reply(body=tiff(crs=None)), "not a north-up raster in longitude and latitude", True),
    "cut": (Reply(body=tiff(), cut_at=40_000), "broke off the connection", True),
    "reset": (Reply(body=tiff(), reset_at=40_000), "from OpenTopography: ", True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_one_clear_message_and_leaves_nothing(
    serve: Serve,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    reply, message, retryable = FAULTS[name]
    caplog.set_level(logging.DEBUG)
    server = serve(always(reply))
    problem = refusal(server, tmp_path)
    assert message in problem.message
    assert "\n" not in problem.message
    assert problem.retryable == retryable
    assert problem.hint
    assert [f for f in files(tmp_path) if not f.endswith((".part", ".part.json"))] == []
    assert KEY[:6] not in f"{problem}{problem!r}{caplog.text}{capfd.readouterr()}"
    for path in tmp_path.rglob("*"):
        assert KEY not in str(path)
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    assert len(server.asked) == (1 if not retryable or "quota as 40" in name else 2)


def test_pieces_of_different_grids_are_refused(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dem_sources, "PART_POSTINGS", 144)
    handlers = [opentopography(hills, key=KEY, edges_on_postings=on) for on in (False, True)]
    server = serve(lambda asked: handlers[float(asked.query["west"]) > 15.02](asked))
    assert "do not lie on one grid" in refusal(server, tmp_path).message


def test_pieces_of_a_row_with_different_columns_are_refused(tmp_path: Path) -> None:
    pieces = []
    for k, seconds in enumerate((1.0, 1.5)):
        profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "height": 36, "width": round(36 / seconds)}
        transform = Affine(seconds / 3600, 0, 15 + k / 100, 0, -1 / 3600, 37)
        with rasterio.open(tmp_path / f"{k}.tif", "w", **profile, transform=transform, crs="EPSG:4326") as dataset:
            dataset.write(np.ones(dataset.shape, np.float32), 1)
        box = BBox(west=15 + k / 100, south=36.99, east=15.01 + k / 100, north=37)
        pieces.append(dem_merge.Piece(path=tmp_path / f"{k}.tif", box=box))
    with pytest.raises(ProvisionError, match=r"do not lie on one grid: 1\.tif"):
        dem_merge.merge([pieces], BBox(west=15, south=36.99, east=15.02, north=37), 1 / 3600)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "box", "key", "message", "hint"),
    [
        ("NASADEM", BOX, "", "DEM=NASADEM comes from OpenTopography, and OPENTOPO_API_KEY is not set", "DEM=COP30"),
        ("srtmgl1", NORTH_BOX, KEY, "DEM=SRTMGL1 reaches from latitude -56 to 60", "set DEM=COP30"),
        ("AW3D30", replace(NORTH_BOX, north=83.0), KEY, "DEM=AW3D30 reaches from latitude -82 to 82", "DEM=COP30"),
        ("auto", replace(BOX, north=89.5), KEY, "DEM=COP30 reaches from latitude -89 to 89", "a file of yours"),
        ("SRTMGL1", BBox(west=179.9, south=-17, east=180.1, north=-16), KEY, "across the 180th meridian", "DEM=COP30"),
        (
            "SRTMGL1",
            BBox(west=-180.1, south=-17, east=-179.9, north=-16),
            KEY,
            "across the 180th meridian",
            "DEM=COP30",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_asked(
    serve: Serve, tmp_path: Path, choice: str, box: BBox, key: str, message: str, hint: str
) -> None:
    server = serve()
    problem = refusal(server, tmp_path, choice, box, api_key=key)
    assert message in problem.message
    assert hint in problem.hint
    assert server.asked == []
    assert files(tmp_path) == []


def test_dem_too_large_to_put_together(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dem_merge, "MAX_POSTINGS", 10_000)
    server = serve(opentopography(hills, key=KEY))
    problem = refusal(server, tmp_path)
    assert "a DEM of 180 by 216 postings" in problem.message
    assert "is too large: at most 0.01 million are put together" in problem.message
    assert "set ROI to a smaller region" in problem.hint
    assert (server.asked, files(tmp_path)) == ([], [])
    problem = refusal(server, tmp_path, "COP30", NORTH_BOX)
    assert "is too large: at most 0.01 million" in problem.message
    assert len(server.asked) == 1, "how many postings there are is seen when they have come"


def test_datum_of_the_user_must_not_contradict_the_model(serve: Serve, tmp_path: Path) -> None:
    server = serve(opentopography(hills, key=KEY))
    problem = refusal(server, tmp_path, "SRTMGL1", dem_datum="ellipsoid")
    assert problem.message == "DEM_DATUM=ellipsoid, and the heights of SRTMGL1 are above egm96"
    assert server.asked == []
    assert provide(server, tmp_path, "SRTMGL1", dem_datum="egm96").datum is VerticalDatum.EGM96


def test_offline_names_what_is_missing(serve: Serve, tmp_path: Path) -> None:
    server = serve(opentopography(hills, key=KEY))
    problem = refusal(server, tmp_path, fetcher=quick(offline=True))
    assert problem.message.startswith("SRTMGL1 heights for south 37.6000, north 37.6500, west 15.0100, east 15.0700")
    assert "OFFLINE" in problem.message
    assert server.asked == []


# --- Copernicus bucket ------------------------------------------------------------------------------------------


def test_without_a_key_copernicus_comes_from_its_bucket(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Across 80 degrees, where columns change their distance."""
    server = serve(copernicus_dem(slope), GEOID)
    dem = provide(server, tmp_path, box=NORTH_BOX, api_key="")
    assert "Copernicus GLO-30 (COP30), because SRTMGL1 needs OPENTOPO_API_KEY" in caplog.text
    assert dem.datum is read_datum(dem.path) is VerticalDatum.EGM2008
    assert_is_ground(dem, NORTH_BOX.grow(MARGIN / 2), slope)
    _, grid, tags = read_geotiff(dem.path)
    assert grid.dx == pytest.approx(3 / 3600)
    assert tags["SOURCE"] == "Copernicus bucket"
    tiles = sorted(asked.path for asked in server.asked if "Copernicus" in asked.path)
    names = [f"Copernicus_DSM_COG_10_N{lat}_00_E015_00_DEM" for lat in (79, 80)]
    assert tiles == [f"/{name}/{name}.tif" for name in names]

    other = BBox(west=15.5, south=79.6, east=15.6, north=79.7)
    before = len(server.asked)
    assert_is_ground(provide(server, tmp_path, box=other, api_key=""), other, slope)
    assert len(server.asked) == before, "tiles are kept for other boxes"


def test_copernicus_across_the_antimeridian(serve: Serve, tmp_path: Path) -> None:
    def even(longitude: Any, latitude: Any) -> Any:
        return 300 + 1000 * np.abs(np.remainder(longitude, 360) - 180) + 10 * latitude

    server = serve(copernicus_dem(even), GEOID)
    for west in (179.95, -180.05):
        box = BBox(west=west, south=80.5, east=west + 0.1, north=80.52)
        dem = provide(server, tmp_path, "COP30", box=box)
        assert_is_ground(dem, box, even, tolerance_m=0.05)
    tiles = {asked.path.split("/")[1] for asked in server.asked if "Copernicus" in asked.path}
    assert tiles == {f"Copernicus_DSM_COG_10_N80_00_{side}_00_DEM" for side in ("E179", "W180")}


def test_missing_tile_is_sea(serve: Serve, tmp_path: Path) -> None:
    def shore(longitude: Any, latitude: Any) -> Any:
        return np.where(longitude < 16, slope(longitude, latitude), np.nan)

    server = serve(copernicus_dem(shore), GEOID)
    box = BBox(west=15.95, south=80.5, east=16.05, north=80.52)
    dem = provide(server, tmp_path, box=box, api_key="")

    def expected(longitude: Any, latitude: Any) -> Any:
        level = read_geoid(EGM96, box.grow(0.1)).interpolate(longitude, latitude) - EGM2008_BELOW_EGM96_M
        return np.where(longitude < 16 - 1e-6, slope(longitude, latitude), level)

    assert_is_ground(dem, box, expected)


@pytest.mark.parametrize(
    ("box", "reply", "message"),
    [
        (NORTH_BOX, Reply(status=404, body=PAGE), "the Copernicus bucket has moved, or is out of order"),
        (NORTH_BOX, Reply(status=404), "the Copernicus bucket has moved, or is out of order"),
        (BBox(west=45, south=40, east=45.1, north=40.1), NO_SUCH_KEY, "is not public (Armenia and Azerbaijan)"),
        (NORTH_BOX, Reply(status=403), "answered 403 Forbidden"),
        (NORTH_BOX, Reply(body=PAGE), "is not a GeoTIFF, but says 'Down for maintenance'"),
    ],
)
def test_tile_that_is_missing_for_another_reason_is_no_sea(
    serve: Serve, tmp_path: Path, box: BBox, reply: Reply, message: str
) -> None:
    assert message in refusal(serve(always(reply)), tmp_path, "COP30", box, api_key="").message
    assert [f for f in files(tmp_path) if f.endswith(".tif")] == []


# --- EGM2008 ----------------------------------------------------------------------------------------------------


def small_world(**changes: Any) -> bytes:
    """A whole-Earth grid of one degree."""
    return tiff(box=BBox(west=-180, south=-90, east=180, north=90), posting=1.0, **changes)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(status=404), "answered 404 Not Found"),
        (Reply(body=PAGE), "us_nga_egm08_25.tif.part is damaged or not a raster"),
        (Reply(body=small_world()), "is 180 by 360 pixels from -180, 90: not the EGM2008 grid"),
        (Reply(body=b"half"), "is damaged or not a raster"),
    ],
)
def test_heights_without_their_geoid_are_refused(serve: Serve, tmp_path: Path, reply: Reply, message: str) -> None:
    server = serve(lambda asked: reply if asked.path == GEOID_PATH else None, opentopography(hills, key=KEY))
    problem = refusal(server, tmp_path, "COP90")
    assert problem.message.startswith("the heights of this DEM are measured from the EGM2008 geoid, whose grid cannot")
    assert message in problem.message
    assert "set GEOID to a grid of yours" in problem.hint
    assert not [f for f in files(tmp_path / "geoid") if f.endswith(".tif")]


def test_grid_of_something_else_is_not_taken_for_egm2008(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "shifted.tif"
    path.write_bytes(egm2008_grid())
    with rasterio.open(path, "r+") as dataset:
        dataset.offsets = (30.0,)
    shifted = Reply(body=path.read_bytes())
    server = serve(lambda asked: shifted if asked.path == GEOID_PATH else None, opentopography(hills, key=KEY))
    assert "does not hold the EGM2008 geoid" in refusal(server, tmp_path, "COP90").message


def test_ground_of_a_raster(tmp_path: Path) -> None:
    grid = GeoGrid(crs="EPSG:4979", west=15, north=38, dx=0.01, dy=0.01, rows=20, columns=30)
    values = np.arange(600, dtype=np.float32).reshape(20, 30)
    write_geotiff(tmp_path / "dem.tif", values, grid, nodata=np.nan)
    height = ground_of(tmp_path / "dem.tif")
    assert height(np.array([15.015, 15.02]), np.array([37.975, 37.975])) == pytest.approx([61, 61.5], abs=1e-4)
    assert height(np.array([14.9]), np.array([38.5])) == pytest.approx([0], abs=1e-4)


def test_holes_at_the_edge_and_inland() -> None:
    heights = np.array([[900, 900, 900, 3, 0], [900, 0, 900, 2, 0]], np.float32)
    sea = dem_voids.find_sea(heights == 0, heights <= dem_voids.SHORE_M)
    assert sea.tolist() == [[False] * 4 + [True]] * 2
