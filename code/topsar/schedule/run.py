"""The scheduler: runs the steps of jobs, as many at once as fit, and survives whatever happens to them.

It is demand driven: `plan` says what has to run, `rehearsal` in which order, `admission` which of it starts now,
`executor` runs it, `evidence` says whether it is done, `journal` remembers; `run` ties them together.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from topsar.errors import TopsarError
from topsar.schedule.cleanup import GOING
from topsar.schedule.evidence import Store
from topsar.schedule.executor import LocalExecutor
from topsar.schedule.graph import build_graph
from topsar.schedule.guard import Guard
from topsar.schedule.jobs import Budget
from topsar.schedule.lock import hold_runs
from topsar.schedule.loop import Rules, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from topsar.schedule.cleanup import Cleanup
    from topsar.schedule.evidence import Inspect
    from topsar.schedule.executor import Executor
    from topsar.schedule.jobs import Event, Job, Outcome


def run_jobs(
    jobs: Sequence[Job],
    *,
    runs: Path,
    inspect: Inspect,
    budget: Budget | None = None,
    observe: Callable[[Event], None] | None = None,
    cleanup: Cleanup = "scratch",
    retries: int = 2,
    backoff_s: float = 5.0,
    patience_s: float = 600.0,
    executor: Executor | None = None,
    mark: str | None = None,
) -> tuple[Outcome, ...]:
    """Run what has to be run of the jobs, and say what became of each.

    What an earlier run finished is not run again while its evidence holds. A failed step blocks what reads from it and
    nothing else. SIGINT, SIGTERM or SIGHUP (when called in the main thread) end every process within seconds; the next
    call resumes.

    Parameters
    ----------
    jobs : sequence of Job
        Oldest first: where not everything can run at once, the first goes first.
    runs : Path
        The runs folder. It is locked against other schedulers.
    inspect : Inspect
        Validator of artifacts: facts of a file or folder as JSON can hold them, or `TopsarError`. Called from threads.
    budget : Budget, optional
        The user's upper bounds.
    observe : callable, optional
        Is given every event, in the calling thread.
    cleanup : {"scratch", "nuclear", "none"}
        What is removed as soon as no unfinished step needs it: scratch; everything but results; nothing.
    retries : int
        How often a step is tried again after a failure that may pass.
    backoff_s : float
        Seconds before the first retry; doubled for each further one, with jitter.
    patience_s : float
        Seconds to wait, when nothing runs, for memory or disk that others have taken. After that a step that lacks
        memory is tried all the same, and one that lacks disk fails.
    executor : Executor, optional
        Where steps run; default: this machine. It is closed at the end.
    mark : str, optional
        What `hold_runs` gave a caller that holds the runs folder already.

    Returns
    -------
    tuple of Outcome
        One per job, in order.

    Raises
    ------
    TopsarError
        Before anything starts: the steps form no graph, or another scheduler holds the runs folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from topsar.schedule.jobs import Artifact, Job, Step
    >>> step = Step(name="hello", argv=("touch", "x"), signature="1", writes=(Artifact(path="a/x"),))
    >>> runs = Path(mkdtemp())
    >>> outcomes = run_jobs([Job(id="a", title="pair a", steps=(step,))], runs=runs, inspect=lambda path: {})
    >>> [(outcome.title, outcome.status.value) for outcome in outcomes]
    [('pair a', 'done')]
    """
    if cleanup not in GOING:
        msg = f"cleanup is {cleanup!r}, expected one of {', '.join(GOING)}"
        raise TopsarError(msg)
    graph, bounds = build_graph(jobs), budget or Budget()
    rules = Rules(
        going=GOING[cleanup],
        retries=retries,
        backoff_s=backoff_s,
        patience_s=patience_s,
        workers=bounds.workers,
        free_disk_bytes=bounds.free_disk_bytes,
    )
    with contextlib.nullcontext(mark) if mark else hold_runs(runs) as held, Guard(held):
        place = executor or LocalExecutor(bounds)
        try:
            return Run(graph, Store(runs.resolve(), inspect), place, rules, held, observe).to_the_end()
        finally:
            place.close()
