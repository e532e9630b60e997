"""Simulated data sets for planning: whole products, orbits and DEM, but the same pixel everywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from topsar.engines import Inputs, Plan, load_engine
from topsar.engines.native.collect import COLLECT, CollectTask
from topsar.engines.native.steps.delay import DelayTask
from topsar.engines.native.steps.dispersion import DispersionTask
from topsar.engines.native.steps.filter import FilterTask
from topsar.engines.native.steps.geocode import GeocodeTask
from topsar.engines.native.steps.mosaic import MosaicTask
from topsar.engines.native.steps.multiply import BurstPair, MultiplyTask
from topsar.engines.native.steps.slc import SlcTask
from topsar.engines.native.steps.solve import SolveTask
from topsar.engines.native.steps.view import ViewTask
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import load_task
from topsar.engines.survey import Survey
from topsar.interferogram import Interferogram
from topsar.model import Burst, Frame, Orbit
from topsar.pairs.listing import read_pairs
from topsar.provision import find_pairs, find_pass_orbits, find_water_mask
from topsar.provision.dem.choice import find_dem
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Job
from topsar.settings import Settings, load_settings
from topsar.simulate import Acquisition, Recipe, dataset, recipe, simulate
from topsar.simulate.dataset import Dataset
from topsar.simulate.orbit import list_vectors
from topsar.simulate.plan import ProductPlan
from topsar.simulate.recipe import SwathCut

T = TypeVar("T")

DAYS = (
    Acquisition(day=date(2025, 3, 3)),
    Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=74.0, sync_s=2e-3),
    Acquisition(day=date(2025, 3, 27), perpendicular_baseline_m=-41.0, sync_s=-1e-3),
)


def dry_recipe(**changes: object) -> Recipe:
    """Two dates, two narrow swaths side by side, three bursts."""
    small = replace(
        recipe("tiny"),
        acquisitions=DAYS[:2],
        cuts=(
            SwathCut(swath="IW1", first_sample=20300, samples=340),
            SwathCut(swath="IW2", first_sample=500, samples=300),
        ),
        bursts=3,
        dem_posting_arcsec=3,
    )
    return replace(small, **changes)  # type: ignore[arg-type]


def dry_data(folder: Path, chosen: Recipe) -> Dataset:
    """Write a data set in a second: nothing is focused."""

    def focus(_product: object, _swath: object, burst: Burst, *, surface: object) -> np.ndarray:
        return np.ones((*burst.grid.shape, 2), np.int16)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topsar.simulate.safe.focus_burst", focus)
        return simulate_with_short_orbits(folder, chosen)


def simulate_with_short_orbits(folder: Path, chosen: Recipe) -> Dataset:
    """Simulate with no state vectors but those around each pass: to write and read those of a day takes seconds."""
    write = dataset._write_orbit_file

    def write_short(folder: Path, product: ProductPlan) -> Path:
        def around(orbit: Orbit) -> list[tuple[datetime, list[float], list[float]]]:
            return [one for one in list_vectors(orbit) if abs(one[0] - product.start) < timedelta(seconds=200)]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dataset, "list_vectors", around)
            return write(folder, product)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "_write_orbit_file", write_short)
        return simulate(folder, chosen)


def keep_vectors(orbit_file: Path, start: datetime, stop: datetime) -> None:
    """Take all state vectors outside a period out of an orbit file."""

    def kept(match: re.Match[str]) -> str:
        time = datetime.strptime(match["time"], "%Y-%m-%dT%H:%M:%S.%f")  # noqa: DTZ007
        return match[0] if start <= time <= stop else ""

    vector = r"\s*<OSV>.*?<UTC>UTC=(?P<time>[^<]+)</UTC>.*?</OSV>"
    rewrite(orbit_file, lambda text: re.sub(vector, kept, text, flags=re.DOTALL))


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Put another text in the place of a file's; a hard link elsewhere keeps the old one.

    An annotation stays the one that its manifest lists.
    """
    before = path.read_text()
    after = change(before)
    assert after != before
    path.unlink()
    path.write_text(after)
    if path.parent.name == "annotation":
        list_again(path)


def list_again(path: Path) -> None:
    """Let the manifest list an annotation or image as it is now."""
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    entry = re.compile(rf'size="\d+">(\s*<fileLocation [^>]*/{path.parent.name}/{path.name}"/>\s*<checksum [^>]*>)\w+')

    def change(text: str) -> str:
        assert len(entry.findall(text)) == 1
        return entry.sub(rf'size="{path.stat().st_size}">\g<1>{digest}', text)

    rewrite(path.parents[1] / "manifest.safe", change)


def unlist(scene: Path, part: str) -> None:
    """Take files out of a manifest."""
    rewrite(
        scene / "manifest.safe",
        lambda text: re.sub(
            rf'<dataObject (?:(?!</dataObject>).)*href="[^"]*{part}.*?</dataObject>', "", text, flags=re.DOTALL
        ),
    )


def annotation(scene: Path, swath: str = "IW2") -> Path:
    """The annotation of a swath."""
    (path,) = (scene / "annotation").glob(f"*-{swath.lower()}-*.xml")
    return path


