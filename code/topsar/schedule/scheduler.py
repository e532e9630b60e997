"""The scheduler: runs the steps of jobs, as many at once as fit, and survives whatever happens to them.

It is demand driven: `plan` says what has to run, `admission` which of it starts now, `executor` runs it, `evidence`
says whether it is done, `journal` remembers. All decisions are taken in one thread, which waits for one inbox; only the
supervision of a process and the reading of its outputs happen in threads of their own.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import random
import shutil
import signal
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from topsar.errors import StepFailed, TopsarError
from topsar.model import Command, Ended, Event, Lifetime, Outcome, Reason, Resources, Status
from topsar.schedule.admission import Budget, Grant, PairWindow, choose
from topsar.schedule.board import Board
from topsar.schedule.command import GRACE_S, never_ran
from topsar.schedule.evidence import Store
from topsar.schedule.executor import LocalExecutor
from topsar.schedule.graph import build_graph
from topsar.schedule.guard import MARK, Guard
from topsar.schedule.journal import Journal, last_done, read_journal
from topsar.schedule.lock import hold_runs
from topsar.schedule.plan import decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from types import FrameType

    from topsar.model import Job
    from topsar.schedule.board import State
    from topsar.schedule.evidence import Inspect
    from topsar.schedule.executor import Executor
    from topsar.schedule.graph import Graph, Node, NodeId

Cleanup = Literal["none", "scratch", "nuclear"]

_GOING: dict[str, frozenset[Lifetime]] = {
    "none": frozenset(),
    "scratch": frozenset({Lifetime.SCRATCH}),
    "nuclear": frozenset({Lifetime.SCRATCH, Lifetime.RESTART}),
}
"""What goes, by level of cleanup, once nobody needs it."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "GDAL_NUM_THREADS",
)
"""Variables that cap the threads of a step; each is set to the number of threads it was granted."""

_WORTH_RETRYING = (Reason.RETRYABLE, Reason.OUT_OF_MEMORY, Reason.DISK_FULL)
_LONGEST_BACKOFF_S = 300.0
_REREAD_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_jobs(
    jobs: Sequence[Job],
    *,
    runs: Path,
    inspect: Inspect,
    budget: Budget | None = None,
    observe: Callable[[Event], None] | None = None,
    cleanup: Cleanup = "scratch",
    retries: int = 2,
    backoff_s: float = 5.0,
    executor: Executor | None = None,
    mark: str | None = None,
) -> tuple[Outcome, ...]:
    """Run what has to be run of the jobs, and say what became of each.

    What an earlier run finished is not run again while its evidence holds. A failed step blocks what reads from it and
    nothing else. SIGINT, SIGTERM or SIGHUP (when called in the main thread) end every process within seconds; the next
    call resumes.

    Parameters
    ----------
    jobs : sequence of Job
        Oldest first: where not everything can run at once, the first goes first.
    runs : Path
        The runs folder. It is locked against other schedulers.
    inspect : Inspect
        Validator of artifacts: facts of a file or folder as JSON can hold them, or `TopsarError`. Called from threads.
    budget : Budget, optional
        The user's upper bounds.
    observe : callable, optional
        Is given every event, in the calling thread.
    cleanup : {"scratch", "nuclear", "none"}
        What is removed as soon as no unfinished step needs it: scratch; everything but results; nothing.
    retries : int
        How often a step is tried again after a failure that may pass.
    backoff_s : float
        Seconds before the first retry; doubled for each further one, with jitter.
    executor : Executor, optional
        Where steps run; default: this machine. It is closed at the end.
    mark : str, optional
        What `hold_runs` gave a caller that holds the runs folder already.

    Returns
    -------
    tuple of Outcome
        One per job, in order.

    Raises
    ------
    TopsarError
        Before anything starts: the steps form no graph, or another scheduler holds the runs folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from topsar.model import Artifact, Job, Step
    >>> step = Step(name="hello", argv=("touch", "x"), signature="1", writes=(Artifact(path="a/x"),))
    >>> runs = Path(mkdtemp())
    >>> outcomes = run_jobs([Job(id="a", title="pair a", steps=(step,))], runs=runs, inspect=lambda path: {})
    >>> [(outcome.title, outcome.status.value) for outcome in outcomes]
    [('pair a', 'done')]
    """
    if cleanup not in _GOING:
        msg = f"cleanup is {cleanup!r}, expected one of {', '.join(_GOING)}"
        raise TopsarError(msg)
    graph, bounds = build_graph(jobs), budget or Budget()
    rules = _Rules(going=_GOING[cleanup], retries=retries, backoff_s=backoff_s, workers=bounds.workers)
    with contextlib.nullcontext(mark) if mark else hold_runs(runs) as held, Guard(held):
        place = executor or LocalExecutor(memory_bytes=bounds.memory_bytes, threads=bounds.threads)
        try:
            return _Run(graph, Store(runs.resolve(), inspect), place, rules, held, observe).to_the_end()
        finally:
            place.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    going: frozenset[Lifetime]
    retries: int
    backoff_s: float
    workers: int | None


