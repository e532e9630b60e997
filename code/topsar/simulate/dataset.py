"""A whole data set in the layout a user has: products, orbits, DEM, pairs, and the truth."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from topsar.files import write_text
from topsar.raster import Labels, write_geotiff
from topsar.simulate.eof import write_orbit_file
from topsar.simulate.focus import Surface
from topsar.simulate.motion import deformation_los, range_change
from topsar.simulate.plan import ProductPlan, plan_products
from topsar.simulate.recipe import Recipe
from topsar.simulate.safe import write_product
from topsar.simulate.terrain import Terrain, build_terrain
from topsar.simulate.truth import write_facts, write_maps, write_range_change

_WGS84_3D = "EPSG:4979"


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

    Returns
    -------
    Dataset

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
    write_maps(truth, recipe, terrain)
    watch("terrain")
    deformation = deformation_los(recipe, terrain, products[0][0])
    scenes, orbits = [], []
    for slices in products:
        change = range_change(recipe, terrain, slices[0], deformation)
        write_range_change(truth, recipe, terrain, f"{slices[0].acquisition.day:%Y%m%d}", change)
        orbits.append(write_orbit_file(orbit_data, slices[0]))
        surface = Surface(terrain=terrain, change=change)
        scenes.append(tuple(write_product(raw, p, surface, threads=threads, watch=watch) for p in slices))
    write_facts(truth, recipe, terrain, products)
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
    lines = ["# reference, secondary"]
    for pair in pairs:
        sides = [[product.name.removesuffix(".SAFE") for product in products[k]] for k in pair]
        lines.append(", ".join(_format_side(names) for names in sides))
    write_text(path, "\n".join(lines) + "\n")
    return path


def _format_side(names: list[str]) -> str:
    return names[0] if len(names) == 1 else "[" + ", ".join(f'"{name}"' for name in names) + "]"
