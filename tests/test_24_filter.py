"""Goldstein filter: it must lower noise and do nothing else."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from topsar.kernels.filter import PATCH, STRIDE, filter_goldstein

SHAPE = (120, 150)
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
STRENGTHS = [0.2, 0.5, 1.0]
FRINGES = {
    "flat": 0 * ROW + 0.7,
    "ramp": 0.21 * COLUMN - 0.13 * ROW,
    "fringe of whole patches": 2 * np.pi * COLUMN / 16,
    "bowl": 12 * np.exp(-((ROW - 60) ** 2 + (COLUMN - 75) ** 2) / (2 * 30**2)),
}


def fringe(name: str) -> NDArray[np.complex64]:
    return np.exp(1j * FRINGES[name]).astype(np.complex64)


def noisy(name: str, gamma: float, looks: int = 8, seed: int = 0) -> NDArray[np.complex64]:
    """Unit phasors of a multilooked interferogram, weighted by coherence as the filter's caller does."""
    draw = np.random.default_rng(seed).normal(size=(4, looks, *SHAPE)) / math.sqrt(2)
    common, noise = draw[0] + 1j * draw[1], draw[2] + 1j * draw[3]
    secondary = (gamma * common + math.sqrt(1 - gamma**2) * noise) * np.conj(fringe(name))
    return (gamma * np.exp(1j * np.angle((common * np.conj(secondary)).mean(axis=0)))).astype(np.complex64)


def phase_error(values: NDArray[np.complex64], name: str) -> NDArray[np.float32]:
    return np.angle(values * np.conj(fringe(name)))


def test_strength_zero_changes_nothing() -> None:
    values = noisy("ramp", 0.4)
    filtered = filter_goldstein(values, 0.0)
    np.testing.assert_array_equal(filtered, values)
    assert filtered is not values


@pytest.mark.parametrize("strength", STRENGTHS)
def test_zero_stays_zero_and_nothing_else_becomes_zero(strength: float) -> None:
    values = noisy("bowl", 0.5)
    values[:, :40] = 0
    values[50:53, 60:90] = 0
    values[0, 149] = 0
    np.testing.assert_array_equal(filter_goldstein(values, strength) == 0, values == 0)
    assert not filter_goldstein(np.zeros(SHAPE, np.complex64), strength).any()


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", FRINGES)
def test_a_clean_fringe_passes(name: str, strength: float) -> None:
    """Without bias to either side; only a bend, which is no single frequency, is smoothed a little."""
    filtered = filter_goldstein(fringe(name), strength)
    error = phase_error(filtered, name)
    assert abs(error.mean()) < (0.01 if name == "bowl" else 0.001)
    assert np.abs(error).max() < (0.15 if name == "bowl" else 0.04)
    np.testing.assert_allclose(np.abs(filtered)[PATCH:-PATCH, PATCH:-PATCH].mean(), 1, atol=0.02)


@pytest.mark.parametrize("name", FRINGES)
def test_noise_is_lowered_more_with_more_strength_and_without_bias(name: str) -> None:
    values = noisy(name, 0.4)
    spread = [phase_error(filter_goldstein(values, s), name).std() for s in (0.0, *STRENGTHS)]
    assert all(after < before for before, after in pairwise(spread))
    assert spread[2] < 0.55 * spread[0]
    assert abs(np.angle(np.exp(1j * phase_error(filter_goldstein(values, 0.5), name)).mean())) < 0.02


def test_noise_alone_is_not_made_into_a_fringe() -> None:
    rng = np.random.default_rng(1)
    values = np.exp(1j * rng.uniform(-np.pi, np.pi, SHAPE)).astype(np.complex64)
    assert abs(filter_goldstein(values, 0.5).mean()) < 0.02


def test_the_filter_does_not_care_where_the_array_begins() -> None:
    """The same pixels come out of a larger array, up to the reach of a patch from the cut; no seam, no edge."""
    values = noisy("ramp", 0.5)
    whole = filter_goldstein(values, 0.5)
    part = filter_goldstein(values[2 * STRIDE :, STRIDE:], 0.5)
    far = np.s_[PATCH:, PATCH:]
    np.testing.assert_allclose(part[far], whole[2 * STRIDE :, STRIDE:][far], atol=1e-5)
    odd = filter_goldstein(values[3:, 5:], 0.5)
    assert np.angle(odd * np.conj(whole[3:, 5:]))[far].std() < 0.01


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (PATCH, PATCH), (33, 1)])
def test_small_arrays_are_filtered_too(shape: tuple[int, int]) -> None:
    filtered = filter_goldstein(np.full(shape, 1j, np.complex64), 0.5)
    assert filtered.shape == shape
    np.testing.assert_allclose(np.angle(filtered), np.pi / 2, atol=1e-3)


def test_edges_are_filtered_as_well_as_the_middle() -> None:
    values = noisy("flat", 0.5)
    error = phase_error(filter_goldstein(values, 0.8), "flat")
    inner, rim = error[30:-30, 30:-30].std(), np.concatenate([error[0], error[-1], error[:, 0], error[:, -1]]).std()
    assert rim < 2.5 * inner
    assert rim < 0.6 * phase_error(values, "flat").std()
