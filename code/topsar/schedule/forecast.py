"""What steps will take: their author's table, corrected by what this machine measured.

Every attempt that tells something about its step leaves a line in ``runs/usage.jsonl``. Steps of one kind are alike but
for their size, so what some of them took says what the next will take: the first steps of a batch teach the later
ones, and a batch teaches the next batch. The kind holds the version of the engine, so another version learns anew.

Memory and disk are upper bounds: of attempts alike in size, the 95th percentile (of few, the largest), with a margin
that shrinks as they become more. Where none is alike the table stands, raised by as much as it was ever too low. Time
is a median: nothing depends on it but what people are told.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from topsar.errors import ProductError
from topsar.files import atomic_path
from topsar.schedule.jobs import Ended, Reason, Resources, Step
from topsar.schedule.lines import append_line, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

USAGE = "usage.jsonl"
"""Name of the file in the runs folder."""

_TELLING = (Reason.DONE, Reason.OUT_OF_MEMORY)
_REMEMBERED = 100
"""Attempts per kind, the newest."""
_MOST = 1 << 60
_ALIKE = 1.5
"""Sizes are alike when neither is more than this many times the other."""
_QUANTILE = 0.95
_MARGIN = 0.25
"""Added to the bound that a single attempt gives; of n attempts, this over the root of n."""
_IDLE = 0.25
"""A step that leaves more of a granted core unused than this has more threads than it can use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one attempt took, beside what the table had said."""

    kind: str
    size: float
    threads: int
    table: Resources
    table_seconds: float | None
    peak_memory_bytes: int
    written_bytes: int
    seconds: float
    cpu_s: float
    is_complete: bool


_USAGE: TypeAdapter[Usage] = TypeAdapter(Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a step will take.

    Attributes
    ----------
    needs : Resources
        Upper bounds of memory and disk, and the threads it can use.
    seconds : float, optional
        How long it takes with these threads; None if nobody knows.
    learned_from : int
        Attempts that this rests on; 0 for the table alone.
    """

    needs: Resources
    seconds: float | None = None
    learned_from: int = 0

    def estimate_seconds(self, threads: int) -> float:
        """Seconds that it takes on a number of threads; 0 where the time is not known."""
        return (self.seconds or 0.0) * self.needs.threads / max(1, min(self.needs.threads, threads))


class Ledger:
    """What attempts took, kept in the runs folder; written only when something is added."""

    def __init__(self, runs: Path) -> None:
        self._path = runs / USAGE
        self._known: dict[str, deque[Usage]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._forecasts: dict[str, dict[tuple[float, Resources, float | None], Forecast]] = defaultdict(dict)
        self._lines = 0
        for usage in filter(_is_plausible, read_lines(self._path, _USAGE)):
            self._known[usage.kind].append(usage)
            self._lines += 1

    def add(self, step: Step, threads: int, ended: Ended) -> None:
        """Learn from an attempt that ended, on the threads that it was granted.

        One that failed for another reason than memory tells nothing.

        Parameters
        ----------
        step : Step
        threads : int
        ended : Ended
        """
        if not step.kind or ended.reason not in _TELLING:
            return
        usage = Usage(
            kind=step.kind,
            size=step.size,
            threads=threads,
            table=step.needs,
            table_seconds=step.seconds,
            peak_memory_bytes=ended.peak_memory_bytes,
            written_bytes=ended.written_bytes,
            seconds=round(ended.seconds, 3),
            cpu_s=round(ended.cpu_s, 3),
            is_complete=ended.reason is Reason.DONE,
        )
        self._known[step.kind].append(usage)
        self._forecasts.pop(step.kind, None)
        self._lines += 1
        kept = [one for usages in self._known.values() for one in usages]
        if self._lines > 2 * len(kept) + 1:  # forget what is too old to be told from, on disk too
            self._lines = len(kept)
            with contextlib.suppress(ProductError), atomic_path(self._path) as part:
                part.write_bytes(b"".join(_USAGE.dump_json(one) + b"\n" for one in kept))
            return
        with contextlib.suppress(OSError):  # losing it costs a lesson
            append_line(self._path, _USAGE.dump_json(usage))

    def predict(self, step: Step) -> Forecast:
        """Say what a step will take."""
        if not step.kind or step.kind not in self._known:
            return Forecast(needs=step.needs, seconds=step.seconds)
        told, place = self._forecasts[step.kind], (step.size, step.needs, step.seconds)
        if place not in told:
            told[place] = _predict(step, tuple(self._known[step.kind]))
        return told[place]


def _predict(step: Step, usages: Sequence[Usage]) -> Forecast:
    alike = [usage for usage in usages if _is_alike(usage.size, step.size)]
    whole = [usage for usage in alike if usage.is_complete]
    if whole:
        memory = _find_bound(_scale(u.peak_memory_bytes, step.needs.memory_bytes, u.table.memory_bytes) for u in alike)
        disk = _find_bound(_scale(u.written_bytes, step.needs.disk_bytes, u.table.disk_bytes) for u in whole)
    else:
        memory = _raise_table(step.needs.memory_bytes, [(u.peak_memory_bytes, u.table.memory_bytes) for u in usages])
        disk = _raise_table(step.needs.disk_bytes, [(u.written_bytes, u.table.disk_bytes) for u in usages])
    threads = _find_threads(step.needs.threads, [u for u in usages if u.is_complete])
    return Forecast(
        needs=replace(step.needs, memory_bytes=memory, threads=threads, disk_bytes=disk),
        seconds=_estimate_seconds(step, threads, whole or [u for u in usages if u.is_complete]),
        learned_from=len(alike) if whole else 0,
    )


def _is_plausible(usage: Usage) -> bool:
    taken = (usage.peak_memory_bytes, usage.written_bytes, usage.seconds, usage.cpu_s, usage.table_seconds or 0)
    return all(0 <= amount < _MOST for amount in (usage.size, usage.threads, *taken, *usage.table.amounts.values()))


def _is_alike(one: float, other: float) -> bool:
    return max(one, other) <= _ALIKE * min(one, other)


def _scale(measured: int, table: int, table_then: int) -> float:
    """What was measured, carried over to this size as the table goes with size."""
    return measured * table / table_then if table and table_then else measured


def _find_bound(values: Iterable[float]) -> int:
    ordered = sorted(values)
    quantile = ordered[math.ceil(_QUANTILE * len(ordered)) - 1]
    return int(quantile * (1 + _MARGIN / math.sqrt(len(ordered))))


def _raise_table(table: int, measured: Iterable[tuple[int, int]]) -> int:
    return table + max([0, *(taken - then for taken, then in measured if then)])


def _find_threads(wish: int, usages: Sequence[Usage]) -> int:
    """The threads that a step can use: its author's wish, or fewer where granted ones were left idle."""
    used = [(u.threads, u.cpu_s / u.seconds) for u in usages if u.seconds > 1]
    if all(threads - cores <= _IDLE for threads, cores in used):
        return wish
    useful = [threads if threads - cores <= _IDLE else math.ceil(cores - _IDLE) for threads, cores in used]
    return max(1, min(wish, max(useful)))


def _estimate_seconds(step: Step, threads: int, usages: Sequence[Usage]) -> float | None:
    """How long it takes on ``threads``: a median, carried over to this size and these threads."""
    if not usages:
        return step.seconds
    found = []
    for usage in usages:
        grown = step.seconds / usage.table_seconds if step.seconds and usage.table_seconds else 1.0
        if grown == 1.0 and usage.size and step.size:
            grown = step.size / usage.size
        used = max(1, min(usage.threads, threads))
        found.append(usage.seconds * grown * used / threads)
    return median(found)
