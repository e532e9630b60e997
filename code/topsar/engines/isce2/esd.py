"""Enhanced spectral diversity from what topsApp measured in burst overlaps.

topsApp divides the phase of the double difference by a spectral separation that is three times too large: it adds the
separations of both dates, and counts the start of the overlap twice. What it corrects is a third of what there is, and
burst seams stay. Here its own double differences are divided by the true separation, k_t · T for bursts that start T
apart (Yague-Martinez et al. 2016, doi:10.1109/TGRS.2016.2585741), and the whole is corrected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.isce2.config import ESD_LOOKS
from topsar.engines.isce2.image_file import read_isce_image
from topsar.engines.isce2.stages import FACTS
from topsar.engines.isce2.state import UNTRIED, require_number, set_property
from topsar.engines.viewing import burst_arc
from topsar.errors import StepFailed
from topsar.files import read_json, write_json
from topsar.kernels.tops import deramp_terms

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.isce2.tasks import TopsAppTask
    from topsar.model import Burst, Orbit

CORRECTION = "secondarytimingcorrection"
"""The property of topsApp's state, seconds."""
RANGE_SHIFT = "secondaryrangecorrection"
"""Another, metres."""
LEAST_POINTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Misregistration:
    """Azimuth misregistration of the secondary: pixels, their standard error, and how many points voted."""

    pixels: float
    standard_error_pixels: float
    points: int


def correct(task: TopsAppTask, run: Path, *, estimated: bool) -> None:
    """Let topsApp remember the misregistration that is to be corrected, and note what was found.

    Parameters
    ----------
    task : TopsAppTask
    run : Path
        topsApp's folder, after its step ``esd``.
    estimated : bool
        Whether topsApp made an estimate.
    """
    interval = task.line_interval_s
    own = require_number(run, "esd", CORRECTION) / interval
    found = estimate(task, run) if estimated else None
    if isinstance(task.esd, float):
        chosen, source = task.esd, "given"
    elif found is None:
        chosen = 0.0
        source = "off" if task.esd == "off" else "not estimated: no coherent burst overlap"
    elif task.esd_full:
        chosen, source = found.pixels, "enhanced spectral diversity"
    else:
        chosen, source = own, "topsApp's own, a third of what is there"
    set_property(run, "esd", CORRECTION, chosen * interval)
    facts: dict[str, Any] = {"pixels": chosen, "source": source, "estimated": found is not None}
    if found:
        facts |= {
            "standard_error_pixels": found.standard_error_pixels,
            "voting_pixels": found.points,
            "estimate_pixels": found.pixels,
            "topsapp_pixels": own,
        }
    write_json(run / FACTS, facts)


def is_estimated(run: Path) -> bool:
    """Whether burst overlaps were coherent enough; where they were not, topsApp's range shift would be noise too."""
    return bool(read_json(run / FACTS)["estimated"])


def require_range_shift(run: Path) -> None:
    """Refuse the range shift that topsApp makes of no point at all.

    Raises
    ------
    StepFailed
        If it is no number.
    """
    if not math.isfinite(require_number(run, "rangecoreg", RANGE_SHIFT)):
        msg = "topsApp's range shift is not a number: no point of the burst overlaps was good enough"
        raise StepFailed(msg, hint="set ESD=off, or ENGINE=native")


def estimate(task: TopsAppTask, run: Path) -> Misregistration | None:
    """Misregistration from the double differences in ``ESD``; None where too few points are coherent.

    Raises
    ------
    StepFailed
        If an overlap of topsApp's does not have the width of its burst.
    """
    first = task.bursts[0].reference
    orbit = task.reference_orbit.load(first.swath, first.polarisation)
    looked = f"{ESD_LOOKS[0]}alks_{ESD_LOOKS[1]}rlks"
    shifts = [
        _shifts(task, overlap, upper, lower, orbit)
        for swath in task.swaths
        for overlap, (upper, lower) in zip(
            sorted((run / "ESD").glob(f"overlap_IW{swath}_*.{looked}.int")),
            pairwise(_bursts(task, swath)),
            strict=False,  # topsApp passes over overlaps that it cannot use; from burst to burst little differs
        )
    ]
    votes = np.concatenate([np.empty(0), *shifts])
    if votes.size < LEAST_POINTS:
        return None
    spread = 1.4826 * float(np.median(np.abs(votes - np.median(votes))))  # of the median, were they independent
    return Misregistration(
        pixels=float(np.median(votes)),
        standard_error_pixels=1.2533 * spread / float(np.sqrt(votes.size)),
        points=int(votes.size),
    )


def _bursts(task: TopsAppTask, swath: int) -> list[Burst]:
    return [both.reference for both in task.bursts if both.reference.swath == f"IW{swath}"]


def _shifts(task: TopsAppTask, overlap: Path, upper: Burst, lower: Burst, orbit: Orbit) -> NDArray[np.float64]:
    """Shifts in pixels by the coherent points of an overlap."""
    double = read_isce_image(overlap)[0]
    coherence = read_isce_image(overlap.with_suffix(".cor"))[-1]
    separation = _separation_hz(upper, lower, orbit, double.shape[1])
    seconds = np.angle(double) / (2 * np.pi * separation)
    votes = (double != 0) & (coherence > task.esd_coherence)
    return np.asarray(seconds[votes] / task.line_interval_s, dtype=np.float64)


def _separation_hz(upper: Burst, lower: Burst, orbit: Orbit, columns: int) -> NDArray[np.float64]:
    """Doppler of two bursts apart where they overlap, averaged as the overlap was."""
    looks = ESD_LOOKS[1]
    rate = deramp_terms(upper, burst_arc(upper, orbit)).k_t
    if columns * looks > rate.size:
        msg = f"topsApp's overlap has {columns} columns of {looks} looks, the burst {rate.size} samples"
        raise StepFailed(msg, hint=UNTRIED)
    apart = (lower.grid.first_line_time - upper.grid.first_line_time).total_seconds()
    averaged: NDArray[np.float64] = rate[: columns * looks].reshape(columns, looks).mean(axis=1) * apart
    return averaged
