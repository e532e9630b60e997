"""HRRR, NOAA's analysis of North America at 3 km: pressure levels from GRIB2 in a public bucket, without an account.

A file has 400 MB. Its index tells where each message begins, and only the messages of height, temperature and specific
humidity on pressure levels are fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyproj import Transformer

from topsar.errors import ProvisionError
from topsar.provision.weather.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from topsar.model import BBox
    from topsar.provision.web.client import Fetcher, Web

NAME = "HRRR"
POSTING_DEG = 0.03
AT_ONCE = 4
TIME_BYTES = 80_000_000
"""About what is fetched for a model time: three elements on 40 levels, each of the whole grid."""
_ELEMENTS = ("HGT", "TMP", "SPFH")
_LINE = re.compile(r"\d+:(\d+):d=(\d{10}):(\w+):(\d+(?:\.\d+)?) mb:anl:?")
_GAP_BYTES = 100_000
"""Messages no further apart are fetched in one request."""
_LEAST_LEVELS = 20
_HINT = "the service may have changed; TROPOSPHERE=geos-fp takes another model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A grid of the model in its own projection: the first node south-west, and what its files are called."""

    crs: str
    first_deg: tuple[float, float]
    columns: int
    rows: int
    hours: int
    since: datetime
    path: str

    def contains(self, box: BBox) -> bool:
        """Whether a box in degrees lies inside, with two nodes to spare."""
        edge = np.linspace(0, 1, 20)
        lon = np.concatenate([box.west + edge * (box.east - box.west)] * 2 + [np.repeat([box.west, box.east], 20)])
        lat = np.concatenate([np.repeat([box.south, box.north], 20), *[box.south + edge * (box.north - box.south)] * 2])
        project = Transformer.from_crs("OGC:CRS84", self.crs, always_xy=True)
        x, y = project.transform(lon, lat)
        x0, y0 = project.transform(*self.first_deg)
        column, row = (x - x0) / 3000, (y - y0) / 3000
        is_inside = (column >= 2) & (column <= self.columns - 3) & (row >= 2) & (row <= self.rows - 3)
        return bool(is_inside.all())


DOMAINS = (
    Domain(
        crs="+proj=lcc +lat_0=38.5 +lon_0=-97.5 +lat_1=38.5 +lat_2=38.5 +R=6371229 +units=m +no_defs",
        first_deg=(-122.719528, 21.138123),
        columns=1799,
        rows=1059,
        hours=1,
        since=datetime(2016, 8, 24, tzinfo=timezone.utc),
        path="conus/hrrr.t{:%H}z.wrfprsf00.grib2",
    ),
    Domain(
        crs="+proj=stere +lat_0=90 +lat_ts=60 +lon_0=-135 +R=6371229 +units=m +no_defs",
        first_deg=(-174.882874, 41.612949),
        columns=1299,
        rows=919,
        hours=3,
        since=datetime(2018, 7, 13, tzinfo=timezone.utc),
        path="alaska/hrrr.t{:%H}z.wrfprsf00.ak.grib2",
    ),
)
"""The contiguous states and Alaska."""


def find_domain(box: BBox, times: Iterable[datetime]) -> Domain | None:
    """Find the grid that holds a box, degrees, and was computed at all times."""
    first = min(times)
    return next((one for one in DOMAINS if first >= one.since and one.contains(box)), None)


class _Message(NamedTuple):
    element: str
    level_pa: float
    start: int
    stop: int


class Hrrr:
    """The analysis on pressure levels, from the bucket of NOAA's Open Data."""

    def __init__(self, web: Web, domain: Domain) -> None:
        self._fetcher, self._url, self._domain = web.fetcher, web.services.hrrr, domain

    def fetch(self, time: datetime, box: BBox) -> tuple[Columns, str]:
        """Fetch the levels and take the columns in a box, as `WeatherModel` has it."""
        url = f"{self._url}/hrrr.{time:%Y%m%d}/{self._domain.path.format(time)}"
        what = f"{NAME} of {time:%Y-%m-%d %H:%M} UTC"
        messages = _choose(self._fetcher.ask(f"{url}.idx", what=f"the index of {what}").text, time, what)
        fields: dict[tuple[str, float], NDArray[Any]] = {}
        lat, lon = (_lay_axis(*ends) for ends in ((box.south, box.north), (box.west, box.east)))

        def bring(span: Sequence[_Message]) -> None:
            data = _fetch_span(self._fetcher, url, span[0].start, span[-1].stop, what)
            for message in span:
                packed = data[message.start - span[0].start : message.stop - span[0].start]
                fields[message.element, message.level_pa] = _read_message(packed, message, time, (lon, lat), what)

        first, *others = _join(messages)
        bring(first)  # alone: what is wrong with one is wrong with all
        self._fetcher.download_all([partial(bring, span) for span in others], at_once=AT_ONCE)
        levels = sorted({one.level_pa for one in messages}, reverse=True)
        height, temperature, humidity = (np.stack([fields[name, level] for level in levels]) for name in _ELEMENTS)
        pressure = np.broadcast_to(np.array(levels)[:, None, None], height.shape)
        columns = Columns(
            pressure_pa=pressure,
            temperature_k=temperature,
            humidity=humidity,
            height_m=height,
            latitude_deg=lat,
            longitude_deg=lon,
        )
        return columns, f"{url} (height, temperature, specific humidity on {len(levels)} pressure levels)"


