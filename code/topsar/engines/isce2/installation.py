"""Where ISCE2 is, and whether it can be started."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

ENV = "/usr/bin/env"
_PROBE = (
    "import isce, json, numpy; print(json.dumps([str(isce.__version__), list(isce.__path__)[0], numpy.__version__]))"
)
_PROBE_S = 120.0
_MISSION = re.compile(r"['\"](S1[A-Z])['\"]")
_READER = Path("components/isceobj/Sensor/TOPS/Sentinel1.py")
_FIRST_MISSIONS = ("S1A", "S1B")
_HINT = "install ISCE2 (conda install -c conda-forge isce2), set ISCE_HOME or ISCE_PYTHON, or set ENGINE=native"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """An ISCE2 that starts.

    Attributes
    ----------
    python : Path
        The interpreter that imports it.
    home : Path
        Its package folder ``isce``, which holds ``applications/topsApp.py``.
    version, numpy : str
        What both say of themselves; ISCE2 2.6.4 calls itself 2.6.3.
    missions : tuple of str
        Satellites that its reader knows.
    """

    python: Path
    home: Path
    version: str
    numpy: str
    missions: tuple[str, ...]

    @property
    def topsapp(self) -> Path:
        """The program."""
        return self.home / "applications" / "topsApp.py"

    def command(self, folder: Path, *arguments: str) -> tuple[str, ...]:
        """The command line that runs topsApp with nothing of the user's but PATH and the number of threads.

        Its own tools are found first, files that it writes for itself stay in ``folder``, plots are not made, and what
        would reach out to the network finds nobody: all that it needs is provisioned.
        """
        nobody = "http://127.0.0.1:9"
        path = [str(self.home / "applications"), str(self.home / "bin"), str(self.python.parent), *os.get_exec_path()]
        own = self.python == Path(sys.executable)
        foreign = () if own else ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")  # of topsar's environment
        variables = {
            "PATH": ":".join(dict.fromkeys(path)),
            "PYTHONPATH": f"{self.home.parent}:{self.home / 'applications'}",
            "ISCE_HOME": self.home,
            "HOME": folder / "home",
            "TMPDIR": folder / "tmp",
            "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": folder / "home",
            "PYTHONUNBUFFERED": "1",
            "OMP_WAIT_POLICY": "passive",
            "http_proxy": nobody,
            "https_proxy": nobody,
            "no_proxy": "",
        }
        stray = ("PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV", "DEMDB", "NO_PROXY", *foreign)
        unset = (f"--unset={name}" for name in stray)
        settings = (f"{name}={value}" for name, value in variables.items())
        return (ENV, *unset, *settings, str(self.python), str(self.topsapp), *arguments)


def find_installation(home: str = "", python: str = "") -> Installation:
    """Find an ISCE2 that starts.

    Parameters
    ----------
    home : str
        The setting ``ISCE_HOME``; empty where the interpreter knows it.
    python : str
        The setting ``ISCE_PYTHON``; empty tries the interpreter that runs topsar, then ``python3``.

    Raises
    ------
    SettingsError
        If there is none, with what was tried.
    """
    folder = _home(home)
    reasons = []
    for candidate in _interpreters(python, folder):
        found = _probe(candidate, folder)
        if isinstance(found, Installation):
            return found
        reasons.append(f"{candidate}: {found}")
    msg = "ISCE2's topsApp cannot be started:\n  " + "\n  ".join(reasons)
    raise SettingsError(msg, hint=_HINT)


def _home(home: str) -> Path | None:
    """The package folder that is set, or the one that holds the ``topsApp.py`` in PATH."""
    if home:
        folder = Path(home).expanduser().absolute()
        if not (folder / "applications" / "topsApp.py").is_file():
            msg = f"ISCE_HOME={home}: there is no applications/topsApp.py in it"
            raise SettingsError(msg, hint="it is the folder isce that `import isce` comes from; or leave it empty")
        return folder
    program = shutil.which("topsApp.py")
    beside = Path(program).resolve().parent.parent if program else None
    return beside if beside and (beside / "__init__.py").is_file() else None


def _interpreters(python: str, home: Path | None) -> list[str]:
    if python:
        found = shutil.which(str(Path(python).expanduser()))
        if found is None:
            msg = f"ISCE_PYTHON={python}: there is no such program"
            raise SettingsError(msg, hint="give the path of the Python that imports isce, or leave it empty")
        return [str(Path(found).absolute())]
    beside = filter(None, [_prefix_python(home)] if home else [])
    in_path = filter(None, map(shutil.which, ("python3", "python")))
    return list(dict.fromkeys([*beside, sys.executable, *in_path]))


def _prefix_python(home: Path) -> str | None:
    """The interpreter of the environment that the package folder is installed in, ``<prefix>/lib/python3.x/...``."""
    prefix = next((folder.parent for folder in home.parents if folder.name == "lib"), None)
    return shutil.which(str(prefix / "bin" / "python3")) if prefix else None


@functools.cache
def _probe(python: str, home: Path | None) -> Installation | str:
    """The installation that an interpreter imports and whose topsApp it starts, or why it does not."""
    set_path = [f"PYTHONPATH={home.parent}"] if home else []
    with tempfile.TemporaryDirectory() as folder:  # ISCE2 writes a log wherever it is imported
        said, problem = _said([ENV, "MPLBACKEND=Agg", *set_path, python, "-c", _PROBE], folder)
        if problem:
            return problem
        try:
            version, package, numpy = json.loads(said[-1])  # ISCE2 may greet before
        except (IndexError, ValueError):
            return f"it says {said[-1:]} of itself"
        found = Installation(
            python=Path(python), home=Path(package), version=version, numpy=numpy, missions=_missions(Path(package))
        )
        if not found.topsapp.is_file():
            return f"{found.home} holds no applications/topsApp.py"
        _, problem = _said(found.command(Path(folder), "--help", "--steps"), folder)
        return problem or found


def _said(argv: Sequence[str], folder: str) -> tuple[list[str], str]:
    """What a command prints, and why it failed if it did."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PROBE_S, cwd=folder, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return [], str(exc)
    if done.returncode:
        return [], next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
    return done.stdout.strip().splitlines(), ""


def _missions(home: Path) -> tuple[str, ...]:
    """The satellites that ISCE2's reader of Sentinel-1 names: releases tell too little of themselves."""
    try:
        named = set(_MISSION.findall((home / _READER).read_text(errors="replace")))
    except OSError:
        named = set()
    return tuple(sorted({*_FIRST_MISSIONS, *named}))
