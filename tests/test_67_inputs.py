"""Inputs of a list of pairs, fetched from servers on this machine that speak the contracts of the real services."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dry_data import DAYS, dry_data, dry_recipe
from services.loopback import Loopback
from services.world import KEY, USER, serve, services_at
from topsar import workflow
from topsar.batch import Batch
from topsar.doctor.case import Case
from topsar.engines import choose_engine
from topsar.engines.survey import Survey
from topsar.errors import ProvisionError
from topsar.model import BBox, Dem, OrbitSource, VerticalDatum
from topsar.pairs.listing import PairLine, read_pairs
from topsar.provision import (
    Found,
    Services,
    describe_missing,
    find_dem,
    find_scenes,
    needs_box,
)
from topsar.raster import read_geotiff
from topsar.sentinel1.container import MANIFEST, Container
from topsar.settings import KEYS, Settings, load_settings
from topsar.simulate.recipe import SwathCut

ACCOUNT = {
    "EARTHDATA_USERNAME": USER.name,
    "EARTHDATA_PASSWORD": USER.password,
    "OPENTOPO_API_KEY": KEY,
}
SECRETS = (USER.password, USER.token, KEY)
UNKNOWN = "S1A_IW_SLC__1SSV_20240904T063730_20240904T063757_055500_06C5E3_DAA1"
ELSEWHERE = "S1A_IW_SLC__1SSV_20240916T063730_20240916T063757_055675_06CBF2_1B2C"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for key in KEYS:
        monkeypatch.delenv(key.name, raising=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the servers hold: three dates as zips, their orbits, and the ground."""
    folder = tmp_path_factory.mktemp("archive")
    cut = SwathCut(swath="IW2", first_sample=500, samples=300)
    dry_data(folder, dry_recipe(acquisitions=DAYS, cuts=(cut,), bursts=2, zipped=True))
    return folder


