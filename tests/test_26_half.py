"""Half precision inside kernels: NumPy's own conversions are the twin."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import twins
from topsar.kernels.half import HALF_MAX, narrow
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums
from topsar.model import Looks

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE = EVERY[np.isfinite(EVERY)]


def narrowed(values: NDArray[np.float32]) -> NDArray[np.float16]:
    out = np.empty(values.shape, np.float16)
    narrow(values, out)
    return out


def test_every_half_stays_itself() -> None:
    np.testing.assert_array_equal(narrowed(FINITE[None].astype(np.float32))[0].view(np.uint16), FINITE.view(np.uint16))


def test_what_lies_between_two_halves_is_rounded_as_numpy_does() -> None:
    rng = np.random.default_rng(1)
    steps = np.sort(FINITE[FINITE > 1e-3].astype(np.float32))
    ties = (steps[1:] + steps[:-1]) / 2
    others = (rng.normal(size=100_000) * 10.0 ** rng.uniform(-2, 4, 100_000)).astype(np.float32)
    for values in (ties, -ties, np.clip(others, -HALF_MAX, HALF_MAX)):
        np.testing.assert_array_equal(narrowed(values[None])[0], values.astype(np.float16))


def test_too_small_values_are_off_by_one_step_at_most() -> None:
    values = np.linspace(-1e-4, 1e-4, 100_001, dtype=np.float32)
    np.testing.assert_allclose(narrowed(values[None])[0], values, atol=0.51 * 2.0**-24, rtol=0.51 * 2.0**-10)


def test_too_large_values_become_the_largest_half() -> None:
    made = narrowed(np.array([[65_520, -1e9, np.inf, -np.inf]], np.float32))
    np.testing.assert_array_equal(made, [[HALF_MAX, -HALF_MAX, HALF_MAX, -HALF_MAX]])


def test_extents_reach_from_the_first_to_the_last_that_is_not_zero() -> None:
    values = np.zeros((4, 9), np.float32)
    values[0, 2:5] = 1
    values[1] = -3
    values[3, 8] = 1e-12  # nothing is left of it
    values[3, 4] = 1
    extents = narrow(values, np.empty(values.shape, np.float16)).tolist()
    assert extents[:2] == [[2, 5], [0, 9]]
    assert extents[2][0] == extents[2][1]
    assert extents[3] == [4, 5]


@pytest.mark.parametrize("is_part", [False, True], ids=["whole", "part of a wider array"])
def test_halves_are_multiplied_as_the_singles_they_stand_for(*, is_part: bool) -> None:
    looks = Looks(east=5, north=3)
    rng = np.random.default_rng(2)
    first, second = (np.zeros((12, 45, 2), np.float16) for _ in range(2))
    for block in (first, second):
        block[:, 5:30] = rng.normal(0, 300, (12, 25, 2))
        block[4:6, 10:17] = 0
    second[2, 20:25, 0] = 6e-5  # below the smallest normal half
    window = np.s_[:, 5:35] if is_part else np.s_[:, :]
    columns = first[window].shape[1] // looks.east
    halves = LookSums.zeros((4, columns))
    cross_multiply(first[window], second[window], looks, halves)
    singles = (block[window].astype(np.float32).view(np.complex64)[..., 0] for block in (first, second))
    assert halves.filled.any()
    for made, expected in zip(halves, twins.cross_multiply(*singles, looks), strict=True):
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-1)
