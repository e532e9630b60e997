"""Tides of the solid earth: how the pull of Moon and Sun displaces the ground.

IERS Conventions (2010), Technical Note 36, section 7.1.1: degrees 2 and 3, the parts that are out of phase and that
follow latitude (step 1), and what single tides differ by (step 2). The result is *conventional tide free*: the
permanent part is in it. Not in it are pole tide and ocean loading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EARTH_RADIUS_M = 6_378_136.6
MOON_MASS, SUN_MASS = 0.012_300_037_1, 332_946.0482
"""Over that of the Earth."""
_CENTURY_DAYS = 36_525.0
_PHASE_DEG = (
    (218.316_645_63, 481_267.881_94, -0.001_466_388_9, 1.851_39e-6, 0.0),
    (280.466_45, 36_000.769_748_9, 3.032_222_2e-4, 2.0e-8, -6.54e-9),
    (83.353_243_12, 4_069.013_635_25, -0.010_321_722_2, -1.249_91e-5, 5.263e-8),
    (234.955_444_99, 1_934.136_261_97, -0.002_075_611_1, -2.139_44e-6, 1.65e-8),
    (282.937_340_98, 1.719_457_666_67, 4.568_888_9e-4, -1.778e-8, -3.34e-9),
)
"""Longitudes s, h, p, N' and ps in powers of centuries since J2000."""
_PRECESSION_DEG = (0.0, 1.396_971_278, 3.088_89e-4, 2.1e-8, 7e-9)
"""To be added to s."""
_SOLAR_DEG = (280.460_618_4, 36_000.770_053_6, 3.879_3e-4, -2.58e-8, 0.0)
"""Mean longitude of the Sun as sidereal time has it."""
_DIURNAL = np.array(
    (
        (-3, 0, 2, 0, 0, -0.01, 0, 0, 0),
        (-3, 2, 0, 0, 0, -0.01, 0, 0, 0),
        (-2, 0, 1, -1, 0, -0.02, 0, 0, 0),
        (-2, 0, 1, 0, 0, -0.08, 0, -0.01, 0.01),
        (-2, 2, -1, 0, 0, -0.02, 0, 0, 0),
        (-1, 0, 0, -1, 0, -0.10, 0, 0, 0),
        (-1, 0, 0, 0, 0, -0.51, 0, -0.02, 0.03),
        (-1, 2, 0, 0, 0, 0.01, 0, 0, 0),
        (0, -2, 1, 0, 0, 0.01, 0, 0, 0),
        (0, 0, -1, 0, 0, 0.02, 0, 0, 0),
        (0, 0, 1, 0, 0, 0.06, 0, 0, 0),
        (0, 0, 1, 1, 0, 0.01, 0, 0, 0),
        (0, 2, -1, 0, 0, 0.01, 0, 0, 0),
        (1, -3, 0, 0, 1, -0.06, 0, 0, 0),
        (1, -2, 0, -1, 0, 0.01, 0, 0, 0),
        (1, -2, 0, 0, 0, -1.23, -0.07, 0.06, 0.01),
        (1, -1, 0, 0, -1, 0.02, 0, 0, 0),
        (1, -1, 0, 0, 1, 0.04, 0, 0, 0),
        (1, 0, 0, -1, 0, -0.22, 0.01, 0.01, 0),
        (1, 0, 0, 0, 0, 12.00, -0.80, -0.67, -0.03),
        (1, 0, 0, 1, 0, 1.73, -0.12, -0.10, 0),
        (1, 0, 0, 2, 0, -0.04, 0, 0, 0),
        (1, 1, 0, 0, -1, -0.50, -0.01, 0.03, 0),
        (1, 1, 0, 0, 1, 0.01, 0, 0, 0),
        (0, 1, 0, 1, -1, -0.01, 0, 0, 0),
        (1, 2, -2, 0, 0, -0.01, 0, 0, 0),
        (1, 2, 0, 0, 0, -0.11, 0.01, 0.01, 0),
        (2, -2, 1, 0, 0, -0.01, 0, 0, 0),
        (2, 0, -1, 0, 0, -0.02, 0, 0, 0),
    )
)
"""Table 7.3a: multiples of s, h, p, N', ps (of the lunar day: one each); in mm, radial in and out of phase, transverse
in and out of phase."""
_LONG_PERIOD = np.array(
    (
        (0, 0, 0, 1, 0, 0.47, 0.16, 0.23, 0.07),
        (0, 2, 0, 0, 0, -0.20, -0.11, -0.12, -0.05),
        (1, 0, -1, 0, 0, -0.11, -0.09, -0.08, -0.04),
        (2, 0, 0, 0, 0, -0.13, -0.15, -0.11, -0.07),
        (2, 0, 0, 1, 0, -0.05, -0.06, -0.05, -0.03),
    )
)
"""Table 7.3b, with the columns of table 7.3a and no lunar day."""


