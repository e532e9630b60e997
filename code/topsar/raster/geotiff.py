"""Cloud-optimised GeoTIFF: one band on a map grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.transform import Affine

from topsar.errors import ProductError
from topsar.files import atomic_path, write_failed
from topsar.model import GeoGrid

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises when GDAL fails."""

BLOCK = 512
ROTATION_SHARE = 1e-9
"""Rotation terms below this share of the posting are rounding."""


def write_geotiff(
    path: Path,
    values: NDArray[Any],
    grid: GeoGrid,
    *,
    nodata: float,
    unit: str = "",
    description: str = "",
    tags: Mapping[str, str] | None = None,
    overviews: Literal["average", "nearest", "mode"] = "average",
) -> None:
    """Write one band as a cloud-optimised GeoTIFF (512-pixel tiles, deflate with predictor, overviews).

    Parameters
    ----------
    values : (rows, columns) integer or real
    grid : GeoGrid
        Where the pixels lie; its shape is that of ``values``.
    nodata : float
        The value of holes, NaN included.
    unit, description : str
        Of the band.
    tags : mapping
        Metadata of the file.
    overviews : str
        How overviews are made; averaging suits neither labels nor wrapped phase.

    Raises
    ------
    ProductError
        If the file cannot be written; nothing is left behind.
    ValueError
        If ``values`` does not have the shape of the grid.
    """
    if values.shape != grid.shape:
        msg = f"{path.name}: values are {values.shape}, the grid is {grid.shape}"
        raise ValueError(msg)
    profile = {
        "driver": "COG",
        "height": grid.rows,
        "width": grid.columns,
        "count": 1,
        "dtype": values.dtype,
        "crs": grid.crs,
        "transform": Affine(*grid.transform),
        "nodata": nodata,
        "blocksize": BLOCK,
        "compress": "DEFLATE",
        "level": 4,
        "predictor": "YES",
        "overview_resampling": overviews.upper(),
        "bigtiff": "IF_SAFER",
    }
    with atomic_path(path) as part:
        try:
            with rasterio.open(part, "w", **profile) as dataset:
                dataset.write(values, 1)
                dataset.units = (unit,)
                dataset.descriptions = (description,)
                dataset.update_tags(**dict(tags or {}))
        except GDAL_ERRORS as exc:
            raise write_failed(path, exc) from exc


@contextmanager
def open_geotiff(
    path: Path,
    grid: GeoGrid,
    dtype: str,
    *,
    nodata: float,
    tile_rows: int,
    unit: str = "",
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> Iterator[Any]:
    """Open one band to be written in windows (deflate, without overviews); it appears under its name when it is whole.

    What is never written takes no room and is read as ``nodata``. What an earlier, killed process left is removed.

    Parameters
    ----------
    grid : GeoGrid
        Where the pixels lie.
    dtype : str
        Of integer, real or complex numbers.
    nodata : float
        The value of holes, NaN included.
    tile_rows : int
        Height of a tile, a multiple of 16. Windows should be whole rows of tiles.
    unit, description : str
        Of the band.
    tags : mapping
        Metadata of the file.

    Yields
    ------
    rasterio.io.DatasetWriter

    Raises
    ------
    ProductError
        If the file cannot be written; nothing is left behind.
    """
    profile = {
        "driver": "GTiff",
        "height": grid.rows,
        "width": grid.columns,
        "count": 1,
        "dtype": dtype,
        "crs": grid.crs,
        "transform": Affine(*grid.transform),
        "nodata": nodata,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": tile_rows,
        "compress": "DEFLATE",
        "zlevel": 1,
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
    }
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        left.unlink(missing_ok=True)
    with atomic_path(path) as part:
        try:
            with rasterio.open(part, "w", **profile) as dataset:
                dataset.units = (unit,)
                dataset.descriptions = (description,)
                dataset.update_tags(**dict(tags or {}))
                yield dataset
        except GDAL_ERRORS as exc:
            raise write_failed(path, exc) from exc


def read_geotiff(path: Path) -> tuple[NDArray[Any], GeoGrid, dict[str, str]]:
    """Read band 1 of a north-up raster: values (rows, columns), its grid, and the tags of the file.

    Raises
    ------
    ProductError
        If it cannot be read, is rotated, or has no coordinate system.
    """
    try:
        with rasterio.open(path) as dataset:
            grid = _grid_of(dataset, path)
            values: NDArray[Any] = dataset.read(1)
            return values, grid, dict(dataset.tags())
    except GDAL_ERRORS as exc:
        message = f"cannot read {path}: {exc}"
        raise ProductError(message, hint="remove it and run again: it will be made anew") from exc


def read_reduced(path: Path, most_pixels: int) -> NDArray[Any]:
    """Read band 1 of a raster, or of one with more pixels the first overview that has no more than ``most_pixels``.

    Returns
    -------
    (rows, columns) ndarray
        A half, a quarter, an eighth ... of the raster's in each direction.

    Raises
    ------
    ProductError
        If it cannot be read.
    """
    try:
        with rasterio.open(path) as dataset:
            step = 1
            while (shape := (-(-dataset.height // step), -(-dataset.width // step)))[0] * shape[1] > most_pixels:
                step *= 2
            values: NDArray[Any] = dataset.read(1, out_shape=shape)
            return values
    except GDAL_ERRORS as exc:
        message = f"cannot read {path}: {exc}"
        raise ProductError(message, hint="remove it and run again: it will be made anew") from exc


def pixel_centres(grid: GeoGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map coordinates x and y of all pixel centres, each (rows, columns), in units of the grid's ``crs``."""
    x, y = np.meshgrid(
        grid.west + (np.arange(grid.columns) + 0.5) * grid.dx, grid.north - (np.arange(grid.rows) + 0.5) * grid.dy
    )
    return x, y


def _grid_of(dataset: Any, path: Path) -> GeoGrid:
    a, b, c, d, e, f = dataset.transform[:6]
    if dataset.crs is None or a <= 0 or e >= 0 or max(abs(b), abs(d)) > ROTATION_SHARE * a:
        message = f"{path} is not a north-up raster with a coordinate system"
        raise ProductError(message, hint="warp it to a north-up grid, for example with gdalwarp")
    return GeoGrid(
        crs=dataset.crs.to_string(), west=c, north=f, dx=a, dy=-e, rows=dataset.height, columns=dataset.width
    )


def is_unrotated(transform: Affine) -> bool:
    """Whether rows run east-west and columns north-south."""
    return bool(max(abs(transform.b), abs(transform.d)) <= ROTATION_SHARE * min(abs(transform.a), abs(transform.e)))


def as_float32(values: Any) -> NDArray[np.float32]:
    """A masked read as float32 with NaN in its holes."""
    return np.ma.filled(values.astype(np.float32), np.nan)
