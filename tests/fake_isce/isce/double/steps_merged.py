"""The step mergebursts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .frame import Burst, Frame, seconds_between
from .geometry import Array, Scene, fit_scene
from .images import (
    COR,
    HEIGHT,
    INT,
    LATITUDE,
    LONGITUDE,
    LOOKED,
    LOOKED_COR,
    PLAIN,
    SIGHT,
    SLC,
    Kind,
    View,
    multilooked_axes,
    read_image,
)
from .markup import read_tree
from .output import say
from .run import Run
from .steps_fine import middle_sample
from .steps_overlap import separation


def look_centres(run: Run, scene: Scene) -> tuple[Array, Array]:
    """Full-resolution lines and samples at the centres of the multilooked pixels, to broadcast."""
    rl, al = run.looks
    lines = np.arange(scene.lines // al) * al + (al - 1) / 2
    samples = np.arange(scene.samples // rl) * rl + (rl - 1) / 2
    return lines[:, None], samples[None, :]


def _frames(run: Run, folder: str) -> list[tuple[int, Frame]]:
    return [(swath, run.frame(run.folder(folder), swath)) for swath in run.swaths()]


def _fit_merged(run: Run, frames: list[tuple[int, Frame]]) -> Scene:
    """The merged image of ground as flat as the first line of each burst."""
    heights = [
        middle_sample(run.folder("geometry", f"IW{swath}", f"hgt_{number:02d}.rdr"), burst.samples, "<f8")
        for swath, frame in frames
        for number, burst in enumerate(frame.bursts, run.limits(swath)[0] + 1)
    ]
    return fit_scene([frame for _, frame in frames], float(np.mean(heights)))


def _origin(burst: Burst, scene: Scene) -> tuple[int, int]:
    """Line and sample of the merged image at which a burst starts."""
    return round(seconds_between(burst.start, scene.start) / scene.interval), round(
        (burst.near - scene.near) / scene.spacing
    )


def _views(run: Run, scene: Scene, swath: int, bursts: list[Burst], pattern: str) -> list[View]:
    first = run.limits(swath)[0]
    views = []
    for number, burst in enumerate(bursts):
        name, top = pattern.format(swath, first + number + 1), burst.valid[0]
        shape = (burst.lines, burst.samples)
        views.append(View(f"../{name}.vrt", top, _origin(burst, scene)[0] + top, burst.valid[1], shape))
    return views


def _mosaics(run: Run, scene: Scene, frames: list[tuple[int, Frame]]) -> None:
    """The ``*.full`` views over the burst folders."""
    values = run.state.values
    ifg, geometry = run.folder("fineinterferogram"), run.folder("geometry")
    sorts: list[tuple[str, Kind, str, str]] = [
        ("topophase.flat", INT, ifg, "burst_{:02d}.int"), ("topophase.cor", COR, ifg, "burst_{:02d}.cor"),
        ("lat.rdr", LATITUDE, geometry, "lat_{:02d}.rdr"), ("lon.rdr", LONGITUDE, geometry, "lon_{:02d}.rdr"),
        ("z.rdr", HEIGHT, geometry, "hgt_{:02d}.rdr"), ("los.rdr", SIGHT, geometry, "los_{:02d}.rdr"),
        ("reference.slc", SLC, values["referenceslcproduct"], "burst_{:02d}.slc"),
        ("secondary.slc", SLC, run.folder("finecoreg"), "burst_{:02d}.slc"),
    ]  # fmt: skip
    for name, kind, folder, end in sorts:
        first, pattern = frames[0][0], f"{folder}/IW{{}}/{end}"
        read_tree(Path(pattern.format(first, run.limits(first)[0] + 1) + ".xml"))
        views = [v for swath, frame in frames for v in _views(run, scene, swath, list(frame.bursts), pattern)]
        path = run.folder("mergedproducts", f"{name}.full")
        run.write_virtual(path, (scene.lines, scene.samples), kind, views)


def _count_lines(path: Path, burst: Burst) -> int:
    """How many whole lines of a burst's interferogram the disk holds."""
    return path.stat().st_size // (8 * burst.samples)


def _phase_errors(run: Run, scene: Scene, frames: list[tuple[int, Frame]]) -> tuple[Array, Array]:
    """Where there is data, and the phase that residual misregistration and range shift leave there (radians)."""
    lines, samples = look_centres(run, scene)
    valid, error = (np.zeros((lines.size, samples.size), kind) for kind in (bool, float))
    for swath, frame in frames:
        for number, burst in enumerate(frame.bursts):
            index = run.limits(swath)[0] + number
            path = run.folder("fineinterferogram", f"IW{swath}", f"burst_{index + 1:02d}.int")
            mark, (line, sample) = middle_sample(path, burst.samples, "<c8"), _origin(burst, scene)
            first, count, left, wide = burst.valid
            count = min(count, _count_lines(path, burst) - first)
            own = (lines >= line + first) & (lines < line + first + count)
            own = own & (samples >= sample + left) & (samples < sample + left + wide)
            following = burst.with_values(sensingstart=burst.stop)
            sweep = separation(burst, following).mean() / seconds_between(burst.stop, burst.start)
            time = (lines - line - burst.lines / 2) * burst.interval
            phase = 2 * np.pi * sweep * time * mark.real * 1e-6 - 4 * np.pi / burst.wavelength * mark.imag
            error = np.where(own, phase, error)
            valid |= own
    return valid, error


def merge_bursts(run: Run) -> None:
    import fake_truth

    frames = _frames(run, "fineinterferogram")
    scene, truth = _fit_merged(run, frames), run.options.truth
    _mosaics(run, scene, frames)
    valid, error = _phase_errors(run, scene, frames)
    lat, lon, *sight = np.moveaxis(scene.look(*look_centres(run, scene)), -1, 0)
    amplitude = fake_truth.amplitude(lat, lon, truth) * valid
    noise = fake_truth.noise(lat, lon, run.looks[0] * run.looks[1], truth)
    flat = amplitude * np.exp(1j * (fake_truth.phase(lat, lon, truth) + error + noise))
    _add_ionosphere(run, flat)
    cor = np.stack([amplitude, fake_truth.coherence(lat, lon, truth) * valid])
    merged, axes = run.folder("mergedproducts"), multilooked_axes(*run.looks)
    for name, data, kind in (
        ("topophase.flat", flat, LOOKED),
        ("los.rdr", sight, SIGHT),
        ("topophase.cor", cor, LOOKED_COR),
    ):
        say(f"Multilooking {merged / name}.full ...")
        run.write_image(merged / name, data, kind, axes)


def _add_ionosphere(run: Run, flat: Array) -> None:
    """Write the ionosphere's phase, zero here."""
    if not run.settings["doionospherecorrection"]:
        return
    read_image(Path("ion", "ion_cal", "filt.ion"))
    merged = run.folder("mergedproducts")
    run.write_image(merged / "topophase.ion", np.zeros(flat.shape), PLAIN)


def refuse(_run: Run) -> None:
    message = "the double makes nothing of the merged image: topsar never asks for it"
    raise NotImplementedError(message)
