"""The checker of GUNW: what is right passes, and each fault is told in a line that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import pytest
import shapely

from sample_layers import DEGREES, FACTS, sample
from topsar.cli import main
from topsar.formats import open_format
from topsar.formats.gunw import standard
from topsar.formats.gunw.structure import check_structure
from topsar.interferogram import Interferogram, Layer, find_kind, make_layers, swap_dates
from topsar.settings import Options

OPTIONS = Options().model_dump(mode="json")
DATA, GEOMETRY, RADAR = standard.DATA, standard.GEOMETRY, standard.RADAR
GRIDS = "science/grids"
OUTLINE = [(-9.4, 31.2), (-8.2, 31.2), (-8.2, 32.2), (-9.4, 32.2)]
SETTINGS = {
    "frame": {"number": 25502, "track": 52, "direction": "descending", "outline": OUTLINE},
    "filter_strength": 0.5,
}


def write(folder: Path, ifg: Interferogram) -> Path:
    folder.mkdir(parents=True)
    return open_format("gunw", OPTIONS).write([ifg], folder)[0]


def check(path: Path) -> list[str]:
    return list(open_format("gunw", OPTIONS).check(path))


def with_ionosphere(ifg: Interferogram) -> Interferogram:
    phase = np.where(ifg.layers["height"].holes, np.nan, 0.3)
    layers = make_layers({"ionosphere": phase, "ionosphere_burst_ramps": phase / 2})
    return Interferogram(pair_id=ifg.pair_id, grid=ifg.grid, layers={**ifg.layers, **layers}, facts=ifg.facts)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gunw") / "out", sample(DEGREES))


@pytest.mark.parametrize(
    "ifg",
    [sample(), swap_dates(sample()), with_ionosphere(sample(DEGREES))],
    ids=["projected", "later date first", "with ionosphere"],
)
def test_what_topsar_writes_follows_the_standard(ifg: Interferogram, tmp_path: Path) -> None:
    path = write(tmp_path / "out", ifg)
    assert check(path) == []
    with h5py.File(path) as file:
        has_ionosphere = "ionosphere" in ifg.layers
        assert file[GRIDS].attrs["estimate_ionosphere_delay"] == has_ionosphere
        assert file.attrs["version"] == ("1c" if has_ionosphere else "1b")
        assert (standard.BURST_RAMPS in file) == has_ionosphere
        if has_ionosphere:
            ramps = file[f"{standard.BURST_RAMPS}/ionosphereBurstRamps"]
            assert ramps.attrs["units"] == "rad"
            assert set(np.unique(np.abs(ramps[()]))) <= {0, np.float32(0.15)}


def test_a_product_on_a_frame_has_its_number_and_outline(tmp_path: Path) -> None:
    path = write(tmp_path / "out", sample(DEGREES, facts={**FACTS, "settings": SETTINGS}))
    assert check(path) == []
    assert "-00009W_00031N-" in path.name  # of the frame, not of the data
    assert "GUNW_CUSTOM" in path.name  # without ionosphere and tides it is no standard product
    with h5py.File(path) as file:
        assert file.attrs["aria_frame_id"] == file[GRIDS].attrs["frame_id"] == 25502
        assert shapely.from_wkt(file.attrs["product_geometry_wkt"]).equals(shapely.Polygon(OUTLINE))
    assert json.loads(path.with_suffix(".json").read_text())["metadata"]["frame_number"] == 25502


def test_a_product_on_a_frame_with_all_that_the_standard_has_is_none_of_the_users(tmp_path: Path) -> None:
    facts = {**FACTS, "settings": SETTINGS}
    ifg = with_ionosphere(sample(DEGREES, facts=facts))
    kind = find_kind("solid_earth_tide")
    assert kind is not None
    tide = Layer(kind=kind, values=ifg.layers["ionosphere"].values)
    path = write(tmp_path / "out", replace(ifg, layers={**ifg.layers, kind.name: tide}))
    assert check(path) == []
    assert path.name.startswith("S1-GUNW-D-R-052-")


def test_a_product_of_crossed_waves_is_told_from_that_of_the_same_scenes(product: Path, tmp_path: Path) -> None:
    known = {"pair": f"{FACTS['pair']}_VH", "polarisation": "VH", "settings": SETTINGS}
    path = write(tmp_path / "out", sample(DEGREES, facts={**FACTS, **known}))
    assert check(path) == []
    assert "GUNW_CUSTOM" in path.name
    assert path.stem.split("-")[10] != product.stem.split("-")[10]  # the checksum
    assert sorted(one.suffix for one in path.parent.iterdir()) == [".nc", ".png"]  # the archive takes VV and HH alone
    renamed = path.rename(path.with_name(path.name.replace(path.stem.split("-")[10], product.stem.split("-")[10])))
    assert "is not the checksum" in " ".join(check(renamed))


def test_a_standard_product_has_a_frame_and_standard_parameters() -> None:
    assert not standard.is_standard(25502, {**standard.STANDARD_RUN, standard.CROSSED_KEY: "VH"})
    assert standard.is_standard(25502, standard.STANDARD_RUN)
    assert not standard.is_standard(standard.NO_FRAME, standard.STANDARD_RUN)
    for key in standard.STANDARD_RUN:
        assert not standard.is_standard(25502, {**standard.STANDARD_RUN, key: 0.25})


def put(path: str, value: Any) -> Callable[[h5py.File], None]:
    """Replace the values of a variable, or those that a function makes of them."""

    def change(file: h5py.File) -> None:
        file[path][...] = value(file[path][...]) if callable(value) else value

    return change


def tell(holder: str, key: str, value: Any) -> Callable[[h5py.File], None]:
    """Replace an attribute; None removes it."""

    def change(file: h5py.File) -> None:
        if value is None:
            del file[holder].attrs[key]
        else:
            file[holder].attrs[key] = value

    return change


def drop(path: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[path]

    return change


def spot(row: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """One pixel amid the phase becomes another."""

    def change(values: np.ndarray) -> np.ndarray:
        values[row, 100] = value
        return values

    return change


def saw(phase: np.ndarray) -> np.ndarray:
    phase[::2] += np.where(phase[::2] == 0, 0, 2 * np.pi).astype(np.float32)
    return phase


Fault = tuple[Callable[[h5py.File], None], str]
REFERENCE, SECONDARY = (f"{RADAR}/inputSLC/{side}/L1InputGranules" for side in ("reference", "secondary"))
BROKEN: dict[str, tuple[Fault, ...]] = {
    "structure": (
        (drop(f"{DATA}/coherence"), f"{DATA}/coherence: is missing"),
        (drop(f"{GEOMETRY}/lookAngle"), f"{GEOMETRY}/lookAngle: is missing"),
        (drop(f"{standard.TIDES}/solidEarthTide"), "solidEarthTide: is missing: neither a layer nor"),
        (tell(f"{DATA}/crs", "semi_major_axis", 6378160.0), "semi_major_axis is 6378160.0"),
        (drop(f"{GEOMETRY}/crsMeta"), "has no grid mapping crsMeta"),
        (tell(f"{DATA}/connectedComponents", "_FillValue", np.float32(0)), "has the fill value 0.0, not -1"),
        (tell(f"{DATA}/unwrappedPhase", "units", "m"), "attribute units: is 'm', not 'rad'"),
        (tell(f"{DATA}/amplitude", "long_name", None), "amplitude: has neither long_name nor standard_name"),
        (lambda file: file[GEOMETRY].move("azimuthAngle", "bearing"), "bearing: the standard has no such variable"),
    ),
    "attributes": (
        (tell("/", "Conventions", "CF-1.8"), "attribute Conventions: is 'CF-1.8'"),
        (tell("/", "product_geometry_wkt", None), "attribute product_geometry_wkt: is missing"),
        (tell("/", "version", "2"), "attribute version: is '2'"),
        (tell(GRIDS, "estimate_ionosphere_delay", 1), "there is no such layer"),
        (tell("/", "aria_frame_id", 25502), "attribute aria_frame_id: is 25502"),
        (tell("/", "mean_incidence_angle", 71.0), "attribute mean_incidence_angle: is 71"),
        (tell(GRIDS, "reference_scenes", "another"), "attribute reference_scenes: does not name"),
    ),
    "more layers told than there are": (
        (tell("/", "version", "1c"), "there is neither ionosphere nor tides"),
        (lambda file: file[GRIDS].attrs.update({**standard.STANDARD_RUN, "frame_id": 1}), "CUSTOM stands in it"),
    ),
    "values": (
        (put(f"{DATA}/unwrappedPhase", spot(60, np.nan)), "1 values are no numbers"),
        (put(f"{DATA}/coherence", spot(61, 1.5)), f"{DATA}/coherence: 1 values lie outside"),
        (put(f"{DATA}/amplitude", spot(62, -2)), "1 values are negative"),
        (put(f"{DATA}/connectedComponents", spot(63, 0.5)), "the whole number of a component"),
        (put(f"{DATA}/unfilteredCoherence", 0), "with phase have no unfilteredCoherence"),
        (put(f"{DATA}/latitude", lambda lat: lat[0] - np.arange(lat.size) / 1000), "1000 pixels per degree"),
    ),
    "holes": (
        (
            put(f"{DATA}/unwrappedPhase", lambda phase: np.where(phase < 0, 0, phase)),
            "pixels of components have no phase",
        ),
    ),
    "jumps": ((put(f"{DATA}/unwrappedPhase", saw), "differ by more than half a cycle"),),
    "cubes": (
        (put(f"{GEOMETRY}/longitudeMeta", lambda lon: lon + 1), "cannot interpolate"),
        (put(f"{GEOMETRY}/heightsMeta", [0, 1, 2, 3]), "heightsMeta: is [0.0, 1.0"),
        (put(f"{GEOMETRY}/perpendicularBaseline", np.negative), "does not follow from parallelBaseline"),
        (put(f"{GEOMETRY}/incidenceAngle", lambda angle: angle - 8), "from the centre of the Earth"),
        (put(f"{GEOMETRY}/azimuthAngle", lambda angle: angle + 180), "D is not the direction that azimuthAngle says"),
    ),
    "radians": ((put(f"{GEOMETRY}/lookAngle", np.radians), f"{GEOMETRY}/lookAngle: is"),),
    "radar": (
        (put(f"{RADAR}/centerFrequency", 5.6e9), "is not the speed of light over the wavelength"),
        (put(f"{RADAR}/azimuthTimeInterval", 0.02), "azimuthTimeInterval: is 0.02"),
        (put(f"{RADAR}/slantRangeEnd", 7.6e5), "is no less than slantRangeEnd"),
        (put(f"{RADAR}/slantRangeEnd", 7.6e5), "that the angles say"),
        (put(f"{RADAR}/inputSLC/secondary/orbitType", "guessed"), "orbitType: is guessed"),
        (put(f"{RADAR}/azimuthZeroDopplerEndTime", "soon"), "'soon' is no time"),
    ),
    "outline": ((put("productBoundingBox", b"x"), "productBoundingBox: is not the WKT of a valid polygon"),),
    "geometry": (
        (tell("/", "product_geometry_wkt", "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))"), "do not touch each other"),
        (put(f"{RADAR}/azimuthZeroDopplerStartTime", "2023-09-16T05:37:30.0Z"), "not within the reference granules"),
        (put(SECONDARY, "a.zip"), "'a.zip' is not the name of a Sentinel-1"),
    ),
    "dates": (
        (put(REFERENCE, f"{FACTS['reference_scenes'][0]}.zip"), "the reference is not the later date"),
        (put(SECONDARY, f"{FACTS['secondary_scenes'][0]}.zip"), "is not the checksum of the granules"),
    ),
}
"""Faults that do not hide each other, file by file."""


@pytest.mark.parametrize("group", BROKEN)
def test_each_fault_is_told(group: str, product: Path, tmp_path: Path) -> None:
    path = tmp_path / product.name
    shutil.copy(product, path)
    with h5py.File(path, "r+") as file:
        for change, _ in BROKEN[group]:
            change(file)
    found = check(path)
    for _, told in BROKEN[group]:
        assert any(told in line for line in found), (told, found)
    assert all("\n" not in line for line in found)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("-D-R-", "-A-R-", "A is not the direction"),
        ("-052-", "-058-", "058 is not the track"),
        ("20230916_20230904", "20230917_20230904", "20230917 is not the day"),
        ("-0637", "-1637", "is not within the reference granules"),
        ("_00032N", "_00033N", "is not the south-western corner"),
        ("GUNW_CUSTOM", "GUNW", "CUSTOM is missing"),
        ("v3_0_1", "v2_0_6", "is not that of a GUNW product of version 3"),
    ],
)
def test_a_name_that_says_something_else_is_told(old: str, new: str, told: str, product: Path, tmp_path: Path) -> None:
    assert old in product.name
    path = tmp_path / product.name.replace(old, new)
    shutil.copy(product, path)
    assert any(told in line for line in check(path))


def test_a_record_of_another_file_is_told(product: Path, tmp_path: Path) -> None:
    record = json.loads(product.with_suffix(".json").read_text())
    record["metadata"] |= {"track_number": 7, "reference_scenes": ["another"]}
    shutil.copy(product, tmp_path)
    (tmp_path / product.with_suffix(".json").name).write_text(json.dumps(record))
    found = check(tmp_path / product.name)
    assert [line.partition(", ")[2].partition(":")[0] for line in found] == ["track_number", "reference_scenes"]


def test_the_verb_says_a_line_for_each_fault(product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gunw", str(product)]) == 0
    bad = tmp_path / product.name
    shutil.copy(product, bad)
    with h5py.File(bad, "r+") as file:
        del file[f"{DATA}/coherence"]
    capsys.readouterr()
    assert main(["check", "gunw", str(product.with_suffix(".png")), str(bad), str(product)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert "netCDF-4" in told[0]
    assert f"{bad.name}: {DATA}/coherence: is missing" in told
    assert told[-1] == f"{product.name}: nothing found"
    assert main(["check", "hyp3", str(product)]) == 2


# --- against the packaging template of the standard -------------------------------------------------------------


def make_skeleton(template: dict[str, Any], path: Path) -> None:
    """Make a file as the template describes it, without values, as its packaging program does."""
    with h5netcdf.File(path, "w") as nc:
        nc.dimensions.update({"matchup": 1, "wkt_count": 1, "wkt_length": 9})
        nc.attrs.update({one["name"]: one["value"] for one in template["global_attribute"]})
        for group in template["group"]:
            fill_group(nc, group)


def fill_group(parent: h5netcdf.Group, described: dict[str, Any]) -> None:
    group = parent.create_group(described["name"])
    for content in described["content"]:
        for dataset in content.get("dataset", ()):
            add_dataset(group, dataset)
        for inner in content.get("group", ()):
            fill_group(group, inner)


def add_dataset(group: h5netcdf.Group, described: dict[str, Any]) -> None:
    name, attributes = described["name"], {one["name"]: one["value"] for one in described.get("attribute", ())}
    attributes.setdefault("long_name", name)
    root = group
    while root.parent is not None:
        root = root.parent
    if name.startswith("GEOCOOR"):
        suffix = "Meta" if name.endswith("3") else ""
        units = {"latitude": "degrees_north", "longitude": "degrees_east", "heights": "meter"}
        for axis in (*(("heights",) if suffix else ()), "latitude", "longitude"):
            group.dimensions[axis + suffix] = 2
            made = group.create_variable(axis + suffix, (axis + suffix,), "f8")
            made.attrs.update({"units": units[axis], "standard_name": axis})
        crs = group.create_variable(described["crs_name"], (), "i4")
        crs.attrs.update({one["name"]: one["value"] for one in described["crs_attribute"]})
    elif described.get("data_type") == "polygon":
        root.create_variable(name, ("wkt_count", "wkt_length"), "S1").attrs.update(attributes)
        root.create_variable(described["crs_name"], (), "i4")
        root.attrs.update({one["name"]: one["value"] for one in described["global_attribute"]})
    elif "dims" in described:
        fill = np.float32(described["nodata"])
        group.create_variable(name, tuple(described["dims"]), "f4", fillvalue=fill).attrs.update(attributes)
    elif described.get("type") == "str" or name in (*standard.TEXTS, "L1InputGranules", "orbitType"):
        group.create_variable(name, ("matchup",), h5py.string_dtype()).attrs.update(attributes)
    else:
        group.create_variable(name, (), "f4").attrs.update(attributes)


def test_a_file_after_the_template_of_the_standard_has_its_structure(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "headers" / "gunw"
    template = json.loads((folder / "nc_packaging_template.json").read_text())
    path = tmp_path / "skeleton.nc"
    make_skeleton(template, path)
    with h5netcdf.File(path, "r") as nc:
        found = [str(violation) for violation in check_structure(nc)]
    later = [*standard.OTHER_ATTRIBUTES, *standard.STANDARD_RUN, "frame_id", "reference_scenes", "secondary_scenes"]
    others = [line for line in found if not any(f"attribute {name}:" in line for name in later)]
    assert others == [f"{DATA}/unfilteredCoherence: is missing"]  # packed afterwards, as the attributes are
    extra = json.loads((folder / "additional_layers.json").read_text())
    assert extra["unfilteredCoherence"]["dst_group"].strip("/") == DATA
    assert extra["ionosphere"]["dst_group"].strip("/") == standard.IONOSPHERE


def list_variables(group: h5netcdf.Group, above: str = "") -> Iterator[tuple[str, h5netcdf.Variable]]:
    for name, variable in group.variables.items():
        yield f"{above}{name}", variable
    for name, inner in group.groups.items():
        yield from list_variables(inner, f"{above}{name}/")


def test_a_product_has_all_that_the_template_of_the_standard_names(
    product: Path, shared_data: Path, tmp_path: Path
) -> None:
    template = json.loads((shared_data / "headers" / "gunw" / "nc_packaging_template.json").read_text())
    make_skeleton(template, tmp_path / "skeleton.nc")
    with h5netcdf.File(tmp_path / "skeleton.nc", "r") as known, h5netcdf.File(product, "r") as ours:
        found = dict(list_variables(ours))
        wanted = dict(list_variables(known))
        assert wanted.keys() == found.keys() - {f"{DATA}/unfilteredCoherence"}
        for path, variable in wanted.items():
            made_up = {"long_name", "standard_name"}  # of the skeleton: the template has none
            assert {(key, str(value)) for key, value in variable.attrs.items() if key not in made_up} <= {
                (key, str(value)) for key, value in found[path].attrs.items()
            }, path
            assert found[path].dimensions == variable.dimensions
            if variable.dimensions[-1:] not in ((), ("matchup",)):
                assert found[path].dtype == variable.dtype