def _lay_axis(first: float, last: float) -> NDArray[np.float64]:
    return np.asarray(first + POSTING_DEG * np.arange(np.ceil((last - first) / POSTING_DEG) + 1), np.float64)


def _choose(index: str, time: datetime, what: str) -> list[_Message]:
    """The messages of an index that are wanted, levels that have all of them; each ends where the next begins."""
    lines = [line for line in index.splitlines() if line.strip()]
    starts = [int(line.split(":")[1]) for line in lines if line.count(":") >= 5 and line.split(":")[1].isdecimal()]
    after = dict(pairwise(starts))
    found = []
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        if match and match[3] in _ELEMENTS and int(match[1]) in after:
            if match[2] != f"{time:%Y%m%d%H}":
                msg = f"the index of {what} is of {match[2]}"
                raise ProvisionError(msg, hint=_HINT)
            found.append(_Message(match[3], 100 * float(match[4]), int(match[1]), after[int(match[1])]))
    have = {element: {one.level_pa for one in found if one.element == element} for element in _ELEMENTS}
    whole = set.intersection(*have.values())
    if len(whole) < _LEAST_LEVELS:
        msg = f"the index of {what} names {len(whole)} pressure levels with {', '.join(_ELEMENTS)}"
        raise ProvisionError(msg, hint=_HINT)
    return sorted((one for one in found if one.level_pa in whole), key=lambda one: one.start)


def _join(messages: Sequence[_Message]) -> list[list[_Message]]:
    """Group messages that lie so close that one request is cheaper."""
    spans: list[list[_Message]] = []
    for one in messages:
        if spans and 0 <= one.start - spans[-1][-1].stop <= _GAP_BYTES:
            spans[-1].append(one)
        else:
            spans.append([one])
    return spans


def _fetch_span(fetcher: Fetcher, url: str, start: int, stop: int, what: str) -> bytes:
    """Fetch bytes of a file; the server must give just those."""
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    answer = fetcher.ask(url, what=what, headers=headers, accept=(206,))
    said = re.match(rf"bytes {start}-{stop - 1}/", answer.headers.get("Content-Range", ""))
    if said is None or len(answer.body) != stop - start:
        msg = f"{what}: bytes {start} to {stop - 1} were asked for, {len(answer.body)} others came"
        raise ProvisionError(msg, hint="try again later", retryable=True)
    return answer.body


def _read_message(
    packed: bytes,
    message: _Message,
    time: datetime,
    place_deg: tuple[NDArray[np.float64], NDArray[np.float64]],
    what: str,
) -> NDArray[np.float32]:
    """Unpack a message and interpolate it to longitudes and latitudes."""
    import rasterio
    from rasterio.io import MemoryFile
    from scipy.ndimage import map_coordinates

    from topsar.raster.geotiff import GDAL_ERRORS

    try:
        with rasterio.Env(GRIB_NORMALIZE_UNITS="NO"), MemoryFile(packed) as file, file.open(driver="GRIB") as data:
            tags, values = data.tags(1), data.read(1)
            project = Transformer.from_crs("OGC:CRS84", data.crs.to_wkt(), always_xy=True)
            x, y = project.transform(*np.meshgrid(*place_deg))
            place = ~data.transform
            column, row = place.a * x + place.b * y + place.c, place.d * x + place.e * y + place.f
    except GDAL_ERRORS as exc:
        msg = f"{what}: {message.element} at {message.level_pa / 100:g} hPa cannot be unpacked: {exc}"
        raise ProvisionError(msg, hint="try again later", retryable=True) from exc
    _require_message(tags, message, time, what)
    return np.asarray(map_coordinates(values, [row - 0.5, column - 0.5], order=1, mode="constant", cval=np.nan))


def _require_message(tags: dict[str, str], message: _Message, time: datetime, what: str) -> None:
    """Refuse a message that is not what the index says."""
    shown = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=int(tags["GRIB_VALID_TIME"].split()[0]))
    has = (tags["GRIB_ELEMENT"], tags["GRIB_SHORT_NAME"], shown)
    if has != (message.element, f"{message.level_pa:.0f}-ISBL", time):
        msg = (
            f"{what}: {message.element} at {message.level_pa:.0f} Pa was asked for, {has[0]} {has[1]} of {has[2]} came"
        )
        raise ProvisionError(msg, hint=_HINT)
