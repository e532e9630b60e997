"""Every engine of time series on the same simulated dates: velocity against the truth, seconds and memory."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from client_place import call, list_topsar
from client_truth import read_true_velocity
from pipeline import data_of
from run import RESULTS

from topsar.files import write_text
from topsar.raster import read_geotiff
from topsar.schedule.journal import read_journal
from topsar.simulate import Acquisition, Recipe, recipe

ENGINES = ("least-squares", "insar-rs", "dolphin", "mintpy", "phase-linking")
_BASELINES_M = (0.0, 60.0, -35.0, 80.0, 20.0, -60.0, 45.0, -15.0, 70.0, 10.0, -45.0, 30.0)


class Row(NamedTuple):
    """What an engine made: pixels with a velocity, its error, the same over what it says itself, and the cost."""

    engine: str
    pixels: int
    rms_mm: float
    over_formal: float
    seconds: float
    cpu_s: float
    peak_gb: float


def make_recipe(dates: int) -> Recipe:
    """A strip of two bursts, with ground that rises and air that stays the same, every twelve days."""
    passes = tuple(
        Acquisition(
            day=date(2025, 3, 3) + timedelta(12 * k),
            perpendicular_baseline_m=_BASELINES_M[k % len(_BASELINES_M)],
            azimuth_shift_px=0.001 * (k % 4),
            sync_s=1e-4 * (k % 3),
        )
        for k in range(dates)
    )
    return replace(
        recipe("tiny"),
        name="series",
        acquisitions=passes,
        turbulence_m=0.0,
        stratified_m_per_km=0.0,
        fault_slip_m=0.0,
    )


def list_near_pairs(data: Path, dates: int) -> None:
    """Leave the pairs of each date with the next two in the list."""
    days = [f"{date(2025, 3, 3) + timedelta(12 * k):%Y%m%d}" for k in range(dates)]
    near = {(first, second) for n, first in enumerate(days) for second in days[n + 1 : n + 3]}
    lines = (data / "pairs.txt").read_text().splitlines(keepends=True)
    kept = [line for line in lines if any(f"_{a}T" in line and f"_{b}T" in line for a, b in near)]
    write_text(data / "pairs.txt", "".join(kept))


def run_engine(data: Path, engine: str, *, radar: bool = False) -> Row:
    """Make the time series by an engine, in the runs folder that the others use too."""
    environment = {"FORMATS": "geotiff", "SLC_STACK": "1", "TIMESERIES": engine, "POINTS": ""}
    if radar:
        environment |= {"GRID": "radar", "INTERFEROGRAMS": "0", "SLC_STACK": "0"}
    call(list_topsar("timeseries", data), data / "series.log", environment={**os.environ, **environment})
    (job,) = (path for path in (data / "runs").glob("timeseries_T*") if ("_2025" in path.name) == radar)
    steps = [
        event.ended for event in read_journal(job / "journal.jsonl") if event.ended and event.status.value == "done"
    ]
    steps = steps[-2 if engine == "phase-linking" else -1 :]
    velocity, grid, _ = read_geotiff(job / "timeseries" / "velocity.tif")
    deviation, _, _ = read_geotiff(job / "timeseries" / "velocity_std.tif")
    true = read_true_velocity(data / "truth", grid)
    known = np.isfinite(velocity) & np.isfinite(true)
    error = (velocity - true)[known]
    error -= np.median(error)
    return Row(
        engine=engine + (", radar geometry" if radar else ""),
        pixels=int(known.sum()),
        rms_mm=1e3 * float(np.sqrt((error**2).mean())),
        over_formal=float(np.sqrt(((error / deviation[known]) ** 2).mean())),
        seconds=sum(one.seconds for one in steps),
        cpu_s=sum(one.cpu_s for one in steps),
        peak_gb=max(one.peak_memory_bytes for one in steps) / 1e9,
    )


def main() -> None:
    """Simulate, process, run the engines, print a table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=RESULTS / "series", help="data and results [results/series]")
    parser.add_argument("--dates", type=int, default=8, help="[8]")
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=list(ENGINES), help="[all]")
    parser.add_argument("--radar", action="store_true", help="link the stack in radar geometry too")
    args = parser.parse_args()
    data, seconds = data_of(make_recipe(args.dates), args.folder.resolve())
    if seconds:
        list_near_pairs(data, args.dates)
    print("| `TIMESERIES` | pixels | rms, mm/yr | over its own error | s | CPU s | GB |\n|" + "---|" * 7)
    for row in _run_all(data, args.engines, radar=args.radar):
        print(
            f"| {row.engine} | {row.pixels} | {row.rms_mm:.2f} | {row.over_formal:.2f} | {row.seconds:.0f} | "
            f"{row.cpu_s:.0f} | {row.peak_gb:.2f} |",
            flush=True,
        )


def _run_all(data: Path, engines: list[str], *, radar: bool) -> Iterator[Row]:
    for engine in engines:
        yield run_engine(data, engine)
    if radar:
        yield run_engine(data, "phase-linking", radar=True)


if __name__ == "__main__":
    sys.exit(main())
