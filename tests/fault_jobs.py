"""What the fault campaign runs and harms: jobs of shell steps, the process that schedules them, and what can go wrong.

A step notes its start in a log outside the runs folder, writes one half of its outputs, takes its time, and writes the
other half. Each half by itself is a valid file, so nothing but the journal tells a finished output from a torn one.
Some steps leave a process in a session of its own that spoils an output when it is allowed to live.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fake_steps import as_fork
from topsar.errors import ProductError, TopsarError
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Artifact, Budget, Job, Lifetime, Outcome, Policy, Resources, Step
from topsar.schedule.record import read_record
from topsar.schedule.run import run_jobs

MARKER = "FAULT_TRIAL"
"""Variable in the environment of a trial's scheduler and of everything below it."""

FORKED = "FAULT_FORKED"
"""Variable that lets steps be forked from a process that has loaded Python."""
SECONDS = {
    "read": 0.05,
    "geocode": 0.2,
    "interfere": 0.3,
    "filter": 0.1,
    "unwrap": 0.4,
    "products": 0.05,
    "check": 0.15,
}
HARMS = ("delete", "truncate", "replace", "turn over")
SHELL_STRAY = """setsid sh -c 'sleep 4; echo orphan >> "../{path}"' &"""
_PAIRS = {"p12": ("d1", "d2"), "p13": ("d1", "d3"), "p23": ("d2", "d3"), "p31": ("d3", "d1")}
_CGROUPS = Path("/sys/fs/cgroup")


# --- jobs -----------------------------------------------------------------------------------------------------------


def step_of(
    node: str,
    executed: Path,
    *,
    writes: Mapping[str, Lifetime],
    reads: Sequence[str] = (),
    seconds: float = 0.0,
    does: str = "",
    needs: Resources | None = None,
) -> Step:
    """A step ``job/name`` that writes what it read and its own name; a path that ends with / becomes a folder."""
    inputs = " ".join(f"'../{path}'" for path in reads)
    files = [f"../{path}content" if path.endswith("/") else f"../{path}" for path in writes]
    # By cat and not by the shell, which calls a full disk an input/output error.
    begin = [f"mkdir -p '{Path(file).parent}'; echo {node} | cat {inputs} - > '{file}'" for file in files]
    end = [f"echo '{node} is whole' | cat >> '{file}'" for file in files]
    wait = [f"sleep {seconds:.3f}"] if seconds else []
    argv = ("sh", "-c", "\n".join([f"echo {node} $$ >> '{executed}'", "set -e", *begin, does, *wait, *end]))
    started = as_fork(argv) if FORKED in os.environ else {"argv": argv}
    return Step(
        name=node.partition("/")[2],
        **started,
        signature="1",
        writes=tuple(Artifact(path=path.rstrip("/"), lifetime=lifetime) for path, lifetime in writes.items()),
        reads=tuple(path.removesuffix("/content") for path in reads),
        needs=needs or Resources(),
    )


def network(executed: Path, pace: float = 1.0, count: int = len(_PAIRS)) -> tuple[Job, ...]:
    """Up to four pairs of four or five steps that share three dates of two."""
    names = list(_PAIRS)[:count]
    pairs = [Job(id=pair, title=pair, steps=_pair(pair, executed, pace), is_pair=True) for pair in names]
    dates = [Job(id=date, title=date, steps=_date(date, executed, pace)) for date in ("d1", "d2", "d3")]
    return (*pairs, *dates)


def _date(date: str, executed: Path, pace: float) -> tuple[Step, ...]:
    raw, slc = f"{date}/raw", f"{date}/slc"
    return (
        step_of(f"{date}/read", executed, writes={raw: Lifetime.RESTART}, seconds=SECONDS["read"] * pace),
        step_of(
            f"{date}/geocode",
            executed,
            reads=[raw],
            writes={slc: Lifetime.SCRATCH},
            seconds=SECONDS["geocode"] * pace,
            does=SHELL_STRAY.format(path=slc),
        ),
    )


def _pair(pair: str, executed: Path, pace: float) -> tuple[Step, ...]:
    one, two = _PAIRS[pair]
    ifg, out, phase, products = (f"{pair}/{name}" for name in ("ifg", "out/filtered", "phase", "out/products/"))

    def step(name: str, reads: list[str], writes: dict[str, Lifetime], does: str = "") -> Step:
        seconds = SECONDS[name] * pace
        return step_of(f"{pair}/{name}", executed, reads=reads, writes=writes, seconds=seconds, does=does)

    steps = (
        step("interfere", [f"{one}/slc", f"{two}/slc"], {ifg: Lifetime.SCRATCH}),
        step("filter", [ifg], {out: Lifetime.RESULT, f"{pair}/spectra": Lifetime.SCRATCH}),
        step("unwrap", [out, f"{pair}/spectra"], {phase: Lifetime.RESTART}, SHELL_STRAY.format(path=phase)),
        step("products", [out, phase], {products: Lifetime.RESULT}, SHELL_STRAY.format(path=f"{products}content")),
    )
    if pair in ("p12", "p23"):
        return steps
    return (*steps, step("check", [f"{one}/raw", f"{products}content"], {f"{pair}/out/check": Lifetime.RESULT}))


