"""Shifts along azimuth by the slope of the ionosphere, and whether burst overlaps show them.

While the satellite flies past a place, its ray moves through a shell at the height h by the share h/H of its way. A
slope of the ionosphere along the flight adds a frequency, so the place is imaged beside itself, by

    Δt = -(h/H) (dφ_i/dη) / (2π |k_a|)

of the secondary against the reference, and as with any misregistration the phase has 2π f_DC Δt too much (Liang, Agram,
Simons and Fielding, 2019, IEEE TGRS 57). Double differences of overlaps see it: they tell how much of it there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.kernels.registration import sum_in_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from topsar.kernels.registration import Overlap

SHELL_M = 350_000.0
"""Height at which the ionosphere is dense, about; what it is in truth multiplies all shifts, and the overlaps tell."""
_ROUNDS = 5


class Share(NamedTuple):
    """How many times the overlaps have the expected shifts, and the timing that is left, s, with standard errors."""

    value: float
    error: float
    timing_s: float
    timing_error_s: float


def expect_shift(
    phase: NDArray[np.floating], rates: tuple[float, float], fm_rate_hz_s: float, height_m: float
) -> NDArray[np.float64]:
    """Expect the shift Δt, s, of each cell from the phase of the ionosphere.

    Parameters
    ----------
    phase : (rows, columns, ...) float
        Rad, in the sign of an interferogram's.
    rates : (float, float)
        Cells by which the beam moves on the ground in a second, down the rows and along the columns.
    fm_rate_hz_s : float
        Azimuth FM rate k_a, of either sign.
    height_m : float
        Of the satellite.
    """
    down, right = (np.gradient(phase, axis=axis) if phase.shape[axis] > 1 else np.zeros_like(phase) for axis in (0, 1))
    slope = rates[0] * down + rates[1] * right
    return np.asarray(-SHELL_M / height_m * slope / (2 * np.pi * abs(fm_rate_hz_s)), np.float64)


def find_share(overlaps: Sequence[Overlap], shifts: Sequence[NDArray[np.float64]]) -> Share | None:
    """Find how many times the double differences have the expected shifts, together with one timing for all of them.

    Least squares with the weights of the overlaps; errors are those of the residuals, summed over each cell.

    Parameters
    ----------
    overlaps : sequence of Overlap
    shifts : sequence of (n,) float64
        Expected at the pixels of each overlap, s; where one is not known its pixel does not count.
    """
    used = [np.isfinite(shift) for shift in shifts]
    if not any(known.any() for known in used):
        return None
    found = np.array([0.0, 1.0])
    for _ in range(_ROUNDS):
        normal, pull, squares = np.zeros((2, 2)), np.zeros(2), np.zeros((2, 2))
        for one, shift, known in zip(overlaps, shifts, used, strict=True):
            frequency, weight = 2 * np.pi * one.separation_hz[known], one.weight[known]
            design = np.stack([1e-5 * frequency, frequency * shift[known]])
            residual = np.angle(np.exp(1j * (one.phase[known] - found @ design)))
            normal += (design * weight) @ design.T
            pulls = np.stack([sum_in_cells(one.cell[known], part) for part in design * weight * residual])
            pull, squares = pull + pulls.sum(axis=1), squares + pulls @ pulls.T
        if np.linalg.cond(normal) > 1e12:
            return None
        inverse = np.linalg.inv(normal)
        found = found + inverse @ pull
    errors = np.sqrt(np.diag(inverse @ squares @ inverse))
    return Share(float(found[1]), float(errors[1]), 1e-5 * float(found[0]), 1e-5 * float(errors[0]))
