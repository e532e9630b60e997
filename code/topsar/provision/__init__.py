"""Inputs: scenes, orbits and the DEM that a list of pairs needs. The only room with a door to the network."""

from topsar.provision.aux_cal import provide_aux_cal
from topsar.provision.dem.choice import find_dem
from topsar.provision.endpoints import Services
from topsar.provision.inputs import (
    Found,
    Search,
    describe_missing,
    earthdata_account,
    find_inputs,
    known_dem,
    provide_calibration,
    provide_inputs,
    search_slices,
)
from topsar.provision.orbits import find_pass_orbits
from topsar.provision.scenes import ListedPair, find_pairs, local_slices, missing_scenes
from topsar.provision.water import find_water_mask

__all__ = [
    "Found",
    "ListedPair",
    "Search",
    "Services",
    "describe_missing",
    "earthdata_account",
    "find_dem",
    "find_inputs",
    "find_pairs",
    "find_pass_orbits",
    "find_water_mask",
    "known_dem",
    "local_slices",
    "missing_scenes",
    "provide_aux_cal",
    "provide_calibration",
    "provide_inputs",
    "search_slices",
]
