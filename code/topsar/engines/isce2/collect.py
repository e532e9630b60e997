"""From what a pair's stages left to the layers of an `Interferogram`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.facts import describe, describe_signal, describe_uncalibrated
from topsar.engines.ground import find_ground_points, open_dem_under
from topsar.engines.isce2.backscatter import BACKSCATTER
from topsar.engines.isce2.esd import FACTS
from topsar.engines.isce2.geocode import FILTERED, GEOCODED, UNWRAPPED, load_signal
from topsar.engines.isce2.tasks import RUN, TopsAppTask, describe_version
from topsar.engines.layers import (
    compute_incidence,
    describe_filter,
    estimate_phase_noise,
    index_bursts,
    make_unwrapped_layers,
    mask_unseen,
)
from topsar.engines.step import load_task
from topsar.engines.viewing import fit_burst_arc, fit_pass_arc, locate, measure_margin
from topsar.engines.water import find_water, warp_water
from topsar.files import read_json
from topsar.interferogram import Interferogram, make_layers
from topsar.kernels.geometry import find_viewing_geometry
from topsar.kernels.visibility import find_layover_shadow

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import Orbit

_STRIP_ROWS = 256


def collect(folder: Path) -> Interferogram:
    """Gather the results of the pair in ``folder``."""
    task = load_task(folder, RUN, TopsAppTask)
    run, orbit = folder / RUN, task.reference_orbit.load(task.bursts[0].reference.swath, task.polarisation)
    arc = fit_pass_arc(orbit, [both.reference for both in task.bursts])
    height, points = find_ground_points(task.grid, open_dem_under(task.dem, task.grid))
    measured = read_json(run / GEOCODED / "facts.json")
    cross, coherence, looks = load_signal(run)
    arrays = _read_arrays(task, run, cross, measured)
    arrays["height"] = height
    time, range_m, off_nadir, los = find_viewing_geometry(points, arc)
    arrays["layover_shadow"] = find_layover_shadow(time, range_m, off_nadir, height)
    arrays |= dict(zip(("los_east", "los_north", "los_up"), los, strict=True), incidence=compute_incidence(los[2]))
    arrays["water"] = warp_water(task.water_mask, task.grid) if task.water_mask else find_water(task.dem, task.grid)
    arrays["phase_noise"] = estimate_phase_noise(mask_unseen(cross != 0, coherence), looks)
    labels, arrays["burst"] = _assign_bursts(task, orbit, points, np.isfinite(arrays["wrapped_phase"]))
    gamma = arrays["coherence"]
    facts = describe(task.facts, (task.reference_orbit, task.secondary_orbit), task.dem, task.grid)
    facts |= {
        "looks": str(task.looks),
        "engine": "isce2",
        "engine_version": describe_version(task.installation),
        **measured,
        "coherence_mean": float(np.nanmean(gamma)),
        "valid_share": float(np.isfinite(gamma).mean()),
        "azimuth_misregistration": read_json(folder / RUN / FACTS),
        "bursts": labels,
        "filter": describe_filter(arrays),
        **describe_signal(gamma, measured["coherence_bias_at_zero"]),
    }
    if task.uncalibrated:
        facts["remarks"].append(describe_uncalibrated(task.uncalibrated))
    return Interferogram(pair_id=task.facts.pair, grid=task.grid, layers=make_layers(arrays), facts=facts)


def _assign_bursts(
    task: TopsAppTask, orbit: Orbit, points: NDArray[np.float64], seen: NDArray[np.bool_]
) -> tuple[list[str], NDArray[np.int16]]:
    """Labels of bursts, and for each pixel the index of the burst that shows it farthest from its edge, -1 outside."""
    best = np.full(task.grid.shape, -np.inf, np.float32)
    nearest = np.full(task.grid.shape, -1, np.int16)
    for index, both in enumerate(task.bursts):
        burst = both.reference
        arc = fit_burst_arc(burst, orbit)
        for top in range(0, task.grid.rows, _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            margin = measure_margin(burst, *locate(points[rows], burst, arc), arc)
            better = margin > best[rows]
            best[rows] = np.where(better, margin, best[rows])
            nearest[rows] = np.where(better, np.int16(index), nearest[rows])
    nearest[~seen] = -1
    used, place = index_bursts(nearest)
    return [task.bursts[index].reference.label for index in used], place


def _read_arrays(
    task: TopsAppTask, run: Path, cross: NDArray[np.complex64], measured: dict[str, Any]
) -> dict[str, NDArray[Any]]:
    """Layers of the signal."""
    seen, filtered = cross != 0, np.load(run / FILTERED / "filtered.npy")
    arrays = {
        "wrapped_phase": mask_unseen(seen, np.angle(cross)),
        "filtered_phase": mask_unseen(filtered != 0, np.angle(filtered)),
    }
    arrays |= {name: mask_unseen(seen, np.load(run / GEOCODED / f"{name}.npy")) for name in ("coherence", "amplitude")}
    if task.backscatter != "none":
        arrays[task.backscatter] = mask_unseen(seen, np.load(run / BACKSCATTER / "backscatter.npy"))
    if task.ionosphere and "refused" not in measured["ionosphere"]:
        ionosphere = np.load(run / GEOCODED / "ionosphere.npy")
        known = seen & (ionosphere != 0)
        arrays["ionosphere"] = mask_unseen(known, ionosphere - ionosphere[known].mean(dtype=np.float64))
    if task.unwrapper != "none":
        arrays |= make_unwrapped_layers(arrays, np.load(run / UNWRAPPED / "unwrapped.npy"), measured["wavelength_m"])
        arrays["components"] = np.load(run / UNWRAPPED / "components.npy")
    return arrays
