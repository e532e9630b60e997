"""What is estimated from sums of looks, and how sure it is: coherence, its bias, independent looks, phase noise."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from topsar.kernels.mosaic import LookSums
    from topsar.model import Looks

COHERENCE_LOOKS = 64
"""Fine pixels that a coherence estimate averages at least: fewer overestimate low coherence."""
ALIKE = 3.0
"""Standard deviations that the logarithm of the power of alike neighbours may differ by."""
MOST_EIGENVALUES = 256
"""Of more samples, what an average is worth for the phase and for the intensity differs by less than a per cent."""


def estimate_coherence(sums: LookSums, looks: Looks, independent: float) -> NDArray[np.float32]:
    """Sample coherence |Σ r s*| / √(Σ|r|² Σ|s|²), (rows, columns), 0 to 1; 0 where there is no signal.

    Where an output pixel has fewer than `COHERENCE_LOOKS` fine pixels, the sums of those neighbours are added that are
    as bright: a dark pixel of water would else be given the coherence of its shore.

    Parameters
    ----------
    sums : LookSums
        Mosaicked sums.
    looks : Looks
    independent : float
        Independent looks of an output pixel.
    """
    parts: list[NDArray[Any]] = [sums.cross, sums.power_reference, sums.power_secondary]
    width = find_coherence_window(looks)
    if width > 1:
        from scipy.special import polygamma

        parts = _add_alike(parts, width, math.exp(ALIKE * math.sqrt(2 * polygamma(1, independent))))
    cross, first, second = parts
    scale = np.sqrt(first.astype(np.float64) * second)
    value = np.divide(np.abs(cross), scale, out=np.zeros(scale.shape), where=(scale > 0) & (sums.filled > 0))
    return np.asarray(np.clip(value, 0, 1), np.float32)


def _add_alike(parts: Sequence[NDArray[Any]], width: int, most: float) -> list[NDArray[Any]]:
    """Add to each pixel those of a window around it whose power is not more than ``most`` times larger or smaller."""
    rows, columns = parts[0].shape
    padded = [np.pad(values, width // 2) for values in (*parts, parts[1] + parts[2])]
    power = parts[1] + parts[2]
    totals = [np.zeros_like(values) for values in parts]
    for row, column in np.ndindex(width, width):
        *others, brightness = (values[row : row + rows, column : column + columns] for values in padded)
        alike = (brightness * most >= power) & (brightness <= power * most)
        for total, other in zip(totals, others, strict=True):
            np.add(total, other, out=total, where=alike)
    return totals


def find_coherence_window(looks: Looks) -> int:
    """Side, in output pixels, of the square that an estimate of coherence averages; odd."""
    return math.ceil(math.sqrt(COHERENCE_LOOKS / looks.count)) | 1


def widen_looks(looks: Looks) -> Looks:
    """Fine pixels of an estimate of coherence."""
    width = find_coherence_window(looks)
    return replace(looks, east=width * looks.east, north=width * looks.north)


def coherence_at_zero(looks: float) -> float:
    """Mean of the coherence estimated over L independent looks where the true coherence is zero.

    Γ(L)·Γ(3/2)/Γ(L + 1/2), near √(π/(4L)) (Touzi, Lopes, Bruniquel and Vachon, 1999, IEEE TGRS 37, "Coherence
    estimation for SAR imagery").
    """
    return math.exp(math.lgamma(looks) + math.lgamma(1.5) - math.lgamma(looks + 0.5))


def correlate_speckle(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of the signal at two places that lie some resolution cells (bandwidth times delay) apart, (...).

    Fourier transform of |W|², the Hamming weighting W = 0.75 + 0.25 cos of the products squared.
    """
    terms = zip((0.59375, 0.1875, 0.015625), ((0,), (-1, 1), (-2, 2)), strict=True)
    return np.asarray(sum(share * np.sinc(cells + at) for share, places in terms for at in places)) / 0.59375


def count_looks(looks: Looks, cells: NDArray[np.float64]) -> float:
    """Independent looks of an average, as its variance has them: n² / Σ |ρ|² over the pairs of its n samples.

    Parameters
    ----------
    looks : Looks
        Samples that are averaged.
    cells : (2, 2) float64
        Resolution cells in range and azimuth from a sample to its neighbours in the east and in the north.
    """
    east, north = np.meshgrid(np.arange(1 - looks.east, looks.east), np.arange(1 - looks.north, looks.north))
    pairs = (looks.east - abs(east)) * (looks.north - abs(north))
    correlation = correlate_speckle(east[..., None] * cells[0] + north[..., None] * cells[1]).prod(axis=-1)
    return float(looks.count**2 / (pairs * correlation**2).sum())


def count_phase_looks(looks: Looks, cells: NDArray[np.float64]) -> float:
    """Independent looks of an average, as the noise of its phase has them; the parameters are those of `count_looks`.

    Where samples depend on each other, few looks are worth more for the phase than for the intensity. In the
    eigenvectors of their correlation matrix the noise, given the signal a, has the variance Σ λ²|a|² / (Σ λ|a|²)²; this
    is 1 / (L - 1) for L independent looks, and on average, for eigenvalues λ of unit sum,
    ∫ t Σ λ² / (1 + tλ) · Π 1 / (1 + tλ) dt.

    Parameters
    ----------
    looks : Looks
    cells : (2, 2) float64
    """
    if looks.count > MOST_EIGENVALUES:
        return count_looks(looks, cells)
    north, east = np.divmod(np.arange(looks.count), looks.east)
    apart = (east[:, None] - east)[..., None] * cells[0] + (north[:, None] - north)[..., None] * cells[1]
    value = np.linalg.eigvalsh(correlate_speckle(apart).prod(axis=-1)).clip(0) / looks.count
    logarithm = np.linspace(-12, 12, 481) + math.log(looks.count)
    t = np.exp(logarithm)
    growth = 1 + t[:, None] * value
    integrand = t**2 * (value**2 / growth).sum(axis=1) * np.exp(-np.log(growth).sum(axis=1))
    return 1 + 1 / float(integrand.sum() * (logarithm[1] - logarithm[0]))


def phase_deviation(gamma: NDArray[np.float32], looks: float | NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Standard deviation of multilooked phase, rad (...), from that of no noise to that of random phase, π/√3.

    The exact one of the multilook distribution (Lee, Hoppel, Mango and Miller, 1994, IEEE TGRS 32, "Intensity and phase
    statistics of multilook polarimetric and interferometric SAR imagery"); it is tabulated for looks a tenth apart.

    Parameters
    ----------
    gamma : (...) float32
        Coherence, 0 to 1; NaN stays NaN.
    looks : float or (...) real
        Independent looks.
    """
    from scipy.ndimage import map_coordinates

    if not np.size(gamma):
        return np.empty(np.shape(gamma))
    step = np.log(looks) / _LOOKS_STEP
    first = math.floor(np.min(step))
    table = np.stack([_tabulate_deviation(number) for number in range(first, math.floor(np.max(step)) + 2)])
    angle = np.arccos(np.clip(np.nan_to_num(gamma), 0, 1)) * (len(_ANGLE) - 1) / _ANGLE[-1]
    place = np.stack(np.broadcast_arrays(step - first, angle))
    return np.where(np.isnan(gamma), np.nan, map_coordinates(table, place, order=1, mode="nearest"))


@lru_cache(64)
def _tabulate_deviation(number: int) -> NDArray[np.float64]:
    """Deviation of the phase at each `_ANGLE`, the arc cosine of coherence, for a number of steps of looks.

    Given the reference, the average is a constant with circular Gaussian noise; the ratio of their powers is γ²/(1-γ²)
    times a variable of the distribution Γ(L), over which the variance of the phase is averaged.
    """
    looks = math.exp(number * _LOOKS_STEP)
    spread = 1 / math.sqrt(looks)
    x = math.log(looks) + np.linspace(-12 * spread, 6 * spread, 400)
    weight = np.exp(looks * (x - math.log(looks)) - np.exp(x) + looks)
    with np.errstate(divide="ignore"):
        ratio = x - 2 * np.log(np.tan(_ANGLE))[:, None]
    variance = np.interp(ratio, *_tabulate_variance())
    variance = np.where(ratio > _STRONG, 0.5 * np.exp(-np.maximum(ratio, _STRONG)), variance)
    return np.asarray(np.sqrt(variance @ weight / weight.sum()), np.float64)


@lru_cache(1)
def _tabulate_variance() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithm of a signal-to-noise ratio ρ, and the variance of the phase of a constant in circular Gaussian noise.

    Its density is exp(-ρ)/(2π) + √(ρ/π)/2 · cos φ · exp(-ρ sin² φ) · (1 + erf(√ρ cos φ)).
    """
    from scipy.special import erf

    logarithm, phase = np.linspace(-20, _STRONG, 271), np.linspace(0, np.pi, 2001)
    root = np.exp(logarithm / 2)[:, None]
    toward = root * np.cos(phase)
    lobe = toward * np.exp(-((root * np.sin(phase)) ** 2)) * (1 + erf(toward)) / (2 * math.sqrt(np.pi))
    density = np.exp(-(root**2)) / (2 * np.pi) + lobe
    density[:, [0, -1]] /= 2  # trapezium rule
    return logarithm, (density * phase**2).sum(axis=1) / density.sum(axis=1)


_LOOKS_STEP = 0.1  # of their logarithm
_ANGLE = np.linspace(0, np.pi / 2, 257)
_STRONG = 7.0  # logarithm of the ratio from which on the variance is half its inverse
