"""What the products say of the two passes of a pair: enough to work out any geometry without orbit files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from topsar.errors import ProductError
from topsar.model import Orbit, OrbitSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from topsar.engines.orbits import OrbitChoice
    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst

AROUND = timedelta(seconds=15)
"""Before and after a pass: what lies around the pixels of a pair is seen then."""
_REACH = timedelta(seconds=60)
"""State vectors are kept this long before and after the bursts."""


class Flight(NamedTuple):
    """Heading over the ground, clockwise from north; height above the ellipsoid; radius of the Earth below."""

    heading_deg: float
    altitude_m: float
    earth_radius_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFacts:
    """One pass as far as a pair uses it; times are zero-Doppler times of the first and last line, UTC.

    ``positions_m`` and ``velocities_m_s`` are earth-fixed state vectors (n, 3) at ``times``.
    """

    mission: str
    absolute_orbit: int
    orbit_source: OrbitSource
    start: datetime
    stop: datetime
    near_range_m: float
    far_range_m: float
    range_spacing_m: float
    line_interval_s: float
    times: tuple[datetime, ...]
    positions_m: tuple[tuple[float, float, float], ...]
    velocities_m_s: tuple[tuple[float, float, float], ...]

    @property
    def middle(self) -> datetime:
        """Half-way between first and last line."""
        return self.start + (self.stop - self.start) / 2

    @property
    def orbit(self) -> Orbit:
        """The state vectors."""
        return Orbit(
            source=self.orbit_source,
            name=f"the orbit of {self.mission} in facts.json",
            epoch=self.times[0],
            times_s=np.array([(time - self.times[0]).total_seconds() for time in self.times]),
            positions_m=np.array(self.positions_m),
            velocities_m_s=np.array(self.velocities_m_s),
        )

    def fit(self, beyond: timedelta = timedelta()) -> OrbitArc:
        """The orbit during the pass and so long before and after it; it is good for seconds beyond that."""
        from topsar.kernels.geometry import fit_orbit

        return fit_orbit(self.orbit, self.start - beyond, self.stop + beyond)

    def find_flight(self) -> Flight:
        """Where the satellite flies at the middle."""
        from topsar.kernels.geometry import ecef_to_geodetic

        arc = self.fit()
        time = arc.seconds(self.middle)
        position = arc.position(time)
        lat, lon, altitude = ecef_to_geodetic(position)
        vx, vy, vz = arc.velocity(time)
        east = -math.sin(lon) * vx + math.cos(lon) * vy
        north = -math.sin(lat) * (math.cos(lon) * vx + math.sin(lon) * vy) + math.cos(lat) * vz
        return Flight(
            heading_deg=math.degrees(math.atan2(east, north)),
            altitude_m=float(altitude),
            earth_radius_m=float(np.linalg.norm(position)) - float(altitude),
        )


def describe_pass(choice: OrbitChoice, orbit: Orbit, bursts: Sequence[Burst]) -> PassFacts:
    """Describe a pass by the bursts that are used of it.

    Parameters
    ----------
    choice : OrbitChoice
        Which scenes it has, and whose orbit is taken.
    orbit : Orbit
        What was read of it.
    bursts : sequence of Burst
    """
    grids, scene = [burst.grid for burst in bursts], choice.scenes[0]
    start, stop = min(grid.first_line_time for grid in grids), max(grid.stop_time for grid in grids)
    first, last = ((time - orbit.epoch).total_seconds() for time in (start - _REACH, stop + _REACH))
    near = (orbit.times_s >= first) & (orbit.times_s <= last)
    return PassFacts(
        mission=scene.mission,
        absolute_orbit=scene.absolute_orbit,
        orbit_source=choice.source,
        start=start,
        stop=stop,
        near_range_m=min(grid.near_range_m for grid in grids),
        far_range_m=max(grid.far_range_m for grid in grids),
        range_spacing_m=grids[0].range_spacing_m,
        line_interval_s=grids[0].line_interval_s,
        times=tuple(orbit.epoch + timedelta(seconds=float(time)) for time in orbit.times_s[near]),
        positions_m=tuple(map(tuple, orbit.positions_m[near].tolist())),
        velocities_m_s=tuple(map(tuple, orbit.velocities_m_s[near].tolist())),
    )


def join_passes(parts: Iterable[Mapping[str, Any]]) -> dict[str, PassFacts]:
    """Join what the facts of several swaths of a pair say of its two passes.

    Parameters
    ----------
    parts : iterable of mapping
        Each has ``passes``, as read from JSON.
    """
    found = [read_passes(part) for part in parts]
    return {
        name: replace(
            max(sides, key=lambda side: len(side.times)),
            start=min(side.start for side in sides),
            stop=max(side.stop for side in sides),
            near_range_m=min(side.near_range_m for side in sides),
            far_range_m=max(side.far_range_m for side in sides),
        )
        for name, sides in zip(("reference", "secondary"), zip(*found, strict=True), strict=True)
    }


def read_passes(facts: Mapping[str, Any]) -> tuple[PassFacts, PassFacts]:
    """Read reference and secondary pass from the facts of a pair.

    Raises
    ------
    ProductError
        If the facts do not have them: they were written by an earlier version.
    """
    try:
        passes = TypeAdapter(dict[str, PassFacts]).validate_python(facts["passes"])
        return passes["reference"], passes["secondary"]
    except (KeyError, ValidationError) as exc:
        msg = f"facts.json of {facts.get('pair', 'the pair')} does not say how its passes went ({exc})"
        raise ProductError(msg, hint="run again: products of earlier versions lack them") from exc
