"""The netCDF-4 file of a pair and what lies beside it.

Groups, names, types, fills and attributes follow ACCESS-Cloud-Based-InSAR/DockerizedTopsApp 3.0.1 (its packaging
template and additional layers); signs and the order of dates are GUNW's: the later date is the reference.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import h5netcdf
import h5py
import numpy as np

from topsar import __version__
from topsar.engines.passes import read_passes
from topsar.errors import ProductError
from topsar.files import atomic_path, write_json
from topsar.formats.degrees import cover_in_degrees, warp_layer
from topsar.formats.exchange import fill_holes, order_dates, require_unwrapped
from topsar.formats.gunw.cube import Cube, make_cube
from topsar.formats.gunw.outline import draw_outline
from topsar.model import SPEED_OF_LIGHT, OrbitSource
from topsar.raster.geotiff import compute_pixel_axes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely import Polygon

    from topsar.engines.passes import PassFacts
    from topsar.interferogram import Interferogram
    from topsar.model import GeoGrid

STANDARD = "3.0.1"
"""Version of the dataset that the file follows."""
STEPS_PER_DEGREE = {90: 1200, 30: 3600}
"""Pixels per degree by posting, m."""
_FINE_BELOW_M = 50
_PHASE = "filtered_unwrapped_phase"
"""GUNW carries the phase that was unwrapped: the filtered one."""
_LAYERS = {
    "unwrappedPhase": ("Unwrapped phase", "rad", 0),
    "coherence": ("Coherence", "unitless", 0),
    "connectedComponents": ("Snaphu connected components", "unitless", -1),
    "amplitude": ("Amplitude", "watt", 0),
    "unfilteredCoherence": ("Coherence without filters applied", "unitless", 0),
}
_CUBES = {
    "perpendicularBaseline": ("Perpendicular baseline", "meter"),
    "parallelBaseline": ("Parallel baseline", "meter"),
    "incidenceAngle": ("Incidence angle", "degrees"),
    "lookAngle": ("Look angle", "degrees"),
    "azimuthAngle": ("Azimuth angle", "degrees"),
}
_CRS = {
    "grid_mapping_name": "latitude_longitude",
    "longitude_of_prime_meridian": 0.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}
_PLACEHOLDERS = {
    "derived/ionosphere/ionosphere": "placeholder dummy: [2D]",
    "external/troposphere/troposphereHydrostatic": "placeholder dummy: [3D]",
    "external/troposphere/troposphereWet": "placeholder dummy: [3D]",
    "external/tides/solidEarthTide": "placeholder dummy: [2D]",
}
_ORBIT_TYPES = {
    OrbitSource.PRECISE: "precise",
    OrbitSource.RESTITUTED: "restituted",
    OrbitSource.ANNOTATION: "",
}
_TEXT = h5py.string_dtype()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """What a file holds, ready to be written: layers on ``grid`` with GUNW's names and fills."""

    name: str
    facts: Mapping[str, Any]
    reference: PassFacts
    secondary: PassFacts
    grid: GeoGrid
    layers: Mapping[str, NDArray[np.float32]]
    ionosphere: NDArray[np.float32] | None
    cube: Cube
    outline: Polygon


