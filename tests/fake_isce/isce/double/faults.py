"""Faults on demand: what the option file asks for at a step and an attempt."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from .output import log

Fault = dict[str, Any]
SERVER = "e4ftl01.cr.usgs.gov"


def find_faults(faults: tuple[Fault, ...], step: str, attempt: int) -> list[Fault]:
    """The faults that concern a step at an attempt."""

    def concerns(fault: Fault) -> bool:
        attempts = fault.get("attempt", "all")
        return fault.get("step", "all") in (step, "all") and (
            attempts == "all" or attempt in (attempts if isinstance(attempts, list) else [attempts])
        )

    return [fault for fault in faults if concerns(fault)]


def _crash(fault: Fault) -> None:
    message = fault.get("message", "asked to crash")
    raise RuntimeError(message)


def _nothing(fault: Fault) -> None:
    sys.exit(int(fault.get("code", 0)))


def _kill(fault: Fault) -> None:
    os.kill(os.getpid(), int(fault.get("signal", signal.SIGKILL)))


def _hang(fault: Fault) -> None:
    if fault.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    seconds = str(fault.get("seconds", 3600))
    if fault.get("child"):
        subprocess.run(["sleep", seconds], check=False)
    time.sleep(float(seconds))


def _chatter(fault: Fault) -> None:
    """Many lines, then one that never ends, as the filter of the real one prints."""
    for number in range(int(fault.get("lines", 5000))):
        sys.stdout.write(f"{fault.get('text', ' Bad match at level 1')} {number}\n")
    sys.stdout.write("".join(f"\rline:   {number}" for number in range(2000)) + "\n")
    sys.stdout.flush()


def fail_download() -> NoReturn:
    """What the real one says when it wants a DEM of its own and reaches nobody."""
    tile = f"https://{SERVER}/MEASURES/SRTMGL1.003/2000.02.11/N37E028.SRTMGL1.hgt.zip"
    hint = "Check the name of the server or try again later"
    log("iscesys.DataRetriever", "ERROR", f"There was a problem in retrieving the file  {tile}. {hint}")
    sys.exit(1)


ACTIONS: dict[str, Callable[[Fault], None]] = {
    "crash": _crash,
    "nothing": _nothing,
    "kill": _kill,
    "hang": _hang,
    "chatter": _chatter,
}
"""Faults before or after the work of a step (``when``)."""

SPOILERS = ("half", "truncated", "shorter", "zeros", "disk_full", "torn_pickle")
"""Faults in what a step wrote."""


def apply_faults(faults: list[Fault], when: str) -> None:
    """Do the faults of this moment."""
    for fault in faults:
        if fault["action"] not in ACTIONS and fault["action"] not in SPOILERS:
            message = f"unknown fault: {fault['action']}"
            raise ValueError(message)
        if fault["action"] in ACTIONS and fault.get("when", "before") == when:
            ACTIONS[fault["action"]](fault)


def _cut(paths: list[Path], part: float) -> None:
    for path in paths:
        if path.is_file():
            os.truncate(path, int(path.stat().st_size * part))


def _shorten(paths: list[Path]) -> None:
    """Half of the lines are lost, and the header, which ISCE2 writes by the size of the file, does not say so."""
    for path in paths:
        header = path.with_name(f"{path.name}.xml")
        if found := re.search(r'name="length">\s*<value>(\d+)<', header.read_text() if header.is_file() else ""):
            lines, text = int(found[1]), header.read_text()
            os.truncate(path, path.stat().st_size // lines * (lines // 2))
            header.write_text(f"{text[: found.start(1)]}{lines // 2}{text[found.end(1) :]}")


def _zero(paths: list[Path], part: float) -> None:
    """The end of each file becomes zeros, and GDAL says so: what the real one does on a truncated TIFF."""
    sizes = [path.stat().st_size for path in paths]
    _cut(paths, part)
    for path, size in zip(paths, sizes, strict=True):
        os.truncate(path, size)
    sys.stderr.write("ERROR 1: TIFFReadEncodedStrip() failed.\n")


def _fill_disk(last: list[Path], part: float, *, told: bool) -> None:
    """The last file is short; the real one only notices when it writes the header after it."""
    _cut(last, part)
    for path in last if told else []:
        path.with_name(f"{path.name}.xml").write_text("")
        path.with_name(f"{path.name}.vrt").unlink(missing_ok=True)
    if told:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def spoil_outputs(faults: list[Fault], written: list[Path]) -> None:
    """Cut what a step wrote: then crash (``half``), or go on as if nothing was."""
    data = [path for path in written if path.suffix not in {".xml", ".vrt"} and path.is_file()]
    for fault in faults:
        part = float(fault.get("part", 0.5))
        if fault["action"] == "half":
            _cut(data, part)
            message = fault.get("message", "asked to stop half-way")
            raise RuntimeError(message)
        if fault["action"] == "truncated":
            _cut(data, part)
        if fault["action"] == "shorter":
            _shorten(data[-1:])
        if fault["action"] == "zeros":
            _zero(data, part)
        if fault["action"] == "disk_full":
            _fill_disk(data[-1:], part, told=bool(fault.get("error")))


def tear_pickle(faults: list[Fault], pickle: Path) -> None:
    """Leave half of the pickle's XML behind, as a kill in the middle of writing does."""
    if any(fault["action"] == "torn_pickle" for fault in faults):
        _cut([pickle.with_name(f"{pickle.name}.xml")], 0.5)
        os.kill(os.getpid(), signal.SIGKILL)
