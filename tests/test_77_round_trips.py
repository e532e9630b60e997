"""Round trips: what an export holds is the pair's, at its place, to the rounding of its type; holes are holes.

Each layer is a plane of its own, so that every value tells which layer and which place it comes from: half a pixel, a
flip, another sign or another layer's values cannot hide. A gap lies across the pass, and the swath's edge is slanted.
Cubes of GUNW have no layer of their own: `test_77_exchange`, `test_76_earth_tide`, `test_76_weather`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
import xarray as xr
from numpy.typing import NDArray
from pyproj import Geod

from sample_layers import DEGREES, FACTS, UTM, fly, same_layers, with_only
from topsar.engines.ground import LONLAT, change_crs
from topsar.formats import open_format
from topsar.formats.gunw.standard import BURST_RAMPS, DATA, IONOSPHERE
from topsar.interferogram import LAYERS, Interferogram, Layer, LayerKind, find_kind, read_pair
from topsar.model import Direction, GeoGrid
from topsar.raster.geotiff import compute_pixel_axes, locate_pixels
from topsar.settings import Options

Array = NDArray[np.float64]
Field = Callable[[str], Array]
"""The true values of a layer, NaN in holes."""

OPTIONS = Options().model_dump(mode="json")
GAP = slice(50, 56)
CORRECTED = ("solid_earth_tide", "troposphere", "troposphere_std", "ionosphere_map", "troposphere_stratified")
KINDS: Mapping[str, LayerKind] = LAYERS | {name: kind for name in CORRECTED if (kind := find_kind(name))}
SCALES = {"height": 300.0, "unwrapped_phase": 20.0, "filtered_unwrapped_phase": 20.0, "incidence": 60.0}
LABELS: Mapping[str, Callable[[tuple[Array, Array]], Array]] = {
    "components": lambda pixel: np.where(pixel[1] > 75, 2, 1),
    "burst": lambda pixel: np.where(pixel[0] > 60, 1, 0),
    "layover_shadow": lambda pixel: pixel[1] // 30 % 4,
    "water": lambda pixel: np.where(pixel[0] > 90, 1, 0),
}
"""By row and column."""
ROUNDING = 4 * float(np.finfo(np.float32).eps)
WARPED_PIXELS = 0.125
"""How far GDAL's warp may be off, which does not transform every pixel."""
SLOPED = "inc_map"
"""Made of the heights of neighbours."""

LATER = {
    **FACTS,
    **{f"{side}_{what}": FACTS[f"{other}_{what}"] for what in ("date", "time", "scenes")
       for side, other in (("reference", "secondary"), ("secondary", "reference"))},
    "perpendicular_baseline_m": -FACTS["perpendicular_baseline_m"],
    "temporal_baseline_days": -FACTS["temporal_baseline_days"],
}  # fmt: skip
_UP = fly(Direction.ASCENDING)
ASCENDING = LATER | {
    "direction": "ascending",
    "passes": {"reference": _UP["secondary"], "secondary": _UP["reference"]},
}
"""The later date is the reference of these."""


# --- the pair ---------------------------------------------------------------------------------------------------


def find_plane(name: str) -> tuple[float, float, float]:
    """A layer's value in the centre of pixel (0, 0), and its changes per row and per column."""
    number, scale = list(KINDS).index(name), SCALES.get(name, 1.0)
    return 0.3 * scale, 1e-3 * (1 + 0.05 * number) * scale, 1.5e-3 * (1 - 0.02 * number) * scale


def is_hole(name: str, row: Array, column: Array, shape: tuple[int, int]) -> NDArray[np.bool_]:
    row, column = np.rint(row), np.rint(column)
    beyond = (row < 0) | (row >= shape[0]) | (column < 0) | (column >= shape[1])
    outside = (column < (shape[0] - row) * 0.1) & (name not in ("layover_shadow", "water"))
    return np.asarray(beyond | outside | ((row >= GAP.start) & (row < GAP.stop)))


def find_truth(name: str, row: Array, column: Array, shape: tuple[int, int]) -> Array:
    start, per_row, per_column = find_plane(name)
    label = LABELS.get(name)
    values = label((np.rint(row), np.rint(column))) if label else start + per_row * row + per_column * column
    return np.where(is_hole(name, row, column, shape), np.nan, values)


