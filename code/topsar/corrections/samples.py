"""The reliable pixels of a pair: what corrections are fitted to and judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram

LAYERS = ("unwrapped_phase", "height", "phase_noise", "components")
"""What samples are taken from."""
MOST_PIXELS = 1 << 20
"""Of larger grids every Nth row and column is taken."""
CELL_M, AREA_M = 2000.0, 8000.0
"""The phase has a constant in each cell of each connected component. Residuals depend on each other within an area."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """The reliable pixels, each (n,); ``component``, ``cell`` (of a component) and ``area`` count from 0.

    They lie in the rows and columns ``row`` and ``column`` of the grid, ``east_m`` and ``south_m`` from its corner.
    """

    phase: NDArray[np.float64]
    height: NDArray[np.float64]
    weight: NDArray[np.float64]
    component: NDArray[np.intp]
    cell: NDArray[np.intp]
    area: NDArray[np.intp]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    east_m: NDArray[np.float64]
    south_m: NDArray[np.float64]


def take_samples(ifg: Interferogram) -> Samples:
    """Take the reliable pixels of a pair that has `LAYERS`."""
    from topsar.engines.ground import measure_pixel

    step = max(math.ceil(math.sqrt(ifg.grid.rows * ifg.grid.columns / MOST_PIXELS)), 1)
    phase, height, noise, component = (ifg.layers[name].values[::step, ::step] for name in LAYERS)
    reliable = (component > 0) & np.isfinite(phase) & np.isfinite(height) & (noise > 0)
    row, column = np.nonzero(reliable)
    east, north = (step * side for side in measure_pixel(ifg.grid))
    labels = component[reliable].astype(np.intp)
    return Samples(
        phase=phase[reliable].astype(np.float64),
        height=height[reliable].astype(np.float64),
        weight=1 / noise[reliable].astype(np.float64) ** 2,
        component=number_labels(labels),
        cell=number_labels(labels, row * north // CELL_M, column * east // CELL_M),
        area=number_labels(row * north // AREA_M, column * east // AREA_M),
        row=row * step,
        column=column * step,
        east_m=np.asarray(column * east, np.float64),
        south_m=np.asarray(row * north, np.float64),
    )


def number_labels(*parts: NDArray[Any]) -> NDArray[np.intp]:
    """Number the combinations of some labels, each (n,), from 0."""
    number = np.zeros(parts[0].size, np.intp)
    for part in parts:
        values, place = np.unique(part, return_inverse=True)
        number = np.unique(number * max(values.size, 1) + place, return_inverse=True)[1]
    return number


def find_error(area: NDArray[np.intp], score: NDArray[np.float64], bend: float) -> float:
    """Find the standard error of a slope where residuals of an area depend on each other.

    Liang and Zeger, 1986, Biometrika 73, "Longitudinal data analysis using generalized linear models".

    Parameters
    ----------
    area : (n,) int
        Of each pixel, from 0.
    score : (n,) float64
        Derivative of the sum that was made least (squares, or Huber's) by the slope, per pixel.
    bend : float
        Its second derivative.
    """
    areas = int(area.max()) + 1
    if areas < 2 or not bend > 0:
        return math.inf
    sums = np.bincount(area, weights=score)
    return math.sqrt(float(sums @ sums) * areas / (areas - 1)) / bend


def find_means(
    values: NDArray[np.float64], group: NDArray[np.intp], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find the weighted mean of each pixel's group, (n,).

    Parameters
    ----------
    values : (n,) float64
    group : (n,) int
        From 0.
    weight : (n,) float64
    """
    sums, weights = (np.bincount(group, weights=x) for x in (weight * values, weight))
    return np.asarray((sums / weights)[group])
