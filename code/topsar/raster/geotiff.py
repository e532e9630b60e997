"""Cloud-optimised GeoTIFF: one band on a map grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine

from topsar.errors import ProductError
from topsar.files import atomic_path, write_failed
from topsar.model import BBox, GeoGrid

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises when GDAL fails."""

WITH_SIDECARS: dict[str, Any] = {"GDAL_DISABLE_READDIR_ON_OPEN": False}
"""For rasters of the user: ISCE's, ENVI's and EHdr's forms are described by files beside them."""

NO_CACHE: dict[str, Any] = {"GDAL_CACHEMAX": 0}
"""Where no block is read or written twice; GDAL would keep as many as fill a twentieth of the machine's memory."""

BLOCK = 512
ROTATION_SHARE = 1e-9
"""Rotation terms below this share of the posting are rounding."""
_OPENING = Lock()
"""Filters of warnings are the process's: two threads must not change them at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a file says of its band: unit and description, and metadata of the file."""

    unit: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


NO_LABELS = Labels()


def write_geotiff(
    path: Path,
    values: NDArray[Any],
    grid: GeoGrid,
    *,
    nodata: float,
    labels: Labels = NO_LABELS,
    overviews: Literal["average", "nearest", "mode"] = "average",
) -> None:
    """Write one band as a cloud-optimised GeoTIFF (512-pixel tiles, deflate with predictor, overviews, statistics).

    Parameters
    ----------
    path : Path
        The file; it appears when it is whole.
    values : (rows, columns) integer or real
        The band.
    grid : GeoGrid
        Where the pixels lie; its shape is that of ``values``.
    nodata : float
        The value of holes, NaN included.
    labels : Labels
        Unit, description, tags.
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
    block = BLOCK // 2 if grid.columns == BLOCK else BLOCK  # rasterio calls a file of one column of tiles untiled
    layout = {"blocksize": block, "level": 1, "predictor": "YES", "overview_resampling": overviews.upper()}
    layout["statistics"] = "YES"
    with (
        rasterio.Env(COG_TMP_COMPRESSION="NONE"),  # of overviews until the file is put together: a third of the time
        _create(path, grid, labels, driver="COG", dtype=values.dtype, nodata=nodata, **layout) as dataset,
    ):
        dataset.write(values[np.newaxis])  # of two dimensions rasterio makes a copy


@contextmanager
def open_geotiff(
    path: Path, grid: GeoGrid, dtype: str, *, nodata: float, tile_rows: int, labels: Labels = NO_LABELS
) -> Iterator[Any]:
    """Open one band to be written in windows (deflate, without overviews); the file appears when it is whole.

    Tiles never written take no room and read as ``nodata``. Leftovers of an earlier, killed process are removed.

    Parameters
    ----------
    path, grid, nodata, labels
        As for `write_geotiff`.
    dtype : str
        Of integer, real or complex numbers.
    tile_rows : int
        Height of a tile, a multiple of 16. Windows should be whole rows of tiles.

    Yields
    ------
    rasterio.io.DatasetWriter
    """
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        left.unlink(missing_ok=True)
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": tile_rows, "zlevel": 1, "sparse_ok": True}
    with _create(path, grid, labels, driver="GTiff", dtype=dtype, nodata=nodata, **layout) as dataset:
        yield dataset


@contextmanager
def _create(path: Path, grid: GeoGrid, labels: Labels, **profile: Any) -> Iterator[Any]:
    profile |= {"height": grid.rows, "width": grid.columns, "crs": grid.crs, "transform": Affine(*grid.transform)}
    with atomic_path(path) as part:
        try:
            with rasterio.open(part, "w", count=1, **profile, compress="DEFLATE", bigtiff="IF_SAFER") as dataset:
                dataset.units, dataset.descriptions = (labels.unit,), (labels.description,)
                dataset.update_tags(**dict(labels.tags))
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
    with open_to_read(path) as dataset:
        grid = _read_grid(path, dataset)
        return dataset.read(1), grid, dict(dataset.tags())


def read_grid(path: Path) -> GeoGrid:
    """Read where the pixels of a north-up raster lie, and no pixel; raises as `read_geotiff`."""
    with open_to_read(path) as dataset:
        return _read_grid(path, dataset)


def _read_grid(path: Path, dataset: Any) -> GeoGrid:
    a, _, c, _, e, f = dataset.transform[:6]
    if dataset.crs is None or a <= 0 or e >= 0 or not is_unrotated(dataset.transform):
        message = f"{path} is not a north-up raster with a coordinate system"
        raise ProductError(message, hint="warp it to a north-up grid, for example with gdalwarp")
    rows, columns = dataset.shape
    return GeoGrid(crs=dataset.crs.to_string(), west=c, north=f, dx=a, dy=-e, rows=rows, columns=columns)


def read_reduced(path: Path, most_pixels: int) -> NDArray[Any]:
    """Read band 1 of a raster, halved in both directions until it is small enough.

    Parameters
    ----------
    path : Path
    most_pixels : int
        Of the result.
    """
    with open_to_read(path) as dataset:
        step = 1
        while (shape := (-(-dataset.height // step), -(-dataset.width // step)))[0] * shape[1] > most_pixels:
            step *= 2
        values: NDArray[Any] = dataset.read(1, out_shape=shape)
        return values


@contextmanager
def open_to_read(path: Path) -> Iterator[Any]:
    """Open a raster, a rasterio dataset; failures to open and to read are ProductErrors."""
    try:
        with rasterio.open(path) as dataset:
            yield dataset
    except GDAL_ERRORS as exc:
        message = f"cannot read {path}: {exc}"
        raise ProductError(message, hint="remove it and run again: it will be made anew") from exc


def compute_pixel_centres(grid: GeoGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map coordinates x and y of all pixel centres, each (rows, columns), in units of the grid's ``crs``."""
    x, y = np.meshgrid(*compute_pixel_axes(grid))
    return x, y


