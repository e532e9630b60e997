"""The step that multiplies the sub-bands of two dates, one swath of a pair.

The bursts of the swath are summed where they overlap: what misregistration makes of their phases is the same in both
bands, and only the difference of the bands will count. Between two satellites each burst stays for itself, as that
difference may have a constant of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.ground import LONLAT, change_crs
from topsar.engines.native.steps.multiply import (
    BLOCK_ROWS,
    BurstPair,
    find_common_window,
    measure_burst_cells,
    sum_looks,
    surround_windows,
)
from topsar.engines.native.steps.split import BANDS, FREQUENCIES, band_file, bands_folder
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import fit_burst_arc
from topsar.files import read_json, save_array, write_json
from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.kernels.mosaic import LookSums
from topsar.kernels.statistics import count_looks
from topsar.kernels.subband import FLAT_BANDWIDTH
from topsar.model import SPEED_OF_LIGHT, GeoGrid, Looks
from topsar.schedule.jobs import Lifetime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.engines.native.steps.burst_window import BurstWindow
    from topsar.model import Burst, Orbit

FACTS = "bands.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubbandTask:
    """One swath of a pair, whose sub-bands are to be multiplied; ``grid`` is the output grid of the whole pair.

    ``apart`` tells whether each burst is a part of its own; the swath is one otherwise.
    """

    job: str
    grid: GeoGrid
    looks: Looks
    bursts: tuple[BurstPair, ...]
    reference_orbit: OrbitChoice
    apart: bool

    @property
    def windows(self) -> list[BurstWindow]:
        """The bursts of both dates."""
        return [window for both in self.bursts for window in (both.reference, both.secondary)]

    @property
    def swath(self) -> str:
        """Name of the swath."""
        return self.bursts[0].reference.burst.swath

    @property
    def folder(self) -> str:
        """Where the arrays of the swath lie, relative to the runs folder."""
        return f"{self.job}/subband_{self.swath}"


class _Subband(StepKind[SubbandTask]):
    """The sub-band interferograms of a swath; sizes are output pixels of its bursts."""

    name, task = "subband", SubbandTask
    cost = Cost(base_memory=160_000_000, memory=58, disk=20, start_s=1.0, microseconds=0.3, pixels_per_thread=1e6)
    lifetime = Lifetime.SCRATCH
    block_bytes = 8

    def step_name(self, task: SubbandTask) -> str:
        return f"subband_{task.swath}"

    def size(self, task: SubbandTask) -> float:
        return sum(both.reference.grid.rows * both.reference.grid.columns for both in task.bursts)

    def extra_memory(self, task: SubbandTask, dem_density: float) -> float:  # noqa: ARG002
        columns = max(both.reference.grid.columns for both in task.bursts)
        return columns * task.looks.count * BLOCK_ROWS * self.block_bytes

    def reads(self, task: SubbandTask) -> tuple[str, ...]:
        return tuple(sorted({bands_folder(window.job) for window in task.windows}))

    def inputs(self, task: SubbandTask) -> tuple[Path, ...]:
        return (task.reference_orbit.path,)

    def run(self, task: SubbandTask, runs: Path, folder: Path) -> None:
        """Write coherences and pixels of each part and ``bands.json`` into the folder of the swath."""
        out = runs / task.folder
        out.mkdir(parents=True, exist_ok=True)
        groups = [(both,) for both in task.bursts] if task.apart else [task.bursts]
        parts: list[dict[str, Any]] = []
        for group in groups:
            if windows := [one for both in group if (one := find_common_window(both, task.grid))]:
                where, folder = surround_windows(windows), out / str(len(parts))
                folder.mkdir(exist_ok=True)
                _write_part(replace(task, bursts=group), task.grid.crop(where), runs, folder)
                name = group[0].reference.burst.label if task.apart else task.swath
                parts.append({"name": name, "folder": folder.name, "window": asdict(where)})
        burst = task.bursts[0].reference.burst
        orbit = task.reference_orbit.load(burst.swath, burst.polarisation)
        facts = {
            "swath": task.swath,
            "parts": parts,
            "carrier_hz": burst.radar_frequency_hz,
            "frequencies_hz": _average_frequencies(task, runs),
            "independent_share": _find_independent_share(task, orbit),
            "beam": _follow_beam(burst, orbit, task.grid),
        }
        write_json(out / FACTS, facts)


def _write_part(task: SubbandTask, grid: GeoGrid, runs: Path, folder: Path) -> None:
    """Write the coherences of the task's bursts on a part of the output grid."""
    for band in BANDS:
        sums = _sum_bursts(task, band, grid, runs)
        save_array(folder / f"{band}.npy", _normalise(sums))
    save_array(folder / "filled.npy", sums.filled)


