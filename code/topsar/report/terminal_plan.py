"""The plan of a run, as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.report.table import LONGEST_TITLE, cut_line, format_table
from topsar.schedule.jobs import Status
from topsar.wording import DASH, bytes_text, count_text, plain, seconds_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topsar.engines import Outlook
    from topsar.schedule.cleanup import Removable
    from topsar.schedule.record import PlannedJob, PlannedStep
    from topsar.schedule.rehearsal import Preview

_MOST_NAMED = 5
_WORDS = {Status.CACHED: "done", Status.WAITING: "to do", Status.UNNEEDED: "not needed"}


def format_plan(jobs: Sequence[PlannedJob], *, totals: Mapping[str, str], width: int = 120) -> str:
    """Describe what a run would do: a table of all steps, and lines of totals.

    Parameters
    ----------
    jobs : sequence of PlannedJob
        In the order in which they are shown.
    totals : mapping
        Value by name, as text.
    width : int
        Titles and reasons are cut so that no line is longer, as far as numbers allow.
    """
    rows = [_make_row(job, step, is_first=place == 0) for job in jobs for place, step in enumerate(job.steps)]
    heads = ["pair or shared work", "step", "status", "why", "memory", "threads", "disk", "time"]
    longest = max((len(row[0]) for row in rows), default=0)
    fixed = sum(max(len(row[place]) for row in [heads, *rows]) + 2 for place in (1, 2, 4, 5, 6, 7))
    why = max(width - fixed - max(longest, len(heads[0])) - 2, len(heads[3]))
    steps = format_table(heads, [[*row[:3], cut_line(row[3], why), *row[4:]] for row in rows], texts=4) if rows else ""
    name = max((len(key) for key in totals), default=0)
    lines = "\n".join(f"{key:<{name}}  {plain(value)}" for key, value in totals.items())
    return "\n\n".join(part for part in (steps, lines) if part)


def format_outlooks(outlooks: Mapping[str, Outlook]) -> str:
    """Describe what each pair, by title, will be made from, and what is worth knowing about it."""
    heads = ["pair", "orbits", "IPF", "days", "bursts", "of reference", "of secondary", "of ROI"]
    rows = [
        [
            cut_line(title, LONGEST_TITLE),
            ", ".join(dict.fromkeys(one.orbits)),
            ", ".join(one.ipf),
            str(one.days),
            str(one.bursts),
            str(one.reference_bursts),
            str(one.secondary_bursts),
            DASH if one.covered is None else f"{100 * one.covered:.0f} %",
        ]
        for title, one in outlooks.items()
    ]
    remarks = [
        f"{cut_line(title, LONGEST_TITLE)}: {remark.text}\n    {remark.remedy}"
        for title, one in outlooks.items()
        for remark in one.remarks
    ]
    return "\n\n".join([format_table(heads, rows, texts=3) if rows else "", *remarks]).strip()


def sum_up_plan(preview: Preview, *, refused: int) -> dict[str, str]:
    """Sum up a preview: value by name, as text.

    Parameters
    ----------
    preview : Preview
    refused : int
        Pairs that cannot be processed and are not in the preview.
    """
    pairs = [job for job in preview.jobs if job.is_pair]
    waiting = sum(step.status is Status.WAITING for job in preview.jobs for step in job.steps)
    to_do = sum(any(step.status is Status.WAITING for step in job.steps) for job in pairs)
    rehearsal, capacity = preview.rehearsal, preview.capacity
    totals = {
        "pairs": f"{to_do} to do, {len(pairs) - to_do} done" + (f", {refused} cannot be processed" if refused else ""),
        "steps to run": str(waiting),
        "time": f"about {seconds_text(rehearsal.seconds)}" if preview.is_timed else "unknown until some steps are done",
        "memory": f"at most {bytes_text(rehearsal.peak_memory_bytes)} of {bytes_text(capacity.memory_bytes)} at once",
        "disk": f"at most {bytes_text(rehearsal.peak_disk_bytes)} of {bytes_text(max(0, capacity.disk_bytes))} at once",
        "cores": str(capacity.threads),
    }
    if rehearsal.unfitting:
        totals["do not fit"] = ", ".join("/".join(step) for step in rehearsal.unfitting[:_MOST_NAMED])
    return totals


def format_removable(found: Sequence[Removable], *, is_dry: bool) -> str:
    """Describe what was removed, or would be.

    Parameters
    ----------
    found : sequence of Removable
    is_dry : bool
        Whether it is still there.
    """
    lines = [f"{bytes_text(one.size):>8}  {plain(str(one.path))}  ({one.why})" for one in found]
    total = bytes_text(sum(one.size for one in found))
    count = count_text(len(found), "path")
    verb = "would be removed" if is_dry else "removed"
    return "\n".join([*lines, f"{count}, {total}, {verb}" if found else "nothing to remove"])


def _make_row(job: PlannedJob, step: PlannedStep, *, is_first: bool) -> list[str]:
    needs = ["", "", "", ""]
    if step.status is Status.WAITING:
        needs = [
            bytes_text(step.memory_bytes),
            str(step.threads),
            bytes_text(step.disk_bytes),
            seconds_text(step.seconds),
        ]
    title = cut_line(job.title, LONGEST_TITLE) if is_first else ""
    return [title, cut_line(step.name, 20), _WORDS.get(step.status, step.status.value), plain(step.why), *needs]
