"""Layover and shadow against their definition, and where geometry says where they end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from topsar.kernels.visibility import LAYOVER, SHADOW, UNKNOWN, _interpolate, find_layover_shadow

LOOK_RAD = math.radians(35)
ALTITUDE_M = 700e3
PIXEL_M = 50.0

View = tuple[np.ndarray, np.ndarray, np.ndarray]


def view(height_m: np.ndarray, turn_rad: float = 0.0) -> View:
    """Time, range and off-nadir angle over a flat Earth; the track runs along the rows, turned clockwise."""
    rows, columns = np.indices(height_m.shape)
    x, y = columns * PIXEL_M, -rows * PIXEL_M
    along = x * math.sin(turn_rad) + y * math.cos(turn_rad)
    across = x * math.cos(turn_rad) - y * math.sin(turn_rad) + ALTITUDE_M * math.tan(LOOK_RAD)
    return along / 7000, np.hypot(across, ALTITUDE_M - height_m), np.arctan2(across, ALTITUDE_M - height_m)


def rough(seed: int = 0, shape: tuple[int, int] = (90, 110), relief_m: float = 400.0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)
    return (field / field.std() * relief_m).astype(np.float32)


def by_definition(height_m: np.ndarray) -> np.ndarray:
    """Profiles along rows, outward to the right: every pixel against all others of its row."""
    _, range_m, angle = view(height_m)
    mask = np.zeros(height_m.shape, np.uint8)
    for i, j in np.ndindex(*mask.shape):
        outward, inward = slice(j + 1, None), slice(0, j)
        if (range_m[i, outward] <= range_m[i, j]).any() or (range_m[i, inward] >= range_m[i, j]).any():
            mask[i, j] += LAYOVER
        if (angle[i, inward] >= angle[i, j]).any():
            mask[i, j] += SHADOW
    return mask


def test_the_kernel_agrees_with_the_definition() -> None:
    height = rough()
    found = find_layover_shadow(*view(height), height)[:-1, :-1]  # interpolation needs a neighbour
    expected = by_definition(height[:-1, :-1])
    assert set(np.unique(expected)) == {0, LAYOVER, SHADOW, LAYOVER + SHADOW}
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_direction_of_the_look_does_not_matter(turns: int) -> None:
    height = rough()
    time, range_m, angle = view(height)
    plain = find_layover_shadow(time, range_m, angle, height)
    turned = find_layover_shadow(
        *(np.ascontiguousarray(np.rot90(one, turns)) for one in (time, range_m, angle, height))
    )
    differ = np.rot90(turned, -turns) != plain
    assert differ[2:-2, 2:-2].mean() < 0.002


def test_oblique_profiles_find_the_same_ground() -> None:
    height = np.zeros((120, 120), np.float32)
    height[40:80, 40:80] = 900
    for turn in np.radians([-12, 12, 40]):
        mask = find_layover_shadow(*view(height, float(turn)), height)
        rows, columns = np.nonzero(mask & SHADOW)
        shift = np.array([rows.mean() - 59.5, columns.mean() - 59.5])
        outward = np.array([math.sin(turn), math.cos(turn)])
        assert shift @ outward / np.linalg.norm(shift) > 0.99


@pytest.mark.parametrize("top_m", [300.0, 900.0])
def test_a_tower_folds_and_hides_as_far_as_its_height_says(top_m: float) -> None:
    height = np.zeros((9, 200), np.float32)
    height[:, 100:104] = top_m
    mask = find_layover_shadow(*view(height), height)[4]
    layover, shadow = np.flatnonzero(mask & LAYOVER), np.flatnonzero(mask & SHADOW)
    assert (100 - layover.min()) * PIXEL_M == pytest.approx(top_m / math.tan(LOOK_RAD), abs=2 * PIXEL_M)
    assert (shadow.max() - 103) * PIXEL_M == pytest.approx(top_m * math.tan(LOOK_RAD), abs=2 * PIXEL_M)
    assert shadow.min() == 104


def test_gentle_ground_is_seen_everywhere() -> None:
    slope = np.tile(np.arange(60) * PIXEL_M * math.tan(math.radians(25)), (40, 1)).astype(np.float32)
    for height in (np.zeros((40, 60), np.float32), slope, np.ascontiguousarray(slope[:, ::-1])):
        assert not find_layover_shadow(*view(height), height).any()


def test_profiles_end_at_voids() -> None:
    height = np.zeros((20, 60), np.float32)
    height[:, 30] = 900
    open_ground = find_layover_shadow(*view(height), height)
    height[:, 31:33] = np.nan
    time, range_m, angle = view(np.nan_to_num(height))
    mask = find_layover_shadow(time, range_m, angle, height)
    assert (mask[:, 31:33] == UNKNOWN).all()
    assert (open_ground[:-1, 35] == SHADOW).all()
    assert not mask[:, 35:].any()


def test_a_grid_too_small_for_profiles() -> None:
    height = np.array([[1, np.nan, 3]], np.float32)
    assert find_layover_shadow(*view(height), height).tolist() == [[0, UNKNOWN, 0]]


def test_profiles_end_at_the_edge_of_the_map_and_beside_voids() -> None:
    values, void = np.arange(12.0).reshape(3, 4) ** 2, np.zeros((3, 4), bool)
    void[0, 3] = True
    look_up = _interpolate.py_func  # without Numba an index outside is an error, not a stray number
    assert look_up(values, void, 1.5, 1.25) == pytest.approx(56.75)
    for row, column in [(-0.5, 1.0), (2.5, 1.0), (2.0, 0.0), (1.0, -0.5), (1.0, 3.5), (0.0, 3.0), (0.5, 2.5)]:
        assert math.isnan(look_up(values, void, row, column))
