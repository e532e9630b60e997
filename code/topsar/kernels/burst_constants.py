"""Constants of single bursts: what the phases of two satellites differ by from burst to burst.

Where two bursts see the same ground, their double difference is 2π Δf Δt + c_upper - c_lower. The Dopplers Δf are
nearly the same in all overlaps along a swath, so a timing Δt and equal steps from burst to burst look alike there: what
tells them apart is how Δf varies within a swath and between swaths, and that orbits leave no large Δt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.kernels.registration import Overlap, TimingBias, find_overlap, sum_in_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from topsar.kernels.mosaic import Part
    from topsar.model import Looks, Window

TIMING_S = 1e-5
"""Deviation of timings of two satellites along azimuth that orbits and clocks leave: 7 cm, 0.005 lines."""
LEAST_PIXELS = 20
"""Fewer pixels that two bursts of neighbouring swaths share tell nothing of them."""
_ROUNDS = 4


class Constants(NamedTuple):
    """Timing and constants that were solved together.

    Attributes
    ----------
    timing : TimingBias
    value, error : (bursts,) float64
        Phase of each burst's interferogram, rad, and its standard error; bursts that overlaps connect have mean zero.
    chance : float
        Of overlaps that fit as badly without constants, though there are none.
    """

    timing: TimingBias
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    chance: float


def find_joins(
    parts: tuple[Part, Part], bursts: tuple[NDArray[np.int16], NDArray[np.int16]], looks: Looks, independent: float
) -> Iterator[Overlap]:
    """Form double differences where two neighbouring swaths see the same ground, for each two bursts of them.

    Parameters
    ----------
    parts : (Part, Part)
        Mosaics of the swaths.
    bursts : pair of (rows, columns) int16
        Numbers of the bursts that their pixels come from, -1 outside; each burst has a number of its own.
    looks : Looks
    independent : float
        Independent looks of a pixel.
    """
    shared = parts[0].where.intersection(parts[1].where)
    if shared is None:
        return
    cuts = [_cut_part(part, shared) for part in parts]
    first, second = (number[_place(part.where, shared)] for number, part in zip(bursts, parts, strict=True))
    both = (first >= 0) & (second >= 0) & (cuts[0].sums.filled > 0) & (cuts[1].sums.filled > 0)
    for one, other in np.unique(np.stack([first[both], second[both]]), axis=1).T:
        here = both & (first == one) & (second == other)
        if np.count_nonzero(here) >= LEAST_PIXELS:
            near, far = (_keep_pixels(cut, here) for cut in cuts)
            yield find_overlap(near, far, near.where, looks, independent)._replace(bursts=(int(one), int(other)))


def _place(outer: Window, inner: Window) -> tuple[slice, slice]:
    return replace(inner, row=inner.row - outer.row, column=inner.column - outer.column).slices


def _cut_part(part: Part, where: Window) -> Part:
    local = _place(part.where, where)
    return replace(
        part,
        where=where,
        sums=part.sums.cut(local),
        doppler_hz=part.doppler_hz[local],
        margin_m=part.margin_m[local],
        backscatter=None,
    )


def _keep_pixels(part: Part, kept: NDArray[np.bool_]) -> Part:
    """The box around some pixels; the others in it count as empty."""
    row, column = np.nonzero(kept)
    box = replace(
        part.where,
        row=part.where.row + int(row.min()),
        column=part.where.column + int(column.min()),
        rows=int(np.ptp(row)) + 1,
        columns=int(np.ptp(column)) + 1,
    )
    cut, inside = _cut_part(part, box), kept[_place(part.where, box)]
    return replace(cut, sums=cut.sums._replace(filled=np.where(inside, cut.sums.filled, 0)))


def solve_constants(overlaps: Sequence[Overlap], bursts: int) -> Constants | None:
    """Solve the constants of all bursts together with the timing; None where no two bursts overlap coherently.

    Least squares with the weights of the overlaps; a timing of `TIMING_S` counts as one standard error. What the
    weights are worth the residuals say, summed over each cell before they are squared. Constants are known but for
    whole cycles: they begin with those along a tree of the strongest overlaps.

    Parameters
    ----------
    overlaps : sequence of Overlap
        With the numbers of their bursts.
    bursts : int
    """
    from scipy.stats import chi2

    used = [one for one in overlaps if len(one.phase)]
    if not used:
        return None
    groups, value = _chain_bursts(used, bursts)
    timing, worth = 0.0, _find_worth(used, value, 0.0)
    for _ in range(_ROUNDS):
        normal, pull = _sum_normal(used, value, timing)
        information = normal / worth
        information[-1, -1] += 1
        pull[-1] -= worth * timing / TIMING_S
        inverse = np.linalg.pinv(information, hermitian=True, rcond=1e-9)
        change = inverse @ pull / worth
        value, timing = value + change[:-1], timing + TIMING_S * float(change[-1])
        worth = _find_worth(used, value, timing)
    for group in np.unique(groups):
        value[groups == group] -= value[groups == group].mean()
    alone = _time_alone(used, worth)
    gain = _find_misfit(used, np.zeros(bursts), alone, worth) - _find_misfit(used, value, timing, worth)
    error = np.sqrt(np.maximum(np.diag(inverse), 0))
    pixels = sum(len(one.phase) for one in used)
    chance = float(chi2.sf(gain, max(bursts - len(np.unique(groups)), 1)))
    return Constants(TimingBias(timing, TIMING_S * float(error[-1]), pixels), value, error[:-1], chance)


def _chain_bursts(overlaps: Sequence[Overlap], bursts: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Group of each burst, and constants by the strongest overlaps that connect them."""
    group, value = np.arange(bursts), np.zeros(bursts)
    for one in sorted(overlaps, key=lambda one: -float(one.weight.sum())):
        upper, lower = one.bursts
        if group[upper] != group[lower]:
            step = float(np.angle((one.weight * np.exp(1j * one.phase)).sum()))
            moved = group == group[lower]
            value[moved] += value[upper] - value[lower] - step
            group[moved] = group[upper]
    return group, value


