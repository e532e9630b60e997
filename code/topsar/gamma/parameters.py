"""Parameter files of GAMMA: lines of ``key: value``, read with located errors and rewritten line by line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from topsar.errors import SceneError

_MOST_BYTES = 1 << 22
"""No parameter file comes near this: one of ten bursts has 12 kB."""
_HINT = "GAMMA's par_S1_SLC writes such a file, and so does `topsar burst gamma`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """A parameter file: its lines, without their ends, and where each key stands."""

    path: Path
    lines: tuple[str, ...]

    def has(self, key: str) -> bool:
        """Whether a line gives ``key``."""
        return any(self._key(line) == key for line in self.lines)

    def read_words(self, key: str) -> list[str]:
        """Words behind ``key:``; a SceneError where it is missing, empty, or given twice with two values."""
        found = {line.partition(":")[2].strip(): number for number, line in self._find(key)}
        if len(found) > 1:
            self.refuse(f"{key} stands in lines {' and '.join(map(str, found.values()))} with different values")
        text = next(iter(found), "")
        if not text:
            self.refuse(f"key {key} is missing or empty")
        return text.split()

    def read_numbers(self, key: str, least: int = 1) -> tuple[float, ...]:
        """Read the finite numbers with which a value begins; units may follow.

        Parameters
        ----------
        key : str
        least : int
            How many there must be.
        """
        numbers: list[float] = []
        words = self.read_words(key)
        for word in words:
            try:
                numbers.append(float(word))
            except ValueError:
                break
        if len(numbers) < least or not all(map(math.isfinite, numbers)):
            kind = "a number" if least == 1 else f"{least} numbers"
            self._refuse_value(key, words, kind)
        return tuple(numbers)

    def read_positive(self, key: str) -> float:
        """Number above zero behind ``key:``."""
        value = self.read_numbers(key)[0]
        if value <= 0:
            self._refuse_value(key, self.read_words(key), "a number above zero")
        return value

    def read_count(self, key: str) -> int:
        """Whole number from 1 behind ``key:``."""
        value = self.read_positive(key)
        if value != int(value):
            self._refuse_value(key, self.read_words(key), "a whole number")
        return int(value)

    def replace(self, values: Mapping[str, str]) -> str:
        """The file's text with other values for some keys; keys that it lacks are left out."""
        lines = [f"{key}:  {values[key]}" if (key := self._key(line)) in values else line for line in self.lines]
        return "\n".join(lines) + "\n"

    def refuse(self, what: str) -> NoReturn:
        """Raise the error that says ``what`` is wrong in this file."""
        message = f"{self.path}: {what}"
        raise SceneError(message, hint=_HINT)

    @staticmethod
    def _key(line: str) -> str:
        key, colon, _ = line.partition(":")
        return key.strip() if colon else ""

    def _find(self, key: str) -> list[tuple[int, str]]:
        return [(number, line) for number, line in enumerate(self.lines, start=1) if self._key(line) == key]

    def _refuse_value(self, key: str, words: list[str], kind: str) -> NoReturn:
        held = " ".join(words)[:40]
        self.refuse(f"line {self._find(key)[0][0]}: {key} holds {held!r}, expected {kind}")


def read_parameters(path: Path) -> Parameters:
    """Read a parameter file; a SceneError where it is missing, no text, or larger than any is."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as exc:
        msg = f"{path}: cannot be read ({exc.strerror})"
        raise SceneError(msg, hint="paths in a tab file count from the current folder, as in GAMMA") from exc
    if len(content) > _MOST_BYTES or b"\0" in content:
        msg = f"{path}: no parameter file, it is {'larger than any' if len(content) > _MOST_BYTES else 'binary'}"
        raise SceneError(msg, hint="a line of a tab file is: SLC SLC_par TOPS_par")
    return Parameters(path=path, lines=tuple(content.decode("utf-8", "replace").splitlines()))
