"""A DEM in ISCE2's form: raw heights above the ellipsoid, a header for ISCE2 and one for GDAL.

ISCE2's geometry takes the header's ``startingvalue`` for the centre of the first pixel, and the ``.xml`` says so; GDAL
takes a raster's origin for the outer corner of that pixel, and the ``.vrt`` says so. Both name the same ground. (GDAL
opens the ``.xml`` as well, when it is given the raw file's name, and is then half a posting off: give it the ``.vrt``.)
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from topsar.errors import ProvisionError
from topsar.files import atomic_path, write_text
from topsar.model import BBox, Dem, GeoGrid, VerticalDatum
from topsar.raster.dem import HeightField, open_dem
from topsar.raster.dem_voids import SHORE_M, fill_nearest, sea_among
from topsar.raster.geoid import EGM96, read_geoid
from topsar.raster.geotiff import GDAL_ERRORS

log = logging.getLogger(__name__)

_WGS84 = "EPSG:4326"
_STRIP_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Centres of pixels along one direction: the first, the step to the next, and how many."""

    first: float
    step: float
    count: int

    @property
    def corner(self) -> float:
        """Outer edge of the first pixel."""
        return self.first - self.step / 2

    @property
    def end(self) -> float:
        """One step after the last centre."""
        return self.first + self.step * self.count


def write_isce_dem(dem: Dem, box: BBox, path: Path, margin_deg: float = 0.0) -> Path:
    """Write the part of a DEM around ``box`` in ISCE2's form: ``path`` (raw float32), ``.xml`` and ``.vrt`` beside it.

    Heights are above the WGS84 ellipsoid. ISCE2 knows no voids: sea gets the height of the geoid, other voids that of
    the nearest pixel with a height, which is said in the log. What is not in longitude and latitude is warped.

    Parameters
    ----------
    dem : Dem
    box : BBox
        Degrees; the DEM must cover it.
    margin_deg : float
        Heights around the box are written too, as far as the DEM reaches; not where it is warped.
    path : Path
        Customarily ``<name>.dem.wgs84``; files of these names are replaced. The ``.xml`` is there only when all is.

    Returns
    -------
    Path
        The ``.xml``.

    Raises
    ------
    ProvisionError
        As `open_dem`.
    ProductError
        If a file cannot be written.
    """
    field = _north_up(_in_degrees(open_dem(dem, box, margin_deg), box, dem.path))
    a, _, c, _, e, f = field.transform
    rows, columns = field.shape
    x, y = _Axis(first=float(c), step=float(a), count=columns), _Axis(first=float(f), step=float(e), count=rows)
    _fill_voids(field.heights_m, x, y, dem)
    return _write(field.heights_m, x, y, path)


def write_isce_heights(heights_m: NDArray[np.float32], grid: GeoGrid, path: Path, dem: Dem) -> Path:
    """Write heights of a DEM at the pixel centres of a grid in ISCE2's form, voids filled as `write_isce_dem` does.

    Parameters
    ----------
    heights_m : (rows, columns) float32
        Above the WGS84 ellipsoid; voids are filled in place.
    grid : GeoGrid
        In degrees.
    path : Path
    dem : Dem
        What they are from.

    Returns
    -------
    Path
        The ``.xml``.

    Raises
    ------
    ProductError
        If a file cannot be written.
    """
    x = _Axis(first=grid.west + grid.dx / 2, step=grid.dx, count=grid.columns)
    y = _Axis(first=grid.north - grid.dy / 2, step=-grid.dy, count=grid.rows)
    _fill_voids(heights_m, x, y, dem)
    return _write(heights_m, x, y, path)


def _write(heights_m: NDArray[np.float32], x: _Axis, y: _Axis, path: Path) -> Path:
    header = path.with_name(path.name + ".xml")
    header.unlink(missing_ok=True)
    with atomic_path(path) as part:
        heights_m.astype("<f4", copy=False).tofile(part)
    write_text(path.with_name(path.name + ".vrt"), _vrt(path, x, y))
    write_text(header, _header(path.absolute(), x, y))
    return header


def _in_degrees(field: HeightField, box: BBox, path: Path) -> HeightField:
    """The field, warped to longitude and latitude around ``box`` unless it is there already."""
    if field.crs == _WGS84:
        return field
    a, _, c, _, e, f = field.transform
    to_map = Transformer.from_crs(_WGS84, field.crs, always_xy=True)
    west, south, east, north = to_map.transform_bounds(box.west, box.south, box.east, box.north, densify_pts=21)
    dx = (box.east - box.west) / (east - west) * abs(a)
    dy = (box.north - box.south) / (north - south) * abs(e)
    grid = GeoGrid.covering(box, crs=_WGS84, dx=dx, dy=dy)
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
    centres = dx, 0.0, grid.west + dx / 2, 0.0, -dy, grid.north - dy / 2
    return HeightField(heights_m=heights, crs=_WGS84, transform=centres)


