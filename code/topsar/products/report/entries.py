"""What a report is made from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from topsar.model import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEntry:
    """One step of a pair as it ended; what is not known is None."""

    name: str
    status: Status
    seconds: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEntry:
    """One pair: ``folder`` holds its products, ``message`` and ``log_tail`` say why it failed."""

    pair_id: str
    status: Status
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    steps: tuple[StepEntry, ...] = ()
    log_tail: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether its products are there."""
        return self.status in (Status.DONE, Status.CACHED)

    @property
    def dates(self) -> tuple[date, date] | None:
        """Reference and secondary date, from the facts or the pair's id; None if neither tells."""
        found = [str(self.facts.get(key, "")) for key in ("reference_date", "secondary_date")]
        if not all(found):
            found = re.findall(r"(?<!\d)(\d{8})(?:T\d{6})?(?!\d)", self.pair_id)[:2]
        try:
            first, second = (date(*(int(part) for part in _DATE.findall(text)[0])) for text in found)
        except (ValueError, IndexError):
            return None
        return first, second

    def number(self, key: str) -> float | None:
        """A fact that is a finite number, or None."""
        value = self.facts.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == _INFINITE:
            return None
        return float(value)

    @property
    def track(self) -> str:
        """Relative orbit, as text; empty if not known."""
        track = self.facts.get("track")
        named = re.match(r"T(\d{3})_", self.pair_id)
        return str(track) if track is not None else str(int(named[1])) if named else ""


_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_INFINITE = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingEntry:
    """One resolved setting and where its value came from."""

    key: str
    value: str
    origin: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The whole batch."""

    started: datetime
    seconds: float
    peak_memory_bytes: int | None = None
    freed_bytes: int = 0
