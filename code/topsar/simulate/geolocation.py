"""The geolocation grid: where image points lie on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from topsar.kernels.geometry import ecef_to_geodetic, line_of_sight, rdr2geo
from topsar.model import SPEED_OF_LIGHT
from topsar.simulate.tiff import GroundPoint

if TYPE_CHECKING:
    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst
    from topsar.simulate.plan import ProductPlan, SwathPlan

GRID_COLUMNS = 21
"""Points across the swath."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPoint:
    """One point of the geolocation grid."""

    time: datetime
    slant_range_time_s: float
    ground: GroundPoint
    incidence_deg: float
    elevation_deg: float


def find_grid_points(product: ProductPlan, swath: SwathPlan, height_m: float) -> tuple[GridPoint, ...]:
    """Locate the grid: the first line of every burst and the last line of all, on a surface of constant height.

    Parameters
    ----------
    product, swath : ProductPlan, SwathPlan
        The swath and the product it belongs to.
    height_m : float
        Ellipsoidal height of the surface.
    """
    lines = [burst.first_line for burst in swath.bursts] + [swath.lines - 1]
    times = [burst.grid.first_line_time for burst in swath.bursts] + [swath.stop]
    pixels = np.linspace(0, swath.bursts[0].grid.samples - 1, GRID_COLUMNS).astype(int).tolist()
    return tuple(
        point
        for line, time in zip(lines, times, strict=True)
        for point in _locate_line(product.arc, swath.bursts[0], line, time, pixels, height_m)
    )


def _locate_line(
    arc: OrbitArc, burst: Burst, line: int, time: datetime, pixels: list[int], height_m: float
) -> list[GridPoint]:
    range_m = burst.grid.near_range_m + np.array(pixels) * burst.grid.range_spacing_m
    t = np.full(len(pixels), arc.seconds(time))
    points = rdr2geo(t, range_m, height_m, arc)
    lat, lon, _ = (np.degrees(values) for values in ecef_to_geodetic(points))
    satellite = arc.position(t)
    incidence = np.degrees(np.arccos(line_of_sight(points, satellite)[:, 2]))
    look = (points - satellite) / range_m[:, None]
    down = -satellite / np.linalg.norm(satellite, axis=-1, keepdims=True)
    elevation = np.degrees(np.arccos((look * down).sum(-1)))
    return [
        GridPoint(
            time=time,
            slant_range_time_s=float(2 * r / SPEED_OF_LIGHT),
            ground=GroundPoint(
                line=line, pixel=pixel, latitude_deg=float(a), longitude_deg=float(b), height_m=height_m
            ),
            incidence_deg=float(i),
            elevation_deg=float(e),
        )
        for pixel, r, a, b, i, e in zip(pixels, range_m, lat, lon, incidence, elevation, strict=True)
    ]
