"""topsApp at work in its folder: it is started on some of its steps, and leaves a record of its state after each.

topsApp ends with exit code 0 after a wrong name of a step, on an empty state, over a truncated image and on a full
disk. So, after it ends, the record of its last step must be whole, and GDAL must have complained of nothing. A record
is ``PICKLE/<step>.xml``, and beside it ``PICKLE/<step>``; the next step needs both.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from topsar.engines.isce2.config import write_config
from topsar.engines.isce2.tasks import RUN, TopsAppTask
from topsar.engines.step import load_task
from topsar.errors import StepFailed
from topsar.files import write_text
from topsar.raster.isce_image import read_properties

if TYPE_CHECKING:
    from collections.abc import Sequence

UNTRIED = "is this a version of ISCE2 that topsar was tried with? docs/isce2-engine.md lists them"
_NUMPY_2 = re.compile(r"np\.\w+\((-?[\d.e+-]+)\)")
_WENT_ON = re.compile(r"ERROR \d+: (?!PROJ)|Warning: +Strongly recommend using auxiliary information")
"""Of GDAL, and of topsApp where it finds no calibration file for a product of IPF 002.36."""
_STOPPED = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
_CRASHED = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL}


def record_files(step: str) -> tuple[str, str]:
    """The two files of the record of a topsApp step, relative to the folder in which topsApp runs."""
    return f"PICKLE/{step}", f"PICKLE/{step}.xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopsAppRun:
    """A pair, and the folder in which topsApp works on it."""

    task: TopsAppTask
    folder: Path

    @classmethod
    def of(cls, job: Path) -> TopsAppRun:
        """The run of the job whose ``job.json`` lies in the folder ``job``."""
        return cls(task=load_task(job, RUN, TopsAppTask), folder=job / RUN)

    def start(self, steps: Sequence[str], *, do_esd: bool | None = None, ionosphere: bool | None = None) -> None:
        """Run steps of topsApp, and check that it left a record of the last.

        Parameters
        ----------
        steps : sequence of str
            Names of topsApp's steps; all from the first to the last are run.
        do_esd : bool, optional
            Whether topsApp estimates misregistration; by default as in the task.
        ionosphere : bool, optional
            Whether it estimates the ionosphere, likewise.
        """
        first, last, folder = steps[0], steps[-1], self.folder
        config = write_config(self.task, folder, do_esd=do_esd, ionosphere=ionosphere)
        write_text(folder / "topsApp.xml", config)
        argv = self.task.installation.command(folder, "topsApp.xml", f"--start={first}", f"--end={last}")
        output: deque[str] = deque(maxlen=400)
        missed: list[str] = []
        with subprocess.Popen(
            argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            assert process.stdout
            for line in process.stdout:
                with contextlib.suppress(OSError):  # the disk of the log is full: topsApp is heard out all the same
                    sys.stdout.write(line)
                if line.strip():
                    output.append(line.rstrip())
                if _WENT_ON.match(line):
                    missed.append(line.strip())
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        _require_success(process.returncode, last, list(output))
        if missed:
            msg = "\n  ".join([f"topsApp went on in {last} over what it could not read:", *missed[:3]])
            raise StepFailed(msg, hint="is a measurement or calibration file damaged or missing? Fetch it again")
        self.read_record(last)
        self._repair_record(last)

    def read_record(self, step: str) -> dict[str, str]:
        """Properties in the record of a topsApp step, which must not be missing, empty or cut short."""
        binary, text = (self.folder / name for name in record_files(step))
        problem: object = f"{binary} is empty"
        try:
            root = ElementTree.parse(text).getroot()
            if binary.stat().st_size:
                return read_properties(root.findall("property"))
        except (OSError, ElementTree.ParseError) as exc:
            problem = exc
        msg = f"topsApp's record of the step {step} cannot be used: {problem}"
        raise StepFailed(msg, hint="run again: the step that writes it will be run anew")

    def read_number(self, step: str, name: str) -> float:
        """Read a number from the record of a topsApp step.

        Parameters
        ----------
        step, name : str
            Of topsApp, and of the property.
        """
        try:
            return float(self.read_record(step)[name])
        except (KeyError, ValueError) as exc:
            msg = f"topsApp's record of the step {step} has no {name}"
            raise StepFailed(msg, hint=UNTRIED) from exc

    def write_number(self, step: str, name: str, value: float) -> None:
        """Change a number in the record of a topsApp step.

        Parameters
        ----------
        step, name : str
            Of topsApp, and of the property.
        value : float
        """
        self.read_number(step, name)
        path = self.folder / record_files(step)[1]
        root = ElementTree.parse(path).getroot()
        for found in root.iterfind(f"property[@name='{name}']/value"):
            found.text = repr(value)
        write_text(path, ElementTree.tostring(root, encoding="unicode") + "\n")

    def _repair_record(self, step: str) -> None:
        """Rewrite numbers that topsApp cannot read back: with NumPy 2 it writes some as ``np.int64(3)``.

        This is the fault reported as: the attribute "commonburststartsecondaryindex" is not present.
        """
        path = self.folder / record_files(step)[1]
        text = path.read_text(encoding="utf-8")
        repaired = _NUMPY_2.sub(r"\1", text)
        if repaired != text:
            write_text(path, repaired)


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
