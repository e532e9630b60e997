"""The netCDF-4 file of a pair and what lies beside it.

Groups, names, types, fills and attributes follow ACCESS-Cloud-Based-InSAR/DockerizedTopsApp 3.0.1 (its packaging
template and additional layers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5netcdf
import h5py
import numpy as np

from topsar import __version__
from topsar.files import atomic_path, write_json
from topsar.formats.exchange import fill_holes
from topsar.formats.gunw.companions import draw_browse, format_time, make_record
from topsar.formats.gunw.product import Product, prepare_product
from topsar.formats.gunw.standard import (
    AXIS_UNITS,
    BURST_RAMPS,
    CONSTANT_ATTRIBUTES,
    CROSSED_KEY,
    CRS,
    CUBES,
    DATA,
    FOOTPRINT,
    GEOMETRY,
    GRIDS,
    IONOSPHERE,
    LAYERS,
    NAMES,
    NUMBERS,
    PLACEHOLDERS,
    POLYGON,
    RADAR,
    SIDES,
    TEXTS,
    TIDES,
    TROPOSPHERE,
)
from topsar.model import SPEED_OF_LIGHT, OrbitSource
from topsar.raster.geotiff import compute_pixel_axes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.formats.gunw.cube import Cube
    from topsar.formats.gunw.troposphere import Troposphere
    from topsar.interferogram import Interferogram
    from topsar.model import GeoGrid

_ORBIT_TYPES = {
    OrbitSource.PRECISE: "precise",
    OrbitSource.RESTITUTED: "restituted",
    OrbitSource.ANNOTATION: "",
}
_TEXT = h5py.string_dtype()


def write_product(ifg: Interferogram, folder: Path) -> tuple[Path, ...]:
    """Write the file of a pair, its browse image, and its ingest record: the archive has none of VH and HV.

    Parameters
    ----------
    ifg : Interferogram
    folder : Path

    Raises
    ------
    ProductError
        If the pair is not unwrapped.
    """
    product = prepare_product(ifg)
    file, browse, record = (folder / f"{product.name}.{suffix}" for suffix in ("nc", "png", "json"))
    with atomic_path(file) as part, h5netcdf.File(part, "w") as nc:
        _write_root(nc, product)
        _write_layers(nc.create_group(DATA), product)
        _write_cube(nc.create_group(GEOMETRY), product.cube)
        _write_corrections(nc, product)
        _write_tides(nc, product)
        _write_troposphere(nc, product.troposphere)
        _write_radar(nc.create_group(RADAR), product)
        nc[GRIDS].attrs.update({**_list_scenes(product.facts), **product.parameters})
    draw_browse(browse, product)
    if CROSSED_KEY in product.parameters:
        return file, browse
    write_json(record, make_record(product))
    return file, browse, record


# --- groups -----------------------------------------------------------------------------------------------------


def _write_root(nc: h5netcdf.File, product: Product) -> None:
    wkt = product.outline.wkt
    nc.attrs.update(
        {
            **CONSTANT_ATTRIBUTES,
            "version": "1c" if any(_find_corrections(product).values()) else "1b",
            "author": f"topsar {__version__}",
            "institution": "not JPL: made by a user of topsar in the layout of the ARIA standard product",
            "source": "Contains modified Copernicus Sentinel data processed by ESA and topsar",
            "history": f"{product.facts.get('created', '')} topsar {__version__} export gunw",
            "aria_frame_id": product.frame,
            "topsapp_command_line_string": "",
            "topsar_version": __version__,
            FOOTPRINT: product.geometry.wkt,
            **_summarise(product),
        }
    )
    nc.dimensions.update({"wkt_count": 1, "wkt_length": len(wkt), "matchup": 1})
    polygon = nc.create_variable(POLYGON, ("wkt_count", "wkt_length"), "S1")
    polygon[...] = np.frombuffer(wkt.encode(), "S1")[None]
    _describe(polygon, "Product bounding box defined as ISO WKT polygon", "unitless", "crs_polygon")
    nc.create_variable("crs_polygon", (), "i4", data=0).attrs.update({**CRS, "spatial_ref": 4326})


def _find_corrections(product: Product) -> dict[str, bool]:
    """Whether there is a layer where the standard has placeholders, by group."""
    return {
        TIDES: bool(product.tides),
        IONOSPHERE: product.ionosphere is not None,
        TROPOSPHERE: product.troposphere is not None,
    }


def _write_layers(group: h5netcdf.Group, product: Product) -> None:
    _write_pixel_axes(group, product.grid)
    for name, (description, unit, fill) in LAYERS.items():
        _write_grid(group, name, ("latitude", "longitude"), product.layers[name], fill)
        _describe(group[name], description, unit, "crs")


def _write_cube(group: h5netcdf.Group, cube: Cube) -> None:
    axes = {"heightsMeta": cube.heights_m, "latitudeMeta": cube.latitude_deg, "longitudeMeta": cube.longitude_deg}
    _write_axes(group, axes, "crsMeta")
    for name, (description, unit, fill) in CUBES.items():
        _write_grid(group, name, tuple(axes), cube.values[name], fill)
        _describe(group[name], description, unit, "crsMeta")


def _write_corrections(nc: h5netcdf.File, product: Product) -> None:
    is_there = _find_corrections(product)
    for path, text in PLACEHOLDERS.items():
        where, _, name = path.rpartition("/")
        if not is_there[where]:
            _write_text(nc[where] if where in nc else nc.create_group(where), name, text)
    if product.ionosphere is not None:
        found = nc.create_group(IONOSPHERE)
        _write_pixel_axes(found, product.grid)
        _write_grid(found, "ionosphere", ("latitude", "longitude"), fill_holes(product.ionosphere), 0)
        _describe(found["ionosphere"], "Estimated ionosphere phase correction", "rad", "crs")
    if product.burst_ramps is not None:
        found, name = nc.create_group(BURST_RAMPS), BURST_RAMPS.rpartition("/")[2]
        _write_pixel_axes(found, product.grid)
        _write_grid(found, name, ("latitude", "longitude"), product.burst_ramps, 0)
        _describe(found[name], "Phase ramps of bursts by the ionosphere", "rad", "crs")


def _write_tides(nc: h5netcdf.File, product: Product) -> None:
    """The tides of both dates on the nodes of the geometry cubes."""
    cube = product.cube
    axes = {"height": cube.heights_m, "latitude": cube.latitude_deg, "longitude": cube.longitude_deg}
    for side, values in product.tides.items():
        group = nc.create_group(f"{TIDES}/solidEarth/{side}")
        _write_axes(group, axes, "crs")
        _write_grid(group, "solidEarthTide", tuple(axes), values, 0)
        _describe(group["solidEarthTide"], "Solid earth tide, positive toward the satellite", "rad", "crs")


def _write_troposphere(nc: h5netcdf.File, found: Troposphere | None) -> None:
    """The delays of both dates, in groups as RAiDER makes them."""
    if found is None:
        return
    axes = {"heightsMeta": found.heights_m, "latitudeMeta": found.latitude_deg, "longitudeMeta": found.longitude_deg}
    for side, delays in found.sides.items():
        group = nc.create_group(f"{TROPOSPHERE}/{found.model}/{side}")
        _write_axes(group, axes, "crs")
        for name, values in delays.values.items():
            _write_grid(group, name, tuple(axes), values, 0)
            part = name.removeprefix("troposphere").lower()
            _describe(group[name], f"Delay due to {part} component of troposphere", "radians", "crs")
            group[name].attrs.update(
                {"standard_name": name, "model_times_used": delays.model_times, "time_interpolation_method": "linear"}
            )


def _write_radar(group: h5netcdf.Group, product: Product) -> None:
    facts, one = product.facts, product.reference
    texts = {
        "missionID": "Sentinel-1",
        "productType": CONSTANT_ATTRIBUTES["product_type"],
        "ISCEversion": f"{facts['engine']} {facts['engine_version']}",
        "unwrapMethod": facts.get("settings", {}).get("unwrapper", ""),
        "DEM": facts["dem"]["file"],
        "azimuthZeroDopplerStartTime": format_time(one.start),
        "azimuthZeroDopplerEndTime": format_time(one.stop),
    }
    for name, (description, unit) in TEXTS.items():
        _write_text(group, name, texts[name], description, unit)
    numbers = {
        "wavelength": facts["wavelength_m"],
        "centerFrequency": SPEED_OF_LIGHT / facts["wavelength_m"],
        "ESDthreshold": product.parameters["esd_coherence_threshold"],
        "azimuthTimeInterval": one.line_interval_s,
        "slantRangeSpacing": one.range_spacing_m,
        "slantRangeStart": one.near_range_m,
        "slantRangeEnd": one.far_range_m,
    }
    for name, (description, unit) in NUMBERS.items():
        _describe(group.create_variable(name, (), "f8", data=float(numbers[name])), description, unit)
    for side, found in (("reference", one), ("secondary", product.secondary)):
        inner = group.create_group(f"inputSLC/{side}")
        scenes = [f"{scene}.zip" for scene in facts[f"{side}_scenes"]]
        inner.dimensions["matchup"] = len(scenes)
        granules = inner.create_variable("L1InputGranules", ("matchup",), _TEXT)
        granules[...] = np.array(scenes, dtype=object)
        _describe(granules, f"{side.capitalize()} input granules")
        orbit = inner.create_variable("orbitType", ("matchup",), _TEXT)
        orbit[...] = np.array([_ORBIT_TYPES[found.orbit_source]] * len(scenes), dtype=object)
        _describe(orbit, f"{side.capitalize()} orbit type")


# --- variables --------------------------------------------------------------------------------------------------


def _write_pixel_axes(group: h5netcdf.Group, grid: GeoGrid) -> None:
    longitude, latitude = compute_pixel_axes(grid)
    _write_axes(group, {"latitude": latitude, "longitude": longitude}, "crs")


def _write_axes(group: h5netcdf.Group, axes: Mapping[str, NDArray[np.floating[Any]]], crs: str) -> None:
    for name, values in axes.items():
        plain = name.removesuffix("Meta")
        unit, standard = AXIS_UNITS["heights" if plain == "height" else plain]
        group.dimensions[name] = len(values)
        axis = group.create_variable(name, (name,), "f8", data=values)
        axis.attrs.update({"standard_name": standard, "long_name": plain, "units": unit})
        if plain in ("height", "heights"):
            axis.attrs["positive"] = "up"
    group.create_variable(crs, (), "i4", data=0).attrs.update(CRS)


def _write_grid(
    group: h5netcdf.Group, name: str, dimensions: tuple[str, ...], values: NDArray[np.float32], fill: float
) -> None:
    chunks = tuple(min(size, 512) for size in values.shape)
    group.create_variable(
        name,
        dimensions,
        "f4",
        data=values,
        fillvalue=np.float32(fill),
        chunks=chunks,
        compression="gzip",
        compression_opts=4,
        shuffle=True,
    )


def _write_text(group: h5netcdf.Group, name: str, text: str, description: str = "", unit: str = "") -> None:
    variable = group.create_variable(name, ("matchup",), _TEXT)
    variable[...] = np.array([text], dtype=object)
    _describe(variable, description, unit)


def _describe(variable: Any, description: str, unit: str = "", crs: str = "") -> None:
    name = variable.name.rpartition("/")[2]
    standard = NAMES.get(variable.name.lstrip("/"), "")
    told = {
        "standard_name": standard,
        "long_name": name,
        "description": description,
        "units": unit,
        "grid_mapping": crs,
    }
    variable.attrs.update({key: value for key, value in told.items() if value})


def _summarise(product: Product) -> dict[str, float]:
    """Mean values that the standard has as attributes of the file."""
    gamma = product.layers["unfilteredCoherence"]
    cube = product.cube.values
    sea_level = product.cube.heights_m.tolist().index(0.0)
    means = {name: float(cube[name][sea_level].mean()) for name in cube}
    return {
        "mean_unfiltered_coherence_without_water_mask": float(gamma[gamma > 0].mean()) if (gamma > 0).any() else 0.0,
        "mean_incidence_angle": means["incidenceAngle"],
        "mean_azimuth_angle": means["azimuthAngle"],
        "mean_perpendicular_baseline": means["perpendicularBaseline"],
        "mean_parallel_baseline": means["parallelBaseline"],
    }


def _list_scenes(facts: Mapping[str, Any]) -> dict[str, str]:
    return {f"{side}_scenes": ", ".join(facts[f"{side}_scenes"]) for side in SIDES}
