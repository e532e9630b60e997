"""Smooth fields from noisy cells whose noise is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HUBER = 1.345
"""Deviations from which on a value counts less (95 % efficiency for normal noise)."""
STANDS_OUT = 2.5
"""Standard errors that an average must exceed to be taken for the field."""
SURE = 2.0
"""Standard errors from which on an excess of power is believed."""
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


def fit_surface(cells: Cells) -> Cells:
    """Fit a surface of the second order, with Huber's weights; its values and their variances in all cells.

    Parameters
    ----------
    cells : Cells
        At least as many as there are coefficients, six, and not in a line.
    """
    rows, columns = (np.linspace(-1, 1, n) for n in cells.phase.shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=-1)
    known = np.isfinite(cells.phase)
    design, values, variance = terms[known], cells.phase[known], cells.variance[known]
    weight = 1 / variance
    for _ in range(_ROUNDS):
        inverse = np.linalg.pinv(design.T @ (weight[:, None] * design), hermitian=True)
        found = inverse @ (design.T @ (weight * values))
        weight = weigh_robustly((values - design @ found) / np.sqrt(variance)) / variance
    return Cells(terms @ found, np.einsum("...i,ij,...j->...", terms, inverse, terms))


def smooth_adaptively(cells: Cells, widths: Sequence[tuple[float, float]]) -> Cells:
    """Smooth as much as noise asks for, and no more than the field allows.

    A surface of the second order comes first. Then the average of what is left is added, over Gaussians from wide to
    narrow, each where it stands out of its own noise: with the gain 1 - (t s / r)² for an average r of the standard
    error s. What averages of the last remainder have beyond their noise, over the whole scene, was there and was not
    resolved: it counts as error.

    Parameters
    ----------
    cells : Cells
    widths : sequence of (float, float)
        Standard deviations in rows and columns.
    """
    known = np.isfinite(cells.phase)
    weight = np.where(known, 1 / np.where(known, cells.variance, 1), 0)
    phase, variance = fit_surface(cells)
    for width in sorted(widths, reverse=True):
        rest = _average(weight, weight * np.where(known, cells.phase - phase, 0), width)
        noise = STANDS_OUT**2 * rest.variance
        reached = np.isfinite(rest.phase) & (rest.phase**2 > noise)
        gain = np.divide(rest.phase**2 - noise, rest.phase**2, out=np.zeros_like(phase), where=reached)
        phase = phase + gain * np.where(reached, rest.phase, 0)
        variance = (1 - gain) ** 2 * variance + gain**2 * np.where(reached, rest.variance, 0)
    return Cells(phase, variance + _find_unresolved(Cells(cells.phase - phase, cells.variance), widths))


def _find_unresolved(rest: Cells, widths: Sequence[tuple[float, float]]) -> float:
    """Mean square that averages of a remainder have beyond their noise, at the scale that has most; zero if unsure."""
    known = np.isfinite(rest.phase)
    weight = np.where(known, 1 / np.where(known, rest.variance, 1), 0)
    most = 0.0
    for width in widths:
        found = _average(weight, weight * np.where(known, rest.phase, 0), width)
        noise = float(found.variance[known].mean())
        excess = float((found.phase[known] ** 2).mean()) - noise
        places = max(np.count_nonzero(known) / (4 * math.pi * width[0] * width[1]), 1.0)
        if excess > SURE * noise * math.sqrt(2 / places):
            most = max(most, excess)
    return most


def _average(weight: NDArray[np.float64], weighted: NDArray[np.float64], width: tuple[float, float]) -> Cells:
    """Weighted average over a Gaussian, and its variance: the square of a Gaussian is a narrower one."""
    total, spread = (
        gaussian_filter(weight, sigma, mode="constant") for sigma in (width, [side / math.sqrt(2) for side in width])
    )
    reached = total > 1e-6 * weight.max(initial=0.0)
    phase = np.divide(
        gaussian_filter(weighted, width, mode="constant"), total, out=np.full(total.shape, np.nan), where=reached
    )
    variance = np.divide(
        spread / (4 * math.pi * width[0] * width[1]), total**2, out=np.full(total.shape, np.nan), where=reached
    )
    return Cells(phase, variance)
