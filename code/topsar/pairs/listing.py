"""Lists of pairs: one pair of Sentinel-1 products per line of a file, or a list of pairs of names.

A line is ``A B``, ``A,B``, ``("A.SAFE", "B.SAFE")`` or, for several slices of one pass per date,
``["A1","A2"], ["B1","B2"]``; one Python list may stand around all lines.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from topsar.errors import SettingsError
from topsar.files import encoding_of
from topsar.model import PRODUCT_NAME
from topsar.wording import count_text

log = logging.getLogger(__name__)
T = TypeVar("T")

EXAMPLE = "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1"
REVOLUTION = timedelta(minutes=98.7)
HINT = f"write one pair per line: REFERENCE SECONDARY, both named like {EXAMPLE}"

_TOKEN = re.compile(
    r"""\#.* | "([^"]*)" | '([^']*)' | ([\[({]) | ([\])}]) | ([^\s,;\[\](){}"'\#]+) | ["']""", re.VERBOSE
)
_ALIKE = str.maketrans(
    {quote: '"' for quote in "“”„‟«»″「」『』〝〞＂"}
    | {quote: "'" for quote in "‘’‚‛‹›′＇`"}
    | {bracket: "[" for bracket in "【〔〖［"}
    | {bracket: "]" for bracket in "】〕〗］"}
    | dict(zip("（）｛｝，、；＃", "(){},,;#", strict=True))
    | dict.fromkeys("\ufeff\u200b", "")
)

Names: TypeAlias = "str | Sequence[str]"
"""The product of a date, or its slices."""
Sides: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""The slices of the reference and of the secondary date, in time order."""
Nested: TypeAlias = "Sequence[str | Nested]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLine:
    """One pair of a list, and its place there: product names without suffix, the slices of each date in time order."""

    line: int
    reference: tuple[str, ...]
    secondary: tuple[str, ...]


def read_pairs(path: Path) -> tuple[PairLine, ...]:
    """Read a file with one pair per line; ``#`` begins a comment. A SettingsError names all bad lines at once."""
    return _collect(str(path.absolute()), "line", path.read_text(encoding=encoding_of(path)).split("\n"), parse_line)


def check_pairs(pairs: Iterable[tuple[Names, Names]]) -> tuple[PairLine, ...]:
    """Check pairs of product names, reference first, as `read_pairs` checks a file; they count from 1."""
    return _collect("the list", "pair", pairs, lambda pair: _check_dates(list(pair)))


def chain_scenes(scenes: Iterable[str]) -> tuple[PairLine, ...]:
    """Pair each date of some products with the next one, as a list of pairs that holds all of them.

    Parameters
    ----------
    scenes : iterable of str
        Products by name or path, or text files that name one a line (``#`` begins a comment).

    Raises
    ------
    SettingsError
        If one is no product, or there are fewer than two dates.
    """
    names: dict[str, None] = {}
    for text in scenes:
        path = Path(text)
        is_list = path.is_file() and path.suffix.lower() not in (".zip", ".safe")
        lines = path.read_text(encoding=encoding_of(path)).splitlines() if is_list else [text]
        for line in lines:
            if bare := line.partition("#")[0].strip():
                try:
                    names[parse_product_name(bare)] = None
                except ValueError as exc:
                    raise SettingsError(str(exc), hint=f"expected a product like {EXAMPLE}") from exc
    dates: list[list[str]] = []
    for name in sorted(names, key=lambda name: _take_part(name, "start")):
        if dates and _is_one_pass([dates[-1][0], name]):
            dates[-1].append(name)
        else:
            dates.append([name])
    if len(dates) < 2:
        msg = f"{count_text(len(names), 'product')} of {count_text(len(dates), 'date')}: a stack needs two dates"
        raise SettingsError(msg, hint="name the products of all dates")
    return check_pairs(itertools.pairwise(dates))


def _collect(source: str, unit: str, items: Iterable[T], parse: Callable[[T], Sides | None]) -> tuple[PairLine, ...]:
    """All pairs of a list, or one error about all that is wrong with it."""
    pairs: list[PairLine] = []
    problems: list[str] = []
    earlier: dict[tuple[str, str], PairLine] = {}
    for number, item in enumerate(items, start=1):
        try:
            if sides := parse(item):
                pair = PairLine(line=number, reference=sides[0], secondary=sides[1])
                if (same := earlier.get(_key(pair)[::-1])) is not None:
                    told = f"{unit} {number} is the pair of {unit} {same.line} in reverse order and is left out"
                    log.warning("%s: %s", source, told)
                    continue
                pairs.append(pair)
                _refuse_repetition(pair, earlier, unit)
        except ValueError as exc:
            problems.append(f"{unit} {number}: {exc}")
    if problems:
        heading = f"{source} has {count_text(len(problems), f'bad {unit}')}:"
        raise SettingsError("\n  ".join([heading, *problems]), hint=HINT)
    if not pairs:
        msg = f"{source} lists no pairs"
        raise SettingsError(msg, hint=HINT)
    return tuple(pairs)


def parse_line(text: str) -> Sides | None:
    """Find the pair that a line names, or None for a line without one; ValueError says what is wrong with it."""
    items = _nest(_split_tokens(text))
    while len(items) == 1 and not isinstance(items[0], str):
        items = items[0]
    return _check_dates(items) if items else None


