"""Run chains of commands in parallel, within memory, and so that nothing that was finished is ever lost.

This room knows nothing of radar: it sees jobs, steps, artifacts and a function that validates a file. It can be read
alone, best in this order:

`graph`      what depends on what, and the checkpoint key of each step
`journal`    what is remembered, and how it survives a crash
`evidence`   what proves that a step is done
`plan`       what has to run
`forecast`   what each step will take, by the table and by experience
`admission`  which steps start now
`supply`     the numbers that admission weighs
`memory`     what the machine gives
`command`    one subprocess, from start to end
`executor`   where commands run: here, or (`dask_executor`) on the workers of a cluster
`board`      the state of all steps
`scheduler`  the loop that ties these together
`rehearsal`  the same loop without processes: how long it will take
`removal`    how files go away
`chronicle`  who is told what happened
`record`     the newest run as anybody can read it
`progress`   bars and lines for whoever watches
`lock`       one scheduler per folder
`guard`      no process left behind
"""

from topsar.schedule.admission import Budget
from topsar.schedule.evidence import Inspect
from topsar.schedule.executor import Executor, LocalExecutor
from topsar.schedule.journal import read_journal
from topsar.schedule.lock import Holder, find_holder, hold_runs
from topsar.schedule.plan import Decision, plan_jobs
from topsar.schedule.progress import Progress
from topsar.schedule.record import RunRecord, read_record
from topsar.schedule.scheduler import Cleanup, run_jobs

__all__ = [
    "Budget",
    "Cleanup",
    "Decision",
    "Executor",
    "Holder",
    "Inspect",
    "LocalExecutor",
    "Progress",
    "RunRecord",
    "find_holder",
    "hold_runs",
    "plan_jobs",
    "read_journal",
    "read_record",
    "run_jobs",
]
