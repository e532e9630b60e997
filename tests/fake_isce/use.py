"""How a test puts the double in the place of ISCE2: the environment, the option file, the record of starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from topsar.engines.isce2.installation import Installation, find_installation

PACKAGES = Path(__file__).resolve().parent
ISCE_HOME = PACKAGES / "isce"
TOPSAPP = ISCE_HOME / "applications" / "topsApp.py"
OBSERVED = PACKAGES / "observed.json"


def environment(**changes: str) -> dict[str, str]:
    """The variables under which the double runs, on top of those of the test."""
    path = f"{ISCE_HOME / 'applications'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    ours = {"ISCE_HOME": str(ISCE_HOME), "PYTHONPATH": str(PACKAGES), "PATH": path, "OMP_NUM_THREADS": "1"}
    return {**os.environ, **ours, **changes}


def double() -> Installation:
    """The installation, as topsar finds it."""
    return find_installation(str(ISCE_HOME), sys.executable)


def write_options(folder: Path, **options: Any) -> Path:
    """Write the option file of all runs in and under a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fake_isce.json"
    path.write_text(json.dumps(options))
    return path


def read_record(folder: Path, event: str | None = None) -> list[dict[str, Any]]:
    """What the double noted beside the option file, of one event or of all."""
    path = folder / "fake_isce.starts.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [line for line in lines if event in (None, line["event"])]


def topsapp(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the double in a folder; what it prints on both outputs is in ``stdout``."""
    return subprocess.run(
        [sys.executable, str(TOPSAPP), "topsApp.xml", *arguments],
        cwd=folder,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
