"""The nouns of the project: every dataclass and enum that crosses a room.

Conventions, stated once
------------------------
- Times are timezone-aware UTC; azimuth time and slant range are zero-Doppler, slant range is one-way metres.
- Units stand in the names: ``_s _m _rad _hz _deg _bytes``.
- Arrays are ``(line, sample)`` in radar geometry and ``(row, column)`` on the ground.
- Windows are half-open. Boxes are west, south, east, north.
- Heights are metres above the WGS84 ellipsoid.
- Interferogram = reference · conj(secondary): unwrapped phase > 0 means that the range grew from reference to
  secondary. Displacement is positive toward the satellite: d = -λ/(4π)·φ.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPEED_OF_LIGHT = 299_792_458.0
"""Speed of light in vacuum, m/s."""
PRODUCT_NAME = re.compile(
    r"(?P<mission>S1[ABCD])_IW_SLC__1S[SD](?P<transmit>[VH])_(?P<start>20\d{6}T\d{6})_(?P<stop>20\d{6}T\d{6})"
    r"_(?P<orbit>\d{6})_(?P<datatake>[0-9A-F]{6})_[0-9A-F]{4}",
    re.ASCII,
)
"""Name of an IW SLC product."""
POLARISATIONS = ("VV", "HH", "VH", "HV")
CROSSED = ("VH", "HV")
"""Those of other waves than are sent."""
UNCALIBRATED_IPF = "002.36"
"""The processor whose products lack a correction of the antenna's phase, which differs between swaths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BBox:
    """A box in degrees or map units; west < east and south < north."""

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        if not (self.west < self.east and self.south < self.north):
            msg = f"empty box: west {self.west}, south {self.south}, east {self.east}, north {self.north}"
            raise ValueError(msg)

    @property
    def centre(self) -> tuple[float, float]:
        """Centre as (x, y)."""
        return (self.west + self.east) / 2, (self.south + self.north) / 2

    def intersects(self, other: BBox) -> bool:
        """Whether the two boxes share area."""
        return self.intersection(other) is not None

    def contains(self, other: BBox) -> bool:
        """Whether ``other`` lies wholly inside."""
        return self.union(other) == self

    def union(self, other: BBox) -> BBox:
        """The smallest box around both."""
        west, south = min(self.west, other.west), min(self.south, other.south)
        east, north = max(self.east, other.east), max(self.north, other.north)
        return BBox(west=west, south=south, east=east, north=north)

    def round_out(self, step: float) -> BBox:
        """The smallest box around this one whose edges are whole multiples of ``step``."""
        west, south = (math.floor(edge / step) * step for edge in (self.west, self.south))
        east, north = (math.ceil(edge / step) * step for edge in (self.east, self.north))
        return BBox(west=west, south=south, east=east, north=north)

    def intersection(self, other: BBox) -> BBox | None:
        """The shared box, or None."""
        west, south = max(self.west, other.west), max(self.south, other.south)
        east, north = min(self.east, other.east), min(self.north, other.north)
        return BBox(west=west, south=south, east=east, north=north) if west < east and south < north else None

    def grow(self, margin: float) -> BBox:
        """The box with ``margin`` added on every side."""
        return BBox(
            west=self.west - margin, south=self.south - margin, east=self.east + margin, north=self.north + margin
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open window into an array: ``[row, row + rows)`` by ``[column, column + columns)``."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def row_stop(self) -> int:
        """First row after the window."""
        return self.row + self.rows

    @property
    def column_stop(self) -> int:
        """First column after the window."""
        return self.column + self.columns

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the window into a (row, column) array."""
        return slice(self.row, self.row_stop), slice(self.column, self.column_stop)

    @property
    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First row and the one after the last, and columns likewise, as rasterio's datasets take them."""
        return (self.row, self.row_stop), (self.column, self.column_stop)

    def intersection(self, other: Window) -> Window | None:
        """The shared window, or None."""
        row, column = max(self.row, other.row), max(self.column, other.column)
        rows = min(self.row_stop, other.row_stop) - row
        columns = min(self.column_stop, other.column_stop) - column
        return Window(row=row, column=column, rows=rows, columns=columns) if rows > 0 and columns > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoGrid:
    """A map grid of area pixels, snapped so that every edge is a whole multiple of the posting.

    ``west`` and ``north`` are the outer edges of the first pixel, ``dx`` and ``dy`` are positive.
    """

    crs: str
    west: float
    north: float
    dx: float
    dy: float
    rows: int
    columns: int

    @classmethod
    def cover(cls, box: BBox, *, crs: str, dx: float, dy: float) -> GeoGrid:
        """Make the smallest snapped grid that covers a box.

        Parameters
        ----------
        box : BBox
            In units of ``crs``.
        crs : str
            Coordinate system, as pyproj reads it.
        dx, dy : float
            Posting, in units of ``crs``.
        """
        first_column, first_row = math.floor(box.west / dx), math.floor(-box.north / dy)
        columns = math.ceil(box.east / dx) - first_column
        rows = math.ceil(-box.south / dy) - first_row
        return cls(crs=crs, west=first_column * dx, north=-first_row * dy, dx=dx, dy=dy, rows=rows, columns=columns)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def bbox(self) -> BBox:
        """Outer edges, in units of ``crs``."""
        east, south = self.west + self.columns * self.dx, self.north - self.rows * self.dy
        return BBox(west=self.west, south=south, east=east, north=self.north)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients a, b, c, d, e, f as rasterio's ``Affine`` takes them."""
        return self.dx, 0.0, self.west, 0.0, -self.dy, self.north

    @property
    def whole(self) -> Window:
        """The window of all pixels."""
        return Window(row=0, column=0, rows=self.rows, columns=self.columns)

    def window_of(self, other: GeoGrid) -> Window:
        """Where ``other``, a grid of the same posting, lies in this one (it may stick out)."""
        row, column = round((self.north - other.north) / self.dy), round((other.west - self.west) / self.dx)
        return Window(row=row, column=column, rows=other.rows, columns=other.columns)

    def find_shared(self, other: GeoGrid) -> Window | None:
        """Find the window of this grid that ``other``, of the same posting, covers; None where they do not meet."""
        return self.window_of(other).intersection(self.whole)

    def crop(self, window: Window) -> GeoGrid:
        """The part of the grid inside ``window``."""
        west, north = self.west + window.column * self.dx, self.north - window.row * self.dy
        return replace(self, west=west, north=north, rows=window.rows, columns=window.columns)

    def refine(self, looks: Looks) -> GeoGrid:
        """The same ground with ``looks`` pixels per pixel."""
        rows, columns = self.rows * looks.north, self.columns * looks.east
        return replace(self, dx=self.dx / looks.east, dy=self.dy / looks.north, rows=rows, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Fine pixels averaged into one output pixel, east-west (near range) by north-south (near azimuth)."""

    east: int
    north: int

    @property
    def count(self) -> int:
        """Fine pixels per output pixel."""
        return self.east * self.north

    def __str__(self) -> str:
        return f"{self.east}x{self.north}"


class Direction(str, Enum):
    """Flight direction of a pass."""

    ASCENDING = "ascending"
    DESCENDING = "descending"


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstId:
    """ESA's burst identifier: the same ground in every pass of a track."""

    track: int
    number: int
    swath: str

    def __str__(self) -> str:
        return f"{self.track:03d}_{self.number:06d}_{self.swath}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangePolynomial:
    """A polynomial in two-way slant range time: Σ c_k (τ - t0)^k."""

    t0_s: float
    coefficients: tuple[float, ...]

    def __call__(self, tau_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate at two-way slant range times ``tau_s`` (seconds, any shape)."""
        x = tau_s - self.t0_s
        return reduce(lambda value, coefficient: value * x + coefficient, reversed(self.coefficients), x * 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarGrid:
    """Sampling of a zero-Doppler image: line 0 at ``first_line_time``, sample 0 at ``near_range_m``."""

    first_line_time: datetime
    line_interval_s: float
    near_range_m: float
    range_spacing_m: float
    lines: int
    samples: int

    @property
    def shape(self) -> tuple[int, int]:
        """(lines, samples)."""
        return self.lines, self.samples

    @property
    def whole(self) -> Window:
        """The window of all samples."""
        return Window(row=0, column=0, rows=self.lines, columns=self.samples)

    @property
    def mid_time(self) -> datetime:
        """Azimuth time half-way between line 0 and the line after the last (ESA's η = 0)."""
        return self.first_line_time + timedelta(seconds=self.lines / 2 * self.line_interval_s)

    @property
    def stop_time(self) -> datetime:
        """Azimuth time of the last line."""
        return self.first_line_time + timedelta(seconds=(self.lines - 1) * self.line_interval_s)

    @property
    def far_range_m(self) -> float:
        """Slant range of the last sample, m."""
        return self.near_range_m + (self.samples - 1) * self.range_spacing_m


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathFiles:
    """Where one swath and polarisation of a scene lies: names inside the SAFE."""

    swath: str
    polarisation: str
    annotation: str
    measurement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One Sentinel-1 IW SLC product, a SAFE directory or zip, described by its manifest.

    ``faults`` say which files that the manifest lists are missing, or not as it says. The direction is the orbit's.
    """

    name: str
    path: Path
    mission: str
    start: datetime
    stop: datetime
    track: int
    absolute_orbit: int
    direction: Direction
    ipf: str
    files: tuple[SwathFiles, ...]
    faults: tuple[str, ...] = ()

    @property
    def swaths(self) -> tuple[str, ...]:
        """Swaths present, sorted."""
        return tuple(sorted({f.swath for f in self.files}))

    @property
    def polarisations(self) -> tuple[str, ...]:
        """Polarisations present, sorted."""
        return tuple(sorted({f.polarisation for f in self.files}))

    def find_faults(self, folder: str, swath: str, polarisation: str) -> tuple[str, ...]:
        """List the faults of one swath and polarisation.

        Parameters
        ----------
        folder : str
            ``annotation`` or ``measurement``.
        swath, polarisation : str
        """
        part = f"-{swath}-slc-{polarisation}-".lower()
        return tuple(fault for fault in self.faults if fault.startswith(f"{folder}/") and part in fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """One TOPS burst: where its samples lie, how they were sampled and how its Doppler sweeps.

    ``first_line`` is the row of the burst's line 0 in the measurement image; ``valid`` is the window of valid
    samples inside the burst. ``measurement`` opens with GDAL (a path, or ``/vsizip/...``).
    """

    scene: str
    swath: str
    polarisation: str
    index: int
    burst_id: BurstId | None
    measurement: str
    first_line: int
    grid: RadarGrid
    valid: Window
    radar_frequency_hz: float
    steering_rate_rad_s: float
    fm_rate: RangePolynomial
    doppler: RangePolynomial
    azimuth_bandwidth_hz: float
    range_bandwidth_hz: float

    @property
    def wavelength_m(self) -> float:
        """Radar wavelength, m."""
        return SPEED_OF_LIGHT / self.radar_frequency_hz

    @property
    def label(self) -> str:
        """Swath and ESA number, or swath and place in the image: ``IW2_230135``, ``IW2_03``."""
        return f"{self.swath}_{self.burst_id.number:06d}" if self.burst_id else f"{self.swath}_{self.index:02d}"


class OrbitSource(str, Enum):
    """Where state vectors come from, best first."""

    PRECISE = "POEORB"
    RESTITUTED = "RESORB"
    ANNOTATION = "annotation"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrbitFile:
    """An EOF file as its name describes it."""

    path: Path
    mission: str
    source: OrbitSource
    created: datetime
    start: datetime
    stop: datetime

    @property
    def name(self) -> str:
        """The name under which it was published, however it is called and packed here."""
        created, start, stop = (f"{time:%Y%m%dT%H%M%S}" for time in (self.created, self.start, self.stop))
        return f"{self.mission}_OPER_AUX_{self.source.value}_OPOD_{created}_V{start}_{stop}.EOF"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Orbit:
    """Earth-fixed state vectors (n, 3), float64, at times (n,) since ``epoch``."""

    source: OrbitSource
    name: str
    epoch: datetime
    times_s: NDArray[np.float64]
    positions_m: NDArray[np.float64]
    velocities_m_s: NDArray[np.float64]


class VerticalDatum(str, Enum):
    """What heights are measured from."""

    ELLIPSOID = "ellipsoid"
    EGM96 = "egm96"
    EGM2008 = "egm2008"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dem:
    """A height raster that GDAL reads, with its declared datum and, where needed, its own geoid grid."""

    path: Path
    datum: VerticalDatum
    geoid: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is read from."""
        return (self.path, self.geoid) if self.geoid else (self.path,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A place on a track whose bursts ARIA processes together; ``outline`` is their edge, longitude and latitude."""

    number: int
    track: int
    direction: Direction
    outline: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        """Its number."""
        return str(self.number)

    @property
    def box(self) -> BBox:
        """Box around it, degrees."""
        lon, lat = zip(*self.outline, strict=True)
        return BBox(west=min(lon), south=min(lat), east=max(lon), north=max(lat))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two passes of one track; each is one scene or several slices, in time order.

    Without a ``polarisation`` it is one of those that the settings allow.
    """

    reference: tuple[Scene, ...]
    secondary: tuple[Scene, ...]
    polarisation: str | None = None

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """All slices of both passes."""
        return (*self.reference, *self.secondary)

    @property
    def track(self) -> int:
        """Relative orbit number of the reference."""
        return self.reference[0].track

    @property
    def id(self) -> str:
        """Track and both start times, so that two frames of the same dates never collide; VH and HV at the end."""
        first, second = (scenes[0].start for scenes in (self.reference, self.secondary))
        plain = f"T{self.track:03d}_{first:%Y%m%dT%H%M%S}_{second:%Y%m%dT%H%M%S}"
        return f"{plain}_{self.polarisation}" if self.polarisation in CROSSED else plain


def name_track(pair_id: str) -> str:
    """Name what pairs of one track and polarisation share, from the id of one: ``T131``, ``T131_VH``."""
    track, last = pair_id.partition("_")[0], pair_id.rpartition("_")[2]
    return f"{track}_{last}" if last in CROSSED else track


def track_text(track: str) -> str:
    """A track in words, ``131 VH``, from what `name_track` calls it."""
    number, _, polarisation = track.removeprefix("T").partition("_")
    return f"{int(number)} {polarisation}".rstrip()
