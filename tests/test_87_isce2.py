"""The engine that drives topsApp, on a double of topsApp that behaves as the real one was seen to."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.ndimage import convolve1d, label

from dry_data import drop_burst, dry_data, dry_recipe
from fake_isce.fake_truth import phase
from fake_isce.use import ISCE_HOME, double, read_record, write_options
from fake_steps import wait_for
from topsar.corrections import open_correction
from topsar.engines import Inputs, Plan, choose_engine, load_engine
from topsar.engines.isce2 import Isce2Engine, esd
from topsar.engines.isce2.config import write_config
from topsar.engines.isce2.geocode import _keep_coherence, _remove_bias, count_points
from topsar.engines.isce2.installation import Installation
from topsar.engines.isce2.ion import read_ionosphere
from topsar.engines.isce2.slcs import check_bursts, check_orbits
from topsar.engines.isce2.stages import list_stages
from topsar.engines.isce2.tasks import BEAM_SPEED_M_S, RUN, TopsAppTask
from topsar.engines.isce2.topsapp import TopsAppRun
from topsar.engines.step import dump_tasks
from topsar.engines.survey import Survey
from topsar.errors import SettingsError, StepFailed, TopsarError
from topsar.files import write_json
from topsar.kernels.registration import measure_timing
from topsar.model import BBox, Looks, Pair
from topsar.pairs.listing import read_pairs
from topsar.provision import find_pairs, find_pass_orbits
from topsar.provision.dem.choice import find_dem
from topsar.raster import read_geotiff
from topsar.raster.isce_image import write_isce_image
from topsar.schedule.graph import build_graph
from topsar.schedule.guard import find_marked
from topsar.schedule.jobs import Status
from topsar.sentinel1 import read_calibration
from topsar.settings import Options, load_settings
from topsar.workflow import run

LINE_INTERVAL_S = 0.002055556


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One pair of two swaths, three bursts each, over flat ground."""
    folder = tmp_path_factory.mktemp("data for topsApp")
    dry_data(folder, dry_recipe(relief_m=0.5))
    return folder


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    folder = tmp_path / "copied"
    subprocess.run(["cp", "-al", str(data), str(folder)], check=True)
    return folder


def inputs_of(data: Path, options: Options | None = None) -> Inputs:
    options = options or Options()
    listed = find_pairs(read_pairs(data / "pairs.txt"), data / "raw")
    pairs = tuple(one.pair for one in listed if one.pair)
    return Inputs(
        survey=Survey(pairs, find_pass_orbits(pairs, data / "orbit_data"), options),
        dem=find_dem(options, data / "dem"),
        water_mask=Path(options.water_mask) if options.water_mask else None,
    )


def with_pair(everything: Inputs, pair: Pair) -> Inputs:
    return replace(everything, survey=Survey((pair,), everything.survey.orbits, everything.survey.options))


def planned(data: Path, installation: Installation | None = None, **options: Any) -> Plan:
    engine, chosen = Isce2Engine(installation or double()), Options(**options)
    return engine.plan(inputs_of(data, chosen), chosen)


@cache
def planned_once(data: Path, installation: Installation | None = None, **options: Any) -> Plan:
    """For data that nobody damages."""
    return planned(data, installation, **options)


def job_folder(plan: Plan, runs: Path) -> Path:
    """The only job's folder, its task in it."""
    ((name, text),) = plan.tasks.items()
    (runs / name).mkdir(parents=True, exist_ok=True)
    (runs / name / "job.json").write_text(text)
    return runs / name


def task_in(folder: Path) -> TopsAppTask:
    return TopsAppRun.of(folder).task


def execute_until(folder: Path, last: str) -> Path:
    """Execute all steps until one, in this process; the run folder of topsApp."""
    for stage in list_stages(task_in(folder)):
        load_engine("isce2").execute(folder, stage.name)
        if stage.name == last:
            break
    return folder / "topsapp"


def esd_facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "topsapp" / "ESD.json").read_text())
    return facts


# --- which engine -----------------------------------------------------------------------------------------------


def test_isce2_is_taken_where_it_starts() -> None:
    engine, why = choose_engine("auto", str(ISCE_HOME), sys.executable)
    assert engine.name == "isce2"
    assert "ISCE2 2.6.5" in why
    assert str(ISCE_HOME) in why


def test_without_isce2_auto_is_native_and_asking_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    engine, why = choose_engine("auto")
    assert engine.name == "native"
    assert "topsApp cannot be started" in why
    with pytest.raises(SettingsError, match="No module named 'isce'") as caught:
        choose_engine("isce2")
    assert "ENGINE=native" in caught.value.hint


