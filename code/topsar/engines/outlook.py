"""What a pair will be made from, and what should be known about it before it is run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from shapely import MultiPoint, box, union_all

from topsar.engines.protocol import Outlook, Remark
from topsar.model import UNCALIBRATED_IPF, OrbitSource
from topsar.sentinel1 import advise_on_orbit

if TYPE_CHECKING:
    from topsar.engines.survey import MatchedPair, Survey
    from topsar.model import BBox, Burst

_NEXT_BURST_S = 2.76
"""From one burst of a swath to the next."""
_MOST_APART = 1.5
_WHOLE = 0.999
_FIRST_GENERATION = {"S1A", "S1B"}


def describe_outlook(matched: MatchedPair, survey: Survey) -> Outlook:
    """Say what a pair will be made from.

    Parameters
    ----------
    matched : MatchedPair
    survey : Survey
    """
    pair, options, kinds = matched.pair, survey.options, tuple(choice.source.value for choice in matched.orbits)
    counts = [
        sum(len(survey.collect_bursts(scenes, swath, matched.polarisation)) for swath in options.swaths)
        for scenes in (pair.reference, pair.secondary)
    ]
    covered = _measure_cover(matched, options.roi) if options.roi else None
    ipf = tuple(sorted({scene.ipf for scene in pair.scenes}))
    return Outlook(
        days=round((pair.secondary[0].start - pair.reference[0].start).total_seconds() / 86_400),
        bursts=len(matched.bursts),
        reference_bursts=counts[0],
        secondary_bursts=counts[1],
        covered=covered,
        orbits=(kinds[0], kinds[1]),
        ipf=ipf,
        remarks=(*_list_lost_swaths(matched, options.swaths), *_list_remarks(matched, covered, ipf)),
    )


def warn_uncalibrated(outlook: Outlook, matched: MatchedPair) -> Outlook:
    """Add that a pair will have no backscatter, if so.

    Parameters
    ----------
    outlook : Outlook
    matched : MatchedPair
    """
    if not matched.uncalibrated:
        return outlook
    remedy = "download the scene again or take it in a later processing, if there is one; or set BACKSCATTER=none"
    remark = Remark(text=f"no backscatter: {matched.uncalibrated}", remedy=remedy)
    return replace(outlook, remarks=(*outlook.remarks, remark))


def _list_lost_swaths(matched: MatchedPair, swaths: Iterable[str]) -> Iterable[Remark]:
    for swath in swaths:
        if any(scene.find_faults("annotation", swath, matched.polarisation) for scene in matched.pair.scenes):
            text = f"{swath} is left out: no scene has the annotation that its manifest lists"
            yield Remark(text=text, remedy="download the scenes again if the swath is wanted")


def _list_remarks(matched: MatchedPair, covered: float | None, ipf: tuple[str, ...]) -> Iterable[Remark]:
    missions = {scene.mission for scene in matched.pair.scenes}
    if covered is not None and covered < _WHOLE:
        text = f"both dates show {100 * covered:.0f} % of the region of interest"
        yield Remark(text=text, remedy="list the neighbouring slices too, or make ROI smaller")
    for swath in sorted({both.reference.swath for both in matched.bursts}):
        holes = _count_holes([both.reference for both in matched.bursts if both.reference.swath == swath])
        if holes:
            text = f"{swath}: {holes} gap{'s' if holes > 1 else ''} between bursts that both dates have"
            yield Remark(text=text, remedy="is a slice missing in pairs.txt? The gap stays empty in the products")
    if len(ipf) > 1 and UNCALIBRATED_IPF in ipf:
        text = f"one date was processed by IPF {UNCALIBRATED_IPF}, the other by {ipf[-1]}"
        yield Remark(text=text, remedy="phase may jump between swaths: take a product that was processed again, if any")
    if missions - _FIRST_GENERATION and len(missions) > 1:
        text = f"{' with '.join(sorted(missions))}: satellites of two generations"
        yield Remark(text=text, remedy="usable; look for a ramp or an offset, and prefer pairs of one satellite")
    for choice in matched.orbits:
        if choice.source is not OrbitSource.PRECISE:
            text = f"{choice.start:%Y-%m-%d} has no precise orbit ({choice.source.value})"
            yield Remark(text=text, remedy=advise_on_orbit(choice.start))


def _count_holes(bursts: list[Burst]) -> int:
    starts = sorted(burst.grid.first_line_time for burst in bursts)
    return sum((after - before).total_seconds() > _MOST_APART * _NEXT_BURST_S for before, after in pairwise(starts))


def _measure_cover(matched: MatchedPair, roi: BBox) -> float:
    """Share of the region of interest that the shared bursts show."""
    region = box(roi.west, roi.south, roi.east, roi.north)
    hulls = [
        MultiPoint(np.column_stack(near)).convex_hull.intersection(MultiPoint(np.column_stack(far)).convex_hull)
        for near, far in matched.outlines
    ]
    return float(union_all(hulls).intersection(region).area / region.area)
