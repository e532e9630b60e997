"""What stands to the right of a map: a colour bar, or a key of colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from topsar.formats.quicklook.ink import FRAME, MUTED, Stencil, load_font, write_text, write_upwards
from topsar.formats.quicklook.ticks import count_decimals, find_round_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.formats.quicklook.ink import Place
    from topsar.formats.quicklook.palette import Colours

BAR_WIDTH, POINT, MARK = 30, 0.035, 7
"""Width of the bar, height of its pointed ends as a share of its length, length of its ticks."""
TICKS, LINE = 6, 1.7
SQUARE, DISTANCE = 24, 34
"""Side of a colour of the key, and the distance from one to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourBar:
    """A colour bar; ``ends`` are words below and above it."""

    colours: Colours
    low: float
    high: float
    label: str
    ticks: tuple[tuple[float, str], ...] = ()
    extend: str = "neither"
    ends: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A list of colours and what they stand for."""

    entries: tuple[tuple[str, str], ...]
    label: str


def draw_colour_bar(image: Image.Image, place: Place, length: int, bar: ColourBar) -> None:
    """Draw a bar, upright, whose left upper corner lies at a place; its ends are pointed where values go beyond."""
    left, top = round(place[0]), round(place[1])
    _draw_body(image, (left, top), length, bar)
    ticks = bar.ticks or _make_ticks(bar)
    marks, widest = Stencil(MARK, length + 2), 0.0
    for value, text in ticks:
        y = length * (bar.high - value) / (bar.high - bar.low)
        marks.draw_line([(0, y + 1), (MARK, y + 1)], LINE)
        write_text(image, (left + BAR_WIDTH + MARK + 6, top + y), text, 8)
        widest = max(widest, load_font(8).getlength(text))
    image.paste(FRAME, (left + BAR_WIDTH, top - 1), marks.finish())
    write_upwards(image, (left + BAR_WIDTH + MARK + widest + 32, top + length / 2), bar.label, 9)
    write_text(image, (left, top - 0.045 * length), bar.ends[1], 7.5, MUTED, anchor="ld")
    write_text(image, (left, top + 1.045 * length), bar.ends[0], 7.5, MUTED, anchor="la")


def _draw_body(image: Image.Image, corner: tuple[int, int], length: int, bar: ColourBar) -> None:
    """Colours and their outline."""
    point = round(POINT * length)
    above, below = (point * (bar.extend in (end, "both")) for end in ("max", "min"))
    first, last, right = point + 1, point + 1 + length, BAR_WIDTH + 1
    tip = (right + 1) / 2
    shape = [(1, last), (1, first), (tip, first - above), (right, first), (right, last), (tip, last + below)]
    inside, outline = (Stencil(BAR_WIDTH + 2, length + 2 * point + 2) for _ in range(2))
    inside.fill_polygon(shape)
    outline.draw_line([*shape, shape[0]], LINE)
    at, filled = (corner[0] - 1, corner[1] - first), inside.finish()
    image.paste(_make_gradient(bar.colours, filled.size, (first, last)), at, filled)
    image.paste(FRAME, at, outline.finish())


def _make_gradient(colours: Colours, size: tuple[int, int], rows: tuple[int, int]) -> Image.Image:
    """Colours from the highest value in the first row to the lowest in the last."""
    share = np.clip((rows[1] - np.arange(size[1]) - 0.5) / (rows[1] - rows[0]), 0, 1)
    column: NDArray[np.uint8] = colours.pick_bytes(share)[:, np.newaxis]
    return Image.fromarray(np.repeat(column, size[0], axis=1))


def _make_ticks(bar: ColourBar) -> tuple[tuple[float, str], ...]:
    values = find_round_values(bar.low, bar.high, TICKS, clearance=0)
    decimals = count_decimals(values)
    return tuple((float(value), f"{value:.{decimals}f}".replace("-", "−")) for value in values)


def draw_key(image: Image.Image, place: Place, key: Key) -> None:
    """Draw a list of colours from a place down."""
    x, y = round(place[0]), round(place[1]) + 24
    write_text(image, (x, y), key.label, 9)
    for colour, text in key.entries:
        y += DISTANCE
        image.paste(FRAME, (x, y - SQUARE // 2, x + SQUARE, y + SQUARE // 2))
        image.paste(colour, (x + 1, y - SQUARE // 2 + 1, x + SQUARE - 1, y + SQUARE // 2 - 1))
        write_text(image, (x + SQUARE + 12, y), text, 8)
