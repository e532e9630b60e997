"""Write a Sentinel-1 product as GAMMA has it: a tab file, and per swath samples, SLC_par and TOPS_par."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import SceneError
from topsar.files import write_text
from topsar.gamma.deramp import BurstTerms, SwathTerms, describe_terms, turn_burst
from topsar.gamma.image import Image, format_image
from topsar.gamma.samples import SampleFormat, create_samples, lines_of_block, write_lines
from topsar.gamma.tab import TabRow, format_tab
from topsar.gamma.tops import format_tops
from topsar.kernels.geometry import fit_orbit
from topsar.kernels.tops import find_deramp_terms
from topsar.sentinel1 import check_content, iter_samples, open_image, read_burst_times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst, Orbit, Scene
    from topsar.sentinel1.annotation import BurstTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneCut:
    """What to write of a product: bursts by swath, of one polarisation, in order; deramped or as they are."""

    bursts: Mapping[str, Sequence[Burst]]
    format: SampleFormat = SampleFormat.FCOMPLEX
    is_deramped: bool = False
    keeps_phase: bool = False


def write_scene(scene: Scene, orbit: Orbit, cut: SceneCut, folder: Path) -> tuple[Path, tuple[SwathTerms, ...]]:
    """Write the swaths of a product; digital numbers as they are, not calibrated.

    Parameters
    ----------
    scene : Scene
    orbit : Orbit
        Whose state vectors SLC_par gets, and by which the ramp is found.
    cut : SceneCut
    folder : Path
        Named in the tab file as it is given.

    Returns
    -------
    tuple of Path and tuple of SwathTerms
        The tab file, and for every swath what the ramp is made of.

    Raises
    ------
    SceneError
        Where an image is missing or damaged, or a file of this name is there already.
    """
    ending = ".deramp" if cut.is_deramped else ""
    date = f"{scene.start:%Y%m%d}"
    tab = folder / f"{date}.SLC_tab{ending}"
    rows = {swath: _name_files(folder, f"{date}.{swath}.slc{ending}") for swath in cut.bursts}
    _check_free([tab, *(path for row in rows.values() for path in row.paths)])
    text = format_tab(tuple(rows.values()))
    found = {swath: _add_times(scene, bursts) for swath, bursts in cut.bursts.items()}
    shown = []
    for swath, row in rows.items():
        check_content(found[swath][0][0])
        shown.append(SwathTerms(slc=row.slc, bursts=_write_swath(scene, orbit, cut, found[swath], row)))
    write_text(tab, text)
    return tab, tuple(shown)


def _name_files(folder: Path, name: str) -> TabRow:
    return TabRow(slc=folder / name, image=folder / f"{name}.par", tops=folder / f"{name}.TOPS_par")


def _check_free(paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            msg = f"{path}: a file of this name is there already"
            raise SceneError(msg, hint="move it away, or choose another folder: --to DIR")


def _add_times(scene: Scene, bursts: Sequence[Burst]) -> list[tuple[Burst, BurstTimes]]:
    times = read_burst_times(scene, bursts[0].swath, bursts[0].polarisation)
    return [(burst, times[burst.index]) for burst in bursts]


def _write_swath(
    scene: Scene, orbit: Orbit, cut: SceneCut, found: list[tuple[Burst, BurstTimes]], row: TabRow
) -> tuple[BurstTerms, ...]:
    bursts = [burst for burst, _ in found]
    grid = bursts[0].grid
    arc = fit_orbit(orbit, grid.first_line_time, bursts[-1].grid.stop_time)
    kind = SampleFormat.FCOMPLEX if cut.is_deramped else cut.format
    shown = _write_samples(bursts, arc, cut, row.slc)
    image = Image(
        title=f"{scene.name} {bursts[0].swath} {bursts[0].polarisation} (software: Sentinel-1 IPF {scene.ipf}, topsar)",
        sensor=f"{scene.mission} IW {bursts[0].swath} {bursts[0].polarisation}",
        grid=replace(grid, lines=grid.lines * len(bursts)),
        stop=bursts[-1].grid.stop_time,
        format=kind,
        radar_frequency_hz=bursts[0].radar_frequency_hz,
        range_bandwidth_hz=bursts[0].range_bandwidth_hz,
        azimuth_bandwidth_hz=bursts[0].azimuth_bandwidth_hz,
        doppler=None if cut.is_deramped else bursts[len(bursts) // 2],
    )
    write_text(row.image, format_image(image, orbit))
    write_text(row.tops, format_tops(found, arc, kind))
    return shown


def _write_samples(bursts: list[Burst], arc: OrbitArc, cut: SceneCut, path: Path) -> tuple[BurstTerms, ...]:
    shown = []
    with ExitStack() as stack:
        image = stack.enter_context(open_image(bursts[0]))
        slc, phase = create_samples(stack, path, keeps_phase=cut.is_deramped and cut.keeps_phase)
        for burst in bursts:
            terms = find_deramp_terms(burst, arc)
            shown.append(describe_terms(burst, arc, terms))
            blocks = iter_samples(burst, burst.grid.whole, lines_of_block(burst.grid.samples), image)
            if cut.is_deramped:
                turn_burst(blocks, burst, terms, slc, phase=phase, direction=1.0)
            else:
                for block in blocks:
                    write_lines(slc, block, cut.format)
    return tuple(shown)
