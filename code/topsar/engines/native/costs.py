"""What the native engine's steps take: the table that predictions start from.

Memory follows from the arrays that a step holds, and predicts no less than what was measured on a swath of 332 million
fine pixels, 2301 by 1528 in the output: geocode 0.80 GB, interfere 1.18 GB, unwrap 1.61 GB. Disk is the size of the
arrays that it writes. Time was measured on one core of a virtual machine (AMD EPYC); other machines learn their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from topsar.model import Resources

BASE_MEMORY = 400_000_000
"""An interpreter with its packages; every step on the smallest of data peaks at 0.29 to 0.40 GB."""
MOST_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How a step grows with its pixels.

    Attributes
    ----------
    memory : float
        Bytes per pixel, beyond the interpreter's.
    disk : float
        Bytes per pixel.
    start_s : float
        Seconds of a step without work: start of the interpreter, loading of compiled code.
    microseconds : float
        Of one core, per pixel.
    pixels_per_thread : float
        So many pixels are worth a thread of their own; infinite for a step that has one thread.
    """

    memory: float
    disk: float
    start_s: float
    microseconds: float
    pixels_per_thread: float = math.inf

    def needs(self, pixels: float, extra_memory: float = 0.0) -> Resources:
        """What a step of so many pixels needs."""
        return Resources(
            memory_bytes=int(BASE_MEMORY + self.memory * pixels + extra_memory),
            threads=max(1, min(MOST_THREADS, int(pixels / self.pixels_per_thread))),
            disk_bytes=int(self.disk * pixels),
        )

    def seconds(self, pixels: float) -> float:
        """How long a step of so many pixels takes on the threads that it can use."""
        return round(self.start_s + self.microseconds * 1e-6 * pixels / self.needs(pixels).threads, 1)

    def timeout_s(self, pixels: float) -> float:
        """When a step of so many pixels is given up: long after the slowest machine is done."""
        return 3600.0 + 200 * self.seconds(pixels)


GEOCODE = Cost(memory=0, disk=4, start_s=1.5, microseconds=0.12, pixels_per_thread=5e6)
"""Per fine pixel; its memory depends on the largest burst and the DEM, not on how many bursts there are."""
INTERFERE = Cost(memory=150, disk=36, start_s=2.0, microseconds=8, pixels_per_thread=2e5)
"""Per output pixel, as the others."""
FILTER = Cost(memory=60, disk=8, start_s=1.0, microseconds=2)
UNWRAP = Cost(memory=400, disk=9, start_s=1.5, microseconds=35, pixels_per_thread=2e6)
