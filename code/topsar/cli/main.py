"""The parser and the exit codes.

Exit codes: 0 all is done, 1 something failed, 2 wrong usage or settings, 130 interrupted. The hidden verb ``step``,
a step's own process, ends with the error's own code (see `topsar.errors`).
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

from topsar import __version__
from topsar.cli import bursts, series, verbs
from topsar.cli.verbs import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, NEIGHBOURS
from topsar.environment import drop_foreign_data
from topsar.errors import SettingsError, TopsarError

VERBS = (
    "run", "stack", "plan", "pairs", "status", "doctor", "clean", "export", "check", "timeseries", "demo", "settings",
    "simulate", *bursts.VERBS,
)  # fmt: skip
"""All but the hidden ``step``."""
EXAMPLES = {
    "": """
  topsar demo                        the quickest way to see what it does
  topsar doctor                      before the first run
  topsar run --help                  flags of a verb
""",
    "run": """
  topsar run --data /disk/etna --pairs /disk/etna/pairs.txt --env /disk/etna/.env
  topsar run --workers 4 --posting 40 --roi 37.4,37.9,14.7,15.3
  topsar run -o UNWRAPPER=none -o FILTER_STRENGTH=0

folders under --data: raw (SLCs, .SAFE or .zip), orbit_data (EOF), dem, runs (results)
""",
    "stack": """
  topsar stack                                     all dates of pairs.txt
  topsar stack data/raw/*.zip --interferograms 2   all these scenes, and each date with the next two
  topsar stack --stack-reference 20250315 --looks 9x3
""",
    "plan": """
  topsar plan --posting 40                what another posting would make anew
  topsar plan --cores 16 --memory 64      what a larger machine of this kind would take
""",
    "pairs": """
  topsar pairs                                     each date of data/raw with the next two
  topsar pairs --days 24 --baseline 150
  topsar pairs --search --roi 37.4,37.9,14.7,15.3 --from 2025-01-01 --to 2025-06-30 --track 44
""",
    "status": "\n  topsar status --watch              again every two seconds, until the run is over",
    "doctor": "\n  topsar doctor --json",
    "clean": """
  topsar clean --dry-run             list what would go
  topsar clean --cleanup nuclear     all but products, facts and logs
""",
    "export": """
  topsar export geotiff --to /disk/for-colleagues
  topsar export stamps --roi 37.4,37.9,14.7,15.3     a stack, as StaMPS's mt_prep_snap takes it
""",
    "timeseries": series.EXAMPLES,
    "check": "\n  topsar check gunw data/export/gunw/*/*.nc",
    "demo": "\n  topsar demo /tmp/topsar-demo --workers 2",
    "settings": "\n  topsar settings --env /disk/etna/.env --posting 40",
    "simulate": "\n  topsar simulate /disk/simulated --size swath --seed 7",
    **bursts.EXAMPLES,
    "step": "\n  topsar step data/runs/PAIR/job.json unwrap",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, that of the process if no arguments are given, and return the exit code."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        print("interrupted; the same command resumes where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(argv: Sequence[str] | None) -> int:
    argv = _join_negative_values(sys.argv[1:] if argv is None else argv)
    parser = _build_step_parser() if argv[:1] == ["step"] else build_parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    _start_logging()
    drop_foreign_data()
    try:
        _check_current_folder()
        return int(args.command(args))
    except TopsarError as exc:
        if args.debug:
            traceback.print_exc()
        else:
            print(f"error: {exc}", file=sys.stderr)
        if args.verb == "step":
            return exc.exit_code
        return EXIT_USAGE if isinstance(exc, SettingsError) else EXIT_FAILED
    except BrokenPipeError:  # whoever read our output, `head` for one, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as exc:
        if args.debug:
            raise
        print(f"error: {exc}\n  hint: --debug shows where this happened", file=sys.stderr)
        return EXIT_FAILED
    except RuntimeError as exc:  # of Numba, where neither the program nor the home can be written
        if args.debug or not str(exc).startswith("cannot cache function"):
            raise
        print(
            "error: no folder for compiled kernels can be written\n  hint: set NUMBA_CACHE_DIR to one", file=sys.stderr
        )
        return EXIT_FAILED


def _check_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as exc:
        msg = "the folder that this was started in has been removed"
        raise TopsarError(msg, hint="cd into one that is there") from exc


