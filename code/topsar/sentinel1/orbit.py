"""Orbit files (EOF): find, choose, read."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO

import numpy as np

from topsar.errors import ProvisionError
from topsar.files import follow_links, walk_folder
from topsar.model import Orbit, OrbitFile, OrbitSource
from topsar.sentinel1.document import Element, parse_xml

_NAME = re.compile(
    r"(?P<mission>S1[A-D])_OPER_AUX_(?P<source>POEORB|RESORB)_OPOD_(?P<created>\d{8}T\d{6})"
    r"_V(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})",
    re.ASCII,
)
_ENDING = re.compile(  # as browsers, archives and the ways of sending files leave it
    r"[ _]?(?:\(\d+\)|(?:- )?copy(?: \d+)?)?"
    r"(?:\.EOF(?: ?\(\d+\))?(?:\.(?:xml|txt))?(?:\.(?:zip|gz))?|\.(?:zip|gz))(?: ?\(\d+\))?",
    re.IGNORECASE,
)
_LIKELY = (".eof", ".xml", ".txt", ".gz", ".zip")
_FILE_NAME = re.compile(rb"<File_Name>\s*([^<\s]+)\s*</File_Name>")
_MOST_BYTES = 1 << 26
"""A larger file is no orbit: a day has 4.5 MB."""
PRECISE_AFTER = timedelta(days=20)
"""Age of a pass from which a precise orbit can be had."""
_STRICT = timedelta(seconds=60)
_RELAXED = timedelta(seconds=5)
_AROUND = timedelta(seconds=120)
_LARGEST_GAP_S = 30.0
_ODD_M, _ODD_M_S = 0.2, 0.1
"""No vector of a published orbit is so far off its neighbours: 0.06 m and 0.02 m/s where the satellite manoeuvred."""
_HEADER_BYTES = 4096
_HINT = "download the orbit file again"
_UTC = re.compile(rb"<UTC>UTC=([^<]*)</UTC>")


def parse_orbit_name(path: Path) -> OrbitFile:
    """Describe an orbit file by its name, as published or as copies and packed ones are called.

    Packed: ``.EOF.zip``, ``.EOF.gz``, ``.zip``; copies: `` (1).EOF``; others ``.eof``, ``.EOF.xml``. A ProvisionError
    tells that it is no such name.
    """
    form = "expected S1?_OPER_AUX_(POEORB|RESORB)_OPOD_<created>_V<start>_<stop>.EOF"
    hint = "keep the name the file was downloaded with"
    match = _NAME.match(path.name)
    if not match or not _ENDING.fullmatch(path.name, match.end()):
        msg = f"{path.name}: not the name of an orbit file, {form}"
        raise ProvisionError(msg, hint=hint)
    times = match.group("created", "start", "stop")
    try:
        created, start, stop = (datetime.strptime(f"{text}+0000", "%Y%m%dT%H%M%S%z") for text in times)
    except ValueError as exc:
        msg = f"{path.name}: a date that does not exist, {form}"
        raise ProvisionError(msg, hint=hint) from exc
    return OrbitFile(
        path=path,
        mission=match["mission"],
        source=OrbitSource(match["source"]),
        created=created,
        start=start,
        stop=stop,
    )


def find_orbits(folder: Path) -> tuple[OrbitFile, ...]:
    """Find orbit files in a folder and its subfolders, sorted by path; `list_unused_orbits` names the others.

    A file of another name is known by the one in its header, as are links by that of their target.
    """
    found = (_identify(path) for path in walk_folder(folder) if path.is_file())
    return tuple(sorted((file for file in found if isinstance(file, OrbitFile)), key=lambda file: file.path))


def list_unused_orbits(folder: Path) -> tuple[str, ...]:
    """List the files in a folder and its subfolders that are not used as orbits, each with the reason."""
    reasons = []
    for path in walk_folder(folder):
        if path.is_symlink() and not path.exists():
            reasons.append(f"{path.name}: a link that leads nowhere")
        elif path.is_file() and ".part" not in path.suffixes and isinstance(file := _identify(path), ProvisionError):
            reasons.append(file.message)
    return tuple(reasons)


def _identify(path: Path) -> OrbitFile | ProvisionError:
    """Describe an orbit file by its name, else by that of a link's target, else by the one in its header."""
    try:
        return parse_orbit_name(path)
    except ProvisionError as exc:
        problem = exc
    names = [follow_links(path).name]
    if path.name.lower().endswith(_LIKELY):
        with suppress(ProvisionError):
            match = _FILE_NAME.search(read_orbit_bytes(path)[:_HEADER_BYTES])
            names += [match[1].decode("ascii", "replace").removesuffix(".EOF") + ".EOF"] if match else []
    for name in names:
        with suppress(ProvisionError):
            return replace(parse_orbit_name(path.with_name(name)), path=path)
    return problem


