"""From nothing but servers on this machine to interferograms: pairs searched, everything fetched, the truth met."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from topsar.pairs.listing import read_pairs
from topsar.schedule.jobs import Status
from topsar.settings import KEYS, load_settings
from topsar.simulate import world
from topsar.simulate.loopback import Loopback
from topsar.simulate.world import KEY, USER
from topsar.workflow import Demonstration, demo, describe_missing, preview

QUICK = {"UNWRAPPER": "none"}


@dataclass(frozen=True)
class Shown:
    """A demonstration, and the servers that it asked."""

    folder: Path
    first: Demonstration
    servers: list[Loopback] = field(default_factory=list)


@contextmanager
def _watched(servers: list[Loopback]) -> Iterator[None]:
    """Remember every server that a demonstration starts."""
    serve = world.serve

    @contextmanager
    def remember(folder: Path) -> Iterator[Loopback]:
        with serve(folder) as server:
            servers.append(server)
            yield server

    with pytest.MonkeyPatch.context() as patch:
        for key in KEYS:
            patch.delenv(key.name, raising=False)
        patch.setenv("HOME", "/nowhere")
        patch.setattr(world, "serve", remember)
        yield


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder, servers = tmp_path_factory.mktemp("demo"), list[Loopback]()
    with _watched(servers):
        first = demo(folder, size="tiny", flags=QUICK, provision=True)
    return Shown(folder=folder, first=first, servers=servers)


def test_pairs_come_from_a_search_and_are_drawn(shown: Shown) -> None:
    text = (shown.folder / "pairs.txt").read_text()
    assert text.startswith("# 1 pair: every date with every other\n")
    assert "# 2025-03-03 to 2025-03-15: 12 days, B_perp +" in text
    (line,) = read_pairs(shown.folder / "pairs.txt")
    archived = {path.stem for path in (shown.folder / "archive" / "raw").glob("*.zip")}
    assert {*line.reference, *line.secondary} == archived
    assert (shown.folder / "pairs.png").read_bytes().startswith(b"\x89PNG")


def test_everything_is_fetched(shown: Shown) -> None:
    for name in ("raw", "orbit_data"):
        held = {path.name: path.read_bytes() for path in (shown.folder / "archive" / name).iterdir()}
        fetched = {path.name: path.read_bytes() for path in (shown.folder / name).iterdir() if path.name[0] != "."}
        assert fetched == held
        assert len(fetched) == 2
    (dem,) = (shown.folder / "dem").rglob("*.tif")
    assert dem.name.startswith("SRTMGL1_")
    (server,) = shown.servers
    assert {"/search/granules.umm_json", "/globaldem"} < {asked.path for asked in server.asked}


def test_phase_agrees_with_the_truth(shown: Shown) -> None:
    assert [outcome.status for outcome in shown.first.outcomes if outcome.is_pair] == [Status.DONE]
    (found,) = shown.first.comparisons
    assert found.pixels > 20_000
    assert abs(found.mean_rad) < 0.02
    assert found.deviation_rad < 1.2 * found.expected_rad
    assert found.tilt_rad < 0.05
    assert found.seam_rad < 0.03


def test_no_secret_is_left_behind(shown: Shown) -> None:
    secrets = [word.encode() for word in (USER.password, USER.token, KEY)]
    files = [path for path in shown.folder.rglob("*") if path.is_file()]
    assert [path for path in files if any(secret in path.read_bytes() for secret in secrets)] == []


def test_a_second_time_nobody_is_asked_and_nothing_is_done(shown: Shown) -> None:
    pairs = (shown.folder / "pairs.txt").stat()
    servers: list[Loopback] = []
    with _watched(servers):
        again = demo(shown.folder, size="tiny", flags=QUICK, provision=True)
    (server,) = servers
    assert server.asked == []
    assert [outcome.status for outcome in again.outcomes if outcome.is_pair] == [Status.CACHED]
    assert again.comparisons == shown.first.comparisons
    assert (shown.folder / "pairs.txt").stat() == pairs


def test_what_was_fetched_can_be_planned_offline(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key.name, raising=False)
    monkeypatch.setattr("socket.socket", None)
    settings = load_settings(
        env_file=None,
        data=shown.folder,
        pairs=shown.folder / "pairs.txt",
        flags=QUICK | {"OFFLINE": "1", "ENGINE": "native"},
    )
    assert describe_missing(settings) == ()
    batch, planned = preview(settings)
    assert not batch.refused
    (steps,) = (job.steps for job in planned.jobs if job.is_pair)
    assert steps[-1].status is Status.CACHED
    assert planned.rehearsal.seconds == 0
