"""The map of a page: layers packed into tiles that a browser unpacks when they come into view.

``viewer.js`` reads what is packed here; a page includes its text and ``viewer.css``, so that it needs no server.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from topsar.model import GeoGrid

TILE = 256
MOST_STEPS = 16_000
"""From zero: differences of two values fit into 16 bits."""
MESH = 17
"""Nodes along each side at which latitude and longitude are known; between them they are interpolated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """A layer as a page shows it.

    ``values`` (rows, columns) are in the shown unit, NaN in holes, of the scene's grid averaged over ``2**first``
    pixels. ``step`` is what they are rounded to, ``style`` that of a `topsar.interferogram.Drawing`, ``low`` and
    ``high`` are the ends of the colours, ``ends`` the words for them, ``note`` the sign or what it is measured from.
    """

    values: NDArray[np.float32]
    step: float
    title: str
    unit: str
    style: str
    low: float
    high: float
    ends: tuple[str, str] = ("", "")
    note: str = ""
    first: int = 0


def read_asset(name: str) -> str:
    """The text of ``viewer.js`` or ``viewer.css``."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def pack_scene(grid: GeoGrid, layers: Mapping[str, Shown], most_bytes: int, **more: Any) -> dict[str, Any]:
    """Pack layers of one grid; where they take too much, the finest level of the largest goes.

    Parameters
    ----------
    grid : GeoGrid
        Of level 0.
    layers : mapping of str to Shown
        ``relief``, 0 to 255, lights the others.
    most_bytes : int
        What they may take.
    more
        What else the page reads of its scene; JSON.
    """
    count = 1
    while max(grid.shape) > TILE << (count - 1):
        count += 1
    packed = {name: _pack_layer(layer, count) for name, layer in layers.items()}
    sizes = {name: [sum(map(len, level)) for level in layer["levels"]] for name, layer in packed.items()}
    while sum(map(sum, sizes.values())) > most_bytes:
        largest = max((name for name in sizes if len(sizes[name]) > 1), key=lambda name: sizes[name][0])
        del sizes[largest][0], packed[largest]["levels"][0]
        packed[largest]["first"] += 1
    scene = {"rows": grid.rows, "columns": grid.columns, "count": count, "layers": packed, "mesh": _make_mesh(grid)}
    return scene | {"metres": _measure(grid)} | more


def coarsen(grid: GeoGrid, factor: int) -> GeoGrid:
    """The grid of averages over ``factor`` pixels; its last row and column may reach beyond."""
    rows, columns = -(-grid.rows // factor), -(-grid.columns // factor)
    return replace(grid, dx=grid.dx * factor, dy=grid.dy * factor, rows=rows, columns=columns)


def average(values: NDArray[Any], factor: int, *, cyclic: bool = False) -> NDArray[np.float32]:
    """Average squares of pixels, over what is known of them; angles as complex numbers.

    Parameters
    ----------
    values : (rows, columns) float
        NaN in holes.
    factor : int
    cyclic : bool
        Whether they are angles, radians.
    """
    if factor == 1:
        return values.astype(np.float32, copy=False)
    if cyclic:
        turned = np.exp(1j * values.astype(np.complex64))
        real, imaginary = average(turned.real, factor), average(turned.imag, factor)
        return np.arctan2(imaginary, real)
    rows, columns = (-(-n // factor) for n in values.shape)
    padded = np.full((rows * factor, columns * factor), np.nan, np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, factor, columns, factor)
    known = np.isfinite(blocks)
    total, many = np.where(known, blocks, 0).sum(axis=(1, 3)), known.sum(axis=(1, 3))
    return np.where(many > 0, total / np.maximum(many, 1), np.nan).astype(np.float32)


def _pack_layer(layer: Shown, count: int) -> dict[str, Any]:
    values, levels = layer.values, []
    known = np.isfinite(values)
    step = max(layer.step, float(np.abs(values[known]).max(initial=0)) / MOST_STEPS, 1e-9)
    for _ in range(layer.first, count):
        levels.append(_cut_tiles(np.round(values / step)))
        values = average(values, 2, cyclic=layer.style == "cyclic")
    named = ("title", "unit", "style", "low", "high", "ends", "note", "first")
    return {name: getattr(layer, name) for name in named} | {"step": step, "levels": levels}


def _cut_tiles(whole: NDArray[np.float32]) -> list[str]:
    rows, columns = (range(0, n, TILE) for n in whole.shape)
    return [encode(whole[row : row + TILE, column : column + TILE]) for row in rows for column in columns]


def encode(whole: NDArray[np.float32]) -> str:
    """Pack a table of whole numbers: which are known, then their differences from the mean of left and upper neighbour.

    Parameters
    ----------
    whole : (rows, columns) float
        Whole numbers within ``MOST_STEPS`` of zero, NaN in holes.
    """
    known = np.isfinite(whole)
    if not known.any():
        return ""
    place = np.maximum.accumulate(np.where(known, np.arange(whole.shape[1]), 0), axis=1)
    filled = np.nan_to_num(np.take_along_axis(whole, place, axis=1)).astype(np.int32)
    guess = np.zeros_like(filled)
    guess[1:, 1:] = (filled[:-1, 1:] + filled[1:, :-1]) >> 1
    guess[0, 1:], guess[1:, 0] = filled[0, :-1], filled[:-1, 0]
    rest = filled - guess
    folded = ((rest << 1) ^ (rest >> 31)).astype(np.uint16)  # small numbers of either sign become small ones
    planes = (np.packbits(known), (folded & 255).astype(np.uint8), (folded >> 8).astype(np.uint8))
    return base64.b64encode(zlib.compress(b"".join(plane.tobytes() for plane in planes), 6)).decode()


def _make_mesh(grid: GeoGrid) -> list[list[float]]:
    """Latitudes and longitudes, degrees, of nodes from the north-west corner on, row by row."""
    from topsar.raster.geotiff import make_transformer

    box = grid.bbox
    x, y = np.meshgrid(np.linspace(box.west, box.east, MESH), np.linspace(box.north, box.south, MESH))
    longitude, latitude = make_transformer(grid).transform(x, y)
    longitude = np.unwrap(np.unwrap(longitude, period=360, axis=0), period=360, axis=1)
    return [np.round(part, 7).ravel().tolist() for part in (latitude, longitude)]


def _measure(grid: GeoGrid) -> list[float]:
    """Width and height on the ground, metres."""
    from topsar.formats.quicklook.view import measure_ground_m

    return [round(one, 1) for one in measure_ground_m(grid)]


def list_palettes() -> dict[str, list[str]]:
    """Colours of each style, from the low end to the high one."""
    from topsar.formats.quicklook import palette

    maps = {
        "cyclic": palette.PHASE, "symmetric": palette.DISPLACEMENT, "range": palette.RANGE, "unit": palette.GREY,
    }  # fmt: skip
    return {name: [one.write(share) for share in np.linspace(0, 1, 33)] for name, one in maps.items()}
