"""Whether name, manifest, annotations and files of a product tell of one and the same acquisition."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from topsar.errors import SceneError
from topsar.model import PRODUCT_NAME, Direction, SwathFiles
from topsar.sentinel1.container import DOWNLOAD_AGAIN, Container
from topsar.sentinel1.document import Element, parse_xml
from topsar.sentinel1.manifest import Manifest

Period = tuple[datetime, datetime]

TOLERANCE = timedelta(seconds=3)
"""By which annotations may exceed the period of their product, as one that repeats a burst of the slice before it."""
_NAME_TOLERANCE = timedelta(seconds=2)  # names give whole seconds, cut or rounded
_BURST = timedelta(seconds=4)
_RESTORE = "give the product its own name and files back, or " + DOWNLOAD_AGAIN


def list_faults(container: Container, manifest: Manifest, documents: Mapping[str, bytes | SceneError]) -> Iterator[str]:
    """List the files that are missing, or not as the manifest says; images by their size, annotations by checksum too.

    Parameters
    ----------
    container : Container
    manifest : Manifest
    documents : mapping
        Annotations by place: their bytes, or why they cannot be read.
    """
    images = {name.replace("annotation", "measurement", 1)[:-3] + "tiff" for name in documents}
    for name in sorted(images | manifest.files.keys() | documents.keys()):
        listed, size, content = manifest.files.get(name), container.sizes.get(name), documents.get(name)
        if size is None:
            yield f"{name} is missing"
        elif size == 0:
            yield f"{name} is empty"
        elif listed and listed.size not in (None, size):
            yield f"{name} has {size} bytes, {listed.size} by the manifest"
        elif isinstance(content, SceneError):
            yield content.message.removeprefix(f"{container.path.name}: ")
        elif content and listed and listed.md5 not in (None, hashlib.md5(content, usedforsecurity=False).hexdigest()):
            yield f"{name} is not the file whose checksum is in the manifest"


def check_agreement(
    container: Container, manifest: Manifest, annotations: Sequence[tuple[SwathFiles, bytes]]
) -> Period:
    """Refuse a product whose name, manifest and annotations contradict each other; find its period.

    That is the manifest's, or the annotations' for a product that was put together of single bursts, which has the
    manifest of the whole one.

    Parameters
    ----------
    container : Container
    manifest : Manifest
    annotations : sequence
        Each with its content.
    """
    whole = manifest.start, manifest.stop
    periods = [_check_header(container, manifest, *one) for one in annotations]
    found = [period for period in periods if period]
    hull = (min(start for start, _ in found), max(stop for _, stop in found)) if found else whole
    name = PRODUCT_NAME.fullmatch(container.product)
    if name:
        start, stop = (datetime.strptime(f"{name[end]}+0000", "%Y%m%dT%H%M%S%z") for end in ("start", "stop"))
        of_bursts = abs(start - hull[0]) <= _NAME_TOLERANCE and abs(hull[1] - stop) <= _BURST
        agrees = all(abs(one - other) <= _NAME_TOLERANCE for one, other in zip((start, stop), whole, strict=True))
        orbit, sent = int(name["orbit"]), {file.polarisation[0] for file, _ in annotations}
        stated = {
            "mission": (name["mission"], manifest.mission),
            "polarisation": (name["transmit"], "".join(sorted(sent - {name["transmit"]})) or name["transmit"]),
            "orbit": (orbit, orbit if orbit in manifest.orbits else manifest.orbits[0]),
            "data take": (int(name["datatake"], 16), manifest.datatake),
            "period": (_format((start, stop)), _format((start, stop) if agrees or of_bursts else whole)),
        }
        _refuse_differences(container, "name", stated)
        if not agrees:
            return hull
    for (file, _), period in zip(annotations, periods, strict=True):
        if period and (period[0] < whole[0] - TOLERANCE or period[1] > whole[1] + TOLERANCE):
            _refuse_differences(container, file.annotation, {"period": (_format(period), _format(whole))})
    return whole


def _check_header(container: Container, manifest: Manifest, file: SwathFiles, content: bytes) -> Period | None:
    """Refuse an annotation that is of another product than the manifest; its period, where it tells that."""
    header = _parse_part(container, file, content, "adsHeader")
    swath = header.read_text("swath"), header.read_text("polarisation")
    if swath != (file.swath, file.polarisation):
        header.refuse(f"the file's name says {file.swath} {file.polarisation}, its header {' '.join(swath)}")
    told = {tag: header.read_text(tag) for tag in ("missionId", "mode") if header.has(tag)}
    numbers = {tag: header.read_integer(tag) for tag in ("absoluteOrbitNumber", "missionDataTakeId") if header.has(tag)}
    orbit = numbers.get("absoluteOrbitNumber")
    stated = {
        "mission": (told.get("missionId", manifest.mission), manifest.mission),
        "mode": (told.get("mode", "IW"), "IW"),
        "orbit": (orbit, orbit if orbit in manifest.orbits else manifest.orbits[0]),
        "data take": (numbers.get("missionDataTakeId"), manifest.datatake),
    }
    if manifest.polarisations and file.polarisation not in manifest.polarisations:
        stated["polarisation"] = file.polarisation, ", ".join(sorted(manifest.polarisations))
    _refuse_differences(container, file.annotation, stated)
    ends = [header.read_time(tag) for tag in ("startTime", "stopTime") if header.has(tag)]
    return (ends[0], ends[1]) if len(ends) == 2 else None


def _refuse_differences(container: Container, where: str, stated: Mapping[str, tuple[object, object]]) -> None:
    """Refuse what a name or an annotation says otherwise than the manifest; None is not said."""
    wrong = [
        f"{what} {one} instead of {other}"
        for what, (one, other) in stated.items()
        if None not in (one, other) and one != other
    ]
    if wrong:
        msg = f"{container.path.name}: {where} and {'manifest'} are of different products: {', '.join(wrong)}"
        raise SceneError(msg, hint=_RESTORE)


def find_direction(container: Container, manifest: Manifest, annotation: tuple[SwathFiles, bytes]) -> Direction:
    """Find the flight direction from the state vector nearest to mid product; without vectors it is the manifest's.

    Parameters
    ----------
    container : Container
    manifest : Manifest
    annotation
        Any one, with its content.
    """
    middle = manifest.start + (manifest.stop - manifest.start) / 2
    try:
        vectors = _parse_part(container, *annotation, "orbitList").find_children("orbit")
        nearest = min(vectors, key=lambda vector: abs(vector.read_time("time") - middle))
        return Direction.ASCENDING if nearest.read_number("velocity/z") > 0 else Direction.DESCENDING
    except (SceneError, ValueError):
        return manifest.direction


def _parse_part(container: Container, file: SwathFiles, content: bytes, tag: str) -> Element:
    """Parse one element of an annotation, which takes a hundredth of the time of the whole."""
    where = f"{container.path.name}: {file.annotation}"
    end = f"</{tag}>".encode()
    start, stop = content.find(f"<{tag}".encode()), content.find(end)
    if 0 <= start < stop:
        return parse_xml(content[start : stop + len(end)], where=where, error=SceneError, hint=DOWNLOAD_AGAIN)
    return parse_xml(content, where=where, error=SceneError, hint=DOWNLOAD_AGAIN).find_child(f".//{tag}")


def _format(period: Period) -> str:
    return " to ".join(f"{end.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S}" for end in period)
