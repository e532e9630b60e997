"""Files of points: CSV, GeoPackage, GeoParquet, and the text files of StaMPS."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.formats.timeseries.points import Points

_DECIMALS = {"height": 2, "velocity": 6, "velocity_std": 6, "incidence": 3}
_ROWS = 20_000


def require_writers(kinds: Sequence[str]) -> None:
    """Raise a SettingsError where a kind of file needs a package that is not installed.

    Parameters
    ----------
    kinds : sequence of str
        Some of ``csv``, ``gpkg``, ``parquet`` and ``stamps``.
    """
    if "parquet" in kinds and find_spec("pyarrow") is None:
        msg = "POINTS has parquet, and the package pyarrow is not installed"
        raise SettingsError(msg, hint="pip install 'topsar[parquet]', or leave parquet out: gpkg needs nothing else")


def write_points(points: Points, dates: Sequence[str], folder: Path, kinds: Sequence[str]) -> tuple[Path, ...]:
    """Write points in some kinds of files; return the files.

    Parameters
    ----------
    points : Points
    dates : sequence of str
        Such as 2025-03-15, one per row of the series.
    folder : Path
        Made if it is missing.
    kinds : sequence of str
        Some of ``csv``, ``gpkg``, ``parquet`` and ``stamps``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(path for kind in kinds for path in _WRITERS[kind](points, dates, folder))


def _list_columns(points: Points, dates: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """What is known of points, by the names that it has in tables; a date is ``D20250315``."""
    named = {f"D{date.replace('-', '')}": values for date, values in zip(dates, points.series, strict=True)}
    return points.columns | named


def _write_csv(points: Points, dates: Sequence[str], folder: Path) -> tuple[Path, ...]:
    columns, path = _list_columns(points, dates), folder / "points.csv"
    formats = ["%.7f", "%.7f", *(f"%.{_DECIMALS.get(name, 4)}f" for name in points.columns), *["%.5f"] * len(dates)]
    with path.open("w", encoding="ascii") as file:
        file.write(",".join(("lon", "lat", *columns)) + "\n")
        for start in range(0, points.longitude.size, _ROWS):
            part = slice(start, start + _ROWS)
            places = np.stack([points.longitude[part], points.latitude[part]])
            known = np.stack([values[part] for values in columns.values()])
            np.savetxt(file, np.concatenate([places, known]).T, fmt=formats, delimiter=",")
    return (path,)


def _write_gpkg(points: Points, dates: Sequence[str], folder: Path) -> tuple[Path, ...]:
    from pyogrio import raw

    columns, path = _list_columns(points, dates), folder / "points.gpkg"
    raw.write(
        path,
        _make_wkb(points),
        list(columns.values()),
        np.array(list(columns), object),
        layer="points",
        driver="GPKG",
        geometry_type="Point",
        crs="EPSG:4326",
        dataset_options={"VERSION": "1.2"},  # programs of 2022 read it without a warning
    )
    return (path,)


def _write_parquet(points: Points, dates: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """GeoParquet 1.1; without ``crs`` coordinates are longitude and latitude (OGC:CRS84)."""
    import pyarrow
    from pyarrow import parquet

    path = folder / "points.parquet"
    lon, lat = points.longitude, points.latitude
    box = [float(value) for value in (lon.min(), lat.min(), lon.max(), lat.max())]
    column = {"encoding": "WKB", "geometry_types": ["Point"], "bbox": box}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    columns = {"lon": lon, "lat": lat} | _list_columns(points, dates)
    arrays = {name: pyarrow.array(values) for name, values in columns.items()}
    table = pyarrow.table({"geometry": pyarrow.array(_make_wkb(points), pyarrow.binary()), **arrays})
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path, compression="zstd")
    return (path,)


def _make_wkb(points: Points) -> NDArray[np.object_]:
    import shapely

    wkb: NDArray[np.object_] = shapely.to_wkb(shapely.points(points.longitude, points.latitude))
    return wkb


def _write_stamps(points: Points, dates: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Write what StaMPS's ``ps_output`` writes: millimetres, positive toward the satellite.

    ``ps_data.xy`` has the deviation of the velocity, the height, and an error of the height that nobody estimated.
    """
    known = points.columns
    unknown = np.full(points.longitude.size, np.nan)
    deviation = 1000 * known["velocity_std"]
    tables: dict[str, tuple[NDArray[np.floating], ...]] = {
        "ps_mean_v": (1000 * known["velocity"],),
        "ps_mean_v_std": (deviation,),
        "ps_data": (deviation, known["height"], unknown),
    }
    tables |= {f"ps_u-dm.{number}": (1000 * values,) for number, values in enumerate(points.series, 1)}
    written = []
    for name, values in tables.items():
        path = folder / f"{name}.xy"
        rows = np.stack([points.longitude, points.latitude, *values], axis=1)
        np.savetxt(path, rows, fmt=["%.7f", "%.7f", *["%.4f"] * len(values)])
        written.append(path)
    np.savetxt(folder / "date.txt", [date.replace("-", "") for date in dates], fmt="%s")
    return (*written, folder / "date.txt")


_WRITERS: Mapping[str, Callable[[Points, Sequence[str], Path], tuple[Path, ...]]] = {
    "csv": _write_csv,
    "gpkg": _write_gpkg,
    "parquet": _write_parquet,
    "stamps": _write_stamps,
}
