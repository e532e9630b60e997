"""The steps ``format_<name>``: of a pair, or of a job of its own that waits for all pairs or dates of a track."""

from __future__ import annotations

import platform
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from importlib import metadata
from itertools import groupby
from typing import TYPE_CHECKING, Any

from topsar import __version__
from topsar.corrections import ledger, open_correction
from topsar.corrections.step import add_corrections, plan_corrections, plan_step
from topsar.engines import load_engine
from topsar.engines.radar_stack import FACTS, GEOMETRY, STACKS, open_radar_stack
from topsar.engines.step import sign, step_argv, watch_files
from topsar.errors import SettingsError
from topsar.files import read_json, replaced_folder
from topsar.formats import open_format
from topsar.interferogram import PRODUCTS, read_pair
from topsar.model import CROSSED, name_track, track_text
from topsar.registry import CANONICAL
from topsar.schedule.jobs import Artifact, Job, Lifetime, Status, Step
from topsar.schedule.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from topsar.engines import Engine
    from topsar.engines.radar_stack import RadarStack
    from topsar.formats import Format
    from topsar.interferogram import Interferogram
    from topsar.settings import Options

PREFIX = "format_"
_BEFORE = "-"
SAMPLE_M2 = 51.0
"""Ground of a sample of IW: with it the size of a stack in radar geometry becomes that of its map."""
_IMAGE = re.compile(rf"{STACKS}/(?P<stack>[^/]+)/(?:(?P<slc>merged/SLC/)|{GEOMETRY}/\w+\.rdr\.full$|{FACTS}$)")
"""What a stack in radar geometry is read from."""


def finish_jobs(jobs: Sequence[Job], engine: Engine, options: Options, inputs: Sequence[Path] = ()) -> tuple[Job, ...]:
    """Let each pair's job end with its corrections and formats, and add a job per stack format and track.

    A SettingsError tells of a format that could not be written: of pairs that are not unwrapped or of a polarisation
    that it refuses, or of stacks in radar geometry where none is made.

    Parameters
    ----------
    jobs : sequence of Job
        The engine's.
    engine : Engine
    options : Options
        Its fields ``formats``, ``corrections`` and ``apply_corrections``, and those that a format uses.
    inputs : sequence of Path
        Files that the engine reads when it collects a pair, and in none of its steps.
    """
    known = options.model_dump(mode="json")
    formats = {name: open_format(name, known) for name in dict.fromkeys((CANONICAL, *options.formats))}
    canonical, finished = formats.pop(CANONICAL), []
    for name, one in formats.items():
        _require_fit(name, one, [job.id for job in jobs if job.is_pair], options)
    corrections = {name: open_correction(name, known) for name in options.corrections}
    used: dict[str, Any] = {"apply": options.apply_corrections and bool(corrections)}
    if corrections:
        used["ledger"] = ledger.VERSION
    watched = watch_files(inputs)
    for job in jobs:
        steps = job.steps
        if job.is_pair:
            kept = [one.path for step in steps for one in step.writes if one.lifetime is not Lifetime.SCRATCH]
            corrected = plan_corrections(job, engine, corrections, (*kept, *job.shared))
            reads = (*kept, *job.shared, *(one.path for step in corrected for one in step.writes))
            first = _plan_canonical(canonical, job, engine, reads, len(corrections))
            first = replace(first, signature=sign(first.kind, used, inputs), inputs=watched)
            steps = (*steps, *corrected, first, *_plan_others(job, formats, known))
        finished.append(replace(job, steps=steps))
    for name, one in formats.items():
        if one.scope == "stack":
            finished += _plan_tracks(one, name, jobs, known)
        elif one.scope == "radar":
            finished += _plan_stacks(one, name, jobs, known)
    return tuple(finished)


def _require_fit(name: str, form: Format, pairs: Iterable[str], options: Options) -> None:
    """Refuse a format that none or not all of the pairs could be written in, before anything is computed."""
    if form.needs_unwrapped and options.unwrapper == "none":
        msg = f"FORMATS={name}: it needs unwrapped phase, and UNWRAPPER is none"
        raise SettingsError(msg, hint=f"set UNWRAPPER=snaphu, or take {name} out of FORMATS")
    crossed = [pair for pair in pairs if name_track(pair).endswith(CROSSED)] if form.refuses_crossed else []
    if crossed:
        msg = f"FORMATS={name}: it can be written of pairs of VV and HH alone, and {crossed[0]} is none"
        hint = f"take {name} out of FORMATS (`topsar export {name}` writes those of VV later), or set POLARIZATION=VV"
        raise SettingsError(msg, hint=hint)


