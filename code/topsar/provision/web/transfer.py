"""One attempt to fetch a file, going on where the last one ended."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from topsar.errors import TopsarError
from topsar.provision.web.failures import WRONG, Failed, misfit
from topsar.provision.web.partial import Note, Partial
from topsar.provision.web.session import Exchange, Request

EMPTY = "the service has nothing for this, or trouble of its own: check what was asked for, and try again later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to be fetched, and how it is known.

    Attributes
    ----------
    what : str
        In words.
    source : str
        Digest of the address, for the note beside the part.
    """

    path: Path
    what: str
    check: Callable[[Path], None]
    size: int | None
    md5: str | None
    request: Request
    source: str

    def verify(self, path: Path) -> None:
        """Prove that a file is the one that is wanted.

        Raises
        ------
        Failed
            Wrong length, checksum or content.
        """
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            reason = f"{self.path.name} has {size} bytes, {self.size} were expected"
            raise misfit(reason, spoiled=True)
        if self.md5 is not None and (found := _md5(path)) != self.md5.lower():
            reason = f"{self.path.name} has the MD5 {found}, {self.md5} was expected"
            raise misfit(reason, spoiled=True)
        try:
            self.check(path)
        except TopsarError as exc:
            raise Failed(exc.message, exc.hint or WRONG, passing=True, spoiled=True) from exc
        except Exception as exc:  # a check may trip over whatever a service sends
            reason = f"{self.path.name} cannot be read ({type(exc).__name__}: {exc})"
            raise misfit(reason, spoiled=True) from exc


class Transfer:
    """Brings what is wanted into a part.

    Parameters
    ----------
    exchange : Exchange
    wanted : Wanted
    part : Partial
    bar : tqdm
    tick : callable
        Called with every piece; raises to stop.
    masked : callable
        Replaces secrets in text.
    """

    def __init__(
        self,
        exchange: Exchange,
        wanted: Wanted,
        part: Partial,
        bar: tqdm[Any],
        *,
        tick: Callable[[], None],
        masked: Callable[[str], str],
    ) -> None:
        self._exchange, self._wanted, self._part, self._bar = exchange, wanted, part, bar
        self._tick, self._masked = tick, masked

    def attempt(self) -> None:
        """Fetch what is missing, prove the whole and give it its name.

        Raises
        ------
        Failed
            The part then holds what the next attempt can go on from.
        """
        wanted, part = self._wanted, self._part
        try:
            start = part.size if part.note.source == wanted.source and self._continues else 0
            if not start or start != (wanted.size or part.note.total):  # else it ended just before its renaming
                self._fetch(start)
            wanted.verify(part.path)
            part.finish()
        except Failed as failed:
            if failed.spoiled or failed.stale or not self._continues:
                part.clear()
            raise

    @property
    def _continues(self) -> bool:
        """Whether a part can be continued: a mix of two versions would be noticed."""
        return bool(self._part.note.validator or self._wanted.md5)

    def _fetch(self, start: int) -> None:
        note, more = self._part.note, {"Accept-Encoding": "identity"}
        if start:
            more["Range"] = f"bytes={start}-"
            if note.validator:
                more["If-Range"] = note.validator
        with closing(self._exchange.open(self._wanted.request, more=more)) as response:
            if start and response.status_code in (206, 416):
                _prove_continuation(response, note, start)
            elif response.status_code != 200:
                raise self._exchange.refused(response)
            else:
                validator = self._validator(response)
                self._part.begin(Note(source=self._wanted.source, validator=validator, total=_length(response)))
            self._receive(response)

    def _receive(self, response: requests.Response) -> None:
        part, place, total = self._part, self._exchange.place(response.url), self._part.note.total
        whole = total if self._wanted.size is None else self._wanted.size
        if total not in (None, whole):
            reason = f"{place} offers {total} bytes, {whole} were expected"
            raise misfit(reason)
        part.need(whole or 0)
        self._bar.total, self._bar.n = whole, part.size
        for piece in self._exchange.pieces(response):
            self._tick()
            part.write(piece)
            self._bar.update(len(piece))
            if whole is not None and part.size > whole:
                reason = f"{place} sent more than the {whole} bytes that were expected"
                raise misfit(reason, spoiled=True)
        if not part.size:
            answer = self._exchange.answer(response, b"")
            reason = f"{place} sent an empty file"
            raise Failed(reason, EMPTY, passing=True, spoiled=True, answer=answer)
        if whole is not None and part.size < whole:
            reason = f"{place} sent {part.size} bytes of {whole}"
            raise misfit(reason)

    def _validator(self, response: requests.Response) -> str:
        """What tells this version of the file from others; nothing where it could not be continued."""
        tag = response.headers.get("ETag", "")
        found = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        return "" if _is_packed(response) or self._masked(found) != found else found


def _is_packed(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


def _length(response: requests.Response) -> int | None:
    """Bytes of the file, where the answer tells them: of a packed one it does not."""
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) and not _is_packed(response) else None


def _prove_continuation(response: requests.Response, note: Note, start: int) -> None:
    """Whether the answer goes on where the part ends."""
    said = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", response.headers.get("Content-Range", "").strip()
    )
    if response.status_code == 206 and said and int(said[1]) == start and not _is_packed(response):
        is_same_length = said[2] == "*" or note.total in (None, int(said[2]))
        tag = response.headers.get("ETag", note.validator)
        if is_same_length and (tag == note.validator or not note.validator.startswith('"')):
            return
    reason = f"the part that came earlier cannot be continued (status {response.status_code})"
    raise Failed(reason, WRONG, passing=True, stale=True)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
