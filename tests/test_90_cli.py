from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import topsar
from topsar import cli
from topsar.errors import ProvisionError, SettingsError, StepFailed
from topsar.model import Event, Outcome, Resources, Status
from topsar.schedule import Preview, Removable
from topsar.schedule.record import Beginning, PlannedJob, PlannedStep, Recorder
from topsar.schedule.rehearsal import Rehearsal
from topsar.settings import KEYS
from topsar.simulate.compare import Comparison

VERBS = ("run", "plan", "status", "doctor", "clean", "demo", "settings", "simulate")
Main = Callable[..., int]


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
    """Stands in for `topsar.workflow` and remembers how it was called."""

    def __init__(self) -> None:
        super().__init__("topsar.workflow")
        self.calls: list[tuple[str, Any]] = []
        self.outcomes: tuple[Outcome, ...] = ()
        self.refused: tuple[object, ...] = ()
        self.error: BaseException | None = None

    def _called(self, name: str, *given: object) -> None:
        self.calls.append((name, given))
        if self.error:
            raise self.error

    def run(self, settings: object) -> tuple[Outcome, ...]:
        self._called("run", settings)
        return self.outcomes

    def demo(self, folder: Path, *, size: str, flags: dict[str, str]) -> SimpleNamespace:
        self._called("demo", folder, size, flags)
        return SimpleNamespace(outcomes=self.outcomes, comparisons=(COMPARISON,), closures=())

    def simulate(self, folder: Path, *, size: str, seed: int) -> None:
        self._called("simulate", folder, size, seed)

    def preview(self, settings: object) -> tuple[SimpleNamespace, Preview]:
        self._called("preview", settings)
        return SimpleNamespace(refused=self.refused), PREVIEW

    def clean(self, settings: object, *, dry_run: bool) -> tuple[Removable, ...]:
        self._called("clean", settings, dry_run)
        return (Removable(path=Path("data/runs/d/slc"), size=31_200_000, why="scratch, and no step needs it"),)

    def execute_step(self, job_file: Path, step: str) -> None:
        self._called("step", job_file, step)


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch) -> Workflow:
    fake = Workflow()
    monkeypatch.setitem(sys.modules, "topsar.workflow", fake)
    monkeypatch.setattr(topsar, "workflow", fake, raising=False)
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
    assert all(f"    {verb} " in shown for verb in VERBS)
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
    ((name, (settings,)),) = workflow.calls
    assert name == "run"
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
    scene = Outcome(job="scene", title="scene", status=Status.FAILED, is_pair=False)
    workflow.outcomes = (scene, *(pair(f"pair {n}", status, "see log") for n, status in enumerate(statuses)))
    assert cli.main(["run"]) == code
    shown = capsys.readouterr()
    done = sum(status in {Status.DONE, Status.CACHED} for status in statuses)
    assert f"{done} of {len(statuses)} pairs done" in shown.out
    for number, status in enumerate(statuses):
        assert (f"pair {number}: {status.value}. see log" in shown.err) == (status.value not in {"done", "cached"})


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
    assert workflow.calls[0][1][0].posting_m == 40


def test_plan_with_pairs_that_cannot_be_processed(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.refused = (object(),)
    assert cli.main(["plan"]) == 1
    assert "1 to do, 0 done, 1 cannot be processed" in capsys.readouterr().out


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
