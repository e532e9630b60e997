"""From pairs to the jobs of stacks in radar geometry: one stack for all dates of a track whose pairs touch."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.ground import measure_dem_density
from topsar.engines.layout import lay_out
from topsar.engines.native.joblist import JobList
from topsar.engines.native.links import name_passes, place_bursts
from topsar.engines.native.radar.choice import Choice, choose_reference
from topsar.engines.native.radar.grid import RadarLayout, lay_out_radar
from topsar.engines.native.radar.resampling import DatePart
from topsar.engines.native.stacks import name_stacks
from topsar.engines.native.steps import (
    coregister,
    crossmul,
    delay,
    geometry,
    interferogram,
    multilook,
    overlaps,
    timing,
)
from topsar.engines.native.steps.overlaps import find_overlapping
from topsar.engines.protocol import Inputs, Plan
from topsar.engines.radar_stack import STACKS, StackFacts
from topsar.engines.survey import list_bursts
from topsar.engines.viewing import MID_INCIDENCE_RAD, fit_pass_arc
from topsar.errors import SceneError, TopsarError
from topsar.kernels.geometry import measure_baseline
from topsar.model import Looks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topsar.engines.footprint import Outlines
    from topsar.engines.layout import LaidPair
    from topsar.engines.native.steps.burst_window import BurstWindow
    from topsar.engines.orbits import OrbitChoice
    from topsar.engines.step import StepKind
    from topsar.engines.survey import MatchedPair, Survey
    from topsar.model import Burst, Scene
    from topsar.settings import Options

log = logging.getLogger(__name__)

_LINE_M = 14.0
"""Ground distance of two lines."""


def plan_radar(inputs: Inputs, options: Options) -> Plan:
    """Plan the stacks of all listed pairs; see `topsar.engines.protocol.Engine.plan`.

    Parameters
    ----------
    inputs : Inputs
    options : Options
    """
    layout = lay_out(inputs, options.model_copy(update={"looks": "auto"}))  # LOOKS counts radar pixels here
    refused = dict(layout.refused)
    density = measure_dem_density(inputs.dem, layout.pairs[0].matched.box) if layout.pairs else 0.0
    jobs = JobList(density)
    for name, laid in name_stacks(layout.pairs).items():
        try:
            stack = _Stack(name, laid, layout.outlines, inputs, options)
            refused |= stack.refused
            stack.plan(jobs)
        except TopsarError as exc:
            refused.update({one.matched.pair.id: exc for one in laid})
    outlooks = {name: outlook for name, outlook in layout.outlooks.items() if name not in refused}
    return Plan(jobs=tuple(jobs.jobs.values()), tasks=jobs.tasks, refused=refused, outlooks=outlooks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Date:
    """A pass of a stack, with all of its slices that any pair lists."""

    name: str
    scenes: tuple[Scene, ...]

    @property
    def title(self) -> str:
        return f"{self.name[:4]}-{self.name[4:6]}-{self.name[6:]}"


class _Stack:
    """The dates of one stack, coregistered to one of them."""

    def __init__(
        self, name: str, laid: Sequence[LaidPair], outlines: Outlines, inputs: Inputs, options: Options
    ) -> None:
        self.name, self.laid, self.inputs, self.options = name, laid, inputs, options
        self.dates = _group_dates(laid)
        self.refused: dict[str, TopsarError] = {}
        self.choice = self._choose_reference()
        self.reference = next(date for date in self.dates if date.name == self.choice.date)
        self.bursts = self._match_dates(outlines)
        self.layout = lay_out_radar(self.bursts[self.reference.name])
        self.looks = choose_radar_looks(options, self.layout)
        self.facts = self._describe(self.bursts[self.reference.name])

    @property
    def survey(self) -> Survey:
        return self.inputs.survey

    def _choose_reference(self) -> Choice:
        first = self.laid[0].matched
        middle = self.survey.locate_centre(first.bursts[len(first.bursts) // 2].reference)
        used: dict[str, list[Burst]] = {}
        for burst in (burst for one in self.laid for burst in list_bursts(one.matched.bursts)):
            used.setdefault(burst.scene, []).append(burst)
        scenes = [next(scene for scene in date.scenes if scene.name in used) for date in self.dates]
        orbits = [self.survey.read_orbit(scene, first.polarisation) for scene in scenes]
        arcs = [fit_pass_arc(orbit, used[scene.name]) for orbit, scene in zip(orbits, scenes, strict=True)]
        days = np.array([(date.scenes[0].start - self.dates[0].scenes[0].start).total_seconds() for date in self.dates])
        baselines = np.array([float(measure_baseline(middle[None], arcs[0], arc)[0]) for arc in arcs])
        kept = [name.rpartition("_")[2] for name in self.inputs.kept_stacks if name.rpartition("_")[0] == self.name]
        names = [date.name for date in self.dates]
        choice = choose_reference(names, days / 86_400, baselines, self.options.stack_reference, (*kept, "")[0])
        log.info("%s: reference %s, %s", self.name, choice.date, choice.why)
        return choice

    def _match_dates(self, outlines: Outlines) -> dict[str, list[Burst]]:
        """The bursts of each date that all dates have, in one order."""
        matched: dict[str, MatchedPair] = {}
        for date in self.dates:
            if date == self.reference:
                continue
            try:
                pair = replace(self.laid[0].matched.pair, reference=self.reference.scenes, secondary=date.scenes)
                matched[date.name] = self.survey.match(pair, outlines)
            except TopsarError as exc:
                self._refuse(date, exc)
        if not matched:
            msg = f"no date of {self.name} can be coregistered to {self.reference.title}"
            raise SceneError(msg, hint="set STACK_REFERENCE to another date")
        polarisations = {one.polarisation for one in matched.values()}
        if len(polarisations) > 1:
            msg = f"the dates of {self.name} share no polarisation: {', '.join(sorted(polarisations))}"
            raise SceneError(msg, hint="set POLARIZATION to one that all scenes have")
        everything = list(dict.fromkeys(both.reference for one in matched.values() for both in one.bursts))
        by_date = {name: {both.reference: both.secondary for both in one.bursts} for name, one in matched.items()}
        shared = [burst for burst in everything if all(burst in found for found in by_date.values())]
        for name, found in by_date.items():
            lacking = [burst.label for burst in everything if burst not in found]
            if lacking:
                log.warning("%s: %s has no %s; the stack leaves them out", self.name, name, ", ".join(lacking))
        if not shared:
            msg = f"no burst is on all dates of {self.name}"
            raise SceneError(msg, hint="leave out the dates that lie elsewhere along the track")
        bursts = {name: [found[burst] for burst in shared] for name, found in by_date.items()}
        return bursts | {self.reference.name: shared}

    def _refuse(self, date: _Date, exc: TopsarError) -> None:
        log.warning("%s is left out of %s: %s", date.title, self.name, exc.message)
        names = {scene.name for scene in date.scenes}
        for one in self.laid:
            if not names.isdisjoint(scene.name for scene in one.matched.pair.scenes):
                self.refused[one.matched.pair.id] = exc

    def _describe(self, bursts: Sequence[Burst]) -> StackFacts:
        scene, first = self.reference.scenes[0], bursts[0]
        return StackFacts(
            name=self.name,
            reference=self.reference.name,
            track=scene.track,
            direction=scene.direction.value,
            polarisation=first.polarisation,
            wavelength_m=first.wavelength_m,
            range_bandwidth_hz=float(np.mean([burst.range_bandwidth_hz for burst in bursts])),
            azimuth_bandwidth_hz=float(np.mean([burst.azimuth_bandwidth_hz for burst in bursts])),
            grid=self.layout.grid,
            swaths=tuple(sorted({burst.swath for burst in bursts})),
            bursts=tuple(burst.label for burst in bursts),
        )

    def plan(self, jobs: JobList) -> None:
        """Add the jobs: the reference's ground, each date, and the interferograms."""
        orbit, parts = self._orbit(self.reference), self.layout.parts
        ground = geometry.GeometryTask(job=self.root, stack=self.facts, parts=parts, orbit=orbit, dem=self.inputs.dem)
        looked = multilook.MultilookTask(job=self.root, stack=self.facts, parts=parts, looks=self.looks, orbit=orbit)
        jobs.add(f"{self.reference.title} ground of {self.name}", (geometry.STEP, ground), (multilook.STEP, looked))
        known = [date for date in self.dates if date.name in self.bursts]
        delays = self._find_delays(known) if self.options.range_registration == "auto" else {}
        for number, date in enumerate(known):
            if date.name in delays:
                jobs.add(f"{date.title} range delay", (delay.STEP, delays[date.name]))
            steps: list[tuple[StepKind[Any], Any]] = []
            if self.is_timed:
                steps = self._plan_timing(date, known[max(number - timing.NEIGHBOURS, 0) : number])
            found = delays[date.name].folder if date.name in delays else ""
            steps.append((coregister.STEP, self._plan_slc(date, found)))
            jobs.add(f"{date.title} SLC of {self.name}", *steps)
        for first, second in self._pair_dates([date.name for date in known]):
            self._plan_interferogram(jobs, first, second)

    @property
    def root(self) -> str:
        """The job of the stack, and the beginning of those of its dates."""
        return f"{STACKS}_{self.name}_{self.reference.name}"

    @property
    def is_timed(self) -> bool:
        """Whether azimuth timings are to be measured, and can be."""
        return self.options.esd in ("auto", "network") and bool(find_overlapping(self.layout.parts))

    def _plan_timing(self, date: _Date, before: Sequence[_Date]) -> list[tuple[StepKind[Any], Any]]:
        job, orbit = f"{self.root}_{date.name}", self._orbit(self.reference)
        shared = overlaps.OverlapsTask(
            job=job, stack=self.facts, parts=self._pair_parts(date), reference_orbit=orbit, orbit=self._orbit(date)
        )
        neighbours = tuple(timing.Neighbour(date=one.name, job=f"{self.root}_{one.name}") for one in before)
        timed = timing.TimingTask(
            job=job, date=date.name, before=neighbours, parts=self.layout.parts, reference_orbit=orbit
        )
        return [(overlaps.STEP, shared), (timing.STEP, timed)]

    def _plan_slc(self, date: _Date, delay_folder: str) -> coregister.CoregisterTask:
        job, esd = f"{self.root}_{date.name}", self.options.esd
        timings: tuple[str, ...] = ()
        shift, source = 0.0, "off" if esd == "off" else "not estimated: no two bursts of a swath overlap"
        if date == self.reference:
            source = "it is the reference"
        elif isinstance(esd, float):
            shift, source = esd, "given"
        elif self.is_timed:
            timings = f"{job}/timing", f"{self.root}_{self.reference.name}/timing"
        return coregister.CoregisterTask(
            job=job,
            stack=self.facts,
            date=date.name,
            parts=self._pair_parts(date),
            reference_orbit=self._orbit(self.reference),
            orbit=self._orbit(date),
            timings=timings,
            shift_pixels=shift,
            shift_source=source,
            delay=delay_folder,
        )

    def _pair_parts(self, date: _Date) -> tuple[DatePart, ...]:
        own = dict(zip(self.bursts[self.reference.name], self.bursts[date.name], strict=True))
        return tuple(DatePart(part=part, burst=own[part.burst]) for part in self.layout.parts)

    def _orbit(self, date: _Date) -> OrbitChoice:
        return self.survey.choose_orbit(*date.scenes)

    def _find_delays(self, dates: Sequence[_Date]) -> dict[str, delay.DelayTask]:
        """Map each date to the task that measures its range delay against the reference, on three bursts a swath."""
        windows = {window.burst: window for one in self.laid for window in place_bursts(one)}
        found = {}
        for date in dates:
            chosen: list[tuple[BurstWindow, BurstWindow]] = []
            for swath in self.facts.swaths:
                near, far = (
                    [windows.get(burst) for burst in self.bursts[one.name] if burst.swath == swath]
                    for one in (self.reference, date)
                )
                both = [(one, other) for one, other in zip(near, far, strict=True) if one and other]
                chosen += [both[k] for k in sorted({0, len(both) // 2, len(both) - 1})] if both else []
            if chosen and date != self.reference:
                found[date.name] = delay.DelayTask(
                    job=f"delay_{self.name}_{self.reference.name}_{date.name}",
                    bursts=tuple(chosen),
                    reference_orbit=self._orbit(self.reference),
                    orbit=self._orbit(date),
                    dem=self.inputs.dem,
                )
        return found

    def _pair_dates(self, dates: Sequence[str]) -> list[tuple[str, str]]:
        """The interferograms that are wanted, the earlier date first."""
        if self.options.interferograms != "listed":
            near = self.options.interferograms
            return [(dates[i], dates[j]) for i, j in combinations(range(len(dates)), 2) if j - i <= near]
        names = {scene.name: date.name for date in self.dates for scene in date.scenes}
        listed = [
            sorted(names[scenes[0].name] for scenes in (one.matched.pair.reference, one.matched.pair.secondary))
            for one in self.laid
        ]
        return sorted({(first, second) for first, second in listed if {first, second} <= set(dates)})

    def _plan_interferogram(self, jobs: JobList, first: str, second: str) -> None:
        job = f"{self.root}_{first}_{second}"
        multiplied = crossmul.CrossmulTask(
            job=job, stack=self.facts, looks=self.looks, first=first, second=second, parts=self.layout.parts
        )
        written = interferogram.InterferogramTask(
            job=job,
            stack=self.facts,
            looks=self.looks,
            first=first,
            second=second,
            filter_strength=self.options.filter_strength,
            unwrapper=self.options.unwrapper,
        )
        jobs.add(f"{first} to {second} of {self.name}", (crossmul.STEP, multiplied), (interferogram.STEP, written))


def _group_dates(laid: Sequence[LaidPair]) -> list[_Date]:
    """The passes of some pairs in order of time, each with all its slices."""
    scenes = {scene.name: scene for one in laid for scene in one.matched.pair.scenes}
    passes: dict[str, list[Scene]] = {}
    for name, start in name_passes(scenes.values()).items():
        passes.setdefault(start, []).append(scenes[name])
    return [
        _Date(name=start[:8], scenes=tuple(sorted(found, key=lambda scene: scene.start)))
        for start, found in sorted(passes.items())
    ]


def choose_radar_looks(options: Options, layout: RadarLayout) -> Looks:
    """Looks in range (``east``) and azimuth as set, or such that a multilooked pixel is about POSTING wide and long.

    Parameters
    ----------
    options : Options
    layout : RadarLayout
    """
    if isinstance(options.looks, Looks):
        return options.looks
    across = layout.grid.range_spacing_m / math.sin(MID_INCIDENCE_RAD)
    return Looks(east=max(round(options.posting_m / across), 1), north=max(round(options.posting_m / _LINE_M), 1))
