"""The step that turns two dates of geocoded bursts into one mosaicked interferogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.ground import dem_under, ground_points, pixel_sides
from topsar.engines.layers import number_bursts
from topsar.engines.native.delay import read_delay
from topsar.engines.native.registration import measure, remove_bias
from topsar.engines.orbits import burst_arc
from topsar.engines.passes import burst_margin, describe_geometry, locate, pass_arc, view
from topsar.engines.water import find_water
from topsar.errors import SceneError
from topsar.kernels.interferogram import (
    LookSums,
    Mosaic,
    coherence,
    coherence_at_zero,
    coherence_window,
    cross_multiply,
)
from topsar.kernels.tops import deramp_terms
from topsar.model import Window
from topsar.raster import save_array, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.native.tasks import BurstPair, PairTask
    from topsar.kernels.geometry import OrbitArc
    from topsar.model import GeoGrid, Looks, Orbit

BLOCK_ROWS = 32
"""Output rows multiplied at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BurstInterferogram:
    """Looks of one burst pair, with the Doppler and the distance to the burst's edge of each pixel."""

    swath: str
    label: str
    where: Window
    sums: LookSums
    doppler_hz: NDArray[np.float32]
    margin_m: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenery:
    """Output grid with its ground, seen from the reference orbit."""

    grid: GeoGrid
    height: NDArray[np.float32]
    points: NDArray[np.float64]
    reference: Orbit
    secondary: Orbit


def interfere(task: PairTask, runs: Path, folder: Path) -> None:
    """Multiply, correct, mosaic; write arrays and ``facts.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    scenery = _scenery(task)
    bursts = [_multiply(pair, task.looks, scenery, runs) for pair in task.bursts]
    interval = task.bursts[0].reference.burst.grid.line_interval_s
    shift_s = measure(bursts, task.looks, interval, folder)
    mosaic = Mosaic(task.grid.shape, task.looks)
    for index, burst in enumerate(bursts):
        remove_bias(burst.sums.cross, burst.doppler_hz, shift_s)
        mosaic.add(index, burst.sums, burst.margin_m, burst.where.slices)
    used, place = number_bursts(mosaic.burst)
    if not used:
        msg = f"no pixel of {task.facts.pair} is seen on both dates and has a height"
        raise SceneError(msg, hint="is ROI inside the bursts, and does the DEM have heights there?")
    gamma = coherence(mosaic.sums, task.looks)
    reference = pass_arc(scenery.reference, [pair.reference.burst for pair in task.bursts])
    facts = _facts(task, scenery, reference, gamma, runs)
    facts["bursts"] = [bursts[index].label for index in used]
    los, folded = view(scenery.points, scenery.height, reference)
    sums = mosaic.sums
    power = sums.power_reference + sums.power_secondary
    amplitude = np.sqrt(np.divide(power, 2 * sums.filled, out=np.zeros_like(power), where=sums.filled > 0))
    arrays = {
        "cross": sums.cross,
        "coherence": gamma,
        "amplitude": amplitude,
        "height": scenery.height,
        "los": los,
        "layover_shadow": folded,
        "water": find_water(task.dem, task.grid),
        "burst": place,
        "doppler": _doppler(bursts, mosaic),
    }
    for name, values in arrays.items():
        save_array(folder / f"{name}.npy", values)
    write_json(folder / "facts.json", facts)


def _doppler(bursts: list[BurstInterferogram], mosaic: Mosaic) -> NDArray[np.float32]:
    """Doppler of the burst that each pixel comes from, Hz; zero outside."""
    doppler = np.zeros(mosaic.burst.shape, np.float32)
    for index, burst in enumerate(bursts):
        where = burst.where.slices
        doppler[where] = np.where(mosaic.burst[where] == index, burst.doppler_hz, doppler[where])
    return doppler


def _scenery(task: PairTask) -> Scenery:
    first = task.bursts[0].reference.burst, task.bursts[0].secondary.burst
    height, points = ground_points(task.grid, dem_under(task.dem, task.grid))
    return Scenery(
        grid=task.grid,
        height=height,
        points=points,
        reference=task.reference_orbit.load(first[0].swath, first[0].polarisation),
        secondary=task.secondary_orbit.load(first[1].swath, first[1].polarisation),
    )


# --- one burst --------------------------------------------------------------------------------------------------


def _multiply(pair: BurstPair, looks: Looks, scenery: Scenery, runs: Path) -> BurstInterferogram:
    """Interferogram of one burst on the part of the grid that both dates cover."""
    where = _common_window(pair, scenery.grid)
    sums = _look_sums(pair, looks, scenery.grid, where, runs)
    burst = pair.reference.burst
    arc = burst_arc(burst, scenery.reference)
    line, sample = locate(scenery.points[where.slices], burst, arc)
    eta = (line - burst.grid.lines / 2) * burst.grid.line_interval_s
    return BurstInterferogram(
        swath=burst.swath,
        label=burst.label,
        where=where,
        sums=sums,
        doppler_hz=deramp_terms(burst, arc).doppler(eta, sample).astype(np.float32),
        margin_m=burst_margin(burst, line, sample, arc),
    )


def _common_window(pair: BurstPair, grid: GeoGrid) -> Window:
    whole = Window(row=0, column=0, rows=grid.rows, columns=grid.columns)
    both = grid.window_of(pair.reference.grid).intersection(grid.window_of(pair.secondary.grid))
    where = both.intersection(whole) if both else None
    return where or Window(row=0, column=0, rows=0, columns=0)


def _look_sums(pair: BurstPair, looks: Looks, grid: GeoGrid, where: Window, runs: Path) -> LookSums:
    sums = LookSums.zeros((where.rows, where.columns))
    files = [np.load(runs / name, mmap_mode="r") for name in (pair.reference_file, pair.secondary_file)]
    origins = [window.grid.window_of(grid.crop(where)) for window in (pair.reference, pair.secondary)]
    for top in range(0, where.rows, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, where.rows - top)
        blocks = [
            file[
                (origin.row + top) * looks.north : (origin.row + top + rows) * looks.north,
                origin.column * looks.east : (origin.column + where.columns) * looks.east,
            ]
            for file, origin in zip(files, origins, strict=True)
        ]
        cross_multiply(blocks[0], blocks[1], looks, sums.cut((slice(top, top + rows), slice(None))))
    return sums


# --- what is said about the pair --------------------------------------------------------------------------------


def _facts(
    task: PairTask, scenery: Scenery, reference: OrbitArc, gamma: NDArray[np.float32], runs: Path
) -> dict[str, Any]:
    secondary = pass_arc(scenery.secondary, [pair.secondary.burst for pair in task.bursts])
    middle = scenery.points[scenery.grid.rows // 2, scenery.grid.columns // 2]
    burst = task.bursts[0].reference.burst
    geometry = describe_geometry(
        middle, (reference, secondary), burst, area_m2=math.prod(pixel_sides(scenery.grid)), most_looks=task.looks.count
    )
    averaged = geometry["independent_looks"] * coherence_window(task.looks) ** 2
    return geometry | {
        "range_misregistration": [read_delay(runs / name) for name in task.delays],
        "coherence_bias_at_zero": coherence_at_zero(averaged),
        "coherence_mean": float(gamma[gamma > 0].mean()) if (gamma > 0).any() else None,
        "valid_share": float((gamma > 0).mean()),
    }
