"""A run at a moment, read from its record: what the page and the texts on a terminal are made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from topsar.schedule.jobs import Status
from topsar.wording import plain, seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from topsar.schedule.jobs import Event
    from topsar.schedule.lock import Holder
    from topsar.schedule.record import Moment, PlannedJob, PlannedStep, Pulse, RunRecord, StepNow

ALIVE_S = 120.0
"""A run on another host, whose process cannot be seen, counts as alive while its record is younger than this."""

_FINISHED = frozenset({Status.DONE, Status.CACHED, Status.UNNEEDED})
_OPEN = frozenset({Status.WAITING, Status.RUNNING})
_WORST_FIRST = (Status.FAILED, Status.BLOCKED, Status.INTERRUPTED)
_GOING = ("running", "silent")
_RESUME = "run the same command to resume"
_ENDS = {
    **dict.fromkeys((status.value for status in _FINISHED), "done"),
    **dict.fromkeys((Status.FAILED.value, Status.BLOCKED.value), "failed"),
    Status.INTERRUPTED.value: "interrupted",
}
"""State of a run by how its record ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a step, in seconds since the run began.

    ``event`` says what came of it: DONE, FAILED, INTERRUPTED, or WAITING if it failed and is to be tried again. It is
    the start of the attempt, RUNNING, if no end is known; ``end_s`` is then the end of the record.
    """

    job: PlannedJob
    step: PlannedStep
    start_s: float
    end_s: float
    event: Event

    @property
    def status(self) -> Status:
        """What came of it."""
        return self.event.status

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.event.ended.seconds if self.event.ended else self.end_s - self.start_s


def find_attempts(record: RunRecord) -> tuple[Attempt, ...]:
    """Every attempt of the run: those that ended, in that order, then those without a known end."""
    steps = {(job.id, step.name): (job, step) for job in record.begun.jobs for step in job.steps}
    found: list[Attempt] = []
    started: dict[tuple[str, str], Moment] = {}

    def add(start: Moment, end_s: float, event: Event) -> None:
        job, step = steps[event.job, event.step]
        found.append(Attempt(job=job, step=step, start_s=start.at_s, end_s=end_s, event=event))

    for moment in record.moments:
        event, place = moment.event, (moment.event.job, moment.event.step)
        if place not in steps or event.freed_bytes:  # an event that tells of freed scratch ends nothing
            continue
        if event.status is Status.RUNNING:
            started[place] = moment
        elif start := started.pop(place, None):
            add(start, moment.at_s, event)
    for start in started.values():
        add(start, record.last_s, start.event)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """What the steps of one name took; failed attempts count in ``failures`` and ``total_seconds`` only.

    Medians, but for the largest peak and the longest time; ``cores`` are CPU seconds over seconds.
    """

    name: str
    done: int
    failures: int
    seconds: float | None
    longest: float | None
    cores: float | None
    peak_bytes: int | None
    predicted_bytes: int | None
    written_bytes: int | None
    total_seconds: float


def summarise_steps(attempts: Iterable[Attempt]) -> tuple[StepSummary, ...]:
    """Statistics of the attempts that ended, by name of the step, in the order in which the names appear."""
    by_name: dict[str, list[Attempt]] = {}
    for one in attempts:
        if one.event.ended is not None:
            by_name.setdefault(one.step.name, []).append(one)
    return tuple(_summarise(name, group) for name, group in by_name.items())


def _summarise(name: str, attempts: Sequence[Attempt]) -> StepSummary:
    done = [one for one in attempts if one.status is Status.DONE]
    ends = [one.event.ended for one in done if one.event.ended]
    seconds = [end.seconds for end in ends]
    return StepSummary(
        name=name,
        done=len(done),
        failures=len(attempts) - len(done),
        seconds=median(seconds) if ends else None,
        longest=max(seconds, default=None),
        cores=sum(end.cpu_s for end in ends) / sum(seconds) if sum(seconds) else None,
        peak_bytes=max((end.peak_memory_bytes for end in ends), default=None),
        predicted_bytes=round(median(one.step.memory_bytes for one in done)) if done else None,
        written_bytes=round(median(end.written_bytes for end in ends)) if ends else None,
        total_seconds=sum(one.seconds for one in attempts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at a moment: its state as a word and in a sentence, its steps by job, and how many have each status.

    States are ``running``, ``silent``, ``died``, ``done``, ``interrupted``, ``failed`` and ``error``.
    """

    record: RunRecord
    state: str
    sentence: str
    elapsed_s: float
    left_s: float | None
    jobs: Mapping[str, Sequence[StepNow]]
    pairs: Mapping[Status, int]
    steps: Mapping[Status, int]
    retries: int
    freed_bytes: int
    pairs_per_hour: float | None
    kinds: tuple[StepSummary, ...]

    @property
    def pulse(self) -> Pulse | None:
        """The newest."""
        return self.record.pulses[-1] if self.record.pulses else None

    @property
    def is_going(self) -> bool:
        """Whether the run goes on, as far as can be known."""
        return self.state in _GOING

    def find_steps(self, status: Status) -> list[StepNow]:
        """The steps that have a status now."""
        return [step for steps in self.jobs.values() for step in steps if step.status is status]


