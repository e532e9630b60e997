"""What a run leaves for people: each pair's products, and the report of the batch."""

from __future__ import annotations

import json
import os
import platform
import shutil
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata
from typing import TYPE_CHECKING, Any

import psutil

from topsar import __version__
from topsar.model import Outcome, Status
from topsar.schedule import read_journal
from topsar.settings import KEYS, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from topsar.engines import Engine
    from topsar.products.report import PairEntry
    from topsar.settings import Settings

GIGABYTE = 1_000_000_000


def write_products(folder: Path, engine: Engine, known: Mapping[str, Any]) -> None:
    """Layers, facts and pictures of one pair; the folder appears when all of it is written."""
    from topsar.products.geotiff import write_layers
    from topsar.products.quicklook import write_quicklooks

    interferogram = engine.collect(folder)
    facts = interferogram.facts | {
        "settings": known["options"],
        "versions": _versions(),
        "steps": _steps(folder.parent, known["jobs"]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    interferogram = replace(interferogram, facts=facts)
    staging = folder / "products.part"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        write_layers(interferogram, staging)
        write_quicklooks(interferogram, staging)
        _replace(folder / "products", staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _replace(folder: Path, staging: Path) -> None:
    """Let ``staging`` take the place of ``folder``, which may or may not be there."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_batch_report(
    runs: Path, outcomes: Sequence[Outcome], settings: Settings, started: datetime, seconds: float
) -> None:
    """Write ``report.html``: every pair of the batch, done or not."""
    from topsar.products.report import SettingEntry, Totals, write_report

    peaks = [event.ended.peak_memory_bytes for one in outcomes for event in one.events if event.ended]
    shown = resolved(settings)["settings"]
    titles = {one.job: one.title for one in outcomes}
    write_report(
        runs / "report.html",
        title="Sentinel-1 interferograms",
        pairs=[_report_entry(runs, one, titles) for one in outcomes if one.is_pair],
        machine=_machine(),
        settings=[
            SettingEntry(key=key.name, meaning=key.meaning, **shown[key.name]) for key in KEYS if key.name in shown
        ],
        totals=Totals(
            started=started,
            seconds=seconds,
            peak_memory_bytes=max(peaks, default=None),
            freed_bytes=sum(one.freed_bytes for one in outcomes),
        ),
    )


def _report_entry(runs: Path, outcome: Outcome, titles: Mapping[str, str]) -> PairEntry:
    from topsar.products.report import PairEntry, StepEntry

    ended = [event for event in outcome.events if event.ended]
    steps = [
        StepEntry(name=e.step, status=e.status, seconds=e.ended.seconds, peak_memory_bytes=e.ended.peak_memory_bytes)
        for e in ended
        if e.ended
    ]
    folder = runs / outcome.job / "products"
    if outcome.status in (Status.DONE, Status.CACHED):
        facts = json.loads((folder / "facts.json").read_text())
        fed = [
            StepEntry(
                name=f"{step['name']} {titles.get(step['job'], step['job'])}",
                status=Status.DONE,
                seconds=step["seconds"],
                peak_memory_bytes=step["peak_memory_bytes"],
            )
            for step in facts["steps"]
            if step["job"] != outcome.job
        ]
        return PairEntry(pair_id=outcome.job, status=outcome.status, facts=facts, folder=folder, steps=(*fed, *steps))
    log_file = runs / outcome.job / f"{ended[-1].step}.log" if ended else None
    tail = log_file.read_text(errors="replace").splitlines()[-20:] if log_file and log_file.is_file() else []
    message = outcome.message
    if folder.is_dir():
        message += f"\n{folder.relative_to(runs)} is left from an earlier run."
    return PairEntry(
        pair_id=outcome.job, status=outcome.status, message=message, steps=tuple(steps), log_tail=tuple(tail)
    )


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{psutil.virtual_memory().total / GIGABYTE:.1f} GB memory",
        "topsar": f"topsar {__version__}",
        "python": f"Python {platform.python_version()}",
    }


def _versions() -> dict[str, str]:
    packages = ("numpy", "scipy", "numba", "rasterio", "pyproj", "snaphu", "whirlwind-insar")
    installed = {dist.name.lower(): dist.version for dist in metadata.distributions() if dist.name}
    return {"topsar": __version__, "python": platform.python_version()} | {
        name: installed[name] for name in packages if name in installed
    }


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
                    }
                )
    return found
