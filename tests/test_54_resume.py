"""Starting again: after a change, a loss, an interruption or a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fake_steps import Bench, chain, inspect, make_step, wait_for
from topsar.schedule.evidence import Store
from topsar.schedule.graph import build_graph
from topsar.schedule.jobs import Job, Status
from topsar.schedule.journal import read_journal
from topsar.schedule.stale import plan_graph

ALL = ["a/read", "a/form", "a/filter", "a/unwrap"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "runs")


def test_nothing_is_run_twice(bench: Bench) -> None:
    bench.run(chain())
    outcome = bench.run(chain())[0]
    assert outcome.status is Status.CACHED
    assert bench.executed == []
    assert bench.statuses() == {
        "read": Status.UNNEEDED,
        "form": Status.UNNEEDED,
        "filter": Status.CACHED,
        "unwrap": Status.CACHED,
    }
    # What the earlier run measured is still told, and the journal does not grow.
    assert all(event.ended and event.ended.seconds > 0 for event in outcome.events)
    assert len(read_journal(bench.runs / "a/journal.jsonl")) == 8


@pytest.mark.parametrize("cleanup", ["none", "scratch"])
def test_a_changed_option_reruns_downstream_and_the_scratch_it_needs(bench: Bench, cleanup: str) -> None:
    bench.run(chain(), cleanup=cleanup)
    bench.run(chain(filter_signature="2"), cleanup=cleanup)
    assert bench.executed == (ALL if cleanup == "scratch" else ["a/filter", "a/unwrap"])
    bench.run(chain(filter_signature="2"), cleanup=cleanup)
    assert bench.executed == []


@pytest.mark.parametrize(
    ("harm", "executed"),
    [
        (lambda out: (out / "unwrapped").unlink(), ["a/unwrap"]),
        (lambda out: (out / "unwrapped").write_text("rea"), ["a/unwrap"]),
        (lambda out: (out / "unwrapped").write_text("other\n"), ["a/unwrap"]),
        (lambda out: (out / "filtered").unlink(), ["a/read", "a/form", "a/filter"]),
    ],
)
def test_lost_outputs_rerun_what_is_needed(bench: Bench, harm: object, executed: list[str]) -> None:
    bench.run(chain(), cleanup="scratch")
    before = {path.name: path.read_text() for path in (bench.runs / "a/out").iterdir()}
    harm(bench.runs / "a/out")
    assert bench.run(chain(), cleanup="scratch")[0].status is Status.DONE
    assert bench.executed == executed
    assert {path.name: path.read_text() for path in (bench.runs / "a/out").iterdir()} == before


def test_damaged_scratch_is_made_again_only_when_it_is_read(bench: Bench) -> None:
    bench.run(chain())
    (bench.runs / "a/ifg").write_text("cut")
    bench.run(chain())
    assert bench.executed == []
    bench.run(chain(filter_signature="2"))
    assert bench.executed == ["a/form", "a/filter", "a/unwrap"]


def test_shared_scratch_is_made_again_for_a_new_pair(bench: Bench) -> None:
    date = Job(id="d", title="date", steps=(make_step("geocode", scratch=("d/slc",)),))

    def pair(name: str) -> Job:
        step = make_step("form", reads=("d/slc",), keeps=(f"{name}/x",))
        return Job(id=name, title=name, steps=(step,), is_pair=True)

    bench.run(pair("p"), date, cleanup="scratch")
    bench.run(pair("p"), pair("q"), date, cleanup="scratch")
    assert bench.executed == ["d/geocode", "q/form"]
    assert not (bench.runs / "d/slc").exists()


def test_plan_says_why(bench: Bench) -> None:
    bench.run(chain(), cleanup="scratch")
    (bench.runs / "a/out/filtered").unlink()
    plan = plan_graph(build_graph([chain()]), Store(bench.runs, inspect))
    assert {step: decision.why for (_, step), decision in plan.items()} == {
        "read": "a/form needs it, and a/slc is gone",
        "form": "a/filter needs it, and a/ifg is gone",
        "filter": "a/out/filtered is gone",
        "unwrap": "",
    }
    plan = plan_graph(build_graph([chain(filter_signature="2")]), Store(bench.runs, inspect))
    assert plan["a", "unwrap"].why == "options or inputs changed"


def test_a_failed_step_is_tried_again_in_the_next_run(bench: Bench) -> None:
    bench.run(chain(filter_does="exit 65"))
    assert bench.run(chain())[0].status is Status.DONE
    assert bench.executed == ["a/filter", "a/unwrap"]


# --- the scheduler itself is ended ----------------------------------------------------------------------------------

SCHEDULER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fake_steps import inspect, make_step
from topsar.schedule.jobs import Job
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Budget, Policy
from topsar.schedule.run import run_jobs
os.environ["TEST_RUN"] = sys.argv[1]
slow = "trap '' HUP; (setsid sleep 60) & sleep 60 & [ -e ../go ] || { touch started; sleep 60; }"
jobs = [
    Job(id=n, title=n, is_pair=True, steps=(
        make_step("first", keeps=(n + "/first",)),
        make_step("slow", reads=(n + "/first",), keeps=(n + "/slow",), does=slow),
    ))
    for n in "ab"
]
outcomes = run_jobs(jobs, Store(Path(sys.argv[1]), inspect), Policy(budget=Budget(threads=2)))
print(*(outcome.status.value for outcome in outcomes))
"""


