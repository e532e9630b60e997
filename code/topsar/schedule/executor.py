"""Where commands run: one small protocol, and this machine.

The scheduler decides what runs when; an executor runs it and says how much may run at once. It never retries: there is
one authority for that.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from topsar.schedule.command import GRACE_S, Handle, run_command
from topsar.schedule.forking import Parent
from topsar.schedule.jobs import UNBOUNDED, Resources
from topsar.schedule.machine import count_cores, find_available_memory, find_memory_limit

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.schedule.jobs import Budget, Command, Ended

_MOST_AT_ONCE = 1024


class Executor(Protocol):
    """What the scheduler asks of a place where commands run; `registry.load_named` finds its class by name."""

    @classmethod
    def open(cls, address: str, *, runs: Path, mark: str, budget: Budget) -> Executor:
        """Connect to the place.

        Parameters
        ----------
        address : str
            Where it is, in whatever form this kind of place has addresses; empty where none was given.
        runs : Path
            The runs folder.
        mark : str
            What `hold_runs` gave for it.
        budget : Budget
            The user's upper bounds.

        Raises
        ------
        TopsarError
            If no command can run there.
        """
        ...

    def limits(self) -> Resources:
        """The most memory and threads that one command can ever have here."""
        ...

    def capacity(self) -> Resources:
        """Memory and threads that all its commands together may use now; read again before every decision."""
        ...

    def memory_in_use(self) -> int | None:
        """Resident bytes of all its commands' processes; None where it cannot tell."""
        ...

    def submit(self, command: Command) -> Future[Ended]:
        """Start a command; the future's callbacks may run in any thread.

        Where the place itself is gone for good, the command says INTERRUPTED, and why: the run ends and can be resumed.
        """
        ...

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End all commands, killing what still runs after ``grace_s``; their futures say INTERRUPTED."""
        ...

    def close(self) -> None:
        """End all commands and return when none is left."""
        ...


class LocalExecutor:
    """Subprocesses on this machine, each supervised by a thread of its own, within a budget.

    A pool of worker processes would lose all its tasks when one worker is killed; a thread per subprocess does not.
    Given the mark of a run, it forks the steps that allow it from a process that has loaded their modules.
    """

    def __init__(self, budget: Budget = UNBOUNDED, mark: str = "") -> None:
        self._budget = budget
        self._parent = Parent(mark) if mark else None
        self._lock = threading.Lock()
        self._running: dict[Handle, int] = {}
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="step")

    @classmethod
    def open(cls, address: str, *, runs: Path, mark: str, budget: Budget) -> LocalExecutor:  # noqa: ARG003 - protocol
        """Use this machine.

        Parameters
        ----------
        address, runs : str, Path
            This machine needs neither.
        mark : str
        budget : Budget
        """
        return cls(budget, mark)

    def limits(self) -> Resources:
        """Cores, and the smaller of the machine's memory and the user's limit."""
        memory, most = find_memory_limit(), self._budget.memory_bytes
        return Resources(
            memory_bytes=memory if most is None else min(memory, most), threads=self._budget.threads or count_cores()
        )

    def memory_in_use(self) -> int:
        """Resident bytes of all commands' processes when last looked at."""
        with self._lock:
            return sum(handle.memory_bytes for handle in self._running)

    def capacity(self) -> Resources:
        """Cores, and the smaller of available memory (with what our commands use of theirs) and the user's limit.

        What a command uses beyond its reservation is taken off.
        """
        with self._lock:
            use = [(handle.memory_bytes, reserved) for handle, reserved in self._running.items()]
        memory = find_available_memory() + sum(min(used, reserved) for used, reserved in use)
        if self._budget.memory_bytes is not None:
            memory = min(memory, self._budget.memory_bytes - sum(max(0, used - reserved) for used, reserved in use))
        return Resources(memory_bytes=max(0, memory), threads=self._budget.threads or count_cores())

    def submit(self, command: Command) -> Future[Ended]:
        """Start a command under a thread of its own."""
        handle = Handle()
        with self._lock:
            self._running[handle] = command.needs.memory_bytes
        return self._threads.submit(self._supervise, command, handle)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End all commands: SIGTERM to every process group, SIGKILL after ``grace_s`` seconds."""
        if self._parent:
            self._parent.stop()
        with self._lock:
            for handle in self._running:
                handle.stop(grace_s)

    def close(self) -> None:
        """End all commands and wait for their threads."""
        self.stop()
        self._threads.shutdown(wait=True)
        if self._parent:
            self._parent.close()

    def _supervise(self, command: Command, handle: Handle) -> Ended:
        try:
            return run_command(command, handle, self._parent.fork if self._parent else None)
        finally:
            with self._lock:
                del self._running[handle]
