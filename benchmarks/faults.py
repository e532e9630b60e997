"""The fault campaign: harm runs in every way that happens, resume them, and count what is wrong afterwards.

What is counted, and how: README.md beside this. Exits with 1 unless nothing is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import fault_inputs
import fault_places
import fault_stacks
from fault_count import Count, Place

from fault_jobs import (
    FORKED,
    HARMS,
    SECONDS,
    Cgroup,
    NoCgroupError,
    Trial,
    guards,
    harm,
    inspect,
    is_of,
    needed,
    nodes,
    says_that_it_waits,
    step_of,
)
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Budget, Event, Job, Lifetime, Outcome, Policy, Reason, Resources, Status
from topsar.schedule.record import read_record
from topsar.schedule.run import run_jobs

MB = 1_000_000
PATIENCE_S = 60.0
_WELL = ("done", "cached", "unneeded")
_VICTIMS = (
    "d1/read",
    "d1/geocode",
    *(f"p13/{name}" for name in ("interfere", "filter", "unwrap", "products", "check")),
)
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LACKS_DISK = re.compile(r"needs [\d.]+ [kMG]?B of disk, [\d.]+ [kMG]?B are free")


class Field(Place):
    """A place for trials, and the undisturbed run that all others are compared with."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self._serial, self._pairs = 0, 4 if self.share >= 1 else 2

    @property
    def results(self) -> dict[str, bytes]:
        """What an undisturbed run makes."""
        return _run_undisturbed(self.pace, self._pairs)[0]

    @property
    def length(self) -> float:
        """Seconds that an undisturbed run takes."""
        return _run_undisturbed(self.pace, self._pairs)[1]

    def trial(self, **options: Any) -> Trial:
        """A fresh trial."""
        self._serial += 1
        return Trial(self.folder / f"trial{self._serial}", **({"pace": self.pace, "pairs": self._pairs} | options))

    def check(self, trial: Trial, count: Count, answer: str) -> None:
        """Count what is wrong after a run that should have come to its end."""
        outcomes = json.loads(answer or "{}")
        bad = {job: outcome for job, outcome in outcomes.items() if job == "error" or outcome[0] not in _WELL}
        count.demand(bool(outcomes) and not bad, f"{trial.folder.name}: {bad or 'no answer'}")
        self.compare(trial, count, self.results)

    def compare(self, trial: Trial, count: Count, expected: dict[str, bytes]) -> None:
        """Count results that are others than they should be, and who is left alive."""
        found = trial.results()
        count.differing += sum(found.get(path) != expected.get(path) for path in found.keys() | expected.keys())
        count.orphans += not trial.is_deserted(10)

    def resume(self, trial: Trial, count: Count) -> None:
        """Start again, let it come to its end, and count finished steps that were run again."""
        done, before = trial.done(), len(trial.started())
        answer = trial.start().communicate()[0]
        count.resumes += 1
        count.repeated += len(done & set(trial.started()[before:]))
        count.executed += len(trial.started())
        self.check(trial, count, answer)


@cache
def _run_undisturbed(pace: float, pairs: int) -> tuple[dict[str, bytes], float]:
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "undisturbed", pace=pace, pairs=pairs)
        process, started = trial.start(), time.monotonic()
        process.communicate()
        seconds, results = time.monotonic() - started, trial.results()
        if not results or sorted(trial.started()) != sorted(nodes(trial.jobs)):
            sys.exit("error: the undisturbed run did not do what it should")
        return results, seconds


# --- processes ------------------------------------------------------------------------------------------------------


def kill_steps(place: Field) -> Count:
    """SIGKILL to the step that runs, for every step of a pair and of a date that it reads in turn."""
    count = Count("kill -9 of a step")
    alone = [[node] for node in _VICTIMS] if place.share >= 1 else []
    for victims in (*alone, list(_VICTIMS)):
        trial = place.trial()
        with trial.start() as process:
            killed = [node for node in victims if _kill_step(trial, node, place)]
            answer = process.communicate()[0]
        count.faults += len(killed)
        count.demand(len(killed) == len(victims), "a step ended before it could be killed")
        times = Counter(trial.started())
        count.executed += times.total()
        count.repeated += sum(times[node] - 1 - (node in killed) for node in nodes(trial.jobs))
        place.check(trial, count, answer)
    return count


