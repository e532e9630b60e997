"""What every executor must do, ours and one of another package."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fake_steps import Bench, as_fork, chain, make_step, wait_for
from topsar.errors import SettingsError
from topsar.registry import list_names, load_named
from topsar.schedule.executor import Executor
from topsar.schedule.guard import MARK, find_marked
from topsar.schedule.jobs import Budget, Command, Job, Reason, Resources, Status
from topsar.schedule.lock import hold_runs

BUDGET = Budget(workers=2, memory_bytes=500_000_000, threads=2)
OPEN = [name for name in vars(Executor) if not name.startswith("_")]

PLUGIN = """
from topsar.schedule.executor import LocalExecutor

class Elsewhere:
    def __init__(self, budget):
        self.inner = LocalExecutor(budget)

    @classmethod
    def open(cls, address, *, runs, mark, budget):
        assert address == "there" and runs.is_dir() and mark
        return cls(budget)

    def __getattr__(self, name):
        return getattr(self.inner, name)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is installed beside ours and offers an executor, and one that cannot be imported."""
    folder = tmp_path / "site"
    facts = folder / "elsewhere-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / "elsewhere.py").write_text(PLUGIN)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[topsar.executors]\nelsewhere = elsewhere:Elsewhere\nbroken = no_such_module:Executor\nlocal = elsewhere:X\n"
    )
    monkeypatch.syspath_prepend(folder)


@pytest.fixture(scope="module")
def dask_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """The address of a Dask cluster, which is started when it is asked for."""
    clusters = []

    def start() -> str:
        pytest.importorskip("distributed")
        from test_57_dask import Cluster

        clusters[:] = clusters or [Cluster(tmp_path_factory.mktemp("dask"))]
        return str(clusters[0].scale(2))

    yield start
    for cluster in clusters:
        cluster.close()


Open = Callable[..., Executor]


@pytest.fixture(params=["local", "forked", "dask", "elsewhere"])
def kind(
    request: pytest.FixtureRequest, plugin: None, dask_address: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """The name of an executor, and an address for it; ``forked`` is ``local`` with commands that it can fork."""
    name = str(request.param)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for `as_fork`
    return name, {"local": "", "forked": "", "elsewhere": "there"}[name] if name != "dask" else dask_address()


def open_executor(kind: tuple[str, str], runs: Path, mark: str) -> Executor:
    name, address = kind
    executor: Executor = load_named("executors", name.replace("forked", "local")).open(
        address, runs=runs, mark=mark, budget=BUDGET
    )
    return executor


def command(kind: tuple[str, str], mark: str, folder: Path, script: str) -> Command:
    serial = zlib.crc32(script.encode())
    log = folder / f"log{serial}"
    env, needs = {MARK: f"{mark}.{serial}.", "OMP_NUM_THREADS": "1"}, Resources(memory_bytes=10**6)
    made = Command(argv=("sh", "-c", script), cwd=folder, log=log, needs=needs, env=env)
    return replace(made, **as_fork(made.argv)) if kind[0] == "forked" else made


def test_all_are_known_by_name(plugin: None) -> None:
    assert list_names("executors") == ("local", "dask", "broken", "elsewhere")
    for name in ("local", "dask", "elsewhere"):
        offered = load_named("executors", name)
        assert not [wanted for wanted in OPEN if not hasattr(offered, wanted) and name != "elsewhere"]


@pytest.mark.parametrize(("name", "said"), [("dsak", "dsak"), ("broken", "no_such_module")])
def test_an_unknown_or_broken_one_is_a_clear_error(plugin: None, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        open_executor((name, ""), tmp_path, "mark")
    assert caught.value.hint


def test_dask_without_an_address_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DASK_SCHEDULER"):
        open_executor(("dask", ""), tmp_path, "mark")


def test_commands_run_once_and_say_how_they_ended(kind: tuple[str, str], tmp_path: Path) -> None:
    scripts = {"exit 0": Reason.DONE, "exit 65": Reason.BAD_INPUT, "exit 75": Reason.RETRYABLE, "exit 3": Reason.ERROR}
    with hold_runs(tmp_path) as mark, closing(open_executor(kind, tmp_path, mark)) as executor:
        note = f"echo $PWD $OMP_NUM_THREADS >> {tmp_path}/notes; echo 'error: why' >&2;"
        futures = [executor.submit(command(kind, mark, tmp_path, f"{note} {script}")) for script in scripts]
        ended = [future.result(60) for future in futures]
        assert [one.reason for one in ended] == list(scripts.values())
        assert [one.exit_code for one in ended] == [0, 65, 75, 3]
        assert {one.message for one in ended[1:]} == {"why"}
    assert (tmp_path / "notes").read_text().splitlines() == [f"{tmp_path} 1"] * len(scripts)


def test_the_budget_bounds_what_there_is(kind: tuple[str, str], tmp_path: Path) -> None:
    with hold_runs(tmp_path) as mark, closing(open_executor(kind, tmp_path, mark)) as executor:
        for there in (executor.limits(), executor.capacity()):
            assert 0 < there.memory_bytes <= 500_000_000
            assert there.threads >= 1
        assert executor.memory_in_use() in (0, None)


def test_what_is_stopped_says_so_and_nothing_outlives_the_end(kind: tuple[str, str], tmp_path: Path) -> None:
    with hold_runs(tmp_path) as mark:
        with closing(open_executor(kind, tmp_path, mark)) as executor:
            sleeping = command(kind, mark, tmp_path, f"setsid sleep 60 & touch {tmp_path}/started; sleep 60")
            future = executor.submit(sleeping)
            assert wait_for((tmp_path / "started").exists, 30)
            assert find_marked(mark)
            executor.stop(0.5)
            assert future.result(30).reason is Reason.INTERRUPTED
        assert not find_marked(f"{mark}.")


def test_a_run_ends_and_is_resumed_wherever_it_runs(kind: tuple[str, str], tmp_path: Path) -> None:
    bench, flaky = Bench(tmp_path / "runs"), "[ -e once ] || { touch once; exit 75; }"
    jobs = [chain("a"), Job(id="b", title="b", steps=(make_step("x", keeps=("b/x",), does=flaky),))]
    if kind[0] == "forked":
        jobs = [replace(job, steps=tuple(replace(step, **as_fork(step.argv)) for step in job.steps)) for job in jobs]
    for status in (Status.DONE, Status.CACHED):
        with hold_runs(bench.runs) as mark:
            outcomes = bench.run(*jobs, mark=mark, executor=open_executor(kind, bench.runs, mark))
        assert [outcome.status for outcome in outcomes] == [status] * 2
        assert bench.executed.count("b/x") == (2 if status is Status.DONE else 0)
