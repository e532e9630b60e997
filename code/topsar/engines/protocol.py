"""What an engine is: pairs in, jobs out; one step at a time; an `Interferogram` at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from topsar.errors import TopsarError
    from topsar.interferogram import Interferogram
    from topsar.model import BBox, Dem, OrbitFile, Pair
    from topsar.schedule.jobs import Job
    from topsar.settings import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a batch works on.

    ``orbits`` maps a scene's name to its orbit file, or to None where only the annotation's vectors are at hand;
    ``aux_cal`` is the folder with calibration files, where an engine that wants them needs one; ``water_mask`` is the
    user's raster of water.
    """

    pairs: tuple[Pair, ...]
    orbits: Mapping[str, OrbitFile | None]
    dem: Dem
    aux_cal: Path | None = None
    water_mask: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something about a pair that one should know before it is run, and what can be done about it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a pair will be made from.

    Attributes
    ----------
    days : int
        From reference to secondary.
    bursts, reference_bursts, secondary_bursts : int
        Bursts that both dates have and that are processed; those that each date has.
    covered : float, optional
        Share of the region of interest that these bursts show; None without one.
    orbits, ipf : tuple of str
        Kind of orbit of each date; versions of the processor.
    remarks : tuple of Remark
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

    def footprint(self, pairs: Sequence[Pair], orbits: Mapping[str, OrbitFile | None], options: Options) -> BBox:
        """The box that a DEM for these pairs must cover; an error where no pair can be run."""
        ...

    def plan(self, inputs: Inputs, options: Options) -> Plan:
        """Turn pairs into jobs; each step runs as `topsar.engines.step.step_argv` says."""
        ...

    def execute(self, folder: Path, step: str) -> None:
        """Run one step of the job whose ``job.json`` lies in ``folder``."""
        ...

    def collect(self, folder: Path) -> Interferogram:
        """Gather the results of a pair's job."""
        ...