def compute_pixel_axes(grid: GeoGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map coordinates x (columns) and y (rows) of pixel centres, in units of the grid's ``crs``."""
    x = grid.west + (np.arange(grid.columns, dtype=np.float64) + 0.5) * grid.dx
    y = grid.north - (np.arange(grid.rows, dtype=np.float64) + 0.5) * grid.dy
    return x, y


def make_transformer(grid: GeoGrid) -> Transformer:
    """From map coordinates to longitude and latitude."""
    return Transformer.from_crs(CRS.from_user_input(grid.crs), CRS.from_epsg(4326), always_xy=True)


def locate_pixels(
    grid: GeoGrid, rows: float | NDArray[np.floating], columns: float | NDArray[np.floating]
) -> tuple[Any, Any]:
    """Longitude and latitude in degrees of places in a grid, in pixels from its north-west corner."""
    longitude, latitude = make_transformer(grid).transform(grid.west + columns * grid.dx, grid.north - rows * grid.dy)
    return longitude, latitude


def find_pixels(
    grid: GeoGrid, longitude: float | NDArray[np.floating], latitude: float | NDArray[np.floating]
) -> tuple[Any, Any]:
    """Rows and columns in a grid, or beyond it, of places in degrees; in pixels from its north-west corner."""
    x, y = make_transformer(grid).transform(longitude, latitude, direction="INVERSE")
    return (grid.north - y) / grid.dy, (x - grid.west) / grid.dx


def is_unrotated(transform: Affine) -> bool:
    """Whether rows run east-west and columns north-south."""
    return bool(max(abs(transform.b), abs(transform.d)) <= ROTATION_SHARE * min(abs(transform.a), abs(transform.e)))


def read_bounds(dataset: Any) -> BBox:
    """Read the edges of an open raster, in its own coordinates."""
    x, y = sorted(dataset.bounds[::2]), sorted(dataset.bounds[1::2])
    return BBox(west=x[0], south=y[0], east=x[1], north=y[1])


def describe_box(box: BBox) -> str:
    """Describe a box by its edges in degrees."""
    return f"south {box.south:.4f}, north {box.north:.4f}, west {box.west:.4f}, east {box.east:.4f}"


def open_quietly(path: Path) -> Any:
    """Open a raster without the warning that it lacks a position, which the caller checks."""
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def fill_masked(values: Any) -> NDArray[np.float32]:
    """A masked read as float32 with NaN in its holes."""
    return np.ma.filled(values.astype(np.float32), np.nan)
