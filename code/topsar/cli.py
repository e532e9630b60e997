"""The command line: parse, call the workflow, print, exit.

Exit codes: 0 all pairs are done, 1 some failed, 2 wrong usage or settings, 130 interrupted. The hidden verb ``step``,
a step's own process, ends with the error's own code (see `topsar.errors`).
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topsar import __version__
from topsar.errors import NotFetchedError, ProvisionError, SettingsError, TopsarError
from topsar.model import Direction

if TYPE_CHECKING:
    from topsar.schedule.jobs import Outcome
    from topsar.settings import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

WATCH_S = 2.0
NEIGHBOURS = 2
CLEAR = "\x1b[H\x1b[2J"

DESCRIPTION = "From a list of Sentinel-1 TOPS pairs to interferograms, in parallel."
EXAMPLES = {
    "": """
  topsar demo                        make a small data set, process it, compare with its truth
  topsar pairs                       list pairs of what lies in data/raw, or of what the archive has
  topsar doctor                      check machine, settings and inputs before anything runs
  topsar plan                        what a run would do, and what it would take
  topsar run                         process pairs.txt with the products in data/raw
  topsar status --watch              how the run is getting on, from another terminal
  topsar run --help                  flags of a verb
  topsar settings                    every setting, its value, where it comes from, what it means
""",
    "run": """
  topsar run
  topsar run --data /disk/etna --pairs /disk/etna/pairs.txt --env /disk/etna/.env
  topsar run --workers 4 --posting 40 --roi 37.4,37.9,14.7,15.3
  topsar run -o UNWRAPPER=none -o FILTER_STRENGTH=0

folders under --data: raw (SLCs, .SAFE or .zip), orbit_data (EOF), dem, runs (results)
""",
    "plan": """
  topsar plan
  topsar plan --posting 40           what another posting would make anew
""",
    "pairs": """
  topsar pairs                                     each date of data/raw with the next two
  topsar pairs --days 24 --baseline 150
  topsar pairs --search --roi 37.4,37.9,14.7,15.3 --from 2025-01-01 --to 2025-06-30 --track 44
""",
    "status": """
  topsar status
  topsar status --watch              again every two seconds, until the run is over
  topsar status --json
""",
    "doctor": """
  topsar doctor
  topsar doctor --json
""",
    "clean": """
  topsar clean --dry-run             list what would go
  topsar clean                       remove what no run of these pairs needs any more
  topsar clean --cleanup nuclear     all but products, facts and logs
""",
    "demo": """
  topsar demo
  topsar demo /tmp/topsar-demo --workers 2
""",
    "settings": """
  topsar settings
  topsar settings --env /disk/etna/.env --posting 40
""",
    "simulate": """
  topsar simulate /disk/simulated
  topsar simulate /disk/simulated --size swath --seed 7
""",
    "step": """
  topsar step data/runs/PAIR/job.json unwrap
