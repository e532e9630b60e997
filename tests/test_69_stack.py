"""SLC stacks: which dates, along which seams, in which files; and the amplitude dispersion."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from dry_data import DAYS, Planned, drop_burst, dry_data, dry_recipe
from topsar.engines.native.steps import dispersion
from topsar.engines.native.steps.dispersion import DispersionTask
from topsar.engines.native.steps.slc import choose_bursts, tile_rows
from topsar.engines.step import dump_tasks
from topsar.errors import ProductError
from topsar.model import GeoGrid, Looks
from topsar.raster import Labels, inspect, open_geotiff, read_geotiff
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Lifetime

GRID = GeoGrid(crs="EPSG:32629", west=0, north=8000, dx=80, dy=80, rows=270, columns=30)  # two strips
LOOKS = Looks(east=4, north=2)
DATES = ("20250303", "20250315", "20250327")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates, three pairs."""
    folder = tmp_path_factory.mktemp("three dates")
    dry_data(folder, dry_recipe(acquisitions=DAYS))
    return folder


def with_pairs(data: Path, folder: Path, count: int) -> Path:
    """A copy with the first so many pairs."""
    copy = shutil.copytree(data, folder)
    lines = [line for line in (copy / "pairs.txt").read_text().splitlines() if line and not line.startswith("#")]
    (copy / "pairs.txt").write_text("\n".join(lines[:count]))
    return copy


# --- the plan ---------------------------------------------------------------------------------------------------


def test_nothing_is_stacked_unless_asked_for(three: Path, tmp_path: Path) -> None:
    planned = Planned(three, tmp_path)
    assert not planned.slcs
    assert not planned.dispersions
    asked = Planned(three, tmp_path, SLC_STACK="1")
    before, after = (build_graph(one.plan.jobs).nodes for one in (planned, asked))
    assert {node: before[node].key for node in before} == {node: after[node].key for node in before}


def test_one_slc_for_each_date_and_one_dispersion(three: Path, tmp_path: Path) -> None:
    planned = Planned(three, tmp_path, SLC_STACK="1")
    assert sorted(planned.slcs) == [f"slc_stack_T131_VV_{date}" for date in DATES]
    assert [task.file for _, task in sorted(planned.slcs.items())] == [
        f"slc_stack/T131_VV/{date}.tif" for date in DATES
    ]
    (task,) = planned.dispersions.values()
    assert task.files == tuple(f"slc_stack/T131_VV/{date}.tif" for date in DATES)
    for node in build_graph(planned.plan.jobs).nodes.values():
        if node.step.name in ("slc", "dispersion"):
            assert [artifact.lifetime for artifact in node.step.writes] == [Lifetime.RESULT]
            kinds = {parent[1] for parent in node.parents}
            assert kinds == ({"geocode"} if node.step.name == "slc" else {"slc"})


def test_seams_are_those_of_the_earliest_date(three: Path, tmp_path: Path) -> None:
    planned = Planned(three, tmp_path, SLC_STACK="1")
    first = planned.slcs["slc_stack_T131_VV_20250303"]
    seams = [one.window.burst for one in first.bursts]
    for task in planned.slcs.values():
        assert [one.seam for one in task.bursts] == seams
        assert {one.seam_orbit.name for one in task.bursts} == {first.orbit.name}
        assert [one.window.burst.label for one in task.bursts] == [burst.label for burst in seams]


def test_two_dates_have_no_dispersion(three: Path, tmp_path: Path) -> None:
    planned = Planned(with_pairs(three, tmp_path / "two", 1), tmp_path, SLC_STACK="1")
    assert len(planned.slcs) == 2
    assert not planned.dispersions


def test_a_date_added_later_touches_only_what_is_new(three: Path, tmp_path: Path) -> None:
    before = build_graph(Planned(with_pairs(three, tmp_path / "two", 1), tmp_path, SLC_STACK="1").plan.jobs).nodes
    after = build_graph(Planned(with_pairs(three, tmp_path / "all", 3), tmp_path, SLC_STACK="1").plan.jobs).nodes
    assert {node: before[node].key for node in before} == {node: after[node].key for node in before}
    new = {node[1] for node in after if node not in before}
    assert new == {"geocode", "multiply_IW1", "multiply_IW2", "view", "mosaic", "filter", "unwrap", "slc", "dispersion"}


