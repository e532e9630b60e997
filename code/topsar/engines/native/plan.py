"""From pairs to jobs: one geocoding job per scene and swath, one job per pair, one per network of dates if asked."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.engines.facts import pair_facts
from topsar.engines.ground import DEM_MARGIN_DEG, dem_density, lonlat_box
from topsar.engines.layout import LaidPair, lay_out
from topsar.engines.native import costs
from topsar.engines.native.delay import PIXELS, STRIP_LINES
from topsar.engines.native.geocode import BLOCK_ROWS
from topsar.engines.native.multiply import BLOCK_ROWS as MULTIPLIED_ROWS
from topsar.engines.native.network import find_delays, find_networks
from topsar.engines.native.slc import tile_rows
from topsar.engines.native.stack import find_stacks
from topsar.engines.native.tasks import (
    MULTIPLY,
    VERSION,
    BurstPair,
    BurstWindow,
    DelayTask,
    DispersionTask,
    GeocodeTask,
    NetworkTask,
    PairTask,
    SlcTask,
    ViewTask,
    dump_task,
    multiplied,
)
from topsar.engines.orbits import OrbitChoice
from topsar.engines.protocol import Inputs, Plan
from topsar.engines.step import make_step, sign
from topsar.engines.survey import all_bursts
from topsar.errors import SettingsError
from topsar.model import GeoGrid
from topsar.schedule.jobs import Artifact, Job, Lifetime, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topsar.engines.step import Cost
    from topsar.model import Burst, Pair, Scene
    from topsar.settings import Options

_KEY = f"native {VERSION}"

_GEOCODE_BYTES = 20
"""Per fine pixel of a block: the complex block, its contiguous copy, and halves."""
_DEM_BYTES = 4
_BURST_BYTES, _BLOCK_BYTES = 130, 24
"""Per output pixel of a burst that is multiplied; per fine pixel of a block of it."""
_CHOICE_BYTES, _SLC_BYTES, _DISPERSION_BYTES = 100, 24, 40
"""Per output pixel where bursts are chosen; per fine pixel of a strip."""


def plan(inputs: Inputs, options: Options) -> Plan:
    """Match bursts, lay the grids, and cut the work into jobs.

    Raises
    ------
    SettingsError
        If no pair could be run with these options.
    """
    check_unwrapper(options.unwrapper)
    layout = lay_out(inputs, options)
    jobs, tasks = _jobs(layout.pairs, inputs, options)
    return Plan(jobs=jobs, tasks=tasks, refused=layout.refused, outlooks=layout.outlooks)


def check_unwrapper(name: str) -> None:
    """Refuse an unwrapper that is not installed.

    Raises
    ------
    SettingsError
        With the alternative.
    """
    if name != "none" and find_spec(name) is None:
        msg = f"UNWRAPPER={name}: the package is not installed (whirlwind needs Python 3.11 or newer)"
        raise SettingsError(msg, hint="set UNWRAPPER=snaphu or UNWRAPPER=none")


# --- jobs -------------------------------------------------------------------------------------------------------


def _jobs(laid: tuple[LaidPair, ...], inputs: Inputs, options: Options) -> tuple[tuple[Job, ...], dict[str, str]]:
    geocodings = _geocodings(laid, inputs)
    fed_by = {
        one.matched.pair.id: sorted({_geocode_id(one.matched.pair, burst) for burst in all_bursts(one.matched.bursts)})
        for one in laid
    }
    delays = {}
    if options.range_registration == "auto":
        delays = find_delays(geocodings, {name: one.grid for one in laid for name in fed_by[one.matched.pair.id]})
    for name, delay in delays.items():
        geocodings[name] = replace(geocodings[name], delay=f"{_delay_id(delay)}/delay")
    density = dem_density(inputs.dem, laid[0].matched.box) if laid else 0.0
    networks = find_networks([one.matched.pair for one in laid]) if options.esd == "network" else {}
    solved = {pair.pair: f"{name}/solve" for name, network in networks.items() for pair in network.pairs}
    views, view_of = _views(laid, inputs)
    jobs: dict[str, Job] = {}
    tasks: dict[str, str] = {}
    for one in laid:
        for delay in (delays[name] for name in fed_by[one.matched.pair.id] if name in delays):
            tasks[_delay_id(delay)] = dump_task(delay)
            jobs.setdefault(_delay_id(delay), _delay_job(delay, density))
        for name in fed_by[one.matched.pair.id]:
            tasks[name] = dump_task(geocodings[name])
            jobs.setdefault(name, _geocode_job(name, geocodings[name], density))
        seen = view_of[one.matched.pair.id]
        tasks[seen] = dump_task(views[seen])
        jobs.setdefault(seen, _view_job(seen, views[seen], density))
        task = replace(
            _pair_task(one, inputs, options),
            view=f"{seen}/view",
            network=solved.get(one.matched.pair.id, ""),
            delays=tuple(sorted({geocodings[name].delay for name in fed_by[one.matched.pair.id]} - {""})),
        )
        tasks[task.facts.pair] = dump_task(task)
        jobs[task.facts.pair] = _pair_job(task, density)
    if options.slc_stack:
        slcs, dispersions = find_stacks(laid, geocodings, _geocode_id)
        tasks |= {name: dump_task(task) for name, task in slcs.items()}
        tasks |= {name: dump_task(task) for name, task in dispersions.items()}
        jobs |= {name: _slc_job(name, task, density) for name, task in slcs.items()}
        jobs |= {name: _dispersion_job(name, task) for name, task in dispersions.items()}
    tasks |= {name: dump_task(network) for name, network in networks.items()}
    jobs |= {name: _network_job(name, network) for name, network in networks.items()}
    return tuple(jobs.values()), tasks


def _scene_of(pair: Pair, burst: Burst) -> Scene:
    return next(scene for scene in pair.scenes if scene.name == burst.scene)


def _geocode_id(pair: Pair, burst: Burst) -> str:
    """One job per scene and swath, whatever other slices a pair lists; the name ends in ESA's unique id."""
    scene = _scene_of(pair, burst)
    return f"slc_{scene.start:%Y%m%dT%H%M%S}_{scene.mission}_{scene.name[-4:]}_{burst.swath}_{burst.polarisation}"


