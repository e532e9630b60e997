"""A processed pair against the truth that was put in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pyproj import Transformer
from scipy.ndimage import binary_dilation, map_coordinates

from topsar.files import read_json
from topsar.raster import compute_pixel_centres, read_geotiff

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import GeoGrid

COHERENT = 0.5
"""Pixels above this coherence are compared."""
SEAM_PIXELS = 12
"""Pixels on either side of a seam that are compared with each other."""
_LEAST_PIXELS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Unfiltered phase minus truth where coherent, radians.

    ``expected_rad`` is the deviation that coherence and looks allow; ``tilt_rad`` the change of a fitted plane across
    the scene; ``seam_rad`` the largest step between neighbouring bursts along their common seam.
    """

    pair: str
    pixels: int
    mean_rad: float
    deviation_rad: float
    expected_rad: float
    tilt_rad: float
    seam_rad: float


def compare_pair(products: Path, truth: Path) -> Comparison:
    """Compare a processed pair with the truth.

    Parameters
    ----------
    products : Path
        The pair's folder of that name.
    truth : Path
        The simulated data set's folder of that name.
    """
    facts = read_json(products / "facts.json")
    phase, grid, _ = read_geotiff(products / "wrapped_phase.tif")
    coherence, noise, burst = (
        read_geotiff(products / f"{name}.tif")[0] for name in ("coherence", "phase_noise", "burst")
    )
    expected = _read_true_phase(facts, truth, grid)
    seen = (coherence > COHERENT) & np.isfinite(phase) & np.isfinite(expected)
    if not seen.any():
        nothing = float("nan")
        return Comparison(
            pair=facts["pair"], pixels=0, mean_rad=nothing, deviation_rad=nothing, expected_rad=nothing,
            tilt_rad=nothing, seam_rad=nothing,
        )  # fmt: skip
    difference = np.where(seen, np.angle(np.exp(1j * (phase - expected))), 0.0)
    values = difference[seen]
    return Comparison(
        pair=facts["pair"],
        pixels=int(seen.sum()),
        mean_rad=float(np.angle(np.exp(1j * values).mean())),
        deviation_rad=float(values.std()),
        expected_rad=float(np.sqrt((noise[seen] ** 2).mean())),
        tilt_rad=_fit_tilt(difference, seen),
        seam_rad=_find_worst_seam(difference, seen, burst),
    )


def _read_true_phase(facts: dict[str, Any], truth: Path, grid: GeoGrid) -> NDArray[np.float64]:
    """4π/λ times what the path of the phase grew from reference to secondary, at the pixel centres; NaN outside."""
    dates = facts["reference_date"], facts["secondary_date"]
    grown = read_true_change(truth, dates, grid)
    if any(truth.glob("ionosphere_*.tif")):
        grown -= read_true_change(truth, dates, grid, "ionosphere")
    return np.asarray(4 * np.pi / facts["wavelength_m"] * grown, dtype=np.float64)


def read_true_change(
    truth: Path, dates: tuple[str, str], grid: GeoGrid, what: Literal["range_change", "ionosphere"] = "range_change"
) -> NDArray[np.float64]:
    """Read how far slant range grew from one date to another, metres, at pixel centres; NaN outside the truth.

    Parameters
    ----------
    truth : Path
        Of the data set.
    dates : (str, str)
        As ``2025-03-03``.
    grid : GeoGrid
    what : {"range_change", "ionosphere"}
        The ground and the air, or the group delay of the ionosphere; a date without its map has none.
    """
    changes = []
    for day in (date.replace("-", "") for date in dates):
        values, source, _ = read_geotiff(truth / f"range_change_{day}.tif")
        if what == "ionosphere":
            path = truth / f"ionosphere_{day}.tif"
            values = read_geotiff(path)[0] if path.is_file() else 0 * values
        changes.append(values)
    lon, lat = Transformer.from_crs(grid.crs, source.crs, always_xy=True).transform(*compute_pixel_centres(grid))
    place = [(source.north - lat) / source.dy - 0.5, (lon - source.west) / source.dx - 0.5]
    change = map_coordinates(changes[1] - changes[0], place, order=1, cval=np.nan, output=np.float64)
    return np.asarray(change, dtype=np.float64)


def _fit_tilt(difference: NDArray[np.float64], seen: NDArray[np.bool_]) -> float:
    """Range of a fitted plane over the seen pixels."""
    row, column = np.nonzero(seen)
    design = np.stack([row, column, np.ones(len(row))], axis=1)
    plane = design @ np.linalg.lstsq(design, difference[seen], rcond=None)[0]
    return float(np.ptp(plane))


def _find_worst_seam(difference: NDArray[np.float64], seen: NDArray[np.bool_], burst: NDArray[np.int16]) -> float:
    """Largest step of the mean difference across the seam of two bursts."""
    steps = [0.0]
    numbers = [int(n) for n in np.unique(burst) if n >= 0]
    near = {n: binary_dilation(burst == n, iterations=SEAM_PIXELS) for n in numbers}
    for a, b in combinations(numbers, 2):
        sides = seen & (burst == a) & near[b], seen & (burst == b) & near[a]
        if min(side.sum() for side in sides) >= _LEAST_PIXELS:
            steps.append(float(abs(difference[sides[0]].mean() - difference[sides[1]].mean())))
    return max(steps)
