"""Interferogram: looks against the twin, statistics against their theory, mosaic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import twins
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums, Mosaic, Part
from topsar.kernels.statistics import (
    coherence_at_zero,
    count_looks,
    count_phase_looks,
    estimate_coherence,
    find_coherence_window,
    phase_deviation,
)
from topsar.model import Looks, Window


def gaussian_pair(
    shape: tuple[int, int], gamma: float, phase: float = 0.0, seed: int = 0
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Circular Gaussian dates of unequal power with a known coherence and phase of reference · conj(secondary)."""
    draw = np.random.default_rng(seed).normal(size=(4, *shape)) / math.sqrt(2)
    common, noise = draw[0] + 1j * draw[1], draw[2] + 1j * draw[3]
    secondary = (gamma * common + math.sqrt(1 - gamma**2) * noise) * np.exp(-1j * phase)
    return unpack(pack(3 * common)), unpack(pack(0.2 * secondary))


def pack(values: NDArray[np.complexfloating]) -> NDArray[np.float16]:
    return np.stack([values.real, values.imag], axis=-1).astype(np.float16)


def unpack(parts: NDArray[np.float16]) -> NDArray[np.complex64]:
    return parts.astype(np.float32).view(np.complex64)[..., 0]


def look_sums(reference: NDArray[np.complex64], secondary: NDArray[np.complex64], looks: Looks) -> LookSums:
    sums = LookSums.zeros((reference.shape[0] // looks.north, reference.shape[1] // looks.east))
    cross_multiply(pack(reference), pack(secondary), looks, sums)
    return sums


# --- products and looks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [Looks(east=1, north=1), Looks(east=4, north=3), Looks(east=16, north=8)])
def test_the_kernel_agrees_with_its_twin(looks: Looks) -> None:
    shape = (6 * looks.north, 5 * looks.east)
    reference, secondary = gaussian_pair(shape, 0.6, 1.1)
    reference[: shape[0] // 2, : shape[1] // 3] = 0
    secondary[1::4, ::3] = 0
    sums = look_sums(reference, secondary, looks)
    for made, expected in zip(sums, twins.cross_multiply(reference, secondary, looks), strict=True):
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


def test_the_phase_is_that_of_reference_times_the_conjugate_of_secondary() -> None:
    reference, secondary = gaussian_pair((64, 64), 0.9, 0.8)
    sums = look_sums(reference, secondary, Looks(east=64, north=64))
    assert np.angle(sums.cross[0, 0]) == pytest.approx(0.8, abs=0.03)


def test_the_phase_of_a_pixel_is_that_of_its_centre_of_brightness() -> None:
    looks, slope = Looks(east=16, north=8), (0.4, -0.3)
    south, east = ((np.arange(5 * count) + 0.5) / count for count in (looks.north, looks.east))
    bright = 0.2 + np.random.default_rng(0).random((5 * looks.north, 5 * looks.east))
    sums = look_sums(bright * np.exp(1j * (slope[0] * east + slope[1] * south[:, None])), bright + 0j, looks)
    middle = np.arange(5) + 0.5
    off = np.angle(sums.cross * np.exp(-1j * (slope[0] * middle + slope[1] * middle[:, None])))
    expected = np.tensordot(slope, sums.find_centre().astype(float), 1)
    assert expected.std() > 0.005
    np.testing.assert_allclose(off, expected, atol=1e-3)


def test_sums_are_cut_as_views() -> None:
    sums = LookSums.zeros((6, 5))
    sums.cut((slice(1, 3), slice(2, 4))).filled[:] = 7
    assert sums.filled.sum() == 4 * 7


# --- coherence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [Looks(east=16, north=8), Looks(east=4, north=2), Looks(east=1, north=1)])
@pytest.mark.parametrize("gamma", [0.3, 0.6, 0.95])
def test_coherence_is_found(gamma: float, looks: Looks) -> None:
    reference, secondary = gaussian_pair((60 * looks.north, 50 * looks.east), gamma)
    found = estimate_coherence(look_sums(reference, secondary, looks), looks, looks.count)[6:-6, 6:-6]
    assert found.mean() == pytest.approx(gamma, abs=0.02)


def test_without_coherence_the_estimate_stays_low() -> None:
    for looks in (Looks(east=16, north=8), Looks(east=2, north=2)):
        reference, secondary = gaussian_pair((60 * looks.north, 50 * looks.east), 0.0)
        assert estimate_coherence(look_sums(reference, secondary, looks), looks, looks.count).mean() < 0.125


@pytest.mark.parametrize("looks", [4, 20, 100])
def test_the_bias_at_zero_is_that_of_noise(looks: int) -> None:
    rng = np.random.default_rng(looks)
    reference, secondary = (rng.normal(size=(2, 4000, looks)) for _ in range(2))
    r, s = reference[0] + 1j * reference[1], secondary[0] + 1j * secondary[1]
    power = (np.abs(r) ** 2).sum(axis=1) * (np.abs(s) ** 2).sum(axis=1)
    estimates = np.abs((r * s.conj()).sum(axis=1)) / np.sqrt(power)
    assert coherence_at_zero(looks) == pytest.approx(estimates.mean(), abs=4 * estimates.std() / np.sqrt(4000))


@pytest.mark.parametrize(("east", "north", "width"), [(16, 8, 1), (8, 8, 1), (4, 4, 3), (1, 1, 9)])
def test_few_looks_are_averaged_with_their_neighbours(east: int, north: int, width: int) -> None:
    assert find_coherence_window(Looks(east=east, north=north)) == width


def test_coherence_is_one_for_equal_dates_and_zero_without_signal() -> None:
    looks = Looks(east=4, north=4)
    reference, _ = gaussian_pair((80, 80), 0.5)
    reference[:40] = 0
    found = estimate_coherence(look_sums(reference, 2j * reference, looks), looks, looks.count)
    assert (found[:10] == 0).all()
    np.testing.assert_allclose(found[10:], 1, atol=1e-5)
    assert found.max() <= 1


def test_a_glaring_target_does_not_disturb_coherence_elsewhere() -> None:
    looks = Looks(east=4, north=4)
    reference, secondary = gaussian_pair((160, 160), 0.7, seed=4)
    before = estimate_coherence(look_sums(reference, secondary, looks), looks, looks.count)
    reference[10, 10] = secondary[10, 10] = 3e4
    after = estimate_coherence(look_sums(reference, secondary, looks), looks, looks.count)
    np.testing.assert_allclose(after[6:, 6:], before[6:, 6:], atol=1e-4)


# --- statistics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "looks",
    [Looks(east=4, north=2), pytest.param(Looks(east=8, north=4), marks=pytest.mark.slow), Looks(east=16, north=8)],
)
@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_phase_scatters_as_predicted(gamma: float, looks: Looks) -> None:
    first, noise = (twins.speckle((2048, 2048), twins.CELLS, seed) for seed in (1, 2))
    sums = look_sums(first.astype(np.complex64), (gamma * first + math.sqrt(1 - gamma**2) * noise), looks)
    measured = math.sqrt((np.angle(sums.cross) ** 2).mean())
    independent = count_phase_looks(looks, twins.CELLS)
    assert phase_deviation(np.array([gamma], np.float32), independent)[0] == pytest.approx(measured, rel=0.02)
    power = sums.power_reference
    assert count_looks(looks, twins.CELLS) == pytest.approx((power.mean() / power.std()) ** 2, rel=0.05)


@pytest.mark.parametrize("looks", [1.0, 3.0, 40.0])
def test_the_deviation_of_independent_looks_is_that_of_wishart_samples(looks: float) -> None:
    """Sums of so many products of independent samples, drawn one by one."""
    draw = np.random.default_rng(5).normal(size=(4, 20_000, int(looks)))
    first, noise = draw[0] + 1j * draw[1], draw[2] + 1j * draw[3]
    for gamma in (0.0, 0.2, 0.6, 0.95):
        phase = np.angle((first * (gamma * first + math.sqrt(1 - gamma**2) * noise).conj()).sum(axis=1))
        expected = phase_deviation(np.array([gamma], np.float32), looks)[0]
        assert math.sqrt((phase**2).mean()) == pytest.approx(expected, rel=0.02)


def test_the_deviation_has_its_limits() -> None:
    found = phase_deviation(np.array([0, 1, np.nan, 0.99], np.float32), 100)
    assert found[0] == pytest.approx(math.pi / math.sqrt(3), rel=1e-3)
    assert found[1] == pytest.approx(0, abs=1e-9)
    assert np.isnan(found[2])
    assert found[3] == pytest.approx(math.sqrt(1 - 0.99**2) / 0.99 / math.sqrt(2 * 99), rel=1e-3)


def test_samples_far_apart_are_all_independent() -> None:
    looks = Looks(east=5, north=3)
    assert count_looks(looks, 7.0 * np.eye(2)) == pytest.approx(15)
    assert count_phase_looks(looks, 7.0 * np.eye(2)) == pytest.approx(15, rel=1e-3)
    assert count_looks(looks, np.zeros((2, 2))) == pytest.approx(1)


def test_a_dark_pixel_does_not_get_the_coherence_of_its_shore() -> None:
    """Water is 12 dB darker than land, and without coherence."""
    looks, shape = Looks(east=4, north=4), (160, 160)
    land, water = gaussian_pair(shape, 0.95, seed=6), gaussian_pair(shape, 0.0, seed=7)
    sea = np.arange(shape[1]) >= 80
    dates = [np.where(sea, 0.25 * dark, bright) for bright, dark in zip(land, water, strict=True)]
    found = estimate_coherence(look_sums(*dates, looks), looks, 16.0)
    assert found[:, 20].mean() < 0.35
    assert found[:, 19].mean() > 0.9


# --- mosaic -----------------------------------------------------------------------------------------------------


def filled(top: int, margin: NDArray[np.float32], value: float, count: int) -> Part:
    """A burst of one value in all its looks, from a row of the grid on; its Doppler is the tenfold."""
    one = np.full(margin.shape, value, np.float32)
    sums = LookSums(
        one.astype(np.complex64), one, one, np.full(margin.shape, count, np.int32), one.astype(np.complex64)
    )
    where = Window(row=top, column=0, rows=margin.shape[0], columns=margin.shape[1])
    return Part(where=where, sums=sums, doppler_hz=10 * one, margin_m=margin)


def edge_distance(rows: int, columns: int) -> NDArray[np.float32]:
    row = np.arange(rows)[:, None] + 0 * np.arange(columns)
    return (np.minimum(row, rows - 1 - row) * 80.0 + 1).astype(np.float32)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_seam_runs_at_mid_overlap_in_any_order(order: tuple[int, int]) -> None:
    mosaic = Mosaic((50, 8), Looks(east=2, north=2))
    for index in order:
        mosaic.add(index, filled(20 * index, edge_distance(30, 8), index + 1.0, 4))
    assert (mosaic.burst[:24] == 0).all()
    assert (mosaic.burst[26:] == 1).all()
    np.testing.assert_array_equal(mosaic.sums.power_reference, mosaic.burst + 1.0)
    np.testing.assert_array_equal(mosaic.sums.cross.real, mosaic.burst + 1.0)
    np.testing.assert_array_equal(mosaic.doppler_hz, 10.0 * (mosaic.burst + 1))


def test_a_mosaic_of_mosaics_is_the_mosaic_of_their_bursts() -> None:
    looks = Looks(east=2, north=2)
    whole, joined, parts = Mosaic((90, 8), looks), Mosaic((90, 8), looks), [Mosaic((50, 8), looks) for _ in range(2)]
    for index in range(4):
        burst = filled(20 * index, edge_distance(30, 8) * np.float32(1 + index / 10), index + 1.0, 4)
        whole.add(index, burst)
        parts[index // 2].add(index, replace(burst, where=replace(burst.where, row=20 * (index % 2))))
    for place, part in enumerate(parts):
        where = Window(row=40 * place, column=0, rows=50, columns=8)
        laid = Part(where=where, sums=part.sums, doppler_hz=part.doppler_hz, margin_m=part.margin_m)
        joined.add(part.burst, laid)
    for one, other in zip(
        (*whole.sums, whole.burst, whole.doppler_hz, whole.margin_m),
        (*joined.sums, joined.burst, joined.doppler_hz, joined.margin_m),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_hole_in_one_burst_is_filled_by_the_other() -> None:
    mosaic, upper = Mosaic((30, 4), Looks(east=2, north=2)), filled(0, edge_distance(30, 4), 1.0, 4)
    upper.sums.filled[10:12] = 1  # less than half of the looks
    mosaic.add(0, upper)
    mosaic.add(1, filled(0, edge_distance(30, 4) / 10, 2.0, 4))
    assert (mosaic.burst[10:12] == 1).all()
    assert (np.delete(mosaic.burst, [10, 11], axis=0) == 0).all()


def test_outside_of_all_bursts_nothing_is_laid() -> None:
    mosaic = Mosaic((10, 10), Looks(east=1, north=1))
    margin = np.full((10, 10), -5.0, np.float32)
    margin[3] = np.nan
    mosaic.add(0, filled(0, margin, 1.0, 1))
    assert (mosaic.burst == -1).all()
    assert (mosaic.sums.cross == 0).all()