def _kill_step(trial: Trial, node: str, place: Field) -> bool:
    until = time.monotonic() + PATIENCE_S
    while (pid := trial.pid_of(node)) is None and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(place.chance.uniform(0, 0.5) * SECONDS[node.partition("/")[2]] * place.pace)
    if pid is None or not is_of(pid, trial.folder):
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def _wait_until_started(trial: Trial, number: int) -> None:
    """Wait until a number of steps were started."""
    until = time.monotonic() + PATIENCE_S
    while len(trial.started()) < number and time.monotonic() < until:
        time.sleep(0.005)


def kill_scheduler(place: Field) -> Count:
    """SIGKILL to the scheduler at instants uniform over the run's length; some resumes are killed again."""
    count = Count("kill -9 of the scheduler")
    while count.faults < place.rounds(55):
        trial = place.trial(cleanup=place.chance.choice(("none", "scratch", "nuclear")))
        while _kill_once(trial, place, count) and place.chance.random() < 0.3:
            pass
        place.resume(trial, count)
    return count


def _kill_once(trial: Trial, place: Field, count: Count) -> bool:
    """Start, kill, and see that the guard ends the rest; whether there was something to kill."""
    done, before = trial.done(), len(trial.started())
    with trial.start() as process:
        time.sleep(place.chance.uniform(0, place.length))
        is_fault = process.poll() is None
        process.kill()
    count.faults += is_fault
    count.orphans += not trial.is_deserted(10)
    count.repeated += len(done & set(trial.started()[before:]))
    return is_fault


def kill_scheduler_and_guard(place: Field) -> Count:
    """SIGKILL to the scheduler and its guard at once: the next start ends what they left."""
    count = Count("kill -9 of scheduler and guard")
    while count.faults < place.rounds(10):
        trial = place.trial()
        with trial.start() as process:
            time.sleep(place.chance.uniform(0.1, 0.9) * place.length)
            found = guards(process.pid)
            for pid in found:  # stopped first, so that it cannot act between the two kills
                os.kill(pid, signal.SIGSTOP)
            process.kill()
            for pid in found:
                os.kill(pid, signal.SIGKILL)
        count.faults += len(found)
        place.resume(trial, count)
    return count


def end_scheduler(place: Field) -> Count:
    """SIGINT, SIGTERM and SIGHUP at random instants: everything is gone within ten seconds."""
    count = Count("SIGINT, SIGTERM, SIGHUP")
    for turn in range(place.rounds(8)):
        for number in _ENDING:
            trial = place.trial()
            with trial.start() as process:
                time.sleep(place.chance.uniform(0, 0.9 * place.length))
                count.faults += process.poll() is None
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                count.demand(process.poll() is not None, f"alive 10 s after {number.name}, round {turn}")
                process.kill()
            count.orphans += not trial.is_deserted(10)
            place.resume(trial, count)
    return count


def jump_clock(place: Field) -> Count:
    """All times in the journals and of the files moved by years, both ways, between a kill and the resume."""
    count = Count("clock jumps")
    for days in [3650, -3650, 0.01, -0.01][: place.rounds(4)]:
        trial = place.trial()
        with trial.start() as process:
            _wait_until_started(trial, 10)
            process.kill()
        trial.is_deserted(10)
        for path in trial.runs.rglob("*"):
            if path.name == "journal.jsonl":
                path.write_text("".join(_move_time(line, days) for line in path.read_text().splitlines(keepends=True)))
            os.utime(path, times=(path.stat().st_atime + days * 86400, path.stat().st_mtime + days * 86400))
        count.faults += 1
        place.resume(trial, count)
    return count


