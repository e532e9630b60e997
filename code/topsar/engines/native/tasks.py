"""What the native engine's steps need to know: written as ``job.json`` when a batch is planned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter

from topsar.errors import ProvisionError
from topsar.model import Burst, Dem, GeoGrid, Looks, Orbit, OrbitFile, OrbitSource, Scene
from topsar.sentinel1 import annotation_orbit, read_orbit

_MICROSECOND = 6  # decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class OrbitChoice:
    """The orbit of some slices of one pass: an orbit file, or their annotations where there is none."""

    file: OrbitFile | None
    scenes: tuple[Scene, ...]

    @property
    def source(self) -> OrbitSource:
        """How good it is."""
        return self.file.source if self.file else OrbitSource.ANNOTATION

    @property
    def name(self) -> str:
        """What the products say of it."""
        return self.file.path.name if self.file else f"annotation of {', '.join(scene.name for scene in self.scenes)}"

    @property
    def path(self) -> Path:
        """The orbit file, or the first slice."""
        return self.file.path if self.file else self.scenes[0].path

    @property
    def start(self) -> datetime:
        """When the first slice starts."""
        return min(scene.start for scene in self.scenes)

    @property
    def stop(self) -> datetime:
        """When the last slice stops."""
        return max(scene.stop for scene in self.scenes)

    def load(self, swath: str, polarisation: str) -> Orbit:
        """State vectors around the slices; of annotations those of all slices that have the swath."""
        if self.file:
            return read_orbit(self.file.path, self.start, self.stop)
        having = [scene for scene in self.scenes if swath in scene.swaths]
        return self._joined([annotation_orbit(scene, swath, polarisation) for scene in having])

    def _joined(self, orbits: list[Orbit]) -> Orbit:
        """State vectors of several annotations, each time once."""
        first = orbits[0]
        times = np.concatenate([orbit.times_s + (orbit.epoch - first.epoch).total_seconds() for orbit in orbits])
        times_s, index = np.unique(times.round(_MICROSECOND), return_index=True)
        return replace(
            first,
            name=self.name,
            times_s=times_s,
            positions_m=np.concatenate([orbit.positions_m for orbit in orbits])[index],
            velocities_m_s=np.concatenate([orbit.velocities_m_s for orbit in orbits])[index],
        )


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
    """One swath of one scene, to be geocoded."""

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
