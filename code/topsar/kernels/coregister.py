"""The signal of a date at the pixels of the reference's image.

Where a date sees the ground of a pixel differs from where the reference does by offsets that change smoothly with line,
sample and height: they are a cubic polynomial in the height, whose coefficients are tabulated on nodes and
interpolated linearly. For orbits 200 m apart this is exact to a few micrometres of range.

Coefficient arrays are (node lines, node samples, 8) float64: 0-3 of the line offset, 4-7 of the range difference in m,
lowest power first, in (height - middle) / half.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import get_num_threads, njit

from topsar.kernels.tile import find_turns, fit_ramp, gather_signal, note_place, rotate_phase

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.kernels.resample import RadarImage

OFFSET_STEP = 64
"""Lines and samples between nodes."""
POWERS = 4
"""Coefficients of a polynomial in the height."""
_ROWS = 16  # lines that one task works on
_FAST = {"reassoc", "contract", "nsz", "arcp"}


class Offsets(NamedTuple):
    """How far a date's image lies beside the reference's, from line and sample ``line``, ``sample`` of a burst on.

    Attributes
    ----------
    nodes : (r, c, 8) float64
        Every `OFFSET_STEP` lines and samples, until beyond the last.
    line, sample : int
        Place of the first node in the reference's burst.
    near_range_m, range_spacing_m : float
        Slant range of the reference's samples.
    middle_m, half_m : float
        Of the interval of heights.
    """

    nodes: NDArray[np.float64]
    line: int
    sample: int
    near_range_m: float
    range_spacing_m: float
    middle_m: float
    half_m: float


def fit_heights(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients (..., POWERS), lowest power first, of values (..., POWERS) at `height_levels`."""
    return np.asarray(values @ np.linalg.inv(np.vander(height_levels(), POWERS, increasing=True)).T)


def height_levels() -> NDArray[np.float64]:
    """Chebyshev points in -1 to 1 between which a polynomial follows best."""
    return np.cos(np.pi * (np.arange(POWERS) + 0.5) / POWERS)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _find_places(strip, offsets, first, place, height, image, ramp, index, turns):  # type: ignore[no-untyped-def]
    """Place in the date's burst, and the phase there, along a part of a line between two nodes."""
    per_metre, interval = 1.0 / image.range_spacing_m, image.line_interval_s
    for w in range(height.size):
        v = (first + w) / OFFSET_STEP
        known = not math.isnan(height[w])
        h = (height[w] - offsets.middle_m) / offsets.half_m if known else 0.0
        shift = away = 0.0
        for k in range(POWERS - 1, -1, -1):
            shift = shift * h + (strip[0, k] + v * (strip[1, k] - strip[0, k]))
            away = away * h + (strip[0, POWERS + k] + v * (strip[1, POWERS + k] - strip[0, POWERS + k]))
        line = place[0] + shift
        near = offsets.near_range_m + (place[1] + w) * offsets.range_spacing_m
        sample = (near + away - image.near_range_m) * per_metre
        note_place(index, w, line, sample, known)
        turns[w] = find_turns(ramp, (line - image.mid_line) * interval, sample, away)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _resample_rows(height, offsets, line, sample, image, out):  # type: ignore[no-untyped-def]
    """Fill lines of a burst from ``line``, ``sample`` of the reference's on, in parts that end at nodes."""
    n = OFFSET_STEP
    turns, index, parts = np.empty(n, np.float32), np.empty((4, n), np.int32), np.empty((2, n), np.float32)
    strip = np.empty((2, 2 * POWERS))
    for i in range(out.shape[0]):
        row = (line + i - offsets.line) // OFFSET_STEP
        u = (line + i - offsets.line - row * OFFSET_STEP) / OFFSET_STEP
        start = 0
        while start < out.shape[1]:
            column, first = divmod(sample + start - offsets.sample, OFFSET_STEP)
            stop = min(start + OFFSET_STEP - first, out.shape[1])
            for side in range(2):
                for k in range(2 * POWERS):
                    upper, lower = offsets.nodes[row, column + side, k], offsets.nodes[row + 1, column + side, k]
                    strip[side, k] = upper + u * (lower - upper)
            m = stop - start
            place = (line + i, sample + start)
            ramp = fit_ramp(image, sample + start)
            _find_places(strip, offsets, first, place, height[i, start:stop], image, ramp, index[:, :m], turns[:m])
            gather_signal(image, index[:, :m], parts[:, :m])
            rotate_phase(parts[:, :m], turns[:m])
            for w in range(m):
                out[i, start + w] = complex(parts[0, w], parts[1, w])
            start = stop


def coregister(
    height_m: NDArray[np.float64],
    offsets: Offsets,
    place: tuple[int, int],
    image: RadarImage,
    out: NDArray[np.complex64],
) -> None:
    """Resample a date's burst to the reference's pixels, flattened: times exp(j 4π (R - R_reference) / λ).

    On as many threads as Numba may use, and not a parallel kernel: see `topsar.kernels.resample.geocode`.

    Parameters
    ----------
    height_m : (lines, samples) float64
        Of the pixels; NaN where unknown.
    offsets : Offsets
    place : (int, int)
        Line and sample of the first pixel in the reference's burst.
    image : RadarImage
        The date's, deramped.
    out : (lines, samples) complex64
        Filled; zero where there is no signal or no height.
    """

    def fill(top: int) -> None:
        rows = slice(top, top + _ROWS)
        _resample_rows(height_m[rows], offsets, place[0] + top, place[1], image, out[rows])

    with ThreadPoolExecutor(get_num_threads()) as pool:
        deque(pool.map(fill, range(0, len(out), _ROWS)), maxlen=0)
