"""Time, memory and size of each format, of a pair as large as ARIA's frames are at 80 m."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np

from sample_layers import FACTS, UTM
from topsar.formats import open_format
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import PRODUCTS, Interferogram, make_layers, read_pair
from topsar.model import GeoGrid
from topsar.registry import BUILT_IN
from topsar.settings import Options

SHAPE = 2550, 3600
"""Rows and columns of the box around the median of ARIA's frames, 288 by 204 km."""
_LEAN = 0.17
"""How far a descending track leans, columns per row."""
_PAIR = "T052_20230904T063730_20230916T063730"


def measure(folder: Path) -> Iterator[dict[str, Any]]:
    """One row for each format, each written by a process of its own from the products."""
    products = make_products(folder / "frame_pair")
    for name in BUILT_IN["formats"]:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            argv = [sys.executable, __file__, name, str(products), place]
            row: dict[str, Any] = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
            files = [path for path in Path(place).rglob("*") if path.is_file()]
            yield row | {"format": name, "files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def make_products(folder: Path) -> Path:
    """The products of the pair, made if they are not there yet."""
    products = folder / PRODUCTS
    if not (products / "facts.json").is_file():
        products.mkdir(parents=True, exist_ok=True)
        GeoTiff().write([make_pair()], products)
    return products


def make_pair() -> Interferogram:
    """Layers with signal and noise of a real pair's kind, in a footprint that leans."""
    grid = GeoGrid(crs=UTM.crs, west=400_000, north=3_600_000, dx=80, dy=80, rows=SHAPE[0], columns=SHAPE[1])
    rng = np.random.default_rng(3)
    row, column = np.mgrid[: grid.rows, : grid.columns].astype(np.float32)
    start = (grid.rows - row) * _LEAN
    outside = (column < start) | (column > start + 0.85 * grid.columns)
    waves = [np.sin(row / a + column / b) for a, b in ((310, 170), (90, 130), (33, 47))]
    height = 600 + 350 * waves[0] + 120 * waves[1] + 30 * waves[2]
    coherence = np.clip(0.5 + 0.3 * waves[1] + 0.08 * rng.standard_normal(grid.shape, np.float32), 0.02, 0.98)
    noise = np.sqrt((1 - coherence**2) / (2 * 40 * coherence**2))
    signal = 6 * waves[0] + 2 * waves[1]
    unwrapped = signal + noise * rng.standard_normal(grid.shape, np.float32)
    low = coherence < 0.2
    values = {
        "wrapped_phase": np.angle(np.exp(1j * unwrapped)),
        "filtered_phase": np.angle(np.exp(1j * signal)),
        "filtered_unwrapped_phase": np.where(low, np.nan, signal),
        "unwrapped_phase": np.where(low, np.nan, unwrapped),
        "displacement": np.where(low, np.nan, -0.0555 / (4 * np.pi) * unwrapped),
        "coherence": coherence,
        "amplitude": 80 * np.exp(0.4 * waves[2] + 0.15 * rng.standard_normal(grid.shape, np.float32)),
        "phase_noise": noise,
    }
    incidence = np.radians(30 + 16 * (1 - column / grid.columns)) + height * 1e-8
    whole = {
        "height": height,
        "los_east": 0.97 * np.sin(incidence),
        "los_north": 0.2 * np.sin(incidence),
        "los_up": np.cos(incidence),
        "incidence": np.degrees(incidence),
        "components": np.where(outside | low, 0, 1),
        "burst": np.where(outside, -1, row // 100),
        "layover_shadow": (waves[2] > 0.99).astype(np.uint8),
        "water": (waves[0] > 0.98).astype(np.uint8),
    }
    arrays = {name: np.where(outside, np.nan, array) for name, array in values.items()}
    return Interferogram(pair_id=_PAIR, grid=grid, layers=make_layers(arrays | whole), facts=dict(FACTS))


def _write(name: str, products: Path, place: Path) -> None:
    """Write one format, and print what it took."""
    started = time.perf_counter()
    open_format(name, Options().model_dump(mode="json")).write(iter([read_pair(products)]), place)
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "peak_bytes": _read_peak()}))


def _read_peak() -> int:
    """Most resident memory of this program; the kernel's count in ``getrusage`` begins with that of who started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    _write(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
