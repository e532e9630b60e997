"""Geocoded SLCs of one simulated burst pair by topsar and by insardev_pygmtsar: time, memory, accuracy."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pipeline
import rasterio
from numpy.typing import NDArray
from run import RESULTS

from topsar.engines.native.tasks import BurstWindow, GeocodeTask, SlcTask, Task, load_task
from topsar.model import GeoGrid, Looks, Window
from topsar.raster import write_geotiff, write_json
from topsar.simulate import Recipe
from topsar.simulate.compare import compare_pair
from topsar.simulate.mode import SWATHS
from topsar.simulate.recipe import SwathCut

_PEER = "insardev_pygmtsar"
_WORKER = Path(__file__).resolve().parent / "peer_worker.py"
_SWATH = "IW2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What topsar plans for the pair: its folder of runs, the tasks by job, and the facts of the pair."""

    runs: Path
    tasks: dict[str, Task]
    facts: dict[str, Any]

    def jobs(self, kind: type[GeocodeTask] | type[SlcTask]) -> list[str]:
        """The jobs of a kind, in order of time."""
        return sorted(name for name, task in self.tasks.items() if isinstance(task, kind))

    @property
    def dates(self) -> list[SlcTask]:
        """The two dates."""
        return [task for task in self.tasks.values() if isinstance(task, SlcTask)]

    @property
    def windows(self) -> list[BurstWindow]:
        """The burst on both dates."""
        return [burst.window for task in self.dates for burst in task.bursts]


