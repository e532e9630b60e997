"""A map sheet: image, graticule, scale bar, colour bar, title and caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from numpy.typing import NDArray

from topsar.formats.quicklook.view import measure_ground_m
from topsar.model import GeoGrid, Window
from topsar.raster.geotiff import compute_pixel_axes, make_transformer

DPI = 200
WIDTH_IN, MAX_HEIGHT_IN = 8.0, 6.6
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.72, 1.28, 0.78, 0.62
MIN_WIDTH_IN = 6.7
INK, MUTED, FRAME = "#1d2733", "#5d6b7a", "#39444f"
MARGIN = 0.025
TICK_CLEARANCE = 0.03
TICK_EVERY_IN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourBar:
    """A colour bar; ``ends`` are words below and above it."""

    cmap: Colormap
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """The words around a map."""

    title: str
    dates: str
    subtitle: str
    caption: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Everything that one picture shows; ``look_azimuth_deg`` is where the radar looks, clockwise from north."""

    rgba: NDArray[np.float32]
    grid: GeoGrid
    legend: ColourBar | Key
    lettering: Lettering
    look_azimuth_deg: float | None


def draw_sheet(sheet: Sheet) -> NDArray[np.uint8]:
    """Draw a sheet as RGBA (rows, columns, 4): about 1600 pixels wide, as high as the map asks for."""
    sheet = _add_margin(sheet)
    map_width, map_height = _fit_map(sheet.grid)
    width = max(map_width + LEFT_IN + RIGHT_IN, MIN_WIDTH_IN)
    height = map_height + TOP_IN + BOTTOM_IN
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    left = LEFT_IN + (width - LEFT_IN - RIGHT_IN - map_width) / 2
    axes = figure.add_axes((left / width, BOTTOM_IN / height, map_width / width, map_height / height))
    _draw_map(axes, sheet)
    if isinstance(sheet.legend, ColourBar):
        bar = ((left + map_width + 0.16) / width, (BOTTOM_IN + 0.14 * map_height) / height)
        _draw_colour_bar(figure, (*bar, 0.15 / width, 0.72 * map_height / height), sheet.legend)
    else:
        _draw_key(figure, ((left + map_width + 0.1) / width, (BOTTOM_IN + map_height) / height), sheet.legend)
    _draw_lettering(figure, sheet.lettering)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _add_margin(sheet: Sheet) -> Sheet:
    """Lay a transparent margin around the data."""
    margin = max(round(MARGIN * max(sheet.grid.shape)), 1)
    rgba = np.pad(sheet.rgba, ((margin, margin), (margin, margin), (0, 0)))
    rows, columns = (n + 2 * margin for n in sheet.grid.shape)
    grid = sheet.grid.crop(Window(row=-margin, column=-margin, rows=rows, columns=columns))
    return replace(sheet, rgba=rgba, grid=grid)


def _fit_map(grid: GeoGrid) -> tuple[float, float]:
    """Width and height of the map in inches, true to the ground."""
    ground_width, ground_height = measure_ground_m(grid)
    room_x, room_y = WIDTH_IN - LEFT_IN - RIGHT_IN, MAX_HEIGHT_IN - TOP_IN - BOTTOM_IN
    scale = min(room_x / ground_width, room_y / ground_height)
    return max(ground_width * scale, 0.6), max(ground_height * scale, 0.6)


def _draw_map(axes: Axes, sheet: Sheet) -> None:
    box = sheet.grid.bbox
    axes.imshow(
        sheet.rgba, extent=(box.west, box.east, box.south, box.north), aspect="auto", interpolation_stage="rgba"
    )
    alpha = sheet.rgba[..., 3]
    if alpha.any():
        x, y = compute_pixel_axes(sheet.grid)
        axes.contour(x, y, alpha, levels=[0.5], colors=FRAME, linewidths=0.4, alpha=0.7)
    _draw_graticule(axes, sheet.grid)
    _draw_scale_bar(axes, sheet.grid, _find_emptier_corner(alpha, lower=True))
    if sheet.look_azimuth_deg is not None:
        _draw_look(axes, sheet.look_azimuth_deg, _find_emptier_corner(alpha, lower=False))
    for spine in axes.spines.values():
        spine.set_color(FRAME)
        spine.set_linewidth(0.7)


