"""Find a product by name and describe it from its manifest."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from topsar.errors import SceneError
from topsar.files import walk_folder
from topsar.model import Scene, SwathFiles
from topsar.sentinel1.agreement import check_agreement, find_direction, list_faults
from topsar.sentinel1.container import DOWNLOAD_AGAIN, MANIFEST, Container, open_container, strip_endings
from topsar.sentinel1.manifest import read_manifest

_ANNOTATION = re.compile(
    r"annotation/(?P<stem>s1[a-d]-(?P<swath>iw[123])-slc-(?P<polarisation>hh|hv|vh|vv)-[^/]+)\.xml", re.ASCII
)
_PARTS = {"annotation", "measurement", "preview", "support"}
"""Folders in a SAFE folder, also in one without its manifest."""
_IMAGE = re.compile(r"measurement/s1[a-d]-iw[123]-slc-(?:hh|hv|vh|vv)-[^/]+\.tiff", re.ASCII)


def find_scene(folder: Path, name: str) -> Path:
    """Find a product in a folder or its subfolders by its name.

    The SAFE folder if it holds a manifest, else the zip, else the folder that ought to hold one; a zip also where it
    lacks less than a folder that was half unpacked. Where there is none, a SceneError lists the nearest names.

    Parameters
    ----------
    folder : Path
        Where the SAFE folders and zips lie.
    name : str
        With or without ``.SAFE`` or ``.zip``.
    """
    wanted = strip_endings(name)
    entries = list(_walk_products(folder))
    products = [entry for entry in entries if _is_product(entry)]
    matches = [entry for entry in products if strip_endings(entry.name) == wanted]
    matches = matches or [entry for entry in entries if entry.is_dir() and strip_endings(entry.name) == wanted]
    if matches:
        matches.sort(key=lambda entry: (not entry.is_dir(), len(entry.name)))  # a copy has the longer name
        return matches[0] if len(matches) == 1 else min(matches, key=_count_faults)
    near = difflib.get_close_matches(wanted, sorted({strip_endings(entry.name) for entry in products}), n=3)
    msg = f"{wanted}: neither a .SAFE folder with a {MANIFEST} nor a .zip of this name in {folder}"
    hint = f"put the product there; the folder holds {len(products)} products now"
    if near:
        hint = "did you mean " + " or ".join(near) + "?"
    raise SceneError(msg, hint=hint)


def _count_faults(path: Path) -> float:
    """Count what a product lacks; infinite for one that cannot be opened."""
    try:
        return len(open_scene(path).faults)
    except SceneError:
        return math.inf


def list_products(folder: Path) -> tuple[str, ...]:
    """List the names of the products in a folder and its subfolders, each once."""
    return tuple(sorted({strip_endings(path.name) for path in _walk_products(folder) if _is_product(path)}))


def list_unused_products(folder: Path) -> tuple[str, ...]:
    """List the files in a folder and its subfolders that are neither in a SAFE folder nor a zip, with the reason."""
    files = (path for path in _walk_products(folder) if path.is_file() and not _is_product(path))
    return tuple(f"{path.name}: neither a .SAFE folder nor a .zip" for path in files if ".part" not in path.suffixes)


def _walk_products(folder: Path) -> Iterator[Path]:
    """Files and folders that may be products; year folders are looked into, SAFE folders are not."""
    return walk_folder(folder, 4, lambda path: path.name not in _PARTS and not (path / MANIFEST).is_file())


def _is_product(path: Path) -> bool:
    return (path / MANIFEST).is_file() or (path.suffix.lower() == ".zip" and path.is_file())


def open_scene(path: Path) -> Scene:
    """Describe an IW SLC product, a SAFE directory or a zip of one, from its manifest and the names of its files.

    A SceneError tells what is unreadable, incomplete or no IW SLC; pixels are checked when read.
    """
    container = open_container(path)
    manifest = read_manifest(container)
    files = _list_swath_files(container)
    _check_files(container, files)
    documents = {file.annotation: _try_read(container, file.annotation) for file in files}
    faults = tuple(list_faults(container, manifest, documents))
    annotations = [
        (file, content)
        for file in files
        if isinstance(content := documents[file.annotation], bytes) and not _is_named(file.annotation, faults)
    ]
    start, stop = check_agreement(container, manifest, annotations)
    return Scene(
        name=container.product,
        path=container.path,
        mission=manifest.mission,
        start=start,
        stop=stop,
        track=manifest.track,
        absolute_orbit=manifest.orbits[0],
        direction=find_direction(container, manifest, annotations[0]) if annotations else manifest.direction,
        ipf=manifest.ipf,
        files=files,
        faults=faults,
    )


def _try_read(container: Container, name: str) -> bytes | SceneError:
    try:
        return container.read(name)
    except SceneError as exc:
        return exc


def _is_named(file: str, faults: tuple[str, ...]) -> bool:
    return any(fault.startswith(f"{file} ") for fault in faults)


def _list_swath_files(container: Container) -> tuple[SwathFiles, ...]:
    matches = [match for name in container.sizes if (match := _ANNOTATION.fullmatch(name))]
    files = [
        SwathFiles(
            swath=match["swath"].upper(),
            polarisation=match["polarisation"].upper(),
            annotation=match.string,
            measurement=f"measurement/{match['stem']}.tiff",
        )
        for match in matches
    ]
    files.sort(key=lambda f: (f.swath, f.polarisation, f.annotation))
    for one, other in itertools.pairwise(files):
        if (one.swath, one.polarisation) == (other.swath, other.polarisation):
            msg = f"{container.path.name}: two annotations of {one.swath} {one.polarisation}: "
            msg += f"{one.annotation} and {other.annotation}"
            raise SceneError(msg, hint="take out the one of another product, and its image, or " + DOWNLOAD_AGAIN)
    return tuple(files)


def _check_files(container: Container, files: tuple[SwathFiles, ...]) -> None:
    """Refuse a product without annotation, or with an image that has none, which would be skipped in silence."""
    if not files:
        msg = f"{container.path.name}: no annotation of any swath (annotation/s1?-iw?-slc-*.xml)"
        raise SceneError(msg, hint=DOWNLOAD_AGAIN)
    images = {name for name in container.sizes if _IMAGE.fullmatch(name)} - {f.measurement for f in files}
    if images:
        lost = ", ".join(f"annotation/{PurePosixPath(name).stem}.xml" for name in sorted(images))
        msg = f"{container.path.name}: {lost} is missing, its image is there"
        raise SceneError(msg, hint=DOWNLOAD_AGAIN)
