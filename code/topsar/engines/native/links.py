"""What pairs share: geocoded swaths, the view of their ground, and passes, which join them into networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topsar.engines.layout import group_connected
from topsar.engines.native.steps.burst_window import BurstWindow
from topsar.engines.native.steps.delay import DelayTask
from topsar.engines.native.steps.geocode import GeocodeTask
from topsar.engines.native.steps.solve import NetworkPair, SolveTask
from topsar.engines.native.steps.view import ViewTask
from topsar.engines.orbits import OrbitChoice
from topsar.engines.survey import LONGEST_PASS
from topsar.model import POLARISATIONS, name_track

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from topsar.engines.layout import LaidPair
    from topsar.engines.protocol import Inputs
    from topsar.model import Burst, Dem, GeoGrid, Pair, Scene


def _find_scene(pair: Pair, burst: Burst) -> Scene:
    return next(scene for scene in pair.scenes if scene.name == burst.scene)


def _name_scene(scene: Scene) -> str:
    """Name a scene by its start, satellite and ESA's unique id."""
    return f"{scene.start:%Y%m%dT%H%M%S}_{scene.mission}_{scene.name[-4:]}"


def choose_name(plain: str, taken: Iterable[str]) -> str:
    """Choose a name that is not taken: the plain one, or that with a number.

    Parameters
    ----------
    plain : str
    taken : iterable of str
    """
    number = sum(name.startswith(plain) for name in taken)
    return f"{plain}_{number + 1}" if number else plain


def place_bursts(laid: LaidPair) -> list[BurstWindow]:
    """Tell each burst of a pair where it lies and which job geocodes it, each reference before its secondary.

    There is one job per scene and swath, whatever other slices a pair lists.
    """
    found = []
    for both, grids in zip(laid.matched.bursts, laid.windows, strict=True):
        for burst, grid in zip((both.reference, both.secondary), grids, strict=True):
            scene = _name_scene(_find_scene(laid.matched.pair, burst))
            job = f"slc_{scene}_{burst.swath}_{burst.polarisation}"
            found.append(BurstWindow(burst=burst, grid=grid, job=job))
    return found


def find_geocodings(laid: tuple[LaidPair, ...], inputs: Inputs) -> dict[str, GeocodeTask]:
    """Find what each scene and swath must geocode for all pairs together, by job.

    Parameters
    ----------
    laid : tuple of LaidPair
    inputs : Inputs
    """
    windows: dict[str, dict[str, BurstWindow]] = {}
    owners: dict[str, tuple[LaidPair, Scene]] = {}
    for one in laid:
        for window in place_bursts(one):
            windows.setdefault(window.job, {})[window.file] = window
            owners.setdefault(window.job, (one, _find_scene(one.matched.pair, window.burst)))
    return {
        name: GeocodeTask(
            job=name,
            windows=tuple(windows[name][key] for key in sorted(windows[name])),
            looks=one.looks,
            orbit=inputs.survey.choose_orbit(scene),
            dem=inputs.dem,
            delay="",
        )
        for name, (one, scene) in owners.items()
    }


def find_views(laid: tuple[LaidPair, ...], dem: Dem) -> dict[str, ViewTask]:
    """Map each pair to the view of its grid from its reference pass, which it shares with others.

    Parameters
    ----------
    laid : tuple of LaidPair
    dem : Dem
    """
    views: dict[tuple[Any, ...], ViewTask] = {}
    found = {}
    for one in laid:
        orbit, polarisation = one.matched.orbits[0], one.matched.polarisation
        scene, key = orbit.scenes[0], (one.grid, orbit)  # all polarisations look from one place
        if key not in views:
            name = choose_name(f"view_{_name_scene(scene)}_{polarisation}", [task.job for task in views.values()])
            views[key] = ViewTask(job=name, grid=one.grid, orbit=orbit, polarisation=polarisation, dem=dem)
        found[one.matched.pair.id] = views[key]
    return found


def find_networks(pairs: Sequence[Pair]) -> list[SolveTask]:
    """Group pairs of one polarisation that share passes, directly or through other pairs.

    Slices of one pass share its timing, whichever of them a pair lists.
    """
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(name_track(pair.id).partition("_")[2], []).append(pair)
    return [network for crossed, group in groups.items() for network in _join_networks(group, crossed)]


