"""What the doctor finds, each finding provoked for real."""

from __future__ import annotations

import doctest
import json
import logging
import math
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dry_data import DAYS, dry_data, dry_recipe, rewrite
from topsar import doctor
from topsar.doctor import CHECKS, SHOWN, Finding, Grade, as_json, describe, worst
from topsar.model import BBox, GeoGrid
from topsar.raster import write_geotiff
from topsar.schedule import hold_runs
from topsar.settings import KEYS

PROBLEM, WARNING, NOTE, OK = Grade.PROBLEM, Grade.WARNING, Grade.NOTE, Grade.OK
Look = Callable[..., tuple[Finding, ...]]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
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


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Examine a folder, or one topic of it."""

    def examine(
        folder: Path, topic: str = "", *, env: Path | None = None, root: Path = Path("/"), **flags: str
    ) -> tuple[Finding, ...]:
        monkeypatch.setattr(doctor, "CHECKS", [check for check in CHECKS if topic in ("", check[0])])
        pairs = folder / "pairs.txt"
        return doctor.examine(env_file=env, data=folder, pairs=pairs, flags=flags, root=root, home=tmp_path / "home")

    return examine


def told(findings: tuple[Finding, ...], grade: Grade, pattern: str = "") -> list[Finding]:
    """Findings of a grade whose text matches."""
    return [one for one in findings if one.grade is grade and re.search(pattern, one.text)]


def only(findings: tuple[Finding, ...], grade: Grade, pattern: str = "") -> Finding:
    (finding,) = told(findings, grade, pattern)
    return finding


def fake_root(folder: Path, **files: str) -> Path:
    """Another machine: what its ``proc`` and ``sys`` say; ``__`` stands for a slash."""
    for name, text in files.items():
        path = folder / "root" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "root"


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
    look: Look, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {path: state for path, state in everything_in(data).items() if path != str(data)}
    findings = look(data)
    assert not told(findings, PROBLEM), describe(findings)
    assert {finding.topic for finding in findings} == {topic for topic, _ in CHECKS}
    assert only(findings, OK, "^3 pairs of 3 products found$")
    assert only(findings, OK, "^3 pairs can be processed")
    assert only(findings, OK, "^3 passes with POEORB$")
    assert describe(findings).splitlines()[-1].endswith(": a run can start")
    assert {path: state for path, state in everything_in(data).items() if path != str(data)} == before
    assert not caplog.records


def test_every_problem_at_once_and_nothing_stops(look: Look, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("POSTING=no\nPOSTIN=3\n")
    findings = look(tmp_path / "nowhere", env=env, MEMORY_GB="-1")
    assert {finding.topic for finding in findings} == {topic for topic, _ in CHECKS}
    problems = told(findings, PROBLEM)
    assert {"settings", "inputs"} == {problem.topic for problem in problems}
    assert all(problem.remedy for problem in problems)
    assert worst(findings) is PROBLEM
    assert describe(findings).splitlines()[-1].endswith("mend the problems first")


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_case: object) -> Iterator[object]:
        yield doctor._Said(OK, "so far")
        msg = "no such thing"
        raise LookupError(msg)

    monkeypatch.setattr(doctor, "CHECKS", [("first", broken), *(check for check in CHECKS if check[0] == "machine")])
    findings = doctor.examine(env_file=None, data=tmp_path, pairs=tmp_path, flags={})
    assert findings[:2] == (
        Finding("first", OK, "so far"),
        Finding("first", PROBLEM, "looking at this failed: LookupError: no such thing"),
    )
    assert len(findings) > 3


def test_a_broken_engine_leaves_the_other_checks(look: Look, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        msg = "compiled parts do not load"
        raise RuntimeError(msg)

    monkeypatch.setattr("topsar.engines.native.NativeEngine.plan", crash)
    findings = look(data)
    assert "engine" in {problem.topic for problem in told(findings, PROBLEM, "RuntimeError: compiled parts")}
    assert only(findings, OK, "^3 pairs of 3 products found$")
    assert told(findings, NOTE, r"\.netrc")


def test_the_log_is_as_loud_as_before(look: Look, data: Path) -> None:
    level = logging.getLogger("topsar.provision").level
    look(data, "inputs")
    assert logging.getLogger("topsar.provision").level == level


def test_the_table_is_aligned_and_says_each_remedy_once() -> None:
    long = "a text of many words that goes on and on " * 4
    findings = [
        Finding("a", PROBLEM, long, "one remedy"),
        Finding("a", PROBLEM, "short", "one remedy"),
        Finding("longer", NOTE, "good to know"),
    ]
    lines = describe(findings).splitlines()
    assert max(map(len, lines)) <= doctor.WIDTH
    column = lines[0].index("a text")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines[:-1])
    assert describe(findings).count("one remedy") == 1
    assert lines[-1] == "2 problems, 1 note: mend the problems first"
    assert describe([]) == "all is well: a run can start"


def test_programs_can_read_it() -> None:
    findings = [Finding("disk", WARNING, "tight", "free some"), Finding("disk", OK, "há espaço")]
    told = json.loads(as_json(findings))
    assert told["worst"] == "warning"
    assert told["findings"][0] == {"topic": "disk", "grade": "warning", "text": "tight", "remedy": "free some"}
    assert told["findings"][1]["text"] == "há espaço"


def test_worst() -> None:
    assert worst([]) is OK
    every = [Finding("x", grade, "") for grade in (NOTE, PROBLEM, WARNING, OK)]
    assert [worst(every[:1]), worst(every[2:]), worst(every)] == [NOTE, WARNING, PROBLEM]


def test_examples() -> None:
    assert doctest.testmod(doctor) == (0, 2)


# --- machine ----------------------------------------------------------------------------------------------------


def test_another_system(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    assert "WSL2" in only(look(tmp_path, "machine"), PROBLEM, "^Plan9 .* needs Linux").remedy


def test_wsl_is_told_where_data_lie_on_a_drive_of_windows(look: Look, tmp_path: Path) -> None:
    root = fake_root(tmp_path, proc__sys__kernel__osrelease="5.15.167.4-microsoft-standard-WSL2\n")
    assert "~/data" in only(look(Path("/mnt/c/insar"), "machine", root=root), NOTE, "^WSL2").remedy
    assert not told(look(tmp_path, "machine", root=root), NOTE, "^WSL2")


@pytest.mark.parametrize("mark", [".dockerenv", "run__.containerenv", "proc__self__cgroup"])
def test_a_container(look: Look, tmp_path: Path, mark: str) -> None:
    assert not told(look(tmp_path, "machine", root=tmp_path), NOTE, "container")
    assert only(look(tmp_path, "machine", root=fake_root(tmp_path, **{mark: "0::/kubepods/a\n"})), NOTE, "container:")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_quota_of_cores(look: Look, tmp_path: Path) -> None:
    root = fake_root(tmp_path, proc__self__cgroup="0::/a\n", sys__fs__cgroup__a__cpu_max="")
    (root / "sys/fs/cgroup/a/cpu.max").write_text("100000 100000\n")
    assert only(look(tmp_path, "machine", root=root), NOTE, r"^1 of \d+ cores")


@pytest.mark.parametrize(
    ("name", "low", "text", "remedy"),
    [
        (resource.RLIMIT_NOFILE, 200, "only 200 files", "ulimit -n"),
        (resource.RLIMIT_AS, 1 << 45, "use 35184.4 GB at most", "ulimit -v"),
        (resource.RLIMIT_FSIZE, 1 << 41, "files of 2199.0 GB at most", "ulimit -f"),
    ],
)
def test_limits_of_the_process(look: Look, tmp_path: Path, name: int, low: int, text: str, remedy: str) -> None:
    soft, hard = resource.getrlimit(name)
    resource.setrlimit(name, (low, hard))
    try:
        findings = look(tmp_path, "machine")
    finally:
        resource.setrlimit(name, (soft, hard))
    assert remedy in only(findings, WARNING, text).remedy


def test_a_clock_that_is_behind(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = max(path.stat().st_mtime for path in Path(doctor.__file__).parent.rglob("*.py"))
    for now, wrong in ((0.0, True), (written - 10 * 86400, True), (written + 60, False)):
        clock = SimpleNamespace(time=lambda now=now: now, gmtime=time.gmtime, strftime=time.strftime)
        monkeypatch.setattr(doctor, "time", clock)
        assert bool(told(look(tmp_path, "machine"), WARNING, "^the clock says")) is wrong


# --- memory -----------------------------------------------------------------------------------------------------


def cgroup(folder: Path, limit: int, use: int) -> Path:
    root = fake_root(folder, proc__self__cgroup="0::/a\n", proc__meminfo="SwapTotal:       2097148 kB\n")
    group = root / "sys/fs/cgroup/a"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{use}\n")
    return root


def test_more_memory_asked_than_there_is(look: Look, tmp_path: Path) -> None:
    assert only(look(tmp_path, "memory", MEMORY_GB="100000"), WARNING, "^MEMORY_GB=100000 is more").remedy


def test_a_step_that_can_never_fit(look: Look, data: Path) -> None:
    problem = only(look(data, "memory", MEMORY_GB="0.1"), PROBLEM, "^the largest step, .* 0.100 GB is all there can be")
    assert "POSTING" in problem.remedy


def test_limits_of_a_container(look: Look, data: Path, tmp_path: Path) -> None:
    findings = look(data, "memory", root=cgroup(tmp_path, 200_000_000, 0))
    assert only(findings, NOTE, r"allows 0.200 GB of")
    assert only(findings, PROBLEM, "^the largest step, .* 0.200 GB is all")


def test_a_step_that_does_not_fit_now(look: Look, data: Path, tmp_path: Path) -> None:
    findings = look(data, "memory", root=cgroup(tmp_path, 1_000_000_000, 900_000_000))
    assert "end other programs" in only(findings, WARNING, "only 0.100 GB is available now").remedy
    assert not told(findings, PROBLEM)


def test_swap(look: Look, tmp_path: Path) -> None:
    assert only(look(tmp_path, "memory", root=cgroup(tmp_path, 1 << 40, 0)), NOTE, "^2.1 GB of swap")
    assert only(look(tmp_path, "memory", root=tmp_path), NOTE, "^no swap$")


# --- packages ---------------------------------------------------------------------------------------------------


def test_a_package_that_cannot_be_imported(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snaphu", None)
    assert "run_local.sh" in only(look(tmp_path, "packages"), PROBLEM, "^snaphu cannot be imported: ").remedy


def test_a_package_that_is_too_old(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snaphu-0.1.dist-info").mkdir()
    (tmp_path / "snaphu-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: snaphu\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert only(look(tmp_path, "packages"), PROBLEM, "^snaphu 0.1 is installed, topsar requires .*0.4")


def test_versions_are_passed_over_where_nothing_can_compare_them(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    monkeypatch.setitem(sys.modules, "snaphu", None)
    assert only(look(tmp_path, "packages"), PROBLEM).text.startswith("snaphu cannot be imported")


def test_a_cache_of_numba_that_cannot_be_written(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", "/proc/cache")
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "/proc/cache")
    assert "NUMBA_CACHE_DIR" in only(look(tmp_path, "packages"), WARNING, "^NUMBA_CACHE_DIR=/proc/cache cannot").remedy


def test_a_cache_of_numba_is_left_as_it_was(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    assert only(look(tmp_path, "packages"), OK, f"^Numba compiles and keeps .* {tmp_path / 'cache'}/")
    assert not list((tmp_path / "cache").iterdir())


def test_no_place_for_what_numba_compiles(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {}
    exec("def one(value):\n    return value + 1\n", names)  # Numba keeps nothing of what has no file
    monkeypatch.setattr(doctor, "_plus_one", names["one"])
    assert only(look(tmp_path, "packages"), PROBLEM, "^Numba has no folder").remedy == "set NUMBA_CACHE_DIR to one"


def test_a_stray_database_of_projections(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    code = """if True:
        from pathlib import Path
        from topsar import doctor
        doctor.CHECKS = [("packages", doctor._rasters)]
        print(doctor.describe(doctor.examine(env_file=None, data=Path("d"), pairs=Path("p"), flags={})))"""
    stray = os.environ | {"PROJ_DATA": str(tmp_path / "proj"), "PROJ_LIB": str(tmp_path / "proj")}
    shown = subprocess.run([sys.executable, "-c", code], env=stray, check=True, capture_output=True, text=True).stdout
    assert re.search(r"^packages +problem +rasterio cannot write and read a GeoTIFF", shown)
    assert "unset PROJ_DATA" in shown


# --- settings and credentials -----------------------------------------------------------------------------------


def test_each_broken_setting_is_told_and_the_rest_is_looked_at(look: Look, data: Path, tmp_path: Path) -> None:
    env = tmp_path / "my.env"
    env.write_text("POSTING=wide\nUNWRAPER=none\n")
    findings = look(data, env=env, LOOKS="many")
    problems = [problem.text for problem in told(findings, PROBLEM)]
    assert len(problems) == 3
    assert any(re.search(r"my.env, line 1: POSTING = 'wide': expected", text) for text in problems)
    assert any("did you mean UNWRAPPER?" in text for text in problems)
    assert any(text.startswith("command line: LOOKS = 'many'") for text in problems)
    assert only(findings, NOTE, "with the default settings")
    assert only(findings, OK, "^3 pairs can be processed")


def test_settings_of_ones_own(look: Look, tmp_path: Path) -> None:
    findings = look(tmp_path, "settings", POSTING="40")
    assert only(findings, OK, "^1 setting of your own: POSTING$")
    assert ".env.example" in only(findings, NOTE, "^no .env$").remedy


def test_an_env_file_that_is_not_there(look: Look, tmp_path: Path) -> None:
    assert "--env" in only(look(tmp_path, "settings", env=tmp_path / "gone"), PROBLEM, "^no .*gone$").remedy


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        ("OPENTOPO_API_KEY=abc\n", 0o644, True),
        ("OPENTOPO_API_KEY=abc\nPOSTING=wide\n", 0o640, True),
        ("OPENTOPO_API_KEY=abc\n", 0o600, False),
        ("OPENTOPO_API_KEY=\nPOSTING=40\n", 0o644, False),
    ],
)
def test_a_key_that_others_can_read(look: Look, tmp_path: Path, text: str, mode: int, warned: bool) -> None:
    env = tmp_path / ".env"
    env.write_text(text)
    env.chmod(mode)
    warnings = told(look(tmp_path, "settings", env=env), WARNING, "others can read it")
    assert [warning.remedy for warning in warnings] == [f"chmod 600 {env}"] * warned


def test_an_env_file_that_is_no_text(look: Look, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\x00\x01OPENTOPO_API_KEY=abc")
    assert only(look(tmp_path, "settings", env=tmp_path / ".env"), PROBLEM, "is not a text file")


def test_whether_the_key_is_set(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(look(tmp_path, "credentials"), NOTE, "^OPENTOPO_API_KEY is not set")
    monkeypatch.setenv("OPENTOPO_API_KEY", "abc")
    assert only(look(tmp_path, "credentials"), NOTE, "^OPENTOPO_API_KEY is set")


def write_netrc(tmp_path: Path, text: str, mode: int = 0o600) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / ".netrc").write_text(text)
    (tmp_path / "home" / ".netrc").chmod(mode)


def test_netrc(look: Look, tmp_path: Path) -> None:
    assert only(look(tmp_path, "credentials"), NOTE, r"^no .*/home/.netrc")
    write_netrc(tmp_path, "machine urs.earthdata.nasa.gov login me password secret\n", 0o644)
    findings = look(tmp_path, "credentials")
    assert only(findings, WARNING, "^others can read").remedy == f"chmod 600 {tmp_path}/home/.netrc"
    assert only(findings, NOTE, "has an entry for urs.earthdata.nasa.gov")
    write_netrc(tmp_path, "machine example.org login me password secret\n")
    findings = look(tmp_path, "credentials")
    assert only(findings, NOTE, "has no entry for urs.earthdata.nasa.gov")
    assert not told(findings, WARNING)
    write_netrc(tmp_path, "machine example.org login me password secret\n\nthe password is tiramisu\n")
    assert only(look(tmp_path, "credentials"), WARNING, r"\.netrc(, line \d+)?: cannot be understood").remedy


@pytest.mark.parametrize("rest", ["", "POSTING=wide\nhunter2\n"])
@pytest.mark.parametrize("netrc_rest", ["", "hunter2 hunter2\n"])
def test_secrets_are_never_told(look: Look, data: Path, tmp_path: Path, rest: str, netrc_rest: str) -> None:
    env = tmp_path / ".env"
    env.write_text(f"OPENTOPO_API_KEY=hunter2\n{rest}")
    env.chmod(0o644)
    write_netrc(tmp_path, f"machine urs.earthdata.nasa.gov login hunter2 password hunter2\n{netrc_rest}", 0o644)
    findings = look(data, env=env)
    assert told(findings, WARNING, "holds a key")
    assert len(told(findings, WARNING, r"\.netrc")) == 1 + bool(netrc_rest)
    assert "hunter2" not in describe(findings) + as_json(findings) + repr(findings)


# --- inputs -----------------------------------------------------------------------------------------------------


def test_folders_that_are_not_there(look: Look, tmp_path: Path) -> None:
    assert only(look(tmp_path / "gone", "inputs"), PROBLEM, "^no data folder .*/gone$").remedy
    assert only(look(tmp_path, "inputs"), PROBLEM, "^no .*/raw$").remedy
    assert "--pairs" in only(look(tmp_path, "inputs"), PROBLEM, "^no .*/pairs.txt$").remedy


def test_each_bad_line_of_pairs(look: Look, data: Path) -> None:
    list_pairs(data, "S1A_IW_SLC S1A_IW_SLC", *absent_pairs(1), "one")
    problems = [problem.text for problem in told(look(data, "inputs"), PROBLEM)]
    assert [text.split(":")[0] for text in problems] == ["pairs.txt, line 1", "pairs.txt, line 3"]
    list_pairs(data, "# none")
    assert only(look(data, "inputs"), PROBLEM, "lists no pairs$").remedy


def test_pairs_of_absent_products(look: Look, data: Path) -> None:
    lines = (data / "pairs.txt").read_text().splitlines()
    list_pairs(data, *lines, *absent_pairs(SHOWN + 5))
    findings = look(data, "inputs")
    problems = told(findings, PROBLEM)
    assert len(problems) == SHOWN + 1
    assert re.match(rf"line {len(lines) + 1}: S1A_IW\S+: neither a .SAFE folder", problems[0].text)
    assert all(problem.remedy for problem in problems[:-1])
    assert problems[-1].text == "and 5 more like these"
    assert only(findings, OK, "^3 pairs of 3 products found$")


def test_products_in_no_pair(look: Look, data: Path) -> None:
    assert not told(look(data, "inputs"), NOTE)
    lines = [line for line in (data / "pairs.txt").read_text().splitlines() if "20250327" not in line]
    list_pairs(data, *lines)
    (data / "raw" / "read me.txt").write_text("")
    name = absent_pairs(1)[0].split()[0]
    (data / "raw" / f"{name}.zip").write_text("")
    assert only(look(data, "inputs"), NOTE, rf"^2 products in raw in no pair: {name}, S1A\S+20250327\S+$")


def test_orbits_of_lesser_kinds(look: Look, data: Path) -> None:
    first, second, _ = sorted((data / "orbit_data").iterdir())
    first.rename(first.with_name(first.name.replace("POEORB", "RESORB")))
    second.unlink()
    findings = look(data, "inputs")
    assert only(findings, OK, "^1 pass with POEORB$")
    assert "20 days" in only(findings, NOTE, r"^1 pass with RESORB.*: S1A 2025-03-03$").remedy
    assert "orbit_data" in only(findings, WARNING, r"^1 pass without an orbit file.*: S1A 2025-03-15$").remedy


def test_missing_dem(look: Look, data: Path) -> None:
    (data / "dem" / "dem.tif").unlink()
    findings = look(data)
    assert only(findings, PROBLEM).topic == "inputs"
    assert only(findings, PROBLEM, "^no DEM in").remedy


def test_dem_that_does_not_cover(look: Look, data: Path) -> None:
    path = data / "dem" / "dem.tif"
    path.unlink()
    grid = GeoGrid.covering(BBox(west=1, south=1, east=1.1, north=1.1), crs="EPSG:4979", dx=0.01, dy=0.01)
    write_geotiff(path, np.zeros(grid.shape, np.float32), grid, nodata=math.nan, unit="m", description="height")
    problems = told(look(data), PROBLEM)
    assert {problem.topic for problem in problems} == {"engine"}
    assert len(problems) == 3
    assert all("dem.tif" in problem.text and problem.remedy for problem in problems)


def test_a_product_without_manifest(look: Look, data: Path) -> None:
    (sorted((data / "raw").iterdir())[0] / "manifest.safe").unlink()
    assert len(told(look(data, "inputs"), PROBLEM, "^line [0-9]+: .*manifest")) == 2


def test_a_pair_that_the_engine_refuses(look: Look, data: Path) -> None:
    manifest = sorted((data / "raw").iterdir())[0] / "manifest.safe"
    rewrite(manifest, lambda text: text.replace(">ASCENDING<", ">DESCENDING<"))
    findings = look(data, "engine")
    assert len(told(findings, PROBLEM, r"^T\d{3}_20250303\S+: .*descending")) == 2
    assert only(findings, OK, "^1 pair can be processed")


# --- engines ----------------------------------------------------------------------------------------------------


def test_an_engine_that_is_not_driven(look: Look, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "topsApp.py"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    findings = look(tmp_path, "engine", ENGINE="isce2")
    assert "ENGINE=native" in only(findings, PROBLEM, "^ENGINE=isce2").remedy
    assert only(findings, NOTE, f"^ISCE2 is installed .{program}.")
    monkeypatch.setenv("PATH", "")
    assert only(look(tmp_path, "engine"), NOTE, "^ISCE2 is not installed")


def test_an_unwrapper_that_is_not_installed(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "whirlwind", None)
    assert only(look(tmp_path, "engine", UNWRAPPER="whirlwind"), PROBLEM, "^UNWRAPPER=whirlwind is not").remedy
    assert not told(look(tmp_path, "engine", UNWRAPPER="none"), PROBLEM)


def test_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        settings = SimpleNamespace(executor="dask", dask_scheduler=f"tcp://me:hunter2@127.0.0.1:{port}")
        monkeypatch.setattr(doctor, "load_settings", lambda **_: settings)
        monkeypatch.setattr(doctor, "CHECKS", [("engine", doctor._executor)])
        monkeypatch.setitem(sys.modules, "distributed", None)
        findings = doctor.examine(env_file=None, data=tmp_path, pairs=tmp_path, flags={})
        assert only(findings, PROBLEM, "distributed is not installed").remedy == "pip install 'topsar[dask]'"
        assert only(findings, OK, f"^the scheduler at 127.0.0.1:{port} answers$")
    findings = doctor.examine(env_file=None, data=tmp_path, pairs=tmp_path, flags={})
    assert "DASK_SCHEDULER" in only(findings, PROBLEM, "^the scheduler at 127.0.0.1 does not answer").remedy
    settings.executor = "local"
    assert doctor.examine(env_file=None, data=tmp_path, pairs=tmp_path, flags={}) == ()


# --- disk -------------------------------------------------------------------------------------------------------


def test_a_runs_folder_that_cannot_be_written(look: Look, data: Path) -> None:
    (data / "runs").write_text("a file")
    assert only(look(data, "disk"), PROBLEM, "/runs cannot be written: Not a directory").remedy
    assert told(look(Path("/proc/data"), "disk"), PROBLEM, "^/proc cannot be written")


def test_a_disk_without_locks(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    problem = only(look(tmp_path, "disk"), PROBLEM, "cannot be locked: Operation not supported")
    assert "file system with locks" in problem.remedy


def test_scratch_of_all_pairs_and_of_the_largest(look: Look, data: Path) -> None:
    (text,) = (one.text for one in look(data, "disk") if "of scratch is predicted" in one.text)
    match = re.search(r"; (\S+) GB of scratch is predicted, of which (\S+) GB at once", text)
    assert match
    total, share = float(match[1]), float(match[2])
    assert share > 0.01
    assert total == pytest.approx(share * 3 / 2, rel=0.05)  # three dates, of which a pair needs two


def test_little_space(look: Look, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = os.statvfs(data)
    room = SimpleNamespace(f_bavail=10_000, f_frsize=4096, f_files=disk.f_files or 1, f_favail=9)
    monkeypatch.setattr("os.statvfs", lambda _: room)
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 0)
    findings = look(data, "disk")
    assert "smaller ROI" in only(findings, WARNING, "^0.041 GB free .* of scratch is predicted").remedy
    assert only(findings, WARNING, "room for only 9 files").remedy


@pytest.mark.parametrize(
    ("kind", "grade"), [("tmpfs", WARNING), ("nfs4", NOTE), ("9p", NOTE), ("ext4", OK), ("btrfs", OK)]
)
def test_kinds_of_file_systems(look: Look, tmp_path: Path, kind: str, grade: Grade) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    above, here = (str(place).replace(" ", "\\040") for place in (tmp_path, folder))
    table = f"""22 1 8:1 / / rw,relatime shared:1 - xfs /dev/sda1 rw
