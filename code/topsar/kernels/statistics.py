"""What is estimated from sums of looks, and how sure it is: coherence, its bias, independent looks, phase noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.kernels.mosaic import LookSums
    from topsar.model import Burst, Looks

COHERENCE_LOOKS = 64
"""Fine pixels that a coherence estimate averages at least: fewer overestimate low coherence."""


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
    parts = [sums.cross.real, sums.cross.imag, sums.power_reference, sums.power_secondary]
    if width > 1:
        from scipy.ndimage import uniform_filter

        parts = [uniform_filter(values, width, mode="constant") for values in parts]
    real, imag, first, second = parts
    scale = np.sqrt(first.astype(np.float64) * second)
    value = np.divide(np.hypot(real, imag), scale, out=np.zeros(scale.shape), where=(scale > 0) & (sums.filled > 0))
    return np.asarray(np.clip(value, 0, 1), np.float32)


def coherence_window(looks: Looks) -> int:
    """Side, in output pixels, of the square that an estimate of coherence averages; odd."""
    return math.ceil(math.sqrt(COHERENCE_LOOKS / looks.count)) | 1


def coherence_at_zero(looks: float) -> float:
    """Mean of the coherence estimated over L independent looks where the true coherence is zero.

    Γ(L)·Γ(3/2)/Γ(L + 1/2), near √(π/(4L)) (Touzi, Lopes, Bruniquel and Vachon, 1999, IEEE TGRS 37, "Coherence
    estimation for SAR imagery").
    """
    return math.exp(math.lgamma(looks) + math.lgamma(1.5) - math.lgamma(looks + 0.5))


def independent_looks(burst: Burst, incidence_rad: float, ground_speed_m_s: float, area_m2: float) -> float:
    """Statistically independent looks in a ground area, at least one.

    The area over that of a resolution cell, c/(2 B_r sin θ) by v_g/B_a. The Hamming weighting of coefficient 0.75
    that the products carry, W = 0.75 + 0.25 cos, narrows the noise bandwidth (∫|W|²)²/∫|W|⁴ of each axis.

    Parameters
    ----------
    burst : Burst
        Gives the processed bandwidths.
    incidence_rad : float
        Incidence angle θ.
    ground_speed_m_s : float
        Speed of the beam on the ground, v_g.
    area_m2 : float
        The ground area.
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

    Parameters
    ----------
    gamma : (...) float32
        Coherence γ, 0 to 1.
    looks : float
        Independent looks L.
    """
    value = np.clip(gamma.astype(np.float64), 1e-3, 1 - 1e-9)
    return np.asarray(np.sqrt(1 - value**2) / (value * np.sqrt(2 * looks)), dtype=np.float64)
