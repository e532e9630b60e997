"""A DEM of a region from a global height model, kept for later runs.

``data/dem/provisioned`` holds ``<model>_<box>.tif`` for each box that was fetched, and under ``COP30`` the tiles of the
Copernicus model. The margin that is fetched is wider than the one asked of a cached DEM, so that one file serves boxes
that differ a little: first the DEM of the box that would be fetched, else the smallest that covers what is needed, by
name among equals. Heights are the model's own, and the file says what they are measured from. Sea gets the height of
the geoid: where the service has no data, where tiles do not exist, and voids whose rim is mostly shore. Other voids
stay.
"""

from __future__ import annotations

import logging
import math
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import NotFetchedError, ProvisionError, TopsarError
from topsar.files import delete
from topsar.model import BBox, Dem, VerticalDatum
from topsar.provision.dem.merge import merge, require_size
from topsar.provision.dem.models import (
    BY_KEY,
    KEYLESS,
    GlobalModel,
    compute_area_km2,
    crosses_antimeridian,
    list_models,
)
from topsar.provision.dem.sources import fetch_parts, fetch_tiles
from topsar.provision.web.failures import Failed
from topsar.provision.web.transfer import hold_part
from topsar.raster import Labels, compute_pixel_centres, inspect, read_datum, read_geoid, require_cover, write_geotiff
from topsar.raster.dem_voids import SHORE_M, find_sea
from topsar.raster.geoid import EGM96
from topsar.raster.geotiff import describe_box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import GeoGrid
    from topsar.provision.web.client import Web
    from topsar.settings import Options

log = logging.getLogger(__name__)

PROVISIONED = "provisioned"
"""Folder in ``data/dem``, so that what is fetched is not among the rasters that the user put there."""

MARGIN_DEG = 0.15
"""Margin that is fetched around a box."""

LEAST_MARGIN_DEG = 0.10
"""Margin that a cached DEM must have around a box: a summit of 9 km is displaced by less."""

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


def find_global_dem(options: Options, folder: Path, box: BBox, api_key: str, web: Web | None) -> Dem:
    """Find a DEM of a global model that was fetched before and covers the box with `LEAST_MARGIN_DEG`, or fetch it.

    What is fetched has `MARGIN_DEG` around the box. The DEM comes without a geoid.

    Parameters
    ----------
    options : Options
        ``dem`` (``auto``: SRTMGL1 with a key, COP30 without one or beyond SRTM's reach) and ``dem_datum``, which must
        not contradict the model.
    folder : Path
        ``data/dem``.
    box : BBox
        What must be covered, degrees.
    api_key : str
        Of OpenTopography, or empty.
    web : Web or None
        Without it nothing is fetched.
    """
    turn = -360.0 * round(box.centre[0] / 360.0)
    box = replace(box, west=box.west + turn, east=box.east + turn)  # centred within ±180 degrees
    places = _place_models(options, folder / PROVISIONED, box, api_key)
    for model, path in places:
        needed = model.grow(box, LEAST_MARGIN_DEG)
        if (found := _find_cached_dem(model, path, needed, warn=web is not None)) is not None:
            return Dem(path=found, datum=model.datum)
    model, path = places[0]
    whole = _read_box(path)
    if web is None:
        msg = f"the heights of {model.name} for {describe_box(whole)} have not been fetched yet"
        raise NotFetchedError(msg, hint="a run fetches them; or set DEM to a file of yours", retryable=True)
    if model.has_square_postings(whole):  # how many there are is known before they come
        rows = round((whole.north - whole.south) / model.posting_deg)
        require_size(rows, round((whole.east - whole.west) / model.posting_deg), whole)
    if options.dem.lower() == "auto":
        _log_choice(model, box, api_key)
    with _lock(path):
        found = _find_cached_dem(model, path, whole, warn=False)  # another process may have fetched it meanwhile
        if found is None:
            _fetch(model, path, api_key, web)
    return Dem(path=found or path, datum=model.datum)


def _fetch(model: GlobalModel, path: Path, api_key: str, web: Web) -> None:
    box = _read_box(path)
    if model.name == KEYLESS and (not api_key or crosses_antimeridian(box)):
        tiles = fetch_tiles(box, path.parent / model.name, web)
        write_heights(path, model, *merge(tiles, box, model.posting_deg), source="Copernicus bucket")
    else:
        folder = path.with_suffix(".parts")
        parts = fetch_parts(model, box, folder, web, api_key=api_key)
        write_heights(path, model, *merge(parts, box, model.posting_deg), source="OpenTopography")
        with suppress(OSError):
            delete(folder, within=path.parent)


def _place_models(options: Options, folder: Path, box: BBox, api_key: str) -> list[tuple[GlobalModel, Path]]:
    """Name the models that serve, the first to be fetched, each with its file."""
    models = list_models(options.dem, box, api_key)
    fitting = [model for model in models if options.dem_datum in ("auto", model.datum.value)]
    if not fitting:
        msg = f"DEM_DATUM={options.dem_datum}, and the heights of {models[0].name} are above {models[0].datum.value}"
        raise ProvisionError(msg, hint="leave DEM_DATUM at auto for a global model")
    return [(model, folder / _name_file(model, _box_to_fetch(box, model))) for model in fitting]


