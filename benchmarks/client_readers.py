"""Clients that read or check the files of pairs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from client_place import GDAL, Broken, Made, Missing, Place, call, describe_clone, find_version

from topsar.engines.ground import LONLAT, change_crs, find_lonlat_box
from topsar.files import read_json
from topsar.formats.stac import EXTENSIONS
from topsar.raster import compute_pixel_centres, read_geotiff


def run_gdal(place: Place) -> Made:
    """Ask for the phase where the ground moved most, by longitude and latitude, in the files of every format."""
    if shutil.which("gdallocationinfo") is None:
        msg = f"GDAL is missing: {GDAL}"
        raise Missing(msg)
    for name in ("netcdf", "hyp3", "licsbas", "gunw"):
        place.export_once(name)
    log, worst = place.work("gdal") / "log", 0.0
    for pair, spot in find_peaks(place):
        for name, (file, layer, sign) in _list_phases(place, pair).items():
            said = call(["gdallocationinfo", "-valonly", "-wgs84", file, str(spot.lon), str(spot.lat)], log)
            worst = max(worst, abs(float(said.split()[-1]) - sign * spot.values[layer]))
            if worst > SAME_RAD:
                msg = f"{name} of {pair} says {said.split()[-1]} at {spot}"
                raise Broken(msg)
    version = subprocess.check_output(["gdalinfo", "--version"], text=True).split(",")[0]
    return Made(version, "gdallocationinfo -wgs84", f"phase within {worst:.3f} rad of the layer, its sign included")


def run_xarray(place: Place) -> Made:
    """Open the netCDF files with xarray and the GeoTIFFs with rioxarray; the same question."""
    programs = place.install("xarray", "xarray", "rioxarray", "h5netcdf", "netCDF4", "pyproj")
    log, worst = place.work("xarray") / "log", 0.0
    place.export_once("netcdf")
    stack = next(place.export_once("netcdf_stack").rglob("*.nc"))
    for pair, spot in find_peaks(place):
        files = {
            str(place.folder / "runs" / pair / "products" / "unwrapped_phase.tif"): "",
            str(place.folder / "export" / "netcdf" / pair / f"{pair}.nc"): "unwrapped_phase",
            str(stack): f"unwrapped_phase@{pair}",
        }
        for file, variable in files.items():
            argv = [str(programs / "python"), "-c", _ASK_XARRAY, file, variable, str(spot.lon), str(spot.lat)]
            worst = max(worst, abs(float(call(argv, log).split()[-1]) - spot.values["unwrapped_phase"]))
    if worst > _ROUNDING_RAD:
        msg = f"values differ by {worst} rad ({log})"
        raise Broken(msg)
    version = f"xarray {find_version(programs, 'xarray')}, rioxarray {find_version(programs, 'rioxarray')}"
    return Made(
        version, "open_dataset(decode_coords='all'), open_rasterio", f"phase within {worst:.0e} rad of the layer"
    )


_ASK_XARRAY = """
import sys, pyproj, rioxarray, xarray
file, variable, lon, lat = sys.argv[1:]
name, _, pair = variable.partition("@")
if name:
    data = xarray.open_dataset(file, decode_coords="all")
    layer = data[name]
    if pair:
        layer = layer[list(data["pair_name"].values).index(pair)]
else:
    layer = rioxarray.open_rasterio(file)[0]
