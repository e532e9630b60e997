"""Clients on a pair as large as ARIA's frames: the grid that they make of its files, and what they say of one pixel."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from client_place import Broken, Made, Place, call, find_version, only_folder
from client_readers import SAME_RAD, Spot, find_peaks
from client_series import prepare_aria
from formats import make_products

from topsar.engines.ground import LONLAT, change_crs
from topsar.interferogram import PRODUCTS, read_pair

_PAIR = "T052_20230904T063730_20230916T063730"


def make_frame(folder: Path) -> None:
    """Put made-up products, and their heights as a DEM, where the results of a run would be."""
    made = make_products(folder / "frame_pair")
    for link, target in ((folder / "runs" / _PAIR / PRODUCTS, made), (folder / "dem" / "dem.tif", made / "height.tif")):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def load_hyp3(place: Place) -> Made:
    """Let MintPy load HyP3's products: the whole grid, and the unwrapped phase of a pixel to the last bit."""
    return _load(place, only_folder(place.export_once("mintpy")) / "mintpy", "unwrapped_phase", 0.0)


def load_aria(place: Place) -> Made:
    """Set a stack up with ARIA-tools, and let MintPy load it: the phase of the same pixel, warped, turned twice."""
    track, version = prepare_aria(place)
    made = _load(place, track / "mintpy_aria", "filtered_unwrapped_phase", SAME_RAD)
    return Made(f"{version}, {made.version}", f"ariaTSsetup.py; {made.command}", made.result)


def _load(place: Place, folder: Path, layer: str, tolerance: float) -> Made:
    programs = place.install("mintpy", "mintpy", "numpy<2")
    app, log = str(programs / "smallbaselineApp.py"), folder / "log"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    call([app, "smallbaselineApp.cfg", "--dostep", "load_data"], log, folder=folder, environment=environment)
    ((pair, spot),) = find_peaks(place)
    said = json.loads(
        call([str(programs / "python"), "-c", _ASK_MINTPY, *_place(place, pair, spot)], log, folder=folder)
    )
    off = abs(said["phase"] - spot.values[layer])
    if not off <= tolerance:
        msg = f"MintPy has {said['phase']} rad at {spot} ({log})"
        raise Broken(msg)
    grid = read_pair(place.folder / "runs" / pair / PRODUCTS).grid
    if not said["warped"] and (said["rows"], said["columns"]) != grid.shape:
        msg = f"MintPy has {said['rows']} by {said['columns']} pixels of {grid.shape}"
        raise Broken(msg)
    size = f"{said['rows']} × {said['columns']} pixels"
    return Made(
        f"MintPy {find_version(programs, 'mintpy')}",
        "smallbaselineApp.py --dostep load_data",
        f"{size}, phase within {off:.1g} rad of the layer, its sign included",
    )


def _place(place: Place, pair: str, spot: Spot) -> tuple[str, ...]:
    """Where a pixel is, in both coordinate systems that MintPy may have."""
    crs = read_pair(place.folder / "runs" / pair / PRODUCTS).grid.crs
    x, y = change_crs(LONLAT, crs, np.array([spot.lon]), np.array([spot.lat]))
    return tuple(str(float(value)) for value in (spot.lon, spot.lat, x[0], y[0]))


_ASK_MINTPY = """
import json, sys, h5py
lon, lat, x, y = map(float, sys.argv[1:])
with h5py.File("inputs/ifgramStack.h5") as file:
    known = dict(file.attrs)
    if known["Y_UNIT"].startswith("deg"):
        x, y = lon, lat
    row = int((y - float(known["Y_FIRST"])) / float(known["Y_STEP"]))
    column = int((x - float(known["X_FIRST"])) / float(known["X_STEP"]))
    phase = file["unwrapPhase"][0, row, column]
print(json.dumps({"phase": float(phase), "rows": int(known["LENGTH"]), "columns": int(known["WIDTH"]),
                  "warped": known["Y_UNIT"].startswith("deg")}))
"""