def _start_logging() -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("topsar").setLevel(logging.INFO)
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # what it says about .env we say ourselves, with line numbers


def _build_step_parser() -> argparse.ArgumentParser:
    """The parser of the hidden verb ``step``; it does without settings, which take a while to import."""
    parser = argparse.ArgumentParser(prog="topsar")
    verb = _add_verb(parser.add_subparsers(), "step")
    verb.add_argument("job", metavar="JOB_JSON", type=Path, help="the job's description")
    verb.add_argument("step", metavar="STEP", help="name of the step")
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of the other verbs."""
    shown = "From a list of Sentinel-1 TOPS pairs to interferograms, in parallel."
    parser = argparse.ArgumentParser(prog="topsar", description=shown, allow_abbrev=False, **_make_epilog(""))
    parser.add_argument("--version", action="version", version=f"topsar {__version__}")
    parser.set_defaults(verb=None)
    group = parser.add_subparsers(metavar="VERB", title="verbs")
    for name in VERBS:
        verb = _add_verb(group, name)
        has_data = name not in {"demo", "simulate", "check"}
        has_settings = has_data and name != "status"
        if has_data:
            verb.add_argument("--data", metavar="DIR", type=Path, default=Path("data"), help="data folder [./data]")
        if has_settings and name not in bursts.VERBS:
            default = Path("pairs.txt")
            verb.add_argument("--pairs", metavar="FILE", type=Path, default=default, help="pairs [./pairs.txt]")
        if has_settings:
            verb.add_argument("--env", metavar="FILE", type=Path, help="settings [./.env where there is one]")
        _add_own_flags(verb, name)
        if has_settings or name == "demo":
            _add_settings(verb, bursts.KEYS if name in bursts.VERBS else ())
    return parser


def _add_own_flags(verb: argparse.ArgumentParser, name: str) -> None:
    if name in bursts.VERBS:
        bursts.add_flags(verb, name)
    elif name in {"pairs", "timeseries"}:
        (series.add_flags if name == "timeseries" else _add_rules_and_search)(verb)
    elif name in {"stack", "export", "check"}:
        _add_names(verb, name)
    elif name == "plan":
        verb.add_argument("--cores", metavar="N", type=_parse_count, help="of another machine [those of this one]")
        shown = "what steps may use of its memory, gigabytes [as here]"
        verb.add_argument("--memory", metavar="GB", type=_parse_gigabytes, help=shown)
    elif name == "status":
        verb.add_argument("--json", action="store_true", help="for programs: every step")
        verb.add_argument("--watch", action="store_true", help="again and again, until the run is over")
    elif name == "doctor":
        verb.add_argument("--json", action="store_true", help="for programs")
        verb.add_argument("--image", action="store_true", help="only what an image must pass at the end of its build")
        verb.add_argument("--isce", action="store_true", help="with --image: one that holds ISCE2")
    elif name == "clean":
        verb.add_argument("--dry-run", action="store_true", help="list them and leave them")
    elif name in {"demo", "simulate"}:
        place: dict[str, Any] = {"nargs": "?", "default": Path("data/demo")} if name == "demo" else {}
        shown = "where to" + (" [data/demo]" if name == "demo" else "")
        verb.add_argument("folder", metavar="DIR", type=Path, help=shown, **place)
        verb.add_argument("--size", default="demo", help="how much to simulate: tiny, demo, swath or frame [demo]")
    if name == "simulate":
        verb.add_argument("--seed", type=int, help="another seed makes other ground, noise and weather")


def _add_names(verb: argparse.ArgumentParser, name: str) -> None:
    if name == "stack":
        shown = "products, or files that list them, one a line [the dates of --pairs]"
        verb.add_argument("scenes", metavar="SCENE", nargs="*", help=shown)
    elif name == "export":
        verb.add_argument("format", metavar="FORMAT", help="its name, such as quicklook")
        verb.add_argument("--to", metavar="DIR", type=Path, help="where to [data/export/FORMAT]")
        shown = "stamps: interferograms of each date with the next N, not of all with the reference"
        verb.add_argument("--small-baselines", metavar="N", type=_parse_count, default=0, help=shown)
    else:
        verb.add_argument("format", metavar="FORMAT", help="its name: gunw")
        verb.add_argument("files", metavar="FILE", type=Path, nargs="+", help="what to check")


def _join_negative_values(argv: Sequence[str]) -> list[str]:
    """``--roi -3,-2,36,37`` as ``--roi=-3,-2,36,37``: argparse takes a leading minus for a flag."""
    joined: list[str] = []
    for text in argv:
        if joined and re.fullmatch(r"--[a-z-]+", joined[-1]) and re.match(r"-[\d.]", text):
            joined[-1] += "=" + text
        else:
            joined.append(text)
    return joined


def _make_epilog(verb: str) -> dict[str, Any]:
    epilog = "EXAMPLES" + EXAMPLES[verb].rstrip()
    return {"epilog": epilog, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _add_verb(group: Any, name: str) -> argparse.ArgumentParser:
    """A verb, with what all verbs have."""
    module = bursts if name in bursts.VERBS else series if name == "timeseries" else verbs
    command = getattr(module, name)
    verb: argparse.ArgumentParser = group.add_parser(
        name, help=command.__doc__, description=command.__doc__, allow_abbrev=False, **_make_epilog(name)
    )
    verb.set_defaults(verb=name, command=command, flags=[])
    verb.add_argument("--debug", action="store_true", help="show where in the code an error comes from")
    return verb


def _add_rules_and_search(verb: argparse.ArgumentParser) -> None:
    rules = verb.add_argument_group("which dates are paired", "several rules must all allow a pair")
    shown = f"each date with the next N [{NEIGHBOURS}, without a rule]"
    rules.add_argument("--neighbours", metavar="N", type=_parse_count, help=shown)
    rules.add_argument("--days", metavar="N", type=_parse_count, help="at most N days apart")
    rules.add_argument("--baseline", metavar="M", type=_parse_length, help="perpendicular baseline at most M metres")
    rules.add_argument("--all", action="store_true", help="every date with every other")
    search = verb.add_argument_group("search of the archive", "with ROI and POLARIZATION")
    search.add_argument("--search", action="store_true", help="look in the archive, not in data/raw")
    search.add_argument("--from", dest="start", metavar="DATE", type=_parse_day, help="first day, such as 2025-01-31")
    search.add_argument("--to", dest="stop", metavar="DATE", type=_parse_last_day, help="last day")
    search.add_argument("--track", metavar="N", type=_parse_count, help="relative orbit")
    search.add_argument("--direction", choices=("ascending", "descending"), type=str.lower, help="of the flight")
    verb.add_argument("--force", action="store_true", help="replace the list; the old one is kept beside it")


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"expected a whole number from 1, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _parse_length(text: str) -> float:
    with suppress(ValueError):
        if float(text) >= 0:
            return float(text)
    msg = f"expected metres from 0, got {text!r}"
    raise argparse.ArgumentTypeError(msg)


def _parse_gigabytes(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    msg = f"expected gigabytes, more than 0, got {text!r}"
    raise argparse.ArgumentTypeError(msg)


def _parse_day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError as exc:
        msg = f"expected a day such as 2025-01-31, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from exc


def _parse_last_day(text: str) -> datetime:
    return _parse_day(text) + timedelta(days=1, microseconds=-1)


def _add_settings(verb: argparse.ArgumentParser, chosen: Sequence[str]) -> None:
    """One flag per key, or of those that are ``chosen``, all collected in ``flags``, so that the last one wins."""
    from topsar.settings import KEYS

    group = verb.add_argument_group("settings", "each is also a key of .env and the environment: --posting is POSTING")
    group.add_argument(
        "-o", dest="flags", metavar="KEY=VALUE", type=_parse_assignment, action="append", help="set any key, repeatable"
    )
    for key in KEYS:
        # A secret has no flag: a command line is visible to every user of the machine.
        if not key.secret and (not chosen or key.name in chosen):
            text = f"{key.meaning}. Value: {key.allowed} [{key.default or 'empty'}]".replace("%", "%%")
            pair = partial(lambda name, value: (name, value), key.name)
            group.add_argument(key.flag, dest="flags", metavar="VALUE", type=pair, action="append", help=text)


def _parse_assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        msg = f"expected KEY=VALUE, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    from topsar.settings import KEYS

    if any(known.secret and known.name == key.strip() for known in KEYS):
        msg = f"{key.strip()} is secret, and a command line is visible to every user of the machine: set it in .env"
        raise argparse.ArgumentTypeError(msg)
    return key.strip(), value
