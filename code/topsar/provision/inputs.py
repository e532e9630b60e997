"""Everything that a list of pairs needs: found where the user put it, or fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from topsar.errors import NotFetchedError, ProvisionError, SettingsError
from topsar.model import UNCALIBRATED_IPF, BBox
from topsar.provision.aux_cal import provide_aux_cal
from topsar.provision.dem.choice import find_dem, is_global, provide_dem
from topsar.provision.earthdata import find_credentials
from topsar.provision.endpoints import Services
from topsar.provision.orbits import find_pass_orbits, provide_orbits
from topsar.provision.scene_download import provide_scenes
from topsar.provision.scene_search import search_granules
from topsar.provision.scenes import ListedPair, find_pairs, missing_scenes
from topsar.provision.web.client import Fetcher

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.model import Dem, Direction, OrbitFile, Pair
    from topsar.pairs.listing import PairLine
    from topsar.pairs.network import Slice
    from topsar.provision.earthdata import Credentials
    from topsar.settings import Settings

_ANYWHERE = BBox(west=-180.0, south=-90.0, east=180.0, north=90.0)
"""The box of a DEM that is taken as it is."""
Orbits = Mapping[str, "OrbitFile | None"]
Footprint = Callable[[Sequence["Pair"], Orbits], "BBox"]
"""The box that a DEM for some pairs must cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The lines of a list of pairs, each with its scenes or what is wrong with it; orbits by scene; and the DEM."""

    listed: tuple[ListedPair, ...]
    orbits: Orbits
    dem: Dem

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs whose scenes can be read."""
        return pairs_of(self.listed)


def pairs_of(listed: Sequence[ListedPair]) -> tuple[Pair, ...]:
    """The pairs whose scenes can be read."""
    return tuple(one.pair for one in listed if one.pair is not None)


def find_inputs(lines: Sequence[PairLine], settings: Settings, footprint: Footprint) -> Found:
    """Find what is there, or was fetched before; nothing is fetched.

    Raises
    ------
    ProvisionError
        If there is no DEM that can be used.
    """
    data = settings.data.resolve()
    listed = find_pairs(lines, data / "raw")
    pairs = pairs_of(listed)
    orbits = find_pass_orbits(pairs, data / "orbit_data")
    return Found(listed=listed, orbits=orbits, dem=known_dem(settings, lambda: footprint(pairs, orbits)))


def known_dem(settings: Settings, find_box: Callable[[], BBox]) -> Dem:
    """The DEM that is there, or was fetched before for this box.

    Raises
    ------
    NotFetchedError
        If a run would have to fetch it.
    ProvisionError
        If there is none.
    """
    folder = settings.data.resolve() / "dem"
    if not is_global(settings.dem, folder, settings.geoid):
        return find_dem(settings.options, folder)
    return _provide_dem(settings, find_box(), Fetcher(offline=True), Services(), fetch=False)


def _none_usable(listed: Sequence[ListedPair]) -> ProvisionError:
    problems = dict.fromkeys(text for one in listed if one.problem for text in one.problem.message.split("; "))
    hint = next((one.problem.hint for one in listed if one.problem), "")
    return ProvisionError("\n  ".join(["no pair can be processed:", *problems]), hint=hint)


def _provide_dem(settings: Settings, box: BBox, fetcher: Fetcher, services: Services, *, fetch: bool) -> Dem:
    return provide_dem(
        settings.dem,
        box,
        settings.data.resolve() / "dem",
        fetcher=fetcher,
        services=services,
        api_key=settings.opentopo_api_key.get_secret_value().strip(),
        datum=settings.dem_datum,
        geoid=settings.geoid,
        fetch=fetch,
    )


