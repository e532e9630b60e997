"""Perpendicular baselines of dates, from those of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date


def solve_baselines(edges: Sequence[tuple[date, date, float | None]]) -> dict[date, float]:
    """Perpendicular baseline of every date relative to the first, from those of pairs (least squares, smallest norm).

    Where a pair's is None it is not known.
    """
    dates = sorted({day for first, second, _ in edges for day in (first, second)})
    known = [(first, second, value) for first, second, value in edges if value is not None]
    design = np.zeros((len(known) or 1, len(dates)))
    observed = np.zeros(len(known) or 1)
    for row, (first, second, value) in enumerate(known):
        design[row, dates.index(first)] -= 1
        design[row, dates.index(second)] += 1
        observed[row] = value
    solution = np.linalg.lstsq(design, observed, rcond=None)[0]
    return {day: float(value - solution[0]) for day, value in zip(dates, solution, strict=True)}
