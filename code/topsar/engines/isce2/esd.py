"""Enhanced spectral diversity from what topsApp measured in burst overlaps.

topsApp divides the phase of the double difference by a spectral separation that is three times too large: it adds the
separations of both dates, and counts the start of the overlap twice. What it corrects is a third of what there is, and
burst seams stay. Here its own double differences are divided by the true separation, k_t · T for bursts that start T
apart (Yague-Martinez et al. 2016, doi:10.1109/TGRS.2016.2585741), and the whole is corrected. The estimator is that of
the native engine.
"""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.isce2.config import ESD_LOOKS
from topsar.engines.isce2.topsapp import UNTRIED
from topsar.engines.viewing import fit_burst_arc
from topsar.errors import StepFailed
from topsar.files import read_json, write_json
from topsar.kernels.registration import Overlap, measure_timing
from topsar.kernels.tops import find_deramp_terms
from topsar.raster.isce_image import read_isce_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.engines.isce2.tasks import TopsAppTask
    from topsar.engines.isce2.topsapp import TopsAppRun
    from topsar.model import Burst, Orbit

log = logging.getLogger(__name__)

FACTS = "ESD.json"
"""What was found of misregistration, in topsApp's run folder."""
_CORRECTION = "secondarytimingcorrection"
"""A property of topsApp's record, seconds."""
RANGE_SHIFT = "rangecoreg", "secondaryrangecorrection"
"""The step of topsApp whose record has it, and how much farther the samples of the secondary are read, metres."""
_LEAST_POINTS = 10
_CELL = 4
"""Points of a cell each way, 200 m of ground: errors of different cells are independent."""


def run_esd(run: TopsAppRun) -> None:
    """Let topsApp measure burst overlaps, and correct what is there.

    topsApp stops where no overlap is coherent; then it is started again without spectral diversity.
    """
    estimated = run.task.estimates_esd
    run.start(["prepesd"] if estimated else ["subsetoverlaps", "prepesd"])
    try:
        run.start(["esd"])
    except StepFailed as exc:
        if not estimated or "No points left for reliable ESD estimate" not in exc.message:
            raise
        log.warning("no overlap is above a coherence of %g: misregistration is not corrected", run.task.esd_coherence)
        run.start(["esd"], do_esd=False)
        estimated = False
    _correct(run, _estimate(run) if estimated else None)


def run_range_coreg(run: TopsAppRun) -> None:
    """Let topsApp estimate the range shift, but only where burst overlaps are coherent; else it would be noise."""
    run.start(["rangecoreg"], do_esd=bool(read_json(run.folder / FACTS)["estimated"]))
    if not math.isfinite(run.read_number(*RANGE_SHIFT)):
        msg = "topsApp's range shift is not a number: no point of the burst overlaps was good enough"
        raise StepFailed(msg, hint="set ESD=off, or ENGINE=native")


def _correct(run: TopsAppRun, found: dict[str, Any] | None) -> None:
    """Write the misregistration to correct into topsApp's record, and all that was found into `FACTS`."""
    task, interval = run.task, run.task.line_interval_s
    own = run.read_number("esd", _CORRECTION) / interval
    if isinstance(task.esd, float):
        chosen, source = task.esd, "given"
    elif found is None:
        chosen = 0.0
        source = "off" if task.esd == "off" else "not estimated: no coherent burst overlap"
    elif task.esd_full:
        chosen, source = found["estimate_pixels"], "enhanced spectral diversity"
    else:
        chosen, source = own, "topsApp's own, a third of what is there"
    run.write_number("esd", _CORRECTION, chosen * interval)
    applied = timedelta(seconds=chosen * interval) / timedelta(seconds=1) / interval  # topsApp shifts a datetime
    facts = {"pixels": chosen, "applied_pixels": applied, "source": source, "estimated": found is not None}
    if found:
        facts |= found | {"topsapp_pixels": own}
    write_json(run.folder / FACTS, facts)


def _estimate(run: TopsAppRun) -> dict[str, Any] | None:
    """What topsApp's double differences in ``ESD`` say of the misregistration; None with too few coherent points."""
    task = run.task
    found = measure_timing(read_overlaps(run))
    if found is None or found.pixels < _LEAST_POINTS:
        return None
    return {
        "standard_error_pixels": found.deviation_s / task.line_interval_s,
        "voting_pixels": found.pixels,
        "estimate_pixels": found.seconds / task.line_interval_s,
    }


def read_overlaps(run: TopsAppRun) -> list[Overlap]:
    """Read the coherent points of all overlaps of bursts that topsApp left in ``ESD``."""
    task = run.task
    first = task.bursts[0].reference
    orbit = task.reference_orbit.load(first.swath, first.polarisation)
    looks = f"{ESD_LOOKS[0]}alks_{ESD_LOOKS[1]}rlks"
    return [
        read_overlap(task, overlap, upper, lower, orbit)
        for swath in task.swaths
        for overlap, (upper, lower) in zip(
            sorted((run.folder / "ESD").glob(f"overlap_IW{swath}_*.{looks}.int")),
            pairwise([both.reference for both in task.bursts if both.reference.swath == f"IW{swath}"]),
            strict=False,  # topsApp skips overlaps that it cannot use; from burst to burst little differs
        )
    ]


def read_overlap(task: TopsAppTask, image: Path, upper: Burst, lower: Burst, orbit: Orbit) -> Overlap:
    """Read the coherent points of topsApp's double difference in an overlap.

    Parameters
    ----------
    task : TopsAppTask
    image : Path
        The double difference; its coherence lies beside it.
    upper, lower : Burst
        Of the reference.
    orbit : Orbit
    """
    double = read_isce_image(image)[0]
    coherence = read_isce_image(image.with_suffix(".cor"))[-1]
    separation = np.broadcast_to(_separation_hz(upper, lower, orbit, double.shape[1]), double.shape)
    coherent = (double != 0) & (coherence > task.esd_coherence)
    row, column = np.nonzero(coherent)
    # topsApp takes the ground under the lower burst's lines for that under the upper's, which are up to half a
    # microsecond beside them. The upper half of the double difference misses the secondary by that much.
    beside_s = math.remainder(_seconds_apart(upper, lower), task.line_interval_s)
    whole = double[coherent] * np.exp(1j * np.pi * separation[coherent] * beside_s)
    return Overlap(
        phase=np.angle(whole).astype(np.float64),
        separation_hz=separation[coherent],
        weight=coherence[coherent].astype(np.float64) ** 2,
        cell=row // _CELL * double.shape[1] + column // _CELL,
    )


def _separation_hz(upper: Burst, lower: Burst, orbit: Orbit, columns: int) -> NDArray[np.float64]:
    """Difference in Doppler of two bursts where they overlap, averaged over the range looks of the overlap."""
    looks = ESD_LOOKS[1]
    rate = find_deramp_terms(upper, fit_burst_arc(upper, orbit)).k_t
    if columns * looks > rate.size:
        msg = f"topsApp's overlap has {columns} columns of {looks} looks, the burst {rate.size} samples"
        raise StepFailed(msg, hint=UNTRIED)
    means = rate[: columns * looks].reshape(columns, looks).mean(axis=1)
    return np.asarray(means * _seconds_apart(upper, lower))


def _seconds_apart(upper: Burst, lower: Burst) -> float:
    return (lower.grid.first_line_time - upper.grid.first_line_time).total_seconds()
