"""Round trips: what an export holds is the pair's, at its place, to the rounding of its type; holes are holes.

Phase and coherence of the pair are planes, so that every value tells where it comes from: half a pixel, a flip or
another sign cannot hide. A gap lies across the descending pass, and the edge of the swath is slanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
from numpy.typing import NDArray

from sample_layers import DEGREES, UTM, sample
from topsar.engines.ground import LONLAT, change_crs
from topsar.formats import open_format
from topsar.interferogram import Interferogram
from topsar.model import GeoGrid
from topsar.raster import read_geotiff
from topsar.raster.geotiff import compute_pixel_axes
from topsar.settings import Options

GAP = slice(50, 56)
OPTIONS = Options().model_dump(mode="json")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raster:
    """Values with NaN in holes, and the coordinates of the centres of columns and rows."""

    values: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    crs: str


def make_plane(grid: GeoGrid, per_row: float, per_column: float, start: float) -> NDArray[np.float64]:
    row, column = np.mgrid[: grid.rows, : grid.columns]
    return start + per_row * row + per_column * column


def make_pair(grid: GeoGrid) -> Interferogram:
    """A pair of planes with a gap."""
    planes = {"phase": make_plane(grid, 0.03, -0.05, 9.0), "coherence": make_plane(grid, 0.002, 0.003, 0.2)}
    for plane in planes.values():
        plane[GAP] = np.nan
    names = ("unwrapped_phase", "filtered_unwrapped_phase")
    return sample(grid, coherence=planes["coherence"], **dict.fromkeys(names, planes["phase"]))


def read_tif(path: Path, scale: float = 1.0) -> Raster:
    values, grid, _ = read_geotiff(path)
    x, y = compute_pixel_axes(grid)
    holes = np.isnan(values) if np.isnan(values).any() else values == 0
    return Raster(values=np.where(holes, np.nan, values.astype(float) / scale), x=x, y=y, crs=grid.crs)


def read_tifs(phase: str, coherence: str, scale: float = 1.0) -> Callable[[Path], tuple[Raster, Raster]]:
    def read(folder: Path) -> tuple[Raster, Raster]:
        (one,), (other,) = folder.rglob(phase), folder.rglob(coherence)
        return read_tif(one), read_tif(other, scale)

    return read


def read_gunw(folder: Path) -> tuple[Raster, Raster]:
    (path,) = folder.rglob("*.nc")
    with h5netcdf.File(path, "r") as nc:
        data = nc["science/grids/data"]
        x, y = data["longitude"][...], data["latitude"][...]
        found = [np.where(data[name][...] == 0, np.nan, data[name][...]) for name in ("unwrappedPhase", "coherence")]
    return tuple(Raster(values=values, x=x, y=y, crs=LONLAT) for values in found)  # type: ignore[return-value]


def read_netcdf(folder: Path) -> tuple[Raster, Raster]:
    (path,) = folder.rglob("*.nc")
    with h5netcdf.File(path, "r") as nc:
        is_geographic = "lat" in nc.variables
        x, y = (nc[name][...] for name in (("lon", "lat") if is_geographic else ("x", "y")))
        found = [np.squeeze(nc[name][...]) for name in ("unwrapped_phase", "coherence")]
    crs = LONLAT if is_geographic else UTM.crs
    return tuple(Raster(values=values, x=x, y=y, crs=crs) for values in found)  # type: ignore[return-value]


HYP3 = read_tifs("*_unw_phase.tif", "*_corr.tif")
READERS: dict[str, tuple[Callable[[Path], tuple[Raster, Raster]], int, float, float]] = {
    "geotiff": (read_tifs("unwrapped_phase.tif", "coherence.tif"), 1, 1e-5, 1e-6),
    "stac": (read_tifs("unwrapped_phase.tif", "coherence.tif"), 1, 1e-5, 1e-6),
    "hyp3": (HYP3, 1, 1e-5, 1e-6),
    "hyp3_gamma": (HYP3, 1, 1e-5, 1e-6),
    "mintpy": (HYP3, 1, 1e-5, 1e-6),
    "netcdf": (read_netcdf, 1, 1e-5, 1e-6),
    "netcdf_stack": (read_netcdf, 1, 1e-5, 1e-6),
    "gunw": (read_gunw, -1, 5e-3, 1e-3),  # warped, the later date first
    "licsbas": (read_tifs("*.geo.unw.tif", "*.geo.cc.tif", 255), 1, 5e-3, 1e-3 + 0.5 / 255),
}
"""How phase and coherence are read back, the sign of the phase, and how far both may be off."""
WARPED = ("gunw", "licsbas")


@pytest.mark.parametrize("grid", [UTM, DEGREES], ids=["UTM", "degrees"])
@pytest.mark.parametrize("name", READERS)
def test_an_export_holds_the_pair_at_its_place(name: str, grid: GeoGrid, tmp_path: Path) -> None:
    ifg = make_pair(grid)
    folder = tmp_path / "out"
    folder.mkdir()
    open_format(name, OPTIONS).write(iter([ifg]), folder)
    read, sign, *tolerances = READERS[name]
    layers = (ifg.layers["unwrapped_phase"], ifg.layers["coherence"])
    for raster, layer, turn, tolerance in zip(read(folder), layers, (sign, 1), tolerances, strict=True):
        x, y = np.meshgrid(raster.x, raster.y)
        x, y = change_crs(raster.crs, grid.crs, x, y)
        column, row = (x - grid.west) / grid.dx - 0.5, (grid.north - y) / grid.dy - 0.5
        per_row, per_column, start = (0.03, -0.05, 9.0) if layer is layers[0] else (0.002, 0.003, 0.2)
        seen = np.isfinite(raster.values)
        expected = turn * (start + per_row * row + per_column * column)
        error = np.abs(raster.values - expected)[seen]
        assert np.percentile(error, 100 if name not in WARPED else 95) < tolerance
        assert error.max() < tolerance + 0.6 * (abs(per_row) + abs(per_column))  # beside a hole there is less to go by
        # what the export shows and what it leaves out is what the pair has, but for the pixel at an edge
        inside = (row > -0.5) & (row < grid.rows - 0.5) & (column > -0.5) & (column < grid.columns - 0.5)
        nearest = np.full(raster.values.shape, False)
        nearest[inside] = ~layer.holes[np.rint(row[inside]).astype(int), np.rint(column[inside]).astype(int)]
        assert (seen != nearest).mean() < 0.05
        gap = inside & (row > GAP.start + 1.5) & (row < GAP.stop - 2.5)
        assert gap.any()
        assert not seen[gap].any()
