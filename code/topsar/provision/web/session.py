"""One exchange with a service: a request, its redirects, its answer."""

from __future__ import annotations

import base64
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    excerpt,
    network_failure,
    refused,
)

MOST_REDIRECTS = 10
LEAST_BYTES = 1024
"""A body that brings less than this within the time limit for reading is a connection that hangs."""
CHUNK = 1 << 18
CONFIDENTIAL = {"authorization", "cookie", "proxy-authorization"}
CHECK_ADDRESS = "check the address of the service"

for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(lambda _: False)  # they log whole addresses, keys and all


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a service; a form is posted."""

    url: str
    params: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    trusted: Sequence[str] = ()


def request_for(
    url: str,
    *,
    params: Mapping[str, Any] | None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None,
    trusted: Sequence[str] = (),
) -> Request:
    """A request; user and password in the address become a header.

    Raises
    ------
    ValueError
        If the address is none.
    """
    parts, sent = urlsplit(url), dict(headers or {})
    if parts.username is not None and not any(name.lower() == "authorization" for name in sent):
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        msg = "no address of the web"
        raise ValueError(msg)
    return Request(url=_without_user(url), params=params, form=form, headers=sent, trusted=tuple(trusted))


class _Session(requests.Session):
    """One that leaves redirects to us: it would read their bodies, however long, and their addresses, however odd."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 (the signature is theirs)
        """None."""
        return None

    def location(self, response: requests.Response) -> str | None:
        """Where an answer redirects to, if it does."""
        return super().get_redirect_target(response)


class Exchange:
    """Sends requests and follows redirects.

    Each thread has its own connections; cookies are shared. Proxies and certificates are those of the environment,
    as `requests` reads them; ``~/.netrc`` is not read.

    Parameters
    ----------
    connect_s, read_s : float
        Time limits.
    masked : callable
        Replaces secrets in text.
    """

    def __init__(self, *, connect_s: float, read_s: float, masked: Callable[[str], str]) -> None:
        self._connect_s, self._read_s, self._masked = connect_s, read_s, masked
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

        Raises
        ------
        Failed
            No answer, or a redirect that must not be followed.
        """
        url, params, form = request.url, request.params, request.form
        for _ in range(MOST_REDIRECTS + 1):
            response = self._send(url, params, form, {**self._allowed(request, url), **more})
            location = self._session.location(response)
            if location is None or response.status_code in accept:
                return response
            response.close()
            target = self._redirected(url, location)
            if response.status_code not in (307, 308):
                form = None
            elif form is not None and _origin(target) != _origin(request.url):
                msg = f"{self.place(url)} wants the form sent to another host, {self.place(target)}"
                raise Failed(msg, CHECK_ADDRESS)
            url, params = target, None
        msg = f"{self.place(request.url)} leads to more than {MOST_REDIRECTS} redirects"
        raise Failed(msg, CHECK_ADDRESS)

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The body, piece by piece as it comes.

        Raises
        ------
        Failed
            The connection breaks off, or hardly anything comes.
        """
        begun, got = time.monotonic(), 0
        while True:
            try:
                piece = response.raw.read1(CHUNK, decode_content=True)
            except BROKEN as exc:
                raise self._failure(exc, response.url) from exc
            if not piece:
                return
            yield piece
            got, now = got + len(piece), time.monotonic()
            if now - begun > self._read_s:
                if got < LEAST_BYTES:
                    msg = f"{self.place(response.url)} sent only {got} bytes in {now - begun:.3g} s"
                    raise Failed(msg, ONLINE, passing=True)
                begun, got = now, 0

    def answer(self, response: requests.Response, body: bytes) -> Answer:
        """What is handed to those who asked."""
        url = self._masked(response.url)
        return Answer(status=response.status_code, url=url, headers=response.headers, body=body)

    def refused(self, response: requests.Response) -> Failed:
        """The failure that an error status is; what answers a form is not quoted, as it may hold a token."""
        body = bytearray()
        with contextlib.suppress(Failed):  # the status says enough
            for piece in self.pieces(response):
                body += piece
                if len(body) >= LONGEST_PAGE:
                    break
        answer = self.answer(response, bytes(body[:LONGEST_PAGE]))
        said = "" if response.request.method == "POST" else excerpt(answer.text, self._masked)
        return refused(answer, self.place(response.url), response.reason or "", said)

    def place(self, url: str) -> str:
        """Address without query and user, secrets masked."""
        parts = urlsplit(_without_user(url))
        return self._masked(f"{parts.scheme}://{parts.netloc}{parts.path}")

    @property
    def _session(self) -> _Session:
        if not hasattr(self._here, "session"):
            session = _Session()
            session.auth = lambda request: request  # without one of ours, requests looks into ~/.netrc
            session.cookies = self._cookies
            session.headers["User-Agent"] = f"topsar/{__version__}"
            self._here.session = session
        found: _Session = self._here.session
        return found

    def _send(
        self, url: str, params: Mapping[str, Any] | None, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> requests.Response:
        try:
            return self._session.request(
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
            raise self._failure(exc, url) from exc

    def _allowed(self, request: Request, url: str) -> dict[str, str]:
        """The headers that may go to this address."""
        known = {urlsplit(url).hostname, urlsplit(url).netloc}
        if _origin(url) == _origin(request.url) or not known.isdisjoint(request.trusted):
            return dict(request.headers)
        return {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in CONFIDENTIAL and self._masked(value) == value
        }

    def _redirected(self, url: str, location: str) -> str:
        try:
            return redirected(url, location)
        except ValueError as exc:
            msg = f"{self.place(url)} redirects to {self._masked(location)[:200]}: {exc}"
            raise Failed(msg, CHECK_ADDRESS) from exc

    def _failure(self, exc: BaseException, url: str) -> Failed:
        host = urlsplit(url).hostname or ""
        return network_failure(exc, self.place(url), host, self._connect_s, self._read_s)


def redirected(url: str, location: str) -> str:
    """The address that a redirect leads to.

    Parameters
    ----------
    url : str
        Where the redirect came from.
    location : str
        What it says.

    Raises
    ------
    ValueError
        If it leads away from http and https, from https to http, or nowhere.

    Examples
    --------
    >>> redirected("https://a.org/x/y?z=1", "../w")
    'https://a.org/w'
    >>> redirected("https://a.org/x", "http://a.org/x")
    Traceback (most recent call last):
    ValueError: that way is not encrypted, and the one before was
    """
    target = urlsplit(urljoin(url, location))
    if target.scheme not in ("http", "https") or not target.hostname:
        msg = "no address of the web"
        raise ValueError(msg)
    if target.scheme == "http" and urlsplit(url).scheme == "https":
        msg = "that way is not encrypted, and the one before was"
        raise ValueError(msg)
    return requote_uri(_without_user(target._replace(fragment="").geturl()))


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
