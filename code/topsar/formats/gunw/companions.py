"""What lies beside a file: the browse image, and the record that the archive ingests."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.files import atomic_path
from topsar.formats.gunw.standard import NO_FRAME, VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.formats.gunw.product import Product


def draw_browse(path: Path, product: Product) -> None:
    """Draw the phase, wrapped again, a fifth as large; white where it is not reliable."""
    from PIL import Image

    from topsar.formats.quicklook.palette import PHASE

    step = max(round(max(product.grid.shape) / 1000), 1)
    phase = product.layers["unwrappedPhase"][::step, ::step]
    reliable = product.layers["connectedComponents"][::step, ::step] > 0
    painted = PHASE.pick_bytes((np.angle(np.exp(1j * phase)) + np.pi) / (2 * np.pi))
    painted[~reliable] = 255
    with atomic_path(path) as part:
        Image.fromarray(painted).save(part)


def make_record(product: Product) -> dict[str, Any]:
    """Make the record that the archive ingests."""
    facts = product.facts
    west, south, east, north = product.geometry.bounds
    days = abs(round(facts["temporal_baseline_days"]))
    frame = {} if product.frame == NO_FRAME else {"frame_number": product.frame}
    return {
        "label": product.name,
        "location": {"type": "Polygon", "coordinates": [list(map(list, product.geometry.exterior.coords))]},
        "creation_timestamp": format_time(datetime.fromisoformat(facts["created"])),
        "version": VERSION,
        "metadata": {
            "ogr_bbox": [[west, south], [east, south], [east, north], [west, north]],
            "reference_scenes": list(facts["reference_scenes"]),
            "secondary_scenes": list(facts["secondary_scenes"]),
            "sensing_start": format_time(product.reference.start),
            "sensing_stop": format_time(product.reference.stop),
            "version": VERSION,
            "temporal_baseline_days": days,
            "orbit_number": [product.reference.absolute_orbit, product.secondary.absolute_orbit],
            "platform": [f"Sentinel-1{one.mission[-1]}" for one in (product.reference, product.secondary)],
            "beam_mode": "IW",
            "orbit_direction": facts["direction"],
            "dataset_type": "slc",
            "product_type": "interferogram",
            "polarization": facts["polarisation"],
            "look_direction": "right",
            "track_number": facts["track"],
            "perpendicular_baseline": round(float(product.cube.values["perpendicularBaseline"].mean()), 4),
            **frame,
        },
    }


def format_time(time: datetime) -> str:
    """Format a time as file and record have it."""
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"
