"""Whole cycles that unwrapping left wrong, found and repaired by triangles of pairs that do not close."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linprog

from topsar.kernels.registration import find_triangles

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PATTERNS = 200
"""Combinations of open triangles that are solved in one block, the commonest first."""
_ISLAND_COST = 0.3
"""Of a cycle in another component than the reference's, where one is expected; elsewhere a cycle costs 1."""
_TILT = 0.01
"""Costs are tilted by this share, once each way; a solution that depends on it is ambiguous."""


class Triangles(NamedTuple):
    """``sides`` (triangles, 3) are pairs; the third counts negatively. ``loops`` (triangles, pairs) holds the signs."""

    sides: NDArray[np.intp]
    loops: NDArray[np.float64]


class Repair(NamedTuple):
    """``cycles`` (pairs, pixels) to add; ``before`` and ``after`` (pixels,) count triangles that do not close.

    ``closed`` (pairs, pixels) tells which values stand in a triangle that closes.
    """

    cycles: NDArray[np.int8]
    before: NDArray[np.int16]
    after: NDArray[np.int16]
    closed: NDArray[np.bool_]


def list_triangles(links: NDArray[np.intp]) -> Triangles:
    """List the triangles of a network.

    Parameters
    ----------
    links : (pairs, 2) int
        Earlier and later date of each pair.
    """
    numbers = {(int(first), int(second)): number for number, (first, second) in enumerate(links)}
    found = [(numbers[a, b], numbers[b, c], numbers[a, c]) for a, b, c in find_triangles(numbers)]
    sides = np.array(found, np.intp).reshape(-1, 3)
    loops = np.zeros((len(sides), len(links)))
    np.put_along_axis(loops, sides, np.array([1.0, 1.0, -1.0]), axis=1)
    return Triangles(sides, loops)


def repair_cycles(phase: NDArray[np.float32], is_island: NDArray[np.bool_], triangles: Triangles) -> Repair:
    """Find the fewest cycles that close the triangles of each pixel, after Yunjun et al. (2019), section 3.3.

    A pixel stays as it is where several answers are as good as each other, or none is.

    Parameters
    ----------
    phase : (pairs, pixels) float32
        Unwrapped, of little noise; NaN where it is not reliable.
    is_island : (pairs, pixels) bool
        Where cycles may be wrong: the component is not that of the reference.
    triangles : Triangles
    """
    cycles = np.zeros(phase.shape, np.int8)
    known: NDArray[np.bool_] = np.all(np.isfinite(phase)[triangles.sides], axis=1)
    wrong = _count_cycles(phase, known, triangles)
    before = np.count_nonzero(wrong, axis=0).astype(np.int16)
    open_pixels = np.flatnonzero(before)
    if open_pixels.size:
        state = np.concatenate([wrong[:, open_pixels], known[:, open_pixels], is_island[:, open_pixels]]).astype(
            np.int8
        )
        patterns, members, counts = np.unique(state, axis=1, return_inverse=True, return_counts=True)
        members, many = members.reshape(-1), len(triangles.sides)
        for one in np.argsort(-counts)[:MOST_PATTERNS]:
            seen = patterns[many : 2 * many, one].astype(bool)
            costs = np.where(patterns[2 * many :, one] > 0, _ISLAND_COST, 1.0)
            solved = _solve(triangles.loops[seen], patterns[:many, one][seen], costs)
            if solved is not None:
                cycles[:, open_pixels[members == one]] = solved[:, None]
        wrong = _count_cycles(phase + np.float32(2 * np.pi) * cycles, known, triangles)
    closed = np.zeros(phase.shape, bool)
    for sides, is_closed in zip(triangles.sides.tolist(), known & (wrong == 0), strict=True):
        closed[sides] |= is_closed
    return Repair(cycles, before, np.count_nonzero(wrong, axis=0).astype(np.int16), closed)


def _count_cycles(phase: NDArray[np.float32], known: NDArray[np.bool_], triangles: Triangles) -> NDArray[np.int8]:
    """Whole cycles that each triangle fails to close by, (triangles, pixels)."""
    one, two, three = triangles.sides.T
    loop = np.where(known, phase[one] + phase[two] - phase[three], 0)
    return np.clip(np.round(loop / (2 * np.pi)), -100, 100).astype(np.int8)


def _solve(loops: NDArray[np.float64], wrong: NDArray[np.int8], costs: NDArray[np.float64]) -> NDArray[np.int8] | None:
    """The cheapest whole cycles of the pairs that make loops close; None where there is no single answer."""
    tilt = _TILT * np.random.default_rng(0).uniform(-1, 1, costs.size)
    answers = []
    for share in (1 + tilt, 1 - tilt):
        found = linprog(
            np.tile(costs * share, 2), A_eq=np.hstack([loops, -loops]), b_eq=-wrong.astype(np.float64), method="highs"
        )
        if found.status != 0:
            return None
        added, taken = np.split(np.asarray(found.x), 2)
        answers.append(np.round(added - taken))
    is_single = np.array_equal(answers[0], answers[1]) and np.array_equal(loops @ answers[0], -wrong)
    return answers[0].astype(np.int8) if is_single else None
