"""The step that splits the bursts of one swath and date into two sub-bands, and geocodes each.

Each band becomes a ``.npy`` as a geocoded burst is one, on pixels that its coarser resolution allows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import get_num_threads

from topsar.engines.ground import measure_pixel, open_dem_under, predict_dem
from topsar.engines.native.steps import BASE_MEMORY, geocode
from topsar.engines.native.steps.geocode import (
    BLOCK_ROWS,
    READ_LINES,
    BurstView,
    GeocodeTask,
    OpenSwath,
    SparsePlane,
    fill_plane,
    iter_ramped,
    open_images,
    radar_image,
    view_burst,
)
from topsar.engines.step import Cost, StepKind
from topsar.files import atomic_path, write_json
from topsar.kernels.resample import design_interpolator
from topsar.kernels.subband import OCCUPIED, SplitFilter, design_split, find_centroids, split_lines
from topsar.kernels.tops import turn
from topsar.model import SPEED_OF_LIGHT, Looks
from topsar.schedule.jobs import Artifact, Lifetime

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio.io import DatasetReader

    from topsar.engines.native.steps.burst_window import BurstWindow
    from topsar.kernels.resample import RadarImage
    from topsar.model import Burst, GeoGrid, Window

PIXEL_M = 20.0
"""Side of a geocoded sub-band's pixel, about: a third of the bandwidth resolves no less on the ground."""
SPLIT_LINES = 64
"""Lines transformed at once: their spectra stay in the cache, in memory that is not mapped anew each time."""
BANDS = "lower", "upper"
FREQUENCIES = "frequencies.json"
"""Spectral centroids of both bands of each burst, Hz from the carrier, by the burst's label."""


def choose_looks(grid: GeoGrid) -> Looks:
    """Choose how many pixels of a sub-band make one of the output grid."""
    east, north = measure_pixel(grid)
    return Looks(east=max(round(east / PIXEL_M), 1), north=max(round(north / PIXEL_M), 1))


def bands_folder(job: str) -> str:
    """Where the sub-bands of a geocoding job lie, relative to the runs folder."""
    return f"{job}/bands"


def band_file(window: BurstWindow, band: str) -> str:
    """A sub-band of a burst, relative to the runs folder."""
    return f"{bands_folder(window.job)}/{window.burst.label}_{band}.npy"


class _Split(StepKind[GeocodeTask]):
    """Both sub-bands of the bursts of a swath, from what geocoding reads; sizes are samples of the bursts."""

    name, task = "split", GeocodeTask
    cost = Cost(base_memory=BASE_MEMORY, memory=0, disk=0, start_s=1.5, microseconds=0.06, pixels_per_thread=2e7)
    pixel_bytes, block_bytes = 8, 20
    """On the disk, both bands of a pixel; memory per pixel of a block."""

    def size(self, task: GeocodeTask) -> float:
        return sum(window.burst.valid.rows * window.burst.valid.columns for window in task.windows)

    def extra_memory(self, task: GeocodeTask, dem_density: float) -> float:
        bursts = [window.burst for window in task.windows]
        planes = max(burst.valid.rows * burst.valid.columns * _find_share(burst) for burst in bursts) * 16
        lines = max(burst.valid.columns for burst in bursts) * (READ_LINES + 2 * SPLIT_LINES) * 8
        columns = max(window.grid.columns for window in task.windows) * task.looks.east
        dem = max(predict_dem(window.grid, dem_density) for window in task.windows)
        return planes + lines + columns * BLOCK_ROWS * self.block_bytes + dem

    def extra_disk(self, task: GeocodeTask) -> float:
        pixels = sum(window.grid.rows * window.grid.columns for window in task.windows) * task.looks.count
        return pixels * self.pixel_bytes

    def reads(self, task: GeocodeTask) -> tuple[str, ...]:
        return geocode.STEP.reads(task)

    def inputs(self, task: GeocodeTask) -> tuple[Path, ...]:
        return geocode.STEP.inputs(task)

    def writes(self, task: GeocodeTask) -> tuple[Artifact, ...]:
        """Leave the folder ``bands`` until nobody multiplies it any more."""
        return (Artifact(path=bands_folder(task.job), lifetime=Lifetime.SCRATCH),)

    def run(self, task: GeocodeTask, runs: Path, folder: Path) -> None:
        """Write two files per burst and their frequencies into ``bands``."""
        (folder / "bands").mkdir(parents=True, exist_ok=True)
        swath, frequencies = OpenSwath.of(task, runs), {}
        for window, image in open_images(task.windows, lambda window: window.burst):
            fine, field = replace(window, grid=window.grid.refine(task.looks)), open_dem_under(task.dem, window.grid)
            view = view_burst(fine, field, swath.orbit)
            bands = _split_burst(window.burst, view, view.seen, image, swath) if view.seen else None
            for number, band in enumerate(BANDS):
                with atomic_path(runs / band_file(window, band)) as path, path.open("wb") as file:
                    plane = SparsePlane(file, fine.grid.shape)
                    if bands is not None:
                        fill_plane(plane, view, field, bands.images[number], swath.memory)
            if bands is not None:
                frequencies[window.burst.label] = bands.centroids_hz
        write_json(folder / "bands" / FREQUENCIES, frequencies)


