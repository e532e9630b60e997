"""The rasters of HyP3, and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topsar.engines.ground import find_slopes
from topsar.formats.exchange import fill_holes, open_holes
from topsar.formats.hyp3.names import Flavour
from topsar.interferogram import LAYERS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from topsar.interferogram import Interferogram
    from topsar.model import GeoGrid

_BROWSE_WIDTH = 2048


def write_rasters(ifg: Interferogram, stem: Path, phase: str, flavour: Flavour, *, browse: bool) -> Iterator[Path]:
    """Write the rasters whose layers are there, and pictures of some; yield the files.

    Parameters
    ----------
    ifg : Interferogram
    stem : Path
        ``<folder>/<product>``.
    phase : str
        The layer to write as ``unw_phase``.
    flavour : {"isce2", "gamma"}
    browse : bool
    """
    rasters: _Rasters = {"unw_phase": ((phase,), np.asarray), **_RASTERS}
    if flavour == "gamma":
        local = (("height", "los_east", "los_north", "los_up"), partial(find_local_incidence, ifg.grid))
        rasters = {**rasters, "inc_map": local, **_SCENE_RASTERS}
    for suffix, (sources, convert) in rasters.items():
        if not all(name in ifg.layers for name in sources):
            continue
        values = convert(*(open_holes(ifg.layers[name]) for name in sources))
        path = stem.with_name(f"{stem.name}_{suffix}.tif")
        _write_raster(path, values, ifg)
        yield path
        if browse:
            yield from _write_pictures(stem, values, ifg, _PICTURES[flavour].get(suffix))


class _Pictures(NamedTuple):
    """What is drawn of a raster: the layer that gives the colours, and the name instead of the raster's."""

    layer: str
    suffix: str
    has_png: bool = False
    has_kmz: bool = True


_PICTURES: Mapping[Flavour, Mapping[str, _Pictures]] = {
    "isce2": {
        "wrapped_phase": _Pictures("filtered_phase", "wrapped_phase"),
        "amp": _Pictures("amplitude", "amp"),
        "unw_phase": _Pictures("unwrapped_phase", "unw_phase", has_png=True, has_kmz=False),
    },
    "gamma": {
        "wrapped_phase": _Pictures("filtered_phase", "color_phase", has_png=True),
        "unw_phase": _Pictures("unwrapped_phase", "unw_phase", has_png=True),
    },
}


def find_local_incidence(grid: GeoGrid, *layers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Find the angle between the line of sight and the normal of the slope, radians.

    Parameters
    ----------
    grid : GeoGrid
    *layers : (rows, columns) float32
        Heights, and the line of sight to the satellite in true east, north and up.

    Returns
    -------
    (rows, columns) float32
    """
    height, *los = layers
    angle = np.empty(grid.shape, np.float32)
    for rows, toward, steepness in find_slopes(height, los, grid):
        angle[rows] = np.arccos(np.clip((los[2][rows] - toward) / np.sqrt(1 + steepness), -1, 1))
    return angle


_Rasters = Mapping[str, tuple[tuple[str, ...], Callable[..., NDArray[Any]]]]
_RASTERS: _Rasters = {
    "wrapped_phase": (("filtered_phase",), np.asarray),
    "corr": (("coherence",), np.asarray),
    "amp": (("amplitude",), np.asarray),
    "conncomp": (("components",), lambda components: components.astype(np.float32)),
    "water_mask": (("water",), lambda water: (water != 1).astype(np.uint8)),
    "dem": (("height",), np.asarray),
    "lv_theta": (("los_up",), lambda up: np.arcsin(np.clip(up, -1, 1))),
    "lv_phi": (("los_north", "los_east"), np.arctan2),
}
"""Which layers a raster is made of, and how: angles of the line of sight are radians above the horizon and
anticlockwise from east; the water mask is 1 on land, and where nobody knows. Those of the same layers follow each
other, so that layers are read once: few stay in memory."""


_SCENE_RASTERS: _Rasters = {
    "vert_disp": (("los_up", "displacement"), lambda up, metres: metres / up),
    "los_disp": (("displacement",), np.asarray),
    "inc_map_ell": (("incidence",), np.radians),
}
"""Rasters that GAMMA's jobs have besides, after ``inc_map``, which needs the grid too."""


def _write_raster(path: Path, values: NDArray[Any], ifg: Interferogram) -> None:
    """Write a GeoTIFF whose holes are 0; a true zero becomes the smallest positive number."""
    from topsar.raster import write_geotiff

    if values.dtype.kind == "f":
        values = values if path.stem.endswith("conncomp") else fill_holes(values)
    labels = values.dtype.kind != "f" or path.stem.endswith(("conncomp", "phase"))
    nodata = UNKNOWN if values.dtype.kind != "f" else 0
    write_geotiff(path, values, ifg.grid, nodata=nodata, overviews="nearest" if labels else "average")


def _write_pictures(stem: Path, values: NDArray[Any], ifg: Interferogram, drawn: _Pictures | None) -> Iterator[Path]:
    from topsar.formats.overlay import Overlay, write_kmz
    from topsar.formats.scale import find_scale

    if drawn is None:
        return
    kind, path = LAYERS[drawn.layer], stem.with_name(f"{stem.name}_{drawn.suffix}.kmz")
    if drawn.has_png:
        yield _write_browse(path.with_suffix(".png"), values)
    if drawn.has_kmz and kind.drawing and (scale := find_scale(values, kind.drawing)):
        overlay = Overlay(name=kind.long_name, values=values, scale=scale, cyclic=kind.cyclic)
        yield write_kmz(path, [overlay], ifg.grid)


def _write_browse(path: Path, values: NDArray[Any]) -> Path:
    """Write the browse image: grey from the least to the largest value, black in holes, at most 2048 pixels wide."""
    from PIL import Image

    from topsar.files import atomic_path
    from topsar.formats.overlay import PNG_LEVEL

    step = -(-values.shape[1] // _BROWSE_WIDTH)
    small = values[::step, ::step]
    seen = np.isfinite(small)
    low, high = (float(small[seen].min()), float(small[seen].max())) if seen.any() else (0.0, 1.0)
    grey = np.where(seen, 1 + 254 * (small - low) / max(high - low, 1e-9), 0)
    with atomic_path(path) as part:
        Image.fromarray(np.nan_to_num(grey).astype(np.uint8)).save(part, compress_level=PNG_LEVEL)
    return path
