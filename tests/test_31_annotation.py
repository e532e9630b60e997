"""Annotation: bursts with their own polynomials, the product's orbit, the geolocation grid."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from test_30_safe import BURSTS, CYCLE_S, LINE_INTERVAL_S, LINES, SAMPLES, START, Tiny, real_products, stamp, zipped
from tie_points import read_tie_points
from topsar.errors import SceneError
from topsar.model import SPEED_OF_LIGHT, OrbitSource, Window
from topsar.sentinel1 import (
    choose_orbit,
    find_orbits,
    open_scene,
    read_annotation_orbit,
    read_bursts,
    read_orbit,
)


def bursts_of(tiny: Tiny, folder: Path):
    return read_bursts(open_scene(tiny.write(folder)), "IW1", "VV")


def test_a_burst_holds_what_the_annotation_says(tmp_path: Path) -> None:
    bursts = bursts_of(Tiny(), tmp_path)
    assert [b.index for b in bursts] == list(range(BURSTS))
    burst = bursts[1]
    assert (burst.scene, burst.swath, burst.polarisation) == (Tiny.name, "IW1", "VV")
    assert burst.first_line == LINES
    assert burst.grid.shape == (LINES, SAMPLES)
    assert burst.grid.first_line_time == START + timedelta(seconds=CYCLE_S)
    assert burst.grid.line_interval_s == LINE_INTERVAL_S
    assert burst.grid.near_range_m == pytest.approx(5.34e-3 * SPEED_OF_LIGHT / 2)
    assert burst.grid.range_spacing_m == pytest.approx(2.329562, abs=1e-6)
    assert burst.wavelength_m == pytest.approx(0.05546576, abs=1e-8)
    assert burst.steering_rate_rad_s == pytest.approx(math.radians(1.590368784))
    assert (burst.azimuth_bandwidth_hz, burst.range_bandwidth_hz) == (327.0, 56.5e6)
    assert Path(burst.measurement).name == Tiny().stem("IW1", "VV") + ".tiff"


def test_the_valid_window_is_the_rectangle_inside_every_valid_line(tmp_path: Path) -> None:
    assert bursts_of(Tiny(), tmp_path)[0].valid == Window(row=1, column=3, rows=4, columns=5)


def test_a_burst_without_valid_lines_has_an_empty_window(tmp_path: Path) -> None:
    none = " ".join(["-1"] * LINES)
    tiny = Tiny(replacements=(("-1 2 2 3 2 -1", none), ("-1 8 8 8 7 -1", none)))
    assert bursts_of(tiny, tmp_path)[0].valid == Window(row=0, column=0, rows=0, columns=0)


def test_burst_ids_take_the_track_of_the_manifest(tmp_path: Path) -> None:
    bursts = bursts_of(Tiny(), tmp_path)
    assert [str(b.burst_id) for b in bursts] == ["052_110431_IW1", "052_110432_IW1", "052_110433_IW1"]


def test_products_before_burst_ids(tmp_path: Path) -> None:
    bursts = bursts_of(Tiny(burst_ids=False), tmp_path)
    assert [b.burst_id for b in bursts] == [None] * BURSTS
    assert bursts[2].label == "IW1_02"


def test_old_and_new_fm_rates_agree(tmp_path: Path) -> None:
    new = bursts_of(Tiny(), tmp_path / "new")
    old = bursts_of(Tiny(old_fm_rate=True), tmp_path / "old")
    assert [b.fm_rate for b in new] == [b.fm_rate for b in old]
    assert new[0].fm_rate.t0_s == 5.3e-3


def test_each_burst_takes_the_polynomials_nearest_to_its_middle(tmp_path: Path) -> None:
    bursts = bursts_of(Tiny(), tmp_path)
    assert [b.fm_rate.coefficients[0] for b in bursts] == [-2300, -2301, -2302]
    assert [b.doppler.coefficients for b in bursts] == [(200.0, 1.0, 2.0), (201.0, 1.0, 2.0), (202.0, 1.0, 2.0)]


@pytest.mark.parametrize(
    ("method", "first"), [("Data Analysis", 200), ("Orbit and Attitude", 100), ("Pre-defined", 100)]
)
def test_the_doppler_follows_the_processors_method(tmp_path: Path, method: str, first: float) -> None:
    assert bursts_of(Tiny(dc_method=method), tmp_path)[0].doppler.coefficients[0] == first


def test_a_zipped_burst_names_a_path_inside_the_zip(tmp_path: Path) -> None:
    path = zipped(Tiny().write(tmp_path), tmp_path / "a.zip", parent="safe/")
    burst = read_bursts(open_scene(path), "IW2", "VV")[0]
    inside = f"safe/{Tiny.name}.SAFE/measurement/{Tiny().stem('IW2', 'VV')}.tiff"
    assert burst.measurement == f"/vsizip/{{{path}}}/{inside}"


@pytest.mark.parametrize(("swath", "polarisation"), [("IW3", "VV"), ("IW1", "HH")])
def test_an_absent_swath_or_polarisation_names_what_is_there(tmp_path: Path, swath: str, polarisation: str) -> None:
    scene = open_scene(Tiny().write(tmp_path))
    for read in (read_bursts, read_annotation_orbit):
        with pytest.raises(SceneError, match=f"no annotation of {swath} {polarisation}.*holds IW1 VV, IW2 VV"):
            read(scene, swath, polarisation)


def test_an_annotation_lost_since_opening_is_named(tmp_path: Path) -> None:
    scene = open_scene(Tiny().write(tmp_path))
    (scene.path / scene.files[0].annotation).unlink()
    with pytest.raises(SceneError, match=r"annotation/s1a-iw1.*\.xml is missing"):
        read_bursts(scene, "IW1", "VV")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<swath>IW1</swath><start", "<swath>IW2</swath><start", "name says IW1 VV, its header IW2 VV"),
        ("slantRangeTime>", "other>", "slantRangeTime is missing"),
        ("5.34e-03</slantRangeTime>\n", "far</slantRangeTime>\n", "slantRangeTime holds 'far'"),
        (f"<azimuthTimeInterval>{LINE_INTERVAL_S}", "<azimuthTimeInterval>0", "expected a number above zero"),
        ("-1 2 2 3 2 -1", "-1 2 2", "firstValidSample holds .*expected 6 whole numbers"),
        ("-1 8 8 8 7 -1", "-1 18 18 18 18 -1", "valid samples 3 to 18 of a burst of 10"),
        ("azimuthFmRateList", "other", "azimuthFmRateList/azimuthFmRate is missing"),
        ("dcEstimateList", "other", "dcEstimateList/dcEstimate is missing"),
        ("<dataDcPolynomial>200 1 2", "<dataDcPolynomial>nan 1 2", "dataDcPolynomial.*finite"),
        ("burstList", "other", "no burst in swathTiming/burstList"),
        ("<swathProcParams>\n<swath>IW1", "<swathProcParams>\n<swath>IW3", "no swathProcParams of IW1"),
        ("<product>", "<product><product>", "not well-formed XML"),
    ],
)
def test_a_damaged_annotation_is_one_clear_error(tmp_path: Path, old: str, new: str, words: str) -> None:
    safe = Tiny(swaths=("IW1",), replacements=((old, new),)).write(tmp_path)
    with pytest.raises(SceneError, match=words) as caught:
        read_bursts(open_scene(safe), "IW1", "VV")
    assert "annotation/s1a-iw1-slc-vv" in caught.value.message
    assert caught.value.hint


def test_an_empty_annotation_is_named(tmp_path: Path) -> None:
    scene = open_scene(Tiny().write(tmp_path))
    (scene.path / scene.files[0].annotation).write_bytes(b"")
    with pytest.raises(SceneError, match="the file is empty"):
        read_bursts(scene, "IW1", "VV")


def test_the_annotation_orbit(tmp_path: Path) -> None:
    orbit = read_annotation_orbit(open_scene(Tiny().write(tmp_path)), "IW1", "VV")
    assert (orbit.source, orbit.name) == (OrbitSource.ANNOTATION, f"annotation of {Tiny.name}")
    assert orbit.epoch == START - timedelta(seconds=10)
    np.testing.assert_allclose(orbit.times_s, [0, 10, 20, 30])
    np.testing.assert_allclose(orbit.positions_m[2], [2000, 2001, -2000])
    assert orbit.velocities_m_s.shape == (4, 3)


@pytest.mark.parametrize(
    ("tiny", "words"),
    [
        (Tiny(orbit_step_s=-10), "not in time order"),
        (Tiny(orbit_step_s=0), "not in time order"),
        (Tiny(frame="Earth Inertial"), "frame Earth Inertial"),
        (Tiny(replacements=(("orbitList", "other"),)), "0 state vectors"),
    ],
)
def test_a_bad_annotation_orbit_is_refused(tmp_path: Path, tiny: Tiny, words: str) -> None:
    with pytest.raises(SceneError, match=words):
        read_annotation_orbit(open_scene(tiny.write(tmp_path)), "IW1", "VV")


def test_the_geolocation_grid(tmp_path: Path) -> None:
    grid = read_tie_points(open_scene(Tiny().write(tmp_path)), "IW1", "VV")
    assert grid.epoch == START
    np.testing.assert_allclose(grid.azimuth_time_s, [0, 1, 2, 3])
    np.testing.assert_allclose(grid.line, [0, 1, 2, 3])
    np.testing.assert_allclose(grid.incidence_rad, math.pi / 6)
    assert (grid.sample[0], grid.latitude_deg[0], grid.longitude_deg[0], grid.height_m[0]) == (3, 31.5, -8.1, 1200)


def test_an_empty_geolocation_grid_is_no_error(tmp_path: Path) -> None:
    grid = read_tie_points(open_scene(Tiny(empty_grid=True).write(tmp_path)), "IW1", "VV")
    assert grid.line.shape == grid.azimuth_time_s.shape == grid.incidence_rad.shape == (0,)


@pytest.mark.real
def test_every_real_annotation_is_sane(shared_data: Path) -> None:
    for scene in map(open_scene, real_products(shared_data)):
        for files in scene.files:
            bursts = read_bursts(scene, files.swath, files.polarisation)
            check_real_bursts(bursts)
            grid = read_tie_points(scene, files.swath, files.polarisation)
            assert grid.line.max() <= len(bursts) * bursts[0].grid.lines
            assert np.abs(np.degrees(grid.incidence_rad) - 38).max() < 9
            orbit = read_annotation_orbit(scene, files.swath, files.polarisation)
            radius, speed = (np.linalg.norm(v, axis=1) for v in (orbit.positions_m, orbit.velocities_m_s))
            assert np.abs(radius - 7.07e6).max() < 2e4
            assert np.abs(speed - 7590).max() < 60


def check_real_bursts(bursts) -> None:
    for before, burst in pairwise(bursts):
        step = (burst.grid.first_line_time - before.grid.first_line_time).total_seconds()
        lines = step / burst.grid.line_interval_s
        assert lines == pytest.approx(round(lines), abs=0.005)  # bursts lie on one grid of lines
        assert step == pytest.approx(2.7583, abs=6 * burst.grid.line_interval_s)
        assert burst.first_line - before.first_line == burst.grid.lines
        if burst.burst_id:
            assert burst.burst_id.number == before.burst_id.number + 1
    for burst in bursts:
        middle = np.array([2 * (burst.grid.near_range_m + burst.grid.far_range_m) / 2 / SPEED_OF_LIGHT])
        assert -2500 < burst.fm_rate(middle)[0] < -1900
        assert abs(burst.doppler(middle)[0]) < 200
        assert 7.9e5 < burst.grid.near_range_m < burst.grid.far_range_m < 9.9e5
        assert burst.valid.rows > 0.85 * burst.grid.lines
        assert burst.valid.columns > 0.8 * burst.grid.samples
        assert burst.azimuth_bandwidth_hz in (327.0, 313.0, 314.0)


@pytest.mark.real
def test_annotation_orbits_differ_from_orbit_files_as_others_measured(shared_data: Path) -> None:
    expected = {"20141004": 1.17, "20141227": 0.08, "20220828": 0.019, "20220929": 0.024, "20221011": 0.715}
    expected["20221024"] = 0.006
    files = find_orbits(shared_data / "orbits")
    measured = {}
    for scene in map(open_scene, real_products(shared_data)):
        if (chosen := choose_orbit(files, scene.mission, scene.start, scene.stop)) is None:
            continue
        truth = read_orbit(chosen, scene.start, scene.stop)
        orbit = read_annotation_orbit(scene, "IW2", "VV")
        spline = CubicHermiteSpline(truth.times_s, truth.positions_m, truth.velocities_m_s)
        difference = spline(orbit.times_s + (orbit.epoch - truth.epoch).total_seconds()) - orbit.positions_m
        measured[f"{scene.start:%Y%m%d}"] = float(np.sqrt((difference**2).sum(axis=1).mean()))
    assert measured == pytest.approx(expected, rel=0.03, abs=5e-4)


@pytest.mark.real
def test_the_azores_annotation_puts_the_crop_in_burst_six(shared_data: Path, tmp_path: Path) -> None:
    source = next((shared_data / "pixels" / "azores_iw3").glob("s1a-iw3-*.xml"))
    name = "S1A_IW_SLC__1SDV_20220918T074919_20220918T074946_045056_056232_0000"
    safe = Tiny(name=name, swaths=()).write(tmp_path)
    manifest = safe / "manifest.safe"
    period = ((stamp(START), "2022-09-18T07:49:19"), (stamp(START + timedelta(seconds=27)), "2022-09-18T07:49:46"))
    for old, new in (*period, ("50174", "45056"), ("395747", str(0x056232))):
        manifest.write_text(manifest.read_text().replace(old, new))
    (safe / "annotation" / source.name).write_bytes(source.read_bytes())
    burst = read_bursts(open_scene(safe), "IW3", "VV")[6]
    assert burst.first_line == 9799 - 715
    assert burst.azimuth_bandwidth_hz == 314.0
