"""The list of pairs: one pair of Sentinel-1 products per line, however users write it.

Accepted are ``A B``, ``A,B``, ``("A.SAFE", "B.SAFE")`` and, for several slices of one pass per date,
``["A1","A2"], ["B1","B2"]``; also inside a Python list that goes over all lines.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from topsar.errors import SettingsError
from topsar.files import encoding_of

EXAMPLE = "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1"
REVOLUTION = timedelta(minutes=98.7)
HINT = f"write one pair per line: REFERENCE SECONDARY, both named like {EXAMPLE}"

_PRODUCT = re.compile(
    r"(?P<mission>S1[ABCD])_IW_SLC__1S[SD][VH]_(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})"
    r"_(?P<orbit>\d{6})_(?P<datatake>[0-9A-F]{6})_[0-9A-F]{4}",
    re.ASCII,
)
_TOKEN = re.compile(
    r"""\#.* | "([^"]*)" | '([^']*)' | ([\[({]) | ([\])}]) | ([^\s,;\[\](){}"'\#]+) | ["']""", re.VERBOSE
)
_ALIKE = str.maketrans(
    {quote: '"' for quote in "“”„‟«»″「」『』〝〞＂"}
    | {quote: "'" for quote in "‘’‚‛‹›′＇`"}
    | {bracket: "[" for bracket in "【〔〖［"}
    | {bracket: "]" for bracket in "】〕〗］"}
    | {
        "（": "(",
        "）": ")",
        "｛": "{",
        "｝": "}",
        "，": ",",
        "、": ",",
        "；": ";",
        "＃": "#",
        "\ufeff": "",
        "\u200b": "",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLine:
    """One line of the list: product names without suffix, the slices of each date in time order."""

    line: int
    reference: tuple[str, ...]
    secondary: tuple[str, ...]


def read_pairs(path: Path) -> tuple[PairLine, ...]:
    """Read a list of pairs.

    Parameters
    ----------
    path : Path
        Text file with one pair per line; ``#`` begins a comment.

    Raises
    ------
    SettingsError
        If the file is missing, is empty or has bad lines; every bad line is named with its number and what was
        expected.
    """
    pairs: list[PairLine] = []
    problems: list[str] = []
    earlier: dict[tuple[str, str], PairLine] = {}
    for number, text in enumerate(path.read_text(encoding=encoding_of(path)).split("\n"), start=1):
        try:
            pair = parse_line(text, number)
            if pair is not None:
                _refuse_repetition(pair, earlier)
                pairs.append(pair)
        except ValueError as exc:
            problems.append(f"line {number}: {exc}")
    if problems:
        count = "1 bad line" if len(problems) == 1 else f"{len(problems)} bad lines"
        raise SettingsError("\n  ".join([f"{path.absolute()} has {count}:", *problems]), hint=HINT)
    if not pairs:
        msg = f"{path.absolute()} lists no pairs"
        raise SettingsError(msg, hint=HINT)
    return tuple(pairs)


def parse_line(text: str, number: int) -> PairLine | None:
    """The pair that a line names, or None for a line without one.

    Raises
    ------
    ValueError
        Saying what is wrong with the line and what was expected.
    """
    items = _unwrap(_nest(_tokens(text)))
    if not items:
        return None
    if len(items) != 2:
        msg = f"expected two products, a reference and a secondary, found {len(items)}"
        if len(items) > 2:
            msg += '; several slices of one date are written ["A1","A2"], ["B1","B2"]'
        raise ValueError(msg)
    reference, secondary = (_side(item) for item in items)
    both = set(reference) & set(secondary)
    if both:
        msg = f"{both.pop()} is on both sides; expected two dates"
        raise ValueError(msg)
    day = _part(reference[0], "start")[:8]
    if day == _part(secondary[0], "start")[:8] or _one_pass((*reference, *secondary)):
        msg = f"both sides are of the same date, {day}; expected two dates"
        raise ValueError(msg)
    return PairLine(line=number, reference=reference, secondary=secondary)


# --- from text to nested lists ----------------------------------------------------------------------------------

Nested: TypeAlias = "list[str | Nested]"


def _tokens(text: str) -> Iterator[str]:
    """Opening ``[`` and closing ``]`` brackets of whatever shape, and names, quotes gone."""
    text = re.sub(r"^\s*\w+\s*=", "", text.translate(_ALIKE))
    for match in _TOKEN.finditer(text):
        double, single, opening, closing, bare = match.groups()
        name = next((part for part in (double, single, bare) if part is not None), None)
        if opening or closing:
            yield "[" if opening else "]"
        elif name is not None:
            yield name.strip()
        elif not match[0].startswith("#"):
            msg = f"a quote at character {match.start() + 1} is never closed"
            raise ValueError(msg)


def _nest(tokens: Iterator[str]) -> Nested:
    """Names grouped by brackets; those of a list around all lines open or close on other lines and do not count."""
    top: Nested = []
    open_lists = [top]
    for token in tokens:
        if token == "[":
            inner: Nested = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif token == "]":
            del open_lists[max(1, len(open_lists) - 1) :]
        else:
            open_lists[-1].append(token)
    return top


def _unwrap(items: Nested) -> Nested:
    while len(items) == 1 and isinstance(items[0], list):
        items = items[0]
    return items


# --- from names to a pair ---------------------------------------------------------------------------------------


def _side(item: str | Nested) -> tuple[str, ...]:
    """The products of one date, in time order."""
    names = []
    stack = [item]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(reversed(part))
        else:
            names.append(product_name(part))
    if not names:
        msg = "expected a product between the brackets"
        raise ValueError(msg)
    names.sort(key=lambda name: _part(name, "start"))
    for earlier, later in itertools.pairwise(names):
        if _part(earlier, "start") == _part(later, "start"):
            msg = (
                f"one slice is listed twice, {earlier} and {later}" if earlier != later else f"{later} is listed twice"
            )
            raise ValueError(msg)
    if not _one_pass(names):
        orbits = ", ".join(dict.fromkeys(_part(name, "mission") + " " + _part(name, "orbit") for name in names))
        msg = f"the slices of one date are of different passes (orbits {orbits}); expected slices of one pass"
        raise ValueError(msg)
    return tuple(names)


def product_name(text: str) -> str:
    """The product that ``text`` names, without folders in front and without .SAFE or .zip.

    Raises
    ------
    ValueError
        Saying in which part it differs from the name of an IW SLC product.
    """
    base = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = re.sub(r"(\.SAFE|\.zip)+$", "", base, flags=re.IGNORECASE)
    problem = _misnomer(name)
    if problem:
        msg = f"{name if len(name) <= 80 else name[:80] + '...'!r} {problem}"
        raise ValueError(msg)
    return name


def _misnomer(name: str) -> str:
    """What keeps ``name`` from being the name of an IW SLC product; empty if nothing."""
    mission, mode, kind = name[:4], name[4:6], name[7:10]
    if not re.fullmatch(r"S1[A-D]_", mission, re.IGNORECASE):
        return "is not the name of a Sentinel-1 product (S1A_IW_SLC__1SDV_...)"
    if name != name.upper():
        return "has small letters; expected the name in capitals, as the product was delivered"
    cut = f"is cut off: it has {len(name)} of {len(EXAMPLE)} characters"
    if len(name) < len("S1A_IW_SLC"):
        return cut
    if mode != "IW":
        return f"was taken in mode {mode}; expected IW"
    if kind != "SLC":
        return f"is a {kind.strip('_')} product; expected SLC"
    match = _PRODUCT.fullmatch(name)
    if match is None and len(name) < len(EXAMPLE):
        return cut
    if match is None:
        return f"is not a product name; expected one like {EXAMPLE}"
    for text in match["start"], match["stop"]:
        try:
            _time(text)
        except ValueError:
            return f"holds {text}, which is no date and time"
    return "" if match["start"] < match["stop"] else "ends before it starts"


def _time(text: str) -> datetime:
    return datetime.strptime(text + "+0000", "%Y%m%dT%H%M%S%z")


def _part(name: str, part: str) -> str:
    match = _PRODUCT.fullmatch(name)
    return match[part] if match else ""


def _one_pass(names: Sequence[str]) -> bool:
    """Whether all were taken by one mission within one revolution: of one orbit number, or of one data take.

    The orbit number changes at the equator, in the middle of a data take.
    """
    starts = [_time(_part(name, "start")) for name in names]
    return (
        max(starts) - min(starts) < REVOLUTION
        and len({_part(name, "mission") for name in names}) == 1
        and any(len({_part(name, part) for name in names}) == 1 for part in ("orbit", "datatake"))
    )


def _refuse_repetition(pair: PairLine, earlier: dict[tuple[str, str], PairLine]) -> None:
    """Two pairs whose first slices start at the same times would share one folder."""
    key = _part(pair.reference[0], "start"), _part(pair.secondary[0], "start")
    if key in earlier:
        first = earlier[key]
        same = (first.reference, first.secondary) == (pair.reference, pair.secondary)
        msg = f"repeats the pair of line {first.line}" + ("" if same else " with other files of the same start times")
        raise ValueError(msg)
    if key[::-1] in earlier:
        msg = f"repeats the pair of line {earlier[key[::-1]].line} in reverse order"
        raise ValueError(msg)
    earlier[key] = pair
