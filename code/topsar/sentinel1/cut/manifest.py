"""Cut the manifest of a product: other files, another period, another footprint; all else as it was."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from topsar.sentinel1.cut.documents import format_time
from topsar.sentinel1.document import parse_time

_NAMESPACE = re.compile(rb'xmlns:(\w+)="([^"]+)"')
_OBJECTS = ("contentUnit", "metadataObject", "dataObject")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file of the cut product: where, how large, its checksum; and where it was in the whole one."""

    old: str
    path: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What the cut product covers: period, swaths, polarisations, corners as pairs of latitude and longitude."""

    start: datetime
    stop: datetime
    swaths: Sequence[str]
    polarisations: Sequence[str]
    corners: Sequence[tuple[float, float]]


def keep_prefixes(document: bytes) -> None:
    """Have the prefixes of a document's namespaces written as they stand in it."""
    for prefix, uri in _NAMESPACE.findall(document):
        if not re.fullmatch(rb"ns\d+", prefix):
            ET.register_namespace(prefix.decode(), uri.decode())


def cut_manifest(root: ET.Element, files: Sequence[NewFile], extent: Extent) -> None:
    """Cut a manifest.

    Parameters
    ----------
    root : Element
        Changed.
    files : sequence of NewFile
        All files that stay; what else the manifest lists is dropped.
    extent : Extent
    """
    stays = {file.old: file for file in files}
    renamed = {}
    for node in root.findall(".//{*}dataObject"):
        place = node.find("{*}byteStream/{*}fileLocation")
        href = "" if place is None else place.get("href", "").replace("\\", "/").removeprefix("./")
        if file := stays.get(href):
            old = node.get("ID", "")
            renamed[old] = old.replace(_squeeze(file.old), _squeeze(file.path))
            _describe(node, file)
    _drop_objects(root, renamed)
    _rename(root, renamed)
    _set_extent(root, extent)


def _squeeze(path: str) -> str:
    """A file's name as it stands in identifiers."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    return stem.removeprefix("calibration-").removeprefix("noise-").replace("-", "")


def _describe(node: ET.Element, file: NewFile) -> None:
    stream = node.find("{*}byteStream")
    assert stream is not None  # it was found through it
    stream.set("size", str(file.size))
    for child in stream:
        if child.tag.endswith("fileLocation"):
            child.set("href", f"./{file.path}")
        elif child.get("checksumName") == "MD5":
            child.text = file.md5


def _drop_objects(root: ET.Element, stays: Mapping[str, str]) -> None:
    """Drop data objects that do not stay, and what points at them."""
    for parent in list(root.iter()):
        for child in list(parent):
            kind = child.tag.rpartition("}")[2]
            pointer = child.find("{*}dataObjectPointer")
            target = (
                child.get("ID") if kind == "dataObject" else None if pointer is None else pointer.get("dataObjectID")
            )
            if kind in _OBJECTS and target is not None and target not in stays:
                parent.remove(child)


def _rename(root: ET.Element, renamed: Mapping[str, str]) -> None:
    names = {**renamed, **{f"{old}Annotation": f"{new}Annotation" for old, new in renamed.items()}}
    for node in root.iter():
        for key in ("ID", "dataObjectID"):
            if node.get(key) in names:
                node.set(key, names[node.get(key, "")])
        if (
            node.tag.endswith("contentUnit")
            and node.find("{*}dataObjectPointer") is not None
            and "dmdID" in node.attrib
        ):
            node.set("dmdID", " ".join(names[one] for one in node.get("dmdID", "").split() if one in names))


def _set_extent(root: ET.Element, extent: Extent) -> None:
    for tag, time in (("start", extent.start), ("stop", extent.stop)):
        node = root.find(f".//{{*}}acquisitionPeriod/{{*}}{tag}Time")
        if node is None:
            continue
        moved = time - parse_time(node.text or "")
        node.text = format_time(time)
        since = root.find(f".//{{*}}{tag}TimeANX")
        if since is not None:
            since.text = f"{float(since.text or 0) + moved.total_seconds() * 1e3:.6e}"
    footprint = root.find(".//{*}footPrint/{*}coordinates")
    if footprint is not None:
        footprint.text = " ".join(f"{lat:.6f},{lon:.6f}" for lat, lon in extent.corners)
    for tag, kept in (("swath", extent.swaths), ("transmitterReceiverPolarisation", extent.polarisations)):
        for parent in root.iter():
            for child in list(parent):
                if child.tag.endswith(f"}}{tag}") and (child.text or "").strip() not in kept:
                    parent.remove(child)
