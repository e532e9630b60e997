"""Images in ISCE2's form: raw values, a header for ISCE2 (``.xml``) and, beside it, one for GDAL (``.vrt``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from topsar.errors import ProductError
from topsar.files import atomic_path, write_text

_TYPES = {
    "BYTE": "u1",
    "SHORT": "i2",
    "INT": "i4",
    "FLOAT": "f4",
    "DOUBLE": "f8",
    "CFLOAT": "c8",
    "CDOUBLE": "c16",
}
_HINT = "remove it and run again: it will be made anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsceHeader:
    """How the values of an image lie in its file.

    Attributes
    ----------
    width, length, bands : int
    dtype : numpy.dtype
        With its byte order.
    scheme : {"BIP", "BIL", "BSQ"}
        Bands by pixel, by line, or one after the other.
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
    """Read the header of an image, ``<image>.xml`` beside it.

    Raises
    ------
    ProductError
        If it is missing or lacks a property.
    """
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
        If the image is cut short.
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

    Parameters
    ----------
    image : Path
        The raw file; its header lies beside it.

    Returns
    -------
    (bands, length, width) array
        Of the type in the header.

    Raises
    ------
    ProductError
        If the image is cut short, or its header missing.
    """
    header = check_isce_image(image)
    values = np.fromfile(image, header.dtype)
    if header.scheme == "BIL":
        return values.reshape(header.length, header.bands, header.width).transpose(1, 0, 2)
    if header.scheme == "BIP":
        return values.reshape(header.length, header.width, header.bands).transpose(2, 0, 1)
    return values.reshape(header.bands, header.length, header.width)


# --- a DEM ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Centres of pixels along one direction, in degrees: the first, the step to the next, and their number."""

    first: float
    step: float
    count: int

    @property
    def corner(self) -> float:
        """Outer edge of the first pixel."""
        return self.first - self.step / 2

    @property
    def end(self) -> float:
        """One step after the last centre."""
        return self.first + self.step * self.count

    @property
    def centres(self) -> NDArray[np.float64]:
        """All centres."""
        centres: NDArray[np.float64] = self.first + self.step * np.arange(self.count, dtype=np.float64)
        return centres


def write_dem_image(heights_m: NDArray[np.float32], x: Axis, y: Axis, path: Path) -> Path:
    """Write heights as a raw image with both headers; the ``.xml`` is there only when all is.

    Parameters
    ----------
    heights_m : (rows, columns) float32
        Above the WGS84 ellipsoid.
    x, y : Axis
        Longitudes of the columns and latitudes of the rows.
    path : Path
        The raw file; headers lie beside it.

    Returns
    -------
    Path
        The ``.xml``.

    Raises
    ------
    ProductError
        If a file cannot be written.
    """
    header = path.with_name(path.name + ".xml")
    header.unlink(missing_ok=True)
    with atomic_path(path) as part:
        heights_m.astype("<f4", copy=False).tofile(part)
    write_text(path.with_name(path.name + ".vrt"), _gdal_header(path, x, y))
    write_text(header, _isce_header(path.absolute(), x, y))
    return header


def _isce_header(path: Path, x: Axis, y: Axis) -> str:
    """The ``.xml`` of a DEM."""
    root = ElementTree.Element("imageFile")
    _add_properties(root, access_mode="read", byte_order="l", data_type="FLOAT", family="demimage", file_name=path)
    _add_properties(root, image_type="dem", length=y.count, name="demimage_name", number_bands=1, reference="WGS84")
    _add_properties(root, scheme="BIP", width=x.count, xmax=x.end, xmin=x.first)
    for name, axis in (("coordinate1", x), ("coordinate2", y)):
        component = ElementTree.SubElement(root, "component", name=name)
        ElementTree.SubElement(component, "factorymodule").text = "isceobj.Image"
        ElementTree.SubElement(component, "factoryname").text = "createCoordinate"
        _add_properties(component, delta=axis.step, endingvalue=axis.end, size=axis.count, startingvalue=axis.first)
        _add_properties(component, family="imagecoordinate", name="imagecoordinate_name")
    return _xml_text(root)


def _add_properties(parent: ElementTree.Element, **values: object) -> None:
    for name, value in values.items():
        element = ElementTree.SubElement(parent, "property", name=name)
        ElementTree.SubElement(element, "value").text = str(value)


def _gdal_header(path: Path, x: Axis, y: Axis) -> str:
    root = ElementTree.Element("VRTDataset", rasterXSize=str(x.count), rasterYSize=str(y.count))
    ElementTree.SubElement(root, "SRS").text = "EPSG:4326"
    transform = x.corner, x.step, 0.0, y.corner, 0.0, y.step
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(number) for number in transform)
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Float32", band="1", subClass="VRTRawRasterBand")
    ElementTree.SubElement(band, "SourceFilename", relativeToVRT="1").text = path.name
    layout = {"ByteOrder": "LSB", "ImageOffset": 0, "PixelOffset": 4, "LineOffset": 4 * x.count}
    for name, value in layout.items():
        ElementTree.SubElement(band, name).text = str(value)
    return _xml_text(root)


def _xml_text(root: ElementTree.Element) -> str:
    ElementTree.indent(root, space="    ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"
