"""A whole data set in the layout a user has: products, orbits, DEM, pairs, and the truth."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, timezone
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from topsar.files import write_json, write_text
from topsar.raster import Labels, write_geotiff
from topsar.simulate.document import render_document
from topsar.simulate.focus import Surface
from topsar.simulate.mode import WAVELENGTH_M
from topsar.simulate.motion import compute_coherence, compute_deformation, compute_ionosphere, compute_range_change
from topsar.simulate.orbit import list_vectors
from topsar.simulate.plan import ProductPlan, plan_products
from topsar.simulate.recipe import Recipe
from topsar.simulate.safe import write_product
from topsar.simulate.terrain import Terrain, build_terrain

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WGS84_3D = "EPSG:4979"
_TAI_MINUS_UTC = timedelta(seconds=37)
_VECTOR = """\
    <OSV>
      <TAI>TAI=%s</TAI>
      <UTC>UTC=%s</UTC>
      <UT1>UT1=%s</UT1>
      <Absolute_Orbit>%+06d</Absolute_Orbit>
      <X unit="m">%+.6f</X>
      <Y unit="m">%+.6f</Y>
      <Z unit="m">%+.6f</Z>
      <VX unit="m/s">%+.6f</VX>
      <VY unit="m/s">%+.6f</VY>
      <VZ unit="m/s">%+.6f</VZ>
      <Quality>NOMINAL</Quality>
    </OSV>"""
_ORBIT_DELAY = timedelta(days=20, hours=8, minutes=7, seconds=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Where everything lies.

    ``scenes`` holds the products of every pass in order of time, by slice; ``pairs`` are indices into it.
    """

    folder: Path
    recipe: Recipe
    scenes: tuple[tuple[Path, ...], ...]
    orbits: tuple[Path, ...]
    dem: Path
    pairs_file: Path
    pairs: tuple[tuple[int, int], ...]
    truth: Path


def simulate(
    folder: Path, recipe: Recipe, *, threads: int | None = None, watch: Callable[[str], None] | None = None
) -> Dataset:
    """Simulate a data set: ``raw/``, ``orbit_data/``, ``dem/dem.tif``, ``pairs.txt`` and ``truth/`` under ``folder``.

    The same recipe gives the same bytes on every run, whatever the number of threads.

    Parameters
    ----------
    folder : Path
        Made if need be; products of the same name are replaced.
    recipe : Recipe
    threads : int, optional
        Bursts focused at a time; all cores by default.
    watch : callable, optional
        Told in a few words of each thing that is done.

    Raises
    ------
    ValueError
        If the recipe contradicts itself.
    ProductError, OSError
        If something cannot be written.
    """
    threads = threads or len(os.sched_getaffinity(0))
    watch = watch or (lambda _: None)
    raw, orbit_data, truth = folder / "raw", folder / "orbit_data", folder / "truth"
    for sub in (raw, orbit_data, folder / "dem", truth):
        sub.mkdir(parents=True, exist_ok=True)
    products = plan_products(recipe)
    terrain = build_terrain(recipe, products)
    dem = _write_dem(folder / "dem" / "dem.tif", terrain)
    _write_maps(truth, recipe, terrain)
    watch("terrain")
    deformation = compute_deformation(recipe, terrain, products[0][0])
    scenes, orbits = [], []
    for slices in products:
        change = compute_range_change(recipe, terrain, slices[0], deformation)
        day = f"{slices[0].acquisition.day:%Y%m%d}"
        _write_map(truth / f"range_change_{day}.tif", recipe, terrain, change, "m", f"slant range change on {day}")
        screen = compute_ionosphere(recipe, terrain, slices[0].number)
        if screen.any():
            _write_map(truth / f"ionosphere_{day}.tif", recipe, terrain, screen, "m", f"ionospheric delay on {day}")
        orbits.append(_write_orbit_file(orbit_data, slices[0]))
        surface = Surface(terrain=terrain, change=change, ionosphere=screen)
        scenes.append(tuple(write_product(raw, p, surface, threads=threads, watch=watch) for p in slices))
    _write_facts(truth, recipe, terrain, products)
    pairs = tuple(combinations(range(len(products)), 2))
    return Dataset(
        folder=folder,
        recipe=recipe,
        scenes=tuple(scenes),
        orbits=tuple(orbits),
        dem=dem,
        pairs_file=_write_pairs(folder / "pairs.txt", products, pairs),
        pairs=pairs,
        truth=truth,
    )


def _write_dem(path: Path, terrain: Terrain) -> Path:
    """The heights, with a three-dimensional CRS that declares them ellipsoidal."""
    grid = replace(terrain.grid(), crs=_WGS84_3D)
    write_geotiff(
        path, terrain.height, grid, nodata=float("nan"), labels=Labels(unit="m", description="ellipsoidal height")
    )
    return path


