"""Orbits and calibration files fetched through real sockets, from services that misbehave in every way."""

from __future__ import annotations

import io
import logging
import re
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
from services.orbit_services import aux_cal, aux_cal_archive, s3_orbits
from test_32_orbit import eof
from topsar.errors import ProvisionError
from topsar.model import Direction, OrbitFile, OrbitSource, Pair, Scene
from topsar.provision import find_pass_orbits
from topsar.provision.aux_cal import provide_aux_cal
from topsar.provision.endpoints import Services
from topsar.provision.orbit_bucket import Bucket
from topsar.provision.orbits import provide_orbits
from topsar.provision.web.client import Fetcher, Patience, Web
from topsar.sentinel1 import open_scene, parse_orbit_name, read_orbit

START = datetime(2025, 3, 3, 16, 4, 1, tzinfo=timezone.utc)
LENGTH, HOUR, DAY = timedelta(seconds=27), timedelta(hours=1), timedelta(days=1)
NOW = START + 60 * DAY
SECRET = "hunter2+secret/word"
BUCKET = "ASF's bucket"
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


class World:
    """The bucket and the calibration files on one server; ``faults`` are asked first."""

    def __init__(self, tmp_path: Path) -> None:
        self.far, self.near = tmp_path / "far", tmp_path / "orbit_data"
        self.far.mkdir()
        self.faults: list[Handler] = []
        self.archives: dict[str, bytes] = {}
        self.read_s = 5.0
        self.server = Loopback(self._fault, s3_orbits(self.far), aux_cal(self.archives))
        url = self.server.url
        self.services = Services(s3_orbits=f"{url}/s3_orbits", aux_cal=(f"{url}/aux_first", f"{url}/aux_cal"))

    def _fault(self, asked: Asked) -> Reply | None:
        return next((reply for fault in self.faults if (reply := fault(asked)) is not None), None)

    def fetcher(self, *, offline: bool = False) -> Fetcher:
        patience = Patience(attempts=2, backoff_s=0.01, connect_s=2, read_s=self.read_s)
        return Fetcher(patience=patience, secrets=[SECRET], offline=offline)

    def provide(self, *pairs: Pair, now: datetime = NOW, offline: bool = False) -> dict[str, OrbitFile | None]:
        fetcher = self.fetcher(offline=offline)
        return provide_orbits(pairs or (PAIR,), self.near, Web(fetcher, self.services), now=now)

    def one(self, *, now: datetime = NOW, offline: bool = False) -> str | None:
        """Name of the file that the only pass got."""
        found = self.provide(now=now, offline=offline)[ONE.name]
        return found.path.name if found else None

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


# --- the bucket and the folder ------------------------------------------------------------------------------------


def test_bucket_is_enough(world: World, caplog: pytest.LogCaptureFixture) -> None:
    name = put(world.far, orbit_name()).name
    with warnings_of(caplog) as said:
        found = world.provide()
    assert said == []
    assert found == find_pass_orbits([PAIR], world.near)
    assert world.visible == [name]
    assert [asked.path for asked in world.server.asked] == ["/s3_orbits/", f"/s3_orbits/AUX_POEORB/{name}"]
    read_orbit(parse_orbit_name(world.near / name), ONE.start, ONE.stop)


def test_file_in_the_folder_is_enough(world: World) -> None:
    put(world.near, orbit_name())
    assert world.one() == orbit_name()
    assert world.server.asked == []


def test_a_file_is_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world.near, orbit_name())
    read: list[str] = []
    monkeypatch.setattr("topsar.provision.orbits.read_orbit", lambda file, *_: read.append(file.path.name))
    assert [world.one(), world.one()] == [orbit_name(), orbit_name()]
    assert read == [orbit_name()]
    put(world.near, orbit_name(), "changed since")
    world.one()
    assert read == [orbit_name(), orbit_name()]


