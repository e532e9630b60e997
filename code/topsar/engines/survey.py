"""Which pairs can be run, which bursts of two dates show the same ground, and where that ground lies."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.ground import box_of
from topsar.engines.orbits import OrbitChoice
from topsar.engines.viewing import burst_arc
from topsar.errors import ProvisionError, SceneError, TopsarError
from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.model import BBox, Burst
from topsar.raster import open_dem, require_cover
from topsar.sentinel1 import read_bursts

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from topsar.engines.protocol import Inputs
    from topsar.model import Orbit, OrbitFile, Pair, Scene
    from topsar.settings import Options

    Outline = tuple[NDArray[np.float64], NDArray[np.float64]]
    """Longitudes and latitudes of points around a burst, degrees."""
    Reader = Callable[[Scene, str, str], Sequence[Burst]]
    """Reads the bursts of a scene, swath and polarisation."""

TRACKS = 175
"""Orbits in a repeat cycle."""
LONGEST_PASS = timedelta(minutes=30)
"""IW data takes last 25 minutes at most; a revolution lasts 99."""
SAME_PLACE_M = 5000.0
"""Bursts without ids are the same if their centres lie this near; the next burst is 19 km away."""
ALL_HEIGHTS_M = (-500.0, 8900.0)
_SAME_TIME_S = 0.5
_OUTLINE_POINTS = 9
_SEARCH_MARGIN_DEG = 0.1
_ROUND_DEG = 0.05
_ROI_MARGIN_DEG = 0.002  # edges of a hull are straight between outline points


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The same burst on both dates."""

    reference: Burst
    secondary: Burst


