"""Pictures of an interferogram that a scientist would put on a slide."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

from topsar.files import atomic_path
from topsar.formats.quicklook import palette
from topsar.formats.quicklook.sheet import ColourBar, Key, Lettering, Sheet, draw
from topsar.formats.quicklook.view import Real, View, view_of
from topsar.interferogram import Interferogram

MAX_BYTES = 1_400_000
"""A larger picture is brought to 256 colours."""

FADED, CLEAR = 0.12, 0.40
"""Coherence at which the colour of phase is gone, and where it is full."""

GROUND_GREY = 0.93
RELIEF = 0.28
"""How much light and shadow change the brightness of a draped colour."""

MASK_INK = 0.75
"""How much of a masked pixel is the colour of its mask; the rest is amplitude."""

NAMED_COMPONENTS = 8
UNRELIABLE = "grey where unwrapping is not reliable"
CENTIMETRES = {"m": 100.0, "cm": 1.0, "mm": 0.1}

Picture = tuple[NDArray[np.float32], ColourBar | Key, str, str]
"""RGBA (rows, columns, 4), its legend, a title and a note."""


def write_quicklooks(ifg: Interferogram, folder: Path) -> tuple[Path, ...]:
    """Draw every layer that has a picture as ``<name>.png`` (about 1600 × 1200 pixels); returns the paths.

    Large grids are averaged to the size of the picture, phase as complex numbers; the map is cut to the data.

    Raises
    ------
    ProductError
        If a file cannot be written.
    """
    view = view_of(ifg)
    paths = []
    for name, paint in _PAINTERS.items():
        picture = paint(view)
        if picture is not None:
            paths.append(folder / f"{name}.png")
            _write(paths[-1], view, picture)
    return tuple(paths)


def _write(path: Path, view: View, picture: Picture) -> None:
    rgba, legend, title, note = picture
    sheet = Sheet(
        rgba=rgba,
        grid=view.grid,
        legend=legend,
        lettering=_lettering(view.ifg, title, note),
        look_azimuth_deg=_look_azimuth_deg(view),
    )
    image = Image.fromarray(draw(sheet)).convert("RGB")
    content = _png(image)
    if len(content) > MAX_BYTES:
        content = _png(image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
    with atomic_path(path) as part:
        part.write_bytes(content)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=3)
    return stream.getvalue()


# --- pictures ---------------------------------------------------------------------------------------------------


def _wrapped(name: str, title: str) -> Callable[[View], Picture | None]:
    def paint(view: View) -> Picture | None:
        phase = view.phase(name)
        if phase is None:
            return None
        colour = palette.cyclic()((phase + np.pi) / (2 * np.pi) % 1.0)[..., :3]
        rgba = _over_ground(colour, view.shade(), np.isfinite(phase), _clarity(view))
        ticks = ((-math.pi, "−π"), (-math.pi / 2, "−π/2"), (0.0, "0"), (math.pi / 2, "π/2"), (math.pi, "π"))
        bar = ColourBar(cmap=palette.cyclic(), low=-math.pi, high=math.pi, label="Phase (rad)", ticks=ticks)
        return rgba, bar, title, "Colour fades where coherence is low" if "coherence" in view.ifg.layers else ""

    return paint


def _unwrapped(view: View) -> Picture | None:
    phase = view.mean("unwrapped_phase")
    if phase is None:
        return None
    low, high = _robust_range(phase)
    cmap = matplotlib.colormaps["viridis"]
    rgba = _draped(cmap((phase - low) / (high - low))[..., :3], view.shade(), np.isfinite(phase) & _reliable(view))
    bar = ColourBar(cmap=cmap, low=low, high=high, label="Unwrapped phase (rad)", extend="both")
    return _with_ground(view, rgba), bar, "Unwrapped phase", f"Positive: range grew; {UNRELIABLE}"


def _displacement(view: View) -> Picture | None:
    metres = view.mean("displacement")
    if metres is None:
        return None
    centimetres = metres * CENTIMETRES.get(view.ifg.layers["displacement"].unit, 100.0)
    limit = max(abs(x) for x in _robust_range(centimetres))
    inside = np.isfinite(centimetres) & _reliable(view)
    rgba = _draped(palette.diverging()((centimetres / limit + 1) / 2)[..., :3], view.shade(), inside)
    bar = ColourBar(
        cmap=palette.diverging(),
        low=-limit,
        high=limit,
        label="Displacement in line of sight (cm)",
        extend="both",
        ends=("away from\nthe satellite", "toward\nthe satellite"),
    )
    return _with_ground(view, rgba), bar, "Line-of-sight displacement", f"Up to a constant; {UNRELIABLE}"


def _coherence(view: View) -> Picture | None:
    coherence = view.mean("coherence")
    if coherence is None:
        return None
    cmap = matplotlib.colormaps["gray"]
    bar = ColourBar(cmap=cmap, low=0.0, high=1.0, label="Coherence")
    mean = float(np.nanmean(coherence)) if np.isfinite(coherence).any() else math.nan
    return _plain(cmap(np.nan_to_num(coherence)), coherence), bar, "Coherence", f"Mean {mean:.2f}"


def _amplitude(view: View) -> Picture | None:
    amplitude = view.mean("amplitude")
    if amplitude is None:
        return None
    decibel = 20 * np.log10(np.where(amplitude > 0, amplitude, np.nan))
    low, high = _robust_range(decibel, share=1.0)
    cmap = matplotlib.colormaps["gray"]
    bar = ColourBar(cmap=cmap, low=low, high=high, label="Amplitude (dB)", extend="both")
    return _plain(cmap((decibel - low) / (high - low)), decibel), bar, "Amplitude", "Uncalibrated"


def _components(view: View) -> Picture | None:
    labels = view.labels("components")
    if labels is None:
        return None
    inside = np.isfinite(labels) | _covered(view)
    numbers = np.nan_to_num(labels).astype(np.int64)
    colours = np.array([(0.86, 0.86, 0.86), *map(to_rgb, palette.COMPONENTS)], np.float32)
    index = np.where(numbers > 0, (numbers - 1) % len(palette.COMPONENTS) + 1, 0)
    rgba = _draped(colours[index], view.shade(), inside)
    return rgba, _component_key(numbers[inside]), "Connected components", "Phase is consistent inside one component"


def _component_key(numbers: NDArray[np.int64]) -> Key:
    present, counts = np.unique(numbers, return_counts=True)
    shares = dict(zip(present.tolist(), (counts / max(numbers.size, 1)).tolist(), strict=True))
    largest = sorted((n for n in shares if n > 0), key=lambda n: -shares[n])[:NAMED_COMPONENTS]
    entries = [(palette.COMPONENTS[(n - 1) % len(palette.COMPONENTS)], f"{n}  ({shares[n]:.1%})") for n in largest]
    if 0 in shares:
        entries.append(("#dbdbdb", f"none  ({shares[0]:.1%})"))
    if (more := len(shares) - (0 in shares) - len(largest)) > 0:
        entries.append(("white", f"{more} more"))
    return Key(entries=tuple(entries), label="Component")


def _masks(view: View) -> Picture | None:
    """Layover, shadow and water over the amplitude; no picture where there is none of them."""
    folded, water, amplitude = view.labels("layover_shadow"), view.labels("water"), view.mean("amplitude")
    if folded is None or water is None or amplitude is None:
        return None
    bits = np.nan_to_num(folded).astype(np.int64)
    index = np.where(bits > 0, bits + 1, np.nan_to_num(water)).astype(np.int64)
    seen = np.isfinite(amplitude)
    if not index[seen].any():
        return None
    decibel = 20 * np.log10(np.where(amplitude > 0, amplitude, np.nan))
    low, high = _robust_range(decibel, share=1.0)
    grey = matplotlib.colormaps["gray"](np.nan_to_num((decibel - low) / (high - low)))[..., :3]
    colours = np.array([(0, 0, 0), *(to_rgb(colour) for colour, _ in palette.MASKS)], np.float32)
    keep = np.where(index > 0, MASK_INK, 0.0)[..., np.newaxis]
    shares = np.bincount(index[seen], minlength=len(colours)) / seen.sum()
    entries = [
        (colour, f"{name}  {share:.1%}")
        for (colour, name), share in zip(palette.MASKS, shares[1:], strict=True)
        if share
    ]
    rgba = _with_alpha(grey * (1 - keep) + colours[index] * keep, seen)
    return rgba, Key(entries=tuple(entries), label="Mask"), "Layover, shadow, water", "Over the amplitude"


_PAINTERS: dict[str, Callable[[View], Picture | None]] = {
    "wrapped_phase": _wrapped("wrapped_phase", "Wrapped phase"),
    "filtered_phase": _wrapped("filtered_phase", "Filtered phase"),
    "unwrapped_phase": _unwrapped,
    "displacement": _displacement,
    "coherence": _coherence,
    "amplitude": _amplitude,
    "components": _components,
    "masks": _masks,
}


# --- paint ------------------------------------------------------------------------------------------------------


def _clarity(view: View) -> Real:
    """How much of its colour a pixel keeps, 0 to 1, by its coherence."""
    coherence = view.mean("coherence")
    if coherence is None:
        return np.ones(view.grid.shape, np.float32)
    x = np.clip((np.nan_to_num(coherence) - FADED) / (CLEAR - FADED), 0.0, 1.0)
    clarity: Real = x * x * (3 - 2 * x)
    return clarity


def _reliable(view: View) -> NDArray[np.bool_]:
    """Where unwrapping can be trusted: inside a connected component."""
    labels = view.labels("components")
    return np.ones(view.grid.shape, bool) if labels is None else np.nan_to_num(labels) > 0


def _covered(view: View) -> NDArray[np.bool_]:
    """Where the radar saw the ground."""
    seen = np.zeros(view.grid.shape, bool)
    for name in ("coherence", "amplitude", "wrapped_phase"):
        if (values := view.mean(name)) is not None:
            seen |= np.isfinite(values)
    return seen


def _ground(shade: Real) -> Real:
    """Relief as light grey."""
    return np.asarray(np.repeat((GROUND_GREY + 0.30 * (shade - 0.5))[..., np.newaxis], 3, axis=2).clip(0, 1))


def _over_ground(colour: NDArray[Any], shade: Real, inside: NDArray[np.bool_], clarity: Real) -> NDArray[np.float32]:
    keep = clarity[..., np.newaxis]
    lit = colour * (1 + 0.16 * (shade[..., np.newaxis] - 0.5))
    return _with_alpha(lit * keep + _ground(shade) * (1 - keep), inside)


def _draped(colour: NDArray[Any], shade: Real, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Colour laid over relief."""
    return _with_alpha(colour * (1 + RELIEF * (shade[..., np.newaxis] - 0.5)), inside)


