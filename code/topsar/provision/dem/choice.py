"""The DEM of a batch: the user's own raster, or one of a global model."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import NotFetchedError, ProvisionError
from topsar.model import Dem, VerticalDatum
from topsar.provision.dem.geoid import GRID_NAME, find_egm2008, provide_egm2008
from topsar.provision.dem.kept import ModelRequest, find_global_dem, provide_global_dem
from topsar.provision.dem.models import MODELS, REFUSED
from topsar.raster import declared_datum

if TYPE_CHECKING:
    from topsar.model import BBox
    from topsar.provision.endpoints import Services
    from topsar.provision.web.client import Fetcher
    from topsar.settings import Options

SUFFIXES = {".tif", ".tiff", ".vrt", ".dem", ".wgs84", ".hgt", ".img"}
GLOBAL_MODELS = frozenset({*MODELS, *REFUSED})
"""Names that OpenTopography gives its global models."""

GEOIDS = "geoid"
"""Folder in ``data/dem`` for grids that are fetched."""

_GEOID_NAMES = ("us_nga_egm*", "egm96_15*", "egm2008*")
"""Customary names of geoid grids, which are not DEMs."""


def find_dem(options: Options, folder: Path, box: BBox | None = None, api_key: str = "") -> Dem:
    """Find the DEM that the settings name, or the only raster in ``data/dem``; nothing is fetched.

    Parameters
    ----------
    options : Options
        ``dem``, ``dem_datum`` and ``geoid``.
    folder : Path
        ``data/dem``.
    box : BBox, optional
        What a global model must cover, degrees; without it only the user's own raster is found.
    api_key : str
        Of OpenTopography, or empty.

    Raises
    ------
    NotFetchedError
        If a run would have to fetch a global model or its geoid.
    ProvisionError
        If there is no DEM, more than one, or it is not known what its heights are measured from.
    """
    problem: ProvisionError
    if box is not None and is_global(options, folder):
        dem = _add_own_geoid(find_global_dem(_request_model(options, folder, box, api_key)), options, folder)
        msg = f"the EGM2008 geoid grid {folder / GEOIDS / GRID_NAME} has not been fetched yet"
        problem = NotFetchedError(msg, hint="a run fetches it; or set GEOID to a grid of yours", retryable=True)
    else:
        dem = _find_own_dem(options, folder)
        msg = f"the DEM {dem.path} has EGM2008 heights, and GEOID is not set"
        hint = "set GEOID to a raster of EGM2008 undulations in metres, or take a DEM with other heights"
        problem = ProvisionError(msg, hint=hint)
    if not _lacks_geoid(dem):
        return dem
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
    return _names_model(options.dem, folder) or (options.dem == "auto" and not _list_rasters(folder, options.geoid))


def provide_dem(
    options: Options, folder: Path, box: BBox | None, *, fetcher: Fetcher, services: Services, api_key: str = ""
) -> Dem:
    """Find the DEM as `find_dem` does, and fetch the global model and the geoid that are missing.

    Parameters
    ----------
    options : Options
        ``dem``, ``dem_datum`` and ``geoid``.
    folder : Path
        ``data/dem``; what is fetched is kept in ``provisioned`` and ``geoid`` under it.
    box : BBox or None
        What a global model must cover, degrees; it may reach beyond the 180th meridian.
    fetcher : Fetcher
    services : Services
    api_key : str
        Of OpenTopography, or empty.

    Returns
    -------
    Dem
        Ready for `topsar.raster.open_dem`.

    Raises
    ------
    ProvisionError
        As `find_dem`; or if what is needed does not exist or cannot be had.
    """
    if box is not None and is_global(options, folder):
        request = _request_model(options, folder, box, api_key)
        dem = _add_own_geoid(provide_global_dem(request, fetcher, services), options, folder)
    else:
        dem = _find_own_dem(options, folder)
    if _lacks_geoid(dem):
        return replace(dem, geoid=provide_egm2008(folder / GEOIDS, fetcher=fetcher, base_url=services.egm2008))
    return dem


def _request_model(options: Options, folder: Path, box: BBox, api_key: str) -> ModelRequest:
    return ModelRequest(choice=options.dem, box=box, folder=folder, api_key=api_key, datum=options.dem_datum)


def _add_own_geoid(dem: Dem, options: Options, folder: Path) -> Dem:
    """Give a global model the geoid that the user names, if its heights need one."""
    if not options.geoid or dem.datum is VerticalDatum.ELLIPSOID:
        return dem
    return replace(dem, geoid=require_file(options.geoid, folder, "GEOID"))


def _lacks_geoid(dem: Dem) -> bool:
    return dem.datum is VerticalDatum.EGM2008 and dem.geoid is None


def _find_own_dem(options: Options, folder: Path) -> Dem:
    """Find the user's raster, what its heights are measured from, and the user's geoid."""
    if options.dem == "auto":
        path = _choose_only_raster(folder, options.geoid)
    elif _names_model(options.dem, folder):
        msg = f"DEM={options.dem} names a global model, and nothing is downloaded here"
        raise ProvisionError(msg, hint=f"download it from opentopography.org, put it in {folder} and set DEM=auto")
    else:
        path = require_file(options.dem, folder, "DEM")
    datum = VerticalDatum(options.dem_datum) if options.dem_datum != "auto" else declared_datum(path)
    if datum is None:
        msg = f"the DEM {path} does not say what its heights are measured from"
        hint = "set DEM_DATUM: ellipsoid for WGS84 heights, egm96 for SRTM and NASADEM, egm2008 for Copernicus"
        raise ProvisionError(msg, hint=hint)
    return Dem(path=path, datum=datum, geoid=require_file(options.geoid, folder, "GEOID") if options.geoid else None)


def _names_model(choice: str, folder: Path) -> bool:
    return choice.upper() in GLOBAL_MODELS and not (folder / choice).exists()


def _list_rasters(folder: Path, geoid: str) -> list[Path]:
    """List the rasters in a folder that may be DEMs."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    # an ISCE or ENVI raster comes with a .vrt of its own
    found = [path for path in found if not (path.suffix == ".vrt" and path.with_suffix("") in found)]
    own = _find_file(geoid, folder) if geoid else None
    return [
        path
        for path in found
        if path.resolve() != own and not any(fnmatch(path.name.lower(), pattern) for pattern in _GEOID_NAMES)
    ]


def _choose_only_raster(folder: Path, geoid: str) -> Path:
    rasters = _list_rasters(folder, geoid)
    if len(rasters) == 1:
        return rasters[0]
    if not rasters:
        msg = f"no DEM in {folder}"
        raise ProvisionError(msg, hint="put one raster there (GeoTIFF, VRT, HGT, ISCE ...), or set DEM to its path")
    names = ", ".join(path.name for path in rasters)
    msg = f"several DEMs in {folder}: {names}"
    raise ProvisionError(msg, hint="set DEM to the one to use")


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

    Raises
    ------
    ProvisionError
        If there is no such file.
    """
    if path := _find_file(text, folder):
        return path
    msg = f"{key}={text}: no such file, neither in {folder} nor from {Path.cwd()}"
    raise ProvisionError(msg, hint=f"fix {key}, or put the file in {folder}")


def _find_file(text: str, folder: Path) -> Path | None:
    path = Path(text).expanduser()
    return next((candidate.resolve() for candidate in (folder / path, path) if candidate.is_file()), None)