def make_pair(grid: GeoGrid, facts: Mapping[str, object]) -> Interferogram:
    row, column = np.mgrid[: grid.rows, : grid.columns].astype(float)
    layers = {}
    for name, kind in KINDS.items():
        values = find_truth(name, row, column, grid.shape)
        layers[name] = Layer(kind=kind, values=np.where(np.isnan(values), kind.nodata, values).astype(kind.dtype))
    return Interferogram(pair_id=str(facts["pair"]), grid=grid, layers=layers, facts=dict(facts))


# --- how exports are read ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raster:
    """Values with NaN where the file itself says that there are none, and the coordinates of columns and rows."""

    values: Array
    x: Array
    y: Array
    crs: str
    is_whole: bool


def read_tifs(folder: Path) -> dict[str, Raster]:
    """All GeoTIFFs, by what follows the product's name in theirs."""
    found = {}
    for path in folder.rglob("*.tif"):
        with rasterio.open(path) as file:
            a, _, c, _, e, f = file.transform[:6]
            grid = GeoGrid(crs=str(file.crs), west=c, north=f, dx=a, dy=-e, rows=file.height, columns=file.width)
            values = file.read(1, masked=True)
        x, y = compute_pixel_axes(grid)
        name = path.stem.removeprefix(f"{path.parent.name}_").rpartition(".geo.")[2]
        filled = values.astype(float).filled(np.nan)
        found[name] = Raster(values=filled, x=x, y=y, crs=grid.crs, is_whole=values.dtype.kind != "f")
    return found


def read_netcdf(folder: Path) -> dict[str, Raster]:
    (path,) = folder.rglob("*.nc")
    return read_group(path, None)


def read_gunw(folder: Path) -> dict[str, Raster]:
    (path,) = folder.rglob("*.nc")
    return {name: one for group in (DATA, IONOSPHERE, BURST_RAMPS) for name, one in read_group(path, group).items()}


def read_group(path: Path, group: str | None) -> dict[str, Raster]:
    found = {}
    with xr.open_dataset(path, group=group, engine="h5netcdf", decode_coords="all") as data:
        crs = LONLAT if group else data["crs"].attrs["spatial_ref"]
        for name, variable in data.data_vars.items():
            y, x = (data[axis].values for axis in variable.dims[-2:])
            whole = np.dtype(variable.encoding["dtype"]).kind != "f"
            values = np.squeeze(variable.values).astype(float)
            found[str(name)] = Raster(values=values, x=x, y=y, crs=crs, is_whole=whole)
    return found


# --- what they must hold ----------------------------------------------------------------------------------------


class Export(NamedTuple):
    """What a format has, by name: a layer, or how it is made of layers.

    ``first`` is the date that must be the reference; values of warped layers are made of those up to ``reach`` pixels
    away.
    """

    holds: Mapping[str, str | Callable[[Field, GeoGrid], Array]]
    read: Callable[[Path], dict[str, Raster]] = read_tifs
    first: str = ""
    reach: int = 0


def find_local_incidence(at: Field, grid: GeoGrid) -> Array:
    """The angle between the line of sight and the normal of the plane of heights, by geodesics of the ellipsoid."""
    lon, lat = locate_pixels(grid, np.array([60, 61, 60]), np.array([75, 75, 76]))
    azimuth, _, metres = Geod(ellps="WGS84").inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    steps = np.column_stack((metres * np.sin(np.radians(azimuth)), metres * np.cos(np.radians(azimuth))))
    east, north = np.linalg.solve(steps, find_plane("height")[1:])
    toward = at("los_up") - east * at("los_east") - north * at("los_north")
    return np.asarray(np.arccos(toward / np.sqrt(1 + east**2 + north**2)))


