"""Ionospheres that were put into simulated products: estimated from sub-bands, taken off, or not believed in."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from dry_data import Planned
from topsar.corrections import open_correction
from topsar.engines.layers import compute_displacement
from topsar.interferogram import Interferogram
from topsar.simulate import Acquisition, recipe, simulate
from topsar.simulate.compare import read_true_change
from topsar.simulate.recipe import Screen, SwathCut

DELAY_M = 0.01
"""By which the second date of IW2 is late in range."""
SIDE_BY_SIDE = (
    SwathCut(swath="IW1", first_sample=19_140, samples=1500),
    SwathCut(swath="IW2", first_sample=0, samples=1600),
)


def run(folder: Path, screen: Screen, *, delay_m: float) -> tuple[Interferogram, Path]:
    """A pair under a screen on its second date; where the truth lies."""
    second = Acquisition(
        day=date(2025, 3, 15),
        perpendicular_baseline_m=60.0,
        sync_s=1e-3,
        ionosphere=screen,
        swath_delays_m=(("IW2", delay_m),),
    )
    days = (Acquisition(day=date(2025, 3, 3)), second)
    made = replace(recipe("tiny"), acquisitions=days, cuts=SIDE_BY_SIDE, stable=(0.95, 1.0))
    simulate(folder / "data", made)
    planned = Planned(folder / "data", folder / "planned", CORRECTIONS="ionosphere")
    return planned.execute(folder / "runs"), folder / "data" / "truth"


@pytest.fixture(scope="module")
def slanted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Interferogram, Path]:
    return run(tmp_path_factory.mktemp("slanted"), Screen(north_m=0.02, east_m=-0.005), delay_m=DELAY_M)


def read_truth(ifg: Interferogram, truth: Path) -> tuple[np.ndarray, np.ndarray]:
    """Phase of the ionosphere, and of ground and air."""
    dates, per_metre = (ifg.facts["reference_date"], ifg.facts["secondary_date"]), 4 * np.pi / ifg.facts["wavelength_m"]
    return (
        -per_metre * read_true_change(truth, dates, ifg.grid, "ionosphere"),
        per_metre * read_true_change(truth, dates, ifg.grid),
    )


def average(values: np.ndarray, seen: np.ndarray, side_m: float, posting_m: float) -> np.ndarray:
    """Means over squares, about their own mean."""
    side = round(side_m / posting_m)
    share = uniform_filter(seen.astype(float), side)
    means = uniform_filter(np.where(seen, values, 0.0), side) / np.maximum(share, 1e-9)
    found = means[seen & (share > 0.5)]
    return np.asarray(found - found.mean())


def test_a_late_swath_is_found_in_the_overlap(slanted: tuple[Interferogram, Path]) -> None:
    """One centimetre of range, without a change of path, is 2πδ/λ of ionosphere."""
    ifg, _ = slanted
    (offset,) = ifg.facts["ionosphere"]["offsets"]
    assert offset["swaths"] == ["IW1", "IW2"]
    assert offset["standard_error_rad"] < 0.15
    expected = -2 * math.pi * DELAY_M / ifg.facts["wavelength_m"]
    assert offset["rad"] == pytest.approx(expected, abs=3 * offset["standard_error_rad"])
    assert offset["removed"]


def test_what_is_left_of_a_corrected_phase_is_ground_and_air(slanted: tuple[Interferogram, Path]) -> None:
    ifg, truth = slanted
    found = open_correction("ionosphere").compute(ifg)
    assert found.phase_rad is not None
    ionosphere, rest = read_truth(ifg, truth)
    seen = (ifg.layers["coherence"].values > 0.6) & (ifg.layers["components"].values == 1)
    seen &= np.isfinite(found.phase_rad) & np.isfinite(rest)
    assert seen.sum() > 20_000
    before = ifg.layers["unwrapped_phase"].values - rest
    assert average(before, seen, 500, ifg.grid.dx).std() > 0.8
    assert average(before - found.phase_rad, seen, 500, ifg.grid.dx).std() < 0.15
    off = (found.phase_rad - ionosphere)[seen]
    predicted = np.sqrt(np.mean(ifg.layers["ionosphere_std"].values[seen] ** 2))
    assert 0.5 < off.std() / predicted < 2.0
    swath = np.array([name.startswith("IW2") for name in ifg.facts["bursts"]])[ifg.layers["burst"].values[seen]]
    assert abs(off[swath].mean() - off[~swath].mean()) < 0.2
    noise = [one["noise"] for one in ifg.facts["ionosphere"]["swaths"]]
    assert noise == pytest.approx([1.0, 1.0], abs=0.15)


def test_displacement_is_that_of_the_ground_once_it_is_taken_off(slanted: tuple[Interferogram, Path]) -> None:
    """The sign is that of the unwrapped phase."""
    ifg, truth = slanted
    ionosphere, _ = read_truth(ifg, truth)
    layer = ifg.layers["ionosphere"].values
    seen = np.isfinite(layer) & np.isfinite(ionosphere)
    assert np.corrcoef(layer[seen], ionosphere[seen])[0, 1] > 0.98
    moved = compute_displacement(layer, ifg.facts["wavelength_m"])
    assert np.polyfit(ionosphere[seen], moved[seen], 1)[0] == pytest.approx(-0.0555 / (4 * np.pi), rel=0.1)


@pytest.mark.slow
def test_shifts_along_azimuth_are_found_and_leave_no_ramps_in_bursts(tmp_path: Path) -> None:
    """Slopes of a hill at 350 km height shift the image by up to 0.02 lines, 1.4 rad at seams."""
    screen = Screen(north_m=0.01, bump_m=0.02, bump_radius_m=12_000.0, shell_m=350_000.0)
    second = Acquisition(day=date(2025, 3, 15), azimuth_shift_px=0.002, ionosphere=screen)
    made = replace(
        recipe("tiny"),
        acquisitions=(Acquisition(day=date(2025, 3, 3)), second),
        cuts=(SwathCut(swath="IW2", first_sample=8000, samples=2200),),
        bursts=3,
        stable=(0.8, 1.0),
    )
    simulate(tmp_path / "data", made)
    chosen = "ionosphere,ionosphere_burst_ramps"
    ifg = Planned(tmp_path / "data", tmp_path / "planned", CORRECTIONS=chosen).execute(tmp_path / "runs")
    found = open_correction("ionosphere_burst_ramps").compute(ifg)
    assert found.phase_rad is not None
    assert 0.6 < found.facts["share"] < 1.2
    ionosphere, rest = read_truth(ifg, tmp_path / "data" / "truth")
    ramps = ifg.layers["unwrapped_phase"].values - rest - ionosphere
    seen = np.isfinite(ramps) & np.isfinite(found.phase_rad) & (ifg.layers["coherence"].values > 0.6)
    seen &= ifg.layers["components"].values == 1
    assert ramps[seen].std() > 0.25
    assert (ramps - found.phase_rad)[seen].std() < 0.12
    predicted = np.sqrt(np.mean(ifg.layers["ionosphere_burst_ramps_std"].values[seen] ** 2))
    assert 0.4 < (ramps - found.phase_rad)[seen].std() / predicted < 1.5


@pytest.mark.slow
def test_where_there_is_none_it_is_not_believed_in(tmp_path: Path) -> None:
    ifg, _ = run(tmp_path, Screen(), delay_m=0.0)
    facts = ifg.facts["ionosphere"]
    assert not facts["offsets"][0]["removed"]
    assert "ionosphere" not in ifg.layers
    assert "times its error" in open_correction("ionosphere").compute(ifg).facts["refused"]
    assert facts["std_rad"] < 0.2
