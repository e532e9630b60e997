"""The network of the pairs of a run for its page, time against perpendicular baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.pairs.baselines import solve_baselines
from topsar.report.timeline import Tick
from topsar.wording import round_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from topsar.report.pair import PairReport

WIDTH, HEIGHT = 880, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 18, 42
"""Of the drawing on the page and its margins, pixels."""
MOST_LABELS, LABEL_WIDTH = 16, 66
FAINTEST = 0.2


class Dot(NamedTuple):
    """A date, in pixels."""

    x: float
    y: float
    title: str


class Line(NamedTuple):
    """A pair between two dates; faint where it is little coherent."""

    start: Dot
    end: Dot
    pair: PairReport

    @property
    def opacity(self) -> float:
        """From `FAINTEST` without coherence to 1."""
        coherence = self.pair.find_number("coherence_mean")
        return round(FAINTEST + (1 - FAINTEST) * min(max(0.5 if coherence is None else coherence, 0.0), 1.0), 2)


class NetworkDrawing(NamedTuple):
    """The network of one track, in pixels."""

    track: str
    first: date
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...]
    date_ticks: tuple[Tick, ...]
    baseline_ticks: tuple[Tick, ...]


def draw_networks(pairs: Sequence[PairReport]) -> list[NetworkDrawing]:
    """Draw the pairs of each track that has two known dates or more.

    Baselines of dates are the least-squares solution of those of the pairs, the first date at zero.
    """
    tracks = sorted({pair.track for pair in pairs})
    drawn = (_draw_track(track, [pair for pair in pairs if pair.track == track]) for track in tracks)
    return [one for one in drawn if one]


def _draw_track(track: str, pairs: Sequence[PairReport]) -> NetworkDrawing | None:
    edges = [(pair, pair.dates) for pair in pairs if pair.dates]
    dates = sorted({day for _, both in edges for day in both})
    if len(dates) < 2:
        return None
    baselines = solve_baselines([(*both, pair.find_number("perpendicular_baseline_m")) for pair, both in edges])
    low, high = min(baselines.values()), max(baselines.values())
    margin = max(0.12 * (high - low), 5.0)
    low, high = low - margin, high + margin
    span, height = (dates[-1] - dates[0]).days, HEIGHT - TOP - BOTTOM
    dots = {
        day: Dot(
            x=round(LEFT + 14 + (day - dates[0]).days / span * (WIDTH - LEFT - RIGHT - 28), 1),
            y=round(TOP + (high - metres) / (high - low) * height, 1),
            title=f"{day}: {metres:+.0f} m",
        )
        for day, metres in baselines.items()
    }
    step = round_step((high - low) / 6)
    values = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
    return NetworkDrawing(
        track=track,
        first=dates[0],
        lines=tuple(Line(dots[a], dots[b], pair) for pair, (a, b) in edges),
        dots=tuple(dots.values()),
        date_ticks=_make_date_ticks(dots),
        baseline_ticks=tuple(
            Tick(round(TOP + (high - value) / (high - low) * height, 1), f"{value:.0f} m".replace("-", "−"))
            for value in values
        ),
    )


def _make_date_ticks(dots: Mapping[date, Dot]) -> tuple[Tick, ...]:
    """Up to `MOST_LABELS` dates, as far apart as they are wide."""
    ticks: list[Tick] = []
    free_from = 0.0
    for day, dot in list(dots.items())[:: -(-len(dots) // MOST_LABELS)]:
        is_last = dot.x > WIDTH - RIGHT - LABEL_WIDTH / 2
        left = dot.x - LABEL_WIDTH / (1 if is_last else 2)
        if left >= free_from:
            ticks.append(Tick(dot.x, str(day), "end" if is_last else "middle"))
            free_from = left + LABEL_WIDTH
    return tuple(ticks)
