"""Kernels of the simulator: gridding and its spectra, scatterers, the phase ramp."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from scipy import fft, special

from topsar.kernels.geometry import WGS84_A, WGS84_E2
from topsar.simulate.mode import WINDOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINE_TAPS, SAMPLE_TAPS = 6, 8
_TABLE = 2048
_TWO_PI = 2 * math.pi


class Ground(NamedTuple):
    """The lattice and what is on it, as the kernel takes it; see `Terrain`."""

    first_row: int
    first_column: int
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    height: NDArray[np.float32]
    gamma: NDArray[np.float32]
    stable: NDArray[np.float32]
    change: NDArray[np.float32]
    ionosphere: NDArray[np.float32]
    north: int
    east: int
    seed: int
    number: int
    renewal: NDArray[np.float32]
    shell: float


class Canvas(NamedTuple):
    """The deramped burst being filled: sampling, ramp terms, orbit, kernel tables."""

    values: NDArray[np.complex64]
    first_time: float
    line_interval: float
    first_range: float
    range_spacing: float
    mid_time: float
    azimuth_bias: float
    range_bias: float
    k_t: NDArray[np.float64]
    f_dc: NDArray[np.float64]
    eta_ref: NDArray[np.float64]
    scale: float
    orbit: NDArray[np.float64]
    line_kernel: NDArray[np.float32]
    sample_kernel: NDArray[np.float32]
    rayleigh: NDArray[np.float32]
    wavelength: float
    brightness: float


def _choose_kernel_shape(taps: int, occupied: float) -> float:
    """Kaiser-Bessel β of a kernel of ``taps`` samples for a signal that fills the share ``occupied`` of the band.

    Beatty, Nishimura and Pauly (2005), IEEE Transactions on Medical Imaging 24, equation 5.
    """
    over = 1 / occupied
    return math.pi * math.sqrt((taps / over) ** 2 * (over - 0.5) ** 2 - 0.8)


def tabulate_kernel(taps: int, occupied: float) -> NDArray[np.float32]:
    """Weights (fractions, ``taps``) of a Kaiser-Bessel kernel between two samples; see `_choose_kernel_shape`.

    Parameters
    ----------
    taps : int
        Samples that the kernel covers.
    occupied : float
        Share of the band that the signal fills.
    """
    beta = _choose_kernel_shape(taps, occupied)
    fraction = (np.arange(_TABLE) + 0.5) / _TABLE
    x = (np.arange(taps) - (taps / 2 - 1)) - fraction[:, None]
    return special.i0(beta * np.sqrt(np.clip(1 - (2 * x / taps) ** 2, 0, None))).astype(np.float32)


def transform_kernel(size: int, taps: int, occupied: float) -> NDArray[np.float64]:
    """Fourier transform (size,) of the Kaiser-Bessel kernel inside the occupied band; one outside.

    Parameters
    ----------
    size : int
        Number of frequencies.
    taps : int
    occupied : float
    """
    f = fft.fftfreq(size)
    beta = _choose_kernel_shape(taps, occupied)
    root = np.sqrt(np.clip(beta**2 - (np.pi * taps * f) ** 2, 1e-12, None))
    return np.where(np.abs(f) <= occupied / 2, taps * np.sinh(root) / root, 1.0)


def weight_band(size: int, occupied: float) -> NDArray[np.float64]:
    """The processor's Hamming-weighted band (size,), of unit mean power.

    Parameters
    ----------
    size : int
    occupied : float
    """
    f = fft.fftfreq(size)
    window = np.where(np.abs(f) <= occupied / 2, WINDOW + (1 - WINDOW) * np.cos(_TWO_PI * f / occupied), 0.0)
    return np.asarray(window / np.sqrt(np.mean(window**2)), dtype=np.float64)


@njit(cache=True, nogil=True, inline="always")
def _mix_bits(x):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser: a counter becomes 64 random bits (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _evaluate_orbit(t, canvas):  # type: ignore[no-untyped-def]
    """Position, velocity and acceleration at a time."""
    u = (t - canvas.mid_time) / canvas.scale
    c = canvas.orbit
    n = c.shape[1] - 1
    px, py, pz = c[0, n], c[1, n], c[2, n]
    vx = vy = vz = ax = ay = az = 0.0
    for k in range(n - 1, -1, -1):
        ax = ax * u + vx
        ay = ay * u + vy
        az = az * u + vz
        vx = vx * u + px
        vy = vy * u + py
        vz = vz * u + pz
        px = px * u + c[0, k]
        py = py * u + c[1, k]
        pz = pz * u + c[2, k]
    s = 1.0 / canvas.scale
    q = 2.0 * s * s
    return px, py, pz, vx * s, vy * s, vz * s, ax * q, ay * q, az * q


@njit(cache=True, nogil=True, inline="always")
def _spread_scatterer(canvas, t, range_m, group, turn, amplitude):  # type: ignore[no-untyped-def]
    """Spread one scatterer: zero-Doppler time, range of its phase, what its group is late, random phase in turns."""
    row = (t + canvas.azimuth_bias - canvas.first_time) / canvas.line_interval
    column = (range_m + group + canvas.range_bias - canvas.first_range) / canvas.range_spacing
    i = math.floor(row)
    j = math.floor(column)
    first_row = i - (LINE_TAPS // 2 - 1)
    first_column = j - (SAMPLE_TAPS // 2 - 1)
    values = canvas.values
    if first_row < 0 or first_column < 0:
        return
    if first_row + LINE_TAPS > values.shape[0] or first_column + SAMPLE_TAPS > values.shape[1]:
        return
    k = min(max(j, 0), canvas.k_t.size - 2)
    w = column - k
    k_t = canvas.k_t[k] + w * (canvas.k_t[k + 1] - canvas.k_t[k])
    f_dc = canvas.f_dc[k] + w * (canvas.f_dc[k + 1] - canvas.f_dc[k])
    eta_ref = canvas.eta_ref[k] + w * (canvas.eta_ref[k + 1] - canvas.eta_ref[k])
    eta = t + canvas.azimuth_bias - canvas.mid_time - eta_ref
    turn -= 2.0 * range_m / canvas.wavelength + eta * (0.5 * k_t * eta + f_dc)
    angle = np.float32(_TWO_PI * (turn - math.floor(turn)))
    re = amplitude * math.cos(angle)
    im = amplitude * math.sin(angle)
    lines = canvas.line_kernel[int((row - i) * _TABLE)]
    samples = canvas.sample_kernel[int((column - j) * _TABLE)]
    for m in range(LINE_TAPS):
        value = np.complex64(complex(re * lines[m], im * lines[m]))
        out = values[first_row + m]
        for n in range(SAMPLE_TAPS):
            out[first_column + n] += value * samples[n]


@njit(cache=True, nogil=True, inline="always")
def _locate_node(ground, i, j):  # type: ignore[no-untyped-def]
    """ECEF position of a node."""
    sin_lat = math.sin(ground.latitude[i])
    cos_lat = math.cos(ground.latitude[i])
    normal = WGS84_A / math.sqrt(1.0 - WGS84_E2 * sin_lat * sin_lat)
    h = ground.height[i, j]
    rho = (normal + h) * cos_lat
    lon = ground.longitude[j]
    return rho * math.cos(lon), rho * math.sin(lon), (normal * (1.0 - WGS84_E2) + h) * sin_lat


@njit(cache=True, nogil=True)
def add_scatterers(ground, canvas, first, stop, margin):  # type: ignore[no-untyped-def]
    """Add the scatterers of a part of the lattice.

    Parameters
    ----------
    ground, canvas : Ground, Canvas
        What is on the lattice, and the burst to fill.
    first, stop : (int, int)
        Corners (row, column) of the cells.
    margin : float
        Samples beyond the burst, both ways, up to which cells count.
    """
    t = canvas.mid_time
    share = canvas.brightness / (ground.north * ground.east)
    row_stop = canvas.values.shape[0] + margin
    column_stop = canvas.values.shape[1] + margin
    for i in range(first[0], stop[0]):
        ax, ay, az = _locate_node(ground, i, first[1])
        cx, cy, cz = _locate_node(ground, i + 1, first[1])
        for j in range(first[1], stop[1]):
            # corners: a north-west, b north-east, c south-west, d south-east
            bx, by, bz = _locate_node(ground, i, j + 1)
            dx, dy, dz = _locate_node(ground, i + 1, j + 1)
            mx, my, mz = (ax + bx + cx + dx) / 4, (ay + by + cy + dy) / 4, (az + bz + cz + dz) / 4
            px = py = pz = vx = vy = vz = qx = qy = qz = 0.0
            for _ in range(2):
                px, py, pz, vx, vy, vz, qx, qy, qz = _evaluate_orbit(t, canvas)
                lx, ly, lz = mx - px, my - py, mz - pz
                t += (lx * vx + ly * vy + lz * vz) / (vx * vx + vy * vy + vz * vz - (lx * qx + ly * qy + lz * qz))
            px, py, pz, vx, vy, vz, qx, qy, qz = _evaluate_orbit(t, canvas)
            lx, ly, lz = px - mx, py - my, pz - mz
            distance = math.sqrt(lx * lx + ly * ly + lz * lz)
            row = (t + canvas.azimuth_bias - canvas.first_time) / canvas.line_interval
            column = (distance - canvas.first_range) / canvas.range_spacing
            if -margin < row < row_stop and -margin < column < column_stop:
                facing = _face_satellite(ax - dx, ay - dy, az - dz, cx - bx, cy - by, cz - bz, lx, ly, lz) / distance
                if facing > 0:
                    speed2 = vx * vx + vy * vy + vz * vz
                    strength = math.sqrt(share * ground.gamma[i, j] * facing)
                    stable = ground.stable[i, j]
                    key = _mix_bits(
                        np.uint64(ground.seed)
                        ^ _mix_bits(
                            (np.uint64(ground.first_row + i) << np.uint64(32)) + np.uint64(ground.first_column + j)
                        )
                    )
                    ux, uy, uz = _find_normal(ground, i, j)
                    sight = (lx, ly, lz, distance)
                    bend = speed2 + lx * qx + ly * qy + lz * qz
                    sides = (
                        cx + dx - ax - bx,
                        cy + dy - ay - by,
                        cz + dz - az - bz,
                        bx + dx - ax - cx,
                        by + dy - ay - cy,
                        bz + dz - az - cz,
                    )
                    late = _shift_ionosphere(
                        ground, i, j, sides, sight, (vx, vy, vz), bend, math.sqrt(px * px + py * py + pz * pz)
                    )
                    for k in range(ground.north * ground.east):
                        h = _mix_bits(key + np.uint64(k + 1) * np.uint64(0x9E3779B97F4A7C15))
                        v = (k // ground.east + (h & np.uint64(0xFFFFF)) * 9.5367431640625e-07) / ground.north
                        u = (
                            k % ground.east + ((h >> np.uint64(20)) & np.uint64(0xFFFFF)) * 9.5367431640625e-07
                        ) / ground.east
                        rise = _add_relief(ground.height, i, j, v, u)
                        wa, wb, wc, wd = (1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u
                        x = wa * ax + wb * bx + wc * cx + wd * dx + rise * ux - px
                        y = wa * ay + wb * by + wc * cy + wd * dy + rise * uy - py
                        z = wa * az + wb * bz + wc * cz + wd * dz + rise * uz - pz
                        s = (x * vx + y * vy + z * vz) / (speed2 - (x * qx + y * qy + z * qz))
                        x -= s * (vx + 0.5 * s * qx)
                        y -= s * (vy + 0.5 * s * qy)
                        z -= s * (vz + 0.5 * s * qz)
                        early = _mix_corners(ground.ionosphere, i, j, wa, wb, wc, wd)
                        extra = _mix_corners(ground.change, i, j, wa, wb, wc, wd) - early
                        draw = _draw_bits(ground, h, stable)
                        turn = (draw & np.uint64(0xFFFFFF)) * 5.9604644775390625e-08
                        amplitude = strength * canvas.rayleigh[draw >> np.uint64(52)]
                        distance = math.sqrt(x * x + y * y + z * z)
                        _spread_scatterer(canvas, t + s + late, distance + extra, 2 * early, turn, amplitude)
            ax, ay, az, cx, cy, cz = bx, by, bz, dx, dy, dz


@njit(cache=True, nogil=True, inline="always")
def _mix_corners(values, i, j, wa, wb, wc, wd):  # type: ignore[no-untyped-def]
    """Mean of a cell's corners: north-west, north-east, south-west, south-east."""
    return wa * values[i, j] + wb * values[i, j + 1] + wc * values[i + 1, j] + wd * values[i + 1, j + 1]


