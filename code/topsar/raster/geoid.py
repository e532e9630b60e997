"""Geoid undulation: the difference of ellipsoidal and orthometric heights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from topsar.errors import ProvisionError
from topsar.model import BBox
from topsar.raster.geotiff import GDAL_ERRORS, WITH_SIDECARS, describe_box, fill_masked, is_unrotated, read_bounds

EGM96 = Path(__file__).parent / "egm96" / "egm96_15.tif"
"""The EGM96 15-minute grid that comes with the package."""

EDGE_CELLS = 1e-6
"""Points outside the outermost nodes by less than this share of a cell are rounding errors."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Geoid:
    """A part of a geoid grid: nodes at pixel centres, rows from ``latitude_deg`` and columns from ``longitude_deg`` on.

    Attributes
    ----------
    undulation_m : (rows, columns) float32, height of the geoid above the WGS84 ellipsoid
    """

    path: Path
    longitude_deg: float
    latitude_deg: float
    longitude_step_deg: float
    latitude_step_deg: float
    undulation_m: NDArray[np.float32]

    def interpolate(self, longitude_deg: NDArray[np.float64], latitude_deg: NDArray[np.float64]) -> NDArray[np.float32]:
        """Interpolate the undulation (m) bilinearly.

        Parameters
        ----------
        longitude_deg, latitude_deg : (...) float64
            Points, broadcast against each other; longitudes in any convention.
        """
        from scipy.ndimage import map_coordinates

        rows, columns = self.undulation_m.shape
        half = (columns - 1) / 2 * self.longitude_step_deg
        offset = (longitude_deg - self.longitude_deg - half + 180.0) % 360.0 - 180.0 + half
        column = offset / self.longitude_step_deg
        row = (latitude_deg - self.latitude_deg) / self.latitude_step_deg
        if all(i.min() >= -EDGE_CELLS and i.max() <= n - 1 + EDGE_CELLS for i, n in ((row, rows), (column, columns))):
            shape = np.broadcast_shapes(np.shape(row), np.shape(column))
            points = np.broadcast_arrays(np.atleast_1d(row), np.atleast_1d(column))
            result = map_coordinates(self.undulation_m, points, output=np.float32, order=1, mode="nearest")
            if np.isfinite(result).all():
                return np.reshape(result, shape)
        x, y = (f"{degrees.min():.4f} to {degrees.max():.4f}" for degrees in (longitude_deg, latitude_deg))
        message = f"the geoid grid {self.path} does not cover longitude {x}, latitude {y}"
        raise ProvisionError(message, hint="give a geoid grid that reaches at least one of its cells beyond the DEM")


def read_geoid(path: Path, box: BBox) -> Geoid:
    """Read the part of a geoid grid around a box; whole-Earth grids wrap in longitude.

    Parameters
    ----------
    path : Path
        A north-up raster in geographic coordinates whose band 1 is the undulation in metres.
    box : BBox
        Degrees.

    Raises
    ------
    ProvisionError
        If the grid is missing, unreadable, not geographic, or lies elsewhere.
    """
    try:
        with rasterio.Env(**WITH_SIDECARS), rasterio.open(path) as dataset:
            return _crop(dataset, path, box)
    except GDAL_ERRORS as exc:
        message = f"cannot read the geoid grid {path}: {exc}"
        raise ProvisionError(message, hint="give a raster that GDAL opens, undulation in metres") from exc


def _crop(dataset: Any, path: Path, box: BBox) -> Geoid:
    transform = dataset.transform
    if dataset.crs is None or not dataset.crs.is_geographic or not is_unrotated(transform) or transform.a < 0:
        message = f"the geoid grid {path} is not in longitude and latitude"
        raise ProvisionError(message, hint="warp it to EPSG:4326 with gdalwarp, without vertical transformation")
    west, north = transform.c + transform.a / 2, transform.f + transform.e / 2
    row_edges = [(latitude - north) / transform.e for latitude in (box.south, box.north)]
    first_row = max(int(np.floor(min(row_edges))) - 1, 0)
    last_row = min(int(np.ceil(max(row_edges))) + 1, dataset.height - 1)
    columns = _find_columns(dataset, west, box)
    if first_row > last_row or columns.size == 0:
        extent = describe_box(read_bounds(dataset))
        message = f"the geoid grid {path} covers {extent}, which does not meet the DEM's {describe_box(box)}"
        raise ProvisionError(message, hint="give a geoid grid of the same area as the DEM")
    values = _read_columns(dataset, columns, first_row, last_row - first_row + 1)
    return Geoid(
        path=path,
        longitude_deg=west + columns[0] * transform.a,
        latitude_deg=north + first_row * transform.e,
        longitude_step_deg=transform.a,
        latitude_step_deg=transform.e,
        undulation_m=values * np.float32(dataset.scales[0]) + np.float32(dataset.offsets[0]),
    )


def _find_columns(dataset: Any, west: float, box: BBox) -> NDArray[np.int64]:
    """Column numbers around the box; on a whole-Earth grid they may run past its seam."""
    step = dataset.transform.a
    turn = round(360.0 / step)
    whole_earth = dataset.width >= turn
    middle = west + (dataset.width - 1) / 2 * step
    shift = 360.0 * round((middle - box.centre[0]) / 360.0)
    first = int(np.floor((box.west + shift - west) / step)) - 1
    last = int(np.ceil((box.east + shift - west) / step)) + 1
    columns = np.arange(first, last + 1)
    return columns if whole_earth else columns[(columns >= 0) & (columns < dataset.width)]


def _read_columns(dataset: Any, columns: NDArray[np.int64], row: int, rows: int) -> NDArray[np.float32]:
    turn = round(360.0 / dataset.transform.a)
    wrapped = columns % turn if dataset.width >= turn else columns
    runs = np.split(wrapped, np.flatnonzero(np.diff(wrapped) != 1) + 1)
    parts = [
        fill_masked(dataset.read(1, window=RasterWindow(int(run[0]), row, run.size, rows), masked=True)) for run in runs
    ]
    return np.concatenate(parts, axis=1)
