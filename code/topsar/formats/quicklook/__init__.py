"""Pictures of an interferogram that a scientist would put on a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.formats import Cost, Format

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from topsar.interferogram import Interferogram


class Quicklook(Format):
    """One ``<layer>.png`` per layer that has a picture, ``masks.png``, and ``layers.js`` for the report."""

    name = "quicklook"
    version = "6"
    cost = Cost(
        base_memory=150_000_000,
        memory=60,
        disk=17,
        start_s=4.5,
        microseconds=0.8,
        first_memory=200,
        first_pixels=7e5,
    )

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Draw the pictures of one pair.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            The one pair.
        folder : Path
            The empty folder to write into.
        """
        from topsar.formats.quicklook.layers import write_layers
        from topsar.formats.quicklook.pictures import draw_view
        from topsar.formats.quicklook.view import cut_view

        views = (cut_view(ifg) for ifg in ifgs)
        return tuple(path for view in views for path in (*draw_view(view, folder), write_layers(view, folder)))
