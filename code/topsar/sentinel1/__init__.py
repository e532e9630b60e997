"""Reader of Sentinel-1 products and orbit files; ESA's XML is read nowhere else."""

from topsar.sentinel1.annotation import (
    check_orbit_file,
    read_annotation_orbit,
    read_burst_times,
    read_bursts,
    read_grid_heights,
)
from topsar.sentinel1.calibration import explain_uncalibrated, read_calibration
from topsar.sentinel1.measurement import check_content, check_header, iter_samples, open_image, read_samples
from topsar.sentinel1.orbit import (
    PRECISE_AFTER,
    advise_on_orbit,
    choose_orbit,
    find_orbits,
    list_unused_orbits,
    parse_orbit_name,
    read_orbit,
    read_orbit_bytes,
)
from topsar.sentinel1.safe import find_scene, list_products, list_unused_products, open_scene

__all__ = [
    "PRECISE_AFTER",
    "advise_on_orbit",
    "check_content",
    "check_header",
    "check_orbit_file",
    "choose_orbit",
    "explain_uncalibrated",
    "find_orbits",
    "find_scene",
    "iter_samples",
    "list_products",
    "list_unused_orbits",
    "list_unused_products",
    "open_image",
    "open_scene",
    "parse_orbit_name",
    "read_annotation_orbit",
    "read_burst_times",
    "read_bursts",
    "read_calibration",
    "read_grid_heights",
    "read_orbit",
    "read_orbit_bytes",
    "read_samples",
]
