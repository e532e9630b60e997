"""Which weather model a list of pairs gets, at which times, and its files in ``data/weather``."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import ProvisionError
from topsar.model import BBox
from topsar.provision.weather import geos_fp, hrrr
from topsar.provision.weather.columns import WeatherModel, write_delays
from topsar.provision.web.client import OFFLINE
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topsar.model import Pair, Scene
    from topsar.provision.web.client import Web

log = logging.getLogger(__name__)

MARGIN_DEG, BOX_STEP_DEG = 0.35, 0.5
LARGEST_DEG = 20.0
"""Of a side of the box: pairs of one list lie near each other, or are better run as two lists."""
SAME_TIME = timedelta(minutes=4)
"""A model time that near needs no second one; less than what `weather_troposphere` takes as it is."""
AT_ONCE = 2
_MOST_NAMED = 8
_FOLDER = re.compile(r"S(-?[\d.]+)_N(-?[\d.]+)_W(-?[\d.]+)_E(-?[\d.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyses:
    """The files of a model for a box and some passes, there or not."""

    model: str
    box: BBox
    folder: Path
    times: tuple[datetime, ...]
    domain: hrrr.Domain | None

    def place(self, time: datetime) -> Path:
        """Where the file of a model time lies."""
        return self.folder / f"{self.model}_{time:%Y%m%dT%H%M%S}.nc"

    @property
    def missing(self) -> tuple[datetime, ...]:
        """Model times whose files are not there."""
        return tuple(time for time in self.times if not self.place(time).is_file())


def plan_analyses(wanted: str, pairs: Sequence[Pair], box: BBox, data: Path) -> Analyses:
    """Choose model, times and folder.

    Parameters
    ----------
    wanted : str
        ``geos-fp``, ``hrrr`` or ``auto``: the finer one where it covers all.
    pairs : sequence of Pair
    box : BBox
        What the pairs show, degrees.
    data : Path
        The data folder.

    Raises
    ------
    ProvisionError
        If the model does not cover box and dates, or the box is too large.
    """
    passes = sorted({_find_middle(scenes) for pair in pairs for scenes in (pair.reference, pair.secondary)})
    grown = box.grow(MARGIN_DEG).round_out(BOX_STEP_DEG)
    if max(grown.east - grown.west, grown.north - grown.south) > LARGEST_DEG:
        msg = f"the pairs lie within {grown.east - grown.west:g} by {grown.north - grown.south:g} degrees: weather is "
        msg += f"fetched for {LARGEST_DEG:g} at most"
        raise ProvisionError(msg, hint="list pairs that lie far from each other in lists of their own, or set ROI")
    domain = hrrr.find_domain(grown, passes) if wanted != "geos-fp" else None
    if domain is None and wanted == "hrrr":
        msg = f"{hrrr.NAME} does not cover the pairs: it is of North America, from {hrrr.DOMAINS[0].since:%Y-%m} on"
        raise ProvisionError(msg, hint="TROPOSPHERE=geos-fp, or auto")
    model, hours = (geos_fp.NAME, geos_fp.HOURS) if domain is None else (hrrr.NAME, domain.hours)
    folder, kept = _find_folder(data / "weather" / model, grown)
    times = sorted({hour for middle in passes for hour in _enclose(middle, hours)})
    return Analyses(model=model, box=kept, folder=folder, times=tuple(times), domain=domain)


def _find_middle(scenes: Sequence[Scene]) -> datetime:
    first, last = min(one.start for one in scenes), max(one.stop for one in scenes)
    return first + (last - first) / 2


def _enclose(time: datetime, hours: int) -> tuple[datetime, ...]:
    """The model's times before and after one, or the one it nearly is."""
    day, step = datetime(time.year, time.month, time.day, tzinfo=timezone.utc), timedelta(hours=hours)
    before = day + (time - day) // step * step
    near = [one for one in (before, before + step) if abs(one - time) <= SAME_TIME]
    return tuple(near) or (before, before + step)


def _find_folder(parent: Path, box: BBox) -> tuple[Path, BBox]:
    """The folder of the smallest box that is kept and covers this one, else that of this one; and its box."""
    kept = []
    for folder in parent.glob("S*_N*_W*_E*"):
        if match := _FOLDER.fullmatch(folder.name):
            south, north, west, east = map(float, match.groups())
            other = BBox(west=west, south=south, east=east, north=north)
            if other.contains(box):
                kept.append(((east - west) * (north - south), folder, other))
    if kept:
        return min(kept, key=lambda one: one[0])[1:]
    name = f"S{box.south:.1f}_N{box.north:.1f}_W{box.west:.1f}_E{box.east:.1f}"
    return parent / name, box


def fetch_analyses(analyses: Analyses, web: Web) -> None:
    """Fetch the files that are missing; each is whole or not there.

    Raises
    ------
    ProvisionError
        If one cannot be had; those that came stay.
    """
    if not analyses.missing:
        return
    if web.fetcher.offline:
        msg = f"{describe_times(analyses)}: not in {analyses.folder}, and {OFFLINE}"
        raise ProvisionError(msg, hint="connect this machine and set OFFLINE=0, or put the files there")
    service: WeatherModel = hrrr.Hrrr(web, analyses.domain) if analyses.domain else geos_fp.GeosFp(web)

    def bring(time: datetime) -> None:
        log.info("fetching %s of %s UTC", analyses.model, f"{time:%Y-%m-%d %H:%M}")
        columns, source = service.fetch(time, analyses.box)
        columns.require_air(f"{analyses.model} of {time:%Y-%m-%d %H:%M} UTC")
        write_delays(analyses.place(time), columns, time, source)

    first, *others = analyses.missing
    bring(first)  # alone: a service that has moved is asked once
    web.fetcher.download_all([partial(bring, time) for time in others], at_once=AT_ONCE)


def describe_times(analyses: Analyses) -> str:
    """Name the model, the times that are missing, and what they bring along."""
    times = [f"{time:%Y-%m-%d %H:%M}" for time in analyses.missing]
    told = ", ".join(times) if len(times) <= _MOST_NAMED else f"{len(times)} times from {times[0]} to {times[-1]}"
    size = f", about {bytes_text(len(times) * hrrr.TIME_BYTES)}" if analyses.domain else ""
    return f"{analyses.model} of {told} UTC{size}"
