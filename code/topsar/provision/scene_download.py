"""Scenes that pairs need and the data folder lacks: found in the archive, downloaded, checked."""

from __future__ import annotations

import logging
import re
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from topsar.errors import ProvisionError, TopsarError
from topsar.provision.earthdata import Credentials, explain_refusal, list_trusted_hosts, log_in
from topsar.provision.scene_search import Granule, find_granules
from topsar.provision.scenes import find_missing_scenes
from topsar.provision.web.transfer import Wanted, name_part
from topsar.sentinel1 import open_scene
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from topsar.pairs.listing import PairLine
    from topsar.provision.endpoints import Services
    from topsar.provision.web.client import Web

log = logging.getLogger(__name__)

AT_ONCE = 2
USUAL_BYTES = 5_000_000_000
"""Assumed for a scene whose size the catalogue does not tell."""
_ARCHIVE = re.compile(r"https://[a-z0-9.-]+\.(?:asf\.alaska\.edu|earthdatacloud\.nasa\.gov)(?::443)?/.*", re.IGNORECASE)
"""Addresses that a token is sent to; host names of other letters may be read in two ways."""


def download_scenes(
    lines: Sequence[PairLine],
    folder: Path,
    web: Web,
    *,
    credentials: Credentials | None,
    disk_reserve_bytes: int,
) -> dict[str, TopsarError]:
    """Download the scenes of a list of pairs that are not in a folder, to ``<folder>/<name>.zip``.

    Where all are there, or offline, no service is asked. What is wrong with one scene does not stop the others: it is
    returned by name.

    Parameters
    ----------
    lines : sequence of PairLine
    folder : Path
        ``data/raw``.
    web : Web
    credentials : Credentials or None
        Account of Earthdata Login; looked at only if something is to be downloaded.
    disk_reserve_bytes : int
        Space on the disk of ``folder`` that is left free.
    """
    missing = find_missing_scenes(lines, folder)
    if not missing:
        return {}
    if web.fetcher.offline:
        hint = "put it there, or set OFFLINE=0"
        words = f"is not in {folder}, and OFFLINE forbids to download it"
        return {name: ProvisionError(f"{name} {words}", hint=hint) for name in missing}
    log.info("%d scenes are not in %s: looking for them in the archive", len(missing), folder)
    known, services = find_granules(missing, web.services), web.services
    words, hint = (
        "is not in data/raw, and the archive's catalogue does not know it",
        "look it up at https://search.asf.alaska.edu",
    )
    problems: dict[str, TopsarError] = {
        name: ProvisionError(f"{name} {words}", hint=hint) for name in missing if name not in known
    }
    if not known:
        return problems
    granules = [known[name] for name in missing if name in known]
    _require_space(granules, folder, disk_reserve_bytes)
    token = log_in(credentials, web)

    def download(one: Granule) -> None:
        try:
            _require_safe(one, services)
            web.fetcher.download(
                Wanted(
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
            )
        except TopsarError as exc:
            problems[one.name] = exc

    web.fetcher.download_all([partial(download, one) for one in granules], at_once=AT_ONCE)
    return problems


def _require_space(granules: Sequence[Granule], folder: Path, reserve_bytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    needed = 0
    for one in granules:
        part = name_part(folder / f"{one.name}.zip")
        kept = part.stat().st_size if part.is_file() else 0
        needed += max((one.size or USUAL_BYTES) - kept, 0)
    free = shutil.disk_usage(folder).free
    if needed > free - reserve_bytes:
        msg = f"{len(granules)} scenes to download need {bytes_text(needed)}; the disk of {folder} has "
        msg += f"{bytes_text(free)} free, of which {bytes_text(reserve_bytes)} are to stay free"
        raise ProvisionError(msg, hint="free some space, take fewer pairs, lower DISK_RESERVE_GB, or use another disk")


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
    if one.md5 is None:
        try:
            with zipfile.ZipFile(part) as archive:
                damaged = archive.testzip()
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as exc:
            damaged = f"a member ({exc})"
        if damaged:
            msg = f"{one.name}.zip: {damaged} is damaged"
            raise ProvisionError(msg, hint="try again", retryable=True)
