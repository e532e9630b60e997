"""The application: arguments, steps in their order, pickles between them, and faults where a test wants them."""

from __future__ import annotations

import getopt
import sys
import time
from collections.abc import Callable
from pathlib import Path

import isce

from . import faults as fault_list
from . import steps_fine, steps_merged, steps_overlap, steps_start
from .options import count_attempt, load_options, record, record_start
from .output import log, say
from .run import Run
from .settings import read_settings
from .state import State, load_state, save_state, write_document

STEPS: dict[str, Callable[[Run], None]] = {
    "startup": steps_start.startup,
    "preprocess": steps_start.preprocess,
    "computeBaselines": steps_start.compute_baselines,
    "verifyDEM": steps_start.verify_dem,
    "topo": steps_start.topo,
    "subsetoverlaps": steps_overlap.subset_overlaps,
    "coarseoffsets": steps_overlap.coarse_offsets,
    "coarseresamp": steps_overlap.coarse_resamp,
    "overlapifg": steps_overlap.overlap_ifg,
    "prepesd": steps_overlap.prep_esd,
    "esd": steps_overlap.esd,
    "rangecoreg": steps_overlap.range_coreg,
    "fineoffsets": steps_fine.fine_offsets,
    "fineresamp": steps_fine.fine_resamp,
    "ion": steps_fine.ion,
    "burstifg": steps_fine.burst_ifg,
    "mergebursts": steps_merged.merge_bursts,
    **dict.fromkeys(
        ("filter", "unwrap", "unwrap2stage", "geocode", "denseoffsets", "filteroffsets", "geocodeoffsets"),
        steps_merged.refuse,
    ),
}
NAMES = list(STEPS)
STEP_WORDS = {"--steps", "--dostep", "--start", "--end", "--next"}
USAGE = "\nUsages: \ntopsApp.py <input-file.xml>\ntopsApp.py --steps\ntopsApp.py --help\ntopsApp.py --help --steps\n"


def _choose_steps(arguments: list[str]) -> range | None:
    """The steps asked for; on a name that is none the real one prints and ends well."""
    chosen = {"start": NAMES[0], "end": NAMES[-1]}
    for option, value in getopt.getopt(arguments, "", ["start=", "end=", "dostep=", "steps", "next"])[0]:
        chosen |= {which: value for which in chosen if option in (f"--{which}", "--dostep")}
    for which, name in chosen.items():
        if name not in NAMES:
            say(f"ERROR: {which}={name} is not one of the named steps")
            return None
    start, end = chosen.values()
    first, last = NAMES.index(start), NAMES.index(end)
    if first > last:
        say(f"ERROR: start={start}, step number {first} comes after end={end}, step number {last}")
        return None
    return range(first, last + 1)


def _do_step(run: Run, step: str) -> list[fault_list.Fault]:
    """One step with its faults; its work, not its pickle."""
    number = count_attempt(run.options, step)
    faults = fault_list.find_faults(run.options.faults, step, number)
    record(run.options, "step", step=step, attempt=number)
    run.written.clear()
    fault_list.apply_faults(faults, "before")
    STEPS[step](run)
    fault_list.spoil_outputs(faults, run.written)
    fault_list.apply_faults(faults, "after")
    return faults


def _print_version(run: Run) -> None:
    date = isce.release_date
    message = (
        f"ISCE VERSION = {isce.__version__}, RELEASE_SVN_REVISION = ,RELEASE_DATE = {date}, CURRENT_SVN_REVISION = "
    )
    log("insar", "INFO", message)
    say(message)
    if run.settings["geocodelist"] is not None:
        run.state.values["geocodelist"] = run.settings["geocodelist"]


def _run_steps(run: Run, steps: range) -> None:
    settings = run.settings
    if steps[0] > 0:
        run.state = load_state(settings["pickleloaddirectory"], NAMES[steps[0] - 1])
    for index in steps:
        step = NAMES[index]
        say(f"Running step {step}")
        faults = _do_step(run, step)
        save_state(settings["pickledumpdirectory"], step, run.state)
        fault_list.tear_pickle(faults, Path(settings["pickledumpdirectory"], step))
        record(run.options, "done", step=step, wrote=[str(path) for path in run.written])
        if index < len(NAMES) - 1:
            say("The remaining steps are (in order): ", NAMES[index + 1 :])
        else:
            say("The is the final step")


def main(arguments: list[str]) -> None:
    """Do what ``topsApp.py`` does with these arguments."""
    files = [Path(word) for word in arguments if not word.startswith("-")]
    options = load_options()
    record_start(options, files[0] if files else None)
    settings = read_settings(files[0]) if files else None
    if settings is None or "--help" in arguments:
        say(USAGE if "--steps" not in arguments else f"The names of steps are: {', '.join(STEPS)}")
        sys.exit(0 if "--steps" in arguments else 1)
    run = Run(settings, State(), options)
    run.state.document = {"ISCE_VERSION": f"Release: {isce.__version__}, svn-, {isce.release_date}. Current svn-"}
    Path("topsinsar.log").write_text("")
    _print_version(run)
    if {word.split("=")[0] for word in arguments} & STEP_WORDS:
        say("Step processing")
        steps = _choose_steps([word for word in arguments if word.startswith("-")])
        if steps is not None:
            _run_steps(run, steps)
        return
    began = time.monotonic()
    for step in NAMES:
        _do_step(run, step)
        record(options, "done", step=step, wrote=[str(path) for path in run.written])
    log("insar", "INFO", f"Total Time: {int(time.monotonic() - began)} seconds")
    write_document(run.state)
