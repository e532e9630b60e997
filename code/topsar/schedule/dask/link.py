"""The connection to Dask: a scheduler that runs already, or a cluster of SLURM jobs of our own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from topsar import __version__
from topsar.errors import TopsarError
from topsar.schedule.jobs import Resources

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    T = TypeVar("T")

SLURM = "slurm"
"""The address that asks for SLURM jobs."""

_LOGGERS = ("distributed", "distributed.client", "distributed.scheduler", "distributed.core", "dask_jobqueue")
_LISTEN_S, _CONNECT_S = 5.0, 60.0
_ANSWER_S = 60.0
"""On a machine with much to do, Dask may take long to answer; where nobody listens, that is known at once."""
_LOOK_S = 5.0
_CLOSE_S = 2.0
_END_JOBS_S = 8.0
_NO_ANSWER = (OSError, asyncio.TimeoutError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskWorker:
    """A living worker that serves the run."""

    address: str
    host: str
    memory_bytes: int
    cores: int
    used_bytes: int


class DaskLink:
    """A client of a Dask scheduler, quiet, and with a time limit on every question.

    Parameters
    ----------
    scheduler : str
        Address, or ``slurm``.
    jobs : int
        SLURM jobs to ask for.

    Raises
    ------
    TopsarError
        When Dask is not installed, or nobody answers at the address.
    """

    def __init__(self, scheduler: str, jobs: int) -> None:
        self.scheduler = scheduler
        self.promised: Resources | None = None
        """What a worker of a SLURM job will have; None where we start no jobs."""
        self._levels: dict[str, int] = {}
        self._cluster: Any = None
        self.client: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dask-link", daemon=True)
        self._thread.start()
        try:
            if scheduler == SLURM:
                _import_jobqueue()
            self.begin(self._connect(jobs)).result()
        except BaseException as exc:
            self.close()
            if not isinstance(exc, ImportError):
                raise
            msg = f"Dask is not installed ({exc})"
            raise TopsarError(msg, hint="install it: pip install 'topsar[dask]'") from exc

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start something in the thread where the client lives, and return at once."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def ask(self, function: Callable[..., Any], *args: Any, timeout_s: float = _ANSWER_S, **rest: Any) -> Any:
        """Call a method of the client, but wait no longer than ``timeout_s`` for its answer.

        Parameters
        ----------
        function : callable
            What it returns can be awaited.
        *args, **rest : Any
        timeout_s : float

        Raises
        ------
        TopsarError
            When there is no answer.
        """

        async def inside() -> Any:
            if self.client.scheduler is None:
                msg = "the connection was lost"
                raise ConnectionError(msg)
            return await asyncio.wait_for(function(*args, **rest), timeout_s)

        try:
            return self.begin(inside()).result()
        except _NO_ANSWER as exc:
            msg = f"the Dask cluster at {self.scheduler} does not answer ({type(exc).__name__}: {exc})"
            raise TopsarError(msg, hint="see the logs of its scheduler and workers", retryable=True) from exc

    def list_addresses(self) -> tuple[str, ...]:
        """All living workers, fit or not."""
        return tuple(self.ask(self._ask_identity)["workers"])

    def list_workers(self, session: str) -> dict[str, DaskWorker]:
        """By address, the workers that report on a session and have this version of topsar."""
        found = {}
        for address, facts in self.ask(self._ask_identity, timeout_s=_LOOK_S)["workers"].items():
            report = facts["metrics"].get(session) or {}
            if report.get("version") == __version__ and facts["status"] == "running":
                found[address] = DaskWorker(
                    address=address,
                    host=facts["host"],
                    memory_bytes=int(facts["resources"].get("MEMORY", 0)),
                    cores=int(facts["resources"].get("CORES", 0)),
                    used_bytes=report["memory_bytes"],
                )
        return found

    def wait_for_workers(self, seconds: float) -> None:
        """Wait for the first worker.

        Raises
        ------
        TopsarError
            When there is none in time.
        """
        until = time.monotonic() + seconds
        while not self.list_addresses():
            if time.monotonic() > until:
                msg = f"the Dask scheduler at {self.scheduler} has no worker; waited {seconds:g} s for one"
                raise TopsarError(msg, hint=f"start workers: dask worker {self.scheduler}", retryable=True)
            time.sleep(0.1)

    def close(self) -> None:
        """Leave; end the SLURM jobs if there are any. Waits some seconds at most."""
        self.begin(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    async def _close(self) -> None:
        for part, seconds in ((self.client, _CLOSE_S), (self._cluster, _END_JOBS_S)):
            if part is not None:
                with contextlib.suppress(*_NO_ANSWER, AssertionError):
                    await asyncio.wait_for(part.close(), seconds)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1.0) if left else None

    async def _ask_identity(self) -> Any:
        return await self.client.scheduler.identity()

    async def _connect(self, jobs: int) -> None:
        import distributed

        # What happens to workers is told in our own words, in the outcome of the step.
        for name in _LOGGERS:
            self._levels[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self.scheduler == SLURM:
            await self._start_jobs(jobs)
        make: Any = distributed.Client
        place = self._cluster or self.scheduler
        try:
            await self._require_listener()
            self.client = make(place, asynchronous=True, timeout=_CONNECT_S, set_as_default=False)
            await self.client
        except (*_NO_ANSWER, ValueError) as exc:
            msg = f"no Dask scheduler answers at {self.scheduler} ({exc})"
            raise TopsarError(msg, hint="DASK_SCHEDULER is tcp://HOST:PORT, tls://HOST:PORT or slurm") from exc

    def is_there(self) -> bool:
        """Whether somebody listens at the scheduler's address."""
        try:
            self.begin(self._require_listener()).result()
        except (OSError, asyncio.TimeoutError):
            return False
        return True

    async def _require_listener(self) -> None:
        """Raise an `OSError` where nobody has listened at the address for some seconds."""
        scheme, _, place = self.scheduler.partition("://")
        host, _, port = place.rpartition(":")
        until = time.monotonic() + _LISTEN_S
        while scheme in ("tcp", "tls"):
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), port), _LISTEN_S)
            except (OSError, asyncio.TimeoutError):
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.2)
            else:
                writer.close()
                return

    async def _start_jobs(self, jobs: int) -> None:
        import dask
        from dask_jobqueue.slurm import SLURMCluster

        for program in ("sbatch", "scancel"):
            if shutil.which(program) is None:
                msg = f"there is no {program} on this machine, so no SLURM job can be started"
                raise TopsarError(msg, hint="start where jobs are submitted, or name a running scheduler")
        make: Any = SLURMCluster
        # Its usual port may be taken by another run.
        options = {"dashboard_address": ":0"} | (dask.config.get("jobqueue.slurm.scheduler-options", None) or {})
        try:
            self._cluster = await make(asynchronous=True, scheduler_options=options)
        except (OSError, ValueError, RuntimeError) as exc:
            msg = f"no SLURM job can be described: {exc}"
            raise TopsarError(msg, hint="set jobqueue.slurm.cores and memory in ~/.config/dask/jobqueue.yaml") from exc
        self._cluster.scale(jobs=jobs)
        self.promised = _describe_worker(self._cluster.job_script())


def _import_jobqueue() -> None:
    """Import it here, in the caller's thread: it takes SIGINT for itself, which is given back."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue  # noqa: F401

    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)


def _describe_worker(script: str) -> Resources:
    """What the job script gives each worker."""
    from dask.utils import parse_bytes

    memory, threads = re.search(r"--memory-limit (\S+)", script), re.search(r"--nthreads (\d+)", script)
    return Resources(memory_bytes=parse_bytes(memory[1]) if memory else 0, threads=int(threads[1]) if threads else 1)