def choose_orbit(files: Iterable[OrbitFile], mission: str, start: datetime, stop: datetime) -> OrbitFile | None:
    """Choose the best orbit file for a pass, or None.

    POEORB comes before RESORB; then one that reaches 60 s beyond the pass on both sides before one that reaches
    only 5 s (some published files fall short of their specification); then the newest.

    Parameters
    ----------
    files : iterable of OrbitFile
    mission : str
        ``S1A`` to ``S1D``.
    start, stop : datetime
        The pass.
    """
    fitting = [f for f in files if f.mission == mission and _covers(f, start, stop, _RELAXED)]
    return max(
        fitting,
        key=lambda f: (f.source is OrbitSource.PRECISE, _covers(f, start, stop, _STRICT), f.created),
        default=None,
    )


def advise_on_orbit(flown: datetime) -> str:
    """Say how to come by a precise orbit, which depends on how long ago the pass was."""
    if datetime.now(timezone.utc) - flown < PRECISE_AFTER:
        return f"precise ones (POEORB) come {PRECISE_AFTER.days} days after the pass; run again then"
    return "put the .EOF file into orbit_data, or let a run fetch it: OFFLINE=0"


def read_orbit(file: OrbitFile, start: datetime, stop: datetime) -> Orbit:
    """Read the state vectors around a pass: from 120 s before ``start`` to 120 s after ``stop``, as far as given.

    Parameters
    ----------
    file : OrbitFile
        What its name says; what lies at its path is an EOF file, or a zip of one, read in place.
    start, stop : datetime
        The pass; the vectors themselves must reach 5 s beyond it without a gap over 30 s.

    Raises
    ------
    ProvisionError
        Where the file is damaged, not what its name says, not Earth-fixed UTC, or does not cover the pass.
    """
    path = file.path
    content = _drop_far_vectors(read_orbit_bytes(path), start - _AROUND, stop + _AROUND)
    root = parse_xml(content, where=path.name, error=ProvisionError, hint=_HINT)
    _check_header(root, file)
    vectors = _find_vectors(root, start - _AROUND, stop + _AROUND)
    if not vectors:
        raise _refuse_pass(path, start, stop, "no state vector lies near it")
    orbit = build_orbit(
        root,
        source=file.source,
        name=file.name,
        times=[v.read_time("UTC", start) for v in vectors],
        positions=[[v.read_number(tag) for tag in ("X", "Y", "Z")] for v in vectors],
        velocities=[[v.read_number(tag) for tag in ("VX", "VY", "VZ")] for v in vectors],
    )
    _check_coverage(orbit, path, start, stop)
    return orbit


def build_orbit(
    document: Element,
    *,
    source: OrbitSource,
    name: str,
    times: Sequence[datetime],
    positions: Sequence[Sequence[float]],
    velocities: Sequence[Sequence[float]],
) -> Orbit:
    """Build an orbit from n state vectors, seconds counted from the first; one that is damaged is refused.

    Parameters
    ----------
    document : Element
        The document they come from; it refuses times that do not increase, and a vector off the others.
    source, name : OrbitSource, str
        Where they come from, and its name.
    times : sequence of n datetimes
        UTC.
    positions, velocities : sequences of n triples
        Earth-fixed, m and m/s.
    """
    epoch = times[0]
    times_s = np.array([(time - epoch).total_seconds() for time in times], dtype=np.float64)
    steps = np.diff(times_s)
    if (steps <= 0).any():
        at = times[int(np.argmax(steps <= 0)) + 1]
        document.refuse(f"state vectors are not in time order at {at:%Y-%m-%dT%H:%M:%S}")
    orbit = Orbit(
        source=source,
        name=name,
        epoch=epoch,
        times_s=times_s,
        positions_m=np.array(positions, dtype=np.float64),
        velocities_m_s=np.array(velocities, dtype=np.float64),
    )
    if (odd := _find_odd_vector(orbit)) is not None:
        index, off_m, off_m_s = odd
        near = f"{times[index]:%Y-%m-%dT%H:%M:%S}"
        document.refuse(f"state vectors around {near} are not of one orbit, by {off_m:.3g} m and {off_m_s:.3g} m/s")
    return orbit


def _find_odd_vector(orbit: Orbit) -> tuple[int, float, float] | None:
    """Find the vector farthest off the cubic through its neighbours, by metres and by m/s, if any is too far."""
    t, p, v = orbit.times_s, orbit.positions_m, orbit.velocities_m_s
    if len(t) < 3:
        return None
    span = (t[2:] - t[:-2])[:, np.newaxis]
    s = (t[1:-1] - t[:-2])[:, np.newaxis] / span
    chord = p[2:] - p[:-2]
    place = p[:-2] + s**2 * (3 - 2 * s) * chord + span * s * (1 - s) * ((1 - s) * v[:-2] - s * v[2:])
    speed = 6 * s * (1 - s) * chord / span + (1 - s) * (1 - 3 * s) * v[:-2] + s * (3 * s - 2) * v[2:]
    off_m, off_m_s = (np.linalg.norm(one, axis=1) for one in (p[1:-1] - place, v[1:-1] - speed))
    # What a cubic misses of an orbit grows with the fourth power of the time: 4 mm for vectors 10 s apart.
    stretch = (span[:, 0] / 20) ** 4
    share = np.maximum(off_m / (_ODD_M + 0.01 * stretch), off_m_s / (_ODD_M_S + 0.01 * stretch))
    index = int(np.argmax(share))
    return None if share[index] <= 1 else (index + 1, float(off_m[index]), float(off_m_s[index]))


