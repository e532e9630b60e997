"""The troposphere from zenith delays of a weather model."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray
from numpy.typing import NDArray

from sample_layers import FACTS, sample, with_only
from topsar.batch import Batch
from topsar.corrections import open_correction
from topsar.corrections.step import plan_corrections
from topsar.corrections.weather_troposphere import WeatherTroposphere
from topsar.corrections.zenith_delay import choose_around, choose_model, list_weather, read_zenith_delay
from topsar.engines import load_engine
from topsar.errors import ProvisionError
from topsar.formats import open_format
from topsar.formats.gunw.standard import CORRECTIONS, GEOMETRY, TROPOSPHERE
from topsar.formats.gunw.structure import check_structure
from topsar.interferogram import Interferogram, Layer, swap_dates
from topsar.kernels.refractivity import CUBE_M, convert_geopotential, integrate_columns, integrate_refractivity
from topsar.model import BBox
from topsar.raster import compute_pixel_centres
from topsar.schedule.jobs import Artifact, Job, Step
from topsar.settings import Options, load_settings

DAYS = (datetime(2023, 9, 4, 6, 37, 30, tzinfo=timezone.utc), datetime(2023, 9, 16, 6, 37, 30, tzinfo=timezone.utc))
BOX = BBox(west=-9.2, south=31.4, east=-8.2, north=32.2)
GUNW: Any = open_format("gunw", Options().model_dump(mode="json"))
WET_M = (0.10, 0.16)
"""Wet delay at sea level of each date, at the hours of the pass."""


def wet_at(time: datetime, height: NDArray[Any], lon: NDArray[Any]) -> NDArray[Any]:
    """Falls by a factor e every 2 km; a centimetre more every hour; more to the east."""
    day = int(time > DAYS[0] + timedelta(days=6))
    hours = (time - DAYS[day]).total_seconds() / 3600
    return np.asarray((WET_M[day] + 0.01 * hours + 0.01 * (lon + 8.7)) * np.exp(-height / 2000))


def write_cube(
    folder: Path, kind: str, time: datetime, *, height: NDArray[Any] | None = None, scale: float = 1
) -> Path:
    """A cube of one time, as OPERA or RAiDER write it."""
    height = np.arange(-500.0, 3001, 100) if height is None else height
    lat, lon = np.arange(31.0, 32.7, 0.1)[::-1], np.arange(-10.0, -7.4, 0.1)
    deep = np.broadcast_to(height[:, None, None], (height.size, lat.size, lon.size))
    hydrostatic, wet = scale * 2.3 * np.exp(-deep / 8000), wet_at(time, deep, lon)
    folder.mkdir(exist_ok=True)
    if kind == "opera":
        path = folder / f"OPERA_L4_TROPO-ZENITH_{time:%Y%m%dT%H%M%S}Z_20250904T175115Z_HRES_v1.0.nc"
        names, parts = ("time", "height", "latitude", "longitude"), ("hydrostatic_delay", "wet_delay")
        hydrostatic, wet, axes = hydrostatic[None], wet[None], ([0], height, lat, lon)
    else:
        path = folder / f"HRES_tropo_{time:%Y%m%dT%H%M%S}_ztd.nc"
        names, parts, axes = ("z", "y", "x"), ("hydro", "wet"), (height, lat, lon)
    data = xarray.Dataset(
        {name: (names, part.astype(np.float64)) for name, part in zip(parts, (hydrostatic, wet), strict=True)},
        coords=dict(zip(names, axes, strict=True)),
    )
    data["crs"] = ((), 0, {"grid_mapping_name": "latitude_longitude"})
    data.to_netcdf(path, engine="h5netcdf")
    return path


def write_gacos(folder: Path, time: datetime, ifg: Interferogram) -> None:
    lat, lon = np.arange(31.3, 32.4, 0.05)[::-1], np.arange(-9.5, -7.9, 0.05)
    height = np.full((lat.size, lon.size), 500.0)
    delay = 2.3 * np.exp(-height / 8000) + wet_at(time, height, lon)
    folder.mkdir(exist_ok=True)
    delay.astype("<f4").tofile(folder / f"{time:%Y%m%d}.ztd")
    told = {
        "WIDTH": lon.size,
        "FILE_LENGTH": lat.size,
        "X_FIRST": lon[0],
        "Y_FIRST": lat[0],
        "X_STEP": 0.05,
        "Y_STEP": -0.05,
    }
    (folder / f"{time:%Y%m%d}.ztd.rsc").write_text("".join(f"{key} {value}\n" for key, value in told.items()))


def hours_around(time: datetime) -> tuple[datetime, datetime]:
    return time.replace(hour=6, minute=0, second=0), time.replace(hour=12, minute=0, second=0)


def expected_rad(ifg: Interferogram) -> NDArray[Any]:
    lon = compute_pixel_centres(ifg.grid)[0] if ifg.grid.crs == "EPSG:4326" else -8.7
    middles = [day + timedelta(seconds=0) for day in DAYS]
    first, second = (wet_at(time, ifg.layers["height"].values, np.asarray(lon)) for time in middles)
    return np.asarray(4 * math.pi / FACTS["wavelength_m"] * (second - first) / ifg.layers["los_up"].values)


@pytest.mark.parametrize("kind", ["opera", "raider"])
def test_cubes_become_the_slant_delay_at_the_height_of_the_ground(kind: str, tmp_path: Path) -> None:
    for day in DAYS:
        for hour in hours_around(day):
            write_cube(tmp_path / "air", kind, hour)
    (tmp_path / "air" / "notes_20230904T060000.txt").touch()
    ifg = sample()
    found = WeatherTroposphere(str(tmp_path / "air")).compute(ifg)
    assert found.phase_rad is not None, found.facts
    seen = ~ifg.layers["wrapped_phase"].holes
    np.testing.assert_array_equal(np.isfinite(found.phase_rad), seen)
    # a millimetre of delay is 0.23 rad; more water on the second date: the range grew
    np.testing.assert_allclose(found.phase_rad[seen], expected_rad(ifg)[seen], atol=0.02)
    assert float(np.nanmin(found.phase_rad)) > 5
    assert [len(names) for names in found.facts["files"].values()] == [2, 2]
    other = WeatherTroposphere(str(tmp_path / "air")).compute(swap_dates(ifg)).phase_rad
    assert other is not None
    np.testing.assert_allclose(other, -found.phase_rad, atol=1e-4)


def test_gacos_is_the_delay_at_the_ground_at_the_hour_of_the_pass(tmp_path: Path) -> None:
    ifg = sample(height=np.full((120, 150), 500.0))
    for day in DAYS:
        write_gacos(tmp_path / "air", day, ifg)
    found = WeatherTroposphere(str(tmp_path / "air")).compute(ifg)
    assert found.phase_rad is not None, found.facts
    seen = ~ifg.layers["wrapped_phase"].holes
    np.testing.assert_allclose(found.phase_rad[seen], expected_rad(ifg)[seen], atol=0.02)


def test_the_deviation_is_that_of_a_walk_between_the_models_times(tmp_path: Path) -> None:
    ifg = sample()
    for day in DAYS:
        for hour in hours_around(day):
            write_cube(tmp_path / "air", "opera", hour)
    found = WeatherTroposphere(str(tmp_path / "air")).compute(ifg)
    assert found.std_rad is not None
    seen = ~ifg.layers["wrapped_phase"].holes
    np.testing.assert_array_equal(np.isfinite(found.std_rad), seen)
    # 6 cm of change in 6 hours on each date, 37.5 minutes after the first of them
    later = 37.5 / 360
    change = 0.06 * np.exp(-ifg.layers["height"].values / 2000) / ifg.layers["los_up"].values
    square = (change**2 + (change[seen] ** 2).mean()) / 2
    expected = 4 * math.pi / FACTS["wavelength_m"] * np.sqrt(2 * later * (1 - later) * square)
    np.testing.assert_allclose(found.std_rad[seen], expected[seen], rtol=0.02)
    assert found.facts["std_rad"] == pytest.approx(float(found.std_rad[seen].mean()), abs=1e-3)
    for day in DAYS:
        write_cube(tmp_path / "now", "opera", day)
    exact = WeatherTroposphere(str(tmp_path / "now")).compute(ifg)
    assert exact.phase_rad is not None
    assert exact.std_rad is None


def with_weather(folder: Path) -> Interferogram:
    """The sample with the layer and the facts of the correction."""
    for day in DAYS:
        for hour in hours_around(day):
            write_cube(folder, "opera", hour)
    ifg, correction = sample(), WeatherTroposphere(str(folder))
    found = correction.compute(ifg)
    assert found.phase_rad is not None
    layer = Layer(kind=correction.layer, values=found.phase_rad)
    facts = {**ifg.facts, "corrections": {correction.name: found.facts}}
    return replace(ifg, layers={**ifg.layers, correction.layer.name: layer}, facts=facts)


@pytest.fixture(scope="module")
def gunw_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weather")
    return GUNW.write([with_weather(folder / "air")], folder / "gunw")[0]


def test_gunw_has_the_delays_of_both_dates(gunw_file: Path) -> None:
    """In groups as RAiDER makes them; the later date is the reference, and a delay makes the phase negative."""
    assert list(GUNW.check(gunw_file)) == []
    with h5py.File(gunw_file) as file:
        assert file.attrs["version"] == "1c"
        model, geometry = file[f"{TROPOSPHERE}/HRES"], file[GEOMETRY]
        for side, day in (("reference", DAYS[1]), ("secondary", DAYS[0])):
            group = model[side]
            height, lat, lon = (group[name][...] for name in ("heightsMeta", "latitudeMeta", "longitudeMeta"))
            column = np.searchsorted(geometry["longitudeMeta"][...], lon[3] - 1e-6)
            row = int(np.argmin(np.abs(geometry["latitudeMeta"][...] - lat[2])))
            for level, known in ((0.0, 1), (3000.0, 2)):
                up = math.cos(math.radians(geometry["incidenceAngle"][known, row, column]))
                here = (int(np.searchsorted(height, level)), 2, 3)
                wet, dry = (float(group[name][here]) for name in ("troposphereWet", "troposphereHydrostatic"))
                per_metre = -4 * math.pi / FACTS["wavelength_m"] / up
                assert wet == pytest.approx(per_metre * float(wet_at(day, np.array(level), lon[3])), abs=0.02)
                assert dry == pytest.approx(per_metre * 2.3 * math.exp(-level / 8000), abs=0.02)
            assert group["troposphereWet"].attrs["units"] == "radians"
            assert group["troposphereWet"].attrs["model_times_used"].count("T") == 2
        assert "troposphereWet" not in file[TROPOSPHERE]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file[f"{TROPOSPHERE}/HRES/reference"].pop("troposphereWet"), "is missing, while there is a weat"),
        (lambda file: file[f"{CORRECTIONS}/derived/ionosphere"].pop("ionosphere"), "ionosphere/ionosphere: is missing"),
        (lambda file: flip(file[f"{TROPOSPHERE}/HRES/secondary/troposphereWet"], -1.0), "no delay of air"),
        (lambda file: flip(file[f"{TROPOSPHERE}/HRES/secondary/troposphereHydrostatic"], 0.004), "no delay of air"),
    ],
    ids=["a delay is missing", "the ionosphere is missing", "wrong sign", "metres"],
)
def test_faults_of_a_weather_model_in_gunw_are_told(change: Any, told: str, gunw_file: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(gunw_file, tmp_path))
    with h5py.File(path, "r+") as file:
        change(file)
    with h5netcdf.File(path) as nc:
        assert any(told in str(line) for line in check_structure(nc))


def flip(variable: Any, factor: float) -> None:
    variable[...] = factor * variable[...]


def test_gunw_without_the_files_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ifg = with_weather(tmp_path / "air")
    next((tmp_path / "air").iterdir()).unlink()
    path = GUNW.write([ifg], tmp_path / "gunw")[0]
    assert "does not have the files any more" in caplog.text
    assert list(GUNW.check(path)) == []
    with h5py.File(path) as file:
        assert "troposphereWet" in file[TROPOSPHERE]


def test_gunw_finds_the_files_in_a_data_folder_that_was_moved(tmp_path: Path) -> None:
    (tmp_path / "old" / "weather").mkdir(parents=True)
    ifg = with_weather(tmp_path / "old" / "weather" / "air")
    products = tmp_path / "new" / "runs" / "pair" / "products"
    products.mkdir(parents=True)
    (tmp_path / "old" / "weather").rename(tmp_path / "new" / "weather")
    path = GUNW.write([replace(ifg, folder=products)], tmp_path / "gunw")[0]
    with h5py.File(path) as file:
        assert f"{TROPOSPHERE}/HRES/secondary/troposphereWet" in file


def refusal(folder: Path | str, ifg: Interferogram | None = None) -> str:
    found = WeatherTroposphere(str(folder)).compute(ifg or sample())
    assert found.phase_rad is None
    return str(found.facts["refused"])


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    assert "TROPOSPHERE_DIR" in refusal("")
    assert "line of sight" in refusal("", with_only(sample(), "wrapped_phase", "height"))
    assert "2023-09-04 06:37 UTC and 2023-09-16 06:37 UTC" in refusal(tmp_path / "nowhere")
    (tmp_path / "one").mkdir()
    for hour in hours_around(DAYS[0]):
        write_cube(tmp_path / "one", "opera", hour)
    assert "no model has files" in refusal(tmp_path / "one")
    for hour in hours_around(DAYS[1]):
        write_cube(tmp_path / "one", "raider", hour)
    assert "no model has files" in refusal(tmp_path / "one")  # of two models
    for hour in hours_around(DAYS[1]):
        path = write_cube(tmp_path / "one", "opera", hour)
    far = replace(sample().grid, west=900_000)
    assert "does not cover" in refusal(tmp_path / "one", sample(far))
    assert "40.0% of the pixels" in refusal(tmp_path / "one", _raise(0.6))
    write_cube(tmp_path / "one", "opera", hours_around(DAYS[1])[1], scale=1.44)
    assert "holds no zenith delay" in refusal(tmp_path / "one")
    path.write_bytes(path.read_bytes()[:3000])
    assert "cannot be read" in refusal(tmp_path / "one")


def _raise(share: float) -> Interferogram:
    """Some of the ground lies above the highest level."""
    ifg = sample()
    height = ifg.layers["height"].values.copy()
    seen = np.flatnonzero(np.isfinite(height.ravel()) & ~ifg.layers["wrapped_phase"].holes.ravel())
    height.ravel()[seen[: round(share * seen.size)]] = 5000
    return sample(height=height)


def test_files_are_chosen_around_the_time(tmp_path: Path) -> None:
    noon = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
    for hours in (-12, -6, 0, 6):
        (tmp_path / f"A_{noon + timedelta(hours=hours):%Y%m%dT%H%M%S}.nc").touch()
    for hours in (-1, 2):
        (tmp_path / f"B_{noon + timedelta(hours=hours):%Y_%m_%d_T%H_%M_%S}_32N.nc").touch()
    files = list_weather(tmp_path)
    of_a = [one for one in files if one.model == "A"]

    def hours_of(time: datetime) -> list[float]:
        return [(one.time - noon).total_seconds() / 3600 for one in choose_around(of_a, time)]

    assert hours_of(noon + timedelta(minutes=3)) == [0]
    assert hours_of(noon - timedelta(minutes=30)) == [-6, 0]
    assert hours_of(noon + timedelta(hours=7)) == []
    (tmp_path / f"A_{noon:%Y%m%dT%H%M%S}.nc").unlink()
    of_a = [one for one in list_weather(tmp_path) if one.model == "A"]
    assert hours_of(noon) == []  # twelve hours apart
    assert {one.model for each in choose_model(files, [noon + timedelta(minutes=30)] * 2) for one in each} == {"B"}
    assert {one.model for each in choose_model(files, [noon, noon - timedelta(hours=8)]) for one in each} == {"A"}


def test_a_changed_file_computes_the_correction_again(tmp_path: Path) -> None:
    path, *_ = [write_cube(tmp_path / "air", "opera", hour) for day in DAYS for hour in hours_around(day)]
    write_cube(tmp_path / "air", "opera", DAYS[1] + timedelta(days=30))
    artifact = Artifact(path="T052_20230904T063730_20230916T063730/unwrap")
    last = Step(name="unwrap", argv=("true",), signature="", writes=(artifact,))
    job = Job(id="T052_20230904T063730_20230916T063730", title="", steps=(last,), is_pair=True)
    options = {"corrections": ["weather_troposphere", "solid_earth_tide"], "troposphere_dir": str(tmp_path / "air")}

    def plan() -> tuple[Step, ...]:
        corrections = {name: open_correction(name, options) for name in options["corrections"]}
        return plan_corrections(job, load_engine("native"), corrections, (artifact.path,))

    before, tide = plan()
    assert len(before.inputs) == 4
    assert not tide.inputs
    assert plan()[0].signature == before.signature
    path.write_bytes(path.read_bytes() + b" ")
    assert plan()[0].signature != before.signature
    assert plan()[1].signature == tide.signature


def test_a_relative_folder_lies_in_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings(
        env_file=None, data=tmp_path, pairs=tmp_path / "pairs.txt", flags={"TROPOSPHERE_DIR": "air"}
    )
    known = Batch(settings=settings).options.model_dump(mode="json")
    assert known["troposphere_dir"] == str(tmp_path.resolve() / "air")
    assert isinstance(open_correction("weather_troposphere", known), WeatherTroposphere)


def test_a_layer_of_air_has_the_delay_of_its_weight() -> None:
    """The hydrostatic delay of an isothermal atmosphere is 1e-6·k1·p·R/(M·g): 2.27 m at 1013 hPa."""
    height, temperature, gas = np.arange(0, 80_000, 20.0), 260.0, 287.05
    pressure = 101_325 * np.exp(-9.80665 * height / (gas * temperature))
    vapour = 1000 * np.exp(-height / 2000)
    hydrostatic, wet = integrate_refractivity(pressure, np.full(height.shape, temperature), vapour, height)
    weight = 101_325 - 0.378 * 1000 * 2000 * 9.80665 / (gas * temperature)  # of dry air in the place of vapour
    assert hydrostatic[0] == pytest.approx(0.776e-6 * weight * gas / 9.80665, rel=1e-4)
    assert wet[0] == pytest.approx(1e-6 * (0.233 / temperature + 3750 / temperature**2) * 1000 * 2000, rel=1e-4)
    assert hydrostatic[-1] == wet[-1] == 0


# --- real files -------------------------------------------------------------------------------------------------

SCENE = BBox(west=-118.5, south=33.0, east=-116.5, north=35.0)


@pytest.mark.real
def test_levels_of_a_weather_model_give_the_delay_that_another_program_found(shared_data: Path, tmp_path: Path) -> None:
    """Theirs has k1·p/T where the density of moist air belongs: vapour twice, up to 3 mm here, and nothing else."""
    files = [one for one in list_weather(shared_data / "weather") if one.model == "GMAO"]
    assert [one.time.hour for one in files] == [12, 13, 15]
    for one in (files[0], files[2]):
        with xarray.open_dataset(one.path, engine="h5netcdf", decode_times=False) as data:
            levels = data[["p", "t", "e", "proj"]].load()
            theirs = (data["hydro_total"] + data["wet_total"]).load()
        levels.to_netcdf(tmp_path / one.path.name, engine="h5netcdf")
        ours = read_zenith_delay(tmp_path / one.path.name, SCENE)
        twice = 1e-6 * 0.776 * 0.378 * (levels["e"] / levels["t"].where(levels["t"] > 0, 1)).astype(float)
        above = twice.isel(z=slice(None, None, -1)).cumulative_integrate("z").isel(z=slice(None, None, -1))
        expected = (theirs + above).sel(y=ours.latitude_deg, x=ours.longitude_deg)
        np.testing.assert_allclose(ours.delay_m, expected.values, atol=2e-6)
        assert theirs.values.max() > 2.3
        assert float(-above.min()) < 0.004


@pytest.mark.real
def test_columns_of_another_weather_model_have_the_delay_of_their_weight(shared_data: Path) -> None:
    """Saastamoinen, 1972: 2.2768 mm for each hPa above, whatever the temperature."""
    (path,) = (shared_data / "weather").glob("ERA-5*.nc")
    with xarray.open_dataset(path, engine="scipy", decode_times=False) as data:
        level, lat = 100.0 * data["level"].values[::-1], np.repeat(data["latitude"].values, data.sizes["longitude"])
        warm, humidity, high = (
            data[name].values[0, ::-1].reshape(level.size, -1).astype(float) for name in ("t", "q", "z")
        )
    height = convert_geopotential(lat, high / 9.80665)
    hydrostatic, wet = integrate_columns(
        np.broadcast_to(level[:, None], height.shape), warm, np.maximum(humidity, 0), height, lat
    )
    for above in (3000, 5000):
        row = int(np.searchsorted(CUBE_M, above))
        pressure = np.exp([np.interp(above, one, np.log(level)) for one in height.T])
        law = 2.2768e-5 * pressure / (1 - 0.00266 * np.cos(2 * np.radians(lat)) - 0.28e-6 * above)
        np.testing.assert_allclose(hydrostatic[row], law, atol=1e-3)
        assert 0 < wet[row].min() < wet[row].max() < 0.1


@pytest.mark.real
def test_between_model_times_the_delay_is_that_of_another_program(shared_data: Path) -> None:
    files = [one for one in list_weather(shared_data / "weather") if one.model == "GMAO"]
    before, between, after = (read_zenith_delay(one.path, SCENE).delay_m for one in files)
    later = (files[1].time - files[0].time) / (files[2].time - files[0].time)
    np.testing.assert_allclose((1 - later) * before + later * after, between, atol=1e-6)
    assert np.abs(after - before).max() > 0.02


@pytest.mark.real
def test_a_file_whose_delays_are_no_zenith_delays_is_refused(shared_data: Path) -> None:
    """Its hydrostatic delay at sea level is 3.4 m."""
    path = shared_data / "weather" / "HRRR_tropo_20200101T120000_ztd.nc"
    with pytest.raises(ProvisionError, match="no zenith delay"):
        read_zenith_delay(path, BBox(west=-92, south=36, east=-91, north=37))
