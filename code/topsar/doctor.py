"""Look over machine, settings and inputs before anything runs, and say how to mend what is found.

Every check runs, whatever the others found; one that breaks is itself a finding. Nothing on disk changes: a probe file
is removed at once. Rooms that import packages with compiled parts are imported inside the checks, so that a broken
package is a finding too.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import io
import json
import logging
import netrc
import os
import platform
import re
import resource
import shutil
import socket
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cached_property
from importlib import metadata, util
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

from topsar.errors import SettingsError, TopsarError
from topsar.model import Dem, OrbitFile, OrbitSource, Pair, Step
from topsar.pairs_file import PairLine, product_name, read_pairs
from topsar.settings import KEYS, Settings, load_settings
from topsar.text_file import encoding_of

if TYPE_CHECKING:
    from topsar.engines import Plan
    from topsar.provision import ListedPair

T = TypeVar("T")

SHOWN = 20
"""Findings of one kind that are told one by one."""
WIDTH = 110
FEW_FILES = 256
FEW_INODES = 10_000
LITTLE_SPACE = 1_000_000_000
LITTLE_SCRATCH = 100_000_000
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre",
    "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip
MODULES = {"pillow": "PIL", "python-dotenv": "dotenv", "whirlwind-insar": "whirlwind"}
"""What a package is imported as, where that is not its own name."""


class Grade(str, Enum):
    """How much a finding matters, least first."""

    OK = "ok"
    NOTE = "note"
    """Good to know."""
    WARNING = "warning"
    """A run starts, but something may go wrong or take long."""
    PROBLEM = "problem"
    """A run, or a part of it, would fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and how to mend it."""

    topic: str
    grade: Grade
    text: str
    remedy: str = ""


def examine(
    *,
    env_file: Path | None,
    data: Path,
    pairs: Path,
    flags: Mapping[str, str],
    root: Path = Path("/"),
    home: Path | None = None,
) -> tuple[Finding, ...]:
    """Run every check.

    Parameters
    ----------
    env_file, data, pairs, flags
        As `topsar.settings.load_settings` takes them. If the settings cannot be used, the defaults are looked at.
    root : Path
        The folder that holds ``proc`` and ``sys``.
    home : Path, optional
        The folder that holds ``.netrc``; the user's own by default.

    Returns
    -------
    tuple of Finding
        By topic, in the order of the checks.
    """
    settings, broken = _load(env_file, data, pairs, flags)
    case = _Case(settings=settings, broken=broken, env_file=env_file, root=root, home=home)
    provision = logging.getLogger("topsar.provision")
    level = provision.level
    provision.setLevel(logging.ERROR)  # its warnings are findings here
    try:
        return tuple(
            Finding(topic, grade, text, remedy) for topic, check in CHECKS for grade, text, remedy in _run(check, case)
        )
    finally:
        provision.setLevel(level)


def worst(findings: Iterable[Finding]) -> Grade:
    """The gravest of the grades.

    Examples
    --------
    >>> worst([Finding("disk", Grade.OK, "free"), Finding("disk", Grade.NOTE, "slow")]).value
    'note'
    """
    return max((finding.grade for finding in findings), key=list(Grade).index, default=Grade.OK)


def describe(findings: Sequence[Finding]) -> str:
    """The findings as a table for the terminal, each with its remedy below; the last line sums up.

    Examples
    --------
    >>> print(describe([Finding("disk", Grade.WARNING, "1 GB free", "remove something")]))
    disk  warning  1 GB free
                   remove something
    1 warning: a run can start
    """
    wide = max((len(finding.topic) for finding in findings), default=0)
    indent = " " * (wide + 11)
    lines: list[str] = []
    for finding, after in zip_longest(findings, findings[1:]):
        head = f"{finding.topic:<{wide}}  {finding.grade.value:<7}  "
        lines += _wrapped(finding.text, head, indent)
        if finding.remedy and not (after and after.remedy == finding.remedy):
            lines += _wrapped(finding.remedy, indent, indent)
    tally = Counter(finding.grade for finding in findings)
    told = [_count(tally[grade], grade.value) for grade in reversed(Grade) if tally[grade] and grade is not Grade.OK]
    end = "mend the problems first" if tally[Grade.PROBLEM] else "a run can start"
    return "\n".join([*lines, f"{', '.join(told) or 'all is well'}: {end}"])


def as_json(findings: Sequence[Finding]) -> str:
    """The findings and the gravest grade, for programs."""
    return json.dumps({"worst": worst(findings), "findings": [asdict(finding) for finding in findings]}, indent=2)


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def _some(names: Iterable[str], shown: int = 3) -> str:
    first, rest = (every := list(names))[:shown], len(every) - shown
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


def _gb(size: float) -> str:
    return f"{size / 1e9:.{1 if size >= 1e9 else 3}f} GB"


# --- what is looked at ------------------------------------------------------------------------------------------


class _Said(NamedTuple):
    grade: Grade
    text: str
    remedy: str = ""


Check = Callable[["_Case"], Iterable[_Said]]


@dataclass(frozen=True)
class _Case:
    """The settings, and what follows from them, found once for all checks; an error in place of what cannot be had."""

    settings: Settings
    broken: SettingsError | None
    env_file: Path | None
    root: Path
    home: Path | None

    @cached_property
    def data(self) -> Path:
        return self.settings.data.resolve()

    @cached_property
    def place(self) -> Path:
        """The runs folder, or the nearest folder above it that is there."""
        runs = self.data / "runs"
        return next(folder for folder in (runs, *runs.parents) if os.path.lexists(folder))

    @cached_property
    def lines(self) -> tuple[PairLine, ...] | TopsarError:
        return _attempt(lambda: read_pairs(self.settings.pairs))

    @cached_property
    def listed(self) -> tuple[ListedPair, ...]:
        from topsar.provision import find_pairs

        return () if isinstance(self.lines, TopsarError) else find_pairs(self.lines, self.data / "raw")

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(one.pair for one in self.listed if one.pair is not None)

    @cached_property
    def orbits(self) -> dict[str, OrbitFile | None]:
        from topsar.provision import find_pass_orbits

        return find_pass_orbits(self.pairs, self.data / "orbit_data")

    @cached_property
    def dem(self) -> Dem | TopsarError:
        from topsar.provision import find_dem

        return _attempt(lambda: find_dem(self.settings.options, self.data / "dem"))

    @cached_property
    def plan(self) -> Plan | TopsarError | None:
        """None where there is nothing to plan with."""
        from topsar.engines import Inputs, get_engine

        dem = self.dem
        if not self.pairs or isinstance(dem, TopsarError):
            return None
        inputs = Inputs(pairs=self.pairs, orbits=self.orbits, dem=dem)
        return _attempt(lambda: get_engine(self.settings.engine)[0].plan(inputs, self.settings.options))

    @property
    def steps(self) -> list[tuple[str, Step]]:
        """What a run would do: steps with the titles of their jobs."""
        jobs = () if self.plan is None or isinstance(self.plan, TopsarError) else self.plan.jobs
        return [(job.title, step) for job in jobs for step in job.steps]


def _load(
    env_file: Path | None, data: Path, pairs: Path, flags: Mapping[str, str]
) -> tuple[Settings, SettingsError | None]:
    try:
        return load_settings(env_file=env_file, data=data, pairs=pairs, flags=flags), None
    except SettingsError as exc:
        return Settings(data=data.expanduser().absolute(), pairs=pairs.expanduser().absolute()), exc


def _attempt(call: Callable[[], T]) -> T | TopsarError:
    try:
        return call()
    except TopsarError as exc:
        return exc


def _run(check: Check, case: _Case) -> Iterator[_Said]:
    try:
        yield from check(case)
    except Exception as exc:  # noqa: BLE001 whatever breaks a check would break a run
        yield _Said(Grade.PROBLEM, f"looking at this failed: {type(exc).__name__}: {exc}")


def _each(exc: TopsarError, where: str = "") -> Iterator[_Said]:
    """Each of the problems that an error lists, the first of its lines being their heading."""
    rest = exc.message.split("\n  ")[1:]
    yield from _capped([_Said(Grade.PROBLEM, where + text, exc.hint) for text in rest] or [_problem(exc)])


def _problem(exc: TopsarError, where: str = "") -> _Said:
    return _Said(Grade.PROBLEM, where + exc.message, exc.hint)


def _capped(said: Sequence[_Said]) -> Iterator[_Said]:
    yield from said[:SHOWN]
    if len(said) > SHOWN:
        yield _Said(said[0].grade, f"and {len(said) - SHOWN} more like these")


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


# --- machine ----------------------------------------------------------------------------------------------------


def _system(case: _Case) -> Iterator[_Said]:
    said = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if platform.system() == "Linux":
        yield _Said(Grade.OK, said)
    else:
        yield _Said(Grade.PROBLEM, f"{said}: topsar needs Linux", "use Linux, or WSL2 on Windows")
    if "microsoft" in _text(case.root / "proc/sys/kernel/osrelease").lower() and case.data.is_relative_to("/mnt"):
        remedy = "move the data folder into Linux's own file system, such as ~/data"
        yield _Said(Grade.NOTE, f"WSL2, and {case.data} lies on a drive of Windows, which is slow", remedy)
    marks = (case.root / ".dockerenv", case.root / "run/.containerenv")
    groups = _text(case.root / "proc/self/cgroup")
    if any(mark.exists() for mark in marks) or re.search("docker|kubepods|containerd|lxc", groups):
        yield _Said(Grade.NOTE, "inside a container: its limits count, and what is not in a volume goes with it")


def _cores(case: _Case) -> Iterator[_Said]:
    from topsar.schedule.memory import cores

    usable, there = cores(case.root), os.cpu_count() or 1
    if usable < there:
        remedy = "to use more, widen the affinity (taskset) or the container's quota"
        yield _Said(Grade.NOTE, f"{usable} of {_count(there, 'core')} may be used", remedy)
    else:
        yield _Said(Grade.OK, _count(there, "core"))


def _limits(_case: _Case) -> Iterator[_Said]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= files < FEW_FILES:
        yield _Said(Grade.WARNING, f"a process may open only {_count(files, 'file')}", "ulimit -n 1024")
    for what, name, flag in (("use", resource.RLIMIT_AS, "-v"), ("write files of", resource.RLIMIT_FSIZE, "-f")):
        size = resource.getrlimit(name)[0]
        if size != resource.RLIM_INFINITY:
            yield _Said(Grade.WARNING, f"a process may {what} {_gb(size)} at most", f"ulimit {flag} unlimited")


def _clock(_case: _Case) -> Iterator[_Said]:
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.rglob("*.py"))
    now = time.time()
    if time.gmtime(now).tm_year < 2024 or now < newest - 86400:
        shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
        text = f"the clock says {shown}, which is before topsar's own files were written"
        yield _Said(Grade.WARNING, text, "set it: sudo timedatectl set-ntp true, or sudo hwclock -s on WSL2")


def _memory(case: _Case) -> Iterator[_Said]:
    import psutil

    from topsar.schedule.memory import memory_available, memory_limit

    total, limit = int(psutil.virtual_memory().total), memory_limit(case.root)
    yield _Said(Grade.OK, f"{_gb(memory_available(case.root))} of {_gb(limit)} available now")
    if limit < total:
        yield _Said(Grade.NOTE, f"the cgroup (container, SLURM, systemd) allows {_gb(limit)} of {_gb(total)}")
    asked = case.settings.memory_gb
    if asked != "auto" and asked * 1e9 > limit:
        text = f"MEMORY_GB={asked:g} is more than the {_gb(limit)} that there are"
        yield _Said(Grade.WARNING, text, "set MEMORY_GB=auto, or a smaller number")
    swap = re.search(r"^SwapTotal: +(\d+) kB", _text(case.root / "proc/meminfo"), re.MULTILINE)
    size = int(swap[1]) * 1024 if swap else 0
    yield _Said(Grade.NOTE, f"{_gb(size)} of swap; topsar does not count on it" if size else "no swap")


def _largest_step(case: _Case) -> Iterator[_Said]:
    from topsar.schedule.memory import memory_available, memory_limit

    if not case.steps:
        return
    title, step = max(case.steps, key=lambda one: one[1].needs.memory_bytes)
    need, asked, limit = step.needs.memory_bytes, case.settings.memory_gb, memory_limit(case.root)
    bound = limit if asked == "auto" else min(limit, int(asked * 1e9))
    said = f"the largest step, {step.name} of {title}, is predicted to use {_gb(need)}"
    smaller = "a smaller ROI, fewer SWATHS, a coarser POSTING"
    if need > bound:
        yield _Said(Grade.PROBLEM, f"{said}, and {_gb(bound)} is all there can be", f"{smaller}, or more memory")
    elif need > (free := memory_available(case.root)):
        yield _Said(
            Grade.WARNING, f"{said}, and only {_gb(free)} is available now", f"end other programs, or {smaller}"
        )
    else:
        yield _Said(Grade.OK, said)


# --- packages ---------------------------------------------------------------------------------------------------


def _packages(_case: _Case) -> Iterator[_Said]:
    try:
        needed = [text for text in metadata.requires("topsar") or () if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        yield _Said(Grade.WARNING, "topsar is not installed, so what it requires is not known", "pip install -e .")
        return
    faults = [fault for text in needed if (fault := _fault(text))]
    for fault in faults:
        yield _Said(Grade.PROBLEM, fault, "set up the environment anew: remove .venv and run ./run_local.sh again")
    if not faults:
        yield _Said(Grade.OK, f"all {_count(len(needed), 'package')} that topsar requires can be used")


def _fault(requirement: str) -> str:
    """What is wrong with a package that topsar requires; empty if nothing."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    try:
        from packaging.requirements import Requirement
    except ImportError:  # then versions are not looked at, nor packages that only some versions of Python need
        if ";" in requirement:
            return ""
    else:
        wanted = Requirement(requirement)
        if wanted.marker and not wanted.marker.evaluate():
            return ""
        with contextlib.suppress(metadata.PackageNotFoundError):
            if not wanted.specifier.contains(version := metadata.version(name), prereleases=True):
                return f"{name} {version} is installed, topsar requires {wanted.specifier}"
    try:
        importlib.import_module(MODULES.get(name.lower(), name.replace("-", "_")))
    except Exception as exc:  # noqa: BLE001 compiled parts fail in many ways
        return f"{name} cannot be imported: {exc}"
    return ""


