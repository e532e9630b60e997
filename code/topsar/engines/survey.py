"""Which pairs can be run, and which bursts of two dates show the same ground."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from shapely import Polygon, contains_xy

from topsar.engines.footprint import ALL_HEIGHTS_M, outline_burst, require_one_side, unite_boxes
from topsar.engines.ground import find_box
from topsar.engines.orbits import OrbitChoice
from topsar.engines.viewing import fit_burst_arc
from topsar.errors import ProvisionError, SceneError, TopsarError
from topsar.kernels.geometry import rdr2geo
from topsar.model import Burst
from topsar.raster import require_cover
from topsar.sentinel1 import check_orbit_file, explain_uncalibrated, read_bursts
from topsar.sentinel1.container import DOWNLOAD_AGAIN

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from topsar.engines.footprint import Outline, Outlines
    from topsar.model import BBox, Frame, Orbit, OrbitFile, Pair, Scene
    from topsar.settings import Options


TRACKS = 175
"""Orbits in a repeat cycle."""
LONGEST_PASS = timedelta(minutes=30)
"""IW data takes last 25 minutes at most; a revolution lasts 99."""
SAME_PLACE_M = 5000.0
"""Bursts are the same if their centres lie this near; the next burst is 19 km away."""
_SAME_TIME_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The same burst on both dates."""

    reference: Burst
    secondary: Burst


