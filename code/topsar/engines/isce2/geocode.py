"""From topsApp's merged image to the map, and what is done there: filter and unwrap.

A pixel of the map is the mean of points spread over its ground, each interpolated linearly between pixels of the merged
image. topsApp's own geocoding takes a sinc over eight by eight of its pixels, or the nearest, and so loses four at each
side of the image; its filter knows nothing of the noise that there is.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import map_coordinates

from topsar.engines.ground import find_ground_points, measure_pixel, open_dem_under
from topsar.engines.isce2.esd import RANGE_SHIFT
from topsar.engines.isce2.ion import read_ionosphere
from topsar.engines.isce2.tasks import BEAM_SPEED_M_S
from topsar.engines.isce2.topsapp import UNTRIED
from topsar.engines.layers import estimate_phase_noise
from topsar.engines.passes import describe_pass
from topsar.engines.unwrapping import write_unwrapped
from topsar.engines.viewing import GROUND_SPEED, MID_INCIDENCE_RAD, describe_geometry, fit_pass_arc
from topsar.errors import StepFailed
from topsar.files import read_json, save_array, write_json
from topsar.kernels.filter import filter_phase
from topsar.kernels.geometry import geo2rdr, line_of_sight
from topsar.kernels.statistics import coherence_at_zero, count_looks, count_phase_looks
from topsar.model import SPEED_OF_LIGHT, Looks, Window
from topsar.raster.isce_image import read_isce_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.engines.isce2.tasks import TopsAppTask
    from topsar.engines.isce2.topsapp import TopsAppRun
    from topsar.engines.passes import PassFacts
    from topsar.kernels.geometry import OrbitArc
    from topsar.model import GeoGrid, Orbit, RadarGrid
    from topsar.raster import HeightField

GEOCODED, FILTERED, UNWRAPPED = "geocoded", "filtered", "unwrapped"
"""Folders in topsApp's run folder with arrays on the map."""
MOST_POINTS = 8
"""A pixel is the mean of at most so many points each way."""
STRIP_ROWS = 64
"""Rows of the map that are geocoded at once."""
OUTSIDE = -10.0
"""A line or sample that no merged image has."""
_LEAST_SHARE = 0.5
"""Of a burst, in the merged image: passes are seldom apart by more than a tenth of it."""
_COHERENCE_LOOKS = Looks(east=5, north=5)
"""topsApp estimates coherence over 5 by 5 single looks, and averages that."""
_COHERENCE_WEIGHTS = {-2: 1 / 9, -1: 2 / 9, 0: 3 / 9, 1: 2 / 9, 2: 1 / 9}
"""Of these single looks, in range and in azimuth; the bias of the estimate is that of equal ones down to 0.4."""
_LEAST_KEPT = 0.5
"""What fringes leave of coherence where they are so narrow, in layover, that their number is not known."""


def load_orbits(task: TopsAppTask) -> tuple[Orbit, Orbit]:
    """The orbits of reference and secondary."""
    swath = task.bursts[0].reference.swath
    return task.reference_orbit.load(swath, task.polarisation), task.secondary_orbit.load(swath, task.polarisation)


def fit_arcs(task: TopsAppTask, orbits: tuple[Orbit, Orbit]) -> tuple[OrbitArc, OrbitArc]:
    """The orbits of reference and secondary over all bursts."""
    return (
        fit_pass_arc(orbits[0], [both.reference for both in task.bursts]),
        fit_pass_arc(orbits[1], [both.secondary for both in task.bursts]),
    )


def _describe_passes(task: TopsAppTask, orbits: tuple[Orbit, Orbit]) -> dict[str, PassFacts]:
    return {
        "reference": describe_pass(task.reference_orbit, orbits[0], [both.reference for both in task.bursts]),
        "secondary": describe_pass(task.secondary_orbit, orbits[1], [both.secondary for both in task.bursts]),
    }


def count_points(task: TopsAppTask) -> Looks:
    """Count the points of a pixel of the map: about one for each pixel of the merged image in it."""
    merged = task.merged
    cell_m = merged.range_spacing_m / math.sin(MID_INCIDENCE_RAD), merged.line_interval_s * BEAM_SPEED_M_S
    sides = zip(measure_pixel(task.grid), cell_m, strict=True)
    east, north = (min(max(round(side / cell), 1), MOST_POINTS) for side, cell in sides)
    return Looks(east=east, north=north)


