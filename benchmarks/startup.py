"""How long it takes to start: the command line, and a step of a run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from machine import cpu_time, timed

from topsar.engines.step import PRELOAD
from topsar.schedule.command import THREAD_VARIABLES, run_command
from topsar.schedule.forking import Parent
from topsar.schedule.guard import MARK
from topsar.schedule.jobs import Command

_STARTS = {
    "python": "pass",
    "command line": "import topsar.cli",
    "planning": "import topsar.workflow, topsar.engines.native",
    "a step": "import topsar.workflow, topsar.engines.native.steps.filter",
}
_REPEATS = 5


_FIRST_LINE = "import time, topsar.cli, topsar.engines.native.steps.filter\nprint('at', time.monotonic_ns())\n"


def measure() -> Iterator[dict[str, Any]]:
    """One row for each thing that is imported: least CPU seconds, the interpreter's own included."""
    for name, code in _STARTS.items():
        argv = [sys.executable, "-c", code]
        seconds = [timed(lambda argv=argv: subprocess.run(argv, check=True), cpu_time) for _ in range(_REPEATS)]
        yield {"start": name, "cpu_s": min(seconds)}


def measure_admission() -> dict[str, list[float]]:
    """Seconds from admission of a step to its first line, started anew and forked in turns; the first fork apart."""
    found: dict[str, list[float]] = {"started anew": [], "forked": []}
    mark = uuid.uuid4().hex
    parent = Parent(mark)
    with tempfile.TemporaryDirectory() as folder, closing(parent):
        place = Path(folder)
        (place / "first_line.py").write_text(_FIRST_LINE)
        for number in range(2 * _REPEATS + 2):
            forked = bool(number % 2)
            command = Command(
                argv=(sys.executable, "-m", "first_line"),
                cwd=place,
                log=place / f"{number}.log",
                env={MARK: f"{mark}.{number}."} | dict.fromkeys(THREAD_VARIABLES, "1"),
                preload=PRELOAD,
            )
            began = time.monotonic_ns()
            run_command(command, None, parent.fork if forked else None)
            line = command.log.read_text().splitlines()[-1]
            found["forked" if forked else "started anew"].append((int(line.split()[1]) - began) / 1e9)
    return {name: seconds[1:] for name, seconds in found.items()} | {"first fork": found["forked"][:1]}
