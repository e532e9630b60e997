"""One scheduler per runs folder.

The lock is an ``flock`` on ``runs/.lock``: the kernel releases it when its holder dies, so a stale lock does not exist.
The file names the holder (pid, host, mark). It is emptied on a clean end; what is still in it when the lock could be
taken was left by a holder that died, and whatever that one left running is ended first.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topsar.errors import TopsarError
from topsar.files import read_json, require_removable
from topsar.schedule.guard import end_all

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = ".lock"
"""Name of the file in the runs folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a runs folder, or held it when it died; ``is_alive`` is None for one on another host."""

    pid: int
    host: str
    mark: str
    is_alive: bool | None


def find_holder(runs: Path) -> Holder | None:
    """Say who holds the runs folder, without touching it; None where the last holder ended as it should."""
    known = _read_holder(runs / LOCK)
    try:
        pid, host, mark, birth = int(known["pid"]), str(known["host"]), str(known["mark"]), str(known["birth"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    is_alive = _find_birth(pid) == birth if host == socket.gethostname() else None
    return Holder(pid=pid, host=host, mark=mark, is_alive=is_alive)


@contextlib.contextmanager
def hold_runs(runs: Path) -> Iterator[str]:
    """Hold the runs folder for this process; yields the run's mark, a random name.

    Raises
    ------
    TopsarError
        When another scheduler holds it (its pid and host are named), the folder cannot be written or locked, or a link
        leads it to the user's files.
    """
    path = runs / LOCK
    require_removable(path, runs)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise _make_error(runs, exc) from exc
    try:
        _take(file, path)
        dead = _read_holder(path)
        if dead.get("mark") and dead.get("host") == socket.gethostname():
            end_all(f"{dead['mark']}.")
        mark = uuid.uuid4().hex
        try:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "mark": mark, "birth": _find_birth(os.getpid())}
            _write(file, json.dumps(me))
        except OSError as exc:
            raise _make_error(runs, exc) from exc
        yield mark
        _write(file, "")
    finally:
        os.close(file)


def _make_error(runs: Path, exc: OSError) -> TopsarError:
    return TopsarError(
        f"the runs folder {runs} cannot be used: {exc.strerror}",
        hint="check that its disk has space and that this user may write there",
    )


def _take(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        holder = _read_holder(path)
        who = f"pid {holder.get('pid', 'unknown')} on {holder.get('host', 'an unknown host')}"
        msg = f"another scheduler ({who}) is working in {path.parent}"
        raise TopsarError(msg, hint="wait for it, or end it, and start again", retryable=True) from exc
    except OSError as exc:
        msg = f"{path} cannot be locked: {exc.strerror}"
        raise TopsarError(msg, hint="put the runs folder on a file system with locks") from exc


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except TopsarError:
        return {}


def _find_birth(pid: int) -> str:
    """When a process was started, in ticks since the machine was: with its pid, it names one process; else empty."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)
    os.fsync(file)
