"""Which bursts topsApp takes, by its own rule, and which scenes it cannot process."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.footprint import outline_burst, require_one_side, unite_boxes
from topsar.engines.ground import find_box
from topsar.engines.isce2.config import require_plain
from topsar.engines.viewing import fit_burst_arc
from topsar.errors import SceneError
from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.model import BBox
from topsar.raster import require_cover

if TYPE_CHECKING:
    from topsar.engines.isce2.installation import Installation
    from topsar.engines.survey import Matched, MatchedPair
    from topsar.model import Burst, Dem, Orbit

_HEIGHTS_M = (-500.0, 9000.0)
"""topsApp looks for ground between these heights."""
_MOST_APART_S = 4.0
"""Bursts of a swath start 2.76 s apart."""


def select_bursts(matched: MatchedPair, roi: BBox | None) -> tuple[Matched, ...]:
    """Select the bursts that topsApp processes: without a region of interest all that both dates have.

    With one, those whose box at any height reaches into it on both dates; more than those that show part of it.

    Parameters
    ----------
    matched : MatchedPair
    roi : BBox, optional
        Degrees.
    """
    taken = matched.shared
    if roi is not None:
        orbits = [choice.load(matched.shared[0].reference.swath, matched.polarisation) for choice in matched.orbits]
        taken = tuple(
            both
            for both in matched.shared
            if _find_box(both.reference, orbits[0]).intersects(roi)
            and _find_box(both.secondary, orbits[1]).intersects(roi)
        )
    _require_unbroken(taken)
    return taken


def _find_box(burst: Burst, orbit: Orbit) -> BBox:
    """Box in degrees around the corners of a burst with its invalid edges, on the lowest and on the highest ground."""
    arc, grid = fit_burst_arc(burst, orbit), burst.grid
    times = np.array([arc.seconds(grid.first_line_time), arc.seconds(grid.stop_time)])
    time, range_m = (part.ravel() for part in np.meshgrid(times, [grid.near_range_m, grid.far_range_m]))
    points = np.concatenate([rdr2geo(time, range_m, height, arc) for height in _HEIGHTS_M])
    lat, lon, _ = ecef_to_geodetic(points)
    return require_one_side(find_box(np.degrees(lon), np.degrees(lat)), f"burst {burst.label} of {burst.scene}")


def _require_unbroken(bursts: tuple[Matched, ...]) -> None:
    """Refuse a gap: topsApp would pair the bursts after it with the wrong ones."""
    for one, other in pairwise(bursts):
        if one.reference.swath != other.reference.swath:
            continue
        for first, second in ((one.reference, other.reference), (one.secondary, other.secondary)):
            apart = (second.grid.first_line_time - first.grid.first_line_time).total_seconds()
            if apart > _MOST_APART_S:
                msg = f"{first.swath}: a burst is missing between two that both dates have; topsApp would mix them up"
                raise SceneError(msg, hint="list the missing slice, or set ENGINE=native, which leaves a hole")


def find_ground_box(matched: MatchedPair, bursts: tuple[Matched, ...], dem: Dem) -> BBox:
    """Find the box around all ground of some bursts, for which topsApp needs heights.

    Parameters
    ----------
    matched : MatchedPair
    bursts : tuple of Matched
        Those that topsApp processes.
    dem : Dem
        It must cover the box.
    """
    drawn = {both: outlines for both, outlines in zip(matched.bursts, matched.outlines, strict=True) if both in bursts}
    outlines = [one for both in drawn.values() for one in both]
    rest = [both for both in bursts if both not in drawn]
    if rest:
        for index, choice in enumerate(matched.orbits):
            orbit = choice.load(rest[0].reference.swath, matched.polarisation)
            outlines += [outline_burst((both.reference, both.secondary)[index], orbit, (0.0,)) for both in rest]
    box = unite_boxes([find_box(*one) for one in outlines])
    require_cover(dem, box)
    return box


def require_fit(matched: MatchedPair, installation: Installation) -> None:
    """Refuse scenes that topsApp cannot read.

    Parameters
    ----------
    matched : MatchedPair
    installation : Installation
        The ISCE2 that would read them.
    """
    scenes = matched.pair.scenes
    missing = {scene.mission for scene in scenes} - set(installation.missions)
    if missing:
        msg = f"this ISCE2 ({installation.version}) does not know {', '.join(sorted(missing))}"
        raise SceneError(msg, hint="use ISCE2 2.6.4 or newer, or set ENGINE=native")
    for slices in (matched.pair.reference, matched.pair.secondary):
        versions = sorted({scene.ipf for scene in slices})
        if len(versions) > 1:
            msg = f"topsApp joins no slices of different processors ({', '.join(versions)})"
            raise SceneError(msg, hint="list slices of one version, or set ENGINE=native")
    for scene in scenes:
        require_plain(scene.path)