def all_bursts(matches: Iterable[Matched]) -> list[Burst]:
    """The bursts of both dates, each reference before its secondary."""
    return [burst for both in matches for burst in (both.reference, both.secondary)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPair:
    """A pair that can be run.

    ``shared`` are all bursts that both dates have, ``bursts`` those that show ground of the region of interest;
    ``outlines`` are those of both dates of each of the latter; ``box`` lies around them, within the region.
    """

    pair: Pair
    polarisation: str
    orbits: tuple[OrbitChoice, OrbitChoice]
    shared: tuple[Matched, ...]
    bursts: tuple[Matched, ...]
    outlines: tuple[tuple[Outline, Outline], ...]
    box: BBox


class Survey:
    """The pairs of a batch in space: what they share is read and found once, so that it is the same for all of them."""

    def __init__(self, inputs: Inputs, options: Options) -> None:
        self._inputs, self._options = inputs, options
        self._orbits: dict[tuple[str, str], Orbit] = {}
        self._outlines: dict[Burst, Outline | None] = {}
        self._over_voids: set[Burst] = set()
        self._bursts: dict[tuple[str, str, str], tuple[Burst, ...]] = {}
        self._height_ranges: dict[BBox, tuple[float, float] | None] = {}

    def match(self, pair: Pair) -> MatchedPair:
        """Match the bursts of a pair and find where they lie.

        Raises
        ------
        TopsarError
            If the pair cannot be run.
        """
        check_pair(pair)
        polarisation = choose_polarisation(pair, self._options.polarization)
        for scene in pair.scenes:
            self._load(scene, polarisation)
        shared = match_bursts(pair, polarisation, self._options, self._centre, self.read)
        bursts, outlines = [], []
        for both in shared:
            near, far = self._outline(both.reference), self._outline(both.secondary)
            if near is not None and far is not None:
                bursts.append(both)
                outlines.append((near, far))
        if not bursts and not self._over_voids.isdisjoint(all_bursts(shared)):
            msg = f"the DEM {self._inputs.dem.path} holds nothing but voids under the bursts of the pair"
            raise ProvisionError(msg, hint="check its nodata value, or take another DEM")
        if not bursts:
            msg = f"no burst of {pair.id} lies in the region of interest"
            raise SceneError(msg, hint="ROI is south,north,west,east in degrees: does it lie inside both scenes?")
        whole = not_across_180(union([box_of(*one) for both in outlines for one in both]), pair.id)
        box = self._inside(whole) or whole
        require_cover(self._inputs.dem, box)
        return MatchedPair(
            pair=pair,
            polarisation=polarisation,
            orbits=(self._choice(*pair.reference), self._choice(*pair.secondary)),
            shared=shared,
            bursts=tuple(bursts),
            outlines=tuple(outlines),
            box=box,
        )

    def read(self, scene: Scene, swath: str, polarisation: str) -> tuple[Burst, ...]:
        """The bursts of one annotation, read once."""
        place = (scene.name, swath, polarisation)
        if place not in self._bursts:
            self._bursts[place] = read_bursts(scene, swath, polarisation)
        return self._bursts[place]

    def _choice(self, *scenes: Scene) -> OrbitChoice:
        return OrbitChoice(file=self._inputs.orbits[scenes[0].name], scenes=scenes)

    def _load(self, scene: Scene, polarisation: str) -> None:
        """Read the orbit of a slice: its bursts lie at the same place whatever slices a pair lists beside it."""
        if (scene.name, polarisation) not in self._orbits:
            self._orbits[scene.name, polarisation] = self._choice(scene).load(scene.swaths[0], polarisation)

    def _orbit(self, burst: Burst) -> Orbit:
        return self._orbits[burst.scene, burst.polarisation]

    def _centre(self, burst: Burst) -> NDArray[np.float64]:
        """ECEF of the middle of a burst at height zero."""
        arc, grid = burst_arc(burst, self._orbit(burst)), burst.grid
        time = np.array(arc.seconds(grid.mid_time))
        middle = np.array((grid.near_range_m + grid.far_range_m) / 2)
        return rdr2geo(time, middle, 0.0, arc)

    def _outline(self, burst: Burst) -> Outline | None:
        """Outline of a burst on the lowest and on the highest ground near it.

        None outside the region of interest, and where the DEM is all void, as over the open sea.
        """
        if burst not in self._outlines:
            self._outlines[burst] = self._find_outline(burst)
        return self._outlines[burst]

    def _find_outline(self, burst: Burst) -> Outline | None:
        orbit, roi = self._orbit(burst), self._options.roi
        box = not_across_180(box_of(*outline(burst, orbit, (0.0,))), f"burst {burst.label} of {burst.scene}")
        near = box if roi is None else box.grown(_SEARCH_MARGIN_DEG).intersection(roi)
        if near is None:
            return None
        heights = self._height_range(near)
        if heights is None:
            self._over_voids.add(burst)
            return None
        found = outline(burst, orbit, heights)
        return found if roi is None or touches(found, roi.grown(_ROI_MARGIN_DEG)) else None

    def _inside(self, box: BBox) -> BBox | None:
        roi = self._options.roi
        return box if roi is None else box.intersection(roi)

    def _height_range(self, box: BBox) -> tuple[float, float] | None:
        """Lowest and highest ground near a box drawn at height zero, the edges of which may show other ground.

        The box is enlarged to round degrees: all dates of a burst ask for the same one.
        """
        box = box.rounded(_ROUND_DEG)
        if box not in self._height_ranges:
            self._height_ranges[box] = self._find_height_range(box)
        return self._height_ranges[box]

    def _find_height_range(self, box: BBox) -> tuple[float, float] | None:
        narrowed = min(_SEARCH_MARGIN_DEG, 0.4 * min(box.east - box.west, box.north - box.south))
        margin = narrowed + _SEARCH_MARGIN_DEG
        heights = open_dem(self._inputs.dem, box.grown(-narrowed), margin, covering=False).heights_m
        if not np.isfinite(heights).any():
            return None
        return float(np.nanmin(heights)), float(np.nanmax(heights)) + 1.0


def find_footprint(
    pairs: Iterable[Pair], orbits: Mapping[str, OrbitFile | None], options: Options, *, whole: bool = False
) -> BBox:
    """The box around all ground that the bursts of these pairs may show, within the region of interest; no DEM needed.

    Bursts are outlined on the lowest and on the highest ground there is. With ``whole``, those that reach into the
    region of interest count whole.

    Raises
    ------
    ProvisionError
        If no pair can be run, with the reason of each.
    """
    boxes: list[BBox] = []
    reasons: dict[str, None] = {}
    ground: dict[tuple[str, str], list[BBox]] = {}
    for pair in pairs:
        try:
            check_pair(pair)
            polarisation = choose_polarisation(pair, options.polarization)
            for scene in {scene.name: scene for scene in pair.scenes}.values():
                if (scene.name, polarisation) not in ground:
                    choice = OrbitChoice(file=orbits[scene.name], scenes=(scene,))
                    ground[scene.name, polarisation] = _all_ground(scene, polarisation, choice, options)
                found = [not_across_180(box, pair.id) for box in ground[scene.name, polarisation]]
                inside = [options.roi.intersection(box) if options.roi else box for box in found]
                boxes += [box if whole else part for box, part in zip(found, inside, strict=True) if part is not None]
                if not any(inside):
                    where = "lies in the region of interest" if options.roi else f"is of {', '.join(options.swaths)}"
                    reasons[f"{scene.name}: no burst {where}"] = None
        except TopsarError as exc:
            reasons[exc.message] = None
    if boxes:
        return union(boxes)
    msg = "\n  ".join(["no pair can be processed:", *reasons])
    raise ProvisionError(msg, hint="check ROI, SWATHS and POLARIZATION, and the lines of pairs.txt")


def _all_ground(scene: Scene, polarisation: str, choice: OrbitChoice, options: Options) -> list[BBox]:
    """A box around whatever each burst of a scene may show."""
    orbit = choice.load(scene.swaths[0], polarisation)
    bursts = [burst for swath in options.swaths for burst in pass_bursts((scene,), swath, polarisation)]
    return [box_of(*outline(burst, orbit, ALL_HEIGHTS_M)) for burst in bursts]


def check_pair(pair: Pair) -> None:
    """Refuse scenes that cannot interfere.

    Raises
    ------
    SceneError
        If tracks or flight directions differ.
    """
    first = pair.reference[0]
    for scene in pair.scenes:
        if not same_track(scene, first):
            msg = f"{scene.name} is of track {scene.track}, {first.name} of track {first.track}"
            raise SceneError(msg, hint="a pair needs two passes of the same track: mend the line in pairs.txt")
        if scene.direction is not first.direction:
            msg = f"{scene.name} is {scene.direction.value}, {first.name} {first.direction.value}"
            raise SceneError(msg, hint="a pair needs two passes of the same direction: mend the line in pairs.txt")


def same_track(one: Scene, other: Scene) -> bool:
    """Whether two scenes are of one track, whose number steps by one where it crosses the equator northward.

    The satellites are sun-synchronous: they come back at the same time of day, and fly the next orbit 99 minutes later.
    """
    if one.track == other.track:
        return True
    day = timedelta(days=1)
    apart = (one.start - other.start) % day
    return (one.track - other.track) % TRACKS in (1, TRACKS - 1) and min(apart, day - apart) < LONGEST_PASS


def not_across_180(box: BBox, name: str) -> BBox:
    """The box of something on one side of the 180th meridian.

    Raises
    ------
    SceneError
        If it lies on both: then the box goes around the Earth.
    """
    if box.east - box.west > 180.0:
        msg = f"{name} crosses the 180th meridian, which is not supported"
        raise SceneError(msg, hint="leave out the slice or, with SWATHS, the swath that does")
    return box


def choose_polarisation(pair: Pair, wanted: str) -> str:
    """The polarisation to process: as wanted, or with ``auto`` VV where all scenes have it, else HH.

    Raises
    ------
    SceneError
        If a scene lacks it.
    """
    scenes = pair.scenes
    shared = set.intersection(*(set(scene.polarisations) for scene in scenes))
    for polarisation in ("VV", "HH") if wanted == "auto" else (wanted,):
        if polarisation in shared:
            return polarisation
    present = "; ".join(f"{scene.name} has {', '.join(scene.polarisations) or 'none'}" for scene in scenes)
    want = "VV or HH" if wanted == "auto" else wanted
    msg = f"no {want} in common: {present}"
    raise SceneError(msg, hint="set POLARIZATION to one that all scenes have")


def match_bursts(
    pair: Pair,
    polarisation: str,
    options: Options,
    centre: Callable[[Burst], NDArray[np.float64]],
    read: Reader = read_bursts,
) -> tuple[Matched, ...]:
    """Bursts that both dates have, swath by swath in time order.

    Matched by ESA's burst id where both dates carry it, else by ``centre``, which gives ECEF.

    Raises
    ------
    SceneError
        If no swath or no burst is shared.
    """
    matched: list[Matched] = []
    for swath in options.swaths:
        if all(swath in _swaths(scenes) for scenes in (pair.reference, pair.secondary)):
            reference = pass_bursts(pair.reference, swath, polarisation, read)
            secondary = pass_bursts(pair.secondary, swath, polarisation, read)
            matched += _match_swath(reference, secondary, centre)
    if not matched:
        have = "; ".join(
            f"{scenes[0].name}: {', '.join(sorted(_swaths(scenes)))}" for scenes in (pair.reference, pair.secondary)
        )
        msg = f"the two dates of {pair.id} share no burst of {', '.join(options.swaths)} ({have})"
        raise SceneError(msg, hint="do the scenes overlap? Other slices of the pass may: list them in pairs.txt")
    return tuple(matched)


def _swaths(scenes: tuple[Scene, ...]) -> set[str]:
    return {swath for scene in scenes for swath in scene.swaths}


def pass_bursts(scenes: tuple[Scene, ...], swath: str, polarisation: str, read: Reader = read_bursts) -> list[Burst]:
    """Bursts of all slices in time order; one that two slices repeat counts once."""
    found: list[Burst] = []
    for scene in scenes:
        if swath in scene.swaths:
            found += [burst for burst in read(scene, swath, polarisation) if burst.valid.rows > 0]
    found.sort(key=_start)
    unique = found[:1]
    for burst in found[1:]:
        if (_start(burst) - _start(unique[-1])).total_seconds() > _SAME_TIME_S:
            unique.append(burst)
    return unique


def _start(burst: Burst) -> datetime:
    return burst.grid.first_line_time


def _match_swath(
    reference: list[Burst], secondary: list[Burst], centre: Callable[[Burst], NDArray[np.float64]]
) -> Iterable[Matched]:
    if all(burst.burst_id for burst in (*reference, *secondary)):
        by_number = {_number(burst): burst for burst in secondary}
        return [Matched(reference=b, secondary=by_number[_number(b)]) for b in reference if _number(b) in by_number]
    centres = [np.array([centre(burst) for burst in bursts]).reshape(-1, 3) for bursts in (reference, secondary)]
    distance = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1)
    return [
        Matched(reference=burst, secondary=secondary[int(row.argmin())])
        for burst, row in zip(reference, distance, strict=True)
        if row.size and row.min() < SAME_PLACE_M
    ]


