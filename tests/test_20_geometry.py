"""Orbits, the ellipsoid, and the two mappings between radar and ground."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer

import twins
from topsar.kernels.geometry import (
    OrbitArc,
    ecef_to_geodetic,
    find_viewing_geometry,
    fit_orbit,
    geo2rdr,
    geodetic_to_ecef,
    line_of_sight,
    measure_baseline,
    rdr2geo,
    up_vector,
)
from topsar.model import Orbit

ORBIT = twins.circular_orbit()
ARC = twins.arc_of(ORBIT)
WAVELENGTH_M = 0.05546576
TO_ECEF = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


def without(orbit: Orbit, keep: NDArray[np.bool_]) -> Orbit:
    return replace(
        orbit,
        times_s=orbit.times_s[keep],
        positions_m=orbit.positions_m[keep],
        velocities_m_s=orbit.velocities_m_s[keep],
    )


def angle_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.arccos((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))


# --- ellipsoid --------------------------------------------------------------------------------------------------


@given(st.floats(-90, 90), st.floats(-180, 180), st.one_of(st.floats(-500, 9000), st.floats(690_000, 720_000)))
def test_ecef_agrees_with_proj_and_comes_back(lat: float, lon: float, height: float) -> None:
    point = geodetic_to_ecef(np.radians(lat), np.radians(lon), height)
    np.testing.assert_allclose(point, TO_ECEF.transform(lon, lat, height), atol=1e-8, rtol=0)
    back = ecef_to_geodetic(point)
    np.testing.assert_allclose(geodetic_to_ecef(back[0], back[1], back[2]), point, atol=1e-7, rtol=0)
    assert back[2] == pytest.approx(height, abs=1e-7)


def test_up_is_where_height_grows() -> None:
    lat, lon = np.radians([[-77.0, 0.0, 52.0], [10.0, 89.9, -35.0]]), np.radians([[170.0, -60.0, 5.0], [0.0, 1.0, 180]])
    grown = geodetic_to_ecef(lat, lon, 1000.0) - geodetic_to_ecef(lat, lon, 0.0)
    np.testing.assert_allclose(up_vector(lat, lon), grown / 1000, atol=1e-11)


# --- orbits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3.0, 27.0])
def test_the_fit_follows_the_orbit_between_its_vectors(seconds: float) -> None:
    arc = fit_orbit(ORBIT, twins.EPOCH, twins.EPOCH + timedelta(seconds=seconds))
    dense = twins.circular_orbit(step_s=0.5)
    t = dense.times_s[(dense.times_s >= 0) & (dense.times_s <= seconds)]
    inside = np.isin(dense.times_s, t)
    assert np.abs(arc.position(t) - dense.positions_m[inside]).max() < 1e-6
    assert np.abs(arc.velocity(t) - dense.velocities_m_s[inside]).max() < 1e-6


def test_a_left_out_vector_is_predicted_below_a_millimetre() -> None:
    for index in range(6, len(ORBIT.times_s) - 6):
        moment = twins.EPOCH + timedelta(seconds=float(ORBIT.times_s[index]))
        rest = without(ORBIT, np.arange(len(ORBIT.times_s)) != index)
        arc = fit_orbit(rest, moment - timedelta(seconds=13), moment + timedelta(seconds=13))
        assert np.linalg.norm(arc.position(arc.seconds(moment)) - ORBIT.positions_m[index]) < 1e-4


@pytest.mark.parametrize(("step_s", "beyond_s"), [(1.0, 1.4), (1.0, 2.0), (10.0, -4.0)])
def test_the_fit_holds_to_the_end_of_the_vectors_and_a_little_beyond(step_s: float, beyond_s: float) -> None:
    orbit = twins.circular_orbit(step_s=step_s)
    last = twins.EPOCH + timedelta(seconds=float(orbit.times_s[-1]))
    arc = fit_orbit(orbit, last + timedelta(seconds=beyond_s - 5), last + timedelta(seconds=beyond_s))
    longer = twins.circular_orbit(step_s=0.2, span_s=130)
    at = np.argmin(np.abs(longer.times_s - orbit.times_s[-1] - beyond_s))
    assert np.linalg.norm(arc.position(arc.seconds(last) + beyond_s) - longer.positions_m[at]) < 1e-5


@pytest.mark.parametrize(
    ("start_s", "stop_s"), [(-130.0, -120.0), (118.0, 122.5), (-123.0, -100.0), (-200.0, -190.0), (-119.0, 500.0)]
)
def test_an_interval_without_vectors_is_refused(start_s: float, stop_s: float) -> None:
    start, stop = (twins.EPOCH + timedelta(seconds=s) for s in (start_s, stop_s))
    with pytest.raises(ValueError, match="circle does not cover"):
        fit_orbit(ORBIT, start, stop)


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="does not cover"):
        fit_orbit(without(ORBIT, np.abs(ORBIT.times_s - 2) < 20), twins.EPOCH, twins.EPOCH + timedelta(seconds=3))


def test_narrowing_keeps_the_orbit() -> None:
    narrow = ARC.narrow(twins.EPOCH, twins.EPOCH + timedelta(seconds=4))
    t = np.linspace(0, 4, 41)
    assert narrow.coefficients.shape == (3, 6)
    assert np.abs(narrow.position(t) - ARC.position(t)).max() < 1e-7
    assert np.abs(narrow.velocity(t) - ARC.velocity(t)).max() < 1e-5


def test_velocity_is_the_derivative_of_position() -> None:
    t = np.linspace(0.5, 3.5, 7)
    slope = (ARC.position(t + 0.01) - ARC.position(t - 0.01)) / 0.02
    np.testing.assert_allclose(ARC.velocity(t), slope, atol=1e-3)


# --- radar and ground -------------------------------------------------------------------------------------------

PLACES = st.tuples(st.floats(0, 4), st.floats(800_000, 980_000), st.floats(-400, 8500))


@settings(max_examples=200)
@given(PLACES)
def test_radar_to_ground_and_back_is_identity(place: tuple[float, float, float]) -> None:
    time, range_m, height = (np.array(value) for value in place)
    point = rdr2geo(time, range_m, height, ARC)
    again = geo2rdr(point, ARC)
    assert abs(again[0] - time) * 7500 < 1e-6
    assert abs(again[1] - range_m) < 1e-6
    assert abs(ecef_to_geodetic(point)[2] - height) < 1e-6


def test_ground_to_radar_and_back_is_identity() -> None:
    lat, lon = np.meshgrid(np.radians(np.linspace(39.8, 40.3, 6)), _longitudes_to_the_right())
    points = geodetic_to_ecef(lat, lon, 1234.5)
    time, range_m = geo2rdr(points, ARC)
    assert np.linalg.norm(rdr2geo(time, range_m, 1234.5, ARC) - points, axis=-1).max() < 1e-6


def _longitudes_to_the_right() -> NDArray[np.float64]:
    _, lon, _ = ecef_to_geodetic(ARC.position(2.0))
    return lon + np.radians(np.linspace(4.0, 7.0, 5))


def test_geo2rdr_agrees_with_its_twin() -> None:
    time, range_m, height = np.meshgrid(np.linspace(-3, 7, 5), np.linspace(8e5, 9.8e5, 5), [-100.0, 4000.0])
    points = rdr2geo(time, range_m, height, ARC)
    found = np.stack(geo2rdr(points, ARC), axis=-1).reshape(-1, 2)
    expected = np.array([twins.zero_doppler(point, ARC) for point in points.reshape(-1, 3)])
    assert np.abs(found - expected)[:, 0].max() < 1e-9
    assert np.abs(found - expected)[:, 1].max() < 1e-6


def test_a_point_that_is_not_a_number_gives_not_a_number() -> None:
    points = rdr2geo(np.array([1.0, 1.0, 1.0]), np.array(850e3), 0.0, ARC)
    points[1] = np.nan, 0, 0
    points[2] = np.inf, 0, 0
    time, range_m = geo2rdr(points, ARC)
    assert np.isnan(time).tolist() == np.isnan(range_m).tolist() == [False, True, True]


def test_the_radar_looks_to_the_right() -> None:
    point = rdr2geo(np.array(1.0), np.array(850e3), 0.0, ARC)
    satellite, velocity = ARC.position(1.0), ARC.velocity(1.0)
    assert velocity[2] > 0
    assert np.dot(np.cross(velocity, satellite), point - satellite) > 0
    assert ecef_to_geodetic(point)[1] > ecef_to_geodetic(satellite)[1]


# --- line of sight ----------------------------------------------------------------------------------------------


def test_the_line_of_sight_points_to_the_satellite() -> None:
    lat, lon = np.radians([10.0, -60.0, 40.0]), np.radians([20.0, 170.0, -3.0])
    ground, above = geodetic_to_ecef(lat, lon, 0.0), geodetic_to_ecef(lat, lon, 7e5)
    np.testing.assert_allclose(line_of_sight(ground, above), [[0, 0, 1]] * 3, atol=1e-9)
    eastward = line_of_sight(ground, geodetic_to_ecef(lat, lon + 0.01, 0.0))
    northward = line_of_sight(ground, geodetic_to_ecef(lat + 0.01, lon, 0.0))
    assert (eastward[:, 0] > 0.999).all()
    assert (northward[:, 1] > 0.999).all()


def test_the_line_of_sight_is_a_unit_vector_at_the_incidence_angle() -> None:
    time, range_m = np.meshgrid(np.linspace(0, 4, 4), np.linspace(8e5, 9.5e5, 6))
    points = rdr2geo(time, range_m, 500.0, ARC)
    los = line_of_sight(points, ARC.position(time))
    lat, lon, _ = ecef_to_geodetic(points)
    incidence = angle_between(ARC.position(time) - points, up_vector(lat, lon))
    np.testing.assert_allclose(np.linalg.norm(los, axis=-1), 1, atol=1e-14)
    np.testing.assert_allclose(np.arccos(los[..., 2]), incidence, atol=1e-9)
    assert (los[..., 0] < 0).all(), "an ascending pass that looks right sees the ground from the west"
    assert np.degrees(incidence).min() > 28
    assert np.degrees(incidence).max() < 48


def test_a_whole_map_is_seen_as_its_points_are() -> None:
    time, range_m = np.meshgrid(np.linspace(0, 4, 30), np.linspace(8e5, 9.5e5, 40))
    points = rdr2geo(time, range_m, 500.0, ARC)
    found_time, found_range, off_nadir, los = find_viewing_geometry(points, ARC)
    np.testing.assert_allclose(found_time, time, atol=1e-11)
    np.testing.assert_allclose(found_range, range_m, atol=1e-6, rtol=0)
    np.testing.assert_allclose(np.moveaxis(los, 0, -1), line_of_sight(points, ARC.position(time)), atol=1e-7)
    satellite = ARC.position(time)
    np.testing.assert_allclose(off_nadir, angle_between(satellite - points, satellite), atol=1e-12)


# --- perpendicular baseline -------------------------------------------------------------------------------------


def shifted(arc: OrbitArc, offset_m: NDArray[np.float64]) -> OrbitArc:
    coefficients = arc.coefficients.copy()
    coefficients[:, 0] += offset_m
    return replace(arc, coefficients=coefficients)


@pytest.mark.parametrize("baseline_m", [-150.0, 0.5, 80.0])
def test_the_perpendicular_baseline_is_the_shift_across_the_line_of_sight(baseline_m: float) -> None:
    time, range_m = np.array([1.0, 3.0]), np.array([8.2e5, 9.4e5])
    points = rdr2geo(time, range_m, 200.0, ARC)
    for point, t in zip(points, time, strict=True):
        look, velocity = point - ARC.position(t), ARC.velocity(t)
        across = np.cross(velocity, look)
        across /= np.linalg.norm(across)
        # as the definition has it: (X - P) × (shift) along the flight direction
        assert np.dot(np.cross(look, across), velocity) > 0
        along = look / np.linalg.norm(look)
        secondary = shifted(ARC, baseline_m * across + 30 * along)
        assert measure_baseline(point[None], ARC, secondary)[0] == pytest.approx(baseline_m, abs=1e-6)


@pytest.mark.parametrize("offset_m", [(0.0, 100.0), (0.0, -60.0), (70.0, 0.0), (-40.0, 90.0)])
def test_the_baseline_says_how_phase_grows_with_height(offset_m: tuple[float, float]) -> None:
    secondary = twins.arc_of(twins.circular_orbit(offset_m=offset_m))
    time, range_m = np.array(2.0), np.array(8.8e5)

    def phase(height: float) -> NDArray[np.float64]:
        point = rdr2geo(time, range_m, height, ARC)
        return 4 * np.pi / WAVELENGTH_M * (geo2rdr(point, secondary)[1] - range_m)

    point = rdr2geo(time, range_m, 0.0, ARC)
    incidence = np.arccos(line_of_sight(point, ARC.position(time))[2])
    baseline = measure_baseline(point[None], ARC, secondary)[0]
    expected = 4 * np.pi * baseline / (WAVELENGTH_M * range_m * np.sin(incidence))
    assert (phase(50.0) - phase(-50.0)) / 100 == pytest.approx(expected, rel=2e-3)
