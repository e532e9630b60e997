"""From products on disk to interferograms, against the truth that was put in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from pyproj import Transformer
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import map_coordinates

from topsar import workflow
from topsar.batch import Batch
from topsar.engines.ground import LONLAT, change_crs, find_box
from topsar.engines.layers import estimate_phase_noise
from topsar.engines.native.radar.grid import RadarPart
from topsar.engines.passes import read_passes
from topsar.engines.radar_stack import RadarStack, open_radar_stack
from topsar.errors import TopsarError
from topsar.files import find_leftovers, size_of
from topsar.formats.gunw.cube import make_cube
from topsar.kernels.geometry import geo2rdr, geodetic_to_ecef, measure_baselines
from topsar.kernels.resample import sample_heights
from topsar.kernels.statistics import count_phase_looks
from topsar.raster import compute_pixel_centres, inspect, read_geotiff
from topsar.raster.geotiff import open_quietly
from topsar.raster.isce_image import check_isce_image, read_isce_image
from topsar.report.closure import close_triplets
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Event, Outcome, Status
from topsar.schedule.lock import hold_runs
from topsar.sentinel1 import iter_samples
from topsar.settings import Settings, load_settings
from topsar.simulate import Acquisition, recipe, simulate
from topsar.simulate.compare import COHERENT, SEAM_PIXELS, compare_pair
from topsar.simulate.plan import plan_products
from topsar.step import execute_step

LAYERS = (
    "wrapped_phase", "filtered_phase", "unwrapped_phase", "filtered_unwrapped_phase", "coherence", "components",
    "amplitude", "height", "los_east", "los_north", "los_up", "incidence", "displacement", "phase_noise",
    "layover_shadow", "water", "gamma0",
)  # fmt: skip
RECIPE = replace(
    recipe("tiny"),
    acquisitions=(
        Acquisition(day=date(2025, 3, 3)),
        Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=74.0, azimuth_shift_px=0.004, sync_s=1e-3),
        Acquisition(day=date(2025, 3, 27), perpendicular_baseline_m=-41.0, azimuth_shift_px=-0.002),
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates of one swath, two bursts, with misregistration, as directories and one zip."""
    folder = tmp_path_factory.mktemp("data with spaces")
    simulate(folder, RECIPE)
    return folder


def process(data: Path, **flags: str) -> tuple[tuple[Outcome, ...], list[Event]]:
    events: list[Event] = []
    settings = load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags)
    return workflow.run(settings, observe=events.append), events


def started(events: list[Event]) -> set[str]:
    return {event.step for event in events if event.status is Status.RUNNING}


@pytest.fixture(scope="module")
def products(data: Path) -> list[Path]:
    outcomes, _ = process(data)
    pairs = [outcome for outcome in outcomes if outcome.is_pair]
    assert [pair.status for pair in pairs] == [Status.DONE] * 3, [pair.message for pair in pairs]
    return [data / "runs" / pair.job / "products" for pair in pairs]


def test_phase_agrees_with_the_truth(data: Path, products: list[Path]) -> None:
    for folder in products:
        found = compare_pair(folder, data / "truth")
        assert found.pixels > 20_000
        assert abs(found.mean_rad) < 0.02
        assert found.deviation_rad < 1.2 * found.expected_rad
        assert found.tilt_rad < 0.05
        assert found.seam_rad < 0.03


def test_the_filter_brings_the_phase_nearer_to_the_truth(data: Path, products: list[Path], tmp_path: Path) -> None:
    for name in ("coherence", "burst", "phase_noise"):
        (tmp_path / f"{name}.tif").symlink_to(products[0] / f"{name}.tif")
    (tmp_path / "facts.json").symlink_to(products[0] / "facts.json")
    (tmp_path / "wrapped_phase.tif").symlink_to(products[0] / "filtered_phase.tif")
    before, after = (compare_pair(folder, data / "truth") for folder in (products[0], tmp_path))
    assert after.deviation_rad < 0.7 * before.deviation_rad
    told = json.loads((products[0] / "facts.json").read_text())["filter"]
    assert told["removed_rad"] < 1.1 * told["predicted_noise_rad"]
    assert told["beyond_noise_rad"] < 0.5 * told["predicted_noise_rad"]


def test_three_pairs_close(products: list[Path]) -> None:
    closures = close_triplets(products)
    (loop,) = closures.found
    assert closures.total == 1
    assert abs(loop.mean_rad) < 0.01
    assert loop.deviation_rad < loop.expected_rad
    assert loop.jumps is not None
    assert loop.jumps < 0.01


