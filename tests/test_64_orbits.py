"""Orbits and calibration files fetched through real sockets, from services that misbehave in every way."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from services.loopback import Asked, Handler, Loopback, Reply
from services.orbit_services import (
    CdseSimulation,
    asf_scenes,
    aux_cal,
    aux_cal_archive,
    s3_orbits,
)
from test_32_orbit import eof
from topsar.errors import ProvisionError
from topsar.model import Direction, OrbitFile, OrbitSource, Pair, Scene
from topsar.provision import find_pass_orbits
from topsar.provision.aux_cal import provide_aux_cal
from topsar.provision.data_space import DataSpace
from topsar.provision.endpoints import Services
from topsar.provision.orbit_bucket import Bucket, Pass
from topsar.provision.orbits import provide_orbits
from topsar.provision.web.client import Fetcher
from topsar.sentinel1 import open_scene, read_orbit

START = datetime(2025, 3, 3, 16, 4, 1, tzinfo=timezone.utc)
LENGTH, HOUR, DAY = timedelta(seconds=27), timedelta(hours=1), timedelta(days=1)
NOW = START + 60 * DAY
USER, PASSWORD = "someone@example.org", "hunter2+secret/word"
ACCOUNT = (USER, PASSWORD)
ASF, S3, CDSE = "ASF's scene service", "ASF's bucket", "Copernicus Data Space"
HTML = Reply(body=b"<!DOCTYPE html><html><body><h1>Maintenance</h1></body></html>")


def scene(name: str = "", start: datetime = START, mission: str = "S1A", ipf: str = "003.71") -> Scene:
    stop = start + LENGTH
    full = f"{mission}_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}_058130_0730D6_{name or '7768'}"
    return Scene(
        name=full,
        path=Path("/nowhere"),
        mission=mission,
        start=start,
        stop=stop,
        track=131,
        absolute_orbit=58130,
        direction=Direction.ASCENDING,
        ipf=ipf,
        files=(),
    )


ONE, OTHER = scene(), scene(start=START + 12 * DAY)
PAIR = Pair(reference=(ONE,), secondary=(ONE,))


def orbit_name(
    kind: str = "POEORB",
    *,
    at: datetime = START,
    before: timedelta = HOUR,
    after: timedelta = HOUR,
    created: timedelta = 21 * DAY,
    mission: str = "S1A",
) -> str:
    begin, end = at - before, at + LENGTH + after
    period = f"{begin:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
    return f"{mission}_OPER_AUX_{kind}_OPOD_{at + created:%Y%m%dT%H%M%S}_V{period}.EOF"


def orbit_text(name: str, at: datetime = START, reach_s: int = 150) -> str:
    times = [at + timedelta(seconds=s) for s in range(-reach_s, reach_s + 31, 10)]
    return eof(times, Mission=f"Sentinel-1{name[2]}", File_Type=f"AUX_{name[13:19].rstrip('_')}")


def put(folder: Path, name: str, text: str | None = None, at: datetime = START) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(orbit_text(name, at) if text is None else text)
    return folder / name


def closed_port() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


class World:
    """All services on one server; ``faults`` are asked first."""

    def __init__(self, tmp_path: Path) -> None:
        self.far, self.near = tmp_path / "far", tmp_path / "orbit_data"
        self.far.mkdir()
        self.cdse = CdseSimulation(self.far, user=USER, password=PASSWORD)
        self.faults: list[Handler] = []
        self.archives: dict[str, bytes] = {}
        self.read_s = 5.0
        self.server = Loopback(
            self._fault, asf_scenes(self.far), s3_orbits(self.far), self.cdse, aux_cal(self.archives)
        )
        url = self.server.url
        self.services = Services(
            asf_orbits=f"{url}/asf_orbits",
            s3_orbits=f"{url}/s3_orbits",
            cdse_catalogue=f"{url}/cdse/catalogue",
            cdse_identity=f"{url}/cdse/identity",
            cdse_download=f"{url}/cdse/download",
            aux_cal=(f"{url}/aux_first", f"{url}/aux_cal"),
        )

    def _fault(self, asked: Asked) -> Reply | None:
        return next((reply for fault in self.faults if (reply := fault(asked)) is not None), None)

    def fetcher(self, *, offline: bool = False) -> Fetcher:
        return Fetcher(attempts=2, backoff_s=0.01, connect_s=2, read_s=self.read_s, secrets=ACCOUNT, offline=offline)

    def provide(
        self, *pairs: Pair, now: datetime = NOW, cdse: tuple[str, str] | None = ACCOUNT, offline: bool = False
    ) -> dict[str, OrbitFile | None]:
        return provide_orbits(
            pairs or (PAIR,),
            self.near,
            fetcher=self.fetcher(offline=offline),
            services=self.services,
            cdse=cdse,
            now=now,
            offline=offline,
        )

    def one(self, **how: object) -> str | None:
        """Name of the file that the only pass got."""
        found = self.provide(**how)[ONE.name]  # type: ignore[arg-type]
        return found.path.name if found else None

    def without(self, *sources: str) -> World:
        """Let services say that they have nothing."""
        if ASF in sources:
            self.faults.append(at("/asf_orbits/", Reply(status=404)))
        if S3 in sources:
            self.faults.append(at("/s3_orbits", Reply(body=listing([]))))
        if CDSE in sources:
            self.faults.append(at("/cdse/catalogue", Reply(body=b'{"value": []}')))
        return self

    def asked(self, path: str) -> int:
        """Requests whose path holds this."""
        return sum(path in asked.path for asked in self.server.asked)

    @property
    def visible(self) -> list[str]:
        """Files that look like orbits."""
        return sorted(path.name for path in self.near.glob("*.EOF*")) if self.near.exists() else []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("os.fsync", lambda _: None)  # no power fails here, and many disks are slow
    made = World(tmp_path)
    with made.server:
        yield made


def at(path: str, *replies: Reply, times: int = 10**6) -> Handler:
    """A handler that answers paths that begin so, the last reply again and again, up to so many times."""
    given = iter(range(times))

    def answer(asked: Asked) -> Reply | None:
        if not asked.path.startswith(path) or (number := next(given, None)) is None:
            return None
        return replies[min(number, len(replies) - 1)]

    return answer


def listing(keys: list[str], *, following: str = "", cut: bool = False) -> bytes:
    contents = "".join(f"<Contents><Key>{key}</Key><Size>9</Size></Contents>" for key in keys)
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(cut).lower()}</IsTruncated>{following}{contents}</ListBucketResult>"
    ).encode()


@contextmanager
def warnings_of(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        yield said
    said += [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- the way from one source to the next -------------------------------------------------------------------------


def test_scene_service_is_enough(world: World, caplog: pytest.LogCaptureFixture) -> None:
    name = put(world.far, orbit_name()).name
    with warnings_of(caplog) as said:
        found = world.provide()
    assert said == []
    assert found == find_pass_orbits([PAIR], world.near)
    assert world.visible == [name]
    assert [asked.path.split("/")[1] for asked in world.server.asked] == ["asf_orbits", "s3_orbits"]
    read_orbit(world.near / name, ONE.start, ONE.stop)


def test_file_in_the_folder_is_enough(world: World) -> None:
    put(world.near, orbit_name())
    assert world.one() == orbit_name()
    assert world.server.asked == []


def test_a_file_is_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world.near, orbit_name())
    read: list[str] = []
    monkeypatch.setattr("topsar.provision.orbit_bucket.read_orbit", lambda path, *_: read.append(path.name))
    assert [world.one(), world.one()] == [orbit_name(), orbit_name()]
    assert read == [orbit_name()]
    put(world.near, orbit_name(), "changed since")
    world.one()
    assert read == [orbit_name(), orbit_name()]


@pytest.mark.parametrize(
    ("source", "mission"), [(ASF, "S1B"), (ASF, "S1D"), (S3, "S1A"), (S3, "S1C"), (S3, "S1D"), (CDSE, "S1C")]
)
def test_every_mission_from_every_source(world: World, mission: str, source: str) -> None:
    world.without(*({ASF, S3, CDSE} - {source} - ({S3} if source == ASF else set())))
    name = put(world.far, orbit_name(mission=mission)).name
    wanted = scene(mission=mission)
    found = world.provide(Pair(reference=(wanted,), secondary=(wanted,)))[wanted.name]
    assert found is not None
    assert (found.path.name, found.source, found.mission) == (name, OrbitSource.PRECISE, mission)


BROKEN = {
    "500": Reply(status=500, body=b"<html>Internal Server Error</html>"),
    "503 with a pause": Reply(status=503, headers={"Retry-After": "0"}),
    "429 with a pause": Reply(status=429, headers={"Retry-After": "0"}),
    "403": Reply(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"),
    "html": HTML,
    "empty": Reply(),
    "silence": Reply(delay_s=1.0),
    "reset": Reply(body=b"x" * 1000, reset_at=10),
    "cut off": Reply(body=b"<ListBucketResult><Contents><Key>AUX", cut_at=30, claims=500),
    "not what was asked for": Reply(body=b'{"answer": [42]}'),
    "no address": Reply(status=302, headers={"Location": "ftp://127.0.0.1/x.EOF"}),
    "round and round": Reply(status=302, headers={"Location": "/asf_orbits/scene/again"}),
}
DOORS = {ASF: "/asf_orbits/", S3: "/s3_orbits", CDSE: "/cdse/catalogue"}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("source", DOORS)
def test_broken_source_is_passed_over(world: World, source: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """The file is at another source; that something is broken is told at info, with no warning."""
    world.read_s = 0.3
    kind = "RESORB" if source == CDSE else "POEORB"  # the last source is asked for a precise orbit all the same
    name = put(world.far, orbit_name(kind)).name
    world.faults.append(at(DOORS[source], BROKEN[fault]))
    if source == S3:
        world.without(ASF)
    with warnings_of(caplog) as said:
        assert world.one() == name
    assert said == []
    assert f"{source} is not asked any more: " in caplog.text
    assert world.visible == [name]


@pytest.mark.parametrize("status", [400, 404])
def test_scene_that_the_service_does_not_know(world: World, status: int) -> None:
    put(world.far, orbit_name())
    world.faults.append(at("/asf_orbits", Reply(status=status)))
    assert world.one() == orbit_name()
    assert world.asked("/s3_orbits/AUX_POEORB") == 1


def test_scene_name_that_is_none_is_400_and_no_reason_to_give_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    put(world.far, orbit_name())
    put(world.far, orbit_name(at=OTHER.start), at=OTHER.start)
    strange = replace(ONE, name="Etna in March")
    with warnings_of(caplog) as said:
        found = world.provide(Pair(reference=(strange,), secondary=(OTHER,)))
    assert all(found.values())
    assert said == []
    assert "not asked any more" not in caplog.text
    assert world.asked("/asf_orbits/scene/Etna%20in%20March") == 1
    assert world.asked(f"/asf_orbits/scene/{OTHER.name}") == 1


def test_source_that_refuses_connections(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.services = replace(world.services, asf_orbits=closed_port(), s3_orbits=closed_port())
    with warnings_of(caplog) as said:
        assert world.one() == orbit_name()
    assert said == []
    assert caplog.text.count("refuses connections") >= 2


def test_everything_fails(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, with the reason of every source; nothing is left in the folder."""
    world.services = replace(world.services, asf_orbits=closed_port())
    world.faults += [at("/s3_orbits", Reply(status=500)), at("/cdse/catalogue", HTML)]
    with warnings_of(caplog) as said:
        assert world.one() is None
    (warning,) = said
    assert warning.startswith(f"S1A 2025-03-03 16:04:01: no orbit file in {world.near} covers it; {ASF}: ")
    assert warning.endswith("the annotation's own orbit is used, decimetres less exact")
    parts = dict(part.split(": ", 1) for part in warning.split("; ")[1:4])
    assert "refuses connections" in parts[ASF]
    assert "500" in parts[S3]
    assert parts[CDSE] == "its search answered with something else than a list of products: 'Maintenance'"
    assert world.visible == []


