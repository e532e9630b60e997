"""Clients that make a velocity of a track."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from client_place import Broken, Made, Missing, Place, call, describe_clone, find_version, list_topsar, only_folder
from client_truth import compare_velocity, find_peak

from topsar.model import SPEED_OF_LIGHT
from topsar.simulate.mode import RADAR_FREQUENCY_HZ

_AROUND_DEG = 0.03


def run_mintpy(place: Place) -> Made:
    """Load HyP3's products, invert, and fit a velocity."""
    track = only_folder(place.export("mintpy"))
    return _run_mintpy(place, track / "mintpy")


def run_mintpy_scenes(place: Place) -> Made:
    """Do the same with the folders of pairs, named as GAMMA's jobs name scenes."""
    folder = place.work("mintpy_scenes")
    template = (only_folder(place.export_once("mintpy")) / "mintpy" / "smallbaselineApp.cfg").read_text()
    products = place.export("hyp3_gamma")
    (folder / "smallbaselineApp.cfg").write_text(template.replace("../hyp3/*/", f"{products}/*/*/"))
    return _run_mintpy(place, folder)


def run_aria(place: Place) -> Made:
    """Set a time series up with ARIA-tools, and give it to MintPy."""
    track, version = prepare_aria(place)
    made = _run_mintpy(place, track / "mintpy_aria")
    command = f"ariaTSsetup.py -f 'gunw/*/*.nc' -d dem.tif; {made.command}"
    return Made(f"{version}, {made.version}", command, made.result, made.agreement)


def prepare_aria(place: Place) -> tuple[Path, str]:
    """Set a time series up with ARIA-tools: the folder of the track, with MintPy's template, and the version."""
    source = place.source("aria")
    programs = place.install(
        "aria", "numpy<2", "asf_search", "dask", "dem_stitcher", "h5py", "joblib", "matplotlib", "netCDF4", "pandas",
        "pyproj", "rasterio", "rioxarray", "requests", "scipy", "shapely", "tile_mate", "xarray", "setuptools<70",
    )  # fmt: skip
    if shutil.which("parallel") is None:
        msg = "GNU parallel is missing: apt install parallel"
        raise Missing(msg)
    files, track = place.export("gunw"), only_folder(place.export("mintpy"))
    log, dem = track / "aria.log", track / "dem.tif"
    call(
        ["gdalwarp", "-q", "-t_srs", "EPSG:4326", "-ot", "Float32", str(place.folder / "dem" / "dem.tif"), str(dem)],
        log,
    )
    setting_up = [str(source / "tools" / "bin" / "ariaTSsetup.py"), "-f", f"{files}/*/*.nc", "-w", ".", "-d", str(dem)]
    environment = {
        "PATH": f"{programs}:{source / 'tools' / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(source / "tools"),
    }
    call([str(programs / "python"), *setting_up, "-croptounion"], log, folder=track, environment=environment)
    return track, f"ARIA-tools {describe_clone(source)}"


def run_radar(place: Place) -> Made:
    """Coregister the dates in radar geometry, load the tree as topsStack's, fit a velocity, and geocode it."""
    if place.engine != "native":
        msg = "only the native engine makes stacks in radar geometry"
        raise Missing(msg)
    call(list_topsar("stack", place.folder, "--interferograms", "2"), place.folder / "stack.log")
    tree = only_folder(place.folder / "runs" / "radar_stack")
    folder = tree / "mintpy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "smallbaselineApp.cfg").write_text(_RADAR)
    return _run_mintpy(place, folder, made="geo/geo_")


_RADAR = """mintpy.load.processor = isce
mintpy.load.autoPath = yes
mintpy.troposphericDelay.method = no
"""


