"""run_local.sh against stand-ins for Python, pip, uv and apt-get: nothing is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "run_local.sh"

PYTHON = """#!/bin/bash
# answers what the script asks, makes environments that hold this very file, and writes down all else
case "$1 $2" in
  "-c import sys;"*) echo "{version}" ;;
  "-c import ensurepip"*) exit {no_ensurepip} ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "venv {version}" >>"$CALLS" ;;
  "-m topsar.compiling") echo "$PWD" >>"$CALLS.compiled" ;;
  "-m pip")
    [ "$3" != config ] || {{ [ ! -e "$CALLS.noindex" ]; exit; }}
    echo "pip $*" >>"$CALLS"
    [ "${{@: -1}}" != uv ] || printf '#!/bin/bash\necho "uv $*" >>"$CALLS"\n' >"${{0%/*}}/uv"
    [ "${{@: -1}}" != uv ] || chmod +x "${{0%/*}}/uv"
    echo "noise of pip"
    [ ! -e "$CALLS.hang" ] || sleep 60
    [ ! -e "$CALLS.nopip" ] ;;
  *) echo "in $PWD:" "$@" ;;
esac
"""


class Project:
    """A copy of what the script needs, in a folder with a space, and commands of our making."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my project"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.root.mkdir()
        self.bin.mkdir()
        for name in ("run_local.sh", "pyproject.toml", ".env.example"):
            shutil.copy(ROOT / name, self.root / name)
        for name in ("bash", "cat", "cksum", "cp", "dirname", "env", "flock", "mkdir", "mv", "readlink", "rm", "sed"):
            self.link(name)
        for name in ("sort", "head", "tail", "touch", "awk", "nproc", "sleep"):
            self.link(name)

    def link(self, name: str) -> None:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name} here")
        (self.bin / name).symlink_to(found)

    def command(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def python(self, name: str, version: str, *, makes_venv: bool = True) -> None:
        self.command(name, PYTHON.format(version=version, no_ensurepip=0 if makes_venv else 1))

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.bin), "CALLS": str(self.calls_file), "HOME": str(self.root)}

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text(encoding="utf-8").splitlines() if self.calls_file.exists() else []

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "run_local.sh"), *arguments],
            cwd=cwd or self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.python("python3", "3.12")
    return project


def test_syntax() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert os.access(SCRIPT, os.X_OK)
    assert b"\r" not in SCRIPT.read_bytes()


def test_help_needs_no_environment(project: Project) -> None:
    for argument in ("help", "-h", "--help"):
        ended = project.start(argument)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "run_local.sh demo" in ended.stdout
    ended = project.start()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "run_local.sh demo" in ended.stderr
    assert not (project.root / ".venv").exists()


def test_sets_up_once_and_quietly_then_only_runs(project: Project, tmp_path: Path) -> None:
    first = project.start("settings", "--data", "a b", cwd=tmp_path)
    assert first.returncode == 0
    assert first.stdout == f"in {tmp_path}: -m topsar settings --data a b\n"
    assert first.stderr.splitlines()[0].startswith("Setting up .venv with Python 3.12")
    assert [line.split()[0] for line in first.stderr.splitlines()] == ["Setting", "Compiling", "Done"]
    second = project.start("settings", cwd=tmp_path)
    assert (second.stdout, second.stderr) == (f"in {tmp_path}: -m topsar settings\n", "")
    assert project.calls == ["venv 3.12", "pip -m pip install --disable-pip-version-check --no-input --no-compile -e ."]


def test_compiles_kernels_once(project: Project) -> None:
    for _ in range(2):
        project.start("settings")
    assert project.calls_file.with_suffix(".compiled").read_text().count("\n") == 1


def test_works_through_a_link(project: Project, tmp_path: Path) -> None:
    link = tmp_path / "topsar.sh"
    link.symlink_to(project.root / "run_local.sh")
    subprocess.run([str(link), "settings"], env=project.environment, check=True, capture_output=True, timeout=60)
    assert (project.root / ".venv" / "bin" / "python").exists()


