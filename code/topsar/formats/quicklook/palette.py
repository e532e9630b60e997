"""Colours: a cyclic scale for phase, a diverging one for displacement, a qualitative one for components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL.ImageColor import getrgb

COMPONENTS = ("#6c9bd2", "#eda55d", "#77b98a", "#d07a76", "#a98fc9", "#d8c25f", "#79c0cd", "#b48a70")
"""Colours of connected components 1, 2, ...; they repeat."""

_CYCLE = (
    "#dac433 #c0cc43 #9ed161 #7bcf7e #5dca93 #41c0a3 #23b5ae #05aab6 #119dbc #2b90c1 #3d85c7 #5479ce "
    "#6c6ed1 #8466d0 #9d60c7 #b45fba #c961ac #dc679b #ec7189 #f67e78 #fd8d66 #fe9c54 #faaa44 #eeb834 #dac433"
)
_VIRIDIS = (
    "#440154 #471164 #482071 #472e7c #443b84 #3f4889 #3a548c #34608d #2f6c8e #2a768e #26818e #228b8d #1f958b #1fa088 "
    "#24aa83 #2fb47c #42be71 #58c765 #70cf57 #8bd646 #a8db34 #c5e021 #e2e418 #fde725"
)
_AWAY_TO_TOWARD = "#6b0f1f #b5313a #e08468 #f3c6ad #efece6 #b5d2e3 #6ea9cd #2b6ca8 #12386b"

_STEPS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """Colours from the low end of a scale to the high one: (256, 3) of red, green and blue.

    ``table`` has them from 0 to 1, ``levels`` as bytes.
    """

    table: NDArray[np.float32]
    levels: NDArray[np.uint8]

    def pick(self, share: ArrayLike) -> NDArray[np.float32]:
        """Pick the colours of shares of the way, as an axis of three; beyond the ends, and of NaN, that of an end."""
        return np.asarray(self.table[self.find_steps(share)])

    def pick_bytes(self, share: ArrayLike) -> NDArray[np.uint8]:
        """Pick as `pick` does, 0 to 255."""
        return np.asarray(self.levels[self.find_steps(share)])

    def write(self, share: float) -> str:
        """Write the colour of a share as ``#rrggbb``."""
        return "#" + bytes(np.rint(self.pick(share) * 255).astype(np.uint8)).hex()

    @staticmethod
    def find_steps(share: ArrayLike) -> NDArray[np.uint8]:
        """Find which of the colours are those of shares of the way."""
        return np.asarray(np.clip(np.nan_to_num(share) * _STEPS, 0, _STEPS - 1)).astype(np.uint8)


def _blend(colours: Sequence[str]) -> Colours:
    """Go from colour to colour in equal steps."""
    at, known = np.linspace(0, len(colours) - 1, _STEPS), np.array([getrgb(colour) for colour in colours]) / 255
    table = np.stack([np.interp(at, np.arange(len(colours)), part) for part in known.T], axis=1)
    return Colours(table.astype(np.float32), (table * 255).astype(np.uint8))


PHASE = _blend(_CYCLE.split())
"""Even steps of hue in Oklab (B. Ottosson, 2020), once round; lightness goes up and down once, to read without hue."""
DISPLACEMENT = _blend(_AWAY_TO_TOWARD.split())
"""Red (away) over a warm white (still) to blue (toward), of the same darkness at both ends."""
RANGE = _blend(_VIRIDIS.split())
"""Viridis (S. van der Walt and N. Smith, 2015), within 1 % of its colours."""
GREY = _blend(("#000000", "#ffffff"))
