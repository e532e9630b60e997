"""The step that coregisters a date of a stack in radar geometry: its SLC on the pixels of the reference date.

The reference's own SLC is what ESA delivered, sample by sample. Every other date is resampled where it sees the ground
of each pixel, and flattened against the reference: reference · conj(date) is their interferogram without flat earth and
topography, as with topsStack.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.native.radar.resampling import (
    BLOCK_LINES,
    DatePart,
    OpenDate,
    resample_window,
)
from topsar.engines.native.steps import BASE_MEMORY, DELAY_FILE
from topsar.engines.native.steps.geocode import READ_LINES, Memory, open_images
from topsar.engines.native.steps.timing import read_shift
from topsar.engines.orbits import OrbitChoice
from topsar.engines.passes import describe_pass
from topsar.engines.radar_stack import DateFacts, StackFacts
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import fit_pass_arc
from topsar.files import read_json, replaced_folder, write_json, write_text
from topsar.kernels.geometry import measure_baselines, rdr2geo
from topsar.raster.isce_image import (
    IsceHeader,
    IsceReader,
    IsceWriter,
    create_isce_image,
    write_isce_headers,
    write_isce_image,
)
from topsar.schedule.jobs import Artifact
from topsar.sentinel1 import iter_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Orbit

log = logging.getLogger(__name__)

_GRID_RANGE_M, _GRID_TIME_S = 7000.0, 1.0
"""Posting of the coarse grid of baselines, as topsStack has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoregisterTask:
    """A date of a stack.

    ``timings`` are the folders with the azimuth timings of the date and of the reference, and ``delay`` that with its
    range delay, relative to the runs folder; empty where none is looked for. ``shift_pixels`` is the timing then, and
    ``shift_source`` says why.
    """

    job: str
    stack: StackFacts
    date: str
    parts: tuple[DatePart, ...]
    reference_orbit: OrbitChoice
    orbit: OrbitChoice
    timings: tuple[str, ...]
    shift_pixels: float
    shift_source: str
    delay: str

    @property
    def is_reference(self) -> bool:
        """Whether the date is the reference."""
        return self.date == self.stack.reference


