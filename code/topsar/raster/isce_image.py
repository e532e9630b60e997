"""Images in ISCE2's form: raw values, a header for ISCE2 (``.xml``) and, beside it, one for GDAL (``.vrt``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from topsar.errors import ProductError
from topsar.files import atomic_path, write_text
from topsar.model import Window
from topsar.raster.dem import HeightField

_TYPES = {"BYTE": "u1", "SHORT": "i2", "INT": "i4", "FLOAT": "f4", "DOUBLE": "f8", "CFLOAT": "c8"}
_NAMES = {np.dtype(code).str[1:]: name for name, code in _TYPES.items()}
_GDAL_TYPES = {"u1": "Byte", "i2": "Int16", "i4": "Int32", "f4": "Float32", "f8": "Float64", "c8": "CFloat32"}
_IMAGE_TYPES = {"slcimage": "slc", "intimage": "cpx"}
_HINT = "remove it and run again: it will be made anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsceHeader:
    """How the values of an image lie in its file.

    ``scheme`` is BIP, BIL or BSQ: bands by pixel, by line, or one after the other.
    """

    width: int
    length: int
    bands: int
    dtype: np.dtype[Any]
    scheme: str

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self.width * self.length * self.bands * self.dtype.itemsize


def read_properties(elements: Iterable[ElementTree.Element]) -> dict[str, str]:
    """Values of ISCE2's ``property`` elements by their names."""
    return {str(one.get("name")): one.findtext("value", "") for one in elements}


def read_isce_header(image: Path) -> IsceHeader:
    """Read the header of an image, ``<image>.xml`` beside it."""
    path = image.with_name(image.name + ".xml")
    try:
        properties = read_properties(ElementTree.parse(path).iter("property"))
        found = {name.lower(): value for name, value in properties.items()}
        order = "<" if found.get("byte_order", "l") == "l" else ">"
        return IsceHeader(
            width=int(found["width"]),
            length=int(found["length"]),
            bands=int(found["number_bands"]),
            dtype=np.dtype(order + _TYPES[found["data_type"].upper()]),
            scheme=found["scheme"].upper(),
        )
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as exc:
        msg = f"{path} is not a header of an ISCE2 image: {exc}"
        raise ProductError(msg, hint=_HINT) from exc


def check_isce_image(image: Path) -> IsceHeader:
    """Read the header of an image and check that the image has the size in it; a virtual one needs no file of its own.

    Raises
    ------
    ProductError
        If the image is cut short, or its header is missing or lacks a property.
    """
    header = read_isce_header(image)
    size = image.stat().st_size if image.exists() else -1
    is_virtual = size < 0 and image.with_name(image.name + ".vrt").is_file()
    if size != header.size and not is_virtual:
        msg = f"{image} has {max(size, 0)} bytes, its header promises {header.size}"
        raise ProductError(msg, hint=_HINT)
    return header


def read_isce_image(image: Path) -> NDArray[Any]:
    """Read all values of an image.

    Returns
    -------
    (bands, length, width) array
        Of the type in the header.
    """
    header = check_isce_image(image)
    values = np.fromfile(image, header.dtype)
    if header.scheme == "BIL":
        return values.reshape(header.length, header.bands, header.width).transpose(1, 0, 2)
    if header.scheme == "BIP":
        return values.reshape(header.length, header.width, header.bands).transpose(2, 0, 1)
    return values.reshape(header.bands, header.length, header.width)


