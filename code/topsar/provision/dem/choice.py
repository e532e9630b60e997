"""The DEM of a batch: the user's own raster, or one of a global model."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import NotFetchedError, ProvisionError
from topsar.model import Dem, VerticalDatum
from topsar.provision.dem.geoid import GRID_NAME, find_egm2008, provide_egm2008
from topsar.provision.dem.kept import find_global_dem
from topsar.provision.dem.models import MODELS
from topsar.raster import read_datum

if TYPE_CHECKING:
    from topsar.model import BBox
    from topsar.provision.web.client import Web
    from topsar.settings import Options

SUFFIXES = {".tif", ".tiff", ".vrt", ".dem", ".wgs84", ".hgt", ".img"}
GEOIDS = "geoid"
"""Folder in ``data/dem`` for grids that are fetched."""

_GEOID_NAMES = ("us_nga_egm*", "egm96_15*", "egm2008*")
"""Customary names of geoid grids, which are not DEMs."""


def find_dem(
    options: Options, folder: Path, box: BBox | None = None, *, api_key: str = "", web: Web | None = None
) -> Dem:
    """Find the DEM that the settings name, the only raster in ``data/dem``, or a global model.

    Parameters
    ----------
    options : Options
        ``dem``, ``dem_datum`` and ``geoid``.
    folder : Path
        ``data/dem``; what is fetched is kept in ``provisioned`` and ``geoid`` under it.
    box : BBox, optional
        What a global model must cover, degrees; it may reach beyond the 180th meridian. Without it only the user's own
        raster is found.
    api_key : str
        Of OpenTopography, or empty.
    web : Web, optional
        Fetches the global model and the geoid that are missing; without it nothing is fetched.
    """
    problem: ProvisionError
    if box is not None and is_global(options, folder):
        dem = find_global_dem(options, folder, box, api_key, web)
        if options.geoid and dem.datum is not VerticalDatum.ELLIPSOID:
            dem = replace(dem, geoid=require_file(options.geoid, folder, "GEOID"))
        msg = f"the EGM2008 geoid grid {folder / GEOIDS / GRID_NAME} has not been fetched yet"
        problem = NotFetchedError(msg, hint="a run fetches it; or set GEOID to a grid of yours", retryable=True)
    else:
        dem = _find_own_dem(options, folder)
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
    return _names_model(options.dem, folder) or (options.dem == "auto" and not _list_rasters(folder, options.geoid))


def _find_own_dem(options: Options, folder: Path) -> Dem:
    """Find the user's raster, what its heights are measured from, and the user's geoid."""
    if options.dem == "auto":
        path = _choose_only_raster(folder, options.geoid)
    elif _names_model(options.dem, folder):
        msg = f"DEM={options.dem} names a global model, and nothing is downloaded here"
        raise ProvisionError(msg, hint=f"download it from opentopography.org, put it in {folder} and set DEM=auto")
    else:
        path = require_file(options.dem, folder, "DEM")
    datum = VerticalDatum(options.dem_datum) if options.dem_datum != "auto" else read_datum(path)
    if datum is None:
        msg = f"the DEM {path} does not say what its heights are measured from"
        hint = "set DEM_DATUM: ellipsoid for WGS84 heights, egm96 for SRTM and NASADEM, egm2008 for Copernicus"
        raise ProvisionError(msg, hint=hint)
    return Dem(path=path, datum=datum, geoid=require_file(options.geoid, folder, "GEOID") if options.geoid else None)


def _names_model(choice: str, folder: Path) -> bool:
    return choice.upper() in MODELS and not (folder / choice).exists()


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
    """
    if path := _find_file(text, folder):
        return path
    msg = f"{key}={text}: no such file, neither in {folder} nor from {Path.cwd()}"
    raise ProvisionError(msg, hint=f"fix {key}, or put the file in {folder}")


def _find_file(text: str, folder: Path) -> Path | None:
    path = Path(text).expanduser()
    return next((candidate.resolve() for candidate in (folder / path, path) if candidate.is_file()), None)
