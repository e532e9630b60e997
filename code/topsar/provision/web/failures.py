"""What can go wrong between us and a service, told in words."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import requests
import urllib3

BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
"""What a request may raise; `ValueError` for addresses and headers that cannot be sent."""
ONLINE = "check that this machine is online, then try again"
TRY_LATER = "the service has trouble of its own: try again later"
WRONG = "try again later; if it stays so, look at what the service sends in a browser"
LONGEST_PAGE = 1 << 16
"""Characters of an error page that are looked at."""
PASSING = {202, 408, 425, 429}
"""Beside 5xx, statuses after which the same request may succeed."""
HINTS = {
    204: "the service has nothing for this: check place and time",
    401: "check user name, password, token or key",
    403: "check that the account may have this, and that its licence is accepted",
    404: "check the name; the service may not have it yet, or not any more",
    407: "give the proxy's user and password in HTTPS_PROXY",
    410: "the service does not have it any more",
    429: "the service's limit is reached: try again later, or with fewer at once",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service said: ``url`` is the last one after redirects, with secrets masked."""

    status: int
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", errors="replace")


class Failed(Exception):
    """An attempt that brought nothing.

    Parameters
    ----------
    reason, hint : str
    passing : bool
        Whether another attempt may succeed.
    wait_s : float
        Pause that the service asked for.
    answer : Answer, optional
        What the service said.
    spoiled : bool
        All of it came, and it is not what was asked for.
    stale : bool
        What was kept of an earlier attempt cannot be continued; nothing else is known to be wrong.
    """

    def __init__(
        self,
        reason: str,
        hint: str,
        *,
        passing: bool = False,
        wait_s: float = 0.0,
        answer: Answer | None = None,
        spoiled: bool = False,
        stale: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint
        self.passing, self.wait_s, self.answer = passing, wait_s, answer
        self.spoiled, self.stale = spoiled, stale


def misfit(reason: str, *, spoiled: bool = False) -> Failed:
    """The failure of a file that is not as announced."""
    return Failed(reason, WRONG, passing=True, spoiled=spoiled)


def excerpt(text: str, masked: Callable[[str], str], *, most: int = 200) -> str:
    """How a page begins, as a line of text; secrets are replaced before it is cut, which could leave half of one.

    Examples
    --------
    >>> excerpt("<html><h1>No   such file</h1>", str)
    'No such file'
    """
    page = masked(text[:LONGEST_PAGE])[: LONGEST_PAGE // 8]
    page = re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<head\b.*?</head>|<[^>]*>", " ", page)
    line = " ".join("".join(c if c.isprintable() else " " for c in page).split())
    return line if len(line) <= most else line[:most] + "..."


def refused(answer: Answer, place: str, reason: str, said: str) -> Failed:
    """The failure that an error status is.

    Parameters
    ----------
    answer : Answer
    place : str
        Who said it.
    reason, said : str
        What was said with the status, and in the body.
    """
    status, wait_s = answer.status, asked_pause(answer.headers.get("Retry-After", ""))
    told = f"{place} answered {status} {reason or http.client.responses.get(status, '')}".rstrip()
    told += f": {said}" if said else ""
    told += f" (asks to wait {wait_s:.0f} s)" if wait_s else ""
    passing = status in PASSING or status >= 500
    hint = HINTS.get(status, TRY_LATER if passing else "check what was asked for, and the address")
    return Failed(told, hint, passing=passing, wait_s=wait_s, answer=answer)


def asked_pause(text: str) -> float:
    """Seconds that ``Retry-After`` asks for, as a number or a date; 0 where it says neither.

    Examples
    --------
    >>> asked_pause("120"), asked_pause("Wed, 21 Oct 2015 07:28:00 GMT"), asked_pause("soon")
    (120.0, 0.0, 0.0)
    """
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - datetime.now(timezone.utc)).total_seconds())


def network_failure(exc: BaseException, place: str, host: str, connect_s: float, read_s: float) -> Failed:
    """What an exception of `requests` or below it says.

    Parameters
    ----------
    exc : BaseException
    place, host : str
        Address that was asked, secrets masked; its host.
    connect_s, read_s : float
        Time limits.
    """
    chain = tuple(_chain(exc))
    if _any(chain, requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        msg, hint = f"{place} cannot be reached through the proxy", "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
        return Failed(msg, hint, passing=not any(" 407 " in str(one) for one in chain))
    if _any(chain, ssl.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        return _tls_failure(chain, place)
    passing = {
        f"the name {host} cannot be resolved": (socket.gaierror, urllib3.exceptions.NameResolutionError),
        f"{place} refuses connections": (ConnectionRefusedError,),
        f"no connection to {place} within {connect_s:g} s": (requests.ConnectTimeout,),
        f"{place} said nothing for {read_s:g} s": (TimeoutError, requests.Timeout, urllib3.exceptions.ReadTimeoutError),
        f"what {place} sent cannot be unpacked": (urllib3.exceptions.DecodeError,),
        f"{place} broke off the connection": (
            ConnectionError, http.client.IncompleteRead, urllib3.exceptions.IncompleteRead
        ),
        f"{place} does not answer as web servers do": (http.client.HTTPException, urllib3.exceptions.InvalidHeader),
    }  # fmt: skip
    for reason, kinds in passing.items():
        if _any(chain, *kinds):
            return Failed(reason, ONLINE, passing=True)
    kind = type(chain[-1]).__name__
    if isinstance(exc, (ValueError, urllib3.exceptions.LocationValueError)):
        return Failed(f"{place} cannot be asked for ({kind})", "check the address and the credentials")
    return Failed(f"{place} cannot be reached ({kind})", ONLINE, passing=True)


def _tls_failure(chain: tuple[BaseException, ...], place: str) -> Failed:
    if _any(chain, ssl.SSLCertVerificationError):
        msg = f"{place} shows a certificate that this machine does not trust"
        return Failed(msg, "check the machine's clock; behind a proxy that opens TLS, set REQUESTS_CA_BUNDLE")
    if any(re.search("wrong.version.number|record.layer", str(one), re.IGNORECASE) for one in chain):
        return Failed(f"{place} does not speak TLS", "check the address: https, or http")
    return Failed(f"no secure connection to {place}", ONLINE, passing=True)


def _any(chain: tuple[BaseException, ...], *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in chain)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and those inside it, from the outside in."""
    waiting, seen = [exc], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            inner = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
            waiting += [other for other in inner if isinstance(other, BaseException)]
