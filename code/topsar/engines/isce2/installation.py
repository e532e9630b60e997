"""Find ISCE2, and start it to see that it works."""

from __future__ import annotations

import contextlib
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

from topsar.environment import LIBRARY_DATA, make_environment
from topsar.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENV = "/usr/bin/env"
_PROBE = (
    "import isce, json, numpy; print(json.dumps([str(isce.__version__), list(isce.__path__)[0], numpy.__version__]))"
)
_PROBE_S = 120.0
_PROGRAM = "applications/topsApp.py"
_READER = "components/isceobj/Sensor/TOPS/Sentinel1.py"
_HINT = "install ISCE2 (conda install -c conda-forge isce2), set ISCE_HOME or ISCE_PYTHON, or set ENGINE=native"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """An ISCE2 that starts.

    ``home`` is its package folder ``isce``; ``version`` is as it reports it (2.6.4 reports 2.6.3); ``missions`` are the
    satellites that its reader knows.
    """

    python: Path
    home: Path
    version: str
    numpy: str
    missions: tuple[str, ...]

    @property
    def topsapp(self) -> Path:
        """The program."""
        return self.home / _PROGRAM

    def command(self, folder: Path, *arguments: str) -> tuple[str, ...]:
        """The command line that runs topsApp without the user's environment but PATH and the number of threads.

        Its own programs come first in PATH, its temporary files stay in ``folder``, it makes no plots, and proxies keep
        it from the network.
        """
        no_proxy = "http://127.0.0.1:9"
        path = [str(self.home / "applications"), str(self.home / "bin"), str(self.python.parent), *os.get_exec_path()]
        own = self.python == Path(sys.executable)
        foreign = () if own else LIBRARY_DATA  # of topsar's environment
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
            "http_proxy": no_proxy,
            "https_proxy": no_proxy,
            "no_proxy": "",
        }
        stray = ("PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV", "DEMDB", "NO_PROXY", *foreign)
        unset = (f"--unset={name}" for name in stray)
        settings = (f"{name}={value}" for name, value in variables.items())
        return (_ENV, *unset, *settings, str(self.python), str(self.topsapp), *arguments)


def find_installation(home: str = "", python: str = "") -> Installation:
    """Find an ISCE2 that starts.

    Parameters
    ----------
    home : str
        The setting ``ISCE_HOME``; empty where the interpreter finds the package itself.
    python : str
        The setting ``ISCE_PYTHON``; empty tries the interpreter that runs topsar, then ``python3``.

    Raises
    ------
    SettingsError
        If there is none, with the reason for each interpreter tried.
    """
    folder = _find_home(home)
    reasons = []
    for candidate in _list_interpreters(python, folder):
        found = _probe(candidate, folder)
        if isinstance(found, Installation):
            return found
        reasons.append(f"{candidate}: {found}")
    msg = "ISCE2's topsApp cannot be started:\n  " + "\n  ".join(reasons)
    raise SettingsError(msg, hint=_HINT)


def _find_home(home: str) -> Path | None:
    """The package folder in the setting, or that of the ``topsApp.py`` in PATH."""
    if home:
        folder = Path(home).expanduser().absolute()
        if not (folder / _PROGRAM).is_file():
            msg = f"ISCE_HOME={home}: there is no {_PROGRAM} in it"
            raise SettingsError(msg, hint="give the folder isce that holds the package, or leave it empty")
        return folder
    program = shutil.which("topsApp.py")
    beside = Path(program).resolve().parent.parent if program else None
    return beside if beside and (beside / "__init__.py").is_file() else None


def _list_interpreters(python: str, home: Path | None) -> list[str]:
    if python:
        found = shutil.which(str(Path(python).expanduser()))
        if found is None:
            msg = f"ISCE_PYTHON={python}: there is no such program"
            raise SettingsError(msg, hint="give the path of the Python that imports isce, or leave it empty")
        return [str(Path(found).absolute())]
    # the package lies in <prefix>/lib/python3.x/... of the environment that it is installed in
    beside = [folder.parent / "bin" / "python3" for folder in home.parents if folder.name == "lib"] if home else []
    names = [*map(str, beside[:1]), sys.executable, "python3", "python"]
    return list(dict.fromkeys(filter(None, map(shutil.which, names))))


@functools.cache
def _probe(python: str, home: Path | None) -> Installation | str:
    """The installation that an interpreter imports, or the reason why it cannot, or cannot start topsApp."""
    set_path = [f"PYTHONPATH={home.parent}"] if home else []
    with tempfile.TemporaryDirectory() as folder:  # ISCE2 writes a log wherever it is imported
        output, problem = _run([_ENV, "MPLBACKEND=Agg", *set_path, python, "-c", _PROBE], folder)
        if problem:
            return problem
        try:
            version, package, numpy = json.loads(output[-1])  # ISCE2 may print before it
        except (IndexError, ValueError):
            return f"it printed {output[-1:]} instead of its version"
        own, missions = Path(package), _read_missions(Path(package))
        found = Installation(python=Path(python), home=own, version=version, numpy=numpy, missions=missions)
        if not found.topsapp.is_file():
            return f"{found.home} holds no {_PROGRAM}"
        _, problem = _run(found.command(Path(folder), "--help", "--steps"), folder)
        return problem or found


def _run(argv: Sequence[str], folder: str) -> tuple[list[str], str]:
    """Lines that a command prints, and the reason if it failed."""
    try:
        done = subprocess.run(
            argv,
            env=make_environment(),
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            cwd=folder,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return [], str(exc)
    if done.returncode:
        return [], next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
    return done.stdout.strip().splitlines(), ""


def _read_missions(home: Path) -> tuple[str, ...]:
    """The satellites in the code of ISCE2's Sentinel-1 reader: the version does not tell them reliably."""
    named: set[str] = set()
    with contextlib.suppress(OSError):
        named = set(re.findall(r"['\"](S1[A-Z])['\"]", (home / _READER).read_text(errors="replace")))
    return tuple(sorted({"S1A", "S1B", *named}))