def _join_networks(pairs: Sequence[Pair], crossed: str) -> list[SolveTask]:
    passes = name_passes([scene for pair in pairs for scene in pair.scenes])
    tracks = {pair.id: pair.track for pair in pairs}
    linked = [
        NetworkPair(pair=pair.id, reference=passes[pair.reference[0].name], secondary=passes[pair.secondary[0].name])
        for pair in pairs
    ]
    networks = []
    for group in group_connected(linked, lambda one, other: not one.passes.isdisjoint(other.passes)):
        first = min(name for one in group for name in one.passes)
        joined = tuple(sorted(group, key=lambda one: one.pair))
        name = "_".join(filter(None, (f"esd_T{tracks[joined[0].pair]:03d}", first, crossed)))
        networks.append(SolveTask(job=name, pairs=joined))
    return networks


def name_passes(scenes: Iterable[Scene]) -> dict[str, str]:
    """Map each scene to the start of the first one of its pass; a pass is what lies within half an hour."""
    names: dict[str, str] = {}
    first: Scene | None = None
    for scene in sorted(scenes, key=lambda scene: scene.start):
        if first is None or scene.start - first.start > LONGEST_PASS:
            first = scene
        names[scene.name] = f"{first.start:%Y%m%dT%H%M%S}"
    return names


def find_delays(geocodings: Mapping[str, GeocodeTask], grids: Mapping[str, GeoGrid]) -> dict[str, DelayTask]:
    """Map each geocoding job to the task that measures its scene's range delay.

    The delays of all dates on one grid are against the earliest, which has none.

    Parameters
    ----------
    geocodings : mapping
    grids : mapping
        The output grid of each.
    """
    passes = name_passes(task.orbit.scenes[0] for task in geocodings.values())
    delays: dict[str, DelayTask] = {}
    for grid in dict.fromkeys(grids.values()):
        alike = {name: task for name, task in geocodings.items() if grids[name] == grid}
        first = min(passes[task.orbit.scenes[0].name] for task in alike.values())
        references = [task for task in alike.values() if passes[task.orbit.scenes[0].name] == first]
        by_scene: dict[Scene, dict[str, GeocodeTask]] = {}
        for name, task in alike.items():
            scene = task.orbit.scenes[0]
            if passes[scene.name] != first:
                by_scene.setdefault(scene, {})[name] = task
        for swaths in by_scene.values():
            least = min(map(_rank_polarisation, swaths.values()))  # the brighter one tells for both
            delay = _join_swaths(references, [one for one in swaths.values() if _rank_polarisation(one) == least])
            if delay is not None:
                delays |= dict.fromkeys(swaths, delay)
    return delays


def _rank_polarisation(task: GeocodeTask) -> int:
    return POLARISATIONS.index(task.windows[0].burst.polarisation)


def _join_swaths(references: Sequence[GeocodeTask], swaths: Sequence[GeocodeTask]) -> DelayTask | None:
    chosen: list[tuple[BurstWindow, BurstWindow]] = []
    for task in swaths:
        windows = sorted(task.windows, key=lambda window: window.burst.grid.first_line_time)
        found = [(near, window) for window in windows if (near := _find_same_place(window, references)) is not None]
        chosen += [found[k] for k in sorted({0, len(found) // 2, len(found) - 1})] if found else []
    if not chosen:
        return None
    needed = {near.burst.scene for near, _ in chosen}
    scenes = {task.orbit.scenes[0].name: task.orbit for task in references}
    orbits = [orbit for name, orbit in sorted(scenes.items()) if name in needed]
    scene, polarisation = swaths[0].orbit.scenes[0], chosen[0][1].burst.polarisation
    return DelayTask(
        job=f"delay_{_name_scene(scene)}_{polarisation}",
        bursts=tuple(chosen),
        reference_orbit=OrbitChoice(
            file=orbits[0].file, scenes=tuple(scene for orbit in orbits for scene in orbit.scenes)
        ),
        orbit=swaths[0].orbit,
        dem=swaths[0].dem,
    )


def _find_same_place(window: BurstWindow, references: Sequence[GeocodeTask]) -> BurstWindow | None:
    """Find the burst of the references that shares more than half of the window's ground."""
    burst, best, most = window.burst, None, window.grid.rows * window.grid.columns / 2
    for other in (other for task in references for other in task.windows):
        shared = window.grid.find_shared(other.grid)
        if (other.burst.swath, other.burst.polarisation) != (burst.swath, burst.polarisation) or shared is None:
            continue
        if shared.rows * shared.columns > most:
            best, most = other, shared.rows * shared.columns
    return best
