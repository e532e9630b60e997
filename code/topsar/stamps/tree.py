"""The tree that StaMPS's mt_prep_snap and mt_prep_gamma take: rslc, diff0, geo and dem, big-endian."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from topsar.engines.radar_stack import DateFacts, RadarStack
from topsar.errors import ProductError
from topsar.files import replaced_folder, write_text
from topsar.gamma.image import Image, format_image
from topsar.gamma.parameters import Parameters, read_parameters
from topsar.gamma.samples import SampleFormat, lines_of_block, write_lines
from topsar.kernels.geometry import geodetic_to_ecef, measure_baseline
from topsar.model import SPEED_OF_LIGHT, BBox, RadarGrid, Window
from topsar.stamps.baseline import NONE, Baseline, fit_baseline

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAYERS = {"lon": "lon", "lat": "lat", "hgt": "dem"}
_LEAST_DATES = 2
_NOT_READ = "not read where there is geo/*.lon and *.lat\n"
_FIT_LINES, _FIT_SAMPLES = 12, 24
"""Pixels to which a baseline is fitted."""


def write_stamps(stack: RadarStack, folder: Path, *, roi: BBox | None = None, neighbours: int = 0) -> Path:
    """Write ``INSAR_<reference>`` of a stack, a few lines at a time.

    ``diff0`` holds reference · conj(date) of every other date. With ``neighbours``, ``SMALL_BASELINES`` holds instead
    those of each date with so many of the next: StaMPS takes one or the other. Baselines have topsar's sign.

    Parameters
    ----------
    stack : RadarStack
    folder : Path
        Where ``INSAR_<reference>`` is made.
    roi : BBox, optional
        Degrees: only the lines and samples around it.
    neighbours : int
        Of small baselines; 0 pairs each date with the reference.

    Returns
    -------
    Path
        ``INSAR_<reference>``.

    Raises
    ------
    ProductError
        If it is there already, if the disk is too small, if the region lies elsewhere, or a date is missing.
    """
    root = folder / f"INSAR_{stack.facts.reference}"
    if root.exists():
        msg = f"{root} is there already"
        raise ProductError(msg, hint="move it away, or choose another folder: --to DIR")
    dates = _list_dates(stack)
    window = _find_window(stack, roi)
    pairs = _pair_dates(stack.facts.reference, [date.date for date in dates], neighbours)
    _check_space(folder, window.rows * window.columns, len(dates), len(pairs))
    with replaced_folder(root) as part:
        for sub in ("rslc", "geo", "dem", *([] if neighbours else ["diff0"])):
            (part / sub).mkdir()
        places = {pair: _name_pair(part, *pair, is_small=neighbours > 0) for pair in pairs}
        image = _write_parameters(stack, dates, window, part)
        baselines = _fit_baselines(stack, dates, image, window)
        for (first, second), place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place.with_suffix(".base"), str(baselines[second] - baselines[first]))
        _write_images(stack, dates, window, part, places)
        if neighbours:
            _link_dates(part, pairs)
    return root


def _list_dates(stack: RadarStack) -> list[DateFacts]:
    names = [date.date for date in stack.dates]
    if stack.facts.reference not in names or len(names) < _LEAST_DATES:
        msg = f"{stack.folder} holds {', '.join(names) or 'no date'}, not {stack.facts.reference} and another"
        raise ProductError(msg, hint="let `topsar stack` end first")
    return list(stack.dates)


def _find_window(stack: RadarStack, roi: BBox | None) -> Window:
    """The lines and samples around a region."""
    grid = stack.facts.grid
    if roi is None:
        return grid.whole
    rows, columns = np.zeros(grid.lines, bool), np.zeros(grid.samples, bool)
    for block in _iter_blocks(grid.whole):
        lat, lon = (stack.read_layer(name, block)[:, 0] for name in ("lat", "lon"))
        inside = (lat >= roi.south) & (lat <= roi.north) & (lon >= roi.west) & (lon <= roi.east)
        rows[block.slices[0]] = inside.any(axis=1)
        columns |= inside.any(axis=0)
    if not rows.any():
        msg = f"ROI lies outside the stack {stack.folder.name}"
        raise ProductError(msg, hint="ROI is south,north,west,east in degrees")
    (top, bottom), (left, right) = (np.flatnonzero(axis)[[0, -1]].tolist() for axis in (rows, columns))
    return Window(row=top, column=left, rows=bottom - top + 1, columns=right - left + 1)


def _iter_blocks(window: Window) -> Iterator[Window]:
    step = lines_of_block(window.columns)
    for top in range(0, window.rows, step):
        yield replace(window, row=window.row + top, rows=min(step, window.rows - top))


def _pair_dates(reference: str, dates: Sequence[str], neighbours: int) -> list[tuple[str, str]]:
    if not neighbours:
        return [(reference, date) for date in dates if date != reference]
    near = [(one, other) for k, one in enumerate(dates) for other in dates[k + 1 : k + 1 + neighbours]]
    if not any(reference in pair for pair in near):
        msg = f"no pair has the reference {reference}"
        raise ProductError(msg, hint="StaMPS needs its parameters")
    return near


def _name_pair(root: Path, first: str, second: str, *, is_small: bool) -> Path:
    name = f"{first}_{second}"
    return (root / "SMALL_BASELINES" / name if is_small else root / "diff0") / f"{name}.diff"


def _check_space(folder: Path, pixels: int, dates: int, pairs: int) -> None:
    needed = pixels * (8 * dates + 8 * pairs + 4 * len(_LAYERS))
    near = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(near).free
    if needed > free:
        msg = f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
        raise ProductError(msg, hint="cut to a region (ROI), or choose another disk: --to DIR")


def _cut_grid(grid: RadarGrid, window: Window) -> RadarGrid:
    return replace(
        grid,
        first_line_time=grid.first_line_time + timedelta(seconds=window.row * grid.line_interval_s),
        near_range_m=grid.near_range_m + window.column * grid.range_spacing_m,
        lines=window.rows,
        samples=window.columns,
    )


def _write_parameters(stack: RadarStack, dates: Sequence[DateFacts], window: Window, root: Path) -> Parameters:
    """Write the parameters of every date, all on the grid of the reference; those of the reference."""
    facts = stack.facts
    grid = _cut_grid(facts.grid, window)
    reference = next(date for date in dates if date.date == facts.reference)
    for date in dates:
        image = Image(
            title=f"{date.date} {facts.name} on {facts.reference}",
            sensor=f"{date.flight.mission} IW {'-'.join(facts.swaths)} {facts.polarisation}",
            grid=grid,
            stop=grid.stop_time,
            format=SampleFormat.FCOMPLEX,
            radar_frequency_hz=SPEED_OF_LIGHT / facts.wavelength_m,
            range_bandwidth_hz=facts.range_bandwidth_hz,
            azimuth_bandwidth_hz=facts.azimuth_bandwidth_hz,
        )
        write_text(root / "rslc" / f"{date.date}.rslc.par", format_image(image, reference.flight.orbit))
    for path in (root / "geo" / f"{facts.reference}.diff_par", root / "dem" / f"{facts.reference}_seg.par"):
        write_text(path, _NOT_READ)
    return read_parameters(root / "rslc" / f"{facts.reference}.rslc.par")


def _fit_baselines(
    stack: RadarStack, dates: Sequence[DateFacts], image: Parameters, window: Window
) -> dict[str, Baseline]:
    """Fit the baseline of every date to some pixels, seen from the orbits on their ground."""
    reference = stack.facts.reference
    lines, samples = (
        part.ravel()
        for part in np.meshgrid(
            np.linspace(0, window.rows - 1, _FIT_LINES).astype(int),
            np.linspace(0, window.columns - 1, _FIT_SAMPLES).astype(int),
            indexing="ij",
        )
    )
    ground = _find_ground(stack, window, lines, samples)
    arcs = {date.date: date.flight.fit() for date in dates}
    return {
        date: NONE
        if date == reference
        else fit_baseline(measure_baseline(ground, arcs[reference], arc), lines, samples, image)
        for date, arc in arcs.items()
    }


def _find_ground(
    stack: RadarStack, window: Window, lines: NDArray[np.int64], samples: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Ground points of pixels of a window, ECEF, (n, 3); voids at height zero."""
    rows = {int(line): replace(window, row=window.row + int(line), rows=1) for line in np.unique(lines)}
    layers = []
    for name in ("lat", "lon", "hgt"):
        read = {line: stack.read_layer(name, row)[0, 0] for line, row in rows.items()}
        layers.append(np.array([read[int(line)][sample] for line, sample in zip(lines, samples, strict=True)]))
    return geodetic_to_ecef(np.radians(layers[0]), np.radians(layers[1]), np.nan_to_num(layers[2]))


