"""What the native engine's steps take: the table that predictions start from.

Memory follows from the arrays that a step holds, and predicts no less than what was measured on a swath of 332 million
fine pixels, 2301 by 1528 in the output: geocode 0.80 GB, interfere 1.18 GB, unwrap 1.61 GB. Disk is the size of the
arrays that it writes. Time was measured on one core of a virtual machine (AMD EPYC); other machines learn their own.
"""

from __future__ import annotations

from functools import partial

from topsar.engines.costs import Cost

BASE_MEMORY = 400_000_000
"""An interpreter with its packages; every step on the smallest of data peaks at 0.29 to 0.40 GB."""

_cost = partial(Cost, base_memory=BASE_MEMORY)

GEOCODE = _cost(memory=0, disk=4, start_s=1.5, microseconds=0.12, pixels_per_thread=5e6)
"""Per fine pixel; its memory depends on the largest burst and the DEM, not on how many bursts there are."""
INTERFERE = _cost(memory=154, disk=40, start_s=2.0, microseconds=8, pixels_per_thread=2e5)
"""Per output pixel, as the others."""
FILTER = _cost(memory=60, disk=8, start_s=1.0, microseconds=2)
UNWRAP = _cost(memory=400, disk=9, start_s=1.5, microseconds=35, pixels_per_thread=2e6)
SOLVE = _cost(memory=100_000, disk=2_000, start_s=1.0, microseconds=500)
"""Per pair."""
DELAY = _cost(memory=0, disk=0, start_s=2.5, microseconds=0.15, pixels_per_thread=5e6)
"""Per pixel of a patch and trial."""
