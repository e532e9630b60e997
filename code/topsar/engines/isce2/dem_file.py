"""A DEM for topsApp: heights above the ellipsoid in longitude and latitude, without voids.

ISCE2's geometry takes the header's ``startingvalue`` for the centre of the first pixel, and the ``.xml`` says so; GDAL
takes a raster's origin for the outer corner of that pixel, and the ``.vrt`` says so. Both name the same ground. (GDAL
opens the ``.xml`` as well, when it is given the raw file's name, and is then half a posting off: give it the ``.vrt``.)
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from topsar.engines.isce2.config import DEM_NAME
from topsar.errors import ProvisionError, StepFailed
from topsar.model import BBox, Dem, GeoGrid, VerticalDatum
from topsar.raster.dem import HeightField, open_dem
from topsar.raster.dem_voids import SHORE_M, fill_nearest, find_sea
from topsar.raster.geoid import EGM96, read_geoid
from topsar.raster.geotiff import GDAL_ERRORS
from topsar.raster.isce_image import read_isce_header, read_isce_image, write_dem_image

if TYPE_CHECKING:
    from topsar.engines.isce2.topsapp import TopsAppRun

log = logging.getLogger(__name__)

_WGS84 = "EPSG:4326"
_STRIP_ROWS = 256
_MARGIN_DEG = 0.05
"""Heights are written this far beyond the bursts, as far as the DEM reaches."""
_TOLERANCE_M = 100.0


def write_isce_dem(dem: Dem, box: BBox, path: Path, margin_deg: float = 0.0) -> Path:
    """Write the part of a DEM around ``box`` in ISCE2's form: ``path`` (raw float32), ``.xml`` and ``.vrt`` beside it.

    ISCE2 knows no voids: sea gets the height of the geoid, other voids that of the nearest pixel with a height, and
    the log counts those. A DEM in a map projection is warped to longitude and latitude. Returned is the ``.xml``.

    Parameters
    ----------
    dem : Dem
    box : BBox
        Degrees; the DEM must cover it.
    path : Path
        Customarily ``<name>.dem.wgs84``; files of these names are replaced.
    margin_deg : float
        Heights around the box are written too, as far as the DEM reaches; not where it is warped.

    Raises
    ------
    ProvisionError
        As `open_dem`.
    ProductError
        If a file cannot be written.
    """
    field = _turn_north_up(_warp_to_degrees(open_dem(dem, box, margin_deg), box, dem.path))
    _fill_voids(field, dem)
    return write_dem_image(field, path)


def _warp_to_degrees(field: HeightField, box: BBox, path: Path) -> HeightField:
    """The field, warped to longitude and latitude around ``box`` unless it is in degrees already."""
    if field.crs == _WGS84:
        return field
    a, _, c, _, e, f = field.transform
    to_map = Transformer.from_crs(_WGS84, field.crs, always_xy=True)
    west, south, east, north = to_map.transform_bounds(box.west, box.south, box.east, box.north, densify_pts=21)
    dx = (box.east - box.west) / (east - west) * abs(a)
    dy = (box.north - box.south) / (north - south) * abs(e)
    grid = GeoGrid.cover(box, crs=_WGS84, dx=dx, dy=dy)
    heights = np.full(grid.shape, np.nan, np.float32)
    try:
        reproject(
            field.heights_m,
            heights,
            src_transform=Affine(a, 0.0, c - a / 2, 0.0, e, f - e / 2),
            src_crs=field.crs,
            dst_transform=Affine(*grid.transform),
            dst_crs=_WGS84,
            src_nodata=np.nan,
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
    except GDAL_ERRORS as exc:
        message = f"the DEM {path} cannot be warped to longitude and latitude: {exc}"
        raise ProvisionError(message, hint="warp it yourself, for example with gdalwarp -t_srs EPSG:4326") from exc
    centres = grid.dx, 0.0, grid.west + grid.dx / 2, 0.0, -grid.dy, grid.north - grid.dy / 2
    return HeightField(heights_m=heights, crs=_WGS84, transform=centres)


def _turn_north_up(field: HeightField) -> HeightField:
    """The field with its first row in the north."""
    a, b, c, d, e, f = field.transform
    if e < 0:
        return field
    last = f + e * (field.shape[0] - 1)
    return replace(field, heights_m=np.ascontiguousarray(field.heights_m[::-1]), transform=(a, b, c, d, -e, last))


def _fill_voids(field: HeightField, dem: Dem) -> None:
    heights_m = field.heights_m
    voids = np.isnan(heights_m)
    if not voids.any():
        return
    undulation = _read_undulation(field, dem)
    sea = find_sea(voids, np.abs(heights_m - undulation) <= SHORE_M)
    heights_m[sea] = undulation[sea]
    if missing := int(np.isnan(heights_m).sum()):
        log.warning("%s: %d voids on land were given the height of the nearest pixel that has one", dem.path, missing)
        fill_nearest(heights_m)


def _read_undulation(field: HeightField, dem: Dem) -> NDArray[np.float32]:
    """Height of the geoid at every pixel: the DEM's own geoid, or EGM96."""
    own = dem.geoid if dem.datum is not VerticalDatum.ELLIPSOID else None
    (rows, columns), (dx, _, west, _, dy, north) = field.shape, field.transform
    geoid = read_geoid(own or EGM96, BBox(west=west, south=north + dy * rows, east=west + dx * columns, north=north))
    longitude = west + dx * np.arange(columns, dtype=np.float64)[np.newaxis, :]
    latitude = north + dy * np.arange(rows, dtype=np.float64)[:, np.newaxis]
    strips = [geoid.interpolate(longitude, latitude[row : row + _STRIP_ROWS]) for row in range(0, rows, _STRIP_ROWS)]
    return np.concatenate(strips)


# --- the heights of a pair --------------------------------------------------------------------------------------


def write_topo_dem(run: TopsAppRun) -> None:
    """Write the heights under the bursts."""
    path = run.folder / DEM_NAME
    path.parent.mkdir(exist_ok=True)
    write_isce_dem(run.task.dem, run.task.dem_box, path, _MARGIN_DEG)


def check_heights(run: TopsAppRun) -> None:
    """Refuse heights that the DEM does not have: topsApp takes -500 m where its DEM ends."""
    dem = read_isce_image(run.folder / DEM_NAME)
    low, high = min(float(dem.min()), 0.0) - _TOLERANCE_M, float(dem.max()) + _TOLERANCE_M
    for image in sorted((run.folder / "geom_reference").rglob("hgt_*.rdr")):
        header = read_isce_header(image)
        values = np.memmap(image, header.dtype, "r")[:: max(header.width // 64, 1)]
        if not low < float(values.min()) <= float(values.max()) < high:
            msg = (
                f"topsApp's heights reach from {values.min():.0f} to {values.max():.0f} m in "
                f"{image.parent.name}/{image.name}, those of the DEM from {dem.min():.0f} to {dem.max():.0f} m"
            )
            raise StepFailed(msg, hint="does the DEM cover all of the bursts?")
