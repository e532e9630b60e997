"""Scatterers to focused bursts.

A burst is made in the deramped domain, where its spectrum is a fixed band in both directions:

1. every scatterer of the ground lattice is found by its own zero-Doppler geometry and spread over a few samples with
   a Kaiser-Bessel kernel (gridding);
2. in the spectrum the kernel is taken out, white noise added and both weighted with the processor's Hamming bands, so
   that what comes out is strictly band limited;
3. the TOPS phase ramp is put back and the samples are quantised.

A scatterer of amplitude a at zero-Doppler time t and slant range R thus has the phase -4πR/λ + arg a at its peak.
Behind an ionosphere that delays the group by I its peak lies at the range R + I and has the phase -4π(R - I)/λ + arg a.
The geometry of step 1 is this module's own, on the closed-form orbit; the ramp terms come from the annotation through
``kernels.tops``, as a processor reads them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.kernels.tops import DerampTerms, find_deramp_terms
from topsar.model import SPEED_OF_LIGHT
from topsar.simulate import scatter
from topsar.simulate.mode import AZIMUTH_SPACING_M, BETA_NOUGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst
    from topsar.simulate.plan import ProductPlan, SwathPlan
    from topsar.simulate.recipe import Recipe
    from topsar.simulate.terrain import Terrain

LINE_PAD, SAMPLE_PAD = 24, 32
CROSS_SHARE = 0.2
"""Power in the other polarisation than the one sent, over that in the same."""
_RAYLEIGH = 4096
_ORBIT_DEGREE = 6
_REACH_M = 600.0
_BLOCK = 256
_MARGIN_PX = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """The ground as one pass finds it.

    ``change`` is the extra range of the terrain's nodes, m, ``ionosphere`` the group delay in front of them, m one way.
    """

    terrain: Terrain
    change: NDArray[np.float32]
    ionosphere: NDArray[np.float32] | None = None


def focus_burst(
    product: ProductPlan,
    swath: SwathPlan,
    burst: Burst,
    *,
    surface: Surface | None = None,
    targets: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> NDArray[np.int16]:
    """Focused samples (lines, samples, 2) of a burst as they stand in the measurement; zero outside the valid window.

    Parameters
    ----------
    product, swath, burst
        What is to be made, as planned.
    surface : Surface, optional
        Without it there are neither ground nor thermal noise.
    targets : (n, 3) float64, (n,) float64, optional
        Reflectors: ECEF position (m), and amplitude of the pulse before focusing.
    """
    recipe, arc = product.recipe, product.arc
    near, samples = burst.grid.near_range_m - SAMPLE_PAD * burst.grid.range_spacing_m, burst.grid.samples
    padded = replace(burst.grid, near_range_m=near, samples=samples + 2 * SAMPLE_PAD)
    terms = find_deramp_terms(replace(burst, grid=padded), arc)
    canvas = _prepare_canvas(burst, product, terms)
    if surface is not None:
        ground = _describe_ground(surface, recipe, product.number, is_cross=swath.is_cross)
        first, stop = _find_cells(burst, arc, surface.terrain)
        scatter.add_scatterers(ground, canvas, first, stop, _MARGIN_PX * (1 + recipe.dem_posting_arcsec))
    if targets is not None:
        scatter.add_targets(*targets, canvas)
    power = swath.noise_power(recipe.nesz_db) if surface is not None else 0.0
    seed = recipe.seed, product.number, product.slice_number, swath.mode.beam, burst.index
    lines = np.arange(canvas.values.shape[0]) - LINE_PAD
    noise = power * swath.find_scalloping(np.clip(lines, 0, burst.grid.lines))
    _shape_spectrum(canvas.values, burst, noise, (*seed, 1) if swath.is_cross else seed)
    line, sample = burst.first_line + np.arange(burst.grid.lines)[:, None], np.arange(burst.grid.samples)
    inner = slice(LINE_PAD, LINE_PAD + burst.grid.lines), slice(SAMPLE_PAD, SAMPLE_PAD + burst.grid.samples)
    turned = np.exp(1j * product.acquisition.find_phase_rad(burst.swath, burst.index)).astype(np.complex64)
    canvas.values[inner] *= turned * swath.find_gain(line, sample).astype(np.float32)
    return _quantise(burst, canvas.values, terms)


def _find_occupied(burst: Burst) -> tuple[float, float]:
    """Shares of the sampling band that the azimuth and range spectra fill."""
    range_sampling = 1 / (2 * burst.grid.range_spacing_m / SPEED_OF_LIGHT)
    return burst.azimuth_bandwidth_hz * burst.grid.line_interval_s, burst.range_bandwidth_hz / range_sampling


def _prepare_canvas(burst: Burst, product: ProductPlan, terms: DerampTerms) -> scatter.Canvas:
    grid, acquisition, track = burst.grid, product.acquisition, product.track
    rows = fft.next_fast_len(grid.lines + 2 * LINE_PAD)
    columns = fft.next_fast_len(grid.samples + 2 * SAMPLE_PAD)
    first_time = (grid.first_line_time - track.epoch).total_seconds()
    mid_time = first_time + grid.lines / 2 * grid.line_interval_s
    azimuth, range_ = _find_occupied(burst)
    scale = grid.lines * grid.line_interval_s
    x = np.cos(np.pi * (np.arange(40) + 0.5) / 40)
    orbit = np.polynomial.polynomial.polyfit(x, track.state(mid_time + scale * x)[0], _ORBIT_DEGREE).T
    rayleigh = np.sqrt(-np.log((np.arange(_RAYLEIGH) + 0.5) / _RAYLEIGH))
    return scatter.Canvas(
        values=np.zeros((rows, columns), dtype=np.complex64),
        first_time=first_time - LINE_PAD * grid.line_interval_s,
        line_interval=grid.line_interval_s,
        first_range=grid.near_range_m - SAMPLE_PAD * grid.range_spacing_m,
        range_spacing=grid.range_spacing_m,
        mid_time=mid_time,
        azimuth_bias=acquisition.azimuth_shift_px * grid.line_interval_s,
        range_bias=acquisition.find_delay_m(burst.swath, grid.range_spacing_m),
        k_t=terms.k_t,
        f_dc=terms.f_dc,
        eta_ref=terms.eta_ref,
        scale=scale,
        orbit=np.ascontiguousarray(orbit),
        line_kernel=scatter.tabulate_kernel(scatter.LINE_TAPS, azimuth),
        sample_kernel=scatter.tabulate_kernel(scatter.SAMPLE_TAPS, range_),
        rayleigh=(rayleigh / np.sqrt(np.mean(rayleigh**2))).astype(np.float32),
        wavelength=burst.wavelength_m,
        brightness=BETA_NOUGHT**2 / (grid.range_spacing_m * AZIMUTH_SPACING_M),
    )


def _describe_ground(surface: Surface, recipe: Recipe, number: int, *, is_cross: bool) -> scatter.Ground:
    terrain = surface.terrain
    days = np.diff([acquisition.day.toordinal() for acquisition in recipe.acquisitions], prepend=0)
    return scatter.Ground(
        first_row=terrain.first_row,
        first_column=terrain.first_column % (1 << 31),
        latitude=np.radians(terrain.latitude_deg),
        longitude=np.radians(terrain.longitude_deg),
        height=terrain.height,
        gamma=terrain.gamma * np.float32(CROSS_SHARE if is_cross else 1),
        stable=terrain.stable,
        change=surface.change,
        ionosphere=np.zeros_like(surface.change) if surface.ionosphere is None else surface.ionosphere,
        north=recipe.scatterers[0],
        east=recipe.scatterers[1],
        seed=recipe.seed + is_cross,
        number=number,
        renewal=(1 - np.exp(-days / recipe.decorrelation_days)).astype(np.float32),
        shell=recipe.acquisitions[number].ionosphere.shell_m,
    )


def _find_cells(burst: Burst, arc: OrbitArc, terrain: Terrain) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and stop corner (row, column) of the lattice cells that the burst may see."""
    grid = burst.grid
    heights = [float(terrain.height.min()), float(terrain.height.max())]
    first, last = (arc.seconds(time) for time in (grid.first_line_time, grid.stop_time))
    t, r, h = np.meshgrid(np.linspace(first, last, 3), np.linspace(grid.near_range_m, grid.far_range_m, 3), heights)
    lat, lon, _ = ecef_to_geodetic(rdr2geo(t, r, h, arc))
    rows = (terrain.latitude_deg[0] - np.degrees(lat)) / terrain.posting_deg
    columns = (np.degrees(lon) - terrain.longitude_deg[0]) / terrain.posting_deg
    reach = math.ceil(_REACH_M / min(terrain.spacing_m))
    height, width = terrain.shape
    start = max(int(rows.min()) - reach, 1), max(int(columns.min()) - reach, 1)
    return start, (min(int(rows.max()) + reach, height - 2), min(int(columns.max()) + reach, width - 2))


