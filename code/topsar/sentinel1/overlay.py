"""The overlay of a product, ``preview/map-overlay.kml``: where its corners lie, as topsStack looks them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OVERLAY = "preview/map-overlay.kml"
_CORNERS = 4


def write_overlay(root: Path, corners: Sequence[tuple[float, float]]) -> None:
    """Write the overlay of a SAFE folder.

    Parameters
    ----------
    root : Path
        The SAFE folder.
    corners : sequence of (float, float)
        Four latitudes and longitudes, degrees, around the product.
    """
    assert len(corners) == _CORNERS
    places = " ".join(f"{longitude:.6f},{latitude:.6f}" for latitude, longitude in corners)
    (root / OVERLAY).parent.mkdir(exist_ok=True)
    write_text(root / OVERLAY, _TEXT.format(places=places))


_TEXT = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns:gx="http://www.google.com/kml/ext/2.2">
  <Document>
    <name>Sentinel-1 Map Overlay</name>
    <Folder>
      <name>Sentinel-1 Scene Overlay</name>
      <GroundOverlay>
        <name>Sentinel-1 Image Overlay</name>
        <gx:LatLonQuad>
          <coordinates>{places}</coordinates>
        </gx:LatLonQuad>
      </GroundOverlay>
    </Folder>
  </Document>
</kml>
"""
