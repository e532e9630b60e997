"""What the checks look at: the settings, and what follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from topsar.errors import SettingsError
from topsar.pairs.listing import read_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topsar.engines import Engine, Plan
    from topsar.engines.survey import Survey
    from topsar.model import BBox, Dem
    from topsar.pairs.listing import PairLine
    from topsar.provision import Found
    from topsar.schedule.forecast import Forecast
    from topsar.schedule.graph import NodeId
    from topsar.settings import Settings


@dataclass(frozen=True)
class Case:
    """The settings, and what follows from them; each is found when first asked for, or raises what prevents it."""

    settings: Settings
    broken: SettingsError | None
    env_file: Path | None

    @cached_property
    def runs(self) -> Path:
        """The runs folder."""
        return self.settings.data.resolve() / "runs"

    @cached_property
    def place(self) -> Path:
        """The runs folder, or the nearest folder above it that is there."""
        return next(folder for folder in (self.runs, *self.runs.parents) if os.path.lexists(folder))

    @cached_property
    def lines(self) -> tuple[PairLine, ...]:
        """The lines of the list of pairs."""
        if not (path := self.settings.pairs).is_file():
            msg = f"no {path}"
            raise SettingsError(msg, hint="list the pairs there, reference first, or give --pairs FILE")
        return tuple(read_pairs(path))

    @cached_property
    def found(self) -> Found:
        """The scenes and orbits that are there."""
        from topsar.provision import find_scenes

        return find_scenes(self.lines, self.settings)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """What a run would fetch; nothing with OFFLINE=1."""
        from topsar.provision import describe_missing

        if self.settings.offline or not self.settings.pairs.is_file():
            return ()
        return describe_missing(self.lines, self.settings, self.found, self.find_footprint)

    @cached_property
    def engine(self) -> tuple[Engine, str]:
        """The engine to use, and why."""
        from topsar.engines import choose_engine

        return choose_engine(*self.settings.engine_wanted)

    def find_footprint(self) -> BBox:
        """The box that a DEM must cover."""
        return self.survey.find_footprint(whole=self.engine[0].whole_bursts)

    @cached_property
    def survey(self) -> Survey:
        """The pairs and their bursts."""
        from topsar.engines.survey import Survey

        return Survey(self.found.pairs, self.found.orbits, self.settings.options)

    @cached_property
    def dem(self) -> Dem:
        """The height model."""
        from topsar.provision import find_dem, needs_box

        return find_dem(self.settings, self.find_footprint() if needs_box(self.settings) else None)

    @cached_property
    def plan(self) -> Plan:
        """What the engine would do."""
        from topsar.engines import Inputs

        return self.engine[0].plan(Inputs(survey=self.survey, dem=self.dem), self.settings.options)

    @cached_property
    def forecasts(self) -> Mapping[NodeId, Forecast]:
        """What each step will take, by what was learned in the runs folder."""
        from topsar.schedule.forecast import Ledger

        ledger = Ledger(self.runs)
        return {(job.id, step.name): ledger.predict(step) for job in self.plan.jobs for step in job.steps}
