"""The journal: what happened to a job's steps, one JSON line per event, appended and synced before anything else.

``runs/<job>/journal.jsonl`` is written by the scheduler alone, under the lock of the runs folder. A crash can tear at
most the last line; it is cut off when the journal is next opened for writing, and skipped by readers. An artifact is
evidence only together with its journal line, so a lost line costs one step run again and never a wrong result.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from topsar.schedule.graph import JOURNAL
from topsar.schedule.jobs import Event, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import RawIOBase
    from pathlib import Path

_EVENT = TypeAdapter(Event)


class Journal:
    """The journal of one job, open for appending; the job's folder is made when the first event is appended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        _cut_torn_line(self.path)

    def append(self, event: Event) -> None:
        """Append one event; it is on the disk when this returns.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        line = (json.dumps(_plain(event), separators=(",", ":")) + "\n").encode()
        is_new = not self.path.exists()
        self.path.parent.mkdir(exist_ok=True)  # but not a runs folder that was taken away
        # Opened per event: thousands of jobs may be under way, and open files are few.
        with self.path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                _write_whole(file, line)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
        if is_new:
            handle = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def read_journal(path: Path) -> tuple[Event, ...]:
    """Read all whole events of a journal, oldest first, also while a scheduler writes; a missing journal is empty."""
    if not path.exists():
        return ()
    events = (_parse(line) for line in path.read_bytes().split(b"\n"))
    return tuple(event for event in events if event is not None)


def find_last_done(events: Iterable[Event]) -> dict[str, Event]:
    """By step name, the event of the last success that no later start has put in question."""
    done: dict[str, Event] = {}
    for event in events:
        if event.status is Status.DONE:
            done[event.step] = event
        elif event.status is Status.RUNNING:
            done.pop(event.step, None)
    return done


def _write_whole(file: RawIOBase, line: bytes) -> None:
    # A nearly full disk takes a part of the line and says so only by the count.
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _cut_torn_line(path: Path) -> None:
    """Cut off a torn last line, so that the next one begins on its own."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole, _, tail = content.rpartition(b"\n")
    if not tail:
        return
    with path.open("r+b") as file:
        if _parse(tail) is None:
            file.truncate(len(whole) + 1 if whole or content.startswith(b"\n") else 0)
        else:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())


def _plain(event: Event) -> dict[str, Any]:
    """The event as JSON takes it; what is empty is left out."""
    fields = {name: value for name, value in asdict(event).items() if value not in ("", None, {}, 0)}
    if event.granted and not event.granted.others:
        del fields["granted"]["others"]
    return fields | {"time": event.time.isoformat(), "status": event.status.value}


def _parse(line: bytes) -> Event | None:
    with contextlib.suppress(ValueError, RecursionError):
        return _EVENT.validate_python(json.loads(line))
    return None
