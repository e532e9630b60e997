"""Ramps that shifts by the ionosphere leave in bursts, and spectral diversity after these.

The pair's own misregistration was measured with the ionosphere in it. Once the shifts are known, one timing is measured
anew with them; the layer is what both together change of the phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.native.steps.esd import FILE, read_correction, read_estimate
from topsar.engines.native.steps.swath_file import load_overlaps
from topsar.files import read_json
from topsar.kernels.azimuth_shift import expect_shift, find_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.kernels.azimuth_shift import Share
    from topsar.kernels.field import Field

SURE = 3.0
"""Standard errors by which overlaps must show the shifts."""
LARGEST_SHARE = 2.5
"""Shells higher than so many times the usual height are none of the ionosphere's."""


def find_ramps(
    field: Field,
    side: int,
    spread: Callable[[NDArray[np.float64]], NDArray[np.float32]],
    places: Sequence[tuple[Path, dict[str, float]]],
    folder: Path,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Find the ramps of a pair and their deviation, rad, by pixel; and what is to be said of them.

    Parameters
    ----------
    field : Field
        The ionosphere in cells.
    side : int
        Pixels of a cell.
    spread : callable
        From cells to pixels.
    places : sequence of (Path, dict)
        Of each swath the folder of its overlaps, and how the beam moves there (``beam`` of its sub-bands).
    folder : Path
        Of the pair.
    """
    shifts, errors, overlaps, expected = [], [], [], []
    for multiplied, beam in places:
        rates = beam["rows_per_s"] / side, beam["columns_per_s"] / side
        shift, draws = (
            expect_shift(values, rates, beam["fm_rate_hz_s"], beam["height_m"]) for values in (field.phase, field.draws)
        )
        shifts.append(spread(shift))
        errors.append(spread(draws.std(axis=2)))
        for one in load_overlaps(multiplied):
            overlaps.append(one)
            expected.append(shifts[-1][tuple(one.place)].astype(np.float64))
    found = find_share(overlaps, expected)
    facts, why = _describe_share(found)
    if found is None or why:
        return {}, facts | {"refused": why}
    timing = _find_change(found.timing_s, folder)
    mean = float(np.mean(np.concatenate(expected)))
    doppler, swath = np.load(folder / "mosaic" / "doppler.npy"), _number_swaths(folder, [one for one, _ in places])
    ramps, deviation = np.full(doppler.shape, np.nan, np.float32), np.full(doppler.shape, np.nan, np.float32)
    for number, (slid, error) in enumerate(zip(shifts, errors, strict=True)):
        here = swath == number
        turn = 2 * np.pi * doppler[here]
        ramps[here] = turn * (found.value * slid[here] + timing)
        unsure = np.hypot(found.value * error[here], found.error * (slid[here] - mean))
        deviation[here] = np.abs(turn) * np.hypot(unsure, found.timing_error_s)
    facts["std_rad"] = round(float(np.nanstd(ramps)), 4)
    return {"ramps": ramps, "ramps_deviation": deviation}, facts


def _describe_share(found: Share | None) -> tuple[dict[str, Any], str]:
    """What the overlaps tell, and why it is not enough."""
    if found is None:
        return {}, "no coherent burst overlap tells of shifts along azimuth"
    facts = {"share": round(found.value, 4), "standard_error": round(found.error, 4), "timing_s": found.timing_s}
    told = f"burst overlaps have {found.value:.2f} ± {found.error:.2f} times the shifts that are expected"
    is_sure = found.value > SURE * found.error and found.value < LARGEST_SHARE
    return facts, "" if is_sure else told


def _find_change(timing_s: float, folder: Path) -> float:
    """How much a timing is above what spectral diversity took off, s; zero where the user gave the misregistration."""
    estimate, interval_s = read_estimate(folder), read_json(folder / "mosaic" / FILE)["line_interval_s"]
    if estimate is None or not read_correction(folder)["source"].startswith("enhanced"):
        return 0.0
    return timing_s - float(estimate["pixels"] * interval_s)


def _number_swaths(folder: Path, swaths: Sequence[Path]) -> NDArray[np.intp]:
    """Number of the swath that each pixel comes from, -1 outside."""
    names = [path.name.rpartition("_")[2] for path in swaths]
    labels = read_json(folder / "mosaic" / "facts.json")["bursts"]
    number = np.array([*(names.index(label.partition("_")[0]) for label in labels), -1])
    return np.asarray(number[np.load(folder / "mosaic" / "burst.npy")])
