"""A raster as a picture that Google Earth lays over the ground."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

import numpy as np

from topsar.engines.ground import LONLAT, find_lonlat_box
from topsar.files import write_zip
from topsar.formats.degrees import warp
from topsar.model import GeoGrid

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.colors import Colormap
    from numpy.typing import NDArray


_MOST_PIXELS = 2048
_OUTLIERS = 2, 98
"""Percentiles of a grey picture's ends."""
_KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2">
<GroundOverlay>
  <name>{name}</name>
  <Icon><href>overlay.png</href></Icon>
  <LatLonBox><north>{north}</north><south>{south}</south><east>{east}</east><west>{west}</west></LatLonBox>
</GroundOverlay>
</kml>
"""


def write_kmz(path: Path, values: NDArray[np.float32], grid: GeoGrid, *, cyclic: bool) -> Path:
    """Write a raster as a KMZ: a picture in degrees, transparent in holes, and the box that it covers.

    Parameters
    ----------
    path : Path
    values : (rows, columns) float32
        NaN in holes.
    grid : GeoGrid
    cyclic : bool
        Wrapped phase, radians: the colours go round once. Else grey.

    Returns
    -------
    Path
        ``path``.
    """
    box = find_lonlat_box(grid)
    rows, columns = min(grid.rows, _MOST_PIXELS), min(grid.columns, _MOST_PIXELS)
    dx, dy = (box.east - box.west) / columns, (box.north - box.south) / rows
    shown = GeoGrid(crs=LONLAT, west=box.west, north=box.north, dx=dx, dy=dy, rows=rows, columns=columns)
    how: Literal["average", "nearest"] = "average" if shown.shape != grid.shape and not cyclic else "nearest"
    picture = warp(values.astype(np.float32), grid, shown, nodata=np.nan, how=how)
    kml = _KML.format(name=escape(path.stem), north=box.north, south=box.south, east=box.east, west=box.west)
    write_zip(path, (("doc.kml", kml.encode()), ("overlay.png", _paint(picture, cyclic=cyclic))))
    return path


def _paint(values: NDArray[np.float32], *, cyclic: bool) -> bytes:
    """Paint values as PNG, transparent in holes."""
    import matplotlib as mpl
    from PIL import Image

    from topsar.formats.quicklook.palette import PHASE

    seen = np.isfinite(values)
    if cyclic:
        colours: Colormap = PHASE
        share = (values + np.pi) / (2 * np.pi)
    else:
        low, high = np.percentile(values[seen], _OUTLIERS) if seen.any() else (0.0, 1.0)
        colours = mpl.colormaps["gray"]
        share = (values - low) / max(high - low, 1e-9)
    painted: NDArray[Any] = colours(np.nan_to_num(np.clip(share, 0, 1)), bytes=True)
    painted[..., 3] = np.where(seen, 255, 0)
    held = io.BytesIO()
    Image.fromarray(painted).save(held, "PNG")
    return held.getvalue()
