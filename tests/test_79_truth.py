"""A time series of twenty dates with everything at once, against the motion that was put in."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from test_79_timeseries import COLUMNS, GRID, ROWS, day_text, facts_of, make_pair, write

Written = tuple[Path, dict[str, np.ndarray]]
DAYS = [36 * number for number in range(20)]
BAD = (DAYS[6], DAYS[13])
ISLAND = np.hypot(ROWS - 14, COLUMNS - 56) < 5


def bump(row: float, column: float, radius: float) -> np.ndarray:
    return np.exp(-((np.hypot(ROWS - row, COLUMNS - column) / radius) ** 2))


VELOCITY = 0.04 * bump(15, 18, 8) - 0.09 * bump(42, 20, 7) + 0.01 * np.arctan((COLUMNS - 45) / 2) / np.pi
"""Metres a year toward the satellite: uplift, a bowl, and a fault that creeps."""
SEASON = 0.004 * bump(45, 55, 10)


def move(days: int, seed: int) -> np.ndarray:
    """Where the ground of a date seems to be: it moves, breathes with the year, and lies under weather."""
    rng = np.random.default_rng(1000 * seed + days)
    weather = gaussian_filter(rng.normal(size=GRID.shape), 6)
    size = 0.03 if days in BAD else 0.003
    return VELOCITY * days / 365.25 + SEASON * np.sin(2 * np.pi * days / 365.25) + size * weather / weather.std()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder, ground = tmp_path_factory.mktemp("truth"), {days: move(days, 1) for days in DAYS}
    links = [(a, b) for a, b in combinations(DAYS, 2) if DAYS.index(b) - DAYS.index(a) <= 3]
    broken = (DAYS[8], DAYS[10])
    pairs = [make_pair(a, b, ground[b] - ground[a], cycles=ISLAND if (a, b) == broken else None) for a, b in links]
    return folder, write(folder, pairs)


def test_velocity_is_within_what_it_says_of_itself(written: Written) -> None:
    _, made = written
    known = np.isfinite(made["velocity"])
    assert known.mean() > 0.9
    error = made["velocity"] - VELOCITY
    error -= np.median(error[known])
    share = error[known] / made["velocity_std"][known]
    assert np.sqrt((share**2).mean()) < 1.2
    assert made["velocity"][15, 18] == pytest.approx(0.04, abs=0.01)
    assert made["velocity"][42, 20] == pytest.approx(-0.09, abs=0.01)


def test_the_island_is_repaired_and_bad_dates_are_named(written: Written) -> None:
    folder, made = written
    facts = facts_of(folder)
    assert facts["flagged_dates"] == [day_text(days) for days in BAD]
    closure = facts["closure"]
    assert isinstance(closure, dict)
    assert closure["open_before"] > 0
    assert closure["open_after"] == 0
    assert closure["repaired_pixels"] == np.count_nonzero(ISLAND & np.isfinite(made["velocity"]))
