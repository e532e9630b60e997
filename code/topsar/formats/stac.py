"""A track as a static STAC catalogue: a collection, an item per pair, an asset per layer, all links relative.

STAC 1.1.0, with the extensions sar 1.3.0, sat 1.2.0, projection 2.0.0, raster 2.0.0, processing 1.2.0 and insar 1.0.0.
Written as plain JSON: pystac has neither these versions nor files that appear whole.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from topsar import __version__
from topsar.files import write_json
from topsar.formats import Cost, Format
from topsar.formats.exchange import open_holes
from topsar.interferogram import find_kind
from topsar.model import name_track, track_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from topsar.formats.overlay import Overlay
    from topsar.interferogram import Interferogram

STAC = "1.1.0"
EXTENSIONS = {
    "sar": "sar/v1.3.0",
    "sat": "sat/v1.2.0",
    "proj": "projection/v2.0.0",
    "raster": "raster/v2.0.0",
    "processing": "processing/v1.2.0",
    "insar": "insar/v1.0.0",
}
"""Extensions by the prefix of their fields."""
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_LICENSE = "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
_OVERLAYS = ("displacement", "filtered_phase", "coherence")
"""Layers that the KMZ shows, the first at once."""
_CENTRE_FREQUENCY_GHZ = 5.405
_STATISTICS = ("minimum", "maximum", "mean", "stddev", "valid_percent")
"""What GDAL writes into a file."""
_DIGITS = 7
"""Of degrees: centimetres."""


class Stac(Format):
    """``collection.json``, and ``<pair>/`` with item, GeoTIFFs, styles for QGIS and a KMZ."""

    name = "stac"
    version = "3"
    cost = Cost(
        base_memory=170_000_000,
        memory=29,
        disk=65,
        start_s=3.0,
        microseconds=0.5,
        first_memory=31,
        first_pixels=2e6,
    )
    scope: Literal["pair", "stack"] = "stack"

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write the items of all pairs, one at a time, and the collection last.

        Parameters
        ----------
        ifgs : iterable of Interferogram
        folder : Path
            The empty folder to write into.
        """
        written, items = [], []
        for ifg in ifgs:
            place = folder / ifg.pair_id
            place.mkdir()
            paths, item = _write_item(ifg, place)
            written += paths
            items.append(item)
        collection = folder / "collection.json"
        write_json(collection, _make_collection(items))
        return (*written, collection)