def _move_time(line: str, days: float) -> str:
    event = json.loads(line)
    event["time"] = (datetime.fromisoformat(event["time"]) + timedelta(days=days)).isoformat()
    return json.dumps(event, separators=(",", ":")) + ("\n" if line.endswith("\n") else "")


# --- files ----------------------------------------------------------------------------------------------------------


def tear_journals(place: Field) -> Count:
    """As many pairs as the last line of a journal has bytes; the journal of each is torn at another byte."""
    count = Count("torn journals")
    # The last line says done; running (the one after it is dropped); which scratch was removed.
    for cleanup, dropped in (("none", 0), ("none", 1), ("scratch", 0)):
        probe = place.trial(cleanup=cleanup, rows=1)
        probe.run()
        every = 1 if place.share >= 1 else 23
        longest = 40 + max(map(len, (probe.runs / "j0000/journal.jsonl").read_bytes().splitlines()))
        trial = place.trial(cleanup=cleanup, rows=longest // every + 1)
        trial.run()
        results, before = trial.results(), len(trial.started())
        for number, job in enumerate(trial.jobs):
            count.faults += _tear(trial.runs / job.id / "journal.jsonl", number * every, dropped)
        lost = nodes(trial.jobs).keys() - trial.done()
        expected = needed(trial.jobs, lost, trial.absent())
        outcomes = trial.run()
        count.resumes += 1
        _count_rerun(trial, count, before, expected, outcomes)
        place.compare(trial, count, results)
    return count


def _tear(journal: Path, at: int, dropped: int) -> bool:
    """Drop whole lines from a journal's end, and cut the then last one; False where it is shorter than that."""
    lines = journal.read_bytes().splitlines(keepends=True)
    *whole, last = lines[: len(lines) - dropped]
    if at >= len(last):
        return False
    journal.write_bytes(b"".join(whole) + last[:at])
    return True


def _count_rerun(trial: Trial, count: Count, before: int, expected: set[str], outcomes: tuple[Outcome, ...]) -> None:
    """Count steps that ran again without need, and those that did not although they had to."""
    times = Counter(trial.started()[before:])
    count.executed += times.total()
    count.repeated += sum(number - (node in expected) for node, number in times.items())
    count.demand(expected <= times.keys(), f"not run again: {sorted(expected - times.keys())}")
    bad = [outcome.message for outcome in outcomes if outcome.status.value not in _WELL]
    count.demand(not bad, f"not done: {bad[:3]}")


def damage_outputs(place: Field) -> Count:
    """Every output deleted, truncated, replaced by as many other bytes, or turned from a file into a folder or back."""
    count = Count("damaged outputs")
    for cleanup in ("none", "scratch"):
        trial = place.trial(pace=0, cleanup=cleanup)
        trial.run()
        results, there = trial.results(), [path for path in _artifacts(trial) if (trial.runs / path).exists()]
        faults = [(path, how) for path in there for how in HARMS]
        for path, how in place.choose(faults):
            harm(trial.runs / path, how)
            count.faults += 1
            # Alone, what is only in between matters to nobody; when what was made of it is gone too, it does.
            if path not in _resume_damaged(trial, count, path):
                for made in _find_products(trial, path):
                    _delete(trial.runs / made)
                _resume_damaged(trial, count, path)
            place.compare(trial, count, results)
    return count


def _resume_damaged(trial: Trial, count: Count, path: str) -> set[str]:
    """Run again, see that exactly the right steps do, and return what they wrote."""
    before, expected = len(trial.started()), needed(trial.jobs, set(), trial.absent() | {path})
    outcomes = trial.run()
    count.resumes += 1
    _count_rerun(trial, count, before, expected, outcomes)
    return {artifact.path for node in expected for artifact in nodes(trial.jobs)[node].writes}


def _artifacts(trial: Trial) -> dict[str, Lifetime]:
    return {a.path: a.lifetime for step in nodes(trial.jobs).values() for a in step.writes}


def _find_products(trial: Trial, path: str) -> list[str]:
    """What is made of an artifact, from step to step, up to the first result."""
    lifetimes, found = _artifacts(trial), [path]
    while lifetimes[found[-1]] is not Lifetime.RESULT:
        reader = next(step for step in nodes(trial.jobs).values() if found[-1] in step.reads)
        found += sorted((a.path for a in reader.writes), key=lambda one: lifetimes[one] is Lifetime.RESULT)
    return found[1:]


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def delete_runs(place: Field) -> Count:
    """The runs folder is deleted while steps run: one clear error, and nobody is left."""
    count = Count("runs folder deleted")
    for _ in range(place.rounds(10)):
        trial = place.trial()
        with trial.start() as process:
            _wait_until_started(trial, place.chance.randint(4, 12))
            aside = trial.folder / "aside"
            with contextlib.suppress(OSError):
                trial.runs.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            count.faults += 1
            answer = process.communicate()[0]
        count.demand("cannot be reached any more" in answer, f"said: {answer[:300]}")
        count.orphans += not trial.is_deserted(10)
        shutil.rmtree(trial.runs, ignore_errors=True)
        place.resume(trial, count)
    return count


# --- with mounts of our own: in a namespace -------------------------------------------------------------------------


def read_only(place: Field) -> Count:
    """The runs folder is read-only, when there is nothing in it yet and between a kill and the resume."""
    count = Count("read-only runs folder")
    for is_new in (True, False):
        trial = place.trial()
        trial.runs.mkdir()
        if not is_new:
            with trial.start() as process:
                _wait_until_started(trial, 10)
                process.kill()
            trial.is_deserted(10)
        _mount("--bind", str(trial.runs), str(trial.runs))
        _mount("-o", "remount,ro,bind", str(trial.runs))
        before = trial.started()
        answer = trial.start().communicate()[0]
        count.faults += 1
        is_clear = "cannot be used: Read-only file system" in answer and trial.started() == before
        count.demand(is_clear, f"said: {answer[:300]}")
        count.orphans += len(trial.living())
        subprocess.run(["umount", str(trial.runs)], check=True)
        place.resume(trial, count)
    return count


def fill_disk(place: Field) -> Count:
    """A small disk that others fill: waiting for space, failing without it, and a journal that has no room."""
    count = Count("full disk")
    for _ in range(place.rounds(3)):
        for scenario in (_predicted_space_comes_back, _space_comes_back, _space_never_comes, _no_room_for_the_journal):
            disk = _Disk(place)
            try:
                scenario(disk, count)
            finally:
                subprocess.run(["umount", str(disk.folder)], check=True)
    return count


class Once:
    """Does something at the first call."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._acts = [act]

    def __call__(self) -> None:
        while self._acts:
            self._acts.pop()()


class _Disk:
    """A small disk with a runs folder and somebody else's file on it."""

    def __init__(self, place: Field) -> None:
        self.folder = place.folder / "disk"
        self.folder.mkdir(exist_ok=True)
        _mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(self.folder))
        self._place = place
        self.ballast = self.folder / "other"
        self.events: list[Event] = []
        self.trial = Trial(self.folder / "trial")
        self.trial.executed = place.folder / "executed"
        self.trial.executed.write_text("")

    def pairs(self, names: str, *, does: str = "", predicted: int = 0) -> None:
        """Let there be pairs that write 6 MB of scratch, and as much as their result."""
        self.trial.jobs = tuple(self._pair(name, does, Resources(disk_bytes=predicted)) for name in names)

    def _pair(self, name: str, does: str, needs: Resources) -> Job:
        scratch, result = f"{name}/s", f"{name}/x"
        steps = (
            step_of(
                f"{name}/load",
                self.trial.executed,
                writes={scratch: Lifetime.SCRATCH},
                does=f"head -c {6 * MB} /dev/zero >> ../{scratch}",
                seconds=0.1,
                needs=needs,
            ),
            step_of(
                f"{name}/form",
                self.trial.executed,
                reads=[scratch],
                writes={result: Lifetime.RESULT},
                does=does,
                seconds=0.1,
                needs=needs,
            ),
        )
        return Job(id=name, title=name, steps=steps, is_pair=True)

    def fill(self, room: int) -> None:
        """Let somebody else take all but so much."""
        size = shutil.disk_usage(self.folder).free - room
        with self.ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def run(self, react: Callable[[Event], None], patience_s: float, padding: int = 0) -> tuple[Outcome, ...]:
        def observe(event: Event) -> None:
            self.events.append(event)
            react(event)

        return run_jobs(
            self.trial.jobs,
            Store(self.trial.runs, lambda path: inspect(path) | {"padding": "x" * padding}),
            Policy(budget=Budget(threads=4), backoff_s=0.05, patience_s=patience_s),
            observe=observe,
        )

    def finish(self, count: Count, outcomes: tuple[Outcome, ...]) -> None:
        """Count what is wrong at the end."""
        times = Counter(self.trial.started())
        succeeded = Counter(f"{event.job}/{event.step}" for event in self.events if event.status is Status.DONE)
        count.executed += times.total()
        count.repeated += sum(number - 1 for number in succeeded.values())
        count.demand(all(o.status.value in _WELL for o in outcomes), f"not done: {[o.message for o in outcomes]}")
        whole = {f"{job.id}/x": _whole(job.id) for job in self.trial.jobs}
        self._place.compare(self.trial, count, whole)


