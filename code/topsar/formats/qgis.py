"""Styles of QGIS: a ``.qml`` beside a raster of the same name is what QGIS draws it with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from topsar.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.formats.scale import Scale
    from topsar.interferogram import Drawing

_STEPS = 24
"""Of a scale; colours between them are interpolated."""
_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def write_style(path: Path, drawing: Drawing, scale: Scale | None) -> bool:
    """Write how QGIS draws a layer: a scale of colours, or a colour for each class of a mask.

    Parameters
    ----------
    path : Path
    drawing : Drawing
    scale : Scale, optional
        What `find_scale` found of the layer.

    Returns
    -------
    bool
        False, and nothing is written, for labels: they have no scale.
    """
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = SubElement(root, "pipe")
    if drawing.style == "mask":
        _add_classes(pipe, drawing)
    elif scale is not None:
        _add_scale(pipe, scale, drawing)
    else:
        return False
    indent(root)
    write_text(path, _HEAD + tostring(root, encoding="unicode") + "\n")
    return True


def _add_scale(pipe: Element, scale: Scale, drawing: Drawing) -> None:
    renderer = _add_renderer(pipe, "singlebandpseudocolor")
    renderer.attrib |= {"classificationMin": repr(scale.low), "classificationMax": repr(scale.high)}
    ramp = SubElement(
        SubElement(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=repr(scale.low),
        maximumValue=repr(scale.high),
    )
    for share in np.linspace(0, 1, _STEPS + 1).tolist():
        value = scale.low + share * (scale.high - scale.low)
        colour = scale.colours.write(share)
        label = _format_round(value * drawing.scale)
        SubElement(ramp, "item", value=repr(value), color=colour, alpha="255", label=label)


def _format_round(value: float) -> str:
    return f"{0.0 if math.isclose(value, 0, abs_tol=1e-9) else value:.3g}"


def _add_classes(pipe: Element, drawing: Drawing) -> None:
    entries = SubElement(_add_renderer(pipe, "paletted"), "colorPalette")
    for value, (colour, name) in enumerate(drawing.classes, start=1):
        SubElement(entries, "paletteEntry", value=str(value), color=colour, alpha="255", label=name)


def _add_renderer(pipe: Element, kind: str) -> Element:
    renderer = SubElement(pipe, "rasterrenderer", type=kind, band="1", opacity="1", alphaBand="-1")
    SubElement(renderer, "rasterTransparency")
    return renderer
