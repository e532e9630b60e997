"""Sub-bands of a burst, and the ionosphere that their phases tell, against plain sums and known screens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import twins
from topsar.engines.native.steps.ionosphere import (
    _find_known,
    _fit_swaths,
    _judge_field,
    _level_components,
    _require_cells,
    _spread,
)
from topsar.kernels.azimuth_shift import expect_shift, find_share
from topsar.kernels.field import fit_field
from topsar.kernels.ionosphere import (
    BandPair,
    Cells,
    choose_components,
    combine,
    find_noise_factor,
    find_offset,
    join_swaths,
    measure_difference,
    part_components,
    solve_cycles,
    sum_cells,
)
from topsar.kernels.registration import Overlap
from topsar.kernels.smoothing import average_robustly
from topsar.kernels.subband import SplitFilter, design_split, find_centroids, split_lines, weigh_hamming
from topsar.model import SPEED_OF_LIGHT, Burst, Window
from topsar.simulate.terrain import draw_field

CARRIER_HZ = 5.405e9
BANDS_HZ = CARRIER_HZ - 16.1e6, CARRIER_HZ + 16.1e6
CELL_M = 640.0, 640.0


@pytest.fixture(scope="module")
def burst() -> Burst:
    return replace(twins.small_burst(), range_bandwidth_hz=48.3e6)


def shaped(burst: Burst, spectrum: NDArray[np.complex128]) -> NDArray[np.complex64]:
    """Samples whose spectrum is that, weighted as a product's is."""
    interval = 2 * burst.grid.range_spacing_m / SPEED_OF_LIGHT
    position = np.fft.fftfreq(spectrum.shape[-1], interval) / burst.range_bandwidth_hz
    weight = np.where(np.abs(position) <= 0.5, weigh_hamming(position), 0)
    return np.fft.ifft(spectrum * weight, axis=-1).astype(np.complex64)


def split(burst: Burst, lines: NDArray[np.complex64], first_time_s: float = 0.0):
    design, moments = design_split(burst, lines.shape[1]), np.zeros((2, 2))
    return design, split_lines(lines, design, first_time_s, moments, 1), moments


def test_bands_are_those_of_a_plain_fourier_sum(burst: Burst) -> None:
    rng = np.random.default_rng(1)
    lines = shaped(burst, rng.normal(size=(3, 300)) + 1j * rng.normal(size=(3, 300)))
    design, bands, _ = split(burst, lines, 5.6e-3)
    for band, centre in zip(bands, design.centres, strict=True):
        expected = twins.split_band(lines, design, centre, 5.6e-3)
        assert band.shape == expected.shape
        np.testing.assert_allclose(band, expected, atol=2e-6 * np.abs(lines).max() * design.size)


def test_bands_are_flat_and_have_their_third_of_the_energy(burst: Burst) -> None:
    rng = np.random.default_rng(2)
    lines = shaped(burst, rng.normal(size=(400, 3000)) + 1j * rng.normal(size=(400, 3000)))
    design, bands, moments = split(burst, lines)
    flat = 2 * 48.3e6 / 3 / design.sampling_hz / 3000 * 400 * 3000
    for band, centroid, sign in zip(bands, find_centroids(design, moments), (-1, 1), strict=True):
        power = np.abs(np.fft.fft(band, axis=1)) ** 2
        inside = np.abs(np.fft.fftfreq(band.shape[1])) < 0.45 * design.occupied
        assert np.std(power[:, inside].mean(axis=0)) < 0.1 * power[:, inside].mean()
        assert (np.abs(band) ** 2).sum() * design.step == pytest.approx(flat, rel=0.03)
        assert centroid == pytest.approx(sign * 16.1e6, abs=5e4)


