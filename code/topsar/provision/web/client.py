"""Downloads: with time limits, retries and resumption, checked by content, whole or not there."""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from topsar.errors import ProvisionError, TopsarError
from topsar.provision.endpoints import Services
from topsar.provision.web.failures import Answer, Failed, Kind
from topsar.provision.web.secrets import Masker, find_secrets
from topsar.provision.web.session import CHECK_ADDRESS, Request, Session
from topsar.provision.web.transfer import Explain, Transfer, Wanted, hold_part
from topsar.wording import bytes_text

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_PAUSE_S = 60.0
LARGEST_ANSWER = 64_000_000
PROGRESS = 1 << 20
"""Bytes of a file after which an attempt counts as progress: failures before it are forgotten."""
MOST_SPOILED = 2
"""Whole files with the wrong content after which no further one is fetched."""
LEAVE_S = 1.0
"""How long an interrupted batch waits for its threads."""
OFFLINE = "OFFLINE=1 forbids the network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often a service is asked.

    Attributes
    ----------
    attempts : int
        Times a request is made before it is given up, where the failure may pass.
    backoff_s : float
        Pause before the second attempt; doubled for each further one, with jitter, unless ``Retry-After`` says more.
    connect_s, read_s : float
        Time limits.
    """

    attempts: int = 5
    backoff_s: float = 1.0
    connect_s: float = 15.0
    read_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Web:
    """Who asks, and where."""

    fetcher: Fetcher
    services: Services


class Fetcher:
    """Asks services and fetches files.

    Parameters
    ----------
    offline : bool
        Forbid the network: every call then raises `ProvisionError` naming what is missing.
    secrets : sequence of str
        Words that must not appear in any message, log, exception or file; masked everywhere.
    patience : Patience
    """

    def __init__(self, *, offline: bool = False, secrets: Sequence[str] = (), patience: Patience | None = None) -> None:
        self.offline, self._patience = offline, patience or Patience()
        self._masker = Masker(secrets)
        self.mask = self._masker.mask
        self._session = Session(self._patience.connect_s, self._patience.read_s, self.mask)
        self._here = threading.local()

    def ask(
        self,
        url: str,
        *,
        what: str,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (200,),
    ) -> Answer:
        """Make a small request and return the answer; redirects are followed, and at most 64 MB are read.

        Parameters
        ----------
        url : str
        what : str
            What is asked for, in the words of every message.
        params, headers : mapping, optional
        form : mapping, optional
            Posted; without it the request is a GET.
        accept : sequence of int
            Status codes, redirects among them, that are answers for the caller to judge; others are errors.

        Raises
        ------
        ProvisionError
            Offline; no answer in time; an error status after all attempts (401 and 403 are never tried again).
        """
        request = self._check_request(what, Request(url=url, params=params, form=form, headers=headers))
        if self.offline:
            raise self._error(what, Failed(OFFLINE, "connect this machine and set OFFLINE=0"))
        return self._insist(what, lambda: self._ask_once(request, accept))

    def download(self, wanted: Wanted) -> Path:
        """Fetch a file; it is at ``wanted.path`` whole and checked when this returns, or not at all.

        A valid file that is there already is used. What an earlier attempt left in ``<path>.part`` is continued with
        ``Range`` where the server can. Two processes that want the same file take turns.

        Raises
        ------
        ProvisionError
            As `ask`; or wrong length, wrong checksum, wrong content, disk full.
        Exception
            What ``wanted.explain`` makes of an error answer.
        """
        request = Request(url=wanted.url, params=wanted.params, headers=wanted.headers, trusted=wanted.trusted)
        request = self._check_request(wanted.what, request)
        seen = None
        while True:
            stamp = _read_stamp(wanted.path)
            if stamp is not None and stamp != seen and self._is_good(wanted):
                return wanted.path
            if self.offline:
                reason = f"{wanted.path} {'is damaged' if stamp else 'is missing'}, and {OFFLINE}"
                hint = f"put the file at {wanted.path}, or connect this machine and set OFFLINE=0"
                raise self._error(wanted.what, Failed(reason, hint))
            seen = stamp
            if self._fetch_unless_changed(wanted, request, seen):
                return wanted.path

    def download_all(self, jobs: Sequence[Callable[[], object]], *, at_once: int) -> None:
        """Run several downloads side by side; the first error is raised when all others have ended.

        Parameters
        ----------
        jobs : sequence of callable
            Each downloads a file.
        at_once : int
            Threads.
        """
        stop, waiting = threading.Event(), queue.SimpleQueue[int]()
        failed: dict[int, Exception] = {}

        def work() -> None:
            self._here.stop = stop
            with contextlib.suppress(queue.Empty):
                while not stop.is_set():
                    number = waiting.get_nowait()
                    try:
                        jobs[number]()
                    except Exception as exc:  # noqa: BLE001 (raised below, in the thread of whoever called)
                        failed[number] = exc

        for number in range(len(jobs)):
            waiting.put(number)
        # daemons, so that one that waits for a silent server does not keep an interrupted program alive
        _run([threading.Thread(target=work, daemon=True) for _ in range(min(max(1, at_once), len(jobs)))], stop)
        errors = [failed[number] for number in sorted(failed)]
        for other in errors[1:]:
            log.warning("%s", self.mask(str(other)))
        if errors:
            raise errors[0]

    def _check_request(self, what: str, request: Request) -> Request:
        """Check the address of a request, and learn the secrets in it."""
        try:
            checked = request.with_user_in_header()
            fields = {**(request.params or {}), **(request.form or {})}
            self._masker.learn(find_secrets(request.url, fields, checked.headers or {}))
        except ValueError:
            pass  # its words may hold a part of a password
        else:
            return checked
        raise self._error(what, Failed("not an http(s) URL", CHECK_ADDRESS))

    def _ask_once(self, request: Request, accept: Sequence[int]) -> Answer:
        with closing(self._session.open(request, more={}, accept=accept)) as response:
            if response.status_code not in accept:
                raise self._session.make_refusal(response)
            body = bytearray()
            for piece in self._session.read_pieces(response):
                self._pause(0)
                body += piece
                if len(body) > LARGEST_ANSWER:
                    msg = f"{self._session.show_url(response.url)} answered with more than {bytes_text(LARGEST_ANSWER)}"
                    raise Failed(msg, CHECK_ADDRESS)
            return Answer(status=response.status_code, headers=response.headers, body=bytes(body))

    def _insist(
        self,
        what: str,
        attempt: Callable[[], T],
        *,
        explain: Explain | None = None,
        size: Callable[[], int] = lambda: 0,
    ) -> T:
        """Try until it succeeds, cannot succeed, or was tried often enough; ``size`` tells what has come so far."""
        failures = spoiled = most = 0
        while True:
            try:
                return attempt()
            except Failed as exc:
                failed = exc
            failures = 1 if size() >= most + PROGRESS else failures + (failed.kind is not Kind.STALE)
            most, spoiled = max(most, size()), spoiled + (failed.kind is Kind.SPOILED)
            if not failed.may_pass or failures >= self._patience.attempts or spoiled >= MOST_SPOILED:
                break
            pause = self._patience.backoff_s * 2 ** (failures - 1) * random.uniform(0.5, 1.0) if failures else 0.0
            pause = min(max(pause, failed.wait_s), LONGEST_PAUSE_S)
            log.info("%s", self.mask(f"{what}: {failed.reason}; trying again in {pause:.1f} s"))
            self._pause(pause)
        if explain and failed.answer and (own := explain(failed.answer)):
            raise self._mask_error(own)
        raise self._error(what, failed, f" ({failures} attempts)" if failures > 1 else "")

    def _is_good(self, wanted: Wanted) -> bool:
        try:
            wanted.verify(wanted.path)
        except Failed as failed:
            log.warning("%s", self.mask(f"{wanted.what}: {wanted.path} is not used: {failed.reason}"))
            return False
        return True

    def _fetch_unless_changed(self, wanted: Wanted, request: Request, seen: object) -> bool:
        """Fetch the file unless somebody else has written it since it was ``seen``."""
        name = self.mask(wanted.path.name)
        try:
            with hold_part(wanted.path, self._pause) as part:
                if _read_stamp(wanted.path) != seen:
                    return False
                # None: only on a terminal
                with tqdm(desc=name, unit="B", unit_scale=True, leave=False, dynamic_ncols=True, disable=None) as bar:
                    transfer = Transfer(
                        session=self._session,
                        wanted=wanted,
                        request=request,
                        part=part,
                        bar=bar,
                        tick=lambda: self._pause(0),
                    )
                    self._insist(wanted.what, transfer.attempt, explain=wanted.explain, size=lambda: part.size)
                return True
        except Failed as exc:
            failed = exc
        raise self._error(wanted.what, failed)

    def _pause(self, seconds: float) -> None:
        """Wait, unless the batch that this thread works for has been interrupted."""
        stop: threading.Event | None = getattr(self._here, "stop", None)
        if stop is None:
            time.sleep(seconds)
        elif stop.wait(seconds):
            msg = "the download was interrupted"
            raise ProvisionError(msg, hint="run the same again", retryable=True)

    def _error(self, what: str, failed: Failed, tries: str = "") -> ProvisionError:
        message, hint = self.mask(f"{what}: {failed.reason}{tries}"), self.mask(failed.hint)
        return ProvisionError(message, hint=hint, retryable=failed.may_pass)

    def _mask_error(self, exc: Exception) -> Exception:
        """Mask the secrets in somebody else's exception."""
        exc.args = tuple(self.mask(arg) if isinstance(arg, str) else arg for arg in exc.args)
        if isinstance(exc, TopsarError):
            exc.message, exc.hint = self.mask(exc.message), self.mask(exc.hint)
        exc.__cause__ = exc.__context__ = None
        return exc


def _run(threads: Sequence[threading.Thread], stop: threading.Event) -> None:
    """Start threads and wait for them; an interruption asks them to stop and does not wait long."""
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        stop.set()
        until = time.monotonic() + LEAVE_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        raise


def _read_stamp(path: Path) -> tuple[int, int, int] | None:
    """Inode, size and time, which change when a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