def test_an_interpreter_that_cannot_start_topsapp_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "isce"
    (home / "applications").mkdir(parents=True)
    (home / "__init__.py").write_text("__version__ = '2.6.5'\n")
    (home / "applications" / "topsApp.py").write_text("import osgeo_that_is_not_there\n")
    with pytest.raises(SettingsError, match="osgeo_that_is_not_there"):
        choose_engine("isce2", str(home), sys.executable)
    python = tmp_path / "bin" / "python3"  # one that nobody has asked before
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(python.parent))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine, why = choose_engine("auto")
    assert engine.name == "native"
    assert "osgeo_that_is_not_there" in why


def test_a_wrong_place_is_named_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ISCE_HOME="):
        choose_engine("auto", str(tmp_path))
    with pytest.raises(SettingsError, match="ISCE_PYTHON=nopython"):
        choose_engine("auto", "", "nopython")


def test_an_isce2_that_does_not_know_a_satellite_refuses_it(data: Path) -> None:
    old = replace(double(), missions=("S1B",))
    (problem,) = planned_once(data, old).refused.values()
    assert "does not know S1A" in problem.message


def test_what_topsapp_cannot_do_is_refused(data: Path) -> None:
    with pytest.raises(SettingsError, match="ESD=network"):
        planned_once(data, esd="network")
    with pytest.raises(SettingsError, match="SLC_STACK"):
        planned_once(data, slc_stack=True)
    (problem,) = planned_once(data, looks=Looks(east=1, north=1)).refused.values()
    assert "single looks" in problem.message


@pytest.mark.parametrize("posting_m", [2.0, 40.0, 80.0, 200.0])
def test_the_merged_image_is_finer_than_the_products(data: Path, tmp_path: Path, posting_m: float) -> None:
    task = task_in(job_folder(planned_once(data, posting_m=posting_m), tmp_path))
    assert task.looks.count > 1
    merged = task.merged.range_spacing_m / 0.6, task.merged.line_interval_s * BEAM_SPEED_M_S
    assert merged < (max(posting_m / 2, 8), max(posting_m / 2, 15))
    points = count_points(task)
    assert posting_m < 10 or 2 <= points.east <= 4


# --- topsApp.xml ------------------------------------------------------------------------------------------------


def properties(task: TopsAppTask, **rest: Any) -> dict[str, Any]:
    """What topsApp reads: each value as the Python expression that it takes it for."""
    root = ElementTree.fromstring(write_config(task, Path("/runs/a b's run"), **rest).partition("\n")[2])
    return {str(one.get("name")): ast.literal_eval(one.text or "") for one in root.iter("property")}


def test_nothing_is_left_to_topsapps_defaults(data: Path, tmp_path: Path) -> None:
    plan = planned_once(data, looks=Looks(east=9, north=3), esd_coherence=0.7, roi=None, crs="EPSG:4326")
    said = properties(task_in(job_folder(plan, tmp_path)))
    assert said["sensor name"] == "SENTINEL1"
    assert said["swaths"] == [1, 2]
    assert (said["range looks"], said["azimuth looks"]) == (9, 3)
    assert said["ESD coherence threshold"] == 0.7
    for name, value in {
        "do ESD": True,
        "do unwrap": False,
        "do ionosphere correction": False,
        "apply ionosphere correction": False,
        "do dense offsets": False,
        "use virtual files": True,
        "use GPU": False,
    }.items():
        assert said[name] is value
    assert "region of interest" not in said
    assert all(Path(path).is_file() for path in (said["orbit file"],))
    assert said["demFilename"] == "/runs/a b's run/dem/topo.dem.wgs84"


def test_options_reach_topsapp(data: Path, tmp_path: Path) -> None:
    footprint = inputs_of(data).survey.find_footprint(whole=Isce2Engine.whole_bursts)
    roi = BBox(west=footprint.west, south=footprint.centre[1], east=footprint.east, north=footprint.north)
    plan = planned_once(data, roi=roi, corrections=("ionosphere",), use_gpu=True, esd="off")
    said = properties(task_in(job_folder(plan, tmp_path)))
    assert said["region of interest"] == [roi.south, roi.north, roi.west, roi.east]
    assert said["do ionosphere correction"] is True
    assert said["use GPU"] is True
    assert said["do ESD"] is False


def test_slices_and_calibration_files_are_listed_whatever_their_names(data: Path, tmp_path: Path) -> None:
    task = task_in(job_folder(planned_once(data), tmp_path))
    odd = Path("/data/it's <raw> & more, os.system('x')/S1A.SAFE")
    orbit = task.reference_orbit
    slices = tuple(replace(scene, path=odd) for scene in (*orbit.scenes, *orbit.scenes))
    task = replace(task, reference_orbit=replace(orbit, scenes=slices), aux_cal=Path("/aux cal"))
    root = ElementTree.fromstring(write_config(task, tmp_path).partition("\n")[2])
    reference = root.find(".//component[@name='reference']")
    assert reference is not None
    said = {str(one.get("name")): ast.literal_eval(one.text or "") for one in reference}
    assert said["safe"] == [str(odd), str(odd)]
    assert said["auxiliary data directory"] == "/aux cal"


