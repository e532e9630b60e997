"""What is told of a run: the page of a batch, and the texts on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from topsar.schedule.jobs import Outcome
    from topsar.settings import Settings

__all__ = ["write_report"]


def write_report(
    runs: Path, outcomes: Sequence[Outcome], settings: Settings, started: datetime, seconds: float
) -> None:
    """Write ``report.html``: every pair of the batch, done or not, and how the run went.

    Parameters
    ----------
    runs : Path
        The runs folder: products, logs and the record of the run are read there.
    outcomes : sequence of Outcome
        What became of each job, in the order in which pairs are shown.
    settings : Settings
    started : datetime
        When the batch began; the record of an earlier run is not shown.
    seconds : float
        Wall time of the batch.

    Raises
    ------
    ProductError
        If the page cannot be written, or a layer of a pair cannot be read.
    """
    from topsar.files import write_text
    from topsar.report.page import render_page

    write_text(runs / "report.html", render_page(runs, outcomes, settings, started, seconds))
