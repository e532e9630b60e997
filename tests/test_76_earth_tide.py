"""Tides of the solid earth: beside PySolid and pyTMD, and as a layer of a pair."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import h5netcdf
import numpy as np
import pytest
from numpy.typing import NDArray

from sample_layers import DEGREES, FACTS, UTM, sample, with_only
from topsar.corrections.ephemeris import find_sky
from topsar.corrections.solid_earth_tide import SolidEarthTide, find_tide
from topsar.engines.layers import compute_displacement
from topsar.engines.passes import AROUND, read_passes
from topsar.formats.gunw import Gunw
from topsar.formats.gunw.check import check_file
from topsar.interferogram import Interferogram, Layer, swap_dates
from topsar.kernels.earth_tide import find_earth_tide
from topsar.kernels.geometry import ecef_to_geodetic, geo2rdr, geodetic_to_ecef, turn_to_local
from topsar.model import GeoGrid
from topsar.raster import compute_pixel_centres


class Table(NamedTuple):
    points_m: NDArray[np.float64]
    times: list[datetime]
    pysolid: NDArray[np.float64]
    pytmd: NDArray[np.float64]


@pytest.fixture(scope="module")
def table() -> Table:
    lines = (Path(__file__).parent / "earth_tides.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    lat, lon = (np.radians([float(row[name]) for row in rows]) for name in ("lat", "lon"))
    others = [
        np.array([[float(row[f"{name}_{part}"]) for part in "enu"] for row in rows]) for name in ("pysolid", "pytmd")
    ]
    return Table(geodetic_to_ecef(lat, lon, 0.0), [datetime.fromisoformat(row["utc"]) for row in rows], *others)


def find_at(points_m: NDArray[np.float64], times: list[datetime]) -> NDArray[np.float64]:
    seconds = np.array([(time - times[0]).total_seconds() for time in times])
    return turn_to_local(points_m, find_earth_tide(points_m, *find_sky(times[0], seconds)))


def test_tides_are_those_of_other_programs(table: Table) -> None:
    ours = find_at(table.points_m, table.times)
    assert len(ours) == 60
    assert np.linalg.norm(ours - table.pytmd, axis=-1).max() < 0.2e-3
    assert np.linalg.norm(ours - table.pysolid, axis=-1).max() < 1e-3
    assert np.abs(ours).max() > 0.2


def test_moon_and_sun_meet_in_an_eclipse() -> None:
    """8 April 2024, greatest at 18:17:18 UTC over 25.3 N 104.1 W (NASA's catalogue of solar eclipses)."""
    sky = find_sky(datetime(2024, 4, 8, 18, 17, 18, tzinfo=timezone.utc), np.zeros(1))
    place = geodetic_to_ecef(np.radians([25.3]), np.radians([-104.1]), 0.0)
    moon, sun = (body - place for body in (sky.moon_m, sky.sun_m))
    cosine = (moon * sun).sum() / np.linalg.norm(moon) / np.linalg.norm(sun)
    assert math.degrees(math.acos(cosine)) < 0.02
    assert np.linalg.norm(sky.moon_m) == pytest.approx(359_800e3, rel=1e-3)
    up = turn_to_local(place, sun)[0]
    assert math.degrees(math.asin(up[2] / np.linalg.norm(up))) == pytest.approx(69.8, abs=0.2)


def pixel_points(ifg: Interferogram) -> NDArray[np.float64]:
    lon, lat = compute_pixel_centres(ifg.grid)
    return geodetic_to_ecef(np.radians(lat), np.radians(lon), 0.0)


def test_each_pixel_has_the_tide_of_its_own_times_toward_the_satellite() -> None:
    grid = GeoGrid(crs=DEGREES.crs, west=-8.9, north=31.95, dx=1 / 120, dy=1 / 120, rows=40, columns=90)
    ifg = sample(grid)
    found = SolidEarthTide().compute(ifg)
    points = pixel_points(ifg)
    reference, secondary = read_passes(ifg.facts)
    arc = reference.fit(AROUND)
    time, _ = geo2rdr(points, arc)
    assert np.ptp(time) > 3
    np.testing.assert_allclose(find_tide(points, arc)[5, 7], find_tide(points[5, 7], arc), atol=1e-9)
    moved = find_tide(points, secondary.fit(AROUND)) - find_tide(points, arc)
    toward = sum(ifg.layers[f"los_{name}"].values * moved[..., k] for k, name in enumerate(("east", "north", "up")))
    assert found.phase_rad is not None
    seen = ~ifg.layers["wrapped_phase"].holes
    np.testing.assert_array_equal(np.isfinite(found.phase_rad), seen)
    displaced = compute_displacement(found.phase_rad, FACTS["wavelength_m"])
    np.testing.assert_allclose(displaced[seen], toward[seen], atol=2e-6)
    assert np.ptp(displaced[seen]) > 1e-4


def test_facts_tell_both_tides_and_what_is_along_the_flight() -> None:
    ifg = sample(UTM)
    facts = SolidEarthTide().compute(ifg).facts
    reference, secondary = read_passes(ifg.facts)
    middle = pixel_points(sample(DEGREES))[60:61, 75]
    for side, one in (("reference", reference), ("secondary", secondary)):
        lat, lon, _ = np.degrees(ecef_to_geodetic(middle))
        assert abs(lat[0] - 31.85) < 0.1
        assert abs(lon[0] + 8.84) < 0.1
        expected = find_at(middle, [one.middle])[0]
        np.testing.assert_allclose(list(facts["middle_m"][side].values()), expected, atol=2e-3)
    # the flight is south, a little west: ground that moved north is seen earlier
    north = facts["middle_m"]["secondary"]["north"] - facts["middle_m"]["reference"]["north"]
    assert north > 0.01
    assert -1.5 * north < facts["azimuth_m"] < -0.8 * north
    assert facts["azimuth_lines"] == pytest.approx(facts["azimuth_m"] / 13.98, rel=0.02)
    assert facts["misregistration_without_tide_lines"] is None
    for told in ({"pixels": 0.0, "source": "off", "estimate": {"pixels": 0.004}}, {"pixels": 0.004, "estimated": True}):
        known = replace(ifg, facts={**ifg.facts, "azimuth_misregistration": told})
        left = SolidEarthTide().compute(known).facts["misregistration_without_tide_lines"]
        assert left == pytest.approx(0.004 - facts["azimuth_lines"], abs=2e-5)
    none = replace(ifg, facts={**ifg.facts, "azimuth_misregistration": {"pixels": 0.001, "estimated": False}})
    assert SolidEarthTide().compute(none).facts["misregistration_without_tide_lines"] is None


def test_swapped_dates_have_the_opposite_phase() -> None:
    ifg = sample(UTM)
    one, other = (SolidEarthTide().compute(each).phase_rad for each in (ifg, swap_dates(ifg)))
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one, -other, atol=1e-4)


