"""Points of a time series: pixels that stay bright and coherent, which of them there are and what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from topsar.formats.timeseries.dispersion import DISPERSION, PIXELS_TAG, limit_dispersion
from topsar.formats.timeseries.stack import lay_largest, name_displacement, read_layer
from topsar.interferogram import read_number
from topsar.model import Looks
from topsar.raster import read_geotiff
from topsar.raster.geotiff import locate_pixels, open_to_read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.formats.timeseries.stack import Network

MOST_VALUES = 20_000_000
"""Displacements that are written, points times dates; of more points the steadiest are taken."""
_STRIP_ROWS = 64
Source = Literal["SLC stack", "amplitude of pairs, as of a single look"] | None


class Rules(NamedTuple):
    """A point has no more amplitude dispersion, and no less temporal coherence."""

    dispersion: float
    coherence: float


class Points(NamedTuple):
    """Chosen pixels; arrays are (points,).

    ``columns`` maps names to what is known, in SI units but for degrees; ``series`` (dates, points) is in metres.
    ``found`` counts the pixels that meet the rules, ``source`` is where the dispersion comes from, None where
    there is no amplitude; ``most_dispersion`` is what they have at most, less than was asked for where chance has it.
    """

    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]
    columns: dict[str, NDArray[np.float32]]
    series: NDArray[np.float32]
    found: int
    source: Source
    most_dispersion: float


class _Steadiness(NamedTuple):
    """Of each pixel: the least dispersion of its ``pixels``, and where, in fine pixels from its corner."""

    dispersion: NDArray[np.float32]
    place: NDArray[np.int32] | None
    looks: Looks
    source: Source
    pixels: int


def choose_points(network: Network, folder: Path, rules: Rules) -> Points:
    """Choose points among the pixels of a series, and collect what is known of them.

    A point lies where its pixel's amplitude is steadiest; its series is that of the pixel.

    Parameters
    ----------
    network : Network
    folder : Path
        It holds the GeoTIFFs of the series.
    rules : Rules
    """
    coherence, _, _ = read_geotiff(folder / "temporal_coherence.tif")
    steady = _find_dispersion(network)
    most = min(rules.dispersion, limit_dispersion(len(network.dates), steady.pixels))
    chosen = np.flatnonzero((steady.dispersion <= most) & (coherence >= rules.coherence))
    found, kept = chosen.size, MOST_VALUES // len(network.dates)
    if found > kept:
        order = np.argpartition(steady.dispersion.ravel()[chosen], kept - 1)
        chosen = np.sort(chosen[order[:kept]])
    row, column = np.divmod(chosen, network.grid.columns)
    longitude, latitude = _locate(network, steady, row, column)
    pair = lay_largest(network)

    def pick(name: str) -> NDArray[np.float32]:
        values, _, _ = read_geotiff(folder / f"{name}.tif")
        return values[row, column].astype(np.float32)

    def know(name: str) -> NDArray[np.float32]:
        if name not in pair.layers:
            return np.full(chosen.size, np.nan, np.float32)
        return pair.layers[name].values[row, column].astype(np.float32)

    columns = {
        "height": know("height"),
        "velocity": pick("velocity"),
        "velocity_std": pick("velocity_std"),
        "temporal_coherence": coherence[row, column],
        "amplitude_dispersion": steady.dispersion[row, column],
        "incidence": know("incidence"),
    }
    series = np.empty((len(network.dates), chosen.size), np.float32)
    for number, date in enumerate(network.dates):
        series[number] = pick(name_displacement(date)) + 0.0  # no negative zeros in texts
    return Points(longitude, latitude, columns, series, found, steady.source, most)


def _locate(
    network: Network, steady: _Steadiness, row: NDArray[np.intp], column: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of the steadiest place of some pixels."""
    down, right = np.full((2, row.size), 0.5)
    if steady.place is not None:
        fine_row, fine_column = np.divmod(steady.place[row, column], steady.looks.east)
        down, right = (fine_row + 0.5) / steady.looks.north, (fine_column + 0.5) / steady.looks.east
    return locate_pixels(network.grid, row + down, column + right)


def _find_dispersion(network: Network) -> _Steadiness:
    """Amplitude dispersion of each pixel: the least in the stack of SLCs where there is one, else that of the pairs."""
    for path in list_dispersions(network):
        if (looks := _count_looks(path, network)) is not None:
            return _read_steadiest(path, network, looks)
    dispersion = _compare_pairs(network)
    source: Source = "amplitude of pairs, as of a single look" if np.isfinite(dispersion).any() else None
    return _Steadiness(dispersion, None, Looks(east=1, north=1), source, 1)