def write_product(ifg: Interferogram, folder: Path) -> tuple[Path, ...]:
    """Write the file of a pair, its browse image and its ingest record.

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
        _write_layers(nc.create_group("science/grids/data"), product)
        _write_cube(nc.create_group("science/grids/imagingGeometry"), product.cube)
        _write_corrections(nc, product)
        _write_radar(nc.create_group("science/radarMetaData"), product)
        nc["science/grids"].attrs.update(_describe_processing(product.facts))
    _draw_browse(browse, product)
    write_json(record, _make_record(product))
    return file, browse, record


def prepare_product(ifg: Interferogram) -> Product:
    """Turn a pair to GUNW's order of dates and grid."""
    ifg = order_dates(ifg, older_first=False)
    require_unwrapped(ifg, "GUNW")
    grid = cover_in_degrees(ifg.grid, 1 / STEPS_PER_DEGREE[_choose_posting(ifg)])
    unwrapped = warp_layer(ifg, _PHASE, grid)
    seen, coherence = np.isfinite(unwrapped), warp_layer(ifg, "coherence", grid)
    if not seen.any():
        msg = f"no pixel of {ifg.pair_id} is unwrapped"
        raise ProductError(msg, hint="its coherence is too low: leave it out")
    layers = {
        "unwrappedPhase": _fill(unwrapped, seen, 0),
        "coherence": _fill(coherence, seen, 0),
        "connectedComponents": _fill(warp_layer(ifg, "components", grid).astype(np.float32), seen, -1),
        "amplitude": _fill(warp_layer(ifg, "amplitude", grid), seen, 0),
        "unfilteredCoherence": _fill(coherence, seen, 0),
    }
    reference, secondary = read_passes(ifg.facts)
    outline = draw_outline(seen, grid)
    ionosphere = warp_layer(ifg, "ionosphere", grid) if "ionosphere" in ifg.layers else None
    return Product(
        name=_name_product(ifg, reference, outline),
        facts=ifg.facts,
        reference=reference,
        secondary=secondary,
        grid=grid,
        layers=layers,
        ionosphere=ionosphere,
        cube=make_cube(reference, secondary, grid.bbox),
        outline=outline,
    )


def _choose_posting(ifg: Interferogram) -> int:
    """The standard posting, 90 or 30 m, that is nearer to the pair's."""
    metres = ifg.grid.dy if ifg.grid.crs != "EPSG:4326" else ifg.grid.dy * 111_000
    return 30 if metres < _FINE_BELOW_M else 90


def _fill(values: NDArray[np.float32], seen: NDArray[np.bool_], fill: float) -> NDArray[np.float32]:
    """Fill holes, and all that is not unwrapped."""
    true = fill_holes(values) if fill == 0 else values
    return np.where(seen & np.isfinite(values), true, fill).astype(np.float32)


def _name_product(ifg: Interferogram, reference: PassFacts, outline: Polygon) -> str:
    facts = ifg.facts
    west, south = outline.bounds[:2]
    place = f"{abs(round(west)):05d}{'W' if west <= 0 else 'E'}_{abs(round(south)):05d}{'N' if south >= 0 else 'S'}"
    scenes = [" ".join(sorted(facts[f"{side}_scenes"])) for side in ("reference", "secondary")]
    tag = hashlib.md5(json.dumps(scenes).encode(), usedforsecurity=False).hexdigest()[:4]
    days = "_".join(facts[f"{side}_date"].replace("-", "") for side in ("reference", "secondary"))
    return "-".join(
        (
            "S1",
            "GUNW_CUSTOM",
            facts["direction"][0].upper(),
            "R",
            f"{facts['track']:03d}",
            "tops",
            days,
            f"{reference.middle:%H%M%S}",
            place,
            "PP",
            tag,
            f"v{STANDARD.replace('.', '_')}",
        )
    )


# --- groups -----------------------------------------------------------------------------------------------------


def _write_root(nc: h5netcdf.File, product: Product) -> None:
    wkt = product.outline.wkt
    nc.attrs.update(
        {
            "product_type": "UNW GEO IFG",
            "Conventions": "CF-1.6",
            "title": "ARIA standard product UNW GEO IFG",
            "version": "1b" if product.ionosphere is None else "1c",
            "author": f"topsar {__version__}",
            "institution": "not JPL: made by a user of topsar in the layout of the ARIA standard product",
            "source": "Contains modified Copernicus Sentinel data processed by ESA and topsar",
            "references": "https://aria.jpl.nasa.gov/",
            "history": f"{product.facts.get('created', '')} topsar {__version__} export gunw",
            "ogr_geometry_field": "productBoundingBox",
            "ogr_layer_name": "productBoundingBox",
            "ogr_layer_type": "POLYGON",
            "aria_frame_id": -1,
            "topsapp_command_line_string": "",
            "topsar_version": __version__,
            "product_geometry_wkt": wkt,
            **_summarise(product),
        }
    )
    nc.dimensions.update({"wkt_count": 1, "wkt_length": len(wkt), "matchup": 1})
    polygon = nc.create_variable("productBoundingBox", ("wkt_count", "wkt_length"), "S1")
    polygon[...] = np.frombuffer(wkt.encode(), "S1")[None]
    _describe(polygon, "Product bounding box defined as ISO WKT polygon", "unitless", "crs_polygon")
    nc.create_variable("crs_polygon", (), "i4", data=0).attrs.update({**_CRS, "spatial_ref": 4326})


