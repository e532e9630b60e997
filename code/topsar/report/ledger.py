"""The ledger of corrections: what the facts of pairs say of each, and what a network says that no pair can."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.corrections.ledger import SIGNIFICANT
from topsar.interferogram import read_number
from topsar.report.closure import close_layer

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.report.pair import PairReport

Sides = tuple[float | None, float | None]
"""Before and after."""


class Entry(NamedTuple):
    """A correction of a pair; ``ramp`` is in rad over 100 km, ``uncertainty`` the deviation that its source tells."""

    name: str
    layer: str
    verdict: str
    std: Sides
    ramp: Sides
    height: Sides
    share: float | None
    error: float | None
    uncertainty: float | None = None


class Summary(NamedTuple):
    """A correction in all pairs.

    ``std``, ``ramp`` and ``height`` are root mean squares; ``share`` is the mean with the weights of its errors.
    ``closing_rad`` is the rms of what the layer itself leaves around triangles of pairs, None without any.
    """

    name: str
    layers: int
    applied: int
    std: Sides
    ramp: Sides
    height: Sides
    share: float | None
    error: float | None
    closing_rad: float | None
    objection: str


def list_entries(facts: Mapping[str, Any]) -> list[Entry]:
    """List the corrections that the facts of a pair tell of; what they do not say is None."""
    told = facts.get("corrections")
    return [_read(name, known) for name, known in told.items()] if isinstance(told, Mapping) else []


def _read(name: str, known: Any) -> Entry:
    known = known if isinstance(known, Mapping) else {}
    entry = known.get("ledger")
    entry = entry if isinstance(entry, Mapping) else {}
    ramps = [_measure(ramp) for ramp in _pair(entry.get("ramp_rad_per_100_km"))]
    return Entry(
        name=name,
        layer=str(known.get("layer", "")) if "refused" not in known else "",
        verdict=str(known.get("verdict", "")),
        std=_read_sides(entry.get("std_rad")),
        ramp=(ramps[0], ramps[1]),
        height=_read_sides(entry.get("height_correlation")),
        share=read_number(entry.get("share")),
        error=read_number(entry.get("share_error")),
        uncertainty=read_number(known.get("std_rad")),
    )


def _pair(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) and len(value) == 2 else [None, None]


def _read_sides(value: Any) -> Sides:
    before, after = (read_number(one) for one in _pair(value))
    return before, after


def _measure(ramp: Any) -> float | None:
    east, north = _read_sides(ramp)
    return None if east is None or north is None else math.hypot(east, north)


def summarise_corrections(pairs: Sequence[PairReport]) -> list[Summary]:
    """Sum up the corrections of all pairs that are done, and close their layers around triangles."""
    done = [pair for pair in pairs if pair.outcome.is_done]
    found: dict[str, list[Entry]] = {}
    for pair in done:
        for entry in list_entries(pair.facts):
            found.setdefault(entry.name, []).append(entry)
    facts = {pair.products: pair.facts for pair in done}
    return [_summarise(name, entries, _close(facts, entries)) for name, entries in found.items()]


def _close(facts: Mapping[Path, Mapping[str, Any]], entries: Sequence[Entry]) -> float | None:
    layer = next((entry.layer for entry in entries if entry.layer), "")
    return close_layer(facts, layer) if layer else None


def _summarise(name: str, entries: Sequence[Entry], closing_rad: float | None) -> Summary:
    share, error = _average(entries)
    objection = ""
    if share is not None and error is not None and share + SIGNIFICANT * error < 0:
        objection = f"{name}: the phases have it with the opposite sign ({share:.2f} ± {error:.2f} times)"
    return Summary(
        name=name,
        layers=sum(bool(entry.layer) for entry in entries),
        applied=sum(entry.verdict == "applied" for entry in entries),
        std=_find_rms([entry.std for entry in entries]),
        ramp=_find_rms([entry.ramp for entry in entries]),
        height=_find_rms([entry.height for entry in entries]),
        share=share,
        error=error,
        closing_rad=closing_rad,
        objection=objection,
    )


def _average(entries: Sequence[Entry]) -> tuple[float | None, float | None]:
    """The mean share and its error: what the errors of the pairs predict, or their scatter where that is larger."""
    known = [(entry.share, entry.error) for entry in entries if entry.share is not None and entry.error]
    if not known:
        return None, None
    share, error = np.array(known, np.float64).T
    weight = error**-2
    mean = float(share @ weight / weight.sum())
    scatter = float(((share - mean) ** 2) @ weight) / max(len(known) - 1, 1)
    return mean, math.sqrt(max(scatter, 1.0) / float(weight.sum()))


def _find_rms(sides: Sequence[Sides]) -> Sides:
    known = np.array([side for side in sides if None not in side], np.float64)
    if not known.size:
        return None, None
    before, after = np.sqrt((known**2).mean(axis=0))
    return float(before), float(after)
