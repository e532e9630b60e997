"""One file from the web: ``<name>.part`` is locked, continued where it ended, checked, and gets its name when whole."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from topsar.errors import ProductError, TopsarError
from topsar.files import read_json, write_failed
from topsar.provision.web.failures import WRONG, Answer, Failed, Kind
from topsar.provision.web.session import Request, Session
from topsar.wording import bytes_text

log = logging.getLogger(__name__)

POLL_S = 0.1
EMPTY = "the service has nothing for this, or trouble of its own: check what was asked for, and try again later"


Check = Callable[[Path], object]
"""Reads a file that was fetched and raises `ProvisionError` if it is not what was asked for.

Its name may still end in ``.part``.
"""
Explain = Callable[[Answer], "Exception | None"]
"""Turns an error answer, or an empty one, into an exception of the service's own, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to be fetched, and how it is known.

    Attributes
    ----------
    what : str
        In words, for messages.
    params, headers : mapping, optional
        Of the request. ``Authorization`` is sent to the first host and to those in ``trusted`` (host names), to no
        other, whatever the redirects.
    size, md5 : optional
        Of the whole file.
    """

    url: str
    path: Path
    what: str
    check: Check
    params: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    size: int | None = None
    md5: str | None = None
    trusted: Sequence[str] = ()
    explain: Explain | None = None

    def verify(self, path: Path) -> None:
        """Prove that a file is the one that is wanted."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            reason = f"{self.path.name} has {size} bytes, {self.size} were expected"
            raise Failed(reason, WRONG, Kind.SPOILED)
        if self.md5 is not None and (found := _compute_md5(path)) != self.md5.lower():
            reason = f"{self.path.name} has the MD5 {found}, {self.md5} was expected"
            raise Failed(reason, WRONG, Kind.SPOILED)
        try:
            self.check(path)
        except TopsarError as exc:
            raise Failed(exc.message, exc.hint or WRONG, Kind.SPOILED) from exc
        except Exception as exc:  # a check may trip over whatever a service sends
            reason = f"{self.path.name} cannot be read ({type(exc).__name__}: {exc})"
            raise Failed(reason, WRONG, Kind.SPOILED) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Brings what is wanted into a part; ``tick`` is called with every piece, and raises to stop."""

    session: Session
    wanted: Wanted
    request: Request
    part: Partial
    bar: tqdm[Any]
    tick: Callable[[], None]

    def attempt(self) -> None:
        """Fetch what is missing, prove the whole and give it its name; if it fails, the next attempt can go on."""
        wanted, part = self.wanted, self.part
        try:
            start = part.size if part.note.source == self._source and self._can_continue else 0
            if not start or start != (wanted.size or part.note.total):  # else it ended just before its renaming
                self._fetch(start)
            wanted.verify(part.path)
            part.finish()
        except Failed as failed:
            if failed.kind in (Kind.SPOILED, Kind.STALE) or not self._can_continue:
                part.clear()
            raise

    @property
    def _source(self) -> str:
        address = self.session.mask(f"{self.request.url} {sorted((self.request.params or {}).items())}")
        return hashlib.sha256(address.encode()).hexdigest()

    @property
    def _can_continue(self) -> bool:
        """Whether a part can be continued, because a mix of two versions would be noticed."""
        return bool(self.part.note.validator or self.wanted.md5)

    def _fetch(self, start: int) -> None:
        note, more = self.part.note, {"Accept-Encoding": "identity"}
        if start:
            more["Range"] = f"bytes={start}-"
            if note.validator:
                more["If-Range"] = note.validator
        with closing(self.session.open(self.request, more=more)) as response:
            if start and response.status_code in (206, 416):
                _check_continuation(response, note, start)
            elif response.status_code != 200:
                raise self.session.make_refusal(response)
            else:
                validator = self._find_validator(response)
                self.part.begin(Note(source=self._source, validator=validator, total=_read_length(response)))
            self._receive(response)

    def _receive(self, response: requests.Response) -> None:
        part, place, total = self.part, self.session.show_url(response.url), self.part.note.total
        whole = total if self.wanted.size is None else self.wanted.size
        if total not in (None, whole):
            reason = f"{place} offers {total} bytes, {whole} were expected"
            raise Failed(reason, WRONG, Kind.PASSING)
        part.require_space(whole or 0)
        self.bar.total, self.bar.n = whole, part.size
        for piece in self.session.read_pieces(response):
            self.tick()
            part.write(piece)
            self.bar.update(len(piece))
            if whole is not None and part.size > whole:
                reason = f"{place} sent more than the {whole} bytes that were expected"
                raise Failed(reason, WRONG, Kind.SPOILED)
        if not part.size:
            answer = Answer(status=response.status_code, headers=response.headers, body=b"")
            reason = f"{place} sent an empty file"
            raise Failed(reason, EMPTY, Kind.SPOILED, answer=answer)
        if whole is not None and part.size < whole:
            reason = f"{place} sent {part.size} bytes of {whole}"
            raise Failed(reason, WRONG, Kind.PASSING)

    def _find_validator(self, response: requests.Response) -> str:
        """Read the tag or date of this version of the file; empty where a part of it could not be continued."""
        tag = response.headers.get("ETag", "")
        found = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        return "" if _is_packed(response) or self.session.mask(found) != found else found


def _is_packed(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


def _read_length(response: requests.Response) -> int | None:
    """Read the size of the file; None where the answer does not tell it, or is compressed."""
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) and not _is_packed(response) else None


def _check_continuation(response: requests.Response, note: Note, start: int) -> None:
    """Check that the answer goes on where the part ends."""
    said = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", response.headers.get("Content-Range", "").strip()
    )
    if response.status_code == 206 and said and int(said[1]) == start and not _is_packed(response):
        is_same_length = said[2] == "*" or note.total in (None, int(said[2]))
        tag = response.headers.get("ETag", note.validator)
        if is_same_length and (tag == note.validator or not note.validator.startswith('"')):
            return
    reason = f"the part that came earlier cannot be continued (status {response.status_code})"
    raise Failed(reason, WRONG, Kind.STALE)


def _compute_md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a part belongs to: digest of the address; ``ETag`` or date of the whole, for ``If-Range``; its bytes."""

    source: str = ""
    validator: str = ""
    total: int | None = None


