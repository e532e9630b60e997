"""The layers of an interferogram: one name, type, unit and meaning, whichever engine fills them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.kernels.statistics import phase_deviation
from topsar.model import Layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the values of a layer are; ``dtype`` is that of its file."""

    unit: str
    description: str
    dtype: type[np.generic] = np.float32
    nodata: float = float("nan")


UNKNOWN = 255
"""In masks, where nobody can tell."""

LAYERS: dict[str, _Kind] = {
    "wrapped_phase": _Kind("rad", "Multilooked, unfiltered phase, reference · conj(secondary)"),
    "filtered_phase": _Kind("rad", "Phase after the Goldstein filter"),
    "coherence": _Kind("1", "Sample coherence"),
    "amplitude": _Kind("1", "Mean amplitude, uncalibrated"),
    "height": _Kind("m", "Height above the WGS84 ellipsoid"),
    "los_east": _Kind("1", "East component of the unit vector to the satellite"),
    "los_north": _Kind("1", "North component of the unit vector to the satellite"),
    "los_up": _Kind("1", "Up component of the unit vector to the satellite"),
    "burst": _Kind("1", "Which of the bursts listed in facts.json the pixel comes from, from 0", np.int16, -1),
    "incidence": _Kind("degree", "Incidence angle on the ellipsoid"),
    "unwrapped_phase": _Kind("rad", "Unwrapped filtered phase; positive: range grew"),
    "displacement": _Kind("m", "Line-of-sight displacement, positive toward the satellite"),
    "phase_noise": _Kind("rad", "Standard deviation of the unfiltered phase, from coherence and independent looks"),
    "layover_shadow": _Kind("1", "1 layover, 2 shadow, 3 both, 0 neither", np.uint8, UNKNOWN),
    "water": _Kind("1", "1 water, 0 land", np.uint8, UNKNOWN),
    "ionosphere": _Kind("rad", "Ionospheric phase by the split spectrum, not removed"),
    "components": _Kind("1", "Connected components of the unwrapped phase; 0 is not reliable", np.uint16, 0),
}
"""Every layer there is, in the order in which products list them."""


def make_layers(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Layer]:
    """Layers from arrays (rows, columns) by name, in the order of `LAYERS`."""
    return {
        name: Layer(
            name=name,
            values=arrays[name].astype(kind.dtype, copy=False),
            unit=kind.unit,
            description=kind.description,
            nodata=kind.nodata,
        )
        for name, kind in LAYERS.items()
        if name in arrays
    }


def where_seen(seen: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float32]:
    """Values where there is something to see, NaN elsewhere."""
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
    """Displacement toward the satellite in metres, d = -λ/(4π)·φ."""
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
