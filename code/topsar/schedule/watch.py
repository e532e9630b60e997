"""Files that steps read and no step made: whether they are still what they were when the run was planned."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import TopsarError

if TYPE_CHECKING:
    from collections.abc import Iterable

_BLOCKS, _BLOCK_BYTES = 16, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file or folder, and what was in it when the run was planned."""

    path: Path
    content: str


def watch(paths: Iterable[Path]) -> tuple[Input, ...]:
    """Note what files hold, and that folders are there."""
    return tuple(Input(path=path, content=sample_content(path)) for path in dict.fromkeys(paths))


def sample_content(path: Path) -> str:
    """Size, time and a checksum of sixteen blocks of a file; of a folder that it is one; of nothing an empty string."""
    try:
        status = path.stat()
        if path.is_dir():
            return "folder"
        return _sample(path, status.st_size, status.st_mtime_ns, (status.st_ctime_ns, status.st_ino))
    except OSError:
        return ""


@functools.lru_cache(maxsize=10_000)
def _sample(path: Path, size: int, modified_ns: int, _identity: tuple[int, int]) -> str:
    """Sample a file once for each state of it."""
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        for index in range(_BLOCKS):
            file.seek(max(size - _BLOCK_BYTES, 0) * index // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK_BYTES))
    return f"{size} {modified_ns} {digest.hexdigest()}"


def identify(path: Path) -> tuple[int, ...]:
    """Size and times of a file and of a link to it: whoever replaces it or writes to it changes one of them.

    The time of change cannot be set back. That of a folder changes when it is moved, or a file is moved in it. Inodes
    would tell no more, and of a file that nobody touched they change where the file system is a program's.
    """
    found: list[int] = []
    for look in (os.stat, os.lstat):
        with contextlib.suppress(OSError):
            status = look(path)
            found += [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return tuple(found)


def require_unchanged(inputs: Iterable[Input]) -> None:
    """Refuse to read what does not hold what it held when the run was planned."""
    if changed := list_changed(inputs):
        msg = f"{', '.join(map(str, changed))} changed after the run was planned"
        raise TopsarError(msg, hint="start the run again: it reads what is there now")


def list_changed(inputs: Iterable[Input]) -> list[Path]:
    """List what does not hold what it held when the run was planned."""
    return [one.path for one in inputs if sample_content(one.path) != one.content]
