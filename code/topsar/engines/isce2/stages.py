"""The steps of a pair: what each runs of topsApp, what it reads and writes, and how long that is kept.

Observed by following every file that topsApp opens, step by step. A step is one of topsApp's, but for two that go
together because they write into the same folder (``prepesd``, ``esd``), or because the second does nothing and only its
record is needed (``fineresamp`` and ``ion`` where the ionosphere is not estimated, ``unwrap`` and ``unwrap2stage``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from topsar.engines.isce2.config import DEM_NAME, GEOCODE_DEM_NAME, IONOSPHERE, UNWRAPPED, geocode_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from topsar.engines.isce2.tasks import TopsAppTask

TOPO_DEM, GEOCODE_DEM = (name.partition("/")[0] for name in (DEM_NAME, GEOCODE_DEM_NAME))
FACTS = "ESD.json"
"""What was found of misregistration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the scheduler.

    Attributes
    ----------
    name : str
    first, last : str
        The steps of topsApp that it runs; empty where it runs none.
    before : str
        The step of topsApp whose record the first one starts from.
    scratch, kept : tuple of str
        What it writes in the run folder: until the last reader is done; and so that a later run can start there.
    reads : tuple of str
    options : tuple of str
        Names of the fields of a task that decide the result, besides what is read.
    """

    name: str
    first: str = ""
    last: str = ""
    before: str = ""
    scratch: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def records(step: str) -> tuple[str, str]:
    """The files in which topsApp keeps its state after one of its steps."""
    return f"PICKLE/{step}", f"PICKLE/{step}.xml"


def image(name: str) -> tuple[str, str, str]:
    """An image of ISCE2 and its two headers."""
    return name, f"{name}.xml", f"{name}.vrt"


def stages(task: TopsAppTask) -> tuple[Stage, ...]:
    """The steps of a pair, in order."""
    swaths = [f"IW{number}" for number in task.swaths]
    return tuple(_linked([*_geometry(swaths), *_coarse(task, swaths), *_fine(task, swaths), *_merged(task, swaths)]))


def _linked(found: Iterable[Stage]) -> Iterable[Stage]:
    """Let each step of topsApp start from the record of the one before."""
    before = ""
    for stage in found:
        if not stage.last:
            yield stage
            continue
        written = {name for step in {stage.first, stage.last} for name in records(step)}
        reads = (*stage.reads, *records(before)) if before else stage.reads
        yield replace(stage, before=before, reads=reads, kept=(*sorted(written), *stage.kept))
        before = stage.last


def _one(
    name: str,
    *,
    scratch: tuple[str, ...] = (),
    kept: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
) -> Stage:
    return Stage(name=name, first=name, last=name, scratch=scratch, kept=kept, reads=reads, options=options)


def _each(folder: str, swaths: list[str], ending: str = "") -> tuple[str, ...]:
    return tuple(f"{folder}/{swath}{ending}" for swath in swaths)


def _slices(date: str, swaths: list[str]) -> tuple[str, ...]:
    """What topsApp took from the SLCs of a date."""
    return (*_each(date, swaths), *_each(date, swaths, ".xml"))


def _geometry(swaths: list[str]) -> Iterable[Stage]:
    dates = (*_slices("reference", swaths), *_slices("secondary", swaths))
    yield Stage(name="dem", scratch=(TOPO_DEM,), options=("dem", "dem_box"))
    yield _one("startup")
    inputs = ("facts", "reference_orbit", "secondary_orbit", "bursts", "roi", "calibrated")
    yield _one("preprocess", scratch=dates, options=inputs)
    yield _one("computeBaselines", reads=dates)
    yield _one("verifyDEM", reads=(TOPO_DEM,))
    yield _one("topo", scratch=_each("geom_reference", swaths), reads=(TOPO_DEM, *dates), options=("gpu",))


def _coarse(task: TopsAppTask, swaths: list[str]) -> Iterable[Stage]:
    """What topsApp does with burst overlaps alone; without spectral diversity these steps only pass its state on."""
    if not task.diverse:
        yield Stage(name="esd", first="subsetoverlaps", last="esd", kept=(FACTS,), options=("esd",))
        yield _one("rangecoreg", reads=(FACTS,))
        return
    reference, secondary = _slices("reference", swaths), _slices("secondary", swaths)
    geometry = _each("geom_reference", swaths)
    overlaps = ("geom_reference/overlaps", "reference/overlaps")
    yield _one("subsetoverlaps", scratch=overlaps, reads=(*geometry, *reference))
    yield _one("coarseoffsets", scratch=("coarse_offsets",), reads=(overlaps[0], *geometry, *secondary))
    reads = ("coarse_offsets", "reference/overlaps", *reference, *secondary)
    yield _one("coarseresamp", scratch=("coarse_coreg",), reads=reads)
    reads = ("coarse_coreg", "coarse_offsets", "reference/overlaps", *reference)
    yield _one("overlapifg", scratch=("coarse_interferogram",), reads=reads)
    yield Stage(
        name="esd",
        first="prepesd",
        last="esd",
        scratch=("ESD",),
        kept=(FACTS,),
        reads=("coarse_interferogram", "coarse_offsets", *reference, *secondary),
        options=("esd", "esd_full", "esd_coherence"),
    )
    yield _one("rangecoreg", reads=(FACTS, "coarse_coreg", "reference/overlaps", *reference))


def _fine(task: TopsAppTask, swaths: list[str]) -> Iterable[Stage]:
    reference, secondary = _slices("reference", swaths), _slices("secondary", swaths)
    geometry = _each("geom_reference", swaths)
    images, lists = _each("fine_coreg", swaths), _each("fine_coreg", swaths, ".xml")
    yield _one("fineoffsets", scratch=("fine_offsets",), reads=(*geometry, *secondary), options=("gpu",))
    reads = ("fine_offsets", *reference, *secondary)
    last = "fineresamp" if task.ionosphere else "ion"
    yield Stage(name="fineresamp", first="fineresamp", last=last, scratch=images, kept=lists, reads=reads)
    if task.ionosphere:
        yield _one("ion", scratch=("ion",), reads=reads, options=("ionosphere",))
    yield _one(
        "burstifg",
        scratch=_each("fine_interferogram", swaths),
        kept=_each("fine_interferogram", swaths, ".xml"),
        reads=("fine_offsets", *images, *lists, *reference),
        options=("looks",),
    )


def _merged(task: TopsAppTask, swaths: list[str]) -> Iterable[Stage]:
    images = ("topophase.flat", "topophase.cor", "los.rdr", "lat.rdr", "lon.rdr", "z.rdr")
    virtual = (*images, "reference.slc", "secondary.slc")
    ionosphere = (IONOSPHERE,) if task.ionosphere else ()
    real = ("merged/topophase.flat", "merged/topophase.cor", "merged/los.rdr", *ionosphere)
    merged = [path for name in real for path in image(name)]
    lists = _each("fine_interferogram", swaths, ".xml")
    reads = (
        *_each("fine_interferogram", swaths),
        *lists,
        *_each("geom_reference", swaths),
        *_each("fine_coreg", swaths),
        *_each("reference", swaths),
        *(("ion",) if task.ionosphere else ()),
    )
    yield _one(
        "mergebursts",
        scratch=tuple(f"merged/{name}.full.{kind}" for name in virtual for kind in ("vrt", "xml")),
        kept=tuple(merged),
        reads=reads,
        options=("looks",),
    )
    filtered, sigma = image("merged/filt_topophase.flat"), image("merged/phsig.cor")
    yield _one("filter", kept=(*filtered, *sigma), reads=image("merged/topophase.flat"), options=("filter_strength",))
    unwrapped = [path for name in UNWRAPPED for path in image(name)]
    yield Stage(
        name="unwrap",
        first="unwrap",
        last="unwrap2stage",
        kept=tuple(unwrapped) if task.unwrapper != "none" else (),
        reads=(*filtered, *sigma, *lists),
        options=("unwrapper",),
    )
    names = geocode_list(task)
    yield _one(
        "geocode",
        scratch=(GEOCODE_DEM, *image("merged/dem.crop")),
        kept=tuple(path for name in names for path in image(f"{name}.geo")),
        reads=(*(path for name in names for path in image(name)), *_each("fine_coreg", swaths, ".xml")),
        options=("dem", "geocoding"),
    )
