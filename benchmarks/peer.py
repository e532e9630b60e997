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

from topsar.engines.native.steps.burst_window import BurstWindow
from topsar.engines.native.steps.slc import SlcTask
from topsar.engines.step import load_task
from topsar.files import write_json
from topsar.model import GeoGrid, Looks, Window
from topsar.raster import write_geotiff
from topsar.simulate import Recipe
from topsar.simulate.compare import Comparison, compare_pair
from topsar.simulate.mode import SWATHS
from topsar.simulate.recipe import SwathCut

_PEER = "insardev_pygmtsar"
_WORKER = Path(__file__).resolve().parent / "peer_worker.py"
_SWATH = "IW2"
_TINY = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What topsar plans for the pair: its folder of runs, and the facts of the pair."""

    runs: Path
    facts: dict[str, Any]

    def jobs(self, step: str) -> list[str]:
        """The jobs that begin with a step, in order of time."""
        folders = (file.parent for file in self.runs.glob("*/job.json"))
        return sorted(folder.name for folder in folders if step in json.loads((folder / "job.json").read_text()))

    @property
    def dates(self) -> list[SlcTask]:
        """The two dates."""
        return [load_task(self.runs / name, "slc", SlcTask) for name in self.jobs("slc")]

    @property
    def windows(self) -> list[BurstWindow]:
        """The burst on both dates."""
        return [burst.window for task in self.dates for burst in task.bursts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interferogram:
    """Complex and coherence on the output grid, 0 and NaN where pixels are missing; pixels of both SLCs, millions."""

    cross: NDArray[np.complex64]
    coherence: NDArray[np.float32]
    megapixels: float


def main() -> None:
    """Parse, run, print."""
    args = _parse()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    data, _ = pipeline.data_of(_recipe(args.samples), args.folder)
    pipeline.run_pairs(data, flags=["CLEANUP=none", "SLC_STACK=1", "UNWRAPPER=none"])
    planned = _planned(data / "runs")
    rows, made = _topsar(planned, args.repeats, data)
    if _installed(args.python):
        rows.append(_peer(planned, args, data, made))
    else:
        print(f"  {_PEER} is left out: {args.python} does not have it; --python names one that does")
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
    (facts,) = runs.glob("*/products/facts.json")
    return Planned(runs=runs, facts=json.loads(facts.read_text()))


# --- topsar -----------------------------------------------------------------------------------------------------


def _topsar(planned: Planned, repeats: int, data: Path) -> tuple[list[dict[str, Any]], Interferogram]:
    """Geocode both dates again, alone and with the GeoTIFFs that are made of it, and compare these with the truth."""
    geocode = [(job, "geocode") for job in planned.jobs("geocode")]
    write = [(job, "slc") for job in planned.jobs("slc")]
    alone, whole = (_median_steps(planned, steps, repeats, data) for steps in (geocode, geocode + write))
    slcs = []
    for task in planned.dates:
        with rasterio.open(planned.runs / task.file) as dataset:
            slcs.append(dataset.read(1))
    made = _multiply(planned, slcs)
    found = _compare(planned, made, data / "compared-topsar")
    known = _known(made, found) | {"plane_rad": found.tilt_rad, "flattened_rad": found.deviation_rad}
    return [{"program": "topsar", **whole, **known}, {"program": "  geocoding alone", **alone}], made


def _known(made: Interferogram, found: Comparison) -> dict[str, float]:
    return {
        "megapixels": made.megapixels,
        "coherence": float(np.nanmean(made.coherence)),
        "deviation_rad": found.deviation_rad,
        "expected_rad": found.expected_rad,
    }


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


def _peer(planned: Planned, args: argparse.Namespace, data: Path, ours: Interferogram) -> dict[str, Any]:
    """Lay out the bursts, geocode them, and compare with the truth, as they come and without a plane of phase."""
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
    made = _multiply(planned, slcs)
    plane = _plane_between(made, ours)
    flat = replace(made, cross=made.cross * np.exp(-1j * plane))
    found, left = (_compare(planned, one, data / f"compared-{_PEER}") for one in (made, flat))
    across = float(np.ptp(plane[made.cross != 0]))
    return {"program": _PEER, **use, **_known(made, found), "plane_rad": across, "flattened_rad": left.deviation_rad}


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
    return task.grid.refine(task.looks)


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


def _multiply(planned: Planned, slcs: Sequence[NDArray[np.complex64]]) -> Interferogram:
    """Reference times conjugate secondary, in looks."""
    looks = planned.dates[0].looks
    reference, secondary = slcs
    seen = (reference != 0) & (secondary != 0)
    full = _looks(seen.astype(np.float32), looks) == 1
    cross = np.where(full, _looks(reference * secondary.conj(), looks), 0)
    power = _looks(np.abs(reference) ** 2, looks) * _looks(np.abs(secondary) ** 2, looks)
    coherence = np.where(full, np.abs(cross) / np.sqrt(np.maximum(power, _TINY)), np.nan)
    return Interferogram(cross=cross, coherence=coherence.astype(np.float32), megapixels=2 * float(seen.sum()) / 1e6)


def _compare(planned: Planned, made: Interferogram, folder: Path) -> Comparison:
    """Compare with the truth as topsar's own products are compared."""
    folder.mkdir(exist_ok=True)
    grid, full = planned.dates[0].grid, made.cross != 0
    phase = np.where(full, np.angle(made.cross), np.nan).astype(np.float32)
    for name, values in (("wrapped_phase", phase), ("coherence", made.coherence)):
        write_geotiff(folder / f"{name}.tif", values, grid, nodata=float("nan"))
    write_geotiff(folder / "burst.tif", np.where(full, 0, -1).astype(np.int16), grid, nodata=-1)
    write_json(folder / "facts.json", planned.facts)
    return compare_pair(folder, folder.parent / "truth")


