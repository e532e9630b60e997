"""The attempts of a run over time and the memory in use, as the geometry of a drawing; the template writes the SVG."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from topsar.schedule.jobs import Status
from topsar.wording import bytes_text, plain, round_step, seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topsar.report.snapshot import Attempt
    from topsar.schedule.record import Pulse, RunRecord

WIDTH, LEFT, RIGHT, TOP = 1080, 64, 16, 6
LANES_HEIGHT, THINNEST, THICKEST = 360.0, 2.0, 18.0
"""Pixels: of all lanes together as far as they fit, and of one lane."""
MEMORY_HEIGHT, GAP = 120, 20

COLOURS = ("#4a7fb5", "#58a065", "#8e6bb8", "#2f9e9e", "#b8719f", "#8a8f3c", "#9c755f", "#7f8c99")
"""Of steps by name; if there are more names, the rest share the last one. Red and amber mark failures."""
MAX_BARS, MAX_TITLED = 5000, 800
"""Bars drawn, and the longest of them that have a tooltip: more of either makes the page heavy."""
LONGEST_TITLE = 60

_NICE_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_FAILURES = (Status.WAITING, Status.FAILED)
_ENDS = {
    Status.WAITING: "failed, tried again",
    Status.FAILED: "failed",
    Status.INTERRUPTED: "interrupted",
    Status.RUNNING: "end unknown",
}


class Bar(NamedTuple):
    """An attempt, or several in a row that would each be too narrow to see; pixels."""

    x: float
    y: float
    width: float
    step: str
    title: str


class Tick(NamedTuple):
    """A grid line: its place in pixels, and its text."""

    at: float
    text: str
    anchor: str = "end"


class Group(NamedTuple):
    """Bars of one colour: the longest have a tooltip each, the others are strokes of one path."""

    name: str
    colour: str
    bars: tuple[Bar, ...]
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A drawing, in pixels; ``bottom`` is where the time axis is.

    By CSS class, ``marks`` are paths of the ends of attempts that did not succeed, strokes as wide as a bar is high;
    ``curves`` are paths of memory in use, reserved and budget.
    """

    bottom: float
    bar_height: float
    groups: tuple[Group, ...]
    time_ticks: tuple[Tick, ...]
    memory_ticks: tuple[Tick, ...]
    marks: dict[str, str]
    curves: dict[str, str]


def draw_timeline(record: RunRecord, attempts: Sequence[Attempt]) -> Timeline | None:
    """Draw the attempts of a run in lanes, one colour per name of a step, above the memory in use.

    Parameters
    ----------
    record : RunRecord
    attempts : sequence of Attempt
        Those of the record.

    Returns
    -------
    Timeline or None
        None if nothing ran.
    """
    if not attempts:
        return None
    span = max(record.last_s, 1e-3)
    scale = (WIDTH - LEFT - RIGHT) / span
    lanes = _assign_lanes([(one.start_s, one.end_s) for one in attempts])
    count = 1 + max(lanes)
    thick = min(max(LANES_HEIGHT / count, THINNEST), THICKEST)
    height = thick - (2 if thick > 8 else 0.5)
    bottom = TOP + count * thick + (GAP + MEMORY_HEIGHT if record.pulses else 6)
    places = [TOP + lane * thick for lane in lanes]
    bars = sorted(_make_bars(attempts, places, scale), key=lambda bar: -bar.width)
    top = max((max(p.memory_bytes or 0, p.reserved_bytes, p.budget_bytes) for p in record.pulses), default=0) or 1
    return Timeline(
        bottom=round(bottom, 1),
        bar_height=round(height, 1),
        groups=tuple(_group_bars(bars, list(dict.fromkeys(one.step.name for one in attempts)), height)),
        time_ticks=tuple(_make_time_ticks(span, scale)),
        memory_ticks=tuple(_make_memory_ticks(top, bottom)) if record.pulses else (),
        marks=dict(_mark_failures(attempts, places, scale, height)),
        curves=dict(_draw_memory(record.pulses, scale, top, bottom)) if record.pulses else {},
    )


def _assign_lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """The lane of each span of time: the first that is free when it starts."""
    lanes = [0] * len(spans)
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    for index in sorted(range(len(spans)), key=lambda i: spans[i][0]):
        start, end = spans[index]
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lanes[index] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lanes[index]))
    return lanes


def _make_bars(attempts: Sequence[Attempt], places: Sequence[float], scale: float) -> list[Bar]:
    """One bar per attempt; those narrower than a cell share one bar per cell. Cells grow until the bars are few."""
    cell = 1.0
    while True:
        groups: dict[tuple[float, float], list[Attempt]] = {}
        for one, y in zip(attempts, places, strict=True):
            is_narrow = (one.end_s - one.start_s) * scale < cell
            at = one.start_s * scale
            groups.setdefault((y, math.floor(at / cell) if is_narrow else -1 - at), []).append(one)
        if len(groups) <= MAX_BARS or cell > WIDTH:
            return [_make_bar(y, group, scale) for (y, _), group in groups.items()]
        cell *= 1.5


def _make_bar(y: float, group: Sequence[Attempt], scale: float) -> Bar:
    start, end = min(one.start_s for one in group), max(one.end_s for one in group)
    counts = Counter(one.step.name for one in group)
    spent = dict.fromkeys(counts, 0.0)
    for one in group:
        spent[one.step.name] += one.end_s - one.start_s
    title = _describe_attempt(group[0])
    if len(group) > 1:
        words = [f"{count} {plain(step)[:LONGEST_TITLE]}" for step, count in counts.most_common(6)]
        failures = sum(one.status in _FAILURES for one in group)
        title = f"{len(group)} attempts: {', '.join([*words, *([f'{failures} failed'] if failures else [])])}"
    x, width = round(LEFT + start * scale, 1), round(max((end - start) * scale, 0.8), 1)
    return Bar(x, round(y, 1), width, max(spent, key=spent.__getitem__), title)