def take_snapshot(record: RunRecord, holder: Holder | None, now: float) -> Snapshot:
    """Derive how a run stands.

    Parameters
    ----------
    record : RunRecord
    holder : Holder, optional
        Who holds the runs folder, if anybody; ask before reading the record, so that a run that ends in between does
        not look dead.
    now : float
        Seconds since 1970.
    """
    steps = record.steps()
    jobs: dict[str, list[StepNow]] = {job.id: [] for job in record.begun.jobs}
    for (job, _), step in steps.items():
        jobs[job].append(step)
    state = _find_state(record, holder, now)
    silence = max(now - record.written, 0.0)
    # The clock of the run plus the silence since: setting the clock of the machine does little harm.
    elapsed = record.last_s + (silence if state in _GOING else 0.0)
    pairs = Counter(find_status(jobs[job.id]) for job in record.begun.jobs if job.is_pair)
    return Snapshot(
        record=record,
        state=state,
        sentence=_describe_state(record, holder, state, elapsed, silence),
        elapsed_s=elapsed,
        left_s=_estimate_left_s(jobs.values(), elapsed) if state in _GOING else None,
        jobs=jobs,
        pairs=pairs,
        steps=Counter(step.status for step in steps.values()),
        retries=sum(m.event.status is Status.RUNNING and m.event.attempt > 1 for m in record.moments),
        freed_bytes=sum(moment.event.freed_bytes for moment in record.moments),
        pairs_per_hour=round(3600 * pairs[Status.DONE] / elapsed, 3) if pairs[Status.DONE] and elapsed else None,
        kinds=summarise_steps(find_attempts(record)),
    )


def find_status(steps: Sequence[StepNow]) -> Status:
    """What became of a job so far; it is running from its first step on."""
    found = {step.status for step in steps}
    if worst := next((status for status in _WORST_FIRST if status in found), None):
        return worst
    if found & _OPEN:
        return Status.RUNNING if found & {Status.RUNNING, Status.DONE} else Status.WAITING
    return Status.DONE if Status.DONE in found else Status.CACHED


def count_finished(counts: Mapping[Status, int]) -> int:
    """How many are done, in this run or before it, or not needed."""
    return sum(counts.get(status, 0) for status in _FINISHED)


def _find_state(record: RunRecord, holder: Holder | None, now: float) -> str:
    if record.end is not None:
        return _ENDS.get(record.end.how, "error")
    if holder is None or holder.mark != record.begun.mark or holder.is_alive is False:
        return "died"
    if holder.is_alive is None and now - record.written > ALIVE_S:
        return "silent"
    return "running"


def _describe_state(record: RunRecord, holder: Holder | None, state: str, elapsed: float, silence: float) -> str:
    begun = record.begun
    since = f"since {begun.started:%Y-%m-%d %H:%M} {begun.started:%Z}".rstrip()
    who, took = f"pid {begun.pid} on {plain(begun.host)}", seconds_text(elapsed)
    sentence = {
        "running": f"running ({who}), {since}, for {took}",
        "silent": f"running or dead ({who}): no sign of life for {seconds_text(silence)}; check on that host",
        "died": f"the scheduler ({who}) died: {_RESUME}",
        "done": f"done in {took}",
        "interrupted": f"interrupted after {took}: {_RESUME}",
        "failed": f"ended with failures after {took}",
        "error": f"ended after {took}: {plain(record.end.how) if record.end else ''}",
    }[state]
    if holder is not None and holder.mark != begun.mark and holder.is_alive is not False:
        return f"a new run (pid {holder.pid} on {plain(holder.host)}) is starting; the previous run: {sentence}"
    return sentence


def _estimate_left_s(jobs: Iterable[Sequence[StepNow]], elapsed: float) -> float | None:
    """Predicted seconds of all that is open, at the speed of the run so far; at least those of the longest job."""
    worked, chains = 0.0, [0.0]
    for steps in jobs:
        chain = 0.0
        for step in steps:
            if step.status not in (*_OPEN, Status.DONE):
                continue
            predicted = step.planned.seconds
            if predicted is None:
                return None
            ran = min(predicted, max(elapsed - (step.at_s or 0.0), 0.0))
            past = {Status.DONE: predicted, Status.RUNNING: ran}.get(step.status, 0.0)
            worked += past
            chain += predicted - past
        chains.append(chain)
    return max(sum(chains) * elapsed / worked, *chains) if worked else None
