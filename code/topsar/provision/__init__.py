"""Inputs: scenes, orbits and the DEM that a list of pairs needs, found where the user put them."""

from topsar.provision.dem import find_dem
from topsar.provision.orbits import find_pass_orbits
from topsar.provision.scenes import ListedPair, find_pairs

__all__ = ["ListedPair", "find_dem", "find_pairs", "find_pass_orbits"]