def _plus_one(value: int) -> int:
    return value + 1


def _numba(_case: _Case) -> Iterator[_Said]:
    import numba

    if numba.njit()(_plus_one)(1) != 2:
        yield _Said(Grade.PROBLEM, "Numba compiles, and the result is wrong", "install numba and llvmlite again")
    asked = str(getattr(numba.config, "CACHE_DIR", ""))
    try:
        place = str(numba.njit(cache=True)(_plus_one).stats.cache_path)
    except RuntimeError as exc:
        yield _Said(Grade.PROBLEM, f"Numba has no folder for what it compiles: {exc}", "set NUMBA_CACHE_DIR to one")
        return
    with contextlib.suppress(OSError):
        Path(place).rmdir()  # empty where it was made for this question
    if asked and not Path(place).is_relative_to(asked):
        text = f"NUMBA_CACHE_DIR={asked} cannot be written; what Numba compiles is kept in {place}"
        yield _Said(Grade.WARNING, text, "mend or unset NUMBA_CACHE_DIR")
    else:
        yield _Said(Grade.OK, f"Numba compiles and keeps what it compiled in {place}")


def _rasters(_case: _Case) -> Iterator[_Said]:
    import pyproj
    import rasterio

    stray = "unset PROJ_DATA, PROJ_LIB and GDAL_DATA: they name another installation's files"
    try:
        pyproj.CRS.from_epsg(32629)
    except pyproj.exceptions.CRSError as exc:
        yield _Said(Grade.PROBLEM, f"pyproj cannot look up EPSG:32629: {exc}", stray)
    try:
        form = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "float32", "crs": "EPSG:32629"}
        with rasterio.MemoryFile() as file:
            with file.open(**form, transform=rasterio.Affine(80, 0, 0, 0, -80, 0), compress="deflate"):
                pass
            with file.open() as again:
                yield _Said(Grade.OK, f"GDAL {rasterio.__gdal_version__} reads {again.driver} in EPSG:32629")
    except (rasterio.errors.RasterioError, rasterio.errors.CRSError) as exc:
        yield _Said(Grade.PROBLEM, f"rasterio cannot write and read a GeoTIFF: {exc}", stray)


