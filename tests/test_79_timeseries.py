"""Time series: velocities and series against the motion that was put in, and what must be said where they fail."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sample_layers import FACTS, UTM, sample, with_only
from topsar.errors import ProductError, SettingsError
from topsar.files import write_json
from topsar.formats import open_format
from topsar.formats.step import run_format
from topsar.formats.timeseries.closure import list_triangles, repair_cycles
from topsar.formats.timeseries.inversion import fit_trend, invert
from topsar.formats.timeseries.stack import PIXEL_BYTES
from topsar.interferogram import Interferogram
from topsar.model import GeoGrid

GRID = replace(UTM, rows=60, columns=70)
DAYS = [0, 12, 24, 48, 60, 72, 96, 108, 120, 132]
LAMBDA = float(FACTS["wavelength_m"])
ROWS, COLUMNS = np.mgrid[: GRID.rows, : GRID.columns]
VELOCITY = -0.08 * np.exp(-((np.hypot(ROWS - 30, COLUMNS - 20) / 9) ** 2))
"""Metres a year toward the satellite: a bowl that sinks."""
SETTINGS = {
    "timeseries": "least-squares",
    "timeseries_program": "",
    "timeseries_reference": None,
    "points": [],
    "point_dispersion": 0.25,
    "point_coherence": 0.7,
    "netcdf_attributes": "creator_name=Ada",
    "grid": "map",
    "posting_m": 80.0,
    "crs": "auto",
}
LAYERS = ("displacement", "filtered_unwrapped_phase", "unwrapped_phase", "phase_noise", "components", "coherence")


def day_text(days: int) -> str:
    return str(date(2023, 1, 1) + timedelta(days=days))


def make_pair(
    first: int,
    second: int,
    metres: np.ndarray,
    grid: GeoGrid = GRID,
    noise: float = 0.05,
    cycles: np.ndarray | None = None,
) -> Interferogram:
    """A pair of two days whose ground moved by ``metres`` in between, up to a constant."""
    rng = np.random.default_rng(first * 1000 + second)
    dates = {"reference_date": day_text(first), "secondary_date": day_text(second)}
    facts = dict(FACTS) | dates | {"pair": f"T052_{first:03d}_{second:03d}"}
    phase = -4 * np.pi / LAMBDA * metres + rng.normal(0, noise, grid.shape) + rng.uniform(-9, 9)
    phase += 2 * np.pi * (0 if cycles is None else cycles)
    layers = {
        "displacement": -LAMBDA / (4 * np.pi) * phase,
        "filtered_unwrapped_phase": phase,
        "unwrapped_phase": phase,
        "phase_noise": np.full(grid.shape, noise),
    }
    return with_only(sample(grid, facts, **layers), *LAYERS)


def make_stack(weather: dict[int, np.ndarray] | None = None, span: int = 3) -> list[Interferogram]:
    """Each date with the next ones; every other pair has its later date for the reference."""
    at = {day: VELOCITY * day / 365.25 + (weather or {}).get(day, 0) for day in DAYS}
    links = [(a, b) for a, b in combinations(DAYS, 2) if DAYS.index(b) - DAYS.index(a) <= span]
    turned = [(b, a) if number % 2 else (a, b) for number, (a, b) in enumerate(links)]
    return [make_pair(a, b, at[b] - at[a]) for a, b in turned]


def write(folder: Path, pairs: list[Interferogram], place: tuple[float, float] | None = None) -> dict[str, np.ndarray]:
    written = open_format("timeseries", SETTINGS | {"timeseries_reference": place}).write(iter(pairs), folder)
    return {path.stem: rasterio.open(path).read(1) for path in written if path.suffix == ".tif"}


def facts_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "timeseries.json").read_text())
    return found


def test_velocity_and_series_are_those_of_the_ground(tmp_path: Path) -> None:
    made = write(tmp_path, make_stack())
    facts = facts_of(tmp_path)
    known = np.isfinite(made["velocity"])
    assert known.mean() > 0.9
    place = facts["reference"]
    assert isinstance(place, dict)
    offset = np.nanmedian((made["velocity"] - VELOCITY)[known])
    error = (made["velocity"] - VELOCITY - offset)[known]
    assert abs(offset) < 0.002
    assert np.sqrt((error**2).mean()) < 1.2 * np.median(made["velocity_std"][known])
    assert made["velocity"][30, 20] < -0.075
    last = f"displacement_{day_text(DAYS[-1]).replace('-', '')}"
    moved = VELOCITY * DAYS[-1] / 365.25
    np.testing.assert_allclose((made[last] - moved)[known], np.median((made[last] - moved)[known]), atol=0.0015)
    assert (made["displacement_20230101"][known] == 0).all()
    assert made["temporal_coherence"][known].min() > 0.95
    assert facts["flagged_dates"] == []


def test_blocks_that_are_less_than_a_tile_make_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = make_stack()
    whole = write(tmp_path / "whole", pairs)
    monkeypatch.setattr("topsar.formats.timeseries.BLOCK_BYTES", 7 * GRID.columns * len(pairs) * PIXEL_BYTES)
    parts = write(tmp_path / "parts", pairs)
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], values, err_msg=name)
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }


def test_an_island_that_is_off_by_a_cycle_is_found_and_repaired(tmp_path: Path) -> None:
    pairs = make_stack()
    island = np.hypot(ROWS - 45, COLUMNS - 50) < 6
    broken = make_pair(DAYS[3], DAYS[4], VELOCITY * (DAYS[4] - DAYS[3]) / 365.25, cycles=island)
    names = [pair.pair_id for pair in pairs]
    at = next(n for n, name in enumerate(names) if set(name.split("_")[1:]) == {f"{DAYS[3]:03d}", f"{DAYS[4]:03d}"})
    whole = write(
        tmp_path / "whole",
        [*pairs[:at], make_pair(DAYS[3], DAYS[4], VELOCITY * (DAYS[4] - DAYS[3]) / 365.25), *pairs[at + 1 :]],
    )
    mended = write(tmp_path / "mended", [*pairs[:at], broken, *pairs[at + 1 :]])
    known = np.isfinite(whole["velocity"])
    np.testing.assert_allclose(mended["velocity"][known], whole["velocity"][known], atol=1e-6)
    closure = facts_of(tmp_path / "mended")["closure"]
    assert isinstance(closure, dict)
    assert closure["open_before"] > closure["open_after"] == 0
    assert closure["repaired_pixels"] == np.count_nonzero(island & known)


def test_a_lone_triangle_does_not_tell_which_side_is_wrong() -> None:
    links = np.array([[0, 1], [1, 2], [0, 2]])
    phase = np.array([[0.0, 0.0], [0.0, 0.0], [2 * np.pi, 2 * np.pi]], np.float32)
    nowhere = np.zeros(phase.shape, bool)
    unsure = repair_cycles(phase, nowhere, list_triangles(links))
    assert (unsure.cycles == 0).all()
    assert (unsure.after == 1).all()
    islands = nowhere.copy()
    islands[2] = True
    sure = repair_cycles(phase, islands, list_triangles(links))
    assert sure.cycles.tolist() == [[0, 0], [0, 0], [-1, -1]]
    assert (sure.after == 0).all()


def test_dates_of_bad_weather_are_flagged(tmp_path: Path) -> None:
    storm = 0.02 * np.sin(ROWS / 7.0) * np.cos(COLUMNS / 5.0)
    write(tmp_path, make_stack({DAYS[2]: storm, DAYS[7]: -1.5 * storm}))
    assert facts_of(tmp_path)["flagged_dates"] == [day_text(DAYS[2]), day_text(DAYS[7])]


def test_least_squares_is_numpys(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    links = np.array([(a, b) for a, b in combinations(range(6), 2) if b - a <= 2])
    phase = rng.normal(size=(len(links), 40)).astype(np.float32)
    weights = rng.uniform(0.1, 9, phase.shape).astype(np.float32)
    weights[rng.random(phase.shape) < 0.1] = 0
    weights[[5, 6], 7] = 0
    phase[weights == 0] = np.nan
    found = invert(phase, weights, links, np.arange(float(links.max() + 1)))
    design = np.zeros((len(links), 6))
    design[np.arange(len(links)), links[:, 0]], design[np.arange(len(links)), links[:, 1]] = -1, 1
    for pixel in range(40):
        used = weights[:, pixel] > 0
        root = np.sqrt(weights[used, pixel].astype(float))
        expected, _, rank, _ = np.linalg.lstsq(
            root[:, None] * design[used, 1:], root * phase[used, pixel].astype(float), rcond=None
        )
        reached = np.isfinite(found.phase[1:, pixel])
        assert reached.all() == (rank == 5)
        if reached.all():
            np.testing.assert_allclose(found.phase[1:, pixel], expected, atol=1e-5)


def test_a_date_that_no_pair_links_is_a_hole() -> None:
    links = np.array([[0, 1], [1, 2], [2, 3]])
    phase = np.ones((3, 2), np.float32)
    weights = np.ones((3, 2), np.float32)
    weights[1, 1] = 0
    found = invert(phase, weights, links, np.arange(float(links.max() + 1)))
    np.testing.assert_allclose(found.phase[:, 0], [0, 1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(found.phase[:2, 1], [0, 1], atol=1e-6)
    assert np.isnan(found.phase[2:, 1]).all()
    assert np.isnan(fit_trend(found.phase, np.arange(4.0)).slope[1])


@pytest.mark.parametrize(
    ("pairs", "named"),
    [
        ([make_pair(0, 12, VELOCITY), make_pair(12, 0, VELOCITY)], "same dates"),
        ([make_pair(0, 12, VELOCITY), make_pair(24, 48, VELOCITY)], day_text(24)),
        ([with_only(make_pair(0, 12, VELOCITY), "displacement", "coherence")], "unwrapped"),
    ],
)
def test_what_cannot_be_inverted_is_said(pairs: list[Interferogram], named: str, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=named):
        write(tmp_path, pairs)


def test_the_reference_is_where_it_was_asked_for(tmp_path: Path) -> None:
    pairs = make_stack()
    free = facts_of_written(tmp_path / "free", pairs, None)
    latitude, longitude = free["latitude"], free["longitude"]
    assert isinstance(latitude, float)
    assert isinstance(longitude, float)
    asked = facts_of_written(tmp_path / "asked", pairs, (latitude - 0.004, longitude))
    assert asked["latitude"] == pytest.approx(latitude - 0.004, abs=0.0005)
    with pytest.raises(SettingsError):
        write(tmp_path / "far", pairs, (latitude + 5, longitude))


def test_what_is_no_pair_is_no_pair_of_a_track(tmp_path: Path) -> None:
    pairs = [make_pair(a, b, VELOCITY * (b - a) / 365.25) for a, b in combinations(DAYS[:3], 2)]
    for pair in pairs:
        folder = tmp_path / pair.pair_id / "products"
        folder.mkdir(parents=True)
        open_format("geotiff", {}).write((pair,), folder)
        write_json(folder.parent / "run.json", {"artifacts": {f"{pair.pair_id}/products": "result"}})
    other, job = tmp_path / "slc_stack_T052_VV_dispersion", tmp_path / "timeseries_T052"
    write_json(other / "run.json", {"artifacts": {"slc_stack/T052_VV/amplitude_dispersion.tif": "result"}})
    jobs = [pair.pair_id for pair in pairs] + [other.name, job.name]
    write_json(job / "run.json", {"engine": "native", "options": SETTINGS, "jobs": jobs, "artifacts": {}})
    run_format(job, "format_timeseries")
    assert len(list((job / "timeseries").glob("displacement_*.tif"))) == 3
    (tmp_path / pairs[0].pair_id / "run.json").unlink()
    with pytest.raises(ProductError, match=r"run\.json"):
        run_format(job, "format_timeseries")


def facts_of_written(folder: Path, pairs: list[Interferogram], place: tuple[float, float] | None) -> dict[str, object]:
    write(folder, pairs, place)
    found = facts_of(folder)["reference"]
    assert isinstance(found, dict)
    return found
