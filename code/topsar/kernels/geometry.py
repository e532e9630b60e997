"""Orbits, the ellipsoid, and the two mappings between radar and ground.

Zero-Doppler geometry: a point X is imaged at the time t when it lies at right angles to the velocity,
(X - P(t)) · V(t) = 0, at slant range |X - P(t)|.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.model import Orbit

WGS84_A = 6_378_137.0
"""Semi-major axis, m."""
WGS84_F = 1 / 298.257223563
"""Flattening."""
WGS84_E2 = WGS84_F * (2 - WGS84_F)
"""First eccentricity squared."""

_RUN = 128
"""Length of a run of points, each of which begins its search at the time of the one before."""
_ORBIT_MARGIN_S = 35.0
_ORBIT_DEGREE = 9
_MIN_VECTORS = 5
_ORBIT_REACH_S = 2.0  # up to here beyond the last vector, the series stays within a millimetre of real orbits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrbitArc:
    """A short piece of an orbit as a power series.

    Attributes
    ----------
    epoch : datetime
        Zero of all times given to and returned by this module, UTC.
    origin_s, scale_s : float
        Series variable x = (t - origin_s) / scale_s.
    coefficients : (3, n) float64
        ECEF position in metres, lowest power first.
    """

    epoch: datetime
    origin_s: float
    scale_s: float
    coefficients: NDArray[np.float64]

    def seconds(self, time: datetime) -> float:
        """Seconds of a UTC time since ``epoch``."""
        return (time - self.epoch).total_seconds()

    def position(self, t_s: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """ECEF position in metres, shape (..., 3), at seconds ``t_s`` since ``epoch``."""
        return self._series(t_s, self.coefficients)

    def velocity(self, t_s: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """ECEF velocity in metres per second, shape (..., 3), at seconds ``t_s`` since ``epoch``."""
        powers = np.arange(1, self.coefficients.shape[1])
        return self._series(t_s, self.coefficients[:, 1:] * powers / self.scale_s)

    def _series(self, t_s: NDArray[np.float64] | float, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        x = (np.asarray(t_s, dtype=np.float64) - self.origin_s) / self.scale_s
        value = np.polynomial.polynomial.polyval(x, coefficients.T)
        return np.moveaxis(np.asarray(value, dtype=np.float64), 0, -1)

    def narrow(self, start: datetime, stop: datetime, *, degree: int = 5) -> OrbitArc:
        """Fit a series of lower degree, fast to evaluate and exact to a nanometre over a few seconds.

        Parameters
        ----------
        start, stop : datetime
            Interval that the series serves, UTC.
        degree : int
        """
        first, last = self.seconds(start), self.seconds(stop)
        origin, scale = (first + last) / 2, max((last - first) / 2, 1e-3)
        x = np.cos(np.pi * (np.arange(4 * degree) + 0.5) / (4 * degree))
        fit = np.polynomial.polynomial.polyfit(x, self.position(origin + scale * x), degree)
        return replace(self, origin_s=origin, scale_s=scale, coefficients=np.ascontiguousarray(fit.T))


def fit_orbit(orbit: Orbit, start: datetime, stop: datetime) -> OrbitArc:
    """Fit positions and velocities around [start, stop] by one power series, with ``epoch`` = ``start``.

    A low Earth orbit turns by 0.001 rad/s: over ±50 s a series of degree 9 follows it to well below a millimetre.

    Parameters
    ----------
    orbit : Orbit
        State vectors; at least five within 35 s of the interval. They may end 2 s inside it, as the annotation of
        the oldest products does.
    start, stop : datetime
        Interval of interest, UTC.

    Raises
    ------
    ValueError
        If the vectors do not cover the interval.
    """
    times = orbit.times_s + (orbit.epoch - start).total_seconds()
    last = (stop - start).total_seconds()
    near = (times > -_ORBIT_MARGIN_S) & (times < last + _ORBIT_MARGIN_S)
    first_due, last_due = _ORBIT_REACH_S, last - _ORBIT_REACH_S
    if near.sum() < _MIN_VECTORS or times[near][0] > first_due or times[near][-1] < last_due:
        msg = f"{orbit.name} does not cover {start:%Y-%m-%dT%H:%M:%S} to {stop:%H:%M:%S}"
        raise ValueError(msg)
    t = times[near]
    origin, scale = (t[0] + t[-1]) / 2, (t[-1] - t[0]) / 2
    x = (t - origin) / scale
    degree = min(_ORBIT_DEGREE, 2 * len(t) - 3)
    powers = np.vander(x, degree + 1, increasing=True)
    slopes = np.zeros_like(powers)
    slopes[:, 1:] = powers[:, :-1] * np.arange(1, degree + 1)
    design = np.vstack([powers, slopes])
    values = np.vstack([orbit.positions_m[near], orbit.velocities_m_s[near] * scale])
    fit = np.linalg.lstsq(design, values, rcond=None)[0]
    return OrbitArc(epoch=start, origin_s=origin, scale_s=scale, coefficients=np.ascontiguousarray(fit.T))


def geodetic_to_ecef(
    lat_rad: NDArray[np.float64], lon_rad: NDArray[np.float64], height_m: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Convert WGS84 geodetic coordinates to ECEF metres, (..., 3).

    Parameters
    ----------
    lat_rad, lon_rad : (...) float64
    height_m : (...) float64 or float
        Metres above the ellipsoid.
    """
    sin_lat, cos_lat = np.sin(lat_rad), np.cos(lat_rad)
    normal = WGS84_A / np.sqrt(1 - WGS84_E2 * sin_lat**2)
    x = (normal + height_m) * cos_lat * np.cos(lon_rad)
    y = (normal + height_m) * cos_lat * np.sin(lon_rad)
    z = (normal * (1 - WGS84_E2) + height_m) * sin_lat
    return np.stack([x, y, z], axis=-1)


