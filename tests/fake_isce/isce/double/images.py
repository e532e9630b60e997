"""Images as ISCE2 writes them: the data, the ``.xml`` header and the ``.vrt`` for GDAL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .markup import Tree, read_tree, write_tree

RELEASE = "Release: 2.6.5, svn-, 20260630. Current: svn-."
EVERY = 16
"""Full-size images hold one line in so many; the rest are holes in the file, which read as zeros and cost no disk."""
LOS = "Two channel Line-Of-Sight geometry image (all angles in degrees)."
TYPES = {
    "cfloat": ("<c8", "CFloat32"),
    "float": ("<f4", "Float32"),
    "double": ("<f8", "Float64"),
    "byte": ("u1", "Byte"),
    "short": ("<i2", "Int16"),
}
"""ISCE2's type, in lower case, to NumPy's and GDAL's."""


@dataclass(frozen=True)
class Kind:
    """What one sort of image has in its header."""

    data_type: str
    family: str
    bands: int = 1
    scheme: str = "BIP"
    access: str = "read"
    image_type: str | None = None
    description: str | None = None
    caster: str | None = None
    extra: bool = True
    """Whether the header names the ``.vrt``."""

    @property
    def dtype(self) -> str:
        return TYPES[self.data_type.lower()][0]

    @property
    def bytes(self) -> int:
        """Bytes of one pixel of one band."""
        return np.dtype(self.dtype).itemsize


SLC = Kind("cfloat", "slcimage", image_type="slc", description="['Single look complex image.']")
INT = Kind("cfloat", "intimage", access="READ", image_type="cpx", extra=False)
LOOKED = Kind("CFLOAT", "intimage", image_type="cpx")
OFFSET = Kind("FLOAT", "image", caster="DoubleToFloatCaster")
COR = Kind("float", "offsetimage", bands=2, scheme="BIL", access="writeread", image_type="cor")
LOOKED_COR = Kind("FLOAT", "offsetimage", bands=2, scheme="BIL", image_type="cor")
PLAIN = Kind("FLOAT", "image", access="READ", extra=False)
PLAIN_LOOKED = Kind("FLOAT", "image")
LATITUDE = Kind("DOUBLE", "image", description="['Pixel-by-pixel latitude in degrees.']")
LONGITUDE = Kind("DOUBLE", "image", description="['Pixel-by-pixel longitude in degrees.']")
HEIGHT = Kind("DOUBLE", "image", description="['Pixel-by-pixel height in meters.']")
SIGHT = Kind("FLOAT", "image", bands=2, scheme="BIL", image_type="bil", description=f"['{LOS}']")
MASKED = "['imageMath.py -e=a_0*(abs(b)!=0);a_1*(abs(b)!=0)']"
UNWRAPPED = Kind("FLOAT", "image", bands=2, scheme="BIL", description=MASKED)


@dataclass(frozen=True)
class Axes:
    """Start and step of columns and rows."""

    x: tuple[float, float] = (0, 1)
    y: tuple[float, float] = (0, 1)


def multilooked_axes(range_looks: int, azimuth_looks: int) -> Axes:
    return Axes(((range_looks - 1) / 2, float(range_looks)), ((azimuth_looks - 1) / 2, float(azimuth_looks)))


def _axis_properties(start: float, step: float, size: int) -> Tree:
    return {
        "delta": step, "endingvalue": start + step * size, "family": "imagecoordinate",
        "name": "imagecoordinate_name", "size": size, "startingvalue": start,
    }  # fmt: skip


def make_header(path: Path, width: int, length: int, kind: Kind, axes: Axes) -> Tree:
    tree: Tree = {
        "ISCE_VERSION": RELEASE, "access_mode": kind.access, "byte_order": "l", "data_type": kind.data_type,
        "family": kind.family, "file_name": path, "length": length, "name": f"{kind.family}_name",
        "number_bands": kind.bands, "scheme": kind.scheme, "width": width, "xmin": axes.x[0],
        "xmax": axes.x[0] + axes.x[1] * width,
        "coordinate1": _axis_properties(*axes.x, width), "coordinate2": _axis_properties(*axes.y, length),
    }  # fmt: skip
    given = {"image_type": kind.image_type, "description": kind.description, "caster": kind.caster}
    tree |= {name: value for name, value in given.items() if value is not None}
    return tree | ({"extra_file_name": f"{path}.vrt"} if kind.extra else {})


def _raw_band_xml(name: str, number: int, kind: Kind, width: int) -> str:
    offset = width * kind.bytes * (number - 1)
    gdal = TYPES[kind.data_type.lower()][1]
    return f"""    <VRTRasterBand dataType="{gdal}" band="{number}" subClass="VRTRawRasterBand">
        <SourceFilename relativeToVRT="1">{name}</SourceFilename>
        <ByteOrder>LSB</ByteOrder>
        <ImageOffset>{offset}</ImageOffset>
        <PixelOffset>{kind.bytes}</PixelOffset>
        <LineOffset>{width * kind.bytes * kind.bands}</LineOffset>
    </VRTRasterBand>
"""


