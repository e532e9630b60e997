"""What a terminal shows of a run: status and plan."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from topsar.report.snapshot import take_snapshot
from topsar.report.terminal_plan import format_plan
from topsar.report.terminal_status import dump_status, format_status
from topsar.schedule.jobs import Ended, Event, Reason, Resources, Status
from topsar.schedule.lock import Holder
from topsar.schedule.record import (
    Beginning,
    End,
    Moment,
    PlannedJob,
    PlannedStep,
    Pulse,
    Recorder,
    RunRecord,
    read_record,
)

BEGAN = datetime(2025, 4, 6, 9, 30, tzinfo=timezone.utc)
GB = 1_000_000_000
ALIVE = Holder(pid=4242, host="node7", mark="m", is_alive=True)
HOSTILE = "\x1b[31mred\x1b[0m\n<b>bold</b>\ttab"


def planned(name: str, status: Status = Status.WAITING, *, seconds: float | None = 100.0) -> PlannedStep:
    why = "not done yet" if status is Status.WAITING else ""
    return PlannedStep(
        name=name, status=status, why=why, memory_bytes=2 * GB, threads=4, disk_bytes=GB // 2, seconds=seconds
    )


def job(name: str, *steps: PlannedStep, is_pair: bool = True) -> PlannedJob:
    return PlannedJob(id=name, title=f"title of {name}", is_pair=is_pair, steps=steps)


def moment(at_s: float, place: str, status: Status, **known: object) -> Moment:
    name, step = place.split("/")
    return Moment(at_s=at_s, event=Event(time=BEGAN, job=name, step=step, status=status, **known))


def ended(seconds: float, reason: Reason = Reason.DONE, message: str = "", *, peak: int = 1_500_000_000) -> Ended:
    return Ended(
        reason=reason,
        exit_code=0 if reason is Reason.DONE else 1,
        seconds=seconds,
        cpu_s=2 * seconds,
        peak_memory_bytes=peak,
        written_bytes=40_000_000,
        message=message,
    )


def ran(start: float, end: float, place: str, status: Status = Status.DONE, **known: object) -> tuple[Moment, Moment]:
    reason = Reason.DONE if status is Status.DONE else Reason.ERROR
    attempt = int(str(known.pop("attempt", 1)))
    return (
        moment(start, place, Status.RUNNING, attempt=attempt, granted=Resources(memory_bytes=3 * GB, threads=2)),
        moment(end, place, status, attempt=attempt, ended=ended(end - start, reason, **known)),  # type: ignore[arg-type]
    )


def record_of(jobs: Iterable[PlannedJob], moments: Iterable[Moment], *, how: str = "", **known: object) -> RunRecord:
    beginning = Beginning(started=BEGAN, pid=4242, host="node7", mark="m", jobs=tuple(jobs))
    end = End(at_s=600.0, how=how) if how else None
    pulse = Pulse(
        at_s=500.0,
        running=1,
        memory_bytes=1_200_000_000,
        reserved_bytes=3 * GB,
        budget_bytes=8 * GB,
        disk_free_bytes=77 * GB,
        waiting_for="memory for d/unwrap",
    )
    values = {"moments": tuple(moments), "pulses": (pulse,), "end": end, "written": 1000.0}
    return replace(RunRecord(begun=beginning), **{**values, **known})  # type: ignore[arg-type]


def under_way(**known: object) -> RunRecord:
    """Five pairs: a was done before, b is done, c is under way after a retry, d waits, e is blocked by its date."""
    jobs = [
        job("date", planned("geocode"), is_pair=False),
        job("a", planned("filter", Status.CACHED), planned("unwrap", Status.CACHED)),
        *(job(name, planned("filter"), planned("unwrap")) for name in "bcde"),
    ]
    moments = [
        *ran(0, 50, "date/geocode", Status.FAILED, message="orbit is missing\n  hint: fetch it"),
        moment(0, "a/filter", Status.CACHED, ended=ended(7777)),
        moment(0, "a/unwrap", Status.CACHED, ended=ended(7777)),
        moment(50, "e/filter", Status.BLOCKED),
        moment(50, "e/unwrap", Status.BLOCKED),
        *ran(0, 100, "b/filter"),
        *ran(100, 200, "b/unwrap", peak=2_900_000_000),
        moment(200, "b/filter", Status.UNNEEDED, freed_bytes=5_000_000),
        *ran(200, 260, "c/filter", Status.WAITING),
        *ran(300, 400, "c/filter", attempt=2),
        moment(400, "c/unwrap", Status.RUNNING, granted=Resources(memory_bytes=3 * GB, threads=2)),
    ]
    return record_of(jobs, moments, **known)


def show(record: RunRecord, holder: Holder | None, *, now: float = 1000.0, width: int = 100) -> str:
    return format_status(take_snapshot(record, holder, now), width)


def dump(record: RunRecord, holder: Holder | None, *, now: float = 1000.0) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(dump_status(take_snapshot(record, holder, now)))
    return known


def first_line(record: RunRecord, holder: Holder | None = None, now: float = 1010.0) -> str:
    return show(record, holder, now=now).splitlines()[0]


class TestState:
    def test_running(self) -> None:
        line = first_line(under_way(), ALIVE)
        assert line == "running (pid 4242 on node7), since 2025-04-06 09:30 UTC, for 8 min 30 s"

    @pytest.mark.parametrize("holder", [None, replace(ALIVE, is_alive=False)])
    def test_dead_scheduler(self, holder: Holder | None) -> None:
        text = show(under_way(), holder, now=9e9)
        assert text.startswith("the scheduler (pid 4242 on node7) died")
        assert "running when it ended" in text
        assert "1 cut short" in text
        assert " left" not in text
        assert "waiting  for" not in text

    def test_another_run_is_getting_ready(self) -> None:
        line = first_line(under_way(how="done"), Holder(pid=5, host="node8", mark="other", is_alive=None))
        assert line.startswith("a new run (pid 5 on node8)")
        assert line.endswith("done in 10 min 00 s")

    def test_another_host_is_judged_by_its_signs_of_life(self) -> None:
        holder = replace(ALIVE, is_alive=None)
        assert first_line(under_way(), holder, now=1060.0).startswith("running (pid 4242 on node7)")
        assert "no sign of life for 16 min 40 s" in first_line(under_way(), holder, now=2000.0)

    @pytest.mark.parametrize(
        ("how", "said"),
        [
            ("done", "done in 10 min 00 s"),
            ("cached", "done in 10 min 00 s"),
            ("interrupted", "interrupted after 10 min 00 s"),
            ("failed", "ended with failures after 10 min 00 s"),
            ("OSError: no\nspace", "ended after 10 min 00 s: OSError: no space"),
        ],
    )
    def test_ended(self, how: str, said: str) -> None:
        assert first_line(under_way(how=how)).startswith(said)

    def test_a_clock_set_back_does_no_harm(self) -> None:
        assert "for 8 min 20 s" in first_line(under_way(), ALIVE, now=-1e9)


def test_counts_and_what_is_in_use() -> None:
    lines = show(under_way(), ALIVE).splitlines()
    assert "pairs    2 of 5 done, 1 running, 1 waiting, 1 blocked" in lines
    assert "steps    5 of 11 done, 1 running, 2 waiting, 1 failed, 2 blocked, 1 retry" in lines
    assert "memory   1.2 GB in use, 3.0 GB reserved, 8.0 GB budget" in lines
    assert "disk     77.0 GB free, 5.0 MB freed" in lines
    assert "waiting  for memory for d/unwrap" in lines


def test_time_left_is_what_is_foreseen_at_the_speed_so_far() -> None:
    # 300 s are worked off of b and c, and 100 s of c/unwrap, in 500 s; 200 s are left, of d.
    assert "time     8 min 20 s, about 4 min left, 7.2 pairs per hour" in show(under_way(), ALIVE)


def test_no_time_left_without_foresight() -> None:
    jobs = [job("a", planned("filter"), planned("unwrap", seconds=None))]
    text = show(record_of(jobs, ran(0, 100, "a/filter")), ALIVE)
    assert "left" not in text
    assert "pairs per hour" not in text


def test_steps_under_way_failures_and_kinds() -> None:
    text = " ".join(show(under_way(), ALIVE).split())
    assert "title of c unwrap 1 1 min 40 s 2 3.0 GB" in text
    assert "title of date, geocode orbit is missing hint: fetch it" in text
    assert "filter 2 1 min 40 s 1.5 GB 40.0 MB" in text
    assert "unwrap 1 1 min 40 s 2.9 GB 40.0 MB" in text
    assert "geocode 0 – – –" in text
    assert "7777" not in text


def test_bytes_nobody_could_measure() -> None:
    record = under_way()
    record = replace(record, pulses=(replace(record.pulses[0], memory_bytes=None),))
    assert "memory   unknown in use, 3.0 GB reserved" in show(record, ALIVE)
    assert dump(record, ALIVE)["in_use"]["memory_bytes"] is None


def test_after_the_end_memory_is_what_was_used_at_most() -> None:
    record = under_way(how="done")
    record = replace(record, pulses=(replace(record.pulses[0], memory_bytes=6 * GB), *record.pulses))
    assert "memory   at most 6.0 GB in use, 8.0 GB budget" in show(record, None)


def test_hostile_titles_stay_in_their_line() -> None:
    jobs = [PlannedJob(id="a", title=HOSTILE, is_pair=True, steps=(planned("filter"), planned("unwrap")))]
    moments = [*ran(0, 5, "a/filter", Status.FAILED, message=HOSTILE), moment(9, "a/unwrap", Status.RUNNING)]
    text = show(record_of(jobs, moments), ALIVE)
    assert "\x1b" not in text
    assert any(line.startswith("red <b>bold</b> tab") and "unwrap" in line for line in text.splitlines())
    assert "\x1b" not in format_plan(jobs, totals={"pairs": HOSTILE})
    assert dump(record_of(jobs, moments), ALIVE)["jobs"][0]["title"] == HOSTILE


@pytest.mark.parametrize("width", [50, 80, 100])
def test_nothing_is_wider_than_asked(width: int) -> None:
    jobs = [PlannedJob(id="a", title="long " * 40, is_pair=True, steps=(planned("filter"), planned("unwrap")))]
    moments = [*ran(0, 5, "a/filter", Status.FAILED, message="words " * 50), moment(9, "a/unwrap", Status.RUNNING)]
    text = show(record_of(jobs, moments), ALIVE, width=width)
    assert max(len(line) for line in text.splitlines()) <= max(width, 56)  # of numbers nothing can be cut
    assert "…" in text


def test_json_says_everything() -> None:
    known = dump(under_way(), ALIVE)
    assert set(known) == {
        *("state", "sentence", "pid", "host", "started", "elapsed_s", "left_s", "workers", "retries", "freed_bytes"),
        *("pairs_per_hour", "pairs", "steps", "in_use", "kinds", "jobs"),
    }
    assert (known["state"], known["pid"], known["elapsed_s"], known["left_s"]) == ("running", 4242, 500.0, 250)
    assert (known["retries"], known["freed_bytes"], known["pairs_per_hour"]) == (1, 5_000_000, 7.2)
    counts = {"total": 5, "done": 2, "running": 1, "waiting": 1, "failed": 0, "blocked": 1, "interrupted": 0}
    assert known["pairs"] == counts
    assert known["in_use"]["disk_free_bytes"] == 77 * GB
    kinds = {kind["name"]: (kind["done"], kind["failures"], kind["cores"]) for kind in known["kinds"]}
    assert kinds == {"geocode": (0, 1, None), "filter": (2, 1, 2.0), "unwrap": (1, 0, 2.0)}
    assert [one["id"] for one in known["jobs"]] == ["date", "a", "b", "c", "d", "e"]
    assert [one["status"] for one in known["jobs"]] == ["failed", "cached", "done", "running", "waiting", "blocked"]


def test_json_of_a_step() -> None:
    jobs = {one["id"]: one for one in dump(under_way(), ALIVE)["jobs"]}
    assert jobs["c"]["steps"][0] == {
        "name": "filter",
        "status": "done",
        "why": "not done yet",
        "attempt": 2,
        "at_s": 400.0,
        "seconds": 100.0,
        "cpu_seconds": 200.0,
        "peak_memory_bytes": 1_500_000_000,
        "written_bytes": 40_000_000,
        "message": "",
        "threads": None,
        "reserved_bytes": None,
        "predicted": {"memory_bytes": 2 * GB, "threads": 4, "disk_bytes": GB // 2, "seconds": 100.0},
    }
    assert (jobs["c"]["steps"][1]["threads"], jobs["c"]["steps"][1]["reserved_bytes"]) == (2, 3 * GB)
    assert jobs["date"]["steps"][0]["message"] == "orbit is missing\n  hint: fetch it"
    assert jobs["d"]["steps"][0]["seconds"] is None


def test_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    beginning = Beginning(started=BEGAN, pid=1, host="here", mark="m", jobs=(job("a", planned("filter")),))
    Recorder(tmp_path, beginning)
    record = read_record(tmp_path)
    assert record is not None
    text = show(record, replace(ALIVE, is_alive=None), now=time.time())
    assert "running (pid 1 on here)" in text
    assert "pairs    0 of 1 done, 1 waiting" in text
    known = dump(record, None, now=time.time())
    assert (known["state"], known["in_use"], known["kinds"], known["left_s"]) == ("died", None, [], None)


def test_ten_thousand_steps_stay_short(tmp_path: Path) -> None:
    names = [f"p{number:04d}" for number in range(2500)]
    jobs = tuple(job(name, *(planned(step) for step in ("a", "b", "c", "d"))) for name in names)
    recorder = Recorder(tmp_path, Beginning(started=BEGAN, pid=1, host="here", mark="m", jobs=jobs))
    for number, name in enumerate(names):
        for step in "abcd":
            recorder.event(Event(time=BEGAN, job=name, step=step, status=Status.RUNNING))
            if number % 20 == 0:
                failed = ended(1.0, Reason.ERROR, "it broke\n" * 30)
                recorder.event(Event(time=BEGAN, job=name, step=step, status=Status.FAILED, ended=failed))
            elif number % 3:
                recorder.event(Event(time=BEGAN, job=name, step=step, status=Status.DONE, ended=ended(1.0)))
    record = read_record(tmp_path)
    assert record is not None
    text = show(record, None, now=time.time())
    known = dump(record, None, now=time.time())
    assert len(text.splitlines()) < 130
    assert known["steps"]["total"] == 10_000
    assert "and 490 more" in text
    assert sum(len(one["steps"]) for one in known["jobs"]) == 10_000


class TestPlan:
    def test_says_what_is_to_be_done_and_why(self) -> None:
        jobs = [
            job("date", planned("geocode", Status.UNNEEDED), is_pair=False),
            job("a", planned("filter", Status.CACHED), replace(planned("unwrap"), why="options changed")),
        ]
        lines = [line.split("  ") for line in format_plan(jobs, totals={"pairs": "1", "time": "2 min"}).splitlines()]
        words = [[word.strip() for word in line if word.strip()] for line in lines]
        assert ["title of date", "geocode", "not needed"] in words
        assert ["title of a", "filter", "done"] in words
        assert ["unwrap", "to do", "options changed", "2.0 GB", "4", "500 MB", "1 min 40 s"] in words
        assert words[-2:] == [["pairs", "1"], ["time", "2 min"]]

    def test_long_reasons_are_cut_not_wrapped(self) -> None:
        steps = [replace(planned(name), why="because " * 40) for name in ("filter", "unwrap")]
        lines = format_plan([job("a", *steps)], totals={}, width=110).splitlines()
        assert len(lines) == 4
        assert max(len(line) for line in lines) == 110
        assert all(line.endswith("1 min 40 s") and "…" in line for line in lines[2:])

    def test_numbers_end_in_one_column(self) -> None:
        steps = [planned("filter", seconds=5.0), planned("unwrap", seconds=7200.0), planned("products", seconds=None)]
        lines = format_plan([job("a", *steps)], totals={}).splitlines()[2:]
        assert len({len(line) for line in lines}) == 1
        assert lines[2].endswith(" –")

    def test_nothing_to_show(self) -> None:
        assert format_plan([], totals={}) == ""
