"""How wide the pool runs: what is learned, what is rehearsed, what is admitted, and that memory is never overbooked."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from fake_steps import Bench, inspect, make_step, wait_for
from topsar.schedule.cleanup import TRASH, Remover
from topsar.schedule.evidence import Store
from topsar.schedule.executor import LocalExecutor
from topsar.schedule.forecast import USAGE, Forecast, Ledger
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Artifact, Budget, Ended, Job, Lifetime, Policy, Reason, Resources, Status, Step
from topsar.schedule.journal import read_journal
from topsar.schedule.rehearsal import Script, _rehearse, find_order
from topsar.schedule.run import run_jobs
from topsar.schedule.stale import plan_graph

MB = 1_000_000
KIND = "demo 1 filter"


@pytest.fixture(scope="module")
def scheduling() -> ModuleType:
    sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))
    return importlib.import_module("scheduling")


# --- what is learned ------------------------------------------------------------------------------------------------


def learner(size: float = 100.0, *, kind: str = KIND, table: int = 80 * MB, threads: int = 4, disk: int = 0) -> Step:
    needs = Resources(memory_bytes=table, threads=threads, disk_bytes=disk)
    return Step(name="filter", argv=(), signature="", writes=(), kind=kind, size=size, needs=needs, seconds=10.0)


def ended(
    peak: int, *, reason: Reason = Reason.DONE, seconds: float = 10.0, cpu_s: float = 40.0, wrote: int = 0
) -> Ended:
    return Ended(reason=reason, exit_code=0, seconds=seconds, cpu_s=cpu_s, peak_memory_bytes=peak, written_bytes=wrote)


def memory(ledger: Ledger, step: Step) -> int:
    return ledger.predict(step).needs.memory_bytes


def test_memory_is_a_high_quantile_with_a_margin(tmp_path: Path) -> None:
    ledger, peaks = Ledger(tmp_path), [number * MB for number in range(1, 41)]
    for peak in random.Random(0).sample(peaks, len(peaks)):
        ledger.add(learner(), 4, ended(peak))
    assert memory(ledger, learner()) == int(38 * MB * (1 + 0.25 / 40**0.5))
    assert ledger.predict(learner()).learned_from == 40


def test_the_margin_shrinks_with_experience(tmp_path: Path) -> None:
    ledger, found = Ledger(tmp_path), []
    for _ in range(20):
        ledger.add(learner(), 4, ended(20 * MB))
        found.append(memory(ledger, learner()))
    assert found[0] == 25 * MB
    assert found == sorted(found, reverse=True)
    assert 20 * MB < found[-1] < 1.06 * 20 * MB


def test_sizes_alike_are_carried_over_as_the_table_goes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(100), 4, ended(20 * MB))
    assert memory(ledger, learner(150, table=120 * MB)) == int(20 * MB * 1.5 * 1.25)
    assert memory(ledger, learner(67, table=40 * MB)) == int(20 * MB * 0.5 * 1.25)


def test_where_no_size_is_alike_the_table_stands_but_is_raised_where_it_was_too_low(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(100), 4, ended(20 * MB))
    assert memory(ledger, learner(151)) == 80 * MB
    ledger.add(learner(100), 4, ended(120 * MB))
    assert memory(ledger, learner(151)) == 120 * MB
    assert ledger.predict(learner(151)).learned_from == 0


def test_attempts_killed_for_memory_count_for_memory_alone(tmp_path: Path) -> None:
    ledger, killed = Ledger(tmp_path), ended(160 * MB, reason=Reason.OUT_OF_MEMORY, seconds=1.0, wrote=1)
    ledger.add(learner(disk=8 * MB), 4, killed)
    assert memory(ledger, learner()) == 160 * MB
    assert ledger.predict(learner()).seconds == 10.0
    ledger.add(learner(disk=8 * MB), 4, ended(20 * MB, seconds=6.0, wrote=4 * MB))
    said = ledger.predict(learner(disk=8 * MB))
    assert said.needs.memory_bytes > 160 * MB
    assert (said.needs.disk_bytes, said.seconds) == (5 * MB, 6.0)


@pytest.mark.parametrize("reason", [Reason.ERROR, Reason.TIMED_OUT, Reason.INTERRUPTED, Reason.NO_EVIDENCE])
def test_other_failures_and_steps_without_a_kind_teach_nothing(tmp_path: Path, reason: Reason) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(), 4, ended(20 * MB, reason=reason))
    ledger.add(learner(kind=""), 4, ended(20 * MB))
    assert memory(ledger, learner()) == memory(ledger, learner(kind="")) == 80 * MB
    assert not (tmp_path / USAGE).exists()


def test_another_version_learns_anew(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(), 4, ended(20 * MB))
    assert memory(ledger, learner(kind="demo 2 filter")) == 80 * MB


def test_threads_that_were_left_idle_are_not_asked_for_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(), 4, ended(MB, seconds=10.0, cpu_s=11.0))
    said = ledger.predict(learner())
    assert (said.needs.threads, said.seconds) == (1, 10.0)
    ledger.add(learner(), 4, ended(MB, seconds=10.0, cpu_s=39.0))
    assert ledger.predict(learner()).needs.threads == 4


def test_short_steps_say_nothing_about_threads(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(), 4, ended(MB, seconds=0.5, cpu_s=0.1))
    assert ledger.predict(learner()).needs.threads == 4


def test_time_is_a_median_for_the_threads_at_hand(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for seconds in (7.0, 8.0, 30.0):
        ledger.add(learner(), 2, ended(MB, seconds=seconds, cpu_s=2 * seconds))
    said = ledger.predict(learner())
    assert (said.seconds, said.estimate_seconds(2), said.estimate_seconds(1)) == (4.0, 8.0, 16.0)


def test_time_grows_as_the_table_says_and_without_one_with_the_size(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(100), 4, ended(MB, seconds=8.0))
    assert ledger.predict(learner(150)).seconds == 12.0
    assert ledger.predict(replace(learner(150), seconds=20.0)).seconds == 16.0


def test_lines_of_earlier_versions_and_other_resources_are_kept(tmp_path: Path) -> None:
    table = {"memory_bytes": 80 * MB, "threads": 4, "disk_bytes": 0}
    line = {"kind": KIND, "size": 100.0, "threads": 4, "table": table, "table_seconds": 10.0, "is_complete": True}
    line |= {"peak_memory_bytes": 20 * MB, "written_bytes": 0, "seconds": 10.0, "cpu_s": 40.0}
    (tmp_path / USAGE).write_text(json.dumps(line) + "\n")
    step = replace(learner(), needs=replace(learner().needs, others={"gpus": 1}))
    said = Ledger(tmp_path).predict(step)
    assert (said.needs.memory_bytes, said.needs.others, said.learned_from) == (25 * MB, {"gpus": 1}, 1)


def test_what_was_learned_survives_a_restart_and_garbage(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(learner(), 4, ended(20 * MB))
    with (tmp_path / USAGE).open("ab") as file:
        file.write(b'\0\0\n{"kind": 3}\n[]\n{"kind": "torn')
    assert Ledger(tmp_path).predict(learner()) == ledger.predict(learner())


def test_old_attempts_are_forgotten_on_disk_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in range(450):
        ledger.add(learner(), 4, ended(60 * MB if number < 350 else 20 * MB))
    assert memory(Ledger(tmp_path), learner()) == memory(ledger, learner()) == int(20 * MB * (1 + 0.25 / 10))
    assert 100 <= len((tmp_path / USAGE).read_bytes().splitlines()) <= 202
    assert [path.name for path in tmp_path.iterdir()] == [USAGE]


# --- what is rehearsed ----------------------------------------------------------------------------------------------

Pair = tuple[tuple[int, float], ...]
"""Memory and seconds of each step."""


def pair_of(name: str, pair: Pair, *, disk: int = 0) -> Job:
    def step(number: int, size: int, seconds: float) -> Step:
        lifetime = Lifetime.RESULT if number == len(pair) - 1 else Lifetime.SCRATCH
        return Step(
            name=f"s{number}",
            argv=(),
            signature="",
            writes=(Artifact(path=f"{name}/s{number}", lifetime=lifetime),),
            reads=(f"{name}/s{number - 1}",) if number else (),
            needs=Resources(memory_bytes=size, disk_bytes=disk),
            seconds=seconds,
        )

    return Job(id=name, title=name, steps=tuple(step(n, *s) for n, s in enumerate(pair)), is_pair=True)


def script_of(
    jobs: Sequence[Job], *, memory: int, threads: int = 8, disk: int = 1 << 40, workers: int | None = None
) -> Script:
    return Script(
        graph=build_graph(jobs),
        decisions=plan_graph(build_graph(jobs), Store(Path("none"), inspect)),
        predict=lambda step: Forecast(needs=step.needs, seconds=step.seconds),
        capacity=Resources(memory_bytes=memory, threads=threads, disk_bytes=disk),
        policy=Policy(budget=Budget(workers=workers)),
    )


def test_peaks_of_memory_and_disk() -> None:
    jobs = [pair_of(name, ((4, 1), (2, 1), (3, 1)), disk=10) for name in "ab"]
    both = _rehearse(script_of(jobs, memory=8))
    assert (both.seconds, both.peak_memory_bytes) == (3, 8)
    # At the end of the second steps the first scratch goes; results stay.
    assert both.peak_disk_bytes == 40
    one = _rehearse(script_of(jobs, memory=4))
    assert one.peak_memory_bytes <= 4
    assert one.seconds == 6


def test_disk_holds_pairs_back_until_older_ones_have_room_to_finish() -> None:
    jobs = [pair_of(name, ((1, 1), (1, 1)), disk=10) for name in "abc"]
    tight = _rehearse(script_of(jobs, memory=100, disk=45))
    assert tight.unfitting == ()
    assert tight.peak_disk_bytes <= 45
    assert tight.seconds > _rehearse(script_of(jobs, memory=100)).seconds


def test_what_never_fits_is_named_and_the_rest_goes_on() -> None:
    jobs = [pair_of("a", ((4, 1), (9, 1), (1, 1))), pair_of("b", ((4, 2),))]
    found = _rehearse(script_of(jobs, memory=8))
    assert found.unfitting == (("a", "s1"),)
    assert (found.seconds, ("a", "s2") in found.starts) == (2, False)


def test_workers_bound_the_rehearsal_too() -> None:
    jobs = [pair_of(name, ((1, 1), (1, 1))) for name in "abcd"]
    assert [_rehearse(script_of(jobs, memory=8, workers=n)).seconds for n in (1, 2, 4, None)] == [8, 4, 2, 2]


def test_without_times_the_order_is_oldest_first() -> None:
    jobs = [Job(id=n, title=n, steps=(Step(name="s", argv=(), signature="", writes=()),)) for n in "ab"]
    assert not find_order(script_of(jobs, memory=8))


def small_mix(seed: int) -> list[Pair]:
    chance = random.Random(seed)
    sizes, times = ((1, 2, 3, 4), (4, 6, 8, 9), (1, 2)), ((1, 2), (1, 2, 3), (1, 2, 4))
    return [tuple((chance.choice(s), chance.choice(t)) for s, t in zip(sizes, times, strict=True)) for _ in range(5)]


def shortest(pairs: Sequence[Pair], memory: int, threads: int, at_most: float) -> float:
    """The best possible time for steps of whole seconds, if it is below ``at_most``, else ``at_most``.

    Breadth first over how far each pair has come; a second passes from level to level. To start later than possible is
    tried too, because it may be better.
    """
    owners = [[step for step in pair for _ in range(int(step[1]))] for pair in pairs]
    firsts = [[True] + [a is not b for a, b in itertools.pairwise(owner)] for owner in owners]
    area = [list(itertools.accumulate((size for size, _ in reversed(owner)), initial=0))[::-1] for owner in owners]
    end = tuple(len(owner) for owner in owners)
    level, seen = {tuple(0 for _ in pairs)}, set()
    for now in range(int(at_most)):
        if end in level:
            return now
        following = set()
        for place in level:
            bound = max(
                sum(a[p] for a, p in zip(area, place, strict=True)) / memory,
                *(e - p for e, p in zip(end, place, strict=True)),
            )
            if now + bound < at_most:
                following |= set(_moves(place, owners, firsts, memory, threads))
        level = following - seen
        seen |= level
    return at_most


def _moves(
    place: tuple[int, ...], owners: list[list[tuple[int, float]]], firsts: list[list[bool]], memory: int, threads: int
) -> Iterator[tuple[int, ...]]:
    open_ = [n for n, p in enumerate(place) if p < len(owners[n])]
    runs = [n for n in open_ if not firsts[n][place[n]]]
    free = [n for n in open_ if firsts[n][place[n]]]
    room = memory - sum(owners[n][place[n]][0] for n in runs)
    for count in range(min(len(free), threads - len(runs)) + 1):
        for starting in itertools.combinations(free, count):
            if sum(owners[n][place[n]][0] for n in starting) <= room:
                moving = {*runs, *starting}
                yield tuple(p + (n in moving) for n, p in enumerate(place))


def test_the_search_for_the_best_possible_time() -> None:
    assert shortest([((2, 2),), ((2, 3),), ((1, 2),)], 3, 8, 99) == 5
    assert shortest([((1, 1), (1, 2)), ((1, 3),)], 2, 8, 99) == 3
    assert shortest([((1, 1), (1, 2)), ((1, 3),)], 2, 1, 99) == 6
    assert shortest([((1, 1), (1, 2)), ((1, 3),)], 2, 8, 2) == 2


@pytest.mark.parametrize("seed", range(10))
def test_the_order_that_is_found_is_near_the_best_possible(seed: int) -> None:
    pairs = small_mix(seed)
    script = script_of([pair_of(f"p{n}", pair) for n, pair in enumerate(pairs)], memory=10)
    seconds = _rehearse(script, find_order(script)).seconds
    assert seconds <= 1.10 * shortest(pairs, 10, 8, seconds)


# --- another resource -----------------------------------------------------------------------------------------


class OneGpu(LocalExecutor):
    """This machine, as if it had a GPU."""

    def limits(self) -> Resources:
        return replace(super().limits(), others={"gpus": 1})

    def capacity(self) -> Resources:
        return replace(super().capacity(), others={"gpus": 1})


def test_steps_that_need_the_only_gpu_run_one_at_a_time(tmp_path: Path) -> None:
    def job_on(name: str, gpus: int, does: str) -> Job:
        step = make_step("x", keeps=(f"{name}/x",), does=does)
        return Job(id=name, title=name, steps=(replace(step, needs=Resources(others={"gpus": gpus})),))

    alone = "mkdir ../gpu; while [ ! -e ../none/x ]; do sleep 0.02; done; rmdir ../gpu"  # fails beside another one
    bench = Bench(tmp_path / "runs")
    jobs = [*(job_on(name, 1, alone) for name in "abc"), job_on("none", 0, ""), job_on("big", 2, "")]
    *good, big = bench.run(*jobs, budget=Budget(threads=8), executor=OneGpu(Budget(threads=8)))
    assert {outcome.status for outcome in good} == {Status.DONE}
    assert (big.status, "big/x" in bench.executed) == (Status.FAILED, False)
    assert "needs 2 of gpus" in big.message
    granted = [event.granted for event in read_journal(bench.runs / "a" / "journal.jsonl") if event.granted]
    assert granted[0].amounts["gpus"] == 1


# --- removal --------------------------------------------------------------------------------------------------------


def test_removal_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go, freed = threading.Event(), []
    monkeypatch.setattr("topsar.schedule.cleanup.delete", lambda path, **_: may_go.wait(30) and path.unlink())
    (tmp_path / "x").write_text("four")
    remover = Remover(tmp_path)
    remover.remove(tmp_path / "x", freed.append)
    assert (not (tmp_path / "x").exists(), remover.is_busy, freed) == (True, True, [])
    assert not remover.finish(0.05)
    may_go.set()
    assert remover.finish(10)
    assert (remover.is_busy, freed) == (False, [4])


def test_removal_where_nothing_can_be_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(Path, "rename", refuse)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y").write_text("four")
    remover, freed = Remover(tmp_path), []
    remover.remove(tmp_path / "x", freed.append)
    remover.remove(tmp_path / "not there", freed.append)
    assert (freed, (tmp_path / "x").exists(), remover.finish(10)) == ([4], False, True)


def test_what_cannot_be_deleted_is_not_called_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, within: Path) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr("topsar.schedule.cleanup.delete", refuse)
    (tmp_path / "x").write_text("four")
    remover, freed = Remover(tmp_path), []
    remover.remove(tmp_path / "x", freed.append)
    assert wait_for(lambda: not remover.is_busy)
    assert remover.finish(10)
    assert (freed, len(list((tmp_path / TRASH).iterdir()))) == ([0], 1)


# --- real processes -------------------------------------------------------------------------------------------------


class Peak:
    """Most resident memory of the fake steps below this process, sampled by a thread; a context."""

    def __enter__(self) -> Peak:
        self.bytes, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.03):
            self.bytes = max(self.bytes, sum(self._resident(child) for child in psutil.Process().children()))

    @staticmethod
    def _resident(process: psutil.Process) -> int:
        try:
            return int(process.memory_info().rss) if "madvise" in " ".join(process.cmdline()) else 0
        except psutil.Error:
            return 0


def test_memory_is_never_overbooked(scheduling: ModuleType, tmp_path: Path) -> None:
    pairs = scheduling.mix(3, 8, unit=MB // 5, pace=0.15)
    jobs, budget = scheduling.jobs_of(pairs), 400 * MB
    watch = scheduling.Watch()
    started = time.monotonic()
    with Peak() as peak:
        outcomes = run_jobs(
            jobs,
            Store(tmp_path / "runs", scheduling.inspect),
            Policy(budget=Budget(memory_bytes=budget, threads=16)),
            observe=watch,
        )
    seconds = time.monotonic() - started
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert sum(event.status is Status.RUNNING for event in watch.events) == 3 * len(pairs)
    assert 0 < watch.peak_reserved <= budget
    assert 0 < peak.bytes <= 1.01 * budget  # what an interpreter takes is known to a percent
    script = script_of(jobs, memory=budget, threads=16)
    rehearsed = _rehearse(script, find_order(script)).seconds
    print(f"took {seconds:.2f} s, rehearsed {rehearsed:.2f} s, {peak.bytes / MB:.0f} MB at most")  # noqa: T201


def most_at_once(bench: Bench, first: int, last: int) -> int:
    """Of the steps that were started between two places in the order of starts, the most beside each other."""
    running: set[str] = set()
    started, most = 0, 0
    for event in bench.events:
        if event.status is Status.RUNNING:
            running.add(event.job)
            started += 1
            most = max(most, len(running)) if first <= started < last else most
        else:
            running.discard(event.job)
    return most


@pytest.mark.parametrize(("kind", "is_wider"), [(KIND, True), ("", False)])
def test_the_pool_gets_wider_as_it_learns(tmp_path: Path, kind: str, is_wider: bool) -> None:
    def lightweight(name: str) -> Job:
        step = make_step("x", keeps=(f"{name}/x",), does="sleep 0.3", memory=400 * MB)
        learning = Step(**{field: getattr(step, field) for field in step.__slots__} | {"kind": kind, "size": 1.0})
        return Job(id=name, title=name, steps=(learning,), is_pair=True)

    bench = Bench(tmp_path / "runs")
    bench.run(*map(lightweight, "abcdefghijkl"), budget=Budget(memory_bytes=800 * MB, threads=6))
    assert most_at_once(bench, 1, 3) == 2
    assert (most_at_once(bench, 3, 99) > 4) == is_wider
    # The next batch begins as wide as the last one ended.
    bench.run(*map(lightweight, "opqrst"), budget=Budget(memory_bytes=800 * MB, threads=6))
    assert most_at_once(bench, 1, 99) == (6 if is_wider else 2)
