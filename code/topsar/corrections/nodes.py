"""Nodes of a grid between which smooth fields are interpolated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.ground import LONLAT, change_crs, measure_pixel
from topsar.kernels.resample import interpolate_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from topsar.model import GeoGrid

_BLOCK_ROWS = 256


def choose_step(grid: GeoGrid, spacing_m: float) -> int:
    """Choose the pixels from node to node.

    Parameters
    ----------
    grid : GeoGrid
    spacing_m : float
        Nodes lie at most this far apart, or at each pixel.
    """
    return max(int(spacing_m / max(measure_pixel(grid))), 1)


def lay_nodes(grid: GeoGrid, step: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of nodes, (r, c), degrees, from the centre of pixel (0, 0) until beyond the last.

    Parameters
    ----------
    grid : GeoGrid
    step : int
    """
    columns = (np.arange(-(-grid.columns // step) + 1) * step + 0.5) * grid.dx + grid.west
    rows = grid.north - (np.arange(-(-grid.rows // step) + 1) * step + 0.5) * grid.dy
    return change_crs(grid.crs, LONLAT, *np.meshgrid(columns, rows))


def spread_nodes(
    nodes: NDArray[np.float64], step: int, shape: tuple[int, int]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Interpolate between nodes: blocks of rows and their values (rows, columns, n).

    Parameters
    ----------
    nodes : (r, c, n) float64
    step : int
    shape : (int, int)
        Of the grid.
    """
    nodes = np.ascontiguousarray(nodes)
    for first in range(0, shape[0], _BLOCK_ROWS):
        block = slice(first, min(first + _BLOCK_ROWS, shape[0]))
        values = np.empty((block.stop - first, shape[1], nodes.shape[-1]))
        interpolate_nodes(nodes, step, (first, 0), values)
        yield block, values