def test_nobody_has_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert f"{ASF}: it has none; {S3}: it has none; {CDSE}: it has none; the annotation" in said[0]


def test_source_in_trouble_is_asked_once_for_all_passes(world: World) -> None:
    world.faults += [at("/s3_orbits", Reply(status=500)), at("/asf_orbits", HTML), at("/cdse/catalogue", HTML)]
    dates = [scene(start=START + k * 12 * DAY) for k in range(12)]
    world.provide(*(Pair(reference=(date,), secondary=(date,)) for date in dates), now=NOW + 365 * DAY)
    assert world.asked("/s3_orbits") == 2
    assert max(world.asked("/asf_orbits"), world.asked("/cdse/catalogue")) <= 3


def test_offline_only_the_folder_counts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    with warnings_of(caplog) as said:
        assert world.one(offline=True) is None
        put(world.near, orbit_name("RESORB"))
        assert world.one(offline=True) == orbit_name("RESORB")
    assert len(said) == 1
    assert world.server.asked == []
    assert world.one() == orbit_name(), "being offline must not count as having asked"


# --- which file --------------------------------------------------------------------------------------------------


def test_precise_before_restituted_although_an_earlier_source_has_only_that(world: World) -> None:
    put(world.far, orbit_name())
    restituted = put(world.far, orbit_name("RESORB")).name
    target = f"{world.server.url}/s3_orbits/AUX_RESORB/{restituted}"
    world.faults.append(at("/asf_orbits", Reply(status=302, headers={"Location": target})))
    assert world.one() == orbit_name()


