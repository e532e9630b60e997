"""Simulated products against first principles, the annotation against geometry, and other people's readers."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from tie_points import read_tie_points
from topsar.errors import ProductError
from topsar.kernels.geometry import (
    OrbitArc,
    ecef_to_geodetic,
    fit_orbit,
    geo2rdr,
    geodetic_to_ecef,
    measure_baseline,
    rdr2geo,
)
from topsar.kernels.resample import sample_heights
from topsar.kernels.tops import find_deramp_terms
from topsar.model import SPEED_OF_LIGHT, Burst, Direction, VerticalDatum, Window
from topsar.raster import read_datum, read_geotiff
from topsar.sentinel1 import (
    choose_orbit,
    find_orbits,
    open_scene,
    read_bursts,
    read_orbit,
    read_samples,
)
from topsar.simulate import Acquisition, Dataset, Recipe, SwathCut, recipe, simulate
from topsar.simulate.focus import Surface, focus_burst
from topsar.simulate.mode import BETA_NOUGHT, BURST_INTERVAL_S, SWATHS
from topsar.simulate.motion import compute_coherence, compute_ionosphere, displace_fault, displace_mogi
from topsar.simulate.plan import ProductPlan, SwathPlan, plan_products
from topsar.simulate.recipe import Screen
from topsar.simulate.scatter import _choose_kernel_shape, restore_ramp, tabulate_kernel, transform_kernel, weight_band
from topsar.simulate.terrain import Terrain, build_terrain, draw_field

SMALL = replace(recipe("tiny"), cuts=(SwathCut(swath="IW2", first_sample=12000, samples=900),))
STILL = replace(
    SMALL,
    acquisitions=(Acquisition(day=date(2025, 3, 3)), Acquisition(day=date(2025, 3, 15))),
    bursts=1,
    turbulence_m=0.0,
    stratified_m_per_km=0.0,
    mogi_volume_m3=0.0,
    fault_slip_m=0.0,
    stable=(1.0, 1.0),
    nesz_db=-80.0,
    doppler_hz=0.0,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return simulate(tmp_path_factory.mktemp("small"), SMALL)


def complex_samples(block: NDArray[np.int16]) -> NDArray[np.complex128]:
    return block[..., 0] + 1j * block[..., 1]


def deramped(burst: Burst, arc: OrbitArc, samples: NDArray[np.complex128]) -> NDArray[np.complex128]:
    eta = (np.arange(burst.grid.lines) - burst.grid.lines / 2) * burst.grid.line_interval_s
    return np.asarray(samples * np.exp(1j * find_deramp_terms(burst, arc).phase(eta)))


def ramp(burst: Burst, arc: OrbitArc, line: NDArray[np.float64], sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """M(η) of the signal model at fractional positions."""
    terms, at = find_deramp_terms(burst, arc), np.arange(burst.grid.samples)
    k_t, f_dc, eta_ref = (np.interp(sample, at, v) for v in (terms.k_t, terms.f_dc, terms.eta_ref))
    eta = (line - burst.grid.lines / 2) * burst.grid.line_interval_s - eta_ref
    return np.asarray(np.pi * k_t * eta**2 + 2 * np.pi * f_dc * eta)


def in_image(burst: Burst, arc: OrbitArc, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Fractional line and sample, and slant range, of ground points."""
    time, range_m = geo2rdr(points, arc)
    line = (time - arc.seconds(burst.grid.first_line_time)) / burst.grid.line_interval_s
    return line, (range_m - burst.grid.near_range_m) / burst.grid.range_spacing_m, range_m


def flattened(burst: Burst, arc: OrbitArc, samples: NDArray[np.complex128], points: NDArray[np.float64]):
    """The geocoded, flattened SLC at ground points, and whether each lies well inside the burst."""
    line, sample, range_m = in_image(burst, arc, points)
    base = deramped(burst, arc, samples)
    value = sum(
        unit * ndimage.map_coordinates(part, [line, sample], order=5)
        for unit, part in ((1, base.real), (1j, base.imag))
    )
    valid = burst.valid
    inside = (line > valid.row + 9) & (line < valid.row_stop - 9)
    inside &= (sample > valid.column + 9) & (sample < valid.column_stop - 9)
    turned = value * np.exp(1j * (ramp(burst, arc, line, sample) + 4 * np.pi * range_m / burst.wavelength_m))
    return turned, inside


