"""The steps of a run over time, and the memory they used, as inline SVG; and what each kind of step took."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topsar.report.entries import AttemptEntry, PulseEntry, StepKind, Timeline, step_kinds
from topsar.schedule.jobs import Status
from topsar.wording import DASH, bytes_text, plain, round_step, safe, seconds_text

WIDTH, LEFT, RIGHT, TOP = 1080, 64, 16, 6
LANES_HEIGHT, THINNEST, THICKEST = 360.0, 2.0, 18.0
"""Pixels: of all lanes together as far as they fit, and of one lane."""
MEMORY_HEIGHT, GAP = 120, 20

COLOURS = ("#4a7fb5", "#58a065", "#8e6bb8", "#2f9e9e", "#b8719f", "#8a8f3c", "#9c755f", "#7f8c99")
"""Of kinds of steps; those beyond share the last one. Red and amber are for what failed."""
MAX_BARS, MAX_TITLED = 5000, 800
"""Bars drawn, and the longest of them that have a text of their own: more of either makes the page heavy."""
LONGEST_TITLE = 60

_NICE_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_FAILURES = (Status.WAITING, Status.FAILED)
_ENDS = {
    Status.WAITING: "failed, tried again",
    Status.FAILED: "failed",
    Status.INTERRUPTED: "interrupted",
    Status.RUNNING: "its end is not known",
}


def timeline_section(timeline: Timeline | None) -> str:
    """The sections Timeline and Steps; empty without a record of the run."""
    if timeline is None:
        return ""
    kinds = step_kinds(timeline.attempts)
    drawn = _drawing(timeline) if timeline.attempts else ""
    return f'<h2>Timeline</h2><p class="muted small">{_said(timeline)}</p>{drawn}{_kinds(kinds)}'


def _said(timeline: Timeline) -> str:
    counts = (("done before the run began", timeline.done_before), ("not needed", timeline.not_needed))
    return ", ".join([f"{timeline.steps} steps", *(f"{count} {said}" for said, count in counts if count)]) + "."


# --- what is drawn ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bar:
    """A step, or several in a row that would each be too narrow to see."""

    lane: int
    x: float
    width: float
    step: str
    title: str


def _drawing(timeline: Timeline) -> str:
    span = max(timeline.seconds, *(one.end_s for one in timeline.attempts), *(p.at_s for p in timeline.pulses), 1e-3)
    scale = (WIDTH - LEFT - RIGHT) / span
    lanes = pack(timeline.attempts)
    count = 1 + max(lanes)
    thick = min(max(LANES_HEIGHT / count, THINNEST), THICKEST)
    steps = list(dict.fromkeys(one.step for one in timeline.attempts))
    below = TOP + count * thick
    bottom = below + (GAP + MEMORY_HEIGHT if timeline.pulses else 6)
    body = (
        _time_axis(span, scale, bottom)
        + _lanes(timeline.attempts, lanes, scale, thick, steps)
        + (_memory(timeline.pulses, span, scale, bottom) if timeline.pulses else "")
    )
    return (
        f'<div class="scroll"><svg class="timeline" viewBox="0 0 {WIDTH} {bottom + 22:.0f}" role="img" '
        f'aria-label="Steps and memory over time">{body}</svg></div>{_legend(timeline, steps)}'
    )


def pack(attempts: Sequence[AttemptEntry]) -> list[int]:
    """The lane of each: the first that is free when it starts.

    Examples
    --------
    >>> at = lambda start, end: AttemptEntry(job="", step="", start_s=start, end_s=end, status=Status.DONE)
    >>> pack([at(0, 9), at(1, 3), at(3, 5), at(4, 6)])
    [0, 1, 1, 2]
    """
    lanes = [0] * len(attempts)
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    for index in sorted(range(len(attempts)), key=lambda i: attempts[i].start_s):
        while busy and busy[0][0] <= attempts[index].start_s:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lanes[index] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (attempts[index].end_s, lanes[index]))
    return lanes


def _bars(attempts: Sequence[AttemptEntry], lanes: Sequence[int], scale: float) -> list[_Bar]:
    """One bar per try; what is narrower than a cell shares one bar per cell. Cells grow until the bars are few."""
    cell = 1.0
    while True:
        groups: dict[tuple[int, float], list[AttemptEntry]] = {}
        for one, lane in zip(attempts, lanes, strict=True):
            is_narrow = (one.end_s - one.start_s) * scale < cell
            at = one.start_s * scale
            groups.setdefault((lane, math.floor(at / cell) if is_narrow else -1 - at), []).append(one)
        if len(groups) <= MAX_BARS or cell > WIDTH:
            return [_bar(lane, group, scale) for (lane, _), group in groups.items()]
        cell *= 1.5


def _bar(lane: int, group: list[AttemptEntry], scale: float) -> _Bar:
    start, end = min(one.start_s for one in group), max(one.end_s for one in group)
    counts = Counter(one.step for one in group)
    spent = dict.fromkeys(counts, 0.0)
    for one in group:
        spent[one.step] += one.end_s - one.start_s
    title = _title(group[0])
    if len(group) > 1:
        words = [f"{count} {plain(step)[:LONGEST_TITLE]}" for step, count in counts.most_common(6)]
        failures = sum(one.status in _FAILURES for one in group)
        title = f"{len(group)} tries: {', '.join([*words, *([f'{failures} failed'] if failures else [])])}"
    return _Bar(lane, LEFT + start * scale, max((end - start) * scale, 0.8), max(spent, key=spent.__getitem__), title)


def _title(one: AttemptEntry) -> str:
    words = [f"{plain(one.job)[:LONGEST_TITLE]} · {plain(one.step)[:LONGEST_TITLE]}", seconds_text(one.seconds)]
    if one.ended:
        words.append(f"peak {bytes_text(one.ended.peak_memory_bytes)}")
    if one.attempt > 1:
        words.append(f"attempt {one.attempt}")
    return ", ".join([*words, *([_ENDS[one.status]] if one.status in _ENDS else [])])


def _lanes(
    attempts: Sequence[AttemptEntry], lanes: Sequence[int], scale: float, thick: float, steps: Sequence[str]
) -> str:
    bars = sorted(_bars(attempts, lanes, scale), key=lambda bar: -bar.width)
    height = thick - (2 if thick > 8 else 0.5)
    parts = []
    for step in steps:
        colour = _colour(step, steps)
        titled = "".join(
            f'<rect x="{bar.x:.1f}" y="{TOP + bar.lane * thick:.1f}" width="{bar.width:.1f}" height="{height:.1f}">'
            f"<title>{safe(bar.title)}</title></rect>"
            for bar in bars[:MAX_TITLED]
            if bar.step == step
        )
        rest = _strokes(((b.x, b.lane, b.width) for b in bars[MAX_TITLED:] if b.step == step), thick, height)
        short = f'<path stroke="{colour}" stroke-width="{height:.1f}" d="{rest}"/>' if rest else ""
        parts.append(f'<g fill="{colour}">{titled}</g>{short}')
    return "".join(parts) + _marks(attempts, lanes, scale, thick, height)


def _strokes(bars: Iterable[tuple[float, int, float]], thick: float, height: float) -> str:
    """Bars as thick lines of one path, the shortest way to say them."""
    said = (f"M{x:.1f} {TOP + lane * thick + height / 2:.1f}h{width:.1f}" for x, lane, width in bars)
    return "".join(dict.fromkeys(said))


def _marks(attempts: Sequence[AttemptEntry], lanes: Sequence[int], scale: float, thick: float, height: float) -> str:
    """A tick at the end of every try that did not succeed."""
    parts = []
    for style, statuses in (("again", (Status.WAITING, Status.INTERRUPTED)), ("failed", (Status.FAILED,))):
        ends = (
            (round(LEFT + one.end_s * scale) - 2.0, lane, 2.0)
            for one, lane in zip(attempts, lanes, strict=True)
            if one.status in statuses
        )
        drawn = _strokes(ends, thick, height)
        parts.append(f'<path class="{style}" stroke-width="{height:.1f}" d="{drawn}"/>' if drawn else "")
    return "".join(parts)


def _colour(step: str, steps: Sequence[str]) -> str:
    return COLOURS[min(steps.index(step), len(COLOURS) - 1)]


# --- axes, memory, legend ---------------------------------------------------------------------------------------


def _time_axis(span: float, scale: float, bottom: float) -> str:
    step = _tick_step(span)
    parts = []
    for number in range(math.floor(span / step * (1 + 1e-9)) + 1):
        x = LEFT + number * step * scale
        anchor = "end" if x > WIDTH - RIGHT - 20 else "middle"
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom:.1f}"/>')
        text = tick_text(number * step, step)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15:.1f}" text-anchor="{anchor}">{text}</text>')
    return "".join(parts)


def _tick_step(span: float) -> float:
    least = span / 10
    if least <= _NICE_TICKS[0]:
        return round_step(least)
    if least > _NICE_TICKS[-1]:
        return _NICE_TICKS[-1] * round_step(least / _NICE_TICKS[-1])
    return next(float(nice) for nice in _NICE_TICKS if nice >= least)


def tick_text(seconds: float, step: float) -> str:
    """A time on an axis whose ticks are ``step`` apart.

    Examples
    --------
    >>> [tick_text(90, 30), tick_text(5400, 1800), tick_text(7200, 3600), tick_text(0.4, 0.2), tick_text(172800, 86400)]
    ['1:30 min', '1:30 h', '2 h', '0.4 s', '2 d']
    """
    if seconds == 0:
        return "0"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and (unit < 86400 or step >= unit):
            whole, rest = divmod(round(seconds), unit)
            return f"{whole}:{rest * 60 // unit:02d} {name}" if step < unit and rest else f"{whole} {name}"
    return f"{seconds:g} s" if step >= 1 else f"{seconds:.{max(0, -math.floor(math.log10(step)))}f} s"


def _memory(pulses: Sequence[PulseEntry], span: float, scale: float, bottom: float) -> str:
    top = max(max(p.memory_bytes or 0, p.reserved_bytes, p.budget_bytes) for p in pulses) or 1
    step = round_step(top / 4)
    ticks = range(math.floor(top / step * (1 + 1e-9)) + 1)
    shown = _by_pixel(pulses, scale)
    end = LEFT + span * scale

    def line(values: Iterable[tuple[float, float]]) -> str:
        points = [(x, f"{bottom - value / top * MEMORY_HEIGHT:.1f}") for x, value in values]
        turns = "".join(f"H{x:.0f}V{y}" for (x, y), (_, before) in zip(points[1:], points, strict=False) if y != before)
        return f"M{points[0][0]:.0f} {points[0][1]}{turns}H{end:.0f}"

    parts = []
    for number in ticks:
        y = bottom - number * step / top * MEMORY_HEIGHT
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{end:.0f}"/>')
        text = bytes_text(number * step) if number else "0"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    if any(p.memory_bytes is not None for p in pulses):
        area = line((x, p.memory_bytes or 0) for x, p in shown)
        parts.append(f'<path class="used" d="{area}V{bottom:.1f}H{LEFT + pulses[0].at_s * scale:.0f}Z"/>')
    parts.append(f'<path class="reserved" d="{line((x, p.reserved_bytes) for x, p in shown)}"/>')
    parts.append(f'<path class="budget" d="{line((x, p.budget_bytes) for x, p in shown)}"/>')
    return "".join(parts)


def _by_pixel(pulses: Sequence[PulseEntry], scale: float) -> list[tuple[float, PulseEntry]]:
    """One pulse per pixel: the most that was used and reserved in it, and the least budget."""
    columns: dict[int, PulseEntry] = {}
    for pulse in pulses:
        x = round(LEFT + pulse.at_s * scale)
        other = columns.get(x, pulse)
        known = [memory for memory in (pulse.memory_bytes, other.memory_bytes) if memory is not None]
        columns[x] = PulseEntry(
            at_s=other.at_s,
            memory_bytes=max(known, default=None),
            reserved_bytes=max(pulse.reserved_bytes, other.reserved_bytes),
            budget_bytes=min(pulse.budget_bytes, other.budget_bytes),
        )
    return sorted(columns.items())


def _legend(timeline: Timeline, steps: Sequence[str]) -> str:
    named = steps if len(steps) <= len(COLOURS) else [*steps[: len(COLOURS) - 1], "other steps"]
    items = [f'<i style="background:{colour}"></i>{safe(name)}' for name, colour in zip(named, COLOURS, strict=False)]
    statuses = {one.status for one in timeline.attempts}
    if statuses & {Status.WAITING, Status.INTERRUPTED}:
        items.append('<i class="again"></i>failed and tried again, or interrupted')
    if Status.FAILED in statuses:
        items.append('<i class="failed"></i>failed')
    if any(pulse.memory_bytes is not None for pulse in timeline.pulses):
        items.append('<i class="used"></i>memory in use')
    if timeline.pulses:
        items += ['<i class="reserved"></i>reserved', '<i class="budget"></i>budget']
    return f'<div class="legend">{"".join(f"<span>{item}</span>" for item in items)}</div>'


# --- kinds of steps ---------------------------------------------------------------------------------------------

_HEADS = (
    "Done",
    "Failed tries",
    "Time, median",
    "longest",
    "Cores used",
    "Peak memory",
    "predicted",
    "Written",
    "Share of time",
)


def _kinds(kinds: Sequence[StepKind]) -> str:
    if not kinds:
        return ""
    total = sum(kind.total_seconds for kind in kinds) or 1.0
    head = "<th>Step</th>" + "".join(f'<th class="n">{name}</th>' for name in _HEADS)
    rows = "".join(_kind(kind, total) for kind in kinds)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    note = "Steps of this run by name. Peak memory is the largest, predicted and written bytes are medians."
    return f'<h2>Steps</h2>{table}<p class="muted small">{note}</p>'


def _kind(kind: StepKind, total: float) -> str:
    cells = (
        str(kind.done),
        str(kind.failures or DASH),
        DASH if kind.seconds is None else seconds_text(kind.seconds),
        DASH if kind.longest is None else seconds_text(kind.longest),
        DASH if kind.cores is None else f"{kind.cores:.1f}",
        bytes_text(kind.peak_bytes) if kind.peak_bytes else DASH,
        bytes_text(kind.predicted_bytes) if kind.predicted_bytes else DASH,
        DASH if kind.written_bytes is None else bytes_text(kind.written_bytes),
        f"{100 * kind.total_seconds / total:.0f} %",
    )
    return f"<tr><td>{safe(kind.name)}</td>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"
