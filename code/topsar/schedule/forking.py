"""Start steps that are Python programs by forking a process that has loaded their modules.

Starting the interpreter and importing what a step needs takes most of the time of a short step. A run therefore starts
one process, *the parent*, which imports these modules and then does nothing but fork: no threads, no open files but the
pipe to the scheduler. A fork moves into a session of its own, takes over folder, environment, log and arguments of the
command, and runs it as ``python -m`` would.

The scheduler declares itself the reaper of its orphans (``PR_SET_CHILD_SUBREAPER``), and the parent forks twice. So a
step is a child of the scheduler, which watches, measures and ends it like any other process of its own, also where the
parent dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topsar.environment import drop_foreign_data, make_environment, replace_environment
from topsar.schedule.command import THREAD_VARIABLES
from topsar.schedule.guard import MARK, end_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topsar.schedule.jobs import Command

_PR_SET_CHILD_SUBREAPER = 36
_STARTS = 2
_LONGEST_REQUEST = 1 << 20
_LONGEST_WAIT_S = 120.0
_ROOM = "0" * 24
"""In the parent's mark, for the number of a step: a fork writes its own mark over it."""
_REOPENED = "proj.db"
"""The one file that may be open: PROJ opens it anew in a fork."""
_ENVIRONMENT = slice(47, 49)
"""Where ``/proc/self/stat`` has the bounds of the environment, counted from the end of the program's name."""


class Parent:
    """The process that forks: started when it is first needed, once more if it ends; after that there is none.

    Parameters
    ----------
    mark : str
        The run's.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts_left = _STARTS if sys.platform == "linux" else 0
        self._modules: tuple[str, ...] = ()
        self._known: dict[str, str] = {}

    def fork(self, command: Command, log: int) -> int | None:
        """Start a command and return its process id, or None where it must be started the plain way.

        Parameters
        ----------
        command : Command
        log : int
            File descriptor of its log, opened for appending.

        Raises
        ------
        OSError
            If the command cannot be started, as `subprocess.Popen` raises it.
        """
        env = make_environment(command.env)
        is_ours = command.preload and command.argv[:2] == (sys.executable, "-m") and MARK in command.env
        if not is_ours or not command.cwd.is_dir():
            return None
        with self._lock:
            while self._is_ready(command, env):
                try:
                    answer = self._ask([command.argv[2:], str(command.cwd), env], log)
                except OSError:  # it has ended or hangs
                    self._end()
                    end_all(command.env[MARK])
                    continue
                if answer < 0:
                    raise OSError(-answer, os.strerror(-answer))
                return answer
        return None

    def stop(self) -> None:
        """Fork nothing any more, and let nobody wait for it."""
        self._starts_left = 0
        if process := self._process:
            process.kill()

    def close(self) -> None:
        """End the process."""
        self.stop()
        with self._lock:
            self._end()

    def _is_ready(self, command: Command, env: dict[str, str]) -> bool:
        known = {name: value for name, value in env.items() if name not in (MARK, *THREAD_VARIABLES)}
        if self._process:
            return (command.preload, known) == (self._modules, self._known)
        if not self._starts_left:
            return False
        self._starts_left -= 1
        self._modules, self._known = command.preload, known
        with contextlib.suppress(OSError):
            self._start(command.cwd)
        return self._process is not None

    def _start(self, folder: Path) -> None:
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as failed, theirs:
            failed.enter_context(ours)
            self._process = subprocess.Popen(
                (sys.executable, "-m", __name__, str(theirs.fileno()), *self._modules),
                env=self._known | dict.fromkeys(THREAD_VARIABLES, "1") | {MARK: f"{self._mark}.{_ROOM}."},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            failed.pop_all()
        ours.settimeout(_LONGEST_WAIT_S)
        self._connection = ours

    def _ask(self, request: list[Any], log: int) -> int:
        socket.send_fds(self._connection, [json.dumps(request).encode()], [log])
        answer = self._connection.recv(64)
        if not answer:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return int(answer)

    def _end(self) -> None:
        if self._process:
            self._connection.close()
            self._process.kill()
            self._process.wait()
            self._process = None
            end_all(f"{self._mark}.{_ROOM}.")  # a fork that has not got its own mark yet
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


# --- in the parent ----------------------------------------------------------------------------------------------------


def serve(connection: socket.socket, modules: Sequence[str]) -> None:
    """Import the modules and fork for each request; returns in the forks alone.

    Parameters
    ----------
    connection : socket.socket
        A request is the arguments after ``-m``, the folder and the environment, with the descriptor of the log; the
        answer the id of the process, or a negative error number.
    modules : sequence of str
    """
    drop_foreign_data()
    for name in modules:
        import_module(name)
    require_nothing_open(connection.fileno())
    sources = tuple(Path(__file__).parents[1].rglob("*.py"))
    began = _find_newest(sources)
    gc.collect()
    gc.freeze()
    while True:
        request, files, _, _ = socket.recv_fds(connection, _LONGEST_REQUEST, 1)
        if not request or began != _find_newest(sources):  # the scheduler has ended, or the code has changed
            os._exit(0)
        read, write = os.pipe()
        middle = os.fork()
        if not middle:
            connection.close()
            os.close(read)
            _become(json.loads(request), files[0], write)
            return
        os.close(write)
        os.close(files[0])
        os.waitpid(middle, 0)  # from now on its child is the scheduler's
        connection.send(os.read(read, 64) or b"-%d" % errno.EAGAIN)
        os.close(read)


def require_nothing_open(connection: int) -> None:
    """Refuse to be forked where a fork would share more with this process than memory.

    Parameters
    ----------
    connection : int
        The file descriptor that may be open besides 0 to 2.

    Raises
    ------
    RuntimeError
        If another file is open or another thread runs.
    """
    others = {path.name for path in list(Path("/proc/self/fd").iterdir()) if path.exists()}
    others -= {"0", "1", "2", str(connection)}
    others = {name for name in others if Path(f"/proc/self/fd/{name}").readlink().name != _REOPENED}
    threads = len(list(Path("/proc/self/task").iterdir()))
    if others or threads > 1:
        msg = f"{threads} threads run, and the files {sorted(others)} are open"
        raise RuntimeError(msg)


def _find_newest(sources: Iterable[Path]) -> int:
    return max(path.stat().st_mtime_ns for path in sources)


def _become(request: list[Any], log: int, told: int) -> None:
    """Make this process a child of the scheduler that is about to run the command; tell its id, or what failed."""
    argv, folder, env = request
    middle = os.getpid()
    try:
        os.chdir(folder)
        _show_mark(env[MARK])
        for number in (1, 2):
            os.dup2(log, number)
        if os.fork():
            os._exit(0)
    except OSError as exc:
        os.write(told, b"-%d" % (exc.errno or errno.EAGAIN))
        os._exit(1)
    while os.getppid() == middle:  # which has yet to end: a step would take it for the scheduler
        os.sched_yield()
    os.setsid()
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    os.close(log)
    replace_environment(env)
    sys.argv, sys.path[0] = argv, folder


def _show_mark(mark: str) -> None:
    """Let ``/proc/self/environ``, which shows the environment that the parent was started with, have another mark."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_ENVIRONMENT])
    before = ctypes.string_at(start, end - start)
    at = before.index(f"{MARK}=".encode())
    room = before.index(b"\0", at) - at
    ctypes.memmove(start + at, f"{MARK}={mark}".encode().ljust(room, b"\0"), room)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
