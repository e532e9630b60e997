"""The phase with orbits of two kinds, and with an annotated orbit that is wrong on one date, against the truth."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dry_data import Planned, annotation, rewrite, simulate_with_short_orbits
from tie_points import read_tie_points
from topsar.errors import SceneError
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import Interferogram
from topsar.kernels.geometry import geodetic_to_ecef
from topsar.sentinel1 import (
    check_orbit_file,
    choose_orbit,
    find_orbits,
    open_scene,
    read_annotation_orbit,
    read_orbit,
)
from topsar.simulate import Acquisition, recipe
from topsar.simulate.compare import Comparison, compare_pair
from topsar.simulate.recipe import SwathCut

DAYS = (Acquisition(day=date(2025, 3, 3)), Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=60.0))
CUT = SwathCut(swath="IW2", first_sample=12000, samples=500)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of two short bursts."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_with_short_orbits(folder, replace(recipe("tiny"), acquisitions=DAYS, cuts=(CUT,)))
    return folder


@pytest.fixture
def data(simulated: Path, tmp_path: Path) -> Path:
    """A copy of which any file may be replaced."""
    return shutil.copytree(simulated, tmp_path / "data", copy_function=os.link)


def orbit_file(data: Path) -> Path:
    """Of the second date."""
    (path,) = (data / "orbit_data").glob("*_V20250314T*")
    return path


def process(data: Path, scratch: Path) -> Interferogram:
    return Planned(data, scratch / "planned", UNWRAPPER="none", ESD="off").execute(scratch / "runs")


def compare(data: Path, found: Interferogram, scratch: Path) -> Comparison:
    GeoTiff().write([found], scratch)
    (scratch / "facts.json").write_text(json.dumps(found.facts, default=str))
    return compare_pair(scratch, data / "truth")


def displace(tag: str, offset_m: float) -> Callable[[str], str]:
    """Add metres to one coordinate of the position of every state vector of an annotation."""

    def change(text: str) -> str:
        vector = rf"(<position>(?:(?!</position>).)*?<{tag}>)([^<]+)"
        return re.sub(vector, lambda m: f"{m[1]}{float(m[2]) + offset_m:.6f}", text, flags=re.DOTALL)

    return change


def shift(tag: str, offset_m: float) -> Callable[[str], str]:
    """Add metres to one coordinate of the position of every state vector of an orbit file."""

    def change(text: str) -> str:
        return re.sub(rf'(<{tag}(?: unit="m")?>)([^<]+)', lambda m: f"{m[1]}{float(m[2]) + offset_m:.6f}", text)

    return change


def check_truth(found: Comparison) -> None:
    assert found.pixels > 5_000
    assert abs(found.mean_rad) < 0.03
    assert found.deviation_rad < 1.2 * found.expected_rad
    assert found.tilt_rad < 0.1


def test_a_date_with_a_restituted_orbit_beside_one_with_a_precise_orbit(data: Path, tmp_path: Path) -> None:
    precise = orbit_file(data)
    restituted = precise.with_name(precise.name.replace("POEORB", "RESORB"))
    precise.rename(restituted)
    rewrite(restituted, lambda text: text.replace("POEORB", "RESORB"))
    found = process(data, tmp_path)
    kinds = {day: name.split("_")[3] for day, name in found.facts["orbits"].items()}
    assert kinds == {"2025-03-03": "POEORB", "2025-03-15": "RESORB"}
    check_truth(compare(data, found, tmp_path))


def test_a_sound_annotated_orbit_on_one_date(data: Path, tmp_path: Path) -> None:
    orbit_file(data).unlink()
    found = process(data, tmp_path)
    assert found.facts["orbits"]["2025-03-15"].startswith("annotation of ")
    check_truth(compare(data, found, tmp_path))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_an_annotated_orbit_that_is_wrong_by_metres_is_refused(data: Path, tmp_path: Path, axis: str) -> None:
    """Unrefused, one of 5 m has coherence 0.5 to 0.7 and is 1.8 rad off the truth."""
    orbit_file(data).unlink()
    (scene,) = (data / "raw").glob("*_20250315T*")
    rewrite(annotation(scene), displace(axis, 5.0))
    planned = Planned(data, tmp_path / "planned", UNWRAPPER="none", ESD="off")
    assert not planned.pairs
    assert re.search(rf"{annotation(scene).name}: state vectors and geolocation grid contradict", planned.problem)


@pytest.mark.parametrize("axis", ["X", "Y", "Z"])
def test_an_orbit_file_shifted_smoothly_is_refused(data: Path, tmp_path: Path, axis: str) -> None:
    """All vectors by 5 m: each lies on the curve through its neighbours."""
    rewrite(orbit_file(data), shift(axis, 5.0))
    planned = Planned(data, tmp_path / "planned", UNWRAPPER="none", ESD="off")
    assert not planned.pairs
    assert re.search(rf"{orbit_file(data).name} and geolocation grid contradict", planned.problem)


def test_an_orbit_file_may_differ_from_what_the_satellite_itself_knew(data: Path, tmp_path: Path) -> None:
    rewrite(orbit_file(data), shift("Z", 5.0))
    (scene,) = (data / "raw").glob("*_20250315T*")
    rewrite(annotation(scene), lambda text: text.replace("<orbitSource>Auxiliary<", "<orbitSource>Downlink<"))
    assert Planned(data, tmp_path / "planned", UNWRAPPER="none", ESD="off").pairs


@pytest.mark.real
def test_real_orbit_files_agree_with_the_grids_of_real_products(shared_data: Path) -> None:
    """Made with restituted, precise and predicted orbits, by processors from IPF 2.36 to 3.52."""
    files, checked = find_orbits(shared_data / "orbits"), 0
    for path in sorted((shared_data / "safe").glob("*.zip")):
        scene = open_scene(path)
        file = choose_orbit(files, scene.mission, scene.start, scene.stop)
        if file is None:
            continue
        orbit, checked = read_orbit(file, scene.start, scene.stop), checked + 1
        check_orbit_file(scene, "IW2", "VV", orbit)
        other = replace(orbit, positions_m=orbit.positions_m + np.array([0.0, 0.0, 20.0]))
        with pytest.raises(SceneError, match="geolocation grid"):
            check_orbit_file(scene, "IW2", "VV", other)
    assert checked == 6


@pytest.mark.real
@pytest.mark.parametrize("swath", ["IW1", "IW2", "IW3"])
def test_a_real_orbit_displaced_across_the_line_of_sight_is_refused(
    shared_data: Path, tmp_path: Path, swath: str
) -> None:
    """Range at mid swath stays: what is wrong is the baseline, by a metre, which is a ramp of some 20 rad a swath."""
    (product,) = (shared_data / "morocco").glob("*_20230904T063730_*")
    copy = shutil.copytree(product, tmp_path / product.name)
    scene = open_scene(copy)
    orbit, grid = read_annotation_orbit(scene, swath, "VV"), read_tie_points(scene, swath, "VV")
    middle = len(grid.line) // 2
    point = geodetic_to_ecef(
        np.radians(grid.latitude_deg[middle]), np.radians(grid.longitude_deg[middle]), grid.height_m[middle]
    )
    late = grid.azimuth_time_s[middle] + (grid.epoch - orbit.epoch).total_seconds()
    nearest = int(np.abs(orbit.times_s - late).argmin())
    across = np.cross(point - orbit.positions_m[nearest], orbit.velocities_m_s[nearest])
    across /= np.linalg.norm(across)
    for axis, part in zip("xyz", across, strict=True):
        rewrite(annotation(copy, swath), displace(axis, float(part)))
    with pytest.raises(SceneError, match="geolocation grid"):
        read_annotation_orbit(open_scene(copy), swath, "VV")
