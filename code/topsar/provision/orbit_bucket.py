"""Where orbit files come from without an account: ASF's service by scene and ASF's public bucket.

The packages ``s1-orbits`` and ``sentineleof`` speak the same contracts and were read for them, but are not used:
neither sets a time limit, tries again or looks at what it was given, and both write in place, so that a cut-off
download stays under the file's own name. What is left of them once that is mended is the few requests below.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote, urlsplit
from zipfile import is_zipfile

from topsar.errors import ProvisionError, TopsarError
from topsar.files import write_json
from topsar.model import OrbitFile, OrbitSource
from topsar.provision.web.failures import excerpt
from topsar.provision.web.session import redirected
from topsar.sentinel1 import parse_orbit_name, read_orbit

if TYPE_CHECKING:
    from topsar.provision.endpoints import Services
    from topsar.provision.web.client import Answer, Fetcher

log = logging.getLogger(__name__)

LISTING_LIFE = {OrbitSource.PRECISE: timedelta(days=1), OrbitSource.RESTITUTED: timedelta(hours=1)}
"""How long a listing is used again: precise orbits appear once a day, restituted ones every hour and a half."""
MOST_PAGES = 200
_GLANCE = 4096
_REDIRECTS = (301, 302, 303, 307, 308)
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A pass that an orbit is wanted for, and its scenes in time order."""

    mission: str
    start: datetime
    stop: datetime
    scenes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.mission} {self.start:%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A file that a source has: ``file.path`` is where it will lie."""

    file: OrbitFile
    url: str
    size: int | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.file.path.name


class Source(Protocol):
    """Finds and fetches orbit files.

    ``find`` returns what the source has of a kind, perhaps more than covers the pass, and raises `ProvisionError`
    where the source cannot be used at all. ``fetch`` leaves the file whole and proven at ``offer.file.path``.
    """

    name: str

    def find(self, flown: Pass, kind: OrbitSource) -> list[Offer]:
        """Files of a kind."""
        ...

    def fetch(self, offer: Offer, flown: Pass) -> Path:
        """The file."""
        ...


def prove_orbit(path: Path, name: str, flown: Pass) -> None:
    """Read the orbit of a pass from a file that is to be called ``name``.

    Raises
    ------
    ProvisionError
        Where it is not what its name says, or does not cover the pass.
    """
    with TemporaryDirectory(prefix="topsar-orbit-") as scratch:
        named = Path(scratch) / name
        named.symlink_to(path.absolute())
        read_orbit(named, flown.start, flown.stop)


def glance_at_orbit(path: Path) -> None:
    """See whether a file begins and ends as orbit files do; a day of state vectors is not read for it.

    Raises
    ------
    ProvisionError
        Where it does not, or cannot be read.
    """
    try:
        if path.suffix == ".zip":
            is_whole = is_zipfile(path)  # its directory stands at the end
        else:
            with path.open("rb") as file:
                first = file.read(_GLANCE)
                file.seek(max(0, file.seek(0, os.SEEK_END) - _GLANCE))
                is_whole = b"<Earth_Explorer_File" in first and b"</Earth_Explorer_File" in file.read()
    except OSError as exc:
        msg = f"{path.name}: cannot be read ({exc.strerror})"
        raise ProvisionError(msg, hint="make it readable, or remove it") from exc
    if not is_whole:
        msg = f"{path.name}: no orbit file, or a part of one"
        raise ProvisionError(msg, hint="download the orbit file again")


class SceneService:
    """ASF's service that answers a scene's name with the address of the best orbit file in its bucket."""

    name = "ASF's scene service"

    def __init__(self, fetcher: Fetcher, services: Services, folder: Path) -> None:
        self._fetcher, self._url, self._folder = fetcher, services.asf_orbits, folder
        self._known: dict[Pass, list[Offer]] = {}

    def find(self, flown: Pass, kind: OrbitSource) -> list[Offer]:
        """The one file it names, if that is of the kind; it is asked once for each pass."""
        if flown not in self._known:
            self._known[flown] = self._ask(flown)
        return [offer for offer in self._known[flown] if offer.file.source is kind]

    def _ask(self, flown: Pass) -> list[Offer]:
        scene = flown.scenes[0]
        answer = self._fetcher.ask(
            f"{self._url}/scene/{quote(scene)}", what="the orbit of a scene", accept=(200, *_REDIRECTS, 400, 404)
        )
        if answer.status in (400, 404):
            log.debug("%s: %d for %s", self.name, answer.status, scene)
            return []
        url = _target(answer) if answer.status in _REDIRECTS else answer.url
        file = file_named(unquote(PurePosixPath(urlsplit(url).path).name), self._folder)
        if file is None:
            msg = f"it answered with something that is no orbit file: {beginning(answer, self._fetcher)}"
            raise ProvisionError(msg, hint="try again later")
        return [Offer(file=file, url=url)]

    def fetch(self, offer: Offer, flown: Pass) -> Path:
        """Fetch the file from where the service sent us."""
        return download_offer(self._fetcher, offer, flown)


class Bucket:
    """ASF's public bucket of orbit files; a listing is read once and kept in the folder for a while."""

    name = "ASF's bucket"

    def __init__(self, fetcher: Fetcher, services: Services, folder: Path, now: datetime) -> None:
        self._fetcher, self._url, self._folder, self._now = fetcher, services.s3_orbits, folder, now
        self._lock = threading.Lock()
        self._known: dict[tuple[str, OrbitSource], list[Offer]] = {}
        self._trouble: ProvisionError | None = None

    def find(self, flown: Pass, kind: OrbitSource) -> list[Offer]:
        """All files of the kind and the mission."""
        key = flown.mission, kind
        with self._lock:
            if self._trouble is not None:
                raise self._trouble
            if key not in self._known:
                try:
                    self._known[key] = self._kept(*key) or self._listed(*key)
                except ProvisionError as exc:
                    self._trouble = exc  # others that wait for the lock need not try it too
                    raise
            return self._known[key]

    def fetch(self, offer: Offer, flown: Pass) -> Path:
        """Fetch a listed file; size and checksum are those of the listing."""
        return download_offer(self._fetcher, offer, flown)

    def _listed(self, mission: str, kind: OrbitSource) -> list[Offer]:
        prefix = f"AUX_{kind.value}/{mission}"
        entries = [entry for page in _pages(self._fetcher, self._url, prefix) for entry in page]
        offers = [offer for entry in entries if (offer := self._offer(*entry, mission, kind))]
        kept = {
            "asked": self._now,
            "service": self._url,
            "files": [[offer.name, offer.size, offer.md5] for offer in offers],
        }
        with suppress(TopsarError):  # the folder may be another user's
            write_json(self._listing(mission, kind), kept)
        return offers

    def _kept(self, mission: str, kind: OrbitSource) -> list[Offer]:
        """A listing of this service that was kept and is still new enough; else nothing."""
        try:
            kept = json.loads(self._listing(mission, kind).read_text())
            age = self._now - datetime.fromisoformat(kept["asked"])
            offers = [self._offer(str(name), size, md5, mission, kind) for name, size, md5 in kept["files"]]
            is_good = kept["service"] == self._url and timedelta(0) <= age < LISTING_LIFE[kind]
        except (OSError, ValueError, TypeError, KeyError) as exc:
            log.debug("no listing was kept: %s", exc)
            return []
        found = [offer for offer in offers if offer is not None]
        return found if is_good and len(found) == len(offers) else []

    def _listing(self, mission: str, kind: OrbitSource) -> Path:
        return self._folder / f".listing_{mission}_{kind.value}.json"

    def _offer(self, name: str, size: Any, md5: Any, mission: str, kind: OrbitSource) -> Offer | None:
        file = file_named(name, self._folder)
        if file is None or (file.mission, file.source) != (mission, kind):
            return None
        return Offer(
            file=file,
            url=f"{self._url}/AUX_{kind.value}/{name}",
            size=size if isinstance(size, int) and size > 0 else None,
            md5=md5 if isinstance(md5, str) and _MD5.fullmatch(md5) else None,
        )


def download_offer(
    fetcher: Fetcher,
    offer: Offer,
    flown: Pass,
    *,
    headers: Mapping[str, str] | None = None,
    explain: Callable[[Answer], Exception | None] | None = None,
) -> Path:
    """Fetch a file and prove it before it gets its name."""
    return fetcher.download(
        offer.url,
        offer.file.path,
        what="orbit file",
        check=lambda path: prove_orbit(path, offer.name, flown),
        headers=headers,
        size=offer.size,
        md5=offer.md5,
        explain=explain,
    )


def _target(answer: Answer) -> str:
    try:
        return redirected(answer.url, answer.headers.get("Location", ""))
    except ValueError as exc:
        msg = f"it sends us to a place that cannot be asked: {exc}"
        raise ProvisionError(msg, hint="try again later") from exc


def _pages(fetcher: Fetcher, url: str, prefix: str) -> Iterator[list[tuple[str, int | None, str]]]:
    """Pages of a bucket's listing: name, size and MD5 of each file."""
    params: dict[str, Any] = {"prefix": prefix}
    last = ""
    for _ in range(MOST_PAGES):
        answer = fetcher.ask(f"{url}/", what=f"the listing of {prefix}", params=params)
        page = _listing_page(answer, fetcher)
        contents = page.findall("{*}Contents")
        keys = [entry.findtext("{*}Key") or "" for entry in contents]
        yield [(PurePosixPath(key).name, *_evidence(entry)) for key, entry in zip(keys, contents, strict=True)]
        if (page.findtext("{*}IsTruncated") or "").strip().lower() != "true":
            return
        # without a delimiter the first version of the protocol leaves NextMarker out: the last key stands for it
        marker = page.findtext("{*}NextMarker") or (keys[-1] if keys else "")
        token = page.findtext("{*}NextContinuationToken")
        if not keys or keys[-1] <= last or not marker:
            break
        last = keys[-1]
        following = {"list-type": "2", "continuation-token": token} if token else {"marker": marker}
        params = {"prefix": prefix, **following}
    msg = f"its listing of {prefix} does not come to an end"
    raise ProvisionError(msg, hint="try again later")


def _listing_page(answer: Answer, fetcher: Fetcher) -> ET.Element:
    try:
        page = ET.fromstring(answer.body)
    except (ET.ParseError, ValueError, LookupError) as exc:
        msg = f"its listing is not well-formed XML ({exc})"
        raise ProvisionError(msg, hint="try again later", retryable=True) from exc
    if page.tag.rpartition("}")[2] != "ListBucketResult":
        msg = f"it answered with something that is no listing: {beginning(answer, fetcher)}"
        raise ProvisionError(msg, hint="try again later")
    return page


def _evidence(entry: ET.Element) -> tuple[int | None, str]:
    size = (entry.findtext("{*}Size") or "").strip()
    return int(size) if size.isdecimal() else None, (entry.findtext("{*}ETag") or "").strip().strip('"').lower()


def file_named(name: str, folder: Path) -> OrbitFile | None:
    """The orbit file of this name in the folder; None where that is no such name."""
    try:
        return parse_orbit_name(folder / name) if name.endswith(".EOF") and "/" not in name else None
    except ProvisionError:
        return None


def beginning(answer: Answer, fetcher: Fetcher) -> str:
    """How an answer begins, to be quoted."""
    return repr(excerpt(answer.text, fetcher.masked, most=60))
