"""A smooth field from noisy cells, and the constants by which the parts that show it differ, estimated together.

The field is a thin plate: linear between nodes, with a penalty on its bending. That is the best linear estimate of a
field whose spectrum falls with the fourth power of the wave number, as turbulence nearly does (11/3), about a plane of
any slope. How stiff it is, the data say: by restricted maximum likelihood (Wahba, 1985, Annals of Statistics 13, "A
comparison of GCV and GML"). So the error that follows is that of noise and of what noise hides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.kernels.smoothing import weigh_robustly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from topsar.kernels.smoothing import Cells

NODE_CELLS = 2
"""Cells from node to node: no average of fewer tells anything."""
DRAWS = 64
"""Fields that might as well be true: their deviation is known to 9 %."""
_LIMITS = -8.0, 18.0
"""Of the logarithm of the stiffness, with nodes of a kilometre: from rougher than noise to a plane."""
_NEAR = 3.0
"""A change of weights moves it by no more."""
_TOLERANCE = 0.2
_ROUNDS, _ABOUT_PLANE = 5, 3
"""Of weights, and those of them that are about a plane, lest outliers are followed."""
_SEED = 20181


class Field(NamedTuple):
    """A field in cells.

    Attributes
    ----------
    phase : (rows, columns) float64
    draws : (rows, columns, n) float32
        Errors that are as likely as its own.
    steps, step_errors : (parts - 1,) float64
        How much each part is above the one before, and its standard error.
    """

    phase: NDArray[np.float64]
    draws: NDArray[np.float32]
    steps: NDArray[np.float64]
    step_errors: NDArray[np.float64]

    @property
    def variance(self) -> NDArray[np.float64]:
        """Mean square of the error in each cell, (rows, columns)."""
        return np.asarray(np.einsum("ijk,ijk->ij", self.draws, self.draws, dtype=np.float64) / self.draws.shape[2])

    def center(self, known: NDArray[np.bool_]) -> Field:
        """Take its mean over some cells off, and off all draws: what is left has no constant."""
        return self._replace(phase=self.phase - self.phase[known].mean(), draws=self.draws - self.draws[known].mean(0))


def fit_field(parts: Sequence[Cells], cell_m: tuple[float, float], stepping: Sequence[bool] | None = None) -> Field:
    """Fit one field to cells of parts, with a step from part to part, robustly.

    Parameters
    ----------
    parts : sequence of Cells
        All of one shape; at least one cell is known.
    cell_m : (float, float)
        Sides of a cell, north and east.
    stepping : sequence of bool, optional
        Whether each part but the first may differ from the one before it; all may by default.
    """
    shape = parts[0].phase.shape
    nodes = tuple(-(-(n - 1) // NODE_CELLS) + 1 + (n == 1) for n in shape)
    model = _Model.build(parts, nodes, cell_m, [True] * (len(parts) - 1) if stepping is None else list(stepping))
    weight, stiffness = 1 / model.variance, _LIMITS[1]
    for number in range(_ROUNDS):
        if number == _ABOUT_PLANE:
            stiffness = model.find_stiffness(weight, _LIMITS)
        elif number > _ABOUT_PLANE:
            stiffness = model.find_stiffness(weight, (stiffness - _NEAR, stiffness + _NEAR))
        factor, found = model.solve(weight, stiffness)
        weight = weigh_robustly((model.values - model.design @ found) / np.sqrt(model.variance)) / model.variance
    errors = model.draw_errors(weight, stiffness, factor)
    count = math.prod(nodes)
    cells = _interpolate_nodes(np.indices(shape).reshape(2, -1), nodes)
    draws = (cells @ errors[:count]).reshape(*shape, DRAWS).astype(np.float32)
    steps, step_errors = np.zeros(len(parts) - 1), np.zeros(len(parts) - 1)
    steps[model.stepping] = found[count:]
    step_errors[model.stepping] = model.find_step_errors(factor)
    return Field((cells @ found[:count]).reshape(shape), draws, steps, step_errors)


class _Model(NamedTuple):
    """Values of cells as sums of nodes and steps, and what bending costs.

    ``design`` (cells, nodes + steps) and ``bending`` (terms, nodes + steps) are sparse.
    """

    values: NDArray[np.float64]
    variance: NDArray[np.float64]
    design: Any
    bending: Any
    stepping: NDArray[np.intp]

    @classmethod
    def build(
        cls, parts: Sequence[Cells], nodes: tuple[int, ...], cell_m: tuple[float, float], stepping: list[bool]
    ) -> _Model:
        from scipy import sparse

        known = [np.stack(np.nonzero(np.isfinite(part.phase))) for part in parts]
        number = np.repeat(np.arange(len(parts)), [place.shape[1] for place in known])
        values, variance = (
            np.concatenate([part[tuple(place)] for part, place in zip(found, known, strict=True)])
            for found in zip(*parts, strict=True)
        )
        steps = np.flatnonzero(stepping)
        above = sparse.csr_array((number[:, None] > steps).astype(np.float64))
        design = sparse.hstack([_interpolate_nodes(np.concatenate(known, axis=1), nodes), above], format="csr")
        free = sparse.csr_array((0, steps.size))
        bending = sparse.block_diag([_bend_plate(nodes, cell_m), free], format="csr")
        return cls(values, variance, design, bending, steps)

    def factorise(self, weight: NDArray[np.float64], stiffness: float) -> Any:
        from scipy.sparse.linalg import splu

        normal = self.design.T @ (self.design * weight[:, None]) + math.exp(stiffness) * (self.bending.T @ self.bending)
        tiny = 1e-12 * normal.diagonal().max()
        normal.setdiag(normal.diagonal() + tiny)
        return splu(normal.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solve(self, weight: NDArray[np.float64], stiffness: float) -> tuple[Any, NDArray[np.float64]]:
        factor = self.factorise(weight, stiffness)
        return factor, factor.solve(self.design.T @ (weight * self.values))

    def find_stiffness(self, weight: NDArray[np.float64], limits: tuple[float, float]) -> float:
        """The logarithm of the stiffness of the largest restricted likelihood, between limits."""
        from scipy.optimize import minimize_scalar

        right = self.design.T @ (weight * self.values)
        power = float(weight @ self.values**2)
        rank = self.design.shape[1] - self.stepping.size - 3  # a plane does not bend

        def misfit(stiffness: float) -> float:
            factor, found = self.solve(weight, stiffness)
            volume = float(np.log(np.abs(factor.U.diagonal())).sum())
            return float(volume + power - right @ found - rank * stiffness)

        return float(minimize_scalar(misfit, bounds=limits, method="bounded", options={"xatol": _TOLERANCE}).x)

    def draw_errors(self, weight: NDArray[np.float64], stiffness: float, factor: Any) -> NDArray[np.float64]:
        """Errors (nodes + steps, `DRAWS`) with the covariance of the estimate, by perturbing values and penalties."""
        random = np.random.default_rng(_SEED)
        noise = np.sqrt(weight)[:, None] * random.standard_normal((weight.size, DRAWS))
        bent = random.standard_normal((self.bending.shape[0], DRAWS))
        right = self.design.T @ noise + math.exp(stiffness / 2) * (self.bending.T @ bent)
        return np.asarray(factor.solve(right))

    def find_step_errors(self, factor: Any) -> NDArray[np.float64]:
        ends = np.zeros((self.design.shape[1], self.stepping.size))
        ends[-self.stepping.size or len(ends) :] = np.eye(self.stepping.size)
        return np.sqrt(np.einsum("ij,ij->j", ends, factor.solve(ends))) if ends.size else np.zeros(0)


def _interpolate_nodes(cell: NDArray[np.integer[Any]], nodes: tuple[int, ...]) -> Any:
    """Weights (cells, nodes), sparse, of the four nodes around each cell (2, cells)."""
    from scipy import sparse

    first = np.minimum(cell // NODE_CELLS, np.array(nodes)[:, None] - 2)
    down, right = cell / NODE_CELLS - first
    node, columns, count = first[0] * nodes[1] + first[1], nodes[1], cell.shape[1]
    weight = np.concatenate([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])
    corner = np.concatenate([node, node + 1, node + columns, node + columns + 1])
    return sparse.csr_array((weight, (np.tile(np.arange(count), 4), corner)), shape=(count, math.prod(nodes)))


def _bend_plate(nodes: tuple[int, ...], cell_m: tuple[float, float]) -> Any:
    """Second derivatives (terms, nodes), sparse, whose squares sum to the bending of a thin plate; per kilometre."""
    from scipy import sparse

    (rows, columns), (north, east) = nodes, (side * NODE_CELLS / 1000 for side in cell_m)

    def differ(count: int, weights: tuple[float, ...]) -> Any:
        return sparse.diags_array(weights, offsets=range(len(weights)), shape=(count - len(weights) + 1, count))

    area, twice, once = math.sqrt(north * east), (1.0, -2.0, 1.0), (-1.0, 1.0)
    terms = [
        sparse.kron(differ(rows, once), differ(columns, once)) * (math.sqrt(2) * area / (north * east)),
    ]
    if rows > 2:
        terms.append(sparse.kron(differ(rows, twice), sparse.eye_array(columns)) * (area / north**2))
    if columns > 2:
        terms.append(sparse.kron(sparse.eye_array(rows), differ(columns, twice)) * (area / east**2))
    return sparse.vstack(terms, format="csr")
