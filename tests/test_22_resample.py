"""Geocoding: interpolators, heights, node placing, and the whole kernel against its twin and a closed form."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

import twins
from topsar.kernels import _void_stale_caches
from topsar.kernels.geometry import OrbitArc, ecef_to_geodetic, geo2rdr, geodetic_to_ecef, rdr2geo, up_vector
from topsar.kernels.resample import (
    FRACTIONS,
    NODE_STEP,
    TAPS,
    RadarImage,
    design_interpolator,
    geocode,
    interpolate_nodes,
    place_ground,
    place_nodes,
    sample_heights,
)
from topsar.kernels.tops import find_deramp_terms

# --- interpolator -----------------------------------------------------------------------------------------------

LINE_RATE_HZ, SAMPLE_RATE_MHZ = 486.486, 64.345238
BANDS = {  # occupied share, design share, root mean square error allowed
    "IW1 range": (56.5 / SAMPLE_RATE_MHZ, 56.5 / SAMPLE_RATE_MHZ, 0.04),
    "IW2 range": (48.3 / SAMPLE_RATE_MHZ, 48.3 / SAMPLE_RATE_MHZ, 0.01),
    "IW3 range": (42.79 / SAMPLE_RATE_MHZ, 42.79 / SAMPLE_RATE_MHZ, 0.01),
    "IW1 azimuth": (327 / LINE_RATE_HZ, (327 + 40) / LINE_RATE_HZ, 0.01),
    "IW2 azimuth": (313 / LINE_RATE_HZ, (313 + 40) / LINE_RATE_HZ, 0.01),
    "IW3 azimuth": (314 / LINE_RATE_HZ, (314 + 40) / LINE_RATE_HZ, 0.01),
}


def random_signal(band: float, count: int = 4096) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """A periodic random signal, Hamming-weighted over its band as the products are, with its spectrum."""
    rng = np.random.default_rng(7)
    frequency = np.fft.fftfreq(count)
    weight = np.where(np.abs(frequency) <= band / 2, 0.75 + 0.25 * np.cos(2 * np.pi * frequency / band), 0)
    spectrum = weight * (rng.normal(size=count) + 1j * rng.normal(size=count))
    return np.fft.ifft(spectrum), spectrum


def interpolated(signal: NDArray[np.complex128], table: NDArray[np.float32], fraction: int) -> NDArray[np.complex128]:
    rolled = np.stack([np.roll(signal, 3 - tap) for tap in range(TAPS)], axis=-1)
    return rolled @ table[fraction].astype(np.float64)


@pytest.mark.parametrize("name", BANDS)
def test_a_band_limited_signal_is_reproduced_without_phase_bias(name: str) -> None:
    band, design, allowed = BANDS[name]
    signal, spectrum = random_signal(band)
    table = design_interpolator(design)
    frequency = np.fft.fftfreq(len(signal))
    power, worst_bias = [], 0.0
    for fraction in range(0, FRACTIONS + 1, 32):
        truth = np.fft.ifft(spectrum * np.exp(2j * np.pi * frequency * fraction / FRACTIONS))
        made = interpolated(signal, table, fraction)
        power.append(np.mean(np.abs(made - truth) ** 2) / np.mean(np.abs(truth) ** 2))
        worst_bias = max(worst_bias, abs(np.angle(np.vdot(truth, made))))
    assert np.sqrt(np.mean(power)) < allowed
    assert worst_bias < 1e-3


@pytest.mark.parametrize("band", [0.72, 0.76, 0.88])
def test_at_a_sample_the_interpolator_is_that_sample(band: float) -> None:
    table = design_interpolator(band)
    assert table.shape == (FRACTIONS + 1, TAPS)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table[0], np.eye(TAPS)[3], atol=1e-3)
    np.testing.assert_allclose(table[FRACTIONS], np.eye(TAPS)[4], atol=1e-3)
    np.testing.assert_allclose(table, table[::-1, ::-1], atol=1e-6, err_msg="mirrored in time")


# --- heights ----------------------------------------------------------------------------------------------------


def heights_at(
    dem: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    out = np.empty(rows.size)
    sample_heights(dem, rows, columns, out)
    return out


def test_pixels_between_nodes_are_interpolated_linearly_from_any_offset() -> None:
    step, offset, shape = 5, (3, 7), (9, 11)
    nodes = np.random.default_rng(4).normal(size=(4, 5, 3))
    places = np.empty((*shape, 3))
    interpolate_nodes(nodes, step, offset, places)
    row, column = (np.add(first, np.arange(n)) / step for first, n in zip(offset, shape, strict=True))
    expected = RegularGridInterpolator((np.arange(4), np.arange(5)), nodes)(
        np.stack(np.meshgrid(row, column, indexing="ij"), axis=-1)
    )
    np.testing.assert_allclose(places, expected, atol=1e-12)


def test_ground_lies_at_its_height_along_the_normal_and_at_zero_over_voids() -> None:
    step, offset, shape = 4, (1, 2), (5, 6)
    row, column = (np.add(first, np.arange(n)) for first, n in zip(offset, shape, strict=True))
    dem = np.random.default_rng(5).normal(500, 100, (14, 15)).astype(np.float32)
    dem[9, 12] = np.nan
    nodes = np.random.default_rng(6).normal(size=(3, 4, 8))
    nodes[..., 6] = (np.arange(3) * step + 3.25)[:, None]  # rows and columns of the DEM go with those of the map
    nodes[..., 7] = np.arange(4) * step + 3.5
    height, points, ground = np.empty(shape, np.float32), np.empty((*shape, 3)), np.empty((*shape, 8))
    place_ground(nodes, step, offset, dem, height, points)
    interpolate_nodes(nodes, step, offset, ground)
    expected = [[twins.cubic(dem, i + 3.25, j + 3.5) for j in column] for i in row]
    np.testing.assert_allclose(height, expected, rtol=1e-5)
    assert np.isnan(height).any()
    assert np.isfinite(height).any()
    np.testing.assert_allclose(
        points, ground[..., :3] + np.nan_to_num(height)[..., None] * ground[..., 3:6], rtol=1e-5, atol=1e-4
    )


@given(st.lists(st.tuples(st.floats(-2, 14), st.floats(-2, 17)), min_size=1, max_size=30))
def test_heights_agree_with_their_twin_inside_and_outside(places: list[tuple[float, float]]) -> None:
    dem = np.random.default_rng(3).normal(1000, 300, (12, 15)).astype(np.float32)
    rows, columns = np.array(places).T.copy()
    expected = [twins.cubic(dem, *place) for place in places]
    np.testing.assert_allclose(heights_at(dem, rows, columns), expected, rtol=1e-10, atol=1e-8)


def test_a_curved_surface_is_followed_exactly() -> None:
    i, j = np.mgrid[:20, :20].astype(float)
    dem = (0.5 * i**2 - 3 * i * j + 0.25 * j**2 + 7 * i + 100).astype(np.float32)
    rows, columns = np.random.default_rng(5).uniform(1, 18, (2, 50))
    expected = 0.5 * rows**2 - 3 * rows * columns + 0.25 * columns**2 + 7 * rows + 100
    np.testing.assert_allclose(heights_at(dem, rows, columns), expected, atol=1e-9)


def test_voids_and_places_that_are_not_numbers_have_no_height() -> None:
    dem = np.full((10, 10), 5.0, np.float32)
    dem[4, 4] = np.nan
    rows = np.array([4.0, 5.9, 6.1, 8.0, np.nan, np.inf, -np.inf, 1.0, 7.0, 7.0])
    columns = np.array([4.0, 4.5, 4.5, 4.0, 4.0, 4.0, 4.0, 1.0, 8.0, 7.0])
    np.testing.assert_array_equal(np.isnan(heights_at(dem, rows, columns)), [1, 1, 0, 1, 1, 1, 1, 0, 1, 0])


# --- geocoding --------------------------------------------------------------------------------------------------

BURST = twins.small_burst()
ARC = twins.arc_of(twins.circular_orbit()).narrow(twins.EPOCH, twins.EPOCH + timedelta(seconds=4))
TERMS = find_deramp_terms(BURST, ARC)
LINE, SAMPLE, LINES, SAMPLES = 180, 600, 130, 400  # the part of the burst that the planes hold
SHAPE = (44, 83)  # not whole tiles
DEM_POSTING_DEG = 3e-4


def image_of(planes: NDArray[np.complex64], arc: OrbitArc = ARC) -> RadarImage:
    grid = BURST.grid
    return RadarImage(
        real=np.ascontiguousarray(planes.real),
        imag=np.ascontiguousarray(planes.imag),
        line=LINE,
        sample=SAMPLE,
        first_time_s=arc.seconds(grid.first_line_time),
        line_interval_s=grid.line_interval_s,
        near_range_m=grid.near_range_m,
        range_spacing_m=grid.range_spacing_m,
        mid_line=grid.lines / 2,
        wavelength_m=BURST.wavelength_m,
        k_t=TERMS.k_t,
        f_dc=TERMS.f_dc,
        eta_ref=TERMS.eta_ref,
        origin_s=arc.origin_s,
        scale_s=arc.scale_s,
        orbit=arc.coefficients,
        azimuth_table=design_interpolator(0.75),
        range_table=design_interpolator(0.878),
    )


def place_of(line: float, sample: float, height_m: float = 300.0) -> tuple[float, float, NDArray[np.float64]]:
    """Zero-Doppler time, range and ground point of a place in the burst."""
    time = ARC.seconds(BURST.grid.first_line_time) + line * BURST.grid.line_interval_s
    range_m = BURST.grid.near_range_m + sample * BURST.grid.range_spacing_m
    return time, range_m, rdr2geo(np.array(time), np.array(range_m), height_m, ARC)


def ground(step_m: float = 10.0) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Nodes of a grid in latitude and longitude over the middle of the planes, and a hilly DEM under it."""
    lat, lon, _ = ecef_to_geodetic(place_of(LINE + LINES / 2, SAMPLE + SAMPLES / 2)[2])
    step = step_m / 6.378e6
    rows, columns = (np.arange(-(-n // NODE_STEP) + 1) * NODE_STEP - n / 2 for n in SHAPE)
    lats, lons = np.meshgrid(lat - rows * step, lon + columns * step / np.cos(lat), indexing="ij")
    posting = np.radians(DEM_POSTING_DEG)
    place = np.stack([20 - (lats - lat) / posting, 20 + (lons - lon) / posting], axis=-1)
    i, j = np.mgrid[:42, :42]
    dem = (300 + 80 * np.sin(i / 3) * np.cos(j / 4) + 3 * j).astype(np.float32)
    nodes = np.concatenate([geodetic_to_ecef(lats, lons, 0.0), up_vector(lats, lons), place], axis=-1)
    return nodes, dem


def geocoded(nodes: NDArray[np.float64], dem: NDArray[np.float32], image: RadarImage) -> NDArray[np.complex64]:
    placed = place_nodes(nodes, dem, image)
    out = np.zeros(SHAPE, np.complex64)
    geocode(placed.nodes, placed.active, dem, image, out)
    return out


def noise() -> NDArray[np.complex64]:
    rng = np.random.default_rng(11)
    return (rng.normal(size=(LINES, SAMPLES)) + 1j * rng.normal(size=(LINES, SAMPLES))).astype(np.complex64)


def test_nodes_are_placed_where_the_twin_sees_them() -> None:
    nodes, dem = ground()
    placed = place_nodes(nodes, dem, image_of(noise()))
    for index in np.ndindex(nodes.shape[:2]):
        height = np.nan_to_num(twins.cubic(dem, *nodes[index][6:]))  # zero over voids and beyond the DEM
        time, range_m = twins.zero_doppler(nodes[index][:3] + height * nodes[index][3:6], ARC)
        assert placed.nodes[index][8] == pytest.approx(time, abs=1e-10)
        assert placed.line[index] * BURST.grid.line_interval_s == pytest.approx(time, abs=1e-10)
        assert placed.sample[index] == pytest.approx((range_m - 850_000) / BURST.grid.range_spacing_m, abs=1e-6)
    np.testing.assert_array_equal(placed.nodes[..., :8], nodes)
    assert placed.active.all()


def test_ground_far_from_the_image_is_not_active() -> None:
    nodes, dem = ground()
    beyond = image_of(noise())._replace(line=LINE + 400)
    assert not place_nodes(nodes, dem, beyond).active.any()
    beyond = image_of(noise())._replace(sample=SAMPLE + 1300)
    assert not place_nodes(nodes, dem, beyond).active.any()


def test_voids_do_not_stop_nodes() -> None:
    nodes, dem = ground()
    placed = place_nodes(nodes, np.full_like(dem, np.nan), image_of(noise()))
    assert np.isfinite(placed.nodes).all()


@pytest.mark.parametrize("step_m", [10.0, 25.0])
def test_the_kernel_agrees_with_its_twin(step_m: float) -> None:
    """At 10 m all pixels see the image, at 25 m many do not; three cycles of height, a void and a DEM edge."""
    nodes, dem = ground(step_m)
    dem[22, 18] = np.nan
    image = image_of(noise())
    made, expected = geocoded(nodes, dem, image), twins.geocode(nodes, dem, image, ARC, SHAPE)
    assert 0.2 < (expected != 0).mean() < 0.999
    np.testing.assert_array_equal(made == 0, expected == 0)
    # noise fills the band, so a place on the edge of two tabulated fractions may round to either
    difference = np.abs(made - expected)
    assert np.percentile(difference, 99) < 1e-5
    assert difference.max() < 0.02


def place_seen(pixel: tuple[int, int], nodes: NDArray[np.float64], dem: NDArray[np.float32], arc: OrbitArc):
    """Line, sample and range at which an orbit sees a pixel of the grid."""
    i, j = (p // NODE_STEP for p in pixel)
    u, v = (p % NODE_STEP / NODE_STEP for p in pixel)
    at = np.einsum("i,j,ijk->k", [1 - u, u], [1 - v, v], nodes[i : i + 2, j : j + 2])
    time, range_m = geo2rdr(at[:3] + twins.cubic(dem, *at[6:]) * at[3:6], arc)
    grid = BURST.grid
    line = (time - arc.seconds(grid.first_line_time)) / grid.line_interval_s
    return float(line), float((range_m - grid.near_range_m) / grid.range_spacing_m), float(range_m)


def scatterer(line: float, sample: float, range_m: float, amplitude: complex) -> NDArray[np.complex64]:
    """Deramped planes with one point, as a burst is delivered: at the peak its phase is -4πR/λ."""
    grid = BURST.grid
    k_t, f_dc, eta_ref = (np.interp(sample, np.arange(grid.samples), x) for x in (TERMS.k_t, TERMS.f_dc, TERMS.eta_ref))

    def ramp(eta: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(np.pi * k_t * (eta - eta_ref) ** 2 + 2 * np.pi * f_dc * (eta - eta_ref))

    eta = (LINE + np.arange(LINES) - grid.lines / 2) * grid.line_interval_s
    carrier = (
        ramp(eta) - ramp((line - grid.lines / 2) * grid.line_interval_s) - 4 * np.pi * range_m / BURST.wavelength_m
    )
    across = np.sinc(0.6 * (LINE + np.arange(LINES) - line)) * np.exp(1j * carrier)
    along = np.sinc(0.7 * (SAMPLE + np.arange(SAMPLES) - sample))
    slc = amplitude * across[:, None] * along
    return (slc * np.exp(1j * TERMS.phase(eta)[:, SAMPLE : SAMPLE + SAMPLES])).astype(np.complex64)


@pytest.mark.parametrize("offset_m", [(0.0, 0.0), (60.0, 90.0), (-20.0, -140.0)])
@pytest.mark.parametrize("pixel", [(5, 11), (22, 40), (40, 70)])
def test_a_scatterer_keeps_its_phase_on_every_orbit(pixel: tuple[int, int], offset_m: tuple[float, float]) -> None:
    """Flat earth, topography and the TOPS ramp are gone: what is left is the scatterer's own amplitude."""
    stop = twins.EPOCH + timedelta(seconds=4)
    arc = twins.arc_of(twins.circular_orbit(offset_m=offset_m)).narrow(twins.EPOCH, stop)
    nodes, dem = ground()
    image = image_of(scatterer(*place_seen(pixel, nodes, dem, arc), 3 - 4j), arc)
    assert geocoded(nodes, dem, image)[pixel] == pytest.approx(3 - 4j, abs=0.01)
    angle = np.angle(geocoded(nodes, dem, image)[pixel] * (3 + 4j))
    assert abs(angle) < 5e-4


def test_blocks_of_rows_and_columns_give_the_same_pixels() -> None:
    nodes, dem = ground()
    image = image_of(noise())
    whole = geocoded(nodes, dem, image)
    placed = place_nodes(nodes, dem, image)
    out = np.zeros((SHAPE[0] - NODE_STEP, SHAPE[1] - NODE_STEP), np.complex64)
    part = np.ascontiguousarray(placed.nodes[1:, 1:]), np.ascontiguousarray(placed.active[1:, 1:])
    geocode(*part, dem, image, out)
    np.testing.assert_array_equal(out, whole[NODE_STEP:, NODE_STEP:])


GEOCODE_AND_MULTIPLY = """
import hashlib
import numpy as np
import test_22_resample as parts
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums
from topsar.model import Looks

parts.SHAPE = (256, 320)
nodes, dem = parts.ground(4.0)
signal = parts.geocoded(nodes, dem, parts.image_of(parts.noise()))
assert np.count_nonzero(signal) > 20_000
sums, pixels = LookSums.zeros((32, 20)), signal.view(np.float32).reshape(256, 320, 2).astype(np.float16)
cross_multiply(pixels, pixels[::-1], Looks(east=16, north=8), sums)
print(hashlib.sha256(signal.tobytes() + sums.cross.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_process_that_compiles_makes_the_same_bits_as_those_that_load(tmp_path: Path) -> None:
    def run() -> str:
        command, cache = [sys.executable, "-c", GEOCODE_AND_MULTIPLY], {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(command, cwd=Path(__file__).parent, env=os.environ | cache, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    assert run() == run()
    assert any(tmp_path.rglob("tile.geocode_tiles*.nbc"))


@pytest.mark.slow
def test_no_kernel_reaches_beyond_its_arrays(tmp_path: Path) -> None:
    """Numba checks no bounds unless it is told to: here all tests of kernels run again with checks."""
    folder, checked = Path(__file__).parent, {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}"]
    done = subprocess.run([*command, *folder.glob("test_2*.py")], env=os.environ | checked, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_an_edit_in_any_kernel_file_voids_all_caches(tmp_path: Path) -> None:
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    source, old, new = tmp_path / "geometry.py", cache / "resample.old.nbi", cache / "resample.new.nbi"
    for path, time in ((old, 100), (source, 200), (new, 300)):
        path.touch()
        os.utime(path, (time, time))
    _void_stale_caches(tmp_path)
    assert list(cache.iterdir()) == [new]
