"""The verb ``timeseries``: of pairs that are processed for it, or of pairs that another processor made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.cli.verbs import load, print_outcomes
from topsar.errors import ProductError, SettingsError
from topsar.wording import count_text

if TYPE_CHECKING:
    import argparse

EXAMPLES = """
  topsar timeseries --timeseries-reference 37.62,-25.43
  topsar timeseries --timeseries phase-linking               links the SLCs of all dates; needs dolphin
  topsar timeseries --foreign /disk/geotiffs --independent-looks 20
"""
_WAVELENGTH_M = 0.05546576


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Add the flags for pairs of another processor.

    Parameters
    ----------
    verb : ArgumentParser
    """
    group = verb.add_argument_group("pairs of another processor", "nothing else is processed then")
    group.add_argument(
        "--foreign", metavar="DIR", type=Path, nargs="+", default=[],
        help="a track each: GeoTIFFs of unwrapped phase and coherence with both dates in their names",
    )  # fmt: skip
    group.add_argument(
        "--independent-looks", metavar="N", type=float, help="of their coherence: noise follows from both"
    )
    shown = f"of their radar, metres [{_WAVELENGTH_M}, Sentinel-1's]"
    group.add_argument("--wavelength", metavar="M", type=float, default=_WAVELENGTH_M, help=shown)
    for what, pattern in (("unwrapped", "*unw.tif"), ("coherence", "*cc.tif")):
        shown = f"names of the files of {what.replace('wrapped', 'wrapped phase')} [{pattern}]"
        group.add_argument(f"--{what}", metavar="PATTERN", default=pattern, help=shown)
    group.add_argument("--to", metavar="DIR", type=Path, help="where to [data/export/timeseries]")


def timeseries(args: argparse.Namespace) -> int:
    """Process all pairs, and invert those of each track for velocity and the displacement of every date."""
    if args.foreign:
        return _invert_foreign(args)
    from topsar import workflow
    from topsar.formats.timeseries import LINKING, TimeSeries
    from topsar.provision import Services

    settings = load(args)
    wanted: dict[str, object] = {"formats": tuple(dict.fromkeys((*settings.formats, TimeSeries.name)))}
    if settings.timeseries == LINKING and settings.grid == "map":
        wanted["slc_stack"] = True
    settings = settings.model_copy(update=wanted)
    outcomes = workflow.run(settings, Services())
    for outcome in outcomes:
        if outcome.is_done and outcome.job.startswith(f"{TimeSeries.name}_"):
            _print_series(outcome.title, settings.data / "runs" / outcome.job / TimeSeries.name)
    _combine_tracks(settings.data / "runs")
    return print_outcomes(outcomes, settings.data / "runs", "jobs" if settings.grid == "radar" else "pairs")


def _print_series(title: str, folder: Path) -> None:
    """Print where a time series is, and by what its points were chosen."""
    from topsar.files import read_json

    points = read_json(folder / "timeseries.json")["points"]
    source = points.get("dispersion_of")
    chosen = f", chosen by the dispersion of the {source}" if source else ": no amplitudes to choose them by"
    chosen = chosen if "dispersion_of" in points else ""
    print(f"{title}: {folder}; {count_text(points['found'], 'point')}{chosen}")


def _combine_tracks(runs: Path) -> None:
    from topsar.formats.timeseries.tracks import combine_tracks

    try:
        folder = combine_tracks(runs)
    except ProductError as exc:  # each track has its series all the same
        print(f"no velocities east and up: {exc}", file=sys.stderr)
        return
    if folder:
        print(f"velocities east and up: {folder}")


def _invert_foreign(args: argparse.Namespace) -> int:
    """Invert the pairs of each folder, and print where the results are."""
    from topsar.files import replaced_folder
    from topsar.formats import open_format
    from topsar.formats.timeseries.foreign import read_foreign_pairs

    settings = load(args)
    if not args.independent_looks or args.independent_looks < 1:
        msg = "--foreign needs --independent-looks, a number from 1"
        raise SettingsError(msg, hint="the noise of a pair follows from its coherence and its looks")
    form = open_format("timeseries", settings.options.model_dump(mode="json"))
    to = args.to or settings.data / "export" / "timeseries"
    if form.before is not None:
        msg = "TIMESERIES=phase-linking takes SLCs, and --foreign names unwrapped pairs"
        raise SettingsError(msg, hint="set TIMESERIES=least-squares")
    for folder in args.foreign:
        pairs = read_foreign_pairs(
            folder, wavelength_m=args.wavelength, looks=args.independent_looks,
            unwrapped=args.unwrapped, coherence=args.coherence,
        )  # fmt: skip
        with replaced_folder(to / folder.resolve().name) as staging:
            form.write(pairs, staging)
        _print_series(str(folder), to / folder.resolve().name)
    return 0
