"""Stacks in radar geometry: their grid and seams, their reference, and what a date more costs."""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import twins
from dry_data import DAYS, Planned, annotation, drop_burst, dry_data, dry_recipe, plan_inputs
from topsar import cli
from topsar.engines import load_engine
from topsar.engines.native.radar.choice import choose_reference
from topsar.engines.native.radar.grid import lay_out_radar
from topsar.engines.native.radar.resampling import DatePart
from topsar.engines.native.radar.swath_product import find_frames, format_swath, read_reference_bursts
from topsar.engines.native.steps import coregister, crossmul, geometry, overlaps
from topsar.engines.native.steps.coregister import CoregisterTask
from topsar.engines.native.steps.crossmul import CrossmulTask
from topsar.engines.native.steps.geocode import open_images
from topsar.engines.native.steps.geometry import GeometryTask
from topsar.engines.native.steps.overlaps import OverlapsTask, find_overlapping
from topsar.engines.passes import describe_pass
from topsar.engines.radar_stack import Written, open_radar_stack
from topsar.engines.step import StepKind, as_step, load_task
from topsar.engines.viewing import fit_burst_arc
from topsar.errors import SceneError, SettingsError
from topsar.files import write_json, write_text
from topsar.formats.step import finish_jobs
from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.model import SPEED_OF_LIGHT, BBox, Burst, Looks, Window
from topsar.raster import read_geoid
from topsar.raster.geoid import EGM96
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Lifetime
from topsar.simulate import Acquisition
from topsar.simulate.recipe import SwathCut