def test_restituted_where_there_is_no_precise_one(world: World) -> None:
    put(world.far, orbit_name("RESORB"))
    assert world.one() == orbit_name("RESORB")
    assert world.asked("AUX_RESORB/") == 1


def test_young_pass_may_have_a_precise_orbit_all_the_same(world: World) -> None:
    put(world.far, orbit_name("RESORB"))
    world.without(ASF)
    assert world.one(now=START + 5 * DAY) == orbit_name("RESORB")
    prefixes = [asked.query["prefix"] for asked in world.server.asked if "prefix" in asked.query]
    assert prefixes == ["AUX_POEORB/S1A", "AUX_RESORB/S1A"]
    (world.near / orbit_name("RESORB")).unlink()
    put(world.far, orbit_name(created=4 * DAY))
    assert world.one(now=START + 7 * DAY) == orbit_name(created=4 * DAY)


@pytest.mark.parametrize("source", [S3, CDSE])
def test_newest_creation(world: World, source: str) -> None:
    world.without(ASF, *({S3, CDSE} - {source}))
    for days in (21, 44, 30):
        put(world.far, orbit_name(created=days * DAY))
    assert world.one() == orbit_name(created=44 * DAY)


def test_good_margin_of_a_later_source_before_small_margin_of_an_earlier(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    short = put(world.far, orbit_name(before=timedelta(seconds=20), created=40 * DAY)).name
    put(world.far, orbit_name())
    target = f"{world.server.url}/s3_orbits/AUX_POEORB/{short}"
    world.faults.append(at("/asf_orbits", Reply(status=302, headers={"Location": target})))
    with warnings_of(caplog) as said:
        assert world.one() == orbit_name()
    assert said == []


def test_small_margin_is_taken_with_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    short = put(world.far, orbit_name(after=timedelta(seconds=20))).name
    with warnings_of(caplog) as said:
        assert world.one() == short
    assert said == [f"S1A 2025-03-03 16:04:01: {short} reaches less than a minute beyond the pass"]


def test_file_that_ends_within_the_pass_is_none(world: World) -> None:
    put(world.far, orbit_name(after=-timedelta(seconds=1)))
    put(world.far, orbit_name(after=timedelta(seconds=2)))
    assert world.one() is None


# --- better ones later -------------------------------------------------------------------------------------------


def test_restituted_orbit_is_replaced_when_the_precise_one_appears(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    put(world.near, orbit_name("RESORB"))
    put(world.far, orbit_name())
    with warnings_of(caplog) as said:
        assert world.one(now=START + 19 * DAY) == orbit_name("RESORB")
        assert world.server.asked == [], "too young to have a precise one"
        assert world.one(now=START + 22 * DAY) == orbit_name()
    assert said == []
    assert world.visible == [orbit_name(), orbit_name("RESORB")]


def test_a_better_orbit_is_asked_for_once_a_day(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.near, orbit_name("RESORB"))
    with warnings_of(caplog) as said:
        assert world.one() == orbit_name("RESORB")
        asked = len(world.server.asked)
        put(world.far, orbit_name())
        assert world.one(now=NOW + 23 * HOUR) == orbit_name("RESORB")
        assert len(world.server.asked) == asked > 0
        assert world.one(now=NOW + 25 * HOUR) == orbit_name()
    assert said == [], "there is an orbit, so nothing is wrong"


@pytest.mark.parametrize("trouble", ["silent", "no account", "spoiled"])
def test_a_better_orbit_is_asked_for_again_where_not_everybody_had_none(world: World, trouble: str) -> None:
    put(world.near, orbit_name("RESORB"))
    if trouble == "silent":
        world.faults.append(at("/s3_orbits", Reply(status=500), times=2))
        world.without(ASF, CDSE)
    else:
        put(world.far, orbit_name(), None if trouble == "no account" else "")
        world.without(ASF, S3)
    assert world.one(cdse=None) == orbit_name("RESORB")
    world.faults.clear()
    put(world.far, orbit_name())
    for listing_kept in world.near.glob(".listing*"):
        listing_kept.unlink()
    assert world.one(now=NOW + HOUR) == orbit_name()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"proven": 3, "asked": 4}', '{"proven": {}, "asked": {"S1A": []}}'])
def test_damaged_notes_are_forgotten(world: World, text: str) -> None:
    put(world.near, orbit_name("RESORB"))
    (world.near / ".orbits.json").write_text(text)
    put(world.far, orbit_name())
    assert world.one() == orbit_name()


# --- what the files hold -----------------------------------------------------------------------------------------

GOOD = orbit_text(orbit_name())
SPOILED = {
    "truncated": GOOD[: len(GOOD) // 2],
    "of another mission": GOOD.replace("Sentinel-1A", "Sentinel-1B"),
    "of another kind": GOOD.replace("AUX_POEORB", "AUX_RESORB"),
    "not covering": orbit_text(orbit_name(), at=START + HOUR),
    "ending early": orbit_text(orbit_name(), reach_s=0),
    "in another frame": GOOD.replace("EARTH_FIXED", "MEAN_DATE"),
    "in another time": GOOD.replace(">UTC<", ">TAI<"),
    "of another format": "<?xml version='1.0'?><Earth_Observation_File><x/></Earth_Observation_File>",
    "html": HTML.body.decode(),
    "text": "*** SP3 ***\n* 2025 3 3",
    "nothing": "",
}


@pytest.mark.parametrize(
    ("source", "fault"),
    [(S3, fault) for fault in SPOILED]
    + [(source, fault) for source in (ASF, CDSE) for fault in ("truncated", "of another mission", "html")],
)
def test_spoiled_file_never_gets_its_name(
    world: World, source: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    name, text = orbit_name(), SPOILED[fault]
    sound = put(world.far, orbit_name("RESORB")).name
    put(world.far, name, text)
    if source != ASF:
        world.without(ASF)
    if source == CDSE:
        world.without(S3)
    with warnings_of(caplog) as said:
        found = world.one()
    assert said == []
    assert found == sound
    assert world.visible == [sound]
    assert f"nothing from {source}: orbit file: " in caplog.text


def test_spoiled_file_of_one_source_is_had_from_the_next(world: World) -> None:
    """The same name, the same target: the good one is what lies there in the end."""
    put(world.far, orbit_name())
    world.faults.append(at("/s3_orbits/AUX_POEORB", Reply(body=SPOILED["truncated"].encode())))
    assert world.one() == orbit_name()
    assert (world.near / orbit_name()).read_text() == (world.far / orbit_name()).read_text()
    assert world.cdse.sessions == set()


def test_older_version_where_the_newest_is_spoiled(world: World) -> None:
    put(world.far, orbit_name(created=40 * DAY), "")
    put(world.far, orbit_name())
    assert world.one() == orbit_name()


def test_checksum_of_the_listing_counts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.without(ASF, CDSE)
    other = GOOD.replace("<X>0<", "<X>1<").encode()
    assert len(other) == len(GOOD)
    world.faults.append(at("/s3_orbits/AUX_POEORB", Reply(body=other)))
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert "MD5" in said[0]
    assert world.visible == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=GOOD.encode(), cut_at=500),
        Reply(body=GOOD.encode(), reset_at=700),
        Reply(body=GOOD.encode(), claims=9),
    ],
)
def test_download_that_breaks_off_succeeds_at_the_second_attempt(world: World, reply: Reply) -> None:
    put(world.far, orbit_name())
    world.faults.append(at("/s3_orbits/AUX_POEORB", reply, times=1))
    assert world.one() == orbit_name()
    assert world.visible == [orbit_name()]


