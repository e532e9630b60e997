"""Where the rooms meet: settings -> pairs -> inputs -> jobs -> schedule -> products -> report."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from topsar import __version__
from topsar.engines import Engine, Inputs, Plan, get_engine
from topsar.errors import SettingsError
from topsar.model import Artifact, Job, Outcome, Resources, Status, Step
from topsar.pairs_file import read_pairs
from topsar.provision import ListedPair, find_dem, find_pairs, find_pass_orbits
from topsar.raster import inspect, write_json, write_text
from topsar.schedule import Budget, Progress, read_journal, run_jobs
from topsar.settings import KEYS, load_settings, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from topsar.model import Event
    from topsar.products.report import PairEntry
    from topsar.settings import Settings
    from topsar.simulate.compare import Closure, Comparison

log = logging.getLogger(__name__)

PRODUCTS_VERSION = "products 1"
"""Enters the key of the step that writes products: raised when they would look otherwise."""
GIGABYTE = 1_000_000_000


def run(settings: Settings, *, observe: Callable[[Event], None] | None = None) -> tuple[Outcome, ...]:
    """Process all pairs of a batch and write its report.

    Parameters
    ----------
    settings : Settings
    observe : callable, optional
        Is given every event, besides the progress display.

    Returns
    -------
    tuple of Outcome
        One per job and per pair that could not be planned.

    Raises
    ------
    TopsarError
        If nothing can start: settings, pairs.txt, the DEM or the runs folder cannot be used.
    """
    started, clock = datetime.now(timezone.utc), time.monotonic()
    data, runs = settings.data.resolve(), settings.data.resolve() / "runs"
    lines = read_pairs(settings.pairs)
    engine, why = get_engine(settings.engine)
    log.info("engine: %s (%s)", engine.name, why)
    dem = find_dem(settings.options, data / "dem")
    listed = find_pairs(lines, data / "raw")
    pairs = tuple(one.pair for one in listed if one.pair is not None)
    orbits = find_pass_orbits(pairs, data / "orbit_data")
    plan = engine.plan(Inputs(pairs=pairs, orbits=orbits, dem=dem), settings.options)
    refused = _refused(listed, plan)
    for outcome in refused:
        log.warning("%s cannot be processed: %s", outcome.title, outcome.message)
    jobs = _with_products(plan, engine, settings)
    _write_plan(runs, plan, jobs, engine, settings)
    outcomes = refused + _schedule(jobs, runs, settings, observe)
    _report(runs, outcomes, settings, started, time.monotonic() - clock)
    return outcomes


def execute_step(job_file: Path, step: str) -> None:
    """Run one step of one job; the scheduler starts this in a process of its own."""
    folder = job_file.resolve().parent
    known = json.loads((folder / "run.json").read_text())
    engine, _ = get_engine(known["engine"])
    if step == "products":
        _write_products(folder, engine, known)
    else:
        engine.execute(folder, step)


# --- planning ---------------------------------------------------------------------------------------------------


def _refused(listed: Sequence[ListedPair], plan: Plan) -> tuple[Outcome, ...]:
    """Pairs that cannot even start, as outcomes."""
    found = []
    for one in listed:
        problem = one.problem or (plan.refused.get(one.pair.id) if one.pair else None)
        if problem is not None:
            job = one.pair.id if one.pair else f"line {one.line}"
            found.append(Outcome(job=job, title=one.title, status=Status.FAILED, is_pair=True, message=str(problem)))
    return tuple(found)


def _with_products(plan: Plan, engine: Engine, settings: Settings) -> tuple[Job, ...]:
    """The engine's jobs, each pair's ending with the step that writes its products."""
    options = settings.options.model_dump_json()
    return tuple(
        replace(job, steps=(*job.steps, _products_step(job, engine, options))) if job.is_pair else job
        for job in plan.jobs
    )


def _products_step(job: Job, engine: Engine, options: str) -> Step:
    written = [artifact.path for step in job.steps for artifact in step.writes]
    return Step(
        name="products",
        argv=(sys.executable, "-m", "topsar", "step", "job.json", "products"),
        signature=json.dumps([PRODUCTS_VERSION, engine.version, options]),
        reads=tuple(written),
        writes=(Artifact(path=f"{job.id}/products"),),
        needs=Resources(memory_bytes=max(step.needs.memory_bytes for step in job.steps), threads=1),
        timeout_s=3600.0,
    )


def _write_plan(runs: Path, plan: Plan, jobs: Sequence[Job], engine: Engine, settings: Settings) -> None:
    """What steps read: ``job.json`` for the engine, ``run.json`` for us; and the settings of the run."""
    writers = {artifact.path: job.id for job in jobs for step in job.steps for artifact in step.writes}
    write_json(runs / "settings.json", resolved(settings))
    for job in jobs:
        feeding = sorted({writers[path] for step in job.steps for path in step.reads} | {job.id})
        known = {"engine": engine.name, "jobs": feeding, "options": settings.options.model_dump(mode="json")}
        (runs / job.id).mkdir(parents=True, exist_ok=True)
        write_text(runs / job.id / "job.json", plan.tasks[job.id])
        write_json(runs / job.id / "run.json", known)


def _schedule(
    jobs: Sequence[Job], runs: Path, settings: Settings, observe: Callable[[Event], None] | None
) -> tuple[Outcome, ...]:
    if not jobs:
        return ()
    budget = Budget(
        workers=None if settings.workers == "auto" else settings.workers,
        memory_bytes=None if settings.memory_gb == "auto" else int(settings.memory_gb * GIGABYTE),
    )
    with Progress(jobs) as progress:

        def watch(event: Event) -> None:
            progress(event)
            if observe is not None:
                observe(event)

        return run_jobs(
            jobs,
            runs=runs,
            inspect=inspect,
            budget=budget,
            observe=watch,
            cleanup=settings.cleanup,
            retries=settings.retries,
        )


# --- products and report ----------------------------------------------------------------------------------------


def _write_products(folder: Path, engine: Engine, known: Mapping[str, Any]) -> None:
    """Layers, facts and pictures of one pair; the folder appears when all of it is written."""
    from topsar.products.geotiff import write_layers
    from topsar.products.quicklook import write_quicklooks

    interferogram = engine.collect(folder)
    facts = interferogram.facts | {
        "settings": known["options"],
        "versions": _versions(),
        "steps": _steps(folder.parent, known["jobs"]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    interferogram = replace(interferogram, facts=facts)
    staging = folder / f"products.{os.getpid()}.part"
    staging.mkdir()
    try:
        write_layers(interferogram, staging)
        write_quicklooks(interferogram, staging)
        staging.rename(folder / "products")
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _report(runs: Path, outcomes: Sequence[Outcome], settings: Settings, started: datetime, seconds: float) -> None:
    from topsar.products.report import SettingEntry, Totals, write_report

    peaks = [event.ended.peak_memory_bytes for one in outcomes for event in one.events if event.ended]
    shown = resolved(settings)["settings"]
    write_report(
        runs / "report.html",
        title=f"Sentinel-1 interferograms, {started:%Y-%m-%d %H:%M} UTC",
        pairs=[_report_entry(runs, one) for one in outcomes if one.is_pair],
        machine=_machine(),
        settings=[
            SettingEntry(key=key.name, meaning=key.meaning, **shown[key.name]) for key in KEYS if key.name in shown
        ],
        totals=Totals(
            started=started,
            seconds=seconds,
            peak_memory_bytes=max(peaks, default=None),
            freed_bytes=sum(one.freed_bytes for one in outcomes),
        ),
    )


def _report_entry(runs: Path, outcome: Outcome) -> PairEntry:
    from topsar.products.report import PairEntry, StepEntry

    folder = runs / outcome.job / "products"
    if outcome.status in (Status.DONE, Status.CACHED):
        facts = json.loads((folder / "facts.json").read_text())
        steps = tuple(
            StepEntry(
                name=step["name"] if step["job"] == outcome.job else f"{step['name']} {step['job']}",
                status=Status.DONE,
                seconds=step["seconds"],
                peak_memory_bytes=step["peak_memory_bytes"],
            )
            for step in facts["steps"]
        )
        return PairEntry(pair_id=outcome.job, status=outcome.status, facts=facts, folder=folder, steps=steps)
    ended = [event for event in outcome.events if event.ended]
    steps = tuple(
        StepEntry(name=e.step, status=e.status, seconds=e.ended.seconds, peak_memory_bytes=e.ended.peak_memory_bytes)
        for e in ended
        if e.ended
    )
    log_file = runs / outcome.job / f"{ended[-1].step}.log" if ended else None
    tail = log_file.read_text(errors="replace").splitlines()[-20:] if log_file and log_file.is_file() else []
    return PairEntry(
        pair_id=outcome.job, status=outcome.status, message=outcome.message, steps=steps, log_tail=tuple(tail)
    )


def _machine() -> dict[str, str]:
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{psutil.virtual_memory().total / GIGABYTE:.1f} GB",
        "topsar": __version__,
        "python": platform.python_version(),
    }


def _versions() -> dict[str, str]:
    packages = ("numpy", "scipy", "numba", "rasterio", "pyproj", "snaphu", "whirlwind-insar")
    installed = {dist.name.lower(): dist.version for dist in metadata.distributions() if dist.name}
    return {"topsar": __version__, "python": platform.python_version()} | {
        name: installed[name] for name in packages if name in installed
    }


def _steps(runs: Path, jobs: Sequence[str]) -> list[dict[str, Any]]:
    """What the finished steps of some jobs took, from their journals."""
    found = []
    for job in jobs:
        latest = {event.step: event for event in read_journal(runs / job / "journal.jsonl") if event.ended}
        for name, event in latest.items():
            if event.status is Status.DONE and event.ended is not None:
                found.append(
                    {
                        "job": job,
                        "name": name,
                        "seconds": round(event.ended.seconds, 2),
                        "cpu_seconds": round(event.ended.cpu_s, 2),
                        "peak_memory_bytes": event.ended.peak_memory_bytes,
                    }
                )
    return found


# --- simulated data ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What the demo made, and how far it is from the truth."""

    folder: Path
    outcomes: tuple[Outcome, ...]
    comparisons: tuple[Comparison, ...]
    closures: tuple[Closure, ...]


