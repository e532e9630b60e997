"""The layers of an interferogram: one name, type, unit and meaning, whichever engine fills them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from topsar.model import GeoGrid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One raster of an interferogram; ``values`` is (row, column), ``nodata`` marks holes."""

    name: str
    values: NDArray[Any]
    unit: str
    description: str
    nodata: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interferogram:
    """The hinge: both engines end in it and every product begins with it."""

    pair_id: str
    grid: GeoGrid
    layers: dict[str, Layer]
    facts: dict[str, Any]


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
