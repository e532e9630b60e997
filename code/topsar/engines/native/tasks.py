"""What the native engine's steps need to know: written as ``job.json`` when a batch is planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from topsar.engines.facts import PairFacts
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import dump_job, load_job
from topsar.model import Burst, Dem, GeoGrid, Looks

VERSION = "3"
"""Enters every checkpoint key: raised when the same input would give other numbers."""
STACKS = "slc_stack"
"""Folder of the stacks, in the runs folder."""
LEAST_DATES = 3
"""Of two amplitudes deviation over mean is their ratio in other words; from three on it says how steady a pixel is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstWindow:
    """A burst and the part of the output grid that it covers."""

    burst: Burst
    grid: GeoGrid

    @property
    def filename(self) -> str:
        """Name of the geocoded burst in the folder of its scene and swath."""
        return f"{self.burst.label}.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeocodeTask:
    """One swath of one scene, to be geocoded.

    ``delay`` is the folder with its range delay, relative to the runs folder; empty where none is looked for.
    """

    kind: Literal["geocode"] = "geocode"
    windows: tuple[BurstWindow, ...]
    looks: Looks
    orbit: OrbitChoice
    dem: Dem
    delay: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstPair:
    """The same burst on both dates; files are relative to the runs folder."""

    reference: BurstWindow
    secondary: BurstWindow
    reference_file: str
    secondary_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTask:
    """One pair, to be multiplied, filtered and unwrapped.

    ``view`` is the folder that says how the ground is seen, ``network`` that of the network's solution, empty unless
    ESD=network, ``delays`` those with the range delays of its scenes: all relative to the runs folder.
    ``water_mask`` is the user's raster, if any.
    """

    kind: Literal["pair"] = "pair"
    facts: PairFacts
    grid: GeoGrid
    looks: Looks
    bursts: tuple[BurstPair, ...]
    reference_orbit: OrbitChoice
    secondary_orbit: OrbitChoice
    dem: Dem
    esd: Literal["auto", "network", "off"] | float
    view: str
    network: str
    delays: tuple[str, ...]
    filter_strength: float
    unwrapper: Literal["snaphu", "whirlwind", "none"]
    water_mask: Path | None

    @property
    def swaths(self) -> tuple[str, ...]:
        """Names of the swaths, from the nearest to the farthest."""
        return tuple(sorted({pair.reference.burst.swath for pair in self.bursts}))

    def bursts_of(self, swath: str) -> tuple[BurstPair, ...]:
        """The burst pairs of one swath."""
        return tuple(pair for pair in self.bursts if pair.reference.burst.swath == swath)


MULTIPLY = "multiply_"
"""How the names of the steps that multiply a swath begin; the swath follows."""


def multiplied(pair: str, swath: str) -> str:
    """The folder that a pair's multiplied swath lies in, relative to the runs folder."""
    return f"{pair}/{MULTIPLY}{swath}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewTask:
    """An output grid, and the reference pass of some pairs, from which its ground is to be looked at."""

    kind: Literal["view"] = "view"
    grid: GeoGrid
    orbit: OrbitChoice
    polarisation: str
    dem: Dem


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPair:
    """A pair in the network, and the names of its two passes."""

    pair: str
    reference: str
    secondary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTask:
    """Pairs that share passes, directly or through other pairs: one azimuth timing per pass is to be found."""

    kind: Literal["network"] = "network"
    pairs: tuple[NetworkPair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayTask:
    """One scene, whose range delay against the earliest date is to be found on some bursts of both."""

    kind: Literal["delay"] = "delay"
    bursts: tuple[tuple[BurstWindow, BurstWindow], ...]
    reference_orbit: OrbitChoice
    orbit: OrbitChoice
    dem: Dem


@dataclass(frozen=True, slots=True, kw_only=True)
class StackBurst:
    """A geocoded burst of a stack, and the burst of the earliest date, whose edges decide where it is used."""

    window: BurstWindow
    file: str
    seam: Burst
    seam_orbit: OrbitChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class SlcTask:
    """One date of a stack, to be written as one geocoded SLC."""

    kind: Literal["slc"] = "slc"
    stack: str
    date: str
    track: int
    direction: str
    scenes: tuple[str, ...]
    grid: GeoGrid
    looks: Looks
    bursts: tuple[StackBurst, ...]
    orbit: OrbitChoice
    dem: Dem

    @property
    def file(self) -> str:
        """Where it is written, relative to the runs folder."""
        return f"{STACKS}/{self.stack}/{self.date}.tif"


@dataclass(frozen=True, slots=True, kw_only=True)
class DispersionTask:
    """The dates of a stack, whose amplitude dispersion is to be written; ``files`` are relative to the runs folder."""

    kind: Literal["dispersion"] = "dispersion"
    stack: str
    files: tuple[str, ...]
    grid: GeoGrid
    looks: Looks

    @property
    def file(self) -> str:
        """Where it is written, relative to the runs folder."""
        return f"{STACKS}/{self.stack}/amplitude_dispersion.tif"


Task = GeocodeTask | PairTask | ViewTask | NetworkTask | DelayTask | SlcTask | DispersionTask
_TASK: TypeAdapter[Task] = TypeAdapter(Task)


def dump_task(task: Task) -> str:
    """A task as JSON."""
    return dump_job(_TASK, task)


def load_task(folder: Path) -> Task:
    """The task of the job in ``folder``."""
    return load_job(_TASK, folder)
