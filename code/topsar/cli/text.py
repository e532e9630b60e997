"""Tables for the terminal that belong to one verb alone."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from topsar.settings import KEYS, format_value

if TYPE_CHECKING:
    from topsar.demo import Demonstration
    from topsar.settings import Settings


def format_demo(shown: Demonstration) -> str:
    """How far the demo's interferograms are from the truth, and from closing."""
    lines = [
        "\nUnfiltered phase minus truth where coherence is above 0.5, in radians:",
        f"{'pair':<38} {'pixels':>8} {'mean':>8} {'std':>7} {'expected':>9} {'tilt':>7} {'seams':>7}",
    ]
    for pair in shown.comparisons:
        lines.append(
            f"{pair.pair:<38} {pair.pixels:>8} {pair.mean_rad:>8.4f} {pair.deviation_rad:>7.4f} "
            f"{pair.expected_rad:>9.4f} {pair.tilt_rad:>7.4f} {pair.seam_rad:>7.4f}"
        )
    for loop in shown.closures:
        lines.append(
            f"closure of three pairs: mean {loop.mean_rad:.4f}, std {loop.deviation_rad:.4f} "
            f"(independent noise would give {loop.expected_rad:.4f})"
        )
    return "\n".join(lines) + "\n"


def format_settings(settings: Settings) -> str:
    """Every setting with value, origin, meaning and allowed values."""
    lines = [f"data folder   {settings.data}\nlist of pairs {settings.pairs}\n"]
    origins = settings.origins
    for key in KEYS:
        lines.append(f"{key.name + ' = ' + format_value(getattr(settings, key.field)):<40} ({origins[key.name]})")
        text = f"{key.meaning}. Value: {key.allowed}."
        lines.append(textwrap.fill(text, width=110, initial_indent="    ", subsequent_indent="    "))
    return "\n".join(lines)
