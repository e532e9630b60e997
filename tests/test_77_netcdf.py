"""netCDF: what xarray reads is what the layers hold, at their places, with units, classes and dates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from sample_layers import DEGREES, FACTS, UTM, sample, with_only
from topsar.formats import open_format
from topsar.interferogram import Interferogram, find_kind
from topsar.model import GeoGrid

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray's own use


def write(folder: Path, *ifgs: Interferogram, given: str = "") -> xr.Dataset:
    form = open_format("netcdf" if len(ifgs) == 1 else "netcdf_stack", {"netcdf_attributes": given})
    (path,) = form.write(iter(ifgs), folder)
    return xr.load_dataset(path, decode_coords="all")


@pytest.mark.parametrize("grid", [UTM, DEGREES])
def test_a_pair_is_read_by_others(grid: GeoGrid, tmp_path: Path) -> None:
    ifg = sample(grid)
    read = write(tmp_path, ifg)
    assert set(read.data_vars) == set(ifg.layers)
    for name, layer in ifg.layers.items():
        expected = np.where(layer.holes, np.nan, layer.values.astype(np.float32))
        np.testing.assert_array_equal(read[name].values, expected)
        assert (read[name].units, read[name].long_name) == (layer.kind.unit, layer.kind.long_name)
    assert read.rio.crs == rasterio.CRS.from_string(grid.crs)
    assert read.rio.transform().almost_equals(rasterio.Affine(*grid.transform), precision=1e-9)
    assert read.displacement.dims == (("lat", "lon") if grid is DEGREES else ("y", "x"))
    assert str(read.reference_time.values)[:10] == FACTS["reference_date"]
    assert json.loads(read.attrs["facts"])[ifg.pair_id]["wavelength_m"] == FACTS["wavelength_m"]
    assert read.water.attrs["flag_meanings"].split() == ["none", "water"]
    assert read.layover_shadow.attrs["flag_values"].tolist() == [0, 1, 2, 3]
    west, south, east, north = (
        read.attrs[f"geospatial_{edge}"] for edge in ("lon_min", "lat_min", "lon_max", "lat_max")
    )
    assert -10 < west < east < -8
    assert 31 < south < north < 32


def test_a_track_is_one_file_on_the_grid_that_covers_all(tmp_path: Path) -> None:
    first, later = sample(), sample(replace(UTM, west=UTM.west + 800, rows=60))
    later = replace(with_only(later, "displacement", "coherence"), pair_id="T052_b_c")
    read = write(tmp_path, first, later)
    assert (tmp_path / "T052.nc").is_file()
    assert dict(read.sizes) == {"pair": 2, "y": UTM.rows, "x": UTM.columns + 10}
    assert read.pair_name.values.tolist() == [first.pair_id, "T052_b_c"]
    np.testing.assert_array_equal(read.displacement[0, :, :-10], first.layers["displacement"].values)
    np.testing.assert_array_equal(read.displacement[1, :60, 10:], later.layers["displacement"].values)
    assert np.isnan(read.displacement[1, 60:]).all()
    assert np.isnan(read.water[1]).all()
    assert set(json.loads(read.attrs["facts"])) == {first.pair_id, "T052_b_c"}


def test_files_of_a_track_are_named_by_its_polarisation_where_waves_are_crossed(tmp_path: Path) -> None:
    pairs = [replace(with_only(sample(), "coherence"), pair_id=f"T052_{day}_VH") for day in "ab"]
    assert write(tmp_path, *pairs).attrs["id"] == "T052_VH"
    assert (tmp_path / "T052_VH.nc").is_file()


def test_names_and_units_are_those_of_the_catalogue(tmp_path: Path) -> None:
    read = write(tmp_path, sample())
    for name, variable in read.data_vars.items():
        kind = find_kind(str(name))
        assert kind is not None
        assert variable.attrs.get("standard_name", "") == kind.standard_name
        assert variable.attrs.get("comment", "") == kind.convention
    assert read.displacement.attrs["ancillary_variables"] == "components phase_noise"
    assert read.attrs["Conventions"] == "CF-1.11, ACDD-1.3"


def test_who_made_the_data_is_what_the_user_says_and_nobody_without_that(tmp_path: Path) -> None:
    ifg = with_only(sample(), "coherence", "height")
    given = "creator_name = Ada Example; creator_type=person;publisher_name=Example Institute; license=CC-BY-4.0;"
    (tmp_path / "said").mkdir()
    silent, said = write(tmp_path, ifg).attrs, write(tmp_path / "said", ifg, given=given).attrs
    assert not [name for name in silent if name.startswith(("creator", "publisher"))]
    assert (said["creator_name"], said["publisher_name"]) == ("Ada Example", "Example Institute")
    assert said["license"] == "CC-BY-4.0"
    assert {name: said[name] for name in silent if name != "license"} == {
        name: value for name, value in silent.items() if name != "license"
    }


def test_a_file_tells_its_vertical_extent_and_its_pixels(tmp_path: Path) -> None:
    higher = sample(height=np.full(UTM.shape, 900.0))
    pairs = [with_only(sample(), "height"), replace(with_only(higher, "height"), pair_id="T052_b_c")]
    attrs = write(tmp_path, *pairs).attrs
    assert attrs["geospatial_vertical_min"] == pytest.approx(np.nanmin(pairs[0].layers["height"].values))
    assert attrs["geospatial_vertical_max"] == 900.0
    assert (attrs["geospatial_vertical_units"], attrs["geospatial_vertical_positive"]) == ("m", "up")
    assert attrs["geospatial_lat_resolution"] == "80 metre"
    (tmp_path / "flat").mkdir()
    assert "geospatial_vertical_min" not in write(tmp_path / "flat", with_only(sample(), "coherence")).attrs
