"""The step that estimates the ionosphere of a pair from its sub-bands and its unwrapped phase.

It works on cells of 640 m. Swaths are kept apart until their constants are known: a timing of one swath that differs
between the dates makes a step of the ionosphere, a hundred times larger than of the phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.native.steps.burst_ramps import find_ramps
from topsar.engines.native.steps.subband import FACTS
from topsar.engines.step import Cost, StepKind
from topsar.files import read_json, save_array, write_json
from topsar.kernels.field import Field, fit_field
from topsar.kernels.ionosphere import (
    SURE,
    BandPair,
    choose_components,
    combine,
    find_noise_factor,
    find_offset,
    join_swaths,
    measure_difference,
    part_components,
    solve_cycles,
    sum_cells,
)
from topsar.kernels.smoothing import Cells
from topsar.kernels.unwrap import add_cycles
from topsar.model import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CELL_M = 640.0
LARGEST_STEP_ERROR_RAD = 0.5
"""Of a difference between swaths, beyond which it is not known."""
LEAST_PART = 4
"""Cells that a part of a component must have to be asked for its cycles."""
LEAST_CELLS = 50
"""Of fewer cells nothing is estimated."""
SIGNIFICANT = 2.0
"""The deviation of an ionosphere over the scene must be so many times that of its error."""
CYCLE_RAD = math.pi
"""What a cycle of the whole band's phase makes of the ionosphere."""
FACTS_FILE = "facts.json"
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True, kw_only=True)
class IonosphereTask:
    """A pair whose ionosphere is to be estimated.

    ``swaths`` are the folders of their sub-bands, from near to far, relative to the runs folder, ``multiplied`` those
    with their overlaps; ``pixel_m`` are the sides of an output pixel, north and east.
    """

    job: str
    shape: tuple[int, int]
    pixel_m: tuple[float, float]
    swaths: tuple[str, ...]
    multiplied: tuple[str, ...]


class _Ionosphere(StepKind[IonosphereTask]):
    """The ionosphere of a pair and its uncertainty; sizes are output pixels."""

    name, task = "ionosphere", IonosphereTask
    cost = Cost(base_memory=140_000_000, memory=78, disk=16, start_s=1.0, microseconds=2.7)

    def size(self, task: IonosphereTask) -> float:
        return task.shape[0] * task.shape[1]

    def reads(self, task: IonosphereTask) -> tuple[str, ...]:
        return (*task.swaths, *task.multiplied, f"{task.job}/mosaic", f"{task.job}/filter", f"{task.job}/unwrap")

    def run(self, task: IonosphereTask, runs: Path, folder: Path) -> None:
        """Write ``phase.npy`` and ``deviation.npy`` into ``ionosphere``, or why not, and ``facts.json``."""
        out = folder / "ionosphere"
        out.mkdir(parents=True, exist_ok=True)
        side = max(round(CELL_M / math.sqrt(task.pixel_m[0] * task.pixel_m[1])), 1)
        cell_m = side * task.pixel_m[0], side * task.pixel_m[1]
        swaths, label, origins, facts = _measure_swaths(task, runs, folder, side)
        missions = {one["mission"] for one in read_json(folder / "mosaic" / "facts.json")["passes"].values()}
        why = _require_cells(swaths)
        if not why:
            facts["components"], facts["unwrapping_errors"] = _level_components(swaths, label, cell_m, origins)
            why = _require_cells(swaths)
        if not why:
            field, why = _fit_swaths(swaths, cell_m, facts, differ=len(missions) > 1)
        if not why:
            why = _judge_field(field, _find_known(swaths), facts)
        if why:
            facts["refused"] = why
        else:
            for name, values in (("phase", field.phase), ("deviation", np.sqrt(field.variance))):
                save_array(out / f"{name}.npy", _spread(values, side, task.shape))
            places = [
                (runs / folder, read_json(runs / swath / FACTS)["beam"])
                for folder, swath in zip(task.multiplied, task.swaths, strict=True)
            ]
            ramps, facts["burst_ramps"] = find_ramps(
                field, side, lambda values: _spread(values, side, task.shape), places, folder
            )
            for name, pixels in ramps.items():
                save_array(out / f"{name}.npy", pixels)
        write_json(out / FACTS_FILE, facts)


