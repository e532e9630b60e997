"""Whether a file follows ARIA-S1-GUNW: more strictly than any client looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import h5netcdf

from topsar.errors import ProductError
from topsar.formats.gunw import contents, labels
from topsar.formats.gunw.reading import Violation
from topsar.formats.gunw.standard import (
    CORRECTIONS,
    CUBES,
    DATA,
    FOOTPRINT,
    GEOMETRY,
    LAYERS,
    NUMBERS,
    POLYGON,
    RADAR,
    SIDES,
)
from topsar.formats.gunw.structure import check_structure

if TYPE_CHECKING:
    from pathlib import Path

_AXES = tuple(f"{DATA}/{axis}" for axis in ("latitude", "longitude"))
_LAYERS = tuple(f"{DATA}/{name}" for name in LAYERS)
_CUBE_AXES = tuple(f"{GEOMETRY}/{axis}Meta" for axis in ("heights", "latitude", "longitude"))
_CUBES = (*(f"{GEOMETRY}/{name}" for name in CUBES), *_CUBE_AXES)
_GRANULES = tuple(f"{RADAR}/inputSLC/{side}/L1InputGranules" for side in SIDES)
_SLANT_RANGES = tuple(f"{RADAR}/slantRange{end}" for end in ("Start", "End"))
_TIMES = tuple(f"{RADAR}/azimuthZeroDoppler{end}Time" for end in ("Start", "End"))
_FOOTPRINT = f"attribute {FOOTPRINT}"
_CHECKS: tuple[tuple[Callable[[h5netcdf.File], Iterator[Violation]], tuple[str, ...]], ...] = (
    (contents.check_axes, _AXES),
    (contents.check_layers, _LAYERS),
    (contents.check_cube_axes, (*_AXES, *_CUBE_AXES)),
    (contents.check_cubes, _CUBES),
    (contents.check_numbers, tuple(f"{RADAR}/{name}" for name in NUMBERS)),
    (contents.check_slant_ranges, (*_CUBES, POLYGON, *_SLANT_RANGES)),
    (contents.check_outlines, (*_AXES, f"{DATA}/unwrappedPhase", POLYGON, _FOOTPRINT)),
    (labels.check_granules, _GRANULES),
    (labels.check_times, (*_GRANULES, *_TIMES)),
    (labels.check_corrections, (CORRECTIONS,)),
    (labels.check_statistics, (*_LAYERS, *_CUBES)),
)
"""What is checked beside the structure, and the variables that it reads: where one is broken, it is passed over."""


def check_file(path: Path) -> Iterator[Violation]:
    """Check structure, values, name and attributes of a file, and the record beside it.

    Raises
    ------
    ProductError
        If it is no netCDF-4 file.
    """
    try:
        with h5netcdf.File(path, "r") as nc:
            structure = list(check_structure(nc))
            yield from structure
            broken = {violation.where for violation in structure}
            for check, needed in _CHECKS:
                if broken.isdisjoint(needed):
                    yield from check(nc)
            if broken.isdisjoint((*_GRANULES, *_CUBES, _FOOTPRINT)):
                yield from labels.check_name(nc, path.stem)
    except OSError as exc:
        msg = f"cannot read {path} as netCDF-4: {exc}"
        raise ProductError(msg, hint="is it whole? GUNW products are netCDF-4 files, .nc") from exc
    yield from labels.check_record(path)