def drop_burst(scene: Path, index: int, swath: str = "IW2") -> None:
    """Take one burst out of an annotation."""

    def without(text: str) -> str:
        bursts = re.findall(r"\s*<burst>.*?</burst>", text, flags=re.DOTALL)
        return text.replace(bursts[index], "")

    rewrite(annotation(scene, swath), without)


def drop_burst_ids(scene: Path, swath: str = "IW2") -> None:
    """Make an annotation one of before burst ids were introduced."""
    rewrite(annotation(scene, swath), lambda text: re.sub(r"\s*<burstId[^>]*>.*?</burstId>", "", text))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedInputs:
    """The settings of a data folder, and what an engine is given."""

    settings: Settings
    survey: Survey
    inputs: Inputs


def plan_inputs(data: Path, before: Callable[[Survey], object] = id, **flags: str) -> PlannedInputs:
    """Find what a data folder holds; ``before`` is called with the survey before there is a DEM."""
    settings = load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags)
    wanted = () if settings.polarization == "auto" else settings.polarization
    listed = find_pairs(read_pairs(settings.pairs), data / "raw", polarisations=wanted)
    pairs = tuple(one.pair for one in listed if one.pair is not None)
    survey = Survey(pairs, find_pass_orbits(pairs, data / "orbit_data"), settings.options)
    before(survey)
    dem = find_dem(settings.options, data / "dem")
    return PlannedInputs(
        settings=settings,
        survey=survey,
        inputs=Inputs(survey=survey, dem=dem, water_mask=find_water_mask(settings)),
    )


def frame_around(data: Path, number: int, share: float = 1.0) -> Frame:
    """A frame around a share of what the scenes of a data folder show, from the south."""
    survey = plan_inputs(data).survey
    box, scene = survey.find_footprint(), survey.pairs[0].reference[0]
    north = box.south + share * (box.north - box.south)
    corners = ((box.west, box.south), (box.east, box.south), (box.east, north), (box.west, north))
    return Frame(number=number, track=scene.track, direction=scene.direction, outline=corners)


class PlannedPair:
    """The tasks of a pair's steps, read back."""

    def __init__(self, folder: Path, job: Job) -> None:
        steps = [step.name for step in job.steps]
        self.collect = load_task(folder, COLLECT, CollectTask)
        self.multiply = [load_task(folder, name, MultiplyTask) for name in steps if name.startswith("multiply_")]
        self.mosaic = load_task(folder, "mosaic", MosaicTask)
        self.filter = load_task(folder, "filter", FilterTask)
        self.facts, self.grid, self.looks = self.collect.facts, self.collect.grid, self.collect.looks

    @property
    def bursts(self) -> tuple[BurstPair, ...]:
        """Of all swaths."""
        return tuple(both for task in self.multiply for both in task.bursts)

    @property
    def swaths(self) -> list[str]:
        """Names of the swaths."""
        return [task.swath for task in self.multiply]

    @property
    def reference_orbit(self) -> OrbitChoice:
        """The reference's orbit."""
        return self.collect.reference_orbit

    @property
    def secondary_orbit(self) -> OrbitChoice:
        """The secondary's orbit."""
        return self.collect.secondary_orbit


class Planned:
    """What the native engine makes of a data folder, its tasks read back."""

    def __init__(self, data: Path, scratch: Path, *, before: Callable[[Survey], object] = id, **flags: str) -> None:
        given = plan_inputs(data, before, **flags)
        self.settings, self.survey, self.inputs = given.settings, given.survey, given.inputs
        self.plan: Plan = load_engine("native").plan(self.inputs, self.settings.options)
        self._scratch = scratch
        for name, text in self.plan.tasks.items():
            (scratch / name).mkdir(parents=True, exist_ok=True)
            (scratch / name / "job.json").write_text(text)
        self.pairs = [PlannedPair(scratch / job.id, job) for job in self.plan.jobs if job.is_pair]
        self.geocodings = self._tasks("geocode", GeocodeTask)
        self.networks = self._tasks("solve", SolveTask)
        self.delays = self._tasks("delay", DelayTask)
        self.slcs = self._tasks("slc", SlcTask)
        self.dispersions = self._tasks("dispersion", DispersionTask)
        self.views = self._tasks("view", ViewTask)

    def _tasks(self, step: str, kind: type[T]) -> dict[str, T]:
        """The tasks of all steps of a name, by job."""
        names = (job.id for job in self.plan.jobs if job.steps[0].name == step)
        return {name: load_task(self._scratch / name, step, kind) for name in names}

    def execute(self, runs: Path) -> Interferogram:
        """Run all steps in this process; the first pair's result."""
        engine = load_engine("native")
        for name, text in self.plan.tasks.items():
            (runs / name).mkdir(parents=True)
            (runs / name / "job.json").write_text(text)
        for job, step in build_graph(self.plan.jobs).nodes:
            engine.execute(runs / job, step)
        return engine.collect(runs / self.pairs[0].facts.pair)

    @property
    def problem(self) -> str:
        """The only refusal."""
        (problem,) = self.plan.refused.values()
        return str(problem)

    def labels(self, pair: int = 0) -> list[str]:
        """The bursts of a pair, by the reference's names."""
        return [both.reference.burst.label for both in self.pairs[pair].bursts]

    def signatures(self) -> dict[tuple[str, str], str]:
        """By job and step."""
        return {(job.id, step.name): step.signature for job in self.plan.jobs for step in job.steps}
