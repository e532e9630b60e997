from topsar.simulate.dataset import Dataset, simulate
from topsar.simulate.recipe import Acquisition, Recipe, SwathCut, recipe

__all__ = ["Acquisition", "Dataset", "Recipe", "SwathCut", "recipe", "simulate"]
