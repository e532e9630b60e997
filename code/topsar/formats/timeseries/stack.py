"""The pairs of a track as one network of dates, read window by window."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from topsar.errors import ProductError, SettingsError
from topsar.formats.exchange import require_unwrapped
from topsar.formats.timeseries.inversion import find_reached
from topsar.interferogram import LAYERS, join_grids, place_on, read_part
from topsar.model import GeoGrid, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram

REFERENCE_PIXELS = 9
"""Edge of the square whose mean is zero on every date."""
TILE = 512
PIXEL_BYTES = 60
"""Of a pixel of a pair while it is inverted: phases, noise, weights, and residuals in double precision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """Pairs between dates, the earlier date first; ``links`` (pairs, 2) are indices of ``dates``.

    ``signs`` turn the phase of a pair into that of its later date minus its earlier one, positive where range grew.
    """

    pairs: tuple[Interferogram, ...]
    grid: GeoGrid
    dates: tuple[str, ...]
    links: NDArray[np.intp]
    signs: NDArray[np.float32]

    @property
    def days(self) -> NDArray[np.float64]:
        """Days since the first date, (dates,)."""
        calendar = np.array(self.dates, "datetime64[D]")
        days: NDArray[np.float64] = (calendar - calendar[0]).astype(np.float64)
        return days

    @property
    def to_metres(self) -> float:
        """Displacement toward the satellite in metres, of one radian of phase."""
        return -float(self.pairs[0].facts["wavelength_m"]) / (4 * np.pi)


def name_displacement(date: str) -> str:
    """Name the layer of a date, such as 2025-03-15."""
    return f"displacement_{date.replace('-', '')}"


def name_dates(network: Network, first: int, second: int) -> str:
    """Name two dates of a network by their numbers: ``20250303_20250315``."""
    return "_".join(network.dates[number].replace("-", "") for number in (first, second))


class Reference(NamedTuple):
    """The square of pixels that does not move, in the grid of the network, and who chose it."""

    window: Window
    chosen_by: str


class Block(NamedTuple):
    """A window of all pairs, (pairs, rows, columns); NaN where a pair has no reliable value.

    ``phase`` is what is inverted, ``filtered`` tells whole cycles. ``noise`` is a standard deviation. ``label`` is the
    connected component, 0 outside all of them.
    """

    phase: NDArray[np.float32]
    filtered: NDArray[np.float32]
    noise: NDArray[np.float32]
    label: NDArray[np.uint16]


_KINDS: tuple[type[np.generic], ...] = (np.float32, np.float32, np.float32, np.uint16)
"""Of the parts of a block."""


def link_pairs(pairs: Iterable[Interferogram]) -> Network:
    """Sort the dates of some pairs of one track, and link them.

    Raises
    ------
    ProductError
        If a pair is not unwrapped, two pairs have the same dates, pixel sizes differ, or the network falls apart.
    """
    by_dates: dict[tuple[str, str], Interferogram] = {}
    for pair in pairs:
        require_unwrapped(pair, "the time series")
        first, second = sorted((str(pair.facts["reference_date"]), str(pair.facts["secondary_date"])))
        if (first, second) in by_dates:
            msg = f"{pair.pair_id} and {by_dates[first, second].pair_id} have the same dates"
            raise ProductError(msg, hint="a time series takes one pair of two dates: list the others in another folder")
        by_dates[first, second] = pair
    dates = tuple(sorted({date for both in by_dates for date in both}))
    links = np.array([[dates.index(first), dates.index(second)] for first, second in sorted(by_dates)], np.intp)
    chosen = tuple(by_dates[both] for both in sorted(by_dates))
    _require_connected(dates, links)
    signs = [1 if pair.facts["reference_date"] < pair.facts["secondary_date"] else -1 for pair in chosen]
    return Network(pairs=chosen, grid=join_grids(chosen), dates=dates, links=links, signs=np.array(signs, np.float32))


def _require_connected(dates: Sequence[str], links: NDArray[np.intp]) -> None:
    reached = find_reached(np.ones((len(links), 1), bool), links, len(dates))[:, 0]
    if missing := [date for date, is_reached in zip(dates, reached, strict=True) if not is_reached]:
        msg = f"no chain of pairs links {dates[0]} to {', '.join(missing)}"
        raise ProductError(msg, hint="list pairs that link all dates of the track, `topsar pairs` does")


def find_reference(network: Network, place: tuple[float, float] | None) -> Reference:
    """Find the square that is taken for still: around a place, or where noise and motion are least in all pairs.

    Parameters
    ----------
    network : Network
    place : (float, float), optional
        Latitude and longitude in degrees.

    Raises
    ------
    SettingsError
        If the place lies outside the grid.
    ProductError
        If no place is reliable in all pairs.
    """
    row, column = _find_quietest(network) if place is None else _find_pixel(network.grid, *place)
    window = surround(network.grid, row, column)
    assert window is not None
    return Reference(window, "TIMESERIES_REFERENCE" if place else "least noise and motion")


def surround(grid: GeoGrid, row: int, column: int) -> Window | None:
    """The square around a pixel that is taken for still, as far as it lies in a grid; None where none of it does."""
    half = REFERENCE_PIXELS // 2
    square = Window(row=row - half, column=column - half, rows=REFERENCE_PIXELS, columns=REFERENCE_PIXELS)
    return square.intersection(grid.whole)


