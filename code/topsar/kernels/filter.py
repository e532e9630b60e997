"""Phase filtering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH = 32
"""Pixels of a patch, both ways."""
STRIDE = 8
"""Pixels between patches: 75 % overlap."""
_SMOOTHING = 3


def filter_goldstein(interferogram: NDArray[np.complex64], strength: float) -> NDArray[np.complex64]:
    """Adaptive spectral filter.

    Each patch's spectrum is multiplied by its own smoothed modulus to the power ``strength`` (Goldstein and Werner,
    1998, GRL 25, "Radar interferogram filtering for geophysical applications"); patches are blended by a triangular
    window. Rows of patches are filtered one at a time, so memory stays near that of the input.

    Parameters
    ----------
    interferogram : (rows, columns) complex64
        Zero where there is no signal.
    strength : float
        0 (no filtering) to 1.

    Returns
    -------
    (rows, columns) complex64
        Filtered; zero where the input is.
    """
    if strength == 0:
        return interferogram.copy()
    rows, columns = interferogram.shape
    pad = PATCH - STRIDE
    padded_shape = tuple(-(-(n + 2 * pad) // STRIDE) * STRIDE + PATCH for n in (rows, columns))
    padded = np.zeros(padded_shape, np.complex64)
    padded[pad : pad + rows, pad : pad + columns] = interferogram
    result = np.zeros_like(padded)
    ramp = np.minimum(np.arange(PATCH) + 0.5, PATCH - 0.5 - np.arange(PATCH)).astype(np.float32)
    window = np.outer(ramp, ramp) / (ramp.sum() / STRIDE) ** 2  # overlapping windows add up to one
    for top in range(0, padded_shape[0] - PATCH + 1, STRIDE):
        strip = padded[top : top + PATCH]
        patches = np.lib.stride_tricks.sliding_window_view(strip, PATCH, axis=1)[:, ::STRIDE].transpose(1, 0, 2)
        busy = np.flatnonzero(patches.any(axis=(1, 2)))
        for index, patch in zip(busy, _filter_patches(patches[busy], strength), strict=True):
            result[top : top + PATCH, index * STRIDE : index * STRIDE + PATCH] += window * patch
    filtered = result[pad : pad + rows, pad : pad + columns]
    return np.where(interferogram == 0, np.complex64(0), filtered)


def _filter_patches(patches: NDArray[np.complex64], strength: float) -> NDArray[np.complex64]:
    spectrum = fft.fft2(patches, axes=(1, 2), workers=1)
    modulus = uniform_filter(np.abs(spectrum), size=(1, _SMOOTHING, _SMOOTHING), mode="wrap")
    modulus = np.maximum(modulus, 0)  # running sums leave rounding errors below zero beside a pure fringe
    peak = modulus.max(axis=(1, 2), keepdims=True)
    weight = np.divide(modulus, peak, out=np.zeros_like(modulus), where=peak > 0) ** strength
    filtered: NDArray[np.complex64] = fft.ifft2(spectrum * weight, axes=(1, 2), workers=1)
    return filtered
