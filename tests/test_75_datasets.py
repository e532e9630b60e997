"""Products as xarray datasets: made by hand here, so that every value is known."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

from topsar import open_pair, open_stack
from topsar.errors import ProductError, SettingsError
from topsar.model import GeoGrid
from topsar.raster import Labels, write_geotiff

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray's own use

GRID = GeoGrid(crs="EPSG:32635", west=600_000.0, north=4_100_000.0, dx=80.0, dy=80.0, rows=30, columns=20)
DATES = ("2025-03-03", "2025-03-15", "2025-03-27")


def make_pair(
    runs: Path, first: int = 0, second: int = 1, grid: GeoGrid = GRID, track: int = 131, **more: np.ndarray
) -> Path:
    """Products of a pair; its displacement counts pixels of the ground, so that places can be compared."""
    rows = round((GRID.north - grid.north) / grid.dy) + np.arange(grid.rows)
    columns = round((grid.west - GRID.west) / grid.dx) + np.arange(grid.columns)
    displacement = (1000.0 * rows[:, None] + columns + 1e6 * (10 * first + second)).astype(np.float32)
    displacement[0, 0] = np.nan
    components = np.ones(grid.shape, np.uint16)
    components[:5] = 0
    components[5:9] = 700
    layers = {"displacement": (displacement, np.nan, "m"), "components": (components, 0, "1")}
    layers |= {name: (values, np.nan, "1") for name, values in more.items()}
    pair = f"T{track}_{DATES[first]}_{DATES[second]}"
    folder = runs / pair / "products"
    for name, (values, nodata, unit) in layers.items():
        labels = Labels(unit=unit, description=name)
        write_geotiff(folder / f"{name}.tif", values, grid, nodata=nodata, labels=labels)
    facts: dict[str, Any] = {
        "pair": pair,
        "crs": grid.crs,
        "track": track,
        "reference_date": DATES[first],
        "secondary_date": DATES[second],
        "perpendicular_baseline_m": 10.0 * second - first,
        "bursts": ["IW2_1", "IW2_2"],
        "settings": {"roi": None, "ionosphere": False},
        "is_mixed": False,
        "nothing": None,
        "grid": asdict(grid),
        "layers": {name: {"unit": unit, "description": name} for name, (_, _, unit) in layers.items()},
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    return folder.parent


def test_a_pair_knows_place_units_signs_and_facts(tmp_path: Path) -> None:
    ifg = open_pair(make_pair(tmp_path))
    assert ifg.displacement.dims == ("y", "x")
    assert ifg.rio.crs == ifg.displacement.rio.crs == rasterio.CRS.from_string(GRID.crs)
    assert ifg.rio.transform() == rasterio.Affine(*GRID.transform)
    assert (ifg.x[0], ifg.y[0], ifg.y[-1]) == (600_040.0, 4_099_960.0, 4_097_640.0)
    assert ifg.displacement.attrs["units"] == "m"
    assert ifg.x.attrs["standard_name"] == "projection_x_coordinate"
    assert (ifg.attrs["track"], ifg.attrs["is_mixed"], ifg.attrs["perpendicular_baseline_m"]) == (131, 0, 10.0)
    assert json.loads(ifg.attrs["settings"]) == {"roi": None, "ionosphere": False}
    assert "nothing" not in ifg.attrs
    xr.testing.assert_identical(ifg, open_pair(str(tmp_path / ifg.attrs["pair"] / "products")))


def test_holes_are_masked(tmp_path: Path) -> None:
    ifg = open_pair(make_pair(tmp_path))
    assert np.isnan(ifg.displacement[0, 0])
    assert int(ifg.components.isnull().sum()) == 5 * GRID.columns
    kept = ifg.displacement.where(ifg.components == 1)
    assert int(kept.notnull().sum()) == (GRID.rows - 9) * GRID.columns
    assert float(ifg.components.max()) == 700


INDICES = [
    (slice(None), slice(None)),
    (slice(3, 20, 4), slice(None, None, -3)),
    (5, slice(2, 4)),
    (-1, 7),
    (slice(4, 4), slice(None)),
    ([9, 2, 2, 11], slice(1, 5)),
    (slice(None, None, -1), [3]),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_every_kind_of_index_gives_what_numpy_gives(tmp_path: Path, index: tuple[Any, Any]) -> None:
    layer = open_pair(make_pair(tmp_path)).displacement
    whole = layer.values
    assert np.array_equal(layer[index].values, whole[index], equal_nan=True)
    assert np.array_equal(layer[2:25, 1:19][index].values, whole[2:25, 1:19][index], equal_nan=True)


def test_opening_reads_no_pixel_and_a_window_only_its_own(tmp_path: Path) -> None:
    large = replace(GRID, rows=4000, columns=4000)
    folder = make_pair(tmp_path, grid=large)
    tracemalloc.start()
    try:
        ifg = open_pair(folder)
        stack = open_stack(tmp_path)
        assert float(stack.displacement[0, 3999, 3999]) == float(ifg.displacement[3999, 3999])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6 < ifg.displacement.nbytes / 10


@pytest.mark.parametrize("kind", ["pair", "stack"])
def test_saved_as_zarr_and_read_again(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("zarr")
    made = open_pair(make_pair(tmp_path)) if kind == "pair" else open_stack([make_pair(tmp_path)])
    made.to_zarr(tmp_path / "saved.zarr", consolidated=False, zarr_format=2)
    read = xr.open_zarr(tmp_path / "saved.zarr", consolidated=False, decode_coords="all")
    xr.testing.assert_equal(read.load(), made.load())
    assert (read.rio.crs, read.attrs) == (made.rio.crs, made.attrs)
    assert read.components.encoding["dtype"] == np.uint16


@pytest.mark.parametrize("kind", ["pair", "stack"])
def test_saved_as_netcdf_and_read_again(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("h5py")
    made = open_pair(make_pair(tmp_path)) if kind == "pair" else open_stack([make_pair(tmp_path)])
    made.to_netcdf(tmp_path / "saved.nc")
    with xr.open_dataset(tmp_path / "saved.nc", decode_coords="all") as read:
        xr.testing.assert_equal(read.load(), made.load())
        assert read.rio.crs == made.rio.crs
        assert read.attrs == made.attrs


def test_saved_as_classic_netcdf_and_read_again(tmp_path: Path) -> None:
    made = open_pair(make_pair(tmp_path))[["displacement"]]
    made.to_netcdf(tmp_path / "saved.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "saved.nc", engine="scipy", decode_coords="all") as read:
        xr.testing.assert_equal(read.load(), made.load())
        assert (read.rio.crs, read.displacement.attrs) == (made.rio.crs, made.displacement.attrs)


def test_degrees_are_longitude_and_latitude(tmp_path: Path) -> None:
    grid = replace(GRID, crs="EPSG:4326", west=15.0, north=38.0, dx=1 / 1391, dy=1 / 1391)
    ifg = open_stack([make_pair(tmp_path, grid=grid)])
    assert (ifg.x.attrs["standard_name"], ifg.y.attrs["standard_name"]) == ("longitude", "latitude")
    assert ifg.rio.crs.to_epsg() == 4326
    assert float(ifg.x[0]) == pytest.approx(15 + 0.5 / 1391)


def test_saved_as_geotiff(tmp_path: Path) -> None:
    ifg = open_pair(make_pair(tmp_path))
    ifg.displacement.rio.to_raster(tmp_path / "saved.tif")
    with rasterio.open(tmp_path / "saved.tif") as saved:
        assert saved.crs == ifg.rio.crs
        assert saved.transform == ifg.rio.transform()
        assert np.array_equal(saved.read(1), ifg.displacement.values, equal_nan=True)


def test_in_chunks(tmp_path: Path) -> None:
    pytest.importorskip("dask")
    ifg = open_pair(make_pair(tmp_path))
    chunked = ifg.chunk({"y": 7, "x": 9})
    xr.testing.assert_equal(chunked.displacement.compute(), ifg.displacement.load())


# --- stacks -----------------------------------------------------------------------------------------------------


def test_a_stack_covers_all_pairs_pixel_upon_pixel(tmp_path: Path) -> None:
    shifted = replace(GRID, west=GRID.west + 5 * 80, north=GRID.north + 3 * 80, rows=10)
    make_pair(tmp_path, 1, 2, shifted)
    make_pair(tmp_path, 0, 1, coherence=np.full(GRID.shape, 0.5, np.float32))
    stack = open_stack(tmp_path)
    assert dict(stack.sizes) == {"pair": 2, "y": 33, "x": 25}
    assert list(stack.pair.values) == [f"T131_{DATES[0]}_{DATES[1]}", f"T131_{DATES[1]}_{DATES[2]}"]
    assert list(stack.reference_date.values) == [np.datetime64(date) for date in DATES[:2]]
    assert list(stack.perpendicular_baseline_m.values) == [10.0, 19.0]
    assert stack.rio.crs == rasterio.CRS.from_string(GRID.crs)
    assert (stack.attrs["track"], "pair" in stack.attrs, "reference_date" in stack.attrs) == (131, False, False)
    first, second = stack.displacement.values
    assert np.isnan(first[:3]).all()
    assert np.isnan(second[10:]).all()
    both = np.isfinite(first) & np.isfinite(second)
    assert both.sum() == 7 * 15
    assert np.array_equal(second[both] - 12e6, first[both] - 1e6)
    assert np.isnan(stack.coherence[1]).all()
    assert float(stack.coherence[0].max()) == 0.5
    one = open_pair(tmp_path / str(stack.pair.values[0])).displacement
    assert np.array_equal(stack.displacement[0].sel(x=one.x, y=one.y).values, one.values, equal_nan=True)


def test_tracks_are_chosen_when_there_are_several(tmp_path: Path) -> None:
    for track in (131, 7):
        make_pair(tmp_path, track=track)
    with pytest.raises(SettingsError, match="7, 131"):
        open_stack(tmp_path)
    assert open_stack(tmp_path, track=7).attrs["track"] == 7
    with pytest.raises(ProductError, match="track 44"):
        open_stack(tmp_path, track=44)


@pytest.mark.parametrize("change", [{"crs": "EPSG:32636"}, {"dx": 40.0, "dy": 40.0}])
def test_other_pixels_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    make_pair(tmp_path, 0, 1)
    make_pair(tmp_path, 0, 2, replace(GRID, **change))
    with pytest.raises(ProductError, match="EPSG:32635 with 80 x 80") as caught:
        open_stack(tmp_path)
    assert f"T131_{DATES[0]}_{DATES[2]}" in caught.value.message


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="nowhere"):
        open_pair(tmp_path / "nowhere")
    with pytest.raises(ProductError, match=str(tmp_path)):
        open_stack(tmp_path)
    folder = make_pair(tmp_path)
    ifg = open_pair(folder)
    file = folder / "products" / "components.tif"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ProductError, match=r"components\.tif"):
        ifg.components.load()
    (folder / "products" / "displacement.tif").unlink()
    with pytest.raises(ProductError, match=r"displacement\.tif"):
        ifg.displacement.load()
    (folder / "products" / "facts.json").write_text("{}")
    with pytest.raises(ProductError, match=r"facts\.json"):
        open_pair(folder)


def test_a_stack_holds_one_polarisation(tmp_path: Path) -> None:
    for first, polarisation in enumerate(("VV", "VH")):
        facts = make_pair(tmp_path, first, 2) / "products" / "facts.json"
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"polarisation": polarisation}))
    with pytest.raises(SettingsError, match='polarisation="VH"'):
        open_stack(tmp_path)
    assert open_stack(tmp_path, polarisation="VV").attrs["polarisation"] == "VV"
    with pytest.raises(SettingsError):
        open_stack(tmp_path, polarisation="HH")