def looked(values: NDArray, rows: int, columns: int) -> NDArray:
    cut = values[: values.shape[0] // rows * rows, : values.shape[1] // columns * columns]
    return cut.reshape(cut.shape[0] // rows, rows, -1, columns).mean((1, 3))


def shift(plan: ProductPlan, azimuth_px: float, range_px: float) -> ProductPlan:
    passes = list(plan.recipe.acquisitions)
    passes[plan.number] = replace(plan.acquisition, azimuth_shift_px=azimuth_px, range_shift_px=range_px)
    return replace(plan, recipe=replace(plan.recipe, acquisitions=tuple(passes)))


def gain_of(swath: SwathPlan, burst: Burst) -> NDArray[np.float64]:
    """The processor's gain at every sample of a burst."""
    lines = burst.first_line + np.arange(burst.grid.lines)
    return swath.find_gain(lines[:, None], np.arange(burst.grid.samples))


# --- first principles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [(0.13, 0.2), (0.5, 0.5), (0.9, 0.83)])
@pytest.mark.parametrize("swath", ["IW1", "IW3"])
def test_a_point_target_has_its_range_in_its_phase(place: tuple[float, float], swath: str) -> None:
    plan = plan_products(replace(SMALL, cuts=(SwathCut(swath=swath, first_sample=9000, samples=600),)))[1][0]
    burst = plan.swaths[0].bursts[1]
    still = shift(plan, 0.0, 0.0)
    grid, arc = burst.grid, plan.arc
    time = arc.seconds(grid.first_line_time) + (place[0] * grid.lines + 0.31) * grid.line_interval_s
    range_m = grid.near_range_m + (place[1] * grid.samples + 0.64) * grid.range_spacing_m
    point = rdr2geo(np.array([time]), np.array([range_m]), 350.0, arc)
    block = focus_burst(still, plan.swaths[0], burst, targets=(point, np.array([2e4])))
    samples = complex_samples(block)
    line, sample, expected_range = in_image(burst, arc, point)
    chip = slice(round(line[0]) - 16, round(line[0]) + 16), slice(round(sample[0]) - 16, round(sample[0]) + 16)
    # the spectrum is band limited: its inverse transform is exact at any position
    spectrum = np.fft.fft2(deramped(burst, arc, samples))
    row, column = np.fft.fftfreq(grid.lines)[:, None], np.fft.fftfreq(grid.samples)

    def at(i: float, j: float) -> complex:
        return complex((spectrum * np.exp(2j * np.pi * (row * i + column * j))).mean())

    peak = at(line[0], sample[0]) * np.exp(1j * ramp(burst, arc, line, sample)[0])
    assert abs(np.angle(peak * np.exp(4j * np.pi * expected_range[0] / burst.wavelength_m))) < 0.01
    assert abs(peak) > 0.999 * max(abs(at(line[0] + d, sample[0])) for d in (-0.02, 0.02))
    assert abs(peak) > 0.999 * max(abs(at(line[0], sample[0] + d)) for d in (-0.02, 0.02))
    energy = np.abs(samples / gain_of(plan.swaths[0], burst)) ** 2
    assert energy[chip].sum() > 0.97 * energy.sum()
    assert energy.sum() == pytest.approx(4e8, rel=0.01)


def test_shifts_move_the_image_and_not_its_phase() -> None:
    plan = plan_products(SMALL)[1][0]
    moved = shift(plan, 3.0, 2.0)
    still = shift(plan, 0.0, 0.0)
    burst, arc = plan.swaths[0].bursts[0], plan.arc
    grid = burst.grid
    time = arc.seconds(grid.first_line_time) + 700 * grid.line_interval_s
    point = rdr2geo(np.array([time]), np.array([grid.near_range_m + 400 * grid.range_spacing_m]), 0.0, arc)[0]
    target = (point[None], np.array([2e4]))
    a, b = (complex_samples(focus_burst(p, plan.swaths[0], burst, targets=target)) for p in (still, moved))
    at_a, at_b = (np.unravel_index(np.abs(z).argmax(), z.shape) for z in (a, b))
    assert at_b[0] - at_a[0] == 3
    assert at_b[1] - at_a[1] == 2
    assert abs(np.angle(b[at_b] * np.conj(a[at_a]))) < 0.01


def ground(recipe: Recipe) -> tuple[ProductPlan, ...]:
    return tuple(slices[0] for slices in plan_products(recipe))


def surface(recipe: Recipe, plans: tuple[ProductPlan, ...]) -> Surface:
    terrain = build_terrain(recipe, tuple((plan,) for plan in plans))
    return Surface(terrain=terrain, change=np.zeros(terrain.shape, dtype=np.float32))


def test_deramped_spectra_stay_in_their_bands(small: Dataset) -> None:
    scene = open_scene(small.scenes[0][0])
    burst = read_bursts(scene, "IW2", "VV")[0]
    arc = plan_products(SMALL)[0][0].arc
    samples = read_samples(burst, Window(row=0, column=0, rows=burst.grid.lines, columns=burst.grid.samples))
    valid = deramped(burst, arc, samples.astype(np.complex128))[burst.valid.slices]
    for axis, share in ((0, 313 * burst.grid.line_interval_s), (1, 48.3e6 / 64.345238e6)):
        taper = np.hanning(valid.shape[axis])
        power = np.abs(np.fft.fft(valid * (taper[:, None] if axis == 0 else taper), axis=axis)) ** 2
        inside = np.abs(np.fft.fftfreq(valid.shape[axis])) <= share / 2
        profile = power.mean(1 - axis)
        assert profile[inside].sum() / profile.sum() >= 0.999
        # Hamming 0.75: the amplitude at the edge is half that at the centre
        f = np.abs(np.fft.fftfreq(valid.shape[axis])) / share
        ratio = profile[(f > 0.44) & (f < 0.49)].mean() / profile[f < 0.05].mean()
        assert ratio == pytest.approx(0.27, abs=0.05)
    raw = np.abs(np.fft.fft(samples[burst.valid.slices], axis=0)) ** 2
    inside = np.abs(np.fft.fftfreq(raw.shape[0])) <= 313 * burst.grid.line_interval_s / 2
    assert raw[inside].sum() / raw.sum() < 0.9


def test_two_dates_of_the_same_track_and_ground_give_a_flat_interferogram() -> None:
    plans = ground(STILL)
    here = surface(STILL, plans)
    a, b = (complex_samples(focus_burst(p, p.swaths[0], p.swaths[0].bursts[0], surface=here)) for p in plans)
    valid = plans[0].swaths[0].bursts[0].valid.slices
    cross = looked((a * np.conj(b))[valid], 10, 10)
    power = np.sqrt(looked(np.abs(a[valid]) ** 2, 10, 10) * looked(np.abs(b[valid]) ** 2, 10, 10))
    assert abs(np.angle(cross.sum())) < 0.002
    assert np.angle(cross).std() < 0.02
    assert (np.abs(cross) / power).mean() > 0.995


def spectral_phase(
    plan: ProductPlan, a: NDArray[np.complex128], b: NDArray[np.complex128]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Range frequencies, Hz, in a burst's band, and the phase of a · conj(b) there."""
    burst = plan.swaths[0].bursts[0]
    valid, interval = burst.valid.slices, 2 * burst.grid.range_spacing_m / SPEED_OF_LIGHT
    first, second = (np.fft.fft(values[valid], axis=1) for values in (a, b))
    frequency = np.fft.fftfreq(first.shape[1], interval)
    inside = np.abs(frequency) < 0.45 * burst.range_bandwidth_hz
    bins = np.digitize(frequency[inside], np.linspace(-0.45, 0.45, 10) * burst.range_bandwidth_hz)
    cross = (first * np.conj(second))[:, inside].sum(axis=0)
    sums = np.array([cross[bins == k].sum() for k in range(1, 10)])
    middle = np.array([frequency[inside][bins == k].mean() for k in range(1, 10)])
    return middle, np.angle(sums)


def test_an_ionosphere_delays_the_group_and_advances_the_phase() -> None:
    first, second = ground(STILL)
    here = surface(STILL, (first, second))
    delay_m = 0.006
    behind = replace(here, ionosphere=np.full_like(here.change, delay_m))
    late = replace(
        second,
        recipe=replace(
            STILL,
            acquisitions=(STILL.acquisitions[0], replace(STILL.acquisitions[1], swath_delays_m=(("IW2", delay_m),))),
        ),
    )
    wavelength = first.swaths[0].bursts[0].wavelength_m
    a, b, c = (
        complex_samples(focus_burst(plan, plan.swaths[0], plan.swaths[0].bursts[0], surface=on))
        for plan, on in ((first, here), (second, behind), (late, here))
    )
    for other, at_carrier in ((b, -4 * np.pi * delay_m / wavelength), (c, 0.0)):
        frequency, phase = spectral_phase(first, a, other)
        np.testing.assert_allclose(phase, at_carrier + 4 * np.pi * frequency * delay_m / SPEED_OF_LIGHT, atol=2e-3)


@pytest.mark.parametrize("part", [{"north_m": 0.02}, {"east_m": -0.02}, {"bump_m": 0.02}, {"turbulence_m": 0.02}])
def test_a_screen_has_the_size_that_is_asked_for(part: dict[str, float]) -> None:
    screen = Screen(**part, bump_radius_m=4000.0)
    asked = replace(SMALL, acquisitions=(SMALL.acquisitions[0], replace(SMALL.acquisitions[1], ionosphere=screen)))
    terrain = build_terrain(asked, plan_products(asked))
    assert not compute_ionosphere(asked, terrain, 0).any()
    delay = compute_ionosphere(asked, terrain, 1)
    rows, columns = (n // 2 for n in delay.shape)
    if "north_m" in part:
        assert delay[0, 0] - delay[-1, 0] == pytest.approx(0.02, rel=0.01)
    if "east_m" in part:
        assert delay[0, -1] - delay[0, 0] == pytest.approx(-0.02, rel=0.01)
    if "bump_m" in part:
        assert delay[rows, columns] == pytest.approx(0.02, rel=0.01)
        beside = delay[rows, columns + round(4000 / terrain.spacing_m[1])]
        assert beside == pytest.approx(0.02 * np.exp(-0.5), rel=0.02)
    if "turbulence_m" in part:
        assert delay.std() == pytest.approx(0.02, rel=0.01)


def test_brightness_is_calibrated() -> None:
    flat = replace(STILL, relief_m=0.0)
    plan = ground(flat)[0]
    terrain = build_terrain(flat, ((plan,),))
    terrain = replace(terrain, gamma=np.full(terrain.shape, 0.1, dtype=np.float32))
    here = Surface(terrain=terrain, change=np.zeros(terrain.shape, dtype=np.float32))
    swath = plan.swaths[0]
    burst = swath.bursts[0]
    samples = complex_samples(focus_burst(plan, swath, burst, surface=here)) / gain_of(swath, burst)
    samples = samples[burst.valid.slices]
    beta_nought = (np.abs(samples) ** 2).mean() / BETA_NOUGHT**2
    assert beta_nought == pytest.approx(0.1 / np.tan(swath.incidence_rad), rel=0.04)
    # near to exponential intensity
    assert (np.abs(samples) ** 4).mean() / (np.abs(samples) ** 2).mean() ** 2 == pytest.approx(2.1, abs=0.15)


def test_noise_has_the_stated_level() -> None:
    dark = replace(STILL, nesz_db=-15.0)
    plan = ground(dark)[0]
    terrain = build_terrain(dark, ((plan,),))
    terrain = replace(terrain, gamma=np.zeros(terrain.shape, dtype=np.float32))
    here = Surface(terrain=terrain, change=np.zeros(terrain.shape, dtype=np.float32))
    swath = plan.swaths[0]
    burst = swath.bursts[0]
    samples = complex_samples(focus_burst(plan, swath, burst, surface=here)) / gain_of(swath, burst)
    power = (np.abs(samples[burst.valid.slices]) ** 2).mean(axis=1) * np.sin(swath.incidence_rad) / BETA_NOUGHT**2
    lines = np.arange(burst.valid.row, burst.valid.row_stop)
    assert 10 * np.log10((power / swath.find_scalloping(lines)).mean()) == pytest.approx(-15, abs=0.1)
    edge = np.r_[0:100, -100:0]
    assert power[edge].mean() / power[650:750].mean() == pytest.approx(
        swath.find_scalloping(lines[edge]).mean(), rel=0.03
    )


def read_dated(dataset: Dataset, k: int, index: int) -> tuple[Burst, OrbitArc, NDArray[np.complex128]]:
    """A burst, the orbit from its file, and all its samples."""
    scene = open_scene(dataset.scenes[k][0])
    burst = read_bursts(scene, "IW2", "VV")[index]
    file = choose_orbit(find_orbits(dataset.folder / "orbit_data"), "S1A", scene.start, scene.stop)
    assert file is not None
    arc = fit_orbit(read_orbit(file, scene.start, scene.stop), scene.start, scene.stop)
    samples = read_samples(burst, Window(row=0, column=0, rows=burst.grid.lines, columns=burst.grid.samples))
    return burst, arc, samples.astype(np.complex128)


def ground_lattice(dataset: Dataset, box: tuple[slice, slice], fine: tuple[int, int]):
    """Points of the DEM between its nodes: fractional rows and columns, and ECEF positions."""
    heights, grid, _ = read_geotiff(dataset.dem)
    rows = np.arange(box[0].start, box[0].stop, 1 / fine[0])
    columns = np.arange(box[1].start, box[1].stop, 1 / fine[1])
    row, column = np.meshgrid(rows, columns, indexing="ij")
    height = np.empty(row.size)
    sample_heights(heights, row.ravel(), column.ravel(), height)
    lat, lon = grid.north - (row + 0.5) * grid.dy, grid.west + (column + 0.5) * grid.dx
    points = geodetic_to_ecef(np.radians(lat), np.radians(lon), height.reshape(row.shape))
    return lat, lon, points


def on_map(path: Path, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
    values, grid, _ = read_geotiff(path)
    place = [(grid.north - lat) / grid.dy - 0.5, (lon - grid.west) / grid.dx - 0.5]
    return np.asarray(ndimage.map_coordinates(values.astype(np.float64), place, order=1))


def test_the_interferogram_is_the_truth(small: Dataset) -> None:
    terrain_rows, terrain_columns = read_geotiff(small.dem)[0].shape
    middle = slice(int(0.55 * terrain_rows), int(0.68 * terrain_rows)), slice(100, terrain_columns - 100)
    lat, lon, points = ground_lattice(small, middle, (2, 5))
    dates = []
    for k, shift in ((0, (0.0, 0.0)), (1, (0.004, 0.01))):
        burst, arc, samples = read_dated(small, k, 0)
        grid = burst.grid
        biased = replace(
            burst,
            grid=replace(grid, near_range_m=grid.near_range_m - shift[1] * grid.range_spacing_m),
        )
        arc = replace(arc, origin_s=arc.origin_s + shift[0] * grid.line_interval_s)
        values, inside = flattened(biased, arc, samples, points)
        dates.append((np.where(inside, values, 0), inside))
    wavelength = burst.wavelength_m
    changes = [on_map(path, lat, lon) for path in sorted(small.truth.glob("range_change_*.tif"))]
    truth = 4 * np.pi / wavelength * (changes[1] - changes[0])
    (a, inside_a), (b, inside_b) = dates
    looks = 10, 20
    full = looked((inside_a & inside_b).astype(float), *looks) > 0.99
    assert full.sum() > 300
    cross = looked(a * np.conj(b) * np.exp(-1j * truth), *looks)[full]
    power = np.sqrt(looked(np.abs(a) ** 2, *looks) * looked(np.abs(b) ** 2, *looks))[full]
    temporal = looked(on_map(next(small.truth.glob("temporal_coherence_*.tif")), lat, lon), *looks)[full]
    coherence = np.abs(cross) / power
    assert truth.std() > 0.5
    assert abs(np.angle(cross.sum())) < 0.01
    assert np.angle(cross).std() < 0.09
    assert (coherence / temporal).mean() == pytest.approx(0.95, abs=0.03)
    assert np.corrcoef(coherence, temporal)[0, 1] > 0.7


# --- reproducible -----------------------------------------------------------------------------------------------


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_same_seed_gives_the_same_bytes(small: Dataset, tmp_path: Path) -> None:
    simulate(tmp_path / "again", SMALL, threads=1)
    assert digests(tmp_path / "again") == digests(small.folder)


def test_another_seed_gives_other_ground() -> None:
    fields = [draw_field((40, 50), (30, 30), exponent=3.0, band_m=(90, 900), seed=seed) for seed in (1, 2, 1)]
    assert not np.allclose(fields[0], fields[1])
    assert np.array_equal(fields[0], fields[2])


def test_a_part_of_the_ground_is_the_same_ground() -> None:
    """Scatterers belong to places, not to whoever asks for them."""
    plan = ground(STILL)[0]
    swath, burst = plan.swaths[0], plan.swaths[0].bursts[0]
    here = surface(STILL, (plan,))
    flat = replace(here.terrain, height=np.full_like(here.terrain.height, 500.0))
    top, left = 200, 100
    part = Terrain(
        first_row=flat.first_row + top,
        first_column=flat.first_column + left,
        posting_deg=flat.posting_deg,
        height=np.ascontiguousarray(flat.height[top:, left:]),
        gamma=np.ascontiguousarray(flat.gamma[top:, left:]),
        stable=np.ascontiguousarray(flat.stable[top:, left:]),
    )
    whole, cut = (
        focus_burst(plan, swath, burst, surface=Surface(terrain=t, change=np.zeros(t.shape, dtype=np.float32)))
        for t in (flat, part)
    )
    middle = slice(300, 900), slice(300, 600)
    # the pulses of what was cut away reach far, but faintly
    assert (whole[middle].astype(float) - cut[middle]).std() < 0.5


# --- kernels and their plain twins ------------------------------------------------------------------------------


def test_the_filter_undoes_the_gridding_kernel() -> None:
    occupied, size = 0.65, 512
    table = tabulate_kernel(6, occupied)
    position = 250.37
    values = np.zeros(size)
    first = int(position) - 2
    values[first : first + 6] = table[int((position - int(position)) * len(table))]
    spectrum = np.fft.fft(values) * weight_band(size, occupied) / transform_kernel(size, 6, occupied)
    f = np.fft.fftfreq(size)
    inside = np.abs(f) <= occupied / 2
    wanted = np.where(inside, 0.75 + 0.25 * np.cos(2 * np.pi * f / occupied), 0)
    wanted = wanted / np.sqrt((wanted**2).mean()) * np.exp(-2j * np.pi * f * position)
    assert np.abs(spectrum - wanted).max() < 4e-3
    assert _choose_kernel_shape(6, occupied) > 10


def test_finish_twin() -> None:
    random = np.random.default_rng(5)
    shape = (9, 11)
    values = (40 * (random.standard_normal(shape) + 1j * random.standard_normal(shape))).astype(np.complex64)
    eta, k_t = np.linspace(-1, 1, 9), np.full(11, 1700.0)
    f_dc, eta_ref = np.linspace(-5, 5, 11), np.linspace(-1e-3, 1e-3, 11)
    out = np.zeros((*shape, 2), dtype=np.int16)
    restore_ramp(values, eta, k_t, f_dc, eta_ref, (1, 8, 2, 10), out)
    e = eta[:, None] - eta_ref
    plain = values * np.exp(1j * (np.pi * k_t * e**2 + 2 * np.pi * f_dc * e))
    assert np.abs(complex_samples(out)[1:8, 2:10] - plain[1:8, 2:10]).max() < 0.71
    assert not out[0].any()
    assert not out[:, 10:].any()


# --- deformation and decorrelation ------------------------------------------------------------------------------


def test_mogi_and_fault() -> None:
    east, north, up = displace_mogi(np.array([0.0, 3000.0]), np.zeros(2), volume_m3=1e6, depth_m=3000.0)
    assert up[0] == pytest.approx(0.75 / np.pi * 1e6 / 3000**2)
    assert east[1] == pytest.approx(up[1])
    assert not north.any()
    slip = displace_fault(np.array([-900.0, 0.0, 900.0]), np.zeros(3), slip_m=0.1, depth_m=900.0, length_m=2e4)
    assert slip[1] == 0
    assert slip[2] == -slip[0] == pytest.approx(0.1 / 4, rel=0.1)


@pytest.mark.slow
def test_temporal_coherence_falls_with_time() -> None:
    three = replace(
        STILL,
        stable=(0.4, 0.4),
        acquisitions=(*STILL.acquisitions, Acquisition(day=date(2025, 3, 27))),
        water_share=0.1,
    )
    terrain = build_terrain(three, plan_products(three))
    land = terrain.stable >= 0
    near, far = (compute_coherence(three, terrain, 0, k) for k in (1, 2))
    assert near[land] == pytest.approx(0.4 + 0.6 * np.exp(-12 / 24))
    assert far[land] == pytest.approx(0.4 + 0.6 * np.exp(-1))
    assert not near[~land].any()


# --- the plan ---------------------------------------------------------------------------------------------------


def test_bursts_and_swaths_overlap_as_in_the_real_mode() -> None:
    plan = plan_products(recipe("frame"))[0][0]
    for swath in plan.swaths:
        starts = [burst.grid.first_line_time for burst in swath.bursts]
        steps = np.array([(b - a).total_seconds() for a, b in pairwise(starts)])
        assert steps.mean() == pytest.approx(BURST_INTERVAL_S, abs=3e-4)
        assert np.abs(steps / burst_line(swath.bursts[0]) - np.round(steps / burst_line(swath.bursts[0]))).max() < 1e-3
        covered = swath.bursts[0].valid.rows * burst_line(swath.bursts[0])
        assert 0.06 < 1 - BURST_INTERVAL_S / covered < 0.1
    for near, far in pairwise(plan.swaths):
        a, b = near.bursts[0], far.bursts[0]
        last = a.grid.near_range_m + a.valid.column_stop * a.grid.range_spacing_m
        first = b.grid.near_range_m + b.valid.column * b.grid.range_spacing_m
        assert 500 < last - first < 3000
    incidence = [np.degrees(swath.incidence_rad) for swath in plan.swaths]
    assert 30 < incidence[0] < incidence[1] < incidence[2] < 47
    assert plan.swaths[0].bursts[0].fm_rate.coefficients[0] == pytest.approx(-2335, abs=20)


def burst_line(burst: Burst) -> float:
    return burst.grid.line_interval_s


def test_the_same_bursts_repeat_every_pass() -> None:
    first, second = (slices[0] for slices in plan_products(recipe("demo"))[:2])
    for a, b in zip(first.swaths, second.swaths, strict=True):
        assert [burst.burst_id for burst in a.bursts] == [burst.burst_id for burst in b.bursts]
        lag = (b.start - a.start).total_seconds() - 12 * 86400
        assert abs(lag - 1.7e-3) < 1.1e-3
    numbers = {tuple(b.burst_id.number for b in swath.bursts if b.burst_id) for swath in first.swaths}
    assert len(numbers) == 1


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("baseline", [-150.0, 40.0])
def test_tracks_see_the_centre_at_the_asked_baseline(direction: Direction, baseline: float) -> None:
    first, second = SMALL.acquisitions
    asked = replace(
        SMALL,
        direction=direction,
        centre=(-33.0, 151.0),
        acquisitions=(first, replace(second, perpendicular_baseline_m=baseline)),
    )
    a, b = (slices[0] for slices in plan_products(asked))
    grid = a.swaths[0].bursts[1].grid
    arc = a.arc
    middle = np.array([(grid.near_range_m + grid.far_range_m) / 2])
    point = rdr2geo(np.array([arc.seconds(grid.mid_time)]), middle, 0.0, arc)
    lat, lon, _ = np.degrees(ecef_to_geodetic(point))
    assert abs(lat[0] + 33) < 0.25
    assert abs(lon[0] - 151) < 0.1
    assert measure_baseline(point, arc, b.arc)[0] == pytest.approx(baseline, rel=0.01)
    climbing = arc.velocity(0.0)[2] > 0
    assert climbing == (direction is Direction.ASCENDING)
    hour = (a.start.hour + a.start.minute / 60 + 151 / 15) % 24
    assert abs(hour - (18 if climbing else 6)) < 1


def test_slices_follow_each_other() -> None:
    plans = plan_products(replace(SMALL, slices=2, bursts=3, with_burst_id=False))[0]
    assert len({plan.name for plan in plans}) == 2
    last, first = plans[0].swaths[0].bursts[-1], plans[1].swaths[0].bursts[0]
    step = (first.grid.first_line_time - last.grid.first_line_time).total_seconds()
    assert step == pytest.approx(BURST_INTERVAL_S, abs=2.1e-3)
    assert first.burst_id is None


def test_the_orbit_is_smooth_and_its_velocity_its_derivative() -> None:
    track = plan_products(SMALL)[0][0].track
    t = np.array([-300.0, 0.0, 4.3])
    h = 1e-2
    numeric = (track.state(t + h)[0] - track.state(t - h)[0]) / (2 * h)
    assert np.abs(numeric - track.state(t)[1]).max() < 2e-6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"acquisitions": tuple(reversed(SMALL.acquisitions))}, "order of time"),
        ({"cuts": (SwathCut(swath="IW2", first_sample=24000, samples=900),)}, "outside"),
    ],
)
def test_a_contradictory_recipe_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan_products(replace(SMALL, **changes))  # type: ignore[arg-type]


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="tiny, demo, swath, frame"):
        recipe("huge")