def _write_pairs(path: Path, products: tuple[tuple[ProductPlan, ...], ...], pairs: tuple[tuple[int, int], ...]) -> Path:
    sides = []
    for slices in products:
        names = [product.name.removesuffix(".SAFE") for product in slices]
        sides.append(names[0] if len(names) == 1 else json.dumps(names))
    lines = ["# reference, secondary", *(f"{sides[first]}, {sides[second]}" for first, second in pairs)]
    write_text(path, "\n".join(lines) + "\n")
    return path


def _write_orbit_file(folder: Path, product: ProductPlan) -> Path:
    """Write the POEORB of a pass: the day and a little more, a vector every ten seconds."""
    day = datetime.combine(product.start.date(), time(), timezone.utc)
    start, stop = day - timedelta(seconds=3618), day + timedelta(days=1, seconds=3582)
    created = day + _ORBIT_DELAY
    mission = product.acquisition.mission
    name = f"{mission}_OPER_AUX_POEORB_OPOD_{created:%Y%m%dT%H%M%S}_V{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}"
    vectors = list_vectors(product.track.make_orbit(start, stop))
    text = render_document(
        "orbit.eof",
        name=name,
        product=product,
        start=start,
        stop=stop,
        created=created,
        count=len(vectors),
        vectors=Markup("\n".join(_write_vector(*vector, product.absolute_orbit) for vector in vectors)),
    )
    path = folder / f"{name}.EOF"
    write_text(path, text + "\n")
    return path


def _write_vector(time: datetime, position: Sequence[float], velocity: Sequence[float], absolute_orbit: int) -> str:
    """Write a state vector; there are thousands, and a template takes seconds for them."""
    texts = [one.strftime("%Y-%m-%dT%H:%M:%S.%f") for one in (time + _TAI_MINUS_UTC, time)]
    return _VECTOR % (*texts, texts[1], absolute_orbit, *position, *velocity)


def _write_maps(folder: Path, recipe: Recipe, terrain: Terrain) -> None:
    """Write heights, backscatter and the temporal coherence of every pair."""
    _write_map(folder / "height.tif", recipe, terrain, terrain.height, "m", "ellipsoidal height")
    gamma_db = 10 * np.log10(terrain.gamma)
    _write_map(folder / "gamma_nought.tif", recipe, terrain, gamma_db, "dB", "backscatter gamma nought")
    for first, second in combinations(range(len(recipe.acquisitions)), 2):
        days = [f"{recipe.acquisitions[k].day:%Y%m%d}" for k in (first, second)]
        coherence = compute_coherence(recipe, terrain, first, second)
        name = f"temporal_coherence_{days[0]}_{days[1]}.tif"
        _write_map(folder / name, recipe, terrain, coherence, "1", f"temporal coherence {days[0]} to {days[1]}")


def _write_facts(folder: Path, recipe: Recipe, terrain: Terrain, products: tuple[tuple[ProductPlan, ...], ...]) -> None:
    """Write ``truth.json``: the recipe, the products with their bursts, how to read the maps."""
    write_json(
        folder / "truth.json",
        {
            "wavelength_m": WAVELENGTH_M,
            "truth_phase": "reference * conj(secondary): 4 pi / wavelength * (range change secondary - reference)",
            "ionosphere": "slant group delay, none without a map: its difference counts with a minus sign in the phase",
            "perpendicular_baseline": "positive where (ground - first) x (this - first) points along the flight",
            "shifts": "the image content lies so many lines and samples later than the annotation and the orbit say",
            "height": "ellipsoidal; between nodes the simulated ground is their Catmull-Rom interpolation",
            "recipe": recipe,
            "terrain": {
                "rows": terrain.shape[0],
                "columns": terrain.shape[1],
                "height_m": [float(terrain.height.min()), float(terrain.height.max())],
            },
            "passes": [[_list_facts(product) for product in slices] for slices in products],
        },
    )


def _list_facts(product: ProductPlan) -> dict[str, Any]:
    return {
        "scene": product.name,
        "start": product.start.isoformat(),
        "absolute_orbit": product.absolute_orbit,
        "perpendicular_baseline_m": product.acquisition.perpendicular_baseline_m,
        "azimuth_shift_px": product.acquisition.azimuth_shift_px,
        "range_shift_px": product.acquisition.range_shift_px,
        "swath_delays_m": dict(product.acquisition.swath_delays_m),
        "burst_phases_rad": dict(product.acquisition.burst_phases_rad),
        "swaths": {
            swath.name: {
                "incidence_deg": float(np.degrees(swath.incidence_rad)),
                "noise_power": swath.noise_power(product.recipe.nesz_db),
                "bursts": [burst.grid.first_line_time.isoformat() for burst in swath.bursts],
                "doppler_hz": [list(burst.doppler.coefficients) for burst in swath.bursts],
            }
            for swath in product.swaths
        },
    }


def _write_map(
    path: Path, recipe: Recipe, terrain: Terrain, values: NDArray[np.float32], unit: str, description: str
) -> None:
    step = recipe.truth_step
    grid = terrain.grid(step)
    decimated = np.ascontiguousarray(values[step // 2 :: step, step // 2 :: step][: grid.rows, : grid.columns])
    write_geotiff(path, decimated, grid, nodata=float("nan"), labels=Labels(unit=unit, description=description))
