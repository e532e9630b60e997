"""The nouns of the scheduler: jobs, steps, what they need, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args

from topsar.errors import TopsarError
from topsar.schedule.watch import Input

MEMORY, THREADS, DISK = "memory", "threads", "disk"
"""Names of the resources that every place has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a step needs, or what a place has: a vector of named amounts.

    Attributes
    ----------
    others : mapping
        Amounts of further resources by name, for example ``{"gpus": 1}``.
    """

    memory_bytes: int = 0
    threads: int = 1
    disk_bytes: int = 0
    others: Mapping[str, int] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.memory_bytes, self.threads, self.disk_bytes, *sorted(self.others.items())))

    @property
    def amounts(self) -> dict[str, int]:
        """Every amount by its name: bytes of memory and disk, threads, and the others."""
        return {DISK: self.disk_bytes, MEMORY: self.memory_bytes, THREADS: self.threads, **self.others}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The user's upper bounds for all steps together; None leaves the bound to the machine.

    ``workers`` bounds the pairs under way at once; ``free_disk_bytes`` is left free on the disk of the runs folder.
    """

    workers: int | None = None
    memory_bytes: int | None = None
    threads: int | None = None
    free_disk_bytes: int = 0


UNBOUNDED = Budget()

Cleanup = Literal["none", "scratch", "nuclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a run goes about its work.

    Attributes
    ----------
    cleanup : {"scratch", "nuclear", "none"}
        What is removed as soon as no unfinished step needs it: scratch; everything but results; nothing.
    retries : int
        How often a step is tried again after a failure that may pass.
    backoff_s : float
        Seconds before the first retry; doubled for each further one, with jitter.
    patience_s : float
        Seconds to wait, when nothing runs, for memory or disk that others have taken. After that a step that lacks
        memory is tried all the same, and one that lacks anything else fails.
    """

    budget: Budget = UNBOUNDED
    cleanup: Cleanup = "scratch"
    retries: int = 2
    backoff_s: float = 5.0
    patience_s: float = 600.0

    def __post_init__(self) -> None:
        if self.cleanup not in get_args(Cleanup):
            msg = f"cleanup is {self.cleanup!r}, expected one of {', '.join(get_args(Cleanup))}"
            raise TopsarError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A subprocess, and what was set aside for it; ``env`` is added to the caller's environment."""

    argv: tuple[str, ...]
    cwd: Path
    log: Path
    needs: Resources = Resources()
    env: dict[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    preload: tuple[str, ...] = ()


class Lifetime(str, Enum):
    """How long an artifact stays."""

    SCRATCH = "scratch"
    """Until no unfinished step needs it."""
    RESTART = "restart"
    """So that a later run can start in the middle; the first to go where space matters more than that."""
    RESULT = "result"
    """For good: it is what the run is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file or folder that a step writes, relative to the runs folder."""

    path: str
    lifetime: Lifetime = Lifetime.RESULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The unit of scheduling.

    Attributes
    ----------
    signature : str
        Whatever decides the step's result besides the artifacts it reads: engine and version, options used,
        identities of inputs. The scheduler chains signatures into checkpoint keys.
    needs : Resources
        What it takes by its author's table: memory, threads it can use, bytes it writes.
    seconds : float, optional
        How long it takes by that table, with all the threads it can use.
    kind : str
        Steps of one kind (engine, version, name) are alike but for their size, so that what one of them took says
        what the next will take. Empty: nothing is learned.
    size : float
        How much work it is, in whatever unit the kind counts.
    inputs : tuple of Input
        What it reads that no step made. What has changed by its start fails it, what changes before its end makes it
        run again.
    preload : tuple of str
        Modules that it needs, if its command is a module that Python runs (``python -m``): an executor may fork it
        from a process that has loaded them.
    """

    name: str
    argv: tuple[str, ...]
    signature: str
    writes: tuple[Artifact, ...]
    reads: tuple[str, ...] = ()
    needs: Resources = Resources()
    seconds: float | None = None
    kind: str = ""
    size: float = 0.0
    timeout_s: float | None = None
    inputs: tuple[Input, ...] = ()
    preload: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A named chain of steps with a folder of its own under the runs folder.

    ``shared`` are artifacts of other jobs that a pair's products are made from, besides those of its own steps.
    """

    id: str
    title: str
    steps: tuple[Step, ...]
    is_pair: bool = False
    shared: tuple[str, ...] = ()


class Status(str, Enum):
    """Life of a step or job."""

    WAITING = "waiting"
    """Not started."""
    RUNNING = "running"
    """Its process lives."""
    DONE = "done"
    """Ended with valid evidence."""
    CACHED = "cached"
    """Done in an earlier run, evidence still valid."""
    UNNEEDED = "unneeded"
    """Nobody needs its scratch any more."""
    FAILED = "failed"
    """Ended without, and will not be tried again in this run."""
    BLOCKED = "blocked"
    """Cannot run because something it reads failed."""
    INTERRUPTED = "interrupted"
    """Ended by the user; a second start resumes."""


class Reason(str, Enum):
    """Why a process ended."""

    DONE = "done"
    ERROR = "error"
    BAD_INPUT = "bad input"
    RETRYABLE = "retryable error"
    OUT_OF_MEMORY = "killed by memory"
    DISK_FULL = "disk full"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"
    NO_EVIDENCE = "evidence missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a subprocess ended and what its process tree used; ``written_bytes`` is the size of its outputs.

    One that was not even started has used nothing; its exit code is 127, as a shell says it.
    """

    reason: Reason
    exit_code: int = 127
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    written_bytes: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run, for the journal and for whoever watches.

    ``granted`` is what was set aside for a step that starts; ``note`` says what it waits for.
    """

    time: datetime
    job: str
    step: str
    status: Status
    key: str = ""
    attempt: int = 1
    granted: Resources | None = None
    note: str = ""
    ended: Ended | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    freed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a job."""

    job: str
    title: str
    status: Status
    is_pair: bool
    events: tuple[Event, ...] = ()
    message: str = ""
    freed_bytes: int = 0

    @property
    def is_done(self) -> bool:
        """Whether its results are there, made now or before."""
        return self.status in (Status.DONE, Status.CACHED)
