"""Sentinel-1 products and orbit files, read as the real one reads them."""

from __future__ import annotations

import fnmatch
import glob
import math
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from .frame import Burst, Frame, make_sequence, parse_time, seconds_between
from .markup import Tree
from .output import say

LIGHT = 299792458.0
SAFE_SPACE = "{http://www.esa.int/safe/sentinel-1.0}"
TRACKS = {"S1A": 73, "S1B": 27, "S1C": 172, "S1D": 42}


class Source(NamedTuple):
    """The files of one slice and swath: names as the real one prints them, and the texts."""

    xml: str
    tiff: str
    manifest: str
    annotation: bytes
    processor: bytes


def _find_source(path: str, swath: int, polarization: str) -> Source:
    is_zip = path.endswith(".zip")
    root = next(item for item in zipfile.Path(path).iterdir() if item.name.endswith("SAFE")) if is_zip else Path(path)
    found = []
    for folder, suffix, kind in (("annotation", "xml", "annotation xml"), ("measurement", "tiff", "tiff")):
        pattern = f"s1?-iw{swath}-slc-{polarization}*.{suffix}"
        names = [item for item in (root / folder).iterdir() if fnmatch.fnmatch(item.name, pattern)]
        if not names:
            message = f"No {kind} file found in {'zip file:' if is_zip else 'directory:'} {path}"
            raise RuntimeError(message)
        found.append(names[0])
    files = [*found, root / "manifest.safe"]
    xml, tiff, manifest = (f"/vsizip/{item}" if is_zip else str(item) for item in files)
    return Source(xml, tiff, manifest, files[0].read_bytes(), files[2].read_bytes())


def _require_text(root: ElementTree.Element, path: str) -> str:
    text = root.findtext(path)
    if text is None:
        message = f"Tag= {path} not found"
        raise RuntimeError(message)
    return text.strip()


def _read_processor(manifest: bytes) -> Tree:
    node = ElementTree.fromstring(manifest).find('.//metadataObject[@ID="processing"]')
    facility = node.find(f".//{SAFE_SPACE}facility") if node is not None else None
    software = facility.find(f"{SAFE_SPACE}software") if facility is not None else None
    if facility is None or software is None:
        say("Could not read version number successfully from manifest file: ")
        return {}
    say("Setting IPF version to : ", software.get("version"))
    return {
        "processingfacility": f"{facility.get('site')}, {facility.get('country')}",
        "processingsystem": software.get("name"),
        "processingsoftwareversion": software.get("version"),
    }


def _take_nearest(root: ElementTree.Element, path: str, polynomial: str, middle: datetime) -> Tree:
    """The polynomial in range whose time is nearest to a burst's middle."""
    items = root.findall(path)
    item = min(items, key=lambda i: abs(seconds_between(parse_time(_require_text(i, "azimuthTime")), middle)))
    coefficients = [float(word) for word in _require_text(item, polynomial).split()]
    return {
        "coeffs": coefficients, "mean": 0.5 * LIGHT * float(_require_text(item, "t0")), "norm": 0.5 * LIGHT,
        "order": len(coefficients) - 1, "family": "poly1d", "name": "poly1d_name", "length": 0, "width": 0,
    }  # fmt: skip


