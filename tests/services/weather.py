"""GEOS-FP's GrADS Data Server and HRRR's bucket, answering from a simple air.

Each function makes a handler for `services.loopback.Loopback`. Contracts: attributes as NCCS's server gives them
(``grads_min`` and ``grads_step``), binary DAP 2; NOAA's ``.idx`` beside GRIB2, ``Range`` required.
"""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from services.loopback import Asked, Handler, Reply
from topsar.kernels.refractivity import convert_geopotential, find_normal_gravity
from topsar.model import BBox
from topsar.raster.geoid import EGM96, read_geoid

FIRST = datetime(2017, 12, 1, tzinfo=timezone.utc)
GRAVITY, GAS = 9.80665, 287.05
LAMBERT = "+proj=lcc +lat_0=38.5 +lon_0=-97.5 +lat_1=38.5 +lat_2=38.5 +R=6371229 +units=m +no_defs"
LEVELS_HPA = (*range(50, 301, 50), 400, *range(500, 801, 50), *range(825, 1001, 25), 1013.2)
"""Two thirds of the model's own, which are slow to pack."""
_ELEMENTS = {"HGT": (3, 5), "TMP": (0, 0), "RH": (1, 1), "DPT": (0, 6), "SPFH": (1, 0), "UGRD": (2, 2)}
_RANGE = re.compile(r"\[(\d+):1:(\d+)\]")
_EPOCH_DAYS = 2
"""Java's calendar of year 1, in which the server counts days, has two days more."""


