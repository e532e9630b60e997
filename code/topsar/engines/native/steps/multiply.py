"""The step that multiplies two dates of geocoded bursts, one swath of a pair, and lays the bursts side by side.

Swaths are steps of their own, so that the geocoded bursts of one can go before the next ones are made: they are what
takes up the disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.backscatter import Backscatter, Calibrator
from topsar.engines.ground import find_ground_points, open_dem_under, predict_dem, step_pixel
from topsar.engines.native.steps import BASE_MEMORY
from topsar.engines.native.steps.burst_window import BurstWindow
from topsar.engines.native.steps.swath_file import save_swath
from topsar.engines.orbits import OrbitChoice
from topsar.engines.passes import describe_pass
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import describe_geometry, fit_burst_arc, fit_pass_arc, locate, measure_cells, measure_margin
from topsar.files import write_json
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums, Mosaic, Part
from topsar.kernels.registration import find_overlap
from topsar.kernels.statistics import count_looks, count_phase_looks, widen_looks
from topsar.kernels.tops import find_deramp_terms
from topsar.model import Dem, GeoGrid, Looks, Window
from topsar.schedule.jobs import Lifetime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst, Orbit

BLOCK_ROWS = 32
"""Output rows multiplied at once."""
_NOWHERE = Window(row=0, column=0, rows=1, columns=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstPair:
    """The same burst on both dates."""

    reference: BurstWindow
    secondary: BurstWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplyTask:
    """One swath of a pair, to be multiplied; ``grid`` is the output grid of the whole pair."""

    job: str
    grid: GeoGrid
    looks: Looks
    bursts: tuple[BurstPair, ...]
    reference_orbit: OrbitChoice
    secondary_orbit: OrbitChoice
    dem: Dem
    backscatter: Backscatter

    @property
    def swath(self) -> str:
        """Name of the swath."""
        return self.bursts[0].reference.burst.swath

    @property
    def folder(self) -> str:
        """Where the arrays of the swath lie, relative to the runs folder."""
        return f"{self.job}/multiply_{self.swath}"


class _Multiply(StepKind[MultiplyTask]):
    """The interferogram of a swath; sizes are output pixels of its bursts."""

    name, task = "multiply", MultiplyTask
    cost = Cost(base_memory=BASE_MEMORY, memory=83, disk=47, start_s=1.0, microseconds=1.5, pixels_per_thread=2e5)
    lifetime = Lifetime.SCRATCH
    burst_bytes, block_bytes = 123, 8
    """Memory per output pixel of a burst (place, Doppler, sums, backscatter); per fine pixel of a block."""

    def step_name(self, task: MultiplyTask) -> str:
        return f"multiply_{task.swath}"

    def size(self, task: MultiplyTask) -> float:
        return sum(both.reference.grid.rows * both.reference.grid.columns for both in task.bursts)

    def extra_memory(self, task: MultiplyTask, dem_density: float) -> float:
        grids = [both.reference.grid for both in task.bursts]
        block = max(grid.columns for grid in grids) * task.looks.count * BLOCK_ROWS * self.block_bytes
        largest = max(grid.rows * grid.columns for grid in grids) * self.burst_bytes
        return largest + block + predict_dem(task.grid, dem_density)

    def reads(self, task: MultiplyTask) -> tuple[str, ...]:
        return tuple(sorted({one.folder for both in task.bursts for one in (both.reference, both.secondary)}))

    def inputs(self, task: MultiplyTask) -> tuple[Path, ...]:
        """Orbits and DEM; the images, with the tables beside them, are inputs of what is read."""
        return (task.reference_orbit.path, task.secondary_orbit.path, *task.dem.files)

    def run(self, task: MultiplyTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write the arrays of the swath and ``geometry.json`` into its folder."""
        out = runs / task.folder
        out.mkdir(parents=True, exist_ok=True)
        windows = [find_common_window(pair, task.grid) for pair in task.bursts]
        where = surround_windows([window for window in windows if window is not None])
        grid = task.grid.crop(where)
        burst = task.bursts[0].reference.burst
        orbit, other = (
            choice.load(burst.swath, burst.polarisation) for choice in (task.reference_orbit, task.secondary_orbit)
        )
        _, points = find_ground_points(grid, open_dem_under(task.dem, grid))
        cells = [measure_burst_cells(pair.reference, task.looks, orbit) for pair in task.bursts]
        looks = [count_phase_looks(task.looks, one) for one in cells]
        mosaic, overlaps = Mosaic(grid.shape, task.looks), []
        calibrator = Calibrator(task.backscatter) if task.backscatter != "none" else None
        last: tuple[int, Part] | None = None
        for number, (pair, window) in enumerate(zip(task.bursts, windows, strict=True)):
            if window is None:
                continue
            inside, arc = grid.window_of(task.grid.crop(window)), fit_burst_arc(pair.reference.burst, orbit)
            files = pair.reference.file, pair.secondary.file
            sums = sum_looks(pair, files, task.looks, grid.crop(inside), runs)
            one = _view_burst(pair.reference.burst, arc, points[inside.slices], inside, sums)
            if calibrator is not None:
                found = _find_backscatter(pair, sums, calibrator, points[inside.slices], (orbit, other))
                one = replace(one, backscatter=found)
            if last is not None and (shared := last[1].where.intersection(one.where)) is not None:
                overlap = find_overlap(last[1], one, shared, task.looks, looks[number])
                overlaps.append(overlap._replace(bursts=(last[0], number)))
            mosaic.add(number, one)
            last = number, one
        save_swath(out, where, mosaic, overlaps)
        averaged = [count_looks(widen_looks(task.looks), one) for one in cells]
        geometry = _describe_geometry(task, orbit, other)
        write_json(out / "geometry.json", geometry | {"looks": looks, "coherence_looks": averaged})


