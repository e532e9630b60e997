"""A swath of bursts as GAMMA describes it: SLC_par and TOPS_par become bursts and an orbit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topsar.gamma.parameters import Parameters, read_parameters
from topsar.gamma.samples import SampleFormat, check_size
from topsar.kernels.geometry import OrbitArc, fit_orbit
from topsar.model import Burst, Orbit, OrbitSource, RadarGrid, RangePolynomial

if TYPE_CHECKING:
    from topsar.gamma.tab import TabRow

_DAY_S = 86_400.0
_SWATH = re.compile(r"\b(?P<swath>[IE]W\d)\b(?:\s+(?P<polarisation>[HV]{2})\b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaSwath:
    """A line of a tab file, read: parameters as they stand, and what they say."""

    slc: Path
    image: Parameters
    tops: Parameters
    format: SampleFormat
    bursts: tuple[Burst, ...]
    arc: OrbitArc

    @property
    def shape(self) -> tuple[int, int]:
        """Lines of all bursts, samples."""
        return sum(burst.grid.lines for burst in self.bursts), self.bursts[0].grid.samples


def read_swath(row: TabRow) -> GammaSwath:
    """Read the parameters of a swath and check them against each other and against the size of the samples.

    The sign of ``az_steering_rate`` is not used: programs of 2015 write it positive, later ones negative, and
    Sentinel-1 always steers from aft to fore.

    Raises
    ------
    SceneError
        With file, line, key and value.
    """
    image, tops = read_parameters(row.image), read_parameters(row.tops)
    kind = _read_format(image, "image_format")
    if tops.has("data_type") and _read_format(tops, "data_type") is not kind:
        tops.refuse(f"data_type is not the image_format of {image.path}, {kind.value}")
    for parameters in (image, tops):
        for key in ("range_looks", "azimuth_looks"):
            if parameters.has(key) and parameters.read_count(key) != 1:
                parameters.refuse(f"{key} is {parameters.read_count(key)}, and only single looks can be deramped")
    lines, samples = image.read_count("azimuth_lines"), image.read_count("range_samples")
    count, lines_per_burst = tops.read_count("number_of_bursts"), tops.read_count("lines_per_burst")
    if count * lines_per_burst != lines:
        tops.refuse(f"{count} bursts of {lines_per_burst} lines, but azimuth_lines of {image.path} is {lines}")
    if tops.has("range_samples") and tops.read_count("range_samples") != samples:
        tops.refuse(f"range_samples is {tops.read_count('range_samples')}, in {image.path} it is {samples}")
    check_size(row.slc, lines, samples, kind)
    bursts = _read_bursts(image, tops, row.slc)
    orbit = _read_orbit(image)
    try:
        arc = fit_orbit(orbit, bursts[0].grid.first_line_time, bursts[-1].grid.stop_time)
    except ValueError as exc:
        image.refuse(f"its state vectors do not cover the bursts ({exc})")
    return GammaSwath(slc=row.slc, image=image, tops=tops, format=kind, bursts=bursts, arc=arc)


def _read_format(parameters: Parameters, key: str) -> SampleFormat:
    text = parameters.read_words(key)[0]
    if text not in SampleFormat.__members__:
        parameters.refuse(f"{key} is {text}, expected {' or '.join(SampleFormat.__members__)}")
    return SampleFormat[text]


def _read_date(image: Parameters) -> datetime:
    year, month, day = image.read_numbers("date", least=3)[:3]
    try:
        return datetime(int(year), int(month), int(day), tzinfo=timezone.utc)
    except ValueError:
        image.refuse(f"date holds {' '.join(image.read_words('date')[:3])}, which is no day")


def _seconds_after(seconds: float, start: float) -> float:
    """Seconds of a day that may be the day before or after that of ``start``."""
    return seconds + _DAY_S * round((start - seconds) / _DAY_S)


def _read_bursts(image: Parameters, tops: Parameters, slc: Path) -> tuple[Burst, ...]:
    start = image.read_numbers("start_time")[0]
    grid = RadarGrid(
        first_line_time=_read_date(image),
        line_interval_s=image.read_positive("azimuth_line_time"),
        near_range_m=image.read_positive("near_range_slc"),
        range_spacing_m=image.read_positive("range_pixel_spacing"),
        lines=tops.read_count("lines_per_burst"),
        samples=image.read_count("range_samples"),
    )
    sensor = _SWATH.search(" ".join(image.read_words("sensor"))) if image.has("sensor") else None
    steering = abs(math.radians(tops.read_numbers("az_steering_rate")[0]))
    if not steering:
        tops.refuse("az_steering_rate is 0: this is no TOPS image")
    bursts: list[Burst] = []
    for number in range(1, tops.read_count("number_of_bursts") + 1):
        seconds = _seconds_after(tops.read_numbers(f"burst_start_time_{number}")[0], start)
        first = grid.first_line_time + timedelta(seconds=seconds)
        if bursts and first <= bursts[-1].grid.first_line_time:
            tops.refuse(f"burst_start_time_{number} is not later than that of the burst before")
        bursts.append(
            Burst(
                scene=slc.name,
                swath=sensor["swath"].upper() if sensor else slc.name,
                polarisation=(sensor["polarisation"] or "").upper() if sensor else "",
                index=number - 1,
                burst_id=None,
                measurement=str(slc),
                first_line=(number - 1) * grid.lines,
                grid=replace(grid, first_line_time=first),
                valid=grid.whole,
                radar_frequency_hz=image.read_positive("radar_frequency"),
                steering_rate_rad_s=steering,
                fm_rate=_read_polynomial(tops, f"az_fmrate_polynomial_{number}", f"az_fmrate_srdelay_{number}"),
                doppler=_read_polynomial(tops, f"doppler_polynomial_{number}", f"doppler_srdelay_{number}"),
                azimuth_bandwidth_hz=image.read_positive("azimuth_proc_bandwidth"),
                range_bandwidth_hz=image.read_positive("chirp_bandwidth"),
            )
        )
    return tuple(bursts)


def _read_polynomial(tops: Parameters, key: str, origin: str) -> RangePolynomial:
    return RangePolynomial(t0_s=tops.read_numbers(origin)[0], coefficients=tops.read_numbers(key))


def _read_orbit(image: Parameters) -> Orbit:
    """State vectors; their seconds count from midnight of the image's date, and may lie outside that day."""
    count = image.read_count("number_of_state_vectors")
    first = _seconds_after(image.read_numbers("time_of_first_state_vector")[0], image.read_numbers("start_time")[0])
    interval = image.read_positive("state_vector_interval")
    positions, velocities = (
        [image.read_numbers(f"state_vector_{kind}_{number}", least=3)[:3] for number in range(1, count + 1)]
        for kind in ("position", "velocity")
    )
    return Orbit(
        source=OrbitSource.ANNOTATION,
        name=f"state vectors of {image.path.name}",
        epoch=_read_date(image) + timedelta(seconds=first),
        times_s=np.arange(count, dtype=np.float64) * interval,
        positions_m=np.array(positions, dtype=np.float64),
        velocities_m_s=np.array(velocities, dtype=np.float64),
    )