def list_bursts(matches: Iterable[Matched]) -> list[Burst]:
    """The bursts of both dates, each reference before its secondary."""
    return [burst for both in matches for burst in (both.reference, both.secondary)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPair:
    """A pair that can be run.

    ``shared`` are all bursts that both dates have, ``bursts`` those that show ground of the region of interest;
    ``outlines`` are those of both dates of each of the latter; ``box`` lies around them, within the region.
    ``uncalibrated`` says why no backscatter can be had; empty where it can, or is not wanted.
    """

    pair: Pair
    polarisation: str
    orbits: tuple[OrbitChoice, OrbitChoice]
    shared: tuple[Matched, ...]
    bursts: tuple[Matched, ...]
    outlines: tuple[tuple[Outline, Outline], ...]
    box: BBox
    uncalibrated: str = ""


class Survey:
    """The pairs of a batch before there are heights: every annotation and orbit is read once.

    Parameters
    ----------
    pairs : tuple of Pair
    orbits : mapping
        Orbit files by scene, None where only the annotation's vectors are at hand.
    options : Options
        Swaths, polarisation and region of interest.
    """

    def __init__(self, pairs: Sequence[Pair], orbits: Mapping[str, OrbitFile | None], options: Options) -> None:
        self.pairs, self.orbits, self.options = tuple(pairs), orbits, options
        self._bursts: dict[tuple[str, str, str], tuple[Burst, ...]] = {}
        self._centres: dict[Burst, NDArray[np.float64]] = {}
        self._vectors: dict[tuple[str, str], Orbit] = {}
        self._all_ground = functools.cache(self._outline_all)
        self._explain_swath = functools.cache(explain_uncalibrated)

    def find_footprint(self, *, whole: bool = False) -> BBox:
        """Find the box around all ground that bursts may show within the region of interest, whatever its height.

        With ``whole``, bursts that reach into the region of interest count whole. If no pair can be run, a
        ProvisionError gives the reason of each.
        """
        boxes: list[BBox] = []
        reasons: dict[str, None] = {}
        roi = self.options.roi
        for pair in self.pairs:
            try:
                polarisation = self._check(pair)
                for scene in {scene.name: scene for scene in pair.scenes}.values():
                    found = [require_one_side(box, pair.id) for box in self._all_ground(scene, polarisation)]
                    inside = [roi.intersection(box) if roi else box for box in found]
                    boxes += [box if whole else part for box, part in zip(found, inside, strict=True) if part]
                    if not any(inside):
                        where = "lies in the region of interest" if roi else f"is of {', '.join(self.options.swaths)}"
                        reasons[f"{scene.name}: no burst {where}"] = None
            except TopsarError as exc:
                reasons[exc.message] = None
        if boxes:
            return unite_boxes(boxes)
        msg = "\n  ".join(["no pair can be processed:", *reasons])
        raise ProvisionError(msg, hint="check ROI, SWATHS and POLARIZATION, and the lines of pairs.txt")

    def match(self, pair: Pair, outlines: Outlines) -> MatchedPair:
        """Match the bursts of a pair and find where they lie.

        Parameters
        ----------
        pair : Pair
        outlines : Outlines
            Over the DEM of the batch.
        """
        polarisation = self._check(pair)
        for scene in pair.scenes:
            self.read_orbit(scene, polarisation)
        shared = self._match_bursts(pair, polarisation)
        bursts, lines = [], []
        for both in shared:
            near, far = (outlines.find(burst, self._get_orbit(burst)) for burst in (both.reference, both.secondary))
            if near is not None and far is not None and self._is_wanted(near):
                bursts.append(both)
                lines.append((near, far))
        if not bursts:
            raise _explain_nothing_seen(pair, outlines, shared)
        _refuse_faulty_images(pair, bursts)
        whole = require_one_side(unite_boxes([find_box(*one) for both in lines for one in both]), pair.id)
        box = whole if outlines.roi is None else whole.intersection(outlines.roi) or whole
        require_cover(outlines.dem, box)
        return MatchedPair(
            pair=pair,
            polarisation=polarisation,
            orbits=(self.choose_orbit(*pair.reference), self.choose_orbit(*pair.secondary)),
            shared=shared,
            bursts=tuple(bursts),
            outlines=tuple(lines),
            box=box,
            uncalibrated=self._explain_uncalibrated(pair, bursts) if self.options.backscatter != "none" else "",
        )

    def _explain_uncalibrated(self, pair: Pair, bursts: Iterable[Matched]) -> str:
        """Say what keeps some bursts from being calibrated; each product's tables are looked at once."""
        scenes = {scene.name: scene for scene in pair.scenes}
        images = {(burst.scene, burst.swath, burst.polarisation) for burst in list_bursts(bursts)}
        found = (self._explain_swath(scenes[scene], *image) for scene, *image in sorted(images))
        return next(filter(None, found), "")

    def _is_wanted(self, outline: Outline) -> bool:
        """Whether the middle of a burst lies in the frame, if there is one: its neighbours overlap it at the edges."""
        if self.options.frame is None:
            return True
        lon, lat = (float(np.mean(one)) for one in outline)
        return bool(contains_xy(Polygon(self.options.frame.outline), lon, lat))

    def _read(self, scene: Scene, swath: str, polarisation: str) -> tuple[Burst, ...]:
        """Read the bursts of one annotation, once."""
        place = (scene.name, swath, polarisation)
        if place not in self._bursts:
            _refuse_faults(scene, scene.find_faults("annotation", swath, polarisation))
            self._bursts[place] = read_bursts(scene, swath, polarisation)
        return self._bursts[place]

    def collect_bursts(self, scenes: Iterable[Scene], swath: str, polarisation: str) -> list[Burst]:
        """Collect the bursts of all slices of a pass in time order; one that two slices repeat counts once.

        Parameters
        ----------
        scenes : iterable of Scene
        swath, polarisation : str
        """
        having = [scene for scene in scenes if _has_swath(scene, swath, polarisation)]
        found = [burst for scene in having for burst in self._read(scene, swath, polarisation) if burst.valid.rows > 0]
        found.sort(key=_get_start)
        unique = found[:1]
        for burst in found[1:]:
            if (_get_start(burst) - _get_start(unique[-1])).total_seconds() > _SAME_TIME_S:
                unique.append(burst)
        return unique

    def _match_bursts(self, pair: Pair, polarisation: str) -> tuple[Matched, ...]:
        """Find the bursts that both dates have, swath by swath in time order."""
        matched: list[Matched] = []
        for swath in self.options.swaths:
            lacking = [scene for scene in pair.scenes if not _has_swath(scene, swath, polarisation)]
            if len(lacking) < len(pair.scenes):  # else nobody expects it
                for scene in lacking:
                    _refuse_faults(scene, scene.find_faults("annotation", swath, polarisation), swath)
            if all(swath in _list_swaths(scenes) for scenes in (pair.reference, pair.secondary)):
                reference = self.collect_bursts(pair.reference, swath, polarisation)
                matched += self._match_swath(reference, self.collect_bursts(pair.secondary, swath, polarisation))
        if not matched:
            have = "; ".join(
                f"{scenes[0].name}: {', '.join(sorted(_list_swaths(scenes)))}"
                for scenes in (pair.reference, pair.secondary)
            )
            msg = f"the two dates of {pair.id} share no burst of {', '.join(self.options.swaths)} ({have})"
            raise SceneError(msg, hint="do the scenes overlap? Other slices of the pass may: list them in pairs.txt")
        return tuple(matched)

    def _match_swath(self, reference: list[Burst], secondary: list[Burst]) -> Iterable[Matched]:
        """Match by place: ESA's burst ids are missing from older products, and those of others may be wrong."""
        centres = [
            np.array([self.locate_centre(burst) for burst in bursts]).reshape(-1, 3)
            for bursts in (reference, secondary)
        ]
        distance = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1)
        return [
            Matched(reference=burst, secondary=secondary[int(row.argmin())])
            for burst, row in zip(reference, distance, strict=True)
            if row.size and row.min() < SAME_PLACE_M
        ]

    def _check(self, pair: Pair) -> str:
        """Refuse scenes that cannot interfere; the polarisation of those that can."""
        check_pair(pair)
        _check_frame(pair, self.options.frame)
        return _choose_polarisation(pair, self.options)

    def choose_orbit(self, *scenes: Scene) -> OrbitChoice:
        """The orbit of some slices of a pass: the file found for the first one, or their annotations."""
        return OrbitChoice(file=self.orbits[scenes[0].name], scenes=scenes)

    def read_orbit(self, scene: Scene, polarisation: str) -> Orbit:
        """Read the orbit of a slice: its bursts lie at the same place whatever slices a pair lists beside it."""
        key = scene.name, polarisation
        if key not in self._vectors:
            here = [swath for swath in self.options.swaths if _has_swath(scene, swath, polarisation)]
            choice, swath = self.choose_orbit(scene), here[0] if here else scene.swaths[0]
            _refuse_faults(scene, scene.find_faults("annotation", swath, polarisation))
            orbit = choice.load(swath, polarisation)
            if choice.file and here:
                check_orbit_file(scene, swath, polarisation, orbit)
            self._vectors[key] = orbit
        return self._vectors[key]

    def _get_orbit(self, burst: Burst) -> Orbit:
        return self._vectors[burst.scene, burst.polarisation]

    def locate_centre(self, burst: Burst) -> NDArray[np.float64]:
        """ECEF of the middle of a burst at height zero."""
        if burst not in self._centres:
            arc, grid = fit_burst_arc(burst, self._get_orbit(burst)), burst.grid
            middle = np.array((grid.near_range_m + grid.far_range_m) / 2)
            self._centres[burst] = rdr2geo(np.array(arc.seconds(grid.mid_time)), middle, 0.0, arc)
        return self._centres[burst]

    def _outline_all(self, scene: Scene, polarisation: str) -> list[BBox]:
        """A box around whatever each burst of a scene may show."""
        orbit, swaths = self.read_orbit(scene, polarisation), self.options.swaths
        bursts = [burst for swath in swaths for burst in self.collect_bursts((scene,), swath, polarisation)]
        return [find_box(*outline_burst(burst, orbit, ALL_HEIGHTS_M)) for burst in bursts]


