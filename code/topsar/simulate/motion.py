"""What moves phases: a Mogi source, a fault, and the atmosphere, as slant range change of every node and pass.

The ionosphere is told apart: it delays the group and advances the phase.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import RectBivariateSpline

from topsar.kernels.geometry import geo2rdr, geodetic_to_ecef, line_of_sight
from topsar.simulate.terrain import draw_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.simulate.plan import ProductPlan
    from topsar.simulate.recipe import Recipe
    from topsar.simulate.terrain import Terrain

_POISSON = 0.25
_FAULT_STRIKE_RAD = math.radians(25.0)
_MOGI_PLACE = (0.5, 0.42)  # in the frame, from the north and from the west
_FAULT_PLACE = (0.35, 0.6)
_FAULT_LENGTH_SHARE = 0.35  # of the frame's height
_FAULT_FADE = 3.0  # locking depths over which the far field fades, so that nothing tilts the frame
_TURBULENCE_EXPONENT = 11 / 3
_TURBULENCE_BAND_M = (600.0, 30_000.0)
_IONOSPHERE_BAND_M = (5_000.0, 60_000.0)
_LATTICE = 48


def displace_mogi(
    east_m: NDArray[np.float64], north_m: NDArray[np.float64], *, volume_m3: float, depth_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Surface displacement (east, north, up; m) of a point source of volume change in an elastic half-space.

    Mogi (1958), Bulletin of the Earthquake Research Institute 36.

    Parameters
    ----------
    east_m, north_m : (...) float64
        Place relative to the source.
    volume_m3, depth_m : float
        Volume change and depth of the source.
    """
    distance3 = (east_m**2 + north_m**2 + depth_m**2) ** 1.5
    scale = (1 - _POISSON) / math.pi * volume_m3 / distance3
    return scale * east_m, scale * north_m, scale * depth_m


def displace_fault(
    across_m: NDArray[np.float64], along_m: NDArray[np.float64], *, slip_m: float, depth_m: float, length_m: float
) -> NDArray[np.float64]:
    """Displacement along strike (m) of a vertical strike-slip fault locked above ``depth_m``.

    u = s/π · arctan(x/D) (Savage and Burford, 1973, Journal of Geophysical Research 78), faded smoothly beyond the
    fault's length and away from it.

    Parameters
    ----------
    across_m, along_m : (...) float64
        Place relative to the middle of the fault.
    slip_m, depth_m, length_m : float
        Slip s, locking depth D, and length of the fault.
    """
    fade = np.exp(-((2 * along_m / length_m) ** 4) - (across_m / (_FAULT_FADE * depth_m)) ** 2 / 2)
    return np.asarray(slip_m / math.pi * np.arctan(across_m / depth_m) * fade, dtype=np.float64)