# --- settings and credentials -----------------------------------------------------------------------------------


def _settings(case: _Case) -> Iterator[_Said]:
    if case.env_file is not None and not case.env_file.is_file():
        yield _Said(Grade.PROBLEM, f"no {case.env_file}", "give another --env FILE, or none")
    elif case.broken:
        yield from _each(case.broken)
    else:
        own = [key for key, origin in case.settings.origins.items() if origin != "default"]
        yield _Said(Grade.OK, f"{_count(len(own), 'setting')} of your own" + (f": {', '.join(own)}" if own else ""))
    if case.broken:
        yield _Said(Grade.NOTE, "everything else was looked at with the default settings")


def _env_file(case: _Case) -> Iterator[_Said]:
    path = case.env_file
    if path is None:
        yield _Said(Grade.NOTE, "no .env", "copy .env.example to .env to keep settings there")
    elif path.is_file() and _is_open(path) and _holds_secret(path):
        yield _Said(Grade.WARNING, f"{path} holds a key, and others can read it", f"chmod 600 {path}")


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def _holds_secret(path: Path) -> bool:
    encoding = _attempt(lambda: encoding_of(path))
    if isinstance(encoding, TopsarError):
        return False
    secret = {key.name for key in KEYS if key.secret}
    return any(found.key in secret and found.value for found in parse_stream(io.StringIO(path.read_text(encoding))))