x, y = pyproj.Transformer.from_crs(4326, layer.rio.crs, always_xy=True).transform(float(lon), float(lat))
print(float(layer.sel(x=x, y=y, method="nearest")))
"""
SAME_RAD = 0.3
"""Between a pixel and what is warped to another grid."""
_ROUNDING_RAD = 1e-5


class Spot(NamedTuple):
    """A pixel of known position, and what the layers say there."""

    lon: float
    lat: float
    values: Mapping[str, float]


def find_peaks(place: Place) -> Iterator[tuple[str, Spot]]:
    """Where each pair's phase is farthest from its median, among reliable pixels."""
    for folder in sorted((place.folder / "runs").glob("T*/products")):
        names = ("unwrapped_phase", "filtered_unwrapped_phase", "coherence", "components")
        layers = {name: read_geotiff(folder / f"{name}.tif") for name in names}
        phase, grid, _ = layers["filtered_unwrapped_phase"]
        reliable = (layers["components"][0] == 1) & (layers["coherence"][0] > _RELIABLE) & np.isfinite(phase)
        away = np.where(reliable, np.abs(phase - np.median(phase[reliable])), 0)
        row, column = np.unravel_index(away.argmax(), away.shape)
        lon, lat = change_crs(grid.crs, LONLAT, *(axis[row, column] for axis in compute_pixel_centres(grid)))
        yield (
            folder.parent.name,
            Spot(float(lon), float(lat), {name: float(one[0][row, column]) for name, one in layers.items()}),
        )


_RELIABLE = 0.6


def _list_phases(place: Place, pair: str) -> dict[str, tuple[str, str, int]]:
    """File of each format as GDAL names it, the layer that its phase is, and the sign it has there."""
    days = "_".join(time[:8] for time in pair.split("_")[1:])
    exports = place.folder / "export"
    gunw = next((exports / "gunw" / pair).glob("*.nc"))
    return {
        "geotiff": (str(place.folder / "runs" / pair / "products" / "unwrapped_phase.tif"), "unwrapped_phase", 1),
        "netcdf": (f"NETCDF:{exports / 'netcdf' / pair / pair}.nc:unwrapped_phase", "unwrapped_phase", 1),
        "hyp3": (str(next((exports / "hyp3" / pair).rglob("*_unw_phase.tif"))), "filtered_unwrapped_phase", 1),
        "licsbas": (str(next((exports / "licsbas").glob(f"*/GEOC/{days}/*.unw.tif"))), "unwrapped_phase", 1),
        "gunw": (f"NETCDF:{gunw}:/science/grids/data/unwrappedPhase", "filtered_unwrapped_phase", -1),
    }


def run_cogeo(place: Place) -> Made:
    """Validate the GeoTIFFs as cloud-optimised ones."""
    programs = place.install("cogeo", "rio-cogeo", "setuptools<70")
    log, folder = place.work("cogeo") / "log", place.export_once("stac")
    files = [*(place.folder / "runs").glob("T*/products/*.tif"), *folder.rglob("*.tif")]
    said = call([str(programs / "python"), "-c", _ASK_COGEO, *map(str, files)], log).splitlines()[-1]
    if said != "none":
        msg = f"no valid cloud-optimised GeoTIFFs: {said} ({log})"
        raise Broken(msg)
    return Made(
        f"rio-cogeo {find_version(programs, 'rio-cogeo')}",
        "cog_validate(strict=True)",
        f"{len(files)} files are valid",
    )


_ASK_COGEO = """
import sys
from rio_cogeo import cog_validate
print(*[file for file in sys.argv[1:] if not cog_validate(file, strict=True)[0]] or ["none"])
"""


def run_stac(place: Place) -> Made:
    """Validate a catalogue against the schemas of the core and of its extensions, which must be there as clones."""
    programs = place.install("stac", "pystac[validation]")
    source, folder = place.source("stac"), place.work("stac")
    for extension in EXTENSIONS.values():
        name, _, version = extension.partition("/")
        argv = ("git", "-C", str(source / name), "show", f"{version}:json-schema/schema.json")
        target = folder / "schemas" / extension / "schema.json"
        target.parent.mkdir(parents=True)
        target.write_text(subprocess.check_output(argv, text=True))
    collection = next(place.export_once("stac").rglob("collection.json"))
    argv = (str(programs / "python"), "-c", _ASK_PYSTAC, str(collection), str(folder / "schemas"))
    said = call(argv, folder / "log").splitlines()[-1]
    return Made(f"pystac {find_version(programs, 'pystac')}", "validate", said)


