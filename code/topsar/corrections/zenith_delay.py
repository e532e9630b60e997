"""Zenith delays of the user's: files of OPERA, RAiDER and GACOS, each of one time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import BBox

MOST_APART = timedelta(hours=6, minutes=1)
"""Between the model times before and after a pass."""
SAME_TIME = timedelta(minutes=5)
_MARGIN_DEG = 1.0
"""Read beyond the scene: the widest spacing of such files."""
_TIMES = (
    (re.compile(r"(?<!\d)(\d{8})T(\d{6})"), "%Y%m%d%H%M%S"),
    (re.compile(r"(?<!\d)(\d{4}_\d{2}_\d{2})_?T(\d{2}_\d{2}_\d{2})"), "%Y_%m_%d%H_%M_%S"),
)
_DAY = re.compile(r"^(\d{8})\.ztd(?:\.tif)?$")
_SEA_LEVEL_M, _SCALE_M, _TOLERANCE = 2.32, 8000.0, 0.25
"""A hydrostatic zenith delay falls by a factor e every 8 km; weather and latitude change it by a few per cent."""
_HINT = "use files of zenith delays: OPERA L4 TROPO-ZENITH, RAiDER (zenith) or its weather model files, or GACOS"


class WeatherFile(NamedTuple):
    """A file by its name; files of one ``model`` belong together. One without a time of day holds for its pass."""

    path: Path
    model: str
    time: datetime
    has_hour: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZenithDelay:
    """Delay toward the zenith, one way, metres, on (height, latitude, longitude), all rising.

    Without ``height_m`` the delay is that at the ground, and its first axis has one level. ``wet_m`` is the wet part,
    None where the file does not tell.
    """

    height_m: NDArray[np.float64] | None
    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    delay_m: NDArray[np.float64]
    wet_m: NDArray[np.float64] | None = None


def list_weather(folder: Path) -> list[WeatherFile]:
    """List the files of a folder whose names tell a time, by time; other files are no business of ours."""
    found = (_read_name(path) for path in sorted(folder.glob("[!.]*")) if path.is_file())
    return sorted((one for one in found if one), key=lambda one: (one.time, one.path.name))


def _read_name(path: Path) -> WeatherFile | None:
    if day := _DAY.match(path.name):
        noon = datetime.strptime(f"{day[1]}12+0000", "%Y%m%d%H%z")
        return WeatherFile(path, "GACOS", noon, has_hour=False)
    for pattern, form in _TIMES if path.suffix == ".nc" else ():
        if match := pattern.search(path.name):
            time = datetime.strptime(match[1] + match[2], form).replace(tzinfo=timezone.utc)
            return WeatherFile(path, path.name[: match.start()].rstrip("_"), time, has_hour=True)
    return None


def choose_around(files: Iterable[WeatherFile], time: datetime) -> tuple[WeatherFile, ...]:
    """Choose what one model has for a time: a file of that time, or the last before and the first after it.

    Parameters
    ----------
    files : iterable of WeatherFile
        Of one model.
    time : datetime

    Returns
    -------
    tuple of WeatherFile
        One or two; none where the times do not enclose it, or lie too far apart.
    """
    known = list(files)
    days = [one for one in known if not one.has_hour and one.time.date() == time.date()]
    near = [one for one in known if one.has_hour and abs(one.time - time) <= SAME_TIME]
    if days or near:
        return (days[0] if days else min(near, key=lambda one: abs(one.time - time)),)
    before = [one for one in known if one.has_hour and one.time < time]
    after = [one for one in known if one.has_hour and one.time > time]
    if not before or not after or after[0].time - before[-1].time > MOST_APART:
        return ()
    return before[-1], after[0]


def choose_model(files: Sequence[WeatherFile], times: Sequence[datetime]) -> tuple[tuple[WeatherFile, ...], ...]:
    """Choose the files for some times, all of one model: that whose files lie nearest; nothing where none has all.

    Parameters
    ----------
    files : sequence of WeatherFile
        By time.
    times : sequence of datetime
    """
    able = []
    for model in sorted({one.model for one in files}):
        chosen = tuple(choose_around([one for one in files if one.model == model], time) for time in times)
        if all(chosen):
            apart = sum((abs(file.time - time) for each, time in zip(chosen, times, strict=True) for file in each
                         if file.has_hour), timedelta())  # fmt: skip
            able.append((apart, model, chosen))
    return min(able)[2] if able else ()


def read_zenith_delay(path: Path, box: BBox) -> ZenithDelay:
    """Read a file around a box.

    Parameters
    ----------
    path : Path
    box : BBox
        Degrees.

    Raises
    ------
    ProvisionError
        If the file cannot be read, is none of the known ones, does not cover the box, or holds no zenith delay.
    """
    try:
        return _read_netcdf(path, box) if path.suffix == ".nc" else _read_gacos(path, box)
    except (OSError, KeyError, ValueError) as exc:
        msg = f"{path} cannot be read: {exc}"
        raise ProvisionError(msg, hint=_HINT) from exc


def _read_netcdf(path: Path, box: BBox) -> ZenithDelay:
    import xarray

    with xarray.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        if "hydrostatic_delay" not in data:
            _require_degrees(path, data)
            data = data.drop_vars([one for one in ("latitude", "longitude") if one in data])
            data = data.rename({"z": "height", "y": "latitude", "x": "longitude"})
        data = _crop(_crop(data, "latitude", box.south, box.north), "longitude", box.west, box.east)
        height, latitude, longitude = (
            np.sort(np.asarray(data[axis].values, np.float64)) for axis in ("height", "latitude", "longitude")
        )
        _require_cover(path, latitude, longitude, box)
        hydrostatic, wet = _read_delays(data, height)
    _require_zenith(path, hydrostatic, height)
    return ZenithDelay(
        height_m=height, latitude_deg=latitude, longitude_deg=longitude, delay_m=hydrostatic + wet, wet_m=wet
    )


def _crop(data: Any, axis: str, low: float, high: float) -> Any:
    values = data[axis].values
    (inside,) = np.nonzero((values >= low - _MARGIN_DEG) & (values <= high + _MARGIN_DEG))
    return data.isel({axis: slice(inside[0], inside[-1] + 1) if inside.size else slice(0, 0)})


def _read_delays(data: Any, height_m: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The hydrostatic and the wet delay, on axes that rise."""
    axes = ["height", "latitude", "longitude"]

    def read(name: str) -> NDArray[np.float64]:
        return np.asarray(data[name].squeeze(drop=True).transpose(*axes).sortby(axes).values, np.float64)

    # RAiDER's files between two model times hold the levels of the first one: their totals are the ones to take.
    for names in (("hydrostatic_delay", "wet_delay"), ("hydro_total", "wet_total")):
        if set(names) <= set(data):
            return read(names[0]), read(names[1])
    if {"p", "t", "e"} <= set(data):
        from topsar.kernels.refractivity import integrate_refractivity

        return integrate_refractivity(read("p"), read("t"), read("e"), height_m)
    return read("hydro"), read("wet")


