"""Looks of bursts, laid side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.model import Looks, Window


class LookSums(NamedTuple):
    """Sums over the looks of each output pixel, (rows, columns).

    Attributes
    ----------
    cross : complex64
        Σ reference · conj(secondary).
    power_reference, power_secondary : float32
        Σ |reference|², Σ |secondary|².
    filled : int32
        Fine pixels where both dates have signal.
    moment : complex64
        Σ (|reference|² + |secondary|²) times the place of a fine pixel from the middle of the output pixel, in output
        pixels, eastward + 1j · southward.
    """

    cross: NDArray[np.complex64]
    power_reference: NDArray[np.float32]
    power_secondary: NDArray[np.float32]
    filled: NDArray[np.int32]
    moment: NDArray[np.complex64]

    def cut(self, where: tuple[slice, slice]) -> LookSums:
        """The sums inside a window, as views."""
        cross, first, second, filled, moment = self
        return LookSums(cross[where], first[where], second[where], filled[where], moment[where])

    def average_amplitude(self) -> NDArray[np.float32]:
        """Root of the mean power of both dates, (rows, columns); 0 where there is no signal."""
        power = self.power_reference + self.power_secondary
        mean = np.divide(power, 2 * self.filled, out=np.zeros_like(power), where=self.filled > 0)
        return np.asarray(np.sqrt(mean), np.float32)

    def find_centre(self) -> NDArray[np.float16]:
        """Centre of brightness from the middle of a pixel, in pixels, eastward and southward, (2, rows, columns)."""
        power = self.power_reference + self.power_secondary
        centre = np.zeros((2, *power.shape), np.float16)
        for moment, place in zip((self.moment.real, self.moment.imag), centre, strict=True):
            np.divide(moment, power, out=place, where=power > 0)
        return centre

    @classmethod
    def zeros(cls, shape: tuple[int, int]) -> LookSums:
        """Empty sums."""
        first, second = np.zeros((2, *shape), np.float32)
        cross, moment = np.zeros((2, *shape), np.complex64)
        return cls(cross, first, second, np.zeros(shape, np.int32), moment)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Looks of one burst, or of some laid side by side, in a window of the output grid.

    Attributes
    ----------
    where : Window
    sums : LookSums
    doppler_hz, margin_m : (rows, columns) float32
        Doppler of each pixel, and its distance to the edge of the burst that it comes from.
    backscatter : (rows, columns) float32, optional
        Mean of both dates.
    """

    where: Window
    sums: LookSums
    doppler_hz: NDArray[np.float32]
    margin_m: NDArray[np.float32]
    backscatter: NDArray[np.float32] | None = None


class Mosaic:
    """Bursts laid side by side: each output pixel comes whole from the burst whose edges are farthest away.

    So seams run at mid-overlap, between bursts and between swaths, and no pixel mixes two bursts.

    Attributes
    ----------
    sums : LookSums
    doppler_hz : (rows, columns) float32
        Of the burst that a pixel comes from; zero outside.
    burst : (rows, columns) int16
        Its number, -1 outside.
    margin_m : (rows, columns) float32
        Distance of the pixel to its edge; zero outside.
    backscatter : (rows, columns) float32, optional
        Zero outside; None until a part has it.
    """

    def __init__(self, shape: tuple[int, int], looks: Looks) -> None:
        self.sums = LookSums.zeros(shape)
        self.doppler_hz = np.zeros(shape, np.float32)
        self.burst = np.full(shape, -1, np.int16)
        self.margin_m = np.zeros(shape, np.float32)
        self.backscatter: NDArray[np.float32] | None = None
        self._least = max(looks.count // 2, 1)

    def add(self, burst: int | NDArray[np.int16], part: Part) -> None:
        """Lay one burst, or a mosaic of some.

        Parameters
        ----------
        burst : int or (rows, columns) int16
            Number of the burst that each pixel comes from.
        part : Part
        """
        where = part.where.slices
        better = (part.sums.filled >= self._least) & (part.margin_m > self.margin_m[where])
        self.burst[where][better] = burst if isinstance(burst, int) else burst[better]
        wholes, values = (*self.sums, self.doppler_hz, self.margin_m), (*part.sums, part.doppler_hz, part.margin_m)
        for whole, value in zip(wholes, values, strict=True):
            whole[where][better] = value[better]
        if part.backscatter is not None:
            if self.backscatter is None:
                self.backscatter = np.zeros(self.burst.shape, np.float32)
            self.backscatter[where][better] = part.backscatter[better]