def _check_dates(items: Sequence[Nested | str]) -> Sides:
    if len(items) != 2:
        msg = f"expected two products, a reference and a secondary, found {len(items)}"
        if len(items) > 2:
            msg += '; several slices of one date are written ["A1","A2"], ["B1","B2"]'
        raise ValueError(msg)
    reference, secondary = (_order_slices(item) for item in items)
    both = set(reference) & set(secondary)
    if both:
        msg = f"{both.pop()} is on both sides; expected two dates"
        raise ValueError(msg)
    day = _take_part(reference[0], "start")[:8]
    if day == _take_part(secondary[0], "start")[:8] or _is_one_pass((*reference, *secondary)):
        msg = f"both sides are of the same date, {day}; expected two dates"
        raise ValueError(msg)
    return reference, secondary


def _split_tokens(text: str) -> Iterator[str]:
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
    """Names grouped by brackets; a bracket that opens or closes on another line does not count."""
    top: list[Any] = []
    open_lists = [top]
    for token in tokens:
        if token == "[":
            inner: list[Any] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif token == "]":
            del open_lists[max(1, len(open_lists) - 1) :]
        else:
            open_lists[-1].append(token)
    return top


def _order_slices(item: str | Nested) -> tuple[str, ...]:
    """The products of one date, in time order."""
    names = []
    stack = [item]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            names.append(parse_product_name(part))
        else:
            stack.extend(reversed(part))
    if not names:
        msg = "expected a product between the brackets"
        raise ValueError(msg)
    names.sort(key=lambda name: _take_part(name, "start"))
    for earlier, later in itertools.pairwise(names):
        if _take_part(earlier, "start") == _take_part(later, "start"):
            msg = (
                f"{later} is listed twice" if earlier == later else f"one slice is listed twice, {earlier} and {later}"
            )
            raise ValueError(msg)
    if not _is_one_pass(names):
        orbits = dict.fromkeys(f"{_take_part(name, 'mission')} {_take_part(name, 'orbit')}" for name in names)
        msg = f"the slices of one date are of different passes (orbits {', '.join(orbits)}); expected those of one"
        raise ValueError(msg)
    return tuple(names)


def parse_product_name(text: str) -> str:
    """The product that ``text`` names, without folders and suffix; ValueError says how it differs from an IW SLC's."""
    base = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = re.sub(r"(\.SAFE|\.zip)+$", "", base, flags=re.IGNORECASE)
    if problem := _find_misnomer(name):
        msg = f"{name if len(name) <= 80 else name[:80] + '...'!r} {problem}"
        raise ValueError(msg)
    return name


def _find_misnomer(name: str) -> str:
    """What keeps ``name`` from being the name of an IW SLC product; empty if nothing."""
    mission, mode, kind = name[:4], name[4:6], name[7:10]
    if not re.fullmatch(r"S1[A-D]_", mission, re.IGNORECASE):
        return "is not the name of a Sentinel-1 product (S1A_IW_SLC__1SDV_...)"
    if name != name.upper():
        return "has small letters; expected capitals"
    cut = f"is cut off: it has {len(name)} of {len(EXAMPLE)} characters"
    if len(name) < len("S1A_IW_SLC"):
        return cut
    if mode != "IW":
        return f"was taken in mode {mode}; expected IW"
    if kind != "SLC":
        return f"is a {kind.strip('_')} product; expected SLC"
    match = PRODUCT_NAME.fullmatch(name)
    if match is None:
        return cut if len(name) < len(EXAMPLE) else f"is not a product name; expected one like {EXAMPLE}"
    for text in match["start"], match["stop"]:
        try:
            _parse_time(text)
        except ValueError:
            return f"holds {text}, which is not a date and time"
    return "" if match["start"] < match["stop"] else "ends before it starts"


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text + "+0000", "%Y%m%dT%H%M%S%z")


def _take_part(name: str, part: str) -> str:
    match = PRODUCT_NAME.fullmatch(name)
    return match[part] if match else ""


def _is_one_pass(names: Sequence[str]) -> bool:
    """Whether all were taken by one mission within one revolution: of one orbit number, or of one data take.

    The orbit number changes at the equator, in the middle of a data take.
    """
    starts = [_parse_time(_take_part(name, "start")) for name in names]
    return (
        max(starts) - min(starts) < REVOLUTION
        and len({_take_part(name, "mission") for name in names}) == 1
        and any(len({_take_part(name, part) for name in names}) == 1 for part in ("orbit", "datatake"))
    )


def _key(pair: PairLine) -> tuple[str, str]:
    return _take_part(pair.reference[0], "start"), _take_part(pair.secondary[0], "start")


def _refuse_repetition(pair: PairLine, earlier: dict[tuple[str, str], PairLine], unit: str) -> None:
    """Raise ValueError for a pair whose first slices start as those of an earlier one: both would share a folder."""
    key = _key(pair)
    if key in earlier:
        first = earlier[key]
        same = (first.reference, first.secondary) == (pair.reference, pair.secondary)
        msg = f"repeats the pair of {unit} {first.line}" + ("" if same else " with other files of the same start times")
        raise ValueError(msg)
    earlier[key] = pair
