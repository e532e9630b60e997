"""The fault campaign: small here, whole with ``-m slow`` and in ``benchmarks/faults.py``."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from fake_steps import Bench, make_step
from fault_jobs import HARMS, Trial, harm, inspect, needed, network, nodes, says_that_it_waits, step_of
from topsar.errors import ProductError
from topsar.schedule import executor as executor_module
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Event, Job, Lifetime, Reason, Resources, Status
from topsar.schedule.record import read_record
from topsar.schedule.run import run_jobs

MB = 1_000_000
SHARES = {
    "steps": 0.1,
    "scheduler": 0.05,
    "guard": 0.1,
    "signals": 0.1,
    "journals": 0.1,
    "outputs": 0.04,
    "disk": 0.1,
    "memory": 0.1,
    "clock": 0.25,
    "deleted": 0.1,
    "read-only": 0.1,
    "mutants": 0.01,
    "names": 0.02,
    "state": 0.01,
    "stack killed": 0.1,
}
"""Which part of each campaign is played in the small."""
LONG = {"state", "disk", "read-only", "mutants", "names", "stack killed", "signals", "journals", "memory"}
"""Campaigns that take long even so."""
LARGE = (
    "swaps",
    "stack swaps",
    "stack state",
    "services",
    "disk sizes",
    "clock set",
    "open files",
    "umask",
    "home",
    "many",
)
"""Campaigns that process too much for that."""


@pytest.fixture(scope="module")
def faults() -> ModuleType:
    sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))
    return importlib.import_module("faults")


def play(faults: ModuleType, name: str, folder: Path, *, pace: float, share: float) -> None:
    count = faults.play(name, folder, seed=1, pace=pace, share=share)
    if count.skipped:
        pytest.skip(count.skipped)
    assert count.faults > 0
    assert count.is_clean, count


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SHARES])
def test_a_harmed_run_is_resumed_as_if_nothing_had_happened(faults: ModuleType, tmp_path: Path, name: str) -> None:
    play(faults, name, tmp_path, pace=0.3, share=SHARES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHARES, *LARGE])
def test_the_whole_campaign(faults: ModuleType, tmp_path: Path, name: str) -> None:
    play(faults, name, tmp_path, pace=1.0, share=1.0)


def test_every_campaign_is_played(faults: ModuleType) -> None:
    assert {*SHARES, *LARGE} == set(faults.CAMPAIGNS)


# --- memory, shown another machine ----------------------------------------------------------------------------------


def test_a_step_waits_for_memory_that_others_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    available, notes, runs = [100 * MB], list[str](), tmp_path / "runs"
    monkeypatch.setattr(executor_module, "find_available_memory", lambda: available[0])

    def observe(event: Event) -> None:
        if event.note:
            notes.append(event.note)
            threading.Thread(target=give_memory).start()

    def give_memory() -> None:
        assert says_that_it_waits(runs)
        available[0] = 900 * MB

    step = step_of(
        "a/x",
        tmp_path / "executed",
        writes={"a/x": Lifetime.RESULT},
        needs=Resources(memory_bytes=500 * MB),
    )
    outcome = run_jobs([Job(id="a", title="a", steps=(step,))], Store(runs, inspect), observe=observe)[0]
    record = read_record(runs)
    assert outcome.status is Status.DONE
    assert len(notes) == 1
    assert "'x' needs" in notes[0]
    assert record is not None
    assert any("of memory" in pulse.waiting_for for pulse in record.pulses)
    assert [event.ended.reason for event in outcome.events if event.ended] == [Reason.DONE]


# --- what the campaign itself rests on ------------------------------------------------------------------------------


def test_what_has_to_run_again(tmp_path: Path) -> None:
    jobs = network(tmp_path / "executed")
    assert needed(jobs, set(), {"p12/out/filtered"}) == {"p12/filter"}
    assert needed(jobs, set(), {"p12/out/filtered", "p12/ifg", "d1/slc"}) == {
        "p12/filter",
        "p12/interfere",
        "d1/geocode",
    }
    assert needed(jobs, set(), {"d1/slc"}) == set()
    assert needed(jobs, {"p12/products"}, set()) == {"p12/products"}
    assert needed(jobs, {"p12/unwrap", "d1/read"}, set()) == set()
    assert needed(jobs, set(nodes(jobs)), set()) == set(nodes(jobs))


@pytest.mark.parametrize("how", HARMS)
def test_harm_is_seen(tmp_path: Path, how: str) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("one\ntwo\n")
    folder.mkdir()
    (folder / "content").write_text("one\ntwo\nthree\n")
    for path in (file, folder):
        before = inspect(path)
        harm(path, how)
        try:
            assert not path.exists() or inspect(path) != before
        except ProductError:
            assert how == "truncate"


def test_a_trial_knows_its_processes(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "trial")
    with trial.start() as process:
        assert process.pid in trial.living()
        process.kill()
    assert trial.is_deserted(10)


# --- disks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Bench]:
    """A runs folder on a disk of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield Bench(disk / "runs")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(bench: Bench, megabytes: int) -> Path:
    """Let somebody else take so much of the disk."""
    other = bench.runs.parent / "other"
    other.write_bytes(bytes(megabytes * MB))
    return other


