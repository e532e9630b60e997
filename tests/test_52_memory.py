"""What the machine gives, shown other machines."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from topsar.schedule.admission import Candidate, Grant, PairWindow, choose
from topsar.schedule.jobs import Resources
from topsar.schedule.machine import count_cores, count_oom_kills, find_available_memory, sum_session_memory

MB = 1_000_000


@pytest.fixture(autouse=True)
def _big_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 1000 * MB

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def machine(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def test_without_cgroups(tmp_path: Path) -> None:
    assert (find_available_memory(tmp_path), count_cores(tmp_path), count_oom_kills(tmp_path)) == (1000 * MB, 8, 0)


def test_version_2_smallest_of_all_levels(tmp_path: Path) -> None:
    group = "sys/fs/cgroup"
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/job:1",
            "proc/vmstat": "nr_free 3\noom_kill 2",
            f"{group}/user/job:1/memory.max": "max",
            f"{group}/user/job:1/memory.current": 50 * MB,
            f"{group}/user/job:1/cpu.max": "max 100000",
            f"{group}/user/job:1/memory.events": "low 0\noom 3\noom_kill 1",
            f"{group}/user/memory.max": 400 * MB,
            f"{group}/user/memory.current": 300 * MB,
            f"{group}/user/memory.stat": f"anon 5\ninactive_file {60 * MB}\nactive_file {40 * MB}",
            f"{group}/user/cpu.max": "250000 100000",
        },
    )
    assert (find_available_memory(root), count_cores(root), count_oom_kills(root)) == (200 * MB, 2, 3)


def test_version_1(tmp_path: Path) -> None:
    group = "sys/fs/cgroup"
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/",
            f"{group}/memory/memory.limit_in_bytes": 300 * MB,
            f"{group}/memory/memory.usage_in_bytes": 100 * MB,
            f"{group}/memory/memory.stat": f"total_inactive_file {20 * MB}\ntotal_active_file {30 * MB}",
            f"{group}/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 7",
            f"{group}/cpu/cpu.cfs_quota_us": 50_000,
            f"{group}/cpu/cpu.cfs_period_us": 100_000,
        },
    )
    assert (find_available_memory(root), count_cores(root), count_oom_kills(root)) == (250 * MB, 1, 7)


def test_version_1_without_limit(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 5,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100_000,
        },
    )
    assert (find_available_memory(root), count_cores(root)) == (1000 * MB, 8)


def test_over_the_limit_is_nothing_left(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": 5,
            "sys/fs/cgroup/memory.current": 9,
        },
    )
    assert find_available_memory(root) == 0


def test_session_memory_finds_this_session() -> None:
    assert sum_session_memory(os.getsid(0)) >= psutil.Process().memory_info().rss * 0.5


# --- admission ------------------------------------------------------------------------------------------------------


def candidate(name: str, age: int, memory: int = 0, threads: int = 1, pairs: tuple[int, ...] = ()) -> Candidate:
    return Candidate(id=("job", name), rank=(age,), needs=Resources(memory_bytes=memory, threads=threads), pairs=pairs)


def chosen(
    ready: list[Candidate],
    running: tuple[Candidate, ...] = (),
    *,
    memory: int = 10,
    threads: int = 4,
    workers: int | None = None,
) -> dict[str, int]:
    grants = tuple(Grant(candidate=each, threads=1) for each in running)
    window = PairWindow(workers)
    for each in running:
        window.enter(each.pairs)
    capacity = Resources(memory_bytes=memory, threads=threads)
    return {grant.candidate.id[1]: grant.threads for grant in choose(ready, grants, capacity, window)}


def test_what_does_not_fit_does_not_start_even_alone() -> None:
    assert chosen([candidate("huge", 0, 99, threads=9)], memory=10, threads=4) == {}


def test_while_the_oldest_cannot_fit_even_alone_it_holds_nobody_back() -> None:
    assert chosen([candidate("huge", 0, 99), candidate("small", 1, 4), candidate("other", 2, 7)]) == {"small": 1}


def test_threads_are_dealt_out() -> None:
    steps = [candidate("a", 0, threads=8), candidate("b", 1, threads=1), candidate("c", 2, threads=2)]
    assert chosen(steps, threads=4) == {"a": 2, "b": 1, "c": 1}
    assert chosen(steps, threads=2) == {"a": 1, "b": 1}
    assert chosen(steps, threads=16) == {"a": 8, "b": 1, "c": 2}


def test_a_single_thread_starts_beside_a_step_that_has_every_core() -> None:
    wide = Grant(candidate=candidate("wide", 0, threads=8), threads=4)
    ready = [candidate("wide too", 1, threads=8), *(candidate(f"light {n}", 2 + n) for n in range(4))]
    capacity = Resources(memory_bytes=10, threads=4)
    light = choose(ready, [wide], capacity, PairWindow(None))
    assert [(grant.candidate.id[1], grant.threads) for grant in light] == [("light 0", 1), ("light 1", 1)]
    assert choose(ready[3:], [wide, *light], capacity, PairWindow(None)) == ()
    # Without a wide step there is nothing to be beside.
    four = [Grant(candidate=candidate(f"n{n}", n), threads=1) for n in range(4)]
    assert choose([candidate("fifth", 9)], four, capacity, PairWindow(None)) == ()


def test_disk_is_kept_for_what_older_pairs_have_still_to_write() -> None:
    def writing(name: str, pair: int, size: int) -> Candidate:
        return Candidate(id=("job", name), rank=(pair,), needs=Resources(disk_bytes=size), pairs=(pair,))

    capacity = Resources(memory_bytes=10, threads=4, disk_bytes=100)
    old, young = writing("old", 0, 40), writing("young", 1, 50)
    assert len(choose([old, young], (), capacity, PairWindow(None))) == 2
    assert [g.candidate.id[1] for g in choose([old, young], (), capacity, PairWindow(None), {0: 60})] == ["old"]
    assert len(choose([young], (), capacity, PairWindow(None), {0: 50, 2: 99})) == 1


def test_no_core_no_start() -> None:
    assert chosen([candidate("a", 1)], (candidate("r", 0),), threads=1) == {}


def test_backfill_takes_only_what_the_oldest_will_not_need() -> None:
    running = (candidate("old", 0, 6),)
    ready = [candidate("big", 1, 7), candidate("small", 2, 3), candidate("tiny", 3, 2)]
    assert chosen(ready, running) == {"small": 1}
    assert chosen(ready, (*running, candidate("younger", 4, 1))) == {"tiny": 1}


def test_a_big_step_is_not_starved_by_a_stream_of_small_ones() -> None:
    running = tuple(candidate(f"s{n}", n, 2) for n in (0, 1, 2))
    stream = [candidate("big", 3, 9), *(candidate(f"s{n}", n, 2) for n in range(4, 20))]
    while running:
        assert not chosen(stream, running)
        running = running[1:]
    assert list(chosen(stream, running)) == ["big"]


def test_workers_bound_pairs_not_steps() -> None:
    ready = [candidate("a", 0, pairs=(0,)), candidate("b", 0, pairs=(0,)), candidate("c", 1, pairs=(1,))]
    assert set(chosen(ready, workers=1)) == {"a", "b"}
    assert set(chosen(ready, workers=2)) == {"a", "b", "c"}


def test_a_shared_step_serves_the_pair_under_way() -> None:
    running = (candidate("own", 1, pairs=(1,)),)
    assert set(chosen([candidate("shared", 0, pairs=(0, 1))], running, workers=1)) == {"shared"}
    assert chosen([candidate("other", 0, pairs=(0,))], running, workers=1) == {}
    assert set(chosen([candidate("free", 0)], running, workers=1)) == {"free"}
