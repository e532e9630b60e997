"""What a run leaves for people: each pair's products, and the report of the batch."""

from __future__ import annotations

import json
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata
from typing import TYPE_CHECKING, Any

import psutil

from topsar import __version__
from topsar.schedule import read_journal, read_record
from topsar.schedule.jobs import Outcome, Status
from topsar.settings import GIGABYTE, KEYS, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from topsar.engines import Engine
    from topsar.report import AttemptEntry, FailureEntry, PairEntry, Timeline
    from topsar.schedule import RunRecord
    from topsar.schedule.record import Moment, PlannedJob, PlannedStep
    from topsar.settings import Settings


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
    """Write ``report.html``: every pair of the batch, done or not, and how the run went, as far as it was recorded."""
    from topsar.report import SettingEntry, Totals, write_report
    from topsar.report.closure import close_triplets

    peaks = [event.ended.peak_memory_bytes for one in outcomes for event in one.events if event.ended]
    shown = resolved(settings)["settings"]
    titles = {one.job: one.title for one in outcomes}
    pairs = [_report_entry(runs, one, titles) for one in outcomes if one.is_pair]
    record = read_record(runs)
    is_ours = record is not None and record.begun.started >= started  # where nothing ran, it tells of an earlier run
    write_report(
        runs / "report.html",
        title="Sentinel-1 interferograms",
        pairs=pairs,
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
        failures=[_failure(runs, one, outcomes) for one in outcomes if not one.is_pair and one.status is Status.FAILED],
        timeline=_timeline(record) if record and is_ours else None,
        closures=close_triplets([pair.folder for pair in pairs if pair.folder]),
    )


def _report_entry(runs: Path, outcome: Outcome, titles: Mapping[str, str]) -> PairEntry:
    from topsar.report import PairEntry, StepEntry

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
    message = outcome.message
    if folder.is_dir():
        message += f"\n{folder.relative_to(runs)} is left from an earlier run."
    return PairEntry(
        pair_id=outcome.job,
        status=outcome.status,
        message=message,
        steps=tuple(steps),
        log_tail=_log_tail(runs, outcome),
    )


def _log_tail(runs: Path, outcome: Outcome) -> tuple[str, ...]:
    """The last lines of the step that failed; a step that never ran has none, or one of an earlier run."""
    failed = [event for event in outcome.events if event.status is Status.FAILED and event.ended]
    if not failed or not (failed[-1].ended and failed[-1].ended.seconds):
        return ()
    log_file = runs / outcome.job / f"{failed[-1].step}.log"
    return tuple(log_file.read_text(errors="replace").splitlines()[-20:]) if log_file.is_file() else ()


def _failure(runs: Path, outcome: Outcome, outcomes: Sequence[Outcome]) -> FailureEntry:
    """A job that failed and feeds pairs."""
    from topsar.report import FailureEntry

    return FailureEntry(
        title=outcome.title,
        message=outcome.message,
        log_tail=_log_tail(runs, outcome),
        blocks=tuple(one.job for one in outcomes if one.is_pair and outcome.job in _feeding(runs, one.job)),
    )


def _feeding(runs: Path, job: str) -> set[str]:
    """The jobs that a job reads from, itself among them."""
    try:
        return set(json.loads((runs / job / "run.json").read_text())["jobs"])
    except (OSError, ValueError, KeyError):
        return set()


def _timeline(record: RunRecord) -> Timeline:
    from topsar.report import PulseEntry, Timeline

    found = [step.status for job in record.begun.jobs for step in job.steps]
    return Timeline(
        seconds=record.last_s,
        attempts=tuple(_attempts(record)),
        pulses=tuple(
            PulseEntry(
                at_s=pulse.at_s,
                memory_bytes=pulse.memory_bytes,
                reserved_bytes=pulse.reserved_bytes,
                budget_bytes=pulse.budget_bytes,
            )
            for pulse in record.pulses
        ),
        steps=len(found),
        done_before=found.count(Status.CACHED),
        not_needed=found.count(Status.UNNEEDED),
    )


def _attempts(record: RunRecord) -> Iterator[AttemptEntry]:
    """Every try of a step, from its start to what came of it; one without an end lasted until the last line."""
    steps = {(job.id, step.name): (job, step) for job in record.begun.jobs for step in job.steps}
    under_way: dict[tuple[str, str], Moment] = {}
    for moment in record.moments:
        place = (moment.event.job, moment.event.step)
        if place not in steps or moment.event.freed_bytes:
            continue
        if moment.event.status is Status.RUNNING:
            under_way[place] = moment
        elif place in under_way:
            yield _attempt(*steps[place], under_way.pop(place), moment)
    for place, begun in under_way.items():
        yield _attempt(*steps[place], begun, replace(begun, at_s=record.last_s))


def _attempt(job: PlannedJob, step: PlannedStep, begun: Moment, ended: Moment) -> AttemptEntry:
    from topsar.report import AttemptEntry

    return AttemptEntry(
        job=job.title,
        step=step.name,
        start_s=begun.at_s,
        end_s=ended.at_s,
        status=ended.event.status,
        attempt=begun.event.attempt,
        predicted_bytes=step.memory_bytes,
        ended=ended.event.ended,
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