def _log_choice(model: GlobalModel, box: BBox, api_key: str) -> None:
    if model.name == BY_KEY:
        log.info("DEM=auto: %s of OpenTopography", model.name)
    else:
        lack = f"{BY_KEY} does not reach {describe_box(box)}" if api_key else f"{BY_KEY} needs OPENTOPO_API_KEY"
        log.warning("DEM=auto: Copernicus GLO-30 (%s), because %s", model.name, lack)


def _box_to_fetch(box: BBox, model: GlobalModel) -> BBox:
    """Grow a box to what is fetched; `BOX_STEP_DEG` is a whole number of postings of every model."""
    reached = model.grow(box, MARGIN_DEG)
    return BBox(
        west=_snap(reached.west, math.floor),
        south=_snap(reached.south, math.floor),
        east=_snap(reached.east, math.ceil),
        north=_snap(reached.north, math.ceil),
    )


def _snap(degrees: float, round_to: Callable[[float], int]) -> float:
    return round(round_to(round(degrees / BOX_STEP_DEG, 6)) * BOX_STEP_DEG, 2)


def _name_file(model: GlobalModel, box: BBox) -> str:
    return f"{model.name}_S{box.south:.2f}_N{box.north:.2f}_W{box.west:.2f}_E{box.east:.2f}.tif"


def _read_box(path: Path) -> BBox:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(path.name)
    south, north, west, east = (float(text) for text in match.groups()[1:])
    return BBox(west=west, south=south, east=east, north=north)


def _find_cached_dem(model: GlobalModel, path: Path, box: BBox, *, warn: bool) -> Path | None:
    """Find the sound DEM of the model that covers a box: the one at ``path``, else the smallest."""
    kept = [other for other in path.parent.glob(f"{model.name}_*.tif") if _NAME.fullmatch(other.name)]
    covering = [
        (other != path, compute_area_km2(extent), other) for other in kept if (extent := _read_box(other)).contains(box)
    ]
    return next((found for *_, found in sorted(covering) if _is_sound(found, model, warn=warn)), None)


def _is_sound(path: Path, model: GlobalModel, *, warn: bool) -> bool:
    try:
        inspect(path)
        require_cover(Dem(path=path, datum=model.datum), _read_box(path))
        is_labelled = read_datum(path) is model.datum
        problem = "" if is_labelled else f"it does not say that its heights are above {model.datum.value}"
    except TopsarError as exc:
        problem = exc.message
    if problem and warn:
        log.warning("%s is not used: %s", path, problem)
    return not problem


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Keep other processes from making this file meanwhile."""
    try:
        with hold_part(path, time.sleep):
            yield
    except Failed as exc:
        raise ProvisionError(exc.reason, hint=exc.hint) from exc


def write_heights(
    path: Path,
    model: GlobalModel,
    heights: NDArray[np.float32],
    sea: NDArray[np.bool_],
    grid: GeoGrid,
    *,
    source: str,
) -> None:
    """Write the heights of a model with its datum, the sea at the height of the geoid.

    Parameters
    ----------
    path : Path
    model : GlobalModel
    heights, sea, grid
        As `merge` returns them.
    source : str
        Where they come from.
    """
    _level_sea(heights, sea, grid, model)
    if missing := int(np.isnan(heights).sum()):
        log.warning("%s: %d postings on land have no height", path.name, missing)
    if sea.all():
        log.warning("%s has no land at all in %s", model.name, describe_box(grid.bbox))
    tags = {"MODEL": model.name, "SOURCE": source, "HEIGHTS_ABOVE": model.datum.value}
    placed = replace(grid, crs=_CRS[model.datum])
    write_geotiff(path, heights, placed, nodata=math.nan, labels=Labels(unit="m", description="height", tags=tags))


def _level_sea(heights: NDArray[np.float32], sea: NDArray[np.bool_], grid: GeoGrid, model: GlobalModel) -> None:
    """Give the sea the height of the geoid, and so the voids that are sea."""
    if not np.isnan(heights).any():
        return
    shore = np.empty_like(sea)
    for rows, level in _iterate_geoid(grid, model):
        np.copyto(heights[rows], level, where=sea[rows])
        shore[rows] = np.abs(heights[rows] - level) <= SHORE_M
    voids = np.isnan(heights)
    if not voids.any():
        return
    found = find_sea(voids, shore)
    sea |= found
    for rows, level in _iterate_geoid(grid, model):
        np.copyto(heights[rows], level, where=found[rows])


def _iterate_geoid(grid: GeoGrid, model: GlobalModel) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield heights of the geoid in the model's datum, some rows at a time: EGM96 for ellipsoidal heights."""
    geoid = read_geoid(EGM96, grid.bbox) if model.datum is VerticalDatum.ELLIPSOID else None
    for first in range(0, grid.rows, _STRIP_ROWS):
        count = min(_STRIP_ROWS, grid.rows - first)
        strip = replace(grid, north=grid.north - first * grid.dy, rows=count)
        level = np.zeros((1, 1), np.float32) if geoid is None else geoid.interpolate(*compute_pixel_centres(strip))
        yield slice(first, first + count), level
