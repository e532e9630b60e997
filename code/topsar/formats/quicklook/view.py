"""From full-size layers to arrays of the size of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from topsar.interferogram import Interferogram
from topsar.model import GeoGrid, Window
from topsar.raster.geotiff import make_transformer

MAX_ROWS, MAX_COLUMNS = 1000, 1200
STRIP_ROWS = 64
WITNESSES = ("coherence", "amplitude", "wrapped_phase", "filtered_phase", "unwrapped_phase", "displacement")
Real = NDArray[np.float32]
Reduction = Callable[[NDArray[Any]], NDArray[Any]]
"""From blocks (rows, factor, columns, factor), NaN in holes, to one value each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What all pictures of an interferogram share: the part with data, and how many pixels make one of the picture."""

    ifg: Interferogram
    window: Window
    factor: int
    _reduced: dict[tuple[str, Callable[..., Any]], Real] = field(default_factory=dict, repr=False)

    @property
    def grid(self) -> GeoGrid:
        """The grid of the picture's pixels."""
        crop, factor = self.ifg.grid.crop(self.window), self.factor
        rows, columns = crop.rows // factor, crop.columns // factor
        return replace(crop, dx=crop.dx * factor, dy=crop.dy * factor, rows=rows, columns=columns)

    def average(self, name: str) -> Real:
        """Average a layer to the picture's pixels, NaN in holes."""
        return self._reduce(name, _nanmean)

    def shade(self) -> Real:
        """Light the relief from the north-west, 0 to 1; 0.5 everywhere without heights."""
        if "height" not in self.ifg.layers:
            return np.full(self.grid.shape, 0.5, np.float32)
        key = "height", shade_relief
        if key not in self._reduced:
            self._reduced[key] = shade_relief(self.average("height"), self.grid)
        return self._reduced[key]

    def average_phase(self, name: str) -> Real:
        """Average wrapped phase as complex numbers."""
        return self._reduce(name, _average_angles)

    def pick_labels(self, name: str) -> Real:
        """Pick one pixel of a layer of labels per block, NaN in holes."""
        return self._reduce(name, _pick_middle)

    def _reduce(self, name: str, reduce: Reduction) -> Real:
        """Reduce a layer, once for all pictures and the map."""
        if (name, reduce) not in self._reduced:
            self._reduced[name, reduce] = self._reduce_strips(name, reduce)
        return self._reduced[name, reduce]

    def _reduce_strips(self, name: str, reduce: Reduction) -> Real:
        layer, grid, factor = self.ifg.layers[name], self.grid, self.factor
        result = np.empty(grid.shape, np.float32)
        rows, columns = self.window.slices
        values = layer.values[rows, columns]
        for start in range(0, grid.rows, STRIP_ROWS):
            part = values[start * factor : (start + STRIP_ROWS) * factor, : grid.columns * factor]
            strip = replace(layer, values=part[: part.shape[0] // factor * factor])
            filled = np.where(strip.holes, np.float32(np.nan), strip.values.astype(np.float32))
            blocks = filled.reshape(-1, factor, grid.columns, factor)
            result[start : start + blocks.shape[0]] = reduce(blocks)
        return result


def cut_view(ifg: Interferogram) -> View:
    """The rectangle that holds all data of an interferogram."""
    rows, columns = np.zeros(ifg.grid.rows, bool), np.zeros(ifg.grid.columns, bool)
    for name in WITNESSES:
        if name in ifg.layers:
            valid = ~ifg.layers[name].holes
            rows |= valid.any(axis=1)
            columns |= valid.any(axis=0)
    window = ifg.grid.whole
    if rows.any():
        (top, bottom), (left, right) = ([int(i) for i in np.flatnonzero(x)[[0, -1]]] for x in (rows, columns))
        window = Window(row=top, column=left, rows=bottom - top + 1, columns=right - left + 1)
    factor = max(math.ceil(window.rows / MAX_ROWS), math.ceil(window.columns / MAX_COLUMNS), 1)
    factor = min(factor, window.rows, window.columns)
    whole = replace(window, rows=window.rows // factor * factor, columns=window.columns // factor * factor)
    return View(ifg=ifg, window=whole, factor=factor)


def _nanmean(blocks: NDArray[Any]) -> NDArray[Any]:
    """Mean over axes 1 and 3 of what is not NaN; NaN where less than half of a block is left."""
    valid = ~np.isnan(blocks)
    count = valid.sum(axis=(1, 3))
    total = np.where(valid, blocks, 0).sum(axis=(1, 3))
    enough = 2 * count >= blocks.shape[1] * blocks.shape[3]
    return np.where(enough, total / np.maximum(count, 1), np.nan)


def _average_angles(blocks: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.angle(_nanmean(np.exp(1j * blocks))))


def _pick_middle(blocks: NDArray[Any]) -> NDArray[Any]:
    return blocks[:, blocks.shape[1] // 2, :, blocks.shape[3] // 2]


def measure_ground_m(grid: GeoGrid) -> tuple[float, float]:
    """Ground width and height of a grid, metres, along its middle row and column."""
    box = grid.bbox
    (x, y), transformer, geod = box.centre, make_transformer(grid), Geod(ellps="WGS84")
    width = geod.line_length(*transformer.transform((box.west, x, box.east), (y, y, y)))
    return float(width), float(geod.line_length(*transformer.transform((x, x, x), (box.south, y, box.north))))


def shade_relief(height: Real, grid: GeoGrid) -> Real:
    """Light the relief from the north-west, 0 (shadow) to 1 (lit), 0.5 for level ground and holes.

    The slope is scaled by its own spread, so that plains show their relief too.

    Parameters
    ----------
    height : (rows, columns) float32
        Metres, NaN in holes.
    grid : GeoGrid
    """
    width, length = measure_ground_m(grid)
    if min(height.shape) < 2:
        return np.full(height.shape, 0.5, np.float32)
    south, east = np.gradient(height, length / grid.rows, width / grid.columns)
    toward_light = (east + south) / np.sqrt(2.0)
    spread = float(np.nanstd(toward_light)) if np.isfinite(toward_light).any() else 0.0
    scaled = np.tanh(toward_light / max(2.0 * spread, 0.01))
    return np.asarray(np.nan_to_num(0.5 + 0.5 * scaled, nan=0.5), np.float32)
