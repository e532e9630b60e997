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
_NOISE_MARGIN = 2.0
"""The mean of nine powers of noise scatters by a third of the noise: this is three standard deviations above it."""
_LEAST_GAIN = 0.05
_LEAST_COHERENCE = 1e-3


def filter_phase(
    interferogram: NDArray[np.complex64],
    coherence: NDArray[np.float32],
    noise_rad: NDArray[np.float32],
    strength: float,
) -> NDArray[np.complex64]:
    """Take the predicted noise off the phase of an interferogram, and leave what stands out of it.

    Unit phasors, weighted by coherence so that no bright target dominates, are filtered by spectrum in overlapping
    patches that a triangular window blends (Goldstein and Werner, 1998, GRL 25, "Radar interferogram filtering for
    geophysical applications"). The weight of a frequency is not its own modulus but (1 - mN/P)^(2 strength): P is its
    power, smoothed over three by three, N the power of the noise that coherence and looks predict for the patch (as
    Baran et al., 2003, IEEE TGRS 41, let the filter depend on coherence), m a margin for the scatter of P. With a
    strength of 0.5 and m = 1 that is Wiener's filter. Where there is little noise nothing is taken, however rough the
    phase. Any engine calls this function on its multilooked interferogram, in map or radar geometry alike.

    Parameters
    ----------
    interferogram : (rows, columns) complex64
        Unfiltered; only its phase counts. Zero where there is no signal.
    coherence, noise_rad : (rows, columns) float32
        Coherence, and the standard deviation of the phase that follows from it; what they are without signal is
        ignored.
    strength : float
        0 (no filtering) to 1.

    Returns
    -------
    (rows, columns) complex64
        Filtered; its modulus is about the coherence. Zero where the input is.
    """
    seen = interferogram != 0
    weight = np.where(seen, np.maximum(np.nan_to_num(coherence), _LEAST_COHERENCE), 0).astype(np.float32)
    weighted: NDArray[np.complex64] = weight * np.exp(1j * np.angle(interferogram))
    if strength == 0:
        return weighted
    variance = np.where(seen, weight**2 * -np.expm1(-(np.nan_to_num(noise_rad, nan=np.pi) ** 2)), 0).astype(np.float32)
    pad, (rows, columns) = PATCH - STRIDE, seen.shape
    inside = np.s_[pad : pad + rows, pad : pad + columns]
    padded = np.zeros([-(-(n + 2 * pad) // STRIDE) * STRIDE + PATCH for n in seen.shape], np.complex64)
    padded[inside], noise = weighted, np.zeros(padded.shape, np.float32)
    noise[inside], result = variance, np.zeros_like(padded)
    ramp = np.minimum(np.arange(PATCH) + 0.5, PATCH - 0.5 - np.arange(PATCH)).astype(np.float32)
    window = np.outer(ramp, ramp) / (ramp.sum() / STRIDE) ** 2  # overlapping windows add up to one
    for top in range(0, len(padded) - PATCH + 1, STRIDE):
        rows_here = np.s_[top : top + PATCH]
        patches = np.lib.stride_tricks.sliding_window_view(padded[rows_here], PATCH, axis=1)[:, ::STRIDE]
        noises = np.lib.stride_tricks.sliding_window_view(noise[rows_here].sum(axis=0), PATCH)[::STRIDE].sum(axis=1)
        busy = np.flatnonzero(patches.any(axis=(0, 2)))
        filtered = _filter_patches(patches[:, busy].transpose(1, 0, 2), noises[busy], 2 * strength)
        for index, patch in zip(busy, filtered, strict=True):
            result[rows_here, index * STRIDE : index * STRIDE + PATCH] += window * patch
    return np.where(seen, result[inside], np.complex64(0))


def _filter_patches(
    patches: NDArray[np.complex64], noise: NDArray[np.float32], exponent: float
) -> NDArray[np.complex64]:
    """Filter patches (n, PATCH, PATCH); white noise has the same power, the sum of its variance, at all frequencies."""
    spectrum = fft.fft2(patches, axes=(1, 2), workers=1)
    power = uniform_filter(spectrum.real**2 + spectrum.imag**2, size=(1, _SMOOTHING, _SMOOTHING), mode="wrap")
    floor = np.maximum(_NOISE_MARGIN * noise, np.finfo(np.float32).tiny)[:, None, None]
    gain = np.maximum(1 - floor / np.maximum(power, floor), _LEAST_GAIN) ** exponent
    filtered: NDArray[np.complex64] = fft.ifft2(spectrum * gain, axes=(1, 2), workers=1)
    return filtered
