"""The step that filters and unwraps an interferogram in radar geometry, and writes it as topsStack does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from topsar.engines.radar_stack import StackFacts
from topsar.engines.step import Cost, StepKind
from topsar.files import replaced_folder
from topsar.model import Looks
from topsar.raster.isce_image import write_isce_image
from topsar.schedule.jobs import Artifact

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class InterferogramTask:
    """Two dates of a stack whose multiplied SLCs are to be filtered and unwrapped."""

    job: str
    stack: StackFacts
    looks: Looks
    first: str
    second: str
    filter_strength: float
    unwrapper: Literal["snaphu", "whirlwind", "none"]


class _Interferogram(StepKind[InterferogramTask]):
    """The folder of an interferogram in the tree; sizes are multilooked pixels."""

    name, task = "interferogram", InterferogramTask
    cost = Cost(base_memory=150_000_000, memory=150, disk=33, start_s=1.0, microseconds=5, pixels_per_thread=1e7)

    def alike(self, task: InterferogramTask) -> str:
        """Tell unwrappers apart: one takes longer than another."""
        return f"interferogram {task.unwrapper}"

    def size(self, task: InterferogramTask) -> float:
        grid, looks = task.stack.grid, task.looks
        return (grid.lines // looks.north) * (grid.samples // looks.east)

    def reads(self, task: InterferogramTask) -> tuple[str, ...]:
        return (f"{task.job}/crossmul",)

    def writes(self, task: InterferogramTask) -> tuple[Artifact, ...]:
        return (Artifact(path=task.stack.interferogram(task.first, task.second)),)

    def run(self, task: InterferogramTask, runs: Path, folder: Path) -> None:
        """Write ``fine`` and ``filt_fine`` with their headers."""
        from topsar.engines.layers import estimate_phase_noise
        from topsar.engines.unwrapping import unwrap_filtered
        from topsar.kernels.filter import filter_phase

        cross, coherence, amplitude, looks = (
            np.load(folder / "crossmul" / f"{name}.npy") for name in ("cross", "coherence", "amplitude", "looks")
        )
        noise = estimate_phase_noise(coherence, np.broadcast_to(looks, coherence.shape))
        filtered = filter_phase(cross, coherence, noise, task.filter_strength)
        images: dict[str, NDArray[np.generic]] = {
            "fine.int": cross,
            "fine.cor": coherence,
            "filt_fine.int": (filtered / np.maximum(np.abs(filtered), 1e-9) * amplitude**2).astype(np.complex64),
            "filt_fine.cor": coherence,
        }
        final = runs / task.stack.interferogram(task.first, task.second)
        with replaced_folder(final) as staging:
            if task.unwrapper != "none":
                mean = float(looks.mean())
                unwrapped, components = unwrap_filtered(filtered, coherence, mean, task.unwrapper, staging)
                amplitude[np.isnan(unwrapped)] = 0
                images["filt_fine.unw"] = np.stack([amplitude, np.nan_to_num(unwrapped)], axis=1).astype(np.float32)
                images["filt_fine.unw.conncomp"] = np.minimum(components, 255).astype(np.uint8)
            for name, values in images.items():
                family = "intimage" if name.endswith(".int") else "image"
                write_isce_image(staging / name, values, family, final / name)


STEP = _Interferogram()
