"""A repeating sun-synchronous orbit in closed form.

Earth-fixed positions are smooth functions of time with exact derivatives, so that vectors every ten seconds can be
interpolated. Radius and libration follow Sentinel-1's: frozen eccentricity, and the main term of the oblateness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from topsar.kernels.geometry import OrbitArc, ecef_to_geodetic, fit_orbit, line_of_sight, rdr2geo
from topsar.model import Direction, Orbit, OrbitSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

CYCLE_ORBITS = 175
CYCLE_DAYS = 12
ORBIT_PERIOD_S = CYCLE_DAYS * 86400 / CYCLE_ORBITS
"""Nodal period: 175 revolutions in twelve days."""

_INCLINATION = math.radians(98.1804)
_MOTION = 2 * math.pi / ORBIT_PERIOD_S
_NODE_DRIFT = -2 * math.pi / 86400
_RADIUS = (7_075_396.0, -8_354.0, 1_541.5)  # constant, sin v, cos 2v
_LIBRATION = (-2.358e-3, 9.07e-5)  # cos v, sin 2v
_NODE_HOUR = 18.0  # local solar time of the ascending node
_VECTOR_STEP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One flight along the track.

    Attributes
    ----------
    epoch : datetime
        Zero of the times below.
    anomaly_rad, node_rad : float
        Mean argument of latitude and Earth-fixed longitude of the node at ``epoch``.
    radial_m, normal_m : float
        Constant offset from the reference track, outward and along the orbit normal.
    """

    epoch: datetime
    anomaly_rad: float
    node_rad: float
    radial_m: float = 0.0
    normal_m: float = 0.0

    def state(self, t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """ECEF position (..., 3) in metres and velocity in m/s at seconds ``t_s`` since ``epoch``."""
        t = np.asarray(t_s, dtype=np.float64)
        v = self.anomaly_rad + _MOTION * t
        u = v + _LIBRATION[0] * np.cos(v) + _LIBRATION[1] * np.sin(2 * v)
        u_dot = _MOTION * (1 - _LIBRATION[0] * np.sin(v) + 2 * _LIBRATION[1] * np.cos(2 * v))
        r = _RADIUS[0] + _RADIUS[1] * np.sin(v) + _RADIUS[2] * np.cos(2 * v) + self.radial_m
        r_dot = _MOTION * (_RADIUS[1] * np.cos(v) - 2 * _RADIUS[2] * np.sin(2 * v))
        cos_u, sin_u = np.cos(u), np.sin(u)
        plane = np.stack([r * cos_u, r * sin_u, np.full_like(t, self.normal_m)], axis=-1)
        plane_dot = np.stack(
            [r_dot * cos_u - r * sin_u * u_dot, r_dot * sin_u + r * cos_u * u_dot, np.zeros_like(t)], axis=-1
        )
        node = self.node_rad + _NODE_DRIFT * t
        position = _turn_plane(plane, node)
        velocity = _turn_plane(plane_dot, node)
        velocity[..., 0] -= _NODE_DRIFT * position[..., 1]
        velocity[..., 1] += _NODE_DRIFT * position[..., 0]
        return position, velocity

    @property
    def node_time(self) -> datetime:
        """When the satellite last crossed the equator northward before ``epoch``."""
        anomaly = self.anomaly_rad % (2 * math.pi)
        at_node = brentq(lambda v: v + _LIBRATION[0] * math.cos(v) + _LIBRATION[1] * math.sin(2 * v), -0.1, 0.1)
        return self.epoch - timedelta(seconds=(anomaly - at_node) / _MOTION)

    def make_orbit(self, start: datetime, stop: datetime) -> Orbit:
        """State vectors every ten seconds from ``start`` (UTC) until past ``stop``, rounded as in orbit files.

        Parameters
        ----------
        start, stop : datetime
            UTC; the first vector lies at ``start``.
        """
        count = math.ceil((stop - start).total_seconds() / _VECTOR_STEP_S) + 1
        times = np.arange(count, dtype=np.float64) * _VECTOR_STEP_S
        position, velocity = self.state(times + (start - self.epoch).total_seconds())
        return Orbit(
            source=OrbitSource.PRECISE,
            name="simulated",
            epoch=start,
            times_s=times,
            positions_m=np.round(position, 6),
            velocities_m_s=np.round(velocity, 6),
        )

    def fit_arc(self, start: datetime, stop: datetime) -> OrbitArc:
        """Fit the orbit over [``start``, ``stop``] (UTC) as a reader of the orbit file does.

        Parameters
        ----------
        start, stop : datetime
        """
        first = (start - timedelta(seconds=60)).replace(microsecond=0)
        return fit_orbit(self.make_orbit(first, stop + timedelta(seconds=60)), start, stop)

    def find_incidence_rad(self, range_m: float) -> float:
        """Find the incidence angle on the ellipsoid at a slant range, as seen at ``epoch``."""
        return math.acos(float(line_of_sight(_find_ground(self, range_m), self.state(np.zeros(1))[0])[0, 2]))


def _turn_plane(plane: NDArray[np.float64], node: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (..., 3) of the orbital plane, Earth-fixed: tilted by the inclination, then turned to the node."""
    x, y, z = np.moveaxis(plane, -1, 0)
    cos_i, sin_i = math.cos(_INCLINATION), math.sin(_INCLINATION)
    cos_n, sin_n = np.cos(node), np.sin(node)
    y, z = cos_i * y - sin_i * z, sin_i * y + cos_i * z
    return np.stack([cos_n * x - sin_n * y, sin_n * x + cos_n * y, z], axis=-1)


def _find_ground(track: Pass, range_m: float) -> NDArray[np.float64]:
    """The point (1, 3) of the ellipsoid at a slant range, seen at the epoch."""
    return rdr2geo(np.zeros(1), np.array([range_m]), 0.0, track.fit_arc(track.epoch, track.epoch))


def list_vectors(orbit: Orbit) -> list[tuple[datetime, list[float], list[float]]]:
    """Time, position (m) and velocity (m/s) of each state vector."""
    times = [orbit.epoch + timedelta(seconds=float(t)) for t in orbit.times_s]
    return list(zip(times, orbit.positions_m.tolist(), orbit.velocities_m_s.tolist(), strict=True))


def find_pass(centre: tuple[float, float], range_m: float, direction: Direction, day: datetime) -> Pass:
    """Find the pass that sees a place on its right; ``epoch`` is the time of closest approach.

    Parameters
    ----------
    centre : (float, float)
        Latitude and longitude of the place, degrees.
    range_m : float
        Its slant range.
    direction : Direction
    day : datetime
        Midnight; the time of day is that of a dusk-dawn orbit.
    """
    latitude, longitude = (math.radians(value) for value in centre)

    def locate(anomaly: float) -> tuple[float, float]:
        trial = Pass(epoch=day, anomaly_rad=anomaly, node_rad=0.0)
        lat, lon, _ = ecef_to_geodetic(_find_ground(trial, range_m))
        return float(lat[0]), float(lon[0])

    low, high = (-1.4, 1.4) if direction is Direction.ASCENDING else (math.pi - 1.4, math.pi + 1.4)
    anomaly = brentq(lambda v: locate(v)[0] - latitude, low, high, xtol=1e-9)
    node = longitude - locate(anomaly)[1]
    hour = (_NODE_HOUR - math.degrees(node) / 15) % 24
    epoch = day + timedelta(milliseconds=round(hour * 3.6e6))
    return Pass(epoch=epoch, anomaly_rad=anomaly, node_rad=node)


def displace_pass(nominal: Pass, epoch: datetime, baseline_m: float, range_m: float) -> Pass:
    """Find the same pass on another day, displaced at right angles to the line of sight.

    Parameters
    ----------
    nominal : Pass
        The reference track.
    epoch : datetime
        Time of closest approach.
    baseline_m : float
        Distance, positive where (ground - nominal) × (this - nominal) points along the flight direction.
    range_m : float
        Slant range of the ground.
    """
    point = _find_ground(nominal, range_m)
    satellite, velocity = nominal.state(np.zeros(1))
    outward = satellite / np.linalg.norm(satellite)
    normal = np.cross(outward, velocity)
    normal /= np.linalg.norm(normal)
    look = (point - satellite) / np.linalg.norm(point - satellite)
    down, left = -float((look * outward).sum()), float((look * normal).sum())
    length = math.hypot(down, left)
    # along (outward, normal) the look is (-down, left), and (left, down) lies at right angles to it
    return replace(nominal, epoch=epoch, radial_m=baseline_m * left / length, normal_m=baseline_m * down / length)