def _geocodings(laid: tuple[LaidPair, ...], inputs: Inputs) -> dict[str, GeocodeTask]:
    """What each scene and swath must geocode for all pairs together."""
    windows: dict[str, dict[str, BurstWindow]] = {}
    owners: dict[str, tuple[LaidPair, Scene]] = {}
    for one in laid:
        pair, grids = one.matched.pair, [grid for both in one.windows for grid in both]
        for burst, grid in zip(all_bursts(one.matched.bursts), grids, strict=True):
            name, window = _geocode_id(pair, burst), BurstWindow(burst=burst, grid=grid)
            windows.setdefault(name, {})[window.filename] = window
            owners.setdefault(name, (one, _scene_of(pair, burst)))
    return {
        name: GeocodeTask(
            windows=tuple(windows[name][key] for key in sorted(windows[name])),
            looks=one.looks,
            orbit=OrbitChoice(file=inputs.survey.orbits[scene.name], scenes=(scene,)),
            dem=inputs.dem,
            delay="",
        )
        for name, (one, scene) in owners.items()
    }


def _pair_task(laid: LaidPair, inputs: Inputs, options: Options) -> PairTask:
    one, bursts = laid.matched, []
    for both, (near, far) in zip(one.bursts, laid.windows, strict=True):
        reference = BurstWindow(burst=both.reference, grid=near)
        secondary = BurstWindow(burst=both.secondary, grid=far)
        bursts.append(
            BurstPair(
                reference=reference,
                secondary=secondary,
                reference_file=f"{_geocode_id(one.pair, both.reference)}/slc/{reference.filename}",
                secondary_file=f"{_geocode_id(one.pair, both.secondary)}/slc/{secondary.filename}",
            )
        )
    return PairTask(
        facts=pair_facts(one),
        grid=laid.grid,
        looks=laid.looks,
        bursts=tuple(bursts),
        reference_orbit=one.orbits[0],
        secondary_orbit=one.orbits[1],
        dem=inputs.dem,
        esd=options.esd,
        view="",
        network="",
        delays=(),
        filter_strength=options.filter_strength,
        unwrapper=options.unwrapper,
        water_mask=inputs.water_mask,
    )


