"""What reruns when something changes: a step's signature is its whole task, of every setting and every engine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from dry_data import dry_data, dry_recipe, frame_around, plan_inputs
from fake_isce.use import double
from topsar.engines import Engine, choose_engine, load_engine
from topsar.engines.isce2 import Isce2Engine
from topsar.engines.step import Cost, StepKind, as_step
from topsar.errors import SettingsError
from topsar.formats.step import finish_jobs
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Artifact, Job
from topsar.settings import KEYS, Options

# --- a made-up chain --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The task of a step that reads some others of its job."""

    name: str
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWithOption(Link):
    """The same with an option that somebody added, and did nothing else about."""

    flavour: str = "plain"


class Chain(StepKind[Link]):
    """Links of one job."""

    name, task = "link", Link
    cost = Cost(base_memory=1, memory=0, disk=0, start_s=0, microseconds=0)

    def step_name(self, task: Link) -> str:
        return task.name

    def size(self, task: Link) -> float:
        return len(task.after)

    def reads(self, task: Link) -> tuple[str, ...]:
        return tuple(f"job/{name}" for name in task.after)

    def writes(self, task: Link) -> tuple[Artifact, ...]:
        return (Artifact(path=f"job/{task.name}"),)


CHAIN = (
    Link(name="source"),
    LinkWithOption(name="middle", after=("source",)),
    Link(name="beside", after=("source",)),
    Link(name="end", after=("middle", "beside")),
)


def chain_keys(links: Sequence[Link]) -> dict[str, str]:
    steps = tuple(as_step(Chain(), link, key="made up 1") for link in links)
    graph = build_graph([Job(id="job", title="", steps=steps)])
    return {name: node.key for (_, name), node in graph.nodes.items()}


@pytest.mark.parametrize(
    ("changed", "rerun"),
    [
        (replace(CHAIN[1], flavour="sweet"), {"middle", "end"}),
        (LinkWithOption(name="source"), {"source", "middle", "beside", "end"}),
        (LinkWithOption(name="end", after=("middle", "beside")), {"end"}),
    ],
)
def test_a_new_option_reruns_its_step_and_the_readers(changed: Link, rerun: set[str]) -> None:
    before = chain_keys(CHAIN)
    after = chain_keys([changed if link.name == changed.name else link for link in CHAIN])
    assert {name for name in before if before[name] != after[name]} == rerun


# --- all settings -----------------------------------------------------------------------------------------------

NOTHING: set[str] = set()
PRODUCTS = {"format_geotiff", "format_quicklook"}
PAIR = {"multiply_IW1", "multiply_IW2", "mosaic", "filter", "unwrap", *PRODUCTS}
NATIVE = {"geocode", "view", *PAIR}
RADAR = {"geometry", "multilook", "overlaps", "timing", "coregister", "crossmul", "interferogram"}
MERGED = {"mergebursts", "filter", "unwrap", "geocode", *PRODUCTS}
FINE = {"fineoffsets", "fineresamp", "burstifg", *MERGED}
COARSE = {"subsetoverlaps", "coarseoffsets", "coarseresamp", "overlapifg", "esd", "rangecoreg"}
CORRECTED = {"correction_stratified_troposphere", *PRODUCTS}
ISCE2 = {"dem", "preprocess", "computeBaselines", "verifyDEM", "topo", "backscatter", *COARSE, *FINE}


@dataclass(frozen=True, slots=True)
class Change:
    """Another value of a setting, and the steps of each engine that it may rerun; None where an engine refuses it.

    In a value ``{data}`` is the data folder.
    """

    value: str
    native: set[str] | None
    isce2: set[str] | None