def _keys(case: _Case) -> Iterator[_Said]:
    for key in KEYS:
        if key.secret and not case.broken:
            state = "set" if getattr(case.settings, key.field).get_secret_value() else "not set"
            yield _Said(Grade.NOTE, f"{key.name} is {state}; this version downloads nothing")


def _netrc(case: _Case) -> Iterator[_Said]:
    path = (case.home or Path.home()) / ".netrc"
    if not path.is_file():
        yield _Said(Grade.NOTE, f"no {path}; this version downloads nothing")
        return
    if _is_open(path):
        yield _Said(Grade.WARNING, f"others can read {path}", f"chmod 600 {path}")
    try:
        hosts = netrc.netrc(str(path)).hosts
    except (netrc.NetrcParseError, OSError, ValueError) as exc:  # its text may hold a password
        line = getattr(exc, "lineno", None)
        remedy = "one entry per host: machine HOST login NAME password PASSWORD"
        yield _Said(Grade.WARNING, f"{path}{f', line {line}' if line else ''}: cannot be understood", remedy)
    else:
        entry = "an" if "urs.earthdata.nasa.gov" in hosts else "no"
        yield _Said(Grade.NOTE, f"{path} has {entry} entry for urs.earthdata.nasa.gov; this version downloads nothing")


# --- inputs -----------------------------------------------------------------------------------------------------


