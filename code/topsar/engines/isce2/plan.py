"""From pairs to jobs: one chain of topsApp's steps per pair."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic_core import to_jsonable_python

from topsar.engines.facts import pair_facts
from topsar.engines.ground import METRES_PER_DEGREE, dem_density, lonlat_box
from topsar.engines.isce2 import costs
from topsar.engines.isce2.selection import ground_box, require_fit, topsapp_bursts
from topsar.engines.isce2.stages import Stage, stages
from topsar.engines.isce2.tasks import RUN, TopsAppTask, dump_task
from topsar.engines.layout import lay_out
from topsar.engines.protocol import Plan, Remark
from topsar.engines.step import make_step, sign
from topsar.engines.survey import all_bursts
from topsar.engines.viewing import GROUND_SPEED, MID_INCIDENCE_RAD
from topsar.errors import SettingsError, TopsarError
from topsar.model import UNCALIBRATED_IPF, GeoGrid, Looks
from topsar.schedule.jobs import Artifact, Job, Lifetime, Step

if TYPE_CHECKING:
    from topsar.engines.isce2.installation import Installation
    from topsar.engines.layout import LaidPair
    from topsar.engines.protocol import Inputs, Outlook
    from topsar.engines.step import Cost
    from topsar.model import Burst
    from topsar.settings import Options

VERSION = "1"
"""Enters every checkpoint key: raised when the same input would give other numbers."""
GEOCODED_FINER = 2
"""On a map in metres topsApp geocodes onto a grid in degrees that is finer by this, from which the map is drawn."""
_ORBITAL_SPEED_M_S = 7590.0


def version_with(installation: Installation) -> str:
    """Version of this engine together with that of ISCE2."""
    return f"{VERSION} ISCE2 {installation.version}"


def plan(inputs: Inputs, options: Options, installation: Installation) -> Plan:
    """Match bursts, lay the grids, and give each pair its chain of steps.

    Raises
    ------
    SettingsError
        If topsApp cannot work with these options.
    """
    esd = _check_options(options)
    layout = lay_out(inputs, options.model_copy(update={"looks": "auto"}))  # LOOKS is of the radar image here
    jobs: list[Job] = []
    tasks: dict[str, str] = {}
    outlooks: dict[str, Outlook] = {}
    refused = dict(layout.refused)
    for laid in layout.pairs:
        pair = laid.matched.pair.id
        try:
            task = _task(laid, inputs, options, esd, installation)
        except TopsarError as exc:
            refused[pair] = exc
            continue
        tasks[pair] = dump_task(task)
        jobs.append(_job(task, dem_density(task.dem, laid.matched.box)))
        outlooks[pair] = _with_remarks(layout.outlooks[pair], task, installation)
    return Plan(jobs=tuple(jobs), tasks=tasks, refused=refused, outlooks=outlooks)


def _check_options(options: Options) -> Literal["auto", "off"] | float:
    """Refuse what topsApp cannot do; how misregistration is found."""
    if options.unwrapper == "whirlwind":
        msg = "UNWRAPPER=whirlwind: topsApp unwraps with SNAPHU only"
        raise SettingsError(msg, hint="set UNWRAPPER=snaphu or UNWRAPPER=none, or ENGINE=native")
    if options.slc_stack:
        msg = "SLC_STACK=1: topsApp knows one pair only"
        raise SettingsError(msg, hint="set SLC_STACK=0, or ENGINE=native")
    if options.esd == "network":
        msg = "ESD=network: topsApp knows one pair only"
        raise SettingsError(msg, hint="set ESD=auto, or ENGINE=native")
    return options.esd


def _task(
    laid: LaidPair, inputs: Inputs, options: Options, esd: Literal["auto", "off"] | float, installation: Installation
) -> TopsAppTask:
    matched = laid.matched
    require_fit(matched, installation)
    bursts = topsapp_bursts(matched, options.roi)
    return TopsAppTask(
        installation=installation,
        facts=pair_facts(matched),
        bursts=bursts,
        reference_orbit=matched.orbits[0],
        secondary_orbit=matched.orbits[1],
        dem=inputs.dem,
        dem_box=ground_box(matched, bursts, inputs.dem),
        grid=laid.grid,
        geocoding=geocoding_grid(laid.grid),
        looks=choose_looks(options, bursts[0].reference),
        roi=options.roi,
        esd=esd,
        esd_full=options.topsapp_esd == "full",
        esd_coherence=options.esd_coherence,
        filter_strength=options.filter_strength,
        unwrapper="none" if options.unwrapper == "none" else "snaphu",
        ionosphere=options.ionosphere,
        gpu=options.use_gpu,
        aux_cal=inputs.aux_cal if any(scene.ipf == UNCALIBRATED_IPF for scene in matched.pair.scenes) else None,
        water_mask=inputs.water_mask,
    )


def geocoding_grid(grid: GeoGrid) -> GeoGrid:
    """The grid in degrees onto which topsApp geocodes: that of the products, or a finer one under all of it."""
    if grid.crs == "EPSG:4326":
        return grid
    box = lonlat_box(grid)
    dy = 1 / round(GEOCODED_FINER * METRES_PER_DEGREE / grid.dy)
    narrowing = math.cos(math.radians(max(abs(box.south), abs(box.north))))
    dx = 1 / max(round(GEOCODED_FINER * METRES_PER_DEGREE * narrowing / grid.dx), 1)
    return GeoGrid.covering(box.grown(2 * max(dx, dy)), crs="EPSG:4326", dx=dx, dy=dy)


def choose_looks(options: Options, burst: Burst) -> Looks:
    """Looks in range and azimuth: as set, or such that pixels are about as large as the products'.

    Raises
    ------
    SettingsError
        If nothing would be averaged.
    """
    across = burst.grid.range_spacing_m / math.sin(MID_INCIDENCE_RAD)
    along = burst.grid.line_interval_s * _ORBITAL_SPEED_M_S * GROUND_SPEED
    usual = Looks(east=max(round(options.posting_m / across), 1), north=max(round(options.posting_m / along), 1))
    looks = options.looks if isinstance(options.looks, Looks) else usual
    if looks.count == 1:
        msg = f"LOOKS={options.looks} with POSTING={options.posting_m:g}: topsApp keeps no merged image of single looks"
        raise SettingsError(msg, hint="set LOOKS=2x1 or more, or a larger POSTING")
    return looks


def _with_remarks(outlook: Outlook, task: TopsAppTask, installation: Installation) -> Outlook:
    remarks = list(outlook.remarks)
    if task.esd == "auto" and not task.diverse:
        text = "no swath has two bursts: topsApp cannot estimate azimuth misregistration"
        remarks.append(Remark(text=text, remedy="set ESD to a number of pixels if you know it, or list the next slice"))
    if task.ionosphere and int(installation.numpy.partition(".")[0]) > 1:
        text = f"ISCE2 runs on NumPy {installation.numpy}: its ionosphere step needs NumPy 1"
        remarks.append(Remark(text=text, remedy="install numpy<2 beside ISCE2, or set IONOSPHERE=0"))
    return replace(outlook, remarks=tuple(remarks))


# --- jobs -------------------------------------------------------------------------------------------------------


def _job(task: TopsAppTask, density: float) -> Job:
    steps = tuple(_step(stage, task, density) for stage in stages(task))
    return Job(id=task.facts.pair, title=task.facts.title, steps=steps, is_pair=True)


def _step(stage: Stage, task: TopsAppTask, density: float) -> Step:
    pair, key = task.facts.pair, f"isce2 {version_with(task.installation)}"
    cost, size, memory = _cost(stage, task, density)
    step = make_step(
        stage.name,
        key=key,
        signature=_signature(stage, task, key),
        cost=cost,
        size=size,
        reads=tuple(f"{pair}/{RUN}/{path}" for path in stage.reads),
        writes=(
            *(Artifact(path=f"{pair}/{RUN}/{path}", lifetime=Lifetime.SCRATCH) for path in stage.scratch),
            *(Artifact(path=f"{pair}/{RUN}/{path}", lifetime=Lifetime.RESTART) for path in stage.kept),
        ),
        extra_memory=memory,
    )
    if stage.name != "mergebursts":
        return step
    merged = int(_multilooked(task) * costs.MULTILOOK.disk)
    return replace(step, needs=replace(step.needs, disk_bytes=step.needs.disk_bytes + merged))


def _cost(stage: Stage, task: TopsAppTask, density: float) -> tuple[Cost, float, float]:
    """The table's row for a step, its size, and the memory that follows from something else."""
    samples = [both.reference.grid.lines * both.reference.grid.samples for both in task.bursts]
    if stage.name == "dem":
        box = task.dem_box
        return costs.DEM, (box.east - box.west) * (box.north - box.south) * density, 0.0
    if stage.name == "geocode":
        return costs.GEOCODE, float(task.geocoding.rows * task.geocoding.columns), 8 * _multilooked(task)
    if stage.name in ("filter", "unwrap"):
        return (costs.FILTER if stage.name == "filter" else costs.UNWRAP), _multilooked(task), 0.0
    row = costs.BY_SAMPLE.get(stage.name) if task.diverse or stage.name != "rangecoreg" else None
    if row is None:
        return costs.IDLE, float(sum(samples)), 0.0
    return row, float(sum(samples)), costs.PER_BURST_SAMPLE.get(stage.name, 0) * max(samples)


def _multilooked(task: TopsAppTask) -> float:
    return sum(b.reference.valid.rows * b.reference.valid.columns for b in task.bursts) / task.looks.count


def _signature(stage: Stage, task: TopsAppTask, key: str) -> str:
    known = {name: to_jsonable_python(getattr(task, name)) for name in stage.options}
    files: list[Path] = list(task.dem.files) if "dem" in stage.options else []
    if "bursts" in stage.options:
        files += [Path(burst.measurement) for burst in all_bursts(task.bursts)]
        files += [task.reference_orbit.path, task.secondary_orbit.path]
    return sign(f"{key} {stage.name} {stage.first}", known, files)
