"""The stages of a pair: of each its topsApp steps, its reads and writes, what decides its result, its cost, its hooks.

A stage is one step of the scheduler. It runs one step of topsApp, but for two that go together because they write into
the same folder (``prepesd``, ``esd``), or because the second does nothing and only its record is needed (``fineresamp``
and ``ion`` where the ionosphere is not estimated). Reads and writes were observed by following every file that topsApp
opens, step by step. The first stage, and those after the merge, do without topsApp.

Costs were measured with ISCE2 2.6.5 on three full bursts of IW2 (120 million samples) on two cores of a virtual machine
(AMD EPYC), ionosphere on and off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from topsar.engines.ground import measure_dem_density, predict_dem
from topsar.engines.isce2.backscatter import BACKSCATTER, write_backscatter
from topsar.engines.isce2.config import DEM_NAME, IONOSPHERE, require_plain
from topsar.engines.isce2.dem_file import check_heights, write_topo_dem
from topsar.engines.isce2.esd import FACTS, RANGE_SHIFT, run_esd, run_range_coreg
from topsar.engines.isce2.geocode import (
    FILTERED,
    GEOCODED,
    STRIP_ROWS,
    UNWRAPPED,
    count_points,
    write_filtered,
    write_geocoded,
    write_unwrapped_phase,
)
from topsar.engines.isce2.ion import ION_FACTS, run_ion, run_merge
from topsar.engines.isce2.slcs import check_bursts, check_orbits, prepare_slcs
from topsar.engines.isce2.tasks import TopsAppTask
from topsar.engines.isce2.topsapp import TopsAppRun, record_files
from topsar.engines.step import Cost
from topsar.engines.survey import list_bursts
from topsar.errors import ProductError, StepFailed
from topsar.raster.isce_image import check_isce_image

Hook = Callable[[TopsAppRun], None]

TOPO_DEM = DEM_NAME.partition("/")[0]
_cost = partial(Cost, base_memory=335_000_000, start_s=3.0, memory=0, disk=0)  # two interpreters: topsar's, topsApp's
_own = partial(_cost, base_memory=230_000_000)  # topsar's alone
_threaded = partial(_cost, pixels_per_thread=5e6)
_IDLE = _cost(microseconds=0)
_OF_BURST = re.compile(r"(?:geom_reference|fine_\w+)/(IW\d)/[a-z]+_\d+\.[a-z]+")
"""Images with a pixel for each sample of a burst."""


def _count_samples(task: TopsAppTask) -> list[int]:
    """SLC samples of each burst."""
    return [both.reference.grid.lines * both.reference.grid.samples for both in task.bursts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the scheduler.

    Attributes
    ----------
    steps : tuple of str
        Steps of topsApp, of which it runs all from the first to the last; `list_stages` fills in the one of its name.
    follows : str
        The step of topsApp whose record the first one starts from.
    reads, scratch, kept : tuple of str
        Paths in the run folder: what it reads; what it writes until the last reader is done; and for later runs.
    uses : tuple of str
        Names of the fields of the task that decide the result, besides what is read: all of them are signed.
    inputs : tuple of Path
        Files of the user's that do so.
    cost, size : Cost and float
        The cost is for each unit of the size: SLC samples where `list_stages` fills it in.
    extra_memory, extra_disk : float
        Bytes besides ``cost``.
    prepare, run, check : callable
        Hooks before, instead of and after a plain run of topsApp's steps; images are checked after the run.
    """

    name: str
    steps: tuple[str, ...] = ()
    follows: str = ""
    reads: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    cost: Cost = _IDLE
    size: float = 0.0
    extra_memory: float = 0.0
    extra_disk: float = 0.0
    prepare: Hook | None = None
    run: Hook | None = None
    check: Hook | None = None


def list_stages(task: TopsAppTask) -> tuple[Stage, ...]:
    """The stages of a pair, in order."""
    overlaps = _overlap_stages if task.estimates_esd else _skipped_overlap_stages
    stages = [_dem_stage(task)]
    follows = ""
    for stage in (*_geometry_stages(task), *overlaps(task), *_burst_stages(task), _merge_stage(task)):
        steps = stage.steps or (stage.name,)
        written = {name for step in (steps[0], steps[-1]) for name in record_files(step)}
        reads = (*stage.reads, *record_files(follows)) if follows else stage.reads
        kept, size = (*sorted(written), *stage.kept), stage.size or float(sum(_count_samples(task)))
        stages.append(replace(stage, steps=steps, follows=follows, reads=reads, kept=kept, size=size))
        follows = steps[-1]
    return *stages, *_map_stages(task)


