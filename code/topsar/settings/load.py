"""Command line, environment and ``.env`` become one `Settings`.

Precedence: command line, then environment, then ``.env``, then default. An empty value counts as not set.
"""

from __future__ import annotations

import io
import logging
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables
from pydantic import ValidationError

from topsar.errors import SettingsError
from topsar.files import encoding_of
from topsar.settings.fields import KEYS, Settings, describe_unknown, find_complaints, make_refusal
from topsar.settings.text import MASK

log = logging.getLogger(__name__)

_INVISIBLE = re.compile("[\u00a0\u00ad\u200b-\u200f\u2060\ufeff]")
_CURLY = re.compile("[\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u00ab](.*)[\u201c\u201d\u2018\u2019\u00bb]", re.DOTALL)
_PLACES = {"flag": "command line", "environment": "environment"}
_KEY_OF = {key.name: key for key in KEYS}


def load_settings(*, env_file: Path | None, data: Path, pairs: Path, flags: Mapping[str, str]) -> Settings:
    """Read command line, environment and ``.env``; the first that sets a key wins.

    Parameters
    ----------
    env_file : Path, optional
        The ``.env`` file, or None where there is none.
    data, pairs : Path
        Data folder and list of pairs; relative paths start in the current folder.
    flags : mapping of str to str
        Text per key, from the command line.

    Raises
    ------
    SettingsError
        Naming every problem at once: where, key, value and what was expected.
    """
    problems = [f"command line: {describe_unknown('key', key, _KEY_OF)}" for key in flags if key not in _KEY_OF]
    lines: dict[str, int] = {}
    layers = {"flag": _keep_known(flags), "environment": _keep_known(os.environ), ".env": {}}
    if env_file is not None:
        values_there, lines, file_problems = _read_env_file(env_file)
        problems += file_problems
        layers[".env"] = _keep_known(values_there)
    origins = {key: origin for origin in reversed(layers) for key in layers[origin]}
    texts = {key: layers[origin][key] for key, origin in origins.items()}
    values: dict[str, Any] = {_KEY_OF[key].field: text for key, text in texts.items()}

    try:
        settings = Settings(data=data, pairs=pairs, **values)
    except SettingsError as exc:
        if not isinstance(exc.__cause__, ValidationError):
            raise
        complaints = find_complaints(exc.__cause__)
        for key in filter(lambda key: key.field in complaints, KEYS):
            origin, shown = origins[key.name], MASK if key.secret else texts[key.name]
            place = f"{env_file}, line {lines[key.name]}" if origin == ".env" else _PLACES[origin]
            problems.append(f"{place}: {key.name} = {shown!r}: {complaints[key.field]}")
        raise make_refusal(problems) from exc
    if problems:
        raise make_refusal(problems)
    settings._origins.update(origins)
    return settings


def _keep_known(layer: Mapping[str, str | None]) -> dict[str, str]:
    """What a layer sets of our keys; empty text, or a lone comment (python-dotenv < 1.2.4 keeps it), sets nothing."""
    texts = {key: (layer[key] or "").strip() for key in _KEY_OF if key in layer}
    return {key: text for key, text in texts.items() if text and not text.startswith("#")}


def _read_env_file(path: Path) -> tuple[dict[str, str], dict[str, int], list[str]]:
    """Value and line of each known key, and what is wrong with the file besides wrong values, which are never shown."""
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems = []
    for binding in parse_stream(io.StringIO(path.read_text(encoding=encoding_of(path)))):
        line = _find_line(binding)
        if binding.error or (binding.key is not None and binding.value is None):
            problems.append(f"{path}, line {line}: expected KEY=value")
        elif binding.key is not None and binding.key not in _KEY_OF:
            problems.append(f"{path}, line {line}: {describe_unknown('key', binding.key, _KEY_OF)}")
        elif binding.key is not None:
            if binding.key in lines:
                problems.append(f"{path}, line {line}: {binding.key} is already set on line {lines[binding.key]}")
            lines[binding.key] = line
            values[binding.key], doubts = _read_value(binding, values)
            for doubt in doubts:
                log.warning("%s, line %d: %s: %s", path, line, binding.key, doubt)
    return values, lines, problems


def _read_value(binding: Binding, before: Mapping[str, str]) -> tuple[str, list[str]]:
    """Read a value as a shell would, and tell what it may not have been meant to be.

    As in a shell, nothing is expanded inside single quotes, which python-dotenv does.
    """
    value, doubts = binding.value or "", []
    written = binding.original.string.partition("=")[2].strip()
    if found := _INVISIBLE.search(value):
        doubts.append(f"{unicodedata.name(found[0])} is left out: it cannot be seen, and was likely pasted")
        value = _INVISIBLE.sub(lambda match: " " if match[0] == "\xa0" else "", value).strip()
    if quoted := _CURLY.fullmatch(value):
        doubts.append("quotes of print, not of keyboards, are taken for quotes")
        value = quoted[1]
    cut = None if written.startswith(("'", '"')) else re.search(r"\s#(.*)", written)
    if cut and (_KEY_OF[str(binding.key)].secret or not re.match(r"\s|#|$", cut[1])):
        doubts.append("the value ends before ' #', where a comment begins: put quotes around it if # belongs to it")
    if not written.startswith("'"):
        known = {**os.environ, **before}
        atoms = list(parse_variables(value))
        for atom in atoms:
            if isinstance(atom, Variable) and atom.default is None and atom.name not in known:
                doubts.append(f"${{{atom.name}}} is not set and stands for nothing: if it is meant as it is, use '...'")
        value = "".join(atom.resolve(known) for atom in atoms)
    return value, doubts


def _find_line(binding: Binding) -> int:
    """Line of a statement; python-dotenv counts blank lines before it as part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