# --- keys -------------------------------------------------------------------------------------------------------

STAGES = [
    "dem", "startup", "preprocess", "computeBaselines", "verifyDEM", "topo", "subsetoverlaps", "coarseoffsets",
    "coarseresamp", "overlapifg", "esd", "rangecoreg", "fineoffsets", "fineresamp", "ion", "burstifg", "mergebursts",
    "backscatter", "geocode", "filter", "unwrap",
]  # fmt: skip
HEIGHTS = {"dem", *STAGES[STAGES.index("verifyDEM") :]}
"""The stages that depend on the DEM."""


def keys(plan: Plan) -> dict[str, str]:
    return {node[1]: found.key for node, found in build_graph(plan.jobs).nodes.items()}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("raw/*/measurement/*iw2*", set(STAGES[STAGES.index("preprocess") :])),
        ("orbit_data/*", set(STAGES[STAGES.index("preprocess") :])),
        ("dem/dem.tif", HEIGHTS),
    ],
)
def test_another_input_of_the_same_name_makes_its_stages_anew(copied: Path, pattern: str, expected: set[str]) -> None:
    before = keys(planned(copied))
    path = sorted(copied.glob(pattern))[0]
    content, stat = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = keys(planned(copied))
    assert {name for name in after if after[name] != before[name]} == expected & set(after)


def test_heights_above_another_datum_make_the_stages_of_the_dem_anew(data: Path) -> None:
    before, after = keys(planned_once(data)), keys(planned_once(data, dem_datum="egm96"))
    assert {name for name in after if after[name] != before[name]} == HEIGHTS & set(after)


# --- orbits -----------------------------------------------------------------------------------------------------


def test_another_orbit_than_the_provisioned_one_is_not_accepted(data: Path, tmp_path: Path) -> None:
    folder = job_folder(planned_once(data), tmp_path)
    execute_until(folder, "startup")
    product = folder / "topsapp/secondary/IW2.xml"
    run_again = load_engine("isce2").execute
    run_again(folder, "preprocess")
    text = product.read_text()
    (name,) = set(re.findall(r"S1A_OPER_AUX_POEORB[^<]*EOF", text))
    product.write_text(text.replace(name, "Annotation"))
    with pytest.raises(StepFailed, match=r"Annotation.*IW2.*secondary") as caught:
        check_orbits(TopsAppRun.of(folder))
    assert name in caught.value.message


def test_an_orbit_file_in_a_zip_is_unpacked(copied: Path, tmp_path: Path) -> None:
    orbit = next((copied / "orbit_data").rglob("*.EOF"))
    with zipfile.ZipFile(f"{orbit}.zip", "w") as archive:
        archive.write(orbit, orbit.name)
    orbit.unlink()
    place = execute_until(job_folder(planned(copied), tmp_path), "preprocess")
    assert (place / "orbits" / orbit.name).stat().st_size > 1000


def test_a_swath_that_topsapp_leaves_out_is_an_error(data: Path, tmp_path: Path) -> None:
    folder = job_folder(planned_once(data), tmp_path)
    task = task_in(folder)
    other = Path(task.secondary_orbit.path)
    assert task.reference_orbit.file
    wrong = replace(
        task, reference_orbit=replace(task.reference_orbit, file=replace(task.reference_orbit.file, path=other))
    )

    (folder / "job.json").write_text(dump_tasks({RUN: wrong}))
    execute_until(folder, "startup")
    with pytest.raises(StepFailed, match=r"IW1.*reference"):
        load_engine("isce2").execute(folder, "preprocess")


# --- misregistration --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0.004),
        pytest.param({"topsapp_esd": "own"}, 0.004 / 3, marks=pytest.mark.slow),
        ({"esd": 0.002}, 0.002),
        pytest.param({"esd": "off"}, 0.0, marks=pytest.mark.slow),
    ],
)
def test_topsapp_remembers_the_whole_misregistration(
    data: Path, tmp_path: Path, options: dict[str, Any], expected: float
) -> None:
    write_options(tmp_path, esd={"misregistration_px": 0.004, "range_shift_px": 0.0, "coherence": 0.97})
    folder = job_folder(planned_once(data, **options), tmp_path)
    place = execute_until(folder, "fineoffsets")
    for step in ("esd", "rangecoreg", "fineoffsets"):
        remembered = float(TopsAppRun.of(place.parent).read_record(step)["secondarytimingcorrection"])
        assert remembered / LINE_INTERVAL_S == pytest.approx(expected, abs=4e-5)
    facts = esd_facts(folder)
    assert facts["pixels"] == pytest.approx(expected, abs=4e-5)
    microseconds = facts["applied_pixels"] * LINE_INTERVAL_S * 1e6
    assert microseconds == pytest.approx(round(facts["pixels"] * LINE_INTERVAL_S * 1e6), abs=1e-3)
    if "esd" not in options:
        assert facts["estimate_pixels"] == pytest.approx(0.004, abs=2e-5)
        assert facts["topsapp_pixels"] == pytest.approx(0.004 / 3, abs=4e-5)