def test_without_a_line_of_sight_it_refuses() -> None:
    found = SolidEarthTide().compute(with_only(sample(), "wrapped_phase", "height"))
    assert found.phase_rad is None
    assert "line of sight" in found.facts["refused"]


def test_gunw_carries_the_tides_of_both_dates(tmp_path: Path) -> None:
    ifg = sample(DEGREES)
    found = SolidEarthTide().compute(ifg)
    assert found.phase_rad is not None
    layers = {**ifg.layers, SolidEarthTide.layer.name: Layer(kind=SolidEarthTide.layer, values=found.phase_rad)}
    (file,) = (path for path in Gunw().write([replace(ifg, layers=layers)], tmp_path) if path.suffix == ".nc")
    assert not list(check_file(file))
    with h5netcdf.File(file, "r") as nc:
        tides = nc["science/grids/corrections/external/tides"]
        assert "solidEarthTide" not in tides
        cubes = [tides[f"solidEarth/{side}/solidEarthTide"][...] for side in ("reference", "secondary")]
        assert nc["science/grids"].attrs["compute_solid_earth_tide"] == 1
    # the later date is GUNW's reference; the sample's line of sight is near the orbit's
    middle = (cubes[0] - cubes[1])[1, cubes[0].shape[1] // 2, cubes[0].shape[2] // 2]
    assert middle == pytest.approx(-float(np.nanmean(found.phase_rad)), rel=0.1)
