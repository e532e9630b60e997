"""The buckets of orbits and calibration files, answering from a folder of EOF files.

Each function makes a handler for `services.loopback.Loopback`; ``at`` is where it lies on the server.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.sax.saxutils import escape

from services.loopback import Asked, Handler, Reply
from topsar.sentinel1 import find_orbits

if TYPE_CHECKING:
    from topsar.model import OrbitFile

_XML = {"Content-Type": "application/xml"}


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
