"""A multiplied swath on the disk, between the steps that make and use it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.files import read_json, save_array, write_json
from topsar.kernels.mosaic import LookSums
from topsar.kernels.registration import Overlap
from topsar.model import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.kernels.mosaic import Mosaic


class SwathInterferogram(NamedTuple):
    """The arrays of a `Mosaic` in a window of the pair's grid, and the overlaps of its bursts.

    Bursts are numbered from zero in each swath.
    """

    where: Window
    sums: LookSums
    doppler_hz: NDArray[np.float32]
    burst: NDArray[np.int16]
    margin_m: NDArray[np.float32]
    overlaps: list[Overlap]


def save_swath(folder: Path, where: Window, mosaic: Mosaic, overlaps: Sequence[Overlap]) -> None:
    """Write the mosaic of a swath, which lies in the window ``where`` of the pair's grid.

    Parameters
    ----------
    folder : Path
    where : Window
        Of the pair's grid.
    mosaic : Mosaic
    overlaps : sequence of Overlap
    """
    arrays = {**mosaic.sums._asdict(), "doppler": mosaic.doppler_hz, "burst": mosaic.burst, "margin": mosaic.margin_m}
    for name, values in arrays.items():
        save_array(folder / f"{name}.npy", values)
    write_json(folder / "window.json", asdict(where))
    save_array(folder / "overlap_sizes.npy", np.array([len(one.phase) for one in overlaps], np.int64))
    save_array(folder / "overlaps.npy", np.hstack([np.zeros((len(Overlap._fields), 0)), *map(np.vstack, overlaps)]))


def load_swath(folder: Path) -> SwathInterferogram:
    """What `save_swath` left in ``folder``; arrays are read when they are used."""
    sums = LookSums(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in LookSums._fields))
    doppler, burst, margin = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("doppler", "burst", "margin"))
    where = Window(**read_json(folder / "window.json"))
    return SwathInterferogram(where, sums, doppler, burst, margin, _load_overlaps(folder))


def _load_overlaps(folder: Path) -> list[Overlap]:
    ends = np.cumsum(np.load(folder / "overlap_sizes.npy"))
    parts = np.split(np.load(folder / "overlaps.npy"), ends[:-1], axis=1) if len(ends) else []
    return [Overlap(part[0], part[1], part[2], part[3].astype(np.int64)) for part in parts]