def _shape_spectrum(
    values: NDArray[np.complex64], burst: Burst, power: NDArray[np.float64], seed: tuple[int, ...]
) -> None:
    """Replace the kernel's spectrum by the processor's bands and add noise, in place, by blocks."""
    rows, columns = values.shape
    azimuth, range_ = _find_occupied(burst)
    across, along = scatter.weight_band(rows, azimuth), scatter.weight_band(columns, range_)
    deconvolved_across = across / scatter.transform_kernel(rows, scatter.LINE_TAPS, azimuth)
    deconvolved_along = along / scatter.transform_kernel(columns, scatter.SAMPLE_TAPS, range_)
    generator = np.random.default_rng(seed)
    strength = np.sqrt(power / 2 * columns / rows).astype(np.float32)
    for block in np.array_split(values, max(1, rows // _BLOCK)):
        block[:] = fft.fft(block, axis=1)
    for part in np.array_split(np.arange(columns), max(1, columns // _BLOCK)):
        block = values[:, part[0] : part[-1] + 1]
        spectrum = fft.fft(np.ascontiguousarray(block.T), overwrite_x=True)
        spectrum *= np.outer(deconvolved_along[part], deconvolved_across).astype(np.float32)
        block[:] = fft.ifft(spectrum, overwrite_x=True).T
        if power.any():
            noise = generator.standard_normal((len(part), 2 * rows), dtype=np.float32).view(np.complex64)
            noise *= np.outer(along[part], across).astype(np.float32)
            block += (fft.ifft(noise, norm="forward", overwrite_x=True) * strength).T
    for block in np.array_split(values, max(1, rows // _BLOCK)):
        block[:] = fft.ifft(block, axis=1)


def _quantise(burst: Burst, values: NDArray[np.complex64], terms: DerampTerms) -> NDArray[np.int16]:
    grid, valid = burst.grid, burst.valid
    eta = (np.arange(grid.lines) - grid.lines / 2) * grid.line_interval_s
    inner = slice(SAMPLE_PAD, SAMPLE_PAD + grid.samples)
    out = np.zeros((*grid.shape, 2), dtype=np.int16)
    window = valid.row, valid.row_stop, valid.column, valid.column_stop
    image = values[LINE_PAD : LINE_PAD + grid.lines, inner]
    scatter.restore_ramp(image, eta, terms.k_t[inner], terms.f_dc[inner], terms.eta_ref[inner], window, out)
    return out
