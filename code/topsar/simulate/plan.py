"""Which bursts of which products are to be simulated: times, ranges, Doppler, names."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.kernels.geometry import OrbitArc, rdr2geo
from topsar.model import CROSSED, SPEED_OF_LIGHT, Burst, BurstId, RadarGrid, RangePolynomial, Window
from topsar.simulate import mode as iw
from topsar.simulate.orbit import (
    CYCLE_DAYS,
    CYCLE_ORBITS,
    ORBIT_PERIOD_S,
    Pass,
    displace_pass,
    find_pass,
)
from topsar.simulate.recipe import Acquisition, Recipe, SwathCut

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORBIT_ONE = date(2014, 4, 3)
_EDGE_SAMPLES = 12
_GAIN_SLOPE, _SCALLOPING = 0.1, 0.17


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathPlan:
    """The bursts of one swath of one product."""

    mode: iw.SwathMode
    bursts: tuple[Burst, ...]
    sensing: tuple[datetime, ...]
    incidence_rad: float
    stem: str

    @property
    def lines(self) -> int:
        """Lines of all bursts."""
        return len(self.bursts) * self.mode.lines

    @property
    def name(self) -> str:
        """Swath and polarisation."""
        return f"{self.mode.name} {self.bursts[0].polarisation}"

    @property
    def is_cross(self) -> bool:
        """Whether other waves are received than are sent."""
        return self.bursts[0].polarisation in CROSSED

    def noise_power(self, nesz_db: float) -> float:
        """Power of thermal noise in squared digital numbers, from the noise-equivalent sigma nought (dB).

        That of a burst's middle, before the processor's gain.
        """
        return float(iw.BETA_NOUGHT**2 * 10 ** (nesz_db / 10) / math.sin(self.incidence_rad))

    def find_gain(self, line: NDArray[Any], sample: NDArray[Any]) -> NDArray[np.float64]:
        """The processor's gain, linear along both sides of the image: its calibration is nowhere the same.

        Parameters
        ----------
        line, sample : number
            Of the image, of shapes that go together.
        """
        samples = self.bursts[0].grid.samples
        return (1 + _GAIN_SLOPE * (sample / samples - 0.5)) * (1 - _GAIN_SLOPE * (line / self.lines - 0.5))

    def find_scalloping(self, line: NDArray[Any]) -> NDArray[np.float64]:
        """Power of thermal noise at lines of a burst over that in its middle, by the gain of the steered antenna."""
        return 1 + _SCALLOPING * (2 * line / self.mode.lines - 1) ** 2

    @property
    def start(self) -> datetime:
        """Time of the first line."""
        return self.bursts[0].grid.first_line_time

    @property
    def stop(self) -> datetime:
        """Time of the last line."""
        return self.bursts[-1].grid.stop_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """What the products of one pass share; ``number`` counts the passes."""

    recipe: Recipe
    number: int
    track: Pass

    @property
    def acquisition(self) -> Acquisition:
        """The recipe's part for this pass."""
        return self.recipe.acquisitions[self.number]

    @property
    def absolute_orbit(self) -> int:
        """Revolutions of the satellite."""
        cycle = round((self.acquisition.day - _ORBIT_ONE).days / CYCLE_DAYS)
        return iw.FIRST_ORBIT[self.acquisition.mission] + CYCLE_ORBITS * cycle + self.recipe.track - 1

    @property
    def cycle(self) -> int:
        """Repeat cycles flown before, as the absolute orbit number counts them."""
        return self.absolute_orbit // CYCLE_ORBITS

    @property
    def datatake(self) -> int:
        """Number of the datatake."""
        return (self.absolute_orbit * 8 + 7) % 0x1000000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan(Flight):
    """One SAFE product; ``slice_number`` counts the products of a pass from one."""

    slice_number: int
    swaths: tuple[SwathPlan, ...]

    @property
    def name(self) -> str:
        """Name of the SAFE folder."""
        kind = "S" if len(self.recipe.polarisations) == 1 else "D"
        name = (
            f"{self.acquisition.mission}_IW_SLC__1S{kind}{self.recipe.polarisations[0][0]}_{self.start:%Y%m%dT%H%M%S}"
            f"_{self.stop:%Y%m%dT%H%M%S}_{self.absolute_orbit:06d}_{self.datatake:06X}"
        )
        unique = zlib.crc32(f"{name} {self.recipe.seed}".encode()) & 0xFFFF
        return f"{name}_{unique:04X}.SAFE"

    @property
    def start(self) -> datetime:
        """Earliest line of all swaths."""
        return min(swath.start for swath in self.swaths)

    @property
    def stop(self) -> datetime:
        """Latest line of all swaths."""
        return max(swath.stop for swath in self.swaths)

    @property
    def middle(self) -> datetime:
        """Time half way between start and stop."""
        return self.start + (self.stop - self.start) / 2

    @property
    def arc(self) -> OrbitArc:
        """Orbit over the product as read from the orbit file."""
        return self.track.fit_arc(self.start, self.stop)