# --- products ---------------------------------------------------------------------------------------------------


def test_the_reader_reads_what_was_planned(small: Dataset) -> None:
    for slices, plans in zip(small.scenes, plan_products(SMALL), strict=True):
        scene, plan = open_scene(slices[0]), plans[0]
        assert (scene.name, scene.track, scene.ipf) == (plan.name.removesuffix(".SAFE"), 131, "003.71")
        assert (scene.start, scene.stop, scene.direction) == (plan.start, plan.stop, Direction.ASCENDING)
        for read, planned in zip(read_bursts(scene, "IW2", "VV"), plan.swaths[0].bursts, strict=True):
            assert replace(read, scene="", measurement="") == replace(planned, scene="", measurement="")


def test_orbit_file_and_annotation_give_the_planned_orbit(small: Dataset) -> None:
    plan = plan_products(SMALL)[1][0]
    _, arc, _ = read_dated(small, 1, 0)
    t = np.linspace(0, 5, 6)
    exact = plan.track.state(t + (plan.start - plan.track.epoch).total_seconds())
    assert np.abs(arc.position(t) - exact[0]).max() < 1e-4
    assert np.abs(arc.velocity(t) - exact[1]).max() < 1e-5


def test_the_geolocation_grid_is_true(small: Dataset) -> None:
    grid = read_tie_points(open_scene(small.scenes[0][0]), "IW2", "VV")
    arc = plan_products(SMALL)[0][0].arc
    points = geodetic_to_ecef(np.radians(grid.latitude_deg), np.radians(grid.longitude_deg), grid.height_m)
    time, range_m = geo2rdr(points, arc)
    time += (arc.epoch - grid.epoch).total_seconds()
    assert np.abs(time - grid.azimuth_time_s).max() < 2e-6
    assert np.abs(range_m - grid.slant_range_time_s * 299_792_458.0 / 2).max() < 1e-3


