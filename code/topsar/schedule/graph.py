"""The graph of steps, derived from what they write and read and from nothing else.

A step that reads an artifact comes after the step, of whatever job, that writes it. Every step gets its checkpoint
key here: a hash of its signature, its name and the keys of the steps that write what it reads. So a changed option
changes the keys of exactly that step and of everything downstream.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from topsar.errors import TopsarError
from topsar.schedule.jobs import Event, Lifetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from topsar.schedule.jobs import Artifact, Job, Status, Step

NodeId = tuple[str, str]
"""A step's name in the graph: (job id, step name)."""

JOURNAL = "journal.jsonl"
"""Name of the journal in a job's folder."""
_OURS = ("record.jsonl", "usage.jsonl")
"""Files of the scheduler in the runs folder."""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """A step in its place.

    Attributes
    ----------
    rank : int
        Place of the job in the list of jobs: the lower, the older.
    key : str
        Checkpoint key, 64 hexadecimal digits.
    parents, children : tuple of NodeId
        The steps that write what this one reads, and those that read what it writes.
    """

    job: Job
    rank: int
    step: Step
    key: str
    parents: tuple[NodeId, ...]
    children: tuple[NodeId, ...]

    @property
    def id(self) -> NodeId:
        """(job id, step name)."""
        return self.job.id, self.step.name

    @property
    def results(self) -> tuple[Artifact, ...]:
        """Outputs that the run is for."""
        return tuple(artifact for artifact in self.step.writes if artifact.lifetime is Lifetime.RESULT)

    @property
    def is_goal(self) -> bool:
        """Whether the step is wanted for its own sake: it writes results, or nobody reads from it."""
        return bool(self.results) or not self.children

    def make_event(self, status: Status) -> Event:
        """The event that the step takes a status now."""
        now = datetime.now(timezone.utc)
        return Event(time=now, job=self.job.id, step=self.step.name, status=status, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """All steps of all jobs; ``nodes`` is in topological order."""

    jobs: tuple[Job, ...]
    nodes: Mapping[NodeId, Node]
    writers: Mapping[str, NodeId]
    readers: Mapping[str, Sequence[NodeId]]


def build_graph(jobs: Sequence[Job]) -> Graph:
    """Build and check the graph.

    Raises
    ------
    TopsarError
        For an unusable name or path, a step or job named twice, an artifact with two writers or inside another
        one, a read that nothing writes, or a cycle.
    """
    _check_names(jobs)
    steps = {(job.id, step.name): (rank, job, step) for rank, job in enumerate(jobs) for step in job.steps}
    writers = _find_writers(jobs)
    parents = {node: _find_parents(step, writers) for node, (_, _, step) in steps.items()}
    children: defaultdict[NodeId, list[NodeId]] = defaultdict(list)
    readers: dict[str, list[NodeId]] = {path: [] for path in writers}
    for node, (_, _, step) in steps.items():
        for parent in parents[node]:
            children[parent].append(node)
        for path in dict.fromkeys(step.reads):
            readers[path].append(node)
    nodes: dict[NodeId, Node] = {}
    for node in _sort(parents):
        rank, job, step = steps[node]
        text = json.dumps([step.signature, step.name, [nodes[parent].key for parent in parents[node]]])
        nodes[node] = Node(
            job=job,
            rank=rank,
            step=step,
            key=hashlib.sha256(text.encode()).hexdigest(),
            parents=parents[node],
            children=tuple(children[node]),
        )
    return Graph(jobs=tuple(jobs), nodes=nodes, writers=writers, readers=readers)


def _sort(parents: Mapping[NodeId, tuple[NodeId, ...]]) -> Iterable[NodeId]:
    try:
        return tuple(TopologicalSorter(parents).static_order())
    except CycleError as exc:
        around = " -> ".join("/".join(node) for node in exc.args[1])
        msg = f"steps wait for each other in a circle: {around}"
        raise TopsarError(msg) from exc


def _find_parents(step: Step, writers: Mapping[str, NodeId]) -> tuple[NodeId, ...]:
    for path in step.reads:
        if path not in writers:
            msg = f"step {step.name!r} reads {path!r}, which no step writes"
            raise TopsarError(msg)
    return tuple(dict.fromkeys(writers[path] for path in step.reads))


def _check_names(jobs: Sequence[Job]) -> None:
    seen: set[str] = set()
    for job in jobs:
        names = [step.name for step in job.steps]
        for name in (job.id, *names):
            if not is_artifact_path(name) or "/" in name or len(name.encode(errors="replace")) > _LONGEST_NAME:
                msg = f"the name {name!r} in job {job.id!r} cannot be a file name"
                raise TopsarError(msg)
        if job.id in seen or len(set(names)) < len(names):
            msg = f"job {job.id!r} " + ("is given twice" if job.id in seen else f"has a step twice: {', '.join(names)}")
            raise TopsarError(msg)
        seen.add(job.id)


def _find_writers(jobs: Sequence[Job]) -> dict[str, NodeId]:
    """Who writes what; no two artifacts may overlap, because a stale one is removed whole."""
    writers: dict[str, NodeId] = {}
    for job in jobs:
        for step in job.steps:
            for artifact in step.writes:
                if not is_artifact_path(artifact.path):
                    msg = f"artifact path {artifact.path!r} is not a plain path inside the runs folder"
                    raise TopsarError(msg)
                if artifact.path in writers:
                    other = "/".join(writers[artifact.path])
                    msg = f"{artifact.path!r} is written by two steps: {other} and {job.id}/{step.name}"
                    raise TopsarError(msg)
                writers[artifact.path] = (job.id, step.name)
    folders = {job.id for job in jobs}
    for path in writers:
        outer = next((str(folder) for folder in PurePosixPath(path).parents if str(folder) in writers), "")
        if path in folders or outer:
            msg = f"artifact {path!r} " + (f"lies inside artifact {outer!r}" if outer else "is a job's folder")
            raise TopsarError(msg)
    return writers


def is_artifact_path(path: str) -> bool:
    """Whether a text can name an artifact: a plain path below the runs folder, and no file of the scheduler."""
    pure = PurePosixPath(path)
    is_inside = bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and str(pure) == path
    is_ours = pure.name == JOURNAL or not pure.parts or pure.parts[0].startswith(".") or pure.parts[0] in _OURS
    return is_inside and not is_ours and "\0" not in path
