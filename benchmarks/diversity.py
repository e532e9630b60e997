"""How sure spectral diversity is: estimates of many simulated pairs beside the truth, in standard errors.

Every seed is some dates of narrow strips of bursts, each date with an azimuth timing of its own. The steps of the
engines are run up to the estimate, and nothing is kept. topsApp's overlaps are judged one by one too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from dry_data import plan_inputs, simulate_with_short_orbits
from topsar.engines import choose_engine
from topsar.engines.isce2.esd import FACTS, read_overlaps
from topsar.engines.isce2.topsapp import TopsAppRun
from topsar.engines.native.steps.esd import read_estimate
from topsar.engines.native.steps.timing import TIMING_FILE
from topsar.files import read_json
from topsar.kernels.registration import measure_timing
from topsar.schedule.graph import build_graph
from topsar.simulate import Acquisition, recipe
from topsar.simulate.mode import SWATHS
from topsar.simulate.recipe import SwathCut

LAST = {"native": "mosaic", "radar": "timing", "isce2": "esd"}
"""The step that makes the estimate; the later ones are not run."""
_NOT_NEEDED = ("view", "multilook")
_LARGEST_SHIFT_PX = 0.01


def main() -> None:
    """Simulate, estimate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "engines", nargs="+", choices=sorted(LAST), help="radar is the native engine's stack in radar geometry"
    )
    parser.add_argument(
        "--seeds", type=int, default=40, help="how many: six pairs, three dates of a stack, of each [40]"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed [0]")
    parser.add_argument("--samples", type=int, default=400, help="width of a strip [400]")
    parser.add_argument("--dates", type=int, default=4, help="passes of a seed, all paired [4]")
    parser.add_argument("--bursts", type=int, default=2, help="of a strip [2]")
    parser.add_argument("--swaths", nargs="+", choices=sorted(SWATHS), default=["IW2"], help="a strip of each [IW2]")
    parser.add_argument("--kept", type=Path, help="file that estimates are added to, and counted with those in it")
    args = parser.parse_args()
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    if args.kept and args.kept.is_file():
        for line in args.kept.read_text().splitlines():
            name, *row = json.loads(line)
            rows[name].append(tuple(row))
    for seed in range(args.first, args.first + args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            shifts = _simulate(seed, args, Path(folder))
            for name, found in _estimate_all(args.engines, shifts, Path(folder)):
                rows[name] += found
                _show(name, seed, np.array(rows[name]))
                if args.kept:
                    with args.kept.open("a") as file:
                        file.writelines(json.dumps([name, *row]) + "\n" for row in found)


def _estimate_all(
    engines: list[str], shifts: dict[date, float], folder: Path
) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """What is told of each engine, and its estimates."""
    for engine in engines:
        yield engine, list(_estimate(engine, shifts, folder))
        if engine == "isce2":
            yield "isce2, overlap by overlap", list(_estimate_alone(shifts, folder))


def _show(engine: str, seed: int, rows: NDArray[np.float64]) -> None:
    off, sigma = rows.T
    pull = off / sigma
    print(
        f"seed {seed}, {engine}: {len(rows)} estimates, {1e5 * off.mean():+.1f} ± {1e5 * off.std():.1f}e-5 lines; "
        f"standard error {1e5 * np.median(sigma):.1f}e-5; in standard errors: mean {pull.mean():+.2f}, "
        f"rms {np.sqrt((pull**2).mean()):.2f}, largest {np.abs(pull).max():.1f}",
        flush=True,
    )


def _simulate(seed: int, args: argparse.Namespace, folder: Path) -> dict[date, float]:
    """Write the dates; their azimuth timings, lines."""
    shifts = np.random.default_rng(seed).uniform(-_LARGEST_SHIFT_PX, _LARGEST_SHIFT_PX, args.dates)
    days = [date(2025, 3, 3) + timedelta(days=12 * number) for number in range(args.dates)]
    acquisitions = tuple(
        Acquisition(day=day, azimuth_shift_px=shift, perpendicular_baseline_m=20.0 * number)
        for number, (day, shift) in enumerate(zip(days, shifts, strict=True))
    )
    cuts = tuple(SwathCut(swath=swath, first_sample=12000, samples=args.samples) for swath in args.swaths)
    chosen = replace(recipe("tiny"), acquisitions=acquisitions, cuts=cuts, bursts=args.bursts, seed=seed)
    simulate_with_short_orbits(folder, replace(chosen, dem_posting_arcsec=3, scatterers=(10, 15)))
    return dict(zip(days, shifts, strict=True))


def _estimate(engine: str, shifts: dict[date, float], folder: Path) -> Iterator[tuple[float, float]]:
    """Estimate minus truth, and standard error, lines: of all pairs, or of the other dates against the first."""
    runs = folder / engine
    _run(engine, folder, runs)
    first = next(iter(shifts))
    for reference, secondary in combinations(shifts, 2):
        if engine == "radar" and reference != first:
            continue
        found = _read(engine, runs, reference, secondary)
        if found is not None:
            yield found[0] - (shifts[secondary] - shifts[reference]), found[1]


def _estimate_alone(shifts: dict[date, float], folder: Path) -> Iterator[tuple[float, float]]:
    """Estimate minus truth, and standard error, lines: of every overlap of topsApp's alone."""
    for reference, secondary in combinations(shifts, 2):
        run = TopsAppRun.of(_find_pair(folder / "isce2", reference, secondary))
        for overlap in read_overlaps(run):
            found = measure_timing([overlap])
            if found is not None:
                seconds = found.seconds / run.task.line_interval_s, found.deviation_s / run.task.line_interval_s
                yield seconds[0] - (shifts[secondary] - shifts[reference]), seconds[1]


def _run(engine: str, folder: Path, runs: Path) -> None:
    flags = {"GRID": "radar"} if engine == "radar" else {"UNWRAPPER": "none", "POSTING": "80"}
    given = plan_inputs(folder, ENGINE="isce2" if engine == "isce2" else "native", **flags)
    made = choose_engine(*given.settings.engine_wanted)[0]
    planned = made.plan(given.inputs, given.settings.options)
    if planned.refused:
        sys.exit(f"error: {next(iter(planned.refused.values()))}")
    for name, text in planned.tasks.items():
        (runs / name).mkdir(parents=True)
        (runs / name / "job.json").write_text(text)
    is_over = set()
    for job, step in build_graph(planned.jobs).nodes:
        if job not in is_over and step not in _NOT_NEEDED:
            made.execute(runs / job, step)
        if step == LAST[engine]:
            is_over.add(job)


def _read(engine: str, runs: Path, reference: date, secondary: date) -> tuple[float, float] | None:
    if engine == "radar":
        (path,) = runs.glob(f"*_{secondary:%Y%m%d}/timing/{TIMING_FILE}")
        found = read_json(path)
        return None if found["pixels"] is None else (found["pixels"], found["standard_error_pixels"])
    pair = _find_pair(runs, reference, secondary)
    if engine == "isce2":
        found = read_json(pair / "topsapp" / FACTS)
        return (found["estimate_pixels"], found["standard_error_pixels"]) if found["estimated"] else None
    estimated = read_estimate(pair)
    return None if estimated is None else (estimated["pixels"], estimated["standard_error_pixels"])


def _find_pair(runs: Path, reference: date, secondary: date) -> Path:
    (pair,) = runs.glob(f"*_{reference:%Y%m%d}T*_{secondary:%Y%m%d}T*")
    return pair


if __name__ == "__main__":
    main()
