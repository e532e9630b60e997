"""A simulated data set: made, processed, and compared with its truth."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from topsar import __version__
from topsar.errors import SettingsError
from topsar.files import write_json
from topsar.schedule.jobs import Outcome
from topsar.settings import load_settings
from topsar.workflow import run

if TYPE_CHECKING:
    from topsar.report.closure import Closure
    from topsar.simulate.compare import Comparison

log = logging.getLogger(__name__)


class Demonstration(NamedTuple):
    """What the demo made, and how far it is from the truth."""

    outcomes: tuple[Outcome, ...]
    comparisons: tuple[Comparison, ...]
    closures: tuple[Closure, ...]


def simulate_data(folder: Path, *, size: str, seed: int | None = None) -> None:
    """Write a simulated data set in the layout of a data folder, with its ``pairs.txt`` and ``truth``.

    Parameters
    ----------
    folder : Path
    size : str
        How much is simulated: a SettingsError tells which sizes there are.
    seed : int, optional
        Another one makes other ground, noise and weather.
    """
    from topsar.simulate import recipe, simulate

    try:
        chosen = recipe(size)
    except ValueError as exc:
        raise SettingsError(str(exc), hint="--size tiny is the quickest") from exc
    chosen = replace(chosen, seed=chosen.seed if seed is None else seed)
    simulate(folder, chosen, watch=log.info)


def run_demo(folder: Path, *, size: str, flags: Mapping[str, str]) -> Demonstration:
    """Simulate a data set, unless ``folder`` already holds it, process it, and compare with the truth.

    Parameters
    ----------
    folder : Path
    size : str
    flags : mapping
        Settings; the native engine is taken unless they say otherwise.
    """
    from topsar.report.closure import close_triplets
    from topsar.simulate.compare import compare_pair

    made = folder / "truth" / "complete.json"
    if not (made.is_file() and json.loads(made.read_text()) == {"size": size, "version": __version__}):
        simulate_data(folder, size=size)
        write_json(made, {"size": size, "version": __version__})
    flags = {"ENGINE": "native"} | dict(flags)
    outcomes = run(load_settings(env_file=None, data=folder, pairs=folder / "pairs.txt", flags=flags))
    finished = [
        folder / "runs" / outcome.job / "products" for outcome in outcomes if outcome.is_pair and outcome.is_done
    ]
    return Demonstration(
        outcomes=outcomes,
        comparisons=tuple(compare_pair(products, folder / "truth") for products in finished),
        closures=close_triplets(finished).found,
    )
