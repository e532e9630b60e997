"""What there is for steps to use, and what each of them asks for: the numbers that admission weighs."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from topsar.errors import TopsarError
from topsar.schedule.record import Pulse
from topsar.wording import bytes_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from topsar.schedule.admission import Candidate, Grant
    from topsar.schedule.evidence import Store
    from topsar.schedule.executor import Executor
    from topsar.schedule.forecast import Ledger
    from topsar.schedule.graph import Node, NodeId
    from topsar.schedule.jobs import Resources
    from topsar.schedule.state import State

_MEASURE_S = 5.0


class Capacities:
    """Memory, cores and disk of a run, which leaves ``reserve_bytes`` of disk free."""

    def __init__(self, executor: Executor, store: Store, ledger: Ledger, reserve_bytes: int) -> None:
        self._executor, self._store, self._ledger, self._reserve_bytes = executor, store, ledger, reserve_bytes
        self._written: dict[NodeId, tuple[float, int]] = {}
        self._folder = _identify(store.runs)
        self._most = executor.limits()

    def make_candidate(self, state: State) -> Candidate:
        """A step as admission sees it; what was learned never makes one too big for this place."""
        forecast = self._ledger.predict(state.node.step)
        most, table = self._most, state.node.step.needs
        memory = min(forecast.needs.memory_bytes, max(most.memory_bytes, table.memory_bytes))
        if forecast.learned_from:
            memory = min(memory, most.memory_bytes)
        threads = min(forecast.needs.threads, most.threads)
        return state.make_candidate(replace(forecast.needs, memory_bytes=memory, threads=threads))

    def predict_disk(self, state: State) -> int:
        """Bytes that a step is going to write."""
        return max(self._ledger.predict(state.node.step).needs.disk_bytes, state.least.disk_bytes)

    def measure(self, running: Mapping[Node, Grant]) -> Resources:
        """What all steps together may use; on disk, with what those under way have written of theirs already."""
        written = {
            node.id: self._measure_written(node) for node, grant in running.items() if grant.candidate.needs.disk_bytes
        }
        self._written = {node_id: self._written[node_id] for node_id in written}
        sizes = (min(grant.candidate.needs.disk_bytes, written.get(node.id, 0)) for node, grant in running.items())
        return replace(self._executor.capacity(), disk_bytes=self.find_free_disk() + sum(sizes))

    def find_free_disk(self) -> int:
        """Bytes free beyond the reserve; negative where it is touched.

        Raises
        ------
        TopsarError
            When the runs folder is gone.
        """
        hint = "was it removed or unmounted? Start again once it is there"
        try:
            if _identify(self._store.runs) != self._folder:
                msg = f"the runs folder {self._store.runs} was replaced by another one"
                raise TopsarError(msg, hint=hint)
            return shutil.disk_usage(self._store.runs).free - self._reserve_bytes
        except OSError as exc:
            msg = f"the runs folder {self._store.runs} cannot be reached any more: {exc.strerror}"
            raise TopsarError(msg, hint=hint) from exc

    @property
    def whole_disk(self) -> int:
        """Bytes that steps could use at most, with nothing else on the disk."""
        return shutil.disk_usage(self._store.runs).total - self._reserve_bytes

    def describe_disk(self) -> str:
        """What is free, in words."""
        kept = f", {bytes_text(self._reserve_bytes)} of it to be left free" if self._reserve_bytes else ""
        return f"{bytes_text(self.find_free_disk() + self._reserve_bytes)} are free at {self._store.runs}{kept}"

    def take_pulse(self, running: Collection[Grant], waiting_for: str, at_s: float) -> Pulse:
        """What is in use now, ``at_s`` seconds after the run began, and what the run waits for, if it does.

        Parameters
        ----------
        running : collection of Grant
        waiting_for : str
        at_s : float
        """
        return Pulse(
            at_s=at_s,
            running=len(running),
            memory_bytes=self._executor.memory_in_use(),
            reserved_bytes=sum(grant.candidate.needs.memory_bytes for grant in running),
            budget_bytes=self._executor.capacity().memory_bytes,
            disk_free_bytes=self.find_free_disk() + self._reserve_bytes,
            waiting_for=waiting_for,
        )

    def _measure_written(self, node: Node) -> int:
        now = time.monotonic()
        when, size = self._written.get(node.id, (-_MEASURE_S, 0))
        if now >= when + _MEASURE_S:
            when, size = now, self._store.size(node.step)
            self._written[node.id] = (when, size)
        return size


def _identify(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
