"""Colours: a cyclic scale for phase, a diverging one for displacement, a qualitative one for components."""

from __future__ import annotations

from matplotlib.colors import LinearSegmentedColormap

COMPONENTS = ("#6c9bd2", "#eda55d", "#77b98a", "#d07a76", "#a98fc9", "#d8c25f", "#79c0cd", "#b48a70")
"""Colours of connected components 1, 2, ...; they repeat."""

_CYCLE = (
    "#dac433 #c0cc43 #9ed161 #7bcf7e #5dca93 #41c0a3 #23b5ae #05aab6 #119dbc #2b90c1 #3d85c7 #5479ce "
    "#6c6ed1 #8466d0 #9d60c7 #b45fba #c961ac #dc679b #ec7189 #f67e78 #fd8d66 #fe9c54 #faaa44 #eeb834 #dac433"
)
_AWAY_TO_TOWARD = "#6b0f1f #b5313a #e08468 #f3c6ad #efece6 #b5d2e3 #6ea9cd #2b6ca8 #12386b"

PHASE = LinearSegmentedColormap.from_list("phase", _CYCLE.split())
"""Even steps of hue in Oklab (B. Ottosson, 2020), once round; lightness goes up and down once, to read without hue."""
DISPLACEMENT = LinearSegmentedColormap.from_list("displacement", _AWAY_TO_TOWARD.split())
"""Red (away) over a warm white (still) to blue (toward), of the same darkness at both ends."""
