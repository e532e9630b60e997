"""Corrections: what each promises, what it does to the displacement, and the layered troposphere."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plug_in import install_plug_in
from sample_layers import FACTS, same_layers, sample, with_only
from topsar.corrections import Correction, Estimate, open_correction
from topsar.corrections.step import add_corrections
from topsar.corrections.stratified_troposphere import LEAST_RELIEF_M, StratifiedTroposphere
from topsar.engines.layers import compute_displacement
from topsar.errors import SettingsError
from topsar.files import save_array, write_json
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import LAYERS, Interferogram, find_kind, make_layers, read_pair
from topsar.model import GeoGrid
from topsar.raster import read_geotiff
from topsar.registry import BUILT_IN, list_names

GRID = GeoGrid(crs="EPSG:32629", west=480_000, north=4_000_000, dx=160, dy=160, rows=200, columns=200)
NOISE_RAD = 0.3


def roughen(rng: np.random.Generator, shape: tuple[int, int], steepness: float) -> np.ndarray:
    """A random field, stronger the wider it is: power as the wavenumber to minus ``steepness``; deviation 1."""
    twice = tuple(2 * n for n in shape)
    wavenumber = np.hypot(*np.meshgrid(np.fft.fftfreq(twice[0]), np.fft.fftfreq(twice[1]), indexing="ij"))
    wavenumber[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.normal(size=twice)) * wavenumber ** (-steepness / 2)
    field = np.fft.ifft2(spectrum).real[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / field.std())


def layered(
    slope_rad_per_km: float, *, seed: int = 0, turbulence_rad: float = 0.5, relief_m: float = 1500, grid: GeoGrid = GRID
) -> Interferogram:
    """Mountains under layered and turbulent air, in two components a cycle apart."""
    rng = np.random.default_rng(seed)
    height = roughen(rng, grid.shape, 3.5)
    height = (height - height.min()) / np.ptp(height) * relief_m
    components = np.ones(grid.shape)
    components[:, : grid.columns // 3] = 2
    components[:10] = 0
    phase = slope_rad_per_km * height / 1000 + turbulence_rad * roughen(rng, grid.shape, 8 / 3)
    phase += NOISE_RAD * rng.normal(size=grid.shape) + 2 * np.pi * components
    phase = np.where(components > 0, phase, np.nan).astype(np.float32)
    arrays = {
        "wrapped_phase": np.angle(np.exp(1j * phase)),
        "unwrapped_phase": phase,
        "displacement": compute_displacement(phase, FACTS["wavelength_m"]),
        "height": height,
        "phase_noise": np.full(grid.shape, NOISE_RAD),
        "components": components,
    }
    return Interferogram(pair_id="T052_a_b", grid=grid, layers=make_layers(arrays), facts=dict(FACTS))


def compute(ifg: Interferogram) -> Estimate:
    return StratifiedTroposphere().compute(ifg)


# --- what every correction promises -----------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(install_plug_in(tmp_path_factory.mktemp("site"))))
        yield


@pytest.fixture(params=(*BUILT_IN["corrections"], "tide", "shy"))
def correction(request: pytest.FixtureRequest) -> Correction:
    return open_correction(request.param)


def test_a_correction_says_what_it_is(correction: Correction) -> None:
    assert correction.name in list_names("corrections")
    assert correction.version
    assert LAYERS.get(correction.layer.name, correction.layer) == correction.layer
    assert find_kind(correction.layer.name) == correction.layer
    assert (correction.layer.unit, correction.layer.dtype) == ("rad", np.float32)
    assert math.isnan(correction.layer.nodata)
    assert correction.cost.seconds(1e6) > 0


@pytest.mark.parametrize("ifg", [layered(3.0), sample(), with_only(sample(), "wrapped_phase", "height", "phase_noise")])
def test_a_correction_finds_a_phase_or_says_why_not(correction: Correction, ifg: Interferogram, tmp_path: Path) -> None:
    before = replace(ifg, layers={name: replace(one, values=one.values.copy()) for name, one in ifg.layers.items()})
    found, again = correction.compute(ifg), correction.compute(ifg)
    assert same_layers(ifg, before)
    write_json(tmp_path / "facts.json", found.facts)
    assert found.facts == again.facts
    if found.phase_rad is None:
        assert found.facts["refused"]
    else:
        assert "refused" not in found.facts
        assert found.phase_rad.shape == ifg.grid.shape
        assert found.phase_rad.dtype == np.float32
        assert np.isfinite(found.phase_rad).any()
        np.testing.assert_array_equal(found.phase_rad, again.phase_rad)


def test_a_package_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN["corrections"], "misfit", "topsar_plug_in:Means")
    with pytest.raises(SettingsError, match="misfit"):
        open_correction("misfit")


# --- what is done with it ---------------------------------------------------------------------------------------


def put(folder: Path, correction: Correction, found: Estimate) -> None:
    """Leave what the step of a correction leaves."""
    place = folder / "corrections" / correction.name
    place.mkdir(parents=True)
    write_json(place / "facts.json", {"version": correction.version, **found.facts})
    if found.phase_rad is not None:
        save_array(place / f"{correction.layer.name}.npy", found.phase_rad)
    if found.std_rad is not None:
        save_array(place / f"{correction.layer.name}_std.npy", found.std_rad)


def test_a_deviation_is_a_layer_of_its_own(tmp_path: Path) -> None:
    ifg, correction = layered(3.0), open_correction("tide")
    found = replace(correction.compute(ifg), std_rad=np.full(ifg.grid.shape, 0.2, np.float32))
    put(tmp_path, correction, found)
    applied = add_corrections(ifg, tmp_path, ("tide",), apply=True)
    layer = applied.layers["tide_std"]
    assert (layer.kind.unit, layer.kind.antisymmetric, float(layer.values.max())) == ("rad", False, np.float32(0.2))
    assert find_kind("tide_std") == layer.kind
    assert find_kind("nobodys_std") is None


def test_applied_corrections_are_taken_off_the_displacement_alone(tmp_path: Path) -> None:
    ifg = layered(3.0)
    names = ("stratified_troposphere", "tide", "shy")
    found = {name: open_correction(name).compute(ifg) for name in names}
    for name in names:
        put(tmp_path, open_correction(name), found[name])
    plain = add_corrections(ifg, tmp_path, names, apply=False)
    assert list(plain.layers) == [*ifg.layers, "troposphere_stratified", "tide"]
    assert same_layers(with_only(plain, *ifg.layers), ifg)
    applied = add_corrections(ifg, tmp_path, names, apply=True)
    kept = [name for name in plain.layers if name != "displacement"]
    assert same_layers(with_only(applied, *kept), with_only(plain, *kept))
    left = ifg.layers["unwrapped_phase"].values - found["stratified_troposphere"].phase_rad - found["tide"].phase_rad
    expected = compute_displacement(left, FACTS["wavelength_m"])
    np.testing.assert_allclose(applied.layers["displacement"].values, expected, atol=1e-6)
    told = applied.facts["corrections"]
    assert {name: known["applied"] for name, known in told.items()} == dict(
        zip(names, (True, True, False), strict=True)
    )
    assert told["tide"]["removed_m"]["mean"] == pytest.approx(-0.5 * FACTS["wavelength_m"] / (4 * math.pi), rel=1e-3)
    assert told["tide"]["removed_m"]["std"] == pytest.approx(0, abs=1e-9)
    assert not any(known["applied"] for known in plain.facts["corrections"].values())
    assert ifg.facts == FACTS
    assert add_corrections(ifg, tmp_path, (), apply=True) is ifg


def test_products_say_what_was_taken_off(tmp_path: Path) -> None:
    ifg = layered(3.0)
    put(tmp_path, open_correction("tide"), open_correction("tide").compute(ifg))
    (tmp_path / "products").mkdir()
    GeoTiff().write([add_corrections(ifg, tmp_path, ("tide",), apply=True)], tmp_path / "products")
    tags = {name: read_geotiff(tmp_path / "products" / f"{name}.tif")[2] for name in ("displacement", "tide", "height")}
    assert tags["displacement"]["CORRECTED_FOR"] == "tide"
    assert "CORRECTED_FOR" not in tags["tide"] | tags["height"]
    opened = read_pair(tmp_path / "products")
    assert opened.layers["tide"].kind == open_correction("tide").layer
    assert json.loads((tmp_path / "products" / "facts.json").read_text())["corrections"]["tide"]["applied"] is True


# --- the troposphere that goes with height ----------------------------------------------------------------------


@pytest.mark.parametrize("slope", [-4.0, 2.0])
def test_a_known_slope_is_found_and_taken_off_with_its_sign(slope: float, tmp_path: Path) -> None:
    ifg = layered(slope)
    found = compute(ifg)
    assert found.phase_rad is not None
    facts: dict[str, Any] = dict(found.facts)
    assert abs(facts["slope_rad_per_km"] - slope) < 3 * facts["standard_error_rad_per_km"] < 0.6
    assert facts["std_after_rad"] < facts["std_before_rad"]
    height = ifg.layers["height"].values
    seen = np.isfinite(ifg.layers["wrapped_phase"].values)
    np.testing.assert_array_equal(np.isfinite(found.phase_rad), seen)
    expected = facts["slope_rad_per_km"] / 1000 * (height - facts["zero_at_height_m"])
    np.testing.assert_allclose(found.phase_rad[seen], expected[seen], atol=1e-3)
    # Taken off, less is left; added, which is what a wrong sign would do, more.
    put(tmp_path, StratifiedTroposphere(), found)
    after = add_corrections(ifg, tmp_path, ("stratified_troposphere",), apply=True).layers["displacement"].values
    inside = ifg.layers["components"].values == 1
    spread = {name: float(values[inside].std()) for name, values in
              {"before": ifg.layers["displacement"].values, "after": after}.items()}  # fmt: skip
    wrong = ifg.layers["displacement"].values + compute_displacement(found.phase_rad, FACTS["wavelength_m"])
    assert spread["after"] < 0.8 * spread["before"] < 0.8 * float(wrong[inside].std())


def test_unwrapping_errors_do_not_pull_the_slope(tmp_path: Path) -> None:
    ifg = layered(3.0)
    height = ifg.layers["height"].values
    peaks = height > np.percentile(height, 93)
    ifg.layers["unwrapped_phase"].values[peaks] += np.float32(2 * np.pi)
    facts = compute(ifg).facts
    assert abs(facts["slope_rad_per_km"] - 3.0) < 1.0


def test_the_standard_error_is_that_of_turbulent_air() -> None:
    """That of independent pixels would be a twentieth of it."""
    off = []
    for seed in range(12):
        facts = compute(layered(0.0, seed=seed, turbulence_rad=1.0)).facts
        off.append(facts["slope_rad_per_km"] / facts["standard_error_rad_per_km"])
    assert 0.5 < np.std(off) < 2.0


def refusal(ifg: Interferogram) -> str:
    found = compute(ifg)
    assert found.phase_rad is None
    return str(found.facts["refused"])


def test_it_refuses_what_the_data_do_not_determine() -> None:
    ifg = layered(3.0)
    assert "unwrapped" in refusal(with_only(ifg, "wrapped_phase", "height", "phase_noise"))
    assert f"{LEAST_RELIEF_M:.0f} m" in refusal(layered(3.0, relief_m=180))
    lost = np.zeros(GRID.shape, np.uint16)
    lost[50:60, 50:60] = 1
    layers = {**ifg.layers, "components": replace(ifg.layers["components"], values=lost)}
    assert "100 pixels" in refusal(replace(ifg, layers=layers))
    assert "areas" in refusal(layered(3.0, grid=replace(GRID, rows=90, columns=90)))
    weak = compute(layered(0.0, seed=1, turbulence_rad=1.0))
    assert "standard error" in weak.facts["refused"]
    assert abs(weak.facts["slope_rad_per_km"]) < 2 * weak.facts["standard_error_rad_per_km"]


def test_flat_ground_and_noiseless_phase_are_no_trouble() -> None:
    ifg = layered(3.0, turbulence_rad=0.0)
    exact = 0.003 * ifg.layers["height"].values
    layers = {**ifg.layers, "unwrapped_phase": replace(ifg.layers["unwrapped_phase"], values=exact)}
    assert compute(replace(ifg, layers=layers)).facts["slope_rad_per_km"] == pytest.approx(3.0, rel=1e-4)
    assert refusal(layered(3.0, relief_m=0.0))
