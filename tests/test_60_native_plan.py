"""The native engine's plan: which bursts, on which grid, in which jobs."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import count, pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dry_data import (
    DAYS,
    Planned,
    annotation,
    drop_burst,
    drop_burst_ids,
    dry_data,
    dry_recipe,
    rewrite,
)
from topsar.engines.footprint import Outlines, outline_burst, unite_boxes
from topsar.engines.ground import LONLAT, change_crs, find_box, measure_dem_density
from topsar.engines.layout import (
    METRES_PER_DEGREE,
    SNAP_PIXELS,
    can_stack,
    choose_crs,
    choose_looks,
    convert_posting,
    group_connected,
)
from topsar.engines.native.steps.burst_window import BurstWindow
from topsar.engines.survey import MatchedPair, check_pair
from topsar.errors import ProvisionError, SceneError, SettingsError
from topsar.model import BBox, Burst, Dem, Direction, GeoGrid, Looks, OrbitSource, Pair, VerticalDatum
from topsar.raster import Labels, read_geotiff, write_geotiff
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Lifetime
from topsar.sentinel1 import read_bursts, read_orbit
from topsar.settings import Options
from topsar.simulate import Acquisition

REPEAT = timedelta(days=12)

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data folders by what their recipe changes; and where they are kept."""
    return {"": tmp_path_factory.mktemp("planned")}


@pytest.fixture
def make(store: dict[str, Path], tmp_path: Path) -> Make:
    """Gives a data folder after a recipe; each test gets its own to break (its files are links: see `rewrite`)."""
    number = count()

    def give(**changes: object) -> Path:
        key = repr(sorted(changes.items()))
        if key not in store:
            store[key] = store[""] / str(len(store))
            dry_data(store[key], dry_recipe(**changes))
        return shutil.copytree(store[key], tmp_path / f"data {next(number)}", copy_function=os.link)

    return give


def scenes(data: Path) -> list[Path]:
    return sorted((data / "raw").iterdir())


def list_pairs(data: Path, *pairs: str) -> None:
    (data / "pairs.txt").unlink()
    (data / "pairs.txt").write_text("\n".join(pairs) + "\n")


def put_dem(data: Path, heights: Callable[[np.ndarray, np.ndarray], np.ndarray], box: BBox | None = None) -> None:
    """Replace the DEM by a function of longitude and latitude, on a box or on where the DEM was."""
    path = data / "dem" / "dem.tif"
    box = box or read_geotiff(path)[1].bbox
    grid = GeoGrid.cover(box, crs="EPSG:4979", dx=1 / 1200, dy=1 / 1200)
    x = grid.west + (np.arange(grid.columns) + 0.5) * grid.dx
    y = grid.north - (np.arange(grid.rows) + 0.5) * grid.dy
    path.unlink()
    values = heights(*np.meshgrid(x, y)).astype(np.float32)
    write_geotiff(path, values, grid, nodata=math.nan, labels=Labels(unit="m", description="height"))


