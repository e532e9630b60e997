from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import topsar
from dry_data import DAYS, dry_data, dry_recipe
from topsar import cli
from topsar.api import PlannedRun
from topsar.errors import ProvisionError, SettingsError, StepFailed
from topsar.model import Direction
from topsar.pairs.listing import read_pairs
from topsar.pairs.network import Rules
from topsar.provision import Search, Services
from topsar.schedule.cleanup import Removable
from topsar.schedule.jobs import Event, Outcome, Resources, Status
from topsar.schedule.record import Beginning, PlannedJob, PlannedStep, Recorder
from topsar.schedule.rehearsal import Preview, Rehearsal
from topsar.settings import KEYS, Settings
from topsar.simulate.compare import Comparison
from topsar.simulate.recipe import SwathCut

VERBS = (
    "run",
    "stack",
    "plan",
    "pairs",
    "status",
    "doctor",
    "clean",
    "check",
    "timeseries",
    "demo",
    "settings",
    "simulate",
)
Main = Callable[..., int]
NARROW = SwathCut(swath="IW2", first_sample=500, samples=300)
SCENES = (
    "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1",
    "S1A_IW_SLC__1SDV_20230916T063730_20230916T063757_050349_060FC7_1B2C",
)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, an environment without our keys, and the process's logging left as it was."""
    monkeypatch.chdir(tmp_path)
    for key in KEYS:
        monkeypatch.delenv(key.name, raising=False)
    loggers = [logging.getLogger(name) for name in (None, "topsar", "dotenv")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


COMPARISON = Comparison(
    pair="a", pixels=1, mean_rad=0.0, deviation_rad=0.066, expected_rad=0.067, tilt_rad=0.0, seam_rad=0.0
)
PREVIEW = Preview(
    jobs=(
        PlannedJob(
            id="a",
            title="pair a",
            is_pair=True,
            steps=(PlannedStep(name="filter", status=Status.WAITING, why="not done yet", memory_bytes=406_000_000),),
        ),
    ),
    rehearsal=Rehearsal(seconds=95.0, peak_memory_bytes=406_000_000, peak_disk_bytes=0, starts={}),
    is_timed=True,
    capacity=Resources(memory_bytes=8_000_000_000, threads=2, disk_bytes=10**10),
    needed=frozenset(),
)


class Workflow(ModuleType):
    """Stands in for `topsar.workflow`, `topsar.demo` and `topsar.step`, and remembers how it was called."""

    def __init__(self) -> None:
        super().__init__("topsar.workflow")
        self.calls: list[tuple[str, Any]] = []
        self.outcomes: tuple[Outcome, ...] = ()
        self.refused: tuple[tuple[str, str], ...] = ()
        self.missing: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.kept: Path | None = None
        self.error: BaseException | None = None

    def _called(self, name: str, *given: object) -> None:
        self.calls.append((name, given))
        if self.error:
            raise self.error

    def run(self, settings: object, services: object, *, pairs: object = None) -> tuple[Outcome, ...]:
        self._called("run", settings, services, *([] if pairs is None else [pairs]))
        return self.outcomes

    def plan(self, pairs: Path, settings: Settings, *, cores: int | None, memory_gb: float | None) -> PlannedRun:
        self._called("plan", pairs, settings, *filter(None, (cores, memory_gb)))
        return PlannedRun(missing=self.missing, refused=self.refused, preview=PREVIEW)

    def list_pairs(
        self, settings: object, rules: Rules, *, search: Search | None, services: Services, force: bool
    ) -> tuple[SimpleNamespace, Path | None]:
        self._called("pairs", settings, rules, search, services, force)
        return SimpleNamespace(connections=("one", "other"), notes=self.notes), self.kept

    def demo(self, folder: Path, *, size: str, flags: dict[str, str]) -> SimpleNamespace:
        self._called("demo", folder, size, flags)
        return SimpleNamespace(outcomes=self.outcomes, comparisons=(COMPARISON,), closures=())

    def simulate(self, folder: Path, *, size: str, seed: int) -> None:
        self._called("simulate", folder, size, seed)

    def clean(self, settings: object, *, dry_run: bool) -> tuple[Removable, ...]:
        self._called("clean", settings, dry_run)
        return (Removable(path=Path("data/runs/d/slc"), size=31_200_000, why="scratch, and no step needs it"),)

    def execute_step(self, job_file: Path, step: str) -> None:
        self._called("step", job_file, step)


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch) -> Workflow:
    fake = Workflow()
    monkeypatch.setattr("topsar.api.plan", fake.plan)
    monkeypatch.setattr("topsar.demo.run_demo", fake.demo)
    monkeypatch.setattr("topsar.demo.simulate_data", fake.simulate)
    monkeypatch.setitem(sys.modules, "topsar.workflow", fake)
    monkeypatch.setattr(topsar, "workflow", fake, raising=False)
    monkeypatch.setattr("topsar.step.execute_step", fake.execute_step)
    return fake


