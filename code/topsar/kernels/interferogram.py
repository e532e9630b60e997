"""From two geocoded bursts to one interferogram: products, looks, coherence, mosaic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit, prange
from scipy.ndimage import uniform_filter

from topsar.kernels.half import of_pixels, signal
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


@njit(cache=True, nogil=True, parallel=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def _cross_multiply(reference, secondary, north, east, cross, power_reference, power_secondary, filled):  # type: ignore[no-untyped-def]
    nothing = np.float32(0)
    for row in prange(cross.shape[0]):
        for column in range(cross.shape[1]):
            re = im = first = second = 0.0
            n = 0
            for i in range(row * north, row * north + north):
                # one row of looks at a time, in vectors of singles
                x = y = f = s = nothing
                k = np.int32(0)
                for j in range(column * east, column * east + east):
                    a, b = signal(reference, i, j)
                    c, d = signal(secondary, i, j)
                    p = a * a + b * b
                    q = c * c + d * d
                    both = (p * q > nothing) and (p * q < np.float32(np.inf))
                    x += (a * c + b * d) if both else nothing
                    y += (b * c - a * d) if both else nothing
                    f += p if both else nothing
                    s += q if both else nothing
                    k += np.int32(1) if both else np.int32(0)
                re += float(x)
                im += float(y)
                first += float(f)
                second += float(s)
                n += int(k)
            cross[row, column] = complex(re, im)
            power_reference[row, column] = first
            power_secondary[row, column] = second
            filled[row, column] = n


def cross_multiply(
    reference: NDArray[np.floating], secondary: NDArray[np.floating], looks: Looks, sums: LookSums
) -> None:
    """Multiply two dates and sum over looks.

    Parameters
    ----------
    reference, secondary : (rows · looks.north, columns · looks.east, 2) float16 or float32
        Real and imaginary parts; zero where there is no signal.
    looks : Looks
        Fine pixels per output pixel.
    sums : LookSums
        Arrays of (rows, columns), overwritten.
    """
    cross, power_reference, power_secondary, filled = sums
    blocks = of_pixels(reference), of_pixels(secondary)
    _cross_multiply(*blocks, looks.north, looks.east, cross, power_reference, power_secondary, filled)


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
    width = coherence_window(looks)
    real, imag, first, second = (
        values if width == 1 else uniform_filter(values, width, mode="constant")
        for values in (sums.cross.real, sums.cross.imag, sums.power_reference, sums.power_secondary)
    )
    scale = np.sqrt(first.astype(np.float64) * second)
    value = np.divide(np.hypot(real, imag), scale, out=np.zeros(scale.shape), where=(scale > 0) & (sums.filled > 0))
    return np.clip(value, 0, 1).astype(np.float32)


def coherence_window(looks: Looks) -> int:
    """Output pixels on each side of the square that an estimate of coherence averages."""
    return math.ceil(math.sqrt(COHERENCE_LOOKS / looks.count)) | 1


def coherence_at_zero(looks: float) -> float:
    """What the estimate of a coherence of zero comes to on average, over so many independent looks L.

    Γ(L)·Γ(3/2)/Γ(L + 1/2), near √(π/(4L)) (Touzi, Lopes, Bruniquel and Vachon, 1999, IEEE TGRS 37, "Coherence
    estimation for SAR imagery").
    """
    return math.exp(math.lgamma(looks) + math.lgamma(1.5) - math.lgamma(looks + 0.5))


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
