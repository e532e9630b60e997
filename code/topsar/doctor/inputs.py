"""Folders, pairs, orbits, the DEM, and what the engine makes of them."""

from __future__ import annotations

from collections import defaultdict
from importlib import util
from typing import TYPE_CHECKING

from topsar.doctor.finding import Grade, Said, counted
from topsar.model import OrbitSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topsar.doctor.case import Case


def fetched(case: Case) -> Iterator[Said]:
    """What a run will fetch."""
    for text in case.missing:
        yield Said(Grade.NOTE, f"a run will fetch: {text}")


def folders(case: Case) -> Iterator[Said]:
    """Whether products have a place."""
    if not (case.data / "raw").is_dir() and case.settings.offline:
        yield Said(Grade.PROBLEM, f"no {case.data / 'raw'}", "make it and put the SLCs there, or give --data DIR")


def pairs(case: Case) -> Iterator[Said]:
    """Whether each listed pair has its products."""
    scenes = {scene.name for pair in case.pairs for scene in pair.scenes}
    if scenes:
        yield Said(Grade.OK, f"{counted(len(case.pairs), 'pair')} of {counted(len(scenes), 'product')} found")
    coming = {text.removeprefix("scene ") for text in case.missing}
    for one in case.listed:
        if one.problem and not any(name in one.title for name in coming):
            yield Said(Grade.PROBLEM, f"line {one.line}: {one.problem.message}", one.problem.hint)


def orbits(case: Case) -> Iterator[Said]:
    """How good the orbits are."""
    days: defaultdict[OrbitSource, set[str]] = defaultdict(set)
    for scenes in (scenes for pair in case.pairs for scenes in (pair.reference, pair.secondary)):
        file = case.orbits[scenes[0].name]
        source = file.source if file else OrbitSource.ANNOTATION
        days[source].add(f"{scenes[0].mission} {scenes[0].start:%Y-%m-%d}")
    late = "precise ones (POEORB) come 20 days after the pass"
    if precise := days[OrbitSource.PRECISE]:
        yield Said(Grade.OK, f"{counted(len(precise), 'pass')} with POEORB")
    if restituted := days[OrbitSource.RESTITUTED]:
        text = f"{counted(len(restituted), 'pass')} with RESORB, centimetres less exact: {_some(restituted)}"
        yield Said(Grade.NOTE, text, late)
    if bare := days[OrbitSource.ANNOTATION]:
        text = f"{counted(len(bare), 'pass')} without an orbit file, decimetres less exact: {_some(bare)}"
        yield Said(Grade.WARNING, text, f"put the .EOF files of these days in {case.data / 'orbit_data'}; {late}")


def dem(case: Case) -> Iterator[Said]:
    """Whether there is a DEM."""
    yield Said(Grade.OK, f"{case.dem.path}, heights above {case.dem.datum.value}")


def engine(case: Case) -> Iterator[Said]:
    """Whether engine and unwrapper can be had, and which pairs they take."""
    chosen, why = case.engine
    yield Said(Grade.OK, f"{chosen.name}: {why}")
    unwrapper = case.settings.unwrapper
    if chosen.name == "native" and unwrapper != "none" and util.find_spec(unwrapper) is None:
        yield Said(Grade.PROBLEM, f"UNWRAPPER={unwrapper} is not installed", "set UNWRAPPER to another one, or none")
    for pair, problem in case.plan.refused.items():
        yield Said(Grade.PROBLEM, f"{pair}: {problem.message}", problem.hint)
    for pair, outlook in case.plan.outlooks.items():
        for remark in outlook.remarks:
            yield Said(Grade.NOTE, f"{pair}: {remark.text}", remark.remedy)
    if able := sum(job.is_pair for job in case.plan.jobs):
        steps = counted(sum(len(job.steps) for job in case.plan.jobs), "step")
        yield Said(Grade.OK, f"{counted(able, 'pair')} can be processed, in {steps}")


def _some(names: set[str], shown: int = 3) -> str:
    rest = len(names) - shown
    return ", ".join(sorted(names)[:shown]) + (f" and {rest} more" if rest > 0 else "")
