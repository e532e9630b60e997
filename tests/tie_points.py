"""ESA's tie points, which no part of the package needs: a referee for geometry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from topsar.model import Scene
from topsar.sentinel1.container import open_container


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TiePoints:
    """ESA's tie points of one swath; every array is (n,) float64, and n may be 0.

    Attributes
    ----------
    epoch : what ``azimuth_time_s`` counts from
    azimuth_time_s : zero-Doppler azimuth time, seconds
    slant_range_time_s : two-way slant range time, seconds
    line, sample : place in the swath image, which holds the bursts one below the other
    latitude_deg, longitude_deg, height_m : WGS84
    incidence_rad : incidence angle
    """

    epoch: datetime
    azimuth_time_s: NDArray[np.float64]
    slant_range_time_s: NDArray[np.float64]
    line: NDArray[np.float64]
    sample: NDArray[np.float64]
    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    height_m: NDArray[np.float64]
    incidence_rad: NDArray[np.float64]


def read_tie_points(scene: Scene, swath: str, polarisation: str) -> TiePoints:
    """Read the tie points of a swath; some real products have none, which gives empty arrays."""
    (files,) = (f for f in scene.files if (f.swath, f.polarisation) == (swath, polarisation))
    root = open_container(scene.path).read_xml(files.annotation)
    points = root.find_children("geolocationGrid/geolocationGridPointList/geolocationGridPoint")

    def read_column(tag: str) -> NDArray[np.float64]:
        return np.array([point.read_number(tag) for point in points], dtype=np.float64)

    return TiePoints(
        epoch=scene.start,
        azimuth_time_s=np.array(
            [(p.read_time("azimuthTime") - scene.start).total_seconds() for p in points], np.float64
        ),
        slant_range_time_s=read_column("slantRangeTime"),
        line=read_column("line"),
        sample=read_column("pixel"),
        latitude_deg=read_column("latitude"),
        longitude_deg=read_column("longitude"),
        height_m=read_column("height"),
        incidence_rad=np.radians(read_column("incidenceAngle")),
    )
