"""What every engine promises: one test per sentence of the protocol, over all engines that there are."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from fake_isce import fake_truth
from fake_isce.use import double, write_options
from topsar.engines import Engine, Inputs, Plan, load_engine
from topsar.engines.ground import LONLAT, change_crs
from topsar.engines.isce2 import Isce2Engine
from topsar.engines.survey import Survey
from topsar.errors import SettingsError, TopsarError
from topsar.files import write_json
from topsar.interferogram import LAYERS, Interferogram
from topsar.model import Pair
from topsar.pairs.listing import read_pairs
from topsar.provision import find_pairs, find_pass_orbits
from topsar.provision.dem.choice import find_dem
from topsar.raster import compute_pixel_centres, inspect
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Job
from topsar.settings import Settings, load_settings
from topsar.simulate import Acquisition, recipe, simulate
from topsar.simulate.compare import _read_true_phase
from topsar.simulate.recipe import SwathCut
from topsar.step import execute_step

ENGINES = ("native", "isce2", "borrowed")
BORROWED = """
from dataclasses import replace
from topsar.engines.native import NativeEngine

class Borrowed(NativeEngine):
    name = "borrowed"

    def collect(self, folder):
        found = super().collect(folder)
        return replace(found, facts={**found.facts, "engine": self.name})
