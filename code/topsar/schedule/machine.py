"""What the machine gives: memory, cores, and whether the kernel has killed for memory.

A container's limits are its cgroup's, version 1 or 2, and those of every cgroup above; the smallest counts. Page cache
that the kernel can drop at once is not counted as use. Each function takes ``root``, the folder that holds ``proc``
and ``sys``, so that it can be shown another machine.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

_ROOT = Path("/")
_UNLIMITED = 1 << 60


def find_available_memory(root: Path = _ROOT) -> int:
    """Bytes that new processes may use now: the smaller of what the machine and every cgroup have left."""
    free = [_find_free(folder) for folder in _find_cgroups("memory", root)]
    return max(0, min([int(psutil.virtual_memory().available), *(value for value in free if value is not None)]))


def find_memory_limit(root: Path = _ROOT) -> int:
    """Bytes that all processes together can ever use: the smaller of the machine's memory and every cgroup's limit."""
    limits = [_read_limit(folder) for folder in _find_cgroups("memory", root)]
    return min([int(psutil.virtual_memory().total), *(limit for limit in limits if limit is not None)])


def count_cores(root: Path = _ROOT) -> int:
    """Count the cores this process may use: its affinity, or its cgroups' CPU quota where that is less; at least 1."""
    quotas = [_read_quota(folder) for folder in _find_cgroups("cpu", root)]
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(int(quota) for quota in quotas if quota is not None)]))


def count_oom_kills(root: Path = _ROOT) -> int:
    """Count the processes killed for memory so far, here and in our cgroups; only a rise means something."""
    files = [root / "proc/vmstat"]
    for folder in _find_cgroups("memory", root):
        files += [folder / "memory.events", folder / "memory.oom_control"]
    return sum(_read_field(file, "oom_kill") or 0 for file in files)


def sum_session_memory(session: int) -> int:
    """Sum the resident bytes of all processes of a session; pages they share are counted for each.

    Parameters
    ----------
    session : int
        Session id: the pid of the process that was started in a session of its own.
    """
    pages = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                pages += int((folder / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _find_cgroups(controller: str, root: Path) -> list[Path]:
    """The cgroups of this process for one controller, innermost first, in every hierarchy that has it."""
    mounts = root / "sys/fs/cgroup"
    folders: list[Path] = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            base = mounts / controller if controllers else mounts
            inner = base / place.strip("/")
            folders += [inner, *(folder for folder in inner.parents if folder == base or base in folder.parents)]
    return folders


def _read_limit(folder: Path) -> int | None:
    """A cgroup's own limit; version 1 says "none" by a number beyond any machine."""
    limits = [_read_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
    return next((limit for limit in limits if limit is not None and limit < _UNLIMITED), None)


def _find_free(folder: Path) -> int | None:
    """What a cgroup leaves: its limit, less what it uses, but for cached files, which go when room is needed.

    Files that were just written count as active: without them a run would wait for its own scratch to be forgotten.
    """
    limit = _read_limit(folder)
    for use_name, prefix in (("memory.current", ""), ("memory.usage_in_bytes", "total_")):
        use = _read_number(folder / use_name)
        if limit is not None and use is not None:
            cached = (
                _read_field(folder / "memory.stat", f"{prefix}{kind}_file") or 0 for kind in ("active", "inactive")
            )
            return limit - use + sum(cached)
    return None


def _read_quota(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    limit, each = _read_number(folder / "cpu.cfs_quota_us"), _read_number(folder / "cpu.cfs_period_us")
    return limit / each if limit is not None and each and limit > 0 else None


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _read_field(path: Path, name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return None
