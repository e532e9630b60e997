"""Tables of one line per row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from topsar.wording import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_TITLE = 44
"""Characters shown of the title of a job."""


def format_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int) -> str:
    """A table of one line per row.

    Parameters
    ----------
    heads : sequence of str
    rows : sequence of sequence of str
    texts : int
        This many columns from the first are texts, the others numbers.
    """
    sides = ["left" if place < texts else "right" for place in range(len(heads))]
    rules = ["-" * max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    # Its own headers would make each column wider than its words.
    text = tabulate([heads, rules, *rows], tablefmt="plain", disable_numparse=True, colalign=sides)
    return "\n".join(line.rstrip() for line in text.splitlines())


def cut_line(text: str, width: int) -> str:
    """Bring a text to one line.

    Parameters
    ----------
    text : str
    width : int
        Its most characters; a longer text ends in an ellipsis.
    """
    line = " ".join(plain(text).replace("\t", " ").splitlines())
    return line if len(line) <= width else line[: max(width - 1, 1)] + "…"
