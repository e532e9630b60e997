"""Services of height models on this machine: OpenTopography, the Copernicus bucket, and the EGM2008 grid.

They speak the contracts of the real ones and answer from one ground. What they serve is made for demonstrations and
tests: in particular `egm2008` has the form of the EGM2008 grid, but holds the EGM96 geoid, lowered by half a metre.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from scipy.ndimage import map_coordinates

from services.loopback import Asked, Handler, Reply
from topsar.model import BBox, GeoGrid
from topsar.raster import compute_pixel_centres, read_geoid, read_geotiff
from topsar.raster.geoid import EGM96

Ground = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Longitude and latitude in degrees -> height above the ellipsoid; NaN on the sea."""

EGM2008_BELOW_EGM96_M = 0.5
"""How far the stand-in for the EGM2008 geoid lies below EGM96, so that one is not taken for the other."""

GEOID_PATH = "/us_nga_egm08_25.tif"

_ARCSEC = 1 / 3600
_ELLIPSOIDAL, _EGM96, _EGM2008 = "ellipsoid", "egm96", "egm2008"
_MODELS = {
    "SRTMGL1": (1, _EGM96, 450_000),
    "SRTMGL1_E": (1, _ELLIPSOIDAL, 450_000),
    "SRTMGL3": (3, _EGM96, 4_050_000),
    "NASADEM": (1, _EGM96, 450_000),
    "COP30": (1, _EGM2008, 450_000),
    "COP90": (3, _EGM2008, 4_050_000),
    "AW3D30": (1, _EGM96, 450_000),
    "AW3D30_E": (1, _ELLIPSOIDAL, 450_000),
}
_VOID = -32768.0
_KM_PER_DEGREE = 111.32
_TILE = re.compile(r"/(Copernicus_DSM_COG_10_([NS])(\d\d)_00_([EW])(\d\d\d)_00_DEM)/\1\.tif")
_TILE_COLUMNS = ((50, 3600), (60, 2400), (70, 1800), (80, 1200), (85, 720), (90, 360))
_NO_SUCH_KEY = b"<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does "
_NO_SUCH_KEY += b"not exist.</Message></Error>"


