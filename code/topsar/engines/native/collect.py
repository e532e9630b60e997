"""From what a pair's steps left to its layers and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.facts import describe
from topsar.engines.layers import displacement, incidence, phase_noise, where_seen
from topsar.engines.native.registration import corrected_cross, settled
from topsar.engines.native.tasks import VERSION, PairTask, load_task
from topsar.errors import StepFailed
from topsar.files import read_json
from topsar.interferogram import Interferogram, make_layers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def collect(folder: Path) -> Interferogram:
    """Gather the results of the pair in ``folder``.

    Raises
    ------
    StepFailed
        If it is not a pair's folder.
    """
    task = load_task(folder)
    if not isinstance(task, PairTask):
        msg = f"{folder} does not hold a pair"
        raise StepFailed(msg)
    measured = read_json(folder / "mosaic" / "facts.json")
    facts = describe(task.facts, (task.reference_orbit, task.secondary_orbit), task.dem, task.grid)
    facts |= {"looks": str(task.looks), "engine": "native", "engine_version": VERSION, **measured}
    facts["azimuth_misregistration"] = settled(folder)
    arrays = _arrays(folder, measured["wavelength_m"], unwrapped=task.unwrapper != "none")
    arrays["phase_noise"] = phase_noise(arrays["coherence"], measured["independent_looks"])
    arrays |= _seen_ground(folder.parent / task.view)
    if task.water_mask is not None:
        from topsar.engines.water import warp_water

        arrays["water"] = warp_water(task.water_mask, task.grid)
    return Interferogram(pair_id=task.facts.pair, grid=task.grid, layers=make_layers(arrays), facts=facts)


def _arrays(folder: Path, wavelength_m: float, *, unwrapped: bool) -> dict[str, NDArray[Any]]:
    cross, filtered = corrected_cross(folder), _load(folder, "filter/filtered")
    seen = cross != 0
    arrays = {
        "wrapped_phase": _phase(cross),
        "filtered_phase": _phase(filtered),
        "coherence": where_seen(seen, _load(folder, "mosaic/coherence")),
        "amplitude": where_seen(seen, _load(folder, "mosaic/amplitude")),
        "burst": _load(folder, "mosaic/burst"),
    }
    if unwrapped:
        phase = _load(folder, "unwrap/unwrapped")
        arrays["unwrapped_phase"] = phase
        arrays["displacement"] = displacement(phase, wavelength_m)
        arrays["components"] = _load(folder, "unwrap/components")
    return arrays


def _seen_ground(folder: Path) -> dict[str, NDArray[Any]]:
    """How the ground is seen, as the view that the pair shares with others says."""
    east, north, up = _load(folder, "los")
    return {
        "height": _load(folder, "height"),
        "los_east": east,
        "los_north": north,
        "los_up": up,
        "incidence": incidence(up),
        "layover_shadow": _load(folder, "layover_shadow"),
        "water": _load(folder, "water"),
    }


def _phase(values: NDArray[np.complex64]) -> NDArray[np.float32]:
    return where_seen(values != 0, np.angle(values))


def _load(folder: Path, name: str) -> NDArray[Any]:
    values: NDArray[Any] = np.load(folder / f"{name}.npy")
    return values
