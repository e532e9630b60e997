"""DEM of any kind -> heights above the WGS84 ellipsoid.

Where a height lies
-------------------
A height belongs to the centre of its pixel. GDAL reports the outer corner of the first pixel for every format that
says what its numbers mean: point-registered GeoTIFFs and HGT tiles are moved by half a posting on opening, area-
registered ones are not, and both end with the same truth, centre = corner + ½ posting. An ISCE header does not say;
ISCE2's own geometry takes its ``startingValue`` for the centre of the first pixel while GDAL takes it for the corner,
so a raster opened through an ISCE ``.xml`` is read here as ISCE2 reads it. Its ``.vrt`` is read as GDAL reads it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.windows import Window as RasterWindow

from topsar.errors import ProvisionError
from topsar.model import BBox, Dem, VerticalDatum, Window
from topsar.raster.geoid import EGM96, read_geoid
from topsar.raster.geotiff import GDAL_ERRORS, WITH_SIDECARS, describe_box, fill_masked, is_unrotated

WGS84 = CRS.from_epsg(4326)
_EARTH_RADIUS_M = 6_371_000.0
LOWEST_M, HIGHEST_M = -1000.0, 9500.0
"""Heights outside are undeclared voids (−32768, −9999, 1e20), not ground."""

MAX_POSTINGS = 1 << 28
"""A larger crop (1 GiB as float32) is averaged on reading."""

_CACHE_BYTES = 1 << 25
"""Of blocks that GDAL keeps while it reads: those of two strips, as tiles reach into both."""

STRIP_ROWS = 256
METRE_NAMES = {"", "m", "metre", "meter", "metres", "meters"}
VERTICAL_EPSG = {5773: VerticalDatum.EGM96, 3855: VerticalDatum.EGM2008}
VERTICAL_NAMES = {"egm96": VerticalDatum.EGM96, "egm2008": VerticalDatum.EGM2008}
ISCE_REFERENCES = {"WGS84": VerticalDatum.ELLIPSOID, "EGM96": VerticalDatum.EGM96, "EGM2008": VerticalDatum.EGM2008}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeightField:
    """Heights above the WGS84 ellipsoid on the DEM's own postings.

    Attributes
    ----------
    heights_m : (rows, columns) float32, NaN where void
    crs : horizontal coordinate system, WKT or ``EPSG:n``
    transform : a, b, c, d, e, f with x = a·column + b·row + c and y = d·column + e·row + f for integer column and
        row of a pixel *centre* (b = d = 0; geographic x is longitude, as continuous as the box it was opened for)
    """

    heights_m: NDArray[np.float32]
    crs: str
    transform: tuple[float, float, float, float, float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self.heights_m.shape
        return rows, columns


def open_dem(dem: Dem, box: BBox, margin_deg: float = 0.0, *, covering: bool = True) -> HeightField:
    """Read the part of a DEM around a box and make its heights ellipsoidal; undulations are bilinear.

    Parameters
    ----------
    dem : Dem
        The raster and its datum.
    box : BBox
        Degrees.
    margin_deg : float
        Read this much more on every side, as far as the DEM reaches.
    covering : bool
        Whether the DEM must cover the box (to one posting) and have a height there; otherwise any overlap will do.

    Raises
    ------
    ProvisionError
        If the DEM is missing, unreadable, rotated, without coordinate system, not in metres, elsewhere or all void
        there; if it contradicts its declared datum; or if the geoid grid that the datum needs is missing.
    """
    geoid_path = _choose_geoid(dem)
    field = _crop(dem, box, margin_deg, covering=covering)
    if covering and not np.isfinite(field.heights_m).any():
        message = f"the DEM {dem.path} holds nothing but voids in {describe_box(box)}"
        raise ProvisionError(message, hint="check its nodata value, or take another DEM")
    if geoid_path is not None:
        _add_undulation(field, geoid_path)
    return field


def open_levels(dem: Dem, box: BBox, margin_deg: float = 0.0) -> HeightField:
    """Read what a DEM has around a box as heights above its geoid, in which still water is level.

    The undulation of EGM96 is subtracted from heights above the ellipsoid.

    Parameters
    ----------
    dem, box, margin_deg
        As for `open_dem`.
    """
    field = _crop(dem, box, margin_deg, covering=False)
    if dem.datum is VerticalDatum.ELLIPSOID:
        _add_undulation(field, EGM96, sign=-1)
    return field


def _crop(dem: Dem, box: BBox, margin_deg: float, *, covering: bool) -> HeightField:
    """Heights as they stand in the file."""
    if (declared := read_datum(dem.path)) not in (None, dem.datum):
        message = f"the DEM {dem.path} is given as {dem.datum.value}, but declares {declared.value} heights itself"
        hint = f"set DEM_DATUM={declared.value}, or correct its header (gdal_edit.py -a_srs) if that is wrong"
        raise ProvisionError(message, hint=hint)
    with _open_raster(dem.path) as dataset:
        crs, transform, window, turn = _find_window(dataset, dem.path, box, margin_deg, covering=covering)
        factor = max(1, math.ceil(math.sqrt(window.rows * window.columns / MAX_POSTINGS)))
        heights = _read_heights(dataset, window, factor)
    # from corners of the file's pixels to centres of the (averaged) pixels of the crop
    x = transform.c + transform.a * (window.column + factor / 2)
    y = transform.f + transform.e * (window.row + factor / 2)
    return HeightField(
        heights_m=heights,
        crs=f"EPSG:{epsg}" if (epsg := crs.to_epsg()) else crs.to_wkt(),
        transform=(transform.a * factor, 0.0, x - turn, 0.0, transform.e * factor, y),
    )


def measure_spacing(dem: Dem) -> float:
    """Measure how far heights lie apart from north to south, metres.

    Raises
    ------
    ProvisionError
        If the DEM cannot be read.
    """
    with _open_raster(dem.path) as dataset:
        step = abs(_find_corner_transform(dataset, dem.path).e)
        crs = _read_horizontal_crs(dataset, dem.path)
    unit: float = crs.axis_info[0].unit_conversion_factor  # to radians, or to metres
    return float(step * unit * (1.0 if crs.is_projected else _EARTH_RADIUS_M))


def require_cover(dem: Dem, box: BBox) -> None:
    """Check that a DEM covers a box to one posting, without reading a height.

    Parameters
    ----------
    dem : Dem
    box : BBox
        Degrees.
    """
    with _open_raster(dem.path) as dataset:
        _find_window(dataset, dem.path, box, 0.0, covering=True)


def read_datum(path: Path) -> VerticalDatum | None:
    """Read the vertical datum that a DEM itself declares, in its CRS or in an ISCE ``.xml`` beside it, or None."""
    with _open_raster(path) as dataset:
        wkt = dataset.crs.to_wkt() if dataset.crs else ""
    return _find_crs_datum(wkt) or _find_isce_datum(path)


def _choose_geoid(dem: Dem) -> Path | None:
    if dem.datum is VerticalDatum.ELLIPSOID:
        return None
    if dem.geoid is not None:
        return dem.geoid
    if dem.datum is VerticalDatum.EGM96:
        return EGM96
    message = f"the DEM {dem.path} has {dem.datum.value} heights, and no {dem.datum.value} geoid grid is given"
    hint = "give the geoid as a raster of undulations in metres, or a DEM with ellipsoidal heights"
    raise ProvisionError(message, hint=hint)


def _find_crs_datum(wkt: str) -> VerticalDatum | None:
    if not wkt:
        return None
    crs = CRS.from_wkt(wkt)
    if not crs.is_compound:
        return VerticalDatum.ELLIPSOID if len(crs.axis_info) == 3 else None
    vertical = crs.sub_crs_list[-1]
    if (epsg := vertical.to_epsg()) in VERTICAL_EPSG:
        return VERTICAL_EPSG[epsg]
    name = vertical.name.lower()
    return next((datum for key, datum in VERTICAL_NAMES.items() if name.startswith(key)), None)


def _find_isce_datum(path: Path) -> VerticalDatum | None:
    header = path.with_name(path.name.removesuffix(".vrt") + ".xml")
    if not header.is_file():
        return None
    try:
        properties = ElementTree.parse(header).getroot().iter("property")
    except (ElementTree.ParseError, OSError) as exc:
        message = f"the ISCE header {header} does not parse: {exc}"
        raise ProvisionError(message, hint="write it again, or remove it and declare the datum") from exc
    named = {p.get("name", "").lower(): (p.findtext("value") or "").strip() for p in properties}
    return ISCE_REFERENCES.get(named.get("reference", "").upper())


def _add_undulation(field: HeightField, geoid_path: Path, sign: int = 1) -> None:
    """Add the geoid's undulation to the heights in place, or subtract it, strip by strip."""
    rows, columns = field.shape
    a, _, c, _, e, f = field.transform
    crs = CRS.from_user_input(field.crs)
    projected, to_degrees = crs.is_projected, Transformer.from_crs(crs, WGS84, always_xy=True)
    xs, ys = sorted((c, c + a * (columns - 1))), sorted((f, f + e * (rows - 1)))
    west, south, east, north = to_degrees.transform_bounds(xs[0], ys[0], xs[1], ys[1], densify_pts=21)
    sliver = 1e-9  # a crop may be one posting wide
    geoid = read_geoid(geoid_path, BBox(west=west, south=south, east=east + sliver, north=north + sliver))
    x = (c + a * np.arange(columns))[np.newaxis, :]
    for start in range(0, rows, STRIP_ROWS):
        strip = field.heights_m[start : start + STRIP_ROWS]
        y = (f + e * np.arange(start, start + strip.shape[0]))[:, np.newaxis]
        strip += sign * geoid.interpolate(*(to_degrees.transform(x + 0 * y, y + 0 * x) if projected else (x, y)))


