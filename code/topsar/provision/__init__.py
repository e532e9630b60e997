"""Inputs: scenes, orbits and the DEM that a list of pairs needs. The only room with a door to the network."""

from topsar.provision.endpoints import Services
from topsar.provision.inputs import (
    Found,
    describe_missing,
    find_dem,
    find_earthdata_account,
    find_scenes,
    find_water_mask,
    list_unused,
    needs_box,
    plan_weather,
    provide_calibration,
    provide_weather,
    search_slices,
)
from topsar.provision.orbits import find_pass_orbits
from topsar.provision.scene_search import Search
from topsar.provision.scenes import ListedPair, find_local_slices, find_pairs

__all__ = [
    "Found",
    "ListedPair",
    "Search",
    "Services",
    "describe_missing",
    "find_dem",
    "find_earthdata_account",
    "find_local_slices",
    "find_pairs",
    "find_pass_orbits",
    "find_scenes",
    "find_water_mask",
    "list_unused",
    "needs_box",
    "plan_weather",
    "provide_calibration",
    "provide_weather",
    "search_slices",
]
