"""Scenes that pairs need and the data folder lacks: found in the archive, downloaded, checked."""

from __future__ import annotations

import logging
import re
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from topsar.errors import ProvisionError, TopsarError
from topsar.provision.earthdata import Credentials, explain_refusal, list_trusted_hosts, log_in
from topsar.provision.scene_search import Granule, find_granules, find_near_names
from topsar.provision.scenes import find_missing_scenes
from topsar.provision.web.transfer import Wanted, name_part
from topsar.sentinel1 import open_scene
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from topsar.pairs.listing import PairLine
    from topsar.provision.endpoints import Services
    from topsar.provision.web.client import Fetcher

log = logging.getLogger(__name__)

AT_ONCE = 2
USUAL_BYTES = 5_000_000_000
"""Assumed for a scene whose size the catalogue does not tell."""
_ARCHIVE = re.compile(r"https://[a-z0-9.-]+\.(?:asf\.alaska\.edu|earthdatacloud\.nasa\.gov)(?::443)?/.*", re.IGNORECASE)
"""Addresses that a token is sent to; host names of other letters may be read in two ways."""


def download_scenes(
    lines: Sequence[PairLine],
    folder: Path,
    *,
    fetcher: Fetcher,
    services: Services,
    credentials: Credentials | None,
    disk_reserve_bytes: int,
) -> dict[str, TopsarError]:
    """Download the scenes of a list of pairs that are not in a folder, to ``<folder>/<name>.zip``.

    Where all are there, or offline, no service is asked.

    Parameters
    ----------
    lines : sequence of PairLine
    folder : Path
        ``data/raw``.
    fetcher : Fetcher
    services : Services
    credentials : Credentials or None
        Account of Earthdata Login; looked at only if something is to be downloaded.
    disk_reserve_bytes : int
        Space on the disk of ``folder`` that is left free.

    Returns
    -------
    dict
        By name, why a scene could not be had; it does not stop the others.

    Raises
    ------
    ProvisionError
        If no scene can be had: the catalogue does not answer, no account or a refused one, too little space.
    """
    missing = find_missing_scenes(lines, folder)
    if not missing:
        return {}
    if fetcher.offline:
        return {name: _refuse_offline(name, folder) for name in missing}
    log.info("%d scenes are not in %s: looking for them in the archive", len(missing), folder)
    known = find_granules(missing, services)
    unknown = [name for name in missing if name not in known]
    problems: dict[str, TopsarError] = dict(_explain_unknown(unknown, services)) if unknown else {}
    if not known:
        return problems
    granules = [known[name] for name in missing if name in known]
    _require_space(granules, folder, disk_reserve_bytes)
    token = log_in(credentials, fetcher=fetcher, services=services)

    def download(one: Granule) -> Path:
        try:
            _require_safe(one, services)
            fetcher.download(_describe_zip(one, folder, token, services))
        except TopsarError as exc:
            problems[one.name] = exc
        return folder

    fetcher.download_all([partial(download, one) for one in granules], at_once=AT_ONCE)
    return problems


def _refuse_offline(name: str, folder: Path) -> ProvisionError:
    msg = f"{name} is not in {folder}, and OFFLINE forbids to download it"
    return ProvisionError(msg, hint="put it there, or set OFFLINE=0")


def _explain_unknown(names: Sequence[str], services: Services) -> Mapping[str, ProvisionError]:
    problems = {}
    for name, near in find_near_names(names, services).items():
        hint = f"did you mean {' or '.join(near)}?" if near else "look it up at https://search.asf.alaska.edu"
        msg = f"{name} is not in data/raw, and the archive's catalogue does not know it"
        problems[name] = ProvisionError(msg, hint=hint)
    return problems


def _require_space(granules: Sequence[Granule], folder: Path, reserve_bytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(max((one.size or USUAL_BYTES) - _count_kept(folder, one), 0) for one in granules)
    free = shutil.disk_usage(folder).free
    if needed > free - reserve_bytes:
        msg = f"{len(granules)} scenes to download need {bytes_text(needed)}; the disk of {folder} has "
        msg += f"{bytes_text(free)} free, of which {bytes_text(reserve_bytes)} are to stay free"
        raise ProvisionError(msg, hint="free some space, take fewer pairs, lower DISK_RESERVE_GB, or use another disk")


def _count_kept(folder: Path, one: Granule) -> int:
    part = name_part(folder / f"{one.name}.zip")
    return part.stat().st_size if part.is_file() else 0


def _describe_zip(one: Granule, folder: Path, token: str, services: Services) -> Wanted:
    return Wanted(
        url=one.url,
        path=folder / f"{one.name}.zip",
        what=f"scene {one.name}",
        check=lambda part: _check_zip(part, one),
        headers={"Authorization": f"Bearer {token}"},
        size=one.size,
        md5=one.md5,
        trusted=list_trusted_hosts(one.url, services),
        explain=explain_refusal,
    )


def _require_safe(one: Granule, services: Services) -> None:
    """Require an encrypted address of the archive, which gets a token; a catalogue without encryption is a test's."""
    if urlsplit(services.asf_search).scheme != "https" or _ARCHIVE.fullmatch(one.url):
        return
    scheme, _, rest = one.url.partition("://")
    host = re.split(r"[/\\?#]", rest)[0].rpartition("@")[2]
    what = f"a host that is not the archive's, {host!r}" if scheme == "https" else "an address without encryption"
    msg = f"{one.name}: the catalogue names {what}; no Earthdata token is sent there"
    raise ProvisionError(msg, hint="download the scene yourself and put it into data/raw")


def _check_zip(part: Path, one: Granule) -> None:
    """Check that the zip holds the scene that was asked for; without a checksum, every byte of it is read."""
    scene = open_scene(part)
    if scene.name != one.name:
        msg = f"the archive sent {scene.name} instead of {one.name}"
        raise ProvisionError(msg, hint="try again later, or download the scene yourself")
    if one.md5 is None and (damaged := _find_damage(part)):
        msg = f"{one.name}.zip: {damaged} is damaged"
        raise ProvisionError(msg, hint="try again", retryable=True)


def _find_damage(path: Path) -> str | None:
    """Find the first damaged member of a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as exc:
        return f"a member ({exc})"