def _folders(case: _Case) -> Iterator[_Said]:
    raw = case.data / "raw"
    if not raw.is_dir():
        what = raw if case.data.is_dir() else f"data folder {case.data}"
        yield _Said(Grade.PROBLEM, f"no {what}", "make it and put the SLCs into raw, or give --data DIR")


def _pairs(case: _Case) -> Iterator[_Said]:
    path = case.settings.pairs
    if not path.is_file():
        yield _Said(Grade.PROBLEM, f"no {path}", "list the pairs there, reference first, or give --pairs FILE")
        return
    if isinstance(case.lines, TopsarError):
        yield from _each(case.lines, f"{path.name}, " if "\n" in case.lines.message else "")
        return
    bad = [_problem(one.problem, f"line {one.line}: ") for one in case.listed if one.problem]
    if case.pairs:
        scenes = {scene.name for pair in case.pairs for scene in (*pair.reference, *pair.secondary)}
        yield _Said(Grade.OK, f"{_count(len(case.pairs), 'pair')} of {_count(len(scenes), 'product')} found")
    yield from _capped(bad)


def _spare(case: _Case) -> Iterator[_Said]:
    if isinstance(case.lines, TopsarError) or not (case.data / "raw").is_dir():
        return
    listed = {name for line in case.lines for name in (*line.reference, *line.secondary)}
    there = set()
    for entry in (case.data / "raw").iterdir():
        with contextlib.suppress(ValueError):
            there.add(product_name(entry.name))
    if spare := sorted(there - listed):
        yield _Said(Grade.NOTE, f"{_count(len(spare), 'product')} in raw in no pair: {_some(spare)}")


