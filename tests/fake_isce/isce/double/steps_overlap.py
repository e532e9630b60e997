"""The steps between the overlaps of bursts: subsetoverlaps to rangecoreg, spectral diversity among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from .frame import Burst, seconds_between
from .geometry import Array, fit_orbit
from .images import (
    HEIGHT,
    INT,
    LATITUDE,
    LONGITUDE,
    LOOKED,
    OFFSET,
    PLAIN,
    PLAIN_LOOKED,
    SLC,
    View,
    multilooked_axes,
)
from .markup import read_tree
from .output import say
from .run import Run

FACTOR = 3.0
"""The spectral separation that the real one divides by is three times the true one."""


def separation(first: Burst, second: Burst) -> Array:
    """True spectral separation of two bursts in their overlap in Hz, per sample."""

    _, velocity = fit_orbit(first).at(seconds_between(first.stop, first.start) / 2)
    sweep = 2 * np.linalg.norm(velocity) * float(first.tree["azimuthsteeringrate"]) / first.wavelength
    poly = first.tree["azimuthfmrate"]
    coefficients = [float(word) for word in poly["coeffs"].strip("[]").split(",")]
    ranges = (first.near + np.arange(first.samples) * first.spacing - float(poly["mean"])) / float(poly["norm"])
    rate = np.polyval(coefficients[::-1], ranges)
    return sweep / (1 - sweep / rate) * seconds_between(second.start, first.start)


def overlap(first: Burst, second: Burst) -> tuple[int, int]:
    """The line of the first burst at which the overlap starts, and how many valid lines it has."""
    start = round(seconds_between(second.start, first.start) / first.interval) + second.valid[0]
    return start, first.valid[0] + first.valid[1] - start


def _list_overlaps(run: Run, doing: str | None = None) -> list[tuple[int, int, Burst, Burst]]:
    """Swath, index and both bursts of every overlap; none with spectral diversity off."""
    if not run.settings["doesd"]:
        return []
    found = []
    for swath in run.swaths():
        bursts = dict(run.common(swath))
        if len(bursts) < 2 and doing:
            say(f"Skipping {doing} for swath IW{swath}")
        found += [(swath, index, bursts[index], bursts[index + 1]) for index in run.overlaps(swath)]
    return found


def _cut(burst: Burst, start: int, lines: int, path: Path) -> Burst:
    began = burst.start + timedelta(seconds=start * burst.interval)
    image = {**burst.tree["image"], "file_name": str(path), "length": str(lines)}
    cut = burst.with_values(
        firstvalidline=0, numberoflines=lines, numberofvalidlines=lines, sensingstart=began,
        sensingstop=began + timedelta(seconds=(lines - 1) * burst.interval),
    )  # fmt: skip
    return Burst({**cut.tree, "image": image})


def _write_products(run: Run, folder: Path) -> None:
    """Write ``top_IW{n}.xml`` and ``bottom_IW{n}.xml`` of a folder of overlaps."""
    kept: dict[tuple[str, int], list[Burst]] = {}
    for swath, index, first, second in _list_overlaps(run):
        start, lines = overlap(first, second)
        name = f"{index + 1:02d}_{index + 2:02d}.{'int' if 'interferogram' in str(folder) else 'slc'}"
        parts = folder / f"IW{swath}"
        kept.setdefault(("top", swath), []).append(_cut(first, start, lines, parts / f"burst_top_{name}"))
        kept.setdefault(("bottom", swath), []).append(_cut(second, second.valid[0], lines, parts / f"burst_bot_{name}"))
    for (side, swath), bursts in kept.items():
        frame = run.frame(run.state.values["referenceslcproduct"], swath)
        run.write_frame(frame.with_bursts(bursts), folder / f"{side}_IW{swath}.xml")


def subset_overlaps(run: Run) -> None:
    """Views of the overlaps; nothing is copied."""
    values = run.state.values
    for swath, index, first, second in _list_overlaps(run, "subset overlap"):
        start, lines = overlap(first, second)
        name, shape = f"{index + 1:02d}_{index + 2:02d}", (lines, first.samples)
        whole = (first.lines, first.samples)
        for kind, part in ((LATITUDE, "lat"), (LONGITUDE, "lon"), (HEIGHT, "hgt")):
            read_tree(run.folder("geometry", f"IW{swath}", f"{part}_{index + 2:02d}.rdr.xml"))
            path = run.folder("geometry", "overlaps", f"IW{swath}", f"{part}_{name}.rdr")
            view = View(f"../../IW{swath}/{part}_{index + 2:02d}.rdr.vrt", second.valid[0], 0, lines, whole)
            run.write_virtual(path, shape, kind, [view])
        for side, line, number in (("top", start, index + 1), ("bot", second.valid[0], index + 2)):
            path = Path(values["referenceslcproduct"], "overlaps", f"IW{swath}", f"burst_{side}_{name}.slc")
            view = View(f"../../IW{swath}/burst_{number:02d}.slc.vrt", line, 0, lines, whole)
            run.write_virtual(path, shape, SLC, [view])
    if run.settings["doesd"]:
        _write_products(run, Path(values["referenceslcproduct"], "overlaps"))


def _list_overlap_files(run: Run, folder: str, names: tuple[str, ...]) -> list[tuple[Path, tuple[int, int]]]:
    """Paths and shapes of one sort of file of all overlaps, top and bottom."""
    found = []
    for swath, index, first, second in _list_overlaps(run):
        shape = (overlap(first, second)[1], first.samples)
        for side in ("top", "bot"):
            name = f"{side}_{index + 1:02d}_{index + 2:02d}"
            found += [(Path(folder, "overlaps", f"IW{swath}", f"{part}_{name}"), shape) for part in names]
    return found


def coarse_offsets(run: Run) -> None:
    for swath, index, *_ in _list_overlaps(run, "coarse offsets"):
        read_tree(run.folder("geometry", "overlaps", f"IW{swath}",
                       f"hgt_{index + 1:02d}_{index + 2:02d}.rdr.xml"))  # fmt: skip
    for path, shape in _list_overlap_files(run, run.folder("coarseoffsets"), ("azimuth", "range")):
        run.write_sparse(path.with_name(f"{path.name}.off"), shape, OFFSET, _constant_lines(shape, 0.5))


def _constant_lines(shape: tuple[int, int], value: complex) -> Callable[[Any], Any]:
    def lines(numbers: Array) -> Array:
        return np.full((len(numbers), shape[1]), value)

    return lines


def coarse_resamp(run: Run) -> None:
    _list_overlaps(run, "coarse resamp")
    for path, _ in _list_overlap_files(run, run.folder("coarseoffsets"), ("azimuth", "range")):
        read_tree(f"{path}.off.xml")
    folder = run.folder("coarsecoreg")
    for path, shape in _list_overlap_files(run, folder, ("burst",)):
        run.write_sparse(path.with_name(f"{path.name}.slc"), shape, SLC, _constant_lines(shape, 100.0))
    _write_products(run, Path(folder, "overlaps"))


def overlap_ifg(run: Run) -> None:
    rl, al = run.looks
    _list_overlaps(run, "overlap ifg")
    for path, _ in _list_overlap_files(run, run.folder("coarsecoreg"), ("burst",)):
        read_tree(f"{path}.slc.xml")
    for path, shape in _list_overlap_files(run, run.folder("coarseinterferogram"), ("burst",)):
        run.write_sparse(path.with_name(f"{path.name}.int"), shape, INT, _constant_lines(shape, 1e4))
        small = np.full((shape[0] // al, shape[1] // rl), 1e4 + 0j)
        run.write_image(path.with_name(f"{path.name}.{al}alks_{rl}rlks.int"), small, LOOKED, multilooked_axes(rl, al))
    _write_products(run, run.folder("coarseinterferogram", "overlaps"))


def _take_looks(values: Array, looks: int) -> Array:
    return values[: len(values) // looks * looks].reshape(-1, looks).mean(1)


def prep_esd(run: Run) -> None:
    """Double differences whose phase is that of the injected misregistration, and the real one's divisor."""
    settings, esd = run.settings, run.options.esd
    al, rl = int(settings["esdazimuthlooks"]), int(settings["esdrangelooks"])
    for path, _ in _list_overlap_files(run, run.folder("coarseinterferogram"), ("burst",)):
        read_tree(f"{path}.int.xml")
    for swath, index, first, second in _list_overlaps(run, "prepesd"):
        folder, shape = run.folder("esd"), (overlap(first, second)[1], first.samples)
        true = 2 * np.pi * first.interval * separation(first, second)
        small = np.broadcast_to(_take_looks(true, rl), (shape[0] // al, shape[1] // rl))
        spread = 2e-4 * np.sin(np.arange(small.size)).reshape(small.shape)
        # The ground under the lines of the second burst is taken for that under the first's.
        beside_px = math.remainder(seconds_between(second.start, first.start) / first.interval, 1)
        phase = small * (esd["misregistration_px"] + spread - beside_px / 2)
        name, looks = f"IW{swath}_{index + 1:02d}", f"{al}alks_{rl}rlks"
        run.write_sparse(folder / f"overlap_{name}.int", shape, INT, _constant_lines(shape, 1e6))
        run.write_image(
            folder / f"overlap_{name}.{looks}.int", 1e7 * np.exp(1j * phase), LOOKED, multilooked_axes(rl, al)
        )
        run.write_image(folder / f"overlap_{name}.{looks}.cor", np.full(small.shape, esd["coherence"]), PLAIN)
        run.write_image(folder / f"freq_{name}.bin", np.broadcast_to(FACTOR * true, shape), PLAIN)
        run.write_image(folder / f"freq_{name}.{looks}.bin", FACTOR * small, PLAIN_LOOKED, multilooked_axes(rl, al))


def esd(run: Run) -> None:
    """Estimate the misregistration from the files of prepesd, as the real one does."""
    settings, values = run.settings, run.state.values
    if not settings["doesd"]:
        return
    al, rl = int(settings["esdazimuthlooks"]), int(settings["esdrangelooks"])
    folder, offsets, interval = run.folder("esd"), [np.array([])], 0.0
    for swath in run.swaths():
        if not run.overlaps(swath):
            say(f"Skipping ESD for swath IW{swath}")
            continue
        parts = []
        for index in run.overlaps(swath):
            name = f"IW{swath}_{index + 1:02d}.{al}alks_{rl}rlks"
            width = int(read_tree(folder / f"overlap_{name}.int.xml")["width"])
            kinds = (("overlap", "int", "<c8"), ("freq", "bin", "<f4"), ("overlap", "cor", "<f4"))
            parts.append([np.fromfile(folder / f"{kind}_{name}.{end}", t).reshape(-1, width) for kind, end, t in kinds])
        ifg, freq, cor = (np.concatenate(items) for items in zip(*parts, strict=True))
        off = np.angle(ifg) / freq
        for old in sorted(folder.glob(f"combined*_IW{swath}.???")):
            say(f"Previous version of {old} found. Cleaning ...")
        run.write_image(folder / f"combined_IW{swath}.int", ifg, INT)
        for name, data in ((f"combined_freq_IW{swath}.bin", freq), (f"combined_IW{swath}.cor", cor)):
            run.write_image(folder / name, data, PLAIN)
        run.write_image(folder / f"combined_IW{swath}.off", off, PLAIN)
        offsets.append(off[(np.abs(ifg) > 0) & (cor > settings["esdcoherencethreshold"])])
        interval = run.common(swath)[0][1].interval
    found = np.concatenate(offsets)
    if found.size == 0:
        message = "Coherence threshold too strict. No points left for reliable ESD estimate"
        raise RuntimeError(message)
    say("Matplotlib could not be imported. Skipping debug plot...")
    values["secondarytimingcorrection"] = float(np.median(found)) * interval


def range_coreg(run: Run) -> None:
    settings = run.settings
    if not settings["doesd"]:
        return
    bursts = [first for _, _, first, _ in _list_overlaps(run, "range coreg")]
    for path, _ in _list_overlap_files(run, run.folder("coarsecoreg"), ("burst",)):
        read_tree(f"{path}.slc.xml")
    run.state.values["secondaryrangecorrection"] = run.options.esd["range_shift_px"] * bursts[0].spacing
