"""A multiplied swath on the disk, between the steps that make and use it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from topsar.files import read_json, save_array, write_json
from topsar.kernels.mosaic import LookSums, Part
from topsar.kernels.registration import Overlap
from topsar.model import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.kernels.mosaic import Mosaic


def save_swath(folder: Path, where: Window, mosaic: Mosaic, overlaps: Sequence[Overlap]) -> None:
    """Write the mosaic of a swath.

    Parameters
    ----------
    folder : Path
    where : Window
        Of the pair's grid.
    mosaic : Mosaic
    overlaps : sequence of Overlap
    """
    arrays = {**mosaic.sums._asdict(), "doppler": mosaic.doppler_hz, "burst": mosaic.burst, "margin": mosaic.margin_m}
    if mosaic.backscatter is not None:
        arrays["backscatter"] = mosaic.backscatter
    for name, values in arrays.items():
        save_array(folder / f"{name}.npy", values)
    write_json(folder / "window.json", asdict(where))
    known = [(len(one.phase), *one.bursts) for one in overlaps]
    save_array(folder / "overlap_sizes.npy", np.array(known, np.int64).reshape(-1, 3))
    values = [np.vstack([one.phase, one.separation_hz, one.weight, one.cell, one.place]) for one in overlaps]
    save_array(folder / "overlaps.npy", np.hstack([np.zeros((6, 0)), *values]))


def load_swath(folder: Path) -> tuple[NDArray[np.int16], Part, list[Overlap]]:
    """Load burst numbers, part of the pair's grid and overlaps that `save_swath` left; arrays are read when used."""
    sums = LookSums(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in LookSums._fields))
    doppler, burst, margin = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("doppler", "burst", "margin"))
    backscatter, where = folder / "backscatter.npy", Window(**read_json(folder / "window.json"))
    part = Part(
        where=where,
        sums=sums,
        doppler_hz=doppler,
        margin_m=margin,
        backscatter=np.load(backscatter, mmap_mode="r") if backscatter.is_file() else None,
    )
    return burst, part, load_overlaps(folder)


def load_overlaps(folder: Path) -> list[Overlap]:
    """Load the overlaps that `save_swath` left, with places in the pair's grid."""
    where = read_json(folder / "window.json")
    origin = np.array([[where["row"]], [where["column"]]])
    sizes = np.load(folder / "overlap_sizes.npy")
    parts = np.split(np.load(folder / "overlaps.npy"), np.cumsum(sizes[:, 0])[:-1], axis=1) if len(sizes) else []
    return [
        Overlap(
            phase=part[0],
            separation_hz=part[1],
            weight=part[2],
            cell=part[3].astype(np.int64),
            bursts=(int(upper), int(lower)),
            place=part[4:].astype(np.int64) + origin,
        )
        for part, (_, upper, lower) in zip(parts, sizes, strict=True)
    ]