def _orbits(case: _Case) -> Iterator[_Said]:
    passes: dict[OrbitSource, set[str]] = {source: set() for source in OrbitSource}
    for pair in case.pairs:
        for scenes in (pair.reference, pair.secondary):
            orbit = case.orbits[scenes[0].name]
            source = orbit.source if orbit else OrbitSource.ANNOTATION
            passes[source].add(f"{scenes[0].mission} {scenes[0].start:%Y-%m-%d}")
    folder, late = case.data / "orbit_data", "precise ones (POEORB) come 20 days after the pass"
    for source, days in passes.items():
        said = f"{_count(len(days), 'pass')} with {source.value}"
        if not days:
            continue
        if source is OrbitSource.PRECISE:
            yield _Said(Grade.OK, said)
        elif source is OrbitSource.RESTITUTED:
            yield _Said(Grade.NOTE, f"{said}, centimetres less exact: {_some(sorted(days))}", late)
        else:
            text = f"{_count(len(days), 'pass')} without an orbit file, decimetres less exact: {_some(sorted(days))}"
            yield _Said(Grade.WARNING, text, f"put the .EOF files of these days in {folder}; {late}")


def _dem(case: _Case) -> Iterator[_Said]:
    if isinstance(case.dem, TopsarError):
        yield _problem(case.dem)
    else:
        yield _Said(Grade.OK, f"{case.dem.path}, heights above {case.dem.datum.value}")


def _plan(case: _Case) -> Iterator[_Said]:
    plan = case.plan
    if isinstance(plan, TopsarError):
        yield from _each(plan)
    elif plan is not None:
        yield from _capped([_problem(problem, f"{pair}: ") for pair, problem in plan.refused.items()])
        if jobs := [job for job in plan.jobs if job.is_pair]:
            yield _Said(Grade.OK, f"{_count(len(jobs), 'pair')} can be processed, in {_count(len(case.steps), 'step')}")


def _engine(case: _Case) -> Iterator[_Said]:
    from topsar.engines import get_engine

    try:
        engine, why = get_engine(case.settings.engine)
        yield _Said(Grade.OK, f"{engine.name}: {why}")
    except SettingsError as exc:
        yield _problem(exc)
    if found := shutil.which("topsApp.py") or util.find_spec("isce"):
        where = found if isinstance(found, str) else found.origin
        yield _Said(Grade.NOTE, f"ISCE2 is installed ({where}); this version does not drive it")
    else:
        yield _Said(Grade.NOTE, "ISCE2 is not installed; nothing in this version needs it")
    unwrapper = case.settings.unwrapper
    if unwrapper != "none" and util.find_spec(unwrapper) is None:
        yield _Said(Grade.PROBLEM, f"UNWRAPPER={unwrapper} is not installed", "set UNWRAPPER to another one, or none")


def _executor(case: _Case) -> Iterator[_Said]:
    if getattr(case.settings, "executor", "local") != "dask":
        return
    if util.find_spec("distributed") is None:
        yield _Said(Grade.PROBLEM, "EXECUTOR=dask, and distributed is not installed", "pip install 'topsar[dask]'")
    address = urlsplit(str(getattr(case.settings, "dask_scheduler", "")))
    try:
        if address.hostname and address.port:
            socket.create_connection((address.hostname, address.port), timeout=5).close()
            yield _Said(Grade.OK, f"the scheduler at {address.hostname}:{address.port} answers")
    except (OSError, ValueError) as exc:
        text = f"the scheduler at {address.hostname} does not answer: {exc}"
        yield _Said(Grade.PROBLEM, text, "start it, or mend DASK_SCHEDULER")


# --- disk -------------------------------------------------------------------------------------------------------


def _writable(case: _Case) -> Iterator[_Said]:
    try:
        with tempfile.NamedTemporaryFile(dir=case.place, prefix=".topsar-doctor.") as probe:
            probe.write(b"probe")
            probe.flush()
            try:
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                text, remedy = f"files in {case.place} cannot be locked: {exc.strerror}", "a file system with locks"
                yield _Said(Grade.PROBLEM, text, f"put the runs folder on {remedy}")
    except OSError as exc:
        remedy = "make it writable for this user, free some space, or give another data folder by --data DIR"
        yield _Said(Grade.PROBLEM, f"{case.place} cannot be written: {exc.strerror}", remedy)