def _views(laid: Sequence[LaidPair], inputs: Inputs) -> tuple[dict[str, ViewTask], dict[str, str]]:
    """The views of the grids from the reference passes, and the name of each pair's."""
    names: dict[ViewTask, str] = {}
    view_of = {}
    for one in laid:
        view = ViewTask(
            grid=one.grid, orbit=one.matched.orbits[0], polarisation=one.matched.polarisation, dem=inputs.dem
        )
        if view not in names:
            scene = view.orbit.scenes[0]
            plain = f"view_{scene.start:%Y%m%dT%H%M%S}_{scene.mission}_{scene.name[-4:]}_{view.polarisation}"
            taken = sum(name.startswith(plain) for name in names.values())
            names[view] = f"{plain}_{taken + 1}" if taken else plain
        view_of[one.matched.pair.id] = names[view]
    return {name: view for view, name in names.items()}, view_of


def _view_job(name: str, task: ViewTask, density: float) -> Job:
    step = make_step(
        "view",
        key=_KEY,
        signature=_signature(task, task.orbit.path),
        cost=costs.VIEW,
        size=task.grid.rows * task.grid.columns,
        writes=(Artifact(path=f"{name}/view", lifetime=Lifetime.RESTART),),
        extra_memory=_dem_crop(task.grid, density),
    )
    return Job(id=name, title=f"{task.orbit.start:%Y-%m-%d} ground", steps=(step,))


def _geocode_job(name: str, task: GeocodeTask, density: float) -> Job:
    grids = [window.grid.refined(task.looks) for window in task.windows]
    samples = max(window.burst.valid.rows * window.burst.valid.columns for window in task.windows)
    block = max(grid.columns for grid in grids) * BLOCK_ROWS * _GEOCODE_BYTES
    crop = max(_dem_crop(window.grid, density) for window in task.windows)
    pixels = sum(grid.rows * grid.columns for grid in grids)
    burst = task.windows[0].burst
    step = make_step(
        "geocode",
        key=_KEY,
        signature=_signature(task, *_inputs(task.windows), task.orbit.path),
        cost=costs.GEOCODE,
        size=pixels,
        reads=(task.delay,) if task.delay else (),
        writes=(Artifact(path=f"{name}/slc", lifetime=Lifetime.SCRATCH),),
        extra_memory=samples * 8 + block + crop,
    )
    return Job(id=name, title=f"{task.orbit.start:%Y-%m-%d} {burst.swath} {burst.polarisation}", steps=(step,))


def _pair_job(task: PairTask, density: float) -> Job:
    pair = task.facts.pair
    pixels = task.grid.rows * task.grid.columns
    plain = replace(task, esd="auto", view="", network="", filter_strength=0.0, unwrapper="none", water_mask=None)
    swaths = tuple(multiplied(pair, swath) for swath in task.swaths)
    mosaic, filtered = f"{pair}/mosaic", f"{pair}/filter"
    corrections = (mosaic, task.network) if task.network else (mosaic,)
    steps = (
        *(_multiply_step(plain, swath, density) for swath in task.swaths),
        _step(pair, "mosaic", (*swaths, *task.delays), _signature(plain), costs.MOSAIC, pixels),
        _step(pair, "filter", corrections, f"{_KEY} {task.filter_strength} {task.esd}", costs.FILTER, pixels),
        replace(
            _step(pair, "unwrap", (mosaic, filtered), f"{_KEY} {task.unwrapper}", costs.UNWRAP, pixels),
            kind=f"{_KEY} unwrap {task.unwrapper}",
        ),
    )
    return Job(id=pair, title=task.facts.title, steps=steps, is_pair=True, shared=(task.view,))


def _multiply_step(task: PairTask, swath: str, density: float) -> Step:
    """The step of one swath, which knows nothing of the others."""
    bursts = task.bursts_of(swath)
    grids = [both.reference.grid for both in bursts]
    pixels = [grid.rows * grid.columns for grid in grids]
    block = max(grid.columns for grid in grids) * task.looks.count * MULTIPLIED_ROWS * _BLOCK_BYTES
    files = (file for both in bursts for file in (both.reference_file, both.secondary_file))
    return make_step(
        f"{MULTIPLY}{swath}",
        key=_KEY,
        kind=MULTIPLY,
        signature=_signature(replace(task, bursts=bursts, delays=())),
        cost=costs.MULTIPLY,
        size=sum(pixels),
        reads=tuple(sorted({file.rpartition("/")[0] for file in files})),
        writes=(Artifact(path=multiplied(task.facts.pair, swath), lifetime=Lifetime.SCRATCH),),
        extra_memory=max(pixels) * _BURST_BYTES + block + _dem_crop(task.grid, density),
    )