def plan_products(recipe: Recipe) -> tuple[tuple[ProductPlan, ...], ...]:
    """The products of a recipe, by pass in order of time, then by slice."""
    _check_recipe(recipe)
    edges = [_find_near_range_m(cut) + far * cut.samples * iw.RANGE_SPACING_M for cut in recipe.cuts for far in (0, 1)]
    mid_range = (min(edges) + max(edges)) / 2
    first = recipe.acquisitions[0].day
    midnight = datetime.combine(first, time(), timezone.utc)
    nominal = find_pass(recipe.centre, mid_range, recipe.direction, midnight)
    passes = []
    for number, acquisition in enumerate(recipe.acquisitions):
        epoch = nominal.epoch + (acquisition.day - first)
        track = displace_pass(nominal, epoch, acquisition.perpendicular_baseline_m, mid_range)
        flight = Flight(recipe=recipe, number=number, track=track)
        passes.append(tuple(_plan_product(flight, part) for part in range(recipe.slices)))
    return tuple(passes)


def _check_recipe(recipe: Recipe) -> None:
    days = [acquisition.day for acquisition in recipe.acquisitions]
    if days != sorted(set(days)):
        msg = f"acquisitions must be on different days, in order of time: {', '.join(map(str, days))}"
        raise ValueError(msg)
    for cut in recipe.cuts:
        if cut.first_sample < 0 or cut.first_sample + cut.samples > iw.SWATHS[cut.swath].samples:
            msg = f"{cut} lies outside the {iw.SWATHS[cut.swath].samples} samples of {cut.swath}"
            raise ValueError(msg)


def _find_near_range_m(cut: SwathCut) -> float:
    return iw.SWATHS[cut.swath].near_time_s * SPEED_OF_LIGHT / 2 + cut.first_sample * iw.RANGE_SPACING_M


def _plan_product(flight: Flight, part: int) -> ProductPlan:
    recipe = flight.recipe
    central = 1 + round(_find_burst_phase_s(flight) / iw.BURST_INTERVAL_S - iw.BURST_PHASE)
    first = central + part * recipe.bursts - recipe.bursts * recipe.slices // 2
    numbers = range(first, first + recipe.bursts)
    return ProductPlan(
        recipe=recipe,
        number=flight.number,
        track=flight.track,
        slice_number=part + 1,
        swaths=tuple(
            _plan_swath(flight, cut, numbers, polarisation)
            for cut in recipe.cuts
            for polarisation in recipe.polarisations
        ),
    )


def _find_burst_phase_s(flight: Flight) -> float:
    """Seconds from ESA's burst 1 of the cycle to the epoch of a pass."""
    since_node = (flight.track.epoch - flight.track.node_time).total_seconds()
    return since_node - iw.BURST_PREAMBLE_S + (flight.recipe.track - 1) * ORBIT_PERIOD_S


def _plan_swath(flight: Flight, cut: SwathCut, numbers: range, polarisation: str) -> SwathPlan:
    recipe, acquisition, track = flight.recipe, flight.acquisition, flight.track
    mode = iw.SWATHS[cut.swath]
    starts = [_find_burst_start(flight, mode, number) for number in numbers]
    stop = starts[-1] + timedelta(seconds=(mode.lines - 1) * iw.LINE_INTERVAL_S)
    arc = track.fit_arc(starts[0], stop)
    stem = (
        f"{acquisition.mission.lower()}-{mode.name.lower()}-slc-{polarisation.lower()}"
        f"-{starts[0]:%Y%m%dt%H%M%S}-{stop:%Y%m%dt%H%M%S}-{flight.absolute_orbit:06d}-{flight.datatake:06x}-00{mode.name[-1]}"
    )
    bursts = tuple(
        _plan_burst(recipe, cut, arc, stem, place, start)
        for place, start in zip(enumerate(numbers), starts, strict=True)
    )
    sensing = tuple(burst.grid.mid_time - timedelta(seconds=mode.sensing_lead_s) for burst in bursts)
    mid_range = (bursts[0].grid.near_range_m + bursts[0].grid.far_range_m) / 2
    return SwathPlan(
        mode=mode, bursts=bursts, sensing=sensing, incidence_rad=track.find_incidence_rad(mid_range), stem=stem
    )


