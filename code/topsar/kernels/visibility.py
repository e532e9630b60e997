"""Layover and shadow: which ground shares its slant range with other ground, and which the radar cannot see."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYOVER, SHADOW, UNKNOWN = 1, 2, 255
"""Bits of the mask, and its value where there is no height."""

_NODE_STEP = 16
"""Pixels over which a profile keeps its direction; it changes by less than 0.01 degree."""


def find_layover_shadow(
    time_s: NDArray[np.float64],
    range_m: NDArray[np.float64],
    off_nadir_rad: NDArray[np.float64],
    height_m: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Find layover and shadow on a map grid.

    Through every pixel runs a profile along which the zero-Doppler time does not change. Away from the track, slant
    range and angle from nadir should grow. Where the range shrinks, ground folds over: what is farther out but no
    farther from the satellite is layover, and so is what is nearer to the track but no nearer to it. Where the angle
    shrinks, all that is seen at no larger an angle farther out is in shadow. Both what folds over and what it falls on
    are layover (Kropatsch and Strobl, 1990, IEEE TGRS 28, "The generation of SAR layover and shadow maps from digital
    elevation models").

    Parameters
    ----------
    time_s, range_m : (rows, columns) float64
        Zero-Doppler time and slant range of the pixel centres at their height.
    off_nadir_rad : (rows, columns) float64
        Angle at the satellite between the pixel and the Earth's centre.
    height_m : (rows, columns) float32
        NaN where unknown: profiles end there.

    Returns
    -------
    (rows, columns) uint8
        Sum of `LAYOVER` and `SHADOW`, or `UNKNOWN`.
    """
    void = np.isnan(height_m)
    if min(void.shape) < 2:
        return np.where(void, np.uint8(UNKNOWN), np.uint8(0))
    step = min(_NODE_STEP, min(void.shape) // 2)
    directions = _find_directions(time_s[::step, ::step], range_m[::step, ::step])
    folded, hidden = np.zeros(void.shape, np.uint8), np.zeros(void.shape, np.uint8)
    _trace_profiles(range_m, off_nadir_rad, void, directions, step, folded, hidden)
    mask = LAYOVER * folded + SHADOW * hidden
    mask[void] = UNKNOWN
    return mask


def _find_directions(time_s: NDArray[np.float64], range_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Steps (row, column) along which time stays and range grows, the larger component one pixel long."""
    down, across = np.gradient(time_s)
    steps = np.stack([-across, down], axis=-1)
    steps /= np.abs(steps).max(axis=-1, keepdims=True)
    farther, aside = np.gradient(range_m)
    outward = (steps[..., 0] * farther + steps[..., 1] * aside).sum()  # relief turns single gradients around
    return np.ascontiguousarray(steps if outward > 0 else -steps)


@njit(cache=True, nogil=True, inline="always")
def _interpolate(values, void, row, column):  # type: ignore[no-untyped-def]
    """Bilinear; NaN outside and beside voids."""
    i = math.floor(row)
    j = math.floor(column)
    if i < 0 or j < 0 or i + 1 >= values.shape[0] or j + 1 >= values.shape[1]:
        return np.nan
    if void[i, j] or void[i + 1, j] or void[i, j + 1] or void[i + 1, j + 1]:
        return np.nan
    u = row - i
    v = column - j
    upper = values[i, j] + v * (values[i, j + 1] - values[i, j])
    lower = values[i + 1, j] + v * (values[i + 1, j + 1] - values[i + 1, j])
    return upper + u * (lower - upper)


@njit(cache=True, nogil=True, inline="always")
def _mark(values, void, row, column, down, across, limit, out):  # type: ignore[no-untyped-def]
    """Mark what lies outward on a profile, from a place on, as long as it does not exceed a limit."""
    while _interpolate(values, void, row, column) <= limit:
        out[round(row), round(column)] = 1
        row += down
        column += across


@njit(cache=True, nogil=True, parallel=True)
def _trace_profiles(range_m, off_nadir, void, directions, step, folded, hidden):  # type: ignore[no-untyped-def]
    """From every pixel behind which range or angle shrinks, mark what that folds over or hides.

    Several threads may mark a pixel; all write the same.
    """
    for i in prange(void.shape[0]):
        for j in range(void.shape[1]):
            if void[i, j]:
                continue
            down = directions[i // step, j // step, 0]
            across = directions[i // step, j // step, 1]
            _mark(off_nadir, void, i + down, j + across, down, across, off_nadir[i, j], hidden)
            behind = _interpolate(range_m, void, i + down, j + across)
            if behind <= range_m[i, j]:
                _mark(range_m, void, i + down, j + across, down, across, range_m[i, j], folded)
                row = float(i)
                column = float(j)
                while _interpolate(range_m, void, row, column) >= behind:
                    folded[round(row), round(column)] = 1
                    row -= down
                    column -= across
