"""A stack in radar geometry, written for StaMPS: what its programs read, and what they make of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

import twins
from topsar import cli
from topsar.engines.passes import PassFacts
from topsar.engines.radar_stack import DateFacts, RadarStack, StackFacts, Written, open_radar_stack
from topsar.errors import ProductError
from topsar.files import write_json
from topsar.formats.step import run_format
from topsar.gamma.parameters import Parameters, read_parameters
from topsar.kernels.geometry import OrbitArc, ecef_to_geodetic, geodetic_to_ecef, measure_baseline, rdr2geo
from topsar.model import BBox, Looks, Orbit, OrbitSource, RadarGrid
from topsar.raster import inspect
from topsar.raster.isce_image import write_isce_image
from topsar.stamps import write_stamps

ORBIT = twins.circular_orbit()
DATES = {"20250303": (0.0, 0.0, 0.0), "20250315": (60.0, -40.0, 25.0), "20250327": (-80.0, 10.0, 30.0)}
"""By how many metres each date's orbit is displaced."""
REFERENCE = "20250303"
START = twins.EPOCH + timedelta(seconds=1)
GRID = RadarGrid(
    first_line_time=START,
    line_interval_s=2.055556299999998e-3,
    near_range_m=850_000.0,
    range_spacing_m=2.329562114715323,
    lines=90,
    samples=2000,
)


def fly(date: str) -> PassFacts:
    orbit = displace(ORBIT, date)
    return PassFacts(
        mission="S1A",
        absolute_orbit=1,
        orbit_source=OrbitSource.PRECISE,
        start=GRID.first_line_time,
        stop=GRID.stop_time,
        near_range_m=GRID.near_range_m,
        far_range_m=GRID.far_range_m,
        range_spacing_m=GRID.range_spacing_m,
        line_interval_s=GRID.line_interval_s,
        times=tuple(orbit.epoch + timedelta(seconds=float(time)) for time in orbit.times_s),
        positions_m=tuple(map(tuple, orbit.positions_m.tolist())),
        velocities_m_s=tuple(map(tuple, orbit.velocities_m_s.tolist())),
    )


def displace(orbit: Orbit, date: str) -> Orbit:
    """Turn the orbit a little, by as many metres along each axis."""
    shift = np.array(DATES[date]) / np.linalg.norm(orbit.positions_m[0])
    turn = np.eye(3) + np.cross(np.eye(3), shift)
    lift = 1 + shift[0]
    return replace(
        orbit, positions_m=orbit.positions_m @ turn.T * lift, velocities_m_s=orbit.velocities_m_s @ turn.T * lift
    )


