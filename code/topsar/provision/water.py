"""The user's own raster of water."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rasterio

from topsar.errors import ProvisionError
from topsar.provision.dem.choice import require_file
from topsar.raster.geotiff import GDAL_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.settings import Settings


def find_water_mask(settings: Settings) -> Path | None:
    """Find the raster that ``WATER_MASK`` names; None where it is empty.

    Raises
    ------
    ProvisionError
        If it is not there, cannot be read, or does not say where it lies.
    """
    if not settings.water_mask:
        return None
    path = require_file(settings.water_mask, settings.data.resolve(), "WATER_MASK")
    try:
        with rasterio.open(path) as dataset:
            is_placed = dataset.crs is not None
    except GDAL_ERRORS as exc:
        msg = f"cannot read the water mask {path}: {exc}"
        raise ProvisionError(msg, hint="give a raster that GDAL opens in WATER_MASK, or leave it empty") from exc
    if not is_placed:
        msg = f"the water mask {path} has no coordinate system"
        raise ProvisionError(msg, hint="set it, for example with gdal_edit.py -a_srs EPSG:4326")
    return path