@pytest.mark.parametrize("delay_m", [0.0, 0.03])
def test_a_dispersive_target_has_the_phases_of_its_frequencies(burst: Burst, delay_m: float) -> None:
    """Behind an ionosphere the path at f is R - I f₀²/f², whatever was sampled."""
    spacing, near_m = burst.grid.range_spacing_m, 850_000.0
    first, interval = 2 * near_m / SPEED_OF_LIGHT, 2 * spacing / SPEED_OF_LIGHT
    frequency = np.fft.fftfreq(4096, interval)
    range_m = near_m + 1200.3 * spacing
    radio = CARRIER_HZ + frequency
    path = 2 / SPEED_OF_LIGHT * (range_m * radio - delay_m * CARRIER_HZ**2 / radio)
    lines = shaped(burst, np.exp(-2j * np.pi * (path - frequency * first))[None])
    design, bands, _ = split(burst, lines[:, :3000], first)
    for band, centre in zip(bands, design.centres, strict=True):
        carrier = CARRIER_HZ + design.find_frequency(centre)
        expected = -4 * np.pi / SPEED_OF_LIGHT * (range_m * carrier - delay_m * CARRIER_HZ**2 / carrier)
        place = round(1200.3 / design.step)
        assert abs(np.angle(band[0, place] * np.exp(-1j * expected))) < 2e-3


def test_silence_has_the_nominal_centroids(burst: Burst) -> None:
    design, bands, moments = split(burst, np.zeros((2, 300), np.complex64))
    assert not any(band.any() for band in bands)
    assert find_centroids(design, moments) == tuple(design.find_frequency(centre) for centre in design.centres)
    assert isinstance(design, SplitFilter)


# --- cells ------------------------------------------------------------------------------------------------------


def test_cells_are_sums_of_their_pixels() -> None:
    values = np.arange(35.0).reshape(5, 7)
    sums = sum_cells(values, Window(row=3, column=2, rows=5, columns=7), 4, (3, 4))
    whole = np.zeros((12, 16))
    whole[3:8, 2:9] = values
    np.testing.assert_array_equal(sums, whole.reshape(3, 4, 4, 4).sum(axis=(1, 3)))


def test_a_cell_belongs_to_the_component_of_most_of_its_pixels() -> None:
    components = np.array([[1, 1, 2, 0], [1, 2, 0, 0], [0, 0, 3, 2], [0, 0, 2, 2], [1, 2, 2, 1]], np.uint16)
    np.testing.assert_array_equal(choose_components(components, 2), [[1, 2], [0, 2], [1, 1]])


def seen(
    rng: np.random.Generator, ionosphere: NDArray[np.float64], path: NDArray[np.float64], gamma: float, looks: int
):
    """Sub-band coherences of pixels under an ionosphere, over a path, with as much speckle as looks leave."""
    pairs = []
    for frequency in BANDS_HZ:
        phase = path * frequency / CARRIER_HZ + ionosphere * CARRIER_HZ / frequency
        first, noise = (
            (rng.normal(size=(looks, *path.shape)) + 1j * rng.normal(size=(looks, *path.shape))) for _ in range(2)
        )
        second = (gamma * first + np.sqrt(1 - gamma**2) * noise) * np.exp(-1j * phase)
        power = np.sqrt((np.abs(first) ** 2).sum(axis=0) * (np.abs(second) ** 2).sum(axis=0))
        pairs.append(((first * np.conj(second)).sum(axis=0) / power).astype(np.complex64))
    return BandPair(
        where=Window(row=0, column=0, rows=path.shape[0], columns=path.shape[1]),
        lower=pairs[0],
        upper=pairs[1],
        looks=np.full(path.shape, looks, np.float32),
        carrier_hz=CARRIER_HZ,
        frequencies_hz=BANDS_HZ,
    )


