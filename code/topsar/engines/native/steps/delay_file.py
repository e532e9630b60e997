"""The range delay of a date on the disk, between the steps that find and use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topsar.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FILE = "delay.json"


def write_delay(folder: Path, found: Mapping[str, Any]) -> None:
    """Write what was found of a date's delay, in range samples.

    Parameters
    ----------
    folder : Path
    found : mapping
        ``applied_pixels`` is what geocoding must apply.
    """
    write_json(folder / _FILE, found)


def read_delay(folder: Path) -> dict[str, Any]:
    """Read what `write_delay` wrote into ``folder``."""
    return read_json(folder / _FILE)
