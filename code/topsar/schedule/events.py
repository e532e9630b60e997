"""What happened in a run, told to all who keep or watch it: the journals, the record, and the caller's observer."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from topsar.errors import StepFailed
from topsar.schedule.jobs import Event, Status
from topsar.schedule.journal import Journal, find_last_done, read_journal
from topsar.schedule.record import Beginning, PlannedJob, PlannedStep, Pulse, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from topsar.schedule.forecast import Ledger
    from topsar.schedule.graph import NodeId
    from topsar.schedule.jobs import Job, Step
    from topsar.schedule.stale import Decision

_SHORTEST_PULSE_S, _LONGEST_PULSE_S = 1.0, 15.0
_PULSES = 500
"""About as many are kept of a run, however long it is, as long as that leaves signs of life often enough."""
_REPEATED = (Status.CACHED, Status.UNNEEDED)


class Chronicle:
    """Everything that is told about a run.

    Attributes
    ----------
    done : dict
        job id -> step name -> event of the last success of an earlier run.
    events : dict
        job id -> events of this run.
    """

    def __init__(self, jobs: Sequence[Job], runs: Path, observe: Callable[[Event], None] | None) -> None:
        self._jobs, self._runs, self._observe = jobs, runs, observe
        self._journals = {job.id: Journal(runs / job.id) for job in jobs}
        self._pulse_at = 0.0
        self.done = {name: find_last_done(read_journal(journal.path)) for name, journal in self._journals.items()}
        self.events: dict[str, list[Event]] = {job.id: [] for job in jobs}

    def begin(self, mark: str, workers: int | None, decisions: Mapping[NodeId, Decision], ledger: Ledger) -> None:
        """Begin the record of the run.

        Parameters
        ----------
        mark : str
        workers : int or None
            Most pairs under way at once; None where the user set no bound.
        decisions : mapping
        ledger : Ledger
        """
        beginning = Beginning(
            started=datetime.now(timezone.utc),
            pid=os.getpid(),
            host=socket.gethostname(),
            mark=mark,
            workers=workers,
            jobs=describe_jobs(self._jobs, decisions, ledger),
        )
        self._recorder = Recorder(self._runs, beginning)

    def tell(self, event: Event) -> None:
        """Journal an event (unless it only repeats what is journalled), record it and show it.

        Raises
        ------
        StepFailed
            When a start or a success cannot be journalled; its cause is the `OSError`.
        """
        if (event.status not in _REPEATED or event.freed_bytes) and not event.note:
            try:
                self._journals[event.job].append(event)
            except OSError as exc:
                if event.status in (Status.RUNNING, Status.DONE):
                    msg = f"the journal cannot be written: {exc}"
                    raise StepFailed(msg) from exc
        self.events[event.job].append(event)
        self._recorder.event(event)
        if self._observe:
            self._observe(event)

    @property
    def pulse_in_s(self) -> float:
        """Seconds until the next pulse is due."""
        return max(0.0, self._pulse_at - self._recorder.now_s)

    def pulse(self, measure: Callable[[float], Pulse]) -> None:
        """Record what is in use, if it is time to; ``measure`` is given the time of the record."""
        if self.pulse_in_s:
            return
        now = self._recorder.now_s
        self._pulse_at = now + min(_LONGEST_PULSE_S, max(_SHORTEST_PULSE_S, now / _PULSES))
        self._recorder.append(measure(now))

    def end(self, how: str) -> None:
        """End the record of the run."""
        self._recorder.end(how)


def describe_jobs(jobs: Sequence[Job], decisions: Mapping[NodeId, Decision], ledger: Ledger) -> tuple[PlannedJob, ...]:
    """The jobs with what is to be done and what it is predicted to take.

    Parameters
    ----------
    jobs : sequence of Job
    decisions : mapping
    ledger : Ledger
    """

    def describe(job: Job) -> PlannedJob:
        steps = (_describe_step(step, decisions[job.id, step.name], ledger) for step in job.steps)
        return PlannedJob(id=job.id, title=job.title, is_pair=job.is_pair, steps=tuple(steps))

    return tuple(map(describe, jobs))


def _describe_step(step: Step, decision: Decision, ledger: Ledger) -> PlannedStep:
    forecast = ledger.predict(step)
    return PlannedStep(
        name=step.name,
        status=decision.status,
        why=decision.why,
        memory_bytes=forecast.needs.memory_bytes,
        threads=forecast.needs.threads,
        disk_bytes=forecast.needs.disk_bytes,
        seconds=forecast.seconds,
    )
