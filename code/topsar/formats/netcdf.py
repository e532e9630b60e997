"""One netCDF file per pair, or per track, after the conventions CF-1.11 and ACDD-1.3."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from topsar import __version__
from topsar.formats import Cost, Format
from topsar.interferogram import Interferogram, LayerKind, join_grids
from topsar.model import name_track

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from topsar.model import GeoGrid

CHUNK, DEFLATE = 512, 1
"""Pixels of a chunk, both ways, and how hard it is compressed."""
DATES = ("reference", "secondary")
_COORDINATES = (*(f"{date}_time" for date in DATES), "perpendicular_baseline")
_EPOCH, _SINCE = np.datetime64("1970-01-01T00:00:00", "us"), "seconds since 1970-01-01T00:00:00Z"
_ANCILLARY = ("components", "phase_noise")
"""Layers that say how far ``_JUDGED`` can be trusted."""
_JUDGED = ("unwrapped_phase", "filtered_unwrapped_phase", "displacement")


class NetCdf(Format):
    """All layers of a pair in ``<pair>.nc``."""

    name = "netcdf"
    version = "2"
    options = ("netcdf_attributes",)
    cost = Cost(
        base_memory=145_000_000,
        memory=24,
        disk=70,
        start_s=1.5,
        microseconds=1.5,
        first_memory=60,
        first_pixels=2e6,
    )
    scope: Literal["pair", "stack"] = "pair"

    def __init__(self, netcdf_attributes: str = "") -> None:
        self._given = netcdf_attributes

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write one file, a layer of a pair at a time.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            The one pair, or all of a track: then layers are (pair, y, x) on the smallest grid that covers all.
        folder : Path
            The empty folder to write into.
        """
        import h5netcdf

        pairs = list(ifgs)
        grid, along = join_grids(pairs), ("pair",) if self.scope == "stack" else ()
        path = folder / f"{name_track(pairs[0].pair_id) if along else pairs[0].pair_id}.nc"
        with ExitStack() as stack:
            file = stack.enter_context(h5netcdf.File(path, "w"))
            file.attrs.update(describe_file(pairs, grid, self._given))
            heights: list[float] = []
            places = _write_coordinates(file, pairs, grid, along)
            for number in range(len(pairs)):
                ifg = pairs.pop(0)  # layers stay in memory as long as their pair
                place = (*([number] if along else []), *grid.window_of(ifg.grid).slices)
                for name, layer in ifg.layers.items():
                    if name not in file.variables:
                        _create_pair_layer(file, layer.kind, (*along, *places), ifg)
                    file.variables[name][place] = layer.values
                    if name == "height" and not layer.holes.all():
                        heights += [float(np.nanmin(layer.values)), float(np.nanmax(layer.values))]
            file.attrs.update(_describe_heights(heights))
        return (path,)


class NetCdfStack(NetCdf):
    """All pairs of a track in ``<track>.nc``."""

    name = "netcdf_stack"
    version = "3"
    scope: Literal["pair", "stack"] = "stack"


def create_layer(
    file: Any, kind: LayerKind, dimensions: Sequence[str], chunks: Sequence[int], **attributes: str
) -> Any:
    """Create the variable of a layer, empty, with what its kind says as attributes.

    Parameters
    ----------
    file : h5netcdf.File
    kind : LayerKind
    dimensions : sequence of str
    chunks : sequence of int
        Of each dimension; longer ones are cut to the dimension.
    **attributes : str
        More of them; empty ones are left out.
    """
    variable = file.create_variable(
        kind.name,
        tuple(dimensions),
        kind.dtype,
        fillvalue=kind.dtype(kind.nodata),
        chunks=tuple(min(size, file.dimensions[name].size) for size, name in zip(chunks, dimensions, strict=True)),
        compression="gzip",
        compression_opts=DEFLATE,
        shuffle=True,
    )
    is_class = np.issubdtype(kind.dtype, np.integer)
    known: dict[str, Any] = {
        "long_name": kind.long_name,
        "standard_name": kind.standard_name,
        "units": kind.unit,
        "description": kind.description,
        "comment": kind.convention,
        "coverage_content_type": "thematicClassification" if is_class else "physicalMeasurement",
        "grid_mapping": "crs",
        **attributes,
    }
    if kind.drawing and kind.drawing.style == "mask":
        names = ["none", *(name for _, name in kind.drawing.classes)]
        known |= {"flag_values": np.arange(len(names), dtype=kind.dtype), "flag_meanings": " ".join(names)}
    variable.attrs.update({key: value for key, value in known.items() if not isinstance(value, str) or value})
    return variable


