"""A request to a service, its redirects, its answer."""

from __future__ import annotations

import base64
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
from requests.cookies import RequestsCookieJar
from requests.utils import requote_uri

from topsar import __version__
from topsar.provision.web.failures import (
    BROKEN,
    LONGEST_PAGE,
    ONLINE,
    Answer,
    Failed,
    Kind,
    excerpt,
    explain_exception,
    explain_status,
)

MOST_REDIRECTS = 10
LEAST_BYTES = 1024
"""A connection that brings less than this within the time limit for reading counts as hanging."""
CHUNK = 1 << 18
CONFIDENTIAL = {"authorization", "cookie", "proxy-authorization"}
CHECK_ADDRESS = "check the address of the service"

for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(lambda _: False)  # they log whole addresses, keys and all


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a service; a form is posted.

    ``trusted`` are hosts, besides the first one, that are sent ``Authorization`` when a redirect leads there.
    """

    url: str
    params: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    trusted: Sequence[str] = ()

    def with_user_in_header(self) -> Request:
        """The same, user and password of the address in a header; ValueError if ``url`` is not an http(s) URL."""
        parts, sent = urlsplit(self.url), dict(self.headers or {})
        if parts.username is not None and not any(name.lower() == "authorization" for name in sent):
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            sent["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            msg = "not an http(s) URL"
            raise ValueError(msg)
        return replace(self, url=_strip_user(self.url), headers=sent)


class _Connection(requests.Session):
    """Leaves redirects to `Session`: requests would read their bodies, however long, and addresses, however odd."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 (the signature is theirs)
        """None."""
        return None

    def find_target(self, response: requests.Response) -> str | None:
        """Read where an answer redirects to, if it does."""
        return super().get_redirect_target(response)


class Session:
    """Sends requests and follows redirects; raises `Failed`.

    Each thread has its own connections; cookies are shared. Proxies and certificates are those of the environment,
    as `requests` reads them; ``~/.netrc`` is not read.

    Parameters
    ----------
    connect_s, read_s : float
        Time limits.
    mask : callable
        Replaces secrets in text.
    """

    def __init__(self, connect_s: float, read_s: float, mask: Callable[[str], str]) -> None:
        self._connect_s, self._read_s, self.mask = connect_s, read_s, mask
        self._cookies = RequestsCookieJar()
        self._here = threading.local()

    def open(self, request: Request, *, more: Mapping[str, str], accept: Sequence[int] = ()) -> requests.Response:
        """Send a request and return the answer, body unread, whatever its status; the caller closes it.

        Parameters
        ----------
        request : Request
        more : mapping
            Further headers.
        accept : sequence of int
            Redirects of these kinds are answers.
        """
        url, params, form = request.url, request.params, request.form
        for _ in range(MOST_REDIRECTS + 1):
            response = self._send(url, params, form, {**self._select_headers(request, url), **more})
            location = self._connection.find_target(response)
            if location is None or response.status_code in accept:
                return response
            response.close()
            target = self._follow(url, location)
            if response.status_code not in (307, 308):
                form = None
            elif form is not None and _get_origin(target) != _get_origin(request.url):
                msg = f"{self.show_url(url)} wants the form sent to another host, {self.show_url(target)}"
                raise Failed(msg, CHECK_ADDRESS)
            url, params = target, None
        msg = f"{self.show_url(request.url)} leads to more than {MOST_REDIRECTS} redirects"
        raise Failed(msg, CHECK_ADDRESS)

    def read_pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body, piece by piece as it comes."""
        begun, got = time.monotonic(), 0
        while True:
            try:
                piece = response.raw.read1(CHUNK, decode_content=True)
            except BROKEN as exc:
                raise self._explain(exc, response.url) from exc
            if not piece:
                return
            yield piece
            got, now = got + len(piece), time.monotonic()
            if now - begun > self._read_s:
                if got < LEAST_BYTES:
                    msg = f"{self.show_url(response.url)} sent only {got} bytes in {now - begun:.3g} s"
                    raise Failed(msg, ONLINE, Kind.PASSING)
                begun, got = now, 0

    def make_refusal(self, response: requests.Response) -> Failed:
        """Explain an error status; what answers a form is not quoted, as it may hold a token."""
        body = bytearray()
        with contextlib.suppress(Failed):  # the status says enough
            for piece in self.read_pieces(response):
                body += piece
                if len(body) >= LONGEST_PAGE:
                    break
        page = bytes(body[:LONGEST_PAGE])
        answer = Answer(status=response.status_code, headers=response.headers, body=page)
        said = "" if response.request.method == "POST" else excerpt(answer.text, self.mask)
        return explain_status(answer, self.show_url(response.url), response.reason or "", said)

    def show_url(self, url: str) -> str:
        """Show an address without query and user, secrets masked."""
        parts = urlsplit(_strip_user(url))
        return self.mask(f"{parts.scheme}://{parts.netloc}{parts.path}")

    @property
    def _connection(self) -> _Connection:
        if not hasattr(self._here, "connection"):
            connection = _Connection()
            connection.auth = lambda request: request  # without one of ours, requests looks into ~/.netrc
            connection.cookies = self._cookies
            connection.headers["User-Agent"] = f"topsar/{__version__}"
            self._here.connection = connection
        found: _Connection = self._here.connection
        return found

    def _send(
        self, url: str, params: Mapping[str, Any] | None, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> requests.Response:
        try:
            return self._connection.request(
                "GET" if form is None else "POST",
                url,
                params=params,
                data=form,
                headers=dict(headers),
                timeout=(self._connect_s, self._read_s),
                allow_redirects=False,
                stream=True,
            )
        except BROKEN as exc:
            raise self._explain(exc, url) from exc

    def _select_headers(self, request: Request, url: str) -> dict[str, str]:
        """Select the headers that may go to this address."""
        known = {urlsplit(url).hostname, urlsplit(url).netloc}
        if _get_origin(url) == _get_origin(request.url) or not known.isdisjoint(request.trusted):
            return dict(request.headers or {})
        return {
            name: value
            for name, value in (request.headers or {}).items()
            if name.lower() not in CONFIDENTIAL and self.mask(value) == value
        }

    def _follow(self, url: str, location: str) -> str:
        try:
            return _resolve_redirect(url, location)
        except ValueError as exc:
            msg = f"{self.show_url(url)} redirects to {self.mask(location)[:200]}: {exc}"
            raise Failed(msg, CHECK_ADDRESS) from exc

    def _explain(self, exc: BaseException, url: str) -> Failed:
        host = urlsplit(url).hostname or ""
        return explain_exception(exc, self.show_url(url), host, self._connect_s, self._read_s)


def _resolve_redirect(url: str, location: str) -> str:
    """Resolve where a redirect leads to; ValueError if away from http and https, from https to http, or nowhere."""
    target = urlsplit(urljoin(url, location))
    if target.scheme not in ("http", "https") or not target.hostname:
        msg = "not an http(s) URL"
        raise ValueError(msg)
    if target.scheme == "http" and urlsplit(url).scheme == "https":
        msg = "the redirect goes from https to http"
        raise ValueError(msg)
    return requote_uri(_strip_user(target._replace(fragment="").geturl()))


def _strip_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _get_origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
