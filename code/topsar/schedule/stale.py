"""What has to run: the demand of the goals, walked from the end of the graph to its beginning.

A goal is a step that writes results, or one that nobody reads from. It must run if it never succeeded, if its
checkpoint key changed, or if a result no longer matches its recorded evidence. A step that only writes what others read
must run if a step that must run reads an artifact of it that is gone or changed, as ``make`` treats intermediate files.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topsar.schedule.evidence import Store
from topsar.schedule.graph import JOURNAL, NodeId
from topsar.schedule.jobs import Event, Lifetime, Status
from topsar.schedule.journal import find_last_done, read_journal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topsar.schedule.graph import Graph, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done with a step: it is WAITING, and why; or CACHED; or UNNEEDED: nobody needs what it wrote."""

    status: Status
    why: str = ""


def plan_graph(
    graph: Graph, store: Store, done: Mapping[str, Mapping[str, Event]] | None = None
) -> dict[NodeId, Decision]:
    """Decide for every step what to do with it, without running or changing anything.

    Parameters
    ----------
    graph : Graph
    store : Store
        Its folder need not exist.
    done : mapping, optional
        job id -> step name -> event of its last success, where the journals have been read.

    Returns
    -------
    dict
        (job id, step name) -> Decision, in topological order.
    """
    done = done or {job.id: find_last_done(read_journal(store.runs / job.id / JOURNAL)) for job in graph.jobs}
    records = {node: done.get(node[0], {}).get(node[1]) for node in graph.nodes}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda node: _find_staleness(node, records[node.id], store), graph.nodes.values())
        stale = dict(zip(graph.nodes, found, strict=True))
    decisions: dict[NodeId, Decision] = {}
    for node in reversed(tuple(graph.nodes.values())):
        wanted = {
            path: child
            for child in node.children
            if decisions[child].status is Status.WAITING
            for path in graph.nodes[child].step.reads
        }
        why = stale[node.id] if wanted or node.is_goal else ""
        why = why or _find_lost_input(node, records[node.id], wanted, store)
        idle = Status.CACHED if wanted or node.is_goal else Status.UNNEEDED
        decisions[node.id] = Decision(status=Status.WAITING if why else idle, why=why)
    return {node: decisions[node] for node in graph.nodes}


def _find_staleness(node: Node, record: Event | None, store: Store) -> str:
    """Why the step's record no longer speaks for its results, or an empty string."""
    if record is None:
        return "not done yet"
    if record.key != node.key:
        return "options or inputs changed"
    faults = (store.fault(artifact.path, record.evidence) for artifact in node.results)
    return next((fault for fault in faults if fault), "")


def _find_lost_input(node: Node, record: Event | None, wanted: Mapping[str, NodeId], store: Store) -> str:
    """Why an intermediate that a step must read has to be written again, or an empty string."""
    for artifact in node.step.writes:
        if record is not None and artifact.lifetime is not Lifetime.RESULT and artifact.path in wanted:
            fault = store.fault(artifact.path, record.evidence)
            if fault:
                return f"{'/'.join(wanted[artifact.path])} needs it, and {fault}"
    return ""
