"""The interferometric wide swath (IW) mode of Sentinel-1: what a product needs to know of the instrument.

The numbers are those of real products (instrument timeline of 2015 and later).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from topsar.model import SPEED_OF_LIGHT

RADAR_FREQUENCY_HZ = 5_405_000_454.33435
WAVELENGTH_M = SPEED_OF_LIGHT / RADAR_FREQUENCY_HZ
RANGE_SAMPLING_HZ = 64_345_238.12571428
RANGE_SPACING_M = SPEED_OF_LIGHT / 2 / RANGE_SAMPLING_HZ
AZIMUTH_SPACING_M = 14.0
"""Ground distance of two lines, nominal."""
LINE_INTERVAL_S = 2.055556299999998e-3
BURST_INTERVAL_S = 2.758273
"""From a burst to the next of the same swath."""
BURST_PREAMBLE_S = 2.299849
"""From the ascending node to the start of ESA's first burst."""
BURST_PHASE = 0.53
"""Where the middle of an IW2 burst lies inside its interval on ESA's burst grid."""
WINDOW = 0.75
"""Coefficient of the Hamming window that shapes both spectra."""
BETA_NOUGHT = 237.0
"""Digital number of a radar brightness of one."""
DOPPLER_T0_S = 5.332936992823099e-3
REFERENCE_RANGE_M = 800_000.0
ROLL_DEG = 29.45


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathMode:
    """One subswath: timing, sampling, bandwidths, and its place in the burst cycle."""

    name: str
    beam: int
    steering_deg_s: float
    prf_hz: float
    rank: int
    pulse_length_s: float
    pulse_rate_hz_s: float
    near_time_s: float
    samples: int
    valid_samples: tuple[int, int]
    lines: int
    valid_lines: tuple[int, int]
    cycle_offset_s: float
    sensing_lead_s: float
    range_bandwidth_hz: float
    azimuth_bandwidth_hz: float


_SWATHS: dict[str, tuple[Any, Any, Any]] = {
    "name": ("IW1", "IW2", "IW3"),
    "beam": (10, 11, 12),
    "steering_deg_s": (1.590368784, 0.979863325, 1.397440818),
    "prf_hz": (1717.128973878037, 1451.627112193990, 1685.817302492702),
    "rank": (9, 8, 10),
    "pulse_length_s": (5.240481033595628e-5, 6.199592966536363e-5, 5.339056426703426e-5),
    "pulse_rate_hz_s": (1.078230321255894e12, 7.792817275120481e11, 8.014509490705804e11),
    "near_time_s": (5.330221729179272e-3, 5.640252441335853e-3, 6.011313310725323e-3),
    "samples": (20640, 24629, 23859),
    "valid_samples": ((174, 20602), (138, 24546), (96, 23728)),
    "lines": (1487, 1499, 1503),
    "valid_lines": ((18, 1471), (24, 1476), (26, 1478)),
    "cycle_offset_s": (-0.9558, 0.0, 0.9620),
    "sensing_lead_s": (0.41, 0.53, 0.42),
    "range_bandwidth_hz": (56.5e6, 48.3e6, 42.78991840322842e6),
    "azimuth_bandwidth_hz": (327.0, 313.0, 314.0),
}
SWATHS = {
    name: SwathMode(**dict(zip(_SWATHS, column, strict=True)))
    for name, column in zip(_SWATHS["name"], zip(*_SWATHS.values(), strict=True), strict=True)
}

FIRST_ORBIT = {"S1A": 73, "S1B": 27, "S1C": 172, "S1D": 0}
"""Absolute orbit number (modulo 175) at which each satellite flies relative orbit 1."""

SATELLITE_ID = {"S1A": "2014-016A", "S1B": "2016-025A", "S1C": "2024-233A", "S1D": "2025-251A"}
"""International designators."""