_ASK_PYSTAC = """
import json, pathlib, sys, pystac
from pystac.validation import stac_validator, validate
collection, folder = pystac.Collection.from_file(sys.argv[1]), pathlib.Path(sys.argv[2])
validator = stac_validator.JsonSchemaSTACValidator()
for path in folder.rglob("schema.json"):
    address = "https://stac-extensions.github.io/" + path.relative_to(folder).as_posix()
    validator.schema_cache[address] = json.loads(path.read_text())
objects = [collection, *collection.get_items(recursive=True)]
held = {schema for one in objects for schema in validate(one, validator=validator)}
names = sorted(schema.split("/")[3] for schema in held if "stac-extensions" in schema)
print(f"{len(objects)} objects are valid, core and {', '.join(names)}")
"""


def run_compliance(place: Place) -> Made:
    """Check the netCDF files of pairs and tracks against CF-1.11."""
    programs = place.install("compliance", "compliance-checker", "setuptools<70")
    log = place.work("compliance") / "log"
    files = [file for name in ("netcdf", "netcdf_stack") for file in place.export_once(name).rglob("*.nc")]
    call([str(programs / "compliance-checker"), "--test", "cf:1.11", "--criteria", "strict", *map(str, files)], log)
    version = f"compliance-checker {find_version(programs, 'compliance-checker')}"
    return Made(version, "--test cf:1.11 --criteria strict", f"{len(files)} files comply")


def run_raider(place: Place) -> Made:
    """Read GUNW files as RAiDER does before it fetches orbits and weather."""
    source = place.source("raider")
    programs = place.install("raider", *_RAIDER, clone=source)
    log = place.work("raider") / "log"
    files = sorted(place.export_once("gunw").glob("*/*.nc"))
    for file in files:
        facts = read_json(place.folder / "runs" / file.parent.name / "products" / "facts.json")
        said = json.loads(
            call([str(programs / "python"), "-c", _ASK_RAIDER, str(file)], log, folder=log.parent).splitlines()[-1]
        )
        grid = find_lonlat_box(read_geotiff(place.folder / "runs" / file.parent.name / "products" / "coherence.tif")[1])
        expected = [int(facts[key].replace("-", "")) for key in ("secondary_date", "reference_date")]
        south, north, west, east = said["box"]
        inside = grid.south <= south < north <= grid.north and grid.west <= west < east <= grid.east
        if said["dates"] != expected or said["look"] != "right" or not inside:
            msg = f"{file.name}: {said}"
            raise Broken(msg)
    return Made(
        f"RAiDER {describe_clone(source)}",
        "aria.prepFromGUNW.GUNW",
        f"dates, box and side of {len(files)} files; no weather",
    )


_RAIDER = (
    "numpy<2", "asf_search", "boto3", "cdsapi", "cython", "dask", "ecmwf-api-client", "geopandas", "h5netcdf", "h5py",
    "herbie-data", "lxml", "matplotlib", "netCDF4", "pandas", "progressbar2", "pybind11", "pydap", "pyproj", "pyyaml",
    "rasterio", "requests", "rich", "rioxarray", "s1-orbits", "scipy", "setuptools<70", "setuptools_scm<9", "shapely",
    "tqdm", "wheel", "xarray",
)  # fmt: skip
_ASK_RAIDER = """
import json, pathlib, sys
from RAiDER.aria.prepFromGUNW import GUNW
one = object.__new__(GUNW)  # its own start fetches orbits
one.path_gunw = pathlib.Path(sys.argv[1])
dates, time = one.get_datetimes()
print(json.dumps({"box": one.get_bbox(), "dates": dates, "time": time, "look": one.get_look_dir(),
                  "wavelength": one.get_wavelength(), "name": one.make_fname(), "heights": one.getHeights()}))
"""
