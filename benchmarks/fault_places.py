"""Campaigns that harm where a run takes place: its state, disk, clock, limits, home; and a large run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import combinations, islice
from pathlib import Path

from fault_count import Count, Place
from fault_inputs import Attempt
from fault_world import (
    FLAGS,
    LIMITS,
    Products,
    Ran,
    Warm,
    copy_data,
    find_fault,
    make_data,
    open_world,
    read_products,
)

import topsar

# --- state ----------------------------------------------------------------------------------------------------------


def harm_state(place: Place) -> Count:
    """Every file that a later command reads is harmed in every way; then each command is given."""
    world, count = open_world(), Count("state")
    done = copy_data(world.data, place.folder / "done")
    if world.warm.run(done, CLEANUP="scratch").code:
        sys.exit("error: the undisturbed run failed")
    verbs = (*VERBS, ("plan",), ("export", "geotiff"))
    return harm_files(done, verbs, place, partial(Attempt, place, world), count, CLEANUP="scratch")


def harm_files(
    done: Path, verbs: Sequence[tuple[str, ...]], place: Place, attempt_at: Callable[[str, Count], Attempt],
    count: Count, **flags: str,
) -> Count:  # fmt: skip
    """Harm the state that a run has left in a folder, give each verb, and run again."""
    names = sorted(str(path.relative_to(done)) for path in (done / "runs").rglob("*") if path.suffix in _STATE)
    for name, how in place.choose([(name, how) for name in names for how in _HARMS], 100):
        with attempt_at(f"{name} is {how}", count) as attempt:
            shutil.copytree(done / "runs", attempt.data / "runs", copy_function=shutil.copy2, symlinks=True)
            shutil.copy(done / "pairs.txt", attempt.data)
            _HARMS[how](attempt.data / name)
            for verb in verbs:
                fault = find_fault(_give(attempt, verb))
                count.demand(not fault, f"{attempt.name}, {verb[0]}: {fault}")
            if attempt.run(**flags).code:
                _remove(attempt.data / name)
                attempt.finish()
    return count


_STATE = {".json", ".jsonl", ".lock"}
VERBS = (("status",), ("status", "--json"), ("clean", "--dry-run"), ("doctor",))
"""What reads the state of runs of all kinds."""


def _give(attempt: Attempt, verb: tuple[str, ...]) -> Ran:
    if verb[0] != "status":
        return attempt.world.warm.run(attempt.data, *verb)
    return attempt.world.warm.topsar(*verb, "--data", str(attempt.data), cwd=attempt.data)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _writing(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _retype(path: Path) -> None:
    """Each value of each object becomes one of another type."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    changed = [json.dumps({key: [value] if isinstance(value, str) else "x" for key, value in json.loads(one).items()})
               for one in lines]  # fmt: skip
    path.write_text("\n".join(changed) + "\n")


def _climb(path: Path) -> None:
    """Each name that is told leads out of the runs folder."""
    path.write_text(path.read_text().replace('"T131', '"../../raw/T131').replace('"slc_', '"x/../../../raw/slc_'))


_HARMS: dict[str, Callable[[Path], object]] = {
    "empty": _writing(b""),
    "a list": _writing(b"[]"),
    "a text": _writing(b'"x"'),
    "a number": _writing(b"5"),
    "null": _writing(b"null"),
    "an empty object": _writing(b"{}"),
    "deep": _writing(b"[" * 100_000),
    "deep objects": _writing(b'{"a":' * 100_000),
    "no UTF-8": _writing(b'{"engine": "\xff\xfe"}'),
    "zeros": _writing(bytes(5000)),
    "a large number": _writing(b'{"engine": 1e999, "jobs": 123456789012345678901234567890}'),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "doubled": lambda path: path.write_bytes(path.read_bytes() * 2),
    "of other types": _retype,
    "leading out of the folder": _climb,
    "a folder": _replace_by_folder,
    "a link to nowhere": _replace_by_link,
    "gone": Path.unlink,
}


# --- disks ----------------------------------------------------------------------------------------------------------


