"""What an engine is: pairs in, jobs out; one step at a time; an `Interferogram` at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topsar.engines.step import Cost
    from topsar.engines.survey import Survey
    from topsar.errors import TopsarError
    from topsar.interferogram import Interferogram
    from topsar.model import Dem
    from topsar.schedule.jobs import Job
    from topsar.settings import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a batch works on; ``aux_cal`` is a folder with calibration files, ``water_mask`` the user's raster.

    ``kept_stacks`` are the names of the folders of stacks in radar geometry that are there, the newest first.
    """

    survey: Survey
    dem: Dem
    aux_cal: Path | None = None
    water_mask: Path | None = None
    kept_stacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something about a pair that one should know before it is run, and what can be done about it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a pair will be made from.

    ``bursts`` counts those that both dates have and that are processed; ``covered`` is the share of the region of
    interest that these show, None without one; ``orbits`` is the kind of orbit of each date.
    """

    days: int
    bursts: int
    reference_bursts: int
    secondary_bursts: int
    covered: float | None
    orbits: tuple[str, str]
    ipf: tuple[str, ...]
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Jobs to run, oldest first; the tasks their steps read, by job id; and pairs that cannot be run.

    ``outlooks`` says, by the id of each pair that can be run, what it will be made from.
    """

    jobs: tuple[Job, ...]
    tasks: Mapping[str, str]
    refused: Mapping[str, TopsarError]
    outlooks: Mapping[str, Outlook] = field(default_factory=dict)


class Engine(Protocol):
    """A processor of pairs."""

    name: str
    version: str
    wants_aux_cal: bool
    """Whether it makes use of the calibration files that products of the first processor need."""
    whole_bursts: bool
    """Whether the DEM must cover whole bursts, beyond the region of interest."""

    collect_cost: Cost
    """What `collect` takes, by pixels of the grid of the pair."""

    def plan(self, inputs: Inputs, options: Options) -> Plan:
        """Turn pairs into jobs; each step runs as `topsar.engines.step.step_argv` says.

        Parameters
        ----------
        inputs : Inputs
        options : Options
            Those of the survey.

        Raises
        ------
        TopsarError
            If no pair could be run with these options; what is wrong with one pair is in the plan.
        """
        ...

    def execute(self, folder: Path, step: str) -> None:
        """Run one step.

        Parameters
        ----------
        folder : Path
            Of the job: its ``job.json`` lies there.
        step : str

        Raises
        ------
        TopsarError
            If the job has no such step, or the step fails.
        """
        ...

    def collect(self, folder: Path) -> Interferogram:
        """Gather the results of a pair's job."""
        ...
