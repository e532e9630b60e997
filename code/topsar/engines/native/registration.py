"""Azimuth misregistration: measured in the burst overlaps of a pair, solved over dates, settled by the setting ESD.

`multiply` finds the overlaps of a swath, `mosaic` measures in those of all swaths and removes what it measured; the
step `solve` of a network job, with ESD=network, fits one timing per date to what all pairs measured; `filter` settles
what is to be removed after all. What that differs from the pair's own estimate is a phase that goes with the Doppler of
each pixel: nothing is multiplied anew.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.files import read_json, write_json
from topsar.kernels.registration import Overlap, TimingBias, remove_bias, solve_network, spectral_diversity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.native.tasks import NetworkTask, PairTask
    from topsar.kernels.registration import NetworkSolution

ESD_LEAST_PIXELS = 50
"""Fewer voting pixels give no estimate."""
WORST_TRIANGLES = 20
"""So many of those that close worst are listed."""
_FILE = "registration.json"
_NETWORK_FILE = "network.json"


# --- one pair ---------------------------------------------------------------------------------------------------


def measure(overlaps: Mapping[str, Sequence[Overlap]], interval_s: float, folder: Path) -> float:
    """Measure the misregistration of a pair and write ``registration.json``: all in azimuth lines, by swath too.

    Parameters
    ----------
    overlaps : mapping
        The overlaps of each swath.
    interval_s : float
        Seconds from line to line.
    folder : Path

    Returns
    -------
    float
        Seconds; zero where there is no estimate.
    """
    bias = spectral_diversity([overlap for swath in overlaps.values() for overlap in swath])
    voting = bias.pixels if bias else 0
    why = ""
    if voting < ESD_LEAST_PIXELS:
        why = "no two bursts of a swath overlap"
        if any(overlaps.values()):
            why = f"{voting} coherent pixels in burst overlaps, {ESD_LEAST_PIXELS} are needed"
    found = {swath: spectral_diversity(part) for swath, part in overlaps.items()}
    enough = {swath: one for swath, one in found.items() if one is not None and one.pixels >= ESD_LEAST_PIXELS}
    write_json(
        folder / _FILE,
        {
            "line_interval_s": interval_s,
            "estimate": None if why or bias is None else _in_lines(bias, interval_s),
            "swaths": {swath: _in_lines(one, interval_s) for swath, one in enough.items()},
            "why": why,
        },
    )
    return 0.0 if why or bias is None else bias.seconds


def _in_lines(bias: TimingBias, interval_s: float) -> dict[str, Any]:
    return {
        "pixels": bias.seconds / interval_s,
        "standard_error_pixels": bias.deviation_s / interval_s,
        "voting_pixels": bias.pixels,
    }


# --- all dates --------------------------------------------------------------------------------------------------


def solve(task: NetworkTask, runs: Path, folder: Path) -> None:
    """Fit one timing per pass to what the pairs measured, and write ``network.json``: all in azimuth lines."""
    folder.mkdir(parents=True, exist_ok=True)
    passes = sorted({name for pair in task.pairs for name in (pair.reference, pair.secondary)})
    place = {name: number for number, name in enumerate(passes)}
    ends = np.array([(place[pair.reference], place[pair.secondary]) for pair in task.pairs])
    measured = [read_json(runs / pair.pair / "mosaic" / _FILE)["estimate"] for pair in task.pairs]
    value = np.array([one["pixels"] if one else np.nan for one in measured])
    deviation = np.array([one["standard_error_pixels"] if one else np.nan for one in measured])
    solution = solve_network(len(passes), ends, value, deviation)
    names = [pair.pair for pair in task.pairs]
    write_json(
        folder / _NETWORK_FILE,
        {
            "dates": _dates(passes, solution),
            "pairs": _pairs(names, ends, solution),
            "residual_rms_pixels": _rms(solution.residual[np.isfinite(solution.residual)]),
            "closure": _closure(names, ends, value),
        },
    )


def _dates(passes: Sequence[str], solution: NetworkSolution) -> dict[str, Any]:
    return {
        name: {
            "group": int(solution.group[number]),
            "pixels": float(solution.value[number]),
            "standard_error_pixels": float(solution.deviation[number]),
        }
        for number, name in enumerate(passes)
    }


def _pairs(names: Sequence[str], ends: NDArray[np.int64], solution: NetworkSolution) -> dict[str, Any]:
    return {
        name: {
            "pixels": _finite(solution.pair_value[number]),
            "standard_error_pixels": _finite(solution.pair_deviation[number]),
            "residual_pixels": _finite(solution.residual[number]),
            "reference_pixels": float(solution.value[ends[number, 0]]),
            "secondary_pixels": float(solution.value[ends[number, 1]]),
        }
        for number, name in enumerate(names)
    }


def _closure(names: Sequence[str], ends: NDArray[np.int64], value: NDArray[np.float64]) -> dict[str, Any]:
    """By how much the estimates around each triangle of dates, a to b to c and back, miss zero."""
    known: dict[tuple[int, int], tuple[float, str]] = {}
    for name, (reference, secondary), shift in zip(names, ends.tolist(), value.tolist(), strict=True):
        if np.isfinite(shift):
            sign = 1 if reference < secondary else -1
            known[min(reference, secondary), max(reference, secondary)] = sign * shift, name
    after: dict[int, list[int]] = {}
    for a, b in sorted(known):
        after.setdefault(a, []).append(b)
    found = [
        (known[a, b][0] + known[b, c][0] - known[a, c][0], [known[a, b][1], known[b, c][1], known[a, c][1]])
        for a, later in after.items()
        for b, c in combinations(later, 2)
        if (b, c) in known
    ]
    found.sort(key=lambda triangle: -abs(triangle[0]))
    return {
        "triangles": len(found),
        "rms_pixels": _rms(np.array([missed for missed, _ in found])),
        "worst": [{"pixels": missed, "pairs": pairs} for missed, pairs in found[:WORST_TRIANGLES]],
    }


def _rms(values: NDArray[np.float64]) -> float | None:
    return float(np.sqrt((values**2).mean())) if values.size else None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# --- what is removed --------------------------------------------------------------------------------------------


def settle(task: PairTask, folder: Path) -> None:
    """Settle what is removed from a pair, and write it into the step ``filter``'s folder."""
    measured = read_json(folder / "mosaic" / _FILE)
    own = measured["estimate"]
    if task.esd == "network":
        chosen = _from_network(task, read_json(folder.parent / task.network / _NETWORK_FILE))
    elif task.esd == "off":
        chosen = {"pixels": 0.0, "source": "off"}
    elif isinstance(task.esd, float):
        chosen = {"pixels": task.esd, "source": "given"}
    else:
        chosen = {**own, "source": "enhanced spectral diversity"} if own else _nothing(measured["why"])
    chosen["estimate"] = {**own, "swaths": measured["swaths"]} if own else None
    missing = chosen["pixels"] - (own["pixels"] if own else 0.0)
    write_json(
        folder / "filter" / _FILE,
        {"remaining_s": missing * measured["line_interval_s"], "azimuth_misregistration": chosen},
    )


def _nothing(why: str) -> dict[str, Any]:
    return {"pixels": 0.0, "source": f"not estimated: {why}"}


def _from_network(task: PairTask, network: Mapping[str, Any]) -> dict[str, Any]:
    pair = network["pairs"][task.facts.pair]
    if pair["pixels"] is None:
        return _nothing("no estimate connects the two dates")
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


def settled(folder: Path) -> dict[str, Any]:
    """What was settled for the pair in ``folder``, as its facts tell it."""
    facts: dict[str, Any] = read_json(folder / "filter" / _FILE)["azimuth_misregistration"]
    return facts


def corrected_cross(folder: Path) -> NDArray[np.complex64]:
    """The unfiltered interferogram of the pair in ``folder``, (rows, columns), with what was settled removed."""
    cross: NDArray[np.complex64] = np.load(folder / "mosaic" / "cross.npy")
    remaining = read_json(folder / "filter" / _FILE)["remaining_s"]
    if remaining:
        remove_bias(cross, np.load(folder / "mosaic" / "doppler.npy"), remaining)
    return cross
