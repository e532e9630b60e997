"""A map sheet: image, graticule, scale bar, colour bar, title and caption; what sheets share is drawn once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from topsar.formats.quicklook import furniture
from topsar.formats.quicklook.ink import FRAME, INK, MUTED, Stencil, write_text, write_upwards
from topsar.formats.quicklook.legend import ColourBar, Key, draw_colour_bar, draw_key
from topsar.formats.quicklook.view import measure_ground_m
from topsar.model import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.model import GeoGrid

WIDTH, MAX_HEIGHT, MIN_WIDTH, MIN_MAP = 1600, 1320, 1340, 120
LEFT, RIGHT, TOP, BOTTOM = 144, 256, 156, 124
"""Room around the map, in pixels."""
EDGE, TITLE, SUBTITLE, NOTE = 60, 66, 114, 32
"""Words from the sides; lines of words from above, and the last from below."""
MARGIN = 0.025
GRATICULE, OUTLINE = 0.35, 0.7
"""How much of their pixels thin lines cover."""
TICK = 8


class Lettering(NamedTuple):
    """The words that all sheets of a pair share."""

    dates: str
    subtitle: str
    caption: str


class Board:
    """Paper, frame, words and furniture of all sheets of a pair.

    Parameters
    ----------
    grid : GeoGrid
        Of the pixels of the pictures.
    covered : (rows, columns) bool
        Where the radar saw the ground: the furniture leaves it free where it can.
    lettering : Lettering
    look_azimuth_deg : float or None
        Where the radar looks, clockwise from north.
    """

    def __init__(
        self, grid: GeoGrid, covered: NDArray[np.bool_], lettering: Lettering, look_azimuth_deg: float | None
    ) -> None:
        self._margin = max(round(MARGIN * max(grid.shape)), 1)
        rows, columns = (n + 2 * self._margin for n in grid.shape)
        grid = grid.crop(Window(row=-self._margin, column=-self._margin, rows=rows, columns=columns))
        self._size = _fit_map(grid)
        width = max(self._size[0] + LEFT + RIGHT, MIN_WIDTH)
        self._left = LEFT + (width - LEFT - RIGHT - self._size[0]) // 2
        self._paper = Image.new("RGB", (width, self._size[1] + TOP + BOTTOM), "white")
        self._write_lettering(lettering)
        self._draw_furniture(grid, covered, look_azimuth_deg)

    def draw_sheet(self, rgba: NDArray[np.float32], legend: ColourBar | Key, title: str, note: str) -> Image.Image:
        """Draw a sheet: about 1600 pixels wide, as high as the map asks for.

        Parameters
        ----------
        rgba : (rows, columns, 4) float32
            0 to 1.
        legend : ColourBar or Key
        title, note : str
        """
        image = self._paper.copy()
        self._lay_map(image, rgba)
        for colour, (x, y), stencil in self._stencils:
            image.paste(colour, (self._left + x, TOP + y), stencil)
        right, (_, height) = self._left + self._size[0], self._size
        if isinstance(legend, ColourBar):
            draw_colour_bar(image, (right + 32, TOP + 0.14 * height), round(0.72 * height), legend)
        else:
            draw_key(image, (right + 20, TOP), legend)
        write_text(image, (EDGE, TITLE), title, 13, is_bold=True)
        write_text(image, (image.width - EDGE, image.height - NOTE), note, 6.5, MUTED, anchor="rm")
        return image

    def _lay_map(self, image: Image.Image, rgba: NDArray[np.float32]) -> None:
        """Lay the picture on its place, with a line around its data."""
        margin = self._margin
        padded = np.pad(rgba, ((margin, margin), (margin, margin), (0, 0)))
        drawn = Image.fromarray(np.rint(padded * 255).astype(np.uint8))
        is_coarse = self._size[0] >= 3 * drawn.width
        drawn = drawn.resize(self._size, Image.Resampling.NEAREST if is_coarse else Image.Resampling.HAMMING)
        image.paste(drawn, (self._left, TOP), drawn)
        image.paste(FRAME, (self._left, TOP), _trace(np.asarray(drawn.getchannel("A")) > 127))

    def _write_lettering(self, lettering: Lettering) -> None:
        paper, right = self._paper, self._paper.width - EDGE
        write_text(paper, (right, TITLE), lettering.dates, 11, anchor="rm")
        write_text(paper, (EDGE, SUBTITLE), lettering.subtitle, 9, MUTED)
        write_text(paper, (EDGE, paper.height - NOTE), lettering.caption, 6.5, MUTED)

    def _draw_furniture(self, grid: GeoGrid, covered: NDArray[np.bool_], look_azimuth_deg: float | None) -> None:
        width, height = self._size
        lines, cards, ink = (Stencil(width, height) for _ in range(3))
        graticule = furniture.find_graticule(grid, width, height)
        for line in graticule.lines:
            lines.draw_line(line, 1, GRATICULE)
        lines.draw_line([(0, 0), (width, 0), (width, height), (0, height), (0, 0)], 4)  # half of it is outside
        self._draw_ticks(graticule)
        seen = covered.astype(np.float32)
        side = furniture.find_emptier_side(seen, below=True)
        place, label = furniture.draw_scale_bar(cards, ink, grid, self._size, side)
        if look_azimuth_deg is not None:
            side = furniture.find_emptier_side(seen, below=False)
            furniture.draw_look(cards, ink, look_azimuth_deg, width, side)
        written = ink.finish()
        write_text(written, place, label, 8, 255, anchor="mm")
        inks = ((FRAME, lines.finish()), ("white", cards.finish()), (INK, written))
        self._stencils = [(colour, place, part) for colour, whole in inks for place, part in _cut(whole)]

    def _draw_ticks(self, graticule: furniture.Graticule) -> None:
        bottom = TOP + self._size[1]
        for x, label in graticule.below:
            at = round(self._left + x)
            self._paper.paste(FRAME, (at - 1, bottom, at + 1, bottom + TICK))
            write_text(self._paper, (at, bottom + TICK + 18), label, 8, anchor="mm")
        for y, label in graticule.left:
            at = round(TOP + y)
            self._paper.paste(FRAME, (self._left - TICK, at - 1, self._left, at + 1))
            write_upwards(self._paper, (self._left - TICK - 18, at), label, 8)


def _cut(stencil: Image.Image) -> Iterator[tuple[tuple[int, int], Image.Image]]:
    """Cut a stencil to what has ink in its upper and its lower half, and where these lie: the furniture is small."""
    middle = stencil.height // 2
    for top, bottom in ((0, middle), (middle, stencil.height)):
        half = stencil.crop((0, top, stencil.width, bottom))
        if box := half.getbbox():
            yield (box[0], top + box[1]), half.crop(box)


def _trace(inside: NDArray[np.bool_]) -> Image.Image:
    """Where the pixels lie that are inside and touch one that is not."""
    rim = np.zeros(inside.shape, bool)
    rim[1:] |= inside[1:] & ~inside[:-1]
    rim[:-1] |= inside[:-1] & ~inside[1:]
    rim[:, 1:] |= inside[:, 1:] & ~inside[:, :-1]
    rim[:, :-1] |= inside[:, :-1] & ~inside[:, 1:]
    return Image.fromarray(rim * np.uint8(round(255 * OUTLINE)))


def _fit_map(grid: GeoGrid) -> tuple[int, int]:
    """Width and height of the map in pixels, true to the ground."""
    ground_width, ground_height = measure_ground_m(grid)
    scale = min((WIDTH - LEFT - RIGHT) / ground_width, (MAX_HEIGHT - TOP - BOTTOM) / ground_height)
    width, height = (max(round(scale * length), MIN_MAP) for length in (ground_width, ground_height))
    return width, height
