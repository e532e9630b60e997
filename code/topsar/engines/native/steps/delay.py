"""The step that finds the range misregistration of a date.

Amplitudes of patches of ground are correlated with those of the earliest date. Both dates are geocoded onto small,
finely sampled patches of the map, the later one at trial delays: orbit, heights and the difference of the two
geometries drop out. Where correlation peaks is the delay of the date, which is added to the place where its samples
are looked up and to nothing else: the phase of a target is right as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.ground import (
    LONLAT,
    change_crs,
    find_ground_points,
    lay_nodes,
    measure_pixel,
    open_dem_under,
    predict_dem,
)
from topsar.engines.native.steps import BASE_MEMORY, DELAY_FILE
from topsar.engines.native.steps.burst_window import BurstWindow
from topsar.engines.native.steps.geocode import load_deramped, radar_image, surround
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import MID_INCIDENCE_RAD, fit_burst_arc, locate
from topsar.files import write_json
from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.kernels.registration import LEAST_PATCHES, Shift, correlate, find_peak
from topsar.kernels.resample import PlacedNodes, RadarImage, geocode, place_nodes
from topsar.kernels.tops import find_deramp_terms
from topsar.model import Dem, Looks, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst, GeoGrid, Orbit
    from topsar.raster import HeightField

PATCH_EAST_M, PATCH_NORTH_M = 1280.0, 640.0
SAMPLE_EAST_M, SAMPLE_NORTH_M = 2.5, 5.0
"""Pixels of a patch: an amplitude has twice the bandwidth of its signal."""
PATCHES = 6
"""Per burst; where the swath is cut so narrow that they do not fit side by side, they lie in several rows."""
TRIALS_PX = (1.0, 0.5, 0.5)
"""Distances of three trial delays around the last estimate."""
PIXELS = 10 * PATCHES * int(PATCH_EAST_M * PATCH_NORTH_M / SAMPLE_EAST_M / SAMPLE_NORTH_M)
"""Geocoded per burst, in all trials and the reference."""
_ROW_LINES, _MARGIN_LINES = 46, 65
"""Lines of a row of patches, and beside all rows: what the map is turned by, and what interpolation reads."""
LARGEST_PX = 1.0
"""A larger delay is not believed."""
LEAST_PX = 0.01
"""A smaller delay (2 cm) is not applied: it costs less than 0.02 % of the coherence."""
LEAST_ERRORS = 3.0
"""Nor is one below this many standard errors."""
_MARGIN = 16, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayTask:
    """One scene, whose range delay against the earliest date is to be found on some bursts of both."""

    job: str
    bursts: tuple[tuple[BurstWindow, BurstWindow], ...]
    reference_orbit: OrbitChoice
    orbit: OrbitChoice
    dem: Dem

    @property
    def folder(self) -> str:
        """Where the delay is written, relative to the runs folder."""
        return f"{self.job}/delay"

    @property
    def windows(self) -> list[BurstWindow]:
        """The bursts of both dates."""
        return [window for both in self.bursts for window in both]


class _Delay(StepKind[DelayTask]):
    """The range delay of a date; sizes are pixels of a patch and trial."""

    name, task = "delay", DelayTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=0, start_s=2.5, microseconds=0.07, pixels_per_thread=5e6)
    sample_bytes = 8
    """Memory per sample of a strip: those of the later date stay for all trials, of the other one at a time."""

    def size(self, task: DelayTask) -> float:
        return len(task.bursts) * PIXELS

    def extra_memory(self, task: DelayTask, dem_density: float) -> float:
        strip = max(_count_strip(window.burst) for window in task.windows)
        dem = max(predict_dem(window.grid, dem_density) for window in task.windows)
        return (len(task.bursts) + 1) * strip * self.sample_bytes + dem

    def inputs(self, task: DelayTask) -> tuple[Path, ...]:
        images = (Path(window.burst.measurement) for window in task.windows)
        return (*images, task.orbit.path, task.reference_orbit.path, *task.dem.files)

    def run(self, task: DelayTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Find the delay and write it into ``delay``: all in range samples."""
        (folder / "delay").mkdir(parents=True, exist_ok=True)
        shift = _search_delay(list(_cut_all_patches(task)))
        against = f"{task.reference_orbit.start:%Y-%m-%d}"
        if shift is None:
            why = f"fewer than {LEAST_PATCHES} patches of ground correlate with {against}"
            found: dict[str, Any] = {"applied_pixels": 0.0, "why": why}
        else:
            why = _find_objection(shift)
            found = {
                "applied_pixels": 0.0 if why else shift.value,
                "pixels": shift.value,
                "standard_error_pixels": shift.deviation,
                "patches": shift.patches,
                "why": why,
            }
        which = {"scene": task.orbit.scenes[0].name, "date": f"{task.orbit.start:%Y-%m-%d}", "against": against}
        write_json(folder / "delay" / DELAY_FILE, which | found)


