"""The layers of a time series: unit, meaning and sign of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from topsar.interferogram import LAYERS, LayerKind

if TYPE_CHECKING:
    from collections.abc import Mapping

DISPLACEMENT = LAYERS["displacement"]
_KINDS = (
    LayerKind(
        name="velocity",
        long_name="Velocity in line of sight",
        unit="m/yr",
        description="Mean velocity in line of sight",
        convention=DISPLACEMENT.convention,
    ),
    LayerKind(
        name="velocity_std",
        long_name="Standard error of the velocity",
        unit="m/yr",
        description="Standard error of the velocity, from the noise of the pairs and the scatter of the dates about "
        "the line",
    ),
    LayerKind(
        name="temporal_coherence",
        long_name="Temporal coherence",
        unit="1",
        description="Temporal coherence of the pairs about the series",
    ),
    LayerKind(
        name="residual_rms",
        long_name="Residual",
        unit="rad",
        description="Root mean square of what the pairs differ from the series",
    ),
    LayerKind(
        name="closure_count",
        long_name="Open triangles",
        unit="1",
        description="Triangles of pairs that do not close by whole cycles, after repair",
        dtype=np.int16,
        nodata=-1,
    ),
)
SERIES_LAYERS: Mapping[str, LayerKind] = {kind.name: kind for kind in _KINDS}
"""What is known of each pixel besides its displacement on every date."""
