"""From names in pairs.txt to opened scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topsar.errors import TopsarError
from topsar.model import Pair
from topsar.sentinel1 import find_scene, open_scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from topsar.model import Scene
    from topsar.pairs_file import PairLine


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPair:
    """A line of pairs.txt: the pair, or what is wrong with it."""

    line: int
    title: str
    pair: Pair | None = None
    problem: TopsarError | None = None


def find_pairs(lines: Sequence[PairLine], folder: Path) -> tuple[ListedPair, ...]:
    """Open the scenes of every line; each scene once.

    Parameters
    ----------
    lines : sequence of PairLine
    folder : Path
        ``data/raw``.

    Returns
    -------
    tuple of ListedPair
        One per line, in order. A line that cannot be used does not stop the others.
    """
    opened: dict[str, Scene | TopsarError] = {}
    return tuple(_find_pair(line, folder, opened) for line in lines)


def _find_pair(line: PairLine, folder: Path, opened: dict[str, Scene | TopsarError]) -> ListedPair:
    title = f"{' + '.join(line.reference)} with {' + '.join(line.secondary)}"
    names = (*line.reference, *line.secondary)
    for name in names:
        if name not in opened:
            opened[name] = _open(folder, name)
    problems = [problem for name in names if isinstance(problem := opened[name], TopsarError)]
    if problems:
        whole = TopsarError("; ".join(p.message for p in problems), hint=problems[0].hint)
        return ListedPair(line=line.line, title=title, problem=whole)
    reference, secondary = (
        tuple(scene for name in side if not isinstance(scene := opened[name], TopsarError))
        for side in (line.reference, line.secondary)
    )
    return ListedPair(line=line.line, title=title, pair=Pair(reference=reference, secondary=secondary))


def _open(folder: Path, name: str) -> Scene | TopsarError:
    try:
        return open_scene(find_scene(folder, name))
    except TopsarError as exc:
        return exc
