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
    coherence,
    coherence_at_zero,
    coherence_window,
    independent_looks,
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


def test_sums_are_cut_as_views() -> None:
    sums = LookSums.zeros((6, 5))
    sums.cut((slice(1, 3), slice(2, 4))).filled[:] = 7
    assert sums.filled.sum() == 4 * 7


# --- coherence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [Looks(east=16, north=8), Looks(east=4, north=2), Looks(east=1, north=1)])
@pytest.mark.parametrize("gamma", [0.3, 0.6, 0.95])
def test_coherence_is_found(gamma: float, looks: Looks) -> None:
    reference, secondary = gaussian_pair((60 * looks.north, 50 * looks.east), gamma)
    found = coherence(look_sums(reference, secondary, looks), looks)[6:-6, 6:-6]
    assert found.mean() == pytest.approx(gamma, abs=0.02)


def test_without_coherence_the_estimate_stays_low() -> None:
    for looks in (Looks(east=16, north=8), Looks(east=2, north=2)):
        reference, secondary = gaussian_pair((60 * looks.north, 50 * looks.east), 0.0)
        assert coherence(look_sums(reference, secondary, looks), looks).mean() < 0.125


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
    assert coherence_window(Looks(east=east, north=north)) == width


def test_coherence_is_one_for_equal_dates_and_zero_without_signal() -> None:
    looks = Looks(east=4, north=4)
    reference, _ = gaussian_pair((80, 80), 0.5)
    reference[:40] = 0
    found = coherence(look_sums(reference, 2j * reference, looks), looks)
    assert (found[:10] == 0).all()
    np.testing.assert_allclose(found[10:], 1, atol=1e-5)
    assert found.max() <= 1


def test_a_glaring_target_does_not_disturb_coherence_elsewhere() -> None:
    looks = Looks(east=4, north=4)
    reference, secondary = gaussian_pair((160, 160), 0.7, seed=4)
    before = coherence(look_sums(reference, secondary, looks), looks)
    reference[10, 10] = secondary[10, 10] = 3e4
    after = coherence(look_sums(reference, secondary, looks), looks)
    np.testing.assert_allclose(after[6:, 6:], before[6:, 6:], atol=1e-4)


# --- statistics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gamma", "looks"), [(0.5, 100), (0.8, 40), (0.95, 60)])
def test_phase_scatters_as_predicted(gamma: float, looks: int) -> None:
    reference, secondary = gaussian_pair((looks, 4000), gamma, 0.3)
    phase = np.angle(look_sums(reference, secondary, Looks(east=1, north=looks)).cross)
    expected = phase_deviation(np.array([gamma], np.float32), looks)[0]
    assert phase.std() == pytest.approx(expected, rel=0.06)


def band_limited(count: int, spacing: float, bandwidth: float, seed: int) -> NDArray[np.complex128]:
    """Speckle of a Hamming-weighted band, one row."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(count, spacing)
    weight = 0.75 + 0.25 * np.cos(2 * np.pi * frequency / bandwidth)
    spectrum = np.where(np.abs(frequency) <= bandwidth / 2, weight, 0) * (
        rng.normal(size=count) + 1j * rng.normal(size=count)
    )
    return np.fft.ifft(spectrum)


def test_independent_looks_are_what_speckle_shows() -> None:
    """Looks of an area far above a resolution cell: (mean over deviation)² of its mean intensity, per axis."""
    burst, incidence, speed = twins.small_burst(), math.radians(33), 6800.0
    bands = 2 * burst.range_bandwidth_hz * math.sin(incidence) / 299_792_458.0, burst.azimuth_bandwidth_hz / speed
    measured = 1.0
    for spacing, window, band in zip((5.0, 10.0), (160, 160), bands, strict=True):
        intensity = np.abs(band_limited(window * 6000, spacing, band, 3)) ** 2
        means = intensity.reshape(-1, window).mean(axis=1)
        measured *= means.mean() ** 2 / means.var()
    assert independent_looks(burst, incidence, speed, 800.0 * 1600.0) == pytest.approx(measured, rel=0.06)


def test_there_is_at_least_one_look() -> None:
    assert independent_looks(twins.small_burst(), 0.6, 6800.0, 1.0) == 1.0
    wide = replace(twins.small_burst(), range_bandwidth_hz=2 * 56.5e6)
    assert independent_looks(wide, 0.6, 6800.0, 1e6) == pytest.approx(
        2 * independent_looks(twins.small_burst(), 0.6, 6800.0, 1e6)
    )


# --- mosaic -----------------------------------------------------------------------------------------------------


def filled(top: int, margin: NDArray[np.float32], value: float, count: int) -> Part:
    """A burst of one value in all its looks, from a row of the grid on; its Doppler is the tenfold."""
    one = np.full(margin.shape, value, np.float32)
    sums = LookSums(one.astype(np.complex64), one, one, np.full(margin.shape, count, np.int32))
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
