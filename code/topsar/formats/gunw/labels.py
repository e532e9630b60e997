"""Whether name, granules, times and attributes of a GUNW file, and the record beside it, agree with each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np

from topsar.files import read_json
from topsar.formats.gunw.reading import Violation, as_text, find, is_layer, list_models, parse_polygon, read, read_texts
from topsar.formats.gunw.standard import (
    CROSSED_KEY,
    DATA,
    FOOTPRINT,
    GEOMETRY,
    GRIDS,
    IONOSPHERE,
    NO_FRAME,
    RADAR,
    SIDES,
    TIDES,
    is_standard,
    make_tag,
    name_place,
)

_NAME = re.compile(
    r"S1-GUNW(?P<custom>_CUSTOM)?-(?P<direction>[AD])-R-(?P<track>\d{3})-tops-(?P<reference>\d{8})_(?P<secondary>\d{8})"
    r"-(?P<time>\d{6})-(?P<place>\d{5}[EW]_\d{5}[NS])-PP-(?P<tag>[0-9a-f]{4})-v3_\d+_\d+"
)
_GRANULE = re.compile(
    r"(?P<name>(?P<mission>S1[A-D])_IW_SLC__1S[SD][VH]_(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})_(?P<orbit>\d{6})"
    r"_[0-9A-F]{6}_[0-9A-F]{4})(\.zip)?"
)
_FIRST_OF_TRACK_1 = {"S1A": (73,), "S1B": (27,), "S1C": (172, 99), "S1D": (42,)}
"""An absolute orbit on track 1, by satellite; S1C was moved once."""
_TRACKS = 175
_SECOND = timedelta(seconds=1)
_POLAR_DEG = 75
_COHERENCE_APART = 0.02


# --- dates, times, name -----------------------------------------------------------------------------------------


def _find_granules(nc: h5netcdf.File, side: str) -> list[re.Match[str]]:
    texts = read_texts(nc, f"{RADAR}/inputSLC/{side}/L1InputGranules")
    return [found for text in texts if (found := _GRANULE.fullmatch(text))]


def check_granules(nc: h5netcdf.File) -> Iterator[Violation]:
    """The inputs must be Sentinel-1 products, with orbits of a known kind."""
    for side in SIDES:
        path = f"{RADAR}/inputSLC/{side}/L1InputGranules"
        texts = read_texts(nc, path)
        for text in texts:
            if not _GRANULE.fullmatch(text):
                yield Violation(path, f"{text!r} is not the name of a Sentinel-1 IW SLC")
        if not texts:
            yield Violation(path, "names nothing")
        orbits = set(read_texts(nc, f"{RADAR}/inputSLC/{side}/orbitType"))
        if orbits - {"precise", "restituted"}:
            yield Violation(f"{RADAR}/inputSLC/{side}/orbitType", f"is {', '.join(sorted(orbits))}")
        listed = as_text(find(nc, GRIDS).attrs.get(f"{side}_scenes", ""))
        if {text.removesuffix(".zip") for text in texts} - set(re.findall(r"\w+", listed)):
            yield Violation(f"{GRIDS}, attribute {side}_scenes", "does not name the input granules")


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)


def _find_span(nc: h5netcdf.File, side: str) -> tuple[datetime, datetime] | None:
    granules = _find_granules(nc, side)
    if not granules:
        return None
    start, stop = ([_parse_time(one[end]) for one in granules] for end in ("start", "stop"))
    return min(start), max(stop)


def check_times(nc: h5netcdf.File) -> Iterator[Violation]:
    """The times must lie within the granules, and the reference must be the later date."""
    ends = {}
    for end in ("Start", "End"):
        path = f"{RADAR}/azimuthZeroDoppler{end}Time"
        (text, *_rest) = read_texts(nc, path) or [""]
        try:
            ends[end] = datetime.fromisoformat(text.strip().removesuffix("Z")).replace(tzinfo=timezone.utc)
        except ValueError:
            yield Violation(path, f"{text!r} is no time in ISO 8601")
    if len(ends) < 2:
        return
    start, stop = ends["Start"], ends["End"]
    if start >= stop:
        yield Violation(f"{RADAR}/azimuthZeroDopplerStartTime", "is no earlier than the end")
    span = _find_span(nc, "reference")
    if span and (start < span[0] - _SECOND or stop > span[1] + _SECOND):
        yield Violation(f"{RADAR}/azimuthZeroDopplerStartTime", "to EndTime are not within the reference granules")
    other = _find_span(nc, "secondary")
    if span and other and span[0] <= other[0]:
        yield Violation(f"{RADAR}/inputSLC", "the reference is not the later date: phase and baselines have its sign")


def check_name(nc: h5netcdf.File, name: str) -> Iterator[Violation]:
    """Every part of the name must say what the file says.

    Parameters
    ----------
    nc : h5netcdf.File
    name : str
        Of the file, without its suffix.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        yield Violation("name", f"{name} is not that of a GUNW product of version 3")
        return
    yield from _check_dates(nc, found)
    yield from _check_track(nc, found)
    ascends = np.abs(np.median(read(nc, f"{GEOMETRY}/azimuthAngle"))) > 90  # looking right, the satellite is west
    is_polar = np.abs(read(nc, f"{GEOMETRY}/latitudeMeta")).max() > _POLAR_DEG
    if not is_polar and ascends != (found["direction"] == "A"):
        yield Violation("name", f"{found['direction']} is not the direction that azimuthAngle says")
    geometry = parse_polygon(as_text(nc.attrs[FOOTPRINT]))
    if geometry is not None and name_place(*geometry.bounds[:2]) != found["place"]:
        yield Violation("name", f"{found['place']} is not the south-western corner of product_geometry_wkt")
    parameters = find(nc, GRIDS).attrs
    reference, secondary = ([one["name"] for one in _find_granules(nc, side)] for side in SIDES)
    tag = make_tag(reference, secondary, as_text(parameters.get(CROSSED_KEY, "")))
    if tag != found["tag"]:
        yield Violation("name", f"{found['tag']} is not the checksum of the granules, {tag}")
    should_be_custom = not is_standard(int(parameters.get("frame_id", NO_FRAME)), parameters)
    if should_be_custom and not found["custom"]:
        yield Violation("name", "CUSTOM is missing, and the parameters are not those of a standard product")
    elif found["custom"] and not should_be_custom:
        yield Violation("name", "CUSTOM stands in it, and the parameters are those of a standard product")


