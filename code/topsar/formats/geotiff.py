"""Layers as cloud-optimised GeoTIFFs, with the facts beside them: the canonical format."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal

import numpy as np

from topsar import __version__
from topsar.files import write_json
from topsar.formats import Cost, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from topsar.interferogram import Interferogram, Layer

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


class GeoTiff(Format):
    """One ``<layer>.tif`` per layer, and ``facts.json``."""

    name = "geotiff"
    version = "5"
    cost = Cost(base_memory=0, memory=0, disk=60, start_s=1.5, microseconds=1.5, pixels_per_thread=5e5)

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write the layers of one pair, and its facts last.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            The one pair.
        folder : Path
            The empty folder to write into.
        """
        return tuple(path for ifg in ifgs for path in _write_pair(ifg, folder))


def _write_pair(ifg: Interferogram, folder: Path) -> Iterator[Path]:
    from topsar.raster import Labels, write_geotiff

    layers = {}
    for name, layer in ifg.layers.items():
        path, kind = folder / f"{name}.tif", layer.kind
        write_geotiff(
            path,
            layer.values,
            ifg.grid,
            nodata=kind.nodata,
            labels=Labels(unit=kind.unit, description=kind.description, tags=_make_tags(ifg, layer)),
            overviews=_choose_overviews(layer),
        )
        valid = 1.0 - float(np.count_nonzero(layer.holes)) / max(layer.values.size, 1)
        layers[name] = {"unit": kind.unit, "description": kind.description, "valid_share": round(valid, 4)}
        yield path
    facts = folder / "facts.json"
    write_json(facts, {"pair": ifg.pair_id, "crs": ifg.grid.crs, **ifg.facts, "grid": ifg.grid, "layers": layers})
    yield facts


def _make_tags(ifg: Interferogram, layer: Layer) -> dict[str, str]:
    tags = {"PAIR": ifg.pair_id, "LAYER": layer.kind.name, "SOFTWARE": f"topsar {__version__}"}
    known = {key: ifg.facts[key] for key in TAGGED_FACTS if ifg.facts.get(key) is not None}
    tags |= {key.upper(): str(value.value if isinstance(value, Enum) else value) for key, value in known.items()}
    if layer.kind.convention:
        tags["CONVENTION"] = layer.kind.convention
    corrected = [name for name, known in ifg.facts.get("corrections", {}).items() if known["applied"]]
    if corrected and layer.kind.name == "displacement":
        tags["CORRECTED_FOR"] = ",".join(corrected)
    return tags


def _choose_overviews(layer: Layer) -> Literal["average", "nearest", "mode"]:
    if np.issubdtype(layer.values.dtype, np.integer):
        return "mode"
    return "nearest" if layer.kind.cyclic else "average"
