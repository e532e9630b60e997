"""The signal on one tile of ground: a square of fine pixels between four ground nodes, worked off row by row.

Each row goes through five stages: heights, zero-Doppler geometry, place in the image, interpolation, phase. A stage
takes all pixels of the row before the next one starts, so that all but the gathering ones run in vector registers.
Divisions follow IEEE 754 here: Python's check for zero would keep the loops scalar.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

NODE_STEP = 32
"""Fine pixels between ground nodes, both ways."""
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_SERIES = 4  # coefficients of the orbit over a tile: 0.1 s, whose fourth power leaves nanometres


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _expand_orbit(t, image, series):  # type: ignore[no-untyped-def]
    """Power series (3, 4) of the position about the time ``t``, from that of the whole burst."""
    u = (t - image.origin_s) / image.scale_s
    scale = 1.0 / image.scale_s
    for axis in range(3):
        c0 = c1 = c2 = c3 = 0.0
        for k in range(image.orbit.shape[1] - 1, -1, -1):
            c3 = c3 * u + c2
            c2 = c2 * u + c1
            c1 = c1 * u + c0
            c0 = c0 * u + image.orbit[axis, k]
        series[axis, 0] = c0
        series[axis, 1] = c1 * scale
        series[axis, 2] = c2 * scale * scale
        series[axis, 3] = c3 * scale * scale * scale


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _interpolate_heights(dem, first, slope, weights, height):  # type: ignore[no-untyped-def]
    """Catmull-Rom interpolation of the DEM along a row of pixels; NaN outside and over voids."""
    for w in range(height.size):
        row = first[6] + w * slope[6]
        column = first[7] + w * slope[7]
        u = row - np.floor(row)
        v = column - np.floor(column)
        weights[0, w] = ((-0.5 * u + 1.0) * u - 0.5) * u
        weights[1, w] = (1.5 * u - 2.5) * u * u + 1.0
        weights[2, w] = ((-1.5 * u + 2.0) * u + 0.5) * u
        weights[3, w] = (0.5 * u - 0.5) * u * u
        weights[4, w] = ((-0.5 * v + 1.0) * v - 0.5) * v
        weights[5, w] = (1.5 * v - 2.5) * v * v + 1.0
        weights[6, w] = ((-1.5 * v + 2.0) * v + 0.5) * v
        weights[7, w] = (0.5 * v - 0.5) * v * v
    for w in range(height.size):
        i = math.floor(first[6] + w * slope[6])
        j = math.floor(first[7] + w * slope[7])
        if i < 1 or j < 1 or i + 2 >= dem.shape[0] or j + 2 >= dem.shape[1]:
            height[w] = np.nan
            continue
        total = 0.0
        for k in range(4):
            total += weights[k, w] * (
                weights[4, w] * dem[i - 1 + k, j - 1]
                + weights[5, w] * dem[i - 1 + k, j]
                + weights[6, w] * dem[i - 1 + k, j + 1]
                + weights[7, w] * dem[i - 1 + k, j + 2]
            )
        height[w] = total


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _find_zero_doppler(first, slope, height, series, time, range_m):  # type: ignore[no-untyped-def]
    """Zero-Doppler time since the series' own, and slant range, along a row of pixels.

    One Newton step from the nodes' time is enough: it is below a millisecond, and half its square times 8 m/s² is
    micrometres.
    """
    px, py, pz = series[0, 0], series[1, 0], series[2, 0]
    vx, vy, vz = series[0, 1], series[1, 1], series[2, 1]
    ax, ay, az = series[0, 2], series[1, 2], series[2, 2]
    jx, jy, jz = series[0, 3], series[1, 3], series[2, 3]
    for w in range(height.size):
        h = height[w]
        t = first[8] + w * slope[8]
        dx = ((jx * t + ax) * t + vx) * t + (px - (first[0] + w * slope[0] + h * (first[3] + w * slope[3])))
        dy = ((jy * t + ay) * t + vy) * t + (py - (first[1] + w * slope[1] + h * (first[4] + w * slope[4])))
        dz = ((jz * t + az) * t + vz) * t + (pz - (first[2] + w * slope[2] + h * (first[5] + w * slope[5])))
        ux = (3.0 * jx * t + 2.0 * ax) * t + vx
        uy = (3.0 * jy * t + 2.0 * ay) * t + vy
        uz = (3.0 * jz * t + 2.0 * az) * t + vz
        bend = dx * (3.0 * jx * t + ax) + dy * (3.0 * jy * t + ay) + dz * (3.0 * jz * t + az)
        dt = -(dx * ux + dy * uy + dz * uz) / (ux * ux + uy * uy + uz * uz + 2.0 * bend)
        dx += dt * ux
        dy += dt * uy
        dz += dt * uz
        time[w] = t + dt
        range_m[w] = math.sqrt(dx * dx + dy * dy + dz * dz)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _find_places(image, start, time, range_m, line, sample, index):  # type: ignore[no-untyped-def]
    """Place in the burst: exact, and as rows of ``index``: line, sample, and the two tabulated fractions."""
    per_second = 1.0 / image.line_interval_s
    per_metre = 1.0 / image.range_spacing_m
    first_line = (start - image.first_time_s) * per_second
    for w in range(time.size):
        y = first_line + time[w] * per_second
        x = (range_m[w] - image.near_range_m) * per_metre
        i = np.floor(y)
        j = np.floor(x)
        line[w] = y
        sample[w] = x
        index[0, w] = np.int32(i)
        index[1, w] = np.int32(j)
        index[2, w] = np.int32((y - i) * 1024.0 + 0.5)
        index[3, w] = np.int32((x - j) * 1024.0 + 0.5)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _weigh_lines(values, line, c, azimuth):  # type: ignore[no-untyped-def]
    return (
        azimuth[0] * values[line, c]
        + azimuth[1] * values[line + 1, c]
        + azimuth[2] * values[line + 2, c]
        + azimuth[3] * values[line + 3, c]
        + azimuth[4] * values[line + 4, c]
        + azimuth[5] * values[line + 5, c]
        + azimuth[6] * values[line + 6, c]
        + azimuth[7] * values[line + 7, c]
    )


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _interpolate(real, imag, line, sample, azimuth, range_):  # type: ignore[no-untyped-def]
    """Eight by eight taps from (line, sample) on; the sum over lines stays in vectors."""
    re = np.float32(0.0)
    im = np.float32(0.0)
    for k in range(8):
        re += range_[k] * _weigh_lines(real, line, sample + k, azimuth)
        im += range_[k] * _weigh_lines(imag, line, sample + k, azimuth)
    return re, im


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def gather_signal(image, height, range_m, line, sample, index, parts, cycles):  # type: ignore[no-untyped-def]
    """Interpolated signal, and the phase of its ramp and of the range in cycles; zero without height or outside."""
    last_line = image.real.shape[0] - 8
    last_sample = image.real.shape[1] - 8
    per_metre = 2.0 / image.wavelength_m
    for w in range(height.size):
        j = index[1, w]
        top = index[0, w] - 3 - image.line
        left = j - 3 - image.sample
        parts[0, w] = parts[1, w] = cycles[w] = 0.0
        if math.isnan(height[w]) or top < 0 or left < 0 or top > last_line or left > last_sample:
            continue
        azimuth = image.azimuth_table[index[2, w]]
        range_ = image.range_table[index[3, w]]
        parts[0, w], parts[1, w] = _interpolate(image.real, image.imag, top, left, azimuth, range_)
        v = sample[w] - j
        eta_ref = image.eta_ref[j] + v * (image.eta_ref[j + 1] - image.eta_ref[j])
        k_t = image.k_t[j] + v * (image.k_t[j + 1] - image.k_t[j])
        f_dc = image.f_dc[j] + v * (image.f_dc[j + 1] - image.f_dc[j])
        eta = (line[w] - image.mid_line) * image.line_interval_s - eta_ref
        cycles[w] = eta * (0.5 * k_t * eta + f_dc) + per_metre * range_m[w]


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def rotate_phase(parts, cycles, out):  # type: ignore[no-untyped-def]
    """The signal, turned by 2π·cycles: cosine and sine to 4e-7, by Taylor series around the nearest quarter."""
    for w in range(out.size):
        quarter = np.floor(4.0 * cycles[w] + 0.5)
        x = np.float32(2.0 * math.pi * (cycles[w] - 0.25 * quarter))
        y = x * x
        one = np.float32(1.0)
        c = one + y * (
            np.float32(-1 / 2) + y * (np.float32(1 / 24) + y * (np.float32(-1 / 720) + y * np.float32(1 / 40320)))
        )
        s = x * (one + y * (np.float32(-1 / 6) + y * (np.float32(1 / 120) + y * np.float32(-1 / 5040))))
        quadrant = np.int64(quarter)
        sign = np.float32(1 - (quadrant & 2))
        cos = sign * (-s if quadrant & 1 else c)
        sin = sign * (c if quadrant & 1 else s)
        re, im = parts[0, w], parts[1, w]
        parts[0, w] = re * cos - im * sin
        parts[1, w] = re * sin + im * cos
    for w in range(out.size):
        out[w] = complex(parts[0, w], parts[1, w])


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _geocode_tile(corners, dem, image, out):  # type: ignore[no-untyped-def]
    n = out.shape[1]
    first, slope, series = np.empty(9), np.empty(9), np.empty((3, _SERIES))
    height, time, range_m, line, sample, cycles = (
        np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    )  # fmt: skip
    weights, index, parts = np.empty((8, n)), np.empty((4, n), np.int32), np.empty((2, n), np.float32)
    start = 0.25 * (corners[0, 0, 8] + corners[0, 1, 8] + corners[1, 0, 8] + corners[1, 1, 8])
    _expand_orbit(start, image, series)
    for row in range(out.shape[0]):
        u = row / NODE_STEP
        for k in range(9):
            first[k] = corners[0, 0, k] + u * (corners[1, 0, k] - corners[0, 0, k])
            slope[k] = (corners[0, 1, k] + u * (corners[1, 1, k] - corners[0, 1, k]) - first[k]) / NODE_STEP
        first[8] -= start
        _interpolate_heights(dem, first, slope, weights, height)
        _find_zero_doppler(first, slope, height, series, time, range_m)
        _find_places(image, start, time, range_m, line, sample, index)
        gather_signal(image, height, range_m, line, sample, index, parts, cycles)
        rotate_phase(parts, cycles, out[row])


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def geocode_tiles(nodes, active, dem, image, out):  # type: ignore[no-untyped-def]
    """Fill a row of tiles.

    Parameters
    ----------
    nodes : (2, n + 1, 9) float64
        Those above and below it.
    active : (n,) bool
        Whether a tile may see the image.
    dem, image
        See `topsar.kernels.resample.geocode`.
    out : (rows, columns) complex64
        At most `NODE_STEP` rows; filled in active tiles, zero where there is no signal.
    """
    for tile in range(active.size):
        if active[tile]:
            column = tile * NODE_STEP
            _geocode_tile(nodes[:, tile : tile + 2], dem, image, out[:, column : column + NODE_STEP])
