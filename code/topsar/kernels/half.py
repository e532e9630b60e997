"""Half precision: NumPy's ``float16`` in and out of Numba, which has none, and much faster than ``astype``.

A half has a sign, five bits of exponent and ten of fraction. Kernels see its bits as integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, prange, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF_MAX = float(np.finfo(np.float16).max)
_FRACTION_SHIFT = 13  # bits that the fraction of a single has more
_BIAS = 112  # difference of the exponents' biases


def _make_cast(signature: Any, kind: Any) -> Any:
    def generate(_, builder, __, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], kind)

    return intrinsic(lambda _context, _value: (signature, generate))


_as_float = _make_cast(types.float32(types.uint32), ir.FloatType())
_as_bits = _make_cast(types.uint32(types.float32), ir.IntType(32))


@njit(cache=True, nogil=True, inline="always")
def _widen(bits):  # type: ignore[no-untyped-def]
    size = _as_float((bits & np.uint32(0x7FFF)) << np.uint32(_FRACTION_SHIFT)) * np.float32(2.0**_BIAS)
    return _as_float(_as_bits(size) | ((bits & np.uint32(0x8000)) << np.uint32(16)))


@njit(cache=True, nogil=True, inline="always")
def read_pixel(block, row, column):  # type: ignore[no-untyped-def]
    """Read real and imaginary part of a pixel inside a kernel.

    Parameters
    ----------
    block : (rows, columns) uint32
        From `pack_pixels`.
    row, column : int
    """
    both = block[row, column]
    return _widen(both & np.uint32(0xFFFF)), _widen(both >> np.uint32(16))


def pack_pixels(parts: NDArray[np.float16]) -> NDArray[np.uint32]:
    """Prepare real and imaginary parts (rows, columns, 2) for `read_pixel`: both halves in one word."""
    return np.ascontiguousarray(parts.view("<u4")[..., 0])


@njit(cache=True, nogil=True, parallel=True)
def _narrow(values, out, extents):  # type: ignore[no-untyped-def]
    top = np.float32(HALF_MAX)
    for row in prange(values.shape[0]):
        for k in range(values.shape[1]):
            value = min(max(values[row, k], -top), top)
            sign = (_as_bits(value) >> np.uint32(16)) & np.uint32(0x8000)
            size = _as_bits(abs(value) * np.float32(2.0**-_BIAS))
            size += np.uint32(0xFFF) + ((size >> np.uint32(_FRACTION_SHIFT)) & np.uint32(1))  # to even
            out[row, k] = np.uint16(sign | (size >> np.uint32(_FRACTION_SHIFT)))
        start = 0
        stop = values.shape[1]
        while start < stop and out[row, start] == 0:
            start += 1
        while stop > start and out[row, stop - 1] == 0:
            stop -= 1
        extents[row, 0] = start
        extents[row, 1] = stop


def narrow(values: NDArray[np.float32], out: NDArray[np.float16]) -> NDArray[np.int64]:
    """Round to half precision, to even; what is too large becomes the largest half.

    Parameters
    ----------
    values : (rows, columns) float32
    out : (rows, columns) float16
        Filled.

    Returns
    -------
    (rows, 2) int64
        In each row the first column that is not zero, and the one after the last; equal where all are.
    """
    extents = np.empty((len(values), 2), np.int64)
    _narrow(values, out.view(np.uint16), extents)
    return extents