def _write_layers(group: h5netcdf.Group, product: Product) -> None:
    _write_pixel_axes(group, product.grid)
    for name, (description, unit, fill) in _LAYERS.items():
        _write_grid(group, name, ("latitude", "longitude"), product.layers[name], fill)
        _describe(group[name], description, unit, "crs")


def _write_cube(group: h5netcdf.Group, cube: Cube) -> None:
    axes = {"heightsMeta": cube.heights_m, "latitudeMeta": cube.latitude_deg, "longitudeMeta": cube.longitude_deg}
    _write_axes(group, axes, "crsMeta")
    for name, (description, unit) in _CUBES.items():
        _write_grid(group, name, tuple(axes), cube.values[name], 0)
        _describe(group[name], description, unit, "crsMeta")


def _write_corrections(nc: h5netcdf.File, product: Product) -> None:
    group = nc.create_group("science/grids/corrections")
    for path, text in _PLACEHOLDERS.items():
        where, _, name = path.rpartition("/")
        if name != "ionosphere" or product.ionosphere is None:
            _write_text(group.create_group(where) if where not in group else group[where], name, text)
    if product.ionosphere is not None:
        found = group.create_group("derived/ionosphere")
        _write_pixel_axes(found, product.grid)
        values = np.nan_to_num(product.ionosphere)
        _write_grid(found, "ionosphere", ("latitude", "longitude"), values, 0)
        _describe(found["ionosphere"], "Estimated ionosphere phase correction", "rad", "crs")


def _write_radar(group: h5netcdf.Group, product: Product) -> None:
    facts, one = product.facts, product.reference
    unwrapper = facts.get("settings", {}).get("unwrapper", "")
    esd = facts.get("azimuth_misregistration", {}).get("source", "")
    texts = {
        "missionID": "Sentinel-1",
        "productType": "UNW GEO IFG",
        "ISCEversion": f"{facts['engine']} {facts['engine_version']}",
        "unwrapMethod": unwrapper,
        "DEM": facts["dem"]["file"],
        "azimuthZeroDopplerStartTime": _format_time(one.start),
        "azimuthZeroDopplerEndTime": _format_time(one.stop),
    }
    for name, text in texts.items():
        _write_text(group, name, text)
    numbers = {
        "wavelength": (facts["wavelength_m"], "Radar wavelength", "meter"),
        "centerFrequency": (SPEED_OF_LIGHT / facts["wavelength_m"], "Radar center frequency", "Hertz"),
        "ESDthreshold": (
            facts.get("settings", {}).get("esd_coherence", -1.0) if esd else -1.0,
            "ESD threshold, -1 = no ESD applied",
            "unitless",
        ),
        "azimuthTimeInterval": (one.line_interval_s, "Azimuth time interval", "seconds"),
        "slantRangeSpacing": (one.range_spacing_m, "Slant range pixel spacing", "meter"),
        "slantRangeStart": (one.near_range_m, "Slant range start", "meter"),
        "slantRangeEnd": (one.far_range_m, "Slant range end", "meter"),
    }
    for name, (value, description, unit) in numbers.items():
        _describe(group.create_variable(name, (), "f8", data=float(value)), description, unit)
    for side, found in (("reference", one), ("secondary", product.secondary)):
        inner = group.create_group(f"inputSLC/{side}")
        scenes = [f"{scene}.zip" for scene in facts[f"{side}_scenes"]]
        inner.dimensions["matchup"] = len(scenes)
        granules = inner.create_variable("L1InputGranules", ("matchup",), _TEXT)
        granules[...] = np.array(scenes, dtype=object)
        _describe(granules, f"{side.capitalize()} input granules")
        _write_text(inner, "orbitType", _ORBIT_TYPES[found.orbit_source])


