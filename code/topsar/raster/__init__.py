"""Rasters and files: heights above the ellipsoid, cloud-optimised GeoTIFFs, atomic writes and their evidence."""

from topsar.raster.dem import HeightField, declared_datum, open_dem, require_cover
from topsar.raster.files import atomic_path, save_array, write_json, write_text
from topsar.raster.geoid import Geoid, read_geoid
from topsar.raster.geotiff import pixel_centres, read_geotiff, write_geotiff
from topsar.raster.inspection import inspect

__all__ = [
    "Geoid",
    "HeightField",
    "atomic_path",
    "declared_datum",
    "inspect",
    "open_dem",
    "pixel_centres",
    "read_geoid",
    "read_geotiff",
    "require_cover",
    "save_array",
    "write_geotiff",
    "write_json",
    "write_text",
]
