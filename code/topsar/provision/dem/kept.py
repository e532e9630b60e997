"""A DEM of a region from a global height model, kept for whoever asks for the same region again.

``data/dem/provisioned`` holds ``<model>_<box>.tif`` for each box that was fetched, and under ``COP30`` the tiles of the
Copernicus model. More is fetched than is asked of a DEM that lies there, so that one serves boxes that differ a little:
first the DEM of the box that would be fetched, else the smallest that covers what is needed, by name among equals.
Heights are the model's own, and the file says what they are measured from. Sea is at the height of the geoid: what the
service has nothing for, tiles that do not exist, and voids whose rim is mostly shore. Other voids stay voids.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import NotFetchedError, ProvisionError, TopsarError
from topsar.model import BBox, Dem, VerticalDatum
from topsar.provision.dem.copernicus import fetch_tiles
from topsar.provision.dem.merge import edges, merge, require_size
from topsar.provision.dem.models import (
    BY_KEY,
    GlobalModel,
    crosses_antimeridian,
    has_square_postings,
    is_from_bucket,
    wanted_models,
)
from topsar.provision.dem.opentopography import fetch_parts
from topsar.provision.web.failures import Failed
from topsar.provision.web.partial import locked
from topsar.raster import declared_datum, inspect, pixel_centres, read_geoid, require_cover, write_geotiff
from topsar.raster.dem_voids import SHORE_M, sea_among
from topsar.raster.geoid import EGM96

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import GeoGrid
    from topsar.provision.endpoints import Services
    from topsar.provision.web.client import Fetcher

log = logging.getLogger(__name__)

PROVISIONED = "provisioned"
"""Folder in ``data/dem``, so that what is fetched is not among the rasters that the user put there."""

MARGIN_DEG = 0.15
"""Fetched around a box."""

LEAST_MARGIN_DEG = 0.10
"""Asked of a DEM that lies there already: a summit of 9 km is displaced by less."""

BOX_STEP_DEG = 0.25
"""Edges of what is fetched lie on multiples of this."""

_STRIP_ROWS = 256

_CRS = {
    VerticalDatum.ELLIPSOID: "EPSG:4979",
    VerticalDatum.EGM96: "EPSG:9707",
    VerticalDatum.EGM2008: "EPSG:9518",
}
"""WGS84 longitude and latitude, with what heights are measured from."""

_NAME = re.compile(r"(\w+)_S(-?[\d.]+)_N(-?[\d.]+)_W(-?[\d.]+)_E(-?[\d.]+)\.tif")


def provide_global_dem(
    choice: str,
    box: BBox,
    folder: Path,
    *,
    fetcher: Fetcher,
    services: Services,
    api_key: str = "",
    datum: str = "auto",
    margin_deg: float = MARGIN_DEG,
    fetch: bool = True,
) -> Dem:
    """A DEM of a global model around a box: the one that lies here already, or fetched.

    Parameters
    ----------
    choice : str
        ``auto`` (SRTMGL1 with a key, COP30 without one or beyond SRTM's reach), or the name of a model.
    box : BBox
        Degrees.
    folder : Path
        ``data/dem``.
    fetcher, services
        How and where to ask.
    api_key : str
        Of OpenTopography, or empty.
    datum : str
        ``DEM_DATUM``, which must not contradict the model.
    margin_deg : float
        Added around the box, as far as the model reaches; `LEAST_MARGIN_DEG` of it must be in a DEM that lies there.
    fetch : bool
        Otherwise only a DEM that lies there is taken.

    Returns
    -------
    Dem
        Without a geoid.

    Raises
    ------
    ProvisionError
        If no model covers the box, or what is needed cannot be had.
    """
    needed = _turned(box)
    models = _of_datum(datum, wanted_models(choice, needed, api_key))
    places = [(model, folder / PROVISIONED / _name(model, _grown(needed, margin_deg, model))) for model in models]
    least_deg = min(margin_deg, LEAST_MARGIN_DEG)
    for model, path in places:
        if (found := _lying(model, path, _reached(needed, least_deg, model), say=fetch)) is not None:
            return Dem(path=found, datum=model.datum)
    model, path = places[0]
    whole = _box_of(path)
    if not fetch:
        msg = f"the heights of {model.name} for {edges(whole)} have not been fetched yet"
        raise NotFetchedError(msg, hint="a run fetches them; or set DEM to a file of yours", retryable=True)
    if has_square_postings(model, whole):  # how many there are is known before they come
        rows = round((whole.north - whole.south) / model.posting_deg)
        require_size(rows, round((whole.east - whole.west) / model.posting_deg), whole)
    if choice.lower() == "auto":
        _say_choice(model, needed, api_key)
    with _alone(path):
        if (found := _lying(model, path, whole, say=False)) is not None:  # somebody else has fetched it meanwhile
            return Dem(path=found, datum=model.datum)
        if is_from_bucket(model, whole, api_key):
            tiles = fetch_tiles(whole, path.parent / model.name, fetcher=fetcher, base_url=services.copernicus_dem)
            _write(path, model, *merge(tiles, whole, model.posting_deg), source="Copernicus bucket")
        else:
            folder = path.with_suffix(".parts")
            url = services.opentopography
            parts = fetch_parts(model, whole, folder, fetcher=fetcher, base_url=url, api_key=api_key)
            _write(path, model, *merge(parts, whole, model.posting_deg), source="OpenTopography")
            shutil.rmtree(folder, ignore_errors=True)
    return Dem(path=path, datum=model.datum)


def _of_datum(datum: str, models: tuple[GlobalModel, ...]) -> tuple[GlobalModel, ...]:
    """The models whose heights are measured from what the user says."""
    fitting = tuple(model for model in models if datum in ("auto", model.datum.value))
    if not fitting:
        msg = f"DEM_DATUM={datum}, and the heights of {models[0].name} are above {models[0].datum.value}"
        raise ProvisionError(msg, hint="leave DEM_DATUM at auto for a global model")
    return fitting


def _say_choice(model: GlobalModel, box: BBox, api_key: str) -> None:
    if model.name == BY_KEY:
        log.info("DEM=auto: %s of OpenTopography", model.name)
    elif api_key:
        log.warning("DEM=auto: Copernicus GLO-30 (%s), for %s does not reach %s", model.name, BY_KEY, edges(box))
    else:
        log.warning(
            "DEM=auto: no OPENTOPO_API_KEY, so the DEM is Copernicus GLO-30 (%s) from its public bucket; a key would "
            "give %s",
            model.name,
            BY_KEY,
        )


# --- which file -------------------------------------------------------------------------------------------------


def _turned(box: BBox) -> BBox:
    """The box, its centre within ±180 degrees."""
    turn = -360.0 * round(box.centre[0] / 360.0)
    return BBox(west=box.west + turn, south=box.south, east=box.east + turn, north=box.north)


def _reached(box: BBox, margin_deg: float, model: GlobalModel) -> BBox:
    """The box with a margin, as far as the model and the world reach."""
    west, east = box.west - margin_deg, box.east + margin_deg
    if not crosses_antimeridian(box):
        west, east = max(west, -180.0), min(east, 180.0)
    south, north = max(box.south - margin_deg, model.south), min(box.north + margin_deg, model.north)
    return BBox(west=west, south=south, east=east, north=north)


def _grown(box: BBox, margin_deg: float, model: GlobalModel) -> BBox:
    """What is fetched; `BOX_STEP_DEG` is a whole number of postings of every model."""
    reached = _reached(box, margin_deg, model)
    return BBox(
        west=_stepped(reached.west, math.floor),
        south=_stepped(reached.south, math.floor),
        east=_stepped(reached.east, math.ceil),
        north=_stepped(reached.north, math.ceil),
    )


def _stepped(degrees: float, rounded: Callable[[float], int]) -> float:
    return round(rounded(round(degrees / BOX_STEP_DEG, 6)) * BOX_STEP_DEG, 2)


def _name(model: GlobalModel, box: BBox) -> str:
    return f"{model.name}_S{box.south:.2f}_N{box.north:.2f}_W{box.west:.2f}_E{box.east:.2f}.tif"


def _box_of(path: Path) -> BBox:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(path.name)
    south, north, west, east = (float(text) for text in match.groups()[1:])
    return BBox(west=west, south=south, east=east, north=north)


def _lying(model: GlobalModel, path: Path, box: BBox, *, say: bool) -> Path | None:
    """The sound DEM of the model that covers a box, first the one at ``path``; with ``say``, others are warned of."""
    covering = []
    for other in path.parent.glob(f"{model.name}_*.tif"):
        if _NAME.fullmatch(other.name) and (extent := _box_of(other)).contains(box):
            area = (extent.east - extent.west) * (extent.north - extent.south)
            covering.append((other != path, area, other.name, other))
    return next((found for *_, found in sorted(covering) if _is_sound(found, model, say=say)), None)


def _is_sound(path: Path, model: GlobalModel, *, say: bool) -> bool:
    problem = _problem(path, model)
    if problem and say:
        log.warning("%s is not used: %s", path, problem)
    return not problem


def _problem(path: Path, model: GlobalModel) -> str:
    """Why a DEM that lies there is not used, or nothing."""
    dem = Dem(path=path, datum=model.datum)
    try:
        inspect(path)
        require_cover(dem, _box_of(path))
        datum = declared_datum(path)
    except TopsarError as exc:
        return exc.message
    return "" if datum is model.datum else f"it does not say that its heights are above {model.datum.value}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else makes this file meanwhile."""
    try:
        with locked(path, time.sleep):
            yield
    except Failed as exc:
        raise ProvisionError(exc.reason, hint=exc.hint) from exc


# --- what stands in it ------------------------------------------------------------------------------------------


def _write(
    path: Path,
    model: GlobalModel,
    heights: NDArray[np.float32],
    sea: NDArray[np.bool_],
    grid: GeoGrid,
    *,
    source: str,
) -> None:
    _level_sea(heights, sea, grid, model)
    if missing := int(np.isnan(heights).sum()):
        log.warning("%s: %d postings on land have no height", path.name, missing)
    if sea.all():
        log.warning("%s has no land at all in %s", model.name, edges(grid.bbox))
    tags = {"MODEL": model.name, "SOURCE": source, "HEIGHTS_ABOVE": model.datum.value}
    placed = replace(grid, crs=_CRS[model.datum])
    write_geotiff(path, heights, placed, nodata=math.nan, unit="m", description="height", tags=tags)


def _level_sea(heights: NDArray[np.float32], sea: NDArray[np.bool_], grid: GeoGrid, model: GlobalModel) -> None:
    """Give the sea the height of the geoid, and so the voids that are sea."""
    if not np.isnan(heights).any():
        return
    shore = np.empty_like(sea)
    for rows, level in _geoid_level(grid, model):
        np.copyto(heights[rows], level, where=sea[rows])
        shore[rows] = np.abs(heights[rows] - level) <= SHORE_M
    voids = np.isnan(heights)
    if not voids.any():
        return
    found = sea_among(voids, shore)
    sea |= found
    for rows, level in _geoid_level(grid, model):
        np.copyto(heights[rows], level, where=found[rows])


def _geoid_level(grid: GeoGrid, model: GlobalModel) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Height of the geoid in the model, some rows at a time: EGM96 for heights above the ellipsoid."""
    geoid = read_geoid(EGM96, grid.bbox) if model.datum is VerticalDatum.ELLIPSOID else None
    for first in range(0, grid.rows, _STRIP_ROWS):
        count = min(_STRIP_ROWS, grid.rows - first)
        strip = replace(grid, north=grid.north - first * grid.dy, rows=count)
        level = np.zeros((1, 1), np.float32) if geoid is None else geoid.at(*pixel_centres(strip))
        yield slice(first, first + count), level
