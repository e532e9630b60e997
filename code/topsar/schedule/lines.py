"""Files of JSON lines, which grow by one line at a time and of which a crash or a full disk tears at most the last."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import TypeAdapter

T = TypeVar("T")

_LONGEST_LINE = 1 << 26


def append_line(path: Path, line: bytes, *, sync: bool = False) -> None:
    """Append a line, after the end of a torn one, or leave the file as it was and raise `OSError`.

    Parameters
    ----------
    path : Path
        It is opened anew for each line: thousands of jobs may be under way, and open files are few.
    line : bytes
        Without its end.
    sync : bool
        Return once it is on the disk.
    """
    with path.open("ab+", buffering=0) as file:
        before = file.tell()
        file.seek(max(0, before - 1))
        text = b"\n" * (file.read(1) not in (b"", b"\n")) + line + b"\n"
        try:
            while text:  # a nearly full disk takes a part of it, and says no to the next
                text = text[file.write(text) :]
            if sync:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def read_lines(path: Path, kind: TypeAdapter[T]) -> Iterator[T]:
    """Read the lines of a kind, oldest first; a file that cannot be read has none.

    Torn lines, endless ones and any of another kind are skipped.

    Parameters
    ----------
    path : Path
    kind : TypeAdapter
        Of what a line holds.
    """
    if not path.is_file():  # to open a pipe may take for ever
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            with contextlib.suppress(ValueError, RecursionError):
                yield kind.validate_python(json.loads(line))