def _create_pair_layer(file: Any, kind: LayerKind, dimensions: Sequence[str], ifg: Interferogram) -> None:
    is_stack = len(dimensions) > 2
    more = {"coordinates": " ".join([*_COORDINATES, *(["pair_name"] if is_stack else [])])}
    if kind.name in _JUDGED:
        more["ancillary_variables"] = " ".join(name for name in _ANCILLARY if name in ifg.layers)
    create_layer(file, kind, dimensions, [1, CHUNK, CHUNK][-len(dimensions) :], **more)


def write_grid(file: Any, grid: GeoGrid) -> tuple[str, str]:
    """Write the places of pixels and the grid mapping; return the names of the dimensions y and x.

    Parameters
    ----------
    file : h5netcdf.File
    grid : GeoGrid
    """
    from pyproj import CRS

    from topsar.raster.geotiff import compute_pixel_axes

    crs = CRS.from_user_input(grid.crs)
    names = ("lat", "lon") if crs.is_geographic else ("y", "x")
    known = {attributes["axis"]: attributes for attributes in crs.cs_to_cf()}
    x, y = compute_pixel_axes(grid)
    file.dimensions.update({names[0]: grid.rows, names[1]: grid.columns})
    for name, axis, values in zip(names, "YX", (y, x), strict=True):
        file.create_variable(name, (name,), np.float64, data=values).attrs.update(known[axis])
    mapping = file.create_variable("crs", (), np.int32, data=np.int32(0))
    a, b, c, d, e, f = grid.transform
    wkt = crs.to_wkt()
    mapping.attrs.update({**crs.to_cf(), "spatial_ref": wkt, "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"})
    return names


def _write_coordinates(
    file: Any, pairs: Sequence[Interferogram], grid: GeoGrid, along: tuple[str, ...]
) -> tuple[str, str]:
    """Write the places of pixels and what is known along the pairs; return the names of y and x."""
    import h5py

    file.dimensions.update({name: len(pairs) for name in along})
    names = write_grid(file, grid)
    numbers = {
        f"{date}_time": {"standard_name": "time", "long_name": f"Start of the {date}", "units": _SINCE}
        for date in DATES
    }
    numbers["perpendicular_baseline"] = {"long_name": "Perpendicular baseline", "units": "m"}
    for name, attributes in numbers.items():
        values = np.array([_find_number(ifg.facts, name) for ifg in pairs])
        variable = file.create_variable(name, along, np.float64, data=values if along else values[0])
        variable.attrs.update(attributes)
    if along:
        ids = np.array([ifg.pair_id for ifg in pairs], object)
        file.create_variable("pair_name", along, h5py.string_dtype(), data=ids).attrs["long_name"] = "Name of the pair"
    return names


def _find_number(facts: Mapping[str, Any], name: str) -> float:
    """The perpendicular baseline, or the start of a pass (its day where the time is not known) since `_EPOCH`."""
    if name == "perpendicular_baseline":
        return float(facts.get("perpendicular_baseline_m", np.nan))
    time = str(facts.get(name) or facts[name.replace("time", "date")]).removesuffix("+00:00")
    return float((np.datetime64(time, "us") - _EPOCH) / np.timedelta64(1, "s"))