def provide_inputs(lines: Sequence[PairLine], settings: Settings, services: Services, footprint: Footprint) -> Found:
    """Find what is there, and fetch what is missing: scenes, orbits, the DEM, its geoid.

    Parameters
    ----------
    lines : sequence of PairLine
    settings : Settings
    services : Services
        Where to ask.
    footprint : callable
        The box that the DEM must cover.

    Raises
    ------
    ProvisionError
        If something that all pairs need cannot be had. What is wrong with one scene fails the pairs that list it.
    """
    data, raw = settings.data.resolve(), settings.data.resolve() / "raw"
    needs_account = bool(missing_scenes(lines, raw)) and not settings.offline
    account = earthdata_account(settings) if needs_account else None
    fetcher = make_fetcher(settings, account)
    supply = provide_scenes(
        lines,
        raw,
        fetcher=fetcher,
        services=services,
        credentials=account,
        disk_reserve_bytes=settings.disk_reserve_bytes,
        offline=settings.offline,
    )
    listed = find_pairs(lines, raw, supply.problems)
    pairs = pairs_of(listed)
    orbits = provide_orbits(
        pairs,
        data / "orbit_data",
        fetcher=fetcher,
        services=services,
        now=datetime.now(timezone.utc),
    )
    box = _ANYWHERE
    if is_global(settings.dem, data / "dem", settings.geoid):
        if not pairs:
            raise _none_usable(listed)
        box = footprint(pairs, orbits)
    dem = _provide_dem(settings, box, fetcher, services, fetch=True)
    return Found(listed=listed, orbits=orbits, dem=dem)


def provide_calibration(pairs: Sequence[Pair], settings: Settings, services: Services | None) -> Path | None:
    """The folder with the calibration files that scenes of the first processor need; None where none is needed or had.

    Parameters
    ----------
    pairs : sequence of Pair
    settings : Settings
    services : Services, optional
        Where to ask; without it nothing is fetched, nor unpacked.
    """
    scenes = {scene.name: scene for pair in pairs for scene in pair.scenes}
    folder = settings.data.resolve() / "aux_cal"
    if services is None:
        needed = any(scene.ipf == UNCALIBRATED_IPF for scene in scenes.values())
        return folder if needed and folder.is_dir() else None
    return provide_aux_cal(scenes.values(), folder, fetcher=make_fetcher(settings), services=services)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for in the archive, besides region and polarisation; None is anything."""

    start: datetime | None = None
    stop: datetime | None = None
    track: int | None = None
    direction: Direction | None = None


def search_slices(settings: Settings, search: Search, services: Services) -> tuple[Slice, ...]:
    """Products in the archive over the region of interest.

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
    if settings.roi is None:
        msg = "a search of the archive needs ROI"
        raise SettingsError(msg, hint="--roi south,north,west,east, in degrees")
    granules = search_granules(
        services,
        box=settings.roi,
        start=search.start,
        stop=search.stop,
        track=search.track,
        direction=search.direction,
        polarisation=None if settings.polarization == "auto" else settings.polarization,
    )
    return tuple(granule.slice for granule in granules)


def describe_missing(lines: Sequence[PairLine], settings: Settings, footprint: Footprint) -> tuple[str, ...]:
    """What a run would have to fetch, in words; nothing is fetched, and orbits that could be better are not counted."""
    data = settings.data.resolve()
    missing = [f"scene {name}" for name in missing_scenes(lines, data / "raw")]
    pairs = pairs_of(find_pairs(lines, data / "raw"))
    orbits = find_pass_orbits(pairs, data / "orbit_data")
    missing += [f"orbit of {name}" for name, orbit in orbits.items() if orbit is None]
    if is_global(settings.dem, data / "dem", settings.geoid) and not _has_dem(settings, pairs, orbits, footprint):
        key = settings.opentopo_api_key.get_secret_value()
        auto = "SRTMGL1" if key else "COP30, because OPENTOPO_API_KEY is not set"
        missing.append(f"height model {auto if settings.dem == 'auto' else settings.dem.upper()}")
    return tuple(missing)


def _has_dem(settings: Settings, pairs: Sequence[Pair], orbits: Orbits, footprint: Footprint) -> bool:
    """Whether nothing has to be fetched for heights, be it because fetching could not help."""
    if not pairs:
        return False
    try:
        known_dem(settings, lambda: footprint(pairs, orbits))
    except NotFetchedError:
        return False
    except ProvisionError:
        return True
    return True


def earthdata_account(settings: Settings) -> Credentials | None:
    """The account for downloading scenes: from the settings, else from ``~/.netrc``."""
    return find_credentials(
        username=settings.earthdata_username,
        password=settings.earthdata_password.get_secret_value(),
        token=settings.earthdata_token.get_secret_value(),
    )


def make_fetcher(settings: Settings, account: Credentials | None = None) -> Fetcher:
    """What fetches with these settings; it lets none of their secrets out."""
    secrets = [settings.opentopo_api_key, settings.earthdata_password, settings.earthdata_token]
    words = [*(secret.get_secret_value() for secret in secrets), *(account.secrets if account else ())]
    return Fetcher(offline=settings.offline, secrets=[word for word in words if word])
