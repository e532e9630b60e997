"""From topsApp's geocoded images to the layers of an `Interferogram`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import map_coordinates

from topsar.engines.facts import describe
from topsar.engines.ground import LONLAT, change_crs, find_ground_points, open_dem_under
from topsar.engines.isce2.config import IONOSPHERE, UNWRAPPED
from topsar.engines.isce2.esd import FACTS
from topsar.engines.isce2.image_file import read_isce_image
from topsar.engines.isce2.tasks import RUN, TopsAppTask, describe_version
from topsar.engines.isce2.topsapp import UNTRIED
from topsar.engines.layers import (
    compute_incidence,
    describe_filter,
    estimate_phase_noise,
    index_bursts,
    make_unwrapped_layers,
    mask_unseen,
)
from topsar.engines.step import load_task
from topsar.engines.viewing import (
    MID_INCIDENCE_RAD,
    describe_geometry,
    fit_burst_arc,
    fit_pass_arc,
    locate,
    measure_ground_speed,
    measure_margin,
)
from topsar.engines.water import find_water, warp_water
from topsar.errors import StepFailed
from topsar.files import read_json
from topsar.interferogram import Interferogram, make_layers
from topsar.kernels.geometry import find_viewing_geometry
from topsar.kernels.statistics import coherence_at_zero
from topsar.kernels.visibility import find_layover_shadow
from topsar.raster import compute_pixel_centres

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc

_STRIP_ROWS = 256
_COHERENCE_SAMPLES = 25
"""topsApp estimates coherence over 5 by 5 single looks, and averages that."""


def collect(folder: Path) -> Interferogram:
    """Gather the results of the pair in ``folder``.

    Raises
    ------
    StepFailed
        If topsApp geocoded onto another grid than planned, or no pixel has data of both dates.
    """
    task = load_task(folder, RUN, TopsAppTask)
    height, points = find_ground_points(task.grid, open_dem_under(task.dem, task.grid))
    arcs = _load_arcs(task)
    measured = _describe_geometry(task, points, arcs)
    arrays = _read_arrays(task, folder / RUN, np.isfinite(height))
    arrays["height"] = height
    time, range_m, off_nadir, los = find_viewing_geometry(points, arcs[0])
    arrays["layover_shadow"] = find_layover_shadow(time, range_m, off_nadir, height)
    _fill_line_of_sight(arrays, los)
    arrays["water"] = warp_water(task.water_mask, task.grid) if task.water_mask else find_water(task.dem, task.grid)
    arrays["phase_noise"] = estimate_phase_noise(
        _remove_bias(arrays["coherence"], measured["coherence_bias_at_zero"]), measured["independent_looks"]
    )
    labels, arrays["burst"] = _assign_bursts(task, points, np.isfinite(arrays["wrapped_phase"]))
    gamma = arrays["coherence"]
    facts = describe(task.facts, (task.reference_orbit, task.secondary_orbit), task.dem, task.grid)
    facts |= {
        "looks": str(task.looks),
        "engine": "isce2",
        "engine_version": describe_version(task.installation),
        **measured,
        "coherence_mean": float(np.nanmean(gamma)),
        "valid_share": float(np.isfinite(gamma).mean()),
        "azimuth_misregistration": read_json(folder / RUN / FACTS),
        "bursts": labels,
        "filter": describe_filter(arrays),
    }
    return Interferogram(pair_id=task.facts.pair, grid=task.grid, layers=make_layers(arrays), facts=facts)


# --- topsApp's images -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _GeocodedImages:
    """topsApp's geocoded images in ``run``, read at the pixels of the products: fractional rows and columns."""

    run: Path
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, task: TopsAppTask, run: Path) -> _GeocodedImages:
        lon, lat = change_crs(task.grid.crs, LONLAT, *compute_pixel_centres(task.grid))
        grid = task.geocoding
        return cls(
            run=run, row=(grid.north - lat) / grid.dy - 0.5, column=(lon - grid.west) / grid.dx - 0.5, shape=grid.shape
        )

    def read_nearest(self, name: str) -> list[NDArray[Any]]:
        """Bands of an image at the nearest nodes; zero outside."""
        return [self._take_nearest(band) for band in self._read(name)]

    def interpolate(self, name: str) -> NDArray[np.complex64]:
        """A complex image by bilinear interpolation; zero where the nearest node is."""
        values = self._read(name)[0]
        at = np.array([self.row, self.column])
        parts = [map_coordinates(part, at, order=1, output=np.float32) for part in (values.real, values.imag)]
        return np.where(self._take_nearest(values) != 0, parts[0] + 1j * parts[1], 0).astype(np.complex64)

    def _read(self, name: str) -> NDArray[Any]:
        values = read_isce_image(self.run / f"{name}.geo")
        if values.shape[1:] != self.shape:
            msg = f"topsApp geocoded {name} onto {values.shape[1:]} nodes, not the {self.shape} in its settings"
            raise StepFailed(msg, hint=UNTRIED)
        return values

    def _take_nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        row, column = np.rint(self.row).astype(np.intp), np.rint(self.column).astype(np.intp)
        inside = (row >= 0) & (row < self.shape[0]) & (column >= 0) & (column < self.shape[1])
        picked: NDArray[Any] = np.zeros(row.shape, values.dtype)
        picked[inside] = values[row[inside], column[inside]]
        return picked


