"""A time series of a whole frame: a hundred dates and three hundred pairs at 80 m, made up, against the truth."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from formats import SHAPE
from numpy.typing import NDArray
from pipeline import run_command
from run import RESULTS
from scipy.ndimage import zoom

from topsar.files import write_text
from topsar.model import GeoGrid
from topsar.raster import read_geotiff, write_geotiff

_WAVELENGTH_M = 0.05546576
_EVERY_DAYS, _NEXT = 12, 3
_COHERENCE, _LOOKS = 0.7, 20.0
_AIR_RAD = 0.5
_STEP_RAD = 1 / 64
"""Phases are rounded to this, so that 300 pairs of a frame take 3 GB of disk."""


def make_velocity(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Metres per year toward the satellite: a bowl that sinks, a hill that rises, still ground around them."""
    row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    row, column = row / shape[0], column / shape[1]
    bowl = -0.03 * np.exp(-((row - 0.4) ** 2 + (column - 0.5) ** 2) / 0.005)
    hill = 0.01 * np.exp(-((row - 0.7) ** 2 + (column - 0.6) ** 2) / 0.02)
    return (bowl + hill).astype(np.float32)


def make_dates(shape: tuple[int, int], dates: int) -> Iterator[NDArray[np.int16]]:
    """The phase of each date since the first in steps: motion, smooth air, and the noise that coherence allows."""
    rng, velocity = np.random.default_rng(11), make_velocity(shape)
    noise = np.float32(np.sqrt((1 - _COHERENCE**2) / (2 * _LOOKS)) / _COHERENCE / np.sqrt(2))
    for number in range(dates):
        years = np.float32(number * _EVERY_DAYS / 365.25)
        air = zoom(rng.normal(0, _AIR_RAD, (12, 16)), (shape[0] / 12, shape[1] / 16), order=1)[: shape[0], : shape[1]]
        phase = velocity * np.float32(-4 * np.pi / _WAVELENGTH_M) * years + air.astype(np.float32)
        phase += noise * rng.standard_normal(shape, np.float32)
        yield np.rint(phase / np.float32(_STEP_RAD)).astype(np.int16)


def make_pairs(folder: Path, shape: tuple[int, int], dates: int) -> Path:
    """Write the GeoTIFFs of each date with the next three, unless they are there; a third of the ground has none."""
    done = folder / "complete.txt"
    text = f"{shape} {dates}\n"
    if done.is_file() and done.read_text() == text:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    grid = GeoGrid(crs="EPSG:32611", west=400_000, north=3_600_000, dx=80, dy=80, rows=shape[0], columns=shape[1])
    phases = np.stack(list(make_dates(shape, dates)))
    row, column = np.mgrid[: shape[0], : shape[1]]
    known = (column + row) * 9 // shape[1] % 3 > 0
    coherence = folder / "coherence.tif"
    write_geotiff(coherence, np.where(known, np.float32(_COHERENCE), 0).astype(np.float32), grid, nodata=0)
    days = [f"{date(2021, 1, 1) + timedelta(number * _EVERY_DAYS):%Y%m%d}" for number in range(dates)]
    for first in range(dates):
        for second in range(first + 1, min(first + _NEXT + 1, dates)):
            phase = (phases[second] - phases[first]) * np.float32(_STEP_RAD)
            name = f"{days[first]}-{days[second]}"
            write_geotiff(folder / f"{name}_unw.tif", np.where(known, phase, 0), grid, nodata=0)
            os.link(coherence, folder / f"{name}_cc.tif")
    write_text(done, text)
    return folder


def main() -> None:
    """Make the pairs, invert them, print the cost and the error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=RESULTS / "series_frame", help="[results/series_frame]")
    parser.add_argument("--dates", type=int, default=100, help="[100]")
    parser.add_argument("--reduce", type=int, default=1, metavar="N", help="only every Nth row and column [1]")
    args = parser.parse_args()
    shape = SHAPE[0] // args.reduce, SHAPE[1] // args.reduce
    pairs = make_pairs(args.folder.resolve() / "pairs", shape, args.dates)
    to = pairs.parent / "made"
    argv = [sys.executable, "-m", "topsar", "timeseries", "--foreign", str(pairs), "--to", str(to)]
    argv += ["--independent-looks", str(_LOOKS)]
    use = run_command(argv, to, pairs.parent / "series.log", os.environ)
    velocity, _, _ = read_geotiff(to / "pairs" / "velocity.tif")
    deviation, _, _ = read_geotiff(to / "pairs" / "velocity_std.tif")
    error = velocity - make_velocity(shape)
    error -= np.nanmedian(error)
    print(
        f"{shape[0]} x {shape[1]} pixels, {args.dates} dates: {use['seconds']:.0f} s, {use['cpu_s']:.0f} CPU s, "
        f"{use['peak_bytes'] / 1e9:.2f} GB of memory, {use['peak_disk_bytes'] / 1e9:.1f} GB of disk; "
        f"velocity {1e3 * np.sqrt(np.nanmean(error**2)):.2f} mm/yr rms, "
        f"{np.sqrt(np.nanmean((error / deviation) ** 2)):.2f} of its own error, {np.isfinite(error).sum()} pixels"
    )


if __name__ == "__main__":
    sys.exit(main())
