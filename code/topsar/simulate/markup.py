"""ESA's XML dialect: nested values become elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

Value = str | bool | int | float | datetime | ET.Element | list["Value"] | Mapping[str, "Value"]


def element(tag: str, value: Value = "", /, **attributes: str) -> ET.Element:
    """An element whose text or children are ``value``.

    A mapping gives one child for each key, a list its elements, an element itself; numbers, flags and times are
    written as ESA writes them.
    """
    made = ET.Element(tag, attributes)
    if isinstance(value, Mapping):
        made.extend(child if isinstance(child, ET.Element) else element(key, child) for key, child in value.items())
    elif isinstance(value, list):
        made.extend(item for item in value if isinstance(item, ET.Element))
    elif isinstance(value, ET.Element):
        made.append(value)
    else:
        made.text = _text(value)
    return made


def counted(tag: str, items: Iterable[ET.Element]) -> ET.Element:
    """A list element with its ``count``."""
    children: list[Value] = list(items)
    return element(tag, children, count=str(len(children)))


def numbers(tag: str, values: Iterable[float], spec: str = ".6e") -> ET.Element:
    """Numbers in one text, with their ``count``."""
    texts = [format(value, spec) for value in values]
    return element(tag, " ".join(texts), count=str(len(texts)))


def timestamp(time: datetime) -> str:
    """A UTC time as annotation writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}"


def write_xml(path: Path, root: ET.Element) -> None:
    """Write a document with its declaration, indented."""
    ET.indent(root)
    path.write_bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True))


def _text(value: float | str | datetime) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15e}"
    if isinstance(value, datetime):
        return timestamp(value)
    return str(value)