def air_at(height_m: NDArray[Any], lon_deg: NDArray[Any], time: datetime) -> tuple[NDArray[Any], ...]:
    """Pressure, temperature and specific humidity at geopotential heights: drier to the east, by hour and by day."""
    height = np.asarray(height_m, np.float64)
    warm, base = 288.15 - 0.0065 * np.minimum(height, 11_000.0), np.maximum(height - 11_000.0, 0.0)
    pressure = 101_325 * (warm / 288.15) ** (GRAVITY / (GAS * 0.0065)) * np.exp(-GRAVITY * base / (GAS * 216.65))
    hours = (time - FIRST).total_seconds() / 3600
    humidity = (
        0.008
        * np.exp(-height / 2500)
        * (1 - 0.01 * (hours % 24) - 0.02 * (np.asarray(lon_deg) % 10) - 0.02 * (hours // 24 % 7))
    )
    return pressure, warm, humidity


def find_true_delay(time: datetime, height_m: float, lon: float, lat: float) -> float:
    """Zenith delay of that air above an ellipsoidal height, in steps of a metre."""
    above = float(read_geoid(EGM96, BBox(west=lon - 1, south=lat - 1, east=lon + 1, north=lat + 1)).interpolate(
        np.array([lon]), np.array([lat])
    )[0])  # fmt: skip
    height = np.arange(height_m - above, 48_000.0)
    geopotential = np.arange(-600.0, 50_000, 1.0)
    geometric = convert_geopotential(np.array([lat]), geopotential)
    z = np.interp(height, geometric, geopotential)
    pressure, warm, humidity = air_at(z, np.full(z.shape, lon), time)
    vapour = pressure * humidity / (0.622 + 0.378 * humidity)
    wet = 0.233 * vapour / warm + 3750 * vapour / warm**2
    dry = 0.776 * (pressure - 0.378 * vapour) / warm
    rest = 1e-6 * 0.776 * GAS / float(find_normal_gravity(np.array([lat]), np.array([48_000.0]))[0]) * pressure[-1]
    return float(1e-6 * np.trapezoid(wet + dry, height)) + rest


def geos_fp(*, at: str = "/geos_fp", times: int = 8 * 365 * 8, spoil: dict[str, Any] | None = None) -> Handler:
    """The analysis on 72 levels, first the highest; ``spoil`` changes values of a variable by a factor."""
    heights = np.concatenate([[60.0], 60 + np.cumsum(60 * 1.06 ** np.arange(71))])[::-1]

    def answer(asked: Asked) -> Reply | None:
        if asked.path == f"{at}/inst3_3d_asm_Nv.das":
            return Reply(body=_attributes(times).encode())
        if asked.path != f"{at}/inst3_3d_asm_Nv.dods":
            return None
        wanted = [part for part in unquote(next(iter(asked.query))).split(",") if part]
        return Reply(body=_answer_dap(wanted, heights, spoil or {}))

    return answer


def _attributes(times: int) -> str:
    axes = (("lon", 1152, -180.0, 179.6875), ("lat", 721, -90.0, 90.0), ("lev", 72, 1.0, 72.0))
    blocks = "".join(
        f'    {name} {{\n        String grads_dim "{name[0]}";\n        String grads_size "{size}";\n'
        f"        Float64 minimum {first};\n        Float64 maximum {last};\n        Float32 resolution 1;\n    }}\n"
        for name, size, first, last in axes
    )
    time = (
        f'    time {{\n        String grads_dim "t";\n        String grads_size "{times}";\n'
        '        String grads_min "00z01dec2017";\n        String grads_step "180mn";\n'
        '        String units "days since 1-1-1 00:00:0.0";\n    }\n'
    )
    return f'Attributes {{\n    NC_GLOBAL {{\n        String title "GEOS-5 FP";\n    }}\n{blocks}{time}}}\n'


def _answer_dap(wanted: list[str], heights: NDArray[Any], spoil: dict[str, Any]) -> bytes:
    head, body = "Dataset {\n", b""
    for part in wanted:
        name = part.split("[")[0]
        (t, _), lev, lat, lon = ((int(first), int(last) + 1) for first, last in _RANGE.findall(part))
        axes: dict[str, NDArray[Any]] = {
            "time": np.array([FIRST.toordinal() - 1 + _EPOCH_DAYS + t / 8]),
            "lev": np.arange(*lev) + 1.0,
            "lat": -90 + 0.25 * np.arange(*lat),
            "lon": -180 + 0.3125 * np.arange(*lon),
        }
        shape = tuple(axis.size for axis in axes.values())
        deep = np.broadcast_to(heights[slice(*lev), None, None], shape[1:])
        pressure, warm, humidity = air_at(deep, axes["lon"], FIRST + timedelta(hours=3 * t))
        values = {"pl": pressure, "t": warm, "qv": humidity, "h": deep}[name] * spoil.get(name, 1.0)
        sizes = [f"[{axis} = {values.size}]" for axis, values in axes.items()]
        maps = "".join(f"      Float64 {axis}{size};\n" for axis, size in zip(axes, sizes, strict=True))
        head += f"  Grid {{\n    ARRAY:\n      Float32 {name}{''.join(sizes)};\n    MAPS:\n{maps}  }} {name};\n"
        body += _pack(values.astype(">f4")) + b"".join(_pack(axis.astype(">f8")) for axis in axes.values())
    return f"{head}}} inst3_3d_asm_Nv;\nData:\n".encode() + body


def _pack(values: NDArray[Any]) -> bytes:
    return np.array([values.size] * 2, ">u4").tobytes() + values.tobytes()


def hrrr(*, at: str = "/hrrr", west_m: float = -1_775_000, north_m: float = -255_000, side: int = 72) -> Handler:
    """A square of the model's Lambert grid, one file an hour."""
    turn = threading.Lock()

    def answer(asked: Asked) -> Reply | None:
        found = re.fullmatch(rf"{at}/hrrr\.(\d{{8}})/conus/hrrr\.t(\d\d)z\.wrfprsf00\.grib2(\.idx)?", asked.path)
        if found is None:
            return None
        time = datetime.strptime(f"{found[1]}{found[2]}+0000", "%Y%m%d%H%z")
        with turn:
            index, body = make_grib(time, west_m, north_m, side)
        if found[3]:
            return Reply(body=index.encode())
        said = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", ""))
        if said is None:
            return Reply(body=body)
        part = body[int(said[1]) : int(said[2]) + 1]
        told = {"Content-Range": f"bytes {said[1]}-{said[2]}/{len(body)}"}
        return Reply(status=206, body=part, headers=told)

    return answer


@cache
def make_grib(time: datetime, west_m: float, north_m: float, side: int) -> tuple[str, bytes]:
    """An index and its file, messages in the order of NOAA's, packed as theirs."""
    from pyproj import Transformer

    x, y = np.meshgrid(west_m + 3000 * np.arange(side), north_m - 3000 * np.arange(side))
    lon, _ = Transformer.from_crs(LAMBERT, "OGC:CRS84", always_xy=True).transform(x, y)
    index, body = "", bytearray()
    fine = np.arange(-1000.0, 25_000, 5)
    heights = np.interp(-100.0 * np.array(LEVELS_HPA), -air_at(fine, np.zeros(1), time)[0], fine)
    for level, height in zip(LEVELS_HPA, heights, strict=True):
        _, warm, humidity = air_at(np.full_like(x, height), lon, time)
        fields = {"HGT": np.full_like(x, height), "TMP": warm, "SPFH": humidity}
        for name, (category, number) in _ELEMENTS.items():
            index += f"{index.count(chr(10)) + 1}:{len(body)}:d={time:%Y%m%d%H}:{name}:{level:g} mb:anl:\n"
            if name in fields:
                body += _make_message(category, number, round(level * 100), fields[name], time, (west_m, north_m))
            else:
                body += bytes(60_000)  # what nobody asks for
    index += f"{index.count(chr(10)) + 1}:{len(body)}:d={time:%Y%m%d%H}:TMP:2 m above ground:anl:\n"
    return index, bytes(body) + bytes(1000)


def _make_message(
    category: int, number: int, level_pa: int, values: NDArray[Any], time: datetime, corner: tuple[float, float]
) -> bytes:
    import rasterio.shutil
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    values = values - 273.15 if (category, number) == (0, 0) else values  # the driver takes degrees
    place = Affine(3000, 0, corner[0] - 1500, 0, -3000, corner[1] + 1500)
    rows, columns = values.shape
    with MemoryFile() as source, MemoryFile(ext=".grib2") as packed:
        with source.open(
            driver="GTiff", width=columns, height=rows, count=1, dtype="float64", crs=LAMBERT, transform=place
        ) as raster:
            raster.write(values, 1)
        rasterio.shutil.copy(
            source.name,
            packed.name,
            driver="GRIB",
            strict=False,
            DISCIPLINE="0",
            IDS="CENTER=7 SUBCENTER=0 MASTER_TABLE=2 LOCAL_TABLE=1 SIGNF_REF_TIME=0 PROD_STATUS=0 TYPE=0 "
            f"REF_TIME={time:%Y-%m-%dT%H:%M:%SZ}",
            PDS_PDTN="0",
            PDS_TEMPLATE_ASSEMBLED_VALUES=f"{category} {number} 0 0 83 0 0 1 0 100 0 {level_pa} 255 0 0",
            DATA_ENCODING="COMPLEX_PACKING",
            SPATIAL_DIFFERENCING_ORDER="2",
            NBITS="16",
        )
        return bytes(packed.getbuffer())