def simulate_speckle(random: np.random.Generator, shape: tuple[int, int], coherence: np.ndarray) -> np.ndarray:
    """Interferogram of two dates, without looks; the signal fills 2/3 of the azimuth and 3/4 of the range band."""
    band = (np.abs(np.fft.fftfreq(shape[0])) < 0.33)[:, None] & (np.abs(np.fft.fftfreq(shape[1])) < 0.375)
    white = random.normal(size=(2, *shape)) + 1j * random.normal(size=(2, *shape))
    one, other = np.fft.ifft2(np.fft.fft2(white) * band)
    return np.asarray(one * np.conj(coherence * one + np.sqrt(1 - coherence**2) * other))


def test_the_standard_error_is_that_of_the_estimate(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 200 overlaps with the speckle of two dates, half of them in a place that is less coherent."""
    task, true_px, random = task_in(job_folder(planned_once(data), tmp_path)), 0.004, np.random.default_rng(3)
    upper, lower = (both.reference for both in task.bursts[:2])
    orbit, columns = task.reference_orbit.load(upper.swath, upper.polarisation), 20
    separation = esd._separation_hz(upper, lower, orbit, columns)
    beside_s = math.remainder(esd._seconds_apart(upper, lower), task.line_interval_s)  # topsApp's ground of the upper
    turn = np.exp(2j * np.pi * (true_px * task.line_interval_s - beside_s / 2) * separation)
    coherence = np.linspace(0.9, 0.97, columns * 15)
    pull = []
    for _ in range(200):
        top, bottom = (simulate_speckle(random, (110, columns * 15), coherence) for _ in range(2))
        double = (top * np.conj(bottom)).reshape(22, 5, columns, 15).mean(axis=(1, 3)) * turn
        read = {".int": double[None], ".cor": np.full((1, *double.shape), 0.9)}
        monkeypatch.setattr(esd, "read_isce_image", lambda path, read=read: read[path.suffix])
        found = measure_timing([esd.read_overlap(task, Path("overlap.int"), upper, lower, orbit)])
        assert found
        pull.append((found.seconds - true_px * task.line_interval_s) / found.deviation_s)
    assert abs(np.mean(pull)) < 0.25
    assert 0.85 < np.sqrt(np.mean(np.square(pull))) < 1.2


def test_without_coherent_overlaps_topsapp_goes_on_uncorrected(data: Path, tmp_path: Path) -> None:
    write_options(tmp_path, esd={"misregistration_px": 0.004, "range_shift_px": 0.0, "coherence": 0.5})
    folder = job_folder(planned_once(data), tmp_path)
    place = execute_until(folder, "rangecoreg")
    assert esd_facts(folder)["source"].startswith("not estimated")
    assert float(TopsAppRun.of(place.parent).read_record("rangecoreg")["secondarytimingcorrection"]) == 0.0


def test_single_bursts_are_processed_without_an_estimate(copied: Path, tmp_path: Path) -> None:
    for scene in sorted((copied / "raw").glob("*.SAFE")):
        for swath in ("IW1", "IW2"):
            drop_burst(scene, 2, swath)
            drop_burst(scene, 0, swath)
    plan = planned(copied, posting_m=60)
    (outlook,) = plan.outlooks.values()
    assert any("no swath has two bursts" in remark.text for remark in outlook.remarks)
    folder = job_folder(plan, tmp_path)
    names = [stage.name for stage in list_stages(task_in(folder))]
    assert "coarseresamp" not in names
    execute_until(folder, "rangecoreg")
    assert esd_facts(folder)["pixels"] == 0.0


@pytest.mark.parametrize("sign", ["&", "<"])
def test_folders_that_topsapp_misreads_are_refused(copied: Path, tmp_path: Path, sign: str) -> None:
    odd = tmp_path / f"this {sign} that"
    copied.rename(odd)
    (problem,) = planned(odd).refused.values()
    assert f"{sign!r}" in problem.message
    assert "rename" in problem.hint
    plain = tmp_path / "plain"
    odd.rename(plain)
    folder = job_folder(planned(plain), tmp_path / f"runs {sign} more")
    with pytest.raises(StepFailed, match=re.escape(repr(sign))):
        execute_until(folder, "dem")


def test_slices_of_different_processors_are_refused(data: Path) -> None:
    everything = inputs_of(data)
    (pair,) = everything.survey.pairs
    first = pair.reference[0]
    mixed = replace(pair, reference=(first, replace(first, ipf="002.36")))
    plan = Isce2Engine(double()).plan(with_pair(everything, mixed), Options())
    assert "different processors" in next(iter(plan.refused.values())).message


def test_calibration_files_concern_only_pairs_that_need_them(data: Path) -> None:
    everything = replace(inputs_of(data), aux_cal=Path("/data/aux_cal"))
    assert planned_once(data).jobs == Isce2Engine(double()).plan(everything, Options()).jobs
    (pair,) = everything.survey.pairs
    old = replace(pair, reference=tuple(replace(scene, ipf="002.36") for scene in pair.reference))
    plan = Isce2Engine(double()).plan(with_pair(everything, old), Options())
    assert "/data/aux_cal" in next(iter(plan.tasks.values()))


def test_bursts_are_those_that_topsapp_takes(data: Path, tmp_path: Path) -> None:
    whole = inputs_of(data).survey.find_footprint(whole=Isce2Engine.whole_bursts)
    roi = replace(whole, south=whole.centre[1] - 0.01, north=whole.centre[1] + 0.01)
    write_options(tmp_path)
    folder = job_folder(planned_once(data, roi=roi), tmp_path)
    place = execute_until(folder, "computeBaselines")
    counts = ast.literal_eval(TopsAppRun.of(place.parent).read_record("computeBaselines")["numberofcommonbursts"])
    task = task_in(folder)
    assert [sum(both.reference.swath == f"IW{n}" for both in task.bursts) for n in (1, 2, 3)] == counts
    assert sum(counts) > 0
    with pytest.raises(StepFailed, match="bursts of IW"):
        check_bursts(TopsAppRun(task=replace(task, bursts=(*task.bursts, task.bursts[-1])), folder=place))


def test_heights_that_the_dem_does_not_have_are_found(data: Path, tmp_path: Path) -> None:
    write_options(tmp_path)
    folder = job_folder(planned_once(data), tmp_path)
    place = execute_until(folder, "verifyDEM")
    task = task_in(folder)
    small = replace(task, dem_box=replace(task.dem_box, north=task.dem_box.centre[1]))
    (folder / "job.json").write_text(dump_tasks({RUN: small}))
    for name in ("dem", "verifyDEM"):
        load_engine("isce2").execute(folder, name)
    with pytest.raises(StepFailed, match="-500 to"):
        load_engine("isce2").execute(folder, "topo")
    assert (place / "dem").is_dir()


def test_a_burst_missing_in_between_is_refused(copied: Path) -> None:
    drop_burst(sorted((copied / "raw").glob("*.SAFE"))[1], 1)
    (problem,) = planned(copied).refused.values()
    assert "IW2: a burst is missing between two" in problem.message
    assert "ENGINE=native" in problem.hint


# --- state ------------------------------------------------------------------------------------------------------


def test_a_step_does_not_start_from_a_record_that_is_not_whole(data: Path, tmp_path: Path) -> None:
    write_options(tmp_path)
    folder = job_folder(planned_once(data), tmp_path)
    place = execute_until(folder, "computeBaselines")
    started = len(read_record(tmp_path, "start"))
    record = place / "PICKLE/computeBaselines.xml"
    whole = record.read_text()
    for content in (whole[: len(whole) // 2], ""):
        record.write_text(content)
        with pytest.raises(StepFailed, match="record of the step computeBaselines"):
            load_engine("isce2").execute(folder, "verifyDEM")
    record.unlink()
    with pytest.raises(StepFailed, match="record of the step computeBaselines"):
        load_engine("isce2").execute(folder, "verifyDEM")
    assert len(read_record(tmp_path, "start")) == started


def test_numbers_that_numpy_2_spoils_are_rewritten(data: Path, tmp_path: Path) -> None:
    write_options(tmp_path, numpy2=True)
    folder = job_folder(planned_once(data), tmp_path)
    place = execute_until(folder, "verifyDEM")
    assert "np." not in (place / "PICKLE/computeBaselines.xml").read_text()


def test_a_property_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    place = execute_until(job_folder(planned_once(data), tmp_path), "startup")
    with pytest.raises(StepFailed, match="nosuchthing"):
        TopsAppRun.of(place.parent).write_number("startup", "nosuchthing", 1)


def test_topsapp_runs_in_surroundings_of_its_own(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PYTHONHOME", "")
    write_options(tmp_path)
    place = execute_until(job_folder(planned_once(data), tmp_path), "startup")
    (start,) = read_record(tmp_path, "start")
    assert start["env"]["OMP_NUM_THREADS"] == "3"
    assert start["env"]["ISCE_HOME"] == str(ISCE_HOME)
    assert start["env"]["HOME"] == str(place / "home")
    assert start["env"]["TMPDIR"] == str(place / "tmp")
    assert start["env"]["MPLBACKEND"] == "Agg"
    assert start["argv"] == ["topsApp.xml", "--start=startup", "--end=startup"]


# --- what goes wrong --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verified_once(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job's folder with all that comes before ``topo``."""
    folder = job_folder(planned_once(data), tmp_path_factory.mktemp("verified"))
    execute_until(folder, "verifyDEM")
    return folder


@pytest.fixture
def verified(verified_once: Path, tmp_path: Path) -> Path:
    """The same, to go on with."""
    return Path(shutil.copytree(verified_once, tmp_path / verified_once.name, symlinks=True))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"action": "crash", "message": "singular"}, "(?m)^RuntimeError: singular"),
        ({"action": "nothing"}, "record of the step topo"),
        ({"action": "nothing", "code": 3}, "exit code 3"),
        ({"action": "half"}, "topsApp ended with exit code 1"),
        ({"action": "truncated"}, "its header promises"),
        ({"action": "shorter"}, "its burst"),
        ({"action": "disk_full"}, "its header promises"),
        ({"action": "disk_full", "error": True}, "No space left on device"),
        ({"action": "kill", "signal": int(signal.SIGSEGV)}, "SIGSEGV"),
    ],
)
def test_what_topsapp_does_not_say_is_found(
    verified: Path, tmp_path: Path, fault: dict[str, Any], message: str
) -> None:
    write_options(tmp_path, faults=[{"step": "topo", **fault}])
    with pytest.raises(TopsarError, match=message) as caught:
        load_engine("isce2").execute(verified, "topo")
    assert caught.value.retryable is (message in ("SIGSEGV", "its header promises", "its burst"))


