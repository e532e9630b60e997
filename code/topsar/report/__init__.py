"""One self-contained HTML page for a batch of pairs: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from topsar.files import write_text
from topsar.report.closure import Closures
from topsar.report.entries import (
    AttemptEntry,
    FailureEntry,
    PairEntry,
    PulseEntry,
    SettingEntry,
    StepEntry,
    StepKind,
    Timeline,
    Totals,
    step_kinds,
)
from topsar.report.page import render

__all__ = [
    "AttemptEntry",
    "FailureEntry",
    "PairEntry",
    "PulseEntry",
    "SettingEntry",
    "StepEntry",
    "StepKind",
    "Timeline",
    "Totals",
    "step_kinds",
    "write_report",
]


def write_report(
    path: Path,
    *,
    title: str,
    pairs: Sequence[PairEntry],
    machine: Mapping[str, str],
    settings: Sequence[SettingEntry],
    totals: Totals,
    failures: Sequence[FailureEntry] = (),
    timeline: Timeline | None = None,
    closures: Closures | None = None,
) -> None:
    """Write the report of a batch.

    Parameters
    ----------
    path : Path
        The ``.html`` file; links to products are relative to its folder.
    pairs : sequence of PairEntry
        In the order in which they are shown.
    machine : mapping
        What the batch ran on, by name, as text.
    settings : sequence of SettingEntry
        With secrets masked already: values are shown as they come.
    totals : Totals
        Of the whole batch.
    failures : sequence of FailureEntry
        Jobs that are no pairs and failed.
    timeline : Timeline, optional
        The run, step by step.
    closures : Closures, optional
        How triangles of pairs close.

    Raises
    ------
    ProductError
        If the file cannot be written.
    """
    text = render(
        path.parent,
        title=title,
        pairs=pairs,
        machine=machine,
        settings=settings,
        totals=totals,
        failures=failures,
        timeline=timeline,
        closures=closures,
    )
    write_text(path, text)