def _read_common(root: ElementTree.Element) -> Tree:
    """What all bursts of a swath share."""
    mission = _require_text(root, "adsHeader/missionId")
    track = int(_require_text(root, "adsHeader/absoluteOrbitNumber"))
    if mission not in TRACKS:
        message = f"Encountered unknown mission id {mission}"
        raise ValueError(message)
    info, image = "generalAnnotation/productInformation/", "imageAnnotation/imageInformation/"
    windows = "imageAnnotation/processingInformation/swathProcParamsList/swathProcParams/"
    downlink = "generalAnnotation/downlinkInformationList/downlinkInformation/"
    first_range = 0.5 * LIGHT * float(_require_text(root, image + "slantRangeTime"))
    first_orbit = 99 if mission == "S1C" and track > 8018 else TRACKS[mission]
    return {
        "family": "burstslc", "name": "burstslc_name", "framenumber": 1, "orbitnumber": track,
        "tracknumber": (track - first_orbit) % 175 + 1, "polarization": _require_text(root, "adsHeader/polarisation"),
        "swathnumber": _require_text(root, "adsHeader/swath")[-1],
        "numberoflines": _require_text(root, "swathTiming/linesPerBurst"),
        "numberofsamples": _require_text(root, "swathTiming/samplesPerBurst"),
        "startingrange": first_range,
        "rangepixelsize": 0.5 * LIGHT / float(_require_text(root, info + "rangeSamplingRate")),
        "radarwavelength": LIGHT / float(_require_text(root, info + "radarFrequency")),
        "azimuthsteeringrate": math.radians(float(_require_text(root, info + "azimuthSteeringRate"))),
        "azimuthtimeinterval": float(_require_text(root, image + "azimuthTimeInterval")),
        "pulserepetitionfrequency": float(_require_text(root, downlink + "prf")),
        "terrainheight": float(_require_text(root, "generalAnnotation/terrainHeightList/terrainHeight/value")),
        "rangewindowtype": _require_text(root, windows + "rangeProcessing/windowType"),
        "rangewindowcoefficient": float(_require_text(root, windows + "rangeProcessing/windowCoefficient")),
        "rangeprocessingbandwidth": float(_require_text(root, windows + "rangeProcessing/processingBandwidth")),
        "azimuthwindowtype": _require_text(root, windows + "azimuthProcessing/windowType"),
        "azimuthwindowcoefficient": float(_require_text(root, windows + "azimuthProcessing/windowCoefficient")),
        "azimuthprocessingbandwidth": float(_require_text(root, windows + "azimuthProcessing/processingBandwidth")),
    }  # fmt: skip


def _valid_box(burst: ElementTree.Element) -> Tree:
    """The box of valid samples: the lines between the first and last with any, and what both have."""
    first, last = ([int(word) for word in _require_text(burst, f"{k}ValidSample").split()] for k in ("first", "last"))
    lines = [number for number, value in enumerate(first) if value >= 0]
    top, bottom = lines[0], lines[-1]
    left, right = max(first[top], first[bottom]), min(last[top], last[bottom])
    return {
        "firstvalidline": top,
        "numberofvalidlines": bottom - top + 1,
        "firstvalidsample": left,
        "numberofvalidsamples": right - left,
    }


def _read_burst(root: ElementTree.Element, element: ElementTree.Element, common: Tree, number: int) -> Burst:
    start, sensed = (parse_time(_require_text(element, tag)) for tag in ("azimuthTime", "sensingTime"))
    duration = (int(common["numberoflines"]) - 1) * common["azimuthtimeinterval"]
    shot = (int(common["numberoflines"]) - 1) / common["pulserepetitionfrequency"]
    middle = start + timedelta(seconds=duration / 2)
    rates = "generalAnnotation/azimuthFmRateList/azimuthFmRate"
    return Burst({
        **common, **_valid_box(element), "burstnumber": number,
        "sensingstart": start, "sensingstop": start + timedelta(seconds=duration),
        "burststartutc": sensed, "burststoputc": sensed + timedelta(seconds=shot),
        "azimuthfmrate": _take_nearest(root, rates, "azimuthFmRatePolynomial", middle),
        "doppler": _take_nearest(root, "dopplerCentroid/dcEstimateList/dcEstimate", "dataDcPolynomial", middle),
    })  # fmt: skip


def find_orbit(folder: str, start: datetime, stop: datetime, mission: str) -> str:
    """The orbit file that spans the bursts and whose middle is nearest; precise ones first."""
    for kind in ("POEORB", "RESORB"):
        found: list[tuple[float, str]] = []
        for name in glob.glob(f"{folder}/{mission}_OPER_AUX_{kind}_OPOD*"):  # noqa: PTH207
            *_, begins, ends = name.split("_")
            first, last = (datetime.strptime(t, "%Y%m%dT%H%M%S") for t in (begins[1:16], ends[:15]))  # noqa: DTZ007
            if first <= start and last >= stop:
                found.append((abs(seconds_between(start + (stop - start) / 2, first + (last - first) / 2)), name))
        if found:
            return min(found)[1]
    message = "No suitable orbit file found. If you want to process anyway - unset the orbitdir parameter"
    raise RuntimeError(message)