def test_layers_share_one_grid_and_describe_themselves(products: list[Path]) -> None:
    grids = set()
    for folder in products:
        for name in LAYERS:
            values, grid, tags = read_geotiff(folder / f"{name}.tif")
            grids.add(grid)
            assert values.shape == grid.shape
            assert tags
        assert json.loads((folder / "facts.json").read_text())["perpendicular_baseline_m"]
        assert (folder.parent / "quicklook" / "filtered_phase.png").stat().st_size > 10_000
    assert len(grids) == 1
    grid = grids.pop()
    assert grid.west % grid.dx == 0
    assert grid.north % grid.dy == 0


def test_signs_hold_together(products: list[Path]) -> None:
    folder = products[0]
    unwrapped = read_geotiff(folder / "unwrapped_phase.tif")[0]
    seen = np.isfinite(unwrapped)
    filtered = read_geotiff(folder / "filtered_unwrapped_phase.tif")[0]
    assert np.abs(unwrapped - filtered)[seen].max() <= np.pi + 1e-5
    for name, whole in (("wrapped_phase", unwrapped), ("filtered_phase", filtered)):
        cycles = (whole - read_geotiff(folder / f"{name}.tif")[0])[seen] / (2 * np.pi)
        np.testing.assert_allclose(cycles, np.round(cycles), atol=2e-6)
    east, up = (read_geotiff(folder / f"los_{axis}.tif")[0] for axis in ("east", "up"))
    assert east.mean() < 0  # an ascending, right-looking satellite stands in the west
    incidence = read_geotiff(folder / "incidence.tif")[0]
    np.testing.assert_allclose(np.cos(np.radians(incidence)), up, atol=1e-4)


def test_cubes_on_a_coarse_grid_agree_with_the_layers_of_every_pixel(products: list[Path]) -> None:
    height, grid, _ = read_geotiff(products[0] / "height.tif")
    seen = np.isfinite(height)
    lon, lat = change_crs(grid.crs, LONLAT, *compute_pixel_centres(grid))
    reference, secondary = read_passes(json.loads((products[0] / "facts.json").read_text()))
    cube = make_cube(reference, secondary, find_box(lon, lat))
    axes, place = (cube.heights_m, cube.latitude_deg[::-1], cube.longitude_deg), np.stack([height, lat, lon], axis=-1)
    found = {name: RegularGridInterpolator(axes, values[:, ::-1])(place[seen]) for name, values in cube.values.items()}
    east, north, up, incidence = (
        read_geotiff(products[0] / f"{name}.tif")[0][seen] for name in ("los_east", "los_north", "los_up", "incidence")
    )
    assert np.abs(found["incidenceAngle"] - incidence).max() < 0.01
    assert np.abs(found["incidenceAngle"] - np.degrees(np.arccos(up))).max() < 0.01
    turn = found["azimuthAngle"] - np.degrees(np.arctan2(north, east))
    assert np.abs((turn + 180) % 360 - 180).max() < 0.01
    points = geodetic_to_ecef(np.radians(lat[seen]), np.radians(lon[seen]), height[seen].astype(np.float64))[::50]
    baselines = measure_baselines(points, reference.fit(), secondary.fit())
    for name, true in zip(("perpendicularBaseline", "parallelBaseline"), baselines, strict=True):
        assert np.abs(found[name][::50] - true).max() < 0.1


def test_reports_the_batch(data: Path, products: list[Path]) -> None:
    page = (data / "runs" / "report.html").read_text()
    assert all(folder.parent.name in page for folder in products)
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_scratch_is_gone(data: Path, products: list[Path]) -> None:
    assert not list((data / "runs").glob("slc_*/slc"))


def test_second_run_does_nothing(data: Path, products: list[Path]) -> None:
    before = inspect(products[0])
    outcomes, events = process(data)
    assert {outcome.status for outcome in outcomes if outcome.is_pair} == {Status.CACHED}
    assert started(events) == set()
    assert inspect(products[0]) == before


def test_changed_filter_reruns_from_there(data: Path, products: list[Path]) -> None:
    other = "whirlwind" if find_spec("whirlwind") else "none"
    outcomes, events = process(data, FILTER_STRENGTH="0.8", UNWRAPPER=other, FORMATS="geotiff")
    assert {outcome.status for outcome in outcomes if outcome.is_pair} == {Status.DONE}
    assert started(events) == {"filter", "unwrap", "format_geotiff"}


