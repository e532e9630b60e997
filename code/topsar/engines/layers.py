"""The layers of an interferogram: one name, type, unit and meaning, whichever engine fills them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.kernels.statistics import phase_deviation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def where_seen(seen: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float32]:
    """Values where there is something to see, NaN elsewhere.

    Parameters
    ----------
    seen : (rows, columns) bool
    values : (rows, columns)
    """
    return np.where(seen, values, np.float32(np.nan)).astype(np.float32)


def number_bursts(chosen: NDArray[np.integer[Any]]) -> tuple[list[int], NDArray[np.int16]]:
    """The bursts that pixels come from, and for each pixel its burst's place among these.

    Parameters
    ----------
    chosen : (rows, columns) int
        The burst that each pixel comes from, negative outside.

    Returns
    -------
    used : list of int
    place : (rows, columns) int16
        -1 outside.
    """
    used = [int(index) for index in np.unique(chosen) if index >= 0]
    place = np.searchsorted(used, chosen).astype(np.int16)
    return used, np.where(chosen >= 0, place, np.int16(-1))


def incidence(los_up: NDArray[np.float32]) -> NDArray[np.float32]:
    """Incidence angle on the ellipsoid, degrees, from the up component of the unit vector to the satellite."""
    angle: NDArray[np.float32] = np.degrees(np.arccos(np.clip(los_up, -1, 1)))
    return angle


def displacement(phase_rad: NDArray[np.float32], wavelength_m: float) -> NDArray[np.float32]:
    """Displacement toward the satellite in metres, d = -λ/(4π)·φ.

    Parameters
    ----------
    phase_rad : (rows, columns) float32
        Unwrapped.
    wavelength_m : float
    """
    moved: NDArray[np.float32] = -wavelength_m / (4 * np.pi) * phase_rad
    return moved


def phase_noise(coherence: NDArray[np.float32], looks: float) -> NDArray[np.float32]:
    """Standard deviation of the unfiltered phase, rad: that of `phase_deviation`, at most that of random phase, π/√3.

    Parameters
    ----------
    coherence : (rows, columns) float32
        NaN where there is no signal; the result is NaN there.
    looks : float
        Independent looks of a pixel.
    """
    deviation: NDArray[np.float64] = np.minimum(phase_deviation(coherence, looks), np.pi / np.sqrt(3))
    return deviation.astype(np.float32)
