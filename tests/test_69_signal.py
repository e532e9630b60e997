"""Whether a pair has signal at all, judged by its coherence; against random signals that no formula made."""

from __future__ import annotations

import numpy as np
import pytest

from topsar.engines.facts import NO_SIGNAL, describe_signal
from topsar.kernels.statistics import coherence_at_zero

ROWS = 300


def estimate(gamma: float | np.ndarray, looks: int) -> np.ndarray:
    """The coherence of that many looks where the true one is ``gamma``."""
    rng = np.random.default_rng(looks)
    first, other = (rng.normal(size=(ROWS, ROWS, looks)) + 1j * rng.normal(size=(ROWS, ROWS, looks)) for _ in range(2))
    gamma = np.broadcast_to(gamma, (ROWS, ROWS))[..., None]
    second = gamma * first + np.sqrt(1 - gamma**2) * other
    cross = np.abs((first * second.conj()).sum(-1))
    return (cross / np.sqrt((np.abs(first) ** 2).sum(-1) * (np.abs(second) ** 2).sum(-1))).astype(np.float32)


@pytest.mark.parametrize("looks", [10, 40])
def test_no_signal_is_said(looks: int) -> None:
    coherence = estimate(0.0, looks)
    coherence[:20] = np.nan
    for error in (0.85, 1.0, 1.15):  # looks are known to a few percent
        told = describe_signal(coherence, coherence_at_zero(looks * error))
        assert told["signal_share"] < 0.006
        assert told["remarks"] == [NO_SIGNAL]


@pytest.mark.parametrize("looks", [10, 40])
def test_an_island_in_the_sea_is_signal(looks: int) -> None:
    island = np.zeros((ROWS, ROWS))
    island[100:160, 100:160] = 0.9  # 4 % of the scene
    told = describe_signal(estimate(island, looks), coherence_at_zero(looks))
    assert told["signal_share"] == pytest.approx(0.041, abs=0.006)
    assert told["remarks"] == []


def test_no_pixel_at_all_is_no_signal() -> None:
    assert describe_signal(np.full((2, 2), np.nan, np.float32), 0.1) == {"signal_share": 0.0, "remarks": [NO_SIGNAL]}
