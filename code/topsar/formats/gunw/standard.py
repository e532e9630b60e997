"""What ARIA-S1-GUNW version 3 asks of a file: groups, variables, units, fills, attributes.

After the packaging template and the additional layers of ACCESS-Cloud-Based-InSAR/DockerizedTopsApp 3.0.1; written and
checked from here, so that both say the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

VERSION = "3.0.1"
"""Of the dataset."""
STEPS_PER_DEGREE: Mapping[int, int] = {90: 1200, 30: 3600}
"""Pixels per degree by posting, m."""
HEIGHTS_M = (-1500.0, 0.0, 3000.0, 9000.0)
"""Of the geometry cubes."""
CUBE_STEP_DEG = 0.1
TROPOSPHERE_HEIGHTS_M = tuple(500.0 * level for level in range(-1, 19))
"""Of the cubes of a weather model."""

GRIDS = "science/grids"
DATA = f"{GRIDS}/data"
GEOMETRY = f"{GRIDS}/imagingGeometry"
CORRECTIONS = f"{GRIDS}/corrections"
RADAR = "science/radarMetaData"
IONOSPHERE = f"{CORRECTIONS}/derived/ionosphere"
BURST_RAMPS = f"{CORRECTIONS}/derived/ionosphereBurstRamps"
TIDES = f"{CORRECTIONS}/external/tides"
TROPOSPHERE = f"{CORRECTIONS}/external/troposphere"
DELAYS = ("troposphereHydrostatic", "troposphereWet")
"""Cubes of each date in the group of a weather model, below `TROPOSPHERE`."""
SIDES = ("reference", "secondary")
POLYGON = "productBoundingBox"
"""The outline of the data, which clients read."""
FOOTPRINT = "product_geometry_wkt"
"""Attribute with the outline of the frame, or of the data where there is none."""


class Raster(NamedTuple):
    """A float32 layer, (latitude, longitude), or cube, (height, latitude, longitude)."""

    description: str
    unit: str
    fill: float = 0


LAYERS: Mapping[str, Raster] = {
    "unwrappedPhase": Raster("Unwrapped phase", "rad"),
    "coherence": Raster("Coherence", "unitless"),
    "connectedComponents": Raster("Snaphu connected components", "unitless", -1),
    "amplitude": Raster("Amplitude", "watt"),
    "unfilteredCoherence": Raster("Coherence without filters applied", "unitless"),
}
OFFSETS = ("rangePixelOffsets", "azimuthPixelOffsets")
"""Layers that only a product with dense offsets has."""
CUBES: Mapping[str, Raster] = {
    "perpendicularBaseline": Raster("Perpendicular baseline", "meter"),
    "parallelBaseline": Raster("Parallel baseline", "meter"),
    "incidenceAngle": Raster("Incidence angle", "degrees"),
    "lookAngle": Raster("Look angle", "degrees"),
    "azimuthAngle": Raster("Azimuth angle", "degrees"),
}
NAMES: Mapping[str, str] = {
    f"{DATA}/unfilteredCoherence": "unfilteredCoherence",
    f"{IONOSPHERE}/ionosphere": "ionospherePhaseCorrection",
}
"""Standard names, in no table of CF's, of what is packed after the template of the standard."""
AXIS_UNITS: Mapping[str, tuple[str, str]] = {
    "latitude": ("degrees_north", "latitude"),
    "longitude": ("degrees_east", "longitude"),
    "heights": ("meter", "height_above_reference_ellipsoid"),
}
"""Unit and CF name of an axis; ``Meta`` follows its name in the cubes."""
CRS: Mapping[str, Any] = {
    "grid_mapping_name": "latitude_longitude",
    "longitude_of_prime_meridian": 0.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}
