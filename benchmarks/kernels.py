"""Speed of the kernels, on real geometry: a burst of 1500 by 8000 samples over simulated ground."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import TAPS, interpolate, time_call, timed
from numpy.typing import NDArray

from topsar.engines.ground import LONLAT, change_crs, find_box, lay_nodes
from topsar.engines.native.steps.geocode import radar_image
from topsar.kernels.filter import filter_phase
from topsar.kernels.geometry import OrbitArc, geo2rdr, geodetic_to_ecef
from topsar.kernels.half import narrow
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums
from topsar.kernels.resample import RadarImage, geocode, place_nodes
from topsar.kernels.tops import DerampTerms, deramp, find_deramp_terms
from topsar.kernels.unwrap import unwrap
from topsar.model import Burst, GeoGrid, Looks
from topsar.raster import HeightField
from topsar.simulate.focus import Surface, focus_burst
from topsar.simulate.plan import ProductPlan, plan_products
from topsar.simulate.recipe import SwathCut, recipe
from topsar.simulate.terrain import Terrain, build_terrain, draw_field

LOOKS = Looks(east=16, north=8)
_SECOND = timedelta(seconds=1)


class Kernel(NamedTuple):
    """A call and the ``unit``s it does: how many million, or the array whose filled pixels are counted afterwards.

    ``bytes_each`` and ``adds_each`` are what one unit cannot do without: memory read and written once, and
    multiply-adds of the formulas; 0 where nobody has counted.
    """

    name: str
    unit: str
    work: float | NDArray[np.complex64]
    call: Callable[[], object]
    repeats: int = 5
    parallel: bool = True
    bytes_each: float = 0.0
    adds_each: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A burst, the ground under it, and a UTM grid over both."""

    product: ProductPlan
    burst: Burst
    arc: OrbitArc
    terms: DerampTerms
    terrain: Terrain
    field: HeightField
    grid: GeoGrid


def measure(threads: int, copy_gb_s: float) -> Iterator[dict[str, Any]]:
    """One row per kernel: first call, speed of one core and of all, and how near that is to what the machine can."""
    for kernel in _kernels():
        first = timed(kernel.call)
        work = kernel.work if isinstance(kernel.work, float) else np.count_nonzero(kernel.work) / 1e6
        one = time_call(kernel.call, threads=1, repeats=kernel.repeats)
        several = kernel.parallel and threads > 1
        together = time_call(kernel.call, threads=threads, repeats=kernel.repeats) if several else None
        yield {
            "kernel": kernel.name,
            "unit": kernel.unit,
            "first_call_s": first,
            "per_core": work / one.seconds,
            "multiply_adds_each": one.multiply_adds / work,
            "all_cores": work / together.seconds if together else None,
            "share_of_copy": kernel.bytes_each * work / one.seconds / 1e3 / copy_gb_s,
            "share_of_multiply_adds": kernel.adds_each * work / one.multiply_adds,
        }


def _kernels() -> Iterator[Kernel]:
    generator = np.random.default_rng(1)
    yield _plain(generator)
    scene = _scene()
    yield from _radar_kernels(scene, generator)
    yield from _multilook_kernels(generator)
    yield _simulator(scene)


def _plain(generator: np.random.Generator) -> Kernel:
    image = _noise(generator, (1100, 4100))
    weights = generator.random((1024, TAPS), dtype=np.float32)
    out = np.zeros((1000, 4000), np.complex64)
    return Kernel(
        name="plain 8x8 taps", unit="px", work=out.size / 1e6, bytes_each=16, adds_each=144,
        call=lambda: interpolate(image, weights, out),
    )  # fmt: skip


def _radar_kernels(scene: Scene, generator: np.random.Generator) -> Iterator[Kernel]:
    burst, terms, dem = scene.burst, scene.terms, scene.field.heights_m
    slc = _noise(generator, burst.grid.shape)
    real, imag = np.empty(slc.shape, np.float32), np.empty(slc.shape, np.float32)
    eta = (np.arange(burst.grid.lines) - burst.grid.lines / 2) * burst.grid.line_interval_s
    yield Kernel(
        name="deramp", unit="samples", work=slc.size / 1e6, bytes_each=16, adds_each=20,
        call=lambda: deramp(slc, eta, terms.k_t, terms.f_dc, terms.eta_ref, real, imag),
    )  # fmt: skip
    planes = (np.ascontiguousarray(plane[burst.valid.slices]) for plane in (real, imag))
    image: RadarImage = radar_image(burst, scene.arc, terms, burst.valid, *planes)
    nodes = lay_nodes(scene.grid, scene.field)
    yield Kernel("place_nodes", "nodes", nodes.shape[0] * nodes.shape[1] / 1e6, lambda: place_nodes(nodes, dem, image))
    placed = place_nodes(nodes, dem, image)
    out = np.zeros(scene.grid.shape, np.complex64)
    # 144 of the interpolation, 60 of the geometry, 30 of the height, 20 of the phase
    yield Kernel(
        name="geocode", unit="valid px", work=out, bytes_each=16, adds_each=254,
        call=lambda: geocode(placed.nodes, placed.active, dem, image, out),
    )  # fmt: skip
    parts = out.view(np.float32)
    halves = np.empty(parts.shape, np.float16)
    yield Kernel("to halves", "px", out.size / 1e6, lambda: narrow(parts, halves), bytes_each=12)
    lat, lon = np.meshgrid(scene.terrain.latitude_deg, scene.terrain.longitude_deg, indexing="ij")
    points = geodetic_to_ecef(np.radians(lat), np.radians(lon), dem.astype(np.float64))
    yield Kernel("geo2rdr", "points", lat.size / 1e6, lambda: geo2rdr(points, scene.arc))