def pair(name: str, status: Status, message: str = "") -> Outcome:
    return Outcome(job=name, title=name, status=status, is_pair=True, message=message)


@pytest.mark.parametrize("verb", [*VERBS, "step"])
def test_help_of_a_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"EXAMPLES\n  topsar {verb}" in shown


def test_help_lists_the_verbs_but_not_the_hidden_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert {line.split()[0] for line in shown.splitlines() if line.startswith("    ")} >= set(VERBS)
    assert "step" not in shown


def test_help_explains_every_key_but_the_secret_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    shown = capsys.readouterr().out
    for key in KEYS:
        assert (f"{key.flag} VALUE" in shown and key.meaning in shown and key.allowed in shown) is not key.secret


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"topsar {topsar.__version__}\n"


@pytest.mark.parametrize(
    "argv", [["walk"], ["run", "--worker", "2"], ["run", "-o", "WORKERS"], ["simulate"], ["step"], ["run", "extra"]]
)
def test_wrong_usage_ends_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2


def test_no_verb_shows_the_help_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "EXAMPLES" in capsys.readouterr().err


def test_run_passes_settings_on(tmp_path: Path, workflow: Workflow) -> None:
    workflow.outcomes = (pair("a", Status.DONE), pair("b", Status.CACHED))
    (tmp_path / "my.env").write_text("RETRIES=1\nWORKERS=1\n", encoding="utf-8")
    argv = ["run", "--data", "there", "--pairs", "my pairs.txt", "--env", "my.env", "-o", "WORKERS=9", "--workers", "3"]
    assert cli.main([*argv, "--roi", "-3,-2,-37,-36", "--esd", "-.01", "-o", "POSTING=40", "--filter-strength=0"]) == 0
    ((name, (settings, services)),) = workflow.calls
    assert name == "run"
    assert services == Services()
    assert (settings.data, settings.pairs) == (tmp_path / "there", tmp_path / "my pairs.txt")
    assert (settings.workers, settings.retries, settings.posting_m, settings.esd) == (3, 1, 40, -0.01)
    assert (settings.roi.south, settings.roi.east, settings.filter_strength) == (-3, -36, 0)


