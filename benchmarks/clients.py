"""What other programs make of topsar's exports: the programs themselves, unmodified, beside the simulated truth.

Every Python program gets an environment of its own below ``--folder``, from the default package index. Programs that
are on no index are taken from a clone that you name: ``--source licsbas=DIR``. System programs (GDAL with its Python
module, GNU parallel) must be there: what is missing is said, with the packages of Debian that have it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from client_frame import load_aria, load_hyp3, make_frame
from client_place import SOURCES, Agreement, Broken, Made, Missing, Place, call, list_topsar
from client_readers import run_cogeo, run_compliance, run_gdal, run_raider, run_stac, run_xarray
from client_series import run_aria, run_dolphin, run_licsbas, run_mintpy, run_mintpy_scenes, run_radar
from pipeline import data_of
from run import RESULTS

from topsar.files import write_json, write_text
from topsar.model import Direction
from topsar.simulate import Acquisition, Dataset, recipe
from topsar.simulate.mode import SWATHS
from topsar.simulate.recipe import SwathCut

# --- what is exported -------------------------------------------------------------------------------------------

_PASSES = ((0.0, 0.0, 0.0), (74.0, 0.003, 1.7e-3), (-41.0, -0.002, -1.1e-3), (30.0, 0.001, 5e-4))
"""Perpendicular baseline (m), azimuth shift (lines), burst synchronisation (s)."""


def _cut(samples: int) -> tuple[SwathCut, ...]:
    """The last samples of IW1 and the first of IW2."""
    first = SWATHS["IW1"].samples - samples
    return SwathCut(swath="IW1", first_sample=first, samples=samples), SwathCut(
        swath="IW2", first_sample=0, samples=samples
    )


_SCENE = replace(
    recipe("demo"),
    acquisitions=tuple(
        Acquisition(
            day=date(2025, 3, 3) + timedelta(12 * k),
            perpendicular_baseline_m=across,
            azimuth_shift_px=along,
            sync_s=sync,
        )
        for k, (across, along, sync) in enumerate(_PASSES)
    ),
    cuts=_cut(2000),
    bursts=2,
    mogi_volume_m3=2e6,
    mogi_depth_m=3000.0,
    fault_slip_m=0.0,
    turbulence_m=0.0,
    stratified_m_per_km=0.0,
)
SCENES = {
    "descending": replace(_SCENE, name="descending", direction=Direction.DESCENDING, track=36),
    "gap": replace(_SCENE, name="gap", bursts=3, slices=3, cuts=_cut(1200), mogi_volume_m3=4e7, mogi_depth_m=12000.0),
}
"""Two swaths, four dates, ground that rises: a descending pass; an ascending one, of which one date lacks the middle
burst. There the source is so deep that the ground beyond the gap rises too."""


def make_data(scene: str, folder: Path) -> Path:
    """Simulate a scene, unless it is there: all pairs of its dates are listed."""
    return data_of(SCENES[scene], folder, _lose_slice if scene == "gap" else None)[0]


def _lose_slice(made: Dataset) -> None:
    """Remove the middle product of the second date, and take it off the list."""
    lost = made.scenes[1][1]
    shutil.rmtree(lost)
    made.pairs_file.write_text(made.pairs_file.read_text().replace(f'"{lost.stem}", ', ""))


def list_dates(scene: str, engine: str, count: int) -> list[date]:
    """The first dates of a scene, without the one that lacks a slice where topsApp would mix bursts up."""
    days = [one.day for one in _SCENE.acquisitions][:count]
    return days[:1] + days[2:] if (scene, engine) == ("gap", "isce2") else days


def run_topsar(data: Path, folder: Path, engine: str, dates: Sequence[date]) -> None:
    """Process the pairs of some dates with an engine, in a folder that links to the data."""
    folder.mkdir(exist_ok=True)
    for name in ("raw", "dem", "orbit_data", "truth"):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(data / name)
    others = [f"_{one.day:%Y%m%d}T" for one in _SCENE.acquisitions if one.day not in dates]
    lines = (data / "pairs.txt").read_text().splitlines(keepends=True)
    write_text(folder / "pairs.txt", "".join(line for line in lines if not any(day in line for day in others)))
    environment = {"ENGINE": engine, "FORMATS": "geotiff", "SLC_STACK": str(int(engine == "native"))}
    call(list_topsar("run", folder), folder / "topsar.log", environment=environment)


# --- clients ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one client made of one format."""

    client: str
    format: str
    scene: str
    engine: str
    command: str
    result: str
    agreement: Agreement | None = None


