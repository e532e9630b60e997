"""From pairs to jobs: which steps for which pairs."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from topsar.engines.facts import collect_facts
from topsar.engines.ground import measure_dem_density, measure_pixel
from topsar.engines.layout import lay_out
from topsar.engines.native.collect import CollectTask
from topsar.engines.native.joblist import JobList
from topsar.engines.native.links import find_delays, find_geocodings, find_networks, find_views, place_bursts
from topsar.engines.native.stacks import find_stacks
from topsar.engines.native.steps import (
    delay,
    dispersion,
    filter,
    geocode,
    ionosphere,
    mosaic,
    multiply,
    slc,
    solve,
    split,
    subband,
    unwrap,
    view,
)
from topsar.engines.outlook import warn_uncalibrated
from topsar.engines.protocol import Inputs, Plan
from topsar.engines.step import StepKind
from topsar.errors import SettingsError

if TYPE_CHECKING:
    from topsar.engines.layout import LaidPair
    from topsar.model import Dem
    from topsar.settings import Options


def plan(inputs: Inputs, options: Options) -> Plan:
    """Match bursts, lay the grids, and cut the work into jobs; see `topsar.engines.protocol.Engine.plan`.

    Parameters
    ----------
    inputs : Inputs
    options : Options
    """
    if options.unwrapper != "none" and find_spec(options.unwrapper) is None:
        msg = f"UNWRAPPER={options.unwrapper}: the package is not installed (whirlwind needs Python 3.11 or newer)"
        raise SettingsError(msg, hint="set UNWRAPPER=snaphu or UNWRAPPER=none")
    if options.grid == "radar":
        from topsar.engines.native.radar.plan import plan_radar

        return plan_radar(inputs, options)
    layout = lay_out(inputs, options)
    density = measure_dem_density(inputs.dem, layout.pairs[0].matched.box) if layout.pairs else 0.0
    batch = JobList(density)
    _plan_jobs(batch, layout.pairs, inputs, options)
    matched = {one.matched.pair.id: one.matched for one in layout.pairs}
    outlooks = {name: warn_uncalibrated(outlook, matched[name]) for name, outlook in layout.outlooks.items()}
    return Plan(jobs=tuple(batch.jobs.values()), tasks=batch.tasks, refused=layout.refused, outlooks=outlooks)


def _plan_jobs(batch: JobList, laid: tuple[LaidPair, ...], inputs: Inputs, options: Options) -> None:
    geocodings = find_geocodings(laid, inputs)
    fed_by = {one.matched.pair.id: sorted({window.job for window in place_bursts(one)}) for one in laid}
    delays = {}
    if options.range_registration == "auto":
        delays = find_delays(geocodings, {name: one.grid for one in laid for name in fed_by[one.matched.pair.id]})
    for name, found in delays.items():
        geocodings[name] = replace(geocodings[name], delay=found.folder)
    networks = find_networks([one.matched.pair for one in laid]) if options.esd == "network" else []
    solved = {pair.pair: f"{network.job}/solve" for network in networks for pair in network.pairs}
    views = find_views(laid, inputs.dem)
    for one in laid:
        pair = one.matched.pair.id
        for found in (delays[name] for name in fed_by[pair] if name in delays):
            batch.add(f"{found.orbit.start:%Y-%m-%d} range delay", (delay.STEP, found))
        for geocoding in (geocodings[name] for name in fed_by[pair]):
            burst = geocoding.windows[0].burst
            title = f"{geocoding.orbit.start:%Y-%m-%d} {burst.swath} {burst.polarisation}"
            batch.add(title, (geocode.STEP, geocoding), *_plan_split(geocoding, one, options))
        batch.add(f"{views[pair].orbit.start:%Y-%m-%d} ground", (view.STEP, views[pair]))
        used = tuple(sorted({geocodings[name].delay for name in fed_by[pair]} - {""}))
        collected = _plan_collect(one, inputs, options, views[pair])
        steps = _plan_pair(one, inputs.dem, options, used, solved.get(pair, ""))
        batch.add(collected.facts.title, *steps, pair=collected)
    if options.slc_stack:
        slcs, dispersions = find_stacks(laid, geocodings)
        for date in slcs:
            day = f"{date.date[:4]}-{date.date[4:6]}-{date.date[6:]}"
            batch.add(f"{day} SLC of {date.stack}", (slc.STEP, date))
        for stack in dispersions:
            batch.add(f"amplitude dispersion of {stack.stack}", (dispersion.STEP, stack))
    for network in networks:
        batch.add(f"azimuth timing of the dates of {len(network.pairs)} pairs", (solve.STEP, network))


def _wants_ionosphere(options: Options) -> bool:
    wanted = {"ionosphere", "ionosphere_burst_ramps"} & set(options.corrections)
    return bool(wanted) and options.unwrapper != "none"


def _plan_split(geocoding: geocode.GeocodeTask, laid: LaidPair, options: Options) -> list[tuple[StepKind[Any], Any]]:
    """The step that splits what is geocoded, where the ionosphere is to be estimated."""
    if not _wants_ionosphere(options):
        return []
    return [(split.STEP, replace(geocoding, looks=split.choose_looks(laid.grid)))]


def _plan_ionosphere(
    laid: LaidPair, swaths: list[multiply.MultiplyTask], options: Options
) -> tuple[list[tuple[StepKind[Any], Any]], list[tuple[StepKind[Any], Any]]]:
    """The steps that multiply sub-bands, by swath, and the one that estimates the ionosphere from them."""
    if not _wants_ionosphere(options):
        return [], []
    looks, missions = split.choose_looks(laid.grid), {scene.mission for scene in laid.matched.pair.scenes}
    bands = [
        subband.SubbandTask(
            job=task.job,
            grid=laid.grid,
            looks=looks,
            bursts=task.bursts,
            reference_orbit=task.reference_orbit,
            apart=len(missions) > 1,
        )
        for task in swaths
    ]
    east, north = measure_pixel(laid.grid)
    estimated = ionosphere.IonosphereTask(
        job=laid.matched.pair.id,
        shape=laid.grid.shape,
        pixel_m=(round(north, 3), round(east, 3)),
        swaths=tuple(task.folder for task in bands),
        multiplied=tuple(task.folder for task in swaths),
    )
    return [(subband.STEP, task) for task in bands], [(ionosphere.STEP, estimated)]


def _plan_pair(
    laid: LaidPair, dem: Dem, options: Options, delays: tuple[str, ...], network: str
) -> list[tuple[StepKind[Any], Any]]:
    """List the steps of a pair: each swath multiplied, then all of them together."""
    one, pixels = laid.matched, laid.grid.rows * laid.grid.columns
    windows = place_bursts(laid)
    bursts = [
        multiply.BurstPair(reference=near, secondary=far) for near, far in zip(windows[::2], windows[1::2], strict=True)
    ]
    swaths = [
        multiply.MultiplyTask(
            job=one.pair.id,
            grid=laid.grid,
            looks=laid.looks,
            bursts=tuple(both for both in bursts if both.reference.burst.swath == swath),
            reference_orbit=one.orbits[0],
            secondary_orbit=one.orbits[1],
            dem=dem,
            backscatter="none" if one.uncalibrated else options.backscatter,
        )
        for swath in sorted({both.reference.burst.swath for both in bursts})
    ]
    joined = mosaic.MosaicTask(
        job=one.pair.id,
        shape=laid.grid.shape,
        looks=laid.looks,
        swaths=tuple(
            mosaic.MosaicSwath(
                name=task.swath, folder=task.folder, bursts=tuple(both.reference.burst.label for both in task.bursts)
            )
            for task in swaths
        ),
        line_interval_s=bursts[0].reference.burst.grid.line_interval_s,
        delays=delays,
    )
    filtered = filter.FilterTask(
        job=one.pair.id, pixels=pixels, esd=options.esd, network=network, filter_strength=options.filter_strength
    )
    unwrapped = unwrap.UnwrapTask(job=one.pair.id, pixels=pixels, unwrapper=options.unwrapper)
    bands, estimated = _plan_ionosphere(laid, swaths, options)
    return [
        *((multiply.STEP, task) for task in swaths),
        *bands,
        (mosaic.STEP, joined),
        (filter.STEP, filtered),
        (unwrap.STEP, unwrapped),
        *estimated,
    ]


def _plan_collect(laid: LaidPair, inputs: Inputs, options: Options, seen: view.ViewTask) -> CollectTask:
    return CollectTask(
        facts=collect_facts(laid.matched),
        grid=laid.grid,
        looks=laid.looks,
        reference_orbit=laid.matched.orbits[0],
        secondary_orbit=laid.matched.orbits[1],
        dem=inputs.dem,
        view=f"{seen.job}/view",
        unwrapped=options.unwrapper != "none",
        water_mask=inputs.water_mask,
        backscatter=options.backscatter,
        uncalibrated=laid.matched.uncalibrated,
        ionosphere=_wants_ionosphere(options),
    )
