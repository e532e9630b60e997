"""The scheduler's decisions without processes: what a run would do and take, and in which order it is done soonest.

The same board and the same admission as in a run, on a clock that jumps from one end of a step to the next. Rehearsing
is cheap, so before a run several orders are tried: oldest first; the longest chain of waiting steps first, which keeps
a batch from ending with one long chain alone; and random variations of that. Another order than oldest first must be
worth it, and needs the time of every step to be known.
"""

from __future__ import annotations

import functools
import heapq
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from topsar.schedule.admission import Grant, PairWindow, choose
from topsar.schedule.cleanup import GOING
from topsar.schedule.events import describe_jobs
from topsar.schedule.executor import LocalExecutor
from topsar.schedule.forecast import Ledger
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Policy, Resources, Status
from topsar.schedule.stale import plan_graph
from topsar.schedule.state import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from topsar.schedule.evidence import Store
    from topsar.schedule.forecast import Forecast
    from topsar.schedule.graph import Graph, Node, NodeId
    from topsar.schedule.jobs import Job, Step
    from topsar.schedule.record import PlannedJob
    from topsar.schedule.stale import Decision

_OLDEST_FIRST: Mapping[NodeId, int] = MappingProxyType({})
_TRIALS, _SEARCH_S, _SEARCH_SHARE = 500, 2.0, 0.03
"""Most orders that are tried, and how long: seconds, and a share of the time that the batch will take."""
_AS_GOOD = 1.01
_MOST_STEPS = 3000
"""Of a batch of more steps than this the end matters little."""
_WORTH = 0.95
"""Another order than oldest first must end before this part of its time."""
_VARIATION = 0.6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Script:
    """What is rehearsed.

    Attributes
    ----------
    predict : callable
        What a step will take, such as `Ledger.predict`.
    capacity : Resources
        What all steps together may use; of the disk, what is free at the start.
    """

    graph: Graph
    decisions: Mapping[NodeId, Decision]
    predict: Callable[[Step], Forecast]
    capacity: Resources
    policy: Policy

    @property
    def waiting(self) -> list[Node]:
        """Steps that have to run, each after those that it reads from."""
        return [node for node in self.graph.nodes.values() if self.decisions[node.id].status is Status.WAITING]

    @property
    def is_timed(self) -> bool:
        """Whether the time of every step that has to run is known."""
        return all(self.predict(node.step).seconds is not None for node in self.waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a run will take.

    Attributes
    ----------
    peak_memory_bytes : int
        Most memory set aside at once.
    peak_disk_bytes : int
        Most that lies on the disk at once, of what the run writes.
    starts : mapping
        When each step starts, seconds.
    unfitting : tuple of NodeId
        Steps that find no room although nothing runs; what reads from them never starts either.
    """

    seconds: float
    peak_memory_bytes: int
    peak_disk_bytes: int
    starts: Mapping[NodeId, float]
    unfitting: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a run would do.

    Attributes
    ----------
    is_timed : bool
        Whether the rehearsal knew the time of every step.
    capacity : Resources
        What there is now.
    needed : frozenset of str
        Artifacts that steps yet to run will read, and that are there to be read.
    """

    jobs: tuple[PlannedJob, ...]
    rehearsal: Rehearsal
    is_timed: bool
    capacity: Resources
    needed: frozenset[str]


def preview_jobs(
    jobs: Sequence[Job],
    store: Store,
    policy: Policy | None = None,
    *,
    cores: int | None = None,
    memory_bytes: int | None = None,
) -> Preview:
    """Say what `run_jobs` would do with the same arguments; changes nothing.

    Parameters
    ----------
    jobs, store, policy
        As `run_jobs` has them; the runs folder need not exist.
    cores, memory_bytes : int, optional
        What all steps together may use of another machine; where absent, as much as here.

    Raises
    ------
    TopsarError
        When the steps do not form a graph.
    """
    policy, runs = policy or Policy(), store.runs
    graph, ledger = build_graph(jobs), Ledger(runs)
    decisions = plan_graph(graph, store)
    here = LocalExecutor(policy.budget).capacity()
    there = next(folder for folder in (runs, *runs.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free - policy.budget.free_disk_bytes
    capacity = Resources(memory_bytes=memory_bytes or here.memory_bytes, threads=cores or here.threads, disk_bytes=free)
    script = Script(graph=graph, decisions=decisions, predict=ledger.predict, capacity=capacity, policy=policy)
    return Preview(
        jobs=describe_jobs(jobs, decisions, ledger),
        rehearsal=_rehearse(script, find_order(script)),
        is_timed=script.is_timed,
        capacity=capacity,
        needed=frozenset(path for node in script.waiting for path in node.step.reads),
    )


def _rehearse(script: Script, order: Mapping[NodeId, int] = _OLDEST_FIRST) -> Rehearsal:
    """Go through a run as the scheduler would, with the waiting steps in an order; default: oldest first."""
    stage = _Stage(script, order)
    stage.play()
    return Rehearsal(
        seconds=stage.now,
        peak_memory_bytes=stage.peak_memory,
        peak_disk_bytes=stage.peak_disk,
        starts=stage.starts,
        unfitting=tuple(stage.unfitting),
    )


def find_order(script: Script) -> Mapping[NodeId, int]:
    """Find an order of the waiting steps in which the batch is done soon; empty for oldest first."""
    waiting = script.waiting
    if not 1 < len(waiting) <= _MOST_STEPS or not script.is_timed:
        return _OLDEST_FIRST
    started, plain = time.monotonic(), _rehearse(script)
    until = started + min(_SEARCH_S, _SEARCH_SHARE * plain.seconds)
    best, order = plain.seconds * _WORTH, _OLDEST_FIRST
    chance = random.Random(0)
    weights, shortest = _weigh(script, waiting)
    for trial in range(_TRIALS):
        if time.monotonic() > until or best <= _AS_GOOD * shortest:
            break
        spread = _VARIATION if trial else 0.0
        varied = {node: weight * (1 + spread * (chance.random() - 0.5)) for node, weight in weights.items()}
        tried = {node: place for place, node in enumerate(sorted(varied, key=varied.__getitem__, reverse=True))}
        found = _rehearse(script, tried)
        if found.seconds < best and len(found.unfitting) <= len(plain.unfitting):
            best, order = found.seconds, tried
    return order


def _weigh(script: Script, waiting: Iterable[Node]) -> tuple[dict[NodeId, float], float]:
    """By step, how early it should start; and seconds that no order can beat.

    The weight is the seconds to the end of the longest chain of steps that begins with the step, more for one that
    takes much memory: the large ones are hard to place late. No order beats the longest chain, nor all memory in use
    all the time.
    """
    filled = 0.0
    tails: dict[NodeId, float] = {}
    weights: dict[NodeId, float] = {}
    for node in reversed(list(waiting)):
        forecast = script.predict(node.step)
        after = max((tails.get(child, 0.0) for child in node.children), default=0.0)
        seconds = forecast.estimate_seconds(script.capacity.threads)
        tails[node.id] = seconds + after
        share = forecast.needs.memory_bytes / max(1, script.capacity.memory_bytes)
        filled += share * seconds
        weights[node.id] = tails[node.id] * (1 + share)
    return weights, max([filled, *tails.values()])


class _Stage:
    """A rehearsal under way."""

    def __init__(self, script: Script, order: Mapping[NodeId, int]) -> None:
        self._script = script
        self._board = Board(script.graph, script.decisions, order)
        self._window = PairWindow(script.policy.budget.workers)
        self._running: dict[NodeId, Grant] = {}
        self._ends: list[tuple[float, int, NodeId]] = []
        self._on_disk: Counter[str] = Counter()
        self.now = 0.0
        self.peak_memory = self.peak_disk = 0
        self.starts: dict[NodeId, float] = {}
        self.unfitting: list[NodeId] = []
        for rank, job in enumerate(script.graph.jobs):
            if job.is_pair and self._board.job_is_settled(job):
                self._window.leave(rank)

    def play(self) -> None:
        self._admit()
        while self._ends:
            self.now, _, node_id = heapq.heappop(self._ends)
            self._end(node_id, Status.DONE)
            self._admit()

    def _admit(self) -> None:
        predict = self._script.predict
        while True:
            candidates = (state.make_candidate(predict(state.node.step).needs) for state in self._board.ready)
            free = self._script.capacity.disk_bytes - sum(self._on_disk.values())
            owed = functools.partial(
                self._board.sum_owed,
                under_way=tuple(self._window.under_way),
                free=free,
                disk=lambda state: predict(state.node.step).needs.disk_bytes,
            )
            left = replace(self._script.capacity, disk_bytes=free)
            for grant in choose(candidates, tuple(self._running.values()), left, self._window, owed):
                self._start(grant)
            if self._running:
                return
            oldest = next((state.node.id for state in self._board.ready if self._window.admits(state.pairs)), None)
            if oldest is None:
                return
            self.unfitting.append(oldest)
            self._end(oldest, Status.FAILED)

    def _start(self, grant: Grant) -> None:
        node_id = grant.candidate.id
        self._board.start(node_id)
        self._running[node_id] = grant
        self.starts[node_id] = self.now
        seconds = self._script.predict(self._script.graph.nodes[node_id].step).estimate_seconds(grant.threads)
        heapq.heappush(self._ends, (self.now + seconds, len(self.starts), node_id))
        needs = [one.candidate.needs for one in self._running.values()]
        self.peak_memory = max(self.peak_memory, sum(need.memory_bytes for need in needs))
        self.peak_disk = max(self.peak_disk, sum(need.disk_bytes for need in needs) + sum(self._on_disk.values()))

    def _end(self, node_id: NodeId, status: Status) -> None:
        node, grant = self._script.graph.nodes[node_id], self._running.pop(node_id, None)
        if grant is not None and grant.candidate.needs.disk_bytes:
            for artifact in node.step.writes:
                self._on_disk[artifact.path] += grant.candidate.needs.disk_bytes // len(node.step.writes)
        others = self._board.settle(node_id, status)
        for _, path in self._board.find_spent(node_id, GOING[self._script.policy.cleanup]):
            self._on_disk.pop(path, None)
        for settled in (node, *(state.node for state in others)):
            if settled.job.is_pair and self._board.job_is_settled(settled.job):
                self._window.leave(settled.rank)