def test_a_changed_project_file_installs_again_in_place(project: Project) -> None:
    project.start("settings")
    with (project.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    project.start("settings")
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "pip"]


def test_another_python_makes_a_new_environment(project: Project) -> None:
    project.start("settings")
    (project.root / ".venv" / "left over").touch()
    project.python("python3.13", "3.13")
    project.start("settings")
    assert project.calls.count("venv 3.12") == 1
    shutil.copy(project.bin / "python3.13", project.root / ".venv" / "bin" / "python")  # the system was upgraded
    assert project.start("settings").returncode == 0
    assert project.calls.count("venv 3.13") == 1
    assert not (project.root / ".venv" / "left over").exists()


def test_a_moved_project_installs_again(project: Project, tmp_path: Path) -> None:
    project.start("settings")
    project.root = project.root.rename(tmp_path / "moved")
    assert project.start("settings").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "pip"]


def test_the_newest_python_that_makes_environments_is_taken(project: Project) -> None:
    project.python("python3.14", "3.14", makes_venv=False)
    project.python("python3.13", "3.13")
    project.python("python3.10", "3.10")
    project.start("settings")
    assert project.calls[0] == "venv 3.13"


@pytest.mark.parametrize("version", ["3.9", "2.7"])
def test_an_old_python_is_refused(project: Project, version: str) -> None:
    project.python("python3", version)
    ended = project.start("settings")
    assert ended.returncode == 1
    assert "Python 3.10 or newer" in ended.stderr


def test_a_failed_installation_shows_the_end_of_the_log_and_is_not_believed(project: Project) -> None:
    no_pip = project.calls_file.with_suffix(".nopip")
    no_pip.touch()
    ended = project.start("settings")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "error: Installing failed" in ended.stderr
    assert "noise of pip" in ended.stderr
    no_pip.unlink()
    assert project.start("settings").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "venv", "pip"]


def test_a_failed_extra_leaves_what_was_complete(project: Project) -> None:
    project.start("settings")
    no_pip = project.calls_file.with_suffix(".nopip")
    no_pip.touch()
    assert project.start("test").returncode == 1
    assert project.start("settings").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "pip"]


def test_an_interrupted_installation_is_not_believed(project: Project) -> None:
    hang = project.calls_file.with_suffix(".hang")
    hang.touch()
    with subprocess.Popen(
        [str(project.root / "run_local.sh"), "settings"],
        cwd=project.root,
        env=project.environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        for _ in range(200):
            if len(project.calls) == 2:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    hang.unlink()
    assert project.start("settings").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "venv", "pip"]


def test_test_installs_the_extra_and_runs_pytest_in_the_project(project: Project, tmp_path: Path) -> None:
    ended = project.start("test", "-k", "pairs", cwd=tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"in {project.root}: -m pytest ")
    assert ended.stdout.endswith(" -k pairs\n") or ended.stdout.endswith("pytest -k pairs\n")
    assert project.calls[-1].endswith("-e .[test]")
    assert project.start("settings").returncode == 0
    assert project.start("test", "-n", "3").stdout == f"in {project.root}: -m pytest -n 3\n"
    assert len(project.calls) == 2


def test_a_program_of_time_series_gets_an_environment_of_its_own(project: Project, tmp_path: Path) -> None:
    for _ in range(2):  # set up once
        ended = project.start("timeseries", "--with", "phase-linking", "--data", "here", cwd=tmp_path)
        assert ended.stdout == f"in {tmp_path}: -m topsar timeseries --timeseries phase-linking --data here\n"
    assert project.calls[2:] == [
        "venv 3.12",
        "pip -m pip install --disable-pip-version-check --no-input dolphin snaphu gdal-wheel",
    ]
    assert (project.root / ".venv-dolphin" / "bin" / "python").exists()
    wrong = project.start("timeseries", "--with", "stamps")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "there are dolphin, phase-linking and mintpy" in wrong.stderr


