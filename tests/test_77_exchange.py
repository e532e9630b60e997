"""Formats that other programs read: names, signs, no-data values, and one pixel of known position."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from jsonschema import Draft7Validator
from pyproj import Proj, Transformer

from sample_layers import DEGREES, FACTS, UTM, sample, with_only
from topsar.corrections import open_correction
from topsar.engines.ground import measure_convergence, measure_pixel
from topsar.engines.passes import read_passes
from topsar.errors import ProductError
from topsar.formats import open_format
from topsar.formats.gunw.cube import make_cube
from topsar.formats.gunw.standard import HEIGHTS_M
from topsar.formats.hyp3.rasters import find_local_incidence
from topsar.interferogram import LAYERS, Interferogram, join_grids, place_on, swap_dates
from topsar.kernels.geometry import geodetic_to_ecef, measure_baseline
from topsar.model import BBox, GeoGrid, Window
from topsar.raster import read_geotiff
from topsar.registry import BUILT_IN
from topsar.settings import Options

OPTIONS = Options().model_dump(mode="json")
LATER_FIRST = {
    **FACTS,
    "reference_date": FACTS["secondary_date"],
    "secondary_date": FACTS["reference_date"],
    "perpendicular_baseline_m": 27.3,
}
STACK_FORMATS = ("licsbas", "mintpy")


def write(name: str, folder: Path, *ifgs: Interferogram) -> tuple[Path, ...]:
    folder.mkdir(parents=True)
    return open_format(name, OPTIONS).write(iter(ifgs), folder)


def find(paths: tuple[Path, ...], ending: str) -> Path:
    (found,) = (path for path in paths if path.name.endswith(ending))
    return found


def read_parameters(path: Path) -> dict[str, str]:
    """As MintPy reads them: no spaces, and what stands before the second colon."""
    lines = [line.strip().replace(" ", "").split(":")[:2] for line in path.read_text().splitlines()]
    return dict(lines)  # type: ignore[arg-type]


# --- what all of them rest on -----------------------------------------------------------------------------------


def test_swapped_dates_turn_the_sign_of_what_is_antisymmetric_and_twice_is_never() -> None:
    ifg = sample()
    other = swap_dates(ifg)
    for name, layer in ifg.layers.items():
        sign = -1 if layer.kind.antisymmetric else 1
        np.testing.assert_array_equal(other.layers[name].values, sign * layer.values, err_msg=name)
    assert other.facts["reference_date"] == FACTS["secondary_date"]
    assert other.facts["perpendicular_baseline_m"] == -FACTS["perpendicular_baseline_m"]
    assert swap_dates(other).facts == ifg.facts


def test_phases_and_displacements_are_antisymmetric() -> None:
    turned = {name for name, kind in LAYERS.items() if kind.antisymmetric}
    phases = {"wrapped_phase", "filtered_phase", "unwrapped_phase", "filtered_unwrapped_phase", "ionosphere"}
    assert turned == phases | {"displacement", "ionosphere_burst_ramps"}
    assert all(open_correction(name).layer.antisymmetric for name in BUILT_IN["corrections"])


def test_pairs_are_laid_on_the_smallest_grid_that_covers_all() -> None:
    shifted = replace(UTM, west=UTM.west + 10 * UTM.dx, north=UTM.north - 7 * UTM.dy)
    one, other = sample(), sample(shifted)
    grid = join_grids([one, other])
    assert (grid.rows, grid.columns) == (UTM.rows + 7, UTM.columns + 10)
    placed = place_on(other, grid)
    assert np.isnan(placed.layers["coherence"].values[:7]).all()
    np.testing.assert_array_equal(placed.layers["coherence"].values[7:, 10:], other.layers["coherence"].values)
    assert (placed.layers["components"].values[:7] == 0).all()
    with pytest.raises(ProductError, match="pixels differ"):
        join_grids([one, sample(replace(UTM, dx=40.0))])


# --- HyP3 and MintPy --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hyp3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return write("hyp3", tmp_path_factory.mktemp("hyp3") / "out", sample())


def test_hyp3_is_named_by_track_bursts_dates_and_posting(hyp3: tuple[Path, ...]) -> None:
    name = find(hyp3, ".zip").stem
    assert name.startswith("S1_052_000000s1n00-109905s2n02-000000s3n00_IW_20230904_20230916_VV_INT80_")
    assert len(name.rpartition("_")[2]) == 4
    with zipfile.ZipFile(find(hyp3, ".zip")) as packed:
        assert sorted(packed.namelist()) == sorted(f"{name}/{path.name}" for path in hyp3 if path.suffix != ".zip")


def test_hyp3_rasters_keep_signs_and_say_zero_where_there_is_nothing(hyp3: tuple[Path, ...]) -> None:
    ifg = sample()
    phase = ifg.layers["unwrapped_phase"].values
    values, grid, _ = read_geotiff(find(hyp3, "_unw_phase.tif"))
    assert grid == UTM
    np.testing.assert_array_equal(values[~np.isnan(phase)], phase[~np.isnan(phase)])
    assert (values[np.isnan(phase)] == 0).all()
    theta, phi = (read_geotiff(find(hyp3, f"_lv_{name}.tif"))[0] for name in ("theta", "phi"))
    assert np.sin(theta[60, 75]) == pytest.approx(ifg.layers["los_up"].values[60, 75], abs=1e-6)
    assert np.tan(phi[60, 75]) == pytest.approx(-0.1 / 0.6, abs=1e-6)
    water = read_geotiff(find(hyp3, "_water_mask.tif"))[0]
    assert (water[20, 110], water[60, 75]) == (0, 1)


def test_a_true_zero_is_not_taken_for_a_hole(tmp_path: Path) -> None:
    zero = np.zeros(UTM.shape)
    values, _, _ = read_geotiff(
        find(write("hyp3", tmp_path / "out", sample(filtered_unwrapped_phase=zero)), "_unw_phase.tif")
    )
    assert values[60, 75] != 0
    assert values[60, 75] == pytest.approx(0, abs=1e-30)


def test_hyp3_parameters_are_those_of_the_orbit(hyp3: tuple[Path, ...]) -> None:
    known = read_parameters(next(path for path in hyp3 if path.suffix == ".txt" and "README" not in path.name))
    reference = read_passes(FACTS)[0]
    assert float(known["Slantrangenear"]) == 848_000
    assert float(known["Baseline"]) == -27.3
    assert 690_000 < float(known["Spacecraftheight"]) < 710_000
    assert 6_356_000 < float(known["Earthradiusatnadir"]) < 6_379_000
    assert float(known["Heading"]) == pytest.approx(-166.6, abs=1.5)  # descending, as the annotations of ESA say
    start = reference.start
    assert float(known["UTCtime"]) == pytest.approx(start.hour * 3600 + start.minute * 60 + start.second, abs=1)


@pytest.fixture(scope="module")
def gamma(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    facts = {**FACTS, "bursts": ["IW1_03", "IW2_03"], "dem": {"file": "dem.tif", "spacing_m": 30.89}}
    return write("hyp3_gamma", tmp_path_factory.mktemp("gamma") / "out", sample(facts=facts))


def test_the_name_of_a_scene_needs_no_numbers_of_bursts(gamma: tuple[Path, ...]) -> None:
    name = find(gamma, ".zip").stem
    assert re.fullmatch(r"S1AA_20230904T063730_20230916T063730_VVP012_INT80_G_ueF_[0-9A-F]{4}", name)
    suffixes = {path.name.removeprefix(name) for path in gamma}
    disp = {"_los_disp.tif", "_vert_disp.tif", "_inc_map.tif", "_inc_map_ell.tif", "_lv_theta.tif", "_lv_phi.tif"}
    assert disp | {"_color_phase.png", "_color_phase.kmz", "_unw_phase.kmz", ".README.md.txt", ".txt"} <= suffixes


def test_a_scene_has_displacements_and_angles(gamma: tuple[Path, ...]) -> None:
    ifg = sample()
    metres, up = (ifg.layers[name].values for name in ("displacement", "los_up"))
    seen = np.isfinite(metres) & (metres != 0)
    los, vertical = (read_geotiff(find(gamma, f"_{name}_disp.tif"))[0] for name in ("los", "vert"))
    np.testing.assert_array_equal(los[seen], metres[seen])
    np.testing.assert_allclose(vertical[seen], (metres / up)[seen], rtol=1e-6)
    ellipsoid = read_geotiff(find(gamma, "_inc_map_ell.tif"))[0]
    assert ellipsoid[60, 75] == pytest.approx(np.arccos(0.79), abs=1e-6)


@pytest.mark.parametrize("grid", [UTM, replace(UTM, west=800_000), DEGREES])
def test_local_incidence_is_measured_from_the_slope(grid: GeoGrid) -> None:
    y, x = np.mgrid[: grid.rows, : grid.columns] * np.reshape(measure_pixel(grid)[::-1], (2, 1, 1))
    turn = measure_convergence(grid)
    assert turn == pytest.approx(0 if grid is DEGREES else -np.radians(compute_convergence(grid)), abs=2e-4)
    look = np.radians(40)
    for slope in (-0.3, 0.0, 0.5):  # a plane that falls toward the west, where the satellite is
        height = slope * (x * np.cos(turn) + y * np.sin(turn))
        los = (np.full(grid.shape, value) for value in (-np.sin(look), 0.0, np.cos(look)))
        angle = find_local_incidence(grid, height, *los)
        np.testing.assert_allclose(angle, abs(look - np.arctan(slope)), atol=2e-4)


def compute_convergence(grid: GeoGrid) -> float:
    """Degrees by which grid north lies east of true north, as PROJ has it."""
    x, y = grid.bbox.centre
    lon, lat = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return float(Proj(grid.crs).get_factors(lon, lat).meridian_convergence)


def test_the_keys_of_a_scene_are_those_of_gamma(gamma: tuple[Path, ...]) -> None:
    known = read_parameters(next(path for path in gamma if path.suffix == ".txt" and "README" not in path.name))
    keys = list(known)
    assert keys.index("Resolutionofoutput(m)") == keys.index("Phasefilterparameter") + 1
    assert keys[-2:] == ["Unwrappingthreshold", "Specklefilter"]
    assert known["DEMresolution(m)"] == "30.89"
    row = round((UTM.north - float(known["Ycoordinateofthereferencepointinthemapprojection"])) / UTM.dy - 0.5)
    column = round((float(known["Xcoordinateofthereferencepointinthemapprojection"]) - UTM.west) / UTM.dx - 0.5)
    layers = sample().layers
    assert layers["coherence"].values[row, column] == pytest.approx(0.8)
    told = float(known["Phaseatreferencepoint"])
    assert told == pytest.approx(layers["filtered_unwrapped_phase"].values[row, column])
    look = float(known["Slantrangenear"]) + 2.329562 * int(known["RangepixelofthereferencepointinSARspace"])
    assert look == pytest.approx(911_000, abs=1_500)  # the ground of the sample is 12 km across


def test_mintpy_gets_names_of_scenes_where_bursts_have_no_numbers(tmp_path: Path) -> None:
    paths = write("mintpy", tmp_path / "out", sample(facts={**FACTS, "bursts": ["IW2_03"]}))
    assert find(paths, "_unw_phase.tif").name.startswith("S1AA_20230904T063730_20230916T063730_VVP012_INT80_G_ue2_")


@pytest.mark.parametrize("name", ["hyp3", "hyp3_gamma", "mintpy", "licsbas"])
def test_the_older_date_comes_first(name: str, tmp_path: Path) -> None:
    there = write(name, tmp_path / "there", sample())
    back = write(name, tmp_path / "back", swap_dates(sample()))
    ending = ".unw.tif" if name == "licsbas" else "_unw_phase.tif"
    assert find(back, ending).name[:70] == find(there, ending).name[:70]
    np.testing.assert_array_equal(read_geotiff(find(back, ending))[0], read_geotiff(find(there, ending))[0])


@pytest.mark.parametrize("changed", [{"bursts": ["IW2_03"]}, {}])
def test_what_a_hyp3_name_cannot_tell_is_refused(changed: Mapping[str, Any], tmp_path: Path) -> None:
    grid = UTM if changed else replace(UTM, dx=200.0, dy=200.0)
    with pytest.raises(ProductError, match=r"T052_20230904T063730_20230916T063730"):
        write("hyp3", tmp_path / "out", sample(grid, facts={**FACTS, **changed}))


def test_mintpy_gets_all_pairs_on_one_grid_and_a_template_that_finds_them(tmp_path: Path) -> None:
    part = UTM.crop(Window(row=0, column=0, rows=100, columns=120))
    later = {**FACTS, "pair": "T052_b_c", "reference_date": "2023-09-16", "secondary_date": "2023-09-28"}
    paths = write("mintpy", tmp_path / "out", sample(), sample(part, facts=later))
    templates = {path.parent.name: path for path in paths if path.name == "smallbaselineApp.cfg"}
    assert "= ../stack/unwrapStack.vrt\n" in templates["mintpy_aria"].read_text()  # where ARIA-tools puts it
    template = templates["mintpy"]
    keys = dict(line.split(" = ", 1) for line in template.read_text().splitlines() if line.startswith("mintpy.load."))
    patterns = [value.split("#")[0].strip() for key, value in keys.items() if key.strip().endswith("File")]
    for pattern in patterns:
        found = list(template.parent.glob(pattern))
        assert len(found) == 2, pattern
        assert {read_geotiff(path)[1] for path in found} == {UTM}


def test_mintpy_gets_the_phase_that_no_filter_lowered(tmp_path: Path) -> None:
    other = np.ones(UTM.shape)
    for name, expected in (("mintpy", -22.6), ("hyp3", 1.0)):
        ifg = sample(filtered_unwrapped_phase=other, unwrapped_phase=np.full(UTM.shape, -22.6))
        values, _, _ = read_geotiff(find(write(name, tmp_path / name, ifg), "_unw_phase.tif"))
        assert values[60, 75] == pytest.approx(expected)


def test_mintpy_refuses_polarisations_whose_names_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="VV and HH alone"):
        write("mintpy", tmp_path / "out", sample(facts={**FACTS, "polarisation": "VH"}))


def test_mintpy_refuses_a_path_that_it_would_misread(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="corr"):
        write("mintpy", tmp_path / "corrections", sample())


@pytest.mark.parametrize("name", ["mintpy", "licsbas", "gunw"])
def test_a_pair_that_is_not_unwrapped_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=FACTS["pair"]):
        write(name, tmp_path / "out", with_only(sample(), "wrapped_phase", "coherence", "height"))


# --- in degrees: LiCSBAS and GUNW -------------------------------------------------------------------------------


def test_licsbas_has_degrees_bytes_of_coherence_and_baselines_of_dates(tmp_path: Path) -> None:
    paths = write("licsbas", tmp_path / "out", sample(DEGREES))
    coherence, grid, _ = read_geotiff(find(paths, ".geo.cc.tif"))
    assert (grid.crs, grid.dx, coherence.dtype) == ("EPSG:4326", pytest.approx(0.001), np.uint8)
    assert coherence[grid.rows // 2, grid.columns // 2] == round(0.8 * 255)
    first, second = (line.split() for line in find(paths, "baselines").read_text().splitlines())
    assert first == ["20230904", "20230904", "0.00", "0"]
    assert second == ["20230904", "20230916", "-27.30", "12"]
    assert find(paths, "metadata.txt").read_text().startswith("center_time=")
    up, east = (read_geotiff(find(paths, f".geo.{name}.tif"))[0] for name in "UE")
    assert up[grid.rows // 2, grid.columns // 2] == pytest.approx(0.79)
    assert east[grid.rows // 2, grid.columns // 2] == pytest.approx(0.6)


@pytest.fixture(scope="module")
def gunw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return write("gunw", tmp_path_factory.mktemp("gunw") / "out", sample())


def open_group(paths: tuple[Path, ...], group: str) -> xr.Dataset:
    return xr.open_dataset(find(paths, ".nc"), group=group, engine="h5netcdf", mask_and_scale=False)


def test_gunw_takes_the_later_date_for_the_reference(gunw: tuple[Path, ...]) -> None:
    assert find(gunw, ".nc").name.startswith("S1-GUNW_CUSTOM-D-R-052-tops-20230916_20230904-")
    ifg = sample()
    data = open_group(gunw, "science/grids/data")
    bowl = float(data["unwrappedPhase"].sel(latitude=31.77, longitude=-8.73, method="nearest"))
    assert bowl != 0
    near = ifg.layers["unwrapped_phase"].values
    assert np.nanmin(near) >= -1e-6  # subsidence: the range grew
    values = data["unwrappedPhase"].values
    assert values[values != 0].max() <= 1e-6
    assert values.min() == pytest.approx(-np.nanmax(near), rel=1e-3)
    cube = open_group(gunw, "science/grids/imagingGeometry")
    assert float(cube["perpendicularBaseline"].mean()) == pytest.approx(27.3, rel=0.02)


def test_gunw_has_the_layers_fills_and_axes_of_the_standard(gunw: tuple[Path, ...]) -> None:
    data = open_group(gunw, "science/grids/data")
    fills = {"unwrappedPhase": 0, "coherence": 0, "connectedComponents": -1, "amplitude": 0, "unfilteredCoherence": 0}
    for name, fill in fills.items():
        assert data[name].dtype == np.float32
        assert data[name].dims == ("latitude", "longitude")
        assert data[name].attrs["_FillValue"] == fill
        assert np.isfinite(data[name].values).all()
    step = np.diff(data["latitude"].values), np.diff(data["longitude"].values)
    np.testing.assert_allclose(step[0], -1 / 1200, atol=1e-9)
    np.testing.assert_allclose(step[1], 1 / 1200, atol=1e-9)
    root = open_group(gunw, "/")
    assert root.attrs["version"] == "1b"
    assert bytes(root["productBoundingBox"].values.ravel()[0]).startswith(b"POLYGON ((")


def test_gunw_shows_one_pixel_where_it_lies(tmp_path: Path) -> None:
    one = np.zeros(DEGREES.shape)
    one[40, 70] = 3.0
    paths = write("gunw", tmp_path / "out", sample(DEGREES, filtered_unwrapped_phase=one))
    phase = open_group(paths, "science/grids/data")["unwrappedPhase"]
    row, column = np.unravel_index(np.abs(phase.values).argmax(), phase.shape)
    assert float(phase.latitude[row]) == pytest.approx(DEGREES.north - 40.5 * DEGREES.dy, abs=0.51 * DEGREES.dy)
    assert float(phase.longitude[column]) == pytest.approx(DEGREES.west + 70.5 * DEGREES.dx, abs=0.51 * DEGREES.dx)


def test_gunw_cubes_agree_with_the_geometry_of_points() -> None:
    reference, secondary = read_passes(FACTS)
    cube = make_cube(reference, secondary, BBox(west=-8.3, south=31.7, east=-8.0, north=31.9))
    assert cube.heights_m.tolist() == list(HEIGHTS_M)
    assert (np.diff(cube.latitude_deg) < 0).all()
    lat, lon = np.radians(cube.latitude_deg[2]), np.radians(cube.longitude_deg[3])
    point = geodetic_to_ecef(lat, lon, 3000.0)[None]
    expected = measure_baseline(point, reference.fit(), secondary.fit())[0]
    assert cube.values["perpendicularBaseline"][2, 2, 3] == pytest.approx(expected, abs=1e-3)
    incidence, look = (cube.values[name] for name in ("incidenceAngle", "lookAngle"))
    assert ((incidence > look) & (incidence < 50)).all()  # the Earth is round
    azimuth = cube.values["azimuthAngle"]
    assert (np.abs(azimuth) < 20).all()  # a descending pass looks west: the satellite is east of the ground


def test_gunw_records_are_valid_for_the_archive(gunw: tuple[Path, ...], shared_data: Path) -> None:
    schema = json.loads((shared_data / "headers" / "gunw" / "daac_ingest_schema.json").read_text())
    record = json.loads(find(gunw, ".json").read_text())
    assert not list(Draft7Validator(schema).iter_errors(record))
