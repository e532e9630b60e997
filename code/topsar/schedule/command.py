"""One subprocess from start to end: own process group, captured log, time limit, measured use, nothing left behind.

The child says how it ended by its exit code (0: done; 65, ``EX_DATAERR``: trying again cannot help; 75,
``EX_TEMPFAIL``: it may; another: error), and why by its last lines, which begin with ``error:``. A child that is killed
by SIGKILL was killed for memory if the kernel counted such a kill meanwhile or the child used more than was reserved;
otherwise somebody else killed it, and trying again may help.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING

from topsar.environment import make_environment
from topsar.schedule.guard import MARK, end_all, end_marked
from topsar.schedule.jobs import Command, Ended, Reason
from topsar.schedule.machine import count_oom_kills, sum_session_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    Fork = Callable[[Command, int], int | None]

_BAD_INPUT, _RETRYABLE = 65, 75
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
GRACE_S = 5.0
"""Seconds between the request to end and the kill."""

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_TERMINATED = tuple(
    code for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) for code in (-number, 128 + number)
)
_CUT = (-signal.SIGBUS, 128 + signal.SIGBUS)
_LONGEST_POLL_S = 0.05
_SAMPLE_S = 0.2
_TAIL_BYTES = 16_384
_NEXT_TO_NOTHING = 1 << 20
_MESSAGE_CHARACTERS = 800
_NO_MEMORY = re.compile(r"^(?:[\w.]*MemoryError\b|std::bad_alloc|.*Cannot allocate memory)", re.MULTILINE)
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_START_REASONS = {
    errno.EAGAIN: Reason.RETRYABLE,
    errno.ENOMEM: Reason.OUT_OF_MEMORY,
    errno.ENOSPC: Reason.DISK_FULL,
    errno.EDQUOT: Reason.DISK_FULL,
}
"""Why a process could not be started, where that may pass."""
_KILL_ME_FIRST = "500"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Handle:
    """The other end of a running command: ask it to end, see what it uses.

    Attributes
    ----------
    memory_bytes : int
        Resident bytes of its processes when last looked at.
    is_stopping : threading.Event
        Set once it was asked to end.
    kill_at : float
        Monotonic time at which it is killed.
    """

    def __init__(self) -> None:
        self.memory_bytes = 0
        self.is_stopping = threading.Event()
        self.kill_at = float("inf")

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask the command to end, and kill it after ``grace_s`` seconds."""
        self.kill_at = min(self.kill_at, time.monotonic() + grace_s)
        self.is_stopping.set()


def run_command(command: Command, handle: Handle | None = None, fork: Fork | None = None) -> Ended:
    """Run a command to its end and return how it ended; never raises for what the command does.

    Parameters
    ----------
    command : Command
        Its output is appended to ``command.log``.
    handle : Handle, optional
        By which another thread may end it.
    fork : callable, optional
        Starts it, given the descriptor of its log, and returns its process id; None where it cannot.
    """
    handle = handle or Handle()
    if handle.is_stopping.is_set():
        return Ended(reason=Reason.INTERRUPTED)
    started, kills = time.monotonic(), count_oom_kills()
    try:
        pid, offset = _start(command, fork)
    except (OSError, ValueError, IndexError) as exc:
        reason = _START_REASONS.get(getattr(exc, "errno", None) or 0, Reason.ERROR)
        return Ended(reason=reason, message=f"cannot start {command.argv[:1]}: {exc}")
    cut_short, peak = _watch(pid, started, command, handle)
    code, cpu_s, highest = _reap(pid, command, is_cut_short=cut_short is not None)
    peak = max(peak, highest)
    message = _read_last_words(command.log, offset)
    over = count_oom_kills() > kills or 0 < command.needs.memory_bytes < peak
    reason = cut_short or _find_reason(code, message, is_over=over, is_disk_full=_is_disk_full(command.cwd))
    return Ended(
        reason=reason,
        exit_code=code,
        seconds=time.monotonic() - started,
        cpu_s=cpu_s,
        peak_memory_bytes=peak,
        message=_explain(reason, code, message, command, peak),
    )


