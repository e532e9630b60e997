"""From pairs to jobs: each pair is one job, each of its stages a step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic_core import to_jsonable_python

from topsar.engines.facts import collect_facts
from topsar.engines.isce2.selection import find_ground_box, require_fit, select_bursts
from topsar.engines.isce2.stages import Stage, list_stages
from topsar.engines.isce2.tasks import BEAM_SPEED_M_S, RUN, TopsAppTask, describe_version
from topsar.engines.layout import lay_out
from topsar.engines.outlook import warn_uncalibrated
from topsar.engines.protocol import Plan, Remark
from topsar.engines.step import dump_tasks, sign, step_argv, watch_files
from topsar.engines.viewing import MID_INCIDENCE_RAD
from topsar.errors import SettingsError, TopsarError
from topsar.model import UNCALIBRATED_IPF, Looks
from topsar.schedule.jobs import Artifact, Job, Lifetime, Step

if TYPE_CHECKING:
    from topsar.engines.isce2.installation import Installation
    from topsar.engines.layout import LaidPair
    from topsar.engines.protocol import Inputs, Outlook
    from topsar.model import Burst
    from topsar.settings import Options

_FINER = 3
"""The merged image has about so many pixels to one of the products each way."""


def plan(inputs: Inputs, options: Options, installation: Installation) -> Plan:
    """Turn each pair into a job.

    Parameters
    ----------
    inputs : Inputs
    options : Options
    installation : Installation
        The ISCE2 that runs the steps.

    Raises
    ------
    SettingsError
        If topsApp cannot work with these options.
    """
    _check_options(options)
    layout = lay_out(inputs, options.model_copy(update={"looks": "auto"}))  # LOOKS counts radar pixels here
    jobs: list[Job] = []
    tasks: dict[str, str] = {}
    outlooks: dict[str, Outlook] = {}
    refused = dict(layout.refused)
    for laid in layout.pairs:
        pair = laid.matched.pair.id
        try:
            task = _task(laid, inputs, options, installation)
        except TopsarError as exc:
            refused[pair] = exc
            continue
        tasks[pair] = dump_tasks({RUN: task})
        steps = tuple(_step(stage, task) for stage in list_stages(task))
        jobs.append(Job(id=pair, title=task.facts.title, steps=steps, is_pair=True))
        outlooks[pair] = _with_remarks(warn_uncalibrated(layout.outlooks[pair], laid.matched), task, installation)
    return Plan(jobs=tuple(jobs), tasks=tasks, refused=refused, outlooks=outlooks)


def _check_options(options: Options) -> None:
    """Refuse what topsApp cannot do."""
    cannot = {
        "GRID=radar": options.grid == "radar",
        "SLC_STACK=1": options.slc_stack,
        "ESD=network": options.esd == "network",
    }
    for setting, is_set in cannot.items():
        if is_set:
            msg = f"{setting}: topsApp processes one pair at a time"
            raise SettingsError(msg, hint="leave it out, or set ENGINE=native")
    if options.frame is not None:
        msg = f"FRAME={options.frame}: topsApp takes the bursts of a box, not those of a frame"
        raise SettingsError(msg, hint="set ENGINE=native, or ROI for FRAME")


def _task(laid: LaidPair, inputs: Inputs, options: Options, installation: Installation) -> TopsAppTask:
    matched = laid.matched
    require_fit(matched, installation)
    bursts = select_bursts(matched, options.roi)
    return TopsAppTask(
        installation=installation,
        facts=collect_facts(matched),
        bursts=bursts,
        reference_orbit=matched.orbits[0],
        secondary_orbit=matched.orbits[1],
        dem=inputs.dem,
        dem_box=find_ground_box(matched, bursts, inputs.dem),
        grid=laid.grid,
        looks=_choose_looks(options, bursts[0].reference),
        roi=options.roi,
        esd=options.esd,
        esd_full=options.topsapp_esd == "full",
        esd_coherence=options.esd_coherence,
        filter_strength=options.filter_strength,
        unwrapper=options.unwrapper,
        ionosphere="ionosphere" in options.corrections,
        gpu=options.use_gpu,
        aux_cal=inputs.aux_cal if any(scene.ipf == UNCALIBRATED_IPF for scene in matched.pair.scenes) else None,
        water_mask=inputs.water_mask,
        backscatter="none" if matched.uncalibrated else options.backscatter,
        uncalibrated=matched.uncalibrated,
    )


def _choose_looks(options: Options, burst: Burst) -> Looks:
    """Choose looks in range (east) and azimuth (north): as set, or for a merged image finer than the products."""
    cell_m = options.posting_m / _FINER
    across = burst.grid.range_spacing_m / math.sin(MID_INCIDENCE_RAD)
    usual = Looks(
        east=max(round(cell_m / across), 2), north=max(round(cell_m / burst.grid.line_interval_s / BEAM_SPEED_M_S), 1)
    )
    looks = options.looks if isinstance(options.looks, Looks) else usual
    if looks.count == 1:
        msg = f"LOOKS={options.looks}: topsApp keeps no merged image of single looks"
        raise SettingsError(msg, hint="set LOOKS=2x1 or more, or LOOKS=auto")
    return looks


def _with_remarks(outlook: Outlook, task: TopsAppTask, installation: Installation) -> Outlook:
    remarks = list(outlook.remarks)
    if task.esd == "auto" and not task.estimates_esd:
        text = "no swath has two bursts: topsApp cannot estimate azimuth misregistration"
        remarks.append(Remark(text=text, remedy="set ESD to a number of pixels if you know it, or list the next slice"))
    if task.ionosphere and int(installation.numpy.partition(".")[0]) > 1:
        text = f"ISCE2 runs on NumPy {installation.numpy}: its ionosphere step needs NumPy 1"
        remarks.append(Remark(text=text, remedy="install numpy<2 beside ISCE2, or take ionosphere out of CORRECTIONS"))
    return replace(outlook, remarks=tuple(remarks))


def _step(stage: Stage, task: TopsAppTask) -> Step:
    folder, key = f"{task.facts.pair}/{RUN}", f"isce2 {describe_version(task.installation)}"
    used = {name: to_jsonable_python(getattr(task, name)) for name in stage.uses}
    step = Step(
        name=stage.name,
        argv=step_argv(stage.name),
        signature=sign(f"{key} {stage.name} {' '.join(stage.steps)}", used, stage.inputs),
        reads=tuple(f"{folder}/{path}" for path in stage.reads),
        writes=(
            *(Artifact(path=f"{folder}/{path}", lifetime=Lifetime.SCRATCH) for path in stage.scratch),
            *(Artifact(path=f"{folder}/{path}", lifetime=Lifetime.RESTART) for path in stage.kept),
        ),
        kind=f"{key} {stage.name}",
        inputs=watch_files(stage.inputs),
    )
    return stage.cost.predict(step, stage.size, stage.extra_memory, stage.extra_disk)
