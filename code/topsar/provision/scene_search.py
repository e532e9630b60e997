"""The archive's catalogue, asked with `asf_search`."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import JSONDecodeError, RequestException, RetryError
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from topsar.errors import ProvisionError
from topsar.kernels.geometry import OrbitArc
from topsar.model import BBox, Direction
from topsar.pairs.listing import parse_product_name
from topsar.pairs.network import Slice

if TYPE_CHECKING:
    from asf_search import ASFProduct, ASFSession

    from topsar.provision.endpoints import Services

log = logging.getLogger(__name__)

CHANNELS = {"VV": ("VV", "VV+VH"), "VH": ("VH", "VV+VH"), "HH": ("HH", "HH+HV"), "HV": ("HV", "HH+HV")}
"""What the catalogue calls products that hold a polarisation."""
_PASSING = (429, 500, 502, 503, 504)
_ATTEMPTS = 5
BACKOFF_S = 1.0
"""Pause before a second attempt, doubled for each further one."""
_LONGEST_PAUSE_S = 60.0
_NEEDED = ("sceneName", "url", "pathNumber", "flightDirection", "polarization")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Granule:
    """A product as the catalogue describes it; size and checksum are those of its zip, None where not told."""

    slice: Slice
    url: str
    size: int | None
    md5: str | None

    @property
    def name(self) -> str:
        """Name of the product."""
        return self.slice.name


def find_granules(names: Sequence[str], services: Services) -> dict[str, Granule]:
    """Look products up by name; those that the catalogue does not know are missing.

    Parameters
    ----------
    names : sequence of str
        Without suffix.
    services : Services
    """
    found = _search(services, granule_list=list(names)) if names else ()
    wanted = set(names)
    return {granule.name: granule for granule in found if granule.name in wanted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for in the archive, besides region and polarisation; None is anything.

    Attributes
    ----------
    start, stop : datetime, optional
        Period, UTC.
    track : int, optional
        Relative orbit.
    """

    start: datetime | None = None
    stop: datetime | None = None
    track: int | None = None
    direction: Direction | None = None


def search_granules(
    services: Services, box: BBox, search: Search | None = None, polarisations: Sequence[str] = ()
) -> tuple[Granule, ...]:
    """Search all IW SLC products over a box, in time order.

    Parameters
    ----------
    services : Services
    box : BBox
        Degrees.
    search : Search, optional
    polarisations : sequence of str
        Products must have all of them: ``VV``, ``VH``, ``HH``, ``HV``.

    Raises
    ------
    ProvisionError
        If there is no such product.
    """
    search = search or Search()
    every = dict.fromkeys(name for names in CHANNELS.values() for name in names)
    channels = [name for name in every if all(name in CHANNELS[one] for one in polarisations)] if polarisations else []
    options: dict[str, Any] = {
        "platform": ["SENTINEL-1"],
        "processingLevel": ["SLC"],
        "beamMode": ["IW"],
        "bbox": (box.west, box.south, box.east, box.north),
        "start": search.start,
        "end": search.stop,
        "relativeOrbit": None if search.track is None else [search.track],
        "flightDirection": None if search.direction is None else search.direction.name,
        "polarization": channels or None,
    }
    if polarisations and not channels:
        raise _explain_empty(box, search, polarisations)
    found = _search(services, **{key: value for key, value in options.items() if value is not None})
    if not found:
        raise _explain_empty(box, search, polarisations)
    return found


def _explain_empty(box: BBox, search: Search, polarisations: Sequence[str]) -> ProvisionError:
    parts = [f"over {box.south:g},{box.north:g},{box.west:g},{box.east:g}"]
    parts += [f"of track {search.track}"] if search.track else []
    parts += [word for word in (search.direction and search.direction.value, " and ".join(polarisations)) if word]
    parts += [f"{word} {time:%Y-%m-%d}" for word, time in (("from", search.start), ("to", search.stop)) if time]
    msg = f"the catalogue knows no IW SLC product {', '.join(parts)}"
    return ProvisionError(msg, hint="widen the box or the period, or leave out track, direction or polarisation")


class _Retry(Retry):
    """Waits as long as the catalogue asks for, up to a minute."""

    def get_retry_after(self, response: Any) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, _LONGEST_PAUSE_S)


class _ToPlainHttp(HTTPAdapter):
    """Sends to ``http`` what was addressed to ``https``, which `asf_search` puts before every host."""

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        request.url = re.sub("^https", "http", request.url or "")
        return super().send(request, *args, **kwargs)


def _open_session(services: Services) -> ASFSession:
    from asf_search import ASFSession

    session = ASFSession()
    session.auth = lambda request: request  # searching needs no account: nothing of ~/.netrc is sent
    retries = _Retry(total=_ATTEMPTS - 1, status_forcelist=_PASSING, allowed_methods=None, backoff_factor=BACKOFF_S)
    scheme, _, place = services.asf_search.partition("://")
    adapter = HTTPAdapter if scheme == "https" else _ToPlainHttp
    session.mount(f"https://{place}", adapter(max_retries=retries))
    return session


