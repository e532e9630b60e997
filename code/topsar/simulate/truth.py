"""What was put in, written beside the products."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.files import write_json
from topsar.raster import Labels, write_geotiff
from topsar.simulate.mode import WAVELENGTH_M, noise_power
from topsar.simulate.motion import temporal_coherence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.simulate.plan import ProductPlan
    from topsar.simulate.recipe import Recipe
    from topsar.simulate.terrain import Terrain


def write_range_change(folder: Path, recipe: Recipe, terrain: Terrain, day: str, change: NDArray[np.float32]) -> None:
    """Write the extra slant range of a pass as ``range_change_<day>.tif``.

    Parameters
    ----------
    folder : Path
        Where it goes.
    recipe, terrain : Recipe, Terrain
        Give the grid.
    day : str
        ``YYYYMMDD``.
    change : (rows, columns) float32
        Metres, positive away from the satellite, at the terrain's nodes.
    """
    _write_map(folder / f"range_change_{day}.tif", recipe, terrain, change, "m", f"slant range change on {day}")


def write_maps(folder: Path, recipe: Recipe, terrain: Terrain) -> None:
    """Write heights, backscatter and the temporal coherence of every pair of a ``recipe`` into a ``folder``."""
    _write_map(folder / "height.tif", recipe, terrain, terrain.height, "m", "ellipsoidal height")
    gamma_db = 10 * np.log10(terrain.gamma)
    _write_map(folder / "gamma_nought.tif", recipe, terrain, gamma_db, "dB", "backscatter gamma nought")
    for first, second in combinations(range(len(recipe.acquisitions)), 2):
        days = [f"{recipe.acquisitions[k].day:%Y%m%d}" for k in (first, second)]
        coherence = temporal_coherence(recipe, terrain, first, second)
        name = f"temporal_coherence_{days[0]}_{days[1]}.tif"
        _write_map(folder / name, recipe, terrain, coherence, "1", f"temporal coherence {days[0]} to {days[1]}")


def write_facts(folder: Path, recipe: Recipe, terrain: Terrain, products: tuple[tuple[ProductPlan, ...], ...]) -> None:
    """Write ``truth.json`` into a ``folder``: the recipe, the products with their bursts, how to read the maps."""
    write_json(
        folder / "truth.json",
        {
            "wavelength_m": WAVELENGTH_M,
            "truth_phase": "reference * conj(secondary): 4 pi / wavelength * (range change secondary - reference)",
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
        "swaths": {
            swath.mode.name: {
                "incidence_deg": float(np.degrees(swath.incidence_rad)),
                "noise_power": noise_power(product.recipe.nesz_db, swath.incidence_rad),
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
