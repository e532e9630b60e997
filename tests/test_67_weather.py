"""Weather models that are fetched: GEOS-FP and HRRR, asked on loopback for the bytes that are needed."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.loopback import Asked, Handler, Loopback, Reply
from services.weather import GRAVITY, find_true_delay, geos_fp, hrrr, make_grib
from topsar.batch import Batch
from topsar.corrections.zenith_delay import choose_model, list_weather, read_zenith_delay
from topsar.errors import ProvisionError, SettingsError
from topsar.kernels.refractivity import convert_geopotential, find_normal_gravity
from topsar.model import BBox
from topsar.provision import describe_missing, plan_weather, provide_weather
from topsar.provision.endpoints import Services
from topsar.provision.inputs import Found
from topsar.provision.weather.choice import fetch_analyses, plan_analyses
from topsar.provision.weather.hrrr import DOMAINS
from topsar.provision.web.client import Fetcher, Patience, Web
from topsar.settings import load_settings

BOX = BBox(west=-116.0, south=33.6, east=-115.6, north=33.9)
PASS = datetime(2023, 1, 14, 13, 52, 44, tzinfo=timezone.utc)
HASTE = Patience(attempts=3, backoff_s=0.001, connect_s=60, read_s=60)


def pair_of(*passes: datetime) -> Any:
    """What of a pair is looked at."""
    return SimpleNamespace(
        **{
            side: (SimpleNamespace(start=time - timedelta(seconds=13), stop=time + timedelta(seconds=13)),)
            for side, time in zip(("reference", "secondary"), passes, strict=True)
        }
    )


PAIRS = (pair_of(PASS, PASS + timedelta(days=12)),)
ON_THE_HOUR = (pair_of(PASS.replace(minute=2), PASS.replace(minute=2)),)
"""One time of HRRR, whose files take a while to pack."""


def web_at(url: str, *, offline: bool = False) -> Web:
    services = Services(geos_fp=f"{url}/geos_fp", hrrr=f"{url}/hrrr")
    return Web(Fetcher(offline=offline, patience=HASTE), services)


def fetch(wanted: str, pairs: Any, data: Path, *handlers: Handler) -> tuple[Any, list[Asked]]:
    analyses = plan_analyses(wanted, pairs, BOX, data)
    with Loopback(*handlers) as server:
        fetch_analyses(analyses, web_at(server.url))
    return analyses, server.asked


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, list[Asked]]]:
    """Both models, and what was asked for."""
    data = tmp_path_factory.mktemp("data")
    return {
        "geos-fp": fetch("geos-fp", PAIRS, data, geos_fp()),
        "hrrr": fetch("hrrr", ON_THE_HOUR, data, hrrr()),
    }


@pytest.mark.parametrize(("wanted", "count"), [("geos-fp", 4), ("hrrr", 1)])
def test_the_delay_of_the_air_arrives(wanted: str, count: int, fetched: dict[str, Any]) -> None:
    analyses, _ = fetched[wanted]
    assert not analyses.missing
    assert [path.suffix for path in analyses.folder.iterdir()] == [".nc"] * count
    for time in analyses.times[:2]:
        found = read_zenith_delay(analyses.place(time), BOX)
        assert found.height_m is not None
        for level in (0, 1500, 3000):
            row, column = found.latitude_deg.size // 2, found.longitude_deg.size // 2
            ours = found.delay_m[int(np.searchsorted(found.height_m, level)), row, column]
            true = find_true_delay(time, level, found.longitude_deg[column], found.latitude_deg[row])
            assert ours == pytest.approx(true, abs=1e-3)
    with Loopback() as server:
        fetch_analyses(analyses, web_at(server.url))
    assert not server.asked  # what is there is not asked for again


def test_only_the_part_around_the_scene_is_asked_of_geos_fp(fetched: dict[str, Any]) -> None:
    analyses, asked = fetched["geos-fp"]
    assert [one.path.rpartition(".")[2] for one in asked] == ["das", *["dods"] * 4]
    (constraint,) = asked[1].query
    number = (analyses.times[0] - datetime(2017, 12, 1, tzinfo=timezone.utc)) // timedelta(hours=3)
    # half degrees around 33.6 - 0.35 to 33.9 + 0.35 north, -116.35 to -115.25 east, in nodes of 0.25 and 0.3125 degrees
    assert constraint.startswith(f"t[{number}:1:{number}][0:1:71][492:1:498][203:1:208],qv[")
    assert [time.hour for time in analyses.times] == [12, 15, 12, 15]


def test_only_three_elements_are_asked_of_hrrr(fetched: dict[str, Any]) -> None:
    analyses, asked = fetched["hrrr"]
    assert [time.hour for time in analyses.times] == [13]
    ranges = [one.headers["range"] for one in asked if not one.path.endswith(".idx")]
    assert len(ranges) == 24  # humidity of a level with height and temperature of the next, and both ends
    wanted = sum(int(b) - int(a) + 1 for a, b in (one.removeprefix("bytes=").split("-") for one in ranges))
    assert wanted < len(make_grib(analyses.times[0], -1_775_000, -255_000, 72)[1]) / 2


def test_the_finer_model_is_taken_where_it_covers(tmp_path: Path) -> None:
    assert plan_analyses("auto", PAIRS, BOX, tmp_path).model == "HRRR"
    assert plan_analyses("auto", PAIRS, BBox(west=14, south=37, east=16, north=38), tmp_path).model == "GEOS-FP"
    assert plan_analyses("auto", PAIRS, BBox(west=-123, south=47, east=-122, north=48), tmp_path).model == "HRRR"
    assert plan_analyses("auto", PAIRS, BBox(west=-150, south=61, east=-148, north=62), tmp_path).times[0].hour == 12
    early = (pair_of(PASS.replace(year=2015), PASS),)
    assert plan_analyses("auto", early, BOX, tmp_path).model == "GEOS-FP"
    assert not DOMAINS[0].contains(BBox(west=-130, south=30, east=-125, north=33))
    with pytest.raises(ProvisionError, match="does not cover"):
        plan_analyses("hrrr", early, BOX, tmp_path)
    with pytest.raises(ProvisionError, match="weather is fetched for 20"):
        plan_analyses("geos-fp", PAIRS, BBox(west=-60, south=33, east=20, north=34), tmp_path)


def test_a_pass_near_a_model_time_needs_one_file(tmp_path: Path) -> None:
    pairs = (pair_of(PASS.replace(hour=15, minute=2), PASS.replace(hour=23, minute=30)),)
    times = plan_analyses("geos-fp", pairs, BOX, tmp_path).times
    assert [(time - PASS.replace(hour=0, minute=0, second=0)) / timedelta(hours=1) for time in times] == [15, 21, 24]


def test_a_larger_box_that_is_kept_serves(fetched: dict[str, Any]) -> None:
    wide, _ = fetched["geos-fp"]
    data = wide.folder.parents[2]
    small = plan_analyses("geos-fp", PAIRS, BBox(west=-115.9, south=33.7, east=-115.7, north=33.8), data)
    assert (small.folder, small.missing) == (wide.folder, ())
    other = plan_analyses("geos-fp", PAIRS, BOX.grow(1), data)
    assert other.folder != wide.folder
    assert len(other.missing) == 4


def test_the_correction_finds_what_was_fetched(fetched: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fetched["geos-fp"][0].folder, tmp_path / "air"))
    (folder / ".GEOS-FP_20230114T120000.0badcafe.part.nc").touch()  # of a killed run
    chosen = choose_model(list_weather(folder), [PASS, PASS + timedelta(days=12)])
    assert [[one.time.hour for one in each] for each in chosen] == [[12, 15], [12, 15]]
    assert {one.model for each in chosen for one in each} == {"GEOS-FP"}


def refusal(tmp_path: Path, wanted: str, handler: Handler, box: BBox = BOX) -> str:
    analyses = plan_analyses(wanted, PAIRS if wanted == "geos-fp" else ON_THE_HOUR, box, tmp_path)
    with Loopback(handler) as server, pytest.raises(ProvisionError) as caught:
        fetch_analyses(analyses, web_at(server.url))
    assert not list(tmp_path.rglob("*.nc"))
    return caught.value.message


def changed(handler: Handler, change: Callable[[Reply], Reply], ending: str) -> Handler:
    def answer(asked: Asked) -> Reply | None:
        reply = handler(asked)
        return change(reply) if reply and asked.path.endswith(ending) else reply

    return answer


def test_answers_of_geos_fp_that_are_not_what_was_asked_for_are_refused(tmp_path: Path) -> None:
    def refuse(change: Callable[[Reply], Reply], ending: str = ".dods") -> str:
        return refusal(tmp_path, "geos-fp", changed(geos_fp(), change, ending))

    assert "2017-12-01 to 2018-12-01" in refusal(tmp_path, "geos-fp", geos_fp(times=2921))
    assert "temperature_k is" in refusal(tmp_path, "geos-fp", geos_fp(spoil={"t": 1e12}))
    assert "pressure_pa is" in refusal(tmp_path, "geos-fp", geos_fp(spoil={"pl": 0.0}))
    assert "no DAP 2 data" in refuse(lambda _: Reply(body=b'Error {\n code = 0;\n message = "busy";\n};\n'))
    assert "no DAP 2 data" in refuse(lambda _: Reply(body=b"<html>maintenance</html>"))
    assert "cannot be read" in refuse(lambda reply: replace(reply, body=reply.body[:-40]))
    assert "too many" in refuse(lambda reply: replace(reply, body=reply.body + b"1234"))
    assert "axes of GEOS-FP cannot be read" in refuse(lambda _: Reply(body=b"<html>moved</html>"), ".das")
    west = np.array([-116.5625], ">f8").tobytes(), np.array([-100.0], ">f8").tobytes()
    assert "another place" in refuse(lambda reply: replace(reply, body=reply.body.replace(*west)))
    hour = np.array([_count_days()], ">f8").tobytes(), np.array([_count_days() + 0.125], ">f8").tobytes()
    assert "another time" in refuse(lambda reply: replace(reply, body=reply.body.replace(*hour)))


def _count_days() -> float:
    """The first model time as the server counts it."""
    return PASS.toordinal() + 1 + 12 / 24


def test_answers_of_hrrr_that_are_not_what_was_asked_for_are_refused(tmp_path: Path) -> None:
    def refuse(change: Callable[[Reply], Reply], ending: str) -> str:
        return refusal(tmp_path, "hrrr", changed(hrrr(), change, ending))

    assert "the index of HRRR" in refuse(lambda _: Reply(body=b"1:0:d=2023011413:HGT:50 mb:anl:\n"), ".idx")
    earlier = lambda reply: replace(reply, body=reply.body.replace(b"d=2023011413", b"d=2023011412"))  # noqa: E731
    assert "is of 2023011412" in refuse(earlier, ".idx")
    swapped = lambda reply: replace(reply, body=reply.body.replace(b"HGT:500 ", b"HGT:550 "))  # noqa: E731
    assert "was asked for" in refuse(swapped, ".idx")
    assert "answered 200" in refuse(lambda reply: replace(reply, status=200), ".grib2")
    assert "others came" in refuse(lambda reply: replace(reply, body=reply.body[:-9]), ".grib2")
    assert "cannot be unpacked" in refuse(lambda reply: replace(reply, body=b"\0" * len(reply.body)), ".grib2")
    assert "temperature_k is nan" in refusal(tmp_path, "hrrr", hrrr(), BOX.grow(0.5))  # it reaches beyond the grid


def test_trouble_passes(tmp_path: Path) -> None:
    calls = iter(range(100))

    def shaky(asked: Asked) -> Reply | None:
        return Reply(status=503) if next(calls) % 2 == 0 else geos_fp()(asked)

    analyses, asked = fetch("geos-fp", ON_THE_HOUR, tmp_path, shaky)
    assert not analyses.missing
    assert len(asked) == 6


def test_settings_choose(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def settings_of(**flags: str) -> Any:
        flags = {"CORRECTIONS": "weather_troposphere", **flags}
        return load_settings(env_file=None, data=tmp_path, pairs=tmp_path / "pairs.txt", flags=flags)

    def plan(**flags: str) -> Any:
        return plan_weather(PAIRS, settings_of(**flags), lambda: BOX)

    assert plan().model == "HRRR"
    assert plan(TROPOSPHERE="geos-fp").model == "GEOS-FP"
    assert plan(TROPOSPHERE_DIR="air") is None
    assert plan(TROPOSPHERE="files") is None
    assert plan(CORRECTIONS="solid_earth_tide") is None
    with pytest.raises(SettingsError, match="TROPOSPHERE_DIR names files"):
        settings_of(TROPOSPHERE="hrrr", TROPOSPHERE_DIR="air")
    found: Any = SimpleNamespace(pairs=PAIRS, orbits={})
    (tmp_path / "dem").mkdir()
    missing = describe_missing((), settings_of(DEM="mine.tif"), found, lambda: BOX)
    assert missing == (
        "weather: HRRR of 2023-01-14 13:00, 2023-01-14 14:00, 2023-01-26 13:00, 2023-01-26 14:00 UTC, about 320 MB",
    )
    offline = settings_of(OFFLINE="1", TROPOSPHERE="geos-fp")
    with caplog.at_level(logging.WARNING):
        provide_weather(plan(TROPOSPHERE="geos-fp"), offline, Services())
    assert "GEOS-FP of 2023-01-14 12:00, 2023-01-14 15:00" in caplog.text
    assert "OFFLINE=1" in caplog.text


def test_the_folder_of_what_was_fetched_reaches_the_correction(tmp_path: Path) -> None:
    flags = {"CORRECTIONS": "weather_troposphere", "TROPOSPHERE": "geos-fp"}
    settings = load_settings(env_file=None, data=tmp_path, pairs=tmp_path / "pairs.txt", flags=flags)
    batch = Batch(settings=settings)
    batch.__dict__["found"] = Found(listed=(), orbits={})
    assert batch.options.troposphere_dir == ""
    batch = Batch(settings=settings)
    batch.__dict__["weather"] = plan_analyses("geos-fp", PAIRS, BOX, tmp_path)
    assert batch.options.troposphere_dir == str(tmp_path / "weather/GEOS-FP/S33.0_N34.5_W-116.5_E-115.0")


def test_gravity_and_heights_are_the_published_ones() -> None:
    """WGS84 at the equator and the pole; heights of the US Standard Atmosphere 1976, within its simpler gravity."""
    gravity = find_normal_gravity(np.array([0.0, 90.0]), np.zeros(2))
    np.testing.assert_allclose(gravity, (9.7803253359, 9.8321849378), atol=1e-9)
    radius, work = 6_356_766.0, 10_000.0  # of the US Standard Atmosphere 1976
    assert convert_geopotential(np.array([45.0]), np.array([work]))[0] == pytest.approx(
        radius * work / (radius - work), abs=3
    )
    assert math.isclose(GRAVITY, 9.80665)
