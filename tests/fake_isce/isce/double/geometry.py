"""Where the pixels lie: zero-Doppler geometry over an ellipsoid at one height, as polynomials."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from .frame import Burst, Frame, seconds_between

Array = Any
MAJOR, MINOR = 6378137.0, 6356752.314245
SQUARE = 1 - (MINOR / MAJOR) ** 2
ORDER = 4
BEYOND = 0.3
"""How far beyond the image the polynomials are fitted, in image sizes."""


def to_geodetic(points: Array) -> tuple[Array, Array, Array]:
    """Latitude and longitude in radians and height in metres of earth-fixed points, shape (..., 3)."""
    x, y, z = np.moveaxis(points, -1, 0)
    flat = np.hypot(x, y)
    angle = np.arctan2(z * MAJOR, flat * MINOR)
    second = (MAJOR / MINOR) ** 2 - 1
    lat = np.arctan2(z + second * MINOR * np.sin(angle) ** 3, flat - SQUARE * MAJOR * np.cos(angle) ** 3)
    radius = MAJOR / np.sqrt(1 - SQUARE * np.sin(lat) ** 2)
    return lat, np.arctan2(y, x), flat / np.cos(lat) - radius


@dataclass(frozen=True)
class Orbit:
    """Positions as polynomials of the seconds since a time."""

    zero: datetime
    scale: float
    position: Array
    velocity: Array

    def at(self, times: Array) -> tuple[Array, Array]:
        scaled = np.asarray(times) / self.scale
        return tuple(np.stack([np.polyval(p, scaled) for p in k], -1) for k in (self.position, self.velocity))  # type: ignore[return-value]


def fit_orbit(burst: Burst) -> Orbit:
    vectors = burst.vectors
    times = np.array([seconds_between(time, burst.start) for time, _, _ in vectors])
    scale = float(np.abs(times).max())
    values = np.array([position for _, position, _ in vectors])
    position = [np.polyfit(times / scale, column, min(len(times) - 1, 7)) for column in values.T]
    return Orbit(burst.start, scale, position, [np.polyder(p) / scale for p in position])


def find_ground(orbit: Orbit, times: Array, ranges: Array, height: float) -> tuple[Array, Array, Array, Array]:
    """Where a right-looking radar sees a height: latitude, longitude, incidence, azimuth (degrees).

    The azimuth is that of the vector from the target to the radar, anti-clockwise from north, less one turn, as
    the real one writes it.
    """
    position, velocity = orbit.at(times)
    along = velocity / np.linalg.norm(velocity, axis=-1, keepdims=True)
    down = -position + np.sum(position * along, -1, keepdims=True) * along
    down /= np.linalg.norm(down, axis=-1, keepdims=True)
    right = np.cross(along, -down)
    angle = np.full(np.shape(ranges), np.radians(35.0))
    for _ in range(10):
        point = position + ranges[..., None] * (np.cos(angle)[..., None] * down + np.sin(angle)[..., None] * right)
        lat, lon, reached = to_geodetic(point)
        up = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
        turn = ranges[..., None] * (-np.sin(angle)[..., None] * down + np.cos(angle)[..., None] * right)
        angle = angle - (reached - height) / np.sum(turn * up, -1)
    sight = (position - point) / ranges[..., None]
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], -1)
    north = np.cross(up, east)
    incidence = np.degrees(np.arccos(np.sum(sight * up, -1)))
    azimuth = np.degrees(np.arctan2(np.sum(sight * north, -1), np.sum(sight * east, -1))) - 90
    return np.degrees(lat), np.degrees(lon), incidence, azimuth


def _powers(x: Array, y: Array) -> Array:
    return np.stack([x**i * y**j for i in range(ORDER + 1) for j in range(ORDER + 1 - i)], -1)


@dataclass(frozen=True)
class Scene:
    """The merged image of some swaths: its grid, and polynomials from it to the ground."""

    start: datetime
    near: float
    interval: float
    spacing: float
    lines: int
    samples: int
    forward: Array
    """Coefficients of latitude, longitude, incidence and azimuth in scaled lines and samples."""

    def look(self, lines: Array, samples: Array) -> Array:
        """Latitude, longitude, incidence and azimuth of pixels, stacked in the last axis."""
        return _powers(2 * lines / self.lines - 1, 2 * samples / self.samples - 1) @ self.forward

    def box(self) -> tuple[float, float, float, float]:
        """South, north, west and east of the image."""
        lat, lon, *_ = np.moveaxis(self.look(*np.meshgrid([0, self.lines], [0, self.samples])), -1, 0)
        return float(lat.min()), float(lat.max()), float(lon.min()), float(lon.max())


def fit_scene(frames: list[Frame], height: float = 0.0) -> Scene:
    """The merged image of all bursts of some swaths."""
    bursts = [burst for frame in frames for burst in frame.bursts]
    first = min(bursts, key=lambda burst: burst.start)
    start, near = first.start, min(burst.near for burst in bursts)
    lines = round(seconds_between(max(burst.stop for burst in bursts), start) / first.interval) + 1
    samples = round((max(burst.far for burst in bursts) - near) / first.spacing) + 1
    grid = np.meshgrid(np.linspace(-1 - BEYOND, 1 + BEYOND, 13), np.linspace(-1 - BEYOND, 1 + BEYOND, 13))
    y, x = (axis.ravel() for axis in grid)
    orbit = fit_orbit(first)
    times, ranges = (y + 1) / 2 * lines * first.interval, near + (x + 1) / 2 * samples * first.spacing
    seen = np.stack(find_ground(orbit, times, ranges, height), -1)
    forward = np.linalg.lstsq(_powers(y, x), seen, rcond=None)[0]
    return Scene(start, near, first.interval, first.spacing, lines, samples, forward)


def find_box(frames: list[Frame]) -> tuple[float, float, float, float]:
    """South, north, west and east of some swaths at any height, with the heights that the real one takes."""
    boxes = np.array([fit_scene([frame], height).box() for frame in frames for height in (-500.0, 9000.0)])
    low, high = boxes.min(0), boxes.max(0)
    return float(low[0]), float(high[1]), float(low[2]), float(high[3])