def compute_deformation(recipe: Recipe, terrain: Terrain, product: ProductPlan) -> NDArray[np.float32]:
    """Range change (rows, columns) of the nodes, m, positive away, between the first and the last day.

    Parameters
    ----------
    recipe, terrain : Recipe, Terrain
    product : ProductPlan
        Its pass gives the line of sight, at the mean height of the terrain.
    """
    lattice_rows, lattice_columns = (np.linspace(0, n - 1, max(4, n // _LATTICE)) for n in terrain.shape)
    sight = _find_line_of_sight(terrain, product, lattice_rows, lattice_columns)
    rows, columns = (np.arange(n, dtype=np.float64) for n in terrain.shape)
    change = np.empty(terrain.shape, dtype=np.float32)
    splines = [RectBivariateSpline(lattice_rows, lattice_columns, values, kx=2, ky=2) for values in sight]
    for block in np.array_split(rows, max(1, len(rows) // 256)):
        motion = _displace_ground(recipe, terrain, block, columns)
        toward = sum(s(block, columns) * u for s, u in zip(splines, motion, strict=True))
        change[block.astype(int)] = -toward
    return change


def _displace_ground(
    recipe: Recipe, terrain: Terrain, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    height, width = terrain.shape
    d_north, d_east = terrain.spacing_m
    volume, depth = recipe.mogi_volume_m3, recipe.mogi_depth_m
    north = (_MOGI_PLACE[0] * height - rows[:, None]) * d_north
    east = (columns - _MOGI_PLACE[1] * width) * d_east
    u_east, u_north, u_up = displace_mogi(east, north, volume_m3=volume, depth_m=depth)
    north = (_FAULT_PLACE[0] * height - rows[:, None]) * d_north
    east = (columns - _FAULT_PLACE[1] * width) * d_east
    sin_s, cos_s = math.sin(_FAULT_STRIKE_RAD), math.cos(_FAULT_STRIKE_RAD)
    slip = displace_fault(
        east * cos_s - north * sin_s,
        east * sin_s + north * cos_s,
        slip_m=recipe.fault_slip_m,
        depth_m=recipe.fault_depth_m,
        length_m=_FAULT_LENGTH_SHARE * height * d_north,
    )
    return u_east + sin_s * slip, u_north + cos_s * slip, u_up


def _find_line_of_sight(
    terrain: Terrain, product: ProductPlan, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """East, north and up (3, rows, columns) of the unit vector to the satellite, at mean height."""
    lat = np.radians(terrain.latitude_deg[0] - rows[:, None] * terrain.posting_deg)
    lon = np.radians(terrain.longitude_deg[0] + columns * terrain.posting_deg)
    lat, lon = np.broadcast_arrays(lat, lon)
    points = geodetic_to_ecef(lat, lon, float(terrain.height.mean()))
    arc = product.arc
    return np.moveaxis(line_of_sight(points, arc.position(geo2rdr(points, arc)[0])), -1, 0)


def _draw_atmosphere(recipe: Recipe, terrain: Terrain, number: int) -> NDArray[np.float32]:
    """Slant delay (m) of the nodes on a pass: turbulence, and a part that is proportional to height."""
    seed = recipe.seed + 1000 * (number + 1)
    screen = draw_field(
        terrain.shape, terrain.spacing_m, exponent=_TURBULENCE_EXPONENT, band_m=_TURBULENCE_BAND_M, seed=seed
    )
    slope = recipe.stratified_m_per_km * float(np.random.default_rng(seed).standard_normal())
    relative = (terrain.height - terrain.height.mean()) / np.float32(1000)
    return np.asarray(recipe.turbulence_m * screen + slope * relative, dtype=np.float32)


def compute_range_change(
    recipe: Recipe, terrain: Terrain, product: ProductPlan, deformation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Slant range change (rows, columns) of the nodes, m, positive away from the satellite, on the pass of ``product``.

    Parameters
    ----------
    recipe, terrain : Recipe, Terrain
    product : ProductPlan
    deformation : (rows, columns) float32
        Between the first and the last day, as `compute_deformation` gives it.
    """
    first, last = recipe.acquisitions[0].day, recipe.acquisitions[-1].day
    share = (product.acquisition.day - first).days / max((last - first).days, 1)
    return np.asarray(
        np.float32(share) * deformation + _draw_atmosphere(recipe, terrain, product.number), dtype=np.float32
    )


def compute_ionosphere(recipe: Recipe, terrain: Terrain, number: int) -> NDArray[np.float32]:
    """Slant group delay (rows, columns) of the nodes by the ionosphere of a pass, m one way; see `recipe.Screen`.

    Parameters
    ----------
    recipe, terrain : Recipe, Terrain
    number : int
        Which pass.
    """
    screen = recipe.acquisitions[number].ionosphere
    rows, columns = terrain.shape
    north, east = 0.5 - (np.arange(rows)[:, None] + 0.5) / rows, (np.arange(columns) + 0.5) / columns - 0.5
    along, across = (n * spacing for n, spacing in zip(terrain.shape, terrain.spacing_m, strict=True))
    hill = np.exp(-((north * along) ** 2 + (east * across) ** 2) / (2 * screen.bump_radius_m**2))
    delay = screen.north_m * north + screen.east_m * east + screen.bump_m * hill
    if screen.turbulence_m:
        seed = recipe.seed + 1000 * (number + 1) + 1
        delay += screen.turbulence_m * draw_field(
            terrain.shape, terrain.spacing_m, exponent=_TURBULENCE_EXPONENT, band_m=_IONOSPHERE_BAND_M, seed=seed
        )
    return delay.astype(np.float32)


def compute_coherence(recipe: Recipe, terrain: Terrain, first: int, second: int) -> NDArray[np.float32]:
    """Share of scatterers that two passes have in common, ``stable`` + (1 - stable) exp(-Δt/τ); zero on water.

    Parameters
    ----------
    recipe, terrain : Recipe, Terrain
        The days and τ; the map of stable scatterers.
    first, second : int
        Which passes.
    """
    days = abs((recipe.acquisitions[second].day - recipe.acquisitions[first].day).days)
    kept = math.exp(-days / recipe.decorrelation_days)
    return np.where(terrain.stable < 0, 0, terrain.stable + (1 - terrain.stable) * kept).astype(np.float32)