@njit(cache=True, nogil=True, inline="always")
def _shift_ionosphere(ground, i, j, sides, sight, velocity, bend, radius):  # type: ignore[no-untyped-def]
    """How much later a cell is seen along azimuth, s, for the slope of the ionosphere.

    While the satellite flies past, the ray moves through the shell by the share h/H of its way, and range is early by
    e: that shifts its minimum by (h/H) (de/dt) / (d²R/dt²). ``sides`` are twice those of the cell, south and east.
    """
    if ground.shell == 0.0:
        return 0.0
    e = ground.ionosphere
    south = e[i + 1, j] + e[i + 1, j + 1] - e[i, j] - e[i, j + 1]
    east = e[i, j + 1] + e[i + 1, j + 1] - e[i, j] - e[i + 1, j]
    time_south = (sides[0] * velocity[0] + sides[1] * velocity[1] + sides[2] * velocity[2]) / bend
    time_east = (sides[3] * velocity[0] + sides[4] * velocity[1] + sides[5] * velocity[2]) / bend
    range_south = sides[0] * sight[0] + sides[1] * sight[1] + sides[2] * sight[2]
    range_east = sides[3] * sight[0] + sides[4] * sight[1] + sides[5] * sight[2]
    rate = (south * range_east - east * range_south) / (time_south * range_east - time_east * range_south)
    return ground.shell / (radius - WGS84_A) * rate * sight[3] / bend


