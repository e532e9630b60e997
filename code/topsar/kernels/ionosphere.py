"""The ionosphere of a pair, from the phases of two sub-bands and the unwrapped phase of the whole band.

With φ = φ_n + φ_i at the carrier f₀ a band at f has φ_n f/f₀ + φ_i f₀/f: what grows with frequency is path, what falls
is ionosphere (Liang, Agram, Simons and Fielding, 2019, IEEE TGRS 57, "Ionospheric correction of InSAR time series
analysis of C-band Sentinel-1 TOPS data"). Of the lower and the upper band the difference δ = φ_L - φ_U needs no
unwrapping, and

    φ_i = (f₀ δ / (f_U - f_L) + φ) / (1 + f₀² / (f_L f_U)).

Everything here is on cells, some hundreds of metres wide. The noise of δ is amplified a hundred times: only the average
over kilometres tells, and only where a noise is predicted can an average be weighed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.kernels.smoothing import Cells, average_robustly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from topsar.model import Window

LEAST_CELLS = 20
"""Fewer cells that two swaths share tell nothing of their difference."""
SURE = 3.0
"""Standard errors from which on a difference between swaths is believed."""
LARGEST_ERROR = 0.125
"""Of the cycles of a component, beyond which their number is not known."""
REACH_M = 20_000.0
"""Components are compared over about this distance."""


class Offset(NamedTuple):
    """How much a swath's phase is above that of the one before it, its standard error, rad, and cells that tell."""

    value: float
    error: float
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandPair:
    """The sub-bands of one swath on a part of the pair's grid.

    Attributes
    ----------
    where : Window
    lower, upper : (rows, columns) complex64
        Complex coherence of each pixel.
    looks : (rows, columns) float32
        Independent looks of a pixel in one band.
    carrier_hz : float
    frequencies_hz : (float, float)
        Of the bands.
    """

    where: Window
    lower: NDArray[np.complex64]
    upper: NDArray[np.complex64]
    looks: NDArray[np.float32]
    carrier_hz: float
    frequencies_hz: tuple[float, float]

    @property
    def per_difference(self) -> float:
        """What δ is multiplied by."""
        lower, upper = self.frequencies_hz
        return self.carrier_hz / (upper - lower) * self.per_phase

    @property
    def per_phase(self) -> float:
        """What the phase of the whole band is multiplied by: half, nearly."""
        lower, upper = self.frequencies_hz
        return 1 / (1 + self.carrier_hz**2 / (lower * upper))


