"""Pictures of an interferogram that a scientist would put on a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.formats import Cost, Format

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from topsar.interferogram import Interferogram


class Quicklook(Format):
    """One ``<layer>.png`` per layer that has a picture, and ``masks.png``."""

    name = "quicklook"
    version = "3"
    cost = Cost(
        base_memory=178_000_000,
        memory=60,
        disk=12,
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
        from topsar.formats.quicklook.pictures import draw_pictures

        return tuple(path for ifg in ifgs for path in draw_pictures(ifg, folder))
