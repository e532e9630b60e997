"""Run chains of commands in parallel, within memory, and so that nothing that was finished is ever lost.

This room knows nothing of radar: it sees jobs, steps, artifacts and a function that validates a file. It can be read
alone, best in this order: `jobs`, `graph`, `lines`, `journal`, `evidence`, `watch`, `stale`, `forecast`, `admission`,
`capacity`, `machine`, `command`, `forking`, `executor`, `state`, `patience`, `loop`, `run`; then `rehearsal`,
`cleanup`, `events`, `record`, `progress`, `signals`, `lock` and `guard` in any.
"""
