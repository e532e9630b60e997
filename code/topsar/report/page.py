"""The report as HTML."""

from __future__ import annotations

import base64
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from topsar import __version__
from topsar.report.closure import Closures
from topsar.report.closures import closures_section
from topsar.report.entries import FailureEntry, PairEntry, SettingEntry, StepEntry, Timeline, Totals
from topsar.report.network import network_svg
from topsar.report.style import CSS
from topsar.report.timeline import timeline_section
from topsar.schedule.jobs import Status
from topsar.wording import DASH, bytes_text, rate_text, safe, seconds_text

PICTURES = ("filtered_phase", "displacement", "coherence", "unwrapped_phase")
THUMBNAIL_WIDTH, SMALL_THUMBNAIL_WIDTH = 480, 320
MANY_PAIRS = 40
"""From so many pairs on, thumbnails are smaller and two for a pair."""


def render(
    folder: Path,
    *,
    title: str,
    pairs: Sequence[PairEntry],
    machine: Mapping[str, str],
    settings: Sequence[SettingEntry],
    totals: Totals,
    failures: Sequence[FailureEntry],
    timeline: Timeline | None,
    closures: Closures | None,
) -> str:
    """The page as text; ``folder`` is where it will lie."""
    many = len(pairs) >= MANY_PAIRS
    with ThreadPoolExecutor() as threads:  # thumbnails take nearly all the time, and Pillow works beside Python
        sections = "".join(
            threads.map(lambda pair, number: _section(pair, number, folder, many=many), pairs, range(1, len(pairs) + 1))
        )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(title)}</title><style>{CSS}</style></head><body><main>"
        f"{_head(title, pairs, machine, totals)}{_failures(failures, pairs)}{_networks(pairs)}"
        f"{_table(pairs, folder)}{closures_section(closures)}{timeline_section(timeline)}"
        f"<h2>Pair by pair</h2>{sections}{_machine(machine)}{_settings(settings)}"
        f"<footer>Written by topsar {safe(__version__)}. Phase is reference times conjugate of secondary; "
        "displacement is along the line of sight, positive toward the satellite.</footer></main></body></html>\n"
    )


# --- parts of the page ------------------------------------------------------------------------------------------


def _head(title: str, pairs: Sequence[PairEntry], machine: Mapping[str, str], totals: Totals) -> str:
    done = sum(pair.is_done for pair in pairs)
    failed = len(pairs) - done
    chips = [(f"{done} of {len(pairs)}", "pairs done", ""), (seconds_text(totals.seconds), "wall time", "")]
    if failed:
        chips.insert(1, (str(failed), "not done", "bad"))
    fresh = sum(pair.status is Status.DONE for pair in pairs)
    if fresh and totals.seconds:
        chips.append((rate_text(3600 * fresh / totals.seconds), "pairs per hour", ""))
    if totals.peak_memory_bytes:
        chips.append((bytes_text(totals.peak_memory_bytes), "peak memory of a step", ""))
    if totals.freed_bytes:
        chips.append((bytes_text(totals.freed_bytes), "scratch removed", ""))
    boxes = "".join(
        f'<div class="{style}"><b>{safe(value)}</b><span>{name}</span></div>' for value, name, style in chips
    )
    where = ", ".join(str(value) for value in machine.values())
    started = f"{totals.started:%Y-%m-%d %H:%M} {totals.started:%Z}".strip()
    return (
        f'<h1>{safe(title)}</h1><div class="muted">{safe(started)}'
        f'{" · " + safe(where) if where else ""}</div><div class="summary">{boxes}</div>'
    )


def _failures(failures: Sequence[FailureEntry], pairs: Sequence[PairEntry]) -> str:
    if not failures:
        return ""
    numbers = {pair.pair_id: (number, pair) for number, pair in enumerate(pairs, 1)}
    sections = []
    for failure in failures:
        names = [
            f'<a href="#pair-{numbers[pair_id][0]}">{safe(_name(numbers[pair_id][1]))}</a>'
            for pair_id in failure.blocks
            if pair_id in numbers
        ]
        blocked = f'<div class="muted small">Pairs that need it: {", ".join(names)}</div>' if names else ""
        sections.append(
            f'<section class="pair"><header><h3>{safe(failure.title)}</h3>{_badge(Status.FAILED)}</header>'
            f"{_error(failure.message, failure.log_tail)}{blocked}</section>"
        )
    return f"<h2>Failures outside the pairs</h2>{''.join(sections)}"


