"""Tides of the solid earth between two passes, in the line of sight.

Each date has the tide of its own time at each place: the zero-Doppler time, which runs along the track. A tide is as
wide as the Earth, so it is worked out at nodes and interpolated; the line of sight is that of each pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.corrections import Correction, Cost, Estimate, refuse
from topsar.interferogram import Drawing, LayerKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.engines.passes import PassFacts
    from topsar.interferogram import Interferogram
    from topsar.kernels.geometry import OrbitArc

NODE_SPACING_M = 20_000.0
"""Between nodes the displacement bends by two micrometres."""
_LOS = ("los_east", "los_north", "los_up")


class SolidEarthTide(Correction):
    """The tide of the reference date minus that of the secondary, toward the satellite, as phase."""

    name = "solid_earth_tide"
    version = "2"
    layer = LayerKind(
        name="solid_earth_tide",
        long_name="Solid earth tide",
        unit="rad",
        description="Phase of the solid earth tides of the two dates",
        convention="positive: range grew from reference to secondary",
        antisymmetric=True,
        drawing=Drawing(style="range", label="Phase (rad)", note="Model: IERS Conventions 2010"),
    )
    cost = Cost(base_memory=50_000_000, memory=20, disk=4, start_s=2.0, microseconds=0.1)

    def compute(self, ifg: Interferogram) -> Estimate:
        """Work out the tides of both dates; refuse where the line of sight is not known."""
        from topsar.corrections.nodes import choose_step, lay_nodes
        from topsar.engines.passes import AROUND, read_passes
        from topsar.kernels.geometry import geodetic_to_ecef

        if not set(_LOS) <= ifg.layers.keys():
            return refuse("there is no line of sight")
        reference, secondary = read_passes(ifg.facts)
        step = choose_step(ifg.grid, NODE_SPACING_M)
        lon, lat = np.radians(lay_nodes(ifg.grid, step))
        points = geodetic_to_ecef(lat, lon, 0.0)
        tides = [find_tide(points, one.fit(AROUND)) for one in (reference, secondary)]
        towards = -4 * math.pi / ifg.facts["wavelength_m"]
        phase = _project(ifg, tides[1] - tides[0], step) * np.float32(towards)
        return Estimate(phase_rad=phase, facts=_describe(ifg, tides, step, (reference, secondary)))


def find_tide(points_m: NDArray[np.float64], arc: OrbitArc) -> NDArray[np.float64]:
    """Find how the tide displaces points when a satellite passes them: east, north and up, metres, (..., 3).

    Parameters
    ----------
    points_m : (..., 3) float64
        ECEF.
    arc : OrbitArc
    """
    from topsar.corrections.ephemeris import find_sky
    from topsar.kernels.earth_tide import find_earth_tide
    from topsar.kernels.geometry import geo2rdr, turn_to_local

    flat = points_m.reshape(-1, 3)
    moved = find_earth_tide(flat, *find_sky(arc.epoch, geo2rdr(flat, arc)[0]))
    return turn_to_local(flat, moved).reshape(points_m.shape)


def _project(ifg: Interferogram, moved_m: NDArray[np.float64], step: int) -> NDArray[np.float32]:
    """Interpolate a displacement between nodes and take what of it is toward the satellite, metres."""
    from topsar.corrections.nodes import spread_nodes

    toward = np.empty(ifg.grid.shape, np.float32)
    los = [ifg.layers[name].values for name in _LOS]
    for rows, local in spread_nodes(moved_m, step, ifg.grid.shape):
        toward[rows] = sum(part[rows] * local[..., k] for k, part in enumerate(los))
    toward[ifg.layers["wrapped_phase"].holes] = np.nan
    return toward


def _describe(
    ifg: Interferogram, tides: list[NDArray[np.float64]], step: int, passes: tuple[PassFacts, PassFacts]
) -> dict[str, Any]:
    """Say how large both tides are in the middle, and how far the ground moved along the flight between the dates."""
    from topsar.engines.viewing import GROUND_SPEED

    row, column = (size // 2 // step for size in ifg.grid.shape)
    middle = [tide[row, column] for tide in tides]
    heading = math.radians(passes[0].find_flight().heading_deg)
    east, north, _ = middle[1] - middle[0]
    along = float(east * math.sin(heading) + north * math.cos(heading))
    speed = float(np.linalg.norm(passes[0].velocities_m_s[0])) * GROUND_SPEED
    lines = along / speed / passes[0].line_interval_s
    seen = _read_misregistration(ifg.facts)
    return {
        "middle_m": {
            side: dict(zip(("east", "north", "up"), (round(float(part), 4) for part in moved), strict=True))
            for side, moved in zip(("reference", "secondary"), middle, strict=True)
        },
        "azimuth_m": round(along, 4),
        "azimuth_lines": round(lines, 5),
        "misregistration_without_tide_lines": None if seen is None else round(seen - lines, 5),
    }


def _read_misregistration(facts: Mapping[str, Any]) -> float | None:
    """What spectral diversity saw of a pair, lines, whether it is removed or not; None where it saw nothing."""
    told = facts.get("azimuth_misregistration") or {}
    estimate = told.get("estimate")
    if isinstance(estimate, Mapping):
        return float(estimate["pixels"])
    return float(told["pixels"]) if told.get("estimated") is True else None