# --- variables --------------------------------------------------------------------------------------------------


def _write_pixel_axes(group: h5netcdf.Group, grid: GeoGrid) -> None:
    longitude, latitude = compute_pixel_axes(grid)
    _write_axes(group, {"latitude": latitude, "longitude": longitude}, "crs")


def _write_axes(group: h5netcdf.Group, axes: Mapping[str, NDArray[np.floating[Any]]], crs: str) -> None:
    units = {"latitude": "degrees_north", "longitude": "degrees_east", "heights": "meter"}
    for name, values in axes.items():
        plain = name.removesuffix("Meta")
        group.dimensions[name] = len(values)
        axis = group.create_variable(name, (name,), "f8", data=values)
        standard = "height_above_reference_ellipsoid" if plain == "heights" else plain
        axis.attrs.update({"standard_name": standard, "long_name": plain, "units": units[plain]})
    group.create_variable(crs, (), "i4", data=0).attrs.update(_CRS)


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


def _write_text(group: h5netcdf.Group, name: str, text: str) -> None:
    variable = group.create_variable(name, (), _TEXT)
    variable[...] = text
    variable.attrs["long_name"] = name


def _describe(variable: Any, description: str, unit: str = "", crs: str = "") -> None:
    name = variable.name.rpartition("/")[2]
    told = {"long_name": name, "description": description, "units": unit, "grid_mapping": crs}
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


def _describe_processing(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The standard's parameters, as this run had them."""
    settings = facts.get("settings", {})
    return {
        "reference_scenes": ", ".join(facts["reference_scenes"]),
        "secondary_scenes": ", ".join(facts["secondary_scenes"]),
        "frame_id": -1,
        "goldstein_filter_power": float(settings.get("filter_strength", 0.0)),
        "esd_coherence_threshold": -1.0,
        "dense_offsets": 0,
        "unfiltered_coherence": 1,
        "estimate_ionosphere_delay": 0,
        "compute_solid_earth_tide": 0,
    }


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"


# --- beside the file --------------------------------------------------------------------------------------------


def _draw_browse(path: Path, product: Product) -> None:
    """Draw the phase, wrapped again, a fifth as large; white where it is not reliable."""
    from PIL import Image

    from topsar.formats.quicklook.palette import PHASE

    step = max(round(max(product.grid.shape) / 1000), 1)
    phase = product.layers["unwrappedPhase"][::step, ::step]
    reliable = product.layers["connectedComponents"][::step, ::step] > 0
    painted = PHASE((np.angle(np.exp(1j * phase)) + np.pi) / (2 * np.pi), bytes=True)
    painted[~reliable] = 255
    with atomic_path(path) as part:
        Image.fromarray(painted[..., :3]).save(part)


def _make_record(product: Product) -> dict[str, Any]:
    """Make the record that the archive ingests."""
    facts = product.facts
    west, south, east, north = product.outline.bounds
    days = abs(round(facts["temporal_baseline_days"]))
    return {
        "label": product.name,
        "location": {"type": "Polygon", "coordinates": [list(map(list, product.outline.exterior.coords))]},
        "creation_timestamp": _format_time(datetime.fromisoformat(facts["created"])),
        "version": STANDARD,
        "metadata": {
            "ogr_bbox": [[west, south], [east, south], [east, north], [west, north]],
            "reference_scenes": list(facts["reference_scenes"]),
            "secondary_scenes": list(facts["secondary_scenes"]),
            "sensing_start": _format_time(product.reference.start),
            "sensing_stop": _format_time(product.reference.stop),
            "version": STANDARD,
            "temporal_baseline_days": days,
            "orbit_number": [product.reference.absolute_orbit, product.secondary.absolute_orbit],
            "platform": [f"Sentinel-1{one.mission[-1]}" for one in (product.reference, product.secondary)],
            "beam_mode": "IW",
            "orbit_direction": facts["direction"],
            "dataset_type": "slc",
            "product_type": "interferogram",
            "polarization": facts["polarisation"],
            "look_direction": "right",
            "track_number": facts["track"],
            "perpendicular_baseline": round(float(product.cube.values["perpendicularBaseline"].mean()), 4),
        },
    }
