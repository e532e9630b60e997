"""From nothing but servers on this machine to interferograms: pairs searched, everything fetched, the truth met."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.loopback import Asked
from services.weather import find_true_delay
from services.world import KEY, USER, serve, services_at
from topsar.batch import Batch
from topsar.engines.ground import LONLAT, change_crs
from topsar.engines.passes import read_passes
from topsar.interferogram import read_pair
from topsar.pairs.listing import read_pairs
from topsar.pairs.network import Rules
from topsar.provision import Search
from topsar.raster import read_geotiff
from topsar.raster.geotiff import compute_pixel_axes
from topsar.schedule.jobs import Outcome, Status
from topsar.settings import KEYS, Settings, load_settings
from topsar.simulate import recipe, simulate
from topsar.simulate.compare import compare_pair
from topsar.workflow import list_pairs, preview, run

QUICK = {"UNWRAPPER": "none", "ENGINE": "native", "FORMATS": "geotiff", "CORRECTIONS": "weather_troposphere"}


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key.name, raising=False)
    monkeypatch.setenv("HOME", "/nowhere")


def settings_of(folder: Path, **flags: str) -> Settings:
    loaded = load_settings(env_file=None, data=folder, pairs=folder / "pairs.txt", flags=QUICK | flags)
    account = {"earthdata_username": USER.name, "earthdata_password": SecretStr(USER.password)}
    return loaded.model_copy(update=account | {"opentopo_api_key": SecretStr(KEY)})


def fetch_and_run(folder: Path, archive: Path) -> tuple[tuple[Outcome, ...], tuple[Asked, ...]]:
    """List pairs by a search unless that was done, fetch what they need, process them; and what the services heard."""
    settings = settings_of(folder, OFFLINE="0")
    with serve(archive) as server:
        services = services_at(server.url)
        if not settings.pairs.exists():
            box = read_geotiff(archive / "dem" / "dem.tif")[1].bbox
            list_pairs(settings.model_copy(update={"roi": box}), Rules(), search=Search(), services=services)
        return run(settings, services), tuple(server.asked)


@dataclass(frozen=True)
class Shown:
    """A folder that was empty, the archive that it was filled from, and what the services were asked."""

    folder: Path
    archive: Path
    outcomes: tuple[Outcome, ...]
    asked: tuple[Asked, ...]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder, archive = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("archive")
    simulate(archive, replace(recipe("tiny"), zipped=True))
    with pytest.MonkeyPatch.context() as patch:
        for key in KEYS:
            patch.delenv(key.name, raising=False)
        patch.setenv("HOME", "/nowhere")
        outcomes, asked = fetch_and_run(folder, archive)
    return Shown(folder=folder, archive=archive, outcomes=outcomes, asked=asked)


def test_pairs_come_from_a_search_and_are_drawn(shown: Shown) -> None:
    text = (shown.folder / "pairs.txt").read_text()
    assert text.startswith("# 1 pair: every date with every other\n")
    assert "# 2025-03-03 to 2025-03-15: 12 days, B_perp +" in text
    (line,) = read_pairs(shown.folder / "pairs.txt")
    archived = {path.stem for path in (shown.archive / "raw").glob("*.zip")}
    assert {*line.reference, *line.secondary} == archived
    assert (shown.folder / "pairs.png").read_bytes().startswith(b"\x89PNG")


def test_phase_agrees_with_the_truth(shown: Shown) -> None:
    (pair,) = (outcome for outcome in shown.outcomes if outcome.is_pair)
    assert pair.status is Status.DONE
    found = compare_pair(shown.folder / "runs" / pair.job / "products", shown.archive / "truth")
    assert found.pixels > 20_000
    assert abs(found.mean_rad) < 0.02
    assert found.deviation_rad < 1.2 * found.expected_rad
    assert found.tilt_rad < 0.05
    assert found.seam_rad < 0.03


def test_the_air_of_both_dates_is_in_the_products(shown: Shown) -> None:
    """Between the analyses around each pass, at the height of the ground, along the line of sight."""
    (pair,) = (outcome for outcome in shown.outcomes if outcome.is_pair)
    folder = shown.folder / "runs" / pair.job / "products"
    ifg = read_pair(folder)
    told = ifg.facts["corrections"]["weather_troposphere"]
    assert told["model"] == "GEOS-FP"
    assert [len(names) for names in told["files"].values()] == [2, 2]
    row, column = (size // 2 for size in ifg.grid.shape)
    x, y = compute_pixel_axes(ifg.grid)
    (lon,), (lat,) = change_crs(ifg.grid.crs, LONLAT, x[[column]], y[[row]])
    height, up, found = (float(ifg.layers[name].values[row, column]) for name in ("height", "los_up", "troposphere"))
    delays = [find_true_delay(one.middle, height, float(lon), float(lat)) for one in read_passes(ifg.facts)]
    expected = 4 * math.pi / ifg.facts["wavelength_m"] * (delays[1] - delays[0]) / up
    assert found == pytest.approx(expected, abs=0.3)  # a millimetre is 0.27 rad
    assert abs(expected) > 0.5
    assert 0 < told["std_rad"] < 5


def test_no_secret_is_left_behind(shown: Shown) -> None:
    secrets = [word.encode() for word in (USER.password, USER.token, KEY)]
    files = [path for path in shown.folder.rglob("*") if path.is_file()]
    assert [path for path in files if any(secret in path.read_bytes() for secret in secrets)] == []


def test_a_second_time_nobody_is_asked_and_nothing_is_done(shown: Shown) -> None:
    pairs = (shown.folder / "pairs.txt").stat()
    outcomes, asked = fetch_and_run(shown.folder, shown.archive)
    assert asked == ()
    assert [outcome.status for outcome in outcomes if outcome.is_pair] == [Status.CACHED]
    assert (shown.folder / "pairs.txt").stat() == pairs


def test_what_was_fetched_can_be_planned_offline(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", None)
    assert Batch(settings=settings_of(shown.folder)).missing == ()
    batch = Batch(settings=settings_of(shown.folder, OFFLINE="1"))
    planned = preview(batch)
    assert not batch.refused
    (steps,) = (job.steps for job in planned.jobs if job.is_pair)
    assert steps[-1].status is Status.CACHED
    assert planned.rehearsal.seconds == 0
