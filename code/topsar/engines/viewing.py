"""How passes see the ground: from where, how far inside a burst, how far apart."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.errors import ProvisionError
from topsar.kernels.geometry import fit_orbit, geo2rdr, measure_baseline
from topsar.kernels.statistics import coherence_at_zero
from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst, Orbit

MID_INCIDENCE_RAD = math.radians(38)
"""Turns slant into ground range where a few per cent decide nothing."""
GROUND_SPEED = 0.907
"""Speed of the beam on the ground over that of the satellite, at 700 km."""
_MARGIN = timedelta(seconds=1)


def fit_burst_arc(burst: Burst, orbit: Orbit) -> OrbitArc:
    """The orbit during a burst; times count from a second before its first line.

    Parameters
    ----------
    burst : Burst
    orbit : Orbit
    """
    start, stop = burst.grid.first_line_time - _MARGIN, burst.grid.stop_time + _MARGIN
    return fit_arc_between(orbit, start, stop, f"burst {burst.label} of {burst.scene}: ").narrow(start, stop)


def fit_arc_between(orbit: Orbit, start: datetime, stop: datetime, whose: str = "") -> OrbitArc:
    """The orbit around a period.

    Parameters
    ----------
    orbit : Orbit
    start, stop : datetime
    whose : str
        Begins the message where the orbit does not cover the period.
    """
    try:
        return fit_orbit(orbit, start, stop)
    except ValueError as exc:
        msg = f"{whose}the orbit {exc}"
        raise ProvisionError(msg, hint="put the orbit file (POEORB or RESORB) of this pass into orbit_data") from exc


def fit_pass_arc(orbit: Orbit, bursts: Iterable[Burst]) -> OrbitArc:
    """The orbit while some bursts of a pass were taken.

    Parameters
    ----------
    orbit : Orbit
    bursts : iterable of Burst
    """
    grids = [burst.grid for burst in bursts]
    return fit_orbit(orbit, min(grid.first_line_time for grid in grids), max(grid.stop_time for grid in grids))


def locate(
    points_m: NDArray[np.float64], burst: Burst, arc: OrbitArc
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Line and sample of a burst at which it shows points; outside of it too.

    Parameters
    ----------
    points_m : (..., 3) float64
        ECEF.
    burst : Burst
    arc : OrbitArc
    """
    time, range_m = geo2rdr(points_m, arc)
    grid = burst.grid
    line = (time - arc.seconds(grid.first_line_time)) / grid.line_interval_s
    return line, (range_m - grid.near_range_m) / grid.range_spacing_m


def measure_margin(
    burst: Burst, line: NDArray[np.float64], sample: NDArray[np.float64], arc: OrbitArc
) -> NDArray[np.float32]:
    """Distance to the nearest edge of a burst's valid window on the ground, whole metres; negative outside.

    Bursts of a swath end at the same range: of fractions, rounding would decide which of two is farther inside.

    Parameters
    ----------
    burst : Burst
    line, sample : (rows, columns) float64
        Of the burst, for each pixel.
    arc : OrbitArc
    """
    valid, grid = burst.valid, burst.grid
    speed = float(np.linalg.norm(arc.velocity(arc.seconds(grid.mid_time)))) * GROUND_SPEED
    azimuth = np.minimum(line - valid.row, valid.row_stop - 1 - line) * grid.line_interval_s * speed
    slant = np.minimum(sample - valid.column, valid.column_stop - 1 - sample) * grid.range_spacing_m
    return np.floor(np.minimum(azimuth, slant / math.sin(MID_INCIDENCE_RAD))).astype(np.float32)


def measure_cells(points_m: NDArray[np.float64], burst: Burst, arc: OrbitArc) -> NDArray[np.float64]:
    """Resolution cells, bandwidth times delay, in range and azimuth from the first of some points to the others.

    Parameters
    ----------
    points_m : (n + 1, 3) float64
        ECEF.
    burst : Burst
    arc : OrbitArc
    """
    time, range_m = geo2rdr(points_m, arc)
    cells = np.stack([2 / SPEED_OF_LIGHT * burst.range_bandwidth_hz * range_m, burst.azimuth_bandwidth_hz * time], -1)
    return np.asarray(cells[1:] - cells[0])


def describe_geometry(place_m: NDArray[np.float64], arcs: tuple[OrbitArc, OrbitArc], burst: Burst) -> dict[str, Any]:
    """Wavelength and perpendicular baseline, as the facts tell them.

    Parameters
    ----------
    place_m : (3,) float64
        ECEF of a place in the middle.
    arcs : tuple of OrbitArc
        Of reference and secondary.
    burst : Burst
        Of the reference.
    """
    baseline = float(measure_baseline(place_m[None], *arcs)[0])
    return {"wavelength_m": burst.wavelength_m, "perpendicular_baseline_m": baseline}


def describe_looks(looks: Sequence[float], place: NDArray[np.int16], coherence_looks: float) -> dict[str, Any]:
    """Independent looks and what follows from them, as the facts tell it.

    Parameters
    ----------
    looks : sequence of float
        Independent looks of a pixel of each burst.
    place : (rows, columns) int16
        The burst that a pixel comes from, -1 outside.
    coherence_looks : float
        Independent looks of an estimate of coherence.
    """
    share = np.bincount(place[place >= 0], minlength=len(looks))
    return {
        "independent_looks": float(np.average(looks, weights=share)),
        "independent_looks_of_bursts": list(looks),
        "coherence_bias_at_zero": coherence_at_zero(coherence_looks),
    }
