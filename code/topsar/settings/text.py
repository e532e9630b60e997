"""Text of settings, as ``.env`` and the command line hold it, to values and back."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import SecretStr

from topsar.errors import SettingsError
from topsar.model import POLARISATIONS, BBox, Looks
from topsar.registry import CANONICAL, require_names
from topsar.settings.frames import find_frame

MASK = "********"
LONG_DEG = 20.0
"""No interferogram is as long as this, degrees of latitude."""
SWATHS = ("IW1", "IW2", "IW3")
_PARTIES = ("creator", "publisher")
ATTRIBUTES = (
    *(f"{party}_{what}" for party in _PARTIES for what in ("name", "email", "url", "type", "institution")),
    "contributor_name",
    "contributor_role",
    "institution",
    "project",
    "program",
    "naming_authority",
    "references",
    "metadata_link",
    "comment",
    "license",
)
"""What ACDD-1.3 says of who made and who gives data, and of where more is told: nobody but the user knows it."""


def lower(value: object) -> object:
    """Text in small letters; what is no text stays."""
    return value.strip().lower() if isinstance(value, str) else value


def parse_roi(value: object) -> object:
    """Box from south, north, west, east in degrees: four numbers, or text as in ``.env``."""
    if isinstance(value, str):
        value = re.split(r"[\s,;]+", value.strip("[]() \t,;"))
    if not isinstance(value, list | tuple):
        return value
    try:
        south, north, west, east = (float(edge) for edge in value)
    except (TypeError, ValueError):
        msg = "expected four numbers in degrees: south,north,west,east"
        raise ValueError(msg) from None
    problem = _find_box_problem(south, north, west, east)
    if not _find_box_problem(north, east, south, west):  # also a box when read as west, south, east, north
        if not problem and north - south > LONG_DEG > max(west - south, east - north):
            problem = f"from south {south:g} to north {north:g} is longer than any pass"
        if problem:
            problem += f"; the order looks like W,S,E,N: write {north:g},{east:g},{south:g},{west:g}"
    if problem:
        raise ValueError(problem)
    return BBox(west=west, south=south, east=east, north=north)


def parse_place(value: object) -> object:
    """A place from latitude, longitude in degrees: two numbers, or text as in ``.env``; empty is none."""
    if isinstance(value, str):
        value = re.split(r"[\s,;]+", value.strip("[]() \t,;")) if value.strip() else None
    if not isinstance(value, list | tuple):
        return value
    try:
        latitude, longitude = (float(part) for part in value)
    except (TypeError, ValueError):
        latitude = longitude = math.nan
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        msg = "expected two numbers in degrees: latitude,longitude"
        raise ValueError(msg)
    return latitude, longitude


def _find_box_problem(south: float, north: float, west: float, east: float) -> str:
    if not all(-90 <= latitude <= 90 for latitude in (south, north)):
        return "south and north (the first two numbers) must lie between -90 and 90 degrees"
    if not all(-180 <= longitude <= 180 for longitude in (west, east)):
        return "west and east (the last two numbers) must lie between -180 and 180 degrees"
    if south >= north:
        return f"south {south:g} must be smaller than north {north:g}"
    if west - east > 180:
        return f"from west {west:g} to east {east:g} it crosses the 180th meridian, which one box cannot: use two runs"
    if west >= east:
        return f"west {west:g} must be smaller than east {east:g}"
    return ""


def parse_frame(value: object) -> object:
    """The number of an ARIA frame, or its text, as the frame; empty is none."""
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if not text.isdecimal():
            msg = "expected the number of one of ARIA's frames"
            raise ValueError(msg)
        value = int(text)
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return find_frame(value)
    except SettingsError as exc:
        msg = f"{exc.message}; {exc.hint}"
        raise ValueError(msg) from exc


def parse_swaths(value: object) -> object:
    """``1,2`` or ``IW1 IW2`` or ``all``, or several names or numbers, as sorted swath names."""
    if isinstance(value, str):
        value = SWATHS if lower(value) == "all" else re.findall(r"[^\s,;\[\]()]+", value.upper())
    if not isinstance(value, list | tuple):
        return value
    names = {str(part) if str(part).startswith("IW") else f"IW{part}" for part in value}
    if not names or not names <= set(SWATHS):
        msg = "expected some of 1,2,3 (or IW1,IW2,IW3), or all"
        raise ValueError(msg)
    return tuple(sorted(names))


def parse_looks(value: object) -> object:
    """``16x8`` or ``(16, 8)`` as looks east by north; other text in small letters."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,4})\s*[xX×*]\s*(\d{1,4})", value)):
        value = (int(match[1]), int(match[2]))
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(n, int) and n > 0 for n in value):
        return Looks(east=value[0], north=value[1])
    return lower(value)


def parse_crs(value: object) -> object:
    """``EPSG`` in capitals, other words in small letters."""
    text = str(value).strip().lower()
    return text.upper() if text.startswith("epsg") else text


def parse_polarisations(value: object) -> object:
    """``auto``, or names in capitals, each once, the one that is received as it is sent first."""
    if isinstance(value, str):
        value = "auto" if lower(value) == "auto" else re.findall(r"[^\s,;\[\]()]+", value.upper())
    if not isinstance(value, list | tuple):
        return value
    if not value or not set(value) <= set(POLARISATIONS):
        msg = "expected auto, or some of VV, HH, VH and HV"
        raise ValueError(msg)
    return tuple(name for name in POLARISATIONS if name in value)


def parse_attributes(text: str) -> dict[str, str]:
    """Attributes from ``name=value; name=value``, of those that say who made data: `ATTRIBUTES`.

    Raises
    ------
    ValueError
        If a part has no value, or a name that is none of them.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, value = (one.strip() for one in part.partition("="))
        if name not in ATTRIBUTES or not value:
            near = difflib.get_close_matches(name, ATTRIBUTES, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            msg = f"{part!r} is no attribute with a value; {hint}Known: {', '.join(ATTRIBUTES)}"
            raise ValueError(msg)
        found[name] = value
    return found


def check_attributes(text: str) -> str:
    """The text, if `parse_attributes` can read it."""
    parse_attributes(text)
    return text


def split_names(value: object) -> object:
    """Names in small letters, each once, from text with commas or blanks between them; what is no text stays."""
    return tuple(dict.fromkeys(re.findall(r"[^\s,;]+", value.lower()))) if isinstance(value, str) else value


def parse_names(group: Literal["formats", "corrections"], value: object) -> object:
    """Names, each once, from several or from text with commas or blanks between them; the canonical format leads.

    Parameters
    ----------
    group : str
    value : object
    """
    if isinstance(value, str):
        value = re.findall(r"[^\s,;]+", value)
    if not isinstance(value, list | tuple):
        return value
    always = [CANONICAL] if group == "formats" else []
    names = tuple(dict.fromkeys([*always, *map(str, value)]))
    try:
        require_names(group, names)
    except SettingsError as exc:
        msg = f"{exc.message}; {exc.hint}"
        raise ValueError(msg) from exc
    return names


def join_choices(names: Sequence[str]) -> str:
    """``auto, native or isce2``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def format_value(value: object) -> str:
    """Text of a value as one would write it in ``.env``; a secret is masked."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, BBox):
        return ",".join(f"{edge:.12g}" for edge in (value.south, value.north, value.west, value.east))
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, float):
        return f"{value:.12g}"
    return "" if value is None else str(value)