def _plan_others(job: Job, formats: Mapping[str, Format], known: Mapping[str, Any]) -> Iterator[Step]:
    """Make the steps of a pair that write what its products hold in other formats."""
    for name, one in formats.items():
        if one.scope == "pair":
            yield _plan(one, name, job.id, [job.steps[-1].size], (f"{job.id}/{PRODUCTS}",), known)


def _plan_tracks(form: Format, name: str, jobs: Sequence[Job], known: Mapping[str, Any]) -> Iterator[Job]:
    """Make a job for each track, which waits for all of its pairs."""
    pairs = sorted((job for job in jobs if job.is_pair), key=lambda job: (name_track(job.id), job.id))
    for track, group in groupby(pairs, key=lambda job: name_track(job.id)):
        found, owner = list(group), f"{name}_{track}"
        beside = _list_beside(form, track, jobs)
        if form.before is not None and not beside:
            msg = f"FORMATS={name} links phases of SLCs of {track}, and none are kept"
            raise SettingsError(msg, hint="set SLC_STACK=1, or start `topsar timeseries`")
        reads = (*(f"{job.id}/{PRODUCTS}" for job in found), *beside)
        steps = _plan_chain(form, name, owner, [job.steps[-1].size for job in found], reads, known)
        title = f"{name} of track {track_text(track)}"
        yield Job(id=owner, title=title, steps=steps)


def _list_beside(form: Format, track: str, jobs: Sequence[Job]) -> tuple[str, ...]:
    """Files of jobs that are no pairs' which a format of a track reads."""
    first = form.before
    wanted = [name for one in (form, first) for name in getattr(one, "beside", ())]
    written = [one.path.split("/") for job in jobs if not job.is_pair for step in job.steps for one in step.writes]
    return tuple(
        "/".join(parts)
        for parts in written
        if any(fnmatchcase(parts[-1], name) for name in wanted)
        and name_track("_".join(parts[-2].split("_")[:2])) == track  # T131_VV_2 is of T131
    )


def _plan_stacks(form: Format, name: str, jobs: Sequence[Job], known: Mapping[str, Any]) -> Iterator[Job]:
    """Make a job for each stack in radar geometry, which waits for its ground and all of its dates."""
    if known["grid"] != "radar":
        msg = f"FORMATS={name}: it is written of stacks in radar geometry, and GRID is {known['grid']}"
        raise SettingsError(msg, hint="set GRID=radar, or start `topsar stack`")
    reads, sizes = defaultdict(list), defaultdict(list)
    for step in (step for job in jobs for step in job.steps):
        for match in filter(None, (_IMAGE.match(artifact.path) for artifact in step.writes)):
            reads[match["stack"]].append(match.string)
            if match["slc"]:
                sizes[match["stack"]].append(step.size)
    for stack, paths in reads.items():
        owner = f"{name}_{stack}"
        steps = _plan_chain(form, name, owner, sizes[stack], tuple(paths), known)
        yield Job(id=owner, title=f"{name} of {stack}", steps=steps)


def _plan_canonical(form: Format, job: Job, engine: Engine, reads: tuple[str, ...], corrections: int) -> Step:
    """Make the step that collects what the engine's steps left, and writes it a layer at a time."""
    pixels = job.steps[-1].size
    writes = Artifact(path=f"{job.id}/{PRODUCTS}")
    step = plan_step(f"{PREFIX}{CANONICAL}", form.version, form.cost, pixels, reads, writes)
    memory = step.needs.memory_bytes + engine.collect_cost.needs(pixels).memory_bytes
    memory += int(ledger.predict_memory(pixels, corrections))
    return replace(step, kind=f"{step.kind} {engine.name}", needs=replace(step.needs, memory_bytes=memory))


def _plan_chain(
    form: Format, name: str, owner: str, sizes: Sequence[float], reads: tuple[str, ...], known: Mapping[str, Any]
) -> tuple[Step, ...]:
    """Make the step of a format of a stack, and the one that comes before it, if any does."""
    first = form.before
    if first is None:
        return (_plan(form, name, owner, sizes, reads, known),)
    linking = _plan(first, first.name, owner, sizes, reads, known)
    linking = replace(linking, name=(step := f"{PREFIX}{name}{_BEFORE}{first.name}"), argv=step_argv(step))
    if form.scope == "radar":
        sizes = [size * SAMPLE_M2 / known["posting_m"] ** 2 for size in sizes]
    reads = (f"{owner}/{first.name}", *(path for path in reads if path.rpartition("/")[2] in form.beside))
    return linking, _plan(form, name, owner, sizes, reads, known)