def _describe_attempt(one: Attempt) -> str:
    words = [f"{plain(one.job.title)[:LONGEST_TITLE]} · {plain(one.step.name)[:LONGEST_TITLE]}"]
    words.append(seconds_text(one.seconds))
    if one.event.ended:
        words.append(f"peak {bytes_text(one.event.ended.peak_memory_bytes)}")
    if one.event.attempt > 1:
        words.append(f"attempt {one.event.attempt}")
    return ", ".join([*words, *([_ENDS[one.status]] if one.status in _ENDS else [])])


def _group_bars(bars: Sequence[Bar], steps: Sequence[str], height: float) -> Iterable[Group]:
    """The bars by colour; ``bars`` come the longest first, ``steps`` are all names."""
    groups = [[step] for step in steps[: len(COLOURS) - 1]]
    if others := list(steps[len(groups) :]):
        groups.append(others)
    for names, colour in zip(groups, COLOURS, strict=False):
        rest = ((bar.x, bar.y, bar.width) for bar in bars[MAX_TITLED:] if bar.step in names)
        titled = tuple(bar for bar in bars[:MAX_TITLED] if bar.step in names)
        yield Group(names[0] if len(names) == 1 else "other steps", colour, titled, _draw_strokes(rest, height))


def _mark_failures(
    attempts: Sequence[Attempt], places: Sequence[float], scale: float, height: float
) -> Iterable[tuple[str, str]]:
    """A mark at the end of every attempt that did not succeed."""
    for style, statuses in (("again", (Status.WAITING, Status.INTERRUPTED)), ("failed", (Status.FAILED,))):
        ends = (
            (round(LEFT + one.end_s * scale) - 2.0, y, 2.0)
            for one, y in zip(attempts, places, strict=True)
            if one.status in statuses
        )
        if path := _draw_strokes(ends, height):
            yield style, path


def _draw_strokes(bars: Iterable[tuple[float, float, float]], height: float) -> str:
    """Bars (x, y, width) as thick lines of one path, the shortest way to write them."""
    strokes = (f"M{x:.1f} {y + height / 2:.1f}h{width:.1f}" for x, y, width in bars)
    return "".join(dict.fromkeys(strokes))


def _make_time_ticks(span: float, scale: float) -> Iterable[Tick]:
    step = _choose_tick_step(span)
    for number in range(math.floor(span / step * (1 + 1e-9)) + 1):
        x = round(LEFT + number * step * scale, 1)
        yield Tick(x, _format_tick(number * step, step), "end" if x > WIDTH - RIGHT - 20 else "middle")


def _choose_tick_step(span: float) -> float:
    least = span / 10
    if least <= _NICE_TICKS[0]:
        return round_step(least)
    if least > _NICE_TICKS[-1]:
        return _NICE_TICKS[-1] * round_step(least / _NICE_TICKS[-1])
    return next(float(nice) for nice in _NICE_TICKS if nice >= least)


def _format_tick(seconds: float, step: float) -> str:
    """A time on an axis, ``1:30 min`` or ``2 h``; ``step`` is the time between ticks."""
    if seconds == 0:
        return "0"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and (unit < 86400 or step >= unit):
            whole, rest = divmod(round(seconds), unit)
            return f"{whole}:{rest * 60 // unit:02d} {name}" if step < unit and rest else f"{whole} {name}"
    return f"{seconds:g} s" if step >= 1 else f"{seconds:.{max(0, -math.floor(math.log10(step)))}f} s"


def _make_memory_ticks(top: float, bottom: float) -> Iterable[Tick]:
    step = round_step(top / 4)
    for number in range(math.floor(top / step * (1 + 1e-9)) + 1):
        y = round(bottom - number * step / top * MEMORY_HEIGHT, 1)
        yield Tick(y, bytes_text(number * step) if number else "0")


def _draw_memory(pulses: Sequence[Pulse], scale: float, top: float, bottom: float) -> Iterable[tuple[str, str]]:
    columns = _merge_pulses(pulses, scale)

    def draw(values: Iterable[tuple[float, float]]) -> str:
        points = [(x, f"{bottom - value / top * MEMORY_HEIGHT:.1f}") for x, value in values]
        turns = "".join(f"H{x:.0f}V{y}" for (x, y), (_, before) in zip(points[1:], points, strict=False) if y != before)
        return f"M{points[0][0]:.0f} {points[0][1]}{turns}H{WIDTH - RIGHT}"

    if any(pulse.memory_bytes is not None for pulse in pulses):
        area = draw((x, pulse.memory_bytes or 0) for x, pulse in columns)
        yield "used", f"{area}V{bottom:.1f}H{LEFT + pulses[0].at_s * scale:.0f}Z"
    yield "reserved", draw((x, pulse.reserved_bytes) for x, pulse in columns)
    yield "budget", draw((x, pulse.budget_bytes) for x, pulse in columns)


def _merge_pulses(pulses: Sequence[Pulse], scale: float) -> list[tuple[float, Pulse]]:
    """One pulse per pixel: the most that was used and reserved in it, and the least budget."""
    columns: dict[int, Pulse] = {}
    for pulse in pulses:
        x = round(LEFT + pulse.at_s * scale)
        other = columns.get(x, pulse)
        known = [memory for memory in (pulse.memory_bytes, other.memory_bytes) if memory is not None]
        columns[x] = replace(
            other,
            memory_bytes=max(known, default=None),
            reserved_bytes=max(pulse.reserved_bytes, other.reserved_bytes),
            budget_bytes=min(pulse.budget_bytes, other.budget_bytes),
        )
    return sorted(columns.items())