def _space(case: _Case) -> Iterator[_Said]:
    disk = os.statvfs(case.place)
    free, share = disk.f_bavail * disk.f_frsize, _largest_share(case)
    total = sum(step.needs.disk_bytes for _, step in case.steps)
    said = f"{_gb(free)} free for {case.data / 'runs'}"
    if total:
        said += f"; {_gb(total)} of scratch is predicted, of which {_gb(share)} at once for the largest pair"
    if free < max(share, LITTLE_SPACE):
        yield _Said(Grade.WARNING, said, "free some, choose a data folder on another disk, or a smaller ROI")
    else:
        yield _Said(Grade.OK, said)
    if disk.f_files and disk.f_favail < FEW_INODES:
        text = f"the file system of {case.place} has room for only {_count(disk.f_favail, 'file')}"
        yield _Said(Grade.WARNING, text, "remove some files there")


def _largest_share(case: _Case) -> int:
    """Bytes that the pair with the most scratch needs, together with the jobs that feed it."""
    if case.plan is None or isinstance(case.plan, TopsarError):
        return 0
    writers = {artifact.path: job for job in case.plan.jobs for step in job.steps for artifact in step.writes}
    shares = []
    for job in case.plan.jobs:
        feeding = {job.id: job} | {w.id: w for step in job.steps for path in step.reads if (w := writers.get(path))}
        shares.append(sum(step.needs.disk_bytes for one in feeding.values() for step in one.steps))
    return max(shares, default=0)


def _file_system(case: _Case) -> Iterator[_Said]:
    kind, length = "", -1
    for line in _text(case.root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        mount = Path(left.split()[4].encode().decode("unicode_escape"))  # a space is written \040
        if case.place.is_relative_to(mount) and len(mount.parts) >= length:
            kind, length = right.split()[0], len(mount.parts)
    if kind in {"tmpfs", "ramfs"}:
        text = f"{case.place} is in memory ({kind}): what a run writes there takes memory and is gone after a restart"
        yield _Said(Grade.WARNING, text, "choose a data folder on a disk")
    elif kind in NETWORK:
        yield _Said(Grade.NOTE, f"{case.place} is on a network or host drive ({kind})", "a local disk is faster")


def _temporary(case: _Case) -> Iterator[_Said]:
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as exc:
        yield _Said(Grade.PROBLEM, f"no folder for temporary files: {exc}", "set TMPDIR to one that can be written")
        return
    if (free := shutil.disk_usage(folder).free) < LITTLE_SCRATCH:
        yield _Said(Grade.WARNING, f"only {_gb(free)} free for temporary files in {folder}", "set TMPDIR to another")
    if case.settings.unwrapper == "snaphu" and re.search(r"\s", folder):
        yield _Said(Grade.PROBLEM, f"SNAPHU cannot use the space in {folder}", "set TMPDIR to a folder without one")


def _holder(case: _Case) -> Iterator[_Said]:
    from topsar.schedule import find_holder

    holder = find_holder(case.data / "runs")
    if holder is None:
        return
    who = f"pid {holder.pid} on {holder.host}"
    if holder.is_alive:
        yield _Said(Grade.NOTE, f"a run ({who}) is working in {case.data / 'runs'}", "wait for it before another one")
    elif holder.is_alive is None:
        text = f"a run ({who}) holds {case.data / 'runs'}, or died there"
        yield _Said(Grade.NOTE, text, f"look on {holder.host} whether it still works")
    else:
        yield _Said(Grade.NOTE, f"the last run ({who}) died in {case.data / 'runs'}; the next one resumes it")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("machine", _system),
    ("machine", _cores),
    ("machine", _limits),
    ("machine", _clock),
    ("packages", _packages),
    ("packages", _numba),
    ("packages", _rasters),
    ("settings", _settings),
    ("settings", _env_file),
    ("inputs", _folders),
    ("inputs", _pairs),
    ("inputs", _spare),
    ("inputs", _orbits),
    ("inputs", _dem),
    ("engine", _engine),
    ("engine", _executor),
    ("engine", _plan),
    ("memory", _memory),
    ("memory", _largest_step),
    ("disk", _writable),
    ("disk", _space),
    ("disk", _file_system),
    ("disk", _temporary),
    ("disk", _holder),
    ("credentials", _keys),
    ("credentials", _netrc),
)
"""What is looked at, by topic."""
