"""The known truth of the double: what its images hold, as functions of latitude and longitude in degrees.

The ``truth`` of the option file may hold: ``phase_rad`` and ``phase_period_deg`` (the phase is
``phase_rad * sin(2 pi lat / period) * cos(2 pi lon / period)``), ``coherence``, ``amplitude``, and ``dull``, a box
``[south, north, west, east]`` in which the coherence is 0.1 and nothing is unwrapped, and ``noisy``: whether the phase
has the noise that goes with the coherence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

TRUTH = {"phase_rad": 8.0, "phase_period_deg": 0.5, "coherence": 0.8, "amplitude": 120.0, "dull": None, "noisy": False}
DULL_COHERENCE = 0.1
INDEPENDENT = 0.7
"""Share of the samples that are independent looks."""


def phase(lat: Any, lon: Any, truth: dict[str, Any] | None = None) -> Any:
    """The unwrapped interferometric phase in radians, with topsApp's sign."""
    given = {**TRUTH, **(truth or {})}
    turn = 2 * np.pi / given["phase_period_deg"]
    return given["phase_rad"] * np.sin(turn * np.asarray(lat)) * np.cos(turn * np.asarray(lon))


def coherence(lat: Any, lon: Any, truth: dict[str, Any] | None = None) -> Any:
    """The coherence, between 0 and 1."""
    given = {**TRUTH, **(truth or {})}
    lat, lon = np.broadcast_arrays(lat, lon)
    values = np.full(lat.shape, float(given["coherence"]))
    if given["dull"] is not None:
        south, north, west, east = given["dull"]
        values[(lat >= south) & (lat <= north) & (lon >= west) & (lon <= east)] = DULL_COHERENCE
    return values


def amplitude(lat: Any, lon: Any, truth: dict[str, Any] | None = None) -> Any:
    """The amplitude of the interferogram."""
    return np.full(np.broadcast(lat, lon).shape, float({**TRUTH, **(truth or {})}["amplitude"]))


def noise(lat: Any, lon: Any, looks: int, truth: dict[str, Any] | None = None) -> Any:
    """Noise of the phase in radians, of so many samples averaged; the same at every call."""
    given, gamma = {**TRUTH, **(truth or {})}, coherence(lat, lon, truth)
    deviation = np.sqrt(1 - gamma**2) / gamma / np.sqrt(2 * INDEPENDENT * looks)
    return np.random.default_rng(1).normal(size=gamma.shape) * deviation * given["noisy"]
