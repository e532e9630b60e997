"""Calibrated backscatter of both dates, from the products themselves: topsApp merges amplitudes of pairs alone.

Its amplitude is the mean of √(|r|·|s|), which lies below the root of the mean power by as much as coherence and texture
say. So the power of each date is averaged over looks where that date shows it, calibrated there, and laid on the map as
the merged images are. Where bursts overlap, theirs are averaged.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np

from topsar.engines.backscatter import Calibrator
from topsar.engines.ground import find_ground_points, open_dem_under
from topsar.engines.isce2.geocode import (
    OUTSIDE,
    STRIP_ROWS,
    average_points,
    count_points,
    fit_arcs,
    load_orbits,
    locate_merged,
)
from topsar.files import save_array
from topsar.kernels.geometry import geo2rdr
from topsar.model import Window
from topsar.sentinel1 import iter_samples, open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from topsar.engines.isce2.topsapp import TopsAppRun
    from topsar.model import Burst, Looks, RadarGrid
    from topsar.sentinel1.calibration import Calibration

BACKSCATTER = "backscatter"
"""Folder in topsApp's run folder with the array on the map."""
_LINES = 128
"""About so many lines are read at once."""
_DATES: tuple[Literal["reference", "secondary"], ...] = ("reference", "secondary")


def write_backscatter(run: TopsAppRun) -> None:
    """Write the mean backscatter of both dates on the map, NaN where one of them has none."""
    task = run.task
    assert task.backscatter != "none"
    calibrator, arcs = Calibrator(task.backscatter), fit_arcs(task, load_orbits(task))
    bursts = [[getattr(both, date) for both in task.bursts] for date in _DATES]
    grids = [task.merge(date) for date in _DATES]
    images = [_merge(one, grid, task.looks, calibrator) for one, grid in zip(bursts, grids, strict=True)]
    points, field = count_points(task), open_dem_under(task.dem, task.grid)
    found = np.empty(task.grid.shape, np.float32)
    for top in range(0, task.grid.rows, STRIP_ROWS):
        rows = min(STRIP_ROWS, task.grid.rows - top)
        strip = task.grid.crop(Window(row=top, column=0, rows=rows, columns=task.grid.columns))
        _, places = find_ground_points(strip.refine(points), field)
        dates = []
        for image, grid, arc in zip(images, grids, arcs, strict=True):
            at = np.nan_to_num(locate_merged(grid, arc, *geo2rdr(places, arc)), nan=OUTSIDE)
            dates.append(average_points({"": image}, at, points)[""])
        found[top : top + rows] = np.where((dates[0] != 0) & (dates[1] != 0), (dates[0] + dates[1]) / 2, np.nan)
    folder = run.folder / BACKSCATTER
    folder.mkdir(exist_ok=True)
    save_array(folder / "backscatter.npy", found)


def _merge(bursts: Sequence[Burst], merged: RadarGrid, looks: Looks, calibrator: Calibrator) -> NDArray[np.float32]:
    """Lay the calibrated looks of bursts into one image, (lines, samples); zero where no burst has signal."""
    total, count = np.zeros(merged.shape, np.float32), np.zeros(merged.shape, np.uint8)
    lines = looks.north * max(_LINES // looks.north, 1)
    for _, group in groupby(bursts, key=lambda burst: burst.measurement):
        of_image = list(group)
        table = calibrator.find_table(of_image[0])
        with open_image(of_image[0]) as image:
            for burst in of_image:
                cells, samples = _find_cells(burst, merged, looks)
                row, line = cells.row, burst.first_line + samples.row
                for part in iter_samples(burst, samples, lines, image):
                    power = _average_power(part, looks)
                    where = slice(row, row + len(power)), cells.slices[1]
                    total[where] += np.where(power > 0, _calibrate(power, table, (line, samples.column), looks), 0)
                    count[where] += power > 0
                    row, line = row + len(power), line + len(part)
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def _find_cells(burst: Burst, merged: RadarGrid, looks: Looks) -> tuple[Window, Window]:
    """The pixels of a merged image whose looks a burst has whole, and these looks in the burst."""
    grid, valid = burst.grid, burst.valid
    late = (grid.first_line_time - merged.first_line_time).total_seconds() / grid.line_interval_s
    far = (grid.near_range_m - merged.near_range_m) / grid.range_spacing_m
    line, sample = round(late + (looks.north - 1) / 2), round(far + (looks.east - 1) / 2)  # of the burst's first
    row, column = -((-line - valid.row) // looks.north), -((-sample - valid.column) // looks.east)
    rows = min((line + valid.row_stop) // looks.north, merged.lines) - row
    columns = min((sample + valid.column_stop) // looks.east, merged.samples) - column
    cells = Window(row=row, column=column, rows=rows, columns=columns)
    return cells, Window(
        row=row * looks.north - line,
        column=column * looks.east - sample,
        rows=rows * looks.north,
        columns=columns * looks.east,
    )


def _average_power(samples: NDArray[np.complex64], looks: Looks) -> NDArray[np.float32]:
    """Mean of |DN|² over looks."""
    power = samples.real**2 + samples.imag**2
    cells = len(power) // looks.north, looks.north, power.shape[1] // looks.east, looks.east
    return np.asarray(power.reshape(cells).mean(axis=(1, 3)))


def _calibrate(
    power: NDArray[np.float32], table: Calibration, first: tuple[int, int], looks: Looks
) -> NDArray[np.float64]:
    """Calibrate means over looks, of which ``first`` is the first line and sample of the image."""
    line, sample = (
        start + (np.arange(size) + 0.5) * of - 0.5
        for start, size, of in zip(first, power.shape, (looks.north, looks.east), strict=True)
    )
    return table.calibrate(power, *np.meshgrid(line, sample, indexing="ij"))