def main() -> None:
    """Parse, run, print."""
    args = _parse()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    if not _installed(args.python):
        sys.exit(f"{args.python} has no {_PEER}: install it there, or name another Python with --python")
    data, _ = pipeline.data_of(_recipe(args.samples), args.folder)
    pipeline.run_pairs(data, flags=["CLEANUP=none", "SLC_STACK=1", "UNWRAPPER=none"])
    planned = _planned(data / "runs")
    rows = _topsar(planned, args.repeats, data)
    rows.append(_peer(planned, args, data))
    _show(rows, planned)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def _installed(python: str) -> bool:
    """Whether that Python has the package; importing it takes seconds and is not needed to know."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{_PEER}') is None)"
    return subprocess.run([python, "-c", look], check=False).returncode == 0


def _recipe(samples: int) -> Recipe:
    """One burst without misregistration: neither program looks for it when it geocodes."""
    small = pipeline.recipe_of("small")
    return replace(
        small,
        name=f"burst-{samples}",
        bursts=1,
        cuts=(SwathCut(swath=_SWATH, first_sample=0, samples=samples),),
        acquisitions=tuple(replace(one, azimuth_shift_px=0.0) for one in small.acquisitions),
    )


def _planned(runs: Path) -> Planned:
    tasks = {job.parent.name: load_task(job.parent) for job in sorted(runs.glob("*/job.json"))}
    (facts,) = runs.glob("*/products/facts.json")
    return Planned(runs=runs, tasks=tasks, facts=json.loads(facts.read_text()))


# --- topsar -----------------------------------------------------------------------------------------------------


def _topsar(planned: Planned, repeats: int, data: Path) -> list[dict[str, Any]]:
    """Geocode both dates again, alone and with the GeoTIFFs that are made of it, and compare these with the truth."""
    geocode = [(job, "geocode") for job in planned.jobs(GeocodeTask)]
    write = [(job, "slc") for job in planned.jobs(SlcTask)]
    alone, whole = (_median_steps(planned, steps, repeats, data) for steps in (geocode, geocode + write))
    slcs = []
    for task in planned.dates:
        with rasterio.open(planned.runs / task.file) as dataset:
            slcs.append(dataset.read(1))
    found = _accuracy(planned, slcs, data, "topsar")
    return [{"program": "topsar", **whole, **found}, {"program": "  geocoding alone", **alone}]


def _median_steps(planned: Planned, steps: Sequence[tuple[str, str]], repeats: int, data: Path) -> dict[str, Any]:
    command = "; ".join(
        f'cd "{planned.runs / job}"; "{sys.executable}" -m topsar step job.json {s}' for job, s in steps
    )
    return _median(["sh", "-ec", command], planned.runs, data / "topsar.log", repeats)


def _median(argv: Sequence[str], folder: Path, log: Path, repeats: int) -> dict[str, Any]:
    """The run of median duration."""
    uses = [pipeline.run_command(argv, folder, log, os.environ) for _ in range(repeats)]
    return sorted(uses, key=lambda use: float(use["seconds"]))[(repeats - 1) // 2]


# --- the other --------------------------------------------------------------------------------------------------


def _peer(planned: Planned, args: argparse.Namespace, data: Path) -> dict[str, Any]:
    folder = data / "peer"
    shutil.rmtree(folder, ignore_errors=True)
    names = _lay_bursts(planned, folder / "bursts", data)
    heights, target = folder / "dem.nc", folder / "geocoded"
    worker, log = [args.python, str(_WORKER)], folder / "log"
    fine = _fine(planned)
    pipeline.run_command([*worker, "prepare", str(data / "dem" / "dem.tif"), str(heights)], target, log, os.environ)
    epsg, posting = fine.crs.removeprefix("EPSG:"), (str(fine.dy), str(fine.dx))
    where = str(folder / "bursts"), str(heights), str(target), planned.facts["reference_date"], epsg, *posting
    use = _median([*worker, "transform", *where], target, log, args.repeats)
    slcs = []
    for name in names:
        (burst,), array = target.glob(f"*/{name}"), folder / f"{name}.npz"
        pipeline.run_command([*worker, "export", str(burst), str(array)], target, log, os.environ)
        slcs.append(_laid(array, fine))
    return {"program": _PEER, **use, **_accuracy(planned, slcs, data, _PEER)}


def _lay_bursts(planned: Planned, folder: Path, data: Path) -> list[str]:
    """Link the product's files as the package's downloader lays out bursts; a product of one burst needs no cutting.

    Returns
    -------
    list of str
        Names of the bursts, in order of time.
    """
    folder.mkdir(parents=True)
    for orbit in (data / "orbit_data").glob("*.EOF"):
        (folder / orbit.name).symlink_to(orbit)
    names = []
    for window in planned.windows:
        burst, measurement = window.burst, Path(window.burst.measurement)
        known = burst.burst_id
        assert known is not None
        start, unique = f"{burst.grid.first_line_time:%Y%m%dT%H%M%S}", burst.scene[-4:]
        names.append(f"S1_{known.number}_{burst.swath}_{start}_{burst.polarisation}_{unique}-BURST")
        annotation = measurement.parent.parent / "annotation" / f"{measurement.stem}.xml"
        for kind, file in (("annotation", annotation), ("measurement", measurement)):
            place = folder / f"{known.track:03d}_{known.number}_{burst.swath}" / kind
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{names[-1]}{file.suffix}").symlink_to(file)
    return names


def _fine(planned: Planned) -> GeoGrid:
    task = planned.dates[0]
    return task.grid.refined(task.looks)


def _laid(array: Path, fine: GeoGrid) -> NDArray[np.complex64]:
    """An exported SLC on topsar's grid: pixels of both end at whole multiples of the posting."""
    with np.load(array) as found:
        slc, west, north = found["slc"], found["x"] - fine.dx / 2, found["y"] + fine.dy / 2
    grid = replace(fine, west=float(west), north=float(north), rows=slc.shape[0], columns=slc.shape[1])
    whole = Window(row=0, column=0, rows=fine.rows, columns=fine.columns)
    place = fine.window_of(grid)
    out = np.zeros(fine.shape, np.complex64)
    shared = place.intersection(whole)
    if shared is not None:
        rows = slice(shared.row - place.row, shared.row_stop - place.row)
        columns = slice(shared.column - place.column, shared.column_stop - place.column)
        out[shared.slices] = slc[rows, columns]
    return out