def _explain_nothing_seen(pair: Pair, outlines: Outlines, shared: Sequence[Matched]) -> TopsarError:
    """Why no burst that both dates have shows ground of the region of interest."""
    if outlines.lie_over_voids(list_bursts(shared)):
        msg = f"the DEM {outlines.dem.path} holds nothing but voids under the bursts of the pair"
        return ProvisionError(msg, hint="check its nodata value, or take another DEM")
    msg = f"no burst of {pair.id} lies in the region of interest"
    return SceneError(msg, hint="ROI is south,north,west,east in degrees: does it (or FRAME) lie in both scenes?")


def _refuse_faulty_images(pair: Pair, bursts: Iterable[Matched]) -> None:
    """Refuse images that are needed and missing, or not as long as the manifest says."""
    scenes = {scene.name: scene for scene in pair.scenes}
    for burst in list_bursts(bursts):
        scene = scenes[burst.scene]
        _refuse_faults(scene, scene.find_faults("measurement", burst.swath, burst.polarisation), burst.swath)


def _refuse_faults(scene: Scene, faults: Sequence[str], swath: str = "") -> None:
    if faults:
        hint = f"{DOWNLOAD_AGAIN}; or leave {swath or 'the swath'} out with SWATHS"
        msg = f"{scene.name}: {', '.join(faults)}"
        raise SceneError(msg, hint=hint)


