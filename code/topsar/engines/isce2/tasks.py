"""A pair as topsApp's steps take it: written as ``job.json`` when a batch is planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from topsar.engines.backscatter import Backscatter
from topsar.engines.facts import PairFacts
from topsar.engines.isce2.installation import Installation
from topsar.engines.orbits import OrbitChoice
from topsar.engines.survey import Matched
from topsar.model import BBox, Dem, GeoGrid, Looks, RadarGrid

VERSION = "8"
"""Enters every checkpoint key: raised when the same input would give other numbers."""
RUN = "topsapp"
"""Folder of a job in which topsApp runs."""
BEAM_SPEED_M_S = 6880.0
"""Of the beam on the ground, where a few per cent decide nothing."""


def describe_version(installation: Installation) -> str:
    """Version of this engine together with that of ISCE2."""
    return f"{VERSION} ISCE2 {installation.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopsAppTask:
    """One pair for topsApp, with options as in the settings.

    Attributes
    ----------
    bursts : tuple of Matched
        The bursts that both dates have in the region of interest.
    dem_box : BBox
        Degrees; the ground for which topsApp needs heights.
    grid : GeoGrid
        Of the products.
    looks : Looks
        Of the merged image, range by azimuth.
    esd_full : bool
        Correct all of the misregistration that spectral diversity finds.
    aux_cal : Path, optional
        Folder with calibration files, where a date needs one.
    backscatter, uncalibrated : str
        Which backscatter is found, ``none`` without; and why not the wanted one, empty where it is.
    """

    installation: Installation
    facts: PairFacts
    bursts: tuple[Matched, ...]
    reference_orbit: OrbitChoice
    secondary_orbit: OrbitChoice
    dem: Dem
    dem_box: BBox
    grid: GeoGrid
    looks: Looks
    roi: BBox | None
    esd: str | float
    esd_full: bool
    esd_coherence: float
    filter_strength: float
    unwrapper: Literal["snaphu", "whirlwind", "none"]
    ionosphere: bool
    gpu: bool
    aux_cal: Path | None
    water_mask: Path | None
    backscatter: Backscatter
    uncalibrated: str

    @property
    def swaths(self) -> tuple[int, ...]:
        """Numbers of the swaths to process, ascending."""
        return tuple(sorted({int(both.reference.swath[2:]) for both in self.bursts}))

    @property
    def merged(self) -> RadarGrid:
        """Sampling of the merged image."""
        return self.merge("reference")

    def merge(self, date: Literal["reference", "secondary"]) -> RadarGrid:
        """Sampling of the looks of a date: it spans all bursts, and drops what is less than a pixel of looks."""
        grids, looks = [getattr(both, date).grid for both in self.bursts], self.looks
        interval, spacing = self.line_interval_s, grids[0].range_spacing_m
        first, near = min(grid.first_line_time for grid in grids), min(grid.near_range_m for grid in grids)
        lines = round((max(grid.stop_time for grid in grids) - first).total_seconds() / interval) + 1
        samples = round((max(grid.far_range_m for grid in grids) - near) / spacing) + 1
        return RadarGrid(
            first_line_time=first + timedelta(seconds=(looks.north - 1) / 2 * interval),
            line_interval_s=looks.north * interval,
            near_range_m=near + (looks.east - 1) / 2 * spacing,
            range_spacing_m=looks.east * spacing,
            lines=lines // looks.north,
            samples=samples // looks.east,
        )

    @property
    def polarisation(self) -> str:
        """Of both dates."""
        return self.facts.polarisation

    @property
    def estimates_esd(self) -> bool:
        """Whether topsApp estimates misregistration: it stops where no swath has two bursts."""
        names = [both.reference.swath for both in self.bursts]
        return self.esd == "auto" and len(names) > len(set(names))

    @property
    def calibrated(self) -> bool:
        """Whether topsApp gets calibration files."""
        return self.aux_cal is not None

    @property
    def line_interval_s(self) -> float:
        """Azimuth time between two lines."""
        return self.bursts[0].reference.grid.line_interval_s