def _count_strip(burst: Burst) -> int:
    """Count the samples of a burst that its patches look at, at most: rows of patches from edge to edge."""
    rows = -(-PATCHES // _count_across(burst, burst.valid.columns))
    return burst.valid.columns * min(rows * _ROW_LINES + _MARGIN_LINES, burst.valid.rows)


def _count_across(burst: Burst, samples: float) -> int:
    """Count the patches that lie side by side on so many samples."""
    width = PATCH_EAST_M * np.sin(MID_INCIDENCE_RAD) / burst.grid.range_spacing_m
    return int(np.clip(samples // width, 1, PATCHES))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Patch:
    """A patch of ground as both dates see it; ``trial`` is the image of the later date."""

    field: HeightField
    reference: NDArray[np.complex64]
    placed: PlacedNodes
    image: RadarImage

    def correlate(self, delay_px: float) -> float:
        shifted = _geocode_patch(self.placed, self.field, self.image.shift(delay_px), self.reference.shape)
        return correlate(self.reference, shifted)


def _search_delay(patches: Sequence[_Patch]) -> Shift | None:
    value, shift = 0.0, None
    for step in TRIALS_PX:
        rows = [[patch.correlate(value + trial) for trial in (-step, 0.0, step)] for patch in patches]
        shift = find_peak(np.array(rows).reshape(-1, 3), step)
        if shift is None or abs(value + shift.value) > LARGEST_PX:
            return shift
        value += shift.value
        shift = shift._replace(value=value)
    return shift


def _find_objection(shift: Shift) -> str:
    """Why a delay is not applied, or an empty string."""
    if abs(shift.value) > LARGEST_PX:
        return f"larger than {LARGEST_PX:g} sample: not believed"
    if abs(shift.value) < max(LEAST_PX, LEAST_ERRORS * shift.deviation):
        return f"below {LEAST_PX:g} sample or {LEAST_ERRORS:g} standard errors"
    return ""


def _cut_all_patches(task: DelayTask) -> Iterable[_Patch]:
    first = task.bursts[0][0].burst
    orbits = tuple(choice.load(first.swath, first.polarisation) for choice in (task.reference_orbit, task.orbit))
    for reference, date in task.bursts:
        yield from _cut_patches(reference, date, orbits, task.dem)


def _cut_patches(reference: BurstWindow, date: BurstWindow, orbits: tuple[Orbit, ...], dem: Dem) -> Iterable[_Patch]:
    """Patches of one burst, both of its images loaded for them."""
    shared = reference.grid.find_shared(date.grid)
    if shared is None:
        return
    common = reference.grid.crop(shared)
    field = open_dem_under(dem, common)
    if not np.isfinite(field.heights_m).any():
        return
    bursts = reference.burst, date.burst
    grids = _lay_patches(common, bursts[0], fit_burst_arc(bursts[0], orbits[0]), field)
    nodes = [lay_nodes(grid, field) for grid in grids]
    images = [_read_image(burst, orbit, nodes, field) for burst, orbit in zip(bursts, orbits, strict=True)]
    for grid, points in zip(grids, nodes, strict=True):
        placed = [None if image is None else place_nodes(points, field.heights_m, image) for image in images]
        if placed[0] is not None and placed[1] is not None and images[0] is not None and images[1] is not None:
            first = _geocode_patch(placed[0], field, images[0], grid.shape)
            yield _Patch(field=field, reference=first, placed=placed[1], image=images[1])


def _lay_patches(common: GeoGrid, burst: Burst, arc: OrbitArc, field: HeightField) -> list[GeoGrid]:
    """Small, fine grids inside ``common``, side by side across a burst through the middle of what it shows there."""
    east, north = measure_pixel(common)
    size = max(round(PATCH_NORTH_M / north), 1), max(round(PATCH_EAST_M / east), 1)
    looks = Looks(east=max(round(east / SAMPLE_EAST_M), 1), north=max(round(north / SAMPLE_NORTH_M), 1))
    corners = [
        common.crop(Window(row=row, column=column, rows=1, columns=1))
        for row in (0, common.rows - 1)
        for column in (0, common.columns - 1)
    ]
    points = np.array([find_ground_points(corner, field)[1][0, 0] for corner in corners])
    line, sample = locate(points, burst, arc)
    grid, valid = burst.grid, burst.valid
    lines = max(line.min(), valid.row), min(line.max(), valid.row_stop)
    samples = max(sample.min(), valid.column), min(sample.max(), valid.column_stop)
    height = PATCH_NORTH_M / 14.0
    across = _count_across(burst, samples[1] - samples[0])
    along = int(np.clip((lines[1] - lines[0]) // height, 1, -(-PATCHES // across)))
    at_line = (lines[0] + lines[1]) / 2 + (np.arange(along) - (along - 1) / 2) * height
    at_sample = samples[0] + (np.arange(across) + 0.5) / across * (samples[1] - samples[0])
    t = arc.seconds(grid.first_line_time) + at_line[:, None] * grid.line_interval_s + 0 * at_sample
    middle = rdr2geo(t, grid.near_range_m + at_sample * grid.range_spacing_m, float(np.nanmean(field.heights_m)), arc)
    lat, lon, _ = ecef_to_geodetic(middle.reshape(-1, 3))
    x, y = change_crs(LONLAT, common.crs, np.degrees(lon), np.degrees(lat))
    return [
        common.crop(window).refine(looks)
        for column, row in zip((x - common.west) / common.dx, (common.north - y) / common.dy, strict=True)
        if (window := _window_around(common, row, column, size)) is not None
    ]


def _window_around(grid: GeoGrid, row: float, column: float, size: tuple[int, int]) -> Window | None:
    """The window of that size around a place, if it lies in the grid."""
    window = Window(row=int(row - size[0] / 2), column=int(column - size[1] / 2), rows=size[0], columns=size[1])
    return window if grid.whole.intersection(window) == window else None


def _read_image(
    burst: Burst, orbit: Orbit, nodes: Sequence[NDArray[np.float64]], field: HeightField
) -> RadarImage | None:
    """Read and deramp the part of a burst that all patches look at."""
    arc = fit_burst_arc(burst, orbit)
    terms = find_deramp_terms(burst, arc)
    unread = np.empty((burst.valid.rows, burst.valid.columns), np.float32)
    empty = radar_image(burst, arc, terms, burst.valid, unread, unread)
    placed = [place_nodes(points, field.heights_m, empty) for points in nodes]
    if not placed:
        return None
    line, sample = (np.concatenate([getattr(one, name).ravel() for one in placed]) for name in ("line", "sample"))
    window = surround(line, sample, _MARGIN).intersection(burst.valid)
    if window is None:
        return None
    return radar_image(burst, arc, terms, window, *load_deramped(burst, terms, window))


def _geocode_patch(
    placed: PlacedNodes, field: HeightField, image: RadarImage, shape: tuple[int, int]
) -> NDArray[np.complex64]:
    out = np.zeros(shape, np.complex64)
    geocode(placed.nodes, placed.active, field.heights_m, image, out)
    return out


STEP = _Delay()
