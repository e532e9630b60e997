"""Round values along an axis, and how they are written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEARANCE = 0.03


def find_round_values(low: float, high: float, wanted: int, clearance: float = CLEARANCE) -> NDArray[np.float64]:
    """About ``wanted`` round numbers (steps of 1, 2 or 5), none closer to an end than a share of the interval."""
    step, clear = round_down((high - low) / wanted), clearance * (high - low) - 1e-9 * (high - low)
    return np.round(np.arange(math.ceil((low + clear) / step), math.floor((high - clear) / step) + 1) * step, 10)


def round_down(value: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * max(m for m in (1, 2, 5) if m * power <= value * (1 + 1e-9))


def format_degrees(values: NDArray[np.float64], hemispheres: str) -> list[str]:
    """Write values as ``8.2°W`` and the like, with the fewest decimals that tell all of them apart."""
    wrapped = (values + 180.0) % 360.0 - 180.0 if hemispheres == "EW" else values
    decimals = count_decimals(wrapped)
    sides = (hemispheres[0] if value > 0 else hemispheres[1] if value < 0 else "" for value in wrapped)
    return [f"{abs(value):.{decimals}f}°{side}" for value, side in zip(wrapped, sides, strict=True)]


def count_decimals(values: NDArray[np.float64]) -> int:
    """The fewest decimals that write round values as they are."""
    return next(n for n in range(11) if np.allclose(np.round(values, n), values, atol=1e-9))
