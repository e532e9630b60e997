"""The delay of a layered troposphere, from the unwrapped phase itself: what of it grows with height.

An empirical correction (Cavalié et al., 2007, JGR 112, "Ground motion measurement in the Lake Mead area, Nevada, by
differential synthetic aperture radar interferometry time series analysis"; Béjar-Pizarro et al., 2013, GJI 193, "Andean
structural control on interseismic coupling in the North Chile subduction zone", for windows). Turbulence is strongest
where it is widest, and so is relief: a fit over a whole scene takes one for the other, with an error many times that
which independent pixels suggest. So phase and height are compared within small cells only, and the error comes from
areas that are wider than a cell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.corrections import Correction, Cost, Estimate, refuse
from topsar.corrections.samples import AREA_M, MOST_PIXELS, Samples, find_error, find_means, take_samples
from topsar.interferogram import Drawing, LayerKind

if TYPE_CHECKING:
    from topsar.interferogram import Interferogram

LEAST_RELIEF_M = 200.0
"""Between the 1st and the 99th percentile of height."""
LEAST_PIXELS, LEAST_AREAS = 1000, 8
SIGNIFICANT = 2.0
"""Standard errors that a slope must differ from zero by."""
_ROUNDS, _SETTLED = 50, 1e-6


class StratifiedTroposphere(Correction):
    """A robust fit of phase against height, with constants for each connected component."""

    name = "stratified_troposphere"
    version = "1"
    layer = LayerKind(
        name="troposphere_stratified",
        long_name="Stratified troposphere",
        unit="rad",
        description="Phase that grows with height, fitted to the unwrapped phase",
        convention="positive: range grew from reference to secondary",
        antisymmetric=True,
        drawing=Drawing(style="symmetric", label="Phase (rad)", note="Estimated from the phase itself"),
    )
    cost = Cost(
        base_memory=25_000_000,
        memory=4,
        disk=4,
        start_s=1.5,
        microseconds=0.5,
        first_memory=80,
        first_pixels=MOST_PIXELS,
    )

    def compute(self, ifg: Interferogram) -> Estimate:
        """Fit phase against height; refuse where relief, coherence or noise do not let the slope be known."""
        if "unwrapped_phase" not in ifg.layers:
            return refuse("there is no unwrapped phase")
        samples = take_samples(ifg)
        facts: dict[str, Any] = {"pixels": samples.phase.size}
        if why := _judge_samples(samples):
            return refuse(why, facts)
        (slope, error), areas = _fit(samples), int(samples.area.max()) + 1
        facts |= {
            "areas": areas,
            "slope_rad_per_km": 1000 * slope,
            "standard_error_rad_per_km": 1000 * error,
            "std_before_rad": _find_deviation(samples, 0.0),
            "std_after_rad": _find_deviation(samples, slope),
        }
        if why := _judge_fit(slope, error, areas):
            return refuse(why, facts)
        reference = float(np.average(samples.height, weights=samples.weight))
        phase = slope * (ifg.layers["height"].values - reference)
        phase[ifg.layers["wrapped_phase"].holes] = np.nan
        return Estimate(phase_rad=phase.astype(np.float32), facts={**facts, "zero_at_height_m": round(reference, 1)})


def _judge_samples(samples: Samples) -> str:
    """Say why no slope can be fitted, or nothing."""
    if samples.phase.size < LEAST_PIXELS:
        return f"{samples.phase.size} pixels are reliable, {LEAST_PIXELS} are needed"
    relief = float(np.ptp(np.percentile(samples.height, (1, 99))))
    if relief < LEAST_RELIEF_M:
        return f"heights range over {relief:.0f} m, {LEAST_RELIEF_M:.0f} m are needed"
    return ""


def _judge_fit(slope: float, error: float, areas: int) -> str:
    """Say why a slope cannot be trusted, or nothing."""
    if areas < LEAST_AREAS:
        return f"the pixels lie in {areas} areas of {AREA_M / 1000:g} km, {LEAST_AREAS} are needed"
    if not abs(slope) >= SIGNIFICANT * error:
        return f"the slope is less than {SIGNIFICANT:g} times its standard error"
    return ""


def _fit(samples: Samples) -> tuple[float, float]:
    """Slope and its standard error, rad/m: least squares, iterated with Huber's weights until the slope stands."""
    from topsar.kernels.smoothing import HUBER, weigh_robustly

    weight, slope = samples.weight, math.inf
    for _ in range(_ROUNDS):
        height = samples.height - find_means(samples.height, samples.cell, weight)
        phase = samples.phase - find_means(samples.phase, samples.cell, weight)
        leverage = weight * height
        power = float(leverage @ height)
        before, slope = slope, float(leverage @ phase) / power if power > 0 else math.nan
        residual = phase - slope * height
        scaled = np.abs(residual) * np.sqrt(samples.weight)
        limit = HUBER * 1.4826 * float(np.median(scaled))
        if not abs(slope - before) > _SETTLED * abs(slope) or not limit > 0:
            break
        weight = samples.weight * weigh_robustly(scaled, limit)
    bend = float(np.where(scaled <= limit, samples.weight * height**2, 0.0).sum()) if limit > 0 else power
    return slope, find_error(samples.area, leverage * residual, bend)


def _find_deviation(samples: Samples, slope: float) -> float:
    """Standard deviation of the phase about the means of its components, without what grows with height."""
    left = samples.phase - slope * samples.height
    return float((left - find_means(left, samples.component, samples.weight)).std())
