"""What a list of pairs needs: scenes and orbits first, then the DEM; found where the user put it, or fetched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import rasterio

from topsar.errors import NotFetchedError, ProvisionError, SettingsError
from topsar.model import UNCALIBRATED_IPF
from topsar.provision.aux_cal import provide_aux_cal
from topsar.provision.dem import choice
from topsar.provision.earthdata import find_credentials
from topsar.provision.orbits import find_pass_orbits, provide_orbits
from topsar.provision.scene_download import download_scenes
from topsar.provision.scene_search import Search, search_granules
from topsar.provision.scenes import ListedPair, find_missing_scenes, find_pairs
from topsar.provision.weather.choice import Analyses, describe_times, fetch_analyses, plan_analyses
from topsar.provision.web.client import Fetcher, Web
from topsar.raster.geotiff import GDAL_ERRORS, WITH_SIDECARS
from topsar.sentinel1 import list_unused_orbits, list_unused_products

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.model import BBox, Dem, OrbitFile, Pair
    from topsar.pairs.listing import PairLine
    from topsar.pairs.network import Slice
    from topsar.provision.earthdata import Credentials
    from topsar.provision.endpoints import Services
    from topsar.settings import Settings

log = logging.getLogger(__name__)

_MOST_NAMED = 10
"""Files in one folder that are not used and are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The lines of a list of pairs, each with its scenes or what is wrong with it; and orbits by scene."""

    listed: tuple[ListedPair, ...]
    orbits: Mapping[str, OrbitFile | None]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs whose scenes can be read."""
        return _select_readable(self.listed)

    def require_pairs(self) -> None:
        """Refuse a list without a single pair whose scenes can be read, and say what is wrong with each scene."""
        if not self.pairs:
            problems = [one.problem for one in self.listed if one.problem]
            reasons = dict.fromkeys(text for problem in problems for text in problem.message.split("; "))
            hint = problems[0].hint if problems else ""
            raise ProvisionError("\n  ".join(["no pair can be processed:", *reasons]), hint=hint)


def find_scenes(lines: Sequence[PairLine], settings: Settings, services: Services | None = None) -> Found:
    """Open the scenes of a list and find their orbits.

    Parameters
    ----------
    lines : sequence of PairLine
    settings : Settings
        ``data`` holds ``raw`` and ``orbit_data``.
    services : Services, optional
        Where to ask for what is missing; without it nothing is fetched.

    Raises
    ------
    ProvisionError
        If something that all scenes need cannot be had: catalogue, account, space. What is wrong with one scene
        fails the pairs that list it.
    """
    raw, orbit_folder = settings.data.resolve() / "raw", settings.data.resolve() / "orbit_data"
    wanted = () if settings.polarization == "auto" else settings.polarization
    if services is None:
        listed = find_pairs(lines, raw, polarisations=wanted)
        return Found(listed=listed, orbits=find_pass_orbits(_select_readable(listed), orbit_folder))
    needs_account = bool(find_missing_scenes(lines, raw)) and not settings.offline
    account = find_earthdata_account(settings) if needs_account else None
    web = Web(_make_fetcher(settings, account), services)
    problems = download_scenes(lines, raw, web, credentials=account, disk_reserve_bytes=settings.disk_reserve_bytes)
    listed = find_pairs(lines, raw, problems, wanted)
    orbits = provide_orbits(_select_readable(listed), orbit_folder, web, now=datetime.now(timezone.utc))
    return Found(listed=listed, orbits=orbits)


def _select_readable(listed: Sequence[ListedPair]) -> tuple[Pair, ...]:
    return tuple(one.pair for one in listed if one.pair is not None)


def needs_box(settings: Settings) -> bool:
    """Whether the DEM is a global model, or tiles, which must be told the box to cover; the user's raster is not."""
    options, folder = settings.options, settings.data.resolve() / "dem"
    return choice.is_global(options, folder) or choice.has_tiles(options, folder)


