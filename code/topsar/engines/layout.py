"""Which pairs can be run, which of them share a grid, in which projection, how fine, and where bursts lie on it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from topsar.engines.footprint import Outlines, unite_boxes
from topsar.engines.ground import LONLAT, METRES_PER_DEGREE, change_crs, check_projection, find_box
from topsar.engines.outlook import describe_outlook
from topsar.engines.survey import share_track
from topsar.errors import ProvisionError, SettingsError, TopsarError
from topsar.model import GeoGrid, Looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from topsar.engines.footprint import Outline
    from topsar.engines.protocol import Inputs, Outlook
    from topsar.engines.survey import MatchedPair
    from topsar.model import BBox
    from topsar.settings import Options

T = TypeVar("T")

FINE_EAST_M, FINE_NORTH_M = 5.0, 10.0
"""Fine pixels are about this large: near a resolution cell in range, half of one in azimuth."""
LEAST_FINE_M, LARGEST_FINE_M = 1.0, 25.0
SNAP_PIXELS = 32
"""Grids of pairs end at whole multiples of this many pixels: a date added later seldom moves them."""
_UTM_REACH_DEG = 12.0
_GEOGRAPHIC, _UTM = ("latlon", "EPSG:4326"), ("auto", "utm")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaidPair:
    """A pair on its grid; ``windows`` are the output pixels that each burst may touch, on both dates."""

    matched: MatchedPair
    windows: tuple[tuple[GeoGrid, GeoGrid], ...]
    grid: GeoGrid
    looks: Looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Pairs on their grids, in listed order; by id an outlook, or the error that refuses a pair.

    ``outlines`` are those of all their bursts.
    """

    outlines: Outlines
    pairs: tuple[LaidPair, ...]
    outlooks: dict[str, Outlook]
    refused: dict[str, TopsarError]


def lay_out(inputs: Inputs, options: Options) -> Layout:
    """Match the bursts of all pairs and lay their grids.

    Parameters
    ----------
    inputs : Inputs
    options : Options
    """
    if options.crs not in (*_GEOGRAPHIC, *_UTM):
        check_projection(options.crs)
    survey, outlines = inputs.survey, Outlines(inputs.dem, options.roi)
    found: list[MatchedPair] = []
    refused: dict[str, TopsarError] = {}
    for pair in survey.pairs:
        try:
            found.append(survey.match(pair, outlines))
        except TopsarError as exc:
            refused[pair.id] = exc
    laid: dict[str, LaidPair] = {}
    for group in group_connected(found, can_stack):
        try:
            laid.update({one.matched.pair.id: one for one in _lay_grid(group, options)})
        except TopsarError as exc:
            refused.update({one.pair.id: exc for one in group})
    return Layout(
        outlines=outlines,
        pairs=tuple(laid[pair.id] for pair in survey.pairs if pair.id in laid),
        outlooks={name: describe_outlook(one.matched, survey) for name, one in laid.items()},
        refused=refused,
    )


