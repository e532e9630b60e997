"""The inside of a SAFE, whether a directory or a zip: names and bytes, nothing unpacked."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from topsar.errors import SceneError
from topsar.model import PRODUCT_NAME
from topsar.sentinel1.document import Element, parse_xml

DOWNLOAD_AGAIN = "download the scene again, then compare its size and checksum with the archive's"
MANIFEST = "manifest.safe"
_FOLDERS = ("annotation", "measurement")
_READ = (".safe", ".xml", ".tiff")
_MOST_BYTES = 1 << 25
"""No text of a product comes near this: an annotation has 3 MB."""


_COPY = re.compile(r"[ _]?(?:\(\d+\)|(?:- )?copy(?: \d+)?)$", re.IGNORECASE)


def strip_endings(name: str) -> str:
    """Name of a product without folders, ``.SAFE`` and ``.zip`` (any case and number), and `` (1)`` of a copy."""
    stem = PurePosixPath(name.strip()).name
    while stem.lower().endswith((".safe", ".zip")) or (PRODUCT_NAME.match(stem) and _COPY.search(stem)):
        stem = _COPY.sub("", stem) if _COPY.search(stem) else stem[: stem.rfind(".")]
    return stem


def find_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Find a file in a zip, also in one whose names have the backslashes of Windows; a KeyError where it is missing.

    Parameters
    ----------
    archive : ZipFile
    name : str
        With slashes.
    """
    try:
        return archive.getinfo(name)
    except KeyError:
        return archive.getinfo(name.replace("/", "\\"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A SAFE directory or a zip that holds one.

    ``root`` is the SAFE's folder inside the zip (empty, or ending in ``/``); ``sizes`` are the bytes of the files of
    the annotation and measurement folders, by name relative to the SAFE.
    """

    path: Path
    is_zip: bool
    root: str
    sizes: Mapping[str, int]

    @property
    def product(self) -> str:
        """Name of the product: that under which it is listed, or of the folder in a zip that has another name."""
        outer = strip_endings(self.path.name)
        return outer if PRODUCT_NAME.fullmatch(outer) or not self.root else strip_endings(self.root)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file of the SAFE; in a zip its checksum is verified when it is read to its end."""
        if self.is_zip:
            with zipfile.ZipFile(self.path) as archive, archive.open(find_member(archive, self.root + name)) as file:
                yield file
        else:
            with (self.path / name).open("rb") as file:
                yield file

    def read(self, name: str) -> bytes:
        """Bytes of a file of the SAFE; a SceneError where it is missing or cannot be read."""
        try:
            with self.open(name) as file:
                content = file.read(_MOST_BYTES + 1)
        except (FileNotFoundError, KeyError) as exc:
            msg = f"{self.path.name}: {name} is missing"
            raise SceneError(msg, hint=DOWNLOAD_AGAIN) from exc
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as exc:
            msg = f"{self.path.name}: {name} cannot be read ({exc})"
            raise SceneError(msg, hint=DOWNLOAD_AGAIN) from exc
        if len(content) > _MOST_BYTES:
            msg = f"{self.path.name}: {name} has more than {_MOST_BYTES >> 20} MB: no product has such a file"
            raise SceneError(msg, hint=DOWNLOAD_AGAIN)
        return content

    def read_xml(self, name: str) -> Element:
        """Parse an XML file of the SAFE; a SceneError where it is missing or malformed."""
        return parse_xml(self.read(name), where=f"{self.path.name}: {name}", error=SceneError, hint=DOWNLOAD_AGAIN)

    def name_for_gdal(self, name: str) -> str:
        """What GDAL opens for a file of the SAFE."""
        if not self.is_zip:
            return str(self.path / name)
        return f"/vsizip/{{{self.path}}}/{self.root}{name}"


def open_container(path: Path) -> Container:
    """Look into a directory with ``manifest.safe``, or a zip that holds one such directory at any depth.

    A SceneError tells that there is no SAFE, more than one, or that the zip is truncated or damaged.
    """
    path = path.absolute()
    if path.is_dir():
        return _open_directory(path)
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise SceneError(msg, hint="give a SAFE folder or a zip of one")
    return _open_zip(path)


def _open_directory(path: Path) -> Container:
    if not (path / MANIFEST).is_file():
        msg = f"{path.name}: the folder holds no {MANIFEST}"
        raise SceneError(msg, hint="point at the .SAFE folder itself; if this is one, " + DOWNLOAD_AGAIN)
    files = (file for folder in _FOLDERS for file in (path / folder).glob("*") if file.is_file())
    sizes = {f"{file.parent.name}/{file.name}": file.stat().st_size for file in files}
    return Container(path=path, is_zip=False, root="", sizes=sizes)


def _open_zip(path: Path) -> Container:
    try:
        with zipfile.ZipFile(path) as archive:
            listed = [(info.filename.replace("\\", "/"), info.file_size) for info in archive.infolist()]
    except (OSError, zipfile.BadZipFile) as exc:
        msg = f"{path.name}: not a readable zip, perhaps a download that was cut off ({exc})"
        raise SceneError(msg, hint=DOWNLOAD_AGAIN) from exc
    members = dict(listed)
    times = Counter(name for name, _ in listed if PurePosixPath(name).suffix in _READ)
    if twice := sorted(name for name, count in times.items() if count > 1):  # one reader takes the first, one the last
        msg = f"{path.name}: the zip holds two files of one name: {', '.join(twice)}"
        raise SceneError(msg, hint=DOWNLOAD_AGAIN)
    manifests = [m for m in members if PurePosixPath(m).name == MANIFEST and "__MACOSX" not in m]
    if len(manifests) != 1:
        found = ", ".join(m.removesuffix(MANIFEST) or "." for m in manifests) or "none"
        msg = f"{path.name}: the zip must hold exactly one SAFE with a {MANIFEST}, found {found}"
        raise SceneError(msg, hint="zip each .SAFE folder on its own, or put the folder itself there")
    root = manifests[0].removesuffix(MANIFEST)
    inside = {name[len(root) :]: size for name, size in members.items() if name.startswith(root)}
    sizes = {name: size for name, size in inside.items() if str(PurePosixPath(name).parent) in _FOLDERS}
    return Container(path=path, is_zip=True, root=root, sizes=sizes)
