"""The step that fits one azimuth timing per date to what all pairs of a network measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.native.steps import LIGHT_MEMORY
from topsar.engines.native.steps.esd import NETWORK_FILE, read_estimate
from topsar.engines.step import Cost, StepKind
from topsar.files import write_json
from topsar.kernels.registration import find_triangles, solve_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


WORST_TRIANGLES = 20
"""Triangles that are listed, those that close worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPair:
    """A pair in the network, and the names of its two passes."""

    pair: str
    reference: str
    secondary: str

    @property
    def passes(self) -> set[str]:
        """Both of them."""
        return {self.reference, self.secondary}


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveTask:
    """Pairs that share passes, directly or through other pairs: one azimuth timing per pass is to be found."""

    job: str
    pairs: tuple[NetworkPair, ...]


class _Solve(StepKind[SolveTask]):
    """Fit the timings of all passes; sizes are pairs."""

    name, task = "solve", SolveTask
    cost = Cost(base_memory=LIGHT_MEMORY, memory=100_000, disk=2_000, start_s=1.0, microseconds=500)

    def size(self, task: SolveTask) -> float:
        return len(task.pairs)

    def reads(self, task: SolveTask) -> tuple[str, ...]:
        return tuple(f"{pair.pair}/mosaic" for pair in task.pairs)

    def run(self, task: SolveTask, runs: Path, folder: Path) -> None:
        """Write ``network.json``: all in azimuth lines."""
        (folder / "solve").mkdir(parents=True, exist_ok=True)
        passes = sorted(set().union(*(pair.passes for pair in task.pairs)))
        ends = np.array([(passes.index(pair.reference), passes.index(pair.secondary)) for pair in task.pairs])
        measured = [read_estimate(runs / pair.pair) for pair in task.pairs]
        value = np.array([one["pixels"] if one else np.nan for one in measured])
        deviation = np.array([one["standard_error_pixels"] if one else np.nan for one in measured])
        solution = solve_network(len(passes), ends, value, deviation)
        names = [pair.pair for pair in task.pairs]
        write_json(
            folder / "solve" / NETWORK_FILE,
            {
                "dates": _tabulate(
                    passes,
                    group=solution.group,
                    pixels=solution.value,
                    standard_error_pixels=solution.deviation,
                ),
                "pairs": _tabulate(
                    names,
                    pixels=solution.pair_value,
                    standard_error_pixels=solution.pair_deviation,
                    residual_pixels=solution.residual,
                    reference_pixels=solution.value[ends[:, 0]],
                    secondary_pixels=solution.value[ends[:, 1]],
                ),
                "residual_rms_pixels": _rms(solution.residual[np.isfinite(solution.residual)]),
                "closure": _close_triangles(names, ends, value),
            },
        )


def _tabulate(names: Sequence[str], **columns: NDArray[Any]) -> dict[str, Any]:
    """A row of the columns by name, None for what is not finite."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return {
        name: {key: value if np.isfinite(value) else None for key, value in zip(columns, row, strict=True)}
        for name, row in zip(names, rows, strict=True)
    }


def _close_triangles(names: Sequence[str], ends: NDArray[np.int64], value: NDArray[np.float64]) -> dict[str, Any]:
    """Sum the estimates around each triangle of dates, a to b to c and back: the sum should be zero."""
    known: dict[tuple[int, int], tuple[float, str]] = {}
    for name, (reference, secondary), shift in zip(names, ends.tolist(), value.tolist(), strict=True):
        if np.isfinite(shift):
            sign = 1 if reference < secondary else -1
            known[min(reference, secondary), max(reference, secondary)] = sign * shift, name
    found = [
        (known[a, b][0] + known[b, c][0] - known[a, c][0], [known[a, b][1], known[b, c][1], known[a, c][1]])
        for a, b, c in find_triangles(known)
    ]
    found.sort(key=lambda triangle: -abs(triangle[0]))
    return {
        "triangles": len(found),
        "rms_pixels": _rms(np.array([missed for missed, _ in found])),
        "worst": [{"pixels": missed, "pairs": pairs} for missed, pairs in found[:WORST_TRIANGLES]],
    }


def _rms(values: NDArray[np.float64]) -> float | None:
    return float(np.sqrt((values**2).mean())) if values.size else None


STEP = _Solve()
