"""Rasters as pictures that Google Earth lays over the ground."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

import numpy as np

from topsar.engines.ground import LONLAT, find_lonlat_box
from topsar.files import write_zip
from topsar.formats.degrees import warp
from topsar.model import GeoGrid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.formats.scale import Scale


_MOST_PIXELS = 2048
PNG_LEVEL = 3
"""A picture of noise is hardly smaller at 6, and takes twice as long."""
_KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2">
<Document>
  <name>{name}</name>
  <description>{description}</description>
{overlays}</Document>
</kml>
"""
_OVERLAY = """  <GroundOverlay>
    <name>{name}</name>
    <visibility>{visibility}</visibility>
    <Icon><href>{href}</href></Icon>
    <LatLonBox><north>{north}</north><south>{south}</south><east>{east}</east><west>{west}</west></LatLonBox>
  </GroundOverlay>
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlay:
    """One raster, NaN in holes; the name is shown, and that of the picture is made of it."""

    name: str
    values: NDArray[Any]
    scale: Scale
    cyclic: bool = False


def write_kmz(path: Path, overlays: Sequence[Overlay], grid: GeoGrid, description: str = "") -> Path:
    """Write rasters as a KMZ: pictures in degrees, transparent in holes, and the box that they cover.

    Parameters
    ----------
    path : Path
    overlays : sequence of Overlay
        The first is shown when the file is opened, the others on demand.
    grid : GeoGrid
    description : str

    Returns
    -------
    Path
        ``path``.
    """
    box = find_lonlat_box(grid)
    rows, columns = min(grid.rows, _MOST_PIXELS), min(grid.columns, _MOST_PIXELS)
    dx, dy = (box.east - box.west) / columns, (box.north - box.south) / rows
    shown = GeoGrid(crs=LONLAT, west=box.west, north=box.north, dx=dx, dy=dy, rows=rows, columns=columns)
    edges = {"north": box.north, "south": box.south, "east": box.east, "west": box.west}
    pictures, parts = [], []
    for number, overlay in enumerate(overlays):
        href = f"{number}.png"
        pictures.append((href, encode_picture(overlay, grid, shown)))
        parts.append(_OVERLAY.format(name=escape(overlay.name), visibility=int(number == 0), href=href, **edges))
    kml = _KML.format(name=escape(path.stem), description=escape(description), overlays="".join(parts))
    write_zip(path, [("doc.kml", kml.encode()), *pictures])
    return path


def encode_picture(overlay: Overlay, grid: GeoGrid, shown: GeoGrid) -> bytes:
    """Paint a raster on another grid, as PNG.

    Parameters
    ----------
    overlay : Overlay
    grid, shown : GeoGrid
        Of the raster and of the picture.
    """
    averaged = shown.shape != grid.shape and not overlay.cyclic
    how: Literal["average", "nearest"] = "average" if averaged else "nearest"
    picture = warp(overlay.values.astype(np.float32), grid, shown, nodata=np.nan, how=how)
    held = io.BytesIO()
    overlay.scale.paint(picture).save(held, "PNG", compress_level=PNG_LEVEL)
    return held.getvalue()