def group_connected(items: Iterable[T], touch: Callable[[T, T], bool]) -> list[list[T]]:
    """Group what touches, directly or through others.

    Parameters
    ----------
    items : iterable
    touch : callable
        Whether two of them do.
    """
    groups: list[list[T]] = []
    for one in items:
        near = [group for group in groups if any(touch(one, other) for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append([*chain.from_iterable(near), one])
    return groups


def can_stack(one: MatchedPair, other: MatchedPair) -> bool:
    """Whether two pairs stack: they are of one track and touch each other, or share a scene.

    Parameters
    ----------
    one, other : MatchedPair
    """
    if share_track(one.pair.reference[0], other.pair.reference[0]) and one.box.intersects(other.box):
        return True
    scenes, others = ({scene.name for scene in p.pair.scenes} for p in (one, other))
    return not scenes.isdisjoint(others)


def _lay_grid(group: list[MatchedPair], options: Options) -> list[LaidPair]:
    """Lay one grid under the pairs of a group."""
    everything = unite_boxes([one.box for one in group])
    crs = choose_crs(options, everything)
    posting = convert_posting(crs, options.posting_m)
    looks = choose_looks(options, crs, posting, everything)
    region = _find_region(options.roi, crs, posting) if options.roi else None

    def find_window(lonlat: Outline) -> GeoGrid:
        box = find_box(*change_crs(LONLAT, crs, *lonlat)).grow(posting)
        if region is not None:
            box = box.intersection(region.bbox) or region.bbox
        return GeoGrid.cover(box, crs=crs, dx=posting, dy=posting)

    windows = [tuple((find_window(near), find_window(far)) for near, far in one.outlines) for one in group]
    whole = unite_boxes([grid.bbox for part in windows for both in part for grid in both])
    grid = _snap_grid(whole, crs, posting, region)
    return [
        LaidPair(matched=one, windows=part, grid=grid, looks=looks) for one, part in zip(group, windows, strict=True)
    ]


def choose_crs(options: Options, box: BBox) -> str:
    """The projection of a group: as set, or the UTM zone of the centre of the region of interest or of all bursts.

    Parameters
    ----------
    options : Options
    box : BBox
        Around the bursts of the group, degrees.
    """
    if options.crs in _GEOGRAPHIC:
        return "EPSG:4326"
    if options.crs not in _UTM:
        check_projection(options.crs, box)
        return options.crs
    if box.east - box.west > _UTM_REACH_DEG:
        msg = f"the pairs reach from {box.west:.1f} to {box.east:.1f} degrees east, too far for one UTM zone"
        raise ProvisionError(msg, hint="set CRS=latlon or CRS=EPSG:number, or list fewer pairs")
    lon, lat = (options.roi or box).centre
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{32600 + zone if lat >= 0 else 32700 + zone}"


def convert_posting(crs: str, posting_m: float) -> float:
    """The posting in units of ``crs``; in degrees a whole fraction of one, so that grids snap to whole degrees.

    Parameters
    ----------
    crs : str
    posting_m : float
    """
    return 1 / max(round(METRES_PER_DEGREE / posting_m), 1) if crs == "EPSG:4326" else posting_m


def choose_looks(options: Options, crs: str, posting: float, box: BBox) -> Looks:
    """Looks as set, or such that fine pixels measure about 5 m east by 10 m north.

    Parameters
    ----------
    options : Options
    crs : str
    posting : float
        In units of the projection.
    box : BBox
        Around the bursts of the group, degrees.
    """
    east = north = posting
    if crs == "EPSG:4326":
        north = posting * METRES_PER_DEGREE
        east = north * float(np.cos(np.radians((options.roi or box).centre[1])))
    usual = Looks(east=max(round(east / FINE_EAST_M), 1), north=max(round(north / FINE_NORTH_M), 1))
    if not isinstance(options.looks, Looks):
        return usual
    fine = east / options.looks.east, north / options.looks.north
    if min(fine) < LEAST_FINE_M or max(fine) > LARGEST_FINE_M:
        msg = (
            f"LOOKS={options.looks} with POSTING={options.posting_m:g} makes fine pixels of {fine[0]:.3g} by "
            f"{fine[1]:.3g} m; {LEAST_FINE_M:g} to {LARGEST_FINE_M:g} m can be used"
        )
        raise SettingsError(msg, hint=f"LOOKS=auto takes {usual} here")
    return options.looks


def _find_region(roi: BBox, crs: str, posting: float) -> GeoGrid:
    """The region of interest (degrees) on the map."""
    lon, lat = np.meshgrid(np.linspace(roi.west, roi.east, 21), np.linspace(roi.south, roi.north, 21))
    return GeoGrid.cover(find_box(*change_crs(LONLAT, crs, lon, lat)), crs=crs, dx=posting, dy=posting)


def _snap_grid(box: BBox, crs: str, posting: float, region: GeoGrid | None) -> GeoGrid:
    """The grid around ``box`` that ends at whole multiples of `SNAP_PIXELS`, or where the region of interest does."""
    coarse = GeoGrid.cover(box, crs=crs, dx=posting * SNAP_PIXELS, dy=posting * SNAP_PIXELS)
    snapped = coarse.refine(Looks(east=SNAP_PIXELS, north=SNAP_PIXELS))
    if region is None:
        return snapped
    inside = snapped.find_shared(region)
    return snapped.crop(inside) if inside else snapped