def _delay_id(task: DelayTask) -> str:
    """One job per scene, like a geocoding's name without swath."""
    scene = task.orbit.scenes[0]
    polarisation = task.bursts[0][1].burst.polarisation
    return f"delay_{scene.start:%Y%m%dT%H%M%S}_{scene.mission}_{scene.name[-4:]}_{polarisation}"


def _delay_job(task: DelayTask, density: float) -> Job:
    name, windows = _delay_id(task), [window for both in task.bursts for window in both]
    pixels = len(task.bursts) * PIXELS
    held = 2 * max(window.burst.valid.columns for window in windows) * STRIP_LINES * 8
    step = make_step(
        "delay",
        key=_KEY,
        signature=_signature(task, *_inputs(windows), task.orbit.path, task.reference_orbit.path),
        cost=costs.DELAY,
        size=pixels,
        writes=(Artifact(path=f"{name}/delay", lifetime=Lifetime.RESTART),),
        extra_memory=held + max(_dem_crop(w.grid, density) for w in windows),
    )
    return Job(id=name, title=f"{task.orbit.start:%Y-%m-%d} range delay", steps=(step,))


def _slc_job(name: str, task: SlcTask, density: float) -> Job:
    fine = task.grid.refined(task.looks)
    pixels = fine.rows * fine.columns
    held = task.grid.rows * task.grid.columns * _CHOICE_BYTES + _dem_crop(task.grid, density)
    step = make_step(
        "slc",
        key=_KEY,
        signature=_signature(task, *{one.seam_orbit.path for one in task.bursts}),
        cost=costs.SLC,
        size=pixels,
        reads=tuple(sorted({one.file.rpartition("/")[0] for one in task.bursts})),
        writes=(Artifact(path=task.file),),
        extra_memory=held + tile_rows(task.looks) * fine.columns * _SLC_BYTES,
    )
    return Job(id=name, title=f"{task.date[:4]}-{task.date[4:6]}-{task.date[6:]} SLC of {task.stack}", steps=(step,))


def _dispersion_job(name: str, task: DispersionTask) -> Job:
    fine = task.grid.refined(task.looks)
    pixels = fine.rows * fine.columns
    step = make_step(
        "dispersion",
        key=_KEY,
        signature=f"{_KEY} dispersion",
        cost=costs.DISPERSION,
        size=pixels * len(task.files),
        reads=task.files,
        writes=(Artifact(path=task.file),),
        extra_memory=tile_rows(task.looks) * fine.columns * (_DISPERSION_BYTES + 4 * len(task.files)),
    )
    step = replace(step, needs=replace(step.needs, disk_bytes=4 * pixels))
    return Job(id=name, title=f"amplitude dispersion of {task.stack}", steps=(step,))


def _network_job(name: str, task: NetworkTask) -> Job:
    pairs = len(task.pairs)
    step = make_step(
        "solve",
        key=_KEY,
        signature=f"{_KEY} {dump_task(task)}",
        cost=costs.SOLVE,
        size=pairs,
        reads=tuple(f"{pair.pair}/mosaic" for pair in task.pairs),
        writes=(Artifact(path=f"{name}/solve", lifetime=Lifetime.RESTART),),
    )
    return Job(id=name, title=f"azimuth timing of the dates of {pairs} pairs", steps=(step,))


def _dem_crop(grid: GeoGrid, density: float) -> int:
    """Bytes of the DEM under a grid, at ``density`` postings per square degree."""
    box = lonlat_box(grid).grown(DEM_MARGIN_DEG)
    return int((box.east - box.west) * (box.north - box.south) * density) * _DEM_BYTES


def _step(pair: str, name: str, reads: tuple[str, ...], signature: str, cost: Cost, pixels: int) -> Step:
    writes = (Artifact(path=f"{pair}/{name}", lifetime=Lifetime.RESTART),)
    return make_step(name, key=_KEY, signature=signature, cost=cost, size=pixels, reads=reads, writes=writes)


def _inputs(windows: Iterable[BurstWindow]) -> list[Path]:
    return [Path(window.burst.measurement) for window in windows]


def _signature(task: GeocodeTask | PairTask | ViewTask | DelayTask | SlcTask, *files: Path) -> str:
    """A task, and what identifies its inputs."""
    return sign(_KEY, json.loads(dump_task(task)), (*files, *task.dem.files))
