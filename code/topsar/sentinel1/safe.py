"""Find a product by name and describe it from its manifest."""

from __future__ import annotations

import difflib
import re
from pathlib import Path, PurePosixPath

from topsar.errors import SceneError
from topsar.model import Direction, Scene, SwathFiles
from topsar.sentinel1.container import DOWNLOAD_AGAIN, MANIFEST, Container, open_container, strip_endings
from topsar.sentinel1.document import Element

_ANNOTATION = re.compile(
    r"annotation/(?P<stem>s1[a-d]-(?P<swath>iw[123])-slc-(?P<polarisation>hh|hv|vh|vv)-[^/]+)\.xml", re.ASCII
)
_IMAGE = re.compile(r"measurement/s1[a-d]-iw[123]-slc-(?:hh|hv|vh|vv)-[^/]+\.tiff", re.ASCII)


def find_scene(folder: Path, name: str) -> Path:
    """Find a product in a folder by its name.

    The SAFE folder if it holds a manifest, else the zip, else the folder that ought to hold one. Where there is none,
    a SceneError lists the nearest names.

    Parameters
    ----------
    folder : Path
        Where the SAFE folders and zips lie.
    name : str
        With or without ``.SAFE`` or ``.zip``.
    """
    wanted = strip_endings(name)
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    products = [e for e in entries if (e / MANIFEST).is_file() or (e.suffix.lower() == ".zip" and e.is_file())]
    matches = [entry for entry in products if strip_endings(entry.name) == wanted]
    matches = matches or [entry for entry in entries if entry.is_dir() and strip_endings(entry.name) == wanted]
    if matches:
        return min(matches, key=lambda entry: not entry.is_dir())
    near = difflib.get_close_matches(wanted, sorted({strip_endings(entry.name) for entry in products}), n=3)
    msg = f"{wanted}: neither a .SAFE folder with a {MANIFEST} nor a .zip of this name in {folder}"
    hint = f"put the product there; the folder holds {len(products)} products now"
    if near:
        hint = "did you mean " + " or ".join(near) + "?"
    raise SceneError(msg, hint=hint)


def open_scene(path: Path) -> Scene:
    """Describe an IW SLC product, a SAFE directory or a zip of one, from its manifest and the names of its files.

    A SceneError tells what is unreadable, incomplete or no IW SLC; pixels are checked when read.
    """
    container = open_container(path)
    manifest = container.read_xml(MANIFEST)
    _check_kind(manifest, container.product)
    files = _list_swath_files(container)
    _check_files(container, files)
    period, orbit = manifest.find_child(".//{*}acquisitionPeriod"), manifest.find_child(".//{*}orbitReference")
    return Scene(
        name=container.product,
        path=container.path,
        mission="S1" + manifest.read_text(".//{*}platform/{*}number").upper(),
        start=period.read_time("{*}startTime"),
        stop=period.read_time("{*}stopTime"),
        track=_read_orbit_number(orbit, "relativeOrbitNumber"),
        absolute_orbit=_read_orbit_number(orbit, "orbitNumber"),
        direction=_read_direction(orbit),
        ipf=_find_ipf(manifest),
        files=files,
    )


def _check_kind(manifest: Element, product: str) -> None:
    """Refuse what is not an IW SLC."""
    kind = (manifest.element.findtext(".//{*}productType") or "unknown").strip()
    mode = (manifest.element.findtext(".//{*}instrumentMode/{*}mode") or "unknown").strip()
    if (mode, kind) != ("IW", "SLC"):
        msg = f"{product}: product type {kind} of mode {mode}, expected an SLC of mode IW"
        raise SceneError(msg, hint="interferometry needs IW SLC products: names that begin with S1?_IW_SLC__")


def _list_swath_files(container: Container) -> tuple[SwathFiles, ...]:
    matches = [match for name in container.names if (match := _ANNOTATION.fullmatch(name))]
    files = [
        SwathFiles(
            swath=match["swath"].upper(),
            polarisation=match["polarisation"].upper(),
            annotation=match.string,
            measurement=f"measurement/{match['stem']}.tiff",
        )
        for match in matches
    ]
    return tuple(sorted(files, key=lambda f: (f.swath, f.polarisation, f.annotation)))


def _check_files(container: Container, files: tuple[SwathFiles, ...]) -> None:
    """Refuse a product without annotation, or with an image that has none, which would be skipped in silence."""
    if not files:
        msg = f"{container.path.name}: no annotation of any swath (annotation/s1?-iw?-slc-*.xml)"
        raise SceneError(msg, hint=DOWNLOAD_AGAIN)
    images = {name for name in container.names if _IMAGE.fullmatch(name)} - {f.measurement for f in files}
    if images:
        lost = ", ".join(f"annotation/{PurePosixPath(name).stem}.xml" for name in sorted(images))
        msg = f"{container.path.name}: {lost} is missing, its image is there"
        raise SceneError(msg, hint=DOWNLOAD_AGAIN)


def _read_orbit_number(orbit: Element, tag: str) -> int:
    """An orbit number at the start of the product (it changes at the ascending node)."""
    typed = f"{{*}}{tag}[@type='start']"
    return orbit.read_integer(typed if orbit.has(typed) else f"{{*}}{tag}")


def _read_direction(orbit: Element) -> Direction:
    text = orbit.read_text(".//{*}pass")
    try:
        return Direction(text.lower())
    except ValueError:
        orbit.refuse(f"pass {text!r}, expected ASCENDING or DESCENDING")


def _find_ipf(manifest: Element) -> str:
    """Version of ESA's processor, of the last processing where several are nested; ``unknown`` if not stated."""
    software = manifest.element.findall(".//{*}processing/{*}facility/{*}software")
    return next((s.get("version", "unknown") for s in software if "IPF" in s.get("name", "")), "unknown")