RADAR = {"GRID": "radar"}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates, three pairs."""
    folder = tmp_path_factory.mktemp("three dates")
    dry_data(folder, dry_recipe(acquisitions=DAYS))
    return folder


def keys(planned: Planned) -> dict[tuple[str, str], str]:
    return {name: node.key for name, node in build_graph(planned.plan.jobs).nodes.items()}


def ground(planned: Planned, scratch: Path) -> GeometryTask:
    (job,) = (job.id for job in planned.plan.jobs if job.steps[0].name == "geometry")
    return load_task(scratch / job, "geometry", GeometryTask)


def dates(planned: Planned, scratch: Path) -> dict[str, CoregisterTask]:
    jobs = [job.id for job in planned.plan.jobs if job.steps[-1].name == "coregister"]
    tasks = [load_task(scratch / job, "coregister", CoregisterTask) for job in jobs]
    return {task.date: task for task in tasks}


# --- the grid ---------------------------------------------------------------------------------------------------


def make_bursts() -> list[Burst]:
    """Two swaths of three bursts, whose lines and samples share one grid."""
    found = []
    for swath, far, late in (("IW1", 0, 0), ("IW2", 1500, 450)):
        for index in range(3):
            burst = twins.small_burst(lines=1500, samples=2000)
            grid = burst.grid
            start = grid.first_line_time + (1342 * index + late) * (grid.stop_time - grid.first_line_time) / 1499
            near = grid.near_range_m + far * grid.range_spacing_m
            valid = Window(row=20, column=10 + index, rows=1455, columns=1950)
            moved = replace(grid, first_line_time=start, near_range_m=near)
            found.append(replace(burst, swath=swath, index=index, grid=moved, valid=valid))
    return found


def test_bursts_fill_rectangles_that_meet_at_mid_overlap() -> None:
    layout = lay_out_radar(make_bursts())
    filled = np.zeros(layout.grid.shape, int)
    for part in layout.parts:
        filled[part.where.slices] += 1
        assert part.burst.valid.intersection(part.inside) == part.inside
    assert filled.max() == 1
    assert filled[500:4100, 20:-20].min() == 1
    first, second, third = (part for part in layout.parts if part.burst.swath == "IW1")
    assert (first.where.row, first.where.row_stop, second.where.row_stop) == (0, 1399, 2741)
    assert second.where.row == 1399
    assert third.where.row_stop == 2 * 1342 + 1455
    near = first.find_rows(first.burst.valid)
    assert near.row_stop - first.where.row_stop in (56, 57), "half of what both bursts see"
    (seam,) = {part.where.column_stop for part in (first, second, third)}
    assert seam == (1500 + 12 + 1960 + 1) // 2 - 10
    assert {part.where.column for part in layout.parts if part.burst.swath == "IW2"} == {seam}


def test_the_grid_names_the_place_of_its_first_pixel() -> None:
    bursts = make_bursts()
    layout = lay_out_radar(bursts)
    for part in layout.parts:
        grid = part.burst.grid
        late = (layout.grid.first_line_time - grid.first_line_time).total_seconds() / grid.line_interval_s
        assert part.inside.row - part.where.row == pytest.approx(late, abs=2e-3)
        farther = (layout.grid.near_range_m - grid.near_range_m) / grid.range_spacing_m
        assert part.inside.column - part.where.column == pytest.approx(farther, abs=1e-6)


def test_overlaps_are_what_two_bursts_of_a_swath_both_see() -> None:
    layout = lay_out_radar(make_bursts())
    found = find_overlapping(layout.parts)
    assert [(one.upper.burst.swath, one.upper.burst.index) for one in found] == [
        ("IW1", 0), ("IW1", 1), ("IW2", 0), ("IW2", 1)
    ]  # fmt: skip
    for one in found:
        assert one.where.rows == 1455 - 1342
        assert one.where.columns <= one.upper.inside.columns
        for part in (one.upper, one.lower):
            assert part.find_rows(one.cut(part)) == one.where
            assert part.burst.valid.intersection(one.cut(part)) == one.cut(part)


# --- what ISCE2 reads of the reference ---------------------------------------------------------------------------


def test_isce_finds_the_bursts_of_the_reference(three: Path, tmp_path: Path) -> None:
    """Values, names and factories are what ISCE2's product manager loads: it was compared with its own once."""
    task = ground(Planned(three, tmp_path, **RADAR, STACK_REFERENCE="20250315"), tmp_path)
    bursts, scene = [part.burst for part in task.parts], task.orbit.scenes[0]
    flight = describe_pass(task.orbit, task.orbit.load("IW2", "VV"), bursts)
    found = read_reference_bursts(task.orbit.scenes, bursts[::-1])
    root = ElementTree.fromstring(format_swath(found["IW2"], task.stack, flight, scene.ipf))

    def read(node: ElementTree.Element, name: str) -> str:
        return node.findtext(f"property[@name='{name}']/value") or ""

    swath = root.find("component[@name='instance']")
    assert swath is not None
    assert swath.findtext("factoryname") == "TOPSSwathSLCProduct"
    nodes = swath.findall("component[@name='bursts']/component")
    vectors = root.findall(".//component[@name='state_vectors']/component")
    assert {len(read(one, "time")) for one in vectors} == {len("2025-03-15 16:04:00")}, "MiaplPy reads no fraction"
    own = [burst for burst in bursts if burst.swath == "IW2"]
    assert len(nodes) == int(read(swath, "numberofbursts")) == len(own)
    for number, (node, burst) in enumerate(zip(nodes, own, strict=True), start=1):
        assert node.get("name") == f"burst{number}"
        start = datetime.fromisoformat(read(node, "sensingstart")).replace(tzinfo=timezone.utc)
        assert start == burst.grid.first_line_time
        assert read(node, "swathnumber") == "2"
        rate = node.find("component[@name='azimuthfmrate']")
        assert rate is not None
        mean, norm = (float(read(rate, name)) for name in ("mean", "norm"))
        at = (900e3 - mean) / norm
        value = sum(c * at**power for power, c in enumerate(json.loads(read(rate, "coeffs"))))
        assert value == pytest.approx(float(burst.fm_rate(np.array(2 * 900e3 / SPEED_OF_LIGHT))), rel=1e-12)
        assert len(node.findall("component[@name='orbit']/component/component")) == len(flight.times) > 4
    assert found["IW1"][0].node == pytest.approx(found["IW2"][2].node, abs=timedelta(microseconds=5))
    since = float(scene.start.timestamp() - found["IW1"][0].node.timestamp())
    assert find_frames(found) == (int(since / 5), int((since + 9) / 5))