def test_an_ionosphere_is_told_from_path_and_its_noise_is_predicted() -> None:
    """Fringes of a pixel or two do not matter."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:160, :160]
    ionosphere, path = 3.0 + 0.01 * rows, 0.9 * columns - 0.4 * rows
    pair = seen(rng, ionosphere, path, gamma=0.7, looks=9)
    phase = ionosphere + path
    found = measure_difference(
        pair, np.exp(-1j * phase).astype(np.complex64), np.full((160, 160), 0.7, np.float32), 8, (20, 20)
    )
    cells = combine(pair, found, phase.reshape(20, 8, 20, 8).mean(axis=(1, 3)))
    off = cells.phase - ionosphere.reshape(20, 8, 20, 8).mean(axis=(1, 3))
    assert off.mean() == pytest.approx(0, abs=3 * np.sqrt(cells.variance.mean() / off.size))
    assert off.std() == pytest.approx(np.sqrt(cells.variance.mean()), rel=0.12)
    assert find_noise_factor(cells, np.ones((20, 20), int)) == pytest.approx(1, abs=0.12)
    hole = measure_difference(
        pair, np.zeros((160, 160), np.complex64), np.full((160, 160), 0.7, np.float32), 8, (20, 20)
    )
    assert np.isnan(hole.phase).all()


def noisy(rng: np.random.Generator, field: NDArray[np.float64], deviation: float = 1.5) -> Cells:
    return Cells(field + deviation * rng.normal(size=field.shape), np.full(field.shape, deviation**2))


def test_offsets_of_swaths_are_found_where_they_overlap() -> None:
    rng = np.random.default_rng(4)
    field = 0.05 * np.mgrid[:100, :60][1]
    before, after = noisy(rng, field), noisy(rng, field + 1.13)
    before.phase[:, 34:], after.phase[:, :26] = np.nan, np.nan
    after.phase[::9, 30] += 40  # a wrong one here and there
    offset = find_offset(before, after)
    assert offset is not None
    assert offset.cells == 800
    assert offset.error == pytest.approx(1.5 * np.sqrt(2 / 800), rel=0.15)
    assert offset.value == pytest.approx(1.13, abs=3 * offset.error)
    joined = join_swaths([before, Cells(after.phase - offset.value, after.variance)])
    assert np.isfinite(joined.phase).all()
    assert joined.variance[0, 30] == pytest.approx(1.5**2 / 2)
    after.phase[:, 26:33] = np.nan
    after.phase[10:, :] = np.nan
    assert find_offset(before, after) is None


def test_cycles_of_components_are_those_that_make_the_ionosphere_smooth() -> None:
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:80, :80]
    field = 0.08 * rows - 0.05 * columns
    label = np.ones((80, 80), int)
    label[:, 30:34] = 0
    label[:, 34:50] = 2
    label[:, 50:53] = 0
    label[:, 53:] = 3
    label[2:4, 60:62] = 4
    cycles = {1: 0, 2: -2, 3: 1, 4: 5}
    cells = noisy(rng, field)
    for one, count in cycles.items():
        cells.phase[label == one] += count * np.pi
    cells.phase[label == 0] = np.nan
    solved = solve_cycles(cells, label, np.pi, CELL_M)
    assert {one: solved[one] for one in (1, 2, 3)} == {1: 0, 2: -2, 3: 1}
    assert solved[4] is None  # four cells know nothing


def test_a_mean_does_not_follow_outliers_and_knows_its_error() -> None:
    rng = np.random.default_rng(6)
    off = []
    for _ in range(40):
        values = rng.normal(size=400)
        values[:20] += 30
        mean, error = average_robustly(values, np.ones(400))
        off.append(mean / error)
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(1.5, abs=0.8)


def halve(cells: Cells, step: float, overlap: int) -> list[Cells]:
    """Two swaths side by side, the second above the first; neither has a value of its own where both see."""
    middle = cells.phase.shape[1] // 2
    parts = []
    for columns, above in ((slice(middle + overlap, None), 0.0), (slice(None, middle - overlap), step)):
        phase = cells.phase + above
        phase[:, columns] = np.nan
        parts.append(Cells(phase, cells.variance))
    return parts


def test_a_field_and_the_step_in_it_are_found_with_their_errors() -> None:
    """Over many draws of a rough field and of noise the errors are what they are said to be."""
    rows, columns = np.mgrid[:48, :40]
    smooth = 0.1 * rows + 2.5 * np.exp(-((rows - 20) ** 2 + (columns - 15) ** 2) / (2 * 14.0**2))
    off, of_step, rms = [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rough = draw_field((128, 128), CELL_M, exponent=11 / 3, band_m=(5_000.0, 60_000.0), seed=seed)[:48, :40]
        exact = smooth + 0.45 * rough
        found = fit_field(halve(noisy(rng, exact, 2.0), 1.13, 2), CELL_M).center(np.ones((48, 40), bool))
        error = found.phase - (exact - exact.mean())
        rms.append(error.std())
        off.append((error**2).mean() / found.variance.mean())
        of_step.append(((found.steps[0] - 1.13) / found.step_errors[0]) ** 2)
    assert max(rms) < 0.4
    assert np.sqrt(np.mean(off)) == pytest.approx(1, abs=0.3)
    assert np.sqrt(np.mean(of_step)) == pytest.approx(1, abs=0.6)


def test_of_noise_alone_little_is_left_and_it_is_said_how_much() -> None:
    ratio = []
    for seed in range(8):
        cells = noisy(np.random.default_rng(seed), np.zeros((40, 40)))
        found = fit_field([cells], CELL_M).center(np.ones((40, 40), bool))
        assert np.sqrt(np.mean(found.phase**2)) < 0.25
        ratio.append(np.mean(found.phase**2) / np.mean(found.variance))
    assert np.sqrt(np.mean(ratio)) == pytest.approx(1, abs=0.5)


def test_a_field_goes_on_where_nothing_is_seen_and_does_not_follow_outliers() -> None:
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:50, :50]
    exact = 0.06 * rows - 0.03 * columns
    cells = noisy(rng, exact, 0.5)
    cells.phase[44:] = np.nan
    cells.phase[::7, ::7] += 40
    found = fit_field([cells], CELL_M)
    assert np.abs(found.phase - exact).max() < 0.5
    assert found.variance[49].mean() > 2 * found.variance[25].mean()
    assert found.steps.size == 0


# --- what the step decides --------------------------------------------------------------------------------------


def told(*names: str) -> dict[str, Any]:
    return {"swaths": [{"swath": name} for name in names]}


def test_a_field_that_is_no_more_than_its_error_is_refused() -> None:
    rows = np.mgrid[:40, :40][0]
    for slope, refused in ((0.0, True), (0.08, False)):
        facts = told("IW1")
        cells = noisy(np.random.default_rng(8), slope * rows)
        field, _ = _fit_swaths([cells], CELL_M, facts, differ=False)
        assert bool(why := _judge_field(field, _find_known([cells]), facts)) is refused
        assert ("times its error" in why) is refused
        assert facts["std_rad"] == pytest.approx(float(field.phase.std()), abs=1e-4)
        assert field.phase.mean() == pytest.approx(0, abs=1e-9)


def test_parts_are_levelled_where_that_is_sure_and_swaths_of_two_satellites_always() -> None:
    swaths, bursts = ("IW1", "IW2"), ("IW1_1", "IW1_2")
    for step, differ, names, removed in (
        *((1.13, False, swaths, True), (0.01, False, swaths, False), (0.01, True, swaths, True)),
        *((1.13, True, bursts, True), (0.01, True, bursts, False)),
    ):
        facts = told(*names)
        parts = halve(noisy(np.random.default_rng(9), np.zeros((40, 40)), 0.5), step, 4)
        field, why = _fit_swaths(parts, CELL_M, facts, differ=differ)
        assert not why
        (offset,) = facts["offsets"]
        assert offset["removed"] is removed
        assert offset["cells"] == 40 * 8
        assert offset["rad"] == pytest.approx(step, abs=4 * offset["standard_error_rad"])
        assert abs(field.phase[:, 30:].mean() - field.phase[:, :10].mean()) < 0.25


def test_swaths_of_two_satellites_that_share_nothing_have_no_ionosphere() -> None:
    apart = [noisy(np.random.default_rng(k), np.zeros((40, 80)), 3.0) for k in range(2)]
    apart[0].phase[:, 5:], apart[1].phase[:, :75] = np.nan, np.nan
    assert "different satellites" in _fit_swaths(apart, CELL_M, told("IW1", "IW2"), differ=True)[1]
    facts = told("IW1", "IW2")
    assert not _fit_swaths(apart, CELL_M, facts, differ=False)[1]
    assert facts["offsets"][0]["cells"] == 0
    assert not facts["offsets"][0]["removed"]
    apart[1].phase[:], apart[0].phase[5:] = np.nan, np.nan
    assert "25 cells" in _require_cells(apart)


def test_cells_are_interpolated_between_their_middles() -> None:
    rows, columns = np.mgrid[:4, :5].astype(np.float64)
    spread = _spread(2 * rows - columns, 8, (30, 37))
    row, column = np.clip((np.mgrid[:30, :37] + 0.5) / 8 - 0.5, 0, [[[3]], [[4]]])
    np.testing.assert_allclose(spread, 2 * row - column, atol=1e-5)
    assert _spread(np.ones((1, 1)), 8, (5, 7)).shape == (5, 7)


# --- shifts along azimuth ---------------------------------------------------------------------------------------


def test_a_slope_along_the_flight_shifts_and_one_across_does_not() -> None:
    """A phase that grows along the flight moves the secondary to earlier lines."""
    rows, columns = np.mgrid[:30, :20].astype(np.float64)
    rates = -10.0, -2.0  # northwards, a little to the west
    shift = expect_shift(0.1 * rates[0] * rows + 0.1 * rates[1] * columns, rates, -2200.0, 700_000.0)
    np.testing.assert_allclose(shift, -0.5 * 0.1 * (rates[0] ** 2 + rates[1] ** 2) / (2 * np.pi * 2200))
    across = expect_shift(rates[1] * rows - rates[0] * columns, rates, -2200.0, 700_000.0)
    np.testing.assert_allclose(across, 0, atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_overlaps_tell_how_much_there_is_of_expected_shifts(share: float) -> None:
    off = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        overlaps, shifts = [], []
        for number in range(3):
            separation = rng.uniform(4300, 4500, 600)
            shifts.append(1e-5 * np.sin(np.arange(600) / 90 + number))
            noise = np.repeat(0.3 * rng.normal(size=200), 3)
            phase = 2 * np.pi * separation * (4e-6 + share * shifts[-1]) + noise
            overlaps.append(Overlap(np.angle(np.exp(1j * phase)), separation, np.ones(600), np.arange(600) // 3))
        shifts[1][:100] = np.nan
        found = find_share(overlaps, shifts)
        assert found is not None
        off.append(((found.value - share) / found.error, (found.timing_s - 4e-6) / found.timing_error_s))
    assert np.sqrt(np.mean(np.square(off), axis=0)) == pytest.approx([1, 1], abs=0.6)
    assert find_share(overlaps, [np.full(600, np.nan)] * 3) is None
    assert find_share(overlaps, [np.full(600, 1e-5)] * 3) is None, "a shift that is everywhere the same is a timing"


# --- errors of the unwrapper ------------------------------------------------------------------------------------


def test_a_component_is_parted_where_its_phase_jumps_all_around() -> None:
    """Half a cycle of the ionosphere would hang on it, without a word."""
    rows, columns = np.mgrid[:40, :50]
    phase, components = 0.3 * rows - 0.2 * columns, np.ones((40, 50), np.uint16)
    components[:, 40:] = 2
    whole, origins = part_components(components, phase, 20)
    np.testing.assert_array_equal(whole, components)
    assert not origins
    phase[10:20, 10:25] += 2 * np.pi
    phase[30:32, 5:7] -= 2 * np.pi
    phase[:, 40:] += 6 * np.pi  # another component may be anywhere
    phase[3, :20] = np.nan
    parts, origins = part_components(components, phase, 20)
    assert origins == {3: 1}
    assert (parts[10:20, 10:25] == 3).all()
    assert (parts[30:32, 5:7] == 0).all(), "too small to be told"
    assert (parts[:, 40:] == 2).all()
    assert parts[25, 20] == 1
    phase[:, 25] += np.where(np.arange(40) < 10, 4.0, 0.0)  # a cut that ends inside parts nothing
    assert part_components(components, phase, 20)[1] == {3: 1}


def test_cycles_that_a_part_of_a_component_has_too_many_are_told_and_taken_off() -> None:
    rng = np.random.default_rng(10)
    rows, columns = np.mgrid[:40, :60]
    field = 0.1 * rows + 0.02 * columns
    label = np.where(columns < 40, 1, 3)
    cells = noisy(rng, field + np.pi * np.where(label == 3, -1, 0))
    told, errors = _level_components([cells], label, CELL_M, {3: 1})
    assert errors == [{"component": 1, "cells": 800, "cycles": -1}]
    assert told == {"count": 1, "cycles": {}, "unknown": 0}
    off = (cells.phase - field)[:, 45:].mean() - (cells.phase - field)[:, :35].mean()
    assert abs(off) < 0.4
