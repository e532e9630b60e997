"""One picture per layer, in the style that its kind names, and one of all masks."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.ImageColor import getrgb
from scipy.ndimage import median_filter

from topsar.files import atomic_path
from topsar.formats.quicklook import palette
from topsar.formats.quicklook.legend import ColourBar, Key
from topsar.formats.quicklook.sheet import Board, Lettering
from topsar.formats.quicklook.view import Real, View, cut_view
from topsar.interferogram import read_kind, read_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.formats.quicklook.palette import Colours
    from topsar.interferogram import Drawing, Interferogram, LayerKind

MAX_BYTES = 1_400_000
"""A larger picture is brought to 256 colours."""

FADED, CLEAR = 0.12, 0.40
"""Coherence at which the colour of phase is gone, and where it is full."""

GROUND_GREY, UNRELIABLE_GREY = 0.93, 0.52
"""Ground without colour, and where unwrapping cannot be trusted: as far from white, no displacement, as grey can be."""
RELIEF = 0.28
"""How much light and shadow change the brightness of a draped colour."""

MASK_INK, STRIPE = 0.75, 4
"""How much of a masked pixel is the colour of its mask; the rest is amplitude. Where masks overlap they are striped."""

NAMED_COMPONENTS = 8
NO_COMPONENT = "#dbdbdb"

_SIGNATURE, _UP, _RGB = b"\x89PNG\r\n\x1a\n", 2, 2
"""Of PNG (ISO/IEC 15948): the first bytes, the filter of differences to the row above, the type of colour."""

Picture = tuple["NDArray[np.float32]", ColourBar | Key, str]
"""RGBA (rows, columns, 4), its legend, and a note."""


def draw_pictures(ifg: Interferogram, folder: Path) -> tuple[Path, ...]:
    """Draw every layer that has a picture as ``<name>.png`` (about 1600 × 1200 pixels), and ``masks.png``.

    Large grids are averaged to the size of the picture, phase as complex numbers; the map is cut to the data. There is
    no ``masks.png`` where nothing is masked.

    Parameters
    ----------
    ifg : Interferogram
    folder : Path
    """
    return draw_view(cut_view(ifg), folder)


def draw_view(view: View, folder: Path) -> tuple[Path, ...]:
    """Draw the pictures of a view, as `draw_pictures` does."""
    board = Board(view.grid, _find_covered(view), _make_lettering(view.ifg), _find_look_azimuth_deg(view))
    paths = []
    for name, title, paint in _list_pictures(view):
        if (picture := paint()) is not None:
            rgba, legend, note = picture
            paths.append(folder / f"{name}.png")
            _write(paths[-1], board.draw_sheet(rgba, legend, title, note))
    return tuple(paths)


def _list_pictures(view: View) -> Iterator[tuple[str, str, Callable[[], Picture | None]]]:
    """Name, title and painter of each picture that the layers allow."""
    masks = []
    for name in view.ifg.layers:
        kind = read_kind(view.ifg, name)
        drawing = kind.drawing
        if drawing is not None and drawing.style == "mask":
            masks.append(kind)
        elif drawing is not None:
            yield name, kind.long_name, partial(_STYLES[drawing.style], view, name, drawing)
    if masks and "amplitude" in view.ifg.layers:
        yield "masks", "Layover, shadow, water", partial(_paint_masks, view, masks)


def _write(path: Path, image: Image.Image) -> None:
    content = _encode_png(image)
    if len(content) > MAX_BYTES:
        content = _encode_png(_reduce_colours(image))
    with atomic_path(path) as part:
        part.write_bytes(content)


def _reduce_colours(image: Image.Image) -> Image.Image:
    """Bring a picture to the 256 colours that a ninth of its pixels ask for."""
    some = image.resize((image.width // 3, image.height // 3), Image.Resampling.NEAREST)
    palette_image = some.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return image.quantize(palette=palette_image, dither=Image.Dither.NONE)


def _encode_png(image: Image.Image) -> bytes:
    """Encode a picture, each row as its difference to the one above; Pillow tries five filters, which takes longer."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:  # numbers of colours, which have no use for differences
        image.save(stream := io.BytesIO(), format="PNG", compress_level=3)
        return stream.getvalue()
    rows = pixels.reshape(image.height, -1)
    filtered = np.empty((image.height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, _RGB, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(filtered.tobytes(), 1), b"IEND")
    return _SIGNATURE + b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)


