"""Jobs of tiny shell steps, and a validator for what they write."""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topsar.errors import ProductError
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Artifact, Budget, Event, Job, Lifetime, Outcome, Policy, Resources, Status, Step
from topsar.schedule.run import run_jobs
from topsar.schedule.watch import watch

EXECUTED = ".executed"


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def make_step(
    name: str,
    *,
    keeps: tuple[str, ...] = (),
    restart: tuple[str, ...] = (),
    scratch: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    does: str = "",
    signature: str = "1",
    memory: int = 0,
    threads: int = 1,
    timeout_s: float | None = None,
    inputs: tuple[Path, ...] = (),
) -> Step:
    """A step that notes that it ran, does ``does``, then writes what it read and its name into its outputs."""
    sources = " ".join(f"'../{path}'" for path in reads)
    lines = [f'echo "$(basename "$PWD")/{name}" >> ../{EXECUTED}', "set -e", does]
    for path in (*keeps, *restart, *scratch):
        lines += [f"mkdir -p ../{Path(path).parent}", f"{{ cat {sources} /dev/null; echo {name}; }} > '../{path}'"]
    return Step(
        name=name,
        argv=("sh", "-c", "\n".join(lines)),
        signature=signature,
        writes=(
            *(Artifact(path=path) for path in keeps),
            *(Artifact(path=path, lifetime=Lifetime.RESTART) for path in restart),
            *(Artifact(path=path, lifetime=Lifetime.SCRATCH) for path in scratch),
        ),
        reads=reads,
        needs=Resources(memory_bytes=memory, threads=threads),
        timeout_s=timeout_s,
        inputs=watch(inputs),
    )


def as_fork(argv: tuple[str, ...]) -> dict[str, Any]:
    """Let the command ``sh -c`` be one that can be forked: its ``argv`` and ``preload``."""
    return {"argv": (sys.executable, "-m", "shell_step", *argv[2:]), "preload": ("shell_step",)}


def inspect(path: Path) -> dict[str, Any]:
    """Valid is a text that ends with a newline."""
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        msg = f"{path.name} is truncated"
        raise ProductError(msg)
    return {"bytes": len(content), "crc32": zlib.crc32(content), "shape": (len(content),)}


def chain(job: str = "a", *, filter_signature: str = "1", filter_does: str = "", title: str = "") -> Job:
    """A pair: ``read`` and ``form`` write scratch, ``filter`` and ``unwrap`` products."""
    return Job(
        id=job,
        title=title or f"pair {job}",
        is_pair=True,
        steps=(
            make_step("read", scratch=(f"{job}/slc",)),
            make_step("form", reads=(f"{job}/slc",), scratch=(f"{job}/ifg",)),
            make_step(
                "filter",
                reads=(f"{job}/ifg",),
                keeps=(f"{job}/out/filtered",),
                does=filter_does,
                signature=filter_signature,
            ),
            make_step("unwrap", reads=(f"{job}/out/filtered",), keeps=(f"{job}/out/unwrapped",)),
        ),
    )


@dataclass
class Bench:
    """A runs folder, and what happens in it."""

    runs: Path
    events: list[Event] = field(default_factory=list)

    def run(self, *jobs: Job, budget: Budget | None = None, **rest: Any) -> tuple[Outcome, ...]:
        """Run the jobs quickly; ``events`` and ``executed`` are of this run alone."""
        self.events.clear()
        (self.runs / EXECUTED).unlink(missing_ok=True)
        rest = {"backoff_s": 0.01, "cleanup": "none", "observe": self.events.append} | rest
        chosen = {name: rest.pop(name) for name in ("backoff_s", "cleanup", "retries", "patience_s") if name in rest}
        policy = Policy(budget=budget or Budget(), **chosen)
        return run_jobs(jobs, Store(self.runs, inspect), policy, **rest)

    def when(self, happens: Callable[[Event], object], act: Callable[[], object]) -> Callable[[Event], None]:
        """An observer for `run` that acts once, at the first event of a kind."""
        acts = [act]

        def observe(event: Event) -> None:
            self.events.append(event)
            if acts and happens(event):
                acts.pop()()

        return observe

    @property
    def executed(self) -> list[str]:
        """``job/step`` of every process that was started, in order."""
        path = self.runs / EXECUTED
        return path.read_text().split() if path.exists() else []

    def statuses(self, job: str = "a") -> dict[str, Status]:
        """The last status of every step of a job."""
        return {event.step: event.status for event in self.events if event.job == job}