CLIENTS: dict[str, tuple[str, Callable[[Place], Made]]] = {
    "mintpy": ("mintpy", run_mintpy),
    "mintpy_scenes": ("hyp3_gamma", run_mintpy_scenes),
    "aria": ("gunw", run_aria),
    "licsbas": ("licsbas", run_licsbas),
    "dolphin": ("slc_stack", run_dolphin),
    "radar": ("topsStack's tree", run_radar),
    "raider": ("gunw", run_raider),
    "gdal": ("geotiff, netcdf, hyp3, licsbas, gunw", run_gdal),
    "xarray": ("geotiff, netcdf, netcdf_stack", run_xarray),
    "cogeo": ("geotiff, stac", run_cogeo),
    "stac": ("stac", run_stac),
    "compliance": ("netcdf, netcdf_stack", run_compliance),
    "load": ("mintpy", load_hyp3),
    "load_aria": ("gunw", load_aria),
}
ON_FRAMES = ("gdal", "xarray", "load", "load_aria")
"""What takes minutes, not hours, on a pair as large as a frame: made-up layers, `formats`."""


def main() -> None:
    """Parse, simulate, process, export, run the clients, print."""
    args = _parse()
    sources = {name: Path(folder).resolve() for name, _, folder in (text.partition("=") for text in args.source)}
    rows = []
    for scene in args.scenes:
        for engine, folder in _prepare(scene, args):
            place = Place(
                scene=scene,
                engine=engine,
                folder=folder,
                environments=args.folder / "environments",
                sources=sources,
            )
            for client in args.only or (ON_FRAMES if scene == "frame" else [n for n in CLIENTS if "load" not in n]):
                rows.append(run_client(client, place))
                print(" | ".join(_cells(rows[-1])), flush=True)
    _show(rows)
    if args.json:
        write_json(args.json, [asdict(row) for row in rows])
    sys.exit(any(row.result.startswith("failed") for row in rows))


def _prepare(scene: str, args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """The engines, or that there is none, and the folders with their results."""
    if scene == "frame":
        make_frame(args.folder / scene)
        yield "none", args.folder / scene
        return
    data = make_data(scene, args.folder)
    for engine in args.engines:
        folder = data.with_name(f"{data.name}-{engine}")
        if not (args.reuse and (folder / "runs").is_dir()):
            run_topsar(data, folder, engine, list_dates(scene, engine, args.dates))
        yield engine, folder


def run_client(client: str, place: Place) -> Row:
    """Run one client, and say how it ended."""
    form, run = CLIENTS[client]
    try:
        made = run(place)
    except (Missing, Broken) as exc:
        kind = "not run" if isinstance(exc, Missing) else "failed"
        return Row(
            client=client, format=form, scene=place.scene, engine=place.engine, command="", result=f"{kind}: {exc}"
        )
    return Row(
        client=made.version, format=form, scene=place.scene, engine=place.engine, command=made.command,
        result=made.result, agreement=made.agreement,
    )  # fmt: skip


_HEAD = ("client", "format", "scene", "engine", "command", "result", "pixels", "slope", "correlation", "rms, mm/yr")


def _cells(row: Row) -> Iterator[str]:
    yield from (row.client, row.format, row.scene, row.engine, row.command, row.result)
    one = row.agreement
    if one is None:
        yield from ("", "", "", "")
    else:
        rms, of = one.rms_m_per_year * 1e3, one.true_std_m_per_year * 1e3
        yield from (str(one.pixels), f"{one.slope:+.3f}", f"{one.correlation:.4f}", f"{rms:.1f} of {of:.0f}")


def _show(rows: Sequence[Row]) -> None:
    """Print a table of Markdown."""
    for cells in (_HEAD, ("---",) * len(_HEAD), *(tuple(_cells(row)) for row in rows)):
        print("| " + " | ".join(cells) + " |")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=RESULTS / "clients", help="data, environments, results [results/clients]"
    )
    parser.add_argument("--scenes", nargs="*", choices=(*SCENES, "frame"), default=[*SCENES, "frame"], help="[all]")
    parser.add_argument("--engines", nargs="*", choices=("native", "isce2"), default=["native"], help="[native]")
    parser.add_argument("--dates", type=int, default=len(_PASSES), help="how many of the dates are paired [all]")
    parser.add_argument("--only", nargs="*", choices=tuple(CLIENTS), help="clients to run [all]")
    parser.add_argument("--source", nargs="*", default=[], metavar="NAME=DIR", help=f"clones: {', '.join(SOURCES)}")
    parser.add_argument("--reuse", action="store_true", help="take the runs of an earlier start as they are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    main()
