"""The machine: system, packages, memory, disk, and the cluster and the image where there is one."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.doctor.finding import Finding, Grade
from topsar.wording import bytes_text, count_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topsar.doctor.case import Case
    from topsar.schedule.graph import NodeId

MODULES = {"pillow": "PIL", "pyerfa": "erfa", "python-dotenv": "dotenv", "whirlwind-insar": "whirlwind"}
"""What a package is imported as, where that is not its own name."""
FIRST_BAD_NUMPY = 2
"""ISCE2's ionosphere step uses what this version of NumPy removed."""
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre",
    "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip
"""File systems that other machines serve."""


def check_system(_case: Case) -> Iterator[Finding]:
    """Whether this is Linux, and how many of its cores may be used."""
    from topsar.schedule.machine import count_cores

    text = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if platform.system() == "Linux":
        yield Finding(Grade.OK, f"{text}, {count_cores()} of {count_text(os.cpu_count() or 1, 'core')}")
    else:
        yield Finding(Grade.PROBLEM, f"{text}: topsar needs Linux", "use Linux, or WSL2 on Windows")


def check_packages(_case: Case) -> Iterator[Finding]:
    """Whether every required package is there, new enough, and can be imported."""
    try:
        needed = [text for text in metadata.requires("topsar") or () if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        yield Finding(Grade.WARNING, "topsar is not installed, so its requirements are unknown", "pip install -e .")
        return
    faults = [fault for text in needed if (fault := _find_fault(text))]
    for fault in faults:
        yield Finding(Grade.PROBLEM, fault, "set up the environment anew: remove .venv and run ./run_local.sh again")
    if not faults:
        yield Finding(Grade.OK, f"all {count_text(len(needed), 'package')} that topsar requires can be used")


def _find_fault(requirement: str) -> str:
    """What is wrong with a required package; empty if nothing."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    if wanted.marker and not wanted.marker.evaluate():
        return ""
    with contextlib.suppress(metadata.PackageNotFoundError):
        if not wanted.specifier.contains(version := metadata.version(wanted.name), prereleases=True):
            return f"{wanted.name} {version} is installed, topsar requires {wanted.specifier}"
    try:
        importlib.import_module(MODULES.get(wanted.name, wanted.name.replace("-", "_")))
    except Exception as exc:  # noqa: BLE001 compiled parts fail in many ways
        return f"{wanted.name} cannot be imported: {exc}"
    return ""


def check_kernels(_case: Case) -> Iterator[Finding]:
    """Whether Numba has a folder for compiled kernels."""
    try:
        from topsar.kernels.tile import geocode_tiles
    except RuntimeError as exc:
        yield Finding(Grade.PROBLEM, f"Numba has no folder for compiled kernels: {exc}", "set NUMBA_CACHE_DIR to one")
    else:
        yield Finding(Grade.OK, f"Numba keeps compiled kernels in {geocode_tiles.stats.cache_path}")


def check_projections(_case: Case) -> Iterator[Finding]:
    """Whether PROJ finds its own tables, by itself and within GDAL."""
    import pyproj
    import rasterio

    try:
        pyproj.CRS.from_epsg(32629)
        rasterio.crs.CRS.from_epsg(32629)
    except (pyproj.exceptions.CRSError, rasterio.errors.CRSError) as exc:
        remedy = "unset PROJ_DATA, PROJ_LIB and GDAL_DATA: they name another installation's files"
        yield Finding(Grade.PROBLEM, f"EPSG:32629 cannot be looked up: {exc}", remedy)
    else:
        yield Finding(Grade.OK, f"GDAL {rasterio.__gdal_version__} and PROJ {pyproj.proj_version_str} know EPSG:32629")


def check_isce_image(case: Case) -> Iterator[Finding]:
    """Whether the image's own Python starts ISCE2, with a numpy that suits it, and ISCE_HOME and PATH name that one."""
    from topsar.engines.isce2.installation import find_installation

    found = find_installation(python=sys.executable)
    if int(found.numpy.split(".")[0]) >= FIRST_BAD_NUMPY:
        yield Finding(Grade.PROBLEM, f"numpy {found.numpy} is installed, ISCE2 needs one before {FIRST_BAD_NUMPY}")
    for name, path, expected in (
        ("ISCE_HOME", case.settings.isce_home, found.home),
        ("topsApp.py in PATH", shutil.which("topsApp.py"), found.topsapp),
    ):
        if not path or Path(path).resolve() != expected.resolve():
            yield Finding(Grade.PROBLEM, f"{name} is {path or 'missing'}, isce lies in {found.home}")


def check_series_program(case: Case) -> Iterator[Finding]:
    """Whether the program that makes time series is there, starts, and finds GDAL's Python module."""
    from topsar.formats.timeseries.programs import PROGRAMS, ask_program, find_program

    if (name := case.settings.timeseries) not in PROGRAMS:
        return
    found = find_program(name, case.settings.timeseries_program)  # what it raises is a finding too
    version, problem = ask_program(name, found)
    if problem:
        remedy = (
            f"./run_local.sh timeseries --with {name} sets it up anew where .venv-{PROGRAMS[name].package} is removed"
        )
        yield Finding(Grade.PROBLEM, f"{found} cannot be used: {problem}", remedy)
    else:
        yield Finding(Grade.OK, f"TIMESERIES={name}: {PROGRAMS[name].package} {version} at {found} starts, with osgeo")


def check_executor(case: Case) -> Iterator[Finding]:
    """Whether the Dask cluster answers."""
    if case.settings.executor != "dask":
        return
    from topsar.schedule.dask.link import SLURM, DaskLink

    scheduler = case.settings.dask_scheduler
    if not scheduler:
        remedy = "set it to tcp://HOST:PORT, tls://HOST:PORT or slurm"
        yield Finding(Grade.PROBLEM, "EXECUTOR=dask, and DASK_SCHEDULER is not set", remedy)
    elif scheduler != SLURM:
        with contextlib.closing(DaskLink(scheduler, jobs=0)) as link:
            workers = count_text(len(link.list_addresses()), "worker")
        yield Finding(Grade.OK, f"the Dask scheduler at {scheduler} answers; it has {workers}")
    elif shutil.which("sbatch") is None:
        yield Finding(
            Grade.PROBLEM, "DASK_SCHEDULER=slurm, and there is no sbatch here", "start where jobs are submitted"
        )


def check_memory(case: Case) -> Iterator[Finding]:
    """How much memory there is, and whether the largest step fits; on a cluster its workers decide that."""
    from topsar.schedule.executor import LocalExecutor

    with contextlib.closing(LocalExecutor()) as here:
        limit, free = here.limits().memory_bytes, here.capacity().memory_bytes
    yield Finding(Grade.OK, f"{bytes_text(free)} of {bytes_text(limit)} available now")
    if case.settings.executor != "local":
        return
    if asked := case.settings.memory_bytes:
        if asked > limit:
            text = f"MEMORY_GB={case.settings.memory_gb:g} is more than the {bytes_text(limit)} of this machine"
            yield Finding(Grade.WARNING, text, "set MEMORY_GB=auto, or a smaller number")
        limit = min(limit, asked)
    if case.forecasts:
        yield _judge_largest_step(case, limit, free)


def _judge_largest_step(case: Case, limit: int, free: int) -> Finding:
    (job, step), forecast = max(case.forecasts.items(), key=lambda item: item[1].needs.memory_bytes)
    need = forecast.needs.memory_bytes
    text = f"the largest step, {step} of {job}, is predicted to use {bytes_text(need)}"
    smaller = "a smaller ROI, fewer SWATHS, a coarser POSTING"
    if need > limit and not forecast.learned_from:  # a step that has run here before is tried again
        return Finding(
            Grade.PROBLEM, f"{text}, more than the {bytes_text(limit)} there can be", f"{smaller}, more memory"
        )
    if need > free:
        text += f", and only {bytes_text(free)} is available now"
        return Finding(Grade.WARNING, text, f"end other programs, or {smaller}")
    return Finding(Grade.OK, text)


def check_runs_folder(case: Case) -> Iterator[Finding]:
    """Whether the runs folder can be written and locked."""
    from topsar.schedule.lock import hold_runs

    try:
        with tempfile.TemporaryDirectory(dir=case.place, prefix=".topsar-doctor.") as probe, hold_runs(Path(probe)):
            pass
    except OSError as exc:
        remedy = "make it writable for this user, free some space, or give another data folder by --data DIR"
        yield Finding(Grade.PROBLEM, f"{case.place} cannot be written: {exc.strerror}", remedy)
    else:
        yield Finding(Grade.OK, f"{case.place} can be written and locked")


def check_file_system(case: Case) -> Iterator[Finding]:
    """Whether the data folder lies on a local disk."""
    import psutil

    mounts = [part for part in psutil.disk_partitions(all=True) if case.place.is_relative_to(part.mountpoint)]
    kind = max(reversed(mounts), key=lambda part: len(Path(part.mountpoint).parts)).fstype if mounts else ""
    if kind in {"tmpfs", "ramfs"}:
        text = f"{case.place} is in memory ({kind}): what a run writes there takes memory and is gone after a restart"
        yield Finding(Grade.WARNING, text, "choose a data folder on a disk")
    elif kind in NETWORK:
        yield Finding(Grade.NOTE, f"{case.place} is on a network or host drive ({kind})", "a local disk is faster")


def check_space(case: Case) -> Iterator[Finding]:
    """Whether more than the reserve is free, and whether what a run holds at once will fit."""
    free, reserve = shutil.disk_usage(case.place).free, case.settings.disk_reserve_bytes
    text, remedy = f"{bytes_text(free)} free for {case.runs}", "free some, or choose a data folder on another disk"
    if free < reserve:
        text += f", which is less than DISK_RESERVE_GB={case.settings.disk_reserve_gb:g}"
        yield Finding(Grade.WARNING, text, f"{remedy}, or lower DISK_RESERVE_GB")
    else:
        yield Finding(Grade.OK, text)
    if case.forecasts:
        every, most = sum(one.needs.disk_bytes for one in case.forecasts.values()), _sum_largest_pair(case)
        fits = (every if case.settings.cleanup == "none" else most) <= free - reserve
        text = f"all steps are predicted to write {bytes_text(every)}, those of the largest pair {bytes_text(most)}"
        yield Finding(Grade.OK, text) if fits else Finding(Grade.WARNING, text, f"{remedy}, or take a smaller ROI")


def _sum_largest_pair(case: Case) -> int:
    """Bytes that the pair with the most to write needs, together with the steps that feed it."""
    from topsar.schedule.graph import build_graph

    before: dict[NodeId, set[NodeId]] = {}
    needed: defaultdict[str, set[NodeId]] = defaultdict(set)
    for node in build_graph(case.jobs).nodes.values():
        before[node.id] = {node.id}.union(*(before[parent] for parent in node.parents))
        needed[node.job.id] |= before[node.id]
    return max(sum(case.forecasts[node].needs.disk_bytes for node in nodes) for nodes in needed.values())


def check_temporary_folder(case: Case) -> Iterator[Finding]:
    """Whether SNAPHU can use the folder of temporary files."""
    folder = tempfile.gettempdir()
    if case.settings.unwrapper == "snaphu" and re.search(r"\s", folder):
        yield Finding(Grade.PROBLEM, f"SNAPHU cannot use the space in {folder}", "set TMPDIR to a folder without one")


def check_holder(case: Case) -> Iterator[Finding]:
    """Whether another run is working."""
    from topsar.schedule.lock import find_holder

    holder = find_holder(case.runs)
    if holder and holder.is_alive is not False:
        text = f"a run (pid {holder.pid} on {holder.host}) is working in {case.runs}"
        yield Finding(Grade.NOTE, text, "wait for it before you start another one")
