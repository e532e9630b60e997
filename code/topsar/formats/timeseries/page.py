"""A page to look at a time series: one file, opened without a server or a network."""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from matplotlib.colors import to_hex
from rasterio.enums import Resampling

from topsar.files import write_text
from topsar.formats.quicklook.palette import DISPLACEMENT
from topsar.formats.quicklook.view import shade_relief
from topsar.formats.timeseries.stack import name_displacement
from topsar.raster.geotiff import make_transformer, open_to_read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import GeoGrid

MOST_MAP_PIXELS, MOST_SAMPLES = 1_000_000, 4_000_000
"""Of a map, and of the displacements of all dates; larger grids are averaged. Together they stay below 15 MB."""
_HOLE = -32768
_MAPS = ("velocity", "velocity_std", "temporal_coherence")


def write_page(folder: Path, grid: GeoGrid, height: NDArray[np.float32] | None, facts: Mapping[str, Any]) -> Path:
    """Write ``timeseries.html``: a map with pan and zoom, and the displacements of points that are clicked.

    Parameters
    ----------
    folder : Path
        It holds the GeoTIFFs.
    grid : GeoGrid
    height : (rows, columns) float32
        Metres, for the relief; NaN in holes. None where they are not known.
    facts : mapping
        What ``timeseries.json`` says.
    """
    dates = [str(date) for date in facts["dates"]]
    fine, coarse = (_find_shape(grid, most) for most in (MOST_MAP_PIXELS, MOST_SAMPLES // len(dates)))
    layers = {name: _pack(_reduce(folder / f"{name}.tif", fine)) for name in _MAPS}
    series = np.stack([_reduce(folder / f"{name_displacement(date)}.tif", coarse) for date in dates])
    relief = np.full(fine, 0.5) if height is None else shade_relief(_thin(height, fine), grid)
    described = {
        "dates": dates,
        "flagged": facts["flagged_dates"],
        "reference": [facts["reference"]["latitude"], facts["reference"]["longitude"]],
        "map": list(fine),
        "grid": list(coarse),
        "corners": _list_corners(grid),
        "palette": [to_hex(DISPLACEMENT(share)) for share in np.linspace(0, 1, 33)],
        "layers": layers,
        "series": _pack(series),
        "relief": _encode(np.round(255 * relief).astype(np.uint8)),
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("topsar.formats.timeseries", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("page.html.j2").render(
        title=f"Track {facts['track']}" if facts.get("track") else "Time series",
        dates=dates,
        pairs=len(facts["pairs"]),
        flagged=facts["flagged_dates"],
        described=json.dumps(described).replace("<", "\\u003c"),
    )
    path = folder / "timeseries.html"
    write_text(path, text)
    return path


def _find_shape(grid: GeoGrid, most: int) -> tuple[int, int]:
    step = 1
    while (shape := (-(-grid.rows // step), -(-grid.columns // step)))[0] * shape[1] > most:
        step += 1
    return shape


def _reduce(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Average a band of real numbers to a shape, holes left out."""
    with open_to_read(path) as dataset:
        values: NDArray[np.float32] = dataset.read(1, out_shape=shape, resampling=Resampling.average)
        return values


def _thin(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    rows, columns = (np.arange(n) * full // n for n, full in zip(shape, values.shape, strict=True))
    return values[np.ix_(rows, columns)]


def _pack(values: NDArray[np.float32]) -> dict[str, Any]:
    """Pack values into 16 bits, with the step that one of them means."""
    known = np.isfinite(values)
    step = max(float(np.abs(values[known]).max(initial=0)) / 32767, 1e-9)
    whole = np.where(known, np.round(np.nan_to_num(values) / step), _HOLE).astype("<i2")
    return {"step": step, "data": _encode(whole)}


def _encode(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode()


def _list_corners(grid: GeoGrid) -> Sequence[Sequence[float]]:
    """Latitude and longitude of the north-west, north-east, south-west and south-east corner."""
    box = grid.bbox
    to_degrees = make_transformer(grid)
    places = ((box.west, box.north), (box.east, box.north), (box.west, box.south), (box.east, box.south))
    return [to_degrees.transform(x, y)[::-1] for x, y in places]
