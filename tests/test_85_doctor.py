"""What the doctor finds, each finding provoked for real."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from dry_data import DAYS, Planned, dry_data, dry_recipe, list_again, rewrite
from fake_isce.use import ISCE_HOME
from fake_steps import wait_for
from topsar.doctor import CHECKS, Finding, Grade, dump_findings, examine, find_worst, finding, format_findings
from topsar.model import BBox, GeoGrid
from topsar.raster import Labels, write_geotiff
from topsar.schedule.forecast import Ledger
from topsar.schedule.jobs import Ended, Reason
from topsar.schedule.lock import hold_runs
from topsar.settings import KEYS

PROBLEM, WARNING, NOTE, OK = Grade.PROBLEM, Grade.WARNING, Grade.NOTE, Grade.OK


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for key in KEYS:
        monkeypatch.delenv(key.name, raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates, three pairs."""
    folder = tmp_path_factory.mktemp("made") / "data"
    dry_data(folder, dry_recipe(acquisitions=DAYS))
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A data folder to break; its files are links (see `rewrite`)."""
    return shutil.copytree(made, tmp_path / "data", copy_function=os.link)


def look(folder: Path, topic: str = "", *, env: Path | None = None, **flags: str) -> tuple[Finding, ...]:
    """Examine a folder, or one topic of it."""
    checks = [check for check in CHECKS if topic in ("", check[0])]
    return examine(env_file=env, data=folder, pairs=folder / "pairs.txt", flags=flags, checks=checks)


def told(findings: tuple[Finding, ...], grade: Grade, pattern: str = "") -> list[Finding]:
    """Findings of a grade whose text matches."""
    return [one for one in findings if one.grade is grade and re.search(pattern, one.text)]


def only(findings: tuple[Finding, ...], grade: Grade, pattern: str = "") -> Finding:
    (finding,) = told(findings, grade, pattern)
    return finding


def list_pairs(data: Path, *lines: str) -> None:
    (data / "pairs.txt").unlink(missing_ok=True)
    (data / "pairs.txt").write_text("\n".join(lines) + "\n")


def absent_pairs(number: int) -> list[str]:
    """Lines that name products nobody has."""
    days = [date(2024, 1, 1) + timedelta(days=12 * n) for n in range(number + 1)]
    names = [f"S1A_IW_SLC__1SDV_{day:%Y%m%d}T063730_{day:%Y%m%d}T063757_050174_0609E3_DAA1" for day in days]
    return [f"{first} {second}" for first, second in pairwise(names)]


def everything_in(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in [folder, *folder.rglob("*")]}


# --- the whole --------------------------------------------------------------------------------------------------


def test_healthy_data_have_no_problem_and_stay_as_they_are(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {path: state for path, state in everything_in(data).items() if path != str(data)}
    findings = look(data)
    assert not told(findings, PROBLEM), format_findings(findings)
    assert {finding.topic for finding in findings} == {topic for topic, _ in CHECKS}
    assert only(findings, OK, "^3 pairs of 3 products found$")
    assert only(findings, OK, "^3 pairs can be processed")
    assert only(findings, OK, "^3 passes with POEORB$")
    assert format_findings(findings).splitlines()[-1].endswith(": a run can start")
    assert {path: state for path, state in everything_in(data).items() if path != str(data)} == before
    assert not caplog.records


def test_every_problem_at_once_and_each_once(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("POSTING=no\nPOSTIN=3\n")
    findings = look(tmp_path / "nowhere", env=env, MEMORY_GB="-1")
    assert {finding.topic for finding in findings} == {topic for topic, _ in CHECKS}
    problems = told(findings, PROBLEM)
    assert [problem.topic for problem in problems] == ["settings"] * 3 + ["inputs"]
    assert all(problem.remedy for problem in problems)
    assert find_worst(findings) is PROBLEM
    assert format_findings(findings).splitlines()[-1].endswith("fix the problems first")


def test_a_check_that_breaks_is_a_finding(tmp_path: Path) -> None:
    def broken(_case: object) -> Iterator[Finding]:
        yield Finding(OK, "so far")
        msg = "no such thing"
        raise LookupError(msg)

    def sound(_case: object) -> Iterator[Finding]:
        yield Finding(NOTE, "still here", "look")

    checks = [("first", broken), ("second", sound)]
    assert examine(env_file=None, data=tmp_path, pairs=tmp_path, flags={}, checks=checks) == (
        Finding(OK, "so far", topic="first"),
        Finding(PROBLEM, "this check failed: LookupError: no such thing", topic="first"),
        Finding(NOTE, "still here", "look", "second"),
    )


def test_a_broken_engine_leaves_the_other_checks(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        msg = "compiled parts do not load"
        raise RuntimeError(msg)

    monkeypatch.setattr("topsar.engines.native.NativeEngine.plan", crash)
    findings = look(data)
    assert only(findings, PROBLEM, "RuntimeError: compiled parts").topic == "engine"
    assert only(findings, OK, "^3 pairs of 3 products found$")
    assert only(findings, OK, "free for")


def test_the_log_is_as_loud_as_before(data: Path) -> None:
    level = logging.getLogger("topsar.provision").level
    look(data, "inputs")
    assert logging.getLogger("topsar.provision").level == level


def test_the_table_is_aligned_and_says_each_remedy_once() -> None:
    long = "a text of many words that goes on and on " * 4
    findings = [
        Finding(PROBLEM, long, "one remedy", "a"),
        Finding(PROBLEM, "short", "one remedy", "a"),
        Finding(NOTE, "good to know", topic="longer"),
    ]
    lines = format_findings(findings).splitlines()
    assert max(map(len, lines)) <= finding.WIDTH
    column = lines[0].index("a text")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines[:-1])
    assert format_findings(findings).count("one remedy") == 1
    assert lines[-1] == "2 problems, 1 note: fix the problems first"
    assert format_findings([]) == "no problems: a run can start"


def test_programs_can_read_it() -> None:
    findings = [Finding(WARNING, "tight", "free some", "disk"), Finding(OK, "há espaço", topic="disk")]
    told = json.loads(dump_findings(findings))
    assert told["worst"] == "warning"
    assert told["findings"][0] == {"topic": "disk", "grade": "warning", "text": "tight", "remedy": "free some"}
    assert told["findings"][1]["text"] == "há espaço"


def test_worst() -> None:
    assert find_worst([]) is OK
    every = [Finding(grade, "") for grade in (NOTE, PROBLEM, WARNING, OK)]
    assert [find_worst(every[:1]), find_worst(every[2:]), find_worst(every)] == [NOTE, WARNING, PROBLEM]


# --- machine ----------------------------------------------------------------------------------------------------


def test_another_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    assert "WSL2" in only(look(tmp_path, "machine"), PROBLEM, "^Plan9 .* needs Linux").remedy


# --- memory -----------------------------------------------------------------------------------------------------


def machine_with(monkeypatch: pytest.MonkeyPatch, limit: int, free: int) -> None:
    monkeypatch.setattr("topsar.schedule.executor.find_memory_limit", lambda: limit)
    monkeypatch.setattr("topsar.schedule.executor.find_available_memory", lambda: free)


def test_more_memory_asked_than_there_is(tmp_path: Path) -> None:
    assert only(look(tmp_path, "memory", MEMORY_GB="100000"), WARNING, "^MEMORY_GB=100000 is more").remedy


def test_a_step_that_can_never_fit(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = only(look(data, "memory", MEMORY_GB="0.1"), PROBLEM, "^the largest step, .* more than the 100 MB")
    assert "POSTING" in problem.remedy
    machine_with(monkeypatch, 200_000_000, 200_000_000)
    assert only(look(data, "memory"), PROBLEM, "^the largest step, .* more than the 200 MB")
    assert not told(look(data, "memory", EXECUTOR="dask", DASK_SCHEDULER="slurm"), PROBLEM)


def test_a_step_that_does_not_fit_now(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, 1 << 40, 100_000_000)
    findings = look(data, "memory")
    assert "end other programs" in only(findings, WARNING, "only 100 MB is available now").remedy
    assert not told(findings, PROBLEM)


def test_what_was_learned_counts(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, 1 << 40, 1 << 40)
    (data / "runs").mkdir()
    ledger = Ledger(data / "runs")
    ended = Ended(
        reason=Reason.DONE, exit_code=0, seconds=9.0, cpu_s=9.0, peak_memory_bytes=8 * 10**12, written_bytes=10**15
    )
    for job in Planned(data, tmp_path / "tasks").plan.jobs[:1]:
        for step in job.steps:
            ledger.add(step, 1, ended)
    findings = look(data)
    assert only(findings, WARNING, "^the largest step, .* TB, and only .* is available now$")
    assert "smaller ROI" in only(findings, WARNING, "^all steps are predicted to write").remedy
    assert not told(findings, PROBLEM)


# --- packages ---------------------------------------------------------------------------------------------------


def test_a_package_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snaphu", None)
    assert "run_local.sh" in only(look(tmp_path, "packages"), PROBLEM, "^snaphu cannot be imported: ").remedy


def test_a_package_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snaphu-0.1.dist-info").mkdir()
    (tmp_path / "snaphu-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: snaphu\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert only(look(tmp_path, "packages"), PROBLEM, "^snaphu 0.1 is installed, topsar requires .*0.4")


def look_in_a_process(**environment: str) -> str:
    """What is shown of the packages under other variables."""
    code = """if True:
        from pathlib import Path
        from topsar.doctor import CHECKS, format_findings, examine
        checks = [check for check in CHECKS if check[0] == "packages"]
        print(format_findings(examine(env_file=None, data=Path("d"), pairs=Path("p"), flags={}, checks=checks)))"""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True).stdout


def test_a_cache_of_numba(tmp_path: Path) -> None:
    assert only(look(tmp_path, "packages"), OK, "^Numba keeps compiled kernels in /")
    shown = look_in_a_process(NUMBA_CACHE_LOCATOR_CLASSES="ZipCacheLocator")
    assert re.search(r"^packages +problem +Numba has no folder", shown, re.MULTILINE)
    assert "set NUMBA_CACHE_DIR to one" in shown


def test_a_stray_database_of_projections(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    shown = look_in_a_process(PROJ_DATA=str(tmp_path / "proj"), PROJ_LIB=str(tmp_path / "proj"))
    assert re.search(r"^packages +problem +EPSG:32629 cannot be looked up", shown, re.MULTILINE)
    assert "unset PROJ_DATA" in shown


# --- settings and credentials -----------------------------------------------------------------------------------


def test_each_broken_setting_is_told_and_the_rest_is_looked_at(data: Path, tmp_path: Path) -> None:
    env = tmp_path / "my.env"
    env.write_text("POSTING=wide\nUNWRAPER=none\n")
    findings = look(data, env=env, LOOKS="many")
    problems = [problem.text for problem in told(findings, PROBLEM)]
    assert len(problems) == 3
    assert any(re.search(r"my.env, line 1: POSTING = 'wide': expected", text) for text in problems)
    assert any("did you mean UNWRAPPER?" in text for text in problems)
    assert any(text.startswith("command line: LOOKS = 'many'") for text in problems)
    assert only(findings, NOTE, "settings cannot be used")
    assert only(findings, OK, "^3 pairs can be processed")


def test_settings_of_ones_own(tmp_path: Path) -> None:
    assert only(look(tmp_path, "settings", POSTING="40"), OK, "^1 setting of your own: POSTING$")


def test_an_env_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert only(look(tmp_path, "settings", env=tmp_path / "gone"), PROBLEM, "/gone cannot be read: No such file")
    (tmp_path / ".env").write_bytes(b"\x00\x01OPENTOPO_API_KEY=abc")
    assert only(look(tmp_path, "settings", env=tmp_path / ".env"), PROBLEM, "is not a text file")


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        ("OPENTOPO_API_KEY=abc\n", 0o644, True),
        ("OPENTOPO_API_KEY=abc\nPOSTING=40\n", 0o640, True),
        ("OPENTOPO_API_KEY=abc\n", 0o600, False),
        ("OPENTOPO_API_KEY=\nPOSTING=40\n", 0o644, False),
    ],
)
def test_a_key_that_others_can_read(tmp_path: Path, text: str, mode: int, warned: bool) -> None:
    env = tmp_path / ".env"
    env.write_text(text)
    env.chmod(mode)
    warnings = told(look(tmp_path, "credentials", env=env), WARNING, "others can read it")
    assert [warning.remedy for warning in warnings] == [f"chmod 600 {env}"] * warned


def write_netrc(tmp_path: Path, text: str, mode: int = 0o600) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / ".netrc").write_text(text)
    (tmp_path / "home" / ".netrc").chmod(mode)


def test_netrc(tmp_path: Path) -> None:
    write_netrc(tmp_path, "machine urs.earthdata.nasa.gov login me password secret\n", 0o644)
    assert only(look(tmp_path, "credentials"), WARNING, "others can read").remedy == f"chmod 600 {tmp_path}/home/.netrc"
    write_netrc(tmp_path, "machine urs.earthdata.nasa.gov login me password secret\n", 0o600)
    assert not told(look(tmp_path, "credentials"), WARNING)


@pytest.mark.parametrize("rest", ["", "POSTING=wide\nhunter2\n"])
def test_secrets_are_never_told(data: Path, tmp_path: Path, rest: str) -> None:
    env = tmp_path / ".env"
    env.write_text(f"OPENTOPO_API_KEY=hunter2\n{rest}")
    env.chmod(0o644)
    write_netrc(tmp_path, "machine urs.earthdata.nasa.gov login hunter2 password hunter2\n", 0o644)
    findings = look(data, env=env)
    assert len(told(findings, WARNING, "holds a secret")) == 1 + (not rest)
    assert "hunter2" not in format_findings(findings) + dump_findings(findings) + repr(findings)


# --- inputs -----------------------------------------------------------------------------------------------------


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    assert not told(look(tmp_path / "gone", "inputs"), PROBLEM, "raw")
    findings = look(tmp_path / "gone", "inputs", OFFLINE="1")
    assert "--data" in only(findings, PROBLEM, "^no .*/gone/raw$").remedy
    assert "--pairs" in only(findings, PROBLEM, "^no .*/pairs.txt$").remedy


def test_weather_that_is_missing_offline(data: Path) -> None:
    flags = {"OFFLINE": "1", "CORRECTIONS": "weather_troposphere"}
    found = only(look(data, "inputs", **flags), WARNING, "forbids to fetch GEOS-FP of 20")
    assert "TROPOSPHERE_DIR" in found.remedy
    assert not told(look(data, "inputs", **flags, TROPOSPHERE="files"), WARNING, "GEOS-FP")
    assert only(look(data, "inputs", CORRECTIONS="weather_troposphere"), NOTE, "a run will fetch: weather: GEOS-FP")
    assert only(look(data, "inputs", **flags, TROPOSPHERE="hrrr"), PROBLEM, "HRRR does not cover the pairs")


def test_each_bad_line_of_pairs(data: Path) -> None:
    list_pairs(data, "S1A_IW_SLC S1A_IW_SLC", *absent_pairs(1), "one")
    problems = [problem.text for problem in told(look(data, "inputs"), PROBLEM)]
    assert [text.split(":")[0] for text in problems] == ["line 1", "line 3"]
    list_pairs(data, "# none")
    assert only(look(data, "inputs"), PROBLEM, "lists no pairs$").remedy


def test_pairs_of_absent_products(data: Path) -> None:
    lines = (data / "pairs.txt").read_text().splitlines()
    list_pairs(data, *lines, *absent_pairs(25))
    findings = look(data, "inputs", OFFLINE="1")
    problems = told(findings, PROBLEM)
    assert len(problems) == 21
    assert re.match(rf"line {len(lines) + 1}: S1A_IW\S+: neither a .SAFE folder", problems[0].text)
    assert all(problem.remedy for problem in problems[:-1])
    assert problems[-1].text == "and 5 more like these"
    assert only(findings, OK, "^3 pairs of 3 products found$")


def test_orbits_of_lesser_kinds(data: Path) -> None:
    first, second, _ = sorted((data / "orbit_data").iterdir())
    first.rename(first.with_name(first.name.replace("POEORB", "RESORB")))
    second.unlink()
    findings = look(data, "inputs")
    assert only(findings, OK, "^1 pass with POEORB$")
    assert "OFFLINE=0" in only(findings, NOTE, r"^1 pass with RESORB.*: S1A 2025-03-03$").remedy
    assert "orbit_data" in only(findings, WARNING, r"^1 pass without an orbit file.*: S1A 2025-03-15$").remedy


def test_missing_dem(data: Path) -> None:
    (data / "dem" / "dem.tif").unlink()
    findings = look(data, OFFLINE="1")
    assert only(findings, PROBLEM).topic == "inputs"
    assert (
        "OFFLINE=0" in only(findings, PROBLEM, "have not been fetched yet, and OFFLINE=1 forbids the network$").remedy
    )


@pytest.mark.parametrize(
    ("flags", "model"),
    [
        ({}, "COP30, because OPENTOPO_API_KEY is not set"),
        ({"OPENTOPO_API_KEY": "abc"}, "SRTMGL1"),
        ({"OPENTOPO_API_KEY": "abc", "DEM": "nasadem"}, "NASADEM"),
    ],
)
def test_a_dem_to_be_fetched(data: Path, flags: dict[str, str], model: str) -> None:
    (data / "dem" / "dem.tif").unlink()
    findings = look(data, **flags)
    assert only(findings, NOTE, "^a run will fetch: height model ").text.endswith(f": height model {model}")
    assert only(findings, NOTE, "can be checked once the DEM is there: ")
    assert not told(findings, PROBLEM), format_findings(findings)
    assert not told(findings, WARNING, "height|DEM|memory")
    assert not told(findings, OK, "all inputs are there")
    assert format_findings(findings).splitlines()[-1].endswith(": a run can start")


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"DEM": "NASADEM"}, "OPENTOPO_API_KEY is not set"),
        ({"DEM": "COP30", "DEM_DATUM": "egm96"}, "^DEM_DATUM=egm96, and the heights of COP30"),
        ({"DEM": "EU_DTM"}, "^DEM=EU_DTM: no such file"),
    ],
)
def test_a_dem_that_cannot_be_fetched(data: Path, flags: dict[str, str], problem: str) -> None:
    (data / "dem" / "dem.tif").unlink()
    assert only(look(data, **flags), PROBLEM, problem).remedy


def test_scenes_to_be_fetched_without_an_account(data: Path) -> None:
    shutil.rmtree(data / "raw")
    findings = look(data)
    assert len(told(findings, NOTE, "^a run will fetch: scene S1A_IW_SLC__1SSV_2025")) == 3
    problem = only(findings, PROBLEM)
    assert problem.topic == "credentials"
    assert "no Earthdata account" in problem.text
    assert "EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or EARTHDATA_TOKEN" in problem.remedy
    assert "~/.netrc" in problem.remedy


def test_scenes_to_be_fetched_with_an_account(data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / "raw")
    by_token, by_name = {"EARTHDATA_TOKEN": "abc"}, {"EARTHDATA_USERNAME": "me", "EARTHDATA_PASSWORD": "secret"}
    for flags, origin in ((by_token, "EARTHDATA_TOKEN"), (by_name, "EARTHDATA_USERNAME and EARTHDATA_PASSWORD")):
        findings = look(data, **flags)
        assert not told(findings, PROBLEM), format_findings(findings)
        assert only(findings, OK, "^Earthdata account from ").text.endswith(f" {origin}")
    write_netrc(tmp_path, "machine urs.earthdata.nasa.gov login me password secret\n")
    findings = look(data)
    assert not told(findings, PROBLEM), format_findings(findings)
    assert only(findings, OK, f"^Earthdata account from {tmp_path}/home/.netrc$")
    assert len(told(findings, NOTE, "^a run will fetch: scene ")) == 3


def test_half_an_account(data: Path) -> None:
    shutil.rmtree(data / "raw")
    problem = only(look(data, EARTHDATA_USERNAME="me"), PROBLEM)
    assert problem.text == "EARTHDATA_USERNAME is set and EARTHDATA_PASSWORD is not"
    assert problem.remedy


def test_one_scene_to_be_fetched_leaves_what_else_is_wrong(data: Path) -> None:
    lines = (data / "pairs.txt").read_text().splitlines()
    list_pairs(data, *lines, *absent_pairs(1))
    (sorted((data / "raw").iterdir())[0] / "manifest.safe").unlink()
    findings = look(data, EARTHDATA_TOKEN="abc")
    assert len(told(findings, NOTE, "^a run will fetch: scene S1A_IW_SLC__1SDV_2024")) == 2
    assert len(told(findings, PROBLEM, "^line [0-9]+: .*manifest")) == 2
    assert only(findings, OK, "^1 pair of 2 products found$")


def test_offline_what_is_missing_is_a_problem(data: Path) -> None:
    shutil.rmtree(data / "raw")
    findings = look(data, OFFLINE="1")
    assert not told(findings, NOTE, "will fetch")
    assert only(findings, PROBLEM, "^no .*/raw$").remedy
    assert len(told(findings, PROBLEM, "^line [0-9]+: S1A_IW")) == 3


def test_offline_it_is_not_said_that_all_inputs_are_there(data: Path) -> None:
    shutil.rmtree(data / "raw")
    assert not told(look(data, "credentials", OFFLINE="1"), OK, "all inputs are there")


def test_the_doctor_fetches_and_writes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(data / "orbit_data")
    shutil.rmtree(data / "raw")
    monkeypatch.setattr("socket.socket", None)
    before = everything_in(data)
    findings = look(data, EARTHDATA_TOKEN="abc")
    assert not told(findings, PROBLEM), format_findings(findings)
    assert {path: state for path, state in everything_in(data).items() if path != str(data)} == {
        path: state for path, state in before.items() if path != str(data)
    }


def test_the_doctor_makes_no_folder_for_a_height_model(data: Path) -> None:
    (data / "dem" / "dem.tif").unlink()
    look(data, "inputs")
    assert list((data / "dem").iterdir()) == []


def test_dem_that_does_not_cover(data: Path) -> None:
    path = data / "dem" / "dem.tif"
    path.unlink()
    grid = GeoGrid.cover(BBox(west=1, south=1, east=1.1, north=1.1), crs="EPSG:4979", dx=0.01, dy=0.01)
    write_geotiff(
        path, np.zeros(grid.shape, np.float32), grid, nodata=math.nan, labels=Labels(unit="m", description="height")
    )
    problems = told(look(data), PROBLEM)
    assert {problem.topic for problem in problems} == {"engine"}
    assert len(problems) == 3
    assert all("dem.tif" in problem.text and problem.remedy for problem in problems)


def test_a_product_without_manifest(data: Path) -> None:
    (sorted((data / "raw").iterdir())[0] / "manifest.safe").unlink()
    assert len(told(look(data, "inputs"), PROBLEM, "^line [0-9]+: .*manifest")) == 2


def test_images_that_are_not_what_the_product_says(data: Path) -> None:
    assert only(look(data, "inputs"), OK, "^[0-9]+ images of the sizes")
    images = [next((scene / "measurement").iterdir()) for scene in sorted((data / "raw").iterdir())[:3]]
    content, other = images[1].read_bytes(), bytearray(images[2].read_bytes())
    other[:4] = b"PNG\0"
    for image in images:
        image.unlink()
    images[0].with_name("renamed.tiff").write_bytes(b"")
    images[1].write_bytes(content[:-7])
    images[2].write_bytes(other)
    findings = look(data, "inputs")
    for image, words in zip(images, ("is missing", rf"has {len(content) - 7} bytes", "cannot be read"), strict=True):
        assert len(told(findings, PROBLEM, rf"measurement/{image.name} {words}")) == 1


def test_an_image_of_another_size_than_annotated(data: Path) -> None:
    scene = sorted((data / "raw").iterdir())[0]
    image = next((scene / "measurement").iterdir())
    with rasterio.open(image) as dataset:
        values, profile = (
            dataset.read(1),
            dataset.profile | {"height": 2 * dataset.height, "gcps": dataset.gcps[0], "crs": "EPSG:4326"},
        )
    del profile["transform"]
    image.unlink()
    with rasterio.open(image, "w", **profile) as dataset:
        dataset.write(np.concatenate([values, values]), 1)
    list_again(image)
    assert len(told(look(data, "inputs"), PROBLEM, "the annotation says")) == 1


def test_a_pair_that_the_engine_refuses(data: Path) -> None:
    manifest = sorted((data / "raw").iterdir())[0] / "manifest.safe"
    rewrite(manifest, lambda text: re.sub(r'(relativeOrbitNumber type="start">)\d+', r"\g<1>8", text))
    findings = look(data, "engine")
    assert len(told(findings, PROBLEM, r"^T\d{3}_20250303\S+: .*of track 8")) == 2
    assert only(findings, OK, "^1 pair can be processed")


# --- engines ----------------------------------------------------------------------------------------------------


def test_an_engine_that_cannot_be_started(tmp_path: Path) -> None:
    findings = look(tmp_path, "engine", ENGINE="isce2", ISCE_HOME=str(tmp_path))
    assert "isce" in only(findings, PROBLEM, "^ISCE_HOME=").remedy


def test_isce2_is_named_with_its_version_and_asks_for_no_package_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "snaphu", None)
    findings = look(tmp_path, "engine", ENGINE="isce2", ISCE_HOME=str(ISCE_HOME), ISCE_PYTHON=sys.executable)
    only(findings, OK, "^isce2: ISCE2 2.6.5 in")
    assert not told(findings, PROBLEM, "UNWRAPPER")


def test_an_unwrapper_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "whirlwind", None)
    assert only(look(tmp_path, "engine", UNWRAPPER="whirlwind"), PROBLEM, "^UNWRAPPER=whirlwind is not").remedy
    assert not told(look(tmp_path, "engine", UNWRAPPER="none"), PROBLEM, "UNWRAPPER")


def test_a_program_of_time_series(tmp_path: Path) -> None:
    assert only(
        look(tmp_path, "engine", TIMESERIES="dolphin", TIMESERIES_PROGRAM="/nowhere"), PROBLEM, "no program"
    ).remedy
    for name, text in (("dolphin", "exit 0"), ("python", "echo 0.42.9")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    wanted = {"TIMESERIES": "phase-linking", "TIMESERIES_PROGRAM": str(tmp_path / "dolphin")}
    only(look(tmp_path, "engine", **wanted), OK, "dolphin 0.42.9 at .* starts, with osgeo")
    (tmp_path / "python").write_text("#!/bin/sh\necho \"No module named 'osgeo'\" >&2\nexit 1\n")
    assert "--with phase-linking" in only(look(tmp_path, "engine", **wanted), PROBLEM, "osgeo").remedy


def test_dask_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(look(tmp_path, "engine", EXECUTOR="dask"), PROBLEM, "DASK_SCHEDULER is not set$").remedy
    monkeypatch.setenv("PATH", "")
    assert only(look(tmp_path, "engine", EXECUTOR="dask", DASK_SCHEDULER="slurm"), PROBLEM, "no sbatch here$").remedy
    monkeypatch.setitem(sys.modules, "distributed", None)
    findings = look(tmp_path, "engine", EXECUTOR="dask", DASK_SCHEDULER="tcp://127.0.0.1:1")
    assert only(findings, PROBLEM, "^Dask is not installed").remedy == "install it: pip install 'topsar[dask]'"
    assert not told(look(tmp_path, "engine", DASK_SCHEDULER="tcp://127.0.0.1:1"), PROBLEM, "Dask")


def test_a_dask_scheduler_that_answers(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    argv = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    argv += ["--host", "127.0.0.1", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: file.exists() and file.read_text().endswith("}"), 30)
        address = json.loads(file.read_text())["address"]
        findings = look(tmp_path, "engine", EXECUTOR="dask", DASK_SCHEDULER=address)
    finally:
        scheduler.kill()
        scheduler.wait()
    assert only(findings, OK, f"^the Dask scheduler at {address} answers; it has 0 workers$")


# --- disk -------------------------------------------------------------------------------------------------------


def test_a_runs_folder_that_cannot_be_written(data: Path) -> None:
    (data / "runs").write_text("a file")
    assert only(look(data, "disk"), PROBLEM, "/runs cannot be written: Not a directory").remedy
    assert told(look(Path("/proc/data"), "disk"), PROBLEM, "^/proc cannot be written")


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    problem = only(look(tmp_path, "disk"), PROBLEM, ".lock cannot be locked: Operation not supported")
    assert "file system with locks" in problem.remedy


def test_what_all_pairs_write_and_the_largest(data: Path) -> None:
    text = only(look(data, "disk"), OK, "^all steps are predicted to write").text
    match = re.search(r"write (\S+) MB, those of the largest pair (\S+) MB$", text)
    assert match
    every, most = float(match[1]), float(match[2])
    assert most > 10
    assert 1.4 < every / most < 2  # three dates and three pairs; the largest needs two dates and itself


@pytest.mark.parametrize(
    ("free", "cleanup", "warned"),
    [(0.1, "scratch", "is less than"), (2.01, "scratch", "to write"), (2.06, "none", "to write"), (9.0, "none", "")],
)
def test_little_space(data: Path, monkeypatch: pytest.MonkeyPatch, free: float, cleanup: str, warned: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=int(free * 1e9)))
    warnings = told(look(data, "disk", CLEANUP=cleanup), WARNING)
    assert all(warning.remedy for warning in warnings)
    assert bool(told(tuple(warnings), WARNING, warned)) is bool(warned)
    assert only(look(data, "disk", DISK_RESERVE_GB="10"), WARNING, "^.* free for .* less than DISK_RESERVE_GB=10$")


@pytest.mark.parametrize(
    ("kind", "grade"), [("tmpfs", WARNING), ("nfs4", NOTE), ("9p", NOTE), ("ext4", OK), ("btrfs", OK)]
)
def test_kinds_of_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, grade: Grade) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    places = {"/": "xfs", str(tmp_path): "nfs", str(folder): kind, "/elsewhere": "tmpfs"}
    mounts = [SimpleNamespace(mountpoint=place, fstype=found) for place, found in places.items()]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: mounts)
    findings = look(folder, "disk")
    assert [one.grade for one in findings if f"({kind})" in one.text] == ([] if grade is OK else [grade])


def test_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two words").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "two words"))
    assert "TMPDIR" in only(look(tmp_path, "disk"), PROBLEM, "^SNAPHU cannot use the space in").remedy
    assert not told(look(tmp_path, "disk", UNWRAPPER="none"), PROBLEM, "SNAPHU")


def test_who_holds_the_runs_folder(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with hold_runs(runs):
        assert only(look(tmp_path, "disk"), NOTE, rf"^a run \(pid {os.getpid()} on .*\) is working in .*runs").remedy
        held = json.loads((runs / ".lock").read_text())
    assert not told(look(tmp_path, "disk"), NOTE, "run ")
    (runs / ".lock").write_text(json.dumps(held | {"birth": "1"}))
    assert not told(look(tmp_path, "disk"), NOTE, "run ")
    (runs / ".lock").write_text(json.dumps(held | {"host": "another"}))
    assert only(look(tmp_path, "disk"), NOTE, r"^a run \(pid \d+ on another\)")
