from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import topsar
from topsar import cli
from topsar.errors import ProvisionError, SettingsError, StepFailed
from topsar.model import Outcome, Status
from topsar.settings import KEYS
from topsar.simulate.compare import Comparison

VERBS = ("run", "demo", "settings", "simulate")
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


class Workflow(ModuleType):
    """Stands in for `topsar.workflow` and remembers how it was called."""

    def __init__(self) -> None:
        super().__init__("topsar.workflow")
        self.calls: list[tuple[str, Any]] = []
        self.outcomes: tuple[Outcome, ...] = ()
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
