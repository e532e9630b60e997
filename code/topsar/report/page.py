"""The report of a batch as one HTML page: nothing is loaded but the layers of a pair that somebody looks at.

What it says is gathered here; how it looks is in ``page.html.j2``, what it does in ``page.js``.
"""

from __future__ import annotations

import base64
import io
import os
import platform
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from PIL import Image

from topsar import __version__
from topsar.errors import TopsarError
from topsar.files import read_json, write_text
from topsar.interferogram import LAYERS
from topsar.report import ledger, network, timeline
from topsar.report.closure import close_triplets
from topsar.report.pair import PairReport, read_log, read_pairs
from topsar.report.snapshot import find_attempts, summarise_steps
from topsar.report.template import KIND, load_template
from topsar.schedule.jobs import Outcome, Status
from topsar.schedule.record import read_record
from topsar.settings import describe_settings
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from topsar.schedule.record import RunRecord
    from topsar.settings import Settings

_PLACES = {kind.drawing.thumbnail: name for name, kind in LAYERS.items() if kind.drawing and kind.drawing.thumbnail}
PICTURED = tuple(_PLACES[place] for place in sorted(_PLACES))
"""Layers whose pictures are on the page."""
MANY_PAIRS = 40
"""From this number of pairs on, thumbnails are smaller and only the first two are on the page."""


class Size(NamedTuple):
    """Width in pixels and quality, 0 to 100, of thumbnails."""

    width: int
    quality: int


LARGE, SMALL = Size(480, 75), Size(280, 50)


class Picture(NamedTuple):
    """A thumbnail of the picture of a layer, ``data`` in base64."""

    layer: str
    path: Path
    width: int
    height: int
    data: str


class Failure(NamedTuple):
    """A job that is no pair and failed, and the pairs that could not run without it."""

    outcome: Outcome
    log: str
    blocked: list[PairReport]


def write_report(
    runs: Path, outcomes: Sequence[Outcome], settings: Settings, started: datetime, seconds: float
) -> None:
    """Write ``report.html``: every pair of the batch, done or not, and how the run went.

    Parameters
    ----------
    runs : Path
        The runs folder, where products, logs and the record of the run are.
    outcomes : sequence of Outcome
        What became of each job, in the order in which pairs are shown.
    settings : Settings
    started : datetime
        When the batch began; the record of an earlier run is not shown.
    seconds : float
        Wall time of the batch.
    """
    pairs = read_pairs(runs, outcomes)
    record = read_record(runs)
    if record and record.begun.started < started:  # nothing ran in this batch
        record = None
    closures = close_triplets([pair.products for pair in pairs if pair.outcome.is_done])
    with ThreadPoolExecutor() as threads:  # Pillow works beside Python, and thumbnails take nearly all the time
        pictures = list(threads.map(partial(_find_pictures, are_many=len(pairs) >= MANY_PAIRS), pairs))
    page = load_template(runs).render(
        title="Sentinel-1 interferograms",
        started=f"{started:%Y-%m-%d %H:%M} {started:%Z}".strip(),
        machine=_describe_machine(),
        seconds=seconds,
        pairs_per_hour=3600 * sum(pair.outcome.status is Status.DONE for pair in pairs) / seconds if seconds else 0,
        peak_bytes=max(
            (event.ended.peak_memory_bytes for one in outcomes for event in one.events if event.ended), default=0
        ),
        freed_bytes=sum(one.freed_bytes for one in outcomes),
        failures=_find_failures(runs, outcomes, pairs),
        networks=network.draw_networks(pairs),
        pairs=pairs,
        jobs={"done": sum(one.is_done for one in outcomes), "all": len(outcomes)},
        pictures=pictures,
        closures=closures,
        corrections=ledger.summarise_corrections(pairs),
        settings=describe_settings(settings)["settings"],
        **(_describe_run(record) if record else {"record": None}),
    )
    write_text(runs / "report.html", page.lstrip())


def _describe_machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{bytes_text(psutil.virtual_memory().total)} memory",
        "topsar": f"topsar {__version__}",
        "python": f"Python {platform.python_version()}",
    }


def _find_failures(runs: Path, outcomes: Sequence[Outcome], pairs: Sequence[PairReport]) -> list[Failure]:
    failures = [one for one in outcomes if not one.is_pair and one.status is Status.FAILED]
    needed: dict[int, list[str]] = {}
    for pair in pairs if failures else ():
        with suppress(TopsarError):
            needed[pair.number] = read_json(pair.folder / "run.json", jobs=list)["jobs"]
    return [
        Failure(one, read_log(runs, one), [pair for pair in pairs if one.job in needed.get(pair.number, ())])
        for one in failures
    ]


def _describe_run(record: RunRecord) -> Mapping[str, Any]:
    attempts = find_attempts(record)
    return {
        "record": record,
        "planned": Counter(step.status.value for job in record.begun.jobs for step in job.steps),
        "drawing": timeline.draw_timeline(record, attempts),
        "kinds": summarise_steps(attempts),
    }


def _find_pictures(pair: PairReport, *, are_many: bool) -> list[Picture]:
    if not pair.outcome.is_done:
        return []
    shown, size = (PICTURED[:2], SMALL) if are_many else (PICTURED, LARGE)
    paths = ((layer, pair.find_picture(layer)) for layer in shown)
    return [small for layer, path in paths if path and (small := _shrink(layer, path, size))]


def _shrink(layer: str, path: Path, size: Size) -> Picture | None:
    """A small picture; None if the picture cannot be read."""
    try:
        with Image.open(path) as picture:
            height = max(round(picture.height * size.width / picture.width), 1)
            small = picture.convert("RGB").resize((size.width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    except OSError:
        return None
    small.save(stream := io.BytesIO(), KIND, quality=size.quality)
    return Picture(layer, path, size.width, height, base64.b64encode(stream.getvalue()).decode("ascii"))
