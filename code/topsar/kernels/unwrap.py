"""Phase unwrapping by the packages made for it: SNAPHU and whirlwind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TILE_PIXELS = 10_000_000
"""SNAPHU unwraps in one tile up to this size, which takes it 1.1 GB; a full frame at 80 m has some 8 million."""
_TILE_OVERLAP = 200


def count_tiles(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of SNAPHU tiles so that none has more than about `TILE_PIXELS`."""
    rows, columns = shape
    count = math.ceil(rows * columns / TILE_PIXELS)
    down = max(min(round(math.sqrt(count * rows / columns)), count), 1)
    return down, math.ceil(count / down)


def unwrap(
    phase: NDArray[np.complex64],
    coherence: NDArray[np.float32],
    looks: float,
    *,
    method: str,
    threads: int,
    scratch: Path,
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Unwrap an interferogram.

    Parameters
    ----------
    phase : (rows, columns) complex64
        Interferogram; zero where there is no signal.
    coherence : (rows, columns) float32
        0 to 1.
    looks : float
        Independent looks behind the coherence.
    method : {"snaphu", "whirlwind"}
        Unwrapper. SNAPHU: statistical costs for smooth deformation (Chen and Zebker, 2001, JOSA A 18).
    threads : int
        Tiles unwrapped at once by SNAPHU.
    scratch : Path
        Existing folder for SNAPHU's own files.

    Returns
    -------
    unwrapped : (rows, columns) float32
        Radians, NaN where there is no signal. The largest component's median lies within ±π.
    components : (rows, columns) uint32
        Connected components from 1; 0 where unwrapping is not reliable.
    """
    mask = phase != 0
    if method == "snaphu":
        import snaphu

        grid = count_tiles(phase.shape)
        unwrapped, components = snaphu.unwrap(
            phase,
            coherence,
            looks,
            mask=mask,
            ntiles=grid,
            tile_overlap=0 if grid == (1, 1) else _TILE_OVERLAP,
            nproc=min(threads, grid[0] * grid[1]),
            init="mst",  # SNAPHU's own default: twenty times faster than minimum cost flow, and optimised afterwards
            single_tile_reoptimize=False,  # it would hold the whole grid as one tile, and take its time
            scratchdir=scratch,
        )
    else:
        import whirlwind

        unwrapped, components = whirlwind.unwrap(phase, coherence, min(max(looks, 1.0), 300.0), mask)
    components = np.where(mask, components, 0).astype(np.uint32)
    sizes = np.bincount(components[components > 0])
    anchor = components == sizes.argmax() if sizes.size else mask
    if anchor.any():
        unwrapped = unwrapped - np.float32(2 * np.pi * np.round(np.median(unwrapped[anchor]) / (2 * np.pi)))
    return np.where(mask, unwrapped, np.nan).astype(np.float32), components


def add_cycles(wrapped_rad: NDArray[np.float32], near_rad: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add to wrapped phase the whole cycles that bring it nearest to another phase.

    Parameters
    ----------
    wrapped_rad, near_rad : (rows, columns) float32
        The result is NaN where one of them is.
    """
    cycles = np.rint((near_rad - wrapped_rad) / np.float32(2 * np.pi))
    return np.asarray(wrapped_rad + 2 * np.pi * cycles.astype(np.float64), np.float32)
