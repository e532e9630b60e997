"""Whole runs for the fault campaigns: a small data set, a cheap `topsar`, and a judge of what a run left.

Starting Python and loading kernels takes most of the time of a small run. So one process does that once, and forks for
every command line that it is sent: `topsar run` and each of its steps. What they do is what they always do.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np

from dry_data import simulate_with_short_orbits
from topsar import cli
from topsar.model import Burst
from topsar.raster import read_geotiff
from topsar.registry import BUILT_IN
from topsar.schedule.executor import LocalExecutor
from topsar.schedule.jobs import Command, Ended, Policy
from topsar.settings import KEYS
from topsar.simulate import Acquisition, recipe, safe
from topsar.simulate.recipe import SwathCut

ROOT = Path(__file__).resolve().parent.parent
FLAGS = {
    "ENGINE": "native", "UNWRAPPER": "none", "FORMATS": "geotiff", "RETRIES": "0", "CLEANUP": "none",
    "DISK_RESERVE_GB": "0", "OFFLINE": "1",
}  # fmt: skip
"""Settings of a run, unless a campaign says otherwise."""
LONGEST_S = 180.0
"""A command that takes longer hangs."""
ADDRESS, SWAP, SERVICES, LIMITS = "FAULT_ADDRESS", "FAULT_SWAP", "FAULT_SERVICES", "FAULT_LIMITS"
KILL, LOADED = "FAULT_KILL", "FAULT_LOADED"
"""Variables of a command: where the process that forks listens; what is swapped around a step; where services are;
how many files may be open, and the umask; which step or verb is killed, and after how many seconds; settings of the run
that loads everything."""
_CLIENT = """
import json, os, socket, sys
place = socket.socket(socket.AF_UNIX)
place.connect(sys.argv[1])
request = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode() + b"\\n"
socket.send_fds(place, [request], [1, 2])
answer = place.makefile().read().split()
sys.exit(int(answer[1]) if len(answer) > 1 else 139)
"""
_PR_SET_PDEATHSIG = 1
_FEW = 1e-5
"""Rounding, of phases, shares and unit vectors."""
_CHANGING = ("settings", "versions", "steps", "created", "reference_scenes", "secondary_scenes")
"""Facts about a run, or of names, rather than about its result."""


# --- the data -------------------------------------------------------------------------------------------------------


def make_data(folder: Path, dates: int = 3, *, zipped: bool = False) -> None:
    """Write a data set of one narrow strip of two bursts: speckle that all dates share, and some of their own.

    Its list has the first date with each of the others.
    """
    first = date(2025, 3, 3)
    days = [first + timedelta(days=12 * number) for number in range(dates)]
    chosen = replace(
        recipe("tiny"),
        acquisitions=tuple(Acquisition(day=day, perpendicular_baseline_m=7.0 * n) for n, day in enumerate(days)),
        cuts=(SwathCut(swath="IW2", first_sample=12000, samples=300),),
        dem_posting_arcsec=3,
        zipped=zipped,
    )

    def focus(product: Any, _swath: object, burst: Burst, *, surface: object) -> np.ndarray:  # noqa: ARG001
        shape = (*burst.grid.shape, 2)
        own = np.random.default_rng([burst.index, product.start.toordinal()])
        shared = np.random.default_rng(burst.index).normal(0, 900, shape)
        return np.asarray(shared + own.normal(0, 300, shape), np.int16)

    before, safe.focus_burst = safe.focus_burst, focus  # type: ignore[assignment]
    try:
        simulate_with_short_orbits(folder, chosen)
    finally:
        safe.focus_burst = before
    shutil.rmtree(folder / "truth")
    names = [path.stem for path in sorted((folder / "raw").iterdir())]
    (folder / "pairs.txt").write_text("".join(f"{names[0]} {name}\n" for name in names[1:]))


def copy_data(source: Path, target: Path) -> Path:
    """A copy whose files may be replaced or harmed."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("runs"))
    return target


# --- the cheap topsar -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended: its exit code (None: it hung and was killed), and what it printed."""

    code: int | None
    out: str
    err: str


