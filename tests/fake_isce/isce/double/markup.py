"""ISCE2's XML files: properties with values, components within components, both in the order of their names."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

Tree = dict[str, Any]
"""Names to values; a value that is itself such a tree is a component."""

TRAITS = "iscesys.Component"
FACTORIES: tuple[tuple[str, tuple[str, str, str]], ...] = (
    (r"instance", ("isceobj.Sensor.TOPS.TOPSSwathSLCProduct", "TOPSSwathSLCProduct", "")),
    (r"bursts", (TRAITS, "createTraitSeq", "('burst',)")),
    (r"burst\d+", ("isceobj.Sensor.TOPS.BurstSLC", "BurstSLC", "")),
    (r"azimuthfmrate", ("isceobj.Util.PolyFactory", "createPoly", "('1', 'd')")),
    (r"doppler", ("isceobj.Util.PolyFactory", "createPoly", "('1d',)")),
    (r"image", ("isceobj.Image", "createSlcImage", "")),
    (r"coordinate\d", ("isceobj.Image", "createCoordinate", "")),
    (r"orbit", ("isceobj.Orbit.Orbit", "createOrbit", "")),
    (r"state_vectors", (TRAITS, "createTraitSeq", "('statevector',)")),
    (r"statevector\d+", ("isceobj.Orbit.Orbit", "StateVector", "")),
)
"""Which factory the real one names for a component of which name: module, function, arguments."""


def _factory_tags(name: str, indent: str) -> list[str]:
    for pattern, values in FACTORIES:
        if re.fullmatch(pattern, name):
            tags = ("factorymodule", "factoryname", "args")
            return [f"{indent}<{tag}>{value}</{tag}>" for tag, value in zip(tags, values, strict=True) if value]
    return []


def _tree_lines(tree: Tree, docs: dict[str, str], depth: int) -> list[str]:
    indent, inner = "    " * depth, "    " * (depth + 1)
    lines: list[str] = []
    for name in sorted(tree):
        value = tree[name]
        if isinstance(value, dict):
            body = [*_factory_tags(name, inner), *_tree_lines(value, docs, depth + 1)]
            lines += [f'{indent}<component name="{name}">', *body, f"{indent}</component>"]
            continue
        lines += [f'{indent}<property name="{name}">', f"{inner}<value>{escape(str(value), quote=False)}</value>"]
        lines += [f"{inner}<doc>{escape(docs[name], quote=False)}</doc>"] if name in docs else []
        lines.append(f"{indent}</property>")
    return lines


def write_tree(path: Path, root: str, tree: Tree, docs: dict[str, str] | None = None) -> None:
    """Write a tree as the real one does: in place, not by a second name."""
    text = "\n".join([f"<{root}>", *_tree_lines(tree, docs or {}, 1), f"</{root}>", ""])
    path.write_text(text)


def _parse_tree(element: ElementTree.Element) -> Tree:
    tree: Tree = {}
    for child in element:
        name = child.get("name")
        if child.tag == "property" and name is not None:
            tree[name] = child.findtext("value", "")
        elif child.tag == "component" and name is not None:
            tree[name] = _parse_tree(child)
    return tree


def read_tree(path: Path | str) -> Tree:
    """Read a tree; every value is text."""
    return _parse_tree(ElementTree.parse(path).getroot())