def _measure_swaths(
    task: IonosphereTask, runs: Path, folder: Path, side: int
) -> tuple[list[Cells], NDArray[np.intp], dict[int, int], dict[str, Any]]:
    """The ionosphere in cells of each swath, the component of each cell, parts of components, and the first facts."""
    filtered, coherence = (np.load(folder / name) for name in ("filter/filtered.npy", "mosaic/coherence.npy"))
    phase = add_cycles(np.angle(filtered), np.load(folder / "unwrap" / "unwrapped.npy"))
    components, origins = part_components(np.load(folder / "unwrap" / "components.npy"), phase, LEAST_PART * side**2)
    looks = read_json(folder / "mosaic" / "facts.json")["independent_looks"]
    label = choose_components(components, side)
    used = (
        (components > 0)
        & (components == _expand(label.astype(components.dtype), side, task.shape))
        & np.isfinite(phase)
    )
    gamma = np.sqrt(np.maximum(coherence**2 - 1 / looks, 0)).astype(np.float32)
    flat = np.where(used, np.conj(filtered) / np.maximum(np.abs(filtered), _TINY), np.complex64(0))
    whole = Window(row=0, column=0, rows=task.shape[0], columns=task.shape[1])
    weight, weighted = (
        sum_cells(values, whole, side, label.shape) for values in (used * gamma**2, np.where(used, phase, 0) * gamma**2)
    )
    mean = np.divide(weighted, weight, out=np.full(label.shape, np.nan), where=weight > 0)
    found: list[Cells] = []
    facts: dict[str, Any] = {"swaths": []}
    for part in _list_parts(task, runs):
        pair = _load_bands(part)
        cells = combine(pair, measure_difference(pair, flat, gamma, side, label.shape), mean)
        factor = find_noise_factor(cells, label)
        found.append(Cells(cells.phase, cells.variance * factor**2))
        facts["swaths"].append(
            {"swath": part["name"], "frequencies_hz": part["frequencies_hz"], "noise": round(factor, 3)}
        )
    return found, label, origins, facts


def _list_parts(task: IonosphereTask, runs: Path) -> Iterator[dict[str, Any]]:
    """The parts of all swaths that have signal: bursts down one swath and up the next, so that neighbours overlap."""
    for number, name in enumerate(task.swaths):
        known = read_json(runs / name / FACTS)
        parts = known["parts"] if known["frequencies_hz"] else []
        for part in parts[::-1] if number % 2 else parts:
            yield known | part | {"folder": runs / name / part["folder"]}


def _load_bands(known: dict[str, Any]) -> BandPair:
    lower, upper, filled = (np.load(known["folder"] / f"{name}.npy") for name in ("lower", "upper", "filled"))
    carrier, (low, high) = known["carrier_hz"], known["frequencies_hz"]
    return BandPair(
        where=Window(**known["window"]),
        lower=lower,
        upper=upper,
        looks=(filled * known["independent_share"]).astype(np.float32),
        carrier_hz=carrier,
        frequencies_hz=(carrier + low, carrier + high),
    )


def _require_cells(swaths: list[Cells]) -> str:
    """Say that too little is coherent, or nothing."""
    count = sum(int(np.isfinite(cells.phase).sum()) for cells in swaths)
    return f"{count} cells are coherent, {LEAST_CELLS} are needed" if count < LEAST_CELLS else ""


