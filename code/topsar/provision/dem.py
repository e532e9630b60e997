"""The DEM of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import ProvisionError
from topsar.model import Dem, VerticalDatum
from topsar.raster import declared_datum

if TYPE_CHECKING:
    from topsar.settings import Options

SUFFIXES = {".tif", ".tiff", ".vrt", ".dem", ".wgs84", ".hgt", ".img"}
GLOBAL_MODELS = {
    "SRTMGL1", "SRTMGL1_E", "SRTMGL3", "NASADEM", "COP30", "COP90", "AW3D30", "AW3D30_E", "EU_DTM",
}  # fmt: skip
"""Names that OpenTopography gives its global models."""


def find_dem(options: Options, folder: Path) -> Dem:
    """The DEM that the settings name, or the only raster in ``data/dem``.

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
    path = _only_raster(folder) if options.dem == "auto" else _named(options.dem, folder)
    datum = VerticalDatum(options.dem_datum) if options.dem_datum != "auto" else declared_datum(path)
    if datum is None:
        msg = f"the DEM {path} does not say what its heights are measured from"
        raise ProvisionError(
            msg,
            hint="set DEM_DATUM: ellipsoid for WGS84 heights, egm96 for SRTM and NASADEM, egm2008 for Copernicus",
        )
    geoid = _existing(options.geoid, folder, "GEOID") if options.geoid else None
    if datum is VerticalDatum.EGM2008 and geoid is None:
        msg = f"the DEM {path} has EGM2008 heights, and GEOID is not set"
        raise ProvisionError(
            msg, hint="set GEOID to a raster of EGM2008 undulations in metres, or take a DEM with other heights"
        )
    return Dem(path=path, datum=datum, geoid=geoid)


def _only_raster(folder: Path) -> Path:
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    # an ISCE or ENVI raster comes with a .vrt of its own
    rasters = [path for path in found if not (path.suffix == ".vrt" and path.with_suffix("") in found)]
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
        msg = f"DEM={text} names a global model, and this version does not download one"
        raise ProvisionError(msg, hint=f"download it from opentopography.org, put it in {folder} and set DEM=auto")
    return _existing(text, folder, "DEM")


def _existing(text: str, folder: Path, key: str) -> Path:
    path = Path(text).expanduser()
    for candidate in (folder / path, path):
        if candidate.is_file():
            return candidate.resolve()
    msg = f"{key}={text}: no such file, neither in {folder} nor from {Path.cwd()}"
    raise ProvisionError(msg, hint=f"mend {key}, or put the file in {folder}")