def list_unused(settings: Settings) -> tuple[str, ...]:
    """List what lies in ``raw``, ``orbit_data`` and ``dem`` and is not used, each with the reason."""
    data, given = settings.data.resolve(), []
    for folder, reasons in (
        ("raw", list_unused_products(data / "raw")),
        ("orbit_data", list_unused_orbits(data / "orbit_data")),
        ("dem", choice.list_unused(settings.options, data / "dem")),
    ):
        given += [f"{folder}/{reason}" for reason in reasons[:_MOST_NAMED]]
        given += [f"{folder}: {len(reasons) - _MOST_NAMED} more files"] if len(reasons) > _MOST_NAMED else []
    return tuple(given)


def find_dem(settings: Settings, box: BBox | None = None, services: Services | None = None) -> Dem:
    """Find the DEM that is there, or was fetched before for a box, or fetch it and its geoid.

    Parameters
    ----------
    settings : Settings
    box : BBox, optional
        What the DEM must cover, degrees; needed where `needs_box` says so.
    services : Services, optional
        Where to ask; without it nothing is fetched.

    Raises
    ------
    NotFetchedError
        If a run would have to fetch it.
    ProvisionError
        If there is none that can be used, and none can be had.
    """
    web = Web(_make_fetcher(settings), services) if services else None
    return choice.find_dem(settings.options, settings.data.resolve() / "dem", box, api_key=_get_key(settings), web=web)


def find_water_mask(settings: Settings) -> Path | None:
    """Find the raster that ``WATER_MASK`` names; None where it is empty.

    Raises
    ------
    ProvisionError
        If it is not there, cannot be read, or does not say where it lies.
    """
    if not settings.water_mask:
        return None
    path = choice.require_file(settings.water_mask, settings.data.resolve(), "WATER_MASK")
    try:
        with rasterio.Env(**WITH_SIDECARS), rasterio.open(path) as dataset:
            is_placed = dataset.crs is not None
    except GDAL_ERRORS as exc:
        msg = f"cannot read the water mask {path}: {exc}"
        raise ProvisionError(msg, hint="give a raster that GDAL opens in WATER_MASK, or leave it empty") from exc
    if not is_placed:
        msg = f"the water mask {path} has no coordinate system"
        raise ProvisionError(msg, hint="set it, for example with gdal_edit.py -a_srs EPSG:4326")
    return path


def provide_calibration(pairs: Sequence[Pair], settings: Settings, services: Services | None) -> Path | None:
    """Provide the folder with the calibration files that scenes of the first processor need; None without either.

    Parameters
    ----------
    pairs : sequence of Pair
    settings : Settings
    services : Services or None
        Where to ask; without it nothing is fetched, nor unpacked.
    """
    scenes = {scene.name: scene for pair in pairs for scene in pair.scenes}
    folder = settings.data.resolve() / "aux_cal"
    if services is None:
        needed = any(scene.ipf == UNCALIBRATED_IPF for scene in scenes.values())
        return folder if needed and folder.is_dir() else None
    return provide_aux_cal(scenes.values(), folder, Web(_make_fetcher(settings), services))


def plan_weather(pairs: Sequence[Pair], settings: Settings, find_box: Callable[[], BBox]) -> Analyses | None:
    """Choose the analyses of a weather model that the correction `weather_troposphere` needs; None where files serve.

    Parameters
    ----------
    pairs : sequence of Pair
    settings : Settings
    find_box : callable
        Finds the box that the pairs show.

    Raises
    ------
    ProvisionError
        If no model covers the pairs.
    """
    wanted = settings.troposphere
    has_files = wanted == "files" or (wanted == "auto" and settings.troposphere_dir)
    if "weather_troposphere" not in settings.corrections or has_files or not pairs:
        return None
    return plan_analyses(wanted, pairs, find_box(), settings.data.resolve())