def test_refused_second_run_leaves_the_first_ones_tasks_alone(data: Path, products: list[Path]) -> None:
    task = products[0].parent / "job.json"
    before = task.read_text()
    with hold_runs(data / "runs"), pytest.raises(TopsarError, match="another scheduler"):
        process(data, FILTER_STRENGTH="0.3")
    assert task.read_text() == before


def test_step_repeated_by_hand_replaces_what_was_there(products: list[Path]) -> None:
    before = (products[0] / "wrapped_phase.tif").read_bytes()
    execute_step(products[0].parent / "job.json", "format_geotiff")
    assert (products[0] / "wrapped_phase.tif").read_bytes() == before
    assert not [*find_leftovers(products[0].parent)]


@pytest.mark.slow
def test_lost_product_is_made_again(data: Path, products: list[Path]) -> None:
    process(data)
    (products[1] / "coherence.tif").write_bytes(b"II*\0")
    _, events = process(data)
    assert {(event.job, event.step) for event in events if event.status is Status.RUNNING} == {
        (products[1].parent.name, "format_geotiff")
    }
    assert np.nanmax(read_geotiff(products[1] / "coherence.tif")[0]) <= 1


def folders_of(runs: Path) -> set[str]:
    return {path.name for path in runs.glob("*/*") if path.is_dir()}


@pytest.fixture
def fresh(data: Path, tmp_path: Path) -> Path:
    """The same inputs with an empty runs folder, for the first pair alone."""
    for name in ("raw", "dem", "orbit_data"):
        (tmp_path / name).symlink_to(data / name)
    (tmp_path / "pairs.txt").write_text((data / "pairs.txt").read_text().splitlines()[-1] + "\n")
    return tmp_path


def settings_of(data: Path, **flags: str) -> Settings:
    return load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags)


def test_a_plan_writes_nothing_and_foresees_the_run(fresh: Path) -> None:
    batch = Batch(settings=settings_of(fresh))
    preview = workflow.preview(batch)
    assert not (fresh / "runs").exists()
    assert not batch.refused
    assert {step.status for job in preview.jobs for step in job.steps} == {Status.WAITING}
    assert preview.is_timed
    assert preview.rehearsal.seconds > 0
    assert preview.rehearsal.unfitting == ()
    large = workflow.preview(batch, cores=64, memory_bytes=10**12)
    assert (large.capacity.threads, large.capacity.memory_bytes) == (64, 10**12)
    small = workflow.preview(batch, cores=1, memory_bytes=10**12)
    assert large.rehearsal.seconds < small.rehearsal.seconds
    assert workflow.preview(batch, cores=1, memory_bytes=10**6).rehearsal.unfitting


@pytest.mark.slow
def test_nuclear_cleanup_leaves_products_alone_and_frees_nine_tenths(fresh: Path) -> None:
    most = 0

    def look(_: Event) -> None:
        nonlocal most
        most = max(most, size_of(fresh / "runs"))

    outcomes = workflow.run(settings_of(fresh, CLEANUP="nuclear"), observe=look)
    assert [outcome.status for outcome in outcomes if outcome.is_pair] == [Status.DONE]
    assert folders_of(fresh / "runs") == {"products", "quicklook"}
    assert size_of(fresh / "runs") < 0.1 * most
    assert sum(outcome.freed_bytes for outcome in outcomes) > 0.9 * most
    for level in ("nuclear", "scratch"):  # what is gone is missed by nobody
        _, events = process(fresh, CLEANUP=level)
        assert started(events) == set()


def test_clean_lists_then_removes_what_no_run_needs(fresh: Path) -> None:
    flags = {"UNWRAPPER": "none", "FORMATS": "geotiff"}
    process(fresh, CLEANUP="none", **flags)
    pair = next((fresh / "runs").glob("T*"))
    (pair / ".mosaic.0123abcd.part").mkdir()
    (pair / "notes.txt").write_text("mine")
    before = size_of(fresh / "runs")
    found = workflow.clean(settings_of(fresh, **flags), dry_run=True)
    assert sorted(one.path.name for one in found) == [".mosaic.0123abcd.part", "multiply_IW2", "slc", "slc"]
    assert size_of(fresh / "runs") == before
    assert workflow.clean(settings_of(fresh, **flags), dry_run=False) == found
    assert size_of(fresh / "runs") == before - sum(one.size for one in found)
    # A pair that has still to write its products needs what they are made from.
    (pair / "products" / "coherence.tif").unlink()
    assert workflow.clean(settings_of(fresh, CLEANUP="nuclear", **flags), dry_run=False) == ()
    _, events = process(fresh, **flags)
    assert started(events) == {"format_geotiff"}
    workflow.clean(settings_of(fresh, CLEANUP="nuclear", **flags), dry_run=False)
    assert folders_of(fresh / "runs") == {"products"}
    assert (pair / "notes.txt").read_text() == "mine"
    _, events = process(fresh, **flags)
    assert started(events) == set()


