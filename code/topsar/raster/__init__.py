"""Rasters: heights above the ellipsoid, cloud-optimised GeoTIFFs, and the evidence that files are whole."""

from topsar.raster.dem import HeightField, open_dem, open_levels, read_datum, require_cover
from topsar.raster.geoid import read_geoid
from topsar.raster.geotiff import Labels, open_geotiff, pixel_centres, read_geotiff, read_reduced, write_geotiff
from topsar.raster.inspection import inspect

__all__ = [
    "HeightField",
    "Labels",
    "inspect",
    "open_dem",
    "open_geotiff",
    "open_levels",
    "pixel_centres",
    "read_datum",
    "read_geoid",
    "read_geotiff",
    "read_reduced",
    "require_cover",
    "write_geotiff",
]
