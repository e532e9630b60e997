"""The layers of an interferogram: one name, type, unit and meaning, whichever engine fills them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.kernels.statistics import phase_deviation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mask_unseen(seen: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float32]:
    """Keep values where the radar saw the ground, NaN elsewhere.

    Parameters
    ----------
    seen : (rows, columns) bool
    values : (rows, columns) real
    """
    return np.where(seen, values, np.float32(np.nan)).astype(np.float32)


def index_bursts(chosen: NDArray[np.integer[Any]]) -> tuple[list[int], NDArray[np.int16]]:
    """List the bursts that pixels come from in ascending order, and find each pixel's in that list, -1 outside."""
    used = [int(index) for index in np.unique(chosen) if index >= 0]
    place = np.searchsorted(used, chosen).astype(np.int16)
    return used, np.where(chosen >= 0, place, np.int16(-1))


def compute_incidence(los_up: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the incidence angle on the ellipsoid, degrees, from the up component of the line of sight."""
    angle: NDArray[np.float32] = np.degrees(np.arccos(np.clip(los_up, -1, 1)))
    return angle


def compute_displacement(phase_rad: NDArray[np.float32], wavelength_m: float) -> NDArray[np.float32]:
    """Compute the displacement toward the satellite in metres, d = -λ/(4π)·φ.

    Parameters
    ----------
    phase_rad : (rows, columns) float32
        Unwrapped.
    wavelength_m : float
    """
    moved: NDArray[np.float32] = -wavelength_m / (4 * np.pi) * phase_rad
    return moved


def estimate_phase_noise(coherence: NDArray[np.float32], looks: float) -> NDArray[np.float32]:
    """Estimate the standard deviation of the unfiltered phase, rad, at most that of random phase, π/√3.

    Parameters
    ----------
    coherence : (rows, columns) float32
        NaN where there is no signal; the result is NaN there.
    looks : float
    """
    deviation: NDArray[np.float64] = np.minimum(phase_deviation(coherence, looks), np.pi / np.sqrt(3))
    return deviation.astype(np.float32)
