"""Images as ISCE2 writes them: raw values, and an XML header that says how they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from topsar.errors import ProductError

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


def read_isce_header(image: Path) -> IsceHeader:
    """The header of an image, which lies beside it as ``<image>.xml``.

    Raises
    ------
    ProductError
        If it is missing or does not say what it must.
    """
    path = image.with_name(image.name + ".xml")
    try:
        found = {
            str(one.get("name")).lower(): one.findtext("value", "") for one in ElementTree.parse(path).iter("property")
        }
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
    """The header of an image that is as large as its header says; a virtual one needs no file of its own.

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
    """All values of an image.

    Parameters
    ----------
    image : Path
        The raw file; its header lies beside it.

    Returns
    -------
    (bands, length, width) array
        Of the type that the header names.

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
