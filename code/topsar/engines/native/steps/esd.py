"""Azimuth misregistration of a pair: measured in its burst overlaps, and what of it is removed by the setting ESD.

`multiply` finds the overlaps of a swath, `mosaic` measures in those of all swaths and removes what it measured;
`solve`, with ESD=network, fits one timing per date to what all pairs measured; `filter` chooses what is to be removed
after all. Where that differs from the pair's own estimate, the rest is a phase that goes with the Doppler of each
pixel: nothing is multiplied anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.files import read_json, write_json
from topsar.kernels.burst_constants import solve_constants
from topsar.kernels.registration import Overlap, TimingBias, measure_timing, remove_bias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST_CHANCE = 1e-4
"""Of overlaps that look so without constants of bursts, to believe in these."""
ESD_LEAST_PIXELS = 50
"""Fewer voting pixels give no estimate."""
NETWORK_FILE = "network.json"
"""Timings of all dates, in the folder of the step ``solve``."""
FILE = "registration.json"
"""What a pair's misregistration is, in the folders of the steps ``mosaic`` and ``filter``."""


def measure_constants(
    overlaps: Mapping[str, Sequence[Overlap]], joins: Sequence[Overlap], labels: Sequence[str]
) -> tuple[dict[str, Any], TimingBias | None]:
    """Solve constants of bursts and the timing of a pair of two satellites together.

    Parameters
    ----------
    overlaps : mapping
        Of each swath.
    joins : sequence of Overlap
        Between swaths.
    labels : sequence of str
        Of all bursts, by their numbers.

    Returns
    -------
    dict, TimingBias
        Facts; and the timing, where constants are significant.
    """
    found = solve_constants([*(one for swath in overlaps.values() for one in swath), *joins], len(labels))
    if found is None:
        return {"removed": False, "why": "no two bursts overlap coherently"}, None
    sure = found.chance < LARGEST_CHANCE
    told = zip(labels, found.value, found.error, strict=True)
    bursts = {label: {"rad": float(value), "standard_error_rad": float(error)} for label, value, error in told}
    facts = {"removed": sure, "chance": found.chance, "bursts": bursts}
    return facts, found.timing if sure else None


def remove_constants(
    cross: NDArray[np.complex64], burst: NDArray[np.int16], facts: Mapping[str, Any], labels: Sequence[str]
) -> None:
    """Remove the constants of bursts from an interferogram, in place, if they are significant.

    Parameters
    ----------
    cross : (rows, columns) complex64
    burst : (rows, columns) int16
        Number of the burst that each pixel comes from, -1 outside.
    facts : mapping
        As `measure_constants` found them.
    labels : sequence of str
        Of all bursts, by their numbers.
    """
    if facts["removed"]:
        values = [facts["bursts"][label]["rad"] for label in labels]
        cross *= np.exp(-1j * np.array([*values, 0.0]))[burst].astype(np.complex64)  # -1 is the last


def measure_bias(
    overlaps: Mapping[str, Sequence[Overlap]], interval_s: float, folder: Path, known: TimingBias | None = None
) -> float:
    """Measure a pair's misregistration, s, zero without estimate; write ``registration.json``, all in azimuth lines.

    Parameters
    ----------
    overlaps : mapping
    interval_s : float
        Seconds from line to line.
    folder : Path
    known : TimingBias, optional
        Solved together with constants of bursts: it takes the place of the estimate.
    """
    bias = known or measure_timing([overlap for swath in overlaps.values() for overlap in swath])
    voting = bias.pixels if bias else 0
    why = ""
    if not any(overlaps.values()):
        why = "no two bursts of a swath overlap"
    elif voting < ESD_LEAST_PIXELS:
        why = f"{voting} coherent pixels in burst overlaps, {ESD_LEAST_PIXELS} are needed"
    found = {} if known else {swath: measure_timing(part) for swath, part in overlaps.items()}
    enough = {swath: one for swath, one in found.items() if one is not None and one.pixels >= ESD_LEAST_PIXELS}
    write_json(
        folder / FILE,
        {
            "line_interval_s": interval_s,
            "estimate": None if why or bias is None else _convert_to_lines(bias, interval_s),
            "swaths": {swath: _convert_to_lines(one, interval_s) for swath, one in enough.items()},
            "why": why,
        },
    )
    return 0.0 if why or bias is None else bias.seconds


