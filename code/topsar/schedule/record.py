"""The record of the newest run: what was planned, what happened, and what was in use, for whoever wants to look.

``runs/record.jsonl`` is begun anew by every run and may be read at any time, while the run goes on and after it, from
another process or another machine. It is a view, not a memory: what a later run builds on is in the journals, so its
lines are flushed but not synced, and on a full disk they are lost without harm.

Times are seconds since the run began, by a clock that nobody can set.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter

from topsar.errors import ProductError
from topsar.files import atomic_path
from topsar.schedule.jobs import Event, Status
from topsar.schedule.lines import append_line, read_lines

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "record.jsonl"
"""Name of the file in the runs folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step as the run found it: what is to be done with it and why, and what it is predicted to take."""

    name: str
    status: Status
    why: str = ""
    memory_bytes: int = 0
    threads: int = 1
    disk_bytes: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """A job of the run and its steps."""

    id: str
    title: str
    is_pair: bool
    steps: tuple[PlannedStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The first line: who runs what, and the bounds (None: whatever the machine has)."""

    line: Literal["begin"] = "begin"
    started: datetime
    pid: int
    host: str
    mark: str
    workers: int | None = None
    jobs: tuple[PlannedJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An event, without its evidence."""

    line: Literal["event"] = "event"
    at_s: float
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What was in use at a time; ``memory_bytes`` is None where the executor cannot tell.

    ``budget_bytes`` is what all steps together might have used then, ``reserved_bytes`` what was set aside.
    """

    line: Literal["pulse"] = "pulse"
    at_s: float
    running: int
    memory_bytes: int | None
    reserved_bytes: int
    budget_bytes: int
    disk_free_bytes: int
    waiting_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The last line of a run that was not killed; ``how`` is a status, or what went wrong."""

    line: Literal["end"] = "end"
    at_s: float
    how: str


Line = Beginning | Moment | Pulse | End
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="line")])


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNow:
    """A step as it stands: its newest event, where there is one, and when that was."""

    job: PlannedJob
    planned: PlannedStep
    at_s: float | None = None
    event: Event | None = None

    @property
    def status(self) -> Status:
        """The newest status."""
        return self.event.status if self.event else self.planned.status


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as its record tells it, oldest first; it has no end while it goes on, and if it was killed."""

    begun: Beginning
    moments: tuple[Moment, ...] = ()
    pulses: tuple[Pulse, ...] = ()
    end: End | None = None
    written: float = field(default=0.0, compare=False)
    """When the file last grew, seconds since 1970: a sign of life."""

    @property
    def last_s(self) -> float:
        """Seconds from the beginning to the newest line."""
        lines = (*self.moments[-1:], *self.pulses[-1:], *((self.end,) if self.end else ()))
        return max((line.at_s for line in lines), default=0.0)

    def steps(self) -> dict[tuple[str, str], StepNow]:
        """Every step as it stands, by (job id, step name), in the order of the jobs."""
        now = {(job.id, step.name): StepNow(job=job, planned=step) for job in self.begun.jobs for step in job.steps}
        for moment in self.moments:
            place = (moment.event.job, moment.event.step)
            # Scratch that goes is told as an event of its writer, whose own state it does not change.
            if place in now and not moment.event.freed_bytes:
                now[place] = replace(now[place], at_s=moment.at_s, event=moment.event)
        return now


class Recorder:
    """Writes the record of a run into its runs folder."""

    def __init__(self, runs: Path, beginning: Beginning) -> None:
        self._zero = time.monotonic()
        self._path: Path | None = None
        with contextlib.suppress(ProductError):
            with atomic_path(runs / RECORD) as part:
                part.write_bytes(_dump(beginning) + b"\n")
            self._path = runs / RECORD

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return round(time.monotonic() - self._zero, 3)

    def event(self, event: Event) -> None:
        """Note an event."""
        self.append(Moment(at_s=self.now_s, event=replace(event, evidence={})))

    def end(self, how: str) -> None:
        """Note that the run is over."""
        self.append(End(at_s=self.now_s, how=how))
        self._path = None

    def append(self, line: Line) -> None:
        """Write a line."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                append_line(self._path, _dump(line))


def _dump(line: Line) -> bytes:
    """Format as ASCII JSON, which keeps file names that are not valid Unicode."""
    return json.dumps(_LINE.dump_python(line), default=datetime.isoformat, separators=(",", ":")).encode()


def read_record(runs: Path) -> RunRecord | None:
    """Read the record of the newest run; None where there is none. A torn line is skipped."""
    try:
        written = (runs / RECORD).stat().st_mtime
    except OSError:
        return None
    lines = tuple(read_lines(runs / RECORD, _LINE))
    begun = next((line for line in lines if isinstance(line, Beginning)), None)
    if begun is None:
        return None
    return RunRecord(
        begun=begun,
        moments=tuple(line for line in lines if isinstance(line, Moment)),
        pulses=tuple(line for line in lines if isinstance(line, Pulse)),
        end=next((line for line in lines if isinstance(line, End)), None),
        written=written,
    )