def _sum_bursts(task: SubbandTask, band: str, grid: GeoGrid, runs: Path) -> LookSums:
    """Sums over the looks of a band on a part of the output grid, of all bursts together."""
    whole = LookSums.zeros(grid.shape)
    for both in task.bursts:
        window = find_common_window(both, grid)
        if window is not None:
            files = band_file(both.reference, band), band_file(both.secondary, band)
            part = sum_looks(both, files, task.looks, grid.crop(window), runs)
            for total, values in zip(whole.cut(window.slices), part, strict=True):
                np.add(total, values, out=total)
    return whole


def _normalise(sums: LookSums) -> NDArray[np.complex64]:
    """The complex coherence of each pixel: so a bright one counts no more than others."""
    scale = np.sqrt(sums.power_reference * sums.power_secondary)
    return np.asarray(np.divide(sums.cross, scale, out=np.zeros_like(sums.cross), where=scale > 0), np.complex64)


def _average_frequencies(task: SubbandTask, runs: Path) -> list[float]:
    """Spectral centroids of both bands, Hz from the carrier, mean of the bursts of both dates; empty without signal."""
    known = {job: read_json(runs / bands_folder(job) / FREQUENCIES) for job in {one.job for one in task.windows}}
    found = [known[one.job][one.burst.label] for one in task.windows if one.burst.label in known[one.job]]
    return [float(value) for value in np.mean(found, axis=0)] if found else []


def _find_independent_share(task: SubbandTask, orbit: Orbit) -> float:
    """Independent looks over pixels of a sub-band."""
    cells = measure_burst_cells(task.bursts[0].reference, task.looks, orbit)
    cells[:, 0] *= FLAT_BANDWIDTH / 3
    wide = Looks(east=8 * task.looks.east, north=8 * task.looks.north)
    return count_looks(wide, cells) / wide.count


def _follow_beam(burst: Burst, orbit: Orbit, grid: GeoGrid) -> dict[str, float]:
    """How the beam moves over the pixels of the output grid in the middle of a burst, and what sets a shift in it."""
    arc, radar = fit_burst_arc(burst, orbit), burst.grid
    time, range_m = arc.seconds(radar.mid_time), (radar.near_range_m + radar.far_range_m) / 2
    ground = rdr2geo(time + np.array([-1.0, 1.0]), np.full(2, range_m), 0.0, arc)
    latitude, longitude, _ = ecef_to_geodetic(ground)
    x, y = change_crs(LONLAT, grid.crs, np.degrees(longitude), np.degrees(latitude))
    height = np.linalg.norm(arc.position(np.array([time])), axis=-1) - np.linalg.norm(ground, axis=-1).mean()
    return {
        "rows_per_s": float(-np.diff(y)[0] / 2 / grid.dy),
        "columns_per_s": float(np.diff(x)[0] / 2 / grid.dx),
        "fm_rate_hz_s": float(burst.fm_rate(np.array([2 * range_m / SPEED_OF_LIGHT]))[0]),
        "height_m": float(height[0]),
    }


STEP = _Subband()