# --- accuracy ---------------------------------------------------------------------------------------------------


def _accuracy(planned: Planned, slcs: Sequence[NDArray[np.complex64]], data: Path, name: str) -> dict[str, Any]:
    """Multiply both SLCs, take the looks, and compare with the truth as topsar's own products are compared."""
    task = planned.dates[0]
    reference, secondary = slcs
    seen = (reference != 0) & (secondary != 0)
    cross = _looks(reference * secondary.conj(), task.looks)
    power = _looks(np.abs(reference) ** 2, task.looks) * _looks(np.abs(secondary) ** 2, task.looks)
    full = _looks(seen.astype(np.float32), task.looks) == 1
    coherence = np.where(full, np.abs(cross) / np.sqrt(np.maximum(power, 1e-30)), np.nan).astype(np.float32)
    products = data / f"compared-{name}"
    products.mkdir(exist_ok=True)
    layers = {"wrapped_phase": np.where(full, np.angle(cross), np.nan).astype(np.float32), "coherence": coherence}
    for layer, values in layers.items():
        write_geotiff(products / f"{layer}.tif", values, task.grid, nodata=float("nan"))
    write_geotiff(products / "burst.tif", np.where(full, 0, -1).astype(np.int16), task.grid, nodata=-1)
    write_json(products / "facts.json", planned.facts)
    found = compare_pair(products, data / "truth")
    return {
        "megapixels": 2 * seen.sum() / 1e6,
        "coherence": float(np.nanmean(coherence)),
        "deviation_rad": found.deviation_rad,
        "expected_rad": found.expected_rad,
        "tilt_rad": found.tilt_rad,
        "mean_rad": found.mean_rad,
    }


def _looks(values: NDArray[Any], looks: Looks) -> NDArray[Any]:
    """Mean over the fine pixels of each output pixel."""
    rows, columns = values.shape[0] // looks.north, values.shape[1] // looks.east
    return values.reshape(rows, looks.north, columns, looks.east).mean(axis=(1, 3))


# --- the table --------------------------------------------------------------------------------------------------


def _show(rows: list[dict[str, Any]], planned: Planned) -> None:
    fine, grid = _fine(planned), planned.windows[0].burst.grid
    print(
        f"\none burst, two dates: 2 x {grid.lines * grid.samples / 1e6:.1f} million samples, geocoded at "
        f"{fine.dx:g} by {fine.dy:g} m; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"  {'program':<20}{'seconds':>9}{'CPU s':>9}{'memory':>10}{'disk':>10}{'Mpx out':>9}{'coherence':>11}"
        f"{'rad':>8}{'expected':>10}{'tilt':>8}{'mean':>8}"
    )
    for row in rows:
        print(
            f"  {row['program']:<20}{row['seconds']:>9.1f}{row['cpu_s']:>9.1f}{row['peak_bytes'] / 1e9:>7.2f} GB"
            f"{row['peak_disk_bytes'] / 1e9:>7.2f} GB"
            + (
                f"{row['megapixels']:>9.1f}{row['coherence']:>11.4f}{row['deviation_rad']:>8.4f}"
                f"{row['expected_rad']:>10.4f}{row['tilt_rad']:>8.4f}{row['mean_rad']:>8.4f}"
                if "megapixels" in row
                else ""
            )
        )
    ours, theirs = rows[0], rows[-1]
    print(
        f"  {_PEER} takes {theirs['seconds'] / ours['seconds']:.1f} times the seconds, "
        f"{theirs['cpu_s'] / ours['cpu_s']:.1f} times the CPU seconds, "
        f"{theirs['peak_bytes'] / ours['peak_bytes']:.1f} times the memory"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    full = SWATHS[_SWATH].samples
    parser.add_argument("--samples", type=int, default=5000, metavar="N", help=f"width of the burst, to {full} [5000]")
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help=f"a Python that has {_PEER} [this one]"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="cores to use [all]")
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="runs of each, of which the median counts [3]"
    )
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where simulated data are kept [results]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    main()
