"""The step that finds the azimuth timing of a date of a stack, by spectral diversity with the dates before it.

The double differences of burst overlaps give the timing of a date against each of its neighbours before it, whose own
timings are known by then: their weighted mean is that of the date. So the network of dates is solved in the order of
time, and a date that is added last changes no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.native.radar.grid import RadarPart
from topsar.engines.native.steps import BASE_MEMORY
from topsar.engines.native.steps.esd import ESD_LEAST_PIXELS
from topsar.engines.native.steps.overlaps import Overlapping, find_overlapping
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import fit_burst_arc
from topsar.files import read_json, write_json
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums, Part
from topsar.kernels.registration import Overlap, TimingBias, find_overlap, measure_timing
from topsar.kernels.statistics import count_looks
from topsar.kernels.tops import find_deramp_terms
from topsar.model import SPEED_OF_LIGHT, Looks, Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import Burst, Orbit

NEIGHBOURS = 3
"""Dates before it that a date is compared with, as many as topsStack takes."""
LOOKS = Looks(east=20, north=4)
"""Samples and lines of a pixel that votes: square on the ground."""
TIMING_FILE = "timing.json"
"""All in azimuth lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A date before another, and its job."""

    date: str
    job: str

    @property
    def overlaps(self) -> str:
        """The folder of its overlaps, relative to the runs folder."""
        return f"{self.job}/overlaps"

    @property
    def timing(self) -> str:
        """The folder of its timing, relative to the runs folder."""
        return f"{self.job}/timing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingTask:
    """A date of a stack, and those before it that it is compared with; none before the first."""

    job: str
    date: str
    before: tuple[Neighbour, ...]
    parts: tuple[RadarPart, ...]
    reference_orbit: OrbitChoice

    @property
    def folder(self) -> str:
        """Where the timing is written, relative to the runs folder."""
        return f"{self.job}/timing"


class _Timing(StepKind[TimingTask]):
    """The timing of a date; sizes are pixels of its overlaps, for each neighbour."""

    name, task = "timing", TimingTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=0, start_s=1.5, microseconds=0.05)
    overlap_bytes = 25

    def size(self, task: TimingTask) -> float:
        pixels = sum(one.where.rows * one.where.columns for one in find_overlapping(task.parts))
        return max(len(task.before), 1) * pixels

    def extra_memory(self, task: TimingTask, dem_density: float) -> float:  # noqa: ARG002
        sizes = [one.where.rows * one.where.columns for one in find_overlapping(task.parts)]
        return max(sizes, default=0) * self.overlap_bytes if task.before else 0

    def reads(self, task: TimingTask) -> tuple[str, ...]:
        if not task.before:
            return ()
        return (f"{task.job}/overlaps", *(path for one in task.before for path in (one.overlaps, one.timing)))

    def inputs(self, task: TimingTask) -> tuple[Path, ...]:
        return (task.reference_orbit.path,)

    def run(self, task: TimingTask, runs: Path, folder: Path) -> None:
        """Write ``timing.json``."""
        (folder / "timing").mkdir(parents=True, exist_ok=True)
        burst = task.parts[0].burst
        orbit = task.reference_orbit.load(burst.swath, burst.polarisation)
        interval = burst.grid.line_interval_s
        found: list[dict[str, Any]] = []
        for one in task.before:
            known = read_json(runs / one.timing / TIMING_FILE)
            bias = _compare(task, one, orbit, runs) if known["pixels"] is not None else None
            if bias is not None:
                found.append(_describe(one.date, bias, known, interval))
        write_json(folder / "timing" / TIMING_FILE, {"date": task.date} | _join(task, found))


def _compare(task: TimingTask, neighbour: Neighbour, orbit: Orbit, runs: Path) -> TimingBias | None:
    """Timing of the date against a neighbour; None where too few pixels vote."""
    overlaps = [
        _form_double_difference(one, (runs / neighbour.overlaps, runs / task.job / "overlaps"), orbit)
        for one in find_overlapping(task.parts)
    ]
    bias = measure_timing(overlaps)
    return bias if bias is not None and bias.pixels >= ESD_LEAST_PIXELS else None


def _form_double_difference(one: Overlapping, folders: tuple[Path, Path], orbit: Orbit) -> Overlap:
    rows, columns = one.where.rows // LOOKS.north, one.where.columns // LOOKS.east
    window = Window(row=0, column=0, rows=rows, columns=columns)
    parts = []
    for side, part in (("upper", one.upper), ("lower", one.lower)):
        whole = np.s_[: rows * LOOKS.north, : columns * LOOKS.east]
        first, second = (np.load(folder / one.name_file(side), mmap_mode="r")[whole] for folder in folders)
        sums = LookSums.zeros((rows, columns))
        cross_multiply(first, second, LOOKS, sums)
        doppler = _find_doppler(part.burst, one.cut(part), orbit, (rows, columns))
        parts.append(Part(where=window, sums=sums, doppler_hz=doppler, margin_m=doppler))
    independent = count_looks(LOOKS, find_cells(one.upper.burst))
    return find_overlap(parts[0], parts[1], window, LOOKS, independent)


def _find_doppler(burst: Burst, window: Window, orbit: Orbit, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Doppler of the reference's burst in the middle of each pixel."""
    line = np.asarray(window.row + (np.arange(shape[0]) + 0.5) * LOOKS.north - 0.5)
    sample = np.asarray(window.column + (np.arange(shape[1]) + 0.5) * LOOKS.east - 0.5)
    eta = np.asarray((line - burst.grid.lines / 2) * burst.grid.line_interval_s)
    terms = find_deramp_terms(burst, fit_burst_arc(burst, orbit))
    return terms.doppler(eta[:, None], sample).astype(np.float32)


