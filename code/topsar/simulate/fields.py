"""Seeded random fields with power-law spectra: relief, land cover, turbulence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray


def power_law_field(
    shape: tuple[int, int], spacing_m: tuple[float, float], *, exponent: float, band_m: tuple[float, float], seed: int
) -> NDArray[np.float32]:
    """A Gaussian field whose power spectral density falls as the wavenumber to the minus ``exponent``.

    Parameters
    ----------
    shape : (rows, columns)
    spacing_m : (float, float)
        Between rows and between columns.
    exponent : float
        Of the two-dimensional spectrum; 11/3 for turbulent delay (Hanssen, 2001, section 4.7), 3.5 to 4 for relief.
    band_m : (float, float)
        Shortest and longest wavelength, m: shorter ones are smoothed away, longer ones levelled off.
    seed : int

    Returns
    -------
    (rows, columns) float32
        Zero mean, unit standard deviation.
    """
    rows, columns = (fft.next_fast_len(n + n // 4, real=True) for n in shape)
    shortest, longest = band_m
    noise = np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)
    spectrum = fft.rfft2(noise, overwrite_x=True)
    k_north = fft.fftfreq(rows, spacing_m[0]).astype(np.float32)[:, None]
    k_east = fft.rfftfreq(columns, spacing_m[1]).astype(np.float32)
    k2 = k_north**2 + k_east**2
    spectrum *= (k2 + np.float32(1 / longest**2)) ** np.float32(-exponent / 4) * np.exp(-k2 * np.float32(shortest**2))
    field = fft.irfft2(spectrum, (rows, columns), overwrite_x=True)[: shape[0], : shape[1]]
    field = field - field.mean()
    return np.ascontiguousarray(field / field.std(), dtype=np.float32)
