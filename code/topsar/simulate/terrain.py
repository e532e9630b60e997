"""The ground: a lattice of heights, backscatter and stability that all passes see.

Nodes lie at half-odd multiples of the posting in latitude and longitude, so that the lattice is a raster whose pixel
edges are whole multiples of it, the same whatever part of the world is simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from topsar.kernels.geometry import ecef_to_geodetic, rdr2geo
from topsar.model import BBox, GeoGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.simulate.plan import ProductPlan
    from topsar.simulate.recipe import Recipe

_METRES_PER_DEGREE = 111_200.0
_SLOPE_BAND_M = (260.0, 12_000.0)
_COVER_BAND_M = (400.0, 9_000.0)
_BASE_HEIGHT_M = 620.0
_WATER_GAMMA_DB = -21.0
_LAND_GAMMA_DB = (-9.0, 1.8)  # mean and standard deviation of the map
_SEARCH_HEIGHTS_M = 5.0  # standard deviations of relief


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terrain:
    """Ground nodes, row 0 in the north.

    Attributes
    ----------
    first_row, first_column : int
        Place of node (0, 0) on the world's lattice: latitude 90° - (row + ½) posting, longitude (column + ½) posting.
    posting_deg : float
    height : (rows, columns) float32
        Ellipsoidal, m.
    gamma : (rows, columns) float32
        Backscatter per area at right angles to the line of sight.
    stable : (rows, columns) float32
        Share of scatterers that never change; -1 on water, where all change all the time.
    """

    first_row: int
    first_column: int
    posting_deg: float
    height: NDArray[np.float32]
    gamma: NDArray[np.float32]
    stable: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self.height.shape
        return rows, columns

    @property
    def latitude_deg(self) -> NDArray[np.float64]:
        """(rows,) degrees."""
        return 90 - (self.first_row + np.arange(self.shape[0], dtype=np.float64) + 0.5) * self.posting_deg

    @property
    def longitude_deg(self) -> NDArray[np.float64]:
        """(columns,) degrees."""
        return (self.first_column + np.arange(self.shape[1], dtype=np.float64) + 0.5) * self.posting_deg

    @property
    def spacing_m(self) -> tuple[float, float]:
        """Rough ground distance between rows and between columns."""
        north = self.posting_deg * _METRES_PER_DEGREE
        return north, north * math.cos(math.radians(float(self.latitude_deg.mean())))

    def grid(self, step: int = 1) -> GeoGrid:
        """The raster of every ``step``-th node (odd; from the middle of the first step on)."""
        spacing = self.posting_deg * step
        return GeoGrid(
            crs="EPSG:4326",
            west=self.first_column * self.posting_deg,
            north=90 - self.first_row * self.posting_deg,
            dx=spacing,
            dy=spacing,
            rows=self.shape[0] // step,
            columns=self.shape[1] // step,
        )


def build_terrain(recipe: Recipe, products: tuple[tuple[ProductPlan, ...], ...]) -> Terrain:
    """The ground under all products, with the recipe's margin around it.

    Parameters
    ----------
    recipe : Recipe
    products : by pass, then by slice
    """
    posting = recipe.dem_posting_arcsec / 3600
    box = _find_footprint(recipe, products).grow(recipe.dem_margin_deg)
    step = recipe.truth_step  # so that decimated rasters are snapped too
    first_row, stop_row = (round((90 - lat) / posting / step) * step for lat in (box.north, box.south))
    first_column, stop_column = (round(lon / posting / step) * step for lon in (box.west, box.east))
    shape = stop_row - first_row, stop_column - first_column
    north = posting * _METRES_PER_DEGREE
    spacing = north, north * math.cos(math.radians(box.centre[1]))
    relief = draw_field(shape, spacing, exponent=3.8, band_m=_SLOPE_BAND_M, seed=recipe.seed)
    cover = draw_field(shape, spacing, exponent=2.6, band_m=_COVER_BAND_M, seed=recipe.seed + 1)
    water_level = np.quantile(relief, recipe.water_share) if recipe.water_share > 0 else -np.inf
    water = relief < water_level
    height = _BASE_HEIGHT_M + recipe.relief_m * np.maximum(relief, water_level)
    gamma = 10 ** ((_LAND_GAMMA_DB[0] + _LAND_GAMMA_DB[1] * cover) / 10)
    low, high = recipe.stable
    stable = low + (high - low) / (1 + np.exp(-2.5 * cover))
    return Terrain(
        first_row=first_row,
        first_column=first_column,
        posting_deg=posting,
        height=height.astype(np.float32),
        gamma=np.where(water, 10 ** (_WATER_GAMMA_DB / 10), gamma).astype(np.float32),
        stable=np.where(water, -1, stable).astype(np.float32),
    )


def _find_footprint(recipe: Recipe, products: tuple[tuple[ProductPlan, ...], ...]) -> BBox:
    """The box (degrees) around all bursts at all heights that the recipe allows."""
    heights = (0.0, _BASE_HEIGHT_M + _SEARCH_HEIGHTS_M * recipe.relief_m)
    latitudes, longitudes = [], []
    for product in (product for slices in products for product in slices):
        arc = product.arc
        for swath in product.swaths:
            times = np.linspace(arc.seconds(swath.start), arc.seconds(swath.stop), 5)
            grid = swath.bursts[0].grid
            t, r, h = np.meshgrid(times, [grid.near_range_m, grid.far_range_m], heights)
            lat, lon, _ = ecef_to_geodetic(rdr2geo(t, r, h, arc))
            latitudes.append(lat)
            longitudes.append(lon)
    lat, lon = np.degrees(np.concatenate(latitudes)), np.degrees(np.concatenate(longitudes))
    return BBox(west=float(lon.min()), south=float(lat.min()), east=float(lon.max()), north=float(lat.max()))


def draw_field(
    shape: tuple[int, int], spacing_m: tuple[float, float], *, exponent: float, band_m: tuple[float, float], seed: int
) -> NDArray[np.float32]:
    """Draw a Gaussian field of zero mean and unit deviation; its power falls as the wavenumber to the -``exponent``.

    Parameters
    ----------
    shape : (rows, columns)
    spacing_m : (float, float)
        Between rows and between columns.
    exponent : float
        Of the two-dimensional spectrum; 11/3 for turbulent delay (Hanssen, 2001, section 4.7), 3.5 to 4 for relief.
    band_m : (float, float)
        Shortest and longest wavelength, m: shorter ones are smoothed away, longer ones levelled off.
    seed : int
    """
    rows, columns = (fft.next_fast_len(n + n // 4, real=True) for n in shape)
    shortest, longest = band_m
    noise = np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)
    spectrum = fft.rfft2(noise, overwrite_x=True)
    k_north = fft.fftfreq(rows, spacing_m[0]).astype(np.float32)[:, None]
    k_east = fft.rfftfreq(columns, spacing_m[1]).astype(np.float32)
    k2 = k_north**2 + k_east**2
    spectrum *= (k2 + np.float32(1 / longest**2)) ** np.float32(-exponent / 4) * np.exp(-k2 * np.float32(shortest**2))
    field = fft.irfft2(spectrum, (rows, columns), overwrite_x=True)[: shape[0], : shape[1]]
    field = field - field.mean()
    return np.ascontiguousarray(field / field.std(), dtype=np.float32)