def _whole(name: str) -> bytes:
    scratch = f"{name}/load\n".encode() + bytes(6 * MB) + f"{name}/load is whole\n".encode()
    return scratch + f"{name}/form\n{name}/form is whole\n".encode()


def _space_comes_back(disk: _Disk, count: Count, predicted: int = 0) -> None:
    disk.pairs("abcd", predicted=predicted)
    fill_once, free_once = Once(lambda: disk.fill(4 * MB)), Once(threading.Timer(0.3, disk.ballast.unlink).start)

    def react(event: Event) -> None:
        fill_once()
        if event.note:
            free_once()

    outcomes = disk.run(react, patience_s=PATIENCE_S)
    count.faults += 1
    count.demand(any(_LACKS_DISK.search(event.note) for event in disk.events), "did not say that it waits for disk")
    full = [event for event in disk.events if event.ended and event.ended.reason is Reason.DISK_FULL]
    count.demand(bool(full), "no step found the disk full")
    disk.finish(count, outcomes)


def _predicted_space_comes_back(disk: _Disk, count: Count) -> None:
    _space_comes_back(disk, count, predicted=7 * MB)


def _space_never_comes(disk: _Disk, count: Count) -> None:
    disk.pairs("ab")
    fill_once = Once(lambda: disk.fill(4 * MB))
    outcomes = disk.run(lambda _: fill_once(), patience_s=0.3)
    count.faults += 1
    count.demand(all(outcome.status is Status.FAILED for outcome in outcomes), "not failed although there was no space")
    for outcome in outcomes:
        count.demand(bool(_LACKS_DISK.search(outcome.message)), f"no numbers in: {outcome.message}")
    disk.ballast.unlink()
    count.resumes += 1
    disk.finish(count, disk.run(lambda _: None, patience_s=PATIENCE_S))


