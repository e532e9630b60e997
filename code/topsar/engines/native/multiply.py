"""The step that multiplies two dates of geocoded bursts, one swath of a pair, and lays the bursts side by side.

Swaths are steps of their own, so that the geocoded bursts of one can go before the next ones are made: they are what
takes up the disk.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.ground import dem_under, ground_points, pixel_sides
from topsar.engines.native.swath import save_swath
from topsar.engines.viewing import burst_arc, burst_margin, describe_geometry, locate, pass_arc
from topsar.files import write_json
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums, Mosaic
from topsar.kernels.registration import BurstInterferogram, find_overlap
from topsar.kernels.statistics import coherence_at_zero, coherence_window
from topsar.kernels.tops import deramp_terms
from topsar.model import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.native.tasks import BurstPair, PairTask
    from topsar.model import GeoGrid, Looks, Orbit

BLOCK_ROWS = 32
"""Output rows multiplied at once."""
_NOWHERE = Window(row=0, column=0, rows=1, columns=1)


def multiply(task: PairTask, swath: str, runs: Path, folder: Path) -> None:
    """Multiply the bursts of one swath, lay them side by side, and write them into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = task.bursts_of(swath)
    windows = [_common_window(pair, task.grid) for pair in pairs]
    where = _around([window for window in windows if window is not None])
    grid = task.grid.crop(where)
    burst = pairs[0].reference.burst
    orbit = task.reference_orbit.load(burst.swath, burst.polarisation)
    _, points = ground_points(grid, dem_under(task.dem, grid))
    mosaic, overlaps = Mosaic(grid.shape, task.looks), []
    last: BurstInterferogram | None = None
    for number, (pair, window) in enumerate(zip(pairs, windows, strict=True)):
        if window is None:
            continue
        inside = grid.window_of(task.grid.crop(window))
        one = _multiply(pair, task.looks, grid, inside, points[inside.slices], orbit, runs)
        if last is not None and (shared := last.where.intersection(one.where)) is not None:
            overlaps.append(find_overlap(last, one, shared, task.looks))
        mosaic.add(number, one.sums, one.doppler_hz, one.margin_m, one.where.slices)
        last = one
    save_swath(folder, where, mosaic, overlaps)
    write_json(folder / "geometry.json", _geometry(task, pairs, orbit))


def _common_window(pair: BurstPair, grid: GeoGrid) -> Window | None:
    """The part of the grid that both dates of a burst cover."""
    whole = Window(row=0, column=0, rows=grid.rows, columns=grid.columns)
    both = grid.window_of(pair.reference.grid).intersection(grid.window_of(pair.secondary.grid))
    return both.intersection(whole) if both else None


def _around(windows: list[Window]) -> Window:
    """The smallest window around some; one pixel where there is none."""
    if not windows:
        return _NOWHERE
    row, column = min(one.row for one in windows), min(one.column for one in windows)
    stop, column_stop = max(one.row_stop for one in windows), max(one.column_stop for one in windows)
    return Window(row=row, column=column, rows=stop - row, columns=column_stop - column)


def _multiply(
    pair: BurstPair,
    looks: Looks,
    grid: GeoGrid,
    where: Window,
    points_m: NDArray[np.float64],
    orbit: Orbit,
    runs: Path,
) -> BurstInterferogram:
    """Interferogram of one burst in a window of the grid, whose ground is ``points_m``."""
    burst = pair.reference.burst
    arc = burst_arc(burst, orbit)
    line, sample = locate(points_m, burst, arc)
    eta = (line - burst.grid.lines / 2) * burst.grid.line_interval_s
    return BurstInterferogram(
        where=where,
        sums=_look_sums(pair, looks, grid, where, runs),
        doppler_hz=deramp_terms(burst, arc).doppler(eta, sample).astype(np.float32),
        margin_m=burst_margin(burst, line, sample, arc),
    )


def _look_sums(pair: BurstPair, looks: Looks, grid: GeoGrid, where: Window, runs: Path) -> LookSums:
    sums = LookSums.zeros((where.rows, where.columns))
    files = [np.load(runs / name, mmap_mode="r") for name in (pair.reference_file, pair.secondary_file)]
    origins = [window.grid.window_of(grid.crop(where)) for window in (pair.reference, pair.secondary)]
    for top in range(0, where.rows, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, where.rows - top)
        blocks = [
            file[
                (origin.row + top) * looks.north : (origin.row + top + rows) * looks.north,
                origin.column * looks.east : (origin.column + where.columns) * looks.east,
            ]
            for file, origin in zip(files, origins, strict=True)
        ]
        cross_multiply(blocks[0], blocks[1], looks, sums.cut((slice(top, top + rows), slice(None))))
    return sums


def _geometry(task: PairTask, pairs: Sequence[BurstPair], reference: Orbit) -> dict[str, Any]:
    """What the facts say of how the middle of the pair's grid is seen."""
    first = pairs[0].secondary.burst
    secondary = task.secondary_orbit.load(first.swath, first.polarisation)
    arcs = (
        pass_arc(reference, [pair.reference.burst for pair in pairs]),
        pass_arc(secondary, [pair.secondary.burst for pair in pairs]),
    )
    middle = task.grid.crop(Window(row=task.grid.rows // 2, column=task.grid.columns // 2, rows=1, columns=1))
    geometry = describe_geometry(
        ground_points(middle, dem_under(task.dem, middle))[1][0, 0],
        arcs,
        pairs[0].reference.burst,
        area_m2=math.prod(pixel_sides(task.grid)),
        most_looks=task.looks.count,
    )
    averaged = geometry["independent_looks"] * coherence_window(task.looks) ** 2
    return geometry | {"coherence_bias_at_zero": coherence_at_zero(averaged)}
