"""Tab files: one line a swath, with the names of its samples and of its two parameter files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topsar.errors import SceneError

_HINT = "a line of a tab file is: SLC SLC_par TOPS_par"


@dataclass(frozen=True, slots=True, kw_only=True)
class TabRow:
    """A line of a tab file."""

    slc: Path
    image: Path
    tops: Path

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """All three."""
        return self.slc, self.image, self.tops


def read_tab(path: Path) -> tuple[TabRow, ...]:
    """Read a tab file; a SceneError with the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        msg = f"{path}: cannot be read ({getattr(exc, 'strerror', None) or 'it is no text'})"
        raise SceneError(msg, hint=_HINT) from exc
    rows = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3:
            msg = f"{path}, line {number}: {len(words)} columns, expected 3"
            raise SceneError(msg, hint=_HINT)
        rows.append(TabRow(slc=Path(words[0]), image=Path(words[1]), tops=Path(words[2])))
    if not rows:
        msg = f"{path}: it lists no swath"
        raise SceneError(msg, hint=_HINT)
    return tuple(rows)


def format_tab(rows: tuple[TabRow, ...]) -> str:
    """The text of a tab file; a SceneError where a path holds blanks, which GAMMA would cut it at."""
    for row in rows:
        if any(len(str(path).split()) != 1 for path in row.paths):
            msg = f"{row.slc}: a path in a tab file must not hold blanks"
            raise SceneError(msg, hint="write into a folder without blanks in its path")
    return "".join(f"{row.slc} {row.image} {row.tops}\n" for row in rows)
