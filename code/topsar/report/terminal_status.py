"""The status of a run, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from topsar.report.snapshot import finished, job_status, view_of
from topsar.report.table import LONGEST_TITLE, cut, table
from topsar.schedule.jobs import Status
from topsar.wording import DASH, bytes_text, plain, rate_text, seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from topsar.report.entries import StepKind
    from topsar.report.snapshot import View
    from topsar.schedule import Holder, RunRecord
    from topsar.schedule.record import Pulse, StepNow

MOST_RUNNING, MOST_FAILURES, MOST_KINDS = 24, 10, 16
"""Rows shown of each table."""

_COUNTED = (Status.RUNNING, Status.WAITING, Status.FAILED, Status.BLOCKED, Status.INTERRUPTED)


def status_text(record: RunRecord, holder: Holder | None, *, now: float, width: int = 100) -> str:
    """What became of a run so far, in words and tables; short however many steps there are.

    Parameters
    ----------
    record : RunRecord
        The record of the newest run.
    holder : Holder, optional
        Who holds the runs folder, if anybody; asked for before the record was read, so that a run that ends meanwhile
        is not taken for dead.
    now : float
        Seconds since 1970.
    width : int
        No line is longer, as far as numbers allow.
    """
    view = view_of(record, holder, now)
    parts = (
        _fold(view.sentence, width),
        "\n".join(_fold(line, width) for line in _numbers(view)),
        _running(view, width),
        _failures(view.steps_with(Status.FAILED), width),
        _kinds(view.kinds),
    )
    return "\n\n".join(part for part in parts if part)


def status_json(record: RunRecord, holder: Holder | None, *, now: float) -> str:
    """All of it, as JSON; what is not known is null, and a step that was cut short stays ``running``.

    - ``state``: ``running``, ``silent`` (on another host, and nothing was heard of it for a while), ``died``, ``done``,
      ``interrupted``, ``failed`` or ``error``; ``sentence`` says it in words
    - ``pid``, ``host``, ``started``, ``workers``, ``elapsed_s``, ``left_s`` (a rough guess), ``pairs_per_hour``,
      ``retries``, ``freed_bytes``
    - ``pairs`` and ``steps``: counts, ``total``, ``done`` and one per other status
    - ``in_use``, from the newest pulse: ``at_s``, ``running``, ``memory_bytes``, ``reserved_bytes``, ``budget_bytes``,
      ``disk_free_bytes``, ``waiting_for``
    - ``kinds``: for the steps of one name that ended in this run, ``name``, ``done``, ``failures``, ``seconds``,
      ``longest``, ``cores``, ``peak_bytes``, ``predicted_bytes``, ``written_bytes``, ``total_seconds``
    - ``jobs``: ``id``, ``title``, ``is_pair``, ``status`` and ``steps``, each with ``name``, ``status``, ``why``,
      ``attempt``, ``at_s`` (of its newest event), ``seconds``, ``cpu_seconds``, ``peak_memory_bytes``,
      ``written_bytes``, ``message``, ``threads`` and ``reserved_bytes`` (while it runs), and ``predicted``:
      ``memory_bytes``, ``threads``, ``disk_bytes``, ``seconds``
    """
    view = view_of(record, holder, now)
    begun, pulse = record.begun, view.pulse
    jobs = [
        {
            "id": job.id,
            "title": job.title,
            "is_pair": job.is_pair,
            "status": job_status(view.jobs[job.id]).value,
            "steps": [_step_json(step) for step in view.jobs[job.id]],
        }
        for job in begun.jobs
    ]
    known: dict[str, Any] = {
        "state": view.state,
        "sentence": view.sentence,
        "pid": begun.pid,
        "host": begun.host,
        "started": begun.started.isoformat(),
        "elapsed_s": round(view.elapsed_s, 3),
        "left_s": None if view.left_s is None else round(view.left_s),
        "workers": begun.workers,
        "retries": view.retries,
        "freed_bytes": view.freed_bytes,
        "pairs_per_hour": view.pairs_per_hour,
        "pairs": _counts_json(view.pairs),
        "steps": _counts_json(view.steps),
        "in_use": {key: value for key, value in asdict(pulse).items() if key != "line"} if pulse else None,
        "kinds": [asdict(kind) for kind in view.kinds],
        "jobs": jobs,
    }
    return json.dumps(known, indent=1, allow_nan=False)


def _step_json(step: StepNow) -> dict[str, Any]:
    event, planned = step.event, step.planned
    ended = event.ended if event else None
    granted = event.granted if event else None
    return {
        "name": planned.name,
        "status": step.status.value,
        "why": planned.why,
        "attempt": event.attempt if event else None,
        "at_s": step.at_s,
        "seconds": ended.seconds if ended else None,
        "cpu_seconds": ended.cpu_s if ended else None,
        "peak_memory_bytes": ended.peak_memory_bytes if ended else None,
        "written_bytes": ended.written_bytes if ended else None,
        "message": (ended.message if ended else "") or (event.note if event else ""),
        "threads": granted.threads if granted else None,
        "reserved_bytes": granted.memory_bytes if granted else None,
        "predicted": {
            "memory_bytes": planned.memory_bytes,
            "threads": planned.threads,
            "disk_bytes": planned.disk_bytes,
            "seconds": planned.seconds,
        },
    }


def _counts_json(counts: Mapping[Status, int]) -> dict[str, int]:
    return {"total": sum(counts.values()), "done": finished(counts)} | {
        status.value: counts.get(status, 0) for status in _COUNTED
    }


# --- words and tables -------------------------------------------------------------------------------------------


def _fold(text: str, width: int) -> str:
    """Lines of at most ``width`` characters, all but the first below its second column."""
    return textwrap.fill(text, width, subsequent_indent=" " * 9)


def _numbers(view: View) -> Iterable[str]:
    yield f"pairs    {_counts(view.pairs, view)}"
    retries = f", {view.retries} {'retry' if view.retries == 1 else 'retries'}" if view.retries else ""
    yield f"steps    {_counts(view.steps, view)}{retries}"
    if pulse := view.pulse:
        yield f"memory   {_memory(view, pulse)}"
        freed = f", {bytes_text(view.freed_bytes)} freed" if view.freed_bytes else ""
        yield f"disk     {bytes_text(pulse.disk_free_bytes)} free{freed}"
        if pulse.waiting_for and view.is_going:
            yield f"waits    for {plain(pulse.waiting_for)}"
    left = f", about {_about(view.left_s)} left" if view.left_s is not None else ""
    rate = f", {rate_text(view.pairs_per_hour)} pairs per hour" if view.pairs_per_hour else ""
    yield f"time     {seconds_text(view.elapsed_s)}{left}{rate}"


def _memory(view: View, pulse: Pulse) -> str:
    """What is in use now, or was at most once the run is over."""
    budget = f"{bytes_text(pulse.budget_bytes)} budget"
    known = [one.memory_bytes for one in view.record.pulses if one.memory_bytes is not None]
    if not view.is_going:
        return f"{bytes_text(max(known))} in use at most, {budget}" if known else budget
    used = "unknown" if pulse.memory_bytes is None else bytes_text(pulse.memory_bytes)
    return f"{used} in use, {bytes_text(pulse.reserved_bytes)} reserved, {budget}"


def _about(seconds: float) -> str:
    """``40 s``, ``36 min``, ``2.5 h``: no finer than a guess is."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _counts(counts: Mapping[Status, int], view: View) -> str:
    words = {Status.RUNNING: "under way" if view.is_going else "cut short"}
    rest = [f"{counts[status]} {words.get(status, status.value)}" for status in _COUNTED if counts.get(status)]
    return ", ".join([f"{finished(counts)} of {sum(counts.values())} done", *rest])