def _multilook_kernels(generator: np.random.Generator) -> Iterator[Kernel]:
    shape = 120, 500
    fine = shape[0] * LOOKS.north, shape[1] * LOOKS.east, 2
    first, second = (generator.standard_normal(fine, dtype=np.float32).astype(np.float16) for _ in range(2))
    sums = LookSums.zeros(shape)
    yield Kernel(
        name="cross_multiply", unit="fine px", work=first.size / 2e6, bytes_each=8, adds_each=12,
        call=lambda: cross_multiply(first, second, LOOKS, sums),
    )  # fmt: skip
    phase, coherence = _interferogram(generator, (400, 400))
    work = phase.size / 1e6
    noise = np.full_like(coherence, 0.2)
    yield Kernel("filter", "px", work, lambda: filter_phase(phase, coherence, noise, 0.5), repeats=3, parallel=False)
    with tempfile.TemporaryDirectory() as scratch:
        for method in filter(find_spec, ("snaphu", "whirlwind")):

            def call(method: str = method) -> None:
                with _quiet():
                    unwrap(phase, coherence, 20.0, method=method, threads=1, scratch=Path(scratch))

            yield Kernel(f"unwrap {method}", "px", work, call, repeats=1, parallel=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what programs started from here print."""
    sys.stdout.flush()
    shown = os.dup(1)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(shown, 1)
        os.close(shown)


def _simulator(scene: Scene) -> Kernel:
    surface = Surface(terrain=scene.terrain, change=np.zeros(scene.terrain.shape, np.float32))
    swath = scene.product.swaths[0]
    work = scene.burst.grid.lines * scene.burst.grid.samples / 1e6
    return Kernel(
        name="simulate a burst", unit="samples", work=work, repeats=1, parallel=False,
        call=lambda: focus_burst(scene.product, swath, scene.burst, surface=surface),
    )  # fmt: skip


def _scene() -> Scene:
    cut = SwathCut(swath="IW2", first_sample=8000, samples=8000)
    chosen = replace(recipe("tiny"), cuts=(cut,), bursts=1)
    products = plan_products(chosen)
    product = products[0][0]
    burst = product.swaths[0].bursts[0]
    start, stop = burst.grid.first_line_time - _SECOND, burst.grid.stop_time + _SECOND
    arc = product.track.fit_arc(start, stop).narrow(start, stop)
    terrain = build_terrain(chosen, products)
    posting = terrain.posting_deg
    place = posting, 0.0, terrain.longitude_deg[0], 0.0, -posting, terrain.latitude_deg[0]
    return Scene(
        product=product,
        burst=burst,
        arc=arc,
        terms=find_deramp_terms(burst, arc),
        terrain=terrain,
        field=HeightField(heights_m=terrain.height, crs="EPSG:4326", transform=place),
        grid=_grid(terrain),
    )


def _grid(terrain: Terrain) -> GeoGrid:
    """Pixels of 5 m east by 10 m north over the ground that was made for the burst."""
    lat, lon = terrain.latitude_deg[[0, -1, -1, 0]], terrain.longitude_deg[[0, 0, -1, -1]]
    zone = f"EPSG:{32601 + int((lon.mean() + 180) // 6)}"
    return GeoGrid.cover(find_box(*change_crs(LONLAT, zone, lon, lat)), crs=zone, dx=5.0, dy=10.0)


def _noise(generator: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.complex64]:
    values = generator.standard_normal((shape[0], 2 * shape[1]), dtype=np.float32)
    return values.view(np.complex64)


def _interferogram(
    generator: np.random.Generator, shape: tuple[int, int]
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Fringes over coherent and incoherent ground."""
    spacing = 80.0, 80.0
    signal = 8 * draw_field(shape, spacing, exponent=3.6, band_m=(800.0, 40_000.0), seed=2)
    cover = draw_field(shape, spacing, exponent=2.6, band_m=(800.0, 10_000.0), seed=3)
    coherence = np.clip(0.6 + 0.2 * cover, 0.05, 0.98).astype(np.float32)
    spread = np.sqrt((1 - coherence**2) / (2 * 20.0)) / coherence
    phase = signal + spread * generator.standard_normal(shape, dtype=np.float32)
    return (coherence * np.exp(1j * phase)).astype(np.complex64), coherence