class IsceReader:
    """An image that is read in parts.

    Not a memory map: its pages would count as memory of the process, however little of the image is looked at.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ProductError
        As `check_isce_image`; also for bands that do not lie by line.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.header = path, check_isce_image(path)
        if self.header.bands > 1 and self.header.scheme != "BIL":
            msg = f"{path} holds its bands as {self.header.scheme}, expected BIL"
            raise ProductError(msg, hint=_HINT)

    def read(self, window: Window | None = None) -> NDArray[Any]:
        """Read a window, (rows, bands, columns); all without one."""
        header = self.header
        window = window or Window(row=0, column=0, rows=header.length, columns=header.width)
        values = np.empty((window.rows, header.bands, window.columns), header.dtype)
        is_whole = window.columns == header.width
        parts = [values.reshape(-1)] if is_whole else list(values.reshape(-1, window.columns))
        with self.path.open("rb") as file:
            for number, part in enumerate(parts):
                place = (window.row * header.bands + number) * header.width + window.column
                file.seek(place * header.dtype.itemsize)
                if file.readinto(part.data) != part.nbytes:
                    msg = f"{self.path} was cut short while it was read"
                    raise ProductError(msg, hint=_HINT)
        return values


# --- an image in radar geometry -----------------------------------------------------------------------------------


class IsceWriter:
    """An image that is written in parts, bands by line; what is never written is zero."""

    def __init__(self, file: BinaryIO, header: IsceHeader) -> None:
        self.header, self._file = header, file
        file.truncate(header.size)

    def write(self, row: int, column: int, values: NDArray[Any]) -> None:
        """Write a block that begins at a pixel.

        Parameters
        ----------
        row, column : int
        values : (rows, columns) or (rows, bands, columns) array
        """
        header = self.header
        lines = np.ascontiguousarray(values, header.dtype).reshape(len(values), header.bands, -1)
        for number, line in enumerate(lines):
            for band, part in enumerate(line):
                place = ((row + number) * header.bands + band) * header.width + column
                self._file.seek(place * header.dtype.itemsize)
                self._file.write(part.data)


@contextmanager
def create_isce_image(
    path: Path, header: IsceHeader, family: str = "image", known_as: Path | None = None
) -> Iterator[IsceWriter]:
    """Make an image, whole or not at all, with both of its headers.

    Parameters
    ----------
    path : Path
    header : IsceHeader
        Its ``scheme`` is BIL, or BIP of a single band: the same.
    family : str
        What ISCE2 calls such an image: ``image``, ``slcimage``, ``intimage``.
    known_as : Path, optional
        What the header for ISCE2 says the image is called, where it will be moved.
    """
    with atomic_path(path) as part, part.open("wb") as file:
        yield IsceWriter(file, header)
    write_isce_headers(path, header, family, known_as)


def write_isce_image(path: Path, values: NDArray[Any], family: str = "image", known_as: Path | None = None) -> None:
    """Write a whole image with both of its headers.

    Parameters
    ----------
    path : Path
    values : (rows, columns) or (rows, bands, columns) array
    family, known_as
        As for `create_isce_image`.
    """
    bands = values.shape[1] if values.ndim == 3 else 1
    header = IsceHeader(
        width=values.shape[-1],
        length=len(values),
        bands=bands,
        dtype=values.dtype,
        scheme="BIL" if bands > 1 else "BIP",
    )
    with create_isce_image(path, header, family, known_as) as image:
        image.write(0, 0, values)


def write_isce_headers(path: Path, header: IsceHeader, family: str, known_as: Path | None = None) -> None:
    """Write ``<path>.xml`` and ``<path>.vrt``.

    Parameters
    ----------
    path : Path
    header : IsceHeader
    family : str
    known_as : Path, optional
    """
    kind = header.dtype.str[1:]
    root = ElementTree.Element("imageFile")
    _add_properties(root, access_mode="READ", byte_order="l", data_type=_NAMES[kind], family=family)
    _add_properties(root, file_name=(known_as or path).absolute(), image_type=_IMAGE_TYPES.get(family, "image"))
    _add_properties(root, length=header.length, name=f"{family}_name", number_bands=header.bands, scheme=header.scheme)
    _add_properties(root, width=header.width, xmin=0.0, xmax=float(header.width))
    for name, count in (("coordinate1", header.width), ("coordinate2", header.length)):
        _add_coordinate(root, name, first=0.0, step=1.0, count=count)
    write_text(path.with_name(path.name + ".xml"), _xml_text(root))
    write_text(path.with_name(path.name + ".vrt"), _describe_raw(path.name, header))


def _describe_raw(name: str, header: IsceHeader) -> str:
    """The ``.vrt`` of raw values."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(header.width), rasterYSize=str(header.length))
    _add_raw_bands(root, name, header)
    return _xml_text(root)


