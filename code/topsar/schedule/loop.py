"""One run: the loop in which everything happens.

All decisions are taken in one thread, which waits for one inbox; only the supervision of a process, the reading of its
outputs and the deleting of files happen in threads of their own.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import queue
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from topsar.errors import StepFailed, TopsarError
from topsar.files import find_parts
from topsar.schedule.admission import Grant, PairWindow, choose, find_lack
from topsar.schedule.capacity import Capacities
from topsar.schedule.cleanup import GOING, Remover
from topsar.schedule.command import GRACE_S, THREAD_VARIABLES
from topsar.schedule.events import Chronicle
from topsar.schedule.forecast import Ledger
from topsar.schedule.guard import MARK
from topsar.schedule.jobs import DISK, MEMORY, Command, Ended, Outcome, Reason, Resources, Status
from topsar.schedule.patience import Patience
from topsar.schedule.rehearsal import Script, find_order
from topsar.schedule.signals import route_signals
from topsar.schedule.stale import plan_graph
from topsar.schedule.state import Board, find_worst
from topsar.schedule.watch import identify, require_unchanged
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from types import FrameType

    from topsar.schedule.admission import Candidate
    from topsar.schedule.evidence import Store
    from topsar.schedule.executor import Executor
    from topsar.schedule.graph import Graph, Node, NodeId
    from topsar.schedule.jobs import Event, Job, Policy
    from topsar.schedule.stale import Decision
    from topsar.schedule.state import State

_WORTH_RETRYING = (Reason.RETRYABLE, Reason.OUT_OF_MEMORY, Reason.DISK_FULL)
_REASONS = {MEMORY: Reason.OUT_OF_MEMORY, DISK: Reason.DISK_FULL}
_LONGEST_BACKOFF_S = 300.0
_REREAD_S = 0.2
_LAST_LOOK_S = 0.1
_LEAST_DISK, _MORE = 1_000_000, 1.25


class Run:
    """One run, from its beginning to its end; the parameters are those of `run_jobs`."""

    def __init__(
        self,
        graph: Graph,
        store: Store,
        executor: Executor,
        policy: Policy,
        mark: str,
        observe: Callable[[Event], None] | None,
    ) -> None:
        self._graph, self._store, self._executor = graph, store, executor
        self._policy, self._mark = policy, mark
        self._chronicle = Chronicle(graph.jobs, store.runs, observe)
        self._ledger = Ledger(store.runs)
        self._capacities = Capacities(executor, store, self._ledger, policy.budget.free_disk_bytes)
        decisions = plan_graph(graph, store, self._chronicle.done)
        self._chronicle.begin(mark, policy.budget.workers, decisions, self._ledger)
        self._board = Board(graph, decisions, self._find_order(decisions))
        self._remover = Remover(store.runs)
        self._window = PairWindow(policy.budget.workers)
        self._running: dict[NodeId, Grant] = {}
        self._unwritten: list[_Finished] = []
        self._patience = Patience(policy.patience_s)
        self._serial = 0
        self._signals_seen = 0
        self._is_ending = False
        self._inbox: queue.SimpleQueue[_Finished | _Freed | BaseException | None] = queue.SimpleQueue()

    def run(self) -> tuple[Outcome, ...]:
        """Run what has to run; one outcome per job."""
        try:
            with route_signals(self._interrupt):
                self._report_finished()
                self._refuse()
                self._clear_remains()
                while not self._board.is_settled or self._remover.is_busy:
                    if not self._is_ending:
                        self._admit()
                    elif not self._running:
                        break
                    self._handle_next()
        except BaseException as exc:
            self._chronicle.end(f"{type(exc).__name__}: {exc}")
            raise
        self._remover.finish(GRACE_S if self._signals_seen else None)
        while not self._inbox.empty():  # space that was given back at the very end
            if isinstance(item := self._inbox.get(), _Freed):
                self._tell_freed(item)
        outcomes = tuple(self._board.make_outcome(job, self._chronicle.events[job.id]) for job in self._graph.jobs)
        self._chronicle.end(find_worst(outcome.status for outcome in outcomes).value)
        return outcomes

    def _find_order(self, decisions: Mapping[NodeId, Decision]) -> Mapping[NodeId, int]:
        there, predict = self._capacities.measure({}), self._ledger.predict
        return find_order(
            Script(graph=self._graph, decisions=decisions, predict=predict, capacity=there, policy=self._policy)
        )

    # --- before anything starts ----------------------------------------------------------------------------------

    def _report_finished(self) -> None:
        settled = [state for state in self._board.states.values() if state.status is not Status.WAITING]
        for state in settled:
            record = self._chronicle.done[state.node.job.id].get(state.node.step.name)
            event = state.node.make_event(state.status)
            if record:
                event = replace(event, ended=record.ended, evidence=record.evidence)
            self._chronicle.tell(event)
        for state in settled:
            self._release(state.node.id)
        for rank, job in enumerate(self._graph.jobs):
            self._close_window(rank, job)

    def _refuse(self) -> None:
        """Fail the steps that can never fit."""
        most = replace(self._executor.limits(), disk_bytes=self._capacities.whole_disk)
        there = {
            MEMORY: f"the budget is {bytes_text(most.memory_bytes)}",
            DISK: f"all of the disk of {self._store.runs} is {bytes_text(most.disk_bytes)}",
        }
        for state in self._board.states.values():
            if state.status is not Status.WAITING:
                continue
            candidate = self._capacities.make_candidate(state)
            if lack := find_lack(candidate, most):
                words = self._explain_lack(candidate, lack, most, there.get(lack))
                self._settle(state.node, Status.FAILED, Ended(reason=_REASONS.get(lack, Reason.ERROR), message=words))

    def _clear_remains(self) -> None:
        """Remove what was being written when an earlier run was killed: no step waits for the room that it takes."""
        for state in self._board.states.values():
            is_recorded = state.node.step.name in self._chronicle.done[state.node.job.id]
            if state.status is Status.WAITING and not is_recorded:
                self._discard(state.node)

    # --- the loop ------------------------------------------------------------------------------------------------

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        # Runs between any two instructions of the loop: it may only leave a note.
        self._signals_seen += 1
        self._is_ending = True
        self._inbox.put(None)

    def _admit(self) -> None:
        now = time.monotonic()
        ready = [state for state in self._board.ready if state.not_before <= now]
        grants: tuple[Grant, ...] = ()
        if ready:
            running = {self._graph.nodes[node_id]: grant for node_id, grant in self._running.items()}
            capacity = self._capacities.measure(running)
            owed = functools.partial(
                self._board.sum_owed,
                under_way=tuple(self._window.under_way),
                free=capacity.disk_bytes,
                disk=self._capacities.predict_disk,
            )
            candidates = (self._capacities.make_candidate(state) for state in ready)
            grants = choose(candidates, tuple(running.values()), capacity, self._window, owed)
        if grants or self._running or not ready:
            self._patience.rest()
        else:
            grants = self._help_stuck(ready, capacity)
        for grant in grants:
            # One that cannot even be started may leave another without anyone who needs it.
            if self._board.states[grant.candidate.id].status is Status.WAITING:
                self._start(grant)
        steps, waits_for = self._running.values(), self._patience.waits_for
        self._chronicle.pulse(functools.partial(self._capacities.take_pulse, steps, waits_for))

    def _help_stuck(self, ready: Sequence[State], capacity: Resources) -> tuple[Grant, ...]:
        """Deal with steps that find no room although nothing runs: wait, and in the end decide."""
        admitted = [state for state in ready if self._window.admits(state.pairs)]
        if not admitted or self._remover.is_busy:
            return ()
        enough = replace(capacity, memory_bytes=1 << 62, disk_bytes=1 << 62)
        for candidate in map(self._capacities.make_candidate, admitted):
            if not find_lack(candidate, capacity):  # its room is kept for pairs before its own
                is_patient = len(ready) < sum(1 for _ in self._board.ready)  # one of theirs is to be tried again
                return () if is_patient else choose([candidate], (), enough, self._window)
        state, oldest = admitted[0], self._capacities.make_candidate(admitted[0])
        lack = find_lack(oldest, capacity)
        in_reserve = oldest.needs.disk_bytes <= capacity.disk_bytes + self._policy.budget.free_disk_bytes
        if lack == DISK and in_reserve and not self._window.under_way.isdisjoint(oldest.pairs):
            return choose([oldest], (), enough, self._window)  # what has begun may use the reserve to come to its end
        if lack == DISK and self._make_room(state, oldest.needs.disk_bytes - capacity.disk_bytes):
            return ()
        words = self._explain_lack(oldest, lack, capacity)
        if not self._patience.is_over(words, capacity, functools.partial(self._tell_waiting, state.node)):
            return ()
        if lack == MEMORY:
            return choose([oldest], (), enough, self._window)
        ended = Ended(reason=_REASONS.get(lack, Reason.ERROR), message=f"{words}; waited in vain")
        self._settle(state.node, Status.FAILED, ended)
        return ()

    def _tell_waiting(self, node: Node, lack: str) -> None:
        self._chronicle.tell(replace(node.make_event(Status.WAITING), note=f"waits: {lack}"))

    def _make_room(self, state: State, lack: int) -> bool:
        """Remove what failed steps left, and what a step would remove first if that is enough; say whether any was."""
        spent = [one for one in self._board.states.values() if one.status is Status.FAILED and one.attempt]
        if self._store.size(state.node.step) >= lack:
            spent.append(state)
        before = sum(self._store.size(one.node.step) for one in spent)
        for one in spent:
            self._discard(one.node)
        return before > sum(self._store.size(one.node.step) for one in spent)

    def _explain_lack(self, candidate: Candidate, lack: str, capacity: Resources, there: str | None = None) -> str:
        needed, left = candidate.needs.amounts[lack], capacity.amounts.get(lack, 0)
        if lack == DISK:
            there = there or self._capacities.describe_disk()
        elif lack == MEMORY:
            there = there or f"{bytes_text(left)} are free"
        text = bytes_text(needed) if lack in _REASONS else str(needed)
        return f"step {candidate.id[1]!r} needs {text} of {lack}, {there or f'there are {left}'}"

    def _handle_next(self) -> None:
        """Wait for something to happen, and deal with it."""
        now = time.monotonic()
        pauses = [state.not_before - now for state in self._board.ready]
        patience = min([self._chronicle.pulse_in_s + 0.001, *(pause for pause in pauses if pause > 0)])
        if pauses or self._unwritten:
            patience = min(patience, _REREAD_S)
        if self._board.is_settled:  # nothing is left but files that are being deleted
            patience = min(patience, _LAST_LOOK_S)
        try:
            item = self._inbox.get(timeout=patience)
        except queue.Empty:
            self._write_late()
            return
        if isinstance(item, BaseException):
            raise item
        if item is None:
            self._executor.stop(GRACE_S if self._signals_seen == 1 else 0.0)
        elif isinstance(item, _Freed):
            self._tell_freed(item)
        else:
            self._finish(item)
        self._write_late()

    def _start(self, grant: Grant) -> None:
        state = self._board.start(grant.candidate.id)
        node, granted = state.node, replace(grant.candidate.needs, threads=grant.threads)
        self._running[node.id] = grant
        try:
            event = node.make_event(Status.RUNNING)
            self._chronicle.tell(replace(event, attempt=state.attempt, granted=granted))
            (self._store.runs / node.job.id).mkdir(exist_ok=True)  # but not a runs folder that was taken away
            self._discard(node, strict=True)
            before = [identify(one.path) for one in node.step.inputs]
            require_unchanged(node.step.inputs)
            future = self._executor.submit(self._make_command(node, granted))
            future.add_done_callback(functools.partial(self._gather_evidence, node, before))
        except (OSError, RuntimeError, TopsarError) as exc:  # RuntimeError: no more threads
            reason = Reason.DISK_FULL if _is_full(exc) else Reason.ERROR
            self._finish(_Finished(node, Ended(reason=reason, message=f"cannot start: {exc}"), {}))

    def _discard(self, node: Node, *, strict: bool = False) -> None:
        """Let nothing be there of what a step is to write; raise where something cannot be removed, if strict."""
        for artifact in node.step.writes:
            with contextlib.suppress(*(() if strict else (OSError, TopsarError))):
                path = self._store.locate(artifact.path)
                for one in (path, *find_parts(path)):
                    self._remover.remove(one, lambda _: None)

    def _make_command(self, node: Node, needs: Resources) -> Command:
        self._serial += 1
        folder = self._store.runs / node.job.id
        return Command(
            argv=node.step.argv,
            cwd=folder,
            log=folder / f"{node.step.name}.log",
            needs=needs,
            env={MARK: f"{self._mark}.{self._serial}."} | dict.fromkeys(THREAD_VARIABLES, str(needs.threads)),
            timeout_s=node.step.timeout_s,
            preload=node.step.preload,
        )

    def _gather_evidence(self, node: Node, before: list[tuple[int, ...]], future: Future[Ended]) -> None:
        """Check the evidence, in the thread that supervised the step, and tell the loop."""
        try:
            ended, evidence = future.result(), {}
            if ended.reason in (Reason.DONE, Reason.DISK_FULL):
                ended = replace(ended, written_bytes=self._store.size(node.step))
            if ended.reason is Reason.DONE:
                try:
                    evidence = self._store.gather(node.step)
                except TopsarError as exc:
                    ended = replace(ended, reason=Reason.NO_EVIDENCE, message=str(exc))
                for one, was in zip(node.step.inputs, before, strict=True):
                    if identify(one.path) != was:
                        message = f"{one.path} was changed or moved while the step read it"
                        ended, evidence = replace(ended, reason=Reason.RETRYABLE, message=message), {}
        except BaseException as exc:  # noqa: BLE001 - raised again by the loop, in the caller's thread
            self._inbox.put(exc)
        else:
            self._inbox.put(_Finished(node, ended, evidence))

    def _finish(self, finished: _Finished) -> None:
        node, ended = finished.node, finished.ended
        grant = self._running.pop(node.id)
        self._ledger.add(node.step, grant.threads, ended)
        if ended.reason is not Reason.DONE:
            self._capacities.find_free_disk()  # where the runs folder is gone, that is what is wrong
        state = self._board.states[node.id]
        may_pass = ended.reason in _WORTH_RETRYING
        if ended.reason is Reason.DISK_FULL:
            state.full_since = state.full_since or time.monotonic()
            state.excused += time.monotonic() - state.full_since < self._policy.patience_s
        if ended.reason is Reason.DONE:
            self._conclude(finished)
        elif ended.reason is Reason.INTERRUPTED or (may_pass and self._is_ending):
            self._is_ending = True  # also where nobody asked for it: there is no place any more where steps could run
            self._settle(node, Status.INTERRUPTED, ended)
        elif may_pass and state.attempt - state.excused <= self._policy.retries:
            event = node.make_event(Status.WAITING)
            self._chronicle.tell(replace(event, attempt=state.attempt, ended=ended))
            self._postpone(state, grant, ended)
        else:
            self._settle(node, Status.FAILED, ended)

    def _postpone(self, state: State, grant: Grant, ended: Ended) -> None:
        """Set a step up for another try: later, without its remains, and with more of what it lacked."""
        needs = grant.candidate.needs
        if ended.reason is Reason.OUT_OF_MEMORY:
            more = max(needs.memory_bytes * 3 // 2, ended.peak_memory_bytes * 5 // 4)
            memory = min(more, max(self._executor.limits().memory_bytes, needs.memory_bytes))
            state.least = replace(state.least, memory_bytes=memory, threads=max(1, grant.threads // 2))
        if ended.reason is Reason.DISK_FULL:
            # What it wrote says little where others filled the disk; more only if it asks for the second time.
            disk = max(needs.disk_bytes, int(_MORE * max(ended.written_bytes, state.least.disk_bytes)), _LEAST_DISK)
            most = max(needs.disk_bytes, self._capacities.whole_disk)
            state.least = replace(state.least, disk_bytes=min(disk, most))
        self._discard(state.node)
        pause = min(_LONGEST_BACKOFF_S, self._policy.backoff_s * 2 ** (state.attempt - 1))
        state.not_before = time.monotonic() + pause * random.uniform(0.75, 1.25)
        self._board.make_ready(state.node.id)

    # --- consequences --------------------------------------------------------------------------------------------

    def _conclude(self, finished: _Finished) -> None:
        """Settle a step that is done, or, if the disk has no room for saying so, keep that for later."""
        try:
            self._settle(finished.node, Status.DONE, finished.ended, finished.evidence)
        except StepFailed as exc:
            if _is_full(exc) and time.monotonic() < finished.since + self._policy.patience_s:
                self._unwritten.append(finished)
                return
            message = f"{exc} ({self._capacities.describe_disk()})"
            self._settle(finished.node, Status.FAILED, replace(finished.ended, reason=Reason.ERROR, message=message))

    def _tell_freed(self, freed: _Freed) -> None:
        event = self._graph.nodes[freed.writer].make_event(Status.UNNEEDED)
        self._chronicle.tell(replace(event, freed_bytes=freed.size))

    def _write_late(self) -> None:
        """Say what could not be said when it happened, because the disk was full."""
        unwritten, self._unwritten = self._unwritten, []
        for finished in unwritten:
            self._conclude(finished)

    def _settle(self, node: Node, status: Status, ended: Ended, evidence: dict[str, Any] | None = None) -> None:
        attempt = max(1, self._board.states[node.id].attempt)
        event = replace(node.make_event(status), attempt=attempt, ended=ended, evidence=evidence or {})
        self._chronicle.tell(event)
        others = self._board.settle(node.id, status, ended.message)
        for state in others:
            self._chronicle.tell(state.node.make_event(state.status))
        self._release(node.id)
        for rank, job in {settled.rank: settled.job for settled in (node, *(state.node for state in others))}.items():
            self._close_window(rank, job)

    def _close_window(self, rank: int, job: Job) -> None:
        if job.is_pair and self._board.job_is_settled(job):
            self._window.leave(rank)

    def _release(self, node_id: NodeId) -> None:
        """Remove what nobody needs now that a step has settled."""
        for writer, path in self._board.find_spent(node_id, GOING[self._policy.cleanup]):
            with contextlib.suppress(OSError, TopsarError):  # what cannot be removed costs space, not the run
                self._remover.remove(self._store.locate(path), functools.partial(self._note_freed, writer))

    def _note_freed(self, writer: NodeId, size: int) -> None:
        if size:
            self._inbox.put(_Freed(writer, size))


@dataclass(frozen=True, slots=True)
class _Finished:
    """A step whose process has ended."""

    node: Node
    ended: Ended
    evidence: dict[str, Any]
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Freed:
    """Space that was given back."""

    writer: NodeId
    size: int


def _is_full(exc: BaseException | None) -> bool:
    """Whether an error means, or was caused by, a full disk."""
    if isinstance(exc, OSError):
        return exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return exc is not None and _is_full(exc.__cause__)