def _with_ground(view: View, rgba: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bare relief where the radar saw the ground but the layer has no value."""
    shade = view.shade()
    bare = _covered(view) & (rgba[..., 3] == 0)
    rgba[bare] = np.concatenate([_ground(shade), np.ones((*shade.shape, 1), np.float32)], axis=2)[bare]
    return rgba


def _plain(rgba: NDArray[Any], values: Real) -> NDArray[np.float32]:
    return _with_alpha(rgba[..., :3], np.isfinite(values))


def _with_alpha(rgb: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    opaque = inside[..., np.newaxis]
    return np.concatenate([np.where(opaque, rgb, 1.0).clip(0, 1), opaque], axis=2).astype(np.float32)


def _robust_range(values: NDArray[Any], share: float = 0.2) -> tuple[float, float]:
    """From the ``share`` to the 100 - ``share`` percentile, never empty."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return -1.0, 1.0
    low, high = (float(x) for x in np.percentile(finite, (share, 100 - share)))
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _look_azimuth_deg(view: View) -> float | None:
    """Where the radar looks, clockwise from north, from the line-of-sight layers; None without them."""
    east, north, up = (view.mean(f"los_{axis}") for axis in ("east", "north", "up"))
    if east is None or north is None or up is None or not np.isfinite(east + north + up).any():
        return None
    e, n, u = (float(np.nanmean(x)) for x in (east, north, up))
    sign = 1.0 if u >= 0 else -1.0
    return math.degrees(math.atan2(-sign * e, -sign * n))


# --- words ------------------------------------------------------------------------------------------------------


def _lettering(ifg: Interferogram, title: str, note: str) -> Lettering:
    facts = ifg.facts
    first, second = (_text(facts.get(key)) for key in ("reference_date", "secondary_date"))
    subtitle = [
        f"Track {_text(facts['track'])}" if facts.get("track") is not None else "",
        _text(facts.get("direction")),
        _days(facts),
        _baseline(facts.get("perpendicular_baseline_m")),
    ]
    engine = " ".join(filter(None, (_text(facts.get("engine")), _text(facts.get("engine_version")))))
    caption = [
        f"topsar, {engine} engine" if engine else "topsar",
        f"{_looks(facts['looks'])} looks" if facts.get("looks") else "",
        f"{ifg.grid.dx:g} m posting" if ifg.grid.dx > 1 else f"{ifg.grid.dx * 3600:.3g}″ posting",
        ifg.grid.crs if len(ifg.grid.crs) < 16 else "",
    ]
    return Lettering(
        title=title,
        dates=f"{first} → {second}" if first and second else ifg.pair_id,
        subtitle="   ·   ".join(filter(None, subtitle)),
        caption="  ·  ".join(filter(None, caption)),
        note=note,
    )


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    return "" if value is None else str(value)


def _looks(value: Any) -> str:
    return _text(value).replace("x", " × ")


def _baseline(value: Any) -> str:
    return f"B⊥ {value:+.0f} m".replace("-", "−") if isinstance(value, int | float) and math.isfinite(value) else ""


def _days(facts: dict[str, Any]) -> str:
    days = facts.get("temporal_baseline_days")
    if days is None:
        try:
            first, second = (date.fromisoformat(str(facts[key])[:10]) for key in ("reference_date", "secondary_date"))
        except (KeyError, ValueError):
            return ""
        days = (second - first).days
    return f"{days:g} day{'' if days == 1 else 's'}"
