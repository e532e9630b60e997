"""What the machine gives, shown other machines."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

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
