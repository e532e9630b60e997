"""A run as it stands at a moment: what text and JSON are made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topsar.report.entries import AttemptEntry, step_kinds
from topsar.schedule.jobs import Status
from topsar.wording import plain, seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from topsar.report.entries import StepKind
    from topsar.schedule import Holder, RunRecord
    from topsar.schedule.record import Pulse, StepNow

ALIVE_S = 120.0
"""A run on another host, whose process cannot be seen, is taken for alive while its record is younger than this."""

_FINISHED = frozenset({Status.DONE, Status.CACHED, Status.UNNEEDED})
_OPEN = frozenset({Status.WAITING, Status.RUNNING})
_WORST_FIRST = (Status.FAILED, Status.BLOCKED, Status.INTERRUPTED)
_GOING = ("running", "silent")
_RESUMES = "the same command resumes"
_ENDS = {
    **dict.fromkeys((status.value for status in _FINISHED), "done"),
    **dict.fromkeys((Status.FAILED.value, Status.BLOCKED.value), "failed"),
    Status.INTERRUPTED.value: "interrupted",
}
"""State of a run by how its record ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A run at a moment; ``sentence`` says its state in words."""

    record: RunRecord
    state: str
    sentence: str
    elapsed_s: float
    left_s: float | None
    jobs: Mapping[str, list[StepNow]]
    pairs: Mapping[Status, int]
    steps: Mapping[Status, int]
    retries: int
    freed_bytes: int
    pairs_per_hour: float | None
    kinds: tuple[StepKind, ...]

    @property
    def pulse(self) -> Pulse | None:
        """The newest."""
        return self.record.pulses[-1] if self.record.pulses else None

    @property
    def is_going(self) -> bool:
        """Whether it goes on, as far as can be known."""
        return self.state in _GOING

    def steps_with(self, status: Status) -> list[StepNow]:
        """The steps that have a status now."""
        return [step for steps in self.jobs.values() for step in steps if step.status is status]


def view_of(record: RunRecord, holder: Holder | None, now: float) -> View:
    """Derive it; ``now`` is seconds since 1970."""
    steps = record.steps()
    jobs: dict[str, list[StepNow]] = {job.id: [] for job in record.begun.jobs}
    for (job, _), step in steps.items():
        jobs[job].append(step)
    state = _state(record, holder, now)
    is_going = state in _GOING
    silence = max(now - record.written, 0.0)
    # The clock of the run plus the silence since: a clock that was set meanwhile does little harm.
    elapsed = record.last_s + (silence if is_going else 0.0)
    pairs = Counter(job_status(jobs[job.id]) for job in record.begun.jobs if job.is_pair)
    fresh = pairs[Status.DONE]
    return View(
        record=record,
        state=state,
        sentence=_sentence(record, holder, state, elapsed, silence),
        elapsed_s=elapsed,
        left_s=_left_s(jobs.values(), elapsed) if is_going else None,
        jobs=jobs,
        pairs=pairs,
        steps=Counter(step.status for step in steps.values()),
        retries=sum(m.event.status is Status.RUNNING and m.event.attempt > 1 for m in record.moments),
        freed_bytes=sum(moment.event.freed_bytes for moment in record.moments),
        pairs_per_hour=round(3600 * fresh / elapsed, 3) if fresh and elapsed else None,
        kinds=step_kinds(_ended_here(steps, record)),
    )


def _state(record: RunRecord, holder: Holder | None, now: float) -> str:
    if record.end is not None:
        return _ENDS.get(record.end.how, "error")
    if holder is None or holder.mark != record.begun.mark or holder.is_alive is False:
        return "died"
    if holder.is_alive is None and now - record.written > ALIVE_S:
        return "silent"
    return "running"


def _sentence(record: RunRecord, holder: Holder | None, state: str, elapsed: float, silence: float) -> str:
    begun = record.begun
    since = f"since {begun.started:%Y-%m-%d %H:%M} {begun.started:%Z}".rstrip()
    who, took = f"pid {begun.pid} on {plain(begun.host)}", seconds_text(elapsed)
    said = {
        "running": f"running ({who}), {since}, for {took}",
        "silent": f"running or dead ({who}): no sign of life for {seconds_text(silence)}; look there",
        "died": f"its scheduler ({who}) died: {_RESUMES}",
        "done": f"done in {took}",
        "interrupted": f"interrupted after {took}: {_RESUMES}",
        "failed": f"ended with failures after {took}",
        "error": f"ended after {took}: {plain(record.end.how) if record.end else ''}",
    }[state]
    if holder is not None and holder.mark != begun.mark and holder.is_alive is not False:
        return f"a new run (pid {holder.pid} on {plain(holder.host)}) is getting ready; the one before: {said}"
    return said


def job_status(steps: Sequence[StepNow]) -> Status:
    """What became of a job so far; it is running from its first step on."""
    found = {step.status for step in steps}
    if worst := next((status for status in _WORST_FIRST if status in found), None):
        return worst
    if found & _OPEN:
        return Status.RUNNING if found & {Status.RUNNING, Status.DONE} else Status.WAITING
    return Status.DONE if Status.DONE in found else Status.CACHED


def _left_s(jobs: Iterable[Sequence[StepNow]], elapsed: float) -> float | None:
    """Time left, if work goes on as it went: seconds foreseen for what is open, over those worked off per second."""
    worked, chains = 0.0, [0.0]
    for steps in jobs:
        chain = 0.0
        for step in steps:
            if step.status not in (*_OPEN, Status.DONE):
                continue
            foreseen = step.planned.seconds
            if foreseen is None:
                return None
            past = 0.0
            if step.status is Status.DONE:
                past = foreseen
            elif step.status is Status.RUNNING:
                past = min(foreseen, max(elapsed - (step.at_s or 0.0), 0.0))
            worked += past
            chain += foreseen - past
        chains.append(chain)
    return max(sum(chains) * elapsed / worked, *chains) if worked else None


def _ended_here(steps: Mapping[tuple[str, str], StepNow], record: RunRecord) -> Iterable[AttemptEntry]:
    """Every try of a step that ended in this run."""
    for moment in record.moments:
        event, step = moment.event, steps.get((moment.event.job, moment.event.step))
        if step and event.ended and event.status is not Status.CACHED:
            yield AttemptEntry(
                job=step.job.title,
                step=event.step,
                start_s=moment.at_s - event.ended.seconds,
                end_s=moment.at_s,
                status=event.status,
                predicted_bytes=step.planned.memory_bytes,
                ended=event.ended,
            )


def finished(counts: Mapping[Status, int]) -> int:
    """How many are done, be it in this run or before, or not needed."""
    return sum(counts.get(status, 0) for status in _FINISHED)
