"""Phase filter: it must lower noise and do nothing else."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from topsar.engines.layers import estimate_phase_noise
from topsar.kernels.filter import PATCH, STRIDE, filter_phase

SHAPE = (120, 150)
LOOKS = 8
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
STRENGTHS = [0.2, 0.5, 1.0]


def turbulence(deviation_rad: float, exponent: float) -> NDArray[np.float64]:
    """Phase with a power spectrum that falls with a power of the frequency, down to the size of a pixel."""
    frequency = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1]))
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(np.random.default_rng(5).normal(size=SHAPE)) * frequency ** (-exponent / 2)
    phase = np.fft.ifft2(spectrum).real
    return np.asarray(phase * deviation_rad / phase.std())


FRINGES = {
    "flat": 0 * ROW + 0.7,
    "ramp": 0.21 * COLUMN - 0.13 * ROW,
    "steep ramp": 1.3 * COLUMN + 0.4 * ROW,
    "fringe of whole patches": 2 * np.pi * COLUMN / 16,
    "bowl": 12 * np.exp(-((ROW - 60) ** 2 + (COLUMN - 75) ** 2) / (2 * 30**2)),
}
ROUGH = {"turbulence": turbulence(2.0, 11 / 3), "rough turbulence": turbulence(1.0, 8 / 3)}


def fringe(name: str) -> NDArray[np.complex64]:
    return np.exp(1j * (FRINGES | ROUGH)[name]).astype(np.complex64)


def noisy(name: str, gamma: float, seed: int = 0) -> NDArray[np.complex64]:
    """A multilooked interferogram with a modulus that says nothing."""
    draw = np.random.default_rng(seed).normal(size=(4, LOOKS, *SHAPE)) / math.sqrt(2)
    common, noise = draw[0] + 1j * draw[1], draw[2] + 1j * draw[3]
    secondary = (gamma * common + math.sqrt(1 - gamma**2) * noise) * np.conj(fringe(name))
    return (common * np.conj(secondary)).mean(axis=0).astype(np.complex64)


def run(
    values: NDArray[np.complex64], strength: float, gamma: float = 0.9, *, noise: float = 1.0
) -> NDArray[np.complex64]:
    """Filter with the noise that ``gamma`` predicts, times ``noise``."""
    coherence = np.full(values.shape, gamma, np.float32)
    return filter_phase(values, coherence, estimate_phase_noise(coherence, LOOKS) * np.float32(noise), strength)


def phase_error(values: NDArray[np.complex64], name: str) -> NDArray[np.float32]:
    return np.angle(values * np.conj(fringe(name)))


def test_strength_zero_changes_no_phase() -> None:
    values = noisy("ramp", 0.4)
    values[3] = 0
    coherence = np.full(SHAPE, 0.4, np.float32)
    coherence[7], coherence[8] = 0, np.nan
    filtered = filter_phase(values, coherence, coherence, 0.0)
    np.testing.assert_allclose(np.angle(filtered), np.angle(values), atol=1e-6)
    np.testing.assert_array_equal(filtered == 0, values == 0)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_zero_stays_zero_and_nothing_else_becomes_zero(strength: float) -> None:
    values = noisy("bowl", 0.5)
    values[:, :40] = 0
    values[50:53, 60:90] = 0
    values[0, 149] = 0
    np.testing.assert_array_equal(run(values, strength, 0.5) == 0, values == 0)
    assert not run(np.zeros(SHAPE, np.complex64), strength).any()


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", FRINGES)
def test_a_clean_fringe_passes(name: str, strength: float) -> None:
    """Without bias to either side; only a bend, which is no single frequency, is smoothed a little."""
    filtered = run(fringe(name), strength)
    error = phase_error(filtered, name)
    assert abs(error.mean()) < (0.01 if name == "bowl" else 0.001)
    assert np.abs(error[PATCH:-PATCH, PATCH:-PATCH]).max() < 0.05
    np.testing.assert_allclose(np.abs(filtered)[PATCH:-PATCH, PATCH:-PATCH].mean(), 0.9, atol=0.02)


@pytest.mark.parametrize("name", FRINGES)
def test_noise_is_lowered_more_with_more_strength_and_without_bias(name: str) -> None:
    values = noisy(name, 0.4)
    spread = [phase_error(run(values, s, 0.4), name).std() for s in (0.0, *STRENGTHS)]
    assert all(after < before for before, after in pairwise(spread))
    assert spread[2] < 0.5 * spread[0]
    assert abs(np.angle(np.exp(1j * phase_error(run(values, 0.5, 0.4), name)).mean())) < 0.02


@pytest.mark.parametrize("gamma", [0.3, 0.6, 0.9, 0.97])
@pytest.mark.parametrize("name", [*FRINGES, *ROUGH])
def test_filtered_phase_is_never_farther_from_the_truth(name: str, gamma: float) -> None:
    """However rough the phase; the plain Goldstein filter took 0.2 rad of such turbulence where noise was 0.05 rad."""
    values = noisy(name, gamma)
    before, after = (np.sqrt((phase_error(one, name) ** 2).mean()) for one in (values, run(values, 0.5, gamma)))
    assert after < (1.01 if name == "rough turbulence" else 0.8) * before


def test_noise_that_is_predicted_too_high_takes_little_of_the_signal() -> None:
    values = noisy("turbulence", 0.9)
    before, after = (
        np.sqrt((phase_error(one, "turbulence") ** 2).mean()) for one in (values, run(values, 0.5, noise=1.5))
    )
    assert after < 0.75 * before


def test_noise_alone_is_not_made_into_a_fringe() -> None:
    rng = np.random.default_rng(1)
    values = np.exp(1j * rng.uniform(-np.pi, np.pi, SHAPE)).astype(np.complex64)
    assert abs(run(values, 0.5, 0.2).mean()) < 0.02


def test_the_filter_does_not_care_where_the_array_begins() -> None:
    """The same pixels come out of a larger array, up to the reach of a patch from the cut; no seam, no edge."""
    values = noisy("ramp", 0.5)
    whole = run(values, 0.5, 0.5)
    part = run(values[2 * STRIDE :, STRIDE:], 0.5, 0.5)
    far = np.s_[PATCH:, PATCH:]
    np.testing.assert_allclose(part[far], whole[2 * STRIDE :, STRIDE:][far], atol=1e-5)
    odd = run(values[3:, 5:], 0.5, 0.5)
    assert np.angle(odd * np.conj(whole[3:, 5:]))[far].std() < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (PATCH, PATCH), (33, 1)])
def test_small_arrays_are_filtered_too(shape: tuple[int, int]) -> None:
    filtered = run(np.full(shape, 1j, np.complex64), 0.5)
    assert filtered.shape == shape
    np.testing.assert_allclose(np.angle(filtered), np.pi / 2, atol=1e-3)


def test_edges_are_filtered_as_well_as_the_middle() -> None:
    values = noisy("flat", 0.5)
    error = phase_error(run(values, 0.8, 0.5), "flat")
    rim = np.concatenate([error[0], error[-1], error[:, 0], error[:, -1]]).std()
    assert rim < 0.3 * phase_error(values, "flat").std()