@contextlib.contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Route the signals that end a program to ``handler``, except those that are being ignored (``nohup``)."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


class _Run:
    """One run of the jobs."""

    def __init__(
        self,
        graph: Graph,
        store: Store,
        place: Executor,
        rules: _Rules,
        mark: str,
        observe: Callable[[Event], None] | None,
    ) -> None:
        self._graph, self._store, self._place, self._rules, self._mark = graph, store, place, rules, mark
        self._observe = observe
        self._journals = {job.id: Journal(store.runs / job.id) for job in graph.jobs}
        self._done = {name: last_done(read_journal(journal.path)) for name, journal in self._journals.items()}
        self._board = Board(graph, decide(graph, self._done, store))
        self._window = PairWindow(rules.workers)
        self._events: dict[str, list[Event]] = {job.id: [] for job in graph.jobs}
        self._running: dict[NodeId, Grant] = {}
        self._serial = 0
        self._signals_seen = 0
        self._inbox: queue.SimpleQueue[_Finished | BaseException | None] = queue.SimpleQueue()

    def to_the_end(self) -> tuple[Outcome, ...]:
        with _signals(self._interrupt):
            self._report_finished()
            self._refuse()
            while not self._board.is_settled:
                if not self._signals_seen:
                    self._admit()
                elif not self._running:
                    break
                self._take()
        return tuple(self._board.outcome(job, self._events[job.id]) for job in self._graph.jobs)

    # --- before anything starts ----------------------------------------------------------------------------------

    def _report_finished(self) -> None:
        for node_id, state in self._board.states.items():
            if state.status is not Status.WAITING:
                record = self._done[node_id[0]].get(node_id[1])
                ended, evidence = (record.ended, record.evidence) if record else (None, {})
                self._emit(self._event(state.node, state.status, ended=ended, evidence=evidence))
        for node_id, state in self._board.states.items():
            if state.status is not Status.WAITING:
                self._release(node_id)
        for rank, job in enumerate(self._graph.jobs):
            self._close_window(rank, job)

    def _refuse(self) -> None:
        """Fail the steps that can never fit."""
        budget = self._place.capacity().memory_bytes
        for state in self._board.states.values():
            if state.status is Status.WAITING and state.needs.memory_bytes > budget:
                need = f"{state.needs.memory_bytes / 1e9:.2f} GB"
                message = f"step {state.node.step.name!r} needs {need} of memory, the budget is {budget / 1e9:.2f} GB"
                self._settle(state.node, Status.FAILED, never_ran(Reason.OUT_OF_MEMORY, message))

    # --- the loop ------------------------------------------------------------------------------------------------

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        # Runs between any two instructions of the loop: it may only leave a note.
        self._signals_seen += 1
        self._inbox.put(None)

    def _admit(self) -> None:
        now = time.monotonic()
        ready = [state.request for state in self._board.ready() if state.not_before <= now]
        if ready:
            for grant in choose(ready, tuple(self._running.values()), self._capacity(), self._window):
                # One that cannot even be started may leave another without anyone who needs it.
                if self._board.states[grant.request.id].status is Status.WAITING:
                    self._start(grant)

    def _capacity(self) -> Resources:
        return replace(self._place.capacity(), disk_bytes=shutil.disk_usage(self._store.runs).free)

    def _take(self) -> None:
        """Wait for something to happen, and deal with it."""
        pauses = [state.not_before - time.monotonic() for state in self._board.ready()]
        patience = min([_REREAD_S, *(pause for pause in pauses if pause > 0)]) if pauses else None
        try:
            item = self._inbox.get(timeout=patience)
        except queue.Empty:
            return
        if isinstance(item, BaseException):
            raise item
        if item is None:
            self._place.stop(GRACE_S if self._signals_seen == 1 else 0.0)
        else:
            self._finish(item)

    def _start(self, grant: Grant) -> None:
        state = self._board.start(grant.request.id)
        node = state.node
        try:
            self._emit(self._event(node, Status.RUNNING))
            (self._store.runs / node.job.id).mkdir(parents=True, exist_ok=True)
            for artifact in node.step.writes:
                self._store.remove(artifact.path)
            future = self._place.submit(self._command(node, grant.threads), state.needs)
        except (OSError, TopsarError) as exc:
            self._settle(node, Status.FAILED, never_ran(Reason.ERROR, f"cannot start: {exc}"))
            return
        self._running[node.id] = grant
        future.add_done_callback(functools.partial(self._supervised, node))

    def _command(self, node: Node, threads: int) -> Command:
        self._serial += 1
        folder = self._store.runs / node.job.id
        return Command(
            argv=node.step.argv,
            cwd=folder,
            log=folder / f"{node.step.name}.log",
            env={MARK: f"{self._mark}.{self._serial}."} | dict.fromkeys(THREAD_VARIABLES, str(threads)),
            timeout_s=node.step.timeout_s,
        )

    def _supervised(self, node: Node, future: Future[Ended]) -> None:
        """Check the evidence, in the thread that supervised the step, and tell the loop."""
        try:
            ended, evidence = future.result(), {}
            if ended.reason is Reason.DONE:
                try:
                    evidence = self._store.gather(node.step)
                except TopsarError as exc:
                    ended = replace(ended, reason=Reason.NO_EVIDENCE, message=str(exc))
        except BaseException as exc:  # noqa: BLE001 - raised again by the loop, in the caller's thread
            self._inbox.put(exc)
        else:
            self._inbox.put(_Finished(node, ended, evidence))

    def _finish(self, finished: _Finished) -> None:
        node, ended = finished.node, finished.ended
        grant = self._running.pop(node.id)
        state = self._board.states[node.id]
        may_pass = ended.reason in _WORTH_RETRYING
        if ended.reason is Reason.DONE:
            self._settle(node, Status.DONE, ended, finished.evidence)
        elif ended.reason is Reason.INTERRUPTED or (may_pass and self._signals_seen):
            self._settle(node, Status.INTERRUPTED, ended)
        elif may_pass and state.attempt <= self._rules.retries:
            self._emit(self._event(node, Status.WAITING, ended=ended))
            self._postpone(state, ended, grant.threads)
        else:
            self._settle(node, Status.FAILED, ended)

    def _postpone(self, state: State, ended: Ended, threads: int) -> None:
        """Set a step up for another try: later, and after a kill for memory with more memory and fewer threads."""
        if ended.reason is Reason.OUT_OF_MEMORY:
            more = max(state.needs.memory_bytes * 3 // 2, ended.peak_memory_bytes * 5 // 4)
            memory = min(more, max(self._place.capacity().memory_bytes, state.needs.memory_bytes))
            state.needs = replace(state.needs, memory_bytes=memory, threads=max(1, threads // 2))
        pause = min(_LONGEST_BACKOFF_S, self._rules.backoff_s * 2 ** (state.attempt - 1))
        state.not_before = time.monotonic() + pause * random.uniform(0.75, 1.25)
        self._board.make_ready(state.node.id)

    # --- consequences --------------------------------------------------------------------------------------------

    def _settle(self, node: Node, status: Status, ended: Ended, evidence: dict[str, Any] | None = None) -> None:
        try:
            self._emit(self._event(node, status, ended=ended, evidence=evidence))
        except StepFailed as exc:
            status, ended = Status.FAILED, replace(ended, reason=Reason.ERROR, message=str(exc))
            self._emit(self._event(node, status, ended=ended))
        others = self._board.settle(node.id, status, ended.message)
        for state in others:
            self._emit(self._event(state.node, state.status))
        self._release(node.id)
        for rank, job in {settled.rank: settled.job for settled in (node, *(state.node for state in others))}.items():
            self._close_window(rank, job)

    def _close_window(self, rank: int, job: Job) -> None:
        if job.is_pair and self._board.job_is_settled(job):
            self._window.leave(rank)

    def _release(self, node_id: NodeId) -> None:
        """Remove scratch that nobody needs now that a step has settled."""
        for writer, path in self._board.releasable(node_id, self._rules.going):
            with contextlib.suppress(OSError, TopsarError):  # what cannot be removed costs space, not the run
                freed = self._store.remove(path)
                if freed:
                    self._emit(self._event(self._graph.nodes[writer], Status.UNNEEDED, freed_bytes=freed))

    def _event(
        self,
        node: Node,
        status: Status,
        *,
        ended: Ended | None = None,
        evidence: dict[str, Any] | None = None,
        freed_bytes: int = 0,
    ) -> Event:
        return Event(
            time=datetime.now(timezone.utc),
            job=node.job.id,
            step=node.step.name,
            status=status,
            key=node.key,
            attempt=max(1, self._board.states[node.id].attempt),
            ended=ended,
            evidence=evidence or {},
            freed_bytes=freed_bytes,
        )

    def _emit(self, event: Event) -> None:
        """Journal an event (unless it only repeats what is journalled) and show it.

        Raises
        ------
        StepFailed
            When a start or a success cannot be journalled; a failure that cannot be is shown all the same.
        """
        if event.status not in (Status.CACHED, Status.UNNEEDED) or event.freed_bytes:
            try:
                self._journals[event.job].append(event)
            except OSError as exc:
                if event.status in (Status.RUNNING, Status.DONE):
                    msg = f"the journal cannot be written: {exc}"
                    raise StepFailed(msg) from exc
        self._events[event.job].append(event)
        if self._observe:
            self._observe(event)


@dataclass(frozen=True, slots=True)
class _Finished:
    node: Node
    ended: Ended
    evidence: dict[str, Any]
