"""What ISCE2 and MintPy read of the radar: the folder ``reference`` of a stack."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.engines.native.radar.swath_product import ReferenceBurst, find_frames, format_swath
from topsar.files import replaced_folder, write_text
from topsar.kernels.geometry import WGS84_A, WGS84_E2, ecef_to_geodetic
from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.passes import PassFacts
    from topsar.engines.radar_stack import StackFacts
    from topsar.model import Looks


class ReferencePass(NamedTuple):
    """The pass of the reference, its bursts by swath, and the version of ESA's processor."""

    flight: PassFacts
    bursts: Mapping[str, Sequence[ReferenceBurst]]
    ipf: str


def write_reference(
    folder: Path, stack: StackFacts, looks: Looks, reference: ReferencePass, corners: Mapping[str, tuple[float, ...]]
) -> None:
    """Write ``IW*.xml``, which ISCE2 loads, and ``data.rsc``.

    MintPy tells by the names of the ``.xml`` that the stack is of TOPS, and takes all else from a ``data.rsc`` that is
    newer than these; with it, it needs no ISCE2.

    Parameters
    ----------
    folder : Path
        It is replaced.
    stack : StackFacts
    looks : Looks
    reference : ReferencePass
    corners : mapping
        Latitudes and longitudes of the corners of the multilooked grid, line by line.
    """
    known = _describe_radar(stack, looks, reference.flight, corners) | _describe_bursts(reference)
    lines = [f"{key:<25} {value}" for key, value in known.items()]
    with replaced_folder(folder) as staging:
        for swath, bursts in reference.bursts.items():
            write_text(staging / f"{swath}.xml", format_swath(bursts, stack, reference.flight, reference.ipf))
        write_text(staging / "data.rsc", "\n".join(lines) + "\n")


def _describe_radar(
    stack: StackFacts, looks: Looks, flight: PassFacts, corners: Mapping[str, tuple[float, ...]]
) -> dict[str, object]:
    """The keys of MintPy's own extraction from topsStack, with the looks applied."""
    grid, over = stack.grid, flight.find_flight()
    arc = flight.fit()
    time = arc.seconds(flight.middle)
    position, velocity = arc.position(time), arc.velocity(time)
    speed = float(np.linalg.norm(velocity))
    azimuth_m, range_m = speed * grid.line_interval_s, grid.range_spacing_m
    azimuth_resolution = speed / stack.azimuth_bandwidth_hz
    range_resolution = SPEED_OF_LIGHT / 2 / stack.range_bandwidth_hz
    middle = flight.middle
    return {
        "PROCESSOR": "isce",
        "PLATFORM": "Sen",
        "ANTENNA_SIDE": -1,
        "ORBIT_DIRECTION": stack.direction.upper(),
        "HEADING": over.heading_deg,
        "WAVELENGTH": stack.wavelength_m,
        "STARTING_RANGE": grid.near_range_m,
        "RANGE_PIXEL_SIZE": range_m * looks.east,
        "AZIMUTH_PIXEL_SIZE": azimuth_m * looks.north,
        "EARTH_RADIUS": _find_radius(position, over.heading_deg),
        "HEIGHT": over.altitude_m,
        "CENTER_LINE_UTC": middle.hour * 3600 + middle.minute * 60 + middle.second + middle.microsecond * 1e-6,
        "ALOOKS": looks.north,
        "RLOOKS": looks.east,
        "NCORRLOOKS": looks.count * range_m * azimuth_m / (range_resolution * azimuth_resolution),
        "LENGTH": grid.lines // looks.north,
        "WIDTH": grid.samples // looks.east,
        "POLARIZATION": stack.polarisation,
        "beam_mode": "IW",
        "swathNumber": "".join(swath[-1] for swath in stack.swaths),
        "trackNumber": stack.track,
        "orbitNumber": flight.absolute_orbit,
        "azimuthResolution": azimuth_resolution,
        "rangeResolution": range_resolution,
        "satelliteSpeed": speed,
        "startUTC": f"{grid.first_line_time:%Y-%m-%d %H:%M:%S.%f}",
        "stopUTC": f"{grid.stop_time:%Y-%m-%d %H:%M:%S.%f}",
        **{f"LAT_REF{number}": value for number, value in enumerate(corners["lat"], start=1)},
        **{f"LON_REF{number}": value for number, value in enumerate(corners["lon"], start=1)},
    }


def _describe_bursts(reference: ReferencePass) -> dict[str, object]:
    first, last = find_frames(reference.bursts)
    rates = [one.times.pulse_rate_hz for bursts in reference.bursts.values() for one in bursts]
    return {"PRF": rates[0], "firstFrameNumber": first, "lastFrameNumber": last}


def _find_radius(position_m: NDArray[np.float64], heading_deg: float) -> float:
    """Radius of curvature of the ellipsoid below the satellite, in the direction of its flight (Euler's theorem)."""
    lat, heading = float(ecef_to_geodetic(position_m)[0]), math.radians(heading_deg)
    bulge = 1 - WGS84_E2 * math.sin(lat) ** 2
    across, along = WGS84_A / math.sqrt(bulge), WGS84_A * (1 - WGS84_E2) / bulge**1.5
    return float(1 / (math.cos(heading) ** 2 / along + math.sin(heading) ** 2 / across))