def _paint_cyclic(view: View, name: str, drawing: Drawing) -> Picture:
    phase = view.average_phase(name)
    colour = palette.PHASE.pick((phase + np.pi) / (2 * np.pi) % 1.0)
    shade, keep = view.shade(), _find_clarity(view)[..., np.newaxis]
    lit = colour * (1 + 0.16 * (shade[..., np.newaxis] - 0.5))
    rgba = _add_alpha(lit * keep + _make_ground(shade) * (1 - keep), np.isfinite(phase))
    ticks = ((-math.pi, "−π"), (-math.pi / 2, "−π/2"), (0.0, "0"), (math.pi / 2, "π/2"), (math.pi, "π"))
    bar = ColourBar(colours=palette.PHASE, low=-math.pi, high=math.pi, label=drawing.label, ticks=ticks)
    return rgba, bar, "Colour fades where coherence is low" if "coherence" in view.ifg.layers else ""


def _paint_range(view: View, name: str, drawing: Drawing) -> Picture:
    return _drape_scale(view, name, drawing, palette.RANGE)


def _paint_symmetric(view: View, name: str, drawing: Drawing) -> Picture:
    return _drape_scale(view, name, drawing, palette.DISPLACEMENT)


def _drape_scale(view: View, name: str, drawing: Drawing, colours: Colours) -> Picture:
    """Colours of a scale over the relief, grey where the radar saw the ground but unwrapping cannot be trusted."""
    values, shade = view.average(name) * drawing.scale, view.shade()
    inside = np.isfinite(values)
    components = np.ones(values.shape, np.int64)
    if "components" in view.ifg.layers:
        components = np.nan_to_num(view.pick_labels("components")).astype(np.int64)
        inside &= components > 0
    largest = np.bincount(components[inside], minlength=2)[1:].argmax() + 1
    low, high = _find_range(np.where(inside & (components == largest), values, np.nan))
    if drawing.style == "symmetric":
        low, high = -max(-low, high), max(-low, high)
    rgba = _drape(colours.pick((values - low) / (high - low)), shade, inside)
    bare = _find_covered(view) & ~inside
    rgba[bare, :3], rgba[bare, 3] = _make_ground(shade, UNRELIABLE_GREY)[bare], 1
    beyond = (values[inside] < low).any(), (values[inside] > high).any()
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(beyond, "both")
    bar = ColourBar(colours=colours, low=low, high=high, label=drawing.label, extend=extend, ends=drawing.ends)
    return rgba, bar, drawing.note


def _find_range(values: Real) -> tuple[float, float]:
    """Least and greatest value that its neighbours bear out: a peak sets the scale, a single pixel does not."""
    finite = np.isfinite(values)
    if not finite.any():
        return -1.0, 1.0
    medians = median_filter(np.where(finite, values, np.median(values[finite])), size=3)
    steady = finite & (np.abs(values - medians) <= 0.1 * np.ptp(medians))
    low, high = (float(extreme) for extreme in (values[steady].min(), values[steady].max()))
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _paint_unit(view: View, name: str, drawing: Drawing) -> Picture:
    values = view.average(name)
    bar = ColourBar(colours=palette.GREY, low=0.0, high=1.0, label=drawing.label)
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
    return _add_alpha(palette.GREY.pick(values), np.isfinite(values)), bar, drawing.note.format(mean=mean)


def _paint_grey(view: View, name: str, drawing: Drawing) -> Picture:
    grey, ends = _find_decibel_grey(view.average(name))
    return _add_decibel_bar(grey, ends, drawing)


