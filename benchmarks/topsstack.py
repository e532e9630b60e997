"""topsar beside ISCE2's topsStack, on the same simulated dates of one swath: time, geometry, SLCs, baselines."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pipeline
from numpy.typing import NDArray
from run import RESULTS

from topsar.engines.isce2.dem_file import write_isce_dem
from topsar.engines.radar_stack import STACKS, RadarStack, open_radar_stack
from topsar.model import BBox, Dem, VerticalDatum
from topsar.raster import read_geotiff

_SWATH, _LOOKS = "IW2", (9, 3)
_SAME_BURST = 0.9
"""Coherence of a line of both SLCs above which they took it from the same burst."""
_LAYERS = {"lat": ("f8", 1), "lon": ("f8", 1), "hgt": ("f8", 1), "los": ("f4", 2)}
_RUN = """
stackSentinel.py -s "$DATA/raw" -o "$DATA/orbit_data" -a aux -d dem.wgs84 -n {swath} -W {workflow} -c 1 \
  -z {azimuth} -r {range} -V False
TIMEFORMAT='== %R s on the wall, %U + %S CPU s'
for run in run_files/run_*; do echo "== $run"; time bash -e "$run"; done
"""


def main() -> None:
    """Parse, run both, compare, print."""
    args = _parse()
    chosen = pipeline.recipe_of(args.size, args.dates)
    data, _ = pipeline.data_of(chosen, args.folder)
    reference = f"{chosen.acquisitions[0].day:%Y%m%d}"
    rows = {"topsStack": _run_topsstack(data, args), "topsar": _run_topsar(data, reference, args.workflow)}
    samples = pipeline.million_samples(chosen)
    print(f"\n{args.dates} dates, {samples:.0f} million samples per date, workflow {args.workflow}")
    for name, use in rows.items():
        print(
            f"  {name:<10}{use['seconds']:>9.1f} s{use['cpu_s']:>9.1f} CPU s{use['peak_bytes'] / 1e9:>7.2f} GB"
            f"{use['peak_disk_bytes'] / 1e9:>7.2f} GB of disk"
        )
    print(f"  core seconds: {rows['topsStack']['cpu_s'] / rows['topsar']['cpu_s']:.1f} times topsar's")
    (ours,) = (data / "runs" / STACKS).iterdir()
    found = compare(data / "topsstack", open_radar_stack(ours))
    _show(found)
    if args.json:
        args.json.write_text(json.dumps({"use": rows, "compared": found}, indent=1) + "\n")


def _run_topsstack(data: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run topsStack's run files one after the other; what an earlier run left is measured no more with --keep."""
    folder, known = data / "topsstack", data / "topsstack.json"
    if args.keep and known.is_file():
        return dict(json.loads(known.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "aux").mkdir(parents=True)
    _, grid, _ = read_geotiff(data / "dem" / "dem.tif")
    inner = BBox(
        west=grid.west + grid.dx,
        east=grid.west + grid.dx * (grid.columns - 1),
        south=grid.north - grid.dy * (grid.rows - 1),
        north=grid.north - grid.dy,
    )
    write_isce_dem(Dem(path=data / "dem" / "dem.tif", datum=VerticalDatum.ELLIPSOID), inner, folder / "dem.wgs84")
    text = _RUN.format(swath=_SWATH[-1], range=_LOOKS[0], azimuth=_LOOKS[1], workflow=args.workflow)
    use = pipeline.run_command(
        ["bash", "-ec", f"cd {folder}\n{text}"], folder, data / "topsstack.log", _environ(args, data)
    )
    known.write_text(json.dumps(use) + "\n")
    return use


def _environ(args: argparse.Namespace, data: Path) -> dict[str, str]:
    """ISCE2's package, its programs and topsStack's; its own Python first."""
    shims = args.folder / "python"
    shims.mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        (shims / name).unlink(missing_ok=True)
        (shims / name).symlink_to(shutil.which(args.python) or args.python)
    home, scripts = args.isce.resolve(), args.topsstack.resolve()
    packages = [home.parent, home / "applications", home / "components", scripts.parent, *args.packages]
    dead = "http://127.0.0.1:9"
    return {
        **os.environ,
        "DATA": str(data),
        "ISCE_HOME": str(home),
        "PATH": ":".join(map(str, (shims, home / "applications", home / "bin", *os.get_exec_path(), scripts))),
        "PYTHONPATH": ":".join(map(str, packages)),
        "PYTHONWARNINGS": "",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "http_proxy": dead,
        "https_proxy": dead,
    }


def _run_topsar(data: Path, reference: str, workflow: str) -> dict[str, Any]:
    shutil.rmtree(data / "runs", ignore_errors=True)
    argv = [sys.executable, "-m", "topsar", "stack", "--data", str(data), "--pairs", str(data / "pairs.txt")]
    argv += ["--stack-reference", reference, "--looks", f"{_LOOKS[0]}x{_LOOKS[1]}"]
    argv += ["--interferograms", "0" if workflow == "slc" else "1"]
    return pipeline.run_command(argv, data / "runs", data / "run.log", {**os.environ, "ENGINE": "native"})


def compare(theirs: Path, ours: RadarStack) -> dict[str, Any]:
    """Compare the trees of both.

    Parameters
    ----------
    theirs : Path
        Folder of topsStack.
    ours : RadarStack
    """
    place = _Place(theirs, ours)
    baselines = {
        date: _read_baseline(ours.folder, name) - _read_baseline(theirs, name)
        for date, name in ((one.date, f"{ours.facts.reference}_{one.date}") for one in ours.dates)
        if date != ours.facts.reference
    }
    return {
        "lines beside": place.beside,
        "layers": {
            f"{name} {band + 1}": _describe(place.cut(place.layer(name)[:, band]), ours.read_layer(name)[:, band])
            for name, (_, bands) in _LAYERS.items()
            for band in range(bands)
        },
        "slc": {
            date.date: list(_compare_slc(place.cut(place.slc(date.date)), ours.read_slc(date.date)))
            for date in ours.dates
        },
        "baseline_m": baselines,
    }


class _Place:
    """Where our grid lies in topsStack's images, which begin at the first line and sample of all bursts."""

    def __init__(self, theirs: Path, ours: RadarStack) -> None:
        self.theirs, self.grid = theirs, ours.facts.grid
        bursts = ET.parse(theirs / "reference" / f"{_SWATH}.xml").getroot().iterfind(".//component[@name='bursts']/")
        known = [
            {one.get("name"): one.findtext("value") for one in burst.iterfind("property")}
            for burst in bursts
            if re.fullmatch(r"burst\d+", burst.get("name", ""))
        ]
        start = min(datetime.fromisoformat(str(burst["sensingstart"])) for burst in known)
        near = min(float(str(burst["startingrange"])) for burst in known)
        first = self.grid.first_line_time.replace(tzinfo=None)
        rows = (first - start).total_seconds() / self.grid.line_interval_s
        columns = (self.grid.near_range_m - near) / self.grid.range_spacing_m
        self.row, self.column, self.beside = round(rows), round(columns), (rows - round(rows), columns - round(columns))
        header = ET.parse(theirs / f"merged/SLC/{ours.facts.reference}/{ours.facts.reference}.slc.full.xml")
        self.width = int(
            next(one for one in header.iter("property") if one.get("name") == "width").findtext("value", "")
        )

    def layer(self, name: str) -> NDArray[Any]:
        """An image of theirs, (lines, bands, samples)."""
        kind, bands = _LAYERS[name]
        path = self.theirs / f"merged/geom_reference/{name}.rdr.full"
        return np.memmap(path, kind, "r").reshape(-1, bands, self.width)

    def slc(self, date: str) -> NDArray[np.complex64]:
        """An SLC of theirs."""
        return np.memmap(self.theirs / f"merged/SLC/{date}/{date}.slc.full", "c8", "r").reshape(-1, self.width)

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The part of an image of theirs that our grid covers."""
        rows, columns = slice(self.row, self.row + self.grid.lines), slice(self.column, self.column + self.grid.samples)
        return np.asarray(image[rows, columns])


def _describe(theirs: NDArray[Any], ours: NDArray[Any]) -> dict[str, float]:
    """Ours minus theirs where both are known."""
    away = np.abs((ours - theirs)[(theirs != 0) & np.isfinite(ours)])
    return {"rms": float(np.sqrt((away**2).mean())), "p99": float(np.quantile(away, 0.99)), "most": float(away.max())}


def _compare_slc(theirs: NDArray[np.complex64], ours: NDArray[np.complex64]) -> Iterator[dict[str, float]]:
    """Phase of ours against theirs burst by burst, on the lines that both took from the same one.

    A misregistration is a phase that grows evenly along a burst: it is fitted and taken off, and its slope told.
    """
    both = (theirs != 0) & (ours != 0)
    product = np.where(both, ours * theirs.conj(), 0).astype(np.complex128)
    power = [np.where(both, np.abs(image) ** 2, 0).sum(axis=1, dtype=np.float64) for image in (theirs, ours)]
    coherence = np.abs(product.sum(axis=1)) / np.sqrt(np.maximum(power[0] * power[1], 1e-30))
    good = np.flatnonzero(coherence > _SAME_BURST)
    for lines in np.split(good, np.flatnonzero(np.diff(good) > 1) + 1):
        part, count = product[lines], np.arange(len(lines))
        slope, first = np.polyfit(count, np.unwrap(np.angle(part.sum(axis=1))), 1)
        part = part * np.exp(-1j * (first + slope * count))[:, None]
        known, away = part != 0, np.angle(part)
        weight = np.abs(part)
        yield {
            "lines": float(len(lines)),
            "rad_per_line": float(slope),
            "rms_rad": float(np.sqrt((away[known] ** 2).mean())),
            "weighted_rad": float(np.sqrt((away**2 * weight).sum() / weight.sum())),
        }


def _read_baseline(root: Path, name: str) -> float:
    text = (root / "baselines" / name / f"{name}.txt").read_text()
    return float(re.findall(r"Bperp \(average\): (\S+)", text)[0])


def _show(found: dict[str, Any]) -> None:
    print("  grids lie {:.5f} lines and {:.5f} samples beside each other".format(*found["lines beside"]))
    for name, away in found["layers"].items():
        print(f"  {name:<10} rms {away['rms']:.2e}   99 % within {away['p99']:.2e}   most {away['most']:.2e}")
    for date, bursts in found["slc"].items():
        for one in bursts:
            text = f"  {date}: {one['lines']:5.0f} lines, {one['rms_rad']:.4f} rad rms"
            print(f"{text}, {one['weighted_rad']:.4f} by amplitude, after {one['rad_per_line']:.2e} rad per line")
    print("  baselines, m:", {date: round(away, 6) for date, away in found["baseline_m"].items()})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", choices=("tiny", "small", "bursts"), default="small", help="what is processed [small]"
    )
    parser.add_argument(
        "--workflow", choices=("slc", "interferogram"), default="interferogram", help="of topsStack [interferogram]"
    )
    parser.add_argument("--dates", type=int, default=3, metavar="N", help="dates [3]")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where simulated data are kept [results]")
    parser.add_argument("--isce", type=Path, required=True, metavar="DIR", help="ISCE2's package, a folder isce")
    parser.add_argument("--topsstack", type=Path, required=True, metavar="DIR", help="ISCE2's contrib/stack/topsStack")
    parser.add_argument("--python", default="python3", help="the Python that imports isce, with shapely [python3]")
    parser.add_argument("--packages", type=Path, nargs="*", default=[], metavar="DIR", help="more for its PYTHONPATH")
    parser.add_argument("--keep", action="store_true", help="keep topsStack's results, if they are there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    main()
