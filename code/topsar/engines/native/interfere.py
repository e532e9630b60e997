"""The step that turns two dates of geocoded bursts into one mosaicked interferogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.ground import dem_under, ground_points
from topsar.engines.orbits import burst_arc
from topsar.errors import SceneError
from topsar.kernels.geometry import fit_orbit, geo2rdr, line_of_sight, perpendicular_baseline
from topsar.kernels.interferogram import (
    LookSums,
    Mosaic,
    Overlap,
    TimingBias,
    coherence,
    cross_multiply,
    independent_looks,
    spectral_diversity,
)
from topsar.kernels.tops import deramp_terms
from topsar.model import Window
from topsar.raster import save_array, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.native.tasks import BurstPair, BurstWindow, PairTask
    from topsar.kernels.geometry import OrbitArc
    from topsar.model import GeoGrid, Looks, Orbit

BLOCK_ROWS = 32
"""Output rows multiplied at once."""
ESD_COHERENCE = 0.4
"""Overlap pixels below this coherence do not vote on the misregistration."""
ESD_LEAST_PIXELS = 50
"""Fewer voting pixels give no estimate."""
MID_INCIDENCE_RAD = math.radians(38)
"""Turns slant into ground range where margins of bursts are compared: a few per cent decide nothing."""
_GROUND_SPEED = 0.907  # ground track speed over orbital speed, at 700 km


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
    bias = _misregistration(task, bursts, interval)
    mosaic = Mosaic(task.grid.shape, task.looks)
    for index, burst in enumerate(bursts):
        _remove_bias(burst, bias.seconds if bias else 0.0)
        mosaic.add(index, burst.sums, burst.margin_m, burst.where.slices)
    used, place = _used(mosaic)
    if not used:
        msg = f"no pixel of {task.facts.pair} is seen on both dates and has a height"
        raise SceneError(msg, hint="is ROI inside the bursts, and does the DEM have heights there?")
    gamma = coherence(mosaic.sums, task.looks)
    reference = _pass_arc(scenery.reference, [pair.reference for pair in task.bursts])
    facts = _facts(task, scenery, reference, gamma, bias, interval)
    facts["bursts"] = [bursts[index].label for index in used]
    sums = mosaic.sums
    power = sums.power_reference + sums.power_secondary
    amplitude = np.sqrt(np.divide(power, 2 * sums.filled, out=np.zeros_like(power), where=sums.filled > 0))
    arrays = {
        "cross": sums.cross,
        "coherence": gamma,
        "amplitude": amplitude,
        "height": scenery.height,
        "los": _line_of_sight(scenery, reference),
        "burst": place,
    }
    for name, values in arrays.items():
        save_array(folder / f"{name}.npy", values)
    write_json(folder / "facts.json", facts)


def _used(mosaic: Mosaic) -> tuple[list[int], NDArray[np.int16]]:
    """The bursts that pixels come from, and for each pixel its burst's place among these, -1 outside."""
    used = [int(index) for index in np.unique(mosaic.burst) if index >= 0]
    place = np.searchsorted(used, mosaic.burst).astype(np.int16)
    return used, np.where(mosaic.burst >= 0, place, np.int16(-1))


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
    time, range_m = geo2rdr(scenery.points[where.slices], arc)
    line = (time - arc.seconds(burst.grid.first_line_time)) / burst.grid.line_interval_s
    sample = (range_m - burst.grid.near_range_m) / burst.grid.range_spacing_m
    eta = (line - burst.grid.lines / 2) * burst.grid.line_interval_s
    return BurstInterferogram(
        swath=burst.swath,
        label=burst.label,
        where=where,
        sums=sums,
        doppler_hz=deramp_terms(burst, arc).doppler(eta, sample).astype(np.float32),
        margin_m=_margin(pair.reference, line, sample, arc),
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
            ].astype(np.float32)
            for file, origin in zip(files, origins, strict=True)
        ]
        cross_multiply(blocks[0], blocks[1], looks, sums.cut((slice(top, top + rows), slice(None))))
    return sums


def _margin(
    window: BurstWindow, line: NDArray[np.float64], sample: NDArray[np.float64], arc: OrbitArc
) -> NDArray[np.float32]:
    """Distance to the nearest edge of the burst's valid window on the ground, metres; negative outside."""
    burst = window.burst
    valid, grid = burst.valid, burst.grid
    speed = float(np.linalg.norm(arc.velocity(arc.seconds(grid.mid_time)))) * _GROUND_SPEED
    azimuth = np.minimum(line - valid.row, valid.row_stop - 1 - line) * grid.line_interval_s * speed
    slant = np.minimum(sample - valid.column, valid.column_stop - 1 - sample) * grid.range_spacing_m
    return np.minimum(azimuth, slant / math.sin(MID_INCIDENCE_RAD)).astype(np.float32)


# --- misregistration --------------------------------------------------------------------------------------------


