"""The step that lays the swaths of a pair side by side and removes their azimuth misregistration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.layers import index_bursts
from topsar.engines.native.steps import DELAY_FILE
from topsar.engines.native.steps.esd import measure_bias, measure_constants, remove_constants
from topsar.engines.native.steps.swath_file import load_swath
from topsar.engines.passes import join_passes
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import describe_looks
from topsar.errors import SceneError
from topsar.files import read_json, save_array, write_json
from topsar.kernels.burst_constants import find_joins
from topsar.kernels.mosaic import Mosaic
from topsar.kernels.registration import remove_bias
from topsar.kernels.statistics import estimate_coherence, find_coherence_window
from topsar.model import Looks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.kernels.mosaic import Part
    from topsar.kernels.registration import Overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicSwath:
    """A multiplied swath: the folder of its arrays, relative to the runs folder, and the names of its bursts."""

    name: str
    folder: str
    bursts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicTask:
    """The swaths of a pair, from the nearest to the farthest, to be laid side by side.

    ``shape`` is that of the output grid, ``delays`` are folders with the range delays of the pair's scenes, relative to
    the runs folder.
    """

    job: str
    shape: tuple[int, int]
    looks: Looks
    swaths: tuple[MosaicSwath, ...]
    line_interval_s: float
    delays: tuple[str, ...]


class _Mosaic(StepKind[MosaicTask]):
    """Interferogram, coherence and amplitude of all swaths; sizes are output pixels."""

    name, task = "mosaic", MosaicTask
    cost = Cost(base_memory=125_000_000, memory=58, disk=30, start_s=0.4, microseconds=0.4)
    alike_bytes = 42
    """More memory per output pixel where coherence averages neighbours."""

    def size(self, task: MosaicTask) -> float:
        return task.shape[0] * task.shape[1]

    def extra_memory(self, task: MosaicTask, dem_density: float) -> float:  # noqa: ARG002
        return self.alike_bytes * self.size(task) if find_coherence_window(task.looks) > 1 else 0

    def reads(self, task: MosaicTask) -> tuple[str, ...]:
        return (*(swath.folder for swath in task.swaths), *task.delays)

    def run(self, task: MosaicTask, runs: Path, folder: Path) -> None:
        """Write arrays and ``facts.json`` into ``mosaic``."""
        out = folder / "mosaic"
        out.mkdir(parents=True, exist_ok=True)
        geometry = [read_json(runs / swath.folder / "geometry.json") for swath in task.swaths]
        missions = {one["passes"][side]["mission"] for one in geometry for side in ("reference", "secondary")}
        mosaic, overlaps, joins = _lay_swaths(task, runs, joined=len(missions) > 1)
        used, place = index_bursts(mosaic.burst)
        if not used:
            msg = f"no pixel of {task.job} is seen on both dates and has a height"
            raise SceneError(msg, hint="is ROI inside the bursts, and does the DEM have heights there?")
        labels = [label for swath in task.swaths for label in swath.bursts]
        constants, timing = None, None
        if len(missions) > 1:
            constants, timing = measure_constants(overlaps, joins, labels)
            remove_constants(mosaic.sums.cross, mosaic.burst, constants, labels)
        bias = measure_bias(overlaps, task.line_interval_s, out, timing)
        remove_bias(mosaic.sums.cross, mosaic.doppler_hz, bias)
        looks, coherence_looks = (
            [one for swath in geometry for one in swath.pop(key)] for key in ("looks", "coherence_looks")
        )
        gamma = estimate_coherence(mosaic.sums, task.looks, float(np.mean(looks)))
        arrays: dict[str, NDArray[Any]] = {
            "cross": mosaic.sums.cross,
            "coherence": gamma,
            "amplitude": mosaic.sums.average_amplitude(),
            "centre": mosaic.sums.find_centre(),
            "burst": place,
            "doppler": mosaic.doppler_hz,
        }
        if mosaic.backscatter is not None:
            arrays["backscatter"] = mosaic.backscatter
        for name, values in arrays.items():
            save_array(out / f"{name}.npy", values)
        facts = geometry[0] | {
            **describe_looks([looks[number] for number in used], place, float(np.mean(coherence_looks))),
            "passes": join_passes(geometry),
            "range_misregistration": [read_json(runs / name / DELAY_FILE) for name in task.delays],
            "coherence_mean": float(gamma[gamma > 0].mean()) if (gamma > 0).any() else None,
            "valid_share": float((gamma > 0).mean()),
            "bursts": [labels[number] for number in used],
        }
        if constants is not None:
            facts["burst_constants"] = constants
        write_json(out / "facts.json", facts)


def _lay_swaths(
    task: MosaicTask, runs: Path, *, joined: bool
) -> tuple[Mosaic, dict[str, list[Overlap]], list[Overlap]]:
    """Lay all swaths side by side; their bursts are numbered on from swath to swath.

    The overlaps of each swath, and, if ``joined``, those of bursts of neighbouring swaths.
    """
    mosaic, overlaps, before = Mosaic(task.shape, task.looks), {}, 0
    joins: list[Overlap] = []
    last: tuple[Part, NDArray[np.int16]] | None = None
    for swath in task.swaths:
        burst, part, found = load_swath(runs / swath.folder)
        burst = np.where(burst < 0, burst, burst + np.int16(before))
        overlaps[swath.name] = [one._replace(bursts=(one.bursts[0] + before, one.bursts[1] + before)) for one in found]
        mosaic.add(burst, part)
        before += len(swath.bursts)
        if joined and last is not None:
            independent = float(np.mean(read_json(runs / swath.folder / "geometry.json")["looks"]))
            joins.extend(find_joins((last[0], part), (last[1], burst), task.looks, independent))
        last = part, burst
    return mosaic, overlaps, joins


STEP = _Mosaic()
