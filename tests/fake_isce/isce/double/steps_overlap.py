"""The steps between the overlaps of bursts: subsetoverlaps to rangecoreg, spectral diversity among them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .frame import Burst, seconds
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
    looked_axes,
    write_image,
    write_sparse,
    write_virtual,
)
from .markup import read_tree
from .output import say
from .run import Run

if TYPE_CHECKING:
    from .geometry import Array

FACTOR = 3.0
"""The spectral separation that the real one divides by is three times the true one."""


def separation(first: Burst, second: Burst) -> Array:
    """True spectral separation of two bursts in their overlap in Hz, per sample."""
    import numpy as np

    from .geometry import orbit_of

    _, velocity = orbit_of(first).at(seconds(first.stop, first.start) / 2)
    sweep = 2 * np.linalg.norm(velocity) * float(first.tree["azimuthsteeringrate"]) / first.wavelength
    poly = first.tree["azimuthfmrate"]
    coefficients = [float(word) for word in poly["coeffs"].strip("[]").split(",")]
    ranges = (first.near + np.arange(first.samples) * first.spacing - float(poly["mean"])) / float(poly["norm"])
    rate = np.polyval(coefficients[::-1], ranges)
    return sweep / (1 - sweep / rate) * seconds(second.start, first.start)


def overlap(first: Burst, second: Burst) -> tuple[int, int]:
    """The line of the first burst at which the overlap starts, and how many valid lines it has."""
    start = round(seconds(second.start, first.start) / first.interval) + second.valid[0]
    return start, first.valid[0] + first.valid[1] - start


def _pairs(run: Run, doing: str | None = None) -> list[tuple[int, int, Burst, Burst]]:
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
    cut = burst.changed(
        firstvalidline=0, numberoflines=lines, numberofvalidlines=lines, sensingstart=began,
        sensingstop=began + timedelta(seconds=(lines - 1) * burst.interval),
    )  # fmt: skip
    return Burst({**cut.tree, "image": image})


def _write_products(run: Run, folder: Path) -> None:
    """Write ``top_IW{n}.xml`` and ``bottom_IW{n}.xml`` of a folder of overlaps."""
    kept: dict[tuple[str, int], list[Burst]] = {}
    for swath, index, first, second in _pairs(run):
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
    facts: dict[str, Any] = {}
    for swath, index, first, second in _pairs(run, "subset overlap"):
        start, lines = overlap(first, second)
        name, shape = f"{index + 1:02d}_{index + 2:02d}", (lines, first.samples)
        whole = (first.lines, first.samples)
        for kind, part in ((LATITUDE, "lat"), (LONGITUDE, "lon"), (HEIGHT, "hgt")):
            read_tree(Path(values["geometrydirectoryname"], f"IW{swath}", f"{part}_{index + 2:02d}.rdr.xml"))
            path = Path(values["geometrydirectoryname"], "overlaps", f"IW{swath}", f"{part}_{name}.rdr")
            view = View(f"../../IW{swath}/{part}_{index + 2:02d}.rdr.vrt", second.valid[0], 0, lines, whole)
            run.wrote(write_virtual(path, shape, kind, [view]))
        for side, line, number in (("top", start, index + 1), ("bot", second.valid[0], index + 2)):
            path = Path(values["referenceslcproduct"], "overlaps", f"IW{swath}", f"burst_{side}_{name}.slc")
            view = View(f"../../IW{swath}/burst_{number:02d}.slc.vrt", line, 0, lines, whole)
            run.wrote(write_virtual(path, shape, SLC, [view]))
        facts[f"Overlap {index} start time - IW-{swath}"] = second.start
        facts[f"Overlap {index} stop time - IW-{swath}"] = first.stop
        facts[f"Overlap {index} number of lines - IW-{swath}"] = (
            round(seconds(first.stop, second.start) / first.interval) + 1
        )
        facts[f"Overlap {index} number of valid lines - IW-{swath}"] = lines
    if run.settings["doesd"]:
        _write_products(run, Path(values["referenceslcproduct"], "overlaps"))
        run.tell("topsinsar.overlaps", "runSubsetOverlaps", {"subset": facts})


def _each(run: Run, folder: str, names: tuple[str, ...]) -> list[tuple[Path, tuple[int, int]]]:
    """Paths and shapes of one sort of file of all overlaps, top and bottom."""
    found = []
    for swath, index, first, second in _pairs(run):
        shape = (overlap(first, second)[1], first.samples)
        for side in ("top", "bot"):
            name = f"{side}_{index + 1:02d}_{index + 2:02d}"
            found += [(Path(folder, "overlaps", f"IW{swath}", f"{part}_{name}"), shape) for part in names]
    return found


def coarse_offsets(run: Run) -> None:
    for swath, index, *_ in _pairs(run, "coarse offsets"):
        read_tree(Path(run.state.values["geometrydirectoryname"], "overlaps", f"IW{swath}",
                       f"hgt_{index + 1:02d}_{index + 2:02d}.rdr.xml"))  # fmt: skip
    for path, shape in _each(run, run.state.values["coarseoffsetsdirectoryname"], ("azimuth", "range")):
        run.wrote(write_sparse(path.with_name(f"{path.name}.off"), shape, OFFSET, _ones(shape, 0.5)))


def _ones(shape: tuple[int, int], value: complex) -> Callable[[Any], Any]:
    def lines(numbers: Array) -> Array:
        import numpy as np

        return np.full((len(numbers), shape[1]), value)

    return lines


def coarse_resamp(run: Run) -> None:
    _pairs(run, "coarse resamp")
    for path, _ in _each(run, run.state.values["coarseoffsetsdirectoryname"], ("azimuth", "range")):
        read_tree(f"{path}.off.xml")
    folder = run.state.values["coarsecoregdirectoryname"]
    for path, shape in _each(run, folder, ("burst",)):
        run.wrote(write_sparse(path.with_name(f"{path.name}.slc"), shape, SLC, _ones(shape, 100.0)))
    _write_products(run, Path(folder, "overlaps"))


def overlap_ifg(run: Run) -> None:
    import numpy as np

    (rl, al), values = run.looks, run.state.values
    _pairs(run, "overlap ifg")
    for path, _ in _each(run, values["coarsecoregdirectoryname"], ("burst",)):
        read_tree(f"{path}.slc.xml")
    for path, shape in _each(run, values["coarseinterferogramdirectoryname"], ("burst",)):
        run.wrote(write_sparse(path.with_name(f"{path.name}.int"), shape, INT, _ones(shape, 1e4)))
        small = np.full((shape[0] // al, shape[1] // rl), 1e4 + 0j)
        run.wrote(write_image(path.with_name(f"{path.name}.{al}alks_{rl}rlks.int"), small, LOOKED, looked_axes(rl, al)))
    _write_products(run, Path(values["coarseinterferogramdirectoryname"], "overlaps"))


def _averaged(values: Array, looks: int) -> Array:
    return values[: len(values) // looks * looks].reshape(-1, looks).mean(1)


def prep_esd(run: Run) -> None:
    """Double differences whose phase is that of the injected misregistration, and the real one's divisor."""
    import numpy as np

    settings, esd = run.settings, run.options.esd
    al, rl = int(settings["esdazimuthlooks"]), int(settings["esdrangelooks"])
    for path, _ in _each(run, run.state.values["coarseinterferogramdirectoryname"], ("burst",)):
        read_tree(f"{path}.int.xml")
    for swath, index, first, second in _pairs(run, "prepesd"):
        folder, shape = Path(run.state.values["esddirectoryname"]), (overlap(first, second)[1], first.samples)
        true = 2 * np.pi * first.interval * separation(first, second)
        small = np.broadcast_to(_averaged(true, rl), (shape[0] // al, shape[1] // rl))
        spread = 2e-4 * np.sin(np.arange(small.size)).reshape(small.shape)
        phase = small * (esd["misregistration_px"] + spread)
        name, looks = f"IW{swath}_{index + 1:02d}", f"{al}alks_{rl}rlks"
        run.wrote(write_sparse(folder / f"overlap_{name}.int", shape, INT, _ones(shape, 1e6)))
        run.wrote(
            write_image(folder / f"overlap_{name}.{looks}.int", 1e7 * np.exp(1j * phase), LOOKED, looked_axes(rl, al))
        )
        run.wrote(write_image(folder / f"overlap_{name}.{looks}.cor", np.full(small.shape, esd["coherence"]), PLAIN))
        run.wrote(write_image(folder / f"freq_{name}.bin", np.broadcast_to(FACTOR * true, shape), PLAIN))
        run.wrote(write_image(folder / f"freq_{name}.{looks}.bin", FACTOR * small, PLAIN_LOOKED, looked_axes(rl, al)))


def esd(run: Run) -> None:
    """Estimate the misregistration from the files of prepesd, as the real one does."""
    import numpy as np

    settings, values = run.settings, run.state.values
    if not settings["doesd"]:
        return
    al, rl = int(settings["esdazimuthlooks"]), int(settings["esdrangelooks"])
    folder, offsets, interval = Path(values["esddirectoryname"]), [np.array([])], 0.0
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
        run.wrote(write_image(folder / f"combined_IW{swath}.int", ifg, INT))
        for name, data in ((f"combined_freq_IW{swath}.bin", freq), (f"combined_IW{swath}.cor", cor)):
            run.wrote(write_image(folder / name, data, PLAIN))
        run.wrote(write_image(folder / f"combined_IW{swath}.off", off, PLAIN))
        offsets.append(off[(np.abs(ifg) > 0) & (cor > settings["esdcoherencethreshold"])])
        interval = run.common(swath)[0][1].interval
    found = np.concatenate(offsets)
    if found.size == 0:
        message = "Coherence threshold too strict. No points left for reliable ESD estimate"
        raise RuntimeError(message)
    say("Matplotlib could not be imported. Skipping debug plot...")
    median = float(np.median(found))
    run.tell("topsinsar.esd", "runESD", {"esd": {
        "Median": median, "Mean": float(found.mean()), "Std": float(found.std()),
        "coherence threshold": settings["esdcoherencethreshold"], "number of coherent points": found.size,
    }})  # fmt: skip
    values["secondarytimingcorrection"] = median * interval


def range_coreg(run: Run) -> None:
    settings = run.settings
    if not settings["doesd"]:
        return
    bursts = [first for _, _, first, _ in _pairs(run, "range coreg")]
    for path, _ in _each(run, run.state.values["coarsecoregdirectoryname"], ("burst",)):
        read_tree(f"{path}.slc.xml")
    shift = run.options.esd["range_shift_px"]
    run.tell("topsinsar.rangecoreg", "runRangeCoreg", {"esd": {
        "Median": 0.0, "Mean": shift, "Std": 0.013, "snr threshold": settings["offsetsnrthreshold"],
        "number of coherent points": 800 * len(bursts),
    }})  # fmt: skip
    run.state.values["secondaryrangecorrection"] = shift * bursts[0].spacing
