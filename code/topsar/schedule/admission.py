"""Which steps start now: pure decisions over numbers.

Steps have an order: oldest first, unless `rehearsal` found a better one beforehand. A later step may fill a gap that
the first waiting step cannot use, but only with memory that the waiting step will not need: everything later than it,
running or starting, must fit beside it. So it starts once the steps before it have ended; nothing can starve it.

Disk is different from memory: what a step writes stays after it, until the steps that read it are done. So a step may
only write into what is left when all pairs that came under way before its own have written what they still have to;
then the first of them can always go on, finish, and have its scratch removed.

Threads are a wish: each step that starts gets one, then the free cores are dealt out in turns up to each one's wish. A
step started on an idle machine gets all cores; up to half as many single-threaded steps may still start beside it.

Every other resource is counted: what running and starting steps need of it must not exceed what there is.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topsar.schedule.jobs import DISK, THREADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, KeysView, Sequence

    from topsar.schedule.graph import NodeId
    from topsar.schedule.jobs import Resources

_FURTHEST_LOOK = 100
"""Steps behind the first one that finds no room that are tried in its gap."""
_SAG = 1.1
"""Measured capacity fluctuates by less than this factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A step that could start.

    Attributes
    ----------
    rank : tuple of int
        Its turn: the lower, the earlier. Where nothing better is known, its age.
    pairs : tuple of int
        The pairs it works for, oldest first; none for a step that no pair needs.
    """

    id: NodeId
    rank: tuple[int, ...]
    needs: Resources
    pairs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A step that runs or may start, with the threads it has."""

    candidate: Candidate
    threads: int


class PairWindow:
    """The pairs under way, at most ``workers`` at once.

    A pair is under way from the start of the first step that works for it, be it a step of another job, until all its
    own steps are settled.
    """

    def __init__(self, workers: int | None) -> None:
        self._workers = workers
        self._open: dict[int, None] = {}
        self._left: set[int] = set()

    @property
    def under_way(self) -> KeysView[int]:
        """The pairs under way, in the order in which they came."""
        return self._open.keys()

    def admits(self, pairs: Iterable[int]) -> bool:
        """Whether a step that works for these pairs may start."""
        return self._workers is None or len(self._open) < self._workers or self._find_next(pairs) is None

    def enter(self, pairs: Iterable[int]) -> None:
        """Note that a step that works for these pairs starts."""
        if (pair := self._find_next(pairs)) is not None:
            self._open[pair] = None

    def _find_next(self, pairs: Iterable[int]) -> int | None:
        """The pair that comes under way with a step for these pairs, if one has to."""
        waiting = [pair for pair in pairs if pair not in self._left]
        return waiting[0] if waiting and self._open.keys().isdisjoint(waiting) else None

    def leave(self, pair: int) -> None:
        """Note that a pair is settled."""
        self._open.pop(pair, None)
        self._left.add(pair)


def choose(
    ready: Iterable[Candidate],
    running: Sequence[Grant],
    capacity: Resources,
    window: PairWindow,
    owed: Callable[[int], int] = lambda _: 0,
) -> tuple[Grant, ...]:
    """Choose the steps that start now and enter their pairs in the window.

    Parameters
    ----------
    ready : iterable of Candidate
        Steps that wait for nothing but room, oldest first.
    running : sequence of Grant
    capacity : Resources
        What all steps together may use; on disk, what those that run and those that start may still write.
    window : PairWindow
    owed : callable, optional
        The bytes that waiting steps have still to write for a pair.
    """
    cores, room = _Cores(capacity.threads, running), _Room(capacity, (grant.candidate for grant in running))
    debts, gap = _Debts(owed, window), _Gap(capacity, running)
    chosen: list[Candidate] = []
    for candidate in ready:
        if cores.all_taken or gap.looked_at >= _FURTHEST_LOOK:
            break
        if not window.admits(candidate.pairs):
            continue
        before = debts.before(candidate)
        lack = room.find_lack(candidate, before)
        if lack or not cores.admit(candidate):
            gap.hold(candidate, is_for_disk=lack == DISK)
        elif gap.admits(candidate, is_under_way=not window.under_way.isdisjoint(candidate.pairs)):
            cores.take()
            room.add(candidate)
            gap.add(candidate)
            window.enter(candidate.pairs)
            debts.pay(candidate)
            chosen.append(candidate)
    return _deal(chosen, cores.free)


def find_lack(candidate: Candidate, capacity: Resources) -> str:
    """Name the resource of which a step needs more than a whole capacity; empty where it fits.

    Parameters
    ----------
    candidate : Candidate
    capacity : Resources
    """
    return _Room(capacity, ()).find_lack(candidate)


