"""The option file that a test leaves for the double, and the record of what was started."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = "fake_isce.json"
STARTS = "fake_isce.starts.jsonl"
RECORDED = ("OMP_NUM_THREADS", "ISCE_HOME", "PYTHONPATH", "HOME", "MPLBACKEND", "TMPDIR", "PATH")

ESD = {"misregistration_px": 0.004, "range_shift_px": -0.001, "coherence": 0.97}
"""Injected azimuth misregistration, what rangecoreg says of range (both in pixels), coherence in the overlaps."""


@dataclass(frozen=True)
class Options:
    """What the option file asks for; without a file, a run without faults that records nothing."""

    path: Path | None = None
    truth: dict[str, Any] = field(default_factory=dict)
    esd: dict[str, float] = field(default_factory=lambda: dict(ESD))
    faults: tuple[dict[str, Any], ...] = ()
    numpy2: bool = False

    @property
    def starts(self) -> Path | None:
        return self.path.with_name(STARTS) if self.path else None


def _find_file() -> Path | None:
    if named := os.environ.get("FAKE_ISCE"):
        return Path(named)
    here = Path.cwd()
    return next((folder / NAME for folder in (here, *here.parents) if (folder / NAME).is_file()), None)


def load_options() -> Options:
    path = _find_file()
    if path is None:
        return Options()
    given = json.loads(path.read_text())
    unknown = set(given) - {"truth", "esd", "faults", "numpy2"}
    if unknown:
        message = f"{path}: unknown options {sorted(unknown)}"
        raise ValueError(message)
    return Options(
        path=path.resolve(),
        truth=given.get("truth", {}),
        esd={**ESD, **given.get("esd", {})},
        faults=tuple(given.get("faults", ())),
        numpy2=bool(given.get("numpy2", False)),
    )


def record(options: Options, event: str, **facts: Any) -> None:
    """Append one line to the record of starts; one write, so that runs side by side do not mix."""
    if options.starts is None:
        return
    line = {"event": event, "pid": os.getpid(), "cwd": str(Path.cwd()), "time": time.time(), **facts}
    with options.starts.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def record_start(options: Options, settings: Path | None) -> None:
    env = {name: os.environ[name] for name in RECORDED if name in os.environ}
    text = settings.read_text(errors="replace") if settings and settings.is_file() else None
    record(options, "start", argv=sys.argv[1:], python=sys.executable, env=env, xml=text)


def count_attempt(options: Options, step: str) -> int:
    """Which attempt at a step in this run folder this is, counted from one."""
    if options.starts is None or not options.starts.is_file():
        return 1
    here = str(Path.cwd())
    lines = [json.loads(line) for line in options.starts.read_text().splitlines()]
    return 1 + len([line for line in lines if line["event"] == "step" and line["step"] == step and line["cwd"] == here])