def _running(view: View, width: int) -> str:
    steps = view.steps_with(Status.RUNNING)
    if not steps:
        return ""
    heading = "under way" if view.is_going else "under way when it ended"
    rows = []
    for step in sorted(steps, key=lambda one: one.at_s or 0.0)[:MOST_RUNNING]:
        granted = step.event.granted if step.event else None
        rows.append(
            [
                cut(step.job.title, min(LONGEST_TITLE, max(width - 56, 12))),
                cut(step.planned.name, 16),
                str(step.event.attempt if step.event else 1),
                seconds_text(max(view.elapsed_s - (step.at_s or 0.0), 0.0)),
                str(granted.threads) if granted else DASH,
                bytes_text(granted.memory_bytes) if granted else DASH,
            ]
        )
    return table([heading, "step", "try", "for", "threads", "reserved"], rows, texts=2) + _more(steps, MOST_RUNNING)


def _failures(steps: Sequence[StepNow], width: int) -> str:
    if not steps:
        return ""
    lines = ["failed"]
    for step in steps[:MOST_FAILURES]:
        ended = step.event.ended if step.event else None
        message = plain(ended.message).strip() if ended else ""
        lines.append(cut(f"  {step.job.title}, {step.planned.name}", width))
        lines += [cut(f"    {line.strip()}", width) for line in message.splitlines()[:6]]
    return "\n".join(lines) + _more(steps, MOST_FAILURES)


def _kinds(kinds: Sequence[StepKind]) -> str:
    if not kinds:
        return ""
    rows = [
        [
            cut(kind.name, 24),
            str(kind.done),
            DASH if kind.seconds is None else seconds_text(kind.seconds),
            bytes_text(kind.peak_bytes) if kind.peak_bytes else DASH,
            DASH if kind.written_bytes is None else bytes_text(kind.written_bytes),
        ]
        for kind in kinds[:MOST_KINDS]
    ]
    return table(["step", "done", "median time", "most memory", "median written"], rows, texts=1) + _more(
        kinds, MOST_KINDS
    )


def _more(rows: Sequence[object], shown: int) -> str:
    return f"\n  and {len(rows) - shown} more" if len(rows) > shown else ""
