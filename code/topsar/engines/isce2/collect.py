"""From topsApp's geocoded images to the layers that both engines end in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import map_coordinates

from topsar.engines.facts import describe
from topsar.engines.ground import dem_under, ground_points, to_lonlat
from topsar.engines.isce2.config import IONOSPHERE
from topsar.engines.isce2.esd import FACTS
from topsar.engines.isce2.image_file import read_isce_image
from topsar.engines.isce2.state import UNTRIED
from topsar.engines.isce2.tasks import RUN, TopsAppTask, describe_version, load_task
from topsar.engines.layers import displacement, incidence, number_bursts, phase_noise, where_seen
from topsar.engines.viewing import (
    MID_INCIDENCE_RAD,
    burst_arc,
    burst_margin,
    describe_geometry,
    ground_speed,
    locate,
    pass_arc,
    view,
)
from topsar.engines.water import find_water, warp_water
from topsar.errors import StepFailed
from topsar.files import read_json
from topsar.interferogram import Interferogram, make_layers
from topsar.kernels.statistics import coherence_at_zero
from topsar.raster import pixel_centres

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import GeoGrid

COHERENCE_SAMPLES = 25
"""topsApp estimates coherence over 5 by 5 single looks, and averages that."""


def collect(folder: Path) -> Interferogram:
    """Gather the results of the pair in ``folder``.

    Raises
    ------
    StepFailed
        If topsApp geocoded onto another grid than it was told, or nothing is seen on both dates.
    """
    task = load_task(folder)
    height, points = ground_points(task.grid, dem_under(task.dem, task.grid))
    arcs = _arcs(task)
    measured = _geometry(task, points, arcs)
    arrays = _arrays(task, folder / RUN, measured["wavelength_m"], np.isfinite(height))
    arrays["height"] = height
    los, arrays["layover_shadow"] = view(points, height, arcs[0])
    _fill_line_of_sight(arrays, los)
    arrays["water"] = warp_water(task.water_mask, task.grid) if task.water_mask else find_water(task.dem, task.grid)
    arrays["phase_noise"] = phase_noise(
        _unbiased(arrays["coherence"], measured["coherence_bias_at_zero"]), measured["independent_looks"]
    )
    labels, arrays["burst"] = _bursts(task, points, np.isfinite(arrays["wrapped_phase"]))
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
    }
    return Interferogram(pair_id=task.facts.pair, grid=task.grid, layers=make_layers(arrays), facts=facts)


# --- topsApp's images -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawing:
    """Where each pixel of the products lies in topsApp's geocoded images: fractional rows and columns."""

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, task: TopsAppTask) -> _Drawing:
        lon, lat = to_lonlat(task.grid.crs, *pixel_centres(task.grid))
        grid = task.geocoding
        return cls(
            row=(grid.north - lat) / grid.dy - 0.5,
            column=(lon - grid.west) / grid.dx - 0.5,
            shape=grid.shape,
        )

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the nearest nodes; zero outside."""
        row, column = np.rint(self.row).astype(np.intp), np.rint(self.column).astype(np.intp)
        inside = (row >= 0) & (row < self.shape[0]) & (column >= 0) & (column < self.shape[1])
        picked = values[np.clip(row, 0, self.shape[0] - 1), np.clip(column, 0, self.shape[1] - 1)]
        return np.where(inside, picked, values.dtype.type(0))

    def between(self, values: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Values between the nodes, bilinearly; zero where the nearest is."""
        at = np.array([self.row, self.column])
        drawn = [map_coordinates(part, at, order=1, output=np.float32) for part in (values.real, values.imag)]
        return np.where(self.nearest(values) != 0, drawn[0] + 1j * drawn[1], 0).astype(np.complex64)


