"""The step ``correction_<name>`` of a pair, and what its result does to the interferogram."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.corrections import open_correction
from topsar.corrections.ledger import weigh_corrections
from topsar.engines import load_engine
from topsar.engines.layers import compute_displacement
from topsar.engines.step import PRELOAD, Cost, sign, step_argv, watch_files
from topsar.files import read_json, replaced_folder, save_array, write_json
from topsar.interferogram import Layer, describe_deviation
from topsar.schedule.jobs import Artifact, Lifetime, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.corrections import Correction
    from topsar.engines import Engine
    from topsar.interferogram import Interferogram
    from topsar.schedule.jobs import Job

PREFIX = "correction_"
FOLDER = "corrections"
APPLIED = "applied"
_TOGETHER = " together"  # no name has a space


def plan_corrections(
    job: Job, engine: Engine, corrections: Mapping[str, Correction], reads: tuple[str, ...]
) -> tuple[Step, ...]:
    """Make a step for each correction of a pair; it first collects what the engine left.

    Parameters
    ----------
    job : Job
    engine : Engine
    corrections : mapping
        By name, opened once for all pairs: one may keep what it finds in the user's folder.
    reads : tuple of str
        The artifacts that its interferogram is collected from.
    """
    steps, pixels = [], job.steps[-1].size
    collecting = engine.collect_cost.needs(pixels).memory_bytes
    for name, correction in corrections.items():
        writes = Artifact(path=f"{job.id}/{FOLDER}/{name}", lifetime=Lifetime.RESTART)
        step = plan_step(f"{PREFIX}{name}", correction.version, correction.cost, pixels, reads, writes)
        step = replace(step, needs=replace(step.needs, memory_bytes=step.needs.memory_bytes + collecting))
        if files := _list_files(correction, job):
            step = replace(step, signature=sign(step.kind, None, files), inputs=watch_files(files))
        steps.append(step)
    return tuple(steps)


def _list_files(correction: Correction, job: Job) -> tuple[Path, ...]:
    """The files that a correction reads for a pair, whose id tells when its passes began."""
    times = [datetime.strptime(f"{text}+0000", "%Y%m%dT%H%M%S%z") for text in re.findall(r"\d{8}T\d{6}", job.id)]
    find = getattr(correction, "find_files", None)  # of another package, made for an earlier version
    return tuple(find(times)) if find and len(times) == 2 else ()


def plan_step(name: str, version: str, cost: Cost, size: float, reads: tuple[str, ...], writes: Artifact) -> Step:
    """Make a step that its name and version decide.

    Parameters
    ----------
    name, version : str
    cost : Cost
    size : float
        In the unit of the cost.
    reads : tuple of str
    writes : Artifact
    """
    key, argv = f"{name} {version}", step_argv(name)
    signature = sign(key, None, ())
    step = Step(name=name, argv=argv, signature=signature, reads=reads, writes=(writes,), kind=key, preload=PRELOAD)
    return cost.predict(step, size)


def run_correction(folder: Path, step: str) -> None:
    """Estimate one correction of a pair.

    Parameters
    ----------
    folder : Path
        Of the pair's job.
    step : str
        ``correction_<name>``.
    """
    name = step.removeprefix(PREFIX)
    known = read_json(folder / "run.json", engine=str, options=dict)
    correction = open_correction(name, known["options"])
    found = correction.compute(load_engine(known["engine"]).collect(folder))
    with replaced_folder(folder / FOLDER / name) as staging:
        facts = {"version": correction.version, "layer": correction.layer.name, **found.facts}
        if found.phase_rad is not None:
            save_array(staging / f"{correction.layer.name}.npy", found.phase_rad.astype(np.float32, copy=False))
            if found.std_rad is not None:
                kind = describe_deviation(correction.layer)
                save_array(staging / f"{kind.name}.npy", found.std_rad.astype(np.float32, copy=False))
        else:
            facts.setdefault("refused", "the correction gave no reason")
        write_json(staging / "facts.json", facts)


def add_corrections(ifg: Interferogram, folder: Path, names: Sequence[str], *, apply: bool) -> Interferogram:
    """Add the layers of a pair's corrections, and take them off its displacement if asked.

    Parameters
    ----------
    ifg : Interferogram
        As the engine left it.
    folder : Path
        Of the pair's job.
    names : sequence of str
    apply : bool
        Take the corrections that were found off ``displacement``; it then has holes where one of them has.

    Returns
    -------
    Interferogram
        ``facts["corrections"]`` says of each what was found, whether and how much was taken off, or why not, and what
        the phase is before and after it (`weigh_corrections`); ``facts["corrections_together"]`` that of all that were
        taken off, where there are several. What the ledger objects to is among the ``remarks``.
    """
    if not names:
        return ifg
    layers, told, phases = dict(ifg.layers), {}, {}
    for name in names:
        place, kind = folder / FOLDER / name, open_correction(name).layer
        known: dict[str, Any] = read_json(place / "facts.json")
        if "refused" not in known:
            phases[name] = np.load(place / f"{kind.name}.npy")
            layers[kind.name] = Layer(kind=kind, values=phases[name])
            deviation = describe_deviation(kind)
            if (path := place / f"{deviation.name}.npy").is_file():
                layers[deviation.name] = Layer(kind=deviation, values=np.load(path))
        known["verdict"] = _judge(known, layers, apply=apply)
        known["applied"] = known["verdict"] == APPLIED
        if known["applied"]:
            layers["displacement"], known["removed_m"] = _take_off(layers["displacement"], phases[name], ifg)
        told[name] = known
    facts = {**ifg.facts, "corrections": told}
    return replace(ifg, layers=layers, facts=facts | _keep_ledger(ifg, told, phases))


def _judge(known: Mapping[str, Any], layers: Mapping[str, Layer], *, apply: bool) -> str:
    """Say whether a correction is applied, or why not."""
    if "refused" in known:
        return f"not applied because {known['refused']}"
    if "displacement" not in layers:
        return "not applied because there is no displacement"
    return APPLIED if apply else "not applied because APPLY_CORRECTIONS is 0"


def _take_off(before: Layer, phase: NDArray[np.float32], ifg: Interferogram) -> tuple[Layer, dict[str, float] | None]:
    """The displacement without a correction, and mean and deviation of what was taken off."""
    moved = compute_displacement(phase, ifg.facts["wavelength_m"])
    taken = moved[np.isfinite(before.values) & np.isfinite(moved)]
    removed = {"mean": float(taken.mean()), "std": float(taken.std())} if taken.size else None
    return replace(before, values=(before.values - moved).astype(np.float32)), removed


def _keep_ledger(
    ifg: Interferogram, told: dict[str, dict[str, Any]], phases: Mapping[str, NDArray[np.float32]]
) -> dict[str, Any]:
    """Enter each correction into the ledger, and all that are applied together; what it objects to is a remark."""
    applied = [name for name, known in told.items() if known["applied"]]
    known = dict(phases)
    if len(applied) > 1:
        known[_TOGETHER] = np.sum([phases[name] for name in applied], axis=0)
    entries = weigh_corrections(ifg, known)
    together = entries.pop(_TOGETHER, None)
    remarks = list(ifg.facts.get("remarks", ()))
    for name, entry in entries.items():
        told[name]["ledger"] = entry
        if "objection" in entry:
            remarks.append(f"{name}: {entry['objection']}")
    found: dict[str, Any] = {"remarks": remarks} if remarks else {}
    return found | ({"corrections_together": together} if together else {})
