"""Settings, accounts, pairs, orbits, the DEM, and what the engine makes of them."""

from __future__ import annotations

from collections import defaultdict
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.doctor.finding import Finding, Grade
from topsar.errors import SceneError
from topsar.model import OrbitSource
from topsar.sentinel1 import advise_on_orbit
from topsar.sentinel1.container import DOWNLOAD_AGAIN
from topsar.settings import KEYS
from topsar.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from topsar.doctor.case import Case


def check_settings(case: Case) -> Iterator[Finding]:
    """Whether the settings can be used."""
    if case.broken is not None:
        yield Finding(Grade.NOTE, "the settings cannot be used; all other checks took the default ones")
        raise case.broken
    own = [key for key, origin in case.settings.origins.items() if origin != "default"]
    yield Finding(Grade.OK, f"{count_text(len(own), 'setting')} of your own" + (f": {', '.join(own)}" if own else ""))


def check_credentials(case: Case) -> Iterator[Finding]:
    """Whether there is an account for what a run must fetch, and whether others can read files that hold secrets."""
    from topsar.provision import find_earthdata_account
    from topsar.provision.earthdata import HOW_TO_LOG_IN

    if any(text.startswith("scene ") for text in case.missing):
        account = find_earthdata_account(case.settings)
        if account is None:
            text = "scenes are missing, and no Earthdata account is known to fetch them"
            yield Finding(Grade.PROBLEM, text, HOW_TO_LOG_IN)
        else:
            yield Finding(Grade.OK, f"Earthdata account from {account.origin}")
    elif not case.missing:
        yield Finding(Grade.OK, "no account is needed: a run fetches nothing")
    paths = [Path.home() / ".netrc"]
    if case.env_file and any(key.secret and case.settings.origins[key.name] == ".env" for key in KEYS):
        paths.append(case.env_file)
    for path in paths:
        if path.is_file() and path.stat().st_mode & 0o077:
            yield Finding(Grade.WARNING, f"{path} holds a secret, and others can read it", f"chmod 600 {path}")


def list_missing(case: Case) -> Iterator[Finding]:
    """What a run will fetch; where it may not, whether the folder of products is there."""
    raw = case.runs.parent / "raw"
    if case.settings.offline and not raw.is_dir():
        yield Finding(Grade.PROBLEM, f"no {raw}", "make it and put the SLCs there, or give --data DIR")
    for text in case.missing:
        yield Finding(Grade.NOTE, f"a run will fetch: {text}")


def check_weather(case: Case) -> Iterator[Finding]:
    """Whether the weather that a correction needs is there where it cannot be fetched."""
    from topsar.provision.weather.choice import describe_times

    analyses = case.weather
    if analyses and analyses.missing and case.settings.offline:
        text = f"weather_troposphere will refuse itself: OFFLINE=1 forbids to fetch {describe_times(analyses)}"
        yield Finding(Grade.WARNING, text, "set OFFLINE=0, or TROPOSPHERE_DIR to files of yours")
    elif analyses and not analyses.missing:
        yield Finding(Grade.OK, f"{count_text(len(analyses.times), 'analysis', 'analyses')} of {analyses.model}")


def check_strays(case: Case) -> Iterator[Finding]:
    """Whether the data folder holds what nothing uses."""
    from topsar.provision import list_unused

    for stray in list_unused(case.settings):
        yield Finding(Grade.NOTE, f"not used: {stray}")


def check_pairs(case: Case) -> Iterator[Finding]:
    """Whether each listed pair has its products."""
    pairs = case.found.pairs
    if scenes := {scene.name for pair in pairs for scene in pair.scenes}:
        yield Finding(Grade.OK, f"{count_text(len(pairs), 'pair')} of {count_text(len(scenes), 'product')} found")
    coming = {text.removeprefix("scene ") for text in case.missing}
    for one in case.found.listed:
        if one.problem and not any(name in one.title for name in coming):
            yield Finding(Grade.PROBLEM, f"line {one.line}: {one.problem.message}", one.problem.hint)


