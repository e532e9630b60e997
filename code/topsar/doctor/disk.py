"""The runs folder, the disk under it, and temporary files."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.doctor.finding import Grade, Said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topsar.doctor.case import Case
    from topsar.schedule.graph import NodeId

NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre",
    "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip


def runs_folder(case: Case) -> Iterator[Said]:
    """Whether the runs folder can be written and locked."""
    from topsar.schedule import hold_runs

    try:
        with tempfile.TemporaryDirectory(dir=case.place, prefix=".topsar-doctor.") as probe, hold_runs(Path(probe)):
            pass
    except OSError as exc:
        remedy = "make it writable for this user, free some space, or give another data folder by --data DIR"
        yield Said(Grade.PROBLEM, f"{case.place} cannot be written: {exc.strerror}", remedy)
    else:
        yield Said(Grade.OK, f"{case.place} can be written and locked")


def space(case: Case) -> Iterator[Said]:
    """Whether more is free than is to stay free, and whether what is written at once will fit."""
    from topsar.wording import bytes_text

    free, reserve = shutil.disk_usage(case.place).free, case.settings.disk_reserve_bytes
    said, remedy = f"{bytes_text(free)} free for {case.runs}", "free some, or choose a data folder on another disk"
    if free < reserve:
        text = f"{said}, which is less than DISK_RESERVE_GB={case.settings.disk_reserve_gb:g}"
        yield Said(Grade.WARNING, text, f"{remedy}, or lower DISK_RESERVE_GB")
    else:
        yield Said(Grade.OK, said)
    if case.forecasts:
        every, most = sum(forecast.needs.disk_bytes for forecast in case.forecasts.values()), _largest_pair(case)
        fits = (every if case.settings.cleanup == "none" else most) <= free - reserve
        text = f"all steps are predicted to write {bytes_text(every)}, those of the largest pair {bytes_text(most)}"
        yield Said(Grade.OK, text) if fits else Said(Grade.WARNING, text, f"{remedy}, or take a smaller ROI")


def _largest_pair(case: Case) -> int:
    """Bytes that the pair with the most to write needs, together with the steps that feed it."""
    from topsar.schedule.graph import build_graph

    before: dict[NodeId, set[NodeId]] = {}
    needed: defaultdict[str, set[NodeId]] = defaultdict(set)
    for node in build_graph(case.plan.jobs).nodes.values():
        before[node.id] = {node.id}.union(*(before[parent] for parent in node.parents))
        needed[node.job.id] |= before[node.id]
    return max(sum(case.forecasts[node].needs.disk_bytes for node in nodes) for nodes in needed.values())


def file_system(case: Case) -> Iterator[Said]:
    """Whether the disk is one, and near."""
    import psutil

    mounts = [part for part in psutil.disk_partitions(all=True) if case.place.is_relative_to(part.mountpoint)]
    kind = max(reversed(mounts), key=lambda part: len(Path(part.mountpoint).parts)).fstype if mounts else ""
    if kind in {"tmpfs", "ramfs"}:
        text = f"{case.place} is in memory ({kind}): what a run writes there takes memory and is gone after a restart"
        yield Said(Grade.WARNING, text, "choose a data folder on a disk")
    elif kind in NETWORK:
        yield Said(Grade.NOTE, f"{case.place} is on a network or host drive ({kind})", "a local disk is faster")


def temporary(case: Case) -> Iterator[Said]:
    """Whether SNAPHU can use the folder of temporary files."""
    folder = tempfile.gettempdir()
    if case.settings.unwrapper == "snaphu" and re.search(r"\s", folder):
        yield Said(Grade.PROBLEM, f"SNAPHU cannot use the space in {folder}", "set TMPDIR to a folder without one")


def holder(case: Case) -> Iterator[Said]:
    """Whether another run is at work."""
    from topsar.schedule import find_holder

    holder = find_holder(case.runs)
    if holder and holder.is_alive is not False:
        text = f"a run (pid {holder.pid} on {holder.host}) is working in {case.runs}"
        yield Said(Grade.NOTE, text, "wait for it before another one")
