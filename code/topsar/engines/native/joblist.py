"""The jobs of a batch, as they are planned."""

from __future__ import annotations

from typing import Any

from topsar.engines.native.collect import COLLECT, CollectTask
from topsar.engines.native.steps import VERSION
from topsar.engines.step import StepKind, as_step, dump_tasks
from topsar.schedule.jobs import Job


class JobList:
    """The jobs of a batch and the texts of their tasks, in the order in which they are added."""

    def __init__(self, dem_density: float) -> None:
        self.jobs: dict[str, Job] = {}
        self.tasks: dict[str, str] = {}
        self._dem_density = dem_density

    def add(self, title: str, *steps: tuple[StepKind[Any], Any], pair: CollectTask | None = None) -> None:
        """Add a job, once."""
        name = steps[0][1].job
        if name in self.jobs:
            return
        made = [as_step(kind, task, key=f"native {VERSION}", dem_density=self._dem_density) for kind, task in steps]
        tasks = {step.name: task for step, (_, task) in zip(made, steps, strict=True)}
        self.tasks[name] = dump_tasks(tasks | ({COLLECT: pair} if pair else {}))
        shared = (pair.view,) if pair else ()
        self.jobs[name] = Job(id=name, title=title, steps=tuple(made), is_pair=pair is not None, shared=shared)
