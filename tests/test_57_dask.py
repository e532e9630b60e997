"""Steps on a real Dask scheduler with real worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from fake_steps import Bench, chain, inspect, make_step, wait_for
from topsar.errors import TopsarError
from topsar.schedule.dask.executor import DaskExecutor
from topsar.schedule.evidence import Store
from topsar.schedule.guard import find_marked
from topsar.schedule.jobs import Budget, Command, Ended, Job, Outcome, Reason, Resources, Status
from topsar.schedule.journal import read_journal
from topsar.schedule.lock import LOCK, hold_runs
from topsar.schedule.run import run_jobs

WORKER_BYTES = 1_000_000_000
WORKER_CORES = 2


class Cluster:
    """A ``dask scheduler``, and as many ``dask worker`` as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--scheduler-file", str(file), "--no-dashboard")
        assert wait_for(lambda: file.exists() and file.read_text().endswith("}"), 30)
        self.address = json.loads(file.read_text())["address"]

    def scale(self, count: int) -> str:
        """Have so many living workers; return the scheduler's address."""
        for worker in [worker for worker in self.workers if worker.poll() is not None]:
            self.workers.remove(worker)
        while len(self.workers) > count:
            self.end(self.workers.pop(), signal.SIGKILL)
        while len(self.workers) < count:
            size = ["--nthreads", str(WORKER_CORES), "--memory-limit", str(WORKER_BYTES), "--no-nanny"]
            place = ["--host", "127.0.0.1", "--local-directory", str(self.folder), "--no-dashboard"]
            self.workers.append(self._start("dask_worker", self.address, *size, *place))
        return self.address

    def end(self, worker: subprocess.Popen[bytes], number: int) -> None:
        worker.send_signal(number)
        worker.send_signal(signal.SIGCONT)
        worker.wait(20)

    def close(self) -> None:
        self.scale(0)
        self.end(self.scheduler, signal.SIGKILL)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            argv = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
            return subprocess.Popen(argv, cwd=self.folder, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


class DaskBench(Bench):
    """Runs jobs by Dask; remembers the marks of its runs."""

    def run_by(self, address: str, *jobs: Job, workers: int = 2, **rest: Any) -> tuple[Outcome, ...]:
        with hold_runs(self.runs) as self.mark:
            executor = DaskExecutor(address, runs=self.runs, mark=self.mark, **rest)
            assert wait_for(lambda: executor.capacity().threads == workers * WORKER_CORES, 20)
            return self.run(*jobs, mark=self.mark, executor=executor)


@pytest.fixture
def bench(tmp_path: Path) -> DaskBench:
    return DaskBench(tmp_path / "runs")


def sleeper(folder: Path, name: str = "sleep", memory: int = 0) -> Command:
    """Sleeps, and has a grandchild in a session of its own that does."""
    script = f"setsid sleep 60 & sleep 60 & touch {folder}/{name}; wait"
    needs = Resources(memory_bytes=memory)
    return Command(argv=("sh", "-c", script), cwd=folder, log=folder / "log", needs=needs, env={"TOPSAR_MARK": ""})


def submit_sleeper(executor: DaskExecutor, folder: Path, name: str = "sleep", memory: int = 0) -> Future[Ended]:
    future = executor.submit(sleeper(folder, name, memory))
    assert wait_for((folder / name).exists)
    return future


# --- connecting --------------------------------------------------------------------------------------------------


def refusal(address: str, runs: Path, mark: str, **rest: Any) -> str:
    with pytest.raises(TopsarError) as caught:
        DaskExecutor(address, runs=runs, mark=mark, **rest)
    return caught.value.message


def test_an_address_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with hold_runs(tmp_path) as mark:
        for address in ("tcp://127.0.0.1:1", "nonsense://x"):
            assert f"no Dask scheduler answers at {address}" in refusal(address, tmp_path, mark)
    assert not [thread for thread in set(threading.enumerate()) - before if "loop" in thread.name.lower()]


def test_a_cluster_without_workers_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    with hold_runs(tmp_path) as mark:
        message = refusal(cluster.scale(0), tmp_path, mark, patience_s=0.5)
    assert "no worker; waited 0.5 s" in message


def test_workers_of_another_version_or_without_the_folder_are_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = cluster.scale(2)
    with hold_runs(tmp_path) as mark:
        holder = (tmp_path / LOCK).read_text()
        (tmp_path / LOCK).write_text(holder.replace(mark, "another"))
        assert f"does not see the runs folder {tmp_path}" in refusal(address, tmp_path, mark)
        monkeypatch.setattr("topsar.schedule.dask.executor.__version__", "99")
        assert "expected topsar 99" in refusal(address, tmp_path, mark)
    assert not (tmp_path / ".dask").exists()


# --- running -----------------------------------------------------------------------------------------------------


def test_jobs_end_as_they_do_here(cluster: Cluster, bench: DaskBench, tmp_path: Path) -> None:
    local = Bench(tmp_path / "local")
    jobs = (chain("a"), chain("b"), Job(id="c", title="c", steps=(make_step("bad", does="exit 65"),)))
    before = set(threading.enumerate())
    outcomes = [bench.run_by(cluster.scale(2), *jobs), local.run(*jobs)]
    assert [[outcome.status.value for outcome in some] for some in outcomes] == [["done", "done", "failed"]] * 2
    for job in "abc":
        kept = [
            [(event.step, event.status, event.evidence, event.ended and event.ended.reason) for event in events]
            for events in (read_journal(one.runs / job / "journal.jsonl") for one in (bench, local))
        ]
        assert kept[0] == kept[1]
    assert (bench.runs / "a/out/unwrapped").read_text() == (local.runs / "a/out/unwrapped").read_text()
    assert not (bench.runs / ".dask").exists()
    assert not [thread for thread in set(threading.enumerate()) - before if "loop" in thread.name.lower()]


def test_limits_are_the_largest_workers_and_capacity_is_the_sum(cluster: Cluster, tmp_path: Path) -> None:
    address = cluster.scale(2)
    with hold_runs(tmp_path) as mark:
        with closing(DaskExecutor(address, runs=tmp_path, mark=mark)) as executor:
            assert wait_for(lambda: executor.capacity() == Resources(memory_bytes=2 * WORKER_BYTES, threads=4))
            assert executor.limits() == Resources(memory_bytes=WORKER_BYTES, threads=2)
        with closing(
            DaskExecutor(address, runs=tmp_path, mark=mark, budget=Budget(memory_bytes=10**6, threads=1))
        ) as executor:
            assert executor.limits() == executor.capacity() == Resources(memory_bytes=10**6, threads=1)
            assert executor.memory_in_use() == 0
            submit_sleeper(executor, tmp_path)
            assert wait_for(lambda: (executor.memory_in_use() or 0) > 0)
            cluster.scale(0)
            assert wait_for(lambda: executor.memory_in_use() is None)


def test_a_worker_is_never_given_more_memory_than_it_has(cluster: Cluster, bench: DaskBench) -> None:
    does = 'echo "$PPID $(date +%s%N)" >> ../times; sleep 0.4; echo "$PPID $(date +%s%N)" >> ../times'
    jobs = [
        Job(id=name, title=name, steps=(make_step("s", does=does, memory=WORKER_BYTES * 6 // 10),)) for name in "abcd"
    ]
    outcomes = bench.run_by(cluster.scale(2), *jobs)
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    at: dict[str, list[int]] = {}
    for line in (bench.runs / "times").read_text().splitlines():
        at.setdefault(line.split()[0], []).append(int(line.split()[1]))
    assert sorted(at) == sorted(str(worker.pid) for worker in cluster.workers)
    # What a worker ran is noted in pairs, if nothing overlapped: each lasts as long as it slept.
    for times in at.values():
        assert len(times) == 4
        assert all(end - start > 0.39e9 for start, end in zip(times[::2], times[1::2], strict=True))


def test_threads_are_what_the_worker_has_left(cluster: Cluster, bench: DaskBench) -> None:
    step = make_step("s", does="echo $OMP_NUM_THREADS > ../threads", threads=64)
    assert bench.run_by(cluster.scale(2), Job(id="a", title="a", steps=(step,)))[0].status is Status.DONE
    assert (bench.runs / "threads").read_text().split() == [str(WORKER_CORES)]


def test_a_worker_that_comes_later_is_used_and_what_fits_none_is_not_waited_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    with (
        hold_runs(tmp_path) as mark,
        closing(DaskExecutor(cluster.scale(1), runs=tmp_path, mark=mark, patience_s=1.0)) as executor,
    ):
        ended = executor.submit(sleeper(tmp_path, memory=2 * WORKER_BYTES)).result(20)
        assert ended.reason is Reason.RETRYABLE
        assert "no Dask worker with 2.0 GB" in ended.message
        first = submit_sleeper(executor, tmp_path, "one", WORKER_BYTES)
        second = executor.submit(sleeper(tmp_path, "two", WORKER_BYTES))
        cluster.scale(2)
        assert wait_for((tmp_path / "two").exists, 20)
    assert [future.result(0).reason for future in (first, second)] == [Reason.INTERRUPTED] * 2


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_step_whose_worker_dies_is_tried_again(cluster: Cluster, bench: DaskBench, number: int) -> None:
    first = bench.runs / "first"
    does = (
        "if [ -e ../first ]; then if grep -q TOPSAR /proc/$(cat ../first)/environ; then touch ../overlap; fi; else "
        "setsid sleep 60 & echo $! > ../.f; echo $PPID > ../worker; mv ../.f ../first; sleep 60; fi"
    )
    job = Job(
        id="a", title="a", steps=(make_step("slow", does=does, keeps=("a/x",)), make_step("next", reads=("a/x",)))
    )

    def kill() -> None:
        assert wait_for(first.exists, 20)
        dying = int((bench.runs / "worker").read_text())
        cluster.end(next(worker for worker in cluster.workers if worker.pid == dying), number)

    killer = threading.Thread(target=kill)
    address = cluster.scale(2)
    killer.start()
    outcomes = bench.run_by(address, job, chain("b"))
    killer.join()
    assert [outcome.status for outcome in outcomes] == [Status.DONE, Status.DONE]
    assert sum(worker.poll() is not None for worker in cluster.workers) == 1
    assert sorted(step for step in bench.executed if step.startswith("a/")) == ["a/next", "a/slow", "a/slow"]
    assert not (bench.runs / "overlap").exists()
    tried = [event.ended for event in bench.events if event.step == "slow" and event.status is Status.WAITING]
    assert {ended.reason for ended in tried if ended} == {Reason.RETRYABLE}  # a dying worker may be given it once more
    assert tried[0]
    assert "died while it ran the command" in tried[0].message
    assert find_marked(bench.mark) == []
    assert not (bench.runs / ".dask").exists()


@pytest.mark.slow
def test_a_scheduler_that_is_slow_to_answer_is_waited_for(cluster: Cluster, bench: DaskBench) -> None:
    address = cluster.scale(1)
    cluster.scheduler.send_signal(signal.SIGSTOP)
    threading.Timer(6.0, cluster.scheduler.send_signal, (signal.SIGCONT,)).start()
    assert bench.run_by(address, chain("a"), workers=1)[0].status is Status.DONE


@pytest.mark.slow
def test_a_worker_that_hangs_does_not_hold_up_the_end(cluster: Cluster, tmp_path: Path) -> None:
    cluster.scale(2)
    with hold_runs(tmp_path) as mark:
        with closing(DaskExecutor(cluster.address, runs=tmp_path, mark=mark)) as executor:
            assert wait_for(lambda: executor.capacity().threads == 4, 20)
            futures = [submit_sleeper(executor, tmp_path, name, WORKER_BYTES) for name in ("one", "two")]
            cluster.workers[0].send_signal(signal.SIGSTOP)
            executor.stop(1.0)
            assert [future.result(10).reason for future in futures] == [Reason.INTERRUPTED] * 2
        assert find_marked(mark)  # nobody but its own host can end what a hanging worker runs
        cluster.end(cluster.workers[0], signal.SIGKILL)
        assert wait_for(lambda: not find_marked(mark))


def test_a_new_run_ends_what_an_older_one_left_before_it_starts(cluster: Cluster, tmp_path: Path) -> None:
    address = cluster.scale(2)
    with ExitStack() as stack:
        with hold_runs(tmp_path) as old:
            executor = stack.enter_context(closing(DaskExecutor(address, runs=tmp_path, mark=old, patience_s=5.0)))
            submit_sleeper(executor, tmp_path)
            assert len(find_marked(f"{old}.")) == 3
        new = stack.enter_context(hold_runs(tmp_path))
        # The first one still lives, as it may on a host of which this one knows nothing.
        stack.enter_context(closing(DaskExecutor(address, runs=tmp_path, mark=new)))
        assert find_marked(f"{old}.") == []
        assert not [path for path in (tmp_path / ".dask").iterdir() if path.name.startswith(old)]
        late = executor.submit(sleeper(tmp_path, "late"))
        assert late.result(20).reason is Reason.RETRYABLE
        assert not (tmp_path / "late").exists()


SCHEDULER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fake_steps import inspect, make_step
from topsar.schedule.jobs import Job
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Policy
from topsar.schedule.lock import hold_runs
from topsar.schedule.run import run_jobs
from topsar.schedule.dask.executor import DaskExecutor
runs = Path(sys.argv[1])
waits = 'touch started; if [ ! -e ../go ]; then setsid sleep 60 & sleep 60; fi'
jobs = [Job(id=name, title=name, steps=(make_step("slow", does=waits, keeps=(f"{name}/x",)),)) for name in "ab"]
with hold_runs(runs) as mark:
    executor = DaskExecutor(sys.argv[3], runs=runs, mark=mark)
    outcomes = run_jobs(jobs, Store(runs, inspect), Policy(backoff_s=1.0), mark=mark, executor=executor)
print(*(outcome.status.value for outcome in outcomes), *(outcome.message for outcome in outcomes))
"""


def start(runs: Path, address: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", SCHEDULER, str(runs), str(Path(__file__).parent), address]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def mark_of(runs: Path) -> str:
    assert wait_for(lambda: (runs / "a/started").exists() and (runs / "b/started").exists(), 30)
    return str(json.loads((runs / LOCK).read_text())["mark"])


def local_guards(mark: str) -> list[int]:
    """The guard that sits beside the scheduler of a run, not those beside the workers."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().split(b"\0")[-2:] == [mark.encode(), b""]:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_commands_of_a_killed_scheduler_end_and_the_next_one_resumes(cluster: Cluster, tmp_path: Path) -> None:
    address = cluster.scale(2)
    with start(tmp_path, address) as scheduler:
        mark = mark_of(tmp_path)
        assert wait_for(lambda: len(find_marked(f"{mark}.")) == 6)
        guards = local_guards(mark)
        assert len(guards) == 1
        for pid in guards:  # as if the workers were on other hosts
            os.kill(pid, signal.SIGSTOP)
        scheduler.kill()
        for pid in guards:
            os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: not find_marked(f"{mark}."), 10)
    (tmp_path / "go").touch()
    with start(tmp_path, address) as scheduler:
        assert scheduler.communicate(timeout=30)[0].split() == ["done", "done"]
    assert not (tmp_path / ".dask").exists()


def test_an_interrupt_ends_everything_within_seconds_and_says_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    with start(tmp_path, cluster.scale(2)) as scheduler:
        mark = mark_of(tmp_path)
        scheduler.send_signal(signal.SIGINT)
        assert scheduler.communicate(timeout=30)[0].split() == ["interrupted", "interrupted"]
    assert find_marked(mark) == []
    assert not (tmp_path / ".dask").exists()


@pytest.mark.slow
def test_a_lost_dask_scheduler_interrupts_the_run_in_words_and_costs_no_try(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for is_lost in (True, False):
        (tmp_path / str(is_lost)).mkdir()
        with closing(Cluster(tmp_path / str(is_lost))) as cluster, start(runs, cluster.scale(1)) as scheduler:
            if is_lost:
                mark = mark_of(runs)
                cluster.end(cluster.scheduler, signal.SIGKILL)
                assert wait_for(lambda mark=mark: not find_marked(f"{mark}."), 20)
            said = scheduler.communicate(timeout=60)[0]
        (runs / "go").touch()
        assert said.split()[:2] == (["interrupted"] * 2 if is_lost else ["done"] * 2), said
        assert not is_lost or "does not answer any more" in said
    assert all(event.attempt == 1 for job in "ab" for event in read_journal(runs / job / "journal.jsonl"))


# --- SLURM -------------------------------------------------------------------------------------------------------

# The script is gone as soon as the real one has returned; it keeps a copy too.
SBATCH = """#!/bin/sh
cp "$1" "$0.$$"
setsid sh "$0.$$" > /dev/null 2>> "$0.log" < /dev/null &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\necho "$1" >> "$0.log"\nkill -TERM -- "-$1"\n'


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Programs ``sbatch`` and ``scancel`` that run jobs here; returns their folder."""
    import dask

    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    described = {
        "cores": 2,
        "memory": "1GB",
        "processes": 1,
        "local-directory": str(tmp_path),
        "scheduler-options": {"host": "127.0.0.1"},
    }
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in described.items()}):
        yield folder


def test_slurm_jobs_are_started_used_and_ended(slurm: Path, tmp_path: Path) -> None:
    runs, interrupt = tmp_path / "runs", signal.getsignal(signal.SIGINT)
    jobs = [Job(id=name, title=name, steps=(make_step("s", keeps=(f"{name}/x",), memory=6 * 10**8),)) for name in "ab"]
    with hold_runs(runs) as mark:
        executor = DaskExecutor("slurm", runs=runs, mark=mark, budget=Budget(workers=2))
        assert executor.limits().threads == 2  # before any job runs
        assert 0.9e9 < executor.limits().memory_bytes <= 1e9
        outcomes = run_jobs(jobs, Store(runs, inspect), mark=mark, executor=executor)
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * 2
    assert len((slurm / "scancel.log").read_text().split()) == 2
    assert signal.getsignal(signal.SIGINT) is interrupt
    assert not (runs / ".dask").exists()


def test_slurm_jobs_that_cannot_be_described_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with hold_runs(tmp_path) as mark:
        assert "no sbatch on this machine" in refusal("slurm", tmp_path, mark)


def test_the_room_is_entered_without_dask() -> None:
    code = "import sys, topsar.schedule, topsar.schedule.dask.executor; print('distributed' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False"]
