"""The layers of an interferogram: one name, type, unit and meaning, whichever engine fills them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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


def displacement(phase_rad: NDArray[np.float32], wavelength_m: float) -> NDArray[np.float32]:
    """Displacement toward the satellite in metres, d = -λ/(4π)·φ."""
    moved: NDArray[np.float32] = -wavelength_m / (4 * np.pi) * phase_rad
    return moved
