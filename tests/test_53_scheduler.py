"""The scheduler in one run: order, failure, retry, limits, cleanup."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from fake_steps import Bench, chain, inspect, make_step
from topsar.errors import TopsarError
from topsar.schedule.evidence import Store
from topsar.schedule.executor import LocalExecutor
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import (
    Artifact,
    Budget,
    Command,
    Ended,
    Event,
    Job,
    Lifetime,
    Policy,
    Reason,
    Resources,
    Status,
    Step,
)
from topsar.schedule.journal import read_journal
from topsar.schedule.progress import Progress
from topsar.schedule.run import run_jobs
from topsar.schedule.stale import plan_graph


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "runs")


def job(name: str, *steps: object, is_pair: bool = True) -> Job:
    return Job(id=name, title=f"pair {name}", steps=steps, is_pair=is_pair)


def most_at_once(bench: Bench) -> int:
    running, most = set(), 0
    for event in bench.events:
        (running.add if event.status is Status.RUNNING else running.discard)((event.job, event.step))
        most = max(most, len(running))
    return most


# --- the graph ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([make_step("x", reads=("a/none",))], "reads 'a/none', which no step writes"),
        ([make_step("x", keeps=("a/f",)), make_step("y", keeps=("a/f",))], "written by two steps: a/x and a/y"),
        ([make_step("x", keeps=("a/f",)), make_step("y", keeps=("a/f/g",))], "'a/f/g' lies inside artifact 'a/f'"),
        ([make_step("x", keeps=("a/f",), reads=("a/g",)), make_step("y", keeps=("a/g",), reads=("a/f",))], "circle"),
        ([make_step("x"), make_step("x")], "a step twice: x"),
        ([make_step("../x")], "cannot be a file name"),
        ([make_step("x", keeps=("a",))], "is a job's folder"),
        *(
            ([make_step("x", keeps=(path,))], "not a plain path")
            for path in ("../f", "/f", "", ".", "a/..", "a/./f", ".lock", "a/journal.jsonl")
        ),
    ],
)
def test_what_is_no_graph_is_refused(bench: Bench, steps: list[object], message: str) -> None:
    with pytest.raises(TopsarError, match=message):
        bench.run(job("a", *steps))
    assert bench.executed == []


def test_keys_change_downstream_alone() -> None:
    old, new = (build_graph([chain(filter_signature=text)]).nodes for text in "12")
    same = {step for (_, step) in old if old["a", step].key == new["a", step].key}
    assert same == {"read", "form"}


def test_keys_follow_other_jobs() -> None:
    user = job("b", make_step("use", reads=("a/out/filtered",), keeps=("b/x",)))
    old, new = (build_graph([user, chain(filter_signature=text)]).nodes for text in "12")
    assert old["b", "use"].key != new["b", "use"].key


# --- running --------------------------------------------------------------------------------------------------------


def test_happy_path(bench: Bench) -> None:
    outcomes = bench.run(chain("a"), chain("b"))
    assert [(o.job, o.title, o.status, o.is_pair, o.message) for o in outcomes] == [
        ("a", "pair a", Status.DONE, True, ""),
        ("b", "pair b", Status.DONE, True, ""),
    ]
    assert [step for step in bench.executed if step.startswith("a/")] == ["a/read", "a/form", "a/filter", "a/unwrap"]
    assert (bench.runs / "a/out/unwrapped").read_text() == "read\nform\nfilter\nunwrap\n"
    done = [event for event in outcomes[0].events if event.status is Status.DONE]
    assert [event.step for event in done] == ["read", "form", "filter", "unwrap"]
    assert done[2].evidence == {
        "a/out/filtered": {"bytes": 17, "crc32": done[2].evidence["a/out/filtered"]["crc32"], "shape": [17]}
    }
    assert read_journal(bench.runs / "a" / "journal.jsonl") == outcomes[0].events


def test_a_job_waits_for_the_jobs_it_reads_from(bench: Bench) -> None:
    gone = {"d3": "[ -e ../d2/slc ] && [ ! -e ../d1/slc ]"}
    dates = [
        job(d, make_step("geocode", scratch=(f"{d}/slc",), does=gone.get(d, "")), is_pair=False)
        for d in ("d1", "d2", "d3")
    ]
    pairs = [
        job(f"p{a}{b}", make_step("form", reads=(f"d{a}/slc", f"d{b}/slc"), keeps=(f"p{a}{b}/x",)))
        for a, b in ((1, 2), (2, 3))
    ]
    outcomes = bench.run(*pairs, *dates, cleanup="scratch", budget=Budget(threads=1))
    assert {o.status for o in outcomes} == {Status.DONE}
    # The dates that the first pair needs come first, though the jobs are listed last.
    assert bench.executed == ["d1/geocode", "d2/geocode", "p12/form", "d3/geocode", "p23/form"]
    assert {event.job: event.freed_bytes for event in bench.events if event.freed_bytes} == {"d1": 8, "d2": 8, "d3": 8}


def test_of_two_branches_one_is_done_before_the_other_begins(bench: Bench) -> None:
    dates = [
        job(f"{d}{s}", make_step("geocode", scratch=(f"{d}{s}/slc",)), is_pair=False)
        for d in ("d1", "d2")
        for s in ("near", "far")
    ]
    swaths = [
        make_step(f"multiply_{s}", reads=(f"d1{s}/slc", f"d2{s}/slc"), scratch=(f"p/{s}",)) for s in ("near", "far")
    ]
    pair = job("p", *swaths, make_step("mosaic", reads=("p/near", "p/far"), keeps=("p/x",)))
    bench.run(*dates, pair, cleanup="scratch", budget=Budget(threads=1))
    near, far = ([f"d1{s}/geocode", f"d2{s}/geocode", f"p/multiply_{s}"] for s in ("near", "far"))
    assert bench.executed == [*near, *far, "p/mosaic"]


def test_thread_caps_reach_the_step(bench: Bench) -> None:
    does = "echo $OMP_NUM_THREADS $NUMBA_NUM_THREADS $GDAL_NUM_THREADS; pwd"
    bench.run(job("a", make_step("x", does=does, threads=2)), budget=Budget(threads=3))
    assert (bench.runs / "a" / "x.log").read_text().splitlines()[-2:] == ["2 2 2", str(bench.runs / "a")]


def test_a_long_chain_runs_in_order_and_leaves_no_scratch(bench: Bench) -> None:
    steps = [make_step(f"s{n}", scratch=(f"a/{n}",), reads=(f"a/{n - 1}",) if n else ()) for n in range(40)]
    assert bench.run(job("a", *steps), cleanup="scratch")[0].status is Status.DONE
    assert bench.executed == [f"a/s{n}" for n in range(40)]
    assert not [path for path in (bench.runs / "a").iterdir() if path.suffix not in (".log", ".jsonl")]


# --- failure --------------------------------------------------------------------------------------------------------


def test_a_failure_blocks_its_readers_and_nothing_else(bench: Bench) -> None:
    date = Job(
        id="d",
        title="geocoding of 20250406 IW2",
        steps=(make_step("geocode", scratch=("d/slc",), does="echo 'error: the DEM has holes' >&2; exit 65"),),
    )
    other = Job(id="e", title="geocoding of 20250418", steps=(make_step("geocode", scratch=("e/slc",)),))
    pair = job(
        "p",
        make_step("form", reads=("d/slc", "e/slc"), keeps=("p/x",)),
        make_step("end", reads=("p/x",), keeps=("p/y",)),
    )
    blocked, good, failed, unneeded = bench.run(pair, chain("a"), date, other, budget=Budget(threads=1))
    assert good.status is Status.DONE
    assert (failed.status, failed.message) == (Status.FAILED, "the DEM has holes")
    assert (blocked.status, blocked.message) == (Status.BLOCKED, "geocoding of 20250406 IW2 failed: the DEM has holes")
    assert bench.statuses("p") == {"form": Status.BLOCKED, "end": Status.BLOCKED}
    # What only the blocked pair would have read is not made.
    assert unneeded.status is Status.UNNEEDED
    assert "e/geocode" not in bench.executed


def test_whole_chains_of_scratch_for_a_blocked_pair_alone_are_given_up(bench: Bench) -> None:
    bad = job("d", make_step("geocode", scratch=("d/slc",), does="exit 65"), is_pair=False)
    names = ("read", "calibrate", "geocode")
    feeding = job(
        "e",
        *(
            make_step(name, scratch=(f"e/{name}",), reads=(f"e/{names[n - 1]}",) if n else ())
            for n, name in enumerate(names)
        ),
        is_pair=False,
    )
    pair = job("p", make_step("form", reads=("d/slc", "e/geocode"), keeps=("p/x",)))
    statuses = [outcome.status for outcome in bench.run(pair, bad, feeding, budget=Budget(threads=1))]
    assert statuses == [Status.BLOCKED, Status.FAILED, Status.UNNEEDED]
    assert bench.statuses("e") == dict.fromkeys(names, Status.UNNEEDED)
    assert bench.executed == ["d/geocode"]


def test_scratch_of_a_failed_reader_is_kept(bench: Bench) -> None:
    assert bench.run(chain(filter_does="exit 1"), cleanup="scratch")[0].status is Status.FAILED
    assert (bench.runs / "a/ifg").exists()
    assert not (bench.runs / "a/slc").exists()
    assert bench.run(chain(), cleanup="scratch")[0].status is Status.DONE
    assert bench.executed == ["a/filter", "a/unwrap"]


def flaky(code: int) -> str:
    """Fails at the first two attempts."""
    return f"n=$(cat tries || echo 0); echo $((n + 1)) > tries; [ $n -ge 2 ] || exit {code}"


def test_75_is_tried_again(bench: Bench) -> None:
    outcome = bench.run(job("a", make_step("x", keeps=("a/x",), does=flaky(75))), retries=2)[0]
    assert outcome.status is Status.DONE
    tries = [(event.status, event.attempt) for event in outcome.events if event.ended]
    assert tries == [(Status.WAITING, 1), (Status.WAITING, 2), (Status.DONE, 3)]


def test_retries_end(bench: Bench) -> None:
    outcome = bench.run(job("a", make_step("x", keeps=("a/x",), does=flaky(75))), retries=1)[0]
    assert (outcome.status, len(bench.executed)) == (Status.FAILED, 2)


@pytest.mark.parametrize("code", [65, 1])
def test_others_are_not_tried_again(bench: Bench, code: int) -> None:
    outcome = bench.run(job("a", make_step("x", keeps=("a/x",), does=flaky(code))))[0]
    assert (outcome.status, len(bench.executed)) == (Status.FAILED, 1)


def test_a_killed_step_is_tried_again(bench: Bench) -> None:
    does = "[ -e once ] || { touch once; kill -9 $$; }"
    assert bench.run(job("a", make_step("x", keeps=("a/x",), does=does)))[0].status is Status.DONE
    assert bench.executed == ["a/x", "a/x"]


class OnceKilled(LocalExecutor):
    """This machine, where the first command is killed for memory at ten times what was set aside for it."""

    def __init__(self) -> None:
        super().__init__()
        self.reserved: list[int] = []

    def submit(self, command: Command) -> Future[Ended]:
        self.reserved.append(command.needs.memory_bytes)
        if len(self.reserved) > 1:
            return super().submit(command)
        peak = 10 * command.needs.memory_bytes
        future: Future[Ended] = Future()
        future.set_result(Ended(reason=Reason.OUT_OF_MEMORY, exit_code=-9, peak_memory_bytes=peak, message="killed"))
        return future


def test_after_a_kill_for_memory_a_step_asks_for_more_than_it_was_seen_to_use(bench: Bench) -> None:
    executor = OnceKilled()
    outcome = bench.run(job("a", make_step("x", keeps=("a/x",), memory=4_000_000)), executor=executor)[0]
    assert outcome.status is Status.DONE
    assert executor.reserved[0] == 4_000_000
    assert executor.reserved[1] > 40_000_000


def test_out_of_memory_gets_more_memory_and_fewer_threads(bench: Bench) -> None:
    does = "echo $OMP_NUM_THREADS >> threads; [ -e once ] || { touch once; echo 'MemoryError: no'; exit 1; }"
    steps = (make_step("x", keeps=("a/x",), does=does, memory=60, threads=4),)
    side = make_step("side", keeps=("b/x",), memory=30, does="while [ ! -e ../a/x ]; do sleep 0.02; done; sleep 0.1")
    budget = Budget(threads=5, memory_bytes=100_000_000)
    assert bench.run(job("a", *steps), job("b", side), budget=budget)[0].status is Status.DONE
    assert (bench.runs / "a" / "threads").read_text().split() == ["4", "2"]


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("exit 0", "did not write a/x"),
        ("printf cut > x; exit 0", "a/x is not valid: x is truncated"),
    ],
)
def test_exit_code_0_is_not_success_without_evidence(bench: Bench, does: str, message: str) -> None:
    bench.run(job("a", make_step("x", keeps=("a/x",))))
    outcome = bench.run(job("a", make_step("x", keeps=("a/x",), does=does, signature="2")))[0]
    assert outcome.status is Status.FAILED
    assert message in outcome.message
    assert outcome.events[-1].ended
    assert outcome.events[-1].ended.reason is Reason.NO_EVIDENCE


def test_timeout(bench: Bench) -> None:
    outcome = bench.run(job("a", make_step("x", keeps=("a/x",), does="sleep 60", timeout_s=0.2)))[0]
    assert (outcome.status, outcome.message) == (Status.FAILED, "timed out after 0.2 s")
    assert len(bench.executed) == 1


def test_a_folder_that_cannot_be_used_fails_its_job_alone(bench: Bench) -> None:
    bench.runs.mkdir()
    (bench.runs / "a").write_text("a file is in the way")
    bad, good = bench.run(chain("a"), chain("b"))
    assert (bad.status, good.status) == (Status.FAILED, Status.DONE)
    assert "journal cannot be written" in bad.message


def test_link_out_of_the_runs_folder_fails_its_job_alone(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    bench.runs.mkdir()
    (bench.runs / "a").symlink_to(tmp_path / "elsewhere")
    bad, good = bench.run(chain("a"), chain("b"))
    assert (bad.status, good.status) == (Status.FAILED, Status.DONE)
    assert "outside the runs folder" in bad.message


def test_an_exception_of_the_observer_ends_everything(bench: Bench) -> None:
    def observe(event: Event) -> None:
        if event.step == "quick" and event.status is Status.DONE:
            raise ZeroDivisionError

    slow = job("a", make_step("slow", keeps=("a/x",), does="sleep 60"))
    quick = job("b", make_step("quick", keeps=("b/x",)))
    with pytest.raises(ZeroDivisionError):
        bench.run(slow, quick, observe=observe, budget=Budget(threads=2))
    assert "a/slow" in bench.executed
    assert not (bench.runs / "a/x").exists()


# --- limits ---------------------------------------------------------------------------------------------------------


def test_what_never_fits_is_refused_before_anything_starts(bench: Bench) -> None:
    big = job(
        "a", make_step("load", scratch=("a/s",)), make_step("big", reads=("a/s",), keeps=("a/x",), memory=8 * 10**9)
    )
    refused, good = bench.run(big, chain("b"), budget=Budget(memory_bytes=10**9))
    assert refused.status is Status.FAILED
    assert refused.message == "step 'big' needs 8.0 GB of memory, the budget is 1.0 GB"
    assert bench.events[0].status is Status.FAILED
    assert good.status is Status.DONE
    assert "a/load" not in bench.executed


def test_memory_is_not_overbooked(bench: Bench) -> None:
    jobs = [job(n, make_step("x", keeps=(f"{n}/x",), does="sleep 0.05", memory=400 * 10**6)) for n in "abcdef"]
    assert {o.status for o in bench.run(*jobs, budget=Budget(threads=8, memory_bytes=10**9))} == {Status.DONE}
    assert most_at_once(bench) == 2


def test_threads_are_not_overbooked(bench: Bench) -> None:
    jobs = [job(n, make_step("x", keeps=(f"{n}/x",), does="sleep 0.05", threads=4)) for n in "abcdef"]
    bench.run(*jobs, budget=Budget(threads=3))
    assert most_at_once(bench) == 3


def test_workers_bound_the_pairs_under_way(bench: Bench) -> None:
    date = job("d", make_step("geocode", scratch=("d/slc",)), is_pair=False)
    pairs = [
        job(
            n,
            make_step("one", reads=("d/slc",), scratch=(f"{n}/s",), does="sleep 0.03"),
            make_step("two", reads=(f"{n}/s",), keeps=(f"{n}/x",), does="sleep 0.03"),
        )
        for n in "efghi"
    ]
    bench.run(*pairs, date, budget=Budget(workers=2, threads=8))
    under_way, most = set(), 0
    for event in bench.events:
        if event.job != "d":
            is_over = event.step == "two" and event.status is Status.DONE
            (under_way.discard if is_over else under_way.add)(event.job)
            most = max(most, len(under_way))
    assert most == 2
    assert not under_way


# --- cleanup --------------------------------------------------------------------------------------------------------


def test_scratch_goes_when_its_last_reader_is_done(bench: Bench) -> None:
    outcome = bench.run(chain(), cleanup="scratch")[0]
    assert [path.name for path in sorted(bench.runs.glob("a/*")) if path.suffix != ".log"] == ["journal.jsonl", "out"]
    assert outcome.freed_bytes == len("read\n") + len("read\nform\n")
    freed = [(event.step, event.freed_bytes) for event in outcome.events if event.freed_bytes]
    assert freed == [("read", 5), ("form", 10)]


def test_scratch_stays_without_cleanup(bench: Bench) -> None:
    outcome = bench.run(chain(), cleanup="none")[0]
    assert (bench.runs / "a/slc").exists()
    assert outcome.freed_bytes == 0
    # A later run with cleanup removes it.
    assert bench.run(chain(), cleanup="scratch")[0].freed_bytes == 15
    assert not (bench.runs / "a/slc").exists()


def test_unknown_cleanup(bench: Bench) -> None:
    with pytest.raises(TopsarError, match="'everything'"):
        bench.run(chain(), cleanup="everything")


# --- other ----------------------------------------------------------------------------------------------------------


def test_journal_is_json_lines_in_order(bench: Bench) -> None:
    bench.run(chain())
    lines = [json.loads(line) for line in (bench.runs / "a" / "journal.jsonl").read_text().splitlines()]
    assert [(line["step"], line["status"]) for line in lines][:2] == [("read", "running"), ("read", "done")]
    assert lines[1]["ended"]["reason"] == "done"


def test_plan_changes_nothing(bench: Bench) -> None:
    plan = plan_graph(build_graph([chain()]), Store(bench.runs, inspect))
    assert {decision.why for decision in plan.values()} == {"not done yet"}
    assert not bench.runs.exists()


def test_signal_handlers_come_back(bench: Bench) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    bench.run(chain())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_runs_in_another_thread(bench: Bench) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(bench.run(chain())))
    thread.start()
    thread.join()
    assert [outcome.status for outcome in found] == [Status.DONE]


def test_steps_that_write_nothing_run_once(bench: Bench) -> None:
    check = Job(id="c", title="check", steps=(make_step("check"),))
    assert run_jobs([check], Store(bench.runs, inspect))[0].status is Status.DONE
    assert bench.run(check)[0].status is Status.CACHED


def test_folder_artifacts(bench: Bench) -> None:
    step = replace(
        make_step("x", does="mkdir -p folder/deep; echo 1 > folder/deep/one"),
        writes=(Artifact(path="a/folder", lifetime=Lifetime.SCRATCH),),
    )
    store = Store(bench.runs, lambda path: {"files": len(list(path.rglob("*")))})
    outcome = run_jobs([job("a", step)], store)[0]
    assert outcome.freed_bytes == 2
    assert not (bench.runs / "a" / "folder").exists()


# --- what odd input and odd surroundings must not do ------------------------------------------------------------------


def test_pairs_whose_scratch_does_not_fit_at_once_finish_one_after_the_other(bench: Bench) -> None:
    def writing(name: str, number: int, size: int, reads: tuple[str, ...] = ()) -> Step:
        path = f"{name}/{number}"
        step = make_step(
            f"s{number}", scratch=(path,) if number < 3 else (), keeps=(path,) if number == 3 else (), reads=reads
        )
        return replace(step, needs=Resources(disk_bytes=size))

    free = shutil.disk_usage(bench.runs.parent).free
    unit = free // 20
    jobs = [
        job(
            name,
            writing(name, 1, 3 * unit),
            writing(name, 2, 4 * unit, (f"{name}/1",)),
            writing(name, 3, unit, (f"{name}/2",)),
        )
        for name in "abcdef"
    ]
    outcomes = bench.run(*jobs, budget=Budget(threads=8), cleanup="scratch", patience_s=5)
    assert {outcome.status for outcome in outcomes} == {Status.DONE}, outcomes


def test_one_pair_at_a_time_though_it_reads_from_another(bench: Bench) -> None:
    first = job("a", make_step("one", keeps=("a/one",)), make_step("two", reads=("b/x", "a/one"), keeps=("a/two",)))
    second = job("b", make_step("x", keeps=("b/x",)))
    assert {o.status for o in bench.run(first, second, budget=Budget(workers=1))} == {Status.DONE}


def test_what_a_small_step_took_too_much_does_not_refuse_a_large_one(bench: Bench) -> None:
    small = replace(
        make_step("s", keeps=("a/x",), does="head -c 90000000 /dev/zero | tail -c 1", memory=1000), kind="k", size=1
    )
    bench.run(job("a", small))
    large = replace(make_step("s", keeps=("b/x",), memory=10**9), kind="k", size=100)
    assert bench.run(job("b", large), budget=Budget(memory_bytes=11 * 10**8))[0].status is Status.DONE


@pytest.mark.parametrize("argv", [(), ("true", "\0"), ("echo", "\udcff")])
def test_a_command_that_cannot_be_a_command_fails_its_own_step(bench: Bench, argv: tuple[str, ...]) -> None:
    odd = replace(make_step("odd"), argv=argv)
    outcomes = bench.run(
        job(
            "a",
            odd,
        ),
        chain("b"),
    )
    assert outcomes[1].status is Status.DONE
    assert outcomes[0].status is (Status.DONE if argv[:1] == ("echo",) else Status.FAILED)


def test_a_validator_that_breaks_fails_its_step(bench: Bench) -> None:
    def broken(path: Path) -> dict[str, object]:
        if path.parent.name == "a":
            raise ZeroDivisionError
        return inspect(path)

    bad, good = job("a", make_step("x", keeps=("a/x",))), job("b", make_step("x", keeps=("b/x",)))
    outcomes = run_jobs([bad, good], Store(bench.runs, broken), Policy(backoff_s=0.01))
    assert [outcome.status for outcome in outcomes] == [Status.FAILED, Status.DONE]


def test_a_link_in_place_of_the_trash_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").touch()
    bench.runs.mkdir()
    (bench.runs / ".trash").symlink_to(tmp_path / "outside")
    assert bench.run(chain(), cleanup="scratch")[0].status is Status.DONE
    assert (tmp_path / "outside" / "precious").exists()


def test_a_tree_deeper_than_the_stack_is_removed_or_left_but_ends_no_run(bench: Bench) -> None:
    deep = "p=../d/deep; mkdir -p $p; cd $p; for i in $(seq 1100); do mkdir x; cd x; done"
    step = replace(make_step("x", does=f"({deep})"), writes=(Artifact(path="d/deep", lifetime=Lifetime.SCRATCH),))
    outcome = run_jobs([job("d", step)], Store(bench.runs, lambda _: {}))[0]
    assert outcome.status is Status.DONE
    subprocess.run(["rm", "-rf", bench.runs], check=True)


def test_a_full_disk_fails_a_step_only_when_patience_is_over(bench: Bench) -> None:
    says = "echo 'No space left on device' >&2; exit 1"
    full = make_step("x", keeps=("a/x",), does=f"[ -e ../room ] || {{ {says}; }}")
    free = bench.when(lambda event: event.attempt > 2, (bench.runs / "room").touch)
    outcome = bench.run(job("a", full), retries=1, patience_s=60, observe=free)[0]
    assert outcome.status is Status.DONE
    assert max(event.attempt for event in outcome.events) > 2
    (bench.runs / "room").unlink()
    failed = bench.run(job("b", replace(full, writes=(Artifact(path="b/x"),))), retries=1, patience_s=0.3)[0]
    assert failed.status is Status.FAILED
    assert "GB free at" in failed.message


class Gone(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_watcher_that_has_gone_ends_no_run(bench: Bench) -> None:
    with Progress([chain()], stream=Gone()) as progress:
        assert bench.run(chain(), observe=progress)[0].status is Status.DONE


def test_steps_wait_for_memory_that_others_have(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [10**8]
    monkeypatch.setattr("topsar.schedule.executor.find_available_memory", lambda: there[0])
    free = bench.when(lambda event: event.note, lambda: there.append(there.pop() * 20))
    step = make_step("x", keeps=("a/x",), memory=10**9)
    outcome = bench.run(job("a", step), patience_s=60, observe=free)[0]
    assert outcome.status is Status.DONE
    assert [event.note for event in outcome.events if event.note] == [
        "waits: step 'x' needs 1.0 GB of memory, 100 MB are free"
    ]


def test_after_waiting_in_vain_a_step_is_tried_all_the_same_and_the_next_does_not_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topsar.schedule.executor.find_available_memory", lambda: 10**8)
    jobs = [job(name, make_step("x", keeps=(f"{name}/x",), memory=10**9)) for name in "abc"]
    assert {o.status for o in bench.run(*jobs, patience_s=0.5)} == {Status.DONE}
    assert [event.job for event in bench.events if event.note] == ["a"]


@pytest.mark.parametrize(
    ("instead", "message"),
    [("pass", "cannot be reached any more|was replaced by another one"), ("other", "was replaced by another one")],
)
def test_a_runs_folder_that_is_taken_away_is_one_message(bench: Bench, instead: str, message: str) -> None:
    runs, other = str(bench.runs), f"{bench.runs}.other"
    replace_it = f"os.rename({other!r}, {runs!r})" if instead == "other" else instead
    move = f"import os; os.mkdir({other!r}); os.rename({runs!r}, {runs + '.away'!r}); {replace_it}"  # at one go
    does = f'{sys.executable} -c "{move}"; sleep 0.3; exit 1'
    away = make_step("x", keeps=("a/x",), does=does)
    with pytest.raises(TopsarError, match=message):
        bench.run(job("a", away), job("b", make_step("y", does="sleep 30")))
