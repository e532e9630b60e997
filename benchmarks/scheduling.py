"""What the scheduler costs and what it gains. What the figures mean: README.md beside this."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import psutil

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from fault_jobs import Cgroup, NoCgroupError
from topsar.report.snapshot import take_snapshot
from topsar.report.terminal_status import format_status
from topsar.schedule.evidence import Store
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Artifact, Budget, Event, Job, Lifetime, Policy, Resources, Status, Step
from topsar.schedule.lock import find_holder
from topsar.schedule.record import read_record
from topsar.schedule.run import run_jobs
from topsar.schedule.stale import plan_graph

MB = 1_000_000
BUDGET = 4_000 * MB
THREADS = 16
ALLOWANCE = 400 * MB
"""Beyond the budget, for the scheduler itself, its guard and the page cache."""

SIZES = ((200, 400, 600, 800), (800, 1200, 1600, 1900), (200, 300, 400))
"""MB of the first, second and third step of a pair."""
TIMES = ((1.0, 1.5, 2.0), (1.0, 2.0, 3.0), (2.0, 3.0, 5.0))
"""Seconds of the first, second and third step of a pair."""

_TAKE = """import mmap, sys, time
size, seconds, path = sys.argv[1:]
until = time.monotonic() + float(seconds)
memory = mmap.mmap(-1, max(4096, int(size)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
memory[::4096] = bytes((len(memory) + 4095) // 4096)
time.sleep(max(0.0, until - time.monotonic()))
with open(path, "w") as file:
    file.write("taken\\n")
"""
"""Large pages, because touching gigabytes in small ones would take as long as the step."""
_RESIDENT = "print(int(open('/proc/self/statm').read().split()[1]))"

Pair = tuple[tuple[int, float], ...]
"""Bytes and seconds of each step."""


def mix(seed: int, pairs: int, *, unit: int = MB, pace: float = 1.0) -> list[Pair]:
    """A mix of pairs of three steps that differ in memory and time."""
    chance = random.Random(seed)
    return [
        tuple((chance.choice(s) * unit, chance.choice(t) * pace) for s, t in zip(SIZES, TIMES, strict=True))
        for _ in range(pairs)
    ]


def jobs_of(pairs: Sequence[Pair], *, kind: str = "", over: int = 1) -> list[Job]:
    """The pairs as jobs whose steps really take that memory and time; their table says ``over`` times the memory."""
    empty = interpreter_bytes()

    def step(name: str, number: int, size: int, seconds: float) -> Step:
        path, before = f"{name}/s{number}", (f"{name}/s{number - 1}",) if number else ()
        argv = (sys.executable, "-I", "-S", "-c", _TAKE, str(max(0, size - empty)), str(seconds), f"s{number}")
        return Step(
            name=f"s{number}",
            argv=argv,
            signature="1",
            writes=(Artifact(path=path, lifetime=Lifetime.RESULT),),
            reads=before,
            needs=Resources(memory_bytes=size * over),
            seconds=seconds,
            kind=kind,
            size=1.0,
        )

    return [
        Job(
            id=f"p{n:02d}",
            title=f"p{n:02d}",
            steps=tuple(step(f"p{n:02d}", i, *s) for i, s in enumerate(pair)),
            is_pair=True,
        )
        for n, pair in enumerate(pairs)
    ]


def interpreter_bytes() -> int:
    """What a step takes before it takes anything, rounded up to a MB."""
    argv = (sys.executable, "-I", "-S", "-c", _RESIDENT)
    pages = int(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)
    return (pages * os.sysconf("SC_PAGE_SIZE") // MB + 1) * MB


def best_seconds(pairs: Sequence[Pair], budget: int, threads: int, limit_s: float = 20.0) -> tuple[float, str]:
    """The best possible makespan, or, without OR-Tools, a bound below it; and which of the two it is."""
    steps = [step for pair in pairs for step in pair]
    area = sum(size * seconds for size, seconds in steps) / budget
    bound = max(area, sum(s for _, s in steps) / threads, *(sum(s for _, s in pair) for pair in pairs))
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        return bound, "bound"
    model, horizon, ticks = cp_model.CpModel(), sum(round(s * 100) for _, s in steps), 100
    last, intervals = model.new_int_var(0, horizon, ""), []
    for pair in pairs:
        end: Any = 0
        for _, seconds in pair:
            start = model.new_int_var(0, horizon, "")
            model.add(start >= end)
            end = start + round(seconds * ticks)
            intervals.append(model.new_fixed_size_interval_var(start, round(seconds * ticks), ""))
        model.add(last >= end)
    model.add_cumulative(intervals, [size for size, _ in steps], budget)
    model.add_cumulative(intervals, [1] * len(steps), threads)
    model.minimize(last)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    status = solver.solve(model)
    is_proven = status == cp_model.OPTIMAL
    return (
        solver.objective_value / ticks,
        "optimum" if is_proven else f"best found, none is below {solver.best_objective_bound / ticks:.2f} s",
    )


def inspect(path: Path) -> dict[str, Any]:
    """Anything is valid."""
    return {"bytes": path.stat().st_size}


# --- overhead -------------------------------------------------------------------------------------------------------


def show_overhead(steps: int = 300, repeats: int = 5) -> None:
    """Milliseconds per step of next to nothing, beside a bare subprocess."""
    free = [Job(id="free", title="free", steps=tuple(_step(f"s{n}", ("true",)) for n in range(steps)))]
    names = [f"s{n}" for n in range(steps)]
    chain = [
        Job(
            id="chain",
            title="chain",
            steps=tuple(
                _step(name, ("touch", name), writes=f"chain/{name}", reads=f"chain/{before}" if before else "")
                for before, name in zip(["", *names[:-1]], names, strict=True)
            ),
        )
    ]
    bare = _milliseconds(lambda: [subprocess.run(["true"], check=True) for _ in range(steps)], steps, repeats)
    print(f"\nOverhead: milliseconds per step, median of {repeats} runs of {steps} steps")
    print(f"  {'subprocess.run, one after the other':<44}{bare:8.2f}")
    for title, jobs, threads in (
        ("true, on all cores", free, None),
        ("true, on one core", free, 1),
        ("touch, each after the one before", chain, None),
    ):
        each = _milliseconds(lambda jobs=jobs, threads=threads: _run_afresh(jobs, threads), steps, repeats)
        print(f"  {title:<44}{each:8.2f}   {each / bare:.1f} times a bare subprocess", flush=True)


def _step(name: str, argv: tuple[str, ...], *, writes: str = "", reads: str = "") -> Step:
    artifacts = (Artifact(path=writes),) if writes else ()
    return Step(name=name, argv=argv, signature="1", writes=artifacts, reads=(reads,) if reads else ())


def _milliseconds(call: Callable[[], object], steps: int, repeats: int) -> float:
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1e3 / steps)
    return median(found)


def _run_afresh(jobs: list[Job], threads: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_jobs(jobs, Store(Path(folder), inspect), Policy(budget=Budget(threads=threads)))
        assert {outcome.status for outcome in outcomes} == {Status.DONE}


# --- many steps -----------------------------------------------------------------------------------------------------


def show_many(pairs: int = 2500) -> None:
    """Thousands of steps of ``true``: the whole, the status meanwhile, the journals, and planning again."""
    steps = 4 * pairs
    with tempfile.TemporaryDirectory() as folder:
        runs, looks, status = Path(folder) / "runs", [], ""
        started = time.perf_counter()
        with _start_inside("many", {"runs": str(runs), "pairs": pairs}) as process:
            while process.poll() is None:
                time.sleep(3.0)
                took, status = _look(runs)
                looks.append(took)
            answer = json.loads(process.communicate()[0])
        total = time.perf_counter() - started
        after, status = _look(runs)
        plan = _time_call(lambda: plan_graph(build_graph(_make_many(pairs)), Store(runs, inspect)))
        again = _time_call(lambda: run_jobs(_make_many(pairs), Store(runs, inspect)))
        journals = sum(path.stat().st_size for path in runs.glob("*/journal.jsonl"))
        record = (runs / "record.jsonl").stat().st_size
    print(f"\nMany: {steps} steps of true in {pairs} jobs")
    print(
        f"  run: {answer['seconds']:.1f} s, {answer['seconds'] * 1e3 / steps:.2f} ms per step; with start {total:.1f} s"
    )
    print(f"  highest memory of the scheduler: {answer['resident'] / MB:.0f} MB")
    print(f"  status while it runs: median {median(looks):.2f} s, at most {max(looks):.2f} s; after: {after:.2f} s,")
    print(f"    {len(status.splitlines())} lines")
    print(f"  to plan again: {plan:.2f} s; to run again, all cached: {again:.2f} s")
    print(f"  journals {journals / MB:.1f} MB, record {record / MB:.1f} MB")


def _make_many(pairs: int) -> list[Job]:
    steps = tuple(_step(f"s{n}", ("true",)) for n in range(4))
    return [Job(id=f"p{n:05d}", title=f"pair {n}", steps=steps, is_pair=True) for n in range(pairs)]


def _look(runs: Path) -> tuple[float, str]:
    """Seconds to see how the run stands, and what is said."""
    started = time.perf_counter()
    holder, record = find_holder(runs), read_record(runs)
    text = format_status(take_snapshot(record, holder, time.time())) if record else ""
    return time.perf_counter() - started, text


def _time_call(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


# --- a mix on a budget of memory ------------------------------------------------------------------------------------


def show_mix(seed: int, count: int = 12) -> None:
    """Pairs that together want far more memory than there is: this scheduler, fixed pools, and what is possible."""
    pairs = mix(seed, count)
    sizes = [size for pair in pairs for size, _ in pair]
    best, what = best_seconds(pairs, BUDGET, THREADS)
    print(
        f"\nMix: {count} pairs of three steps, {sum(s for p in pairs for _, s in p):.0f} s of steps of "
        f"{min(sizes) / MB:.0f} to {max(sizes) / MB:.0f} MB, on {BUDGET / MB:.0f} MB"
    )
    print(f"  best possible: {best:.2f} s ({what})")
    print(f"  {'':<40}{'seconds':>9}{'pairs done':>12}{'killed':>8}{'peak':>11}{'reserved':>11}{'to best':>9}")
    worst, average = BUDGET // max(sizes), BUDGET * len(sizes) // sum(sizes)
    ways = {
        "topsar": 0,
        f"{worst} workers, so that the worst fits": worst,
        f"{average} workers, for the average": average,
    }
    seconds: dict[str, float] = {}
    for title, workers in ways.items():
        _warm(BUDGET + ALLOWANCE)
        found = _in_cgroup({"seed": seed, "count": count, "workers": workers})
        seconds[title] = found["seconds"]
        reserved = f"{found['reserved'] / MB:8.0f} MB" if found["reserved"] else "-"
        print(
            f"  {title:<40}{found['seconds']:>9.2f}{found['done']:>12}{found['killed']:>8}{found['peak'] / MB:>8.0f} MB"
            f"{reserved:>11}{found['seconds'] / best:>9.3f}",
            flush=True,
        )
        if found["took"]:
            steps = iter(found["took"])
            real = [tuple((size, next(steps)) for size, _ in pair) for pair in pairs]
            possible, what = best_seconds(real, BUDGET, THREADS)
            print(
                f"    its steps took {sum(s for p in real for _, s in p):.0f} s; for these times the best possible is"
            )
            print(f"    {possible:.2f} s ({what}): it took {found['seconds'] / possible:.3f} times that", flush=True)
    ours, *others = seconds.values()
    print(
        "  time of the fixed pools, as a multiple of topsar's: " + ", ".join(f"{other / ours:.2f}" for other in others)
    )


def _warm(size: int) -> None:
    """Touch as much memory once: a virtual machine may have to ask its host for it, which takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-I", "-S", "-c", _TAKE, str(size), "0", f"{folder}/x"], check=True)


def _in_cgroup(options: dict[str, Any]) -> dict[str, Any]:
    """Run a mix in a process of its own, in a cgroup where one can be made; peak is of the steps alone."""
    with tempfile.TemporaryDirectory() as folder:
        options = options | {"runs": folder}
        try:
            with Cgroup(BUDGET + ALLOWANCE) as group:
                with _start_inside("mix", options, group.argv) as process:
                    found = json.loads(process.communicate()[0])
                return found | {"peak": group.peak_bytes - found["resident"], "killed": group.oom_kills}
        except NoCgroupError as exc:
            print(f"  ({exc}: peak is sampled, and nothing limits a pool)")
            with _start_inside("mix", options) as process:
                peak = _watch(process)
                return json.loads(process.communicate()[0]) | {"peak": peak}


def _watch(process: subprocess.Popen[str]) -> int:
    peak, root = 0, psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, sum(_resident(child) for child in root.children(recursive=True)))
        time.sleep(0.05)
    return peak


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _run_mix(options: dict[str, Any]) -> dict[str, Any]:
    jobs, runs, workers = jobs_of(mix(options["seed"], options["count"])), Path(options["runs"]), options["workers"]
    if workers:
        return _run_pool(jobs, runs, workers)
    watch = Watch()
    started = time.perf_counter()
    outcomes = run_jobs(
        jobs, Store(runs, inspect), Policy(budget=Budget(memory_bytes=BUDGET, threads=THREADS)), observe=watch
    )
    seconds = time.perf_counter() - started
    killed = sum(event.status is Status.WAITING for event in watch.events)
    done = sum(outcome.status is Status.DONE for outcome in outcomes)
    ends = {(e.job, e.step): e.ended.seconds for e in watch.events if e.ended}
    took = [ends[job.id, step.name] for job in jobs for step in job.steps]
    return {"seconds": seconds, "done": done, "killed": killed, "reserved": watch.peak_reserved, "took": took}


def _run_pool(jobs: Sequence[Job], runs: Path, workers: int) -> dict[str, Any]:
    """A fixed pool of whole pairs; a pair whose step is killed is lost."""

    def run_pair(job: Job) -> int:
        (runs / job.id).mkdir()
        for step in job.steps:
            code = subprocess.run(step.argv, cwd=runs / job.id).returncode
            if code:
                return code
        return 0

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as threads:
        codes = list(threads.map(run_pair, jobs))
    return {
        "seconds": time.perf_counter() - started,
        "done": codes.count(0),
        "killed": len(codes) - codes.count(0),
        "reserved": 0,
        "took": [],
    }


class Watch:
    """An observer that adds up what is reserved and counts what runs."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._running: dict[tuple[str, str], int] = {}
        self._started = time.monotonic()
        self.peak_reserved = 0
        self.widths: list[tuple[float, int]] = []

    def __call__(self, event: Event) -> None:
        """Note an event."""
        self.events.append(event)
        self._running.pop((event.job, event.step), None)
        if event.status is Status.RUNNING and event.granted:
            self._running[event.job, event.step] = event.granted.memory_bytes
        self.peak_reserved = max(self.peak_reserved, sum(self._running.values()))
        self.widths.append((time.monotonic() - self._started, len(self._running)))


# --- learning -------------------------------------------------------------------------------------------------------


def show_learning(count: int = 24) -> None:
    """Equal steps whose table says four times what they take: how wide the pool runs with and without learning."""
    print(f"\nLearning: {count} steps of 1 s and 100 MB, said to take 400 MB, on 800 MB")
    seconds = {}
    for title, kind in (("learning", "benchmark 1 take"), ("by the table", "")):
        watch = Watch()
        with tempfile.TemporaryDirectory() as folder:
            budget = Budget(memory_bytes=800 * MB, threads=THREADS)
            jobs = jobs_of([((100 * MB, 1.0),)] * count, kind=kind, over=4)
            seconds[title] = _time_call(
                lambda: run_jobs(jobs, Store(Path(folder), inspect), Policy(budget=budget), observe=watch)  # noqa: B023
            )
        print(f"  {title:<14}{seconds[title]:6.2f} s, most at once in each second: {_widths(watch)}", flush=True)
    print(f"  the table's time, as a multiple of learning's: {seconds['by the table'] / seconds['learning']:.2f}")


def _widths(watch: Watch) -> str:
    widest: dict[int, int] = {}
    for at, width in watch.widths:
        widest[int(at)] = max(width, widest.get(int(at), 0))
    return " ".join(str(width) for width in widest.values())


# --- all of it ------------------------------------------------------------------------------------------------------


def _start_inside(
    part: str, options: dict[str, Any], wrap: Callable[..., Sequence[str]] = lambda *argv: argv
) -> subprocess.Popen[str]:
    """Start a part of a benchmark in a process of its own."""
    argv = wrap(sys.executable, __file__, "--inside", part, json.dumps(options))
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def _be_inside(part: str, options: dict[str, Any]) -> None:
    if part == "mix":
        found = _run_mix(options)
    else:
        runs = Path(options["runs"])
        found = {"seconds": _time_call(lambda: run_jobs(_make_many(options["pairs"]), Store(runs, inspect)))}
    print(json.dumps(found | {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def main() -> None:
    """Measure and print."""
    args = _parse()
    if args.inside:
        _be_inside(args.inside[0], json.loads(args.inside[1]))
        return
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    parts: dict[str, Callable[[], None]] = {
        "overhead": show_overhead,
        "mix": lambda: show_mix(args.seed),
        "learning": show_learning,
        "many": lambda: show_many(args.pairs),
    }
    for name in args.only or parts:
        parts[name]()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=("overhead", "mix", "learning", "many"), help="parts [all]")
    parser.add_argument("--pairs", type=int, default=2500, help="of four steps each, in the part `many` [2500]")
    parser.add_argument("--seed", type=int, default=0, help="of the mix [0]")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