def _paint_power(view: View, name: str, drawing: Drawing) -> Picture:
    """Decibels of a power, black where there is less than noise."""
    power = view.average(name)
    grey, ends = _find_decibel_grey(np.sqrt(np.maximum(power, 0)))
    black = np.where(np.isfinite(power)[..., np.newaxis], np.nan_to_num(grey), np.nan)
    return _add_decibel_bar(black, ends, drawing)


def _add_decibel_bar(grey: NDArray[Any], ends: tuple[float, float], drawing: Drawing) -> Picture:
    low, high = ends
    bar = ColourBar(colours=palette.GREY, low=low, high=high, label=drawing.label, extend="both")
    return _add_alpha(grey, np.isfinite(grey).all(axis=2)), bar, drawing.note


def _paint_classes(view: View, name: str, drawing: Drawing) -> Picture:
    labels = view.pick_labels(name)
    inside = np.isfinite(labels) | _find_covered(view)
    numbers = np.nan_to_num(labels).astype(np.int64)
    colours = np.array([getrgb(colour) for colour in (NO_COMPONENT, *palette.COMPONENTS)], np.float32) / 255
    index = np.where(numbers > 0, (numbers - 1) % len(palette.COMPONENTS) + 1, 0)
    rgba = _drape(colours[index], view.shade(), inside)
    return rgba, _make_component_key(numbers[inside], drawing.label), drawing.note


def _make_component_key(numbers: NDArray[np.int64], label: str) -> Key:
    present, counts = np.unique(numbers, return_counts=True)
    shares = dict(zip(present.tolist(), (counts / max(numbers.size, 1)).tolist(), strict=True))
    largest = sorted((n for n in shares if n > 0), key=lambda n: -shares[n])[:NAMED_COMPONENTS]
    entries = [(palette.COMPONENTS[(n - 1) % len(palette.COMPONENTS)], f"{n}  ({shares[n]:.1%})") for n in largest]
    if 0 in shares:
        entries.append((NO_COMPONENT, f"none  ({shares[0]:.1%})"))
    if (more := len(shares) - (0 in shares) - len(largest)) > 0:
        entries.append(("white", f"{more} more"))
    return Key(entries=tuple(entries), label=label)


_STYLES: dict[str, Callable[[View, str, Drawing], Picture]] = {
    "cyclic": _paint_cyclic,
    "symmetric": _paint_symmetric,
    "range": _paint_range,
    "unit": _paint_unit,
    "grey": _paint_grey,
    "power": _paint_power,
    "classes": _paint_classes,
}


def _paint_masks(view: View, masks: Sequence[LayerKind]) -> Picture | None:
    """All masks over the amplitude, in stripes where several hold; None where nothing is masked."""
    amplitude = view.average("amplitude")
    seen, index = np.isfinite(amplitude), np.zeros(amplitude.shape, np.int64)
    stripes = np.indices(index.shape).sum(axis=0) // STRIPE % len(masks)
    colours, entries = [(0, 0, 0)], []
    for place, kind in enumerate(masks):
        values = np.nan_to_num(view.pick_labels(kind.name)).astype(np.int64)
        index = np.where((values > 0) & ((index == 0) | (stripes == place)), values + len(colours) - 1, index)
        for value, (colour, name) in enumerate(kind.drawing.classes if kind.drawing else (), start=1):
            colours.append(getrgb(colour)[:3])
            if share := ((values == value) & seen).sum() / max(seen.sum(), 1):
                entries.append((colour, f"{name}  {share:.1%}"))
    if not entries:
        return None
    grey = np.nan_to_num(_find_decibel_grey(amplitude)[0])
    keep = np.where(index > 0, MASK_INK, 0.0)[..., np.newaxis]
    rgba = _add_alpha(grey * (1 - keep) + np.array(colours, np.float32)[index] / 255 * keep, seen)
    return rgba, Key(entries=tuple(entries), label="Mask"), "Over the amplitude"


