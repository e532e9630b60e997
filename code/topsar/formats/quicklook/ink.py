"""Letters, and lines with smooth edges, on Pillow's images."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

DPI = 200
FINE = 3
"""Lines are drawn as many times larger and averaged."""

INK, MUTED, FRAME = "#1d2733", "#5d6b7a", "#39444f"

Place = tuple[float, float]
"""Pixels to the right and down."""


class Stencil:
    """Where ink lies in a part of a picture, and how much of it.

    Parameters
    ----------
    width, height : int
        Pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("L", (width * FINE, height * FINE))
        self._draw = ImageDraw.Draw(self._image)

    def draw_line(self, places: Sequence[Place], width: float, share: float = 1.0) -> None:
        """Draw a line through places, pixels wide."""
        self._draw.line(self._enlarge(places), fill=round(255 * share), width=max(round(width * FINE), 1))

    def fill_polygon(self, corners: Sequence[Place]) -> None:
        """Fill the inside of corners."""
        self._draw.polygon(self._enlarge(corners), fill=255)

    def fill_box(self, box: tuple[float, float, float, float], radius: float = 0.0, share: float = 1.0) -> None:
        """Fill a box (left, top, right, bottom), with round corners if it has a radius."""
        (left, top), (right, bottom) = self._enlarge((box[:2], box[2:]))
        corners = (left, top, right - 1, bottom - 1)
        self._draw.rounded_rectangle(corners, radius=radius * FINE, fill=round(255 * share))

    def draw_arrow(self, tail: Place, tip: Place, width: float) -> None:
        """Draw a line that ends in a filled triangle."""
        start, end = np.array(tail), np.array(tip)
        along = (end - start) / np.linalg.norm(end - start)
        across = np.array((-along[1], along[0]))
        base = end - 4 * width * along
        self.draw_line((tail, tuple(base)), width)
        self.fill_polygon((tip, tuple(base + 2 * width * across), tuple(base - 2 * width * across)))

    def finish(self) -> Image.Image:
        """Average to the size of the picture."""
        return self._image.reduce(FINE)

    def _enlarge(self, places: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
        return [(round(FINE * x), round(FINE * y)) for x, y in places]


def write_text(
    image: Image.Image,
    place: Place,
    text: str,
    points: float,
    colour: str | int = INK,
    *,
    anchor: str = "lm",
    is_bold: bool = False,
) -> None:
    """Write words at a place, which the anchor relates to them as Pillow's ``anchor`` does."""
    ImageDraw.Draw(image).text(place, text, colour, load_font(points, is_bold=is_bold), anchor=anchor, spacing=3)


def write_upwards(image: Image.Image, place: Place, text: str, points: float) -> None:
    """Write words that read from below to above, with a place in the middle of them."""
    font = load_font(points)
    left, top, right, bottom = font.getbbox(text, anchor="lm")
    words = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(words).text((1 - left, 1 - top), text, 255, font, anchor="lm")
    turned = words.transpose(Image.Transpose.ROTATE_90)
    image.paste(INK, (round(place[0] - turned.width / 2), round(place[1] - turned.height / 2)), turned)


@cache
def load_font(points: float, *, is_bold: bool = False) -> ImageFont.FreeTypeFont:
    """The typeface that comes with matplotlib, in points."""
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    package = find_spec("matplotlib")  # not imported: that takes longer than to draw all words
    assert package
    assert package.origin
    path = Path(package.origin).with_name("mpl-data") / "fonts" / "ttf" / name
    return ImageFont.truetype(path, round(points * DPI / 72), layout_engine=ImageFont.Layout.BASIC)