def test_the_dem_declares_its_datum(small: Dataset) -> None:
    assert read_datum(small.dem) is VerticalDatum.ELLIPSOID


def test_gdal_reads_the_product(small: Dataset) -> None:
    safe = small.scenes[0][0]
    with rasterio.open(safe / "manifest.safe") as dataset:
        assert dataset.driver == "SAFE"
        names = [name for name in dataset.subdatasets if name.endswith("COMPLEX")]
        assert dataset.tags()["ORBIT_DIRECTION"] == "ASCENDING"
    with rasterio.open(names[0]) as dataset:
        assert dataset.shape == (2 * 1499, 900)
        assert len(dataset.gcps[0]) == 63


def test_measurement_bytes_lie_where_the_annotation_says(small: Dataset) -> None:
    safe = small.scenes[0][0]
    tiff, xml = next(safe.glob("measurement/*.tiff")), next(safe.glob("annotation/*.xml"))
    bursts = ET.parse(xml).findall("swathTiming/burstList/burst")
    with rasterio.open(tiff) as dataset:
        assert dataset.dtypes == ("complex_int16",)
        assert dataset.block_shapes == [(1, 900)]
        assert dataset.gcps[1] is not None
        image = dataset.read(1)
    content = tiff.read_bytes()
    for index, burst in enumerate(bursts):
        offset = int(burst.findtext("byteOffset", "")) + 700 * 900 * 4 + 400 * 4
        assert complex(*struct.unpack("<2h", content[offset : offset + 4])) == image[index * 1499 + 700, 400]
    assert len(content) == int(bursts[0].findtext("byteOffset", "")) + image.size * 4
    row, row_stop = SWATHS["IW2"].valid_lines
    inside = image[row:row_stop, 12:-12]
    assert not image[:row].any()
    assert not image[row_stop : SWATHS["IW2"].lines].any()
    assert not image[:, :12].any()
    assert 50 < inside.real.std() < 100


