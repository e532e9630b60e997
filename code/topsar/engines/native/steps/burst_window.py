"""A burst and its part of the output grid: what steps that work burst by burst are told."""

from __future__ import annotations

from dataclasses import dataclass

from topsar.model import Burst, GeoGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstWindow:
    """A burst, the part of the output grid that it covers, and the job that geocodes it."""

    burst: Burst
    grid: GeoGrid
    job: str

    @property
    def folder(self) -> str:
        """Where it is geocoded with its swath, relative to the runs folder."""
        return f"{self.job}/slc"

    @property
    def file(self) -> str:
        """The geocoded burst, relative to the runs folder."""
        return f"{self.folder}/{self.burst.label}.npy"
