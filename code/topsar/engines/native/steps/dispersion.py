"""The step that finds the amplitude dispersion of all dates of a stack."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterWindow

from topsar import __version__
from topsar.engines.native.steps.slc import STACKS, tile_rows
from topsar.engines.step import Cost, StepKind
from topsar.model import GeoGrid, Looks
from topsar.raster import Labels, open_geotiff
from topsar.raster.geotiff import NO_CACHE
from topsar.schedule.jobs import Artifact

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LEAST_DATES = 3
"""Of two amplitudes deviation over mean is their ratio in other words; from three on it says how steady a pixel is."""
SAMPLED_STRIPS = 16
"""Strips of a stack that decide how bright each date is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispersionTask:
    """The dates of a stack, whose amplitude dispersion is to be written; ``files`` are relative to the runs folder."""

    job: str
    stack: str
    files: tuple[str, ...]
    grid: GeoGrid
    looks: Looks

    @property
    def file(self) -> str:
        """Where it is written, relative to the runs folder."""
        return f"{STACKS}/{self.stack}/amplitude_dispersion.tif"

    @property
    def fine_pixels(self) -> int:
        """Size of each file."""
        return self.grid.rows * self.grid.columns * self.looks.count


class _Dispersion(StepKind[DispersionTask]):
    """Deviation of the amplitude over its mean, of the dates that see a pixel, each first divided by its brightness.

    Ferretti, Prati and Rocca, 2001, IEEE TGRS 39, "Permanent scatterers in SAR interferometry"; the deviation is that
    of a sample (n - 1). NaN where fewer than three dates have signal. Sizes are fine pixels times dates.
    """

    name, task = "dispersion", DispersionTask
    cost = Cost(base_memory=200_000_000, memory=0, disk=0, start_s=1.0, microseconds=0.05)
    strip_bytes, date_bytes = 14, 8
    """Memory per fine pixel of a strip; and of each date."""

    def size(self, task: DispersionTask) -> float:
        return task.fine_pixels * len(task.files)

    def extra_memory(self, task: DispersionTask, dem_density: float) -> float:  # noqa: ARG002
        strip = tile_rows(task.looks) * task.grid.columns * task.looks.east
        return strip * (self.strip_bytes + self.date_bytes * len(task.files))

    def extra_disk(self, task: DispersionTask) -> float:
        return 4 * task.fine_pixels

    def reads(self, task: DispersionTask) -> tuple[str, ...]:
        return task.files

    def writes(self, task: DispersionTask) -> tuple[Artifact, ...]:
        return (Artifact(path=task.file),)

    def run(self, task: DispersionTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write the file."""
        with ExitStack() as opened:
            opened.enter_context(rasterio.Env(**NO_CACHE))
            dates = [opened.enter_context(rasterio.open(runs / file)) for file in task.files]
            height, fine = tile_rows(task.looks), task.grid.refine(task.looks)
            strips = [
                RasterWindow(0, top, fine.columns, min(height, fine.rows - top)) for top in range(0, fine.rows, height)
            ]
            brightness = _measure_brightness(dates, strips)
            tags = {
                "PRODUCT": "amplitude dispersion",
                "DATES": " ".join(date.tags()["DATE"] for date in dates),
                "BRIGHTNESS": " ".join(f"{value:.6g}" for value in brightness),
                "SOFTWARE": f"topsar {__version__}",
            }
            with open_geotiff(
                runs / task.file,
                fine,
                "float32",
                nodata=math.nan,
                tile_rows=height,
                labels=Labels(unit="1", description="standard deviation of amplitude over its mean", tags=tags),
            ) as dataset:
                for strip in strips:
                    dataset.write(_compute_dispersion(dates, brightness, strip), 1, window=strip)


def _measure_brightness(dates: list[Any], strips: list[RasterWindow]) -> list[float]:
    """Mean amplitude of each date over pixels that all dates see, in strips spread over the grid; else over its own."""
    shared, own, counts = (np.zeros(len(dates)) for _ in range(3))
    for strip in strips[:: math.ceil(len(strips) / SAMPLED_STRIPS)]:
        amplitudes = [np.abs(date.read(1, window=strip)) for date in dates]
        by_all = np.all([amplitude > 0 for amplitude in amplitudes], axis=0)
        for index, amplitude in enumerate(amplitudes):
            shared[index] += amplitude[by_all].sum(dtype=np.float64)
            own[index] += amplitude.sum(dtype=np.float64)
            counts[index] += np.count_nonzero(amplitude)
    bright = shared if shared.all() else own / np.maximum(counts, 1)
    return [float(value) if value else 1.0 for value in bright / (bright.max() or 1.0)]


def _compute_dispersion(dates: list[Any], brightness: list[float], strip: RasterWindow) -> NDArray[np.float32]:
    shape = strip.height, strip.width
    count, total, squares = (np.zeros(shape, np.float32) for _ in range(3))
    for date, bright in zip(dates, brightness, strict=True):
        amplitude = np.abs(date.read(1, window=strip)) / np.float32(bright)
        count += amplitude > 0
        total += amplitude
        squares += amplitude * amplitude
    seen = count >= LEAST_DATES
    mean = total[seen] / count[seen]
    variance = np.maximum(squares[seen] - count[seen] * mean**2, 0) / (count[seen] - 1)
    dispersion = np.full(shape, np.nan, np.float32)
    dispersion[seen] = np.sqrt(variance) / mean
    return dispersion


STEP = _Dispersion()
