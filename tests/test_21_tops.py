"""TOPS deramping: ESA's published numbers, closed forms, and the kernel against its twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import twins
from topsar.kernels.tops import DerampTerms, deramp, find_deramp_terms, find_steering_rate, turn
from topsar.model import SPEED_OF_LIGHT, RangePolynomial

BURST = twins.small_burst()
ARC = twins.arc_of(twins.circular_orbit())
TERMS = find_deramp_terms(BURST, ARC)
ETA_S = (np.arange(BURST.grid.lines) - BURST.grid.lines / 2) * BURST.grid.line_interval_s


def test_the_published_doppler_rate_is_reproduced() -> None:
    """S1A 2014-08-09, IW1, burst 1, first sample: k_s = 7600.724 Hz/s, k_a = -2326.3644 Hz/s."""
    speed = float(np.linalg.norm(ARC.velocity(ARC.seconds(BURST.grid.mid_time))))
    steering = 7600.724 * SPEED_OF_LIGHT / (2 * speed * BURST.radar_frequency_hz)
    tau = 2 * BURST.grid.near_range_m / SPEED_OF_LIGHT
    burst = replace(BURST, steering_rate_rad_s=steering, fm_rate=RangePolynomial(t0_s=tau, coefficients=(-2326.3644,)))
    assert find_steering_rate(burst, ARC) == pytest.approx(7600.724, abs=1e-6)
    assert find_deramp_terms(burst, ARC).k_t[0] == pytest.approx(1781.1924, abs=1e-4)


def test_the_terms_follow_their_definitions() -> None:
    grid = BURST.grid
    speed = float(np.linalg.norm(ARC.velocity(ARC.seconds(grid.mid_time))))
    k_s = 2 * speed * BURST.steering_rate_rad_s / BURST.wavelength_m
    assert k_s == pytest.approx(7600, rel=0.01), "as large as ESA's own"
    tau = 2 * (grid.near_range_m + np.arange(grid.samples) * grid.range_spacing_m) / SPEED_OF_LIGHT
    k_a, f_dc = BURST.fm_rate(tau), BURST.doppler(tau)
    np.testing.assert_allclose(1 / TERMS.k_t, 1 / k_s - 1 / k_a, rtol=1e-12)
    np.testing.assert_allclose(TERMS.f_dc, f_dc, rtol=1e-12)
    np.testing.assert_allclose(np.diff(TERMS.eta_ref), np.diff(-f_dc / k_a), atol=1e-12)
    middle = np.interp((grid.samples - 1) / 2, np.arange(grid.samples), TERMS.eta_ref)
    assert middle == pytest.approx(0, abs=1e-9), "the reference time is zero at mid range"


def test_doppler_is_minus_the_slope_of_the_deramping_phase() -> None:
    step, times = 1e-4, ETA_S[::50]
    slope = (TERMS.phase(times + step) - TERMS.phase(times - step)) / (2 * step)
    sample = np.broadcast_to(np.arange(BURST.grid.samples, dtype=float), slope.shape)
    eta = np.broadcast_to(times[:, None], slope.shape)
    np.testing.assert_allclose(TERMS.doppler(eta, sample), -slope / (2 * np.pi), atol=1e-3)
    assert TERMS.doppler(eta, sample).max() > 2500, "a burst sweeps thousands of hertz"


def test_doppler_between_samples_is_interpolated() -> None:
    at = np.array([10.0, 10.25, 11.0])
    left, between, right = TERMS.doppler(np.full(3, 0.7), at)
    assert between == pytest.approx(0.75 * left + 0.25 * right, abs=1e-6)


def test_the_kernel_agrees_with_its_twin() -> None:
    rng = np.random.default_rng(1)
    lines, samples = slice(3, 80), slice(100, 357)
    slc = (rng.normal(size=(77, 257)) + 1j * rng.normal(size=(77, 257))).astype(np.complex64)
    part = DerampTerms(k_t=TERMS.k_t[samples], f_dc=TERMS.f_dc[samples], eta_ref=TERMS.eta_ref[samples])
    real, imag = np.empty((2, 77, 257), np.float32)
    deramp(slc, ETA_S[lines], part.k_t, part.f_dc, part.eta_ref, real, imag)
    np.testing.assert_allclose(real + 1j * imag, twins.deramp(slc, ETA_S[lines], part), atol=3e-5)


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_the_kernel_that_turns_in_place_agrees_with_its_twin(direction: float) -> None:
    rng = np.random.default_rng(2)
    slc = (rng.normal(size=(77, 257)) + 1j * rng.normal(size=(77, 257))).astype(np.complex64)
    part = DerampTerms(k_t=TERMS.k_t[:257], f_dc=TERMS.f_dc[:257], eta_ref=TERMS.eta_ref[:257])
    expected = twins.turn(slc, ETA_S[:77], part, direction)
    turn(slc, ETA_S[:77], part.k_t, part.f_dc, part.eta_ref, direction)
    np.testing.assert_allclose(slc, expected, atol=3e-5)


@pytest.mark.parametrize("given", ["<c8", ">c8"])
@pytest.mark.parametrize("stored", ["<c8", ">c8"])
def test_a_burst_is_turned_in_any_order_of_bytes_and_back(given: str, stored: str) -> None:
    """More samples than are turned together, and more lines than the ramp goes on without being begun anew."""
    rng = np.random.default_rng(3)
    slc = (rng.normal(size=(77, 1100)) + 1j * rng.normal(size=(77, 1100))).astype(given)
    before, ramp = slc.astype(np.complex128), (ETA_S[-77:], TERMS.k_t[:1100], TERMS.f_dc[:1100], TERMS.eta_ref[:1100])
    turned = turn(slc, *ramp, 1.0, np.dtype(stored))
    assert (turned.dtype, np.shares_memory(turned, slc)) == (np.dtype(stored), True)
    terms = DerampTerms(k_t=ramp[1], f_dc=ramp[2], eta_ref=ramp[3])
    away = turned * twins.turn(before, ETA_S[-77:], terms, 1.0).conj()
    assert np.abs(np.angle(away)).max() < 1e-5
    back = turn(turned, *ramp, -1.0)
    assert np.abs(np.angle(back * before.conj())).max() < 1e-6
    np.testing.assert_allclose(np.abs(back), np.abs(before), rtol=3e-5)


def energy_in_band(values: NDArray[np.complex128], band_hz: float) -> float:
    spectrum = np.abs(np.fft.fft(values, axis=0)) ** 2
    frequency = np.fft.fftfreq(len(values), BURST.grid.line_interval_s)
    return float(spectrum[np.abs(frequency) <= band_hz / 2].sum() / spectrum.sum())


def test_deramping_gathers_the_energy_of_scatterers_and_the_wrong_sign_does_not() -> None:
    band = BURST.azimuth_bandwidth_hz
    column = np.array([700])
    terms = DerampTerms(k_t=TERMS.k_t[column], f_dc=TERMS.f_dc[column], eta_ref=TERMS.eta_ref[column])
    phase = terms.phase(ETA_S)[:, 0]
    slc = np.zeros(len(ETA_S), np.complex128)
    for at, amplitude in zip(np.linspace(-1.3, 1.3, 60), np.exp(1j * np.arange(60) ** 2), strict=True):
        slc += amplitude * np.sinc(band * (ETA_S - at)) * np.exp(-1j * (phase - terms.phase(np.array([at]))[0, 0]))
    assert energy_in_band(slc * np.exp(1j * phase), band) > 0.995
    assert energy_in_band(slc, band) < 0.8
    assert energy_in_band(slc * np.exp(-1j * phase), band) < 0.8
