"""Run topsApp, and find out whether it succeeded, for its exit code does not say.

topsApp ends with exit code 0 after a wrong name of a step, on an empty state, over a truncated image and on a full
disk. After it ends, the record of its last step must be whole, and GDAL must have complained of nothing.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import deque
from typing import TYPE_CHECKING

from topsar.engines.isce2.config import write_config
from topsar.engines.isce2.state import repair_record, require_record
from topsar.errors import StepFailed
from topsar.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from topsar.engines.isce2.tasks import TopsAppTask

_LAST_LINES = 400
_GDAL_ERROR = re.compile(r"ERROR \d+: (?!PROJ)")
_STOPPED = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
_CRASHED = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL}


def run_topsapp(task: TopsAppTask, run: Path, steps: Sequence[str], *, do_esd: bool | None = None) -> None:
    """Run steps of topsApp, and check that it left a record of the last.

    Parameters
    ----------
    task : TopsAppTask
    run : Path
        The folder in which topsApp runs.
    steps : sequence of str
        Names of topsApp's steps; all from the first to the last are run.
    do_esd : bool, optional
        Whether topsApp estimates misregistration; by default as in the task.

    Raises
    ------
    StepFailed
        With topsApp's last words.
    """
    first, last = steps[0], steps[-1]
    write_text(run / "topsApp.xml", write_config(task, run, geocoding=first == "geocode", do_esd=do_esd))
    argv = task.installation.command(run, "topsApp.xml", f"--start={first}", f"--end={last}")
    output: deque[str] = deque(maxlen=_LAST_LINES)
    gdal_errors: list[str] = []
    with subprocess.Popen(
        argv, cwd=run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            if line.strip():
                output.append(line.rstrip())
            if _GDAL_ERROR.match(line):
                gdal_errors.append(line.strip())
    sys.stdout.flush()
    name = first if first == last else f"{first} to {last}"
    _require_success(process.returncode, name, list(output))
    if gdal_errors:
        msg = "\n  ".join([f"topsApp went on in {name} over what GDAL could not read:", *gdal_errors[:3]])
        raise StepFailed(msg, hint="is a measurement file damaged? Fetch that product again")
    require_record(run, last)
    repair_record(run, last)


def _require_success(code: int, name: str, output: list[str]) -> None:
    if code == 0:
        return
    if code in _STOPPED:
        raise SystemExit(128 - code)  # the scheduler tells by this code who sent the signal
    ending = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    msg = "\n".join([f"topsApp {ending} in {name}:", *_find_reason(output)])
    raise StepFailed(msg, hint="the step's log has all of its output", retryable=code in _CRASHED)


def _find_reason(output: list[str]) -> list[str]:
    """A failed allocation; else the line that ends the last traceback, wherever buffers put it; else the last lines."""
    if any("std::bad_alloc" in line for line in output):
        return ["std::bad_alloc"]
    starts = [index for index, line in enumerate(output) if line.startswith("Traceback")]
    if starts:
        ending = next((line for line in output[starts[-1] + 1 :] if not line.startswith(" ")), "")
        return [ending] if ending else output[-3:]
    return output[-3:]
