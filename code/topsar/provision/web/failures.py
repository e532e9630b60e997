"""Failures of services and networks, in words."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum

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
    """What a service said."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", errors="replace")


class Kind(Enum):
    """What a failure means for the next attempt."""

    FINAL = "another attempt would fail too"
    PASSING = "another attempt may succeed"
    SPOILED = "all of it came, and it is not what was asked for"
    STALE = "what was kept of an earlier attempt cannot be continued; nothing else is known to be wrong"


class Failed(Exception):
    """An attempt that brought nothing; ``wait_s`` is the pause that the service asked for, ``answer`` what it said."""

    def __init__(
        self, reason: str, hint: str, kind: Kind = Kind.FINAL, *, wait_s: float = 0.0, answer: Answer | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.kind = reason, hint, kind
        self.wait_s, self.answer = wait_s, answer

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may succeed."""
        return self.kind is not Kind.FINAL


def excerpt(text: str, mask: Callable[[str], str], *, most: int = 200) -> str:
    """Quote the beginning of a page as one line of text.

    Parameters
    ----------
    text : str
    mask : callable
        Replaces secrets, before the text is cut: half a secret would not be known for one.
    most : int
        Characters.
    """
    page = mask(text[:LONGEST_PAGE])[: LONGEST_PAGE // 8]
    page = re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<head\b.*?</head>|<[^>]*>", " ", page)
    line = " ".join("".join(c if c.isprintable() else " " for c in page).split())
    return line if len(line) <= most else line[:most] + "..."


def explain_status(answer: Answer, place: str, reason: str, said: str) -> Failed:
    """Explain an error status.

    Parameters
    ----------
    answer : Answer
    place : str
        Who said it.
    reason, said : str
        What was said with the status, and in the body.
    """
    status, wait_s = answer.status, _read_pause(answer.headers.get("Retry-After", ""))
    told = f"{place} answered {status} {reason or http.client.responses.get(status, '')}".rstrip()
    told += f": {said}" if said else ""
    told += f" (asks to wait {wait_s:.0f} s)" if wait_s else ""
    kind = Kind.PASSING if status in PASSING or status >= 500 else Kind.FINAL
    hint = HINTS.get(status, TRY_LATER if kind is Kind.PASSING else "check what was asked for, and the address")
    return Failed(told, hint, kind, wait_s=wait_s, answer=answer)


def _read_pause(text: str) -> float:
    """Read the seconds that ``Retry-After`` asks for, as a number or a date; 0 where it says neither."""
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - datetime.now(timezone.utc)).total_seconds())


def explain_exception(exc: BaseException, place: str, host: str, connect_s: float, read_s: float) -> Failed:
    """Explain an exception of `requests` or of the layers below it.

    Parameters
    ----------
    exc : BaseException
    place, host : str
        Address that was asked, secrets masked; its host.
    connect_s, read_s : float
        Time limits.
    """
    chain = tuple(_unwrap(exc))
    if _holds(chain, requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        msg, hint = f"{place} cannot be reached through the proxy", "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
        is_refusal = any(" 407 " in str(one) for one in chain)
        return Failed(msg, hint, Kind.FINAL if is_refusal else Kind.PASSING)
    if _holds(chain, ssl.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        return _explain_tls(chain, place)
    reasons = {
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
    for reason, kinds in reasons.items():
        if _holds(chain, *kinds):
            return Failed(reason, ONLINE, Kind.PASSING)
    kind = type(chain[-1]).__name__
    if isinstance(exc, (ValueError, urllib3.exceptions.LocationValueError)):
        return Failed(f"{place} cannot be asked for ({kind})", "check the address and the credentials")
    return Failed(f"{place} cannot be reached ({kind})", ONLINE, Kind.PASSING)


def _explain_tls(chain: tuple[BaseException, ...], place: str) -> Failed:
    if _holds(chain, ssl.SSLCertVerificationError):
        msg = f"{place} shows a certificate that this machine does not trust"
        return Failed(msg, "check the machine's clock; behind a proxy that opens TLS, set REQUESTS_CA_BUNDLE")
    if any(re.search("wrong.version.number|record.layer", str(one), re.IGNORECASE) for one in chain):
        return Failed(f"{place} does not speak TLS", "check the address: https, or http")
    return Failed(f"no secure connection to {place}", ONLINE, Kind.PASSING)


def _holds(chain: tuple[BaseException, ...], *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in chain)


def _unwrap(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those inside it, from the outside in."""
    waiting, seen = [exc], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            inner = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
            waiting += [other for other in inner if isinstance(other, BaseException)]
