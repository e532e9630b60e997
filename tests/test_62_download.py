"""Downloads over real sockets, from servers that do everything that networks do."""

from __future__ import annotations

import base64
import contextlib
import errno
import gc
import gzip
import hashlib
import json
import logging
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from services.loopback import Asked, Loopback, Reply
from topsar.errors import ProvisionError, TopsarError
from topsar.provision.web import client as download
from topsar.provision.web import failures, session, transfer
from topsar.provision.web.client import Fetcher, Patience, Wanted
from topsar.provision.web.failures import Answer
from topsar.provision.web.secrets import Masker

BODY = b"GOOD" + random.Random(1).randbytes(60_000)
LONG = b"GOOD" + random.Random(2).randbytes(3_000_000)
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
SECRET, TOKEN = "p/w+d &s3cr'et", "tok.en-0123456789abcdef"
WHAT = "orbit file 42"
HTML = b"<html><head><title>x</title></head><body>Please <b>log in</b></body></html>"
ETAG = {"ETag": '"v1"'}
FAST: Mapping[str, Any] = {"attempts": 3, "backoff_s": 0.01, "connect_s": 1.0, "read_s": 0.4}


def is_good(path: Path) -> None:
    if not path.read_bytes().startswith(b"GOOD"):
        msg = f"{path.name} does not begin with GOOD"
        raise ProvisionError(msg, hint="look at it")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "LONGEST_PAUSE_S", 0.05)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# --- servers below the level of HTTP ----------------------------------------------------------------------------


Rudeness = Callable[[socket.socket], None]


class Rude:
    """A server that sends bytes as they are, whatever was asked, one script per connection; the last one stays."""

    def __init__(self, scripts: Sequence[bytes | Rudeness]) -> None:
        self.scripts, self.asked = list(scripts), list[Asked]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Rude:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._socket.accept()[0]
                with connection, contextlib.suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = connection.recv(65536)
        while b"\r\n\r\n" not in head and head[:1] != b"\x16":  # which is how TLS begins
            head += connection.recv(65536)
        lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:]]
        headers = {name.lower(): value for name, _, value in lines if name}
        self.asked.append(Asked(method="GET", path="/", query={}, headers=headers, body=b"", host=""))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if callable(script):
            script(connection)
        else:
            connection.sendall(script)
            connection.shutdown(socket.SHUT_WR)


