"""What lies on a map: graticule, frame, scale bar, and the arrows of flight and look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.formats.quicklook.ink import DPI, Stencil, load_font
from topsar.formats.quicklook.ticks import find_round_values, format_degrees, round_down
from topsar.formats.quicklook.view import measure_ground_m
from topsar.raster.geotiff import make_transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.formats.quicklook.ink import Place
    from topsar.model import GeoGrid

TICK_EVERY_IN = 1.1
CARD, ROUND = 0.82, 10
"""How white the cards under scale bar and arrows are, and how round."""
INSET, PADDING = 16, 10
ARROWS = 100


class Graticule(NamedTuple):
    """Lines in pixels of the map, and (pixel, label) of the ticks below it and on its left."""

    lines: list[list[Place]]
    below: list[tuple[float, str]]
    left: list[tuple[float, str]]


def find_graticule(grid: GeoGrid, width: int, height: int) -> Graticule:
    """Round longitudes and latitudes, whatever the map's own coordinates are."""
    box, transformer = grid.bbox, make_transformer(grid)
    x, y = np.linspace(box.west, box.east, 101), np.linspace(box.south, box.north, 101)
    longitude = np.unwrap(transformer.transform(x, np.full_like(x, box.south))[0], period=360)
    latitude = transformer.transform(np.full_like(y, box.west), y)[1]
    count_x, count_y = (max(min(round(n / DPI / TICK_EVERY_IN), 5), 1) for n in (width, height))
    meridians = find_round_values(longitude.min(), longitude.max(), count_x)
    parallels = find_round_values(latitude.min(), latitude.max(), count_y)
    scale = width / (box.east - box.west), height / (box.north - box.south)
    east, north = (_widen(values) for values in (longitude, latitude))
    lines = []
    for places in [(np.full_like(north, one), north) for one in meridians] + [
        (east, np.full_like(east, one)) for one in parallels
    ]:
        at_x, at_y = transformer.transform(*places, direction="INVERSE")
        lines.append(list(zip((at_x - box.west) * scale[0], (box.north - at_y) * scale[1], strict=True)))
    below = (np.interp(meridians, longitude, x) - box.west) * scale[0]
    left = (box.north - np.interp(parallels, latitude, y)) * scale[1]
    return Graticule(
        lines,
        list(zip(below, format_degrees(meridians, "EW"), strict=True)),
        list(zip(left, format_degrees(parallels, "NS"), strict=True)),
    )


def _widen(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """From well before the ends to well beyond: other edges of a map reach farther than the one that was looked at."""
    low, high = degrees.min(), degrees.max()
    return np.linspace(low - 0.2 * (high - low), high + 0.2 * (high - low), 57)


def draw_scale_bar(
    cards: Stencil, ink: Stencil, grid: GeoGrid, size: tuple[int, int], corner: str
) -> tuple[Place, str]:
    """Draw the bar and its card into a lower corner; the place and words of its label."""
    ground_width, _ = measure_ground_m(grid)
    length_m = round_down(0.24 * ground_width)
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    width, height = size
    length, thick = length_m / ground_width * width, max(0.006 * height, 4)
    wide, high = max(length, load_font(8).getlength(label)), thick + 34
    left = INSET + PADDING if corner == "left" else width - INSET - PADDING - wide
    top = height - INSET - PADDING - high
    cards.fill_box((left - PADDING, top - PADDING, left + wide + PADDING, top + high + PADDING), ROUND, CARD)
    start = left + (wide - length) / 2
    ink.fill_box((start, top, start + length, top + thick))
    return (left + wide / 2, top + thick + 20), label


def draw_look(cards: Stencil, ink: Stencil, look_azimuth_deg: float, width: int, corner: str) -> None:
    """A long arrow along the flight and a short one where the radar looks (to the right), in an upper corner."""
    left = INSET if corner == "left" else width - INSET - ARROWS
    cards.fill_box((left, INSET, left + ARROWS, INSET + ARROWS), ROUND, CARD)
    look, flight = (
        np.array([math.sin(math.radians(a)), -math.cos(math.radians(a))])
        for a in (look_azimuth_deg, look_azimuth_deg - 90)
    )
    middle, half = np.array([left + ARROWS / 2, INSET + ARROWS / 2]), ARROWS / 2
    start = -0.78 * flight - 0.26 * look
    branch = start + 0.62 * flight
    for tail, tip in ((start, start + 1.56 * flight), (branch, branch + 0.72 * look)):
        ink.draw_arrow(tuple(middle + half * tail), tuple(middle + half * tip), 3)


def find_emptier_side(alpha: NDArray[np.float32], *, below: bool) -> str:
    """Which side, left or right, of the lower or upper edge covers less of the data."""
    rows, columns = alpha.shape
    edge = alpha[-(rows // 6) or -1 :] if below else alpha[: rows // 4 or 1]
    left, right = edge[:, : columns // 4 or 1].mean(), edge[:, -(columns // 4) or -1 :].mean()
    return "left" if left <= right else "right"
