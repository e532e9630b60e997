"""Measurement TIFFs as the S-1 IPF writes them: complex int16, one strip per line, ground control points."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.simulate.annotation import GridPoint

_SHORT, _LONG, _DOUBLE, _ASCII = 3, 4, 12, 2
_FORMAT = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_COMPLEX_INT = 5
_BYTES_PER_SAMPLE = 4
_GEO_KEYS = (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326)


class MeasurementFile:
    """A measurement being written: header first, then bursts in any order; line 0 begins at byte ``data_offset``.

    Parameters
    ----------
    path : Path
    lines, samples : int
    points : sequence of GridPoint
        They become ground control points.
    description, time : str, datetime
    """

    def __init__(
        self, path: Path, *, lines: int, samples: int, points: Sequence[GridPoint], description: str, time: datetime
    ) -> None:
        self.path = path
        self.samples = samples
        header, self.data_offset = _pack_header(lines, samples, points, description, time)
        with path.open("wb") as file:
            file.write(header)
            file.truncate(self.data_offset + lines * samples * _BYTES_PER_SAMPLE)

    def write(self, first_line: int, block: NDArray[np.int16]) -> None:
        """Write lines (lines, samples, 2) from ``first_line`` on; safe from several threads for different lines.

        Parameters
        ----------
        first_line : int
            Line of the file, from 0, at which the block begins.
        block : (lines, samples, 2) int16
            Real and imaginary parts of whole lines.
        """
        with self.path.open("r+b") as file:
            file.seek(self.data_offset + first_line * self.samples * _BYTES_PER_SAMPLE)
            file.write(np.ascontiguousarray(block, dtype="<i2").data)


def _pack_header(
    lines: int, samples: int, points: Sequence[GridPoint], description: str, time: datetime
) -> tuple[bytes, int]:
    """Header, directory and their arrays, and the offset of the first strip."""
    tie = [v for p in points for v in (p.pixel, p.line, 0.0, p.longitude_deg, p.latitude_deg, p.height_m)]
    strip = samples * _BYTES_PER_SAMPLE

    def list_entries(first: int) -> list[tuple[int, int, Sequence[float] | str]]:
        return [
            (256, _LONG, [samples]),
            (257, _LONG, [lines]),
            (258, _SHORT, [8 * _BYTES_PER_SAMPLE]),
            (259, _SHORT, [1]),
            (262, _SHORT, [1]),
            (270, _ASCII, description),
            (273, _LONG, range(first, first + lines * strip, strip)),
            (277, _SHORT, [1]),
            (278, _LONG, [1]),
            (279, _LONG, [strip] * lines),
            (284, _SHORT, [1]),
            (305, _ASCII, "topsar simulator"),
            (306, _ASCII, f"{time:%Y:%m:%d %H:%M:%S}"),
            (339, _SHORT, [_COMPLEX_INT]),
            (33922, _DOUBLE, tie),
            (34735, _SHORT, _GEO_KEYS),
        ]

    size = len(_pack_directory(list_entries(0)))
    return _pack_directory(list_entries(size)), size


def _pack_directory(entries: list[tuple[int, int, Sequence[float] | str]]) -> bytes:
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    after = len(head) + 12 * len(entries) + 4
    fields, arrays = b"", b""
    for tag, kind, values in entries:
        if isinstance(values, str):
            data, count = values.encode("ascii") + b"\0", len(values) + 1
        else:
            data, count = struct.pack(f"<{len(values)}{_FORMAT[kind]}", *values), len(values)
        if len(data) <= 4:
            fields += struct.pack("<HHI4s", tag, kind, count, data)
        else:
            fields += struct.pack("<HHII", tag, kind, count, after + len(arrays))
            arrays += data + b"\0" * (-len(data) % 8)
    return head + fields + struct.pack("<I", 0) + arrays
