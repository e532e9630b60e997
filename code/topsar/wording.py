"""Numbers and foreign text as people read them, on the page and on a terminal."""

from __future__ import annotations

import math
import re

DASH = "–"

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def seconds_text(seconds: float | None) -> str:
    """``0.4 s``, ``44 s``, ``3 min 20 s``, ``1 h 02 min``; a dash for None."""
    if seconds is None:
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def bytes_text(count: float | None) -> str:
    """``512 B``, ``3.4 MB``, ``1.9 GB``: powers of ten; a dash for None."""
    if count is None:
        return DASH
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def rate_text(rate: float) -> str:
    """``0.84``, ``8.4``, ``84``, ``840``."""
    return f"{rate:.{min(max(1 - math.floor(math.log10(rate)), 0), 3)}f}" if rate > 0 else "0"


def count_text(count: int, noun: str, plural: str = "") -> str:
    """``1 pair``, ``3 pairs``; the plural is the noun with an s, or as given.

    Parameters
    ----------
    count : int
        How many there are.
    noun : str
        The singular.
    plural : str
        Where it is not the noun with an s.
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def round_step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least)


def plain(text: object) -> str:
    """Text without terminal escapes and control characters; its lines stay."""
    return _CONTROL.sub("", str(text))
