"""What a list of pairs comes to under some settings: scenes, survey, heights, plan, jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import SettingsError
from topsar.pairs.listing import PairLine, read_pairs

if TYPE_CHECKING:
    from topsar.engines import Engine, Plan
    from topsar.engines.survey import Survey
    from topsar.model import BBox, Dem
    from topsar.provision import Found, ListedPair, Services
    from topsar.provision.weather.choice import Analyses
    from topsar.schedule.jobs import Job
    from topsar.settings import Options, Settings

_FOLDERS = ("troposphere_dir", "ionex_dir")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Each part is found once, when it is first asked for, or raises what prevents it.

    ``services`` are asked for what is missing; without them nothing is fetched. ``pairs`` are those to process where
    they are not to be read from ``settings.pairs``.
    """

    settings: Settings
    services: Services | None = None
    pairs: Sequence[PairLine] | None = None

    @cached_property
    def runs(self) -> Path:
        """The runs folder."""
        return self.settings.data.resolve() / "runs"

    @cached_property
    def options(self) -> Options:
        """The settings that change the numbers; folders that corrections read are absolute."""
        options, data = self.settings.options, self.settings.data.resolve()
        named = {key: getattr(options, key) for key in _FOLDERS}
        places = {key: str(data / Path(name).expanduser()) for key, name in named.items() if name}
        fetched = {"troposphere_dir": str(self.weather.folder)} if self.weather else {}
        return options.model_copy(update=places | fetched)

    @cached_property
    def lines(self) -> Sequence[PairLine]:
        """The pairs as they are listed."""
        if self.pairs is None and not self.settings.pairs.is_file():
            msg = f"no {self.settings.pairs}"
            raise SettingsError(msg, hint="list the pairs there, reference first, or give --pairs FILE")
        return self.pairs or read_pairs(self.settings.pairs)

    @cached_property
    def found(self) -> Found:
        """Their scenes and orbits."""
        from topsar.provision import find_scenes

        return find_scenes(self.lines, self.settings, self.services)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """What a run would fetch; nothing with OFFLINE=1, or without a list."""
        from topsar.provision import describe_missing

        if self.settings.offline or (self.pairs is None and not self.settings.pairs.is_file()):
            return ()
        return describe_missing(self.lines, self.settings, self.found, self.find_footprint)

    @cached_property
    def engine(self) -> tuple[Engine, str]:
        """The engine to use, and why."""
        from topsar.engines import choose_engine

        return choose_engine(*self.settings.engine_wanted)

    @cached_property
    def survey(self) -> Survey:
        """The pairs whose scenes can be read, and their bursts."""
        from topsar.engines.survey import Survey

        return Survey(self.found.pairs, self.found.orbits, self.settings.options)

    def find_footprint(self) -> BBox:
        """Find the box that a DEM must cover."""
        return self.survey.find_footprint(whole=self.engine[0].whole_bursts)

    @cached_property
    def dem(self) -> Dem:
        """The height model."""
        from topsar.provision import find_dem, needs_box

        box = self.find_footprint() if needs_box(self.settings) else None  # the user's own raster is taken as it is
        return find_dem(self.settings, box, self.services)

    @cached_property
    def weather(self) -> Analyses | None:
        """The analyses of a weather model that a correction needs; None where it needs none, or the user has files."""
        from topsar.provision import Services, plan_weather, provide_weather

        if "weather_troposphere" not in self.settings.corrections:
            return None
        analyses = plan_weather(self.found.pairs, self.settings, self.find_footprint)
        if analyses and (self.services or self.settings.offline):
            provide_weather(analyses, self.settings, self.services or Services())
        return analyses

    @cached_property
    def water_mask(self) -> Path | None:
        """The raster of water that the user gave."""
        from topsar.provision import find_water_mask

        return find_water_mask(self.settings)

    @cached_property
    def plan(self) -> Plan:
        """What the engine would do."""
        from topsar.engines import Inputs
        from topsar.engines.radar_stack import list_kept_stacks
        from topsar.provision import provide_calibration

        engine, dem, mask, aux_cal = self.engine[0], self.dem, self.water_mask, None
        if engine.wants_aux_cal:
            aux_cal = provide_calibration(self.found.pairs, self.settings, self.services)
        kept = list_kept_stacks(self.runs)
        inputs = Inputs(survey=self.survey, dem=dem, water_mask=mask, aux_cal=aux_cal, kept_stacks=kept)
        return engine.plan(inputs, self.settings.options)

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """Everything that is to be done."""
        from topsar.formats.step import finish_jobs

        mask = self.water_mask
        return finish_jobs(self.plan.jobs, self.engine[0], self.options, (mask,) if mask else ())

    @cached_property
    def refused(self) -> tuple[ListedPair, ...]:
        """The listed pairs that cannot be processed, each with its problem."""
        refused = self.plan.refused
        told = (replace(one, problem=refused.get(one.pair.id)) if one.pair else one for one in self.found.listed)
        return tuple(one for one in told if one.problem)
