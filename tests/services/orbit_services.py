"""The services that give orbits and calibration files, answering from a folder of EOF files.

Each function makes a handler for `services.loopback.Loopback`; ``at`` is where it lies on the server.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import threading
import uuid
import zipfile
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

from services.loopback import Asked, Handler, Reply
from topsar.sentinel1 import find_orbits

if TYPE_CHECKING:
    from topsar.model import OrbitFile

_SCENE = re.compile(
    r"(?P<mission>S1[A-D])_(?:IW|EW|WV|S[1-6])_\w{4}__?\w+?_(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})_\w+"
)
_XML = {"Content-Type": "application/xml"}
_JSON = {"Content-Type": "application/json"}


def asf_scenes(folder: Path, *, at: str = "/asf_orbits", bucket: str = "/s3_orbits") -> Handler:
    """ASF's service: a scene's name is answered with a redirect to its orbit file in the bucket.

    Parameters
    ----------
    folder : Path
        With EOF files.
    at : str
    bucket : str
        Base URL of the bucket, or its path on the same server.

    Returns
    -------
    callable
        302, or 400 for what is no scene's name, or 404 where no file covers the scene.
    """

    def answer(asked: Asked) -> Reply | None:
        if not asked.path.startswith(f"{at}/scene/"):
            return None
        match = _SCENE.fullmatch(unquote(asked.path.removeprefix(f"{at}/scene/")))
        if not match:
            return Reply(status=400, body=b'{"error": "Invalid Sentinel-1 scene name"}', headers=_JSON)
        start, stop = (
            datetime.strptime(match[key], "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc) for key in ("start", "stop")
        )
        fitting = [
            file
            for file in find_orbits(folder)
            if file.mission == match["mission"] and file.start <= start and stop <= file.stop
        ]
        if not fitting:
            return Reply(status=404, body=b'{"error": "No orbit file found"}', headers=_JSON)
        best = max(fitting, key=lambda file: (file.source.value == "POEORB", file.created))
        place = bucket if "://" in bucket else f"http://{asked.host}{bucket}"
        return Reply(status=302, headers={"Location": f"{place}/{_key(best)}"})

    return answer


def s3_orbits(folder: Path, *, at: str = "/s3_orbits", page: int = 1000, has_next_marker: bool = False) -> Handler:
    """ASF's public bucket: listing in pages, both versions of the protocol, and the files.

    Parameters
    ----------
    folder : Path
        With EOF files.
    at : str
    page : int
        Keys in a page.
    has_next_marker : bool
        Whether ``NextMarker`` is given; the real service leaves it out where no delimiter is asked for.
    """

    def answer(asked: Asked) -> Reply | None:
        if asked.path.rstrip("/") == at:
            files = {_key(file): file.path for file in find_orbits(folder)}
            return Reply(body=_listing(files, asked, page, has_next_marker).encode(), headers=_XML)
        if not asked.path.startswith(f"{at}/"):
            return None
        files = {_key(file): file.path for file in find_orbits(folder)}
        path = files.get(unquote(asked.path.removeprefix(f"{at}/")))
        if path is None:
            return Reply(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>", headers=_XML)
        body = path.read_bytes()
        return Reply(body=body, ranges=True, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    return answer


class CdseSimulation:
    """The Copernicus Data Space: catalogue, identity and downloads.

    Parameters
    ----------
    folder : Path
        With EOF files.
    user, password : str
        The only account.
    at : str
        The three services lie at ``<at>/catalogue``, ``<at>/identity`` and ``<at>/download``.
    life_s : int
        Seconds that a token is said to last.

    Attributes
    ----------
    tokens : set of str
        Those that are valid now; taken out, one counts as run out.
    sessions : set of str
        Open sessions, by refresh token.
    """

    def __init__(self, folder: Path, *, user: str, password: str, at: str = "/cdse", life_s: int = 600) -> None:
        self._folder, self._account, self._at, self._life_s = folder, (user, password), at, life_s
        self._number, self._lock = itertools.count(1), threading.Lock()
        self.tokens: set[str] = set()
        self.sessions: set[str] = set()

    def __call__(self, asked: Asked) -> Reply | None:
        """Answer, or leave it to another handler."""
        path = asked.path.removeprefix(self._at)
        if path == "/catalogue/Products":
            return self._search(asked)
        if path.startswith("/identity/") and asked.method == "POST":
            return self._identity(path, {key: values[0] for key, values in parse_qs(asked.body.decode()).items()})
        if path.startswith("/download/Products("):
            return self._download(asked, unquote(path))
        return None

    def _search(self, asked: Asked) -> Reply:
        wanted = asked.query.get("$filter", "")
        fitting = sorted((file for file in find_orbits(self._folder) if _fits(file, wanted)), key=lambda f: f.start)
        top, skip = int(asked.query.get("$top", "20")), int(asked.query.get("$skip", "0"))
        shown = fitting[skip : skip + top]
        document: dict[str, Any] = {"@odata.context": "$metadata#Products", "value": [_product(file) for file in shown]}
        if len(shown) == top:  # given with a full last page too, as by the real service
            following = {**asked.query, "$skip": str(skip + top)}
            query = "&".join(f"{quote(key)}={quote(value)}" for key, value in following.items())
            document["@odata.nextLink"] = f"http://{asked.host}{asked.path}?{query}"
        return Reply(body=json.dumps(document).encode(), headers=_JSON)

    def _identity(self, path: str, form: dict[str, str]) -> Reply:
        with self._lock:
            if path == "/identity/logout":
                session = form.get("refresh_token", "")
                self.sessions.discard(session)
                self.tokens.discard(session.replace("refresh", "access"))
                return Reply(status=204)
            known = (form.get("username"), form.get("password")) == self._account
            if form.get("grant_type") != "password" or form.get("client_id") != "cdse-public" or not known:
                refusal = {"error": "invalid_grant", "error_description": "Invalid user credentials"}
                return Reply(status=401, body=json.dumps(refusal).encode(), headers=_JSON)
            number = next(self._number)
            access, refresh = f"access-token-{number}", f"refresh-token-{number}"
            self.tokens.add(access)
            self.sessions.add(refresh)
        given = {
            "access_token": access,
            "expires_in": self._life_s,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "session_state": str(uuid.uuid5(uuid.NAMESPACE_OID, refresh)),
        }
        return Reply(body=json.dumps(given).encode(), headers=_JSON)

    def _download(self, asked: Asked, path: str) -> Reply:
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return Reply(status=401, body=b'{"detail": "Expired signature!"}', headers=_JSON)
        for file in find_orbits(self._folder):
            if path == f"/download/Products({_id(file)})/$value":
                return Reply(body=file.path.read_bytes(), ranges=True)
        return Reply(status=404)


def aux_cal(archives: dict[str, bytes], *, at: str = "/aux_cal") -> Handler:
    """A folder of calibration archives, by name."""

    def answer(asked: Asked) -> Reply | None:
        body = archives.get(asked.path.removeprefix(f"{at}/"))
        return None if body is None else Reply(body=body, ranges=True)

    return answer


def aux_cal_archive(mission: str, versions: Sequence[tuple[str, str]], *, extra: Collection[str] = ()) -> bytes:
    """An archive as it is published: one SAFE per validity and generation, in folders by date.

    Parameters
    ----------
    mission : str
        ``S1A`` or ``S1B``.
    versions : sequence of (str, str)
        Start of validity and time of generation, as ``20140908T000000``.
    extra : collection of str
        More members, by name.
    """
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for valid, generated in versions:
            day = f"{valid[:4]}/{valid[4:6]}/{valid[6:8]}"
            safe = f"{mission}/AUX_CAL/{day}/{mission}_AUX_CAL_V{valid}_G{generated}.SAFE"
            text = f"<auxiliaryCalibration><generated>{generated}</generated></auxiliaryCalibration>\n"
            archive.writestr(f"{safe}/data/{mission.lower()}-aux-cal.xml", text)
            archive.writestr(f"{safe}/manifest.safe", "<xfdu/>\n")
            archive.writestr(f"{safe}/support/s1-aux-cal.xsd", "<schema/>\n")
        for name in extra:
            archive.writestr(name, "unasked\n")
    return held.getvalue()


def _key(file: OrbitFile) -> str:
    return f"AUX_{file.source.value}/{file.path.name}"


def _listing(files: dict[str, Path], asked: Asked, page: int, has_next_marker: bool) -> str:
    prefix = asked.query.get("prefix", "")
    is_second = asked.query.get("list-type") == "2"
    after = asked.query.get("continuation-token" if is_second else "marker", "")
    keys = sorted(key for key in files if key.startswith(prefix) and key > after)
    shown = keys[:page]
    is_cut = len(keys) > page
    following = ""
    if is_cut and is_second:
        following = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>"
    elif is_cut and has_next_marker:
        following = f"<NextMarker>{escape(shown[-1])}</NextMarker>"
    contents = "".join(_entry(key, files[key].read_bytes()) for key in shown)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>s1-orbits</Name><Prefix>{escape(prefix)}</Prefix><Marker>{escape(after)}</Marker>"
        f"<MaxKeys>{page}</MaxKeys><IsTruncated>{str(is_cut).lower()}</IsTruncated>{following}{contents}"
        "</ListBucketResult>"
    )


def _entry(key: str, body: bytes) -> str:
    tag = hashlib.md5(body).hexdigest()
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>2025-04-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{tag}&quot;</ETag><Size>{len(body)}</Size></Contents>"
    )


def _fits(file: OrbitFile, wanted: str) -> bool:
    """Whether a file answers the catalogue's filter, of which the parts that find orbits are understood."""
    mission = re.search(r"startswith\(Name,'(\w+)'\)", wanted)
    kind = re.search(r"contains\(Name,'(\w+)'\)", wanted)
    before = re.search(r"ContentDate/Start lt '?([\d:.TZ-]+)", wanted)
    after = re.search(r"ContentDate/End gt '?([\d:.TZ-]+)", wanted)
    return (
        (mission is None or file.path.name.startswith(mission[1]))
        and (kind is None or kind[1] in file.path.name)
        and (before is None or file.start < _time(before[1]))
        and (after is None or file.stop > _time(after[1]))
    )


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def _id(file: OrbitFile) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, file.path.name))


def _product(file: OrbitFile) -> dict[str, Any]:
    body = file.path.read_bytes()
    return {
        "Id": _id(file),
        "Name": file.path.name,
        "ContentType": "application/octet-stream",
        "ContentLength": len(body),
        "PublicationDate": f"{file.created + timedelta(minutes=10):%Y-%m-%dT%H:%M:%S.%fZ}",
        "Online": True,
        "Checksum": [{"Value": hashlib.md5(body).hexdigest(), "Algorithm": "MD5"}],
        "ContentDate": {
            "Start": f"{file.start:%Y-%m-%dT%H:%M:%S.%fZ}",
            "End": f"{file.stop:%Y-%m-%dT%H:%M:%S.%fZ}",
        },
    }
