"""Formats: what every one promises, how the canonical one is read back, steps of pairs and tracks, export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dry_data import DAYS, dry_data, dry_recipe
from plug_in import install_plug_in
from sample_layers import DEGREES, FACTS, UTM, same_layers, sample, with_only
from topsar import workflow
from topsar.batch import Batch
from topsar.cli import main
from topsar.corrections import open_correction
from topsar.errors import ProductError, SettingsError
from topsar.formats import Format, open_format
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import (
    LAYERS,
    Interferogram,
    Layer,
    LayerKind,
    describe_deviation,
    find_kind,
    read_kind,
    read_pair,
    read_part,
    swap_dates,
)
from topsar.model import Window
from topsar.raster import inspect
from topsar.registry import BUILT_IN, CANONICAL, list_names
from topsar.schedule.jobs import Event, Outcome, Status
from topsar.settings import Options, Settings, load_settings
from topsar.simulate.recipe import SwathCut

PLUGGED = ("means", "dates")
NEED_UNWRAPPED = ("gunw", "licsbas", "mintpy", "timeseries")
OPTIONS = Options().model_dump(mode="json")


@pytest.fixture(scope="module", autouse=True)
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Another package is installed, for this process and for those of steps."""
    folder = install_plug_in(tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


# --- what every format promises ---------------------------------------------------------------------------------


@pytest.fixture(params=(*BUILT_IN["formats"], *PLUGGED))
def form(request: pytest.FixtureRequest) -> Format:
    return open_format(request.param, OPTIONS)


def test_a_format_says_what_it_is(form: Format) -> None:
    assert form.name in list_names("formats")
    assert isinstance(form.version, str)
    assert form.version
    assert form.scope in ("pair", "stack", "radar")
    assert set(form.options) <= set(Options.model_fields)
    if form.name != CANONICAL:  # what it takes is what the engine takes that collects the layers
        assert form.cost.needs(1e6).memory_bytes > 5e7
    assert form.cost.seconds(1e6) > 0


@pytest.mark.parametrize(
    "ifg",
    [
        sample(),
        sample(DEGREES),
        with_only(sample(facts=FACTS | {"looks": None}), "wrapped_phase", "coherence", "height"),
    ],
)
def test_a_format_says_what_it_wrote_and_nothing_else_changes(form: Format, ifg: Interferogram, tmp_path: Path) -> None:
    before = sample(ifg.grid)
    if form.scope == "radar":
        with pytest.raises(SettingsError, match="GRID=radar"):
            form.write(iter([ifg]), tmp_path)
        return
    if form.name in NEED_UNWRAPPED and "unwrapped_phase" not in ifg.layers:
        with pytest.raises(ProductError, match=ifg.pair_id):
            form.write(iter([ifg]), tmp_path)
        return
    written = []
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
        paths = form.write(iter([ifg]), tmp_path / name)
        assert sorted(paths) == sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        written.append(inspect(tmp_path / name))
    assert written[0] == written[1]
    assert same_layers(ifg, replace(before, layers={name: before.layers[name] for name in ifg.layers}))


@pytest.mark.parametrize("place", BUILT_IN["formats"].values())
def test_planning_needs_none_of_the_libraries_that_write(place: str) -> None:
    code = f"import sys, {place.partition(':')[0]}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"rasterio", "matplotlib", "PIL", "numba", "scipy"} & set(loaded)


# --- the canonical format, read back ----------------------------------------------------------------------------


@pytest.fixture
def products(tmp_path: Path) -> Path:
    (tmp_path / "products").mkdir()
    GeoTiff().write([sample()], tmp_path / "products")
    return tmp_path / "products"


@pytest.mark.parametrize("grid", [UTM, DEGREES])
def test_an_opened_pair_is_as_good_as_a_collected_one(grid: object, tmp_path: Path) -> None:
    ifg = sample(grid)  # type: ignore[arg-type]
    GeoTiff().write([ifg], tmp_path)
    opened = read_pair(tmp_path)
    assert (opened.pair_id, opened.grid) == (ifg.pair_id, ifg.grid)
    assert opened.facts == {**ifg.facts, "crs": ifg.grid.crs}
    assert same_layers(opened, ifg)
    extra = {"ionosphere", "ionosphere_std", "ionosphere_burst_ramps", "ionosphere_burst_ramps_std", "gamma0", "sigma0"}
    assert set(LAYERS) - set(ifg.layers) == extra
    (tmp_path / "again").mkdir()
    for path in GeoTiff().write([opened], tmp_path / "again"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_no_more_layers_stay_in_memory_than_a_raster_is_made_of(products: Path) -> None:
    layers = read_pair(products).layers
    height = layers["height"]
    for name in ("los_east", "los_north", "los_up"):
        layers[name]
        assert layers["height"] is height
    for name in ("coherence", "amplitude", "water", "burst"):
        layers[name]
    assert layers["height"] is not height


def test_a_layer_is_read_when_it_is_asked_for(products: Path) -> None:
    (products / "water.tif").unlink()
    opened = read_pair(products)
    assert "water" in opened.layers
    assert "water" in swap_dates(opened).layers
    assert read_kind(opened, "water") is LAYERS["water"]
    assert np.isfinite(opened.layers["coherence"].values).any()
    with pytest.raises(ProductError, match=r"water\.tif"):
        opened.layers["water"]
    with pytest.raises(KeyError):
        opened.layers["ionosphere"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"pair": "a", "grid": {"rows": 1}, "layers": {}}'])
def test_facts_that_cannot_be_read(products: Path, content: str | None) -> None:
    (products / "facts.json").unlink()
    if content is not None:
        (products / "facts.json").write_text(content)
    with pytest.raises(ProductError, match=r"facts\.json"):
        read_pair(products)


def test_a_layer_of_another_grid_is_refused(products: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    GeoTiff().write([sample(replace(UTM, rows=60))], tmp_path / "small")
    (tmp_path / "small" / "height.tif").replace(products / "height.tif")
    with pytest.raises(ProductError, match=r"height\.tif"):
        read_pair(products).layers["height"]
    with pytest.raises(ProductError, match=r"height\.tif"):
        read_part(read_pair(products), "height", Window(row=0, column=0, rows=9, columns=9))


def test_kinds_of_layers_are_found(tmp_path: Path) -> None:
    assert find_kind("coherence") is LAYERS["coherence"]
    tide = find_kind("tide")
    assert tide is not None
    assert tide.description == "Tide of the solid earth"
    assert find_kind("elsewhere") is None
    kind = LayerKind(name="elsewhere", long_name="elsewhere", unit="rad", description="Of a package that is gone")
    ifg = sample()
    layers = {**ifg.layers, kind.name: Layer(kind=kind, values=ifg.layers["height"].values)}
    GeoTiff().write([replace(ifg, layers=layers)], tmp_path)
    assert read_pair(tmp_path).layers["elsewhere"].kind == kind


def test_the_table_of_the_documentation_lists_the_layers() -> None:
    text = (Path(__file__).parent.parent / "docs" / "products.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if ".tif` |" in line]
    rows = [row for row in rows if len(row) == 5]  # a time series has a shorter table of its own
    corrections = [open_correction(name).layer for name in BUILT_IN["corrections"]]
    certain = {f"`{kind.name}.tif`": kind for kind in (*LAYERS.values(), *corrections)}
    kinds = {f"`{kind.name}.tif`": kind for kind in map(describe_deviation, corrections)} | certain
    assert len({row[0] for row in rows}) == len(rows)
    assert certain.keys() <= {row[0] for row in rows} <= kinds.keys()
    for name, dtype, unit, nodata, *_ in rows:
        kind = kinds[name]
        assert (dtype, unit) == (np.dtype(kind.dtype).name, kind.unit)
        assert nodata.replace("−", "-") == f"{kind.nodata:g}".replace("nan", "NaN")


# --- what is chosen by name -------------------------------------------------------------------------------------


def settings_of(data: Path, **flags: str) -> Settings:
    return load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags)


def test_names_are_checked_when_settings_are_read(tmp_path: Path) -> None:
    assert settings_of(tmp_path).formats == (CANONICAL, "quicklook")
    assert settings_of(tmp_path, FORMATS="means quicklook,means").formats == (CANONICAL, "means", "quicklook")
    assert settings_of(tmp_path, CORRECTIONS="tide, shy").corrections == ("tide", "shy")
    with pytest.raises(SettingsError) as caught:
        settings_of(tmp_path, FORMATS="geotif", CORRECTIONS="tides")
    message = str(caught.value)
    assert "FORMATS = 'geotif'" in message
    assert "did you mean geotiff?" in message
    assert "CORRECTIONS = 'tides'" in message
    assert "did you mean tide?" in message


@pytest.mark.parametrize("name", ["broken", "misfit", "silent"])
def test_a_package_that_does_not_fit_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        open_format(name, OPTIONS)
    assert "topsar" in caught.value.message
    assert caught.value.hint


# --- steps ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates, two bursts of one swath, three pairs."""
    folder = tmp_path_factory.mktemp("data")
    cut = SwathCut(swath="IW2", first_sample=500, samples=300)
    dry_data(folder, dry_recipe(acquisitions=DAYS, cuts=(cut,), bursts=2))
    return folder


FLAGS = {"ENGINE": "native", "UNWRAPPER": "none", "ESD": "off", "OFFLINE": "1"}
CHOSEN = {"FORMATS": "means,dates", "CORRECTIONS": "tide,shy"}


def process(data: Path, **flags: str) -> tuple[tuple[Outcome, ...], set[tuple[str, str]]]:
    """Outcomes, and the steps that were started."""
    events: list[Event] = []
    outcomes = workflow.run(settings_of(data, **FLAGS | flags), observe=events.append)
    return outcomes, {(event.job, event.step) for event in events if event.status is Status.RUNNING}


def waiting(data: Path, **flags: str) -> set[str]:
    """The steps that a run would start, by name."""
    shown = workflow.preview(Batch(settings=settings_of(data, **FLAGS | CHOSEN | flags)))
    return {step.name for job in shown.jobs for step in job.steps if step.status is Status.WAITING}


@pytest.fixture(scope="module")
def runs(data: Path) -> Path:
    outcomes, _ = process(data, **CHOSEN)
    assert {one.status for one in outcomes} == {Status.DONE}, [one.message for one in outcomes]
    return data / "runs"


def pairs_of(runs: Path) -> list[str]:
    return sorted(path.parent.name for path in runs.glob("*/products"))


def test_a_pair_is_written_in_every_format(runs: Path) -> None:
    assert len(pairs_of(runs)) == 3
    for pair in pairs_of(runs):
        known = json.loads((runs / pair / "means" / "means.json").read_text())
        opened = read_pair(runs / pair / "products")
        assert known["layers"] == list(opened.layers)
        assert known["coherence"] == pytest.approx(float(np.nanmean(opened.layers["coherence"].values)))
        assert known["gpu"] is False
        assert not list(runs.glob("*/quicklook"))


def test_a_track_is_written_from_all_its_pairs(runs: Path) -> None:
    (folder,) = runs.glob("dates_T*")
    lines = (folder / "dates" / "dates.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == pairs_of(runs)
    assert {line.split()[1] for line in lines} == {"2025-03-03", "2025-03-15"}


def test_corrections_become_layers_and_facts(runs: Path) -> None:
    for pair in pairs_of(runs):
        opened = read_pair(runs / pair / "products")
        phase = opened.layers["tide"].values
        assert set(np.unique(phase[np.isfinite(phase)])) == {0.5}
        assert "shyness" not in opened.layers
        told = opened.facts["corrections"]
        verdict = "not applied because there is no displacement"
        assert told["tide"] == {
            "version": "1",
            "layer": "tide",
            "height_of_the_moon_m": 384_400_000,
            "applied": False,
            "verdict": verdict,
        }
        assert (told["shy"]["refused"], told["shy"]["applied"]) == ("it would rather not", False)
        wrote = {step["name"]: step["products"] for step in opened.facts["steps"] if step["job"] == pair}
        assert {"correction_tide", "correction_shy"} <= set(wrote)
        assert wrote["filter"] == [f"{pair}/filter"]
        assert wrote["format_geotiff"] == [f"{pair}/products"]
        assert opened.facts["settings"]["formats"] == [CANONICAL, "means", "dates"]


def test_only_what_a_setting_decides_is_made_anew(runs: Path, data: Path) -> None:
    assert waiting(data) == set()
    assert waiting(data, TOPSAPP_ESD="own", ESD_COHERENCE="0.5", SLC_STACK="0") == set()
    assert waiting(data, APPLY_CORRECTIONS="0", CORRECTIONS="tide,shy", FORMATS="dates,means") == set()
    assert waiting(data, USE_GPU="1") == {"format_means"}
    assert waiting(data, FORMATS="means,dates,quicklook") == {"format_quicklook"}
    assert waiting(data, APPLY_CORRECTIONS="1") == {"format_geotiff", "format_means", "format_dates"}
    assert waiting(data, CORRECTIONS="shy") == {"format_geotiff", "format_means", "format_dates"}
    assert "filter" in waiting(data, FILTER_STRENGTH="0.1")


def test_a_track_is_written_again_when_its_pairs_change(runs: Path, data: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "pairs.txt"
    fewer.write_text("".join((data / "pairs.txt").read_text().splitlines(keepends=True)[:-1]))
    settings = load_settings(env_file=None, data=data, pairs=fewer, flags=FLAGS | CHOSEN)
    shown = workflow.preview(Batch(settings=settings))
    steps = {step.name for job in shown.jobs for step in job.steps if step.status is Status.WAITING}
    assert steps == {"format_dates"}


def test_a_format_that_fails_leaves_the_products_alone(runs: Path, data: Path) -> None:
    before = {pair: inspect(runs / pair / "products") for pair in pairs_of(runs)}
    outcomes, started = process(data, **CHOSEN | {"FORMATS": "half,dates"})
    assert {step for _, step in started} == {"format_half"}
    assert {one.status for one in outcomes if one.is_pair} == {Status.FAILED}
    assert all("the second file" in one.message for one in outcomes if one.is_pair)
    assert not list(runs.glob("*/half"))
    assert not list(runs.glob("*/.half*"))
    assert {pair: inspect(runs / pair / "products") for pair in pairs_of(runs)} == before


def test_a_stack_that_fails_fails_the_run(runs: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["--data", str(data), "--pairs", str(data / "pairs.txt"), "--formats", "torn"]
    chosen = [part for key, value in (FLAGS | {"CORRECTIONS": "tide,shy"}).items() for part in ("-o", f"{key}={value}")]
    assert main(["run", *places, *chosen]) == 1
    told = capsys.readouterr()
    assert "torn of track" in told.err
    assert "the second file" in told.err
    assert "3 of 3 pairs done" in told.out
    assert not list(runs.glob("torn_T*/torn"))


# --- export -----------------------------------------------------------------------------------------------------


def test_a_format_is_exported_from_finished_pairs(runs: Path, data: Path, tmp_path: Path) -> None:
    found = list(workflow.export(settings_of(data, **FLAGS), "geotiff"))
    assert [one.name for one in found] == pairs_of(runs)
    for one in found:
        assert one.problem is None
        assert one.folder == data / "export" / "geotiff" / one.name
        assert inspect(one.folder) == inspect(runs / one.name / "products")
    (track,) = workflow.export(settings_of(data, **FLAGS), "dates", tmp_path)
    assert track.folder == tmp_path / track.name
    assert track.name.startswith("T")
    assert len((tmp_path / track.name / "dates.txt").read_text().splitlines()) == 3


def test_what_cannot_be_exported_leaves_nothing(runs: Path, data: Path, tmp_path: Path) -> None:
    found = list(workflow.export(settings_of(data, **FLAGS), "half", tmp_path))
    assert len(found) == 3
    assert all(isinstance(one.problem, ProductError) and one.folder is None for one in found)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SettingsError, match="runs folder"):
        list(workflow.export(settings_of(data, **FLAGS), "means", runs))


def test_damaged_products_are_named_and_left_out(products: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = (products.parent / "data" / "runs" / name / "products" for name in ("T052_a_b", "T052_b_c"))
    for folder in (good, bad):
        folder.mkdir(parents=True)
        GeoTiff().write([sample(facts=FACTS | {"pair": folder.parent.name})], folder)
    (bad / "coherence.tif").write_bytes(b"II*\0")
    arguments = ["--data", str(products.parent / "data"), "--to", str(products.parent / "out")]
    assert main(["export", "means", *arguments]) == 1
    told = capsys.readouterr()
    assert "T052_a_b" in told.out
    assert "coherence.tif" in told.err
    assert [path.name for path in (products.parent / "out").iterdir()] == ["T052_a_b"]
    (bad / "coherence.tif").unlink()
    assert main(["export", "means", *arguments]) == 1
    assert "coherence.tif" in capsys.readouterr().err
    assert main(["export", "meens", *arguments]) == 2
    told = capsys.readouterr()
    assert "did you mean means?" in told.err
    assert "quicklook" in told.err


def test_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has products"):
        list(workflow.export(settings_of(tmp_path), "quicklook"))
