"""The manifest of a product: what it is, which files it has, how long they are and their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.simulate.document import render_document
from topsar.simulate.mode import SATELLITE_ID

if TYPE_CHECKING:
    from topsar.simulate.geolocation import GridPoint
    from topsar.simulate.plan import ProductPlan

_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFile:
    """A file of a product: ``kind`` is Product (annotation), Noise, Calibration or Measurement."""

    path: str
    kind: str
    size: int
    md5: str
    described_by: tuple[str, ...] = ()

    @property
    def schema(self) -> str:
        """Identifier of the schema."""
        return f"s1Level1{self.kind}Schema"

    @property
    def id(self) -> str:
        """Identifier inside the manifest."""
        return ("product" if self.kind == "Product" else "") + Path(self.path).stem.replace("-", "")

    @property
    def is_measurement(self) -> bool:
        """Whether it holds the image."""
        return self.kind == "Measurement"


def describe_file(root: Path, path: str, kind: str, described_by: Sequence[ProductFile] = ()) -> ProductFile:
    """Describe a complete file for the manifest.

    Parameters
    ----------
    root : Path
        Folder of the product.
    path : str
        Place of the file in it.
    kind : {"Product", "Noise", "Calibration", "Measurement"}
        What the file is.
    described_by : sequence of ProductFile
        Annotation, noise and calibration of a measurement.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with (root / path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    described = tuple(f"{other.id}Annotation" for other in described_by)
    size = (root / path).stat().st_size
    return ProductFile(path=path, kind=kind, size=size, md5=digest.hexdigest(), described_by=described)


def write_manifest(
    root: Path, product: ProductPlan, files: Sequence[ProductFile], corners: Sequence[GridPoint]
) -> None:
    """Write the manifest of a product.

    Parameters
    ----------
    root : Path
        Folder of the product.
    product : ProductPlan
        What it holds.
    files : sequence of ProductFile
        All its files, in order.
    corners : sequence of GridPoint
        The four corners of the footprint, in order around it.
    """
    processed = product.stop + timedelta(hours=3)
    node = product.track.node_time
    text = render_document(
        "manifest.safe",
        product=product,
        files=files,
        processed=(processed, processed + timedelta(minutes=5)),
        satellite_id=SATELLITE_ID[product.acquisition.mission],
        since_node_ms=[(time - node).total_seconds() * 1e3 for time in (product.start, product.stop)],
        places=" ".join(f"{p.ground.latitude_deg:.6f},{p.ground.longitude_deg:.6f}" for p in corners),
    )
    (root / "manifest.safe").write_text(text + "\n", encoding="utf-8")