def _add_raw_bands(root: ElementTree.Element, name: str, header: IsceHeader) -> None:
    size = header.dtype.itemsize
    for band in range(header.bands):
        element = ElementTree.SubElement(
            root, "VRTRasterBand", dataType=_GDAL_TYPES[header.dtype.str[1:]], band=str(band + 1),
            subClass="VRTRawRasterBand",
        )  # fmt: skip
        ElementTree.SubElement(element, "SourceFilename", relativeToVRT="1").text = name
        line = header.width * size
        layout = {
            "ByteOrder": "LSB",
            "ImageOffset": band * line,
            "PixelOffset": size,
            "LineOffset": header.bands * line,
        }
        for key, value in layout.items():
            ElementTree.SubElement(element, key).text = str(value)


# --- a DEM ------------------------------------------------------------------------------------------------------


def write_dem_image(field: HeightField, path: Path) -> Path:
    """Write heights as a raw image with both headers, and return the ``.xml``, which is there only when all is.

    Parameters
    ----------
    field : HeightField
        In degrees, without voids.
    path : Path
        The raw file; headers lie beside it.
    """
    header = path.with_name(path.name + ".xml")
    header.unlink(missing_ok=True)
    with atomic_path(path) as part:
        field.heights_m.astype("<f4", copy=False).tofile(part)
    write_text(path.with_name(path.name + ".vrt"), _gdal_header(path, field))
    write_text(header, _isce_header(path.absolute(), field))
    return header


def _isce_header(path: Path, field: HeightField) -> str:
    """The ``.xml`` of a DEM, in which a coordinate starts at the centre of the first pixel."""
    (rows, columns), (dx, _, west, _, dy, north) = field.shape, map(float, field.transform)
    root = ElementTree.Element("imageFile")
    _add_properties(root, access_mode="read", byte_order="l", data_type="FLOAT", family="demimage", file_name=path)
    _add_properties(root, image_type="dem", length=rows, name="demimage_name", number_bands=1, reference="WGS84")
    _add_properties(root, scheme="BIP", width=columns, xmax=west + dx * columns, xmin=west)
    for name, first, step, count in (("coordinate1", west, dx, columns), ("coordinate2", north, dy, rows)):
        _add_coordinate(root, name, first=first, step=step, count=count)
    return _xml_text(root)


def _add_coordinate(root: ElementTree.Element, name: str, *, first: float, step: float, count: int) -> None:
    component = ElementTree.SubElement(root, "component", name=name)
    ElementTree.SubElement(component, "factorymodule").text = "isceobj.Image"
    ElementTree.SubElement(component, "factoryname").text = "createCoordinate"
    _add_properties(component, delta=step, endingvalue=first + step * count, size=count, startingvalue=first)
    _add_properties(component, family="imagecoordinate", name="imagecoordinate_name")


def _add_properties(parent: ElementTree.Element, **values: object) -> None:
    for name, value in values.items():
        element = ElementTree.SubElement(parent, "property", name=name)
        ElementTree.SubElement(element, "value").text = str(value)


def _gdal_header(path: Path, field: HeightField) -> str:
    """The ``.vrt`` of a DEM, in which the first pixel starts at its outer corner."""
    (rows, columns), (dx, _, west, _, dy, north) = field.shape, map(float, field.transform)
    root = ElementTree.Element("VRTDataset", rasterXSize=str(columns), rasterYSize=str(rows))
    ElementTree.SubElement(root, "SRS").text = "EPSG:4326"
    transform = west - dx / 2, dx, 0.0, north - dy / 2, 0.0, dy
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(number) for number in transform)
    header = IsceHeader(width=columns, length=rows, bands=1, dtype=np.dtype("<f4"), scheme="BIP")
    _add_raw_bands(root, path.name, header)
    return _xml_text(root)


def _xml_text(root: ElementTree.Element) -> str:
    ElementTree.indent(root, space="    ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"
