"""The delay that air leaves: refractivity of a weather model's levels, summed up from the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HYDROSTATIC = 0.776
"""K/Pa: k1."""
_WET, _WET_SQUARED = 0.233, 3750.0
"""K/Pa and K²/Pa: k2 without what the density of the air as a whole has already, and k3."""
_DRY_GAS = 287.05
"""J/(kg·K): gas constant of dry air."""
_VAPOUR_RATIO = 0.622
_SCALE_M = 6500.0
"""Above a level, the centre of the air that is there."""
_LAPSE, _STANDARD_GRAVITY = 0.0065, 9.80665
"""K/m of the standard atmosphere, m/s²."""
_POLES_M, _FLATTENING, _GRAVITY_RATIO = 6_356_752.0, 1 / 298.257223563, 0.00344978650684
_EQUATOR_M_S2, _SOMIGLIANA = 9.7803253359, 0.00193185265241
_FINE_M = np.concatenate([np.arange(-500.0, 10_000, 50), np.arange(10_000.0, 20_000, 100), np.arange(2e4, 1e5, 250)])
CUBE_M = _FINE_M[:191:2]
"""Heights at which columns are summed up, metres: every 100 m to 9000 m."""


def integrate_refractivity(
    pressure_pa: NDArray[np.float64],
    temperature_k: NDArray[np.float64],
    vapour_pa: NDArray[np.float64],
    height_m: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Integrate the hydrostatic and the wet delay above each level, one way toward the zenith, metres.

    N = k1·Rd·ρ + (k2 - k1·Rd/Rv)·e/T + k3·e/T², 10⁻⁶·∫N dh by trapezoids (Davis et al., 1985, Radio Sci. 20, "Geodesy
    by radio interferometry: effects of atmospheric modeling errors on estimates of baseline length"; Bevis et al.,
    1994, J. Appl. Meteorol. 33, "GPS meteorology: mapping zenith wet delays onto precipitable water"). The density ρ is
    that of moist air: with k1·p/T in its place vapour would be counted twice, 2 % of the wet delay. Above the last
    level there is nothing more.

    Parameters
    ----------
    pressure_pa, temperature_k, vapour_pa : (levels, ...) float64
        Total pressure, temperature and partial pressure of water vapour.
    height_m : (levels,) float64
        Rising.
    """
    hydrostatic = _HYDROSTATIC * (pressure_pa - (1 - _VAPOUR_RATIO) * vapour_pa) / temperature_k
    wet = _WET * vapour_pa / temperature_k + _WET_SQUARED * vapour_pa / temperature_k**2
    return _sum_from_top(hydrostatic, height_m), _sum_from_top(wet, height_m)


def _sum_from_top(refractivity: NDArray[np.float64], height_m: NDArray[np.float64]) -> NDArray[np.float64]:
    thick = np.diff(height_m).reshape(-1, *([1] * (refractivity.ndim - 1)))
    layers = 1e-6 * (refractivity[1:] + refractivity[:-1]) / 2 * thick
    total = np.zeros_like(refractivity)
    total[:-1] = np.cumsum(layers[::-1], axis=0)[::-1]
    return total


def find_normal_gravity(latitude_deg: NDArray[Any], height_m: NDArray[Any]) -> NDArray[np.float64]:
    """Find the gravity of the WGS84 ellipsoid, m/s² (Somigliana; Hofmann-Wellenhof and Moritz, 2006, eq. 2-215).

    Parameters
    ----------
    latitude_deg, height_m : (...) float64
        Broadcast against each other; height above the ellipsoid.
    """
    square = np.sin(np.radians(latitude_deg)) ** 2
    ground = _EQUATOR_M_S2 * (1 + _SOMIGLIANA * square) / np.sqrt(1 - 0.00669437999014 * square)
    axis = _POLES_M / (1 - _FLATTENING)
    slope = 2 / axis * (1 + _FLATTENING + _GRAVITY_RATIO - 2 * _FLATTENING * square)
    return np.asarray(ground * (1 - slope * height_m + 3 / axis**2 * height_m**2))


def convert_geopotential(latitude_deg: NDArray[Any], height_m: NDArray[Any]) -> NDArray[np.float64]:
    """Convert geopotential heights to geometric ones, both above the geoid, metres.

    The work against normal gravity, g·h·(1 - h/r) with the r at which gravity falls as it does there, is that against
    9.80665 m/s² over the geopotential height (Mahoney, 2001, "A discussion of various measures of altitude").

    Parameters
    ----------
    latitude_deg, height_m : (...) float64
        Broadcast against each other.
    """
    square = np.sin(np.radians(latitude_deg)) ** 2
    ground = find_normal_gravity(latitude_deg, np.zeros_like(latitude_deg))
    radius = _POLES_M / (1 - _FLATTENING) / (1 + _FLATTENING + _GRAVITY_RATIO - 2 * _FLATTENING * square)
    work = _STANDARD_GRAVITY / ground
    return np.asarray(work * radius * height_m / (radius - work * height_m))


def integrate_columns(
    pressure_pa: NDArray[Any],
    temperature_k: NDArray[Any],
    humidity: NDArray[Any],
    height_m: NDArray[Any],
    latitude_deg: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Integrate the hydrostatic and the wet zenith delay of columns of air above each of `CUBE_M`, metres.

    Between levels temperature, specific humidity and the logarithm of pressure are linear in height. Below the lowest
    the air is that of the standard atmosphere, as humid as there; the air above the highest has the delay of its
    weight, k1·Rd/g times its pressure (Saastamoinen, 1972, Geophys. Monogr. 15).

    Parameters
    ----------
    pressure_pa, temperature_k, humidity : (levels, n) float
        Specific humidity, kg/kg.
    height_m : (levels, n) float
        Geometric, rising.
    latitude_deg : (n,) float

    Returns
    -------
    (heights, n) float64, (heights, n) float64
    """
    top = height_m[-1].min()
    fine = np.append(_FINE_M[top > _FINE_M], top)
    given = zip(pressure_pa.T, temperature_k.T, humidity.T, height_m.T, strict=True)
    columns = zip(*(_lay_column(fine, *column) for column in given), strict=True)
    pressure, temperature, vapour = (np.stack(part, axis=-1) for part in columns)
    hydrostatic, wet = integrate_refractivity(pressure, temperature, vapour, fine)
    centre = np.full(latitude_deg.shape, top + _SCALE_M)
    above = 1e-6 * _HYDROSTATIC * _DRY_GAS / find_normal_gravity(latitude_deg, centre)
    wanted = slice(0, 2 * CUBE_M.size - 1, 2)
    return hydrostatic[wanted] + above * pressure[-1], wet[wanted]


def _lay_column(
    fine_m: NDArray[np.float64],
    pressure_pa: NDArray[Any],
    temperature_k: NDArray[Any],
    humidity: NDArray[Any],
    height_m: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Pressure, temperature and vapour pressure of a column at other heights."""
    below = np.maximum(height_m[0] - fine_m, 0.0)
    warmer = temperature_k[0] + _LAPSE * below
    temperature = np.interp(fine_m, height_m, temperature_k) + _LAPSE * below
    deeper = (warmer / temperature_k[0]) ** (_STANDARD_GRAVITY / (_DRY_GAS * _LAPSE))
    pressure = np.exp(np.interp(fine_m, height_m, np.log(pressure_pa))) * deeper
    share = np.interp(fine_m, height_m, humidity)
    return pressure, temperature, pressure * share / (_VAPOUR_RATIO + (1 - _VAPOUR_RATIO) * share)
