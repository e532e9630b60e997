"""The journal: what happened to a job's steps, one JSON line per event, appended and synced before anything else.

``runs/<job>/journal.jsonl`` is written by the scheduler alone, under the lock of the runs folder. An artifact
is evidence only together with its journal line, so a line lost in a crash costs one step run again and never a wrong
result.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from topsar.schedule.graph import JOURNAL
from topsar.schedule.jobs import Event, Status
from topsar.schedule.lines import append_line, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_EVENT = TypeAdapter(Event)


class Journal:
    """The journal of one job, open for appending; the job's folder is made when the first event is appended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL

    def append(self, event: Event) -> None:
        """Append one event; it is on the disk when this returns.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        is_new = not self.path.exists()
        self.path.parent.mkdir(exist_ok=True)  # but not a runs folder that was taken away
        append_line(self.path, json.dumps(_plain(event), separators=(",", ":")).encode(), sync=True)
        if is_new:
            handle = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def read_journal(path: Path) -> tuple[Event, ...]:
    """Read all whole events of a journal, oldest first, also while a scheduler writes; a missing journal is empty."""
    return tuple(read_lines(path, _EVENT))


def find_last_done(events: Iterable[Event]) -> dict[str, Event]:
    """By step name, the event of the last success that no later start has put in question."""
    done: dict[str, Event] = {}
    for event in events:
        if event.status is Status.DONE:
            done[event.step] = event
        elif event.status is Status.RUNNING:
            done.pop(event.step, None)
    return done


def _plain(event: Event) -> dict[str, Any]:
    """The event as JSON takes it; what is empty is left out."""
    fields = {name: value for name, value in asdict(event).items() if value not in ("", None, {}, 0)}
    if event.granted and not event.granted.others:
        del fields["granted"]["others"]
    return fields | {"time": event.time.isoformat(), "status": event.status.value}
