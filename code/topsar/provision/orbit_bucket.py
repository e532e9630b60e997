"""ASF's public bucket of orbit files, which needs no account."""

from __future__ import annotations

import logging
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from topsar.errors import ProvisionError
from topsar.model import OrbitFile, OrbitSource
from topsar.provision.web.failures import excerpt
from topsar.provision.web.transfer import Wanted
from topsar.sentinel1 import parse_orbit_name, read_orbit

if TYPE_CHECKING:
    from topsar.provision.web.client import Fetcher
    from topsar.provision.web.failures import Answer

log = logging.getLogger(__name__)

FAILURES = 3
"""Downloads that fail one after the other before the bucket is given up."""
MOST_PAGES = 200
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A pass of a satellite and its scenes, in time order."""

    mission: str
    start: datetime
    stop: datetime
    scenes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.mission} {self.start:%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A file of the bucket: ``file.path`` is where it will lie."""

    file: OrbitFile
    url: str
    size: int | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.file.path.name


class Bucket:
    """Lists and downloads orbit files; in trouble, it is given up until the next start.

    A listing is read once. Threads may share the bucket.

    Parameters
    ----------
    fetcher : Fetcher
    url : str
        `Services.s3_orbits`.
    folder : Path
        ``data/orbit_data``.
    """

    name = "ASF's bucket"

    def __init__(self, fetcher: Fetcher, url: str, folder: Path) -> None:
        self._fetcher, self._url, self._folder = fetcher, url, folder
        self._lock = threading.Lock()
        self._known: dict[tuple[str, OrbitSource], list[Offer]] = {}
        self._failures = 0
        self._trouble: ProvisionError | None = None

    def find_offers(self, mission: str, kind: OrbitSource) -> list[Offer]:
        """List all files of a kind.

        Parameters
        ----------
        mission : str
            ``S1A`` and so on.
        kind : OrbitSource
        """
        with self._lock:
            self._require_usable()
            if (mission, kind) not in self._known:
                try:
                    self._known[mission, kind] = self._list(mission, kind)
                except ProvisionError as exc:
                    self._give_up(exc)
                    raise
            return self._known[mission, kind]

    def fetch(self, offer: Offer, flown: Pass) -> None:
        """Download a file to ``offer.file.path``, checked by the listing's size and checksum and by reading the pass.

        Parameters
        ----------
        offer : Offer
        flown : Pass
            What the file must cover.
        """
        self._require_usable()

        def check(path: Path) -> None:
            read_orbit(replace(offer.file, path=path), flown.start, flown.stop)

        try:
            self._fetcher.download(
                Wanted(
                    url=offer.url,
                    path=offer.file.path,
                    what="orbit file",
                    check=check,
                    size=offer.size,
                    md5=offer.md5,
                )
            )
        except ProvisionError as exc:
            self._failures += 1
            if self._failures >= FAILURES:
                self._give_up(exc)
            raise
        self._failures = 0

    def _require_usable(self) -> None:
        if self._trouble is not None:
            raise self._trouble

    def _give_up(self, exc: ProvisionError) -> None:
        self._trouble = exc
        log.info("%s is not asked any more: %s", self.name, exc.message)

    def _list(self, mission: str, kind: OrbitSource) -> list[Offer]:
        entries = _read_entries(self._fetcher, self._url, f"AUX_{kind.value}/{mission}")
        return [offer for entry in entries if (offer := self._make_offer(entry, mission, kind))]

    def _make_offer(self, entry: ET.Element, mission: str, kind: OrbitSource) -> Offer | None:
        """Offer a listed file; None where its name is not that of an orbit of this mission and kind."""
        name = PurePosixPath(_read_text(entry, "Key")).name
        try:
            file = parse_orbit_name(self._folder / name)
        except ProvisionError:
            return None
        if not name.endswith(".EOF") or (file.mission, file.source) != (mission, kind):
            return None
        size, md5 = _read_text(entry, "Size"), _read_text(entry, "ETag").strip('"').lower()
        return Offer(
            file=file,
            url=f"{self._url}/AUX_{kind.value}/{name}",
            size=int(size) or None if size.isdecimal() else None,
            md5=md5 if _MD5.fullmatch(md5) else None,
        )


def _read_entries(fetcher: Fetcher, url: str, prefix: str) -> Iterator[ET.Element]:
    """Read the files in all pages of a listing."""
    params: dict[str, Any] = {"prefix": prefix}
    last = ""
    for _ in range(MOST_PAGES):
        page = _parse_page(fetcher.ask(f"{url}/", what=f"the listing of {prefix}", params=params), fetcher)
        entries = page.findall("{*}Contents")
        yield from entries
        if _read_text(page, "IsTruncated").lower() != "true":
            return
        # without a delimiter the first version of the protocol leaves NextMarker out: the last key stands for it
        key = _read_text(entries[-1], "Key") if entries else ""
        marker, token = _read_text(page, "NextMarker") or key, _read_text(page, "NextContinuationToken")
        if key <= last:
            break
        last = key
        following = {"list-type": "2", "continuation-token": token} if token else {"marker": marker}
        params = {"prefix": prefix, **following}
    msg = f"its listing of {prefix} does not end"
    raise ProvisionError(msg, hint="try again later")


def _read_text(element: ET.Element, tag: str) -> str:
    return (element.findtext(f"{{*}}{tag}") or "").strip()


def _parse_page(answer: Answer, fetcher: Fetcher) -> ET.Element:
    try:
        page = ET.fromstring(answer.body)
    except (ET.ParseError, ValueError, LookupError) as exc:
        msg = f"its listing is not well-formed XML ({exc})"
        raise ProvisionError(msg, hint="try again later", retryable=True) from exc
    if page.tag.rpartition("}")[2] != "ListBucketResult":
        msg = f"expected an S3 listing, got {excerpt(answer.text, fetcher.mask, most=60)!r}"
        raise ProvisionError(msg, hint="try again later")
    return page
