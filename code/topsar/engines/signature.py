"""What decides a step's result, as text that is the same wherever the inputs lie."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def sign(key: str, known: Any, files: Iterable[Path]) -> str:
    """What is known, without the folders that inputs lie in, and what identifies these inputs.

    Parameters
    ----------
    key : str
        Engine, version and whatever else tells one kind of step from another.
    known
        What JSON can hold.
    files : iterable of Path
        Inputs; ``/vsizip/`` paths too.
    """
    return json.dumps([key, _without_folders(known), sorted({identity(path) for path in files})], sort_keys=True)


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: str(part).rpartition("/")[2] if key in ("path", "measurement", "geoid") else _without_folders(part)
            for key, part in value.items()
        }
    return [_without_folders(part) for part in value] if isinstance(value, list) else value


def identity(path: Path) -> str:
    """Name, size and time of a file, of its archive for a file inside one; the name alone of a folder.

    A DEM that was fetched is known by name and size: one that is fetched again is the same.
    """
    archive = re.match(r"/vsizip/\{(.+)\}/", str(path))
    outer = Path(archive[1]) if archive else path
    if not outer.is_file():
        return outer.name
    stat = outer.stat()
    if "provisioned" in outer.parent.parts:
        return f"{outer.name} {stat.st_size}"
    return f"{outer.name} {stat.st_size} {stat.st_mtime_ns}"
