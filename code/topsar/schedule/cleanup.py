"""How files leave a runs folder: during a run, and between runs.

A file system may take a minute to delete what it took a second to write. So a run renames what goes into
``runs/.trash`` and lets a thread delete it. What a killed run left there, or half-written elsewhere, is deleted by the
next run or by `remove_all`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import ProductError, TopsarError
from topsar.files import delete, find_leftovers, read_json, require_removable, size_of
from topsar.schedule.graph import is_artifact_path
from topsar.schedule.jobs import Lifetime
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from topsar.schedule.evidence import Store
    from topsar.schedule.jobs import Cleanup

GOING: Mapping[str, frozenset[Lifetime]] = {
    "none": frozenset(),
    "scratch": frozenset({Lifetime.SCRATCH}),
    "nuclear": frozenset({Lifetime.SCRATCH, Lifetime.RESTART}),
}
"""What goes, by level of cleanup, once nobody needs it."""

TRASH = ".trash"
"""Folder in the runs folder."""


class Remover:
    """Removes files and folders of one runs folder, first of all what killed runs left behind."""

    def __init__(self, runs: Path) -> None:
        self._runs, self._trash = runs, runs / TRASH
        self._work: queue.SimpleQueue[tuple[Path, Callable[[int], None]] | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        with contextlib.suppress(OSError):
            if self._trash.is_symlink():
                self._trash.unlink()
            for leftover in self._trash.iterdir():
                self._put(leftover, lambda _: None)
        for leftover in tuple(find_leftovers(runs)):
            with contextlib.suppress(OSError):
                self.remove(leftover, lambda _: None)

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be deleted."""
        return self._pending > 0

    def remove(self, path: Path, freed: Callable[[int], None]) -> None:
        """Let a path be gone when this returns, and call ``freed`` with its bytes, in another thread, once they are.

        Parameters
        ----------
        path : Path
            A file or a folder, which may be gone already.
        freed : callable

        Raises
        ------
        OSError
            When it cannot be removed.
        ProductError
            When it does not lie below the runs folder.
        """
        require_removable(path, self._runs)
        if not os.path.lexists(path):
            return
        aside = self._trash / uuid.uuid4().hex
        try:
            self._trash.mkdir(exist_ok=True)
            path.rename(aside)
        except OSError:  # another file system is mounted there, or a full one has no room for a folder
            size = size_of(path)
            delete(path, within=self._runs)
            freed(size)
            return
        self._put(aside, freed)

    def finish(self, patience_s: float | None = None) -> bool:
        """Wait until all is deleted, but no longer than ``patience_s``; return whether it is."""
        if self._thread is None:
            return True
        self._work.put(None)
        self._thread.join(patience_s)
        is_done = not self._thread.is_alive()
        if is_done:
            self._thread = None
            with contextlib.suppress(OSError):
                self._trash.rmdir()
        return is_done

    def _put(self, path: Path, freed: Callable[[int], None]) -> None:
        with self._lock:
            self._pending += 1
        self._work.put((path, freed))
        if self._thread is None:
            # A daemon: an interrupted run does not wait for it, the next one goes on with what is left.
            self._thread = threading.Thread(target=self._delete_all, name="removal", daemon=True)
            self._thread.start()

    def _delete_all(self) -> None:
        while (item := self._work.get()) is not None:
            path, freed = item
            size = size_of(path)
            # Whatever it is that cannot be deleted, the next one can; and a run waits until all have been tried.
            with contextlib.suppress(Exception):
                delete(path, within=self._trash)
            size -= size_of(path)
            with self._lock:
                self._pending -= 1
            freed(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """A file or folder that may go, and why."""

    path: Path
    size: int
    why: str


def read_artifacts(file: Path) -> dict[str, Lifetime]:
    """Read which artifacts a ``run.json`` names, with their lifetimes; none where it is missing or damaged.

    Names that cannot be artifacts of a runs folder (empty, absolute, with ``.`` or ``..``) are left out.
    """
    try:
        named = read_json(file, artifacts=dict)["artifacts"].items()
        return {path: Lifetime(lifetime) for path, lifetime in named if is_artifact_path(path)}
    except (TopsarError, ValueError):
        return {}


def read_all_artifacts(runs: Path) -> dict[str, Lifetime]:
    """Read which artifacts the jobs of all earlier runs name, with their lifetimes."""
    return dict(chain.from_iterable(read_artifacts(file).items() for file in sorted(runs.glob("*/run.json"))))


def find_removable(
    store: Store, artifacts: Mapping[str, Lifetime], *, cleanup: Cleanup, needed: Container[str]
) -> tuple[Removable, ...]:
    """Find what may go: spent artifacts, and what killed writers and killed removals left behind.

    Parameters
    ----------
    store : Store
    artifacts : mapping
        Lifetime of every artifact of these jobs and of earlier ones.
    cleanup : {"scratch", "nuclear", "none"}
        Which lifetimes may go.
    needed : container of str
        Artifacts that stay, whatever their lifetime.
    """
    why: dict[Path, str] = {}
    for artifact, lifetime in artifacts.items():
        if lifetime in GOING[cleanup] and artifact not in needed:
            with contextlib.suppress(TopsarError):  # a folder that leads out of the runs folder is left alone
                path = store.locate(artifact)
                if os.path.lexists(path):
                    why[path] = f"{lifetime.value}, and no step needs it"
    leftovers = dict.fromkeys(sorted(find_leftovers(store.runs)), "was being written when its run was killed")
    trash = store.runs / TRASH
    if trash.is_dir() and not trash.is_symlink():
        leftovers |= dict.fromkeys(sorted(trash.iterdir()), "was being removed when its run was killed")
    why |= {path: told for path, told in leftovers.items() if why.keys().isdisjoint(path.parents)}
    return tuple(Removable(path=path, size=size_of(path), why=told) for path, told in why.items())


def remove_all(found: Iterable[Removable], *, runs: Path) -> int:
    """Remove what was found in a runs folder, and nothing outside it; return the bytes freed.

    What cannot be removed does not keep the rest.

    Parameters
    ----------
    found : iterable of Removable
    runs : Path

    Raises
    ------
    TopsarError
        When something cannot be removed, or does not lie below the runs folder.
    """
    freed, left = 0, []
    for removable in found:
        try:
            delete(removable.path, within=runs)
            freed += removable.size
        except ProductError as exc:
            left.append(exc.message)
        except OSError as exc:
            left.append(f"{removable.path} cannot be removed: {exc.strerror}")
    if left:
        msg = "\n".join([*left, f"{bytes_text(freed)} of other files were removed"])
        raise TopsarError(msg, hint="check owner, permissions and links")
    return freed
