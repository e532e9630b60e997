"""Which dates stack: one task per date, whose geocoded bursts become one SLC, and one per stack of three dates or more.

Where one burst gives way to the next is decided by the earliest date that has the burst, so that all dates are cut
along the same seams: two bursts see the same ground at Dopplers that have nothing in common, and a pixel that comes
from one on this date and from the other on that has no coherence. A later date changes nothing of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.engines.native.links import choose_name, name_passes
from topsar.engines.native.steps.dispersion import LEAST_DATES, DispersionTask
from topsar.engines.native.steps.slc import STACKS, SlcTask, StackBurst
from topsar.engines.survey import list_bursts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from topsar.engines.layout import LaidPair
    from topsar.engines.native.steps.geocode import GeocodeTask
    from topsar.model import Burst

_Place = tuple[str, str, int, str]


def find_stacks(
    laid: Sequence[LaidPair], geocodings: Mapping[str, GeocodeTask]
) -> tuple[list[SlcTask], list[DispersionTask]]:
    """Find the SLC of every date, and the amplitude dispersion of every stack.

    Parameters
    ----------
    laid : sequence of LaidPair
    geocodings : mapping
        What is geocoded, by job.
    """
    seams = _find_earliest(laid)
    windows = {_place(window.burst): window for task in geocodings.values() for window in task.windows}
    slcs: list[SlcTask] = []
    dispersions: list[DispersionTask] = []
    for stack, pairs in name_stacks(laid).items():
        dates = []
        for date, places in _group_by_date(pairs).items():
            bursts = tuple(
                StackBurst(
                    window=windows[place],
                    seam=seams[place],
                    seam_orbit=geocodings[windows[_place(seams[place])].job].orbit,
                )
                for place in places
            )
            first = geocodings[bursts[0].window.job]
            dates.append(
                SlcTask(
                    job=f"{STACKS}_{stack}_{date}",
                    stack=stack,
                    date=date,
                    track=pairs[0].matched.pair.track,
                    direction=pairs[0].matched.pair.reference[0].direction.value,
                    scenes=tuple(sorted({one.window.burst.scene for one in bursts})),
                    grid=pairs[0].grid,
                    looks=pairs[0].looks,
                    bursts=bursts,
                    orbit=first.orbit,
                    dem=first.dem,
                )
            )
        slcs += dates
        if len(dates) >= LEAST_DATES:
            files, name = tuple(task.file for task in dates), f"{STACKS}_{stack}_dispersion"
            dispersions.append(
                DispersionTask(job=name, stack=stack, files=files, grid=pairs[0].grid, looks=pairs[0].looks)
            )
    return slcs, dispersions


def _group_by_date(pairs: Sequence[LaidPair]) -> dict[str, list[_Place]]:
    """Group bursts by date, the day on which their pass began."""
    passes = name_passes({scene.name: scene for one in pairs for scene in one.matched.pair.scenes}.values())
    dates: dict[str, set[_Place]] = {}
    for burst in (burst for one in pairs for burst in list_bursts(one.matched.bursts)):
        dates.setdefault(passes[burst.scene][:8], set()).add(_place(burst))
    return {date: sorted(places) for date, places in sorted(dates.items())}


def _place(burst: Burst) -> _Place:
    return burst.scene, burst.swath, burst.index, burst.polarisation


def name_stacks(laid: Iterable[LaidPair]) -> dict[str, list[LaidPair]]:
    """Pairs on one grid: T131_VV, and T131_VV_2 where another grid of that track is listed later."""
    names: dict[tuple[object, ...], str] = {}
    stacks: dict[str, list[LaidPair]] = {}
    for one in laid:
        plain = f"T{one.matched.pair.track:03d}_{one.matched.polarisation}"
        key = (plain, one.grid)
        if key not in names:
            names[key] = choose_name(plain, names.values())
        stacks.setdefault(names[key], []).append(one)
    return stacks


def _find_earliest(laid: Iterable[LaidPair]) -> dict[_Place, Burst]:
    """Map each burst to the earliest of those that it is matched with, directly or through others."""
    found: dict[_Place, Burst] = {}
    for one in laid:
        for both in one.matched.bursts:
            joined = [found.get(_place(burst), burst) for burst in (both.reference, both.secondary)]
            first = min(joined, key=lambda burst: burst.grid.first_line_time)
            others = {_place(burst) for burst in joined}
            found.update({place: first for place, burst in found.items() if _place(burst) in others})
            found.update({_place(burst): first for burst in (both.reference, both.secondary)})
    return found