def _check_frame(pair: Pair, frame: Frame | None) -> None:
    """Refuse a pair of another track than that of the frame, if there is one."""
    if frame is None:
        return
    scene = pair.reference[0]
    is_near = (scene.track - frame.track) % TRACKS in (0, 1, TRACKS - 1)  # the number steps at the equator
    if not is_near or scene.direction is not frame.direction:
        frames, scenes = (f"track {one.track}, {one.direction.value}" for one in (frame, scene))
        msg = f"ARIA frame {frame} is on {frames}; {pair.id} is on {scenes}"
        raise SceneError(msg, hint="check FRAME, and the lines of pairs.txt")


def check_pair(pair: Pair) -> None:
    """Refuse scenes that cannot interfere: those of one pass, of several tracks or flight directions."""
    first = pair.reference[0]
    for scene in pair.scenes:
        if not share_track(scene, first):
            msg = f"{scene.name} is of track {scene.track}, {first.name} of track {first.track}"
            raise SceneError(msg, hint="a pair needs two passes of the same track: correct the line in pairs.txt")
        if scene.direction is not first.direction:
            msg = f"{scene.name} is {scene.direction.value}, {first.name} {first.direction.value}"
            raise SceneError(msg, hint="a pair needs two passes of the same direction: correct the line in pairs.txt")
    for one, other in itertools.product(pair.reference, pair.secondary):
        if _is_one_pass(one, other):
            msg = f"{one.name} and {other.name} are of one pass, {one.mission} of {one.start:%Y-%m-%d}"
            raise SceneError(msg, hint="a pair needs two passes: correct the line in pairs.txt")


def _is_one_pass(one: Scene, other: Scene) -> bool:
    same_time = abs(one.start - other.start) < LONGEST_PASS
    return one.mission == other.mission and (one.absolute_orbit == other.absolute_orbit or same_time)


def share_track(one: Scene, other: Scene) -> bool:
    """Whether two scenes are of one track, whose number steps by one where it crosses the equator northward.

    The satellites are sun-synchronous: they come back at the same time of day, and fly the next orbit 99 minutes later.

    Parameters
    ----------
    one, other : Scene
    """
    if one.track == other.track:
        return True
    day = timedelta(days=1)
    apart = (one.start - other.start) % day
    return (one.track - other.track) % TRACKS in (1, TRACKS - 1) and min(apart, day - apart) < LONGEST_PASS


def _choose_polarisation(pair: Pair, options: Options) -> str:
    """The polarisation to process: the pair's, else the first wanted one that all scenes have: VV, HH with ``auto``."""
    scenes, wanted = pair.scenes, ("VV", "HH") if options.polarization == "auto" else options.polarization
    wanted = (pair.polarisation,) if pair.polarisation else wanted
    shared = set.intersection(*(set(scene.polarisations) for scene in scenes))
    for polarisation in wanted:
        if polarisation in shared:
            return polarisation
    present = "; ".join(f"{scene.name} has {', '.join(scene.polarisations) or 'none'}" for scene in scenes)
    msg = f"no {' or '.join(wanted)} in common: {present}"
    raise SceneError(msg, hint="set POLARIZATION to one that all scenes have")


def _has_swath(scene: Scene, swath: str, polarisation: str) -> bool:
    return any((file.swath, file.polarisation) == (swath, polarisation) for file in scene.files)


def _list_swaths(scenes: tuple[Scene, ...]) -> set[str]:
    return {swath for scene in scenes for swath in scene.swaths}


def _get_start(burst: Burst) -> datetime:
    return burst.grid.first_line_time
