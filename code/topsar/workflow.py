"""Where the rooms meet: settings -> pairs -> inputs -> jobs -> schedule -> products -> report."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.batch import Batch
from topsar.files import write_json, write_text
from topsar.raster import inspect
from topsar.registry import load_named
from topsar.schedule.cleanup import find_removable, read_all_artifacts, read_artifacts, remove_all
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Budget, Outcome, Policy, Status
from topsar.schedule.lock import hold_runs
from topsar.schedule.progress import Progress
from topsar.schedule.rehearsal import preview_jobs
from topsar.schedule.run import run_jobs
from topsar.settings import describe_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from topsar.formats.export import Exported
    from topsar.pairs.listing import PairLine
    from topsar.pairs.network import Network, Rules
    from topsar.provision import ListedPair, Search, Services
    from topsar.schedule.cleanup import Removable
    from topsar.schedule.jobs import Event, Job
    from topsar.schedule.rehearsal import Preview
    from topsar.settings import Settings

log = logging.getLogger(__name__)


def prepare(batch: Batch) -> None:
    """Plan a batch, and log the engine and what cannot be processed."""
    from topsar.provision import list_unused, needs_box

    engine, why = batch.engine
    log.info("engine: %s (%s)", engine.name, why)
    for stray in list_unused(batch.settings):
        log.warning("not used: %s", stray)
    if needs_box(batch.settings):
        batch.found.require_pairs()
    _ = batch.dem, batch.weather
    _warn(one for one in batch.found.listed if one.problem)
    _warn(one for one in batch.refused if one.pair)


def run(
    settings: Settings,
    services: Services | None = None,
    *,
    pairs: Sequence[PairLine] | None = None,
    observe: Callable[[Event], None] | None = None,
) -> tuple[Outcome, ...]:
    """Process all pairs of a batch and write its report.

    Parameters
    ----------
    settings : Settings
    services, pairs : optional
        As in `Batch`.
    observe : callable, optional
        Is given every event, besides the progress display.

    Returns
    -------
    tuple of Outcome
        One per job and per pair that could not be planned.
    """
    started, clock = datetime.now(timezone.utc), time.monotonic()
    batch = Batch(settings=settings, services=services, pairs=pairs)
    prepare(batch)
    runs = batch.runs
    with hold_runs(runs) as mark:
        _write_plan(batch)
        outcomes = (*map(_make_failure, batch.refused), *_schedule(batch, observe, mark))
        from topsar.report.page import write_report  # only now: it brings matplotlib, and steps need the memory

        write_report(runs, outcomes, settings, started, time.monotonic() - clock)
    return outcomes


def preview(batch: Batch, *, cores: int | None = None, memory_bytes: int | None = None) -> Preview:
    """Say what `run` would do, and what it would take; writes nothing.

    Parameters
    ----------
    batch : Batch
    cores, memory_bytes : int, optional
        Of another machine; of this one where absent.
    """
    prepare(batch)
    store, policy = Store(batch.runs, inspect), _make_policy(batch.settings)
    return preview_jobs(batch.jobs, store, policy, cores=cores, memory_bytes=memory_bytes)


def list_pairs(
    settings: Settings, rules: Rules, *, search: Search | None = None, services: Services, force: bool = False
) -> tuple[Network, Path | None]:
    """Write ``pairs.txt`` for what lies in ``data/raw``, or for what a search of the archive finds; draw the network.

    Parameters
    ----------
    settings : Settings
        ``pairs`` says where to; of a search, ``roi`` and ``polarization`` say what.
    rules : Rules
    search : Search, optional
        Without it the folder is looked at.
    services : Services
    force : bool
        Replace a file that is there; it is kept under another name.

    Returns
    -------
    Network, Path or None
        The pairs, and where the old file is now.

    Raises
    ------
    TopsarError
        If there is nothing to pair, or a file is there already.
    """
    from topsar.pairs.network import build_network, group_passes, require_free, write_pairs
    from topsar.provision import find_local_slices, search_slices
    from topsar.report.network_picture import write_network

    require_free(settings.pairs, force=force)  # before anybody is asked
    if search is None:
        slices = find_local_slices(settings.data / "raw", settings.data / "orbit_data")
    else:
        slices = search_slices(settings, search, services)
    network = build_network(group_passes(slices), rules)
    kept = write_pairs(settings.pairs, network, force=force)
    write_network(network, settings.pairs.with_suffix(".png"))
    return network, kept


def export(settings: Settings, name: str, to: Path | None = None) -> Iterator[Exported]:
    """Write one format of all finished pairs, without computing anything else.

    Parameters
    ----------
    settings : Settings
    name : str
        Of the format.
    to : Path, optional
        Where to; ``data/export/<format>`` without it.

    Raises
    ------
    SettingsError
        If there is no such format, no pair has products, or ``to`` lies in the runs folder.
    """
    from topsar.formats.export import export_format

    options = settings.options.model_dump(mode="json")
    return export_format(settings.data.resolve() / "runs", name, options, to or settings.data / "export" / name)


def clean(settings: Settings, *, dry_run: bool) -> tuple[Removable, ...]:
    """Remove, or only find, what no run of the listed pairs will need; of other pairs, whatever is no result.

    Parameters
    ----------
    settings : Settings
        They name the data folder, the pairs and the way of cleaning up.
    dry_run : bool
        Whether to only find it.

    Raises
    ------
    TopsarError
        If another run holds the runs folder, or something cannot be removed.
    """
    batch = Batch(settings=settings)
    runs = batch.runs
    with nullcontext() if dry_run or not runs.exists() else hold_runs(runs):
        shown = preview(batch)
        artifacts = read_all_artifacts(runs) | {
            artifact.path: artifact.lifetime for job in batch.jobs for step in job.steps for artifact in step.writes
        }
        found = find_removable(Store(runs, inspect), artifacts, cleanup=settings.cleanup, needed=shown.needed)
        if not dry_run:
            remove_all(found, runs=runs)
    return found


def _warn(listed: Iterable[ListedPair]) -> None:
    for one in listed:
        log.warning("%s cannot be processed: %s", one.title, one.problem)


def _make_failure(one: ListedPair) -> Outcome:
    """The outcome of a pair that cannot even start."""
    name = one.pair.id if one.pair else f"line {one.line}"
    return Outcome(job=name, title=one.title, status=Status.FAILED, is_pair=True, message=str(one.problem))


def _write_plan(batch: Batch) -> None:
    """Write what steps read: ``job.json`` for the engine, ``run.json`` for the others; and the settings of the run."""
    runs, options = batch.runs, batch.options.model_dump(mode="json")
    writers = {artifact.path: job.id for job in batch.jobs for step in job.steps for artifact in step.writes}
    write_json(runs / "settings.json", describe_settings(batch.settings))
    for job in batch.jobs:
        known = {
            "engine": batch.engine[0].name,
            "jobs": sorted({writers[path] for step in job.steps for path in step.reads} | {job.id}),
            "options": options,
            "artifacts": read_artifacts(runs / job.id / "run.json")
            | {artifact.path: artifact.lifetime for step in job.steps for artifact in step.writes},
        }
        write_text(runs / job.id / "job.json", batch.plan.tasks.get(job.id, "{}"))
        write_json(runs / job.id / "run.json", known)


def _make_policy(settings: Settings) -> Policy:
    budget = Budget(
        workers=None if settings.workers == "auto" else settings.workers,
        memory_bytes=settings.memory_bytes,
        free_disk_bytes=settings.disk_reserve_bytes,
    )
    return Policy(budget=budget, cleanup=settings.cleanup, retries=settings.retries)


def _start_anew(job: Job) -> Job:
    """The job, none of whose steps may be forked."""
    return replace(job, steps=tuple(replace(step, preload=()) for step in job.steps))


def _schedule(batch: Batch, observe: Callable[[Event], None] | None, mark: str) -> tuple[Outcome, ...]:
    if not batch.jobs:
        return ()
    settings, runs = batch.settings, batch.runs
    policy, kind = _make_policy(settings), load_named("executors", settings.executor)
    with Progress(batch.jobs) as progress:

        def watch(event: Event) -> None:
            progress(event)
            if observe is not None:
                observe(event)

        executor = kind.open(settings.dask_scheduler, runs=runs, mark=mark, budget=policy.budget)
        jobs = batch.jobs if settings.fork_steps else tuple(map(_start_anew, batch.jobs))
        return run_jobs(jobs, Store(runs, inspect), policy, observe=watch, executor=executor, mark=mark)
