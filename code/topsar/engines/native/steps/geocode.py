"""The step that turns the bursts of one swath and date into geocoded, flattened SLCs.

Each burst becomes a ``.npy`` of float16 (rows, columns, 2): real and imaginary part on the fine grid, zero where there
is no signal. Half precision keeps phase to 0.0005 rad and halves the scratch; the untouched half of the slanted
burst's box stays a hole in the file.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from topsar.engines.ground import align_to_nodes, lay_nodes, open_dem_under, predict_dem
from topsar.engines.native.steps import BASE_MEMORY, DELAY_FILE
from topsar.engines.native.steps.burst_window import BurstWindow
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import fit_burst_arc
from topsar.files import atomic_path, read_json
from topsar.kernels.geometry import OrbitArc
from topsar.kernels.half import narrow
from topsar.kernels.resample import NODE_STEP, RadarImage, design_interpolator, geocode, place_nodes
from topsar.kernels.tops import DerampTerms, deramp, find_deramp_terms
from topsar.model import SPEED_OF_LIGHT, Burst, Dem, Looks, Orbit, Window
from topsar.raster import HeightField
from topsar.schedule.jobs import Artifact, Lifetime
from topsar.sentinel1 import check_content, iter_samples, open_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    _Ramp = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

log = logging.getLogger(__name__)
T = TypeVar("T", bound=np.generic)
Item = TypeVar("Item")

BLOCK_ROWS = 16 * NODE_STEP
"""Fine rows geocoded at once."""
READ_LINES = 256
"""Burst lines read and deramped at once."""
MARGIN = 64, 512
"""Lines and samples read around the radar window of the nodes, because relief between them shifts it."""
_DOPPLER_MARGIN_HZ = 40.0  # the annotated Doppler centroid is this uncertain at worst


class Memory:
    """Large arrays that all bursts of a swath use in turn: memory costs most when it is touched for the first time."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, int], dtype: type[T]) -> NDArray[T]:
        """Return the buffer of a name, reused, with whatever it holds."""
        size = shape[0] * shape[1]
        if name not in self._held or self._held[name].size < size:
            self._held.pop(name, None)
            self._held[name] = np.empty(size, dtype)
        return self._held[name][:size].reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeocodeTask:
    """One swath of one scene, to be geocoded; ``looks`` are pixels of its images in an output pixel.

    ``delay`` is the folder with its range delay, relative to the runs folder; empty where none is looked for.
    """

    job: str
    windows: tuple[BurstWindow, ...]
    looks: Looks
    orbit: OrbitChoice
    dem: Dem
    delay: str


class _Geocode(StepKind[GeocodeTask]):
    """The bursts of a swath on the map; sizes are fine pixels.

    Its memory depends on the largest burst and the DEM, not on how many bursts there are.
    """

    name, task = "geocode", GeocodeTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=4, start_s=1.5, microseconds=0.05, pixels_per_thread=1e7)
    sample_bytes, block_bytes = 8, 20
    """Memory per sample of the largest burst; per fine pixel of a block: complex, its contiguous copy, and halves."""

    def size(self, task: GeocodeTask) -> float:
        return sum(window.grid.rows * window.grid.columns for window in task.windows) * task.looks.count

    def extra_memory(self, task: GeocodeTask, dem_density: float) -> float:
        samples = max(window.burst.valid.rows * window.burst.valid.columns for window in task.windows)
        columns = max(window.grid.columns for window in task.windows) * task.looks.east
        dem = max(predict_dem(window.grid, dem_density) for window in task.windows)
        return samples * self.sample_bytes + columns * BLOCK_ROWS * self.block_bytes + dem

    def reads(self, task: GeocodeTask) -> tuple[str, ...]:
        return (task.delay,) if task.delay else ()

    def writes(self, task: GeocodeTask) -> tuple[Artifact, ...]:
        """Leave the folder ``slc`` until nobody multiplies it any more."""
        return (Artifact(path=f"{task.job}/slc", lifetime=Lifetime.SCRATCH),)

    def inputs(self, task: GeocodeTask) -> tuple[Path, ...]:
        return (*(Path(window.burst.measurement) for window in task.windows), task.orbit.path, *task.dem.files)

    def run(self, task: GeocodeTask, runs: Path, folder: Path) -> None:
        """Write one file per burst into ``slc``."""
        (folder / "slc").mkdir(parents=True, exist_ok=True)
        swath = OpenSwath.of(task, runs)
        for window, image in open_images(task.windows, lambda window: window.burst):
            fine = replace(window, grid=window.grid.refine(task.looks))
            field = open_dem_under(task.dem, window.grid)
            log.info("%s: %d by %d pixels", window.burst.label, fine.grid.rows, fine.grid.columns)
            with atomic_path(runs / window.file) as path:
                _geocode_burst(fine, image, field, swath, path)


