"""The network of a list of pairs as a PNG, time against perpendicular baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from topsar.errors import ProductError
from topsar.files import atomic_path
from topsar.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from topsar.pairs.network import Network, Pass, Stack

DPI = 160
WIDTH_IN, PANEL_IN, TITLE_IN, MARGIN_IN = 9.0, 3.6, 0.62, 0.62
"""Of the PNG, inches."""
MAX_PANELS = 8
LABELLED = 16
"""Up to this many dates, each is written beside its dot."""
CROWDED = (0.05, 0.09)
"""Share of the panel within which a second date is not written."""
LEAST_MARGIN_DAYS = 2.0
INK, MUTED, GRID = "#1d2733", "#5d6b7a", "#dde3e9"
MISSIONS = {"S1A": "#2f6db3", "S1B": "#3b8f5a", "S1C": "#c4572e", "S1D": "#8458a8"}
OTHER, MIXED = "#5d6b7a", "#c9982e"


def write_network(network: Network, path: Path) -> Path:
    """Draw a network: dates are dots coloured by satellite, pairs are lines; one panel per stack.

    Dates without any pair are hollow; dates of unknown baseline lie on a dashed line below the others.

    Parameters
    ----------
    network : Network
    path : Path
        A PNG.
    """
    if path.suffix.lower() != ".png":
        msg = f"{path}: the network is drawn as PNG"
        raise ProductError(msg, hint="choose a name that ends in .png")
    stacks = network.stacks[:MAX_PANELS]
    height = TITLE_IN + len(stacks) * PANEL_IN
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    for number, stack in enumerate(stacks):
        bottom = height - TITLE_IN - (number + 1) * PANEL_IN + MARGIN_IN
        box = (0.85 / WIDTH_IN, bottom / height, (WIDTH_IN - 1.15) / WIDTH_IN, (PANEL_IN - MARGIN_IN - 0.45) / height)
        _draw_stack(figure.add_axes(box), stack)
    _write_title(figure, network, height)
    with atomic_path(path) as part:
        canvas.print_png(str(part))
    return path


def _write_title(figure: Figure, network: Network, height: float) -> None:
    hidden = len(network.stacks) - MAX_PANELS
    more = f"  ·  {hidden} more tracks or frames are not drawn" if hidden > 0 else ""
    left = 0.3 / WIDTH_IN
    top, second = 1 - 0.27 / height, 1 - 0.54 / height
    title = f"Network of {count_text(len(network.connections), 'pair')}"
    figure.text(left, top, title, size=13, weight="bold", color=INK, va="center")
    figure.text(left, second, f"{network.rules}{more}", size=9, color=MUTED, va="center")


def _date_number(one: Pass) -> float:
    return float(date2num(one.start))  # type: ignore[no-untyped-call]


def _draw_stack(axes: Axes, stack: Stack) -> None:
    known = [value for value in stack.baselines_m if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    span = max(high - low, 20.0)
    unknown_y = low - 0.22 * span
    heights = [unknown_y if value is None else value for value in stack.baselines_m]
    place = {id(one): (_date_number(one), y) for one, y in zip(stack.passes, heights, strict=True)}
    _style_axes(axes, stack)
    for one in stack.connections:
        (x0, y0), (x1, y1) = place[id(one.reference)], place[id(one.secondary)]
        colour = MIXED if one.is_mixed else MUTED
        axes.plot([x0, x1], [y0, y1], color=colour, linewidth=1.1, alpha=0.75, zorder=2)
    axes.set_ylim(min(heights) - 0.16 * span, high + 0.2 * span)
    _draw_dates(axes, stack, place)
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(high - span, high)
    least = min(low - 0.08 * span, 0.0) if known else math.inf
    axes.set_yticks([tick for tick in ticks if least <= tick <= high + 0.2 * span])
    if None in stack.baselines_m:
        axes.axhline(unknown_y, color=MUTED, linewidth=0.7, linestyle=(0, (4, 4)), zorder=1)
        axes.annotate(
            "baseline unknown", (1, unknown_y), (-4, -4), ("axes fraction", "data"), "offset points",
            ha="right", va="top", size=7, color=MUTED,
        )  # fmt: skip


def _draw_dates(axes: Axes, stack: Stack, place: dict[int, tuple[float, float]]) -> None:
    alone = {id(part[0]) for part in stack.parts if len(part) == 1}
    for mission in sorted({one.mission for one in stack.passes}):
        group = [one for one in stack.passes if one.mission == mission]
        colour = MISSIONS.get(mission, OTHER)
        axes.scatter(
            [place[id(one)][0] for one in group],
            [place[id(one)][1] for one in group],
            s=38,
            facecolors=["white" if id(one) in alone else colour for one in group],
            edgecolors=colour,
            linewidths=1.4,
            zorder=3,
            label=mission,
        )
    if alone:
        axes.scatter([], [], s=38, facecolors="white", edgecolors=MUTED, linewidths=1.4, label="without a pair")
    if any(one.is_mixed for one in stack.connections):
        axes.plot([], [], color=MIXED, linewidth=1.4, label="two satellites")
    axes.legend(
        loc="upper right", bbox_to_anchor=(1, -0.08), ncols=6, frameon=False, fontsize=8, labelcolor=INK,
        handletextpad=0.3, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    if len(stack.passes) <= LABELLED:
        _label_dates(axes, stack.passes, place)


def _label_dates(axes: Axes, passes: Sequence[Pass], place: dict[int, tuple[float, float]]) -> None:
    """Each date beside its dot, on the side where no neighbour's line leaves; not where another one stands."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    heights = [place[id(one)][1] for one in passes]
    written: list[tuple[float, float, bool]] = []
    for number, one in enumerate(passes):
        above = heights[number] >= float(np.mean(heights[max(number - 1, 0) : number + 2]))
        x, y = (place[id(one)][0] - left) / (right - left), (heights[number] - low) / (high - low)
        if any(side == above and abs(u - x) < CROWDED[0] and abs(v - y) < CROWDED[1] for u, v, side in written):
            continue
        written.append((x, y, above))
        axes.annotate(
            f"{one.start:%d %b}".lstrip("0"), place[id(one)], (0, 7 if above else -7), textcoords="offset points",
            ha="center", va="bottom" if above else "top", size=7.5, color=INK, zorder=4,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )  # fmt: skip


def _style_axes(axes: Axes, stack: Stack) -> None:
    first, last = stack.passes[0], stack.passes[-1]
    pairs = count_text(len(stack.connections), "pair")
    text = f"{stack.title}   ·   {len(stack.passes)} dates from {first} to {last}, {pairs}"
    parts = sum(len(part) > 1 for part in stack.parts)
    text += f", in {parts} parts" if parts > 1 else ""
    axes.set_title(text, loc="left", size=9.5, color=INK, pad=6)
    axes.set_ylabel("B⊥ to the first date (m)", size=8.5, color=INK)
    margin = max((_date_number(last) - _date_number(first)) * 0.05, LEAST_MARGIN_DAYS)
    axes.set_xlim(_date_number(first) - margin, _date_number(last) + margin)
    locator: Any = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(MUTED)
