"""Maps of the ionosphere in the format IONEX, and what they say of a place and a time.

Schaer, Gurtner and Feltens, 1998, "IONEX: The IONosphere Map EXchange format version 1".
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_NAMES = (
    re.compile(r"^(?P<centre>[a-z]{3})g(?P<day>\d{3})0\.(?P<year>\d{2})i(?:\.gz)?$", re.IGNORECASE),
    re.compile(
        r"^(?P<centre>[A-Z]{3})\w{7}_(?P<year>\d{4})(?P<day>\d{3})\d{4}_01D_\w{3}_GIM\.INX(?:\.gz)?$", re.IGNORECASE
    ),
)
_NOTHING = 9999
_LABEL = 60
"""Column at which a line says what it is."""
_HINT = "use daily IONEX files (jplg3190.15i or JPL0OPSFIN_20153190000_01D_02H_GIM.INX, also .gz), unpacked from .Z"


class MapFile(NamedTuple):
    """A file of one day, by its name."""

    path: Path
    centre: str
    day: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """Vertical electron content of a thin shell, TECU, on (map, latitude, longitude), axes rising; NaN unknown.

    ``rms`` is that of the maps, where the file has it.
    """

    times: tuple[datetime, ...]
    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    content: NDArray[np.float64]
    rms: NDArray[np.float64] | None
    shell_radius_m: float


def list_maps(folder: Path) -> list[MapFile]:
    """List the files of a folder that are named as IONEX files are."""
    return [one for path in sorted(folder.glob("*")) if (one := _read_name(path))]


def _read_name(path: Path) -> MapFile | None:
    for pattern in _NAMES:
        if match := pattern.match(path.name):
            year = int(match["year"])
            year += 0 if year > 99 else 1900 if year > 80 else 2000
            day = datetime(year, 1, 1, tzinfo=timezone.utc) + timedelta(days=int(match["day"]) - 1)
            return MapFile(path, match["centre"].lower(), day)
    return None


def choose_maps(files: Sequence[MapFile], times: Sequence[datetime]) -> tuple[MapFile, ...]:
    """Choose the file of each time, all of one centre; nothing where none has all.

    Parameters
    ----------
    files : sequence of MapFile
    times : sequence of datetime
    """
    for centre in sorted({one.centre for one in files}):
        known = {one.day.date(): one for one in files if one.centre == centre}
        if all(time.date() in known for time in times):
            return tuple(known[time.date()] for time in times)
    return ()


def read_maps(path: Path) -> Maps:
    """Read a file.

    Raises
    ------
    ProvisionError
        If it cannot be read, is none, or is cut.
    """
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("ascii", "replace").splitlines()
        return _parse(lines)
    except (OSError, EOFError, KeyError, ValueError, IndexError) as exc:
        msg = f"{path} cannot be read as IONEX: {exc}"
        raise ProvisionError(msg, hint=_HINT) from exc


def _parse(lines: list[str]) -> Maps:
    head = {line[_LABEL:].strip(): line[:_LABEL].split() for line in lines[: _find(lines, "END OF HEADER")]}
    latitude, longitude = (_lay_axis(head[f"{axis}1 / {axis}2 / D{axis}"]) for axis in ("LAT", "LON"))
    scale = 10.0 ** int(head["EXPONENT"][0]) if "EXPONENT" in head else 0.1
    found: dict[str, list[tuple[datetime, NDArray[np.float64]]]] = {"TEC": [], "RMS": []}
    for kind, time, values in _list_grids(lines, longitude.size):
        if kind in found:
            grid = np.array(values, np.float64).reshape(latitude.size, longitude.size)
            found[kind].append((time, np.where(grid == _NOTHING, np.nan, grid * scale)))
    count = int(head["# OF MAPS IN FILE"][0])
    if len(found["TEC"]) != count:
        msg = f"it has {len(found['TEC'])} maps of {count}"
        raise ValueError(msg)
    order = np.ix_(np.argsort(latitude), np.argsort(longitude))
    content, rms = (np.array([grid[order] for _, grid in found[kind]]) for kind in ("TEC", "RMS"))
    return Maps(
        times=tuple(time for time, _ in found["TEC"]),
        latitude_deg=np.sort(latitude),
        longitude_deg=np.sort(longitude),
        content=content,
        rms=rms if len(rms) == count else None,
        shell_radius_m=1000 * (float(head["BASE RADIUS"][0]) + float(head["HGT1 / HGT2 / DHGT"][0])),
    )


def _find(lines: list[str], label: str) -> int:
    for number, line in enumerate(lines):
        if line[_LABEL:].strip() == label:
            return number
    msg = f"it has no line {label!r}"
    raise ValueError(msg)


def _lay_axis(told: list[str]) -> NDArray[np.float64]:
    first, last, step = map(float, told)
    return np.asarray(first + step * np.arange(round((last - first) / step) + 1), np.float64)


def _list_grids(lines: list[str], columns: int) -> Iterator[tuple[str, datetime, list[int]]]:
    """Each map's kind, time and numbers, row by row."""
    kind, time, values = "", datetime(1, 1, 1, tzinfo=timezone.utc), list[int]()
    rows = iter(lines)
    for line in rows:
        label = line[_LABEL:].strip()
        if label.startswith("START OF ") and label.endswith(" MAP"):
            kind, values = label.split()[2], []
        elif label == "EPOCH OF CURRENT MAP":
            year, month, date, hour, minute = (int(part) for part in line[:_LABEL].split()[:5])
            time = datetime(year, month, date, tzinfo=timezone.utc) + timedelta(hours=hour, minutes=minute)
        elif label == "LAT/LON1/LON2/DLON/H" and kind:
            row: list[int] = []
            while len(row) < columns:
                text = next(rows, "")
                if not text.strip():
                    return
                row += [int(part) for part in text.split()]
            values += row
        elif label.startswith("END OF ") and label.endswith(" MAP"):
            yield kind, time, values
            kind = ""


