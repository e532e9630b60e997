"""The layers of an interferogram: one name, type, unit and meaning, whichever engine fills them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.kernels.statistics import phase_deviation
from topsar.kernels.unwrap import add_cycles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from topsar.model import GeoGrid

_ROWS = 512
_SAMPLES = (0.4, 2.5)
_QUIET_RAD = 0.5
"""Predicted noise up to which what a filter took off the phase can be told: noisier phase wraps around."""


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


def make_unwrapped_layers(
    layers: Mapping[str, NDArray[Any]], unwrapped_rad: NDArray[np.float32], wavelength_m: float
) -> dict[str, NDArray[np.float32]]:
    """Make the layers of unwrapped phase: the unwrapper saw filtered phase, its cycles go to the unfiltered one.

    Both unwrapped phases are whole cycles from the wrapped ones; filtered and unfiltered are less than half a cycle
    apart. The displacement is that of the unfiltered phase.

    Parameters
    ----------
    layers : mapping
        Among them ``wrapped_phase`` and ``filtered_phase``, (rows, columns) float32, NaN in holes.
    unwrapped_rad : (rows, columns) float32
        From the unwrapper, less than half a cycle from congruent with ``filtered_phase``; NaN in holes.
    wavelength_m : float
    """
    filtered = add_cycles(layers["filtered_phase"], unwrapped_rad)
    unwrapped = add_cycles(layers["wrapped_phase"], filtered)
    return {
        "filtered_unwrapped_phase": filtered,
        "unwrapped_phase": unwrapped,
        "displacement": compute_displacement(unwrapped, wavelength_m),
    }


def describe_filter(layers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Say how much a filter took off the phase, rms in radians, and how much of that was more than noise.

    A perfect filter removes the ``predicted_noise_rad``; ``beyond_noise_rad`` is signal that was taken, or noise that
    coherence does not predict. Counted are pixels whose predicted noise is at most half a radian.

    Parameters
    ----------
    layers : mapping
        Among them ``wrapped_phase``, ``filtered_phase`` and ``phase_noise``, (rows, columns) float32, NaN in holes.
    """
    wrapped, filtered, noise = (layers[name] for name in ("wrapped_phase", "filtered_phase", "phase_noise"))
    quiet = (noise <= _QUIET_RAD) & np.isfinite(filtered)
    if not quiet.any():
        return {}
    taken = np.angle(np.exp(1j * (wrapped[quiet] - filtered[quiet])))
    removed, predicted = (float(np.mean(values.astype(np.float64) ** 2)) for values in (taken, noise[quiet]))
    squares = {"removed_rad": removed, "predicted_noise_rad": predicted, "beyond_noise_rad": removed - predicted}
    return {name: round(max(square, 0.0) ** 0.5, 4) for name, square in squares.items()}


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


def count_samples(
    height: NDArray[np.float32], los: Sequence[NDArray[np.float32]], grid: GeoGrid
) -> NDArray[np.float32]:
    """Count the samples in range that see a pixel, in multiples of those that would see it were it level.

    Slant range grows by sin θ − cos θ·h' with every metre of ground away from the radar, h' being the slope that way. A
    pixel of a steep slope has many slopes, so the count is kept within `_SAMPLES`.

    Parameters
    ----------
    height : (rows, columns) float32
    los : three of (rows, columns) float32
        Unit vector to the satellite, true east, north and up.
    grid : GeoGrid

    Returns
    -------
    (rows, columns) float32
        1 where the slope is not known.
    """
    from topsar.engines.ground import find_slopes

    count = np.ones(grid.shape, np.float32)
    for rows, toward, _ in find_slopes(height, los, grid) if min(grid.shape) > 1 else ():
        count[rows] = np.clip(1 + toward * los[2][rows] / (1 - los[2][rows] ** 2), *_SAMPLES)
    return np.nan_to_num(count, copy=False, nan=1)


def estimate_phase_noise(
    coherence: NDArray[np.float32], looks: float | NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """Estimate the standard deviation of the unfiltered phase, rad, at most that of random phase, π/√3.

    Parameters
    ----------
    coherence : (rows, columns) float32
        NaN where there is no signal; the result is NaN there.
    looks : float or (rows, columns) real
        Independent looks of a pixel.
    """
    noise = np.empty(coherence.shape, np.float32)
    everywhere = np.broadcast_to(looks, coherence.shape)
    for first in range(0, len(noise), _ROWS):
        rows = slice(first, first + _ROWS)
        noise[rows] = phase_deviation(coherence[rows], everywhere[rows])
    return noise


def add_shifted_fringes(
    noise: NDArray[np.float32], filtered: NDArray[np.float32], centre: NDArray[np.float16]
) -> NDArray[np.float32]:
    """Add to the noise of the phase what fringes make of brightness that is not in the middle of a pixel.

    The phase of a pixel is that of its centre of brightness: it is off by the distance times the slope of the phase.

    Parameters
    ----------
    noise : (rows, columns) float32
        Standard deviation of the phase from coherence and looks, rad.
    filtered : (rows, columns) float32
        Filtered phase, rad, whose slope is taken; NaN in holes.
    centre : (2, rows, columns) float16
        Eastward and southward from the middle, pixels.

    Returns
    -------
    (rows, columns) float32
        At most that of random phase, π/√3.
    """
    shift = centre[0] * _find_phase_slope(filtered, 1) + centre[1] * _find_phase_slope(filtered, 0)
    total: NDArray[np.float32] = np.minimum(np.hypot(noise, shift), np.float32(np.pi / np.sqrt(3)), dtype=np.float32)
    return total


def _find_phase_slope(phase: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Mean of the steps to both neighbours along an axis, rad, whole cycles left out; 0 where neither is known."""
    steps = np.diff(phase, axis=axis)
    steps -= np.float32(2 * np.pi) * np.rint(steps / np.float32(2 * np.pi))
    total, number = np.zeros_like(phase), np.zeros(phase.shape, np.int8)
    known = np.isfinite(steps)
    length = phase.shape[axis] - 1
    for first in (0, 1):
        place = tuple(slice(first, first + length) if one == axis else slice(None) for one in (0, 1))
        total[place] += np.where(known, steps, 0)
        number[place] += known
    return np.divide(total, np.maximum(number, 1), dtype=np.float32)