def _search(services: Services, **options: Any) -> tuple[Granule, ...]:
    import asf_search

    asf_search.REPORT_ERRORS = False  # else it reports every failure to its makers, over the network
    asf_search.ASF_LOGGER.setLevel(logging.CRITICAL)  # every failure is raised as well
    try:
        granules = [granule for product in _insist(services, options) if (granule := _read_granule(product))]
    except asf_search.ASFSearch4xxError as exc:
        msg = f"the catalogue at {services.asf_search} refused the search: {_quote(exc)}"
        hint = "check the box and the dates; if they are right, asf_search may be too old"
        raise ProvisionError(msg, hint=hint) from exc
    except (json.JSONDecodeError, JSONDecodeError) as exc:
        raise _explain_silence(services, "what came is not JSON, as from a captive portal") from exc
    except asf_search.ASFSearchError as exc:
        raise _explain_silence(services, _quote(exc)) from exc
    except (RequestException, HTTPError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise _explain_silence(services, type(exc).__name__) from None  # its words may hold a proxy's password
    return tuple(sorted(granules, key=lambda granule: (granule.slice.start, granule.name)))


def _insist(services: Services, options: Mapping[str, Any]) -> Sequence[ASFProduct]:
    """Ask again where the connection fails; the session asks again after error statuses."""
    from asf_search import ASFSearchOptions, search

    host = services.asf_search.partition("://")[2]
    failures = 0
    while True:
        try:
            results = search(opts=ASFSearchOptions(host=host, session=_open_session(services), **options))
            results.raise_if_incomplete()
            return list(results)
        except RequestException as exc:
            failures += 1
            if isinstance(exc, RetryError) or failures == _ATTEMPTS:
                raise
            time.sleep(BACKOFF_S * 2 ** (failures - 1))


def _explain_silence(services: Services, why: str) -> ProvisionError:
    msg = f"the catalogue at {services.asf_search} did not answer the search: {why}"
    return ProvisionError(msg, hint="try again later, or put the products into data/raw yourself", retryable=True)


def _quote(exc: Exception) -> str:
    """Quote what the catalogue said, as far as `asf_search` repeats it."""
    return str(exc).splitlines()[0][:200] if str(exc) else type(exc).__name__


def _read_granule(product: ASFProduct) -> Granule | None:
    """Read a product; None where it is not an IW SLC, such as metadata, or its description lacks a part."""
    told = product.properties
    if told["processingLevel"] != "SLC" or not all(told[key] for key in _NEEDED):
        return None
    try:
        name = parse_product_name(str(told["sceneName"]))
    except ValueError:
        return None
    start, stop = (_parse_time(text) for text in name.split("_")[5:7])
    one = Slice(
        name=name,
        mission=name[:3],
        start=start,
        stop=stop,
        track=int(told["pathNumber"]),
        direction=Direction(str(told["flightDirection"]).lower()),
        polarisations=tuple(sorted(str(told["polarization"]).split("+"))),
        arc=_fit_arc(product, start),
    )
    size = told["bytes"] if isinstance(told["bytes"], int) else 0
    return Granule(slice=one, url=str(told["url"]), size=size or None, md5=told["md5sum"] or None)


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)


def _fit_arc(product: ASFProduct, start: datetime) -> OrbitArc | None:
    """Fit a cubic to the two state vectors that the catalogue tells, ten seconds apart; None without them."""
    try:
        told = {
            key: _read_vector(product.umm_get(product.umm, "AdditionalAttributes", ("Name", f"SV_{key}"), "Values", 0))
            for key in ("POSITION_PRE", "POSITION_POST", "VELOCITY_PRE", "VELOCITY_POST")
        }
    except (AttributeError, ValueError):
        return None
    (first, p0), (last, p1) = told["POSITION_PRE"], told["POSITION_POST"]
    seconds = [(time - start).total_seconds() for time in (first, last)]
    half = (seconds[1] - seconds[0]) / 2
    if half <= 0:
        return None
    slopes = [half * velocity for _, velocity in (told["VELOCITY_PRE"], told["VELOCITY_POST"])]
    # values and slopes of a + b x + c x² + d x³ at x = -1 and x = 1
    design = np.array([[1, -1, 1, -1], [1, 1, 1, 1], [0, 1, -2, 3], [0, 1, 2, 3]], dtype=np.float64)
    coefficients = np.linalg.solve(design, np.array([p0, p1, *slopes])).T
    return OrbitArc(
        epoch=start, origin_s=sum(seconds) / 2, scale_s=half, coefficients=np.ascontiguousarray(coefficients)
    )


def _read_vector(text: str) -> tuple[datetime, np.ndarray[Any, np.dtype[np.float64]]]:
    x, y, z, time = text.split(",")
    moment = datetime.fromisoformat(time.strip().removesuffix("Z"))
    return moment.replace(tzinfo=timezone.utc), np.array([float(x), float(y), float(z)])
