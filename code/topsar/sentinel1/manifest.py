"""What the manifest of a product says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from topsar.errors import SceneError
from topsar.model import Direction
from topsar.sentinel1.container import MANIFEST, Container
from topsar.sentinel1.document import Element

_DATA = re.compile(r"(?:annotation/[^/]+\.xml|measurement/[^/]+\.tiff)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file as the manifest lists it; what it does not say is None."""

    size: int | None
    md5: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is read of it; ``orbits`` are absolute, at start and stop; ``files`` are annotations and images by place."""

    mission: str
    start: datetime
    stop: datetime
    track: int
    orbits: tuple[int, int]
    direction: Direction
    datatake: int | None
    polarisations: frozenset[str]
    ipf: str
    files: Mapping[str, ListedFile]


def read_manifest(container: Container) -> Manifest:
    """Read the manifest of an IW SLC; a SceneError tells that it is of another kind, or damaged."""
    root = container.read_xml(MANIFEST)
    kind, mode = (_find_text(root, path) or "unknown" for path in (".//{*}productType", ".//{*}instrumentMode/{*}mode"))
    if (mode, kind) != ("IW", "SLC"):
        msg = f"{container.product}: product type {kind} of mode {mode}, expected an SLC of mode IW"
        raise SceneError(msg, hint="interferometry needs IW SLC products: names that begin with S1?_IW_SLC__")
    period, orbit = root.find_child(".//{*}acquisitionPeriod"), root.find_child(".//{*}orbitReference")
    datatake, direction = ".//{*}missionDataTakeID", orbit.read_text(".//{*}pass")
    if direction not in Direction.__members__:
        orbit.refuse(f"pass {direction!r}, expected ASCENDING or DESCENDING")
    return Manifest(
        mission="S1" + root.read_text(".//{*}platform/{*}number").upper(),
        start=period.read_time("{*}startTime"),
        stop=period.read_time("{*}stopTime"),
        track=_read_orbit_number(orbit, "relativeOrbitNumber", "start"),
        orbits=(_read_orbit_number(orbit, "orbitNumber", "start"), _read_orbit_number(orbit, "orbitNumber", "stop")),
        direction=Direction[direction],
        datatake=root.read_integer(datatake) if root.has(datatake) else None,
        polarisations=frozenset(e.text or "" for e in root.element.findall(".//{*}transmitterReceiverPolarisation")),
        ipf=_find_ipf(root),
        files=_list_files(root),
    )


def _find_text(root: Element, path: str) -> str:
    return (root.element.findtext(path) or "").strip()


def _read_orbit_number(orbit: Element, tag: str, end: str) -> int:
    """An orbit number at an end of the product (it changes at the ascending node)."""
    typed = f"{{*}}{tag}[@type='{end}']"
    return orbit.read_integer(typed if orbit.has(typed) else f"{{*}}{tag}")


def _find_ipf(root: Element) -> str:
    """Version of ESA's processor, of the last processing where several are nested; ``unknown`` if not stated."""
    software = root.element.findall(".//{*}processing/{*}facility/{*}software")
    return next((s.get("version", "unknown") for s in software if "IPF" in s.get("name", "")), "unknown")


def _list_files(root: Element) -> dict[str, ListedFile]:
    files = {}
    for stream in root.find_children(".//{*}dataObject/{*}byteStream"):
        place = stream.element.find("{*}fileLocation")
        name = str(PurePosixPath("" if place is None else place.get("href", "").replace("\\", "/")))
        if _DATA.fullmatch(name):
            size, md5 = stream.element.get("size", ""), _find_text(stream, "{*}checksum[@checksumName='MD5']").lower()
            files[name] = ListedFile(
                size=int(size) if size.isdecimal() else None,
                md5=md5 if re.fullmatch("[0-9a-f]{32}", md5) else None,
            )
    return files
