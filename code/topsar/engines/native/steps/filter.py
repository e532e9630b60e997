"""The step that filters the phase of a pair, with the azimuth misregistration removed that ESD says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from topsar.engines.native.steps.esd import choose_correction, read_cross
from topsar.engines.step import Cost, StepKind
from topsar.files import read_json, save_array

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterTask:
    """A pair whose phase is to be filtered.

    ``network`` is the folder with the timings of all dates, relative to the runs folder; empty unless ESD=network.
    ``pixels`` is the size of the output grid.
    """

    job: str
    pixels: int
    esd: Literal["auto", "network", "off"] | float
    network: str
    filter_strength: float


class _Filter(StepKind[FilterTask]):
    """Take off the noise that coherence and looks predict."""

    name, task = "filter", FilterTask
    cost = Cost(base_memory=129_000_000, memory=68, disk=8, start_s=0.6, microseconds=0.6)

    def size(self, task: FilterTask) -> float:
        return task.pixels

    def reads(self, task: FilterTask) -> tuple[str, ...]:
        return (f"{task.job}/mosaic", *([task.network] if task.network else []))

    def run(self, task: FilterTask, runs: Path, folder: Path) -> None:
        """Write ``filtered.npy`` and what is removed of misregistration."""
        from topsar.engines.layers import estimate_phase_noise
        from topsar.kernels.filter import filter_phase

        (folder / "filter").mkdir(exist_ok=True)
        choose_correction(task.esd, folder, runs / task.network if task.network else None)
        cross, coherence = read_cross(folder), np.load(folder / "mosaic" / "coherence.npy")
        looks = np.array(read_json(folder / "mosaic" / "facts.json")["independent_looks_of_bursts"])
        noise = estimate_phase_noise(coherence, looks[np.load(folder / "mosaic" / "burst.npy")])
        save_array(folder / "filter" / "filtered.npy", filter_phase(cross, coherence, noise, task.filter_strength))


STEP = _Filter()
