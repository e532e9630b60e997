"""From what a pair's steps left to its layers and facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.facts import PairFacts, describe, describe_signal, describe_uncalibrated
from topsar.engines.layers import (
    add_shifted_fringes,
    compute_incidence,
    count_samples,
    describe_filter,
    estimate_phase_noise,
    make_unwrapped_layers,
    mask_unseen,
)
from topsar.engines.native.steps import VERSION
from topsar.engines.native.steps.esd import read_correction, read_cross
from topsar.engines.native.steps.ionosphere import FACTS_FILE
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import load_task
from topsar.files import read_json
from topsar.interferogram import Interferogram, make_layers
from topsar.model import Dem, GeoGrid, Looks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

COLLECT = "collect"
"""Name of a pair's `CollectTask` among the tasks of its steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectTask:
    """A pair whose results are to be gathered.

    ``view`` is the folder that says how the ground is seen, relative to the runs folder; ``water_mask`` is the user's
    raster, if any; ``ionosphere`` tells whether a step estimates the ionosphere. ``uncalibrated`` says why the wanted
    ``backscatter`` cannot be had; empty if it can.
    """

    facts: PairFacts
    grid: GeoGrid
    looks: Looks
    reference_orbit: OrbitChoice
    secondary_orbit: OrbitChoice
    dem: Dem
    view: str
    unwrapped: bool
    water_mask: Path | None
    backscatter: str
    uncalibrated: str
    ionosphere: bool


def collect(folder: Path) -> Interferogram:
    """Gather the results of the pair in ``folder``."""
    task = load_task(folder, COLLECT, CollectTask)
    measured = read_json(folder / "mosaic" / "facts.json")
    facts = describe(task.facts, (task.reference_orbit, task.secondary_orbit), task.dem, task.grid)
    facts |= {"looks": str(task.looks), "engine": "native", "engine_version": VERSION, **measured}
    facts["azimuth_misregistration"] = read_correction(folder)
    arrays = _read_signal(folder, measured["wavelength_m"], unwrapped=task.unwrapped)
    if task.backscatter != "none" and not task.uncalibrated:
        arrays[task.backscatter] = mask_unseen(np.isfinite(arrays["amplitude"]), _load(folder, "mosaic/backscatter"))
    view = _read_view(folder.parent / task.view)
    looks = np.array(measured["independent_looks_of_bursts"], np.float32)[arrays["burst"]]
    looks *= count_samples(view["height"], [view[f"los_{way}"] for way in ("east", "north", "up")], task.grid)
    noise = estimate_phase_noise(arrays["coherence"], looks)
    arrays["phase_noise"] = add_shifted_fringes(noise, arrays["filtered_phase"], _load(folder, "mosaic/centre"))
    facts["filter"] = describe_filter(arrays)
    if task.ionosphere:
        facts["ionosphere"] = read_json(folder / "ionosphere" / FACTS_FILE)
        arrays |= _read_ionosphere(folder, np.isfinite(arrays["amplitude"]), facts["ionosphere"])
    facts |= describe_signal(arrays["coherence"], measured["coherence_bias_at_zero"])
    facts["remarks"].extend(_describe_errors(facts.get("ionosphere", {}).get("unwrapping_errors", ())))
    if task.uncalibrated:
        facts["remarks"].append(describe_uncalibrated(task.uncalibrated))
    arrays |= view
    if task.water_mask is not None:
        from topsar.engines.water import warp_water

        arrays["water"] = warp_water(task.water_mask, task.grid)
    return Interferogram(pair_id=task.facts.pair, grid=task.grid, layers=make_layers(arrays), facts=facts)


def _read_signal(folder: Path, wavelength_m: float, *, unwrapped: bool) -> dict[str, NDArray[Any]]:
    cross, filtered = read_cross(folder), _load(folder, "filter/filtered")
    seen = cross != 0
    arrays = {
        "wrapped_phase": _measure_phase(cross),
        "filtered_phase": _measure_phase(filtered),
        "coherence": mask_unseen(seen, _load(folder, "mosaic/coherence")),
        "amplitude": mask_unseen(seen, _load(folder, "mosaic/amplitude")),
        "burst": _load(folder, "mosaic/burst"),
    }
    if unwrapped:
        arrays |= make_unwrapped_layers(arrays, _load(folder, "unwrap/unwrapped"), wavelength_m)
        arrays["components"] = _load(folder, "unwrap/components")
    return arrays


def _read_ionosphere(folder: Path, seen: NDArray[np.bool_], facts: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Read the ionosphere, the ramps it leaves in bursts, and their uncertainties, where they could be estimated."""
    if "refused" in facts:
        return {}
    names = {"ionosphere": "phase", "ionosphere_std": "deviation"}
    if "refused" not in facts["burst_ramps"]:
        names |= {"ionosphere_burst_ramps": "ramps", "ionosphere_burst_ramps_std": "ramps_deviation"}
    return {layer: mask_unseen(seen, _load(folder, f"ionosphere/{name}")) for layer, name in names.items()}


def _describe_errors(errors: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for one in errors:
        yield (
            f"unwrapped phase is off by {one['cycles']} cycles in a part of component {one['component']}, "
            f"as sub-bands tell ({one['cells']} cells of the ionosphere)"
        )


def _read_view(folder: Path) -> dict[str, NDArray[Any]]:
    """Read how the ground is seen from the view that the pair shares with others."""
    east, north, up = _load(folder, "los")
    return {
        "height": _load(folder, "height"),
        "los_east": east,
        "los_north": north,
        "los_up": up,
        "incidence": compute_incidence(up),
        "layover_shadow": _load(folder, "layover_shadow"),
        "water": _load(folder, "water"),
    }


def _measure_phase(values: NDArray[np.complex64]) -> NDArray[np.float32]:
    return mask_unseen(values != 0, np.angle(values))


def _load(folder: Path, name: str) -> NDArray[Any]:
    values: NDArray[Any] = np.load(folder / f"{name}.npy")
    return values