def _describe_heights(heights: Sequence[float]) -> dict[str, Any]:
    """Attributes for discovery: the vertical extent, where heights are known."""
    if not heights:
        return {}
    return {
        "geospatial_vertical_min": min(heights),
        "geospatial_vertical_max": max(heights),
        "geospatial_vertical_units": "m",
        "geospatial_vertical_positive": "up",
        "geospatial_bounds_vertical_crs": "EPSG:4979",  # heights above the ellipsoid have no CRS of their own
    }


def describe_file(pairs: Sequence[Interferogram], grid: GeoGrid, given: str = "") -> dict[str, Any]:
    """Attributes for discovery (ACDD), and the facts of all pairs as JSON.

    Parameters
    ----------
    pairs : sequence of Interferogram
    grid : GeoGrid
        That covers them.
    given : str
        Attributes of the user, which go before: the setting ``netcdf_attributes``.
    """
    from topsar.raster.geotiff import make_transformer
    from topsar.settings.text import parse_attributes

    facts, box = pairs[0].facts, grid.bbox
    west, south, east, north = make_transformer(grid).transform_bounds(box.west, box.south, box.east, box.north)
    corners = ((south, west), (north, west), (north, east), (south, east), (south, west))
    days = sorted(str(ifg.facts.get(f"{date}_time") or ifg.facts[f"{date}_date"]) for ifg in pairs for date in DATES)
    track = f"track {facts.get('track', 'unknown')}"
    name = pairs[0].pair_id if len(pairs) == 1 else f"{len(pairs)} pairs of {track}"
    created = str(max(str(ifg.facts.get("created", "")) for ifg in pairs))
    attributes = {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": f"Sentinel-1 interferogram {name}" if len(pairs) == 1 else f"Sentinel-1 interferograms: {name}",
        "summary": "Phase, coherence and line-of-sight displacement from Sentinel-1 TOPS data, "
        f"{track}, {days[0][:10]} to {days[-1][:10]}. Interferogram = reference * conj(secondary).",
        "keywords": "SAR interferometry, InSAR, Sentinel-1, displacement, coherence",
        "id": pairs[0].pair_id if len(pairs) == 1 else name_track(pairs[0].pair_id),
        "source": "Sentinel-1 IW SLC",
        "platform": "Sentinel-1",
        "instrument": "C-SAR",
        "processing_level": "L2",
        "product_version": " ".join(str(facts[key]) for key in ("engine", "engine_version") if key in facts),
        "license": "Sentinel data are free and open (Regulation (EU) 377/2014)",
        "history": f"{created} topsar {__version__}".strip(),
        "date_created": created,
        "acknowledgement": f"Contains modified Copernicus Sentinel data {', '.join(sorted({day[:4] for day in days}))}",
        "standard_name_vocabulary": "CF Standard Name Table v86",
        "cdm_data_type": "Grid",
        "geospatial_bounds": f"POLYGON (({', '.join(f'{lat} {lon}' for lat, lon in corners)}))",
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_lat_min": south,
        "geospatial_lat_max": north,
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_min": west,
        "geospatial_lon_max": east,
        "geospatial_lon_units": "degrees_east",
        **_describe_posting(grid),
        "time_coverage_start": days[0],
        "time_coverage_end": days[-1],
        "time_coverage_duration": f"P{(np.datetime64(days[-1][:10]) - np.datetime64(days[0][:10])).astype(int)}D",
        "facts": json.dumps({ifg.pair_id: ifg.facts for ifg in pairs}, ensure_ascii=False, default=str),
    }
    return {key: value for key, value in (attributes | parse_attributes(given)).items() if value != ""}


def _describe_posting(grid: GeoGrid) -> dict[str, str]:
    from pyproj import CRS

    unit = "degree" if CRS.from_user_input(grid.crs).is_geographic else "metre"
    return {
        f"geospatial_{axis}_resolution": f"{size:.9g} {unit}" for axis, size in (("lat", grid.dy), ("lon", grid.dx))
    }
