"""The step that unwraps the filtered phase of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from topsar.engines.step import Cost, StepKind
from topsar.engines.unwrapping import write_unwrapped
from topsar.files import read_json

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class UnwrapTask:
    """A pair whose phase is to be unwrapped; ``pixels`` is the size of the output grid."""

    job: str
    pixels: int
    unwrapper: Literal["snaphu", "whirlwind", "none"]


class _Unwrap(StepKind[UnwrapTask]):
    """Unwrap the filtered phase, or leave it."""

    name, task = "unwrap", UnwrapTask
    cost = Cost(base_memory=0, memory=0, disk=9, start_s=0.5, microseconds=4, pixels_per_thread=1e7)
    memory: ClassVar = {"none": (112e6, 18), "snaphu": (114e6, 130), "whirlwind": (112e6, 92)}
    """Of each unwrapper: that of one without work, bytes per pixel."""

    def alike(self, task: UnwrapTask) -> str:
        """Tell unwrappers apart: one takes longer than another."""
        return f"unwrap {task.unwrapper}"

    def size(self, task: UnwrapTask) -> float:
        return task.pixels

    def extra_memory(self, task: UnwrapTask, dem_density: float) -> float:  # noqa: ARG002
        base, each = self.memory[task.unwrapper]
        return base + each * task.pixels

    def reads(self, task: UnwrapTask) -> tuple[str, ...]:
        return f"{task.job}/mosaic", f"{task.job}/filter"

    def run(self, task: UnwrapTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write ``unwrapped.npy`` and ``components.npy``."""
        filtered = np.load(folder / "filter" / "filtered.npy")
        coherence = np.load(folder / "mosaic" / "coherence.npy")
        looks = read_json(folder / "mosaic" / "facts.json")["independent_looks"]
        write_unwrapped(filtered, coherence, looks, task.unwrapper, folder / "unwrap")


STEP = _Unwrap()
