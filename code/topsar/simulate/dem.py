"""The digital elevation model that goes with the products."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rasterio import Affine
from rasterio import open as open_raster

from topsar.raster import atomic_path

if TYPE_CHECKING:
    from topsar.simulate.terrain import Terrain

_WGS84_3D = "EPSG:4979"


def write_dem(path: Path, terrain: Terrain) -> Path:
    """Write the heights as a GeoTIFF whose three-dimensional CRS declares them ellipsoidal.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    grid = terrain.grid()
    with (
        atomic_path(path) as temporary,
        open_raster(
            temporary,
            "w",
            driver="GTiff",
            width=grid.columns,
            height=grid.rows,
            count=1,
            dtype="float32",
            crs=_WGS84_3D,
            transform=Affine(*grid.transform),
            nodata=float("nan"),
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
            predictor=3,
        ) as raster,
    ):
        raster.write(terrain.height, 1)
        raster.set_band_description(1, "ellipsoidal height")
        raster.set_band_unit(1, "m")
    return path
