"""The folder and zip of HyP3, as its ISCE2 multi-burst jobs write them: what MintPy's ``hyp3`` processor reads.

Names and keys: ASFHyP3/hyp3-isce2, ``packaging.py`` and ``utils.py``. Where its text file holds constants (height of
the satellite, radius of the Earth) this one holds what the orbit says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from topsar import __version__
from topsar.engines.passes import read_passes
from topsar.errors import ProductError
from topsar.files import write_text, write_zip
from topsar.formats import Cost, Format
from topsar.formats.exchange import fill_holes, order_dates
from topsar.interferogram import LAYERS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from topsar.interferogram import Interferogram

_TWO_DIGITS = range(10, 100)
_DIGITS = 6
"""Of a burst's number."""
_BROWSE_WIDTH = 2048


class Hyp3(Format):
    """``<product>/<product>_*.tif``, the text file of parameters, browse images, and a zip of the folder."""

    name = "hyp3"
    version = "2"
    cost = Cost(base_memory=250_000_000, memory=60, disk=80, start_s=2.0, microseconds=2.0)

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write the product of one pair.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            The one pair.
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If the name of a HyP3 product cannot tell the bursts or the posting of the pair.
        """
        written: list[Path] = []
        for ifg in ifgs:
            files = write_product(ifg, folder)
            written += [*files, _pack(folder, files)]
        return tuple(written)


def write_product(
    ifg: Interferogram, folder: Path, *, phase: str = "filtered_unwrapped_phase", browse: bool = True
) -> list[Path]:
    """Write the folder of a product below ``folder``, the older date first.

    Parameters
    ----------
    ifg : Interferogram
    folder : Path
    phase : str
        The layer to write as ``unw_phase``; HyP3's is filtered.
    browse : bool
        Whether to write pictures and overlays too.

    Returns
    -------
    list of Path
        The files.
    """
    ifg = order_dates(ifg, older_first=True)
    name = name_product(ifg)
    files = list(_write_rasters(ifg, folder / name / name, phase, browse=browse))
    for suffix, text in (("", _make_parameters(ifg)), ("_README.md", _make_readme(ifg, name, phase))):
        files.append(folder / name / f"{name}{suffix}.txt")
        write_text(files[-1], text)
    return files


# --- names ------------------------------------------------------------------------------------------------------


def name_product(ifg: Interferogram) -> str:
    """Name the product: track, first burst and count of each swath, dates, polarisation, posting and an identifier.

    Raises
    ------
    ProductError
        If bursts have no numbers, or the posting has no two digits.
    """
    facts = ifg.facts
    posting = round(ifg.grid.dx if ifg.grid.crs != "EPSG:4326" else math.radians(ifg.grid.dy) * 6_371_000)
    if posting not in _TWO_DIGITS:
        msg = f"{ifg.pair_id}: the name of a HyP3 product holds a posting of 10 to 99 m, not {posting}"
        raise ProductError(msg, hint="set POSTING to 20, 40 or 80")
    numbers: dict[str, list[str]] = {"IW1": [], "IW2": [], "IW3": []}
    for label in facts["bursts"]:
        swath, _, number = label.partition("_")
        if len(number) != _DIGITS:
            msg = f"{ifg.pair_id}: burst {label} has no number of ESA's, and the name of a HyP3 product is made of them"
            raise ProductError(msg, hint="products of IPF 3.40 or newer carry them")
        numbers[swath].append(number)
    swaths = "-".join(
        f"{min(found, default='000000')}s{swath[2:]}n{len(found):02d}" for swath, found in numbers.items()
    )
    days = "_".join(facts[key].replace("-", "") for key in ("reference_date", "secondary_date"))
    made_of = repr([ifg.pair_id, ifg.grid, facts.get("settings"), facts.get("versions"), facts.get("created")])
    tag = hashlib.sha256(made_of.encode()).hexdigest()[:4].upper()
    return f"S1_{facts['track']:03d}_{swaths}_IW_{days}_{facts['polarisation']}_INT{posting}_{tag}"


# --- rasters ----------------------------------------------------------------------------------------------------


def _write_rasters(ifg: Interferogram, stem: Path, phase: str, *, browse: bool) -> Iterator[Path]:
    rasters: _Rasters = {"unw_phase": ((phase,), np.asarray), **_RASTERS}
    for suffix, (sources, convert) in rasters.items():
        if not all(name in ifg.layers for name in sources):
            continue
        values = convert(*(_take(ifg, name) for name in sources))
        path = stem.with_name(f"{stem.name}_{suffix}.tif")
        _write_raster(path, values, ifg)
        yield path
        if browse and suffix in _OVERLAYS:
            yield _write_overlay(path.with_suffix(".kmz"), values, ifg, _OVERLAYS[suffix])
        if browse and suffix == "unw_phase":
            yield _write_browse(path.with_suffix(".png"), values)


def _take(ifg: Interferogram, name: str) -> NDArray[Any]:
    """Values of a layer with NaN in holes; masks as they are."""
    layer = ifg.layers[name]
    if layer.values.dtype.kind == "f":
        return np.where(layer.holes, np.float32(np.nan), layer.values)
    return layer.values


_Rasters = Mapping[str, tuple[tuple[str, ...], Callable[..., NDArray[Any]]]]
_RASTERS: _Rasters = {
    "wrapped_phase": (("filtered_phase",), np.asarray),
    "corr": (("coherence",), np.asarray),
    "amp": (("amplitude",), np.asarray),
    "conncomp": (("components",), lambda components: components.astype(np.float32)),
    "dem": (("height",), np.asarray),
    "lv_theta": (("los_up",), lambda up: np.arcsin(np.clip(up, -1, 1))),
    "lv_phi": (("los_north", "los_east"), np.arctan2),
    "water_mask": (("water",), lambda water: np.where(water == 1, 0, 1).astype(np.uint8)),
}
"""Which layers a raster is made of, and how: angles of the line of sight are radians above the horizon and
anticlockwise from east; the water mask is 1 on land, and where nobody knows."""


_OVERLAYS = {"wrapped_phase": "filtered_phase", "amp": "amplitude"}
"""Rasters that have a KMZ too, and the layer that they are drawn as."""


def _write_raster(path: Path, values: NDArray[Any], ifg: Interferogram) -> None:
    """Write a GeoTIFF whose holes are 0; a true zero becomes the smallest positive number."""
    from topsar.raster import write_geotiff

    if values.dtype.kind == "f":
        values = np.nan_to_num(values) if path.stem.endswith("conncomp") else fill_holes(values)
    labels = values.dtype.kind != "f" or path.stem.endswith(("conncomp", "phase"))
    nodata = UNKNOWN if values.dtype.kind != "f" else 0
    write_geotiff(path, values, ifg.grid, nodata=nodata, overviews="nearest" if labels else "average")


def _write_overlay(path: Path, values: NDArray[Any], ifg: Interferogram, layer: str) -> Path:
    from topsar.formats.overlay import Overlay, write_kmz
    from topsar.formats.scale import find_scale

    kind = LAYERS[layer]
    scale = find_scale(values, kind.drawing) if kind.drawing else None
    overlays = [Overlay(name=kind.long_name, values=values, scale=scale, cyclic=kind.cyclic)] if scale else []
    return write_kmz(path, overlays, ifg.grid)


def _write_browse(path: Path, values: NDArray[Any]) -> Path:
    """Write the browse image: grey from the least to the largest value, black in holes, at most 2048 pixels wide."""
    from PIL import Image

    from topsar.files import atomic_path

    step = -(-values.shape[1] // _BROWSE_WIDTH)
    small = values[::step, ::step]
    seen = np.isfinite(small)
    low, high = (float(small[seen].min()), float(small[seen].max())) if seen.any() else (0.0, 1.0)
    grey = np.where(seen, 1 + 254 * (small - low) / max(high - low, 1e-9), 0)
    with atomic_path(path) as part:
        Image.fromarray(np.nan_to_num(grey).astype(np.uint8)).save(part)
    return path


def _pack(folder: Path, files: Iterable[Path]) -> Path:
    """Put the folder of the product into a zip beside it."""
    members = sorted(files)
    path = folder / f"{members[0].parent.name}.zip"
    write_zip(path, ((member.relative_to(folder).as_posix(), member.read_bytes()) for member in members))
    return path


# --- texts ------------------------------------------------------------------------------------------------------


def _make_parameters(ifg: Interferogram) -> str:
    """Make the lines ``key: value`` that clients read; no value holds a colon."""
    facts, settings = ifg.facts, ifg.facts.get("settings", {})
    reference, secondary = read_passes(facts)
    looks_range, _, looks_azimuth = str(facts["looks"]).partition("x")
    start, strength, flight = reference.start, settings.get("filter_strength", 0), reference.find_flight()
    values = {
        "Reference Granule": ", ".join(facts["reference_scenes"]),
        "Secondary Granule": ", ".join(facts["secondary_scenes"]),
        "Reference Pass Direction": facts["direction"].upper(),
        "Reference Orbit Number": reference.absolute_orbit,
        "Secondary Pass Direction": facts["direction"].upper(),
        "Secondary Orbit Number": secondary.absolute_orbit,
        "Baseline": facts["perpendicular_baseline_m"],
        "UTC time": (start - start.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds(),
        "Heading": flight.heading_deg,
        "Spacecraft height": flight.altitude_m,
        "Earth radius at nadir": flight.earth_radius_m,
        "Slant range near": reference.near_range_m,
        "Slant range center": (reference.near_range_m + reference.far_range_m) / 2,
        "Slant range far": reference.far_range_m,
        "Range looks": looks_range,
        "Azimuth looks": looks_azimuth,
        "INSAR phase filter": "yes" if strength else "no",
        "Phase filter parameter": strength,
        "Range bandpass filter": "no",
        "Azimuth bandpass filter": "no",
        "DEM source": facts["dem"]["file"],
        "DEM resolution (m)": facts["dem"].get("spacing_m", "unknown"),
        "Unwrapping type": settings.get("unwrapper", "none"),
        "Speckle filter": "no",
        "Water mask": "no",
    }
    return "".join(f"{key}: {value}\n" for key, value in values.items())


def _make_readme(ifg: Interferogram, name: str, phase: str) -> str:
    """Make the text that says what the files hold, and how they differ from HyP3's own."""
    facts = ifg.facts
    return _README.format(
        name=name,
        phase="filtered" if phase.startswith("filtered") else "unfiltered",
        version=__version__,
        engine=f"{facts['engine']} {facts['engine_version']}",
        crs=ifg.grid.crs,
        posting=f"{ifg.grid.dx:g}",
        reference="\n".join(f"- {scene}" for scene in facts["reference_scenes"]),
        secondary="\n".join(f"- {scene}" for scene in facts["secondary_scenes"]),
        year=facts["secondary_date"][:4],
    )


_README = """Sentinel-1 interferogram in the layout of HyP3
===============================================

{name}

Made by topsar {version} (engine {engine}), not by ASF's HyP3; names, units, signs and no-data values are HyP3's.
Grid: {crs}, posting {posting}.

Reference:
{reference}

Secondary:
{secondary}

Files
-----
Every raster is a GeoTIFF on one grid; no data is 0. The older date is the reference.

_unw_phase        unwrapped phase, radians ({phase}); positive: the range grew from the older to the newer date
_wrapped_phase    filtered phase, radians
_corr             coherence, estimated on unfiltered data
_amp              mean amplitude
_conncomp         connected components of the unwrapped phase; 0 is not reliable
_dem              height above the WGS84 ellipsoid, metres
_lv_theta         elevation of the line of sight above the horizon, radians
_lv_phi           direction of the line of sight from the ground to the satellite, radians anticlockwise from east
_water_mask       1 land or unknown, 0 water; it is not applied to the phase
.txt              parameters of the passes; heights, radius and ranges are those of the orbit, not constants

Contains modified Copernicus Sentinel data {year}, processed by ESA.
"""
