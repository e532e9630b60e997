"""One orbit per pass, shared by all pairs."""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from topsar.errors import ProvisionError, TopsarError
from topsar.files import write_json
from topsar.model import OrbitSource
from topsar.provision.data_space import DataSpace
from topsar.provision.orbit_bucket import Bucket, Offer, Pass, SceneService, Source, glance_at_orbit, prove_orbit
from topsar.sentinel1 import choose_orbit, find_orbits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from topsar.model import OrbitFile, Pair
    from topsar.provision.endpoints import Services
    from topsar.provision.web.client import Fetcher

log = logging.getLogger(__name__)

AT_ONCE = 3
"""Passes provided side by side: the Copernicus Data Space allows four connections."""
PRECISE_AFTER = timedelta(days=20)
"""Age of a pass before which a precise orbit is not asked for where a restituted one is there already."""
ASK_AGAIN_AFTER = timedelta(days=1)
"""Pause after which a better orbit is asked for again."""
MARGINS = (timedelta(seconds=60), timedelta(seconds=5))
"""How far a file must reach beyond the pass, and how far at least: as `choose_orbit` has it."""
FAILURES = 3
"""Downloads that fail one after the other before a source is left alone."""
SAME_PASS = timedelta(minutes=10)
"""Scenes of a satellite that are no further apart are slices of one pass."""
NOTES = ".orbits.json"
"""What is known of the files in the folder, and when nobody had a better one."""


def find_pass_orbits(pairs: Iterable[Pair], folder: Path) -> dict[str, OrbitFile | None]:
    """The best orbit file for every scene's pass; None where only the annotation's vectors are left.

    Files that are plainly none, or were cut off, are passed over with a warning.

    Parameters
    ----------
    pairs : iterable of Pair
    folder : Path
        ``data/orbit_data``.

    Returns
    -------
    dict
        By scene name.
    """
    files = find_orbits(folder) if folder.is_dir() else ()
    notes = _Notes(folder)
    chosen: dict[str, OrbitFile | None] = {}
    for flown in _passes(pairs):
        best = _best_sound(files, flown, notes.glance)
        if best is None:
            _warn_of_annotation(flown, f"no orbit file in {folder} covers it")
        chosen.update(dict.fromkeys(flown.scenes, best))
    return chosen


def provide_orbits(
    pairs: Iterable[Pair],
    folder: Path,
    *,
    fetcher: Fetcher,
    services: Services,
    cdse: tuple[str, str] | None = None,
    now: datetime,
    offline: bool = False,
) -> dict[str, OrbitFile | None]:
    """As `find_pass_orbits`, with what is missing fetched into the folder, and every file proven to hold its pass.

    What lies in the folder comes first; then ASF's service by scene, ASF's bucket and the Copernicus Data Space are
    asked in turn, for a precise orbit before a restituted one. A restituted orbit that is there already is replaced
    once the precise one can be had.

    Parameters
    ----------
    pairs : iterable of Pair
    folder : Path
        ``data/orbit_data``.
    fetcher : Fetcher
    services : Services
    cdse : tuple of str, optional
        User name and password at the Copernicus Data Space; without them nothing is downloaded there.
    now : datetime
        The present time.
    offline : bool
        Take what is in the folder.

    Returns
    -------
    dict
        By scene name; None where only the annotation's vectors are left, which is said as a warning, with what each
        source had against it.
    """
    space = DataSpace(fetcher, services, folder, cdse)
    sources = (SceneService(fetcher, services, folder), Bucket(fetcher, services, folder, now), space)
    provider = _Provider(() if offline else sources, folder, now, masked=fetcher.masked)
    chosen: dict[str, OrbitFile | None] = {}

    def provide(flown: Pass) -> Path:
        chosen.update(dict.fromkeys(flown.scenes, provider.provide(flown)))
        return folder

    with ExitStack() as at_the_end:  # also of an interrupted run
        at_the_end.callback(space.close)
        at_the_end.callback(provider.notes.save)
        fetcher.download_all([partial(provide, flown) for flown in _passes(pairs)], at_once=AT_ONCE)
    return chosen


def _passes(pairs: Iterable[Pair]) -> list[Pass]:
    """Scenes of all pairs by pass: its slices are together, whichever pairs name them."""
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


def _best_sound(files: Iterable[OrbitFile], flown: Pass, prove: Callable[[OrbitFile, Pass], None]) -> OrbitFile | None:
    """The best file of a pass with which nothing is wrong."""
    left = list(files)
    while best := choose_orbit(left, flown.mission, flown.start, flown.stop):
        try:
            prove(best, flown)
        except ProvisionError as exc:
            log.warning("%s: the file is passed over: %s", flown, exc.message)
            left.remove(best)
        else:
            return best
    return None


def _reaches(file: OrbitFile, flown: Pass, margin: timedelta) -> bool:
    return file.mission == flown.mission and file.start <= flown.start - margin and flown.stop + margin <= file.stop


