"""Where clients are installed, what they are given, and how they are run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the results of one engine on one scene lie, and where clients are installed."""

    scene: str
    engine: str
    folder: Path
    environments: Path
    sources: Mapping[str, Path]

    def export(self, name: str) -> Path:
        """Write a format anew; the folder of its only track or pairs is in it."""
        target = self.folder / "export" / name
        shutil.rmtree(target, ignore_errors=True)
        argv = [*list_topsar("export", self.folder, name), "--to", str(target)]
        call(argv, self.folder / f"export_{name}.log")
        return target

    def export_once(self, name: str) -> Path:
        """The same, unless an earlier client had it written."""
        folder = self.folder / "export" / name
        return folder if folder.is_dir() else self.export(name)

    def work(self, name: str) -> Path:
        """An empty folder for a client."""
        folder = self.folder / "clients" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def install(self, name: str, *packages: str, clone: Path | None = None) -> Path:
        """An environment of the system's Python with packages of the index, GDAL's module and a clone; its ``bin``."""
        folder = self.environments / name
        mark = folder / "packages.txt"
        if not (mark.is_file() and mark.read_text() == repr(packages)):
            shutil.rmtree(folder, ignore_errors=True)
            log = folder.with_name(f"{name}.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            call([_SYSTEM_PYTHON, "-m", "venv", str(folder)], log)
            pip = (str(folder / "bin" / "pip"), "install", "--quiet")
            call([*pip, *packages], log)
            _link_gdal(folder)
            if clone:
                copied = shutil.copytree(clone, folder / "clone")  # what is built leaves files in it
                call([*pip, "--no-deps", "--no-build-isolation", str(copied)], log)
            mark.write_text(repr(packages))
        return folder / "bin"

    def source(self, name: str) -> Path:
        """A clone that the user named."""
        if name not in self.sources:
            msg = f"needs a clone of {SOURCES[name]}: --source {name}=DIR"
            raise Missing(msg)
        return self.sources[name]


class Missing(Exception):
    """What a client needs is not here."""


class Broken(Exception):
    """A client stopped, or did not make what it is to make."""


class Agreement(NamedTuple):
    """A client's velocity against the simulated one, positive toward the satellite, without their mean difference.

    ``slope`` is that of the client's over the true one; a wrong sign makes it negative.
    """

    pixels: int
    slope: float
    correlation: float
    rms_m_per_year: float
    true_std_m_per_year: float


class Made(NamedTuple):
    """What a client that went through says: its version, what was called, and the result or its velocity."""

    version: str
    command: str
    result: str
    agreement: Agreement | None = None


SOURCES = {
    "aria": "github.com/aria-tools/ARIA-tools",
    "licsbas": "github.com/comet-licsar/LiCSBAS",
    "raider": "github.com/dbekaert/RAiDER",
    "stac": "github.com/stac-extensions/{sar,sat,projection,raster,processing,insar} in one folder",
}
GDAL = "apt install gdal-bin python3-gdal"
_CONFIG_OPTIONS = '''"""GDAL before 3.7 has no gdal.config_options; ARIA-tools uses it."""
import contextlib
from osgeo import gdal

@contextlib.contextmanager
def _set(options, thread_local=True):
    before = {key: gdal.GetConfigOption(key) for key in options}
    for key, value in options.items():
        gdal.SetConfigOption(key, str(value))
    try:
        yield
    finally:
        for key, value in before.items():
            gdal.SetConfigOption(key, value)

if not hasattr(gdal, "config_options"):
    gdal.config_options = _set
'''


def _link_gdal(environment: Path) -> None:
    """Let an environment import the GDAL that belongs to the system's Python: there are no wheels of it."""
    found = subprocess.run(
        [_SYSTEM_PYTHON, "-c", "import osgeo, osgeo_utils; print(*osgeo.__path__, *osgeo_utils.__path__)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        msg = f"GDAL's Python module is missing: {GDAL}"
        raise Missing(msg)
    (packages,) = environment.glob("lib/python3*/site-packages")
    for folder in found.stdout.split():
        (packages / Path(folder).name).symlink_to(folder)
    (packages / "older_gdal.py").write_text(_CONFIG_OPTIONS)
    (packages / "older_gdal.pth").write_text("import older_gdal\n")


def call(
    argv: Sequence[str], log: Path, *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program to its end and return what it said, which is added to ``log`` too."""
    given = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    if argv[0] == sys.executable:
        given = dict(os.environ)
    ended = subprocess.run(
        argv,
        cwd=folder,
        env={**given, "MPLBACKEND": "agg", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    with log.open("a") as out:
        out.write(f"$ {' '.join(argv)}\n{ended.stdout}\n")
    if ended.returncode:
        last = [line for line in ended.stdout.splitlines() if line.strip()][-1:]
        msg = f"{Path(argv[0]).name} ended with {ended.returncode}: {' '.join(last)} ({log})"
        raise Broken(msg)
    return ended.stdout


def list_topsar(verb: str, folder: Path, *more: str) -> list[str]:
    """Make the command line of topsar over a data folder."""
    place = ("--data", str(folder), "--pairs", str(folder / "pairs.txt"))
    return [sys.executable, "-m", "topsar", verb, *more, *place]


def find_version(programs: Path, package: str) -> str:
    """Version of a package in an environment."""
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.check_output([programs / "python", "-c", code], text=True).strip()


def describe_clone(clone: Path) -> str:
    """Tag, or else date and commit, of a clone."""
    for argv in (("describe", "--tags"), ("log", "-1", "--format=%cs %h")):
        found = subprocess.run(["git", "-C", clone, *argv], capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.strip()
    return "of unknown version"


def only_folder(folder: Path) -> Path:
    """The one folder in another."""
    found = [one for one in folder.iterdir() if one.is_dir()]
    if len(found) != 1:
        msg = f"{folder} holds {len(found)} folders, not one"
        raise Broken(msg)
    return found[0]