def write_geocoded(run: TopsAppRun) -> None:
    """Write topsApp's merged images on the map, the true coherence, and what is known of looks and geometry there.

    Raises
    ------
    StepFailed
        If the merged image is not that of the bursts and looks that were planned, or no pixel has data.
    """
    task = run.task
    images = _read_merged(run)
    ionosphere, told = _read_ionosphere(run)
    _require_bursts(task, images["interferogram"] != 0)
    orbits = load_orbits(task)
    arcs = fit_arcs(task, orbits)
    points = count_points(task)
    field = open_dem_under(task.dem, task.grid)
    found = {name: np.zeros(task.grid.shape, image.dtype) for name, image in (images | ionosphere).items()}
    kept = np.ones(task.grid.shape, np.float32)
    inside = slice(None), slice(points.north, -points.north), slice(points.east, -points.east)
    for top in range(0, task.grid.rows, STRIP_ROWS):
        rows = min(STRIP_ROWS, task.grid.rows - top)
        around = Window(row=top - 1, column=-1, rows=rows + 2, columns=task.grid.columns + 2)
        at, share = _place_points(task, task.grid.crop(around).refine(points), field, arcs)
        pixels = rows, points.north, task.grid.columns, points.east
        kept[top : top + rows] = share[inside[1:]].reshape(pixels).mean(axis=(1, 3))
        for group in (images, ionosphere):
            for name, values in average_points(group, at[inside], points).items():
                found[name][top : top + rows] = values
    if not found["interferogram"].any():
        msg = f"no pixel of {task.facts.pair} has data of both dates"
        raise StepFailed(msg, hint="is ROI inside the bursts, and does the DEM have heights there?")
    centre = Window(row=task.grid.rows // 2, column=task.grid.columns // 2, rows=1, columns=1)
    _, middle = find_ground_points(task.grid.crop(centre), field)
    facts = _describe_looks(task, middle[0, 0], arcs, points) | {"passes": _describe_passes(task, orbits)} | told
    unbiased = _remove_bias(found["coherence"], facts["coherence_bias_at_zero"])
    found["true_coherence"] = np.minimum(unbiased / kept, 1)
    folder = run.folder / GEOCODED
    folder.mkdir(exist_ok=True)
    for name, values in found.items():
        save_array(folder / f"{name}.npy", values)
    write_json(folder / "facts.json", facts)


def _place_points(
    task: TopsAppTask, grid: GeoGrid, field: HeightField, arcs: tuple[OrbitArc, OrbitArc]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractional lines and samples of the merged image, (2, rows, columns), and the coherence that is kept there."""
    merged, wavelength_m = task.merged, task.bursts[0].reference.wavelength_m
    heights, places = find_ground_points(grid, field)
    time, range_m = geo2rdr(places, arcs[0])
    cycles = 2 / wavelength_m * (geo2rdr(places, arcs[1])[1] - range_m)
    at = locate_merged(merged, arcs[0], time, range_m)
    share = _keep_coherence(cycles, at[0] * task.looks.north, at[1] * task.looks.east)
    at[:, ~(np.isfinite(heights) & np.isfinite(at).all(axis=0))] = OUTSIDE
    return at, share


def locate_merged(
    merged: RadarGrid, arc: OrbitArc, time: NDArray[np.float64], range_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find fractional lines and samples of a merged image, (2, rows, columns).

    Parameters
    ----------
    merged : RadarGrid
    arc : OrbitArc
        Whose ``time`` it is.
    time, range_m : (rows, columns) float64
    """
    line = (time - arc.seconds(merged.first_line_time)) / merged.line_interval_s
    return np.array([line, (range_m - merged.near_range_m) / merged.range_spacing_m])


def _read_ionosphere(run: TopsAppRun) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The merged ionosphere by its name, and what the facts say of it; nothing where it was not asked for."""
    if not run.task.ionosphere:
        return {}, {}
    image, facts = read_ionosphere(run)
    return {} if "refused" in facts else {"ionosphere": image}, {"ionosphere": facts}


def _read_merged(run: TopsAppRun) -> dict[str, NDArray[Any]]:
    """The merged images by the names of what they hold, zero without signal."""
    task, merged = run.task, run.folder / "merged"
    cross = read_isce_image(merged / "topophase.flat")[0] * _undo_range_shift(run)
    amplitude, coherence = read_isce_image(merged / "topophase.cor")
    images = {"interferogram": cross, "amplitude": amplitude, "coherence": coherence}
    planned = task.merged.shape
    for name, image in images.items():
        if image.shape != planned:
            msg = f"topsApp's merged {name} has {image.shape} pixels, {task.looks} looks of its bursts {planned}"
            raise StepFailed(msg, hint=UNTRIED)
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(cross) & np.isfinite(amplitude) & (cross != 0) & (coherence > 0)
    return {name: np.where(seen, image, 0) for name, image in images.items()}


def _undo_range_shift(run: TopsAppRun) -> np.complex64:
    """A factor that gives back the phase which topsApp takes off with its range shift.

    A delay moves samples, not their phase; topsApp counts flat earth from where it read the samples, and so takes off
    4π/λ times the shift: a constant, which differs from pair to pair and keeps triangles from closing.
    """
    shift_m = run.read_number(*RANGE_SHIFT)
    return np.complex64(np.exp(4j * np.pi / run.task.bursts[0].reference.wavelength_m * shift_m))


def _require_bursts(task: TopsAppTask, seen: NDArray[np.bool_]) -> None:
    """Refuse a merged image with a hole where there should be a burst."""
    merged = task.merged
    for both in task.bursts:
        burst, valid = both.reference.grid, both.reference.valid
        line = (burst.first_line_time - merged.first_line_time).total_seconds() / merged.line_interval_s
        sample = (burst.near_range_m - merged.near_range_m) / merged.range_spacing_m
        top, bottom = (round(line + row / task.looks.north) for row in (valid.row, valid.row_stop))
        left, right = (round(sample + column / task.looks.east) for column in (valid.column, valid.column_stop))
        share = float(seen[top:bottom, left:right].mean())
        if share < _LEAST_SHARE:
            msg = f"topsApp's merged image shows {100 * share:.0f} % of burst {both.reference.label}"
            raise StepFailed(msg, hint="start the run again; if that does not help, set ENGINE=native")


def average_points(images: dict[str, NDArray[Any]], at: NDArray[np.float64], points: Looks) -> dict[str, NDArray[Any]]:
    """Means over the points of each pixel, zero where fewer than half of them fall where the first image has signal.

    ``at`` holds fractional lines and samples of the merged image, (2, rows · points, columns · points).
    """
    if not images:
        return {}
    seen = (next(iter(images.values())) != 0).astype(np.float32)
    pixels = at.shape[1] // points.north, points.north, at.shape[2] // points.east, points.east

    def interpolate(image: NDArray[Any]) -> NDArray[Any]:
        sampled = map_coordinates(image, at, order=1, output=np.float32, mode="grid-constant")
        total: NDArray[Any] = np.where(counted, sampled, 0).reshape(pixels).sum(axis=(1, 3))
        return total

    counted = map_coordinates(seen, at, order=0, mode="grid-constant") > 0
    weight = interpolate(seen)
    kept = (2 * counted.reshape(pixels).sum(axis=(1, 3)) >= points.count) & (weight > 0)
    found: dict[str, NDArray[Any]] = {}
    for name, image in images.items():
        total = interpolate(image.real * seen)
        if np.iscomplexobj(image):
            total = total + 1j * interpolate(image.imag * seen)
        found[name] = np.divide(total, weight, out=np.zeros_like(total), where=kept)
    return found


def _describe_looks(
    task: TopsAppTask, middle_m: NDArray[np.float64], arcs: tuple[OrbitArc, OrbitArc], points: Looks
) -> dict[str, Any]:
    """Facts of wavelength, baseline and looks of a pixel, and the bias of topsApp's coherence."""
    merged, grid, burst = task.merged, task.bursts[0].reference.grid, task.bursts[0].reference
    time, _ = geo2rdr(middle_m[None], arcs[0])
    up = float(line_of_sight(middle_m[None], arcs[0].position(time))[0, 2])
    speed = float(np.linalg.norm(arcs[0].velocity(time))) * GROUND_SPEED
    cell_m = merged.range_spacing_m / math.sqrt(1 - up**2), merged.line_interval_s * speed
    sides = zip(measure_pixel(task.grid), cell_m, (points.east, points.north), strict=True)
    across, along = (_count_cells(side / count / cell, count) for side, cell, count in sides)
    averaged = Looks(east=round(task.looks.east * across), north=round(task.looks.north * along))
    in_range = 2 / SPEED_OF_LIGHT * grid.range_spacing_m * burst.range_bandwidth_hz
    cells = np.diag([in_range, grid.line_interval_s * burst.azimuth_bandwidth_hz])
    return describe_geometry(middle_m, arcs, burst) | {
        "independent_looks": count_phase_looks(averaged, cells),
        "coherence_bias_at_zero": coherence_at_zero(count_looks(_COHERENCE_LOOKS, cells)),
    }


def _keep_coherence(
    cycles: NDArray[np.float64], line: NDArray[np.float64], sample: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The share of coherence that topsApp's estimate keeps: fringes of flat earth and relief are in its single looks.

    All are (rows, columns), at points of the map: the phase of the fringes, and the place in the image of single looks.
    """
    (down, across), (line_down, line_across), (sample_down, sample_across) = map(np.gradient, (cycles, line, sample))
    area = line_down * sample_across - line_across * sample_down
    share = np.ones_like(cycles)
    with np.errstate(divide="ignore", invalid="ignore"):
        for rate in (down * sample_across - across * sample_down, across * line_down - down * line_across):
            angle = 2 * np.pi * rate / area
            share *= sum(weight * np.cos(place * angle) for place, weight in _COHERENCE_WEIGHTS.items())
    return np.where(np.isfinite(share), np.maximum(share, _LEAST_KEPT), 1.0)


def _count_cells(apart: float, points: int) -> float:
    """Count the pixels of noise that are averaged in a row of points interpolated linearly, so many pixels apart.

    The mean square of the weights is that of overlapping triangles: a cubic B-spline of the distance of two points.
    """
    from scipy.interpolate import BSpline  # half a second in every step, if it were loaded above

    overlap = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    distances = apart * np.subtract.outer(np.arange(points), np.arange(points))
    return points**2 / float(np.nansum(overlap(distances)))


def write_filtered(run: TopsAppRun) -> None:
    """Write the filtered interferogram."""
    folder = run.folder / FILTERED
    folder.mkdir(exist_ok=True)
    cross, coherence, looks = load_signal(run.folder)
    noise = estimate_phase_noise(coherence, looks)
    save_array(folder / "filtered.npy", filter_phase(cross, coherence, noise, run.task.filter_strength))


def write_unwrapped_phase(run: TopsAppRun) -> None:
    """Unwrap the filtered interferogram, or leave it."""
    _, coherence, looks = load_signal(run.folder)
    filtered = np.load(run.folder / FILTERED / "filtered.npy")
    write_unwrapped(filtered, coherence, looks, run.task.unwrapper, run.folder / UNWRAPPED)


def load_signal(run: Path) -> tuple[NDArray[np.complex64], NDArray[np.float32], float]:
    """Interferogram, coherence without what topsApp's estimate adds and loses, and independent looks of a pixel."""
    cross, coherence = (np.load(run / GEOCODED / f"{name}.npy") for name in ("interferogram", "true_coherence"))
    return cross, coherence, read_json(run / GEOCODED / "facts.json")["independent_looks"]


def _remove_bias(coherence: NDArray[np.float32], at_zero: float) -> NDArray[np.float32]:
    """Coherence without the bias of its estimate: topsApp averages estimates of few looks.

    An estimate of L looks has the mean square γ² + (1 - γ²)²/L, to first order in 1/L, here solved for γ².
    """
    bias = at_zero**2
    root = np.sqrt(np.maximum((1 - 2 * bias) ** 2 + 4 * bias * (coherence**2 - bias), 0))
    return np.asarray(np.sqrt(np.clip((root - 1 + 2 * bias) / (2 * bias), 0, 1)), np.float32)
