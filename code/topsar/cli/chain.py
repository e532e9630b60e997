"""The chain of SNAP by the names of its operators: each runs what leads to its result, and tells where that lies.

What an earlier stage has made is not made again: all of them are steps of one run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from topsar.cli.verbs import load, print_outcomes
from topsar.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from topsar.schedule.jobs import Outcome

_RADAR: dict[str, object] = {"grid": "radar", "interferograms": 0}


class Stage(NamedTuple):
    """Settings that a stage has of its own, and what it makes, below the folder of the pair or stack."""

    settings: Mapping[str, object]
    makes: str
    meaning: str


CHAIN = {
    "back-geocoding": Stage(_RADAR | {"esd": "off"}, "merged/SLC/*/*.slc.full", "coregister by orbits and heights"),
    "spectral-diversity": Stage(_RADAR, "merged/SLC/*/*.slc.full", "the same with the timing that overlaps tell"),
    "interferogram": Stage({"unwrapper": "none"}, "products/wrapped_phase.tif", "multiply, multilook, merge"),
    "topo-phase-removal": Stage({"unwrapper": "none"}, "products/wrapped_phase.tif", "the same: topography is gone"),
    "goldstein": Stage({"unwrapper": "none"}, "products/filtered_phase.tif", "filter the phase"),
    "unwrapping": Stage({}, "products/unwrapped_phase.tif", "unwrap it"),
    "displacement": Stage({}, "products/displacement.tif", "phase to displacement"),
    "terrain-correction": Stage({}, "products/*.tif", "all layers, on the map"),
    "stamps": Stage(_RADAR | {"formats": ("geotiff", "stamps")}, "stamps/INSAR_*", "coregister, export to StaMPS"),
}


def run_stage(args: argparse.Namespace) -> int:
    """Run a stage of the chain on all named products.

    Parameters
    ----------
    args : Namespace
        Its ``action`` is a key of `CHAIN`.
    """
    from topsar import workflow
    from topsar.pairs.listing import chain_scenes
    from topsar.provision import Services

    stage, settings = CHAIN[args.action], load(args)
    if args.bursts or args.scomplex:
        msg = "--bursts and --scomplex belong to split, orbit and gamma"
        raise SettingsError(msg, hint="ROI and SWATHS choose bursts")
    if args.action in ("unwrapping", "displacement") and settings.unwrapper == "none":
        msg = f"UNWRAPPER=none, and {args.action} needs unwrapped phase"
        raise SettingsError(msg, hint="set UNWRAPPER=snaphu or whirlwind")
    settings = settings.model_copy(update=dict(stage.settings))
    outcomes = workflow.run(settings, Services(), pairs=chain_scenes(args.safes))
    runs = settings.data / "runs"
    for folder in _find_folders(outcomes, runs):
        for path in sorted(folder.glob(stage.makes)):
            print(path)
    return print_outcomes(outcomes, runs, "jobs" if settings.grid == "radar" else "pairs")


def _find_folders(outcomes: Sequence[Outcome], runs: Path) -> Iterator[Path]:
    """Folders of what is done: pairs, stacks, and exports of stacks."""
    from topsar.engines.radar_stack import STACKS, place_stack

    for one in outcomes:
        if one.is_done:
            yield place_stack(runs, one.job) if one.job.startswith(f"{STACKS}_") else runs / one.job
