"""The grid of a stack in radar geometry: lines and samples of its reference date, over all bursts and swaths.

All bursts of a product share one grid of lines and samples, so each fills a rectangle of the stack's grid, and every
pixel of that is a pixel of one burst. Seams run at mid-overlap: between bursts along a line, between swaths along a
sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from topsar.model import Burst, RadarGrid, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarPart:
    """A burst of the reference, and the rectangle of the stack's grid that it fills; ``row``, ``column`` is its corner.

    ``inside`` is the same rectangle in lines and samples of the burst.
    """

    burst: Burst
    inside: Window
    row: int
    column: int

    @property
    def where(self) -> Window:
        """The rectangle in the stack's grid."""
        return replace(self.inside, row=self.row, column=self.column)

    def find_rows(self, window: Window) -> Window:
        """Where a window of the burst lies in the stack's grid."""
        row, column = self.row - self.inside.row, self.column - self.inside.column
        return replace(window, row=window.row + row, column=window.column + column)


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarLayout:
    """The grid of a stack and the bursts that fill it, swath by swath in order of time."""

    grid: RadarGrid
    parts: tuple[RadarPart, ...]

    def group_swaths(self) -> dict[str, list[RadarPart]]:
        """The parts of each swath, in order of time."""
        swaths: dict[str, list[RadarPart]] = {}
        for part in self.parts:
            swaths.setdefault(part.burst.swath, []).append(part)
        return swaths


def lay_out_radar(bursts: Sequence[Burst]) -> RadarLayout:
    """Lay the bursts of a reference date side by side, their valid parts cut at mid-overlap.

    Parameters
    ----------
    bursts : sequence of Burst
        Of one pass and polarisation.
    """
    first = min(bursts, key=lambda burst: burst.grid.first_line_time).grid
    near = min(burst.grid.near_range_m for burst in bursts)
    whole = [_place_burst(burst, first, near) for burst in bursts]
    swaths = sorted({burst.swath for burst in bursts})
    placed: list[RadarPart] = []
    for swath in swaths:
        placed += _cut_lines(sorted((one for one in whole if one.burst.swath == swath), key=lambda one: one.row))
    for inner, outer in pairwise(swaths):
        placed = _cut_samples(placed, inner, outer)
    row, column = min(one.row for one in placed), min(one.column for one in placed)
    grid = RadarGrid(
        first_line_time=first.first_line_time + timedelta(seconds=row * first.line_interval_s),
        line_interval_s=first.line_interval_s,
        near_range_m=near + column * first.range_spacing_m,
        range_spacing_m=first.range_spacing_m,
        lines=max(one.where.row_stop for one in placed) - row,
        samples=max(one.where.column_stop for one in placed) - column,
    )
    parts = tuple(replace(one, row=one.row - row, column=one.column - column) for one in placed)
    return RadarLayout(grid=grid, parts=parts)


def _place_burst(burst: Burst, first: RadarGrid, near_range_m: float) -> RadarPart:
    """The valid part of a burst, counted from the first line and the nearest sample of all."""
    line = round((burst.grid.first_line_time - first.first_line_time).total_seconds() / first.line_interval_s)
    sample = round((burst.grid.near_range_m - near_range_m) / first.range_spacing_m)
    return RadarPart(burst=burst, inside=burst.valid, row=line + burst.valid.row, column=sample + burst.valid.column)


def _cut_lines(parts: Sequence[RadarPart]) -> Iterable[RadarPart]:
    """The bursts of a swath, each from mid-overlap with the one before to that with the one after."""
    seams = [(one.where.row_stop + other.row + 1) // 2 for one, other in pairwise(parts)]
    tops = [parts[0].row, *(max(seam, part.row) for seam, part in zip(seams, parts[1:], strict=True))]
    stops = [
        *(min(seam, part.where.row_stop) for seam, part in zip(seams, parts, strict=False)),
        parts[-1].where.row_stop,
    ]
    return [cut_part(part, rows=(top, stop)) for part, top, stop in zip(parts, tops, stops, strict=True)]


def _cut_samples(parts: Sequence[RadarPart], inner: str, outer: str) -> list[RadarPart]:
    """The bursts of two neighbouring swaths, cut in the middle of the samples that all bursts of both have."""
    ends = [one.where.column_stop for one in parts if one.burst.swath == inner]
    starts = [one.column for one in parts if one.burst.swath == outer]
    seam = (min(ends) + max(starts) + 1) // 2

    def cut(part: RadarPart) -> RadarPart:
        if part.burst.swath == inner:
            return cut_part(part, columns=(part.column, min(seam, part.where.column_stop)))
        if part.burst.swath == outer:
            return cut_part(part, columns=(max(seam, part.column), part.where.column_stop))
        return part

    return [cut(part) for part in parts]


def cut_part(part: RadarPart, rows: tuple[int, int] | None = None, columns: tuple[int, int] | None = None) -> RadarPart:
    """A part between rows and columns of the grid that it lies in.

    Parameters
    ----------
    part : RadarPart
    rows, columns : (int, int), optional
        First, and first after; inside the part.
    """
    top, stop = rows or (part.row, part.where.row_stop)
    left, right = columns or (part.column, part.where.column_stop)
    inside = Window(
        row=part.inside.row + top - part.row,
        column=part.inside.column + left - part.column,
        rows=stop - top,
        columns=right - left,
    )
    return replace(part, inside=inside, row=top, column=left)