def list_dispersions(network: Network) -> list[Path]:
    """List the amplitude dispersions of the track beside the pairs, as `SLC_STACK` leaves them."""
    facts, folder = network.pairs[0].facts, network.pairs[0].folder
    if folder is None or "track" not in facts or "polarisation" not in facts:
        return []
    name = f"T{facts['track']:03d}_{facts['polarisation']}"
    beside = (path for above in folder.parents[1:3] for path in above.glob(f"slc_stack/{name}*/{DISPERSION}"))
    return [*sorted(beside), *folder.parent.glob(DISPERSION)]  # the last one is that of the step that linked phases


def _count_looks(path: Path, network: Network) -> Looks | None:
    """Fine pixels of a file in a pixel of the network; None where they do not cover it, or do not fit."""
    grid = network.grid
    with open_to_read(path) as dataset:
        a, _, c, _, e, f = dataset.transform[:6]
        looks = Looks(east=max(round(grid.dx / a), 1), north=max(round(grid.dy / -e), 1))
        fine = grid.refine(looks)
        fits = np.allclose((fine.dx, fine.dy), (a, -e), rtol=1e-6, atol=0)
        row, column = (f - fine.north) / fine.dy, (fine.west - c) / fine.dx
        aligned = max(abs(row - round(row)), abs(column - round(column))) < 0.01
        inside = round(row) >= 0 and round(column) >= 0
        inside &= round(row) + fine.rows <= dataset.height and round(column) + fine.columns <= dataset.width
        same = dataset.crs is not None and dataset.crs.to_string() == grid.crs
    return looks if fits and aligned and inside and same else None


def _read_steadiest(path: Path, network: Network, looks: Looks) -> _Steadiness:
    """The least dispersion in each pixel, and where."""
    grid, fine = network.grid, network.grid.refine(looks)
    least, place = np.full(grid.shape, np.nan, np.float32), np.zeros(grid.shape, np.int32)
    with open_to_read(path) as dataset:
        already = int(dataset.tags().get(PIXELS_TAG, 1))
        top = round((dataset.transform.f - fine.north) / fine.dy)
        left = round((fine.west - dataset.transform.c) / fine.dx)
        for row in range(0, grid.rows, _STRIP_ROWS):
            rows = min(_STRIP_ROWS, grid.rows - row)
            start = top + row * looks.north
            strip = dataset.read(1, window=((start, start + rows * looks.north), (left, left + fine.columns)))
            cells = strip.reshape(rows, looks.north, grid.columns, looks.east).swapaxes(1, 2)
            cells = np.where(np.isnan(cells), np.inf, cells).reshape(rows, grid.columns, looks.count)
            place[row : row + rows] = cells.argmin(axis=2)
            least[row : row + rows] = cells.min(axis=2)
    least[np.isinf(least)] = np.nan
    return _Steadiness(least, place, looks, "SLC stack", looks.count * already)


def _compare_pairs(network: Network) -> NDArray[np.float32]:
    """Dispersion of the amplitude of pairs, times what the mean over two dates and over L independent looks took.

    The mean of L cells with the dispersion D has D/√L, so that of speckle, 0.52 in a single look, would pass for that
    of a scatterer. NaN where a pair has no amplitude, or nobody knows its looks.
    """
    looks = [read_number(pair.facts.get("independent_looks")) for pair in network.pairs]
    if None in looks:
        return np.full(network.grid.shape, np.nan, np.float32)
    single = np.sqrt(2 * np.mean(np.array(looks, np.float64)))
    count, total, squares = (np.zeros(network.grid.shape, np.float32) for _ in range(3))
    for pair in network.pairs:
        if "amplitude" not in pair.layers:
            return np.full(network.grid.shape, np.nan, np.float32)
        amplitude = read_layer(network, pair, "amplitude", network.grid.whole)
        seen = np.isfinite(amplitude) & (amplitude > 0)
        bright = np.where(seen, amplitude / (np.median(amplitude[seen]) if seen.any() else 1), 0)
        count += seen
        total += bright
        squares += bright**2
    known = count >= 3
    mean = np.where(known, total / np.maximum(count, 1), np.nan)
    variance = np.maximum(squares - count * mean**2, 0) / np.maximum(count - 1, 1)
    return np.asarray(single * np.sqrt(variance) / mean, np.float32)