def _find_burst_start(flight: Flight, mode: iw.SwathMode, number: int) -> datetime:
    """First line: on the burst grid, then on the line grid that all bursts of a pass share, to the microsecond."""
    track, acquisition = flight.track, flight.acquisition
    middle = (number - 1 + iw.BURST_PHASE) * iw.BURST_INTERVAL_S - _find_burst_phase_s(flight)
    start = middle + mode.cycle_offset_s + acquisition.sync_s - mode.lines / 2 * iw.LINE_INTERVAL_S
    line = round(start / iw.LINE_INTERVAL_S)
    return track.epoch + timedelta(microseconds=round(line * iw.LINE_INTERVAL_S * 1e6))


def _plan_burst(
    recipe: Recipe, cut: SwathCut, arc: OrbitArc, stem: str, place: tuple[int, int], start: datetime
) -> Burst:
    """Plan the burst at a ``place`` (index in the image, ESA's number) that starts at a time."""
    mode, (index, number) = iw.SWATHS[cut.swath], place
    grid = RadarGrid(
        first_line_time=start,
        line_interval_s=iw.LINE_INTERVAL_S,
        near_range_m=_find_near_range_m(cut),
        range_spacing_m=iw.RANGE_SPACING_M,
        lines=mode.lines,
        samples=cut.samples,
    )
    return Burst(
        scene=stem,
        swath=mode.name,
        polarisation=stem.split("-")[3].upper(),
        index=index,
        burst_id=BurstId(track=recipe.track, number=number, swath=mode.name) if recipe.with_burst_id else None,
        measurement=f"measurement/{stem}.tiff",
        first_line=index * mode.lines,
        grid=grid,
        valid=_find_valid(mode, cut),
        radar_frequency_hz=iw.RADAR_FREQUENCY_HZ,
        steering_rate_rad_s=math.radians(mode.steering_deg_s),
        fm_rate=_fit_fm_rate(mode, arc, grid),
        doppler=_draw_doppler(recipe, start, mode),
        azimuth_bandwidth_hz=mode.azimuth_bandwidth_hz,
        range_bandwidth_hz=mode.range_bandwidth_hz,
    )


def _find_valid(mode: iw.SwathMode, cut: SwathCut) -> Window:
    """The mode's valid window inside the cut, with a margin where the cut is not the mode's own edge."""
    first = max(mode.valid_samples[0] - cut.first_sample, _EDGE_SAMPLES)
    stop = min(mode.valid_samples[1] - cut.first_sample, cut.samples - _EDGE_SAMPLES)
    row, row_stop = mode.valid_lines
    return Window(row=row, column=first, rows=row_stop - row, columns=stop - first)


def _fit_fm_rate(mode: iw.SwathMode, arc: OrbitArc, grid: RadarGrid) -> RangePolynomial:
    """Azimuth FM rate -2/λ d²R/dt² of ground on the ellipsoid, as a polynomial over the full swath."""
    tau = mode.near_time_s + np.linspace(0, mode.samples, 30) * 2 * iw.RANGE_SPACING_M / SPEED_OF_LIGHT
    range_m = tau * SPEED_OF_LIGHT / 2
    t = np.full(len(tau), arc.seconds(grid.mid_time))
    point = rdr2geo(t, range_m, 0.0, arc)
    velocity = arc.velocity(t)
    acceleration = arc.velocity(t + 0.5) - arc.velocity(t - 0.5)
    look = point - arc.position(t)
    curvature = ((velocity**2).sum(-1) - (look * acceleration).sum(-1)) / range_m
    fit = np.polynomial.polynomial.polyfit(tau - mode.near_time_s, -2 / iw.WAVELENGTH_M * curvature, 2)
    return RangePolynomial(t0_s=mode.near_time_s, coefficients=tuple(float(c) for c in fit))


def _draw_doppler(recipe: Recipe, start: datetime, mode: iw.SwathMode) -> RangePolynomial:
    """A small Doppler centroid, different in every burst, as attitude and estimation leave it."""
    seed = zlib.crc32(f"{recipe.seed} {start.isoformat()} {mode.name}".encode())
    draw = np.random.default_rng(seed).standard_normal(3)
    middle = mode.near_time_s + mode.samples * iw.RANGE_SPACING_M / SPEED_OF_LIGHT - iw.DOPPLER_T0_S
    slope, bend = 900 * recipe.doppler_hz * draw[1], 3e5 * recipe.doppler_hz * draw[2]
    offset = recipe.doppler_hz * draw[0] - slope * middle - bend * middle**2
    return RangePolynomial(t0_s=iw.DOPPLER_T0_S, coefficients=(float(offset), float(slope), float(bend)))
