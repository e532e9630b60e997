"""The ground under a map grid, as the kernels want it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from topsar.errors import SettingsError
from topsar.kernels.geometry import geodetic_to_ecef, turn_to_local, up_vector
from topsar.kernels.resample import NODE_STEP, interpolate_nodes, place_ground
from topsar.model import BBox, Window
from topsar.raster import HeightField, open_dem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from topsar.model import Dem, GeoGrid

DEM_MARGIN_DEG = 0.01
"""The DEM is read this far beyond a window, for its interpolator."""
BEYOND_AREA_DEG = 6.0
"""A projection may be used this far beyond the area that it was made for, such as the next UTM zone."""
LONLAT = "EPSG:4326"
METRES_PER_DEGREE = 111_319.49
NODE_SPACING_M = 640.0
"""Of the nodes between which an output grid is interpolated; a grid that is coarser has a node at each pixel."""
_STEP_DEG = 0.01
_SLOPE_ROWS = 256
_DEM_BYTES = 4
_PROJECTION_HINT = "set CRS=utm, CRS=latlon, or CRS=EPSG:number of a projection in metres made for that place"


def check_projection(crs: str, box: BBox | None = None) -> None:
    """Refuse what is no projection in metres, and one that was made for another part of the Earth.

    Parameters
    ----------
    crs : str
    box : BBox, optional
        Where it is to be used, degrees.
    """
    try:
        known = CRS.from_user_input(crs)
    except CRSError as exc:
        msg = f"CRS={crs}: there is no such coordinate system"
        raise SettingsError(msg, hint=_PROJECTION_HINT) from exc
    if not known.is_projected or any(axis.unit_name != "metre" for axis in known.axis_info):
        msg = f"CRS={crs} ({known.name}) is not a projection in metres"
        raise SettingsError(msg, hint=_PROJECTION_HINT)
    area = known.area_of_use
    if box is None or area is None or area.west >= area.east:
        return
    made_for = BBox(west=area.west, south=area.south, east=area.east, north=area.north)
    if not made_for.grow(BEYOND_AREA_DEG).intersects(box):
        lon, lat = box.centre
        msg = (
            f"CRS={crs} ({known.name}) is made for latitudes {area.south:g} to {area.north:g}, longitudes "
            f"{area.west:g} to {area.east:g}; the pairs lie around latitude {lat:.1f}, longitude {lon:.1f}"
        )
        raise SettingsError(msg, hint=_PROJECTION_HINT)


def change_crs(
    source: str, target: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Transform map coordinates (longitude before latitude, in degrees).

    Parameters
    ----------
    source, target : str
    x, y : float64
    """
    x, y = Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    return np.asarray(x), np.asarray(y)


def find_box(x: NDArray[np.float64], y: NDArray[np.float64]) -> BBox:
    """Box around points.

    Parameters
    ----------
    x, y : float64
    """
    return BBox(west=float(x.min()), south=float(y.min()), east=float(x.max()), north=float(y.max()))


def find_lonlat_box(grid: GeoGrid) -> BBox:
    """Box in degrees around a grid, its edges followed."""
    steps = np.linspace(0, 1, 21)
    box = grid.bbox
    x = box.west + steps * (box.east - box.west)
    y = box.south + steps * (box.north - box.south)
    edge_x = np.concatenate([x, x, np.full_like(y, box.west), np.full_like(y, box.east)])
    edge_y = np.concatenate([np.full_like(x, box.south), np.full_like(x, box.north), y, y])
    return find_box(*change_crs(grid.crs, LONLAT, edge_x, edge_y))


def measure_pixel(grid: GeoGrid) -> tuple[float, float]:
    """Sides of the middle pixel on the ellipsoid, east and north, metres."""
    middle, east, north = step_pixel(grid)
    return float(np.linalg.norm(east - middle)), float(np.linalg.norm(north - middle))


def step_pixel(grid: GeoGrid) -> NDArray[np.float64]:
    """Find the middle of a grid on the ellipsoid and the places one pixel farther east and north; ECEF, (3, 3)."""
    x, y = grid.bbox.centre
    lon, lat = change_crs(grid.crs, LONLAT, x + np.array([0, grid.dx, 0]), y + np.array([0, 0, grid.dy]))
    return geodetic_to_ecef(np.radians(lat), np.radians(lon), 0.0)


def measure_convergence(grid: GeoGrid) -> float:
    """Measure how far the rows of a grid turn from true east to true north at its middle, radians."""
    middle, beside, _ = step_pixel(grid)
    east, north, _ = turn_to_local(middle, beside - middle)
    return float(np.arctan2(north, east))


def find_slopes(
    height: NDArray[np.float32], los: Sequence[NDArray[np.float32]], grid: GeoGrid
) -> Iterator[tuple[slice, NDArray[np.floating[Any]], NDArray[np.floating[Any]]]]:
    """Go through a grid some rows at a time, and tell how its ground is inclined.

    Parameters
    ----------
    height : (rows, columns) float32
    los : three of (rows, columns) float32
        Unit vector to the satellite, true east, north and up.
    grid : GeoGrid

    Yields
    ------
    rows : slice
    toward, steepness : (n, columns) float32
        Slope toward the satellite times the horizontal part of the unit vector; slope, squared.
    """
    (width, breadth), turn = measure_pixel(grid), measure_convergence(grid)
    along, across = math.cos(turn), math.sin(turn)
    for first in range(0, grid.rows, _SLOPE_ROWS):
        rows, start = slice(first, first + _SLOPE_ROWS), max(first - 1, 0)
        slopes: list[NDArray[np.float32]] = list(np.gradient(height[start : first + _SLOPE_ROWS + 1], breadth, width))
        southward, eastward = (slope[first - start :][:_SLOPE_ROWS] for slope in slopes)
        east, north = los[0][rows], los[1][rows]
        x, y = east * along + north * across, north * along - east * across
        yield rows, x * eastward - y * southward, eastward**2 + southward**2


