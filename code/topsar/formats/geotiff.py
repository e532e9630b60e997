"""Layers as cloud-optimised GeoTIFFs, with the facts beside them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from topsar import __version__
from topsar.files import write_json
from topsar.interferogram import Interferogram, Layer
from topsar.raster import Labels, write_geotiff

TAGGED_FACTS = (
    "track",
    "direction",
    "reference_date",
    "secondary_date",
    "perpendicular_baseline_m",
    "temporal_baseline_days",
    "wavelength_m",
    "looks",
    "engine",
    "engine_version",
)
CONVENTIONS = {
    "wrapped_phase": "interferogram = reference * conj(secondary)",
    "filtered_phase": "interferogram = reference * conj(secondary)",
    "unwrapped_phase": "positive: range grew from reference to secondary",
    "displacement": "line of sight, positive toward the satellite",
    "height": "above the WGS84 ellipsoid",
    "los_east": "unit vector from the ground to the satellite",
    "los_north": "unit vector from the ground to the satellite",
    "los_up": "unit vector from the ground to the satellite",
}
CYCLIC_LAYERS = ("wrapped_phase", "filtered_phase")


def write_layers(ifg: Interferogram, folder: Path) -> tuple[Path, ...]:
    """Write every layer as ``<name>.tif`` and the facts as ``facts.json``; returns the paths, the facts last.

    The facts come with the pair's id, the grid, and the unit, description and valid share of every layer.

    Raises
    ------
    ProductError
        If a file cannot be written.
    """
    paths = []
    for layer in ifg.layers.values():
        path = folder / f"{layer.name}.tif"
        write_geotiff(
            path,
            layer.values,
            ifg.grid,
            nodata=layer.nodata,
            labels=Labels(unit=layer.unit, description=layer.description, tags=_tags(ifg, layer)),
            overviews=_overviews(layer),
        )
        paths.append(path)
    facts = folder / "facts.json"
    layers = {layer.name: _described(layer) for layer in ifg.layers.values()}
    write_json(facts, {"pair": ifg.pair_id, "crs": ifg.grid.crs, **ifg.facts, "grid": ifg.grid, "layers": layers})
    return *paths, facts


def _tags(ifg: Interferogram, layer: Layer) -> dict[str, str]:
    tags = {"PAIR": ifg.pair_id, "LAYER": layer.name, "SOFTWARE": f"topsar {__version__}"}
    tags |= {key.upper(): _text(ifg.facts[key]) for key in TAGGED_FACTS if ifg.facts.get(key) is not None}
    if layer.name in CONVENTIONS:
        tags["CONVENTION"] = CONVENTIONS[layer.name]
    return tags


def _text(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _overviews(layer: Layer) -> Literal["average", "nearest", "mode"]:
    if np.issubdtype(layer.values.dtype, np.integer):
        return "mode"
    return "nearest" if layer.name in CYCLIC_LAYERS else "average"


def _described(layer: Layer) -> Mapping[str, object]:
    hole = np.isnan(layer.values) if np.isnan(layer.nodata) else layer.values == layer.nodata
    valid = 1.0 - float(np.count_nonzero(hole)) / max(hole.size, 1)
    return {"unit": layer.unit, "description": layer.description, "valid_share": round(valid, 4)}
