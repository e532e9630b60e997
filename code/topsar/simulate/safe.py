"""One SAFE product, written whole: measurements, annotation, calibration, noise, manifest."""

from __future__ import annotations

import math
import shutil
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topsar.simulate.annotation import render_annotation, render_calibration, render_noise
from topsar.simulate.focus import Surface, focus_burst
from topsar.simulate.geolocation import GRID_COLUMNS, GridPoint, find_grid_points
from topsar.simulate.manifest import ProductFile, describe_file, write_manifest
from topsar.simulate.tiff import MeasurementFile

if TYPE_CHECKING:
    from topsar.model import Burst
    from topsar.simulate.plan import ProductPlan, SwathPlan


def write_product(
    folder: Path,
    product: ProductPlan,
    surface: Surface,
    *,
    threads: int,
    watch: Callable[[str], None],
) -> Path:
    """Simulate and write a product; it appears in ``folder`` only when it is complete.

    Parameters
    ----------
    folder : Path
    product : ProductPlan
    surface : Surface
        The ground on that pass.
    threads : int
        Bursts focused at a time.
    watch : callable
        Told of every burst that is done.

    Returns
    -------
    Path
        The SAFE directory, or the zip that holds it.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    target = folder / (product.name.removesuffix(".SAFE") + ".zip" if product.recipe.zipped else product.name)
    part = folder / f".{product.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        root = part / product.name
        for sub in ("measurement", "annotation/calibration"):
            (root / sub).mkdir(parents=True)
        _write_content(root, product, surface, threads, watch)
        _replace(_zip_product(root) if product.recipe.zipped else root, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _write_content(
    root: Path, product: ProductPlan, surface: Surface, threads: int, watch: Callable[[str], None]
) -> None:
    height = round(float(surface.terrain.height.mean()), 3)
    grids = {swath.mode.name: find_grid_points(product, swath, height) for swath in product.swaths}
    files = {
        swath.mode.name: _open_measurement(root, product, swath, grids[swath.mode.name]) for swath in product.swaths
    }

    def make(swath: SwathPlan, burst: Burst) -> float:
        block = focus_burst(product, swath, burst, surface=surface)
        files[swath.mode.name].write(burst.first_line, block)
        watch(f"{product.start:%Y-%m-%d} {burst.label}")
        return float(np.mean(block[burst.valid.slices].astype(np.float64) ** 2))

    with ThreadPoolExecutor(threads) as pool:
        jobs = {swath.mode.name: [pool.submit(make, swath, b) for b in swath.bursts] for swath in product.swaths}
        spread = {name: math.sqrt(np.mean([job.result() for job in made])) for name, made in jobs.items()}
    written: list[ProductFile] = []
    for swath in product.swaths:
        name = swath.mode.name
        written += _write_annotation(root, product, swath, grids[name], files[name].data_offset, spread[name])
    write_manifest(root, product, written, _find_corners(list(grids.values())))


def _open_measurement(
    root: Path, product: ProductPlan, swath: SwathPlan, points: tuple[GridPoint, ...]
) -> MeasurementFile:
    grid = swath.bursts[0].grid
    return MeasurementFile(
        root / swath.bursts[0].measurement,
        lines=swath.lines,
        samples=grid.samples,
        points=[point.ground for point in points],
        description=f"Sentinel-1{product.acquisition.mission[-1]} IW SLC L1 (simulated)",
        time=swath.start,
    )


def _write_annotation(
    root: Path, product: ProductPlan, swath: SwathPlan, points: tuple[GridPoint, ...], data_offset: int, spread: float
) -> list[ProductFile]:
    stem = swath.stem
    documents = {
        "Product": (
            f"annotation/{stem}.xml",
            render_annotation(product, swath, points=points, data_offset=data_offset, spread=spread),
        ),
        "Noise": (f"annotation/calibration/noise-{stem}.xml", render_noise(product, swath)),
        "Calibration": (
            f"annotation/calibration/calibration-{stem}.xml",
            render_calibration(product, swath, points),
        ),
    }
    for path, text in documents.values():
        (root / path).write_text(text, encoding="utf-8")
    files = [describe_file(root, path, kind) for kind, (path, _) in documents.items()]
    return [*files, describe_file(root, f"measurement/{stem}.tiff", "Measurement", files)]


def _find_corners(grids: Sequence[tuple[GridPoint, ...]]) -> list[GridPoint]:
    """Last line near and far, first line far and near, over all swaths."""
    near, far = grids[0], grids[-1]
    return [near[-GRID_COLUMNS], far[-1], far[GRID_COLUMNS - 1], near[0]]


def _zip_product(root: Path) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent))
    return path


def _replace(made: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    made.replace(target)
