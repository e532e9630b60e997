"""What a check finds, and how it is shown."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from topsar.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 110
"""Characters of a line, unless a word is longer."""


class Grade(str, Enum):
    """How much a finding matters, least first."""

    OK = "ok"
    NOTE = "note"
    """Good to know."""
    WARNING = "warning"
    """A run starts, but something may go wrong or take long."""
    PROBLEM = "problem"
    """A run, or a part of it, would fail."""


class Finding(NamedTuple):
    """What a check found, and how to fix it; the topic is that of the check."""

    grade: Grade
    text: str
    remedy: str = ""
    topic: str = ""


def find_worst(findings: Iterable[Finding]) -> Grade:
    """The gravest of the grades."""
    return max((finding.grade for finding in findings), key=list(Grade).index, default=Grade.OK)


def format_findings(findings: Sequence[Finding]) -> str:
    """The findings as a table for the terminal, each with its remedy below it, and a last line of totals."""
    wide = max((len(finding.topic) for finding in findings), default=0)
    indent = " " * (wide + 11)
    lines: list[str] = []
    for finding, after in zip_longest(findings, findings[1:]):
        lines += _wrap(finding.text, f"{finding.topic:<{wide}}  {finding.grade.value:<7}  ", indent)
        if finding.remedy and not (after and after.remedy == finding.remedy):
            lines += _wrap(finding.remedy, indent, indent)
    tally = Counter(finding.grade for finding in findings)
    counts = [count_text(tally[grade], grade.value) for grade in list(Grade)[:0:-1] if tally[grade]]
    end = "fix the problems first" if tally[Grade.PROBLEM] else "a run can start"
    return "\n".join([*lines, f"{', '.join(counts) or 'no problems'}: {end}"])


def dump_findings(findings: Sequence[Finding]) -> str:
    """The findings and the gravest grade, for programs."""
    return json.dumps({"worst": find_worst(findings), "findings": [one._asdict() for one in findings]}, indent=2)


def _wrap(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