def test_manifest_checksums_are_true(small: Dataset) -> None:
    safe = small.scenes[1][0]
    objects = ET.parse(safe / "manifest.safe").findall("dataObjectSection/dataObject")
    assert len(objects) == 5
    assert len({item.get("ID") for item in objects}) == 5
    for item in objects:
        location = item.find("byteStream/fileLocation")
        assert location is not None
        content = (safe / location.get("href", "")).read_bytes()
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == item.findtext("byteStream/checksum")


def test_truth_names_everything_put_in(small: Dataset) -> None:
    facts = json.loads((small.truth / "truth.json").read_text())
    assert facts["recipe"]["seed"] == SMALL.seed
    assert facts["passes"][1][0]["azimuth_shift_px"] == 0.004
    assert {path.name for path in small.truth.glob("*.tif")} == {
        "height.tif",
        "gamma_nought.tif",
        "range_change_20250303.tif",
        "range_change_20250315.tif",
        "temporal_coherence_20250303_20250315.tif",
    }
    heights, grid, _ = read_geotiff(small.dem)
    coarse, coarse_grid, _ = read_geotiff(small.truth / "height.tif")
    assert np.array_equal(coarse[:20, :20], heights[1:61:3, 1:61:3])
    assert coarse_grid.west == pytest.approx(grid.west)