def open_images(
    items: Iterable[Item], get_burst: Callable[[Item], Burst], *, are_checked: bool = False
) -> Iterator[tuple[Item, DatasetReader]]:
    """Give each item with the image of its burst, which is checked and opened once, and read forward: it may be zipped.

    Parameters
    ----------
    items : iterable
    get_burst : callable
        The burst of an item.
    are_checked : bool
        An earlier step of the chain has read the images through: it runs again when one of them is another file.
    """
    images: dict[str, list[Item]] = {}
    for item in items:
        images.setdefault(get_burst(item).measurement, []).append(item)
    for held in images.values():
        if not are_checked:
            check_content(get_burst(held[0]))
        with open_image(get_burst(held[0])) as image:
            for item in sorted(held, key=lambda item: get_burst(item).first_line):
                yield item, image


class OpenSwath(NamedTuple):
    """What all bursts of a swath share; its samples lie ``delay_px`` later than annotated."""

    orbit: Orbit
    delay_px: float
    memory: Memory

    @classmethod
    def of(cls, task: GeocodeTask, runs: Path) -> OpenSwath:
        """Read the orbit and the range delay of a task's swath."""
        first = task.windows[0].burst
        orbit = task.orbit.load(first.swath, first.polarisation)
        delay_px = float(read_json(runs / task.delay / DELAY_FILE)["applied_pixels"]) if task.delay else 0.0
        return cls(orbit, delay_px, Memory())


class BurstView(NamedTuple):
    """How a burst sees the ground of a grid.

    ``nodes`` are of the ground, ``offset`` is the place of the grid's first pixel from the first node, ``seen`` the
    window of the burst that they look at: None if they look past it.
    """

    arc: OrbitArc
    terms: DerampTerms
    nodes: NDArray[np.float64]
    offset: tuple[int, int]
    seen: Window | None


def view_burst(window: BurstWindow, field: HeightField, orbit: Orbit) -> BurstView:
    """Lay nodes under a grid and find where a burst sees them.

    Parameters
    ----------
    window : BurstWindow
    field : HeightField
        Under its grid.
    orbit : Orbit
    """
    arc = fit_burst_arc(window.burst, orbit)
    terms = find_deramp_terms(window.burst, arc)
    aligned, offset = align_to_nodes(window.grid)
    nodes = lay_nodes(aligned, field)
    return BurstView(arc, terms, nodes, offset, _find_seen_window(nodes, field, window.burst, arc, terms))


def _geocode_burst(window: BurstWindow, image: DatasetReader, field: HeightField, swath: OpenSwath, path: Path) -> None:
    """Geocode one burst of an open image onto its part of the fine grid, and write it."""
    burst, view = window.burst, view_burst(window, field, swath.orbit)
    with path.open("wb") as file:
        plane = SparsePlane(file, window.grid.shape)
        if view.seen is not None:
            planes = load_deramped(burst, view.terms, view.seen, image, swath.memory)
            radar = radar_image(burst, view.arc, view.terms, view.seen, *planes).shift(swath.delay_px)
            fill_plane(plane, view, field, radar, swath.memory)


def radar_image(
    burst: Burst,
    arc: OrbitArc,
    terms: DerampTerms,
    window: Window,
    real: NDArray[np.float32],
    imag: NDArray[np.float32],
) -> RadarImage:
    """Tie deramped planes that hold a window of a burst to time, range and Doppler.

    Parameters
    ----------
    burst : Burst
    arc : OrbitArc
    terms : DerampTerms
    window : Window
        Lines and samples of the burst.
    real, imag : (window.rows, window.columns) float32
    """
    grid = burst.grid
    azimuth_band = (burst.azimuth_bandwidth_hz + _DOPPLER_MARGIN_HZ) * grid.line_interval_s
    range_band = burst.range_bandwidth_hz * 2 * grid.range_spacing_m / SPEED_OF_LIGHT
    return RadarImage(
        real=real,
        imag=imag,
        line=window.row,
        sample=window.column,
        first_time_s=arc.seconds(grid.first_line_time),
        line_interval_s=grid.line_interval_s,
        near_range_m=grid.near_range_m,
        range_spacing_m=grid.range_spacing_m,
        mid_line=grid.lines / 2,
        wavelength_m=burst.wavelength_m,
        k_t=terms.k_t,
        f_dc=terms.f_dc,
        eta_ref=terms.eta_ref,
        origin_s=arc.origin_s,
        scale_s=arc.scale_s,
        orbit=arc.coefficients,
        azimuth_table=design_interpolator(azimuth_band),
        range_table=design_interpolator(range_band),
    )


def _find_seen_window(
    nodes: NDArray[np.float64], field: HeightField, burst: Burst, arc: OrbitArc, terms: DerampTerms
) -> Window | None:
    """The part of the burst's valid window that the ground nodes look at, None if they look past it."""
    unread = np.empty((burst.valid.rows, burst.valid.columns), np.float32)
    placed = place_nodes(nodes, field.heights_m, radar_image(burst, arc, terms, burst.valid, unread, unread))
    if not placed.active.any():
        return None
    rows, columns = np.flatnonzero(placed.active.any(axis=1)), np.flatnonzero(placed.active.any(axis=0))
    corners = slice(rows[0], rows[-1] + 2), slice(columns[0], columns[-1] + 2)
    return surround(placed.line[corners], placed.sample[corners], MARGIN).intersection(burst.valid)


