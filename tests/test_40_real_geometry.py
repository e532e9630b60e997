"""Real annotation and orbits: our geometry against ESA's tie points and against an independent program."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from tie_points import TiePoints, read_tie_points
from topsar.kernels.geometry import (
    OrbitArc,
    fit_orbit,
    geo2rdr,
    geodetic_to_ecef,
    line_of_sight,
    measure_baseline,
)
from topsar.model import SPEED_OF_LIGHT, Burst, Orbit, OrbitFile, Scene
from topsar.sentinel1 import (
    choose_orbit,
    find_orbits,
    open_scene,
    read_annotation_orbit,
    read_bursts,
    read_orbit,
)

pytestmark = pytest.mark.real

OLD = ("20141004T031312", "20141227T062619")
"""Of IPF 2.x, whose tie points were made with a better orbit than the one annotated."""
NEW = (
    "20200511T135117",
    "20220828T042306",
    "20220929T201107",
    "20221011T162212",
    "20221016T015043",
    "20221024T184148",
    "20230108T135249",
    "20230904T063730",
    "20230916T063730",
)
MANOEUVRE = "20221011T162212"
"""The precise orbit of this day has time tags that scatter by some 10 µs: 7 cm along the track."""


def product(shared_data: Path, start: str) -> Scene:
    (path,) = [p for folder in ("safe", "morocco") for p in (shared_data / folder).glob(f"*_{start}_*")]
    return open_scene(path)


def misfit(orbit: Orbit, grid: TiePoints, burst: Burst) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lines and samples between where we see ESA's tie points and where they say they are."""
    first, last = (grid.epoch + timedelta(seconds=float(f(grid.azimuth_time_s))) for f in (np.min, np.max))
    arc = fit_orbit(orbit, first, last)
    lat, lon = np.radians(grid.latitude_deg), np.radians(grid.longitude_deg)
    time, range_m = geo2rdr(geodetic_to_ecef(lat, lon, grid.height_m), arc)
    lines = (time + (arc.epoch - grid.epoch).total_seconds() - grid.azimuth_time_s) / burst.grid.line_interval_s
    return lines, (range_m - grid.slant_range_time_s * SPEED_OF_LIGHT / 2) / burst.grid.range_spacing_m


@pytest.mark.parametrize("start", OLD + NEW)
def test_the_annotated_orbit_sees_the_tie_points_where_they_are(shared_data: Path, start: str) -> None:
    scene = product(shared_data, start)
    for file in scene.files:
        grid = read_tie_points(scene, file.swath, file.polarisation)
        burst = read_bursts(scene, file.swath, file.polarisation)[0]
        line, sample = misfit(read_annotation_orbit(scene, file.swath, file.polarisation), grid, burst)
        assert line.size > 150
        assert np.abs(line).max() < (0.1 if start in OLD else 0.002)
        assert np.abs(sample).max() < (0.05 if start in OLD else 0.0005)


@pytest.mark.parametrize("start", [*OLD, "20220828T042306", "20220929T201107", MANOEUVRE, "20221024T184148"])
def test_the_orbit_file_sees_the_tie_points_where_they_are(shared_data: Path, start: str) -> None:
    scene = product(shared_data, start)
    orbit = best_orbit(shared_data / "orbits", scene)
    for file in scene.files:
        grid = read_tie_points(scene, file.swath, file.polarisation)
        burst = read_bursts(scene, file.swath, file.polarisation)[0]
        line, sample = misfit(orbit, grid, burst)
        assert np.abs(line).max() < (0.06 if start == MANOEUVRE else 0.01)
        assert np.abs(sample).max() < 0.02


def best_orbit(folder: Path, scene: Scene) -> Orbit:
    file = choose_orbit(find_orbits(folder), scene.mission, scene.start, scene.stop)
    assert file is not None
    return read_orbit(file, scene.start, scene.stop)


@pytest.mark.parametrize("start", OLD + NEW)
def test_every_burst_can_be_processed_with_the_annotated_orbit(shared_data: Path, start: str) -> None:
    """Even where the vectors end before the scene does, as those of IPF 2.36 do."""
    scene = product(shared_data, start)
    for file in scene.files:
        orbit = read_annotation_orbit(scene, file.swath, file.polarisation)
        for burst in read_bursts(scene, file.swath, file.polarisation):
            margin = timedelta(seconds=1)
            arc = fit_orbit(orbit, burst.grid.first_line_time - margin, burst.grid.stop_time + margin)
            assert 7450 < np.linalg.norm(arc.velocity(arc.seconds(burst.grid.mid_time))) < 7620


# --- orbit files ------------------------------------------------------------------------------------------------


def without(orbit: Orbit, index: int) -> Orbit:
    return replace(
        orbit,
        times_s=np.delete(orbit.times_s, index),
        positions_m=np.delete(orbit.positions_m, index, axis=0),
        velocities_m_s=np.delete(orbit.velocities_m_s, index, axis=0),
    )


