"""Normal equations of a network of dates, solved for many pixels at once: they differ in their weights alone."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_BYTES = 1 << 23
"""Of the equations of the pixels that are solved at once: what stays near the processor."""
_SPRING = 1e-9
"""Of the largest weight of a pixel, ties each date to zero: dates that no pair links have an answer then, if none
that counts."""


class _Pivot(NamedTuple):
    """How a date is taken out: its neighbours that are left, the places of its own sides, and those that change.

    ``changed`` are the sides between ``first`` and ``second``, positions among the neighbours.
    """

    date: int
    neighbours: NDArray[np.intp]
    own: NDArray[np.intp]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    changed: NDArray[np.intp]


class Elimination(NamedTuple):
    """In which order dates are taken out, and the sides of the network and those that arise, in one row each."""

    pivots: tuple[_Pivot, ...]
    sides: dict[tuple[int, int], int]
    dates: int


def plan_elimination(links: NDArray[np.intp], dates: int) -> Elimination:
    """Choose the order in which dates are taken out: that of least neighbours next (Tinney and Walker 1967).

    The first date is none of the unknowns. Pairs of near dates leave few sides, so that an equation costs some hundred
    operations, not the cube of the dates.

    Parameters
    ----------
    links : (pairs, 2) int
        Earlier and later date of each pair.
    dates : int
        How many there are.
    """
    near: dict[int, set[int]] = {date: set() for date in range(1, dates)}
    for first, second in links.tolist():
        if first and second:
            near[first].add(second)
            near[second].add(first)
    sides = {_side(a, b): 0 for a, others in near.items() for b in others}
    sides = {side: number for number, side in enumerate(sorted(sides))}
    pivots = []
    while near:
        date = min(near, key=lambda one: (len(near[one]), one))
        neighbours = sorted(near.pop(date))
        for one in neighbours:
            near[one].discard(date)
            near[one] |= set(neighbours) - {one}
        for a, b in combinations(neighbours, 2):
            sides.setdefault((a, b), len(sides))
        pivots.append(_describe(date, neighbours, sides))
    return Elimination(tuple(pivots), sides, dates)


def _side(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _describe(date: int, neighbours: list[int], sides: dict[tuple[int, int], int]) -> _Pivot:
    first, second = np.triu_indices(len(neighbours), 1)
    changed = [sides[a, b] for a, b in combinations(neighbours, 2)]
    own = [sides[_side(date, one)] for one in neighbours]
    return _Pivot(date, *(np.array(one, np.intp) for one in (neighbours, own, first, second, changed)))


def solve_network(
    phase: NDArray[np.float32], weights: NDArray[np.float32], links: NDArray[np.intp], slope: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve the normal equations for the phases of dates, and for ``slope`` on the right in their place.

    Parameters
    ----------
    phase, weights : (pairs, pixels) float32
        Weights are 0 where there is no value.
    links : (pairs, 2) int
        Earlier and later date of each pair.
    slope : (dates, pixels) float64

    Returns
    -------
    phase, solved : (dates, pixels) float64
        Zero on the first date. Dates that no pair links to it hold numbers without meaning.
    """
    dates, pixels = slope.shape
    plan = plan_elimination(links, dates)
    step = max(_MOST_BYTES // (8 * (len(plan.sides) + 3 * dates)), 64)
    solved = np.zeros((2, dates, pixels))
    for start in range(0, pixels, step):
        part = slice(start, min(start + step, pixels))
        solved[:, 1:, part] = _solve_part(plan, phase[:, part], weights[:, part], links, slope[:, part])[:, 1:]
    return solved[0], solved[1]


def _solve_part(
    plan: Elimination,
    phase: NDArray[np.float32],
    weights: NDArray[np.float32],
    links: NDArray[np.intp],
    slope: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Cholesky's factors of all pixels in step, without roots; (2, dates, pixels)."""
    pixels = phase.shape[1]
    diagonal, across = np.zeros((plan.dates, pixels)), np.zeros((len(plan.sides), pixels))
    right = np.stack([np.zeros_like(slope), slope])
    for (first, second), value, weight in zip(links.tolist(), phase, weights, strict=True):
        weighted = np.where(weight > 0, value * weight, 0)
        diagonal[first] += weight
        diagonal[second] += weight
        right[0, first] -= weighted
        right[0, second] += weighted
        if first:
            across[plan.sides[_side(first, second)]] -= weight
    diagonal += _SPRING * np.maximum(diagonal.max(axis=0), 1e-30)
    for pivot in plan.pivots:
        mine = across[pivot.own]
        share = mine / diagonal[pivot.date]
        diagonal[pivot.neighbours] -= share * mine
        across[pivot.changed] -= share[pivot.first] * mine[pivot.second]
        right[:, pivot.neighbours] -= share * right[:, None, pivot.date]
        across[pivot.own] = share
    for pivot in reversed(plan.pivots):
        known = (across[pivot.own] * right[:, pivot.neighbours]).sum(axis=1)
        right[:, pivot.date] = right[:, pivot.date] / diagonal[pivot.date] - known
    return right