23 22 0:5 / {above} rw - nfs host:/old rw
24 23 0:6 / {here} rw,relatime shared:2 master:3 - {kind} source rw
25 22 0:7 / /elsewhere rw - tmpfs tmpfs rw
"""
    findings = look(folder, "disk", root=fake_root(tmp_path, proc__self__mountinfo=table))
    assert [one.grade for one in findings if f"({kind})" in one.text] == ([] if grade is OK else [grade])


def test_temporary_files(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two words").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "two words"))
    assert "TMPDIR" in only(look(tmp_path, "disk"), PROBLEM, "^SNAPHU cannot use the space in").remedy
    assert not told(look(tmp_path, "disk", UNWRAPPER="none"), PROBLEM)
    monkeypatch.setattr(doctor, "LITTLE_SCRATCH", 1 << 62)
    assert only(look(tmp_path, "disk", UNWRAPPER="none"), WARNING, "for temporary files in .*two words").remedy


def test_who_holds_the_runs_folder(look: Look, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with hold_runs(runs) as mark:
        assert only(look(tmp_path, "disk"), NOTE, rf"^a run \(pid {os.getpid()} on .*\) is working in .*runs").remedy
        held = json.loads((runs / ".lock").read_text())
        assert held["mark"] == mark
    assert not told(look(tmp_path, "disk"), NOTE, "run ")
    (runs / ".lock").write_text(json.dumps(held | {"birth": "1"}))
    assert only(look(tmp_path, "disk"), NOTE, r"^the last run \(pid .* died in .*; the next one resumes it$")
    (runs / ".lock").write_text(json.dumps(held | {"host": "another"}))
    assert "look on another" in only(look(tmp_path, "disk"), NOTE, r"^a run \(pid \d+ on another\) holds").remedy
