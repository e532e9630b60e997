"""Rasters: heights above the ellipsoid, cloud-optimised GeoTIFFs, and the evidence that files are whole."""

from topsar.raster.dem import HeightField, declared_datum, open_dem, open_levels, require_cover
from topsar.raster.geoid import Geoid, read_geoid
from topsar.raster.geotiff import open_geotiff, pixel_centres, read_geotiff, read_reduced, write_geotiff
from topsar.raster.inspection import inspect
from topsar.raster.isce_header import write_isce_dem, write_isce_heights
from topsar.raster.isce_image import IsceHeader, check_isce_image, read_isce_header, read_isce_image

__all__ = [
    "Geoid",
    "HeightField",
    "IsceHeader",
    "check_isce_image",
    "declared_datum",
    "inspect",
    "open_dem",
    "open_geotiff",
    "open_levels",
    "pixel_centres",
    "read_geoid",
    "read_geotiff",
    "read_isce_header",
    "read_isce_image",
    "read_reduced",
    "require_cover",
    "write_geotiff",
    "write_isce_dem",
    "write_isce_heights",
]
