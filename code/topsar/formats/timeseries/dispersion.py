"""Amplitude dispersion: what of it is steadiness, and what chance."""

from __future__ import annotations

import numpy as np

DISPERSION = "amplitude_dispersion.tif"
"""File of the least dispersion of the SLC's pixels, as `SLC_STACK` and phase linking leave it."""
PIXELS_TAG = "LEAST_OF_PIXELS"
"""Tag of a file whose values are the least of so many pixels each."""
_BY_CHANCE, _DRAWS, _DRAWN_AT_ONCE = 0.01, 200_000, 20_000


def limit_dispersion(dates: int, pixels: int) -> float:
    """Find the dispersion that speckle stays above, but for one pixel of a hundred.

    Few dates may happen to be equally bright: of eight, the steadiest of a hundred pixels of speckle has 0.12, as few
    scatterers have; of twenty it has 0.25. Found by drawing Rayleigh's amplitudes, always the same ones.

    Parameters
    ----------
    dates : int
    pixels : int
        Of which the steadiest is taken.
    """
    rng, found = np.random.default_rng(0), []
    for _ in range(_DRAWS // _DRAWN_AT_ONCE):
        amplitude = rng.rayleigh(size=(_DRAWN_AT_ONCE, dates)).astype(np.float32)
        found.append(amplitude.std(axis=1, ddof=1) / amplitude.mean(axis=1))
    return float(np.quantile(np.concatenate(found), _BY_CHANCE / pixels))
