"""Samples in GAMMA's two complex formats, both big-endian, read and written a few lines at a time."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import SceneError
from topsar.files import atomic_path

if TYPE_CHECKING:
    from contextlib import ExitStack
    from io import BufferedReader
    from typing import IO

    from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 22
FCOMPLEX = np.dtype(">c8")
"""A sample of that format."""


class SampleFormat(str, Enum):
    """Real and imaginary part as big-endian floats of 4 bytes, or integers of 2."""

    FCOMPLEX = "FCOMPLEX"
    SCOMPLEX = "SCOMPLEX"

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of one part of a sample."""
        return np.dtype(">f4") if self is SampleFormat.FCOMPLEX else np.dtype(">i2")

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample."""
        return 2 * self.dtype.itemsize


def lines_of_block(samples: int) -> int:
    """How many lines of complex64 a block holds."""
    return max(1, _BLOCK_BYTES // (8 * samples))


def check_size(path: Path, lines: int, samples: int, kind: SampleFormat) -> None:
    """Refuse a file of samples that is missing or not as large as its parameters say.

    Parameters
    ----------
    path : Path
    lines, samples : int
    kind : SampleFormat
    """
    hint = "the SLC and its parameters must belong together; paths count from the current folder"
    try:
        size = path.stat().st_size
    except OSError as exc:
        msg = f"{path}: cannot be read ({exc.strerror})"
        raise SceneError(msg, hint=hint) from exc
    if size != (expected := lines * samples * kind.sample_bytes):
        msg = f"{path}: {size} bytes; its parameters say {lines} lines of {samples} {kind.value} samples, {expected}"
        raise SceneError(msg, hint=hint)


def iter_lines(file: BufferedReader, lines: int, samples: int, kind: SampleFormat) -> Iterator[NDArray[np.complex64]]:
    """Read the next lines of a file in blocks.

    Parameters
    ----------
    file : binary file
    lines, samples : int
    kind : SampleFormat

    Yields
    ------
    (block, samples) complex64
        The same memory each time; FCOMPLEX in the order of bytes that the file has.
    """
    step = min(lines, lines_of_block(samples))
    stored = np.empty((step, 2 * samples), kind.dtype)
    values = stored if kind is SampleFormat.FCOMPLEX else np.empty(stored.shape, np.float32)
    for first in range(0, lines, step):
        count = min(step, lines - first)
        wanted = stored[:count].view(np.uint8).data
        if (got := file.readinto(wanted)) != wanted.nbytes:
            msg = f"{file.name}: it ends {wanted.nbytes - got} bytes too early"
            raise SceneError(msg, hint="it was cut while it was read: write it again")
        if values is not stored:
            values[:count] = stored[:count]
        yield values[:count].view(values.dtype.str.replace("f4", "c8"))


def create_samples(stack: ExitStack, path: Path, *, keeps_phase: bool) -> tuple[IO[bytes], IO[bytes] | None]:
    """Create a file of samples and, where it is kept, ``<path>.dph`` for its ramp; both appear when they are whole.

    Parameters
    ----------
    stack : ExitStack
        Closes them.
    path : Path
    keeps_phase : bool
    """
    places = [path, *([path.with_name(f"{path.name}.dph")] if keeps_phase else [])]
    files = [stack.enter_context(stack.enter_context(atomic_path(place)).open("wb")) for place in places]
    return files[0], files[1] if keeps_phase else None


def write_lines(file: IO[bytes], values: NDArray[np.complex64], kind: SampleFormat) -> None:
    """Append lines to a file; the array is used up.

    Parameters
    ----------
    file : binary file
    values : (lines, samples) complex64
        Contiguous. For SCOMPLEX whole numbers that 16 bits hold.
    kind : SampleFormat
    """
    parts = values.view(np.float32)
    if kind is SampleFormat.SCOMPLEX:
        rounded = np.rint(parts)
        if not ((rounded == parts) & (np.abs(parts) <= 32767)).all():
            msg = f"{file.name}: a sample is no whole number that SCOMPLEX holds"
            raise SceneError(msg, hint="write FCOMPLEX")
        rounded.astype(kind.dtype).tofile(file)
        return
    if np.little_endian:
        parts.byteswap(inplace=True)
    parts.tofile(file)
