"""From two geocoded bursts to one interferogram: products, looks, coherence, spectral diversity, mosaic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit, prange
from scipy.ndimage import uniform_filter

from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.model import Burst, Looks

COHERENCE_LOOKS = 64
"""Fine pixels that a coherence estimate averages at least: fewer overestimate low coherence."""


class LookSums(NamedTuple):
    """Sums over the looks of each output pixel, (rows, columns).

    Attributes
    ----------
    cross : complex64
        Σ reference · conj(secondary).
    power_reference, power_secondary : float32
        Σ |reference|², Σ |secondary|².
    filled : int32
        Fine pixels where both dates have signal.
    """

    cross: NDArray[np.complex64]
    power_reference: NDArray[np.float32]
    power_secondary: NDArray[np.float32]
    filled: NDArray[np.int32]

    def cut(self, where: tuple[slice, slice]) -> LookSums:
        """The sums inside a window, as views."""
        return LookSums(self.cross[where], self.power_reference[where], self.power_secondary[where], self.filled[where])

    @classmethod
    def zeros(cls, shape: tuple[int, int]) -> LookSums:
        """Empty sums."""
        return cls(
            np.zeros(shape, np.complex64),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.int32),
        )


@njit(cache=True, nogil=True, parallel=True)
def _cross_multiply(reference, secondary, north, east, cross, power_reference, power_secondary, filled):  # type: ignore[no-untyped-def]
    for row in prange(cross.shape[0]):
        for column in range(cross.shape[1]):
            re = 0.0
            im = 0.0
            first = 0.0
            second = 0.0
            n = 0
            for i in range(row * north, row * north + north):
                for j in range(column * east, column * east + east):
                    a, b = reference[i, j, 0], reference[i, j, 1]
                    c, d = secondary[i, j, 0], secondary[i, j, 1]
                    p = a * a + b * b
                    q = c * c + d * d
                    if 0.0 < p * q < np.inf:
                        re += a * c + b * d
                        im += b * c - a * d
                        first += p
                        second += q
                        n += 1
            cross[row, column] = complex(re, im)
            power_reference[row, column] = first
            power_secondary[row, column] = second
            filled[row, column] = n


def cross_multiply(
    reference: NDArray[np.float32], secondary: NDArray[np.float32], looks: Looks, sums: LookSums
) -> None:
    """Multiply two dates and sum over looks.

    Parameters
    ----------
    reference, secondary : (rows · looks.north, columns · looks.east, 2) float32
        Real and imaginary parts; zero where there is no signal.
    looks : Looks
        Fine pixels per output pixel.
    sums : LookSums
        Arrays of (rows, columns), overwritten.
    """
    cross, power_reference, power_secondary, filled = sums
    _cross_multiply(reference, secondary, looks.north, looks.east, cross, power_reference, power_secondary, filled)


def coherence(sums: LookSums, looks: Looks) -> NDArray[np.float32]:
    """Sample coherence |Σ r s*| / √(Σ|r|² Σ|s|²).

    Where an output pixel has fewer than `COHERENCE_LOOKS` fine pixels, the sums of its neighbours are added.

    Parameters
    ----------
    sums : LookSums
        Mosaicked sums.
    looks : Looks
        Fine pixels per output pixel.

    Returns
    -------
    (rows, columns) float32
        0 to 1; 0 where there is no signal.
    """
    width = math.ceil(math.sqrt(COHERENCE_LOOKS / looks.count)) | 1
    real, imag, first, second = (
        values if width == 1 else uniform_filter(values, width, mode="constant")
        for values in (sums.cross.real, sums.cross.imag, sums.power_reference, sums.power_secondary)
    )
    scale = np.sqrt(first.astype(np.float64) * second)
    value = np.divide(np.hypot(real, imag), scale, out=np.zeros(scale.shape), where=(scale > 0) & (sums.filled > 0))
    return np.clip(value, 0, 1).astype(np.float32)


def independent_looks(burst: Burst, incidence_rad: float, ground_speed_m_s: float, area_m2: float) -> float:
    """Statistically independent looks in a ground area.

    The area over that of a resolution cell, c/(2 B_r sin θ) by v_g/B_a. The Hamming weighting of coefficient 0.75
    that the products carry, W = 0.75 + 0.25 cos, narrows the noise bandwidth (∫|W|²)²/∫|W|⁴ of each axis.
    """
    u = np.linspace(-np.pi, np.pi, 1001)
    power = (0.75 + 0.25 * np.cos(u)) ** 2
    narrowing = float(power.mean() ** 2 / (power**2).mean())
    range_cell = SPEED_OF_LIGHT / (2 * burst.range_bandwidth_hz * narrowing * math.sin(incidence_rad))
    azimuth_cell = ground_speed_m_s / (burst.azimuth_bandwidth_hz * narrowing)
    return max(area_m2 / (range_cell * azimuth_cell), 1.0)


def phase_deviation(gamma: NDArray[np.float32], looks: float) -> NDArray[np.float64]:
    """Standard deviation of multilooked phase, √(1-γ²)/(γ√(2L)), rad.

    Cramér-Rao bound (Rodriguez and Martin, 1992, IEE Proceedings F 139, "Theory and design of interferometric
    synthetic aperture radars").
    """
    value = np.clip(gamma.astype(np.float64), 1e-3, 1 - 1e-9)
    return np.asarray(np.sqrt(1 - value**2) / (value * np.sqrt(2 * looks)), dtype=np.float64)


# --- spectral diversity -----------------------------------------------------------------------------------------


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
    """

    phase: NDArray[np.float64]
    separation_hz: NDArray[np.float64]
    weight: NDArray[np.float64]


class TimingBias(NamedTuple):
    """Azimuth timing of the secondary against the reference, seconds, and how sure it is."""

    seconds: float
    deviation_s: float
    pixels: int


def spectral_diversity(overlaps: list[Overlap]) -> TimingBias | None:
    """Azimuth misregistration from the double differences in burst overlaps.

    Δt = Δφ / (2π Δf_DC), by weighted least squares after removing the mean double difference
    (Prats-Iraola et al., 2012, IEEE TGRS 50, "TOPS interferometry with TerraSAR-X").

    Returns
    -------
    TimingBias or None
        None where no overlap has signal.
    """
    if not overlaps or sum(len(o.phase) for o in overlaps) == 0:
        return None
    phase, separation, weight = (np.concatenate(column) for column in zip(*overlaps, strict=True))
    frequency = 2 * np.pi * separation
    shift = float(np.angle((weight * np.exp(1j * phase)).sum()) / np.average(frequency, weights=weight))
    for _ in range(3):
        residual = np.angle(np.exp(1j * (phase - frequency * shift)))
        information = (weight * frequency**2).sum()
        shift += float((weight * frequency * residual).sum() / information)
    residual = np.angle(np.exp(1j * (phase - frequency * shift)))
    deviation = float(np.sqrt(((weight * frequency * residual) ** 2).sum()) / information)
    return TimingBias(shift, deviation, len(phase))


# --- mosaic -----------------------------------------------------------------------------------------------------


class Mosaic:
    """Bursts laid side by side: each output pixel comes whole from the burst whose edges are farthest away.

    So seams run at mid-overlap, between bursts and between swaths, and no pixel mixes two bursts.
    """

    def __init__(self, shape: tuple[int, int], looks: Looks) -> None:
        self.sums = LookSums.zeros(shape)
        self.burst = np.full(shape, -1, np.int16)
        self._margin = np.zeros(shape, np.float32)
        self._least = max(looks.count // 2, 1)

    def add(self, index: int, sums: LookSums, margin_m: NDArray[np.float32], where: tuple[slice, slice]) -> None:
        """Lay one burst into the window ``where``; ``margin_m`` is each pixel's distance to the burst's edge."""
        better = (sums.filled >= self._least) & (margin_m > self._margin[where])
        self._margin[where][better] = margin_m[better]
        self.burst[where][better] = index
        for whole, part in zip(self.sums, sums, strict=True):
            whole[where][better] = part[better]
