"""The ledger: what a pair's phase is before and after a correction, and whether the phase has it at all.

The share is how many times the phase has the correction: 1 where it is right, 0 where it is not in the data, -1 where
its sign is wrong. A ramp is in every phase, from air and orbits, and has any sign: so a correction that is little more
than a ramp has a share that is hardly known, from one pair.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.corrections.samples import (
    AREA_M,
    LAYERS,
    MOST_PIXELS,
    find_error,
    find_means,
    number_labels,
    take_samples,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from topsar.corrections.samples import Samples
    from topsar.interferogram import Interferogram

VERSION = "1"
"""Raised when the same pair would have other entries."""
RAMP_RAD_PER_M = 2.0 / 100_000
"""Deviation of the slopes that long waves of air and orbits leave, east and north (2 cm over 100 km, two-way)."""
SIGNIFICANT = 2.0
"""Standard errors."""
LEAST_PIXELS = 100
_AREAS_ACROSS = 6
_SAMPLE_BYTES, _PIXEL_BYTES = 200, 4
"""Memory per reliable pixel that is weighed; per pixel of the grid and correction."""


def predict_memory(pixels: float, corrections: int) -> float:
    """Predict the memory of a pair's corrections and of their ledger, bytes.

    Parameters
    ----------
    pixels : float
        Of the grid.
    corrections : int
        How many.
    """
    return (_SAMPLE_BYTES * min(pixels, MOST_PIXELS) + _PIXEL_BYTES * (corrections + 1) * pixels) * (corrections > 0)


def weigh_corrections(ifg: Interferogram, phases: Mapping[str, NDArray[np.float32]]) -> dict[str, dict[str, Any]]:
    """Say of each correction what its removal makes of the phase; nothing of one that no reliable pixel has.

    Parameters
    ----------
    ifg : Interferogram
        As the engine left it.
    phases : mapping
        By name, (rows, columns), rad, NaN where not known.

    Returns
    -------
    dict
        By name: ``pixels``; before and after, over pixels in components and about their means, the deviation
        ``std_rad``, the slopes east and north ``ramp_rad_per_100_km``, and ``height_correlation``; ``share`` with
        ``share_error``; and ``objection`` where the removal makes the phase worse.
    """
    if not set(LAYERS) <= ifg.layers.keys() or not phases:
        return {}
    samples, found = take_samples(ifg), {}
    for name, phase in phases.items():
        taken = phase[samples.row, samples.column].astype(np.float64)
        known = np.isfinite(taken)
        if np.count_nonzero(known) >= LEAST_PIXELS:
            found[name] = _weigh(samples, taken, known)
    return found


def _weigh(samples: Samples, taken: NDArray[np.float64], known: NDArray[np.bool_]) -> dict[str, Any]:
    component = number_labels(samples.component[known])
    even = np.ones(component.size)
    phase, layer, height, east, south = (
        values[known] - find_means(values[known], component, even)
        for values in (samples.phase, taken, samples.height, samples.east_m, samples.south_m)
    )
    sides = (phase, phase - layer)
    place = np.column_stack([east, -south])
    entry: dict[str, Any] = {
        "pixels": int(layer.size),
        "std_rad": [round(float(side.std()), 4) for side in sides],
        "ramp_rad_per_100_km": [[round(1e5 * slope, 4) for slope in _fit_ramp(place, side)] for side in sides],
        "height_correlation": [_correlate(side, height) for side in sides],
    }
    area = _number_areas(samples.east_m[known], samples.south_m[known])
    share, error = _find_share(phase, layer, place, area)
    entry |= {"share": share, "share_error": error}
    if share is not None and error is not None and share + SIGNIFICANT * error < 0.5:
        entry["objection"] = _object(share, error, entry["std_rad"])
    return entry


def _fit_ramp(place_m: NDArray[np.float64], values: NDArray[np.float64]) -> list[float]:
    """Slopes east and north, per metre."""
    return [float(slope) for slope in np.linalg.lstsq(place_m, values, rcond=None)[0]]


def _correlate(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    power = float(one @ one) * float(other @ other)
    return round(float(one @ other) / math.sqrt(power), 4) if power > 0 else None


def _number_areas(east_m: NDArray[np.float64], south_m: NDArray[np.float64]) -> NDArray[np.intp]:
    """Areas within which residuals depend on each other; smaller ones in a small scene."""
    side = min(AREA_M, max(float(np.ptp(east_m)), float(np.ptp(south_m)), 1.0) / _AREAS_ACROSS)
    return number_labels(south_m // side, east_m // side)


def _find_share(
    phase: NDArray[np.float64], layer: NDArray[np.float64], place_m: NDArray[np.float64], area: NDArray[np.intp]
) -> tuple[float | None, float | None]:
    """How many times the phase has the layer, and the standard error of that; None where nobody can tell."""
    power = float(layer @ layer)
    if not power > 0:
        return None, None
    share = float(layer @ phase) / power
    rough = find_error(area, layer * (phase - share * layer), power)
    ramp = RAMP_RAD_PER_M * float(np.linalg.norm(place_m.T @ layer)) / power
    error = math.hypot(rough, ramp)
    return (round(share, 4), round(error, 4)) if math.isfinite(error) else (None, None)


def _object(share: float, error: float, deviation: list[float]) -> str:
    what = "the phase has it with the opposite sign" if share + SIGNIFICANT * error < 0 else "the phase hardly has it"
    spread = " to ".join(f"{one:.2f}" for one in deviation)
    return f"{what} ({share:.2f} ± {error:.2f} times); its removal takes the deviation from {spread} rad"
