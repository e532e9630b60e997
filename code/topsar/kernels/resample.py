"""Geocoding of single-look complex bursts: for each ground pixel its radar position, and the signal there.

The ground is described on coarse nodes every `NODE_STEP` fine pixels: ECEF at height zero, the ellipsoid's normal,
the place in the DEM, and a first guess of the zero-Doppler time. Between nodes these are interpolated linearly. The
millimetres this costs cancel between dates as long as all of them have their nodes at the same places; slant range
itself is computed exactly for every pixel.

Node arrays are (node rows, node columns, channels) float64 and begin at the centre of fine pixel (0, 0). Channels
0-2: ECEF at height zero, m; 3-5: unit normal of the ellipsoid; 6-7: fractional row and column in the DEM, integers
at pixel centres; 8, added by `place_nodes`: zero-Doppler time, s.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange

from topsar.kernels.geometry import zero_doppler_step
from topsar.kernels.tile import NODE_STEP as NODE_STEP
from topsar.kernels.tile import geocode_tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAPS = 8
"""Length of the interpolator, both ways."""
FRACTIONS = 1024
"""Tabulated fractions of a sample."""
_RIDGE = 1e-5  # power of noise, relative to the signal, that the least-squares interpolator does not amplify
_HALO = 3  # taps before the sample left of the position
_RELIEF_LINES, _RELIEF_SAMPLES = 16.0, 200.0  # bounds of the shift by relief inside a tile


class RadarImage(NamedTuple):
    """A deramped burst, or a part of it, and all that ties it to time, range and Doppler.

    Attributes
    ----------
    real, imag : (lines, samples) float32
        Deramped signal from ``line``, ``sample`` of the burst on.
    line, sample : int
        Place of the planes in the burst.
    first_time_s, line_interval_s, near_range_m, range_spacing_m : float
        Zero-Doppler time of burst line 0 (seconds since the arc's epoch) and slant range of sample 0.
    mid_line : float
        Burst line at η = 0.
    wavelength_m : float
    k_t, f_dc, eta_ref : (burst samples,) float64
        See `topsar.kernels.tops.DerampTerms`.
    origin_s, scale_s, orbit : float, float, (3, n) float64
        See `topsar.kernels.geometry.OrbitArc`.
    azimuth_table, range_table : (FRACTIONS + 1, TAPS) float32
        Interpolators.
    """

    real: NDArray[np.float32]
    imag: NDArray[np.float32]
    line: int
    sample: int
    first_time_s: float
    line_interval_s: float
    near_range_m: float
    range_spacing_m: float
    mid_line: float
    wavelength_m: float
    k_t: NDArray[np.float64]
    f_dc: NDArray[np.float64]
    eta_ref: NDArray[np.float64]
    origin_s: float
    scale_s: float
    orbit: NDArray[np.float64]
    azimuth_table: NDArray[np.float32]
    range_table: NDArray[np.float32]

    def shift(self, delay_px: float) -> RadarImage:
        """Place the samples later than annotated; their phases stay what they are."""
        return self._replace(near_range_m=self.near_range_m - delay_px * self.range_spacing_m)


def design_interpolator(band: float) -> NDArray[np.float32]:
    """Least-squares interpolator for a signal that fills a part of its sampling band.

    For each fraction d the eight weights minimise ∫|exp(jωd) - Σ w_k exp(jωk)|² over the occupied band
    |ω| ≤ π·band (Laakso et al., 1996, "Splitting the unit delay", IEEE Signal Processing Magazine, section on
    general least squares). In band it is better than any windowed sinc of that length. ``band`` is the occupied share
    of the sampling frequency, 0 to 1.

    Returns
    -------
    (FRACTIONS + 1, TAPS) float32
        Row i holds the weights for the fraction i / FRACTIONS; tap 3 sits on the sample before the position.
    """
    taps = np.arange(TAPS) - _HALO
    fractions = np.arange(FRACTIONS + 1) / FRACTIONS
    normal = np.sinc(band * (taps[:, None] - taps)) + _RIDGE * np.eye(TAPS)
    wanted = np.sinc(band * (taps[:, None] - fractions))
    return np.ascontiguousarray(np.linalg.solve(normal, wanted).T.astype(np.float32))


@njit(cache=True, nogil=True, inline="always")
def interpolate_cubic(values, row, column):  # type: ignore[no-untyped-def]
    """Catmull-Rom interpolation of a height field; NaN outside and over voids."""
    i = math.floor(row)
    j = math.floor(column)
    if i < 1 or j < 1 or i + 2 >= values.shape[0] or j + 2 >= values.shape[1]:
        return np.nan
    u = row - i
    v = column - j
    a0 = ((-0.5 * u + 1.0) * u - 0.5) * u
    a1 = (1.5 * u - 2.5) * u * u + 1.0
    a2 = ((-1.5 * u + 2.0) * u + 0.5) * u
    a3 = (0.5 * u - 0.5) * u * u
    b0 = ((-0.5 * v + 1.0) * v - 0.5) * v
    b1 = (1.5 * v - 2.5) * v * v + 1.0
    b2 = ((-1.5 * v + 2.0) * v + 0.5) * v
    b3 = (0.5 * v - 0.5) * v * v
    total = 0.0
    for k in range(4):
        a = a0 if k == 0 else (a1 if k == 1 else (a2 if k == 2 else a3))
        line = i - 1 + k
        total += a * (
            b0 * values[line, j - 1] + b1 * values[line, j] + b2 * values[line, j + 1] + b3 * values[line, j + 2]
        )
    return total


@njit(cache=True, nogil=True, inline="always")
def find_cubic_slope(values, row, column):  # type: ignore[no-untyped-def]
    """Change per row and per column of what `interpolate_cubic` interpolates; inside of the field."""
    i, j = int(row), int(column)
    u, v = row - i, column - j
    a0, a1, a3 = ((-0.5 * u + 1.0) * u - 0.5) * u, (1.5 * u - 2.5) * u * u + 1.0, (0.5 * u - 0.5) * u * u
    b0, b1, b3 = ((-0.5 * v + 1.0) * v - 0.5) * v, (1.5 * v - 2.5) * v * v + 1.0, (0.5 * v - 0.5) * v * v
    a2, b2 = 1.0 - a0 - a1 - a3, 1.0 - b0 - b1 - b3
    c0, c1, c3 = (-1.5 * u + 2.0) * u - 0.5, (4.5 * u - 5.0) * u, (1.5 * u - 1.0) * u
    d0, d1, d3 = (-1.5 * v + 2.0) * v - 0.5, (4.5 * v - 5.0) * v, (1.5 * v - 1.0) * v
    per_row = per_column = 0.0
    for k in range(4):
        a = a0 if k == 0 else (a1 if k == 1 else (a2 if k == 2 else a3))
        c = c0 if k == 0 else (c1 if k == 1 else (-c0 - c1 - c3 if k == 2 else c3))
        line = i - 1 + k
        z0, z1, z2, z3 = values[line, j - 1], values[line, j], values[line, j + 1], values[line, j + 2]
        per_row += c * (b0 * z0 + b1 * z1 + b2 * z2 + b3 * z3)
        per_column += a * (d0 * z0 + d1 * z1 - (d0 + d1 + d3) * z2 + d3 * z3)
    return per_row, per_column


@njit(cache=True, nogil=True, parallel=True)
def sample_heights(dem, rows, columns, out):  # type: ignore[no-untyped-def]
    """Heights at fractional DEM positions.

    Parameters
    ----------
    dem : (rows, columns) float32
        Heights, m; NaN where void.
    rows, columns : (n,) float64
        Integers at pixel centres.
    out : (n,) float64
        Filled; NaN outside and over voids.
    """
    for i in prange(rows.size):
        out[i] = interpolate_cubic(dem, rows[i], columns[i])


@njit(cache=True, nogil=True, parallel=True)
def interpolate_nodes(nodes, step, offset, out):  # type: ignore[no-untyped-def]
    """Interpolate between nodes that lie ``step`` pixels apart, linearly.

    Parameters
    ----------
    nodes : (r, c, n) float64
        From pixel (0, 0) until beyond the last.
    step : int
        Pixels between nodes.
    offset : (int, int)
        Row and column of the first pixel wanted.
    out : (rows, columns, n) float64
        Filled.
    """
    for i in prange(out.shape[0]):
        _spread_row(nodes, step, offset[0] + i, offset[1], out[i])


@njit(cache=True, nogil=True)
def _spread_row(nodes, step, i, first, out):  # type: ignore[no-untyped-def]
    row = i // step
    u = (i - row * step) / step
    for j in range(out.shape[0]):
        column = (first + j) // step
        v = (first + j - column * step) / step
        for k in range(out.shape[1]):
            upper = nodes[row, column, k] + v * (nodes[row, column + 1, k] - nodes[row, column, k])
            lower = nodes[row + 1, column, k] + v * (nodes[row + 1, column + 1, k] - nodes[row + 1, column, k])
            out[j, k] = upper + u * (lower - upper)


@njit(cache=True, nogil=True, parallel=True)
def place_ground(nodes, step, offset, dem, height, points):  # type: ignore[no-untyped-def]
    """Find the heights of pixels between ground nodes, and their positions.

    Parameters
    ----------
    nodes : (r, c, 8) float64
    step : int
        Pixels between nodes.
    offset : (int, int)
        Row and column of the first pixel wanted.
    dem : (rows, columns) float32
        Ellipsoidal heights, m; NaN where void.
    height : (rows, columns) float32
        Filled; NaN over voids.
    points : (rows, columns, 3) float64
        Filled with ECEF, m; over voids at height zero.
    """
    for i in prange(height.shape[0]):
        ground = np.empty((height.shape[1], nodes.shape[2]))
        _spread_row(nodes, step, offset[0] + i, offset[1], ground)
        for j in range(height.shape[1]):
            known = interpolate_cubic(dem, ground[j, 6], ground[j, 7])
            height[i, j] = known
            above = 0.0 if math.isnan(known) else known
            for k in range(3):
                points[i, j, k] = ground[j, k] + above * ground[j, 3 + k]


class PlacedNodes(NamedTuple):
    """Ground nodes as a radar image sees them.

    Attributes
    ----------
    nodes : (r, c, 9) float64
        With channel 8, the zero-Doppler time in seconds since the arc's epoch.
    line, sample : (r, c) float64
        Place in the burst.
    active : (r - 1, c - 1) bool
        Tiles between nodes that may see the image: with a corner inside, generously.
    """

    nodes: NDArray[np.float64]
    line: NDArray[np.float64]
    sample: NDArray[np.float64]
    active: NDArray[np.bool_]


def place_nodes(nodes: NDArray[np.float64], dem: NDArray[np.float32], image: RadarImage) -> PlacedNodes:
    """Find the radar position of ground nodes.

    Parameters
    ----------
    nodes : (r, c, 8) float64
    dem : (rows, columns) float32
        Ellipsoidal heights, m; zero is taken over voids.
    image : RadarImage
        The image whose window counts; its samples are not used.
    """
    shape = nodes.shape[:2]
    heights = np.empty(shape[0] * shape[1])
    sample_heights(dem, nodes[..., 6].ravel(), nodes[..., 7].ravel(), heights)
    points = nodes[..., :3] + np.nan_to_num(heights.reshape(shape))[..., None] * nodes[..., 3:6]
    time, line, sample = np.empty(shape), np.empty(shape), np.empty(shape)
    _place_points(points, image, time, line, sample)
    lines, samples = image.real.shape
    margin_lines = _find_largest_step(line) + _RELIEF_LINES
    margin_samples = _find_largest_step(sample) + _RELIEF_SAMPLES
    inside = (
        (line > image.line - margin_lines)
        & (line < image.line + lines + margin_lines)
        & (sample > image.sample - margin_samples)
        & (sample < image.sample + samples + margin_samples)
    )
    active = inside[:-1, :-1] | inside[1:, :-1] | inside[:-1, 1:] | inside[1:, 1:]
    return PlacedNodes(np.concatenate([nodes, time[..., None]], axis=-1), line, sample, active)


def _find_largest_step(values: NDArray[np.float64]) -> float:
    """Largest change from a node to its neighbour."""
    return float(max(np.abs(np.diff(values, axis=0)).max(), np.abs(np.diff(values, axis=1)).max()))


@njit(cache=True, nogil=True, parallel=True)
def _place_points(points, image, time, line, sample):  # type: ignore[no-untyped-def]
    for i in prange(points.shape[0]):
        for j in range(points.shape[1]):
            x, y, z = points[i, j, 0], points[i, j, 1], points[i, j, 2]
            t = image.origin_s
            for _ in range(8):
                step, _, _, _, _, _, _ = zero_doppler_step(x, y, z, t, image.origin_s, image.scale_s, image.orbit)
                t += step
            _, dx, dy, dz, _, _, _ = zero_doppler_step(x, y, z, t, image.origin_s, image.scale_s, image.orbit)
            time[i, j] = t
            line[i, j] = (t - image.first_time_s) / image.line_interval_s
            sample[i, j] = (math.sqrt(dx * dx + dy * dy + dz * dz) - image.near_range_m) / image.range_spacing_m


def geocode(
    nodes: NDArray[np.float64],
    active: NDArray[np.bool_],
    dem: NDArray[np.float32],
    image: RadarImage,
    out: NDArray[np.complex64],
) -> None:
    """Fill rows of a geocoded, flattened burst, on as many threads as Numba may use.

    Not a parallel kernel: Numba optimises the body of one anew each time that it links it, so that the process that
    compiles and those that load what it compiled would round differently.

    Parameters
    ----------
    nodes, active : (r, c, 9) float64, (r - 1, c - 1) bool
        From `place_nodes`; they begin where ``out`` does.
    dem : (rows, columns) float32
        Ellipsoidal heights, m.
    image : RadarImage
    out : (rows, columns) complex64
        Zeros on entry; zero stays where there is no signal.
    """

    def fill(row: int) -> None:
        top = row * NODE_STEP
        geocode_tiles(nodes[row : row + 2], active[row], dem, image, out[top : top + NODE_STEP])

    with ThreadPoolExecutor(get_num_threads()) as pool:
        deque(pool.map(fill, np.flatnonzero(active.any(axis=1)).tolist()), maxlen=0)