def test_a_zip_holds_the_product_and_pairs_name_slices(tmp_path: Path) -> None:
    quick = replace(
        STILL,
        acquisitions=(Acquisition(day=date(2025, 3, 3), mission="S1C"), Acquisition(day=date(2025, 3, 15))),
        cuts=(SwathCut(swath="IW2", first_sample=12000, samples=200),),
        slices=2,
        zipped=True,
        scatterers=(1, 1),
        dem_margin_deg=0.01,
    )
    told: list[str] = []
    made = simulate(tmp_path, quick, watch=told.append)
    assert len(told) == 5
    first = made.scenes[0][0]
    assert first.suffix == ".zip"
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
    assert open_scene(first).mission == "S1C"
    line = made.pairs_file.read_text().splitlines()[1]
    assert line.count("[") == 2
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == sorted(
        path.name for slices in made.scenes for path in slices
    )


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        msg = "no room"
        raise ProductError(msg)

    monkeypatch.setattr("topsar.simulate.safe._write_manifest", fail)
    quick = replace(STILL, cuts=(SwathCut(swath="IW2", first_sample=12000, samples=100),), scatterers=(1, 1))
    with pytest.raises(ProductError):
        simulate(tmp_path, quick)
    assert not list((tmp_path / "raw").iterdir())


@pytest.mark.slow
def test_demo_products_open(tmp_path: Path) -> None:
    made = simulate(tmp_path, recipe("demo"))
    for slices in made.scenes:
        scene = open_scene(slices[0])
        assert scene.swaths == ("IW1", "IW2")
        assert [len(read_bursts(scene, swath, "VV")) for swath in scene.swaths] == [3, 3]
    assert len(made.pairs) == 3