def _find_residual(one: Overlap, value: NDArray[np.float64], timing: float) -> NDArray[np.float64]:
    upper, lower = one.bursts
    return np.asarray(
        np.angle(np.exp(1j * (one.phase - 2 * np.pi * one.separation_hz * timing - value[upper] + value[lower])))
    )


def _sum_normal(
    overlaps: Sequence[Overlap], value: NDArray[np.float64], timing: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal matrix and right side for changes of all constants and, last, of the timing in units of `TIMING_S`."""
    normal, pull = np.zeros((value.size + 1, value.size + 1)), np.zeros(value.size + 1)
    for one in overlaps:
        design = np.stack([np.ones(len(one.phase)), -np.ones(len(one.phase)), 2 * np.pi * TIMING_S * one.separation_hz])
        at = np.array([*one.bursts, value.size])
        normal[np.ix_(at, at)] += (design * one.weight) @ design.T
        pull[at] += design @ (one.weight * _find_residual(one, value, timing))
    return normal, pull


def _find_worth(overlaps: Sequence[Overlap], value: NDArray[np.float64], timing: float) -> float:
    """The variance of a pixel of weight one, were errors of different pixels independent."""
    squares, weights = 0.0, 0.0
    for one in overlaps:
        pull = one.weight * _find_residual(one, value, timing)
        squares += float((sum_in_cells(one.cell, pull) ** 2).sum())
        weights += float(one.weight.sum())
    return max(squares / weights, 1e-12)


def _find_misfit(overlaps: Sequence[Overlap], value: NDArray[np.float64], timing: float, worth: float) -> float:
    squares = sum(float(one.weight @ _find_residual(one, value, timing) ** 2) for one in overlaps)
    return squares / worth + (timing / TIMING_S) ** 2


def _time_alone(overlaps: Sequence[Overlap], worth: float) -> float:
    """The timing that fits best without constants."""
    timing, none = 0.0, np.zeros(1 + max(max(one.bursts) for one in overlaps))
    for _ in range(_ROUNDS):
        normal, pull = _sum_normal(overlaps, none, timing)
        timing += TIMING_S * float(pull[-1] - worth * timing / TIMING_S) / float(normal[-1, -1] + worth)
    return timing
