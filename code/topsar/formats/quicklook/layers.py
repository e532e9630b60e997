"""The layers of a pair for the map of a page, which loads them when somebody looks."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from topsar.files import write_text
from topsar.formats.viewer import Shown, list_palettes, pack_scene
from topsar.interferogram import read_kind

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.formats.quicklook.view import Real, View
    from topsar.interferogram import LayerKind

LAYERS_FILE = "layers.js"
MOST_BYTES = 4_000_000
_STEPS = 200
"""Between the ends of the colours."""


def write_layers(view: View, folder: Path) -> Path:
    """Write ``layers.js``: a call of ``takeScene`` with all layers that are drawn as numbers.

    A page that was opened from the file system may load scripts beside it, but nothing else.

    Parameters
    ----------
    view : View
    folder : Path
    """
    kinds = (read_kind(view.ifg, name) for name in view.ifg.layers)
    shown = {
        kind.name: _show(view, kind)
        for kind in kinds
        if kind.drawing is not None and kind.drawing.style not in {"classes", "mask"}
    }
    shown["relief"] = Shown(values=255 * view.shade(), step=8, title="", unit="", style="unit", low=0, high=255)
    mask = "coherence" if "coherence" in shown else ""
    facts = view.ifg.facts
    title = f"{facts.get('reference_date', '')} → {facts.get('secondary_date', '')}"
    scene = pack_scene(view.grid, shown, MOST_BYTES, title=title, mask=mask, palettes=list_palettes())
    path = folder / LAYERS_FILE
    write_text(path, f"takeScene({json.dumps(scene)});\n")
    return path


def _show(view: View, kind: LayerKind) -> Shown:
    drawing = kind.drawing
    assert drawing is not None
    if drawing.style == "cyclic":
        values = view.average_phase(kind.name)
        low, high, step = -math.pi, math.pi, math.pi / 64
    else:
        values = _scale(view.average(kind.name), drawing.style) * np.float32(drawing.scale)
        if drawing.style in {"range", "symmetric"} and "components" in view.ifg.layers:
            values = np.where(view.pick_labels("components") > 0, values, np.float32(np.nan))
        low, high = (0.0, 1.0) if drawing.style == "unit" else _find_ends(values, is_even=drawing.style == "symmetric")
        step = (high - low) / _STEPS
    unit = "dB" if drawing.style in {"grey", "power"} else _name_unit(kind, drawing.scale)
    style = "unit" if drawing.style in {"grey", "power"} else drawing.style
    away, toward = (text.split("\n")[0] for text in drawing.ends)
    return Shown(
        values=values,
        step=step,
        title=kind.long_name,
        unit=unit,
        style=style,
        low=low,
        high=high,
        ends=(away, toward),
        note=kind.convention,
    )


def _scale(values: Real, style: str) -> Real:
    """Decibels of an amplitude or a power; others as they are."""
    if style not in {"grey", "power"}:
        return values
    with np.errstate(invalid="ignore", divide="ignore"):
        decibel = (20 if style == "grey" else 10) * np.log10(values)
    return np.where(np.isfinite(decibel), decibel, np.nan).astype(np.float32)


def _find_ends(values: Real, *, is_even: bool) -> tuple[float, float]:
    """What all but two of a hundred values lie between, around zero if that is the middle."""
    known = values[np.isfinite(values)]
    low, high = (float(one) for one in np.percentile(known, (1, 99))) if known.size else (0.0, 1.0)
    if is_even:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    if high - low < 1e-6:
        return low - 0.5, high + 0.5
    digit = 10.0 ** math.floor(math.log10(high - low) - 1)
    return round(math.floor(low / digit) * digit, 9), round(math.ceil(high / digit) * digit, 9)


def _name_unit(kind: LayerKind, scale: float) -> str:
    """The unit as shown: centimetres for metres times a hundred."""
    unit = "" if kind.unit == "1" else kind.unit
    return (
        unit if scale == 1 else {(100.0, "m"): "cm", (1000.0, "m"): "mm"}.get((scale, unit), f"{unit} × {1 / scale:g}")
    )