def whole_day(shared_data: Path) -> list[OrbitFile]:
    files = [f for f in find_orbits(shared_data / "orbits") if f.path.stat().st_size > 500_000]
    assert len(files) == 5
    return files


def test_left_out_vectors_of_real_orbits_are_predicted_below_a_millimetre(shared_data: Path) -> None:
    for file in whole_day(shared_data):
        orbit = read_orbit(file, file.start + timedelta(seconds=130), file.stop - timedelta(seconds=130))
        for index in np.random.default_rng(0).choice(np.arange(10, len(orbit.times_s) - 10), 60, replace=False):
            moment = orbit.epoch + timedelta(seconds=float(orbit.times_s[index]))
            around = timedelta(seconds=2), timedelta(seconds=13)
            for half in around:
                arc = fit_orbit(without(orbit, index), moment - half, moment + half)
                assert np.linalg.norm(arc.position(arc.seconds(moment)) - orbit.positions_m[index]) < 1e-3


def test_precise_and_restituted_orbits_of_the_same_hours_agree(shared_data: Path) -> None:
    files = {f.source.value: f for f in find_orbits(shared_data / "orbits") if f"{f.created:%Y%m%d}" > "20231001"}
    start = files["RESORB"].start + timedelta(hours=1)
    stop = start + timedelta(seconds=27)
    arcs = [fit_orbit(read_orbit(f, start, stop), start, stop) for f in files.values()]
    t = np.linspace(0, 27, 28)
    assert len(arcs) == 2
    assert np.linalg.norm(arcs[0].position(t) - arcs[1].position(t), axis=-1).max() < 0.1


# --- an independent program -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["230135", "230136"])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_independent_geometry_is_reproduced(shared_data: Path, name: str) -> None:
    """Place, incidence, range difference, offsets and baseline of every 4th line and 16th sample."""
    referee = shared_data / "referee"
    bursts, arcs = referee_bursts(referee, name)
    truth = referee_truth(referee, f"IW2/burst_{name}")
    points = geodetic_to_ecef(np.radians(truth["lat"]), np.radians(truth["lon"]), truth["height"])
    line, sample, range_m = zip(*(seen(points, b, a) for b, a in zip(bursts, arcs, strict=True)), strict=True)
    rows, columns = np.indices(truth["lat"].shape)
    np.testing.assert_allclose(line[0], 4 * rows, atol=1e-5)
    np.testing.assert_allclose(sample[0], 16 * columns, atol=1e-4)
    # the referee's azimuth offset holds the misregistration that it put into the pixels
    np.testing.assert_allclose(line[1] - line[0] + 0.004, truth["date_1/az_offset_px"], atol=1e-5)
    np.testing.assert_allclose(sample[1] - sample[0], truth["date_1/rg_offset_px"], atol=1e-4)
    np.testing.assert_allclose(range_m[1] - range_m[0], truth["date_1/range_diff_m"], atol=1e-5)
    time, _ = geo2rdr(points, arcs[0])
    up = line_of_sight(points, arcs[0].position(time))[..., 2]
    np.testing.assert_allclose(np.degrees(np.arccos(up)), truth["incidence"], atol=1e-5)
    np.testing.assert_allclose(measure_baseline(points, *arcs), truth["date_1/bperp_m"], atol=0.01)


def referee_bursts(referee: Path, name: str) -> tuple[list[Burst], list[OrbitArc]]:
    bursts, arcs = [], []
    for path in sorted(referee.glob("*.zip")):
        scene = open_scene(path)
        (burst,) = [b for b in read_bursts(scene, "IW2", "VV") if b.burst_id and b.burst_id.number == int(name)]
        start, stop = burst.grid.first_line_time - timedelta(seconds=1), burst.grid.stop_time + timedelta(seconds=1)
        bursts.append(burst)
        arcs.append(fit_orbit(best_orbit(referee, scene), start, stop).narrow(start, stop))
    return bursts, arcs


def referee_truth(referee: Path, group: str) -> dict[str, NDArray[np.float64]]:
    with rasterio.Env() as env:
        if "HDF5" not in env.drivers():
            pytest.skip("this GDAL does not read HDF5")
    names = ["lat", "lon", "height", "incidence"]
    names += [f"date_1/{n}" for n in ("az_offset_px", "rg_offset_px", "range_diff_m", "bperp_m")]
    truth = {}
    for name in names:
        with rasterio.open(f"HDF5:{referee}/truth/truth_radar.h5://{group}/{name}") as dataset:
            truth[name] = dataset.read(1).astype(np.float64)
    return truth


def seen(
    points: NDArray[np.float64], burst: Burst, arc: OrbitArc
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Line, sample and range."""
    time, range_m = geo2rdr(points, arc)
    line = (time - arc.seconds(burst.grid.first_line_time)) / burst.grid.line_interval_s
    return line, (range_m - burst.grid.near_range_m) / burst.grid.range_spacing_m, range_m
