"""Compile all kernels, and the report's template, once, so that no run has to: ``python -m topsar.compiling``.

The set-up does it. Numba compiles a kernel when it is first called and keeps what it made for the types of that call. A
run calls each with one or two sets of types, which are listed here; a call with others is compiled when it comes.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from numba import boolean, complex64, float32, float64, int16, int32, int64, types, uint8, uint16, uint32

from topsar.kernels import coregister, geometry, half, interferogram, profile, resample, tile, tops, visibility
from topsar.report.template import load_template
from topsar.simulate import scatter


def _array(kind: types.Type, dimensions: int, layout: Literal["C", "A"] = "C", *, readonly: bool = False) -> types.Type:
    return types.Array(kind, dimensions, layout, readonly=readonly)


def _record(kind: type, *fields: types.Type) -> types.Type:
    return types.NamedTuple(fields, kind)  # type: ignore[no-untyped-call]


_PLACE, _WINDOW = (types.UniTuple(int64, count) for count in (2, 4))  # type: ignore[no-untyped-call]
_LINE, _PLANE, _NODES = (_array(float64, dimensions) for dimensions in (1, 2, 3))
_WEIGHTS, _LAYER, _VECTORS = (_array(float32, dimensions) for dimensions in (1, 2, 3))
_MASK, _BYTES, _SIGNAL = (_array(kind, 2) for kind in (boolean, uint8, complex64))
_ANY_LAYER, _ANY_SIGNAL = (_array(kind, 2, "A") for kind in (float32, complex64))
_PIXELS, _MAPPED = _array(uint32, 2), _array(uint32, 2, readonly=True)
_SUMS = (_SIGNAL, _LAYER, _LAYER, _array(int32, 2))
_MOMENTS = (*_SUMS, _SIGNAL)
_NARROWED = (_array(uint16, 2), _array(int64, 2))
_DERAMP = (_SIGNAL, _LINE, _LINE, _LINE, _LINE)
_IMAGE = _record(
    resample.RadarImage, _LAYER, _LAYER, int64, int64, *[float64] * 6, _LINE, _LINE, _LINE, float64, float64, _PLANE,
    _LAYER, _LAYER,
)  # fmt: skip
_OFFSETS = _record(coregister.Offsets, _NODES, int64, int64, *[float64] * 4)
_AXIS = _record(profile.RangeAxis, *[float64] * 4, int64, int64)
_GROUND = _record(scatter.Ground, int64, int64, _LINE, _LINE, *[_LAYER] * 5, *[int64] * 4, _WEIGHTS, float64)
_CANVAS = _record(
    scatter.Canvas, _SIGNAL, *[float64] * 7, _LINE, _LINE, _LINE, float64, _PLANE, _LAYER, _LAYER, _WEIGHTS, float64,
    float64,
)  # fmt: skip

KERNELS: tuple[tuple[Any, tuple[types.Type, ...]], ...] = (
    (tile.geocode_tiles, (_NODES, _array(boolean, 1), _LAYER, _IMAGE, _SIGNAL)),
    (coregister._resample_rows, (_PLANE, _OFFSETS, int64, int64, _IMAGE, _SIGNAL)),
    (
        profile.place_pixels,
        (_NODES, _LINE, _AXIS, _LAYER, _LAYER, boolean, _PLANE, _PLANE, _PLANE, _VECTORS, _VECTORS, _BYTES),
    ),
    (scatter.add_scatterers, (_GROUND, _CANVAS, _PLACE, _PLACE, int64)),
    (resample._place_points, (_NODES, _IMAGE, _PLANE, _PLANE, _PLANE)),
    (visibility._trace_profiles, (_PLANE, _PLANE, _MASK, _NODES, int64, _BYTES, _BYTES)),
    (interferogram._cross_multiply, (_MAPPED, _MAPPED, int64, int64, *_MOMENTS)),
    (interferogram._cross_multiply, (_PIXELS, _PIXELS, int64, int64, *_MOMENTS)),
    (interferogram._multiply_slcs, (_SIGNAL, _SIGNAL, int64, int64, *_SUMS)),
    (geometry._sight, (_NODES, float64, float64, _PLANE, _PLANE, _PLANE, _PLANE, _VECTORS)),
    (geometry._geo2rdr, (_PLANE, float64, float64, _PLANE, _LINE, _LINE)),
    (resample.place_ground, (_NODES, int64, _PLACE, _LAYER, _LAYER, _NODES)),
    (resample.sample_heights, (_LAYER, _LINE, _LINE, _LINE)),
    (resample.interpolate_nodes, (_NODES, int64, _PLACE, _NODES)),
    (resample._spread_row, (_NODES, int64, int64, int64, _PLANE)),
    (half._narrow, (_LAYER, *_NARROWED)),
    (half._narrow, (_ANY_LAYER, *_NARROWED)),
    (tops.deramp, (*_DERAMP, _LAYER, _LAYER)),
    (tops._turn, (_PIXELS, _LINE, _LINE, _LINE, _LINE, float64, boolean, boolean)),
    (tops._doppler, (_LINE, _LINE, _LINE, _LINE, _LINE, _LINE)),
    (scatter.restore_ramp, (_ANY_SIGNAL, _LINE, _LINE, _LINE, _LINE, _WINDOW, _array(int16, 3))),
)
"""Kernel and types of its arguments, those that take longest first."""


def compile_kernels() -> None:
    """Compile what is not compiled yet for this processor, on all cores."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("fork")) as pool:
        list(pool.map(_compile, range(len(KERNELS))))


def _compile(number: int) -> None:
    kernel, given = KERNELS[number]
    kernel.compile(given)


if __name__ == "__main__":
    compile_kernels()
    load_template(Path())
