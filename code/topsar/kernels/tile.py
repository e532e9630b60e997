"""The signal on one tile of ground: a square of fine pixels between four ground nodes, worked off some rows at a time.

The pixels of these rows go through four stages: heights, place in the image, interpolation, phase. A stage takes all of
them before the next one starts, so that all but the gathering ones run in vector registers, and what passes between two
stages stays in the first cache. Divisions follow IEEE 754 here: Python's check for zero would keep the loops scalar.
Unsigned indices spare the kernel Python's negative ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

NODE_STEP = 32
"""Fine pixels between ground nodes, both ways."""
RAMP_REACH = 64
"""Samples on either side of a tile's middle through which the terms of its ramp are followed."""
_ROWS = 8  # of a tile that go through the stages together
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_CUBIC = np.array([[0.0, 1.0, 0.0, 0.0], [-0.5, 0.0, 0.5, 0.0], [1.0, -2.5, 2.0, -0.5], [-0.5, 1.5, -1.5, 0.5]])
"""Catmull-Rom weights of four postings as polynomials of the fraction, lowest power first."""


class _Rows(NamedTuple):
    """What some rows of a tile are made of on their way through the stages.

    Attributes
    ----------
    lines : (rows, 2, 9) float64
        Channels of the nodes at the first pixel of a row, and their change to the next.
    weights, cell : (5, columns) float64, (2, columns) int32
        Of the DEM's rows, and the fraction of a column; the posting before the pixel.
    height : (pixels,) float64
        Metres; NaN outside of the DEM and over voids.
    places : (4, pixels) int32
        Line, sample, and the two tabulated fractions; sample -1 where there is no height.
    turns : (pixels,) float32
        Phase of ramp and range, cycles from -1/2 to 1/2.
    parts : (2, pixels) float32
        Real and imaginary part.
    """

    lines: NDArray[np.float64]
    weights: NDArray[np.float64]
    cell: NDArray[np.int32]
    height: NDArray[np.float64]
    places: NDArray[np.int32]
    turns: NDArray[np.float32]
    parts: NDArray[np.float32]


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _expand_orbit(t, image, axis):  # type: ignore[no-untyped-def]
    """Power series of a coordinate about the time ``t``, from that of the whole burst.

    Over a tile, 0.1 s, the fourth power makes nanometres.
    """
    u = (t - image.origin_s) / image.scale_s
    c0 = c1 = c2 = c3 = 0.0
    for k in range(image.orbit.shape[1] - 1, -1, -1):
        c3 = c3 * u + c2
        c2 = c2 * u + c1
        c1 = c1 * u + c0
        c0 = c0 * u + image.orbit[axis, k]
    return c0, c1 / image.scale_s, c2 / image.scale_s**2, c3 / image.scale_s**3


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _fit_parabola(values, middle, reach):  # type: ignore[no-untyped-def]
    before, here, after = values[middle - reach], values[middle], values[middle + reach]
    return here, (after - before) / (2.0 * reach), (after - 2.0 * here + before) / (2.0 * reach * reach)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def fit_ramp(image, sample):  # type: ignore[no-untyped-def]
    """Parabolas through the terms of the ramp around a sample: the sample, k_t, f_dc, eta_ref, cycles per metre.

    The terms are smooth: over some hundred samples a parabola follows them to 1e-9.
    """
    reach = min(RAMP_REACH, (image.k_t.size - 1) // 2)
    middle = min(max(sample, reach), image.k_t.size - 1 - reach)
    return (
        middle,
        _fit_parabola(image.k_t, middle, reach),
        _fit_parabola(image.f_dc, middle, reach),
        _fit_parabola(image.eta_ref, middle, reach),
        2.0 / image.wavelength_m,
    )


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def find_turns(ramp, eta, sample, range_m):  # type: ignore[no-untyped-def]
    """Phase of the ramp and of the range at a place, in cycles from -1/2 to 1/2; eta in seconds from mid burst."""
    s = sample - ramp[0]
    k_t = (ramp[1][2] * s + ramp[1][1]) * s + ramp[1][0]
    f_dc = (ramp[2][2] * s + ramp[2][1]) * s + ramp[2][0]
    e = eta - ((ramp[3][2] * s + ramp[3][1]) * s + ramp[3][0])
    cycles = e * (0.5 * k_t * e + f_dc) + ramp[4] * range_m
    return np.float32(cycles - np.floor(cycles + 0.5))


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def note_place(index, w, line, sample, known):  # type: ignore[no-untyped-def]
    """Note where a pixel lies, as `gather_signal` looks it up."""
    i = np.floor(line)
    j = np.floor(sample)
    index[0, w] = np.int32(i)
    index[1, w] = np.int32(j if known else -1.0)
    index[2, w] = np.int32((line - i) * 1024.0 + 0.5)
    index[3, w] = np.int32((sample - j) * 1024.0 + 0.5)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _lay_rows(corners, top, start, lines):  # type: ignore[no-untyped-def]
    for r in range(lines.shape[0]):
        u = (top + r) / NODE_STEP
        for k in range(9):
            left = corners[0, 0, k] + u * (corners[1, 0, k] - corners[0, 0, k])
            right = corners[0, 1, k] + u * (corners[1, 1, k] - corners[0, 1, k])
            lines[r, 0, k] = left
            lines[r, 1, k] = (right - left) / NODE_STEP
        lines[r, 0, 8] -= start


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _weigh_postings(line, weights, cell):  # type: ignore[no-untyped-def]
    """Where the pixels of a row lie in the DEM."""
    first_row, row_step, first_column, column_step = line[0, 6], line[1, 6], line[0, 7], line[1, 7]
    for w in range(weights.shape[1]):
        row = first_row + w * row_step
        column = first_column + w * column_step
        i = np.floor(row)
        j = np.floor(column)
        u = row - i
        weights[0, w] = ((-0.5 * u + 1.0) * u - 0.5) * u
        weights[1, w] = (1.5 * u - 2.5) * u * u + 1.0
        weights[2, w] = ((-1.5 * u + 2.0) * u + 0.5) * u
        weights[3, w] = (0.5 * u - 0.5) * u * u
        weights[4, w] = column - j
        cell[0, w] = np.int32(i)
        cell[1, w] = np.int32(j)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _interpolate_heights(dem, weights, cell, height):  # type: ignore[no-untyped-def]
    """Catmull-Rom interpolation of the DEM along a row of pixels; NaN outside and over voids."""
    rows, columns = dem.shape
    flat, stride = dem.ravel(), np.uintp(columns)
    for w in range(height.size):
        i, j, v = cell[0, w], cell[1, w], weights[4, w]
        if i < 1 or j < 1 or i + 2 >= rows or j + 2 >= columns:
            height[w] = np.nan
            continue
        a0, a1, a2, a3 = weights[0, w], weights[1, w], weights[2, w], weights[3, w]
        p0 = np.uintp(i - 1) * stride + np.uintp(j - 1)
        p1 = p0 + stride
        p2 = p1 + stride
        p3 = p2 + stride
        total = 0.0
        for tap in range(4):
            k = np.uintp(tap)
            b = ((_CUBIC[3, tap] * v + _CUBIC[2, tap]) * v + _CUBIC[1, tap]) * v + _CUBIC[0, tap]
            total += b * (a0 * flat[p0 + k] + a1 * flat[p1 + k] + a2 * flat[p2 + k] + a3 * flat[p3 + k])
        height[w] = total


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _find_places(line, orbit, start, image, ramp, height, index, turns):  # type: ignore[no-untyped-def]
    """Place in the burst of a row of pixels, and the phase there.

    One Newton step from the nodes' time is enough: it is below a millisecond. It divides by the derivative of
    (X - P) · V, which hardly changes along a row: that of the row's first pixel is improved for each. The range follows
    without another look at the orbit.
    """
    (px, vx, ax, jx), (py, vy, ay, jy), (pz, vz, az, jz) = orbit
    first, slope = line[0], line[1]
    x, y, z = px - first[0], py - first[1], pz - first[2]
    x_step, y_step, z_step = slope[0], slope[1], slope[2]
    up_x, up_y, up_z, time = first[3], first[4], first[5], first[8]
    up_x_step, up_y_step, up_z_step, time_step = slope[3], slope[4], slope[5], slope[8]
    square = vx * vx + vy * vy + vz * vz
    first_gain = 1.0 / (square + 2.0 * (x * ax + y * ay + z * az))
    per_second, per_metre = 1.0 / image.line_interval_s, 1.0 / image.range_spacing_m
    first_line, near = (start - image.first_time_s) * per_second, image.near_range_m
    first_eta = start - image.first_time_s - image.mid_line * image.line_interval_s
    for w in range(height.size):
        known = not math.isnan(height[w])
        h = height[w] if known else 0.0
        t = time + w * time_step
        dx = ((jx * t + ax) * t + vx) * t + (x - w * x_step - h * (up_x + w * up_x_step))
        dy = ((jy * t + ay) * t + vy) * t + (y - w * y_step - h * (up_y + w * up_y_step))
        dz = ((jz * t + az) * t + vz) * t + (z - w * z_step - h * (up_z + w * up_z_step))
        ux = (3.0 * jx * t + 2.0 * ax) * t + vx
        uy = (3.0 * jy * t + 2.0 * ay) * t + vy
        uz = (3.0 * jz * t + 2.0 * az) * t + vz
        along = dx * ux + dy * uy + dz * uz
        gain = first_gain * (2.0 - first_gain * (square + 2.0 * (dx * ax + dy * ay + dz * az)))
        t -= along * gain
        range_m = math.sqrt(dx * dx + dy * dy + dz * dz - along * along * gain)
        line_at = first_line + t * per_second
        sample_at = (range_m - near) * per_metre
        note_place(index, w, line_at, sample_at, known)
        turns[w] = find_turns(ramp, first_eta + t, sample_at, range_m)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def gather_signal(image, index, parts):  # type: ignore[no-untyped-def]
    """Interpolated signal, by eight by eight taps; zero outside. The sum over lines stays in vectors."""
    last_line, last_sample = image.real.shape[0] - 8, image.real.shape[1] - 8
    real, imag, stride = image.real.ravel(), image.imag.ravel(), np.uintp(image.real.shape[1])
    azimuth, range_, eight = image.azimuth_table.ravel(), image.range_table.ravel(), np.uintp(8)
    for w in range(index.shape[1]):
        top = index[0, w] - 3 - image.line
        left = index[1, w] - 3 - image.sample
        parts[0, w] = parts[1, w] = 0.0
        if top < 0 or left < 0 or top > last_line or left > last_sample:
            continue
        a = eight * np.uintp(index[2, w])
        a0, a1, a2, a3 = azimuth[a], azimuth[a + np.uintp(1)], azimuth[a + np.uintp(2)], azimuth[a + np.uintp(3)]
        a += np.uintp(4)
        a4, a5, a6, a7 = azimuth[a], azimuth[a + np.uintp(1)], azimuth[a + np.uintp(2)], azimuth[a + np.uintp(3)]
        p0 = np.uintp(top) * stride + np.uintp(left)
        p1 = p0 + stride
        p2 = p1 + stride
        p3 = p2 + stride
        p4 = p3 + stride
        p5 = p4 + stride
        p6 = p5 + stride
        p7 = p6 + stride
        re = im = np.float32(0.0)
        for tap in range(8):
            k = np.uintp(tap)
            b = range_[eight * np.uintp(index[3, w]) + k]
            upper = a0 * real[p0 + k] + a1 * real[p1 + k] + a2 * real[p2 + k] + a3 * real[p3 + k]
            re += b * (upper + a4 * real[p4 + k] + a5 * real[p5 + k] + a6 * real[p6 + k] + a7 * real[p7 + k])
            upper = a0 * imag[p0 + k] + a1 * imag[p1 + k] + a2 * imag[p2 + k] + a3 * imag[p3 + k]
            im += b * (upper + a4 * imag[p4 + k] + a5 * imag[p5 + k] + a6 * imag[p6 + k] + a7 * imag[p7 + k])
        parts[0, w], parts[1, w] = re, im


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def rotate_phase(parts, turns):  # type: ignore[no-untyped-def]
    """Turn the signal by 2π·turns: cosine and sine to 4e-7, by Taylor series around the nearest quarter."""
    one = np.float32(1.0)
    for w in range(turns.size):
        quarter = np.floor(np.float32(4.0) * turns[w] + np.float32(0.5))
        x = np.float32(2.0 * math.pi) * (turns[w] - np.float32(0.25) * quarter)
        y = x * x
        c = one + y * (
            np.float32(-1 / 2) + y * (np.float32(1 / 24) + y * (np.float32(-1 / 720) + y * np.float32(1 / 40320)))
        )
        s = x * (one + y * (np.float32(-1 / 6) + y * (np.float32(1 / 120) + y * np.float32(-1 / 5040))))
        quadrant = np.int32(quarter)
        is_odd = quadrant & np.int32(1) != np.int32(0)
        sign = one if quadrant & np.int32(2) == np.int32(0) else -one
        cos = sign * (-s if is_odd else c)
        sin = sign * (c if is_odd else s)
        re, im = parts[0, w], parts[1, w]
        parts[0, w] = re * cos - im * sin
        parts[1, w] = re * sin + im * cos


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _find_middle(corners, dem, orbit, image):  # type: ignore[no-untyped-def]
    """Sample of the middle of a tile, about."""
    row, column = int(0.5 * (corners[0, 0, 6] + corners[1, 1, 6])), int(0.5 * (corners[0, 0, 7] + corners[1, 1, 7]))
    height = 0.0
    if 0 <= row < dem.shape[0] and 0 <= column < dem.shape[1] and not math.isnan(dem[row, column]):
        height = dem[row, column]
    square = 0.0
    for k in range(3):
        place = corners[0, 0, k] + corners[1, 1, k] + height * (corners[0, 0, 3 + k] + corners[1, 1, 3 + k])
        square += (orbit[k][0] - 0.5 * place) ** 2
    return int((math.sqrt(square) - image.near_range_m) / image.range_spacing_m)


@njit(cache=True, nogil=True, inline="always", fastmath=_FAST, error_model="numpy")
def _geocode_tile(corners, dem, image, rows, out):  # type: ignore[no-untyped-def]
    start = 0.25 * (corners[0, 0, 8] + corners[0, 1, 8] + corners[1, 0, 8] + corners[1, 1, 8])
    orbit = (_expand_orbit(start, image, 0), _expand_orbit(start, image, 1), _expand_orbit(start, image, 2))
    ramp = fit_ramp(image, _find_middle(corners, dem, orbit, image))
    for top in range(0, out.shape[0], _ROWS):
        count = min(_ROWS, out.shape[0] - top)
        _lay_rows(corners, top, start, rows.lines[:count])
        for r in range(count):
            of_row = slice(r * NODE_STEP, (r + 1) * NODE_STEP)
            height, line = rows.height[of_row], rows.lines[r]
            _weigh_postings(line, rows.weights, rows.cell)
            _interpolate_heights(dem, rows.weights, rows.cell, height)
            _find_places(line, orbit, start, image, ramp, height, rows.places[:, of_row], rows.turns[of_row])
        gather_signal(image, rows.places[:, : count * NODE_STEP], rows.parts)
        rotate_phase(rows.parts, rows.turns[: count * NODE_STEP])
        for r in range(count):
            for w in range(out.shape[1]):
                out[top + r, w] = complex(rows.parts[0, r * NODE_STEP + w], rows.parts[1, r * NODE_STEP + w])


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
    n = _ROWS * NODE_STEP
    rows = _Rows(
        np.empty((_ROWS, 2, 9)),
        np.empty((5, NODE_STEP)),
        np.empty((2, NODE_STEP), np.int32),
        np.empty(n),
        np.empty((4, n), np.int32),
        np.empty(n, np.float32),
        np.empty((2, n), np.float32),
    )
    for tile in range(active.size):
        if active[tile]:
            column = tile * NODE_STEP
            _geocode_tile(nodes[:, tile : tile + 2], dem, image, rows, out[:, column : column + NODE_STEP])