def _level_components(
    swaths: list[Cells], label: NDArray[np.intp], cell_m: tuple[float, float], origins: dict[int, int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Take off the cycles that components have too many, and what is left unknown; say how many.

    A rough idea of what the swaths differ by will do for that. Where a part of a component has other cycles than the
    rest of it the unwrapper erred: the second result.
    """
    rough = [swaths[0]]
    for after in swaths[1:]:
        offset = find_offset(rough[-1], after)
        rough.append(Cells(after.phase - (offset.value if offset else 0.0), after.variance))
    solved = solve_cycles(join_swaths(rough), label, CYCLE_RAD, cell_m)
    for one, cycles in solved.items():
        for cells in swaths:
            cells.phase[label == one] -= np.nan if cycles is None else cycles * CYCLE_RAD
    whole = {one: cycles for one, cycles in solved.items() if one not in origins}
    moved = {str(one): cycles for one, cycles in whole.items() if cycles}
    told = {"count": len(whole), "cycles": moved, "unknown": sum(cycles is None for cycles in solved.values())}
    return told, _tell_errors(solved, label, origins)


def _tell_errors(
    solved: dict[int, int | None], label: NDArray[np.intp], origins: dict[int, int]
) -> list[dict[str, Any]]:
    """Of each part of a component that has cycles of its own how many these are, and how many cells it has."""
    errors = []
    for part, component in origins.items():
        cycles, rest = solved.get(part), solved.get(component)
        if cycles is not None and rest is not None and cycles != rest:
            cells = int(np.count_nonzero(label == part))
            errors.append({"component": component, "cells": cells, "cycles": cycles - rest})
    return errors


def _fit_swaths(
    swaths: list[Cells], cell_m: tuple[float, float], facts: dict[str, Any], *, differ: bool
) -> tuple[Field, str]:
    """Fit the ionosphere together with what the swaths differ by, and say why it is none.

    A difference counts where it is sure; that of two swaths always, where the dates are of two satellites.
    """
    names = [one["swath"] for one in facts["swaths"]]
    field, why = fit_field(swaths, cell_m), ""
    sure = np.abs(field.steps) > SURE * field.step_errors
    needed = np.array([differ and one[:3] != other[:3] for one, other in pairwise(names)], bool)
    believed = (field.step_errors < LARGEST_STEP_ERROR_RAD) & (sure | needed)
    facts["offsets"] = [
        {
            "swaths": names[number : number + 2],
            "rad": round(float(field.steps[number]), 4),
            "standard_error_rad": round(float(field.step_errors[number]), 4),
            "cells": int(np.isfinite(swaths[number].phase + swaths[number + 1].phase).sum()),
            "removed": bool(believed[number]),
        }
        for number in range(len(swaths) - 1)
    ]
    if not believed.all():
        if (needed & ~believed).any():
            first = int(np.argmax(needed & ~believed))
            why = f"{names[first]} and {names[first + 1]} of different satellites share too little ground"
        field = fit_field(swaths, cell_m, stepping=believed.tolist())
    return field.center(_find_known(swaths)), why


def _find_known(swaths: list[Cells]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite([cells.phase for cells in swaths]).any(axis=0))


def _judge_field(field: Field, known: NDArray[np.bool_], facts: dict[str, Any]) -> str:
    """Say why an ionosphere is none, or nothing."""
    signal, noise = float(field.phase[known].std()), float(np.sqrt(field.variance[known].mean()))
    facts |= {"std_rad": round(signal, 4), "error_rad": round(noise, 4)}
    if signal < SIGNIFICANT * noise:
        return f"its deviation of {signal:.2f} rad is less than {SIGNIFICANT:g} times its error, {noise:.2f} rad"
    return ""


def _expand(label: NDArray[Any], side: int, shape: tuple[int, int]) -> NDArray[Any]:
    """The value of its cell for each pixel."""
    return label.repeat(side, axis=0).repeat(side, axis=1)[: shape[0], : shape[1]]


def _spread(values: NDArray[np.float64], side: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate from the middles of cells to pixels, linearly."""
    rows, columns = ((np.arange(n) + 0.5) / side - 0.5 for n in shape)
    down = _interpolate(values, rows)
    return _interpolate(down.T, columns).T.astype(np.float32)


def _interpolate(values: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate along the first axis; beyond the first and last value it stays what it is."""
    at = np.clip(place, 0, len(values) - 1)
    first = np.minimum(at.astype(np.intp), max(len(values) - 2, 0))
    share = (at - first)[:, None]
    return np.asarray((1 - share) * values[first] + share * values[np.minimum(first + 1, len(values) - 1)])


STEP = _Ionosphere()
