"""One step of one job, in the process that the scheduler started for it.

Nothing is imported here that not every step needs: steps are short, and there are many.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from topsar.engines import load_engine

if TYPE_CHECKING:
    from pathlib import Path


def execute_step(job_file: Path, step: str) -> None:
    """Run one step of one job.

    Parameters
    ----------
    job_file : Path
        The job's ``job.json``, with ``run.json`` beside it.
    step : str
        The step's name.
    """
    folder = job_file.resolve().parent
    known = json.loads((folder / "run.json").read_text())
    engine = load_engine(known["engine"])
    if step == "products":
        from topsar.results import write_products

        write_products(folder, engine, known)
    else:
        engine.execute(folder, step)
