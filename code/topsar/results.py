"""The products of a pair."""

from __future__ import annotations

import platform
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata
from typing import TYPE_CHECKING, Any

from topsar import __version__
from topsar.files import replaced_folder
from topsar.schedule import read_journal
from topsar.schedule.jobs import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from topsar.engines import Engine


def write_products(folder: Path, engine: Engine, known: Mapping[str, Any]) -> None:
    """Layers, facts and pictures of one pair; the folder appears when all of it is written."""
    from topsar.formats.geotiff import write_layers
    from topsar.formats.quicklook import write_quicklooks

    interferogram = engine.collect(folder)
    facts = interferogram.facts | {
        "settings": known["options"],
        "versions": _versions(),
        "steps": _steps(folder.parent, known["jobs"]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    interferogram = replace(interferogram, facts=facts)
    with replaced_folder(folder / "products") as staging:
        write_layers(interferogram, staging)
        write_quicklooks(interferogram, staging)


def _versions() -> dict[str, str]:
    versions = {"topsar": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "numba", "rasterio", "pyproj", "snaphu", "whirlwind-insar"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _steps(runs: Path, jobs: Sequence[str]) -> list[dict[str, Any]]:
    """What the finished steps of some jobs took, from their journals."""
    found = []
    for job in jobs:
        latest = {event.step: event for event in read_journal(runs / job / "journal.jsonl") if event.ended}
        for name, event in latest.items():
            if event.status is Status.DONE and event.ended is not None:
                found.append(
                    {
                        "job": job,
                        "name": name,
                        "seconds": round(event.ended.seconds, 2),
                        "cpu_seconds": round(event.ended.cpu_s, 2),
                        "peak_memory_bytes": event.ended.peak_memory_bytes,
                        "written_bytes": event.ended.written_bytes,
                    }
                )
    return found