def _plan(
    form: Format, name: str, owner: str, sizes: Sequence[float], reads: tuple[str, ...], known: Mapping[str, Any]
) -> Step:
    """Make a step of the job ``owner`` that the options of its format decide, besides what it reads.

    ``sizes`` are those of the pairs or dates, of which it has one in memory at a time.
    """
    writes = Artifact(path=f"{owner}/{name}")
    step = plan_step(f"{PREFIX}{name}", form.version, form.cost, sum(sizes), reads, writes)
    memory = form.cost.needs(max(sizes)).memory_bytes + int(form.predict_blocks(len(sizes), max(sizes)))
    signature = sign(step.kind, {option: known[option] for option in form.options}, ())
    return replace(step, signature=signature, needs=replace(step.needs, memory_bytes=memory))


def run_format(folder: Path, step: str) -> None:
    """Write one format of the job in ``folder``, or what comes before it.

    Parameters
    ----------
    folder : Path
    step : str
        ``format_<name>``, or ``format_<name>-<name of the format before>``.
    """
    known = read_json(folder / "run.json", engine=str, options=dict, jobs=list)
    name, _, part = step.removeprefix(PREFIX).partition(_BEFORE)
    form = open_format(name, known["options"])
    first = form.before
    target, chosen = folder / (PRODUCTS if name == CANONICAL else part or name), first if part else form
    assert chosen is not None
    with replaced_folder(target) as staging:
        if chosen.scope == "radar" and (part or first is None):
            chosen.write_radar(_open_stack(folder, name, known["jobs"]), staging)
        else:
            linked = folder / first.name if first is not None and not part else None
            chosen.write(_list_interferograms(chosen, folder, known, linked), staging)


def _list_interferograms(
    form: Format, folder: Path, known: Mapping[str, Any], linked: Path | None
) -> Iterable[Interferogram]:
    """What a format of a job is written of; ``linked`` holds the pairs of the step before, if there is one."""
    if linked is not None:
        return (read_pair(facts.parent) for facts in sorted(linked.glob("*/facts.json")))
    if form.name == CANONICAL:
        return (_collect(folder, known),)
    if form.scope == "pair":
        return (read_pair(folder / PRODUCTS),)
    return (read_pair(folder.parent / pair / PRODUCTS) for pair in _list_pairs(folder.parent, known["jobs"]))


def _list_pairs(runs: Path, jobs: Iterable[str]) -> Iterator[str]:
    """Name the jobs that are pairs: those that make products."""
    for job in jobs:
        if f"{job}/{PRODUCTS}" in read_json(runs / job / "run.json", artifacts=dict)["artifacts"]:
            yield job


def _open_stack(folder: Path, name: str, jobs: Sequence[str]) -> RadarStack:
    """The stack that a job is named after, with the dates of this run alone."""
    stack = open_radar_stack(folder.parent / STACKS / folder.name.removeprefix(f"{name}_"))
    dates = {job.rpartition("_")[2] for job in jobs}
    return replace(stack, dates=tuple(date for date in stack.dates if date.date in dates))


def _collect(folder: Path, known: Mapping[str, Any]) -> Interferogram:
    """What the engine left of a pair, with its corrections, and with what is known of the run."""
    options = known["options"]
    ifg = load_engine(known["engine"]).collect(folder)
    ifg = add_corrections(ifg, folder, options["corrections"], apply=options["apply_corrections"])
    versions = {"topsar": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "numba", "rasterio", "pyproj", "snaphu", "whirlwind-insar"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    steps = [fact for job in known["jobs"] for fact in _list_steps(folder.parent, job)]
    facts = {
        "settings": options,
        "versions": versions,
        # of the step that writes this, what it takes is not known before it has ended
        "steps": [
            *steps,
            {"job": folder.name, "name": f"{PREFIX}{CANONICAL}", "products": [f"{folder.name}/{PRODUCTS}"]},
        ],
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return replace(ifg, facts=ifg.facts | facts)


def _list_steps(runs: Path, job: str) -> list[dict[str, Any]]:
    """What the finished steps of a job took and wrote, from its journal."""
    latest = {event.step: event for event in read_journal(runs / job / "journal.jsonl") if event.ended}
    return [
        {
            "job": job,
            "name": name,
            "seconds": round(event.ended.seconds, 2),
            "cpu_seconds": round(event.ended.cpu_s, 2),
            "peak_memory_bytes": event.ended.peak_memory_bytes,
            "written_bytes": event.ended.written_bytes,
            "products": sorted(event.evidence),
        }
        for name, event in latest.items()
        if event.status is Status.DONE and event.ended is not None
    ]