def _error(message: str, log_tail: Sequence[str]) -> str:
    error = f'<div class="error">{safe(message)}</div>' if message else ""
    log = "\n".join(log_tail)
    return error + (f'<div class="muted small">Last lines of the log</div><pre>{safe(log)}</pre>' if log else "")


def _networks(pairs: Sequence[PairEntry]) -> str:
    tracks = sorted({pair.track for pair in pairs})
    drawn = [(track, network_svg([pair for pair in pairs if pair.track == track])) for track in tracks]
    plots = [f'<div class="muted small">Track {safe(track) or DASH}</div>{svg}' for track, svg in drawn if svg]
    return f"<h2>Network</h2>{''.join(plots)}" if plots else ""


def _table(pairs: Sequence[PairEntry], folder: Path) -> str:
    heads = (
        ("Pair", ""), ("Status", ""), ("Days", "n"), ("B⊥ (m)", "n"), ("Coherence", "n"),
        ("Bursts", "n"), ("Time", "n"), ("Peak memory", "n"), ("Products", ""),
    )  # fmt: skip
    head = "".join(f'<th class="{style}">{name}</th>' for name, style in heads)
    rows = "".join(_row(pair, number, folder) for number, pair in enumerate(pairs, 1))
    return f'<h2>Pairs</h2><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(pair: PairEntry, number: int, folder: Path) -> str:
    dates = pair.dates
    bursts = pair.facts.get("bursts")
    peak = max((step.peak_memory_bytes or 0 for step in pair.steps), default=0)
    seconds = sum(step.seconds or 0.0 for step in pair.steps)
    numbers = (
        str((dates[1] - dates[0]).days) if dates else DASH,
        _number(pair.number("perpendicular_baseline_m"), "+.0f"),
        _number(pair.number("coherence_mean"), ".2f"),
        str(len(bursts)) if isinstance(bursts, Sequence) and not isinstance(bursts, str) else DASH,
        seconds_text(seconds) if seconds else DASH,
        bytes_text(peak) if peak else DASH,
    )
    cells = "".join(f'<td class="n">{safe(text)}</td>' for text in numbers)
    products = f'<a href="{_link(pair.folder, folder)}/">folder</a>' if pair.folder else DASH
    return (
        f'<tr><td class="nowrap"><a href="#pair-{number}">{safe(_name(pair))}</a></td><td>{_badge(pair.status)}</td>'
        f"{cells}<td>{products}</td></tr>"
    )


def _section(pair: PairEntry, number: int, folder: Path, *, many: bool) -> str:
    error = _error("" if pair.is_done else pair.message, pair.log_tail)
    details = _facts(pair.facts) + _steps(pair.steps)
    return (
        f'<section class="pair" id="pair-{number}"><header><h3>{safe(_name(pair))}</h3>{_badge(pair.status)}'
        f'<span class="muted small">{safe(pair.pair_id)}</span></header>{error}'
        f"{_pictures(pair, folder, many=many)}{f'<div class=columns>{details}</div>' if details else ''}</section>"
    )


def _pictures(pair: PairEntry, folder: Path, *, many: bool) -> str:
    if pair.folder is None:
        return ""
    figures = []
    for name in PICTURES[:2] if many else PICTURES:
        path = pair.folder / f"{name}.png"
        data = thumbnail(path, SMALL_THUMBNAIL_WIDTH if many else THUMBNAIL_WIDTH)
        if data:
            figures.append(
                f'<a href="{_link(path, folder)}"><img src="data:image/png;base64,{data}" '
                f'alt="{safe(name.replace("_", " "))} of {safe(_name(pair))}"></a>'
            )
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else ""


def _facts(facts: Mapping[str, Any]) -> str:
    rows = [(label, _fact(key, facts)) for key, label in _FACT_LABELS.items() if facts.get(key) not in (None, "")]
    body = "".join(f"<tr><td>{label}</td><td>{safe(text)}</td></tr>" for label, text in rows if text)
    return f'<table class="facts"><tbody>{body}</tbody></table>' if body else ""


