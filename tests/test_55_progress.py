"""What a watcher sees."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from pathlib import Path

from fake_steps import Bench, chain
from topsar.schedule.jobs import Event, Status
from topsar.schedule.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[str]:
    return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]


def test_plain_lines(tmp_path: Path) -> None:
    bench, stream = Bench(tmp_path), io.StringIO()
    with Progress([chain()], stream=stream) as show:
        bench.run(chain(), observe=show)
    said = lines(stream)
    assert said[0] == "pair a: read started"
    assert said[1].startswith("pair a: read done in 0.")
    assert len(said) == 8


def test_quiet_about_what_was_done_before(tmp_path: Path) -> None:
    bench, stream = Bench(tmp_path), io.StringIO()
    bench.run(chain())
    with Progress([chain()], stream=stream) as show:
        bench.run(chain(), observe=show)
    assert stream.getvalue() == ""


def test_failures_say_why(tmp_path: Path) -> None:
    bench, stream = Bench(tmp_path), io.StringIO()
    job = chain(filter_does="echo error: no room >&2; exit 65")
    with Progress([job], stream=stream) as show:
        bench.run(job, observe=show)
    assert lines(stream)[-2:] == ["pair a: filter failed: no room", "pair a: unwrap blocked"]


def test_bar_counts_pairs(tmp_path: Path) -> None:
    bench, stream = Bench(tmp_path), Terminal()
    jobs = [chain("a"), chain("b", filter_does="echo error: no room >&2; exit 65")]
    with Progress(jobs, stream=stream) as show:
        bench.run(*jobs, observe=show)
        assert show._bar is not None
        assert (show._bar.n, show._bar.total) == (2, 2)
    assert "pair b: filter failed: no room" in stream.getvalue()
    assert "started" not in stream.getvalue()


def test_bar_names_what_runs() -> None:
    now, stream = datetime(2025, 4, 6, tzinfo=timezone.utc), Terminal()
    with Progress([chain("a"), chain("b"), chain("c")], stream=stream) as show:
        for name, step in (("a", "read"), ("b", "read"), ("c", "form")):
            show(Event(time=now, job=name, step=step, status=Status.RUNNING))
        assert show._bar is not None
        assert show._bar.postfix == "read x2, form"
