"""The journal, the lock and the evidence: what survives a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

import pytest

from fake_steps import inspect, wait_for
from topsar.errors import TopsarError
from topsar.schedule.cleanup import TRASH, Remover
from topsar.schedule.evidence import Store
from topsar.schedule.guard import MARK, Guard, find_marked
from topsar.schedule.jobs import Ended, Event, Reason, Resources, Status
from topsar.schedule.journal import Journal, find_last_done, read_journal
from topsar.schedule.lock import find_holder, hold_runs

ENDED = Ended(reason=Reason.DONE, exit_code=0, seconds=1.5, cpu_s=1.0, peak_memory_bytes=7, message="ü")


def event(step: str, status: Status = Status.DONE, **rest: object) -> Event:
    return Event(time=datetime(2025, 4, 6, 1, 2, 3, 4, tzinfo=timezone.utc), job="a", step=step, status=status, **rest)


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    events = (
        event("one", Status.RUNNING, key="k", attempt=2, granted=Resources(memory_bytes=5, others={"gpus": 1})),
        event("one", key="k", ended=ENDED, evidence={"a/x": {"bytes": 3, "shape": [1, 2]}}, freed_bytes=5),
    )
    journal = Journal(tmp_path / "a")
    for each in events:
        journal.append(each)
    assert read_journal(journal.path) == events


def test_resources_keep_their_names_in_the_journal(tmp_path: Path) -> None:
    journal, granted = Journal(tmp_path), {"memory_bytes": 5, "threads": 2, "disk_bytes": 7}
    journal.append(event("one", Status.RUNNING, granted=Resources(**granted)))
    assert json.loads(journal.path.read_text())["granted"] == granted


def test_a_torn_tail_costs_no_other_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for name in ("one", "two"):
        journal.append(event(name, key=name, ended=ENDED))
    whole = journal.path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole) + 1):
        journal.path.write_bytes(whole[:length])
        is_whole = length >= len(whole) - 1  # nothing but the newline is missing
        assert [e.step for e in read_journal(journal.path)] == ["one", "two"][: 2 if is_whole else 1]
        Journal(tmp_path).append(event("three"))
        steps = [e.step for e in read_journal(journal.path)]
        assert steps == (["one", "two", "three"] if is_whole else ["one", "three"])


@pytest.mark.parametrize("length", [0, 1, 20])
def test_torn_first_line(tmp_path: Path, length: int) -> None:
    journal = Journal(tmp_path)
    journal.append(event("one"))
    journal.path.write_bytes(journal.path.read_bytes()[:length])
    Journal(tmp_path).append(event("two"))
    assert [e.step for e in read_journal(journal.path)] == ["two"]


def test_garbage_inside_is_skipped(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(event("one"))
    with journal.path.open("ab") as file:
        file.write(b'\0\0\0\n[]\n"text"\n{"time": 3}\n')
    journal.append(event("two"))
    assert [e.step for e in read_journal(journal.path)] == ["one", "two"]


def test_a_later_start_puts_a_success_in_question() -> None:
    events = [event("one"), event("two"), event("two", Status.RUNNING), event("two", Status.FAILED)]
    assert list(find_last_done(events)) == ["one"]


def test_second_scheduler_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    code = (
        f"import time; from pathlib import Path; from topsar.schedule.lock import hold_runs\n"
        f"with hold_runs(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TopsarError, match=rf"pid {holder.pid} on {os.uname().nodename}"), hold_runs(tmp_path):
            pass
        holder.kill()
    with hold_runs(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert (tmp_path / ".lock").read_text() == ""


def test_lock_of_a_dead_holder_ends_what_it_left_running(tmp_path: Path, mark: str) -> None:
    (tmp_path / ".lock").write_text(json.dumps({"pid": 1, "host": os.uname().nodename, "mark": mark}))
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{mark}.1."}) as left, hold_runs(tmp_path):
        assert left.wait(5) == -9


def test_a_process_that_was_given_the_holders_pid_later_holds_nothing(tmp_path: Path) -> None:
    with hold_runs(tmp_path):
        known = json.loads((tmp_path / ".lock").read_text())
        holder = find_holder(tmp_path)
        assert holder is not None
        assert (holder.pid, holder.is_alive) == (os.getpid(), True)
    with subprocess.Popen(["sleep", "60"]) as other:
        for change, is_alive in (({"pid": other.pid}, False), ({"host": "elsewhere"}, None)):
            (tmp_path / ".lock").write_text(json.dumps(known | change))
            holder = find_holder(tmp_path)
            assert holder is not None
            assert holder.is_alive is is_alive
        other.kill()


def test_garbage_in_the_lock_file(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1234")
    with hold_runs(tmp_path):
        pass


def test_guard_spares_other_runs(mark: str) -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{mark}.1."}) as step:
        with Guard("other"), Guard(mark[:-1]):
            pass
        assert step.poll() is None
        with Guard(mark):
            pass
        assert step.wait(5) == -9


def test_marks_do_not_overlap(mark: str) -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{mark}.12."}) as step:
        assert wait_for(lambda: find_marked(f"{mark}.12.") == [step.pid])
        assert find_marked(f"{mark}.1.") == []
        step.kill()


def test_guard_ends_the_run_of_a_killed_scheduler(mark: str) -> None:
    code = (
        "import os, subprocess, time; from topsar.schedule.guard import MARK, Guard\n"
        f"with Guard('{mark}'):\n"
        f"    subprocess.Popen(['setsid', 'sleep', '60'], env={{**os.environ, MARK: '{mark}.1.'}})\n"
        "    print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as scheduler:
        assert scheduler.stdout is not None
        scheduler.stdout.readline()
        assert wait_for(lambda: find_marked(f"{mark}.") != [])
        scheduler.kill()
    assert wait_for(lambda: find_marked(f"{mark}.") == [])


def test_removal_never_follows_a_link(tmp_path: Path) -> None:
    outside, runs = tmp_path / "outside", tmp_path / "runs"
    outside.mkdir()
    (outside / "precious").write_text("x\n")
    (runs / "a" / "folder").mkdir(parents=True)
    (runs / "a" / "folder" / "inner").symlink_to(outside)
    (runs / "a" / "link").symlink_to(outside)
    (runs / "b").symlink_to(outside)
    store, remover = Store(runs, inspect), Remover(runs)
    for path in ("a/folder", "a/link"):
        remover.remove(store.locate(path), lambda _: None)
    with pytest.raises(TopsarError, match="outside the runs folder"):
        store.locate("b/precious")
    assert remover.finish(10)
    assert [path.name for path in (runs / "a").iterdir()] == []
    assert (outside / "precious").read_text() == "x\n"


def test_removal_counts_bytes(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "y").write_bytes(b"123")
    remover, freed = Remover(tmp_path), []
    for _ in range(2):
        remover.remove(tmp_path / "a", freed.append)
        assert not (tmp_path / "a").exists()
    assert remover.finish(10)
    assert freed == [8]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_was_removing_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / TRASH / "half").mkdir(parents=True)
    (tmp_path / TRASH / "half" / "x").write_text("x")
    assert Remover(tmp_path).finish(10)
    assert not (tmp_path / TRASH).exists()
