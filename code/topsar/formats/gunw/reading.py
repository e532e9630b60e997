"""What the checks of a GUNW file read with."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import h5netcdf
import numpy as np
import shapely
from numpy.typing import NDArray

from topsar.formats.gunw.standard import POLYGON, TROPOSPHERE


class Violation(NamedTuple):
    """What is wrong, and with which variable, attribute or group."""

    where: str
    what: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.where}: {self.what}"


def find(nc: h5netcdf.Group, path: str) -> Any:
    """Find a group or variable by its path, or None.

    Parameters
    ----------
    nc : h5netcdf.Group
    path : str
    """
    found = nc
    for name in path.split("/"):
        if not isinstance(found, h5netcdf.Group) or name not in found:
            return None
        found = found[name]
    return found


def read(nc: h5netcdf.File, path: str) -> NDArray[Any]:
    """Read a variable that is there.

    Parameters
    ----------
    nc : h5netcdf.File
    path : str
    """
    return np.asarray(find(nc, path)[...])


def read_number(nc: h5netcdf.File, path: str) -> float:
    """Read a variable of one number, or the first of several.

    Parameters
    ----------
    nc : h5netcdf.File
    path : str
    """
    return float(np.ravel(read(nc, path))[0])


def list_models(nc: h5netcdf.File) -> list[str]:
    """List the weather models that stand in the place of the troposphere's placeholders."""
    return list(getattr(find(nc, TROPOSPHERE), "groups", {}))


def read_texts(nc: h5netcdf.File, path: str) -> list[str]:
    """Read a variable of text; what is empty is padding.

    Parameters
    ----------
    nc : h5netcdf.File
    path : str
    """
    return [text for value in np.ravel(read(nc, path)) if (text := as_text(value))]


def as_text(value: Any) -> str:
    """Text, of an attribute or a value, that may be bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def is_layer(variable: Any) -> bool:
    """Whether a variable holds numbers, not a placeholder's text."""
    return variable is not None and np.dtype(variable.dtype).kind == "f"


def parse_polygon(text: str) -> Any:
    """Parse WKT or GeoJSON of a valid polygon in degrees; None of any other text."""
    text = text.strip("\0 ")
    with suppress(shapely.errors.ShapelyError):
        polygon = shapely.from_geojson(text) if text.startswith("{") else shapely.from_wkt(text)
        west, south, east, north = polygon.bounds
        if polygon.geom_type in ("Polygon", "MultiPolygon") and polygon.is_valid and polygon.area > 0:
            return polygon if -180 <= west < east <= 180 and -90 <= south < north <= 90 else None
    return None


def read_outline(nc: h5netcdf.File) -> Any:
    """Read the polygon that clients read; None if it is none."""
    return parse_polygon(as_text(b"".join(np.ravel(read(nc, POLYGON)[0]).tolist())))
