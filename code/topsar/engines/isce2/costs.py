"""What topsApp's steps take: the table that predictions start from.

Measured with ISCE2 2.6.5 on three full bursts of IW2 (120 million samples, 40 million in a burst) on two cores of a
virtual machine (AMD EPYC), ionosphere on and off. Memory follows the largest burst until the merge, the multilooked
pixels after it, the nodes of the geocoded grid at the end.
"""

from __future__ import annotations

from functools import partial

from topsar.engines.step import Cost

_BASE_MEMORY = 350_000_000
"""Two interpreters, topsar's and topsApp's."""
_cost = partial(Cost, base_memory=_BASE_MEMORY, start_s=3.0)
_A_THREAD = 5e6

IDLE = _cost(memory=0, disk=0, microseconds=0)
"""Steps that read, or only take note."""
DEM = _cost(memory=60, disk=4, microseconds=1)
"""Per height."""
BY_SAMPLE = {
    "topo": _cost(memory=0, disk=32, microseconds=4.2, pixels_per_thread=_A_THREAD),
    "coarseoffsets": _cost(memory=0, disk=0.9, microseconds=0.12, pixels_per_thread=_A_THREAD),
    "coarseresamp": _cost(memory=0, disk=0.9, microseconds=0.23, pixels_per_thread=_A_THREAD),
    "overlapifg": _cost(memory=0, disk=0.9, microseconds=0.02),
    "esd": _cost(memory=0, disk=0.7, microseconds=0.03),
    "rangecoreg": _cost(memory=0, disk=0, microseconds=0.15),
    "fineoffsets": _cost(memory=0, disk=8, microseconds=1.05, pixels_per_thread=_A_THREAD),
    "fineresamp": _cost(memory=0, disk=8, microseconds=0.6, pixels_per_thread=_A_THREAD),
    "ion": _cost(memory=0, disk=40, microseconds=2),
    "burstifg": _cost(memory=0, disk=16, microseconds=0.2),
    "mergebursts": _cost(memory=0, disk=0, microseconds=0.06),
}
"""Per SLC sample of all bursts."""
PER_BURST_SAMPLE = {
    "coarseresamp": 10,
    "esd": 13,
    "fineoffsets": 22,
    "fineresamp": 28,
    "ion": 60,
    "burstifg": 28,
    "mergebursts": 22,
}
"""Bytes of memory per sample of the largest burst."""
MULTILOOK = _cost(memory=0, disk=36, microseconds=0.1)
"""What the merge leaves, per multilooked pixel."""
FILTER = _cost(memory=60, disk=12, microseconds=1)
UNWRAP = _cost(memory=300, disk=9, microseconds=12)
GEOCODE = _cost(memory=24, disk=41, microseconds=22, pixels_per_thread=2e5)
"""Per node of the geocoded grid."""