def start(runs: Path, on_hangup: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen[str]:
    """Start a scheduler; what it does on a hangup does not depend on whether these tests run under ``nohup``."""
    before = signal.signal(signal.SIGHUP, on_hangup)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", SCHEDULER, str(runs), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGHUP, before)


def living(runs: Path) -> int:
    """How many processes, started below a scheduler on this folder, are alive."""
    sought = f"TEST_RUN={runs}".encode()
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += sought in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
    return found


def under_way(runs: Path) -> bool:
    return (runs / "a/started").exists() and (runs / "b/started").exists()


def check_resume(runs: Path) -> None:
    (runs / "go").touch()
    executed = runs / ".executed"
    executed.unlink()
    with start(runs) as second:
        assert second.communicate(timeout=20)[0].split() == ["done", "done"]
    assert sorted(executed.read_text().split()) == ["a/slow", "b/slow"]
    assert living(runs) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_and_the_next_start_resumes(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as scheduler:
        assert wait_for(lambda: under_way(tmp_path))
        assert wait_for(lambda: living(tmp_path) >= 6)
        scheduler.send_signal(number)
        assert wait_for(lambda: living(tmp_path) == 0, 10)
        # The scheduler itself still has to write its journals, which a busy disk may delay.
        assert scheduler.communicate(timeout=60)[0].split() == ["interrupted", "interrupted"]
    assert living(tmp_path) == 0
    assert read_journal(tmp_path / "a/journal.jsonl")[-1].status is Status.INTERRUPTED
    check_resume(tmp_path)


def test_a_killed_scheduler_leaves_nobody_and_the_next_start_resumes(tmp_path: Path) -> None:
    with start(tmp_path) as scheduler:
        assert wait_for(lambda: under_way(tmp_path))
        scheduler.kill()
    assert wait_for(lambda: living(tmp_path) == 0, 3)
    assert read_journal(tmp_path / "a/journal.jsonl")[-1].status is Status.RUNNING
    check_resume(tmp_path)


def test_scheduler_and_guard_killed_at_once(tmp_path: Path) -> None:
    with start(tmp_path) as scheduler:
        assert wait_for(lambda: under_way(tmp_path))
        children = Path(f"/proc/{scheduler.pid}/task")
        pids = {int(p) for t in children.iterdir() for p in (t / "children").read_text().split()}
        guards = [pid for pid in pids if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(guards) == 1
        os.kill(guards[0], signal.SIGSTOP)
        scheduler.kill()
        os.kill(guards[0], signal.SIGKILL)
    assert living(tmp_path) > 0
    check_resume(tmp_path)


def test_a_nohup_scheduler_ignores_hangups(tmp_path: Path) -> None:
    scheduler = start(tmp_path, signal.SIG_IGN)
    with scheduler:
        assert wait_for(lambda: under_way(tmp_path))
        scheduler.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            scheduler.wait(0.5)
        scheduler.send_signal(signal.SIGINT)
        scheduler.communicate(timeout=60)
    assert living(tmp_path) == 0
