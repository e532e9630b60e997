"""One orbit per pass, shared by all pairs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from topsar.sentinel1 import choose_orbit, find_orbits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from topsar.model import OrbitFile, Pair

log = logging.getLogger(__name__)


def find_pass_orbits(pairs: Iterable[Pair], folder: Path) -> dict[str, OrbitFile | None]:
    """The best orbit file for every scene's pass; None where only the annotation's vectors are left.

    Parameters
    ----------
    pairs : iterable of Pair
    folder : Path
        ``data/orbit_data``.

    Returns
    -------
    dict
        By scene name.
    """
    files = find_orbits(folder) if folder.is_dir() else ()
    chosen: dict[str, OrbitFile | None] = {}
    for pair in pairs:
        for scenes in (pair.reference, pair.secondary):
            start, stop = min(scene.start for scene in scenes), max(scene.stop for scene in scenes)
            best = choose_orbit(files, scenes[0].mission, start, stop)
            if best is None and scenes[0].name not in chosen:
                log.warning(
                    "%s %s: no orbit file in %s covers it; the annotation's own orbit is used, decimetres less exact",
                    scenes[0].mission,
                    f"{start:%Y-%m-%d %H:%M:%S}",
                    folder,
                )
            chosen.update({scene.name: best for scene in scenes})
    return chosen
