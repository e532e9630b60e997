"""Products as xarray datasets: one pair, or all pairs of a track. No pixel is read before it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from topsar.errors import ProductError, SettingsError
from topsar.interferogram import PRODUCTS, Interferogram, find_kind, join_grids, read_pair
from topsar.model import GeoGrid, Window
from topsar.raster.geotiff import compute_pixel_axes, open_to_read

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACTS = "facts.json"
OF_PAIRS = ("pair", "reference_date", "secondary_date", "perpendicular_baseline_m")
"""Facts that are coordinates of a stack."""


def open_pair(folder: Path | str) -> xr.Dataset:
    """Open the products of a pair.

    Every layer is a variable (y, x); holes are NaN. Facts are attributes, nested ones as JSON text. Each access reads
    the pixels that it needs; ``load`` keeps them. ``folder`` is that of a pair in ``data/runs``, or its ``products``;
    a ProductError says what is wrong with it.
    """
    products, pair = _open_products(folder)
    return _open_layers([(products, pair)], pair.grid).isel(pair=0, drop=True).assign_attrs(_make_attributes(pair))


def open_stack(
    runs: Path | str | Iterable[Path | str], track: int | None = None, polarisation: str | None = None
) -> xr.Dataset:
    """Open the products of all pairs of a track and polarisation.

    Every layer is a variable (pair, y, x) on the smallest grid that covers all pairs; holes, ground that a pair does
    not cover, and layers that it lacks are NaN. Coordinates along ``pair`` are its id, ``reference_date``,
    ``secondary_date`` and ``perpendicular_baseline_m``; facts that all pairs share are attributes.

    Parameters
    ----------
    runs : Path, str or iterable of them
        The folder ``data/runs``, or folders of pairs.
    track : int, optional
        Relative orbit; may be left out where all pairs are of one.
    polarisation : str, optional
        ``VV`` and so on; may be left out where all pairs are of one.

    Raises
    ------
    ProductError
        If there are no products, they cannot be read, or their projections or pixel sizes differ.
    SettingsError
        If there are pairs of several tracks or polarisations and none is chosen.
    """
    if isinstance(runs, Path | str):
        folders: Iterable[Path | str] = (file.parent for file in Path(runs).expanduser().glob(f"*/{PRODUCTS}/{FACTS}"))
    else:
        folders = runs
    pairs = [_open_products(folder) for folder in folders]
    chosen = [(folder, pair) for folder, pair in pairs if track in (None, pair.facts["track"])]
    tracks = sorted({pair.facts["track"] for _, pair in pairs})
    listed = ", ".join(map(str, tracks))
    if not chosen:
        where = runs if isinstance(runs, Path | str) else "the folders given"
        msg = f"no products{'' if track is None else f' of track {track}'} in {where}"
        raise ProductError(msg, hint=f"there are those of track {listed}" if tracks else "run topsar first")
    if track is None and len(tracks) > 1:
        msg = f"the pairs are of tracks {listed}, and a stack holds one"
        raise SettingsError(msg, hint=f"choose it: open_stack(..., track={tracks[0]})")
    seen = sorted({str(pair.facts.get("polarisation")) for _, pair in chosen})
    chosen = [one for one in chosen if polarisation in (None, one[1].facts.get("polarisation"))]
    if not chosen or (polarisation is None and len(seen) > 1):
        msg = f"the pairs are of {' and '.join(seen)}, and a stack holds one"
        raise SettingsError(msg, hint=f'choose it: open_stack(..., polarisation="{seen[0]}")')
    chosen.sort(key=lambda one: [one[1].facts[key] for key in ("reference_date", "secondary_date", "pair")])
    stack = _open_layers(chosen, join_grids([pair for _, pair in chosen]))
    attributes = [_make_attributes(pair) for _, pair in chosen]
    shared = {key: value for key, value in attributes[0].items() if all(one.get(key) == value for one in attributes)}
    dates = {key: ("pair", np.array([pair.facts[key] for _, pair in chosen], "M8[ns]")) for key in OF_PAIRS[1:3]}
    baselines = [float(pair.facts.get(OF_PAIRS[3], np.nan)) for _, pair in chosen]
    known = {"units": "m", "long_name": "Perpendicular baseline"}
    coordinates = {"pair": [pair.pair_id for _, pair in chosen], OF_PAIRS[3]: ("pair", baselines, known), **dates}
    return stack.assign_coords(coordinates).assign_attrs({k: v for k, v in shared.items() if k not in OF_PAIRS})


def _open_products(folder: Path | str) -> tuple[Path, Interferogram]:
    """Find the products of a pair: in the folder, or in the one of that name in it."""
    products = Path(folder).expanduser()
    if not (products / FACTS).is_file():
        products /= PRODUCTS
    return products, read_pair(products)


def _open_layers(pairs: Sequence[tuple[Path, Interferogram]], grid: GeoGrid) -> xr.Dataset:
    """The layers of all pairs, (pair, y, x), with their grid."""
    windows = tuple(grid.window_of(pair.grid) for _, pair in pairs)
    layers = {}
    for name in dict.fromkeys(name for _, pair in pairs for name in pair.layers):
        files = tuple(folder / f"{name}.tif" if name in pair.layers else None for folder, pair in pairs)
        array = _LayersOnGrid(files, windows, grid)
        encoding = {"_FillValue": array.nodata, "dtype": array.stored, "grid_mapping": "spatial_ref"}
        attributes = _layer_attributes(name, array.unit, array.description)
        layers[name] = xr.Variable(("pair", "y", "x"), indexing.LazilyIndexedArray(array), attributes, encoding)
    x, y = compute_pixel_axes(grid)
    stack = xr.Dataset(layers, {"y": y, "x": x}, {"Conventions": "CF-1.8"})
    stack.rio.write_crs(grid.crs, inplace=True)
    stack.rio.write_transform(rasterio.Affine(*grid.transform), inplace=True)
    stack.rio.write_coordinate_system(inplace=True)
    return stack


def _layer_attributes(name: str, unit: str, description: str) -> dict[str, str]:
    kind = find_kind(name)
    attributes = {
        "long_name": getattr(kind, "long_name", description),
        "units": unit,
        "standard_name": getattr(kind, "standard_name", ""),
        "description": description,
        "comment": getattr(kind, "convention", ""),
    }
    return {key: value for key, value in attributes.items() if value}


def _make_attributes(pair: Interferogram) -> dict[str, str | int | float]:
    """Facts as netCDF and Zarr keep them: texts and numbers; what is nested becomes JSON text."""
    attributes: dict[str, str | int | float] = {}
    for key, value in pair.facts.items():
        if value is not None:
            known = int(value) if isinstance(value, bool) else value
            attributes[key] = known if isinstance(known, str | int | float) else json.dumps(known, ensure_ascii=False)
    return attributes


class _LayersOnGrid(BackendArray):
    """A layer of several pairs on a common grid, (pair, row, column), float; reads the windows that are asked for."""

    def __init__(self, files: Sequence[Path | None], windows: Sequence[Window], grid: GeoGrid) -> None:
        self._files, self._windows = files, windows
        self.shape = (len(files), *grid.shape)
        first = next(file for file in files if file)
        with open_to_read(first) as raster:
            self.stored, self.nodata = np.dtype(raster.dtypes[0]), raster.nodata
            self.unit, self.description = raster.units[0], raster.descriptions[0]
        self.dtype = self.stored if self.stored.kind == "f" else np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        support = indexing.IndexingSupport.BASIC
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, support, self._read))

    def _read(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        spans = [_span_of(part, size) for part, size in zip(key, self.shape, strict=True)]
        pairs, rows, columns = spans
        asked = Window(row=rows.start, column=columns.start, rows=len(rows), columns=len(columns))
        values = np.full([len(span) for span in spans], np.nan, self.dtype)
        for place, pair in enumerate(pairs):
            self._read_window(pair, asked, values[place])
        picks = tuple(0 if isinstance(part, int | np.integer) else slice(None, None, part.step) for part in key)
        return np.asarray(values[picks])

    def _read_window(self, pair: int, asked: Window, values: NDArray[Any]) -> None:
        """Fill ``values``, the pixels of the window ``asked``, with those that the pair has."""
        file, window = self._files[pair], self._windows[pair]
        shared = asked.intersection(window)
        if file is None or shared is None:
            return
        inside = rasterio.windows.Window(
            shared.column - window.column, shared.row - window.row, shared.columns, shared.rows
        )
        with open_to_read(file) as raster:
            read = raster.read(1, window=inside).astype(self.dtype)
        if not np.isnan(self.nodata):
            read[read == self.nodata] = np.nan
        row, column = shared.row - asked.row, shared.column - asked.column
        values[row : row + shared.rows, column : column + shared.columns] = read


def _span_of(part: int | slice, size: int) -> range:
    """The pixels from the first to the last one of an index, whatever its step."""
    if not isinstance(part, slice):
        return range(int(part), int(part) + 1)
    taken = range(size)[part]
    return range(min(taken), max(taken) + 1) if len(taken) else range(0)
