"""Two sub-bands of a burst: the outer thirds of its range spectrum, each at a sampling of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.model import Burst

OCCUPIED = 0.8
"""Share of a sub-band's sampling band that it fills, at most."""
HAMMING = 0.75
"""Coefficient of the weighting of the spectra of IW products, which annotations state."""
FLAT_BANDWIDTH = 1.2008
"""Bandwidth of a flat spectrum over that of a Hamming-weighted one whose samples depend on each other as far."""
_SPARE = 8  # of so many lines one is enough for the centroid
_PAD = 64  # samples beyond the burst: what a filter carries around the end falls there


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFilter:
    """How lines of a deramped burst are split.

    Attributes
    ----------
    size, small : int
        Length of the spectra of a line, and of a sub-band's line.
    centres : (int, int)
        Frequencies of the spectrum that become zero: of the lower and of the upper band.
    reach : int
        Frequencies on either side of a centre that belong to the band.
    sampling_hz, bandwidth_hz : float
        Of the burst, in range.
    """

    size: int
    small: int
    centres: tuple[int, int]
    reach: int
    sampling_hz: float
    bandwidth_hz: float

    @property
    def step(self) -> float:
        """Samples of the burst from one sample of a sub-band to the next."""
        return self.size / self.small

    @property
    def occupied(self) -> float:
        """Share of a sub-band's sampling band that it fills."""
        return (2 * self.reach + 1) / self.small

    def count(self, samples: int) -> int:
        """Count the samples of a sub-band over so many of the burst; the last lies beyond them."""
        return int(samples / self.step) + 2

    def find_frequency(self, frequency: float) -> float:
        """Convert a frequency of the spectrum, counted from that of the carrier, to hertz."""
        return frequency / self.size * self.sampling_hz


def design_split(burst: Burst, samples: int) -> SplitFilter:
    """Design the filter of a burst of which so many samples are used.

    Parameters
    ----------
    burst : Burst
    samples : int
    """
    from scipy import fft

    sampling = SPEED_OF_LIGHT / 2 / burst.grid.range_spacing_m
    size = int(fft.next_fast_len(samples + _PAD))
    band = burst.range_bandwidth_hz / sampling * size
    centre, reach = round(band / 3), int(band / 6)
    small = int(fft.next_fast_len(int((2 * reach + 1) / OCCUPIED) + 1))
    return SplitFilter(
        size=size,
        small=small,
        centres=(-centre, centre),
        reach=reach,
        sampling_hz=sampling,
        bandwidth_hz=burst.range_bandwidth_hz,
    )


def split_lines(
    lines: NDArray[np.complex64],
    split: SplitFilter,
    first_time_s: float,
    moments: NDArray[np.float64],
    workers: int,
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Split lines of a deramped burst into its lower and its upper sub-band.

    The Hamming weighting is divided out of the spectrum, so that each band is flat; what is not of a band is zero. The
    centre of a band becomes frequency zero, its phase counted from time zero: what comes from the slant range R has the
    phase -4πRf/c of the band's own frequency f.

    Parameters
    ----------
    lines : (n, samples) complex64
    split : SplitFilter
    first_time_s : float
        Two-way time of the first sample.
    moments : (2, 2) float64
        Of each band power, and power times frequency from the centre: those of some of the lines are added.
    workers : int
        Threads.

    Returns
    -------
    tuple of (n, m) complex64
        Sample k lies at sample k · ``split.step`` of the burst; the last one beyond its end.
    """
    from scipy import fft  # takes a quarter of a second, which planning need not wait for

    spectrum = fft.fft(lines, split.size, axis=1, workers=workers)
    around = np.arange(-split.reach, split.reach + 1)
    bands = []
    for number, centre in enumerate(split.centres):
        position = np.asarray((centre + around) * split.find_frequency(1.0) / split.bandwidth_hz, np.float64)
        turned = np.exp(-2j * np.pi * split.find_frequency(centre) * first_time_s)
        weight = (turned * split.small / split.size / weigh_hamming(position)).astype(np.complex64)
        first = centre % split.size - split.reach
        part = spectrum[:, first : first + around.size] * weight
        band = np.zeros((len(lines), split.small), np.complex64)
        band[:, : split.reach + 1], band[:, -split.reach :] = part[:, split.reach :], part[:, : split.reach]
        power = (np.abs(part[::_SPARE]) ** 2).sum(axis=0, dtype=np.float64)
        moments[number] += power.sum(), (power * around).sum()
        bands.append(fft.ifft(band, axis=1, workers=workers, overwrite_x=True)[:, : split.count(lines.shape[1])])
    return bands[0], bands[1]


def weigh_hamming(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighting of a product's spectrum at frequencies from -1/2 to 1/2 of its bandwidth."""
    return np.asarray(HAMMING + (1 - HAMMING) * np.cos(2 * np.pi * position))


def find_centroids(split: SplitFilter, moments: NDArray[np.float64]) -> tuple[float, float]:
    """Find the spectral centroids of the lower and upper band, Hz from the carrier; the centres if there is no signal.

    Parameters
    ----------
    split : SplitFilter
    moments : (2, 2) float64
        From `split_lines`.
    """
    off = np.divide(moments[:, 1], moments[:, 0], out=np.zeros(2), where=moments[:, 0] > 0)
    lower, upper = (split.find_frequency(centre + shift) for centre, shift in zip(split.centres, off, strict=True))
    return lower, upper
