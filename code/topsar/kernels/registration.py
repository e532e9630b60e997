"""How far dates lie beside their annotation: spectral diversity of pairs, the network of dates, shifts in range."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from topsar.kernels.statistics import estimate_coherence
from topsar.model import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from topsar.kernels.mosaic import Part
    from topsar.model import Looks

T = TypeVar("T", int, str)

ESD_COHERENCE = 0.4
"""Overlap pixels below this coherence do not vote on the misregistration."""
CELL_PIXELS = 256
"""Fine pixels whose errors may hang together: about ten resolution cells."""
LEAST_PATCHES = 4
"""Fewer patches give no range shift."""
OUTLIER = 5.0
"""Patches further off than this multiple of the deviation are left out."""


class Overlap(NamedTuple):
    """Pixels that two neighbouring bursts share.

    Attributes
    ----------
    phase : (n,) float64
        Phase of the upper times the conjugate of the lower burst's interferogram, rad.
    separation_hz : (n,) float64
        Doppler of the upper minus Doppler of the lower burst.
    weight : (n,) float64
        Coherence of both, squared.
    cell : (n,) int64
        Number of the patch of ground, large against a resolution cell, that a pixel lies in: errors of different
        cells are independent.
    bursts : (int, int)
        Numbers of the upper and the lower burst, or of those of the nearer and the farther swath.
    place : (2, n) int64
        Row and column of each pixel in the output grid; empty where nobody asks.
    """

    phase: NDArray[np.float64]
    separation_hz: NDArray[np.float64]
    weight: NDArray[np.float64]
    cell: NDArray[np.int64]
    bursts: tuple[int, int] = (0, 1)
    place: NDArray[np.int64] = np.empty((2, 0), np.int64)


class TimingBias(NamedTuple):
    """Azimuth timing of the secondary against the reference, seconds, and how sure it is."""

    seconds: float
    deviation_s: float
    pixels: int


def find_overlap(upper: Part, lower: Part, shared: Window, looks: Looks, independent: float) -> Overlap:
    """Form the double difference where two bursts of a swath see the same ground.

    Parameters
    ----------
    upper, lower : Part
        The earlier burst and the one after it.
    shared : Window
        Of the output grid, inside both.
    looks : Looks
        Pixels count whose looks are all filled, and whose coherence is above `ESD_COHERENCE`.
    independent : float
        Independent looks of a pixel.
    """
    parts = []
    for where, sums, doppler in ((one.where, one.sums, one.doppler_hz) for one in (upper, lower)):
        local = replace(shared, row=shared.row - where.row, column=shared.column - where.column).slices
        cut = sums.cut(local)
        parts.append((cut, estimate_coherence(cut, looks, independent), doppler[local]))
    (first, gamma_first, doppler_first), (second, gamma_second, doppler_second) = parts
    votes = (
        (first.filled == looks.count)
        & (second.filled == looks.count)
        & (np.minimum(gamma_first, gamma_second) > ESD_COHERENCE)
    )
    double = first.cross[votes] * np.conj(second.cross[votes])
    side = int(np.ceil(np.sqrt(CELL_PIXELS / looks.count)))
    row, column = np.nonzero(votes)
    return Overlap(
        phase=np.angle(double).astype(np.float64),
        separation_hz=(doppler_first - doppler_second)[votes].astype(np.float64),
        weight=(gamma_first[votes].astype(np.float64) * gamma_second[votes]) ** 2,
        cell=row // side * shared.columns + column // side,
        place=np.stack([shared.row + row, shared.column + column]),
    )


def sum_in_cells(cell: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum values (n,) over the pixels of each cell, in the order of their numbers."""
    return np.bincount(np.unique(cell, return_inverse=True)[1], values).astype(np.float64)


def remove_bias(cross: NDArray[np.complex64], doppler_hz: NDArray[np.float32], seconds: float) -> None:
    """Remove the phase 2π f_DC Δt that an azimuth timing bias leaves in a TOPS interferogram, in place.

    Parameters
    ----------
    cross : (rows, columns) complex64
    doppler_hz : (rows, columns) float32
    seconds : float
        Timing of the secondary against the reference.
    """
    if seconds:
        cross *= np.exp(-2j * np.pi * doppler_hz * seconds).astype(np.complex64)


def measure_timing(overlaps: Sequence[Overlap]) -> TimingBias | None:
    """Azimuth misregistration from the double differences in burst overlaps; None where none of these has signal.

    Δt = Δφ / (2π Δf_DC), by weighted least squares after removing the mean double difference
    (Prats-Iraola et al., 2012, IEEE TGRS 50, "TOPS interferometry with TerraSAR-X"). The standard error is that of
    the residuals, summed over each cell before they are squared, since pixels smaller than a resolution cell err
    together.
    """
    if not overlaps or sum(len(o.phase) for o in overlaps) == 0:
        return None
    phase, separation, weight = (np.concatenate(parts) for parts in list(zip(*overlaps, strict=True))[:3])
    frequency = 2 * np.pi * separation
    shift = float(np.angle((weight * np.exp(1j * phase)).sum()) / np.average(frequency, weights=weight))
    for _ in range(3):
        residual = np.angle(np.exp(1j * (phase - frequency * shift)))
        information = (weight * frequency**2).sum()
        shift += float((weight * frequency * residual).sum() / information)
    pull = weight * frequency * np.angle(np.exp(1j * (phase - frequency * shift)))
    ends = np.cumsum([len(o.phase) for o in overlaps])[:-1]
    cells = np.concatenate(
        [
            sum_in_cells(overlap.cell, part)
            for overlap, part in zip(overlaps, np.split(pull, ends), strict=True)
            if len(part)
        ]
    )
    spread = (cells**2).sum() * len(cells) / max(len(cells) - 1, 1)
    return TimingBias(shift, float(np.sqrt(spread) / information), len(phase))


