"""Commands on the workers of a Dask cluster, which see the runs folder under the same path.

The scheduler of this room stays the one that decides and retries. Dask brings a command to the worker chosen here and
holds the worker's memory and cores for it, as the Dask resources ``MEMORY`` and ``CORES``. Dask alone would queue a
command behind a busy worker while another is free: it looks at what a worker has, not at what it has left.

A command whose worker died ends as a retryable error, but not before the dead worker's guard says that its processes
have ended (see `worker`). A host that lost its power or its network says nothing: after `_SILENCE_S` it is taken
for dead. That is longer than Dask lets a worker live that cannot reach its scheduler (30 s; then the worker closes,
and its commands with it). So two tries of one command can only overlap where a worker is cut off from Dask yet not
from the runs folder, and is frozen so that it does not notice.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from topsar import __version__
from topsar.errors import ProductError, SettingsError, TopsarError
from topsar.files import delete
from topsar.schedule.command import GRACE_S, THREAD_VARIABLES
from topsar.schedule.dask.link import SLURM, DaskLink
from topsar.schedule.jobs import UNBOUNDED, Ended, Reason, Resources
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.schedule.dask.link import DaskWorker
    from topsar.schedule.jobs import Budget, Command

_MOST_AT_ONCE = 1024
_LOOK_S = 1.0
_LONGEST_POLL_S = 0.05
_SILENCE_S = 60.0
_DEAF_S = 120.0
_STOP_S = 1.5
_FENCE_S = 15.0
_TRIES = 3


@dataclass(eq=False, slots=True)
class _Submission:
    """A command under way; ``worker`` and ``cores`` are set when it has its place."""

    serial: str
    command: Command
    worker: DaskWorker | None = None
    cores: int = 0
    placed: threading.Event = field(default_factory=threading.Event)
    task: Future[Ended | None] | None = None


class DaskExecutor:
    """The workers of a Dask cluster.

    Parameters
    ----------
    address : str
        ``tcp://host:port`` or ``tls://host:port``, or ``slurm`` for jobs of our own, as Dask's configuration
        ``jobqueue.slurm`` describes them; they are ended at the end.
    runs, mark, budget
        As `Executor.open` has them; as many SLURM jobs are asked for as pairs may be under way.
    patience_s : float
        How long to wait for a first worker, and for another when none is left that is large enough.

    Raises
    ------
    TopsarError
        When Dask is not installed or does not answer, there is no worker, or a worker has another version of topsar
        or does not see the runs folder.
    """

    def __init__(
        self, address: str, *, runs: Path, mark: str, budget: Budget = UNBOUNDED, patience_s: float = 30.0
    ) -> None:
        self._link = DaskLink(address, budget.workers or 1)
        self._no_answer = f"the Dask scheduler at {address} does not answer any more: start it and its workers again"
        from topsar.schedule.dask import worker as dask_worker

        self._remote = dask_worker
        self._name = dask_worker.name_session(mark)
        self._runs, self._mark = runs.resolve(), mark
        self._folder = self._runs / dask_worker.FOLDER
        self._claims = self._folder / mark
        self._budget, self._patience_s = budget, patience_s
        self._lock = threading.RLock()
        self._workers: dict[str, DaskWorker] = {}
        self._waiting: list[_Submission] = []
        self._placed: list[_Submission] = []
        self._serial = 0
        self._is_stopping = False
        self._give_up_at = float("inf")
        self._heard_at = time.monotonic()
        self._is_gone = False
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="step")
        self._watcher = threading.Thread(target=self._watch, name="dask-watch", daemon=True)
        try:
            self._open()
        except BaseException:
            self._leave()
            raise
        self._watcher.start()

    @classmethod
    def open(cls, address: str, *, runs: Path, mark: str, budget: Budget) -> DaskExecutor:
        """Connect to a Dask cluster.

        Parameters
        ----------
        address : str
            Value of ``DASK_SCHEDULER``: a scheduler's address, or ``slurm``.
        runs, mark, budget
            As `Executor.open` has them; the workers see the folder too.
        """
        if not address:
            msg = "EXECUTOR=dask, but DASK_SCHEDULER is empty"
            raise SettingsError(msg, hint="DASK_SCHEDULER=tcp://host:8786, or DASK_SCHEDULER=slurm")
        return cls(address, runs=runs, mark=mark, budget=budget)

    # --- the protocol --------------------------------------------------------------------------------------------

    def limits(self) -> Resources:
        """The largest worker's memory and cores, or what a SLURM job will have, within the user's limits."""
        have = self._list_sizes()
        return self._bound(max((r.memory_bytes for r in have), default=0), max((r.threads for r in have), default=1))

    def capacity(self) -> Resources:
        """The sum over all living workers, within the user's limits."""
        with self._lock:
            workers = tuple(self._workers.values())
        return self._bound(sum(worker.memory_bytes for worker in workers), sum(worker.cores for worker in workers))

    def memory_in_use(self) -> int | None:
        """Resident bytes of all commands' processes, as the workers last said; None where nothing was heard lately."""
        with self._lock:
            is_known = bool(self._workers) and time.monotonic() - self._heard_at < 10 * _LOOK_S
            return sum(worker.used_bytes for worker in self._workers.values()) if is_known else None

    def submit(self, command: Command) -> Future[Ended]:
        """Run a command on a worker as soon as one has room for it; interrupted where the Dask scheduler is gone."""
        with self._lock:
            self._serial += 1
            submission = _Submission(str(self._serial), command)
            self._waiting.append(submission)
            if self._is_stopping:
                submission.placed.set()
            self._place()
        return self._pool.submit(self._supervise, submission)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End all commands; a worker that does not answer is given up some seconds after the grace."""
        with self._lock:
            self._is_stopping = True
            self._give_up_at = min(self._give_up_at, time.monotonic() + grace_s + _STOP_S)
            for submission in self._waiting:
                submission.placed.set()
            is_idle = not self._placed
        if not is_idle:
            with contextlib.suppress(TopsarError):
                run = self._link.client.run
                self._link.ask(run, self._remote.stop, self._name, grace_s, on_error="ignore", timeout_s=_STOP_S)

    def close(self) -> None:
        """End all commands, and leave the cluster."""
        self.stop()
        self._pool.shutdown(wait=True)
        self._closing.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._leave()

    # --- one command ---------------------------------------------------------------------------------------------

    def _supervise(self, submission: _Submission) -> Ended:
        """Follow a command from its submission to its end, in a thread of its own."""
        started = time.monotonic()
        self._await_place(submission, started)
        if submission.worker is None:
            return self._end_unplaced(submission)
        try:
            return self._run(submission, submission.worker) or self._end_lost(submission, submission.worker, started)
        finally:
            with self._lock:
                self._placed.remove(submission)
                self._place()

    def _await_place(self, submission: _Submission, since: float) -> None:
        while not submission.placed.wait(_LOOK_S):
            if any(size.memory_bytes >= submission.command.needs.memory_bytes for size in self._list_sizes()):
                since = time.monotonic()
            elif time.monotonic() - since > self._patience_s or self._is_cut_off():
                break
        with self._lock:
            if submission in self._waiting:
                self._waiting.remove(submission)

    def _end_unplaced(self, submission: _Submission) -> Ended:
        if self._is_stopping:
            return Ended(reason=Reason.INTERRUPTED)
        if self._is_cut_off():
            return Ended(reason=Reason.INTERRUPTED, message=self._no_answer)
        size = bytes_text(submission.command.needs.memory_bytes)
        words = f"no Dask worker with {size} of memory was there for {self._patience_s:g} s"
        return Ended(reason=Reason.RETRYABLE, message=words)

    def _run(self, submission: _Submission, worker: DaskWorker) -> Ended | None:
        """Run a command as a Dask task; None where its worker was lost."""
        submission.task = self._link.begin(self._task(submission, worker))
        try:
            return submission.task.result()
        except CancelledError:
            return None

    async def _task(self, submission: _Submission, worker: DaskWorker) -> Ended | None:
        from distributed import CancelledError as Dropped
        from distributed import KilledWorker

        command, cores, memory = submission.command, submission.cores, submission.command.needs.memory_bytes
        threads = {name: str(cores) for name in THREAD_VARIABLES if name in command.env}
        future = self._link.client.submit(
            self._remote.execute,
            self._name,
            submission.serial,
            replace(command, env=command.env | threads),
            key=f"{self._name}-{submission.serial}",
            workers=[worker.address],
            resources={self._remote.MEMORY: memory, self._remote.CORES: cores},
            retries=0,
            pure=False,
        )
        try:
            ended: Ended | None = await future
        except (KilledWorker, Dropped):
            return None
        except Exception as exc:  # noqa: BLE001 - what a foreign program says; this one goes on
            return Ended(reason=Reason.ERROR, message=f"the Dask worker {worker.address} cannot run it: {exc!r}")
        finally:
            future.release()
        return ended

    def _end_lost(self, submission: _Submission, worker: DaskWorker, started: float) -> Ended:
        """Say how a command ended whose worker does not say it, once none of its processes can live any more."""
        with self._lock:
            self._workers.pop(worker.address, None)  # until it is seen again
        path = self._claims / submission.serial
        message = f"the Dask worker {worker.address} on {worker.host} died"
        if self._remote.claim(path, "nobody"):
            message += " before the command began"
        else:
            has_ended = self._has_ended(path)
            message += " while it ran the command" if has_ended else f"; its host was silent for {_SILENCE_S:g} s"
        reason = Reason.RETRYABLE
        if self._is_stopping or not self._wait_for_answer():
            reason, message = Reason.INTERRUPTED, "" if self._is_stopping else self._no_answer
        seconds = time.monotonic() - started
        return Ended(reason=reason, exit_code=-signal.SIGKILL, seconds=seconds, message=message)

    def _has_ended(self, path: Path) -> bool:
        """Wait until a claimed command has ended by itself or by its guard, or its host is taken for dead."""
        until = time.monotonic() + _SILENCE_S
        while (self._folder / f"{self._mark}.{self._remote.find_claimant(path)}").exists():
            if time.monotonic() > min(until, self._give_up_at):
                return False
            time.sleep(_LONGEST_POLL_S)
        return True

    # --- who has room --------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Give waiting commands their workers, oldest first; called under the lock.

        One that finds no room keeps a worker to itself that would be large enough, so that it is not starved.
        """
        room = self._measure_room() if self._waiting and not self._is_stopping else {}
        for submission in tuple(self._waiting):
            memory, wish = submission.command.needs.memory_bytes, max(1, submission.command.needs.threads)
            fitting = [address for address, (free, cores) in room.items() if free >= memory and cores >= 1]
            large = [address for address in room if self._workers[address].memory_bytes >= memory]
            if fitting:
                address = max(fitting, key=lambda one: (min(room[one][1], wish), -room[one][0]))
                submission.worker, submission.cores = self._workers[address], min(room[address][1], wish)
                room[address] = (room[address][0] - memory, room[address][1] - submission.cores)
                self._waiting.remove(submission)
                self._placed.append(submission)
                submission.placed.set()
            elif large:
                del room[max(large, key=room.__getitem__)]

    def _measure_room(self) -> dict[str, tuple[int, int]]:
        """Memory and cores that each worker has left."""
        room = {address: (worker.memory_bytes, worker.cores) for address, worker in self._workers.items()}
        for submission in self._placed:
            if submission.worker and submission.worker.address in room:
                free, cores = room[submission.worker.address]
                free -= submission.command.needs.memory_bytes
                room[submission.worker.address] = (free, cores - submission.cores)
        return room

    def _list_sizes(self) -> list[Resources]:
        """What each worker has, and what one of a SLURM job will have."""
        with self._lock:
            have = [Resources(memory_bytes=w.memory_bytes, threads=w.cores) for w in self._workers.values()]
        return [*have, self._link.promised] if self._link.promised else have

    def _bound(self, memory: int, cores: int) -> Resources:
        return Resources(
            memory_bytes=memory if self._budget.memory_bytes is None else min(memory, self._budget.memory_bytes),
            threads=cores if self._budget.threads is None else min(cores, self._budget.threads),
        )

    # --- the cluster ---------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at the cluster every second, and give up commands whose worker is gone."""
        while not self._closing.wait(_LOOK_S):
            with contextlib.suppress(TopsarError):
                self._look()
            with self._lock:
                is_over = time.monotonic() > self._give_up_at or self._is_cut_off()
                for submission in self._placed:
                    is_lost = is_over or (submission.worker and submission.worker.address not in self._workers)
                    if is_lost and submission.task:
                        submission.task.cancel()
                self._place()

    def _is_cut_off(self) -> bool:
        """Whether the Dask scheduler is gone for good."""
        return self._is_gone or self._link.client.status == "closed" or time.monotonic() - self._heard_at > _DEAF_S

    def _wait_for_answer(self) -> bool:
        """Wait until the Dask scheduler answers; False where it is gone for good."""
        while not (self._is_cut_off() or self._is_stopping):
            with contextlib.suppress(TopsarError):
                self._look()
                return True
            self._is_gone = not self._link.is_there()
            self._closing.wait(_LOOK_S)
        return self._is_stopping

    def _look(self) -> None:
        workers = self._link.list_workers(self._name)
        with self._lock:
            self._workers, self._heard_at = workers, time.monotonic()

    def _open(self) -> None:
        """Make every worker serve this run, and no other run of its folder."""
        if self._link.scheduler != SLURM:
            self._link.wait_for_workers(self._patience_s)
        self._check_workers()
        self._fence()
        self._claims.mkdir(parents=True)
        session = self._remote.Session(self._runs, self._mark)
        self._link.ask(self._link.client.register_plugin, session, name=self._name)
        until = time.monotonic() + self._patience_s
        while not self._workers and self._link.scheduler != SLURM:
            self._look()
            if time.monotonic() > until:
                msg = f"no Dask worker at {self._link.scheduler} took up the run; waited {self._patience_s:g} s"
                raise TopsarError(msg, hint="see the logs of the workers", retryable=True)
            time.sleep(_LONGEST_POLL_S)

    def _check_workers(self) -> None:
        run = self._link.client.run
        for address, answer in self._link.ask(run, self._remote.identify, self._runs, on_error="return").items():
            if isinstance(answer, Exception) or answer[0] != __version__:
                other = f"topsar {answer[0]}" if isinstance(answer, tuple) else "no or another topsar"
                msg = f"the Dask worker {address} has {other} ({answer}), expected topsar {__version__}"
                raise TopsarError(msg, hint="start the workers from the same environment as topsar")
            if answer[1] != self._mark:
                msg = f"the Dask worker {address} does not see the runs folder {self._runs}"
                raise TopsarError(msg, hint="the folder must have the same path on every host; see DATA_DIR")

    def _fence(self) -> None:
        """End every command of an earlier run of this folder, wherever it lives."""
        if not self._folder.exists():
            return
        for mark in {path.name.partition(".")[0] for path in self._folder.iterdir()}:
            for _ in range(_TRIES):  # a claim may be made meanwhile; once the folder is gone nothing starts any more
                with contextlib.suppress(OSError):
                    delete(self._folder / mark, within=self._runs)
            with contextlib.suppress(ValueError):  # this Dask scheduler never knew that run
                name = self._remote.name_session(mark)
                self._link.ask(self._link.client.unregister_worker_plugin, name, timeout_s=_FENCE_S)
        until = time.monotonic() + _SILENCE_S
        while (witnesses := list(self._folder.iterdir())) and time.monotonic() < until:
            time.sleep(_LONGEST_POLL_S)
        for witness in witnesses:
            with contextlib.suppress(OSError):
                delete(witness, within=self._runs)

    def _leave(self) -> None:
        with contextlib.suppress(OSError, ProductError):
            delete(self._claims, within=self._runs)
        with contextlib.suppress(TopsarError, ValueError):
            self._link.ask(self._link.client.unregister_worker_plugin, self._name, timeout_s=_STOP_S)
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        self._link.close()