def _check_dates(nc: h5netcdf.File, found: re.Match[str]) -> Iterator[Violation]:
    for side in SIDES:
        span = _find_span(nc, side)
        if span and found[side] not in {f"{time:%Y%m%d}" for time in span}:
            yield Violation("name", f"{found[side]} is not the day of the {side} granules")
    span = _find_span(nc, "reference")
    if span and span[0].date() == span[1].date():
        low, high = (f"{time:%H%M%S}" for time in (span[0] - _SECOND, span[1] + _SECOND))
        if not low <= found["time"] <= high:
            yield Violation("name", f"{found['time']} is not within the reference granules")


def _check_track(nc: h5netcdf.File, found: re.Match[str]) -> Iterator[Violation]:
    for side in SIDES:
        for granule in _find_granules(nc, side):
            first = _FIRST_OF_TRACK_1[granule["mission"]]
            tracks = [(int(granule["orbit"]) - one) % _TRACKS + 1 for one in first]
            if not any((track - int(found["track"])) % _TRACKS in (0, 1, _TRACKS - 1) for track in tracks):
                yield Violation("name", f"{found['track']} is not the track of {granule[0]}, {tracks[-1]}")


# --- attributes against layers ----------------------------------------------------------------------------------


def check_corrections(nc: h5netcdf.File) -> Iterator[Violation]:
    """What the attributes say of corrections and frame must be so."""
    has_ionosphere = is_layer(find(nc, f"{IONOSPHERE}/ionosphere"))
    has_tides = find(nc, f"{TIDES}/solidEarth") is not None
    has_any = has_ionosphere | has_tides | bool(list_models(nc))
    version = as_text(nc.attrs.get("version", ""))
    if has_any and version != "1c":
        yield Violation("attribute version", f"is {version}, and a file with ionosphere, tides or troposphere is 1c")
    if version == "1c" and not has_any:
        yield Violation("attribute version", "is 1c, and there is neither ionosphere nor tides nor troposphere")
    grids = find(nc, GRIDS)
    for key, is_there in (("estimate_ionosphere_delay", has_ionosphere), ("compute_solid_earth_tide", has_tides)):
        if key in grids.attrs and bool(grids.attrs[key]) != is_there:
            said = "1, and there is no such layer" if not is_there else "0, and there is such a layer"
            yield Violation(f"{GRIDS}, attribute {key}", f"is {said}")
    frame, other = nc.attrs.get("aria_frame_id"), grids.attrs.get("frame_id")
    if frame is not None and other is not None and int(frame) != int(other):
        yield Violation("attribute aria_frame_id", f"is {int(frame)}, frame_id of science/grids is {int(other)}")
    if has_ionosphere:
        values = read(nc, f"{IONOSPHERE}/ionosphere")
        if not np.isfinite(values).all():
            yield Violation(f"{IONOSPHERE}/ionosphere", "holds values that are no numbers")