def _read_arrays(task: TopsAppTask, run: Path, known: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Layers from topsApp's images, where the ground is known."""
    images = _GeocodedImages.of(task, run)
    cross = images.interpolate("merged/topophase.flat")
    filtered = images.interpolate("merged/filt_topophase.flat")
    amplitude, gamma = images.read_nearest("merged/topophase.cor")
    seen = (cross != 0) & (gamma != 0) & known
    if not seen.any():
        msg = f"no pixel of {task.facts.pair} has data of both dates"
        raise StepFailed(msg, hint="is ROI inside the bursts, and does the DEM have heights there?")
    arrays = {
        "wrapped_phase": mask_unseen(seen, np.angle(cross)),
        "filtered_phase": mask_unseen(seen & (filtered != 0), np.angle(filtered)),
        "coherence": mask_unseen(seen, gamma),
        "amplitude": mask_unseen(seen, amplitude),
        **_convert_line_of_sight(*images.read_nearest("merged/los.rdr")),
    }
    if task.unwrapper != "none":
        strength, coarse = images.read_nearest(UNWRAPPED[0])
        # topsApp geocodes this phase by nearest neighbour, so it is a little off the interpolated one
        near, wavelength_m = mask_unseen(strength != 0, coarse), task.bursts[0].reference.wavelength_m
        arrays |= make_unwrapped_layers(arrays, near, wavelength_m)
        (components,) = images.read_nearest(UNWRAPPED[1])
        arrays["components"] = np.where(np.isfinite(arrays["unwrapped_phase"]), components, 0)
    if task.ionosphere:
        (ionosphere,) = images.read_nearest(IONOSPHERE)
        arrays["ionosphere"] = mask_unseen(seen & (ionosphere != 0), ionosphere)
    return arrays


def _convert_line_of_sight(incidence_deg: NDArray[Any], azimuth_deg: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Unit vector from the ground to the satellite; topsApp counts azimuth from north, anti-clockwise."""
    seen = incidence_deg != 0
    off_zenith, azimuth = np.radians(incidence_deg), np.radians(azimuth_deg)
    return {
        "los_east": mask_unseen(seen, -np.sin(off_zenith) * np.sin(azimuth)),
        "los_north": mask_unseen(seen, np.sin(off_zenith) * np.cos(azimuth)),
        "los_up": mask_unseen(seen, np.cos(off_zenith)),
        "incidence": mask_unseen(seen, incidence_deg),
    }


def _fill_line_of_sight(arrays: dict[str, NDArray[Any]], los: NDArray[np.float32]) -> None:
    """Outside the bursts, where topsApp has none, take the line of sight that follows from orbit and ground."""
    computed = (*los, compute_incidence(los[2]))
    for name, values in zip(("los_east", "los_north", "los_up", "incidence"), computed, strict=True):
        arrays[name] = np.where(np.isnan(arrays[name]), values, arrays[name])


def _remove_bias(coherence: NDArray[np.float32], at_zero: float) -> NDArray[np.float32]:
    """Coherence without the bias of its estimate, to first order: topsApp averages estimates of few looks."""
    square = (coherence**2 - at_zero**2) / (1 - at_zero**2)
    return np.asarray(np.sqrt(np.clip(square, 0, 1)), np.float32)


# --- geometry ---------------------------------------------------------------------------------------------------


def _describe_geometry(
    task: TopsAppTask, points: NDArray[np.float64], arcs: tuple[OrbitArc, OrbitArc]
) -> dict[str, Any]:
    burst = task.bursts[0].reference
    grid = burst.grid
    along = grid.line_interval_s * measure_ground_speed(arcs[0], float(arcs[0].seconds(grid.mid_time)))
    sample_m2 = along * grid.range_spacing_m / math.sin(MID_INCIDENCE_RAD)
    middle, looks = points[task.grid.rows // 2, task.grid.columns // 2], task.looks.count
    found = describe_geometry(middle, arcs, burst, area_m2=looks * sample_m2, most_looks=looks)
    window = found["independent_looks"] / looks * _COHERENCE_SAMPLES
    return found | {"coherence_bias_at_zero": coherence_at_zero(max(window, 1.0))}


def _load_arcs(task: TopsAppTask) -> tuple[OrbitArc, OrbitArc]:
    """The orbits of reference and secondary over all bursts."""
    swath, orbits = task.bursts[0].reference.swath, (task.reference_orbit, task.secondary_orbit)
    reference, secondary = (orbit.load(swath, task.polarisation) for orbit in orbits)
    return (
        fit_pass_arc(reference, [both.reference for both in task.bursts]),
        fit_pass_arc(secondary, [both.secondary for both in task.bursts]),
    )


def _assign_bursts(
    task: TopsAppTask, points: NDArray[np.float64], seen: NDArray[np.bool_]
) -> tuple[list[str], NDArray[np.int16]]:
    """Labels of bursts, and for each pixel the index of the burst that shows it farthest from its edge, -1 outside."""
    best = np.full(task.grid.shape, -np.inf, np.float32)
    nearest = np.full(task.grid.shape, -1, np.int16)
    orbit = task.reference_orbit.load(task.bursts[0].reference.swath, task.polarisation)
    for index, both in enumerate(task.bursts):
        burst = both.reference
        arc = fit_burst_arc(burst, orbit)
        for top in range(0, task.grid.rows, _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            margin = measure_margin(burst, *locate(points[rows], burst, arc), arc)
            better = margin > best[rows]
            best[rows] = np.where(better, margin, best[rows])
            nearest[rows] = np.where(better, np.int16(index), nearest[rows])
    nearest[~seen] = -1
    used, place = index_bursts(nearest)
    return [task.bursts[index].reference.label for index in used], place
