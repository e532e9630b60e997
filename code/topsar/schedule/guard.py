"""Nothing a step started outlives the step, and nothing outlives the scheduler.

Every step's process carries a mark in its environment, ``TOPSAR_MARK=<run>.<step>``, which its children inherit, also
those that move to a session of their own. Whoever bears the mark can be found in ``/proc`` and ended.

A scheduler that is killed with SIGKILL can end nothing. So it starts one guard beside it: this file as a script, in a
session of its own, with a pipe from the scheduler as its standard input. The kernel closes the pipe when the
scheduler dies, however it dies; the guard then ends every process with the run's mark (after a clean end there is
none). Should the guard be killed too, the next scheduler on the same folder finds the mark in the lock file and does
the same before it starts.

``PR_SET_PDEATHSIG`` would need a ``preexec_fn`` (unsafe in a program with threads) and not reach grandchildren; a
wrapper around each step costs an interpreter start per step, the guard one per run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "TOPSAR_MARK"
"""The variable that carries the mark."""

_QUIET_PASSES = 3
_TIMEOUT_S = 10.0


def find_marked(mark: str) -> list[int]:
    """Find the living processes of this user whose mark starts with ``mark``."""
    sought = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = b"\0" + (folder / "environ").read_bytes()
            if b"\0" + sought in environment and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def end_marked(mark: str, number: int = signal.SIGKILL) -> int:
    """Send a signal to every process whose mark starts with ``mark``; return how many there were.

    Parameters
    ----------
    mark : str
    number : int
        The signal.
    """
    found = find_marked(mark)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return len(found)


def end_all(mark: str) -> None:
    """End every process whose mark starts with ``mark``, also one that is just being started; give up after 10 s.

    While a process is between fork and the end of exec its environment cannot be read; so nobody must be found several
    times in a row.
    """
    quiet, until = 0, time.monotonic() + _TIMEOUT_S
    while quiet < _QUIET_PASSES and time.monotonic() < until:
        quiet = 0 if end_marked(mark) else quiet + 1
        time.sleep(0.03)


class Guard:
    """A context after which no process of the run lives, however it is left, be it by the death of this process.

    Parameters
    ----------
    mark : str
        The run's mark; steps carry ``<mark>.<anything>``.
    then : str
        What the shell does once all have ended, such as ``rm -f -- x``.
    """

    def __init__(self, mark: str, then: str = "") -> None:
        script = (sys.executable, "-I", "-S", __file__, mark)
        self._argv = ("sh", "-c", f'trap "" INT TERM HUP; {shlex.join(script)} && {then}') if then else script

    def __enter__(self) -> Guard:
        from topsar.environment import make_environment  # not above: the guard itself runs this file without packages

        self._process = subprocess.Popen(
            self._argv,
            env=make_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def main() -> None:
    """Wait until the scheduler is done or dead, then end what it left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_all(f"{sys.argv[1]}.")


if __name__ == "__main__":
    main()