TABLE = {
    "ENGINE": Change("native", NOTHING, NOTHING),
    "ROI": Change("{roi}", NATIVE, ISCE2),
    "FRAME": Change("7", NATIVE, None),
    "POLARIZATION": Change("VV", NOTHING, NOTHING),
    "SWATHS": Change("IW1", {"view", *PAIR} - {"multiply_IW2"}, ISCE2),
    "POSTING": Change("40", NATIVE, {"burstifg", "backscatter", *MERGED}),
    "CRS": Change("latlon", NATIVE, {"backscatter", "geocode", "filter", "unwrap", *PRODUCTS}),
    "LOOKS": Change("8x8", NATIVE - {"view"}, {"burstifg", "backscatter", *MERGED}),
    "FILTER_STRENGTH": Change("0.7", {"filter", "unwrap", *PRODUCTS}, {"filter", "unwrap", *PRODUCTS}),
    "ESD": Change("off", {"filter", "unwrap", *PRODUCTS}, {"esd", "rangecoreg", *FINE}),
    "RANGE_REGISTRATION": Change("auto", {"delay", "geocode", *PAIR}, NOTHING),
    "TOPSAPP_ESD": Change("own", NOTHING, {"esd", "rangecoreg", *FINE}),
    "ESD_COHERENCE": Change("0.5", NOTHING, {"esd", "rangecoreg", *FINE}),
    "USE_GPU": Change("1", NOTHING, {"topo", *COARSE, *FINE}),
    "UNWRAPPER": Change("none", {"unwrap", *PRODUCTS}, {"unwrap", *PRODUCTS}),
    "DEM": Change("{data}/dem/dem.tif", NOTHING, NOTHING),
    "DEM_DATUM": Change("ellipsoid", NOTHING, NOTHING),
    "GEOID": Change("", NOTHING, NOTHING),
    "WATER_MASK": Change("{data}/dem/dem.tif", PRODUCTS, PRODUCTS),
    "BACKSCATTER": Change("sigma0", PAIR, {"backscatter", *PRODUCTS}),
    "FORMATS": Change("geotiff", NOTHING, NOTHING),
    "CORRECTIONS": Change("stratified_troposphere", CORRECTED, CORRECTED),
    "TROPOSPHERE": Change("geos-fp", NOTHING, NOTHING),
    "TROPOSPHERE_DIR": Change("{data}", NOTHING, NOTHING),
    "IONEX_DIR": Change("{data}", NOTHING, NOTHING),
    "APPLY_CORRECTIONS": Change("1", NOTHING, NOTHING),
    "NETCDF_ATTRIBUTES": Change("creator_name=Ada", NOTHING, NOTHING),
    "GRID": Change("radar", RADAR, None),
    "STACK_REFERENCE": Change("20250315", NOTHING, NOTHING),
    "INTERFEROGRAMS": Change("1", NOTHING, NOTHING),
    "TIMESERIES": Change("least-squares", NOTHING, NOTHING),
    "TIMESERIES_PROGRAM": Change("", NOTHING, NOTHING),
    "TIMESERIES_REFERENCE": Change("37.2,28.4", NOTHING, NOTHING),
    "POINTS": Change("csv", NOTHING, NOTHING),
    "POINT_DISPERSION": Change("0.4", NOTHING, NOTHING),
    "POINT_COHERENCE": Change("0.8", NOTHING, NOTHING),
    "SLC_STACK": Change("1", {"slc"}, None),
}
"""Whoever adds an option says here which steps it may rerun. Of the DEM, the value says what was found anyway."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    dry_data(folder, dry_recipe())
    return folder


@pytest.fixture(scope="module", params=["native", "isce2"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Isce2Engine(double()) if request.param == "isce2" else load_engine(request.param)


Keys = dict[tuple[str, str], str]


def plan_keys(engine: Engine, data: Path, **flags: str) -> Keys:
    planned = plan_inputs(data, **flags)
    plan = engine.plan(planned.inputs, planned.settings.options)
    assert plan.jobs
    assert not plan.refused
    mask = planned.inputs.water_mask
    jobs = finish_jobs(plan.jobs, engine, planned.settings.options, (mask,) if mask else ())
    return {name: node.key for name, node in build_graph(jobs).nodes.items()}


@pytest.fixture(scope="module")
def before(engine: Engine, data: Path) -> Keys:
    return plan_keys(engine, data)


def middle_of(data: Path) -> str:
    """A region of interest that cuts bursts."""
    box = plan_inputs(data).survey.find_footprint()
    lon, _ = box.centre
    return f"{box.south},{box.north},{box.west},{lon}"


@pytest.mark.parametrize("name", [key.name for key in KEYS if key.field in Options.model_fields])
def test_a_setting_reruns_the_steps_that_use_it(
    name: str, engine: Engine, data: Path, before: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topsar.settings.text.find_frame", partial(frame_around, data))
    change = TABLE[name]
    value = change.value.format(data=data, roi=middle_of(data) if "{roi}" in change.value else "")
    steps = change.native if engine.name == "native" else change.isce2
    if steps is None:
        with pytest.raises(SettingsError, match=name):
            plan_keys(engine, data, **{name: value})
        return
    after = plan_keys(engine, data, **{name: value})
    assert {node[1] for node in after if before.get(node) != after[node]} == steps


def test_moving_the_data_reruns_nothing(engine: Engine, data: Path, before: Keys, tmp_path: Path) -> None:
    assert plan_keys(engine, shutil.copytree(data, tmp_path / "moved")) == before


def test_applying_corrections_rewrites_products_where_there_are_some(engine: Engine, data: Path) -> None:
    before = plan_keys(engine, data, CORRECTIONS="stratified_troposphere")
    after = plan_keys(engine, data, CORRECTIONS="stratified_troposphere", APPLY_CORRECTIONS="1")
    assert {node[1] for node in after if before[node] != after[node]} == PRODUCTS


def test_the_ionosphere_is_a_matter_of_the_engine(engine: Engine, data: Path, before: Keys) -> None:
    after = plan_keys(engine, data, CORRECTIONS="ionosphere")
    native = {"split", "subband_IW1", "subband_IW2", "ionosphere", *PRODUCTS}
    steps = native if engine.name == "native" else {"fineresamp", "ion", "burstifg", *MERGED}
    assert {node[1] for node in after if before.get(node) != after[node]} == {*steps, "correction_ionosphere"}
    unwrapped = {node[1] for node in plan_keys(engine, data, CORRECTIONS="ionosphere", UNWRAPPER="none")}
    assert engine.name != "native" or not unwrapped & {"split", "subband_IW1", "ionosphere"}


def test_the_same_engine_by_its_name_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("ISCE_HOME", raising=False)
    found, named = choose_engine("auto")[0], choose_engine("native")[0]
    assert (found.name, found.version) == (named.name, named.version)
