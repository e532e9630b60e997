"""From names in pairs.txt to opened scenes, and from scenes to what may be paired."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from topsar.errors import SceneError, TopsarError
from topsar.kernels.geometry import OrbitArc, fit_orbit
from topsar.model import CROSSED, Pair
from topsar.pairs.network import Slice
from topsar.sentinel1 import (
    choose_orbit,
    find_orbits,
    find_scene,
    list_products,
    open_scene,
    read_annotation_orbit,
    read_orbit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from topsar.model import Orbit, OrbitFile, Scene
    from topsar.pairs.listing import PairLine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPair:
    """A line of pairs.txt: the pair, or what is wrong with it."""

    line: int
    title: str
    pair: Pair | None = None
    problem: TopsarError | None = None


def find_pairs(
    lines: Sequence[PairLine],
    folder: Path,
    problems: Mapping[str, TopsarError] | None = None,
    polarisations: Sequence[str] = (),
) -> tuple[ListedPair, ...]:
    """Open the scenes of every line, each scene once; a line that cannot be used does not stop the others.

    Every polarisation makes a pair of its own of a line.

    Parameters
    ----------
    lines : sequence of PairLine
    folder : Path
        ``data/raw``.
    problems : mapping, optional
        By name, why a scene that is not in ``folder`` could not be brought there.
    polarisations : sequence of str
        None leaves the choice open.
    """
    opened: dict[str, Scene | TopsarError] = dict(problems or {})
    found = []
    for line in lines:
        one = _find_pair(line, folder, opened)
        if one.pair is None or not polarisations:
            found.append(one)
        else:
            pairs = [replace(one.pair, polarisation=polarisation) for polarisation in polarisations]
            found += [replace(one, pair=pair, title=_add_crossed(one.title, pair)) for pair in pairs]
    return tuple(found)


def _add_crossed(title: str, pair: Pair) -> str:
    return f"{title} ({pair.polarisation})" if pair.polarisation in CROSSED else title


def _find_pair(line: PairLine, folder: Path, opened: dict[str, Scene | TopsarError]) -> ListedPair:
    title = f"{' + '.join(line.reference)} with {' + '.join(line.secondary)}"
    names = (*line.reference, *line.secondary)
    for name in names:
        if name not in opened:
            opened[name] = _open(folder, name)
    problems = [problem for name in names if isinstance(problem := opened[name], TopsarError)]
    if problems:
        whole = TopsarError("; ".join(p.message for p in problems), hint=problems[0].hint)
        return ListedPair(line=line.line, title=title, problem=whole)
    reference, secondary = (
        tuple(scene for name in side if not isinstance(scene := opened[name], TopsarError))
        for side in (line.reference, line.secondary)
    )
    return ListedPair(line=line.line, title=title, pair=Pair(reference=reference, secondary=secondary))


def _open(folder: Path, name: str) -> Scene | TopsarError:
    try:
        return open_scene(find_scene(folder, name))
    except TopsarError as exc:
        return exc


def find_missing_scenes(lines: Iterable[PairLine], folder: Path) -> tuple[str, ...]:
    """List the scenes, each once and in order, that are not in a folder, or are there as a zip that is cut off.

    Parameters
    ----------
    lines : iterable of PairLine
    folder : Path
        ``data/raw``.
    """
    names = dict.fromkeys(name for line in lines for name in (*line.reference, *line.secondary))
    return tuple(name for name in names if not _is_there(folder, name))


def _is_there(folder: Path, name: str) -> bool:
    try:
        path = find_scene(folder, name)
    except SceneError:
        return False
    return path.is_dir() or path != folder / f"{name}.zip" or zipfile.is_zipfile(path)


def find_local_slices(folder: Path, orbit_folder: Path) -> tuple[Slice, ...]:
    """List the products of a folder, with the best orbit at hand: a file, else the annotation's.

    Products that cannot be opened are left out, with a warning.

    Parameters
    ----------
    folder, orbit_folder : Path
        ``data/raw`` and ``data/orbit_data``.
    """
    names = (name for name in list_products(folder) if name.startswith("S1"))
    scenes: dict[str, Scene] = {}
    for name in names:
        scene = _open(folder, name)
        if isinstance(scene, TopsarError):
            log.warning("passed over: %s", scene.message)
        else:
            scenes[scene.name] = scene
    arcs = _fit_arcs(tuple(scenes.values()), find_orbits(orbit_folder) if orbit_folder.is_dir() else ())
    return tuple(
        Slice(
            name=scene.name,
            mission=scene.mission,
            start=scene.start,
            stop=scene.stop,
            track=scene.track,
            direction=scene.direction,
            polarisations=scene.polarisations,
            arc=arcs[scene.name],
        )
        for scene in scenes.values()
    )


def _fit_arcs(scenes: Sequence[Scene], files: Sequence[OrbitFile]) -> dict[str, OrbitArc | None]:
    """Fit an arc for every scene; an orbit file is read once for all its scenes, which takes half a second."""
    by_file: dict[OrbitFile | None, list[Scene]] = {}
    for scene in scenes:
        by_file.setdefault(choose_orbit(files, scene.mission, scene.start, scene.stop), []).append(scene)
    arcs: dict[str, OrbitArc | None] = {}
    for file, group in by_file.items():
        orbit = _read_orbit(file, group) if file else None
        for scene in group:
            arcs[scene.name] = fit_orbit(orbit, scene.start, scene.stop) if orbit else _fit_annotation(scene)
    return arcs


def _read_orbit(file: OrbitFile, scenes: Sequence[Scene]) -> Orbit | None:
    try:
        return read_orbit(file, min(scene.start for scene in scenes), max(scene.stop for scene in scenes))
    except TopsarError as exc:
        log.warning("%s; the annotation's orbit is taken", exc.message)
        return None


def _fit_annotation(scene: Scene) -> OrbitArc | None:
    files = scene.files[0]
    try:
        return fit_orbit(read_annotation_orbit(scene, files.swath, files.polarisation), scene.start, scene.stop)
    except (TopsarError, ValueError) as exc:
        log.warning("%s: no orbit: %s", scene.name, exc)
        return None
