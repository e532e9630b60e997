"""Campaigns on a stack in radar geometry: its tree must be that of an undisturbed run in the end, byte for byte."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from fault_count import Count, Place
from fault_inputs import Attempt, swap_during
from fault_places import VERBS, harm_files
from fault_world import KILL, LOADED, Ran, Warm, World, copy_data, find_fault, make_data

_FLAGS = {"GRID": "radar", "INTERFEROGRAMS": "1", "STACK_REFERENCE": "20250303"}
_TEXTS = {".xml", ".vrt", ".json", ".txt", ".rsc"}


class _Stack(World):
    """Two dates, and the tree that an undisturbed run makes of them; ``steps`` are those it ran."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        make_data(self.data, 2)
        self.warm = Warm(folder, self.data, **{LOADED: json.dumps(_FLAGS)})
        self.tree: dict[str, bytes] = {}
        with _Attempt(Place(folder / "first"), self, "undisturbed", Count("")) as attempt:
            if (ran := self.warm.run(attempt.data, "stack", **_FLAGS)).code:
                sys.exit(f"error: the undisturbed stack failed: {ran.err}")
            self.tree, self.steps = attempt.read_tree(), sorted(attempt.list_done())


class _Attempt(Attempt):
    """A copy of the data, and the verdict on the stack that a run makes of it."""

    world: _Stack

    def run(self, **flags: str) -> Ran:
        """Make the stack, and judge."""
        ran = self.world.warm.run(self.data, "stack", **(_FLAGS | flags))
        self.judge(ran)
        return ran

    def judge(self, ran: Ran) -> None:
        """Count how the command ended, and, where it says that all is done, files that are others."""
        if fault := find_fault(ran):
            self.count.demand(False, f"{self.name}: {fault}")  # noqa: FBT003
        self.count.refused += ran.code != 0
        found = self.read_tree() if ran.code == 0 else self.world.tree
        names = self.world.tree.keys() | found.keys()
        if wrong := sorted(name for name in names if found.get(name) != self.world.tree.get(name)):
            self.count.differing += 1
            self.count.notes.append(f"{self.name}: other {', '.join(wrong[:6])}")

    def read_tree(self) -> dict[str, bytes]:
        """Content of all files of the stack by name, without the folder of the data, or of what it was copied from."""
        root, folder = self.data / "runs" / "radar_stack", re.escape(f"{self.data.parent}/").encode()
        place = re.compile(folder + rb"\w+")
        files = [path for path in root.rglob("*") if path.is_file()]
        contents = {str(path.relative_to(root)): path.read_bytes() for path in files}
        return {name: place.sub(b"", text) if Path(name).suffix in _TEXTS else text for name, text in contents.items()}

    def count_repeated(self) -> None:
        """Count steps that were done more than once."""
        done = self.list_done()
        self.count.repeated += len(done) - len(set(done))


def _open_stack(place: Place) -> _Stack:
    return _Stack(Path(tempfile.mkdtemp(dir=place.folder)))


def kill_stack(place: Place) -> Count:
    """SIGKILL to each step of a stack in turn, and to the scheduler, at instants that chance chooses."""
    world, count = _open_stack(place), Count("kill -9 on a stack")
    faults = [*world.steps, *["stack"] * len(world.steps)]
    for name in place.choose(faults):
        seconds = place.chance.uniform(0, 4.0 if name == "stack" else 0.2)
        with _Attempt(place, world, f"{name} killed after {seconds:.2f} s", count) as attempt:
            ran = world.warm.run(attempt.data, "stack", **_FLAGS, **{KILL: json.dumps([name, seconds])})
            if name != "stack":  # who is killed says nothing
                attempt.judge(ran)
            attempt.finish()
            attempt.count_repeated()
    world.warm.close()
    return count


def swap_stack_inputs(place: Place) -> Count:
    """Before every step of a stack, each input is swapped for another of the same size and time, and put back."""
    world, count = _open_stack(place), Count("stack: inputs swapped")
    swap_during(sorted(set(world.steps)), place, partial(_Attempt, place, world), count)
    world.warm.close()
    return count


def harm_stack_state(place: Place) -> Count:
    """Every file of a stack that a later command reads is harmed in every way; then each command is given."""
    world, count = _open_stack(place), Count("stack: state")
    done = copy_data(world.data, place.folder / "done")
    if world.warm.run(done, "stack", **_FLAGS).code:
        sys.exit("error: the undisturbed stack failed")
    harm_files(done, VERBS, place, partial(_Attempt, place, world), count)
    world.warm.close()
    return count


CAMPAIGNS: dict[str, Callable[[Place], Count]] = {
    "stack killed": kill_stack,
    "stack swaps": swap_stack_inputs,
    "stack state": harm_stack_state,
}
