"""Run chains of commands in parallel, within memory, and so that nothing that was finished is ever lost.

This room knows nothing of radar: it sees jobs, steps, artifacts and a function that validates a file. It can be read
alone, best in this order: `jobs`, `graph`, `journal`, `evidence`, `stale`, `forecast`, `admission`, `capacity`,
`machine`, `command`, `executor`, `state`, `loop`, `run`; then `rehearsal`, `cleanup`, `events`, `record`, `progress`,
`lock` and `guard` in any.
"""

from topsar.schedule.cleanup import (
    Removable,
    find_removable,
    read_all_artifacts,
    read_artifacts,
    remove_all,
)
from topsar.schedule.evidence import Store
from topsar.schedule.executor import Executor, LocalExecutor
from topsar.schedule.jobs import Budget, Policy
from topsar.schedule.journal import read_journal
from topsar.schedule.lock import Holder, find_holder, hold_runs
from topsar.schedule.progress import Progress
from topsar.schedule.record import RunRecord, read_record
from topsar.schedule.rehearsal import Preview, preview_jobs
from topsar.schedule.run import run_jobs
from topsar.schedule.stale import plan_graph

__all__ = [
    "Budget",
    "Executor",
    "Holder",
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
