"""ESA's XML with located errors: a value is there and of its kind, or the message says where it is not."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import datetime, timezone

from topsar.errors import TopsarError

_TIME = re.compile(
    r"(?:UTC=)?(?P<date>\d{4}-\d{2}-\d{2})T(?P<clock>\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d{1,9}))?Z?", re.ASCII
)


def parse_time(text: str) -> datetime:
    """Read a UTC time as products and orbit files write it.

    Parameters
    ----------
    text : str
        ``2023-09-04T06:37:30.123456``, with or without a fraction, a leading ``UTC=`` or a trailing ``Z``.

    Returns
    -------
    datetime
        Aware UTC time; digits beyond the microsecond are rounded off toward zero.

    Raises
    ------
    ValueError
        Where ``text`` is not such a time.
    """
    match = _TIME.fullmatch(text.strip())
    if not match:
        msg = f"not a UTC time: {text!r}"
        raise ValueError(msg)
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    return datetime.fromisoformat(f"{match['date']}T{match['clock']}.{fraction}").replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An XML element that knows which file it came from and which error its readers raise."""

    element: ET.Element
    where: str
    error: type[TopsarError]
    hint: str

    def child(self, path: str) -> Node:
        """The first element at ``path`` (ElementTree syntax)."""
        found = self.element.find(path)
        if found is None:
            raise self._expected(path, "an element")
        return self._at(found)

    def children(self, path: str) -> list[Node]:
        """All elements at ``path``, perhaps none."""
        return [self._at(found) for found in self.element.findall(path)]

    def has(self, path: str) -> bool:
        """Whether ``path`` exists and holds text."""
        return bool((self.element.findtext(path) or "").strip())

    def text(self, path: str) -> str:
        """Text at ``path``, stripped; empty text counts as missing."""
        text = (self.element.findtext(path) or "").strip()
        if not text:
            raise self._expected(path, "text")
        return text

    def number(self, path: str) -> float:
        """Finite number at ``path``."""
        return self.numbers(path, count=1)[0]

    def positive(self, path: str) -> float:
        """Number above zero at ``path``."""
        value = self.number(path)
        if value <= 0:
            raise self._expected(path, "a number above zero")
        return value

    def numbers(self, path: str, *, count: int | None = None) -> tuple[float, ...]:
        """Finite numbers at ``path``, separated by blanks; ``count`` of them where given."""
        kind = "a finite number" if count == 1 else f"{count or 'any'} finite numbers"
        try:
            values = tuple(float(word) for word in self.text(path).split())
        except ValueError as exc:
            raise self._expected(path, kind) from exc
        if not all(math.isfinite(value) for value in values) or len(values) != (count or len(values)):
            raise self._expected(path, kind)
        return values

    def integer(self, path: str) -> int:
        """Whole number at ``path``."""
        return self.integers(path, count=1)[0]

    def integers(self, path: str, *, count: int) -> list[int]:
        """``count`` whole numbers at ``path``, separated by blanks."""
        kind = "a whole number" if count == 1 else f"{count} whole numbers"
        try:
            values = [int(word) for word in self.text(path).split()]
        except ValueError as exc:
            raise self._expected(path, kind) from exc
        if len(values) != count:
            raise self._expected(path, kind)
        return values

    def time(self, path: str) -> datetime:
        """UTC time at ``path``."""
        try:
            return parse_time(self.text(path))
        except ValueError as exc:
            raise self._expected(path, "a UTC time") from exc

    def problem(self, what: str) -> TopsarError:
        """The error to raise for ``what``: it names the file and says what to do."""
        return self.error(f"{self.where}: {what}", hint=self.hint)

    def _expected(self, path: str, kind: str) -> TopsarError:
        text = (self.element.findtext(path) or "").strip()
        if not text:
            return self.problem(f"element {path} is missing or empty, expected {kind}")
        held = repr(text if len(text) <= 40 else text[:40] + "...")
        return self.problem(f"element {path} holds {held} ({len(text.split())} values), expected {kind}")

    def _at(self, element: ET.Element) -> Node:
        return Node(element=element, where=self.where, error=self.error, hint=self.hint)


def parse_xml(data: bytes, *, where: str, error: type[TopsarError], hint: str) -> Node:
    """Parse an XML document.

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

    Returns
    -------
    Node
        The root element.
    """
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as exc:
        msg = f"{where}: not well-formed XML ({exc})" if data.strip() else f"{where}: the file is empty"
        raise error(msg, hint=hint) from exc
    return Node(element=root, where=where, error=error, hint=hint)