def _covers(file: OrbitFile, start: datetime, stop: datetime, margin: timedelta) -> bool:
    return file.start <= start - margin and stop + margin <= file.stop


def read_orbit_bytes(path: Path) -> bytes:
    """The content of an orbit file, unpacked where it is a zip."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
            stream.seek(0)
            if start[:2] == b"\x1f\x8b":
                return _read_bounded(gzip.open(stream), path)
            if start != b"PK\x03\x04" and path.suffix.lower() != ".zip":
                return _read_bounded(stream, path)
            with zipfile.ZipFile(stream) as archive:
                members = [
                    name for name in archive.namelist() if name.upper().endswith(".EOF") and "__MACOSX" not in name
                ]
                if len(members) != 1:
                    msg = f"{path.name}: the zip holds {len(members)} .EOF files, expected one"
                    raise ProvisionError(msg, hint=_HINT)
                with archive.open(members[0]) as member:
                    return _read_bounded(member, path)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as exc:
        msg = f"{path.name}: cannot be read ({exc})"
        raise ProvisionError(msg, hint=_HINT) from exc


def _read_bounded(stream: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        msg = f"{path.name}: larger than any orbit file"
        raise ProvisionError(msg, hint=_HINT)
    return content


def _drop_far_vectors(content: bytes, start: datetime, stop: datetime) -> bytes:
    """Drop the state vectors of other times of the day: parsing all 9,000 takes half a second."""
    second = timedelta(seconds=1)
    first, last = (f"{time:%Y-%m-%dT%H:%M:%S}".encode() for time in (start - second, stop + second))
    header, *vectors = content.split(b"<OSV>")
    times = _UTC.findall(content)
    if not vectors or len(times) != len(vectors):
        return content
    near = [vector for vector, time in zip(vectors[:-1], times, strict=False) if first <= time <= last]
    return b"<OSV>".join([header, *near, vectors[-1]])  # the last one ends the document


def _check_header(root: Element, file: OrbitFile) -> None:
    """Refuse a file whose header contradicts its name, or vectors in another frame or time scale."""
    expected = {
        "Fixed_Header/Mission": f"Sentinel-1{file.mission[-1]}",
        "Fixed_Header/File_Type": f"AUX_{file.source.value}",
        "Variable_Header/Ref_Frame": "EARTH_FIXED",
        "Variable_Header/Time_Reference": "UTC",
    }
    header = root.find_child("Earth_Explorer_Header")
    for element, value in expected.items():
        if (stated := header.read_text(element)) != value:
            msg = f"{root.where}: {element} is {stated}, expected {value}"
            raise ProvisionError(msg, hint="use the file as published: Earth-fixed, UTC, under its own name")


def _find_vectors(root: Element, start: datetime, stop: datetime) -> list[Element]:
    """Find the state vectors of a period; ISO times compare as text, without conversion."""
    first, last = (f"UTC={time:%Y-%m-%dT%H:%M:%S.%f}" for time in (start, stop))
    return [osv for osv in root.find_children("Data_Block/List_of_OSVs/OSV") if first <= osv.read_text("UTC") <= last]


def _check_coverage(orbit: Orbit, path: Path, start: datetime, stop: datetime) -> None:
    if orbit.epoch > start - _RELAXED:
        raise _refuse_pass(path, start, stop, f"its first state vector is of {orbit.epoch:%Y-%m-%dT%H:%M:%S}")
    last = orbit.epoch + timedelta(seconds=float(orbit.times_s[-1]))
    if last < stop + _RELAXED:
        raise _refuse_pass(path, start, stop, f"its last state vector is of {last:%Y-%m-%dT%H:%M:%S}")
    gap = float(np.diff(orbit.times_s).max())
    if gap > _LARGEST_GAP_S:
        raise _refuse_pass(path, start, stop, f"its state vectors have a gap of {gap:.0f} s")


def _refuse_pass(path: Path, start: datetime, stop: datetime, why: str) -> ProvisionError:
    msg = f"{path.name}: does not cover the pass {start:%Y-%m-%dT%H:%M:%S} to {stop:%Y-%m-%dT%H:%M:%S}: {why}"
    return ProvisionError(msg, hint="choose an orbit file whose validity reaches at least 5 s beyond the pass")
