"""Spectral diversity of a pair with an honest error, the network of dates, and the peak of a correlation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import twins
from topsar.kernels.burst_constants import solve_constants
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums, Part
from topsar.kernels.registration import (
    LEAST_PATCHES,
    Overlap,
    correlate,
    find_overlap,
    find_peak,
    measure_timing,
    solve_network,
)
from topsar.kernels.statistics import count_phase_looks, phase_deviation
from topsar.model import Looks, Window

# --- spectral diversity -----------------------------------------------------------------------------------------


def overlap(shift_s: float, gamma: float, pixels: int, rng: np.random.Generator, together: int = 1) -> Overlap:
    """Double differences whose noise follows from coherence and 55 looks; so many pixels each share one noise."""
    separation = rng.uniform(4300, 4600, pixels)
    deviation = math.sqrt(2) * phase_deviation(np.array([gamma], np.float32), 55)[0]
    cell = np.arange(pixels) // together
    phase = 2 * np.pi * separation * shift_s + rng.normal(0, deviation, pixels)[cell]
    return Overlap(np.angle(np.exp(1j * phase)), separation, np.full(pixels, gamma**4), cell)


@pytest.mark.slow
@pytest.mark.parametrize("looks", [Looks(east=16, north=8), Looks(east=8, north=4)])
def test_the_standard_error_is_right_on_two_hundred_overlaps(looks: Looks) -> None:
    """Overlaps of 1.5 by 3 km of speckle, whose coherence and brightness vary, at two Dopplers."""
    shift_s, shape, pulls = 4e-6, (152, 608), []
    where = Window(row=0, column=0, rows=shape[0] // looks.north, columns=shape[1] // looks.east)
    for seed in range(200):
        noise = [twins.speckle(shape, twins.CELLS, 4 * seed + part) for part in range(4)]
        cover = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (20, 40))
        gamma, brightness = 0.35 + 0.63 / (1 + np.exp(-2.5 * cover / cover.std())), np.exp(0.2 * cover / cover.std())
        parts = []
        for doppler, first, other in ((2200.0, noise[0], noise[1]), (-2200.0, noise[2], noise[3])):
            second = (gamma * first + np.sqrt(1 - gamma**2) * other) * np.exp(-2j * np.pi * doppler * shift_s)
            dates = [brightness * first, brightness * second]
            reference, secondary = (np.stack([z.real, z.imag], axis=-1).astype(np.float16) for z in dates)
            sums = LookSums.zeros((where.rows, where.columns))
            cross_multiply(reference, secondary, looks, sums)
            plain = np.ones((where.rows, where.columns), np.float32)
            parts.append(Part(where=where, sums=sums, doppler_hz=doppler * plain, margin_m=plain))
        overlap = find_overlap(parts[0], parts[1], where, looks, count_phase_looks(looks, twins.CELLS))
        found = measure_timing([overlap])
        assert found is not None
        pulls.append((found.seconds - shift_s) / found.deviation_s)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("shift_s", [0.0, 8.2e-6, -6e-5])
def test_an_azimuth_shift_is_found_with_an_honest_error(shift_s: float, together: int) -> None:
    pulls = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        found = measure_timing([overlap(shift_s, gamma, 200, rng, together) for gamma in (0.45, 0.7, 0.9)])
        assert found is not None
        assert found.pixels == 600
        pulls.append((found.seconds - shift_s) / found.deviation_s)
    assert abs(np.mean(pulls)) < 0.5, "no bias: the mean of 50 pulls scatters by 0.14"
    assert 0.75 < np.std(pulls) < 1.3


def test_coherent_overlaps_have_the_say() -> None:
    rng = np.random.default_rng(2)
    good = overlap(5e-6, 0.95, 300, rng)
    noise = Overlap(rng.uniform(-np.pi, np.pi, 3000), np.full(3000, 4400.0), np.full(3000, 0.3**4), np.arange(3000))
    found = measure_timing([noise, good])
    assert found is not None
    assert found.seconds == pytest.approx(5e-6, abs=1.5e-6)
    assert found.deviation_s < 1e-6


def test_nothing_to_compare_gives_no_shift() -> None:
    assert measure_timing([]) is None
    empty = np.empty(0)
    nothing = Overlap(empty, empty, empty, empty.astype(np.int64))
    assert measure_timing([nothing]) is None
    some = overlap(5e-6, 0.9, 300, np.random.default_rng(0))
    assert measure_timing([nothing, some, nothing]) == measure_timing([some])


# --- the network of dates ---------------------------------------------------------------------------------------

TRUTH = np.array([0.0, 0.004, -0.003, 0.001, 0.02])
RING = np.array([(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (1, 3), (4, 2)])


def differences(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    return TRUTH[pairs[:, 1]] - TRUTH[pairs[:, 0]]


def test_timings_that_agree_are_found_exactly() -> None:
    solution = solve_network(5, RING, differences(RING), np.linspace(1e-4, 5e-4, 7))
    np.testing.assert_allclose(solution.value, TRUTH, atol=1e-12)
    np.testing.assert_allclose(solution.residual, 0, atol=1e-12)
    np.testing.assert_allclose(solution.pair_value, differences(RING), atol=1e-12)
    assert solution.deviation[0] == 0
    assert (solution.deviation[1:] > 0).all()


def test_errors_of_dates_and_pairs_are_honest() -> None:
    rng, deviation = np.random.default_rng(5), np.linspace(1e-4, 3e-4, 7)
    dates, pairs = [], []
    for _ in range(400):
        solution = solve_network(5, RING, differences(RING) + rng.normal(0, deviation), deviation)
        dates.append((solution.value - TRUTH)[1:] / solution.deviation[1:])
        pairs.append((solution.pair_value - differences(RING)) / solution.pair_deviation)
    for pulls in (np.array(dates), np.array(pairs)):
        assert abs(pulls.mean()) < 0.15
        assert 0.75 < pulls.std() < 1.1  # a little below one: errors only ever grow with the residuals


def test_a_network_averages_what_its_pairs_measured() -> None:
    solution = solve_network(5, RING, differences(RING), np.full(7, 2e-4))
    assert (solution.pair_deviation < 2e-4).all()


def test_measurements_that_contradict_each_other_raise_the_errors() -> None:
    loop = np.array([(0, 1), (1, 2), (0, 2)])
    calm, wild = (solve_network(3, loop, np.array([0, 0, miss]), np.full(3, 1e-4)) for miss in (1e-4, 3e-3))
    assert wild.deviation[1] > 10 * calm.deviation[1]
    np.testing.assert_allclose(np.abs(wild.residual), 1e-3)


def test_dates_that_nothing_connects_have_timings_of_their_own() -> None:
    pairs = np.array([(0, 1), (3, 4), (1, 3), (2, 0)])
    value, deviation = differences(pairs), np.full(4, 1e-4)
    value[2] = np.nan  # measured nothing, and nothing else joins both groups
    value[3] = deviation[3] = np.nan
    solution = solve_network(5, pairs, value, deviation)
    assert solution.group.tolist() == [0, 0, 1, 2, 2]
    np.testing.assert_allclose(solution.value, [0, 0.004, 0, 0, 0.019], atol=1e-12)
    np.testing.assert_allclose(solution.pair_value, [0.004, 0.019, np.nan, np.nan])
    assert np.isfinite(solution.residual).tolist() == [True, True, False, False]


def test_a_pair_without_estimate_is_solved_through_the_others() -> None:
    value = differences(RING)
    value[4] = np.nan
    solution = solve_network(5, RING, value, np.full(7, 1e-4))
    assert solution.pair_value[4] == pytest.approx(-0.003)
    assert solution.pair_deviation[4] > 1e-4


def test_without_any_measurement_nothing_is_solved() -> None:
    nothing = np.full(7, np.nan)
    solution = solve_network(5, RING, nothing, nothing)
    assert np.isnan(solution.pair_value).all()
    assert (solution.value == 0).all()


# --- range ------------------------------------------------------------------------------------------------------


def trials(peak: NDArray[np.float64], height: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Correlation of patches at -step, 0 and step: parabolas that peak where they are told to."""
    return height[:, None] * (1 - (np.array([-step, 0, step]) - peak[:, None]) ** 2)