def find_common_window(pair: BurstPair, grid: GeoGrid) -> Window | None:
    """The part of a grid that both dates of a burst cover.

    Parameters
    ----------
    pair : BurstPair
    grid : GeoGrid
        Of the same posting as those of the bursts.
    """
    reference = grid.find_shared(pair.reference.grid)
    return reference.intersection(grid.window_of(pair.secondary.grid)) if reference else None


def surround_windows(windows: list[Window]) -> Window:
    """The smallest window around some; one pixel where there is none."""
    if not windows:
        return _NOWHERE
    row, column = min(one.row for one in windows), min(one.column for one in windows)
    stop, column_stop = max(one.row_stop for one in windows), max(one.column_stop for one in windows)
    return Window(row=row, column=column, rows=stop - row, columns=column_stop - column)


def _view_burst(burst: Burst, arc: OrbitArc, points_m: NDArray[np.float64], where: Window, sums: LookSums) -> Part:
    """Find Doppler and margin of a burst in a window of the grid, whose ground is ``points_m``."""
    line, sample = locate(points_m, burst, arc)
    eta = (line - burst.grid.lines / 2) * burst.grid.line_interval_s
    return Part(
        where=where,
        sums=sums,
        doppler_hz=find_deramp_terms(burst, arc).doppler(eta, sample).astype(np.float32),
        margin_m=measure_margin(burst, line, sample, arc),
    )


def sum_looks(pair: BurstPair, files: tuple[str, str], looks: Looks, grid: GeoGrid, runs: Path) -> LookSums:
    """Multiply both dates of a burst on a part of the output grid, a few rows at a time.

    Files are mapped for each block anew: what was read of a mapped file is this process's memory until it is unmapped.

    Parameters
    ----------
    pair : BurstPair
    files : (str, str)
        What was geocoded of it on the two dates, relative to the runs folder.
    looks : Looks
        Geocoded pixels in an output pixel.
    grid : GeoGrid
    runs : Path
    """
    sums = LookSums.zeros(grid.shape)
    origins = [window.grid.window_of(grid) for window in (pair.reference, pair.secondary)]
    for top in range(0, grid.rows, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, grid.rows - top)
        blocks = [
            np.load(runs / file, mmap_mode="r")[
                (origin.row + top) * looks.north : (origin.row + top + rows) * looks.north,
                origin.column * looks.east : (origin.column + grid.columns) * looks.east,
            ]
            for file, origin in zip(files, origins, strict=True)
        ]
        cross_multiply(blocks[0], blocks[1], looks, sums.cut((slice(top, top + rows), slice(None))))
    return sums


def _find_backscatter(
    pair: BurstPair,
    sums: LookSums,
    calibrator: Calibrator,
    points_m: NDArray[np.float64],
    orbits: tuple[Orbit, Orbit],
) -> NDArray[np.float32]:
    """Mean backscatter of both dates of a burst."""
    filled, bursts = np.maximum(sums.filled, 1), (pair.reference.burst, pair.secondary.burst)
    both = zip((sums.power_reference, sums.power_secondary), bursts, orbits, strict=True)
    found = [calibrator.calibrate(power / filled, points_m, burst, orbit) for power, burst, orbit in both]
    return np.asarray((found[0] + found[1]) / 2, np.float32)


def _describe_geometry(task: MultiplyTask, reference: Orbit, secondary: Orbit) -> dict[str, Any]:
    """Describe how the middle of the pair's grid is seen, for the facts."""
    pairs = task.bursts
    arcs = (
        fit_pass_arc(reference, [pair.reference.burst for pair in pairs]),
        fit_pass_arc(secondary, [pair.secondary.burst for pair in pairs]),
    )
    middle = task.grid.crop(Window(row=task.grid.rows // 2, column=task.grid.columns // 2, rows=1, columns=1))
    place = find_ground_points(middle, open_dem_under(task.dem, middle))[1][0, 0]
    passes = {
        "reference": describe_pass(task.reference_orbit, reference, [pair.reference.burst for pair in pairs]),
        "secondary": describe_pass(task.secondary_orbit, secondary, [pair.secondary.burst for pair in pairs]),
    }
    return describe_geometry(place, arcs, pairs[0].reference.burst) | {"passes": passes}


def measure_burst_cells(window: BurstWindow, looks: Looks, orbit: Orbit) -> NDArray[np.float64]:
    """Resolution cells from a fine pixel to its neighbours, in the middle of a burst; see `measure_cells`.

    Parameters
    ----------
    window : BurstWindow
    looks : Looks
        Fine pixels in a pixel of its grid.
    orbit : Orbit
    """
    return measure_cells(step_pixel(window.grid.refine(looks)), window.burst, fit_burst_arc(window.burst, orbit))


STEP = _Multiply()