class _Room:
    """What a capacity has left of everything but cores, as steps take it up."""

    def __init__(self, capacity: Resources, candidates: Iterable[Candidate]) -> None:
        self._left = capacity.amounts
        for candidate in candidates:
            self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        for name, amount in candidate.needs.amounts.items():
            self._left[name] = self._left.get(name, 0) - amount

    def find_lack(self, candidate: Candidate, owed: int = 0) -> str:
        """Name the resource of which too little is left for a step, where ``owed`` bytes of disk stay free."""
        for name, amount in candidate.needs.amounts.items():
            if amount and name != THREADS and amount + (owed if name == DISK else 0) > self._left.get(name, 0):
                return name
        return ""

    def fits_beside(self, one: Candidate, other: Candidate) -> bool:
        needs, more = one.needs.amounts, other.needs.amounts
        return all(
            name == THREADS or needs.get(name, 0) + more.get(name, 0) <= left for name, left in self._left.items()
        )


class _Gap:
    """What later steps may take while the first waiting one, the held one, finds no room."""

    def __init__(self, capacity: Resources, running: Sequence[Grant]) -> None:
        self._capacity, self._running = capacity, running
        self._held: Candidate | None = None
        self._is_for_disk = False
        self._beside = _Room(capacity, ())
        self.looked_at = 0

    def hold(self, candidate: Candidate, *, is_for_disk: bool) -> None:
        self.looked_at += 1
        if self._held is None:
            self._held, self._is_for_disk = candidate, is_for_disk
            later = (grant.candidate for grant in self._running if grant.candidate.rank > candidate.rank)
            self._beside = _Room(self._capacity, later)

    def add(self, candidate: Candidate) -> None:
        self._beside.add(candidate)

    def admits(self, candidate: Candidate, *, is_under_way: bool) -> bool:
        """Whether the held step will still find room beside everything later than itself, this one included."""
        if self._held is None:
            return True
        self.looked_at += 1
        if self._is_for_disk and is_under_way:
            return True  # the end of a pair is what gives disk back
        there, needs = self._capacity.amounts, self._held.needs.amounts
        if any(amount > _SAG * there.get(name, 0) for name, amount in needs.items() if name != THREADS):
            return True  # it lacks what others have: until they are gone it loses nothing
        return self._beside.fits_beside(self._held, candidate)


class _Debts:
    """Disk that pairs have still to write."""

    def __init__(self, owed: Callable[[int], int], window: PairWindow) -> None:
        self._find_owed, self._window = functools.cache(owed), window
        self._paid: Counter[int] = Counter()

    def before(self, candidate: Candidate) -> int:
        """Bytes owed to the pairs that came under way before the one that a step works for."""
        if not candidate.needs.disk_bytes:
            return 0
        earlier = itertools.takewhile(lambda pair: pair not in candidate.pairs, self._window.under_way)
        return sum(max(0, self._find_owed(pair) - self._paid[pair]) for pair in earlier)

    def pay(self, candidate: Candidate) -> None:
        """Take what a step that starts writes off the debt of the pair that it works for."""
        pair = next((pair for pair in self._window.under_way if pair in candidate.pairs), None)
        if pair is not None:
            self._paid[pair] += candidate.needs.disk_bytes


class _Cores:
    """Cores that are free, and how many steps of one thread may start where none is."""

    def __init__(self, total: int, running: Sequence[Grant]) -> None:
        used = sum(grant.threads for grant in running)
        self._is_idle = not running
        self._beside = max(0, used - total)
        self._most_beside = max(1, total // 2) if any(grant.threads > 1 for grant in running) else 0
        self.free = total - used
        self._left = self.free

    @property
    def all_taken(self) -> bool:
        return not self._is_idle and self._left <= 0 and self._beside >= self._most_beside

    def admit(self, candidate: Candidate) -> bool:
        if self._left > 0 or self._is_idle:
            return True
        return candidate.needs.threads == 1 and self._beside < self._most_beside

    def take(self) -> None:
        self._is_idle = False
        if self._left > 0:
            self._left -= 1
        else:
            self._beside += 1


def _deal(chosen: Sequence[Candidate], free: int) -> tuple[Grant, ...]:
    threads = [1] * len(chosen)
    spare = free - len(chosen)
    while spare > 0 and any(given < candidate.needs.threads for given, candidate in zip(threads, chosen, strict=True)):
        for index, candidate in enumerate(chosen):
            if spare > 0 and threads[index] < candidate.needs.threads:
                threads[index] += 1
                spare -= 1
    return tuple(Grant(candidate=candidate, threads=given) for candidate, given in zip(chosen, threads, strict=True))
