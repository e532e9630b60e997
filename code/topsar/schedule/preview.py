"""What a run would do, and what it would take, without doing it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from topsar.schedule.cleanup import GOING
from topsar.schedule.events import planned_jobs
from topsar.schedule.executor import LocalExecutor
from topsar.schedule.forecast import Ledger
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Budget
from topsar.schedule.rehearsal import Rehearsal, Script, find_order, rehearse
from topsar.schedule.stale import plan_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from topsar.schedule.cleanup import Cleanup
    from topsar.schedule.evidence import Inspect
    from topsar.schedule.executor import Executor
    from topsar.schedule.jobs import Job, Resources
    from topsar.schedule.record import PlannedJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a run would do.

    Attributes
    ----------
    jobs : tuple of PlannedJob
        Every step: what is to be done with it and why, and what it is predicted to take.
    rehearsal : Rehearsal
        What all of it is predicted to take.
    is_timed : bool
        Whether the rehearsal knew the time of every step.
    capacity : Resources
        What there is now.
    needed : frozenset of str
        Artifacts that steps yet to run will read, and that are there to be read.
    """

    jobs: tuple[PlannedJob, ...]
    rehearsal: Rehearsal
    is_timed: bool
    capacity: Resources
    needed: frozenset[str]


def preview_jobs(
    jobs: Sequence[Job],
    *,
    runs: Path,
    inspect: Inspect,
    budget: Budget | None = None,
    cleanup: Cleanup = "scratch",
    executor: Executor | None = None,
) -> Preview:
    """Say what `run_jobs` would do with the same arguments; changes nothing.

    Raises
    ------
    TopsarError
        When the steps do not form a graph.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from topsar.schedule.jobs import Artifact, Job, Step
    >>> step = Step(name="filter", argv=(), signature="1", writes=(Artifact(path="a/x"),), seconds=20.0)
    >>> preview = preview_jobs([Job(id="a", title="pair a", steps=(step,))], runs=Path(mkdtemp()), inspect=lambda p: {})
    >>> preview.rehearsal.seconds, preview.jobs[0].steps[0].why
    (20.0, 'not done yet')
    """
    bounds = budget or Budget()
    graph, ledger = build_graph(jobs), Ledger(runs)
    decisions = plan_graph(graph, runs=runs, inspect=inspect)
    place = executor or LocalExecutor(bounds)
    there = next(folder for folder in (runs, *runs.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free - bounds.free_disk_bytes
    script = Script(
        graph=graph,
        decisions=decisions,
        predict=ledger.predict,
        capacity=replace(place.capacity(), disk_bytes=free),
        workers=bounds.workers,
        going=GOING[cleanup],
    )
    return Preview(
        jobs=planned_jobs(jobs, decisions, ledger),
        rehearsal=rehearse(script, find_order(script)),
        is_timed=script.is_timed,
        capacity=script.capacity,
        needed=frozenset(path for node in script.waiting for path in node.step.reads),
    )
