"""The steps up to the geometry: startup, preprocess, computeBaselines, verifyDEM, topo."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .annotation import find_sources, read_slice
from .faults import fail_download
from .frame import Burst, Frame, seconds_between
from .geometry import Array, find_box, fit_orbit, fit_scene
from .images import HEIGHT, LATITUDE, LONGITUDE, SIGHT, SLC, TYPES, View
from .markup import read_tree
from .output import log, say
from .run import Run

INTERVAL = 2.7585
"""Seconds from burst to burst of a swath."""


def startup(_run: Run) -> None:
    say(None)
    say("The currently supported sensors are: ", ["SENTINEL1"])


def _crop(frame: Frame, box: list[float]) -> Frame:
    """The bursts that meet a box (south, north, west, east)."""
    say("Number of Bursts before cropping: ", len(frame.bursts))
    kept = []
    for burst in frame.bursts:
        south, north, west, east = find_box([Frame((burst,), {})])
        if south < box[1] and north > box[0] and west < box[3] and east > box[2]:
            kept.append(burst)
    say("Number of Bursts after cropping: ", len(kept))
    return Frame(tuple(kept), frame.common)


def _stitch(slices: list[tuple[Frame, str]]) -> tuple[Frame, list[str]]:
    """The bursts of several slices in the order of time, none twice; the TIFF of each."""
    if not slices:
        message = "There is no imagery to extract. Check region of interest and inputs."
        raise RuntimeError(message)
    say(f"Stitching {len(slices)} slices together")
    versions = {frame.common["processingsoftwareversion"] for frame, _ in slices}
    if len(versions) != 1:
        message = f"Trying to combine SLC products from different IPF versions {'+'.join(sorted(versions))}\n"
        raise RuntimeError(message)
    ordered = sorted(slices, key=lambda item: item[0].bursts[0].start)
    bursts: list[Burst] = []
    tiffs: list[str] = []
    for frame, tiff in ordered:
        for burst in frame.bursts:
            gap = seconds_between(burst.start, bursts[-1].start) / INTERVAL if bursts else 1.0
            if gap > 1.5:
                message = "There appears to be a gap between slices. Cannot stitch them successfully."
                raise RuntimeError(message)
            if gap > 0.5:
                bursts.append(burst)
                tiffs.append(tiff)
    return Frame(tuple(bursts), ordered[0][0].common), tiffs


def _read_swath(sensor: dict[str, Any], swath: int, box: list[float]) -> tuple[Frame, list[str]]:
    sources = find_sources(sensor["safe"], swath, sensor["polarization"])
    if any(Path(source.tiff).is_file() and not Path(source.tiff).stat().st_size for source in sources):
        message = "'NoneType' object has no attribute 'RasterXSize'"
        raise RuntimeError(message)
    slices = []
    for source in sources:
        frame = read_slice(source, sensor["orbitfile"], sensor["orbitdirectory"])
        slices.append((_crop(frame, box) if box else frame, source.tiff))
    if len(slices) > 1:
        return _stitch([item for item in slices if item[0].bursts])
    frame, tiff = slices[0]
    if not frame.bursts:
        message = "NODATA: No bursts to extract"
        raise RuntimeError(message)
    return frame, [tiff] * len(frame.bursts)


def _extract(run: Run, sensor: dict[str, Any], swath: int) -> None:
    frame, tiffs = _read_swath(sensor, swath, run.settings["regionofinterest"])
    folder = Path(sensor["outputdirectory"], f"IW{swath}")
    bursts = []
    for index, (burst, tiff) in enumerate(zip(frame.bursts, tiffs, strict=True)):
        path, shape = folder / f"burst_{index + 1:02d}.slc", (burst.lines, burst.samples)
        number = int(burst.tree["burstnumber"])
        say(f"Updating burst number from {number} to {index + 1}")
        name = tiff if tiff.startswith("/vsizip") else os.path.relpath(tiff, folder)
        view = View(name, (number - 1) * burst.lines + burst.valid[0], burst.valid[0], burst.valid[1], shape)
        run.write_virtual(path, shape, SLC, [view])
        whole = read_tree(path.with_name(f"{path.name}.xml"))
        image = {name: whole[name] for name in whole if name not in ("ISCE_VERSION", "extra_file_name")}
        bursts.append(Burst({**burst.tree, "burstnumber": index + 1, "image": image}))
    run.write_frame(Frame(tuple(bursts), frame.common), folder.with_name(f"{folder.name}.xml"))


def preprocess(run: Run) -> None:
    """Read both dates; a swath that cannot be read is told of, and nothing else."""
    state, settings = run.state, run.settings
    state.values["numberofswaths"] = 3
    for swath in run.wanted_swaths():
        for date in ("reference", "secondary"):
            sensor = settings[date]
            try:
                _extract(run, sensor, swath)
            except Exception as problem:  # noqa: BLE001
                say(f"Could not extract swath {swath} from {sensor['safe']}")
                say("Generated error: ", problem)
    state.values["referenceslcproduct"] = settings["reference"]["outputdirectory"]
    state.values["secondaryslcproduct"] = settings["secondary"]["outputdirectory"]


def _locate_middle(burst: Burst) -> tuple[Array, Array]:
    """Where a satellite is at the middle of a burst, and how fast it goes."""
    return fit_orbit(burst).at(seconds_between(burst.stop, burst.start) / 2)


def _find_shift(reference: Frame, secondary: Frame) -> int:
    """By how many bursts the secondary is shifted: whose satellite was nearest to that of one middle burst."""
    if len(secondary.bursts) < len(reference.bursts):
        return -_find_shift(secondary, reference)
    places = np.stack([_locate_middle(burst)[0] for burst in secondary.bursts])
    count = len(reference.bursts)
    for part in (0.5, 0.25, 0.75, 0.0, 1.0):
        index = min(int(count * part), count - 1)
        burst = reference.bursts[index]
        position, velocity = _locate_middle(burst)
        speed = np.linalg.norm(velocity)
        apart = np.abs((places - position) @ velocity) / speed
        if apart.min() < 0.2 * speed * burst.interval * burst.lines:
            return int(apart.argmin()) - index
    message = "Could not determine a suitable burst offset"
    raise RuntimeError(message)


def _match_swath(run: Run, swath: int) -> tuple[int, int, int]:
    """First common burst of both dates, and the number of common ones."""
    reference, secondary = (
        run.frame(run.state.values[f"{date}slcproduct"], swath) for date in ("reference", "secondary")
    )
    shift = _find_shift(reference, secondary)
    say("Estimated burst offset: ", shift)
    first, end = max(0, -shift), min(len(reference.bursts), len(secondary.bursts) - shift)
    if end <= first:
        say(f"No common bursts found for swath {swath}")
        return -1, -1, 0
    return first, first + shift, end - first


def compute_baselines(run: Run) -> None:
    values, count = run.state.values, int(run.state.values["numberofswaths"])
    found = [(-1, -1, 0)] * count
    for swath in run.wanted_swaths():
        folders = [values[f"{date}slcproduct"] for date in ("reference", "secondary")]
        if all(Path(folder, f"IW{swath}.xml").exists() for folder in folders):
            found[swath - 1] = _match_swath(run, swath)
        else:
            say(f"Skipping processing for swath number IW-{swath}")
    values["commonburststartreferenceindex"] = [item[0] for item in found]
    values["commonburststartsecondaryindex"] = [item[1] for item in found]
    values["numberofcommonbursts"] = [item[2] for item in found]
    if not any(number >= 2 for number in values["numberofcommonbursts"]):
        say("No swaths contain any burst overlaps ... cannot continue for interferometry applications")
    if run.options.numpy2:
        shown = ", ".join(f"np.int64({n})" if n >= 0 else str(n) for n in values["commonburststartsecondaryindex"])
        values["commonburststartsecondaryindex"] = f"[{shown}]"


def find_dem(name: str) -> str:
    """The DEM to use: it must have headers and be above WGS84; without one the real one would reach for the network."""
    if name in ("", "None"):
        fail_download()
    tree = read_tree(f"{name}.xml")
    if tree["reference"].upper() != "WGS84":
        message = f"Unknown reference system for DEM: {tree['reference']}"
        raise RuntimeError(message)
    return name


def verify_dem(run: Run) -> None:
    find_dem(run.settings["demfilename"])


def sample_dem(name: str, lat: Array, lon: Array) -> Array:
    """Heights of the nearest posts; -500 m where there are none."""

    tree = read_tree(f"{name}.xml")
    x, y = tree["coordinate1"], tree["coordinate2"]
    width, length = int(tree["width"]), int(tree["length"])
    data = np.memmap(name, TYPES[tree["data_type"].lower()][0], "r", shape=(length, width))
    column = np.rint((lon - float(x["startingvalue"])) / float(x["delta"])).astype(int)
    row = np.rint((lat - float(y["startingvalue"])) / float(y["delta"])).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < length)
    found = data[np.clip(row, 0, length - 1), np.clip(column, 0, width - 1)]
    return np.where(inside, found, -500.0)


def _write_geometry(run: Run, swath: int, index: int, burst: Burst, dem: str) -> list[float]:
    """Write one burst's latitudes, longitudes, heights and lines of sight; its bounding box."""
    scene, shape = fit_scene([Frame((burst,), {})]), (burst.lines, burst.samples)
    folder = run.folder("geometry", f"IW{swath}")

    def look(lines: Array) -> Array:
        return np.moveaxis(scene.look(lines[:, None], np.arange(burst.samples)[None, :]), -1, 0)

    def height(lines: Array) -> Array:
        return sample_dem(dem, *look(lines)[:2])

    kinds = {"lat": LATITUDE, "lon": LONGITUDE, "hgt": HEIGHT, "los": SIGHT}
    parts: dict[str, Callable[[Array], Array]] = {
        "lat": lambda lines: look(lines)[0],
        "lon": lambda lines: look(lines)[1],
        "hgt": height,
        "los": lambda lines: look(lines)[2:],
    }
    for name, part in parts.items():
        run.write_sparse(folder / f"{name}_{index + 1:02d}.rdr", shape, kinds[name], part)
    return list(scene.box())


def topo(run: Run) -> None:
    swaths, dem = run.swaths(), find_dem(run.settings["demfilename"])
    boxes = np.array([_write_geometry(run, n, *found, dem) for n in swaths for found in run.common(n)])
    south, west = boxes[:, 0].min(), boxes[:, 2].min()
    log("topsinsar.topo", "INFO", f"The bursts begin at {south} north, {west} east, on {dem}")
