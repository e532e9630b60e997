"""A burst and its part of the output grid: what steps that work burst by burst are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topsar.model import Burst, GeoGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstWindow:
    """A burst and the part of the output grid that it covers."""

    burst: Burst
    grid: GeoGrid

    @property
    def filename(self) -> str:
        """Name of the geocoded burst in the folder of its scene and swath."""
        return f"{self.burst.label}.npy"

    @property
    def measurement(self) -> Path:
        """The image that the burst is read from."""
        return Path(self.burst.measurement)