def write_headers(path: Path, width: int, length: int, kind: Kind, axes: Axes | None = None) -> list[Path]:
    """Write the ``.xml`` and ``.vrt`` of an image; with axes the ``.vrt`` says where it lies, as by the real one."""
    xml, vrt = (path.with_name(path.name + suffix) for suffix in (".xml", ".vrt"))
    write_tree(xml, "imageFile", make_header(path, width, length, kind, axes or Axes()), docs=True)
    place = ""
    if axes is not None:
        numbers = f"{axes.x[0]}, {axes.x[1]}, 0.0, {axes.y[0]}, 0.0, {axes.y[1]}"
        place = f"    <SRS>EPSG:4326</SRS>\n    <GeoTransform>{numbers}</GeoTransform>\n"
    bands = "".join(_raw_band_xml(path.name, number + 1, kind, width) for number in range(kind.bands))
    vrt.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{length}">\n{place}{bands}</VRTDataset>\n')
    return [xml, vrt]


def write_image(path: Path, data: Any, kind: Kind, axes: Axes | None = None) -> list[Path]:
    """Write an image and its headers; ``data`` is (lines, samples), or (bands, lines, samples)."""
    data = np.asarray(data)
    length, width = data.shape[-2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = data if data.ndim == 2 else np.moveaxis(data, 0, 1)
    np.ascontiguousarray(lines, dtype=kind.dtype).tofile(path)
    return [path, *write_headers(path, width, length, kind, axes)]


def write_sparse(path: Path, shape: tuple[int, int], kind: Kind, lines: Callable[[Any], Any]) -> list[Path]:
    """Write an image of full size of which few lines are there.

    ``lines`` gives the wanted lines, (lines, samples) or (bands, lines, samples), of the numbers it is called with.
    """
    length, width = shape
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = np.arange(0, length, EVERY)
    data = np.asarray(lines(wanted))
    rows = np.ascontiguousarray(data if data.ndim == 2 else np.moveaxis(data, 0, 1), dtype=kind.dtype)
    stride = width * kind.bands * kind.bytes
    with path.open("wb") as stream:
        for number, row in zip(wanted.tolist(), rows, strict=True):
            stream.seek(number * stride)
            stream.write(row.tobytes())
        stream.truncate(length * stride)
    return [path, *write_headers(path, width, length, kind)]


def read_image(path: Path) -> tuple[Any, Tree]:
    """An image by its header, (bands, lines, samples); what is missing at the end of the file reads as zeros."""
    tree = read_tree(path.with_name(f"{path.name}.xml"))
    bands, length, width = (int(tree[name]) for name in ("number_bands", "length", "width"))
    flat = np.zeros(bands * length * width, TYPES[tree["data_type"].lower()][0])
    found = np.fromfile(path, flat.dtype)[: flat.size]
    flat[: found.size] = found
    return np.moveaxis(flat.reshape(length, bands, width), 1, 0), tree


@dataclass(frozen=True)
class View:
    """A part of another image: its name as the ``.vrt`` gives it, lines there and here, how many, its size."""

    name: str
    line: int
    here: int
    lines: int
    shape: tuple[int, int]


def _view_xml(view: View, band: int, width: int) -> list[str]:
    relative = int(not view.name.startswith("/"))
    return [
        "        <SimpleSource>",
        f'            <SourceFilename relativeToVRT="{relative}">{view.name}</SourceFilename>',
        f"            <SourceBand>{band}</SourceBand>",
        f'            <SourceProperties RasterXSize="{view.shape[1]}" RasterYSize="{view.shape[0]}"/>',
        f'            <SrcRect xOff="0" yOff="{view.line}" xSize="{width}" ySize="{view.lines}"/>',
        f'            <DstRect xOff="0" yOff="{view.here}" xSize="{width}" ySize="{view.lines}"/>',
        "        </SimpleSource>",
    ]


def write_virtual(path: Path, shape: tuple[int, int], kind: Kind, views: list[View]) -> list[Path]:
    """Write the headers of an image that is only a view of others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    length, width = shape
    xml, vrt = (path.with_name(path.name + suffix) for suffix in (".xml", ".vrt"))
    write_tree(xml, "imageFile", make_header(path, width, length, kind, Axes()), docs=True)
    text = [f'<VRTDataset rasterXSize="{width}" rasterYSize="{length}">']
    for band in range(1, kind.bands + 1):
        text.append(f'    <VRTRasterBand dataType="{TYPES[kind.data_type.lower()][1]}" band="{band}">')
        text.append("        <NoDataValue>0.0</NoDataValue>")
        text += [line for view in views for line in _view_xml(view, band, min(width, view.shape[1]))]
        text.append("    </VRTRasterBand>")
    vrt.write_text("\n".join([*text, "</VRTDataset>", ""]))
    return [xml, vrt]
