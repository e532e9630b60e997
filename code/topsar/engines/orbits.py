"""Which orbit a pass has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from topsar.model import Orbit, OrbitFile, OrbitSource, Scene

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
        """State vectors around the slices; of annotations those of all slices that have the swath.

        Parameters
        ----------
        swath, polarisation : str
            Whose annotation is read where there is no orbit file.
        """
        from topsar.sentinel1 import read_annotation_orbit, read_orbit

        if self.file:
            return read_orbit(self.file, self.start, self.stop)
        having = [scene for scene in self.scenes if swath in scene.swaths]
        orbits = [read_annotation_orbit(scene, swath, polarisation) for scene in having]
        first = orbits[0]  # several annotations share vectors: each time counts once
        times = np.concatenate([orbit.times_s + (orbit.epoch - first.epoch).total_seconds() for orbit in orbits])
        times_s, index = np.unique(times.round(_MICROSECOND), return_index=True)
        return replace(
            first,
            name=self.name,
            times_s=times_s,
            positions_m=np.concatenate([orbit.positions_m for orbit in orbits])[index],
            velocities_m_s=np.concatenate([orbit.velocities_m_s for orbit in orbits])[index],
        )
