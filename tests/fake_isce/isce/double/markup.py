"""ISCE2's XML files: properties with values, components within components, both in the order of their names."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

Tree = dict[str, Any]
"""Names to values; a value that is itself such a tree is a component."""

FACTORY = ("<factorymodule>isceobj</factorymodule>", "<factoryname>create</factoryname>")
"""Every component names what makes it: the real one's own, here always the same."""


def _tree_lines(tree: Tree, docs: bool, depth: int) -> list[str]:
    indent, inner = "    " * depth, "    " * (depth + 1)
    lines: list[str] = []
    for name in sorted(tree):
        value = tree[name]
        if isinstance(value, dict):
            body = [*(f"{inner}{tag}" for tag in FACTORY), *_tree_lines(value, docs, depth + 1)]
            lines += [f'{indent}<component name="{name}">', *body, f"{indent}</component>"]
            continue
        lines += [f'{indent}<property name="{name}">', f"{inner}<value>{escape(str(value), quote=False)}</value>"]
        lines += [f"{inner}<doc>What {name} is.</doc>"] if docs else []
        lines.append(f"{indent}</property>")
    return lines


def write_tree(path: Path, root: str, tree: Tree, *, docs: bool = False) -> None:
    """Write a tree as the real one does: in place, not by a second name."""
    text = "\n".join([f"<{root}>", *_tree_lines(tree, docs, 1), f"</{root}>", ""])
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