def test_damaged_file_in_the_folder_is_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.near, orbit_name(), SPOILED["truncated"])
    put(world.far, orbit_name())
    with warnings_of(caplog) as said:
        assert world.one() == orbit_name()
    assert said[0].startswith(f"S1A 2025-03-03 16:04:01: the file is passed over: {orbit_name()}: not well-formed XML")
    read_orbit(world.near / orbit_name(), ONE.start, ONE.stop)


def test_damaged_file_in_the_folder_offline(world: World) -> None:
    put(world.near, orbit_name(created=40 * DAY), SPOILED["truncated"])
    put(world.near, orbit_name())
    assert world.one(offline=True) == orbit_name()


@pytest.mark.parametrize("fault", ["truncated", "html", "text", "nothing"])
def test_plan_takes_no_file_that_a_run_passes_over(
    world: World, fault: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole days are not read for that."""
    put(world.near, orbit_name(created=40 * DAY), SPOILED[fault])
    sound = put(world.near, orbit_name("RESORB"))
    monkeypatch.setattr("topsar.provision.orbit_bucket.read_orbit", lambda *_: pytest.fail("read in full"))
    with warnings_of(caplog) as said:
        found = find_pass_orbits([PAIR], world.near)[ONE.name]
    assert found is not None
    assert found.path == sound
    assert f"the file is passed over: {orbit_name(created=40 * DAY)}: " in said[0]
    sound.unlink()
    assert find_pass_orbits([PAIR], world.near) == {ONE.name: None}


@pytest.mark.parametrize("is_whole", [True, False])
def test_plan_looks_at_zips(world: World, is_whole: bool) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(orbit_name(), GOOD)
    world.near.mkdir()
    (world.near / f"{orbit_name()}.zip").write_bytes(held.getvalue()[: None if is_whole else 900])
    assert (find_pass_orbits([PAIR], world.near)[ONE.name] is not None) is is_whole


def test_plan_does_not_look_at_what_a_run_has_proven(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world.near, orbit_name())
    world.one(offline=True)
    monkeypatch.setattr("topsar.provision.orbits.glance_at_orbit", lambda _: pytest.fail("looked at again"))
    assert find_pass_orbits([PAIR], world.near)[ONE.name] is not None


def test_impossible_dates_do_not_matter(world: World) -> None:
    impossible = orbit_name().replace("V202503", "V202513")
    put(world.near, impossible, "")
    put(world.far, orbit_name())
    world.without(ASF)
    keys = [f"AUX_POEORB/{name}" for name in (impossible, orbit_name())]
    world.faults.append(lambda asked: Reply(body=listing(keys)) if "prefix" in asked.query else None)
    world.faults.reverse()
    assert world.one() == orbit_name()


# --- the bucket's listing ----------------------------------------------------------------------------------------


def bucket(world: World, now: datetime = NOW) -> Bucket:
    return Bucket(world.fetcher(), world.services, world.near, now)


FLOWN = Pass(mission="S1A", start=START, stop=START + LENGTH, scenes=(ONE.name,))


def names(folder: Path, count: int) -> list[str]:
    return [put(folder, orbit_name(at=START + k * DAY), "").name for k in range(count)]


@pytest.mark.parametrize("has_next_marker", [False, True])
def test_listing_in_pages(world: World, has_next_marker: bool) -> None:
    wanted = names(world.far, 25)
    put(world.far, orbit_name(mission="S1C"), "")
    put(world.far, orbit_name("RESORB"), "")
    world.faults.append(s3_orbits(world.far, page=10, has_next_marker=has_next_marker))
    assert [offer.name for offer in bucket(world).find(FLOWN, OrbitSource.PRECISE)] == wanted
    assert [asked.query.get("marker") for asked in world.server.asked] == [
        None, f"AUX_POEORB/{wanted[9]}", f"AUX_POEORB/{wanted[19]}",
    ]  # fmt: skip


def test_listing_of_the_second_protocol(world: World) -> None:
    wanted = names(world.far, 5)
    server = s3_orbits(world.far, page=2)
    world.faults.append(lambda asked: server(replace(asked, query={**asked.query, "list-type": "2"})))
    assert [offer.name for offer in bucket(world).find(FLOWN, OrbitSource.PRECISE)] == wanted
    assert [asked.query.get("list-type") for asked in world.server.asked] == [None, "2", "2"]


KEYS = [f"AUX_POEORB/{orbit_name(at=START + k * DAY)}" for k in range(4)]


@pytest.mark.parametrize(
    "pages",
    [
        [listing(KEYS, cut=True)],
        [listing(KEYS[:2], cut=True), listing(KEYS[2:], cut=True), listing(KEYS[:2], cut=True)],
        [listing([], cut=True)],
        [listing(KEYS, cut=True, following=f"<NextMarker>{KEYS[0]}</NextMarker>")],
    ],
    ids=["same page", "back to the first", "empty page", "marker that goes back"],
)
def test_listing_that_never_ends(world: World, pages: list[bytes]) -> None:
    world.faults.append(at("/s3_orbits", *(Reply(body=page) for page in pages)))
    with pytest.raises(ProvisionError, match="does not come to an end"):
        bucket(world).find(FLOWN, OrbitSource.PRECISE)
    assert len(world.server.asked) <= 4


def test_listing_that_breaks_off_on_a_later_page_is_not_kept(world: World) -> None:
    names(world.far, 5)
    page = s3_orbits(world.far, page=2)
    world.faults.append(lambda asked: Reply(status=500) if "marker" in asked.query else page(asked))
    with pytest.raises(ProvisionError, match="500"):
        bucket(world).find(FLOWN, OrbitSource.PRECISE)
    assert not list(world.near.glob(".*"))


def test_listing_is_kept_for_a_day(world: World) -> None:
    wanted = names(world.far, 3)
    found = bucket(world).find(FLOWN, OrbitSource.PRECISE)
    asked = len(world.server.asked)
    assert bucket(world, NOW + 23 * HOUR).find(FLOWN, OrbitSource.PRECISE) == found
    assert len(world.server.asked) == asked
    bucket(world, NOW + 25 * HOUR).find(FLOWN, OrbitSource.PRECISE)
    assert len(world.server.asked) == asked + 1
    assert [offer.name for offer in found] == wanted
    assert all(offer.md5 == "d41d8cd98f00b204e9800998ecf8427e" for offer in found)


KEPT: dict[str, Callable[[dict[str, object]], object]] = {
    "of another service": lambda kept: kept | {"service": "http://elsewhere"},
    "from the future": lambda kept: kept | {"asked": (NOW + HOUR).isoformat()},
    "without a time zone": lambda kept: kept | {"asked": "2025-05-02T16:00:00"},
    "with other names": lambda kept: kept | {"files": [[orbit_name(), 1, None], ["../../etc/passwd", 1, None]]},
    "of another mission": lambda kept: kept | {"files": [[orbit_name(mission="S1B"), 1, None]]},
    "with other rows": lambda kept: kept | {"files": [3]},
    "without files": lambda kept: {"asked": kept["asked"]},
    "a list": lambda kept: [kept],
}


@pytest.mark.parametrize("change", KEPT)
def test_kept_listing_is_not_believed_blindly(world: World, change: str) -> None:
    wanted = names(world.far, 2)
    bucket(world).find(FLOWN, OrbitSource.PRECISE)
    (path,) = world.near.glob(".listing*")
    path.write_text(json.dumps(KEPT[change](json.loads(path.read_text()))))
    assert [offer.name for offer in bucket(world).find(FLOWN, OrbitSource.PRECISE)] == wanted
    assert len(world.server.asked) == 2


# --- the Copernicus Data Space -----------------------------------------------------------------------------------


def test_search_without_account_says_what_it_has(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)
    with warnings_of(caplog) as said:
        assert world.one(cdse=None) is None
    assert f"{CDSE}: it has {orbit_name()}, but CDSE_USERNAME and CDSE_PASSWORD are not set" in said[0]
    assert world.asked("/identity") == world.asked("/download") == 0


def test_wrong_password_is_sent_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    dates = [scene(start=START + k * 12 * DAY) for k in range(4)]
    for date in dates:
        put(world.far, orbit_name(at=date.start), at=date.start)
    world.without(ASF, S3)
    with warnings_of(caplog) as said:
        found = world.provide(
            *(Pair(reference=(date,), secondary=(date,)) for date in dates),
            cdse=(USER, "wrong-pass-word"),
            now=NOW + 99 * DAY,
        )
    assert set(found.values()) == {None}
    assert all("it refuses CDSE_USERNAME and CDSE_PASSWORD; the annotation" in one for one in said)
    assert world.asked("/identity/token") == 1
    assert "wrong-pass-word" not in caplog.text


IDENTITY = {
    "400": Reply(status=400, body=b'{"error_description": "Account is not fully set up"}'),
    "401 in html": Reply(status=401, body=HTML.body),
    "403": Reply(status=403),
    "500": Reply(status=500),
    "html": HTML,
    "no token": Reply(body=b'{"expires_in": 600}'),
    "empty token": Reply(body=b'{"access_token": ""}'),
    "token of two lines": Reply(body=b'{"access_token": "a\\r\\nX-Evil: 1"}'),
    "a number": Reply(body=b"42"),
    "the password, repeated": Reply(body=f"<p>{PASSWORD}</p>".encode()),
    "the password in the refusal": Reply(status=401, body=json.dumps({"error_description": PASSWORD}).encode()),
    "reset": Reply(body=b"{" * 100, reset_at=3),
}


@pytest.mark.parametrize("fault", IDENTITY)
def test_no_token(world: World, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)
    world.faults.append(at("/cdse/identity/token", IDENTITY[fault]))
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert len(said) == 1
    assert PASSWORD not in caplog.text
    assert world.asked("/download") == 0
    assert world.visible == []


LONG = "eyJhbGciOiJSUzI1NiIsInR5cCIgOiAiSldUIiwia2lkIiA6ICJYVUh3VWZKaHVDVWo0X3k4ZF8xM0hxWXBYMFdwdDd2anhob2FPLUxzREZFIn0"


def test_tokens_are_masked_wherever_they_are_quoted(world: World) -> None:
    for text in (f'{{"access_token": "{LONG}', f"{{'id_token' : '{LONG}'", f'"{{\\"refresh_token\\": \\"{LONG}'):
        assert LONG[:6] not in world.fetcher().masked(text)


LEAKS = {
    "cut": '{"access_token": "%s", "expires_in":',
    "other quotes": "{'id_token' : '%s'",
    "list": '["%s"]',
    "refusal": '{"error_description": "%s"}',
}


@pytest.mark.parametrize(
    ("status", "body"),
    [(status, body) for status in (200, 401, 500) for body in LEAKS],
)
def test_token_answer_is_not_quoted(world: World, body: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)
    world.faults.append(at("/cdse/identity/token", Reply(status=status, body=(LEAKS[body] % LONG).encode())))
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert len(said) == 1
    assert LONG[:6] not in caplog.text


def test_secret_at_the_edge_of_a_quotation_is_not_halved(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It begins within what is quoted and ends beyond."""
    for lead in ("x " * 22, " " * 390, "<p>" * 131):
        page = Reply(body=f"{lead}{PASSWORD}".encode())
        world.faults[:] = [at("/asf_orbits/", page), at("/s3_orbits", page), at("/cdse/catalogue", page)]
        with warnings_of(caplog):
            world.one()
    world.faults[:] = [at("/asf_orbits/", Reply(status=403, body=f"{'<p>' * 2728}{PASSWORD}".encode()))]
    with warnings_of(caplog):
        world.one()
    assert "answered 403" in caplog.text
    assert PASSWORD[:6] not in caplog.text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_session_is_ended_and_notes_are_kept_whatever_happens(world: World, kind: type[BaseException]) -> None:
    class Interrupted(Fetcher):
        def download_all(self, jobs: Sequence[Callable[[], Path]], *, at_once: int) -> list[Path]:
            super().download_all(jobs, at_once=at_once)
            raise kind

    put(world.far, orbit_name())
    world.without(ASF, S3)
    fetcher = Interrupted(attempts=2, backoff_s=0.01, connect_s=2, read_s=5, secrets=ACCOUNT)
    with pytest.raises(kind):
        provide_orbits([PAIR], world.near, fetcher=fetcher, services=world.services, cdse=ACCOUNT, now=NOW)
    assert world.asked("/identity/token") == 1
    assert world.cdse.sessions == set()
    assert orbit_name() in (world.near / ".orbits.json").read_text()


def test_token_that_has_run_out_is_replaced(world: World) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)

    def run_out(asked: Asked) -> None:
        if "/download/" in asked.path and world.asked("/download/") == 1:
            world.cdse.tokens.clear()

    world.faults.append(run_out)
    assert world.one() == orbit_name()
    assert world.asked("/identity/token") == 2
    assert world.asked("/identity/logout") == 2
    assert world.cdse.sessions == set()


