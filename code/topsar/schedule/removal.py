"""Removal without waiting for it: what goes is renamed aside at once, and deleted by a thread.

A file system may take a minute to delete what it took a second to write, and the scheduler must not stand still
meanwhile. What a killed run left in ``runs/.trash`` is deleted by the next.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from topsar.schedule.jobs import Lifetime

if TYPE_CHECKING:
    from collections.abc import Callable

Cleanup = Literal["none", "scratch", "nuclear"]

GOING: Mapping[str, frozenset[Lifetime]] = {
    "none": frozenset(),
    "scratch": frozenset({Lifetime.SCRATCH}),
    "nuclear": frozenset({Lifetime.SCRATCH, Lifetime.RESTART}),
}
"""What goes, by level of cleanup, once nobody needs it."""

TRASH = ".trash"
"""Folder in the runs folder."""


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed. Nothing there is nothing."""
    size, folders = 0, [path]
    if not path.is_dir() or path.is_symlink():
        with contextlib.suppress(OSError):
            size = path.lstat().st_size
        return size
    while folders:  # no recursion: a tree may be deeper than Python's stack
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def delete(path: Path) -> None:
    """Delete a file, a link or a folder; never what a link leads to.

    Raises
    ------
    OSError
        When something of it stays.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Remover:
    """Removes files and folders of one runs folder.

    Parameters
    ----------
    runs : Path
        The runs folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> runs = Path(mkdtemp())
    >>> _ = (runs / "x").write_text("four")
    >>> remover, freed = Remover(runs), []
    >>> remover.remove(runs / "x", freed.append)
    >>> (runs / "x").exists(), remover.finish(), freed
    (False, True, [4])
    """

    def __init__(self, runs: Path) -> None:
        self._trash = runs / TRASH
        self._work: queue.SimpleQueue[tuple[Path, Callable[[int], None]] | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        with contextlib.suppress(OSError):
            if self._trash.is_symlink():
                self._trash.unlink()
            for leftover in self._trash.iterdir():
                self._put(leftover, lambda _: None)

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be deleted."""
        return self._pending > 0

    def remove(self, path: Path, freed: Callable[[int], None]) -> None:
        """Let a path be gone when this returns, and call ``freed`` with its bytes once they are free.

        Parameters
        ----------
        path : Path
            A file, link or folder; nothing happens where there is none.
        freed : callable
            Called in another thread.

        Raises
        ------
        OSError
            When it cannot be removed.
        """
        if not os.path.lexists(path):
            return
        aside = self._trash / uuid.uuid4().hex
        try:
            self._trash.mkdir(exist_ok=True)
            path.rename(aside)
        except OSError:  # another file system is mounted there, or a full one has no room for a folder
            size = size_of(path)
            delete(path)
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
                delete(path)
            size -= size_of(path)
            with self._lock:
                self._pending -= 1
            freed(size)
