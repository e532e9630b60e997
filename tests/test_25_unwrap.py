"""Unwrapping: both packages recover a known surface, and say where there is none."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from topsar.kernels import unwrap as kernel
from topsar.kernels.unwrap import count_tiles, unwrap

SHAPE = (100, 128)
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
LOOKS = 40
SURFACES = {
    "ramp": 0.25 * COLUMN - 0.1 * ROW,
    "bowl": -25 * np.exp(-((ROW - 45) ** 2 + (COLUMN - 70) ** 2) / (2 * 22**2)),
}
METHODS = [
    "snaphu",
    pytest.param("whirlwind", marks=pytest.mark.skipif(not find_spec("whirlwind"), reason="needs Python 3.11")),
]


def interferogram(name: str, gamma: float = 0.7, seed: int = 0) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Multilooked phasor with the noise of its coherence, and the coherence."""
    deviation = math.sqrt(1 - gamma**2) / (gamma * math.sqrt(2 * LOOKS))
    phase = SURFACES[name] + np.random.default_rng(seed).normal(0, deviation, SHAPE)
    return np.exp(1j * phase).astype(np.complex64), np.full(SHAPE, gamma, np.float32)


def run(
    phase: NDArray[np.complex64], gamma: NDArray[np.float32], method: str, scratch: Path
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    return unwrap(phase, gamma, LOOKS, method=method, threads=1, scratch=scratch)


def cycles_wrong(found: NDArray[np.float32], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole cycles by which each pixel is off, after the one constant that unwrapping cannot know."""
    cycles = (found - truth) / (2 * np.pi)
    return np.round(cycles - np.round(np.nanmedian(cycles)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SURFACES)
def test_a_noisy_surface_is_recovered(name: str, method: str, tmp_path: Path) -> None:
    phase, gamma = interferogram(name)
    found, components = run(phase, gamma, method, tmp_path)
    assert (cycles_wrong(found, SURFACES[name]) == 0).all()
    np.testing.assert_allclose(np.angle(np.exp(1j * found) * np.conj(phase)), 0, atol=1e-3)
    assert (components == 1).mean() > 0.95
    assert found.dtype == np.float32
    assert components.dtype == np.uint32


@pytest.mark.parametrize("method", METHODS)
def test_the_constant_is_chosen_so_that_the_median_is_within_half_a_cycle(method: str, tmp_path: Path) -> None:
    phase, gamma = interferogram("ramp")
    found, components = run(phase, gamma, method, tmp_path)
    assert abs(np.median(found[components == 1])) <= np.pi


@pytest.mark.parametrize("method", METHODS)
def test_without_signal_there_is_no_phase_and_no_component(method: str, tmp_path: Path) -> None:
    phase, gamma = interferogram("bowl")
    phase[:, :20] = 0
    phase[60:70, 90:110] = 0
    found, components = run(phase, gamma, method, tmp_path)
    np.testing.assert_array_equal(np.isnan(found), phase == 0)
    assert (components[phase == 0] == 0).all()
    assert (cycles_wrong(found, SURFACES["bowl"])[phase != 0] == 0).mean() > 0.999


@pytest.mark.parametrize("method", METHODS)
def test_noise_between_two_islands_makes_two_components(method: str, tmp_path: Path) -> None:
    phase, gamma = interferogram("ramp", 0.9)
    water = np.s_[:, 56:72]
    rng = np.random.default_rng(3)
    phase[water] = np.exp(1j * rng.uniform(-np.pi, np.pi, phase[water].shape))
    gamma[water] = 0.03
    found, components = run(phase, gamma, method, tmp_path)
    left, right = np.bincount(components[:, :50].ravel()).argmax(), np.bincount(components[:, 80:].ravel()).argmax()
    assert left > 0
    assert right > 0
    for island in (np.s_[:, :50], np.s_[:, 80:]):
        assert (cycles_wrong(found[island], SURFACES["ramp"][island]) == 0).mean() > 0.99
    if method == "snaphu":
        assert left != right


@pytest.mark.parametrize("method", METHODS)
def test_an_interferogram_without_any_signal_is_all_holes(method: str, tmp_path: Path) -> None:
    found, components = run(np.zeros(SHAPE, np.complex64), np.zeros(SHAPE, np.float32), method, tmp_path)
    assert np.isnan(found).all()
    assert not components.any()


def test_tiles_stay_below_their_size() -> None:
    assert count_tiles((2500, 4000)) == (1, 1)
    for shape in ((2501, 4000), (9000, 7000), (100, 500_000)):
        rows, columns = count_tiles(shape)
        assert shape[0] / rows * (shape[1] / columns) <= kernel.TILE_PIXELS


@pytest.fixture
def twelve_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "TILE_PIXELS", SHAPE[0] * SHAPE[1] // 9)
    monkeypatch.setattr(kernel, "_TILE_OVERLAP", 20)
    assert count_tiles(SHAPE) == (3, 4)


@pytest.mark.usefixtures("twelve_tiles")
@pytest.mark.parametrize("name", SURFACES)
def test_a_surface_over_several_tiles_is_that_of_one(name: str, tmp_path: Path) -> None:
    """Signal on a slant, as a frame has it: there are tiles without any."""
    phase, gamma = interferogram(name, 0.9)
    phase[ROW + 60 < COLUMN] = 0
    phase[ROW > COLUMN + 55] = 0
    found, components = run(phase, gamma, "snaphu", tmp_path)
    np.testing.assert_array_equal(np.isnan(found), phase == 0)
    assert (cycles_wrong(found, SURFACES[name])[phase != 0] == 0).mean() > 0.999
    assert (components[phase != 0] == 1).mean() > 0.95


@pytest.mark.usefixtures("twelve_tiles")
def test_islands_apart_keep_their_shape_over_several_tiles(tmp_path: Path) -> None:
    phase, gamma = interferogram("bowl", 0.9)
    water = np.abs(COLUMN - 64 + 0.3 * (ROW - 50)) < 7
    rng = np.random.default_rng(3)
    phase[water] = np.exp(1j * rng.uniform(-np.pi, np.pi, int(water.sum())))
    gamma[water] = 0.03
    found, _ = run(phase, gamma, "snaphu", tmp_path)
    for island in (COLUMN < 40, COLUMN > 90):
        off = np.round((found - SURFACES["bowl"])[island] / (2 * np.pi))
        assert (off == np.median(off)).mean() > 0.995


def test_without_reliable_components_the_median_is_that_of_all_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phase, gamma = interferogram("ramp")
    phase[:, :100] = 0

    def unsure(*_: object) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        return np.where(phase != 0, 20 * np.pi + 0.1, 0).astype(np.float32), np.zeros(SHAPE, np.uint32)

    monkeypatch.setitem(sys.modules, "whirlwind", SimpleNamespace(unwrap=unsure))
    found, components = run(phase, gamma, "whirlwind", tmp_path)
    np.testing.assert_allclose(found[phase != 0], 0.1, atol=1e-4)
    assert not components.any()