def _make_vector(time: Any, position: list[float], velocity: list[float]) -> Tree:
    return {"family": "_family", "name": "_family_name", "time": time, "position": position, "velocity": velocity}


def _read_orbit_file(path: str, start: datetime, stop: datetime) -> list[Tree]:
    """State vectors of an orbit file, one minute beyond the bursts."""
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as problem:
        say(f"IOError: {problem}")
        message = "'NoneType' object is not iterable"
        raise RuntimeError(message) from None
    say("Extracting orbit from Orbit File: ", path)
    first, last = start - timedelta(seconds=60), stop + timedelta(seconds=60)
    vectors = []
    for item in root.iterfind("Data_Block/List_of_OSVs/OSV"):
        time = parse_time(_require_text(item, "UTC")[4:])
        if first <= time < last:
            values = [[float(_require_text(item, f"{k}{axis}")) for axis in "XYZ"] for k in ("", "V")]
            vectors.append(_make_vector(time, values[0], values[1]))
    return vectors


def _read_annotation_orbit(root: ElementTree.Element) -> list[Tree]:
    say("Extracting orbit from annotation XML file")
    vectors = []
    for item in root.iterfind("generalAnnotation/orbitList/orbit"):
        values = [[float(_require_text(item, f"{k}/{axis}")) for axis in "xyz"] for k in ("position", "velocity")]
        vectors.append(_make_vector(parse_time(_require_text(item, "time")), values[0], values[1]))
    return vectors


def _make_orbit(vectors: list[Tree], source: str, start: datetime, stop: datetime) -> Tree:
    times = [vector["time"] for vector in vectors] or [datetime.max, datetime.min]  # noqa: DTZ901
    if not times[0] <= start <= stop <= times[-1]:
        message = f"Time stamp ({start}) falls outside of the interpolation interval [{times[0]}:{times[-1]}]"
        raise RuntimeError(message)
    listed = make_sequence("StateVector", "statevector", vectors)
    return {
        "family": "orbit", "name": "orbit_name", "orbit_source": source, "state_vectors": listed,
        "min_time": times[0], "max_time": times[-1],
    }  # fmt: skip


def read_slice(source: Source, orbit_file: str | None, orbit_folder: str | None) -> Frame:
    """One slice of a swath, with its orbit."""
    root = ElementTree.fromstring(source.annotation)
    elements = root.findall("swathTiming/burstList/burst")
    processor, common = _read_processor(source.processor), _read_common(root)
    bursts = [_read_burst(root, element, common, number + 1) for number, element in enumerate(elements)]
    start, stop = bursts[0].tree["sensingstart"], bursts[-1].tree["sensingstop"]
    mission = _require_text(root, "adsHeader/missionId")
    if orbit_file is None and orbit_folder is not None:
        orbit_file = find_orbit(orbit_folder, start, stop, mission)
    vectors = _read_orbit_file(orbit_file, start, stop) if orbit_file else _read_annotation_orbit(root)
    orbit = _make_orbit(vectors, Path(orbit_file).name if orbit_file else "Annotation", start, stop)
    ascending = vectors[len(vectors) // 2]["velocity"][2] >= 0
    extra: Tree = {"orbit": orbit, "passdirection": "ASCENDING" if ascending else "DESCENDING"}
    node = _require_text(root, "imageAnnotation/imageInformation/ascendingNodeTime")
    whole: Tree = {
        "ascendingnodetime": parse_time(node), "family": "topsswathslc", "name": "topsswathslc_name",
        "imagingmode": "TOPS", "mission": mission, "spacecraftname": "Sentinel-1", **processor,
    }  # fmt: skip
    return Frame(tuple(Burst({**burst.tree, **extra}) for burst in bursts), whole)


def find_sources(safes: list[str], swath: int, polarization: str) -> list[Source]:
    if not safes:
        message = "SAFE directory is not provided"
        raise RuntimeError(message)
    sources = [_find_source(safe, swath, polarization) for safe in safes]
    say("Input XML files: ", [source.xml for source in sources])
    say("Input TIFF files: ", [source.tiff for source in sources])
    say("Manifest files: ", [source.manifest for source in sources])
    return sources
