"""The triangles of dates that close worst, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.wording import DASH, safe

if TYPE_CHECKING:
    from topsar.report.closure import Closure, Closures

MOST_ROWS = 20

_HEADS = ("Mean (rad)", "rms (rad)", "Independent noise (rad)", "Pixels", "Jumps")
_NOTE = (
    "Wrapped phase a→b plus b→c minus a→c, unfiltered, where all three pairs have a coherence above 0.5. Deformation, "
    "atmosphere and orbits cancel exactly. What stays is noise (less than three independent pairs would have: they "
    "share dates), and what averaging over looks leaves where the scatterers of a pixel change in different ways, as "
    "with soil moisture and vegetation. So a mean of some hundredths of a radian is usual. A larger one, or an rms "
    "above independent noise, says that something other than the ground is in one of the pairs, not in which. Jumps: "
    "share of the unwrapped pixels that close to another number of cycles than most, each an unwrapping error in at "
    "least one pair."
)


def closures_section(closures: Closures | None) -> str:
    """The section Closure, worst rms first; empty where no three pairs form a triangle."""
    if closures is None or not closures.found:
        return ""
    worst = sorted(closures.found, key=lambda one: -one.rms_rad)[:MOST_ROWS]
    head = "<th>Dates</th>" + "".join(f'<th class="n">{name}</th>' for name in _HEADS)
    table = (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_row(one) for one in worst)}</tbody></table></div>"
    )
    return (
        f'<h2>Closure</h2><p class="muted small">{safe(_counted(closures, len(worst)))}</p>{table}'
        f'<p class="muted small">{safe(_NOTE)}</p>'
    )


def _counted(closures: Closures, shown: int) -> str:
    said = f"{closures.total} triangle{'s' if closures.total > 1 else ''} of pairs"
    if closures.total > len(closures.found):
        said += f", {len(closures.found)} of them closed (those with coherent pixels and the shortest spans)"
    return said + (f"; the {shown} worst are shown." if shown < len(closures.found) else ".")


def _row(one: Closure) -> str:
    numbers = (
        f"{one.mean_rad:+.4f}",
        f"{one.rms_rad:.3f}",
        f"{one.expected_rad:.3f}",
        f"{one.pixels}",
        DASH if one.jumps is None else f"{100 * one.jumps:.2f} %",
    )
    cells = "".join(f'<td class="n">{safe(text).replace("-", "−")}</td>' for text in numbers)
    return f'<tr><td class="nowrap">{safe(" → ".join(one.dates))}</td>{cells}</tr>'
