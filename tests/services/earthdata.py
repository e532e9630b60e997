"""Earthdata on this machine: the catalogue (CMR), the login (URS), the archive of scenes and the store behind it."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from services.loopback import Asked, Handler, Reply
from tie_points import read_tie_points
from topsar.model import BBox
from topsar.sentinel1 import open_scene, read_annotation_orbit

_SEARCH = "/search/granules.umm_json"
_STORE = "/asf-s1-slc/"
_SIGNATURE = "5f2c1d7e9a"
_TIME = "%Y-%m-%dT%H:%M:%S.%f"
Form = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedScene:
    """A product in the archive; ``vectors`` are the catalogue's two state vectors around its middle, as text."""

    name: str
    track: int
    direction: str
    polarisation: str
    box: BBox
    size: int = 0
    md5: str = ""
    path: Path | None = None
    vectors: Mapping[str, str] = field(default_factory=dict)

    @property
    def start(self) -> datetime:
        """Start by name."""
        return _time_in(self.name, 5)

    @property
    def stop(self) -> datetime:
        """End by name."""
        return _time_in(self.name, 6)

    @property
    def place(self) -> str:
        """Path at the archive."""
        return f"/SLC/S{self.name[2]}/{self.name}.zip"


def _time_in(name: str, part: int) -> datetime:
    return datetime.strptime(name.split("_")[part], "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)


def archived(path: Path) -> ArchivedScene:
    """What the catalogue says of a product, a zip that lies on this machine."""
    scene = open_scene(path)
    files, content = scene.files[0], path.read_bytes()
    grid = read_tie_points(scene, files.swath, files.polarisation)
    return ArchivedScene(
        name=scene.name,
        track=scene.track,
        direction=scene.direction.name,
        polarisation="+".join(sorted(scene.polarisations, key=lambda channel: channel[0] != channel[1])),
        box=BBox(
            west=float(grid.longitude_deg.min()),
            south=float(grid.latitude_deg.min()),
            east=float(grid.longitude_deg.max()),
            north=float(grid.latitude_deg.max()),
        ),
        size=len(content),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        path=path,
        vectors=_vectors(path),
    )


def _vectors(path: Path) -> dict[str, str]:
    scene = open_scene(path)
    orbit = read_annotation_orbit(scene, scene.files[0].swath, scene.files[0].polarisation)
    middle = ((scene.start + (scene.stop - scene.start) / 2) - orbit.epoch).total_seconds()
    before = max(int((orbit.times_s <= middle).sum()) - 1, 0)
    told = {}
    for when, index in (("PRE", before), ("POST", before + 1)):
        time = datetime.fromtimestamp(orbit.epoch.timestamp() + float(orbit.times_s[index]), timezone.utc)
        for what, values in (("POSITION", orbit.positions_m), ("VELOCITY", orbit.velocities_m_s)):
            numbers = ",".join(f"{float(value):.6f}" for value in values[index])
            told[f"SV_{what}_{when}"] = f"{numbers},{time:{_TIME}}"
    return told


# --- the catalogue ----------------------------------------------------------------------------------------------


def catalogue(scenes: Sequence[ArchivedScene], archive_url: str | None = None) -> Handler:
    """CMR's search of granules, as far as `asf_search` uses it; each product has a second record, of its metadata.

    Parameters
    ----------
    scenes : sequence of ArchivedScene
    archive_url : str, optional
        Where the archive is; default: on the same server.
    """

    def answer(asked: Asked) -> Reply | None:
        if asked.path != _SEARCH or asked.method != "POST":
            return None
        form = parse_qs(asked.body.decode(), keep_blank_values=True)
        base = archive_url or f"http://{asked.host}"
        found = [scene for scene in scenes if _fits(scene, form)]
        records = [record for scene in found for record in _records(scene, base) if _wanted(record, form)]
        records.sort(key=lambda record: str(record["umm"]["GranuleUR"]))
        first, size = int(asked.headers.get("cmr-search-after", "0")), int(form["page_size"][0])
        page = records[first : first + size]
        headers = {"Content-Type": "application/vnd.nasa.cmr.umm_results+json", "CMR-Hits": str(len(records))}
        if first + size < len(records):
            headers["CMR-Search-After"] = str(first + size)
        body = json.dumps({"hits": len(records), "took": 7, "items": page}).encode()
        return Reply(body=body, headers=headers)

    return answer


def _fits(scene: ArchivedScene, form: Form) -> bool:
    names = form.get("readable_granule_name[]")
    if names and not any(fnmatch.fnmatchcase(scene.name, name) for name in names):
        return False
    if "bounding_box" in form:
        west, south, east, north = (float(edge) for edge in form["bounding_box"][0].split(","))
        if not scene.box.intersects(BBox(west=west, south=south, east=east, north=north)):
            return False
    if "temporal" in form:
        start, stop = form["temporal"][0].split(",")[:2]
        if not start <= f"{scene.stop:%Y-%m-%dT%H:%M:%SZ}" or not f"{scene.start:%Y-%m-%dT%H:%M:%SZ}" <= stop:
            return False
    told = {"PATH_NUMBER": str(scene.track), "ASCENDING_DESCENDING": scene.direction, "BEAM_MODE": "IW"}
    told["POLARIZATION"] = scene.polarisation
    asked = (attribute.split(",")[1:3] for attribute in form.get("attribute[]", []))
    return all(told.get(name, value).upper() == value.upper() for name, value in asked)


def _wanted(record: Mapping[str, Any], form: Form) -> bool:
    return _short_name(record) in form.get("shortName", [_short_name(record)])


def _short_name(record: Mapping[str, Any]) -> str:
    return str(record["umm"]["CollectionReference"]["ShortName"])


def _records(scene: ArchivedScene, base: str) -> Iterable[dict[str, Any]]:
    platform = f"SENTINEL-1{scene.name[2]}"
    for kind, collection, place in (
        ("SLC", f"{platform}_SLC", scene.place),
        ("METADATA_SLC", f"{platform}_META_SLC", f"/METADATA_SLC/{scene.name}.iso.xml"),
    ):
        told = {
            "ASCENDING_DESCENDING": scene.direction,
            "BEAM_MODE": "IW",
            "BYTES": str(float(scene.size)),
            "MD5SUM": scene.md5,
            "PATH_NUMBER": str(scene.track),
            "POLARIZATION": scene.polarisation,
            "PROCESSING_TYPE": kind,
            **scene.vectors,
        }
        umm = {
            "GranuleUR": f"{scene.name}-{kind}",
            "CollectionReference": {"ShortName": collection, "Version": "1"},
            "TemporalExtent": {
                "RangeDateTime": {
                    "BeginningDateTime": f"{scene.start:%Y-%m-%dT%H:%M:%SZ}",
                    "EndingDateTime": f"{scene.stop:%Y-%m-%dT%H:%M:%SZ}",
                }
            },
            "DataGranule": {"Identifiers": [{"IdentifierType": "ProducerGranuleId", "Identifier": scene.name}]},
            "RelatedUrls": [{"URL": base + place, "Type": "GET DATA"}],
            "SpatialExtent": _extent(scene.box),
            "Platforms": [{"ShortName": platform, "Instruments": [{"ShortName": "SENTINEL-1 C-SAR"}]}],
            "AdditionalAttributes": [{"Name": name, "Values": [value]} for name, value in told.items()],
        }
        yield {"meta": {"concept-id": f"G{zlib.crc32(scene.name.encode())}-ASF", "provider-id": "ASF"}, "umm": umm}


def _extent(box: BBox) -> dict[str, Any]:
    ring = [(box.west, box.south), (box.east, box.south), (box.east, box.north), (box.west, box.north)]
    points = [{"Longitude": x, "Latitude": y} for x, y in (*ring, ring[0])]
    return {"HorizontalSpatialDomain": {"Geometry": {"GPolygons": [{"Boundary": {"Points": points}}]}}}


# --- login, archive, store --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of Earthdata Login; ``token`` is the one that is valid, ``licence`` whether the EULA is accepted."""

    name: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    licence: bool = True


def login(accounts: Sequence[Account]) -> Handler:
    """Earthdata Login: tokens for passwords, what a token is worth, and the redirection of browsers."""

    def answer(asked: Asked) -> Reply | None:
        account = _account(asked, accounts)
        if (asked.method, asked.path) == ("POST", "/api/users/find_or_create_token"):
            if account is None:
                return _json(401, error="invalid_credentials", error_description="Invalid user credentials")
            return _json(200, access_token=account.token, token_type="Bearer", expiration_date="12/31/2099")
        if (asked.method, asked.path) == ("POST", "/oauth/tokens/user"):
            shown = parse_qs(asked.body.decode()).get("token", [""])[0]
            holder = next((one for one in accounts if one.token == shown), None)
            if holder is None:
                return _json(401, error="invalid_token", error_description="The token has expired or was revoked")
            return _json(200, uid=holder.name)
        if (asked.method, asked.path) == ("GET", "/oauth/authorize"):
            if account is None:
                return _page(401, "HTTP Basic: Access denied.", {"WWW-Authenticate": 'Basic realm="Please enter"'})
            query = urlencode({"code": f"code-{account.name}", "state": asked.query.get("state", "")})
            return Reply(status=302, headers={"Location": f"{asked.query['redirect_uri']}?{query}"})
        return None

    return answer


def archive(
    scenes: Sequence[ArchivedScene],
    accounts: Sequence[Account],
    *,
    login_url: str | None = None,
    store_url: str | None = None,
    takes_tokens: bool = True,
) -> Handler:
    """The archive's front: whoever is logged in, and has accepted the licence, is sent on to the store.

    Parameters
    ----------
    scenes : sequence of ArchivedScene
    accounts : sequence of Account
    login_url, store_url : str, optional
        Where these are; default: on the same server.
    takes_tokens : bool
        Whether a token is enough; else everybody without a cookie is sent to log in.
    """
    places = {scene.place for scene in scenes}

    def answer(asked: Asked) -> Reply | None:
        here = f"http://{asked.host}"
        if asked.path == "/login":
            holder = asked.query.get("code", "").removeprefix("code-")
            cookie = f"asf-urs={quote(holder)}; Path=/"
            return Reply(status=302, headers={"Location": here + asked.query["state"], "Set-Cookie": cookie})
        if asked.path not in places:
            return None
        account = _by_cookie(asked, accounts) or (_account(asked, accounts) if takes_tokens else None)
        if account is None:
            query = {"client_id": "BO_n7nTIlMljdvU6kRRB3g", "response_type": "code"}
            query |= {"redirect_uri": f"{here}/login", "state": asked.path}
            return Reply(status=302, headers={"Location": f"{login_url or here}/oauth/authorize?{urlencode(query)}"})
        if not account.licence:
            return _page(401, "You must accept the EULA and state your Study Area before you can download this data.")
        target = f"{store_url or here}{_STORE}{asked.path.rpartition('/')[2]}"
        query = {"A-userid": account.name, "X-Amz-Expires": "3600", "X-Amz-Signature": _SIGNATURE}
        return Reply(status=307, headers={"Location": f"{target}?{urlencode(query)}"})

    return answer


def store(scenes: Sequence[ArchivedScene]) -> Handler:
    """The object store: it wants its own signature, and nothing but that."""
    paths = {f"{_STORE}{scene.name}.zip": scene.path for scene in scenes if scene.path}

    def answer(asked: Asked) -> Reply | None:
        if not asked.path.startswith(_STORE):
            return None
        if "authorization" in asked.headers:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        if asked.query.get("X-Amz-Signature") != _SIGNATURE:
            return _xml(403, "AccessDenied", "Access Denied")
        path = paths.get(asked.path)
        if path is None:
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        return Reply(body=path.read_bytes(), headers={"Content-Type": "application/zip", "ETag": '"1"'}, ranges=True)

    return answer


def _account(asked: Asked, accounts: Sequence[Account]) -> Account | None:
    """Who asks, by name and password or by token."""
    scheme, _, shown = asked.headers.get("authorization", "").partition(" ")
    for one in accounts:
        expected = {"Basic": base64.b64encode(f"{one.name}:{one.password}".encode()).decode(), "Bearer": one.token}
        if shown and expected.get(scheme) == shown:
            return one
    return None


def _by_cookie(asked: Asked, accounts: Sequence[Account]) -> Account | None:
    cookies = asked.headers.get("cookie", "")
    return next((one for one in accounts if f"asf-urs={quote(one.name)}" in cookies), None)


def _json(status: int, **content: str) -> Reply:
    return Reply(status=status, body=json.dumps(content).encode(), headers={"Content-Type": "application/json"})


def _page(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    body = f"<html><body><h1>{text}</h1></body></html>".encode()
    return Reply(status=status, body=body, headers={"Content-Type": "text/html", **(headers or {})})


def _xml(status: int, code: str, text: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
    return Reply(status=status, body=body, headers={"Content-Type": "application/xml"})