def http(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """An answer as bytes, ended by the end of the connection where no header tells its length."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""]).encode() + body


def chunked(body: bytes, *, end: bytes = b"0\r\n\r\n") -> bytes:
    return http(f"{len(body):x}\r\n".encode() + body + b"\r\n" + end, "Transfer-Encoding: chunked")


def trickle(connection: socket.socket) -> None:
    connection.sendall(http(b"", f"Content-Length: {len(BODY)}", 'ETag: "v1"'))
    for octet in BODY:
        connection.sendall(bytes([octet]))
        time.sleep(0.03)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hello_and_goodbye(connection: socket.socket) -> None:
    """End a TLS handshake in its middle."""
    connection.shutdown(socket.SHUT_WR)


PAST = "Wed, 21 Oct 2015 07:28:00 GMT"


def later(seconds: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


# --- the table --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What a server does, and what comes of it.

    Attributes
    ----------
    replies : sequence
        Answers in turn; the last one stays. Bytes and functions are sent as they are.
    error : str
        Part of the message, or nothing where the file comes in the end.
    final : bool
        Whether trying again is of no use.
    requests : int, optional
        How often the server is asked.
    ranges : sequence
        ``Range`` of each request, where it matters.
    given : mapping
        Further arguments of `Fetcher.download`.
    other : int
        Requests to the other server, to which redirects with OTHER lead.
    """

    name: str
    replies: Sequence[Reply | bytes | Rudeness]
    error: str = ""
    final: bool = False
    requests: int | None = None
    ranges: Sequence[str | None] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    other: int = 0


WHOLE = Reply(body=BODY, ranges=True, headers=ETAG)
KNOWN: Mapping[str, Any] = {"size": len(BODY)}
PROVEN: Mapping[str, Any] = {"md5": MD5}
HALF = "bytes=30000-"


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status=code, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def to(location: str, code: int = 302) -> Reply:
    return status(code, b"moved", Location=location)


def ranged(said: str, body: bytes = BODY[30_000:], **headers: str) -> Reply:
    return status(206, body, Content_Range=said, **headers)


CUT = replace(WHOLE, cut_at=30_000)
PLAIN = Reply(body=BODY)
SLOW = [
    Fault("first byte too late, once", [replace(WHOLE, delay_s=0.8), WHOLE], requests=2),
    Fault("first byte too late, always", [replace(WHOLE, delay_s=0.8)], requests=3, error="said nothing for"),
    Fault("trickling, once", [trickle, http(BODY)], requests=2),
    Fault("trickling, always", [trickle], requests=3, error="sent only"),
    Fault("slow and steady", [replace(WHOLE, slow_s=0.1)], requests=1),
]
BROKEN = [
    Fault("closed before an answer, once", [b"", http(BODY)], requests=2),
    Fault("closed before an answer, always", [b""], requests=3, error="broke off the connection"),
    Fault("reset before an answer, once", [reset, http(BODY)], requests=2),
    Fault("reset before an answer, always", [reset], requests=3, error="broke off the connection"),
    Fault("reset after the headers", [replace(WHOLE, reset_at=0), WHOLE], requests=2),
    Fault("reset midway, once", [replace(WHOLE, reset_at=30_000), WHOLE], requests=2),
    Fault("reset midway, always", [replace(PLAIN, reset_at=30_000)], error="broke off", requests=3),
    Fault("cut midway, continued", [CUT, WHOLE], ranges=[None, HALF]),
    Fault("cut midway, by date", [
        Reply(body=BODY, cut_at=30_000, headers={"Last-Modified": PAST}),
        Reply(body=BODY, ranges=True, headers={"Last-Modified": PAST}),
    ], ranges=[None, HALF]),
    Fault("cut midway, nothing to tell versions", [replace(PLAIN, cut_at=30_000), PLAIN], ranges=[None] * 2),
    Fault("cut midway, weak tag", [replace(CUT, headers={"ETag": 'W/"v1"'}), WHOLE], ranges=[None] * 2),
    Fault(
        "cut midway, checksum known",
        [replace(PLAIN, cut_at=30_000), replace(PLAIN, ranges=True)],
        ranges=[None, HALF],
        given=PROVEN,
    ),
    Fault("cut one byte before the end", [replace(CUT, cut_at=len(BODY) - 1), WHOLE], requests=2),
    Fault("cut midway, always", [replace(PLAIN, cut_at=30_000)], requests=3, error="broke off"),
    Fault("cut twice", [CUT, replace(WHOLE, cut_at=10_000), WHOLE], ranges=[None, HALF, "bytes=40000-"]),
    Fault("end of connection is the end", [http(BODY)], requests=1),
    Fault("cut, no length told, once", [http(BODY[:999]), http(BODY)], given=KNOWN, requests=2),
    Fault("cut, no length told, always", [http(BODY[:999])], given=KNOWN, error="sent 999 bytes of 60004"),
    Fault("chunks", [chunked(BODY)], requests=1),
    Fault("chunks cut, once", [chunked(BODY[:999], end=b""), chunked(BODY)], requests=2),
    Fault("chunks cut, always", [chunked(BODY[:999], end=b"")], requests=3, error="broke off"),
    Fault("chunks of no size", [chunked(BODY, end=b"zz\r\n"), chunked(BODY)], requests=2),
    Fault("resets again and again, then not", [reset, reset, http(BODY)], requests=3),
]  # fmt: skip
LENGTHS = [
    Fault("longer told than sent, once", [replace(PLAIN, claims=len(BODY) + 9), PLAIN], requests=2),
    Fault("longer told than sent, always", [replace(PLAIN, claims=len(BODY) + 9)], error="broke off"),
    Fault(
        "shorter told than expected, always",
        [replace(PLAIN, claims=100)],
        given=KNOWN,
        error="offers 100 bytes, 60004 were expected",
    ),
    Fault("shorter told, checksum known", [replace(PLAIN, claims=100), PLAIN], given=PROVEN, requests=2),
    Fault("wrong length offered, once", [Reply(body=BODY + b"x"), PLAIN], given=KNOWN, requests=2),
    Fault("too long, no length told, once", [http(BODY + b"x"), http(BODY)], given=KNOWN, requests=2),
    Fault("too long, always", [http(BODY + b"x")], given=KNOWN, requests=2, error="sent more than the 60004"),
    Fault("length of many digits", [http(BODY, "Content-Length: " + "9" * 5000)], requests=1),
    Fault("length that is no number", [http(BODY, "Content-Length: many")], requests=1),
]  # fmt: skip
CONTENT = [
    Fault("empty, once", [Reply(), PLAIN], requests=2),
    Fault("empty, always", [Reply()], requests=2, error="sent an empty file"),
    Fault("HTML with 200, once", [Reply(body=HTML), PLAIN], requests=2),
    Fault("HTML with 200, always", [Reply(body=HTML)], requests=2, error="does not begin with GOOD"),
    Fault("nothing there (204)", [status(204)], requests=1, error="204 No Content", final=True),
    Fault("not ready (202), once", [status(202, b"wait"), PLAIN], requests=2),
    Fault("not ready (202), always", [status(202, b"wait")], requests=3, error="202 Accepted: wait"),
    Fault("part unasked", [ranged("bytes 30000-60003/60004")], error="206", final=True, requests=1),
    Fault("wrong checksum, once", [Reply(body=BODY[:-1] + b"!"), PLAIN], given=PROVEN, requests=2),
    Fault("wrong checksum, always", [Reply(body=BODY[:-1] + b"!")], given=PROVEN, error="MD5", requests=2),
    Fault("packed unasked", [Reply(body=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})]),
    Fault(
        "packed and cut",
        [
            Reply(body=gzip.compress(BODY), headers={"Content-Encoding": "gzip", **ETAG}, cut_at=30_000),
            Reply(body=gzip.compress(BODY), headers={"Content-Encoding": "gzip", **ETAG}),
        ],
        ranges=[None, None],
    ),
    Fault(
        "said to be packed, always",
        [Reply(body=BODY, headers={"Content-Encoding": "gzip"})],
        error="cannot be unpacked",
    ),
    Fault(
        "packed in no known way",
        [Reply(body=b"\x01" + BODY, headers={"Content-Encoding": "zork"})],
        error="does not begin with GOOD",
    ),
    Fault(
        "unknown charset",
        [status(400, b"\xff\xfe broken", Content_Type="text/html; charset=klingon")],
        error="400 Bad Request: \ufffd\ufffd broken",
        final=True,
    ),
]
HOP = "/elsewhere"
REDIRECTS = [
    *(Fault(f"redirect {code}", [to(HOP, code), PLAIN], requests=2) for code in (301, 302, 303, 307, 308)),
    Fault("ten redirects", [*[to(HOP)] * 10, PLAIN], requests=11),
    Fault("eleven redirects", [*[to(HOP)] * 11, PLAIN], error="more than 10 redirects", final=True),
    Fault("redirect to itself", [to("?")], error="more than 10 redirects", final=True, requests=11),
    Fault("redirect to nowhere", [to("https:///x")], error="not an http(s) URL", final=True),
    Fault("redirect to no address", [to("http://[::1/x")], error="redirects to", final=True),
    Fault("redirect to a file", [to("file:///etc/passwd")], error="not an http(s) URL", final=True),
    Fault("redirect without address", [status(302)], error="302 Found", final=True, requests=1),
    Fault("redirect to another host", [to("OTHER/x")], other=1),
    Fault("redirect to another host, 307", [to("OTHER/x", 307)], other=1),
    Fault("redirect to a trusted host", [to("OTHER/x")], other=1, given={"trusted": ["OTHER"]}),
    Fault("redirect with somebody's password", [to("http://me:pw@HOST/x")], other=1),
    Fault("redirect to another host that is down", [to("http://127.0.0.1:9/x")], error="refuses connections"),
    Fault("redirect to another host, after trouble", [status(503), to("OTHER/x")], other=1, requests=2),
]  # fmt: skip
STATUSES = [
    *(
        Fault(f"status {code}", [status(code, b"no")], requests=1, error=f"answered {code}", final=True)
        for code in (400, 401, 403, 404, 405, 407, 410, 416, 451)
    ),
    *(
        Fault(f"status {code}, once", [status(code, HTML), PLAIN], requests=2)
        for code in (408, 425, 429, 500, 502, 503, 504, 520)
    ),
    *(
        Fault(f"status {code}, always", [status(code, HTML)], requests=3, error=f"answered {code}")
        for code in (429, 500, 502, 503, 504)
    ),
    Fault("429 for a day", [status(429, Retry_After="86400")], error="asks to wait 86400 s", requests=3),
    Fault("error after half of it", [CUT, status(500), WHOLE], ranges=[None, HALF, HALF]),
    Fault("refused after half of it", [CUT, status(403)], error="answered 403", final=True, requests=2),
]  # fmt: skip
CONTINUED = [
    Fault("Range ignored", [CUT, replace(WHOLE, ranges=False)], ranges=[None, HALF]),
    *(
        Fault(f"part of another kind: {said}", [CUT, ranged(said), WHOLE], ranges=[None, HALF, None])
        for said in ("bytes 0-60003/60004", "bytes 30000-60003/70000", "bytes */60004", "octets", "")
    ),
    Fault("part, length not told", [CUT, ranged("bytes 30000-60003/*")], ranges=[None, HALF]),
    Fault(
        "less than the rest",
        [CUT, ranged("bytes 30000-39999/60004", BODY[30_000:40_000]), WHOLE],
        ranges=[None, HALF, "bytes=40000-"],
    ),
    Fault("416 for the rest", [CUT, status(416), WHOLE], ranges=[None, HALF, None]),
    Fault("tag changed, If-Range not known", [
        replace(CUT, body=LONG[: len(BODY)]), replace(WHOLE, headers={"ETag": '"v2"'}),
    ], ranges=[None, HALF, None]),
    Fault("tag changed, all sent again", [
        replace(CUT, body=LONG[: len(BODY)]), replace(WHOLE, ranges=False, headers={"ETag": '"v2"'}),
    ], ranges=[None, HALF]),
    Fault(
        "rest does not fit, checksum tells",
        [replace(PLAIN, body=LONG[: len(BODY)], cut_at=30_000), replace(WHOLE, headers={})],
        ranges=[None, HALF, None],
        given=PROVEN,
    ),
]  # fmt: skip
NETWORK = [
    Fault("name unknown", [PLAIN], url="http://nowhere.invalid/x", error="nowhere.invalid cannot be resolved"),
    Fault("nobody listens", [PLAIN], url="http://127.0.0.1:9/x", error="refuses connections"),
    Fault("TLS to a plain port", [PLAIN], url="https://HERE/x", error="does not speak TLS", final=True),
    Fault("TLS, and the end", [hello_and_goodbye], url="https://HERE/x", error="no secure connection"),
    Fault("address without host", [PLAIN], url="http:///x", error="not an http(s) URL", final=True),
    Fault("address of no kind", [PLAIN], url="gopher://HERE/x", error="not an http(s) URL", final=True),
    Fault("port of no kind", [PLAIN], url="http://127.0.0.1:x/", error="not an http(s) URL", final=True),
    Fault("no HTTP", [b"SSH-2.0-OpenSSH_9.9\r\n", http(BODY)], requests=2),
    Fault("no HTTP, always", [b"SSH-2.0-OpenSSH_9.9\r\n"], requests=3, error="does not answer as web servers"),
    Fault("very long header", [http(BODY, "X: " + "x" * 70_000), http(BODY)], requests=2),
    Fault("many headers", [http(BODY, *["X: x"] * 150), http(BODY)], requests=2),
    Fault("header without colon", [http(BODY, "whatever this is")], requests=1),
]  # fmt: skip
QUOTED = quote(SECRET, safe="")
ECHOES = [
    Fault("secret in the body", [status(400, SECRET.encode())], error="********", final=True),
    Fault("secret in the body, quoted", [status(400, quote(SECRET).encode())], error="***", final=True),
    Fault("secret in the body, JSON", [status(503, json.dumps({"k": SECRET, "t": TOKEN}).encode())], error="*"),
    Fault("secret after a long body", [status(400, b"a " * 98 + SECRET.encode())], error="a a", final=True),
    Fault("secret in the reason", [http(b"", status=f"500 {SECRET}")], error="500 ********", requests=3),
    Fault("secret in a broken status", [f"{SECRET} {TOKEN}\r\n".encode()], error="as web servers do"),
    Fault("secret in a redirect", [to(f"ftp://x/{quote(SECRET)}")], error="ftp://x/***", final=True),
    Fault("secret in a redirect to nowhere", [to(f"http://127.0.0.1:9/{TOKEN}")], error="127.0.0.1:9/***"),
    Fault("secret in a redirect's query", [to(f"/x?API_Key={quote(SECRET)}"), status(404)], error="404", final=True),
    Fault("secret as tag", [replace(CUT, headers={"ETag": f'"{TOKEN}"'}), WHOLE], ranges=[None, None]),
    Fault("secret as content", [Reply(body=TOKEN.encode())], error="does not begin with GOOD"),
    Fault("secret in the address", [status(404)], url=f"http://me:{QUOTED}@HERE/{TOKEN}", error="404", final=True),
]  # fmt: skip
FAULTS = [*SLOW, *BROKEN, *LENGTHS, *CONTENT, *REDIRECTS, *STATUSES, *CONTINUED, *NETWORK, *ECHOES]


