"""What the native engine's steps take: the table that predictions start from.

Memory follows from the arrays that a step holds, and predicts no less than what was measured on a frame of 931 million
samples, 10 million pixels in the output: geocode 0.74 GB, multiply 1.05 GB, view 0.93 GB, mosaic 0.68 GB, filter
0.50 GB, unwrap 1.10 GB. Disk is the size of the arrays that it writes. Time was measured on one core of a virtual
machine (AMD EPYC); other machines learn their own.
"""

from __future__ import annotations

from functools import partial

from topsar.engines.step import Cost

BASE_MEMORY, LIGHT_MEMORY = 400_000_000, 150_000_000
"""An interpreter with its packages: on the smallest of data steps peak at 0.29 to 0.40 GB, those without kernels and
rasters at 0.07 to 0.11 GB."""

_cost = partial(Cost, base_memory=BASE_MEMORY)
_light = partial(Cost, base_memory=LIGHT_MEMORY)

GEOCODE = _cost(memory=0, disk=4, start_s=1.5, microseconds=0.05, pixels_per_thread=1e7)
"""Per fine pixel; its memory depends on the largest burst and the DEM, not on how many bursts there are."""
MULTIPLY = _cost(memory=95, disk=34, start_s=1.0, microseconds=1.5, pixels_per_thread=2e5)
"""Per output pixel of its bursts."""
MOSAIC = _light(memory=75, disk=26, start_s=0.4, microseconds=0.4)
"""Per output pixel, as the others."""
VIEW = _cost(memory=75, disk=18, start_s=1.5, microseconds=1, pixels_per_thread=2e5)
FILTER = _light(memory=60, disk=8, start_s=0.6, microseconds=0.6)
UNWRAP = _light(memory=120, disk=9, start_s=0.5, microseconds=4, pixels_per_thread=1e7)
SOLVE = _cost(memory=100_000, disk=2_000, start_s=1.0, microseconds=500)
"""Per pair."""
SLC = _cost(memory=0, disk=8, start_s=2.0, microseconds=0.12)
"""Per fine pixel."""
DISPERSION = _cost(memory=0, disk=0, start_s=1.0, microseconds=0.05)
"""Per fine pixel and date."""
DELAY = _cost(memory=0, disk=0, start_s=2.5, microseconds=0.07, pixels_per_thread=5e6)
"""Per pixel of a patch and trial."""