def surround(line: NDArray[np.float64], sample: NDArray[np.float64], margin: tuple[int, int]) -> Window:
    """Surround places in an image.

    Parameters
    ----------
    line, sample : float64
    margin : (int, int)
        Lines and samples on all sides.
    """
    return Window(
        row=int(line.min() - margin[0]),
        column=int(sample.min() - margin[1]),
        rows=int(np.ptp(line) + 2 * margin[0]),
        columns=int(np.ptp(sample) + 2 * margin[1]),
    )


def load_deramped(
    burst: Burst,
    terms: DerampTerms,
    window: Window,
    image: DatasetReader | None = None,
    memory: Memory | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read and deramp a window of a burst, a few lines at a time, from its image if that is open already.

    Parameters
    ----------
    burst : Burst
    terms : DerampTerms
    window : Window
    image : DatasetReader, optional
    memory : Memory, optional
        Where to put the planes.
    """
    memory = memory or Memory()
    real, imag = (memory.array(part, (window.rows, window.columns), np.float32) for part in ("real", "imag"))
    for lines, samples, ramp in iter_ramped(burst, terms, window, image):
        deramp(samples, *ramp, real[lines], imag[lines])
    return real, imag


def iter_ramped(
    burst: Burst, terms: DerampTerms, window: Window, image: DatasetReader | None
) -> Iterator[tuple[slice, NDArray[np.complex64], _Ramp]]:
    """Read a window of a burst a few lines at a time, each with its ramp.

    Parameters
    ----------
    burst, terms, window, image
        As for `load_deramped`.

    Yields
    ------
    slice, (lines, window.columns) complex64, tuple of float64
        Which lines of the window; their samples, in the same memory each time; eta, k_t, f_dc and eta_ref, as
        `topsar.kernels.tops.deramp` and `turn` take them.
    """
    columns = slice(window.column, window.column_stop)
    eta = (np.arange(window.row, window.row_stop) - burst.grid.lines / 2) * burst.grid.line_interval_s
    start = 0
    for samples in iter_samples(burst, window, READ_LINES, image):
        lines = slice(start, start + len(samples))
        yield lines, samples, (eta[lines], terms.k_t[columns], terms.f_dc[columns], terms.eta_ref[columns])
        start = lines.stop


class SparsePlane:
    """A ``.npy`` of float16 (rows, columns, 2) that is written in parts; the rest is a hole in the file.

    Not a memory map: writing to one on a full disk kills the process.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int]) -> None:
        self.shape = shape
        header = {"descr": "<f2", "fortran_order": False, "shape": (*shape, 2)}
        np.lib.format.write_array_header_1_0(file, header)
        self._file, self._start = file, file.tell()
        file.truncate(self._start + self._offset(shape[0], 0))

    def write(self, row: int, column: int, values: NDArray[np.complex64], memory: Memory) -> None:
        """Write what is not zero of a block that begins at a pixel."""
        parts = values.view(np.float32)
        halves = memory.array("halves", parts.shape, np.float16)
        for number, (start, stop) in enumerate(narrow(parts, halves)):
            first = int(start) // 2 * 2
            self._file.seek(self._start + self._offset(row + number, column) + 2 * first)
            self._file.write(halves[number, first:stop].data)

    def _offset(self, row: int, column: int) -> int:
        return (row * self.shape[1] + column) * 4


def fill_plane(out: SparsePlane, view: BurstView, field: HeightField, image: RadarImage, memory: Memory) -> None:
    """Geocode block by block; only columns with signal are written.

    Parameters
    ----------
    out : SparsePlane
        Of the grid that is viewed.
    view : BurstView
    field : HeightField
    image : RadarImage
        Of the window that is seen.
    memory : Memory
    """
    placed, offset = place_nodes(view.nodes, field.heights_m, image), view.offset
    rows, columns = out.shape[0] + offset[0], out.shape[1] + offset[1]
    for top in range(0, rows, BLOCK_ROWS):
        bottom = min(top + BLOCK_ROWS, rows)
        first, last = top // NODE_STEP, -(-bottom // NODE_STEP)
        busy = np.flatnonzero(placed.active[first:last].any(axis=0))
        if busy.size == 0:
            continue
        left, right = busy[0], busy[-1] + 1
        start, stop = left * NODE_STEP, min(right * NODE_STEP, columns)
        block = memory.array("block", (bottom - top, stop - start), np.complex64)
        block.fill(0)
        geocode(
            np.ascontiguousarray(placed.nodes[first : last + 1, left : right + 1]),
            np.ascontiguousarray(placed.active[first:last, left:right]),
            field.heights_m,
            image,
            block,
        )
        inside = block[max(offset[0] - top, 0) :, max(offset[1] - start, 0) :]
        out.write(max(top - offset[0], 0), max(start - offset[1], 0), inside, memory)


STEP = _Geocode()
