"""What the checks look at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from topsar.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topsar.errors import SettingsError
    from topsar.schedule.forecast import Forecast
    from topsar.schedule.graph import NodeId


@dataclass(frozen=True, kw_only=True)
class Case(Batch):
    """A batch and its surroundings; ``broken`` says why its settings are the defaults."""

    broken: SettingsError | None = None
    env_file: Path | None = None

    @cached_property
    def place(self) -> Path:
        """The runs folder, or the nearest folder above it that is there."""
        return next(folder for folder in (self.runs, *self.runs.parents) if os.path.lexists(folder))

    @cached_property
    def forecasts(self) -> Mapping[NodeId, Forecast]:
        """What each step will take, by what was learned in the runs folder."""
        from topsar.schedule.forecast import Ledger

        ledger = Ledger(self.runs)
        return {(job.id, step.name): ledger.predict(step) for job in self.jobs for step in job.steps}
