"""What topsApp's steps need to know: written as ``job.json`` when a batch is planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from topsar.engines.facts import PairFacts
from topsar.engines.isce2.installation import Installation
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import dump_job, load_job
from topsar.engines.survey import Matched
from topsar.model import BBox, Dem, GeoGrid, Looks

RUN = "topsapp"
"""Folder of a job in which topsApp runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopsAppTask:
    """One pair for topsApp.

    Attributes
    ----------
    installation : Installation
    facts : PairFacts
    bursts : tuple of Matched
        The bursts that both dates have in the region of interest.
    reference_orbit, secondary_orbit : OrbitChoice
    dem : Dem
    dem_box : BBox
        Degrees; the ground that topsApp looks up heights for.
    grid : GeoGrid
        Of the products.
    geocoding : GeoGrid
        In degrees: the grid on which topsApp geocodes, the products' own where that is in degrees.
    looks : Looks
        Range by azimuth.
    roi : BBox, optional
    esd, filter_strength, unwrapper, ionosphere, gpu
        As set.
    esd_full : bool
        Correct all of the misregistration that spectral diversity finds.
    esd_coherence : float
        Overlaps below it do not vote.
    aux_cal : Path, optional
        Folder with calibration files, where a date needs one.
    water_mask : Path, optional
        The user's raster.
    """

    installation: Installation
    facts: PairFacts
    bursts: tuple[Matched, ...]
    reference_orbit: OrbitChoice
    secondary_orbit: OrbitChoice
    dem: Dem
    dem_box: BBox
    grid: GeoGrid
    geocoding: GeoGrid
    looks: Looks
    roi: BBox | None
    esd: Literal["auto", "off"] | float
    esd_full: bool
    esd_coherence: float
    filter_strength: float
    unwrapper: Literal["snaphu", "none"]
    ionosphere: bool
    gpu: bool
    aux_cal: Path | None
    water_mask: Path | None

    @property
    def swaths(self) -> tuple[int, ...]:
        """Numbers of the swaths to process, ascending."""
        return tuple(sorted({int(both.reference.swath[2:]) for both in self.bursts}))

    @property
    def diverse(self) -> bool:
        """Whether topsApp can see misregistration: it stops where no swath has two bursts."""
        names = [both.reference.swath for both in self.bursts]
        return self.esd == "auto" and len(names) > len(set(names))

    @property
    def calibrated(self) -> bool:
        """Whether calibration files are handed over."""
        return self.aux_cal is not None

    @property
    def line_interval_s(self) -> float:
        """Azimuth time between two lines."""
        return self.bursts[0].reference.grid.line_interval_s


_TASK: TypeAdapter[TopsAppTask] = TypeAdapter(TopsAppTask)


def dump_task(task: TopsAppTask) -> str:
    """A task as JSON."""
    return dump_job(_TASK, task)


def load_task(folder: Path) -> TopsAppTask:
    """The task of the job in ``folder``."""
    return load_job(_TASK, folder)
