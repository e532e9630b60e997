"""The native engine's steps, and what they leave for the products."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.facts import describe
from topsar.engines.layers import displacement, incidence, make_layers, phase_noise, where_seen
from topsar.engines.native.delay import find_delay, read_delay
from topsar.engines.native.geocode import geocode_swath
from topsar.engines.native.interfere import interfere
from topsar.engines.native.plan import VERSION
from topsar.engines.native.registration import corrected_cross, settle, settled, solve
from topsar.engines.native.slc import write_dispersion, write_slc
from topsar.engines.native.tasks import (
    DelayTask,
    DispersionTask,
    GeocodeTask,
    NetworkTask,
    PairTask,
    SlcTask,
    load_task,
)
from topsar.engines.water import warp_water
from topsar.errors import StepFailed
from topsar.kernels.filter import goldstein
from topsar.kernels.unwrap import unwrap
from topsar.model import Interferogram
from topsar.raster import read_json, save_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


def execute(folder: Path, step: str) -> None:
    """Run one step of the job whose ``job.json`` lies in ``folder``.

    Raises
    ------
    StepFailed
        If the job has no such step.
    """
    task = load_task(folder)
    if isinstance(task, GeocodeTask) and step == "geocode":
        delay = read_delay(folder.parent / task.delay)["applied_pixels"] if task.delay else 0.0
        geocode_swath(task, folder / "slc", delay)
    elif isinstance(task, DelayTask) and step == "delay":
        find_delay(task, folder / "delay")
    elif isinstance(task, PairTask) and step == "interfere":
        interfere(task, folder.parent, folder / "interfere")
    elif isinstance(task, SlcTask) and step == "slc":
        write_slc(task, folder.parent)
    elif isinstance(task, DispersionTask) and step == "dispersion":
        write_dispersion(task, folder.parent)
    elif isinstance(task, NetworkTask) and step == "solve":
        solve(task, folder.parent, folder / "solve")
    elif isinstance(task, PairTask) and step == "filter":
        _filter(task, folder)
    elif isinstance(task, PairTask) and step == "unwrap":
        _unwrap(task, folder)
    else:
        msg = f"{folder / 'job.json'} has no step {step!r}"
        raise StepFailed(msg)


def _filter(task: PairTask, folder: Path) -> None:
    """Filter unit phasors weighted by coherence, so that no bright target dominates its patch."""
    (folder / "filter").mkdir(exist_ok=True)
    settle(task, folder)
    cross, coherence = corrected_cross(folder), _load(folder, "interfere/coherence")
    weighted = coherence * np.exp(1j * np.angle(cross)).astype(np.complex64)
    save_array(folder / "filter" / "filtered.npy", goldstein(weighted, task.filter_strength))


def _unwrap(task: PairTask, folder: Path) -> None:
    (folder / "unwrap").mkdir(exist_ok=True)
    filtered, coherence = _load(folder, "filter/filtered"), _load(folder, "interfere/coherence")
    if task.unwrapper == "none":
        unwrapped = np.full(filtered.shape, np.nan, np.float32)
        components = np.zeros(filtered.shape, np.uint32)
    else:
        looks = _facts(folder)["independent_looks"]
        try:
            with _scratch(folder / "unwrap") as scratch:
                unwrapped, components = unwrap(
                    filtered, coherence, looks, method=task.unwrapper, threads=_threads(), scratch=scratch
                )
        except RuntimeError as exc:  # how both packages report a failure of theirs
            msg = f"{task.unwrapper} could not unwrap {task.facts.pair}: {exc}"
            raise StepFailed(msg, hint="unwrap.log has its own words; UNWRAPPER=none leaves the phase wrapped") from exc
    save_array(folder / "unwrap" / "unwrapped.npy", unwrapped)
    save_array(folder / "unwrap" / "components.npy", components)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A temporary folder in ``folder``, under a name without spaces: SNAPHU cannot read others."""
    with tempfile.TemporaryDirectory(dir=folder) as real, tempfile.TemporaryDirectory() as other:
        link = Path(other) / "unwrap"
        link.symlink_to(Path(real).resolve())
        yield link


def _threads() -> int:
    import numba

    return int(numba.get_num_threads())


def _load(folder: Path, name: str) -> NDArray[Any]:
    values: NDArray[Any] = np.load(folder / f"{name}.npy")
    return values


def _facts(folder: Path) -> dict[str, Any]:
    return read_json(folder / "interfere" / "facts.json")


# --- results ----------------------------------------------------------------------------------------------------


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
    measured = _facts(folder)
    facts = describe(task.facts, (task.reference_orbit, task.secondary_orbit), task.dem, task.grid)
    facts |= {"looks": str(task.looks), "engine": "native", "engine_version": VERSION, **measured}
    facts["azimuth_misregistration"] = settled(folder)
    arrays = _arrays(folder, measured["wavelength_m"], unwrapped=task.unwrapper != "none")
    arrays["phase_noise"] = phase_noise(arrays["coherence"], measured["independent_looks"])
    arrays["water"] = warp_water(task.water_mask, task.grid) if task.water_mask else _load(folder, "interfere/water")
    return Interferogram(pair_id=task.facts.pair, grid=task.grid, layers=make_layers(arrays), facts=facts)


def _arrays(folder: Path, wavelength_m: float, *, unwrapped: bool) -> dict[str, NDArray[Any]]:
    cross, filtered = corrected_cross(folder), _load(folder, "filter/filtered")
    seen = cross != 0
    east, north, up = _load(folder, "interfere/los")
    arrays = {
        "wrapped_phase": _phase(cross),
        "filtered_phase": _phase(filtered),
        "coherence": where_seen(seen, _load(folder, "interfere/coherence")),
        "amplitude": where_seen(seen, _load(folder, "interfere/amplitude")),
        "height": _load(folder, "interfere/height"),
        "los_east": east,
        "los_north": north,
        "los_up": up,
        "burst": _load(folder, "interfere/burst"),
        "layover_shadow": _load(folder, "interfere/layover_shadow"),
        "incidence": incidence(up),
    }
    if unwrapped:
        phase = _load(folder, "unwrap/unwrapped")
        arrays["unwrapped_phase"] = phase
        arrays["displacement"] = displacement(phase, wavelength_m)
        arrays["components"] = _load(folder, "unwrap/components")
    return arrays


def _phase(values: NDArray[np.complex64]) -> NDArray[np.float32]:
    return where_seen(values != 0, np.angle(values))