def _misregistration(task: PairTask, bursts: list[BurstInterferogram], interval_s: float) -> TimingBias | None:
    if task.esd == "off":
        return None
    if isinstance(task.esd, float):
        return TimingBias(task.esd * interval_s, 0.0, 0)
    overlaps = [
        overlap
        for first, second in pairwise(bursts)
        if first.swath == second.swath and (overlap := _overlap(first, second, task.looks)) is not None
    ]
    bias = spectral_diversity(overlaps)
    return bias if bias is not None and bias.pixels >= ESD_LEAST_PIXELS else None


def _overlap(upper: BurstInterferogram, lower: BurstInterferogram, looks: Looks) -> Overlap | None:
    """Double difference where two bursts of a swath see the same ground."""
    shared = upper.where.intersection(lower.where)
    if shared is None:
        return None
    parts = []
    for burst in (upper, lower):
        inside = burst.where
        local = Window(
            row=shared.row - inside.row, column=shared.column - inside.column, rows=shared.rows, columns=shared.columns
        ).slices
        cut = burst.sums.cut(local)
        parts.append((cut, coherence(cut, looks), burst.doppler_hz[local]))
    (first, gamma_first, doppler_first), (second, gamma_second, doppler_second) = parts
    votes = (
        (first.filled == looks.count)
        & (second.filled == looks.count)
        & (np.minimum(gamma_first, gamma_second) > ESD_COHERENCE)
    )
    if not votes.any():
        return None
    double = first.cross[votes] * np.conj(second.cross[votes])
    return Overlap(
        phase=np.angle(double).astype(np.float64),
        separation_hz=(doppler_first - doppler_second)[votes].astype(np.float64),
        weight=(gamma_first[votes].astype(np.float64) * gamma_second[votes]) ** 2,
    )


def _remove_bias(burst: BurstInterferogram, seconds: float) -> None:
    """Remove the phase 2π f_DC Δt that an azimuth timing bias leaves in a TOPS interferogram."""
    burst.sums.cross[:] *= np.exp(-2j * np.pi * burst.doppler_hz * seconds).astype(np.complex64)


# --- what is said about the pair --------------------------------------------------------------------------------


def _line_of_sight(scenery: Scenery, arc: OrbitArc) -> NDArray[np.float32]:
    """East, north, up components of the unit vector to the satellite, (3, rows, columns)."""
    los = np.empty((3, *scenery.grid.shape), np.float32)
    for row in range(scenery.grid.rows):
        time, _ = geo2rdr(scenery.points[row], arc)
        los[:, row] = line_of_sight(scenery.points[row], arc.position(time)).T
    return los


def _pass_arc(orbit: Orbit, windows: list[BurstWindow]) -> OrbitArc:
    start = min(window.burst.grid.first_line_time for window in windows)
    stop = max(window.burst.grid.stop_time for window in windows)
    return fit_orbit(orbit, start, stop)


def _facts(
    task: PairTask,
    scenery: Scenery,
    reference: OrbitArc,
    gamma: NDArray[np.float32],
    bias: TimingBias | None,
    interval_s: float,
) -> dict[str, Any]:
    secondary = _pass_arc(scenery.secondary, [pair.secondary for pair in task.bursts])
    middle = scenery.points[scenery.grid.rows // 2, scenery.grid.columns // 2]
    time, _ = geo2rdr(middle[None], reference)
    up = line_of_sight(middle[None], reference.position(time))[0, 2]
    speed = float(np.linalg.norm(reference.velocity(time))) * _GROUND_SPEED
    area = _pixel_area(scenery)
    burst = task.bursts[0].reference.burst
    return {
        "wavelength_m": burst.wavelength_m,
        "perpendicular_baseline_m": float(perpendicular_baseline(middle[None], reference, secondary)[0]),
        "independent_looks": min(independent_looks(burst, math.acos(up), speed, area), task.looks.count),
        "coherence_mean": float(gamma[gamma > 0].mean()) if (gamma > 0).any() else None,
        "valid_share": float((gamma > 0).mean()),
        "azimuth_misregistration": _describe(task, bias, interval_s),
    }


def _pixel_area(scenery: Scenery) -> float:
    """Area of the middle pixel on the ellipsoid, m²."""
    row, column = scenery.grid.rows // 2, scenery.grid.columns // 2
    near = scenery.points[max(row - 1, 0) : row + 1, max(column - 1, 0) : column + 1]
    if near.shape[:2] != (2, 2):
        return scenery.grid.dx * scenery.grid.dy
    across, along = near[0, 1] - near[0, 0], near[1, 0] - near[0, 0]
    return float(np.linalg.norm(across) * np.linalg.norm(along))


def _describe(task: PairTask, bias: TimingBias | None, interval_s: float) -> dict[str, Any]:
    if bias is None:
        why = "off" if task.esd == "off" else "not estimated: no coherent burst overlap"
        return {"pixels": 0.0, "source": why}
    source = "given" if isinstance(task.esd, float) else "enhanced spectral diversity"
    return {
        "pixels": bias.seconds / interval_s,
        "standard_error_pixels": bias.deviation_s / interval_s,
        "voting_pixels": bias.pixels,
        "source": source,
    }