def _find_share(burst: Burst) -> float:
    """Samples of a sub-band over those of its burst."""
    return burst.range_bandwidth_hz * 2 * burst.grid.range_spacing_m / SPEED_OF_LIGHT / 3 / OCCUPIED


class _Bands(NamedTuple):
    """The sub-bands of a burst, and their spectral centroids, Hz from the carrier."""

    images: tuple[RadarImage, ...]
    centroids_hz: tuple[float, float]


def _split_burst(burst: Burst, view: BurstView, seen: Window, image: DatasetReader, swath: OpenSwath) -> _Bands:
    """Read, deramp and split a window of a burst, a few lines at a time."""
    split = design_split(burst, seen.columns)
    near_m = burst.grid.near_range_m + (seen.column - swath.delay_px) * burst.grid.range_spacing_m
    shape = seen.rows, split.count(seen.columns)
    planes = [[swath.memory.array(f"{band} {part}", shape, np.float32) for part in ("real", "imag")] for band in BANDS]
    moments = np.zeros((2, 2))
    for lines, samples, ramp in iter_ramped(burst, view.terms, seen, image):
        turn(samples, *ramp, 1.0)
        for first in range(0, len(samples), SPLIT_LINES):
            some = samples[first : first + SPLIT_LINES]
            place = slice(lines.start + first, lines.start + first + len(some))
            bands = split_lines(some, split, 2 * near_m / SPEED_OF_LIGHT, moments, get_num_threads())
            for (real, imag), values in zip(planes, bands, strict=True):
                real[place], imag[place] = values.real, values.imag
    whole = radar_image(burst, view.arc, view.terms, seen, *planes[0])
    images = [
        _place_band(whole._replace(real=real, imag=imag), split, near_m, split.find_frequency(centre))
        for (real, imag), centre in zip(planes, split.centres, strict=True)
    ]
    return _Bands(tuple(images), find_centroids(split, moments))


def _place_band(image: RadarImage, split: SplitFilter, near_m: float, frequency_hz: float) -> RadarImage:
    """Tie a sub-band to range and Doppler: it begins at ``near_m`` and has a sampling and a carrier of its own."""
    place = np.arange(image.k_t.size)
    sample = image.sample + split.step * np.arange(image.real.shape[1])
    k_t, f_dc, eta_ref = (np.interp(sample, place, values) for values in (image.k_t, image.f_dc, image.eta_ref))
    return image._replace(
        sample=0,
        near_range_m=near_m,
        range_spacing_m=split.step * image.range_spacing_m,
        wavelength_m=SPEED_OF_LIGHT / (SPEED_OF_LIGHT / image.wavelength_m + frequency_hz),
        k_t=k_t,
        f_dc=f_dc,
        eta_ref=eta_ref,
        range_table=design_interpolator(split.occupied),
    )


STEP = _Split()