def row(executed: Path, count: int) -> tuple[Job, ...]:
    """So many pairs alike: one step writes scratch, another one makes a result of it."""
    names = [f"j{number:04d}" for number in range(count)]
    return tuple(
        Job(
            id=name,
            title=name,
            is_pair=True,
            steps=(
                step_of(f"{name}/make", executed, writes={f"{name}/s": Lifetime.SCRATCH}),
                step_of(f"{name}/use", executed, reads=[f"{name}/s"], writes={f"{name}/x": Lifetime.RESULT}),
            ),
        )
        for name in names
    )


def inspect(path: Path) -> dict[str, Any]:
    """Valid is a text, or a folder of texts, each of which ends with a newline."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    contents = {file.name: file.read_bytes() for file in files}
    if not all(content.endswith(b"\n") for content in contents.values()):
        msg = f"{path.name} is truncated"
        raise ProductError(msg)
    return {name: [len(content), zlib.crc32(content)] for name, content in contents.items()}


def says_that_it_waits(runs: Path, patience_s: float = 60.0) -> bool:
    """Wait until the record of a run says what it waits for; whether it did."""
    until = time.monotonic() + patience_s
    while True:
        record = read_record(runs)
        if record and any(pulse.waiting_for for pulse in record.pulses):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)


def nodes(jobs: Iterable[Job]) -> dict[str, Step]:
    """All steps by ``job/name``."""
    return {f"{job.id}/{step.name}": step for job in jobs for step in job.steps}


def needed(jobs: Iterable[Job], lost: Collection[str], faulty: Collection[str]) -> set[str]:
    """The steps that must run again when records of some steps are lost and some artifacts are faulty."""
    steps = nodes(jobs)
    writers = {artifact.path: node for node, step in steps.items() for artifact in step.writes}
    results = {a.path for step in steps.values() for a in step.writes if a.lifetime is Lifetime.RESULT}
    goals = {writers[path] for path in results}
    todo = [node for node in goals if node in lost] + [writers[path] for path in results & set(faulty)]
    found: set[str] = set()
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += [writers[path] for path in steps[node].reads if path in faulty or writers[path] in lost]
    return found


# --- a trial --------------------------------------------------------------------------------------------------------


class Trial:
    """A runs folder, what was started in it, and what is alive of it."""

    def __init__(
        self, folder: Path, *, pace: float = 1.0, cleanup: str = "none", pairs: int = 4, rows: int = 0
    ) -> None:
        folder.mkdir(parents=True)
        self.folder, self.runs, self.executed = folder, folder / "runs", folder / "executed"
        self.executed.touch()
        self._options = {"folder": str(folder), "pace": pace, "cleanup": cleanup, "pairs": pairs, "rows": rows}
        self.jobs = _jobs(self._options)

    def start(self) -> subprocess.Popen[str]:
        """Start a scheduler in a process of its own; it is about to begin when this returns."""
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(self._options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, MARKER: str(self.folder)},
            start_new_session=True,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def run(self) -> tuple[Outcome, ...]:
        """Run the jobs in this process."""
        return _run(self._options)

    def started(self) -> list[str]:
        """``job/step`` of every process that was ever started, in order."""
        return [line.split()[0] for line in self.executed.read_text().splitlines()]

    def pid_of(self, node: str) -> int | None:
        """The process of a step that runs, or ran last."""
        pids = [line.split()[1] for line in self.executed.read_text().splitlines() if line.startswith(f"{node} ")]
        return int(pids[-1]) if pids else None

    def done(self) -> set[str]:
        """The steps that the journals, read line by line without the project's own code, call done."""
        found: set[str] = set()
        for journal in self.runs.glob("*/journal.jsonl"):
            for line in journal.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    node = f"{event['job']}/{event['step']}"
                    if event["status"] in ("done", "running"):
                        (found.add if event["status"] == "done" else found.discard)(node)
        return found

    def results(self) -> dict[str, bytes]:
        """What the run is for: every result, byte by byte."""
        steps = nodes(self.jobs).values()
        paths = [a.path for step in steps for a in step.writes if a.lifetime is Lifetime.RESULT]
        places = [self.runs / path for path in paths]
        files = [file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]
        return {str(file.relative_to(self.runs)): file.read_bytes() for file in files if file.is_file()}

    def absent(self) -> set[str]:
        """Artifacts that are not there."""
        return {a.path for step in nodes(self.jobs).values() for a in step.writes if not (self.runs / a.path).exists()}

    def living(self) -> list[int]:
        """Processes below one of this trial's schedulers, and the schedulers themselves."""
        return [pid for pid in _pids() if is_of(pid, self.folder)]

    def is_deserted(self, seconds: float) -> bool:
        """Whether nothing of it is alive within so many seconds."""
        until = time.monotonic() + seconds
        while self.living() and time.monotonic() < until:
            time.sleep(0.02)
        return not self.living()