def place(arc: OrbitArc, height: NDArray[np.float64]) -> NDArray[np.float64]:
    time = arc.seconds(GRID.first_line_time) + np.arange(GRID.lines) * GRID.line_interval_s
    range_m = GRID.near_range_m + np.arange(GRID.samples) * GRID.range_spacing_m
    return rdr2geo(time[:, None], range_m, height, arc)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one stack of three dates."""
    data = tmp_path_factory.mktemp("stamps")
    root = data / "runs" / "radar_stack" / f"T131_VV_{REFERENCE}"
    facts = StackFacts(
        name="T131_VV",
        reference=REFERENCE,
        track=131,
        direction="ascending",
        polarisation="VV",
        wavelength_m=0.05546576,
        range_bandwidth_hz=56.5e6,
        azimuth_bandwidth_hz=327.0,
        grid=GRID,
        swaths=("IW1",),
        bursts=("IW1_01",),
    )
    write_json(root / "stack.json", Written(stack=facts, looks=Looks(east=9, north=3)))
    rng = np.random.default_rng(1)
    height = np.broadcast_to(200 + 0.1 * np.arange(GRID.samples), GRID.shape).copy()
    lat, lon, _ = ecef_to_geodetic(place(fly(REFERENCE).fit(), height))
    height[5, 5] = np.nan
    for name, values in {"lat": np.degrees(lat), "lon": np.degrees(lon), "hgt": height}.items():
        write_isce_image(root / "merged" / "geom_reference" / f"{name}.rdr.full", values)
    for date in DATES:
        slc = (rng.normal(size=(*GRID.shape, 2)) * 50).astype(np.float32).view(np.complex64)[..., 0]
        slc[5, 5] = 0 if date == REFERENCE else np.nan
        write_isce_image(root / "merged" / "SLC" / date / f"{date}.slc.full", slc, "slcimage")
        told = DateFacts(
            date=date,
            scenes=(f"scene of {date}",),
            orbit="orbit",
            azimuth_shift_pixels=0.0,
            azimuth_shift_source="off",
            range_delay_pixels=0.0,
            perpendicular_baseline_m=0.0,
            parallel_baseline_m=0.0,
            flight=fly(date),
        )
        write_json(root / "merged" / "SLC" / date / f"{date}.json", told)
    return data


@pytest.fixture
def stack(folder: Path) -> RadarStack:
    return open_radar_stack(folder / "runs" / "radar_stack" / f"T131_VV_{REFERENCE}")


def read(path: Path, kind: str, image: Parameters) -> NDArray[np.generic]:
    shape = image.read_count("azimuth_lines"), image.read_count("range_samples")
    return np.fromfile(path, kind).reshape(shape)


def words(path: Path) -> SimpleNamespace:
    """What StaMPS reads of a .base: the second and third number behind each key."""
    text = path.read_text(encoding="utf-8").split()
    (_, c, n), (_, c_s, n_s) = (
        [float(word) for word in text[text.index(key) + 1 :][:3]]
        for key in ("initial_baseline(TCN):", "initial_baseline_rate:")
    )
    return SimpleNamespace(c=c, n=n, c_s=c_s, n_s=n_s)


def compute_as_stamps_does(image: Parameters, base: SimpleNamespace) -> NDArray[np.float64]:
    """Perpendicular baseline of each pixel, as ps_load_initial_gamma has it."""
    value = {key: image.read_numbers(key)[0] for key in ("sar_to_earth_center", "earth_radius_below_sensor")}
    se, re = value.values()
    samples = np.arange(image.read_count("range_samples"))
    rg = image.read_positive("near_range_slc") + samples * image.read_positive("range_pixel_spacing")
    look = np.arccos((se**2 + rg**2 - re**2) / (2 * se * rg))
    lines = image.read_count("azimuth_lines")
    time = (np.arange(lines) - (lines / 2 - 0.5))[:, None] / image.read_positive("prf")
    return (base.c + base.c_s * time) * np.cos(look) - (base.n + base.n_s * time) * np.sin(look)


def test_images_are_big_endian_and_whole(stack: RadarStack, tmp_path: Path) -> None:
    root = write_stamps(stack, tmp_path)
    assert root.name == f"INSAR_{REFERENCE}"
    image = read_parameters(root / "rslc" / f"{REFERENCE}.rslc.par")
    slcs = {date: np.nan_to_num(stack.read_slc(date)) for date in DATES}
    for date, slc in slcs.items():
        np.testing.assert_array_equal(read(root / "rslc" / f"{date}.rslc", ">c8", image), slc)
        if date != REFERENCE:
            diff = read(root / "diff0" / f"{REFERENCE}_{date}.diff", ">c8", image)
            np.testing.assert_allclose(diff, slcs[REFERENCE] * slc.conj(), rtol=1e-6)
    for name, kind, layer in ((f"{REFERENCE}.lon", ">f4", "lon"), (f"{REFERENCE}_dem.rdc", ">f4", "hgt")):
        expected = np.nan_to_num(stack.read_layer(layer)[:, 0])
        np.testing.assert_allclose(read(root / "geo" / name, kind, image), expected, rtol=1e-7)
    assert (root / "geo" / f"{REFERENCE}.diff_par").exists()
    assert (root / "dem" / f"{REFERENCE}_seg.par").exists()


@pytest.mark.parametrize("date", [date for date in DATES if date != REFERENCE])
@pytest.mark.parametrize("region", [False, True])
def test_the_baseline_of_each_pixel_is_that_of_the_orbits(
    stack: RadarStack, tmp_path: Path, date: str, region: bool
) -> None:
    lat, lon, hgt = (stack.read_layer(name)[:, 0] for name in ("lat", "lon", "hgt"))
    south, west, east = lat[:, 300:700].min(), lon[40, 300], lon[40, 700]
    roi = BBox(west=min(west, east), east=max(west, east), south=south, north=lat.max()) if region else None
    root = write_stamps(stack, tmp_path, roi=roi)
    image = read_parameters(root / "rslc" / f"{REFERENCE}.rslc.par")
    found = compute_as_stamps_does(image, words(root / "diff0" / f"{REFERENCE}_{date}.base"))
    column = round((image.read_positive("near_range_slc") - GRID.near_range_m) / GRID.range_spacing_m)
    row = round(float(image.read_numbers("start_time")[0] - seconds(START)) / GRID.line_interval_s)
    assert (column > 0) == region
    inside = slice(row, row + found.shape[0]), slice(column, column + found.shape[1])
    assert np.fromfile(root / "geo" / f"{REFERENCE}.lat", ">f4")[0] == np.float32(lat[inside][0, 0])
    ground = geodetic_to_ecef(*(np.radians(layer[inside]) for layer in (lat, lon)), np.nan_to_num(hgt[inside]))
    arcs = {name: fly(name).fit() for name in (REFERENCE, date)}
    truth = measure_baseline(ground, arcs[REFERENCE], arcs[date])
    assert np.abs(truth).min() > 10
    np.testing.assert_allclose(found, truth, atol=0.02)


def seconds(time: datetime) -> float:
    return (time - time.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()


def test_small_baselines_lie_beside_their_dates(stack: RadarStack, tmp_path: Path) -> None:
    root = write_stamps(stack, tmp_path, neighbours=1)
    assert not (root / "diff0").exists(), "StaMPS would take one or the other"
    pairs = ["20250303_20250315", "20250315_20250327"]
    assert sorted(path.name for path in (root / "SMALL_BASELINES").iterdir()) == pairs
    image = read_parameters(root / "SMALL_BASELINES" / pairs[0] / f"{REFERENCE}.rslc.par")
    second = root / "SMALL_BASELINES" / pairs[1]
    slcs = [read(second / f"{date}.rslc", ">c8", image) for date in ("20250315", "20250327")]
    diff = read(second / f"{pairs[1]}.diff", ">c8", image)
    np.testing.assert_allclose(diff, slcs[0] * slcs[1].conj(), rtol=1e-5)
    one, other = (
        words(write_stamps(stack, tmp_path / "ps").parent / f"INSAR_{REFERENCE}" / "diff0" / f"{REFERENCE}_{date}.base")
        if date == "20250327"
        else words(root / "SMALL_BASELINES" / pairs[0] / f"{pairs[0]}.base")
        for date in ("20250327", "20250315")
    )
    assert words(second / f"{pairs[1]}.base").c == pytest.approx(one.c - other.c, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stack: replace(stack, dates=stack.dates[:1]), "and another"),
        (lambda stack: replace(stack, dates=stack.dates[1:]), f"not {REFERENCE}"),
    ],
)
def test_a_stack_that_is_not_whole_is_refused(
    stack: RadarStack, tmp_path: Path, change: Callable[[RadarStack], RadarStack], message: str
) -> None:
    with pytest.raises(ProductError, match=message):
        write_stamps(change(stack), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_and_what_does_not_fit_is_said(
    stack: RadarStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProductError, match="ROI lies outside"):
        write_stamps(stack, tmp_path, roi=BBox(west=1, south=1, east=2, north=2))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(ProductError, match="GB are free"):
        write_stamps(stack, tmp_path)
    (tmp_path / f"INSAR_{REFERENCE}").mkdir()
    with pytest.raises(ProductError, match="is there already"):
        write_stamps(stack, tmp_path)


def test_the_step_of_a_run_writes_the_dates_of_that_run(folder: Path, stack: RadarStack, tmp_path: Path) -> None:
    runs, name = tmp_path / "runs", f"T131_VV_{REFERENCE}"
    shutil.copytree(folder / "runs", runs)
    job = runs / f"stamps_{name}"
    west, east = sorted(stack.read_layer("lon")[40, 0, [300, 700]].tolist())
    roi = {"west": west, "south": -90, "east": east, "north": 90}
    jobs = [job.name, f"radar_stack_{name}", *(f"radar_stack_{name}_{date}" for date in list(DATES)[:2])]
    write_json(job / "run.json", {"engine": "native", "jobs": jobs, "options": {"roi": roi}})
    run_format(job, "format_stamps")
    root = job / "stamps" / f"INSAR_{REFERENCE}"
    assert sorted(path.stem for path in (root / "rslc").glob("*.rslc")) == list(DATES)[:2]
    image = read_parameters(root / "rslc" / f"{REFERENCE}.rslc.par")
    assert 400 <= image.read_count("range_samples") < 800
    inspect(job / "stamps")


def test_export_finds_the_stack(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "stamps", "--data", str(folder), "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / f"T131_VV_{REFERENCE}" / f"INSAR_{REFERENCE}")
    assert cli.main(["export", "stamps", "--data", str(tmp_path)]) == 1
    assert "topsar stack makes one" in capsys.readouterr().err
