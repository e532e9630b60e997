"""Averages of noisy cells whose noise is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HUBER = 1.345
"""Deviations from which on a value counts less (95 % efficiency for normal noise)."""
_ROUNDS = 30


class Cells(NamedTuple):
    """Values of cells and their variances, (rows, columns), rad and rad²; NaN where there is none."""

    phase: NDArray[np.float64]
    variance: NDArray[np.float64]


def average_robustly(values: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[float, float]:
    """Average values (n,) with Huber's weights; the mean and its standard error.

    Parameters
    ----------
    values, variance : (n,) float64
        The error grows where values scatter more than their variances say.
    """
    deviation, mean = np.sqrt(variance), float(np.median(values))
    for _ in range(_ROUNDS):
        weight = weigh_robustly((values - mean) / deviation) / variance
        mean = float((weight * values).sum() / weight.sum())
    scatter = 1.4826 * float(np.median(np.abs(values - mean) / deviation))
    return mean, max(scatter, 1.0) / math.sqrt(float(weight.sum()))


def weigh_robustly(deviation: NDArray[np.float64], limit: float = HUBER) -> NDArray[np.float64]:
    """Huber's weights: 1, and less for what deviates by more than a limit.

    Parameters
    ----------
    deviation : float64
        By default in standard deviations.
    limit : float
    """
    return np.asarray(np.minimum(1.0, limit / np.maximum(np.abs(deviation), limit)))