def is_of(pid: int, folder: Path) -> bool:
    """Whether a process lives and belongs to the trial in a folder."""
    try:
        return f"{MARKER}={folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def guards(scheduler: int) -> list[int]:
    """The guard processes beside a scheduler."""
    found = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{scheduler}/task").iterdir():
            for pid in map(int, (thread / "children").read_text().split()):
                if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found


def harm(path: Path, how: str) -> None:
    """Do one of `HARMS` to a file, or to a folder and the file in it; turned over, one becomes the other."""
    file = path / "content" if path.is_dir() else path
    content = file.read_bytes()
    if how == "truncate":
        file.write_bytes(content[: len(content) // 2])
    elif how == "replace":
        file.write_bytes(bytes(byte ^ 1 if byte > 32 else byte for byte in content))
    else:
        was_folder = path.is_dir()
        shutil.rmtree(path) if was_folder else path.unlink()
        if how == "turn over" and was_folder:
            path.write_bytes(content)
        elif how == "turn over":
            path.mkdir()
            (path / "content").write_bytes(content)


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


# --- a limit of memory ----------------------------------------------------------------------------------------------


class NoCgroupError(Exception):
    """A cgroup cannot be made here, and why."""


class Cgroup:
    """A cgroup of version 1 or 2, inside this process's own, with a limit of memory; use it as a context."""

    def __init__(self, limit_bytes: int) -> None:
        own, self._is_v1 = _own_cgroup()
        self.folder = own / f"topsar-{uuid.uuid4().hex[:8]}"
        try:
            if not self._is_v1 and "memory" not in (own / "cgroup.subtree_control").read_text().split():
                (own / "cgroup.subtree_control").write_text("+memory")
            self.folder.mkdir()
            name = "memory.limit_in_bytes" if self._is_v1 else "memory.max"
            (self.folder / name).write_text(str(limit_bytes))
        except OSError as exc:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            msg = f"no cgroup can be made in {own}: {exc.strerror}"
            raise NoCgroupError(msg) from exc

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *_: object) -> None:
        for _ in range(100):
            for pid in map(int, (self.folder / "cgroup.procs").read_text().split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
            time.sleep(0.05)

    def argv(self, *command: str) -> tuple[str, ...]:
        """The command that runs a command inside."""
        return ("sh", "-c", f"echo $$ > '{self.folder}/cgroup.procs' && exec \"$@\"", "sh", *command)

    @property
    def peak_bytes(self) -> int:
        """Most memory that was ever in use inside, page cache included."""
        return int((self.folder / ("memory.max_usage_in_bytes" if self._is_v1 else "memory.peak")).read_text())

    @property
    def oom_kills(self) -> int:
        """Processes inside that the kernel killed for memory."""
        text = (self.folder / ("memory.oom_control" if self._is_v1 else "memory.events")).read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))


def _own_cgroup() -> tuple[Path, bool]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _CGROUPS / "memory" / place.strip("/"), True
        if not controllers and (_CGROUPS / place.strip("/") / "cgroup.subtree_control").exists():
            return _CGROUPS / place.strip("/"), False
    msg = "this process is in no cgroup with a limit of memory"
    raise NoCgroupError(msg)


# --- the scheduler's process ----------------------------------------------------------------------------------------


def _jobs(options: Mapping[str, Any]) -> tuple[Job, ...]:
    executed = Path(options["folder"]) / "executed"
    if options["rows"]:
        return row(executed, options["rows"])
    return network(executed, options["pace"], options["pairs"])


def _run(options: Mapping[str, Any]) -> tuple[Outcome, ...]:
    store = Store(Path(options["folder"]) / "runs", inspect)
    policy = Policy(budget=Budget(threads=4), cleanup=options["cleanup"], backoff_s=0.05)
    return run_jobs(_jobs(options), store, policy)


def main() -> None:
    """Be a scheduler: say so, run the jobs, and print what became of them."""
    print("ready", flush=True)  # noqa: T201 - read by the trial
    try:
        outcomes = _run(json.loads(sys.argv[1]))
    except TopsarError as exc:
        print(json.dumps({"error": str(exc)}))  # noqa: T201
        sys.exit(exc.exit_code)
    print(json.dumps({outcome.job: [outcome.status.value, outcome.message] for outcome in outcomes}))  # noqa: T201


if __name__ == "__main__":
    main()
