"""The scheduler: runs the steps of jobs, as many at once as fit, and survives whatever happens to them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from topsar.schedule.executor import LocalExecutor
from topsar.schedule.graph import build_graph
from topsar.schedule.guard import Guard
from topsar.schedule.jobs import Policy
from topsar.schedule.lock import hold_runs
from topsar.schedule.loop import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from topsar.schedule.evidence import Store
    from topsar.schedule.executor import Executor
    from topsar.schedule.jobs import Event, Job, Outcome


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    policy: Policy | None = None,
    *,
    observe: Callable[[Event], None] | None = None,
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
    store : Store
        The runs folder, which is locked against other schedulers, and the validator of artifacts, which is called from
        several threads.
    policy : Policy, optional
        The user's bounds, and what is cleaned up and tried again.
    observe : callable, optional
        Is given every event, in the calling thread.
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
    """
    graph, policy = build_graph(jobs), policy or Policy()
    with contextlib.nullcontext(mark) if mark else hold_runs(store.runs) as held, Guard(held):
        place = executor or LocalExecutor(policy.budget, held)
        try:
            return Run(graph, store.resolve(), place, policy, held, observe).run()
        finally:
            place.close()