@dataclass(frozen=True)
class World:
    """A server, and the scenes that it knows, in time order."""

    server: Loopback
    scenes: tuple[str, ...]
    services: Services

    def pair(self, line: int, first: int, second: int) -> PairLine:
        return PairLine(line=line, reference=(self.scenes[first],), secondary=(self.scenes[second],))

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Nobody is asked for anything here."""
        before = len(self.server.asked)
        yield
        assert [asked.path for asked in self.server.asked[before:]] == []


@contextmanager
def world_of(source: Path) -> Iterator[World]:
    scenes = tuple(
        path.stem for path in sorted((source / "raw").glob("*.zip"), key=lambda path: path.name.split("_")[5])
    )
    with serve(source) as server:
        services = services_at(server.url)
        yield World(server=server, scenes=scenes, services=services)


@pytest.fixture(scope="module")
def world(source: Path) -> Iterator[World]:
    with world_of(source) as made:
        yield made


def settings_of(data: Path, **flags: str) -> Settings:
    return load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=ACCOUNT | flags)


def footprint(found: Found, settings: Settings) -> BBox:
    engine, _ = choose_engine(*settings.engine_wanted)
    return Survey(found.pairs, found.orbits, settings.options).find_footprint(whole=engine.whole_bursts)


def box_for(found: Found, settings: Settings) -> BBox | None:
    if not needs_box(settings):
        return None
    found.require_pairs()
    return footprint(found, settings)


def provide(lines: Sequence[PairLine], settings: Settings, services: Services) -> tuple[Found, Dem]:
    """Scenes and orbits first, then the box, then the DEM: as a run does."""
    found = find_scenes(lines, settings, services)
    return found, find_dem(settings, box_for(found, settings), services)


def find(lines: Sequence[PairLine], settings: Settings) -> tuple[Found, Dem]:
    """The same without fetching: as a plan does."""
    found = find_scenes(lines, settings)
    return found, find_dem(settings, box_for(found, settings))


def missing_of(lines: Sequence[PairLine], settings: Settings) -> tuple[str, ...]:
    found = find_scenes(lines, settings)
    return describe_missing(lines, settings, found, lambda: footprint(found, settings))


@dataclass(frozen=True)
class Fetched:
    """A folder that was empty before, and what was found there and said then."""

    data: Path
    lines: tuple[PairLine, ...]
    found: Found
    dem: Dem
    paths: tuple[str, ...]
    log: str


@pytest.fixture(scope="module")
def fetched(source: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    """Everything fetched into an empty folder."""
    data = tmp_path_factory.mktemp("data with spaces")
    lines = tuple(read_pairs(source / "pairs.txt"))
    said: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    root, before = logging.getLogger(), len(world.server.asked)
    level = root.level
    with pytest.MonkeyPatch.context() as patch:
        for key in KEYS:
            patch.delenv(key.name, raising=False)
        settings = settings_of(data)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        found, dem = provide(lines, settings, world.services)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    paths = tuple(asked.path for asked in world.server.asked[before:])
    return Fetched(data=data, lines=lines, found=found, dem=dem, paths=paths, log="\n".join(said))


@pytest.fixture
def data(fetched: Fetched, tmp_path: Path) -> Path:
    """What was fetched, to take away from; its files are links."""
    return shutil.copytree(fetched.data, tmp_path / "data", copy_function=os.link)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- everything -------------------------------------------------------------------------------------------------


def test_everything_comes_into_an_empty_folder(fetched: Fetched, world: World, source: Path) -> None:
    found = fetched.found
    assert len(found.pairs) == len(fetched.lines) == 3
    assert [one.problem for one in found.listed] == [None] * 3
    for name in world.scenes:
        assert (fetched.data / "raw" / f"{name}.zip").read_bytes() == (source / "raw" / f"{name}.zip").read_bytes()
        orbit = found.orbits[name]
        assert orbit is not None
        assert orbit.source is OrbitSource.PRECISE
        assert orbit.path.read_bytes() == (source / "orbit_data" / orbit.path.name).read_bytes()
    assert fetched.dem.path.is_relative_to(fetched.data / "dem")
    assert fetched.dem.path.name.startswith("SRTMGL1_S")
    assert fetched.dem.datum is VerticalDatum.EGM96
    assert read_geotiff(fetched.dem.path)[1].bbox.contains(footprint(found, settings_of(fetched.data)))
    assert not [path for path in files_in(fetched.data) if ".part" in path]


def test_each_service_is_asked_as_little_as_it_takes(fetched: Fetched) -> None:
    paths = fetched.paths
    assert paths.count("/search/granules.umm_json") == 1
    assert paths.count("/api/users/find_or_create_token") == 1
    assert sum(path.startswith("/SLC/") for path in paths) == 3
    assert sum(path.endswith(".EOF") for path in paths) == 3
    assert paths.count("/globaldem") == 1


def test_what_was_fetched_is_found_again_and_nobody_is_asked(fetched: Fetched, world: World) -> None:
    before = files_in(fetched.data)
    for flags in ({}, {"OFFLINE": "1"}):
        settings = settings_of(fetched.data, **flags)
        with world.silence():
            again = provide(fetched.lines, settings, world.services)
        assert again == (fetched.found, fetched.dem)
    settings = load_settings(env_file=None, data=fetched.data, pairs=fetched.data / "pairs.txt", flags={})
    with world.silence():
        found = find(fetched.lines, settings)
        assert missing_of(fetched.lines, settings) == ()
    assert found == (fetched.found, fetched.dem)
    assert files_in(fetched.data) == before


def test_only_what_is_missing_is_fetched(data: Path, fetched: Fetched, world: World) -> None:
    (data / "raw" / f"{world.scenes[1]}.zip").unlink()
    (data / "raw" / f"{world.scenes[2]}.zip").unlink()
    (data / "raw" / f"{world.scenes[2]}.zip").write_bytes(b"PK\3\4 the beginning of a zip")
    gone = fetched.found.orbits[world.scenes[0]]
    assert gone is not None
    (data / "orbit_data" / gone.path.name).unlink()
    settings = settings_of(data)
    missing = missing_of(fetched.lines, settings)
    assert sorted(missing[:2]) == [f"scene {world.scenes[1]}", f"scene {world.scenes[2]}"]
    before = len(world.server.asked)
    found, _dem = provide(fetched.lines, settings, world.services)
    paths = [asked.path for asked in world.server.asked[before:]]
    assert sorted(path for path in paths if path.startswith("/SLC/")) == sorted(
        f"/SLC/SA/{name}.zip" for name in world.scenes[1:]
    )
    assert [path.rpartition("/")[2] for path in paths if path.endswith(".EOF")] == [gone.path.name]
    assert "/globaldem" not in paths
    assert len(found.pairs) == 3
    assert None not in found.orbits.values()


def test_secrets_are_in_no_file_and_no_log(fetched: Fetched) -> None:
    assert fetched.log
    for secret in SECRETS:
        assert secret not in fetched.log
        holders = [path for path in fetched.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert holders == []


def test_a_manifest_is_opened_once_per_start(
    source: Path, data: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(source / "pairs.txt", data / "pairs.txt")
    opened: list[str] = []
    read = Container.read

    def note(container: Container, name: str) -> bytes:
        opened.extend([container.product] if name == MANIFEST else [])
        return read(container, name)

    monkeypatch.setattr(Container, "read", note)
    settings = settings_of(data, ENGINE="native")
    with world.silence():
        for start, batch in (
            (workflow.prepare, Batch(settings=settings)),
            (workflow.prepare, Batch(settings=settings, services=world.services)),
            (plan, Batch(settings=settings)),
            (examine, Case(settings=settings)),
        ):
            opened.clear()
            start(batch)
            assert sorted(opened) == sorted(world.scenes)


def examine(case: Case) -> None:
    """As `topsar doctor` does."""
    assert case.missing == ()
    assert len(case.found.listed) == len(case.found.pairs) == 3
    assert not case.plan.refused


def plan(batch: Batch) -> None:
    """As `topsar plan` does."""
    assert batch.missing == ()
    workflow.preview(batch)


# --- what is missing --------------------------------------------------------------------------------------------


def test_missing_inputs_in_words(tmp_path: Path, fetched: Fetched, world: World) -> None:
    scenes = [f"scene {name}" for line in fetched.lines for name in (*line.reference, *line.secondary)]
    for key, model in (
        (KEY, "height model SRTMGL1"),
        ("", "height model COP30, because OPENTOPO_API_KEY is not set"),
    ):
        settings = settings_of(tmp_path / "data", OPENTOPO_API_KEY=key)
        with world.silence():
            missing = missing_of(fetched.lines, settings)
        assert missing == (*dict.fromkeys(scenes), model)
    assert not (tmp_path / "data").exists()


def test_missing_orbit_and_height_model_in_words(data: Path, fetched: Fetched, world: World) -> None:
    shutil.rmtree(data / "orbit_data")
    shutil.rmtree(data / "dem")
    settings = settings_of(data, DEM="NASADEM")
    before = files_in(data)
    with world.silence():
        missing = missing_of(fetched.lines, settings)
    assert files_in(data) == before
    assert sorted(missing) == sorted([*(f"orbit of {name}" for name in world.scenes), "height model NASADEM"])


def test_a_missing_height_model_is_not_blamed_on_a_setting_that_is_not_set(data: Path, fetched: Fetched) -> None:
    shutil.rmtree(data / "dem")
    settings = settings_of(data)
    with pytest.raises(ProvisionError) as caught:
        find(fetched.lines, settings)
    assert "OFFLINE=1" not in str(caught.value)


def test_offline_names_every_missing_scene_and_asks_nobody(tmp_path: Path, fetched: Fetched, world: World) -> None:
    settings = settings_of(tmp_path / "data", OFFLINE="1")
    with world.silence(), pytest.raises(ProvisionError) as caught:
        provide(fetched.lines, settings, world.services)
    for name in world.scenes:
        assert caught.value.message.count(name) >= 1
    assert "OFFLINE forbids" in caught.value.message
    assert "OFFLINE=0" in caught.value.hint


def test_offline_takes_what_is_there_and_warns_of_a_missing_orbit(
    data: Path, fetched: Fetched, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(data / "orbit_data")
    settings = settings_of(data, OFFLINE="1")
    with world.silence():
        found, _dem = provide(fetched.lines, settings, world.services)
    assert set(found.orbits.values()) == {None}
    assert len([one for one in caplog.records if "the annotation's own orbit is used" in one.getMessage()]) == 3


# --- what cannot be had -----------------------------------------------------------------------------------------


def test_no_usable_pair_is_one_error_that_names_each_reason(tmp_path: Path, world: World) -> None:
    lines = (
        PairLine(line=1, reference=(UNKNOWN,), secondary=(ELSEWHERE,)),
        PairLine(line=2, reference=(UNKNOWN,), secondary=(world.scenes[0],)),
    )
    settings = settings_of(tmp_path / "data")
    with pytest.raises(ProvisionError, match=r"^no pair can be processed:") as caught:
        provide(lines, settings, world.services)
    assert len(caught.value.message.splitlines()) == 3
    assert UNKNOWN in caught.value.message
    assert ELSEWHERE in caught.value.message
    assert caught.value.hint


# --- the height model -------------------------------------------------------------------------------------------


def test_a_raster_of_the_users_comes_first_and_needs_no_box(source: Path, data: Path, world: World) -> None:
    settings = settings_of(data)
    assert needs_box(settings)
    shutil.copy(source / "dem" / "dem.tif", data / "dem" / "mine.tif")
    assert not needs_box(settings)
    with world.silence():
        provided, found = find_dem(settings, None, world.services), find_dem(settings)
    assert provided == found
    assert found.path == data / "dem" / "mine.tif"


def test_no_pair_and_a_raster_of_the_users_is_left_to_the_engine(source: Path, data: Path, world: World) -> None:
    shutil.copy(source / "dem" / "dem.tif", data / "dem" / "mine.tif")
    line = PairLine(line=1, reference=(UNKNOWN,), secondary=(ELSEWHERE,))
    found, dem = provide((line,), settings_of(data), world.services)
    assert found.pairs == ()
    assert dem.path == data / "dem" / "mine.tif"


def test_pairs_without_a_footprint_and_without_a_raster_are_told_what_is_wrong(data: Path, world: World) -> None:
    shutil.rmtree(data / "dem")
    settings = settings_of(data, ROI="1,2,1,2")
    with pytest.raises(ProvisionError) as caught:
        provide((world.pair(1, 0, 1),), settings, world.services)
    assert "ROI" in str(caught.value)
    assert "no DEM in" not in caught.value.message