def _find_quietest(network: Network) -> tuple[int, int]:
    """The middle of the square whose phase, noise and motion against the median of a pair, is least in all pairs."""
    variance = np.zeros(network.grid.shape, np.float32)
    for number, pair in enumerate(network.pairs):
        block = read_block(network, network.grid.whole, [number])
        known = np.isfinite(block.phase[0])
        moved = block.phase[0] - (np.median(block.phase[0][known]) if known.any() else 0)
        variance += np.where(known, block.noise[0] ** 2 + moved**2, np.inf)
        if not np.isfinite(variance).any():
            msg = f"no pixel is reliable in all pairs up to {pair.pair_id}"
            raise ProductError(msg, hint="leave that pair out, or choose a place with TIMESERIES_REFERENCE")
    worst = 1e4 * len(network.pairs)
    smooth = uniform_filter(np.minimum(variance, worst), REFERENCE_PIXELS, mode="constant", cval=worst)
    row, column = divmod(int(np.argmin(smooth)), network.grid.columns)
    return row, column


def _find_pixel(grid: GeoGrid, latitude: float, longitude: float) -> tuple[int, int]:
    from topsar.raster.geotiff import find_pixels

    row, column = find_pixels(grid, longitude, latitude)
    if not (0 <= row < grid.rows and 0 <= column < grid.columns):
        msg = f"TIMESERIES_REFERENCE={latitude:g},{longitude:g} lies outside the pairs"
        raise SettingsError(msg, hint="latitude,longitude in degrees of a place that all pairs show")
    return int(row), int(column)


def read_block(network: Network, window: Window, numbers: Sequence[int] | None = None) -> Block:
    """Read a window of all pairs, or of some; phases are signed by date, in radians.

    Parameters
    ----------
    network : Network
    window : Window
        Of the network's grid.
    numbers : sequence of int, optional
        Which pairs.
    """
    chosen = range(len(network.pairs)) if numbers is None else numbers
    shape = (len(chosen), window.rows, window.columns)
    phase, filtered, noise = (np.full(shape, np.nan, np.float32) for _ in range(3))
    label = np.zeros(shape, np.uint16)
    for place, number in enumerate(chosen):
        pair, sign = network.pairs[number], network.signs[number]
        name = "filtered_unwrapped_phase" if "filtered_unwrapped_phase" in pair.layers else "unwrapped_phase"
        label[place] = read_layer(network, pair, "components", window)
        phase[place] = read_layer(network, pair, "displacement", window) * (sign / network.to_metres)
        filtered[place] = read_layer(network, pair, name, window) * sign
        noise[place] = read_layer(network, pair, "phase_noise", window)
    phase[(label == 0) | ~np.isfinite(noise) | ~np.isfinite(filtered)] = np.nan
    return Block(phase, filtered, noise, label)


def read_layer(network: Network, pair: Interferogram, name: str, window: Window) -> NDArray[Any]:
    """Read a window of a layer of one pair; what the pair does not cover is a hole.

    Parameters
    ----------
    network : Network
    pair : Interferogram
    name : str
    window : Window
        Of the network's grid.
    """
    kind = LAYERS[name]
    values = np.full((window.rows, window.columns), kind.nodata, kind.dtype)
    theirs = network.grid.window_of(pair.grid)
    if (shared := window.intersection(theirs)) is not None:
        inside = replace(shared, row=shared.row - window.row, column=shared.column - window.column)
        part = replace(shared, row=shared.row - theirs.row, column=shared.column - theirs.column)
        values[inside.slices] = read_part(pair, name, part)
    return values


def lay_largest(network: Network) -> Interferogram:
    """Lay the largest pair on the grid of the network: pictures need its heights and the direction of its view."""
    return place_on(max(network.pairs, key=lambda one: one.grid.rows * one.grid.columns), network.grid)


def read_blocks(network: Network, most_bytes: int, work: Path) -> Iterator[tuple[Window, Block]]:
    """Read all pairs block by block, each in one tile of the files; a tile is decompressed once.

    Parameters
    ----------
    network : Network
    most_bytes : int
        That a block takes while it is inverted.
    work : Path
        A folder for a tile of all pairs, where a block is less than a tile.
    """
    for tile in cut_tiles(network.grid.whole, TILE):
        rows = max(int(most_bytes // (tile.columns * len(network.pairs) * PIXEL_BYTES)), 1)
        if rows >= tile.rows:
            yield tile, read_block(network, tile)
            continue
        with ExitStack() as stack:
            parts = [stack.enter_context(TemporaryFile(dir=work)) for _ in Block._fields]
            for number in range(len(network.pairs)):
                for file, values in zip(parts, read_block(network, tile, [number]), strict=True):
                    np.asarray(values).tofile(file)
            for row in range(0, tile.rows, rows):
                strip = replace(tile, row=tile.row + row, rows=min(rows, tile.rows - row))
                read = (_read_strip(file, kind, network, tile, strip) for file, kind in zip(parts, _KINDS, strict=True))
                yield strip, Block(*read)


def _read_strip(file: IO[bytes], kind: type[np.generic], network: Network, tile: Window, strip: Window) -> NDArray[Any]:
    """Read some rows of a tile of all pairs, (pairs, rows, columns)."""
    values = np.empty((len(network.pairs), strip.rows, strip.columns), kind)
    row = strip.row - tile.row
    for number in range(len(network.pairs)):
        file.seek((number * tile.rows + row) * tile.columns * values.itemsize)
        values[number] = np.fromfile(file, kind, strip.rows * strip.columns).reshape(strip.rows, strip.columns)
    return values


def cut_tiles(window: Window, edge: int) -> Iterator[Window]:
    """Cut a window into squares, row by row; those at its end are smaller.

    Parameters
    ----------
    window : Window
    edge : int
        In pixels.
    """
    for row in range(window.row, window.row_stop, edge):
        for column in range(window.column, window.column_stop, edge):
            rows, columns = min(edge, window.row_stop - row), min(edge, window.column_stop - column)
            yield Window(row=row, column=column, rows=rows, columns=columns)