def test_a_program_that_cannot_be_installed_is_not_believed(project: Project) -> None:
    project.start("settings")
    no_pip = project.calls_file.with_suffix(".nopip")
    no_pip.touch()
    ended = project.start("timeseries", "--with", "mintpy")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "error: mintpy could not be set up" in ended.stderr
    assert "noise of pip" in ended.stderr
    assert "python3-gdal" in ended.stderr
    no_pip.unlink()
    assert project.start("timeseries", "--with", "mintpy").returncode == 0


def test_run_makes_the_env_file_but_never_overwrites_it(project: Project, tmp_path: Path) -> None:
    env_file = project.root / ".env"
    project.start("run", cwd=tmp_path)
    project.start("settings")
    assert not env_file.exists()
    assert "Made .env from .env.example" in project.start("run").stderr
    assert env_file.read_bytes() == (ROOT / ".env.example").read_bytes()
    assert env_file.stat().st_mode & 0o077 == 0
    env_file.write_text("WORKERS=2\n", encoding="utf-8")
    assert project.start("run").stderr == ""
    assert env_file.read_text(encoding="utf-8") == "WORKERS=2\n"


def test_without_venv_module_the_command_to_run_is_named(project: Project) -> None:
    project.python("python3", "3.12", makes_venv=False)
    project.command("apt-get", '#!/bin/bash\necho "apt-get $*" >>"$CALLS"\nexit 1\n')
    project.command("sudo", "#!/bin/bash\nexit 1\n")
    ended = project.start("settings")
    assert ended.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y python3.12-venv" in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs without asking")
def test_root_gets_the_venv_module_installed(project: Project) -> None:
    project.python("python3", "3.12", makes_venv=False)
    project.python("good", "3.12")
    script = '#!/bin/bash\necho "apt-get $*" >>"$CALLS"\ncd "$(dirname "$0")" && cp good python3\n'
    project.command("apt-get", script)
    project.link("true")
    ended = project.start("settings")
    assert ended.returncode == 0
    assert "Installing python3.12-venv with apt-get" in ended.stderr
    assert project.calls[:2] == ["apt-get install -y python3.12-venv", "venv 3.12"]


def test_uv_installs_where_present_and_pip_where_it_fails(project: Project) -> None:
    project.command("uv", '#!/bin/bash\necho "uv $*" >>"$CALLS"\n[ ! -e "$CALLS.nouv" ]\n')
    assert project.start("settings").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "uv"]
    project.calls_file.with_suffix(".nouv").touch()
    assert project.start("test").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "uv", "uv", "pip"]


def test_uv_is_fetched_where_pip_has_no_index_of_its_own(project: Project) -> None:
    project.link("chmod")
    project.calls_file.with_suffix(".noindex").touch()
    assert project.start("settings").returncode == 0
    assert project.start("test").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "uv", "uv"]
    assert project.calls[1].endswith(" uv")
    assert project.calls[2].endswith(f"--python {project.root}/.venv/bin/python -e .")


def test_bytecode_is_written_whatever_the_environment_says(project: Project) -> None:
    project.start("settings")
    python = project.root / ".venv" / "bin" / "python"
    python.write_text(python.read_text().replace('echo "in $PWD:"', 'echo "${PYTHONDONTWRITEBYTECODE-written}"'))
    ended = subprocess.run(
        [str(project.root / "run_local.sh"), "settings"],
        env={**project.environment, "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout == "written -m topsar settings\n"


def test_files_that_linux_reads_keep_their_line_ends() -> None:
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8").split("\n")
    rules = {line.split()[0]: line.split()[1:] for line in attributes if line and not line.startswith("#")}
    assert all("eol=lf" in rules[name] for name in ("*.sh", ".env.example", "pairs.txt"))