def writing(name: str, megabytes: float, does: str = "") -> Job:
    step = make_step("x", keeps=(f"{name}/x",), does=does)
    return Job(id=name, title=name, steps=(replace(step, needs=Resources(disk_bytes=int(megabytes * MB))),))


MAP = "import mmap,sys; f=open(sys.argv[1],'wb+'); f.truncate(7_000_000); m=mmap.mmap(f.fileno(),0); m[:]=bytes(len(m))"


def test_a_disk_that_others_filled_at_the_start_is_waited_for(small: Bench) -> None:
    other = fill(small, 6)
    free = small.when(lambda event: "of disk" in event.note, other.unlink)
    outcomes = small.run(writing("a", 4), writing("b", 9), patience_s=60, observe=free)
    assert [outcome.status for outcome in outcomes] == [Status.DONE, Status.FAILED]
    assert "all of the disk" in outcomes[1].message
    assert [event.note for event in outcomes[0].events if "of disk" in event.note]


def test_a_step_that_maps_where_there_is_no_room_is_tried_again(small: Bench) -> None:
    other = fill(small, 4)
    free = small.when(lambda event: event.ended, other.unlink)
    does = f"""mkdir -p y; {sys.executable} -c "{MAP}" y/x"""
    outcome = small.run(writing("a", 0, does), patience_s=60, observe=free)[0]
    assert outcome.status is Status.DONE
    ended = [event.ended for event in outcome.events if event.ended]
    assert ended[0].reason is Reason.DISK_FULL
    assert "SIGBUS" in ended[0].message


@pytest.mark.parametrize("path", ["a/x", "a/.x.0123abcd.part"])
def test_what_a_killed_step_left_is_no_room_that_it_waits_for(small: Bench, path: str) -> None:
    leave = f"[ -e ../once ] || {{ touch ../once; head -c 5000000 /dev/zero > ../{path}; kill -9 $$; }}"
    assert small.run(writing("a", 5, leave), patience_s=0.2)[0].status is Status.DONE


@pytest.mark.parametrize("end", ["true", "kill -9 $$"])
def test_what_an_earlier_run_left_is_no_room_that_a_step_waits_for(small: Bench, end: str) -> None:
    does = f"head -c 3000000 /dev/zero > x; {end}"
    for name in "ab":
        (step,) = writing(name, 0).steps
        before = replace(step, signature="2", argv=("sh", "-c", does))
        small.run(Job(id=name, title=name, steps=(before,)), retries=0)
        (small.runs / name / "x").write_bytes(bytes(3 * MB))
    outcomes = small.run(writing("a", 4), writing("b", 4), patience_s=0.2)
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * 2, [one.message for one in outcomes]


def test_what_a_failed_step_left_is_no_room_that_another_waits_for(small: Bench) -> None:
    fails = writing("a", 5, "head -c 5000000 /dev/zero > x; exit 1")
    waits = writing("b", 5)
    assert [outcome.status for outcome in small.run(fails, waits, patience_s=0.2)] == [Status.FAILED, Status.DONE]


def test_a_disk_that_was_full_once_asks_for_no_more_than_was_predicted(small: Bench) -> None:
    does = "[ -e ../once ] || { touch ../once; head -c 2000000 /dev/zero > x; echo 'No space left on device'; exit 1; }"
    outcome = small.run(writing("a", 5, does), patience_s=0.2)[0]
    assert outcome.status is Status.DONE
    assert {event.granted.disk_bytes for event in outcome.events if event.granted} == {5 * MB}
