"""What an engine is: pairs in, jobs out; one step at a time; an `Interferogram` at the end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topsar.errors import TopsarError
    from topsar.model import Dem, Interferogram, Job, OrbitFile, Pair
    from topsar.settings import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a batch works on.

    ``orbits`` maps a scene's name to its orbit file, or to None where only the annotation's vectors are at hand.
    """

    pairs: tuple[Pair, ...]
    orbits: Mapping[str, OrbitFile | None]
    dem: Dem


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Jobs to run, oldest first; the tasks their steps read, by job id; and pairs that cannot be run."""

    jobs: tuple[Job, ...]
    tasks: Mapping[str, str]
    refused: Mapping[str, TopsarError]


def step_argv(step: str) -> tuple[str, ...]:
    """The command of a step; steps run in their job's folder."""
    return sys.executable, "-m", "topsar", "step", "job.json", step


class Engine(Protocol):
    """A processor of pairs."""

    name: str
    version: str

    def plan(self, inputs: Inputs, options: Options) -> Plan:
        """Turn pairs into jobs; each step runs as `step_argv` says."""
        ...

    def execute(self, folder: Path, step: str) -> None:
        """Run one step of the job whose ``job.json`` lies in ``folder``."""
        ...

    def collect(self, folder: Path) -> Interferogram:
        """Gather the results of a pair's job."""
        ...
