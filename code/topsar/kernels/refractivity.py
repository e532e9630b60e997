"""The delay that air leaves: refractivity of a weather model's levels, summed up from the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HYDROSTATIC = 0.776
"""K/Pa: k1."""
_WET, _WET_SQUARED = 0.233, 3750.0
"""K/Pa and K²/Pa: k2 without what the density of the air as a whole has already, and k3."""


def integrate_refractivity(
    pressure_pa: NDArray[np.float64],
    temperature_k: NDArray[np.float64],
    vapour_pa: NDArray[np.float64],
    height_m: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Integrate the hydrostatic and the wet delay above each level, one way toward the zenith, metres.

    N = k1·p/T + (k2 - k1·Rd/Rv)·e/T + k3·e/T², 10⁻⁶·∫N dh by trapezoids (Smith and Weintraub, 1953, Proc. IRE 41, "The
    constants in the equation for atmospheric refractive index at radio frequencies"; Bevis et al., 1994, J. Appl.
    Meteorol. 33, "GPS meteorology: mapping zenith wet delays onto precipitable water"). Above the last level there is
    nothing more.

    Parameters
    ----------
    pressure_pa, temperature_k, vapour_pa : (levels, ...) float64
        Total pressure, temperature and partial pressure of water vapour.
    height_m : (levels,) float64
        Rising.
    """
    hydrostatic = _HYDROSTATIC * pressure_pa / temperature_k
    wet = _WET * vapour_pa / temperature_k + _WET_SQUARED * vapour_pa / temperature_k**2
    return _sum_from_top(hydrostatic, height_m), _sum_from_top(wet, height_m)


def _sum_from_top(refractivity: NDArray[np.float64], height_m: NDArray[np.float64]) -> NDArray[np.float64]:
    thick = np.diff(height_m).reshape(-1, *([1] * (refractivity.ndim - 1)))
    layers = 1e-6 * (refractivity[1:] + refractivity[:-1]) / 2 * thick
    total = np.zeros_like(refractivity)
    total[:-1] = np.cumsum(layers[::-1], axis=0)[::-1]
    return total
