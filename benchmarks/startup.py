"""How long it takes to start: the command line, and a step of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from machine import cpu_time, timed

_STARTS = {
    "python": "pass",
    "command line": "import topsar.cli",
    "planning": "import topsar.workflow, topsar.engines.native",
    "a step": "import topsar.workflow, topsar.engines.native.steps.filter",
}
_REPEATS = 5


def measure() -> Iterator[dict[str, Any]]:
    """One row for each thing that is imported: least CPU seconds, the interpreter's own included."""
    for name, code in _STARTS.items():
        argv = [sys.executable, "-c", code]
        seconds = [timed(lambda argv=argv: subprocess.run(argv, check=True), cpu_time) for _ in range(_REPEATS)]
        yield {"start": name, "cpu_s": min(seconds)}
