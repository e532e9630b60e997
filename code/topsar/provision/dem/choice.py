"""The DEM of a batch: the user's own raster, or one of a global model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import NotFetchedError, ProvisionError
from topsar.model import Dem, VerticalDatum
from topsar.provision.dem.geoid import GRID_NAME, find_egm2008, provide_egm2008
from topsar.provision.dem.kept import find_global_dem
from topsar.provision.dem.models import MODELS
from topsar.provision.dem.tiles import Source, find_source, merge_tiles, unpack_raster
from topsar.raster import read_datum

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from topsar.model import BBox
    from topsar.provision.web.client import Web
    from topsar.settings import Options

GEOIDS = "geoid"
"""Folder in ``data/dem`` for grids that are fetched."""

_GEOID_NAMES = ("us_nga_egm*", "egm96_15*", "egm2008*")
"""Customary names of geoid grids, which are not DEMs."""


def find_dem(
    options: Options, folder: Path, box: BBox | None = None, *, api_key: str = "", web: Web | None = None
) -> Dem:
    """Find the DEM that the settings name, the only raster or the tiles in ``data/dem``, or a global model.

    Parameters
    ----------
    options : Options
        ``dem``, ``dem_datum`` and ``geoid``.
    folder : Path
        ``data/dem``; what is fetched is kept in ``provisioned`` and ``geoid`` under it.
    box : BBox, optional
        What a global model or tiles must cover, degrees; it may reach beyond the 180th meridian. Without it only the
        user's own raster is found.
    api_key : str
        Of OpenTopography, or empty.
    web : Web, optional
        Fetches the global model and the geoid that are missing; without it nothing is fetched.
    """
    problem: ProvisionError
    sources = _choose_sources(options, folder)
    if box is not None and not sources:
        dem = find_global_dem(options, folder, box, api_key, web)
        if options.geoid and dem.datum is not VerticalDatum.ELLIPSOID:
            dem = replace(dem, geoid=require_file(options.geoid, folder, "GEOID"))
        msg = f"the EGM2008 geoid grid {folder / GEOIDS / GRID_NAME} has not been fetched yet"
        problem = NotFetchedError(msg, hint="a run fetches it; or set GEOID to a grid of yours", retryable=True)
    else:
        dem = _find_own_dem(options, folder, sources, box)
        msg = f"the DEM {dem.path} has EGM2008 heights, and GEOID is not set"
        hint = "set GEOID to a raster of EGM2008 undulations in metres, or take a DEM with other heights"
        problem = ProvisionError(msg, hint=hint)
    if dem.datum is not VerticalDatum.EGM2008 or dem.geoid:
        return dem
    if web is not None:
        return replace(dem, geoid=provide_egm2008(folder / GEOIDS, web))
    if grid := find_egm2008(folder / GEOIDS):
        return replace(dem, geoid=grid)
    raise problem


def is_global(options: Options, folder: Path) -> bool:
    """Whether ``DEM`` asks for a global model: by name, or because the user put no raster there.

    Parameters
    ----------
    options : Options
        ``dem`` and ``geoid``; the geoid's file is not among the rasters.
    folder : Path
        ``data/dem``.
    """
    with suppress(ProvisionError):  # told when the DEM is asked for
        return not _choose_sources(options, folder)
    return False


def has_tiles(options: Options, folder: Path) -> bool:
    """Whether heights come from tiles of the user, of which a box must say which are needed.

    Parameters
    ----------
    options, folder
        As for `is_global`.
    """
    with suppress(ProvisionError):
        sources = _choose_sources(options, folder)
        return len(sources) > 1 or any(source.is_tile for source in sources)
    return False


def list_unused(options: Options, folder: Path) -> tuple[str, ...]:
    """List the files in a folder that no setting makes a DEM, with the reason.

    Parameters
    ----------
    options, folder
        As for `is_global`.
    """
    files = [path for path in sorted(folder.glob("[!.]*")) if path.is_file()]
    rasters = {source.path for source in _list_rasters(folder, "")}
    beside = {path.with_suffix("") for path in rasters} | rasters
    named = {_find(text, folder) for text in (options.dem, options.geoid) if text}
    strays = [
        path
        for path in files
        if path not in rasters
        and path.resolve() not in named
        and not any(fnmatch(path.name.lower(), pattern) for pattern in _GEOID_NAMES)
        and not {path.with_suffix(""), path.with_suffix("").with_suffix("")} & beside
    ]
    return tuple(f"{path.name}: no raster of heights by its name" for path in strays)


def _choose_sources(options: Options, folder: Path) -> list[Source]:
    """Choose the user's raster, or tiles; nothing where a global model is asked for."""
    if _names_model(options.dem, folder):
        return []
    if options.dem == "auto":
        place, sources = folder, _list_rasters(folder, options.geoid)
    elif named := _find(options.dem, folder, Path.is_dir):
        place, sources = named, _list_rasters(named, options.geoid)
        if not sources:
            msg = f"DEM={options.dem}: the folder {place} holds no raster of heights"
            raise ProvisionError(msg, hint="put tiles there, or set DEM to a file")
    else:
        path = require_file(options.dem, folder, "DEM")
        return [find_source(path) or Source(path, None)]
    if len(sources) > 1 and not all(source.corner for source in sources):
        names = ", ".join(source.path.name for source in sources)
        msg = f"several DEMs in {place}: {names}"
        raise ProvisionError(msg, hint="set DEM to the one to use")
    return sources