ALL = {name: name for name in KINDS}
HYP3: Mapping[str, str | Callable[[Field, GeoGrid], Array]] = {
    "unw_phase": "filtered_unwrapped_phase",
    "wrapped_phase": "filtered_phase",
    "corr": "coherence",
    "amp": "amplitude",
    "conncomp": "components",
    "dem": "height",
    "lv_theta": lambda at, _: np.arcsin(at("los_up")),
    "lv_phi": lambda at, _: np.arctan2(at("los_north"), at("los_east")),
    "water_mask": lambda at, _: np.where(at("water") == 1, 0.0, 1.0),  # nobody knows: land
}
GAMMA: Mapping[str, str | Callable[[Field, GeoGrid], Array]] = {
    "los_disp": "displacement",
    "vert_disp": lambda at, _: at("displacement") / at("los_up"),
    "inc_map_ell": lambda at, _: np.radians(at("incidence")),
    "inc_map": find_local_incidence,
}
GUNW = {
    "unwrappedPhase": "filtered_unwrapped_phase",
    "coherence": "coherence",
    "unfilteredCoherence": "coherence",
    "connectedComponents": "components",
    "amplitude": "amplitude",
    "ionosphere": "ionosphere",
    "ionosphereBurstRamps": "ionosphere_burst_ramps",
}
LICSBAS: Mapping[str, str | Callable[[Field, GeoGrid], Array]] = {
    "unw": "unwrapped_phase",
    "cc": lambda at, _: 255 * at("coherence"),
    "E": "los_east",
    "N": "los_north",
    "U": "los_up",
    "hgt": "height",
    "mli": "amplitude",
}
EXPORTS = {
    "geotiff": Export(ALL),
    "stac": Export(ALL),
    "netcdf": Export(ALL, read_netcdf),
    "netcdf_stack": Export(ALL, read_netcdf),
    "hyp3": Export(HYP3, first="older"),
    "hyp3_gamma": Export({**HYP3, **GAMMA}, first="older"),
    "mintpy": Export({**HYP3, "unw_phase": "unwrapped_phase"}, first="older"),
    "gunw": Export(GUNW, read_gunw, first="later", reach=2),
    "licsbas": Export(LICSBAS, first="older", reach=2),
}
CASES = {
    "descending, older date first, UTM": (FACTS, UTM, "older"),
    "ascending, later date first, degrees": (ASCENDING, DEGREES, "later"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_holds_each_layer_at_its_place(name: str, case: str, tmp_path: Path) -> None:
    facts, grid, first = CASES[case]
    export = EXPORTS[name]
    open_format(name, OPTIONS).write(iter([make_pair(grid, facts)]), tmp_path)
    found = export.read(tmp_path)
    assert set(found) == set(export.holds)
    for what, raster in found.items():
        row, column = locate(raster, grid)
        truth = expect(export, what, row, column, (grid, -1 if export.first not in ("", first) else 1))
        is_clear = find_clear(row, column, grid.shape, 1 if what == SLOPED else export.reach)
        assert is_clear.mean() > 0.7, what
        np.testing.assert_array_equal(np.isnan(raster.values)[is_clear], np.isnan(truth)[is_clear], err_msg=what)
        error = np.abs(raster.values - truth)[is_clear & ~np.isnan(truth)]
        tolerance = ROUNDING * max(1.0, np.nanmax(np.abs(truth))) + (0.5 if raster.is_whole else 0)
        if export.reach:
            slopes = np.abs(np.gradient(np.where(is_clear, truth, np.nan)))
            tolerance += WARPED_PIXELS * float(np.nanmax(slopes[0] + slopes[1]))
        assert error.max() < (1e-5 if what == SLOPED else tolerance), what


def locate(raster: Raster, grid: GeoGrid) -> tuple[Array, Array]:
    """Rows and columns in the pair's grid of what a file has; those of whole pixels are whole but for rounding."""
    x, y = change_crs(raster.crs, grid.crs, *np.meshgrid(raster.x, raster.y))
    return (grid.north - y) / grid.dy - 0.5, (x - grid.west) / grid.dx - 0.5


def find_clear(row: Array, column: Array, shape: tuple[int, int], reach: int) -> NDArray[np.bool_]:
    """Where all pixels up to ``reach`` away are of the same component, or all are holes."""
    here, is_clear = find_truth("components", row, column, shape), np.full(row.shape, True)
    for down, right in np.ndindex(3, 3) if reach else ():
        there = find_truth("components", row + (down - 1) * reach, column + (right - 1) * reach, shape)
        is_clear &= (here == there) | (np.isnan(here) & np.isnan(there))
    return is_clear


def expect(export: Export, what: str, row: Array, column: Array, given: tuple[GeoGrid, int]) -> Array:
    grid, sign = given

    def at(layer: str) -> Array:
        return find_truth(layer, row, column, grid.shape) * (sign if KINDS[layer].antisymmetric else 1)

    source = export.holds[what]
    return at(source) if isinstance(source, str) else source(at, grid)


def test_a_folder_of_geotiffs_opens_again_as_the_pair(tmp_path: Path) -> None:
    ifg = make_pair(UTM, FACTS)
    open_format("stac", OPTIONS).write(iter([ifg]), tmp_path)
    opened = read_pair(tmp_path / ifg.pair_id)
    assert (opened.pair_id, opened.grid) == (ifg.pair_id, ifg.grid)
    assert {name: opened.facts[name] for name in ifg.facts} == ifg.facts
    assert same_layers(opened, with_only(ifg, *opened.layers))
    assert set(opened.layers) == set(ifg.layers)