class Warm:
    """A process that has loaded everything, and forks for each command."""

    def __init__(self, folder: Path, data: Path, **env: str) -> None:
        self.address, self.data, self.longest_s = str(folder / "warm"), data, LONGEST_S
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        clean = {key: value for key, value in os.environ.items() if key not in {known.name for known in KEYS}}
        self._env = clean | threads | {"NUMBA_THREADING_LAYER": "workqueue", ADDRESS: self.address} | env
        argv = [sys.executable, __file__, str(data)]
        self._process = subprocess.Popen(argv, env=self._env, stdout=subprocess.PIPE, start_new_session=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            sys.exit("error: the process that forks did not start")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def topsar(self, *argv: str, cwd: Path | None = None, **env: str) -> Ran:
        """Run a command line, with variables added to the environment."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with socket.socket(socket.AF_UNIX) as place:
                place.settimeout(self.longest_s)
                place.connect(self.address)
                request = json.dumps([argv, str(cwd or self.data), self._env | env]).encode() + b"\n"
                socket.send_fds(place, [request], [out.fileno(), err.fileno()])
                code = _await_code(place)
            texts = [(file.seek(0), file.read().decode(errors="replace"))[1] for file in (out, err)]
        return Ran(code=code, out=texts[0], err=texts[1])

    def run(self, data: Path, *verb: str, **flags: str) -> Ran:
        """Run a verb, ``run`` unless another is named, on a data folder, with settings or variables."""
        settings = {key.name for key in KEYS if not key.secret} - {"EARTHDATA_USERNAME"}
        words = [word for key, text in (FLAGS | flags).items() if key in settings for word in ("-o", f"{key}={text}")]
        env = {key: text for key, text in flags.items() if key not in settings}
        places = ["--data", str(data), "--pairs", str(data / "pairs.txt"), "--env", os.devnull]
        return self.topsar(*(verb or ("run",)), *places, *words, cwd=data, **env)


def _await_code(place: socket.socket) -> int | None:
    """The exit code that comes after the process id; a process that hangs is killed."""
    said = b""
    try:
        while part := place.recv(100):
            said += part
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(int(said.split()[0]), signal.SIGKILL)
        return None
    words = said.split()
    return int(words[1]) if len(words) > 1 else -signal.SIGSEGV


class WarmExecutor(LocalExecutor):
    """This machine, but each step is a fork of the process that has loaded everything."""

    def submit(self, command: Command) -> Future[Ended]:
        """Start a command that asks for the fork, and ends as that does."""
        client = (sys.executable, "-I", "-S", "-c", _CLIENT, os.environ[ADDRESS])
        return super().submit(replace(command, argv=(*client, *command.argv[3:])))  # but for "python -m topsar"


def serve(data: Path) -> None:
    """Load everything by a run, then fork for every request: arguments, folder and environment, and two files."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever asks may be killed
    Policy.__init__.__kwdefaults__ |= {"patience_s": 2.0, "backoff_s": 0.05}
    _load_everything(data)
    BUILT_IN["executors"]["local"] = f"{Path(__file__).stem}:WarmExecutor"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.environ[ADDRESS])
        door.listen(64)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            guest, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _answer(guest)
            guest.close()


def _load_everything(data: Path) -> None:
    """Run each step of the undisturbed pair in this process."""
    from topsar import workflow
    from topsar.batch import Batch
    from topsar.report import page  # noqa: F401 - loaded for those who fork
    from topsar.schedule.graph import build_graph
    from topsar.settings import load_settings
    from topsar.step import execute_step

    with tempfile.TemporaryDirectory() as folder:
        copy = copy_data(data, Path(folder) / "data")
        flags = FLAGS | json.loads(os.environ.get(LOADED, "{}"))
        settings = load_settings(env_file=None, data=copy, pairs=copy / "pairs.txt", flags=flags)
        batch = Batch(settings=settings)
        workflow._write_plan(batch)
        for job, step in build_graph(batch.jobs).nodes:
            execute_step(batch.runs / job / "job.json", step)


def _answer(guest: socket.socket) -> None:
    """Run the command line that is asked for in this process, which ends with it."""
    code = 1
    try:
        request, files, _, _ = socket.recv_fds(guest, 1 << 20, 2)
        while request and not request.endswith(b"\n"):
            request += guest.recv(1 << 20)
        argv, cwd, env = json.loads(request)
        os.setsid()
        guest.sendall(f"{os.getpid()} ".encode())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        if url := env.get(SERVICES):
            _use_services(url)
        limits = json.loads(env.get(LIMITS, "{}"))
        if most := limits.get("files"):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if "umask" in limits:
            os.umask(limits["umask"])
        _kill_later(argv)
        with _swapped(argv):
            code = cli.main(argv)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        sys.excepthook(*sys.exc_info())
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        guest.sendall(f"{code} ".encode())
    os._exit(code)


def _use_services(url: str) -> None:
    """Ask the imitated services, and do not wait long between attempts."""
    from services.world import services_at
    from topsar.provision import Services, scene_search
    from topsar.provision.web import client

    there = services_at(url)
    Services.__init__.__kwdefaults__ |= {name: getattr(there, name) for name in there.__slots__}
    client.LONGEST_PAUSE_S, scene_search.BACKOFF_S = 0.02, 0.01
    client.Patience.__init__.__kwdefaults__ |= {"backoff_s": 0.01, "read_s": 4.0}