def simulate(folder: Path, *, size: str, seed: int | None = None) -> Path:
    """Write a simulated data set in the layout of a data folder, with its ``pairs.txt`` and ``truth``.

    Raises
    ------
    SettingsError
        If there is no such size.
    """
    from topsar.simulate import recipe, simulate

    try:
        chosen = recipe(size)
    except ValueError as exc:
        raise SettingsError(str(exc), hint="--size tiny is the quickest") from exc
    chosen = chosen if seed is None else replace(chosen, seed=seed)
    simulate(folder, chosen, watch=log.info)
    return folder


def demo(folder: Path, *, size: str, flags: Mapping[str, str]) -> Demonstration:
    """Simulate a data set, unless ``folder`` already holds it, process it, and compare with the truth."""
    from topsar.simulate.compare import compare_closure, compare_pair

    made = folder / "truth" / "complete.json"
    if not (made.is_file() and json.loads(made.read_text()) == {"size": size, "version": __version__}):
        simulate(folder, size=size)
        write_json(made, {"size": size, "version": __version__})
    outcomes = run(load_settings(env_file=None, data=folder, pairs=folder / "pairs.txt", flags=flags))
    finished = [
        folder / "runs" / outcome.job / "products"
        for outcome in outcomes
        if outcome.is_pair and outcome.status in (Status.DONE, Status.CACHED)
    ]
    return Demonstration(
        folder=folder,
        outcomes=outcomes,
        comparisons=tuple(compare_pair(products, folder / "truth") for products in finished),
        closures=tuple(compare_closure(finished)),
    )