""",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; taken from the process where absent.

    Returns
    -------
    int
        The exit code.
    """
    argv = _joined(sys.argv[1:] if argv is None else argv)
    parser = build_step_parser() if argv[:1] == ["step"] else build_parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    _start_logging()
    try:
        _check_current_folder()
        return int(args.command(args))
    except TopsarError as exc:
        if args.debug:
            traceback.print_exc()
        else:
            print(f"error: {exc}", file=sys.stderr)
        return _exit_code(exc, args.verb)
    except BrokenPipeError:  # whoever read our output, `head` for one, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as exc:
        if args.debug:
            raise
        print(f"error: {exc}\n  hint: --debug shows where this happened", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command resumes where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def _check_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as exc:
        msg = "the folder that this was started in has been removed"
        raise TopsarError(msg, hint="cd into one that is there") from exc


def _exit_code(exc: TopsarError, verb: str) -> int:
    if verb == "step":
        return exc.exit_code
    return EXIT_USAGE if isinstance(exc, SettingsError) else EXIT_FAILED


def _start_logging() -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("topsar").setLevel(logging.INFO)
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # what it says about .env we say ourselves, with line numbers


# --- verbs ------------------------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """Fetch what is missing and process all pairs."""
    from topsar import workflow
    from topsar.provision import Services

    settings = _load(args)
    outcomes = workflow.run(settings, Services())
    return _tell(outcomes, settings.data / "runs")


def plan(args: argparse.Namespace) -> int:
    """Show what a run would do and take, without doing it."""
    from topsar import workflow
    from topsar.report.terminal_plan import format_outlooks, format_plan, sum_up_plan

    settings = _load(args)
    found = workflow.find_scenes(settings)
    missing = workflow.describe_missing(settings, found)
    if missing:
        print("to be fetched first:", *missing, sep="\n  ", end="\n\n")
    try:
        batch, preview = workflow.preview(settings, found)
    except ProvisionError as exc:
        if settings.offline or not (missing or isinstance(exc, NotFetchedError)):
            raise
        print("steps, memory, disk and time can be told once that is there")
        return 0
    if batch.plan.outlooks:
        titles = {job.id: job.title for job in batch.jobs}
        print(format_outlooks(batch.plan.outlooks, titles), end="\n\n")
    print(format_plan(preview.jobs, totals=sum_up_plan(preview, refused=len(batch.refused)), width=_width()))
    return EXIT_FAILED if batch.refused or preview.rehearsal.unfitting else 0


def pairs(args: argparse.Namespace) -> int:
    """List pairs for the dates that lie in data/raw or that a search finds, and draw their network."""
    from topsar import workflow
    from topsar.pairs.network import Rules
    from topsar.provision import Search, Services

    settings = _load(args)
    neighbours = args.neighbours
    if neighbours is None and not args.all and args.days is None and args.baseline is None:
        neighbours = NEIGHBOURS
    rules = Rules(neighbours=neighbours, max_days=args.days, max_baseline_m=args.baseline)
    search = Search(start=args.start, stop=args.stop, track=args.track, direction=args.direction)
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
    count = len(network.connections)
    print(f"{count} pair{'' if count == 1 else 's'} in {settings.pairs}, drawn in {settings.pairs.with_suffix('.png')}")
    return 0


def status(args: argparse.Namespace) -> int:
    """Show how the newest run is getting on, or how it ended."""
    from topsar.report.terminal_status import dump_status, format_status
    from topsar.schedule import find_holder, read_record

    runs = args.data / "runs"
    while True:
        holder, record = find_holder(runs), read_record(runs)  # in this order: a run may end in between
        if record is None:
            print(f"no run has left a record in {runs}", file=sys.stderr)
            return EXIT_FAILED
        describe = dump_status if args.json else partial(format_status, width=_width())
        text = describe(record, holder, now=time.time())
        if args.watch and sys.stdout.isatty():
            text = CLEAR + text
        print(text, flush=True)
        if not args.watch or record.end is not None or holder is None or holder.is_alive is False:
            return 0
        time.sleep(WATCH_S)


def doctor(args: argparse.Namespace) -> int:
    """Check machine, settings, inputs, engine, memory, disk and credentials; say how to mend each finding."""
    from topsar.doctor import Grade, as_json, describe, examine, worst

    findings = examine(env_file=_env_file(args), data=args.data, pairs=args.pairs, flags=dict(args.flags))
    print(as_json(findings) if args.json else describe(findings))
    return EXIT_FAILED if worst(findings) is Grade.PROBLEM else 0


def clean(args: argparse.Namespace) -> int:
    """Remove what no run of the listed pairs needs any more; of other pairs, whatever is no result."""
    from topsar import workflow
    from topsar.report.terminal_plan import format_removable

    found = workflow.clean(_load(args), dry_run=args.dry_run)
    print(format_removable(found, is_dry=args.dry_run))
    return 0


def demo(args: argparse.Namespace) -> int:
    """Make a small data set, process it and compare with its truth."""
    from topsar import workflow

    shown = workflow.demo(args.folder, size=args.size, flags=dict(args.flags))
    print("\nUnfiltered phase minus truth where coherence is above 0.5, in radians:")
    print(f"{'pair':<38} {'pixels':>8} {'mean':>8} {'std':>7} {'expected':>9} {'tilt':>7} {'seams':>7}")
    for pair in shown.comparisons:
        print(
            f"{pair.pair:<38} {pair.pixels:>8} {pair.mean_rad:>8.4f} {pair.deviation_rad:>7.4f} "
            f"{pair.expected_rad:>9.4f} {pair.tilt_rad:>7.4f} {pair.seam_rad:>7.4f}"
        )
    for loop in shown.closures:
        print(
            f"closure of three pairs: mean {loop.mean_rad:.4f}, std {loop.deviation_rad:.4f} "
            f"(independent noise would give {loop.expected_rad:.4f})"
        )
    print()
    return _tell(shown.outcomes, args.folder / "runs")


def simulate(args: argparse.Namespace) -> int:
    """Write simulated products, orbits, a DEM and their truth."""
    from topsar import workflow

    workflow.simulate(args.folder, size=args.size, seed=args.seed)
    print(f"simulated data in {args.folder}")
    return 0


def settings(args: argparse.Namespace) -> int:
    """Show every setting."""
    from topsar.settings import KEYS, text_of

    values = _load(args)
    print(f"data folder   {values.data}\nlist of pairs {values.pairs}\n")
    for key in KEYS:
        print(f"{key.name + ' = ' + text_of(getattr(values, key.field)):<40} ({values.origins[key.name]})")
        text = f"{key.meaning}. Value: {key.allowed}."
        print(textwrap.fill(text, width=110, initial_indent="    ", subsequent_indent="    "))
    return 0


def step(args: argparse.Namespace) -> int:
    """Execute one step of one job: what the scheduler starts."""
    from topsar.step import execute_step

    execute_step(args.job, args.step)
    return 0


def _load(args: argparse.Namespace) -> Settings:
    from topsar.settings import load_settings

    return load_settings(env_file=_env_file(args), data=args.data, pairs=args.pairs, flags=dict(args.flags))


def _env_file(args: argparse.Namespace) -> Path | None:
    default_env = Path(".env")
    return args.env or (default_env if default_env.is_file() else None)


def _width() -> int:
    return max(80, shutil.get_terminal_size((120, 24)).columns)


def _tell(outcomes: Sequence[Outcome], runs: Path) -> int:
    """Print what became of the pairs; the exit code."""
    from topsar.schedule.jobs import Status

    pairs = [outcome for outcome in outcomes if outcome.is_pair]
    done = [outcome for outcome in pairs if outcome.status in {Status.DONE, Status.CACHED}]
    for outcome in pairs:
        if outcome not in done:
            print(f"{outcome.title}: {outcome.status.value}. {outcome.message}".rstrip(), file=sys.stderr)
    report = runs / "report.html"
    print(f"{len(done)} of {len(pairs)} pairs done; see {report if report.is_file() else runs}")
    if any(outcome.status is Status.INTERRUPTED for outcome in outcomes):
        return EXIT_INTERRUPTED
    return 0 if pairs and len(done) == len(pairs) else EXIT_FAILED


# --- parsing ----------------------------------------------------------------------------------------------------


def build_step_parser() -> argparse.ArgumentParser:
    """The parser of the hidden verb ``step``, apart from the others: settings take a while to import."""
    parser = argparse.ArgumentParser(prog="topsar")
    verb = _add_verb(parser.add_subparsers(), "step", step)
    verb.add_argument("job", metavar="JOB_JSON", type=Path, help="the job's description")
    verb.add_argument("step", metavar="STEP", help="name of the step")
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of the other verbs."""
    parser = argparse.ArgumentParser(prog="topsar", description=DESCRIPTION, allow_abbrev=False, **_examples(""))
    parser.add_argument("--version", action="version", version=f"topsar {__version__}")
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")

    verb = _add_verb(verbs, "run", run, help="process all pairs")
    _add_places(verb)
    _add_settings(verb)

    verb = _add_verb(verbs, "plan", plan, help="what a run would do, and what it would take")
    _add_places(verb)
    _add_settings(verb)

    _add_pairs(verbs)

    verb = _add_verb(verbs, "status", status, help="how the newest run is getting on, or how it ended")
    verb.add_argument("--data", metavar="DIR", type=Path, default=Path("data"), help="data folder [./data]")
    verb.add_argument("--json", action="store_true", help="for programs: every step")
    verb.add_argument("--watch", action="store_true", help="again and again, until the run is over")

    verb = _add_verb(verbs, "doctor", doctor, help="check machine, settings and inputs; say how to mend what is wrong")
    _add_places(verb)
    verb.add_argument("--json", action="store_true", help="for programs")
    _add_settings(verb)

    verb = _add_verb(verbs, "clean", clean, help="remove intermediate files that no run of these pairs needs any more")
    _add_places(verb)
    verb.add_argument("--dry-run", action="store_true", help="list them and leave them")
    _add_settings(verb)

    verb = _add_verb(verbs, "demo", demo, help="make a small data set, process it, compare with its truth")
    verb.add_argument(
        "folder", metavar="DIR", type=Path, nargs="?", default=Path("data/demo"), help="where to [data/demo]"
    )
    _add_size(verb)
    _add_settings(verb)

    verb = _add_verb(verbs, "settings", settings, help="show every setting, its value, origin and meaning")
    _add_places(verb)
    _add_settings(verb)

    verb = _add_verb(verbs, "simulate", simulate, help="write simulated Sentinel-1 products and their truth")
    verb.add_argument("folder", metavar="DIR", type=Path, help="where to")
    _add_size(verb)
    verb.add_argument("--seed", type=int, help="another seed makes other ground, noise and weather")
    return parser


def _joined(argv: Sequence[str]) -> list[str]:
    """``--roi -3,-2,36,37`` as ``--roi=-3,-2,36,37``: argparse takes a leading minus for a flag."""
    joined: list[str] = []
    for text in argv:
        if joined and re.fullmatch(r"--[a-z-]+", joined[-1]) and re.match(r"-[\d.]", text):
            joined[-1] += "=" + text
        else:
            joined.append(text)
    return joined


def _examples(verb: str) -> dict[str, Any]:
    return {
        "epilog": "EXAMPLES" + EXAMPLES[verb].rstrip(),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def _add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    **shown: Any,
) -> argparse.ArgumentParser:
    """A verb, with what all verbs have."""
    verb = verbs.add_parser(name, description=command.__doc__, allow_abbrev=False, **_examples(name), **shown)
    verb.set_defaults(verb=name, command=command, flags=[])
    verb.add_argument("--debug", action="store_true", help="show where in the code an error comes from")
    return verb


def _add_pairs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = _add_verb(verbs, "pairs", pairs, help="list pairs of what lies in data/raw, or of what the archive has")
    _add_places(verb)
    rules = verb.add_argument_group("which dates are paired", "several rules must all allow a pair")
    rules.add_argument(
        "--neighbours",
        metavar="N",
        type=_at_least_one,
        help=f"each date with the next N [{NEIGHBOURS}, without a rule]",
    )
    rules.add_argument("--days", metavar="N", type=_at_least_one, help="at most so many days apart")
    rules.add_argument("--baseline", metavar="M", type=_length, help="perpendicular baseline at most so many metres")
    rules.add_argument("--all", action="store_true", help="every date with every other")
    search = verb.add_argument_group("search of the archive", "with ROI and POLARIZATION")
    search.add_argument("--search", action="store_true", help="look in the archive, not in data/raw")
    search.add_argument("--from", dest="start", metavar="DATE", type=_day, help="first day, such as 2025-01-31")
    search.add_argument("--to", dest="stop", metavar="DATE", type=_last_moment, help="last day")
    search.add_argument("--track", metavar="N", type=_at_least_one, help="relative orbit")
    search.add_argument("--direction", metavar="WAY", type=_direction, help="ascending or descending")
    verb.add_argument("--force", action="store_true", help="replace the list; the old one is kept beside it")
    _add_settings(verb)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"expected a whole number from 1, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _length(text: str) -> float:
    with suppress(ValueError):
        if float(text) >= 0:
            return float(text)
    msg = f"expected metres from 0, got {text!r}"
    raise argparse.ArgumentTypeError(msg)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError as exc:
        msg = f"expected a day such as 2025-01-31, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from exc


def _last_moment(text: str) -> datetime:
    return _day(text) + timedelta(days=1, microseconds=-1)


def _direction(text: str) -> Direction:
    try:
        return Direction(text.lower())
    except ValueError as exc:
        msg = f"expected ascending or descending, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from exc


def _add_places(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--data", metavar="DIR", type=Path, default=Path("data"), help="data folder [./data]")
    verb.add_argument("--pairs", metavar="FILE", type=Path, default=Path("pairs.txt"), help="pairs [./pairs.txt]")
    verb.add_argument("--env", metavar="FILE", type=Path, help="settings [./.env where there is one]")


def _add_size(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--size", default="demo", help="how much to simulate: tiny, demo, swath or frame [demo]")


def _add_settings(verb: argparse.ArgumentParser) -> None:
    """One flag per key, all collected in ``flags``, so that the last one wins."""
    from topsar.settings import KEYS

    group = verb.add_argument_group("settings", "each is also a key of .env and the environment: --posting is POSTING")
    group.add_argument(
        "-o", dest="flags", metavar="KEY=VALUE", type=_assignment, action="append", help="set any key, repeatable"
    )
    for key in KEYS:
        if not key.secret:  # a command line is visible to every user of the machine
            text = f"{key.meaning}. Value: {key.allowed} [{key.default or 'empty'}]".replace("%", "%%")
            value = partial(_pair, key.name)
            group.add_argument(key.flag, dest="flags", metavar="VALUE", type=value, action="append", help=text)


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        msg = f"expected KEY=VALUE, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    from topsar.settings import KEYS

    if any(known.secret and known.name == key.strip() for known in KEYS):
        msg = f"{key.strip()} is secret, and a command line is visible to every user of the machine: set it in .env"
        raise argparse.ArgumentTypeError(msg)
    return key.strip(), value


def _pair(key: str, value: str) -> tuple[str, str]:
    return key, value