class _Provider:
    """Looks in the folder and asks the sources; a source that cannot be used is left alone for the rest."""

    def __init__(self, sources: Sequence[Source], folder: Path, now: datetime, *, masked: Callable[[str], str]) -> None:
        self._sources, self._folder, self._now, self._masked = sources, folder, now, masked
        self._files = find_orbits(folder) if folder.is_dir() else ()
        self._given_up: dict[str, str] = {}
        self._failed: Counter[str] = Counter()
        self.notes = _Notes(folder)

    def provide(self, flown: Pass) -> OrbitFile | None:
        """The best orbit file of a pass."""
        here = _best_sound(self._files, flown, self.notes.prove)
        reasons: dict[str, str] = {}
        fetched = next((file for kind in self._wanted(flown, here) if (file := self._get(flown, kind, reasons))), None)
        best = fetched or here
        if best is None:
            against = "".join(f"; {source}: {why}" for source, why in reasons.items())
            _warn_of_annotation(flown, f"no orbit file in {self._folder} covers it{against}")
        elif not _reaches(best, flown, MARGINS[0]):
            log.warning("%s: %s reaches less than a minute beyond the pass", flown, best.path.name)
        return best

    def _wanted(self, flown: Pass, here: OrbitFile | None) -> tuple[OrbitSource, ...]:
        """What to ask for, the better first."""
        if not self._sources:
            return ()
        if here is None:
            return OrbitSource.PRECISE, OrbitSource.RESTITUTED
        is_settled = here.source is OrbitSource.PRECISE or self._now - flown.stop < PRECISE_AFTER
        return () if is_settled or self.notes.found_none_lately(flown, self._now) else (OrbitSource.PRECISE,)

    def _get(self, flown: Pass, kind: OrbitSource, reasons: dict[str, str]) -> OrbitFile | None:
        """A file of a kind: a good margin before a small one, then the sources in order, then the newest."""
        tried: set[tuple[str, str]] = set()
        found: dict[str, list[Offer]] = {}
        for margin in MARGINS:
            for source in self._sources:
                if source.name not in found:
                    found[source.name] = self._find(source, flown, kind, reasons)
                fitting = [offer for offer in found[source.name] if _reaches(offer.file, flown, margin)]
                for offer in sorted(fitting, key=lambda offer: offer.file.created, reverse=True):
                    if (source.name, offer.name) in tried:
                        continue
                    tried.add((source.name, offer.name))
                    if source.name not in self._given_up and self._fetch(source, offer, flown, reasons):
                        log.info("%s: %s from %s", flown, offer.name, source.name)
                        return offer.file
        if kind is OrbitSource.PRECISE and not any(found.values()) and self._given_up.keys().isdisjoint(found):
            self.notes.found_none(flown, self._now)
        return None

    def _find(self, source: Source, flown: Pass, kind: OrbitSource, reasons: dict[str, str]) -> list[Offer]:
        if source.name not in self._given_up:
            try:
                offers = [offer for offer in source.find(flown, kind) if _reaches(offer.file, flown, MARGINS[-1])]
            except ProvisionError as exc:
                self._give_up(source, exc)
            else:
                if not offers:
                    log.debug("%s: %s has no %s file", flown, source.name, kind.value)
                    reasons.setdefault(source.name, "it has none")
                return offers
        reasons[source.name] = self._given_up[source.name]
        return []

    def _fetch(self, source: Source, offer: Offer, flown: Pass, reasons: dict[str, str]) -> bool:
        try:
            source.fetch(offer, flown)
            self.notes.remember(offer.file, flown)
        except ProvisionError as exc:
            reasons[source.name] = self._masked(exc.message)
            log.info("%s: nothing from %s: %s", flown, source.name, reasons[source.name])
            self._failed[source.name] += 1
            if self._failed[source.name] >= FAILURES:
                self._give_up(source, exc)
            return False
        self._failed[source.name] = 0
        return True

    def _give_up(self, source: Source, exc: ProvisionError) -> None:
        self._given_up[source.name] = self._masked(exc.message)
        log.info("%s is not asked any more: %s", source.name, self._given_up[source.name])


class _Notes:
    """Remembers in the folder which files were proven, so that each is read once, and when nobody had better ones."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOTES
        self._proven: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(self._path.read_text())
            self._proven, self._asked = dict(known["proven"]), dict(known["asked"])
        self._before = self._text()

    def prove(self, file: OrbitFile, flown: Pass) -> None:
        """Read the pass's orbit, unless this file was proven to hold it before."""
        if self._proven.get(_key(file, flown)) != _evidence(file.path):
            prove_orbit(file.path, file.path.name, flown)
            self.remember(file, flown)

    def glance(self, file: OrbitFile, flown: Pass) -> None:
        """See whether this may be an orbit file, unless it was proven before."""
        if self._proven.get(_key(file, flown)) != _evidence(file.path):
            glance_at_orbit(file.path)

    def remember(self, file: OrbitFile, flown: Pass) -> None:
        """Take this file as proven."""
        self._proven[_key(file, flown)] = _evidence(file.path)

    def found_none(self, flown: Pass, now: datetime) -> None:
        """Remember that every source was asked for a precise orbit, and none had one."""
        self._asked[str(flown)] = now.isoformat()

    def found_none_lately(self, flown: Pass, now: datetime) -> bool:
        """Whether nobody had a precise orbit within the last day."""
        try:
            return timedelta(0) <= now - datetime.fromisoformat(self._asked[str(flown)]) < ASK_AGAIN_AFTER
        except (KeyError, TypeError, ValueError):
            return False

    def save(self) -> None:
        """Write what is new; a folder that cannot be written costs no more than asking and reading again."""
        if self._text() != self._before:
            with suppress(TopsarError):
                write_json(self._path, self._known())

    def _known(self) -> dict[str, Any]:
        return {"proven": dict(self._proven), "asked": dict(self._asked)}  # threads of an interrupted run may add more

    def _text(self) -> str:
        return json.dumps(self._known(), sort_keys=True)


def _key(file: OrbitFile, flown: Pass) -> str:
    return f"{file.path.name} {flown.start.isoformat()} {flown.stop.isoformat()}"


def _evidence(path: Path) -> list[int]:
    try:
        about = path.stat()
    except OSError as exc:
        msg = f"{path.name}: cannot be read ({exc.strerror})"
        raise ProvisionError(msg, hint="make it readable, or remove it") from exc
    return [about.st_size, about.st_mtime_ns]
