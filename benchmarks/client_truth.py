"""The velocity that a client finds, beside the simulated one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
from client_place import Agreement, Broken
from numpy.typing import NDArray

from topsar.files import read_json
from topsar.model import GeoGrid
from topsar.raster import compute_pixel_centres, read_geotiff
from topsar.simulate.compare import read_true_change

_DAYS_A_YEAR = 365.25
_TOO_FEW = 100


def compare_velocity(file: Path, truth: Path, *, unit: float = 1.0, mask: Path | None = None) -> Agreement:
    """Compare a raster of velocities with the truth of a simulated scene.

    Parameters
    ----------
    file : Path
        A GeoTIFF; 0 and NaN are no data.
    truth : Path
        Of the data set.
    unit : float
        Metres per year of its values.
    mask : Path, optional
        A GeoTIFF on the same grid, 0 where the client itself trusts nothing.
    """
    values, grid, _ = read_geotiff(file)
    velocity = values.astype(float) * unit
    seen = np.isfinite(velocity) & (velocity != 0)
    if mask is not None:
        seen &= np.nan_to_num(read_geotiff(mask)[0]) != 0
    expected = read_true_velocity(truth, grid)
    seen &= np.isfinite(expected)
    found, true = velocity[seen], expected[seen]
    if len(found) < _TOO_FEW:
        msg = f"{file}: {len(found)} pixels have a velocity"
        raise Broken(msg)
    slope, _ = np.polyfit(true, found, 1)
    return Agreement(
        pixels=len(found),
        slope=float(slope),
        correlation=float(np.corrcoef(true, found)[0, 1]),
        rms_m_per_year=float(np.std(found - true)),
        true_std_m_per_year=float(np.std(true)),
    )


def read_true_velocity(truth: Path, grid: GeoGrid) -> NDArray[np.float64]:
    """Line-of-sight velocity that was put in, m/yr toward the satellite, at pixel centres."""
    first, last = _list_days(truth)
    years = (date.fromisoformat(last) - date.fromisoformat(first)).days / _DAYS_A_YEAR
    return -read_true_change(truth, (first, last), grid) / years


def find_peak(truth: Path) -> tuple[float, float]:
    """Longitude and latitude where the ground moves most."""
    first, _ = _list_days(truth)
    _, grid, _ = read_geotiff(truth / f"range_change_{first.replace('-', '')}.tif")
    velocity = read_true_velocity(truth, grid)
    row, column = np.unravel_index(np.nanargmax(np.abs(velocity)), velocity.shape)
    lon, lat = compute_pixel_centres(grid)
    return float(lon[row, column]), float(lat[row, column])


def _list_days(truth: Path) -> tuple[str, str]:
    """The first and the last date."""
    days = [one[0]["start"][:10] for one in read_json(truth / "truth.json")["passes"]]
    return days[0], days[-1]
