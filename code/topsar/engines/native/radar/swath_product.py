"""``reference/IW*.xml`` of a stack: the bursts of a swath as ISCE2's product manager loads them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from topsar.model import SPEED_OF_LIGHT
from topsar.sentinel1 import read_burst_times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from topsar.engines.passes import PassFacts
    from topsar.engines.radar_stack import StackFacts
    from topsar.model import Burst, RangePolynomial, Scene
    from topsar.sentinel1.annotation import BurstTimes

_TRAITS = {"_factorname": "default", "_factory": True, "_mandatory": False, "_private": True}


class ReferenceBurst(NamedTuple):
    """A burst of the reference and what its annotation says of its times."""

    burst: Burst
    times: BurstTimes

    @property
    def node(self) -> datetime:
        """When the satellite passed the ascending node."""
        return self.burst.grid.first_line_time - timedelta(seconds=self.times.since_node_s)

    @property
    def sensing_stop(self) -> datetime:
        """When the last echo of the burst was taken, as ISCE2 counts."""
        return self.times.sensing + timedelta(seconds=(self.burst.grid.lines - 1) / self.times.pulse_rate_hz)


def read_reference_bursts(scenes: Sequence[Scene], bursts: Sequence[Burst]) -> dict[str, list[ReferenceBurst]]:
    """Read the times of bursts; by swath, in the order of time.

    Parameters
    ----------
    scenes : sequence of Scene
        The slices that the bursts are of.
    bursts : sequence of Burst
    """
    by_name, known = {scene.name: scene for scene in scenes}, {}
    for scene, swath, polarisation in dict.fromkeys((one.scene, one.swath, one.polarisation) for one in bursts):
        known[scene, swath] = read_burst_times(by_name[scene], swath, polarisation)
    found: dict[str, list[ReferenceBurst]] = {}
    for one in sorted(bursts, key=lambda burst: (burst.swath, burst.grid.first_line_time)):
        found.setdefault(one.swath, []).append(ReferenceBurst(one, known[one.scene, one.swath][one.index]))
    return found


def format_swath(bursts: Sequence[ReferenceBurst], stack: StackFacts, flight: PassFacts, ipf: str) -> str:
    """Format a swath as the XML of ISCE2's ``TOPSSwathSLCProduct``, without images.

    Parameters
    ----------
    bursts : sequence of ReferenceBurst
        Of one swath, in the order of time.
    stack : StackFacts
    flight : PassFacts
        Of the reference.
    ipf : str
        Version of ESA's processor.
    """
    root = Element("productmanager_name")
    names = [f"burst{number}" for number in range(1, len(bursts) + 1)]
    swath = _add(root, "instance", "isceobj.Sensor.TOPS.TOPSSwathSLCProduct", "TOPSSwathSLCProduct")
    listed = _add_traits(swath, "bursts", "burst", "BurstSLC", names)
    for number, (name, one) in enumerate(zip(names, bursts, strict=True), start=1):
        node = _add(listed, name, "isceobj.Sensor.TOPS.BurstSLC", "BurstSLC")
        _put(node, _describe_burst(one, stack, flight) | {"burstnumber": number})
        _add_polynomial(node, "azimuthfmrate", one.burst.fm_rate)
        _add_polynomial(node, "doppler", one.burst.doppler)
        _add_orbit(node, flight)
    known = {
        "ascendingnodetime": _format_time(bursts[0].node),
        "mission": flight.mission,
        "numberofbursts": len(bursts),
        "processingsoftwareversion": ipf,
        "processingsystem": "Sentinel-1 IPF",
        "spacecraftname": "Sentinel-1",
    }
    _put(swath, known)
    indent(root, "    ")
    return tostring(root, encoding="unicode") + "\n"


def _describe_burst(one: ReferenceBurst, stack: StackFacts, flight: PassFacts) -> dict[str, object]:
    burst, grid, valid = one.burst, one.burst.grid, one.burst.valid
    return {
        "azimuthprocessingbandwidth": burst.azimuth_bandwidth_hz,
        "azimuthsteeringrate": burst.steering_rate_rad_s,
        "azimuthtimeinterval": grid.line_interval_s,
        "burststartutc": _format_time(one.times.sensing),
        "burststoputc": _format_time(one.sensing_stop),
        "firstvalidline": valid.row,
        "firstvalidsample": valid.column,
        "framenumber": 1,
        "numberoflines": grid.lines,
        "numberofsamples": grid.samples,
        "numberofvalidlines": valid.rows,
        "numberofvalidsamples": valid.columns,
        "orbitnumber": flight.absolute_orbit,
        "passdirection": stack.direction.upper(),
        "polarization": burst.polarisation,
        "pulserepetitionfrequency": one.times.pulse_rate_hz,
        "radarwavelength": burst.wavelength_m,
        "rangepixelsize": grid.range_spacing_m,
        "rangeprocessingbandwidth": burst.range_bandwidth_hz,
        "sensingstart": _format_time(grid.first_line_time),
        "sensingstop": _format_time(grid.stop_time),
        "startingrange": grid.near_range_m,
        "swathnumber": burst.swath[-1],
        "tracknumber": stack.track,
    }


def _add_polynomial(node: Element, name: str, polynomial: RangePolynomial) -> None:
    """A polynomial in slant range, scaled such that its coefficients stay those in two-way time."""
    coefficients = list(polynomial.coefficients)
    known = {
        "coeffs": coefficients,
        "mean": polynomial.t0_s * SPEED_OF_LIGHT / 2,
        "norm": SPEED_OF_LIGHT / 2,
        "order": len(coefficients) - 1,
    }
    _put(_add(node, name, "isceobj.Util.PolyFactory", "createPoly", "('1d',)"), known)


def _add_orbit(node: Element, flight: PassFacts) -> None:
    orbit = _add(node, "orbit", "isceobj.Orbit.Orbit", "createOrbit")
    known = {
        "min_time": _format_time(flight.times[0]),
        "max_time": _format_time(flight.times[-1]),
        "orbit_source": flight.orbit_source.value,
    }
    _put(orbit, known)
    names = [f"statevector{number}" for number in range(1, len(flight.times) + 1)]
    vectors = _add_traits(orbit, "state_vectors", "statevector", "StateVector", names)
    for name, time, position, velocity in zip(
        names, flight.times, flight.positions_m, flight.velocities_m_s, strict=True
    ):
        vector = _add(vectors, name, "isceobj.Orbit.Orbit", "StateVector")
        _put(vector, {"position": list(position), "time": _format_time(time), "velocity": list(velocity)})


def _add_traits(node: Element, name: str, kind: str, module: str, names: Sequence[str]) -> Element:
    """A list of components, which are added to it."""
    listed = _add(node, name, "iscesys.Component", "createTraitSeq", f"('{kind}',)")
    _put(listed, {**_TRAITS, "_modulename": module, "family": "TraitSeq", "name": list(names)})
    return listed


def _add(node: Element, name: str, module: str, factory: str, arguments: str = "") -> Element:
    """A component, and how ISCE2 makes it."""
    component = SubElement(node, "component", name=name)
    SubElement(component, "factorymodule").text = module
    SubElement(component, "factoryname").text = factory
    if arguments:
        SubElement(component, "args").text = arguments
    return component


def _put(node: Element, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        SubElement(SubElement(node, "property", name=name), "value").text = str(value)


def _format_time(time: datetime) -> str:
    """As ISCE2 has it: whole seconds have no fraction, and MiaplPy reads state vectors that way alone."""
    return str(time.replace(tzinfo=None))


def find_frames(bursts: Mapping[str, Sequence[ReferenceBurst]]) -> tuple[int, int]:
    """Number the first and the last frame as MintPy does: five seconds each, from the ascending node.

    Parameters
    ----------
    bursts : mapping
        By swath.
    """
    everything = [one for swath in bursts.values() for one in swath]
    first = min((one.times.sensing - one.node).total_seconds() for one in everything)
    last = max((one.sensing_stop - one.node).total_seconds() for one in everything)
    return math.floor(first / 5), math.floor(last / 5)