def _arrays(task: TopsAppTask, run: Path, wavelength_m: float, known: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """What topsApp made, where the ground is known."""
    drawing = _Drawing.of(task)
    cross = drawing.between(_image(run, "merged/topophase.flat", drawing)[0])
    filtered = drawing.between(_image(run, "merged/filt_topophase.flat", drawing)[0])
    amplitude, gamma = (drawing.nearest(band) for band in _image(run, "merged/topophase.cor", drawing))
    seen = (cross != 0) & (gamma != 0) & known
    if not seen.any():
        msg = f"no pixel of {task.facts.pair} is seen on both dates"
        raise StepFailed(msg, hint="is ROI inside the bursts, and does the DEM have heights there?")
    phase = where_seen(seen & (filtered != 0), np.angle(filtered))
    arrays = {
        "wrapped_phase": where_seen(seen, np.angle(cross)),
        "filtered_phase": phase,
        "coherence": where_seen(seen, gamma),
        "amplitude": where_seen(seen, amplitude),
        **_line_of_sight(*(drawing.nearest(band) for band in _image(run, "merged/los.rdr", drawing))),
    }
    if task.unwrapper != "none":
        strength, coarse = (drawing.nearest(band) for band in _image(run, "merged/filt_topophase.unw", drawing))
        arrays["unwrapped_phase"] = where_seen(strength != 0, phase + _cycles(coarse - phase))
        arrays["displacement"] = displacement(arrays["unwrapped_phase"], wavelength_m)
        components = drawing.nearest(_image(run, "merged/filt_topophase.unw.conncomp", drawing)[0])
        arrays["components"] = np.where(np.isfinite(arrays["unwrapped_phase"]), components, 0)
    if task.ionosphere:
        ionosphere = drawing.nearest(_image(run, IONOSPHERE, drawing)[0])
        arrays["ionosphere"] = where_seen(seen & (ionosphere != 0), ionosphere)
    return arrays


def _image(run: Path, name: str, drawing: _Drawing) -> NDArray[Any]:
    """Bands of a geocoded image."""
    values = read_isce_image(run / f"{name}.geo")
    if values.shape[1:] != drawing.shape:
        msg = f"topsApp geocoded {name} onto {values.shape[1:]} nodes, not the {drawing.shape} that it was told"
        raise StepFailed(msg, hint=UNTRIED)
    return values


def _cycles(difference: NDArray[Any]) -> NDArray[Any]:
    """The whole cycles nearest to a difference of phase, in radians.

    topsApp geocodes the unwrapped phase by nearest neighbour: what is taken from it is only how many cycles there are.
    """
    return 2 * np.pi * np.rint(difference / (2 * np.pi))


def _line_of_sight(incidence_deg: NDArray[Any], azimuth_deg: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Unit vector from the ground to the satellite; topsApp counts azimuth from north, anti-clockwise."""
    seen = incidence_deg != 0
    off_zenith, azimuth = np.radians(incidence_deg), np.radians(azimuth_deg)
    return {
        "los_east": where_seen(seen, -np.sin(off_zenith) * np.sin(azimuth)),
        "los_north": where_seen(seen, np.sin(off_zenith) * np.cos(azimuth)),
        "los_up": where_seen(seen, np.cos(off_zenith)),
        "incidence": where_seen(seen, incidence_deg),
    }


def _fill_line_of_sight(arrays: dict[str, NDArray[Any]], los: NDArray[np.float32]) -> None:
    """Outside the bursts, where topsApp tells none, take the line of sight that follows from orbit and ground."""
    computed = dict(zip(("los_east", "los_north", "los_up"), los, strict=True))
    computed["incidence"] = incidence(los[2])
    for name, values in computed.items():
        arrays[name] = np.where(np.isnan(arrays[name]), values, arrays[name])


def _unbiased(coherence: NDArray[np.float32], at_zero: float) -> NDArray[np.float32]:
    """Coherence with the bias of its estimate taken off, to first order: topsApp averages estimates of few looks."""
    square = (coherence**2 - at_zero**2) / (1 - at_zero**2)
    unbiased: NDArray[np.float32] = np.sqrt(np.clip(square, 0, 1)).astype(np.float32)
    return unbiased


# --- geometry ---------------------------------------------------------------------------------------------------


def _geometry(task: TopsAppTask, points: NDArray[np.float64], arcs: tuple[OrbitArc, OrbitArc]) -> dict[str, Any]:
    burst = task.bursts[0].reference
    grid = burst.grid
    along = grid.line_interval_s * ground_speed(arcs[0], float(arcs[0].seconds(grid.mid_time)))
    sample_m2 = along * grid.range_spacing_m / math.sin(MID_INCIDENCE_RAD)
    middle, looks = points[task.grid.rows // 2, task.grid.columns // 2], task.looks.count
    found = describe_geometry(middle, arcs, burst, area_m2=looks * sample_m2, most_looks=looks)
    window = found["independent_looks"] / looks * COHERENCE_SAMPLES
    return found | {"coherence_bias_at_zero": coherence_at_zero(max(window, 1.0))}


def _arcs(task: TopsAppTask) -> tuple[OrbitArc, OrbitArc]:
    """The orbits of reference and secondary over all bursts."""
    first = task.bursts[0]
    reference = task.reference_orbit.load(first.reference.swath, first.reference.polarisation)
    secondary = task.secondary_orbit.load(first.secondary.swath, first.secondary.polarisation)
    return (
        pass_arc(reference, [both.reference for both in task.bursts]),
        pass_arc(secondary, [both.secondary for both in task.bursts]),
    )


def _bursts(
    task: TopsAppTask, points: NDArray[np.float64], seen: NDArray[np.bool_]
) -> tuple[list[str], NDArray[np.int16]]:
    """Labels of bursts, and for each pixel the place of the burst that shows it farthest from its edge, -1 outside."""
    best = np.full(task.grid.shape, -np.inf, np.float32)
    nearest = np.full(task.grid.shape, -1, np.int16)
    orbit = task.reference_orbit.load(task.bursts[0].reference.swath, task.bursts[0].reference.polarisation)
    for index, both in enumerate(task.bursts):
        burst = both.reference
        arc = burst_arc(burst, orbit)
        for rows in _strips(task.grid):
            margin = burst_margin(burst, *locate(points[rows], burst, arc), arc)
            better = margin > best[rows]
            best[rows] = np.where(better, margin, best[rows])
            nearest[rows] = np.where(better, np.int16(index), nearest[rows])
    nearest[~seen] = -1
    used, place = number_bursts(nearest)
    return [task.bursts[index].reference.label for index in used], place


def _strips(grid: GeoGrid) -> list[slice]:
    return [slice(top, top + 256) for top in range(0, grid.rows, 256)]
