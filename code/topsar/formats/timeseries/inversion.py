"""From the phases of pairs to the displacement of dates: weighted least squares, pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.formats.timeseries.elimination import solve_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAYS_PER_YEAR = 365.25


class Series(NamedTuple):
    """``phase`` (dates, pixels) float64 in radians, zero on the first date, NaN on dates that no pair links to it.

    ``coherence`` is the temporal coherence |Σ exp(j r)| / n of the residuals r of a pixel's pairs, ``residual`` their
    root mean square in radians; (pixels,).
    """

    phase: NDArray[np.float64]
    coherence: NDArray[np.float32]
    residual: NDArray[np.float32]
    slope_variance: NDArray[np.float64]


class Trend(NamedTuple):
    """Slope per year of a series, and its standard error from the scatter about the line; (pixels,)."""

    slope: NDArray[np.float64]
    deviation: NDArray[np.float64]


def invert(
    phase: NDArray[np.float32],
    weights: NDArray[np.float32],
    links: NDArray[np.intp],
    days: NDArray[np.float64],
    given: NDArray[np.float64] | None = None,
) -> Series:
    """Solve for the phase of each date (Berardino et al. 2002, with weights): minimise Σ w (φ_later − φ_earlier − φ)².

    Noise of the pairs adds up along the series like a random walk, so that the scatter about a line says too little
    of the error of its slope h · φ: ``slope_variance`` is hᵀ C h, with the covariance C of the solution.

    Parameters
    ----------
    phase : (pairs, pixels) float32
        Later minus earlier date, in radians.
    weights : (pairs, pixels) float32
        One over variance; 0 where there is no value.
    links : (pairs, 2) int
        Earlier and later date of each pair.
    days : (dates,) float64
    given : (dates, pixels) float64, optional
        The phase of each date by another engine: coherence and residual are then those of its solution.
    """
    dates = int(links.max()) + 1
    reached = find_reached(weights > 0, links, dates)
    slope = _weigh_dates(reached, days)
    solved, solved_slope = solve_network(phase, weights, links, slope)
    variance = np.einsum("ij,ij->j", slope, solved_slope)
    solved = solved if given is None else given.copy()
    solved[~reached] = np.nan
    solved[:, reached.sum(axis=0) < 2] = np.nan
    variance[np.isnan(solved).all(axis=0)] = np.nan
    known = np.isfinite(solved)
    used = (weights > 0) & known[links[:, 0]] & known[links[:, 1]]
    coherence, rms = _judge(phase, used, solved, links)
    return Series(solved, coherence, rms, variance)


def _judge(
    phase: NDArray[np.float32], used: NDArray[np.bool_], solved: NDArray[np.float64], links: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Temporal coherence and root mean square of the residuals; pair by pair, for all together fill the memory."""
    cosines, sines, squares = (np.zeros(phase.shape[1], np.float32) for _ in range(3))
    for (first, second), value, is_used in zip(links.tolist(), phase, used, strict=True):
        residual = np.where(is_used, value - (solved[second] - solved[first]), 0).astype(np.float32)
        cosines += np.where(is_used, np.cos(residual), 0)
        sines += np.sin(residual)
        squares += residual**2
    count = np.where(used.any(axis=0), used.sum(axis=0), np.nan).astype(np.float32)
    return np.asarray(np.hypot(cosines, sines) / count), np.asarray(np.sqrt(squares / count))


def _weigh_dates(reached: NDArray[np.bool_], days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the dates in the slope per year of a line through them, (dates, pixels); 0 where there is none."""
    count = np.maximum(reached.sum(axis=0), 1)
    years = np.where(reached, (days / DAYS_PER_YEAR)[:, None], 0)
    time = np.where(reached, years - years.sum(axis=0) / count, 0)
    moment = (time**2).sum(axis=0)
    return np.where(reached, time / np.where(moment > 0, moment, np.inf), 0)


def find_reached(used: NDArray[np.bool_], links: NDArray[np.intp], dates: int) -> NDArray[np.bool_]:
    """Find which dates the pairs of a pixel link to the first one, (dates, pixels).

    Parameters
    ----------
    used : (pairs, pixels) bool
    links : (pairs, 2) int
        Earlier and later date of each pair.
    dates : int
        How many there are.
    """
    reached = np.zeros((dates, used.shape[1]), bool)
    reached[0] = True
    pairs, known = list(zip(links.tolist(), used, strict=True)), 0
    while known < (known := int(np.count_nonzero(reached))):
        for (first, second), is_used in (*pairs, *reversed(pairs)):
            both = is_used & (reached[first] | reached[second])
            reached[first] |= both
            reached[second] |= both
    return reached


def fit_trend(series: NDArray[np.float64], days: NDArray[np.float64]) -> Trend:
    """Fit a line to each series; a pixel with fewer than three dates has none.

    Parameters
    ----------
    series : (dates, pixels) float64
        NaN where a date has no value.
    days : (dates,) float64
    """
    known = np.isfinite(series)
    count = np.where(known.sum(axis=0) >= 3, known.sum(axis=0), np.nan)
    weights, values = _weigh_dates(known, days), np.where(known, series, 0)
    slope = np.where(count > 0, (weights * values).sum(axis=0), np.nan)
    time = weights / np.maximum((weights**2).sum(axis=0), 1e-30)
    scatter = np.where(known, values - values.sum(axis=0) / count - slope * time, np.nan)
    freedom = np.where(count > 2, count - 2, np.nan)
    deviation = np.sqrt(np.nansum(scatter**2, axis=0) / freedom * (weights**2).sum(axis=0))
    return Trend(slope, deviation)


def find_outliers(
    moments: NDArray[np.float64], days: NDArray[np.float64], most: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Find dates that scatter about the lines through the other dates; the worst is taken out first, then anew.

    Parameters
    ----------
    moments : (dates, dates) float64
        Mean products of the displacements of two dates, over pixels.
    days : (dates,) float64
    most : float
        A date is an outlier that scatters more than so many times the median of the rest.

    Returns
    -------
    scatter : (dates,) float64
        Root mean square about the lines, in units of the displacements.
    is_outlying : (dates,) bool
        At most a third of the dates.
    """
    design = np.stack([np.ones_like(days), days], axis=1)
    is_outlying = np.zeros(days.size, bool)
    while True:
        fit = np.zeros((2, days.size))
        fit[:, ~is_outlying] = np.linalg.pinv(design[~is_outlying])
        about = np.eye(days.size) - design @ fit
        scatter = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", about, moments, about), 0))
        worst = int(np.argmax(np.where(is_outlying, -1, scatter)))
        limit = most * float(np.median(scatter[~is_outlying]))
        if scatter[worst] <= limit or 3 * (is_outlying.sum() + 1) > days.size:
            return scatter, is_outlying
        is_outlying[worst] = True