def _swath_paths(task: TopsAppTask, folder: str, ending: str = "") -> tuple[str, ...]:
    return tuple(f"{folder}/IW{number}{ending}" for number in task.swaths)


def _slcs(task: TopsAppTask, date: str) -> tuple[str, ...]:
    """What topsApp took from the SLCs of a date."""
    return (*_swath_paths(task, date), *_swath_paths(task, date, ".xml"))


def _images(*names: str) -> tuple[str, ...]:
    """Images of ISCE2, each with its two headers."""
    return tuple(f"{name}{ending}" for name in names for ending in ("", ".xml", ".vrt"))


def _dem_stage(task: TopsAppTask) -> Stage:
    """The one stage without topsApp."""
    box = task.dem_box
    return Stage(
        name="dem",
        scratch=(TOPO_DEM,),
        uses=("dem", "dem_box"),
        inputs=task.dem.files,
        cost=_own(memory=60, disk=4, microseconds=1),
        size=(box.east - box.west) * (box.north - box.south) * measure_dem_density(task.dem, box),
        run=write_topo_dem,
    )


def _geometry_stages(task: TopsAppTask) -> Iterable[Stage]:
    slcs = (*_slcs(task, "reference"), *_slcs(task, "secondary"))
    yield Stage(name="startup")
    yield Stage(
        name="preprocess",
        scratch=slcs,
        uses=("polarisation", "reference_orbit", "secondary_orbit", "bursts", "roi", "calibrated"),
        inputs=_list_inputs(task),
        prepare=prepare_slcs,
        check=check_orbits,
    )
    yield Stage(name="computeBaselines", reads=slcs, check=check_bursts)
    yield Stage(name="verifyDEM", reads=(TOPO_DEM,))
    yield Stage(
        name="topo",
        reads=(TOPO_DEM, *slcs),
        scratch=_swath_paths(task, "geom_reference"),
        uses=("gpu",),
        cost=_threaded(disk=32, microseconds=4.2),
        check=check_heights,
    )


def _list_inputs(task: TopsAppTask) -> tuple[Path, ...]:
    """Images, annotations and orbits of both dates."""
    images = (Path(burst.measurement) for burst in list_bursts(task.bursts))
    return *images, *_list_annotations(task), task.reference_orbit.path, task.secondary_orbit.path


def _list_annotations(task: TopsAppTask) -> Iterable[Path]:
    """The annotations of products that are folders: topsApp reads them anew."""
    for orbit in (task.reference_orbit, task.secondary_orbit):
        for scene in orbit.scenes:
            if scene.path.is_dir():
                yield from (scene.path / file.annotation for file in scene.files)


def _skipped_overlap_stages(_task: TopsAppTask) -> Iterable[Stage]:
    """Without spectral diversity topsApp only passes its state on."""
    steps = ("subsetoverlaps", "prepesd", "esd")
    yield Stage(name="esd", steps=steps, kept=(FACTS,), uses=("esd",), run=run_esd)
    yield Stage(name="rangecoreg", reads=(FACTS,), run=run_range_coreg)