class _Coregister(StepKind[CoregisterTask]):
    """The SLC of a date; sizes are pixels of the stack's grid.

    Its memory depends on the largest burst, not on how many bursts there are.
    """

    name, task = "coregister", CoregisterTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=8, start_s=2.0, microseconds=0.12, pixels_per_thread=1e7)
    sample_bytes, block_bytes = 8, 24
    """Memory per sample of the largest burst; per pixel of a block: heights and signal."""

    def alike(self, task: CoregisterTask) -> str:
        """Tell the reference, which is copied, from other dates."""
        return "coregister reference" if task.is_reference else "coregister"

    def size(self, task: CoregisterTask) -> float:
        return task.stack.grid.lines * task.stack.grid.samples

    def extra_memory(self, task: CoregisterTask, dem_density: float) -> float:  # noqa: ARG002
        valid = [one.burst.valid for one in task.parts]
        largest = max(window.rows * window.columns for window in valid)
        deramped = 0 if task.is_reference else largest * self.sample_bytes
        return deramped + max(window.columns for window in valid) * BLOCK_LINES * self.block_bytes

    def reads(self, task: CoregisterTask) -> tuple[str, ...]:
        return (task.stack.layer("hgt.rdr.full"), *task.timings, *([task.delay] if task.delay else []))

    def writes(self, task: CoregisterTask) -> tuple[Artifact, ...]:
        stack, date = task.stack, task.date
        paths = [stack.slc(date), stack.baseline_grid(date), *([] if task.is_reference else [stack.baseline(date)])]
        return tuple(Artifact(path=path) for path in paths)

    def inputs(self, task: CoregisterTask) -> tuple[Path, ...]:
        images = {Path(one.burst.measurement) for one in task.parts}
        return (*sorted(images), task.orbit.path, task.reference_orbit.path)

    def run(self, task: CoregisterTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write the SLC and the baselines."""
        first = task.parts[0].burst
        orbits = tuple(choice.load(first.swath, first.polarisation) for choice in (task.reference_orbit, task.orbit))
        shift, source = task.shift_pixels, task.shift_source
        if task.timings:
            shift, source = read_shift(*(runs / folder for folder in task.timings))
        delay = float(read_json(runs / task.delay / DELAY_FILE)["applied_pixels"]) if task.delay else 0.0
        date = OpenDate(orbits[0], orbits[1], shift, delay, Memory())
        perpendicular, parallel = _write_baselines(task, orbits, runs)
        flight = describe_pass(task.orbit, orbits[1], [one.burst for one in task.parts])
        facts = DateFacts(
            date=task.date,
            scenes=tuple(scene.name for scene in task.orbit.scenes),
            orbit=task.orbit.name,
            azimuth_shift_pixels=shift,
            azimuth_shift_source=source,
            range_delay_pixels=delay,
            perpendicular_baseline_m=perpendicular,
            parallel_baseline_m=parallel,
            flight=flight,
        )
        with replaced_folder(runs / task.stack.slc(task.date)) as staging:
            _write_slc(task, date, runs, staging)
            write_json(staging / f"{task.date}.json", facts)


def _write_slc(task: CoregisterTask, date: OpenDate, runs: Path, staging: Path) -> None:
    grid, name = task.stack.grid, f"{task.date}.slc"
    header = IsceHeader(width=grid.samples, length=grid.lines, bands=1, dtype=np.dtype(np.complex64), scheme="BIP")
    heights = IsceReader(runs / task.stack.layer("hgt.rdr.full"))
    final = runs / task.stack.slc(task.date)
    with create_isce_image(staging / f"{name}.full", header, "slcimage", final / f"{name}.full") as slc:
        # with timings, the overlaps of the date were taken of the same images
        for one, image in open_images(task.parts, lambda one: one.burst, are_checked=bool(task.timings)):
            log.info("%s: %d by %d pixels", one.burst.label, one.part.inside.rows, one.part.inside.columns)
            _write_part(slc, one, date, heights, image)
    (staging / name).symlink_to(f"{name}.full")
    write_isce_headers(staging / name, header, "slcimage", final / name)


def _write_part(slc: IsceWriter, one: DatePart, date: OpenDate, heights: IsceReader, image: DatasetReader) -> None:
    part = one.part
    if one.is_reference:
        blocks = iter_samples(one.burst, part.inside, READ_LINES, image)
        for number, samples in enumerate(blocks):
            row = part.row + number * READ_LINES
            known = np.isfinite(heights.read(replace(part.where, row=row, rows=len(samples)))[:, 0])
            slc.write(row, part.column, np.where(known, samples, np.complex64(0)))
        return
    for row, block in resample_window(one, part.inside, date, heights, image):
        slc.write(row, part.column, block)


def _write_baselines(task: CoregisterTask, orbits: tuple[Orbit, ...], runs: Path) -> tuple[float, float]:
    """Write the baselines of the swaths and their grid; the perpendicular and parallel one at the grid's middle."""
    stack, grid = task.stack, task.stack.grid
    arcs = (
        fit_pass_arc(orbits[0], [one.part.burst for one in task.parts]),
        fit_pass_arc(orbits[1], [one.burst for one in task.parts]),
    )
    columns = max(round((grid.far_range_m - grid.near_range_m) / _GRID_RANGE_M), 1) + 1
    rows = max(round(grid.lines * grid.line_interval_s / _GRID_TIME_S), 1) + 1
    time = arcs[0].seconds(grid.first_line_time) + np.linspace(0, (grid.lines - 1) * grid.line_interval_s, rows)
    range_m = np.linspace(grid.near_range_m, grid.far_range_m, columns)
    perpendicular, parallel = _measure(time[:, None], range_m, arcs)
    final = runs / stack.baseline_grid(task.date)
    with replaced_folder(final) as staging:
        path = staging / task.date
        write_isce_image(path, perpendicular.astype(np.float32), known_as=final / task.date)
        write_text(staging / f"{task.date}.full.vrt", _stretch(task.date, perpendicular.shape, grid.shape))
    if not task.is_reference:
        with replaced_folder(runs / stack.baseline(task.date)) as staging:
            write_text(staging / f"{stack.reference}_{task.date}.txt", _list_baselines(task, arcs))
    return float(perpendicular[rows // 2, columns // 2]), float(parallel[rows // 2, columns // 2])


def _measure(
    time: NDArray[np.float64], range_m: NDArray[np.float64], arcs: tuple[OrbitArc, OrbitArc]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return measure_baselines(rdr2geo(time, range_m, 0.0, arcs[0]), *arcs)


def _list_baselines(task: CoregisterTask, arcs: tuple[OrbitArc, OrbitArc]) -> str:
    """The lines that topsStack writes for each swath: averages over its bursts, at the middle of each."""
    lines = []
    for swath in task.stack.swaths:
        grids = [one.part.burst.grid for one in task.parts if one.burst.swath == swath]
        time = np.array([arcs[0].seconds(grid.mid_time) for grid in grids])
        middle = np.array([(grid.near_range_m + grid.far_range_m) / 2 for grid in grids])
        perpendicular, parallel = _measure(time, middle, arcs)
        lines += [
            f"swath: {swath}",
            f"Bperp (average): {perpendicular.mean()}",
            f"Bpar (average): {parallel.mean()}",
        ]
    return "\n".join(lines) + "\n"


def _stretch(name: str, shape: tuple[int, ...], whole: tuple[int, int]) -> str:
    """A virtual image of the size of the stack's grid, bilinear between the postings of a coarse one."""
    return f"""<VRTDataset rasterXSize="{whole[1]}" rasterYSize="{whole[0]}">
  <VRTRasterBand dataType="Float32" band="1">
    <SimpleSource resampling="bilinear">
      <SourceFilename relativeToVRT="1">{name}.vrt</SourceFilename>
      <SourceBand>1</SourceBand>
      <SrcRect xOff="0" yOff="0" xSize="{shape[1]}" ySize="{shape[0]}"/>
      <DstRect xOff="0" yOff="0" xSize="{whole[1]}" ySize="{whole[0]}"/>
    </SimpleSource>
  </VRTRasterBand>
</VRTDataset>
"""


STEP = _Coregister()