def _require_degrees(path: Path, data: Any) -> None:
    mappings = [data[name].attrs.get("grid_mapping_name", "") for name in ("proj", "crs") if name in data.variables]
    if mappings != ["latitude_longitude"]:
        msg = f"{path} is not on a grid of latitude and longitude ({', '.join(mappings) or 'no projection'})"
        raise ProvisionError(msg, hint="make it anew with the projection EPSG:4326")


def _require_zenith(path: Path, hydrostatic_m: NDArray[np.float64], height_m: NDArray[np.float64]) -> None:
    """Refuse what no zenith delay can be: a slant one, another unit, another sign."""
    low = int(np.argmin(np.abs(height_m)))
    expected = _SEA_LEVEL_M * np.exp(-height_m[low] / _SCALE_M)
    middle = float(np.nanmedian(hydrostatic_m[low])) if np.isfinite(hydrostatic_m[low]).any() else np.nan
    if not abs(middle / expected - 1) < _TOLERANCE:
        msg = (
            f"{path} holds no zenith delay: its hydrostatic delay at {height_m[low]:.0f} m is {middle:.2f} m, where "
            f"{expected:.2f} m are to be expected"
        )
        raise ProvisionError(msg, hint=_HINT)


def _read_gacos(path: Path, box: BBox) -> ZenithDelay:
    if path.suffix == ".tif":
        from topsar.raster import read_geotiff

        values, grid, _ = read_geotiff(path)
        first_x, first_y, step_x, step_y = grid.west + grid.dx / 2, grid.north - grid.dy / 2, grid.dx, -grid.dy
    else:
        told = dict(
            line.split()[:2] for line in path.with_name(f"{path.name}.rsc").read_text().splitlines() if line.strip()
        )
        rows, columns = int(told["FILE_LENGTH"]), int(told["WIDTH"])
        values = np.fromfile(path, "<f4").reshape(rows, columns)
        first_x, first_y, step_x, step_y = (float(told[key]) for key in ("X_FIRST", "Y_FIRST", "X_STEP", "Y_STEP"))
    delay = np.where(values == 0, np.nan, values).astype(np.float64)
    longitude, latitude = (
        np.asarray(first + step * np.arange(count), np.float64)
        for first, step, count in ((first_x, step_x, delay.shape[1]), (first_y, step_y, delay.shape[0]))
    )
    if step_y < 0:
        latitude, delay = latitude[::-1], delay[::-1]
    _require_cover(path, latitude, longitude, box)
    middle = float(np.nanmedian(delay)) if np.isfinite(delay).any() else np.nan
    if not 0.5 < middle < 3:
        msg = f"{path} holds no zenith delay: its median is {middle:.2f} m"
        raise ProvisionError(msg, hint=_HINT)
    return ZenithDelay(height_m=None, latitude_deg=latitude, longitude_deg=longitude, delay_m=delay[None])


def _require_cover(path: Path, lat: NDArray[np.float64], lon: NDArray[np.float64], box: BBox) -> None:
    if min(lat.size, lon.size) > 1:
        reach = f"{lat[0]:.2f} to {lat[-1]:.2f} N, {lon[0]:.2f} to {lon[-1]:.2f} E"
        if lat[0] <= box.south and lat[-1] >= box.north and lon[0] <= box.west and lon[-1] >= box.east:
            return
    else:
        reach = "nothing of it"
    msg = (
        f"{path} does not cover the scene: it reaches over {reach}, the scene over {box.south:.2f} to "
        f"{box.north:.2f} N, {box.west:.2f} to {box.east:.2f} E"
    )
    raise ProvisionError(msg, hint="get the file for a larger area")
