"""Which steps start now: pure decisions over numbers.

The oldest step goes first. A younger one may fill a gap that the oldest waiting step cannot use, but only into memory
that the oldest will not need: everything younger than it, running or starting, must fit beside it. So when the steps
older than it have ended it starts, and nothing can starve it.

Threads are a wish: each step that starts gets one, then the free cores are dealt out in turns up to each one's wish.
A step that finds the machine empty has it whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topsar.model import Resources
    from topsar.schedule.graph import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The user's upper bounds; None leaves the bound to the machine.

    Attributes
    ----------
    workers : int, optional
        Pairs under way at once.
    memory_bytes : int, optional
        Memory of all steps together.
    threads : int, optional
        Cores of all steps together.
    """

    workers: int | None = None
    memory_bytes: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A step that could start.

    Attributes
    ----------
    rank : tuple of int
        Age: the lower, the older.
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

    request: Request
    threads: int


class PairWindow:
    """The pairs under way, at most ``workers`` at once.

    A pair is under way from the start of the first step that works for it, be it a step of another job, until all its
    own steps are settled.

    Examples
    --------
    >>> window = PairWindow(1)
    >>> window.enter((0, 1))
    >>> window.admits((1, 2)), window.admits((0, 7)), window.admits(())
    (False, True, True)
    """

    def __init__(self, workers: int | None) -> None:
        self._workers = workers
        self._open: set[int] = set()
        self._left: set[int] = set()

    def admits(self, pairs: Iterable[int]) -> bool:
        """Whether a step that works for these pairs may start."""
        waiting = [pair for pair in pairs if pair not in self._left]
        if self._workers is None or not waiting or not self._open.isdisjoint(waiting):
            return True
        return len(self._open) < self._workers

    def enter(self, pairs: Iterable[int]) -> None:
        """Note that a step that works for these pairs starts."""
        waiting = [pair for pair in pairs if pair not in self._left]
        if waiting and self._open.isdisjoint(waiting):
            self._open.add(waiting[0])

    def leave(self, pair: int) -> None:
        """Note that a pair is settled."""
        self._open.discard(pair)
        self._left.add(pair)


def choose(
    ready: Iterable[Request], running: Sequence[Grant], capacity: Resources, window: PairWindow
) -> tuple[Grant, ...]:
    """Choose the steps that start now and enter their pairs in the window.

    Parameters
    ----------
    ready : iterable of Request
        Steps that wait for nothing but room, oldest first.
    running : sequence of Grant
        Steps under way.
    capacity : Resources
        What all steps together may use.
    window : PairWindow
        The pairs under way.

    Examples
    --------
    >>> from topsar.model import Resources
    >>> def request(name, age, memory):
    ...     return Request(id=("job", name), rank=(age,), needs=Resources(memory_bytes=memory, threads=4))
    >>> running = [Grant(request=request("first", 0, 5), threads=1)]
    >>> ready = [request("big", 1, 8), request("too much", 2, 3), request("fits beside", 3, 2)]
    >>> capacity = Resources(memory_bytes=10, threads=4)
    >>> [(g.request.id[1], g.threads) for g in choose(ready, running, capacity, PairWindow(None))]
    [('fits beside', 3)]
    """
    free = capacity.threads - sum(grant.threads for grant in running)
    taken = [grant.request for grant in running]
    chosen: list[Request] = []
    held: Request | None = None
    for request in ready:
        if taken and free <= len(chosen):
            break
        if not window.admits(request.pairs):
            continue
        if taken and not _fits(request, taken, capacity):
            held = held or request
        elif held is None or _fits(held, [r for r in taken if r.rank > held.rank] + [request], capacity):
            chosen.append(request)
            taken.append(request)
            window.enter(request.pairs)
    return _deal(chosen, free)


def _fits(request: Request, others: Sequence[Request], capacity: Resources) -> bool:
    together = [request, *others]
    return (
        sum(r.needs.memory_bytes for r in together) <= capacity.memory_bytes
        and sum(r.needs.disk_bytes for r in together) <= capacity.disk_bytes
    )


def _deal(chosen: Sequence[Request], free: int) -> tuple[Grant, ...]:
    threads = [1] * len(chosen)
    spare = free - len(chosen)
    while spare > 0 and any(given < request.needs.threads for given, request in zip(threads, chosen, strict=True)):
        for index, request in enumerate(chosen):
            if spare > 0 and threads[index] < request.needs.threads:
                threads[index] += 1
                spare -= 1
    return tuple(Grant(request=request, threads=given) for request, given in zip(chosen, threads, strict=True))