def provide_weather(analyses: Analyses, settings: Settings, services: Services) -> None:
    """Fetch the analyses that are missing.

    What cannot be had fails no pair: the correction then refuses itself, and the next run asks again.
    """
    try:
        fetch_analyses(analyses, Web(_make_fetcher(settings), services))
    except ProvisionError as exc:
        log.warning("weather_troposphere: %s (%s)", exc.message, exc.hint)


def search_slices(settings: Settings, search: Search, services: Services) -> tuple[Slice, ...]:
    """Search the archive for products over the region of interest.

    Parameters
    ----------
    settings : Settings
        ``roi`` and ``polarization``.
    search : Search
        The rest of what to look for.
    services : Services

    Raises
    ------
    SettingsError
        If there is no region of interest, or the network is forbidden.
    ProvisionError
        If the catalogue does not answer, or knows no such product.
    """
    if settings.offline:
        msg = "OFFLINE=1 forbids a search of the archive"
        raise SettingsError(msg, hint="set OFFLINE=0, or leave --search out to pair what lies in data/raw")
    if (roi := settings.options.roi) is None:
        msg = "a search of the archive needs ROI"
        raise SettingsError(msg, hint="--roi south,north,west,east, in degrees")
    wanted = () if settings.polarization == "auto" else settings.polarization
    granules = search_granules(services, roi, search, wanted)
    return tuple(granule.slice for granule in granules)


def describe_missing(
    lines: Sequence[PairLine], settings: Settings, found: Found, find_box: Callable[[], BBox]
) -> tuple[str, ...]:
    """Name what a run would have to fetch; nothing is fetched, and orbits that could be better are not counted.

    Parameters
    ----------
    lines : sequence of PairLine
    settings : Settings
    found : Found
        What `find_scenes` makes of the lines.
    find_box : callable
        Finds the box that the pairs show; called only if there are pairs, and the DEM is a global model or a correction
        needs the analyses of a weather model.
    """
    missing = [f"scene {name}" for name in find_missing_scenes(lines, settings.data.resolve() / "raw")]
    missing += [f"orbit of {name}" for name, orbit in found.orbits.items() if orbit is None]
    asks_model = choice.is_global(settings.options, settings.data.resolve() / "dem")
    if asks_model and (not found.pairs or _must_fetch_dem(settings, find_box)):
        auto = "SRTMGL1" if _get_key(settings) else "COP30, because OPENTOPO_API_KEY is not set"
        missing.append(f"height model {auto if settings.dem == 'auto' else settings.dem.upper()}")
    with suppress(ProvisionError):
        analyses = plan_weather(found.pairs, settings, find_box)
        missing += [f"weather: {describe_times(analyses)}"] if analyses and analyses.missing else []
    return tuple(missing)


def _must_fetch_dem(settings: Settings, find_box: Callable[[], BBox]) -> bool:
    """Whether a run fetches heights; not where they are here, nor where none can be fetched."""
    with suppress(ProvisionError):
        try:
            find_dem(settings, find_box())
        except NotFetchedError:
            return True
    return False


def find_earthdata_account(settings: Settings) -> Credentials | None:
    """Find the account for downloading scenes: in the settings, else in ``~/.netrc``."""
    return find_credentials(
        username=settings.earthdata_username,
        password=settings.earthdata_password.get_secret_value(),
        token=settings.earthdata_token.get_secret_value(),
    )


def _make_fetcher(settings: Settings, account: Credentials | None = None) -> Fetcher:
    """Make a fetcher that masks every secret of the settings and of the account."""
    secrets = [settings.opentopo_api_key, settings.earthdata_password, settings.earthdata_token]
    words = [*(secret.get_secret_value() for secret in secrets), *(account.secrets if account else ())]
    return Fetcher(offline=settings.offline, secrets=words)


def _get_key(settings: Settings) -> str:
    return settings.opentopo_api_key.get_secret_value().strip()