def _kill_later(argv: Sequence[str]) -> None:
    """Have this process killed after a while, if that is asked of its step or verb."""
    wanted, seconds = json.loads(os.environ.get(KILL, '["", 0]'))
    if wanted == (f"{Path(argv[1]).resolve().parent.name}/{argv[2]}" if argv[0] == "step" else argv[0]):
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()


@contextmanager
def _swapped(argv: Sequence[str]) -> Iterator[None]:
    """While a step runs, let other files stand in the place of its inputs, if that is asked of the step."""
    step, *places = json.loads(os.environ.get(SWAP, '[""]'))
    if argv[:1] != ["step"] or step != f"{Path(argv[1]).resolve().parent.name}/{argv[2]}":
        yield
        return
    for path, other in places:
        Path(path).rename(f"{path}.aside")
        Path(other).rename(path)
    try:
        yield
    finally:
        for path, other in places:
            Path(path).rename(other)
            Path(f"{path}.aside").rename(path)


# --- the world ------------------------------------------------------------------------------------------------------


class World:
    """A data set, a cheap `topsar`, and what undisturbed runs make of the data."""

    def __init__(self, folder: Path, dates: int = 3) -> None:
        self.folder, self.data = folder, folder / "data"
        make_data(self.data, dates)
        self.warm = Warm(folder, self.data)
        self._references: dict[tuple[str, ...], dict[str, Products]] = {}

    def find_reference(self, products: Products) -> Products | None:
        """What an undisturbed run makes of the pair with the same kinds of orbits; None for an unlisted pair."""
        bare = tuple(sorted(day for day, name in products.facts["orbits"].items() if name.startswith("annotation")))
        if bare not in self._references:
            copy = copy_data(self.data, self.folder / f"undisturbed{len(self._references)}")
            for path in (copy / "orbit_data").iterdir():
                day = date.fromisoformat(re.sub(r".*_V(\d{4})(\d\d)(\d\d)T.*", r"\1-\2-\3", path.name)) + timedelta(
                    days=1
                )
                if str(day) in bare:
                    path.unlink()
            ran = self.warm.run(copy)
            if ran.code != 0:
                sys.exit(f"error: the undisturbed run failed: {ran.err}")
            self._references[bare] = read_products(copy)
        return self._references[bare].get(products.facts["pair"])


@cache
def open_world() -> World:
    """A world that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="fault-world.")
    world = World(Path(folder))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(world.warm.close)
    return world


# --- the judge ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Products:
    """The layers and facts of one pair."""

    layers: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]

    def differences(self, other: Products) -> list[str]:
        """Names of layers and facts that are others, beyond rounding."""
        names = self.layers.keys() | self.facts.keys() | other.layers.keys() | other.facts.keys()
        return sorted(name for name in names if not self._agrees(other, name))

    def _agrees(self, other: Products, name: str) -> bool:
        if name in self.facts or name in other.facts:
            return self.facts.get(name) == other.facts.get(name)
        one, two = self.layers.get(name), other.layers.get(name)
        if one is None or two is None or one.shape != two.shape:
            return False
        return np.array_equal(one, two, equal_nan=one.dtype.kind == "f") or np.allclose(one, two, _FEW, _FEW, True)  # noqa: FBT003


def read_products(data: Path) -> dict[str, Products]:
    """The products of every pair of a data folder that has some."""
    return {place.parent.name: _read(place) for place in sorted((data / "runs").glob("*/products"))}


def _read(folder: Path) -> Products:
    facts = json.loads((folder / "facts.json").read_text())
    facts["orbits"] = {day: re.sub(r".*_(POEORB|RESORB)_.*", r"\1", name) for day, name in facts["orbits"].items()}
    facts |= {key: facts[key][:19] for key in ("reference_time", "secondary_time")}  # to the second, as names have it
    layers = {path.stem: read_geotiff(path)[0] for path in sorted(folder.glob("*.tif"))}
    return Products(layers, {key: value for key, value in facts.items() if key not in _CHANGING})


def find_fault(ran: Ran) -> str:
    """What is wrong with how a command ended, whatever came of it; empty if nothing is."""
    if ran.code is None:
        return "it hangs"
    if "Traceback" in ran.err or ran.code not in (0, 1, 2):
        return f"it broke with {ran.code}: {ran.err.strip()[-300:]}"
    if ran.code and not ran.err.strip():
        return f"it failed with {ran.code} and said nothing"
    return ""


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    serve(Path(sys.argv[1]))