def test_token_that_is_never_taken(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)
    world.faults.append(at("/cdse/download", Reply(status=401)))
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert "it refuses the token it gave" in said[0]
    assert world.asked("/download/") == 2
    assert world.cdse.sessions == set()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=403, body=b'{"detail": "quota"}'), "it refuses the download"),
        (Reply(status=429, headers={"Retry-After": "0"}), "429"),
        (Reply(status=404), "404"),
        (Reply(status=500), "500"),
        (HTML, "bytes"),
    ],
)
def test_download_that_the_data_space_refuses(
    world: World, reply: Reply, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)
    world.faults.append(at("/cdse/download", reply))
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert words in said[0]
    assert world.visible == []
    assert world.cdse.sessions == set()


def test_pause_that_is_asked_for_is_kept(world: World) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)
    world.faults.append(at("/cdse/download", Reply(status=429, headers={"Retry-After": "1"}), times=1))
    begun = time.monotonic()
    assert world.one() == orbit_name()
    assert time.monotonic() - begun >= 1


def test_one_session_for_many_downloads_and_three_at_once(world: World) -> None:
    dates = [scene(start=START + k * 12 * DAY) for k in range(8)]
    for date in dates:
        put(world.far, orbit_name(at=date.start), at=date.start)
    world.without(ASF, S3)
    busy, most, lock = 0, 0, threading.Lock()

    def slow(asked: Asked) -> Reply | None:
        nonlocal busy, most
        if not asked.path.startswith("/cdse/"):
            return None
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.05)
        with lock:
            busy -= 1
        return None

    world.faults.insert(0, slow)
    found = world.provide(*(Pair(reference=(dates[0],), secondary=(date,)) for date in dates), now=NOW + 99 * DAY)
    assert all(found.values())
    assert 1 < most <= 3
    assert world.asked("/identity/token") == world.asked("/identity/logout") == 1
    assert world.cdse.sessions == set()