def check_images(case: Case) -> Iterator[Finding]:
    """Whether the images that a run may read are there, as long as the manifests say and of the size annotated."""
    from topsar.sentinel1 import check_header, read_bursts

    options, count, faults = case.settings.options, 0, 0
    wanted = {"VV", "HH"} if options.polarization == "auto" else set(options.polarization)
    for scene in {scene.name: scene for pair in case.found.pairs for scene in pair.scenes}.values():
        known = [fault for s in options.swaths for p in wanted for fault in scene.find_faults("measurement", s, p)]
        lost = {fault.split()[0] for fault in known}
        for fault in known:
            faults += 1
            yield Finding(Grade.PROBLEM, f"{scene.name}: {fault}", DOWNLOAD_AGAIN)
        for file in scene.files:
            if file.swath in options.swaths and file.polarisation in wanted and file.measurement not in lost:
                count += 1
                try:
                    check_header(read_bursts(scene, file.swath, file.polarisation))
                except SceneError as exc:
                    faults += 1
                    yield Finding(Grade.PROBLEM, exc.message, exc.hint)
    if count and not faults:
        yield Finding(Grade.OK, f"{count_text(count, 'image')} of the sizes that manifests and annotations say")


def check_orbits(case: Case) -> Iterator[Finding]:
    """How good the orbits are."""
    days: defaultdict[OrbitSource, set[str]] = defaultdict(set)
    latest: dict[OrbitSource, datetime] = {}
    for scenes in (scenes for pair in case.found.pairs for scenes in (pair.reference, pair.secondary)):
        file = case.found.orbits[scenes[0].name]
        source = file.source if file else OrbitSource.ANNOTATION
        days[source].add(f"{scenes[0].mission} {scenes[0].start:%Y-%m-%d}")
        latest[source] = max(latest.get(source, scenes[0].start), scenes[0].start)
    if precise := days[OrbitSource.PRECISE]:
        yield Finding(Grade.OK, f"{_count_passes(precise)} with POEORB")
    if restituted := days[OrbitSource.RESTITUTED]:
        text = f"{_count_passes(restituted)} with RESORB, centimetres less exact: {_name_some(restituted)}"
        yield Finding(Grade.NOTE, text, advise_on_orbit(latest[OrbitSource.RESTITUTED]))
    if bare := days[OrbitSource.ANNOTATION]:
        text = f"{_count_passes(bare)} without an orbit file, decimetres less exact: {_name_some(bare)}"
        yield Finding(Grade.WARNING, text, advise_on_orbit(latest[OrbitSource.ANNOTATION]))


def check_dem(case: Case) -> Iterator[Finding]:
    """Whether there is a DEM."""
    yield Finding(Grade.OK, f"{case.dem.path}, heights above {case.dem.datum.value}")


def check_engine(case: Case) -> Iterator[Finding]:
    """Whether engine and unwrapper can be started, and which pairs they can process."""
    chosen, why = case.engine
    yield Finding(Grade.OK, f"{chosen.name}: {why}")
    unwrapper = case.settings.unwrapper
    if chosen.name == "native" and unwrapper != "none" and util.find_spec(unwrapper) is None:
        yield Finding(Grade.PROBLEM, f"UNWRAPPER={unwrapper} is not installed", "set UNWRAPPER to another one, or none")
    for pair, problem in case.plan.refused.items():
        yield Finding(Grade.PROBLEM, f"{pair}: {problem.message}", problem.hint)
    for pair, outlook in case.plan.outlooks.items():
        for remark in outlook.remarks:
            yield Finding(Grade.NOTE, f"{pair}: {remark.text}", remark.remedy)
    if able := sum(job.is_pair for job in case.jobs):
        steps = count_text(sum(len(job.steps) for job in case.jobs), "step")
        yield Finding(Grade.OK, f"{count_text(able, 'pair')} can be processed, in {steps}")


def _count_passes(names: set[str]) -> str:
    return count_text(len(names), "pass", "passes")


def _name_some(names: set[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(sorted(names)[:most]) + (f" and {rest} more" if rest > 0 else "")
