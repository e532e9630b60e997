"""Servers on this machine that speak the contracts of the real services, for demonstrations and tests without internet.

A handler is asked in turn until one answers; nobody answering is 404. A reply can also misbehave on purpose, so that
whoever asks can be shown what networks do.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request.

    Attributes
    ----------
    path : str
        Without the query, quoted as it came.
    query : mapping
        First value of each parameter.
    headers : mapping
        Names in lower case.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, and how it misbehaves.

    Attributes
    ----------
    ranges : bool
        Whether a ``Range`` is honoured.
    delay_s : float
        Silence before the first byte.
    slow_s : float
        Silence between every 16 kB.
    cut_at : int, optional
        The connection is closed after so many bytes of the body.
    reset_at : int, optional
        As ``cut_at``, but with a reset.
    claims : int, optional
        ``Content-Length`` that is told instead of the true one.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = False
    delay_s: float = 0.0
    slow_s: float = 0.0
    cut_at: int | None = None
    reset_at: int | None = None
    claims: int | None = None


Handler = Callable[[Asked], Reply | None]
_CHUNK = 16_384


class Loopback:
    """A server on 127.0.0.1, in threads of this process; a context.

    Parameters
    ----------
    *handlers : callable
        Asked in order.

    Attributes
    ----------
    url : str
        Where it is, without a slash at the end.
    asked : list of Asked
        Every request so far.
    most_at_once : int
        How many waited for their answers together.

    Examples
    --------
    >>> import urllib.request
    >>> with Loopback(lambda asked: Reply(body=asked.path.encode())) as server:
    ...     urllib.request.urlopen(server.url + "/hello").read()
    b'/hello'
    """

    def __init__(self, *handlers: Handler) -> None:
        self.asked: list[Asked] = []
        self.most_at_once = waiting = 0
        lock = threading.Lock()

        class Answering(_Answering):
            def reply_to(self, asked: Asked) -> Reply:
                nonlocal waiting
                with lock:
                    outer.asked.append(asked)
                    waiting += 1
                    outer.most_at_once = max(outer.most_at_once, waiting)
                replies = (handler(asked) for handler in handlers)
                reply = next((reply for reply in replies if reply is not None), Reply(status=404))
                time.sleep(reply.delay_s)
                with lock:
                    waiting -= 1
                return reply

        outer = self
        self._server = _Server(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that leave."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True

    def reply_to(self, asked: Asked) -> Reply:
        raise NotImplementedError

    def _do(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        asked = Asked(
            method=self.command,
            path=parts.path,
            query={key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()},
            headers={key.lower(): value for key, value in self.headers.items()},
            body=self.rfile.read(length),
            host=self.headers.get("Host") or "",
        )
        with contextlib.suppress(ConnectionError):  # whoever asked has left
            self._send(self.reply_to(asked), asked)

    do_GET = do_POST = do_HEAD = do_DELETE = _do

    def _send(self, reply: Reply, asked: Asked) -> None:
        status, body, headers = reply.status, reply.body, dict(reply.headers)
        wanted = asked.headers.get("range", "")
        if reply.ranges and status == 200 and wanted.startswith("bytes=") and wanted.endswith("-"):
            start = int(wanted[len("bytes=") : -1])
            if start >= len(body):
                status, body = 416, b""
                headers["Content-Range"] = f"bytes */{len(reply.body)}"
            else:
                status, body = 206, body[start:]
                headers["Content-Range"] = f"bytes {start}-{len(reply.body) - 1}/{len(reply.body)}"
        self.send_response(status)
        if reply.ranges:
            self.send_header("Accept-Ranges", "bytes")
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if reply.claims is None else reply.claims))
        self.end_headers()
        if asked.method != "HEAD":
            for part in _parts(body, reply):
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(reply.slow_s)
        self._end(reply)

    def _end(self, reply: Reply) -> None:
        if reply.reset_at is not None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if reply.reset_at is not None or reply.cut_at is not None or reply.claims is not None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.close() if reply.reset_at is not None else self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _parts(body: bytes, reply: Reply) -> Iterator[bytes]:
    ends = [end for end in (reply.cut_at, reply.reset_at) if end is not None]
    body = body[: min(ends)] if ends else body
    for start in range(0, len(body), _CHUNK):
        yield body[start : start + _CHUNK]
