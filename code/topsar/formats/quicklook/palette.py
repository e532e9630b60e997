"""Colours: a cyclic scale for phase, a diverging one for displacement, a qualitative one for components."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from numpy.typing import NDArray

COMPONENTS = ("#6c9bd2", "#eda55d", "#77b98a", "#d07a76", "#a98fc9", "#d8c25f", "#79c0cd", "#b48a70")
"""Colours of connected components 1, 2, ...; they repeat."""

STEPS = 256
MAX_CHROMA, SMOOTHING = 0.16, 41


def _oklch_to_rgb(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue_rad: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Oklab (B. Ottosson, "A perceptual color space for image processing", 2020) to linear-light sRGB, (n, 3)."""
    lab = np.stack([lightness, chroma * np.cos(hue_rad), chroma * np.sin(hue_rad)], axis=-1)
    cone = lab @ np.array(
        [[1.0, 1.0, 1.0], [0.3963377774, -0.1055613458, -0.0894841775], [0.2158037573, -0.0638541728, -1.2914855480]]
    )
    linear: NDArray[np.float64] = cone**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    return linear


def _apply_gamma(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light to sRGB."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@lru_cache(maxsize=1)
def make_cyclic() -> ListedColormap:
    """Hue goes round once at even steps; lightness breathes once, so that fringes read without colour too."""
    turn = 2 * np.pi * np.arange(STEPS) / STEPS
    lightness = 0.70 + 0.115 * np.cos(turn)
    hue = turn + np.radians(100)
    reach = np.full(STEPS, MAX_CHROMA)
    for chroma in np.arange(MAX_CHROMA, 0.0, -0.002):
        linear = _oklch_to_rgb(lightness, np.minimum(reach, chroma), hue)
        outside = (linear.min(axis=1) < 0) | (linear.max(axis=1) > 1)
        reach[outside] = chroma - 0.002
    smooth = _take_neighbours(_take_neighbours(reach).min(axis=1)).mean(axis=1)
    return ListedColormap(_apply_gamma(_oklch_to_rgb(lightness, smooth, hue)), name="phase")


def _take_neighbours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The `SMOOTHING` values around each one on a circle, (n, SMOOTHING)."""
    half = SMOOTHING // 2
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, half, mode="wrap"), SMOOTHING)


@lru_cache(maxsize=1)
def make_diverging() -> LinearSegmentedColormap:
    """Red (away) over a warm white (still) to blue (toward), of the same darkness at both ends."""
    anchors = ["#6b0f1f", "#b5313a", "#e08468", "#f3c6ad", "#efece6", "#b5d2e3", "#6ea9cd", "#2b6ca8", "#12386b"]
    return LinearSegmentedColormap.from_list("displacement", anchors, N=STEPS)
