"""Run chains of commands in parallel, within memory, and so that nothing that was finished is ever lost.

This room knows nothing of radar: it sees jobs, steps, artifacts and a function that validates a file. It can be read
alone, best in this order:

`graph`      what depends on what, and the checkpoint key of each step
`journal`    what is remembered, and how it survives a crash
`evidence`   what proves that a step is done; how its files are removed
`plan`       what has to run
`admission`  what of it starts now
`command`    one subprocess, from start to end
`executor`   where commands run
`board`      the state of all steps
`scheduler`  the loop that ties these together
`lock`       one scheduler per folder
`guard`      no process left behind
`memory`     what the machine gives
`progress`   bars and lines for whoever watches
`record`     the newest run as anybody can read it
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
