"""What a Dask worker does for a run: it runs commands, reports what they use, and ends them.

Every worker has a `Session` per run, which Dask itself brings to workers that come later. Three things make sure that
a command runs once and ends with its run:

- A command is claimed by a link of its serial number in ``runs/.dask/<mark>``. Making a link is atomic on shared file
  systems too. Dask starts the task of a dead worker again on its own; the second one finds the claim and runs nothing.
  Where the folder is gone, the run is over and nothing starts.
- Commands carry ``<mark>.<token>.<serial>.``, the token being the session's. A guard beside the worker ends them when
  the worker dies, and then removes the file ``runs/.dask/<mark>.<token>``: who wants to know whether a dead worker's
  commands have ended, from any host, looks for that file.
- Dask cancels the tasks of a client that died; the session ends their commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import threading
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin, get_worker

from topsar import __version__
from topsar.errors import TopsarError
from topsar.schedule import guard
from topsar.schedule.command import GRACE_S, Handle, run_command
from topsar.schedule.jobs import Reason
from topsar.schedule.lock import find_holder
from topsar.schedule.machine import find_memory_limit

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Worker

    from topsar.schedule.jobs import Command, Ended

FOLDER = ".dask"
"""Name of the folder of claims and witnesses in the runs folder."""
MEMORY, CORES = "MEMORY", "CORES"
"""The Dask resources: bytes, and threads."""

_CLOSING_GRACE_S = 1.0


def name_session(mark: str) -> str:
    """Return the name of a run's session, and of what it reports, on every worker."""
    return f"topsar-{mark}"


def claim(path: Path, who: str) -> bool:
    """Claim a command for good for a session; False where it is claimed already, or the run is over.

    Parameters
    ----------
    path : Path
        A link in a folder that all workers see.
    who : str
        A worker's token, or ``nobody``.
    """
    try:
        path.symlink_to(who)
    except OSError:
        return False
    return True


def find_claimant(path: Path) -> str:
    """Say who claimed a command; empty where nobody did, or the run is over."""
    try:
        return str(path.readlink())
    except OSError:
        return ""


def release(path: Path) -> None:
    """Note that a claimed command has ended; the claim stays."""
    note = path.with_name(f"{path.name}.ended")
    with contextlib.suppress(OSError):
        note.symlink_to("ended")
        note.replace(path)


def identify(runs: Path) -> tuple[str, str]:
    """Return this worker's version of topsar, and the mark of the run that it sees in the runs folder."""
    holder = find_holder(runs)
    return __version__, holder.mark if holder else ""


def execute(name: str, serial: str, command: Command) -> Ended | None:
    """Run command number ``serial`` of session ``name`` as a Dask task.

    Returns None where it ran before, or this worker does not run it to its end.

    Parameters
    ----------
    name : str
        Under which the worker knows the session, its plugin.
    serial : str
    command : Command
    """
    session = get_worker().plugins.get(name)
    return session.commands.run(serial, command) if isinstance(session, Session) else None


def stop(name: str, grace_s: float, dask_worker: Worker) -> None:
    """End the commands of session ``name`` on this worker, which Dask gives, because the user wants it.

    Parameters
    ----------
    name : str
    grace_s : float
        Seconds between SIGTERM and SIGKILL.
    dask_worker : Worker
    """
    session = dask_worker.plugins.get(name)
    if isinstance(session, Session):
        session.commands.stop(grace_s)


class Session(WorkerPlugin):
    """A run on one worker, from its registration to the end of the run or of the worker."""

    commands: _Commands

    def __init__(self, runs: Path, mark: str) -> None:
        self.name = name_session(mark)
        self._runs, self._mark = runs, mark

    async def setup(self, worker: Worker) -> None:
        """Make the worker known to the run, if it is fit: it reports, and has resources."""
        version, mark = identify(self._runs)
        if mark != self._mark:
            msg = f"the run of {self._runs} is over, or the folder is not shared with this worker"
            raise TopsarError(msg)
        self.commands = _Commands(self._runs, self._mark)
        declared = worker.state.total_resources
        missing: dict[str, float] = {MEMORY: worker.memory_manager.memory_limit or find_memory_limit()}
        missing[CORES] = worker.state.nthreads
        await worker.set_resources(**{name: size for name, size in missing.items() if name not in declared})
        worker.metrics[self.name] = lambda _: {"version": version, "memory_bytes": self.commands.memory_bytes}

    async def teardown(self, worker: Worker) -> None:
        """End what runs here; the worker is closing, or the run."""
        worker.metrics.pop(self.name, None)
        if hasattr(self, "commands"):
            await asyncio.to_thread(self.commands.close)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """End a command whose task was cancelled: nobody waits for it any more.

        Parameters
        ----------
        key : Any
            Of the task: session and number of the command, joined by a hyphen.
        start, finish : str
            States of the task before and after.
        """
        if start == "executing" and finish == "released" and str(key).startswith(f"{self.name}-"):
            self.commands.give_up(str(key).rpartition("-")[2])


class _Commands:
    """The commands of a run under this worker, and the guard that ends them when the worker dies."""

    def __init__(self, runs: Path, mark: str) -> None:
        self._token = uuid.uuid4().hex
        self._mark = f"{mark}.{self._token}"
        self._claims = runs / FOLDER / mark
        self._lock = threading.Lock()
        self._running: dict[str, Handle] = {}
        self._is_closed = self._is_stopping = False
        witness = runs / FOLDER / self._mark
        witness.touch()
        self._guard = guard.Guard(self._mark, then=shlex.join(("rm", "-f", "--", str(witness))))
        self._guard.__enter__()

    @property
    def memory_bytes(self) -> int:
        """Resident bytes of all commands' processes when last looked at."""
        with self._lock:
            return sum(handle.memory_bytes for handle in self._running.values())

    def run(self, serial: str, command: Command) -> Ended | None:
        """Run a command, unless it was claimed before; None where it was, or was ended by the end of this worker."""
        handle = Handle()
        with self._lock:
            if self._is_closed:
                return None
            self._running[serial] = handle
            if self._is_stopping:
                handle.stop(0.0)
        try:
            if not claim(self._claims / serial, self._token):
                return None
            ours = replace(command, env={**command.env, guard.MARK: f"{self._mark}.{serial}."})
            try:
                ended = run_command(ours, handle)
            finally:
                release(self._claims / serial)
        finally:
            with self._lock:
                del self._running[serial]
        return None if ended.reason is Reason.INTERRUPTED and not self._is_stopping else ended

    def stop(self, grace_s: float) -> None:
        """End all commands; they, and all that still come, say INTERRUPTED."""
        with self._lock:
            self._is_stopping = True
            for handle in self._running.values():
                handle.stop(grace_s)

    def give_up(self, serial: str) -> None:
        """End one command."""
        with self._lock:
            if serial in self._running:
                self._running[serial].stop(_CLOSING_GRACE_S)

    def close(self) -> None:
        """End all commands, and return when none is left."""
        with self._lock:
            self._is_closed = True
            for handle in self._running.values():
                handle.stop(_CLOSING_GRACE_S)
        until = time.monotonic() + GRACE_S
        while self._running and time.monotonic() < until:
            time.sleep(0.01)
        self._guard.__exit__()