class _Place(NamedTuple):
    """Points on a sphere: unit vectors up, north and east, (n, 3); sine and cosine of latitude and longitude, (n,)."""

    up: NDArray[np.float64]
    north: NDArray[np.float64]
    east: NDArray[np.float64]
    sin_lat: NDArray[np.float64]
    cos_lat: NDArray[np.float64]
    lon: NDArray[np.float64]


def find_earth_tide(
    points_m: NDArray[np.float64],
    moon_m: NDArray[np.float64],
    sun_m: NDArray[np.float64],
    days_tt: NDArray[np.float64],
    days_ut: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Find by how much tides displace points on the ground, ECEF metres, (n, 3).

    Parameters
    ----------
    points_m, moon_m, sun_m : (n, 3) float64
        ECEF, of the point and of both bodies at its time.
    days_tt, days_ut : (n,) float64
        Days since 2000-01-01 12:00, in terrestrial and in universal time.
    """
    place = _place(points_m)
    moved = np.zeros(points_m.shape)
    for body, mass in ((moon_m, MOON_MASS), (sun_m, SUN_MASS)):
        moved += _follow_body(place, body, mass)
    phase = _find_phases(days_tt, days_ut)
    return moved + _add_diurnal(place, phase) + _add_long_period(place, phase[:, 1:])


def _place(points_m: NDArray[np.float64]) -> _Place:
    up = points_m / np.linalg.norm(points_m, axis=-1, keepdims=True)
    lon, sin_lat = np.arctan2(up[:, 1], up[:, 0]), up[:, 2]
    cos_lat = np.hypot(up[:, 0], up[:, 1])
    sin_lon, cos_lon, nothing = np.sin(lon), np.cos(lon), np.zeros(lon.shape)
    north = np.stack([-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat], axis=-1)
    east = np.stack([-sin_lon, cos_lon, nothing], axis=-1)
    return _Place(up, north, east, sin_lat, cos_lat, lon)


def _follow_body(place: _Place, body_m: NDArray[np.float64], mass: float) -> NDArray[np.float64]:
    """Step 1 for one body: equations 7.5, 7.6 and 7.8 to 7.11."""
    distance = np.linalg.norm(body_m, axis=-1)
    toward = body_m / distance[:, None]
    second = mass * EARTH_RADIUS_M * (EARTH_RADIUS_M / distance) ** 3
    third = second * EARTH_RADIUS_M / distance
    cosine = (toward * place.up).sum(-1)
    aside = toward - cosine[:, None] * place.up
    bend = (3 * place.sin_lat**2 - 1) / 2
    h2, l2 = 0.6078 - 0.0006 * bend, 0.0847 + 0.0002 * bend
    h3, l3 = 0.292, 0.015
    radial = second * h2 * (1.5 * cosine**2 - 0.5) + third * h3 * (2.5 * cosine**3 - 1.5 * cosine)
    transverse = second * l2 * 3 * cosine + third * l3 * (7.5 * cosine**2 - 1.5)
    up, north, east = _lag_behind(place, toward, second)
    return np.asarray(
        (radial + up)[:, None] * place.up
        + transverse[:, None] * aside
        + north[:, None] * place.north
        + east[:, None] * place.east
    )


def _lag_behind(
    place: _Place, toward: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Up, north and east of what is out of phase (7.10, 7.11) or follows latitude (7.8, 7.9), degree 2."""
    sin_lat, cos_lat = place.sin_lat, place.cos_lat
    sin_two, cos_two = 2 * sin_lat * cos_lat, cos_lat**2 - sin_lat**2
    sin_body, cos_body = toward[:, 2], np.hypot(toward[:, 0], toward[:, 1])
    hour = place.lon - np.arctan2(toward[:, 1], toward[:, 0])
    sin_hour, cos_hour, sin_twice, cos_twice = np.sin(hour), np.cos(hour), np.sin(2 * hour), np.cos(2 * hour)
    diurnal, semidiurnal = second * 2 * sin_body * cos_body, second * cos_body**2
    h_diurnal, l_diurnal, h_semidiurnal, l_semidiurnal = -0.0025, -0.0007, -0.0022, -0.0007
    l1_diurnal, l1_semidiurnal = 0.0012, 0.0024
    up = -0.75 * (h_diurnal * diurnal * sin_two * sin_hour + h_semidiurnal * semidiurnal * cos_lat**2 * sin_twice)
    north = (
        -1.5 * l_diurnal * diurnal * cos_two * sin_hour
        + 0.75 * l_semidiurnal * semidiurnal * sin_two * sin_twice
        - 1.5 * l1_diurnal * diurnal * sin_lat**2 * cos_hour
        - 1.5 * l1_semidiurnal * semidiurnal * sin_lat * cos_lat * cos_twice
    )
    east = (
        -1.5 * l_diurnal * diurnal * sin_lat * cos_hour
        - 1.5 * l_semidiurnal * semidiurnal * cos_lat * cos_twice
        + 1.5 * l1_diurnal * diurnal * sin_lat * cos_two * sin_hour
        - 1.5 * l1_semidiurnal * semidiurnal * sin_lat**2 * cos_lat * sin_twice
    )
    return up, north, east


def _find_phases(days_tt: NDArray[np.float64], days_ut: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the mean lunar time and the longitudes s, h, p, N' and ps, (n, 6), rad."""
    centuries = days_tt / _CENTURY_DAYS
    powers = centuries[:, None] ** np.arange(5)
    longitude = powers @ np.array(_PHASE_DEG).T
    longitude[:, 0] += powers @ np.array(_PRECESSION_DEG)
    lunar = 360 * ((days_ut + 0.5) % 1) + powers @ np.array(_SOLAR_DEG) - longitude[:, 0]
    return np.asarray(np.radians(np.column_stack([lunar, longitude]) % 360))


def _add_diurnal(place: _Place, phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equation 7.12."""
    multiples, (up_in, up_out, along_in, along_out) = _DIURNAL[:, :5], _DIURNAL[:, 5:].T * 1e-3
    angle = phase[:, :1] + phase[:, 1:] @ multiples.T + place.lon[:, None]
    sine, cosine = np.sin(angle), np.cos(angle)
    up = (sine @ up_in + cosine @ up_out) * 2 * place.sin_lat * place.cos_lat
    east = (cosine @ along_in - sine @ along_out) * place.sin_lat
    north = (sine @ along_in + cosine @ along_out) * (place.cos_lat**2 - place.sin_lat**2)
    return np.asarray(up[:, None] * place.up + north[:, None] * place.north + east[:, None] * place.east)


def _add_long_period(place: _Place, phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equation 7.13."""
    multiples, (up_in, up_out, along_in, along_out) = _LONG_PERIOD[:, :5], _LONG_PERIOD[:, 5:].T * 1e-3
    angle = phase @ multiples.T
    sine, cosine = np.sin(angle), np.cos(angle)
    up = (cosine @ up_in + sine @ up_out) * (1.5 * place.sin_lat**2 - 0.5)
    north = (cosine @ along_in + sine @ along_out) * 2 * place.sin_lat * place.cos_lat
    return np.asarray(up[:, None] * place.up + north[:, None] * place.north)