def _write_item(ifg: Interferogram, folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """Write what belongs to a pair; return the files, and the item."""
    paths = _bring_products(ifg, folder)
    assets = {name: _describe_layer(ifg, name, folder / f"{name}.tif") for name in ifg.layers}
    facts = {"title": "Facts of the pair", "roles": ["metadata"], "type": "application/json"}
    assets["facts"] = {"href": "./facts.json", **facts}
    for path, asset in _write_companions(ifg, folder):
        paths.append(path)
        assets[path.name.replace(".", "_")] = {"href": f"./{path.name}", **asset}
    item = _make_item(ifg, assets)
    paths.append(folder / f"{ifg.pair_id}.json")
    write_json(paths[-1], item)
    return paths, item


def _bring_products(ifg: Interferogram, folder: Path) -> list[Path]:
    """Copy the products that the pair was read from, or write them."""
    from topsar.formats.geotiff import GeoTiff

    if ifg.folder is None:
        return list(GeoTiff().write([ifg], folder))
    names = [*(f"{name}.tif" for name in ifg.layers), "facts.json"]
    return [Path(shutil.copyfile(ifg.folder / name, folder / name)) for name in names]


# --- files of a pair --------------------------------------------------------------------------------------------


def _write_companions(ifg: Interferogram, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Write styles, an overlay and a thumbnail; tell each with what its asset says."""
    from topsar.formats.overlay import Overlay, write_kmz
    from topsar.formats.qgis import write_style
    from topsar.formats.scale import find_scale

    shown = {}
    for name in ifg.layers:
        kind, path = find_kind(name), folder / f"{name}.qml"
        if kind is None or kind.drawing is None:
            continue
        values = open_holes(ifg.layers[name])
        scale = find_scale(values, kind.drawing)
        if write_style(path, kind.drawing, scale):
            title = f"Style of {name}.tif for QGIS"
            yield path, {"title": title, "roles": ["style"], "type": "application/xml"}
        if scale is not None and name in _OVERLAYS:
            shown[name] = Overlay(name=kind.long_name, values=values, scale=scale, cyclic=kind.cyclic)
    if overlays := [shown[name] for name in _OVERLAYS if name in shown]:
        path = write_kmz(folder / f"{ifg.pair_id}.kmz", overlays, ifg.grid, _describe_dates(ifg.facts))
        yield path, {"title": "For Google Earth", "roles": ["visual"], "type": "application/vnd.google-earth.kmz"}
        path = _write_thumbnail(folder / "thumbnail.png", overlays[0], ifg)
        yield path, {"title": overlays[0].name, "roles": ["thumbnail"], "type": "image/png"}


def _write_thumbnail(path: Path, overlay: Overlay, ifg: Interferogram) -> Path:
    from topsar.files import atomic_path
    from topsar.formats.overlay import encode_picture

    grid, side = ifg.grid, 512
    factor = max(max(grid.shape) / side, 1)
    rows, columns = max(int(grid.rows / factor), 1), max(int(grid.columns / factor), 1)
    dx, dy = grid.dx * grid.columns / columns, grid.dy * grid.rows / rows
    with atomic_path(path) as part:
        part.write_bytes(encode_picture(overlay, grid, replace(grid, rows=rows, columns=columns, dx=dx, dy=dy)))
    return path


# --- JSON -------------------------------------------------------------------------------------------------------


def _describe_layer(ifg: Interferogram, name: str, path: Path) -> dict[str, Any]:
    from topsar.engines.ground import measure_pixel
    from topsar.raster.geotiff import open_to_read

    with open_to_read(path) as raster:
        dtype, nodata, unit, about, known = (
            raster.dtypes[0],
            raster.nodata,
            raster.units[0],
            raster.descriptions[0],
            raster.tags(1),
        )
        convention = raster.tags().get("CONVENTION", "")
    kind = find_kind(name)
    tags = {key: f"STATISTICS_{key.upper()}" for key in _STATISTICS}
    statistics = {key: float(known[tag]) for key, tag in tags.items() if tag in known}
    return {
        "href": f"./{path.name}",
        "type": _COG,
        "title": kind.long_name if kind else name,
        "description": ". ".join(filter(None, (about, convention.capitalize()))),
        "roles": ["data"],
        "data_type": dtype,
        "nodata": "nan" if np.isnan(nodata) else int(nodata),
        "unit": unit,
        **({"statistics": statistics} if statistics else {}),  # products of earlier versions have none
        "raster:sampling": "area",
        "raster:spatial_resolution": round(sum(measure_pixel(ifg.grid)) / 2, 3),
    }


def _make_item(ifg: Interferogram, assets: Mapping[str, Any]) -> dict[str, Any]:
    from shapely.geometry import mapping

    outline, properties = _find_outline(ifg), _list_properties(ifg)
    used = {field.partition(":")[0] for fields in (properties, *assets.values()) for field in fields}
    places = [place for prefix, place in EXTENSIONS.items() if prefix in used]
    return {
        "type": "Feature",
        "stac_version": STAC,
        "stac_extensions": [f"https://stac-extensions.github.io/{place}/schema.json" for place in places],
        "id": ifg.pair_id,
        "geometry": mapping(outline),
        "bbox": [round(edge, _DIGITS) for edge in outline.bounds],
        "properties": properties,
        "links": [
            {"rel": rel, "href": "../collection.json", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ],
        "assets": assets,
        "collection": _name_collection(ifg),
    }


def _find_outline(ifg: Interferogram) -> Any:
    """The outline of what the radar saw, in degrees, anticlockwise; of the grid where it saw nothing."""
    import shapely

    from topsar.engines.ground import LONLAT, change_crs
    from topsar.formats.outline import draw_outline

    name = next((name for name in ("coherence", "wrapped_phase") if name in ifg.layers), next(iter(ifg.layers)))
    seen = ~ifg.layers[name].holes
    outline = draw_outline(seen if seen.any() else np.ones_like(seen), ifg.grid)
    corners = shapely.get_coordinates(outline)
    lonlat = np.round(np.column_stack(change_crs(ifg.grid.crs, LONLAT, corners[:, 0], corners[:, 1])), _DIGITS)
    return shapely.geometry.polygon.orient(shapely.Polygon(lonlat))


def _list_properties(ifg: Interferogram) -> dict[str, Any]:
    """Times, platform and what the extensions ask; what is not known is left out."""
    facts, grid = ifg.facts, ifg.grid
    times = {date: _find_time(facts, date) for date in ("reference", "secondary")}
    passes = facts.get("passes", {})
    platforms = {f"sentinel-1{one['mission'][-1].lower()}" for one in passes.values()}
    code = {"proj:code": grid.crs} if grid.crs.startswith("EPSG:") else {"proj:wkt2": grid.crs}
    properties = {
        "title": _describe_dates(facts),
        "datetime": None,
        "start_datetime": min(times.values()),
        "end_datetime": max(times.values()),
        "created": facts.get("created"),
        "platform": platforms.pop() if len(platforms) == 1 else "sentinel-1",
        "constellation": "sentinel-1",
        "instruments": ["c-sar"],
        "sar:instrument_mode": "IW",
        "sar:frequency_band": "C",
        "sar:center_frequency": _CENTRE_FREQUENCY_GHZ,
        "sar:polarizations": [facts["polarisation"]] if "polarisation" in facts else None,
        "sar:observation_direction": "right",
        "sar:beam_ids": sorted({burst.partition("_")[0] for burst in facts.get("bursts", ())}) or None,
        "sar:looks_equivalent_number": facts.get("independent_looks"),
        "sat:orbit_state": facts.get("direction"),
        "sat:relative_orbit": facts.get("track"),
        "sat:absolute_orbit": passes.get("reference", {}).get("absolute_orbit"),
        **code,
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "proj:bbox": [grid.bbox.west, grid.bbox.south, grid.bbox.east, grid.bbox.north],
        "processing:level": "L2",
        "processing:datetime": facts.get("created"),
        "processing:software": {"topsar": __version__, str(facts.get("engine")): str(facts.get("engine_version"))},
        "insar:reference_datetime": times["reference"],
        "insar:secondary_datetime": times["secondary"],
        "insar:temporal_baseline": facts.get("temporal_baseline_days"),
        "insar:perpendicular_baseline": facts.get("perpendicular_baseline_m"),
        "insar:processing_dem": facts.get("dem", {}).get("file"),
    }
    return {key: value for key, value in properties.items() if value is not None or key == "datetime"}


def _find_time(facts: Mapping[str, Any], date: str) -> str:
    text = facts.get(f"{date}_time") or f"{facts[f'{date}_date']}T00:00:00+00:00"
    return f"{datetime.fromisoformat(str(text)):%Y-%m-%dT%H:%M:%SZ}"


def _describe_dates(facts: Mapping[str, Any]) -> str:
    track = f"track {facts['track']}" if "track" in facts else "track unknown"
    dates = f"{facts['reference_date']} to {facts['secondary_date']}"
    return ", ".join(filter(None, (f"Sentinel-1 interferogram {dates}", track, facts.get("polarisation"))))


def _name_collection(ifg: Interferogram) -> str:
    return f"topsar-{name_track(ifg.pair_id)}"


def _make_collection(items: list[dict[str, Any]]) -> dict[str, Any]:
    boxes = np.array([item["bbox"] for item in items])
    properties, track = [item["properties"] for item in items], name_track(items[0]["id"])
    polarisations = {name for one in properties for name in one.get("sar:polarizations", ())}
    return {
        "type": "Collection",
        "stac_version": STAC,
        "id": items[0]["collection"],
        "title": f"Sentinel-1 interferograms of track {track_text(track)}",
        "description": "Phase, coherence and line-of-sight displacement from Sentinel-1 TOPS data, made with topsar. "
        "Contains modified Copernicus Sentinel data.",
        "license": "other",
        "keywords": ["InSAR", "Sentinel-1", "displacement", "coherence"],
        "providers": [
            {
                "name": "European Space Agency",
                "roles": ["producer", "licensor"],
                "url": "https://sentinels.copernicus.eu",
            }
        ],
        "extent": {
            "spatial": {"bbox": [[*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]]},
            "temporal": {
                "interval": [
                    [min(one["start_datetime"] for one in properties), max(one["end_datetime"] for one in properties)]
                ]
            },
        },
        "summaries": {
            "platform": sorted({one["platform"] for one in properties}),
            **({"sar:polarizations": sorted(polarisations)} if polarisations else {}),
        },
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            {"rel": "license", "href": _LICENSE, "type": "application/pdf", "title": "Legal notice on Sentinel data"},
            *(
                {"rel": "item", "href": f"./{item['id']}/{item['id']}.json", "type": "application/geo+json"}
                for item in items
            ),
        ],
    }