def shrink_disk(place: Place) -> Count:
    """The runs folder is a disk of every size from too small to enough; then there is room."""
    world, count = open_world(), Count("disks of every size")
    sizes = [0.1, 0.3, 0.6, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 50, 60]
    for number in place.choose(range(len(sizes))):
        size = f"size={round(sizes[number] * 1024)}k"
        for cleanup in ("none", "scratch"):
            with Attempt(place, world, f"a disk of {sizes[number]} MB, CLEANUP={cleanup}", count) as attempt:
                runs = attempt.data / "runs"
                runs.mkdir()
                subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", runs], check=True)
                ran = attempt.run(CLEANUP=cleanup)
                count.demand(ran.code == 0 or sizes[number] < sizes[-1], f"{attempt.name}: {ran.err.strip()[-300:]}")
                subprocess.run(["mount", "-o", "remount,size=200m", runs], check=True)
                attempt.finish()
                subprocess.run(["umount", runs], check=True)
    return count


# --- clocks ---------------------------------------------------------------------------------------------------------

_HOUR, _DAY, _YEAR = 3600, 86400, 365 * 86400
_JUMPS = {
    "a year ahead, half-way": [0, _YEAR],
    "a year back, half-way": [0, -_YEAR],
    "an hour back and forth": [0, -_HOUR],
    "a minute back and forth": [60, -60],
    "twenty years ahead": [20 * _YEAR],
    "twenty years back": [-20 * _YEAR],
    "ahead, then further": [_DAY, 10 * _DAY, 100 * _DAY, 1000 * _DAY],
    "back, then further": [-_DAY, -10 * _DAY, -100 * _DAY, -1000 * _DAY],
}
_CLOCK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long seconds_off(void) {
    static char path[4096];
    if (!path[0]) realpath(getenv("FAULT_CLOCK"), path);
    char text[32] = "0";
    int file = open(path, O_RDONLY);
    if (file < 0 || read(file, text, 31) < 0) text[0] = 0;
    if (file >= 0) close(file);
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds_off();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""
"""The clock of a process, as many seconds off as a file says: what setting the machine's clock would do to it."""


def set_clock(place: Place) -> Count:
    """The clock is set while a run goes on, and again before the next one, which must find everything done."""
    count = Count("clocks set while a run goes on")
    if not (compiler := shutil.which("cc")):
        count.skipped = "no C compiler"
        return count
    said, library = place.folder / "clock", place.folder / "clock.so"
    said.write_text("0")
    made = subprocess.run([compiler, "-shared", "-fPIC", "-w", "-xc", "-o", library, "-"], input=_CLOCK, text=True)
    made.check_returncode()
    env = {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(said)}
    world = open_world()
    warm = Warm(place.folder, world.data, **env)
    try:
        for name in place.choose(list(_JUMPS)):
            with Attempt(place, world, name, count) as attempt, _setting(said, _JUMPS[name]):
                attempt.judge(warm.run(attempt.data))
                again = warm.run(attempt.data)
                count.resumes += 1
                count.repeated += again.err.count(" started\n")
                attempt.judge(again)
                count.demand(again.code == 0, f"{name}: not done in the end: {again.err.strip()[-300:]}")
    finally:
        warm.close()
    return count


@contextmanager
def _setting(said: Path, jumps: list[int]) -> Iterator[None]:
    """Set the clock to each in turn, every 0.7 s, and again from the first."""
    over = threading.Event()

    def set_on() -> None:
        turn = 0
        while not over.wait(0.7 if turn else 0):
            said.write_text(str(jumps[turn % len(jumps)]))
            turn += 1

    thread = threading.Thread(target=set_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        said.write_text("0")


# --- limits, umasks, homes ------------------------------------------------------------------------------------------


def limit_files(place: Place) -> Count:
    """`ulimit -n` of 64 and fewer, for the run and its steps."""
    world, count = open_world(), Count("few open files")
    for most in (64, 48, 32, 24, 16)[: place.rounds(5)]:
        for workers in ("1", "8"):
            with Attempt(place, world, f"{most} open files, {workers} workers", count) as attempt:
                shutil.copy(world.data / "pairs.txt", attempt.data)
                ran = attempt.run(WORKERS=workers, **{LIMITS: json.dumps({"files": most})})
                count.demand(ran.code == 0 or most < 64, f"{attempt.name}: {ran.err.strip()[-300:]}")
                attempt.finish()
    return count


def set_umask(place: Place) -> Count:
    """A umask of 000 and of 077: the same results, which nobody but the user can read if it says so."""
    world, count = open_world(), Count("umask")
    for umask in (0o000, 0o077, 0o027)[: place.rounds(3)]:
        with Attempt(place, world, f"umask {umask:03o}", count) as attempt:
            attempt.run(**{LIMITS: json.dumps({"umask": umask})})
            made = [path for path in (attempt.data / "runs").rglob("*") if not path.is_symlink()]
            wrong = [path.name for path in made if path.stat().st_mode & umask]
            count.demand(not wrong, f"{attempt.name}: others may use {wrong[:3]}")
            count.demand(len(made) > 20, f"{attempt.name}: there is little")
            attempt.finish()
    return count


def forbid_home(place: Place) -> Count:
    """A home, and a program, that cannot be written to; with a folder for compiled kernels and without one."""
    world, count = open_world(), Count("read-only home and program")
    home = place.folder / "home"
    home.mkdir()
    program = Path(topsar.__file__).parents[1]  # not always beside this file
    for folder in (home, program):
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    for cache in ("", str(place.folder / "kernels"))[: place.rounds(2)]:
        with Attempt(place, world, f"read-only home, NUMBA_CACHE_DIR={cache}", count) as attempt:
            keep = {key: text for key, text in os.environ.items() if key in ("PATH", "LANG", "TMPDIR")}
            env = keep | {"HOME": str(home), "PYTHONPATH": str(program)} | ({"NUMBA_CACHE_DIR": cache} if cache else {})
            options = [word for key, text in FLAGS.items() for word in ("-o", f"{key}={text}")]
            argv = [sys.executable, "-m", "topsar", "run", "--data", ".", "--pairs", "pairs.txt", *options]
            done = subprocess.run(argv, cwd=attempt.data, env=env, capture_output=True, text=True)
            attempt.judge(Ran(code=done.returncode, out=done.stdout, err=done.stderr))
            is_expected = done.returncode == 0 if cache else "NUMBA_CACHE_DIR" in done.stderr
            count.demand(is_expected, f"{attempt.name}: {done.stderr.strip()[-400:]}")
    return count


# --- many pairs -----------------------------------------------------------------------------------------------------


def run_many(place: Place) -> Count:
    """A hundred pairs of fifteen dates with eight workers, and every tenth of them with one: the same results."""
    count, pairs = Count("a hundred pairs, eight workers"), max(3, place.rounds(100))
    data = place.folder / "data"
    make_data(data, next(dates for dates in range(3, 99) if dates * (dates - 1) // 2 >= pairs))
    names = [path.stem for path in sorted((data / "raw").iterdir())]
    lines = [f"{one} {other}\n" for one, other in islice(combinations(names, 2), pairs)]
    (data / "pairs.txt").write_text(lines[0])
    warm = Warm(place.folder, data)
    warm.longest_s = 3000
    try:
        many, few = (_run_listed(place, warm, count, listed, n) for listed, n in ((lines, "8"), (lines[::10], "1")))
    finally:
        warm.close()
    count.faults = pairs
    for pair, products in few.items():
        if wrong := products.differences(many[pair]) if pair in many else ["no products"]:
            count.differing += 1
            count.notes.append(f"{pair}: other {', '.join(wrong[:6])}")
    return count


def _run_listed(place: Place, warm: Warm, count: Count, lines: list[str], workers: str) -> dict[str, Products]:
    copy = copy_data(warm.data, place.folder / f"by{workers}")
    (copy / "pairs.txt").write_text("".join(lines))
    ran = warm.run(copy, WORKERS=workers, CLEANUP="scratch")
    count.demand(ran.code == 0 and not find_fault(ran), f"{workers} workers: {ran.err.strip()[-400:]}")
    count.executed += ran.err.count(" started\n")
    found = read_products(copy)
    count.demand(len(found) == len(lines), f"{workers} workers: {len(found)} of {len(lines)} pairs have products")
    return found


CAMPAIGNS: dict[str, Callable[[Place], Count]] = {
    "state": harm_state,
    "disk sizes": shrink_disk,
    "clock set": set_clock,
    "open files": limit_files,
    "umask": set_umask,
    "home": forbid_home,
    "many": run_many,
}
WITH_MOUNTS = ("disk sizes", "home")
