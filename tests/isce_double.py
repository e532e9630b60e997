"""The double of ISCE2 as an installation, its option file and its record."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from topsar.engines.isce2.install import Installation, find_installation

HOME = Path(__file__).parent / "fake_isce" / "isce"


def double() -> Installation:
    """The installation of the double."""
    return find_installation(str(HOME), sys.executable)


def instruct(folder: Path, *faults: dict[str, Any], **options: Any) -> None:
    """Say what the double shall do in the run folders below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fake_isce.json").write_text(json.dumps({**options, "faults": list(faults)}))


def recorded(folder: Path, event: str) -> list[dict[str, Any]]:
    """What the double noted beside its option file: each ``start`` of it, each ``step``, each ``done``."""
    lines = (folder / "fake_isce.starts.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]
