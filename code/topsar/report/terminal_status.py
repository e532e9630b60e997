"""The status of a run, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from topsar.report.snapshot import count_finished, find_status
from topsar.report.table import LONGEST_TITLE, cut_line, format_table
from topsar.schedule.jobs import Status
from topsar.wording import DASH, bytes_text, count_text, plain, rate_text, seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from topsar.report.snapshot import Snapshot, StepSummary
    from topsar.schedule.record import Pulse, StepNow

MOST_RUNNING, MOST_FAILURES, MOST_KINDS = 24, 10, 16
"""Rows shown of each table."""

_COUNTED = (Status.RUNNING, Status.WAITING, Status.FAILED, Status.BLOCKED, Status.INTERRUPTED)


def format_status(shot: Snapshot, width: int = 100) -> str:
    """Describe how a run stands, in words and tables; short however many steps there are.

    Parameters
    ----------
    shot : Snapshot
    width : int
        No line is longer, as far as numbers allow.
    """
    parts = (
        textwrap.fill(shot.sentence, width, subsequent_indent=" " * 9),
        _describe_numbers(shot, width),
        _list_running(shot, width),
        _list_failures(shot, width),
        _list_kinds(shot.kinds),
    )
    return "\n\n".join(part for part in parts if part)


def dump_status(shot: Snapshot) -> str:
    """Describe how a run stands, as JSON; unknown values are null, and a step that was cut short stays ``running``.

    The user guide lists the keys.
    """
    begun, pulse = shot.record.begun, shot.pulse
    known: dict[str, Any] = {
        "state": shot.state,
        "sentence": shot.sentence,
        "pid": begun.pid,
        "host": begun.host,
        "started": begun.started.isoformat(),
        "elapsed_s": round(shot.elapsed_s, 3),
        "left_s": None if shot.left_s is None else round(shot.left_s),
        "workers": begun.workers,
        "retries": shot.retries,
        "freed_bytes": shot.freed_bytes,
        "pairs_per_hour": shot.pairs_per_hour,
        "pairs": _dump_counts(shot.pairs),
        "steps": _dump_counts(shot.steps),
        "in_use": {key: value for key, value in asdict(pulse).items() if key != "line"} if pulse else None,
        "kinds": [asdict(kind) for kind in shot.kinds],
        "jobs": [
            {
                "id": job.id,
                "title": job.title,
                "is_pair": job.is_pair,
                "status": find_status(shot.jobs[job.id]).value,
                "steps": [_dump_step(step) for step in shot.jobs[job.id]],
            }
            for job in begun.jobs
        ],
    }
    return json.dumps(known, indent=1, allow_nan=False)


def _dump_step(step: StepNow) -> dict[str, Any]:
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
        "predicted": {name: getattr(planned, name) for name in ("memory_bytes", "threads", "disk_bytes", "seconds")},
    }


def _dump_counts(counts: Mapping[Status, int]) -> dict[str, int]:
    known = {"total": sum(counts.values()), "done": count_finished(counts)}
    return known | {status.value: counts.get(status, 0) for status in _COUNTED}


def _describe_numbers(shot: Snapshot, width: int) -> str:
    lines = [f"pairs    {_describe_counts(shot.pairs, shot)}"]
    retries = f", {count_text(shot.retries, 'retry', 'retries')}" if shot.retries else ""
    lines.append(f"steps    {_describe_counts(shot.steps, shot)}{retries}")
    if pulse := shot.pulse:
        lines.append(f"memory   {_describe_memory(shot, pulse)}")
        freed = f", {bytes_text(shot.freed_bytes)} freed" if shot.freed_bytes else ""
        lines.append(f"disk     {bytes_text(pulse.disk_free_bytes)} free{freed}")
        if pulse.waiting_for and shot.is_going:
            lines.append(f"waiting  for {plain(pulse.waiting_for)}")
    left = f", about {_round_guess(shot.left_s)} left" if shot.left_s is not None else ""
    rate = f", {rate_text(shot.pairs_per_hour)} pairs per hour" if shot.pairs_per_hour else ""
    lines.append(f"time     {seconds_text(shot.elapsed_s)}{left}{rate}")
    return "\n".join(textwrap.fill(line, width, subsequent_indent=" " * 9) for line in lines)


def _describe_counts(counts: Mapping[Status, int], shot: Snapshot) -> str:
    words = {Status.RUNNING: "running" if shot.is_going else "cut short"}
    rest = [f"{counts[status]} {words.get(status, status.value)}" for status in _COUNTED if counts.get(status)]
    return ", ".join([f"{count_finished(counts)} of {sum(counts.values())} done", *rest])


def _describe_memory(shot: Snapshot, pulse: Pulse) -> str:
    """Memory in use now; after the run, the most that was in use."""
    budget = f"{bytes_text(pulse.budget_bytes)} budget"
    known = [one.memory_bytes for one in shot.record.pulses if one.memory_bytes is not None]
    if not shot.is_going:
        return f"at most {bytes_text(max(known))} in use, {budget}" if known else budget
    used = "unknown" if pulse.memory_bytes is None else bytes_text(pulse.memory_bytes)
    return f"{used} in use, {bytes_text(pulse.reserved_bytes)} reserved, {budget}"


def _round_guess(seconds: float) -> str:
    """``40 s``, ``36 min``, ``2.5 h``: as coarse as a guess."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _list_running(shot: Snapshot, width: int) -> str:
    rows = []
    for step in sorted(shot.find_steps(Status.RUNNING), key=lambda one: one.at_s or 0.0):
        granted = step.event.granted if step.event else None
        rows.append(
            [
                cut_line(step.job.title, min(LONGEST_TITLE, max(width - 56, 12))),
                cut_line(step.planned.name, 16),
                str(step.event.attempt if step.event else 1),
                seconds_text(max(shot.elapsed_s - (step.at_s or 0.0), 0.0)),
                str(granted.threads) if granted else DASH,
                bytes_text(granted.memory_bytes if granted else None),
            ]
        )
    heading = "running" if shot.is_going else "running when it ended"
    return _cap([heading, "step", "try", "for", "threads", "reserved"], rows, texts=2, most=MOST_RUNNING)


def _list_failures(shot: Snapshot, width: int) -> str:
    steps = shot.find_steps(Status.FAILED)
    lines = ["failed"]
    for step in steps[:MOST_FAILURES]:
        ended = step.event.ended if step.event else None
        message = plain(ended.message).strip() if ended else ""
        lines.append(cut_line(f"  {step.job.title}, {step.planned.name}", width))
        lines += [cut_line(f"    {line.strip()}", width) for line in message.splitlines()[:6]]
    if len(steps) > MOST_FAILURES:
        lines.append(f"  and {len(steps) - MOST_FAILURES} more")
    return "\n".join(lines) if steps else ""


def _list_kinds(kinds: Iterable[StepSummary]) -> str:
    rows = [
        [
            cut_line(kind.name, 24),
            str(kind.done),
            seconds_text(kind.seconds),
            bytes_text(kind.peak_bytes or None),
            bytes_text(kind.written_bytes),
        ]
        for kind in kinds
    ]
    return _cap(["step", "done", "median time", "peak memory", "median written"], rows, texts=1, most=MOST_KINDS)


def _cap(heads: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int, most: int) -> str:
    """A table of the first rows, and how many more there are; empty without rows."""
    more = f"\n  and {len(rows) - most} more" if len(rows) > most else ""
    return format_table(heads, rows[:most], texts=texts) + more if rows else ""