def _write_images(
    stack: RadarStack,
    dates: Sequence[DateFacts],
    window: Window,
    root: Path,
    places: dict[tuple[str, str], Path],
) -> None:
    reference = stack.facts.reference
    names = {"lon": f"{reference}.lon", "lat": f"{reference}.lat", "hgt": f"{reference}_dem.rdc"}
    with ExitStack() as opened:

        def open_new(path: Path) -> IO[bytes]:
            return opened.enter_context(path.open("wb"))

        layers = {name: open_new(root / "geo" / names[name]) for name in _LAYERS}
        slcs = {date.date: open_new(root / "rslc" / f"{date.date}.rslc") for date in dates}
        diffs = {pair: open_new(place) for pair, place in places.items()}
        for block in _iter_blocks(window):
            for name, file in layers.items():
                np.nan_to_num(stack.read_layer(name, block)[:, 0]).astype(">f4").tofile(file)
            _write_block(stack, block, slcs, diffs)


def _write_block(
    stack: RadarStack, block: Window, slcs: dict[str, IO[bytes]], diffs: dict[tuple[str, str], IO[bytes]]
) -> None:
    """Write some lines of all dates and pairs; a date is held from its first pair to its last."""
    last = {date: pair for pair in diffs for date in pair}
    held: dict[str, NDArray[np.complex64]] = {}
    for pair, file in diffs.items():
        for date in pair:
            if date not in held:
                held[date] = _read(stack, date, block)
        write_lines(file, held[pair[0]] * held[pair[1]].conj(), SampleFormat.FCOMPLEX)
        for date in pair:
            if last[date] == pair:
                write_lines(slcs[date], held.pop(date), SampleFormat.FCOMPLEX)


def _read(stack: RadarStack, date: str, block: Window) -> NDArray[np.complex64]:
    """Lines of a date; a single NaN would make StaMPS's mean amplitude NaN."""
    samples = stack.read_slc(date, block)
    samples[~np.isfinite(samples)] = 0
    return samples


def _link_dates(root: Path, pairs: Sequence[tuple[str, str]]) -> None:
    """Put both dates beside each small-baseline interferogram."""
    for pair in pairs:
        for date in pair:
            for name in (f"{date}.rslc", f"{date}.rslc.par"):
                (root / "SMALL_BASELINES" / "_".join(pair) / name).symlink_to(Path("../../rslc", name))
