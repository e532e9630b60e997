"""A stack in radar geometry on the disk: where its files lie, what is known of it, and how it is read.

The tree is that of ISCE2's topsStack, and what reads that reads this. Besides it holds ``stack.json`` and a ``.json``
with each date's SLC, which `open_radar_stack` reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from topsar.engines.passes import PassFacts
from topsar.errors import ProductError
from topsar.files import read_json
from topsar.model import Looks, RadarGrid
from topsar.raster.isce_image import IsceReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from topsar.model import Window

T = TypeVar("T")

STACKS = "radar_stack"
"""Folder of the stacks, in the runs folder."""
GEOMETRY = "merged/geom_reference"
FACTS = "stack.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFacts:
    """A stack: its name (track and polarisation), its reference date, and the grid of that date that all others have.

    ``bursts`` are those of the reference that all dates have; bandwidths are means of theirs.
    """

    name: str
    reference: str
    track: int
    direction: str
    polarisation: str
    wavelength_m: float
    range_bandwidth_hz: float
    azimuth_bandwidth_hz: float
    grid: RadarGrid
    swaths: tuple[str, ...]
    bursts: tuple[str, ...]

    @property
    def root(self) -> str:
        """The folder of the tree, relative to the runs folder."""
        return f"{STACKS}/{self.name}_{self.reference}"

    def layer(self, name: str) -> str:
        """An image of heights, places or angles, by its file's name."""
        return f"{self.root}/{GEOMETRY}/{name}"

    @property
    def reference_folder(self) -> str:
        """What MintPy reads of the radar."""
        return f"{self.root}/reference"

    @property
    def facts_file(self) -> str:
        """These facts."""
        return f"{self.root}/{FACTS}"

    def slc(self, date: str) -> str:
        """The folder of a date's SLC."""
        return f"{self.root}/merged/SLC/{date}"

    def baseline_grid(self, date: str) -> str:
        """The folder of a date's baselines on a coarse grid."""
        return f"{self.root}/merged/baselines/{date}"

    def baseline(self, date: str) -> str:
        """The folder of a date's mean baseline."""
        return f"{self.root}/baselines/{self.reference}_{date}"

    def interferogram(self, first: str, second: str) -> str:
        """The folder of an interferogram.

        Parameters
        ----------
        first, second : str
            Dates of reference and secondary.
        """
        return f"{self.root}/merged/interferograms/{first}_{second}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What ``stack.json`` holds."""

    stack: StackFacts
    looks: Looks


@dataclass(frozen=True, slots=True, kw_only=True)
class DateFacts:
    """A coregistered date; baselines are to the reference date, at the middle of the grid.

    ``azimuth_shift_pixels`` is what was corrected of its azimuth timing against the reference, from what
    ``azimuth_shift_source`` says; ``range_delay_pixels`` of its range delay.
    """

    date: str
    scenes: tuple[str, ...]
    orbit: str
    azimuth_shift_pixels: float
    azimuth_shift_source: str
    range_delay_pixels: float
    perpendicular_baseline_m: float
    parallel_baseline_m: float
    flight: PassFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarStack:
    """A stack that was opened; images are read where they are asked for.

    ``looks`` are samples (``east``) and lines (``north``) of a pixel of its multilooked images.
    """

    folder: Path
    facts: StackFacts
    looks: Looks
    dates: tuple[DateFacts, ...]

    def read_slc(self, date: str, window: Window | None = None) -> NDArray[np.complex64]:
        """Read a date's SLC, flattened against the reference; zero where there is no signal.

        Parameters
        ----------
        date : str
        window : Window, optional
            Of the grid.
        """
        return self._read(self.folder / "merged" / "SLC" / date / f"{date}.slc.full", window)[:, 0]

    def read_layer(self, name: str, window: Window | None = None) -> NDArray[Any]:
        """Read an image of ``geom_reference``, (rows, bands, columns).

        Parameters
        ----------
        name : str
            ``lat``, ``lon`` (degrees), ``hgt`` (m), ``los`` (incidence; direction to the satellite, degrees
            anticlockwise from north), ``incLocal`` or ``shadowMask``.
        window : Window, optional
            Of the grid.
        """
        return self._read(self.folder / GEOMETRY / f"{name}.rdr.full", window)

    def _read(self, path: Path, window: Window | None) -> NDArray[Any]:
        reader, grid = IsceReader(path), self.facts.grid
        header = reader.header
        if (header.length, header.width) != grid.shape:
            msg = f"{path} has {header.length} lines of {header.width} pixels, the stack {grid.lines} of {grid.samples}"
            raise ProductError(msg, hint="it is of another run: remove its folder and run again")
        return reader.read(window)


def open_radar_stack(folder: Path) -> RadarStack:
    """Open the stack in a folder such as ``runs/radar_stack/T131_VV_20250315``.

    Raises
    ------
    ProductError
        If it is none, or a date in it is of another grid.
    """
    known = read_written(folder / FACTS)
    dates = [_validate(path, DateFacts) for path in sorted(folder.glob("merged/SLC/*/*.json"))]
    return RadarStack(folder=folder, facts=known.stack, looks=known.looks, dates=tuple(dates))


def place_stack(runs: Path, job: str) -> Path:
    """Say where the stack lies whose ground a job makes, by the job's name.

    Parameters
    ----------
    runs : Path
        The runs folder.
    job : str
        Such as ``radar_stack_T131_VV_20250315``.
    """
    return runs / STACKS / job.removeprefix(f"{STACKS}_")


def list_kept_stacks(runs: Path) -> tuple[str, ...]:
    """Names of the folders of the stacks in the runs folder, the newest first."""
    found = sorted(runs.glob(f"{STACKS}/*/{FACTS}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return tuple(path.parent.name for path in found)


def read_written(path: Path) -> Written:
    """Read ``stack.json``."""
    return _validate(path, Written)


def _validate(path: Path, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as exc:
        msg = f"{path} cannot be read: {exc}"
        raise ProductError(msg, hint="run again: what earlier versions wrote lacks it") from exc
