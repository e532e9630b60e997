"""Run chains of commands in parallel, within memory, and so that nothing that was finished is ever lost.

This room knows nothing of radar: it sees jobs, steps, artifacts and a function that validates a file. It can be read
alone, best in this order:

`jobs`       the nouns: jobs, steps, resources, and what becomes of them
`graph`      what depends on what, and the checkpoint key of each step
`journal`    what is remembered, and how it survives a crash
`evidence`   what proves that a step is done
`stale`      what has to run
`forecast`   what each step will take, by the table and by experience
`admission`  which steps start now
`capacity`   the numbers that admission weighs
`machine`    what the machine gives
`command`    one subprocess, from start to end
`executor`   where commands run: this machine, or another place behind the same protocol (`dask/`: a cluster)
`state`      the state of all steps
`loop`       the loop that ties these together
`run`        the one call that starts it
`rehearsal`  the same loop without processes: what a run would do and take
`cleanup`    how files go away, during a run and between runs
`events`     who is told what happened
`record`     the newest run as anybody can read it
`progress`   bars and lines for whoever watches
`lock`       one scheduler per folder
`guard`      no process left behind
"""

from topsar.schedule.cleanup import (
    Removable,
    find_removable,
    read_all_artifacts,
    read_artifacts,
    remove_all,
)
from topsar.schedule.evidence import Inspect, Store
from topsar.schedule.executor import Executor, LocalExecutor
from topsar.schedule.jobs import Budget, Cleanup, Policy
from topsar.schedule.journal import read_journal
from topsar.schedule.lock import Holder, find_holder, hold_runs
from topsar.schedule.progress import Progress
from topsar.schedule.record import RunRecord, read_record
from topsar.schedule.rehearsal import Preview, preview_jobs
from topsar.schedule.run import run_jobs
from topsar.schedule.stale import Decision, plan_graph

__all__ = [
    "Budget",
    "Cleanup",
    "Decision",
    "Executor",
    "Holder",
    "Inspect",
    "LocalExecutor",
    "Policy",
    "Preview",
    "Progress",
    "Removable",
    "RunRecord",
    "Store",
    "find_holder",
    "find_removable",
    "hold_runs",
    "plan_graph",
    "preview_jobs",
    "read_all_artifacts",
    "read_artifacts",
    "read_journal",
    "read_record",
    "remove_all",
    "run_jobs",
]
