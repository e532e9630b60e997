"""The state of every step in a run, and what follows when one of them settles. No files, no processes, no clock."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from topsar.schedule.admission import Candidate
from topsar.schedule.jobs import Outcome, Resources, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from topsar.schedule.graph import Graph, Node, NodeId
    from topsar.schedule.jobs import Event, Job, Lifetime
    from topsar.schedule.stale import Decision

_SETTLED_WELL = frozenset({Status.DONE, Status.CACHED, Status.UNNEEDED})
_NO_LESS = Resources(threads=1 << 30)
_OPEN = frozenset({Status.WAITING, Status.RUNNING})
_WORST_FIRST = (Status.FAILED, Status.BLOCKED, Status.INTERRUPTED, Status.DONE, Status.CACHED, Status.UNNEEDED)


def find_worst(statuses: Iterable[Status]) -> Status:
    """Of several statuses the one that matters most; one that is still open counts as interrupted."""
    found = {Status.INTERRUPTED if status in _OPEN else status for status in statuses}
    return next((status for status in _WORST_FIRST if status in found), Status.UNNEEDED)


def _find_turns(graph: Graph) -> dict[NodeId, int]:
    """The turn of each step: the oldest pair is done before the next begins, and what is read is written just before.

    So little lies on the disk at once: of two branches one is gone before the other is begun.
    """
    turns: dict[NodeId, int] = {}
    pairs_first = sorted(graph.jobs, key=lambda job: not job.is_pair)
    open_steps = [(job.id, step.name) for job in reversed(pairs_first) for step in reversed(job.steps)]
    while open_steps:
        parents = [parent for parent in graph.nodes[open_steps[-1]].parents if parent not in turns]
        if parents:
            open_steps += reversed(parents)
        else:
            turns.setdefault(open_steps.pop(), len(turns))
    return turns


@dataclass(slots=True, kw_only=True, eq=False)
class State:
    """One step in this run.

    Attributes
    ----------
    least : Resources
        What it asks for at least, having failed with less; as for threads, at most.
    missing : int
        Steps it reads from that are not settled yet.
    cause : str
        Why it failed, or which failure keeps it from running.
    excused : int
        Attempts that do not count against it: the disk was full.
    full_since : float, optional
        Monotonic time when that was first so.
    not_before : float
        Monotonic time before which it is not tried again.
    """

    node: Node
    status: Status
    rank: tuple[int, ...]
    pairs: tuple[int, ...]
    least: Resources = _NO_LESS
    missing: int = 0
    cause: str = ""
    attempt: int = 0
    excused: int = 0
    full_since: float | None = None
    not_before: float = 0.0

    def make_candidate(self, needs: Resources) -> Candidate:
        """The step as admission sees it, when it is predicted to need so much."""
        raised = replace(
            needs,
            memory_bytes=max(needs.memory_bytes, self.least.memory_bytes),
            threads=min(needs.threads, self.least.threads),
            disk_bytes=max(needs.disk_bytes, self.least.disk_bytes),
        )
        return Candidate(id=self.node.id, rank=self.rank, needs=raised, pairs=self.pairs)


class Board:
    """All steps of a run; ``order`` is the place of each among those that could start, oldest first where equal."""

    def __init__(
        self, graph: Graph, decisions: Mapping[NodeId, Decision], order: Mapping[NodeId, int] = MappingProxyType({})
    ) -> None:
        self._graph = graph
        self.states: dict[NodeId, State] = {}
        self._most_disk: int | None = None
        pairs = self._find_pairs(decisions)
        turns = _find_turns(graph)
        for node in graph.nodes.values():
            self.states[node.id] = State(
                node=node,
                status=decisions[node.id].status,
                rank=(order.get(node.id, 0), turns[node.id]),
                pairs=pairs[node.id],
                missing=sum(decisions[parent].status is Status.WAITING for parent in node.parents),
            )
        self._working: defaultdict[int, list[State]] = defaultdict(list)
        for state in self.states.values():
            for pair in state.pairs:
                self._working[pair].append(state)
        self._open = Counter(state.node.job.id for state in self.states.values() if state.status in _OPEN)
        self._ready: list[tuple[tuple[int, ...], NodeId]] = []
        for node_id, state in self.states.items():
            if state.status is Status.WAITING and not state.missing:
                self.make_ready(node_id)

    def _find_pairs(self, decisions: Mapping[NodeId, Decision]) -> dict[NodeId, tuple[int, ...]]:
        """The ranks of the pairs that each step works for: its own, and those of the waiting steps it feeds."""
        pairs: dict[NodeId, tuple[int, ...]] = {}
        for node in reversed(tuple(self._graph.nodes.values())):
            waiting = (child for child in node.children if decisions[child].status is Status.WAITING)
            fed = {pair for child in waiting for pair in pairs[child]}
            pairs[node.id] = tuple(sorted(fed | {node.rank} if node.job.is_pair else fed))
        return pairs

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._open

    def job_is_settled(self, job: Job) -> bool:
        """Whether nothing of a job waits or runs."""
        return job.id not in self._open

    @property
    def ready(self) -> Iterable[State]:
        """Steps that wait for nothing but room and time, oldest first."""
        return (self.states[node_id] for _, node_id in self._ready)

    def make_ready(self, node_id: NodeId) -> None:
        """Put a step (back) among those that could start."""
        state = self.states[node_id]
        state.status = Status.WAITING
        bisect.insort(self._ready, (state.rank, node_id))

    def sum_owed(self, pair: int, under_way: Sequence[int], free: int, disk: Callable[[State], int]) -> int:
        """Bytes that waiting steps have still to write for a pair; 0 where ``free`` is enough for all steps.

        What several pairs share counts for the first of the pairs ``under_way``, else for their first one; ``disk``
        says what a step will write.

        Parameters
        ----------
        pair : int
        under_way : sequence of int
        free : int
            Bytes on the disk.
        disk : callable
        """
        if self._most_disk is None:  # twice: predictions may grow
            self._most_disk = 2 * sum(disk(one) for one in self.states.values() if one.status is Status.WAITING)
        if free >= self._most_disk:
            return 0
        waiting = (state for state in self._working[pair] if state.status is Status.WAITING)
        return sum(
            disk(state)
            for state in waiting
            if next((other for other in under_way if other in state.pairs), state.pairs[0]) == pair
        )

    def start(self, node_id: NodeId) -> State:
        """Mark a ready step as running."""
        state = self.states[node_id]
        self._ready.remove((state.rank, node_id))
        state.status = Status.RUNNING
        state.attempt += 1
        return state

    def settle(self, node_id: NodeId, status: Status, cause: str = "") -> list[State]:
        """Settle a step; return the steps that this settles too: blocked by its failure, or needed by nobody now.

        Parameters
        ----------
        node_id : NodeId
        status : Status
        cause : str
            For the user.
        """
        state = self.states[node_id]
        self._close(state, status, cause)
        if status in _SETTLED_WELL:
            self._feed(state.node)
            return []
        if status is Status.INTERRUPTED:
            return []
        blocked = self._block(state.node, f"{state.node.job.title} failed: {cause}")
        return blocked + self._prune([state, *blocked])

    def find_spent(self, node_id: NodeId, lifetimes: Container[Lifetime]) -> list[tuple[NodeId, str]]:
        """What of these lifetimes nobody needs any more now that a step has settled: (its writer, its path).

        Parameters
        ----------
        node_id : NodeId
        lifetimes : container of Lifetime
        """
        step = self.states[node_id].node.step
        paths = dict.fromkeys([*step.reads, *(artifact.path for artifact in step.writes)])
        return [(self._graph.writers[path], path) for path in paths if self._is_spent(path, lifetimes)]

    def make_outcome(self, job: Job, events: Iterable[Event]) -> Outcome:
        """Say what became of a job, given all its events.

        Parameters
        ----------
        job : Job
        events : iterable of Event
        """
        states = [self.states[job.id, step.name] for step in job.steps]
        status = find_worst(state.status for state in states)
        all_events = tuple(events)
        return Outcome(
            job=job.id,
            title=job.title,
            status=status,
            is_pair=job.is_pair,
            events=all_events,
            message=next((state.cause for state in states if state.status is status and state.cause), ""),
            freed_bytes=sum(event.freed_bytes for event in all_events),
        )

    def _close(self, state: State, status: Status, cause: str = "") -> None:
        if state.status is Status.WAITING and not state.missing:
            self._ready.remove((state.rank, state.node.id))
        state.status, state.cause = status, cause
        job = state.node.job.id
        self._open[job] -= 1
        if not self._open[job]:
            del self._open[job]

    def _feed(self, node: Node) -> None:
        for child in node.children:
            state = self.states[child]
            if state.status is Status.WAITING:
                state.missing -= 1
                if not state.missing:
                    self.make_ready(child)

    def _block(self, node: Node, cause: str) -> list[State]:
        blocked: list[State] = []
        for child in node.children:
            state = self.states[child]
            if state.status is Status.WAITING:
                self._close(state, Status.BLOCKED, cause)
                blocked += [state, *self._block(state.node, cause)]
        return blocked

    def _prune(self, failed: Iterable[State]) -> list[State]:
        """Give up steps that write scratch for none but failed and blocked steps."""
        pruned: list[State] = []
        parents = {parent for state in failed for parent in state.node.parents}
        while parents:
            state = self.states[parents.pop()]
            is_idle = all(self.states[child].status not in _OPEN for child in state.node.children)
            if state.status is Status.WAITING and not state.node.is_goal and is_idle:
                self._close(state, Status.UNNEEDED, "what needs it cannot run")
                pruned.append(state)
                parents.update(state.node.parents)
        return pruned

    def _is_spent(self, path: str, lifetimes: Container[Lifetime]) -> bool:
        """Whether an artifact may go: it is written, and read by none but steps that are settled for good."""
        writer = self.states[self._graph.writers[path]]
        may_go = any(artifact.path == path and artifact.lifetime in lifetimes for artifact in writer.node.step.writes)
        users = [writer, *(self.states[reader] for reader in self._graph.readers[path])]
        return may_go and all(user.status in _SETTLED_WELL and not user.cause for user in users)
