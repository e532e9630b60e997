"""Calibration files that products of the first processor need.

Products of IPF 002.36 lack a correction of the antenna's phase, which differs between swaths; it is computed from the
antenna's pattern in the AUX_CAL file of the product's time.
"""

from __future__ import annotations

import logging
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from topsar.errors import ProductError, ProvisionError
from topsar.files import replaced_folder
from topsar.model import UNCALIBRATED_IPF
from topsar.provision.web.transfer import Wanted

if TYPE_CHECKING:
    from datetime import datetime

    from topsar.model import Scene
    from topsar.provision.web.client import Web

log = logging.getLogger(__name__)

PUBLISHED = "20241128"
"""Date in the names of the archives."""
MOST_BYTES = 1 << 28
"""A larger calibration file is not unpacked."""

_NAME = re.compile(r"(?P<mission>S1[AB])_AUX_CAL_V(?P<valid>\d{8}T\d{6})_G(?P<generated>\d{8}T\d{6})\.SAFE", re.ASCII)
_HINT = "remove it, and it is fetched again"
_Members = dict[str, list[tuple[zipfile.ZipInfo, PurePosixPath]]]
_DAMAGED = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def provide_aux_cal(scenes: Iterable[Scene], folder: Path, web: Web) -> Path | None:
    """Provide the folder with the calibration files of all scenes that need one; fetch where they are missing.

    None where no scene needs one, or none can be had; a warning says the latter.

    Parameters
    ----------
    scenes : iterable of Scene
    folder : Path
        ``data/aux_cal``: archives are kept in it, and what is valid for the scenes is unpacked beside them.
    web : Web
        The places in ``services.aux_cal`` are tried in order.
    """
    wanted = [scene for scene in scenes if scene.ipf == UNCALIBRATED_IPF]
    found = False
    for mission in sorted({scene.mission for scene in wanted}):
        times = sorted({scene.start for scene in wanted if scene.mission == mission})
        try:
            _provide(mission, times, folder, web)
        except ProvisionError as exc:
            log.warning(
                "%s products of IPF %s: %s; without a calibration file phase may jump between swaths",
                mission,
                UNCALIBRATED_IPF,
                exc.message,
            )
        else:
            found = True
    return folder if found else None


def _provide(mission: str, times: list[datetime], folder: Path, web: Web) -> None:
    archive = folder / f"{mission}_AUX_CAL_{PUBLISHED}.zip"
    members: _Members
    try:
        _fetch(archive, web)
    except ProvisionError:
        members = {path.name: [] for path in folder.glob(f"{mission}_AUX_CAL_*.SAFE") if _is_whole(path)}
        if not members:
            raise
    else:
        members = _list_members(archive)
    for time in times:
        chosen = _choose_valid(members, mission, time)
        if not _is_whole(folder / chosen):
            _unpack(archive, members[chosen], folder / chosen)
        log.info("%s %s: calibration file %s", mission, f"{time:%Y-%m-%d}", chosen)


def _fetch(archive: Path, web: Web) -> None:
    """Fetch the archive of a mission from the first place that has it, unless it is there already."""
    reasons = []
    for place in web.services.aux_cal:
        try:
            url = f"{place}/{archive.name}"
            web.fetcher.download(Wanted(url=url, path=archive, what=archive.name, check=_list_members))
        except ProvisionError as exc:
            log.info("%s: %s", archive.name, exc.message)
            reasons.append(exc.message)
        else:
            return
    msg = "; ".join(reasons) or f"no service is known that has {archive.name}"
    raise ProvisionError(msg, hint=f"put {archive.name} in {archive.parent}", retryable=True)


def _list_members(archive: Path) -> _Members:
    """List the members of every calibration file in an archive, with their places inside it."""
    found: _Members = {}
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
    except _DAMAGED as exc:
        msg = f"{archive.name}: not a readable zip ({exc})"
        raise ProvisionError(msg, hint=_HINT, retryable=True) from exc
    for member in members:
        parts = PurePosixPath(member.filename).parts
        at = next((k for k, part in enumerate(parts) if _NAME.fullmatch(part)), None)
        if at is not None and parts[at + 1 :]:
            found.setdefault(parts[at], []).append((member, PurePosixPath(*parts[at + 1 :])))
    if not found:
        msg = f"{archive.name}: the zip holds no AUX_CAL .SAFE"
        raise ProvisionError(msg, hint=_HINT)
    return found


def _choose_valid(names: Iterable[str], mission: str, time: datetime) -> str:
    """Choose the file that was valid at a time: the last to become so, and its newest generation."""
    matches = [match for name in names if (match := _NAME.fullmatch(name)) and match["mission"] == mission]
    before = [match for match in matches if match["valid"] <= f"{time:%Y%m%dT%H%M%S}"]
    if not before:
        msg = f"no AUX_CAL is valid at {time:%Y-%m-%d %H:%M}"
        raise ProvisionError(msg, hint="look for one at sar-mpc.eu")
    return max(before, key=lambda match: (match["valid"], match["generated"]))[0]


def _is_whole(safe: Path) -> bool:
    """Whether its data are there; as a file gets its name when it is unpacked, the rest is there too."""
    return any(path.stat().st_size for path in safe.glob("data/s1?-aux-cal.xml"))


def _unpack(archive: Path, members: list[tuple[zipfile.ZipInfo, PurePosixPath]], target: Path) -> None:
    """Unpack one calibration file; refuse members that would be written elsewhere, and what is far too large."""
    problem = "is larger than any calibration file" if sum(m.file_size for m, _ in members) > MOST_BYTES else ""
    if any(_is_unsafe(member, inside) for member, inside in members):
        problem = "holds a member that would be written elsewhere"
    if problem:
        msg = f"{archive.name}: {target.name} {problem}"
        raise ProvisionError(msg, hint="do not use this archive")
    try:
        with replaced_folder(target) as part, zipfile.ZipFile(archive) as opened:
            for member, inside in members:
                path = part.joinpath(*inside.parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(opened.read(member))
            if not _is_whole(part):
                msg = f"{archive.name}: {target.name} lacks its data"
                raise ProvisionError(msg, hint=_HINT)
    except (*_DAMAGED, ProductError) as exc:
        msg = f"{archive.name}: {target.name} cannot be unpacked ({exc})"
        raise ProvisionError(msg, hint=_HINT) from exc


def _is_unsafe(member: zipfile.ZipInfo, inside: PurePosixPath) -> bool:
    """Whether it would be written elsewhere, or is a link or encrypted."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    is_odd = any(part in ("..", "/") or "\\" in part or ":" in part for part in inside.parts)
    return is_odd or kind not in (0, stat.S_IFREG) or member.flag_bits & 1 != 0
