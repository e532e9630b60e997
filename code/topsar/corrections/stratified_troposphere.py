"""The delay of a layered troposphere, from the unwrapped phase itself: what of it grows with height.

An empirical correction (Cavalié et al., 2007, JGR 112, "Ground motion measurement in the Lake Mead area, Nevada, by
differential synthetic aperture radar interferometry time series analysis"; Doin et al., 2009, J. Appl. Geophys. 69,
"Corrections of stratified tropospheric delays in SAR interferometry"). It cannot tell air from ground motion that grows
with height, as on a volcano, and where turbulence hides the slope it refuses itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.corrections import Cost, Estimate
from topsar.interferogram import Drawing, LayerKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram

LEAST_RELIEF_M = 200.0
"""Between the 1st and the 99th percentile of height."""
LEAST_PIXELS, LEAST_BLOCKS = 1000, 10
MOST_PIXELS = 1 << 20
"""Of larger grids every so-many-th row and column is taken."""
BLOCK_M = 4000.0
"""Residuals of one block are taken for dependent, of different ones for independent: turbulence is that wide."""
SIGNIFICANT = 2.0
"""Standard errors that a slope must differ from zero by."""
HUBER = 1.345
"""Deviations from which on a pixel counts less (95 % efficiency for normal noise)."""
_ROUNDS, _SETTLED = 50, 1e-6


class StratifiedTroposphere:
    """A robust fit of phase against height, with a constant for each connected component."""

    name = "stratified_troposphere"
    version = "1"
    layer = LayerKind(
        name="troposphere_stratified",
        long_name="Stratified troposphere",
        unit="rad",
        description="Phase that grows with height, fitted to the unwrapped phase",
        convention="positive: range grew from reference to secondary",
        drawing=Drawing(style="symmetric", label="Phase (rad)", note="Estimated from the phase itself"),
    )
    cost = Cost(base_memory=100_000_000, memory=30, disk=4, start_s=1.5, microseconds=0.5)

    def compute(self, ifg: Interferogram) -> Estimate:
        """Fit phase against height; refuse where relief, coherence or noise do not let the slope be known."""
        if "unwrapped_phase" not in ifg.layers:
            return Estimate(phase_rad=None, facts={"refused": "there is no unwrapped phase"})
        samples = _take_samples(ifg)
        facts: dict[str, Any] = {"pixels": samples.phase.size}
        if refused := _judge_samples(samples):
            return Estimate(phase_rad=None, facts={**facts, "refused": refused})
        fit = _fit(samples)
        facts |= {
            "components": int(samples.component.max()) + 1,
            "blocks": fit.blocks,
            "slope_rad_per_km": 1000 * fit.slope,
            "standard_error_rad_per_km": 1000 * fit.error,
            "std_before_rad": float((samples.phase - _find_means(samples.phase, samples, samples.weight)).std()),
            "std_after_rad": float(fit.residual.std()),
        }
        if refused := _judge_fit(fit):
            return Estimate(phase_rad=None, facts={**facts, "refused": refused})
        reference = float(np.average(samples.height, weights=samples.weight))
        phase = fit.slope * (ifg.layers["height"].values - reference)
        phase[ifg.layers["wrapped_phase"].holes] = np.nan
        return Estimate(phase_rad=phase.astype(np.float32), facts={**facts, "zero_at_height_m": round(reference, 1)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Samples:
    """The reliable pixels, each (n,); ``component`` and ``block`` count from 0."""

    phase: NDArray[np.float64]
    height: NDArray[np.float64]
    weight: NDArray[np.float64]
    component: NDArray[np.intp]
    block: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """Slope and its standard error in rad/m, residual (n,) in rad."""

    slope: float
    error: float
    blocks: int
    residual: NDArray[np.float64]


def _take_samples(ifg: Interferogram) -> _Samples:
    from topsar.engines.ground import pixel_sides

    step = max(math.ceil(math.sqrt(ifg.grid.rows * ifg.grid.columns / MOST_PIXELS)), 1)
    phase, height, noise, component = (
        ifg.layers[name].values[::step, ::step] for name in ("unwrapped_phase", "height", "phase_noise", "components")
    )
    reliable = (component > 0) & np.isfinite(phase) & np.isfinite(height) & (noise > 0)
    row, column = np.nonzero(reliable)
    east, north = pixel_sides(ifg.grid)
    blocks_across = math.ceil(ifg.grid.columns * east / BLOCK_M)
    block = (row * (step * north / BLOCK_M)).astype(np.intp) * blocks_across
    block += (column * (step * east / BLOCK_M)).astype(np.intp)
    return _Samples(
        phase=phase[reliable].astype(np.float64),
        height=height[reliable].astype(np.float64),
        weight=1 / noise[reliable].astype(np.float64) ** 2,
        component=np.unique(component[reliable], return_inverse=True)[1],
        block=np.unique(block, return_inverse=True)[1],
    )


def _judge_samples(samples: _Samples) -> str:
    """Say why no slope can be fitted, or nothing."""
    if samples.phase.size < LEAST_PIXELS:
        return f"{samples.phase.size} pixels are reliable, {LEAST_PIXELS} are needed"
    relief = float(np.ptp(np.percentile(samples.height, (1, 99))))
    if relief < LEAST_RELIEF_M:
        return f"heights range over {relief:.0f} m, {LEAST_RELIEF_M:.0f} m are needed"
    return ""


def _judge_fit(fit: _Fit) -> str:
    """Say why a slope cannot be trusted, or nothing."""
    if fit.blocks < LEAST_BLOCKS:
        return f"the pixels lie in {fit.blocks} blocks of {BLOCK_M / 1000:g} km, {LEAST_BLOCKS} are needed"
    if not abs(fit.slope) >= SIGNIFICANT * fit.error:
        return f"the slope is less than {SIGNIFICANT:g} times its standard error"
    return ""


def _fit(samples: _Samples) -> _Fit:
    """Least squares, iterated with Huber's weights until the slope stands."""
    weight, slope = samples.weight, math.inf
    for _ in range(_ROUNDS):
        height = samples.height - _find_means(samples.height, samples, weight)
        phase = samples.phase - _find_means(samples.phase, samples, weight)
        leverage = weight * height
        power = float(leverage @ height)
        before, slope = slope, float(leverage @ phase) / power if power > 0 else math.nan
        residual = phase - slope * height
        scaled = np.abs(residual) * np.sqrt(samples.weight)
        limit = HUBER * 1.4826 * float(np.median(scaled))
        if not abs(slope - before) > _SETTLED * abs(slope) or not limit > 0:
            break
        weight = samples.weight * np.minimum(1.0, limit / np.maximum(scaled, limit))
    error = _find_error(samples.block, leverage * residual, power)
    return _Fit(slope=slope, error=error, blocks=int(samples.block.max()) + 1, residual=residual)


def _find_error(block: NDArray[np.intp], score: NDArray[np.float64], power: float) -> float:
    """Standard error of the slope where residuals of a block depend on each other (Liang and Zeger, 1986)."""
    blocks = int(block.max()) + 1
    if blocks < 2 or not power > 0:
        return math.inf
    sums = np.bincount(block, weights=score)
    return math.sqrt(float(sums @ sums) * blocks / (blocks - 1)) / power


def _find_means(values: NDArray[np.float64], samples: _Samples, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean of each pixel's component, (n,)."""
    sums, weights = (np.bincount(samples.component, weights=x) for x in (weight * values, weight))
    means: NDArray[np.float64] = (sums / weights)[samples.component]
    return means
