"""The other side of peer.py: runs under a Python that has insardev_pygmtsar, and imports nothing of topsar."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr


def prepare(dem: str, heights: str) -> None:
    """Write ellipsoidal heights as heights above the geoid, which the package adds again node by node."""
    from insardev_pygmtsar.utils_satellite import get_geoid

    with xr.open_dataarray(dem, engine="rasterio") as opened:
        field = opened.squeeze(drop=True).rename({"y": "lat", "x": "lon"}).sortby("lat").load()
    geoid = get_geoid().interp(lat=field.lat, lon=field.lon, method="linear")
    values = (field - geoid).astype("float32").drop_vars("spatial_ref", errors="ignore")
    xr.DataArray(values.values, values.coords, values.dims, name="dem").to_netcdf(heights)


def transform(bursts: str, heights: str, target: str, date: str, epsg: str, dy: str, dx: str) -> None:
    """Geocode all dates of the bursts: what is timed. Nobody simulates tides, so none are taken out."""
    from insardev_pygmtsar import S1

    found = S1(bursts, DEM=heights)
    posting = float(dy), float(dx)
    found.transform(target, ref=date, epsg=int(epsg), resolution=posting, remove_tidal_phase=False, overwrite=True)


def export(burst: str, array: str) -> None:
    """Write a geocoded burst as complex64 from north to south, and the centre of its first pixel beside it."""
    parts = xr.open_zarr(burst)
    place = xr.open_zarr(Path(burst).parent / "transform")
    values = (parts.re + 1j * parts.im).astype(np.complex64).values
    north_up = np.argsort(-place.y.values)
    np.savez(array, slc=np.nan_to_num(values[north_up]), x=place.x.values[0], y=place.y.values.max())


if __name__ == "__main__":
    {"prepare": prepare, "transform": transform, "export": export}[sys.argv[1]](*sys.argv[2:])