def test_a_killed_topsapp_is_told_by_the_exit_code_of_the_step(data: Path, tmp_path: Path) -> None:
    write_options(tmp_path, faults=[{"step": "preprocess", "action": "torn_pickle"}])
    folder = job_folder(planned_once(data), tmp_path)
    with pytest.raises(SystemExit) as caught:
        execute_until(folder, "preprocess")
    assert caught.value.code == 128 + signal.SIGKILL


def test_a_log_on_a_full_disk_does_not_end_topsapp(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = job_folder(planned_once(data), tmp_path)
    execute_until(folder, "dem")
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        load_engine("isce2").execute(folder, "startup")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert (folder / "topsapp/PICKLE/startup.xml").is_file()


@pytest.mark.parametrize(
    "text",
    ["ERROR 1: TIFFReadEncodedStrip() failed.", "Warning:  Strongly recommend using auxiliary information"],
)
def test_what_topsapp_could_not_read_is_an_error_though_it_goes_on(verified: Path, tmp_path: Path, text: str) -> None:
    write_options(tmp_path, faults=[{"step": "topo", "action": "chatter", "lines": 1, "text": text}])
    with pytest.raises(StepFailed, match="topo") as caught:
        load_engine("isce2").execute(verified, "topo")
    assert text in caught.value.message


@pytest.fixture(scope="module")
def merged_once(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job's folder, with topsApp's merged images and all before."""
    folder = job_folder(planned_once(data, looks=Looks(east=9, north=3)), tmp_path_factory.mktemp("merged"))
    execute_until(folder, "mergebursts")
    return folder


@pytest.fixture
def merged(merged_once: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(merged_once, tmp_path / merged_once.name, symlinks=True))


def change_image(path: Path, dtype: str, change: Callable[[np.ndarray], None]) -> None:
    values = np.fromfile(path, dtype)
    change(values)
    values.tofile(path)


def test_a_hole_in_the_merged_image_is_an_error(merged: Path) -> None:
    """topsApp leaves zeros where it could not read or coregister a burst."""
    change_image(merged / "topsapp/merged/topophase.flat", "<c8", lambda values: values[: values.size // 3].fill(0))
    with pytest.raises(StepFailed, match=r"% of burst IW1"):
        load_engine("isce2").execute(merged, "geocode")


def test_the_bias_of_coherence_is_taken_off() -> None:
    true, at_zero = np.linspace(0, 1, 11), 0.3
    biased = np.sqrt(true**2 + (1 - true**2) ** 2 * at_zero**2)
    np.testing.assert_allclose(_remove_bias(biased.astype(np.float32), at_zero), true, atol=2e-3)


@pytest.mark.parametrize(("across", "along"), [(0.02, 0.0), (0.06, 0.03), (0.0, 0.08)])
def test_what_fringes_take_off_topsapps_coherence_is_known(across: float, along: float) -> None:
    """topsApp estimates it over single looks that still hold the fringes, with triangular weights."""
    rng, size, weights = np.random.default_rng(5), 600, np.array([1, 2, 3, 2, 1]) / 9
    line, sample = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    fringes = np.exp(2j * np.pi * (across * sample + along * line))
    first, other = rng.normal(size=(2, size, size)) + 1j * rng.normal(size=(2, size, size))
    second = 0.95 * first + np.sqrt(1 - 0.95**2) * other

    def estimate(cross: np.ndarray) -> float:
        sums = [cross, np.abs(first) ** 2, np.abs(second) ** 2]
        for axis in (0, 1):
            sums = [convolve1d(one, weights, axis=axis) for one in sums]
        return float((np.abs(sums[0]) / np.sqrt(sums[1] * sums[2])).mean())

    cross = first * second.conj()
    corners = np.meshgrid(
        np.arange(0, 60, 3.0), np.arange(0, 60, 2.0), indexing="ij"
    )  # points of a map turned in the image
    at_line, at_sample = corners[0] + 0.3 * corners[1], corners[1] - 0.2 * corners[0]
    share = _keep_coherence(across * at_sample + along * at_line, at_line, at_sample)
    np.testing.assert_allclose(share, estimate(cross * fringes) / estimate(cross), rtol=0.01)


def test_numbers_that_are_none_are_holes(merged: Path) -> None:
    change_image(
        merged / "topsapp/merged/topophase.flat", "<c8", lambda values: values[values.size // 2 :][:20].fill(np.nan)
    )
    for name in ("backscatter", "geocode", "filter", "unwrap"):
        load_engine("isce2").execute(merged, name)
    layers = load_engine("isce2").collect(merged).layers
    seen = np.isfinite(layers["wrapped_phase"].values)
    assert seen.sum() > 1000
    assert np.array_equal(np.isfinite(layers["coherence"].values), seen)
    assert np.isfinite(layers["filtered_phase"].values[seen]).all()


def test_backscatter_of_bursts_and_swaths_joins(data: Path, tmp_path: Path) -> None:
    """All samples are 1 + 1j: what overlaps is counted once, and what no date shows is a hole."""
    folder = job_folder(planned_once(data), tmp_path)
    load_engine("isce2").execute(folder, "backscatter")
    found = np.load(folder / RUN / "backscatter" / "backscatter.npy")
    burst = task_in(folder).bursts[0].reference
    middle = np.array([burst.first_line + burst.grid.lines / 2]), np.array([burst.grid.samples / 2])
    (expected,) = read_calibration(burst, "gamma0").calibrate(np.array([2.0]), *middle)
    seen = np.isfinite(found)
    np.testing.assert_allclose(found[seen], expected, rtol=0.2)  # the noise grows by so much at the ends of a burst
    assert [label(one)[1] for one in (seen, ~seen)] == [1, 1]


def test_a_pair_that_cannot_be_calibrated_has_no_backscatter(copied: Path, tmp_path: Path) -> None:
    lost = next(copied.glob("raw/*/annotation/calibration/noise-*"))
    lost.unlink()
    plan = planned(copied)
    (outlook,) = plan.outlooks.values()
    assert any(lost.name in remark.text for remark in outlook.remarks)
    task = task_in(job_folder(plan, tmp_path))
    assert "backscatter" not in [stage.name for stage in list_stages(task)]
    assert lost.name in task.uncalibrated


def test_a_crash_of_topsapps_ionosphere_costs_a_pair_nothing_else(data: Path, tmp_path: Path) -> None:
    write_options(tmp_path, faults=[{"step": "ion", "attempt": 1, "action": "crash", "message": "no coherent cells"}])
    folder = job_folder(planned_once(data, looks=Looks(east=9, north=3), corrections=("ionosphere",)), tmp_path)
    execute_until(folder, "mergebursts")
    for name in ("backscatter", "geocode", "filter", "unwrap"):
        load_engine("isce2").execute(folder, name)
    ifg = load_engine("isce2").collect(folder)
    assert np.isfinite(ifg.layers["wrapped_phase"].values).any()
    assert "ionosphere" not in ifg.layers
    assert "no coherent cells" in open_correction("ionosphere").compute(ifg).facts["refused"]


def test_of_topsapps_ionosphere_stays_what_is_known(data: Path, tmp_path: Path) -> None:
    """Around holes it fades to zero; where it is zero everywhere there is none."""
    run = TopsAppRun.of(
        job_folder(planned_once(data, looks=Looks(east=9, north=3), corrections=("ionosphere",)), tmp_path)
    )
    image, place = np.full((200, 300), 6.5, np.float32), run.folder / "merged/topophase.ion"
    image[:40, :150] = np.maximum(np.arange(40, dtype=np.float32) - 20, 0)[:, None] * 6.5 / 20
    place.parent.mkdir(parents=True)
    write_json(run.folder / "ionosphere.json", {})
    write_isce_image(place, image)
    found, facts = read_ionosphere(run)
    assert not facts
    assert found[:38, :150].max() == 0
    assert (found[60:] == 6.5).all()
    write_isce_image(place, np.zeros_like(image))
    assert "zero everywhere" in read_ionosphere(run)[1]["refused"]


def test_a_merged_image_of_another_size_is_an_error(merged: Path) -> None:
    text = (merged / "job.json").read_text()
    (merged / "job.json").write_text(text.replace('"east": 9', '"east": 10'))
    with pytest.raises(StepFailed, match="10x3 looks"):
        load_engine("isce2").execute(merged, "geocode")


def test_a_truncated_measurement_is_found_before_topsapp_reads_it(copied: Path, tmp_path: Path) -> None:
    image = next((copied / "raw").glob("*/measurement/*iw2*"))
    content, folder = image.read_bytes(), job_folder(planned(copied), tmp_path)
    image.unlink()
    image.write_bytes(content[: len(content) // 2])
    with pytest.raises(TopsarError, match="truncated"):
        execute_until(folder, "preprocess")


# --- through the scheduler --------------------------------------------------------------------------------------


def start(data: Path, **flags: str) -> tuple[list[Status], list[str]]:
    """Run the pair; how its jobs ended, and the steps of topsApp that were executed."""
    flags = {"ENGINE": "isce2", "ISCE_HOME": str(ISCE_HOME), "ISCE_PYTHON": sys.executable, "CRS": "latlon", **flags}
    flags |= {"LOOKS": "9x3", "DISK_RESERVE_GB": "0", "FORMATS": "geotiff"}
    before = len(read_record(data / "runs", "step"))
    outcomes = run(load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags))
    after = [entry["step"] for entry in read_record(data / "runs", "step")[before:]]
    return [outcome.status for outcome in outcomes], after


@pytest.mark.slow
def test_a_pair_is_run_cleaned_up_and_only_what_changed_is_run_again(copied: Path) -> None:
    truth = {"phase_rad": 4.0, "phase_period_deg": 0.5, "coherence": 0.8, "amplitude": 120.0, "dull": None}
    esd = {"misregistration_px": 0.004, "range_shift_px": 0.0, "coherence": 0.97}
    write_options(
        copied / "runs",
        faults=[{"step": "burstifg", "attempt": 1, "action": "kill", "signal": 11}],
        truth=truth,
        esd=esd,
    )
    statuses, executed = start(copied)
    assert statuses == [Status.DONE]
    assert executed.count("burstifg") == 2
    assert len(executed) == len(set(executed)) + 1
    (folder,) = (path for path in (copied / "runs").iterdir() if (path / "products").is_dir())

    facts = json.loads((folder / "products/facts.json").read_text())
    assert facts["engine"] == "isce2"
    assert facts["azimuth_misregistration"]["pixels"] == pytest.approx(0.004, abs=2e-5)
    written = sum(step.get("written_bytes", 0) for step in facts["steps"])
    left = sum(path.stat().st_size for path in (folder / "topsapp").rglob("*") if path.is_file())
    assert left < 0.1 * written
    assert not (folder / "topsapp/geom_reference/IW2").exists()
    _compare_with_truth(folder, truth)

    assert start(copied) == ([Status.CACHED], [])
    for flags in ({"FILTER_STRENGTH": "0.2"}, {"UNWRAPPER": "none"}, {"POSTING": "120"}):
        assert start(copied, **flags) == ([Status.DONE], [])


def _compare_with_truth(folder: Path, truth: dict[str, Any]) -> None:
    values, grid = read_geotiff(folder / "products/unwrapped_phase.tif")[:2]
    lon = grid.west + (np.arange(grid.columns) + 0.5) * grid.dx
    lat = grid.north - (np.arange(grid.rows) + 0.5) * grid.dy
    difference = values - phase(lat[:, None], lon[None, :], truth)
    difference -= np.nanmedian(difference)
    assert np.isfinite(values).sum() > 1000
    assert np.sqrt(np.nanmean(difference**2)) < 0.05


def test_a_topsapp_that_hangs_is_ended_with_its_children(copied: Path) -> None:
    write_options(
        copied / "runs", faults=[{"step": "startup", "action": "hang", "seconds": 600, "deaf": True, "child": True}]
    )
    argv = [sys.executable, "-m", "topsar", "run", "--data", str(copied), "--pairs", str(copied / "pairs.txt")]
    argv += ["--engine", "isce2", "--isce-home", str(ISCE_HOME), "--isce-python", sys.executable]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert wait_for(lambda: read_record(copied / "runs", "step"), 60)
        mark = json.loads((copied / "runs/.lock").read_text())["mark"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
        assert find_marked(f"{mark}.") == []