class Partial:
    """The part of a file that has come so far; see `hold_part`."""

    def __init__(self, target: Path, file: io.FileIO) -> None:
        self.target, self._file = target, file
        self.path = name_part(target)
        self._note_path = self.path.with_name(self.path.name + ".json")
        self.note = self._read_note()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return os.fstat(self._file.fileno()).st_size

    def begin(self, note: Note) -> None:
        """Throw away what is kept and begin a new file."""
        with _explain_disk(self.target):
            self._file.truncate(0)
            self._note_path.write_text(json.dumps(asdict(note)), encoding="utf-8")
        self.note = note

    def clear(self) -> None:
        """Throw away what is kept."""
        self._file.truncate(0)
        self._note_path.unlink(missing_ok=True)
        self.note = Note()

    def require_space(self, total: int) -> None:
        """Make sure that the disk has room for the rest."""
        free = shutil.disk_usage(self.path.parent).free
        if free < total - self.size:
            msg = f"no space is left in {self.target.parent} for {self.target.name}: "
            msg += f"{bytes_text(total - self.size)} more are needed, {bytes_text(free)} are free"
            raise Failed(msg, "free some, then run the same again")

    def write(self, data: bytes) -> None:
        """Append."""
        rest = memoryview(data)
        with _explain_disk(self.target):
            while rest:
                rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """Give the file its name."""
        with _explain_disk(self.target):
            os.fsync(self._file.fileno())
            self.path.replace(self.target)
            self._note_path.unlink(missing_ok=True)

    def remove_empty(self) -> None:
        """Remove a part that holds nothing."""
        if not self.size and _is_at(self._file, self.path):
            self._note_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _read_note(self) -> Note:
        try:
            note = Note(**read_json(self._note_path))
        except (ProductError, TypeError):
            return Note()
        sound = isinstance(note.validator, str) and (note.total is None or isinstance(note.total, int))
        return note if sound else Note()


@contextmanager
def hold_part(target: Path, pause: Callable[[float], None]) -> Iterator[Partial]:
    """Lock the part of ``target`` for this process and thread; others wait until the block is left.

    Parameters
    ----------
    target : Path
        Its folder is made.
    pause : callable
        Waits so many seconds, or raises to give up waiting.
    """
    with _explain_disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with closing(_lock(target, pause)) as file:
        partial = Partial(target, file)
        try:
            yield partial
        finally:
            partial.remove_empty()


def name_part(target: Path) -> Path:
    """Where a file is while it is not whole."""
    return target.with_name(target.name + ".part")


def _lock(target: Path, pause: Callable[[float], None]) -> io.FileIO:
    """The part, open at its end and locked.

    Whoever held it may have given it its final name meanwhile: then the lock is on the wrong file.
    """
    path, waits = name_part(target), False
    while True:
        with _explain_disk(target):
            file = path.open("ab", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, path):
                    return file
            except BlockingIOError:
                if not waits:
                    log.info("%s is being fetched by somebody else; waiting", target)
                waits = True
            except OSError:
                file.close()
                raise
        file.close()
        pause(POLL_S)


def _is_at(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _explain_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        why = write_failed(target, exc)
        raise Failed(why.message, why.hint) from exc