@njit(cache=True, nogil=True, inline="always")
def _face_satellite(ax, ay, az, bx, by, bz, lx, ly, lz):  # type: ignore[no-untyped-def]
    """Half the cross product of two diagonals (the cell's area vector, outward) along a vector."""
    nx = ay * bz - az * by
    ny = az * bx - ax * bz
    nz = ax * by - ay * bx
    return 0.5 * (nx * lx + ny * ly + nz * lz)


@njit(cache=True, nogil=True, inline="always")
def _find_normal(ground, i, j):  # type: ignore[no-untyped-def]
    cos_lat = math.cos(ground.latitude[i])
    lon = ground.longitude[j]
    return cos_lat * math.cos(lon), cos_lat * math.sin(lon), math.sin(ground.latitude[i])


@njit(cache=True, nogil=True, inline="always")
def _bend(h, i, j, south, east):  # type: ignore[no-untyped-def]
    """Second difference of heights."""
    return h[i - south, j - east] - 2 * h[i, j] + h[i + south, j + east]


@njit(cache=True, nogil=True, inline="always")
def _add_relief(h, i, j, v, u):  # type: ignore[no-untyped-def]
    """What Catmull-Rom interpolation of heights adds to bilinear (mixed fourth differences left out)."""
    east0 = (1 - v) * _bend(h, i, j, 0, 1) + v * _bend(h, i + 1, j, 0, 1)
    east1 = (1 - v) * _bend(h, i, j + 1, 0, 1) + v * _bend(h, i + 1, j + 1, 0, 1)
    south0 = (1 - u) * _bend(h, i, j, 1, 0) + u * _bend(h, i, j + 1, 1, 0)
    south1 = (1 - u) * _bend(h, i + 1, j, 1, 0) + u * _bend(h, i + 1, j + 1, 1, 0)
    return -0.5 * (u * (1 - u) * ((1 - u) * east0 + u * east1) + v * (1 - v) * ((1 - v) * south0 + v * south1))


