"""Text files that users write, on whichever system: ``.env`` and ``pairs.txt``."""

from __future__ import annotations

import codecs
from pathlib import Path

from topsar.errors import SettingsError


def encoding_of(path: Path) -> str:
    """The encoding of a text file: UTF-8 with or without byte order mark, or UTF-16 with one (Windows Notepad).

    Raises
    ------
    SettingsError
        If the file is missing, unreadable or no text.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        msg = f"{path.absolute()} cannot be read: {exc.strerror}"
        raise SettingsError(msg) from exc
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    hint = "save it as UTF-8 in your editor"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as exc:
        msg = f"{path}, line {content[: exc.start].count(bytes([10])) + 1}: the file is not UTF-8 text"
        raise SettingsError(msg, hint=hint) from exc
    if "\0" in text:
        msg = f"{path} is not a text file"
        raise SettingsError(msg, hint=hint)
    return encoding