PLACEHOLDERS: Mapping[str, str] = {
    f"{IONOSPHERE}/ionosphere": "placeholder dummy: [2D]",
    f"{TROPOSPHERE}/troposphereHydrostatic": "placeholder dummy: [3D]",
    f"{TROPOSPHERE}/troposphereWet": "placeholder dummy: [3D]",
    f"{TIDES}/solidEarthTide": "placeholder dummy: [2D]",
}
"""Texts that stand where a correction would be."""
TEXTS: Mapping[str, tuple[str, str]] = {
    "missionID": ("", ""),
    "productType": ("", ""),
    "ISCEversion": ("ISCE Version", "unitless"),
    "unwrapMethod": ("Method used to unwrap IFG product", ""),
    "DEM": ("Dem Type", "unitless"),
    "azimuthZeroDopplerStartTime": ("Zero Doppler azimuth start time", "Time ISO 8601 format"),
    "azimuthZeroDopplerEndTime": ("Zero Doppler azimuth end time", "Time ISO 8601 format"),
}
"""Texts of the radar metadata: what they are, and what stands for their unit."""
NUMBERS: Mapping[str, tuple[str, str]] = {
    "wavelength": ("Radar wavelength", "meter"),
    "centerFrequency": ("Radar center frequency", "Hertz"),
    "ESDthreshold": ("ESD threshold, -1 = no ESD applied", "unitless"),
    "azimuthTimeInterval": ("Azimuth time interval", "seconds"),
    "slantRangeSpacing": ("Slant range pixel spacing", "meter"),
    "slantRangeStart": ("Slant range start", "meter"),
    "slantRangeEnd": ("Slant range end", "meter"),
}
"""Numbers of the radar metadata: what they are, and their unit."""
CONSTANT_ATTRIBUTES: Mapping[str, str] = {
    "product_type": "UNW GEO IFG",
    "Conventions": "CF-1.6",
    "title": "ARIA standard product UNW GEO IFG",
    "references": "https://aria.jpl.nasa.gov/",
    "ogr_geometry_field": POLYGON,
    "ogr_layer_name": POLYGON,
    "ogr_layer_type": "POLYGON",
}
OTHER_ATTRIBUTES = (
    "version",
    "author",
    "institution",
    "source",
    "aria_frame_id",
    "topsapp_command_line_string",
    FOOTPRINT,
    "mean_unfiltered_coherence_without_water_mask",
    "mean_incidence_angle",
    "mean_azimuth_angle",
    "mean_perpendicular_baseline",
    "mean_parallel_baseline",
)
"""Of the file, besides those whose value the standard fixes."""
STANDARD_RUN: Mapping[str, float] = {
    "estimate_ionosphere_delay": 1,
    "compute_solid_earth_tide": 1,
    "unfiltered_coherence": 1,
    "dense_offsets": 0,
    "esd_coherence_threshold": -1.0,
    "goldstein_filter_power": 0.5,
    "output_resolution": 90,
}
"""Parameters of a standard product, beside a frame; attributes of ``science/grids``. All others are custom products."""
NO_FRAME = -1
CROSSED_KEY = "polarization"
"""Parameter that only a product of VH or HV has: the standard's are VV or HH, and do not say which."""


def is_standard(frame: int, parameters: Mapping[str, Any]) -> bool:
    """Whether a product on ``frame`` with these parameters is a standard one, and no ``CUSTOM`` stands in its name.

    Parameters
    ----------
    frame : int
    parameters : mapping
        Those of `STANDARD_RUN`, and `CROSSED_KEY` where it applies.
    """
    return frame != NO_FRAME and all(
        parameters.get(key) == value for key, value in {**STANDARD_RUN, CROSSED_KEY: None}.items()
    )


def name_place(west: float, south: float) -> str:
    """How a name tells the south-western corner.

    Parameters
    ----------
    west, south : float
        Degrees.
    """
    return f"{abs(round(west)):05d}{'W' if west <= 0 else 'E'}_{abs(round(south)):05d}{'N' if south >= 0 else 'S'}"


def make_tag(reference: list[str], secondary: list[str], crossed: str = "") -> str:
    """How a name tells its scenes: four digits of a checksum.

    Parameters
    ----------
    reference, secondary : list of str
        Names of scenes.
    crossed : str
        VH or HV: the same scenes make a product of VV too, and nothing else in the name differs.
    """
    scenes = [" ".join(sorted(names)) for names in (reference, secondary)]
    made_of = [*scenes, *([crossed] if crossed else [])]
    return hashlib.md5(json.dumps(made_of).encode(), usedforsecurity=False).hexdigest()[:4]
