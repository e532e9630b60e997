"""The DEM of a batch."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import ProvisionError
from topsar.model import Dem, VerticalDatum
from topsar.provision.dem.geoid import fetched_egm2008, provide_egm2008
from topsar.provision.dem.kept import MARGIN_DEG, provide_global_dem
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
"""Customary names of geoid grids, which are no DEMs."""


def find_dem(options: Options, folder: Path) -> Dem:
    """The DEM that the settings name, or the only raster in ``data/dem``; nothing is fetched.

    Parameters
    ----------
    options : Options
        ``dem``, ``dem_datum`` and ``geoid``.
    folder : Path
        ``data/dem``.

    Raises
    ------
    ProvisionError
        If there is none, more than one, its heights are measured from nobody knows what, or from a geoid that is
        not at hand.
    """
    path = _only_raster(folder, options.geoid) if options.dem == "auto" else _named(options.dem, folder)
    dem = _described(path, folder, options.dem_datum, options.geoid)
    if dem.datum is VerticalDatum.EGM2008 and dem.geoid is None:
        if grid := fetched_egm2008(folder / GEOIDS):
            return replace(dem, geoid=grid)
        msg = f"the DEM {path} has EGM2008 heights, and GEOID is not set"
        raise ProvisionError(
            msg, hint="set GEOID to a raster of EGM2008 undulations in metres, or take a DEM with other heights"
        )
    return dem


def is_global(choice: str, folder: Path, geoid: str = "") -> bool:
    """Whether ``DEM`` asks for a global model, because it names one or because the user put no raster there.

    ``geoid`` is ``GEOID``: that file is not among the rasters.
    """
    if choice == "auto":
        return not _rasters(folder, geoid)
    return choice.upper() in GLOBAL_MODELS and not (folder / choice).exists()


def provide_dem(
    choice: str,
    box: BBox,
    folder: Path,
    *,
    fetcher: Fetcher,
    services: Services,
    api_key: str = "",
    datum: str = "auto",
    geoid: str = "",
    margin_deg: float = MARGIN_DEG,
    fetch: bool = True,
) -> Dem:
    """The user's own DEM, or one of a global model around a box, with the geoid that its heights need.

    Parameters
    ----------
    choice : str
        ``DEM``: a raster, ``auto`` (the only raster in ``folder``, else a global model), or the name of a model.
    box : BBox
        The region of interest or the bursts' footprints, degrees; one that lies across the 180th meridian goes on
        beyond it.
    folder : Path
        ``data/dem``; what is fetched is kept in ``provisioned`` and ``geoid`` under it.
    fetcher, services
        How and where to ask.
    api_key : str
        Of OpenTopography, or empty.
    datum, geoid : str
        ``DEM_DATUM`` and ``GEOID``.
    margin_deg : float
        Added around the box where a model is fetched.
    fetch : bool
        Otherwise only what lies there is taken.

    Returns
    -------
    Dem
        Ready for `topsar.raster.open_dem`.

    Raises
    ------
    ProvisionError
        As `find_dem`; or if what is needed does not exist or cannot be had.
    """
    if is_global(choice, folder, geoid):
        dem = provide_global_dem(
            choice,
            box,
            folder,
            fetcher=fetcher,
            services=services,
            api_key=api_key,
            datum=datum,
            margin_deg=margin_deg,
            fetch=fetch,
        )
        if geoid and dem.datum is not VerticalDatum.ELLIPSOID:
            dem = replace(dem, geoid=existing_file(geoid, folder, "GEOID"))
    else:
        path = _only_raster(folder, geoid) if choice == "auto" else _named(choice, folder)
        dem = _described(path, folder, datum, geoid)
    if dem.datum is VerticalDatum.EGM2008 and dem.geoid is None:
        grid = provide_egm2008(folder / GEOIDS, fetcher=fetcher, base_url=services.egm2008, fetch=fetch)
        return replace(dem, geoid=grid)
    return dem


def _described(path: Path, folder: Path, datum: str, geoid: str) -> Dem:
    """A raster, what its heights are measured from, and the user's geoid."""
    found = VerticalDatum(datum) if datum != "auto" else declared_datum(path)
    if found is None:
        msg = f"the DEM {path} does not say what its heights are measured from"
        raise ProvisionError(
            msg,
            hint="set DEM_DATUM: ellipsoid for WGS84 heights, egm96 for SRTM and NASADEM, egm2008 for Copernicus",
        )
    return Dem(path=path, datum=found, geoid=existing_file(geoid, folder, "GEOID") if geoid else None)


def _rasters(folder: Path, geoid: str) -> list[Path]:
    """Rasters in a folder that may be DEMs."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    # an ISCE or ENVI raster comes with a .vrt of its own
    found = [path for path in found if not (path.suffix == ".vrt" and path.with_suffix("") in found)]
    return [path for path in found if not _is_geoid(path, folder, geoid)]


def _is_geoid(path: Path, folder: Path, geoid: str) -> bool:
    if any(fnmatch(path.name.lower(), pattern) for pattern in _GEOID_NAMES):
        return True
    return bool(geoid) and (named := _found(geoid, folder)) is not None and path.resolve() == named


def _only_raster(folder: Path, geoid: str) -> Path:
    rasters = _rasters(folder, geoid)
    if len(rasters) == 1:
        return rasters[0]
    if not rasters:
        msg = f"no DEM in {folder}"
        raise ProvisionError(msg, hint="put one raster there (GeoTIFF, VRT, HGT, ISCE ...), or set DEM to its path")
    names = ", ".join(path.name for path in rasters)
    msg = f"several DEMs in {folder}: {names}"
    raise ProvisionError(msg, hint="set DEM to the one to use")


def _named(text: str, folder: Path) -> Path:
    if text.upper() in GLOBAL_MODELS and not (folder / text).exists():
        msg = f"DEM={text} names a global model, and nothing is downloaded here"
        raise ProvisionError(msg, hint=f"download it from opentopography.org, put it in {folder} and set DEM=auto")
    return existing_file(text, folder, "DEM")


def existing_file(text: str, folder: Path, key: str) -> Path:
    """The file that a setting names; relative paths start in ``folder``, or else where the program was started.

    Raises
    ------
    ProvisionError
        If there is none.
    """
    if path := _found(text, folder):
        return path
    msg = f"{key}={text}: no such file, neither in {folder} nor from {Path.cwd()}"
    raise ProvisionError(msg, hint=f"mend {key}, or put the file in {folder}")


def _found(text: str, folder: Path) -> Path | None:
    path = Path(text).expanduser()
    return next((candidate.resolve() for candidate in (folder / path, path) if candidate.is_file()), None)