def test_tokens_of_no_life_are_each_given_back(world: World) -> None:
    world.cdse._life_s = 0
    for date in (ONE, OTHER):
        put(world.far, orbit_name(at=date.start), at=date.start)
    world.without(ASF, S3)
    world.provide(Pair(reference=(ONE,), secondary=(OTHER,)))
    assert world.asked("/identity/token") == world.asked("/identity/logout") >= 2
    assert world.cdse.sessions == set()


def test_session_that_cannot_be_ended_is_no_trouble(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.without(ASF, S3)
    world.faults.append(at("/cdse/identity/logout", Reply(status=500)))
    with warnings_of(caplog) as said:
        assert world.one() == orbit_name()
    assert said == []


def test_search_in_pages_and_one_without_end(world: World) -> None:
    space = DataSpace(world.fetcher(), world.services, world.near, None)
    item = {"Id": "0" * 36, "Name": orbit_name(), "Checksum": None}
    others = [{"Id": "1" * 36, "Name": name} for name in ("../x.EOF", 7, orbit_name().replace("V2025", "V2O25"))]
    first = json.dumps({"value": [item, *others], "@odata.nextLink": "http://elsewhere/"}).encode()
    last = json.dumps({"value": [item | {"Name": orbit_name(created=40 * DAY), "Online": False}]}).encode()
    world.faults.append(at("/cdse/catalogue", Reply(body=first), Reply(body=last)))
    assert [offer.name for offer in space.find(FLOWN, OrbitSource.PRECISE)] == [orbit_name()]
    assert [asked.query.get("$skip") for asked in world.server.asked] == [None, "100"]
    world.faults[:] = [at("/cdse/catalogue", Reply(body=first))]
    with pytest.raises(ProvisionError, match="the same page again and again"):
        space.find(FLOWN, OrbitSource.PRECISE)


# --- passes ------------------------------------------------------------------------------------------------------


def test_one_file_for_all_slices_and_pairs_of_a_pass(world: World) -> None:
    put(world.far, orbit_name(after=timedelta(seconds=70), created=40 * DAY))  # ends in the second slice
    whole = put(world.far, orbit_name()).name
    second = scene(start=START + timedelta(seconds=25))
    slices = Pair(reference=(ONE, second), secondary=(ONE, second))
    for pairs in [(slices, PAIR), (PAIR, slices)]:
        found = world.provide(*pairs)
        assert [file.path.name for file in found.values() if file] == [whole, whole]
    assert world.visible == [whole]
    assert world.asked(whole) == 1


def test_two_passes_within_one_file_fetch_it_once(world: World) -> None:
    later = scene(start=START + timedelta(minutes=40))
    name = orbit_name()
    times = [START + timedelta(seconds=s) for s in range(-150, 2700, 10)]
    put(world.far, name, eof(times))
    found = world.provide(Pair(reference=(ONE,), secondary=(later,)))
    assert [file.path.name for file in found.values() if file] == [name, name]
    assert world.asked(name) == 1


def test_two_processes_at_once(world: World) -> None:
    put(world.far, orbit_name())
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(world.one())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [orbit_name()] * 4
    assert world.visible == [orbit_name()]
    assert world.asked(orbit_name()) == 1


def test_folder_that_cannot_be_written(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    world.near.write_text("a file where the folder should be")
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert len(said) == 1
    assert "cannot be written" in said[0]


def test_no_secret_is_said_or_kept(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The server repeats password and token in what it says."""
    put(world.far, orbit_name())
    world.without(ASF, S3)

    def echo(asked: Asked) -> Reply | None:
        if not asked.path.startswith("/cdse/download"):
            return None
        said = f"<h1>No {asked.headers['authorization']} of {USER} {PASSWORD}</h1>".encode()
        return Reply(status=500, body=said)

    world.faults.append(echo)
    with warnings_of(caplog):
        assert world.one() is None
    kept = "".join(path.read_text() for path in world.near.rglob("*") if path.is_file())
    assert "answered 500" in caplog.text
    for secret in (PASSWORD, "access-token-1", "refresh-token-1"):
        assert secret not in caplog.text
        assert secret not in kept


# --- recorded answers --------------------------------------------------------------------------------------------


@pytest.mark.real
def test_recorded_listing(world: World, shared_data: Path) -> None:
    """Pages 1 to 3, then the last: none of them has a NextMarker."""
    pages = [(shared_data / "responses" / f"s1-orbits_AUX_POEORB_page{n}.xml").read_bytes() for n in (1, 2, 3, 7)]
    assert not any(b"NextMarker" in page for page in pages)
    world.faults.append(at("/s3_orbits", *(Reply(body=page) for page in pages)))
    offers = bucket(world).find(FLOWN, OrbitSource.PRECISE)
    assert len({offer.name for offer in offers}) == len(offers) == 3000
    markers = [re.findall(rb"<Marker>(.*)</Marker>", page)[0].decode() for page in pages]
    assert [asked.query.get("marker", "") for asked in world.server.asked][:3] == markers[:3]
    assert world.server.asked[3].query["marker"] == re.findall(rb"<Key>(.*?)</Key>", pages[2])[-1].decode()
    first = offers[0]
    assert first.name == "S1A_OPER_AUX_POEORB_OPOD_20210203T122423_V20210113T225942_20210115T005942.EOF"
    assert (first.size, first.md5) == (4409614, "11dd292a8a5527bb0467105355271364")


@pytest.mark.real
def test_recorded_last_page(world: World, shared_data: Path) -> None:
    page = (shared_data / "responses" / "s1-orbits_AUX_POEORB_page7.xml").read_bytes()
    world.faults.append(at("/s3_orbits", Reply(body=page)))
    assert len(bucket(world).find(replace(FLOWN, mission="S1C"), OrbitSource.PRECISE)) > 0
    assert len(world.server.asked) == 1


def recorded(folder: Path, name: str) -> bytes:
    if name.endswith(".json"):
        body: str = json.loads((folder / name).read_text())["body"]
        return body.encode()
    return re.findall(r"string: '(\{.*\})'", (folder / name).read_text())[0].encode()


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cdse_odata_edge_issue45_0.json", None),
        (
            "cdse_odata_edge_issue45_1.json",
            ("S1A_OPER_AUX_RESORB_OPOD_20231013T115604_V20231013T080008_20231013T111738.EOF", 590755, None),
        ),
        (
            "cdse_odata_resorb_issue68_0.json",
            (
                "S1A_OPER_AUX_RESORB_OPOD_20250310T220905_V20250310T180852_20250310T212622.EOF",
                590749,
                "ead3d2760014f518fe0521c6930d5fc5",
            ),
        ),
        (
            "test_dataspace_client__test_scihub_query_orbit_by_dt.yaml",
            (
                "S1A_OPER_AUX_POEORB_OPOD_20210315T155112_V20191230T225942_20200101T005942.EOF",
                4409905,
                "e0345368421e1b65127adc6ea103ab53",
            ),
        ),
    ],
)
def test_recorded_searches(
    world: World, shared_data: Path, name: str, found: tuple[str, int, str | None] | None
) -> None:
    body = recorded(shared_data / "responses", name)
    world.faults.append(at("/cdse/catalogue", Reply(body=body), Reply(body=b'{"value":[]}')))
    space = DataSpace(world.fetcher(), world.services, world.near, None)
    offers = space.find(FLOWN, OrbitSource.PRECISE)
    assert [(offer.name, offer.size, offer.md5) for offer in offers] == ([found] if found else [])
    assert len(world.server.asked) == (2 if b"nextLink" in body else 1)


@pytest.mark.real
def test_search_is_worded_as_recorded(world: World, shared_data: Path) -> None:
    text = json.loads((shared_data / "responses" / "cdse_odata_resorb_issue68_0.json").read_text())["request_uri"]
    times = [datetime.fromisoformat(f"2025-03-10T{clock}+00:00") for clock in ("19:02:43.428571", "20:43:28.000000")]
    flown = replace(FLOWN, start=times[0], stop=times[1])
    with Loopback(at("/", Reply(body=b'{"value":[]}'))) as server:
        services = replace(world.services, cdse_catalogue=server.url)
        DataSpace(world.fetcher(), services, world.near, None).find(flown, OrbitSource.RESTITUTED)
        (ours,) = server.asked
    with Loopback(at("/", Reply())) as server:
        world.fetcher().ask(server.url + text.partition("/odata/v1")[2], what="the recorded question")
        (theirs,) = server.asked
    assert ours.path == theirs.path
    assert ours.query == {**theirs.query, "$top": "100"}


@pytest.mark.real
def test_real_orbits_of_real_scenes(world: World, shared_data: Path) -> None:
    paths = sorted((shared_data / "safe").glob("S1A_IW_SLC__1SDV_2022*.zip"))
    scenes = [open_scene(path) for path in paths if "20221016" not in path.name]
    world.far.rmdir()
    world.far.symlink_to(shared_data / "orbits")
    found = world.provide(*(Pair(reference=(one,), secondary=(one,)) for one in scenes))
    sources = {name[17:25]: file.source.value for name, file in found.items() if file}
    assert sources == {"20220828": "POEORB", "20220929": "POEORB", "20221011": "POEORB", "20221024": "RESORB"}


# --- calibration files -------------------------------------------------------------------------------------------

OLD = scene(start=datetime(2014, 10, 4, 3, 13, 12, tzinfo=timezone.utc), ipf="002.36")
VERSIONS = [
    ("20140616T133500", "20190626T100133"),
    ("20140908T000000", "20150119T144330"),
    ("20140908T000000", "20190626T100201"),
    ("20150519T120000", "20190626T100201"),
]
VALID = "S1A_AUX_CAL_V20140908T000000_G20190626T100201.SAFE"
ZIP = "S1A_AUX_CAL_20241128.zip"


def calibrate(world: World, *scenes: Scene, offline: bool = False) -> Path | None:
    folder = world.near.parent / "aux_cal"
    return provide_aux_cal(scenes or (OLD,), folder, fetcher=world.fetcher(offline=offline), services=world.services)


def calibrations(world: World) -> list[str]:
    return sorted(path.name for path in (world.near.parent / "aux_cal").glob("*.SAFE"))


def test_calibration_only_for_the_products_that_need_it(world: World) -> None:
    assert calibrate(world, ONE, replace(OLD, ipf="002.43")) is None
    assert world.server.asked == []
    assert not (world.near.parent / "aux_cal").exists()


def test_valid_calibration_from_the_second_place(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.archives[ZIP] = aux_cal_archive("S1A", VERSIONS)
    with warnings_of(caplog) as said:
        folder = calibrate(world, OLD, ONE)
    assert folder == world.near.parent / "aux_cal"
    assert said == []
    assert calibrations(world) == [VALID]
    assert "20190626T100201" in (folder / VALID / "data" / "s1a-aux-cal.xml").read_text()
    assert (folder / VALID / "support" / "s1-aux-cal.xsd").is_file()
    assert sorted(path.name for path in folder.iterdir()) == [ZIP, VALID]


def test_calibration_is_used_again(world: World) -> None:
    world.archives[ZIP] = aux_cal_archive("S1A", VERSIONS)
    calibrate(world)
    asked = len(world.server.asked)
    late = replace(OLD, start=OLD.start + 300 * DAY)
    assert calibrate(world) is not None
    assert calibrate(world, OLD, late, offline=True) is not None
    assert calibrations(world) == [VALID, VALID.replace("V20140908T000000", "V20150519T120000")]
    assert len(world.server.asked) == asked


def test_both_missions(world: World) -> None:
    world.archives[ZIP] = aux_cal_archive("S1A", VERSIONS)
    world.archives[ZIP.replace("S1A", "S1B")] = aux_cal_archive("S1B", VERSIONS[:1])
    calibrate(world, OLD, replace(OLD, mission="S1B"))
    assert calibrations(world) == [VALID, "S1B_AUX_CAL_V20140616T133500_G20190626T100133.SAFE"]


def test_calibration_that_the_user_put_there(world: World, caplog: pytest.LogCaptureFixture) -> None:
    data = world.near.parent / "aux_cal" / VALID / "data"
    data.mkdir(parents=True)
    (data / "s1a-aux-cal.xml").write_text("<auxiliaryCalibration/>")
    with warnings_of(caplog) as said:
        assert calibrate(world, offline=True) is not None
    assert said == []


ARCHIVE = aux_cal_archive("S1A", VERSIONS)
INSIDE = f"S1A/AUX_CAL/2014/09/08/{VALID}"


def linked() -> bytes:
    held = io.BytesIO(ARCHIVE)
    with zipfile.ZipFile(held, "a") as archive:
        link = zipfile.ZipInfo(f"{INSIDE}/data/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return held.getvalue()


def corrupt() -> bytes:
    """A zip whose directory is whole and whose data are not."""
    spoiled = bytearray(ARCHIVE)
    for k in range(0, ARCHIVE.index(b"PK\x01\x02") - 40):
        spoiled[k] = ARCHIVE[k] if ARCHIVE[k : k + 2] == b"PK" else ARCHIVE[k] ^ 0xFF
    return bytes(spoiled)


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (ARCHIVE[:-30], "not a readable zip"),
        (ARCHIVE[: len(ARCHIVE) // 2], "not a readable zip"),
        (HTML.body, "not a readable zip"),
        (aux_cal_archive("S1A", [], extra=["README"]), "holds no AUX_CAL"),
        (aux_cal_archive("S1A", [("20150519T120000", "20190626T100201")]), "no AUX_CAL is valid at 2014-10-04 03:13"),
        (aux_cal_archive("S1B", VERSIONS), "no AUX_CAL is valid"),
        (aux_cal_archive("S1A", VERSIONS, extra=[f"{INSIDE}/../../../../../../evil"]), "written elsewhere"),
        (aux_cal_archive("S1A", VERSIONS, extra=[f"{INSIDE}/data\\..\\..\\evil"]), "written elsewhere"),
        (aux_cal_archive("S1A", VERSIONS[:1], extra=[f"{INSIDE}/manifest.safe"]), "lacks its data"),
        (linked(), "written elsewhere"),
        (corrupt(), "cannot be unpacked"),
    ],
    ids=["cut", "half", "html", "other", "too late", "wrong mission", "slip", "backslash", "bare", "link", "corrupt"],
)
def test_bad_archives(world: World, archive: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    world.archives[ZIP] = archive
    with warnings_of(caplog) as said:
        assert calibrate(world) is None
    assert words in said[-1]
    assert "without a calibration file phase may jump between swaths" in said[-1]
    assert calibrations(world) == []
    assert not list(world.near.parent.rglob("*evil*"))
    assert {path.name for path in (world.near.parent / "aux_cal").iterdir()} <= {ZIP}


def test_bomb(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    world.archives[ZIP] = ARCHIVE
    monkeypatch.setattr("topsar.provision.aux_cal.MOST_BYTES", 20)
    with warnings_of(caplog) as said:
        assert calibrate(world) is None
    assert "larger than any calibration file" in said[0]


def test_no_place_has_the_archive(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with warnings_of(caplog) as said:
        assert calibrate(world) is None
    assert said[0].count("404") == 2