def _find_own_dem(options: Options, folder: Path, sources: Sequence[Source], box: BBox | None) -> Dem:
    """Find the user's raster, or tiles put together; what its heights are measured from, and the user's geoid."""
    if not sources:
        msg = f"DEM={options.dem} names a global model, and nothing is downloaded here"
        hint = f"download it from opentopography.org, put it in {folder} and set DEM=auto"
        if options.dem == "auto":
            msg = f"no DEM in {folder}"
            hint = "put one raster there (GeoTIFF, VRT, HGT, ISCE ...), or set DEM to its path"
        raise ProvisionError(msg, hint=hint)
    datum = VerticalDatum(options.dem_datum) if options.dem_datum != "auto" else None
    first = sources[0]
    if box is not None and (len(sources) > 1 or first.is_tile):
        path, datum = merge_tiles(sources, folder, box, datum)
    else:
        path = unpack_raster(first, folder) if first.is_packed else first.path
        datum = datum or read_datum(path) or (first.datum if first.is_packed else None)
    if datum is None:
        msg = f"the DEM {path} does not say what its heights are measured from"
        hint = "set DEM_DATUM: ellipsoid for WGS84 heights, egm96 for SRTM and NASADEM, egm2008 for Copernicus"
        raise ProvisionError(msg, hint=hint)
    return Dem(path=path, datum=datum, geoid=require_file(options.geoid, folder, "GEOID") if options.geoid else None)


def _names_model(choice: str, folder: Path) -> bool:
    return choice.upper() in MODELS and not (folder / choice).exists()


def _list_rasters(folder: Path, geoid: str) -> list[Source]:
    """List the rasters in a folder that may be DEMs, packed ones too; files of macOS begin with a dot."""
    files = sorted(path for path in folder.glob("[!.]*") if path.is_file())
    # an ISCE or ENVI raster comes with a .vrt of its own
    files = [path for path in files if not (path.suffix == ".vrt" and path.with_suffix("") in files)]
    own = _find(geoid, folder) if geoid else None
    return [
        source
        for path in files
        if (source := find_source(path)) is not None
        and path.resolve() != own
        and not any(fnmatch(path.name.lower(), pattern) for pattern in _GEOID_NAMES)
    ]


def require_file(text: str, folder: Path, key: str) -> Path:
    """Find the file that a setting names.

    Parameters
    ----------
    text : str
        Value of the setting.
    folder : Path
        Where relative paths start; else where the program was started.
    key : str
        Name of the setting.
    """
    if path := _find(text, folder):
        return path
    msg = f"{key}={text}: no such file, neither in {folder} nor from {Path.cwd()}"
    raise ProvisionError(msg, hint=f"fix {key}, or put the file in {folder}")


def _find(text: str, folder: Path, is_right: Callable[[Path], bool] = Path.is_file) -> Path | None:
    path = Path(text).expanduser()
    return next((candidate.resolve() for candidate in (folder / path, path) if is_right(candidate)), None)
