"""What the native engine's steps need to know: written as ``job.json`` when a batch is planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from topsar.errors import ProvisionError
from topsar.model import Burst, Dem, GeoGrid, Looks, Orbit, OrbitSource, Scene
from topsar.sentinel1 import annotation_orbit, read_orbit


@dataclass(frozen=True, slots=True, kw_only=True)
class OrbitChoice:
    """The orbit of one pass: an orbit file, or the annotation of a scene where there is none."""

    source: OrbitSource
    name: str
    path: Path
    start: datetime
    stop: datetime
    scene: Scene

    def load(self, swath: str, polarisation: str) -> Orbit:
        """State vectors around the pass."""
        if self.source is OrbitSource.ANNOTATION:
            return annotation_orbit(self.scene, swath, polarisation)
        return read_orbit(self.path, self.start, self.stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstWindow:
    """A burst and the part of the output grid that it covers."""

    burst: Burst
    grid: GeoGrid

    @property
    def filename(self) -> str:
        """Name of the geocoded burst; slices of one pass may number their bursts alike, times are unique."""
        return f"{self.burst.label}_{self.burst.grid.first_line_time:%H%M%S}.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeocodeTask:
    """One swath of one pass, to be geocoded."""

    kind: Literal["geocode"] = "geocode"
    windows: tuple[BurstWindow, ...]
    looks: Looks
    orbit: OrbitChoice
    dem: Dem


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstPair:
    """The same burst on both dates; files are relative to the runs folder."""

    reference: BurstWindow
    secondary: BurstWindow
    reference_file: str
    secondary_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """What the products say about a pair besides what its steps measure."""

    pair: str
    track: int
    direction: str
    reference_date: datetime
    secondary_date: datetime
    reference_scenes: tuple[str, ...]
    secondary_scenes: tuple[str, ...]
    ipf: tuple[str, ...]
    polarisation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTask:
    """One pair, to be interfered, filtered and unwrapped."""

    kind: Literal["pair"] = "pair"
    facts: PairFacts
    grid: GeoGrid
    looks: Looks
    bursts: tuple[BurstPair, ...]
    reference_orbit: OrbitChoice
    secondary_orbit: OrbitChoice
    dem: Dem
    esd: Literal["auto", "off"] | float
    filter_strength: float
    unwrapper: Literal["snaphu", "whirlwind", "none"]


Task = GeocodeTask | PairTask
_TASK: TypeAdapter[Task] = TypeAdapter(Task)


def dump_task(task: Task) -> str:
    """A task as JSON."""
    return _TASK.dump_json(task, indent=1).decode()


def load_task(folder: Path) -> Task:
    """The task of the job in ``folder``."""
    try:
        return _TASK.validate_json((folder / "job.json").read_bytes())
    except (OSError, ValueError) as exc:
        msg = f"{folder / 'job.json'} cannot be read: {exc}"
        raise ProvisionError(msg, hint="start the run again: it writes the file anew") from exc
