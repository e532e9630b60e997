"""One subprocess: how it ended, what it used, and that nothing of it is left."""

from __future__ import annotations

import signal
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from topsar.schedule import command as command_module
from topsar.schedule.command import Handle, _read_last_words, run_command
from topsar.schedule.guard import MARK, find_marked
from topsar.schedule.jobs import Command, Ended, Reason, Resources

RUN = f"{uuid.uuid4().hex}."


def run(tmp_path: Path, script: str, handle: Handle | None = None, **rest: Any) -> Ended:
    env = {MARK: RUN, "X": "1"}
    command = Command(argv=("sh", "-c", script), cwd=tmp_path, log=tmp_path / "log", env=env, **rest)
    return run_command(command, handle)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("true", Reason.DONE),
        ("exit 1", Reason.ERROR),
        ("exit 65", Reason.BAD_INPUT),
        ("exit 75", Reason.RETRYABLE),
        ("kill -SEGV $$", Reason.ERROR),
        ("kill -KILL $$", Reason.RETRYABLE),
        ("kill -TERM $$", Reason.RETRYABLE),
        ("echo 'error: [Errno 28] No space left on device' >&2; exit 65", Reason.DISK_FULL),
        ("echo 'MemoryError: Unable to allocate 9 GiB'; exit 1", Reason.OUT_OF_MEMORY),
        ("echo 'numpy._core._exceptions._ArrayMemoryError: Unable'; exit 1", Reason.OUT_OF_MEMORY),
    ],
)
def test_reason(tmp_path: Path, script: str, reason: Reason) -> None:
    assert run(tmp_path, script).reason is reason


def test_sigkill_with_more_memory_than_reserved_is_out_of_memory(tmp_path: Path) -> None:
    script = (
        f"exec {sys.executable} -c \"x = b'1' * 80_000_000; import os, time; time.sleep(0.3); os.kill(os.getpid(), 9)\""
    )
    ended = run(tmp_path, script, needs=Resources(memory_bytes=50_000_000))
    assert ended.reason is Reason.OUT_OF_MEMORY
    assert "0.05 GB reserved" in ended.message
    assert "SIGKILL" in ended.message


def test_sigkill_while_the_kernel_counted_a_kill_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr(command_module, "count_oom_kills", lambda: next(counts))
    assert run(tmp_path, "kill -KILL $$").reason is Reason.OUT_OF_MEMORY


def test_environment_and_log(tmp_path: Path) -> None:
    run(tmp_path, "echo out $X; echo err >&2; pwd")
    run(tmp_path, "echo again")
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("# ")]
    assert lines == ["out 1", "err", str(tmp_path), "again"]


def test_message_is_of_this_attempt_alone(tmp_path: Path) -> None:
    assert run(tmp_path, "echo error: first; exit 1").message == "first"
    assert run(tmp_path, "exit 3").message == f"exit code 3, nothing in {tmp_path / 'log'}"


def test_what_cannot_start_is_an_error(tmp_path: Path) -> None:
    missing = Command(argv=("no-such-program",), cwd=tmp_path, log=tmp_path / "log")
    ended = run_command(missing)
    assert (ended.reason, ended.exit_code) == (Reason.ERROR, 127)
    assert "no-such-program" in ended.message
    gone = Command(argv=("true",), cwd=tmp_path / "gone", log=tmp_path / "gone" / "log")
    assert run_command(gone).reason is Reason.ERROR


def test_timeout_ends_the_whole_tree(tmp_path: Path) -> None:
    script = "(trap '' TERM; sleep 60) & setsid sleep 61 & echo waiting; sleep 62"
    ended = run(tmp_path, script, timeout_s=0.3)
    assert ended.reason is Reason.TIMED_OUT
    assert ended.message == "timed out after 0.3 s; its last words: waiting"
    assert find_marked(RUN) == []


def test_who_is_asked_to_end_is_given_time(tmp_path: Path) -> None:
    script = "trap 'sleep 0.2; touch saved; exit' TERM; while true; do sleep 0.05; done"
    assert run(tmp_path, script, timeout_s=0.3).reason is Reason.TIMED_OUT
    assert (tmp_path / "saved").exists()


def test_leftovers_of_a_done_step_are_ended(tmp_path: Path) -> None:
    assert run(tmp_path, "sleep 60 & setsid sleep 61 & sleep 0.2").reason is Reason.DONE
    assert find_marked(RUN) == []


def test_stop_from_another_thread(tmp_path: Path) -> None:
    handle = Handle()
    timer = threading.Timer(0.2, handle.stop, (0.3,))
    timer.start()
    ended = run(tmp_path, "trap '' TERM; sleep 60; sleep 60", handle=handle)
    assert (ended.reason, ended.exit_code) == (Reason.INTERRUPTED, -signal.SIGKILL)
    timer.join()
    assert run(tmp_path, "true", handle=handle).reason is Reason.INTERRUPTED


def test_peak_memory_is_of_the_whole_tree(tmp_path: Path) -> None:
    child = "import time; x = b'1' * 100_000_000; time.sleep(0.6)"
    ended = run(tmp_path, f'{sys.executable} -c "{child}" & {sys.executable} -c "{child}" & wait')
    assert 200e6 < ended.peak_memory_bytes < 300e6


def test_peak_memory_does_not_count_this_process(tmp_path: Path) -> None:
    ballast = b"1" * 200_000_000
    ended = run(tmp_path, "true")
    assert psutil.Process().memory_info().rss > len(ballast)
    assert ended.peak_memory_bytes < 100e6


def test_cpu_time(tmp_path: Path) -> None:
    ended = run(tmp_path, f'{sys.executable} -c "import time\nwhile time.process_time() < 0.3: pass"')
    assert 0.29 < ended.cpu_s < 1.5


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("a\nb\nc\n\nd\n", "b\nc\nd"),
        ("error: old\nok\nerror: new\n  hint: do it\n", "new\n  hint: do it"),
        ("10%\r50%\r99%\n", "99%"),
        ("\x1b[31mred\x1b[0m\n", "red"),
        (
            "Traceback (most recent call last):\n  File x\n    y()\nKeyError: 1\n\nDuring handling ...\n\n"
            "Traceback (most recent call last):\n  File z\n    w()\nValueError: two\nlines\n",
            "ValueError: two\nlines",
        ),
        ("x" * 30_000, "x" * 800),
    ],
)
def test_last_words(tmp_path: Path, log: str, words: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert _read_last_words(path) == words