def _steps(steps: Sequence[StepEntry]) -> str:
    if not steps:
        return ""
    longest = max((step.seconds or 0.0 for step in steps), default=0.0) or 1.0
    rows = []
    for step in steps:
        share = 100 * (step.seconds or 0.0) / longest
        rows.append(
            f"<tr><td>{safe(step.name)}</td><td>{_badge(step.status)}</td>"
            f'<td class="n">{DASH if step.seconds is None else seconds_text(step.seconds)}</td>'
            f'<td class="bars"><span class="bar" style="width:{share:.0f}%"></span></td>'
            f'<td class="n">{bytes_text(step.peak_memory_bytes) if step.peak_memory_bytes else DASH}</td></tr>'
        )
    head = '<tr><th>Step</th><th></th><th class="n">Time</th><th class="bars"></th><th class="n">Peak memory</th></tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _machine(machine: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{safe(key)}</td><td>{safe(value)}</td></tr>" for key, value in machine.items())
    return f'<h2>Machine</h2><table class="facts"><tbody>{rows}</tbody></table>' if rows else ""


def _settings(settings: Sequence[SettingEntry]) -> str:
    rows = "".join(
        f'<tr><td class="nowrap">{safe(s.key)}</td><td>{safe(s.value)}</td><td class="nowrap">{safe(s.origin)}</td>'
        f'<td class="muted">{safe(s.meaning)}</td></tr>'
        for s in settings
    )
    head = "<tr><th>Key</th><th>Value</th><th>From</th><th>Meaning</th></tr>"
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    return f"<h2>Settings</h2>{table}" if rows else ""


# --- words and numbers ------------------------------------------------------------------------------------------

_FACT_LABELS = {
    "track": "Track",
    "direction": "Direction",
    "perpendicular_baseline_m": "Perpendicular baseline",
    "temporal_baseline_days": "Temporal baseline",
    "coherence_mean": "Mean coherence",
    "looks": "Looks",
    "posting": "Posting",
    "crs": "Coordinate system",
    "wavelength_m": "Wavelength",
    "bursts": "Bursts",
    "orbits": "Orbits",
    "engine": "Engine",
    "versions": "Versions",
}
_UNITS = {
    "perpendicular_baseline_m": ("+.1f", " m"),
    "temporal_baseline_days": ("g", " days"),
    "coherence_mean": (".3f", ""),
    "wavelength_m": (".6f", " m"),
}


def _fact(key: str, facts: Mapping[str, Any]) -> str:
    value = facts[key]
    if isinstance(value, Enum):
        value = value.value
    if key == "engine":
        return f"{value} {facts.get('engine_version') or ''}"
    if key == "orbits" and isinstance(value, Mapping):
        return ", ".join(f"{day} {_orbit_kind(str(name))}" for day, name in value.items())
    if key in _UNITS and isinstance(value, int | float):
        spec, unit = _UNITS[key]
        return _number(float(value), spec) + unit
    if key == "bursts" and not isinstance(value, str) and isinstance(value, Iterable):
        return _bursts([str(burst) for burst in value])
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def _orbit_kind(name: str) -> str:
    """``POEORB`` of an orbit file's name; other names as they are."""
    return found[0] if (found := re.search(r"POEORB|RESORB", name)) else name


def _bursts(bursts: Sequence[str]) -> str:
    """``18: IW1 6, IW2 6, IW3 6``."""
    swaths = Counter(found[0] if (found := re.search(r"[IE]W\d", burst)) else "other" for burst in bursts)
    return f"{len(bursts)}: " + ", ".join(f"{swath} {count}" for swath, count in sorted(swaths.items()))


def _name(pair: PairEntry) -> str:
    dates = pair.dates
    return f"{dates[0]} → {dates[1]}" if dates else pair.pair_id


def _badge(status: Status) -> str:
    return f'<span class="badge {status.value}">{status.value}</span>'


def _number(value: float | None, spec: str) -> str:
    return DASH if value is None else format(value, spec).replace("-", "−")


def _link(path: Path, folder: Path) -> str:
    return escape(quote(Path(os.path.relpath(path, folder)).as_posix()))


def thumbnail(path: Path, width: int) -> str:
    """A small PNG of a picture, base64; empty if there is no such picture."""
    try:
        with Image.open(path) as picture:
            height = max(round(picture.height * width / picture.width), 1)
            small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    except OSError:
        return ""
    stream = io.BytesIO()
    small.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")
