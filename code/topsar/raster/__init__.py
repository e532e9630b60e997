"""Rasters: heights above the ellipsoid, cloud-optimised GeoTIFFs, and the evidence that files are whole."""

from topsar.raster.dem import HeightField, open_dem, open_levels, read_datum, require_cover
from topsar.raster.geoid import read_geoid
from topsar.raster.geotiff import (
    Labels,
    compute_pixel_centres,
    open_geotiff,
    read_geotiff,
    read_reduced,
    write_geotiff,
)
from topsar.raster.inspection import inspect

__all__ = [
    "HeightField",
    "Labels",
    "compute_pixel_centres",
    "inspect",
    "open_dem",
    "open_geotiff",
    "open_levels",
    "read_datum",
    "read_geoid",
    "read_geotiff",
    "read_reduced",
    "require_cover",
    "write_geotiff",
]