def _find_decibel_grey(amplitude: Real) -> tuple[NDArray[Any], tuple[float, float]]:
    """Grey of an amplitude in decibels, NaN where there is none, and the decibels that are black and white."""
    decibel = 20 * np.log10(np.where(amplitude > 0, amplitude, np.nan))
    finite = decibel[np.isfinite(decibel)]
    low, high = (float(x) for x in np.percentile(finite, (1, 99))) if finite.size else (-1.0, 1.0)
    high = max(high, low + 1e-6)
    grey = palette.GREY.pick((decibel - low) / (high - low))
    return np.where(np.isfinite(decibel)[..., np.newaxis], grey, np.nan), (low, high)


def _find_clarity(view: View) -> Real:
    """How much of its colour a pixel keeps, 0 to 1, by its coherence."""
    if "coherence" not in view.ifg.layers:
        return np.ones(view.grid.shape, np.float32)
    x = np.clip((np.nan_to_num(view.average("coherence")) - FADED) / (CLEAR - FADED), 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def _find_covered(view: View) -> NDArray[np.bool_]:
    """Where the radar saw the ground."""
    seen = np.zeros(view.grid.shape, bool)
    for name in ("coherence", "amplitude", "wrapped_phase"):
        if name in view.ifg.layers:
            seen |= np.isfinite(view.average(name))
    return seen


def _make_ground(shade: Real, grey: float = GROUND_GREY) -> Real:
    """Relief as grey."""
    return np.asarray(np.repeat((grey + 0.30 * (shade - 0.5))[..., np.newaxis], 3, axis=2).clip(0, 1))


def _drape(colour: NDArray[Any], shade: Real, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Lay colour over relief."""
    return _add_alpha(colour * (1 + RELIEF * (shade[..., np.newaxis] - 0.5)), inside)


def _add_alpha(rgb: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    opaque = inside[..., np.newaxis]
    return np.concatenate([np.where(opaque, rgb, 1.0).clip(0, 1), opaque], axis=2).astype(np.float32)


def _find_look_azimuth_deg(view: View) -> float | None:
    """Where the radar looks, clockwise from north, from the line-of-sight layers; None without them."""
    names = ("los_east", "los_north", "los_up")
    if not set(names) <= set(view.ifg.layers):
        return None
    window = view.window
    middle = replace(window, row=window.row + window.rows // 3, rows=math.ceil(window.rows / 3))
    components = [read_part(view.ifg, name, middle) for name in names]
    if not np.isfinite(sum(components)).any():
        return None
    e, n, u = (float(np.nanmean(x)) for x in components)
    sign = 1.0 if u >= 0 else -1.0
    return math.degrees(math.atan2(-sign * e, -sign * n))


def _make_lettering(ifg: Interferogram) -> Lettering:
    known = {key: value for key, value in ifg.facts.items() if value is not None}
    days, baseline = known.get("temporal_baseline_days"), known.get("perpendicular_baseline_m")
    engine = " ".join(str(known[key]) for key in ("engine", "engine_version") if key in known)
    subtitle = [
        f"Track {known['track']}" if "track" in known else "",
        str(known.get("direction", "")),
        f"{days:g} day{'' if days == 1 else 's'}" if days is not None else "",
        f"B⊥ {baseline:+.0f} m".replace("-", "−") if baseline is not None else "",
    ]
    caption = [
        f"topsar, {engine} engine" if engine else "topsar",
        f"{known['looks']} looks".replace("x", " × ") if "looks" in known else "",
        f"{ifg.grid.dx:g} m posting" if ifg.grid.dx > 1 else f"{ifg.grid.dx * 3600:.3g}″ posting",
        ifg.grid.crs if len(ifg.grid.crs) < 16 else "",
    ]
    dates = [str(known[key]) for key in ("reference_date", "secondary_date") if key in known]
    return Lettering(
        dates=" → ".join(dates) if len(dates) == 2 else ifg.pair_id,
        subtitle="   ·   ".join(filter(None, subtitle)),
        caption="  ·  ".join(filter(None, caption)),
    )