# --- the reference ----------------------------------------------------------------------------------------------

NAMES = ["20250101", "20250301", "20250501", "20250701"]
FLAT = np.array([0.0, 60.0, 120.0, 180.0])


def test_the_reference_is_in_the_middle_of_time_and_space() -> None:
    even = choose_reference(NAMES, FLAT, np.array([0.0, 10.0, 5.0, -5.0]), "auto", "")
    assert even.date in ("20250301", "20250501")
    aside = choose_reference(NAMES, FLAT, np.array([0.0, 300.0, 5.0, -5.0]), "auto", "")
    assert aside.date == "20250501"
    assert "61 days" in choose_reference(NAMES[:2], np.array([0.0, 61.0]), np.zeros(2), "auto", "").why


def test_a_reference_that_is_there_stays_and_one_that_is_set_wins() -> None:
    nothing = np.zeros(4)
    assert choose_reference(NAMES, FLAT, nothing, "auto", "20250701").date == "20250701"
    assert choose_reference(NAMES, FLAT, nothing, "auto", "20240101").date == "20250301"
    assert choose_reference(NAMES, FLAT, nothing, "20250101", "20250701").date == "20250101"
    with pytest.raises(SettingsError, match="STACK_REFERENCE=20240101 is none of the dates"):
        choose_reference(NAMES, FLAT, nothing, "20240101", "")


# --- the plan ---------------------------------------------------------------------------------------------------


def test_one_tree_for_all_dates_and_the_interferograms_that_are_asked_for(three: Path, tmp_path: Path) -> None:
    planned = Planned(three, tmp_path, **RADAR, STACK_REFERENCE="20250315")
    nodes = build_graph(planned.plan.jobs).nodes
    results = {
        artifact.path
        for node in nodes.values()
        for artifact in node.step.writes
        if artifact.lifetime is Lifetime.RESULT
    }
    root = "radar_stack/T131_VV_20250315"
    assert all(path.startswith(f"{root}/") for path in results)
    for day in ("20250303", "20250315", "20250327"):
        assert {f"{root}/merged/SLC/{day}", f"{root}/merged/baselines/{day}"} <= results
    assert {f"{root}/baselines/20250315_{day}" for day in ("20250303", "20250327")} <= results
    assert f"{root}/baselines/20250315_20250315" not in results
    assert len([path for path in results if "/interferograms/" in path]) == 3
    for count, expected in (("0", 0), ("1", 2), ("2", 3)):
        again = Planned(three, tmp_path, **RADAR, INTERFEROGRAMS=count)
        made = [node for node in build_graph(again.plan.jobs).nodes.values() if node.step.name == "interferogram"]
        assert len(made) == expected


def test_stamps_is_written_of_a_stack_when_its_dates_are_there(three: Path, tmp_path: Path) -> None:
    planned = Planned(three, tmp_path, **RADAR, STACK_REFERENCE="20250315", FORMATS="stamps")
    jobs = finish_jobs(planned.plan.jobs, load_engine("native"), planned.settings.options)
    (job,) = (job for job in jobs if job.id.startswith("stamps"))
    (step,) = job.steps
    assert (job.id, step.name) == ("stamps_T131_VV_20250315", "format_stamps")
    images = {path.rpartition("/")[2] for path in step.reads}
    assert {"20250303", "20250315", "20250327", "lat.rdr.full", "lon.rdr.full", "hgt.rdr.full", "stack.json"} <= images
    pixels = int(np.prod(ground(planned, tmp_path).stack.grid.shape))
    assert step.needs.disk_bytes == 3 * 18 * pixels
    before = planned.settings.options
    for change, same in (
        ({"filter_strength": 0.1}, True),
        ({"roi": BBox(west=28, south=36, east=29, north=38)}, False),
    ):
        again = finish_jobs(planned.plan.jobs, load_engine("native"), before.model_copy(update=change))
        assert (again[-1].steps[0].signature == step.signature) == same
    with pytest.raises(SettingsError, match="GRID is map"):
        finish_jobs(planned.plan.jobs, load_engine("native"), before.model_copy(update={"grid": "map"}))