def sum_cells(values: NDArray[Any], where: Window, side: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Sum pixels of a part of a grid over cells of the whole grid.

    Parameters
    ----------
    values : (rows, columns)
    where : Window
        Of the grid.
    side : int
        Pixels of a cell, both ways.
    shape : (int, int)
        Cells of the grid.
    """
    top, left = where.row % side, where.column % side
    rows, columns = -(-(top + where.rows) // side), -(-(left + where.columns) // side)
    padded = np.zeros((rows * side, columns * side), values.dtype)
    padded[top : top + where.rows, left : left + where.columns] = values
    sums, row, column = np.zeros(shape, values.dtype), where.row // side, where.column // side
    sums[row : row + rows, column : column + columns] = padded.reshape(rows, side, columns, side).sum(axis=(1, 3))
    return sums


def part_components(
    components: NDArray[np.integer[Any]], phase_rad: NDArray[np.floating], least_pixels: int
) -> tuple[NDArray[np.intp], dict[int, int]]:
    """Part components where neighbours differ by half a cycle or more all around: an unwrapper that erred leaves that.

    Parameters
    ----------
    components : (rows, columns) int
    phase_rad : (rows, columns) float
        Unwrapped.
    least_pixels : int
        A smaller part belongs to none.

    Returns
    -------
    (rows, columns) int, dict
        Numbers of parts, 0 where there is none; the largest part of a component keeps its number. Of the others the
        component that they were in.
    """
    from scipy.ndimage import label

    seen = (components > 0) & np.isfinite(phase_rad)
    links = np.zeros([2 * n - 1 for n in components.shape], bool)
    links[::2, ::2] = seen
    cut = False
    for axis, between in ((0, links[1::2, ::2]), (1, links[::2, 1::2])):
        ahead, behind = ([slice(None)] * axis + [part] for part in (slice(1, None), slice(None, -1)))
        both = [values[tuple(part)] for values in (components, seen, phase_rad) for part in (ahead, behind)]
        together = (both[0] == both[1]) & both[2] & both[3]
        between[...] = together & (np.abs(both[4] - both[5]) < np.pi)
        cut = cut or bool((together & ~between).any())
    if not cut:
        return np.where(seen, components, 0).astype(np.intp), {}
    parts = label(links)[0][::2, ::2]
    sizes = np.bincount(parts[seen], minlength=1)
    whole, number, origins = np.zeros(sizes.size, np.intp), np.zeros(sizes.size, np.intp), {}
    whole[parts[seen]] = components[seen]
    fresh = int(components.max()) + 1
    for part in sorted(np.flatnonzero(sizes >= least_pixels), key=lambda part: -sizes[part]):
        if part and whole[part] not in number:
            number[part] = whole[part]
        elif part:
            number[part], origins[fresh] = fresh, int(whole[part])
            fresh += 1
    return np.where(seen, number[parts], 0), origins


def choose_components(components: NDArray[np.integer[Any]], side: int) -> NDArray[np.intp]:
    """Find the component that most pixels of each cell belong to, 0 where none does.

    Parameters
    ----------
    components : (rows, columns) int
    side : int
        Pixels of a cell.
    """
    shape = -(-components.shape[0] // side), -(-components.shape[1] // side)
    row, column = np.nonzero(components)
    label = components[row, column].astype(np.intp)
    count = int(label.max(initial=0)) + 1
    pixels = np.bincount(
        (row // side * shape[1] + column // side) * count + label, minlength=shape[0] * shape[1] * count
    )
    return np.asarray(pixels.reshape(*shape, count).argmax(axis=-1))


def measure_difference(
    pair: BandPair, flat: NDArray[np.complex64], coherence: NDArray[np.float32], side: int, shape: tuple[int, int]
) -> Cells:
    """Measure φ_L - φ_U of a swath in cells, and predict its variance from coherence and looks.

    Fringes are taken off both bands first, so that a cell may be wider than they are.

    Parameters
    ----------
    pair : BandPair
    flat : (rows, columns) complex64
        On the pair's grid, exp(-jφ) of the whole band; zero where a pixel is not to be used.
    coherence : (rows, columns) float32
    side : int
        Pixels of a cell.
    shape : (int, int)
        Cells of the grid.
    """
    where = pair.where.slices
    weight = coherence[where] * (flat[where] != 0) * (pair.looks > 0)
    lower, upper = (
        sum_cells(values * flat[where] * weight, pair.where, side, shape) for values in (pair.lower, pair.upper)
    )
    noise = (1 - coherence[where] ** 2) / np.maximum(2 * pair.looks, 1e-6)
    spread = sum_cells((weight**2 * noise).astype(np.float64), pair.where, side, shape)
    strength = sum_cells((weight * coherence[where]).astype(np.float64), pair.where, side, shape)
    known = (strength > 0) & (lower != 0) & (upper != 0)
    variance = np.divide(2 * spread, strength**2, out=np.full(shape, np.nan), where=known)
    phase = np.where(known, np.angle(lower * np.conj(upper)), np.nan)
    return Cells(phase.astype(np.float64), np.maximum(variance, 1e-12))


def combine(pair: BandPair, difference: Cells, phase_rad: NDArray[np.float64]) -> Cells:
    """Estimate φ_i of each cell of a swath.

    Parameters
    ----------
    pair : BandPair
    difference : Cells
    phase_rad : (rows, columns) float64
        Unwrapped phase of the whole band.
    """
    found = pair.per_difference * difference.phase + pair.per_phase * phase_rad
    variance = np.where(np.isfinite(found), pair.per_difference**2 * difference.variance, np.nan)
    return Cells(found, variance)


def find_noise_factor(cells: Cells, label: NDArray[np.intp]) -> float:
    """Find how many times the predicted deviation neighbouring cells of one component really differ.

    Parameters
    ----------
    cells : Cells
    label : (rows, columns) int
        Component of each cell.
    """
    found = []
    for phase, variance, place in ((*cells, label), tuple(values.T for values in (*cells, label))):
        ratio = np.diff(phase, axis=0) / np.sqrt(variance[1:] + variance[:-1])
        found.append(ratio[np.isfinite(ratio) & (np.diff(place, axis=0) == 0)])
    ratios = np.abs(np.concatenate(found))
    return float(1.4826 * np.median(ratios)) if ratios.size else 1.0


def find_offset(before: Cells, after: Cells) -> Offset | None:
    """Find by how much a swath is above the one before it, where both see the same cells; None where too few do.

    Parameters
    ----------
    before, after : Cells
    """
    step, variance = after.phase - before.phase, after.variance + before.variance
    known = np.isfinite(step) & np.isfinite(variance)
    if np.count_nonzero(known) < LEAST_CELLS:
        return None
    value, error = average_robustly(step[known], variance[known])
    return Offset(value, error, int(np.count_nonzero(known)))


def join_swaths(swaths: Sequence[Cells]) -> Cells:
    """Average the swaths where they overlap, each with the weight of its noise."""
    weight = np.zeros(swaths[0].phase.shape)
    total = weight.copy()
    for cells in swaths:
        known = np.isfinite(cells.phase)
        weight[known] += 1 / cells.variance[known]
        total[known] += cells.phase[known] / cells.variance[known]
    seen = weight > 0
    phase, variance = np.full(weight.shape, np.nan), np.full(weight.shape, np.nan)
    phase[seen], variance[seen] = total[seen] / weight[seen], 1 / weight[seen]
    return Cells(phase, variance)


def solve_cycles(
    cells: Cells, label: NDArray[np.intp], cycle_rad: float, cell_m: tuple[float, float]
) -> dict[int, int | None]:
    """Solve how many cycles each component is above the largest one, so that the ionosphere is smooth.

    Components are taken from the best known one on. Each is compared with those that are solved: one plane over both,
    and a step between them.

    Parameters
    ----------
    cells : Cells
    label : (rows, columns) int
        Component of each cell, 0 where there is none.
    cycle_rad : float
        What a cycle of the whole band's phase makes of φ_i.
    cell_m : (float, float)
        Sides of a cell, north and east.

    Returns
    -------
    dict
        Cycles by component; None where they cannot be told.
    """
    known = np.isfinite(cells.phase) & (label > 0)
    weight = np.bincount(label[known], 1 / cells.variance[known])
    order = [int(one) for one in np.argsort(-weight, kind="stable") if weight[one] > 0]
    solved: dict[int, int | None] = {one: 0 for one in order[:1]}
    phase = cells.phase.copy()
    for one in order[1:]:
        fixed = np.isin(label, [other for other, cycles in solved.items() if cycles is not None]) & known
        inside = known & (label == one)
        cycles = None
        if weight[one] ** -0.5 <= LARGEST_ERROR * cycle_rad:
            step, error = _find_step(Cells(phase, cells.variance), fixed, inside, cell_m)
            nearest = round(step / cycle_rad)
            if error <= LARGEST_ERROR * cycle_rad and abs(step / cycle_rad - nearest) <= 2 * LARGEST_ERROR:
                cycles = nearest
                phase[inside] -= nearest * cycle_rad
        solved[one] = cycles
    return solved


def _find_step(
    cells: Cells, fixed: NDArray[np.bool_], inside: NDArray[np.bool_], cell_m: tuple[float, float]
) -> tuple[float, float]:
    """Step from some cells to others and its standard error, with a plane over the neighbourhood of the latter."""
    row, column = np.nonzero(fixed | inside)
    north, east = row * cell_m[0], column * cell_m[1]
    member = inside[row, column]
    distance = np.hypot(north - north[member].mean(), east - east[member].mean())
    reach = max(REACH_M, float(distance[~member].min()))
    weight = np.exp(-0.5 * (distance / reach) ** 2) / cells.variance[row, column]
    design = np.stack([np.ones(row.size), (north - north.mean()) / reach, (east - east.mean()) / reach, member], axis=1)
    normal = design.T @ (weight[:, None] * design)
    if np.linalg.cond(normal) > 1e12:
        return 0.0, math.inf
    inverse = np.linalg.inv(normal)
    spread = design.T @ ((weight**2 * cells.variance[row, column])[:, None] * design)
    step = inverse @ (design.T @ (weight * cells.phase[row, column]))
    return float(step[3]), float(math.sqrt((inverse @ spread @ inverse)[3, 3]))
