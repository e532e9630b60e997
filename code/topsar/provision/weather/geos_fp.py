"""GEOS-FP, NASA's global analysis: 0.25 by 0.3125 degrees, 72 levels, every three hours; no account is needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.errors import ProvisionError
from topsar.provision.weather.columns import Columns
from topsar.provision.weather.dap import Attributes, read_attributes, read_grids

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from topsar.model import BBox
    from topsar.provision.web.client import Web

NAME = "GEOS-FP"
HOURS = 3
_DATASET = "inst3_3d_asm_Nv"
_VARIABLES = ("t", "qv", "pl", "h")
"""Temperature, specific humidity, pressure and height at the middle of each layer."""
_CALENDAR_DAYS = 3


class GeosFp:
    """The analysis on model levels, as the GrADS Data Server of NCCS offers it."""

    def __init__(self, web: Web) -> None:
        self._fetcher, self._url = web.fetcher, f"{web.services.geos_fp}/{_DATASET}"

    @cached_property
    def _axes(self) -> Attributes:
        return read_attributes(self._fetcher, self._url, NAME)

    def fetch(self, time: datetime, box: BBox) -> tuple[Columns, str]:
        """Fetch the columns around a box, nothing else, as `WeatherModel` has it."""
        axes, what = self._axes, f"{NAME} of {time:%Y-%m-%d %H:%M} UTC"
        number = (time - axes.first_time) / axes.interval
        if not 0 <= number <= axes.times - 1 or number != int(number):
            msg = (
                f"{what}: the service has times from {axes.first_time:%Y-%m-%d} to {axes.last_time:%Y-%m-%d %H:%M} UTC"
            )
            raise ProvisionError(msg, hint="a new analysis comes a day later; for earlier dates bring files of yours")
        lat, lon = axes.latitude.find(box.south, box.north), axes.longitude.find(box.west, box.east)
        if lat is None or lon is None:
            msg = f"{what}: the scene reaches beyond the model's grid"
            raise ProvisionError(msg, hint="bring files of yours: TROPOSPHERE=files")
        step = slice(int(number), int(number) + 1)
        found = read_grids(self._fetcher, self._url, _VARIABLES, (step, slice(0, axes.levels), lat, lon), what)
        for grid in found.values():
            _require_same(grid, {"lat": axes.latitude.at(lat), "lon": axes.longitude.at(lon)}, time, what)
        levels = {name: found[name][name][0] for name in _VARIABLES}
        order = slice(None, None, -1) if levels["h"][0].mean() > levels["h"][-1].mean() else slice(None)
        columns = Columns(
            pressure_pa=levels["pl"][order],
            temperature_k=levels["t"][order],
            humidity=levels["qv"][order],
            height_m=levels["h"][order],
            latitude_deg=axes.latitude.at(lat),
            longitude_deg=axes.longitude.at(lon),
        )
        return columns, f"{self._url} at {time:%Y-%m-%d %H:%M} UTC"


def _require_same(
    grid: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[np.float64]], time: datetime, what: str
) -> None:
    """Refuse an answer for another place or time; its calendar may be two days off in year 1."""
    for axis, values in wanted.items():
        if axis not in grid or not np.allclose(grid[axis], values, atol=1e-4):
            msg = f"{what}: the answer is of another place"
            raise ProvisionError(msg, hint="try again later")
    days = float(grid["time"][0]) - time.toordinal() - time.hour / 24 if "time" in grid else np.nan
    if not (np.isfinite(days) and abs(days - round(days)) * 24 < 0.1 and abs(days) <= _CALENDAR_DAYS):
        msg = f"{what}: the answer is of another time"
        raise ProvisionError(msg, hint="try again later")
