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
    """What is to be done with a step.

    Attributes
    ----------
    status : Status
        WAITING: it must run; CACHED: it is done; UNNEEDED: nobody needs what it wrote.
    why : str
        Why it must run; empty otherwise.
    """

    status: Status
    why: str = ""


def plan_graph(graph: Graph, store: Store) -> dict[NodeId, Decision]:
    """Decide for every step what to do with it, without running or changing anything.

    Parameters
    ----------
    graph : Graph
        All steps.
    store : Store
        The runs folder, which need not exist, and the validator of artifacts.

    Returns
    -------
    dict
        (job id, step name) -> Decision, in topological order.
    """
    done = {job.id: find_last_done(read_journal(store.runs / job.id / JOURNAL)) for job in graph.jobs}
    return decide(graph, done, store)


def decide(graph: Graph, done: Mapping[str, Mapping[str, Event]], store: Store) -> dict[NodeId, Decision]:
    """Decide for every step of a graph whose journals are read already.

    Parameters
    ----------
    graph : Graph
        All steps.
    done : mapping
        job id -> step name -> event of its last success.
    store : Store
        Where the artifacts are.
    """
    records = {node: done.get(node[0], {}).get(node[1]) for node in graph.nodes}
    stale = _check_all(graph, records, store)
    decisions: dict[NodeId, Decision] = {}
    for node in reversed(tuple(graph.nodes.values())):
        wanted = {
            path: child
            for child in node.children
            if decisions[child].status is Status.WAITING
            for path in graph.nodes[child].step.reads
        }
        why = stale[node.id] if wanted or node.is_goal else ""
        decisions[node.id] = _decide_step(
            node, why or _find_lost_input(node, records[node.id], wanted, store), bool(wanted)
        )
    return {node: decisions[node] for node in graph.nodes}


def _check_all(graph: Graph, records: Mapping[NodeId, Event | None], store: Store) -> dict[NodeId, str]:
    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        return dict(
            threads.map(lambda node: (node.id, _find_staleness(node, records[node.id], store)), graph.nodes.values())
        )
    finally:
        threads.shutdown(cancel_futures=True)


def _decide_step(node: Node, why: str, is_wanted: bool) -> Decision:  # noqa: FBT001 - private, called once
    if why:
        return Decision(status=Status.WAITING, why=why)
    return Decision(status=Status.CACHED if is_wanted or node.is_goal else Status.UNNEEDED)


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