def flat(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.full(x.shape, 600)


def days_apart(planned: Planned) -> list[timedelta]:
    """Between the two dates of each burst."""
    return [
        both.secondary.burst.grid.first_line_time - both.reference.burst.grid.first_line_time
        for both in planned.pairs[0].bursts
    ]


def is_repeat(planned: Planned) -> bool:
    """Whether all bursts were matched with those of 12 days later; the next one is 2.76 s away."""
    return all(abs(apart - REPEAT) < timedelta(seconds=0.1) for apart in days_apart(planned))


# --- reading ----------------------------------------------------------------------------------------------------


def test_annotations_and_orbits_are_read_once(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, read = make(), Counter[str]()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            read[" ".join(str(getattr(arg, "name", arg)) for arg in args)] += 1
            return function(*args)

        return call

    monkeypatch.setattr("topsar.engines.survey.read_bursts", counted(read_bursts))
    monkeypatch.setattr("topsar.sentinel1.read_orbit", counted(read_orbit))
    planned = Planned(data, tmp_path, before=lambda survey: survey.find_footprint())
    assert not planned.plan.refused
    assert len(read) == 2 * (2 + 1)  # two scenes, each with two swaths and an orbit
    assert set(read.values()) == {1}


# --- matching bursts --------------------------------------------------------------------------------------------


def test_bursts_are_matched_by_id(make: Make, tmp_path: Path) -> None:
    planned = Planned(make(), tmp_path)
    assert not planned.plan.refused
    assert [label[:3] for label in planned.labels()] == ["IW1"] * 3 + ["IW2"] * 3
    assert is_repeat(planned)
    for both in planned.pairs[0].bursts:
        assert both.reference.burst.burst_id == both.secondary.burst.burst_id is not None


def test_without_ids_by_place(make: Make, tmp_path: Path) -> None:
    by_id, by_place = Planned(make(), tmp_path), Planned(make(with_burst_id=False), tmp_path)
    assert by_place.labels() == ["IW1_00", "IW1_01", "IW1_02", "IW2_00", "IW2_01", "IW2_02"]
    assert days_apart(by_place) == days_apart(by_id)
    assert by_place.pairs[0].grid == by_id.pairs[0].grid


@pytest.mark.parametrize("older", [0, 1])
def test_where_one_date_lacks_ids_by_place(make: Make, tmp_path: Path, older: int) -> None:
    data = make()
    for swath in ("IW1", "IW2"):
        drop_burst_ids(scenes(data)[older], swath)
    drop_burst(scenes(data)[1], 0)
    planned = Planned(data, tmp_path)
    assert [both.reference.burst.index for both in planned.pairs[0].bursts] == [0, 1, 2, 1, 2]
    assert [both.secondary.burst.index for both in planned.pairs[0].bursts] == [0, 1, 2, 0, 1]
    assert is_repeat(planned)


@pytest.mark.parametrize("change", [lambda number: number + 1, lambda _: 77], ids=["off by one", "all one"])
def test_wrong_ids_of_one_date_do_no_harm(make: Make, tmp_path: Path, change: Callable[[int], int]) -> None:
    data = make()
    rewrite(
        annotation(scenes(data)[1]),
        lambda text: re.sub(r"(<burstId[^>]*>)(\d+)", lambda found: f"{found[1]}{change(int(found[2]))}", text),
    )
    planned = Planned(data, tmp_path)
    assert len(planned.pairs[0].bursts) == 6
    assert is_repeat(planned)
    assert len({both.secondary.file for both in planned.pairs[0].bursts}) == 6


def test_two_products_of_one_pass_are_no_pair(make: Make, tmp_path: Path) -> None:
    (pair,) = Planned(make(), tmp_path).survey.pairs
    first = pair.reference[0]
    later = replace(first, name=pair.secondary[0].name, start=first.start + REPEAT, stop=first.stop + REPEAT)
    for other in (later, replace(first, absolute_orbit=first.absolute_orbit + 175)):
        with pytest.raises(SceneError, match="are of one pass, S1A of 2025-03-03"):
            check_pair(replace(pair, secondary=(other,)))


def test_a_swath_that_both_dates_lost_is_named(make: Make, tmp_path: Path) -> None:
    data = make()
    for scene in scenes(data):
        for file in scene.rglob("*-iw1-*"):
            file.unlink()
    planned = Planned(data, tmp_path)
    (outlook,) = planned.plan.outlooks.values()
    assert [remark.text for remark in outlook.remarks] == [
        "IW1 is left out: no scene has the annotation that its manifest lists"
    ]
    assert {label[:3] for label in planned.labels()} == {"IW2"}


@pytest.mark.parametrize("with_burst_id", [True, False])
def test_dates_with_other_bursts_share_what_they_share(make: Make, tmp_path: Path, with_burst_id: bool) -> None:
    data = make(with_burst_id=with_burst_id)
    drop_burst(scenes(data)[0], 2)
    drop_burst(scenes(data)[1], 0)
    planned = Planned(data, tmp_path, SWATHS="2")
    (both,) = planned.pairs[0].bursts
    assert (both.reference.burst.index, both.secondary.burst.index) == (1, 0)
    assert is_repeat(planned)


def test_one_swath_without_a_shared_burst_leaves_the_other(make: Make, tmp_path: Path) -> None:
    data = make()
    drop_burst(scenes(data)[0], 2)
    for index in (1, 0):
        drop_burst(scenes(data)[1], index)
    assert [label[:3] for label in Planned(data, tmp_path).labels()] == ["IW1"] * 3
    assert "IW2" in Planned(data, tmp_path, SWATHS="2").problem


def test_slices_of_one_pass_are_joined(make: Make, tmp_path: Path) -> None:
    data = make(slices=2, bursts=2)
    planned = Planned(data, tmp_path, SWATHS="2")
    (task,) = planned.pairs
    times = [both.reference.burst.grid.first_line_time for both in task.bursts]
    apart = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert apart == pytest.approx([2.7583] * 3, abs=0.01)
    assert [both.reference.burst.index for both in task.bursts] == [0, 1, 0, 1]
    assert len({both.reference.burst.measurement for both in task.bursts}) == 2
    assert len({both.reference.file for both in task.bursts}) == 4
    assert len(planned.geocodings) == 4
    assert len(task.facts.reference_scenes) == 2
    assert task.reference_orbit.start < times[0] < times[-1] < task.reference_orbit.stop


def test_a_burst_that_two_slices_repeat_counts_once(make: Make, tmp_path: Path) -> None:
    data = make(slices=2, bursts=2)
    first, second = (annotation(scene) for scene in scenes(data)[:2])
    repeated = re.findall(r"<burst>.*?</burst>", first.read_text(), flags=re.DOTALL)[-1]
    rewrite(second, lambda text: text.replace("<burst>", repeated + "<burst>", 1))
    assert len(Planned(data, tmp_path, SWATHS="2").labels()) == 4


def written(planned: Planned) -> dict[str, BurstWindow]:
    """Geocoded bursts by file."""
    return {window.file: window for task in planned.geocodings.values() for window in task.windows}


def test_a_repeated_burst_of_each_slice_has_a_file_of_its_own(make: Make, tmp_path: Path) -> None:
    data = make(slices=2, bursts=2)
    names = [scene.name for scene in scenes(data)]
    for first, second in (names[:2], names[2:]):
        text = annotation(data / "raw" / first).read_text()
        repeated = re.findall(r"<burst>.*?</burst>", text, flags=re.DOTALL)[-1]
        rewrite(
            annotation(data / "raw" / second),
            lambda text, again=repeated: text.replace("<burst>", again + "<burst>", 1),
        )
    list_pairs(data, f'["{names[0]}", "{names[1]}"], ["{names[2]}", "{names[3]}"]', f'"{names[1]}", "{names[3]}"')
    planned = Planned(data, tmp_path, SWATHS="2")
    assert [len(task.bursts) for task in planned.pairs] == [4, 3]
    files = written(planned)
    for task in planned.pairs:
        for both in task.bursts:
            assert files[both.reference.file] == both.reference
            assert files[both.secondary.file] == both.secondary


def test_a_pass_may_have_fewer_slices_than_the_other(make: Make, tmp_path: Path) -> None:
    data = make(slices=2, bursts=2)
    names = [scene.name for scene in scenes(data)]
    list_pairs(data, f'["{names[0]}", "{names[1]}"], "{names[3]}"')
    planned = Planned(data, tmp_path, SWATHS="2")
    assert len(planned.labels()) == 2
    assert is_repeat(planned)


def test_zips_give_the_same_plan(make: Make, tmp_path: Path) -> None:
    folders, zips = Planned(make(), tmp_path), Planned(make(zipped=True), tmp_path)
    assert zips.labels() == folders.labels()
    assert zips.pairs[0].grid == folders.pairs[0].grid
    for packed, plain in zip(zips.pairs[0].bursts, folders.pairs[0].bursts, strict=True):
        assert packed.reference.grid == plain.reference.grid
        assert packed.reference.burst.measurement.startswith("/vsizip/{")
        assert replace(packed.reference.burst, measurement=plain.reference.burst.measurement) == plain.reference.burst


def test_passes_without_orbit_files_use_the_annotation(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make()
    (data / "orbit_data" / sorted(p.name for p in (data / "orbit_data").iterdir())[1]).unlink()
    task = Planned(data, tmp_path).pairs[0]
    assert task.reference_orbit.source is OrbitSource.PRECISE
    assert task.secondary_orbit.source is OrbitSource.ANNOTATION
    assert task.secondary_orbit.name == f"annotation of {task.facts.secondary_scenes[0]}"
    (warning,) = (record.message for record in caplog.records)
    assert "S1A 2025-03-15 16:0" in warning


def without_orbit_files(data: Path) -> Path:
    for path in (data / "orbit_data").iterdir():
        path.unlink()
    return data


def test_every_scene_is_geocoded_with_its_own_annotation(make: Make, tmp_path: Path) -> None:
    data = without_orbit_files(make(slices=2, bursts=2))
    names = [scene.name for scene in scenes(data)]
    list_pairs(data, f'"{names[0]}", "{names[2]}"', f'"{names[1]}", "{names[3]}"')
    planned = Planned(data, tmp_path, SWATHS="2")
    assert len(planned.geocodings) == 4
    for task in planned.geocodings.values():
        assert {window.burst.scene for window in task.windows} == {scene.name for scene in task.orbit.scenes}


def test_annotations_of_a_pass_are_joined(make: Make, tmp_path: Path) -> None:
    data = without_orbit_files(make(slices=2, bursts=2))
    vectors = [re.findall(r"\s*<orbit>.*?</orbit>", annotation(s).read_text(), flags=re.DOTALL) for s in scenes(data)]
    for scene, gone in ((scenes(data)[0], vectors[0][-3:]), (scenes(data)[1], vectors[1][:3])):
        rewrite(annotation(scene), lambda text, gone=gone: "".join(re.split("|".join(map(re.escape, gone)), text)))
    orbit = Planned(data, tmp_path, SWATHS="2").pairs[0].reference_orbit
    joined, parts = orbit.load("IW2", "VV"), [replace(orbit, scenes=(s,)).load("IW2", "VV") for s in orbit.scenes]
    assert orbit.name == f"annotation of {orbit.scenes[0].name}, {orbit.scenes[1].name}"
    assert (np.diff(joined.times_s) > 0).all()
    reach = [part.times_s[[0, -1]] + (part.epoch - joined.epoch).total_seconds() for part in parts]
    assert joined.times_s[[0, -1]] == pytest.approx([reach[0][0], reach[1][1]])
    assert set(joined.positions_m[:, 0]) == {x for part in parts for x in part.positions_m[:, 0]}


def test_annotation_that_does_not_cover_its_bursts(make: Make, tmp_path: Path) -> None:
    data = make()
    without_orbit_files(data)

    def shortened(text: str) -> str:
        vectors = re.findall(r"\s*<orbit>.*?</orbit>", text, flags=re.DOTALL)
        for vector in vectors[3:]:
            text = text.replace(vector, "")
        return text

    rewrite(annotation(scenes(data)[1], "IW1"), shortened)
    problem = Planned(data, tmp_path).problem
    assert re.search(r"burst IW1_\d{6} of S1A\S+_20250315\S+: .* 2025-03-15T", problem)
    assert "orbit_data" in problem


# --- what a pair must have --------------------------------------------------------------------------------------


def test_hh(make: Make, tmp_path: Path) -> None:
    data = make(polarisations=("HH",))
    planned = Planned(data, tmp_path)
    assert planned.pairs[0].facts.polarisation == "HH"
    assert all(job.id.endswith("_HH") for job in planned.plan.jobs if not job.is_pair)
    problem = Planned(data, tmp_path, POLARIZATION="VV").problem
    assert re.search(r"no VV.*: (S1A_IW_SLC__1SSH\S+ has HH(; )?){2}", problem)
    assert "POLARIZATION" in problem


def test_descending(make: Make, tmp_path: Path) -> None:
    planned = Planned(make(direction=Direction.DESCENDING), tmp_path)
    assert planned.pairs[0].facts.direction == "descending"
    assert is_repeat(planned)
    west = [both.reference.grid.bbox.west for both in planned.pairs[0].bursts]
    assert west[0] > west[3]  # seen from the east, near range lies there


def test_the_direction_is_that_of_the_orbit(make: Make, tmp_path: Path) -> None:
    data = make()
    rewrite(scenes(data)[1] / "manifest.safe", lambda text: text.replace(">ASCENDING<", ">DESCENDING<"))
    planned = Planned(data, tmp_path)
    assert planned.pairs[0].facts.direction == "ascending"
    pair = planned.survey.pairs[0]
    turned = replace(pair, secondary=tuple(replace(one, direction=Direction.DESCENDING) for one in pair.secondary))
    with pytest.raises(SceneError, match=r"S1A\S+_20250315\S+ is descending, S1A\S+_20250303\S+ ascending"):
        check_pair(turned)


def test_a_refused_pair_leaves_the_others(make: Make, tmp_path: Path) -> None:
    data = make(acquisitions=DAYS)
    rewrite(
        scenes(data)[1] / "manifest.safe", lambda text: text.replace('Number type="start">131', 'Number type="start">8')
    )
    planned = Planned(data, tmp_path)
    assert sorted(planned.plan.refused) == [
        pair.id for pair in sorted(planned.survey.pairs, key=lambda pair: pair.id) if "20250315" in pair.id
    ]
    assert [task.facts.pair[-15:-7] for task in planned.pairs] == ["20250327"]


def number_track(scene: Path, track: int) -> None:
    """Let a manifest say another relative orbit."""
    rewrite(
        scene / "manifest.safe",
        lambda text: re.sub(r'(relativeOrbitNumber type="start">)\d+', rf"\g<1>{track}", text),
    )


@pytest.mark.parametrize("later", [(1,), (3,), (1, 2, 3), (2, 3)])
def test_tracks_are_counted_on_at_the_equator(make: Make, tmp_path: Path, later: tuple[int, ...]) -> None:
    data = make(slices=2, bursts=2)
    for index in later:
        number_track(scenes(data)[index], 132)
    planned = Planned(data, tmp_path, SWATHS="2")
    assert not planned.plan.refused
    assert len(planned.labels()) == 4
    assert is_repeat(planned)


def test_the_next_orbit_is_of_another_track(make: Make, tmp_path: Path) -> None:
    (pair,) = Planned(make(), tmp_path).survey.pairs
    scene = pair.secondary[0]
    for track, start in ((132, timedelta(minutes=98.7)), (130, -timedelta(minutes=98.7)), (133, timedelta(0))):
        other = replace(scene, track=track, start=scene.start + start)
        with pytest.raises(SceneError, match=rf"is of track {track}, S1A\S+ of track 131"):
            check_pair(replace(pair, secondary=(other,)))
    first, last = (replace(one, track=track) for one, track in ((pair.reference[0], 175), (scene, 1)))
    check_pair(Pair(reference=(first,), secondary=(last,)))


def test_a_pair_across_the_180th_meridian_is_refused_alone(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def across(burst: Burst, *others: Any) -> tuple[np.ndarray, np.ndarray]:
        lon, lat = outline_burst(burst, *others)
        return (lon - lon.mean() + 360) % 360 - 180 if "_20250327" in burst.scene else lon, lat

    monkeypatch.setattr("topsar.engines.footprint.outline_burst", across)
    planned = Planned(make(acquisitions=DAYS), tmp_path)
    assert len(planned.pairs) == 1
    for problem in planned.plan.refused.values():
        assert re.search(r"burst IW\d_\d+ of S1A\S+_20250327\S+ crosses the 180th meridian", str(problem))


def test_swaths(make: Make, tmp_path: Path) -> None:
    data = make()
    planned = Planned(data, tmp_path, SWATHS="IW1")
    assert {label[:3] for label in planned.labels()} == {"IW1"}
    assert len(planned.geocodings) == 2
    problem = Planned(data, tmp_path, SWATHS="3").problem
    assert "IW3" in problem
    assert problem.count(": IW1, IW2") == 2  # what both dates have


# --- the grid ---------------------------------------------------------------------------------------------------


def middle(grid: GeoGrid) -> tuple[float, float]:
    """Longitude and latitude of the middle of a lat/lon grid."""
    return grid.bbox.centre


def test_region_cuts_bursts_and_grid(make: Make, tmp_path: Path) -> None:
    data = make()
    whole = Planned(data, tmp_path, CRS="latlon")
    lon, lat = middle(whole.pairs[0].bursts[4].reference.grid)  # the middle burst of IW2
    region = BBox(west=lon - 0.01, south=lat - 0.004, east=lon + 0.01, north=lat + 0.004)
    roi = f"{region.south},{region.north},{region.west},{region.east}"
    planned = Planned(data, tmp_path, ROI=roi, CRS="latlon")
    assert whole.labels()[4] in planned.labels()
    assert len(planned.labels()) < 6
    (task,) = planned.pairs
    assert task.grid.bbox.contains(region.grow(-1e-9))
    assert region.grow(2 * task.grid.dx).contains(task.grid.bbox)
    for both in task.bursts:
        assert region.grow(2 * task.grid.dx).contains(both.reference.grid.bbox)


@pytest.mark.parametrize("roi", ["10,11,28,29", "37,37.1,20,21"])
def test_region_outside_is_refused(make: Make, tmp_path: Path, roi: str) -> None:
    problem = Planned(make(), tmp_path, ROI=roi).problem
    assert re.search(r"no burst of T131_\S+ .*\n?.*hint: ROI", problem)


def matched(planned: Planned) -> MatchedPair:
    options = planned.settings.options
    return planned.survey.match(planned.survey.pairs[0], Outlines(planned.inputs.dem, options.roi))


def roi(box: BBox) -> str:
    return f"{box.south},{box.north},{box.west},{box.east}"


def test_region_beside_the_slanted_bursts_is_refused(make: Make, tmp_path: Path) -> None:
    data = make()
    box = find_box(*matched(Planned(data, tmp_path, SWATHS="2")).outlines[1][0])
    for west, south in ((box.west, box.south), (box.east - 0.004, box.north - 0.004)):
        corner = BBox(west=west, south=south, east=west + 0.004, north=south + 0.004)
        assert "hint: ROI" in Planned(data, tmp_path, SWATHS="2", ROI=roi(corner)).problem


def test_region_that_only_high_ground_brings_into_view(make: Make, tmp_path: Path) -> None:
    data = make()
    put_dem(data, lambda *at: np.full(at[0].shape, 3000), read_geotiff(data / "dem" / "dem.tif")[1].bbox.grow(0.2))
    whole = matched(Planned(data, tmp_path, SWATHS="2"))
    burst, (lon, lat) = whole.bursts[1].reference, whole.outlines[1][0]
    sea_level = find_box(*outline_burst(burst, whole.orbits[0].load("IW2", "VV"), (0.0,)))
    tip = int(lon.argmax())
    region = BBox(west=lon[tip] - 0.02, south=lat[tip] - 0.01, east=lon[tip], north=lat[tip] + 0.01)
    assert not region.intersects(sea_level)
    assert burst.label in Planned(data, tmp_path, SWATHS="2", ROI=roi(region)).labels()


def test_utm_grid_is_snapped(make: Make, tmp_path: Path) -> None:
    (task,) = Planned(make(), tmp_path, POSTING="70").pairs
    assert task.grid.crs == "EPSG:32635"
    for grid in (task.grid, *(both.secondary.grid for both in task.bursts)):
        assert grid.dx == grid.dy == 70
        assert grid.west % 70 == 0
        assert grid.north % 70 == 0


@pytest.mark.parametrize("flags", [{"POSTING": "500", "LOOKS": "1x1"}, {"LOOKS": "200x8"}])
def test_looks_that_make_unusable_fine_pixels_are_refused(make: Make, tmp_path: Path, flags: dict[str, str]) -> None:
    problem = Planned(make(), tmp_path, **flags).problem
    assert f"LOOKS={flags['LOOKS']} with POSTING={flags.get('POSTING', '80')}" in problem
    assert "hint: LOOKS=auto" in problem


def test_grid_of_a_stack_ends_at_whole_multiples(make: Make, tmp_path: Path) -> None:
    (task,) = Planned(make(), tmp_path).pairs
    box, step = task.grid.bbox, 80 * SNAP_PIXELS
    assert [edge % step for edge in (box.west, box.south, box.east, box.north)] == [0, 0, 0, 0]


def test_latlon_grid_is_snapped_to_whole_degrees(make: Make, tmp_path: Path) -> None:
    (task,) = Planned(make(), tmp_path, CRS="latlon").pairs
    assert task.grid.crs == "EPSG:4326"
    per_degree = 1 / task.grid.dx
    assert per_degree == pytest.approx(round(per_degree), abs=1e-9)
    assert task.grid.dx * METRES_PER_DEGREE == pytest.approx(80, rel=1e-3)
    for edge in (task.grid.west, task.grid.north):
        assert edge * per_degree == pytest.approx(round(edge * per_degree), abs=1e-6)


def test_windows_lie_on_the_grid(make: Make, tmp_path: Path) -> None:
    for crs in ("auto", "latlon", "EPSG:32636"):
        (task,) = Planned(make(), tmp_path, CRS=crs).pairs
        for both in task.bursts:
            for grid in (both.reference.grid, both.secondary.grid):
                window = task.grid.window_of(grid)
                assert task.grid.crop(window).bbox.west == pytest.approx(grid.west, abs=1e-6 * grid.dx)
                assert window.row >= 0 <= window.column
                assert window.row_stop <= task.grid.rows
                assert window.column_stop <= task.grid.columns


def test_pairs_of_one_track_share_one_grid(make: Make, tmp_path: Path) -> None:
    planned = Planned(make(acquisitions=DAYS), tmp_path)
    assert len(planned.pairs) == 3
    assert len({task.grid for task in planned.pairs}) == 1


def two_frames(make: Make, **changes: object) -> Path:
    """A data folder with a frame of another recipe besides."""
    data, other = make(), make(**changes)
    shutil.copytree(other / "raw", data / "raw", dirs_exist_ok=True)
    shutil.rmtree(data / "orbit_data")  # each frame is simulated on an orbit of its own: its annotation has it
    both = [line for folder in (data, other) for line in (folder / "pairs.txt").read_text().splitlines()[1:]]
    list_pairs(data, *both)
    box = read_geotiff(data / "dem" / "dem.tif")[1].bbox.union(read_geotiff(other / "dem" / "dem.tif")[1].bbox)
    put_dem(data, flat, box)
    return data


def test_frames_apart_have_grids_of_their_own(make: Make, tmp_path: Path) -> None:
    planned = Planned(two_frames(make, centre=(38.4, 28.1)), tmp_path)
    assert not planned.plan.refused
    assert len({task.facts.pair for task in planned.pairs}) == 2
    assert not planned.pairs[0].grid.bbox.intersects(planned.pairs[1].grid.bbox)


def test_tracks_apart_have_projections_of_their_own(make: Make, tmp_path: Path) -> None:
    data = two_frames(make, centre=(37.2, 37.0), track=160)
    both = Planned(data, tmp_path)
    assert [task.grid.crs for task in both.pairs] == ["EPSG:32635", "EPSG:32637"]
    one_zone = Planned(data, tmp_path, CRS="EPSG:32635")
    assert [task.facts.track for task in one_zone.pairs] == [131]
    assert "CRS=EPSG:32635" in one_zone.problem
    list_pairs(data, (data / "pairs.txt").read_text().splitlines()[0])
    alone = Planned(data, tmp_path).signatures()
    assert alone == {key: both.signatures()[key] for key in alone}


def test_frames_apart_have_looks_of_their_own(make: Make, tmp_path: Path) -> None:
    planned = Planned(two_frames(make, centre=(52.0, 28.1)), tmp_path, CRS="latlon")
    assert [str(task.looks) for task in planned.pairs] == ["13x8", "10x8"]
    for task in planned.pairs:
        for both in task.bursts:
            assert planned.geocodings[both.reference.file.partition("/")[0]].looks == task.looks


def test_groups_do_not_depend_on_the_order_of_pairs(make: Make, tmp_path: Path) -> None:
    one = matched(Planned(make(), tmp_path))

    def at(west: float, east: float) -> MatchedPair:
        box = BBox(west=west, south=0, east=east, north=1)
        sides = (
            tuple(replace(scene, name=f"{west}_{scene.name}") for scene in scenes)
            for scenes in (one.pair.reference, one.pair.secondary)
        )
        return replace(one, box=box, pair=Pair(reference=next(sides), secondary=next(sides)))

    chain = [at(0, 2), at(1, 4), at(3, 6), at(5, 8), at(9, 10)]
    for order in permutations(chain):
        groups = sorted(sorted(pair.box.west for pair in group) for group in group_connected(order, can_stack))
        assert groups == [[0, 1, 3, 5], [9]]
    shared = [replace(one, box=pair.box) for pair in (chain[0], chain[4])]
    assert len(group_connected(shared, can_stack)) == 1


@pytest.mark.parametrize(
    ("text", "box", "crs"),
    [
        ("auto", BBox(west=28, south=37, east=29, north=38), "EPSG:32635"),
        ("utm", BBox(west=-180, south=-19, east=-179, north=-18), "EPSG:32701"),
        ("auto", BBox(west=179, south=60, east=180, north=61), "EPSG:32660"),
        ("auto", BBox(west=28, south=-1.5, east=31.9, north=0.5), "EPSG:32735"),
        ("latlon", BBox(west=0, south=0, east=40, north=1), "EPSG:4326"),
        ("EPSG:4326", BBox(west=28, south=37, east=29, north=38), "EPSG:4326"),
        ("epsg:32636", BBox(west=28, south=37, east=29, north=38), "EPSG:32636"),
        ("EPSG:3035", BBox(west=5, south=45, east=6, north=46), "EPSG:3035"),
    ],
)
def test_projection(text: str, box: BBox, crs: str) -> None:
    assert choose_crs(Options(crs=text), box) == crs


def test_projection_of_the_region_of_interest() -> None:
    batch = BBox(west=27, south=37, east=31, north=38)
    assert choose_crs(Options(roi="37,38,30.5,31"), batch) == "EPSG:32636"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("EPSG:99999", "CRS=EPSG:99999"),
        ("EPSG:4258", r"CRS=EPSG:4258 \(ETRS89\)"),
        ("EPSG:2225", r"CRS=EPSG:2225 \(NAD83 / California zone 1 \(ftUS\)\)"),
        (
            "EPSG:32601",
            r"\(WGS 84 / UTM zone 1N\) is made for latitudes 0 to 84, longitudes -180 to -174; "
            r"the pairs lie around latitude 37.5, longitude 28.5",
        ),
        ("EPSG:32735", r"\(WGS 84 / UTM zone 35S\).* -80 to 0"),
    ],
)
def test_projection_that_cannot_be_used(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        choose_crs(Options(crs=text), BBox(west=28, south=37, east=29, north=38))
    assert "CRS=utm" in caught.value.hint


def test_projection_that_does_not_exist_stops_the_batch(make: Make, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CRS=EPSG:99999"):
        Planned(make(acquisitions=DAYS), tmp_path, CRS="EPSG:99999")


def test_batch_too_wide_for_one_zone() -> None:
    with pytest.raises(ProvisionError, match=r"10\.0 to 30\.0 degrees"):
        choose_crs(Options(), BBox(west=10, south=37, east=30, north=38))


@pytest.mark.parametrize(
    ("options", "looks"),
    [
        ({"posting_m": 80}, Looks(east=16, north=8)),
        ({"posting_m": 40}, Looks(east=8, north=4)),
        ({"posting_m": 3}, Looks(east=1, north=1)),
        ({"posting_m": 80, "looks": "10x4"}, Looks(east=10, north=4)),
        ({"posting_m": 80, "crs": "latlon"}, Looks(east=8, north=8)),  # 60 N: a degree east is half as long
    ],
)
def test_looks(options: dict[str, object], looks: Looks) -> None:
    box = BBox(west=28, south=59.5, east=29, north=60.5)
    chosen = Options(**options)  # type: ignore[arg-type]
    crs = choose_crs(chosen, box)
    assert choose_looks(chosen, crs, convert_posting(crs, chosen.posting_m), box) == looks


def test_posting_and_looks_reach_the_tasks(make: Make, tmp_path: Path) -> None:
    planned = Planned(make(), tmp_path, POSTING="40", LOOKS="9x5")
    assert planned.pairs[0].grid.dx == 40
    for task in (planned.pairs[0], *planned.geocodings.values()):
        assert task.looks == Looks(east=9, north=5)


def test_dem_that_ends_inside_the_bursts_is_refused(make: Make, tmp_path: Path) -> None:
    data = make()
    (task,) = Planned(data, tmp_path, CRS="latlon").pairs
    box = task.grid.bbox
    put_dem(data, flat, BBox(west=box.west, south=box.south, east=box.east, north=box.centre[1]))
    problem = Planned(data, tmp_path).problem
    assert re.search(r"dem\.tif covers .*west 28\.\d+, .*, which leaves .* without heights", problem)


def test_dem_must_cover_the_whole_grid_before_anything_starts(make: Make, tmp_path: Path) -> None:
    data = make()
    (task,) = Planned(data, tmp_path, CRS="latlon").pairs
    needed = unite_boxes([window.grid.bbox for both in task.bursts for window in (both.reference, both.secondary)])
    assert task.grid.bbox.contains(needed)
    put_dem(data, flat, needed.grow(-6 * task.grid.dx))
    assert "without heights" in Planned(data, tmp_path, CRS="latlon").problem
    put_dem(data, flat, needed.grow(0.001))
    assert not Planned(data, tmp_path, CRS="latlon").plan.refused


# --- jobs -------------------------------------------------------------------------------------------------------


def test_a_burst_that_pairs_share_is_geocoded_once(make: Make, tmp_path: Path) -> None:
    planned = Planned(make(acquisitions=DAYS), tmp_path)
    assert len(planned.geocodings) == 6  # three dates, two swaths
    assert [job.is_pair for job in planned.plan.jobs].count(True) == 3
    assert len(planned.views) == 2  # the first date is the reference of two pairs
    assert all(len(task.windows) == 3 for task in planned.geocodings.values())


@pytest.mark.parametrize("posting", ["10", "11"])
def test_pairs_read_shared_bursts_where_they_were_written(make: Make, tmp_path: Path, posting: str) -> None:
    data = make(acquisitions=DAYS)
    box = read_geotiff(data / "dem" / "dem.tif")[1].bbox.grow(0.3)
    put_dem(data, lambda x, y: 8000 * (x - x.min()) + 3000 * (y - y.min()), box)  # other heights in every box
    planned = Planned(data, tmp_path, POSTING=posting)
    files = written(planned)
    for task in planned.pairs:
        for both in task.bursts:
            assert files[both.reference.file] == both.reference
            assert files[both.secondary.file] == both.secondary


def test_jobs_fit_together(make: Make, tmp_path: Path) -> None:
    planned = Planned(make(acquisitions=DAYS), tmp_path)
    graph = build_graph(planned.plan.jobs)
    pairs = {task.facts.pair: task for task in planned.pairs}
    for job in planned.plan.jobs:
        if not job.is_pair:
            kept = Lifetime.RESTART if job.id in planned.views else Lifetime.SCRATCH
            assert [artifact.lifetime for artifact in job.steps[0].writes] == [kept]
            continue
        files = {name for both in pairs[job.id].bursts for name in (both.reference.file, both.secondary.file)}
        swaths = [f"multiply_{swath}" for swath in pairs[job.id].swaths]
        assert [step.name for step in job.steps] == [*swaths, "mosaic", "filter", "unwrap"]
        assert {name for step in job.steps[: len(swaths)] for name in step.reads} == {
            name.rpartition("/")[0] for name in files
        }
        for name in swaths:
            feeding = {parent[0] for parent in graph.nodes[job.id, name].parents}
            assert all(name.removeprefix("multiply_") in scene for scene in feeding)
        assert set(graph.nodes[job.id, "mosaic"].parents) == {(job.id, name) for name in swaths}
        assert job.shared == (pairs[job.id].collect.view,)
    order = [job.id for job in planned.plan.jobs]
    assert all(
        order.index(name) <= order.index(node[0]) for node in graph.nodes for name, _ in graph.nodes[node].parents
    )


def test_memory_for_the_crop_of_a_fine_dem(make: Make, tmp_path: Path) -> None:
    data = make()
    before = Planned(data, tmp_path)
    box = read_geotiff(data / "dem" / "dem.tif")[1].bbox
    density = measure_dem_density(before.inputs.dem, box)
    assert density == pytest.approx(1200**2)
    values, grid, _ = read_geotiff(data / "dem" / "dem.tif")
    (data / "dem" / "dem.tif").unlink()
    fine = np.repeat(np.repeat(values, 4, axis=0), 4, axis=1)
    write_geotiff(data / "dem" / "dem.tif", fine, grid.refine(Looks(east=4, north=4)), nodata=math.nan)
    after = Planned(data, tmp_path)
    for old, new in zip(before.plan.jobs, after.plan.jobs, strict=True):
        assert new.steps[0].needs.memory_bytes - old.steps[0].needs.memory_bytes > 0.9 * smallest_crop(before) * 15 * 4


def smallest_crop(planned: Planned) -> float:
    """Postings of 3 arc seconds under the smallest of the largest windows of geocoding jobs."""
    sizes = [max(w.grid.rows * w.grid.columns * w.grid.dx**2 for w in t.windows) for t in planned.geocodings.values()]
    return min(sizes) / (METRES_PER_DEGREE**2 * math.cos(math.radians(37))) * 1200**2


def test_density_of_a_projected_dem(tmp_path: Path) -> None:
    grid = GeoGrid(crs="EPSG:32735", west=500_000, north=9_990_000, dx=100, dy=50, rows=200, columns=100)
    write_geotiff(tmp_path / "dem.tif", np.zeros(grid.shape, np.float32), grid, nodata=math.nan)
    lon, lat = change_crs(grid.crs, LONLAT, np.array(505_000.0), np.array(9_985_000.0))
    spot = BBox(west=float(lon) - 0.01, south=float(lat) - 0.01, east=float(lon) + 0.01, north=float(lat) + 0.01)
    density = measure_dem_density(Dem(path=tmp_path / "dem.tif", datum=VerticalDatum.ELLIPSOID), spot)
    assert density == pytest.approx(111_320 / 100 * 110_574 / 50, rel=2e-3)


# --- signatures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
def test_signatures_hold_when_the_data_move(make: Make, tmp_path: Path, zipped: bool) -> None:
    data = make(zipped=zipped)
    (data / "orbit_data" / sorted(p.name for p in (data / "orbit_data").iterdir())[1]).unlink()
    before = Planned(data, tmp_path).signatures()
    assert Planned(shutil.copytree(data, tmp_path / "copied"), tmp_path).signatures() == before
    assert Planned(data.rename(tmp_path / "moved"), tmp_path).signatures() == before


def changed(before: Planned, after: Planned) -> set[str]:
    """Names of the steps whose checkpoint keys differ."""
    first, second = (build_graph(planned.plan.jobs).nodes for planned in (before, after))
    assert set(first) == set(second)
    return {node[1] for node in first if first[node].key != second[node].key}


@pytest.mark.parametrize(
    "pattern", ["raw/*20250315*/measurement/*.tiff", "orbit_data/*20250314T*", "dem/dem.tif", "geoid.tif", "raw/*.zip"]
)
def test_another_input_of_the_same_name_changes_them(make: Make, tmp_path: Path, pattern: str) -> None:
    data = make(zipped=pattern.endswith("zip"))
    geoid = data / "geoid.tif"
    whole = GeoGrid(crs="EPSG:4326", west=0, north=60, dx=1, dy=1, rows=60, columns=60)
    write_geotiff(geoid, np.full(whole.shape, 30, np.float32), whole, nodata=math.nan)
    put_dem(data, flat)
    rename_crs(data / "dem" / "dem.tif", "EPSG:4326")
    flags = {"DEM_DATUM": "egm96", "GEOID": str(geoid)}
    before = Planned(data, tmp_path, **flags)
    path = sorted(data.glob(pattern))[0]
    stat = path.stat()
    shutil.copy2(path, data / "copy")
    (data / "copy").replace(path)  # so that the time of no link elsewhere changes
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert "geocode" in changed(before, Planned(data, tmp_path, **flags))


def rename_crs(path: Path, crs: str) -> None:
    values, grid, _ = read_geotiff(path)
    path.unlink()
    write_geotiff(path, values, replace(grid, crs=crs), nodata=math.nan)


# --- networks and delays ----------------------------------------------------------------------------------------

MORE_DAYS = (*DAYS, Acquisition(day=date(2025, 4, 8)), Acquisition(day=date(2025, 4, 20)))


def pairs_of(data: Path, *pairs: tuple[int, int]) -> None:
    names = [scene.name for scene in scenes(data)]
    list_pairs(data, *(f'"{names[a]}", "{names[b]}"' for a, b in pairs))


def test_pairs_that_share_dates_are_one_network(make: Make, tmp_path: Path) -> None:
    data = make(acquisitions=MORE_DAYS)
    pairs_of(data, (0, 1), (3, 4), (1, 2))
    planned = Planned(data, tmp_path, SWATHS="2", ESD="network")
    ids = [task.facts.pair for task in planned.pairs]
    assert sorted(sorted(pair.pair for pair in task.pairs) for task in planned.networks.values()) == [
        sorted([ids[0], ids[2]]),
        [ids[1]],
    ]
    graph = build_graph(planned.plan.jobs)
    for task in planned.pairs:
        (network,) = (name for name, one in planned.networks.items() if task.facts.pair in {p.pair for p in one.pairs})
        assert task.filter.network == f"{network}/solve"
        assert set(graph.nodes[task.facts.pair, "filter"].parents) == {
            (task.facts.pair, "mosaic"),
            (network, "solve"),
        }
    assert not Planned(data, tmp_path, SWATHS="2").networks


def test_slices_of_a_pass_share_its_timing(make: Make, tmp_path: Path) -> None:
    data = make(slices=2, bursts=2)
    names = [scene.name for scene in scenes(data)]
    list_pairs(data, f'"{names[0]}", "{names[2]}"', f'"{names[1]}", "{names[3]}"')
    (network,) = Planned(data, tmp_path, SWATHS="2", ESD="network").networks.values()
    assert len({(pair.reference, pair.secondary) for pair in network.pairs}) == 1
    assert len(network.pairs) == 2


def test_delays_are_against_the_earliest_date(make: Make, tmp_path: Path) -> None:
    data = make(acquisitions=DAYS)
    planned = Planned(data, tmp_path, RANGE_REGISTRATION="auto")
    assert len(planned.delays) == 2
    assert {task.reference_orbit.start.day for task in planned.delays.values()} == {DAYS[0].day.day}
    graph = build_graph(planned.plan.jobs)
    for name, geocoding in planned.geocodings.items():
        parents = {parent[0] for parent in graph.nodes[name, "geocode"].parents}
        date_of = geocoding.orbit.start.day
        assert parents == {one for one, task in planned.delays.items() if task.orbit.start.day == date_of}
        assert len(parents) == (0 if date_of == DAYS[0].day.day else 1)
    for task in planned.pairs:
        assert len(task.mosaic.delays) == len({task.facts.reference_date.day, task.facts.secondary_date.day} - {3})
        assert {f"{name}/delay" for name in planned.delays} >= set(task.mosaic.delays)
    for task in planned.delays.values():
        assert [near.burst.swath for near, _ in task.bursts] == ["IW1"] * 3 + ["IW2"] * 3
        assert all(near.burst.burst_id == far.burst.burst_id for near, far in task.bursts)


@pytest.mark.parametrize("with_burst_id", [True, False])
def test_delays_are_found_on_the_same_ground(make: Make, tmp_path: Path, with_burst_id: bool) -> None:
    data = make(slices=2, bursts=2, with_burst_id=with_burst_id)
    drop_burst(scenes(data)[0], 0)
    planned = Planned(data, tmp_path, SWATHS="2", RANGE_REGISTRATION="auto")
    assert len(planned.delays) == 2  # one per slice
    for task in planned.delays.values():
        for near, far in task.bursts:
            apart = far.burst.grid.first_line_time - near.burst.grid.first_line_time
            assert abs(apart - REPEAT) < timedelta(seconds=0.1)


@pytest.mark.parametrize("flags", [{}, {"RANGE_REGISTRATION": "auto"}])
def test_a_later_date_changes_nothing_that_is_there(make: Make, tmp_path: Path, flags: dict[str, str]) -> None:
    data = make(acquisitions=DAYS)
    after = build_graph(Planned(data, tmp_path, **flags).plan.jobs).nodes
    pairs_of(data, (0, 1))
    before = build_graph(Planned(data, tmp_path, **flags).plan.jobs).nodes
    assert {node: before[node].key for node in before} == {node: after[node].key for node in before}