def open_dem_under(dem: Dem, grid: GeoGrid) -> HeightField:
    """The part of the DEM under a grid, whose outermost pixels it need not reach.

    Parameters
    ----------
    dem : Dem
    grid : GeoGrid
    """
    return open_dem(dem, find_lonlat_box(grid), DEM_MARGIN_DEG, covering=False)


def measure_dem_density(dem: Dem, box: BBox) -> float:
    """Postings of a DEM per square degree in the middle of a box.

    Parameters
    ----------
    dem : Dem
    box : BBox
        Degrees.
    """
    lon, lat = box.centre
    spot = BBox(west=lon, south=lat, east=lon + 1e-6, north=lat + 1e-6)
    field = open_dem(dem, spot, covering=False)
    a, _, _, _, e, _ = field.transform
    if CRS.from_user_input(field.crs).is_geographic:
        return 1 / abs(a * e)
    x, y = change_crs(LONLAT, field.crs, np.array([lon, lon + _STEP_DEG, lon]), np.array([lat, lat, lat + _STEP_DEG]))
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return abs(float(area) / (a * e)) / _STEP_DEG**2


def predict_dem(grid: GeoGrid, dem_density: float) -> int:
    """Predict the memory of the DEM under a grid.

    Parameters
    ----------
    grid : GeoGrid
    dem_density : float
        Postings per square degree.
    """
    box = find_lonlat_box(grid).grow(DEM_MARGIN_DEG)
    return int((box.east - box.west) * (box.north - box.south) * dem_density) * _DEM_BYTES


def lay_nodes(grid: GeoGrid, field: HeightField, step: int = NODE_STEP) -> NDArray[np.float64]:
    """Nodes of a grid, (r, c, 8), from the centre of pixel (0, 0) until beyond the last; see `topsar.kernels.resample`.

    Parameters
    ----------
    grid : GeoGrid
    field : HeightField
    step : int
        Pixels from node to node.
    """
    columns = (np.arange(-(-grid.columns // step) + 1) * step + 0.5) * grid.dx + grid.west
    rows = grid.north - (np.arange(-(-grid.rows // step) + 1) * step + 0.5) * grid.dy
    x, y = np.meshgrid(columns, rows)
    lon, lat = change_crs(grid.crs, LONLAT, x, y)
    ecef = geodetic_to_ecef(np.radians(lat), np.radians(lon), 0.0)
    up = up_vector(np.radians(lat), np.radians(lon))
    a, _, c, _, e, f = field.transform
    x, y = change_crs(LONLAT, field.crs, lon, lat)
    row, column = (y - f) / e, (x - c) / a
    return np.concatenate([ecef, up, row[..., None], column[..., None]], axis=-1)


def align_to_nodes(grid: GeoGrid, step: int = NODE_STEP) -> tuple[GeoGrid, tuple[int, int]]:
    """Extend a grid up and left to whole tiles of the global grid; row and column of its own first pixel therein.

    So a pixel has the same nodes around it, and the same small interpolation error, in whatever grid it lies.

    Parameters
    ----------
    grid : GeoGrid
    step : int
        Pixels of a tile, both ways.
    """
    row, column = round(-grid.north / grid.dy) % step, round(grid.west / grid.dx) % step
    before = Window(row=-row, column=-column, rows=grid.rows + row, columns=grid.columns + column)
    return grid.crop(before), (row, column)


def find_ground_points(grid: GeoGrid, field: HeightField) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Height and ECEF of every pixel centre of an output grid; over voids of the DEM NaN, and the place at height zero.

    Between nodes the points lie on chords of the ellipsoid, 2 cm deep at most.

    Parameters
    ----------
    grid : GeoGrid
    field : HeightField
    """
    step = _choose_node_step(grid)
    aligned, offset = align_to_nodes(grid, step)
    height, points = np.empty(grid.shape, np.float32), np.empty((*grid.shape, 3))
    place_ground(lay_nodes(aligned, field, step), step, offset, field.heights_m, height, points)
    return height, points


def find_dem_pixels(grid: GeoGrid, field: HeightField) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of the DEM's posting nearest to each pixel centre of a grid, also where the DEM does not reach.

    Parameters
    ----------
    grid : GeoGrid
    field : HeightField
    """
    step = _choose_node_step(grid)
    aligned, offset = align_to_nodes(grid, step)
    places = np.empty((*grid.shape, 2))
    interpolate_nodes(np.ascontiguousarray(lay_nodes(aligned, field, step)[..., 6:]), step, offset, places)
    row, column = np.moveaxis(np.rint(places).astype(np.intp), -1, 0)
    return row, column


def _choose_node_step(grid: GeoGrid) -> int:
    """Pixels from node to node, the same for all windows of a grid."""
    side_m = grid.dy * METRES_PER_DEGREE if CRS.from_user_input(grid.crs).is_geographic else grid.dy
    return min(max(int(NODE_SPACING_M / side_m), 1), NODE_STEP)