def test_a_region_chooses_bursts_which_stay_whole(three: Path, tmp_path: Path) -> None:
    whole = ground(Planned(three, tmp_path / "all", **RADAR, STACK_REFERENCE="20250315"), tmp_path / "all")
    middle = next(part.burst for part in whole.parts if (part.burst.swath, part.burst.index) == ("IW2", 1))
    arc = fit_burst_arc(middle, whole.orbit.load("IW2", "VV"))
    range_m = np.array((middle.grid.near_range_m + middle.grid.far_range_m) / 2)
    lat, lon, _ = ecef_to_geodetic(rdr2geo(np.array(arc.seconds(middle.grid.mid_time)), range_m, 0.0, arc))
    south, west = float(np.degrees(lat)) - 0.005, float(np.degrees(lon)) - 0.005
    planned = Planned(three, tmp_path, **RADAR, ROI=f"{south},{south + 0.01},{west},{west + 0.01}")
    found = ground(planned, tmp_path)
    labels = [part.burst.label for part in found.parts]
    assert middle.label in labels
    assert len(labels) == len({part.burst.swath for part in found.parts}) < len(whole.parts), "one of each swath"
    assert all(part.inside.rows == part.burst.valid.rows for part in found.parts)
    assert {len(task.parts) for task in dates(planned, tmp_path).values()} == {len(labels)}


def test_a_later_date_costs_that_date_alone(three: Path, tmp_path: Path) -> None:
    fewer = shutil.copytree(three, tmp_path / "two")
    lines = [line for line in (fewer / "pairs.txt").read_text().splitlines() if line and not line.startswith("#")]
    (fewer / "pairs.txt").write_text(lines[0])
    before = keys(Planned(fewer, tmp_path / "a", **RADAR, STACK_REFERENCE="20250303"))
    after = keys(Planned(three, tmp_path / "b", **RADAR, STACK_REFERENCE="20250303"))
    assert {name: after[name] for name in before} == before
    new = {job for job, _ in set(after) - set(before)}
    root = "radar_stack_T131_VV_20250303"
    assert new == {f"{root}_20250327", f"{root}_20250303_20250327", f"{root}_20250315_20250327"}


@pytest.mark.parametrize(
    ("flag", "value", "steps"),
    [
        ("LOOKS", "9x3", {"multilook", "crossmul", "interferogram"}),
        ("FILTER_STRENGTH", "0.9", {"interferogram"}),
        ("UNWRAPPER", "none", {"interferogram"}),
        ("ESD", "network", set()),
        ("ESD", "off", {"coregister", "crossmul", "interferogram"}),
        ("RANGE_REGISTRATION", "auto", {"delay", "coregister", "crossmul", "interferogram"}),
    ],
)
def test_a_setting_reruns_what_uses_it(flag: str, value: str, steps: set[str], three: Path, tmp_path: Path) -> None:
    before = keys(Planned(three, tmp_path / "a", **RADAR))
    after = keys(Planned(three, tmp_path / "b", **RADAR, **{flag: value}))
    assert {step for job, step in after if before.get((job, step)) != after[job, step]} == steps