def _no_room_for_the_journal(disk: _Disk, count: Count) -> None:
    """The step itself fills the disk and ends well; only its record finds no room."""
    disk.pairs("a", does=f"head -c {64 * MB} /dev/zero > {disk.ballast} 2> /dev/null || true")
    timer = threading.Timer(1.7, disk.ballast.unlink)

    def react(event: Event) -> None:
        if event.step == "form" and event.status is Status.RUNNING:
            timer.start()

    # Evidence longer than a page: a shorter line would find room in the journal's last one.
    outcomes = disk.run(react, patience_s=PATIENCE_S, padding=9000)
    count.faults += 1
    said = read_record(disk.trial.runs)
    late = [moment for moment in said.moments if moment.event.step == "form"] if said else []
    count.demand(bool(late) and late[-1].at_s - late[0].at_s > 1.5, "the record of the step was not held up")
    again = disk.run(lambda _: None, patience_s=PATIENCE_S, padding=9000)
    count.resumes += 1
    count.demand(len(disk.trial.started()) == 2, f"ran {disk.trial.started()}")
    disk.finish(count, (*outcomes, *again))


# --- with a limit of memory: in a cgroup ----------------------------------------------------------------------------


def take_memory(place: Field) -> Count:
    """Somebody else takes the memory: a step waits for it; one that the kernel kills is tried again with more."""
    count = Count("memory taken by others")
    for _ in range(place.rounds(3)):
        for scenario in (_wait_for_memory, _kill_for_memory):
            trial = place.trial()
            scenario(trial, count)
            count.faults += 1
            count.executed += len(trial.started())
            place.compare(trial, count, {"a/x": b"a/x\na/x is whole\n"})
    return count


