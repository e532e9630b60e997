"""One orbit per pass, shared by all pairs."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from topsar.errors import ProductError, ProvisionError, TopsarError
from topsar.files import read_json, write_json
from topsar.model import OrbitSource
from topsar.provision.orbit_bucket import Bucket, Pass
from topsar.sentinel1 import PRECISE_AFTER, choose_orbit, find_orbits, read_orbit, read_orbit_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from topsar.model import OrbitFile, Pair
    from topsar.provision.web.client import Web

log = logging.getLogger(__name__)

AT_ONCE = 3
"""Passes provided side by side."""
ASK_AGAIN_AFTER = timedelta(days=1)
"""Pause after which a better orbit is asked for again."""
GOOD_MARGIN, LEAST_MARGIN = timedelta(seconds=60), timedelta(seconds=5)
"""How far a file should reach beyond the pass, and how far it must: as `choose_orbit` has it."""
SAME_PASS = timedelta(minutes=10)
"""Scenes of a satellite that are no further apart are slices of one pass."""
NOTES = ".orbits.json"
"""Which files were proven, and when the bucket had no better one."""
_GLANCE_BYTES = 4096


def find_pass_orbits(pairs: Iterable[Pair], folder: Path) -> dict[str, OrbitFile | None]:
    """Find the best orbit file for every scene's pass, by scene name.

    None where only the annotation's state vectors are left. Files that do not begin and end as orbit files do are
    passed over with a warning.

    Parameters
    ----------
    pairs : iterable of Pair
    folder : Path
        ``data/orbit_data``.
    """
    files = find_orbits(folder) if folder.is_dir() else ()
    chosen: dict[str, OrbitFile | None] = {}
    for flown in _group_passes(pairs):
        best = _choose_sound(files, flown, lambda file, _: _check_ends(file.path))
        if best is None:
            _warn_of_annotation(flown, f"no orbit file in {folder} covers it")
        chosen.update(dict.fromkeys(flown.scenes, best))
    return chosen


def provide_orbits(pairs: Iterable[Pair], folder: Path, web: Web, *, now: datetime) -> dict[str, OrbitFile | None]:
    """Find orbits as `find_pass_orbits` does, fetch what is missing, and prove that each covers its pass.

    A pass without an orbit in the folder gets a precise one of ASF's bucket, else a restituted one. A restituted orbit
    in the folder is replaced once the precise one can be had. Offline, nothing is fetched.

    Parameters
    ----------
    pairs : iterable of Pair
    folder : Path
        ``data/orbit_data``.
    web : Web
    now : datetime
        The present time, UTC.
    """
    bucket = None if web.fetcher.offline else Bucket(web.fetcher, web.services.s3_orbits, folder)
    provider = _Provider(bucket, folder, now)
    chosen: dict[str, OrbitFile | None] = {}

    def provide(flown: Pass) -> None:
        chosen.update(dict.fromkeys(flown.scenes, provider.provide(flown)))

    try:
        web.fetcher.download_all([partial(provide, flown) for flown in _group_passes(pairs)], at_once=AT_ONCE)
    finally:  # also of an interrupted run
        provider.notes.save()
    return chosen


def _group_passes(pairs: Iterable[Pair]) -> list[Pass]:
    """Group the scenes of all pairs into passes, whichever pairs name them."""
    scenes = {scene.name: scene for pair in pairs for scene in pair.scenes}
    passes: list[Pass] = []
    for scene in sorted(scenes.values(), key=lambda scene: (scene.mission, scene.start, scene.name)):
        last = passes[-1] if passes else None
        if last and scene.mission == last.mission and scene.start <= last.stop + SAME_PASS:
            start, stop, names = last.start, max(last.stop, scene.stop), (*last.scenes, scene.name)
            passes[-1] = Pass(mission=scene.mission, start=start, stop=stop, scenes=names)
        else:
            passes.append(Pass(mission=scene.mission, start=scene.start, stop=scene.stop, scenes=(scene.name,)))
    return passes


def _warn_of_annotation(flown: Pass, why: str) -> None:
    log.warning("%s: %s; the annotation's own orbit is used, decimetres less exact", flown, why)


def _choose_sound(
    files: Iterable[OrbitFile], flown: Pass, check: Callable[[OrbitFile, Pass], None]
) -> OrbitFile | None:
    """Choose the best file of a pass among those that pass the check."""
    left = list(files)
    while best := choose_orbit(left, flown.mission, flown.start, flown.stop):
        try:
            check(best, flown)
        except ProvisionError as exc:
            log.warning("%s: the file is passed over: %s", flown, exc.message)
            left.remove(best)
        else:
            return best
    return None


def _reaches(file: OrbitFile, flown: Pass, margin: timedelta) -> bool:
    return file.mission == flown.mission and file.start <= flown.start - margin and flown.stop + margin <= file.stop


class _Provider:
    """Looks in the folder, and asks the bucket where there is one."""

    def __init__(self, bucket: Bucket | None, folder: Path, now: datetime) -> None:
        self._bucket, self._folder, self._now = bucket, folder, now
        self._files = find_orbits(folder) if folder.is_dir() else ()
        self.notes = _Notes(folder)

    def provide(self, flown: Pass) -> OrbitFile | None:
        here = _choose_sound(self._files, flown, self.notes.prove)
        best, problem = here, "; OFFLINE=1 forbids to fetch one"
        if self._bucket is not None:
            fetched, problem = self._fetch_better(self._bucket, flown, here)
            best = fetched or here
        if best is None:
            _warn_of_annotation(flown, f"no orbit file in {self._folder} covers it{problem}")
        elif not _reaches(best, flown, GOOD_MARGIN):
            log.warning("%s: %s reaches less than a minute beyond the pass", flown, best.path.name)
        return best

    def _fetch_better(self, bucket: Bucket, flown: Pass, here: OrbitFile | None) -> tuple[OrbitFile | None, str]:
        """Fetch a better file than the one that is here; without one, the reason is told too."""
        problem = "it has none"
        for kind in self._list_kinds(flown, here):
            try:
                offers = [o for o in bucket.find_offers(flown.mission, kind) if _reaches(o.file, flown, LEAST_MARGIN)]
            except ProvisionError as exc:
                problem = exc.message
                break
            if kind is OrbitSource.PRECISE and not offers:
                self.notes.asked[str(flown)] = self._now.isoformat()
            ranked = sorted(offers, key=lambda o: (_reaches(o.file, flown, GOOD_MARGIN), o.file.created), reverse=True)
            for offer in ranked:
                try:
                    bucket.fetch(offer, flown)
                    self.notes.remember_proven(offer.file, flown)
                except ProvisionError as exc:
                    problem = exc.message
                    log.info("%s: nothing from %s: %s", flown, bucket.name, problem)
                else:
                    log.info("%s: %s from %s", flown, offer.name, bucket.name)
                    return offer.file, ""
        return None, f"; {bucket.name}: {problem}"

    def _list_kinds(self, flown: Pass, here: OrbitFile | None) -> tuple[OrbitSource, ...]:
        """List the kinds of orbit to ask the bucket for, the better first."""
        if here is None:
            return OrbitSource.PRECISE, OrbitSource.RESTITUTED
        is_settled = here.source is OrbitSource.PRECISE or self._now - flown.stop < PRECISE_AFTER
        return () if is_settled or self.notes.had_none_lately(flown, self._now) else (OrbitSource.PRECISE,)


class _Notes:
    """Remembers in the folder which files were proven (each is read once) and which passes had no better one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOTES
        self._proven: dict[str, Any] = {}
        self.asked: dict[str, Any] = {}
        with suppress(ProductError):
            known = read_json(self._path, proven=dict, asked=dict)
            self._proven, self.asked = known["proven"], known["asked"]
        self._before = self._as_dict()

    def prove(self, file: OrbitFile, flown: Pass) -> None:
        """Read the pass's orbit, unless this file was proven to hold it before."""
        if self._proven.get(_make_key(file, flown)) != _read_stamp(file.path):
            read_orbit(file, flown.start, flown.stop)
            self.remember_proven(file, flown)

    def remember_proven(self, file: OrbitFile, flown: Pass) -> None:
        self._proven[_make_key(file, flown)] = _read_stamp(file.path)

    def had_none_lately(self, flown: Pass, now: datetime) -> bool:
        """Whether the bucket had no precise orbit when it was asked within the last day."""
        try:
            return timedelta(0) <= now - datetime.fromisoformat(self.asked[str(flown)]) < ASK_AGAIN_AFTER
        except (KeyError, TypeError, ValueError):
            return False

    def save(self) -> None:
        """Write what is new; a folder that cannot be written costs no more than asking and reading again."""
        if (now := self._as_dict()) != self._before:
            with suppress(TopsarError):
                write_json(self._path, now)

    def _as_dict(self) -> dict[str, Any]:
        return {"proven": dict(self._proven), "asked": dict(self.asked)}  # threads of an interrupted run may add more


def _make_key(file: OrbitFile, flown: Pass) -> str:
    return f"{file.path.name} {flown.start.isoformat()} {flown.stop.isoformat()}"


def _read_stamp(path: Path) -> list[int]:
    with suppress(OSError):
        about = path.stat()
        return [about.st_size, about.st_mtime_ns]
    return []


def _check_ends(path: Path) -> None:
    """Check that a file begins and ends as orbit files do; a day of state vectors is not read for it."""
    content = read_orbit_bytes(path)
    first, last = content[:_GLANCE_BYTES], content[-_GLANCE_BYTES:]
    if b"<Earth_Explorer_File" not in first or b"</Earth_Explorer_File" not in last:
        msg = f"{path.name}: not an orbit file, or cut off"
        raise ProvisionError(msg, hint="download the orbit file again")