def _overlap_stages(task: TopsAppTask) -> Iterable[Stage]:
    """What topsApp does with burst overlaps alone."""
    reference, secondary = _slcs(task, "reference"), _slcs(task, "secondary")
    geometry = _swath_paths(task, "geom_reference")
    largest = max(_count_samples(task))
    geometry_overlaps, overlaps = "geom_reference/overlaps", "reference/overlaps"
    yield Stage(name="subsetoverlaps", reads=(*geometry, *reference), scratch=(geometry_overlaps, overlaps))
    yield Stage(
        name="coarseoffsets",
        reads=(geometry_overlaps, *geometry, *secondary),
        scratch=("coarse_offsets",),
        cost=_threaded(disk=0.9, microseconds=0.12),
    )
    yield Stage(
        name="coarseresamp",
        reads=("coarse_offsets", overlaps, *reference, *secondary),
        scratch=("coarse_coreg",),
        cost=_threaded(disk=0.9, microseconds=0.23),
        extra_memory=10 * largest,
    )
    yield Stage(
        name="overlapifg",
        reads=("coarse_coreg", "coarse_offsets", overlaps, *reference),
        scratch=("coarse_interferogram",),
        cost=_cost(disk=0.9, microseconds=0.02),
    )
    yield Stage(
        name="esd",
        steps=("prepesd", "esd"),
        reads=("coarse_interferogram", "coarse_offsets", *reference, *secondary),
        scratch=("ESD",),
        kept=(FACTS,),
        uses=("esd", "esd_full", "esd_coherence"),
        cost=_cost(disk=0.7, microseconds=0.03),
        extra_memory=13 * largest,
        run=run_esd,
    )
    yield Stage(
        name="rangecoreg",
        reads=(FACTS, "coarse_coreg", overlaps, *reference),
        cost=_cost(microseconds=0.15),
        run=run_range_coreg,
    )


def _burst_stages(task: TopsAppTask) -> Iterable[Stage]:
    reference, secondary = _slcs(task, "reference"), _slcs(task, "secondary")
    largest = max(_count_samples(task))
    images, lists = _swath_paths(task, "fine_coreg"), _swath_paths(task, "fine_coreg", ".xml")
    yield Stage(
        name="fineoffsets",
        reads=(*_swath_paths(task, "geom_reference"), *secondary),
        scratch=("fine_offsets",),
        uses=("gpu",),
        cost=_threaded(disk=8, microseconds=1.05),
        extra_memory=22 * largest,
    )
    yield Stage(
        name="fineresamp",
        steps=() if task.ionosphere else ("fineresamp", "ion"),
        reads=("fine_offsets", *reference, *secondary),
        scratch=images,
        kept=lists,
        cost=_threaded(disk=8, microseconds=0.6),
        extra_memory=28 * largest,
    )
    if task.ionosphere:
        yield Stage(
            name="ion",
            reads=("fine_offsets", *reference, *secondary),
            scratch=("ion",),
            kept=(ION_FACTS,),
            run=run_ion,
            cost=_cost(disk=40, microseconds=2),
            extra_memory=60 * largest,
        )
    yield Stage(
        name="burstifg",
        reads=("fine_offsets", *images, *lists, *reference),
        scratch=_swath_paths(task, "fine_interferogram"),
        kept=_swath_paths(task, "fine_interferogram", ".xml"),
        uses=("looks",),
        cost=_cost(disk=16, microseconds=0.2),
        extra_memory=28 * largest,
    )


def _map_stages(task: TopsAppTask) -> Iterable[Stage]:
    """What is done on the map, without topsApp."""
    pixels, points = float(task.grid.rows * task.grid.columns), count_points(task).count
    dem = predict_dem(task.grid, measure_dem_density(task.dem, task.dem_box))
    strip = STRIP_ROWS * points * task.grid.columns
    if task.backscatter != "none":
        yield Stage(
            name="backscatter",
            kept=(BACKSCATTER,),
            uses=("grid", "dem", "looks", "bursts", "reference_orbit", "secondary_orbit", "backscatter"),
            inputs=(*_list_inputs(task), *task.dem.files),
            cost=_own(base_memory=245_000_000, memory=8 / points, disk=4 / points, microseconds=0.9),
            size=pixels * points,
            extra_memory=16 * task.merged.lines * task.merged.samples + 220 * strip + dem,
            run=write_backscatter,
        )
    yield Stage(
        name="geocode",
        reads=(
            *_images(*_list_merged(task)),
            *record_files(RANGE_SHIFT[0]),
            *((ION_FACTS,) if task.ionosphere else ()),
        ),
        kept=(GEOCODED,),
        uses=("grid", "dem", "looks", "bursts", "reference_orbit", "secondary_orbit"),
        inputs=task.dem.files,
        cost=_own(base_memory=265_000_000, memory=16 / points, disk=16 / points, microseconds=1.0),
        size=pixels * points,
        extra_memory=44 * task.merged.lines * task.merged.samples + 220 * strip + dem,
        run=write_geocoded,
    )
    yield Stage(
        name="filter",
        reads=(GEOCODED,),
        kept=(FILTERED,),
        uses=("filter_strength",),
        cost=_own(memory=68, disk=8, microseconds=0.6),
        size=pixels,
        run=write_filtered,
    )
    yield Stage(
        name="unwrap",
        reads=(GEOCODED, FILTERED),
        kept=(UNWRAPPED,),
        uses=("unwrapper",),
        cost=_own(memory=130, disk=9, microseconds=4, pixels_per_thread=1e7),
        size=pixels,
        run=write_unwrapped_phase,
    )


