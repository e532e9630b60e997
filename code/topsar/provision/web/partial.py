"""A file that is being fetched: ``<name>.part``, locked, with a note of what it is a part of."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from topsar.provision.web.failures import Failed

log = logging.getLogger(__name__)

POLL_S = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a part belongs to.

    Attributes
    ----------
    source : str
        Digest of the address.
    validator : str
        ``ETag`` or ``Last-Modified`` of the whole, for ``If-Range``.
    total : int, optional
        Bytes of the whole.
    """

    source: str = ""
    validator: str = ""
    total: int | None = None


class Partial:
    """The part of a file that has come so far; see `locked`."""

    def __init__(self, target: Path, file: io.FileIO) -> None:
        self.target, self._file = target, file
        self.path = part_of(target)
        self._note_path = self.path.with_name(self.path.name + ".json")
        self.note = self._read_note()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return os.fstat(self._file.fileno()).st_size

    def begin(self, note: Note) -> None:
        """Throw away what is kept and begin a file anew."""
        with _disk_trouble(self.target, note.total):
            self._file.truncate(0)
            self._note_path.write_text(json.dumps(asdict(note)), encoding="utf-8")
        self.note = note

    def clear(self) -> None:
        """Throw away what is kept."""
        self._file.truncate(0)
        self._note_path.unlink(missing_ok=True)
        self.note = Note()

    def need(self, total: int) -> None:
        """Make sure that the disk has room for the rest."""
        free = shutil.disk_usage(self.path.parent).free
        if free < total - self.size:
            raise _no_room(self.target, f"{amount(total - self.size)} more are needed, {amount(free)} are free")

    def write(self, data: bytes) -> None:
        """Append."""
        rest = memoryview(data)
        with _disk_trouble(self.target, self.note.total):
            while rest:
                rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """Give the file its name."""
        with _disk_trouble(self.target, self.note.total):
            os.fsync(self._file.fileno())
            self.path.replace(self.target)
            self._note_path.unlink(missing_ok=True)
            folder = os.open(self.target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def leave(self) -> None:
        """Remove what nothing can be made of."""
        if not self.size and _is_at(self._file, self.path):
            self._note_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _read_note(self) -> Note:
        try:
            note = Note(**json.loads(self._note_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Note()
        sound = isinstance(note.validator, str) and (note.total is None or isinstance(note.total, int))
        return note if sound else Note()


@contextmanager
def locked(target: Path, pause: Callable[[float], None]) -> Iterator[Partial]:
    """The part of ``target``, for this process and thread alone; others wait until the block is left.

    Parameters
    ----------
    target : Path
        Its folder is made.
    pause : callable
        Waits so many seconds, or raises to give up waiting.

    Raises
    ------
    Failed
        The folder cannot be written.
    """
    with _disk_trouble(target, None):
        target.parent.mkdir(parents=True, exist_ok=True)
    with closing(_lock(target, pause)) as file:
        partial = Partial(target, file)
        try:
            yield partial
        finally:
            partial.leave()


def part_of(target: Path) -> Path:
    """Where a file is while it is not whole."""
    return target.with_name(target.name + ".part")


def amount(size: int) -> str:
    """A number of bytes for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _lock(target: Path, pause: Callable[[float], None]) -> io.FileIO:
    """The part, open at its end and locked.

    Whoever held it may have given it its final name meanwhile: then the lock is on the wrong file.
    """
    path, waits = part_of(target), False
    while True:
        with _disk_trouble(target, None):
            file = path.open("ab", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, path):
                    return file
            except BlockingIOError:
                if not waits:
                    log.info("%s is being fetched by somebody else; waiting", target)
                waits = True
            except OSError:
                file.close()
                raise
        file.close()
        pause(POLL_S)


def _is_at(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _disk_trouble(target: Path, total: int | None) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        folder = target.parent
        if exc.errno in _FULL:
            free = shutil.disk_usage(folder).free
            wanted = "" if total is None else f"{target.name} has {amount(total)}, "
            raise _no_room(target, f"{wanted}{amount(free)} are free") from exc
        msg = f"{target} cannot be written ({exc.strerror or type(exc).__name__})"
        raise Failed(msg, f"make {folder} a folder that this user can write to, or choose another one") from exc


def _no_room(target: Path, numbers: str) -> Failed:
    msg = f"no space is left in {target.parent} for {target.name}: {numbers}"
    return Failed(msg, "free some, then run the same again")
