"""System, memory, and the cluster if there is to be one."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from typing import TYPE_CHECKING

from topsar.doctor.finding import Grade, Said, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topsar.doctor.case import Case


def system(_case: Case) -> Iterator[Said]:
    """Whether this is Linux, and how many of its cores may be used."""
    from topsar.schedule.machine import count_cores

    said = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if platform.system() == "Linux":
        yield Said(Grade.OK, f"{said}, {count_cores()} of {counted(os.cpu_count() or 1, 'core')}")
    else:
        yield Said(Grade.PROBLEM, f"{said}: topsar needs Linux", "use Linux, or WSL2 on Windows")


def executor(case: Case) -> Iterator[Said]:
    """Whether the Dask cluster answers."""
    if case.settings.executor == "local":
        return
    from topsar.schedule.dask.link import SLURM, DaskLink

    scheduler = case.settings.dask_scheduler
    if not scheduler:
        remedy = "set it to tcp://HOST:PORT, tls://HOST:PORT or slurm"
        yield Said(Grade.PROBLEM, "EXECUTOR=dask, and DASK_SCHEDULER is not set", remedy)
    elif scheduler != SLURM:
        with contextlib.closing(DaskLink(scheduler, jobs=0)) as link:
            workers = counted(len(link.list_addresses()), "worker")
        yield Said(Grade.OK, f"the Dask scheduler at {scheduler} answers; it has {workers}")
    elif shutil.which("sbatch") is None:
        yield Said(Grade.PROBLEM, "DASK_SCHEDULER=slurm, and there is no sbatch here", "start where jobs are submitted")


def memory(case: Case) -> Iterator[Said]:
    """How much memory there is, and whether the largest step fits; on a cluster its workers decide that."""
    from topsar.schedule import LocalExecutor
    from topsar.wording import bytes_text

    with contextlib.closing(LocalExecutor()) as here:
        limit, free = here.limits().memory_bytes, here.capacity().memory_bytes
    yield Said(Grade.OK, f"{bytes_text(free)} of {bytes_text(limit)} available now")
    if case.settings.executor == "dask":
        return
    if case.settings.memory_gb != "auto":
        asked = int(case.settings.memory_gb * 1e9)
        if asked > limit:
            text = f"MEMORY_GB={case.settings.memory_gb:g} is more than the {bytes_text(limit)} that there are"
            yield Said(Grade.WARNING, text, "set MEMORY_GB=auto, or a smaller number")
        limit = min(limit, asked)
    if case.forecasts:
        yield _largest_step(case, limit, free)


def _largest_step(case: Case, limit: int, free: int) -> Said:
    from topsar.wording import bytes_text

    (job, step), forecast = max(case.forecasts.items(), key=lambda item: item[1].needs.memory_bytes)
    need = forecast.needs.memory_bytes
    said = f"the largest step, {step} of {job}, is predicted to use {bytes_text(need)}"
    smaller = "a smaller ROI, fewer SWATHS, a coarser POSTING"
    if need > limit and not forecast.learned_from:  # what has run here before is tried again
        return Said(Grade.PROBLEM, f"{said}, and {bytes_text(limit)} is all there can be", f"{smaller}, or more memory")
    if need > free:
        text = f"{said}, and only {bytes_text(free)} is available now"
        return Said(Grade.WARNING, text, f"end other programs, or {smaller}")
    return Said(Grade.OK, said)