def _find_emptier_corner(alpha: NDArray[np.float32], *, lower: bool) -> str:
    """Which corner, left or right, covers less of the data."""
    rows, columns = alpha.shape
    edge = alpha[-(rows // 6) or -1 :] if lower else alpha[: rows // 4 or 1]
    left, right = edge[:, : columns // 4 or 1].mean(), edge[:, -(columns // 4) or -1 :].mean()
    return f"{'lower' if lower else 'upper'} {'left' if left <= right else 'right'}"


def _draw_graticule(axes: Axes, grid: GeoGrid) -> None:
    """Ticks and thin lines at round longitudes and latitudes, whatever the map's own coordinates are."""
    box, transformer = grid.bbox, make_transformer(grid)
    x, y = np.linspace(box.west, box.east, 101), np.linspace(box.south, box.north, 101)
    longitude = np.unwrap(transformer.transform(x, np.full_like(x, box.south))[0], period=360)
    latitude = transformer.transform(np.full_like(y, box.west), y)[1]
    wanted_x, wanted_y = (max(min(round(n / DPI / TICK_EVERY_IN), 5), 1) for n in (axes.bbox.width, axes.bbox.height))
    meridians = _find_round_values(longitude.min(), longitude.max(), wanted_x)
    parallels = _find_round_values(latitude.min(), latitude.max(), wanted_y)
    axes.set_xticks(np.interp(meridians, longitude, x), _format_degrees(meridians, "EW"))
    axes.set_yticks(np.interp(parallels, latitude, y), _format_degrees(parallels, "NS"))
    axes.tick_params(labelsize=8, length=3, width=0.7, color=FRAME, labelcolor=INK)
    axes.tick_params(axis="y", labelrotation=90)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    lon_2d, lat_2d = transformer.transform(*np.meshgrid(x, y))
    lon_2d = np.unwrap(np.unwrap(lon_2d, period=360, axis=0), period=360, axis=1)
    lon_2d += 360 * np.round((longitude[0] - lon_2d[0, 0]) / 360)
    for field, values in ((lon_2d, meridians), (lat_2d, parallels)):
        if len(values):
            axes.contour(x, y, field, levels=values, colors=FRAME, linewidths=0.35, alpha=0.35, linestyles="solid")
    axes.set_xlim(box.west, box.east)
    axes.set_ylim(box.south, box.north)


def _find_round_values(low: float, high: float, wanted: int) -> NDArray[np.float64]:
    """About ``wanted`` round numbers (steps of 1, 2 or 5), none of them close to an end of the interval."""
    step, clearance = _round_down((high - low) / wanted), TICK_CLEARANCE * (high - low)
    return np.round(
        np.arange(math.ceil((low + clearance) / step), math.floor((high - clearance) / step) + 1) * step, 10
    )


def _round_down(value: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * max(m for m in (1, 2, 5) if m * power <= value * (1 + 1e-9))


def _format_degrees(values: NDArray[np.float64], hemispheres: str) -> list[str]:
    """Write values as ``8.2°W`` and the like, with the fewest decimals that tell all of them apart."""
    wrapped = (values + 180.0) % 360.0 - 180.0 if hemispheres == "EW" else values
    decimals = next(n for n in range(11) if np.allclose(np.round(wrapped, n), wrapped, atol=1e-9))
    sides = (hemispheres[0] if value > 0 else hemispheres[1] if value < 0 else "" for value in wrapped)
    return [f"{abs(value):.{decimals}f}°{side}" for value, side in zip(wrapped, sides, strict=True)]


def _draw_scale_bar(axes: Axes, grid: GeoGrid, corner: str) -> None:
    ground_width, _ = measure_ground_m(grid)
    length_m = _round_down(0.24 * ground_width)
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    box = grid.bbox
    bar = AnchoredSizeBar(
        axes.transData,
        length_m / ground_width * (box.east - box.west),
        label,
        corner,
        pad=0.45,
        borderpad=0.7,
        sep=3,
        color=INK,
        size_vertical=0.006 * (box.north - box.south),
        fill_bar=True,
        fontproperties={"size": 8},
    )
    bar.patch.set(facecolor="white", edgecolor="none", alpha=0.82, boxstyle="round,pad=0,rounding_size=0.25")
    axes.add_artist(bar)


def _draw_look(axes: Axes, look_azimuth_deg: float, corner: str) -> None:
    """A long arrow along the flight and a short one where the radar looks (to the right)."""
    size = 0.5 * DPI
    width, height = size / axes.bbox.width, size / axes.bbox.height
    inset_x = 0.1 * DPI / axes.bbox.width
    x = inset_x if corner.endswith("left") else 1 - inset_x - width
    inset = axes.inset_axes((x, 1 - 0.1 * DPI / axes.bbox.height - height, width, height))
    inset.set(xlim=(-1, 1), ylim=(-1, 1))
    inset.set_axis_off()
    rounded = FancyBboxPatch((-0.8, -0.8), 1.6, 1.6, boxstyle="round,pad=0.2", facecolor="white", edgecolor="none")
    inset.add_patch(rounded)
    rounded.set_alpha(0.82)
    look, flight = (
        np.array([math.sin(math.radians(a)), math.cos(math.radians(a))])
        for a in (look_azimuth_deg, look_azimuth_deg - 90)
    )
    start = -0.78 * flight - 0.26 * look
    middle = start + 0.62 * flight
    for tail, tip in ((start, start + 1.56 * flight), (middle, middle + 0.72 * look)):
        arrow = {"arrowstyle": "-|>,head_width=0.2,head_length=0.4", "color": INK, "linewidth": 1.1, "shrinkA": 0}
        inset.annotate("", xy=tuple(tip), xytext=tuple(tail), arrowprops={**arrow, "shrinkB": 0})


def _draw_colour_bar(figure: Figure, place: tuple[float, float, float, float], bar: ColourBar) -> None:
    axes = figure.add_axes(place)
    mappable = ScalarMappable(Normalize(bar.low, bar.high), bar.cmap)
    colour_bar = figure.colorbar(mappable, cax=axes, extend=bar.extend, extendfrac=0.035)
    if bar.ticks:
        colour_bar.set_ticks([value for value, _ in bar.ticks], labels=[text for _, text in bar.ticks])
    colour_bar.ax.tick_params(labelsize=8, length=2.5, width=0.6, color=FRAME, labelcolor=INK)
    colour_bar.set_label(bar.label, size=9, color=INK, labelpad=5)
    colour_bar.outline.set(linewidth=0.6, edgecolor=FRAME)
    for y, text, align in ((-0.045, bar.ends[0], "top"), (1.045, bar.ends[1], "bottom")):
        axes.text(0.0, y, text, transform=axes.transAxes, size=7.5, color=MUTED, va=align, linespacing=1.15)


def _draw_key(figure: Figure, place: tuple[float, float], key: Key) -> None:
    handles = [Patch(facecolor=colour, edgecolor=FRAME, linewidth=0.4, label=text) for colour, text in key.entries]
    legend = figure.legend(
        handles=handles,
        title=key.label,
        loc="upper left",
        bbox_to_anchor=place,
        borderaxespad=0.0,
        frameon=False,
        fontsize=8,
        title_fontsize=9,
        labelcolor=INK,
        handlelength=1.1,
        handleheight=1.1,
        alignment="left",
    )
    legend.get_title().set_color(INK)


def _draw_lettering(figure: Figure, lettering: Lettering) -> None:
    width, height = figure.get_size_inches()
    left, right = 0.3 / width, 1 - 0.3 / width
    top, second, bottom = 1 - 0.33 / height, 1 - 0.58 / height, 0.16 / height
    texts: Sequence[tuple[float, float, str, str, dict[str, Any]]] = (
        (left, top, "left", lettering.title, {"size": 13, "weight": "bold", "color": INK}),
        (right, top, "right", lettering.dates, {"size": 11, "color": INK}),
        (left, second, "left", lettering.subtitle, {"size": 9, "color": MUTED}),
        (left, bottom, "left", lettering.caption, {"size": 6.5, "color": MUTED}),
        (right, bottom, "right", lettering.note, {"size": 6.5, "color": MUTED}),
    )
    for x, y, align, text, style in texts:
        figure.text(x, y, text, ha=align, va="center", **style)
