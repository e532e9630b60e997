"""The step that unwraps the filtered phase of a pair."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from topsar.engines.native.steps import LIGHT_MEMORY
from topsar.engines.step import Cost, StepKind
from topsar.errors import StepFailed
from topsar.files import read_json, save_array


@dataclass(frozen=True, slots=True, kw_only=True)
class UnwrapTask:
    """A pair whose phase is to be unwrapped; ``pixels`` is the size of the output grid."""

    job: str
    pixels: int
    unwrapper: Literal["snaphu", "whirlwind", "none"]


class _Unwrap(StepKind[UnwrapTask]):
    """Unwrap the filtered phase, or leave it."""

    name, task = "unwrap", UnwrapTask
    cost = Cost(base_memory=LIGHT_MEMORY, memory=120, disk=9, start_s=0.5, microseconds=4, pixels_per_thread=1e7)

    def alike(self, task: UnwrapTask) -> str:
        """Tell unwrappers apart: one takes longer than another."""
        return f"unwrap {task.unwrapper}"

    def size(self, task: UnwrapTask) -> float:
        return task.pixels

    def reads(self, task: UnwrapTask) -> tuple[str, ...]:
        return f"{task.job}/mosaic", f"{task.job}/filter"

    def run(self, task: UnwrapTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write ``unwrapped.npy`` and ``components.npy``."""
        from topsar.kernels.unwrap import unwrap

        (folder / "unwrap").mkdir(exist_ok=True)
        filtered = np.load(folder / "filter" / "filtered.npy")
        coherence = np.load(folder / "mosaic" / "coherence.npy")
        if task.unwrapper == "none":
            unwrapped = np.full(filtered.shape, np.nan, np.float32)
            components = np.zeros(filtered.shape, np.uint32)
        else:
            looks = read_json(folder / "mosaic" / "facts.json")["independent_looks"]
            threads = _count_threads(filtered.shape)
            try:
                with _scratch_folder(folder / "unwrap") as scratch:
                    unwrapped, components = unwrap(
                        filtered, coherence, looks, method=task.unwrapper, threads=threads, scratch=scratch
                    )
            except RuntimeError as exc:  # how both packages report a failure of theirs
                msg = f"{task.unwrapper} could not unwrap {task.job}: {exc}"
                hint = "unwrap.log has its own words; UNWRAPPER=none leaves the phase wrapped"
                raise StepFailed(msg, hint=hint) from exc
        save_array(folder / "unwrap" / "unwrapped.npy", unwrapped)
        save_array(folder / "unwrap" / "components.npy", components)


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """Make a temporary folder in ``folder``, under a name without spaces: SNAPHU cannot read others."""
    with tempfile.TemporaryDirectory(dir=folder) as real, tempfile.TemporaryDirectory() as other:
        link = Path(other) / "unwrap"
        link.symlink_to(Path(real).resolve())
        yield link


def _count_threads(shape: tuple[int, int]) -> int:
    """Count the threads that the step was granted, if so large an interferogram has a use for them."""
    from topsar.kernels.unwrap import count_tiles

    if count_tiles(shape) == (1, 1):
        return 1
    import numba

    return int(numba.get_num_threads())


STEP = _Unwrap()
