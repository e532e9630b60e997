"""One step of one job, in the process that the scheduler started for it.

Nothing is imported here that not every step needs: steps are short, and there are many.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from topsar.files import read_json

if TYPE_CHECKING:
    from pathlib import Path


def execute_step(job_file: Path, step: str) -> None:
    """Run one step of one job.

    Parameters
    ----------
    job_file : Path
        ``job.json`` of the job; ``run.json`` lies beside it.
    step : str
    """
    obey_thread_caps()
    folder = job_file.parent.resolve()
    if step.startswith("format_"):
        from topsar.formats.step import run_format

        run_format(folder, step)
    elif step.startswith("correction_"):
        from topsar.corrections.step import run_correction

        run_correction(folder, step)
    else:
        from topsar.engines import load_engine

        load_engine(read_json(folder / "run.json", engine=str)["engine"]).execute(folder, step)


def obey_thread_caps() -> None:
    """Let Numba, which is loaded already in a process that was forked, start as many threads as its variable says."""
    if "numba" in sys.modules:
        config, parallel = (import_module(f"numba.{name}") for name in ("core.config", "np.ufunc.parallel"))
        config.reload_config()
        vars(parallel)["NUM_THREADS"] = config.NUMBA_NUM_THREADS
