"""Columns of air on a grid of latitude and longitude, and the file of zenith delays that is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from topsar.errors import ProvisionError
from topsar.files import atomic_path
from topsar.kernels.refractivity import CUBE_M, convert_geopotential, integrate_columns
from topsar.model import BBox
from topsar.raster.geoid import EGM96, read_geoid

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

_BOUNDS = {
    "pressure_pa": (0.5, 115_000.0),
    "temperature_k": (120.0, 340.0),
    "humidity": (-1e-3, 0.06),
    "height_m": (-1000.0, 100_000.0),
}
"""What air can be: a fill value, another unit or another variable lies outside."""
_GEOID_MARGIN_DEG = 0.5
CHANGED = "the service may have changed; TROPOSPHERE=files takes files of yours"
"""Hint where an answer cannot be what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """A model's levels, (levels, latitudes, longitudes), heights rising; latitudes and longitudes rise too.

    Attributes
    ----------
    humidity : float
        Specific humidity, kg/kg.
    height_m : float
        Geopotential, above the geoid.
    latitude_deg, longitude_deg : (n,) float64
    """

    pressure_pa: NDArray[Any]
    temperature_k: NDArray[Any]
    humidity: NDArray[Any]
    height_m: NDArray[Any]
    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]

    def require_air(self, what: str) -> None:
        """Refuse values that air cannot have."""
        for name, (least, most) in _BOUNDS.items():
            values = getattr(self, name)
            low, high = float(values.min()), float(values.max())
            if not (least <= low and high <= most):
                msg = f"{what}: its {name} is {low:.6g} to {high:.6g}, air has {least:g} to {most:g}"
                raise ProvisionError(msg, hint=CHANGED)
        if not (np.diff(self.height_m, axis=0) > 0).all():
            msg = f"{what}: its levels do not rise"
            raise ProvisionError(msg, hint=CHANGED)


class WeatherModel(Protocol):
    """A service that has the analyses of a model."""

    def fetch(self, time: datetime, box: BBox) -> tuple[Columns, str]:
        """Fetch the columns around a box, and say where they come from.

        Parameters
        ----------
        time : datetime
            A model time, UTC.
        box : BBox
            Degrees.

        Raises
        ------
        ProvisionError
            If the service has no such time, does not answer, or answers with something else.
        """
        ...


def write_delays(path: Path, columns: Columns, time: datetime, source: str) -> None:
    """Integrate columns and write their zenith delays, as `topsar.corrections.zenith_delay` reads them.

    Parameters
    ----------
    path : Path
    columns : Columns
    time : datetime
        UTC.
    source : str
        Where they come from.
    """
    import xarray

    lat, lon = columns.latitude_deg, columns.longitude_deg
    shape, hydrostatic, wet = (CUBE_M.size, lat.size, lon.size), *_integrate(columns)
    axes = ("z", "y", "x")
    data = xarray.Dataset(
        {
            name: (axes, part.reshape(shape).astype(np.float32), {"units": "m", "long_name": long_name})
            for name, part, long_name in (
                ("hydro", hydrostatic, "hydrostatic delay toward the zenith, one way"),
                ("wet", wet, "wet delay toward the zenith, one way"),
            )
        },
        coords={
            "z": ("z", CUBE_M, {"units": "m", "long_name": "height above the WGS84 ellipsoid"}),
            "y": ("y", lat, {"units": "degrees_north"}),
            "x": ("x", lon, {"units": "degrees_east"}),
        },
        attrs={"Conventions": "CF-1.7", "source": source, "reference_time": f"{time:%Y-%m-%d %H:%M:%S}"},
    )
    data["crs"] = ((), 0, {"grid_mapping_name": "latitude_longitude"})
    with atomic_path(path) as part:
        data.to_netcdf(part, engine="h5netcdf")


def _integrate(columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lat, lon = columns.latitude_deg, columns.longitude_deg
    place = BBox(west=float(lon[0]), south=float(lat[0]), east=float(lon[-1]), north=float(lat[-1]))
    geoid = read_geoid(EGM96, place.grow(_GEOID_MARGIN_DEG)).interpolate(lon[None, :], lat[:, None])
    latitude = np.repeat(lat, lon.size)
    pressure, temperature, humidity, height = (
        np.asarray(part, np.float64).reshape(part.shape[0], -1)
        for part in (columns.pressure_pa, columns.temperature_k, columns.humidity, columns.height_m)
    )
    above = convert_geopotential(latitude, height) + geoid.ravel()
    return integrate_columns(pressure, temperature, np.maximum(humidity, 0.0), above, latitude)
