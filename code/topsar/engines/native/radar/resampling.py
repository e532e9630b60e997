"""Bursts of a date resampled to the pixels of the reference date of its stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.engines.native.radar.grid import RadarPart
from topsar.engines.native.radar.nodes import find_offsets
from topsar.engines.native.steps.geocode import Memory, load_deramped, radar_image
from topsar.engines.viewing import fit_burst_arc
from topsar.kernels.coregister import coregister
from topsar.kernels.tops import find_deramp_terms
from topsar.model import Burst, Window
from topsar.raster.isce_image import IsceReader

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from topsar.model import Orbit

BLOCK_LINES = 256
"""Lines resampled at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatePart:
    """A burst of the reference with its place in the stack's grid, and the same burst on the date."""

    part: RadarPart
    burst: Burst

    @property
    def is_reference(self) -> bool:
        """Whether the date is the reference."""
        return self.burst == self.part.burst


class OpenDate(NamedTuple):
    """What all bursts of a date share; its samples lie some lines and samples later than annotated."""

    reference_orbit: Orbit
    orbit: Orbit
    shift_px: float
    delay_px: float
    memory: Memory


def resample_window(
    one: DatePart, window: Window, date: OpenDate, heights: IsceReader, image: DatasetReader
) -> Iterator[tuple[int, NDArray[np.complex64]]]:
    """Resample a window of a burst some lines at a time, and flatten it against the reference.

    Parameters
    ----------
    one : DatePart
    window : Window
        Lines and samples of the reference's burst.
    date : OpenDate
    heights : IsceReader
        Of the stack's grid.
    image : DatasetReader
        From `topsar.engines.native.steps.geocode.open_images`.

    Yields
    ------
    int, (lines, window.columns) complex64
        The row of the stack's grid that a block begins at, and the block: the same memory each time.
    """
    where = one.part.find_rows(window)
    reference = one.part.burst, fit_burst_arc(one.part.burst, date.reference_orbit)
    arc = fit_burst_arc(one.burst, date.orbit)
    limits = _find_height_range(heights, where)
    seen = None
    if limits is not None:
        offsets, around = find_offsets(reference, (one.burst, arc), window, limits, date.shift_px)
        seen = around.intersection(one.burst.valid)
    if seen is not None:
        terms = find_deramp_terms(one.burst, arc)
        planes = load_deramped(one.burst, terms, seen, image, date.memory)
        radar = radar_image(one.burst, arc, terms, seen, *planes).shift(date.delay_px)
    for top in range(0, window.rows, BLOCK_LINES):
        rows = min(BLOCK_LINES, window.rows - top)
        block = date.memory.array("block", (rows, window.columns), np.complex64)
        if seen is None:
            block.fill(0)
        else:
            height = heights.read(replace(where, row=where.row + top, rows=rows))[:, 0]
            coregister(height, offsets, (window.row + top, window.column), radar, block)
        yield where.row + top, block


def _find_height_range(heights: IsceReader, where: Window) -> tuple[float, float] | None:
    """Lowest and highest ground of a window, a few lines at a time; None where none is known."""
    low, high = np.inf, -np.inf
    for top in range(where.row, where.row_stop, BLOCK_LINES):
        block = heights.read(replace(where, row=top, rows=min(BLOCK_LINES, where.row_stop - top)))
        low, high = np.fmin(low, np.fmin.reduce(block, axis=None)), np.fmax(high, np.fmax.reduce(block, axis=None))
    return (float(low), float(high)) if low <= high else None
