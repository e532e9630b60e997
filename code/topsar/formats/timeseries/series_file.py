"""A time series as one netCDF file after CF-1.11, as xarray and GDAL read it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.formats.netcdf import CHUNK, create_layer, describe_file, write_grid
from topsar.formats.timeseries.layers import DISPLACEMENT, SERIES_LAYERS
from topsar.formats.timeseries.stack import TILE, cut_tiles, name_displacement
from topsar.model import name_track
from topsar.raster.geotiff import open_to_read
from topsar.settings.text import parse_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topsar.formats.timeseries.stack import Network

_DATES_PER_CHUNK, _EDGE = 32, 128
"""Of a chunk of displacements: the history of a place is read from a few of them, and so is the map of a date."""


def write_series(network: Network, folder: Path, facts: Mapping[str, Any], given: str = "") -> Path:
    """Write ``timeseries.nc``: ``displacement`` (time, y, x), and velocity and quality (y, x).

    Parameters
    ----------
    network : Network
    folder : Path
        It holds the GeoTIFFs.
    facts : mapping
        What ``timeseries.json`` says.
    given : str
        The setting ``netcdf_attributes``.
    """
    import h5netcdf

    path = folder / "timeseries.nc"
    with ExitStack() as stack:
        file = stack.enter_context(h5netcdf.File(path, "w"))
        file.attrs.update(_describe(network, facts) | parse_attributes(given))
        file.dimensions["time"] = len(network.dates)
        places = write_grid(file, network.grid)
        days = np.array(network.dates, "datetime64[D]").astype(np.int64)
        file.create_variable("time", ("time",), np.float64, data=days.astype(np.float64)).attrs.update(
            {"standard_name": "time", "long_name": "Date", "units": "days since 1970-01-01", "axis": "T"}
        )
        for name, kind in SERIES_LAYERS.items():
            layer = create_layer(file, kind, places, (CHUNK, CHUNK))
            with open_to_read(folder / f"{name}.tif") as dataset:
                layer[:] = dataset.read(1)
        quality = "temporal_coherence residual_rms closure_count"
        chunks, dimensions = (_DATES_PER_CHUNK, _EDGE, _EDGE), ("time", *places)
        moved = create_layer(file, DISPLACEMENT, dimensions, chunks, ancillary_variables=quality)
        dates = [stack.enter_context(open_to_read(folder / f"{name_displacement(date)}.tif")) for date in network.dates]
        for window in cut_tiles(network.grid.whole, TILE):
            part = (slice(None), *window.slices)
            moved[part] = np.stack([date.read(1, window=window.spans) for date in dates])
    return path


def _describe(network: Network, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the file: those of its pairs, with what the series is."""
    place = facts["reference"]
    track = f"track {facts['track']}" if facts["track"] else "pairs"
    return describe_file(network.pairs, network.grid) | {
        "title": f"Sentinel-1 displacement time series of {track}, {network.dates[0]} to {network.dates[-1]}",
        "summary": f"Line-of-sight displacement of {len(network.dates)} dates since the first and its velocity, "
        f"positive toward the satellite, from {len(network.pairs)} interferograms; zero at latitude "
        f"{place['latitude']:.5f}, longitude {place['longitude']:.5f}.",
        "id": f"timeseries_{name_track(network.pairs[0].pair_id)}",
        "processing_level": "L3",
        "facts": json.dumps({key: value for key, value in facts.items() if key != "grid"}, ensure_ascii=False),
    }
