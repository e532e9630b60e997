"""The step that lays the swaths of a pair side by side and corrects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.layers import number_bursts
from topsar.engines.native.registration import measure
from topsar.engines.native.swath import load_swath
from topsar.engines.native.tasks import multiplied
from topsar.errors import SceneError
from topsar.files import read_json, save_array, write_json
from topsar.kernels.mosaic import Mosaic
from topsar.kernels.registration import remove_bias
from topsar.kernels.statistics import coherence

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.native.tasks import PairTask
    from topsar.kernels.mosaic import LookSums
    from topsar.kernels.registration import Overlap


def lay_mosaic(task: PairTask, runs: Path, folder: Path) -> None:
    """Lay the swaths side by side, correct them; write arrays and ``facts.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    mosaic, overlaps = _mosaic(task, runs)
    used, place = number_bursts(mosaic.burst)
    if not used:
        msg = f"no pixel of {task.facts.pair} is seen on both dates and has a height"
        raise SceneError(msg, hint="is ROI inside the bursts, and does the DEM have heights there?")
    shift_s = measure(overlaps, task.bursts[0].reference.burst.grid.line_interval_s, folder)
    remove_bias(mosaic.sums.cross, mosaic.doppler_hz, shift_s)
    gamma = coherence(mosaic.sums, task.looks)
    arrays: dict[str, NDArray[Any]] = {
        "cross": mosaic.sums.cross,
        "coherence": gamma,
        "amplitude": _amplitude(mosaic.sums),
        "burst": place,
        "doppler": mosaic.doppler_hz,
    }
    for name, values in arrays.items():
        save_array(folder / f"{name}.npy", values)
    labels = [pair.reference.burst.label for swath in task.swaths for pair in task.bursts_of(swath)]
    facts = read_json(runs / multiplied(task.facts.pair, task.swaths[0]) / "geometry.json") | {
        "range_misregistration": _delays(task, runs),
        "coherence_mean": float(gamma[gamma > 0].mean()) if (gamma > 0).any() else None,
        "valid_share": float((gamma > 0).mean()),
        "bursts": [labels[number] for number in used],
    }
    write_json(folder / "facts.json", facts)


def _mosaic(task: PairTask, runs: Path) -> tuple[Mosaic, dict[str, list[Overlap]]]:
    """All swaths together, and the overlaps of each; bursts are numbered by swath."""
    mosaic, overlaps, before = Mosaic(task.grid.shape, task.looks), {}, 0
    for swath in task.swaths:
        part = load_swath(runs / multiplied(task.facts.pair, swath))
        burst = part.burst + np.int16(before)
        mosaic.add(burst, part.sums, part.doppler_hz, part.margin_m, part.where.slices)
        overlaps[swath] = part.overlaps
        before += len(task.bursts_of(swath))
    return mosaic, overlaps


def _amplitude(sums: LookSums) -> NDArray[np.float32]:
    power = sums.power_reference + sums.power_secondary
    mean = np.divide(power, 2 * sums.filled, out=np.zeros_like(power), where=sums.filled > 0)
    return np.asarray(np.sqrt(mean), np.float32)


def _delays(task: PairTask, runs: Path) -> list[dict[str, Any]]:
    if not task.delays:
        return []
    from topsar.engines.native.delay import read_delay

    return [read_delay(runs / name) for name in task.delays]
