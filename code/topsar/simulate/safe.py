"""One SAFE product, written whole: measurements, annotation, calibration, noise, manifest."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from topsar.files import atomic_path, replaced_folder
from topsar.sentinel1.overlay import OVERLAY, write_overlay
from topsar.simulate.annotation import (
    GRID_COLUMNS,
    GridPoint,
    find_grid_points,
    render_annotation,
    render_calibration,
    render_noise,
)
from topsar.simulate.document import render_document
from topsar.simulate.focus import Surface, focus_burst
from topsar.simulate.mode import SATELLITE_ID
from topsar.simulate.tiff import MeasurementFile

if TYPE_CHECKING:
    from topsar.model import Burst
    from topsar.simulate.plan import ProductPlan, SwathPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProductFile:
    """A file as the manifest lists it.

    ``kind`` is Product (annotation), Noise, Calibration, Measurement or MapOverlay.
    """

    path: str
    kind: str
    size: int
    md5: str
    described_by: tuple[str, ...]

    @property
    def id(self) -> str:
        """Identifier inside the manifest."""
        return ("product" if self.kind == "Product" else "") + Path(self.path).stem.replace("-", "")


def write_product(
    folder: Path,
    product: ProductPlan,
    surface: Surface,
    *,
    threads: int,
    watch: Callable[[str], None],
) -> Path:
    """Simulate and write a product; its folder or zip appears in ``folder`` when it is complete.

    Parameters
    ----------
    folder : Path
    product : ProductPlan
    surface : Surface
    threads : int
        Bursts focused at a time.
    watch : callable
        Told of every burst that is done.
    """
    target = folder / product.name
    if not product.recipe.zipped:
        with replaced_folder(target) as root:
            _write_content(root, product, surface, threads, watch)
        return target
    target = target.with_suffix(".zip")
    with atomic_path(target) as part, TemporaryDirectory(dir=folder, prefix=".") as scratch:
        root = Path(scratch, product.name)
        _write_content(root, product, surface, threads, watch)
        with zipfile.ZipFile(part, "w") as archive:
            for file in sorted(root.rglob("*")):
                archive.write(file, file.relative_to(scratch))
    return target


def _write_content(
    root: Path, product: ProductPlan, surface: Surface, threads: int, watch: Callable[[str], None]
) -> None:
    for sub in ("measurement", "annotation/calibration"):
        (root / sub).mkdir(parents=True)
    height = round(float(surface.terrain.height.mean()), 3)
    grids = {swath.name: find_grid_points(product, swath, height) for swath in product.swaths}
    images = {
        swath.name: MeasurementFile(
            root / swath.bursts[0].measurement,
            lines=swath.lines,
            samples=swath.bursts[0].grid.samples,
            points=grids[swath.name],
            description=f"Sentinel-1{product.acquisition.mission[-1]} IW SLC L1 (simulated)",
            time=swath.start,
        )
        for swath in product.swaths
    }

    def make(swath: SwathPlan, burst: Burst) -> float:
        block = focus_burst(product, swath, burst, surface=surface)
        images[swath.name].write(burst.first_line, block)
        watch(f"{product.start:%Y-%m-%d} {burst.label}")
        return float(np.mean(block[burst.valid.slices].astype(np.float64) ** 2))

    with ThreadPoolExecutor(threads) as pool:
        jobs = {swath.name: [pool.submit(make, swath, b) for b in swath.bursts] for swath in product.swaths}
        spread = {name: math.sqrt(np.mean([job.result() for job in made])) for name, made in jobs.items()}
    written: list[_ProductFile] = []
    for swath in product.swaths:
        name = swath.name
        annotation = render_annotation(
            product, swath, points=grids[name], data_offset=images[name].data_offset, spread=spread[name]
        )
        written += _write_annotation(root, product, swath, grids[name], annotation)
    _write_manifest(root, product, written, list(grids.values()))


def _write_annotation(
    root: Path, product: ProductPlan, swath: SwathPlan, points: tuple[GridPoint, ...], annotation: str
) -> list[_ProductFile]:
    """Write the documents of a swath and list all its files."""
    documents = {
        "Product": (f"annotation/{swath.stem}.xml", annotation),
        "Noise": (f"annotation/calibration/noise-{swath.stem}.xml", render_noise(product, swath)),
        "Calibration": (
            f"annotation/calibration/calibration-{swath.stem}.xml",
            render_calibration(product, swath, points),
        ),
    }
    for path, text in documents.values():
        (root / path).write_text(text, encoding="utf-8")
    files = [_describe_file(root, path, kind) for kind, (path, _) in documents.items()]
    return [*files, _describe_file(root, f"measurement/{swath.stem}.tiff", "Measurement", files)]


def _describe_file(root: Path, path: str, kind: str, described_by: Iterable[_ProductFile] = ()) -> _ProductFile:
    content = np.memmap(root / path, mode="r")
    return _ProductFile(
        path=path,
        kind=kind,
        size=content.size,
        md5=hashlib.md5(content.data, usedforsecurity=False).hexdigest(),
        described_by=tuple(f"{other.id}Annotation" for other in described_by),
    )


def _write_manifest(
    root: Path, product: ProductPlan, files: list[_ProductFile], grids: list[tuple[GridPoint, ...]]
) -> None:
    """Write where the product lies, what it is, which files it has, how long they are and their checksums."""
    near, far = grids[0], grids[-1]
    points = near[-GRID_COLUMNS], far[-1], far[GRID_COLUMNS - 1], near[0]
    corners = [(point.latitude_deg, point.longitude_deg) for point in points]
    write_overlay(root, corners)
    processed = product.stop + timedelta(hours=3)
    text = render_document(
        "manifest.safe",
        product=product,
        files=[*files, _describe_file(root, OVERLAY, "MapOverlay")],
        processed=(processed, processed + timedelta(minutes=5)),
        satellite_id=SATELLITE_ID[product.acquisition.mission],
        since_node_ms=[(t - product.track.node_time).total_seconds() * 1e3 for t in (product.start, product.stop)],
        places=" ".join(f"{latitude:.6f},{longitude:.6f}" for latitude, longitude in corners),
    )
    (root / "manifest.safe").write_text(text + "\n", encoding="utf-8")
