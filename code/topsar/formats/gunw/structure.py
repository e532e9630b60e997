"""Whether a GUNW file has the groups, variables, types, fills, units and attributes of the standard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import h5netcdf
import numpy as np

from topsar.formats.gunw.reading import Violation, as_text, find, is_layer, list_models
from topsar.formats.gunw.standard import (
    AXIS_UNITS,
    CONSTANT_ATTRIBUTES,
    CORRECTIONS,
    CRS,
    CUBES,
    DATA,
    DELAYS,
    GEOMETRY,
    GRIDS,
    IONOSPHERE,
    LAYERS,
    NAMES,
    NUMBERS,
    OFFSETS,
    OTHER_ATTRIBUTES,
    PLACEHOLDERS,
    POLYGON,
    RADAR,
    SIDES,
    STANDARD_RUN,
    TEXTS,
    TIDES,
    TROPOSPHERE,
    Raster,
)

_VERSIONS = ("1a", "1b", "1c")
_LAYER_AXES = ("latitude", "longitude")
_CUBE_AXES = ("heightsMeta", "latitudeMeta", "longitudeMeta")
_LEAST_RAD = 200.0
"""Of a hydrostatic delay low in the air, which has 500 rad and more."""


def check_structure(nc: h5netcdf.File) -> Iterator[Violation]:
    """Compare a file with the standard, whatever its values are."""
    yield from _check_attributes(nc)
    yield from _check_polygon(nc)
    for group, rasters, axes in ((DATA, LAYERS, _LAYER_AXES), (GEOMETRY, CUBES, _CUBE_AXES)):
        yield from _check_axes(nc, group, axes)
        for name, raster in rasters.items():
            yield from _check_raster(nc, f"{group}/{name}", raster, axes)
        known = {*rasters, *axes, *(OFFSETS if group == DATA else ()), "crs" + "Meta" * (group == GEOMETRY)}
        for name in getattr(find(nc, group), "variables", {}):
            if name not in known:
                yield Violation(f"{group}/{name}", "the standard has no such variable")
    for path, name in NAMES.items():
        if is_layer(variable := find(nc, path)):
            yield from _compare_attribute(variable, path, "standard_name", name)
    yield from _check_corrections(nc)
    yield from _check_radar(nc)


def _check_attributes(nc: h5netcdf.File) -> Iterator[Violation]:
    for name, value in CONSTANT_ATTRIBUTES.items():
        yield from _compare_attribute(nc, "", name, value)
    for name in OTHER_ATTRIBUTES:
        if name not in nc.attrs:
            yield Violation(f"attribute {name}", "is missing")
    if "version" in nc.attrs and as_text(nc.attrs["version"]) not in _VERSIONS:
        yield Violation("attribute version", f"is {as_text(nc.attrs['version'])!r}, not one of {', '.join(_VERSIONS)}")
    grids = find(nc, GRIDS)
    for name in (*STANDARD_RUN, "frame_id", *(f"{side}_scenes" for side in SIDES)):
        if grids is not None and name not in grids.attrs:
            yield Violation(f"{GRIDS}, attribute {name}", "is missing")


def _check_polygon(nc: h5netcdf.File) -> Iterator[Violation]:
    polygon = find(nc, POLYGON)
    if polygon is None:
        yield Violation(POLYGON, "is missing")
        return
    if polygon.dimensions != ("wkt_count", "wkt_length") or polygon.dtype != np.dtype("S1"):
        yield Violation(POLYGON, "is not an array of characters (wkt_count, wkt_length)")
    yield from _check_mapping(nc, POLYGON, polygon, {"grid_mapping_name": CRS["grid_mapping_name"]}, lenient=True)


def _check_axes(nc: h5netcdf.File, group: str, axes: tuple[str, ...]) -> Iterator[Violation]:
    for name in axes:
        path, axis = f"{group}/{name}", find(nc, f"{group}/{name}")
        if axis is None:
            yield Violation(path, "is missing")
            continue
        if axis.dtype != np.float64 or axis.dimensions != (name,):
            yield Violation(path, f"is {axis.dtype} {axis.dimensions}, not float64 ({name})")
        yield from _compare_attribute(axis, path, "units", AXIS_UNITS[name.removesuffix("Meta")][0])
        if "standard_name" not in axis.attrs:
            yield Violation(path, "has no standard_name")


def _check_raster(nc: h5netcdf.File, path: str, raster: Raster, axes: tuple[str, ...]) -> Iterator[Violation]:
    variable = find(nc, path)
    if variable is None:
        yield Violation(path, "is missing")
        return
    if variable.dimensions != axes:
        yield Violation(path, f"has the dimensions {variable.dimensions}, not {axes}")
    if variable.dtype != np.float32:
        yield Violation(path, f"is {variable.dtype}, not float32")
    fill = variable.attrs.get("_FillValue")
    if fill is None or float(np.ravel(fill)[0]) != raster.fill:
        yield Violation(path, f"has the fill value {'none' if fill is None else np.ravel(fill)[0]}, not {raster.fill}")
    elif np.asarray(fill).dtype != variable.dtype:
        yield Violation(path, f"has a fill value of another type, {np.asarray(fill).dtype}")
    if "units" in variable.attrs or raster.unit != "unitless":
        yield from _compare_attribute(variable, path, "units", raster.unit)
    if not {"long_name", "standard_name"} & set(variable.attrs):
        yield Violation(path, "has neither long_name nor standard_name")
    yield from _check_mapping(nc, path, variable, CRS)


def _check_mapping(
    nc: h5netcdf.File, path: str, variable: Any, expected: Mapping[str, Any], *, lenient: bool = False
) -> Iterator[Violation]:
    """The grid mapping of a variable must be there, on WGS84."""
    name = as_text(variable.attrs.get("grid_mapping", ""))
    mapping = find(nc, "/".join([*path.split("/")[:-1], name])) if name else None
    if mapping is None:
        yield Violation(path, f"has no grid mapping {name}".rstrip())
        return
    for key, value in expected.items():
        found = mapping.attrs.get(key)
        if found is None and (lenient or "crs_wkt" in mapping.attrs):
            continue
        if found is None or (
            as_text(found) != value if isinstance(value, str) else not np.isclose(found, value, rtol=1e-7)
        ):
            yield Violation(f"{path}, grid mapping {name}", f"{key} is {found}, not {value}")


def _check_corrections(nc: h5netcdf.File) -> Iterator[Violation]:
    if find(nc, CORRECTIONS) is None:
        yield Violation(CORRECTIONS, "is missing")
        return
    found = {
        f"{IONOSPHERE}/ionosphere": _check_ionosphere(nc),
        f"{TIDES}/solidEarthTide": _check_tides(nc),
        f"{TROPOSPHERE}/{DELAYS[0]}": _check_models(nc),
    }
    replaced = {TIDES: find(nc, f"{TIDES}/solidEarth") is not None, TROPOSPHERE: bool(list_models(nc))}
    for path in PLACEHOLDERS:
        yield from found.get(path, ())
        if find(nc, path) is None and not replaced.get(path.rpartition("/")[0]):
            yield Violation(path, "is missing: neither a layer nor the standard's placeholder")


def _check_models(nc: h5netcdf.File) -> Iterator[Violation]:
    """Each weather model has both delays of both dates; a delay makes the phase negative."""
    for path in (f"{TROPOSPHERE}/{model}/{side}/{name}" for model in list_models(nc) for side in SIDES
                 for name in DELAYS):  # fmt: skip
        variable = find(nc, path)
        if not is_layer(variable):
            yield Violation(path, "is missing, while there is a weather model")
        elif variable.dimensions != _CUBE_AXES:
            yield Violation(path, f"has the dimensions {variable.dimensions}, not {_CUBE_AXES}")
        else:
            values = np.asarray(variable[...], np.float64)
            is_weak = path.endswith(DELAYS[0]) and not values.min(initial=0.0) < -_LEAST_RAD
            if is_weak or not (np.isfinite(values) & (values <= 0)).all():
                yield Violation(path, f"ranges from {values.min():.4g} to {values.max():.4g} rad: no delay of air")
            yield from _check_mapping(nc, path, variable, CRS)


def _check_ionosphere(nc: h5netcdf.File) -> Iterator[Violation]:
    path = f"{IONOSPHERE}/ionosphere"
    variable = find(nc, path)
    if is_layer(variable):
        if variable.dimensions != _LAYER_AXES:
            yield Violation(path, f"has the dimensions {variable.dimensions}, not {_LAYER_AXES}")
        yield from _compare_attribute(variable, path, "units", "rad")


def _check_tides(nc: h5netcdf.File) -> Iterator[Violation]:
    if find(nc, f"{TIDES}/solidEarth") is None:
        return
    for side in SIDES:
        path = f"{TIDES}/solidEarth/{side}/solidEarthTide"
        variable = find(nc, path)
        if not is_layer(variable):
            yield Violation(path, "is missing, while there are tides")
        elif variable.dimensions != ("height", *_LAYER_AXES):
            yield Violation(path, f"has the dimensions {variable.dimensions}, not ('height', 'latitude', 'longitude')")


def _check_radar(nc: h5netcdf.File) -> Iterator[Violation]:
    paths = [f"{RADAR}/{name}" for name in TEXTS]
    paths += [f"{RADAR}/inputSLC/{side}/{name}" for side in SIDES for name in ("L1InputGranules", "orbitType")]
    for path in paths:
        variable = find(nc, path)
        if variable is None:
            yield Violation(path, "is missing")
        elif np.dtype(variable.dtype).kind not in "OSU" or variable.dimensions != ("matchup",):
            yield Violation(path, "is not text along the dimension matchup")
        elif unit := TEXTS.get(path.rpartition("/")[2], ("", ""))[1]:
            yield from _compare_attribute(variable, path, "units", unit)
    for name, (_, unit) in NUMBERS.items():
        path, variable = f"{RADAR}/{name}", find(nc, f"{RADAR}/{name}")
        if variable is None:
            yield Violation(path, "is missing")
            continue
        if np.dtype(variable.dtype).kind != "f" or variable.shape not in ((), (1,)):
            yield Violation(path, "is not one real number")
        yield from _compare_attribute(variable, path, "units", unit)


def _compare_attribute(holder: Any, where: str, name: str, expected: str) -> Iterator[Violation]:
    found = holder.attrs.get(name)
    place = f"{where}, attribute {name}" if where else f"attribute {name}"
    if found is None:
        yield Violation(place, "is missing")
    elif as_text(found) != expected:
        yield Violation(place, f"is {as_text(found)!r}, not {expected!r}")
