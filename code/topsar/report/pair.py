"""A pair of a batch: what became of it, the facts of its products, and what its steps took."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from topsar.errors import ProductError
from topsar.files import read_json
from topsar.interferogram import LAYERS, read_number
from topsar.schedule.jobs import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from topsar.schedule.jobs import Outcome

LOG_LINES = 20
"""Lines shown of the log of a step that failed."""


class StepRow(NamedTuple):
    """A step that a pair was made by, its own or one of shared work."""

    name: str
    status: Status
    seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """A pair of the batch; ``facts`` are empty without products, ``log`` unless a step of it failed in this run."""

    number: int
    outcome: Outcome
    folder: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[StepRow, ...] = ()
    log: str = ""

    @property
    def products(self) -> Path:
        """The folder of its layers."""
        return self.folder / "products"

    @property
    def name(self) -> str:
        """Both dates, or its id where they are not known."""
        return f"{self.dates[0]} → {self.dates[1]}" if self.dates else self.outcome.job

    @property
    def remarks(self) -> list[str]:
        """What its facts warn of."""
        found = self.facts.get("remarks")
        return [str(one) for one in found] if isinstance(found, list | tuple) else []

    @property
    def dates(self) -> tuple[date, date] | None:
        """Reference and secondary date, from the facts or the pair's id; None if neither tells."""
        found = [str(self.facts.get(key, "")).replace("-", "") for key in ("reference_date", "secondary_date")]
        if not all(found):
            found = re.findall(r"(?<!\d)(\d{8})(?:T\d{6})?(?!\d)", self.outcome.job)[:2]
        try:
            first, second = (datetime.strptime(text[:8] + "+0000", "%Y%m%d%z").date() for text in found)
        except ValueError:
            return None
        return first, second

    @property
    def track(self) -> str:
        """Relative orbit, as text; empty if not known."""
        track = self.facts.get("track")
        match = re.match(r"T(\d{3})_", self.outcome.job)
        return str(track) if track is not None else str(int(match[1])) if match else ""

    @property
    def layers(self) -> list[str]:
        """The layers among its products: those of the catalogue in its order, then others by name."""
        found = sorted(path.stem for path in self.products.glob("*.tif")) if self.outcome.is_done else []
        return [name for name in LAYERS if name in found] + [name for name in found if name not in LAYERS]

    def find_picture(self, layer: str) -> Path | None:
        """The picture of a layer, if it was drawn."""
        places = (self.folder / "quicklook", self.products)
        return next((path for place in places if (path := place / f"{layer}.png").is_file()), None)

    def find_scene(self, name: str) -> Path | None:
        """The file of its layers for the map, if it was written."""
        path = self.folder / "quicklook" / name
        return path if self.outcome.is_done and path.is_file() else None

    def find_number(self, key: str) -> float | None:
        """A fact that is a finite number, or None."""
        return read_number(self.facts.get(key))


def read_pairs(runs: Path, outcomes: Sequence[Outcome]) -> tuple[PairReport, ...]:
    """The pairs among the outcomes, with the facts of those that are done.

    Parameters
    ----------
    runs : Path
        The runs folder.
    outcomes : sequence of Outcome
        Of all jobs.
    """
    titles = {one.job: one.title for one in outcomes}
    pairs = (one for one in outcomes if one.is_pair)
    return tuple(_read_pair(runs, one, titles, number) for number, one in enumerate(pairs, 1))


def _read_pair(runs: Path, outcome: Outcome, titles: Mapping[str, str], number: int) -> PairReport:
    folder = runs / outcome.job
    facts: dict[str, Any] = {}
    if outcome.is_done:
        with suppress(ProductError):  # somebody has removed or changed it meanwhile
            facts = read_json(folder / "products" / "facts.json")
    steps = [
        StepRow(
            f"{one['name']} {titles.get(one['job'], one['job'])}", Status.DONE, one["seconds"], one["peak_memory_bytes"]
        )
        for one in facts.get("steps", ())
        if one["job"] != outcome.job
    ]
    steps += [
        StepRow(event.step, event.status, event.ended.seconds, event.ended.peak_memory_bytes)
        for event in outcome.events
        if event.ended
    ]
    log = read_log(runs, outcome)
    return PairReport(number=number, outcome=outcome, folder=folder, facts=facts, steps=tuple(steps), log=log)


def read_log(runs: Path, outcome: Outcome) -> str:
    """The last lines of the log of the step that failed; empty if none failed, or it never ran.

    Parameters
    ----------
    runs : Path
        The runs folder.
    outcome : Outcome
    """
    failures = [event for event in outcome.events if event.status is Status.FAILED and event.ended]
    if not failures or not (failures[-1].ended and failures[-1].ended.seconds):
        return ""  # a log would be of an earlier run
    file = runs / outcome.job / f"{failures[-1].step}.log"
    return "\n".join(file.read_text(errors="replace").splitlines()[-LOG_LINES:]) if file.is_file() else ""