def ecef_to_geodetic(
    points_m: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Convert ECEF metres (..., 3) to WGS84 latitude, longitude (rad) and height (m).

    Bowring's formula, repeated once: exact to a nanometre near the Earth's surface
    (Bowring, 1976, Survey Review 23, "Transformation from spatial to geographical coordinates").
    """
    x, y, z = np.moveaxis(points_m, -1, 0)
    b = WGS84_A * (1 - WGS84_F)
    rho = np.hypot(x, y)
    beta = np.arctan2(z, rho * (1 - WGS84_F))
    lat = beta
    for _ in range(2):
        lat = np.arctan2(
            z + WGS84_E2 / (1 - WGS84_E2) * b * np.sin(beta) ** 3, rho - WGS84_E2 * WGS84_A * np.cos(beta) ** 3
        )
        beta = np.arctan2((1 - WGS84_F) * np.sin(lat), np.cos(lat))
    sin_lat, cos_lat = np.sin(lat), np.cos(lat)
    normal = WGS84_A / np.sqrt(1 - WGS84_E2 * sin_lat**2)
    height = rho * cos_lat + z * sin_lat - WGS84_A**2 / normal
    return lat, np.arctan2(y, x), height


def up_vector(lat_rad: NDArray[np.float64], lon_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outward unit normal of the ellipsoid in ECEF, (..., 3).

    Parameters
    ----------
    lat_rad, lon_rad : (...) float64
    """
    cos_lat = np.cos(lat_rad)
    return np.stack([cos_lat * np.cos(lon_rad), cos_lat * np.sin(lon_rad), np.sin(lat_rad)], axis=-1)


def line_of_sight(points_m: NDArray[np.float64], satellite_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector (..., 3) from the ground to the satellite in local east, north, up (the cosine of the incidence).

    Parameters
    ----------
    points_m, satellite_m : (..., 3) float64
        ECEF, metres.
    """
    look = satellite_m - points_m
    look /= np.linalg.norm(look, axis=-1, keepdims=True)
    return turn_to_local(points_m, look)


def turn_to_local(points_m: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """East, north and up components (..., 3) of vectors at points.

    Parameters
    ----------
    points_m, vectors : (..., 3) float64
        ECEF.
    """
    lat, lon, _ = ecef_to_geodetic(points_m)
    x, y, z = np.moveaxis(vectors, -1, 0)
    sin_lat, cos_lat, sin_lon, cos_lon = np.sin(lat), np.cos(lat), np.sin(lon), np.cos(lon)
    east = -sin_lon * x + cos_lon * y
    north = -sin_lat * cos_lon * x - sin_lat * sin_lon * y + cos_lat * z
    up = cos_lat * cos_lon * x + cos_lat * sin_lon * y + sin_lat * z
    return np.stack([east, north, up], axis=-1)


@njit(cache=True, nogil=True, inline="always")
def zero_doppler_step(x, y, z, t, origin, scale, coefficients):  # type: ignore[no-untyped-def]
    """One Newton step (s) toward the zero-Doppler time of a point, and vectors at the *old* time.

    These are the vector from the point to the satellite (m) and the velocity (m/s).

    Parameters
    ----------
    x, y, z : float
        The point, ECEF, m.
    t : float
        Time before the step, s.
    origin, scale, coefficients : float, float, (3, n) float64
        See `OrbitArc`.
    """
    u = (t - origin) / scale
    n = coefficients.shape[1] - 1
    px, py, pz = coefficients[0, n], coefficients[1, n], coefficients[2, n]
    vx = vy = vz = ax = ay = az = 0.0
    for k in range(n - 1, -1, -1):
        ax = ax * u + vx
        ay = ay * u + vy
        az = az * u + vz
        vx = vx * u + px
        vy = vy * u + py
        vz = vz * u + pz
        px = px * u + coefficients[0, k]
        py = py * u + coefficients[1, k]
        pz = pz * u + coefficients[2, k]
    dx, dy, dz = px - x, py - y, pz - z
    # derivatives with respect to u; Horner's second pass yields half the second derivative
    f = dx * vx + dy * vy + dz * vz
    slope = vx * vx + vy * vy + vz * vz + 2.0 * (dx * ax + dy * ay + dz * az)
    return -f / slope * scale, dx, dy, dz, vx / scale, vy / scale, vz / scale


@njit(cache=True, nogil=True, inline="always")
def _zero_doppler(x, y, z, guess, origin, scale, coefficients):  # type: ignore[no-untyped-def]
    """Zero-Doppler time of a point and the vector from it to the satellite then; NaN where Newton fails."""
    t = guess
    for _ in range(20):
        step, _, _, _, _, _, _ = zero_doppler_step(x, y, z, t, origin, scale, coefficients)
        t += step
        if abs(step) < 1e-10:
            _, dx, dy, dz, _, _, _ = zero_doppler_step(x, y, z, t, origin, scale, coefficients)
            return t, dx, dy, dz
    return np.nan, np.nan, np.nan, np.nan


@njit(cache=True, nogil=True, parallel=True)
def _geo2rdr(points, origin, scale, coefficients, time, range_m):  # type: ignore[no-untyped-def]
    for run in prange((points.shape[0] + _RUN - 1) // _RUN):
        guess = origin
        for i in range(run * _RUN, min((run + 1) * _RUN, points.shape[0])):
            t, dx, dy, dz = _zero_doppler(points[i, 0], points[i, 1], points[i, 2], guess, origin, scale, coefficients)
            time[i] = t
            range_m[i] = math.sqrt(dx * dx + dy * dy + dz * dz)
            guess = origin if math.isnan(t) else t


def geo2rdr(points_m: NDArray[np.float64], arc: OrbitArc) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Zero-Doppler time and slant range of ground points.

    Parameters
    ----------
    points_m : (..., 3) float64
        ECEF, metres.
    arc : OrbitArc
        Orbit around the time of closest approach.

    Returns
    -------
    time_s, range_m : (...) float64
        Seconds since ``arc.epoch`` and one-way metres; NaN where Newton's iteration did not settle.
    """
    points = np.ascontiguousarray(points_m, dtype=np.float64).reshape(-1, 3)
    time, range_m = np.empty(len(points)), np.empty(len(points))
    _geo2rdr(points, arc.origin_s, arc.scale_s, arc.coefficients, time, range_m)
    return time.reshape(points_m.shape[:-1]), range_m.reshape(points_m.shape[:-1])


@njit(cache=True, nogil=True, parallel=True)
def _sight(points, origin, scale, coefficients, time, range_m, off_nadir, los):  # type: ignore[no-untyped-def]
    minor = WGS84_A * (1.0 - WGS84_F)
    for i in prange(points.shape[0]):
        guess = origin
        for j in range(points.shape[1]):
            x, y, z = points[i, j, 0], points[i, j, 1], points[i, j, 2]
            t, dx, dy, dz = _zero_doppler(x, y, z, guess, origin, scale, coefficients)
            guess = origin if math.isnan(t) else t
            distance = math.sqrt(dx * dx + dy * dy + dz * dz)
            px, py, pz = x + dx, y + dy, z + dz
            along = (dx * px + dy * py + dz * pz) / (distance * math.sqrt(px * px + py * py + pz * pz))
            time[i, j], range_m[i, j], off_nadir[i, j] = t, distance, math.acos(along)
            # the normal of the ellipsoid, as `ecef_to_geodetic` finds it, without angles
            rho = math.sqrt(x * x + y * y)
            reduced = math.sqrt((z * WGS84_A) ** 2 + (rho * minor) ** 2)
            sine, cosine = z * WGS84_A / reduced, rho * minor / reduced
            upward = z + WGS84_E2 / (1.0 - WGS84_E2) * minor * sine**3
            outward = rho - WGS84_E2 * WGS84_A * cosine**3
            length = math.sqrt(upward * upward + outward * outward)
            sin_lat, cos_lat, sin_lon, cos_lon = upward / length, outward / length, y / rho, x / rho
            ux, uy, uz = dx / distance, dy / distance, dz / distance
            aside = cos_lon * ux + sin_lon * uy
            los[0, i, j] = -sin_lon * ux + cos_lon * uy
            los[1, i, j] = -sin_lat * aside + cos_lat * uz
            los[2, i, j] = cos_lat * aside + sin_lat * uz


def find_viewing_geometry(
    points_m: NDArray[np.float64], arc: OrbitArc
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Find how the satellite sees a map of ground points: `geo2rdr` and `line_of_sight` in one pass.

    Parameters
    ----------
    points_m : (rows, columns, 3) float64
        ECEF, metres; neighbours on the ground beside each other, none on the Earth's axis.
    arc : OrbitArc

    Returns
    -------
    time_s, range_m : (rows, columns) float64
        As `geo2rdr` has them.
    off_nadir_rad : (rows, columns) float64
        Angle at the satellite between the point and the Earth's centre.
    los : (3, rows, columns) float32
        East, north, up components of the unit vector to the satellite.
    """
    shape = points_m.shape[:2]
    time, range_m, off_nadir = np.empty(shape), np.empty(shape), np.empty(shape)
    los = np.empty((3, *shape), np.float32)
    _sight(points_m, arc.origin_s, arc.scale_s, arc.coefficients, time, range_m, off_nadir, los)
    return time, range_m, off_nadir, los


def rdr2geo(
    time_s: NDArray[np.float64], range_m: NDArray[np.float64], height_m: NDArray[np.float64] | float, arc: OrbitArc
) -> NDArray[np.float64]:
    """Ground points (..., 3), ECEF metres, at zero-Doppler times, slant ranges and heights, right of the track.

    Newton's iteration on three equations: the range, the zero-Doppler plane, and the ellipsoid raised by the height.

    Parameters
    ----------
    time_s, range_m : (...) float64
        Seconds since ``arc.epoch``, one-way metres.
    height_m : (...) float64 or float
        Metres above WGS84.
    arc : OrbitArc
    """
    time_s, range_m, height = np.broadcast_arrays(time_s, range_m, height_m)
    satellite, velocity = arc.position(time_s), arc.velocity(time_s)
    point = _guess_points(satellite, velocity, range_m, height)
    for _ in range(6):
        look = point - satellite
        lat, lon, above = ecef_to_geodetic(point)
        residual = np.stack([(look**2).sum(-1) - range_m**2, (look * velocity).sum(-1), above - height], axis=-1)
        jacobian = np.stack([2 * look, velocity, up_vector(lat, lon)], axis=-2)
        point = point - np.linalg.solve(jacobian, residual[..., None])[..., 0]
    return point


def _guess_points(
    satellite: NDArray[np.float64],
    velocity: NDArray[np.float64],
    range_m: NDArray[np.float64],
    height_m: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Intersection with a sphere through the sub-satellite ellipsoid."""
    distance = np.linalg.norm(satellite, axis=-1)
    altitude = ecef_to_geodetic(satellite)[2]
    radius = distance - altitude + height_m
    down = -satellite / distance[..., None]
    right = np.cross(down, velocity)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    cos_look = (distance**2 + range_m**2 - radius**2) / (2 * distance * range_m)
    sin_look = np.sqrt(np.clip(1 - cos_look**2, 0, None))
    look = cos_look[..., None] * down + sin_look[..., None] * right
    return np.asarray(satellite + range_m[..., None] * look, dtype=np.float64)


def measure_baseline(points_m: NDArray[np.float64], reference: OrbitArc, secondary: OrbitArc) -> NDArray[np.float64]:
    """Perpendicular baseline seen from ground points; the first of what `measure_baselines` finds.

    Parameters
    ----------
    points_m : (..., 3) float64
        ECEF, metres.
    reference, secondary : OrbitArc
    """
    return measure_baselines(points_m, reference, secondary)[0]


def measure_baselines(
    points_m: NDArray[np.float64], reference: OrbitArc, secondary: OrbitArc
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Perpendicular and parallel baseline seen from ground points, metres, (...).

    The parts of the vector between both satellites at right angles to the line of sight and along it. The first is
    positive where (X - P_ref) × (P_sec - P_ref) points along the flight direction, the second where the secondary is
    nearer to the ground (the signs ISCE2 uses).

    Parameters
    ----------
    points_m : (..., 3) float64
        ECEF, metres.
    reference, secondary : OrbitArc
    """
    time_ref, range_ref = geo2rdr(points_m, reference)
    time_sec, _ = geo2rdr(points_m, secondary)
    satellite = reference.position(time_ref)
    baseline = secondary.position(time_sec) - satellite
    look = points_m - satellite
    across = np.cross(look, baseline)
    along = np.asarray((baseline * look).sum(-1) / range_ref)
    sign = np.sign((across * reference.velocity(time_ref)).sum(-1))
    length = np.sqrt(np.clip((baseline**2).sum(-1) - along**2, 0, None))
    return np.asarray(sign * length, dtype=np.float64), along
