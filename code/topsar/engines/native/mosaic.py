"""The step that lays the swaths of a pair side by side and corrects them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.ground import dem_under, ground_points, pixel_sides
from topsar.engines.layers import number_bursts
from topsar.engines.native.delay import read_delay
from topsar.engines.native.multiply import load_swath
from topsar.engines.native.registration import measure, remove_bias
from topsar.engines.native.tasks import multiplied
from topsar.engines.passes import describe_geometry, pass_arc
from topsar.errors import SceneError
from topsar.kernels.interferogram import Mosaic
from topsar.kernels.statistics import coherence, coherence_at_zero, coherence_window
from topsar.model import Window
from topsar.raster import save_array, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.native.tasks import PairTask
    from topsar.kernels.interferogram import LookSums
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
    facts = _geometry(task) | {
        "range_misregistration": [read_delay(runs / name) for name in task.delays],
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


def _geometry(task: PairTask) -> dict[str, Any]:
    """What the facts say of how the middle of the grid is seen."""
    bursts = [(pair.reference.burst, pair.secondary.burst) for pair in task.bursts]
    first = bursts[0]
    orbits = (
        task.reference_orbit.load(first[0].swath, first[0].polarisation),
        task.secondary_orbit.load(first[1].swath, first[1].polarisation),
    )
    reference, secondary = (pass_arc(orbit, [both[side] for both in bursts]) for side, orbit in enumerate(orbits))
    middle = task.grid.crop(Window(row=task.grid.rows // 2, column=task.grid.columns // 2, rows=1, columns=1))
    geometry = describe_geometry(
        ground_points(middle, dem_under(task.dem, middle))[1][0, 0],
        (reference, secondary),
        first[0],
        area_m2=math.prod(pixel_sides(task.grid)),
        most_looks=task.looks.count,
    )
    averaged = geometry["independent_looks"] * coherence_window(task.looks) ** 2
    return geometry | {"coherence_bias_at_zero": coherence_at_zero(averaged)}
