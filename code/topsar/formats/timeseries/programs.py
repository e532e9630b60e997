"""Programs in environments of their own: where they are, and how they are started."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from topsar.environment import make_environment
from topsar.errors import ProductError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Program(NamedTuple):
    """A package that is started, the file that is, and the modules without which it fails half-way."""

    package: str
    file: str
    modules: str


_DOLPHIN = Program("dolphin", "dolphin", "osgeo.gdal, osgeo_utils, snaphu, dolphin.timeseries")
PROGRAMS = {
    "dolphin": _DOLPHIN,
    "phase-linking": _DOLPHIN,
    "mintpy": Program("mintpy", "ifgram_inversion.py", "osgeo.gdal, mintpy.cli.ifgram_inversion"),
}
"""By the value of ``TIMESERIES``."""
ANSWER_S = 300.0
"""A program that has not told its version by then hangs; the first start of one on a busy disk takes a minute."""


def find_program(engine: str, wanted: str) -> Path:
    """Find the program of an engine: as it was named, in PATH, or where `run_local.sh timeseries --with` puts it.

    Parameters
    ----------
    engine : str
        A value of ``TIMESERIES`` that `PROGRAMS` has.
    wanted : str
        The setting ``TIMESERIES_PROGRAM``; may be empty.

    Raises
    ------
    SettingsError
        If there is none.
    """
    package, file = PROGRAMS[engine].package, PROGRAMS[engine].file
    own = Path(__file__).resolve().parents[4] / f".venv-{package}" / "bin" / file
    if found := shutil.which(wanted or file) or (str(own) if not wanted and own.is_file() else None):
        return Path(found)
    msg = f"TIMESERIES={engine}, and there is no program {wanted or file}"
    hint = f"./run_local.sh timeseries --with {package} sets it up; or name {file} with TIMESERIES_PROGRAM"
    raise SettingsError(msg, hint=hint)


def ask_program(engine: str, program: Path) -> tuple[str, str]:
    """Ask the Python of a program's environment for its version, and whether what it imports is there.

    Parameters
    ----------
    engine : str
        A value of ``TIMESERIES`` that `PROGRAMS` has.
    program : Path

    Returns
    -------
    version, problem : str
        Either may be empty.
    """
    known = PROGRAMS[engine]
    python = program.parent / "python"
    if not python.is_file():
        return "", f"there is no Python beside {program}"
    code = f"import importlib.metadata, {known.modules}; print(importlib.metadata.version({known.package!r}))"
    told = _ask([str(python), "-c", code])
    started = _ask([str(program), "--help"]) if not told.returncode else told
    problem = started.stderr.strip().splitlines()[-1:] or [f"it ended with {started.returncode}"]
    return told.stdout.strip(), problem[0] if started.returncode else ""


def _ask(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, env=make_environment(), capture_output=True, text=True, check=False, timeout=ANSWER_S
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"it did not answer within {ANSWER_S:g} s")


def run_program(program: Path, arguments: Sequence[str], work: Path) -> None:
    """Run a program to its end, in the folder ``work``; what it says stays in ``program.log`` there.

    Raises
    ------
    ProductError
        If it fails, with the end of what it said.
    """
    log = work / "program.log"
    with log.open("a") as out:
        ended = subprocess.run(
            [str(program), *arguments], cwd=work, env=make_environment(), stdout=out, stderr=out, check=False
        )
    if ended.returncode:
        said = log.read_text(errors="replace").strip()[-800:]
        msg = f"{program.name} ended with {ended.returncode}: {said}"
        raise ProductError(msg, hint=f"try {program} --help, or TIMESERIES=least-squares")