@contextmanager
def _open_raster(path: Path) -> Iterator[Any]:
    """Open the DEM with rasterio so that its vertical CRS shows; GDAL's errors become ours."""
    virtual = path.with_name(path.name + ".vrt")
    name = virtual if virtual.is_file() and not path.with_name(path.name + ".xml").is_file() else path
    try:
        options = {"GTIFF_REPORT_COMPD_CS": True, "GDAL_CACHEMAX": _CACHE_BYTES} | WITH_SIDECARS
        with rasterio.Env(**options), rasterio.open(name) as dataset:
            yield dataset
    except GDAL_ERRORS as exc:
        message = f"cannot read the DEM {path}: {exc.__cause__ or exc}"
        raise ProvisionError(message, hint="give a whole raster that GDAL opens (GeoTIFF, ISCE, VRT, HGT)") from exc


def _read_horizontal_crs(dataset: Any, path: Path) -> CRS:
    if dataset.crs is None:
        message = f"the DEM {path} has no coordinate system"
        raise ProvisionError(message, hint="set it, for example with gdal_edit.py -a_srs EPSG:4326")
    if (unit := (dataset.units[0] or "").strip().lower()) not in METRE_NAMES:
        message = f"the DEM {path} has heights in {unit!r}, not in metres"
        raise ProvisionError(message, hint="convert it, for example with gdal_calc.py")
    try:
        return _parse_horizontal_crs(dataset.crs.to_wkt())
    except CRSError as exc:
        message = f"the coordinate system of the DEM {path} is not understood: {exc}"
        raise ProvisionError(message, hint="warp it to EPSG:4326 with gdalwarp") from exc


