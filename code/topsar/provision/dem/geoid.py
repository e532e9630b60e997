"""The EGM2008 geoid, from which Copernicus heights are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.errors import ProvisionError
from topsar.model import BBox
from topsar.provision.web.transfer import Wanted
from topsar.raster import read_geoid
from topsar.raster.geoid import EGM96
from topsar.raster.geotiff import GDAL_ERRORS, open_quietly

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.provision.web.client import Web

GRID_NAME = "us_nga_egm08_25.tif"
"""PROJ's file of the EGM2008 geoid on 2.5 minutes of arc, about 80 MB, in the public domain."""

_STEP_DEG = 2.5 / 60
_ROWS, _COLUMNS = 4321, 8640
_SAMPLED_ROWS = range(0, _ROWS, 240)
_NEAR_EGM96_M = 1.5
"""The two geoids differ by about half a metre; a grid of something else by tens."""


def provide_egm2008(folder: Path, web: Web) -> Path:
    """Fetch the EGM2008 grid into a folder, unless it is there.

    Parameters
    ----------
    folder : Path
        ``data/dem/geoid``.
    web : Web
    """
    url, path = f"{web.services.egm2008}/{GRID_NAME}", folder / GRID_NAME
    wanted = Wanted(url=url, path=path, what="EGM2008 geoid grid (80 MB)", check=_check_egm2008)
    try:
        return web.fetcher.download(wanted)
    except ProvisionError as exc:
        msg = f"the heights of this DEM are measured from the EGM2008 geoid, whose grid cannot be had: {exc.message}"
        hint = f"put {GRID_NAME} into {folder}, set GEOID to a grid of yours, or take an EGM96 model such as SRTMGL1"
        raise ProvisionError(msg, hint=hint, retryable=exc.retryable) from exc


def find_egm2008(folder: Path) -> Path | None:
    """Find the EGM2008 grid that was fetched into a folder before, if it is whole."""
    path = folder / GRID_NAME
    try:
        _check_egm2008(path)
    except ProvisionError:
        return None
    return path


def _check_egm2008(path: Path) -> None:
    """Check that a file is the whole EGM2008 grid: its place, its size, and heights near those of EGM96."""
    try:
        with open_quietly(path) as dataset:
            _check_place(dataset, path)
    except GDAL_ERRORS as exc:
        msg = f"{path.name} is damaged or not a raster: {exc.__cause__ or exc}"
        raise ProvisionError(msg, hint="try again", retryable=True) from exc
    differences = [_compare_parallel(path, 90 - _STEP_DEG * row) for row in range(0, _ROWS, 240)]
    difference = float(np.median(np.abs(np.stack(differences))))
    if not difference < _NEAR_EGM96_M:
        msg = f"{path.name} does not hold the EGM2008 geoid: half of it is more than {difference:.1f} m away from EGM96"
        raise ProvisionError(msg, hint="get it again from cdn.proj.org")


def _check_place(dataset: Any, path: Path) -> None:
    transform = dataset.transform
    expected = _STEP_DEG, 0.0, -180 - _STEP_DEG / 2, 0.0, -_STEP_DEG, 90 + _STEP_DEG / 2
    is_placed = np.allclose(transform[:6], expected, rtol=0, atol=1e-7)
    has_size = dataset.height == _ROWS and dataset.width in (_COLUMNS, _COLUMNS + 1)  # the last one may be repeated
    if not has_size or not is_placed or dataset.crs is None or not dataset.crs.is_geographic:
        msg = f"{path.name} is {dataset.height} by {dataset.width} pixels from {transform.c:g}, {transform.f:g}: not "
        msg += "the EGM2008 grid on 2.5 minutes of arc"
        raise ProvisionError(msg, hint="get it again from cdn.proj.org")


def _compare_parallel(path: Path, latitude_deg: float) -> NDArray[np.float32]:
    """Undulations of a grid less those of EGM96 along a parallel."""
    longitude = -180 + _STEP_DEG * np.arange(_COLUMNS, dtype=np.float64)
    latitude = np.full_like(longitude, latitude_deg)
    box = BBox(west=-180, south=max(latitude_deg - 1, -90), east=180, north=min(latitude_deg + 1, 90))
    grid, egm96 = (read_geoid(one, box).interpolate(longitude, latitude) for one in (path, EGM96))
    return grid - egm96