def test_a_burst_that_a_date_lacks_is_missing_in_its_slc_alone(three: Path, tmp_path: Path) -> None:
    data = with_pairs(three, tmp_path / "data", 3)
    drop_burst(sorted((data / "raw").iterdir())[1], 0)
    planned = Planned(data, tmp_path, SLC_STACK="1")
    counts = {task.date: len(task.bursts) for task in planned.slcs.values()}
    assert counts == {"20250303": 6, "20250315": 5, "20250327": 6}


# --- a date -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(three: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Planned, Path]:
    """All steps of the three dates, and their runs folder."""
    scratch = tmp_path_factory.mktemp("made")
    flags = {"SLC_STACK": "1", "UNWRAPPER": "none", "ESD": "off", "POSTING": "160"}
    planned = Planned(three, scratch, **flags)
    planned.execute(scratch / "runs")
    return planned, scratch / "runs"


def test_every_pixel_comes_from_the_burst_that_the_pairs_take(made: tuple[Planned, Path]) -> None:
    planned, runs = made
    pair = planned.pairs[0].facts
    task = planned.slcs[f"slc_stack_T131_VV_{pair.reference_date:%Y%m%d}"]
    labels = np.array([one.window.burst.label for one in task.bursts])
    place = np.load(runs / pair.pair / "mosaic" / "burst.npy")
    used = np.array(_facts(runs / pair.pair)["bursts"])
    seen = place >= 0
    assert seen.any()
    np.testing.assert_array_equal(labels[choose_bursts(task)[seen]], used[place[seen]])


def _facts(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((folder / "mosaic" / "facts.json").read_text())
    return found


def test_two_dates_multiply_to_their_interferogram(made: tuple[Planned, Path]) -> None:
    planned, runs = made
    task = planned.pairs[0]
    dates = (f"{day:%Y%m%d}" for day in (task.facts.reference_date, task.facts.secondary_date))
    reference, secondary = (read_geotiff(runs / "slc_stack" / "T131_VV" / f"{date}.tif")[0] for date in dates)
    assert reference.dtype == np.complex64
    both = (reference != 0) & (secondary != 0)
    product = np.where(both, reference * np.conj(secondary), 0).astype(np.complex128)
    looks, (rows, columns) = task.looks, task.grid.shape
    summed = product.reshape(rows, looks.north, columns, looks.east).sum(axis=(1, 3))
    cross = np.load(runs / task.facts.pair / "mosaic" / "cross.npy")
    seen = cross != 0
    assert seen.any()
    np.testing.assert_allclose(np.abs(summed[seen]), np.abs(cross[seen]), rtol=2e-3)


def test_a_file_says_what_it_holds(made: tuple[Planned, Path]) -> None:
    planned, runs = made
    task = planned.slcs["slc_stack_T131_VV_20250315"]
    with rasterio.open(runs / task.file) as dataset:
        assert dataset.dtypes == ("complex64",)
        assert dataset.nodata == 0
        assert dataset.units == ("digital numbers, uncalibrated",)
        assert dataset.block_shapes == [(tile_rows(task.looks), 512)]
        tags = dataset.tags()
    assert tags["DATE"] == "20250315"
    assert float(tags["WAVELENGTH_M"]) == task.bursts[0].window.burst.wavelength_m
    assert tags["ORBIT"] == task.orbit.name
    assert "topography removed" in tags["PHASE"]
    assert "azimuth misregistration" in tags["NOT_REMOVED"]
    assert inspect(runs / task.file)["shape"] == list(task.grid.refine(task.looks).shape)


def test_equal_dates_have_no_dispersion(made: tuple[Planned, Path]) -> None:
    values, grid, tags = read_geotiff(made[1] / "slc_stack" / "T131_VV" / "amplitude_dispersion.tif")
    assert values.shape == grid.shape
    assert tags["DATES"] == " ".join(DATES)
    assert np.nanmedian(values) < 0.05


# --- dispersion -------------------------------------------------------------------------------------------------


def put_dates(runs: Path, slcs: list[np.ndarray]) -> DispersionTask:
    files = tuple(f"slc_stack/T131_VV/{20250303 + number}.tif" for number in range(len(slcs)))
    fine = GRID.refine(LOOKS)
    for file, values in zip(files, slcs, strict=True):
        with open_geotiff(
            runs / file,
            fine,
            "complex64",
            nodata=0,
            tile_rows=tile_rows(LOOKS),
            labels=Labels(tags={"DATE": file[-12:-4]}),
        ) as dataset:
            dataset.write(values.astype(np.complex64), 1)
    return DispersionTask(job="slc_stack_T131_VV_dispersion", stack="T131_VV", files=files, grid=GRID, looks=LOOKS)


def write_dispersion(task: DispersionTask, runs: Path) -> None:
    dispersion.STEP.run(task, runs, runs / task.job)


def dates(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = GRID.refine(LOOKS).shape
    return [50 * np.exp(rng.normal(0, 0.2, shape) + 1j * rng.uniform(-3, 3, shape)) for _ in range(count)]


def test_dispersion_is_deviation_over_mean(tmp_path: Path) -> None:
    slcs = dates(5)
    task = put_dates(tmp_path, slcs)
    write_dispersion(task, tmp_path)
    amplitudes = np.abs(slcs)
    amplitudes /= amplitudes.mean(axis=(1, 2), keepdims=True)
    found = read_geotiff(tmp_path / task.file)[0]
    np.testing.assert_allclose(found, amplitudes.std(axis=0, ddof=1) / amplitudes.mean(axis=0), rtol=2e-3, atol=1e-4)


def test_brightness_of_a_date_does_not_count(tmp_path: Path) -> None:
    slcs = dates(4)
    plain, bright = put_dates(tmp_path / "a", slcs), put_dates(tmp_path / "b", [slcs[0] * 7, *slcs[1:]])
    write_dispersion(plain, tmp_path / "a")
    write_dispersion(bright, tmp_path / "b")
    np.testing.assert_allclose(
        read_geotiff(tmp_path / "b" / bright.file)[0],
        read_geotiff(tmp_path / "a" / plain.file)[0],
        rtol=1e-3,
        atol=1e-4,
    )


def test_where_two_dates_are_left_there_is_none(tmp_path: Path) -> None:
    slcs = dates(4)
    slcs[0][:10] = 0
    slcs[1][:5] = 0
    task = put_dates(tmp_path, slcs)
    write_dispersion(task, tmp_path)
    found = read_geotiff(tmp_path / task.file)[0]
    assert np.isnan(found[:5]).all()
    assert np.isfinite(found[5:]).all()


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("north", "rows"), [(8, 512), (3, 480), (1, 512), (80, 480), (81, 1296)])
def test_tiles_hold_whole_output_rows(north: int, rows: int) -> None:
    assert tile_rows(Looks(east=4, north=north)) == rows
    assert rows % 16 == rows % north == 0


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "20250303.tif"
    left = tmp_path / ".20250303.abcd.tif"
    left.write_text("left by a killed process")
    with open_geotiff(path, GRID, "float32", nodata=math.nan, tile_rows=16) as dataset:
        assert not path.exists()
        assert not left.exists()
        dataset.write(np.ones((16, GRID.columns), np.float32), 1, window=((0, 16), (0, GRID.columns)))
    values = read_geotiff(path)[0]
    assert (values[:16] == 1).all()
    assert np.isnan(values[16:]).all()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ProductError, match="cannot write"),
        open_geotiff(tmp_path / "file" / "x.tif", GRID, "float32", nodata=0, tile_rows=16),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 6])
