"""What each verb calls. Imports stand inside: a verb loads what it needs, and ``--help`` loads little."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import ProductError, SettingsError
from topsar.wording import count_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from topsar.demo import Demonstration
    from topsar.schedule.jobs import Outcome
    from topsar.settings import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

WATCH_S = 2.0
NEIGHBOURS = 2
CLEAR = "\x1b[H\x1b[2J"


def run(args: argparse.Namespace) -> int:
    """Fetch what is missing and process all pairs."""
    from topsar import workflow
    from topsar.provision import Services

    settings = load(args)
    outcomes = workflow.run(settings, Services())
    return print_outcomes(outcomes, settings.data / "runs", "jobs" if settings.grid == "radar" else "pairs")


def stack(args: argparse.Namespace) -> int:
    """Coregister all dates of a track to one of them, in its radar geometry."""
    from topsar import workflow
    from topsar.pairs.listing import chain_scenes
    from topsar.provision import Services

    settings = load(args)
    wanted: dict[str, object] = {"grid": "radar"}
    if settings.origins["INTERFEROGRAMS"] == "default":
        wanted["interferograms"] = 0
    settings = settings.model_copy(update=wanted)
    lines = chain_scenes(args.scenes) if args.scenes else None
    return print_outcomes(workflow.run(settings, Services(), pairs=lines), settings.data / "runs", "jobs")


def plan(args: argparse.Namespace) -> int:
    """Show what a run would do and take, without doing it."""
    from topsar import api
    from topsar.report.terminal_plan import format_outlooks, format_plan

    settings = load(args)
    planned = api.plan(settings.pairs, settings, cores=args.cores, memory_gb=args.memory)
    if planned.missing:
        print("to be fetched first:", *planned.missing, sep="\n  ", end="\n\n")
    if planned.preview is None:
        print("steps, memory, disk and time are known once that is there")
        return 0
    if planned.outlooks:
        print(format_outlooks(planned.outlooks), end="\n\n")
    print(format_plan(planned.preview.jobs, totals=planned.totals, width=_find_width()))
    return EXIT_FAILED if planned.refused or planned.preview.rehearsal.unfitting else 0


def pairs(args: argparse.Namespace) -> int:
    """List pairs of the dates in data/raw, or of those that a search finds, and draw their network."""
    from topsar import workflow
    from topsar.model import Direction
    from topsar.pairs.network import Rules
    from topsar.provision import Search, Services

    settings = load(args)
    has_rule = args.all or (args.neighbours, args.days, args.baseline) != (None, None, None)
    neighbours = args.neighbours if has_rule else NEIGHBOURS
    rules = Rules(neighbours=neighbours, max_days=args.days, max_baseline_m=args.baseline)
    direction = Direction(args.direction) if args.direction else None
    search = Search(start=args.start, stop=args.stop, track=args.track, direction=direction)
    if search != Search() and not args.search:
        msg = "--from, --to, --track and --direction belong to a search"
        raise SettingsError(msg, hint="add --search, or leave them out to pair what lies in data/raw")
    network, kept = workflow.list_pairs(
        settings, rules, search=search if args.search else None, services=Services(), force=args.force
    )
    for note in network.notes:
        print(note)
    if kept is not None:
        print(f"the old list is now {kept}")
    count = count_text(len(network.connections), "pair")
    print(f"{count} in {settings.pairs}, drawn in {settings.pairs.with_suffix('.png')}")
    return 0


def status(args: argparse.Namespace) -> int:
    """Show how the newest run is getting on, or how it ended."""
    from topsar.report.snapshot import take_snapshot
    from topsar.report.terminal_status import dump_status, format_status
    from topsar.schedule.lock import find_holder
    from topsar.schedule.record import read_record

    runs = args.data / "runs"
    while True:
        holder, record = find_holder(runs), read_record(runs)  # in this order: a run may end in between
        if record is None:
            print(f"no run has left a record in {runs}", file=sys.stderr)
            return EXIT_FAILED
        shot = take_snapshot(record, holder, time.time())
        text = dump_status(shot) if args.json else format_status(shot, _find_width())
        if args.watch and sys.stdout.isatty():
            text = CLEAR + text
        print(text, flush=True)
        if not args.watch or record.end is not None or holder is None or holder.is_alive is False:
            return 0
        time.sleep(WATCH_S)


def doctor(args: argparse.Namespace) -> int:
    """Check machine, settings, inputs, engine, memory, disk and credentials; say how to fix each finding."""
    from topsar.doctor import Grade, dump_findings, find_worst, format_findings
    from topsar.doctor.examination import CHECKS, IMAGE_CHECKS, ISCE_CHECKS, examine

    checks = (*IMAGE_CHECKS, *(ISCE_CHECKS if args.isce else ())) if args.image else CHECKS
    flags = dict(args.flags)
    findings = examine(env_file=_env_file(args), data=args.data, pairs=args.pairs, flags=flags, checks=checks)
    print(dump_findings(findings) if args.json else format_findings(findings))
    if args.image:
        return 0 if find_worst(findings) is Grade.OK else EXIT_FAILED
    return EXIT_FAILED if find_worst(findings) is Grade.PROBLEM else 0


def clean(args: argparse.Namespace) -> int:
    """Remove what no run of the listed pairs needs any more; of other pairs, everything but results."""
    from topsar import workflow
    from topsar.report.terminal_plan import format_removable

    found = workflow.clean(load(args), dry_run=args.dry_run)
    print(format_removable(found, is_dry=args.dry_run))
    return 0


def export(args: argparse.Namespace) -> int:
    """Write one format of all finished pairs, or a stack for StaMPS, without computing anything else."""
    if args.format == "stamps":
        return _export_stamps(args)
    from topsar import workflow

    are_good = []
    for one in workflow.export(load(args), args.format, args.to):
        are_good.append(one.problem is None)
        print(f"{one.name}: {one.problem or one.folder}", file=sys.stderr if one.problem else sys.stdout)
    return 0 if are_good and all(are_good) else EXIT_FAILED


def _export_stamps(args: argparse.Namespace) -> int:
    from topsar.engines.radar_stack import STACKS, list_kept_stacks, open_radar_stack
    from topsar.stamps import write_stamps

    settings = load(args)
    runs, to = settings.data / "runs", args.to or settings.data / "export" / "stamps"
    names = list_kept_stacks(runs)
    if not names:
        msg = f"no stack in radar geometry in {runs / STACKS}"
        raise ProductError(msg, hint="topsar stack makes one")
    for name in names:
        stack = open_radar_stack(runs / STACKS / name)
        print(write_stamps(stack, to / name, roi=settings.roi, neighbours=args.small_baselines))
    return 0


def check(args: argparse.Namespace) -> int:
    """Check files against the standard of their format, more strictly than any client does."""
    from topsar.formats import open_format
    from topsar.settings import Options

    form = open_format(args.format, Options().model_dump(mode="json"))
    are_good = True
    for path in args.files:
        try:
            found = list(form.check(path))
        except ProductError as exc:  # the files after it are checked all the same
            found = [exc.message]
        for line in found:
            print(f"{path.name}: {line}")
        if not found:
            print(f"{path.name}: nothing found")
        are_good = are_good and not found
    return 0 if are_good else EXIT_FAILED


def demo(args: argparse.Namespace) -> int:
    """Make a small data set, process it and compare with its truth."""
    from topsar.demo import run_demo

    shown = run_demo(args.folder, size=args.size, flags=dict(args.flags))
    print(_format_demo(shown))
    return print_outcomes(shown.outcomes, args.folder / "runs")


def simulate(args: argparse.Namespace) -> int:
    """Write simulated products, orbits, a DEM, pairs.txt and the truth."""
    from topsar.demo import simulate_data

    simulate_data(args.folder, size=args.size, seed=args.seed)
    print(f"simulated data in {args.folder}")
    return 0


def settings(args: argparse.Namespace) -> int:
    """Show every setting."""
    print(_format_settings(load(args)))
    return 0


def step(args: argparse.Namespace) -> int:
    """Execute one step of one job: what the scheduler starts."""
    from topsar.step import execute_step

    execute_step(args.job, args.step)
    return 0


def load(args: argparse.Namespace) -> Settings:
    """Settings of flags, environment and ``.env``."""
    from topsar.settings import load_settings

    return load_settings(env_file=_env_file(args), data=args.data, pairs=args.pairs, flags=dict(args.flags))


def _env_file(args: argparse.Namespace) -> Path | None:
    return args.env or (default if (default := Path(".env")).is_file() else None)


def _find_width() -> int:
    return max(80, shutil.get_terminal_size((120, 24)).columns)


def print_outcomes(outcomes: Sequence[Outcome], runs: Path, unit: str = "pairs") -> int:
    """Print what became of the pairs, or of all jobs where there are no pairs; the exit code.

    Parameters
    ----------
    outcomes : sequence of Outcome
    runs : Path
        The runs folder.
    unit : {"pairs", "jobs"}
    """
    from topsar.report.pair import read_pairs
    from topsar.schedule.jobs import Status

    pairs = [outcome for outcome in outcomes if outcome.is_pair]
    failed = [outcome for outcome in outcomes if not outcome.is_pair and outcome.status is Status.FAILED]
    for outcome in (*pairs, *failed):
        if not outcome.is_done:
            print(f"{outcome.title}: {outcome.status.value}. {outcome.message}".rstrip(), file=sys.stderr)
    for pair in read_pairs(runs, outcomes):
        for remark in pair.remarks:
            print(f"{pair.outcome.title}: done, but {remark}", file=sys.stderr)
    report, counted = runs / "report.html", pairs if unit == "pairs" else outcomes
    if unit == "jobs":
        _print_stacks(outcomes, runs)
    done = sum(outcome.is_done for outcome in counted)
    print(f"{done} of {len(counted)} {unit} done; see {report if report.is_file() else runs}")
    if any(outcome.status is Status.INTERRUPTED for outcome in outcomes):
        return EXIT_INTERRUPTED
    return 0 if counted and done == len(counted) and not failed else EXIT_FAILED


def _print_stacks(outcomes: Sequence[Outcome], runs: Path) -> None:
    """Print where stacks in radar geometry are, and which of their dates could not be timed."""
    from topsar.engines.radar_stack import FACTS, open_radar_stack, place_stack

    for outcome in outcomes:
        folder = place_stack(runs, outcome.job)
        if outcome.is_done and (folder / FACTS).is_file():
            stack = open_radar_stack(folder)
            for one in stack.dates:
                if one.azimuth_shift_source.startswith("not estimated"):
                    print(f"{one.date}: done, but its azimuth timing is {one.azimuth_shift_source}", file=sys.stderr)
            print(f"{count_text(len(stack.dates), 'date')} coregistered to {stack.facts.reference} in {folder}")


def _format_demo(shown: Demonstration) -> str:
    """How far the demo's interferograms are from the truth, and from closing."""
    lines = [
        "\nUnfiltered phase minus truth where coherence is above 0.5, in radians:",
        f"{'pair':<38} {'pixels':>8} {'mean':>8} {'std':>7} {'expected':>9} {'tilt':>7} {'seams':>7}",
    ]
    for pair in shown.comparisons:
        lines.append(
            f"{pair.pair:<38} {pair.pixels:>8} {pair.mean_rad:>8.4f} {pair.deviation_rad:>7.4f} "
            f"{pair.expected_rad:>9.4f} {pair.tilt_rad:>7.4f} {pair.seam_rad:>7.4f}"
        )
    for loop in shown.closures:
        lines.append(
            f"closure of three pairs: mean {loop.mean_rad:.4f}, std {loop.deviation_rad:.4f} "
            f"(independent noise would give {loop.expected_rad:.4f})"
        )
    return "\n".join(lines) + "\n"


def _format_settings(settings: Settings) -> str:
    """Every setting with value, origin, meaning and allowed values."""
    from topsar.settings import KEYS, format_value

    lines = [f"data folder   {settings.data}\nlist of pairs {settings.pairs}\n"]
    origins = settings.origins
    for key in KEYS:
        lines.append(f"{key.name + ' = ' + format_value(getattr(settings, key.field)):<40} ({origins[key.name]})")
        text = f"{key.meaning}. Value: {key.allowed}."
        lines.append(textwrap.fill(text, 110, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False))
    return "\n".join(lines)
