"""The texts of a HyP3 product: the parameters that clients read, and what there is to know of the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar import __version__
from topsar.engines.ground import LONLAT, change_crs, measure_pixel
from topsar.engines.passes import read_passes
from topsar.gamma.image import seconds_of_day
from topsar.kernels.geometry import geo2rdr, geodetic_to_ecef

if TYPE_CHECKING:
    from topsar.engines.passes import PassFacts
    from topsar.formats.hyp3.names import Flavour
    from topsar.interferogram import Interferogram


def make_parameters(ifg: Interferogram, phase: str, flavour: Flavour) -> str:
    """Make the lines ``key: value`` that clients read; no value holds a colon.

    Parameters
    ----------
    ifg : Interferogram
    phase : str
        The layer that is written as ``unw_phase``.
    flavour : {"isce2", "gamma"}
    """
    facts, settings = ifg.facts, ifg.facts.get("settings", {})
    reference, secondary = read_passes(facts)
    looks_range, _, looks_azimuth = str(facts["looks"]).partition("x")
    start, strength, flight = reference.start, settings.get("filter_strength", 0), reference.find_flight()
    is_scene = flavour == "gamma"
    values = {
        "Reference Granule": ", ".join(facts["reference_scenes"]),
        "Secondary Granule": ", ".join(facts["secondary_scenes"]),
        "Reference Pass Direction": facts["direction"].upper(),
        "Reference Orbit Number": reference.absolute_orbit,
        "Secondary Pass Direction": facts["direction"].upper(),
        "Secondary Orbit Number": secondary.absolute_orbit,
        "Baseline": facts["perpendicular_baseline_m"],
        "UTC time": seconds_of_day(start, start),
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
        **({"Resolution of output (m)": _measure_posting(ifg)} if is_scene else {}),
        "Range bandpass filter": "no",
        "Azimuth bandpass filter": "no",
        "DEM source": facts["dem"]["file"],
        "DEM resolution (m)": facts["dem"].get("spacing_m", "unknown"),
        "Unwrapping type": settings.get("unwrapper", "none"),
        **(_describe_reference_point(ifg, phase, reference) if is_scene else {}),
        **({"Unwrapping threshold": "none"} if is_scene else {}),
        "Speckle filter": "no",
        **({} if is_scene else {"Water mask": "no"}),
    }
    return "".join(f"{key}: {value}\n" for key, value in values.items())


def _measure_posting(ifg: Interferogram) -> int:
    return round(measure_pixel(ifg.grid)[1])


def _describe_reference_point(ifg: Interferogram, phase: str, reference: PassFacts) -> dict[str, Any]:
    """The most coherent pixel with phase; GAMMA's jobs set the phase there to 0, here it is what it is."""
    if phase not in ifg.layers:
        return {}
    values, grid = ifg.layers[phase].values, ifg.grid
    coherence = np.where(np.isfinite(values), np.nan_to_num(ifg.layers["coherence"].values), -1)
    row, column = np.unravel_index(int(coherence.argmax()), coherence.shape)
    x, y = grid.west + (column + 0.5) * grid.dx, grid.north - (row + 0.5) * grid.dy
    lon, lat = (float(one[0]) for one in change_crs(grid.crs, LONLAT, np.array([x]), np.array([y])))
    height = float(np.nan_to_num(ifg.layers["height"].values[row, column]))
    arc = reference.fit()
    time, slant = geo2rdr(geodetic_to_ecef(np.radians([lat]), np.radians([lon]), height), arc)
    return {
        "Phase at reference point": float(values[row, column]),
        "Azimuth line of the reference point in SAR space": round(
            float((time[0] - arc.seconds(reference.start)) / reference.line_interval_s)
        ),
        "Range pixel of the reference point in SAR space": round(
            float((slant[0] - reference.near_range_m) / reference.range_spacing_m)
        ),
        "Y coordinate of the reference point in the map projection": float(y),
        "X coordinate of the reference point in the map projection": float(x),
        "Latitude of the reference point (WGS84)": lat,
        "Longitude of the reference point (WGS84)": lon,
    }


def make_readme(ifg: Interferogram, name: str, phase: str, flavour: Flavour) -> str:
    """Make the text that says what the files hold, and how they differ from HyP3's own.

    Parameters
    ----------
    ifg : Interferogram
    name : str
        Of the product.
    phase : str
        The layer that is written as ``unw_phase``.
    flavour : {"isce2", "gamma"}
    """
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
        more=_MORE if flavour == "gamma" else "",
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
{more}_water_mask       1 land or unknown, 0 water; it is not applied to the phase
.txt              parameters of the passes; heights, radius and ranges are those of the orbit, not constants

Contains modified Copernicus Sentinel data {year}, processed by ESA.
"""

_MORE = """_los_disp         displacement in the line of sight, metres, positive toward the satellite (unfiltered)
_vert_disp        the same taken for vertical, positive up
_inc_map          local incidence angle, from the slope of the DEM, radians
_inc_map_ell      incidence angle on the ellipsoid, radians
"""
