"""Pictures of a time series, with the means of those of a pair."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.formats.quicklook.pictures import draw_pictures
from topsar.interferogram import LAYERS, Drawing, Interferogram, Layer, LayerKind
from topsar.raster import read_geotiff

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.formats.timeseries.stack import Network

_DRAWINGS = {
    "velocity": Drawing(
        style="symmetric",
        label="Velocity in line of sight (mm/yr)",
        note="Relative to the reference; grey where no series is reliable",
        scale=1000.0,
        ends=("away from\nthe satellite", "toward\nthe satellite"),
    ),
    "velocity_std": Drawing(style="range", label="Standard error (mm/yr)", scale=1000.0),
    "temporal_coherence": Drawing(style="unit", label="Temporal coherence", note="Mean {mean:.2f}"),
}
_UNDERLAY = ("height", "los_east", "los_north", "coherence")
"""Layers of a pair that are not drawn, but give relief, direction of view, and where the radar saw the ground."""


def draw_series(network: Network, pair: Interferogram, folder: Path) -> tuple[Path, ...]:
    """Draw the velocity, its standard error and the temporal coherence that lie in a folder.

    Parameters
    ----------
    network : Network
    pair : Interferogram
        On the network's grid; for what lies beneath.
    folder : Path
    """
    layers = {
        name: replace(pair.layers[name], kind=replace(LAYERS[name], drawing=None))
        for name in _UNDERLAY
        if name in pair.layers
    }
    for name, drawing in _DRAWINGS.items():
        values, _, _ = read_geotiff(folder / f"{name}.tif")
        title = name.replace("_std", " error").replace("_", " ").capitalize()
        kind = LayerKind(name=name, long_name=title, unit="", description=title, drawing=drawing)
        layers[name] = Layer(kind=kind, values=values.astype(np.float32))
    facts: dict[str, Any] = {"reference_date": network.dates[0], "secondary_date": network.dates[-1]}
    facts |= {key: pair.facts[key] for key in ("track", "direction", "engine", "engine_version") if key in pair.facts}
    return draw_pictures(Interferogram(pair_id="", grid=network.grid, layers=layers, facts=facts), folder)
