"""From products on disk to interferograms, against the truth that was put in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from topsar import workflow
from topsar.batch import Batch
from topsar.errors import TopsarError
from topsar.files import find_leftovers, size_of
from topsar.raster import inspect, read_geotiff
from topsar.report.closure import close_triplets
from topsar.schedule.jobs import Event, Outcome, Status
from topsar.schedule.lock import hold_runs
from topsar.settings import Settings, load_settings
from topsar.simulate import Acquisition, recipe, simulate
from topsar.simulate.compare import compare_pair
from topsar.step import execute_step

LAYERS = (
    "wrapped_phase", "filtered_phase", "unwrapped_phase", "filtered_unwrapped_phase", "coherence", "components",
    "amplitude", "height", "los_east", "los_north", "los_up", "incidence", "displacement", "phase_noise",
    "layover_shadow", "water",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates of one swath, two bursts, with misregistration, as directories and one zip."""
    folder = tmp_path_factory.mktemp("data with spaces")
    days = (
        Acquisition(day=date(2025, 3, 3)),
        Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=74.0, azimuth_shift_px=0.004, sync_s=1e-3),
        Acquisition(day=date(2025, 3, 27), perpendicular_baseline_m=-41.0, azimuth_shift_px=-0.002),
    )
    simulate(folder, replace(recipe("tiny"), acquisitions=days))
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
    outcomes, events = process(data, FILTER_STRENGTH="0.8", UNWRAPPER=other)
    assert {outcome.status for outcome in outcomes if outcome.is_pair} == {Status.DONE}
    assert started(events) == {"filter", "unwrap", "format_geotiff", "format_quicklook"}


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
    flags = {"UNWRAPPER": "none"}
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
    assert folders_of(fresh / "runs") == {"products", "quicklook"}
    assert (pair / "notes.txt").read_text() == "mine"
    _, events = process(fresh, **flags)
    assert started(events) == set()