@functools.cache
def _parse_horizontal_crs(wkt: str) -> CRS:
    crs = CRS.from_wkt(wkt)
    return crs.sub_crs_list[0] if crs.is_compound else crs.to_2d()


def _find_corner_transform(dataset: Any, path: Path) -> Affine:
    transform = dataset.transform
    if not is_unrotated(transform):
        message = f"the DEM {path} is rotated or has no position"
        raise ProvisionError(message, hint="warp it to a north-up grid with gdalwarp")
    if dataset.driver != "ISCE":
        return transform
    return Affine(transform.a, 0.0, transform.c - transform.a / 2, 0.0, transform.e, transform.f - transform.e / 2)


def _find_window(
    dataset: Any, path: Path, box: BBox, margin_deg: float, *, covering: bool
) -> tuple[CRS, Affine, Window, float]:
    """Find the window around the box, and the turn (degrees) that brings the box to the DEM's longitudes.

    Before them come the DEM's coordinate system and its transform of pixel corners.
    """
    crs, transform = _read_horizontal_crs(dataset, path), _find_corner_transform(dataset, path)
    whole = Window(row=0, column=0, rows=dataset.height, columns=dataset.width)
    for turn in (0.0, 360.0, -360.0) if crs.is_geographic else (0.0,):
        needed = _find_pixels(transform, crs, box, turn, slack=-1)
        inside = needed.intersection(whole)
        if inside == needed or (inside is not None and not covering):
            wanted = _find_pixels(transform, crs, box.grow(margin_deg) if margin_deg else box, turn, slack=1)
            window = wanted.intersection(whole)
            if window is not None:
                return crs, transform, window, turn
    x = sorted((transform.c, transform.c + transform.a * dataset.width))
    y = sorted((transform.f, transform.f + transform.e * dataset.height))
    edges = Transformer.from_crs(crs, WGS84, always_xy=True).transform_bounds(x[0], y[0], x[1], y[1])
    extent = describe_box(BBox(west=edges[0], south=edges[1], east=edges[2], north=edges[3]))
    message = f"the DEM {path} covers {extent}, which leaves a part of {describe_box(box)} without heights"
    raise ProvisionError(message, hint="take a larger DEM, or a smaller region of interest")


