"""Cut the XML documents of a swath to some of its bursts: annotation, calibration, noise."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import SceneError
from topsar.kernels.geometry import ecef_to_geodetic, fit_orbit, rdr2geo
from topsar.model import SPEED_OF_LIGHT, Burst
from topsar.sentinel1.document import parse_time

if TYPE_CHECKING:
    from topsar.model import Orbit

_AROUND_ORBIT = timedelta(seconds=70)


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstCut:
    """Neighbouring bursts of one swath and polarisation that stay, and the orbit by which points are located."""

    bursts: tuple[Burst, ...]
    orbit: Orbit

    @property
    def first_line(self) -> int:
        """Line of the whole image at which they begin."""
        return self.bursts[0].first_line

    @property
    def lines(self) -> int:
        """Lines of all of them."""
        return sum(burst.grid.lines for burst in self.bursts)

    @property
    def start(self) -> datetime:
        """Time of their first line."""
        return self.bursts[0].grid.first_line_time

    @property
    def stop(self) -> datetime:
        """Time of their last line."""
        return self.bursts[-1].grid.stop_time


def format_time(time: datetime) -> str:
    """A time as the documents have it."""
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}"


def cut_annotation(root: ET.Element, cut: BurstCut, offsets: Sequence[int], precise: Orbit | None) -> None:
    """Cut an annotation.

    Bursts, lines and the geolocation grid become those of the cut; what was estimated along the whole product stays:
    readers take what is nearest in time.

    Parameters
    ----------
    root : Element
        Changed.
    cut : BurstCut
    offsets : sequence of int
        Byte of the new image at which each burst begins.
    precise : Orbit, optional
        State vectors that take the place of the annotation's.
    """
    _set(root, "adsHeader/startTime", format_time(cut.start))
    _set(root, "adsHeader/stopTime", format_time(cut.stop))
    _set(root, "imageAnnotation/imageInformation/productFirstLineUtcTime", format_time(cut.start))
    _set(root, "imageAnnotation/imageInformation/productLastLineUtcTime", format_time(cut.stop))
    _set(root, "imageAnnotation/imageInformation/numberOfLines", str(cut.lines))
    kept = {burst.index for burst in cut.bursts}
    nodes = _filter(root, "swathTiming/burstList", lambda index, _: index in kept)
    for node, offset in zip(nodes, offsets, strict=True):
        _set(node, "byteOffset", str(offset))
    _cut_grid(root, cut)
    if precise is not None:
        _replace_orbit(root, precise)


def cut_calibration(root: ET.Element, cut: BurstCut) -> None:
    """Cut a calibration or a noise document: its lines count from the first that stays.

    Parameters
    ----------
    root : Element
        Changed.
    cut : BurstCut
    """
    _set(root, "adsHeader/startTime", format_time(cut.start))
    _set(root, "adsHeader/stopTime", format_time(cut.stop))
    for path in ("calibrationVectorList", "noiseRangeVectorList", "noiseVectorList"):
        if root.find(path) is not None:
            _cut_vectors(root, path, cut)
    for vector in root.findall("noiseAzimuthVectorList/noiseAzimuthVector"):
        _cut_azimuth_noise(vector, cut)


def _find(root: ET.Element, path: str) -> ET.Element:
    node = root.find(path)
    if node is None:
        msg = f"element {path} is missing in a document of {root.tag}"
        raise SceneError(msg, hint="only whole products can be cut: download the scene again")
    return node


def _set(root: ET.Element, path: str, text: str) -> None:
    _find(root, path).text = text


def _number(node: ET.Element, tag: str) -> int:
    return int(_find(node, tag).text or "")


def _filter(root: ET.Element, path: str, keeps: Callable[[int, ET.Element], bool]) -> list[ET.Element]:
    """Keep some children of a list, and say how many in its ``count``."""
    parent = _find(root, path)
    children = list(parent)
    kept = [child for index, child in enumerate(children) if keeps(index, child)]
    for child in children:
        if child not in kept:
            parent.remove(child)
    parent.set("count", str(len(kept)))
    return kept


def _cut_vectors(root: ET.Element, path: str, cut: BurstCut) -> None:
    """Keep vectors on the lines that stay, and the nearest before and behind."""
    lines = [_number(vector, "line") - cut.first_line for vector in _find(root, path)]
    first = max((line for line in lines if line <= 0), default=min(lines))
    last = min((line for line in lines if line >= cut.lines - 1), default=max(lines))
    kept = _filter(root, path, lambda index, _: first <= lines[index] <= last)
    for vector in kept:
        _set(vector, "line", str(_number(vector, "line") - cut.first_line))


def _cut_azimuth_noise(vector: ET.Element, cut: BurstCut) -> None:
    lines = np.array([int(word) for word in (_find(vector, "line").text or "").split()]) - cut.first_line
    values = (_find(vector, "noiseAzimuthLut").text or "").split()
    inside = np.flatnonzero((lines >= 0) & (lines < cut.lines))
    first, last = max(0, inside[0] - 1), min(len(lines) - 1, inside[-1] + 1)
    for tag, words in (("line", lines.astype(str)), ("noiseAzimuthLut", np.array(values))):
        node = _find(vector, tag)
        node.text = " ".join(words[first : last + 1])
        node.set("count", str(last + 1 - first))
    _set(vector, "firstAzimuthLine", "0")
    _set(vector, "lastAzimuthLine", str(cut.lines - 1))


def _cut_grid(root: ET.Element, cut: BurstCut) -> None:
    """Keep the rows of points at the bursts that stay; the row behind them is moved to their last line."""
    path = "geolocationGrid/geolocationGridPointList"
    stop = cut.first_line + cut.lines
    kept = _filter(root, path, lambda _, point: cut.first_line <= _number(point, "line") <= stop)
    last = max(_number(point, "line") for point in kept)
    moved = [point for point in kept if _number(point, "line") == last]
    for point in kept:
        _set(point, "line", str(_number(point, "line") - cut.first_line))
    if last < stop - 1:
        msg = f"the geolocation grid ends at line {last}, before line {stop - 1} of the bursts that stay"
        raise SceneError(msg, hint="download the scene again")
    if last == stop:
        _move_points(moved, cut)


def _move_points(points: Sequence[ET.Element], cut: BurstCut) -> None:
    """Locate points of the burst behind anew on the last line, at their range and height."""
    arc = fit_orbit(cut.orbit, cut.start, cut.stop)
    range_m, height = (
        np.array([float(_find(point, tag).text or "") for point in points]) for tag in ("slantRangeTime", "height")
    )
    time = np.full(len(points), arc.seconds(cut.stop))
    latitude, longitude, _ = ecef_to_geodetic(rdr2geo(time, range_m * SPEED_OF_LIGHT / 2, height, arc))
    for point, lat, lon in zip(points, np.degrees(latitude), np.degrees(longitude), strict=True):
        _set(point, "azimuthTime", format_time(cut.stop))
        _set(point, "line", str(cut.lines - 1))
        _set(point, "latitude", f"{lat:.15e}")
        _set(point, "longitude", f"{lon:.15e}")


def _replace_orbit(root: ET.Element, orbit: Orbit) -> None:
    """State vectors of an orbit file, from a minute before the product to a minute after it, as annotations reach."""
    start, stop = (parse_time(_find(root, f"adsHeader/{tag}").text or "") for tag in ("startTime", "stopTime"))
    parent = _find(root, "generalAnnotation/orbitList")
    for child in list(parent):
        parent.remove(child)
    for seconds, position, velocity in zip(orbit.times_s, orbit.positions_m, orbit.velocities_m_s, strict=True):
        time = orbit.epoch + timedelta(seconds=float(seconds))
        if start - _AROUND_ORBIT <= time <= stop + _AROUND_ORBIT:
            node = ET.SubElement(parent, "orbit")
            ET.SubElement(node, "time").text = format_time(time)
            ET.SubElement(node, "frame").text = "Earth Fixed"
            for tag, vector in (("position", position), ("velocity", velocity)):
                place = ET.SubElement(node, tag)
                for axis, value in zip("xyz", vector, strict=True):
                    ET.SubElement(place, axis).text = f"{value:.15e}"
    parent.set("count", str(len(parent)))
