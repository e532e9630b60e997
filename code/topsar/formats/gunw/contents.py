"""Whether the layers and cubes of a GUNW file can be true, and agree with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import h5netcdf
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from topsar.formats.gunw.reading import Violation, as_text, find, parse_polygon, read, read_number, read_outline
from topsar.formats.gunw.standard import (
    CUBES,
    DATA,
    FOOTPRINT,
    GEOMETRY,
    HEIGHTS_M,
    LAYERS,
    NUMBERS,
    POLYGON,
    RADAR,
    STEPS_PER_DEGREE,
)
from topsar.model import SPEED_OF_LIGHT

_STRIP = 512
"""Rows that are read together."""
_ODD_SHARE = 1e-3
"""Pixels at edges where layers may disagree, for each was warped by itself."""
_JUMP_SHARE = 0.02
"""Neighbours in one component whose phase may differ by more than half a cycle, as on steep gradients."""
_OUTSIDE_SHARE = 0.01
_MOST_SAMPLES = 250_000
_PLAUSIBLE = {
    "wavelength": (0.0554, 0.0556),
    "azimuthTimeInterval": (0.002, 0.0022),
    "slantRangeSpacing": (2.2, 2.4),
    "slantRangeStart": (7e5, 1.1e6),
    "slantRangeEnd": (7e5, 1.1e6),
    "ESDthreshold": (-1, 1),
}
_PLAUSIBLE_CUBES = {
    "perpendicularBaseline": (-1e4, 1e4),
    "parallelBaseline": (-1e4, 1e4),
    "incidenceAngle": (20, 60),
    "lookAngle": (15, 55),
    "azimuthAngle": (-180, 180),
}
_RADIUS_M, _ORBIT_RADIUS_M = 6.371e6, (7.0e6, 7.14e6)
_SLANT_SHARE = 0.05
_BASELINES_APART = 1.0, 0.05
"""How far perpendicularBaseline may be from what parallelBaseline says: metres, and a share."""
_IMPOSSIBLE = {
    "coherence": "lie outside 0 to 1",
    "unfilteredCoherence": "lie outside 0 to 1",
    "amplitude": "are negative",
    "connectedComponents": "are neither -1, 0 nor the whole number of a component",
}
"""What is said of a value that a layer cannot have."""


# --- layers -----------------------------------------------------------------------------------------------------


def check_axes(nc: h5netcdf.File) -> Iterator[Violation]:
    """The pixels must be those of the standard: 1200 or 3600 per degree, evenly spaced, north up."""
    for name, sign in (("latitude", -1), ("longitude", 1)):
        values, path = read(nc, f"{DATA}/{name}"), f"{DATA}/{name}"
        steps = np.diff(values) * sign
        per_degree = 1 / steps.mean() if steps.size else 0
        if not steps.size or not np.isclose(per_degree, list(STEPS_PER_DEGREE.values()), rtol=1e-4).any():
            yield Violation(path, f"has {per_degree:.6g} pixels per degree; the standard has 1200, or 3600")
        elif np.ptp(steps) > 1e-3 * steps.mean():
            yield Violation(path, "is not evenly spaced")
        if np.abs(values).max() > (90 if name == "latitude" else 180):
            yield Violation(path, "lies beyond the Earth")


def check_layers(nc: h5netcdf.File) -> Iterator[Violation]:
    """Every layer must hold possible values, and a pixel with phase must have all other layers."""
    data, counts = find(nc, DATA), Counter[str]()
    rows = data["unwrappedPhase"].shape[0]
    for first in range(0, rows, _STRIP):
        part = slice(first, min(first + _STRIP + 1, rows))  # one row is seen twice: for jumps across the seam
        _count_odd({name: np.asarray(data[name][part]) for name in LAYERS}, counts)
    yield from _tell_odd(counts)


def _tell_odd(counts: Counter[str]) -> Iterator[Violation]:
    for name in LAYERS:
        if number := counts[f"not finite {name}"]:
            yield Violation(f"{DATA}/{name}", f"{number} values are no numbers; holes are the fill value")
    for name, what in _IMPOSSIBLE.items():
        if counts[name]:
            yield Violation(f"{DATA}/{name}", f"{counts[name]} values {what}")
    phase, seen = f"{DATA}/unwrappedPhase", max(counts["seen"], 1)
    if not counts["seen"]:
        yield Violation(phase, "holds nothing")
    for name in _IMPOSSIBLE:
        if counts[f"no {name}"] > _ODD_SHARE * seen:
            yield Violation(phase, f"{counts[f'no {name}']} of {seen} pixels with phase have no {name}")
    if counts["no phase"] > _ODD_SHARE * seen:
        yield Violation(phase, f"{counts['no phase']} pixels of components have no phase")
    if counts["jumps"] > _JUMP_SHARE * max(counts["neighbours"], 1):
        share = counts["jumps"] / counts["neighbours"]
        yield Violation(phase, f"{share:.0%} of neighbours in one component differ by more than half a cycle")


def _count_odd(layers: dict[str, NDArray[Any]], counts: Counter[str]) -> None:
    for name, values in layers.items():
        counts[f"not finite {name}"] += int(np.count_nonzero(~np.isfinite(values)))
    phase, component = layers["unwrappedPhase"], layers["connectedComponents"]
    seen = phase != LAYERS["unwrappedPhase"].fill
    counts["seen"] += int(np.count_nonzero(seen))
    for name in ("coherence", "unfilteredCoherence"):
        counts[name] += int(np.count_nonzero((layers[name] < 0) | (layers[name] > 1 + 1e-6)))
    counts["amplitude"] += int(np.count_nonzero(layers["amplitude"] < 0))
    counts["connectedComponents"] += int(np.count_nonzero((component < -1) | (component != np.round(component))))
    for name in _IMPOSSIBLE:
        counts[f"no {name}"] += int(np.count_nonzero(seen & (layers[name] == LAYERS[name].fill)))
    counts["no phase"] += int(np.count_nonzero(~seen & (component > 0)))
    for axis in (0, 1):
        ahead, behind = ([slice(None)] * axis + [cut] for cut in (slice(1, None), slice(None, -1)))
        one, other = tuple(ahead), tuple(behind)
        together = seen[one] & seen[other] & (component[one] == component[other]) & (component[one] > 0)
        counts["neighbours"] += int(np.count_nonzero(together))
        counts["jumps"] += int(np.count_nonzero(together & (np.abs(phase[one] - phase[other]) > np.pi)))


# --- geometry ---------------------------------------------------------------------------------------------------


def check_cube_axes(nc: h5netcdf.File) -> Iterator[Violation]:
    """The cubes must have the heights of the standard and cover the layers."""
    heights = read(nc, f"{GEOMETRY}/heightsMeta")
    if heights.tolist() != list(HEIGHTS_M):
        yield Violation(f"{GEOMETRY}/heightsMeta", f"is {heights.tolist()}, not {list(HEIGHTS_M)}")
    for name, sign in (("latitude", -1), ("longitude", 1)):
        path = f"{GEOMETRY}/{name}Meta"
        values, pixels = read(nc, path), read(nc, f"{DATA}/{name}")
        if values.size < 2 or (np.diff(values) * sign <= 0).any():
            yield Violation(path, "does not rise" if sign > 0 else "does not fall")
        elif pixels.size and (values.min() > pixels.min() or values.max() < pixels.max()):
            yield Violation(path, "does not reach as far as the layers: a client cannot interpolate")


def check_cubes(nc: h5netcdf.File) -> Iterator[Violation]:
    """Angles and baselines must be possible, and follow from each other."""
    cubes = {name: read(nc, f"{GEOMETRY}/{name}").astype(float) for name in CUBES}
    for name, (low, high) in _PLAUSIBLE_CUBES.items():
        if not np.isfinite(cubes[name]).all():
            yield Violation(f"{GEOMETRY}/{name}", "holds values that are no numbers")
        elif cubes[name].min() < low or cubes[name].max() > high:
            found = f"{cubes[name].min():.6g} to {cubes[name].max():.6g}"
            yield Violation(f"{GEOMETRY}/{name}", f"is {found}; {low:g} to {high:g} is possible")
    if cubes["lookAngle"].shape[0] > 1:
        yield from _compare_cubes(nc, cubes)


def _compare_cubes(nc: h5netcdf.File, cubes: Mapping[str, NDArray[np.float64]]) -> Iterator[Violation]:
    look, incidence = np.radians(cubes["lookAngle"]), np.radians(cubes["incidenceAngle"])
    radius = (_RADIUS_M + read(nc, f"{GEOMETRY}/heightsMeta"))[:, None, None] * np.sin(incidence) / np.sin(look)
    if not _ORBIT_RADIUS_M[0] < radius.mean() < _ORBIT_RADIUS_M[1]:
        what = f"and lookAngle put the satellite {radius.mean() / 1000:.0f} km from the centre of the Earth"
        yield Violation(f"{GEOMETRY}/incidenceAngle", what)
    # the view turns with height by the look angle, and the baseline along it changes by that across it
    along, across = cubes["parallelBaseline"], cubes["perpendicularBaseline"]
    slope = np.diff(along, axis=0) / np.where(np.diff(look, axis=0) == 0, np.nan, np.diff(look, axis=0))
    apart = float(np.nanmedian(np.abs(slope + (across[1:] + across[:-1]) / 2)))
    if not apart < _BASELINES_APART[0] + _BASELINES_APART[1] * np.median(np.abs(across)):
        what = f"does not follow from parallelBaseline: they are {apart:.3g} m apart (sign, or scale)"
        yield Violation(f"{GEOMETRY}/perpendicularBaseline", what)


def check_numbers(nc: h5netcdf.File) -> Iterator[Violation]:
    """The numbers of the radar must be those of Sentinel-1 in mode IW."""
    numbers = {name: read_number(nc, f"{RADAR}/{name}") for name in NUMBERS}
    for name, (low, high) in _PLAUSIBLE.items():
        if not low <= numbers[name] <= high:
            yield Violation(f"{RADAR}/{name}", f"is {numbers[name]:.9g}; {low:g} to {high:g} is possible")
    if not np.isclose(numbers["centerFrequency"] * numbers["wavelength"], SPEED_OF_LIGHT, rtol=1e-5):
        yield Violation(f"{RADAR}/centerFrequency", "is not the speed of light over the wavelength")
    if numbers["slantRangeStart"] >= numbers["slantRangeEnd"]:
        yield Violation(f"{RADAR}/slantRangeStart", "is no less than slantRangeEnd")


def check_slant_ranges(nc: h5netcdf.File) -> Iterator[Violation]:
    """The slant ranges must hold what the angles say along the outline, on a sphere: to a few per cent."""
    outline = read_outline(nc)
    if outline is None:
        return
    lat, lon = (read(nc, f"{GEOMETRY}/{name}Meta") for name in ("latitude", "longitude"))
    corners = shapely.get_coordinates(outline)[:, ::-1]
    corners = np.clip(corners, (lat.min(), lon.min()), (lat.max(), lon.max()))
    level = HEIGHTS_M.index(0.0)
    cubes = (read(nc, f"{GEOMETRY}/{name}")[level] for name in ("lookAngle", "incidenceAngle"))
    look, incidence = (np.radians(RegularGridInterpolator((-lat, lon), cube)(corners * (-1, 1))) for cube in cubes)
    slant = _RADIUS_M * np.sin(incidence - look) / np.sin(look)
    start, end = (read_number(nc, f"{RADAR}/slantRange{one}") for one in ("Start", "End"))
    if slant.min() < (1 - _SLANT_SHARE) * start or slant.max() > (1 + _SLANT_SHARE) * end:
        found = f"{slant.min() / 1000:.0f} to {slant.max() / 1000:.0f} km"
        yield Violation(f"{RADAR}/slantRangeStart", f"to slantRangeEnd do not hold the {found} that the angles say")


# --- outlines ---------------------------------------------------------------------------------------------------


def check_outlines(nc: h5netcdf.File) -> Iterator[Violation]:
    """Both polygons must be valid and hold the pixels with phase."""
    geometry, outline = parse_polygon(as_text(nc.attrs[FOOTPRINT])), read_outline(nc)
    for where, found in ((f"attribute {FOOTPRINT}", geometry), (POLYGON, outline)):
        if found is None:
            yield Violation(where, "is not the WKT of a valid polygon in degrees")
    if outline is None or geometry is None:
        return
    if not outline.intersects(geometry):
        yield Violation(POLYGON, "and product_geometry_wkt do not touch each other")
    lat, lon = read(nc, f"{DATA}/latitude"), read(nc, f"{DATA}/longitude")
    step = max(int(np.sqrt(lat.size * lon.size / _MOST_SAMPLES)), 1)
    row, column = np.nonzero(np.asarray(find(nc, f"{DATA}/unwrappedPhase")[::step, ::step]))
    if row.size:
        margin = outline.buffer(5 * abs(lat[0] - lat[-1]) / lat.size)
        outside = ~shapely.contains_xy(margin, lon[::step][column], lat[::step][row])
        if outside.mean() > _OUTSIDE_SHARE:
            yield Violation(POLYGON, f"{outside.mean():.0%} of the pixels with phase lie outside of it")
