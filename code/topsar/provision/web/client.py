"""Downloads: with time limits, retries and resumption, checked by content, whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from topsar.errors import ProvisionError, TopsarError
from topsar.provision.web.failures import Answer, Failed
from topsar.provision.web.secrets import Masker, secrets_in
from topsar.provision.web.session import CHECK_ADDRESS, Exchange, Request, request_for
from topsar.provision.web.transfer import Partial, Transfer, Wanted, hold_part
from topsar.wording import bytes_text

__all__ = ["Answer", "Check", "Explain", "Fetcher"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Check = Callable[[Path], None]
"""Reads a file that was fetched and raises `ProvisionError` if it is not what was asked for.

Its name may still end in ``.part``.
"""
Explain = Callable[[Answer], "Exception | None"]
"""Turns an error answer into an exception of the service's own, or None."""

LONGEST_PAUSE_S = 60.0
LARGEST_ANSWER = 64_000_000
PROGRESS = 1 << 20
"""An attempt that brings so much more of a file was worth it: counting begins anew."""
MOST_SPOILED = 2
"""Whole files with the wrong content after which no further one is fetched."""
LEAVE_S = 1.0
"""How long an interrupted batch waits for its threads."""
OFFLINE = "OFFLINE=1 forbids the network"


class Fetcher:
    """Asks services and fetches files.

    Parameters
    ----------
    offline : bool
        Forbid the network: every call then raises `ProvisionError` naming what is missing.
    secrets : sequence of str
        Words that must not appear in any message, log, exception or file; masked everywhere.
    attempts : int
        Times a request is made before it is given up, where the failure may pass.
    backoff_s : float
        Pause before the second attempt; doubled for each further one, with jitter, unless ``Retry-After`` says more.
    connect_s, read_s : float
        Time limits.
    show : bool, optional
        Whether to draw bars of bytes; default: where standard error is a terminal.
    """

    def __init__(
        self,
        *,
        offline: bool = False,
        secrets: Sequence[str] = (),
        attempts: int = 5,
        backoff_s: float = 1.0,
        connect_s: float = 15.0,
        read_s: float = 60.0,
        show: bool | None = None,
    ) -> None:
        self.offline, self._attempts, self._backoff_s = offline, max(1, attempts), backoff_s
        self._masker = Masker(secrets)
        self._exchange = Exchange(connect_s=connect_s, read_s=read_s, masked=self.masked)
        self._show = sys.stderr.isatty() if show is None else show
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
        """Make a small request (GET, or POST where there is a ``form``) and return the answer.

        Status codes in ``accept`` are answers, to be judged by the caller; others are errors. ``what`` says in words
        what was asked for and stands in every message. Redirects are followed, save those in ``accept``. At most 64 MB
        are read.

        Raises
        ------
        ProvisionError
            Offline; no answer in time; an error status after all attempts (401 and 403 are never tried again).
        """
        request = self._request(url, what, params=params, form=form, headers=headers)
        if self.offline:
            raise self._error(what, OFFLINE, "connect this machine and set OFFLINE=0", retryable=False)
        return self._insist(what, lambda: self._asked(request, accept), explain=None)

    def download(
        self,
        url: str,
        path: Path,
        *,
        what: str,
        check: Check,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        size: int | None = None,
        md5: str | None = None,
        trusted: Sequence[str] = (),
        explain: Explain | None = None,
    ) -> Path:
        """Fetch a file; it is at ``path`` whole and checked when this returns, or not at all.

        A valid file that is there already is used (``size``, ``md5`` and ``check`` decide). What an earlier attempt
        left in ``<path>.part`` is continued with ``Range`` where the server can. Two processes that want the same file
        take turns. ``Authorization`` is sent to the first host and to those in ``trusted`` (host names), to no other,
        whatever the redirects. ``explain`` turns an error answer into an exception of the service's own, or None; an
        empty answer is one too.

        Raises
        ------
        ProvisionError
            As `ask`; or wrong length, wrong checksum, wrong content, disk full.
        """
        request = self._request(url, what, params=params, headers=headers, trusted=trusted)
        source = hashlib.sha256(self.masked(f"{request.url} {sorted((params or {}).items())}").encode()).hexdigest()
        wanted = Wanted(path=path, what=what, check=check, size=size, md5=md5, request=request, source=source)
        seen = None
        while True:
            stamp = _stamp(path)
            if stamp is not None and stamp != seen and self._is_good(wanted):
                return path
            if self.offline:
                state = "is damaged" if stamp else "is missing"
                hint = f"put the file at {path}, or connect this machine and set OFFLINE=0"
                raise self._error(what, f"{path} {state}, and {OFFLINE}", hint, retryable=False)
            seen = stamp
            if self._fetched_alone(wanted, seen, explain):
                return path

    def download_all(self, jobs: Sequence[Callable[[], Path]], *, at_once: int) -> list[Path]:
        """Run several downloads side by side; the first error is raised when all others have ended."""
        stop, waiting = threading.Event(), queue.SimpleQueue[int]()
        done: dict[int, Path | Exception] = {}

        def work() -> None:
            self._here.stop = stop
            with contextlib.suppress(queue.Empty):
                while not stop.is_set():
                    number = waiting.get_nowait()
                    try:
                        done[number] = jobs[number]()
                    except Exception as exc:  # noqa: BLE001 (raised below, in the thread of whoever called)
                        done[number] = exc

        for number in range(len(jobs)):
            waiting.put(number)
        # daemons, so that one that waits for a silent server does not keep an interrupted program alive
        _run([threading.Thread(target=work, daemon=True) for _ in range(min(max(1, at_once), len(jobs)))], stop)
        results = [done[number] for number in range(len(jobs))]
        errors = [result for result in results if isinstance(result, Exception)]
        for other in errors[1:]:
            log.warning("%s", self.masked(str(other)))
        if errors:
            raise errors[0]
        return [result for result in results if isinstance(result, Path)]

    def learn(self, *secrets: str) -> None:
        """Let nothing of these words be shown from now on."""
        self._masker.learn(secrets)

    def masked(self, text: str) -> str:
        """The text with every secret replaced."""
        return self._masker.masked(text)

    # --- one request ---------------------------------------------------------------------------------------------

    def _request(
        self,
        url: str,
        what: str,
        *,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        form: Mapping[str, str] | None = None,
        trusted: Sequence[str] = (),
    ) -> Request:
        try:
            self._masker.learn(secrets_in(url, {**(params or {}), **(form or {})}, headers or {}))
            return request_for(url, params=params, form=form, headers=headers, trusted=trusted)
        except ValueError:
            pass  # its words may hold a part of a password
        raise self._error(what, "its address is none of the web", CHECK_ADDRESS, retryable=False)

    def _asked(self, request: Request, accept: Sequence[int]) -> Answer:
        with closing(self._exchange.open(request, more={}, accept=accept)) as response:
            if response.status_code not in accept:
                raise self._exchange.refused(response)
            body = bytearray()
            for piece in self._exchange.pieces(response):
                self._pause(0)
                body += piece
                if len(body) > LARGEST_ANSWER:
                    msg = f"{self._exchange.place(response.url)} answered with more than {bytes_text(LARGEST_ANSWER)}"
                    raise Failed(msg, "check the address of the service")
            return self._exchange.answer(response, bytes(body))

    def _insist(
        self, what: str, attempt: Callable[[], T], *, explain: Explain | None, kept: Callable[[], int] = lambda: 0
    ) -> T:
        """Try until it succeeds, cannot succeed, or has been tried often enough."""
        failures = spoiled = most = 0
        while True:
            try:
                return attempt()
            except Failed as exc:
                failed = exc
            failures = 1 if kept() >= most + PROGRESS else failures + (not failed.stale)
            most, spoiled = max(most, kept()), spoiled + failed.spoiled
            if not failed.passing or failures >= self._attempts or spoiled >= MOST_SPOILED:
                break
            pause = self._backoff_s * 2 ** (failures - 1) * random.uniform(0.5, 1.0) if failures else 0.0
            pause = min(max(pause, failed.wait_s), LONGEST_PAUSE_S)
            log.info("%s", self.masked(f"{what}: {failed.reason}; trying again in {pause:.1f} s"))
            self._pause(pause)
        if explain and failed.answer and (own := explain(failed.answer)):
            raise self._cleaned(own)
        tries = f" ({failures} attempts)" if failures > 1 else ""
        raise self._error(what, failed.reason + tries, failed.hint, retryable=failed.passing)

    # --- one file ------------------------------------------------------------------------------------------------

    def _is_good(self, wanted: Wanted) -> bool:
        try:
            wanted.verify(wanted.path)
        except Failed as failed:
            log.warning("%s", self.masked(f"{wanted.what}: {wanted.path} is not used: {failed.reason}"))
            return False
        return True

    def _fetched_alone(self, wanted: Wanted, seen: object, explain: Explain | None) -> bool:
        """Fetch the file unless somebody else has written it since it was ``seen``."""
        try:
            with hold_part(wanted.path, self._pause) as part:
                if _stamp(wanted.path) != seen:
                    return False
                with self._bar(wanted) as bar:
                    self._brought(wanted, part, bar, explain)
                return True
        except Failed as exc:
            failed = exc
        raise self._error(wanted.what, failed.reason, failed.hint, retryable=failed.passing)

    def _brought(self, wanted: Wanted, part: Partial, bar: tqdm[Any], explain: Explain | None) -> None:
        transfer = Transfer(self._exchange, wanted, part, bar, tick=lambda: self._pause(0), masked=self._masker.masked)
        self._insist(wanted.what, transfer.attempt, explain=explain, kept=lambda: part.size)

    # --- around --------------------------------------------------------------------------------------------------

    def _bar(self, wanted: Wanted) -> tqdm[Any]:
        name = self.masked(wanted.path.name)
        return tqdm(desc=name, unit="B", unit_scale=True, leave=False, dynamic_ncols=True, disable=not self._show)

    def _pause(self, seconds: float) -> None:
        """Wait, unless the batch that this thread works for has been interrupted."""
        stop: threading.Event | None = getattr(self._here, "stop", None)
        if stop is None:
            time.sleep(seconds)
        elif stop.wait(seconds):
            msg = "the download was interrupted"
            raise ProvisionError(msg, hint="run the same again", retryable=True)

    def _error(self, what: str, reason: str, hint: str, *, retryable: bool) -> ProvisionError:
        return ProvisionError(self.masked(f"{what}: {reason}"), hint=self.masked(hint), retryable=retryable)

    def _cleaned(self, exc: Exception) -> Exception:
        """An exception of somebody else's, secrets masked."""
        exc.args = tuple(self.masked(arg) if isinstance(arg, str) else arg for arg in exc.args)
        if isinstance(exc, TopsarError):
            exc.message, exc.hint = self.masked(exc.message), self.masked(exc.hint)
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


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