def _list_merged(task: TopsAppTask) -> tuple[str, ...]:
    """Merged images that are read on."""
    return ("merged/topophase.flat", "merged/topophase.cor", *((IONOSPHERE,) if task.ionosphere else ()))


def _merge_stage(task: TopsAppTask) -> Stage:
    images = ("topophase.flat", "topophase.cor", "los.rdr", "lat.rdr", "lon.rdr", "z.rdr")
    virtual = (*images, "reference.slc", "secondary.slc")
    return Stage(
        name="mergebursts",
        reads=(
            *_swath_paths(task, "fine_interferogram"),
            *_swath_paths(task, "fine_interferogram", ".xml"),
            *_swath_paths(task, "geom_reference"),
            *_swath_paths(task, "fine_coreg"),
            *_swath_paths(task, "reference"),
            *(("ion", ION_FACTS) if task.ionosphere else ()),
        ),
        scratch=(
            *(f"merged/{name}.full.{kind}" for name in virtual for kind in ("vrt", "xml")),
            *_images("merged/los.rdr"),
        ),
        kept=_images(*_list_merged(task)),
        uses=("looks",),
        cost=_cost(microseconds=0.06),
        extra_memory=11 * max(_count_samples(task)),
        extra_disk=36 * task.merged.lines * task.merged.samples,
        run=run_merge if task.ionosphere else None,
    )


# --- running one -----------------------------------------------------------------------------------------------


def execute(folder: Path, step: str) -> None:
    """Run one step of the job whose ``job.json`` lies in ``folder``.

    Parameters
    ----------
    folder : Path
    step : str
        Name of the stage.
    """
    run = TopsAppRun.of(folder)
    stage = next((one for one in list_stages(run.task) if one.name == step), None)
    if stage is None:
        msg = f"{folder / 'job.json'} has no step {step!r}"
        raise StepFailed(msg)
    require_plain(run.folder)
    for place in (run.folder, run.folder / "home", run.folder / "tmp"):
        place.mkdir(exist_ok=True)
    if stage.follows:
        run.read_record(stage.follows)
    if stage.prepare:
        stage.prepare(run)
    if stage.run:
        stage.run(run)
    else:
        run.start(stage.steps)
    _check_images(stage, run)
    if stage.check:
        stage.check(run)


def _check_images(stage: Stage, run: TopsAppRun) -> None:
    """Refuse images smaller than their headers say, or than their bursts: the disk was full, or a crash missed."""
    for name in (*stage.scratch, *stage.kept):
        path = run.folder / name
        for header in sorted(path.rglob("*.xml")) if path.is_dir() else [run.folder / f"{name}.xml"]:
            image = header.with_suffix("")
            if header.is_file() and image.with_name(f"{image.name}.vrt").is_file():
                try:
                    _check_image(image, run)
                except ProductError as exc:
                    raise StepFailed(exc.message, hint="it will be tried again", retryable=True) from exc


def _check_image(image: Path, run: TopsAppRun) -> None:
    """Check one; that its header agrees is not enough, as ISCE2 writes it by the size of the file that there is."""
    header, match = check_isce_image(image), _OF_BURST.fullmatch(image.relative_to(run.folder).as_posix())
    shapes = {both.reference.grid.shape for both in run.task.bursts if match and both.reference.swath == match[1]}
    if match and (header.length, header.width) not in shapes:
        msg = f"{image} has {header.length} lines of {header.width} samples, its burst {sorted(shapes)}"
        raise ProductError(msg)
