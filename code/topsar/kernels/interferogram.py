"""From two geocoded bursts to one interferogram: products and looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange

from topsar.kernels.half import pack_pixels, read_pixel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.kernels.mosaic import LookSums
    from topsar.model import Looks


@njit(cache=True, nogil=True, parallel=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def _cross_multiply(reference, secondary, north, east, cross, power_reference, power_secondary, filled, moment):  # type: ignore[no-untyped-def]
    nothing = np.float32(0)
    for row in prange(cross.shape[0]):
        for column in range(cross.shape[1]):
            re = im = first = second = eastward = southward = 0.0
            n = 0
            for i in range(row * north, row * north + north):
                # one row of looks at a time, in vectors of singles
                x = y = f = s = m = nothing
                k = np.int32(0)
                for j in range(column * east, column * east + east):
                    a, b = read_pixel(reference, i, j)
                    c, d = read_pixel(secondary, i, j)
                    p = a * a + b * b
                    q = c * c + d * d
                    both = (p * q > nothing) and (p * q < np.float32(np.inf))
                    x += (a * c + b * d) if both else nothing
                    y += (b * c - a * d) if both else nothing
                    f += p if both else nothing
                    s += q if both else nothing
                    m += (p + q) * np.float32(np.int32(j - column * east)) if both else nothing
                    k += np.int32(1) if both else np.int32(0)
                re += float(x)
                im += float(y)
                first += float(f)
                second += float(s)
                eastward += float(m)
                southward += float(f + s) * (i - row * north)
                n += int(k)
            cross[row, column] = complex(re, im)
            power_reference[row, column] = first
            power_secondary[row, column] = second
            filled[row, column] = n
            both_powers = (first + second) / 2
            moment[row, column] = complex(
                (eastward - both_powers * (east - 1)) / east, (southward - both_powers * (north - 1)) / north
            )


def cross_multiply(
    reference: NDArray[np.float16], secondary: NDArray[np.float16], looks: Looks, sums: LookSums
) -> None:
    """Multiply two dates and sum over looks.

    Parameters
    ----------
    reference, secondary : (rows · looks.north, columns · looks.east, 2) float16
        Real and imaginary parts; zero where there is no signal.
    looks : Looks
    sums : LookSums
        Arrays of (rows, columns), overwritten.
    """
    _cross_multiply(pack_pixels(reference), pack_pixels(secondary), looks.north, looks.east, *sums)


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _multiply_slcs(first, second, north, east, cross, power_first, power_second, filled):  # type: ignore[no-untyped-def]
    for row in prange(cross.shape[0]):
        for column in range(cross.shape[1]):
            re = im = p = q = 0.0
            n = 0
            for i in range(row * north, row * north + north):
                for j in range(column * east, column * east + east):
                    a, b = first[i, j].real, first[i, j].imag
                    c, d = second[i, j].real, second[i, j].imag
                    one, other = a * a + b * b, c * c + d * d
                    if one > 0 and other > 0:
                        re += a * c + b * d
                        im += b * c - a * d
                        p += one
                        q += other
                        n += 1
            cross[row, column] = complex(re, im)
            power_first[row, column] = p
            power_second[row, column] = q
            filled[row, column] = n


def multiply_slcs(
    reference: NDArray[np.complex64], secondary: NDArray[np.complex64], looks: Looks, sums: LookSums
) -> None:
    """Multiply two coregistered SLCs and sum over looks, as `cross_multiply` does with geocoded bursts.

    Parameters
    ----------
    reference, secondary : (rows · looks.north, columns · looks.east) complex64
        Zero where there is no signal.
    looks : Looks
    sums : LookSums
        Arrays of (rows, columns), overwritten but for ``moment``.
    """
    _multiply_slcs(reference, secondary, looks.north, looks.east, *sums[:4])