def _convert_to_lines(bias: TimingBias, interval_s: float) -> dict[str, Any]:
    return {
        "pixels": bias.seconds / interval_s,
        "standard_error_pixels": bias.deviation_s / interval_s,
        "voting_pixels": bias.pixels,
    }


def read_estimate(folder: Path) -> dict[str, Any] | None:
    """Read what `measure_bias` found for the pair in ``folder``, in azimuth lines; None where there is no estimate."""
    estimate: dict[str, Any] | None = read_json(folder / "mosaic" / FILE)["estimate"]
    return estimate


def choose_correction(esd: str | float, folder: Path, network: Path | None) -> None:
    """Choose what is removed from a pair, and write it into the folder of the step ``filter``.

    Parameters
    ----------
    esd : {"auto", "network", "off"} or float
    folder : Path
        Of the pair.
    network : Path, optional
        With the timings of all dates.
    """
    measured = read_json(folder / "mosaic" / FILE)
    own = measured["estimate"]
    if network is not None:
        chosen = _choose_from_network(folder.name, read_json(network / NETWORK_FILE))
    elif esd == "off":
        chosen = {"pixels": 0.0, "source": "off"}
    elif isinstance(esd, float):
        chosen = {"pixels": esd, "source": "given"}
    else:
        chosen = {**own, "source": "enhanced spectral diversity"} if own else _choose_nothing(measured["why"])
    chosen["estimate"] = {**own, "swaths": measured["swaths"]} if own else None
    missing = chosen["pixels"] - (own["pixels"] if own else 0.0)
    write_json(
        folder / "filter" / FILE,
        {"remaining_s": missing * measured["line_interval_s"], "azimuth_misregistration": chosen},
    )


def _choose_nothing(why: str) -> dict[str, Any]:
    return {"pixels": 0.0, "source": f"not estimated: {why}"}


def _choose_from_network(pair_id: str, network: Mapping[str, Any]) -> dict[str, Any]:
    pair = network["pairs"][pair_id]
    if pair["pixels"] is None:
        return _choose_nothing("no estimate connects the two dates")
    closure = network["closure"]
    return {
        "pixels": pair["pixels"],
        "standard_error_pixels": pair["standard_error_pixels"],
        "source": "enhanced spectral diversity, network of dates",
        "network": {
            "dates": len(network["dates"]),
            "pairs": len(network["pairs"]),
            "reference_pixels": pair["reference_pixels"],
            "secondary_pixels": pair["secondary_pixels"],
            "residual_pixels": pair["residual_pixels"],
            "residual_rms_pixels": network["residual_rms_pixels"],
            "triangles": closure["triangles"],
            "closure_rms_pixels": closure["rms_pixels"],
        },
    }


def read_correction(folder: Path) -> dict[str, Any]:
    """Read what is removed from the pair in ``folder``, as its facts tell it."""
    facts: dict[str, Any] = read_json(folder / "filter" / FILE)["azimuth_misregistration"]
    return facts


def read_cross(folder: Path) -> NDArray[np.complex64]:
    """Read the unfiltered interferogram of the pair in ``folder``, (rows, columns), with its correction removed."""
    cross: NDArray[np.complex64] = np.load(folder / "mosaic" / "cross.npy")
    remaining = read_json(folder / "filter" / FILE)["remaining_s"]
    if remaining:
        remove_bias(cross, np.load(folder / "mosaic" / "doppler.npy"), remaining)
    return cross