def _plane_between(one: Interferogram, other: Interferogram) -> NDArray[np.float64]:
    """The plane of phase by which one interferogram differs from another: found as a frequency, then fitted."""
    ratio = one.cross * other.cross.conj()
    ratio /= np.maximum(np.abs(ratio), _TINY)
    spectrum = np.abs(np.fft.fft2(ratio))
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    row, column = np.indices(ratio.shape)
    turns = [np.fft.fftfreq(size)[index] for size, index in zip(ratio.shape, peak, strict=True)]
    plane = 2 * np.pi * (turns[0] * row + turns[1] * column)
    rest = ratio * np.exp(-1j * plane)
    middle = np.angle(rest.sum())
    seen = ratio != 0
    design = np.stack([row, column, np.ones_like(row)], axis=-1)
    fit = np.linalg.lstsq(design[seen], np.angle(rest * np.exp(-1j * middle))[seen], rcond=None)[0]
    return np.asarray(plane + middle + design @ fit)


def _looks(values: NDArray[Any], looks: Looks) -> NDArray[Any]:
    """Mean over the fine pixels of each output pixel."""
    rows, columns = values.shape[0] // looks.north, values.shape[1] // looks.east
    return np.asarray(values.reshape(rows, looks.north, columns, looks.east).mean(axis=(1, 3)))


# --- the table --------------------------------------------------------------------------------------------------


def _show(rows: list[dict[str, Any]], planned: Planned) -> None:
    fine, grid = _fine(planned), planned.windows[0].burst.grid
    print(
        f"\none burst, two dates: 2 x {grid.lines * grid.samples / 1e6:.1f} million samples, geocoded at "
        f"{fine.dx:g} by {fine.dy:g} m; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"  {'program':<20}{'seconds':>9}{'CPU s':>9}{'memory':>10}{'Mpx out':>9}{'coherence':>11}{'rad':>8}"
        f"{'plane':>8}{'left':>8}{'expected':>10}"
    )
    for row in rows:
        print(
            f"  {row['program']:<20}{row['seconds']:>9.1f}{row['cpu_s']:>9.1f}{row['peak_bytes'] / 1e9:>7.2f} GB"
            + (_accuracy(row) if "megapixels" in row else "")
        )
    ours, theirs = rows[0], rows[-1]
    if theirs["program"] == _PEER:
        times = {key: theirs[key] / ours[key] for key in ("seconds", "cpu_s", "peak_bytes")}
        print(
            f"  {_PEER} takes {times['seconds']:.1f} times the seconds, {times['cpu_s']:.1f} times the CPU seconds, "
            f"{times['peak_bytes']:.1f} times the memory"
        )


def _accuracy(row: dict[str, Any]) -> str:
    return (
        f"{row['megapixels']:>9.1f}{row['coherence']:>11.4f}{row['deviation_rad']:>8.3f}{row['plane_rad']:>8.3f}"
        f"{row['flattened_rad']:>8.3f}{row['expected_rad']:>10.3f}"
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
