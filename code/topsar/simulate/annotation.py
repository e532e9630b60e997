"""Annotation, calibration and noise of a swath: everything that a processor reads about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from topsar.kernels.geometry import ecef_to_geodetic, line_of_sight, rdr2geo
from topsar.model import SPEED_OF_LIGHT
from topsar.simulate import mode
from topsar.simulate.document import render_document
from topsar.simulate.mode import BETA_NOUGHT, BURST_INTERVAL_S, LINE_INTERVAL_S
from topsar.simulate.orbit import CYCLE_DAYS, list_vectors

if TYPE_CHECKING:
    from topsar.model import Burst
    from topsar.simulate.plan import ProductPlan, SwathPlan

GRID_COLUMNS = 21
"""Points of the geolocation grid across the swath."""
_VECTORS = 17
_VECTORS_PER_BURST = 3  # of calibration
_VECTOR_STEP_S = 10.0
_ATTITUDES = 25
_SIDEREAL_RATE_RAD_S = 7.2921159e-5
_PATTERN_POINTS = 60
_DOPPLER_SPAN = timedelta(seconds=1.35)
_FINE_ESTIMATES = 20
_CYCLE_BURSTS = round(CYCLE_DAYS * 86400 / BURST_INTERVAL_S)
_PIXEL_STEP, _LINE_STEP = 40, 10  # of calibration and noise


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPoint:
    """A point of the geolocation grid: where an image point lies on the ground, and how it is seen."""

    time: datetime
    slant_range_time_s: float
    line: int
    pixel: int
    latitude_deg: float
    longitude_deg: float
    height_m: float
    incidence_deg: float
    elevation_deg: float


def find_grid_points(product: ProductPlan, swath: SwathPlan, height_m: float) -> tuple[GridPoint, ...]:
    """Locate the grid: the first line of every burst and the last line of all, on a surface of constant height.

    Parameters
    ----------
    product, swath : ProductPlan, SwathPlan
    height_m : float
        Ellipsoidal height of the surface.
    """
    arc, grid = product.arc, swath.bursts[0].grid
    lines = [burst.first_line for burst in swath.bursts] + [swath.lines - 1]
    times = [burst.grid.first_line_time for burst in swath.bursts] + [swath.stop]
    pixels = np.linspace(0, grid.samples - 1, GRID_COLUMNS).astype(int)
    seconds, range_m = np.meshgrid(
        [arc.seconds(time) for time in times], grid.near_range_m + pixels * grid.range_spacing_m, indexing="ij"
    )
    points, satellite = rdr2geo(seconds, range_m, height_m, arc), arc.position(seconds)
    lat, lon, _ = ecef_to_geodetic(points)
    look = (points - satellite) / range_m[..., None]
    down = -satellite / np.linalg.norm(satellite, axis=-1, keepdims=True)
    incidence = np.arccos(line_of_sight(points, satellite)[..., 2])
    degrees = np.degrees([lat, lon, incidence, np.arccos((look * down).sum(-1))])
    return tuple(
        GridPoint(
            time=times[i],
            slant_range_time_s=float(2 * range_m[i, j] / SPEED_OF_LIGHT),
            line=lines[i],
            pixel=int(pixels[j]),
            latitude_deg=float(degrees[0, i, j]),
            longitude_deg=float(degrees[1, i, j]),
            height_m=height_m,
            incidence_deg=float(degrees[2, i, j]),
            elevation_deg=float(degrees[3, i, j]),
        )
        for i, j in np.ndindex(range_m.shape)
    )


def render_annotation(
    product: ProductPlan, swath: SwathPlan, *, points: tuple[GridPoint, ...], data_offset: int, spread: float
) -> str:
    """Write the annotation document of one swath.

    Parameters
    ----------
    product, swath : ProductPlan, SwathPlan
    points : tuple of GridPoint
    data_offset : int
        Byte of the measurement at which line 0 begins.
    spread : float
        Standard deviation of the real and imaginary parts, in digital numbers.
    """
    grid = swath.bursts[0].grid
    first = (product.middle - timedelta(seconds=_VECTOR_STEP_S * (_VECTORS // 2))).replace(microsecond=0)
    orbit = product.track.make_orbit(first, first + timedelta(seconds=_VECTOR_STEP_S * (_VECTORS - 1)))
    return render_document(
        "annotation.xml",
        iw=mode,
        product=product,
        swath=swath,
        mode=swath.mode,
        grid=grid,
        points=points,
        data_offset=data_offset,
        spread=spread,
        height_m=points[0].height_m,
        heading_deg=_find_heading_deg(product),
        last_sensing=swath.sensing[-1] + timedelta(seconds=2 * swath.mode.sensing_lead_s),
        vectors=list_vectors(orbit),
        attitudes=_list_attitudes(product),
        near_time_s=2 * grid.near_range_m / SPEED_OF_LIGHT,
        incidence_deg=math.degrees(swath.incidence_rad),
        doppler_span=_DOPPLER_SPAN,
        doppler_tau_s=2 / SPEED_OF_LIGHT * np.linspace(grid.near_range_m, grid.far_range_m, _FINE_ESTIMATES),
        pattern=_describe_antenna(product, swath, points),
        valid_samples=[_list_valid_samples(burst) for burst in swath.bursts],
        cycle_bursts=product.cycle * _CYCLE_BURSTS,
    )


def render_calibration(product: ProductPlan, swath: SwathPlan, points: tuple[GridPoint, ...]) -> str:
    """Write calibration vectors three to a burst: beta nought is the gain, the others follow the incidence angle too.

    Parameters
    ----------
    product, swath : ProductPlan, SwathPlan
    points : tuple of GridPoint
    """
    pixels = _list_pixels(swath)
    row = points[:GRID_COLUMNS]
    incidence = np.radians(np.interp(pixels, [p.pixel for p in row], [p.incidence_deg for p in row]))
    vectors = []
    for burst in swath.bursts:
        for line in np.linspace(0, burst.grid.lines - 1, _VECTORS_PER_BURST).astype(int).tolist():
            time = burst.grid.first_line_time + timedelta(seconds=line * LINE_INTERVAL_S)
            beta = BETA_NOUGHT * swath.find_gain(np.array(burst.first_line + line), np.array(pixels))
            sigma = beta / np.sqrt(np.sin(incidence))
            vectors.append((time, burst.first_line + line, sigma, beta, sigma * np.sqrt(np.cos(incidence))))
    return render_document(
        "calibration.xml",
        product=product,
        swath=swath,
        vectors=vectors,
        pixels=pixels,
    )


def render_noise(product: ProductPlan, swath: SwathPlan) -> str:
    """Write noise vectors of a swath: along range with the gain, along azimuth with the scalloping of each burst.

    Parameters
    ----------
    product, swath : ProductPlan, SwathPlan
    """
    pixels, lines = _list_pixels(swath), swath.mode.lines
    power = swath.noise_power(product.recipe.nesz_db)
    firsts = [burst.first_line for burst in swath.bursts]
    ends = [*zip(firsts, (burst.grid.first_line_time for burst in swath.bursts), strict=True)]
    ends.append((swath.lines - 1, swath.stop))
    within = [*range(0, lines - 1, _LINE_STEP), lines - 1]
    return render_document(
        "noise.xml",
        product=product,
        swath=swath,
        pixels=pixels,
        vectors=[(time, line, power * swath.find_gain(np.array(line), np.array(pixels)) ** 2) for line, time in ends],
        lines=[first + line for first in firsts for line in within],
        factors=[*swath.find_scalloping(np.array(within))] * len(firsts),
    )


def _list_pixels(swath: SwathPlan) -> list[int]:
    last = swath.bursts[0].grid.samples - 1
    return [*range(0, last, _PIXEL_STEP), last]


def _find_heading_deg(product: ProductPlan) -> float:
    arc = product.arc
    middle = arc.seconds(product.middle)
    lat, lon, _ = ecef_to_geodetic(arc.position(np.array([middle, middle + 0.1])))
    return math.degrees(math.atan2((lon[1] - lon[0]) * math.cos(lat[0]), lat[1] - lat[0]))


def _list_attitudes(product: ProductPlan) -> list[tuple[datetime, tuple[float, ...]]]:
    """Times and quaternions of the orbital frame (along, across, down), turned from Earth-fixed by sidereal time."""
    seconds = np.arange(_ATTITUDES, dtype=np.float64) - _ATTITUDES // 2
    position, velocity = product.track.state(seconds + (product.middle - product.track.epoch).total_seconds())
    down = -position / np.linalg.norm(position, axis=-1, keepdims=True)
    across = np.cross(down, velocity)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    orbital = Rotation.from_matrix(np.stack([np.cross(across, down), across, down], axis=-1))
    sidereal = _SIDEREAL_RATE_RAD_S * (product.middle.timestamp() + seconds)
    frames = Rotation.from_euler("z", sidereal[:, None]) * orbital
    return [
        (product.middle + timedelta(seconds=float(second)), (q[3], q[0], q[1], q[2]))
        for second, q in zip(seconds, frames.as_quat().tolist(), strict=True)
    ]


def _describe_antenna(product: ProductPlan, swath: SwathPlan, points: tuple[GridPoint, ...]) -> dict[str, object]:
    """Describe the antenna pattern, which is flat: the simulated brightness needs no correction."""
    row = points[:GRID_COLUMNS]
    known = [point.slant_range_time_s for point in row]
    tau_s = np.linspace(known[0], known[-1], _PATTERN_POINTS)
    return {
        "times": [product.start] + [burst.grid.mid_time for burst in swath.bursts],
        "tau_s": tau_s,
        "elevation_deg": np.interp(tau_s, known, [point.elevation_deg for point in row]),
        "incidence_deg": np.interp(tau_s, known, [point.incidence_deg for point in row]),
    }


def _list_valid_samples(burst: Burst) -> tuple[list[int], list[int]]:
    """First and last valid sample of every line; -1 where a line has none."""
    valid = burst.valid
    before, after = [-1] * valid.row, [-1] * (burst.grid.lines - valid.row_stop)
    first, last = ([sample] * valid.rows for sample in (valid.column, valid.column_stop - 1))
    return before + first + after, before + last + after
