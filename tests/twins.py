"""Plain NumPy twins of the Numba kernels, and the small world they are tried in.

A twin says the same as its kernel in the plainest way: no lookup shortcuts, no unrolled sums, one point at a time.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from topsar.kernels.geometry import OrbitArc, fit_orbit
from topsar.kernels.resample import FRACTIONS, NODE_STEP, TAPS, RadarImage
from topsar.kernels.subband import SplitFilter
from topsar.kernels.tops import DerampTerms
from topsar.model import SPEED_OF_LIGHT, Burst, Looks, Orbit, OrbitSource, RadarGrid, RangePolynomial, Window

# --- twins ------------------------------------------------------------------------------------------------------


def zero_doppler(point_m: NDArray[np.float64], arc: OrbitArc, reach_s: float = 30.0) -> tuple[float, float]:
    """Time and range of one ECEF point: where a bracketing root finder sees (X - P) · V change its sign."""

    def along_track(t_s: float) -> float:
        return float((point_m - arc.position(t_s)) @ arc.velocity(t_s))

    time_s = brentq(along_track, arc.origin_s - reach_s, arc.origin_s + reach_s, xtol=1e-13, rtol=1e-15)
    return time_s, float(np.linalg.norm(point_m - arc.position(time_s)))


def cubic(values: NDArray[np.float32], row: float, column: float) -> float:
    """Catmull-Rom interpolation in its textbook matrix form; NaN where a tap is missing or void."""
    if not (math.isfinite(row) and math.isfinite(column)):
        return math.nan
    i, j = math.floor(row), math.floor(column)
    if i < 1 or j < 1 or i + 2 >= values.shape[0] or j + 2 >= values.shape[1]:
        return math.nan
    matrix = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    u, v = row - i, column - j
    taps = values[i - 1 : i + 3, j - 1 : j + 3].astype(np.float64)
    return float(np.array([1, u, u**2, u**3]) @ matrix @ taps @ matrix.T @ np.array([1, v, v**2, v**3]))


def deramp(slc: NDArray[np.complex64], eta_s: NDArray[np.float64], terms: DerampTerms) -> NDArray[np.complex128]:
    """The definition: the burst times exp(jφ)."""
    return slc * np.exp(1j * terms.phase(eta_s))


def turn(
    slc: NDArray[np.complex64], eta_s: NDArray[np.float64], terms: DerampTerms, direction: float
) -> NDArray[np.complex128]:
    """The burst times exp(±jφ)."""
    return slc * np.exp(1j * direction * terms.phase(eta_s))


def cross_multiply(
    reference: NDArray[np.complex64], secondary: NDArray[np.complex64], looks: Looks
) -> tuple[NDArray[np.complex128], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.complex128]]:
    """Sums over looks of r s*, |r|², |s|², of pixels where both dates have signal, and of (|r|² + |s|²) times place."""
    both = (np.abs(reference) > 0) & (np.abs(secondary) > 0)
    r, s = np.where(both, reference, 0).astype(np.complex128), np.where(both, secondary, 0).astype(np.complex128)
    rows, columns = r.shape[0] // looks.north, r.shape[1] // looks.east

    def looked(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return values.reshape(rows, looks.north, columns, looks.east).sum(axis=(1, 3))

    south, east = ((np.arange(looks) + 0.5) / looks - 0.5 for looks in (looks.north, looks.east))
    place = np.tile(east + 1j * south[:, None], (rows, columns))
    powers = np.abs(r) ** 2, np.abs(s) ** 2
    return looked(r * np.conj(s)), *map(looked, powers), looked(both.astype(np.int64)), looked(sum(powers) * place)


def split_band(
    lines: NDArray[np.complex64], split: SplitFilter, centre: int, first_time_s: float
) -> NDArray[np.complex128]:
    """The definition: a sum over the frequencies of a band, each without its weighting, moved to the centre."""
    sample = np.arange(lines.shape[1])
    place = np.arange(int(lines.shape[1] / split.step) + 2) * split.step
    total = np.zeros((len(lines), place.size), np.complex128)
    for frequency in range(centre - split.reach, centre + split.reach + 1):
        position = frequency / split.size * split.sampling_hz / split.bandwidth_hz
        weighting = 0.75 + 0.25 * math.cos(2 * math.pi * position)
        part = (lines * np.exp(-2j * np.pi * frequency * sample / split.size)).sum(axis=1) / split.size / weighting
        total += part[:, None] * np.exp(2j * np.pi * (frequency - centre) * place / split.size)
    moved = centre / split.size * split.sampling_hz * first_time_s
    return np.asarray(total * np.exp(-2j * np.pi * moved))


def signal(image: RadarImage, time_s: float, range_m: float) -> complex:
    """Signal of a deramped image at one time and range: interpolated, ramped again, flattened; 0 outside."""
    line = (time_s - image.first_time_s) / image.line_interval_s
    sample = (range_m - image.near_range_m) / image.range_spacing_m
    i, j = math.floor(line) - 3 - image.line, math.floor(sample) - 3 - image.sample
    lines, samples = image.real.shape
    if i < 0 or j < 0 or i + TAPS > lines or j + TAPS > samples:
        return 0j
    patch = image.real[i : i + TAPS, j : j + TAPS] + 1j * image.imag[i : i + TAPS, j : j + TAPS].astype(np.float64)
    azimuth = image.azimuth_table[round((line % 1) * FRACTIONS)].astype(np.float64)
    range_ = image.range_table[round((sample % 1) * FRACTIONS)].astype(np.float64)
    at = np.arange(len(image.k_t))
    k_t, f_dc, eta_ref = (np.interp(sample, at, term) for term in (image.k_t, image.f_dc, image.eta_ref))
    eta = (line - image.mid_line) * image.line_interval_s - eta_ref
    ramp = np.pi * k_t * eta**2 + 2 * np.pi * f_dc * eta
    return complex((azimuth @ patch @ range_) * np.exp(1j * (ramp + 4 * np.pi * range_m / image.wavelength_m)))


def geocode(
    nodes: NDArray[np.float64], dem: NDArray[np.float32], image: RadarImage, arc: OrbitArc, shape: tuple[int, int]
) -> NDArray[np.complex128]:
    """Pixel by pixel: ground from the four nodes around, height, exact zero-Doppler position, signal."""
    out = np.zeros(shape, np.complex128)
    for row, column in np.ndindex(shape):
        i, j = row // NODE_STEP, column // NODE_STEP
        u, v = row % NODE_STEP / NODE_STEP, column % NODE_STEP / NODE_STEP
        corners = nodes[i : i + 2, j : j + 2, :8]
        ground = np.einsum("i,j,ijk->k", [1 - u, u], [1 - v, v], corners)
        height = cubic(dem, ground[6], ground[7])
        if not math.isnan(height):
            time_s, range_m = zero_doppler(ground[:3] + height * ground[3:6], arc)
            out[row, column] = signal(image, time_s, range_m)
    return out


# --- a small world ----------------------------------------------------------------------------------------------

EPOCH = datetime(2024, 3, 1, 6, 0, tzinfo=timezone.utc)
EARTH_RATE_RAD_S = 7.2921151467e-5


def circular_orbit(
    *, latitude_deg: float = 40.0, offset_m: tuple[float, float] = (0.0, 0.0), step_s: float = 10.0, span_s: float = 120
) -> Orbit:
    """Sentinel-1's orbit as a circle, ascending over ``latitude_deg`` at `EPOCH`, shifted (up, to the left)."""
    radius, inclination = 7_071_000.0 + offset_m[0], math.radians(98.18)
    turn = math.sqrt(3.986004418e14 / 7_071_000.0**3)
    start = math.asin(math.sin(math.radians(latitude_deg)) / math.sin(inclination))
    times = np.arange(-span_s, span_s + 1, step_s)
    u, theta = start + turn * times, EARTH_RATE_RAD_S * times
    along = np.stack([np.cos(u), np.sin(u) * math.cos(inclination), np.sin(u) * math.sin(inclination)], axis=-1)
    ahead = np.stack([-np.sin(u), np.cos(u) * math.cos(inclination), np.cos(u) * math.sin(inclination)], axis=-1)
    normal = np.array([0.0, -math.sin(inclination), math.cos(inclination)])
    place = radius * along + offset_m[1] * normal
    speed = radius * turn * ahead
    spin = np.stack([speed[:, 0] + EARTH_RATE_RAD_S * place[:, 1], speed[:, 1] - EARTH_RATE_RAD_S * place[:, 0]], -1)

    def to_earth(x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta), z], axis=-1)

    return Orbit(
        source=OrbitSource.PRECISE,
        name="circle",
        epoch=EPOCH,
        times_s=times,
        positions_m=to_earth(*place.T),
        velocities_m_s=to_earth(spin[:, 0], spin[:, 1], speed[:, 2]),
    )