def _north_up(field: HeightField) -> HeightField:
    """The field with its first row in the north."""
    a, b, c, d, e, f = field.transform
    if e < 0:
        return field
    last = f + e * (field.shape[0] - 1)
    return replace(field, heights_m=np.ascontiguousarray(field.heights_m[::-1]), transform=(a, b, c, d, -e, last))


def _fill_voids(heights_m: NDArray[np.float32], x: _Axis, y: _Axis, dem: Dem) -> None:
    voids = np.isnan(heights_m)
    if not voids.any():
        return
    undulation = _undulation(x, y, dem)
    sea = sea_among(voids, np.abs(heights_m - undulation) <= SHORE_M)
    heights_m[sea] = undulation[sea]
    if missing := int(np.isnan(heights_m).sum()):
        log.warning("%s: %d voids on land were given the height of the nearest pixel that has one", dem.path, missing)
        fill_nearest(heights_m)


def _undulation(x: _Axis, y: _Axis, dem: Dem) -> NDArray[np.float32]:
    """Height of the geoid at every pixel: the DEM's own geoid, or EGM96."""
    own = dem.geoid if dem.datum is not VerticalDatum.ELLIPSOID else None
    south, north = sorted((y.first, y.end))
    geoid = read_geoid(own or EGM96, BBox(west=x.first, south=south, east=x.end, north=north))
    longitude = (x.first + x.step * np.arange(x.count, dtype=np.float64))[np.newaxis, :]
    latitude = (y.first + y.step * np.arange(y.count, dtype=np.float64))[:, np.newaxis]
    strips = [geoid.at(longitude, latitude[row : row + _STRIP_ROWS]) for row in range(0, y.count, _STRIP_ROWS)]
    return np.concatenate(strips)


def _header(path: Path, x: _Axis, y: _Axis) -> str:
    """ISCE2's header of a DEM image, in the order in which ISCE2 writes it."""
    root = ElementTree.Element("imageFile")
    _property(root, "access_mode", "read", "Image access mode.")
    _property(root, "byte_order", "l", "Endianness of the image.")
    _coordinate(root, "coordinate1", x, "First coordinate of a 2D image (width).")
    _coordinate(root, "coordinate2", y, "Second coordinate of a 2D image (length).")
    _property(root, "data_type", "FLOAT", "Image data type.")
    _property(root, "family", "demimage", "Instance family name")
    _property(root, "file_name", str(path), "Name of the image file.")
    _property(root, "image_type", "dem", "Image type used for displaying.")
    _property(root, "length", y.count, "Image length")
    _property(root, "name", "demimage_name", "Instance name")
    _property(root, "number_bands", 1, "Number of image bands.")
    _property(root, "reference", "WGS84", "Geodetic datum")
    _property(root, "scheme", "BIP", "Interleaving scheme of the image.")
    _property(root, "width", x.count, "Image width")
    _property(root, "xmax", repr(x.end), "Maximum range value")
    _property(root, "xmin", repr(x.first), "Minimum range value")
    return _text(root)


def _coordinate(root: ElementTree.Element, name: str, axis: _Axis, meaning: str) -> None:
    component = ElementTree.SubElement(root, "component", name=name)
    ElementTree.SubElement(component, "factorymodule").text = "isceobj.Image"
    ElementTree.SubElement(component, "factoryname").text = "createCoordinate"
    ElementTree.SubElement(component, "doc").text = meaning
    _property(component, "delta", repr(axis.step), "Coordinate quantization.")
    _property(component, "endingvalue", repr(axis.end), "Ending value of the coordinate.")
    _property(component, "family", "imagecoordinate", "Instance family name")
    _property(component, "name", "imagecoordinate_name", "Instance name")
    _property(component, "size", axis.count, "Coordinate size.")
    _property(component, "startingvalue", repr(axis.first), "Starting value of the coordinate: a pixel's centre.")


def _property(parent: ElementTree.Element, name: str, value: object, meaning: str) -> None:
    element = ElementTree.SubElement(parent, "property", name=name)
    ElementTree.SubElement(element, "value").text = str(value)
    ElementTree.SubElement(element, "doc").text = meaning


def _vrt(path: Path, x: _Axis, y: _Axis) -> str:
    root = ElementTree.Element("VRTDataset", rasterXSize=str(x.count), rasterYSize=str(y.count))
    ElementTree.SubElement(root, "SRS").text = _WGS84
    transform = x.corner, x.step, 0.0, y.corner, 0.0, y.step
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(number) for number in transform)
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Float32", band="1", subClass="VRTRawRasterBand")
    ElementTree.SubElement(band, "SourceFilename", relativeToVRT="1").text = path.name
    ElementTree.SubElement(band, "ByteOrder").text = "LSB"
    ElementTree.SubElement(band, "ImageOffset").text = "0"
    ElementTree.SubElement(band, "PixelOffset").text = "4"
    ElementTree.SubElement(band, "LineOffset").text = str(4 * x.count)
    return _text(root)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root, space="    ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"
