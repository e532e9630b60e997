"""Closure of triplets: the phase that is left after adding up three pairs around a triangle of dates."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.errors import ProductError
from topsar.files import read_json
from topsar.kernels.registration import find_triangles
from topsar.raster import read_reduced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COHERENT = 0.5
"""Pixels above this coherence in all three pairs are closed."""
MOST_PIXELS = 1 << 18
"""Larger grids are read as an overview (of phase, every n-th pixel): statistics do not need more."""
MOST_TRIPLETS = 500
"""If there are more, those with the shortest span are closed."""
MOST_LAYER_TRIPLETS = 50
_PAIRS_IN_MEMORY = 32
_TURNS = (1, 1, -1)
"""Signs with which the sides ab, bc and ac go around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Phase of ab · bc · conj(ac), wrapped and unfiltered, where all three pairs are coherent.

    ``expected_rad`` is the deviation that noise would leave if the pairs were independent; they share dates, so less
    is usual. ``jumps`` is the share of the pixels inside components of all pairs whose unwrapped phases close to
    another number of cycles than most do; None without unwrapped phases.
    """

    pairs: tuple[str, str, str]
    dates: tuple[str, str, str]
    pixels: int
    mean_rad: float
    rms_rad: float
    deviation_rad: float
    expected_rad: float
    jumps: float | None


class Closures(NamedTuple):
    """Closures of the triangles among some pairs, by date; ``total`` also counts triangles that were not closed."""

    found: tuple[Closure, ...]
    total: int


class _Edge(NamedTuple):
    """A pair as a side of triangles: its sign is -1 where the later date is the reference."""

    folder: Path
    facts: Mapping[str, Any]
    sign: int


def close_triplets(folders: Sequence[Path]) -> Closures:
    """Close every triangle among pairs, given their ``products`` folders.

    The pairs of a triangle share track, polarisation and grid; a pair whose facts cannot be read, or lack dates or
    grid, is left out.
    """
    pairs = {}
    for folder in folders:
        with suppress(ProductError):
            pairs[folder] = read_json(folder / "facts.json")
    chosen, total = _choose_triangles(pairs, MOST_TRIPLETS)
    read = lru_cache(_PAIRS_IN_MEMORY)(_read_layers)
    closures = (_close(dates, sides, [read(edge.folder) for edge in sides]) for dates, sides in chosen)
    return Closures(tuple(one for one in closures if one), total)


def close_layer(pairs: Mapping[Path, Mapping[str, Any]], name: str) -> float | None:
    """Root mean square of what a layer leaves around triangles of pairs; None where no triangle has it.

    Parameters
    ----------
    pairs : mapping
        Facts by the ``products`` folders of pairs.
    name : str
        Of a layer that changes its sign with the order of the dates.
    """
    having = {folder: facts for folder, facts in pairs.items() if (folder / f"{name}.tif").is_file()}
    chosen, _ = _choose_triangles(having, MOST_LAYER_TRIPLETS)
    read = lru_cache(_PAIRS_IN_MEMORY)(lambda folder: read_reduced(folder / f"{name}.tif", MOST_PIXELS))
    squares, pixels = 0.0, 0
    for _, sides in chosen:
        signs = [side.sign * turn for side, turn in zip(sides, _TURNS, strict=True)]
        values = [read(side.folder).astype(np.float64) for side in sides]
        loop = np.sum([sign * one for sign, one in zip(signs, values, strict=True)], axis=0)
        known = np.isfinite(loop)
        squares, pixels = squares + float((loop[known] ** 2).sum()), pixels + int(known.sum())
    return float(np.sqrt(squares / pixels)) if pixels else None


def _choose_triangles(pairs: Mapping[Path, Mapping[str, Any]], most: int) -> tuple[list[_Triangle], int]:
    """The triangles among pairs, by date, those with the shortest spans where there are too many; and how many."""
    stacks: dict[str, dict[tuple[str, str], _Edge]] = {}
    for folder, facts in pairs.items():
        if not {"reference_date", "secondary_date", "grid"} <= facts.keys():
            continue
        first, second = facts["reference_date"], facts["secondary_date"]
        edge = _Edge(folder, facts, 1 if first < second else -1)
        stack = json.dumps([facts.get("track"), facts.get("polarisation"), facts["grid"]])
        stacks.setdefault(stack, {})[min(first, second), max(first, second)] = edge
    triangles: list[_Triangle] = [
        ((a, b, c), (edges[a, b], edges[b, c], edges[a, c]))
        for edges in stacks.values()
        for a, b, c in find_triangles(edges)
    ]
    return sorted(sorted(triangles, key=_count_days)[:most], key=lambda triangle: triangle[0]), len(triangles)


_Triangle = tuple[tuple[str, str, str], tuple[_Edge, _Edge, _Edge]]


def _count_days(triangle: _Triangle) -> int:
    (a, _, c), _ = triangle
    return int((np.datetime64(c) - np.datetime64(a)).astype(int))


class _Layers(NamedTuple):
    """The layers of a pair that are closed; unwrapped phase is NaN outside components."""

    phase: NDArray[np.float32]
    coherence: NDArray[np.float32]
    noise: NDArray[np.float32]
    unwrapped: NDArray[np.float32] | None


def _read_layers(folder: Path) -> _Layers:
    names = ["wrapped_phase", "coherence", "phase_noise", "filtered_unwrapped_phase", "components"]
    known = names if (folder / "filtered_unwrapped_phase.tif").is_file() else names[:3]
    phase, coherence, noise, *more = (read_reduced(folder / f"{name}.tif", MOST_PIXELS) for name in known)
    return _Layers(phase, coherence, noise, np.where(more[1] > 0, more[0], np.float32(np.nan)) if more else None)


def _close(dates: tuple[str, str, str], sides: tuple[_Edge, _Edge, _Edge], layers: list[_Layers]) -> Closure | None:
    # At an edge, a pixel of the overview may have coherence (an average) but no phase.
    seen = np.all([(one.coherence > COHERENT) & np.isfinite(one.phase) for one in layers], axis=0)
    if not seen.any():
        return None
    signs = [side.sign * turn for side, turn in zip(sides, _TURNS, strict=True)]
    loop = sum(sign * one.phase[seen].astype(np.float64) for sign, one in zip(signs, layers, strict=True))
    phasor = np.exp(1j * np.asarray(loop))
    mean = float(np.angle(phasor.mean()))
    return Closure(
        pairs=(sides[0].facts["pair"], sides[1].facts["pair"], sides[2].facts["pair"]),
        dates=dates,
        pixels=int(seen.sum()),
        mean_rad=mean,
        rms_rad=float(np.sqrt((np.angle(phasor) ** 2).mean())),
        deviation_rad=float(np.angle(phasor * np.exp(-1j * mean)).std()),
        expected_rad=float(np.sqrt(np.sum([np.mean(one.noise[seen] ** 2) for one in layers]))),
        jumps=_find_jumps(signs, [one.unwrapped for one in layers]),
    )


def _find_jumps(signs: Sequence[int], phases: Sequence[NDArray[np.float32] | None]) -> float | None:
    known = [phase for phase in phases if phase is not None]
    if len(known) < len(signs):
        return None
    loop = np.sum([sign * phase.astype(np.float64) for sign, phase in zip(signs, known, strict=True)], axis=0)
    cycles = np.round(loop[np.isfinite(loop)] / (2 * np.pi)).astype(np.int64)
    if cycles.size == 0:
        return None
    _, counts = np.unique(cycles, return_counts=True)
    return float(1 - counts.max() / cycles.size)
