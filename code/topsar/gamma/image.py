"""Write SLC_par: what GAMMA's programs, and StaMPS after them, read of an image in slant range."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import ProvisionError
from topsar.gamma.samples import SampleFormat
from topsar.kernels.geometry import (
    WGS84_A,
    WGS84_F,
    ecef_to_geodetic,
    fit_orbit,
    line_of_sight,
    rdr2geo,
    turn_to_local,
    up_vector,
)
from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst, Orbit, RadarGrid

_UNEVEN_S = 1e-3
_AROUND_S = 75.0  # state vectors on each side: more than any fit of the orbit uses
_NO_POLYNOMIAL = "0.00000e+00  0.00000e+00  0.00000e+00  0.00000e+00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in slant range, zero Doppler. ``stop`` is the time of its last line: bursts lie behind each other."""

    title: str
    sensor: str
    grid: RadarGrid
    stop: datetime
    format: SampleFormat
    radar_frequency_hz: float
    range_bandwidth_hz: float
    azimuth_bandwidth_hz: float
    doppler: Burst | None = None


def seconds_of_day(time: datetime, day: datetime) -> float:
    """Seconds from midnight (UTC) of the day of ``day``.

    Parameters
    ----------
    time, day : datetime
    """
    return (time - day.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()


def format_doppler(burst: Burst | None) -> str:
    """Doppler centroid at mid burst as a cubic in metres from mid range; zeros for None, a deramped image."""
    units = "Hz     Hz/m     Hz/m^2     Hz/m^3"
    if burst is None:
        return f"{_NO_POLYNOMIAL}  {units}"
    grid = burst.grid
    half = (grid.far_range_m - grid.near_range_m) / 2
    x = np.linspace(-1, 1, 101)
    values = burst.doppler(2 / SPEED_OF_LIGHT * (grid.near_range_m + half + half * x))
    fit = np.polynomial.polynomial.polyfit(x, values, 3) / half ** np.arange(4)
    return f"{' '.join(f'{c:.10e}' for c in fit)}  {units}"


def format_image(image: Image, orbit: Orbit) -> str:
    """The text of a SLC_par.

    Parameters
    ----------
    image : Image
    orbit : Orbit
        State vectors at even steps, around the image.

    Raises
    ------
    ProvisionError
        Where the state vectors do not stand at even steps.
    """
    grid = image.grid
    day, arc = grid.first_line_time, fit_orbit(orbit, grid.first_line_time, image.stop)
    start, stop = (seconds_of_day(time, day) for time in (grid.first_line_time, image.stop))
    centre_range = (grid.near_range_m + grid.far_range_m) / 2
    place = _locate_centre(arc, (stop - start) / 2, centre_range)
    values = {
        "title": image.title,
        "sensor": image.sensor,
        "date": f"{day:%Y %m %d}",
        "start_time": f"{start:.6f}   s",
        "center_time": f"{(start + stop) / 2:.6f}   s",
        "end_time": f"{stop:.6f}   s",
        "azimuth_line_time": f"{grid.line_interval_s:.15e}   s",
        "line_header_size": "0",
        "range_samples": f"{grid.samples}",
        "azimuth_lines": f"{grid.lines}",
        "range_looks": "1",
        "azimuth_looks": "1",
        "image_format": image.format.value,
        "image_geometry": "SLANT_RANGE",
        "range_scale_factor": "1.0000000e+00",
        "azimuth_scale_factor": "1.0000000e+00",
        "center_latitude": f"{place['latitude']:.7f}   degrees",
        "center_longitude": f"{place['longitude']:.7f}   degrees",
        "heading": f"{place['heading']:.7f}   degrees",
        "range_pixel_spacing": f"{grid.range_spacing_m:.12f}   m",
        "azimuth_pixel_spacing": f"{place['ground_speed'] * grid.line_interval_s:.6f}   m",
        "near_range_slc": f"{grid.near_range_m:.6f}   m",
        "center_range_slc": f"{centre_range:.6f}   m",
        "far_range_slc": f"{grid.far_range_m:.6f}   m",
        **{
            f"{part}_slant_range_polynomial": f"0.00000  0.00000  {_NO_POLYNOMIAL}  s m 1 m^-1 m^-2 m^-3"
            for part in ("first", "center", "last")
        },
        "incidence_angle": f"{place['incidence']:.4f}   degrees",
        "azimuth_deskew": "ON",
        "azimuth_angle": "90.0000   degrees",
        "radar_frequency": f"{image.radar_frequency_hz:.10e}   Hz",
        "adc_sampling_rate": f"{SPEED_OF_LIGHT / (2 * grid.range_spacing_m):.10e}   Hz",
        "chirp_bandwidth": f"{image.range_bandwidth_hz:.7e}   Hz",
        "prf": f"{1 / grid.line_interval_s:.7f}   Hz",
        "azimuth_proc_bandwidth": f"{image.azimuth_bandwidth_hz:.5f}   Hz",
        "doppler_polynomial": format_doppler(image.doppler),
        "doppler_poly_dot": f"{_NO_POLYNOMIAL}  Hz/s   Hz/s/m   Hz/s/m^2   Hz/s/m^3",
        "doppler_poly_ddot": f"{_NO_POLYNOMIAL}  Hz/s^2 Hz/s^2/m Hz/s^2/m^2 Hz/s^2/m^3",
        "receiver_gain": "0.0000   dB",
        "calibration_gain": "0.0000   dB",
        "sar_to_earth_center": f"{place['satellite_radius']:.4f}   m",
        "earth_radius_below_sensor": f"{place['earth_radius']:.4f}   m",
        "earth_semi_major_axis": f"{WGS84_A:.4f}   m",
        "earth_semi_minor_axis": f"{WGS84_A * (1 - WGS84_F):.4f}   m",
        **_list_vectors(orbit, day, image.stop),
    }
    body = "\n".join(f"{key}:  {value}" for key, value in values.items())
    return f"Gamma Interferometric SAR Processor (ISP) - Image Parameter File\n\n{body}\n"


def _locate_centre(arc: OrbitArc, time_s: float, range_m: float) -> dict[str, float]:
    """Where the middle of an image lies on the ellipsoid and how it is seen; degrees, metres, metres per second.

    The heading is that of the flight over the ground, from north by east, -180 to 180.
    """
    step = 0.5  # seconds on both sides, for the speed of the beam on the ground
    times = np.array([time_s - step, time_s, time_s + step])
    ground = rdr2geo(times, np.full(3, range_m), 0.0, arc)
    satellite = arc.position(time_s)
    eastward, northward, _ = turn_to_local(satellite, arc.velocity(time_s))
    latitude, longitude, _ = ecef_to_geodetic(ground[1])
    below, east, height = ecef_to_geodetic(satellite)
    under = satellite - height * up_vector(below, east)
    return {
        "latitude": float(np.degrees(latitude)),
        "longitude": float(np.degrees(longitude)),
        "heading": float(np.degrees(np.arctan2(eastward, northward))),
        "incidence": float(np.degrees(np.arccos(line_of_sight(ground[1], satellite)[2]))),
        "ground_speed": float(np.linalg.norm(ground[2] - ground[0])) / (2 * step),
        "satellite_radius": float(np.linalg.norm(satellite)),
        "earth_radius": float(np.linalg.norm(under)),
    }


def _list_vectors(orbit: Orbit, start: datetime, stop: datetime) -> dict[str, str]:
    """State vectors around an image; their times count from midnight of its day."""
    times = orbit.times_s + seconds_of_day(orbit.epoch, start)
    first, last = (seconds_of_day(time, start) for time in (start, stop))
    near = np.flatnonzero((times > first - _AROUND_S) & (times < last + _AROUND_S))
    steps = np.diff(times[near])
    if np.ptp(steps) > _UNEVEN_S:
        msg = f"{orbit.name}: its state vectors do not stand at even steps, as a SLC_par needs"
        raise ProvisionError(msg, hint="use a POEORB or RESORB file: `topsar run` fetches it")
    values = {
        "number_of_state_vectors": str(len(near)),
        "time_of_first_state_vector": f"{times[near[0]]:.6f}   s",
        "state_vector_interval": f"{np.mean(steps):.6f}   s",
    }
    for number, index in enumerate(near, start=1):
        position, velocity = orbit.positions_m[index], orbit.velocities_m_s[index]
        values[f"state_vector_position_{number}"] = f"{' '.join(f'{p:.4f}' for p in position)}   m   m   m"
        values[f"state_vector_velocity_{number}"] = f"{' '.join(f'{v:.6f}' for v in velocity)}   m/s m/s m/s"
    return values