def test_dispersion_takes_the_memory_that_is_predicted(tmp_path: Path, count: int) -> None:
    grid = GeoGrid(crs="EPSG:32629", west=0, north=4_000_000, dx=80, dy=80, rows=256, columns=900)
    files = tuple(f"slc_stack/T131_VV/{20250303 + number}.tif" for number in range(count))
    looks = Looks(east=16, north=8)
    task = DispersionTask(job="dispersion", stack="T131_VV", files=files, grid=grid, looks=looks)
    fine = grid.refine(looks)
    values = np.random.default_rng(0).normal(size=fine.shape).astype(np.complex64)
    for file in files:
        labels = Labels(tags={"DATE": file[-12:-4]})
        height = tile_rows(looks)
        with open_geotiff(tmp_path / file, fine, "complex64", nodata=0, tile_rows=height, labels=labels) as dataset:
            dataset.write(values, 1)
    (tmp_path / task.job).mkdir()
    (tmp_path / task.job / "job.json").write_text(dump_tasks({"dispersion": task}))
    script = (
        "from pathlib import Path; from topsar.engines.native.steps import execute;"
        f"execute(Path({str(tmp_path / task.job)!r}), 'dispersion');"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    measured = 1024 * int(found)
    kind = dispersion.STEP
    predicted = kind.cost.needs(kind.size(task), kind.extra_memory(task, 0.0)).memory_bytes
    assert 0.9 * measured < predicted < 1.3 * measured