def _number(burst: Burst) -> int | None:
    """ESA's number, unique in a swath: it counts on from track to track."""
    return burst.burst_id.number if burst.burst_id else None


def outline(burst: Burst, orbit: Orbit, heights_m: tuple[float, ...]) -> Outline:
    """Longitude and latitude in degrees around the valid part of a burst, at several heights.

    Returns
    -------
    longitude, latitude : (n,) float64
    """
    arc = burst_arc(burst, orbit)
    grid, valid = burst.grid, burst.valid
    steps = np.linspace(0, 1, _OUTLINE_POINTS)
    line = np.concatenate([steps * 0, steps * 0 + 1, steps, steps]) * (valid.rows - 1) + valid.row
    sample = np.concatenate([steps, steps, steps * 0, steps * 0 + 1]) * (valid.columns - 1) + valid.column
    time = arc.seconds(grid.first_line_time) + line * grid.line_interval_s
    range_m = grid.near_range_m + sample * grid.range_spacing_m
    points = np.concatenate([rdr2geo(time, range_m, height, arc) for height in heights_m])
    lat, lon, _ = ecef_to_geodetic(points)
    return np.degrees(lon), np.degrees(lat)


def touches(points: Outline, box: BBox) -> bool:
    """Whether the convex hull of points shares area with a box: no side of either separates them."""
    if not box_of(*points).intersects(box):
        return False
    corners = np.array([(x, y) for x in (box.west, box.east) for y in (box.south, box.north)])
    from scipy.spatial import ConvexHull

    sides = ConvexHull(np.column_stack(points)).equations
    outside = corners @ sides[:, :2].T + sides[:, 2] > 0
    return not outside.all(axis=0).any()


def union(boxes: list[BBox]) -> BBox:
    """The smallest box around all boxes."""
    return functools.reduce(BBox.union, boxes)
