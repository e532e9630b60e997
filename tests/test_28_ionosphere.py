"""Sub-bands of a burst, and the ionosphere that their phases tell, against plain sums and known screens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import twins
from topsar.engines.native.steps.ionosphere import _judge_field, _level_swaths, _smooth, _spread
from topsar.kernels.ionosphere import (
    BandPair,
    Cells,
    choose_components,
    combine,
    find_noise_factor,
    find_offset,
    join_swaths,
    measure_difference,
    solve_cycles,
    sum_cells,
)
from topsar.kernels.smoothing import average_robustly, fit_surface, smooth_adaptively
from topsar.kernels.subband import SplitFilter, design_split, find_centroids, split_lines, weigh_hamming
from topsar.model import SPEED_OF_LIGHT, Burst, Window

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


WIDTHS = [(2.0 ** (k / 2), 2.0 ** (k / 2)) for k in range(1, 10)]


def test_smoothing_keeps_what_there_is_and_knows_what_is_left() -> None:
    rows, columns = np.mgrid[:120, :120]
    field = 0.02 * rows + 4 * np.exp(-((rows - 60) ** 2 + (columns - 40) ** 2) / (2 * 12.0**2))
    for ripples in (0.0, 0.5):
        field = field + ripples * np.sin(columns / 1.3)
        cells = noisy(np.random.default_rng(7), field)
        cells.phase[:, 70:76] = np.nan
        found = smooth_adaptively(cells, WIDTHS)
        off = found.phase - field
        assert np.isfinite(off).all()
        known = np.isfinite(cells.phase)
        assert np.sqrt(np.mean(off[known] ** 2)) < 0.2 + ripples
        assert 0.5 < np.sqrt(np.mean(off[known] ** 2) / np.mean(found.variance[known])) < 3.0
        assert abs(off[50:70, 30:50].mean()) < 0.4  # at its peak


def test_smoothing_of_noise_leaves_little_and_says_how_much() -> None:
    ratio = []
    for seed in range(6):
        cells = noisy(np.random.default_rng(seed), np.zeros((60, 60)))
        found = smooth_adaptively(cells, WIDTHS[:7])
        assert np.sqrt(np.mean(found.phase**2)) < 0.25
        ratio.append(np.mean(found.phase**2 / found.variance))
    assert 0.5 < np.sqrt(np.mean(ratio)) < 2.0


def test_a_surface_is_found_with_its_variance() -> None:
    rows, columns = np.mgrid[:40, :30] / 40
    exact = 1 + 2 * rows - columns + 3 * rows * columns - 2 * columns**2
    off = []
    for seed in range(30):
        found = fit_surface(noisy(np.random.default_rng(seed), exact))
        off.append((found.phase - exact) ** 2 / found.variance)
    assert np.sqrt(np.mean(off)) == pytest.approx(1, abs=0.25)


# --- what the step decides --------------------------------------------------------------------------------------


def told(*names: str) -> dict[str, Any]:
    return {"swaths": [{"swath": name} for name in names]}


def test_a_field_that_is_no_more_than_its_error_is_refused() -> None:
    rows = np.mgrid[:60, :60][0]
    for slope, refused in ((0.0, True), (0.05, False)):
        facts: dict[str, Any] = {}
        cells = noisy(np.random.default_rng(8), slope * rows)
        field = _smooth(cells, CELL_M, [])
        assert bool(why := _judge_field(field, cells, facts)) is refused
        assert ("times its error" in why) is refused
        assert facts["std_rad"] == pytest.approx(float(field.phase.std()), abs=1e-4)
        assert field.phase.mean() == pytest.approx(0, abs=1e-9)
        unsure = _smooth(cells, CELL_M, [{"standard_error_rad": 0.6}, {}])
        np.testing.assert_allclose(unsure.variance - field.variance, 0.09, rtol=1e-6)


def test_swaths_are_levelled_where_that_is_sure_and_always_between_satellites() -> None:
    for step, differ, removed in ((1.13, False, True), (0.01, False, False), (0.01, True, True)):
        rng, facts = np.random.default_rng(9), told("IW1", "IW2")
        before, after = noisy(rng, np.zeros((60, 40)), 0.5), noisy(rng, np.full((60, 40), step), 0.5)
        before.phase[:, 24:], after.phase[:, :16] = np.nan, np.nan
        assert _level_swaths([before, after], facts, differ=differ) == ""
        (offset,) = facts["offsets"]
        assert offset["removed"] is removed
        left = step - offset["rad"] if removed else step
        assert np.nanmean(after.phase) == pytest.approx(left, abs=0.05)


def test_swaths_of_two_satellites_that_share_nothing_have_no_ionosphere() -> None:
    apart = [noisy(np.random.default_rng(k), np.zeros((60, 40))) for k in range(2)]
    apart[0].phase[:, 20:], apart[1].phase[:, :20] = np.nan, np.nan
    assert "different satellites" in _level_swaths(apart, told("IW1", "IW2"), differ=True)
    facts = told("IW1", "IW2")
    assert _level_swaths(apart, facts, differ=False) == ""
    assert "too few" in facts["offsets"][0]["why"]
    apart[1].phase[:], apart[0].phase[5:] = np.nan, np.nan
    apart[0].phase[:, 5:] = np.nan
    assert "25 cells" in _level_swaths(apart, told("IW1", "IW2"), differ=False)


def test_cells_are_interpolated_between_their_middles() -> None:
    rows, columns = np.mgrid[:4, :5].astype(np.float64)
    spread = _spread(2 * rows - columns, 8, (30, 37))
    row, column = np.clip((np.mgrid[:30, :37] + 0.5) / 8 - 0.5, 0, [[[3]], [[4]]])
    np.testing.assert_allclose(spread, 2 * row - column, atol=1e-5)
    assert _spread(np.ones((1, 1)), 8, (5, 7)).shape == (5, 7)
