"""Steps that are forked from a process that has loaded their modules do as those that are started."""

from __future__ import annotations

import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_steps import wait_for
from topsar.engines.step import PRELOAD
from topsar.schedule.command import THREAD_VARIABLES, Handle, run_command
from topsar.schedule.forking import Parent
from topsar.schedule.guard import MARK, find_marked
from topsar.schedule.jobs import Command, Ended, Reason, Resources

SHELL = "import os, sys; os.execvp('sh', ['sh', '-c', sys.argv[1]])"
TELL = """
import os, sys, threading
was_forked = "heavy" in sys.modules
print(os.getcwd(), sys.argv[1:], sys.path[0], __name__, os.environ["X"], "EARTHDATA_PASSWORD" in os.environ)
print(os.getsid(0) == os.getpgid(0) == os.getpid(), os.getppid(), threading.active_count(), sys.stdin.read() == "")
print(*sorted(os.readlink(f"/proc/self/fd/{n}") for n in "012"), os.listdir("/proc/self/fd").__len__(), os.nice(0))
print(b"hunter2" in open("/proc/self/environ", "rb").read(), file=sys.stderr)
open("was_forked", "w").write(str(was_forked))
raise KeyError("the end")
"""


class World:
    """A run with a folder of modules, and the process that forks."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark, self.serial = folder, uuid.uuid4().hex, 0
        self.parent = Parent(self.mark)
        for name, text in {"shell": SHELL, "tell": TELL, "heavy": ""}.items():
            (folder / f"{name}.py").write_text(text)

    def command(self, module: str, *words: str, preload: tuple[str, ...] = ("heavy",), **rest: object) -> Command:
        self.serial += 1
        env = {MARK: f"{self.mark}.{self.serial}.", "X": "1"} | dict.fromkeys(THREAD_VARIABLES, "2")
        argv, log = (sys.executable, "-m", module, *words), self.folder / f"log{self.serial}"
        return Command(argv=argv, cwd=self.folder, log=log, env=env, preload=preload, **rest)  # type: ignore[arg-type]

    def tell(self, **rest: object) -> tuple[bool, list[str]]:
        """Whether a process was forked, and what it said; it always fails in the same way."""
        command = self.command("tell", "a b", **rest)
        ended = run_command(command, None, self.parent.fork)
        assert (ended.reason, ended.exit_code, ended.message) == (Reason.ERROR, 1, "KeyError: 'the end'")
        told = [line for line in command.log.read_text().replace(command.log.name, "log").splitlines() if line]
        return (self.folder / "was_forked").read_text() == "True", told[
            1 : told.index("Traceback (most recent call last):")
        ]

    def shell(self, script: str, handle: Handle | None = None, **rest: object) -> Ended:
        return run_command(self.command("shell", script, **rest), handle, self.parent.fork)

    def kill_parent(self) -> None:
        process = self.parent._process
        assert process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.parent.close()
    assert find_marked(f"{world.mark}.") == []


def test_a_fork_is_like_a_process_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_PASSWORD", "hunter2")
    (forked, said), (plain, otherwise) = world.tell(), world.tell(preload=())
    assert (forked, plain) == (True, False)
    assert said == otherwise
    assert f"{world.folder} ['a b'] {world.folder} __main__ 1 False" in said


def test_a_fork_ends_as_a_process_of_its_own(world: World) -> None:
    ends = {
        "true": Reason.DONE,
        "exit 65": Reason.BAD_INPUT,
        "exit 75": Reason.RETRYABLE,
        "kill -SEGV $$": Reason.ERROR,
        "kill -KILL $$": Reason.RETRYABLE,
        "echo 'MemoryError: Unable to allocate 9 GiB'; exit 1": Reason.OUT_OF_MEMORY,
        "sleep 60 & setsid sleep 61 & sleep 0.2": Reason.DONE,
    }
    assert {script: world.shell(script).reason for script in ends} == ends
    assert find_marked(f"{world.mark}.{world.serial}.") == []
    assert world.shell("sleep 60", timeout_s=0.2).reason is Reason.TIMED_OUT


def test_a_folder_that_is_gone_is_an_error_and_harms_no_other(world: World, tmp_path: Path) -> None:
    command = world.command("shell", "true")
    assert run_command(command, None, world.parent.fork).reason is Reason.DONE
    gone = Command(argv=command.argv, cwd=tmp_path / "gone", log=command.log, env=command.env, preload=("heavy",))
    ended = run_command(gone, None, world.parent.fork)
    assert ended.reason is Reason.ERROR
    assert "No such file" in ended.message
    assert world.tell()[0]


def test_a_fork_and_what_it_started_are_found_by_its_mark_and_ended(world: World) -> None:
    handle, ended = Handle(), list[Ended]()
    script = f"trap '' TERM; setsid sleep 60 & touch {world.folder}/started; sleep 60"
    thread = threading.Thread(target=lambda: ended.append(world.shell(script, handle)))
    thread.start()
    assert wait_for((world.folder / "started").exists, 30)
    assert len(find_marked(f"{world.mark}.1.")) >= 2
    handle.stop(0.2)
    thread.join()
    assert ended[0].reason is Reason.INTERRUPTED
    assert find_marked(f"{world.mark}.1.") == []


def test_memory_and_time_of_a_fork_are_its_own(world: World) -> None:
    (world.folder / "use.py").write_text(
        "import time\nx = b'1' * 200_000_000\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    )
    ended = run_command(world.command("use"), None, world.parent.fork)
    assert 200e6 < ended.peak_memory_bytes < 300e6
    assert 0.25 < ended.cpu_s < 1.5
    killed = "x = b'1' * 80_000_000; import os, time; time.sleep(0.3); os.kill(os.getpid(), 9)"
    (world.folder / "killed.py").write_text(killed)
    over = run_command(world.command("killed", needs=Resources(memory_bytes=50_000_000)), None, world.parent.fork)
    assert over.reason is Reason.OUT_OF_MEMORY


def test_steps_outlive_the_parent_which_is_started_once_more(world: World) -> None:
    ended = list[Ended]()
    thread = threading.Thread(
        target=lambda: ended.append(world.shell("touch started; while [ ! -e go ]; do sleep 0.05; done; exit 75"))
    )
    thread.start()
    assert wait_for((world.folder / "started").exists, 30)
    world.kill_parent()
    assert world.tell()[0]
    (world.folder / "go").touch()
    thread.join()
    assert (ended[0].reason, ended[0].exit_code) == (Reason.RETRYABLE, 75)
    world.kill_parent()
    assert not world.tell()[0]


@pytest.mark.parametrize(
    "heavy",
    [
        "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "file = open(__file__)",
        "import no_such_module",
        "import os\nos._exit(0)",
    ],
)
def test_what_cannot_be_forked_safely_is_started(world: World, heavy: str) -> None:
    (world.folder / "heavy.py").write_text(heavy)
    assert not world.tell()[0]


def test_another_environment_is_that_of_a_process_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.tell()[0]
    monkeypatch.setenv("PYTHONWARNINGS", "ignore::DeprecationWarning")
    assert not world.tell()[0]
    monkeypatch.undo()
    assert world.tell()[0]


def test_native_steps_are_forked_with_as_many_threads_as_they_are_granted(world: World) -> None:
    (world.folder / "threads.py").write_text(
        "import sys\nwas_forked = 'numba' in sys.modules and 'matplotlib' not in sys.modules\n"
        "from topsar import step\nstep.obey_thread_caps()\n"
        "import numba\nfrom numba.np.ufunc import parallel\n"
        "numba.get_num_threads()\nprint(was_forked, numba.get_num_threads(), parallel.NUM_THREADS)"
    )
    command = world.command("threads", preload=PRELOAD)
    assert run_command(command, None, world.parent.fork).reason is Reason.DONE, command.log.read_text()
    assert command.log.read_text().splitlines()[1:] == ["True 2 2"]
