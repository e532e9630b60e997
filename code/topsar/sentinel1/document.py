"""ESA's XML with located errors: a value is there and of its kind, or the message says where it is not."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NoReturn, TypeVar

from topsar.errors import TopsarError

T = TypeVar("T")

_TIME = re.compile(
    r"(?:UTC=)?(?P<date>20\d{2}-\d{2}-\d{2})T(?P<clock>\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d{1,9}))?Z?", re.ASCII
)

_MOST_TAGS = 1_000_000
"""Five times as many as an orbit file of a day has; an annotation has less."""
LEAPS = tuple(datetime(year, month, 1, tzinfo=timezone.utc) for year, month in ((2015, 7), (2017, 1)))
"""Midnights before which UTC had a leap second, since there has been a Sentinel-1."""


def parse_time(text: str, near: datetime | None = None) -> datetime:
    """Read a UTC time such as ``2023-09-04T06:37:30.123456``, as products and orbit files write it, or ValueError.

    The fraction, a leading ``UTC=`` and a trailing ``Z`` are optional; it lies in this century. Digits beyond the
    microsecond are dropped. A leap second, ``23:59:60``, is the first of the next day.

    Parameters
    ----------
    text : str
    near : datetime, optional
        Where seconds count from: a time on the other side of a leap second is then as far from it as it was in truth.
    """
    match = _TIME.fullmatch(text.strip())
    if not match:
        msg = f"not a UTC time: {text!r}"
        raise ValueError(msg)
    fraction, clock = (match["fraction"] or "")[:6].ljust(6, "0"), match["clock"]
    is_leap = clock == "23:59:60"
    clock = "23:59:59" if is_leap else clock
    time = datetime.fromisoformat(f"{match['date']}T{clock}.{fraction}").replace(tzinfo=timezone.utc)
    between = 0 if near is None else sum(leap <= time for leap in LEAPS) - sum(leap <= near for leap in LEAPS)
    return time + timedelta(seconds=is_leap + between)


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An XML element that knows its file and the error of its readers; a ``path`` below it is in ElementTree syntax."""

    element: ET.Element
    where: str
    error: type[TopsarError]
    hint: str

    def find_child(self, path: str) -> Element:
        """The first element at ``path``."""
        found = self.element.find(path)
        if found is None:
            self._refuse_value(path, "an element")
        return self._at(found)

    def find_children(self, path: str) -> list[Element]:
        """All elements at ``path``, perhaps none."""
        return [self._at(found) for found in self.element.findall(path)]

    def has(self, path: str) -> bool:
        """Whether ``path`` exists and holds text."""
        return bool((self.element.findtext(path) or "").strip())

    def read_text(self, path: str) -> str:
        """Text at ``path``, stripped; empty text counts as missing."""
        text = (self.element.findtext(path) or "").strip()
        if not text:
            self._refuse_value(path, "text")
        return text

    def read_number(self, path: str) -> float:
        """Finite number at ``path``."""
        return self.read_numbers(path, count=1)[0]

    def read_positive(self, path: str) -> float:
        """Number above zero at ``path``."""
        value = self.read_number(path)
        if value <= 0:
            self._refuse_value(path, "a number above zero")
        return value

    def read_numbers(self, path: str, *, count: int | None = None) -> tuple[float, ...]:
        """Finite numbers at a path, separated by blanks.

        Parameters
        ----------
        path : str
        count : int, optional
            How many there must be.
        """
        kind = "a finite number" if count == 1 else f"{count or 'any'} finite numbers"
        values = self._parse_words(path, float, count, kind)
        if not all(math.isfinite(value) for value in values):
            self._refuse_value(path, kind)
        return values

    def read_integer(self, path: str) -> int:
        """Whole number at ``path``."""
        return self.read_integers(path, count=1)[0]

    def read_integers(self, path: str, *, count: int) -> tuple[int, ...]:
        """Whole numbers at ``path``, separated by blanks, ``count`` of them.

        Parameters
        ----------
        path : str
        count : int
            How many there must be.
        """
        return self._parse_words(path, int, count, "a whole number" if count == 1 else f"{count} whole numbers")

    def read_time(self, path: str, near: datetime | None = None) -> datetime:
        """UTC time at ``path``.

        Parameters
        ----------
        path : str
        near : datetime, optional
            As for `parse_time`.
        """
        try:
            return parse_time(self.read_text(path), near)
        except ValueError:
            self._refuse_value(path, "a UTC time")

    def refuse(self, what: str) -> NoReturn:
        """Raise the error that says ``what`` is wrong in which file, and what to do."""
        message = f"{self.where}: {what}"
        raise self.error(message, hint=self.hint)

    def _parse_words(self, path: str, parse: Callable[[str], T], count: int | None, kind: str) -> tuple[T, ...]:
        words = self.read_text(path).split()
        try:
            values = tuple(parse(word) for word in words)
        except ValueError:
            self._refuse_value(path, kind)
        if count not in (None, len(values)):
            self._refuse_value(path, kind)
        return values

    def _refuse_value(self, path: str, kind: str) -> NoReturn:
        text = (self.element.findtext(path) or "").strip()
        if not text:
            self.refuse(f"element {path} is missing or empty, expected {kind}")
        held = repr(text if len(text) <= 40 else text[:40] + "...")
        self.refuse(f"element {path} holds {held} ({len(text.split())} values), expected {kind}")

    def _at(self, element: ET.Element) -> Element:
        return Element(element=element, where=self.where, error=self.error, hint=self.hint)


def parse_xml(data: bytes, *, where: str, error: type[TopsarError], hint: str) -> Element:
    """Parse an XML document; its root element.

    Parameters
    ----------
    data : bytes
        The whole document.
    where : str
        The file's name, for messages.
    error : type
        What to raise on a bad document or value.
    hint : str
        What the user should do then.
    """
    if data.count(b"<") > _MOST_TAGS or b"<!ENTITY" in data:
        msg = f"{where}: it has a million elements, or entities of its own: no product has"
        raise error(msg, hint=hint)
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as exc:
        msg = f"{where}: not well-formed XML ({exc})" if data.strip() else f"{where}: the file is empty"
        raise error(msg, hint=hint) from exc
    return Element(element=root, where=where, error=error, hint=hint)
