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

from topsar.errors import SettingsError

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
        unset = (f"--unset={name}" for name in ("PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV", "DEMDB", "NO_PROXY"))
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
    for candidate in _interpreters(python):
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


def _interpreters(python: str) -> list[str]:
    if python:
        found = shutil.which(str(Path(python).expanduser()))
        if found is None:
            msg = f"ISCE_PYTHON={python}: there is no such program"
            raise SettingsError(msg, hint="give the path of the Python that imports isce, or leave it empty")
        return [found]
    return list(dict.fromkeys([sys.executable, *filter(None, map(shutil.which, ("python3", "python")))]))


@functools.cache
def _probe(python: str, home: Path | None) -> Installation | str:
    """The installation that an interpreter imports, or why it does not."""
    set_path = [f"PYTHONPATH={home.parent}"] if home else []
    argv = [ENV, "MPLBACKEND=Agg", *set_path, python, "-c", _PROBE]
    with tempfile.TemporaryDirectory() as folder:  # ISCE2 writes a log wherever it is imported
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_PROBE_S, cwd=folder, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            return str(exc)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0 or not lines:
        return lines[-1] if lines else f"exit code {done.returncode}"
    version, package, numpy = json.loads(lines[-1])  # ISCE2 may greet before
    found = Path(package)
    if not (found / "applications" / "topsApp.py").is_file():
        return f"{found} holds no applications/topsApp.py"
    return Installation(python=Path(python), home=found, version=version, numpy=numpy, missions=_missions(found))


def _missions(home: Path) -> tuple[str, ...]:
    """The satellites that ISCE2's reader of Sentinel-1 names: releases tell too little of themselves."""
    try:
        named = set(_MISSION.findall((home / _READER).read_text(errors="replace")))
    except OSError:
        named = set()
    return tuple(sorted({*_FIRST_MISSIONS, *named}))
