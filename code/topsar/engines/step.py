"""What a step of an engine is: one class that knows its task, cost, inputs and outputs, and does the work.

A step's signature is its whole task together with the identity of the files that it reads from outside: an option that
is added to a task reruns that step and its readers, and nothing else.
"""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import TypeAdapter
from pydantic_core import to_json, to_jsonable_python

from topsar.errors import StepFailed
from topsar.files import read_json
from topsar.schedule.jobs import Artifact, Lifetime, Resources, Step
from topsar.schedule.watch import Input, watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")

MOST_THREADS = 8
PRELOAD = (
    "topsar.cli",
    "topsar.formats.step",
    "topsar.engines.native.collect",
    *(f"topsar.engines.native.steps.{name}" for name in ("geocode", "multiply", "mosaic", "filter", "unwrap", "view")),
    "topsar.formats.geotiff",
    "topsar.formats.quicklook.layers",
    "topsar.formats.quicklook.pictures",
    "topsar.engines.native.prepared",
)
"""Modules that most steps need, none of which opens a file to read on or starts a thread."""
_AGAIN = "start the run again: it writes the file anew"


def step_argv(step: str) -> tuple[str, ...]:
    """Return the command of a step; steps run in their job's folder."""
    return sys.executable, "-m", "topsar", "step", "job.json", step


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How what a step takes grows with its size: a row of the table that predictions start from.

    ``base_memory``, bytes, and ``start_s`` are those of a step without work: an interpreter with its packages and
    compiled code. ``memory`` beyond it and ``disk`` are bytes per pixel, ``microseconds`` are of one core, per pixel;
    each of the first ``first_pixels`` takes ``first_memory`` more: a picture or a sample has no more of them.
    ``pixels_per_thread`` are worth a thread of their own, infinite for a step that has one thread.
    """

    base_memory: int
    memory: float
    disk: float
    start_s: float
    microseconds: float
    pixels_per_thread: float = math.inf
    first_memory: float = 0.0
    first_pixels: float = 0.0

    def needs(self, pixels: float, extra_memory: float = 0.0, extra_disk: float = 0.0) -> Resources:
        """Predict memory, threads and disk of a step.

        Parameters
        ----------
        pixels : float
        extra_memory, extra_disk : float
            Bytes that do not follow from the size.
        """
        memory = self.base_memory + self.memory * pixels + self.first_memory * min(pixels, self.first_pixels)
        return Resources(
            memory_bytes=int(memory + extra_memory),
            threads=max(1, min(MOST_THREADS, int(pixels / self.pixels_per_thread))),
            disk_bytes=int(self.disk * pixels + extra_disk),
        )

    def seconds(self, pixels: float) -> float:
        """Predict how long a step takes on the threads that it can use."""
        return round(self.start_s + self.microseconds * 1e-6 * pixels / self.needs(pixels).threads, 1)

    def predict(self, step: Step, pixels: float, extra_memory: float = 0.0, extra_disk: float = 0.0) -> Step:
        """State in a step what it takes, and when it is given up: long after the slowest machine is done.

        Parameters
        ----------
        step : Step
        pixels, extra_memory, extra_disk : float
            As `needs` has them.
        """
        seconds = self.seconds(pixels)
        needs = self.needs(pixels, extra_memory, extra_disk)
        return replace(step, needs=needs, seconds=seconds, size=pixels, timeout_s=3600.0 + 200 * seconds)


class StepKind(Protocol[T]):
    """A kind of step: everything that the planner and the process of the step must know of it.

    Subclass it and state ``name``, ``task``, ``cost``, `size` and `run`; the rest has defaults.

    The task is a frozen dataclass that JSON can hold. All of it is signed: it has a field for each option that decides
    the result, and none for anything else. ``lifetime`` is that of the folder in its job that is named like the step.
    """

    name: str
    task: type[T]
    cost: Cost
    lifetime: Lifetime = Lifetime.RESTART

    def step_name(self, task: T) -> str:  # noqa: ARG002
        """Name the step within its job."""
        return self.name

    def alike(self, task: T) -> str:  # noqa: ARG002
        """Name the steps whose cost grows alike, from which predictions learn."""
        return self.name

    def size(self, task: T) -> float:
        """Return the size of the step in the unit of its cost."""
        ...

    def extra_memory(self, task: T, dem_density: float) -> float:  # noqa: ARG002
        """Predict the bytes of memory that do not follow from the size.

        Parameters
        ----------
        task
        dem_density : float
            Postings of the DEM per square degree.
        """
        return 0.0

    def extra_disk(self, task: T) -> float:  # noqa: ARG002
        """Predict the bytes on the disk that do not follow from the size."""
        return 0.0

    def reads(self, task: T) -> tuple[str, ...]:  # noqa: ARG002
        """List artifacts of other steps, relative to the runs folder."""
        return ()

    def writes(self, task: Any) -> tuple[Artifact, ...]:
        """List what the step leaves, relative to the runs folder."""
        return (Artifact(path=f"{task.job}/{self.step_name(task)}", lifetime=self.lifetime),)

    def inputs(self, task: T) -> tuple[Path, ...]:  # noqa: ARG002
        """List files that no step made: their identity is signed too."""
        return ()

    def run(self, task: T, runs: Path, folder: Path) -> None:
        """Do the work.

        Parameters
        ----------
        task
        runs : Path
            The runs folder.
        folder : Path
            The folder of the job.
        """
        ...


def as_step(kind: StepKind[T], task: T, *, key: str, dem_density: float = 0.0) -> Step:
    """Turn a task into a step of the scheduler.

    Parameters
    ----------
    kind : StepKind
    task
        The whole of it is signed.
    key : str
        Engine and version.
    dem_density : float
        Postings of the DEM per square degree.
    """
    name = kind.step_name(task)
    step = Step(
        name=name,
        argv=step_argv(name),
        signature=sign(key, to_jsonable_python(task), kind.inputs(task)),
        reads=kind.reads(task),
        writes=kind.writes(task),
        kind=f"{key} {kind.alike(task)}",
        inputs=watch_files(kind.inputs(task)),
        preload=PRELOAD,
    )
    return kind.cost.predict(step, kind.size(task), kind.extra_memory(task, dem_density), kind.extra_disk(task))


def sign(key: str, known: Any, files: Iterable[Path]) -> str:
    """Write down what decides a step's result, as text that is the same wherever the inputs lie.

    Parameters
    ----------
    key : str
        Engine, version and whatever else tells one kind of step from another.
    known
        What JSON can hold; the folders that inputs lie in are left out.
    files : iterable of Path
        Inputs; ``/vsizip/`` paths too.
    """
    return json.dumps([key, _strip_folders(known), sorted({identity(path) for path in files})], sort_keys=True)


def _strip_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: str(part).rpartition("/")[2] if key in ("path", "measurement", "geoid") else _strip_folders(part)
            for key, part in value.items()
        }
    return [_strip_folders(part) for part in value] if isinstance(value, list) else value


def identity(path: Path) -> str:
    """Name, size and time of a file, of its archive for a file inside one; the name alone of a folder.

    A DEM that was fetched is known by name and size: one that is fetched again is the same.
    """
    outer = _find_outer(path)
    if not outer.is_file():
        return outer.name
    stat = outer.stat()
    if "provisioned" in outer.parent.parts:
        return f"{outer.name} {stat.st_size}"
    return f"{outer.name} {stat.st_size} {stat.st_mtime_ns}"


def watch_files(paths: Iterable[Path]) -> tuple[Input, ...]:
    """Note what inputs hold, so that a step does not read others.

    Of an image that is also the product that it lies in, of a product its annotations, whose orbit may be read.
    """
    files = [_find_outer(path) for path in paths]
    products = [path.parents[1] for path in files if path.parent.name == "measurement"]
    annotations = [file for path in files if path.is_dir() for file in sorted(path.glob("annotation/*.xml"))]
    return watch([*files, *products, *annotations])


def _find_outer(path: Path) -> Path:
    """The file on the disk: for a file inside an archive that archive."""
    archive = re.match(r"/vsizip/\{(.+)\}/", str(path))
    return Path(archive[1]) if archive else path


def dump_tasks(tasks: Mapping[str, Any]) -> str:
    """Write the tasks of a job, by name, as the text of its ``job.json``."""
    return to_json(tasks, indent=1).decode()


def load_task(folder: Path, name: str, kind: type[T]) -> T:
    """Read one task of the job in ``folder``.

    Parameters
    ----------
    folder : Path
    name : str
        Under which `dump_tasks` wrote it.
    kind : type
        The dataclass that it is.
    """
    path = folder / "job.json"
    tasks = read_json(path)
    if name not in tasks:
        msg = f"{path} has no step {name!r}"
        raise StepFailed(msg, hint=_AGAIN)
    try:
        task: T = _find_reader(kind).validate_python(tasks[name])  # type: ignore[arg-type]  # classes have hashes
    except ValueError as exc:
        msg = f"{path} cannot be read: {exc}"
        raise StepFailed(msg, hint=_AGAIN) from exc
    return task


@cache
def _find_reader(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # a tenth of a second for the larger tasks