"""
"""An engine of somebody else's package, which names it as an entry point."""
DOUBLE_TRUTH = {"phase_rad": 2.0, "phase_period_deg": 2.0, "coherence": 0.8, "noisy": True}
"""What the double of topsApp shows instead of the products' pixels."""
OPTIONAL = {
    *("ionosphere", "ionosphere_std", "ionosphere_burst_ramps", "ionosphere_burst_ramps_std"),
    *("gamma0", "sigma0"),
}
"""Layers that not every engine makes, or not with every setting."""
FACTS = {
    "pair", "track", "direction", "reference_date", "secondary_date", "temporal_baseline_days", "polarisation",
    "reference_scenes", "secondary_scenes", "bursts", "orbits", "dem", "looks", "independent_looks", "posting", "crs",
    "engine", "engine_version", "wavelength_m", "perpendicular_baseline_m", "coherence_mean", "valid_share",
    "azimuth_misregistration", "filter", "signal_share", "remarks",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Inputs of one good pair and one that cannot be run, and the settings."""

    inputs: Inputs
    settings: Settings

    @property
    def good(self) -> Pair:
        return self.inputs.survey.pairs[0]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    folder = tmp_path_factory.mktemp("data with spaces")
    days = (
        Acquisition(day=date(2025, 3, 3)),
        Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=60.0, sync_s=1e-3),
    )
    cut = SwathCut(swath="IW2", first_sample=12000, samples=400)
    simulate(folder, replace(recipe("tiny"), acquisitions=days, cuts=(cut,)))
    settings = load_settings(env_file=None, data=folder, pairs=folder / "pairs.txt", flags={})
    (listed,) = find_pairs(read_pairs(settings.pairs), folder / "raw")
    assert listed.pair is not None
    elsewhere = tuple(replace(scene, track=8) for scene in listed.pair.reference)
    pairs = listed.pair, Pair(reference=elsewhere, secondary=listed.pair.secondary)
    orbits = find_pass_orbits(pairs, folder / "orbit_data")
    return Batch(
        inputs=Inputs(survey=Survey(pairs, orbits, settings.options), dem=find_dem(settings.options, folder / "dem")),
        settings=settings,
    )


@pytest.fixture(scope="module", autouse=True)
def _borrowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    site = tmp_path_factory.mktemp("site")
    (site / "borrowed.py").write_text(BORROWED)
    (site / "borrowed-1.0.dist-info").mkdir()
    (site / "borrowed-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: borrowed\nVersion: 1.0\n")
    (site / "borrowed-1.0.dist-info" / "entry_points.txt").write_text(
        "[topsar.engines]\nborrowed = borrowed:Borrowed\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield
    sys.modules.pop("borrowed", None)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return Isce2Engine(double()) if request.param == "isce2" else load_engine(request.param)


@pytest.fixture(scope="module")
def plan(engine: Engine, batch: Batch) -> Plan:
    return engine.plan(batch.inputs, batch.settings.options)


@pytest.fixture(scope="module")
def runs(engine: Engine, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder in which every step has been executed, each in the folder of its job."""
    folder = tmp_path_factory.mktemp("runs of a conformance test")
    write_options(folder, truth=DOUBLE_TRUTH)
    prepare(folder, plan)
    for job, step in in_order(plan):
        engine.execute(folder / job.id, step)
    return folder


@pytest.fixture(scope="module")
def interferogram(engine: Engine, runs: Path, batch: Batch) -> Interferogram:
    return engine.collect(runs / batch.good.id)


def prepare(folder: Path, plan: Plan) -> None:
    for name, task in plan.tasks.items():
        (folder / name).mkdir()
        (folder / name / "job.json").write_text(task)


def in_order(plan: Plan) -> Iterator[tuple[Job, str]]:
    for node in build_graph(plan.jobs).nodes.values():
        yield node.job, node.step.name


# --- plan -------------------------------------------------------------------------------------------------------


def test_has_a_name_and_a_version(engine: Engine) -> None:
    assert load_engine(engine.name).name == engine.name
    assert engine.version


def test_an_unknown_name_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'nonsense'"):
        load_engine("nonsense")
    (tmp_path / "run.json").write_text('{"engine": "nonsense"}')
    with pytest.raises(SettingsError, match="'nonsense'"):
        execute_step(tmp_path / "job.json", "mosaic")


def test_every_pair_becomes_a_job_or_is_refused(plan: Plan, batch: Batch) -> None:
    good, bad = (pair.id for pair in batch.inputs.survey.pairs)
    assert [job.id for job in plan.jobs if job.is_pair] == [good]
    assert list(plan.refused) == [bad]
    refusal = plan.refused[bad]
    assert isinstance(refusal, TopsarError)
    assert "track" in refusal.message
    assert refusal.hint


def test_steps_are_run_as_the_protocol_says(plan: Plan) -> None:
    for job in plan.jobs:
        assert job.title
        for step in job.steps:
            assert step.argv[1:] == ("-m", "topsar", "step", "job.json", step.name)
            assert step.needs.memory_bytes > 0
            assert step.needs.threads >= 1
            assert step.timeout_s is not None


def test_jobs_form_a_graph_and_write_into_their_own_folders(plan: Plan) -> None:
    build_graph(plan.jobs)
    assert set(plan.tasks) == {job.id for job in plan.jobs}
    for job in plan.jobs:
        assert all(artifact.path.startswith(f"{job.id}/") for step in job.steps for artifact in step.writes)


def test_planning_twice_gives_the_same(engine: Engine, plan: Plan, batch: Batch) -> None:
    again = engine.plan(batch.inputs, batch.settings.options)
    assert again.jobs == plan.jobs
    assert again.tasks == plan.tasks


def test_no_pairs_no_jobs(engine: Engine, batch: Batch) -> None:
    nothing = engine.plan(replace(batch.inputs, survey=Survey((), {}, batch.settings.options)), batch.settings.options)
    assert (nothing.jobs, dict(nothing.tasks), dict(nothing.refused)) == ((), {}, {})


# --- execute ----------------------------------------------------------------------------------------------------


def test_steps_leave_what_they_promise_and_nothing_else(plan: Plan, runs: Path) -> None:
    promised = {artifact.path for job in plan.jobs for step in job.steps for artifact in step.writes}
    for path in promised:
        assert inspect(runs / path)["bytes"]
    top = {"/".join(path.split("/")[:2]) for path in promised}
    found = {path.relative_to(runs).as_posix() for path in runs.glob("*/*")}
    assert found == top | {f"{job.id}/job.json" for job in plan.jobs}


def test_the_same_step_gives_the_same_files(engine: Engine, plan: Plan, runs: Path) -> None:
    for job, name in in_order(plan):
        (step,) = (step for step in job.steps if step.name == name)
        before = [inspect(runs / artifact.path) for artifact in step.writes]
        engine.execute(runs / job.id, name)
        assert [inspect(runs / artifact.path) for artifact in step.writes] == before


def test_unknown_step_is_one_clear_error(engine: Engine, plan: Plan, runs: Path) -> None:
    with pytest.raises(TopsarError, match="'launder'"):
        engine.execute(runs / plan.jobs[0].id, "launder")


@pytest.mark.parametrize("content", [None, "", "{}", "not json"])
def test_unreadable_task_is_one_clear_error(engine: Engine, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "job.json").write_text(content)
    with pytest.raises(TopsarError, match=r"job\.json") as caught:
        engine.execute(tmp_path, "mosaic")
    assert caught.value.hint


# --- collect ----------------------------------------------------------------------------------------------------


def test_interferogram_has_all_layers_on_one_grid(interferogram: Interferogram, batch: Batch) -> None:
    assert interferogram.pair_id == batch.good.id
    assert interferogram.grid.dx == batch.settings.posting_m
    assert [name for name in interferogram.layers if name not in OPTIONAL] == [n for n in LAYERS if n not in OPTIONAL]
    for name, layer in interferogram.layers.items():
        assert layer.kind == LAYERS[name]
        assert layer.values.shape == interferogram.grid.shape
        assert layer.values.dtype == layer.kind.dtype


def test_layers_hold_what_their_names_say(interferogram: Interferogram) -> None:
    layers = {name: layer.values for name, layer in interferogram.layers.items()}
    seen = np.isfinite(layers["wrapped_phase"])
    assert 0.05 < seen.mean() < 1
    for name in ("wrapped_phase", "filtered_phase"):
        assert np.abs(layers[name][seen]).max() <= math.pi + 1e-6
    assert layers["coherence"][seen].min() >= 0
    assert layers["coherence"][seen].max() <= 1
    assert np.median(layers["coherence"][seen]) > 0.5
    length = layers["los_east"] ** 2 + layers["los_north"] ** 2 + layers["los_up"] ** 2
    np.testing.assert_allclose(length, 1, atol=1e-5)
    assert 25 < np.nanmean(layers["incidence"]) < 50
    moved = -interferogram.facts["wavelength_m"] / (4 * math.pi) * layers["unwrapped_phase"]
    np.testing.assert_allclose(layers["displacement"], moved, atol=1e-6)
    for name, wrapped in (("unwrapped_phase", "wrapped_phase"), ("filtered_unwrapped_phase", "filtered_phase")):
        cycles = (layers[name].astype(float) - layers[wrapped]) / (2 * math.pi)
        np.testing.assert_allclose(cycles, np.round(cycles), atol=2e-6)
    assert np.isnan(interferogram.layers["wrapped_phase"].kind.nodata)
    assert np.issubdtype(layers["components"].dtype, np.integer)


def test_the_filter_takes_noise_and_no_signal(interferogram: Interferogram, engine: Engine, batch: Batch) -> None:
    layers = {name: layer.values for name, layer in interferogram.layers.items()}
    grid = interferogram.grid
    if engine.name == "isce2":
        lon, lat = change_crs(grid.crs, LONLAT, *compute_pixel_centres(grid))
        true = fake_truth.phase(lat, lon, DOUBLE_TRUTH)
    else:
        true = _read_true_phase(dict(interferogram.facts), batch.settings.data / "truth", grid)
    seen = (layers["coherence"] > 0.5) & np.isfinite(layers["wrapped_phase"] + true)
    error = {}
    for name in ("wrapped_phase", "filtered_phase", "unwrapped_phase"):
        turned = np.exp(1j * (layers[name] - true)[seen])
        assert abs(np.angle(turned.mean())) < 0.02, name
        error[name] = float(np.sqrt(np.mean(np.angle(turned / turned.mean()) ** 2)))
    assert 0.02 < error["wrapped_phase"] < 0.3
    assert error["filtered_phase"] < 0.8 * error["wrapped_phase"]
    assert error["unwrapped_phase"] == pytest.approx(error["wrapped_phase"])


def test_facts_say_what_was_done(interferogram: Interferogram, engine: Engine, tmp_path: Path) -> None:
    facts = interferogram.facts
    assert set(facts) >= FACTS
    assert (facts["engine"], facts["engine_version"]) == (engine.name, engine.version)
    assert (facts["reference_date"], facts["secondary_date"]) == ("2025-03-03", "2025-03-15")
    assert facts["temporal_baseline_days"] == pytest.approx(12, abs=0.001)
    assert facts["perpendicular_baseline_m"] == pytest.approx(60, abs=3)
    write_json(tmp_path / "facts.json", facts)
    assert json.loads((tmp_path / "facts.json").read_text())["bursts"]


def test_only_pairs_can_be_collected(engine: Engine, plan: Plan, runs: Path) -> None:
    for job in plan.jobs:
        if not job.is_pair:
            with pytest.raises(TopsarError, match=re.escape(job.id)):
                engine.collect(runs / job.id)