def test_bursts_that_a_date_lacks_are_left_out_of_all(
    three: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = shutil.copytree(three, tmp_path / "data")
    drop_burst(next((data / "raw").glob("*20250327*")), 2)
    task = ground(Planned(data, tmp_path, **RADAR, STACK_REFERENCE="20250303"), tmp_path)
    whole = ground(Planned(three, tmp_path / "whole", **RADAR, STACK_REFERENCE="20250303"), tmp_path / "whole")
    assert len(task.parts) == len(whole.parts) - 1
    assert set(whole.stack.bursts) - set(task.stack.bursts) == {whole.parts[-1].burst.label}
    assert "20250327 has no " in caplog.text


def test_an_image_is_read_through_once(three: Path, tmp_path: Path) -> None:
    """The overlaps of a date check its images, its SLC need not; that of the reference waits for no overlaps."""
    data = shutil.copytree(three, tmp_path / "data")
    planned = Planned(data, tmp_path, **RADAR, STACK_REFERENCE="20250303")
    tasks = dates(planned, tmp_path)
    parts = tasks["20250315"].parts
    assert all(len(list(open_images(parts, lambda one: one.burst, are_checked=known))) == 6 for known in (True, False))
    with Path(parts[0].burst.measurement).open("r+b") as image:
        image.seek(-4, 2)
        image.write(b"\1\2\3\4")
    assert len(list(open_images(parts, lambda one: one.burst, are_checked=True))) == 6
    with pytest.raises(SceneError, match="checksum"):
        list(open_images(parts, lambda one: one.burst))
    assert {name: bool(task.timings) for name, task in tasks.items()} == {
        "20250303": False, "20250315": True, "20250327": True
    }  # fmt: skip


def test_a_swath_that_is_not_wanted_may_be_damaged(three: Path, tmp_path: Path) -> None:
    data = shutil.copytree(three, tmp_path / "data")
    annotation(next((data / "raw").glob("*20250327*")), "IW1").write_text("no XML")
    planned = Planned(data, tmp_path, **RADAR, SWATHS="IW2")
    assert not planned.plan.refused
    assert ground(planned, tmp_path).stack.swaths == ("IW2",)


@pytest.mark.parametrize("change", ["none", "grid", "damage"])
def test_what_was_coregistered_to_another_grid_goes(change: str, three: Path, tmp_path: Path) -> None:
    stack = ground(Planned(three, tmp_path, **RADAR), tmp_path).stack
    runs = tmp_path / "runs"
    write_json(runs / stack.facts_file, Written(stack=stack, looks=Looks(east=9, north=3)))
    write_text(runs / stack.slc("20240101") / "20240101.slc.full", "of a date that is no longer listed")
    if change == "damage":
        (runs / stack.facts_file).write_text("{")
    grid = replace(stack.grid, lines=stack.grid.lines + 1) if change == "grid" else stack.grid
    geometry._clear_other_grid(replace(stack, grid=grid), runs)
    assert (runs / stack.slc("20240101")).exists() == (change == "none")


def test_azimuth_timing_is_given_measured_or_left(three: Path, tmp_path: Path) -> None:
    measured = dates(Planned(three, tmp_path, **RADAR, STACK_REFERENCE="20250315"), tmp_path)
    job = "radar_stack_T131_VV_20250315"
    assert measured["20250303"].timings == (f"{job}_20250303/timing", f"{job}_20250315/timing")
    assert measured["20250315"].timings == ()
    given = dates(Planned(three, tmp_path / "g", **RADAR, ESD="0.004", STACK_REFERENCE="20250315"), tmp_path / "g")
    assert {name: task.shift_pixels for name, task in given.items()} == {
        "20250303": 0.004, "20250315": 0.0, "20250327": 0.004
    }  # fmt: skip


def test_a_date_of_27_bursts_fits_into_4_gigabytes(three: Path, tmp_path: Path) -> None:
    planned = Planned(three, tmp_path, **RADAR)
    wide = replace(make_bursts()[0].grid, samples=25_000)
    valid = Window(row=20, column=10, rows=1460, columns=24_900)
    late = (wide.stop_time - wide.first_line_time) / 1499
    bursts = [
        replace(
            make_bursts()[0],
            swath=f"IW{swath}",
            index=index,
            valid=valid,
            grid=replace(
                wide,
                first_line_time=wide.first_line_time + (1342 * index + 450 * swath) * late,
                near_range_m=wide.near_range_m + 22_000 * swath * wide.range_spacing_m,
            ),
        )
        for swath in (1, 2, 3)
        for index in range(9)
    ]
    layout = lay_out_radar(bursts)
    task = next(iter(dates(planned, tmp_path).values()))
    stack = replace(task.stack, grid=layout.grid)
    parts = tuple(DatePart(part=part, burst=part.burst) for part in layout.parts)
    orbit, looks = task.orbit, Looks(east=9, north=3)
    ifg: dict[str, Any] = {"job": "i", "stack": stack, "looks": looks, "first": "20250303", "second": "20250315"}
    steps: list[tuple[StepKind[Any], Any]] = [
        (geometry.STEP, GeometryTask(job="g", stack=stack, parts=layout.parts, orbit=orbit, dem=planned.inputs.dem)),
        (coregister.STEP, replace(task, stack=stack, parts=parts)),
        (overlaps.STEP, OverlapsTask(job="d", stack=stack, parts=parts, reference_orbit=orbit, orbit=orbit)),
        (crossmul.STEP, CrossmulTask(**ifg, parts=layout.parts)),
    ]
    pixels = layout.grid.lines * layout.grid.samples
    for kind, one in steps:
        needs = as_step(kind, one, key="test", dem_density=3600.0**2).needs
        assert needs.memory_bytes < 4e9, kind.name
        if kind is coregister.STEP:
            assert needs.disk_bytes == 8 * pixels > 6e9


def test_a_single_burst_has_no_timing_and_says_so(tmp_path: Path) -> None:
    days = (Acquisition(day=date(2025, 3, 3)), Acquisition(day=date(2025, 3, 15)))
    cut = SwathCut(swath="IW2", first_sample=500, samples=300)
    dry_data(tmp_path / "data", dry_recipe(acquisitions=days, bursts=1, cuts=(cut,)))
    planned = Planned(tmp_path / "data", tmp_path, **RADAR)
    assert {step for _, step in keys(planned)} == {
        "geometry", "multilook", "coregister", "crossmul", "interferogram"
    }  # fmt: skip
    (other,) = (task for task in dates(planned, tmp_path).values() if not task.is_reference)
    assert "no two bursts" in other.shift_source


# --- from what people have to a tree ----------------------------------------------------------------------------


@pytest.mark.slow
def test_scenes_and_tiles_of_heights_become_a_stack(three: Path, tmp_path: Path) -> None:
    """SRTM's tiles as they are downloaded, packed, are all that is beside scenes and orbits."""
    data = shutil.copytree(three, tmp_path / "data", ignore=shutil.ignore_patterns("truth"))
    (data / "dem" / "dem.tif").unlink()
    box = plan_inputs(three).survey.find_footprint().grow(0.2)
    for south in range(math.floor(box.south), math.ceil(box.north)):
        for west in range(math.floor(box.west), math.ceil(box.east)):
            lat, lon = south + 1 - np.arange(1201)[:, None] / 1200, west + np.arange(1201) / 1200
            name = f"N{south:02d}E{west:03d}"
            with zipfile.ZipFile(data / "dem" / f"{name}.SRTMGL3.hgt.zip", "w", zipfile.ZIP_DEFLATED) as tile:
                tile.writestr(f"{name}.hgt", np.rint(slope(lon, lat)).astype(">i2").tobytes())
    places = ["--data", str(data), "--pairs", str(data / "pairs.txt"), "--env", os.devnull]
    assert cli.main(["stack", *places, "--engine", "native", "-o", "OFFLINE=1", "--swaths", "IW2"]) == 0
    (found,) = (data / "runs" / "radar_stack").iterdir()
    stack = open_radar_stack(found)
    lat, lon, height = (np.asarray(stack.read_layer(name))[:, 0] for name in ("lat", "lon", "hgt"))
    geoid = read_geoid(EGM96, box.grow(0.1))
    np.testing.assert_allclose(height, slope(lon, lat) + geoid.interpolate(lon, lat), atol=0.7)
    assert len(list(found.glob("merged/SLC/*/2*.slc.full"))) == 3


def slope(longitude: Any, latitude: Any) -> Any:
    return 900 + 400 * (longitude - 28) - 300 * (latitude - 37)
