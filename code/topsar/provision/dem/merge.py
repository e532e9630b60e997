"""Pieces of a height model: checked when they come, and put together on one grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterWindow

from topsar.errors import ProvisionError
from topsar.model import BBox, GeoGrid, Window
from topsar.provision.web.failures import excerpt
from topsar.raster.dem import HIGHEST_M, LOWEST_M
from topsar.raster.geotiff import (
    GDAL_ERRORS,
    WITH_SIDECARS,
    compute_pixel_axes,
    describe_box,
    fill_masked,
    is_unrotated,
    open_quietly,
    read_bounds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAX_POSTINGS = 200_000_000
"""A larger DEM is refused: with the masks of its sea and voids, this one takes about 2.5 GB."""

MOST_POSTINGS_OF_A_PIECE = 4
"""A piece with more than this many times the postings asked for is not read."""

_START_BYTES = 20_000

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SPACINGS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Distance of columns over distance of rows: the Copernicus model widens its columns toward the poles."""
_SPACING_SHARE = 0.01
_SLACK = 1.01
_OFF_GRID = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a model: its file, which is missing where all is sea, and the box (degrees) that it stands for."""

    path: Path
    box: BBox


def check_piece(path: Path, box: BBox, posting_deg: float, mask: Callable[[str], str]) -> None:
    """Check that a file is a whole GeoTIFF of heights in longitude and latitude.

    Parameters
    ----------
    path : Path
    box : BBox
        What it must cover to one posting, degrees.
    posting_deg : float
        Between rows.
    mask : callable
        Replaces secrets in what a file of another kind says.
    """
    with path.open("rb") as stream:
        start = stream.read(_START_BYTES)
    if not start.startswith(_TIFF_MAGIC):
        # half of what was read: a secret that begins in this half ends in what was read, so that it is recognised
        text = mask(start.decode("utf-8", "replace"))[: _START_BYTES // 2]
        msg = f"what came for {describe_box(box)} is not a GeoTIFF, but says {excerpt(text, mask, most=160)!r}"
        raise ProvisionError(msg, hint="try again later", retryable=True)
    try:
        with open_quietly(path) as dataset:
            problem, may_pass = find_misplacement(dataset, box, posting_deg)
            if problem:
                msg = f"the GeoTIFF for {describe_box(box)} {problem}"
                hint = "try again, or take another DEM" if may_pass else "take another DEM"
                raise ProvisionError(msg, hint=hint, retryable=may_pass)
            for _, window in dataset.block_windows(1):
                dataset.read(1, window=window)
    except GDAL_ERRORS as exc:
        msg = f"the GeoTIFF for {describe_box(box)} is damaged or cut short: {exc.__cause__ or exc}"
        raise ProvisionError(msg, hint="try again", retryable=True) from exc


def find_misplacement(dataset: Any, box: BBox, posting_deg: float) -> tuple[str, bool]:
    """Say what is wrong with position, posting or size, and whether another attempt may bring a better file.

    Parameters
    ----------
    dataset : rasterio.io.DatasetReader
    box, posting_deg
        As for `check_piece`.
    """
    transform = dataset.transform
    if transform.is_identity:
        return "has no position, or is cut short", True
    if dataset.crs is None or not dataset.crs.is_geographic or not is_unrotated(transform) or transform.e >= 0:
        return "is not a north-up raster in longitude and latitude", False
    if abs(-transform.e / posting_deg - 1) > _SPACING_SHARE or _match_spacing(transform.a / posting_deg) is None:
        posting = f"a posting of {transform.a * 3600:.3f} by {-transform.e * 3600:.3f} seconds of arc"
        return f"has {posting}, where {posting_deg * 3600:.3f} were expected", False
    got = read_bounds(dataset)
    x, y = _SLACK * transform.a, -_SLACK * transform.e
    reached = BBox(west=got.west - x, south=got.south - y, east=got.east + x, north=got.north + y)
    if not reached.contains(box):
        return f"covers only {describe_box(got)}", True
    asked = (box.east - box.west) * (box.north - box.south) / posting_deg**2
    if dataset.height * dataset.width > MOST_POSTINGS_OF_A_PIECE * asked:
        return f"has {dataset.height} by {dataset.width} postings, many more than asked for", True
    return "", False


def merge(
    rows: Sequence[Sequence[Piece]], box: BBox, posting_deg: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_], GeoGrid]:
    """Put pieces together on the grid of those with the closest columns; others are interpolated along their rows.

    Parameters
    ----------
    rows : pieces by row; those of a row have columns equally far apart
    box : BBox
        Degrees; what the result covers.
    posting_deg : float
        Between rows of pixels.

    Returns
    -------
    heights, sea, grid
        (rows, columns) float32 with NaN in voids, (rows, columns) bool where no piece has a file, and where it is.
    """
    bands = [_Band.fit(present, box, posting_deg) for row in rows if (present := [p for p in row if p.path.is_file()])]
    sample = min(bands, key=lambda band: band.dx, default=_Band((), posting_deg, posting_deg, box.west, box.north))
    grid = sample.make_grid(box)
    require_size(grid.rows, grid.columns, box)
    canvas = _Canvas(grid)
    for band in bands:
        if band.dx == grid.dx:
            for piece in band.pieces:
                canvas.draw(piece)
        else:
            canvas.draw_band(band)
    return canvas.heights, canvas.sea, grid


def require_size(rows: int, columns: int, box: BBox) -> None:
    """Refuse a DEM that is too large to put together.

    Parameters
    ----------
    rows, columns : int
    box : BBox
        For the message.
    """
    if rows * columns > MAX_POSTINGS:
        msg = f"a DEM of {rows} by {columns} postings for {describe_box(box)} is too large: at most "
        msg += f"{MAX_POSTINGS / 1e6:g} million are put together"
        raise ProvisionError(msg, hint="set ROI to a smaller region, or take a coarser model such as SRTMGL3 or COP90")


@dataclass(frozen=True, slots=True)
class _Band:
    """Pieces side by side, and the lattice of their pixels: distances, and one corner."""

    pieces: tuple[Piece, ...]
    dx: float
    dy: float
    west: float
    north: float

    @classmethod
    def fit(cls, pieces: Sequence[Piece], box: BBox, posting_deg: float) -> _Band:
        with rasterio.Env(**WITH_SIDECARS), rasterio.open(pieces[0].path) as dataset:
            spacing = _match_spacing(dataset.transform.a / posting_deg) or 1.0
            west, north = dataset.transform.c + _find_turn(dataset, pieces[0].box), dataset.transform.f
        dx, dy = spacing * posting_deg, posting_deg
        # the corner of that lattice next to the box, so that rounding in the file's posting does not add up
        west += dx * round((box.west - west) / dx)
        north += dy * round((box.north - north) / dy)
        return cls(tuple(pieces), dx, dy, west, north)

    def make_grid(self, box: BBox) -> GeoGrid:
        """The smallest grid on the lattice that covers a box."""
        column, row = (
            math.floor(v + 1e-6) for v in ((box.west - self.west) / self.dx, (self.north - box.north) / self.dy)
        )
        west, north = self.west + column * self.dx, self.north - row * self.dy
        return GeoGrid(
            crs="EPSG:4326",
            west=west,
            north=north,
            dx=self.dx,
            dy=self.dy,
            rows=math.ceil((north - box.south) / self.dy - 1e-6),
            columns=math.ceil((box.east - west) / self.dx - 1e-6),
        )


class _Canvas:
    """Heights and sea on a grid; a pixel stays sea until something is drawn on it."""

    def __init__(self, grid: GeoGrid) -> None:
        self.grid = grid
        self.heights = np.full(grid.shape, np.nan, np.float32)
        self.sea = np.ones(grid.shape, bool)

    def draw(self, piece: Piece) -> None:
        with rasterio.Env(**WITH_SIDECARS), rasterio.open(piece.path) as dataset:
            window = self._find_window(dataset, piece)
            if (part := window.intersection(self.grid.whole)) is None:
                return
            source = RasterWindow(part.column - window.column, part.row - window.row, part.columns, part.rows)
            values = fill_masked(dataset.read(1, window=source, masked=True))
        values[~((values > LOWEST_M) & (values < HIGHEST_M))] = np.nan
        self._put(part, values, np.zeros(values.shape, bool))

    def draw_band(self, band: _Band) -> None:
        """Draw pieces whose columns lie further apart than those of the grid."""
        box = self.grid.bbox
        strip = _Canvas(
            band.make_grid(BBox(west=box.west - band.dx, south=box.south, east=box.east + band.dx, north=box.north))
        )
        for piece in band.pieces:
            strip.draw(piece)
        x, _ = compute_pixel_axes(self.grid)
        position = (x - strip.grid.west) / strip.grid.dx - 0.5
        left = np.clip(np.floor(position).astype(np.intp), 0, strip.grid.columns - 2)
        share = (position - left).astype(np.float32)
        first = round((self.grid.north - strip.grid.north) / self.grid.dy)
        window = Window(row=first, column=0, rows=strip.grid.rows, columns=self.grid.columns)
        part = window.intersection(self.grid.whole) or self.grid.whole
        rows = slice(part.row - first, part.row_stop - first)
        west, east = strip.heights[rows, left], strip.heights[rows, left + 1]
        nearest = np.where(share < 0.5, left, left + 1)
        self._put(part, west + (east - west) * share, strip.sea[rows, nearest])

    def _find_window(self, dataset: Any, piece: Piece) -> Window:
        grid, transform = self.grid, dataset.transform
        column = (transform.c + _find_turn(dataset, piece.box) - grid.west) / grid.dx
        row = (grid.north - transform.f) / grid.dy
        stretched = max(abs(transform.a / grid.dx - 1), abs(-transform.e / grid.dy - 1)) > _SPACING_SHARE
        if stretched or max(abs(column - round(column)), abs(row - round(row))) > _OFF_GRID:
            msg = f"the pieces of the DEM do not lie on one grid: {piece.path.name}"
            raise ProvisionError(msg, hint="take another DEM")
        return Window(row=round(row), column=round(column), rows=dataset.height, columns=dataset.width)

    def _put(self, part: Window, values: NDArray[np.float32], sea: NDArray[np.bool_]) -> None:
        heights = self.heights[part.slices]
        np.copyto(heights, values, where=~np.isnan(values))
        self.sea[part.slices] &= sea


def _match_spacing(ratio: float) -> float | None:
    return next((known for known in _SPACINGS if abs(ratio / known - 1) <= _SPACING_SHARE), None)


def _find_turn(dataset: Any, box: BBox) -> float:
    """Find the degrees that bring a file's longitudes to those of a box."""
    return 360.0 * round((box.centre[0] - read_bounds(dataset).centre[0]) / 360.0)
