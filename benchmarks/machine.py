"""The machine, and how time is measured on it."""

from __future__ import annotations

import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple

import numba
import numpy as np
import psutil
from numba import njit, prange
from numpy.typing import NDArray

Clock = Callable[[], float]

TAPS = 8
_ROUNDS = 200
_COPY_BYTES = 1 << 28
_READ_BYTES = 1 << 29
_BLOCK_BYTES = 1 << 22


class Timing(NamedTuple):
    """Median seconds of a call, and how many million multiply-adds the machine did in that time (median)."""

    seconds: float
    multiply_adds: float


def describe() -> dict[str, Any]:
    """What the machine is and what it does at the moment."""
    models = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def cpu_time() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(call: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Seconds of one call."""
    start = clock()
    call()
    return clock() - start


def time_call(call: Callable[[], object], *, threads: int, repeats: int) -> Timing:
    """Time a call that has been made before.

    On one thread CPU time counts, so that other work on the machine matters less; on several, the clock on the wall.
    The calibration kernel runs right before each call, so that their ratio survives a machine whose speed varies.
    """
    clock = cpu_time if threads == 1 else time.perf_counter
    numba.set_num_threads(threads)
    seconds, multiply_adds = [], []
    for _ in range(repeats):
        speed = calibrate(threads, clock)
        seconds.append(timed(call, clock))
        multiply_adds.append(speed * seconds[-1])
    return Timing(median(seconds), median(multiply_adds))


def calibrate(threads: int, clock: Clock) -> float:
    """Million single-precision multiply-adds per second, in the first-level cache."""
    values = np.ones((32 * threads, 2048), np.float32)
    return values.size * _ROUNDS / 1e6 / timed(lambda: _multiply_add(values, _ROUNDS), clock)


def peak_rate(threads: int) -> float:
    """Giga multiply-adds per second on so many threads (median)."""
    numba.set_num_threads(threads)
    clock = cpu_time if threads == 1 else time.perf_counter
    calibrate(threads, clock)
    return median(calibrate(threads, clock) for _ in range(9)) / 1e3


def copy_bandwidth() -> float:
    """GB/s that NumPy reads and writes when it copies a large array."""
    source = np.ones(_COPY_BYTES // 8)
    target = np.zeros_like(source)
    return 2 * _COPY_BYTES / 1e9 / median(timed(lambda: np.copyto(target, source)) for _ in range(7))


def disk_read(folder: Path) -> float | None:
    """GB/s at which a file is read that is not in the disk's cache; None where the cache cannot be emptied."""
    if not hasattr(os, "posix_fadvise"):
        return None
    with tempfile.TemporaryFile(dir=folder) as file:
        block = os.urandom(_BLOCK_BYTES)
        for _ in range(_READ_BYTES // _BLOCK_BYTES):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        return _READ_BYTES / 1e9 / timed(lambda: _read_through(file))


def _read_through(file: IO[bytes]) -> None:
    while file.read(_BLOCK_BYTES):
        pass


def first_touch() -> float:
    """Seconds that a gigabyte of memory costs when it is first written to; virtual machines may be slow at it."""
    return 1e9 / _COPY_BYTES * timed(lambda: np.empty(_COPY_BYTES, np.uint8).fill(1))


@njit(parallel=True, fastmath=True)
def _multiply_add(values: NDArray[np.float32], rounds: int) -> None:
    for row in prange(values.shape[0]):
        for _ in range(rounds):
            for i in range(values.shape[1]):
                values[row, i] = values[row, i] * np.float32(0.999) + np.float32(0.001)


@njit(parallel=True, fastmath=True)
def interpolate(image: NDArray[np.complex64], weights: NDArray[np.float32], out: NDArray[np.complex64]) -> None:
    """Plain interpolation with eight by eight taps at slightly turned positions: what geocoding is measured by."""
    for row in prange(out.shape[0]):
        for column in range(out.shape[1]):
            y = row + 0.02 * column
            x = column + 0.3
            i = int(y)
            j = int(x)
            a = weights[int((y - i) * weights.shape[0])]
            b = weights[int((x - j) * weights.shape[0])]
            total = np.complex64(0.0)
            for m in range(TAPS):
                line = np.complex64(0.0)
                for n in range(TAPS):
                    line += b[n] * image[i + m, j + n]
                total += a[m] * line
            out[row, column] = total


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