class _Hog:
    """A process that takes memory."""

    def __init__(self, size: int) -> None:
        script = f"x = b'1' * {size}; print('up', flush=True); import time; time.sleep(60)"
        self._process = subprocess.Popen([sys.executable, "-I", "-S", "-c", script], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _run_one(trial: Trial, does: str, predicted: int, observe: Callable[[Event], None]) -> tuple[Outcome, ...]:
    needs = Resources(memory_bytes=predicted)
    step = step_of("a/x", trial.executed, writes={"a/x": Lifetime.RESULT}, does=does, needs=needs)
    trial.jobs = (Job(id="a", title="a", steps=(step,), is_pair=True),)
    policy = Policy(backoff_s=0.05, patience_s=PATIENCE_S)
    return run_jobs(trial.jobs, Store(trial.runs, inspect), policy, observe=observe)


def _wait_for_memory(trial: Trial, count: Count) -> None:
    hog, notes = _Hog(300 * MB), []

    def observe(event: Event) -> None:
        if event.note:
            notes.append(event.note)
            threading.Thread(target=lambda: (says_that_it_waits(trial.runs), hog.end())).start()

    outcome = _run_one(trial, "", 500 * MB, observe)[0]
    count.demand(outcome.status is Status.DONE, f"waiting for memory: {outcome.message}")
    count.demand(len(notes) == 1 and "needs 500 MB of memory" in notes[0], f"said that it waits: {notes}")
    count.demand(says_that_it_waits(trial.runs, 0), "the record does not say that it waits")
    count.demand(len(trial.started()) == 1, "tried before there was room")


def _kill_for_memory(trial: Trial, count: Count) -> None:
    hogs: list[_Hog] = []

    def observe(event: Event) -> None:
        if event.status is Status.RUNNING and not hogs:
            hogs.append(_Hog(350 * MB))
            (trial.folder / "up").touch()
        if event.note:
            hogs[0].end()

    take = f"while [ ! -e {trial.folder}/up ]; do sleep 0.02; done; {sys.executable} -I -S -c 'b\"1\" * {450 * MB}'"
    # Half as much again as this is more than is free, whatever was measured before the kill.
    outcome = _run_one(trial, take, 250 * MB, observe)[0]
    hogs[0].end()
    ends = [event.ended.reason for event in outcome.events if event.ended]
    granted = [event.granted.memory_bytes for event in outcome.events if event.granted]
    count.demand(ends == [Reason.OUT_OF_MEMORY, Reason.DONE], f"killed for memory: {ends}, {outcome.message}")
    count.demand(len(granted) == 2 and granted[1] > granted[0], f"granted {granted}")


# --- all of it ------------------------------------------------------------------------------------------------------

CAMPAIGNS: dict[str, Callable[[Field], Count]] = {
    "steps": kill_steps,
    "scheduler": kill_scheduler,
    "guard": kill_scheduler_and_guard,
    "signals": end_scheduler,
    "journals": tear_journals,
    "outputs": damage_outputs,
    "disk": fill_disk,
    "memory": take_memory,
    "clock": jump_clock,
    "deleted": delete_runs,
    "read-only": read_only,
    **fault_inputs.CAMPAIGNS,
    **fault_places.CAMPAIGNS,
    **fault_stacks.CAMPAIGNS,
}
_WITH_MOUNTS, _WITH_CGROUP = ("disk", "read-only", *fault_places.WITH_MOUNTS), ("memory",)
_LIMIT_BYTES = 700 * MB


def play(name: str, folder: Path, *, seed: int, pace: float, share: float, part: tuple[int, int] = (1, 1)) -> Count:
    """Play one campaign, in a namespace or a cgroup of its own where it needs one."""
    argv = [sys.executable, __file__, "--only", name, "--inside", "--folder", str(folder)]
    argv += ["--seed", str(seed), "--pace", str(pace), "--share", str(share), "--part", "{}/{}".format(*part)]
    if name in _WITH_MOUNTS:
        probe = subprocess.run([*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True)
        if probe.returncode:
            return Count(name, skipped=f"nothing can be mounted here: {probe.stderr.strip()}")
        return _run_inside(name, [*_UNSHARE, *argv])
    if name in _WITH_CGROUP:
        try:
            with Cgroup(_LIMIT_BYTES) as group:
                return _run_inside(name, group.argv(*argv))
        except NoCgroupError as exc:
            return Count(name, skipped=str(exc))
    return CAMPAIGNS[name](Field(folder, seed=seed, pace=pace, share=share, part=part))


_UNSHARE = ("unshare", "-rm", "--propagation", "private")


def _run_inside(name: str, argv: Sequence[str]) -> Count:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        return Count(name, failures=1, notes=[f"the campaign itself failed: {done.stderr[-2000:]}"])
    return Count(**json.loads(done.stdout.splitlines()[-1]))


def _mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def main() -> None:
    """Play, print, and exit with 1 if anything was wrong."""
    args = _parse()
    if args.forked:
        tests = str(Path(__file__).resolve().parent.parent / "tests")
        os.environ.update({FORKED: "1", "PYTHONPATH": tests})
    if args.inside:
        place = Field(args.folder / "inside", seed=args.seed, pace=args.pace, share=args.share, part=args.part)
        print(json.dumps(asdict(CAMPAIGNS[args.only[0]](place))))
        return
    columns = [one.name for one in fields(Count) if one.type == "int"]
    print(f"{'campaign':<32}" + "".join(f"{name:>11}" for name in columns) + f"{'seconds':>10}", flush=True)
    total, is_clean = Counter[str](), True
    for name in args.only or CAMPAIGNS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            count = play(name, Path(folder), seed=args.seed, pace=args.pace, share=args.share, part=args.part)
        numbers = {name: getattr(count, name) for name in columns}
        total.update(numbers)
        cells = "".join(f"{value:>11}" for value in numbers.values())
        print(f"{count.campaign:<32}{count.skipped or cells}{time.monotonic() - started:>10.0f}", flush=True)
        for note in count.notes:
            print(f"  {note}")
        is_clean &= count.is_clean
    print(f"{'all':<32}" + "".join(f"{total[name]:>11}" for name in columns))
    sys.exit(not is_clean)


def _read_part(text: str) -> tuple[int, int]:
    number, parts = (int(word) for word in text.split("/"))
    if not 1 <= number <= parts:
        raise ValueError(text)
    return number, parts


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CAMPAIGNS, metavar="NAME", help=f"of {', '.join(CAMPAIGNS)} [all]")
    parser.add_argument("--share", type=float, default=1.0, help="part of each campaign's repetitions [1]")
    parser.add_argument(
        "--part", type=_read_part, default=(1, 1), help="2/5: the second of five parts of lists of faults [1/1]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random instants [0]")
    parser.add_argument("--pace", type=float, default=1.0, help="by how much the steps take longer [1]")
    parser.add_argument("--folder", type=Path, help="where runs folders are made [the system's temporary folder]")
    parser.add_argument("--forked", action="store_true", help="fork the steps, as those of a native run are")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