def test_the_amplitudes_of_equal_patches_correlate() -> None:
    rng = np.random.default_rng(0)
    patch = rng.normal(size=(40, 50)) + 1j * rng.normal(size=(40, 50))
    other = rng.normal(size=(40, 50)) + 1j * rng.normal(size=(40, 50))
    assert correlate(patch, 3j * patch) == pytest.approx(1)
    assert abs(correlate(patch, other)) < 0.1
    holed = patch.copy()
    holed[:20] = 0
    assert correlate(holed, patch) == pytest.approx(1)
    assert correlate(np.zeros_like(patch), patch) == correlate(np.ones_like(patch), patch) == 0


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_the_peak_of_a_parabola_is_found(step: float) -> None:
    height = np.array([0.9, 0.2, 0.5, 0.4, 0.8])
    peak = 0.13 + 1e-6 * np.array([-2, 1, 0, 3, -1])
    found = find_peak(trials(peak, height, step), step)
    assert found is not None
    assert found.value == pytest.approx(0.13, abs=1e-6)
    assert found.deviation < 2e-6
    assert found.patches == 5


def test_the_peak_has_an_honest_error() -> None:
    rng, pulls = np.random.default_rng(3), []
    for _ in range(300):
        height = rng.uniform(0.2, 0.9, 20)
        noisy = trials(np.full(20, -0.04), height, 0.5) + rng.normal(0, 0.01, (20, 3))
        found = find_peak(noisy, 0.5)
        assert found is not None
        pulls.append((found.value + 0.04) / found.deviation)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.2


