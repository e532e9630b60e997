"""A GrADS Data Server's answers: attributes of a data set, and arrays in the binary form of DAP 2.

"The Data Access Protocol, DAP 2.0" (NASA ESDS-RFC-004): a description as text, the line ``Data:``, then XDR.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.errors import ProvisionError
from topsar.provision.weather.columns import CHANGED
from topsar.provision.web.failures import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from topsar.provision.web.client import Fetcher
    from topsar.provision.web.failures import Answer

_DATA = re.compile(rb"\r?\nData:\r?\n")
_ARRAY = re.compile(r"(Float32|Float64) (\w+)((?:\[\w+ = \d+\])+);")
_GRID = re.compile(r"Grid\s*\{(.*?)\}\s*(\w+);", re.DOTALL)
_TYPES = {"Float32": ">f4", "Float64": ">f8"}
_FIRST = re.compile(r"(?:(\d\d):)?(\d\d)z(\d{1,2})([a-z]{3})(\d{4})")
_STEP = re.compile(r"(\d+)(mn|hr|dy)")
_MINUTES = {"mn": 1, "hr": 60, "dy": 1440}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis of equal steps: its first value, step and count."""

    first: float
    step: float
    size: int

    def find(self, low: float, high: float) -> slice | None:
        """The nodes from the last at or below ``low`` to the first at or above ``high``; None if some are not there."""
        start, stop = (np.floor((low - self.first) / self.step + 1e-9), np.ceil((high - self.first) / self.step - 1e-9))
        return slice(int(start), int(stop) + 1) if start >= 0 and stop < self.size else None

    def at(self, part: slice) -> NDArray[np.float64]:
        """Values of some nodes."""
        return self.first + self.step * np.arange(part.start, part.stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What the server tells of a data set: its axes and times."""

    latitude: Axis
    longitude: Axis
    levels: int
    first_time: datetime
    interval: timedelta
    times: int

    @property
    def last_time(self) -> datetime:
        """The newest time there is."""
        return self.first_time + (self.times - 1) * self.interval


def read_attributes(fetcher: Fetcher, url: str, what: str) -> Attributes:
    """Ask for the attributes of a data set.

    Parameters
    ----------
    fetcher : Fetcher
    url : str
    what : str
        In words.

    Raises
    ------
    ProvisionError
        If there is no answer, or none that can be understood.
    """
    text = fetcher.ask(f"{url}.das", what=f"the axes of {what}").text
    try:
        blocks = {name: _read_block(text, name) for name in ("lat", "lon", "lev", "time")}
        time = blocks["time"]
        return Attributes(
            latitude=_lay_axis(blocks["lat"]),
            longitude=_lay_axis(blocks["lon"]),
            levels=int(blocks["lev"]["grads_size"]),
            first_time=_read_first(time["grads_min"]),
            interval=_read_step(time["grads_step"]),
            times=int(time["grads_size"]),
        )
    except (KeyError, ValueError, ZeroDivisionError) as exc:
        msg = (
            f"the axes of {what} cannot be read ({type(exc).__name__}: {exc}): {excerpt(text, fetcher.mask, most=80)!r}"
        )
        raise ProvisionError(msg, hint=CHANGED) from exc


def _read_block(text: str, name: str) -> dict[str, str]:
    found = re.search(rf"\b{name} \{{(.*?)\}}", text, re.DOTALL)
    if found is None:
        raise KeyError(name)
    return {key: value.strip('"') for key, value in re.findall(r"\w+ (\w+) (\"[^\"]*\"|[^;]+);", found[1])}


def _lay_axis(block: Mapping[str, str]) -> Axis:
    first, last, size = float(block["minimum"]), float(block["maximum"]), int(block["grads_size"])
    return Axis(first=first, step=(last - first) / (size - 1), size=size)


def _read_first(text: str) -> datetime:
    found = _FIRST.fullmatch(text.lower())
    if found is None:
        raise ValueError(text)
    # 22:30z11sep2026, or 00z01dec2017
    hour, minute = (found[1], found[2]) if found[1] else (found[2], "0")
    month = _MONTHS.index(found[4]) + 1
    return datetime(int(found[5]), month, int(found[3]), int(hour), int(minute), tzinfo=timezone.utc)


def _read_step(text: str) -> timedelta:
    found = _STEP.fullmatch(text.lower())
    if found is None or not int(found[1]):
        raise ValueError(text)
    return timedelta(minutes=int(found[1]) * _MINUTES[found[2]])


def read_grids(
    fetcher: Fetcher, url: str, names: Sequence[str], parts: Sequence[slice], what: str
) -> dict[str, dict[str, NDArray[Any]]]:
    """Ask for the same part of several grids.

    Parameters
    ----------
    fetcher : Fetcher
    url : str
        Of the data set.
    names : sequence of str
    parts : sequence of slice
        One for each axis.
    what : str
        In words.

    Returns
    -------
    dict
        By grid, its array and its axes by name.

    Raises
    ------
    ProvisionError
        If there is no answer, or another than was asked for.
    """
    ranges = "".join(f"%5B{part.start}:1:{part.stop - 1}%5D" for part in parts)  # Tomcat refuses bare brackets
    answer = fetcher.ask(f"{url}.dods?" + ",".join(f"{name}{ranges}" for name in names), what=what)
    try:
        found = _parse(answer)
    except ValueError as exc:
        said = excerpt(answer.body[:400].decode("ascii", "replace"), fetcher.mask, most=120)
        msg = f"{what}: the answer cannot be read ({exc}): {said!r}"
        raise ProvisionError(msg, hint=CHANGED) from exc
    shape = tuple(part.stop - part.start for part in parts)
    for name in names:
        if name not in found or found[name][name].shape != shape:
            has = found[name][name].shape if name in found else "nothing"
            msg = f"{what}: {shape} of {name} were asked for, {has} came"
            raise ProvisionError(msg, hint=CHANGED)
    return found


def _parse(answer: Answer) -> dict[str, dict[str, NDArray[Any]]]:
    mark = _DATA.search(answer.body)
    head = answer.body[: mark.start()].decode("ascii", "replace") if mark else ""
    if mark is None or not head.lstrip().startswith("Dataset"):
        msg = "no DAP 2 data"
        raise ValueError(msg)
    place, grids = mark.end(), {}
    for block, grid in _GRID.findall(head):
        arrays = {}
        for kind, name, axes in _ARRAY.findall(block):
            shape = [int(size) for size in re.findall(r"= (\d+)\]", axes)]
            arrays[name], place = _read_array(answer.body, place, _TYPES[kind], shape)
        grids[grid] = arrays
    if place != len(answer.body):
        msg = f"{len(answer.body) - place} bytes are too many"
        raise ValueError(msg)
    return grids


def _read_array(body: bytes, place: int, kind: str, shape: Sequence[int]) -> tuple[NDArray[Any], int]:
    """An array and where the next one begins: its length comes twice, then its values."""
    count = int(np.prod(shape))
    lengths = np.frombuffer(body, ">u4", 2, place)
    if (lengths != count).any():
        msg = f"an array of {count} values says that it has {lengths[0]}"
        raise ValueError(msg)
    values = np.frombuffer(body, kind, count, place + 8)
    return values.reshape(shape), place + 8 + values.nbytes