def _find_pixels(transform: Affine, crs: CRS, box: BBox, turn: float, *, slack: int) -> Window:
    """The pixels that touch the box, ``slack`` more on every side."""
    west, south, east, north = box.west + turn, box.south, box.east + turn, box.north
    if crs != WGS84:
        to_map = Transformer.from_crs(WGS84, crs, always_xy=True)
        west, south, east, north = to_map.transform_bounds(west, south, east, north, densify_pts=21)
    columns = sorted((x - transform.c) / transform.a for x in (west, east))
    rows = sorted((y - transform.f) / transform.e for y in (south, north))
    column, row = math.floor(columns[0]) - slack, math.floor(rows[0]) - slack
    return Window(
        row=row,
        column=column,
        rows=max(math.ceil(rows[1]) + slack - row, 1),
        columns=max(math.ceil(columns[1]) + slack - column, 1),
    )


def _read_heights(dataset: Any, window: Window, factor: int) -> NDArray[np.float32]:
    """Heights of the window, averaged ``factor`` by ``factor``, voids NaN; one strip in memory besides the result."""
    rows, columns = max(window.rows // factor, 1), max(window.columns // factor, 1)
    heights = np.empty((rows, columns), np.float32)
    scale, offset = np.float32(dataset.scales[0]), np.float32(dataset.offsets[0])
    for start in range(0, rows, STRIP_ROWS):
        strip = heights[start : start + STRIP_ROWS]
        source = RasterWindow(window.column, window.row + start * factor, columns * factor, strip.shape[0] * factor)
        read = dataset.read(1, window=source, out_shape=strip.shape, masked=True, resampling=Resampling.average)
        strip[:] = fill_masked(read) * scale + offset
        strip[~((strip > LOWEST_M) & (strip < HIGHEST_M))] = np.nan
    return heights