def test_patches_that_lie_elsewhere_or_have_no_peak_have_no_say() -> None:
    rng = np.random.default_rng(1)
    good = trials(rng.normal(0.1, 0.005, 12), np.full(12, 0.5), 0.5)
    wild = trials(np.array([0.9, -0.7]), np.full(2, 0.5), 0.5)
    flat = np.array([[0.1, 0.1, 0.1], [0.3, 0.2, 0.3], [-0.2, -0.1, -0.2]])
    found = find_peak(np.concatenate([wild, good, flat]), 0.5)
    assert found is not None
    assert found.patches == 12
    assert found.value == pytest.approx(0.1, abs=0.005)
    assert find_peak(np.concatenate([good[: LEAST_PATCHES - 1], flat]), 0.5) is None
    assert find_peak(flat, 0.5) is None
    assert find_peak(np.empty((0, 3)), 0.5) is None


# --- constants of bursts ----------------------------------------------------------------------------------------

CYCLE_S = 2.76
DOPPLERS = {"IW1": 4760.0, "IW2": 4020.0}
"""Differences of neighbouring bursts, Hz; 4 % more at near range, as much less at far range."""


def two_swaths(rng: np.random.Generator, value: np.ndarray, timing_s: float) -> list[Overlap]:
    """Overlaps along two swaths of four bursts, and across them: those of IW2 are centred 0.83 s later."""
    seen = []
    for first, doppler in enumerate(DOPPLERS.values()):
        for upper in range(4 * first, 4 * first + 3):
            seen.append((upper, upper + 1, doppler * np.linspace(1.04, 0.96, 900)))
    near, far = (doppler / CYCLE_S for doppler in DOPPLERS.values())  # rates
    for number in range(4):
        time = np.linspace(-0.5, 1.3, 900)  # from the middle of the burst of IW1
        seen.append((number, 4 + number, near * time - far * (time - 0.83)))
        if number < 3:
            time = np.linspace(1.4, 2.2, 900)
            seen.append((number + 1, 4 + number, near * (time - CYCLE_S) - far * (time - 0.83)))
    found = []
    for upper, lower, separation in seen:
        noise = np.repeat(0.1 * rng.normal(size=300), 3)  # pixels of a cell err together
        phase = 2 * np.pi * separation * timing_s + value[upper] - value[lower] + noise
        cell = np.repeat(np.arange(300), 3)
        found.append(Overlap(np.angle(np.exp(1j * phase)), separation, np.full(900, 0.5), cell, (upper, lower)))
    return found


def test_constants_of_bursts_are_told_from_timing_with_their_errors() -> None:
    """Steps of 1.5 rad from burst to burst, as S1C and S1D show them."""
    off, of_timing = [], []
    exact = np.concatenate([1.5 * np.arange(4), 0.4 + 1.62 * np.arange(4)])
    for seed in range(12):
        found = solve_constants(two_swaths(np.random.default_rng(seed), exact, 4e-6), 8)
        assert found is not None
        assert found.chance < 1e-9
        left = np.angle(np.exp(1j * (found.value - exact - (found.value - exact)[0])))
        assert np.abs(np.diff(left)[:3]).max() < 0.15
        off.append((left[3] - left[0]) / np.hypot(found.error[3], found.error[0]))
        of_timing.append((found.timing.seconds - 4e-6) / found.timing.deviation_s)
        for one in two_swaths(np.random.default_rng(seed), exact, 4e-6):
            modelled = 2 * np.pi * one.separation_hz * found.timing.seconds
            upper, lower = one.bursts
            step = np.exp(1j * (one.phase - modelled - found.value[upper] + found.value[lower])).mean()
            assert abs(np.angle(step)) < 0.03
    assert np.sqrt(np.mean(np.square(of_timing))) < 1.5
    assert np.abs(off).max() < 4


def test_where_bursts_have_no_constants_none_are_believed() -> None:
    chance = [solve_constants(two_swaths(np.random.default_rng(k), np.zeros(8), 8e-6), 8).chance for k in range(12)]  # type: ignore[union-attr]
    assert min(chance) > 1e-4
    assert max(chance) > 0.2
    assert solve_constants([], 3) is None