# --- in radar geometry ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack(data: Path) -> RadarStack:
    """The three dates coregistered to the middle one, and the three interferograms; all steps in this process."""
    flags = {"GRID": "radar", "STACK_REFERENCE": "20250315", "POSTING": "40", "ENGINE": "native"}
    batch = Batch(settings=load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags))
    assert not batch.refused
    workflow._write_plan(batch)
    for job, step in build_graph(batch.jobs).nodes:
        execute_step(batch.runs / job / "job.json", step)
    return open_radar_stack(batch.runs / "radar_stack" / "T131_VV_20250315")


def read_map(data: Path, name: str, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The simulator's truth at some places; NaN outside."""
    values, grid, _ = read_geotiff(data / "truth" / name)
    place = [(grid.north - lat) / grid.dy - 0.5, (lon - grid.west) / grid.dx - 0.5]
    return map_coordinates(values.astype(np.float64), place, order=1, cval=np.nan)


def test_pixels_of_a_stack_lie_where_the_simulator_put_the_ground(data: Path, stack: RadarStack) -> None:
    lat, lon, height = (stack.read_layer(name)[:, 0] for name in ("lat", "lon", "hgt"))
    (file,) = (data / "dem").glob("*.tif")
    dem, grid, _ = read_geotiff(file)
    row, column = (grid.north - lat) / grid.dy - 0.5, (lon - grid.west) / grid.dx - 0.5
    surface = np.empty(lat.size)
    sample_heights(dem.astype(np.float32), row.ravel(), column.ravel(), surface)
    assert np.abs(height.ravel() - surface).max() < 0.1
    passed = plan_products(RECIPE)[1][0]
    time, range_m = geo2rdr(geodetic_to_ecef(np.radians(lat), np.radians(lon), height), passed.arc)
    radar = stack.facts.grid
    late = (time - passed.arc.seconds(radar.first_line_time)) / radar.line_interval_s - np.arange(radar.lines)[:, None]
    farther = range_m - radar.near_range_m - np.arange(radar.samples) * radar.range_spacing_m
    assert np.abs(late).max() * 14 < 0.1
    assert np.abs(farther).max() < 0.1


def test_interferograms_of_a_stack_agree_with_the_truth(data: Path, stack: RadarStack) -> None:
    geometry = stack.folder / "merged" / "geom_reference"
    lat, lon = (read_isce_image(geometry / f"{name}.rdr")[0] for name in ("lat", "lon"))
    looks, seam = stack.looks, stack.facts.grid.lines // 2 // stack.looks.north
    independent = count_phase_looks(looks, np.diag([48.3e6 / 64.345238e6, 313 * 2.0555563e-3]))
    for folder in sorted((stack.folder / "merged" / "interferograms").iterdir()):
        cross, coherence = (read_isce_image(folder / f"fine.{kind}")[0] for kind in ("int", "cor"))
        first, second = (read_map(data, f"range_change_{day}.tif", lat, lon) for day in folder.name.split("_"))
        truth = 4 * np.pi / stack.facts.wavelength_m * (second - first)
        seen = (coherence > COHERENT) & np.isfinite(truth)
        difference = np.where(seen, np.angle(cross * np.exp(-1j * np.nan_to_num(truth))), 0)
        assert seen.mean() > 0.9
        assert abs(difference[seen].mean()) < 0.02
        expected = np.sqrt((estimate_phase_noise(coherence[seen], independent).astype(float) ** 2).mean())
        assert difference[seen].std() < 1.1 * expected
        sides = (slice(seam - SEAM_PIXELS, seam), slice(seam + 1, seam + 1 + SEAM_PIXELS))
        steps = [difference[rows][seen[rows]].mean() for rows in sides]
        assert abs(steps[0] - steps[1]) < 0.03
        unwrapped = read_isce_image(folder / "filt_fine.unw")[1]
        assert np.abs(unwrapped - truth)[seen & (unwrapped != 0)].std() < 0.1


def test_an_interferogram_in_radar_geometry_is_that_of_the_map(products: list[Path], stack: RadarStack) -> None:
    geometry = stack.folder / "merged" / "geom_reference"
    lat, lon = (read_isce_image(geometry / f"{name}.rdr")[0] for name in ("lat", "lon"))
    for folder in products:
        facts = json.loads((folder / "facts.json").read_text())
        days = [facts[name].replace("-", "") for name in ("reference_date", "secondary_date")]
        pair = stack.folder / "merged" / "interferograms" / "_".join(days)
        cross, coherence = (read_isce_image(pair / f"fine.{kind}")[0] for kind in ("int", "cor"))
        phase, grid, _ = read_geotiff(folder / "wrapped_phase.tif")
        noise, _, _ = read_geotiff(folder / "phase_noise.tif")
        x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(lon, lat)
        row, column = np.floor((grid.north - y) / grid.dy), np.floor((x - grid.west) / grid.dx)
        total, count = np.zeros(grid.shape, np.complex128), np.zeros(grid.shape, int)
        inside = (row >= 0) & (row < grid.rows) & (column >= 0) & (column < grid.columns) & (coherence > COHERENT)
        place = row[inside].astype(int), column[inside].astype(int)
        np.add.at(total, place, cross[inside])
        np.add.at(count, place, 1)
        both = (count >= 3) & np.isfinite(phase) & (noise < 0.3)
        apart = np.angle(total[both] * np.exp(-1j * phase[both]))
        assert both.sum() > 10_000
        assert abs(apart.mean()) < 0.01
        assert apart.std() < np.sqrt((noise[both].astype(float) ** 2).mean())  # they share most of their speckle


def test_the_reference_is_what_was_delivered_and_dates_know_their_shift(data: Path, stack: RadarStack) -> None:
    assert [one.date for one in stack.dates] == ["20250303", "20250315", "20250327"]
    shifts = {one.date: one.azimuth_shift_pixels for one in stack.dates}
    assert shifts["20250303"] == pytest.approx(-0.004, abs=3e-4)
    assert shifts["20250315"] == 0
    assert shifts["20250327"] == pytest.approx(-0.006, abs=3e-4)
    baselines = [one.perpendicular_baseline_m for one in stack.dates]
    assert baselines == pytest.approx([-74, 0, -115], abs=1)
    job = json.loads((data / "runs" / "radar_stack_T131_VV_20250315" / "job.json").read_text())
    for part in TypeAdapter(tuple[RadarPart, ...]).validate_python(job["geometry"]["parts"]):
        window = replace(part.where, rows=20)
        (delivered,) = iter_samples(part.burst, replace(part.inside, rows=20), 20)
        np.testing.assert_array_equal(stack.read_slc("20250315", window), delivered)


def test_the_tree_reads_as_topsstack_writes_it(stack: RadarStack) -> None:
    grid, root = stack.facts.grid, stack.folder
    for day in ("20250303", "20250315", "20250327"):
        for name in (f"{day}.slc.full", f"{day}.slc"):
            image = root / "merged" / "SLC" / day / name
            header = check_isce_image(image)
            assert (header.length, header.width, header.dtype) == (*grid.shape, np.dtype("<c8"))
            with open_quietly(image.with_name(image.name + ".vrt")) as virtual:
                assert virtual.shape == grid.shape
                np.testing.assert_array_equal(virtual.read(1)[700, :50], stack.read_slc(day)[700, :50])
    for name, kind in (("lat", "<f8"), ("hgt", "<f8"), ("los", "<f4"), ("incLocal", "<f4"), ("shadowMask", "|u1")):
        small = check_isce_image(root / "merged" / "geom_reference" / f"{name}.rdr")
        assert (small.length, small.width) == (grid.lines // stack.looks.north, grid.samples // stack.looks.east)
        assert small.dtype == np.dtype(kind)
    lines = (root / "baselines" / "20250315_20250303" / "20250315_20250303.txt").read_text().splitlines()
    assert lines[0] == "swath: IW2"
    assert float(lines[1].removeprefix("Bperp (average): ")) == pytest.approx(-74, abs=1)
    assert (root / "reference" / "data.rsc").stat().st_mtime_ns >= (root / "reference" / "IW2.xml").stat().st_mtime_ns