def ground_of(dem: Path) -> Ground:
    """The ground of a raster of ellipsoidal heights in longitude and latitude.

    Beyond its edges it goes on at their height; its voids are sea.
    """
    values, grid, _ = read_geotiff(dem)
    heights = values.astype(np.float64)

    def height(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        column = (longitude - grid.west) / grid.dx - 0.5
        row = (grid.north - latitude) / grid.dy - 0.5
        found: NDArray[np.float64] = map_coordinates(heights, [row, column], order=1, mode="nearest")
        return found

    return height


def opentopography(ground: Ground, *, key: str, edges_on_postings: bool = False) -> Handler:
    """OpenTopography's ``globaldem``.

    Parameters
    ----------
    ground : callable
    key : str
        The only API key that is accepted.
    edges_on_postings : bool
        Whether edges of pixels, rather than their centres, lie on whole multiples of the posting.
    """

    def answer(asked: Asked) -> Reply | None:
        if not asked.path.endswith("/globaldem"):
            return None
        if asked.query.get("API_Key") != key:
            return _error(401, "Invalid API key: please check your API key or request one at OpenTopography")
        model = _MODELS.get(asked.query.get("demtype", ""))
        try:
            south, north, west, east = (float(asked.query[side]) for side in ("south", "north", "west", "east"))
            box = BBox(west=west, south=south, east=east, north=north)
        except (KeyError, ValueError):
            return _error(400, "Invalid bounding box")
        if model is None or asked.query.get("outputFormat", "GTiff") != "GTiff":
            return _error(400, "Invalid parameter")
        arcsec, datum, limit = model
        if (area := _area_km2(box)) > limit:
            name = asked.query["demtype"]
            text = f"The maximum area for {name} is {limit:,} km2. The selected area is {area:,.0f} km2"
            return _error(400, text)
        return _raster(ground, _snapped(box, arcsec * _ARCSEC, 0.0 if edges_on_postings else 0.5), datum)

    return answer


def copernicus_dem(ground: Ground) -> Handler:
    """The public bucket of the Copernicus model at 30 m: a GeoTIFF for each degree with land."""

    def answer(asked: Asked) -> Reply | None:
        if "Copernicus_DSM" not in asked.path:
            return None
        found = _TILE.search(asked.path)
        if found is None:
            return Reply(status=404, body=_NO_SUCH_KEY)
        _, northern, latitude, eastern, longitude = found.groups()
        south = int(latitude) if northern == "N" else -int(latitude)
        west = int(longitude) if eastern == "E" else -int(longitude)
        return _raster(ground, _tile_grid(south, west), _EGM2008, sea=0.0, missing=Reply(status=404, body=_NO_SUCH_KEY))

    return answer


def egm2008() -> Handler:
    """The stand-in for PROJ's grid of the EGM2008 geoid, made when it is first asked for (some seconds)."""
    made: list[bytes] = []

    def answer(asked: Asked) -> Reply | None:
        if not asked.path.endswith(GEOID_PATH):
            return None
        if not made:
            made.append(egm2008_grid())
        return Reply(body=made[0], ranges=True, headers={"ETag": '"egm2008"'})

    return answer


def egm2008_grid() -> bytes:
    """A GeoTIFF of 2.5 minutes of arc as PROJ's: EGM96 between its nodes, lowered by `EGM2008_BELOW_EGM96_M`."""
    refined, step = 6, 0.25 / 6
    with rasterio.open(EGM96) as dataset:
        nodes = dataset.read(1).astype(np.float32) * np.float32(dataset.scales[0])
    nodes = _refined(np.hstack([nodes, nodes[:, :1]]), refined)
    fine = _refined(nodes.T, refined).T[:, :-1] - np.float32(EGM2008_BELOW_EGM96_M)
    scale = 0.005
    profile = {"driver": "GTiff", "count": 1, "dtype": "int16", "height": fine.shape[0], "width": fine.shape[1]}
    transform = Affine(step, 0, -180 - step / 2, 0, -step, 90 + step / 2)
    packing = {"compress": "deflate", "zlevel": 1, "predictor": 2, "tiled": True}
    with MemoryFile() as memory:
        with memory.open(**profile, **packing, transform=transform, crs="EPSG:4326") as dataset:
            dataset.update_tags(AREA_OR_POINT="Point", TYPE="VERTICAL_OFFSET_GEOGRAPHIC_TO_VERTICAL")
            dataset.scales = (scale,)
            dataset.write(np.rint(fine / np.float32(scale)).astype(np.int16), 1)
        return bytes(memory.getbuffer())


def _refined(rows: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """Linear interpolation between rows, which stay."""
    share = (np.arange(times, dtype=np.float32) / times)[np.newaxis, :, np.newaxis]
    between = rows[:-1, np.newaxis] * (1 - share) + rows[1:, np.newaxis] * share
    return np.concatenate([between.reshape(-1, rows.shape[1]), rows[-1:]])


def _raster(ground: Ground, grid: GeoGrid, datum: str, *, sea: float = _VOID, missing: Reply | None = None) -> Reply:
    """Heights on a grid as a GeoTIFF, or ``missing`` (HTTP 204) where all is sea."""
    longitude, latitude = compute_pixel_centres(grid)
    heights = ground((longitude + 180) % 360 - 180, latitude)
    if np.isnan(heights).all():
        return missing or Reply(status=204)
    if datum != _ELLIPSOIDAL:
        heights = heights - read_geoid(EGM96, grid.bbox).interpolate(longitude, latitude)
    if datum == _EGM2008:
        heights = heights + EGM2008_BELOW_EGM96_M
    values = np.where(np.isnan(heights), sea, heights).astype(np.float32)
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "height": grid.rows, "width": grid.columns}
    packing = {"compress": "deflate", "predictor": 3, "tiled": True}
    with MemoryFile() as memory:
        with memory.open(**profile, **packing, transform=Affine(*grid.transform), crs="EPSG:4326") as dataset:
            dataset.update_tags(AREA_OR_POINT="Point")
            if sea == _VOID:
                dataset.nodata = _VOID
            dataset.write(values, 1)
        body = bytes(memory.getbuffer())
    return Reply(body=body, ranges=True, headers={"Content-Type": "application/octet-stream"})


def _snapped(box: BBox, posting: float, phase: float) -> GeoGrid:
    """The pixels that touch a box; their edges lie ``phase`` postings beside multiples of the posting."""
    column, row = (math.floor(v / posting - phase + 1e-6) for v in (box.west, -box.north))
    last_column, last_row = (math.ceil(v / posting - phase - 1e-6) for v in (box.east, -box.south))
    west, north = (column + phase) * posting, -(row + phase) * posting
    return GeoGrid(
        crs="EPSG:4326",
        west=west,
        north=north,
        dx=posting,
        dy=posting,
        rows=last_row - row,
        columns=last_column - column,
    )


def _tile_grid(south: int, west: int) -> GeoGrid:
    """Centres of the first pixels lie on whole degrees; columns lie further apart toward the poles."""
    nearest = min(abs(south), abs(south + 1))
    columns = next(count for latitude, count in _TILE_COLUMNS if nearest < latitude)
    dx, dy = 1 / columns, _ARCSEC
    return GeoGrid(
        crs="EPSG:4326", west=west - dx / 2, north=south + 1 + dy / 2, dx=dx, dy=dy, rows=3600, columns=columns
    )


def _area_km2(box: BBox) -> float:
    band = math.degrees(math.sin(math.radians(box.north)) - math.sin(math.radians(box.south)))
    return band * (box.east - box.west) * _KM_PER_DEGREE**2


def _error(status: int, text: str) -> Reply:
    return Reply(status=status, body=f"<error>\nError: {text}\n</error>".encode(), headers={"Content-Type": "text/xml"})