def test_run_takes_the_env_file_of_the_folder(tmp_path: Path, workflow: Workflow) -> None:
    workflow.outcomes = (pair("a", Status.DONE),)
    (tmp_path / ".env").write_text("WORKERS=5\n", encoding="utf-8")
    assert cli.main(["run"]) == 0
    settings = workflow.calls[0][1][0]
    assert settings.workers == 5
    assert (settings.data, settings.pairs) == (tmp_path / "data", tmp_path / "pairs.txt")


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([Status.DONE, Status.CACHED], 0),
        ([Status.DONE, Status.FAILED], 1),
        ([Status.BLOCKED], 1),
        ([], 1),
        ([Status.DONE, Status.INTERRUPTED], 130),
    ],
)
def test_exit_code_of_run(
    statuses: list[Status], code: int, workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Outcome(job="scene", title="scene", status=Status.CACHED, is_pair=False)
    workflow.outcomes = (scene, *(pair(f"pair {n}", status, "see log") for n, status in enumerate(statuses)))
    assert cli.main(["run"]) == code
    shown = capsys.readouterr()
    done = sum(status in {Status.DONE, Status.CACHED} for status in statuses)
    assert f"{done} of {len(statuses)} pairs done" in shown.out
    for number, status in enumerate(statuses):
        assert (f"pair {number}: {status.value}. see log" in shown.err) == (status.value not in {"done", "cached"})


def test_what_to_beware_of_in_a_pair_that_is_done_is_said(
    tmp_path: Path, workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.outcomes = (pair("pair 0", Status.DONE, ""), pair("pair 1", Status.DONE, ""))
    products = tmp_path / "data" / "runs" / workflow.outcomes[1].job / "products"
    products.mkdir(parents=True)
    (products / "facts.json").write_text(json.dumps({"remarks": ["there is no signal"]}))
    assert cli.main(["run"]) == 0
    assert capsys.readouterr().err.count("pair 1: done, but there is no signal") == 1


def test_a_stack_is_a_run_in_radar_geometry_of_scenes_or_of_the_list(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    date = Outcome(job="radar_stack_T008_VV_20230904", title="ground", status=Status.DONE, is_pair=False)
    workflow.outcomes = (date, replace(date, job="another"))
    name = "S1A_IW_SLC__1SDV_202309{}T063730_202309{}T063757_050{}_0609E3_DAA1"
    scenes = [name.format("04", "04", 174), name.format("16", "16", 349)]
    assert cli.main(["stack", *scenes, "--posting", "40"]) == 0
    assert cli.main(["stack", "--interferograms", "2"]) == 0
    (_, (first, _, pairs)), (_, (second, _)) = workflow.calls
    assert [one.grid for one in (first, second)] == ["radar", "radar"]
    assert [one.interferograms for one in (first, second)] == [0, 2]
    assert [(line.reference, line.secondary) for line in pairs] == [((scenes[0],), (scenes[1],))]
    assert "2 of 2 jobs done" in capsys.readouterr().out
    workflow.outcomes = (replace(date, status=Status.FAILED, message="disk full"), date)
    assert cli.main(["stack"]) == 1
    assert "1 of 2 jobs done" in capsys.readouterr().out


def test_a_failed_job_that_is_no_pair_fails_the_run(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    stack = Outcome(job="stack", title="stack of track 8", status=Status.FAILED, is_pair=False, message="disk full")
    workflow.outcomes = (pair("pair 0", Status.DONE, ""), stack)
    assert cli.main(["run"]) == 1
    shown = capsys.readouterr()
    assert "1 of 1 pairs done" in shown.out
    assert "stack of track 8: failed. disk full" in shown.err


@pytest.mark.parametrize(
    ("error", "code"), [(SettingsError("bad line", hint="mend it"), 2), (ProvisionError("no DEM"), 1)]
)
def test_an_error_is_one_message_without_traceback(
    error: Exception, code: int, workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.error = error
    assert cli.main(["run"]) == code
    assert capsys.readouterr().err == f"error: {error}\n"
    assert cli.main(["run", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


def test_a_bad_setting_starts_nothing(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--workers", "many"]) == 2
    assert not workflow.calls
    assert "command line: WORKERS = 'many': expected auto or a whole number from 1" in capsys.readouterr().err


def test_a_missing_env_file_starts_nothing(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--env", "nowhere.env"]) == 2
    assert not workflow.calls
    assert "nowhere.env cannot be read" in capsys.readouterr().err


def test_ctrl_c(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.error = KeyboardInterrupt()
    assert cli.main(["run"]) == 130
    assert "resumes" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["argparse", "pydantic", "numba"])
def test_an_interrupt_while_modules_are_loaded_is_no_traceback(tmp_path: Path, module: str) -> None:
    code = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"
    (tmp_path / f"{module}.py").write_text(code)
    argv = [sys.executable, "-m", "topsar", "simulate", "somewhere", "--size", "tiny"]
    done = subprocess.run(argv, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode in (130, -2)
    assert "Traceback" not in done.stderr


def test_demo(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.outcomes = (pair("a", Status.DONE),)
    assert cli.main(["demo"]) == 0
    assert "0.0660" in capsys.readouterr().out
    assert cli.main(["demo", "here", "--size", "tiny", "--workers", "2", "-o", "ESD=off"]) == 0
    assert workflow.calls == [
        ("demo", (Path("data/demo"), "demo", {})),
        ("demo", (Path("here"), "tiny", {"WORKERS": "2", "ESD": "off"})),
    ]


def test_secret_on_the_command_line(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "-o", "OPENTOPO_API_KEY=abc123"])
    shown = capsys.readouterr()
    assert "set it in .env" in shown.err
    assert "abc123" not in shown.err + shown.out


def test_simulate(workflow: Workflow) -> None:
    assert cli.main(["simulate", "there", "--size", "frame", "--seed", "7"]) == 0
    assert workflow.calls == [("simulate", (Path("there"), "frame", 7))]


def test_plan(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--posting", "40"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^pair a +filter +to do +not done yet +406 MB ", shown, re.MULTILINE)
    assert re.search(r"^time +about 1 min 35 s$", shown, re.MULTILINE)
    assert re.search(r"^memory +at most 406 MB of 8.0 GB at once$", shown, re.MULTILINE)
    assert "to be fetched" not in shown
    ((name, (pairs, settings)),) = workflow.calls
    assert (name, pairs, settings.posting_m) == ("plan", settings.pairs, 40)


def test_plan_for_another_machine(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--cores", "16", "--memory", "64"]) == 0
    assert workflow.calls[0][1][2:] == (16, 64.0)
    for memory in ("0", "inf", "much"):
        with pytest.raises(SystemExit):
            cli.main(["plan", "--memory", memory])
        assert f"expected gigabytes, more than 0, got '{memory}'" in capsys.readouterr().err


def test_plan_says_first_what_is_to_be_fetched(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.missing = ("scene S1A_IW_SLC", "height model COP30, because OPENTOPO_API_KEY is not set")
    assert cli.main(["plan"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:4] == ["to be fetched first:", *(f"  {text}" for text in workflow.missing), ""]
    assert [line for line in shown[4:] if re.match("pair a +filter +to do", line)]


def test_plan_says_what_is_to_be_fetched_even_where_more_cannot_be_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.txt").write_text(f"{SCENES[0]} {SCENES[1]}\n")
    cli.main(["plan"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "to be fetched first:"
    assert shown[1:3] == [f"  scene {name}" for name in SCENES]
    assert shown[3].startswith("  height model COP30")
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.txt"]


def test_plan_with_pairs_that_cannot_be_processed(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.refused = (("pair b", "no overlap"),)
    assert cli.main(["plan"]) == 1
    assert "1 to do, 0 done, 1 cannot be processed" in capsys.readouterr().out


def asked_for(workflow: Workflow) -> tuple[Any, Rules, Search | None, bool]:
    """Settings, rules, search and force of the only call."""
    ((name, (settings, rules, search, services, force)),) = workflow.calls
    assert (name, services) == ("pairs", Services())
    workflow.calls.clear()
    return settings, rules, search, force


def test_pairs(tmp_path: Path, workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.notes = ("Track 131, ascending: no pair for 2025-03-03",)
    assert cli.main(["pairs"]) == 0
    settings, rules, search, force = asked_for(workflow)
    assert (settings.data, settings.pairs) == (tmp_path / "data", tmp_path / "pairs.txt")
    assert (rules, search, force) == (Rules(neighbours=2), None, False)
    drawn = f"2 pairs in {tmp_path}/pairs.txt, drawn in {tmp_path}/pairs.png"
    assert capsys.readouterr().out.splitlines() == [*workflow.notes, drawn]


@pytest.mark.parametrize(
    ("flags", "rules"),
    [
        (["--neighbours", "3"], Rules(neighbours=3)),
        (["--days", "24"], Rules(max_days=24)),
        (["--baseline", "150"], Rules(max_baseline_m=150)),
        (
            ["--neighbours", "1", "--days", "48", "--baseline", "99.5"],
            Rules(neighbours=1, max_days=48, max_baseline_m=99.5),
        ),
        (["--all"], Rules()),
        (["--all", "--days", "24"], Rules(max_days=24)),
    ],
)
def test_rules_of_pairs(workflow: Workflow, flags: list[str], rules: Rules) -> None:
    assert cli.main(["pairs", *flags]) == 0
    assert asked_for(workflow)[1:] == (rules, None, False)


def test_pairs_of_a_search(workflow: Workflow) -> None:
    assert cli.main(["pairs", "--search"]) == 0
    assert asked_for(workflow)[2] == Search()
    period = ["--from", "2025-01-01", "--to", "2025-06-30"]
    argv = ["pairs", "--search", "--roi", "-3,-2,36,37", *period, "--track", "44", "--direction", "Descending"]
    assert cli.main([*argv, "--polarization", "VH", "--force"]) == 0
    settings, rules, search, force = asked_for(workflow)
    assert (settings.roi.south, settings.roi.east, settings.polarization) == (-3, 37, ("VH",))
    assert (rules, force) == (Rules(neighbours=2), True)
    assert search == Search(
        start=datetime(2025, 1, 1, tzinfo=timezone.utc),
        stop=datetime(2025, 6, 30, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        track=44,
        direction=Direction.DESCENDING,
    )


@pytest.mark.parametrize(
    "flags",
    [
        ["--from", "2025-02-30"],
        ["--to", "yesterday"],
        ["--from", "30.06.2025"],
        ["--track", "0"],
        ["--neighbours", "none"],
        ["--days", "-1"],
        ["--baseline", "short"],
        ["--direction", "up"],
    ],
)
def test_wrong_flags_of_pairs_end_with_2(
    workflow: Workflow, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["pairs", "--search", *flags])
    assert ended.value.code == 2
    assert re.search(f"argument {flags[0]}: (expected|invalid) .*{flags[1]}", capsys.readouterr().err)
    assert not workflow.calls


@pytest.mark.parametrize("length", ["-5", "nan"])
def test_a_baseline_that_is_none_ends_with_2(workflow: Workflow, length: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["pairs", "--baseline", length])
    assert ended.value.code == 2


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three dates in data/raw."""
    dry_data(tmp_path / "data", dry_recipe(acquisitions=DAYS, cuts=(NARROW,), bursts=2))
    return tmp_path / "data" / "raw"


def test_pairs_of_a_folder_and_a_list_that_is_there(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pairs", "--neighbours", "1"]) == 0
    listed = tmp_path / "pairs.txt"
    scenes = sorted((path.stem for path in raw.iterdir()), key=lambda name: name.split("_")[5])
    assert [(line.reference, line.secondary) for line in read_pairs(listed)] == [
        ((scenes[0],), (scenes[1],)),
        ((scenes[1],), (scenes[2],)),
    ]
    assert (tmp_path / "pairs.png").read_bytes().startswith(b"\x89PNG")
    before, drawn = listed.read_text(), (tmp_path / "pairs.png").read_bytes()
    capsys.readouterr()
    assert cli.main(["pairs"]) == 2
    shown = capsys.readouterr()
    assert f"error: {listed} exists" in shown.err
    assert "--force" in shown.err
    assert (listed.read_text(), (tmp_path / "pairs.png").read_bytes()) == (before, drawn)
    assert cli.main(["pairs", "--force"]) == 0
    assert f"the old list is now {tmp_path}/pairs.txt.bak\n3 pairs in {listed}" in capsys.readouterr().out
    assert (tmp_path / "pairs.txt.bak").read_text() == before
    assert len(read_pairs(listed)) == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--search"], "a search of the archive needs ROI"),
        (["--search", "--roi", "36,37,28,29", "--offline", "1"], "OFFLINE=1 forbids a search of the archive"),
    ],
)
def test_a_search_that_cannot_be_made(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pairs", *flags]) == 2
    assert f"error: {message}\n  hint: " in capsys.readouterr().err


def test_nothing_to_pair(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pairs"]) == 1
    assert "no two dates of one track" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "word"), [((), "removed"), (("--dry-run",), "would be removed")])
def test_clean(workflow: Workflow, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], word: str) -> None:
    assert cli.main(["clean", "--cleanup", "nuclear", *flags]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split(maxsplit=3) == ["31.2", "MB", "data/runs/d/slc", "(scratch, and no step needs it)"]
    assert shown[1] == f"1 path, 31.2 MB, {word}"
    name, (settings, is_dry) = workflow.calls[0]
    assert (name, settings.cleanup, is_dry) == ("clean", "nuclear", bool(flags))


def test_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--data", str(tmp_path)]) == 1
    assert f"no run has left a record in {tmp_path / 'runs'}" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    when = datetime(2025, 4, 6, tzinfo=timezone.utc)
    recorder = Recorder(
        tmp_path / "runs", Beginning(started=when, pid=1, host="elsewhere", mark="m", jobs=PREVIEW.jobs)
    )
    recorder.event(Event(time=when, job="a", step="filter", status=Status.DONE))
    recorder.end("done")
    assert cli.main(["status", "--data", str(tmp_path), "--watch"]) == 0
    assert capsys.readouterr().out.startswith("done")
    assert cli.main(["status", "--data", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"


def test_doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--data", str(tmp_path / "nowhere"), "--workers", "none"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"problem +command line: WORKERS = 'none': expected auto or a whole number", shown)
    assert "--workers" not in shown
    assert cli.main(["doctor", "--data", str(tmp_path / "nowhere"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["worst"] == "problem"


def test_started_in_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.main(["status"]) == 1
    monkeypatch.chdir(tmp_path)
    assert "error: the folder that this was started in has been removed" in capsys.readouterr().err


def test_no_folder_for_compiled_kernels_is_one_message(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.error = RuntimeError("cannot cache function 'fill': no locator available for file '/x/kernels.py'")
    assert cli.main(["run"]) == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err
    workflow.error = RuntimeError("something else")
    with pytest.raises(RuntimeError):
        cli.main(["run"])


def test_a_file_that_is_not_there_is_one_message(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.error = FileNotFoundError(2, "No such file or directory", "/x/run.json")
    assert cli.main(["step", "/x/job.json", "filter"]) == 1
    assert "error: [Errno 2] No such file or directory: '/x/run.json'\n" in capsys.readouterr().err


def test_step_ends_with_the_code_of_the_error(workflow: Workflow) -> None:
    assert cli.main(["step", "job.json", "unwrap"]) == 0
    assert workflow.calls == [("step", (Path("job.json"), "unwrap"))]
    for error, code in ((StepFailed("x"), 65), (SettingsError("x"), 65), (ProvisionError("x", retryable=True), 75)):
        workflow.error = error
        assert cli.main(["step", "job.json", "unwrap"]) == code


def test_settings_shows_keys_values_origins_and_meanings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("OPENTOPO_API_KEY=0123456789\nWORKERS=2\n", encoding="utf-8")
    monkeypatch.setenv("RETRIES", "4")
    assert cli.main(["settings", "--posting", "40"]) == 0
    shown = capsys.readouterr().out
    assert "0123456789" not in shown
    for line in (
        r"OPENTOPO_API_KEY = \*{8} +\(\.env\)",
        r"WORKERS = 2 +\(\.env\)",
        r"RETRIES = 4 +\(environment\)",
        r"POSTING = 40 +\(flag\)",
        r"ESD = auto +\(default\)",
    ):
        assert re.search(f"^{line}$", shown, re.MULTILINE)
    words = " ".join(shown.split())
    assert all(f"{key.meaning}. Value: {key.allowed}." in words for key in KEYS)


def test_the_module_is_the_command() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "topsar", "--version"], check=True, capture_output=True, text=True, timeout=60
    )
    assert shown.stdout == f"topsar {topsar.__version__}\n"