def _run_mintpy(place: Place, folder: Path, *, made: str = "") -> Made:
    programs = place.install("mintpy", "mintpy", "numpy<2")
    app, log = str(programs / "smallbaselineApp.py"), folder / "log"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    command = "smallbaselineApp.py smallbaselineApp.cfg"
    try:
        call([app, "smallbaselineApp.cfg"], log, folder=folder, environment=environment)
    except Broken:
        if "plot_num_triplet_with_nonzero_integer_ambiguity" not in log.read_text():
            raise
        command += ", which stops in quick_overview; --start correct_unwrap_error"
        call(
            [app, "smallbaselineApp.cfg", "--start", "correct_unwrap_error"],
            log,
            folder=folder,
            environment=environment,
        )
    for name in ("velocity", "maskTempCoh"):
        argv = [str(programs / "save_gdal.py"), f"{made}{name}.h5", "-o", f"{name}.tif"]
        call(argv, log, folder=folder, environment=environment)
    agreement = compare_velocity(folder / "velocity.tif", place.folder / "truth", mask=folder / "maskTempCoh.tif")
    return Made(f"MintPy {find_version(programs, 'mintpy')}", command, "velocity", agreement)


def run_licsbas(place: Place) -> Made:
    """Prepare, check, close loops, invert, and fit a velocity."""
    source = place.source("licsbas")
    programs = place.install(
        "licsbas", "numpy<2", "astropy", "beautifulsoup4", "bottleneck", "cmcrameri", "colorcet", "h5py", "matplotlib",
        "netCDF4", "networkx", "psutil", "python-dateutil", "requests", "rioxarray", "scipy", "shapely", "statsmodels",
        "utm", "xarray",
    )  # fmt: skip
    track = only_folder(place.export("licsbas"))
    environment = {
        "PATH": f"{programs}:{source / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(source / "LiCSBAS_lib"),
        "LICSBAS_PATH": str(source),
    }
    steps: tuple[tuple[str, ...], ...] = (
        ("LiCSBAS02_ml_prep.py", "-i", "GEOC"),
        ("LiCSBAS11_check_unw.py", "-d", "GEOCml1"),
        ("LiCSBAS12_loop_closure.py", "-d", "GEOCml1"),
        ("LiCSBAS13_sb_inv.py", "-d", "GEOCml1", "--n_unw_r_thre", "0.5"),
        ("LiCSBAS14_vel_std.py", "-t", "TS_GEOCml1"),
        ("LiCSBAS_flt2geotiff.py", "-i", "TS_GEOCml1/results/vel", "-p", "GEOCml1/EQA.dem_par", "-o", "vel.tif"),
    )
    for program, *more in steps:
        argv = [str(programs / "python"), str(source / "bin" / program), *more]
        call(argv, track / "log", folder=track, environment=environment)
    agreement = compare_velocity(track / "vel.tif", place.folder / "truth", unit=1e-3)
    return Made(
        f"LiCSBAS {describe_clone(source)}", "steps 02, 11, 12, 13 (--n_unw_r_thre 0.5), 14", "velocity", agreement
    )


def run_dolphin(place: Place) -> Made:
    """Link the phases of the geocoded SLCs, unwrap, and fit a velocity, over the source."""
    programs = place.install("dolphin", "dolphin", "numpy<2", "jax<0.5", "snaphu", "setuptools<70")
    files = sorted(str(file) for file in (place.folder / "runs" / "slc_stack").glob("*/2*.tif"))
    if not files:
        msg = "takes geocoded SLCs, which only the native engine makes (SLC_STACK=1)"
        raise Missing(msg)
    lon, lat = find_peak(place.folder / "truth")
    box = [str(value) for value in (lon - _AROUND_DEG, lat - _AROUND_DEG, lon + _AROUND_DEG, lat + _AROUND_DEG)]
    folder = place.work("dolphin")
    app, log = str(programs / "dolphin"), folder / "log"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    config = (
        app, "config", "--slc-files", *files, "--input-options.wavelength", str(SPEED_OF_LIGHT / RADAR_FREQUENCY_HZ),
        "--sx", "8", "--sy", "4",
        "--output-options.bounds", *box, "--output-options.bounds-epsg", "4326",
    )  # fmt: skip
    call(config, log, folder=folder, environment=environment)
    call([app, "run", "dolphin_config.yaml"], log, folder=folder, environment=environment)
    agreement = compare_velocity(folder / "timeseries" / "velocity.tif", place.folder / "truth")
    return Made(f"Dolphin {find_version(programs, 'dolphin')}", "dolphin config; dolphin run", "velocity", agreement)