@pytest.mark.parametrize("mission", ["S1A", "S1B", "S1C", "S1D"])
def test_every_mission(world: World, mission: str) -> None:
    name = put(world.far, orbit_name(mission=mission)).name
    wanted = scene(mission=mission)
    found = world.provide(Pair(reference=(wanted,), secondary=(wanted,)))[wanted.name]
    assert found is not None
    assert (found.path.name, found.source, found.mission) == (name, OrbitSource.PRECISE, mission)


BROKEN = {
    "500": Reply(status=500, body=b"<html>Internal Server Error</html>"),
    "403": Reply(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"),
    "html": HTML,
    "empty": Reply(),
    "silence": Reply(delay_s=1.0),
    "not what was asked for": Reply(body=b'{"answer": [42]}'),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_bucket_is_done_without(world: World, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, with the reason; what lies in the folder is used, and nothing is left behind."""
    world.read_s = 0.3
    put(world.far, orbit_name())
    world.faults.append(at("/s3_orbits", BROKEN[fault]))
    with warnings_of(caplog) as said:
        assert world.one() is None
    (warning,) = said
    assert f"no orbit file in {world.near} covers it; {BUCKET}: " in warning
    assert "the annotation's own orbit is used" in warning
    assert f"{BUCKET} is not asked any more: " in caplog.text
    assert world.visible == []
    put(world.near, orbit_name("RESORB"))
    assert world.one() == orbit_name("RESORB")


def test_bucket_that_refuses_connections(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.services = replace(world.services, s3_orbits="http://127.0.0.1:9")
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert "refuses connections" in said[0]


def test_bucket_without_the_orbit(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert f"{BUCKET}: it has none; the annotation" in said[0]


def dates_of(world: World, count: int) -> tuple[Pair, ...]:
    """Pairs of one date each, whose orbits the bucket has."""
    dates = [scene(start=START + k * 12 * DAY) for k in range(count)]
    for date in dates:
        put(world.far, orbit_name(at=date.start), at=date.start)
    return tuple(Pair(reference=(date,), secondary=(date,)) for date in dates)


def test_bucket_that_cannot_be_listed_is_asked_once_for_all_passes(world: World) -> None:
    world.faults.append(at("/s3_orbits", Reply(status=500)))
    world.provide(*dates_of(world, 12), now=NOW + 365 * DAY)
    assert world.asked("/s3_orbits") == 2, "two attempts for one listing"


def test_bucket_is_given_up_after_three_failures_in_a_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topsar.provision.orbits.AT_ONCE", 1)
    pairs = dates_of(world, 9)
    world.faults.append(at("/s3_orbits/AUX_", Reply(status=404)))
    assert set(world.provide(*pairs, now=NOW + 365 * DAY).values()) == {None}
    assert world.asked("/s3_orbits/AUX_") == 3


def test_a_download_that_succeeds_is_a_new_beginning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topsar.provision.orbits.AT_ONCE", 1)
    pairs = dates_of(world, 9)
    good = [pairs[k].reference[0].name for k in (2, 5, 8)]
    served = [orbit_name(at=pairs[k].reference[0].start) for k in (2, 5, 8)]
    world.faults.append(
        lambda asked: Reply(status=404) if "/AUX_" in asked.path and asked.path.split("/")[-1] not in served else None
    )
    found = world.provide(*pairs, now=NOW + 365 * DAY)
    assert [name for name, file in found.items() if file] == good
    assert world.asked("/s3_orbits/AUX_POEORB/") == 9


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


def test_precise_before_restituted(world: World) -> None:
    put(world.far, orbit_name())
    put(world.far, orbit_name("RESORB"))
    assert world.one() == orbit_name()


def test_restituted_where_there_is_no_precise_one(world: World) -> None:
    put(world.far, orbit_name("RESORB"))
    assert world.one() == orbit_name("RESORB")
    assert world.asked("AUX_RESORB/") == 1


def test_young_pass_may_have_a_precise_orbit_all_the_same(world: World) -> None:
    put(world.far, orbit_name("RESORB"))
    assert world.one(now=START + 5 * DAY) == orbit_name("RESORB")
    prefixes = [asked.query["prefix"] for asked in world.server.asked if "prefix" in asked.query]
    assert prefixes == ["AUX_POEORB/S1A", "AUX_RESORB/S1A"]
    (world.near / orbit_name("RESORB")).unlink()
    put(world.far, orbit_name(created=4 * DAY))
    assert world.one(now=START + 7 * DAY) == orbit_name(created=4 * DAY)


def test_newest_creation(world: World) -> None:
    for days in (21, 44, 30):
        put(world.far, orbit_name(created=days * DAY))
    assert world.one() == orbit_name(created=44 * DAY)


def test_good_margin_before_a_small_one_that_is_newer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name(before=timedelta(seconds=20), created=40 * DAY))
    put(world.far, orbit_name())
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


@pytest.mark.parametrize("trouble", ["silent", "spoiled"])
def test_a_better_orbit_is_asked_for_again_after_trouble(world: World, trouble: str) -> None:
    put(world.near, orbit_name("RESORB"))
    if trouble == "silent":
        world.faults.append(at("/s3_orbits", Reply(status=500), times=2))
    else:
        put(world.far, orbit_name(), "")
    assert world.one() == orbit_name("RESORB")
    world.faults.clear()
    put(world.far, orbit_name())
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


@pytest.mark.parametrize("fault", SPOILED)
def test_spoiled_file_never_gets_its_name(world: World, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    sound = put(world.far, orbit_name("RESORB")).name
    put(world.far, orbit_name(), SPOILED[fault])
    with warnings_of(caplog) as said:
        found = world.one()
    assert said == []
    assert found == sound
    assert world.visible == [sound]
    assert f"nothing from {BUCKET}: orbit file: " in caplog.text


def test_older_version_where_the_newest_is_spoiled(world: World) -> None:
    put(world.far, orbit_name(created=40 * DAY), "")
    put(world.far, orbit_name())
    assert world.one() == orbit_name()


def test_checksum_of_the_listing_counts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.far, orbit_name())
    other = GOOD.replace("<X>0<", "<X>1<").encode()
    assert len(other) == len(GOOD)
    world.faults.append(at("/s3_orbits/AUX_POEORB", Reply(body=other)))
    with warnings_of(caplog) as said:
        assert world.one() is None
    assert "MD5" in said[0]
    assert world.visible == []


def test_damaged_file_in_the_folder_is_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    put(world.near, orbit_name(), SPOILED["truncated"])
    put(world.far, orbit_name())
    with warnings_of(caplog) as said:
        assert world.one() == orbit_name()
    assert said[0].startswith(f"S1A 2025-03-03 16:04:01: the file is passed over: {orbit_name()}: not well-formed XML")
    read_orbit(parse_orbit_name(world.near / orbit_name()), ONE.start, ONE.stop)


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
    monkeypatch.setattr("topsar.provision.orbits.read_orbit", lambda *_: pytest.fail("read in full"))
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


def test_impossible_dates_do_not_matter(world: World) -> None:
    impossible = orbit_name().replace("V202503", "V202513")
    put(world.near, impossible, "")
    put(world.far, orbit_name())
    keys = [f"AUX_POEORB/{name}" for name in (impossible, orbit_name())]
    page = Reply(body=listing(keys).replace(b"<Size>9</Size>", b""))
    world.faults.append(lambda asked: page if "prefix" in asked.query else None)
    assert world.one() == orbit_name()


# --- the bucket's listing ----------------------------------------------------------------------------------------


def bucket(world: World) -> Bucket:
    return Bucket(world.fetcher(), world.services.s3_orbits, world.near)


def name_days(folder: Path, count: int) -> list[str]:
    return [put(folder, orbit_name(at=START + k * DAY), "").name for k in range(count)]


@pytest.mark.parametrize("has_next_marker", [False, True])
def test_listing_in_pages(world: World, has_next_marker: bool) -> None:
    wanted = name_days(world.far, 25)
    put(world.far, orbit_name(mission="S1C"), "")
    put(world.far, orbit_name("RESORB"), "")
    world.faults.append(s3_orbits(world.far, page=10, has_next_marker=has_next_marker))
    assert [offer.name for offer in bucket(world).find_offers("S1A", OrbitSource.PRECISE)] == wanted
    assert [asked.query.get("marker") for asked in world.server.asked] == [
        None, f"AUX_POEORB/{wanted[9]}", f"AUX_POEORB/{wanted[19]}",
    ]  # fmt: skip


def test_listing_of_the_second_protocol(world: World) -> None:
    wanted = name_days(world.far, 5)
    server = s3_orbits(world.far, page=2)
    world.faults.append(lambda asked: server(replace(asked, query={**asked.query, "list-type": "2"})))
    assert [offer.name for offer in bucket(world).find_offers("S1A", OrbitSource.PRECISE)] == wanted
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
    with pytest.raises(ProvisionError, match="does not end"):
        bucket(world).find_offers("S1A", OrbitSource.PRECISE)
    assert len(world.server.asked) <= 4


def test_listing_that_breaks_off_on_a_later_page_is_an_error(world: World) -> None:
    name_days(world.far, 5)
    page = s3_orbits(world.far, page=2)
    world.faults.append(lambda asked: Reply(status=500) if "marker" in asked.query else page(asked))
    with pytest.raises(ProvisionError, match="500"):
        bucket(world).find_offers("S1A", OrbitSource.PRECISE)


def test_listing_is_read_once_and_tells_checksums(world: World) -> None:
    wanted, opened = name_days(world.far, 3), bucket(world)
    found = opened.find_offers("S1A", OrbitSource.PRECISE)
    assert opened.find_offers("S1A", OrbitSource.PRECISE) == found
    assert len(world.server.asked) == 1
    assert [offer.name for offer in found] == wanted
    assert all(offer.md5 == "d41d8cd98f00b204e9800998ecf8427e" for offer in found)


# --- what is said -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", ["x " * 22, " " * 390, "<p>" * 131])
@pytest.mark.parametrize("status", [200, 403])
def test_secret_at_the_edge_of_a_quotation_is_not_halved(
    world: World, status: int, lead: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins within what is quoted and ends beyond."""
    text = lead if status == 200 else "<p>" * 2728
    world.faults.append(at("/s3_orbits", Reply(status=status, body=f"{text}{SECRET}".encode())))
    with warnings_of(caplog):
        world.one()
    assert ("listing" if status == 200 else "answered 403") in caplog.text
    assert SECRET[:6] not in caplog.text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_notes_are_kept_whatever_happens(world: World, kind: type[BaseException]) -> None:
    class Interrupted(Fetcher):
        def download_all(self, jobs: Sequence[Callable[[], object]], *, at_once: int) -> None:
            super().download_all(jobs, at_once=at_once)
            raise kind

    put(world.far, orbit_name())
    with pytest.raises(kind):
        provide_orbits([PAIR], world.near, Web(Interrupted(), world.services), now=NOW)
    assert orbit_name() in (world.near / ".orbits.json").read_text()


def test_three_at_once(world: World) -> None:
    world.faults.append(lambda _: time.sleep(0.05))
    assert all(world.provide(*dates_of(world, 8), now=NOW + 99 * DAY).values())
    assert 1 < world.server.most_at_once <= 3


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
    assert "cannot write " in said[0]


# --- recorded answers --------------------------------------------------------------------------------------------


@pytest.mark.real
def test_recorded_listing(world: World, shared_data: Path) -> None:
    """Pages 1 to 3, then the last: none of them has a NextMarker."""
    pages = [(shared_data / "responses" / f"s1-orbits_AUX_POEORB_page{n}.xml").read_bytes() for n in (1, 2, 3, 7)]
    assert not any(b"NextMarker" in page for page in pages)
    world.faults.append(at("/s3_orbits", *(Reply(body=page) for page in pages)))
    offers = bucket(world).find_offers("S1A", OrbitSource.PRECISE)
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
    assert len(bucket(world).find_offers("S1C", OrbitSource.PRECISE)) > 0
    assert len(world.server.asked) == 1


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
    return provide_aux_cal(scenes or (OLD,), folder, Web(world.fetcher(offline=offline), world.services))


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