def _read_last_words(log: Path, offset: int = 0) -> str:
    r"""Return what a log's end says about a failure; the command's own output begins at byte ``offset``.

    That is everything from the last line beginning with ``error:``; without one, a Python traceback's own last lines;
    without these, the last three lines.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    # What a terminal would show of a line that a progress bar rewrites is its last state.
    lines = [_ESCAPES.sub("", line.rstrip().rpartition("\r")[2]) for line in text.split("\n")]
    lines = [line for line in lines if line.strip()]
    return "\n".join(_select_lines(lines)).strip()[-_MESSAGE_CHARACTERS:]


def _select_lines(lines: list[str]) -> list[str]:
    for index in reversed(range(len(lines))):
        if lines[index].lower().startswith("error:"):
            return [lines[index][len("error:") :], *lines[index + 1 :]]
    starts = [index for index, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if starts:
        inside = lines[starts[-1] + 1 :]
        outer = next((index for index, line in enumerate(inside) if not line.startswith(" ")), None)
        if outer is not None:  # else a full disk has cut it off
            return inside[outer:]
    return lines[-3:]


def _start(command: Command, fork: Fork | None) -> tuple[int, int]:
    """Start the command; return its process id, and where in the log its own output begins."""
    with command.log.open("ab") as log:
        title = f"# {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ} {' '.join(command.argv)}\n"
        log.write(title.encode(errors="replace"))
        log.flush()
        offset = log.tell()  # before the start: the child shares this file's position
        pid = (fork(command, log.fileno()) if fork else None) or _spawn(command, log)
    # Should the kernel run out of memory, it is to kill a step, which is tried again, and nothing else of the user's.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(_KILL_ME_FIRST)
    return pid, offset


def _spawn(command: Command, log: IO[bytes]) -> int:
    process = subprocess.Popen(
        command.argv,
        cwd=command.cwd,
        env=make_environment(command.env),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    process.returncode = 0  # `_reap` waits for it, nobody else
    return process.pid


def _watch(pid: int, started: float, command: Command, handle: Handle) -> tuple[Reason | None, int]:
    """Wait for the process, which stays unreaped; return why it was cut short, if it was, and peak memory."""
    deadline = started + (command.timeout_s or float("inf"))
    delay, sample_at, peak = 0.001, 0.0, 0
    while not _has_exited(pid):
        now = time.monotonic()
        if now >= sample_at:
            handle.memory_bytes = sum_session_memory(pid)
            peak = max(peak, handle.memory_bytes)
            sample_at = now + min(_SAMPLE_S, (now - started) / 4 + 0.005)
        if handle.is_stopping.is_set() or now >= deadline:
            _terminate(pid, command, handle)
            return (Reason.INTERRUPTED if handle.is_stopping.is_set() else Reason.TIMED_OUT), peak
        handle.is_stopping.wait(min(delay, max(0.0, deadline - now)))
        delay = min(2 * delay, _LONGEST_POLL_S)
    return None, peak


def _has_exited(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _terminate(pid: int, command: Command, handle: Handle) -> None:
    """Ask the whole tree to end, and wait for its leader as long as the grace lasts."""
    until = time.monotonic() + GRACE_S
    _signal_tree(pid, command, signal.SIGTERM)
    while not _has_exited(pid) and time.monotonic() < min(until, handle.kill_at):
        time.sleep(0.01)


def _reap(pid: int, command: Command, *, is_cut_short: bool) -> tuple[int, float, int]:
    """End what is left of the tree, then the process; return its exit code, CPU seconds and highest memory."""
    # The leader is not reaped yet, so its process group cannot be anybody else's.
    strays = _signal_tree(pid, command, signal.SIGKILL)
    if strays or (is_cut_short and MARK in command.env):
        end_all(command.env[MARK])
    _, status, usage = os.wait4(pid, 0)
    _reap_orphans(pid)
    # Linux counts into ru_maxrss what the process was before it became the command: a copy of this one.
    is_its_own = usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    highest = usage.ru_maxrss * 1024 if is_its_own else 0
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, highest


def _reap_orphans(group: int) -> None:
    """Reap what a process group has left to this process, which adopts orphans where steps are forked."""
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG):
            pass


def _signal_tree(pid: int, command: Command, number: int) -> int:
    """Signal the process group and whoever left it; return how many of the latter there were."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
    return end_marked(command.env[MARK], number) if MARK in command.env else 0


def _is_disk_full(folder: Path) -> bool:
    """Whether next to nothing is free: many programs do not say what they stumbled over."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < _NEXT_TO_NOTHING
    return False


def _find_reason(code: int, message: str, *, is_over: bool, is_disk_full: bool) -> Reason:
    if code == 0:
        return Reason.DONE
    if (code in _KILLED and is_over) or _NO_MEMORY.search(message):
        return Reason.OUT_OF_MEMORY
    if _NO_SPACE.search(message) or (is_disk_full and code not in (_BAD_INPUT, *_KILLED)):
        return Reason.DISK_FULL
    if code == _BAD_INPUT:
        return Reason.BAD_INPUT
    if code in (_RETRYABLE, *_KILLED, *_TERMINATED, *_CUT):
        return Reason.RETRYABLE
    return Reason.ERROR


def _explain(reason: Reason, code: int, message: str, command: Command, peak: int) -> str:
    if reason in (Reason.DONE, Reason.INTERRUPTED):
        return ""
    last_words = f"; its last words: {message}" if message else ""
    said = message or f"exit code {code}, nothing in {command.log}"
    if code < 0 or code in _CUT:
        why = " (a file that it had mapped was cut short, or its disk was full)" if code in _CUT else ""
        said = f"killed by {signal.Signals(abs(code) % 128).name}{why}{last_words}"
    if reason is Reason.TIMED_OUT:
        return f"timed out after {command.timeout_s:g} s{last_words}"
    if reason is Reason.OUT_OF_MEMORY:
        reserved = command.needs.memory_bytes / 1e9
        return f"out of memory at {peak / 1e9:.2f} GB ({reserved:.2f} GB reserved): {said}"
    if reason is Reason.DISK_FULL:
        return f"{said} ({shutil.disk_usage(command.cwd).free / 1e9:.2f} GB free at {command.cwd})"
    return said