def arc_of(orbit: Orbit, seconds: float = 4.0) -> OrbitArc:
    """The orbit from `EPOCH` on, as the engine fits it."""
    return fit_orbit(orbit, EPOCH, EPOCH + timedelta(seconds=seconds))


def small_burst(*, lines: int = 1500, samples: int = 2000, near_range_m: float = 850_000.0) -> Burst:
    """An IW1 burst with real timing, sampling and Doppler, of fewer samples."""
    tau = 2 * near_range_m / SPEED_OF_LIGHT
    return Burst(
        scene="small",
        swath="IW1",
        polarisation="VV",
        index=0,
        burst_id=None,
        measurement="none",
        first_line=0,
        grid=RadarGrid(
            first_line_time=EPOCH,
            line_interval_s=2.055556299999998e-3,
            near_range_m=near_range_m,
            range_spacing_m=SPEED_OF_LIGHT / (2 * 64.34523812571428e6),
            lines=lines,
            samples=samples,
        ),
        valid=Window(row=0, column=0, rows=lines, columns=samples),
        radar_frequency_hz=5.405000454334350e9,
        steering_rate_rad_s=math.radians(1.590368784),
        fm_rate=RangePolynomial(t0_s=tau, coefficients=(-2326.3644, 4.4e5, -7.8e7)),
        doppler=RangePolynomial(t0_s=tau, coefficients=(25.0, 2.0e4, -3.0e7)),
        azimuth_bandwidth_hz=327.0,
        range_bandwidth_hz=56.5e6,
    )


def speckle(shape: tuple[int, int], cells: NDArray[np.float64], seed: int) -> NDArray[np.complex128]:
    """Speckle of Hamming-weighted bands on a map; ``cells`` are resolution cells from pixel to pixel."""
    draw = np.random.default_rng(seed).normal(size=(2, *shape))
    north, east = np.meshgrid(*(np.fft.fftfreq(count) for count in shape), indexing="ij")
    frequency = np.stack([east, north], axis=-1) @ np.linalg.inv(cells).T
    weight = np.where(np.abs(frequency) <= 0.5, 0.75 + 0.25 * np.cos(2 * np.pi * frequency), 0).prod(axis=-1)
    field = np.fft.ifft2(weight * (draw[0] + 1j * draw[1]))
    return np.asarray(field / np.sqrt((np.abs(field) ** 2).mean()))


CELLS = np.array([[0.9, -0.08], [0.3, 0.44]])
"""5 m east and 10 m north, seen from the west-south-west, in resolution cells of range and azimuth."""
