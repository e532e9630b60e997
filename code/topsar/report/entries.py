"""What a report is made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from statistics import median
from typing import Any

from topsar.schedule.jobs import Ended, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEntry:
    """One step of a pair as it ended; what is not known is None."""

    name: str
    status: Status
    seconds: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEntry:
    """One pair: ``folder`` holds its products, ``message`` and ``log_tail`` say why it failed."""

    pair_id: str
    status: Status
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    steps: tuple[StepEntry, ...] = ()
    log_tail: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether its products are there."""
        return self.status in (Status.DONE, Status.CACHED)

    @property
    def dates(self) -> tuple[date, date] | None:
        """Reference and secondary date, from the facts or the pair's id; None if neither tells."""
        found = [str(self.facts.get(key, "")) for key in ("reference_date", "secondary_date")]
        if not all(found):
            found = re.findall(r"(?<!\d)(\d{8})(?:T\d{6})?(?!\d)", self.pair_id)[:2]
        try:
            first, second = (date(*(int(part) for part in _DATE.findall(text)[0])) for text in found)
        except (ValueError, IndexError):
            return None
        return first, second

    def number(self, key: str) -> float | None:
        """A fact that is a finite number, or None."""
        value = self.facts.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == _INFINITE:
            return None
        return float(value)

    @property
    def track(self) -> str:
        """Relative orbit, as text; empty if not known."""
        track = self.facts.get("track")
        named = re.match(r"T(\d{3})_", self.pair_id)
        return str(track) if track is not None else str(int(named[1])) if named else ""


_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_INFINITE = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingEntry:
    """One resolved setting and where its value came from."""

    key: str
    value: str
    origin: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The whole batch."""

    started: datetime
    seconds: float
    peak_memory_bytes: int | None = None
    freed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureEntry:
    """A job that is no pair and failed; ``blocks`` are the ids of the pairs that could not run without it."""

    title: str
    message: str
    log_tail: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEntry:
    """One try of a step, in seconds since the run began.

    ``status`` is what came of it: DONE, FAILED, INTERRUPTED, WAITING (it failed and was to be tried again), or RUNNING
    where no end of it is known.
    """

    job: str
    step: str
    start_s: float
    end_s: float
    status: Status
    attempt: int = 1
    predicted_bytes: int = 0
    ended: Ended | None = None

    @property
    def seconds(self) -> float:
        """What it took."""
        return self.ended.seconds if self.ended else self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseEntry:
    """What was in use at a time; ``memory_bytes`` is None where nobody could tell."""

    at_s: float
    memory_bytes: int | None
    reserved_bytes: int
    budget_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A run, step by step; of its steps some may have been done before it began, or not have been needed."""

    seconds: float
    attempts: tuple[AttemptEntry, ...] = ()
    pulses: tuple[PulseEntry, ...] = ()
    steps: int = 0
    done_before: int = 0
    not_needed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKind:
    """What the steps of one name took: those that succeeded, but for ``failures`` and ``total_seconds``.

    Attributes
    ----------
    done, failures : int
        Tries that succeeded, and tries that did not.
    seconds, longest : float, optional
        Median and maximum.
    cores : float, optional
        Cores used: CPU seconds over seconds.
    peak_bytes, predicted_bytes, written_bytes : int, optional
        Maximum, median, median.
    total_seconds : float
        Of all tries.
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


def step_kinds(attempts: Iterable[AttemptEntry]) -> tuple[StepKind, ...]:
    """Statistics of the steps that ended, by name, in the order in which the names appear.

    Examples
    --------
    >>> from topsar.schedule.jobs import Reason
    >>> ended = Ended(reason=Reason.DONE, exit_code=0, seconds=4.0, cpu_s=6.0, peak_memory_bytes=9, written_bytes=5)
    >>> one = AttemptEntry(job="a", step="filter", start_s=0.0, end_s=4.1, status=Status.DONE, ended=ended)
    >>> (kind,) = step_kinds([one])
    >>> kind.done, kind.seconds, kind.cores, kind.peak_bytes, kind.written_bytes
    (1, 4.0, 1.5, 9, 5)
    """
    by_name: dict[str, list[AttemptEntry]] = {}
    for attempt in attempts:
        if attempt.ended is not None:
            by_name.setdefault(attempt.step, []).append(attempt)
    return tuple(_kind(name, tries) for name, tries in by_name.items())


def _kind(name: str, tries: list[AttemptEntry]) -> StepKind:
    done = [one for one in tries if one.status is Status.DONE]
    ends = [one.ended for one in done if one.ended is not None]
    seconds = [end.seconds for end in ends]
    return StepKind(
        name=name,
        done=len(done),
        failures=len(tries) - len(done),
        seconds=median(seconds) if ends else None,
        longest=max(seconds, default=None),
        cores=sum(end.cpu_s for end in ends) / sum(seconds) if sum(seconds) else None,
        peak_bytes=max((end.peak_memory_bytes for end in ends), default=None),
        predicted_bytes=round(median(one.predicted_bytes for one in done)) if done else None,
        written_bytes=round(median(end.written_bytes for end in ends)) if ends else None,
        total_seconds=sum(one.seconds for one in tries),
    )
