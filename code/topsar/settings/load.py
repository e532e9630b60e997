"""Command line, environment and ``.env`` become one `Settings`.

Precedence: command line, then environment, then ``.env``, then default. An empty value counts as not set.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic import ValidationError

from topsar.errors import SettingsError
from topsar.files import encoding_of
from topsar.settings.fields import KEYS, Settings, describe_unknown, find_complaints, make_refusal
from topsar.settings.text import MASK

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
        lines, file_problems = _check_env_file(env_file)
        problems += file_problems
        layers[".env"] = _keep_known(dotenv_values(env_file, encoding=encoding_of(env_file)))
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


def _check_env_file(path: Path) -> tuple[dict[str, int], list[str]]:
    """Line of each known key, and what is wrong with the file besides wrong values. Values are never shown."""
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
    return lines, problems


def _find_line(binding: Binding) -> int:
    """Line of a statement; python-dotenv counts blank lines before it as part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
