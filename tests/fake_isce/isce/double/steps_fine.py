"""The fine steps: fineoffsets, fineresamp, ion, burstifg.

The double resamples nothing. What a step did to the timing travels in a sample that no valid line holds, the middle
one of line 0: offsets in pixels in the ``.off`` files, then ``residual in microseconds + 1j * range shift in metres``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .frame import Burst
from .geometry import Array
from .images import COR, INT, LOOKED, OFFSET, PLAIN, SLC, UNWRAPPED, multilooked_axes
from .markup import read_tree
from .output import say
from .run import Run

INVALID = -999999.0
MARGIN = 5


def middle_sample(path: Path, samples: int, dtype: str) -> Any:
    """The sample in the middle of a file's first line; zero where the file ends before it."""
    row = np.fromfile(path, dtype, samples)
    return row[samples // 2] if row.size > samples // 2 else row.dtype.type(0)


def fine_offsets(run: Run) -> None:
    values, swaths = run.state.values, run.swaths()
    for swath in swaths:
        folder = run.folder("fineoffsets", f"IW{swath}")
        for index, burst in run.common(swath):
            read_tree(run.folder("geometry", f"IW{swath}", f"lat_{index + 1:02d}.rdr.xml"))
            shifts = {
                "azimuth": values["secondarytimingcorrection"] / burst.interval,
                "range": values["secondaryrangecorrection"] / burst.spacing,
            }
            for name, shift in shifts.items():

                def lines(numbers: Array, shift: float = shift, samples: int = burst.samples) -> Array:
                    rows = np.full((len(numbers), samples), shift)
                    rows[:, 0] = INVALID
                    return rows

                path = folder / f"{name}_{index + 1:02d}.off"
                run.write_sparse(path, (burst.lines, burst.samples), OFFSET, lines)


def _marked_lines(samples: int, value: complex, mark: complex) -> Any:
    def lines(numbers: Array) -> Array:
        rows = np.full((len(numbers), samples), value, complex)
        rows[0, samples // 2] = mark
        return rows

    return lines


def _read_header(path: Path) -> Any:
    return read_tree(path.with_name(f"{path.name}.xml"))


def fine_resamp(run: Run) -> None:
    values = run.state.values
    for swath in run.swaths():
        run.frame(values["secondaryslcproduct"], swath)
        say(f"Shifts IW-{swath}: ", {index: 0 for index, _ in run.common(swath)})
        bursts = []
        for index, burst in run.common(swath):
            offsets = run.folder("fineoffsets", f"IW{swath}")
            azimuth, slant = (
                float(middle_sample(offsets / f"{name}_{index + 1:02d}.off", burst.samples, "<f4"))
                for name in ("azimuth", "range")
            )
            residual = (run.options.esd["misregistration_px"] - azimuth) * burst.interval
            path = run.folder("finecoreg", f"IW{swath}", f"burst_{index + 1:02d}.slc")
            mark = complex(residual * 1e6, slant * burst.spacing)
            shape = (burst.lines, burst.samples)
            run.write_sparse(path, shape, SLC, _marked_lines(burst.samples, 100.0, mark))
            line, lines, sample, samples = burst.valid
            cut = burst.with_values(
                firstvalidline=line + MARGIN, numberofvalidlines=lines - 2 * MARGIN,
                firstvalidsample=sample + MARGIN, numberofvalidsamples=samples - 2 * MARGIN,
            )  # fmt: skip
            bursts.append(Burst({**cut.tree, "image": _read_header(path)}))
        frame = run.frame(values["referenceslcproduct"], swath).with_bursts(bursts)
        run.write_frame(frame, run.folder("finecoreg", f"IW{swath}.xml"))


def ion(run: Run) -> None:
    """Two sub-bands and an ionosphere of zero between them; under NumPy 2 the real one stops here."""
    settings, values = run.settings, run.state.values
    if not settings["doionospherecorrection"]:
        return
    if run.options.numpy2:
        message = "`np.asfarray` was removed in the NumPy 2.0 release. Use `np.asarray` with a proper dtype instead."
        raise AttributeError(message)
    lines = 0
    for swath in run.swaths():
        run.frame(values["secondaryslcproduct"], swath)
        for index, burst in run.common(swath):
            for name in ("azimuth", "range"):
                path = run.folder("fineoffsets", f"IW{swath}", f"{name}_{index + 1:02d}.off")
                middle_sample(path, burst.samples, "<f4")
            lines += burst.lines
        _sub_bands(run, swath)
    looks = (
        int(settings["totalnumberofrangelooksintheionosphereprocessing"]),
        int(settings["totalnumberofazimuthlooksintheionosphereprocessing"]),
    )
    small = np.zeros((max(1, lines // looks[1]), max(1, burst.samples // looks[0])))
    for name in ("raw_no_projection.ion", "raw_no_projection.cor", "raw.ion", "raw.cor", "filt.ion"):
        run.write_image(Path("ion", "ion_cal", name), small, PLAIN, multilooked_axes(*looks))
    for band in ("lower", "upper"):
        folder, few = Path("ion", band, "merged"), np.ones(small.shape)
        run.write_image(folder / "topophase.flat", few, LOOKED, multilooked_axes(*looks))
        run.write_image(folder / "filt_topophase.unw", [few, 0 * few], UNWRAPPED)


def _sub_bands(run: Run, swath: int) -> None:
    for band in ("lower", "upper"):
        folder = Path("ion", band, "fine_interferogram")
        for index, burst in run.common(swath):
            path, shape = folder / f"IW{swath}" / f"burst_{index + 1:02d}.int", (burst.lines, burst.samples)
            run.write_sparse(path, shape, INT, _marked_lines(burst.samples, 1e4, 0))
        run.write_frame(run.frame(run.state.values["referenceslcproduct"], swath), folder / f"IW{swath}.xml")


def burst_ifg(run: Run) -> None:
    values, (rl, al) = run.state.values, run.looks
    for swath in run.swaths():
        coregistered = run.frame(run.folder("finecoreg"), swath).bursts
        bursts = []
        for (index, burst), second in zip(run.common(swath), coregistered, strict=True):
            folder = run.folder("fineinterferogram", f"IW{swath}")
            slc = run.folder("finecoreg", f"IW{swath}", f"burst_{index + 1:02d}.slc")
            offset = run.folder("fineoffsets", f"IW{swath}", f"range_{index + 1:02d}.off")
            mark, _ = middle_sample(slc, burst.samples, "<c8"), middle_sample(offset, burst.samples, "<f4")
            shape, path = (burst.lines, burst.samples), folder / f"burst_{index + 1:02d}.int"
            run.write_sparse(path, shape, INT, _marked_lines(burst.samples, 1e4, complex(mark)))
            small = np.full((burst.lines // al, burst.samples // rl), 1e4 + 0j)
            looked = path.with_name(f"burst_{index + 1:02d}.{al}alks_{rl}rlks.int")
            run.write_image(looked, small, LOOKED, multilooked_axes(rl, al))

            def both(numbers: Array, samples: int = burst.samples) -> Array:
                return np.full((2, len(numbers), samples), 0.8)

            run.write_sparse(path.with_suffix(".cor"), shape, COR, both)
            bursts.append(Burst({**second.tree, "image": _read_header(path)}))
        frame = run.frame(values["referenceslcproduct"], swath).with_bursts(bursts)
        run.write_frame(frame, run.folder("fineinterferogram", f"IW{swath}.xml"))