class Playing:
    """A handler that gives the answers of one fault after another."""

    def __init__(self) -> None:
        self.waiting: list[Reply] = []
        self._turn = threading.Lock()

    def __call__(self, _: Asked) -> Reply:
        with self._turn:
            return self.waiting.pop(0) if len(self.waiting) > 1 else self.waiting[0]


PLAYING = Playing()


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback(PLAYING) as server:
        yield server


@contextlib.contextmanager
def serving(fault: Fault, server: Loopback, other: str) -> Iterator[Loopback | Rude]:
    """A server that answers as the table says."""
    rude = [reply for reply in fault.replies if not isinstance(reply, Reply)]
    if rude:
        with Rude(rude) as instead:
            yield instead
        return
    place = other.removeprefix("http://")
    PLAYING.waiting = [
        replace(reply, headers={k: v.replace("OTHER", other).replace("HOST", place) for k, v in reply.headers.items()})
        for reply in fault.replies
        if isinstance(reply, Reply)
    ]
    server.asked.clear()
    yield server


def everything_said(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    told = ["".join(traceback.format_exception(error)), repr(error), str(error), caplog.text]
    if isinstance(error, TopsarError):
        told += [error.message, error.hint]
    return "\n".join(told)


def assert_no_secret(text: str) -> None:
    for secret in (SECRET, TOKEN):
        inside = base64.b64encode(secret.encode()).decode()[:-4]
        assert quote_plus(secret) not in text
        for form in (
            secret,
            quote(secret),
            quote(secret, safe=""),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
            inside,
        ):
            assert form not in text


@pytest.fixture(scope="module")
def other() -> Iterator[Loopback]:
    with Loopback(lambda _: PLAIN) as server:
        yield server


def unresolved(host: str | None, *rest: Any, **more: Any) -> Any:
    if host and host.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return RESOLVE(host, *rest, **more)


RESOLVE = socket.getaddrinfo


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault(
    fault: Fault,
    server: Loopback,
    other: Loopback,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    target = tmp_path / "folder" / "orbit.EOF"
    error = None
    other.asked.clear()
    with serving(fault, server, other.url) as asked:
        place = asked.url.removeprefix("http://")
        given = {**fault.given}
        if "trusted" in given:
            given["trusted"] = [other.url.removeprefix("http://")]
        try:
            found = fetcher().download(
                Wanted(
                    url=fault.url.replace("HERE", place) or f"{asked.url}/x",
                    path=target,
                    what=WHAT,
                    check=is_good,
                    params={"API_Key": SECRET},
                    headers={"Authorization": f"Bearer {TOKEN}", "X-Key": SECRET.replace("/", "x")},
                    **given,
                )
            )
        except ProvisionError as exc:
            error = exc
        else:
            assert found == target
    assert_right_end(fault, error, target)
    assert_right_requests(fault, asked.asked, other.asked)
    if error is not None:
        assert_no_secret(everything_said(error, caplog))
    assert_no_secret(caplog.text)
    for path in tmp_path.rglob("*.json"):
        assert_no_secret(path.read_text())
    assert not [path for path in tmp_path.rglob("*") if quote(SECRET, safe="") in path.name or TOKEN in path.name]


def assert_right_end(fault: Fault, error: ProvisionError | None, target: Path) -> None:
    if fault.error:
        assert error is not None
        assert error.message.startswith(f"{WHAT}: ")
        assert fault.error in error.message
        assert error.hint
        assert error.retryable is not fault.final
        assert error.__cause__ is None
        assert error.__context__ is None
        assert not target.exists()
    else:
        assert error is None
        assert target.read_bytes() == BODY
        assert [path.name for path in target.parent.iterdir()] == [target.name]
    left = {path.name for path in target.parent.glob("*")}
    assert left <= {target.name, f"{target.name}.part", f"{target.name}.part.json"}


def assert_right_requests(fault: Fault, asked: Sequence[Asked], elsewhere: Sequence[Asked]) -> None:
    if fault.requests is not None:
        assert len(asked) == fault.requests
    if fault.ranges is not None:
        assert [one.headers.get("range") for one in asked] == list(fault.ranges)
    assert len(elsewhere) == fault.other
    for one in elsewhere:
        assert ("authorization" in one.headers) is ("trusted" in fault.given)


# --- files ------------------------------------------------------------------------------------------------------


def fetcher(**more: Any) -> Fetcher:
    patience = {key: more.pop(key, value) for key, value in FAST.items()}
    return Fetcher(**{"secrets": [SECRET], **more}, patience=Patience(**patience))


def fetch(server: Loopback | Rude, path: Path, by: Fetcher | None = None, **given: Any) -> Path:
    known = {"url": f"{server.url}/x", "what": WHAT, "check": is_good, **given}
    return (by or fetcher()).download(Wanted(path=path, **known))


def refusal(function: Callable[[], object]) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        function()
    assert WHAT in caught.value.message
    assert caught.value.hint
    return caught.value


def test_good_file_is_used_without_a_request(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(BODY)
    with Loopback(lambda _: WHOLE) as server:
        assert fetch(server, path, size=len(BODY), md5=MD5.upper()) == path
        assert server.asked == []


@pytest.mark.parametrize("given", [{"size": 7}, {"md5": "0" * 32}, {}])
def test_bad_file_is_replaced(tmp_path: Path, given: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"GOOD once" if given else b"bad")
    wanted = {**given, "size": len(BODY)} if "size" in given else {**given, "md5": MD5} if given else {}
    with Loopback(lambda _: WHOLE) as server:
        fetch(server, path, **wanted)
    assert path.read_bytes() == BODY
    assert f"{path} is not used" in caplog.text


def test_bad_file_stays_until_there_is_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"bad")
    with Loopback(lambda _: Reply(body=HTML)) as server:
        refusal(lambda: fetch(server, path))
    assert path.read_bytes() == b"bad"
    assert list(tmp_path.iterdir()) == [path]


def test_offline(tmp_path: Path) -> None:
    path, by = tmp_path / "new" / "x", fetcher(offline=True)
    with Loopback(lambda _: WHOLE) as server:
        error = refusal(lambda: fetch(server, path, by))
        assert error.message == f"{WHAT}: {path} is missing, and OFFLINE=1 forbids the network"
        assert "OFFLINE=0" in error.hint
        assert "OFFLINE=1" in refusal(lambda: by.ask(server.url, what=WHAT)).message
        assert list(tmp_path.iterdir()) == []
        path.parent.mkdir()
        path.write_bytes(b"bad")
        assert "is damaged" in refusal(lambda: fetch(server, path, by)).message
        path.write_bytes(BODY)
        assert fetch(server, path, by) == path
        assert server.asked == []


def test_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with Loopback(lambda _: WHOLE) as server:
            assert fetch(server, tmp_path / "x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mask)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Loopback(lambda _: WHOLE) as server:
        error = refusal(lambda: fetch(server, tmp_path / "file" / "x"))
        assert server.asked == []
    assert f"cannot write {tmp_path / 'file' / 'x'}: " in error.message
    assert str(tmp_path / "file") in error.hint


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(self: Path, *_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    with Loopback(lambda _: WHOLE) as server, monkeypatch.context() as patched:
        patched.setattr(transfer.Path, "open", read_only)
        error = refusal(lambda: fetch(server, tmp_path / "x"))
    assert f"cannot write {tmp_path / 'x'}: Read-only file system" in error.message
    assert f"make {tmp_path} writable" in error.hint


def test_disk_that_is_too_full_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_200_000))
    with Loopback(lambda _: Reply(body=LONG)) as server:
        error = refusal(lambda: fetch(server, tmp_path / "x"))
        assert len(server.asked) == 1
    assert "no space is left" in error.message
    assert "3.0 MB more are needed, 1.2 MB are free" in error.message
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, signal, sys
from pathlib import Path
from topsar.errors import ProvisionError
from topsar.provision.web.client import Fetcher, Patience, Wanted
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    Fetcher().download(Wanted(url=sys.argv[1], path=Path(sys.argv[2]), what="it", check=lambda _: None))
except ProvisionError as exc:
    print(exc)
"""


def test_disk_that_gets_full_midway(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with Loopback(lambda _: replace(WHOLE, body=LONG)) as server:
        said = run_python(FULL, f"{server.url}/x", path)
        assert f"cannot write {path}: " in said
        assert "no space is left" in said
        assert not path.exists()
        assert path.with_name("x.part").stat().st_size == 1_000_000
        fetch(server, path)
        assert server.asked[-1].headers["range"] == "bytes=1000000-"
    assert path.read_bytes() == LONG


def run_python(source: str, *arguments: object) -> str:
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


GET = """
import sys
from pathlib import Path
from topsar.provision.web.client import Fetcher, Patience, Wanted
wanted = Wanted(url=sys.argv[1], path=Path(sys.argv[2]), what="it", check=lambda _: None)
Fetcher(patience=Patience(read_s=20)).download(wanted)
"""


def test_killed_process_leaves_a_part_that_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "x"
    replies = [replace(WHOLE, body=LONG, slow_s=0.02), replace(WHOLE, body=LONG)]
    with Loopback(lambda _: replies.pop(0)) as server:
        process = subprocess.Popen([sys.executable, "-c", GET, f"{server.url}/x", str(path)])
        part = path.with_name("x.part")
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        assert sorted(one.name for one in tmp_path.iterdir()) == ["x.part", "x.part.json"]
        kept = part.stat().st_size
        assert 100_000 < kept < len(LONG)
        fetch(server, path)
        assert server.asked[1].headers["range"] == f"bytes={kept}-"
        assert server.asked[1].headers["if-range"] == '"v1"'
    assert path.read_bytes() == LONG
    assert list(tmp_path.iterdir()) == [path]


def test_killed_just_before_the_renaming(tmp_path: Path) -> None:
    path, part = tmp_path / "x", tmp_path / "x.part"
    with Loopback(lambda _: CUT) as server:
        refusal(lambda: fetch(server, path, fetcher(attempts=1)))
        part.write_bytes(BODY)
        fetch(server, path)
        assert len(server.asked) == 1
    assert path.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"source": 1, "validator": 2}', "{}", None])
def test_part_of_unknown_origin_is_not_continued(tmp_path: Path, note: str | None) -> None:
    (tmp_path / "x.part").write_bytes(b"something else")
    if note is not None:
        (tmp_path / "x.part.json").write_text(note)
    with Loopback(lambda _: WHOLE) as server:
        assert fetch(server, tmp_path / "x").read_bytes() == BODY
        assert "range" not in server.asked[0].headers
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_part_of_another_address_is_not_continued(tmp_path: Path) -> None:
    replies = [CUT, WHOLE]
    with Loopback(lambda _: replies.pop(0)) as server:
        refusal(lambda: fetch(server, tmp_path / "x", fetcher(attempts=1), params={"south": 1}))
        fetch(server, tmp_path / "x", params={"south": 2})
        assert "range" not in server.asked[1].headers


def test_new_key_continues_the_part_of_the_old_one(tmp_path: Path) -> None:
    replies = [CUT, WHOLE]
    with Loopback(lambda _: replies.pop(0)) as server:
        old, new = fetcher(attempts=1, secrets=["first key"]), fetcher(secrets=["other key"])
        refusal(lambda: fetch(server, tmp_path / "x", old, params={"API_Key": "first key"}))
        fetch(server, tmp_path / "x", new, params={"API_Key": "other key"})
        assert server.asked[1].headers["range"] == HALF


def test_progress_is_not_a_failure(tmp_path: Path) -> None:
    replies = [replace(WHOLE, body=LONG, cut_at=1_100_000)] * 2 + [replace(WHOLE, body=LONG)]
    with Loopback(lambda _: replies.pop(0)) as server:
        fetch(server, tmp_path / "x", fetcher(attempts=2))
        assert len(server.asked) == 3
    assert (tmp_path / "x").read_bytes() == LONG


def test_several_processes_fetch_one_file_once(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with Loopback(lambda _: replace(WHOLE, body=LONG, slow_s=0.01)) as server:
        command = [sys.executable, "-c", GET, f"{server.url}/x", str(path)]
        processes = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(60) for process in processes] == [0, 0]
        assert len(server.asked) == 1
    assert path.read_bytes() == LONG
    assert list(tmp_path.iterdir()) == [path]


def test_next_one_goes_on_where_another_gave_up(tmp_path: Path) -> None:
    replies = [replace(CUT, slow_s=0.1), WHOLE]
    by = fetcher(attempts=1)
    results: list[object] = []

    def work() -> None:
        try:
            results.append(fetch(server, tmp_path / "x", by))
        except ProvisionError as exc:
            results.append(exc)

    with Loopback(lambda _: replies.pop(0)) as server:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [asked.headers.get("range") for asked in server.asked] == [None, HALF]
    assert sorted(type(result).__name__ for result in results) == ["PosixPath", "ProvisionError"]
    assert (tmp_path / "x").read_bytes() == BODY


def test_lock_on_a_part_that_has_become_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, part, lock = tmp_path / "x", tmp_path / "x.part", transfer.fcntl.flock
    part.write_bytes(BODY)

    def late(file: Any, operation: int) -> None:
        if not path.exists():
            part.replace(path)
        lock(file, operation)

    monkeypatch.setattr(transfer.fcntl, "flock", late)
    with transfer.hold_part(path, lambda _: None) as mine:
        mine.write(b"other")
        assert part.read_bytes() == b"other"
    assert path.read_bytes() == BODY


def test_file_is_not_read_into_memory(tmp_path: Path) -> None:
    pieces: list[int] = []
    with Loopback(lambda _: Reply(body=LONG)) as server, pytest.MonkeyPatch.context() as patched:
        write = transfer.Partial.write
        patched.setattr(transfer.Partial, "write", lambda part, data: (pieces.append(len(data)), write(part, data)))
        fetch(server, tmp_path / "x")
    assert sum(pieces) == len(LONG)
    assert max(pieces) <= session.CHUNK


def test_bar_of_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(lambda _: replace(WHOLE, slow_s=0.05)) as server:
        fetch(server, tmp_path / "y")
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        fetch(server, tmp_path / "x")
        assert "x: " in capsys.readouterr().err


def test_answer_of_two_lengths(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with Rude([http(BODY, "Content-Length: 7", "Content-Length: 8"), http(BODY)]) as server:
            fetch(server, tmp_path / "x")
            assert len(server.asked) == 2
        gc.collect()  # urllib3 leaves the socket of the first answer open


def test_check_that_trips_over_what_came(tmp_path: Path) -> None:
    def tripping(path: Path) -> None:
        path.read_bytes().decode("ascii")

    with Loopback(lambda _: WHOLE) as server:
        for _ in range(2):
            error = refusal(lambda: fetch(server, tmp_path / "x", check=tripping))
            assert "x cannot be read (UnicodeDecodeError: " in error.message
        assert len(server.asked) == 4
    assert list(tmp_path.iterdir()) == []


# --- exceptions of the service's own ----------------------------------------------------------------------------


def test_service_explains_its_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def explain(answer: Answer) -> Exception | None:
        assert SECRET not in repr(answer)
        return ProvisionError(f"{WHAT}: quota: {answer.text}", hint=f"not {SECRET}") if answer.status == 401 else None

    for code, said in ((401, f"quota: for {'*' * 8}"), (400, "answered 400")):
        with Loopback(lambda _, code=code: status(code, f"for {SECRET}".encode())) as server:
            error = refusal(lambda server=server: fetch(server, tmp_path / "x", explain=explain))
        assert said in error.message
        assert_no_secret(everything_said(error, caplog))


def test_empty_answer_is_explained(tmp_path: Path) -> None:
    for reply in (Reply(), status(204)):
        with Loopback(lambda _, reply=reply: reply) as server, pytest.raises(LookupError, match="sea"):
            fetch(server, tmp_path / "x", explain=lambda answer: None if answer.body else LookupError("sea"))
    assert list(tmp_path.iterdir()) == []


def test_check_may_quote_what_came(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def quoting(path: Path) -> None:
        try:
            json.loads(path.read_text())
        except ValueError as exc:
            msg = f"says {path.read_text()}"
            raise ProvisionError(msg, hint=msg) from exc

    with Loopback(lambda _: Reply(body=f"<p>{SECRET} {TOKEN}".encode())) as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        error = refusal(lambda: fetch(server, tmp_path / "x", check=quoting, headers=headers))
    assert error.message == f"{WHAT}: says <p>******** ******** (2 attempts)"
    assert_no_secret(everything_said(error, caplog))
    assert list(tmp_path.iterdir()) == []


# --- questions --------------------------------------------------------------------------------------------------


def test_ask(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Loopback(lambda asked: Reply(body=json.dumps(asked.query).encode())) as server:
        found = fetcher().ask(f"{server.url}/q", what=WHAT, params={"API_Key": SECRET, "n": 1}, headers={"X-A": "b"})
        assert json.loads(found.text) == {"API_Key": SECRET, "n": "1"}
        assert server.asked[0].headers["x-a"] == "b"
        assert server.asked[0].headers["user-agent"].startswith("topsar/")
    assert found.status == 200
    assert found.headers["content-length"] == found.headers["Content-Length"]
    assert_no_secret(repr(found) + caplog.text)


def test_form_is_posted() -> None:
    replies = [status(503), Reply(body=b'{"access_token": "abc"}')]
    with Loopback(lambda _: replies.pop(0)) as server:
        assert "abc" in fetcher().ask(server.url, what=WHAT, form={"password": SECRET}).text
        assert [asked.method for asked in server.asked] == ["POST", "POST"]
        assert server.asked[1].body.decode() == "password=p%2Fw%2Bd+%26s3cr%27et"


@pytest.mark.parametrize(("code", "method", "body"), [(302, "GET", b""), (303, "GET", b""), (307, "POST", b"a=b")])
def test_form_after_a_redirect(code: int, method: str, body: bytes) -> None:
    replies = [to(HOP, code), Reply(body=b"yes")]
    with Loopback(lambda _: replies.pop(0)) as server:
        fetcher().ask(server.url, what=WHAT, form={"a": "b"})
        assert (server.asked[1].method, server.asked[1].body, server.asked[1].path) == (method, body, HOP)


def test_form_never_goes_to_another_host() -> None:
    with Loopback(lambda _: PLAIN) as other, Loopback(lambda _: to(f"{other.url}/x", 308)) as server:
        error = refusal(lambda: fetcher().ask(server.url, what=WHAT, form={"password": SECRET}))
        assert other.asked == []
    assert "wants the form sent to another host" in error.message


def test_accepted_statuses_are_answers() -> None:
    replies = {"/none": status(404, b"none"), "/login": to("/x"), "/wait": status(503, b"busy")}
    with Loopback(lambda asked: replies[asked.path]) as server:
        for path, code in (("/none", 404), ("/login", 302), ("/wait", 503)):
            assert fetcher().ask(server.url + path, what=WHAT, accept=(200, code)).status == code
        assert len(server.asked) == 3
        assert not refusal(lambda: fetcher().ask(f"{server.url}/none", what=WHAT)).retryable


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ([CUT, WHOLE], ""),
        ([CUT], "broke off"),
        ([replace(WHOLE, delay_s=0.8), WHOLE], ""),
        ([status(429, Retry_After="1"), WHOLE], ""),
        ([status(500)], "answered 500"),
        ([status(403, HTML)], "answered 403 Forbidden: Please log in"),
        ([to("/x")], "more than 10 redirects"),
        ([Reply(body=BODY, headers={"Content-Encoding": "gzip"})], "cannot be unpacked"),
    ],
)
def test_questions_meet_the_same_faults(replies: list[Reply], error: str, caplog: pytest.LogCaptureFixture) -> None:
    waiting = list(replies)
    with Loopback(lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]) as server:
        if error:
            problem = refusal(lambda: fetcher().ask(server.url, what=WHAT, params={"API_Key": SECRET}))
            assert error in problem.message
            assert_no_secret(everything_said(problem, caplog))
        else:
            assert fetcher().ask(server.url, what=WHAT).body == BODY


def test_endless_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_ANSWER", 20_000)
    packed = Reply(body=gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})
    for reply in (PLAIN, packed):
        with Loopback(lambda _, reply=reply: reply) as server:
            error = refusal(lambda server=server: fetcher().ask(server.url, what=WHAT))
        assert "more than 20 kB" in error.message


def test_redirects_are_not_read(tmp_path: Path) -> None:
    """Whoever waited for the body of this one would wait in vain, and fail."""

    def promise(connection: socket.socket) -> None:
        connection.sendall(http(b"", "Location: /hop", "Content-Length: 1000000", status="302 Found"))
        connection.settimeout(30)
        connection.recv(1)  # until the client leaves

    with Rude([promise, http(BODY)]) as server:
        fetch(server, tmp_path / "x", fetcher(attempts=1))
        assert len(server.asked) == 2


# --- who is told what -------------------------------------------------------------------------------------------


def test_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {TOKEN}\ndefault login me password {TOKEN}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Loopback(lambda asked: to(HOP) if asked.path == "/" else WHOLE) as server:
        fetcher().ask(f"{server.url}/", what=WHAT)
        assert [asked.headers.get("authorization") for asked in server.asked] == [None, None]


def test_user_in_the_address_becomes_a_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Loopback(lambda asked: status(401, asked.headers["authorization"][6:].encode())) as server:
        url = server.url.replace("://", f"://me:{quote(TOKEN)}@")
        error = refusal(lambda: fetcher().ask(f"{url}/x", what=WHAT))
        sent = server.asked[0].headers["authorization"].removeprefix("Basic ")
        assert base64.b64decode(sent).decode() == f"me:{TOKEN}"
        assert sent not in error.message
    assert_no_secret(everything_said(error, caplog))


def test_authorization_comes_back_with_the_first_host(tmp_path: Path) -> None:
    with Loopback(lambda _: to(f"{first.url}/back")) as second:
        with Loopback(lambda asked: WHOLE if asked.path == "/back" else to(second.url)) as first:
            fetch(first, tmp_path / "x", headers={"authorization": "Bearer abc", "X-Key": SECRET, "X-Other": "y"})
            assert [asked.headers.get("authorization") for asked in first.asked] == ["Bearer abc"] * 2
        (asked,) = second.asked
        assert "authorization" not in asked.headers
        assert "x-key" not in asked.headers
        assert asked.headers["x-other"] == "y"


def test_cookies_are_kept_within_a_host(tmp_path: Path) -> None:
    def login(asked: Asked) -> Reply:
        if "session=1" in asked.headers.get("cookie", ""):
            return WHOLE
        return status(302, Location="/x", Set_Cookie="session=1; Path=/")

    by = fetcher()
    with Loopback(login) as server:
        by.download_all([lambda n=n: fetch(server, tmp_path / f"{n}", by) for n in range(2)], at_once=1)
        assert ["cookie" in asked.headers for asked in server.asked] == [False, True, True]
        by.ask(server.url.replace("127.0.0.1", "localhost"), what=WHAT)
        assert ["cookie" in asked.headers for asked in server.asked[3:]] == [False, True]


def test_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(lambda _: WHOLE) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", f"://me:{quote(TOKEN)}@"))
        by = fetcher()
        by.download(Wanted(url="http://far.example/x", path=tmp_path / "x", what=WHAT, check=is_good))
        assert proxy.asked[0].host == "far.example"
        assert "proxy-authorization" in proxy.asked[0].headers
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Loopback(lambda _: WHOLE) as server:
            fetch(server, tmp_path / "y", by)
            assert len(server.asked) == 1
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("url", ["http://far.example/x", "https://far.example/x"])
@pytest.mark.parametrize("reason", ["407 Proxy Authentication Required", "502 Bad Gateway", ""])
def test_proxy_that_does_not_serve(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Rude([http(b"", status=reason)]) as proxy:
        place = proxy.url if reason else "http://127.0.0.1:9"
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, place.replace("://", f"://me:{TOKEN}@"))
        error = refusal(lambda: fetcher().ask(url, what=WHAT, params={"API_Key": SECRET}))
        assert "through the proxy" in error.message or f"answered {reason}" in error.message
    assert error.retryable is not reason.startswith("407")
    assert "PROXY" in error.hint or "502" in reason
    assert_no_secret(everything_said(error, caplog))


@pytest.mark.parametrize(
    ("said", "pause"),
    [("7", 7), ("86400", 60), ("9" * 14, 0), (None, 60), ("soon", 0), ("0", 0), ("", 0), ("-5", 0), (PAST, 0)],
)
def test_pauses(said: str | None, pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(download, "LONGEST_PAUSE_S", 60.0)
    monkeypatch.setattr(Fetcher, "_pause", lambda _, seconds: pauses.append(seconds))
    with Loopback(lambda _: status(503, Retry_After=later(3000) if said is None else said)) as server:
        refusal(lambda: fetcher(attempts=4, backoff_s=1).ask(server.url, what=WHAT))
    assert len(pauses) == 3
    for number, waited in enumerate(pauses):
        assert waited == pause if pause else 0.5 * 2**number <= waited <= 2**number


def test_dates_of_retry_after() -> None:
    assert 25 < failures._read_pause(later(30)) <= 30
    assert failures._read_pause(later(30).replace("GMT", "-0000")) > 25
    for said in ("", "-5", "1e3", "Wed, 99 Oct 2015", "Wed, 21 Oct 99999 07:28:00 GMT", "٣"):
        assert failures._read_pause(said) == 0


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.org/x", "https://b.org/y#z", "https://b.org/y"),
        ("https://a.org/x?k=1", "?l=2", "https://a.org/x?l=2"),
        ("https://a.org/x", "//b.org", "https://b.org"),
        ("http://127.0.0.1:1/x", "http://127.0.0.1:2/", "http://127.0.0.1:2/"),
        ("http://a.org/x", "https://a.org/x", "https://a.org/x"),
        ("https://a.org/x", "https://me:pw@b.org/ä b", "https://b.org/%C3%A4%20b"),
        ("https://a.org/x", "http://a.org/x", None),
        ("https://a.org/x", "http://127.0.0.1/x", None),
        ("https://a.org/x", "ftp://a.org/x", None),
        ("https://a.org/x", "javascript:alert(1)", None),
        ("https://a.org/x", "https://", "https://a.org/x"),
    ],
)
def test_where_redirects_lead(url: str, location: str, target: str | None) -> None:
    if target is None:
        with pytest.raises(ValueError, match=r"from https to http|not an http"):
            session._resolve_redirect(url, location)
    else:
        assert session._resolve_redirect(url, location) == target


# --- several at once --------------------------------------------------------------------------------------------


def test_downloads_side_by_side(tmp_path: Path) -> None:
    by = fetcher()

    def job(n: int) -> Callable[[], Path]:
        return lambda: fetch(server, tmp_path / f"{n}", by, url=f"{server.url}/{n}")

    with Loopback(lambda _: replace(WHOLE, delay_s=0.1)) as server:
        by.download_all([job(n) for n in range(6)], at_once=2)
    assert all((tmp_path / f"{n}").is_file() for n in range(6))
    assert server.most_at_once == 2
    by.download_all([], at_once=2)


def test_first_error_comes_when_all_have_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    by = fetcher()

    def job(n: int) -> Callable[[], Path]:
        return lambda: fetch(server, tmp_path / f"{n}", by, url=f"{server.url}/{n}", what=f"{WHAT}, {n}")

    bad = {"/1": 404, "/2": 403}
    with Loopback(lambda asked: status(bad[asked.path]) if asked.path in bad else WHOLE) as server:
        error = refusal(lambda: by.download_all([job(n) for n in range(5)], at_once=3))
    assert "answered 404" in error.message
    assert "answered 403" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "3", "4"]


INTERRUPTED = """
import sys
from pathlib import Path
from topsar.provision.web.client import Fetcher, Patience, Wanted
by, folder = Fetcher(patience=Patience(read_s=600)), Path(sys.argv[2])
wanted = [Wanted(url=sys.argv[1], path=folder / str(n), what="it", check=lambda _: None) for n in range(4)]
jobs = [lambda one=one: by.download(one) for one in wanted]
try:
    by.download_all(jobs, at_once=2)
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("reply", [replace(WHOLE, body=LONG, slow_s=1), replace(WHOLE, delay_s=120)])
def test_interruption_leaves_nobody_hanging(tmp_path: Path, reply: Reply) -> None:
    with Loopback(lambda _: reply) as server:
        command = [sys.executable, "-c", INTERRUPTED, f"{server.url}/x", str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while len(server.asked) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "stopped\n"
        assert len(server.asked) == 2
    assert not [path for path in tmp_path.iterdir() if ".part" not in path.name]


# --- masking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, TOKEN, "abcd", "ünï cödé+/=%", "quote\"s\\and'more", "a&b<c>", "x" * 300])
def test_secret_in_any_clothes(secret: str) -> None:
    mask = Masker([secret]).mask
    clothes = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(quote(secret, safe=""), safe=""),
        quote(secret, safe="").lower() if secret == secret.lower() else secret,
        "".join(f"%{octet:02x}" for octet in secret.encode()),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        repr(secret.encode())[2:-1],
    ]
    for worn in clothes:
        assert mask(f"before {worn} after") == "before ******** after", worn


def test_what_is_no_secret_stays() -> None:
    text = "https://example.org/a/b?demtype=COP30&south=1 answered 503 Service Unavailable: a table of basic tokens"
    assert Masker(["hunter2", "  ", ""]).mask(text) == text
    assert Masker(["ab"]).mask("ab, about a grab of /ab/") == "********, about a grab of /********/"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://me:pw@host/x", "https://********@host/x"),
        ("https://h/x?API_Key=abc&south=1", "https://h/x?API_Key=********&south=1"),
        ("https://h/x?a=1&X-Amz-Signature=abc", "https://h/x?a=1&X-Amz-Signature=********"),
        ("Authorization: Bearer abc", "Authorization: Bearer ********"),
        ("{'Authorization': 'Basic abc'}", "{'Authorization': 'Basic ********'}"),
    ],
)
def test_secrets_of_unknown_origin(text: str, masked: str) -> None:
    assert Masker().mask(text) == masked


@pytest.mark.parametrize("text", ["a" * 200_000, "%25" * 60_000, "://" * 60_000, "YWFh" * 50_000])
def test_masking_of_long_texts_ends(text: str) -> None:
    """A pattern that looked back again and again would take hours."""
    assert Masker([SECRET, TOKEN, "a" * 40]).mask(text)


@pytest.mark.parametrize("text", ['{"access_token": "%s', "{'id_token' : '%s'", '"{\\"refresh_token\\": \\"%s'])
def test_tokens_are_masked_wherever_they_are_quoted(text: str) -> None:
    token = "eyJhbGciOiJSUzI1NiIsInR5cCIgOiAiSldUIiwia2lkIiA6ICJYVUh3VWZKaHVDVWo0X3k4ZF8xM0hxWXBYMFdwdDd2anhob2FPLUxz"
    assert token[:6] not in Masker().mask(text % token)