def check_statistics(nc: h5netcdf.File) -> Iterator[Violation]:
    """The means among the attributes must be those of the layers."""
    coherence = np.asarray(find(nc, f"{DATA}/unfilteredCoherence")[...])
    mean = float(coherence[coherence > 0].mean()) if (coherence > 0).any() else 0.0
    name = "mean_unfiltered_coherence_without_water_mask"
    if name in nc.attrs and abs(float(nc.attrs[name]) - mean) > _COHERENCE_APART:
        yield Violation(f"attribute {name}", f"is {float(nc.attrs[name]):.4f}, the layer's mean is {mean:.4f}")
    for key, cube in (
        ("mean_incidence_angle", "incidenceAngle"),
        ("mean_azimuth_angle", "azimuthAngle"),
        ("mean_perpendicular_baseline", "perpendicularBaseline"),
    ):
        values = read(nc, f"{GEOMETRY}/{cube}")
        margin = 1 + 0.1 * float(np.ptp(values))
        if key in nc.attrs and not values.min() - margin <= float(nc.attrs[key]) <= values.max() + margin:
            found = f"{values.min():.4g} to {values.max():.4g}"
            yield Violation(f"attribute {key}", f"is {float(nc.attrs[key]):.6g}, {cube} is {found}")


# --- beside the file --------------------------------------------------------------------------------------------


def check_record(path: Path) -> Iterator[Violation]:
    """The record beside a file, if there is one, must be that file's."""
    beside = path.with_suffix(".json")
    found = _NAME.fullmatch(path.stem)
    if found is None or not beside.is_file():
        return
    record = read_json(beside)
    known: Mapping[str, Any] = record.get("metadata", {})
    expected = {
        "label": (record.get("label"), path.stem),
        "track_number": (known.get("track_number"), int(found["track"])),
        "orbit_direction": (str(known.get("orbit_direction"))[:1].upper(), found["direction"]),
        "beam_mode": (known.get("beam_mode"), "IW"),
        "look_direction": (known.get("look_direction"), "right"),
    }
    for key, (said, true) in expected.items():
        if said != true:
            yield Violation(f"{beside.name}, {key}", f"is {said!r}, not {true!r}")
    for key in ("sensing_start", "sensing_stop"):
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(known.get(key))):
            yield Violation(f"{beside.name}, {key}", f"{known.get(key)!r} is no time with microseconds and Z")
    if make_tag(list(known.get("reference_scenes", [])), list(known.get("secondary_scenes", []))) != found["tag"]:
        yield Violation(f"{beside.name}, reference_scenes", "and secondary_scenes are not those of the name")
    if parse_polygon(json.dumps(record.get("location"))) is None:
        yield Violation(f"{beside.name}, location", "is not a valid polygon in degrees")
