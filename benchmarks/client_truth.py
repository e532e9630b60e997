"""The velocity that a client finds, beside the simulated one."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from client_place import Agreement, Broken
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.ndimage import map_coordinates

from topsar.files import read_json
from topsar.model import GeoGrid
from topsar.raster import compute_pixel_centres, read_geotiff

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
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(*compute_pixel_centres(grid))
    expected = read_true_velocity(truth, lon, lat)
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


def read_true_velocity(truth: Path, lon: NDArray[Any], lat: NDArray[Any]) -> NDArray[Any]:
    """Line-of-sight velocity that was put in, m/yr toward the satellite, at places."""
    velocity, grid = _read_map(truth)
    place = [(grid.north - lat) / grid.dy - 0.5, (lon - grid.west) / grid.dx - 0.5]
    return np.asarray(map_coordinates(velocity, place, order=1, cval=np.nan))


def find_peak(truth: Path) -> tuple[float, float]:
    """Longitude and latitude where the ground moves most."""
    velocity, grid = _read_map(truth)
    row, column = np.unravel_index(np.abs(velocity).argmax(), velocity.shape)
    return float(grid.west + (column + 0.5) * grid.dx), float(grid.north - (row + 0.5) * grid.dy)


def _read_map(truth: Path) -> tuple[NDArray[Any], GeoGrid]:
    passes = [one[0]["start"][:10] for one in read_json(truth / "truth.json")["passes"]]
    first, last = passes[0], passes[-1]
    years = (date.fromisoformat(last) - date.fromisoformat(first)).days / _DAYS_A_YEAR
    maps = [read_geotiff(truth / f"range_change_{day.replace('-', '')}.tif") for day in (first, last)]
    return (maps[0][0] - maps[1][0]).astype(float) / years, maps[0][1]