class NetworkSolution(NamedTuple):
    """One timing per date.

    Attributes
    ----------
    group : (dates,) int64
        Number of the connected group that a date belongs to.
    value, deviation : (dates,) float64
        Timing against the first date of the group, and its standard error; that first date has zero.
    pair_value, pair_deviation : (pairs,) float64
        Secondary minus reference, and its standard error; NaN where measurements do not connect the two dates.
    residual : (pairs,) float64
        Measured minus solved; NaN without measurement.
    """

    group: NDArray[np.int64]
    value: NDArray[np.float64]
    deviation: NDArray[np.float64]
    pair_value: NDArray[np.float64]
    pair_deviation: NDArray[np.float64]
    residual: NDArray[np.float64]


def solve_network(
    dates: int, pairs: NDArray[np.int64], value: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NetworkSolution:
    """Timings of dates from differences measured on pairs of them, by weighted least squares.

    Standard errors follow from those of the measurements. Where the residuals are larger than these allow, all errors
    of that group grow by √(χ²/degrees of freedom).

    Parameters
    ----------
    dates : int
        How many there are.
    pairs : (n, 2) int64
        Reference and secondary.
    value, deviation : (n,) float64
        Secondary minus reference, and its standard error; NaN where nothing was measured.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    known = np.isfinite(value) & np.isfinite(deviation)
    links = coo_array((np.ones(known.sum()), tuple(pairs[known].T)), shape=(dates, dates))
    group = connected_components(links, directed=False)[1].astype(np.int64)
    solved, covariance = np.zeros(dates), np.zeros((dates, dates))
    design = np.zeros((len(pairs), dates))
    design[np.arange(len(pairs)), pairs[:, 0]] = -1
    design[np.arange(len(pairs)), pairs[:, 1]] = 1
    for number in range(int(group.max(initial=-1)) + 1):
        free = np.flatnonzero(group == number)[1:]
        rows = np.flatnonzero(known & (group[pairs[:, 0]] == number))
        if free.size == 0:
            continue
        part, weight = design[np.ix_(rows, free)], 1 / deviation[rows] ** 2
        inverse = np.linalg.inv(part.T @ (weight[:, None] * part))
        solved[free] = inverse @ (part.T @ (weight * value[rows]))
        spare = len(rows) - len(free)
        chi2 = float((weight * (value[rows] - part @ solved[free]) ** 2).sum())
        covariance[np.ix_(free, free)] = inverse * max(chi2 / spare if spare else 1.0, 1.0)
    joined = group[pairs[:, 0]] == group[pairs[:, 1]]
    difference = design @ solved
    return NetworkSolution(
        group=group,
        value=solved,
        deviation=np.sqrt(np.diag(covariance)),
        pair_value=np.where(joined, difference, np.nan),
        pair_deviation=np.where(joined, np.sqrt(np.einsum("ij,jk,ik->i", design, covariance, design)), np.nan),
        residual=np.where(known, value - difference, np.nan),
    )


def find_triangles(edges: Iterable[tuple[T, T]]) -> list[tuple[T, T, T]]:
    """Find dates (a, b, c), in order of time, whose three pairs are among ``edges``, (earlier, later) each."""
    known = set(edges)
    later: dict[T, list[T]] = {}
    for first, second in sorted(known):
        later.setdefault(first, []).append(second)
    return [(a, b, c) for a, after in later.items() for b, c in combinations(after, 2) if (b, c) in known]


class Shift(NamedTuple):
    """Where correlation peaks, how sure that is, and how many patches say so."""

    value: float
    deviation: float
    patches: int


def correlate(reference: NDArray[np.complex64], secondary: NDArray[np.complex64]) -> float:
    """Correlation coefficient of two amplitudes where both have signal; zero without contrast.

    Parameters
    ----------
    reference, secondary : (rows, columns) complex64
        Zero where there is no signal.
    """
    both = (reference != 0) & (secondary != 0)
    if both.sum() < 2:
        return 0.0
    first, second = (np.abs(values[both]).astype(np.float64) for values in (reference, secondary))
    first -= first.mean()
    second -= second.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale > 0 else 0.0


def find_peak(correlations: NDArray[np.float64], step: float) -> Shift | None:
    """Where the correlation of patches peaks: the parabola through three trials, summed over patches.

    The standard error follows from how the patches differ. One that has no peak is left out, and one that is
    `OUTLIER` deviations (by median absolute deviation) off the slope that the median peak would give it. The result is
    None where fewer than `LEAST_PATCHES` remain.

    Parameters
    ----------
    correlations : (patches, 3) float64
        At -``step``, 0 and ``step``.
    step : float
        Distance of trials.
    """
    before, middle, after = correlations.T
    slope, bend = (after - before) / 2, 2 * middle - before - after
    used = (bend > 0) & (middle > 0)
    if used.any():
        away = slope - np.median(slope[used] / bend[used]) * bend
        used &= np.abs(away) <= OUTLIER * 1.4826 * np.median(np.abs(away[used]))
    patches = int(used.sum())
    if patches < LEAST_PATCHES:
        return None
    value = slope[used].sum() / bend[used].sum()
    pull = slope[used] - value * bend[used]
    deviation = np.sqrt((pull**2).sum() * patches / (patches - 1)) / bend[used].sum()
    return Shift(float(value * step), float(deviation * step), patches)