@njit(cache=True, nogil=True, inline="always")
def _draw_bits(ground, h, stable):  # type: ignore[no-untyped-def]
    """Random bits of a scatterer on this pass: those of the last pass that renewed it."""
    last = 0
    if stable < 0:
        last = ground.number
    elif (h >> np.uint64(40)) * 5.9604644775390625e-08 >= stable:
        for k in range(ground.number, 0, -1):
            chance = _mix_bits(h + np.uint64(k) * np.uint64(0xD1342543DE82EF95))
            if (chance >> np.uint64(40)) * 5.9604644775390625e-08 < ground.renewal[k]:
                last = k
                break
    return _mix_bits(h ^ (np.uint64(last + 1) * np.uint64(0xA0761D6478BD642F)))


@njit(cache=True, nogil=True)
def add_targets(points, amplitudes, canvas):  # type: ignore[no-untyped-def]
    """Add point targets.

    Parameters
    ----------
    points : (n, 3) float64
        ECEF, m.
    amplitudes : (n,) float64
        Of their pulses before focusing.
    canvas : Canvas
        The burst to fill.
    """
    for k in range(points.shape[0]):
        t = canvas.mid_time
        distance = 0.0
        for _ in range(6):
            px, py, pz, vx, vy, vz, qx, qy, qz = _evaluate_orbit(t, canvas)
            lx, ly, lz = points[k, 0] - px, points[k, 1] - py, points[k, 2] - pz
            distance = math.sqrt(lx * lx + ly * ly + lz * lz)
            t += (lx * vx + ly * vy + lz * vz) / (vx * vx + vy * vy + vz * vz - (lx * qx + ly * qy + lz * qz))
        _spread_scatterer(canvas, t, distance, 0.0, 0.0, amplitudes[k])


@njit(cache=True, nogil=True)
def restore_ramp(values, eta, k_t, f_dc, eta_ref, window, out):  # type: ignore[no-untyped-def]
    """Put the ramp on the deramped samples and round the valid ones.

    Parameters
    ----------
    values : (lines, samples) complex64
        Deramped.
    eta : (lines,) float64
        Seconds from mid burst.
    k_t, f_dc, eta_ref : (samples,) float64
        See `kernels.tops.DerampTerms`.
    window : (int, int, int, int)
        First and stop row, first and stop column of the valid samples.
    out : (lines, samples, 2) int16
        Filled inside the window.
    """
    row, row_stop, column, column_stop = window
    for i in range(row, row_stop):
        for j in range(column, column_stop):
            e = eta[i] - eta_ref[j]
            turn = e * (0.5 * k_t[j] * e + f_dc[j])
            angle = np.float32(_TWO_PI * (turn - math.floor(turn)))
            c = math.cos(angle)
            s = math.sin(angle)
            value = values[i, j]
            re = value.real * c - value.imag * s
            im = value.real * s + value.imag * c
            out[i, j, 0] = np.int16(min(max(round(re), -32768), 32767))
            out[i, j, 1] = np.int16(min(max(round(im), -32768), 32767))
