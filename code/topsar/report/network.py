"""The network of pairs, time against perpendicular baseline, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import numpy as np

from topsar.report.entries import PairEntry
from topsar.wording import round_step, safe

WIDTH, HEIGHT = 880, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 18, 42
MAX_LABELS = 16
FAINTEST = 0.2
"""How much of the ink a line without any coherence has."""
Node = tuple[float, float]


def network_svg(pairs: Sequence[PairEntry]) -> str:
    """Draw the pairs of one track: dates are dots, pairs are lines, darker where more coherent, dashed if not done.

    Baselines of dates are the least-squares solution of those of the pairs, the first date at zero. Empty if fewer
    than two dates are known.
    """
    dated = [(pair, pair.dates) for pair in pairs]
    edges = [(pair, dates) for pair, dates in dated if dates is not None]
    dates = sorted({d for _, both in edges for d in both})
    if len(dates) < 2:
        return ""
    baselines = date_baselines(dates, [(a, b, pair.number("perpendicular_baseline_m")) for pair, (a, b) in edges])
    place = _places(dates, baselines)
    lines = [_line(pair, place[first], place[second]) for pair, (first, second) in edges]
    dots = [_dot(day, place[day], baselines[day]) for day in dates]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Network of pairs">'
        f"{_axes(dates, baselines, place)}{''.join(lines)}{''.join(dots)}</svg>"
    )


def date_baselines(dates: Sequence[date], edges: Sequence[tuple[date, date, float | None]]) -> dict[date, float]:
    """Perpendicular baseline of every date, metres, relative to the first (least squares, smallest norm)."""
    known = [(first, second, value) for first, second, value in edges if value is not None]
    design = np.zeros((len(known) or 1, len(dates)))
    observed = np.zeros(len(known) or 1)
    for row, (first, second, value) in enumerate(known):
        design[row, dates.index(first)] -= 1
        design[row, dates.index(second)] += 1
        observed[row] = value
    solution = np.linalg.lstsq(design, observed, rcond=None)[0]
    return {day: float(value - solution[0]) for day, value in zip(dates, solution, strict=True)}


def _places(dates: Sequence[date], baselines: dict[date, float]) -> dict[date, Node]:
    low, high = _baseline_range(baselines)
    days = max((dates[-1] - dates[0]).days, 1)
    return {
        day: (
            LEFT + 14 + (day - dates[0]).days / days * (WIDTH - LEFT - RIGHT - 28),
            TOP + (high - baselines[day]) / (high - low) * (HEIGHT - TOP - BOTTOM),
        )
        for day in dates
    }


def _baseline_range(baselines: dict[date, float]) -> tuple[float, float]:
    low, high = min(baselines.values()), max(baselines.values())
    margin = max(0.12 * (high - low), 5.0)
    return low - margin, high + margin


def _line(pair: PairEntry, start: Node, end: Node) -> str:
    coherence = pair.number("coherence_mean")
    style = f'class="pair-done" stroke-opacity="{_strength(coherence):.2f}"'
    if not pair.is_done:
        style = 'class="pair-failed" stroke-dasharray="5 4"'
    known = "" if coherence is None else f", coherence {coherence:.2f}"
    about = f"<title>{safe(pair.pair_id)}: {pair.status.value}{known}</title>"
    return f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" {style}>{about}</line>'


def _strength(coherence: float | None) -> float:
    share = min(max(0.5 if coherence is None else coherence, 0.0), 1.0)
    return FAINTEST + (1 - FAINTEST) * share


def _dot(day: date, place: Node, baseline: float) -> str:
    about = f"<title>{day}: {baseline:+.0f} m</title>"
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="5" class="ink">{about}</circle>'


def _axes(dates: Sequence[date], baselines: dict[date, float], place: dict[date, Node]) -> str:
    bottom = HEIGHT - BOTTOM
    parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" class="axis"/>']
    shown = dates[:: -(-len(dates) // MAX_LABELS)]
    last_x = float("-inf")
    for day in shown:
        x = place[day][0]
        if x - last_x >= 66:
            anchor = "end" if x > WIDTH - RIGHT - 34 else "middle"
            parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="{anchor}">{day}</text>')
            last_x = x
    low, high = _baseline_range(baselines)
    step = round_step((high - low) / 6)
    for value in np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step:
        y = bottom - (value - low) / (high - low) * (bottom - TOP)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.0f} m</text>'.replace(">-", ">−"))
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">Perpendicular baseline relative to {dates[0]}</text>')
    return "".join(parts)