def find_cells(burst: Burst) -> NDArray[np.float64]:
    """Resolution cells, bandwidth times delay, from a pixel to those one sample farther and one line later, (2, 2)."""
    grid = burst.grid
    return np.diag(
        [
            2 / SPEED_OF_LIGHT * burst.range_bandwidth_hz * grid.range_spacing_m,
            burst.azimuth_bandwidth_hz * grid.line_interval_s,
        ]
    )


def _describe(date: str, bias: TimingBias, known: dict[str, Any], interval_s: float) -> dict[str, Any]:
    measured, deviation = bias.seconds / interval_s, bias.deviation_s / interval_s
    return {
        "date": date,
        "measured_pixels": measured,
        "standard_error_pixels": float(np.hypot(deviation, known["standard_error_pixels"])),
        "voting_pixels": bias.pixels,
        "pixels": known["pixels"] + measured,
    }


def _join(task: TimingTask, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The timing against the first date: the mean of what the neighbours say, weighted by their errors."""
    if not task.before:
        return {"pixels": 0.0, "standard_error_pixels": 0.0, "why": "", "neighbours": []}
    if not found:
        why = f"fewer than {ESD_LEAST_PIXELS} coherent pixels in the burst overlaps with each date before it"
        return {"pixels": None, "standard_error_pixels": None, "why": why, "neighbours": []}
    weight = np.array([1 / one["standard_error_pixels"] ** 2 for one in found])
    value = float(np.average([one["pixels"] for one in found], weights=weight))
    for one in found:
        one["residual_pixels"] = one.pop("pixels") - value
    return {
        "pixels": value,
        "standard_error_pixels": float(weight.sum() ** -0.5),
        "why": "",
        "neighbours": list(found),
    }


def read_shift(date: Path, reference: Path) -> tuple[float, str]:
    """Read how many lines later a date lies than the reference, and who says so.

    Parameters
    ----------
    date, reference : Path
        Folders of their timings.
    """
    found = [read_json(folder / TIMING_FILE) for folder in (date, reference)]
    for one in found:
        if one["pixels"] is None:
            return 0.0, f"not estimated: {one['date']} has {one['why']}"
    return found[0]["pixels"] - found[1]["pixels"], "spectral diversity, network of dates"


STEP = _Timing()
