"""How a pair is seen on a coarse grid at several heights: the geometry cubes of GUNW."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.passes import AROUND
from topsar.formats.gunw.standard import CUBE_STEP_DEG, HEIGHTS_M
from topsar.kernels.geometry import (
    ecef_to_geodetic,
    geo2rdr,
    geodetic_to_ecef,
    line_of_sight,
    measure_baselines,
    up_vector,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.engines.passes import PassFacts
    from topsar.model import BBox

_CELLS_BEYOND = 2
"""A client interpolates: the cubes reach this far beyond the data, whatever side."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cube:
    """Quantities (height, latitude, longitude) float32 by GUNW's names; latitude falls."""

    heights_m: NDArray[np.float64]
    latitude_deg: NDArray[np.floating[Any]]
    longitude_deg: NDArray[np.floating[Any]]
    values: dict[str, NDArray[np.float32]]


def make_cube(reference: PassFacts, secondary: PassFacts, box: BBox) -> Cube:
    """Compute baselines and angles around a box.

    Parameters
    ----------
    reference, secondary : PassFacts
    box : BBox
        Degrees.

    Returns
    -------
    Cube
        ``perpendicularBaseline`` and ``parallelBaseline``, m, as `topsar.kernels.geometry.measure_baselines` has them;
        ``incidenceAngle`` against the ellipsoid's normal on the ground, ``lookAngle`` against it at the satellite;
        ``azimuthAngle`` of the line from the ground to the satellite, anticlockwise from true east, all in degrees.
    """
    first, last = (
        math.floor(box.west / CUBE_STEP_DEG) - _CELLS_BEYOND,
        math.ceil(box.east / CUBE_STEP_DEG) + _CELLS_BEYOND,
    )
    low, high = (
        math.floor(box.south / CUBE_STEP_DEG) - _CELLS_BEYOND,
        math.ceil(box.north / CUBE_STEP_DEG) + _CELLS_BEYOND,
    )
    longitude, latitude = np.arange(first, last + 1) * CUBE_STEP_DEG, np.arange(high, low - 1, -1) * CUBE_STEP_DEG
    heights = np.array(HEIGHTS_M)
    points = place_nodes(heights, latitude, longitude)
    near, far = (one.fit(AROUND) for one in (reference, secondary))
    across, along = measure_baselines(points, near, far)
    time, slant = geo2rdr(points, near)
    satellite = near.position(time)
    view = (points - satellite) / slant[..., None]
    los = line_of_sight(points, satellite)
    below = up_vector(*ecef_to_geodetic(satellite)[:2])
    values = {
        "perpendicularBaseline": across,
        "parallelBaseline": along,
        "incidenceAngle": np.degrees(np.arccos(los[..., 2])),
        "lookAngle": np.degrees(np.arccos(-(view * below).sum(-1))),
        "azimuthAngle": np.degrees(np.arctan2(los[..., 1], los[..., 0])),
    }
    return Cube(
        heights_m=heights,
        latitude_deg=latitude,
        longitude_deg=longitude,
        values={name: value.astype(np.float32) for name, value in values.items()},
    )


def make_tide_cube(one: PassFacts, cube: Cube, wavelength_m: float) -> NDArray[np.float32]:
    """Compute the solid earth tide of a pass at the nodes of a cube, rad, positive toward the satellite.

    Parameters
    ----------
    one : PassFacts
    cube : Cube
    wavelength_m : float
    """
    from topsar.corrections.solid_earth_tide import find_tide

    points = place_nodes(cube.heights_m, cube.latitude_deg, cube.longitude_deg)
    arc = one.fit(AROUND)
    los = line_of_sight(points, arc.position(geo2rdr(points, arc)[0]))
    toward = (find_tide(points, arc) * los).sum(-1)
    return np.asarray(4 * math.pi / wavelength_m * toward, np.float32)


def place_nodes(
    heights_m: NDArray[np.float64], latitude_deg: NDArray[np.floating[Any]], longitude_deg: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Place the nodes of a cube, ECEF, (height, latitude, longitude, 3).

    Parameters
    ----------
    heights_m, latitude_deg, longitude_deg : (n,) float64
    """
    height, lat, lon = np.meshgrid(heights_m, np.radians(latitude_deg), np.radians(longitude_deg), indexing="ij")
    return geodetic_to_ecef(lat, lon, height)