def find_content(
    maps: Maps, grids: NDArray[np.float64], place_deg: tuple[NDArray[Any], NDArray[Any]], time: datetime
) -> NDArray[np.float64]:
    """Find what maps say at places and a time: linear between the two maps around it, each turned with the Sun.

    The ionosphere stands below the Sun while the Earth turns: a map of an earlier time is read farther east, by 15
    degrees an hour (Schaer et al., equation 3).

    Parameters
    ----------
    maps : Maps
    grids : (maps, latitude, longitude) float64
        Its ``content`` or ``rms``.
    place_deg : (...) float64, (...) float64
        Latitude and longitude.
    time : datetime

    Returns
    -------
    (...) float64
        NaN where the maps do not reach.
    """
    after = int(np.searchsorted(np.array([(one - time).total_seconds() for one in maps.times]), 0.0))
    if after == len(maps.times) or (after == 0 and maps.times[0] != time):
        return np.full(place_deg[0].shape, np.nan)
    before = max(after - 1, 0)
    if before == after:
        return _read_turned(maps, grids[0], place_deg, 0.0)
    first, second = maps.times[before], maps.times[after]
    later = (time - first) / (second - first)
    hours = [(time - one).total_seconds() / 3600 for one in (first, second)]
    old, new = (
        _read_turned(maps, grids[number], place_deg, hour) for number, hour in zip((before, after), hours, strict=True)
    )
    return (1 - later) * old + later * new


def _read_turned(
    maps: Maps, grid: NDArray[np.float64], place_deg: tuple[NDArray[Any], NDArray[Any]], hours: float
) -> NDArray[np.float64]:
    from scipy.interpolate import RegularGridInterpolator

    first = maps.longitude_deg[0]
    longitude = (place_deg[1] + 15.0 * hours - first) % 360 + first
    find = RegularGridInterpolator((maps.latitude_deg, maps.longitude_deg), grid, bounds_error=False, fill_value=np.nan)
    return np.asarray(find((place_deg[0], longitude)), np.float64)
